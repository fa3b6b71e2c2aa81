package keystore

import (
	"context"
	"encoding/hex"
	"errors"

	"kmipd/keystore/audit"
	"kmipd/kmip"
	"kmipd/metadata"
)

// The one joint through which this package writes to the record store (TestOneWayToTheRecords holds it to that): a batch that
// changes an object, a job or a client carries the record of who did it, so that there is no change without its
// record and no record without its change. What has no record is the bookkeeping of changes: intents before the change, and
// the queues of messages.

// commit commits a batch with the record of it. The event says who and what; the objects come from the batch.
func (s *Store) commit(ctx context.Context, b *metadata.Batch, e audit.Event) error {
	b.Audit = append(b.Audit, s.payload(e, b))
	if err := s.meta.Commit(ctx, b); err != nil {
		return err
	}
	s.trail.wake()
	return nil
}

var errUnaudited = errors.New("keystore: a change without an audit record")

// bookkeep commits a batch of intents and messages, which no record is about.
func (s *Store) bookkeep(ctx context.Context, b *metadata.Batch) error {
	if len(b.Puts)+len(b.Deletes)+len(b.PutJobs)+len(b.DropJobs) > 0 {
		return errUnaudited
	}
	return s.meta.Commit(ctx, b)
}

// payload is an event with what every event has, and with the objects of a batch.
func (s *Store) payload(e audit.Event, b *metadata.Batch) []byte {
	if e.Policy == "" {
		e.Policy = s.policy.Name()
	}
	if b != nil {
		for _, p := range b.Puts {
			e.Objects = append(e.Objects, audit.Object{UID: p.Record.UID, Type: p.Record.ObjectType.String(), Effect: effect(&p)})
		}
		for _, d := range b.Deletes {
			e.Objects = append(e.Objects, audit.Object{UID: d.UID, Effect: "removed"})
		}
		for _, j := range b.PutJobs {
			e.Job = j.ID
		}
	}
	return e.Encode(s.cfg.Clock())
}

func effect(p *metadata.Put) string {
	switch {
	case p.Record.Phase == metadata.PhaseDestroying:
		return "destroying"
	case p.Record.Phase == metadata.PhaseDestroyed:
		return "destroyed"
	case p.Expect == 0:
		return "created"
	}
	return "changed"
}

// The events of those who are no client.

func ofServer(operation string) audit.Event {
	return audit.Event{Kind: audit.KindServer, Outcome: audit.Success, Operation: operation}
}

func ofAdministrator(operation string, facts ...audit.Fact) audit.Event {
	return audit.Event{Kind: audit.KindAdmin, Outcome: audit.Success, Operation: operation, Facts: facts}
}

// fact is a named value; pairs of them make a list.
func fact(name, value string) audit.Fact { return audit.Fact{Name: name, Value: value} }

// byJob is the event of an asynchronous request.
func ofJob(j *metadata.Job, operation, outcome string) audit.Event {
	e := audit.Event{Kind: audit.KindJob, Outcome: outcome, Operation: operation, Client: j.Client, User: j.User, Job: j.ID}
	if operation != j.Operation.String() {
		e.Facts = []audit.Fact{fact("request", j.Operation.String())}
	}
	if j.Target != "" {
		e.Objects = []audit.Object{{UID: j.Target}}
	}
	return e
}

// eventOf is the event of an item of a request, successful so far.
func eventOf(call *kmip.Call, op kmip.Operation) audit.Event {
	e := audit.Event{Kind: audit.KindOperation, Outcome: audit.Success, Client: call.Caller.Client, User: call.Caller.User,
		Address: call.Address, Listener: call.Listener, Request: call.Request}
	if op != 0 {
		e.Operation = op.String()
	}
	if call.Version != (kmip.Version{}) {
		e.Protocol = call.Version.String()
	}
	return e
}

// doing is what a transaction knows of the item that it is doing.
type doing struct {
	by       audit.Event
	recorded bool // the success of the item is in the trail: it came with the change
}

// begins notes which item the transaction does now.
func (t *tx) begins(call *kmip.Call, op kmip.Operation) {
	t.item = doing{by: eventOf(call, op)}
	t.item.by.Policy = t.s.policyOf(call).Name()
	if t.job != nil {
		t.item.by.Job = t.job.ID
	}
}

// done is the event of the change that the item is for.
func (t *tx) done() audit.Event {
	if t.item.by.Kind == "" { // no request: the server's own work
		t.item.by = ofServer("keep records")
	}
	return t.item.by
}

// step is the event of a change that goes before or after the one that the item is for.
func (t *tx) step() audit.Event {
	e := t.done()
	if e.Kind == audit.KindOperation {
		e.Kind = audit.KindChange
	}
	e.Release = ""
	return e
}

// undone is the event of taking changes back.
func (t *tx) undone() audit.Event {
	e := t.step()
	e.Kind = audit.KindUndone
	return e
}

// releases notes that the answer of the item gives key material away.
func (t *tx) releases(how string) {
	if t.item.by.Kind == "" {
		t.item.by = ofServer("keep records")
	}
	if t.item.by.Release != audit.ReleasePlain {
		t.item.by.Release = how
	}
}

// failure puts the words of an error that a client got into an event. Other errors are the log's.
func failure(e audit.Event, err error) audit.Event {
	e.Outcome, e.Release = audit.Failure, ""
	ruled(&e, err)
	e.Reason = kmip.ReasonOf(err).String()
	var ke *kmip.Error
	if errors.As(err, &ke) {
		e.Message = ke.Message
	}
	return e
}

// ruled names the rule by which a policy refuses, if one does.
func ruled(e *audit.Event, err error) {
	var r interface {
		Refusal() (policy, rule, source string)
	}
	if !errors.As(err, &r) {
		return
	}
	policy, rule, source := r.Refusal()
	if policy != "" {
		e.Policy = policy
	}
	e.Facts = append(e.Facts, fact("rule", rule))
	if source != "" {
		e.Facts = append(e.Facts, fact("source", source))
	}
}

// AuditItem implements the message layer's Auditor.
func (s *Store) AuditItem(ctx context.Context, it *kmip.AuditItem) error {
	t, _ := it.Call.Tx.(*tx)
	e := eventOf(it.Call, it.Operation)
	e.Policy = s.policyOf(it.Call).Name()
	if it.Operation == 0 {
		e.Kind = audit.KindMessage
	}
	switch {
	case it.Err != nil:
		e = failure(e, it.Err)
	case len(it.Pending) > 0 && it.Operation != kmip.OperationPoll:
		return nil // AddJob has recorded it with the job
	case len(it.Pending) > 0:
		e.Outcome, e.Job = audit.Pending, hex.EncodeToString(it.Pending)
	case t != nil && t.item.recorded:
		return nil
	case t != nil:
		e.Release = t.item.by.Release
	}
	if it.Target != "" {
		e.Objects = []audit.Object{{UID: it.Target}}
	}
	if e.Client == "" && !s.trail.limits.allow("requests of unregistered clients") {
		return nil // they are counted
	}
	return s.trail.put(ctx, s.payload(e, nil), e.Release == audit.ReleasePlain && s.waitsForRelease(it.Call))
}

// waitsForRelease tells whether a release in clear must be on disk before the answer leaves.
func (s *Store) waitsForRelease(call *kmip.Call) bool {
	if r := s.cfg.Audit.Releases; r != "" {
		return r == ReleasesDurable
	}
	return s.policyOf(call).Strict()
}

// AuditConnection implements the message layer's Auditor.
func (s *Store) AuditConnection(c kmip.AuditConnection) {
	e := audit.Event{Kind: audit.KindConnection, Outcome: audit.Failure, Operation: "connect", Address: c.Address, Listener: c.Listener}
	if c.Err != nil {
		e.Message = c.Err.Error()
		ruled(&e, c.Err)
	}
	s.offer(limitConnections, e)
}

// offer records an event that strangers can cause as often as they like: the first ones of a minute, and how many followed.
func (s *Store) offer(kind string, e audit.Event) {
	if s.trail.limits.allow(kind) {
		s.trail.offer(s.payload(e, nil))
	}
}

// Record puts an event of another part of the server into the trail, and returns when it is on disk.
func (s *Store) Record(ctx context.Context, e audit.Event) error {
	if e.Outcome == "" {
		e.Outcome = audit.Success
	}
	return s.trail.put(ctx, s.payload(e, nil), true)
}
