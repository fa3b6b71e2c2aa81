package keystore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"kmipd/keystore/audit"
	"kmipd/kmip"
	"kmipd/metadata"
)

// JobInfo is what an administrator sees of a job.
type JobInfo struct {
	ID        string    `json:"id"`
	Client    string    `json:"client"`
	User      string    `json:"user,omitempty"`
	Operation string    `json:"operation"`
	Target    string    `json:"unique_identifier,omitempty"`
	State     string    `json:"state"`
	Waiting   bool      `json:"waiting_for_approval"`
	Message   string    `json:"message,omitempty"`
	Accepted  time.Time `json:"accepted"`
	Expires   time.Time `json:"expires"`
}

// Jobs lists the jobs, oldest first.
func (s *Store) Jobs(ctx context.Context) ([]JobInfo, error) {
	out := []JobInfo{}
	err := s.meta.Jobs(ctx, func(j *metadata.Job) error {
		info := JobInfo{ID: j.ID, Client: j.Client, User: j.User, Operation: j.Operation.String(), Target: j.Target,
			State: j.State.String(), Waiting: j.State == metadata.JobWaiting, Message: j.Message, Accepted: j.Accepted, Expires: j.Expires}
		if j.State == metadata.JobQueued && j.Lazy {
			info.State = "waiting for its poll"
		}
		out = append(out, info)
		return nil
	})
	slices.SortStableFunc(out, func(a, b JobInfo) int { return a.Accepted.Compare(b.Accepted) })
	return out, err
}

// ApproveJob lets a waiting job be done: at once, or when the server starts. id may be cut short.
func (s *Store) ApproveJob(ctx context.Context, id string) error {
	e, err := s.waiting(ctx, id)
	if err != nil {
		return err
	}
	if err := s.decide(ctx, e, func(rec *metadata.Job) audit.Event {
		rec.State = metadata.JobQueued
		return decided(rec, "job approve")
	}); err != nil {
		return err
	}
	s.jobs.push(e.id)
	return nil
}

// DenyJob ends a waiting job: its client gets Permission Denied. id may be cut short.
func (s *Store) DenyJob(ctx context.Context, id string) error {
	e, err := s.waiting(ctx, id)
	if err != nil {
		return err
	}
	return s.decide(ctx, e, func(rec *metadata.Job) audit.Event {
		rec.State, rec.Reason, rec.Message = metadata.JobFailed, kmip.ResultReasonPermissionDenied, "an administrator denied the request"
		return decided(rec, "job deny")
	})
}

// decided is the event of an administrator's decision on a job.
func decided(j *metadata.Job, command string) audit.Event {
	e := ofJob(j, command, audit.Success)
	e.Kind = audit.KindAdmin
	return e
}

// waiting claims the waiting job whose identifier begins so.
func (s *Store) waiting(ctx context.Context, id string) (*jobEntry, error) {
	if err := s.loadJobs(ctx); err != nil {
		return nil, err
	}
	full, err := s.jobs.named(strings.ToLower(id))
	if err != nil {
		return nil, err
	}
	e, state, mine, found := s.jobs.claim(nil, full, func(e *jobEntry) bool { return e.state == metadata.JobWaiting })
	switch {
	case !found:
		return nil, fmt.Errorf("job %s does not exist any more", full)
	case !mine && state == metadata.JobWaiting:
		return nil, fmt.Errorf("job %s is being decided on by somebody else", full)
	case !mine:
		return nil, fmt.Errorf("job %s is not waiting for a decision: it is %s", full, state)
	}
	return e, nil
}

// named is the whole identifier of the one job that begins so.
func (t *jobs) named(prefix string) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var found []string
	for id := range t.all {
		if prefix != "" && strings.HasPrefix(id, prefix) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", fmt.Errorf("no job has the identifier %q", prefix)
	}
	return "", fmt.Errorf("%d jobs have identifiers that begin with %q", len(found), prefix)
}
