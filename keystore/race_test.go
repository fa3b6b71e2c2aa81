package keystore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"kmipd/kmip"
	"kmipd/metadata"
)

// board is what the goroutines of TestConcurrency know of the objects that they share.
type board struct {
	mu     sync.Mutex
	uids   []string
	made   map[string]bool // creation was acknowledged
	ending map[string]bool // somebody has tried to destroy it
}

func (b *board) pick(rng *rand.Rand) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.uids[rng.IntN(len(b.uids))]
}

// step runs one random operation and returns the identifiers that it made.
func (b *board) step(ctx context.Context, c client, tx kmip.Tx, rng *rand.Rand, contention bool) (made []string, err error) {
	uid := b.pick(rng)
	name := fmt.Sprint("name ", rng.IntN(5))
	if !contention {
		name = "name " + newUID()
	}
	switch rng.IntN(14) {
	case 0:
		resp, err := item(ctx, c, tx, kmip.OperationCreate, "", c.s.Create, createRequest(at("Object Group", textValue("g"))))
		if err != nil {
			return nil, err
		}
		return []string{resp.UniqueIdentifier}, nil
	case 1:
		resp, err := item(ctx, c, tx, kmip.OperationCreate, "", c.s.Create, createRequest(named(name)))
		if err != nil {
			return nil, err
		}
		return []string{resp.UniqueIdentifier}, nil
	case 2:
		resp, err := item(ctx, c, tx, kmip.OperationCreateKeyPair, "", c.s.CreateKeyPair, &kmip.CreateKeyPairRequest{CommonTemplateAttribute: with(attributesOf(kmip.CryptographicAlgorithmEC, 256, 1)...)})
		if err != nil {
			return nil, err
		}
		return []string{resp.PrivateKeyUniqueIdentifier, resp.PublicKeyUniqueIdentifier}, nil
	case 3:
		req := secret(marker(1 + rng.IntN(40)))
		resp, err := item(ctx, c, tx, kmip.OperationRegister, "", c.s.Register, req)
		if err != nil {
			return nil, err
		}
		return []string{resp.UniqueIdentifier}, nil
	case 4:
		_, err = item(ctx, c, tx, kmip.OperationAddAttribute, uid, c.s.AddAttribute, &kmip.AddAttributeRequest{Attribute: named(name)})
	case 5:
		_, err = item(ctx, c, tx, kmip.OperationAddAttribute, uid, c.s.AddAttribute, &kmip.AddAttributeRequest{Attribute: at("x-a", intValue(int32(rng.IntN(50))))})
	case 6:
		_, err = item(ctx, c, tx, kmip.OperationModifyAttribute, uid, c.s.ModifyAttribute, &kmip.ModifyAttributeRequest{Attribute: at("x-a", intValue(int32(rng.IntN(50))))})
	case 7:
		_, err = item(ctx, c, tx, kmip.OperationDeleteAttribute, uid, c.s.DeleteAttribute, &kmip.DeleteAttributeRequest{AttributeName: "Name", AttributeIndex: ptr(int32(rng.IntN(2)))})
	case 8:
		_, err = item(ctx, c, tx, kmip.OperationActivate, uid, c.s.Activate, &kmip.ActivateRequest{})
	case 9:
		_, err = item(ctx, c, tx, kmip.OperationRevoke, uid, c.s.Revoke, &kmip.RevokeRequest{RevocationReason: kmip.RevocationReason{RevocationReasonCode: kmip.RevocationReasonCode(1 + rng.IntN(4))}})
	case 10:
		b.mu.Lock()
		b.ending[uid] = true
		b.mu.Unlock()
		_, err = item(ctx, c, tx, kmip.OperationDestroy, uid, c.s.Destroy, &kmip.DestroyRequest{})
	case 11:
		_, err = item(ctx, c, tx, kmip.OperationLocate, "", c.s.Locate, &kmip.LocateRequest{Attribute: []kmip.Attribute{at("State", enumValue(kmip.StateActive))}})
	default:
		_, err = item(ctx, c, tx, kmip.OperationGet, uid, c.s.Get, &kmip.GetRequest{})
	}
	return nil, err
}

// TestConcurrency lets many goroutines do batches of anything with the same few objects, some taken back, some out of
// time. It is made for the race detector; afterwards everything must fit together.
func TestConcurrency(t *testing.T) { concurrency(t, false) }

// concurrency with contention has goroutines take the Names that another batch gives up, and ends the time of batches
// with Undo. Both were reported as faults and are not mended yet.
func concurrency(t *testing.T, contention bool) {
	b := newBench(t)
	c := b.client("alice")
	bd := &board{made: map[string]bool{}, ending: map[string]bool{}}
	for range 6 {
		uid := c.aes()
		bd.uids, bd.made[uid] = append(bd.uids, uid), true
	}
	var wg sync.WaitGroup
	for g := range 32 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			for range 12 {
				undo := rng.IntN(2) == 0
				limit := time.Second
				if rng.IntN(4) == 0 && (contention || !undo) {
					limit = time.Duration(rng.IntN(3)) * time.Millisecond
				}
				bd.batch(c, rng, undo, limit, contention)
			}
		})
	}
	wg.Wait()
	b.wantNoLocks("in the end")
	b.wantClean()
	bd.check(b)
	b.restart()
	b.wantClean()
	bd.check(b)
}

// batch runs up to four operations in one transaction as the message layer does.
func (b *board) batch(c client, rng *rand.Rand, undo bool, limit time.Duration, contention bool) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	long := context.Background()
	tx := c.s.Begin(undo)
	defer func() { _ = tx.Rollback(long, 0) }()
	var pending []string
	commit := func() {
		if err := tx.Commit(long); err != nil {
			c.t.Errorf("Commit: %v", err)
			return
		}
		b.mu.Lock()
		for _, uid := range pending {
			b.made[uid] = true
			if len(b.uids) < 12 {
				b.uids = append(b.uids, uid)
			}
		}
		b.mu.Unlock()
		pending = nil
	}
	for range 1 + rng.IntN(4) {
		mark := tx.Mark()
		made, err := b.step(ctx, c, tx, rng, contention)
		if err != nil || rng.IntN(8) == 0 { // refused, or the answer does not fit
			if undo {
				mark = 0
			}
			if err := tx.Rollback(long, mark); err != nil {
				c.t.Errorf("Rollback: %v", err)
			}
			if undo {
				return
			}
			continue
		}
		pending = append(pending, made...)
		if !undo {
			commit()
		}
	}
	if undo {
		commit()
	}
}

// check holds all records against what was acknowledged and against each other.
func (b *board) check(be *bench) {
	be.t.Helper()
	c := be.client("alice")
	names, seen := map[string]string{}, map[string]bool{}
	err := be.db.Records(context.Background(), func(r *metadata.Record) error {
		seen[r.UID] = true
		if !b.made[r.UID] {
			be.t.Errorf("%s is there, although nobody was told of it", r.UID)
		}
		if r.Phase != metadata.PhaseLive {
			if !b.ending[r.UID] {
				be.t.Errorf("%s is destroyed, although nobody asked for it", r.UID)
			}
			return nil
		}
		for _, n := range r.Names() {
			if other := names[n]; other != "" {
				be.t.Errorf("%s and %s have the Name %q", r.UID, other, n)
			}
			names[n] = r.UID
		}
		var d kmip.Digest
		if err := d.Decode(object{r}.get("Digest")); err != nil {
			return err
		}
		if sum := sha256.Sum256(c.material(r.UID)); !bytes.Equal(sum[:], d.DigestValue) {
			be.t.Errorf("%s has another value than its Digest says", r.UID)
		}
		return nil
	})
	if err != nil {
		be.t.Errorf("Records: %v", err)
	}
	for uid := range b.made {
		if !seen[uid] {
			be.t.Errorf("%s was acknowledged and is lost", uid)
		}
	}
	for n, uid := range names {
		if got := c.find(named(n)); len(got) != 1 || got[0] != uid {
			be.t.Errorf("Locate by Name %q: got %v, want %s", n, got, uid)
		}
	}
}
