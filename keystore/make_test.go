package keystore

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"sync"
	"testing"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// The makers of attributes.

func at(name string, v ttlv.Item) kmip.Attribute {
	return kmip.Attribute{AttributeName: name, AttributeValue: v}
}

func atIndex(name string, index int32, v ttlv.Item) kmip.Attribute {
	return kmip.Attribute{AttributeName: name, AttributeIndex: &index, AttributeValue: v}
}

func named(name string) kmip.Attribute {
	return at("Name", structValue(&kmip.Name{NameValue: name, NameType: kmip.NameTypeUninterpretedTextString}))
}

func mask(m kmip.CryptographicUsageMask) kmip.Attribute {
	return at("Cryptographic Usage Mask", intValue(m))
}

func with(attrs ...kmip.Attribute) *kmip.TemplateAttribute {
	return &kmip.TemplateAttribute{Attribute: attrs}
}

func attributesOf(algorithm kmip.CryptographicAlgorithm, bits int32, m kmip.CryptographicUsageMask) []kmip.Attribute {
	return []kmip.Attribute{at("Cryptographic Algorithm", enumValue(algorithm)), at("Cryptographic Length", intValue(bits)), mask(m)}
}

func aesAttributes(bits int32) []kmip.Attribute {
	return attributesOf(kmip.CryptographicAlgorithmAES, bits, kmip.CryptographicUsageMaskEncrypt|kmip.CryptographicUsageMaskDecrypt|
		kmip.CryptographicUsageMaskWrapKey|kmip.CryptographicUsageMaskUnwrapKey)
}

// marker is key material that a search finds wherever it leaks to.
func marker(octets int) []byte {
	return bytes.Repeat([]byte("KEYBYTES"), (octets+7)/8)[:octets]
}

// symmetric is a Register request for an AES key.
func symmetric(value []byte) *kmip.RegisterRequest {
	n := int32(8 * len(value))
	return &kmip.RegisterRequest{ObjectType: kmip.ObjectTypeSymmetricKey,
		TemplateAttribute: *with(mask(kmip.CryptographicUsageMaskEncrypt | kmip.CryptographicUsageMaskWrapKey | kmip.CryptographicUsageMaskUnwrapKey)),
		SymmetricKey: &kmip.SymmetricKey{KeyBlock: kmip.KeyBlock{KeyFormatType: kmip.KeyFormatTypeRaw, KeyValue: structured(value),
			CryptographicAlgorithm: kmip.CryptographicAlgorithmAES, CryptographicLength: &n}}}
}

func secret(value []byte) *kmip.RegisterRequest {
	return &kmip.RegisterRequest{ObjectType: kmip.ObjectTypeSecretData, SecretData: &kmip.SecretData{
		SecretDataType: kmip.SecretDataTypePassword, KeyBlock: kmip.KeyBlock{KeyFormatType: kmip.KeyFormatTypeOpaque, KeyValue: structured(value)}}}
}

func opaque(value []byte) *kmip.RegisterRequest {
	return &kmip.RegisterRequest{ObjectType: kmip.ObjectTypeOpaqueObject, OpaqueObject: &kmip.OpaqueObject{OpaqueDataType: 0x80000001, OpaqueDataValue: value}}
}

func template(attrs ...kmip.Attribute) *kmip.RegisterRequest {
	return &kmip.RegisterRequest{ObjectType: kmip.ObjectTypeTemplate, Template: &kmip.Template{Attribute: attrs}}
}

func certificate(der []byte) *kmip.RegisterRequest {
	return &kmip.RegisterRequest{ObjectType: kmip.ObjectTypeCertificate, Certificate: &kmip.Certificate{CertificateType: kmip.CertificateTypeX509, CertificateValue: der}}
}

// privateKey is a Register request for an EC private key in PKCS#8.
func privateKey(t testing.TB, key *ecdsa.PrivateKey) *kmip.RegisterRequest {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &kmip.RegisterRequest{ObjectType: kmip.ObjectTypePrivateKey,
		TemplateAttribute: *with(mask(kmip.CryptographicUsageMaskSign)),
		PrivateKey: &kmip.PrivateKey{KeyBlock: kmip.KeyBlock{KeyFormatType: kmip.KeyFormatTypePKCS8, KeyValue: structured(der),
			CryptographicAlgorithm: kmip.CryptographicAlgorithmEC, CryptographicLength: ptr(int32(256))}}}
}

func publicKey(t testing.TB, key *ecdsa.PrivateKey) *kmip.RegisterRequest {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return &kmip.RegisterRequest{ObjectType: kmip.ObjectTypePublicKey,
		TemplateAttribute: *with(mask(kmip.CryptographicUsageMaskVerify)),
		PublicKey: &kmip.PublicKey{KeyBlock: kmip.KeyBlock{KeyFormatType: kmip.KeyFormatTypeX509, KeyValue: structured(der),
			CryptographicAlgorithm: kmip.CryptographicAlgorithmEC, CryptographicLength: ptr(int32(256))}}}
}

// ecKey is one P-256 key for all tests; cert a certificate of it.
var ecKey = sync.OnceValue(func() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
})

// makeCert makes a certificate of ecKey, signed by parent or by itself.
func makeCert(t testing.TB, subject pkix.Name, parent *x509.Certificate) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: serial, Subject: subject, NotBefore: epoch.Add(-time.Hour), NotAfter: epoch.Add(1000 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true, IsCA: parent == nil}
	if parent == nil {
		parent = tmpl
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, ecKey().Public(), ecKey())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// byteString is a Key Value that is a Byte String: a wrapped one.
func byteString(b []byte) ttlv.Item { return ttlv.Make(ttlv.AppendBytes(nil, kmip.TagKeyValue, b)) }

// keyValue is the TTLV encoding of a Key Value: what the Encoding Option TTLV Encoding wraps.
func keyValue(material []byte) []byte {
	b, mark := ttlv.Begin(nil, kmip.TagKeyValue)
	return ttlv.End(ttlv.AppendBytes(b, kmip.TagKeyMaterial, material), mark)
}

// registeredBlock is the Key Block of a Register request.
func registeredBlock(req *kmip.RegisterRequest) *kmip.KeyBlock {
	switch {
	case req.SymmetricKey != nil:
		return &req.SymmetricKey.KeyBlock
	case req.PrivateKey != nil:
		return &req.PrivateKey.KeyBlock
	}
	return &req.SecretData.KeyBlock
}
