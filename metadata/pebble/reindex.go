package pebble

import (
	"context"
	"errors"
	"fmt"

	pdb "github.com/cockroachdb/pebble/v2"

	"kmipd/metadata"
)

// reindexChunk is how many octets of index are written at once.
const reindexChunk = 1 << 20

// checkIndex builds the indexes anew when other rules made them, when an earlier attempt was cut short, or on demand.
func (s *Store) checkIndex(force bool) error {
	rules, err := s.number(rulesKey)
	if err != nil && !errors.Is(err, metadata.ErrNotFound) {
		return err
	}
	if err == nil && rules == metadata.IndexRules && !force {
		return nil
	}
	s.log.Info().Uint32("from", rules).Int("to", metadata.IndexRules).Msg("metadata store: building the indexes anew")
	if err := s.reindex(context.Background()); err != nil {
		return fmt.Errorf("building the indexes: %w", err)
	}
	return nil
}

// reindex drops all that can be computed from the records and writes it again. It runs before the store is in use. The
// number of the rules is 0 meanwhile, so that a crash leads here again.
func (s *Store) reindex(ctx context.Context) error {
	b := s.db.NewBatch()
	setNumber(b, rulesKey, 0)
	for _, p := range []string{"x/", "y/", "n/", "d/"} {
		_ = b.DeleteRange([]byte(p), after([]byte(p)), nil)
	}
	if err := s.write(ctx, b, true, nil); err != nil {
		return err
	}
	names := make(map[string]bool)
	b = s.db.NewBatch()
	err := walk(ctx, pdb.Reader(s.db), prefixed("o/"), func(key, value []byte) (bool, error) {
		var r metadata.Record
		if err := r.DecodeShared(value); err != nil {
			if errors.Is(err, metadata.ErrFormat) {
				return false, err
			}
			s.log.Error().Bytes("uid", key[2:]).Err(err).Msg("metadata store: record cannot be indexed")
			return true, nil
		}
		for _, k := range entries(&r) {
			_ = b.Set(k, nil, nil)
		}
		for _, k := range nameKeys(&r) {
			if names[k] {
				s.log.Error().Str("uid", r.UID).Msg("metadata store: two live records hold the same Name; the first keeps it")
				continue
			}
			names[k] = true
			_ = b.Set([]byte(k), []byte(r.UID), nil)
		}
		if b.Len() < reindexChunk {
			return true, nil
		}
		full := b
		b = s.db.NewBatch()
		return true, s.write(ctx, full, false, nil)
	})
	if err != nil {
		_ = b.Close() // nothing was written
		return err
	}
	setNumber(b, rulesKey, metadata.IndexRules)
	return s.write(ctx, b, true, nil)
}
