package pebble

import (
	"bytes"
	"context"
	"errors"
	"slices"

	pdb "github.com/cockroachdb/pebble/v2"

	"kmipd/metadata"
)

// sampleSize is how far the range of a term is counted to find the smallest one.
const sampleSize = 64

// Locate implements metadata.Store. A record that is damaged matches nothing and is logged.
func (s *Store) Locate(ctx context.Context, q metadata.Query) (metadata.Result, error) {
	if err := s.enter(ctx); err != nil {
		return metadata.Result{}, err
	}
	defer s.leave()
	if q.Max == 0 && !q.Count {
		return metadata.Result{}, nil
	}
	res, err := s.search(ctx, q)
	if err != nil {
		return metadata.Result{}, err
	}
	for _, uid := range res.UIDs {
		if s.claims.active.Load() == 0 {
			break
		}
		if err := s.settle(ctx, recordKey(uid)); err != nil {
			return metadata.Result{}, err
		}
	}
	return res, nil
}

func (s *Store) search(ctx context.Context, q metadata.Query) (res metadata.Result, err error) {
	snap := s.db.NewSnapshot()
	defer func() { err = closing(err, snap.Close) }()
	ranges, err := openRanges(ctx, snap, q)
	defer func() {
		for _, r := range ranges {
			err = closing(err, r.it.Close)
		}
	}()
	if err != nil {
		return res, err
	}
	if err := smallestFirst(ranges); err != nil {
		return res, err
	}
	m := matcher{store: s, snap: snap, match: q.Match}
	err = intersect(ctx, ranges, func(suffix []byte) (bool, error) {
		uid := suffix[orderSize:]
		if ok, err := m.matches(uid); err != nil || !ok {
			return err == nil, err
		}
		res.Total++
		if res.Total > q.Offset && (q.Max < 0 || len(res.UIDs) < q.Max) {
			res.UIDs = append(res.UIDs, string(uid))
		}
		return q.Count || q.Max < 0 || len(res.UIDs) < q.Max, nil
	})
	if !q.Count {
		res.Total = 0
	}
	return res, err
}

func closing(err error, closer func() error) error {
	if e := closer(); e != nil && err == nil {
		return engineError("reading", e)
	}
	return err
}

// matcher decides on candidates. It uses one record's memory again and again.
type matcher struct {
	store   *Store
	snap    *pdb.Snapshot
	match   func(*metadata.Record) bool
	scratch metadata.Record
	key     []byte
}

func (m *matcher) matches(uid []byte) (bool, error) {
	if m.match == nil {
		return true, nil
	}
	m.key = append(append(m.key[:0], "o/"...), uid...)
	value, closer, err := m.snap.Get(m.key)
	if errors.Is(err, pdb.ErrNotFound) {
		m.store.log.Error().Bytes("uid", uid).Msg("metadata store: index entry without a record")
		return false, nil
	}
	if err != nil {
		return false, engineError("reading", err)
	}
	var ok bool
	if err = m.scratch.DecodeShared(value); err == nil {
		ok = m.match(&m.scratch)
	} else {
		m.store.log.Error().Bytes("uid", uid).Err(err).Msg("metadata store: record cannot be read")
	}
	return ok, closing(nil, closer.Close)
}

// span walks the index entries of one term. What follows the prefix (order and Unique Identifier) is the suffix, by which
// spans are intersected.
type span struct {
	it     *pdb.Iterator
	prefix []byte
	oldest bool // walk backwards
	valid  bool
	seen   int // entries counted so far, at most sampleSize
	key    []byte
}

func openRanges(ctx context.Context, snap *pdb.Snapshot, q metadata.Query) ([]*span, error) {
	terms := q.Terms
	if len(terms) == 0 {
		terms = []metadata.Term{{}}
	}
	var out []*span
	for _, t := range terms {
		prefix := termPrefix(q.Owner, q.Destroyed, t)
		if slices.ContainsFunc(out, func(r *span) bool { return bytes.Equal(r.prefix, prefix) }) {
			continue
		}
		it, err := snap.NewIterWithContext(ctx, &pdb.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
		if err != nil {
			return out, engineError("reading", err)
		}
		out = append(out, &span{it: it, prefix: prefix, oldest: q.Oldest})
	}
	return out, nil
}

// smallestFirst counts a little of each range; a single one needs no counting.
func smallestFirst(ranges []*span) error {
	if len(ranges) < 2 {
		return nil
	}
	for _, r := range ranges {
		for ok := r.first(); ok && r.seen < sampleSize; ok = r.next() {
			r.seen++
		}
		if err := r.it.Error(); err != nil {
			return engineError("reading", err)
		}
		r.valid = false
	}
	slices.SortStableFunc(ranges, func(a, b *span) int { return a.seen - b.seen })
	return nil
}

func (r *span) suffix() []byte { return r.it.Key()[len(r.prefix):] }

func (r *span) first() bool {
	if r.oldest {
		r.valid = r.it.Last()
	} else {
		r.valid = r.it.First()
	}
	return r.valid
}

func (r *span) next() bool {
	if r.oldest {
		r.valid = r.it.Prev()
	} else {
		r.valid = r.it.Next()
	}
	return r.valid
}

// seek goes to the suffix or to the first one behind it in walking order.
func (r *span) seek(suffix []byte) bool {
	r.key = append(append(r.key[:0], r.prefix...), suffix...)
	if r.oldest {
		r.key = append(r.key, 0) // the first key behind it, as SeekLT excludes its argument
		r.valid = r.it.SeekLT(r.key)
	} else {
		r.valid = r.it.SeekGE(r.key)
	}
	return r.valid
}

// reach is seek for a range that only moves on: it stays where it is, or makes one step, when that is enough.
func (r *span) reach(suffix []byte) bool {
	if !r.valid {
		return r.seek(suffix)
	}
	if r.behind(suffix) {
		if !r.next() || !r.behind(suffix) {
			return r.valid
		}
		return r.seek(suffix)
	}
	return true
}

func (r *span) behind(suffix []byte) bool {
	order := bytes.Compare(r.suffix(), suffix)
	return order < 0 && !r.oldest || order > 0 && r.oldest
}

// intersect calls fn with each suffix that all ranges have, in walking order, until it says false or fails. The first
// range leads; where another one skips ahead, the leader jumps after it.
func intersect(ctx context.Context, ranges []*span, fn func(suffix []byte) (bool, error)) error {
	lead := ranges[0]
	n := 0
	for ok := lead.first(); ok; {
		if n++; n%ctxEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		ahead := disagree(ranges[1:], lead.suffix())
		switch {
		case ahead == nil:
			if more, err := fn(lead.suffix()); err != nil || !more {
				return err
			}
			ok = lead.next()
		case !ahead.valid:
			ok = false
		default:
			ok = lead.seek(ahead.suffix())
		}
	}
	for _, r := range ranges {
		if err := r.it.Error(); err != nil {
			return engineError("reading", err)
		}
	}
	return nil
}

// disagree moves the ranges to the suffix and returns the first that does not have it.
func disagree(ranges []*span, suffix []byte) *span {
	for _, r := range ranges {
		if !r.reach(suffix) || !bytes.Equal(r.suffix(), suffix) {
			return r
		}
	}
	return nil
}
