package keystore

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"kmipd/hsm"
	"kmipd/hsm/hsmtest"
	"kmipd/keystore/audit"
	"kmipd/kmip"
	"kmipd/metadata"
)

// A data directory belongs to one token.
func TestOtherToken(t *testing.T) {
	b := newBench(t)
	b.s.Close()
	other := New(b.db, hsmtest.NewFake(hsmtest.Options{Serial: "another"}), b.policy, b.cfg, zerolog.Nop())
	err := other.Start(context.Background())
	if err == nil || !strings.Contains(err.Error(), "another") {
		t.Errorf("Start with another token: got %v, want an error that names it", err)
	}
	other.Close()
	b.start(b.db, b.fake)
}

// Fsck finds what does not fit, and repair mends what cannot lose a key.
func TestFsck(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	ctx := context.Background()
	good, lost := c.aes(), c.aes()
	data := func(label string) hsm.TokenID {
		id := hsm.NewTokenID()
		c.ok(b.fake.StoreData(ctx, id, label, nil))
		return id
	}
	orphan := data(newUID())
	data("somebody else's")
	r, _ := ref(c.record(lost).Handle)
	b.fake.Remove(r)
	b.fake.Inject(hsmtest.Fault{Method: "GenerateKey", Effect: hsmtest.Zombie}, hsmtest.Fault{Method: "Destroy", Effect: hsmtest.FailBefore})
	_, err := c.create(kmip.ObjectTypeSymmetricKey, aesAttributes(256)...)
	wantReason(t, "Create that leaves a broken object", err, kmip.ResultReasonCryptographicFailure)
	b.fake.Heal()
	c.ok(b.db.Commit(ctx, &metadata.Batch{AddIntents: []metadata.Intent{{ID: hsm.NewTokenID(), UID: newUID(), Operation: "Create", Class: uint8(hsm.ClassSecretKey), At: epoch}}}))

	rep, err := b.s.Fsck(ctx, false)
	c.ok(err)
	if rep.Clean() || !slices.Equal(rep.Orphans, []string{orphan.String()}) || !slices.Equal(rep.Missing, []string{lost}) || rep.Foreign != 1 || rep.Broken != 1 || len(rep.Unsettled) == 0 {
		t.Errorf("Fsck: got %+v, want one orphan, one missing, one foreign, one broken, something unsettled", *rep)
	}
	if len(rep.Repaired) > 0 {
		t.Errorf("Fsck without repair: got %q repaired", rep.Repaired)
	}
	rep, err = b.s.Fsck(ctx, true)
	c.ok(err)
	if len(rep.Repaired) == 0 || len(rep.Orphans) > 0 || rep.Broken > 0 || len(rep.Unsettled) > 0 {
		t.Errorf("Fsck with repair: got %+v", *rep)
	}
	rep, err = b.s.Fsck(ctx, false)
	c.ok(err)
	if !slices.Equal(rep.Missing, []string{lost}) || rep.Foreign != 1 {
		t.Errorf("Fsck after repair: got %+v, want the missing key reported and the foreign object left alone", *rep)
	}
	c.material(good)
}

func TestOurs(t *testing.T) {
	for label, want := range map[string]bool{newUID(): true, "": false, "f47ac10b-58cc-4372-a567-0e02b2c3d479": true,
		"F47AC10B-58CC-4372-A567-0E02B2C3D479": false, "f47ac10b058cc04372-a567-0e02b2c3d479": false, strings.Repeat("a", 36): false} {
		if got := ours(label); got != want {
			t.Errorf("%q: got %t, want %t", label, got, want)
		}
	}
}

func TestInventory(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	c.aes()
	c.ok(c.destroy(c.aes()))
	c.must(c.register(opaque(marker(8))))
	n, err := b.s.Inventory(context.Background())
	c.ok(err)
	if n[kmip.ObjectTypeSymmetricKey] != 1 || n[kmip.ObjectTypeOpaqueObject] != 1 || len(n) != 2 {
		t.Errorf("got %v, want one key and one opaque object", n)
	}
}

// Identifiers and instants of creation do not repeat.
func TestIdentifiers(t *testing.T) {
	b := newBench(t)
	seen := map[string]bool{}
	last := b.s.created()
	for range 1000 {
		uid := newUID()
		if seen[uid] || !ours(uid) || uid[14] != '4' {
			t.Fatalf("got %q", uid)
		}
		seen[uid] = true
		if at := b.s.created(); !at.After(last) {
			t.Fatalf("got %s after %s", at, last)
		} else {
			last = at
		}
	}
}

// An audit trail that cannot be read keeps fsck from nothing but the repair.
func TestFsckWithDamagedTrail(t *testing.T) {
	b := audited(t)
	b.client("alice").aes()
	b.s.Close()
	files, err := audit.List(b.cfg.Audit.Dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("%q, %v", files, err)
	}
	if err := os.WriteFile(files[0], []byte("no record\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := New(b.db, b.fake, b.policy, b.cfg, zerolog.Nop())
	rep, err := s.Fsck(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	if rep.Clean() || len(rep.Damaged) != 1 || !strings.Contains(rep.Damaged[0], files[0]) || rep.Objects != 3 || rep.Lost == nil {
		t.Errorf("got %+v, want the file among what is damaged", rep)
	}
	if _, err := s.Fsck(t.Context(), true); err == nil || !strings.Contains(err.Error(), files[0]) {
		t.Errorf("repair: got %v, want a refusal", err)
	}
}
