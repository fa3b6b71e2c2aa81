package hsmtest

import (
	"bytes"
	"context"
	"crypto/fips140"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"hash"
	"slices"

	"kmipd/hsm"
	"kmipd/hsm/internal/keywrap"
)

// Wrap implements hsm.Token.
func (f *Fake) Wrap(ctx context.Context, wrapping hsm.Ref, how hsm.WrapSpec, target hsm.Ref, bits int) (out []byte, err error) {
	err = f.call(ctx, "Wrap", func(Effect) error {
		if target.Class != hsm.ClassSecretKey && target.Class != hsm.ClassPrivateKey {
			return fail(hsm.KindInvalidKey, "only secret and private keys are wrapped")
		}
		value, err := f.read(target, bits)
		if err != nil {
			return err
		}
		out, err = f.wrap(wrapping, how, value)
		return err
	})
	return f.bend("Wrap", how.Name(), out), err
}

// WrapBytes implements hsm.Token.
func (f *Fake) WrapBytes(ctx context.Context, wrapping hsm.Ref, how hsm.WrapSpec, value hsm.Material) (out []byte, err error) {
	err = f.call(ctx, "WrapBytes", func(Effect) error {
		out, err = f.wrap(wrapping, how, value)
		return err
	})
	return f.bend("Wrap", how.Name(), out), err
}

// Unwrap implements hsm.Token.
func (f *Fake) Unwrap(ctx context.Context, unwrapping hsm.Ref, how hsm.WrapSpec, wrapped []byte, class hsm.Class, spec hsm.KeySpec) (out hsm.SecretOutcome, err error) {
	err = f.call(ctx, "Unwrap", func(Effect) error {
		value, err := f.unwrap(unwrapping, how, wrapped)
		if err != nil {
			return err
		}
		if class == hsm.ClassSecretKey {
			if err := spec.CheckUnwrapped(len(value)); err != nil {
				return err
			}
			spec.Bits, out.Bytes = 8*len(value), len(value)
		}
		return f.store(class, spec, value)
	})
	return out, err
}

// UnwrapBytes implements hsm.Token.
func (f *Fake) UnwrapBytes(ctx context.Context, unwrapping hsm.Ref, how hsm.WrapSpec, wrapped []byte) (out hsm.Material, err error) {
	err = f.call(ctx, "UnwrapBytes", func(Effect) error {
		out, err = f.unwrap(unwrapping, how, wrapped)
		return err
	})
	return f.bend("UnwrapBytes", how.Name(), out), err
}

// wrappingKey finds a key and verifies that it may and can do the mechanism.
func (f *Fake) wrappingKey(ref hsm.Ref, how hsm.WrapSpec, unwrap bool) (*object, error) {
	o, err := f.get(ref)
	if err != nil {
		return nil, err
	}
	if err := how.CheckKey(ref.Class, o.spec.Type, unwrap); err != nil {
		return nil, err
	}
	usage := hsm.UsageWrap
	if unwrap {
		usage = hsm.UsageUnwrap
	}
	if o.spec.Usage&usage == 0 {
		return nil, fail(hsm.KindInvalidKey, "the key may not do this")
	}
	caps := f.capabilities()
	ok := how.Mechanism == hsm.WrapAESKW && caps.KW || how.Mechanism == hsm.WrapAESKWP && caps.KWP ||
		how.Mechanism == hsm.WrapRSAPKCS1v15 && caps.RSAPKCS1v15 ||
		how.Mechanism == hsm.WrapRSAOAEP && (slices.Contains(caps.OAEP, how.Hash) || slices.Contains(caps.OAEPComposed, how.Hash))
	if !ok {
		return nil, fail(hsm.KindUnsupported, "mechanism")
	}
	return o, nil
}

func (f *Fake) wrap(ref hsm.Ref, how hsm.WrapSpec, value []byte) ([]byte, error) {
	o, err := f.wrappingKey(ref, how, false)
	if err != nil {
		return nil, err
	}
	var public *rsa.PublicKey
	size := 0
	if ref.Class == hsm.ClassPublicKey {
		if public, err = publicRSA(o); err != nil {
			return nil, err
		}
		size = public.Size()
	}
	if err := how.CheckPlain(len(value), size); err != nil {
		return nil, err
	}
	switch how.Mechanism {
	case hsm.WrapAESKW:
		return keywrap.WrapKW(o.value, value)
	case hsm.WrapAESKWP:
		return keywrap.WrapKWP(o.value, value)
	}
	var out []byte
	// A token's own algorithms are no business of Go's FIPS mode.
	fips140.WithoutEnforcement(func() {
		if how.Mechanism == hsm.WrapRSAOAEP {
			out, err = rsa.EncryptOAEP(newHash(how.Hash), rand.Reader, public, value, nil)
			return
		}
		out, err = rsa.EncryptPKCS1v15(rand.Reader, public, value) //nolint:staticcheck // SA1019: what the client asked for
	})
	return out, err
}

func (f *Fake) unwrap(ref hsm.Ref, how hsm.WrapSpec, wrapped []byte) ([]byte, error) {
	o, err := f.wrappingKey(ref, how, true)
	if err != nil {
		return nil, err
	}
	var private *rsa.PrivateKey
	size := 0
	if ref.Class == hsm.ClassPrivateKey {
		if private, err = privateRSA(o); err != nil {
			return nil, err
		}
		size = private.Size()
	}
	if err := how.CheckWrapped(len(wrapped), size); err != nil {
		return nil, err
	}
	var out []byte
	fips140.WithoutEnforcement(func() {
		switch how.Mechanism {
		case hsm.WrapAESKW:
			out, err = keywrap.UnwrapKW(o.value, wrapped)
		case hsm.WrapAESKWP:
			out, err = keywrap.UnwrapKWP(o.value, wrapped)
		case hsm.WrapRSAOAEP:
			out, err = rsa.DecryptOAEP(newHash(how.Hash), nil, private, bytes.Clone(wrapped), nil)
		case hsm.WrapRSAPKCS1v15:
			out, err = rsa.DecryptPKCS1v15(nil, private, wrapped) //nolint:staticcheck // SA1019: what the client asked for
		}
	})
	if err != nil || len(out) == 0 {
		return nil, fail(hsm.KindInvalidData, "the value does not unwrap")
	}
	return out, nil
}

func publicRSA(o *object) (*rsa.PublicKey, error) {
	key, err := x509.ParsePKIXPublicKey(o.value)
	if err != nil {
		return nil, err
	}
	public, ok := key.(*rsa.PublicKey)
	if !ok {
		return nil, fail(hsm.KindInvalidKey, "not an RSA key")
	}
	return public, nil
}

func privateRSA(o *object) (*rsa.PrivateKey, error) {
	key, err := x509.ParsePKCS8PrivateKey(o.value)
	if err != nil {
		return nil, err
	}
	private, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, fail(hsm.KindInvalidKey, "not an RSA key")
	}
	return private, nil
}

func newHash(h hsm.OAEPHash) hash.Hash {
	switch h {
	case hsm.OAEPSHA1:
		return sha1.New()
	case hsm.OAEPSHA384:
		return sha512.New384()
	case hsm.OAEPSHA512:
		return sha512.New()
	}
	return sha256.New()
}
