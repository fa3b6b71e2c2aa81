package keystore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"kmipd/hsm"
	"kmipd/keystore/audit"
	"kmipd/kmip"
	"kmipd/metadata"
)

// finishTimeout bounds what must be finished or taken back even though the request's own time is over.
const finishTimeout = 30 * time.Second

// tx is the undo log of one request message; it implements kmip.Tx.
type tx struct {
	s *Store
	// administrator lets the changes reach the attributes that clients cannot set (y-), and has the owner told of them.
	administrator bool

	undo bool // the batch wants Undo: created objects are kept locked, too
	log  []change
	held []string // locks, in the order of acquiring
	// peek is the record that Authorize read, for the operation that follows it.
	peek *metadata.Record
	// job is the asynchronous request that the transaction does, or nil; answered says that its answer is stored.
	job      *metadata.Job
	answered bool
	// caller and now are of the request; mail are the messages that wait for the end of the transaction.
	caller kmip.Caller
	now    time.Time
	mail   []*metadata.Delivery
	item   doing // that is being done, for the audit trail
}

// change is one record that an operation wrote.
type change struct {
	uid     string
	with    []string         // new objects that were made together with this one
	along   int              // how many changes before this one in the log were written together with it
	before  *metadata.Record // as it was; nil when the object is new
	destroy bool             // the end of the token object is left to Commit
	redo    bool             // the record says so already: there is nothing to take back
	// replaced tells that another object has the identifier now; the end of the former token object is left to Commit.
	replaced bool
	told     []*metadata.Delivery // messages about it
}

// Begin starts the undo log of one request message.
func (s *Store) Begin(undo bool) kmip.Tx { return &tx{s: s, undo: undo} }

func txOf(call *kmip.Call) *tx { return call.Tx.(*tx) }

// Mark is the current position in the log.
func (t *tx) Mark() int { return len(t.log) }

// lock takes the lock on uid for the rest of the transaction.
func (t *tx) lock(ctx context.Context, uid string) error {
	if slices.Contains(t.held, uid) {
		return nil
	}
	if err := t.s.locks.acquire(ctx, uid); err != nil {
		return kmip.Errorf(kmip.ResultReasonGeneralFailure, "the object is in use by another request; try again").Because(err)
	}
	t.held = append(t.held, uid)
	return nil
}

// change locks the call's target and returns its current record for changing.
func (t *tx) change(ctx context.Context, call *kmip.Call) (object, error) {
	t.peek, t.caller, t.now = nil, call.Caller, call.Now
	if err := t.s.trail.ready(ctx); err != nil {
		return object{}, err
	}
	if err := t.lock(ctx, call.Target); err != nil {
		return object{}, err
	}
	rec, err := t.s.meta.Get(ctx, call.Target)
	if err != nil {
		return object{}, toKMIP(err)
	}
	if err := owns(call.Caller, rec); err != nil {
		return object{}, err
	}
	return object{rec}, nil
}

// save writes a changed record and logs how it was. before is a copy taken ahead of the change.
func (t *tx) save(ctx context.Context, o object, before *metadata.Record) error {
	if o.Phase != before.Phase || !slices.Equal(o.Names(), before.Names()) {
		if err := t.lockNames(ctx, before, o.Record); err != nil {
			return err
		}
	}
	b := &metadata.Batch{Puts: []metadata.Put{{Record: o.Record, Expect: before.Revision}}}
	t.answer(b, o)
	t.s.notice(b, before, o.Record, t.now, t.own(o.Record))
	if err := t.s.publish(ctx, b, t, t.done()); err != nil {
		return err
	}
	t.item.recorded = true
	t.wrote(o.UID, before)
	t.told(b)
	return nil
}

// wrote logs how a record was before it was written.
func (t *tx) wrote(uid string, before *metadata.Record) {
	t.log = append(t.log, change{uid: uid, before: before})
}

// destroys tells that this transaction has destroyed the object.
func (t *tx) destroys(uid string) bool {
	return slices.ContainsFunc(t.log, func(c change) bool { return c.uid == uid && c.destroy })
}

// made logs new objects that were made together, before anything can go wrong, and together with the last changes in the
// log, as many as along says. Nobody knows them yet, so the locks are had at once even when the request's time is up.
func (t *tx) made(ctx context.Context, uids []string, along int) error {
	t.log = append(t.log, change{uid: uids[0], with: uids[1:], along: along})
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	for _, uid := range uids {
		if t.undo {
			if err := t.lock(ctx, uid); err != nil {
				return err
			}
		}
	}
	return nil
}

// lockNames keeps the Names of records for this transaction until it ends: those that it gives up it may need again.
func (t *tx) lockNames(ctx context.Context, recs ...*metadata.Record) error {
	var names []string
	for _, r := range recs {
		for _, n := range r.Names() {
			names = append(names, "\x00name "+r.Owner+"\x00"+n)
		}
	}
	slices.Sort(names)
	for _, n := range names {
		if err := t.lock(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// Commit makes the changes final: token objects that were destroyed end here, after the answer is known to fit.
func (t *tx) Commit(ctx context.Context) error {
	if len(t.log) == 0 {
		t.end()
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	var errs []error
	for _, c := range t.log {
		if c.destroy {
			e := t.step()
			if e.Kind == audit.KindChange {
				e.Operation = kmip.OperationDestroy.String() // whatever item the transaction has come to
			}
			if err := t.s.finishDestroy(ctx, c.uid, e); err != nil {
				errs = append(errs, err)
			}
		}
		if c.replaced {
			if err := t.s.finishReplace(ctx, c.before); err != nil {
				errs = append(errs, err)
			}
		}
	}
	t.end()
	return toKMIP(errors.Join(errs...))
}

// Rollback takes back everything after mark, newest first.
func (t *tx) Rollback(ctx context.Context, mark int) error {
	if mark == 0 {
		defer t.end() // whatever comes of it
	}
	if mark >= len(t.log) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	if err := t.unanswer(ctx); err != nil {
		return kmip.Errorf(kmip.ResultReasonGeneralFailure, "the changes could not all be taken back").Because(err)
	}
	for i := len(t.log) - 1; i >= mark; i-- {
		if err := t.takeBack(ctx, i); err != nil {
			return kmip.Errorf(kmip.ResultReasonGeneralFailure, "the changes could not all be taken back").Because(err)
		}
		t.s.untell(ctx, t.log[i].told)
		t.log = t.log[:i]
	}
	return nil
}

// takeBack takes back entry i of the log. What was written in one batch is taken back in one.
func (t *tx) takeBack(ctx context.Context, i int) error {
	c := t.log[i]
	if c.redo {
		return nil
	}
	current, err := t.s.meta.Get(ctx, c.uid)
	if err != nil {
		return fmt.Errorf("taking back %s: %w", c.uid, err)
	}
	if c.before == nil {
		return t.takeBackNew(ctx, current, c.with, t.log[i-c.along:i])
	}
	restored := c.before.Clone()
	if c.replaced {
		return t.s.putBack(ctx, current, restored, t.undone())
	}
	puts, err := t.putsBack(ctx, t.log[i-c.along:i])
	if err != nil {
		return err
	}
	if err := t.s.commit(ctx, &metadata.Batch{Puts: append(puts, metadata.Put{Record: restored, Expect: current.Revision})}, t.undone()); err != nil {
		return err
	}
	doneWith(t.log[i-c.along : i])
	return nil
}

// putsBack are the records of changes as they were.
func (t *tx) putsBack(ctx context.Context, along []change) ([]metadata.Put, error) {
	var puts []metadata.Put
	for i := range along {
		current, err := t.s.meta.Get(ctx, along[i].uid)
		if err != nil {
			return nil, fmt.Errorf("taking back %s: %w", along[i].uid, err)
		}
		puts = append(puts, metadata.Put{Record: along[i].before.Clone(), Expect: current.Revision})
	}
	return puts, nil
}

// doneWith marks changes that were taken back with another one.
func doneWith(along []change) {
	for i := range along {
		along[i].redo = true
	}
}

// takeBackNew removes new objects and puts the records back that were changed along with making them.
func (t *tx) takeBackNew(ctx context.Context, first *metadata.Record, with []string, along []change) error {
	recs := []*metadata.Record{first}
	for _, uid := range with {
		rec, err := t.s.meta.Get(ctx, uid)
		if err != nil {
			return fmt.Errorf("taking back %s: %w", uid, err)
		}
		recs = append(recs, rec)
	}
	puts, err := t.putsBack(ctx, along)
	if err != nil {
		return err
	}
	if err := t.s.unmake(ctx, recs, puts, t.undone()); err != nil {
		return err
	}
	doneWith(along)
	return nil
}

// end empties the log and releases the locks, newest first.
func (t *tx) end() {
	t.log, t.peek = nil, nil
	t.s.post.release(t.mail)
	t.mail = nil
	for i := len(t.held) - 1; i >= 0; i-- {
		t.s.locks.release(t.held[i])
	}
	t.held = nil
}

// unmake removes new objects as if they had never been: records first, with the records that they changed as they were,
// under intents that finish the job after a crash, then the token objects.
func (s *Store) unmake(ctx context.Context, recs []*metadata.Record, puts []metadata.Put, e audit.Event) error {
	b, done := &metadata.Batch{Puts: puts}, &metadata.Batch{}
	for _, rec := range recs {
		b.Deletes = append(b.Deletes, metadata.Delete{UID: rec.UID, Expect: rec.Revision})
		if _, on := ref(rec.Handle); on {
			b.AddIntents = append(b.AddIntents, metadata.Intent{ID: rec.Handle.ID, UID: rec.UID, Operation: "Undo", Class: rec.Handle.Class, At: s.cfg.Clock()})
		}
	}
	if err := s.commit(ctx, b, e); err != nil {
		return err
	}
	for _, rec := range recs {
		if r, on := ref(rec.Handle); on {
			if err := s.token.Destroy(ctx, r); err != nil && !errors.Is(err, hsm.ErrNotFound) {
				return err
			}
			done.DropIntents = append(done.DropIntents, rec.Handle.ID)
			s.dropGCM(done, r)
		}
	}
	return s.bookkeep(ctx, done)
}

func isNotFound(err error) bool { return errors.Is(err, metadata.ErrNotFound) }
