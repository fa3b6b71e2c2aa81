package keystore

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/fips140"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/kmip"
)

// The paths on which a policy is asked (fips.md section 2.5), each with the Result Reason of profiles.md section 5.

// strictBench is a bench whose server has a strict policy. The policy reads the bench's clock.
func strictBench(t testing.TB, policy string, switches ...fips.Switch) *bench {
	t.Helper()
	b := newBench(t)
	b.under(policy, switches...)
	return b
}

// under starts the server anew with another policy, on the records and the token that are there: keys that clients made
// before become what the policy makes of them.
func (b *bench) under(policy string, switches ...fips.Switch) {
	b.t.Helper()
	p, err := fips.New(policy, fips.Options{Switches: switches, Clock: b.clock})
	if err != nil {
		b.t.Fatal(err)
	}
	b.s.Close()
	b.policy = p
	b.start(b.db, b.fake)
}

// clear lets keys leave in clear, so that tests can look at them.
func (b *bench) clear(policy string, switches ...fips.Switch) client {
	b.t.Helper()
	b.cfg.Release = ReleaseClear
	b.under(policy, switches...)
	return b.client("alice")
}

const (
	invalid = kmip.ResultReasonInvalidField
	refused = kmip.ResultReasonPermissionDenied
	formats = kmip.ResultReasonKeyFormatTypeNotSupported
	coding  = kmip.ResultReasonEncodingOptionError
)

// wantRefusal wants the Result Reason (0 for success), and in the message the policy and the field.
func wantRefusal(t testing.TB, what string, err error, reason kmip.ResultReason, policy, field string) {
	t.Helper()
	wantReason(t, what, err, reason)
	if reason == 0 || err == nil {
		return
	}
	var by interface {
		Refusal() (policy, rule, source string)
	}
	if !errors.As(err, &by) {
		t.Errorf("%s: got %q, which reports do not know as a refusal by a policy", what, err)
	} else if name, rule, _ := by.Refusal(); name != policy || !strings.Contains(rule, field) {
		t.Errorf("%s: reports have it as refused by %s: %s", what, name, rule)
	}
	if !strings.Contains(err.Error(), "policy "+policy) || !strings.Contains(err.Error(), field) {
		t.Errorf("%s: got %q, want policy %s and %q named", what, err, policy, field)
	}
}

// cell is what one policy makes of a request.
type cell struct {
	policy string
	reason kmip.ResultReason
	field  string
}

func (c cell) check(t testing.TB, what string, err error) {
	t.Helper()
	wantRefusal(t, c.policy+": "+what, err, c.reason, c.policy, c.field)
}

// ecOn is an EC key on a curve; rsaOf an RSA key of a length and exponent; each made once.
func ecOn(curve elliptic.Curve) *ecdsa.PrivateKey {
	return made("ec"+curve.Params().Name, func() any {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			panic(err)
		}
		return key
	}).(*ecdsa.PrivateKey)
}

func rsaOf(bits int, e int64) *rsa.PrivateKey {
	return made("rsa"+big.NewInt(int64(bits)).String()+"-"+big.NewInt(e).String(), func() any {
		for {
			p, err1 := rand.Prime(rand.Reader, bits/2)
			q, err2 := rand.Prime(rand.Reader, bits/2)
			if err1 != nil || err2 != nil {
				panic("no primes")
			}
			one, exp := big.NewInt(1), big.NewInt(e)
			phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
			d := new(big.Int).ModInverse(exp, phi)
			n := new(big.Int).Mul(p, q)
			if d == nil || n.BitLen() != bits || p.Cmp(q) == 0 {
				continue
			}
			k := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: n, E: int(e)}, D: d, Primes: []*big.Int{p, q}}
			k.Precompute()
			return k
		}
	}).(*rsa.PrivateKey)
}

var madeKeys sync.Map

// made makes a key outside of Go's FIPS mode: it stands for a client's.
func made(name string, make func() any) any {
	v, _ := madeKeys.LoadOrStore(name, sync.OnceValue(func() (key any) {
		fips140.WithoutEnforcement(func() { key = make() })
		return key
	}))
	return v.(func() any)()
}

// privateOfKind is a Register request for a private key, publicOfKind one for its public half.
func privateOfKind(t testing.TB, key any, m kmip.CryptographicUsageMask) *kmip.RegisterRequest {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &kmip.RegisterRequest{ObjectType: kmip.ObjectTypePrivateKey, TemplateAttribute: *with(active(m)...),
		PrivateKey: &kmip.PrivateKey{KeyBlock: kmip.KeyBlock{KeyFormatType: kmip.KeyFormatTypePKCS8, KeyValue: structured(der)}}}
}

func publicOfKind(t testing.TB, public any, m kmip.CryptographicUsageMask) *kmip.RegisterRequest {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return &kmip.RegisterRequest{ObjectType: kmip.ObjectTypePublicKey, TemplateAttribute: *with(active(m)...),
		PublicKey: &kmip.PublicKey{KeyBlock: kmip.KeyBlock{KeyFormatType: kmip.KeyFormatTypeX509, KeyValue: structured(der)}}}
}

// sec1 is a Register request for an EC private key in the one private format that Suite B knows.
func sec1(t testing.TB, key *ecdsa.PrivateKey, m kmip.CryptographicUsageMask) *kmip.RegisterRequest {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &kmip.RegisterRequest{ObjectType: kmip.ObjectTypePrivateKey, TemplateAttribute: *with(active(m)...),
		PrivateKey: &kmip.PrivateKey{KeyBlock: kmip.KeyBlock{KeyFormatType: kmip.KeyFormatTypeECPrivateKey, KeyValue: structured(der)}}}
}

func ofAlgorithm(value []byte, a kmip.CryptographicAlgorithm, bits int32, m kmip.CryptographicUsageMask) *kmip.RegisterRequest {
	req := symmetric(value)
	req.TemplateAttribute = *with(active(m)...)
	req.SymmetricKey.KeyBlock.CryptographicAlgorithm, req.SymmetricKey.KeyBlock.CryptographicLength = a, &bits
	return req
}

// Create makes what the policy allows to generate and nothing else.
func TestStrictCreate(t *testing.T) {
	const aes, des3, sha256, sha512, chacha = kmip.CryptographicAlgorithmAES, kmip.CryptographicAlgorithmDES3, kmip.CryptographicAlgorithmHMACSHA256,
		kmip.CryptographicAlgorithmHMACSHA512, kmip.CryptographicAlgorithmChaCha20
	for policy, allowed := range map[string]map[kmip.CryptographicAlgorithm][]int32{
		"fips140":   {aes: {128, 192, 256}, sha256: {112, 128, 256}, sha512: {112, 128, 256, 512}},
		"suiteb128": {aes: {128, 256}, sha256: {128, 256}},
		"suiteb192": {aes: {256}},
		"cnsa1":     {aes: {256}},
		"cnsa2":     {aes: {256}, sha512: {256, 512}},
	} {
		c := strictBench(t, policy).client("alice")
		for a, lengths := range map[kmip.CryptographicAlgorithm][]int32{aes: {128, 192, 256}, des3: {112, 168}, sha256: {104, 112, 128, 256},
			sha512: {104, 112, 128, 256, 512}, chacha: {256}} {
			for _, n := range lengths {
				want := cell{policy, invalid, "Cryptographic"}
				for _, ok := range allowed[a] {
					if ok == n {
						want.reason = 0
					}
				}
				uid, err := c.create(kmip.ObjectTypeSymmetricKey, attributesOf(a, n, both)...)
				want.check(t, a.String(), err)
				if err == nil && (!c.value(uid, "Sensitive").Bool()) {
					t.Errorf("%s: the key is not Sensitive, though keys leave wrapped alone", policy)
				}
			}
		}
		_, err := c.create(kmip.ObjectTypeSecretData, at("Cryptographic Length", intValue(int32(256))), mask(kmip.CryptographicUsageMask(0)))
		want := cell{policy, 0, ""}
		if strings.HasPrefix(policy, "suiteb") {
			want = cell{policy, invalid, "Object Type"}
		}
		want.check(t, "Secret Data", err)
		c.wantClean()
	}
	c := strictBench(t, "suiteb128", fips.AllowOtherObject).client("alice")
	_, err := c.create(kmip.ObjectTypeSecretData, at("Cryptographic Length", intValue(int32(256))), mask(kmip.CryptographicUsageMask(0)))
	wantReason(t, "Secret Data with other-objects", err, 0)
}

// Cryptographic Parameters are refused when they are set, with Create, Register, a Template or later.
func TestStrictParameters(t *testing.T) {
	b := newBench(t)
	old := b.client("alice").aes()
	b.under("fips140")
	c := b.client("alice")
	for i, p := range []struct {
		params kmip.CryptographicParameters
		reason kmip.ResultReason
		field  string
	}{
		{kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeGCM}, 0, ""},
		{kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeCBC, PaddingMethod: kmip.PaddingMethodPKCS5}, 0, ""},
		{kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeECB}, 0, ""}, // decryption is left
		{kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModePCBC}, invalid, "Block Cipher Mode"},
		{kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeCBC, PaddingMethod: kmip.PaddingMethodZeros}, invalid, "Padding Method"},
		{kmip.CryptographicParameters{HashingAlgorithm: kmip.HashingAlgorithmMD5}, invalid, "Hashing Algorithm"},
		{kmip.CryptographicParameters{HashingAlgorithm: kmip.HashingAlgorithmSHA256, MaskGeneratorHashingAlgorithm: kmip.HashingAlgorithmMD5}, invalid, "Hashing Algorithm"},
		{kmip.CryptographicParameters{DigitalSignatureAlgorithm: kmip.DigitalSignatureAlgorithmMD5WithRSAEncryptionPKCS1V1_5}, invalid, "Digital Signature Algorithm"},
	} {
		want := cell{"fips140", p.reason, p.field}
		_, err := c.create(kmip.ObjectTypeSymmetricKey, append(aesAttributes(256), parameters(p.params))...)
		want.check(t, "Create", err)
		_, err = c.register(symmetric(marker(32)), parameters(p.params))
		want.check(t, "Register", err)
		want.check(t, "Import", c.imports(importAES(fmt.Sprint("import-", i), parameters(p.params))))
		want.check(t, "Add Attribute", c.add(old, parameters(p.params)))
		_, err = c.register(template(parameters(p.params)), named(fmt.Sprint("template-", i)))
		want.check(t, "a Template", err)
	}
}

// Create Key Pair and its renewal.
func TestStrictKeyPairs(t *testing.T) {
	type pairOf struct {
		a     kmip.CryptographicAlgorithm
		bits  int32
		curve kmip.RecommendedCurve
	}
	pairs := []pairOf{{kmip.CryptographicAlgorithmRSA, 1024, 0}, {kmip.CryptographicAlgorithmRSA, 2048, 0}, {kmip.CryptographicAlgorithmRSA, 3072, 0},
		{kmip.CryptographicAlgorithmEC, 256, kmip.RecommendedCurveP256}, {kmip.CryptographicAlgorithmECDSA, 384, kmip.RecommendedCurveP384},
		{kmip.CryptographicAlgorithmECDSA, 521, kmip.RecommendedCurveP521}, {kmip.CryptographicAlgorithmECDH, 384, kmip.RecommendedCurveP384}}
	for policy, allowed := range map[string]string{"fips140": "-+++" + "+++", "suiteb128": "---++-+", "suiteb192": "----+-+", "cnsa1": "--+-+-+", "cnsa2": "-------"} {
		c := strictBench(t, policy).client("alice")
		for i, p := range pairs {
			attrs := []kmip.Attribute{at("Cryptographic Algorithm", enumValue(p.a)), at("Cryptographic Length", intValue(p.bits))}
			if p.curve != 0 {
				attrs = append(attrs, at("Cryptographic Domain Parameters", structValue(&kmip.CryptographicDomainParameters{RecommendedCurve: p.curve})))
			}
			priv, _, err := c.createPair(with(attrs...), nil, nil)
			want := cell{policy, invalid, "Cryptographic"}
			if allowed[i] == '+' {
				want.reason = 0
			}
			want.check(t, p.a.String(), err)
			if err == nil {
				_, err := do(c, kmip.OperationReKeyKeyPair, priv, c.s.ReKeyKeyPair, &kmip.ReKeyKeyPairRequest{})
				wantReason(t, policy+": Re-key Key Pair", err, 0)
			}
		}
		c.wantClean()
	}
}

// What was made before a strict policy is renewed as itself no more.
func TestStrictRekey(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	aes192 := c.must(c.create(kmip.ObjectTypeSymmetricKey, aesAttributes(192)...))
	priv, _, err := c.createPair(with(at("Cryptographic Algorithm", enumValue(kmip.CryptographicAlgorithmRSA)), at("Cryptographic Length", intValue(int32(2048)))), nil, nil)
	c.ok(err)
	b.under("suiteb128")
	c = b.client("alice")
	_, err = do(c, kmip.OperationReKey, aes192, c.s.ReKey, &kmip.ReKeyRequest{})
	wantRefusal(t, "Re-key", err, invalid, "suiteb128", "Cryptographic Length")
	_, err = do(c, kmip.OperationReKeyKeyPair, priv, c.s.ReKeyKeyPair, &kmip.ReKeyKeyPairRequest{})
	wantRefusal(t, "Re-key Key Pair", err, invalid, "suiteb128", "Cryptographic Algorithm")
	b.under("fips140")
	c = b.client("alice")
	renewed, err := do(c, kmip.OperationReKey, aes192, c.s.ReKey, &kmip.ReKeyRequest{})
	wantReason(t, "Re-key where it is allowed", err, 0)
	if err == nil && !c.value(renewed.UniqueIdentifier, "Sensitive").Bool() {
		t.Error("the new key leaves in clear, as the old one did before keys left wrapped alone")
	}
}

// Register, Import and unwrapping take in what the policy allows; keys of old only with legacy-import, for processing.
func TestStrictRegister(t *testing.T) {
	const sign, verify, decrypt = kmip.CryptographicUsageMaskSign, kmip.CryptographicUsageMaskVerify, kmip.CryptographicUsageMaskDecrypt
	p256, p384, p521, p224 := ecOn(elliptic.P256()), ecOn(elliptic.P384()), ecOn(elliptic.P521()), ecOn(elliptic.P224())
	n := int32(128)
	bare := &kmip.RegisterRequest{ObjectType: kmip.ObjectTypeSymmetricKey, TemplateAttribute: *with(append(active(both), at("Key Value Location",
		structValue(&kmip.KeyValueLocation{KeyValueLocationValue: "elsewhere", KeyValueLocationType: kmip.KeyValueLocationTypeUninterpretedTextString})))...),
		SymmetricKey: &kmip.SymmetricKey{KeyBlock: kmip.KeyBlock{KeyFormatType: kmip.KeyFormatTypeRaw}}}
	reference := *bare
	reference.SymmetricKey = &kmip.SymmetricKey{KeyBlock: kmip.KeyBlock{KeyFormatType: kmip.KeyFormatTypeRaw,
		CryptographicAlgorithm: kmip.CryptographicAlgorithmDES, CryptographicLength: &n}}
	part := foreignPart(kmip.SplitKeyMethodXOR, 2, 1, 2, marker(16))
	for _, row := range []struct {
		name  string
		req   *kmip.RegisterRequest
		cells map[string]string // by policy: what is refused, "" for nothing; fips140L is fips140 with legacy-import
	}{
		{"AES 128", symmetric(marker(16)), map[string]string{"fips140": "", "suiteb128": "", "suiteb192": "Cryptographic Length", "cnsa1": "Cryptographic Length"}},
		{"AES 256", symmetric(marker(32)), map[string]string{"fips140": "", "suiteb128": "", "suiteb192": "", "cnsa2": ""}},
		{"DES", ofAlgorithm(marker(8), kmip.CryptographicAlgorithmDES, 64, decrypt), map[string]string{"fips140": "Cryptographic Algorithm", "fips140L": "Cryptographic Algorithm"}},
		{"3DES to decrypt", ofAlgorithm(unhex(des3), kmip.CryptographicAlgorithmDES3, 192, decrypt),
			map[string]string{"fips140": "Cryptographic Algorithm", "fips140L": "", "suiteb128": "Cryptographic Algorithm"}},
		{"3DES to encrypt", ofAlgorithm(unhex(des3), kmip.CryptographicAlgorithmDES3, 192, both), map[string]string{"fips140L": "Cryptographic Usage Mask"}},
		{"HMAC of 80 bits", ofAlgorithm(marker(10), kmip.CryptographicAlgorithmHMACSHA256, 80, kmip.CryptographicUsageMaskMACVerify),
			map[string]string{"fips140": "Cryptographic", "fips140L": ""}},
		{"RSA 1024 to verify", publicOfKind(t, rsaOf(1024, 65537).Public(), verify),
			map[string]string{"fips140": "Cryptographic", "fips140L": "", "cnsa1": "Cryptographic"}},
		{"RSA 1024 to sign", privateOfKind(t, rsaOf(1024, 65537), sign), map[string]string{"fips140": "Cryptographic", "fips140L": "Cryptographic Usage Mask"}},
		{"RSA 2048", privateOfKind(t, rsaOf(2048, 65537), sign), map[string]string{"fips140": "", "cnsa1": "Cryptographic Length", "suiteb128": "Key Format Type"}},
		{"RSA 2048 with e = 3", privateOfKind(t, rsaOf(2048, 3), sign), map[string]string{"fips140": "Public Exponent", "fips140L": "Public Exponent"}},
		{"RSA 2048 with e = 3, public", publicOfKind(t, rsaOf(2048, 3).Public(), verify), map[string]string{"fips140": "Public Exponent"}},
		{"P-256", sec1(t, p256, sign), map[string]string{"fips140": "", "suiteb128": "", "suiteb192": "Cryptographic Length", "cnsa1": "Cryptographic Length", "cnsa2": "Cryptographic Algorithm"}},
		{"P-384", sec1(t, p384, sign), map[string]string{"fips140": "", "suiteb128": "", "suiteb192": "", "cnsa1": "", "cnsa2": "Cryptographic Algorithm"}},
		{"P-521", sec1(t, p521, sign), map[string]string{"fips140": "", "suiteb128": "Cryptographic Length", "cnsa1": "Cryptographic Length"}},
		{"P-224", publicOfKind(t, p224.Public(), verify), map[string]string{"fips140": "", "suiteb128": "Cryptographic Length"}},
		{"P-384 in PKCS#8", privateOfKind(t, p384, sign), map[string]string{"fips140": "", "cnsa1": "", "suiteb128": "Key Format Type", "suiteb192": "Key Format Type"}},
		{"secp256k1", secp256k1(t), map[string]string{"fips140": "Recommended Curve", "fips140L": "Recommended Curve", "suiteb128": "Recommended Curve"}},
		{"a key without value", &reference, map[string]string{"fips140": "Cryptographic Algorithm"}},
		{"a key without algorithm", bare, map[string]string{"fips140": "Cryptographic Algorithm"}},
		{"Secret Data", secret(marker(16)), map[string]string{"fips140": "", "cnsa2": "", "suiteb128": "Object Type", "suiteb192": "Object Type"}},
		{"an Opaque Object", opaque(marker(16)), map[string]string{"fips140": "", "suiteb128": "Object Type"}},
		{"a part of a key", part, map[string]string{"fips140": "", "suiteb128": "Object Type"}},
		{"a part of a DES key", withAlgorithm(part, kmip.CryptographicAlgorithmDES), map[string]string{"fips140": "Cryptographic Algorithm"}},
	} {
		for label, field := range row.cells {
			policy, legacy := strings.CutSuffix(label, "L")
			var on []fips.Switch
			if legacy {
				on = append(on, fips.LegacyImport)
			}
			c := strictBench(t, policy, on...).client("alice")
			want := cell{policy, 0, field}
			if field != "" {
				want.reason = invalid
			}
			if field == "Key Format Type" {
				want.reason = formats
			}
			_, err := c.register(row.req)
			want.check(t, row.name, err)
			imp := &kmip.ImportRequest{UniqueIdentifier: "other", ObjectType: row.req.ObjectType, Attribute: row.req.TemplateAttribute.Attribute,
				SymmetricKey: row.req.SymmetricKey, PrivateKey: row.req.PrivateKey, PublicKey: row.req.PublicKey, SecretData: row.req.SecretData,
				OpaqueObject: row.req.OpaqueObject, SplitKey: row.req.SplitKey}
			want.check(t, "Import of "+row.name, c.imports(imp))
			c.wantClean()
		}
	}
}

func withAlgorithm(req *kmip.RegisterRequest, a kmip.CryptographicAlgorithm) *kmip.RegisterRequest {
	out := *req
	part := *req.SplitKey
	part.KeyBlock.CryptographicAlgorithm = a
	part.KeyBlock.CryptographicLength = ptr(int32(64))
	out.SplitKey = &part
	return &out
}

// secp256k1 is as long as P-256 and not P-256.
func secp256k1(t testing.TB) *kmip.RegisterRequest {
	t.Helper()
	return &kmip.RegisterRequest{ObjectType: kmip.ObjectTypePublicKey, TemplateAttribute: *with(active(kmip.CryptographicUsageMaskVerify)...),
		PublicKey: &kmip.PublicKey{KeyBlock: kmip.KeyBlock{KeyFormatType: kmip.KeyFormatTypeX509, KeyValue: structured(unhex(
			"3056301006072a8648ce3d020106052b8104000a034200" +
				"0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"))}}}
}

// Wrapped keys are unwrapped on the token: their algorithm, the wrapping key and how it wraps are asked about.
func TestStrictUnwrap(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	kek := func(bits int32) string {
		uid := c.must(c.create(kmip.ObjectTypeSymmetricKey, aesAttributes(bits)...))
		c.ok(c.activate(uid))
		return uid
	}
	kek128, kek192, kek256 := kek(128), kek(192), kek(256)
	type request struct {
		name     string
		req      *kmip.RegisterRequest
		kek      string
		encoding kmip.EncodingOption
		cells    []cell
	}
	none, ttlvs := kmip.EncodingOptionNoEncoding, kmip.EncodingOptionTTLVEncoding
	rows := []request{
		{"AES 256 under AES 256", symmetric(marker(32)), kek256, none, []cell{{"fips140", 0, ""}, {"suiteb128", 0, ""}, {"suiteb192", 0, ""}, {"cnsa2", 0, ""}}},
		{"AES 256 under AES 128", symmetric(marker(32)), kek128, none, []cell{{"fips140", 0, ""}, {"suiteb128", refused, "wrapping key"}, {"cnsa1", refused, "Cryptographic Length"}}},
		{"AES 128 under AES 256", symmetric(marker(16)), kek256, none, []cell{{"fips140", 0, ""}, {"suiteb128", refused, "columns"}, {"suiteb192", invalid, "Cryptographic Length"}}},
		{"AES 128 under AES 192", symmetric(marker(16)), kek192, none, []cell{{"fips140", 0, ""}, {"suiteb128", refused, "Cryptographic Length"}}},
		{"with TTLV Encoding", symmetric(marker(16)), kek128, ttlvs, []cell{{"fips140", coding, "Encoding Option"}, {"suiteb128", coding, "Encoding Option"}}},
		{"with the default encoding", symmetric(marker(16)), kek128, 0, []cell{{"fips140", coding, "Encoding Option"}}},
		{"DES", ofAlgorithm(marker(8), kmip.CryptographicAlgorithmDES, 64, both), kek128, none, []cell{{"fips140", invalid, "Cryptographic Algorithm"}}},
	}
	ready := make([]*kmip.RegisterRequest, len(rows))
	for i, row := range rows {
		ready[i] = wrapped(c, row.kek, row.req, registeredBlock(row.req).KeyValue.Find(kmip.TagKeyMaterial).Value, hsm.WrapAESKWP, row.encoding)
	}
	for i, row := range rows {
		for _, want := range row.cells {
			b.under(want.policy)
			c := b.client("alice")
			_, err := c.register(ready[i])
			want.check(t, row.name, err)
			c.wantClean()
		}
	}
}
