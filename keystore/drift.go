package keystore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"kmipd/hsm"
	"kmipd/kmip"
	"kmipd/metadata"
)

// Drift: the token says of a key something else than its record, about what decides whether it may leave. Somebody has
// changed or replaced the token object, or restored an old one.

// Drift is a key whose flags are not its record's.
type Drift struct {
	UID   string    `json:"unique_identifier"`
	Flags []string  `json:"flags"` // such as "CKA_EXTRACTABLE is true"
	At    time.Time `json:"at"`

	serverKey bool // UID is the name of a ServerKey
}

// drifts are the keys known to have drifted.
type drifts struct {
	again chan struct{} // holds one value when all keys are to be compared

	mu    sync.Mutex
	whole bool                      // all keys were compared once since the start; guarded by mu
	known map[string]Drift          // guarded by mu
	clean map[hsm.TokenID]time.Time // compared lately and found as recorded; guarded by mu
}

func newDrifts() *drifts {
	return &drifts{again: make(chan struct{}, 1), known: map[string]Drift{}, clean: map[hsm.TokenID]time.Time{}}
}

const (
	cleanFor  = time.Minute // a key that was compared is not compared again at its next release
	cleanSize = 1 << 16
)

// lately tells whether the key was compared and found as recorded within cleanFor.
func (d *drifts) lately(id hsm.TokenID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	at, ok := d.clean[id]
	return ok && time.Since(at) < cleanFor
}

// forget has every key compared at its next release.
func (d *drifts) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.clean)
}

func (d *drifts) list() []Drift {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]Drift, 0, len(d.known))
	for _, x := range d.known {
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b Drift) int { return cmp.Compare(a.UID, b.UID) })
	return out
}

// has tells whether a key is known to have drifted.
func (d *drifts) has(uid string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.known[uid]
	return ok
}

// compared tells that all keys were compared since the start: no drift is known before only because nobody looked.
func (d *drifts) compared() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.whole
}

func (d *drifts) setCompared() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.whole = true
}

// drop forgets a key that is destroyed.
func (d *drifts) drop(uid string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.known, uid)
}

// note keeps what a comparison found, and tells whether it is news.
func (d *drifts) note(uid string, id hsm.TokenID, flags []string, at time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, had := d.known[uid]
	if len(flags) == 0 {
		if len(d.clean) >= cleanSize {
			clear(d.clean)
		}
		d.clean[id] = time.Now()
		delete(d.known, uid)
		return false
	}
	delete(d.clean, id)
	d.known[uid] = Drift{UID: uid, Flags: flags, At: at}
	return !had
}

// noteServerKey is note for a ServerKey.
func (d *drifts) noteServerKey(name string, flags []string, at time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, had := d.known[name]
	if len(flags) == 0 {
		delete(d.known, name)
		return false
	}
	d.known[name] = Drift{UID: name, Flags: flags, At: at, serverKey: true}
	return !had
}

// compared lists what the token says of a key that its record does not. Every key of this server is private and sensitive
// on the token; Extractable can be taken away in the record later, which leaves the token's flag as it was.
func (o object) compared(f hsm.Flags) (out []string) {
	want := func(name string, got hsm.Flag, want bool) {
		if got != hsm.FlagUnknown && got != hsm.FlagOf(want) {
			out = append(out, fmt.Sprintf("%s is %t", name, got == hsm.FlagTrue))
		}
	}
	want("CKA_PRIVATE", f.Private, true)
	want("CKA_SENSITIVE", f.Sensitive, true)
	switch {
	case o.flag("Never Extractable") && !extractable(o):
		want("CKA_EXTRACTABLE", f.Extractable, false)
	case extractable(o):
		want("CKA_EXTRACTABLE", f.Extractable, true)
	}
	if o.Handle.Residency == residencyLocal {
		want("CKA_LOCAL", f.Local, true)
		want("CKA_ALWAYS_SENSITIVE", f.AlwaysSensitive, true)
		want("CKA_NEVER_EXTRACTABLE", f.NeverExtractable, o.flag("Never Extractable"))
	}
	return out
}

// flagged tells the objects whose token object has flags: secret and private keys.
func (o object) flagged() (hsm.Ref, bool) {
	r, on := ref(o.Handle)
	return r, on && (r.Class == hsm.ClassSecretKey || r.Class == hsm.ClassPrivateKey)
}

// undrifted refuses a key whose flags on the token are not its record's. It reads them from the token, once a minute and key:
// that takes as long as three quarters of reading the key itself (SoftHSM2: 33 and 44 µs).
func (s *Store) undrifted(ctx context.Context, o object) error {
	r, ok := o.flagged()
	if !ok || s.drift.lately(r.ID) {
		return nil
	}
	flags, err := s.readFlags(ctx, o, r)
	if err != nil {
		return toKMIP(err)
	}
	if s.noteDrift(o, flags) {
		return errDrifted()
	}
	return nil
}

// knownDrift refuses a key that is known to have drifted; every use of a key asks. It looks again first: what was misread once
// must not wait for the next comparison of all keys, a day away.
func (s *Store) knownDrift(ctx context.Context, o object) error {
	if !s.drift.has(o.UID) {
		return nil
	}
	return s.undrifted(ctx, o)
}

// readFlags reads them a second time when they differ: SoftHSM reads its files again while others write them, and can answer
// in between from half a file.
func (s *Store) readFlags(ctx context.Context, o object, r hsm.Ref) (hsm.Flags, error) {
	flags, err := s.token.Flags(ctx, r)
	if err != nil || len(o.compared(flags)) == 0 {
		return flags, err
	}
	select {
	case <-ctx.Done():
		return flags, ctx.Err()
	case <-time.After(driftPause):
	}
	return s.token.Flags(ctx, r)
}

func errDrifted() error {
	return kmip.Errorf(kmip.ResultReasonGeneralFailure, "the key is not as this server made it; the administrator has been told")
}

// noteDrift compares, reports what is new, and tells whether the key has drifted.
func (s *Store) noteDrift(o object, f hsm.Flags) bool {
	diff := o.compared(f)
	if s.drift.note(o.UID, hsm.TokenID(o.Handle.ID), diff, s.cfg.Clock().UTC()) {
		s.event("drift", fmt.Sprintf("the token object of %s is not as recorded: %s", o.UID, strings.Join(diff, ", ")))
	}
	return len(diff) > 0
}

// driftPause after so many keys leaves the token to its clients, and between two reads what is being written to its writer.
const (
	driftPause = 10 * time.Millisecond
	driftChunk = 64
)

// compareAll compares the flags of all live keys, in the background.
func (s *Store) compareAll(ctx context.Context) {
	began := time.Now()
	n, err := s.eachKey(ctx, func(o object, f hsm.Flags) { s.noteDrift(o, f) })
	if err != nil {
		if ctx.Err() == nil {
			s.log.Error().Err(err).Msg("comparing the flags of keys")
		}
		return
	}
	s.drift.setCompared()
	// A key that was destroyed since is nobody's risk any more. One that is missing on the token stays.
	for _, d := range s.drift.list() {
		if d.serverKey {
			continue
		}
		if rec, err := s.meta.Get(ctx, d.UID); isNotFound(err) || err == nil && rec.Phase != metadata.PhaseLive {
			s.drift.drop(d.UID)
		}
	}
	s.log.Info().Int("keys", n).Int("drifted", len(s.drift.list())).Dur("took", time.Since(began)).Msg("compared the flags of keys")
}

// eachKey reads the flags of all live keys. A key that is not on the token is fsck's to report. The records are listed
// first: no read of the store waits for the token.
func (s *Store) eachKey(ctx context.Context, do func(object, hsm.Flags)) (n int, err error) {
	var uids []string
	err = s.meta.Records(ctx, func(rec *metadata.Record) error {
		if _, ok := (object{rec}).flagged(); ok && rec.Phase == metadata.PhaseLive {
			uids = append(uids, rec.UID)
		}
		return nil
	})
	if err != nil && !errors.Is(err, metadata.ErrCorrupt) {
		return 0, err
	}
	for _, uid := range uids {
		rec, err := s.meta.Get(ctx, uid)
		if err != nil || rec.Phase != metadata.PhaseLive {
			continue // gone or damaged meanwhile
		}
		o := object{rec}
		r, ok := o.flagged()
		if !ok {
			continue
		}
		flags, err := s.readFlags(ctx, o, r)
		switch {
		case errors.Is(err, hsm.ErrNotFound):
			continue
		case err != nil:
			return n, err
		}
		do(o, flags)
		if n++; n%driftChunk == 0 {
			select {
			case <-ctx.Done():
				return n, ctx.Err()
			case <-time.After(driftPause):
			}
		}
	}
	return n, nil
}
