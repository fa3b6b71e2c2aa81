package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"

	"kmipd/kmip"
)

// maxFile bounds what is read: servers take no messages of that size.
const maxFile = 16 << 20

// readFile reads the file that a flag names; - is standard input. The caller wipes what it returns.
func (k *kit) readFile(flag, name string) ([]byte, error) {
	var r io.Reader = k.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, usageError("--%s: %v", flag, err)
		}
		defer func() { _ = f.Close() }() // only read from
		r = f
	}
	// A buffer that is never moved leaves no copies behind.
	buf := make([]byte, maxFile+1)
	n, err := io.ReadFull(r, buf)
	switch {
	case err == nil:
		clear(buf)
		return nil, usageError("--%s: %s is larger than %d octets", flag, name, maxFile)
	case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		clear(buf)
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return buf[:n:n], nil
}

// keyFile is a private or public key or a certificate from a file.
type keyFile struct {
	der    []byte
	format kmip.KeyFormatType // 0 when it cannot be told
	key    any                // *rsa.PrivateKey, *ecdsa.PublicKey, ...; nil when the standard library does not know it
}

// pemFormats are the PEM labels of keys.
var pemFormats = []struct {
	label  string
	object kmip.ObjectType
	format kmip.KeyFormatType
}{
	{"RSA PRIVATE KEY", kmip.ObjectTypePrivateKey, kmip.KeyFormatTypePKCS1},
	{"PRIVATE KEY", kmip.ObjectTypePrivateKey, kmip.KeyFormatTypePKCS8},
	{"ENCRYPTED PRIVATE KEY", kmip.ObjectTypePrivateKey, kmip.KeyFormatTypePKCS8},
	{"EC PRIVATE KEY", kmip.ObjectTypePrivateKey, kmip.KeyFormatTypeECPrivateKey},
	{"RSA PUBLIC KEY", kmip.ObjectTypePublicKey, kmip.KeyFormatTypePKCS1},
	{"PUBLIC KEY", kmip.ObjectTypePublicKey, kmip.KeyFormatTypeX509},
	{"CERTIFICATE", kmip.ObjectTypeCertificate, kmip.KeyFormatTypeX509},
}

// parseKeyFile reads PEM or DER. What it does not know it leaves as it is, without format.
func parseKeyFile(typ kmip.ObjectType, data []byte) (*keyFile, error) {
	f := &keyFile{der: data}
	if bytes.Contains(data, []byte("-----BEGIN ")) { // some tools write text before it
		if err := f.fromPEM(typ, data); err != nil {
			return nil, err
		}
	}
	switch typ {
	case kmip.ObjectTypePrivateKey:
		f.private()
	case kmip.ObjectTypePublicKey:
		f.public()
	}
	return f, nil
}

// fromPEM takes the one block that is such an object: before an EC key there often stand its parameters.
func (f *keyFile) fromPEM(typ kmip.ObjectType, data []byte) error {
	found := 0
	var labels []string
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		labels = append(labels, block.Type)
		for _, p := range pemFormats {
			if p.label != block.Type || p.object != typ {
				continue
			}
			if block.Headers["DEK-Info"] != "" {
				return usageError("--file: the PEM key is encrypted; decrypt it first")
			}
			found++
			f.der, f.format = block.Bytes, p.format
		}
	}
	switch {
	case found == 0:
		return usageError("--file: no %s is in the PEM file, which holds %q", typ, labels)
	case found > 1:
		return usageError("--file: the PEM file holds %d objects of type %s; register them one at a time", found, typ)
	}
	return nil
}

func (f *keyFile) private() {
	for _, p := range []struct {
		format kmip.KeyFormatType
		parse  func([]byte) (any, error)
	}{
		{kmip.KeyFormatTypePKCS8, x509.ParsePKCS8PrivateKey},
		{kmip.KeyFormatTypePKCS1, func(b []byte) (any, error) { return x509.ParsePKCS1PrivateKey(b) }},
		{kmip.KeyFormatTypeECPrivateKey, func(b []byte) (any, error) { return x509.ParseECPrivateKey(b) }},
	} {
		f.try(p.format, p.parse)
	}
}

func (f *keyFile) public() {
	f.try(kmip.KeyFormatTypeX509, x509.ParsePKIXPublicKey)
	f.try(kmip.KeyFormatTypePKCS1, func(b []byte) (any, error) { return x509.ParsePKCS1PublicKey(b) })
}

func (f *keyFile) try(format kmip.KeyFormatType, parse func([]byte) (any, error)) {
	if f.key != nil || f.format != 0 && f.format != format {
		return
	}
	if key, err := parse(f.der); err == nil {
		f.key, f.format = key, format
	}
}

// describe is the algorithm and length that the key tells of itself; zeros when it does not.
func (f *keyFile) describe() (kmip.CryptographicAlgorithm, int32) {
	switch k := f.key.(type) {
	case *rsa.PrivateKey:
		return kmip.CryptographicAlgorithmRSA, int32(k.N.BitLen())
	case *rsa.PublicKey:
		return kmip.CryptographicAlgorithmRSA, int32(k.N.BitLen())
	case *ecdsa.PrivateKey:
		return kmip.CryptographicAlgorithmEC, int32(k.Curve.Params().BitSize)
	case *ecdsa.PublicKey:
		return kmip.CryptographicAlgorithmEC, int32(k.Curve.Params().BitSize)
	}
	return 0, 0
}

// curveName is the Recommended Curve of the curves that the standard library parses.
func curveName(c elliptic.Curve) kmip.RecommendedCurve {
	v, _ := kmip.EnumByName("RecommendedCurve", c.Params().Name)
	return kmip.RecommendedCurve(v)
}

// marshal is the key in a format that is a Byte String; nil when there is no such encoding of it.
func (f *keyFile) marshal(format kmip.KeyFormatType) []byte {
	if format == f.format || format == kmip.KeyFormatTypeOpaque || format == kmip.KeyFormatTypeRaw {
		return f.der
	}
	var out []byte
	switch k := f.key.(type) {
	case *rsa.PrivateKey:
		if format == kmip.KeyFormatTypePKCS1 {
			return x509.MarshalPKCS1PrivateKey(k)
		}
	case *ecdsa.PrivateKey:
		if format == kmip.KeyFormatTypeECPrivateKey {
			out, _ = x509.MarshalECPrivateKey(k) // nil on failure
			return out
		}
	case *rsa.PublicKey:
		if format == kmip.KeyFormatTypePKCS1 {
			return x509.MarshalPKCS1PublicKey(k)
		}
	}
	switch format {
	case kmip.KeyFormatTypePKCS8:
		out, _ = x509.MarshalPKCS8PrivateKey(f.key)
	case kmip.KeyFormatTypeX509:
		out, _ = x509.MarshalPKIXPublicKey(f.key)
	}
	return out
}

// encrypted tells an EncryptedPrivateKeyInfo from a PrivateKeyInfo: it begins with an algorithm, not with a version.
func encrypted(pkcs8 []byte) bool {
	if len(pkcs8) < 2 || pkcs8[0] != 0x30 {
		return false
	}
	at := 2
	if n := pkcs8[1]; n&0x80 != 0 {
		at += int(n & 0x7f)
	}
	return at < len(pkcs8) && pkcs8[at] == 0x30
}
