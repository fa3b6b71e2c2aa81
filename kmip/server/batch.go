package server

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// settleTime is how long Commit and Rollback may take after the request's own time is up: a decision must be carried
// through.
const settleTime = 30 * time.Second

var (
	errNoResponse = errors.New("handler returned neither response nor error")
	errCommit     = errors.New("commit failed")
)

// batch is the state of one request message while its items run. One goroutine owns it.
type batch struct {
	srv    *Server
	peer   *peer
	msg    *message
	caller kmip.Caller
	now    time.Time
	corr   string

	refusal     error // why no item may run, or nil
	tx          kmip.Tx
	placeholder string
	out         *buffer
	itemsAt     int // where the items begin in out
	limit       int // octets of the whole response
	limitErr    error
	answered    int // items in out
	ids         []itemID
	rooms       []int // reserve of each item, and 0 behind the last
	done        []done
	panicked    bool

	oneID   [1]itemID // memory of ids and rooms for the usual message
	oneRoom [2]int
}

// done is an item that succeeded, as needed to answer that it was undone.
type done struct {
	itemID
	target string
}

func newBatch(s *Server, p *peer, m *message, now time.Time, corr string, out *buffer) *batch {
	b := &batch{srv: s, peer: p, msg: m, now: now, corr: corr, out: out, limit: s.cfg.MaxResponseSize, limitErr: errServerLimit}
	if n := m.header.MaximumResponseSize; n != nil && int(*n) < b.limit {
		b.limit, b.limitErr = int(*n), errTooLarge
	}
	shown := ""
	if m.header.ClientCorrelationValue != nil {
		// KMIP 1.4 section 6.19 makes it a SHOULD, and PyKMIP cannot read an answer that has it: it goes to clients that
		// correlate.
		shown = corr
	}
	beginResponse(out, m.version, now, shown)
	b.itemsAt = len(out.b)
	b.ids, b.rooms = b.oneID[:0], b.oneRoom[:]
	if n := len(m.items); n > 1 {
		b.ids, b.rooms = make([]itemID, 0, n), make([]int, n+1)
	}
	for _, it := range m.items {
		b.ids = append(b.ids, identify(it))
	}
	for i := len(b.ids) - 1; i >= 0; i-- {
		if b.rooms[i] = b.ids[i].size(); m.goesOn() {
			b.rooms[i] += b.rooms[i+1]
		}
	}
	return b
}

// authenticate establishes who asks. What fails here fails every item of the message, none of which is run. It tells
// whether the connection may go on: it ends when the certificate is not good any more.
func (b *batch) authenticate(ctx context.Context) (keep bool) {
	caller, err := b.peer.identify(ctx)
	if err != nil {
		b.refusal = err
		return kmip.ReasonOf(err) != kmip.ResultReasonAuthenticationNotSuccessful
	}
	b.caller = caller
	// The credentials of an unregistered client are of no interest: it may not do anything that they could change.
	if auth := b.msg.header.Authentication; auth != nil && caller.Client != "" {
		if b.caller, err = b.srv.cfg.Authenticator.Credentials(ctx, caller, auth); err != nil {
			b.caller, b.refusal = caller, err
			return true
		}
	}
	b.refusal = b.extensions()
	return true
}

// extensions looks for critical Message Extensions. This server understands none, and then "the receiver SHALL reject
// the entire message" (KMIP 1.4 section 6.16): before anything of it has been done.
func (b *batch) extensions() error {
	for _, item := range b.msg.items {
		for m := range item.Members {
			if m.Tag != kmip.TagMessageExtension || m.Type != ttlv.Structure {
				continue
			}
			if c := m.Find(kmip.TagCriticalityIndicator); c.Type == ttlv.Boolean && c.Bool() {
				return kmip.Errorf(kmip.ResultReasonFeatureNotSupported, "the message has a critical Message Extension that is not understood")
			}
		}
	}
	return nil
}

// run processes the items in order, whatever Batch Order Option says, and completes the response.
func (b *batch) run(ctx context.Context) {
	defer b.end(ctx)
	for i := range b.msg.items {
		if !b.item(ctx, i) && !b.msg.goesOn() {
			break
		}
	}
}

// begin starts the undo log when the first item needs it.
func (b *batch) begin() kmip.Tx {
	if b.tx == nil {
		b.tx = b.srv.cfg.Keystore.Begin(b.msg.undo())
	}
	return b.tx
}

// end completes the response and frees the locks that an interrupted message may still hold.
func (b *batch) end(ctx context.Context) {
	if b.tx != nil {
		if b.tx.Mark() > 0 {
			var cancel context.CancelFunc
			ctx, cancel = settle(ctx)
			defer cancel()
		}
		if err := b.tx.Rollback(ctx, 0); err != nil {
			b.peer.log.Error().Str("corr", b.corr).Err(err).Msg("undo log is not empty at the end of the message")
		}
	}
	endResponse(b.out, b.itemsAt, b.answered)
}

func settle(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), settleTime)
}

// item processes one item and appends its answer. It tells whether the item succeeded.
func (b *batch) item(ctx context.Context, i int) bool {
	began := time.Now()
	id, at, mark := b.ids[i], len(b.out.b), 0
	if b.tx != nil {
		mark = b.tx.Mark()
	}
	c := &call{
		Call: kmip.Call{Version: b.msg.version, Caller: b.caller, Now: b.now, Listener: b.peer.listener, Address: b.peer.remote, Request: b.corr},
		Keys: b.srv.cfg.Keystore, srv: b.srv, placeholder: b.placeholder, takesPending: b.takesPending(i),
	}
	resp, err := b.attempt(ctx, c, b.msg.items[i])
	asked := id.op
	if c.answers != 0 {
		id.op = c.answers
	}
	if err == nil {
		err = b.succeed(ctx, c, asked, id, resp, i)
	}
	if err != nil {
		b.out.truncate(at)
		err = b.fail(ctx, c, id, resp, err, mark)
		if unrecorded := b.record(ctx, asked, c, err); unrecorded != nil {
			b.peer.log.Error().Str("corr", b.corr).Err(unrecorded).Msg("a refusal could not be recorded")
		}
	} else {
		b.answered++
		b.done = append(b.done, done{id, c.Target})
	}
	if resp != nil {
		wipePayload(resp)
	}
	if c.SetPlaceholder {
		b.placeholder = c.Placeholder
	}
	b.audit(asked, c, err, time.Since(began))
	return err == nil
}

// identify reads what an answer repeats of an item that may not decode as a whole.
func identify(item ttlv.Item) itemID {
	var id itemID
	if op := item.Find(kmip.TagOperation); op.Type == ttlv.Enumeration {
		id.op = kmip.Operation(op.Enum())
	}
	if v := item.Find(kmip.TagUniqueBatchItemID); v.Type == ttlv.ByteString {
		id.id = v.Value
	}
	return id
}

// attempt decodes and dispatches an item. A panic of a handler becomes a failure of its item, so that the answers of
// the items before it are still given.
func (b *batch) attempt(ctx context.Context, c *call, item ttlv.Item) (resp payload, err error) {
	defer func() {
		if r := recover(); r != nil {
			b.srv.counters.panics.Add(1)
			b.panicked = true
			b.peer.log.Error().Str("corr", b.corr).Interface("panic", r).Bytes("stack", debug.Stack()).Msg("panic in a handler")
			resp, err = nil, errPanic
		}
	}()
	if b.refusal != nil {
		return nil, b.refusal
	}
	var it kmip.RequestBatchItem
	if err := it.Decode(item); err != nil {
		return nil, err
	}
	return b.dispatch(ctx, c, &it)
}

// succeed appends the answer of a done item and makes what it did final. The size is known before anything is final:
// an answer that is too large leaves no effect behind (KMIP 1.4 section 6.3). What the items after this one need at
// least is held free. What is not recorded is not given, and the record comes before the end of the transaction: after it a
// batch with Undo could not be taken back any more.
func (b *batch) succeed(ctx context.Context, c *call, asked kmip.Operation, id itemID, resp payload, i int) error {
	if c.pending != nil {
		appendPending(b.out, id, c.pending)
	} else {
		appendSuccess(b.out, id, b.msg.version, resp)
	}
	if len(b.out.b)+b.reserve(i+1) > b.limit {
		return b.limitErr
	}
	if c.job != nil {
		if err := b.srv.cfg.Jobs.AddJob(ctx, c.job); err != nil {
			return err
		}
	}
	if err := b.record(ctx, asked, c, nil); err != nil {
		return err
	}
	last := i == len(b.msg.items)-1
	if b.tx == nil || b.msg.undo() && !last {
		return nil
	}
	if b.tx.Mark() > 0 { // a reader has nothing to carry through, and a timer costs as much as a read
		var cancel context.CancelFunc
		ctx, cancel = settle(ctx)
		defer cancel()
	}
	if err := b.tx.Commit(ctx); err != nil {
		return fmt.Errorf("%w: %w", errCommit, err)
	}
	return nil
}

// tooMany tells that not even the smallest answers of the items fit Maximum Response Size.
func (b *batch) tooMany() bool {
	return len(b.msg.items) > 1 && b.itemsAt+b.reserve(0) > b.limit
}

// reserve is the least room that the answers of the items from i on take: all of them with Continue, otherwise one,
// since the first failure is the last answer.
func (b *batch) reserve(i int) int { return b.rooms[i] }

// fail takes back what a failed item has done so far, and with Undo what the items before it did, and appends the
// answers. It returns the error that the client is told.
func (b *batch) fail(ctx context.Context, c *call, id itemID, resp payload, err error, mark int) error {
	e := lookup(id.op)
	c.SetPlaceholder = c.SetPlaceholder && c.Placeholder == "" || e != nil && e.places
	c.Placeholder = ""
	if b.msg.undo() {
		mark = 0
	}
	undone := b.rollback(ctx, mark, err)
	if undone != nil {
		err = kmip.Errorf(kmip.ResultReasonGeneralFailure, "the operation failed and may still be in effect").Because(undone)
	}
	if b.msg.undo() {
		b.answerUndone(undone)
	}
	if ourFault(err) {
		resp = nil // a payload belongs to a refusal by the operation itself
	}
	limit := b.limit
	if b.msg.goesOn() {
		limit -= b.reserve(b.answered + 1)
	}
	appendFailure(b.out, id, b.msg.version, b.corr, err, failurePayload(resp), limit)
	b.answered++
	return err
}

// rollback takes back what was done after the mark, because of the failure err. An error means that it may remain: so
// it is after a failed Commit, which is past the point of return.
func (b *batch) rollback(ctx context.Context, mark int, err error) error {
	if b.tx == nil {
		return nil
	}
	if errors.Is(err, errCommit) {
		return err
	}
	ctx, cancel := settle(ctx)
	defer cancel()
	if undo := b.tx.Rollback(ctx, mark); undo != nil {
		return fmt.Errorf("%w; rollback: %w", err, undo)
	}
	return nil
}

// answerUndone replaces the answers so far: the items were undone, or could not be.
func (b *batch) answerUndone(failed error) {
	b.out.truncate(b.itemsAt)
	for _, d := range b.done {
		if failed == nil {
			appendUndone(b.out, d.itemID)
		} else {
			appendFailure(b.out, d.itemID, b.msg.version, b.corr, errUndoFailed, nil, b.limit)
		}
		b.auditUndone(d, failed)
	}
}

// failurePayload is the payload that goes with a failure: only Check has one (KMIP 1.4 section 4.10).
func failurePayload(p payload) payload {
	if r, ok := p.(*kmip.CheckResponse); ok {
		return r
	}
	return nil
}
