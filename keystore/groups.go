package keystore

import "sync"

// groups remembers, for each Object Group of a client, the member that Get last returned: Locate with Group Member
// Default goes round from there (KMIP 1.4 section 4.9 leaves the default object to server policy). It is kept in
// memory: after a restart the round begins anew.
type groups struct {
	mu   sync.Mutex
	last map[groupKey]int64 // creation instant of the member, nanoseconds
}

type groupKey struct{ owner, group string }

// maxGroups bounds the memory that clients can make the server keep.
const maxGroups = 10000

func newGroups() *groups { return &groups{last: map[groupKey]int64{}} }

func (g *groups) got(owner, group string, created int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.last) >= maxGroups {
		clear(g.last)
	}
	g.last[groupKey{owner, group}] = created
}

func (g *groups) after(owner, group string) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last[groupKey{owner, group}]
}
