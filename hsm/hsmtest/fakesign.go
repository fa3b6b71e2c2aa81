package hsmtest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" // crypto.SHA1
	"crypto/subtle"
	"crypto/x509"
	"math/big"
	"slices"

	"kmipd/hsm"
	"kmipd/hsm/internal/pss"
)

// goHash is Go's name of a hash.
func goHash(h hsm.Hash) crypto.Hash {
	return map[hsm.Hash]crypto.Hash{
		hsm.SHA1: crypto.SHA1, hsm.SHA224: crypto.SHA224, hsm.SHA256: crypto.SHA256, hsm.SHA384: crypto.SHA384, hsm.SHA512: crypto.SHA512,
	}[h]
}

func orHash(h, other hsm.Hash) hsm.Hash {
	if h == 0 {
		return other
	}
	return h
}

// modulus is the octets of an RSA modulus, 0 for other keys.
func modulus(o *object) int {
	if o.spec.Type == hsm.KeyRSA {
		return o.spec.Bits / 8
	}
	return 0
}

// RSAEncrypt implements hsm.Crypto.
func (f *Fake) RSAEncrypt(ctx context.Context, key hsm.Ref, spec hsm.RSACipherSpec, data []byte) (out []byte, err error) {
	err = f.service(ctx, "RSAEncrypt", func() error {
		o, err := f.rsaKey(key, spec, len(data), false)
		if err != nil {
			return err
		}
		public, err := publicRSA(o)
		if err != nil {
			return err
		}
		if !spec.OAEP {
			out, err = rsa.EncryptPKCS1v15(rand.Reader, public, data) //nolint:staticcheck // SA1019: what the client asked for
			return err
		}
		out, err = rsa.EncryptOAEPWithOptions(rand.Reader, public, data, oaepOptions(spec))
		return err
	})
	return f.bend("RSAEncrypt", spec.Mechanism(), out), err
}

// RSADecrypt implements hsm.Crypto.
func (f *Fake) RSADecrypt(ctx context.Context, key hsm.Ref, spec hsm.RSACipherSpec, data []byte) (out hsm.Material, err error) {
	err = f.service(ctx, "RSADecrypt", func() error {
		o, err := f.rsaKey(key, spec, len(data), true)
		if err != nil {
			return err
		}
		private, err := privateRSA(o)
		if err != nil {
			return err
		}
		var opts crypto.DecrypterOpts = &rsa.PKCS1v15DecryptOptions{} //nolint:staticcheck // SA1019: what the client asked for
		if spec.OAEP {
			opts = oaepOptions(spec)
		}
		if out, err = private.Decrypt(nil, slices.Clone(data), opts); err != nil {
			return errDecrypt()
		}
		return nil
	})
	return f.bend("RSADecrypt", spec.Mechanism(), out), err
}

func oaepOptions(spec hsm.RSACipherSpec) *rsa.OAEPOptions {
	return &rsa.OAEPOptions{Hash: goHash(spec.Hash), MGFHash: goHash(orHash(spec.MGFHash, spec.Hash)), Label: spec.Label}
}

func (f *Fake) rsaKey(ref hsm.Ref, spec hsm.RSACipherSpec, n int, decrypt bool) (*object, error) {
	usage := hsm.UsageEncrypt
	if decrypt {
		usage = hsm.UsageDecrypt
	}
	o, err := f.key(ref, usage, func(o *object) error { return spec.Check(ref.Class, o.spec.Type, modulus(o), n, decrypt) })
	if err != nil {
		return nil, err
	}
	caps := f.capabilities()
	alone := orHash(spec.MGFHash, spec.Hash) == spec.Hash && len(spec.Label) == 0 && slices.Contains(caps.OAEPEncrypt, spec.Hash)
	if spec.OAEP && !alone && !slices.Contains(caps.Composed, hsm.CompositionOAEP) || !spec.OAEP && !caps.PKCS1v15Encrypt {
		return nil, fail(hsm.KindUnsupported, "RSA encryption")
	}
	return o, nil
}

func (f *Fake) signer(ref hsm.Ref, class hsm.Class, usage hsm.Usage, spec hsm.SignSpec, digest int) (*object, error) {
	if ref.Class != class {
		return nil, fail(hsm.KindInvalidKey, "a private key signs and a public key verifies")
	}
	o, err := f.key(ref, usage, func(o *object) error { return spec.Check(o.spec.Type, modulus(o), digest) })
	if err != nil {
		return nil, err
	}
	caps := f.capabilities()
	ok := spec.Scheme == hsm.SignRSAPKCS1v15 && caps.PKCS1v15Sign || spec.Scheme == hsm.SignECDSA && slices.Contains(caps.ECDSA, o.spec.Curve)
	if spec.Scheme == hsm.SignRSAPSS {
		alone := orHash(spec.MGFHash, spec.Hash) == spec.Hash && slices.Contains(caps.PSS, spec.Hash)
		ok = alone || slices.Contains(caps.Composed, hsm.CompositionPSS)
	}
	if !ok {
		return nil, fail(hsm.KindUnsupported, "signature scheme")
	}
	return o, nil
}

// Sign implements hsm.Crypto.
func (f *Fake) Sign(ctx context.Context, key hsm.Ref, spec hsm.SignSpec, digest []byte) (sig []byte, err error) {
	err = f.service(ctx, "Sign", func() error {
		o, err := f.signer(key, hsm.ClassPrivateKey, hsm.UsageSign, spec, len(digest))
		if err != nil {
			return err
		}
		if spec.Scheme == hsm.SignECDSA {
			sig, err = signEC(o, digest)
			return err
		}
		private, err := privateRSA(o)
		if err != nil {
			return err
		}
		if spec.Scheme == hsm.SignRSAPKCS1v15 {
			sig, err = rsa.SignPKCS1v15(nil, private, goHash(spec.Hash), digest)
			return err
		}
		sig, err = signPSS(private, spec, digest)
		return err
	})
	return f.bend("Sign", spec.Mechanism(), sig), err
}

func signEC(o *object, digest []byte) ([]byte, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(o.value)
	if err != nil {
		return nil, err
	}
	private, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fail(hsm.KindInvalidKey, "not an EC key")
	}
	r, s, err := ecdsa.Sign(rand.Reader, private, digest)
	if err != nil {
		return nil, err
	}
	n := o.spec.Curve.OrderOctets()
	sig := make([]byte, 2*n)
	r.FillBytes(sig[:n])
	s.FillBytes(sig[n:])
	return sig, nil
}

// signPSS uses Go's where it can: it knows one hash for both uses, and takes a salt of 0 octets for one as long as can be.
func signPSS(private *rsa.PrivateKey, spec hsm.SignSpec, digest []byte) ([]byte, error) {
	if orHash(spec.MGFHash, spec.Hash) == spec.Hash && spec.Salt > 0 {
		return rsa.SignPSS(rand.Reader, private, goHash(spec.Hash), digest, &rsa.PSSOptions{SaltLength: spec.Salt})
	}
	salt, err := randomOctets(spec.Salt)
	if err != nil {
		return nil, err
	}
	em := pss.Encode(goHash(spec.Hash).New, goHash(orHash(spec.MGFHash, spec.Hash)).New, digest, salt, private.Size())
	m := new(big.Int).SetBytes(em)
	return m.Exp(m, private.D, private.N).FillBytes(em), nil
}

// Verify implements hsm.Crypto.
func (f *Fake) Verify(ctx context.Context, key hsm.Ref, spec hsm.SignSpec, digest, signature []byte) (valid bool, err error) {
	err = f.service(ctx, "Verify", func() error {
		o, err := f.signer(key, hsm.ClassPublicKey, hsm.UsageVerify, spec, len(digest))
		if err != nil {
			return err
		}
		if spec.Scheme == hsm.SignECDSA {
			valid, err = verifyEC(o, digest, signature)
			return err
		}
		public, err := publicRSA(o)
		if err != nil || len(signature) != public.Size() {
			return err
		}
		if spec.Scheme == hsm.SignRSAPKCS1v15 {
			valid = rsa.VerifyPKCS1v15(public, goHash(spec.Hash), digest, signature) == nil
			return nil
		}
		valid = pss.Verify(goHash(spec.Hash).New, goHash(orHash(spec.MGFHash, spec.Hash)).New, public, digest, signature, spec.Salt)
		return nil
	})
	if err == nil && f.liesAbout("Verify", spec.Mechanism()) {
		valid = !valid
	}
	return valid, err
}

func verifyEC(o *object, digest, sig []byte) (bool, error) {
	parsed, err := x509.ParsePKIXPublicKey(o.value)
	if err != nil {
		return false, err
	}
	public, ok := parsed.(*ecdsa.PublicKey)
	n := o.spec.Curve.OrderOctets()
	if !ok || len(sig) != 2*n {
		return false, nil
	}
	return ecdsa.Verify(public, digest, new(big.Int).SetBytes(sig[:n]), new(big.Int).SetBytes(sig[n:])), nil
}

// MAC implements hsm.Crypto.
func (f *Fake) MAC(ctx context.Context, key hsm.Ref, bits int, spec hsm.MACSpec, data []byte) (mac []byte, err error) {
	err = f.service(ctx, "MAC", func() error {
		o, err := f.key(key, hsm.UsageSign|hsm.UsageVerify, func(o *object) error { return spec.Check(key.Class, o.spec.Type, bits, len(data)) })
		if err != nil {
			return err
		}
		caps := f.capabilities()
		if spec.Scheme == hsm.MACHMAC {
			if !slices.Contains(caps.HMAC, spec.Hash) {
				return fail(hsm.KindUnsupported, "HMAC hash")
			}
			h := hmac.New(goHash(spec.Hash).New, o.value)
			h.Write(data) // hash.Hash.Write never returns an error
			mac = h.Sum(nil)
			return nil
		}
		if !slices.Contains(caps.CMAC, o.spec.Type) {
			return fail(hsm.KindUnsupported, "CMAC")
		}
		mac, err = cmac(o, data)
		return err
	})
	if spec.Scheme == hsm.MACCMAC {
		return f.bend("MAC", hsm.MechanismAESCMAC, mac), err
	}
	return f.bend("MAC", hsm.HMACMechanism(spec.Hash), mac), err
}

// cmac is NIST SP 800-38B.
func cmac(o *object, data []byte) ([]byte, error) {
	block, err := newBlock(o)
	if err != nil {
		return nil, err
	}
	n := block.BlockSize()
	subkey := make([]byte, n)
	block.Encrypt(subkey, subkey)
	double(subkey)
	mac := make([]byte, n)
	for ; len(data) > n; data = data[n:] {
		subtle.XORBytes(mac, mac, data[:n])
		block.Encrypt(mac, mac)
	}
	last := make([]byte, n)
	if copy(last, data) < n {
		last[len(data)] = 0x80
		double(subkey)
	}
	subtle.XORBytes(mac, mac, last)
	subtle.XORBytes(mac, mac, subkey)
	block.Encrypt(mac, mac)
	return mac, nil
}

// double is the multiplication by x in the field of the block (SP 800-38B section 5.3).
func double(b []byte) {
	carry := b[0] >> 7
	for i := range b {
		b[i] <<= 1
		if i+1 < len(b) {
			b[i] |= b[i+1] >> 7
		}
	}
	reduce := map[int]byte{16: 0x87, 8: 0x1b}[len(b)]
	b[len(b)-1] ^= carry * reduce
}

// ECDH implements hsm.Crypto.
func (f *Fake) ECDH(ctx context.Context, key hsm.Ref, peer []byte) (secret hsm.Material, err error) {
	err = f.service(ctx, "ECDH", func() error {
		o, err := f.key(key, hsm.UsageDerive, func(o *object) error {
			_, err := hsm.CheckECDH(key.Class, o.spec.Type, o.spec.Curve, peer)
			return err
		})
		if err != nil {
			return err
		}
		if !slices.Contains(f.capabilities().ECDH, o.spec.Curve) {
			return fail(hsm.KindUnsupported, "ECDH")
		}
		secret, err = agree(o.value, peer)
		return err
	})
	return f.bend("ECDH", hsm.MechanismECDH, secret), err
}

// agree is the shared secret of a checked PKCS#8 key and SubjectPublicKeyInfo.
func agree(pkcs8, spki []byte) ([]byte, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		return nil, err
	}
	theirs, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil, err
	}
	private, ok := parsed.(*ecdsa.PrivateKey)
	public, ok2 := theirs.(*ecdsa.PublicKey)
	if !ok || !ok2 {
		return nil, fail(hsm.KindInvalidKey, "not an EC key")
	}
	ours, err := private.ECDH()
	if err != nil {
		return nil, err
	}
	peer, err := public.ECDH()
	if err != nil {
		return nil, err
	}
	return ours.ECDH(peer)
}

// PublicKey implements hsm.Crypto.
func (f *Fake) PublicKey(ctx context.Context, key hsm.Ref) (spki []byte, err error) {
	err = f.call(ctx, "PublicKey", func(Effect) error {
		if key.Class != hsm.ClassPublicKey {
			return fail(hsm.KindInvalidKey, "not a public key")
		}
		o, err := f.get(key)
		if err != nil {
			return err
		}
		spki = slices.Clone(o.value)
		return nil
	})
	return spki, err
}
