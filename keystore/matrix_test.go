package keystore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509/pkix"
	"fmt"
	"strings"
	"testing"

	"kmipd/hsm"
	"kmipd/hsm/hsmtest"
	"kmipd/kmip"
)

func createRequest(attrs ...kmip.Attribute) *kmip.CreateRequest {
	return &kmip.CreateRequest{ObjectType: kmip.ObjectTypeSymmetricKey, TemplateAttribute: *with(append(aesAttributes(256), attrs...)...)}
}

// doneByName is for operations that make one object of the name "new": it is there, whole, or not at all.
func doneByName(c client, _ string) bool {
	uids := c.find(named("new"))
	if len(uids) == 0 {
		return false
	}
	resp, err := c.get(uids[0], kmip.GetRequest{})
	if err != nil {
		c.t.Errorf("Get of the new object: %v", err)
		return true
	}
	if resp.ObjectType == kmip.ObjectTypeTemplate {
		return true
	}
	m := materialOf(c.t, resp)
	var d kmip.Digest
	if err := d.Decode(c.value(uids[0], "Digest")); err != nil {
		c.t.Errorf("Digest: %v", err)
	}
	if sum := sha256.Sum256(m); !bytes.Equal(sum[:], d.DigestValue) {
		c.t.Error("the material of the new object is not what its Digest says")
	}
	return true
}

// wrapped is a Register request for octets that the key wrapped with NIST Key Wrap.
func wrapped(c client, kek string, req *kmip.RegisterRequest, value []byte, mechanism hsm.WrapMechanism, encoding kmip.EncodingOption) *kmip.RegisterRequest {
	c.t.Helper()
	rec, err := c.db.Get(context.Background(), kek)
	if err != nil {
		c.t.Fatal(err)
	}
	r, _ := ref(rec.Handle)
	blob, err := c.fake.WrapBytes(context.Background(), r, hsm.WrapSpec{Mechanism: mechanism}, value)
	if err != nil {
		c.t.Fatal(err)
	}
	m := kmip.BlockCipherModeNISTKeyWrap
	if mechanism == hsm.WrapAESKWP {
		m = kmip.BlockCipherModeAESKeyWrapPadding
	}
	kb := registeredBlock(req)
	kb.KeyValue = byteString(blob)
	kb.KeyWrappingData = &kmip.KeyWrappingData{WrappingMethod: kmip.WrappingMethodEncrypt, EncodingOption: encoding,
		EncryptionKeyInformation: &kmip.EncryptionKeyInformation{UniqueIdentifier: kek, CryptographicParameters: &kmip.CryptographicParameters{BlockCipherMode: m}}}
	return req
}

func registering(name string, request func(c client, uid string) *kmip.RegisterRequest) scene {
	return scene{name: name, makes: true, done: doneByName,
		setup: func(c client) string {
			kek := c.aes()
			c.ok(c.activate(kek))
			return kek
		},
		request: func(ctx context.Context, c client, tx kmip.Tx, uid string) error {
			req := request(c, uid)
			req.TemplateAttribute.Attribute = append(req.TemplateAttribute.Attribute, named("new"))
			_, err := item(ctx, c, tx, kmip.OperationRegister, "", c.s.Register, req)
			return err
		}}
}

func scenes(t testing.TB) []scene {
	none := func(client) string { return "" }
	return []scene{
		{name: "Create", makes: true, setup: none, done: doneByName,
			request: func(ctx context.Context, c client, tx kmip.Tx, _ string) error {
				_, err := item(ctx, c, tx, kmip.OperationCreate, "", c.s.Create, createRequest(named("new")))
				return err
			}},
		{name: "Create Key Pair", makes: true, setup: none,
			request: func(ctx context.Context, c client, tx kmip.Tx, _ string) error {
				_, err := item(ctx, c, tx, kmip.OperationCreateKeyPair, "", c.s.CreateKeyPair, &kmip.CreateKeyPairRequest{
					CommonTemplateAttribute:     with(at("Cryptographic Algorithm", enumValue(kmip.CryptographicAlgorithmECDSA)), at("Cryptographic Length", intValue(int32(256)))),
					PrivateKeyTemplateAttribute: with(named("new")), PublicKeyTemplateAttribute: with(named("new public"))})
				return err
			},
			done: func(c client, uid string) bool {
				public := len(c.find(named("new public"))) > 0
				private := doneByName(c, uid)
				if public != private {
					c.t.Errorf("half of a pair: public %t, private %t", public, private)
				}
				return public
			}},
		registering("Register plain", func(c client, _ string) *kmip.RegisterRequest { return symmetric(marker(32)) }),
		registering("Register wrapped", func(c client, kek string) *kmip.RegisterRequest {
			return wrapped(c, kek, symmetric(marker(32)), marker(32), hsm.WrapAESKW, kmip.EncodingOptionNoEncoding)
		}),
		registering("Register wrapped TTLV", func(c client, kek string) *kmip.RegisterRequest {
			return wrapped(c, kek, symmetric(marker(32)), keyValue(marker(32)), hsm.WrapAESKW, kmip.EncodingOptionTTLVEncoding)
		}),
		registering("Register secret", func(client, string) *kmip.RegisterRequest { return secret(marker(21)) }),
		registering("Register opaque", func(client, string) *kmip.RegisterRequest { return opaque(marker(100)) }),
		registering("Register public key", func(c client, _ string) *kmip.RegisterRequest { return publicKey(c.t, ecKey()) }),
		registering("Register certificate", func(c client, _ string) *kmip.RegisterRequest {
			return certificate(makeCert(c.t, pkix.Name{CommonName: "x"}, nil).Raw)
		}),
		registering("Register template", func(client, string) *kmip.RegisterRequest { return template(aesAttributes(128)...) }),
		{name: "Destroy", setup: func(c client) string { return c.must(c.register(symmetric(marker(16)), named("old"))) },
			request: func(ctx context.Context, c client, tx kmip.Tx, uid string) error {
				_, err := item(ctx, c, tx, kmip.OperationDestroy, uid, c.s.Destroy, &kmip.DestroyRequest{})
				return err
			},
			done: func(c client, uid string) bool {
				if c.state(uid) == kmip.StateDestroyed {
					_, err := c.get(uid, kmip.GetRequest{})
					wantReason(c.t, "Get of a destroyed key", err, kmip.ResultReasonItemNotFound)
					return true
				}
				if got := c.material(uid); !bytes.Equal(got, marker(16)) {
					c.t.Errorf("the key that was not destroyed: got %q, want %q", got, marker(16))
				}
				if got := c.find(named("old")); len(got) != 1 {
					c.t.Errorf("the key that was not destroyed has lost its Name")
				}
				return false
			}},
		{name: "Destroy template", setup: func(c client) string { return c.must(c.register(template(aesAttributes(256)...), named("old"))) },
			request: func(ctx context.Context, c client, tx kmip.Tx, uid string) error {
				_, err := item(ctx, c, tx, kmip.OperationDestroy, uid, c.s.Destroy, &kmip.DestroyRequest{})
				return err
			},
			done: func(c client, uid string) bool { return len(c.find(named("old"))) == 0 }},
		{name: "Modify Attribute", setup: func(c client) string { return c.aes(named("old"), at("x-a", textValue("before"))) },
			request: func(ctx context.Context, c client, tx kmip.Tx, uid string) error {
				_, err := item(ctx, c, tx, kmip.OperationModifyAttribute, uid, c.s.ModifyAttribute, &kmip.ModifyAttributeRequest{Attribute: at("x-a", textValue("after"))})
				return err
			},
			done: func(c client, uid string) bool { return c.value(uid, "x-a").Text() == "after" }},
		{name: "Add Attribute", setup: func(c client) string { return c.aes(named("old"), at("x-a", textValue("before"))) },
			request: func(ctx context.Context, c client, tx kmip.Tx, uid string) error {
				_, err := item(ctx, c, tx, kmip.OperationAddAttribute, uid, c.s.AddAttribute, &kmip.AddAttributeRequest{Attribute: named("new")})
				return err
			},
			done: func(c client, uid string) bool { return len(c.find(named("new"))) == 1 }},
		{name: "Revoke", setup: func(c client) string { return c.aes() },
			request: func(ctx context.Context, c client, tx kmip.Tx, uid string) error {
				_, err := item(ctx, c, tx, kmip.OperationRevoke, uid, c.s.Revoke, &kmip.RevokeRequest{
					RevocationReason: kmip.RevocationReason{RevocationReasonCode: kmip.RevocationReasonCodeKeyCompromise}})
				return err
			},
			done: func(c client, uid string) bool { return c.state(uid) == kmip.StateCompromised }},
		{name: "Get", setup: func(c client) string { return c.aes() },
			request: func(ctx context.Context, c client, tx kmip.Tx, uid string) error {
				_, err := item(ctx, c, tx, kmip.OperationGet, uid, c.s.Get, &kmip.GetRequest{})
				return err
			},
			done: func(c client, uid string) bool { return !c.value(uid, "Fresh").Bool() }},
	}
}

// TestFailureMatrix makes every step of every changing operation fail in every way, and of its rollback too.
func TestFailureMatrix(t *testing.T) {
	for _, sc := range append(append(scenes(t), derivationScenes()...), certificateScenes()...) {
		for _, rollback := range []bool{false, true} {
			name := sc.name
			if rollback {
				name += ", rolled back"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				var steps []string
				t.Run("no fault", func(t *testing.T) { steps = sc.try(t, rollback, 0, noFault) })
				for i, step := range steps {
					for m := failBefore; m <= crashAfter; m++ {
						commit := strings.HasPrefix(step, "commit")
						if commit && (m == failAfter || m == tokenGone) || !commit && (m == storeLost || m == storeKept) {
							continue
						}
						t.Run(fmt.Sprintf("%d %s/%s", i, step, modeNames[m]), func(t *testing.T) { sc.try(t, rollback, i, m) })
					}
				}
			})
		}
	}
}

// try plays the scene with one fault, ends the process, starts another, and checks what must be so.
func (sc scene) try(t *testing.T, rollback bool, at int, m mode) []string {
	b := newBench(t)
	c := b.client("alice")
	kept := c.must(c.register(symmetric(marker(32)), named("kept")))
	uid := sc.setup(c)
	b.s.Close()

	p := &plan{fs: b.fs, fake: b.fake, at: at, mode: m, percent: at % 2 * 100}
	b.start(planRecords{b.db, p}, planToken{b.fake, p})
	out := sc.play(b, p, uid, rollback)
	if m != noFault && p.struck == "" {
		t.Fatalf("step %d was not reached: %q", at, out.steps)
	}
	if n := len(b.s.locks.m); n > 0 && !m.fatal() {
		t.Errorf("%d locks are held after the request", n)
	}
	sc.checkReply(t, out, m, rollback)
	if m == noFault || m == failBefore || m == failAfter {
		// The process goes on: the same must hold before a restart.
		sc.checkEffect(c, uid, out, m, rollback)
	}

	b.s.Close()
	disk := p.after
	if disk == nil {
		disk = p.clone() // what was acknowledged is synced
	}
	b.fs, b.fake = disk, b.fake.Reopen()
	b.db = openRecords(t, disk)
	b.start(b.db, b.fake)
	sc.checkEffect(c, uid, out, m, rollback)
	b.checkInvariants(kept)
	return out.steps
}

func (sc scene) checkReply(t *testing.T, out outcome, m mode, rollback bool) {
	t.Helper()
	switch {
	case m == noFault:
		wantReason(t, "reply", out.reply, 0)
	case out.reply == nil:
		t.Error("got success although a step failed, want an error")
	case m.fatal(): // nobody is told
	case m == tokenGone || strings.HasPrefix(out.plan.struck, "commit") || rollback || !sc.makes || out.plan.struck == "UnwrapBytes":
		wantReason(t, "reply", out.reply, kmip.ResultReasonGeneralFailure)
	default:
		wantReason(t, "reply", out.reply, kmip.ResultReasonCryptographicFailure)
	}
}

// checkEffect compares what is there with what the client was told. After a crash the client was told nothing: all or
// nothing are both right.
func (sc scene) checkEffect(c client, uid string, out outcome, m mode, rollback bool) {
	c.t.Helper()
	done := sc.done(c, uid)
	switch {
	case out.reply == nil && done == rollback:
		c.t.Errorf("got done %t after success, want %t", done, !rollback)
	case out.reply != nil && !m.fatal() && m != tokenGone && !rollback && done && !strings.HasPrefix(sc.name, "Destroy"):
		// A Destroy whose token object does not go is destroyed for its client all the same.
		c.t.Errorf("the effect is there after %v", out.reply)
	}
}

// checkInvariants holds a Store that has just been started against what must always be so.
func (b *bench) checkInvariants(kept string) {
	b.t.Helper()
	c := b.client("alice")
	b.wantClean()
	if got := c.material(kept); !bytes.Equal(got, marker(32)) {
		b.t.Errorf("an object that was not concerned: got %q, want %q", got, marker(32))
	}
	if intents, err := b.db.Intents(context.Background()); err != nil || len(intents) > 0 {
		b.t.Errorf("got %d intents and error %v after the start, want none", len(intents), err)
	}
	for _, name := range []string{"new", "new public", "old"} {
		if len(c.find(named(name))) > 0 {
			continue
		}
		uid, err := c.create(kmip.ObjectTypeSymmetricKey, append(aesAttributes(256), named(name))...)
		wantReason(b.t, "Create with the free Name "+name, err, 0)
		if err == nil {
			wantReason(b.t, "Destroy", c.destroy(uid), 0)
		}
	}
	b.wantClean()
}

// A pair of which the token made one half before it died leaves nothing.
func TestHalfPair(t *testing.T) {
	for _, crash := range []bool{false, true} {
		t.Run(fmt.Sprintf("crash=%t", crash), func(t *testing.T) {
			b := newBench(t)
			c := b.client("alice")
			b.fake.Inject(hsmtest.Fault{Method: "GenerateKeyPair", Effect: hsmtest.HalfPair})
			if crash {
				b.fake.Inject(hsmtest.Fault{Method: "Destroy", Effect: hsmtest.CrashBefore})
			}
			_, _, err := c.createPair(with(at("Cryptographic Algorithm", enumValue(kmip.CryptographicAlgorithmECDSA)), at("Cryptographic Length", intValue(int32(256)))), nil, nil)
			wantReason(t, "Create Key Pair", err, kmip.ResultReasonCryptographicFailure)
			if got := b.fake.Len() > 0; got != crash {
				t.Errorf("got leftovers %t on the token, want %t", got, crash)
			}
			b.restart()
			b.wantClean()
			if n := b.fake.Len(); n != 0 {
				t.Errorf("got %d token objects after the restart, want 0", n)
			}
		})
	}
}
