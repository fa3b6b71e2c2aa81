package keystore

import (
	"encoding/binary"
	"testing"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/kmip"
)

// The encryptions with a key are counted across restarts, and end at the allowance.
func TestGCMCount(t *testing.T) {
	b := newBench(t)
	pol, err := fips.ByName("fips140")
	if err != nil {
		t.Fatal(err)
	}
	id := hsm.NewTokenID()
	saved := func() uint64 {
		t.Helper()
		v, err := b.s.meta.Setting(t.Context(), gcmSetting(id))
		if err != nil {
			t.Fatal(err)
		}
		return binary.BigEndian.Uint64(v)
	}
	for range 3 {
		if err := b.s.countGCM(t.Context(), pol, id); err != nil {
			t.Fatal(err)
		}
	}
	if got := saved(); got != gcmFirst {
		t.Errorf("reserved %d, want the first step", got)
	}
	b.restart()
	for range gcmFirst {
		if err := b.s.countGCM(t.Context(), pol, id); err != nil {
			t.Fatal(err)
		}
	}
	if got := saved(); got != 2*gcmFirst {
		t.Errorf("after a restart: reserved %d, want two first steps", got)
	}
	if err := b.s.countGCM(t.Context(), pol, id); err != nil {
		t.Fatal(err)
	}
	if got := saved(); got != 2*gcmFirst+gcmStep {
		t.Errorf("in a process that goes on: reserved %d, want a large step more", got)
	}
	full := binary.BigEndian.AppendUint64(nil, 1<<32)
	if err := b.s.meta.SetSetting(t.Context(), gcmSetting(id), full, false); err != nil {
		t.Fatal(err)
	}
	b.restart()
	if err := b.s.countGCM(t.Context(), pol, id); kmip.ReasonOf(err) != kmip.ResultReasonPermissionDenied {
		t.Errorf("behind the allowance: got %v, want Permission Denied", err)
	}
	if err := b.s.countGCM(t.Context(), fips.Default(), id); err != nil {
		t.Errorf("default policy: %v", err)
	}
}

// What a key does under the default policy counts for the strict ones, at one write for many encryptions; the count goes with
// the key on the token, whichever way that goes.
func TestGCMCountOfAllPolicies(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	encrypt := kmip.EncryptRequest{CryptographicParameters: gcmParams(16), Data: []byte("x"), IVCounterNonce: make([]byte, 12)}
	key := func() string { return c.key(unhex(aes128), kmip.CryptographicAlgorithmAES, active(both)...) }
	for _, row := range []struct {
		name string
		run  func(t *testing.T, used func(uid string))
	}{
		{"Destroy", func(_ *testing.T, used func(string)) {
			uid := key()
			used(uid)
			c.ok(c.revoke(uid, kmip.RevocationReasonCodeCessationOfOperation))
			c.ok(c.destroy(uid))
		}},
		{"Import over it", func(_ *testing.T, used func(string)) {
			uid := key()
			used(uid)
			c.ok(c.imports(replacing(importAES(uid))))
		}},
		{"Undo of its creation", func(t *testing.T, used func(string)) {
			tx := b.s.Begin(true)
			req := &kmip.CreateRequest{ObjectType: kmip.ObjectTypeSymmetricKey, TemplateAttribute: *with(append(aesAttributes(128), active(both)[1])...)}
			resp, err := item(t.Context(), c, tx, kmip.OperationCreate, "", b.s.Create, req)
			c.ok(err)
			used(resp.UniqueIdentifier)
			c.ok(tx.Rollback(t.Context(), 0))
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			name := ""
			row.run(t, func(uid string) {
				for range 3 {
					_, err := c.encrypt(uid, encrypt)
					c.ok(err)
				}
				name = gcmSetting(c.record(uid).Handle.ID)
				v, err := b.s.meta.Setting(t.Context(), name)
				if err != nil || binary.BigEndian.Uint64(v) != gcmFirst {
					t.Fatalf("reserved %x, %v, want one step", v, err)
				}
			})
			if v, err := b.s.meta.Setting(t.Context(), name); !isNotFound(err) {
				t.Errorf("the key is gone: got the count %x, %v, want none", v, err)
			}
			b.s.gcms.mu.Lock()
			defer b.s.gcms.mu.Unlock()
			if n := len(b.s.gcms.keys); n != 0 {
				t.Errorf("%d counts in memory, want none", n)
			}
		})
	}
}
