package keyform

import (
	"bytes"
	"crypto/dsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"math/big"
	"strings"
	"testing"

	"kmipd/hsm"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

func TestSymmetricLengths(t *testing.T) {
	odd := func(n int) []byte { return bytes.Repeat([]byte{1}, n) } // odd parity
	three := append(append(odd(8), bytes.Repeat([]byte{2 + 1 + 4}, 8)...), bytes.Repeat([]byte{8}, 8)...)
	even := bytes.Repeat([]byte{3}, 24)
	hmac := kmip.CryptographicAlgorithmHMACSHA1
	for _, tc := range []struct {
		name      string
		algorithm kmip.CryptographicAlgorithm
		octets    []byte
		block     int // Cryptographic Length of the Key Block
		attribute int
		bits      int // 0: refused
		token     hsm.KeyType
	}{
		{"AES", aes, odd(16), 128, 0, 128, hsm.KeyAES},
		{"AES 192", aes, odd(24), 192, 192, 192, hsm.KeyAES},
		{"AES, attribute only", aes, odd(32), 0, 256, 256, hsm.KeyAES},
		{"AES, no length", aes, odd(32), 0, 0, 256, hsm.KeyAES},
		{"AES, shorter than said", aes, odd(16), 256, 0, 0, 0},
		{"AES, longer than said", aes, odd(32), 128, 0, 0, 0},
		{"AES, attribute differs", aes, odd(32), 256, 128, 0, 0},
		{"AES of Rook", aes, odd(128), 256, 0, 1024, hsm.KeyGeneric},
		{"AES, odd length", aes, odd(5), 0, 0, 40, hsm.KeyGeneric},
		{"AES, negative", aes, odd(16), -128, 0, 0, 0},
		{"3DES without parity", des3, three, 168, 0, 168, hsm.KeyDES3},
		{"3DES with parity", des3, three, 192, 0, 192, hsm.KeyDES3},
		{"3DES, no length", des3, three, 0, 0, 168, hsm.KeyDES3},
		{"3DES, both", des3, three, 168, 192, 168, hsm.KeyDES3},
		{"3DES, two parts in 24 octets", des3, odd(24), 112, 0, 112, hsm.KeyDES3},
		{"3DES, three parts as two", des3, three, 112, 0, 0, 0},
		{"3DES, wrong parity", des3, even, 168, 0, 168, hsm.KeyGeneric},
		{"3DES of 16", des3, odd(16), 112, 0, 112, hsm.KeyGeneric},
		{"3DES of 16 with parity", des3, odd(16), 128, 0, 128, hsm.KeyGeneric},
		{"3DES, no length, of 16", des3, odd(16), 0, 0, 112, hsm.KeyGeneric},
		{"3DES of 16 as 168", des3, odd(16), 168, 0, 0, 0},
		{"3DES without parity octets", des3, odd(21), 168, 0, 168, hsm.KeyGeneric},
		{"DES", kmip.CryptographicAlgorithmDES, odd(8), 56, 0, 56, hsm.KeyGeneric},
		{"HMAC", hmac, odd(20), 160, 0, 160, hsm.KeyGeneric},
		{"HMAC, wrong", hmac, odd(20), 256, 0, 0, 0},
		{"large", hmac, odd(hsm.MaxSecretOctets + 1), 0, 0, 8 * (hsm.MaxSecretOctets + 1), 0},
		{"empty", aes, nil, 128, 0, 0, 0},
	} {
		k, err := Parse(symmetric, block(raw, byteString(tc.octets), tc.algorithm, tc.block), Given{Bits: tc.attribute})
		if tc.bits == 0 {
			if kmip.ReasonOf(err) != kmip.ResultReasonInvalidField {
				t.Errorf("%s: got %v, want Invalid Field", tc.name, err)
			}
			continue
		}
		if err != nil || k.Bits != tc.bits || k.Token != tc.token || (k.Form == FormOpaque) != (tc.token == 0) {
			t.Errorf("%s: got %+v, %v; want %d bits, token type %d", tc.name, k, err, tc.bits, tc.token)
			continue
		}
		if k.Form == FormSecret && k.TokenBits() != 8*len(tc.octets) {
			t.Errorf("%s: TokenBits is %d", tc.name, k.TokenBits())
		}
	}
}

// TestLengthMessage: the client learns both lengths, and nothing else.
func TestLengthMessage(t *testing.T) {
	_, err := Parse(symmetric, block(raw, byteString(make([]byte, 16)), aes, 256), Given{})
	var e *kmip.Error
	if !errors.As(err, &e) || !strings.Contains(e.Message, "256") || !strings.Contains(e.Message, "128") {
		t.Errorf("got %v", err)
	}
}

// TestKept registers keys that no token key is made of.
func TestKept(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x := der(derSeq, []byte{derInt, 1, 0}, der(derSeq, der(derOID, oidX25519)), der(derOctets, der(derOctets, make([]byte, 32))))
	dsaSPKI := der(derSeq, der(derSeq, der(derOID, oidDSA), der(derSeq, derUint(vecNumber(t, vecDSAPublic, kmip.TagP)),
		derUint(vecNumber(t, vecDSAPublic, kmip.TagQ)), derUint(vecNumber(t, vecDSAPublic, kmip.TagG)))),
		der(derBits, []byte{0}, derUint(vecNumber(t, vecDSAPublic, kmip.TagY))))
	if k, err := x509.ParsePKIXPublicKey(dsaSPKI); err != nil {
		t.Fatal(err)
	} else if _, ok := k.(*dsa.PublicKey); !ok {
		t.Fatal("not a DSA key")
	}
	small := rsa512(t)
	e := big.NewInt(65537)
	mqv := kmip.TransparentECPrivateKey{RecommendedCurve: kmip.RecommendedCurveP256, D: big.NewInt(7)}
	vendor, mark := ttlv.Begin(nil, kmip.TagKeyMaterial)
	vendor = ttlv.End(ttlv.AppendText(vendor, 0x540001, "x"), mark)
	for _, tc := range []struct {
		name      string
		object    kmip.ObjectType
		format    kmip.KeyFormatType
		material  []byte
		given     Given
		algorithm kmip.CryptographicAlgorithm
		bits      int
	}{
		{"Ed25519", private, p8, byteString(must[[]byte](t)(x509.MarshalPKCS8PrivateKey(ed))), Given{}, kmip.CryptographicAlgorithmEd25519, 256},
		{"Ed25519 public", public, x509F, byteString(must[[]byte](t)(x509.MarshalPKIXPublicKey(ed.Public()))), Given{Bits: 255},
			kmip.CryptographicAlgorithmEd25519, 255},
		{"X25519", private, p8, byteString(x), Given{}, kmip.CryptographicAlgorithmECDH, 256},
		{"DSA public", public, x509F, byteString(dsaSPKI), Given{}, dsaA, 512},
		{"RSA 512", private, pkcs1, byteString(small.pkcs1Private()), Given{}, rsaA, 512},
		{"RSA 512 PKCS#8", private, p8, byteString(small.pkcs8()), Given{}, rsaA, 512},
		{"RSA 512 public", public, pkcs1, byteString(small.pkcs1Public()), Given{}, rsaA, 512},
		{"RSA with a long exponent", public, pkcs1, byteString((&rsaKey{n: testRSA().N, e: new(big.Int).Add(new(big.Int).Lsh(e, 20), bigOne)}).pkcs1Public()),
			Given{}, rsaA, 2048},
		{"RSA 16384 public", public, pkcs1, byteString((&rsaKey{n: new(big.Int).Add(new(big.Int).Lsh(bigOne, 16383), bigOne), e: e}).pkcs1Public()),
			Given{}, rsaA, 16384},
		{"secp256k1 transparent", public, tECp, (&kmip.TransparentECPublicKey{RecommendedCurve: kmip.RecommendedCurveSECP256K1, QString: []byte{4}}).
			Append(nil, kmip.TagKeyMaterial, kmip.V1_4), Given{}, ecdsaA, 256},
		{"a curve without length", public, tECp, (&kmip.TransparentECPublicKey{RecommendedCurve: kmip.RecommendedCurveSECT131R1, QString: []byte{4}}).
			Append(nil, kmip.TagKeyMaterial, kmip.V1_4), Given{Bits: 131}, ecdsaA, 131},
		{"ECMQV", private, kmip.KeyFormatTypeTransparentECMQVPrivateKey, mqv.Append(nil, kmip.TagKeyMaterial, kmip.V1_4), Given{},
			kmip.CryptographicAlgorithmECMQV, 256},
		{"raw private key", private, raw, byteString([]byte{1, 2, 3}), Given{Algorithm: ecdsaA, Bits: 256}, ecdsaA, 256},
		{"opaque public key", public, opaque, byteString([]byte{1, 2, 3}), Given{Algorithm: rsaA, Bits: 2048}, rsaA, 2048},
		{"vendor's private key", private, 0x80000001, vendor, Given{Algorithm: rsaA, Bits: 2048}, rsaA, 2048},
		{"vendor's symmetric key", symmetric, 0x80000001, vendor, Given{Algorithm: aes, Bits: 128}, aes, 128},
		{"SEC1 as PKCS#8", private, p8, byteString(unhex(t, vecP256SEC1)), Given{}, ecdsaA, 256},
		{"PKCS#1 as PKCS#8", private, p8, byteString(unhex(t, vecRSA2048PKCS1)), Given{}, rsaA, 2048},
		{"PKCS#8 as PKCS#1", private, pkcs1, byteString(unhex(t, vecEncryptedPKCS8)), Given{Algorithm: rsaA, Bits: 2048}, rsaA, 2048},
		{"no secret", secret, raw, byteString(nil), Given{}, none, 0},
	} {
		k, err := Parse(tc.object, block(tc.format, tc.material, none, 0), tc.given)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if k.Form != FormOpaque || k.Token != 0 || k.Algorithm != tc.algorithm || k.Bits != tc.bits || !k.RoundTrips {
			t.Errorf("%s: got %+v", tc.name, k.Facts)
		}
		kb, err := Encode(&k.Facts, k.Value, Want{})
		if err != nil || !bytes.Equal(kb.KeyValue.Value, tc.material) {
			t.Errorf("%s: does not come back (%v)", tc.name, err)
		}
	}
	// Opaque octets of a symmetric key are a secret that the token can wrap.
	k, err := Parse(symmetric, block(opaque, byteString(make([]byte, 40)), aes, 256), Given{})
	if err != nil || k.Form != FormSecret || k.Token != hsm.KeyGeneric || k.Bits != 256 || k.TokenBits() != 320 {
		t.Errorf("opaque symmetric key: %+v, %v", k, err)
	}
}

func vecNumber(t testing.TB, fields []vecField, tag ttlv.Tag) *big.Int {
	for _, f := range fields {
		if f.tag == tag {
			n, _ := new(big.Int).SetString(f.hex, 16)
			return n
		}
	}
	t.Fatal("no such field")
	return nil
}

// rsa512 is a key too short for crypto/rsa.
func rsa512(t testing.TB) *rsaKey {
	prime := func(start int64) *big.Int {
		n := new(big.Int).Add(new(big.Int).Lsh(big.NewInt(3), 254), big.NewInt(start))
		for !n.ProbablyPrime(20) {
			n.Add(n, bigTwo)
		}
		return n
	}
	p, q := prime(1000001), prime(1)
	k := &rsaKey{n: new(big.Int).Mul(p, q), e: big.NewInt(65537), p: p, q: q}
	if k.complete() != rsaComplete {
		t.Fatal("no key")
	}
	return k
}

func TestRefused(t *testing.T) {
	r := testRSA()
	c := testCurves[0]
	k := testEC(t, c)
	other := testEC(t, c)
	cv := curveByName(c.name)
	own := &ecKey{curve: cv, d: must[[]byte](t)(k.Bytes()), point: must[[]byte](t)(k.PublicKey.Bytes())}
	mixed := &ecKey{curve: cv, d: own.d, point: must[[]byte](t)(other.PublicKey.Bytes())}
	zero := &ecKey{curve: cv, d: make([]byte, 32), point: own.point}
	order := &ecKey{curve: cv, d: c.curve.Params().N.Bytes(), point: own.point}
	off := bytes.Clone(own.point)
	off[len(off)-1] ^= 1
	spki := func(point []byte) []byte { return der(derSeq, own.algorithm(), der(derBits, []byte{0}, point)) }
	q := func(name kmip.RecommendedCurve, s []byte) []byte {
		return (&kmip.TransparentECPublicKey{RecommendedCurve: name, QString: s}).Append(nil, kmip.TagKeyMaterial, kmip.V1_4)
	}
	d := func(name kmip.RecommendedCurve, n *big.Int) []byte {
		return (&kmip.TransparentECPrivateKey{RecommendedCurve: name, D: n}).Append(nil, kmip.TagKeyMaterial, kmip.V1_4)
	}
	broken := func(change func(*kmip.TransparentRSAPrivateKey)) []byte {
		n := kmip.TransparentRSAPrivateKey{Modulus: r.N, PrivateExponent: r.D, PublicExponent: big.NewInt(int64(r.E)), P: r.Primes[0],
			Q: r.Primes[1], PrimeExponentP: r.Precomputed.Dp, PrimeExponentQ: r.Precomputed.Dq, CRTCoefficient: r.Precomputed.Qinv}
		change(&n)
		return n.Append(nil, kmip.TagKeyMaterial, kmip.V1_4)
	}
	plus := func(n *big.Int) *big.Int { return new(big.Int).Add(n, bigTwo) }
	rsaDER := x509.MarshalPKCS1PrivateKey(r)
	p8DER := must[[]byte](t)(x509.MarshalPKCS8PrivateKey(r))
	flipped := bytes.Clone(rsaDER)
	flipped[len(flipped)/2] ^= 1
	sym := structure(t, nil)
	p256, p384 := kmip.RecommendedCurveP256, kmip.RecommendedCurveP384
	const field, message = kmip.ResultReasonInvalidField, kmip.ResultReasonInvalidMessage
	for _, tc := range []struct {
		name     string
		object   kmip.ObjectType
		format   kmip.KeyFormatType
		material []byte
		given    Given
		want     kmip.ResultReason
	}{
		{"structure for Raw", symmetric, raw, sym, Given{Algorithm: aes}, field},
		{"octets for transparent", symmetric, tSym, byteString(own.d), Given{Algorithm: aes}, field},
		{"text for Raw", symmetric, raw, ttlv.AppendText(nil, kmip.TagKeyMaterial, "key"), Given{Algorithm: aes}, field},
		{"transparent without Key", symmetric, tSym, sym, Given{Algorithm: aes}, message},
		{"no algorithm", symmetric, raw, byteString(own.d), Given{}, field},
		{"asymmetric algorithm", symmetric, raw, byteString(own.d), Given{Algorithm: rsaA}, field},
		{"PKCS#1 symmetric", symmetric, pkcs1, byteString(rsaDER), Given{Algorithm: aes}, field},
		{"PKCS#8 Secret Data", secret, p8, byteString(p8DER), Given{}, field},
		{"unknown format", symmetric, 0x18, byteString(own.d), Given{Algorithm: aes}, field},
		{"format 0", symmetric, 0, byteString(own.d), Given{Algorithm: aes}, field},
		{"PKCS#12", private, kmip.KeyFormatTypePKCS12, byteString(own.d), Given{}, kmip.ResultReasonKeyFormatTypeNotSupported},
		{"certificate", kmip.ObjectTypeCertificate, raw, byteString(own.d), Given{}, field},
		{"template", kmip.ObjectTypeTemplate, raw, byteString(own.d), Given{}, field},

		{"empty PKCS#1", private, pkcs1, byteString(nil), Given{}, field},
		{"no DER", private, pkcs1, byteString([]byte("-----BEGIN RSA PRIVATE KEY-----")), Given{}, field},
		{"no DER PKCS#8", private, p8, byteString([]byte{0x30, 0x80, 0, 0}), Given{}, field},
		{"no DER SEC1", private, sec1F, byteString(own.d), Given{}, field},
		{"octets after PKCS#1", private, pkcs1, byteString(append(bytes.Clone(rsaDER), 0)), Given{}, field},
		{"PKCS#1 cut off", private, pkcs1, byteString(rsaDER[:len(rsaDER)-1]), Given{}, field},
		{"PKCS#1 with a flipped bit", private, pkcs1, byteString(flipped), Given{}, field},
		{"PKCS#1 public in a private key", private, pkcs1, byteString(x509.MarshalPKCS1PublicKey(&r.PublicKey)), Given{}, field},
		{"PKCS#1 private in a public key", public, pkcs1, byteString(rsaDER), Given{}, field},
		{"X.509 private", private, x509F, byteString(rsaDER), Given{}, field},
		{"PKCS#8 public", public, p8, byteString(p8DER), Given{}, field},
		{"SEC1 public", public, sec1F, byteString(own.sec1(true, 0)), Given{}, field},
		{"PKCS#1 as X.509", public, x509F, byteString(x509.MarshalPKCS1PublicKey(&r.PublicKey)), Given{}, field},
		{"certificate as X.509", public, x509F, byteString(unhex(t, vecCertRSA)), Given{}, field},
		{"even modulus", public, pkcs1, byteString((&rsaKey{n: new(big.Int).Sub(r.N, bigOne), e: big.NewInt(3)}).pkcs1Public()), Given{}, field},
		{"exponent 1", public, pkcs1, byteString((&rsaKey{n: r.N, e: bigOne}).pkcs1Public()), Given{}, field},
		{"RSA as ECDSA", private, pkcs1, byteString(rsaDER), Given{Algorithm: ecdsaA}, field},
		{"RSA length", private, pkcs1, byteString(rsaDER), Given{Bits: 1024}, field},
		{"RSA public length", public, pkcs1, byteString(x509.MarshalPKCS1PublicKey(&r.PublicKey)), Given{Bits: 4096}, field},

		{"another modulus", private, tRSA, broken(func(k *kmip.TransparentRSAPrivateKey) { k.Modulus = plus(k.Modulus) }), Given{}, field},
		{"another D", private, tRSA, broken(func(k *kmip.TransparentRSAPrivateKey) { k.PrivateExponent = plus(k.PrivateExponent) }), Given{}, field},
		{"another E", private, tRSA, broken(func(k *kmip.TransparentRSAPrivateKey) { k.PublicExponent = big.NewInt(3) }), Given{}, field},
		{"another P", private, tRSA, broken(func(k *kmip.TransparentRSAPrivateKey) { k.P = plus(k.P) }), Given{}, field},
		{"P is Q", private, tRSA, broken(func(k *kmip.TransparentRSAPrivateKey) { k.P = k.Q }), Given{}, field},
		{"P is 1", private, tRSA, broken(func(k *kmip.TransparentRSAPrivateKey) { k.P, k.Q = bigOne, k.Modulus }), Given{}, field},
		{"another dP", private, tRSA, broken(func(k *kmip.TransparentRSAPrivateKey) { k.PrimeExponentP = plus(k.PrimeExponentP) }), Given{}, field},
		{"another dQ", private, tRSA, broken(func(k *kmip.TransparentRSAPrivateKey) { k.PrimeExponentQ = plus(k.PrimeExponentQ) }), Given{}, field},
		{"another coefficient", private, tRSA, broken(func(k *kmip.TransparentRSAPrivateKey) { k.CRTCoefficient = plus(k.CRTCoefficient) }), Given{}, field},
		{"negative D", private, tRSA, broken(func(k *kmip.TransparentRSAPrivateKey) { k.PrivateExponent = big.NewInt(-3) }), Given{}, field},
		{"modulus 0", private, tRSA, broken(func(k *kmip.TransparentRSAPrivateKey) { k.Modulus = new(big.Int) }), Given{}, field},
		{"huge D", private, tRSA, broken(func(k *kmip.TransparentRSAPrivateKey) { k.PrivateExponent = new(big.Int).Lsh(bigOne, 1<<20) }), Given{}, field},
		{"modulus only", private, tRSA, (&kmip.TransparentRSAPrivateKey{Modulus: r.N}).Append(nil, kmip.TagKeyMaterial, kmip.V1_4), Given{}, field},
		{"no modulus", private, tRSA, sym, Given{}, message},
		{"negative public modulus", public, tRSAp, (&kmip.TransparentRSAPublicKey{Modulus: big.NewInt(-5), PublicExponent: big.NewInt(3)}).
			Append(nil, kmip.TagKeyMaterial, kmip.V1_4), Given{}, field},

		{"SEC1 with another's point", private, sec1F, byteString(mixed.sec1(true, 0)), Given{}, field},
		{"scalar 0", private, sec1F, byteString(zero.sec1(true, 0)), Given{}, field},
		{"scalar of the order", private, sec1F, byteString(order.sec1(true, 0)), Given{}, field},
		{"SEC1 without curve", private, sec1F, byteString(own.sec1(false, 0)), Given{}, field},
		{"SEC1 on another curve", private, sec1F, byteString(own.sec1(true, 0)), Given{Curve: p384}, field},
		{"PKCS#8 with two curves", private, p8, byteString(der(derSeq, []byte{derInt, 1, 0},
			der(derSeq, der(derOID, oidEC), der(derOID, certicom(34))), der(derOctets, own.sec1(true, 0)))), Given{}, field},
		{"PKCS#8 without inner key", private, p8, byteString(der(derSeq, []byte{derInt, 1, 0}, own.algorithm(), der(derOctets))), Given{}, field},
		{"scalar too long", private, sec1F, byteString((&ecKey{curve: cv, d: bytes.Repeat([]byte{1}, 33), point: own.point}).sec1(true, 0)), Given{}, field},
		{"EC length", private, sec1F, byteString(own.sec1(true, 0)), Given{Bits: 384}, field},
		{"EC as RSA", private, sec1F, byteString(own.sec1(true, 0)), Given{Algorithm: rsaA}, field},
		{"point off the curve", public, x509F, byteString(spki(off)), Given{}, field},
		{"point of infinity", public, x509F, byteString(spki([]byte{0})), Given{}, field},
		{"point cut off", public, x509F, byteString(spki(own.point[:64])), Given{}, field},
		{"compressed point without root", public, x509F, byteString(spki(append([]byte{2}, bytes.Repeat([]byte{0xff}, 32)...))), Given{}, field},
		{"Q off the curve", public, tECp, q(p256, off), Given{}, field},
		{"Q on another curve", public, tECp, q(p384, own.point), Given{}, field},
		{"Q against the attribute", public, tECp, q(p256, own.point), Given{Curve: p384}, field},
		{"curve does not exist", public, tECp, q(0x1234, own.point), Given{Bits: 256}, field},
		{"D is 0", private, tEC, d(p256, new(big.Int)), Given{}, field},
		{"D is negative", private, tEC, d(p256, big.NewInt(-1)), Given{}, field},
		{"D is the order", private, tEC, d(p256, c.curve.Params().N), Given{}, field},
		{"D is too long", private, tEC, d(p256, new(big.Int).Lsh(bigOne, 300)), Given{}, field},
		{"transparent EC without D", private, tEC, sym, Given{}, message},

		{"DSA without P", private, kmip.KeyFormatTypeTransparentDSAPrivateKey, sym, Given{}, field},
		{"DSA with an unknown field", private, kmip.KeyFormatTypeTransparentDSAPrivateKey,
			structure(t, []vecField{{kmip.TagModulus, "05"}}), Given{}, field},
		{"DSA as RSA", public, kmip.KeyFormatTypeTransparentDSAPublicKey, structure(t, vecDSAPublic), Given{Algorithm: rsaA}, field},
		{"DSA length", public, kmip.KeyFormatTypeTransparentDSAPublicKey, structure(t, vecDSAPublic), Given{Bits: 1024}, field},
		{"MQV without D", private, kmip.KeyFormatTypeTransparentECMQVPrivateKey, sym, Given{}, field},
		{"encrypted PKCS#8 without algorithm", private, p8, byteString(unhex(t, vecEncryptedPKCS8)), Given{}, field},
		{"encrypted PKCS#8 without length", private, p8, byteString(unhex(t, vecEncryptedPKCS8)), Given{Algorithm: ecdsaA}, field},
		{"raw private key without algorithm", private, raw, byteString(own.d), Given{}, field},
		{"empty private key", private, opaque, byteString(nil), Given{Algorithm: rsaA, Bits: 2048}, field},
	} {
		_, err := Parse(tc.object, block(tc.format, tc.material, none, 0), tc.given)
		if err == nil || kmip.ReasonOf(err) != tc.want {
			t.Errorf("%s: got %v, want %s", tc.name, err, tc.want)
		}
	}
}

func TestRefusedBlocks(t *testing.T) {
	good := func() *kmip.KeyBlock { return block(raw, byteString(make([]byte, 16)), aes, 128) }
	for _, tc := range []struct {
		name   string
		change func(*kmip.KeyBlock)
		given  Given
		want   kmip.ResultReason
	}{
		{"no Key Value", func(kb *kmip.KeyBlock) { kb.KeyValue = ttlv.Item{} }, Given{}, kmip.ResultReasonInvalidMessage},
		{"wrapped octets", func(kb *kmip.KeyBlock) {
			kb.KeyValue = ttlv.Item{Tag: kmip.TagKeyValue, Type: ttlv.ByteString, Value: make([]byte, 24)}
		}, Given{}, kmip.ResultReasonInvalidField},
		{"Key Wrapping Data", func(kb *kmip.KeyBlock) { kb.KeyWrappingData = new(kmip.KeyWrappingData) }, Given{}, kmip.ResultReasonInvalidField},
		{"no Key Material", func(kb *kmip.KeyBlock) { kb.KeyValue.Value = nil }, Given{}, kmip.ResultReasonInvalidMessage},
		{"algorithms differ", func(*kmip.KeyBlock) {}, Given{Algorithm: des3}, kmip.ResultReasonInvalidField},
	} {
		kb := good()
		tc.change(kb)
		if _, err := Parse(symmetric, kb, tc.given); err == nil || kmip.ReasonOf(err) != tc.want {
			t.Errorf("%s: got %v, want %s", tc.name, err, tc.want)
		}
	}
	if k, err := Parse(symmetric, good(), Given{Algorithm: aes, Bits: 128}); err != nil || k.Token != hsm.KeyAES {
		t.Errorf("the good block: %v", err)
	}
}

// TestAttributesInside: attributes of the Key Value come out, and do not go back in.
func TestAttributesInside(t *testing.T) {
	b := byteString(make([]byte, 16))
	a := kmip.Attribute{AttributeName: "x-ID", AttributeValue: ttlv.Make(ttlv.AppendText(nil, kmip.TagAttributeValue, "1"))}
	k, err := Parse(symmetric, block(raw, a.Append(bytes.Clone(b), kmip.TagAttribute, kmip.V1_4), aes, 128), Given{})
	if err != nil || len(k.Attributes) != 1 || k.Attributes[0].AttributeName != "x-ID" {
		t.Fatalf("got %+v, %v", k, err)
	}
	kb, err := Encode(&k.Facts, k.Value, Want{})
	if err != nil || !bytes.Equal(kb.KeyValue.Value, b) {
		t.Errorf("got %v, %v", kb, err)
	}
}

// TestOwnMemory: a Key does not share the message's memory.
func TestOwnMemory(t *testing.T) {
	for format, material := range rsaPrivateEncodings(t, testRSA()) {
		k, err := Parse(private, block(format, material, none, 0), Given{})
		if err != nil {
			t.Fatal(err)
		}
		value, original := bytes.Clone(k.Value), bytes.Clone(k.Original)
		clear(material)
		if !bytes.Equal(k.Value, value) || !bytes.Equal(k.Original, original) {
			t.Errorf("%s: shares memory", format)
		}
	}
}

// TestValidateAgrees: what complete accepts crypto/rsa accepts.
func TestValidateAgrees(t *testing.T) {
	for _, s := range []string{vecRSA2048PKCS1} {
		k, _, ok := parsePKCS1Private(unhex(t, s))
		if !ok || k.complete() != rsaComplete {
			t.Fatal("refused")
		}
		r := rsa.PrivateKey{PublicKey: rsa.PublicKey{N: k.n, E: int(k.e.Int64())}, D: k.d, Primes: []*big.Int{k.p, k.q}}
		if err := r.Validate(); err != nil {
			t.Error(err)
		}
	}
}

// FuzzParse: no panic; what parses can be encoded, and comes back as it was when it says so.
func FuzzParse(f *testing.F) {
	add := func(object kmip.ObjectType, format kmip.KeyFormatType, material []byte, algorithm kmip.CryptographicAlgorithm, bits int) {
		f.Add(uint32(object), uint32(format), material, uint32(algorithm), bits, uint32(0))
	}
	for format, material := range rsaPublicEncodings(f, &testRSA().PublicKey) {
		add(public, format, material, none, 0)
	}
	add(private, pkcs1, byteString(rsa512(f).pkcs1Private()), rsaA, 512)
	add(private, tRSA, structure(f, vecRSA1024Transparent), none, 0)
	for _, c := range testCurves {
		k := testEC(f, c)
		for format, material := range ecPrivateEncodings(f, k, c.name) {
			add(private, format, material, none, 0)
		}
		for format, material := range ecPublicEncodings(f, &k.PublicKey, c.name) {
			add(public, format, material, none, c.bits)
		}
	}
	add(private, sec1F, byteString(unhex(f, vecEncryptedPKCS8)), ecdsaA, 256)
	add(private, sec1F, byteString(unhex(f, vecK1SEC1)), ecA, 256)
	add(public, kmip.KeyFormatTypeTransparentDSAPublicKey, structure(f, vecDSAPublic), dsaA, 512)
	add(symmetric, raw, byteString(make([]byte, 24)), des3, 168)
	add(secret, opaque, byteString([]byte("secret")), none, 0)
	f.Fuzz(func(t *testing.T, object, format uint32, material []byte, algorithm uint32, bits int, compression uint32) {
		b, mark := ttlv.Begin(nil, kmip.TagKeyValue)
		it, err := ttlv.Parse(ttlv.End(append(b, material...), mark), ttlv.DefaultLimits)
		if err != nil {
			return
		}
		kb := block(kmip.KeyFormatType(format), it.Value, kmip.CryptographicAlgorithm(algorithm), int(int32(bits)))
		kb.KeyCompressionType = kmip.KeyCompressionType(compression)
		k, err := Parse(kmip.ObjectType(object), kb, Given{})
		if err != nil {
			if e := (*kmip.Error)(nil); !errors.As(err, &e) {
				t.Fatalf("not a kmip.Error: %v", err)
			}
			return
		}
		if (k.Form == FormOpaque) != (k.Token == 0) || k.Octets != len(k.Value) {
			t.Fatalf("facts %+v", k.Facts)
		}
		out, err := Encode(&k.Facts, k.Value, Want{Version: kmip.V1_4})
		if err != nil {
			t.Fatalf("%+v: %v", k.Facts, err)
		}
		want := ttlv.AppendItem(nil, kmip.TagKeyMaterial, it.Find(kmip.TagKeyMaterial))
		if bytes.Equal(out.KeyValue.Value, want) != k.RoundTrips {
			t.Fatalf("RoundTrips is %v: %x, %x", k.RoundTrips, out.KeyValue.Value, want)
		}
		again, err := Parse(k.Object, out, Given{})
		if err != nil || !bytes.Equal(again.Value, k.Value) {
			t.Fatalf("what was encoded is another key: %v", err)
		}
	})
}
