package keystore

import (
	"context"
	"errors"
	"slices"

	"kmipd/hsm"
	"kmipd/keystore/audit"
	"kmipd/kmip"
	"kmipd/metadata"
)

// The two-store commit. Token and records cannot commit together, so:
//
//	create-like: (1) synced intent, (2) token object, (3) one synced batch: record, indexes, minus the intent;
//	destroy-like: (1) one synced batch marks the record destroying, (2) token object gone, (3) synced batch: destroyed.
//
// A crash before (3) leaves an intent or a destroying record, which settle finishes at start: an unrecorded token object
// is destroyed, a destroying record's token object too. Nothing is acknowledged before (3).

// commitNew makes new objects, and writes the records of those that they replace in the same batch. work makes the token
// objects and may fill in what it learns (digest, length); it runs between the intents and the records. When it fails
// nothing remains.
func (s *Store) commitNew(ctx context.Context, call *kmip.Call, op kmip.Operation, objs []object, gone []replaced, work func(context.Context) error) error {
	if err := s.trail.ready(ctx); err != nil {
		return err
	}
	for _, o := range objs {
		if err := txOf(call).lockNames(ctx, o.Record); err != nil {
			return err
		}
		if err := s.nameFree(ctx, o, gone); err != nil {
			return err
		}
	}
	b := &metadata.Batch{}
	var ids [][16]byte
	for _, o := range objs {
		if o.Handle.Class == 0 {
			continue
		}
		ids = append(ids, o.Handle.ID)
		b.AddIntents = append(b.AddIntents, metadata.Intent{ID: o.Handle.ID, UID: o.UID, Operation: op.String(),
			Class: o.Handle.Class, At: call.Now})
	}
	if len(ids) > 0 {
		if err := s.bookkeep(ctx, b); err != nil {
			return toKMIP(err)
		}
		if err := work(ctx); err != nil {
			s.abandon(ctx, objs, ids)
			return creationError(err)
		}
	}
	final := &metadata.Batch{DropIntents: ids}
	for _, o := range objs {
		if op == kmip.OperationImport {
			o.schedule(call.Now) // its Last Change Date is the supplied one
		} else {
			o.changed(call.Now)
		}
		p := metadata.Put{Record: o.Record}
		if g := replacedBy(o, gone); g != nil {
			p.Expect = g.before.Revision
			final.AddIntents = append(final.AddIntents, s.former(g.before)...)
		}
		final.Puts = append(final.Puts, p)
	}
	for _, g := range gone {
		if slices.ContainsFunc(objs, func(o object) bool { return o.UID == g.UID }) {
			continue // one record, written already
		}
		final.Puts = append(final.Puts, metadata.Put{Record: g.Record, Expect: g.before.Revision})
	}
	t := txOf(call)
	t.caller, t.now = call.Caller, call.Now
	t.answer(final, objs...)
	s.newsOf(final, t, objs, gone)
	if err := s.publish(ctx, final, t, t.done()); err != nil {
		if !errors.Is(err, metadata.ErrFailed) {
			s.abandon(ctx, objs, ids)
		} // else the records may be on disk all the same: settle finds out at the next start
		return toKMIP(err)
	}
	t.item.recorded = true
	along := len(gone)
	for _, g := range gone {
		t.wrote(g.UID, g.before)
	}
	var uids []string
	for _, o := range objs {
		if replacedBy(o, gone) != nil {
			t.log[len(t.log)-1].replaced = true
			along = 0
			continue
		}
		uids = append(uids, o.UID)
	}
	if len(uids) == 0 {
		t.told(final)
		return nil
	}
	err := t.made(ctx, uids, along)
	t.told(final)
	return err
}

// replacedBy is the object that o replaces under its own identifier, nil when there is none.
func replacedBy(o object, gone []replaced) *replaced {
	for i := range gone {
		if gone[i].UID == o.UID {
			return &gone[i]
		}
	}
	return nil
}

// creationError: what the token cannot make is a wrong field; a failure while making is Cryptographic Failure (KMIP 1.4
// section 11.2).
func creationError(err error) error {
	if errors.Is(err, hsm.ErrInternal) {
		return kmip.Errorf(kmip.ResultReasonCryptographicFailure, "the token failed to make the object").Because(err)
	}
	return toKMIP(err)
}

// abandon removes the token objects of a creation that failed. What it cannot remove now, the intents let settle remove.
func (s *Store) abandon(ctx context.Context, objs []object, ids [][16]byte) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	for _, o := range objs {
		r, on := ref(o.Handle)
		if !on {
			continue
		}
		if err := s.token.Destroy(ctx, r); err != nil && !errors.Is(err, hsm.ErrNotFound) {
			s.log.Error().Err(err).Str("uid", o.UID).Msg("an abandoned token object stays until it is settled")
			return
		}
	}
	if len(ids) == 0 {
		return
	}
	if err := s.bookkeep(ctx, &metadata.Batch{DropIntents: ids}); err != nil {
		s.log.Error().Err(err).Msg("dropping the intents of an abandoned creation")
	}
}

// nameFree finds a taken Name before the token works for it; the final commit decides. A Name of a replaced object is on
// its way to the new one.
func (s *Store) nameFree(ctx context.Context, o object, gone []replaced) error {
	seen := map[string]bool{}
	for _, a := range o.Attributes {
		if a.Name != "Name" {
			continue
		}
		name := a.Value.Find(kmip.TagNameValue).Text()
		if seen[name] {
			return badField("the same Name stands twice in the request")
		}
		seen[name] = true
		uid, err := s.meta.ByName(ctx, o.Owner, name)
		moving := slices.ContainsFunc(gone, func(g replaced) bool { return g.UID == uid })
		if err == nil && !moving {
			return badField("another object has this Name")
		} else if err != nil && !isNotFound(err) {
			return toKMIP(err)
		}
	}
	return nil
}

// finishDestroy ends the token object of a destroying record and marks the record destroyed. The caller holds the lock
// or is alone (settle).
func (s *Store) finishDestroy(ctx context.Context, uid string, e audit.Event) error {
	rec, err := s.meta.Get(ctx, uid)
	if err != nil {
		return err
	}
	b := &metadata.Batch{}
	if r, on := ref(rec.Handle); on {
		if err := s.token.Destroy(ctx, r); err != nil && !errors.Is(err, hsm.ErrNotFound) {
			return err
		}
		s.dropGCM(b, r)
	}
	if rec.ObjectType == kmip.ObjectTypeTemplate {
		b.Deletes = []metadata.Delete{{UID: uid, Expect: rec.Revision}}
		return s.commit(ctx, b, e)
	}
	rec.Phase = metadata.PhaseDestroyed
	b.Puts = []metadata.Put{{Record: rec, Expect: rec.Revision}}
	return s.commit(ctx, b, e)
}
