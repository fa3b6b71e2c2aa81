package keystore

import (
	"context"
	"time"

	"kmipd/keystore/audit"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
	"kmipd/metadata"
)

// Notify (KMIP 1.4 section 5.1): which changes a client's endpoint is told of. The message is queued in the batch that
// commits the change, so that it is neither lost nor sent for a change that did not happen; it waits until the request
// that made the change can no longer take it back.

// The values of Endpoint.Notify.
const (
	NotifyOthers = "others" // changes that no request of the object's owner made: by dates, administrators, other users
	NotifyAll    = "all"    // those of the owner's own requests, too
	NotifyNone   = "none"
)

// notice adds to a batch the Notify for a change of a record. own says that the owner of the object asked for the change.
func (s *Store) notice(b *metadata.Batch, before, after *metadata.Record, now time.Time, own bool) {
	e, ok := s.post.endpoint(after.Owner)
	if !ok || e.Notify == NotifyNone || own && e.Notify != NotifyAll {
		return
	}
	attrs := news(object{before}, object{after}, now)
	if len(attrs) == 0 {
		return
	}
	d := &metadata.Delivery{Client: after.Owner, Seq: s.post.next(s.cfg.Clock()), Operation: kmip.OperationNotify, UID: after.UID, At: now}
	for i := range attrs {
		d.Attributes = attrs[i].Append(d.Attributes, kmip.TagAttribute, kmip.V1_4)
	}
	b.Enqueue = append(b.Enqueue, d)
}

// news are the attributes that a change has changed, and Last Change Date; one that was deleted has no value. Fresh and
// Usage Limits, which change with every use, are no news by themselves.
func news(before, after object, now time.Time) []kmip.Attribute {
	type place struct {
		name  string
		index int32
	}
	was := map[place]ttlv.Item{}
	then := now
	if !before.Due.IsZero() && !before.Due.After(now) {
		then = before.Due.Add(-time.Nanosecond) // a transition has come that nobody was told of
	}
	before.view(kmip.V1_4, then, func(name string, index int32, v ttlv.Item) { was[place{name, index}] = v })
	var out []kmip.Attribute
	substance := false
	after.view(kmip.V1_4, now, func(name string, index int32, v ttlv.Item) {
		p := place{name, index}
		old, had := was[p]
		delete(was, p)
		if name != "Last Change Date" {
			if had && old.Equal(v) {
				return
			}
			substance = substance || name != "Fresh" && name != "Usage Limits"
		}
		out = append(out, instance(name, index, v))
	})
	for _, a := range before.Attributes { // those that are left, in their order
		if p := (place{a.Name, a.Index}); !was[p].IsZero() {
			out = append(out, instance(p.name, p.index, ttlv.Item{}))
			substance = true
		}
	}
	if !substance {
		return nil
	}
	return out
}

// newsOf adds to a batch what is to be told of new objects and of those that they replace: a Put of each new one, for an
// endpoint that takes them, and a Notify for each changed one.
func (s *Store) newsOf(b *metadata.Batch, t *tx, objs []object, gone []replaced) {
	for _, g := range gone {
		after := g.Record
		for _, o := range objs {
			if o.UID == g.UID {
				after = o.Record
			}
		}
		s.notice(b, g.before, after, t.now, t.own(g.before))
	}
	for _, o := range objs {
		if e, ok := s.post.endpoint(o.Owner); ok && e.PutNew {
			b.Enqueue = append(b.Enqueue, s.putOf(o.Record, t.now))
		}
	}
}

func (s *Store) putOf(r *metadata.Record, now time.Time) *metadata.Delivery {
	return &metadata.Delivery{Client: r.Owner, Seq: s.post.next(s.cfg.Clock()), Operation: kmip.OperationPut, UID: r.UID, At: now}
}

// publish commits a batch with its audit record and hands its messages over. Those of a transaction wait for its end.
func (s *Store) publish(ctx context.Context, b *metadata.Batch, t *tx, e audit.Event) error {
	if err := s.commit(ctx, b, e); err != nil {
		return err
	}
	if len(b.Enqueue) > 0 {
		s.post.add(b.Enqueue, t != nil)
		if t != nil {
			t.mail = append(t.mail, b.Enqueue...)
		}
	}
	return nil
}

// own tells that the owner of an object, down to the user, asked for the transaction.
func (t *tx) own(r *metadata.Record) bool {
	return !t.administrator && t.caller.Client == r.Owner && t.caller.User == r.User
}

// told notes with the newest entry of the log which messages stand for it.
func (t *tx) told(b *metadata.Batch) {
	if len(b.Enqueue) > 0 && len(t.log) > 0 {
		t.log[len(t.log)-1].told = b.Enqueue
	}
}

// untell takes back messages about a change that was taken back. One that a crash between the two leaves tells values that
// the attributes do not have, as a message that comes late does.
func (s *Store) untell(ctx context.Context, list []*metadata.Delivery) {
	if len(list) == 0 {
		return
	}
	b := &metadata.Batch{}
	for _, d := range list {
		b.Dequeue = append(b.Dequeue, d.Key())
		s.post.remove(d.Key())
	}
	if err := s.bookkeep(ctx, b); err != nil {
		s.log.Error().Err(err).Msg("taking back messages to endpoints")
	}
}
