package keystore

import (
	"bytes"
	"context"
	"encoding/hex"
	"slices"
	"testing"
	"time"

	"kmipd/fips"
	"kmipd/keystore/evidence"
	"kmipd/kmip"
	"kmipd/metadata"
)

// Before a store is switched to a strict policy, its operator sees what that would freeze and what has a date.
func TestCensus(t *testing.T) {
	b := newBench(t)
	one, two := b.client("one"), b.client("two")
	one.aes()
	one.aes()
	two.aes()
	des3 := two.key(bytes.Repeat([]byte{1, 2, 3}, 8), kmip.CryptographicAlgorithmDES3, active(kmip.CryptographicUsageMaskDecrypt)...)
	blowfish := two.key(bytes.Repeat([]byte{7}, 16), kmip.CryptographicAlgorithmBlowfish, active(kmip.CryptographicUsageMaskDecrypt)...)
	priv, pub := one.rsaPair(kmip.CryptographicUsageMaskSign, kmip.CryptographicUsageMaskVerify)
	oaep := one.aes(parameters(kmip.CryptographicParameters{HashingAlgorithm: kmip.HashingAlgorithmSHA224}))
	one.ok(one.destroy(one.aes()))
	strict := func() *fips.Policy {
		p, err := fips.New("fips140", fips.Options{Clock: b.clock})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	count := func(inv evidence.Inventory, algorithm, state string) (n, owners int) {
		for _, k := range inv.Keys {
			if k.Algorithm == algorithm && k.FIPS == state {
				n, owners = n+k.Count, max(owners, k.Owners)
			}
		}
		return n, owners
	}
	inv, sunsets, err := b.s.Census(context.Background(), strict())
	if err != nil || !inv.Complete || inv.Objects != 8 {
		t.Fatalf("got %d objects, complete %t, %v", inv.Objects, inv.Complete, err)
	}
	for _, c := range []struct {
		algorithm, state string
		n, owners        int
	}{{"AES", "approved", 4, 2}, {"3DES", "legacy", 1, 1}, {"Blowfish", "disallowed", 1, 1}, {"RSA", "approved", 2, 1}} {
		if n, owners := count(inv, c.algorithm, c.state); n != c.n || owners != c.owners {
			t.Errorf("%s %s: got %d of %d owners, want %d of %d; %+v", c.algorithm, c.state, n, owners, c.n, c.owners, inv.Keys)
		}
	}
	if len(inv.Frozen) != 1 || inv.Frozen[0] != (evidence.Object{UID: blowfish, Client: "two"}) || inv.FrozenTotal != 1 {
		t.Errorf("frozen: got %+v", inv.Frozen)
	}
	if k := inv.Keys[slices.IndexFunc(inv.Keys, func(k evidence.Keys) bool { return k.Algorithm == "AES" })]; k.Bits != 256 || k.Type != "Symmetric Key" ||
		k.Release != "clear" || k.Age != "up to 1 year" || !k.Oldest.Equal(epoch) {
		t.Errorf("AES: got %+v", k)
	}
	find := func(list []evidence.Sunset, rule string) *evidence.Sunset {
		for i := range list {
			if list[i].Rule == rule {
				return &list[i]
			}
		}
		return nil
	}
	rsa := find(sunsets, "Cryptographic Algorithm RSA of 2048 to 3071 bits")
	if rsa == nil || rsa.From != "2031-01-01" || rsa.Policy != "fips140" || rsa.Source == "" || rsa.Total != 2 ||
		!slices.Equal(rsa.Clients, []string{"one"}) || !slices.ContainsFunc(rsa.Objects, func(o evidence.Object) bool { return o.UID == priv }) ||
		!slices.ContainsFunc(rsa.Objects, func(o evidence.Object) bool { return o.UID == pub }) {
		t.Errorf("RSA: got %+v", rsa)
	}
	if hash := find(sunsets, "Hashing Algorithm SHA-224"); hash == nil || hash.Total != 1 || hash.Objects[0].UID != oaep {
		t.Errorf("SHA-224: got %+v", hash)
	}
	if slices.ContainsFunc(sunsets, func(s evidence.Sunset) bool {
		return slices.ContainsFunc(s.Objects, func(o evidence.Object) bool { return o.UID == des3 || o.UID == blowfish })
	}) {
		t.Error("what is legacy or frozen today has no sunset to come")
	}
	// The default policy has no dates, and freezes nothing.
	if inv, sunsets, err = b.s.Census(context.Background(), nil); err != nil || len(sunsets)+inv.FrozenTotal != 0 {
		t.Errorf("default: got %v, %d frozen, %v", sunsets, inv.FrozenTotal, err)
	}
	// After the day the rule is no sunset any more: it is the state.
	b.advance(5 * 366 * 24 * time.Hour)
	inv, sunsets, err = b.s.Census(context.Background(), strict())
	if err != nil || find(sunsets, rsa.Rule) != nil {
		t.Errorf("after 2031: got %v, %v", sunsets, err)
	}
	if n, _ := count(inv, "RSA", "legacy"); n != 2 {
		t.Errorf("RSA after 2031: got %d legacy keys; %+v", n, inv.Keys)
	}
	// A walk that is cut short says so.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if inv, _, err := b.s.Census(ctx, nil); err == nil || inv.Complete {
		t.Errorf("cut short: got complete %t, %v", inv.Complete, err)
	}
}

// The policies of groups and listeners have sunsets, too.
func TestCensusOfGroupsAndListeners(t *testing.T) {
	fips140, err := fips.ByName("fips140")
	if err != nil {
		t.Fatal(err)
	}
	suiteB, err := fips.ByName("suiteb192")
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, func(c *Config) {
		c.Groups = map[string]Group{"vaults": {Policy: suiteB, Release: ReleaseNone}}
		c.Listeners = map[string]*fips.Policy{"strict": fips140}
	})
	for _, name := range []string{"one", "two"} {
		if err := b.addClient(name, metadata.CertificateMatch{Fingerprint: hex.EncodeToString(bytes.Repeat([]byte{name[0]}, 32))}); err != nil {
			t.Fatal(err)
		}
	}
	one, two := b.client("one"), b.client("two")
	one.rsaPair(kmip.CryptographicUsageMaskSign, kmip.CryptographicUsageMaskVerify)
	two.rsaPair(kmip.CryptographicUsageMaskSign, kmip.CryptographicUsageMaskVerify)
	two.aes()
	if err := b.s.SetGroup(context.Background(), "two", "vaults"); err != nil {
		t.Fatal(err)
	}
	inv, sunsets, err := b.s.Census(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if inv.FrozenTotal != 2 { // RSA in Suite B
		t.Errorf("frozen: got %+v", inv.Frozen)
	}
	for _, k := range inv.Keys {
		if k.Algorithm == "AES" && k.Release != "none" {
			t.Errorf("AES of the group: got release %s, want none", k.Release)
		}
	}
	if len(sunsets) != 1 || sunsets[0].Total != 2 || !slices.Equal(sunsets[0].Clients, []string{"one"}) || sunsets[0].Policy != "fips140" {
		t.Errorf("got %+v", sunsets)
	}
}

// BenchmarkCensus is the time of an inventory for each object, a quarter of them RSA keys, under a policy with dates.
func BenchmarkCensus(b *testing.B) {
	s := newBench(b)
	c := s.client("one")
	priv, _ := c.rsaPair(kmip.CryptographicUsageMaskSign, kmip.CryptographicUsageMaskVerify)
	models := []*metadata.Record{c.record(c.aes()), c.record(c.aes()), c.record(c.aes()), c.record(priv)}
	p, err := fips.New("fips140", fips.Options{Clock: s.clock})
	if err != nil {
		b.Fatal(err)
	}
	const objects = 20000
	for i := 0; i < objects; i += 500 {
		batch := &metadata.Batch{}
		for j := range 500 {
			r := models[j%len(models)].Clone()
			r.UID, r.Revision = newUID(), 0
			batch.Puts = append(batch.Puts, metadata.Put{Record: r})
		}
		if err := s.meta.Commit(context.Background(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for b.Loop() {
		if inv, _, err := s.s.Census(context.Background(), p); err != nil || inv.Objects < objects {
			b.Fatal(inv.Objects, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/objects, "ns/object")
}
