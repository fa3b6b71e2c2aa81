package pebble

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	pdb "github.com/cockroachdb/pebble/v2"

	"kmipd/metadata"
)

// change is one record of a batch on its way into the store.
type change struct {
	uid    string
	key    []byte
	expect uint64
	put    *metadata.Record // as it will be stored, nil to delete
	value  []byte           // of put
	old    *metadata.Record // as it is stored, nil when it is not
}

// Commit implements metadata.Store. The context ends its waits for other commits of the same records and names; once the
// batch is in the log, Commit stays until it is synced, so an error of the context means that nothing was changed.
func (s *Store) Commit(ctx context.Context, b *metadata.Batch) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	start := s.clock()
	changes, err := prepare(b)
	if err != nil {
		return err
	}
	names, err := finalNames(changes)
	if err != nil {
		return err
	}
	c := &claim{done: make(chan struct{})}
	for i := range changes {
		c.keys = append(c.keys, string(changes[i].key))
	}
	for k := range names {
		c.keys = append(c.keys, k)
	}
	if err := s.claims.take(ctx, c); err != nil {
		return err
	}
	defer func() {
		s.records.forget(changes) // before the release, which lets readers of the change go
		s.claims.release(c)
	}()
	if err := s.commitClaimed(ctx, b, changes, names, c); err != nil {
		return err
	}
	for i := range b.Puts {
		b.Puts[i].Record.Revision = b.Puts[i].Expect + 1
	}
	if took := s.clock().Sub(start); took > slowCommit {
		s.log.Warn().Dur("elapsed", took).Int("records", len(changes)).Msg("metadata store: slow commit")
	}
	return nil
}

func (s *Store) commitClaimed(ctx context.Context, b *metadata.Batch, changes []change, names map[string]string, c *claim) error {
	for i := range changes {
		if err := s.check(&changes[i]); err != nil {
			return err
		}
	}
	wb := s.db.NewBatch()
	if err := s.stageNames(wb, changes, names); err != nil {
		_ = wb.Close() // nothing was written
		return err
	}
	if err := stageJobs(wb, b); err != nil {
		_ = wb.Close() // nothing was written
		return err
	}
	if err := stageDeliveries(wb, b); err != nil {
		_ = wb.Close() // nothing was written
		return err
	}
	var delta [4]int
	for i := range changes {
		stage(wb, &changes[i])
		count(&delta, changes[i].old, -1)
		count(&delta, changes[i].put, +1)
	}
	for _, in := range b.AddIntents {
		_ = wb.Set(intentKey(in.ID), metadata.EncodeIntent(in), nil)
	}
	for _, id := range b.DropIntents {
		_ = wb.Delete(intentKey(id), nil)
	}
	for _, key := range b.DropSettings {
		_ = wb.Delete(settingKey(key), nil)
	}
	if wb.Empty() && len(b.Audit) == 0 {
		return wb.Close()
	}
	return s.writeAudited(ctx, wb, true, b.Audit, func() {
		s.claims.apply(c)
		s.counts.change(delta)
	})
}

func count(delta *[4]int, r *metadata.Record, n int) {
	if r != nil {
		delta[r.Phase] += n
	}
}

// prepare checks the batch by itself and encodes its records: all that needs no reservation.
func prepare(b *metadata.Batch) ([]change, error) {
	changes := make([]change, 0, len(b.Puts)+len(b.Deletes))
	for _, p := range b.Puts {
		switch {
		case p.Record == nil || p.Record.UID == "":
			return nil, errors.New("metadata: a record to put has no Unique Identifier")
		case p.Record.Phase < metadata.PhaseLive || p.Record.Phase > metadata.PhaseDestroyed:
			return nil, errors.New("metadata: a record to put has no phase")
		}
		r := *p.Record
		r.Revision = p.Expect + 1
		value, err := metadata.EncodeRecord(&r)
		if err != nil {
			return nil, err
		}
		changes = append(changes, change{uid: r.UID, key: recordKey(r.UID), expect: p.Expect, put: &r, value: value})
	}
	for _, d := range b.Deletes {
		changes = append(changes, change{uid: d.UID, key: recordKey(d.UID), expect: d.Expect})
	}
	seen := make(map[string]bool, len(changes))
	for i := range changes {
		if seen[changes[i].uid] {
			return nil, errors.New("metadata: a batch changes the same record twice")
		}
		seen[changes[i].uid] = true
	}
	return changes, nil
}

// finalNames are the names that the batch's records will hold, by name key.
func finalNames(changes []change) (map[string]string, error) {
	var names map[string]string
	for i := range changes {
		for _, k := range nameKeys(changes[i].put) {
			if names == nil {
				names = make(map[string]string)
			}
			if holder, ok := names[k]; ok && holder != changes[i].uid {
				return nil, taken(changes[i].put, k, holder)
			}
			names[k] = changes[i].uid
		}
	}
	return names, nil
}

func taken(r *metadata.Record, key, holder string) error {
	for _, n := range r.Names() {
		if string(nameKey(r.Owner, n)) == key {
			return &metadata.NameTakenError{Owner: r.Owner, Name: n, UID: holder}
		}
	}
	return &metadata.NameTakenError{Owner: r.Owner, UID: holder}
}

// check loads the stored record and compares its revision.
func (s *Store) check(c *change) error {
	value, err := s.value(s.db, c.key)
	if errors.Is(err, metadata.ErrNotFound) {
		if c.expect != 0 || c.put == nil {
			return fmt.Errorf("%w: %q is gone", metadata.ErrConflict, c.uid)
		}
		return nil
	}
	if err != nil {
		return err
	}
	if c.put != nil && c.expect == 0 {
		return fmt.Errorf("%w: %q", metadata.ErrExists, c.uid)
	}
	old := new(metadata.Record)
	if err := old.DecodeShared(value); err != nil {
		return fmt.Errorf("record %q: %w", c.uid, err)
	}
	if old.UID != c.uid {
		return fmt.Errorf("%w: record %q has another identifier", metadata.ErrCorrupt, c.uid)
	}
	if old.Revision != c.expect {
		return fmt.Errorf("%w: %q has revision %d, not %d", metadata.ErrConflict, c.uid, old.Revision, c.expect)
	}
	if c.put != nil {
		if err := metadata.CheckReplaceable(value); err != nil {
			return fmt.Errorf("record %q: %w", c.uid, err)
		}
	}
	c.old = old
	return nil
}

// stageNames frees the names that the batch gives up and takes those that it wants, unless a record outside the batch holds one.
func (s *Store) stageNames(wb *pdb.Batch, changes []change, names map[string]string) error {
	had := make(map[string]string)
	inBatch := make(map[string]*change, len(changes))
	for i := range changes {
		inBatch[changes[i].uid] = &changes[i]
		for _, k := range nameKeys(changes[i].old) {
			had[k] = changes[i].uid
			if _, kept := names[k]; !kept {
				_ = wb.Delete([]byte(k), nil)
			}
		}
	}
	for k, uid := range names {
		if had[k] == uid {
			continue
		}
		holder, err := s.value(s.db, []byte(k))
		if err != nil && !errors.Is(err, metadata.ErrNotFound) {
			return err
		}
		// A holder inside the batch gives the name up: otherwise names would say that it holds it.
		if err == nil && inBatch[string(holder)] == nil {
			return taken(inBatch[uid].put, k, string(holder))
		}
		_ = wb.Set([]byte(k), []byte(uid), nil)
	}
	return nil
}

// stage writes a record and the difference of its index entries. Errors of a Batch in memory do not happen.
func stage(wb *pdb.Batch, c *change) {
	var before, now [][]byte
	if c.old != nil {
		before = sorted(entries(c.old))
	}
	if c.put == nil {
		_ = wb.Delete(c.key, nil)
	} else {
		_ = wb.Set(c.key, c.value, nil)
		now = sorted(entries(c.put))
	}
	for len(before) > 0 || len(now) > 0 {
		switch order := compareHeads(before, now); {
		case order == 0:
			before, now = before[1:], now[1:]
		case order < 0:
			_ = wb.Delete(before[0], nil)
			before = before[1:]
		default:
			_ = wb.Set(now[0], nil, nil)
			now = now[1:]
		}
	}
}

func sorted(keys [][]byte) [][]byte {
	slices.SortFunc(keys, bytes.Compare)
	return slices.CompactFunc(keys, bytes.Equal)
}

// compareHeads compares the first keys of two lists; an empty list comes last.
func compareHeads(a, b [][]byte) int {
	switch {
	case len(a) == 0:
		return 1
	case len(b) == 0:
		return -1
	}
	return bytes.Compare(a[0], b[0])
}
