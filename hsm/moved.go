package hsm

import (
	"container/list"
	"slices"
	"sync"

	p11 "github.com/miekg/pkcs11"
)

// movedKey is a generic secret made of a token key for HMAC. It is a session object of the anchor session, which lives as
// long as the login and whose handles every session may use.
type movedKey struct {
	id     movedID
	of     handle // the token key when it was made
	handle handle
	gen    uint64

	users   int  // guarded by movedKeys.mu
	dropped bool // guarded by movedKeys.mu
}

// movedID: a key can be there filled and as it is.
type movedID struct {
	ref    Ref
	filled bool
}

// movedKeys keeps the keys that were moved last. Making one takes two calls and leaks 250 octets on SoftHSM 2.6.1
// (tokens.md section 3), so it is not done per MAC.
type movedKeys struct {
	mu    sync.Mutex
	byID  map[movedID]*list.Element // guarded by mu
	order *list.List                // of *movedKey, last used first; guarded by mu
}

const movedLimit = 256

// filledOctets is what short keys are filled to: no token wants more than the longest digest, and no hash has a shorter
// block, up to which HMAC fills keys with zeros itself (RFC 2104 section 2), so that one copy serves all hashes.
const filledOctets = 64

// macMoved computes an HMAC with a copy of the key that the token takes for it.
func (w *work) macMoved(key usable, n int, h Hash, data []byte) ([]byte, error) {
	if !key.facts.extractable {
		return nil, refuse(KindUnsupported, "the token takes this key for no HMAC, and it is not extractable, so that it cannot be moved")
	}
	alone, way := w.movesAlone(n, h), CompositionFilledKey
	if alone {
		way = CompositionMovedKey
	}
	if !slices.Contains(w.info.Capabilities.Composed, way) {
		return nil, errComposed()
	}
	k, err := w.moved(key, n, !alone)
	if err != nil {
		return nil, err
	}
	defer w.doneWithMoved(k)
	mac, err := w.macCall(k.handle, mechanism{code: hashCodes[h].hmac}, h.Size(), data)
	// Tokens without mutation lock let the key be destroyed meanwhile: no copy outlives it.
	if e, ok := w.objects.get(key.ref); fateOf(err) == fateStale || !ok || e.handle != key.handle {
		w.forgetMoved(key.ref)
	}
	return mac, err
}

// movesAlone says whether the copy is long enough by what the token itself adds when it wraps: nothing, or zeros to a
// multiple of 8 (SoftHSM).
func (d *device) movesAlone(n int, h Hash) bool {
	if d.traits.pads {
		n = (n + 7) / 8 * 8
	}
	return d.traits.in == d.traits.out && (n >= h.Size() || d.traits.hmacAnyLength)
}

// moved is the copy of a key, made now or before. Its caller gives it back with doneWithMoved.
func (w *work) moved(key usable, n int, filled bool) (*movedKey, error) {
	id := movedID{key.ref, filled}
	if k := w.movedKeys.get(id, key.handle, w.gen); k != nil {
		return k, nil
	}
	h, err := w.move(key, n, filled)
	if err != nil {
		return nil, err
	}
	k := &movedKey{id: id, of: key.handle, handle: h, gen: w.gen, users: 1}
	for _, old := range w.movedKeys.put(k) {
		w.buryMoved(old)
	}
	return k, nil
}

// move wraps the key under the transport key and unwraps it as a generic secret. The blob stays closed unless zeros have
// to be added, which no mechanism of SoftHSM does on the token.
func (w *work) move(key usable, n int, filled bool) (handle, error) {
	transport, err := w.useTransport()
	if err != nil {
		return 0, err
	}
	var blob []byte
	if filled {
		blob, err = w.fill(key.handle, n)
	} else {
		blob, err = w.p11.wrapKey(w.s, mechanism{code: w.traits.out.code}, transport.handle, key.handle, n+64)
	}
	if err != nil {
		return 0, err
	}
	t := keyTemplate(ClassSecretKey, KeySpec{Type: KeyGeneric, Usage: UsageSign}, false)
	w.anchorMu.Lock()
	defer w.anchorMu.Unlock()
	return w.p11.unwrapKey(w.anchor, mechanism{code: w.traits.in.code}, transport.handle, blob, t)
}

// fill takes the key out, adds zeros, and seals it again.
func (w *work) fill(h handle, n int) ([]byte, error) {
	value, err := w.exportSecret(h, n)
	if err != nil {
		return nil, err
	}
	defer clear(value)
	var filled [filledOctets]byte
	defer clear(filled[:])
	copy(filled[:], value)
	_, blob, err := w.seal(filled[:])
	return blob, err
}

func newMovedKeys() *movedKeys {
	return &movedKeys{byID: map[movedID]*list.Element{}, order: list.New()}
}

// get lends a copy if there is one of this very key and login.
func (m *movedKeys) get(id movedID, of handle, gen uint64) *movedKey {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.byID[id]
	if e == nil {
		return nil
	}
	k := elementKey(e)
	if k.of != of || k.gen != gen {
		return nil // put replaces it
	}
	m.order.MoveToFront(e)
	k.users++
	return k
}

func elementKey(e *list.Element) *movedKey {
	k, ok := e.Value.(*movedKey)
	if !ok {
		panic("hsm: moved keys hold something else")
	}
	return k
}

// put keeps a copy that its caller uses, and returns those to be destroyed.
func (m *movedKeys) put(k *movedKey) (unused []*movedKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	unused = m.dropLocked(k.id)
	m.byID[k.id] = m.order.PushFront(k)
	if m.order.Len() > movedLimit {
		unused = append(unused, m.dropLocked(elementKey(m.order.Back()).id)...)
	}
	return unused
}

func (m *movedKeys) dropLocked(ids ...movedID) (unused []*movedKey) {
	for _, id := range ids {
		e := m.byID[id]
		if e == nil {
			continue
		}
		k := elementKey(e)
		m.order.Remove(e)
		delete(m.byID, id)
		k.dropped = true
		if k.users == 0 {
			unused = append(unused, k)
		}
	}
	return unused
}

// forgetMoved destroys the copies of a key that is gone.
func (d *device) forgetMoved(ref Ref) {
	d.movedKeys.mu.Lock()
	unused := d.movedKeys.dropLocked(movedID{ref, false}, movedID{ref, true})
	d.movedKeys.mu.Unlock()
	for _, k := range unused {
		d.buryMoved(k)
	}
}

func (d *device) doneWithMoved(k *movedKey) {
	d.movedKeys.mu.Lock()
	k.users--
	unused := k.dropped && k.users == 0
	d.movedKeys.mu.Unlock()
	if unused {
		d.buryMoved(k)
	}
}

// buryMoved destroys a copy, unless a new login has done so and its handle may name something else.
func (d *device) buryMoved(k *movedKey) {
	if k.gen != d.gen.Load() {
		return
	}
	d.anchorMu.Lock()
	defer d.anchorMu.Unlock()
	err := d.p11.destroyObject(d.anchor, k.handle)
	if err != nil && !hasCode(err, p11.CKR_OBJECT_HANDLE_INVALID) {
		d.log.Warn().Err(err).Msg("a moved key was not destroyed")
	}
}
