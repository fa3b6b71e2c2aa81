package keyform

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"math/big"
	"testing"

	"kmipd/hsm"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// block is a Key Block around a Key Material item (whose encoding it is given). bits 0 leaves the length out.
func block(format kmip.KeyFormatType, material []byte, algorithm kmip.CryptographicAlgorithm, bits int) *kmip.KeyBlock {
	kb := &kmip.KeyBlock{KeyFormatType: format, CryptographicAlgorithm: algorithm,
		KeyValue: ttlv.Item{Tag: kmip.TagKeyValue, Type: ttlv.Structure, Value: material}}
	if bits != 0 {
		n := int32(bits)
		kb.CryptographicLength = &n
	}
	return kb
}

func byteString(b []byte) []byte { return ttlv.AppendBytes(nil, kmip.TagKeyMaterial, b) }

func structure(t testing.TB, fields []vecField) []byte {
	t.Helper()
	b, mark := ttlv.Begin(nil, kmip.TagKeyMaterial)
	for _, f := range fields {
		n, ok := new(big.Int).SetString(f.hex, 16)
		if !ok {
			t.Fatal("bad vector")
		}
		b = ttlv.AppendBigInt(b, f.tag, n)
	}
	return ttlv.End(b, mark)
}

const (
	aes    = kmip.CryptographicAlgorithmAES
	des3   = kmip.CryptographicAlgorithmDES3
	rsaA   = kmip.CryptographicAlgorithmRSA
	ecdsaA = kmip.CryptographicAlgorithmECDSA
	ecA    = kmip.CryptographicAlgorithmEC
	dsaA   = kmip.CryptographicAlgorithmDSA
	none   = kmip.CryptographicAlgorithm(0)

	symmetric = kmip.ObjectTypeSymmetricKey
	private   = kmip.ObjectTypePrivateKey
	public    = kmip.ObjectTypePublicKey
	secret    = kmip.ObjectTypeSecretData

	raw    = kmip.KeyFormatTypeRaw
	opaque = kmip.KeyFormatTypeOpaque
	pkcs1  = kmip.KeyFormatTypePKCS1
	p8     = kmip.KeyFormatTypePKCS8
	x509F  = kmip.KeyFormatTypeX509
	sec1F  = kmip.KeyFormatTypeECPrivateKey
	tSym   = kmip.KeyFormatTypeTransparentSymmetricKey
	tRSA   = kmip.KeyFormatTypeTransparentRSAPrivateKey
	tRSAp  = kmip.KeyFormatTypeTransparentRSAPublicKey
	tEC    = kmip.KeyFormatTypeTransparentECPrivateKey
	tECp   = kmip.KeyFormatTypeTransparentECPublicKey
	tECDSA = kmip.KeyFormatTypeTransparentECDSAPrivateKey
)

// TestOASISKeys registers the key blocks of the OASIS cases and gets them back.
func TestOASISKeys(t *testing.T) {
	bytesOf := func(s string) []byte { return byteString(unhex(t, s)) }
	transparentSym, mark := ttlv.Begin(nil, kmip.TagKeyMaterial)
	transparentSym = ttlv.End(ttlv.AppendBytes(transparentSym, kmip.TagKey,
		unhex(t, "0000111122223333444455556666777788889999aaaabbbbccccddddeeeeffff")), mark)
	for _, tc := range []struct {
		name      string
		object    kmip.ObjectType
		format    kmip.KeyFormatType
		material  []byte
		algorithm kmip.CryptographicAlgorithm
		bits      int
		form      Form
		token     hsm.KeyType
		want      kmip.CryptographicAlgorithm
		wantBits  int
		digest    string
	}{
		{name: "TC-181 raw", object: symmetric, format: raw,
			material:  bytesOf("0000111122223333444455556666777788889999aaaabbbbccccddddeeeeffff"),
			algorithm: aes, bits: 256, form: FormSecret, token: hsm.KeyAES, want: aes, wantBits: 256,
			digest: "6c064fe051add11edc07727b594eb48711df843e08445bba2cd786bc16bc58e8"},
		{name: "TC-181 transparent", object: symmetric, format: tSym, material: transparentSym, algorithm: aes, bits: 256,
			form: FormSecret, token: hsm.KeyAES, want: aes, wantBits: 256,
			digest: "499ce96ff6f5e19fe9fe7a2fe4c3e92b88db0001a4e8df28d9966856b6c4b87c"},
		{name: "TC-182 PKCS#1", object: private, format: pkcs1, material: bytesOf(vecRSA2048PKCS1), algorithm: rsaA, bits: 2048,
			form: FormPrivate, token: hsm.KeyRSA, want: rsaA, wantBits: 2048,
			digest: "11110a01ed4589d9987c9ad60368e2b762f2b20c00946e1932c1605a18172f55"},
		{name: "TC-182 transparent", object: private, format: tRSA, material: structure(t, vecRSA2048Transparent),
			algorithm: rsaA, bits: 2048, form: FormPrivate, token: hsm.KeyRSA, want: rsaA, wantBits: 2048,
			digest: "d73bbc51e83332935f912dbfc35c5efc3b7bf8021835ba86b8da4181f74244ac"},
		{name: "TC-132 public", object: public, format: pkcs1, material: bytesOf(vecRSA2048PublicPKCS1), algorithm: rsaA,
			bits: 2048, form: FormPublic, token: hsm.KeyRSA, want: rsaA, wantBits: 2048},
		{name: "TC-82 private", object: private, format: p8, material: bytesOf(vecRSA1024PKCS8), algorithm: rsaA, bits: 1024,
			form: FormPrivate, token: hsm.KeyRSA, want: rsaA, wantBits: 1024},
		{name: "TC-82 public", object: public, format: x509F, material: bytesOf(vecRSA1024X509), algorithm: rsaA, bits: 1024,
			form: FormPublic, token: hsm.KeyRSA, want: rsaA, wantBits: 1024},
		{name: "BL-M-9", object: private, format: tRSA, material: structure(t, vecRSA1024Transparent), form: FormPrivate,
			token: hsm.KeyRSA, want: rsaA, wantBits: 1024},
		{name: "TC-ECC-1 private", object: private, format: sec1F, material: bytesOf(vecP256SEC1), algorithm: ecdsaA, bits: 256,
			form: FormPrivate, token: hsm.KeyEC, want: ecdsaA, wantBits: 256},
		{name: "TC-ECC-1 public", object: public, format: x509F, material: bytesOf(vecP256X509), algorithm: ecdsaA, bits: 256,
			form: FormPublic, token: hsm.KeyEC, want: ecdsaA, wantBits: 256},
		{name: "TC-ECC-3 private", object: private, format: sec1F, material: bytesOf(vecK1SEC1), algorithm: ecA, bits: 256,
			form: FormOpaque, want: ecA, wantBits: 256},
		{name: "TC-ECC-3 public", object: public, format: x509F, material: bytesOf(vecK1X509), algorithm: ecdsaA, bits: 256,
			form: FormOpaque, want: ecdsaA, wantBits: 256},
		{name: "TC-ECC-2 encrypted", object: private, format: p8, material: bytesOf(vecEncryptedPKCS8), algorithm: ecdsaA,
			bits: 256, form: FormOpaque, want: ecdsaA, wantBits: 256},
		{name: "TC-ECC-3 of 1.0", object: private, format: sec1F, material: bytesOf(vecEncryptedPKCS8), algorithm: ecdsaA,
			bits: 256, form: FormOpaque, want: ecdsaA, wantBits: 256},
		{name: "SKFF-M-12", object: symmetric, format: raw, material: bytesOf("c8e51523f73d6ee9c8e51523f73d6ee9c8e51523f73d6ee9"),
			algorithm: des3, bits: 168, form: FormSecret, token: hsm.KeyDES3, want: des3, wantBits: 168},
		{name: "SKFF-O-5", object: symmetric, format: raw, material: bytesOf("370edc5897b0e957686ebad5c140a40e"),
			algorithm: des3, bits: 112, form: FormSecret, token: hsm.KeyGeneric, want: des3, wantBits: 112},
		{name: "SKFF-O-2", object: symmetric, format: raw, material: bytesOf("1778963e51b52027aaa0"),
			algorithm: kmip.CryptographicAlgorithmSKIPJACK, bits: 80, form: FormSecret, token: hsm.KeyGeneric,
			want: kmip.CryptographicAlgorithmSKIPJACK, wantBits: 80},
		{name: "SASED-M-2", object: secret, format: opaque, material: bytesOf("2a2a2a2a2a2a2a2a2a2a"), form: FormSecret,
			token: hsm.KeyGeneric, wantBits: 80},
		{name: "BL-M-12", object: public, format: kmip.KeyFormatTypeTransparentDSAPublicKey, material: structure(t, vecDSAPublic),
			algorithm: dsaA, bits: 512, form: FormOpaque, want: dsaA, wantBits: 512},
		{name: "BL-M-13", object: private, format: kmip.KeyFormatTypeTransparentDSAPrivateKey,
			material: structure(t, vecDSAPrivate), form: FormOpaque, want: dsaA, wantBits: 512},
		{name: "TC-SJ-3", object: kmip.ObjectTypeSplitKey, format: raw, material: bytesOf("66c46a7754f94de466c46a7754f94de4"),
			form: FormSecret, token: hsm.KeyGeneric, wantBits: 128},
		{name: "TC-PGP-1", object: kmip.ObjectTypePGPKey, format: raw, material: bytesOf("2d2d2d2d2d424547"), algorithm: rsaA,
			bits: 2048, form: FormOpaque, want: rsaA, wantBits: 2048},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k, err := Parse(tc.object, block(tc.format, tc.material, tc.algorithm, tc.bits), Given{})
			if err != nil {
				t.Fatal(err)
			}
			if k.Form != tc.form || k.Token != tc.token || k.Algorithm != tc.want || k.Bits != tc.wantBits {
				t.Errorf("got form %d, token type %d, %s of %d bits", k.Form, k.Token, k.Algorithm, k.Bits)
			}
			if !k.RoundTrips || k.Object != tc.object || k.Format != tc.format || k.Octets != len(k.Value) {
				t.Errorf("got facts %+v, RoundTrips %v", k.Facts, k.RoundTrips)
			}
			sum := sha256.Sum256(k.Original)
			if tc.digest != "" && hex.EncodeToString(sum[:]) != tc.digest {
				t.Errorf("digest is %x, want %s", sum, tc.digest)
			}
			kb, err := Encode(&k.Facts, k.Value, Want{Version: kmip.V1_4})
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(kb.KeyValue.Value, tc.material) || kb.KeyFormatType != tc.format {
				t.Errorf("got %s %x, want %s %x", kb.KeyFormatType, kb.KeyValue.Value, tc.format, tc.material)
			}
			if kb.CryptographicAlgorithm != tc.want || (kb.CryptographicLength != nil) != (tc.want != 0) {
				t.Errorf("got algorithm %s, length %v", kb.CryptographicAlgorithm, kb.CryptographicLength)
			}
			again, err := MaterialForDigest(&k.Facts, k.Value, k.Format)
			if err != nil || !bytes.Equal(again, k.Original) {
				t.Errorf("MaterialForDigest differs from Original (%v)", err)
			}
		})
	}
}

// TestOASISConversion checks that the two encodings of the key of TC-182 give each other.
func TestOASISConversion(t *testing.T) {
	k, err := Parse(private, block(pkcs1, byteString(unhex(t, vecRSA2048PKCS1)), none, 0), Given{})
	if err != nil {
		t.Fatal(err)
	}
	want := structure(t, vecRSA2048Transparent)
	got, err := MaterialForDigest(&k.Facts, k.Value, tRSA)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("PKCS#1 to transparent: %v", err)
	}
	k2, err := Parse(private, block(tRSA, want, none, 0), Given{})
	if err != nil {
		t.Fatal(err)
	}
	got, err = MaterialForDigest(&k2.Facts, k2.Value, pkcs1)
	if err != nil || !bytes.Equal(got, k.Original) {
		t.Errorf("transparent to PKCS#1: %v", err)
	}
}

func TestOASISCertificates(t *testing.T) {
	for _, tc := range []struct {
		name, der                       string
		length, bits                    int
		algorithm                       kmip.CryptographicAlgorithm
		signature                       kmip.DigitalSignatureAlgorithm
		issuer, subject, serial         string
		serialDER, issuerDER, keyVector string
		mask                            kmip.CryptographicUsageMask
		curve                           kmip.RecommendedCurve
	}{
		{name: "TC-132", der: vecCertRSA, length: 790, bits: 2048, algorithm: rsaA,
			signature: kmip.DigitalSignatureAlgorithmSHA1WithRSAEncryptionPKCS1V1_5,
			issuer:    "CN=KMIP,OU=OASIS,O=TEST,C=US", subject: "CN=KMIP,OU=OASIS,O=TEST,C=US", serial: "01", serialDER: "020101",
			issuerDER: "303b310b3009060355040613025553310d300b060355040a130454455354310e300c060355040b13054f41534953310d300b060355040313044b4d4950"},
		{name: "TC-CERTATTR-1", der: vecCertAttr, length: 557, bits: 1024, algorithm: rsaA,
			signature: kmip.DigitalSignatureAlgorithmSHA256WithRSAEncryptionPKCS1V1_5,
			issuer:    "CN=Inter,O=Kmip Test,C=AU", subject: "CN=EE,O=Kmip Test,C=AU", serial: "3132333435363738",
			serialDER: "02083132333435363738",
			issuerDER: "3031310b300906035504061302415531123010060355040a13094b6d69702054657374310e300c06035504031305496e746572"},
		{name: "TC-ECC-3 of 1.0", der: vecCertP256, length: 475, bits: 256, algorithm: ecdsaA,
			signature: kmip.DigitalSignatureAlgorithmECDSAWithSHA256,
			issuer:    "CN=KMIP-EC-secp256r1,OU=OASIS,O=TEST,C=US", subject: "CN=KMIP-EC-secp256r1,OU=OASIS,O=TEST,C=US",
			serial: "DADA16A58D2924D9", serialDER: "020900dada16a58d2924d9", curve: kmip.RecommendedCurveP256},
		{name: "TC-ECC-3", der: vecCertK1, length: 473, bits: 256, algorithm: ecdsaA,
			signature: kmip.DigitalSignatureAlgorithmECDSAWithSHA256,
			issuer:    "CN=KMIP-EC-secp256k1,OU=OASIS,O=TEST,C=US", subject: "CN=KMIP-EC-secp256k1,OU=OASIS,O=TEST,C=US",
			serial: "EC0B7402196D5295", serialDER: "020900ec0b7402196d5295", curve: kmip.RecommendedCurveSECP256K1,
			issuerDER: "3048310b3009060355040613025553310d300b060355040a0c0454455354310e300c060355040b0c054f41534953311a301806035504030c114b4d49502d45432d736563703235366b31"},
		{name: "TC-PKCS12-1", der: vecCertCA, length: 576, bits: 1024, algorithm: rsaA,
			signature: kmip.DigitalSignatureAlgorithmSHA256WithRSAEncryptionPKCS1V1_5,
			issuer:    "CN=CATop,O=Kmip Test,C=AU", subject: "CN=CATop,O=Kmip Test,C=AU", serial: "5B5F5313EDA014B0",
			serialDER: "02085b5f5313eda014b0", mask: kmip.CryptographicUsageMaskCertificateSign | kmip.CryptographicUsageMaskCRLSign},
		{name: "BL-M-10", der: vecCertEmail, length: 1043, bits: 2048, algorithm: rsaA,
			signature: kmip.DigitalSignatureAlgorithmSHA256WithRSAEncryptionPKCS1V1_5,
			issuer:    "EMAILADDRESS=Email,CN=CN,OU=OU,O=O,L=L,ST=SP,C=AU", subject: "EMAILADDRESS=Email,CN=CN,OU=OU,O=O,L=L,ST=SP,C=AU"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, err := ParseCertificate(&kmip.Certificate{CertificateType: kmip.CertificateTypeX509, CertificateValue: unhex(t, tc.der)})
			if err != nil {
				t.Fatal(err)
			}
			if f.Length != tc.length || f.Algorithm != tc.algorithm || f.Bits != tc.bits || f.Curve != tc.curve ||
				f.SignatureAlgorithm != tc.signature || f.UsageMask != tc.mask {
				t.Errorf("got %d octets, %s of %d bits, curve %s, signature %s, mask %s",
					f.Length, f.Algorithm, f.Bits, f.Curve, f.SignatureAlgorithm, f.UsageMask)
			}
			if f.Identifier.Issuer != tc.issuer || f.Issuer.CertificateIssuerDistinguishedName != tc.issuer ||
				f.Subject.CertificateSubjectDistinguishedName != tc.subject {
				t.Errorf("got issuer %q, subject %q", f.Identifier.Issuer, f.Subject.CertificateSubjectDistinguishedName)
			}
			if tc.serial != "" && (*f.Identifier.SerialNumber != tc.serial ||
				hex.EncodeToString(f.X509Identifier.CertificateSerialNumber) != tc.serialDER) {
				t.Errorf("got serial %s and %x", *f.Identifier.SerialNumber, f.X509Identifier.CertificateSerialNumber)
			}
			if tc.issuerDER != "" && (hex.EncodeToString(f.X509Identifier.IssuerDistinguishedName) != tc.issuerDER ||
				hex.EncodeToString(f.X509Issuer.IssuerDistinguishedName) != tc.issuerDER) {
				t.Errorf("got issuer %x", f.X509Identifier.IssuerDistinguishedName)
			}
		})
	}
}

// TestCertificateKey finds the public key of TC-132 by the key of its certificate.
func TestCertificateKey(t *testing.T) {
	f, err := ParseCertificate(&kmip.Certificate{CertificateType: kmip.CertificateTypeX509, CertificateValue: unhex(t, vecCertRSA)})
	if err != nil {
		t.Fatal(err)
	}
	k, err := Parse(public, block(pkcs1, byteString(unhex(t, vecRSA2048PublicPKCS1)), none, 0), Given{})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(f.SPKI, k.Value) {
		t.Error("the certificate's key is not the registered public key")
	}
}
