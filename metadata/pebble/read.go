package pebble

import (
	"context"
	"errors"
	"fmt"
	"time"

	pdb "github.com/cockroachdb/pebble/v2"

	"kmipd/metadata"
)

// ctxEvery is how many steps a loop makes between two looks at its context.
const ctxEvery = 64

// value reads one key. The octets are the caller's.
func (s *Store) value(from pdb.Reader, key []byte) ([]byte, error) {
	v, closer, err := from.Get(key)
	if errors.Is(err, pdb.ErrNotFound) {
		return nil, metadata.ErrNotFound
	}
	if err != nil {
		return nil, engineError("reading", err)
	}
	out := append([]byte(nil), v...)
	if err := closer.Close(); err != nil {
		return nil, engineError("reading", err)
	}
	return out, nil
}

// Get implements metadata.Store.
func (s *Store) Get(ctx context.Context, uid string) (*metadata.Record, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	if r := s.records.get(uid); r != nil {
		return r, nil
	}
	mark := s.records.reading()
	key := recordKey(uid)
	value, err := s.value(s.db, key)
	if err != nil && !errors.Is(err, metadata.ErrNotFound) {
		return nil, err
	}
	if err := s.settle(ctx, key); err != nil { // that it is gone must be on disk as well
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	r := new(metadata.Record)
	if err := r.DecodeShared(value); err != nil { // value is this record's alone
		return nil, fmt.Errorf("record %q: %w", uid, err)
	}
	if r.UID != uid {
		return nil, fmt.Errorf("%w: record %q has another identifier", metadata.ErrCorrupt, uid)
	}
	s.records.put(uid, r, len(value), mark)
	return r.Clone(), nil
}

// ByName implements metadata.Store.
func (s *Store) ByName(ctx context.Context, owner, name string) (string, error) {
	if err := s.enter(ctx); err != nil {
		return "", err
	}
	defer s.leave()
	key := nameKey(owner, name)
	uid, err := s.value(s.db, key)
	if err != nil {
		return "", err
	}
	if err := s.settle(ctx, key); err != nil {
		return "", err
	}
	return string(uid), nil
}

// Due implements metadata.Store; a negative max means all. A writer may still be syncing what it lists.
func (s *Store) Due(ctx context.Context, until time.Time, max int) ([]string, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	var uids []string
	if max == 0 {
		return nil, nil
	}
	bounds := &pdb.IterOptions{LowerBound: []byte("d/"), UpperBound: dueKey(until.Add(1), "")}
	err := walk(ctx, s.db, bounds, func(key, _ []byte) (bool, error) {
		uids = append(uids, string(key[dueUID:]))
		return max < 0 || len(uids) < max, nil
	})
	return uids, err
}

// Intents implements metadata.Store. A damaged one is named in a *metadata.CorruptError beside the others.
func (s *Store) Intents(ctx context.Context) ([]metadata.Intent, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	var out []metadata.Intent
	var bad damage
	err := walk(ctx, s.db, prefixed("i/"), func(key, value []byte) (bool, error) {
		in, err := metadata.DecodeIntent(value)
		if err == nil {
			out = append(out, in)
		}
		return true, bad.note(string(key), err)
	})
	return out, errors.Join(err, bad.err())
}

// Records implements metadata.Store.
func (s *Store) Records(ctx context.Context, fn func(*metadata.Record) error) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	var bad damage
	err := walk(ctx, s.db, prefixed("o/"), func(key, value []byte) (bool, error) {
		uid := string(key[2:])
		r, err := metadata.DecodeRecord(value)
		if err == nil && r.UID != uid {
			err = fmt.Errorf("%w: another identifier", metadata.ErrCorrupt)
		}
		if err != nil {
			return true, bad.note(uid, err)
		}
		return true, fn(r)
	})
	return errors.Join(err, bad.err())
}

// Count implements metadata.Store. The first call walks all records, later ones cost nothing.
func (s *Store) Count(ctx context.Context) (map[metadata.Phase]int, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	c := &s.counts
	c.first.Lock()
	defer c.first.Unlock()
	if c.state == notCounted {
		if err := s.countAll(ctx); err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return map[metadata.Phase]int{
		metadata.PhaseLive:       c.number[metadata.PhaseLive],
		metadata.PhaseDestroying: c.number[metadata.PhaseDestroying],
		metadata.PhaseDestroyed:  c.number[metadata.PhaseDestroyed],
	}, nil
}

// countAll counts a snapshot. Behind the gate no commit can be in between its change of the counters and of the store.
func (s *Store) countAll(ctx context.Context) error {
	c := &s.counts
	select {
	case s.applying <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	snap := s.db.NewSnapshot()
	c.mu.Lock()
	c.state, c.number = counting, [4]int{}
	c.mu.Unlock()
	<-s.applying
	var found [4]int
	err := walk(ctx, snap, prefixed("o/"), func(_, value []byte) (bool, error) {
		if p, err := metadata.PhaseOf(value); err == nil && int(p) < len(found) {
			found[p]++
		}
		return true, nil
	})
	err = errors.Join(err, snap.Close())
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.state = notCounted
		return err
	}
	c.add(found)
	c.state = counted
	return nil
}

func prefixed(prefix string) *pdb.IterOptions {
	return &pdb.IterOptions{LowerBound: []byte(prefix), UpperBound: after([]byte(prefix))}
}

// walk calls fn with each key and value in the bounds, as of one moment, until it says false or fails. They are valid during
// the call only.
func walk(ctx context.Context, from pdb.Reader, bounds *pdb.IterOptions, fn func(key, value []byte) (bool, error)) (err error) {
	it, err := from.NewIterWithContext(ctx, bounds)
	if err != nil {
		return engineError("reading", err)
	}
	defer func() {
		if e := it.Close(); e != nil && err == nil {
			err = engineError("reading", e)
		}
	}()
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		if n++; n%ctxEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return engineError("reading", err)
		}
		if more, err := fn(it.Key(), value); err != nil || !more {
			return err
		}
	}
	return nil
}

// damage gathers damaged values during a walk.
type damage struct{ keys []string }

// note takes ErrCorrupt and passes on the rest.
func (d *damage) note(key string, err error) error {
	if !errors.Is(err, metadata.ErrCorrupt) {
		return err
	}
	d.keys = append(d.keys, key)
	return nil
}

func (d *damage) err() error {
	if d.keys == nil {
		return nil
	}
	return &metadata.CorruptError{UIDs: d.keys}
}
