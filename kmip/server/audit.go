package server

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"kmipd/kmip"
)

// maxLogged bounds what a client can make us log of its own words.
const maxLogged = 128

// audit writes the one line of an item, and counts it. Payload values never get here: the line has the Unique
// Identifier, which is no secret, and the reason.
func (b *batch) audit(op kmip.Operation, c *call, err error, took time.Duration) {
	reason := kmip.ResultReason(0)
	log := &b.peer.log
	var ev *zerolog.Event
	switch {
	case err == nil:
		ev = log.Info()
	case ourFault(err):
		reason = kmip.ReasonOf(err)
		ev = log.Error().AnErr("cause", err)
	default:
		reason = kmip.ReasonOf(err)
		ev = log.Warn().AnErr("cause", err)
	}
	b.srv.counters.item(op, reason)
	id := c.Target
	if id == "" && err == nil {
		id = c.Placeholder // the object that the item made or found
	}
	b.srv.refusals.note(err, Refusal{Client: b.caller.Client, Listener: c.Listener, Operation: op, Object: id, Reason: reason})
	b.line(ev, op, id).Stringer("version", b.msg.version).Dur("elapsed", took)
	if err != nil {
		ev.Stringer("reason", reason)
	} else if c.pending != nil {
		ev.Hex("job", c.pending)
	}
	ev.Msg("item")
}

// record puts an item into the audit trail.
func (b *batch) record(ctx context.Context, op kmip.Operation, c *call, failure error) error {
	a := b.srv.cfg.Auditor
	if a == nil {
		return nil
	}
	target := c.Target
	if target == "" && failure == nil {
		target = c.Placeholder
	}
	item := kmip.AuditItem{Call: &c.Call, Operation: op, Target: target, Pending: c.pending, Err: failure}
	if failure != nil {
		item.Pending = nil
	}
	return a.AuditItem(ctx, &item)
}

// auditMessage records a message that is refused as a whole.
func (s *Server) auditMessage(ctx context.Context, p *peer, corr string, failure error) {
	if s.cfg.Auditor == nil {
		return
	}
	caller, err := p.identify(ctx)
	if err != nil {
		caller = kmip.Caller{} // the record says that nobody could be told
	}
	call := kmip.Call{Caller: caller, Now: s.cfg.Clock().UTC(), Listener: p.listener, Address: p.remote, Request: corr}
	reason, text := explain(failure, s.newest(), corr)
	item := kmip.AuditItem{Call: &call, Err: kmip.Errorf(reason, "%s", text).Because(failure)}
	if err := s.cfg.Auditor.AuditItem(ctx, &item); err != nil {
		p.log.Error().Str("corr", corr).Err(err).Msg("a refusal could not be recorded")
	}
}

func (b *batch) auditUndone(d done, failed error) {
	ev := b.peer.log.Warn()
	if failed != nil {
		ev = b.peer.log.Error().AnErr("cause", failed)
	}
	b.line(ev, d.op, d.target).Bool("undone", failed == nil).Msg("item undone")
}

func (b *batch) line(ev *zerolog.Event, op kmip.Operation, id string) *zerolog.Event {
	ev.Str("corr", b.corr).Str("client", b.caller.Client).Stringer("operation", op)
	if b.caller.User != "" {
		ev.Str("user", b.caller.User)
	}
	if id != "" {
		ev.Str("uid", short(id))
	}
	if v := b.msg.header.ClientCorrelationValue; v != nil {
		ev.Str("client_corr", short(*v)) // "The server SHOULD log this information" (KMIP 1.4 section 6.18)
	}
	return ev
}

// ourFault tells a fault of server, store or token from a refusal.
func ourFault(err error) bool {
	var ke *kmip.Error
	return !errors.As(err, &ke) || ke.Reason == kmip.ResultReasonGeneralFailure
}

func short(s string) string {
	if len(s) > maxLogged {
		return s[:maxLogged] + "..."
	}
	return s
}

// ItemKey is what items are counted by.
type ItemKey struct {
	Operation kmip.Operation    // 0: unknown to the server, or the message could not be read
	Reason    kmip.ResultReason // 0: success
}

// Counters is a snapshot of what happened since the start of the server.
type Counters struct {
	Accepted   uint64 // connections
	Active     int    // connections now
	Rejected   uint64 // connections over the limit
	Handshakes uint64 // that failed
	Requests   uint64 // messages, unreadable ones included
	Panics     uint64
	Items      map[ItemKey]uint64
	Refusals   map[string]uint64 // connections that were refused at their handshake or after it, by rule
}

type counters struct {
	accepted, rejected, handshakes, requests, panics atomic.Uint64

	mu       sync.Mutex // guards the fields below
	items    map[ItemKey]uint64
	refusals map[string]uint64
}

func (c *counters) item(op kmip.Operation, reason kmip.ResultReason) {
	if lookup(op) == nil {
		op = 0 // clients must not be able to fill the map
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.items == nil {
		c.items = map[ItemKey]uint64{}
	}
	c.items[ItemKey{op, reason}]++
}

// Counters returns a snapshot.
func (s *Server) Counters() Counters {
	s.mu.Lock()
	active := len(s.conns)
	s.mu.Unlock()
	c := &s.counters
	c.mu.Lock()
	defer c.mu.Unlock()
	return Counters{
		Accepted: c.accepted.Load(), Active: active, Rejected: c.rejected.Load(), Handshakes: c.handshakes.Load(),
		Requests: c.requests.Load(), Panics: c.panics.Load(), Items: maps.Clone(c.items), Refusals: c.refused(),
	}
}
