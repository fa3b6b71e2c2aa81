package keystore

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"slices"
	"strings"
	"testing"
	"time"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/hsm/hsmtest"
	"kmipd/kmip"
)

func (b *bench) selfTest(reason string) *hsm.Report {
	b.t.Helper()
	r, err := b.s.SelfTest(context.Background(), reason)
	if err != nil {
		b.t.Fatalf("SelfTest: %v", err)
	}
	return r
}

func (b *bench) describe() kmip.ServerDescription {
	b.t.Helper()
	d, err := b.s.Describe(context.Background(), &kmip.Call{Version: kmip.V1_4, Caller: kmip.Caller{Client: "c"}})
	if err != nil {
		b.t.Fatalf("Describe: %v", err)
	}
	return d
}

// hasCryptographicProfile tells whether Query claims a profile about cryptography.
func hasCryptographicProfile(d kmip.ServerDescription) bool {
	return slices.ContainsFunc(d.Profiles, func(p kmip.ProfileInformation) bool { return strings.Contains(p.ProfileName.String(), "Cryptographic") })
}

var encryptsCBC = kmip.EncryptRequest{Data: make([]byte, 16), IVCounterNonce: make([]byte, 16),
	CryptographicParameters: &kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeCBC}}

func TestBlockedMechanism(t *testing.T) {
	b := newBench(t)
	c := b.client("c")
	key := c.aes(at("Activation Date", timeValue(epoch)))
	if !b.selfTest("start").Passed() {
		t.Fatal("the self-test of a good token fails")
	}
	if _, err := c.encrypt(key, encryptsCBC); err != nil {
		t.Fatalf("Encrypt: %v", err)
	}
	if d := b.describe(); !hasCryptographicProfile(d) || len(d.Unavailable) != 0 || d.OnlyQuery {
		t.Errorf("Query of a good token: %+v", d)
	}
	b.fake.Tell(hsmtest.Lie{Method: "Encrypt", Mechanism: "AES-CBC"})
	if b.selfTest("schedule").Passed() {
		t.Fatal("a wrong ciphertext passes")
	}
	_, err := c.encrypt(key, encryptsCBC)
	wantReason(t, "Encrypt with the blocked mechanism", err, kmip.ResultReasonCryptographicFailure)
	if err == nil || !strings.Contains(err.Error(), "blocked") {
		t.Errorf("the refusal does not say what is wrong: %v", err)
	}
	other := encryptsCBC
	other.IVCounterNonce, other.CryptographicParameters = nil, &kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeECB}
	_, err = c.encrypt(key, other)
	wantReason(t, "Encrypt with another mechanism", err, 0)
	if hasCryptographicProfile(b.describe()) {
		t.Error("Query still claims the cryptographic profiles")
	}
	if log := b.log.String(); !strings.Contains(log, "mechanism blocked") || !strings.Contains(log, "AES-CBC") {
		t.Errorf("the log does not tell of the block: %s", log)
	}
	// All modes of all ciphers: Query has no Encrypt any more.
	b.fake.Tell(hsmtest.Lie{Method: "Encrypt"}, hsmtest.Lie{Method: "RSADecrypt"})
	b.selfTest("schedule")
	if d := b.describe(); !slices.Contains(d.Unavailable, kmip.OperationEncrypt) || slices.Contains(d.Unavailable, kmip.OperationMAC) {
		t.Errorf("Query with all ciphers blocked: unavailable are %v", d.Unavailable)
	}
	b.fake.Truth()
	b.selfTest("demand")
	_, err = c.encrypt(key, encryptsCBC)
	wantReason(t, "Encrypt after a passed self-test", err, 0)
}

// A KDF that computes wrong is blocked, though every mechanism under it is right.
func TestBlockedKDF(t *testing.T) {
	b := newBench(t)
	b.fake.Tell(hsmtest.Lie{Method: "MAC", Mechanism: "HMAC-SHA-256"})
	b.selfTest("start")
	for _, m := range []hsm.Mechanism{kdf108All, kdfPBKDF2} {
		if b.s.guard.Check(m) == nil {
			t.Errorf("%s passes on a token whose HMAC is wrong", m)
		}
	}
}

// In the error state nothing but Query is done, and it ends at a restart alone.
func TestErrorStateOfServer(t *testing.T) {
	for _, c := range []struct {
		name  string
		lie   hsmtest.Lie
		enter func(client) error
	}{
		{"pair", hsmtest.Lie{Method: "Sign", Mechanism: "ECDSA"}, func(c client) error {
			_, _, err := c.createPair(with(attributesOf(kmip.CryptographicAlgorithmECDSA, 256, 3)...), nil, nil)
			return err
		}},
		{"RSA pair", hsmtest.Lie{Method: "Sign", Mechanism: "RSA-PKCS1-SIGN"}, func(c client) error {
			_, _, err := c.createPair(with(attributesOf(kmip.CryptographicAlgorithmRSA, 2048, 3)...), nil, nil)
			return err
		}},
		{"random numbers", hsmtest.Lie{Method: "Random", Bend: hsmtest.Constant}, func(c client) error {
			_, err := do(c, kmip.OperationRNGRetrieve, "", c.s.RNGRetrieve, &kmip.RNGRetrieveRequest{DataLength: 32})
			return err
		}},
		{"short random numbers", hsmtest.Lie{Method: "Random", Bend: hsmtest.Short}, func(c client) error {
			_, err := do(c, kmip.OperationRNGRetrieve, "", c.s.RNGRetrieve, &kmip.RNGRetrieveRequest{DataLength: 32})
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, func(cfg *Config) { cfg.TestPairs = true })
			cl := b.client("c")
			key := cl.aes(at("Activation Date", timeValue(epoch)))
			objects := b.fake.Len()
			b.fake.Tell(c.lie)
			err := c.enter(cl)
			wantReason(t, "what found it", err, kmip.ResultReasonGeneralFailure)
			if err == nil || !strings.Contains(err.Error(), "error state") || !strings.Contains(err.Error(), "restart") {
				t.Errorf("the answer names neither state nor remedy: %v", err)
			}
			if n := b.fake.Len(); n != objects {
				t.Errorf("%d objects on the token, want %d", n, objects)
			}
			b.fake.Truth()
			b.selfTest("demand") // passes, and ends nothing
			_, err = cl.get(key, kmip.GetRequest{})
			wantReason(t, "Get", err, kmip.ResultReasonGeneralFailure)
			_, err = cl.encrypt(key, encryptsCBC)
			wantReason(t, "Encrypt", err, kmip.ResultReasonGeneralFailure)
			_, err = cl.create(kmip.ObjectTypeSymmetricKey, aesAttributes(256)...)
			wantReason(t, "Create", err, kmip.ResultReasonGeneralFailure)
			_, err = cl.attributes(key)
			wantReason(t, "Get Attributes", err, kmip.ResultReasonGeneralFailure)
			if d := b.describe(); !d.OnlyQuery || len(d.Profiles) != 0 {
				t.Errorf("Query: only Query %t, %d profiles", d.OnlyQuery, len(d.Profiles))
			}
			if h := b.s.Health(); h.ErrorState == nil {
				t.Error("Health does not tell of the error state")
			}
			if !strings.Contains(b.log.String(), `"event":"error state"`) {
				t.Errorf("the log does not tell of the error state: %s", b.log)
			}
			b.restart()
			if !b.selfTest("start").Passed() {
				t.Error("the self-test after the restart fails")
			}
			_, err = b.client("c").encrypt(key, encryptsCBC)
			wantReason(t, "Encrypt after the restart", err, 0)
			b.wantClean()
		})
	}
}

// A strict policy makes no pair that no operation of its private key can test; the default one counts it.
func TestStrictPairsAreTestable(t *testing.T) {
	for policy, want := range map[string]kmip.ResultReason{"default": 0, "fips140": kmip.ResultReasonInvalidField, "suiteb128": kmip.ResultReasonInvalidField} {
		b := strictBenchOf(t, policy)
		c := b.client("c")
		common := with(attributesOf(kmip.CryptographicAlgorithmECDSA, 256, 0)...)
		masks := func(private, public kmip.CryptographicUsageMask) error {
			_, _, err := c.createPair(common, with(mask(private)), with(mask(public)))
			return err
		}
		objects := b.fake.Len()
		err := masks(0, kmip.CryptographicUsageMaskVerify)
		wantReason(t, policy+": a private key without usage", err, want)
		if want != 0 && (!strings.Contains(err.Error(), "Cryptographic Usage Mask") || b.fake.Len() != objects) {
			t.Errorf("%s: %v, %d objects on the token, want %d", policy, err, b.fake.Len(), objects)
		}
		wantReason(t, policy+": one that signs", masks(kmip.CryptographicUsageMaskSign, kmip.CryptographicUsageMaskVerify), 0)
		b.wantClean()
	}
}

// Without the setting a pair is not tested, and with it the counters say so.
func TestPairsAreCounted(t *testing.T) {
	for _, on := range []bool{false, true} {
		b := newBench(t, func(cfg *Config) { cfg.TestPairs = on })
		c := b.client("c")
		priv, _, err := c.createPair(with(attributesOf(kmip.CryptographicAlgorithmECDSA, 256, 3)...), nil, nil)
		c.ok(err)
		c.ok(c.activate(priv))
		_, err = do(c, kmip.OperationReKeyKeyPair, priv, c.s.ReKeyKeyPair, &kmip.ReKeyKeyPairRequest{PrivateKeyUniqueIdentifier: &priv})
		c.ok(err)
		want := hsm.PairCount{}
		if on {
			want.Tested = 2
		}
		if got := b.s.Health().Pairs; got != want {
			t.Errorf("TestPairs %t: got %+v, want %+v", on, got, want)
		}
	}
}

// Each flag that differs is found, where it matters.
func TestDrift(t *testing.T) {
	for _, c := range []struct {
		name string
		lie  func(hsm.Flags) hsm.Flags
		flag string
	}{
		{"not sensitive", func(f hsm.Flags) hsm.Flags { f.Sensitive = hsm.FlagFalse; return f }, "CKA_SENSITIVE is false"},
		{"was not sensitive", func(f hsm.Flags) hsm.Flags { f.AlwaysSensitive = hsm.FlagFalse; return f }, "CKA_ALWAYS_SENSITIVE is false"},
		{"not extractable", func(f hsm.Flags) hsm.Flags { f.Extractable = hsm.FlagFalse; return f }, "CKA_EXTRACTABLE is false"},
		{"never extractable", func(f hsm.Flags) hsm.Flags { f.NeverExtractable = hsm.FlagTrue; return f }, "CKA_NEVER_EXTRACTABLE is true"},
		{"not made here", func(f hsm.Flags) hsm.Flags { f.Local = hsm.FlagFalse; return f }, "CKA_LOCAL is false"},
		{"not private", func(f hsm.Flags) hsm.Flags { f.Private = hsm.FlagFalse; return f }, "CKA_PRIVATE is false"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			cl := b.client("c")
			key := cl.aes(at("Activation Date", timeValue(epoch)))
			cl.material(key)
			b.fake.Tell(hsmtest.Lie{Method: "Flags", Flags: c.lie})
			cl.material(key) // compared a moment ago
			b.s.drift.forget()
			_, err := cl.get(key, kmip.GetRequest{})
			wantReason(t, "Get", err, kmip.ResultReasonGeneralFailure)
			if err != nil && strings.Contains(err.Error(), "CKA_") {
				t.Errorf("the answer tells of the token: %v", err)
			}
			_, err = do(cl, kmip.OperationExport, key, cl.s.Export, &kmip.ExportRequest{})
			wantReason(t, "Export", err, kmip.ResultReasonGeneralFailure)
			_, err = cl.encrypt(key, encryptsCBC)
			wantReason(t, "Encrypt", err, kmip.ResultReasonGeneralFailure)
			if log := b.log.String(); !strings.Contains(log, `"event":"drift"`) || !strings.Contains(log, c.flag) {
				t.Errorf("the log does not tell %q: %s", c.flag, log)
			}
			rep, err := b.s.Fsck(context.Background(), false)
			if err != nil || rep.Clean() || len(rep.Flags) != 1 || !strings.Contains(rep.Flags[0], c.flag) {
				t.Errorf("Fsck: got %+v, %v, want %q", rep, err, c.flag)
			}
			if d := b.s.Health().Drifted; len(d) != 1 || d[0].UID != key {
				t.Errorf("Health: got %+v, want %s", d, key)
			}
			b.fake.Truth()
			cl.material(key)
			b.wantClean()
		})
	}
}

// A key that has drifted wraps, unwraps and derives nothing either: with whoever made it extractable, the rest would leave.
func TestDriftedKeyProtectsNothing(t *testing.T) {
	b := newBench(t)
	c := b.client("c")
	kek := c.must(c.create(kmip.ObjectTypeSymmetricKey, at("Cryptographic Algorithm", enumValue(kmip.CryptographicAlgorithmAES)),
		at("Cryptographic Length", intValue(int32(256))), activeNow(),
		mask(kmip.CryptographicUsageMaskWrapKey|kmip.CryptographicUsageMaskUnwrapKey|kmip.CryptographicUsageMaskDeriveKey)))
	c.ok(c.wrapWith(kek))
	rec, err := b.s.meta.Get(context.Background(), kek)
	if err != nil {
		t.Fatal(err)
	}
	b.fake.Tell(hsmtest.Lie{Method: "Flags", Flags: func(f hsm.Flags) hsm.Flags {
		f.Local = hsm.FlagFalse
		return f
	}})
	if !b.s.noteDrift(object{rec}, hsm.Flags{Local: hsm.FlagFalse}) {
		t.Fatal("the key has not drifted")
	}
	call := &kmip.Call{Version: kmip.V1_4, Caller: kmip.Caller{Client: rec.Owner}, Now: b.s.cfg.Clock()}
	info := &kmip.EncryptionKeyInformation{UniqueIdentifier: kek,
		CryptographicParameters: &kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeNISTKeyWrap}}
	_, err = b.s.wrapping(context.Background(), call, info)
	wantReason(t, "wrap", err, kmip.ResultReasonGeneralFailure)
	_, err = b.s.unwrapping(context.Background(), call, info)
	wantReason(t, "unwrap", err, kmip.ResultReasonGeneralFailure)
	_, err = b.s.bases(context.Background(), call, []string{kek})
	wantReason(t, "derive", err, kmip.ResultReasonGeneralFailure)
	_, err = b.s.signer(context.Background(), fips.Default(), &authority{priv: rec, public: &ecdsa.PublicKey{Curve: elliptic.P384()}})
	wantReason(t, "sign certificates", err, kmip.ResultReasonGeneralFailure)
	b.fake.Truth()
	if _, err = b.s.wrapping(context.Background(), call, info); err != nil {
		t.Errorf("wrap with a key that is as recorded again: %v", err)
	}
}

// Where a policy is strict, a key of the audit trail that has drifted signs neither checkpoints nor reports, until it is right again.
func TestDriftedAuditKey(t *testing.T) {
	for _, listener := range []string{"default", "fips140"} {
		b := audited(t, func(c *Config) { c.Listeners = map[string]*fips.Policy{"l": policyNamed(t, listener)} })
		sign := func() (checkpoint, unsigned string) {
			t.Helper()
			b.s.drift.forget()
			if _, err := b.s.Checkpoint(t.Context()); err != nil {
				checkpoint = err.Error()
			}
			r, err := b.s.MakeReport(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return checkpoint, r.Unsigned
		}
		if checkpoint, unsigned := sign(); checkpoint+unsigned != "" {
			t.Errorf("%s: %s, %s", listener, checkpoint, unsigned)
		}
		b.fake.Tell(hsmtest.Lie{Method: "Flags", Flags: func(f hsm.Flags) hsm.Flags { f.Extractable = hsm.FlagTrue; return f }})
		checkpoint, unsigned := sign()
		if strict := listener != "default"; strings.Contains(checkpoint, errAuditKey.Error()) != strict || (unsigned == errAuditKey.Error()) != strict {
			t.Errorf("%s: drifted: checkpoint %q, report %q", listener, checkpoint, unsigned)
		} else if strict && !strings.Contains(b.log.String(), `"event":"drift"`) {
			t.Errorf("the log does not tell: %s", b.log)
		}
		b.fake.Truth()
		if checkpoint, unsigned := sign(); checkpoint+unsigned != "" {
			t.Errorf("%s: as recorded again: %s, %s", listener, checkpoint, unsigned)
		}
	}
}

// What was misread is found out at the next use, also of a key that nobody can get; and a key that was destroyed is drifted no more.
func TestDriftEnds(t *testing.T) {
	b := newBench(t)
	c := b.client("c")
	misread := c.aes(at("Extractable", boolValue(false)), at("Activation Date", timeValue(epoch)))
	gone := c.aes()
	b.fake.Tell(hsmtest.Lie{Method: "Flags", Flags: func(f hsm.Flags) hsm.Flags { f.Local = hsm.FlagFalse; return f }})
	b.s.compareAll(context.Background())
	if d := b.s.Health().Drifted; len(d) != 2 {
		t.Fatalf("drifted: %+v, want two keys", d)
	}
	b.fake.Truth()
	if _, err := c.encrypt(misread, encryptsCBC); err != nil {
		t.Errorf("Encrypt with a key that is as recorded: %v", err)
	}
	c.ok(c.destroy(gone))
	b.s.compareAll(context.Background())
	if d := b.s.Health().Drifted; len(d) != 0 {
		t.Errorf("drifted after all: %+v", d)
	}
}

// A key that must never leave, and one whose Extractable was taken away later.
func TestDriftOfExtractable(t *testing.T) {
	b := newBench(t)
	c := b.client("c")
	fixed := c.aes(at("Extractable", boolValue(false)))
	later := c.aes()
	c.ok(c.modify(later, at("Extractable", boolValue(false))))
	b.wantClean()
	b.fake.Tell(hsmtest.Lie{Method: "Flags", Flags: func(f hsm.Flags) hsm.Flags {
		f.Extractable, f.NeverExtractable = hsm.FlagTrue, hsm.FlagFalse
		return f
	}})
	rep, err := b.s.Fsck(context.Background(), false)
	if err != nil || len(rep.Flags) != 1 || !strings.HasPrefix(rep.Flags[0], fixed) {
		t.Errorf("Fsck: got %+v, %v, want %s alone", rep.Flags, err, fixed)
	}
}

// Registered keys are on the token as keys from elsewhere: that is no drift.
func TestNoDriftOfRegistered(t *testing.T) {
	b := newBench(t)
	c := b.client("c")
	key := c.must(c.register(symmetric(make([]byte, 32))))
	c.material(key)
	b.wantClean()
}

// The loop tests after a login and on schedule, and compares flags after each test.
func TestKeepTested(t *testing.T) {
	b := newBench(t, func(cfg *Config) { cfg.SelfTestInterval = 20 * time.Millisecond })
	key := b.client("c").aes()
	b.fake.Tell(hsmtest.Lie{Method: "Flags", Flags: func(f hsm.Flags) hsm.Flags { f.Local = hsm.FlagFalse; return f }})
	eventually(t, "a drift found by the schedule", func() bool { d := b.s.Health().Drifted; return len(d) == 1 && d[0].UID == key })
	if r := b.s.Health().Last; r == nil || r.Reason != "schedule" {
		t.Errorf("the last report: %+v", r)
	}

	b = newBench(t)
	b.fake.Relogin()
	b.client("c").aes()
	eventually(t, "a self-test after the login", func() bool { r := b.s.Health().Last; return r != nil && r.Reason == "login" })
}

// The signature that closes the audit trail is made although the token came back only just now and nobody else runs self-tests
// any more.
func TestCloseAfterLogin(t *testing.T) {
	b := audited(t, func(c *Config) { c.Audit.Patience = time.Minute }) // on a loaded machine
	b.s.guard.Relogin()                                                 // as the loop asks sooner or later
	b.fake.Relogin()
	b.s.Close()
	if r := b.verify(); !r.Closed {
		t.Errorf("the trail is not closed: %+v\n%s", r, b.log)
	}
}
