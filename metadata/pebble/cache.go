package pebble

import (
	"sync"

	"kmipd/metadata"
)

// recordCache holds decoded records that were read lately, so that a request for a busy key costs neither a search in the
// engine nor a decoding. What it holds is on disk and is the newest that a finished commit left: each commit makes it forget
// its records when readers can see the change, and before it returns or lets those readers go that wait for its sync.
//
// There are two generations: a full young one becomes the old one, and what is asked for in the old one becomes young.
type recordCache struct {
	mu         sync.Mutex // guards the fields below
	young, old map[string]cached
	octets     int    // in young
	forgets    uint64 // calls of forget
}

// cached is a record that nobody changes any more.
type cached struct {
	record *metadata.Record
	octets int // of the stored form
}

const (
	cacheOctets  = 4 << 20  // of the stored forms in a generation; decoded they take about three times as much
	cacheLargest = 64 << 10 // a larger record is not held
)

// get is a record of the caller's own, or nil.
func (c *recordCache) get(uid string) *metadata.Record {
	e, ok := c.find(uid)
	if !ok {
		return nil
	}
	return e.record.Clone()
}

func (c *recordCache) find(uid string) (cached, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.young[uid]
	if ok {
		return e, true
	}
	if e, ok = c.old[uid]; ok {
		c.add(uid, e)
	}
	return e, ok
}

// reading is to be called before a record is read for put.
func (c *recordCache) reading() (mark uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.forgets
}

// put takes a record that is on disk, unless there was a commit since the mark: it may have changed the record. The record
// is the cache's from then on.
func (c *recordCache) put(uid string, r *metadata.Record, octets int, mark uint64) {
	if octets > cacheLargest {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.forgets == mark {
		c.add(uid, cached{r, octets})
	}
}

// add puts an entry into the young generation. The caller holds the lock.
func (c *recordCache) add(uid string, e cached) {
	if c.young == nil || c.octets+e.octets > cacheOctets {
		c.young, c.old, c.octets = map[string]cached{}, c.young, 0
	}
	c.octets += e.octets - c.young[uid].octets
	c.young[uid] = e
}

// forget drops the records of a commit, and keeps readers that are under way from putting them back.
func (c *recordCache) forget(changes []change) {
	if len(changes) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgets++
	for i := range changes {
		c.octets -= c.young[changes[i].uid].octets
		delete(c.young, changes[i].uid)
		delete(c.old, changes[i].uid)
	}
}
