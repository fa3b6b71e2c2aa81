package hsm

import (
	"sync"
	"time"
)

// entry is what the cache knows of a token object.
type entry struct {
	handle handle
	facts  *keyFacts // read on first need; keys do not change (tokens lose keys that are rewritten)
	epoch  int       // of handles, when it was put in
}

// keyFacts are the attributes that decide what a key can do.
type keyFacts struct {
	kind         KeyType // 0: a type that kmipd does not use
	wrap, unwrap bool
	extractable  bool
	modulus      int   // octets of an RSA modulus
	curve        Curve // of an EC key, 0: another one
	usage        Usage
}

// handles maps objects to handles, so that no request searches the token: a search is linear in the number of objects
// on SoftHSM and its like, 20 µs each. It is filled by one enumeration and emptied when the login is lost, since that
// voids handles.
type handles struct {
	mu      sync.RWMutex
	known   map[Ref]entry
	missing map[Ref]time.Time // looked for in vain lately
	epoch   int               // counts enumerations
}

const (
	missingFor  = 10 * time.Second
	missingSize = 4096
)

func newHandles() *handles {
	return &handles{known: map[Ref]entry{}, missing: map[Ref]time.Time{}}
}

func (h *handles) get(ref Ref) (e entry, ok bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	e, ok = h.known[ref]
	return e, ok
}

func (h *handles) put(ref Ref, e entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e.epoch = h.epoch
	h.known[ref] = e
	delete(h.missing, ref)
}

// drop forgets objects whose handles are in doubt.
func (h *handles) drop(refs ...Ref) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, ref := range refs {
		delete(h.known, ref)
	}
}

// lost notes that the token does not have an object, so that repeated requests for it cost nothing.
func (h *handles) lost(ref Ref) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.known, ref)
	if len(h.missing) >= missingSize {
		clear(h.missing)
	}
	h.missing[ref] = time.Now()
}

func (h *handles) isLost(ref Ref) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	at, ok := h.missing[ref]
	return ok && time.Since(at) < missingFor
}

// begin starts an enumeration.
func (h *handles) begin() (epoch int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.epoch++
	return h.epoch
}

// merge takes over what an enumeration found. Entries that are older and were not found are gone; entries put in since
// the enumeration began are newer than it.
func (h *handles) merge(epoch int, found map[Ref]entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ref, e := range h.known {
		if _, ok := found[ref]; !ok && e.epoch < epoch {
			delete(h.known, ref)
		}
	}
	for ref, e := range found {
		if old, ok := h.known[ref]; !ok || old.handle != e.handle && old.epoch < epoch {
			e.epoch = epoch
			h.known[ref] = e
			delete(h.missing, ref)
		}
	}
}

// reset forgets everything.
func (h *handles) reset() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.known)
	clear(h.missing)
}

func (h *handles) len() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.known)
}
