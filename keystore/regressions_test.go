package keystore

import (
	"bytes"
	"context"
	"crypto/x509/pkix"
	"fmt"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"kmipd/hsm"
	"kmipd/kmip"
	"kmipd/metadata"
)

// checkValue returns before checkContents for structures.
func TestRegressionContents(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	for _, bad := range []string{"", strings.Repeat("n", maxNameLength+1)} {
		_, err := c.create(kmip.ObjectTypeSymmetricKey, append(aesAttributes(256), named(bad))...)
		wantReason(t, fmt.Sprintf("Create with a Name of %d octets", len(bad)), err, kmip.ResultReasonInvalidField)
	}
	_, err := c.create(kmip.ObjectTypeSymmetricKey, append(aesAttributes(256), at("Usage Limits", limits(-1)))...)
	wantReason(t, "Create with negative Usage Limits", err, kmip.ResultReasonInvalidField)
	_, err = c.create(kmip.ObjectTypeSymmetricKey, append(aesAttributes(256), at("Name", structValue(&kmip.Name{NameValue: "n", NameType: 99})))...)
	wantReason(t, "Create with an unknown Name Type", err, kmip.ResultReasonInvalidField)
	uid := c.aes()
	wantReason(t, "Delete of an unknown attribute", c.remove(uid, "Flavour", nil), kmip.ResultReasonItemNotFound) // KMIP 1.4 section 11.17
}

// Secret Data has no Cryptographic Length in its Key Block.
func TestRegressionWrappedSecret(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	kek := c.aes()
	c.ok(c.activate(kek))
	uid, err := c.register(wrapped(c, kek, secret(marker(21)), marker(21), hsm.WrapAESKWP, kmip.EncodingOptionNoEncoding))
	wantReason(t, "Register", err, 0)
	if err == nil && !bytes.Equal(c.material(uid), marker(21)) {
		t.Error("another value")
	}
}

// A Sensitive private key that was registered wrapped must not leave as PKCS#12.
func TestRegressionSensitivePKCS12(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	kek := c.aes()
	c.ok(c.activate(kek))
	link := func(t kmip.LinkType, uid string) kmip.Attribute {
		return at("Link", structValue(&kmip.Link{LinkType: t, LinkedObjectIdentifier: uid}))
	}
	password := c.must(c.register(secret([]byte("pass word"))))
	cert := c.must(c.register(certificate(makeCert(t, pkix.Name{CommonName: "root"}, nil).Raw)))
	req := privateKey(t, ecKey())
	der := req.PrivateKey.KeyBlock.KeyValue.Find(kmip.TagKeyMaterial).Value
	r, _ := ref(c.record(kek).Handle)
	blob, err := c.fake.WrapBytes(context.Background(), r, hsm.WrapSpec{Mechanism: hsm.WrapAESKWP}, der)
	c.ok(err)
	req.PrivateKey.KeyBlock.KeyValue = byteString(blob)
	req.PrivateKey.KeyBlock.KeyWrappingData = &kmip.KeyWrappingData{WrappingMethod: kmip.WrappingMethodEncrypt, EncodingOption: kmip.EncodingOptionNoEncoding,
		EncryptionKeyInformation: &kmip.EncryptionKeyInformation{UniqueIdentifier: kek, CryptographicParameters: &kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeAESKeyWrapPadding}}}
	uid := c.must(c.register(req, at("Sensitive", boolValue(true)), link(kmip.LinkTypePKCS12PasswordLink, password), link(kmip.LinkTypePKCS12CertificateLink, cert)))
	resp, err := c.get(uid, kmip.GetRequest{KeyWrapType: kmip.KeyWrapTypeAsRegistered, KeyFormatType: kmip.KeyFormatTypePKCS12})
	wantReason(t, "Get as PKCS#12", err, kmip.ResultReasonSensitive)
	if err == nil {
		_, _, _, err := pkcs12.DecodeChain(resp.PrivateKey.KeyBlock.KeyValue.Value, "pass word")
		t.Logf("the private key opens with the password: %v", err)
	}
}

// Nor one that was registered in a wrapped PKCS#12 container, of which As Registered without a format is a new container.
func TestRegressionSensitiveContainer(t *testing.T) {
	c := newBench(t).client("alice")
	kek := c.aes()
	c.ok(c.activate(kek))
	password := c.must(c.register(secret([]byte("password"))))
	req := inContainer(nil, linkTo(kmip.LinkTypePKCS12PasswordLink, password), at("Sensitive", boolValue(true)))
	r, _ := ref(c.record(kek).Handle)
	blob, err := c.fake.WrapBytes(context.Background(), r, hsm.WrapSpec{Mechanism: hsm.WrapAESKWP}, container(t, "named"))
	c.ok(err)
	req.PrivateKey.KeyBlock.KeyValue = byteString(blob)
	req.PrivateKey.KeyBlock.KeyWrappingData = &kmip.KeyWrappingData{WrappingMethod: kmip.WrappingMethodEncrypt, EncodingOption: kmip.EncodingOptionNoEncoding,
		EncryptionKeyInformation: &kmip.EncryptionKeyInformation{UniqueIdentifier: kek, CryptographicParameters: &kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeAESKeyWrapPadding}}}
	uid := c.must(c.register(req))
	for _, format := range []kmip.KeyFormatType{0, kmip.KeyFormatTypePKCS12} {
		_, err = c.get(uid, kmip.GetRequest{KeyWrapType: kmip.KeyWrapTypeAsRegistered, KeyFormatType: format})
		wantReason(t, "Get As Registered", err, kmip.ResultReasonSensitive)
	}
}

// Derive Key without an object to derive from is refused, with every method.
func TestRegressionDeriveFromNothing(t *testing.T) {
	c := newBench(t).client("alice")
	for m := kmip.DerivationMethodPBKDF2; m <= kmip.DerivationMethodAsymmetricKey; m++ {
		_, err := c.derive(&kmip.DeriveKeyRequest{ObjectType: kmip.ObjectTypeSecretData, DerivationMethod: m, TemplateAttribute: secretOf(256),
			DerivationParameters: kmip.DerivationParameters{CryptographicParameters: hashParams(kmip.HashingAlgorithmSHA256), DerivationData: []byte("data")}})
		wantReason(t, m.String(), err, kmip.ResultReasonInvalidField)
	}
}

// Dates are checked for every type.
func TestRegressionSecretDates(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	for _, letter := range []byte("surpdcog") {
		_, err := c.registerType(letter, dated("Activation Date", epoch.Add(time.Hour)), dated("Deactivation Date", epoch))
		wantReason(t, "Register "+string(letter), err, kmip.ResultReasonInvalidField)
	}
}

// Get of a Template shows a 1.0 client what 1.0 does not have.
func TestRegressionTemplateVersion(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	random := true
	uid := c.must(c.register(template(at("Cryptographic Algorithm", enumValue(kmip.CryptographicAlgorithmChaCha20)),
		at("Cryptographic Parameters", structValue(&kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeCBC, RandomIV: &random}))), named("t")))
	resp, err := c.in(kmip.V1_0).get(uid, kmip.GetRequest{})
	c.ok(err)
	for _, a := range resp.Template.Attribute {
		checkKnown(t, a.AttributeName, attributeTag(a.AttributeName), a.AttributeValue, kmip.V1_0)
	}
}

// "After that no lock is held, whatever it returns" (kmip.Tx).
func TestRegressionLockAfterFailedRollback(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	uid := c.aes()
	b.s.Close()
	p := &plan{fs: b.fs, fake: b.fake, at: 0, mode: storeLost}
	b.start(planRecords{b.db, p}, planToken{b.fake, p})
	ctx := context.Background()
	tx := b.s.Begin(true)
	_, err := item(ctx, c, tx, kmip.OperationAddAttribute, uid, c.s.AddAttribute, &kmip.AddAttributeRequest{Attribute: at("x-a", textValue("1"))})
	c.ok(err)
	p.armed = true
	if err := tx.Rollback(ctx, 0); err == nil {
		t.Error("Rollback: got success, want an error")
	}
	_ = tx.Rollback(ctx, 0)
	b.wantNoLocks("after Rollback")
}

// A Name that a batch gives up can be taken back with the rest of it.
func TestRegressionNameTakenMeanwhile(t *testing.T) {
	for _, row := range []struct {
		name string
		do   func(ctx context.Context, c client, tx kmip.Tx, uid string) error
	}{
		{"Destroy", func(ctx context.Context, c client, tx kmip.Tx, uid string) error {
			_, err := item(ctx, c, tx, kmip.OperationDestroy, uid, c.s.Destroy, &kmip.DestroyRequest{})
			return err
		}},
		{"Modify", func(ctx context.Context, c client, tx kmip.Tx, uid string) error {
			_, err := item(ctx, c, tx, kmip.OperationModifyAttribute, uid, c.s.ModifyAttribute, &kmip.ModifyAttributeRequest{Attribute: named("m")})
			return err
		}},
	} {
		b := newBench(t)
		c := b.client("alice")
		uid := c.must(c.register(symmetric(marker(16)), named("n")))
		ctx := context.Background()
		tx := b.s.Begin(true)
		c.ok(row.do(ctx, c, tx, uid))
		_, err := c.create(kmip.ObjectTypeSymmetricKey, append(aesAttributes(256), named("n"))...)
		t.Logf("%s: another Create with the Name meanwhile: %v", row.name, err)
		wantReason(t, row.name+", Rollback", tx.Rollback(ctx, 0), 0)
		b.restart()
		if got := c.state(uid); got != kmip.StatePreActive {
			t.Errorf("%s: after Rollback and a restart: got state %s, want the key as it was", row.name, got)
		}
	}
}

// cancelRecords ends the context of a request when its record is on disk.
type cancelRecords struct {
	metadata.Store
	cancel func()
}

func (r cancelRecords) Commit(ctx context.Context, b *metadata.Batch) error {
	err := r.Store.Commit(ctx, b)
	if len(b.Puts) > 0 {
		r.cancel()
	}
	return err
}

// An Undo batch whose time is up just after the commit must not forget what it made.
func TestRegressionMadeButNotLogged(t *testing.T) {
	for range 20 { // select chooses at random
		b := newBench(t)
		c := b.client("alice")
		before := b.snapshot()
		b.s.Close()
		ctx, cancel := context.WithCancel(context.Background())
		b.start(cancelRecords{b.db, cancel}, b.fake)
		tx := b.s.Begin(true)
		_, err := item(ctx, c, tx, kmip.OperationCreateKeyPair, "", c.s.CreateKeyPair, &kmip.CreateKeyPairRequest{CommonTemplateAttribute: with(attributesOf(kmip.CryptographicAlgorithmEC, 256, 1)...)})
		t.Logf("Create Key Pair: %v", err)
		wantReason(t, "Rollback", tx.Rollback(ctx, 0), 0)
		b.wantSame("after Rollback", before)
		if t.Failed() {
			return
		}
	}
}

// slowClients lets something happen between the reading of the clients and their going into the cache.
type slowClients struct {
	metadata.Store
	meanwhile func()
}

func (r *slowClients) Clients(ctx context.Context) ([]*metadata.Client, error) {
	list, err := r.Store.Clients(ctx)
	if f := r.meanwhile; f != nil {
		r.meanwhile = nil
		f()
	}
	return list, err
}

// A client that is removed while the cache is being filled is out.
func TestRegressionRemovedClientInCache(t *testing.T) {
	b := newBench(t)
	cert := makeCert(t, pkix.Name{CommonName: "one"}, nil)
	if err := b.addClient("c", print(cert)); err != nil {
		t.Fatal(err)
	}
	b.s.Close()
	slow := &slowClients{Store: b.db}
	b.start(slow, b.fake)
	b.s.dropClients() // Start has read them
	slow.meanwhile = func() {
		if _, err := b.s.RemoveClient(context.Background(), "c"); err != nil {
			t.Error(err)
		}
	}
	_, _ = b.who(cert)
	b.wantClient("after the removal", "", cert)
}

// A registered client stays registered while others are changed.
func TestRegressionClientFlickers(t *testing.T) {
	b := newBench(t)
	cert := makeCert(t, pkix.Name{CommonName: "one"}, nil)
	if err := b.addClient("c", print(cert)); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 200 {
			_ = b.addClient(fmt.Sprint("other", i))
		}
	}()
	lost := 0
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		if got, err := b.who(cert); err != nil || got != "c" {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d times the client was not known", lost)
	}
}

// Run with -count=10.
func TestRegressionConcurrency(t *testing.T) { concurrency(t, true) }
