package keyform

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"math/big"
	"sync"
	"testing"

	"kmipd/hsm"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

var testRSA = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

type testCurve struct {
	curve elliptic.Curve
	name  kmip.RecommendedCurve
	bits  int
}

var testCurves = []testCurve{
	{elliptic.P256(), kmip.RecommendedCurveP256, 256},
	{elliptic.P384(), kmip.RecommendedCurveP384, 384},
	{elliptic.P521(), kmip.RecommendedCurveP521, 521},
}

func testEC(t testing.TB, c testCurve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c.curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// encodings maps each format of a key to its Key Material.
type encodings map[kmip.KeyFormatType][]byte

func rsaPrivateEncodings(t testing.TB, k *rsa.PrivateKey) encodings {
	return encodings{
		pkcs1: byteString(x509.MarshalPKCS1PrivateKey(k)),
		p8:    byteString(must[[]byte](t)(x509.MarshalPKCS8PrivateKey(k))),
		tRSA: (&kmip.TransparentRSAPrivateKey{Modulus: k.N, PrivateExponent: k.D, PublicExponent: big.NewInt(int64(k.E)),
			P: k.Primes[0], Q: k.Primes[1], PrimeExponentP: k.Precomputed.Dp, PrimeExponentQ: k.Precomputed.Dq,
			CRTCoefficient: k.Precomputed.Qinv}).Append(nil, kmip.TagKeyMaterial, kmip.V1_4),
	}
}

func rsaPublicEncodings(t testing.TB, k *rsa.PublicKey) encodings {
	return encodings{
		pkcs1: byteString(x509.MarshalPKCS1PublicKey(k)),
		x509F: byteString(must[[]byte](t)(x509.MarshalPKIXPublicKey(k))),
		tRSAp: (&kmip.TransparentRSAPublicKey{Modulus: k.N, PublicExponent: big.NewInt(int64(k.E))}).
			Append(nil, kmip.TagKeyMaterial, kmip.V1_4),
	}
}

func ecPrivateEncodings(t testing.TB, k *ecdsa.PrivateKey, name kmip.RecommendedCurve) encodings {
	d := new(big.Int).SetBytes(must[[]byte](t)(k.Bytes()))
	transparent := (&kmip.TransparentECPrivateKey{RecommendedCurve: name, D: d}).Append(nil, kmip.TagKeyMaterial, kmip.V1_4)
	return encodings{
		sec1F:  byteString(must[[]byte](t)(x509.MarshalECPrivateKey(k))),
		p8:     byteString(must[[]byte](t)(x509.MarshalPKCS8PrivateKey(k))),
		tEC:    transparent,
		tECDSA: transparent,
		kmip.KeyFormatTypeTransparentECDHPrivateKey: transparent,
	}
}

func ecPublicEncodings(t testing.TB, k *ecdsa.PublicKey, name kmip.RecommendedCurve) encodings {
	transparent := (&kmip.TransparentECPublicKey{RecommendedCurve: name, QString: must[[]byte](t)(k.Bytes())}).
		Append(nil, kmip.TagKeyMaterial, kmip.V1_4)
	return encodings{
		x509F: byteString(must[[]byte](t)(x509.MarshalPKIXPublicKey(k))),
		tECp:  transparent,
		kmip.KeyFormatTypeTransparentECDSAPublicKey: transparent,
		kmip.KeyFormatTypeTransparentECDHPublicKey:  transparent,
	}
}

// TestConversions registers every format of every kind of key and gets it in every other. The expected encodings come
// from crypto/x509.
func TestConversions(t *testing.T) {
	type kind struct {
		name   string
		object kmip.ObjectType
		value  []byte // what the token is to store
		all    encodings
	}
	r := testRSA()
	kinds := []kind{
		{"RSA private", private, must[[]byte](t)(x509.MarshalPKCS8PrivateKey(r)), rsaPrivateEncodings(t, r)},
		{"RSA public", public, must[[]byte](t)(x509.MarshalPKIXPublicKey(&r.PublicKey)), rsaPublicEncodings(t, &r.PublicKey)},
	}
	for _, c := range testCurves {
		k := testEC(t, c)
		kinds = append(kinds,
			kind{c.name.String() + " private", private, must[[]byte](t)(x509.MarshalPKCS8PrivateKey(k)), ecPrivateEncodings(t, k, c.name)},
			kind{c.name.String() + " public", public, must[[]byte](t)(x509.MarshalPKIXPublicKey(&k.PublicKey)), ecPublicEncodings(t, &k.PublicKey, c.name)})
	}
	octets := unhex(t, "000102030405060708090a0b0c0d0e0f")
	sym, mark := ttlv.Begin(nil, kmip.TagKeyMaterial)
	sym = ttlv.End(ttlv.AppendBytes(sym, kmip.TagKey, octets), mark)
	kinds = append(kinds, kind{"AES", symmetric, octets, encodings{raw: byteString(octets), tSym: sym}},
		kind{"Secret Data", secret, octets, encodings{raw: byteString(octets), opaque: byteString(octets), tSym: sym}})

	for _, kind := range kinds {
		algorithm := none
		if kind.object == symmetric {
			algorithm = aes
		}
		for from, material := range kind.all {
			k, err := Parse(kind.object, block(from, material, algorithm, 0), Given{})
			if err != nil {
				t.Errorf("%s as %s: %v", kind.name, from, err)
				continue
			}
			if !bytes.Equal(k.Value, kind.value) || !k.RoundTrips || k.Form == FormOpaque {
				t.Errorf("%s as %s: value is wrong, or RoundTrips %v, form %d", kind.name, from, k.RoundTrips, k.Form)
			}
			for to, want := range kind.all {
				kb, err := Encode(&k.Facts, k.Value, Want{Format: to, Version: kmip.V1_4})
				if err != nil {
					t.Errorf("%s from %s to %s: %v", kind.name, from, to, err)
					continue
				}
				if !bytes.Equal(kb.KeyValue.Value, want) || kb.KeyFormatType != to || int(*orZero(kb.CryptographicLength)) != k.Bits &&
					kind.object != secret {
					t.Errorf("%s from %s to %s: got %s of %v bits", kind.name, from, to, kb.KeyFormatType, kb.CryptographicLength)
				}
				Wipe(kb)
				if !bytes.Equal(kb.KeyValue.Value, make([]byte, len(want))) {
					t.Errorf("%s to %s: Wipe leaves octets", kind.name, to)
				}
			}
			k.Wipe()
			if !bytes.Equal(k.Value, make([]byte, len(k.Value))) || !bytes.Equal(k.Original, make([]byte, len(k.Original))) {
				t.Errorf("%s: Wipe leaves octets", kind.name)
			}
		}
	}
}

func orZero(n *int32) *int32 {
	if n == nil {
		return new(int32)
	}
	return n
}

// TestRSAFromParts leaves fields of the transparent structure out (KMIP 1.4 section 2.1.7.4).
func TestRSAFromParts(t *testing.T) {
	r := testRSA()
	e := big.NewInt(int64(r.E))
	for _, tc := range []struct {
		name string
		key  kmip.TransparentRSAPrivateKey
		form Form
		same bool // the token's value is that of the whole key
	}{
		{"D and E", kmip.TransparentRSAPrivateKey{PrivateExponent: r.D, PublicExponent: e}, FormPrivate, false},
		{"D", kmip.TransparentRSAPrivateKey{PrivateExponent: r.D}, FormPrivate, false},
		{"D, P and Q", kmip.TransparentRSAPrivateKey{PrivateExponent: r.D, P: r.Primes[0], Q: r.Primes[1]}, FormPrivate, true},
		{"D, E and P", kmip.TransparentRSAPrivateKey{PrivateExponent: r.D, PublicExponent: e, P: r.Primes[0]}, FormPrivate, true},
		{"D, E and Q", kmip.TransparentRSAPrivateKey{PrivateExponent: r.D, PublicExponent: e, Q: r.Primes[1]}, FormPrivate, true},
		{"E, P and Q", kmip.TransparentRSAPrivateKey{PublicExponent: e, P: r.Primes[0], Q: r.Primes[1]}, FormPrivate, true},
		{"E, dP and dQ", kmip.TransparentRSAPrivateKey{PublicExponent: e, PrimeExponentP: r.Precomputed.Dp,
			PrimeExponentQ: r.Precomputed.Dq}, FormPrivate, true},
		{"dP and dQ", kmip.TransparentRSAPrivateKey{PrimeExponentP: r.Precomputed.Dp, PrimeExponentQ: r.Precomputed.Dq},
			FormPrivate, true},
		{"P, Q, dP and dQ", kmip.TransparentRSAPrivateKey{P: r.Primes[0], Q: r.Primes[1], PrimeExponentP: r.Precomputed.Dp,
			PrimeExponentQ: r.Precomputed.Dq}, FormPrivate, true},
		{"P and Q", kmip.TransparentRSAPrivateKey{P: r.Primes[0], Q: r.Primes[1]}, FormOpaque, false},
	} {
		tc.key.Modulus = r.N
		material := tc.key.Append(nil, kmip.TagKeyMaterial, kmip.V1_4)
		k, err := Parse(private, block(tRSA, bytes.Clone(material), none, 0), Given{Algorithm: rsaA})
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if k.Form != tc.form || !k.RoundTrips || k.Bits != 2048 {
			t.Errorf("%s: got form %d, RoundTrips %v, %d bits", tc.name, k.Form, k.RoundTrips, k.Bits)
		}
		if kb, err := Encode(&k.Facts, k.Value, Want{}); err != nil || !bytes.Equal(kb.KeyValue.Value, material) {
			t.Errorf("%s: does not come back as registered (%v)", tc.name, err)
		}
		if tc.form == FormOpaque {
			continue
		}
		got, err := x509.ParsePKCS8PrivateKey(k.Value)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		g := got.(*rsa.PrivateKey)
		if err := g.Validate(); err != nil || g.N.Cmp(r.N) != 0 || g.E != r.E {
			t.Errorf("%s: another key (%v)", tc.name, err)
		}
		if tc.same && g.Primes[0].Cmp(r.Primes[0]) != 0 {
			t.Errorf("%s: P and Q are exchanged", tc.name)
		}
	}
}

// TestECShapes registers the variants that writers make of an ECPrivateKey and of points.
func TestECShapes(t *testing.T) {
	for _, c := range testCurves {
		k := testEC(t, c)
		cv := curveByName(c.name)
		point := must[[]byte](t)(k.PublicKey.Bytes())
		own := &ecKey{curve: cv, d: must[[]byte](t)(k.Bytes()), point: point}
		value := must[[]byte](t)(x509.MarshalPKCS8PrivateKey(k))
		spki := must[[]byte](t)(x509.MarshalPKIXPublicKey(&k.PublicKey))
		hybrid := bytes.Clone(point)
		hybrid[0] = 6 | point[len(point)-1]&1
		trimmed := der(derSeq, []byte{derInt, 1, 1}, der(derOctets, append([]byte{0}, own.d...)), der(derContext0, der(derOID, cv.oid)))
		attributed := der(derSeq, []byte{derInt, 1, 0}, own.algorithm(), der(derOctets, own.sec1(false, 0)), der(derContext0, []byte{derSet, 0}))
		for _, tc := range []struct {
			name       string
			object     kmip.ObjectType
			format     kmip.KeyFormatType
			octets     []byte
			given      Given
			roundTrips bool
		}{
			{"without parameters", private, sec1F, own.sec1(false, 0), Given{Curve: c.name}, true},
			{"without parameters, by length", private, sec1F, own.sec1(false, 0), Given{Bits: c.bits}, true},
			{"without point", private, sec1F, own.sec1(true, shapeNoPoint), Given{}, true},
			{"bare", private, sec1F, own.sec1(false, shapeNoPoint), Given{Curve: c.name}, true},
			{"compressed inside", private, sec1F, own.sec1(true, shapeCompressed), Given{}, true},
			{"leading zero", private, sec1F, trimmed, Given{}, false},
			{"PKCS#8 as Java writes it", private, p8, own.shapedPKCS8(shapeNoPoint), Given{}, true},
			{"PKCS#8 with parameters inside", private, p8, own.shapedPKCS8(shapeFlipParams), Given{}, true},
			{"PKCS#8 with attributes", private, p8, attributed, Given{}, false},
			{"compressed", public, x509F, own.spki(pointCompressed), Given{}, true},
			{"hybrid", public, x509F, der(derSeq, own.algorithm(), der(derBits, []byte{0}, hybrid)), Given{}, false},
		} {
			key, err := Parse(tc.object, block(tc.format, byteString(tc.octets), none, 0), tc.given)
			if err != nil {
				t.Errorf("%s, %s: %v", c.name, tc.name, err)
				continue
			}
			want := value
			if tc.object == public {
				want = spki
			}
			if !bytes.Equal(key.Value, want) || key.RoundTrips != tc.roundTrips || key.Curve != c.name || key.Token != hsm.KeyEC {
				t.Errorf("%s, %s: got value of %d octets, RoundTrips %v", c.name, tc.name, len(key.Value), key.RoundTrips)
			}
			kb, err := Encode(&key.Facts, key.Value, Want{})
			if err != nil || bytes.Equal(kb.KeyValue.Value, byteString(tc.octets)) != tc.roundTrips {
				t.Errorf("%s, %s: Encode differs from RoundTrips (%v)", c.name, tc.name, err)
			}
			key.Keep()
			kb, err = Encode(&key.Facts, key.Value, Want{})
			if err != nil || key.Form == FormOpaque && !bytes.Equal(kb.KeyValue.Value, byteString(tc.octets)) {
				t.Errorf("%s, %s: Keep does not give the original (%v)", c.name, tc.name, err)
			}
		}
	}
}

// TestTokenValues encodes what tokens give back: PKCS#8 with less, or more, in it than Parse wrote.
func TestTokenValues(t *testing.T) {
	for _, c := range testCurves {
		k := testEC(t, c)
		own := &ecKey{curve: curveByName(c.name), d: must[[]byte](t)(k.Bytes()), point: must[[]byte](t)(k.PublicKey.Bytes())}
		f := Generated(private, ecdsaA, c.bits, 0, c.name)
		want := byteString(must[[]byte](t)(x509.MarshalECPrivateKey(k)))
		for i, value := range []hsm.Material{own.pkcs8(), own.shapedPKCS8(shapeNoPoint), own.shapedPKCS8(shapeFlipParams),
			own.shapedPKCS8(shapeNoPoint | shapeFlipParams)} {
			kb, err := Encode(&f, value, Want{Version: kmip.V1_0})
			if err != nil || !bytes.Equal(kb.KeyValue.Value, want) {
				t.Errorf("%s, token value %d: %v", c.name, i, err)
			}
		}
		for _, value := range []hsm.Material{nil, {0x30}, own.d, testEncodedOther(t, c)} {
			if _, err := Encode(&f, value, Want{}); kmip.ReasonOf(err) != kmip.ResultReasonGeneralFailure {
				t.Errorf("%s: a damaged value gives %v", c.name, err)
			}
		}
	}
}

// testEncodedOther is a key on another curve than c.
func testEncodedOther(t *testing.T, c testCurve) hsm.Material {
	for _, o := range testCurves {
		if o.name != c.name {
			return must[[]byte](t)(x509.MarshalPKCS8PrivateKey(testEC(t, o)))
		}
	}
	return nil
}

func TestCompression(t *testing.T) {
	const (
		uncompressed = kmip.KeyCompressionTypeECPublicKeyTypeUncompressed
		prime        = kmip.KeyCompressionTypeECPublicKeyTypeX9_62CompressedPrime
		char2        = kmip.KeyCompressionTypeECPublicKeyTypeX9_62CompressedChar2
		hybrid       = kmip.KeyCompressionTypeECPublicKeyTypeX9_62Hybrid
	)
	for _, c := range testCurves {
		k := testEC(t, c)
		point := must[[]byte](t)(k.PublicKey.Bytes())
		small := curveByName(c.name).compress(point)
		q := func(s []byte) []byte {
			return (&kmip.TransparentECPublicKey{RecommendedCurve: c.name, QString: s}).Append(nil, kmip.TagKeyMaterial, kmip.V1_4)
		}
		kb := block(tECp, q(small), ecA, c.bits)
		kb.KeyCompressionType = prime
		key, err := Parse(public, kb, Given{})
		if err != nil {
			t.Fatal(err)
		}
		for _, tc := range []struct {
			want     kmip.KeyCompressionType
			reason   kmip.ResultReason
			reported kmip.KeyCompressionType
			material []byte
		}{
			{0, 0, prime, q(small)},
			{prime, 0, prime, q(small)},
			{uncompressed, 0, uncompressed, q(point)},
			{char2, kmip.ResultReasonKeyCompressionTypeNotSupported, 0, nil},
			{hybrid, kmip.ResultReasonKeyCompressionTypeNotSupported, 0, nil},
		} {
			got, err := Encode(&key.Facts, key.Value, Want{Compression: tc.want, Version: kmip.V1_4})
			if tc.reason != 0 {
				if kmip.ReasonOf(err) != tc.reason {
					t.Errorf("%s: %s gives %v", c.name, tc.want, err)
				}
				continue
			}
			if err != nil || got.KeyCompressionType != tc.reported || !bytes.Equal(got.KeyValue.Value, tc.material) {
				t.Errorf("%s: %s gives %+v, %v", c.name, tc.want, got, err)
			}
		}
		for _, wrong := range []kmip.KeyCompressionType{uncompressed, char2, hybrid} {
			kb.KeyCompressionType = wrong
			if _, err := Parse(public, kb, Given{}); err == nil {
				t.Errorf("%s: a compressed point passes as %s", c.name, wrong)
			}
		}
	}
	f := Generated(symmetric, aes, 128, 16, 0)
	if _, err := Encode(&f, make(hsm.Material, 16), Want{Compression: uncompressed}); err != nil {
		t.Errorf("uncompressed AES: %v", err)
	}
	if _, err := Encode(&f, make(hsm.Material, 16), Want{Compression: prime}); kmip.ReasonOf(err) != kmip.ResultReasonKeyCompressionTypeNotSupported {
		t.Errorf("compressed AES: %v", err)
	}
}

// TestVersions gets a key that was registered with words of KMIP 1.4 in older versions.
func TestVersions(t *testing.T) {
	c := testCurves[0]
	k := testEC(t, c)
	for _, tc := range []struct {
		object    kmip.ObjectType
		material  []byte
		format    kmip.KeyFormatType
		algorithm kmip.CryptographicAlgorithm
		ver       kmip.Version
		want      kmip.KeyFormatType
		wantAlg   kmip.CryptographicAlgorithm
	}{
		{private, ecPrivateEncodings(t, k, c.name)[tEC], tEC, ecA, kmip.V1_4, tEC, ecA},
		{private, ecPrivateEncodings(t, k, c.name)[tEC], tEC, ecA, kmip.V1_2, tECDSA, ecA},
		{private, ecPrivateEncodings(t, k, c.name)[tEC], tEC, ecA, kmip.V1_0, tECDSA, ecdsaA},
		{private, ecPrivateEncodings(t, k, c.name)[tEC], tEC, kmip.CryptographicAlgorithmECDH, kmip.V1_0,
			kmip.KeyFormatTypeTransparentECDHPrivateKey, kmip.CryptographicAlgorithmECDH},
		{private, ecPrivateEncodings(t, k, c.name)[tECDSA], tECDSA, ecdsaA, kmip.V1_4, tECDSA, ecdsaA},
		{public, ecPublicEncodings(t, &k.PublicKey, c.name)[tECp], tECp, ecA, kmip.V1_1,
			kmip.KeyFormatTypeTransparentECDSAPublicKey, ecdsaA},
		{public, ecPublicEncodings(t, &k.PublicKey, c.name)[tECp], tECp, kmip.CryptographicAlgorithmECDH, kmip.V1_1,
			kmip.KeyFormatTypeTransparentECDHPublicKey, kmip.CryptographicAlgorithmECDH},
	} {
		key, err := Parse(tc.object, block(tc.format, tc.material, tc.algorithm, 256), Given{})
		if err != nil {
			t.Fatal(err)
		}
		kb, err := Encode(&key.Facts, key.Value, Want{Version: tc.ver})
		if err != nil || kb.KeyFormatType != tc.want || kb.CryptographicAlgorithm != tc.wantAlg ||
			!bytes.Equal(kb.KeyValue.Value, tc.material) {
			t.Errorf("%s of %s in %s: got %+v, %v", tc.format, tc.algorithm, tc.ver, kb, err)
		}
	}
}

func TestNotSupported(t *testing.T) {
	r := testRSA()
	value := hsm.Material(must[[]byte](t)(x509.MarshalPKCS8PrivateKey(r)))
	rsaPrivate := Generated(private, rsaA, 2048, 0, 0)
	keySym := Generated(symmetric, aes, 128, 16, 0)
	kept := Facts{Object: private, Format: p8, Algorithm: ecdsaA, Bits: 256}
	came := Facts{Object: symmetric, Form: FormSecret, Token: hsm.KeyGeneric, Format: opaque, Algorithm: aes, Bits: 128}
	part := Facts{Object: kmip.ObjectTypeSplitKey, Form: FormSecret, Token: hsm.KeyGeneric, Format: raw}
	for _, tc := range []struct {
		f      *Facts
		value  hsm.Material
		format kmip.KeyFormatType
	}{
		{&rsaPrivate, value, raw}, {&rsaPrivate, value, sec1F}, {&rsaPrivate, value, tEC}, {&rsaPrivate, value, tRSAp},
		{&rsaPrivate, value, x509F}, {&rsaPrivate, value, kmip.KeyFormatTypePKCS12}, {&rsaPrivate, value, 0x80000001},
		{&keySym, make(hsm.Material, 16), pkcs1}, {&keySym, make(hsm.Material, 16), opaque},
		{&kept, value, sec1F}, {&kept, value, tEC}, {&came, make(hsm.Material, 16), raw}, {&part, make(hsm.Material, 16), tSym},
	} {
		_, err := Encode(tc.f, tc.value, Want{Format: tc.format})
		if kmip.ReasonOf(err) != kmip.ResultReasonKeyFormatTypeNotSupported {
			t.Errorf("%s registered as %s in %s: got %v", tc.f.Object, tc.f.Format, tc.format, err)
		}
	}
}

func TestKeyValue(t *testing.T) {
	material := ttlv.Make(byteString([]byte("0123456789abcdef")))
	var attrs []kmip.Attribute
	for i := range 3 {
		index := int32(i)
		attrs = append(attrs, kmip.Attribute{AttributeName: fmt.Sprintf("x-%d", i), AttributeIndex: &index,
			AttributeValue: ttlv.Make(ttlv.AppendText(nil, kmip.TagAttributeValue, "some text of some length"))})
	}
	for n := range 4 {
		b := EncodeKeyValue(material, attrs[:n], kmip.V1_4)
		kv, err := DecodeKeyValue(b)
		if err != nil {
			t.Fatal(err)
		}
		if !kv.KeyMaterial.Equal(material) || len(kv.Attribute) != n {
			t.Errorf("%d attributes: got %d", n, len(kv.Attribute))
		}
	}
	good := EncodeKeyValue(material, nil, kmip.V1_4)
	for name, b := range map[string][]byte{
		"empty": nil, "cut off": good[:len(good)-8], "longer": append(bytes.Clone(good), 0), "raw octets": []byte("0123456789abcdef"),
		"another structure": byteString(good), "no material": ttlv.AppendItem(nil, kmip.TagKeyValue, ttlv.Item{Type: ttlv.Structure}),
	} {
		if _, err := DecodeKeyValue(b); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
