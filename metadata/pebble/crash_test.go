package pebble

import (
	"errors"
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

// crashed is the file system after a power cut: what was synced is there, and of the rest the given share.
func crashed(fs *vfs.MemFS, percent int, seed int64) *vfs.MemFS {
	return fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(uint64(seed), 3))})
}

// One writer: after a crash the store is exactly what was acknowledged.
func TestCrashBetweenCommits(t *testing.T) {
	for seed := range 6 {
		fs := vfs.NewCrashableMem()
		m := metadatatest.NewModel()
		rng := rand.New(rand.NewPCG(uint64(seed), 2))
		for round := range 6 {
			s := open(t, fs)
			for range 1 + rng.IntN(30) {
				b := metadatatest.RandomBatch(rng, m)
				metadatatest.Agree(t, s.Commit(t.Context(), b), m.Apply(b))
				if rng.IntN(20) == 0 {
					if err := s.db.Flush(); err != nil {
						t.Fatal(err)
					}
				}
			}
			after := crashed(fs, round*20, int64(seed))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			fs = after
			s = open(t, fs)
			metadatatest.Compare(t, s, m, rng)
			checkKeys(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Many writers: each batch puts a pair of records. After a crash at any moment the pairs are whole, acknowledged ones are
// there, and no index entry is without its record.
func TestCrashDuringCommits(t *testing.T) {
	for seed := range 4 {
		fs := vfs.NewCrashableMem()
		s := open(t, fs)
		var (
			mu    sync.Mutex
			acked = make(map[string]uint64) // pair to its last acknowledged revision
			wg    sync.WaitGroup
			stop  = make(chan struct{})
		)
		for w := range 8 {
			wg.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					pair := fmt.Sprintf("%d-%d", w, i%5)
					mu.Lock()
					expect := acked[pair]
					mu.Unlock()
					a := metadatatest.Key("o", pair+"a", i, pair+"x", fmt.Sprint(pair, "-", i))
					b := metadatatest.Key("o", pair+"b", i)
					batch := metadata.Batch{Puts: []metadata.Put{{Record: a, Expect: expect}, {Record: b, Expect: expect}}}
					if err := s.Commit(t.Context(), &batch); err != nil {
						t.Errorf("Commit: %v", err)
						return
					}
					mu.Lock()
					acked[pair] = a.Revision
					mu.Unlock()
					time.Sleep(time.Millisecond) // a clone copies all that was written
				}
			})
		}
		for clone := range 15 {
			if clone%4 == 3 {
				if _, err := s.db.AsyncFlush(); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(3 * time.Millisecond)
			mu.Lock()
			known := make(map[string]uint64, len(acked))
			for p, r := range acked {
				known[p] = r
			}
			mu.Unlock()
			after := open(t, crashed(fs, clone%5*25, int64(seed*100+clone)))
			checkKeys(t, after)
			for w := range 8 {
				for i := range 5 {
					checkPair(t, after, fmt.Sprintf("%d-%d", w, i), known)
				}
			}
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

func checkPair(t *testing.T, s *Store, pair string, known map[string]uint64) {
	t.Helper()
	rev := func(uid string) uint64 {
		r, err := s.Get(t.Context(), uid)
		if errors.Is(err, metadata.ErrNotFound) {
			return 0
		}
		if err != nil {
			t.Fatal(err)
		}
		return r.Revision
	}
	a, b := rev(pair+"a"), rev(pair+"b")
	if a != b {
		t.Errorf("pair %s: half of a batch, revisions %d and %d", pair, a, b)
	}
	if a < known[pair] {
		t.Errorf("pair %s: revision %d after the crash, %d was acknowledged before", pair, a, known[pair])
	}
}

// Indexes that other rules made, or whose building was cut short by a crash, are built anew.
func TestReindexAtOpen(t *testing.T) {
	for _, c := range []struct {
		name  string
		rules uint32
	}{{"other rules", metadata.IndexRules + 7}, {"cut short", 0}} {
		t.Run(c.name, func(t *testing.T) {
			fs := vfs.NewCrashableMem()
			m := metadatatest.NewModel()
			s := open(t, fs)
			metadatatest.RandomBatches(t, s, m, 4, 60)
			b := s.db.NewBatch()
			setNumber(b, rulesKey, c.rules)
			_ = b.DeleteRange([]byte("x/"), after([]byte("x/")), nil)
			_ = b.Set(termPrefix("a", false, metadata.Term{Attr: "Old", Value: []byte("term")}), nil, nil)
			if err := s.write(t.Context(), b, true, nil); err != nil {
				t.Fatal(err)
			}
			fs = crashed(fs, 0, 1)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, fs)
			checkKeys(t, s)
			metadatatest.Compare(t, s, m, rand.New(rand.NewPCG(1, 1)))
			if n, err := s.number(rulesKey); err != nil || n != metadata.IndexRules {
				t.Errorf("rules of the new indexes: got %d, %v, want %d", n, err, metadata.IndexRules)
			}
		})
	}
}

// A crash within the very first Open can leave a marker without the manifest that it names: an empty store. Where there is
// a log too, something was lost, and that is an error.
func TestMarkerWithoutManifest(t *testing.T) {
	for _, c := range []struct {
		name string
		keep string
		want bool
	}{
		{"nothing else", "", true},
		{"a log", ".log", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs := vfs.NewMem()
			if err := open(t, fs).Close(); err != nil {
				t.Fatal(err)
			}
			names, err := fs.List("store/here")
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				if strings.HasPrefix(name, "marker.manifest.") || c.keep != "" && strings.HasSuffix(name, c.keep) {
					continue
				}
				if err := fs.RemoveAll(fs.PathJoin("store/here", name)); err != nil {
					t.Fatal(err)
				}
			}
			s, err := Open("store/here", Options{FS: fs})
			if (err == nil) != c.want {
				t.Errorf("got %v, want opened %t", err, c.want)
			}
			if err == nil {
				_ = s.Close()
			}
		})
	}
}
