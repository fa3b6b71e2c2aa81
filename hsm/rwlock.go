package hsm

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// rwLock is a read-write lock whose waits end with their context. Waiters are served in order, so writers do not starve.
type rwLock struct{ sem *semaphore.Weighted }

const allReaders = 1 << 30

func newRWLock() *rwLock { return &rwLock{semaphore.NewWeighted(allReaders)} }

// lock waits for the lock, alone (exclusive) or with other readers, and returns how to give it back. A nil lock is free.
func (l *rwLock) lock(ctx context.Context, exclusive bool) (unlock func(), err error) {
	if l == nil {
		return func() {}, nil
	}
	n := int64(1)
	if exclusive {
		n = allReaders
	}
	if err := l.sem.Acquire(ctx, n); err != nil {
		return nil, err
	}
	return func() { l.sem.Release(n) }, nil
}

// try takes the lock if it is free and nobody waits for it.
func (l *rwLock) try(exclusive bool) (unlock func(), ok bool) {
	if l == nil {
		return func() {}, true
	}
	n := int64(1)
	if exclusive {
		n = allReaders
	}
	return func() { l.sem.Release(n) }, l.sem.TryAcquire(n)
}
