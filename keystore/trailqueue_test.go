package keystore

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"
)

func holds(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// The goroutine that takes is woken for the first record and for the one that makes a group large, and for no other.
func TestRecordQueueWakes(t *testing.T) {
	q := newRecordQueue()
	if open, took := q.try(nil); open || took {
		t.Fatal("a record was taken though nobody takes")
	}
	q.serve(true)
	for round := range 2 {
		for i := 1; i <= 2*groupSize; i++ {
			if _, took := q.try([]byte(fmt.Sprint(i))); !took {
				t.Fatalf("record %d found no room", i)
			}
			if got, want := holds(q.first), i == 1; got != want {
				t.Fatalf("round %d: first is %v with record %d", round, got, i)
			}
			if got, want := holds(q.full), i == groupSize; got != want {
				t.Fatalf("round %d: full is %v with record %d", round, got, i)
			}
		}
		for i, r := range q.take() {
			if string(r) != fmt.Sprint(i+1) {
				t.Fatalf("record %d is %s", i+1, r)
			}
		}
	}
	for range groupSize {
		q.try(nil)
	}
	if q.take(); holds(q.full) {
		t.Error("full is told of a group that is taken")
	}
}

// Whoever finds the queue full waits for room, for the end of its context, or for the end of the queue.
func TestRecordQueueIsBounded(t *testing.T) {
	for _, c := range []struct {
		name  string
		free  func(q *recordQueue, cancel context.CancelFunc)
		took  bool
		fails error
	}{
		{"room", func(q *recordQueue, _ context.CancelFunc) { q.take() }, true, nil},
		{"context", func(_ *recordQueue, cancel context.CancelFunc) { cancel() }, false, context.Canceled},
		{"end", func(q *recordQueue, _ context.CancelFunc) { q.serve(false); q.take() }, false, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := newRecordQueue()
			q.serve(true)
			for range queueLength {
				q.try(nil)
			}
			if open, took := q.try(nil); !open || took {
				t.Fatalf("the queue takes more than %d records", queueLength)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() {
				took, err := q.put(ctx, []byte("late"))
				if took != c.took {
					err = errors.Join(err, fmt.Errorf("took is %v", took))
				}
				done <- err
			}()
			for waits := false; !waits; runtime.Gosched() {
				if len(done) > 0 {
					t.Fatalf("put did not wait: %v", <-done)
				}
				q.mu.Lock()
				waits = q.room != nil
				q.mu.Unlock()
			}
			c.free(q, cancel)
			select {
			case err := <-done:
				if !errors.Is(err, c.fails) {
					t.Errorf("put: %v, want %v", err, c.fails)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("put waits on")
			}
		})
	}
}

// Many at once: each record comes out once, and those of one writer in their order.
func TestRecordQueueAtOnce(t *testing.T) {
	q := newRecordQueue()
	q.serve(true)
	const writers, each = 8, 3 * queueLength / 8
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				if took, err := q.put(t.Context(), []byte{byte(w), byte(i >> 8), byte(i)}); !took || err != nil {
					t.Errorf("put: %v, %v", took, err)
				}
			}
		})
	}
	var next [writers]int
	for n := 0; n < writers*each; {
		select {
		case <-q.first:
		case <-time.After(30 * time.Second):
			t.Fatal("nobody is woken")
		}
		for _, r := range q.take() {
			if got, want := int(r[1])<<8|int(r[2]), next[r[0]]; got != want {
				t.Fatalf("writer %d: record %d comes, want %d", r[0], got, want)
			}
			next[r[0]]++
			n++
		}
	}
	all.Wait()
}
