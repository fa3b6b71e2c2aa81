package pebble

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	pdb "github.com/cockroachdb/pebble/v2"

	"kmipd/metadata"
)

// Job implements metadata.Store. It waits for no sync: only the owner of a job asks for it while it changes.
func (s *Store) Job(ctx context.Context, id string) (*metadata.Job, error) {
	j := new(metadata.Job)
	if err := s.getJSON(ctx, jobKey(id), j); err != nil {
		return nil, err
	}
	return j, nil
}

// Jobs implements metadata.Store.
func (s *Store) Jobs(ctx context.Context, fn func(*metadata.Job) error) error {
	return walkJSON(ctx, s, "j/", fn)
}

// walkJSON calls fn with each value under a prefix.
func walkJSON[T any](ctx context.Context, s *Store, prefix string, fn func(*T) error) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	var bad damage
	err := walk(ctx, s.db, prefixed(prefix), func(key, value []byte) (bool, error) {
		v := new(T)
		if err := json.Unmarshal(value, v); err != nil {
			bad.keys = append(bad.keys, string(key))
			return true, nil
		}
		return true, fn(v)
	})
	return errors.Join(err, bad.err())
}

// stageJobs writes the jobs of a batch.
func stageJobs(wb *pdb.Batch, b *metadata.Batch) error {
	for _, j := range b.PutJobs {
		if j.ID == "" {
			return errors.New("metadata: a job needs an identifier")
		}
		value, err := json.Marshal(j)
		if err != nil {
			return fmt.Errorf("metadata: job: %w", err)
		}
		_ = wb.Set(jobKey(j.ID), value, nil) // a Batch in memory does not fail
	}
	for _, id := range b.DropJobs {
		_ = wb.Delete(jobKey(id), nil)
	}
	return nil
}
