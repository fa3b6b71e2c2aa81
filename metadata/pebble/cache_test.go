package pebble

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"kmipd/metadata"
	"kmipd/metadata/metadatatest"
)

// A reader that was under way while a commit came in must not leave in the cache what the commit replaced.
func TestCacheTakesNothingOlderThanACommit(t *testing.T) {
	old, other := metadatatest.Key("owner", "uid", 1), metadatatest.Key("owner", "other", 1)
	for _, c := range []struct {
		name   string
		during func(*recordCache) // between the read and the put of a reader
		held   bool
	}{
		{"nothing happens", func(*recordCache) {}, true},
		{"the record changes", func(c *recordCache) { c.forget([]change{{uid: "uid"}}) }, false},
		{"the record changes, and another reader was first", func(c *recordCache) {
			c.put("uid", old, 10, c.reading())
			c.forget([]change{{uid: "uid"}})
		}, false},
		{"another record is read", func(c *recordCache) { c.put("other", other, 10, c.reading()) }, true},
	} {
		var cache recordCache
		mark := cache.reading()
		c.during(&cache)
		cache.put("uid", old, 10, mark)
		if got := cache.get("uid") != nil; got != c.held {
			t.Errorf("%s: held is %v, want %v", c.name, got, c.held)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	var c recordCache
	r := metadatatest.Key("owner", "uid", 1)
	put := func(uid string, octets int) { c.put(uid, r, octets, c.reading()) }
	const size = 1 << 10
	for i := range 5 * cacheOctets / size {
		put(fmt.Sprint(i), size)
		put("again", size) // replaces itself
		c.get("busy")
		if i == 0 {
			put("busy", size)
		}
		if i%100 == 0 {
			c.forget([]change{{uid: fmt.Sprint(i)}})
		}
	}
	for _, g := range []map[string]cached{c.young, c.old} {
		sum := 0
		for _, e := range g {
			sum += e.octets
		}
		if sum > cacheOctets {
			t.Errorf("a generation has %d octets, more than %d", sum, cacheOctets)
		}
	}
	if sum := len(c.young) * size; sum != c.octets {
		t.Errorf("the young generation counts %d octets, has %d", c.octets, sum)
	}
	if c.get("busy") == nil || c.get("again") == nil {
		t.Error("a record that was asked for or put all the time is not there")
	}
	if c.get("0") != nil {
		t.Error("the record that nobody asked for is still there")
	}
	put("large", cacheLargest+1)
	if c.get("large") != nil {
		t.Error("a record over the limit is held")
	}
}

// What a commit wrote is what every later Get sees, however many readers fill the cache meanwhile; what it removed is gone.
func TestCacheNeverOutlivesACommit(t *testing.T) {
	s := open(t, vfs.NewMem())
	rounds := uint64(300)
	if testing.Short() {
		rounds = 60
	}
	var committed atomic.Uint64 // the revision that the last finished commit wrote
	r := metadatatest.Key("owner", "uid", 1)
	metadatatest.Put(t, s, r)
	committed.Store(1)
	end := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				least := committed.Load()
				got, err := s.Get(t.Context(), "uid")
				if err != nil {
					t.Error(err)
					return
				}
				if got.Revision < least {
					t.Errorf("Get gave revision %d after the commit of %d", got.Revision, least)
					return
				}
			}
		})
	}
	for rev := uint64(1); rev < rounds; rev++ {
		if err := s.Commit(t.Context(), &metadata.Batch{Puts: []metadata.Put{{Record: r, Expect: rev}}}); err != nil {
			t.Fatal(err)
		}
		committed.Store(rev + 1)
	}
	close(end)
	readers.Wait()
	if err := s.Commit(t.Context(), &metadata.Batch{Deletes: []metadata.Delete{{UID: "uid", Expect: rounds}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), "uid"); err == nil {
		t.Error("Get found a record that was removed")
	}
}
