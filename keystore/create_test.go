package keystore

import (
	"crypto/x509/pkix"
	"testing"
	"time"

	"kmipd/hsm"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

func TestCreateErrors(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	aes, enc := kmip.CryptographicAlgorithmAES, kmip.CryptographicUsageMaskEncrypt
	without := func(name string, attrs []kmip.Attribute) []kmip.Attribute {
		var out []kmip.Attribute
		for _, a := range attrs {
			if a.AttributeName != name {
				out = append(out, a)
			}
		}
		return out
	}
	plus := func(a ...kmip.Attribute) []kmip.Attribute { return append(aesAttributes(256), a...) }
	const field, message = kmip.ResultReasonInvalidField, kmip.ResultReasonInvalidMessage
	symmetricType := kmip.ObjectTypeSymmetricKey
	for _, row := range []struct {
		name   string
		typ    kmip.ObjectType
		attrs  []kmip.Attribute
		reason kmip.ResultReason
	}{
		{"AES-128", symmetricType, aesAttributes(128), 0},
		{"AES-192", symmetricType, aesAttributes(192), 0},
		{"AES-256", symmetricType, aesAttributes(256), 0},
		{"3DES-168", symmetricType, attributesOf(kmip.CryptographicAlgorithmDES3, 168, enc), 0},
		{"3DES-112", symmetricType, attributesOf(kmip.CryptographicAlgorithmDES3, 112, enc), 0},
		{"SKIPJACK", symmetricType, attributesOf(kmip.CryptographicAlgorithmSKIPJACK, 80, enc), 0},
		{"HMAC", symmetricType, attributesOf(kmip.CryptographicAlgorithmHMACSHA256, 256, kmip.CryptographicUsageMaskMACGenerate), 0},
		{"secret data", kmip.ObjectTypeSecretData, []kmip.Attribute{at("Cryptographic Length", intValue(int32(64))), mask(enc)}, 0},
		{"secret data without length", kmip.ObjectTypeSecretData, []kmip.Attribute{mask(enc)}, field},
		{"secret data of 7 bits", kmip.ObjectTypeSecretData, []kmip.Attribute{at("Cryptographic Length", intValue(int32(7)))}, field},
		{"a private key", kmip.ObjectTypePrivateKey, plus(), field},
		{"a certificate", kmip.ObjectTypeCertificate, plus(), field},
		{"a template", kmip.ObjectTypeTemplate, plus(), field},
		{"an unknown type", 99, plus(), field},
		{"no length", symmetricType, without("Cryptographic Length", plus()), field},
		{"no algorithm", symmetricType, without("Cryptographic Algorithm", plus()), field},
		{"no mask", symmetricType, without("Cryptographic Usage Mask", plus()), field},
		{"AES-64", symmetricType, attributesOf(aes, 64, enc), field},
		{"AES of no length", symmetricType, attributesOf(aes, 0, enc), field},
		{"AES of negative length", symmetricType, attributesOf(aes, -128, enc), field},
		{"RSA", symmetricType, attributesOf(kmip.CryptographicAlgorithmRSA, 2048, enc), field},
		{"ChaCha20", symmetricType, attributesOf(kmip.CryptographicAlgorithmChaCha20, 256, enc), field},
		{"unknown algorithm", symmetricType, attributesOf(99, 256, enc), field},
		{"HMAC of 7 bits", symmetricType, attributesOf(kmip.CryptographicAlgorithmHMACSHA1, 7, enc), field},
		{"HMAC too long", symmetricType, attributesOf(kmip.CryptographicAlgorithmHMACSHA1, maxSecretBits+8, enc), field},
		{"length twice", symmetricType, plus(at("Cryptographic Length", intValue(int32(256)))), field},
		{"unknown attribute", symmetricType, plus(at("Flavour", textValue("x"))), field},
		{"missing value", symmetricType, plus(at("Comment", ttlv.Item{})), message},
		{"RNG that is not the token's", symmetricType, plus(at("Random Number Generator", structValue(&kmip.RNGParameters{RNGAlgorithm: kmip.RNGAlgorithmDRBG}))), field},
		{"RNG unspecified", symmetricType, plus(at("Random Number Generator", structValue(&kmip.RNGParameters{RNGAlgorithm: kmip.RNGAlgorithmUnspecified}))), 0},
	} {
		before := b.fake.Len()
		_, err := c.create(row.typ, row.attrs...)
		wantReason(t, row.name, err, row.reason)
		if err != nil && b.fake.Len() != before {
			t.Errorf("%s: refused, but the token has another object", row.name)
		}
	}
	b.wantClean()
}

// What the server gives a new object by itself.
func TestCreatedAttributes(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	uid := c.aes()
	for name, want := range map[string]ttlv.Item{
		"Unique Identifier": textValue(uid), "Object Type": enumValue(kmip.ObjectTypeSymmetricKey), "Initial Date": timeValue(epoch),
		"Last Change Date": timeValue(epoch), "Original Creation Date": timeValue(epoch), "Lease Time": intervalValue(3600),
		"Fresh": boolValue(true), "Sensitive": boolValue(false), "Always Sensitive": boolValue(false), "Extractable": boolValue(true),
		"Never Extractable": boolValue(false), "State": enumValue(kmip.StatePreActive),
	} {
		if got := c.value(uid, name); !got.Equal(want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	registered := c.must(c.register(symmetric(marker(16)), at("Original Creation Date", timeValue(epoch.Add(-time.Hour)))))
	if got := c.value(registered, "Original Creation Date").Time(); !got.Equal(epoch.Add(-time.Hour)) {
		t.Errorf("Original Creation Date of a registered key: got %s, want the client's", got)
	}
	if !c.value(c.must(c.register(symmetric(marker(16)))), "Original Creation Date").IsZero() {
		t.Error("a registered key has an Original Creation Date that nobody gave")
	}
}

// TestRegisterErrors is KMIP 1.4 section 11.4.
func TestRegisterErrors(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	with := func(req *kmip.RegisterRequest, change func(*kmip.KeyBlock)) *kmip.RegisterRequest {
		change(registeredBlock(req))
		return req
	}
	noMask := func(req *kmip.RegisterRequest) *kmip.RegisterRequest {
		req.TemplateAttribute.Attribute = nil
		return req
	}
	split := func(parts, part, threshold int32, method kmip.SplitKeyMethod) *kmip.RegisterRequest {
		return &kmip.RegisterRequest{ObjectType: kmip.ObjectTypeSplitKey, SplitKey: &kmip.SplitKey{SplitKeyParts: parts, KeyPartIdentifier: part, SplitKeyThreshold: threshold,
			SplitKeyMethod: method, KeyBlock: kmip.KeyBlock{KeyFormatType: kmip.KeyFormatTypeRaw, KeyValue: structured(marker(16))}}}
	}
	badSecret := secret(marker(8))
	badSecret.SecretData.SecretDataType = 99
	reference := with(symmetric(marker(16)), func(kb *kmip.KeyBlock) { kb.KeyValue = ttlv.Item{} })
	fromTemplate := symmetric(marker(16))
	fromTemplate.TemplateAttribute.Name = []kmip.Name{{NameValue: "none", NameType: kmip.NameTypeUninterpretedTextString}}
	const field, message = kmip.ResultReasonInvalidField, kmip.ResultReasonInvalidMessage
	xor := kmip.SplitKeyMethodXOR
	for _, row := range []struct {
		name   string
		req    *kmip.RegisterRequest
		attrs  []kmip.Attribute
		reason kmip.ResultReason
	}{
		{"unknown type", &kmip.RegisterRequest{ObjectType: 99}, nil, field},
		{"template that is not there", fromTemplate, nil, kmip.ResultReasonItemNotFound},
		{"no mask", noMask(symmetric(marker(16))), nil, field},
		{"no mask, private key", noMask(privateKey(t, ecKey())), nil, field},
		{"no mask, public key", noMask(publicKey(t, ecKey())), nil, field},
		{"no mask, secret", secret(marker(8)), nil, 0},
		{"algorithm does not fit", symmetric(marker(16)), []kmip.Attribute{at("Cryptographic Algorithm", enumValue(kmip.CryptographicAlgorithmDES3))}, field},
		{"length does not fit", symmetric(marker(16)), []kmip.Attribute{at("Cryptographic Length", intValue(int32(256)))}, field},
		{"length in the block does not fit", with(symmetric(marker(16)), func(kb *kmip.KeyBlock) { kb.CryptographicLength = ptr(int32(192)) }), nil, field},
		{"no algorithm", with(symmetric(marker(16)), func(kb *kmip.KeyBlock) { kb.CryptographicAlgorithm = 0 }), nil, field},
		{"empty key", with(symmetric(marker(16)), func(kb *kmip.KeyBlock) { kb.KeyValue = structured(nil) }), nil, field},
		{"not wrapped, but octets", with(symmetric(marker(16)), func(kb *kmip.KeyBlock) { kb.KeyValue = byteString(marker(16)) }), nil, field},
		{"unknown format", with(symmetric(marker(16)), func(kb *kmip.KeyBlock) { kb.KeyFormatType = 77 }), nil, field},
		{"format of another key", with(symmetric(marker(16)), func(kb *kmip.KeyBlock) { kb.KeyFormatType = kmip.KeyFormatTypePKCS1 }), nil, field},
		{"PKCS#12", with(privateKey(t, ecKey()), func(kb *kmip.KeyBlock) { kb.KeyFormatType = kmip.KeyFormatTypePKCS12 }), nil, field},
		{"no value", reference, nil, message},
		{"no value, but a place", reference, []kmip.Attribute{at("Key Value Location", structValue(&kmip.KeyValueLocation{KeyValueLocationValue: "there", KeyValueLocationType: kmip.KeyValueLocationTypeURI}))}, 0},
		{"secret of an unknown type", badSecret, nil, field},
		{"split", split(3, 1, 2, xor), nil, 0},
		{"split, threshold", split(3, 1, 4, xor), nil, field},
		{"split, no threshold", split(3, 1, 0, xor), nil, field},
		{"split, part", split(3, 4, 2, xor), nil, field},
		{"split, part 0", split(3, 0, 2, xor), nil, field},
		{"split, method", split(3, 1, 2, 99), nil, field},
		{"split, prime field", split(3, 1, 2, kmip.SplitKeyMethodPolynomialSharingPrimeField), nil, field},
		{"certificate, algorithm", certificate(makeCert(t, pkix.Name{CommonName: "c"}, nil).Raw), []kmip.Attribute{at("Cryptographic Algorithm", enumValue(kmip.CryptographicAlgorithmRSA))}, field},
		{"certificate, length", certificate(makeCert(t, pkix.Name{CommonName: "c"}, nil).Raw), []kmip.Attribute{at("Cryptographic Length", intValue(int32(384)))}, field},
		{"certificate, octets", certificate([]byte("no certificate")), nil, field},
		{"template without Name", template(), nil, field},
		{"template with unknown attribute", template(at("Flavour", textValue("x"))), []kmip.Attribute{named("t")}, field},
		{"template with read-only attribute", template(at("State", enumValue(kmip.StateActive))), []kmip.Attribute{named("t")}, field},
		{"template with a Name inside", template(named("t")), nil, field},
	} {
		before := b.fake.Len()
		_, err := c.register(row.req, row.attrs...)
		wantReason(t, row.name, err, row.reason)
		if err != nil && b.fake.Len() != before {
			t.Errorf("%s: refused, but the token has another object", row.name)
		}
	}
	for v, want := range map[kmip.Version]kmip.ResultReason{kmip.V1_0: 0, kmip.V1_2: 0, kmip.V1_3: field, kmip.V1_4: field} {
		_, err := c.in(v).register(template(named("inside " + v.String())))
		wantReason(t, "template with a Name inside in "+v.String(), err, want)
	}
	b.wantClean()
}

// A key whose value is elsewhere has attributes and no material.
func TestReference(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	place := at("Key Value Location", structValue(&kmip.KeyValueLocation{KeyValueLocationValue: "there", KeyValueLocationType: kmip.KeyValueLocationTypeURI}))
	req := symmetric(marker(16))
	req.SymmetricKey.KeyBlock.KeyValue = ttlv.Item{}
	uid := c.must(c.register(req, place))
	if n := b.fake.Len(); n != 0 {
		t.Errorf("got %d token objects, want none", n)
	}
	if v := c.value(uid, "Key Value Present"); v.IsZero() || v.Bool() {
		t.Errorf("Key Value Present: got %v, want false", v)
	}
	resp, err := c.get(uid, kmip.GetRequest{})
	c.ok(err)
	if kb := blockOf(resp); !kb.KeyValue.IsZero() || kb.CryptographicAlgorithm != kmip.CryptographicAlgorithmAES || *kb.CryptographicLength != 128 {
		t.Errorf("got Key Block %+v, want algorithm and length alone", kb)
	}
	kek := c.aes()
	c.ok(c.activate(kek))
	_, err = c.get(uid, wrapRequest(kek, kmip.BlockCipherModeNISTKeyWrap, 0))
	wantReason(t, "Get wrapped", err, kmip.ResultReasonKeyValueNotPresent)
	_, err = c.get(uid, kmip.GetRequest{KeyFormatType: kmip.KeyFormatTypeTransparentSymmetricKey})
	wantReason(t, "Get in another format", err, kmip.ResultReasonKeyValueNotPresent)
	c.ok(c.activate(uid))
	wantReason(t, "wrap with it", c.wrapWith(uid), kmip.ResultReasonPermissionDenied)
	c.ok(c.revoke(uid, kmip.RevocationReasonCodeSuperseded))
	c.ok(c.destroy(uid))
	b.wantClean()
}

func TestCreateKeyPairErrors(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	alg := func(a kmip.CryptographicAlgorithm) kmip.Attribute {
		return at("Cryptographic Algorithm", enumValue(a))
	}
	bits := func(n int32) kmip.Attribute { return at("Cryptographic Length", intValue(n)) }
	curve := func(v kmip.RecommendedCurve) kmip.Attribute {
		return at("Cryptographic Domain Parameters", structValue(&kmip.CryptographicDomainParameters{RecommendedCurve: v}))
	}
	rsa, ecdsa := alg(kmip.CryptographicAlgorithmRSA), alg(kmip.CryptographicAlgorithmECDSA)
	const field = kmip.ResultReasonInvalidField
	for _, row := range []struct {
		name                  string
		common, private, publ []kmip.Attribute
		reason                kmip.ResultReason
	}{
		{"RSA", []kmip.Attribute{rsa, bits(1024)}, nil, nil, 0},
		{"length in the private half", []kmip.Attribute{rsa}, []kmip.Attribute{bits(1024)}, nil, 0},
		{"EC by length", []kmip.Attribute{ecdsa, bits(384)}, nil, nil, 0},
		{"EC by curve", []kmip.Attribute{ecdsa, curve(kmip.RecommendedCurveP521)}, nil, nil, 0},
		{"no algorithm", []kmip.Attribute{bits(1024)}, nil, nil, kmip.ResultReasonInvalidMessage},
		{"nothing", nil, nil, nil, kmip.ResultReasonInvalidMessage},
		{"RSA without length", []kmip.Attribute{rsa}, nil, nil, field},
		{"RSA 1000", []kmip.Attribute{rsa, bits(1000)}, nil, nil, field},
		{"EC without curve", []kmip.Attribute{ecdsa}, nil, nil, field},
		{"EC 255", []kmip.Attribute{ecdsa, bits(255)}, nil, nil, field},
		{"curve and length", []kmip.Attribute{ecdsa, bits(256), curve(kmip.RecommendedCurveP384)}, nil, nil, field},
		{"unknown curve", []kmip.Attribute{ecdsa, curve(kmip.RecommendedCurveB163)}, nil, nil, field},
		{"AES", []kmip.Attribute{alg(kmip.CryptographicAlgorithmAES), bits(256)}, nil, nil, field},
		{"two algorithms", nil, []kmip.Attribute{rsa, bits(1024)}, []kmip.Attribute{ecdsa}, field},
		{"two lengths", []kmip.Attribute{rsa}, []kmip.Attribute{bits(1024)}, []kmip.Attribute{bits(2048)}, field},
		{"unknown attribute", []kmip.Attribute{rsa, bits(1024), at("Flavour", textValue("x"))}, nil, nil, field},
		{"does not apply, common", []kmip.Attribute{rsa, bits(1024), at("Lease Time", intervalValue(1))}, nil, nil, 0},
		{"does not apply, private", []kmip.Attribute{rsa, bits(1024)}, []kmip.Attribute{at("Lease Time", intervalValue(1))}, nil, field},
	} {
		before := b.fake.Len()
		_, _, err := c.createPair(with(row.common...), with(row.private...), with(row.publ...))
		wantReason(t, row.name, err, row.reason)
		if err != nil && b.fake.Len() != before {
			t.Errorf("%s: refused, but the token has other objects", row.name)
		}
	}
	b.wantClean()
}

// The token holds what the record says, flags included.
func TestTokenUsage(t *testing.T) {
	for _, row := range []struct {
		typ  kmip.ObjectType
		mask kmip.CryptographicUsageMask
		want hsm.Usage
	}{
		{kmip.ObjectTypeSymmetricKey, 0, 0},
		{kmip.ObjectTypeSymmetricKey, kmip.CryptographicUsageMaskEncrypt, hsm.UsageEncrypt},
		{kmip.ObjectTypeSymmetricKey, kmip.CryptographicUsageMaskDecrypt, hsm.UsageDecrypt},
		{kmip.ObjectTypeSymmetricKey, kmip.CryptographicUsageMaskWrapKey, hsm.UsageWrap | hsm.UsageUnwrap},
		{kmip.ObjectTypeSymmetricKey, kmip.CryptographicUsageMaskMACGenerate, hsm.UsageSign},
		{kmip.ObjectTypeSymmetricKey, kmip.CryptographicUsageMaskMACVerify, hsm.UsageVerify},
		{kmip.ObjectTypePrivateKey, kmip.CryptographicUsageMaskKeyAgreement, hsm.UsageDerive},
		{kmip.ObjectTypeSymmetricKey, kmip.CryptographicUsageMaskDeriveKey, hsm.UsageDerive | hsm.UsageSign},
		{kmip.ObjectTypeSecretData, kmip.CryptographicUsageMaskDeriveKey, hsm.UsageDerive | hsm.UsageSign},
		{kmip.ObjectTypePrivateKey, kmip.CryptographicUsageMaskDeriveKey, hsm.UsageDerive},
		{kmip.ObjectTypePublicKey, kmip.CryptographicUsageMaskWrapKey, hsm.UsageWrap},
		{kmip.ObjectTypePublicKey, kmip.CryptographicUsageMaskVerify, hsm.UsageVerify},
		{kmip.ObjectTypePrivateKey, kmip.CryptographicUsageMaskUnwrapKey, hsm.UsageUnwrap},
		{kmip.ObjectTypePrivateKey, kmip.CryptographicUsageMaskSign, hsm.UsageSign},
		{kmip.ObjectTypePrivateKey, kmip.CryptographicUsageMaskCertificateSign, hsm.UsageSign},
	} {
		b := newBench(t)
		o := b.s.newRecord(b.client("alice").call(b.s.Begin(false), ""), row.typ)
		o.put("Cryptographic Usage Mask", intValue(row.mask))
		if got := tokenUsage(o); got != row.want {
			t.Errorf("%s, %s: got %b, want %b", row.typ, row.mask, got, row.want)
		}
	}
}
