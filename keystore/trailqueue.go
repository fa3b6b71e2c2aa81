package keystore

import (
	"context"
	"sync"
)

// recordQueue holds the records that wait for their place in the chain. A record costs whoever brings it a lock and no more:
// the goroutine that takes them is woken for the first one of a group and for the one that makes it large, and sleeps while the
// others come.
type recordQueue struct {
	first, full chan struct{} // hold a value when there is a record to take, and when there are groupSize; sent to with mu held

	mu      sync.Mutex // guards the fields below
	open    bool       // somebody takes
	waiting [][]byte
	room    chan struct{} // closed by the next take; nil while nobody waits for room
}

func newRecordQueue() *recordQueue {
	return &recordQueue{first: make(chan struct{}, 1), full: make(chan struct{}, 1)}
}

// put waits for room until ctx ends. It is false without error when nobody takes.
func (q *recordQueue) put(ctx context.Context, record []byte) (bool, error) {
	for {
		open, took := q.try(record)
		if took || !open {
			return took, nil
		}
		select {
		case <-q.emptied():
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// try does not wait.
func (q *recordQueue) try(record []byte) (open, took bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.open || len(q.waiting) >= queueLength {
		return q.open, false
	}
	q.waiting = append(q.waiting, record)
	switch len(q.waiting) {
	case 1:
		signal(q.first)
	case groupSize:
		signal(q.full)
	}
	return true, true
}

// emptied is closed when there is room, or nobody takes any more.
func (q *recordQueue) emptied() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.open || len(q.waiting) < queueLength { // since somebody looked
		now := make(chan struct{})
		close(now)
		return now
	}
	if q.room == nil {
		q.room = make(chan struct{})
	}
	return q.room
}

// take takes everything, in the order of coming.
func (q *recordQueue) take() [][]byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.waiting
	q.waiting = nil
	select {
	case <-q.full:
	default:
	}
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
	return all
}

// serve says whether somebody takes. It tells how it was before.
func (q *recordQueue) serve(open bool) (was bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	was, q.open = q.open, open
	return was
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
