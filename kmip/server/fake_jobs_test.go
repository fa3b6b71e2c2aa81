package server

import (
	"context"
	"slices"
	"sync"

	"kmipd/kmip"
)

// fakeJobs is a table of jobs in memory.
type fakeJobs struct {
	keys  *fakeKeys
	holds []kmip.Operation
	full  bool

	mu     sync.Mutex
	jobs   map[string]*kmip.Job
	ready  chan *kmip.Job
	addErr error
	ends   chan struct{} // a value for each FinishJob
}

func newFakeJobs(keys *fakeKeys) *fakeJobs {
	return &fakeJobs{keys: keys, jobs: map[string]*kmip.Job{}, ready: make(chan *kmip.Job, 100), ends: make(chan struct{}, 100)}
}

func (f *fakeJobs) Holds(op kmip.Operation) bool { return slices.Contains(f.holds, op) }
func (f *fakeJobs) JobRoom(kmip.Caller) bool     { return !f.full }

func (f *fakeJobs) AddJob(_ context.Context, job *kmip.Job) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.addErr != nil {
		return f.addErr
	}
	j := *job
	f.jobs[string(j.ID)] = &j
	if !j.Lazy && !f.Holds(j.Operation) {
		f.ready <- &j
	}
	return nil
}

func (f *fakeJobs) of(caller kmip.Caller, id []byte) *kmip.Job {
	if j := f.jobs[string(id)]; j != nil && j.Caller == caller {
		return j
	}
	return nil
}

func (f *fakeJobs) PollJob(_ context.Context, caller kmip.Caller, id []byte) (*kmip.Job, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	j := f.of(caller, id)
	if j == nil {
		return nil, kmip.Errorf(kmip.ResultReasonItemNotFound, "no job")
	}
	c := *j
	if c.Lazy && c.State == kmip.JobPending {
		c.State = kmip.JobYours
	}
	return &c, nil
}

func (f *fakeJobs) CancelJob(_ context.Context, caller kmip.Caller, id []byte) (kmip.CancellationResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	j := f.of(caller, id)
	switch {
	case j == nil:
		return kmip.CancellationResultUnavailable, nil
	case j.State == kmip.JobPending:
		j.State = kmip.JobCanceled
	}
	return kmip.CancellationResultCanceled, nil
}

func (f *fakeJobs) NextJob(ctx context.Context) (*kmip.Job, error) {
	select {
	case j := <-f.ready:
		return j, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (f *fakeJobs) BeginJob(*kmip.Job) kmip.Tx { return f.keys.Begin(false) }

func (f *fakeJobs) FinishJob(_ context.Context, job *kmip.Job, response []byte, failure *kmip.Error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	j := f.jobs[string(job.ID)]
	j.State, j.Response, j.Failure = kmip.JobDone, response, failure
	if failure != nil {
		j.State = kmip.JobFailed
	}
	f.ends <- struct{}{}
	return nil
}
