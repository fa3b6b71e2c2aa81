package keystore

import (
	"context"
	"sync"
)

// locks serialises read-modify-write of one object: one lock per Unique Identifier, made on first use. Waits end with
// the context, so that two Undo batches that wait for each other both fail in the end instead of standing for ever.
type locks struct {
	mu sync.Mutex
	m  map[string]*lock
}

type lock struct {
	free chan struct{} // holds one token while nobody has the lock
	refs int           // holder and waiters; guarded by locks.mu
}

func newLocks() *locks { return &locks{m: map[string]*lock{}} }

// acquire waits for the lock on uid.
func (l *locks) acquire(ctx context.Context, uid string) error {
	l.mu.Lock()
	k := l.m[uid]
	if k == nil {
		k = &lock{free: make(chan struct{}, 1)}
		k.free <- struct{}{}
		l.m[uid] = k
	}
	k.refs++
	l.mu.Unlock()

	select {
	case <-k.free:
		return nil
	case <-ctx.Done():
		l.drop(uid, k)
		return ctx.Err()
	}
}

// release gives the lock on uid back.
func (l *locks) release(uid string) {
	l.mu.Lock()
	k := l.m[uid]
	l.mu.Unlock()
	k.free <- struct{}{}
	l.drop(uid, k)
}

func (l *locks) drop(uid string, k *lock) {
	l.mu.Lock()
	if k.refs--; k.refs == 0 {
		delete(l.m, uid)
	}
	l.mu.Unlock()
}
