package keystore

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// What was registered comes back octet for octet, over a restart too, and its Digest fits.
func TestRegisterAndGet(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	odd := symmetric(marker(100))
	odd.SymmetricKey.KeyBlock.CryptographicLength = ptr(int32(800))
	generic := symmetric(marker(5))
	generic.SymmetricKey.KeyBlock.CryptographicAlgorithm = kmip.CryptographicAlgorithmHMACSHA256
	generic.SymmetricKey.KeyBlock.CryptographicLength = ptr(int32(40))
	brokenCert := []byte{0x30, 0x03, 0x02, 0x01, 0x05}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(ecKey())
	c.ok(err)
	spki, err := x509.MarshalPKIXPublicKey(ecKey().Public())
	c.ok(err)
	cert := makeCert(t, pkix.Name{CommonName: "c"}, nil).Raw
	for _, row := range []struct {
		name string
		req  *kmip.RegisterRequest
		want []byte
	}{
		{"AES-128", symmetric(marker(16)), marker(16)},
		{"AES-256", symmetric(marker(32)), marker(32)},
		{"AES of odd length", odd, marker(100)},
		{"HMAC key of 5 octets", generic, marker(5)},
		{"secret", secret(marker(21)), marker(21)},
		{"empty secret", secret(nil), nil},
		{"opaque", opaque(marker(12000)), marker(12000)},
		{"empty opaque", opaque(nil), nil},
		{"private key", privateKey(t, ecKey()), pkcs8},
		{"public key", publicKey(t, ecKey()), spki},
		{"certificate", certificate(cert), cert},
	} {
		t.Run(row.name, func(t *testing.T) {
			uid, err := c.register(row.req)
			wantReason(t, "Register", err, 0)
			for _, when := range []string{"at once", "after a restart"} {
				resp, err := c.get(uid, kmip.GetRequest{})
				wantReason(t, "Get "+when, err, 0)
				if err != nil {
					return
				}
				if got := materialOf(t, resp); !bytes.Equal(got, row.want) {
					t.Errorf("Get %s: got %q, want %q", when, got, row.want)
				}
				if resp.ObjectType != row.req.ObjectType || resp.UniqueIdentifier != uid {
					t.Errorf("Get %s: got %s %s", when, resp.ObjectType, resp.UniqueIdentifier)
				}
				b.restart()
			}
			var d kmip.Digest
			c.ok(d.Decode(c.value(uid, "Digest")))
			if sum := sha256.Sum256(row.want); !bytes.Equal(d.DigestValue, sum[:]) {
				t.Error("the Digest is not that of the registered octets")
			}
		})
	}
	_, err = c.register(certificate(brokenCert))
	wantReason(t, "a certificate that is none", err, kmip.ResultReasonInvalidField)
	b.wantClean()
}

// Facts of the object structure come back too.
func TestObjectFields(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	resp, err := c.get(c.must(c.registerType('p')), kmip.GetRequest{})
	c.ok(err)
	if s := resp.SplitKey; s.SplitKeyParts != 3 || s.KeyPartIdentifier != 1 || s.SplitKeyThreshold != 2 || s.SplitKeyMethod != kmip.SplitKeyMethodXOR {
		t.Errorf("Split Key: got %+v", s)
	}
	resp, err = c.get(c.must(c.registerType('o')), kmip.GetRequest{})
	c.ok(err)
	if got := resp.OpaqueObject.OpaqueDataType; got != 0x80000001 {
		t.Errorf("Opaque Data Type: got %08X", got)
	}
	resp, err = c.get(c.must(c.registerType('d')), kmip.GetRequest{})
	c.ok(err)
	if kb := resp.SecretData.KeyBlock; resp.SecretData.SecretDataType != kmip.SecretDataTypePassword || kb.KeyFormatType != kmip.KeyFormatTypeOpaque || kb.CryptographicAlgorithm != 0 {
		t.Errorf("Secret Data: got %s, %s, %s", resp.SecretData.SecretDataType, kb.KeyFormatType, kb.CryptographicAlgorithm)
	}
	resp, err = c.get(c.must(c.registerType('g')), kmip.GetRequest{})
	c.ok(err)
	if resp.PGPKey.PGPKeyVersion != 4 {
		t.Errorf("PGP Key Version: got %d", resp.PGPKey.PGPKeyVersion)
	}
	uid := c.must(c.register(template(append(aesAttributes(256), at("Description", textValue("d")))...), named("t")))
	for v, want := range map[kmip.Version]int{kmip.V1_0: 4, kmip.V1_2: 4, kmip.V1_3: 3, kmip.V1_4: 4} {
		resp, err := c.in(v).get(uid, kmip.GetRequest{})
		c.ok(err)
		if got := len(resp.Template.Attribute); got != want {
			t.Errorf("Template in %s: got %d attributes, want %d", v, got, want)
		}
	}
}

// The formats that a key is given in, and those that it is not.
func TestGetFormats(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	rsaPriv, rsaPub, err := c.createPair(with(attributesOf(kmip.CryptographicAlgorithmRSA, 1024, 3)...), nil, nil)
	c.ok(err)
	ecPriv, ecPub, err := c.createPair(with(attributesOf(kmip.CryptographicAlgorithmEC, 256, 3)...), nil, nil)
	c.ok(err)
	aes, text := c.aes(), c.must(c.register(secret(marker(8))))
	cert := c.must(c.register(certificate(makeCert(t, pkix.Name{CommonName: "c"}, nil).Raw)))
	data := c.must(c.register(opaque(marker(8))))
	rsaKey := func(der []byte) any {
		if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
			return key.(*rsa.PrivateKey).N.String()
		}
		key, err := x509.ParsePKCS1PrivateKey(der)
		if err != nil {
			return err
		}
		return key.N.String()
	}
	const no = kmip.ResultReasonKeyFormatTypeNotSupported
	for _, row := range []struct {
		name, uid string
		format    kmip.KeyFormatType
		reason    kmip.ResultReason
		typ       ttlv.Type
	}{
		{"RSA", rsaPriv, kmip.KeyFormatTypePKCS1, 0, ttlv.ByteString},
		{"RSA", rsaPriv, kmip.KeyFormatTypePKCS8, 0, ttlv.ByteString},
		{"RSA", rsaPriv, kmip.KeyFormatTypeTransparentRSAPrivateKey, 0, ttlv.Structure},
		{"RSA", rsaPriv, kmip.KeyFormatTypeRaw, no, 0},
		{"RSA", rsaPriv, kmip.KeyFormatTypeTransparentRSAPublicKey, no, 0},
		{"RSA", rsaPriv, kmip.KeyFormatTypeECPrivateKey, no, 0},
		{"RSA public", rsaPub, kmip.KeyFormatTypePKCS1, 0, ttlv.ByteString},
		{"RSA public", rsaPub, kmip.KeyFormatTypeX509, 0, ttlv.ByteString},
		{"RSA public", rsaPub, kmip.KeyFormatTypeTransparentRSAPublicKey, 0, ttlv.Structure},
		{"RSA public", rsaPub, kmip.KeyFormatTypePKCS8, no, 0},
		{"EC", ecPriv, kmip.KeyFormatTypeECPrivateKey, 0, ttlv.ByteString},
		{"EC", ecPriv, kmip.KeyFormatTypePKCS8, 0, ttlv.ByteString},
		{"EC", ecPriv, kmip.KeyFormatTypePKCS1, no, 0},
		{"EC public", ecPub, kmip.KeyFormatTypeX509, 0, ttlv.ByteString},
		{"AES", aes, kmip.KeyFormatTypeRaw, 0, ttlv.ByteString},
		{"AES", aes, kmip.KeyFormatTypeTransparentSymmetricKey, 0, ttlv.Structure},
		{"AES", aes, kmip.KeyFormatTypePKCS8, no, 0},
		{"AES", aes, kmip.KeyFormatTypePKCS12, no, 0},
		{"AES", aes, 99, no, 0},
		{"secret", text, kmip.KeyFormatTypeOpaque, 0, ttlv.ByteString},
		{"certificate", cert, kmip.KeyFormatTypeX509, 0, 0},
		{"certificate", cert, kmip.KeyFormatTypeRaw, no, 0},
		{"opaque", data, kmip.KeyFormatTypeOpaque, 0, 0},
		{"opaque", data, kmip.KeyFormatTypeRaw, no, 0},
	} {
		what := row.name + " as " + row.format.String()
		resp, err := c.get(row.uid, kmip.GetRequest{KeyFormatType: row.format})
		wantReason(t, what, err, row.reason)
		if err != nil || row.typ == 0 {
			continue
		}
		kb := blockOf(resp)
		m := kb.KeyValue.Find(kmip.TagKeyMaterial)
		if kb.KeyFormatType != row.format || m.Type != row.typ {
			t.Errorf("%s: got %s and a %s, want a %s", what, kb.KeyFormatType, m.Type, row.typ)
		}
		if row.name == "RSA" && row.typ == ttlv.ByteString {
			if got, want := rsaKey(m.Value), rsaKey(c.material(rsaPriv)); got != want {
				t.Errorf("%s: got modulus %v, want %v", what, got, want)
			}
		}
	}
	_, err = c.get(aes, kmip.GetRequest{KeyCompressionType: kmip.KeyCompressionTypeECPublicKeyTypeX9_62CompressedPrime})
	wantReason(t, "compression of an AES key", err, kmip.ResultReasonKeyCompressionTypeNotSupported)
	_, err = c.get(aes, kmip.GetRequest{KeyWrapType: 77})
	wantReason(t, "unknown Key Wrap Type", err, kmip.ResultReasonInvalidField)
}

// The release classes: what is Sensitive leaves wrapped only, what is not Extractable not at all.
func TestReleaseClasses(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	kek := c.aes()
	c.ok(c.activate(kek))
	wrap := wrapRequest(kek, kmip.BlockCipherModeNISTKeyWrap, kmip.EncodingOptionNoEncoding)
	const sensitive, locked = kmip.ResultReasonSensitive, kmip.ResultReasonNotExtractable
	for _, row := range []struct {
		name                 string
		sens, extr           bool
		plain, wrapped, asRe kmip.ResultReason
	}{
		{"releasable", false, true, 0, 0, 0},
		{"wrapped only", true, true, sensitive, 0, sensitive},
		{"in place", false, false, locked, locked, locked},
		{"in place and sensitive", true, false, locked, locked, locked},
	} {
		attrs := []kmip.Attribute{at("Sensitive", boolValue(row.sens)), at("Extractable", boolValue(row.extr))}
		uids := map[string]string{"created": c.aes(attrs...), "registered": c.must(c.register(symmetric(marker(16)), attrs...))}
		later := c.aes()
		if row.sens {
			c.ok(c.modify(later, attrs[0]))
		}
		if !row.extr {
			c.ok(c.modify(later, attrs[1]))
		}
		uids["modified"] = later
		for what, uid := range uids {
			_, err := c.get(uid, kmip.GetRequest{})
			wantReason(t, row.name+", "+what+", plain", err, row.plain)
			_, err = c.get(uid, wrap)
			wantReason(t, row.name+", "+what+", wrapped", err, row.wrapped)
			_, err = c.get(uid, kmip.GetRequest{KeyWrapType: kmip.KeyWrapTypeAsRegistered})
			wantReason(t, row.name+", "+what+", as registered", err, row.asRe)
			_, err = c.get(uid, kmip.GetRequest{KeyFormatType: kmip.KeyFormatTypeTransparentSymmetricKey})
			wantReason(t, row.name+", "+what+", transparent", err, row.plain)
			if row.sens {
				wantReason(t, "taking Sensitive back", c.modify(uid, at("Sensitive", boolValue(false))), kmip.ResultReasonPermissionDenied)
			}
			if !row.extr {
				wantReason(t, "giving Extractable back", c.modify(uid, at("Extractable", boolValue(true))), kmip.ResultReasonPermissionDenied)
			}
			always, never := c.value(uid, "Always Sensitive").Bool(), c.value(uid, "Never Extractable").Bool()
			if fromStart := what != "modified"; always != (row.sens && fromStart) || never != (!row.extr && fromStart) {
				t.Errorf("%s, %s: got Always Sensitive %t, Never Extractable %t", row.name, what, always, never)
			}
		}
	}
	uid := c.must(c.register(opaque(marker(8)), at("Sensitive", boolValue(true))))
	_, err := c.get(uid, kmip.GetRequest{})
	wantReason(t, "sensitive opaque", err, sensitive)
	_, err = c.get(uid, wrap)
	wantReason(t, "opaque, wrapped", err, kmip.ResultReasonIllegalOperation)
}

// A private key comes as PKCS#12 with its chain, under the password that it links to.
func TestPKCS12(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	root := makeCert(t, pkix.Name{CommonName: "root"}, nil)
	leaf := makeCert(t, pkix.Name{CommonName: "leaf"}, root)
	link := func(t kmip.LinkType, uid string) kmip.Attribute {
		return at("Link", structValue(&kmip.Link{LinkType: t, LinkedObjectIdentifier: uid}))
	}
	password := c.must(c.register(secret([]byte("pass word"))))
	seed := secret(marker(8))
	seed.SecretData.SecretDataType = kmip.SecretDataTypeSeed
	noPassword := c.must(c.register(seed))
	rootUID := c.must(c.register(certificate(root.Raw)))
	leafUID := c.must(c.register(certificate(leaf.Raw), link(kmip.LinkTypePKCS12CertificateLink, rootUID)))
	p, cl := link(kmip.LinkTypePKCS12PasswordLink, password), link(kmip.LinkTypePKCS12CertificateLink, leafUID)
	const field, missing = kmip.ResultReasonInvalidField, kmip.ResultReasonItemNotFound
	for _, row := range []struct {
		name   string
		attrs  []kmip.Attribute
		reason kmip.ResultReason
	}{
		{"both links", []kmip.Attribute{p, cl}, 0},
		{"no password", []kmip.Attribute{cl}, field},
		{"two passwords", []kmip.Attribute{p, link(kmip.LinkTypePKCS12PasswordLink, noPassword), cl}, field},
		{"a password that is a seed", []kmip.Attribute{link(kmip.LinkTypePKCS12PasswordLink, noPassword), cl}, field},
		{"a password that is a certificate", []kmip.Attribute{link(kmip.LinkTypePKCS12PasswordLink, leafUID), cl}, field},
		{"a password that is not there", []kmip.Attribute{link(kmip.LinkTypePKCS12PasswordLink, "none"), cl}, missing},
		{"no certificate", []kmip.Attribute{p}, field},
		{"a certificate that is a secret", []kmip.Attribute{p, link(kmip.LinkTypePKCS12CertificateLink, password)}, field},
		{"a certificate that is not there", []kmip.Attribute{p, link(kmip.LinkTypePKCS12CertificateLink, "none")}, missing},
		{"sensitive", []kmip.Attribute{p, cl, at("Sensitive", boolValue(true))}, kmip.ResultReasonSensitive},
		{"not extractable", []kmip.Attribute{p, cl, at("Extractable", boolValue(false))}, kmip.ResultReasonNotExtractable},
	} {
		uid := c.must(c.register(privateKey(t, ecKey()), row.attrs...))
		resp, err := c.get(uid, kmip.GetRequest{KeyFormatType: kmip.KeyFormatTypePKCS12})
		wantReason(t, row.name, err, row.reason)
		if err != nil {
			continue
		}
		key, cert, chain, err := pkcs12.DecodeChain(resp.PrivateKey.KeyBlock.KeyValue.Value, "pass word")
		c.ok(err)
		if !ecKey().Equal(key.(*ecdsa.PrivateKey)) || !cert.Equal(leaf) || len(chain) != 1 || !chain[0].Equal(root) {
			t.Errorf("%s: got another key or chain", row.name)
		}
	}
	// Another client's password is none.
	uid := b.client("bob").must(b.client("bob").register(privateKey(t, ecKey()), p, cl))
	_, err := b.client("bob").get(uid, kmip.GetRequest{KeyFormatType: kmip.KeyFormatTypePKCS12})
	wantReason(t, "another client's password", err, missing)
}

// Get does not serve an object whose token object has gone, and says what is wrong.
func TestMissingOnToken(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	uid := c.aes()
	r, _ := ref(c.record(uid).Handle)
	b.fake.Remove(r)
	_, err := c.get(uid, kmip.GetRequest{})
	wantReason(t, "Get", err, kmip.ResultReasonGeneralFailure)
	rep, err := b.s.Fsck(context.Background(), true)
	c.ok(err)
	if len(rep.Missing) != 1 || rep.Missing[0] != uid || rep.Clean() {
		t.Errorf("Fsck: got %+v, want the key missing", rep)
	}
	c.ok(c.destroy(uid))
	b.wantClean()
}
