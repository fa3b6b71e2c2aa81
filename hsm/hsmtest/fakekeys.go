package hsmtest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"math/bits"
	"slices"
	"sync"

	"kmipd/hsm"
)

// GenerateKey implements hsm.Token.
func (f *Fake) GenerateKey(ctx context.Context, spec hsm.KeySpec) error {
	return f.call(ctx, "GenerateKey", func(Effect) error {
		if err := f.checkSecret(spec); err != nil {
			return err
		}
		value, err := randomOctets(spec.Bits / 8)
		if err != nil {
			return err
		}
		if spec.Type == hsm.KeyDES3 {
			setParity(value)
		}
		return f.put(map[hsm.Ref]*object{{Class: hsm.ClassSecretKey, ID: spec.ID}: {label: spec.Label, spec: spec, local: true, value: value}})
	})
}

func (f *Fake) checkSecret(spec hsm.KeySpec) error {
	if err := spec.Check(hsm.ClassSecretKey); err != nil {
		return err
	}
	caps := f.capabilities()
	ok := spec.Type == hsm.KeyAES && slices.Contains(caps.AESKeyBits, spec.Bits) ||
		spec.Type == hsm.KeyDES3 && caps.DES3 || spec.Type == hsm.KeyGeneric && caps.GenericBits
	if !ok {
		return fail(hsm.KindUnsupported, "key type or size")
	}
	return nil
}

// GenerateKeyPair implements hsm.Token.
func (f *Fake) GenerateKeyPair(ctx context.Context, spec hsm.PairSpec) (spki []byte, err error) {
	err = f.call(ctx, "GenerateKeyPair", func(effect Effect) error {
		if err := f.checkPair(spec); err != nil {
			return err
		}
		key, err := f.newKey(spec.Private)
		if err != nil {
			return err
		}
		pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return err
		}
		if spki, err = x509.MarshalPKIXPublicKey(key.Public()); err != nil {
			return err
		}
		pair := map[hsm.Ref]*object{
			{Class: hsm.ClassPublicKey, ID: spec.Public.ID}:   {label: spec.Public.Label, spec: spec.Public, local: true, value: spki},
			{Class: hsm.ClassPrivateKey, ID: spec.Private.ID}: {label: spec.Private.Label, spec: spec.Private, local: true, value: pkcs8},
		}
		if effect == HalfPair {
			delete(pair, hsm.Ref{Class: hsm.ClassPrivateKey, ID: spec.Private.ID})
		}
		return f.put(pair)
	})
	if err != nil {
		return nil, err
	}
	return f.bend("GenerateKeyPair", "", bytes.Clone(spki)), nil
}

func (f *Fake) checkPair(spec hsm.PairSpec) error {
	if err := spec.Check(); err != nil {
		return err
	}
	caps := f.capabilities()
	ok := spec.Private.Type == hsm.KeyRSA && slices.Contains(caps.RSABits, spec.Private.Bits) ||
		spec.Private.Type == hsm.KeyEC && slices.Contains(caps.Curves, spec.Private.Curve)
	if !ok {
		return fail(hsm.KindUnsupported, "key type or size")
	}
	return nil
}

type privateKey interface {
	Public() crypto.PublicKey
}

func (f *Fake) newKey(spec hsm.KeySpec) (privateKey, error) {
	if spec.Type == hsm.KeyEC {
		return ecdsa.GenerateKey(curveOf(spec.Curve), rand.Reader)
	}
	if f.opts.FreshRSA {
		return rsa.GenerateKey(rand.Reader, spec.Bits)
	}
	return rsaKeys.get(spec.Bits)
}

func curveOf(c hsm.Curve) elliptic.Curve {
	return map[hsm.Curve]elliptic.Curve{
		hsm.CurveP256: elliptic.P256(), hsm.CurveP384: elliptic.P384(), hsm.CurveP521: elliptic.P521(),
	}[c]
}

// rsaCache hands out a few RSA keys per size in turn.
type rsaCache struct {
	mu   sync.Mutex
	keys map[int][]*rsa.PrivateKey
	next int
}

const rsaKeysPerSize = 3

var rsaKeys = rsaCache{keys: map[int][]*rsa.PrivateKey{}}

func (c *rsaCache) get(size int) (*rsa.PrivateKey, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.keys[size]) < rsaKeysPerSize {
		key, err := rsa.GenerateKey(rand.Reader, size)
		if err != nil {
			return nil, err
		}
		c.keys[size] = append(c.keys[size], key)
		return key, nil
	}
	c.next++
	return c.keys[size][c.next%rsaKeysPerSize], nil
}

// Import implements hsm.Token.
func (f *Fake) Import(ctx context.Context, class hsm.Class, spec hsm.KeySpec, value hsm.Material) error {
	return f.call(ctx, "Import", func(Effect) error { return f.store(class, spec, value) })
}

// store puts a checked value on the token.
func (f *Fake) store(class hsm.Class, spec hsm.KeySpec, value []byte) error {
	if class != hsm.ClassSecretKey && class != hsm.ClassPrivateKey {
		return fail(hsm.KindInvalidKey, "only secret and private keys are imported")
	}
	if err := checkImport(class, spec, value); err != nil {
		return err
	}
	return f.put(map[hsm.Ref]*object{{Class: class, ID: spec.ID}: {label: spec.Label, spec: spec, value: bytes.Clone(value)}})
}

func checkImport(class hsm.Class, spec hsm.KeySpec, value []byte) error {
	if err := spec.CheckImport(class, len(value)); err != nil || class != hsm.ClassPrivateKey {
		return err
	}
	return checkPKCS8(spec, value)
}

func checkPKCS8(spec hsm.KeySpec, der []byte) error {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return fail(hsm.KindInvalidData, "not PKCS#8")
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if spec.Type == hsm.KeyRSA && k.N.BitLen() == spec.Bits {
			return nil
		}
	case *ecdsa.PrivateKey:
		if spec.Type == hsm.KeyEC && k.Curve == curveOf(spec.Curve) {
			return nil
		}
	}
	return fail(hsm.KindInvalidData, "the key is of another type or size")
}

// ImportPublicKey implements hsm.Token.
func (f *Fake) ImportPublicKey(ctx context.Context, spec hsm.KeySpec, spki []byte) error {
	return f.call(ctx, "ImportPublicKey", func(Effect) error {
		if err := spec.CheckImport(hsm.ClassPublicKey, len(spki)); err != nil {
			return err
		}
		if _, err := x509.ParsePKIXPublicKey(spki); err != nil {
			return fail(hsm.KindInvalidData, "not a SubjectPublicKeyInfo")
		}
		return f.put(map[hsm.Ref]*object{{Class: hsm.ClassPublicKey, ID: spec.ID}: {label: spec.Label, spec: spec, value: bytes.Clone(spki)}})
	})
}

// StoreCertificate implements hsm.Token.
func (f *Fake) StoreCertificate(ctx context.Context, id hsm.TokenID, label string, der []byte) error {
	return f.call(ctx, "StoreCertificate", func(Effect) error {
		if _, err := x509.ParseCertificate(der); err != nil {
			return fail(hsm.KindInvalidData, "not a certificate")
		}
		return f.put(map[hsm.Ref]*object{{Class: hsm.ClassCertificate, ID: id}: {label: label, value: bytes.Clone(der)}})
	})
}

// StoreData implements hsm.Token.
func (f *Fake) StoreData(ctx context.Context, id hsm.TokenID, label string, value hsm.Material) error {
	return f.call(ctx, "StoreData", func(Effect) error {
		if !f.capabilities().Data {
			return fail(hsm.KindUnsupported, "private data objects")
		}
		return f.put(map[hsm.Ref]*object{{Class: hsm.ClassData, ID: id}: {label: label, value: append([]byte{}, value...)}})
	})
}

// Export implements hsm.Token.
func (f *Fake) Export(ctx context.Context, ref hsm.Ref, bits int) (out hsm.Material, err error) {
	err = f.call(ctx, "Export", func(Effect) error {
		out, err = f.read(ref, bits)
		return err
	})
	return out, err
}

// read is a copy of an extractable object's value.
func (f *Fake) read(ref hsm.Ref, bits int) (hsm.Material, error) {
	o, err := f.get(ref)
	if err != nil {
		return nil, err
	}
	isKey := ref.Class == hsm.ClassSecretKey || ref.Class == hsm.ClassPrivateKey
	if isKey && !o.spec.Extractable {
		return nil, fail(hsm.KindNotExtractable, "the key must not leave the token")
	}
	if ref.Class == hsm.ClassSecretKey && (bits < 8 || bits%8 != 0) {
		return nil, fail(hsm.KindInvalidData, "the recorded length of a secret key")
	}
	if ref.Class == hsm.ClassSecretKey && bits != 8*len(o.value) {
		return nil, fail(hsm.KindInternal, "the recorded length is not the token's")
	}
	return append(hsm.Material{}, o.value...), nil
}

// Digest implements hsm.Token.
func (f *Fake) Digest(ctx context.Context, ref hsm.Ref, _ int) (sum []byte, err error) {
	err = f.call(ctx, "Digest", func(Effect) error {
		if ref.Class != hsm.ClassSecretKey {
			return fail(hsm.KindInvalidKey, "only secret keys are digested")
		}
		o, err := f.get(ref)
		if err != nil {
			return err
		}
		h := sha256.Sum256(o.value)
		sum = h[:]
		return nil
	})
	return f.bend("Digest", hsm.MechanismKeyDigest, sum), err
}

// Destroy implements hsm.Token.
func (f *Fake) Destroy(ctx context.Context, ref hsm.Ref) error {
	return f.call(ctx, "Destroy", func(Effect) error {
		return f.change(func(v *vault) error {
			if v.objects[ref] == nil {
				return fail(hsm.KindNotFound, "no such object")
			}
			delete(v.objects, ref)
			return nil
		})
	})
}

func randomOctets(n int) ([]byte, error) {
	if n < 0 {
		return nil, fail(hsm.KindInvalidData, "a negative length")
	}
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		return nil, fmt.Errorf("hsmtest: random: %w", err)
	}
	return b, nil
}

// setParity gives each octet of a DES key odd parity.
func setParity(key []byte) {
	for i, b := range key {
		if bits.OnesCount8(b)%2 == 0 {
			key[i] = b ^ 1
		}
	}
}
