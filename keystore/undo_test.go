package keystore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"kmipd/hsm"
	"kmipd/kmip"
	"kmipd/metadata"
)

// snapshot is all records (less their Revision, which counts commits) and all token objects with their values.
func (b *bench) snapshot() map[string]string {
	b.t.Helper()
	out := map[string]string{}
	err := b.db.Records(context.Background(), func(r *metadata.Record) error {
		r.Revision = 1
		v, err := metadata.EncodeRecord(r)
		out["record "+r.UID] = string(v)
		if rr, on := ref(r.Handle); on && r.Phase != metadata.PhaseDestroyed {
			value, verr := b.fake.Export(context.Background(), rr, r.ValueBits)
			out["value "+r.UID] = fmt.Sprintf("%x %v", []byte(value), verr)
		}
		return err
	})
	if err != nil {
		b.t.Fatalf("Records: %v", err)
	}
	objects, err := b.fake.Objects(context.Background())
	if err != nil {
		b.t.Fatalf("Objects: %v", err)
	}
	for _, o := range objects {
		out["object "+o.Ref.ID.String()] = o.Label
	}
	return out
}

func (b *bench) wantSame(what string, before map[string]string) {
	b.t.Helper()
	after := b.snapshot()
	if maps.Equal(before, after) {
		return
	}
	for k := range after {
		if before[k] != after[k] {
			b.t.Errorf("%s: %s is not what it was (before: %d octets, now: %d)", what, k, len(before[k]), len(after[k]))
		}
	}
	for k := range before {
		if _, ok := after[k]; !ok {
			b.t.Errorf("%s: %s is gone", what, k)
		}
	}
}

func (b *bench) wantNoLocks(what string) {
	b.t.Helper()
	b.s.locks.mu.Lock()
	defer b.s.locks.mu.Unlock()
	if n := len(b.s.locks.m); n > 0 {
		b.t.Errorf("%s: %d locks are held, want none", what, n)
	}
}

// steps are one call of every operation that changes something, on objects of their own.
func undoSteps(c client) map[string]func(context.Context, kmip.Tx) error {
	key := c.aes(named("key"), at("x-a", textValue("1")), at("x-a", textValue("2")))
	active := c.aes()
	c.ok(c.activate(active))
	fresh, doomed := c.aes(), c.must(c.register(symmetric(marker(16)), named("doomed")))
	tmpl := c.must(c.register(template(aesAttributes(256)...), named("template")))
	kek := c.aes()
	c.ok(c.activate(kek))
	wrappedKey := wrapped(c, kek, symmetric(marker(16)), marker(16), hsm.WrapAESKW, kmip.EncodingOptionNoEncoding)
	return map[string]func(context.Context, kmip.Tx) error{
		"Create": func(ctx context.Context, tx kmip.Tx) error {
			_, err := item(ctx, c, tx, kmip.OperationCreate, "", c.s.Create, createRequest(named("new")))
			return err
		},
		"Create Key Pair": func(ctx context.Context, tx kmip.Tx) error {
			_, err := item(ctx, c, tx, kmip.OperationCreateKeyPair, "", c.s.CreateKeyPair, &kmip.CreateKeyPairRequest{CommonTemplateAttribute: with(attributesOf(kmip.CryptographicAlgorithmEC, 256, 1)...)})
			return err
		},
		"Register": func(ctx context.Context, tx kmip.Tx) error {
			_, err := item(ctx, c, tx, kmip.OperationRegister, "", c.s.Register, secret(marker(9)))
			return err
		},
		"Register wrapped": func(ctx context.Context, tx kmip.Tx) error {
			_, err := item(ctx, c, tx, kmip.OperationRegister, "", c.s.Register, wrappedKey)
			return err
		},
		"Register Template": func(ctx context.Context, tx kmip.Tx) error {
			req := template()
			req.TemplateAttribute = *with(named("new template"))
			_, err := item(ctx, c, tx, kmip.OperationRegister, "", c.s.Register, req)
			return err
		},
		"Add Attribute": func(ctx context.Context, tx kmip.Tx) error {
			_, err := item(ctx, c, tx, kmip.OperationAddAttribute, key, c.s.AddAttribute, &kmip.AddAttributeRequest{Attribute: named("another")})
			return err
		},
		"Modify Attribute": func(ctx context.Context, tx kmip.Tx) error {
			_, err := item(ctx, c, tx, kmip.OperationModifyAttribute, key, c.s.ModifyAttribute, &kmip.ModifyAttributeRequest{Attribute: named("key, changed")})
			return err
		},
		"Delete Attribute": func(ctx context.Context, tx kmip.Tx) error {
			_, err := item(ctx, c, tx, kmip.OperationDeleteAttribute, key, c.s.DeleteAttribute, &kmip.DeleteAttributeRequest{AttributeName: "x-a"})
			return err
		},
		"Activate": func(ctx context.Context, tx kmip.Tx) error {
			_, err := item(ctx, c, tx, kmip.OperationActivate, key, c.s.Activate, &kmip.ActivateRequest{})
			return err
		},
		"Revoke": func(ctx context.Context, tx kmip.Tx) error {
			_, err := item(ctx, c, tx, kmip.OperationRevoke, active, c.s.Revoke, &kmip.RevokeRequest{RevocationReason: kmip.RevocationReason{RevocationReasonCode: kmip.RevocationReasonCodeKeyCompromise}})
			return err
		},
		"Get": func(ctx context.Context, tx kmip.Tx) error {
			_, err := item(ctx, c, tx, kmip.OperationGet, fresh, c.s.Get, &kmip.GetRequest{})
			return err
		},
		"Destroy": func(ctx context.Context, tx kmip.Tx) error {
			_, err := item(ctx, c, tx, kmip.OperationDestroy, doomed, c.s.Destroy, &kmip.DestroyRequest{})
			return err
		},
		"Destroy Template": func(ctx context.Context, tx kmip.Tx) error {
			_, err := item(ctx, c, tx, kmip.OperationDestroy, tmpl, c.s.Destroy, &kmip.DestroyRequest{})
			return err
		},
	}
}

// Each operation alone, and all of them in one batch, leave nothing behind when they are taken back.
func TestRollback(t *testing.T) {
	for _, undo := range []bool{false, true} {
		b := newBench(t)
		c := b.client("alice")
		ctx := context.Background()
		steps := undoSteps(c)
		before := b.snapshot()
		b.advance(time.Minute)
		for name, step := range steps {
			tx := b.s.Begin(undo)
			wantReason(t, name, step(ctx, tx), 0)
			if maps.Equal(before, b.snapshot()) {
				t.Errorf("%s has changed nothing", name)
			}
			wantReason(t, name+", Rollback", tx.Rollback(ctx, 0), 0)
			b.wantSame(name, before)
			b.wantNoLocks(name)
		}
		tx := b.s.Begin(undo)
		marks := map[int]map[string]string{}
		for name, step := range steps {
			marks[tx.Mark()] = b.snapshot()
			wantReason(t, name, step(ctx, tx), 0)
		}
		for mark := tx.Mark(); mark > 0; mark-- {
			wantReason(t, fmt.Sprintf("Rollback to %d", mark), tx.Rollback(ctx, mark), 0)
			if s := marks[mark]; s != nil {
				b.wantSame(fmt.Sprintf("Rollback to %d", mark), s)
			}
		}
		wantReason(t, "Rollback of all", tx.Rollback(ctx, 0), 0)
		b.wantSame("all", before)
		b.wantNoLocks("all")
		b.wantClean()
		b.restart()
		b.wantSame("all, after a restart", before)
	}
}

// After Commit nothing is taken back, and the transaction can go on.
func TestCommitThenRollback(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	ctx := context.Background()
	steps := undoSteps(c)
	tx := b.s.Begin(true)
	for name, step := range steps {
		wantReason(t, name, step(ctx, tx), 0)
	}
	wantReason(t, "Commit", tx.Commit(ctx), 0)
	b.wantNoLocks("after Commit")
	if tx.Mark() != 0 {
		t.Errorf("after Commit: got mark %d, want 0", tx.Mark())
	}
	after := b.snapshot()
	wantReason(t, "Rollback after Commit", tx.Rollback(ctx, 0), 0)
	b.wantSame("Rollback after Commit", after)
	_, err := item(ctx, c, tx, kmip.OperationCreate, "", c.s.Create, createRequest(named("later")))
	wantReason(t, "Create after Commit", err, 0)
	wantReason(t, "Rollback", tx.Rollback(ctx, 0), 0)
	b.wantSame("Rollback of what came after Commit", after)
	b.wantClean()
}

// A chain of changes of one object goes back in order, its end on the token included.
func TestRollbackChain(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	ctx := context.Background()
	uid := c.must(c.register(symmetric(marker(16)), named("n")))
	before := b.snapshot()
	tx := b.s.Begin(true)
	run := func(err error) {
		t.Helper()
		wantReason(t, "step", err, 0)
	}
	_, err := item(ctx, c, tx, kmip.OperationAddAttribute, uid, c.s.AddAttribute, &kmip.AddAttributeRequest{Attribute: at("x-a", textValue("v"))})
	run(err)
	_, err = item(ctx, c, tx, kmip.OperationGet, uid, c.s.Get, &kmip.GetRequest{})
	run(err)
	_, err = item(ctx, c, tx, kmip.OperationDestroy, uid, c.s.Destroy, &kmip.DestroyRequest{})
	run(err)
	_, err = item(ctx, c, tx, kmip.OperationRevoke, uid, c.s.Revoke, &kmip.RevokeRequest{RevocationReason: kmip.RevocationReason{RevocationReasonCode: kmip.RevocationReasonCodeKeyCompromise}})
	run(err)
	_, err = item(ctx, c, tx, kmip.OperationCreate, "", c.s.Create, createRequest(named("n"))) // the Name is free inside the batch
	run(err)
	run(tx.Rollback(ctx, 0))
	b.wantSame("chain", before)
	if got := c.material(uid); !bytes.Equal(got, marker(16)) {
		t.Errorf("got %q, want the key as it was", got)
	}
}

// While a batch with Undo runs, nobody else changes what it changed; a plain batch gives each object back at once.
func TestLocks(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	uid := c.aes()
	ctx := context.Background()
	tx := b.s.Begin(true)
	_, err := item(ctx, c, tx, kmip.OperationAddAttribute, uid, c.s.AddAttribute, &kmip.AddAttributeRequest{Attribute: at("x-a", textValue("1"))})
	c.ok(err)
	short, cancel := context.WithCancel(ctx)
	cancel()
	other := b.s.Begin(false)
	_, err = item(ctx, c, other, kmip.OperationGetAttributes, uid, c.s.GetAttributes, &kmip.GetAttributesRequest{})
	wantReason(t, "reading meanwhile", err, 0)
	call := c.call(other, uid)
	_, err = b.s.AddAttribute(short, call, &kmip.AddAttributeRequest{Attribute: at("x-a", textValue("2"))})
	wantReason(t, "changing meanwhile", err, kmip.ResultReasonGeneralFailure)
	c.ok(tx.Rollback(ctx, 0))
	_, err = item(ctx, c, other, kmip.OperationAddAttribute, uid, c.s.AddAttribute, &kmip.AddAttributeRequest{Attribute: at("x-a", textValue("2"))})
	wantReason(t, "changing afterwards", err, 0)
	c.ok(other.Commit(ctx))
	b.wantNoLocks("in the end")
	if got := c.indexes(uid, "x-a"); got != "0:2" {
		t.Errorf("got %q, want the second change alone", got)
	}
}

// Two batches that wait for each other end with an error when their time is up.
func TestDeadlock(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	x, y := c.aes(), c.aes()
	before := b.snapshot()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	change := func(tx kmip.Tx, uid string) error {
		_, err := item(ctx, c, tx, kmip.OperationAddAttribute, uid, c.s.AddAttribute, &kmip.AddAttributeRequest{Attribute: at("x-a", textValue("1"))})
		return err
	}
	one, two := b.s.Begin(true), b.s.Begin(true)
	c.ok(change(one, x))
	c.ok(change(two, y))
	errs := make(chan error, 2)
	go func() { errs <- change(one, y) }()
	go func() { errs <- change(two, x) }()
	for range 2 {
		err := <-errs
		wantReason(t, "waiting", err, kmip.ResultReasonGeneralFailure)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want it because of the deadline", err)
		}
	}
	for _, tx := range []kmip.Tx{one, two} { // their time is up, but taking back has its own
		wantReason(t, "Rollback", tx.Rollback(ctx, 0), 0)
	}
	b.wantSame("after both", before)
	b.wantNoLocks("after both")
}
