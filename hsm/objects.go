package hsm

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"time"

	p11 "github.com/miekg/pkcs11"
)

// inventory is the result of an enumeration.
type inventory struct {
	list   []ObjectInfo
	broken []handle
}

// scanChunk is how many objects are looked at with the mutation lock held once.
const scanChunk = 256

// enumerate looks at every persistent object of the token and brings the handle cache up to date. guard runs each piece
// of the work under the lock that its caller's situation asks for.
func (d *device) enumerate(s session, guard func(func() error) error) (inventory, error) {
	var found []handle
	var inv inventory
	known := map[Ref]entry{}
	epoch := d.objects.begin()
	err := guard(func() (err error) {
		found, err = d.p11.find(s, newTemplate(0)) // broken objects may even lack CKA_TOKEN
		return err
	})
	for len(found) > 0 && err == nil {
		chunk := found[:min(len(found), scanChunk)]
		found = found[len(chunk):]
		err = guard(func() error {
			for _, h := range chunk {
				if err := d.inspect(s, h, &inv, known); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err == nil {
		err = d.confirm(s, guard, &inv, known)
	}
	if err != nil {
		return inventory{}, err
	}
	d.objects.merge(epoch, known)
	return inv, nil
}

// confirm looks at broken objects a second time: session objects that were being made are whole or gone by then.
func (d *device) confirm(s session, guard func(func() error) error, inv *inventory, known map[Ref]entry) error {
	suspects := inv.broken
	if len(suspects) == 0 {
		return nil
	}
	inv.broken = nil
	inv.list = slices.DeleteFunc(inv.list, func(o ObjectInfo) bool { return o.Broken })
	time.Sleep(confirmPause)
	return guard(func() error {
		for _, h := range suspects {
			if err := d.inspect(s, h, inv, known); err != nil {
				return err
			}
		}
		return nil
	})
}

const confirmPause = 20 * time.Millisecond

// inspect adds one object to the inventory. Objects that kmipd did not make are left out.
func (d *device) inspect(s session, h handle, inv *inventory, known map[Ref]entry) error {
	v, err := d.p11.readable(s, h, p11.CKA_CLASS, p11.CKA_ID, p11.CKA_LABEL, p11.CKA_OBJECT_ID, p11.CKA_APPLICATION, p11.CKA_TOKEN)
	if fateOf(err) == fateStale {
		return nil // destroyed meanwhile
	}
	if err != nil || isFlag(v[5], false) {
		return err
	}
	class, id, label := classOf(v[0]), v[1], string(v[2])
	if class == ClassData {
		id = v[3]
		if string(v[4]) != application {
			return nil
		}
	}
	isKey := class == ClassSecretKey || class == ClassPrivateKey || class == ClassPublicKey
	switch {
	case len(v[0]) != ulongSize || isKey && len(id) == 0 && label == "":
		inv.broken = append(inv.broken, h)
		inv.list = append(inv.list, ObjectInfo{Label: label, Broken: true})
	case class != 0 && len(id) == len(TokenID{}):
		ref := Ref{Class: class, ID: TokenID(id)}
		known[ref] = entry{handle: h}
		inv.list = append(inv.list, ObjectInfo{Ref: ref, Label: label})
	}
	return nil
}

const ulongSize = 8

func classOf(value []byte) Class {
	if len(value) != ulongSize {
		return 0
	}
	n := uint(binary.NativeEndian.Uint64(value))
	for class, code := range classCodes {
		if code == n {
			return class
		}
	}
	return 0
}

// Objects implements Token.
func (d *device) Objects(ctx context.Context) (list []ObjectInfo, err error) {
	err = d.run(ctx, true, func(w *work) error {
		inv, err := w.enumerate(w.s, w.shared)
		list = inv.list
		return err
	})
	return list, err
}

// shared runs f with the mutation lock shared, so that long scans let changes through in between.
func (w *work) shared(f func() error) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if err := w.lock(false); err != nil {
		return err
	}
	defer w.unlockMutations()
	return f()
}

// DestroyBroken implements Token. It has the token alone while it destroys, since an object that is being made looks broken
// too. What the token will not destroy stays and is reported in the log.
func (d *device) DestroyBroken(ctx context.Context) (removed int, err error) {
	var inv inventory
	var gen uint64
	err = d.run(ctx, true, func(w *work) error {
		gen = w.gen
		inv, err = w.enumerate(w.s, w.shared)
		return err
	})
	if err != nil || len(inv.broken) == 0 {
		return 0, err
	}
	open, err := d.gate.lock(ctx, true)
	if err != nil {
		return 0, err
	}
	defer open()
	if d.closed.Load() || d.gen.Load() != gen {
		return 0, down("DestroyBroken", nil)
	}
	for _, h := range inv.broken {
		gone, err := d.destroyIfBroken(h)
		if err != nil {
			return removed, err
		}
		if gone {
			removed++
		}
	}
	return removed, nil
}

// destroyIfBroken looks again before it destroys. The gate is held alone.
func (d *device) destroyIfBroken(h handle) (bool, error) {
	var now inventory
	if err := d.inspect(d.anchor, h, &now, map[Ref]entry{}); err != nil || len(now.broken) == 0 {
		return false, err
	}
	err := d.p11.destroyObject(d.anchor, h)
	if f := fateOf(err); f == fateDoor || f == fateDevice {
		return false, err
	}
	if err != nil {
		d.log.Warn().Err(err).Msg("a broken object stays on the token")
	}
	return err == nil, nil
}

// Destroy implements Token.
func (d *device) Destroy(ctx context.Context, ref Ref) error {
	return d.run(ctx, false, func(w *work) error {
		if err := w.lock(true); err != nil {
			return err
		}
		h, err := w.find(ref)
		if err != nil {
			return err
		}
		if err := w.p11.destroyObject(w.s, h); err != nil {
			return err
		}
		w.effect = true
		w.objects.lost(ref)
		w.forgetMoved(ref)
		return w.gone(h, ref)
	})
}

// gone makes sure that the token has let go of an object that it says it destroyed. Whoever answers to the handle now must
// be another object: tokens use numbers again.
func (w *work) gone(h handle, ref Ref) error {
	if ref.Class == ClassData {
		return nil // without a CKA_ID on some tokens, and no key
	}
	id, err := w.p11.attribute(w.s, h, p11.CKA_ID)
	if err == nil && bytes.Equal(id, ref.ID[:]) {
		return &Error{Kind: KindInternal, Call: "C_DestroyObject", Text: "the token still has the object that it destroyed"}
	}
	return nil
}

// discardObject removes an object of a creation that failed.
func (w *work) discardObject(h handle) {
	w.note(w.p11.destroyObject(w.s, h), "an object of a failed creation stays on the token")
}

// sweep removes what a failed creation may have left under its CKA_ID. It searches the token, which only failures of
// the token itself are worth.
func (w *work) sweep(cause error, refs ...Ref) {
	if f := fateOf(cause); f != fateDiscard && f != fateDevice {
		return
	}
	for _, ref := range refs {
		found, err := w.p11.find(w.s, findTemplate(ref))
		w.note(err, "the remains of a failed creation were not looked for")
		for _, h := range found {
			w.discardObject(h)
		}
	}
}
