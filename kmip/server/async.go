package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// Asynchronous work (KMIP 1.4 sections 6.7, 6.8, 4.27, 4.28). An item becomes a job when the client can take an
// asynchronous answer and the operation is one of those that take long or that an administrator has to approve. It is
// checked and authorized first, so that a wrong request is refused at once; then the job is made durable, and only then
// the client is told that it is pending. Workers of a bounded number do the jobs through the rows of the dispatch table,
// with a check of the rights as they are by then.

// Jobs is the durable table of asynchronous work. Its methods are safe for concurrent use.
type Jobs interface {
	// Holds tells that the operation is done only after an administrator has approved the request.
	Holds(op kmip.Operation) bool
	// JobRoom tells whether the caller may have another job.
	JobRoom(caller kmip.Caller) bool
	// AddJob makes a job durable. It keeps nothing of the memory of the job.
	AddJob(ctx context.Context, job *kmip.Job) error
	// PollJob finds a job of the caller and its state. A lazy job that has not been done becomes the caller's to do.
	// Item Not Found when the caller has no such job.
	PollJob(ctx context.Context, caller kmip.Caller, id []byte) (*kmip.Job, error)
	// CancelJob ends a job that has not begun. Its result is Unavailable when the caller has no such job.
	CancelJob(ctx context.Context, caller kmip.Caller, id []byte) (kmip.CancellationResult, error)
	// NextJob waits for a job to do; it is the caller's until FinishJob. The error is that of the context.
	NextJob(ctx context.Context) (*kmip.Job, error)
	// BeginJob starts the undo log of a job. The answer of the job becomes durable together with its change.
	BeginJob(job *kmip.Job) kmip.Tx
	// FinishJob makes the answer durable: the encoded Response Payload, or the failure.
	FinishJob(ctx context.Context, job *kmip.Job, response []byte, failure *kmip.Error) error
}

// asyncMode says when an operation becomes a job. Only operations without key bytes in request and answer may: both are
// stored.
type asyncMode uint8

const (
	asyncNever asyncMode = iota // always done at once, which the Asynchronous Indicator allows
	asyncHeld                   // cheap: a job only when it waits for an administrator
	asyncRun                    // takes long, or is what clients expect to poll for: a job whenever the client allows it
	asyncPoll                   // a job that the first Poll does: cheap, but a client that asks may want to cancel it
)

// maxJobPayload bounds what is stored of a request. A larger one is done at once.
const maxJobPayload = 64 << 10

// jobIDSize is the length of an Asynchronous Correlation Value. It is random: nobody guesses that of another client.
const jobIDSize = 16

// Approvable lists the operations that can be made to wait for an administrator.
func Approvable() []kmip.Operation {
	var ops []kmip.Operation
	for _, e := range rows {
		if e.async == asyncHeld || e.async == asyncRun {
			ops = append(ops, e.code)
		}
	}
	return ops
}

// takesPending tells whether item i may be answered with Operation Pending. What is pending cannot be undone with the
// batch, and an item that must come after it (Batch Order Option) would come before it.
func (b *batch) takesPending(i int) bool {
	h := &b.msg.header
	ordered := h.BatchOrderOption != nil && *h.BatchOrderOption
	return h.AsynchronousIndicator != nil && *h.AsynchronousIndicator && !b.msg.undo() && (!ordered || i == len(b.msg.items)-1)
}

// postpone makes the item a job instead of doing it, and tells so. The batch adds the job once the answer is known to fit.
func (c *call) postpone(e *entry, request ttlv.Item) (bool, error) {
	jobs := c.srv.cfg.Jobs
	if jobs == nil || e.async == asyncNever || c.replay {
		return false, nil
	}
	held := e.async != asyncPoll && jobs.Holds(e.code)
	switch {
	case held && !c.takesPending:
		// A client that does not set the indicator cannot be kept waiting (6.7), so it cannot have this operation.
		return false, kmip.Errorf(kmip.ResultReasonPermissionDenied,
			"%s waits for an administrator here: set Asynchronous Indicator, without Undo, the item last in an ordered batch", e.code)
	case held && len(request.Value) > maxJobPayload:
		return false, kmip.Errorf(kmip.ResultReasonInvalidField, "the request is too large to wait for an administrator")
	case !held && (!c.takesPending || e.async == asyncHeld || len(request.Value) > maxJobPayload || !jobs.JobRoom(c.Caller)):
		return false, nil
	}
	id := make([]byte, jobIDSize)
	rand.Read(id) // never fails: crypto/rand aborts the process instead
	c.pending = id
	c.job = &kmip.Job{ID: id, Caller: c.Caller, Listener: c.Listener, Version: c.Version, Operation: e.code, Target: c.Target,
		Payload: ttlv.AppendItem(nil, kmip.TagRequestPayload, request), Lazy: e.async == asyncPoll}
	if e.places {
		c.place("") // the object does not exist yet
	}
	return true, nil
}

// appendPending appends an item that goes on without the client (KMIP 1.4 section 6.9).
func appendPending(out *buffer, id itemID, correlation []byte) {
	out.grow(id.size() + 2*ttlv.HeaderSize + len(correlation))
	b, mark := ttlv.Begin(out.b, kmip.TagBatchItem)
	b = id.append(b)
	b = ttlv.AppendEnum(b, kmip.TagResultStatus, uint32(kmip.ResultStatusOperationPending))
	b = ttlv.AppendBytes(b, kmip.TagAsynchronousCorrelationValue, correlation)
	out.set(ttlv.End(b, mark))
}

// startWorkers starts the goroutines that do jobs. The caller holds s.mu and knows that the server is not draining.
func (s *Server) startWorkers() {
	if s.cfg.Jobs == nil || s.working {
		return
	}
	s.working = true
	for range s.cfg.JobWorkers {
		s.wg.Go(s.work)
	}
}

// work does jobs until the server drains; a job that runs is finished first.
func (s *Server) work() {
	for {
		job, err := s.cfg.Jobs.NextJob(s.taking)
		if err != nil {
			if s.taking.Err() != nil {
				return
			}
			s.cfg.Logger.Error().Err(err).Msg("taking a job")
			s.pause(time.Second)
			continue
		}
		if _, failure := s.do(s.base, job); failure != nil {
			s.cfg.Logger.Debug().Err(failure).Msg("a job failed; its answer says so") // do has logged it with its cause
		}
	}
}

// do does a job, makes its answer durable, and returns it.
func (s *Server) do(ctx context.Context, job *kmip.Job) ([]byte, *kmip.Error) {
	began := time.Now()
	id := hex.EncodeToString(job.ID)
	response, err := s.perform(ctx, job)
	ev := s.cfg.Logger.Info()
	if err != nil {
		ev = s.cfg.Logger.Warn().AnErr("cause", err)
	}
	ev.Str("job", id).Str("client", job.Caller.Client).Stringer("operation", job.Operation).Dur("elapsed", time.Since(began))
	if job.Target != "" {
		ev.Str("uid", short(job.Target))
	}
	if err != nil && s.base.Err() != nil && errors.Is(err, context.Canceled) && !errors.Is(err, errCommit) {
		ev.Msg("job stopped, it begins anew at the next start")
		return nil, kmip.Errorf(kmip.ResultReasonGeneralFailure, "the server is shutting down")
	}
	var failure *kmip.Error
	if err != nil {
		reason, text := explain(err, job.Version, id)
		failure = kmip.Errorf(reason, "%s", text)
		ev.Stringer("reason", reason)
	}
	ev.Msg("job")
	end, cancel := settle(ctx)
	defer cancel()
	if err := s.cfg.Jobs.FinishJob(end, job, response, failure); err != nil {
		s.cfg.Logger.Error().Err(err).Str("job", id).Msg("storing the answer of a job")
	}
	return response, failure
}

// perform runs a job through its row, in a transaction of its own. Without an error its change is final; with one there
// is none, unless the error is errCommit.
func (s *Server) perform(ctx context.Context, job *kmip.Job) (response []byte, err error) {
	e := table[job.Operation]
	if e == nil || e.async == asyncNever {
		return nil, kmip.Errorf(kmip.ResultReasonOperationNotSupported, "%s is not done asynchronously any more", job.Operation)
	}
	if s.doors[job.Listener] == nil {
		// Its policy is not known any more, and that of the server may be laxer.
		return nil, kmip.Errorf(kmip.ResultReasonPermissionDenied, "the listener that the request came in by is not there any more")
	}
	request, err := ttlv.Parse(job.Payload, ttlv.Limits{MaxSize: 2 * maxJobPayload, MaxDepth: ttlv.DefaultLimits.MaxDepth, MaxItems: ttlv.DefaultLimits.MaxItems})
	if err != nil {
		return nil, fmt.Errorf("the stored request of a job: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, e.limit)
	defer cancel()
	tx := s.cfg.Jobs.BeginJob(job)
	defer func() {
		if r := recover(); r != nil {
			s.counters.panics.Add(1)
			s.cfg.Logger.Error().Str("job", hex.EncodeToString(job.ID)).Interface("panic", r).Bytes("stack", debug.Stack()).Msg("panic in a job")
			response, err = nil, errPanic
		}
		end, cancel := settle(ctx)
		defer cancel()
		if undo := tx.Rollback(end, 0); undo != nil {
			response, err = nil, fmt.Errorf("%w: %w: rollback: %w", errCommit, err, undo)
		}
		if errors.Is(err, errCommit) {
			err = kmip.Errorf(kmip.ResultReasonGeneralFailure, "the operation failed and may still be in effect").Because(err)
		}
	}()
	c := &call{
		Call: kmip.Call{Version: job.Version, Caller: job.Caller, Now: s.cfg.Clock().UTC(), Tx: tx, Listener: job.Listener},
		Keys: s.cfg.Keystore, srv: s, placeholder: job.Target, replay: true,
	}
	p, err := e.handle(ctx, c, request)
	if err != nil {
		return nil, err
	}
	response = p.Append(nil, kmip.TagResponsePayload, job.Version)
	end, stop := settle(ctx)
	defer stop()
	if err := tx.Commit(end); err != nil {
		return nil, fmt.Errorf("%w: %w", errCommit, err)
	}
	return response, nil
}
