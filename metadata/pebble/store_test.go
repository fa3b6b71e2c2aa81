package pebble

import (
	"bytes"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"kmipd/metadata"
	"kmipd/metadata/metadatatest"
)

func open(t testing.TB, fs vfs.FS) *Store {
	t.Helper()
	s, err := Open("store/here", Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, metadata.ErrClosed) {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func TestStore(t *testing.T) {
	metadatatest.Run(t, func(t *testing.T) metadata.Store { return open(t, vfs.NewMem()) })
}

// checkKeys fails unless the keys that can be computed from the records are exactly those in the store.
func checkKeys(t testing.TB, s *Store) {
	t.Helper()
	var want [][]byte
	err := s.Records(t.Context(), func(r *metadata.Record) error {
		want = append(want, entries(r)...)
		for _, k := range nameKeys(r) {
			want = append(want, []byte(k))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var got [][]byte
	for _, p := range []string{"d/", "n/", "x/", "y/"} {
		err := walk(t.Context(), s.db, prefixed(p), func(key, _ []byte) (bool, error) {
			got = append(got, bytes.Clone(key))
			return true, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	want = sorted(want)
	if len(got) != len(want) {
		t.Errorf("%d keys, want %d", len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("key %d: got %q, want %q", i, got[i], want[i])
		}
	}
}

func TestRandomBatches(t *testing.T) {
	seeds := 20
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		fs := vfs.NewMem()
		s := open(t, fs)
		m := metadatatest.NewModel()
		metadatatest.RandomBatches(t, s, m, uint64(seed)+100, 150)
		checkKeys(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, fs)
		metadatatest.RandomBatches(t, s, m, uint64(seed)+900, 50)
		if err := s.db.Flush(); err != nil {
			t.Fatal(err)
		}
		metadatatest.RandomBatches(t, s, m, uint64(seed)+500, 50)
		checkKeys(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s, err := Open("store/here", Options{FS: fs, Reindex: true})
		if err != nil {
			t.Fatal(err)
		}
		checkKeys(t, s)
		metadatatest.RandomBatches(t, s, m, uint64(seed)+700, 20)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
