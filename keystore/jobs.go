package keystore

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"sync"
	"time"

	"kmipd/keystore/audit"
	"kmipd/kmip"
	"kmipd/metadata"
)

// The table of asynchronous work (KMIP 1.4 sections 4.27, 4.28). It is durable: a job is stored before the client is told
// of it, and the batch that commits its change stores its answer, too (tx.answer). A job that has no answer after a stop
// has therefore changed nothing, whatever it was doing, and is done at the next start; one that has is never done again.
// The store's lock and this table see to it that one goroutine at a time has a job.

const (
	maxJobs       = 20000   // in the table, finished ones included
	maxClientJobs = 256     // of one client that are not finished
	maxKeptAnswer = 1 << 20 // octets of an answer that is kept; a larger one is given once
	jobLifetime   = 24 * time.Hour
)

// jobs is the memory of the table: what decides who may do what next. Payloads and answers stay in the record store.
type jobs struct {
	holds map[kmip.Operation]bool
	wake  chan struct{} // holds a value when queue may have grown

	mu     sync.Mutex // guards the fields below and those of every entry
	loaded bool
	queue  []string // identifiers of jobs to do, in the order in which they came
	all    map[string]*jobEntry
	open   map[string]int // jobs that are not finished, by client
}

type jobEntry struct {
	id, client, user string
	state            metadata.JobState
	lazy             bool
	expires          time.Time
	// busy: somebody is changing the job, or doing it. Only who set it clears it.
	busy    bool
	running *metadata.Job // as stored, while it is done
}

func newJobs(approve []kmip.Operation) *jobs {
	t := &jobs{holds: map[kmip.Operation]bool{}, wake: make(chan struct{}, 1), all: map[string]*jobEntry{}, open: map[string]int{}}
	for _, op := range approve {
		t.holds[op] = true
	}
	return t
}

// loadJobs fills the table from the store, once. Jobs that wait for nobody are to be done.
func (s *Store) loadJobs(ctx context.Context) error {
	t := s.jobs
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.loaded {
		return nil
	}
	clear(t.all)
	clear(t.open)
	var stored []*metadata.Job
	err := s.meta.Jobs(ctx, func(j *metadata.Job) error {
		stored = append(stored, &metadata.Job{ID: j.ID, Client: j.Client, User: j.User, State: j.State, Lazy: j.Lazy,
			Accepted: j.Accepted, Expires: j.Expires})
		return nil
	})
	if errors.Is(err, metadata.ErrCorrupt) {
		s.log.Error().Err(err).Msg("jobs that cannot be read stay where they are")
	} else if err != nil {
		return err
	}
	slices.SortStableFunc(stored, func(a, b *metadata.Job) int { return a.Accepted.Compare(b.Accepted) })
	for _, j := range stored {
		t.insert(&jobEntry{id: j.ID, client: j.Client, user: j.User, state: j.State, lazy: j.Lazy, expires: j.Expires})
		if j.State == metadata.JobQueued && !j.Lazy {
			t.queue = append(t.queue, j.ID)
		}
	}
	t.loaded = true
	t.signal()
	return nil
}

// push hands a job to the workers.
func (t *jobs) push(id string) {
	t.mu.Lock()
	t.queue = append(t.queue, id)
	t.mu.Unlock()
	t.signal()
}

func (t *jobs) signal() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// pop waits for the next job.
func (t *jobs) pop(ctx context.Context) (string, error) {
	for {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		t.mu.Lock()
		if len(t.queue) > 0 {
			id := t.queue[0]
			t.queue = t.queue[1:]
			more := len(t.queue) > 0
			t.mu.Unlock()
			if more {
				t.signal() // for another worker
			}
			return id, nil
		}
		t.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-t.wake:
		}
	}
}

func (t *jobs) insert(e *jobEntry) {
	t.all[e.id] = e
	if !e.state.Over() {
		t.open[e.client]++
	}
}

func (t *jobs) remove(e *jobEntry) {
	t.moved(e, metadata.JobCanceled)
	delete(t.all, e.id)
}

// moved books a state. The caller holds mu.
func (t *jobs) moved(e *jobEntry, to metadata.JobState) {
	if !e.state.Over() && to.Over() {
		if t.open[e.client]--; t.open[e.client] == 0 {
			delete(t.open, e.client)
		}
	}
	if e.state == metadata.JobQueued && to == metadata.JobCanceled {
		t.queue = slices.DeleteFunc(t.queue, func(id string) bool { return id == e.id })
	}
	e.state = to
}

// claim gives the caller's job to the goroutine that asks, if ready says so; the state is that of the moment. found is
// false when the caller has no such job.
func (t *jobs) claim(caller *kmip.Caller, id string, ready func(*jobEntry) bool) (e *jobEntry, state metadata.JobState, mine, found bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e = t.all[id]
	if e == nil || caller != nil && (e.client != caller.Client || e.user != caller.User) {
		return nil, 0, false, false
	}
	if !e.busy && ready(e) {
		e.busy, mine = true, true
	}
	return e, e.state, mine, true
}

// settled ends a claim: with the state that is stored now.
func (t *jobs) settled(e *jobEntry, state metadata.JobState, expires time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.moved(e, state)
	e.busy, e.running, e.expires = false, nil, expires
}

// unclaim ends a claim that changed nothing.
func (t *jobs) unclaim(e *jobEntry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e.busy, e.running = false, nil
}

// Holds tells that the operation is done only after an administrator has approved the request.
func (s *Store) Holds(op kmip.Operation) bool { return s.jobs.holds[op] }

// JobRoom tells whether the client may have another job.
func (s *Store) JobRoom(caller kmip.Caller) bool {
	t := s.jobs
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.room(caller.Client)
}

func (t *jobs) room(client string) bool {
	return len(t.all) < maxJobs && t.open[client] < maxClientJobs
}

// AddJob makes a job durable and hands it to the workers, unless it waits for an administrator or for a poll.
func (s *Store) AddJob(ctx context.Context, job *kmip.Job) error {
	if err := s.trail.ready(ctx); err != nil {
		return err
	}
	now := s.cfg.Clock().UTC()
	rec := &metadata.Job{ID: hex.EncodeToString(job.ID), Client: job.Caller.Client, User: job.Caller.User, Listener: job.Listener, Operation: job.Operation,
		Version: job.Version, Target: job.Target, Payload: job.Payload, State: metadata.JobQueued, Lazy: job.Lazy,
		Accepted: now, Expires: now.Add(s.cfg.JobLifetime)}
	if s.jobs.holds[job.Operation] && !job.Lazy {
		rec.State = metadata.JobWaiting
	}
	e := &jobEntry{id: rec.ID, client: rec.Client, user: rec.User, state: rec.State, lazy: rec.Lazy, expires: rec.Expires, busy: true}
	t := s.jobs
	t.mu.Lock()
	if !t.room(rec.Client) {
		t.mu.Unlock()
		return kmip.Errorf(kmip.ResultReasonGeneralFailure, "too many asynchronous requests are outstanding; poll or cancel some")
	}
	t.insert(e)
	t.mu.Unlock()
	if err := s.commit(ctx, &metadata.Batch{PutJobs: []*metadata.Job{rec}}, ofJob(rec, rec.Operation.String(), audit.Pending)); err != nil {
		t.mu.Lock()
		t.remove(e)
		t.mu.Unlock()
		return toKMIP(err)
	}
	t.unclaim(e)
	switch {
	case rec.State == metadata.JobWaiting:
		s.log.Info().Str("job", rec.ID).Str("client", rec.Client).Stringer("operation", rec.Operation).Str("uid", rec.Target).
			Msg("a request waits for an administrator: kmipd job list")
	case !rec.Lazy:
		t.push(rec.ID)
	}
	return nil
}

func noJob() error {
	return kmip.Errorf(kmip.ResultReasonItemNotFound, "no operation has this Asynchronous Correlation Value")
}

// PollJob finds a job of the caller and its state.
func (s *Store) PollJob(ctx context.Context, caller kmip.Caller, id []byte) (*kmip.Job, error) {
	e, state, mine, found := s.jobs.claim(&caller, hex.EncodeToString(id), func(e *jobEntry) bool {
		return e.lazy && e.state == metadata.JobQueued
	})
	switch {
	case !found:
		return nil, noJob()
	case mine:
		job, err := s.take(ctx, e)
		if err != nil {
			return nil, toKMIP(err)
		}
		job.State = kmip.JobYours
		return job, nil
	case !state.Over():
		return &kmip.Job{ID: slices.Clone(id), State: kmip.JobPending}, nil
	}
	rec, err := s.meta.Job(ctx, e.id)
	if isNotFound(err) {
		return nil, noJob() // it expired meanwhile
	}
	if err != nil {
		return nil, toKMIP(err)
	}
	return jobOf(rec), nil
}

// take reads a claimed job that is to be done now. After an error the claim is given up.
func (s *Store) take(ctx context.Context, e *jobEntry) (*kmip.Job, error) {
	rec, err := s.meta.Job(ctx, e.id)
	if err != nil {
		s.jobs.unclaim(e)
		return nil, err
	}
	s.jobs.mu.Lock()
	e.running = rec
	s.jobs.mu.Unlock()
	return jobOf(rec), nil
}

func jobOf(rec *metadata.Job) *kmip.Job {
	id, _ := hex.DecodeString(rec.ID) // as AddJob encoded it
	job := &kmip.Job{ID: id, Caller: kmip.Caller{Client: rec.Client, User: rec.User}, Listener: rec.Listener, Version: rec.Version, Operation: rec.Operation,
		Target: rec.Target, Payload: rec.Payload, Lazy: rec.Lazy, Response: rec.Response}
	switch rec.State {
	case metadata.JobDone:
		job.State = kmip.JobDone
	case metadata.JobFailed:
		job.State, job.Failure = kmip.JobFailed, kmip.Errorf(rec.Reason, "%s", rec.Message)
	case metadata.JobCanceled:
		job.State = kmip.JobCanceled
	case metadata.JobWaiting, metadata.JobQueued:
		job.State = kmip.JobPending
	}
	return job
}

// CancelJob ends a job that has not begun (KMIP 1.4 section 4.27). A call inside the token cannot be stopped, so a job that
// is being done is Unable To Cancel. One that was canceled before is Canceled again.
func (s *Store) CancelJob(ctx context.Context, caller kmip.Caller, id []byte) (kmip.CancellationResult, error) {
	e, state, mine, found := s.jobs.claim(&caller, hex.EncodeToString(id), func(e *jobEntry) bool { return !e.state.Over() })
	switch {
	case !found:
		return kmip.CancellationResultUnavailable, nil
	case mine:
		err := s.decide(ctx, e, func(rec *metadata.Job) audit.Event {
			rec.State = metadata.JobCanceled
			return ofJob(rec, kmip.OperationCancel.String(), audit.Success)
		})
		return kmip.CancellationResultCanceled, toKMIP(err)
	case state == metadata.JobDone:
		return kmip.CancellationResultCompleted, nil
	case state == metadata.JobFailed:
		return kmip.CancellationResultFailed, nil
	case state == metadata.JobCanceled:
		return kmip.CancellationResultCanceled, nil
	}
	return kmip.CancellationResultUnableToCancel, nil
}

// decide stores a claimed job with another state and ends the claim. What is over is kept for the lifetime of an answer.
func (s *Store) decide(ctx context.Context, e *jobEntry, change func(*metadata.Job) audit.Event) error {
	rec, err := s.meta.Job(ctx, e.id)
	if err != nil {
		s.jobs.unclaim(e)
		return err
	}
	by := change(rec)
	if rec.State.Over() {
		rec.Payload = nil
		rec.Expires = s.cfg.Clock().UTC().Add(s.cfg.JobLifetime)
	}
	if err := s.commit(ctx, &metadata.Batch{PutJobs: []*metadata.Job{rec}}, by); err != nil {
		s.jobs.unclaim(e)
		return err
	}
	s.jobs.settled(e, rec.State, rec.Expires)
	return nil
}

// NextJob waits for a job to do; it is the caller's until FinishJob.
func (s *Store) NextJob(ctx context.Context) (*kmip.Job, error) {
	for {
		id, err := s.jobs.pop(ctx)
		if err != nil {
			return nil, err
		}
		e, _, mine, _ := s.jobs.claim(nil, id, func(e *jobEntry) bool { return e.state == metadata.JobQueued && !e.lazy })
		if !mine {
			continue // canceled or expired meanwhile
		}
		job, err := s.stillWanted(ctx, e)
		if err != nil {
			s.jobs.push(id)
			return nil, err
		}
		if job != nil {
			return job, nil
		}
	}
}

// stillWanted reads a claimed job, unless its client is gone: then it has failed.
func (s *Store) stillWanted(ctx context.Context, e *jobEntry) (*kmip.Job, error) {
	c, err := s.meta.Client(ctx, e.client)
	switch {
	case isNotFound(err) || err == nil && c.Disabled:
		return nil, s.decide(ctx, e, func(rec *metadata.Job) audit.Event {
			rec.State, rec.Reason, rec.Message = metadata.JobFailed, kmip.ResultReasonPermissionDenied, "the client is not registered any more"
			return finished(rec)
		})
	case err != nil:
		s.jobs.unclaim(e)
		return nil, err
	}
	return s.take(ctx, e)
}

// BeginJob starts the undo log of a job that is the caller's.
func (s *Store) BeginJob(job *kmip.Job) kmip.Tx {
	t := &tx{s: s}
	s.jobs.mu.Lock()
	defer s.jobs.mu.Unlock()
	if e := s.jobs.all[hex.EncodeToString(job.ID)]; e != nil {
		t.job = e.running
	}
	return t
}

// FinishJob makes the answer of a job durable.
func (s *Store) FinishJob(ctx context.Context, job *kmip.Job, response []byte, failure *kmip.Error) error {
	s.jobs.mu.Lock()
	e := s.jobs.all[hex.EncodeToString(job.ID)]
	s.jobs.mu.Unlock()
	if e == nil || e.running == nil {
		return errors.New("keystore: a job is finished that nobody has")
	}
	if len(response) > maxKeptAnswer {
		if err := s.commit(ctx, &metadata.Batch{DropJobs: []string{e.id}}, ofJob(e.running, e.running.Operation.String(), audit.Success)); err != nil {
			return err
		}
		s.jobs.mu.Lock()
		s.jobs.remove(e)
		s.jobs.mu.Unlock()
		return nil
	}
	rec := *e.running
	rec.State, rec.Response, rec.Payload = metadata.JobDone, response, nil
	if failure != nil {
		rec.State, rec.Response, rec.Reason, rec.Message = metadata.JobFailed, nil, failure.Reason, failure.Message
	}
	rec.Expires = s.cfg.Clock().UTC().Add(s.cfg.JobLifetime)
	// On an error the job stays as it is to everybody: what is stored already decides at the next start.
	if err := s.commit(ctx, &metadata.Batch{PutJobs: []*metadata.Job{&rec}}, finished(&rec)); err != nil {
		return err
	}
	s.jobs.settled(e, rec.State, rec.Expires)
	return nil
}

// finished is the event of a job that has its answer.
func finished(j *metadata.Job) audit.Event {
	e := ofJob(j, j.Operation.String(), audit.Success)
	if j.State == metadata.JobFailed {
		e.Outcome, e.Reason, e.Message = audit.Failure, j.Reason.String(), j.Message
	}
	return e
}

// sweepJobs forgets jobs whose time is over: answers that were kept for long enough, and requests that nobody decided on
// or polled for. One that is being done, or about to be, stays.
func (s *Store) sweepJobs(ctx context.Context) {
	now, t := s.cfg.Clock(), s.jobs
	var gone []*jobEntry
	t.mu.Lock()
	for _, e := range t.all {
		idle := e.state.Over() || e.state == metadata.JobWaiting || e.lazy
		if idle && !e.busy && now.After(e.expires) {
			e.busy = true
			gone = append(gone, e)
		}
	}
	t.mu.Unlock()
	slices.SortFunc(gone, func(a, b *jobEntry) int { return cmp.Compare(a.id, b.id) })
	for part := range slices.Chunk(gone, 256) {
		b := &metadata.Batch{}
		for _, e := range part {
			b.DropJobs = append(b.DropJobs, e.id)
		}
		e := ofServer("forget old asynchronous requests")
		e.Count = uint64(len(b.DropJobs))
		err := s.commit(ctx, b, e)
		if err != nil && ctx.Err() == nil {
			s.log.Error().Err(err).Msg("forgetting old jobs")
		}
		t.mu.Lock()
		for _, e := range part {
			if e.busy = false; err == nil {
				t.remove(e)
			}
		}
		t.mu.Unlock()
	}
}
