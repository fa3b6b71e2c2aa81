package keyform

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"

	"kmipd/hsm"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// TestForeignKeys registers keys of algorithms and parameters that stay opaque; the key tells algorithm and length.
func TestForeignKeys(t *testing.T) {
	r := testRSA()
	own := &ecKey{curve: curveByName(kmip.RecommendedCurveP256), d: bytes.Repeat([]byte{1}, 32)}
	if err := own.derivePoint(); err != nil {
		t.Fatal(err)
	}
	null := []byte{derNull, 0}
	explicit := der(derSeq, []byte{derInt, 1, 1}) // stands for explicit curve parameters
	id := func(oid []byte, params ...[]byte) []byte {
		return der(derSeq, append([][]byte{der(derOID, oid)}, params...)...)
	}
	info := func(alg, key []byte) []byte {
		return byteString(der(derSeq, []byte{derInt, 1, 0}, alg, der(derOctets, key)))
	}
	spki := func(alg, key []byte) []byte { return byteString(der(derSeq, alg, der(derBits, []byte{0}, key))) }
	domain := der(derSeq, derUint(new(big.Int).SetBit(bigOne, 1023, 1)), derUint(bigTwo))
	numbers := func(tags ...ttlv.Tag) []byte {
		fields := []vecField{}
		for _, tag := range tags {
			fields = append(fields, vecField{tag, "ffff"})
		}
		return structure(t, fields)
	}
	mqv := kmip.TransparentECPublicKey{RecommendedCurve: kmip.RecommendedCurveP256, QString: own.point}
	multi := der(derSeq, []byte{derInt, 1, 1}, derUint(r.N), derUint(big.NewInt(65537)), derUint(r.D), derUint(bigTwo), derUint(bigTwo),
		derUint(bigTwo), derUint(bigTwo), derUint(bigTwo), explicit)
	dh := kmip.CryptographicAlgorithmDH
	for _, tc := range []struct {
		name      string
		object    kmip.ObjectType
		format    kmip.KeyFormatType
		material  []byte
		given     Given
		algorithm kmip.CryptographicAlgorithm
		bits      int
	}{
		{"PSS", public, x509F, spki(id(oidPSS), x509.MarshalPKCS1PublicKey(&r.PublicKey)), Given{}, rsaA, 2048},
		{"PSS private", private, p8, info(id(oidPSS), x509.MarshalPKCS1PrivateKey(r)), Given{}, rsaA, 2048},
		{"PSS unreadable", private, p8, info(id(oidPSS), null), Given{Bits: 2048}, rsaA, 2048},
		{"more than two primes", private, pkcs1, byteString(multi), Given{}, rsaA, 2048},
		{"more than two primes in PKCS#8", private, p8, info(id(oidRSA, null), multi), Given{}, rsaA, 2048},
		{"DH", public, x509F, spki(id(oidDH, domain), derUint(bigTwo)), Given{}, dh, 1024},
		{"X9.42 DH", private, p8, info(id(oidX942, domain), derUint(bigTwo)), Given{}, dh, 1024},
		{"DH without parameters", private, p8, info(id(oidX942, null), derUint(bigTwo)), Given{Bits: 2048}, dh, 2048},
		{"X448", public, x509F, spki(id(oidX448), make([]byte, 56)), Given{}, kmip.CryptographicAlgorithmECDH, 448},
		{"Ed448", public, x509F, spki(id(oidEd448), make([]byte, 57)), Given{}, kmip.CryptographicAlgorithmEd448, 456},
		{"unknown", public, x509F, spki(id([]byte{0x2a, 3}), null), Given{Algorithm: kmip.CryptographicAlgorithmMcEliece, Bits: 9},
			kmip.CryptographicAlgorithmMcEliece, 9},
		{"explicit parameters", public, x509F, spki(id(oidEC, explicit), own.point), Given{Bits: 256}, ecdsaA, 256},
		{"explicit parameters in PKCS#8", private, p8, info(id(oidEC, explicit), own.sec1(false, 0)), Given{Bits: 256}, ecdsaA, 256},
		{"explicit parameters in SEC1", private, sec1F, byteString(der(derSeq, []byte{derInt, 1, 1}, der(derOctets, own.d),
			der(derContext0, explicit))), Given{Bits: 256}, ecdsaA, 256},
		{"unknown curve", public, x509F, spki(id(oidEC, der(derOID, []byte{0x2a, 3})), own.point), Given{Bits: 256}, ecdsaA, 256},
		{"transparent DH", private, kmip.KeyFormatTypeTransparentDHPrivateKey, numbers(kmip.TagP, kmip.TagG, kmip.TagX), Given{}, dh, 16},
		{"transparent DH public", public, kmip.KeyFormatTypeTransparentDHPublicKey,
			numbers(kmip.TagP, kmip.TagQ, kmip.TagG, kmip.TagJ, kmip.TagY), Given{}, dh, 16},
		{"transparent ECMQV public", public, kmip.KeyFormatTypeTransparentECMQVPublicKey, mqv.Append(nil, kmip.TagKeyMaterial, kmip.V1_4),
			Given{}, kmip.CryptographicAlgorithmECMQV, 256},
	} {
		k, err := Parse(tc.object, block(tc.format, tc.material, none, 0), tc.given)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if k.Form != FormOpaque || k.Algorithm != tc.algorithm || k.Bits != tc.bits {
			t.Errorf("%s: got %+v", tc.name, k.Facts)
		}
		if kb, err := Encode(&k.Facts, k.Value, Want{}); err != nil || !bytes.Equal(kb.KeyValue.Value, tc.material) {
			t.Errorf("%s: does not come back (%v)", tc.name, err)
		}
	}
}

// TestKeep keeps keys of every form as they came.
func TestKeep(t *testing.T) {
	sym, mark := ttlv.Begin(nil, kmip.TagKeyMaterial)
	sym = ttlv.End(ttlv.AppendBytes(sym, kmip.TagKey, make([]byte, 16)), mark)
	for _, tc := range []struct {
		object   kmip.ObjectType
		format   kmip.KeyFormatType
		material []byte
	}{
		{private, tRSA, structure(t, vecRSA1024Transparent)},
		{private, pkcs1, byteString(unhex(t, vecRSA2048PKCS1))},
		{public, x509F, byteString(unhex(t, vecP256X509))},
		{secret, tSym, sym},
		{secret, raw, byteString([]byte("secret"))},
		{secret, raw, byteString(nil)},
	} {
		k, err := Parse(tc.object, block(tc.format, tc.material, none, 0), Given{})
		if err != nil {
			t.Fatal(err)
		}
		value := k.Value
		k.Keep()
		kb, err := Encode(&k.Facts, k.Value, Want{})
		if err != nil || k.Form != FormOpaque || k.Token != 0 || !bytes.Equal(kb.KeyValue.Value, tc.material) || k.Octets != len(k.Value) {
			t.Errorf("%s as %s: got %+v, %v", tc.object, tc.format, k.Facts, err)
		}
		if len(value) > 0 && &value[0] != &k.Value[0] && !bytes.Equal(value, make([]byte, len(value))) {
			t.Errorf("%s as %s: the token's value is not wiped", tc.object, tc.format)
		}
	}
	// A kept structure that is not one any more is our fault, not the client's.
	f := Facts{Object: private, Format: tRSA, Shape: shapeStructure}
	for _, value := range []hsm.Material{nil, {1, 2, 3}, byteString(nil)[:4]} {
		if _, err := Encode(&f, value, Want{}); kmip.ReasonOf(err) != kmip.ResultReasonGeneralFailure {
			t.Errorf("got %v", err)
		}
	}
}

func TestGenerated(t *testing.T) {
	for _, tc := range []struct {
		object    kmip.ObjectType
		algorithm kmip.CryptographicAlgorithm
		octets    int
		form      Form
		token     hsm.KeyType
		format    kmip.KeyFormatType
	}{
		{symmetric, aes, 32, FormSecret, hsm.KeyAES, raw},
		{symmetric, des3, 24, FormSecret, hsm.KeyDES3, raw},
		{symmetric, des3, 16, FormSecret, hsm.KeyGeneric, raw},
		{symmetric, kmip.CryptographicAlgorithmHMACSHA256, 32, FormSecret, hsm.KeyGeneric, raw},
		{secret, none, 10, FormSecret, hsm.KeyGeneric, raw},
		{private, rsaA, 0, FormPrivate, hsm.KeyRSA, pkcs1},
		{public, rsaA, 0, FormPublic, hsm.KeyRSA, pkcs1},
		{private, ecdsaA, 0, FormPrivate, hsm.KeyEC, sec1F},
		{public, ecA, 0, FormPublic, hsm.KeyEC, x509F},
	} {
		f := Generated(tc.object, tc.algorithm, 0, tc.octets, 0)
		if f.Form != tc.form || f.Token != tc.token || f.Format != tc.format {
			t.Errorf("%s %s: got %+v", tc.object, tc.algorithm, f)
		}
	}
	for object, want := range map[kmip.ObjectType]kmip.KeyFormatType{kmip.ObjectTypeCertificate: x509F,
		kmip.ObjectTypeOpaqueObject: opaque, kmip.ObjectTypePGPKey: raw, kmip.ObjectTypeSplitKey: raw} {
		if got := DefaultFormat(object, none); got != want {
			t.Errorf("%s: got %s", object, got)
		}
	}
	if got := DefaultFormat(private, dsaA); got != p8 {
		t.Errorf("DSA: got %s", got)
	}
}

// TestDamagedPublicKeys: values that are not what the facts say.
func TestDamagedValues(t *testing.T) {
	rsaPublic, ecPublic := Generated(public, rsaA, 2048, 0, 0), Generated(public, ecdsaA, 256, 0, kmip.RecommendedCurveP256)
	rsaPrivate, noCurve := Generated(private, rsaA, 2048, 0, 0), Generated(public, ecdsaA, 256, 0, 0)
	ec, r := unhex(t, vecP256X509), unhex(t, vecRSA1024X509)
	for i, tc := range []struct {
		f     *Facts
		value []byte
	}{{&rsaPublic, nil}, {&rsaPublic, ec}, {&ecPublic, r}, {&noCurve, ec}, {&rsaPrivate, nil}, {&rsaPrivate, r},
		{&rsaPrivate, must[[]byte](t)(x509.MarshalPKCS8PrivateKey(testEC(t, testCurves[0])))}} {
		if _, err := Encode(tc.f, tc.value, Want{}); kmip.ReasonOf(err) != kmip.ResultReasonGeneralFailure {
			t.Errorf("%d: got %v", i, err)
		}
		if _, err := MaterialForDigest(tc.f, tc.value, tc.f.Format); kmip.ReasonOf(err) != kmip.ResultReasonGeneralFailure {
			t.Errorf("%d: got %v", i, err)
		}
	}
}

func TestCertificateExtensions(t *testing.T) {
	general := func(tag byte, body []byte) []byte { return der(tag, body) }
	name := der(derSeq, der(derSet, der(derSeq, der(derOID, []byte{0x55, 4, 3}), der(derUTF8, []byte("a")))))
	names := der(derSeq, general(0xA4, name), general(0x88, []byte{0x2a, 3}), general(0xA0, []byte{5, 0}), general(0x87, []byte{1}),
		general(0x82, []byte{0xff}))
	b, _ := testCertificate(t, func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 18}, Value: names, Critical: true}}
	})
	f := parseX509(t, b)
	want := []string{"CN=a", "1.2.3", "#a0020500", "#870101", "#8201ff"}
	got := f.Issuer.CertificateIssuerAlternativeName
	if len(got) != len(want) || len(f.X509Issuer.IssuerAlternativeName) != len(want) {
		t.Fatalf("got %q", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %q, want %q", got[i], want[i])
		}
	}
	// The same certificate with broken extensions, and with unique identifiers instead.
	top := reader{rest: b}
	seq := top.enter(derSeq)
	tbs := seq.next(derSeq)
	tail := seq.rest
	r := reader{rest: tbs}
	for range 7 {
		r.any()
	}
	head := tbs[:len(tbs)-len(r.rest)]
	extension := func(oid, value []byte) []byte {
		return der(derContext3, der(derSeq, der(derSeq, der(derOID, oid), der(derOctets, value))))
	}
	for _, tc := range []struct {
		name string
		tail []byte
		ok   bool
	}{
		{"none", nil, true},
		{"unique identifiers", append(der(derPrimitive1, []byte{0, 1}), der(derPrimitive2, []byte{0, 1})...), true},
		{"unknown extension", extension([]byte{0x2a, 3}, nil), true},
		{"unknown field", der(derOctets), false},
		{"extensions are no list", der(derContext3, der(derOctets)), false},
		{"extension is no structure", der(derContext3, der(derSeq, der(derOctets))), false},
		{"extension without value", der(derContext3, der(derSeq, der(derSeq, der(derOID, oidKeyUsage)))), false},
		{"keyUsage is no bit string", extension(oidKeyUsage, der(derOctets)), false},
		{"empty keyUsage", extension(oidKeyUsage, der(derBits)), false},
		{"alternative names are no list", extension(oidSubjectAltName, der(derOctets)), false},
		{"alternative name of no kind", extension(oidSubjectAltName, der(derSeq, der(derOctets))), false},
	} {
		c := der(derSeq, der(derSeq, head, tc.tail), tail)
		_, err := ParseCertificate(&kmip.Certificate{CertificateType: kmip.CertificateTypeX509, CertificateValue: c})
		if (err == nil) != tc.ok {
			t.Errorf("%s: got %v", tc.name, err)
		}
	}
}
