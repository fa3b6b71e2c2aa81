package pebble

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pdb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"kmipd/metadata"
	"kmipd/metadata/metadatatest"
)

// onLog runs a function before each sync (and, if writes, each write) of pebble's log.
type onLog struct {
	writes bool
	fn     func() error
}

func (onLog) String() string { return "on log" }

func (h onLog) MaybeError(op errorfs.Op) error {
	if !strings.HasSuffix(op.Path, ".log") {
		return nil
	}
	switch op.Kind {
	case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
		return h.fn()
	case errorfs.OpFileWrite:
		if h.writes {
			return h.fn()
		}
	}
	return nil
}

func single(uid string) *metadata.Batch {
	return &metadata.Batch{Puts: []metadata.Put{{Record: metadatatest.Key("o", uid, 1, "name of "+uid)}}}
}

// After a log that fails nothing is acknowledged and nothing is read; what was acknowledged before is there at the next
// start. Several rounds, as pebble gets to know of the failure in several places.
func TestLogFailure(t *testing.T) {
	for round := range 20 {
		testLogFailure(t, round%2 == 1)
	}
}

func testLogFailure(t *testing.T, writes bool) {
	fs := vfs.NewCrashableMem()
	var broken atomic.Bool
	told := make(chan error, 8)
	s, err := Open("store", Options{
		FS: errorfs.Wrap(fs, onLog{writes, func() error {
			if broken.Load() {
				return errorfs.ErrInjected
			}
			return nil
		}}),
		OnFailure: func(err error) { told <- err },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), single("before")); err != nil {
		t.Fatal(err)
	}
	broken.Store(true)
	var wg sync.WaitGroup
	for i := range 64 { // enough to fill blocks of the log and to change to another one
		wg.Go(func() {
			r := metadatatest.Key("o", fmt.Sprint("after", i), i)
			r.Frame = make([]byte, 20000)
			err := s.Commit(t.Context(), &metadata.Batch{Puts: []metadata.Put{{Record: r}}})
			if !errors.Is(err, metadata.ErrFailed) {
				t.Errorf("Commit on a broken disk: got %v, want ErrFailed", err)
			}
			if r.Revision != 0 {
				t.Error("Commit on a broken disk set Revision")
			}
		})
	}
	wg.Wait()
	if _, err := s.Get(t.Context(), "before"); !errors.Is(err, metadata.ErrFailed) {
		t.Errorf("Get: got %v, want ErrFailed", err)
	}
	<-told
	_ = s.Close()
	if len(told) > 0 {
		t.Error("OnFailure was called twice")
	}
	again := opened(t, crashed(fs, 0, 1), "store")
	if _, err := again.Get(t.Context(), "before"); err != nil {
		t.Errorf("Get after a new start: %v", err)
	}
	if n, err := again.Count(t.Context()); err != nil || n[metadata.PhaseLive] != 1 {
		t.Errorf("got %v records, %v, want 1", n, err)
	}
}

// nth fails one write-like operation of any file.
type nth struct {
	count atomic.Int64
	at    int64
}

func (*nth) String() string { return "nth" }

func (n *nth) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && n.count.Add(1) == n.at {
		return errorfs.ErrInjected
	}
	return nil
}

// Wherever a write fails, Open and the commits after it give errors and come back, and the next start finds what was
// acknowledged.
func TestEveryWriteFails(t *testing.T) {
	step := int64(1)
	if testing.Short() {
		step = 5
	}
	for at := int64(1); ; at += step {
		fs := vfs.NewCrashableMem()
		fault := &nth{at: at}
		acked := writeSome(t, errorfs.Wrap(fs, fault))
		for _, percent := range []int{0, 50} {
			s := opened(t, crashed(fs, percent, at), "store")
			checkKeys(t, s)
			for _, uid := range acked {
				if _, err := s.Get(t.Context(), uid); err != nil {
					t.Errorf("write %d failed: %s was acknowledged: %v", at, uid, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		if fault.count.Load() < at {
			t.Logf("%d writes", at)
			return
		}
	}
}

// writeSome opens a store, commits with flushes in between, and closes it. It returns what was acknowledged.
func writeSome(t *testing.T, fs vfs.FS) (acked []string) {
	s, err := Open("store", Options{FS: fs})
	if err != nil {
		return nil
	}
	for i := range 12 {
		uid := fmt.Sprint("uid", i)
		if err := s.Commit(t.Context(), single(uid)); err == nil {
			acked = append(acked, uid)
		} else if !errors.Is(err, metadata.ErrFailed) {
			t.Errorf("Commit on a broken disk: got %v, want ErrFailed", err)
		}
		if i%4 == 3 && s.failed() == nil {
			flushed := make(chan error, 1)
			go func() { flushed <- s.db.Flush() }()
			select {
			case <-flushed:
			case <-s.stopped:
			}
		}
	}
	_ = s.Close()
	return acked
}

func opened(t testing.TB, fs vfs.FS, dir string) *Store {
	t.Helper()
	s, err := Open(dir, Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// Concurrent commits share syncs.
func TestGroupCommit(t *testing.T) {
	const writers, each = 64, 10
	var syncs atomic.Int64
	s := opened(t, errorfs.Wrap(vfs.NewMem(), onLog{fn: func() error {
		syncs.Add(1)
		time.Sleep(2 * time.Millisecond) // as a disk would take
		return nil
	}}), "store")
	before := syncs.Load()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := s.Commit(t.Context(), single(fmt.Sprint(w, "-", i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	n := syncs.Load() - before
	t.Logf("%d commits, %d syncs", writers*each, n)
	if n > writers*each/5 {
		t.Errorf("%d syncs for %d commits", n, writers*each)
	}
}

// While a sync hangs, readers of what it is about wait, other readers do not, and waits end with their context.
func TestUnsyncedIsNotRead(t *testing.T) {
	var hang atomic.Bool
	entered, leave := make(chan struct{}, 10), make(chan struct{})
	s := opened(t, errorfs.Wrap(vfs.NewMem(), onLog{fn: func() error {
		if hang.Load() {
			entered <- struct{}{}
			<-leave
		}
		return nil
	}}), "store")
	metadatatest.Put(t, s, metadatatest.Key("o", "other", 1))
	hang.Store(true)
	done := make(chan error, 1)
	go func() { done <- s.Commit(context.Background(), single("new")) }()
	<-entered

	if _, err := s.Get(t.Context(), "other"); err != nil {
		t.Errorf("Get of another record: %v", err)
	}
	reads := map[string]func(context.Context) error{
		"Get":    func(ctx context.Context) error { _, err := s.Get(ctx, "new"); return err },
		"ByName": func(ctx context.Context) error { _, err := s.ByName(ctx, "o", "name of new"); return err },
		"Locate": func(ctx context.Context) error {
			_, err := s.Locate(ctx, metadata.Query{Owner: "o", Max: -1})
			return err
		},
		"Commit": func(ctx context.Context) error { return s.Commit(ctx, single("new")) },
		"Commit of a name": func(ctx context.Context) error {
			return s.Commit(ctx, &metadata.Batch{Puts: []metadata.Put{{Record: metadatatest.Key("o", "x", 1, "name of new")}}})
		},
	}
	for name, read := range reads {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := read(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s of what is not synced: got %v, want a wait", name, err)
		}
		cancel()
	}
	hang.Store(false)
	close(leave)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Get", "ByName", "Locate"} {
		if err := reads[name](t.Context()); err != nil {
			t.Errorf("%s after the sync: %v", name, err)
		}
	}
}

// Of those who want the same name, or the same revision, exactly one wins.
func TestRaces(t *testing.T) {
	s := open(t, vfs.NewMem())
	metadatatest.Put(t, s, metadatatest.Key("o", "shared", 1))
	const writers, rounds = 64, 20
	for round := range rounds {
		var names, updates, creates atomic.Int64
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				r := metadatatest.Key("o", fmt.Sprintf("r%d-%d", round, w), w, fmt.Sprint("name", round))
				won(t, &names, s.Commit(t.Context(), &metadata.Batch{Puts: []metadata.Put{{Record: r}}}))
				shared := metadatatest.Key("o", "shared", w)
				won(t, &updates, s.Commit(t.Context(), &metadata.Batch{Puts: []metadata.Put{{Record: shared, Expect: uint64(round + 1)}}}))
				twin := metadatatest.Key("o", fmt.Sprint("twin", round), w)
				won(t, &creates, s.Commit(t.Context(), &metadata.Batch{Puts: []metadata.Put{{Record: twin}}}))
				if _, err := s.Locate(t.Context(), metadata.Query{Owner: "o", Max: 10, Count: true,
					Terms: []metadata.Term{metadata.ObjectTypeTerm(2)}, Match: func(*metadata.Record) bool { return true }}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for what, n := range map[string]int64{"names": names.Load(), "updates": updates.Load(), "creates": creates.Load()} {
			if n != 1 {
				t.Errorf("round %d, %s: %d winners, want 1", round, what, n)
			}
		}
	}
	checkKeys(t, s)
	if n, err := s.Count(t.Context()); err != nil || n[metadata.PhaseLive] != 1+2*rounds {
		t.Errorf("Count: got %v, %v, want %d", n, err, 1+2*rounds)
	}
}

func won(t *testing.T, winners *atomic.Int64, err error) {
	var taken *metadata.NameTakenError
	switch {
	case err == nil:
		winners.Add(1)
	case errors.As(err, &taken), errors.Is(err, metadata.ErrConflict), errors.Is(err, metadata.ErrExists):
	default:
		t.Errorf("a loser got %v", err)
	}
}

func TestLockAndClose(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, metadata.ErrLocked) {
		t.Errorf("second Open: got %v, want ErrLocked", err)
	}
	metadatatest.Put(t, s, metadatatest.Key("o", "a", 1))
	err = s.Records(t.Context(), func(*metadata.Record) error {
		closed := make(chan error)
		go func() { closed <- s.Close() }()
		for { // Close waits for this walk, and refuses new calls meanwhile
			if _, err := s.Get(t.Context(), "a"); errors.Is(err, metadata.ErrClosed) {
				break
			}
			time.Sleep(time.Millisecond)
		}
		go func() { <-closed }()
		return nil
	})
	if err != nil {
		t.Errorf("Records while Close waits: %v", err)
	}
	if err := s.Close(); !errors.Is(err, metadata.ErrClosed) {
		t.Errorf("second Close: got %v, want ErrClosed", err)
	}
	for i := 0; ; i++ { // the first Close may still be at it
		if s, err = Open(dir, Options{}); !errors.Is(err, metadata.ErrLocked) || i > 500 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), "a"); err != nil {
		t.Errorf("Get after opening again: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestFormats(t *testing.T) {
	for _, c := range []struct {
		name string
		key  []byte
		set  []byte
		want error
	}{
		{"newer store", formatKey, []byte{0, 0, 0, formatVersion + 1}, metadata.ErrFormat},
		{"odd format", formatKey, []byte{1}, metadata.ErrCorrupt},
		{"no format", formatKey, nil, metadata.ErrCorrupt},
		{"odd index rules", rulesKey, []byte{1}, metadata.ErrCorrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs := vfs.NewMem()
			s := open(t, fs)
			raw(t, s, c.key, c.set)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := Open("store/here", Options{FS: fs}); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if _, err := Open("store/here", Options{FS: fs}); errors.Is(err, metadata.ErrLocked) {
				t.Error("a refused Open keeps the lock")
			}
		})
	}
}

// raw sets a key behind the store's back, or deletes it.
func raw(t testing.TB, s *Store, key, value []byte) {
	t.Helper()
	var err error
	if value == nil {
		err = s.db.Delete(key, pdb.Sync)
	} else {
		err = s.db.Set(key, value, pdb.Sync)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Damage is found, named, and does not get in the way of the rest.
func TestDamage(t *testing.T) {
	s := open(t, vfs.NewMem())
	metadatatest.Put(t, s, metadatatest.Key("o", "a", 1), metadatatest.Key("o", "b", 2), metadatatest.Key("o", "c", 3))
	value, err := s.value(s.db, recordKey("b"))
	if err != nil {
		t.Fatal(err)
	}
	value[40] ^= 1
	raw(t, s, recordKey("b"), value)
	whole, err := s.value(s.db, recordKey("a"))
	if err != nil {
		t.Fatal(err)
	}
	raw(t, s, recordKey("d"), whole) // under another record's key
	for _, uid := range []string{"b", "d"} {
		if _, err := s.Get(t.Context(), uid); !errors.Is(err, metadata.ErrCorrupt) {
			t.Errorf("Get(%s): got %v, want ErrCorrupt", uid, err)
		}
		r := metadatatest.Key("o", uid, 1)
		if err := s.Commit(t.Context(), &metadata.Batch{Puts: []metadata.Put{{Record: r, Expect: 1}}}); !errors.Is(err, metadata.ErrCorrupt) {
			t.Errorf("Commit of %s: got %v, want ErrCorrupt", uid, err)
		}
	}
	var seen []string
	err = s.Records(t.Context(), func(r *metadata.Record) error { seen = append(seen, r.UID); return nil })
	var corrupt *metadata.CorruptError
	if !errors.As(err, &corrupt) || !errors.Is(err, metadata.ErrCorrupt) || fmt.Sprint(corrupt.UIDs) != "[b d]" {
		t.Errorf("Records: got %v, want a CorruptError of b and d", err)
	}
	if fmt.Sprint(seen) != "[a c]" {
		t.Errorf("Records: walked %v, want a and c", seen)
	}
	all := func(*metadata.Record) bool { return true }
	if got, err := s.Locate(t.Context(), metadata.Query{Owner: "o", Max: -1, Match: all}); err != nil || fmt.Sprint(got.UIDs) != "[c a]" {
		t.Errorf("Locate: got %v, %v, want c and a", got.UIDs, err)
	}
	raw(t, s, clientKey("bad"), []byte("{"))
	raw(t, s, intentKey([16]byte{9}), []byte("?"))
	if err := s.PutClient(t.Context(), &metadata.Client{Name: "good"}); err != nil {
		t.Fatal(err)
	}
	if cs, err := s.Clients(t.Context()); !errors.Is(err, metadata.ErrCorrupt) || len(cs) != 1 {
		t.Errorf("Clients: got %d, %v, want one and ErrCorrupt", len(cs), err)
	}
	if _, err := s.Client(t.Context(), "bad"); !errors.Is(err, metadata.ErrCorrupt) {
		t.Errorf("Client: got %v, want ErrCorrupt", err)
	}
	if _, err := s.Intents(t.Context()); !errors.Is(err, metadata.ErrCorrupt) {
		t.Errorf("Intents: got %v, want ErrCorrupt", err)
	}
}

// An administrator's deletion of a pending certificate that waits for the disk keeps no handshake waiting that notes another.
func TestPendingDoesNotWaitForTheDisk(t *testing.T) {
	var hang atomic.Bool
	entered, leave := make(chan struct{}, 10), make(chan struct{})
	s := opened(t, errorfs.Wrap(vfs.NewMem(), onLog{fn: func() error {
		if hang.Load() {
			entered <- struct{}{}
			<-leave
		}
		return nil
	}}), "store")
	seen := func(fingerprint string) *metadata.PendingCertificate {
		return &metadata.PendingCertificate{Fingerprint: fingerprint, LastSeen: metadatatest.Epoch}
	}
	if err := s.PutPending(t.Context(), seen("a")); err != nil {
		t.Fatal(err)
	}
	hang.Store(true)
	done := make(chan error, 1)
	go func() { done <- s.DeletePending(context.Background(), "a", []byte("who")) }()
	<-entered
	put := make(chan error, 1)
	go func() { put <- s.PutPending(context.Background(), seen("b")) }()
	select {
	case err := <-put:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("PutPending waits for the sync of DeletePending")
	}
	hang.Store(false)
	close(leave)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if list, err := s.Pending(t.Context()); err != nil || len(list) != 1 || list[0].Fingerprint != "b" || len(s.pending.lastSeen) != 1 {
		t.Errorf("got %v, %v, and %v in memory", list, err, s.pending.lastSeen)
	}
}
