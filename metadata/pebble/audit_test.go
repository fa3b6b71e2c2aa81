package pebble

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"kmipd/metadata"
	"kmipd/metadata/metadatatest"
)

// Many writers change records, each change with its audit record. After a crash at any moment the chain is whole, and has
// exactly the records of the changes that are there: all that were acknowledged among them.
func TestAuditAtomicOverCrash(t *testing.T) {
	const writers = 6
	for seed := range 3 {
		fs := vfs.NewCrashableMem()
		s := open(t, fs)
		var mu sync.Mutex
		var wg sync.WaitGroup
		acked := map[string]uint64{}
		stop := make(chan struct{})
		for w := range writers {
			wg.Go(func() {
				uid := fmt.Sprint("u", w)
				for i := 1; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					r := metadatatest.Key("o", uid, i)
					b := &metadata.Batch{Puts: []metadata.Put{{Record: r, Expect: uint64(i - 1)}}, Audit: [][]byte{fmt.Appendf(nil, "%s %d", uid, i)}}
					if err := s.Commit(t.Context(), b); err != nil {
						t.Errorf("Commit: %v", err)
						return
					}
					mu.Lock()
					acked[uid] = uint64(i)
					mu.Unlock()
					time.Sleep(time.Millisecond)
				}
			})
		}
		for clone := range 12 {
			time.Sleep(3 * time.Millisecond)
			mu.Lock()
			known := make(map[string]uint64)
			for k, v := range acked {
				known[k] = v
			}
			mu.Unlock()
			after := open(t, crashed(fs, clone%5*25, int64(seed*100+clone)))
			checkAudited(t, after, known)
			if err := after.Close(); err != nil {
				t.Fatal(err)
			}
		}
		close(stop)
		wg.Wait()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// checkAudited compares the chain with the revisions of the records.
func checkAudited(t *testing.T, s *Store, acked map[string]uint64) {
	t.Helper()
	told := map[string]uint64{}
	for _, p := range metadatatest.CheckChain(t, s) {
		uid, rev, _ := strings.Cut(p, " ")
		if told[uid]++; fmt.Sprint(told[uid]) != rev {
			t.Errorf("the audit record %q is number %d of its object", p, told[uid])
		}
	}
	err := s.Records(t.Context(), func(r *metadata.Record) error {
		if told[r.UID] != r.Revision {
			t.Errorf("%s has revision %d and %d audit records", r.UID, r.Revision, told[r.UID])
		}
		if r.Revision < acked[r.UID] {
			t.Errorf("%s has revision %d, %d was acknowledged", r.UID, r.Revision, acked[r.UID])
		}
		delete(told, r.UID)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(told) > 0 {
		t.Errorf("audit records of changes that are not there: %v", told)
	}
}

// The chain goes on after a start where it ended, whatever was pruned, and nothing is shown that a crash could take back.
func TestAuditGoesOn(t *testing.T) {
	fs := vfs.NewCrashableMem()
	rng := rand.New(rand.NewPCG(1, 1))
	var want metadata.AuditHead
	for round := range 8 {
		s := open(t, fs)
		if head, err := s.AuditHead(t.Context()); err != nil || head != want {
			t.Errorf("round %d: the head is %d, %v, want %d", round, head.Seq, err, want.Seq)
		}
		for range 1 + rng.IntN(10) {
			if err := s.Commit(t.Context(), &metadata.Batch{Audit: [][]byte{{byte(round)}, nil}}); err != nil {
				t.Fatal(err)
			}
		}
		metadatatest.CheckChain(t, s)
		want, _ = s.AuditHead(t.Context())
		if round%2 == 1 {
			if err := s.PruneAudit(t.Context(), want.Seq-uint64(rng.IntN(3))); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.SetSetting(t.Context(), "k", nil, false, []byte("not synced")); err != nil {
			t.Fatal(err)
		}
		if head, _ := s.AuditHead(t.Context()); head != want {
			t.Errorf("round %d: a record that is not on disk is the head", round)
		}
		after := crashed(fs, 0, int64(round))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		fs = after
	}
}

// A store of the format before the audit chain is taken in, and then closed to the kmipd of before.
func TestAuditUpgradesFormat(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs)
	b := s.db.NewBatch()
	setNumber(b, formatKey, 1)
	if err := s.write(t.Context(), b, true, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, fs)
	if v, err := s.number(formatKey); err != nil || v != formatVersion {
		t.Errorf("the format is %d, %v, want %d", v, err, formatVersion)
	}
}
