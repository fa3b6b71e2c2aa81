package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

func block(label string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A key is found in every encoding that a file may have, and comes out in every format that KMIP has for it.
func TestKeyFiles(t *testing.T) {
	r := must(rsa.GenerateKey(rand.Reader, 2048))
	e := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	pkcs1, pkcs8, sec1 := x509.MarshalPKCS1PrivateKey(r), must(x509.MarshalPKCS8PrivateKey(r)), must(x509.MarshalECPrivateKey(e))
	ec8 := must(x509.MarshalPKCS8PrivateKey(e))
	spki, ecpki := must(x509.MarshalPKIXPublicKey(&r.PublicKey)), must(x509.MarshalPKIXPublicKey(&e.PublicKey))
	private, public := kmip.ObjectTypePrivateKey, kmip.ObjectTypePublicKey
	for _, tc := range []struct {
		name   string
		typ    kmip.ObjectType
		data   []byte
		format kmip.KeyFormatType
		bits   int32
		as     map[kmip.KeyFormatType][]byte
	}{
		{"PKCS#1 PEM", private, block("RSA PRIVATE KEY", pkcs1), kmip.KeyFormatTypePKCS1, 2048,
			map[kmip.KeyFormatType][]byte{kmip.KeyFormatTypePKCS1: pkcs1, kmip.KeyFormatTypePKCS8: pkcs8, kmip.KeyFormatTypeECPrivateKey: nil}},
		{"PKCS#8 DER", private, bytes.Clone(pkcs8), kmip.KeyFormatTypePKCS8, 2048,
			map[kmip.KeyFormatType][]byte{kmip.KeyFormatTypePKCS1: pkcs1, kmip.KeyFormatTypePKCS8: pkcs8, kmip.KeyFormatTypeX509: nil}},
		{"EC with parameters", private, append(block("EC PARAMETERS", []byte{5, 0}), block("EC PRIVATE KEY", sec1)...), kmip.KeyFormatTypeECPrivateKey, 256,
			map[kmip.KeyFormatType][]byte{kmip.KeyFormatTypePKCS8: ec8, kmip.KeyFormatTypeECPrivateKey: sec1, kmip.KeyFormatTypePKCS1: nil}},
		{"public DER", public, bytes.Clone(spki), kmip.KeyFormatTypeX509, 2048,
			map[kmip.KeyFormatType][]byte{kmip.KeyFormatTypePKCS1: x509.MarshalPKCS1PublicKey(&r.PublicKey), kmip.KeyFormatTypeX509: spki}},
		{"public EC", public, block("PUBLIC KEY", ecpki), kmip.KeyFormatTypeX509, 256,
			map[kmip.KeyFormatType][]byte{kmip.KeyFormatTypeX509: ecpki, kmip.KeyFormatTypePKCS1: nil}},
		{"not known to the library", private, block("EC PRIVATE KEY", []byte{0x30, 0}), kmip.KeyFormatTypeECPrivateKey, 0,
			map[kmip.KeyFormatType][]byte{kmip.KeyFormatTypeECPrivateKey: {0x30, 0}, kmip.KeyFormatTypePKCS8: nil}},
		{"nothing", private, []byte("abc"), 0, 0, map[kmip.KeyFormatType][]byte{kmip.KeyFormatTypeOpaque: []byte("abc")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, err := parseKeyFile(tc.typ, tc.data)
			if err != nil {
				t.Fatal(err)
			}
			if _, bits := f.describe(); f.format != tc.format || bits != tc.bits {
				t.Errorf("format %v with %d bits, want %v with %d", f.format, bits, tc.format, tc.bits)
			}
			for format, want := range tc.as {
				if got := f.marshal(format); !bytes.Equal(got, want) {
					t.Errorf("as %v: got %x, want %x", format, got, want)
				}
			}
		})
	}
}

func TestKeyFileRefusals(t *testing.T) {
	locked := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"DEK-Info": "AES-128-CBC,00"}, Bytes: []byte{1}})
	cert := block("CERTIFICATE", []byte{0x30, 0})
	for name, tc := range map[string]struct {
		typ  kmip.ObjectType
		data []byte
	}{
		"encrypted":        {kmip.ObjectTypePrivateKey, locked},
		"another object":   {kmip.ObjectTypePrivateKey, cert},
		"two certificates": {kmip.ObjectTypeCertificate, append(bytes.Clone(cert), cert...)},
		"no PEM after all": {kmip.ObjectTypeCertificate, []byte("-----BEGIN NOTHING")},
	} {
		if _, err := parseKeyFile(tc.typ, tc.data); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestTransparent(t *testing.T) {
	r := must(rsa.GenerateKey(rand.Reader, 2048))
	e := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	f := &keyFile{key: r}
	s, ok := f.transparent(f.exactFormat(kmip.ObjectTypePrivateKey, kmip.V1_4))
	if p, is := s.(*kmip.TransparentRSAPrivateKey); !ok || !is || p.Modulus.Cmp(r.N) != 0 || p.CRTCoefficient.Cmp(r.Precomputed.Qinv) != 0 {
		t.Errorf("RSA: %v %+v", ok, s)
	}
	f = &keyFile{key: e}
	if got := f.exactFormat(kmip.ObjectTypePrivateKey, kmip.V1_2); got != kmip.KeyFormatTypeTransparentECDSAPrivateKey {
		t.Errorf("KMIP 1.2: %s", got)
	}
	s, ok = f.transparent(kmip.KeyFormatTypeTransparentECPrivateKey)
	if p, is := s.(*kmip.TransparentECPrivateKey); !ok || !is || p.RecommendedCurve != kmip.RecommendedCurveP384 {
		t.Errorf("EC: %v %+v", ok, s)
	}
	if _, ok := f.transparent(kmip.KeyFormatTypeTransparentRSAPrivateKey); ok {
		t.Error("an EC key is no RSA key")
	}
	saved := s.Append(nil, kmip.TagKeyMaterial, kmip.V1_4)
	if it, ok := savedMaterial(saved); !ok || !it.Equal(ttlv.Make(saved)) {
		t.Error("what get --out writes is not read")
	}
	if _, ok := savedMaterial([]byte("key bytes")); ok {
		t.Error("octets are taken for TTLV")
	}
}

func TestEncryptedPKCS8(t *testing.T) {
	for _, tc := range []struct {
		der  []byte
		want bool
	}{{[]byte{0x30, 3, 2, 1, 0}, false}, {[]byte{0x30, 2, 0x30, 0}, true}, {[]byte{0x30, 0x81, 2, 0x30, 0}, true}, {nil, false}, {[]byte{0x30, 0x84}, false}} {
		if got := encrypted(tc.der); got != tc.want {
			t.Errorf("%x: got %v", tc.der, got)
		}
	}
}

func TestWriteFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "key")
	for i, tc := range []struct {
		data    string
		replace bool
		want    string
		fails   bool
	}{{"one", false, "one", false}, {"two", false, "one", true}, {"three", true, "three", false}} {
		err := writeFile(name, []byte(tc.data), tc.replace)
		if (err != nil) != tc.fails {
			t.Errorf("step %d: %v", i, err)
		}
		got, err := os.ReadFile(name)
		if err != nil || string(got) != tc.want {
			t.Errorf("step %d: got %q, %v", i, got, err)
		}
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("step %d: mode %v, %v", i, info.Mode(), err)
		}
	}
	left, err := os.ReadDir(filepath.Dir(name))
	if err != nil || len(left) != 1 {
		t.Errorf("files are left over: %v, %v", left, err)
	}
}

func TestReadFileLimit(t *testing.T) {
	name := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(name, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (&kit{}).readFile("file", name); err == nil {
		t.Error("a file over the limit is read")
	}
}
