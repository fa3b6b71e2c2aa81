package pebble

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	pdb "github.com/cockroachdb/pebble/v2"

	"kmipd/metadata"
)

// maxPending bounds the list of pending certificates, which strangers with a valid certificate can fill.
const maxPending = 1000

// pendingList knows what is in p/, to keep it bounded without reading it.
type pendingList struct {
	mu       sync.Mutex // also orders the writes to p/
	lastSeen map[string]time.Time
}

// Client implements metadata.Store.
func (s *Store) Client(ctx context.Context, name string) (*metadata.Client, error) {
	c := new(metadata.Client)
	if err := s.getJSON(ctx, clientKey(name), c); err != nil {
		return nil, err
	}
	return c, nil
}

// Clients implements metadata.Store: in order of their names. Damaged ones are named in a *metadata.CorruptError beside
// the others.
func (s *Store) Clients(ctx context.Context) ([]*metadata.Client, error) {
	return listJSON[metadata.Client](ctx, s, "c/")
}

// PutClient implements metadata.Store.
func (s *Store) PutClient(ctx context.Context, c *metadata.Client, audit ...[]byte) error {
	if c.Name == "" {
		return errors.New("metadata: a client needs a name")
	}
	return s.putJSON(ctx, clientKey(c.Name), c, audit)
}

// DeleteClient implements metadata.Store; ErrNotFound when there is no such client.
func (s *Store) DeleteClient(ctx context.Context, name string, audit ...[]byte) error {
	return s.remove(ctx, clientKey(name), audit, nil)
}

// Pending implements metadata.Store: in order of fingerprints.
func (s *Store) Pending(ctx context.Context) ([]*metadata.PendingCertificate, error) {
	return listJSON[metadata.PendingCertificate](ctx, s, "p/")
}

// PutPending implements metadata.Store. The list is bounded: a new certificate takes the place of the one that was seen
// longest ago. It is not synced, as every refused handshake writes it and nothing depends on it.
func (s *Store) PutPending(ctx context.Context, p *metadata.PendingCertificate) error {
	if p.Fingerprint == "" {
		return errors.New("metadata: a pending certificate needs a fingerprint")
	}
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	value, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("metadata: pending certificate: %w", err)
	}
	l := &s.pending
	l.mu.Lock()
	defer l.mu.Unlock()
	b := s.db.NewBatch()
	oldest, full := l.displaced(p.Fingerprint)
	if full {
		_ = b.Delete(pendingKey(oldest), nil)
	}
	_ = b.Set(pendingKey(p.Fingerprint), value, nil)
	if err := s.write(ctx, b, false, nil); err != nil {
		return err
	}
	if full {
		delete(l.lastSeen, oldest)
	}
	l.lastSeen[p.Fingerprint] = p.LastSeen
	return nil
}

// displaced is the fingerprint that must go before another one can be added, if any must.
func (l *pendingList) displaced(fingerprint string) (oldest string, full bool) {
	if _, ok := l.lastSeen[fingerprint]; ok || len(l.lastSeen) < maxPending {
		return "", false
	}
	for f, at := range l.lastSeen {
		if oldest == "" || at.Before(l.lastSeen[oldest]) {
			oldest = f
		}
	}
	return oldest, true
}

// DeletePending implements metadata.Store; ErrNotFound when there is no such certificate.
func (s *Store) DeletePending(ctx context.Context, fingerprint string, audit ...[]byte) error {
	l := &s.pending
	l.mu.Lock()
	var once sync.Once
	defer once.Do(l.mu.Unlock) // when nothing was applied
	return s.remove(ctx, pendingKey(fingerprint), audit, func() {
		once.Do(func() { // the order is settled: nobody, handshakes least of all, waits for the disk
			delete(l.lastSeen, fingerprint)
			l.mu.Unlock()
		})
	})
}

// loadPending fills the list at start.
func (s *Store) loadPending() error {
	list, err := listJSON[metadata.PendingCertificate](context.Background(), s, "p/")
	if err != nil && !errors.Is(err, metadata.ErrCorrupt) {
		return err
	}
	s.pending.lastSeen = make(map[string]time.Time, len(list))
	for _, p := range list {
		s.pending.lastSeen[p.Fingerprint] = p.LastSeen
	}
	return nil
}

// Setting implements metadata.Store.
func (s *Store) Setting(ctx context.Context, key string) ([]byte, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	return s.value(s.db, settingKey(key))
}

// SetSetting implements metadata.Store.
func (s *Store) SetSetting(ctx context.Context, key string, value []byte, sync bool, audit ...[]byte) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	b := s.db.NewBatch()
	_ = b.Set(settingKey(key), value, nil)
	return s.writeAudited(ctx, b, sync, audit, nil)
}

func (s *Store) getJSON(ctx context.Context, key []byte, out any) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	value, err := s.value(s.db, key)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(value, out); err != nil {
		return fmt.Errorf("%w: %q: %w", metadata.ErrCorrupt, key, err)
	}
	return nil
}

func (s *Store) putJSON(ctx context.Context, key []byte, v any, audit [][]byte) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	value, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("metadata: %q: %w", key, err)
	}
	b := s.db.NewBatch()
	_ = b.Set(key, value, nil)
	return s.writeAudited(ctx, b, true, audit, nil)
}

// remove deletes a key that must be there. Of two at the same time both may succeed.
func (s *Store) remove(ctx context.Context, key []byte, audit [][]byte, applied func()) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	if _, err := s.value(s.db, key); err != nil {
		return err
	}
	b := s.db.NewBatch()
	_ = b.Delete(key, nil)
	return s.writeAudited(ctx, b, true, audit, applied)
}

func listJSON[T any](ctx context.Context, s *Store, prefix string) ([]*T, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	var out []*T
	var bad damage
	err := walk(ctx, pdb.Reader(s.db), prefixed(prefix), func(key, value []byte) (bool, error) {
		v := new(T)
		if err := json.Unmarshal(value, v); err != nil {
			bad.keys = append(bad.keys, string(key))
			return true, nil
		}
		out = append(out, v)
		return true, nil
	})
	return out, errors.Join(err, bad.err())
}
