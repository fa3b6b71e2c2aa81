package hsmtest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"math/big"
	"slices"
	"time"

	"kmipd/hsm"
)

// longSecret is from where on a token may refuse to hold a secret (NSS: 256 octets).
const longSecret = 8 * 64

func suiteGenerateKey(r *rig) {
	caps := r.tok.Info().Capabilities
	var specs []hsm.KeySpec
	for _, bits := range caps.AESKeyBits {
		specs = append(specs, aes(bits, allUsage))
	}
	if caps.GenericBits {
		for _, n := range []int{1, 7, 8, 15, 16, 20, 32, 64, 300} {
			specs = append(specs, generic(n))
		}
	}
	if caps.DES3 {
		spec := generic(24)
		spec.Type = hsm.KeyDES3
		specs = append(specs, spec)
	}
	for _, spec := range specs {
		ref := r.ref(hsm.ClassSecretKey, spec.ID)
		err := r.tok.GenerateKey(r.ctx(), spec)
		if spec.Bits > longSecret && errors.Is(err, hsm.ErrUnsupported) {
			continue
		}
		r.must(err, "GenerateKey")
		value := r.export(ref, spec.Bits)
		if len(value) != spec.Bits/8 || len(value) >= 16 && bytes.Equal(value, make([]byte, len(value))) {
			r.Errorf("key type %d of %d bits: %d octets", spec.Type, spec.Bits, len(value))
		}
		r.digest(ref, value)
		r.must(r.tok.Destroy(r.ctx(), ref), "Destroy")
		r.gone(ref, "a destroyed key")
	}
}

func suiteGenerateKeyRefusals(r *rig) {
	for _, bad := range []hsm.KeySpec{
		{Type: hsm.KeyAES, Bits: 0}, {Type: hsm.KeyAES, Bits: 136}, {Type: hsm.KeyAES, Bits: 512}, {Type: hsm.KeyGeneric, Bits: 0},
		{Type: hsm.KeyGeneric, Bits: 12}, {Type: hsm.KeyGeneric, Bits: -8}, {Type: hsm.KeyGeneric, Bits: 8 * (hsm.MaxSecretOctets + 1)},
		{Type: hsm.KeyDES3, Bits: 168}, {Type: hsm.KeyRSA, Bits: 2048}, {Type: hsm.KeyEC, Curve: hsm.CurveP256}, {Type: 99, Bits: 256}, {},
	} {
		bad.ID = hsm.NewTokenID()
		r.want(r.tok.GenerateKey(r.ctx(), bad), hsm.ErrUnsupported, "GenerateKey")
		r.gone(r.ref(hsm.ClassSecretKey, bad.ID), "a refused key")
	}
	for _, bad := range []hsm.KeySpec{{Type: hsm.KeyRSA, Bits: 100}, {Type: hsm.KeyRSA, Bits: 2049}, {Type: hsm.KeyEC, Curve: 77}, {Type: hsm.KeyEC}, {Type: hsm.KeyAES, Bits: 256}} {
		_, err := r.tok.GenerateKeyPair(r.ctx(), pair(bad, 0))
		r.want(err, hsm.ErrUnsupported, "GenerateKeyPair")
	}
	odd := ecPair(hsm.CurveP256)
	odd.Public.Curve = hsm.CurveP384
	_, err := r.tok.GenerateKeyPair(r.ctx(), odd)
	r.want(err, hsm.ErrInvalidKey, "halves that disagree")
}

func suiteGenerateKeyPair(r *rig) {
	caps := r.tok.Info().Capabilities
	var specs []hsm.PairSpec
	for _, c := range caps.Curves {
		specs = append(specs, ecPair(c))
	}
	if slices.Contains(caps.RSABits, 2048) {
		specs = append(specs, rsaPair(2048))
	}
	for _, spec := range specs {
		private, public, spki := r.generatePair(spec)
		if err := matches(r.export(private, 0), spki); err != nil {
			r.Errorf("key type %d: %v", spec.Private.Type, err)
		}
		r.equal(r.export(public, 0), spki, "public key")
		r.must(r.tok.Destroy(r.ctx(), private), "Destroy")
		r.equal(r.export(public, 0), spki, "public key after its private key")
	}
}

func suiteImportSecret(r *rig) {
	caps := r.tok.Info().Capabilities
	for _, bits := range caps.AESKeyBits {
		r.importSecret(aes(bits, allUsage), nil)
	}
	if !caps.GenericBits {
		return
	}
	for _, n := range []int{1, 2, 7, 8, 9, 15, 16, 17, 20, 23, 24, 31, 33, 64, 100, 1000, 16384, 20001, hsm.MaxSecretOctets} {
		r.importSecret(generic(n), nil)
	}
	for _, n := range []int{1, 8, 12, 24} { // zeros at the end are part of the value
		r.importSecret(generic(n), make([]byte, n))
	}
}

func (r *rig) importSecret(spec hsm.KeySpec, value []byte) {
	r.Helper()
	if value == nil {
		value = octets(spec.Bits / 8)
	}
	given := bytes.Clone(value)
	ref := r.ref(hsm.ClassSecretKey, spec.ID)
	err := r.tok.Import(r.ctx(), hsm.ClassSecretKey, spec, given)
	if spec.Bits > longSecret && errors.Is(err, hsm.ErrUnsupported) {
		return
	}
	r.must(err, "Import")
	r.equal(given, value, "the caller's value")
	r.equal(r.export(ref, spec.Bits), value, "secret key")
	r.digest(ref, value)
}

func octets(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // crypto/rand.Read never fails
	return b
}

func suiteImportPrivate(r *rig) {
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	r.must(err, "ecdsa.GenerateKey")
	der, err := x509.MarshalPKCS8PrivateKey(ec)
	r.must(err, "PKCS#8")
	spki, err := x509.MarshalPKIXPublicKey(ec.Public())
	r.must(err, "SubjectPublicKeyInfo")
	ref := r.imports(hsm.ClassPrivateKey, ecPair(hsm.CurveP384).Private, der)
	r.must(matches(r.export(ref, 0), spki), "EC private key")

	key, err := rsaKeys.get(2048)
	r.must(err, "rsa.GenerateKey")
	der, err = x509.MarshalPKCS8PrivateKey(key)
	r.must(err, "PKCS#8")
	spki, err = x509.MarshalPKIXPublicKey(key.Public())
	r.must(err, "SubjectPublicKeyInfo")
	ref = r.imports(hsm.ClassPrivateKey, rsaPair(2048).Private, der)
	r.must(matches(r.export(ref, 0), spki), "RSA private key")
}

func suiteImportRefusals(r *rig) {
	spec := aes(256, 0)
	r.want(r.tok.Import(r.ctx(), hsm.ClassSecretKey, spec, octets(16)), hsm.ErrInvalidData, "16 octets for AES-256")
	r.want(r.tok.Import(r.ctx(), hsm.ClassSecretKey, spec, nil), hsm.ErrInvalidData, "no octets")
	r.gone(r.ref(hsm.ClassSecretKey, spec.ID), "a refused import")
	empty := generic(0)
	r.want(r.tok.Import(r.ctx(), hsm.ClassSecretKey, empty, nil), hsm.ErrUnsupported, "a secret of no octets")
	r.want(r.tok.Import(r.ctx(), hsm.ClassCertificate, spec, octets(32)), hsm.ErrInvalidKey, "a certificate")
	private := ecPair(hsm.CurveP256).Private
	r.want(r.tok.Import(r.ctx(), hsm.ClassPrivateKey, private, octets(70)), hsm.ErrInvalidData, "noise for PKCS#8")
	r.want(r.tok.Import(r.ctx(), hsm.ClassPrivateKey, private, nil), hsm.ErrInvalidData, "nothing for PKCS#8")
	r.gone(r.ref(hsm.ClassPrivateKey, private.ID), "a refused import")
}

func suitePublicKey(r *rig) {
	ec, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	r.must(err, "ecdsa.GenerateKey")
	key, err := rsaKeys.get(2048)
	r.must(err, "rsa.GenerateKey")
	for _, tt := range []struct {
		spec hsm.KeySpec
		key  any
	}{{ecPair(hsm.CurveP521).Public, ec.Public()}, {rsaPair(2048).Public, key.Public()}} {
		spki, err := x509.MarshalPKIXPublicKey(tt.key)
		r.must(err, "SubjectPublicKeyInfo")
		ref := r.ref(hsm.ClassPublicKey, tt.spec.ID)
		r.must(r.tok.ImportPublicKey(r.ctx(), tt.spec, spki), "ImportPublicKey")
		r.equal(r.export(ref, 0), spki, "public key")
	}
	spec := rsaPair(2048).Public
	r.want(r.tok.ImportPublicKey(r.ctx(), spec, octets(50)), hsm.ErrInvalidData, "noise for a public key")
	r.want(r.tok.ImportPublicKey(r.ctx(), spec, nil), hsm.ErrInvalidData, "nothing for a public key")
	r.gone(r.ref(hsm.ClassPublicKey, spec.ID), "a refused public key")
}

func suiteCertificate(r *rig) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	r.must(err, "ecdsa.GenerateKey")
	template := &x509.Certificate{SerialNumber: big.NewInt(5), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<31, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	r.must(err, "CreateCertificate")
	id := hsm.NewTokenID()
	ref := r.ref(hsm.ClassCertificate, id)
	r.must(r.tok.StoreCertificate(r.ctx(), id, "cert", der), "StoreCertificate")
	r.equal(r.export(ref, 0), der, "certificate")
	r.must(r.tok.Destroy(r.ctx(), ref), "Destroy")
	r.gone(ref, "a destroyed certificate")
	r.want(r.tok.StoreCertificate(r.ctx(), id, "cert", octets(40)), hsm.ErrInvalidData, "noise for a certificate")
}

func suiteData(r *rig) {
	if !r.tok.Info().Capabilities.Data {
		r.Skip("no private data objects")
	}
	for _, n := range []int{0, 1, 16, 1000, 1 << 20} {
		id := hsm.NewTokenID()
		ref := r.ref(hsm.ClassData, id)
		value := octets(n)
		r.must(r.tok.StoreData(r.ctx(), id, "data", value), "StoreData")
		r.equal(r.export(ref, 0), value, "data")
		r.must(r.tok.Destroy(r.ctx(), ref), "Destroy")
		r.gone(ref, "destroyed data")
	}
	id := hsm.NewTokenID()
	r.must(r.tok.StoreData(r.ctx(), id, "", nil), "StoreData of nil")
	r.equal(r.export(r.ref(hsm.ClassData, id), 0), nil, "data of nil")
}

func suiteNotExtractable(r *rig) {
	kek := r.generate(aes(256, hsm.UsageWrap))
	spec := aes(256, hsm.UsageEncrypt)
	spec.Extractable = false
	ref := r.generate(spec)
	_, err := r.tok.Export(r.ctx(), ref, 256)
	r.want(err, hsm.ErrNotExtractable, "Export")
	_, err = r.tok.Wrap(r.ctx(), kek, hsm.WrapSpec{Mechanism: hsm.WrapAESKW}, ref, 256)
	r.want(err, hsm.ErrNotExtractable, "Wrap")
	p := ecPair(hsm.CurveP256)
	p.Private.Extractable = false
	private, public, spki := r.generatePair(p)
	_, err = r.tok.Export(r.ctx(), private, 0)
	r.want(err, hsm.ErrNotExtractable, "Export of a private key")
	_, err = r.tok.Wrap(r.ctx(), kek, hsm.WrapSpec{Mechanism: hsm.WrapAESKWP}, private, 0)
	r.want(err, hsm.ErrNotExtractable, "Wrap of a private key")
	r.equal(r.export(public, 0), spki, "public key")
	if r.tok.Info().Capabilities.DigestKey {
		_, err = r.tok.Digest(r.ctx(), ref, 256)
		r.must(err, "Digest")
	}
}

// suiteRecordedLength gives lengths that are not the key's.
func suiteRecordedLength(r *rig) {
	kek := r.generate(aes(256, hsm.UsageWrap))
	for bits, want := range map[int]*hsm.Error{0: hsm.ErrInvalidData, -8: hsm.ErrInvalidData, 12: hsm.ErrInvalidData, 128: hsm.ErrInternal, 512: hsm.ErrInternal, 160: hsm.ErrInternal} {
		_, err := r.tok.Export(r.ctx(), kek, bits)
		r.want(err, want, "Export")
		_, err = r.tok.Wrap(r.ctx(), kek, kwp, kek, bits)
		r.want(err, want, "Wrap")
	}
}

func suiteNotFound(r *rig) {
	kek := r.generate(aes(256, hsm.UsageWrap|hsm.UsageUnwrap))
	how := hsm.WrapSpec{Mechanism: hsm.WrapAESKWP}
	for _, class := range []hsm.Class{hsm.ClassSecretKey, hsm.ClassPrivateKey, hsm.ClassPublicKey, hsm.ClassCertificate, hsm.ClassData} {
		ref := hsm.Ref{Class: class, ID: hsm.NewTokenID()}
		r.gone(ref, "Export")
		r.want(r.tok.Destroy(r.ctx(), ref), hsm.ErrNotFound, "Destroy")
	}
	ref := hsm.Ref{Class: hsm.ClassSecretKey, ID: hsm.NewTokenID()}
	_, err := r.tok.Digest(r.ctx(), ref, 256)
	r.want(err, hsm.ErrNotFound, "Digest")
	_, err = r.tok.Wrap(r.ctx(), kek, how, ref, 256)
	r.want(err, hsm.ErrNotFound, "Wrap")
	_, err = r.tok.WrapBytes(r.ctx(), ref, how, octets(16))
	r.want(err, hsm.ErrNotFound, "WrapBytes")
	_, err = r.tok.UnwrapBytes(r.ctx(), ref, how, octets(24))
	r.want(err, hsm.ErrNotFound, "UnwrapBytes")
	_, err = r.tok.Unwrap(r.ctx(), ref, how, octets(24), hsm.ClassSecretKey, aes(128, 0))
	r.want(err, hsm.ErrNotFound, "Unwrap")
}

func suiteExists(r *rig) {
	spec := aes(256, 0)
	ref := r.generate(spec)
	value := r.export(ref, 256)
	r.want(r.tok.GenerateKey(r.ctx(), spec), hsm.ErrExists, "GenerateKey")
	r.want(r.tok.Import(r.ctx(), hsm.ClassSecretKey, spec, octets(32)), hsm.ErrExists, "Import")
	r.equal(r.export(ref, 256), value, "the first key")
	p := ecPair(hsm.CurveP256)
	r.generatePair(p)
	_, err := r.tok.GenerateKeyPair(r.ctx(), p)
	r.want(err, hsm.ErrExists, "GenerateKeyPair")
}
