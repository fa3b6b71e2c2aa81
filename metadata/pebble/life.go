package pebble

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	pdb "github.com/cockroachdb/pebble/v2"

	"kmipd/metadata"
)

// lifetime counts running calls so that Close can wait for them: pebble panics when it is used after Close.
type lifetime struct {
	mu     sync.Mutex // held for moments only, so that a call may be made inside a call
	closed bool
	calls  sync.WaitGroup
}

func (l *lifetime) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.calls.Add(1)
	}
	return !l.closed
}

func (l *lifetime) leave() { l.calls.Done() }

// end is false when it was called before.
func (l *lifetime) end() bool {
	l.mu.Lock()
	was := l.closed
	l.closed = true
	l.mu.Unlock()
	if !was {
		l.calls.Wait()
	}
	return !was
}

// claim is what one Commit is changing: the keys of its records and names.
type claim struct {
	keys    []string
	applied bool          // guarded by claims.mu: readers may see the change
	done    chan struct{} // closed when the change is synced, refused or failed
}

// claims are the reservations of running commits.
type claims struct {
	active atomic.Int64 // how many claims there are, so that readers need no lock when nothing is written
	mu     sync.Mutex
	held   map[string]*claim
}

// take reserves all keys of c at once, which leaves no room for a deadlock. It waits for other claims, or for ctx.
func (cs *claims) take(ctx context.Context, c *claim) error {
	for {
		other := cs.try(c)
		if other == nil {
			return nil
		}
		select {
		case <-other.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// try reserves the keys, or returns a claim that has one of them.
func (cs *claims) try(c *claim) *claim {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, k := range c.keys {
		if other := cs.held[k]; other != nil {
			return other
		}
	}
	if cs.held == nil {
		cs.held = make(map[string]*claim)
	}
	for _, k := range c.keys {
		cs.held[k] = c
	}
	cs.active.Add(1)
	return nil
}

func (cs *claims) apply(c *claim) {
	cs.mu.Lock()
	c.applied = true
	cs.mu.Unlock()
}

func (cs *claims) release(c *claim) {
	cs.mu.Lock()
	for _, k := range c.keys {
		delete(cs.held, k)
	}
	cs.active.Add(-1)
	cs.mu.Unlock()
	close(c.done)
}

// unsynced is the claim under which a key may have been read before it was synced, or nil.
func (cs *claims) unsynced(key []byte) *claim {
	if cs.active.Load() == 0 {
		return nil
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c := cs.held[string(key)]; c != nil && c.applied {
		return c
	}
	return nil
}

// settle waits until what was read under the key is on disk.
func (s *Store) settle(ctx context.Context, key []byte) error {
	c := s.claims.unsynced(key)
	if c == nil {
		return nil
	}
	select {
	case <-c.done:
		return s.failed()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// write applies a batch and closes it. With sync it returns when the batch is on disk, along with those of other
// writers. Waiting for the gate ends with ctx; once the batch is in the log there is no turning back, and write stays until
// the disk has answered. applied is called when readers are about to see the batch.
func (s *Store) write(ctx context.Context, b *pdb.Batch, sync bool, applied func()) error {
	return s.writeAudited(ctx, b, sync, nil, applied)
}

// writeAudited is write for a batch with records for the audit chain.
func (s *Store) writeAudited(ctx context.Context, b *pdb.Batch, sync bool, audit [][]byte, applied func()) error {
	select {
	case s.applying <- struct{}{}:
	case <-s.stopped:
		return s.failed()
	case <-ctx.Done():
		_ = b.Close() // nothing was written
		return ctx.Err()
	}
	// On a goroutine of its own, which does not come back from a failing log.
	return s.guard(func() error {
		head, err := s.apply(b, sync, audit, applied)
		if err != nil {
			return err
		}
		if sync {
			if err := b.SyncWait(); err != nil {
				return err
			}
			s.chain.synced(head)
		}
		return b.Close()
	})
}

// guard runs what may hang in a failing engine, and comes back when it does. After any error of a write, memory may be
// ahead of the disk: the store has failed.
func (s *Store) guard(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("panic: %v", p)
			}
		}()
		done <- fn()
	}()
	select {
	case err := <-done:
		if err != nil {
			s.fail(err)
		}
		return s.failed()
	case <-s.stopped:
		return s.failed()
	}
}

// apply puts the batch into the log's queue and into memory, and opens the gate for the next one. It returns the end of the
// audit chain after it.
func (s *Store) apply(b *pdb.Batch, sync bool, audit [][]byte, applied func()) (metadata.AuditHead, error) {
	defer func() { <-s.applying }()
	if err := s.failed(); err != nil {
		return metadata.AuditHead{}, err
	}
	head := s.stageAudit(b, audit)
	defer s.chain.setHead(head) // an error ends the store
	if applied != nil {
		applied()
	}
	if sync {
		return head, s.db.ApplyNoSyncWait(b, pdb.Sync)
	}
	return head, s.db.Apply(b, pdb.NoSync)
}

// counters are the numbers of records by phase. They are counted once, when first asked for, and kept up by commits.
type counters struct {
	mu     sync.Mutex
	state  int // notCounted, counting, counted
	number [4]int
	first  sync.Mutex // held by the one who counts
}

const (
	notCounted = iota
	counting   // number holds the changes since the snapshot that is being counted
	counted
)

func (c *counters) change(delta [4]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != notCounted {
		c.add(delta)
	}
}

func (c *counters) add(delta [4]int) {
	for i, d := range delta {
		c.number[i] += d
	}
}
