package pebble

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"

	pdb "github.com/cockroachdb/pebble/v2"

	"kmipd/metadata"
)

// The audit chain in a/. A record is chained while its batch goes into the log, behind the gate that lets one batch in at a
// time: so the order of the chain is that of the log, and a crash keeps a beginning of both.

// chain knows the end of the chain.
type chain struct {
	mu      sync.Mutex // guards the fields below; head changes behind the gate alone
	head    metadata.AuditHead
	durable metadata.AuditHead // the newest record that is on disk
	first   uint64             // what is before it was pruned
}

func auditKey(seq uint64) []byte { return binary.BigEndian.AppendUint64([]byte("a/"), seq) }

// auditValueMin is the size of a value without payload: the hash before and its own.
const auditValueMin = 2 * len(metadata.AuditDigest{})

// stageAudit adds records to a batch that is about to be applied, and returns the new end of the chain. The caller is behind
// the gate.
func (s *Store) stageAudit(b *pdb.Batch, payloads [][]byte) metadata.AuditHead {
	s.chain.mu.Lock()
	head := s.chain.head
	s.chain.mu.Unlock()
	for _, p := range payloads {
		seq, prev := head.Seq+1, head.Hash
		head = metadata.AuditHead{Seq: seq, Hash: metadata.AuditHash(seq, prev, p)}
		value := make([]byte, 0, auditValueMin+len(p))
		value = append(append(append(value, prev[:]...), head.Hash[:]...), p...)
		_ = b.Set(auditKey(seq), value, nil) // a Batch in memory does not fail
	}
	return head
}

func (c *chain) setHead(h metadata.AuditHead) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.head = h
}

// synced notes that everything up to h is on disk: the log syncs in order.
func (c *chain) synced(h metadata.AuditHead) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.Seq > c.durable.Seq {
		c.durable = h
	}
}

// loadChain finds the end of the chain at start. What is in the store then is on disk.
func (s *Store) loadChain() error {
	it, err := s.db.NewIter(prefixed("a/"))
	if err != nil {
		return engineError("reading the audit chain", err)
	}
	defer func() { _ = it.Close() }() // its error is in it.Error
	if it.First() {
		if s.chain.first, err = auditSeq(it.Key()); err != nil {
			return err
		}
	}
	if it.Last() {
		value, err := it.ValueAndErr()
		if err != nil {
			return engineError("reading the audit chain", err)
		}
		e, err := auditEntry(it.Key(), value)
		if err != nil {
			return err
		}
		s.chain.head = metadata.AuditHead{Seq: e.Seq, Hash: e.Hash}
		s.chain.durable = s.chain.head
	}
	if err := it.Error(); err != nil {
		return engineError("reading the audit chain", err)
	}
	return nil
}

func auditSeq(key []byte) (uint64, error) {
	if len(key) != 2+8 {
		return 0, fmt.Errorf("%w: audit key %q", metadata.ErrCorrupt, key)
	}
	return binary.BigEndian.Uint64(key[2:]), nil
}

// auditEntry decodes an entry, whose payload is a copy.
func auditEntry(key, value []byte) (metadata.AuditEntry, error) {
	var e metadata.AuditEntry
	seq, err := auditSeq(key)
	if err != nil {
		return e, err
	}
	if len(value) < auditValueMin {
		return e, fmt.Errorf("%w: audit record %d", metadata.ErrCorrupt, seq)
	}
	e.Seq = seq
	copy(e.Prev[:], value)
	copy(e.Hash[:], value[len(e.Prev):])
	e.Payload = append([]byte(nil), value[auditValueMin:]...)
	return e, nil
}

// AuditHead implements metadata.Store.
func (s *Store) AuditHead(ctx context.Context) (metadata.AuditHead, error) {
	if err := s.enter(ctx); err != nil {
		return metadata.AuditHead{}, err
	}
	defer s.leave()
	s.chain.mu.Lock()
	defer s.chain.mu.Unlock()
	return s.chain.durable, nil
}

// AuditEntries implements metadata.Store.
func (s *Store) AuditEntries(ctx context.Context, after uint64, max int) ([]metadata.AuditEntry, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	s.chain.mu.Lock()
	first, last := s.chain.first, s.chain.durable.Seq
	s.chain.mu.Unlock()
	if after >= last {
		return nil, nil
	}
	from := after + 1
	if from < first {
		from = first // spares the iterator the tombstones of what was pruned
	}
	var out []metadata.AuditEntry
	err := walk(ctx, pdb.Reader(s.db), &pdb.IterOptions{LowerBound: auditKey(from), UpperBound: auditKey(last + 1)},
		func(key, value []byte) (bool, error) {
			e, err := auditEntry(key, value)
			if err != nil {
				return false, err
			}
			out = append(out, e)
			return len(out) < max, nil
		})
	return out, err
}

// PruneAudit implements metadata.Store. It is not synced: what comes back after a crash is pruned again.
func (s *Store) PruneAudit(ctx context.Context, through uint64) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	s.chain.mu.Lock()
	first, last := s.chain.first, s.chain.durable.Seq
	s.chain.mu.Unlock()
	if through >= last {
		through = last - 1 // the end of the chain is found by its last record
	}
	if last == 0 || through < first || through == 0 {
		return nil
	}
	b := s.db.NewBatch()
	_ = b.DeleteRange(auditKey(first), auditKey(through+1), nil) // a Batch in memory does not fail
	if err := s.write(ctx, b, false, nil); err != nil {
		return err
	}
	s.chain.mu.Lock()
	defer s.chain.mu.Unlock()
	s.chain.first = through + 1
	return nil
}
