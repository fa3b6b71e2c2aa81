package keystore

import (
	"context"
	"encoding/binary"
	"strconv"
	"sync"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/kmip"
	"kmipd/metadata"
)

// How many encryptions are taken from a key's allowance in one write: few at first, then many. What a restart finds unused of them
// is forfeited: with 2^32 allowed, a key that is used little survives a million restarts, and one that is used much 4096.
const (
	gcmFirst = 1 << 12
	gcmStep  = 1 << 20
)

// maxGCMKeys bounds the memory of gcmCounts.
const maxGCMKeys = 1 << 16

// gcmCounts counts the encryptions with each GCM key, for IVs at random repeat sooner or later: NIST SP 800-38D section 8.3
// allows 2^32 of them. The count is of the key on the token, whatever policy it is used under, and on disk before it is used.
type gcmCounts struct {
	mu   sync.Mutex // guards keys
	keys map[hsm.TokenID]*gcmCount
}

// gcmCount is of one key. turn holds one token: whoever has it may use and change the rest.
type gcmCount struct {
	turn        chan struct{}
	used, saved uint64
}

func newGCMCounts() *gcmCounts { return &gcmCounts{keys: map[hsm.TokenID]*gcmCount{}} }

func (g *gcmCounts) of(id hsm.TokenID) *gcmCount {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.keys[id]
	if c == nil {
		if len(g.keys) >= maxGCMKeys {
			clear(g.keys) // their reserves are forfeited
		}
		c = &gcmCount{turn: make(chan struct{}, 1)}
		c.turn <- struct{}{}
		g.keys[id] = c
	}
	return c
}

// gcmSetting names the count on disk.
func gcmSetting(id hsm.TokenID) string { return "gcm/" + id.String() }

// dropGCM has the batch that follows the end of a token object remove its count.
func (s *Store) dropGCM(b *metadata.Batch, r hsm.Ref) {
	if r.Class != hsm.ClassSecretKey {
		return
	}
	b.DropSettings = append(b.DropSettings, gcmSetting(r.ID))
	s.gcms.mu.Lock()
	defer s.gcms.mu.Unlock()
	delete(s.gcms.keys, r.ID)
}

// countGCM takes one encryption from the allowance of a key. Only some policies have one, but what a key does under the
// others counts, too.
func (s *Store) countGCM(ctx context.Context, pol *fips.Policy, id hsm.TokenID) error {
	c := s.gcms.of(id)
	select {
	case <-c.turn:
	case <-ctx.Done():
		return kmip.Errorf(kmip.ResultReasonGeneralFailure, "the key is in use by other requests; try again").Because(ctx.Err())
	}
	defer func() { c.turn <- struct{}{} }()
	if c.used == c.saved {
		if err := s.reserveGCM(ctx, c, id); err != nil {
			return toKMIP(err)
		}
	}
	if bits := pol.Limits().GCMUses; bits > 0 && c.used >= 1<<bits {
		return pol.Refuse(kmip.ResultReasonPermissionDenied, "a key that has encrypted with GCM 2^%d times must be re-keyed", bits)
	}
	c.used++
	return nil
}

// reserveGCM takes the next step from the count on disk. A count that this process did not make goes on behind its end.
func (s *Store) reserveGCM(ctx context.Context, c *gcmCount, id hsm.TokenID) error {
	name := gcmSetting(id)
	b, err := s.meta.Setting(ctx, name)
	if err != nil && !isNotFound(err) {
		return err
	}
	step := uint64(gcmStep)
	if c.saved == 0 {
		step = gcmFirst
	}
	var end uint64
	if len(b) == 8 {
		end = binary.BigEndian.Uint64(b)
	}
	e := ofServer("count GCM encryptions")
	e.Facts = append(e.Facts, fact("token object", id.String()), fact("up to", strconv.FormatUint(end+step, 10)))
	if err := s.meta.SetSetting(ctx, name, binary.BigEndian.AppendUint64(nil, end+step), true, s.payload(e, nil)); err != nil {
		return err
	}
	c.used, c.saved = end, end+step
	return nil
}
