package metadatatest

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"kmipd/kmip"
	"kmipd/metadata"
)

func testJobs(t *testing.T, s metadata.Store) {
	job := func(id string, state metadata.JobState) *metadata.Job {
		return &metadata.Job{ID: id, Client: "c", User: "u", Listener: "l", Operation: kmip.OperationCreateKeyPair, Version: kmip.V1_2, Target: "t",
			Payload: []byte{1, 2}, State: state, Accepted: Epoch, Expires: Epoch.Add(time.Hour)}
	}
	check := func(want ...*metadata.Job) {
		t.Helper()
		var got []*metadata.Job
		err := s.Jobs(t.Context(), func(j *metadata.Job) error { got = append(got, j); return nil })
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("Jobs: got %+v, %v, want %+v", got, err, want)
		}
	}
	check()
	a, b := job("0a", metadata.JobWaiting), job("0b", metadata.JobQueued)
	if err := s.Commit(t.Context(), &metadata.Batch{PutJobs: []*metadata.Job{b, a}}); err != nil {
		t.Fatal(err)
	}
	check(a, b)
	if got, err := s.Job(t.Context(), "0b"); err != nil || !reflect.DeepEqual(got, b) {
		t.Errorf("Job: got %+v, %v, want %+v", got, err, b)
	}
	if _, err := s.Job(t.Context(), "0c"); !errors.Is(err, metadata.ErrNotFound) {
		t.Errorf("an unknown job: got %v, want ErrNotFound", err)
	}
	// The answer of a job is there if and only if its change is.
	done := job("0b", metadata.JobDone)
	done.Response = []byte{3}
	batch := metadata.Batch{Puts: []metadata.Put{{Record: Key("o", "k", 1), Expect: 7}}, PutJobs: []*metadata.Job{done}}
	if err := s.Commit(t.Context(), &batch); !errors.Is(err, metadata.ErrConflict) {
		t.Errorf("got %v, want ErrConflict", err)
	}
	check(a, b)
	batch.Puts[0].Expect = 0
	if err := s.Commit(t.Context(), &batch); err != nil {
		t.Fatal(err)
	}
	check(a, done)
	if err := s.Commit(t.Context(), &metadata.Batch{DropJobs: []string{"0a", "0b", "0c"}}); err != nil {
		t.Fatal(err)
	}
	check()
	if err := s.Commit(t.Context(), &metadata.Batch{PutJobs: []*metadata.Job{{}}}); err == nil {
		t.Error("a job without an identifier was stored")
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if err := s.Jobs(stopped, func(*metadata.Job) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Jobs under an ended context: %v", err)
	}
}
