package hsm

import (
	"context"
	"crypto/x509"
)

// ScratchKey is a key that lives on the token for the time of one Scratch call.
type ScratchKey struct {
	Class Class    // secret, private or public
	Spec  KeySpec  // ID and Label are not used
	Value Material // as Import and ImportPublicKey take it
}

// scratch is a session object that stands in the handle cache.
type scratch struct {
	ref    Ref
	handle handle
	gen    uint64
}

// Scratch implements Token. The keys are session objects of the anchor session, so that they are there for every session
// of this process and gone when the login ends, whatever becomes of f.
func (d *device) Scratch(ctx context.Context, keys []ScratchKey, f func([]Ref) error) error {
	var refs []Ref
	for _, k := range keys {
		s, err := d.scratch(ctx, k)
		if err != nil {
			return err
		}
		defer d.unscratch(ctx, s)
		refs = append(refs, s.ref)
	}
	return f(refs)
}

// scratch makes one key. The gate is not held while the key is used: a call inside f takes it again.
func (d *device) scratch(ctx context.Context, k ScratchKey) (scratch, error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.CallTimeout)
	defer cancel()
	open, err := d.gate.lock(ctx, false)
	if err != nil {
		return scratch{}, err
	}
	defer open()
	if d.closed.Load() {
		return scratch{}, errClosed()
	}
	w := &work{device: d, ctx: ctx, gen: d.gen.Load()}
	defer func() {
		if w.key != nil {
			w.doneWith(w.key) // takes anchorMu
		}
	}()
	d.anchorMu.Lock()
	defer d.anchorMu.Unlock()
	w.s = d.anchor
	h, err := w.sessionKey(k)
	if err != nil {
		return scratch{}, err
	}
	s := scratch{Ref{k.Class, NewTokenID()}, h, w.gen}
	d.objects.put(s.ref, entry{handle: h})
	return s, nil
}

// unscratch destroys a key. After a new login it is gone, and its handle may name something else.
func (d *device) unscratch(ctx context.Context, s scratch) {
	d.forgetMoved(s.ref)
	d.objects.drop(s.ref)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.cfg.CallTimeout)
	defer cancel()
	open, err := d.gate.lock(ctx, false)
	if err != nil {
		return // closing: the session takes the object along
	}
	defer open()
	if d.closed.Load() || d.gen.Load() != s.gen {
		return
	}
	d.anchorMu.Lock()
	defer d.anchorMu.Unlock()
	if err := d.p11.destroyObject(d.anchor, s.handle); err != nil {
		d.log.Warn().Err(err).Msg("a scratch key was not destroyed")
	}
}

// sessionKey puts a key on the token the way that imports take, but for CKA_TOKEN.
func (w *work) sessionKey(k ScratchKey) (handle, error) {
	if err := k.Spec.CheckImport(k.Class, len(k.Value)); err != nil {
		return 0, err
	}
	switch k.Class {
	case ClassPublicKey:
		t, err := publicTemplate(k.Spec, k.Value, false)
		if err != nil {
			return 0, err
		}
		return w.p11.createObject(w.s, t)
	case ClassPrivateKey:
		if err := checkPKCS8(k.Spec, k.Value); err != nil {
			return 0, err
		}
	}
	key, blob, err := w.seal(k.Value)
	if err != nil {
		return 0, err
	}
	return w.p11.unwrapKey(w.s, mechanism{code: w.traits.in.code}, key.handle, blob, keyTemplate(k.Class, k.Spec, false))
}

// spkiKey is the parsed public key of a SubjectPublicKeyInfo that the token made.
func spkiKey(spki []byte) (any, error) {
	key, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil, refuse(KindInternal, "the token's public key does not parse")
	}
	return key, nil
}
