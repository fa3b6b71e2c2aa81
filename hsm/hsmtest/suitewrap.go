package hsmtest

import (
	"bytes"
	"slices"

	"kmipd/hsm"
	"kmipd/hsm/internal/keywrap"
)

var (
	kw  = hsm.WrapSpec{Mechanism: hsm.WrapAESKW}
	kwp = hsm.WrapSpec{Mechanism: hsm.WrapAESKWP}
)

// suiteWrapSecret compares the token's blobs with software ones and takes them back in.
func suiteWrapSecret(r *rig) {
	kekSpec := aes(256, hsm.UsageWrap|hsm.UsageUnwrap)
	kekValue := octets(32)
	kek := r.imports(hsm.ClassSecretKey, kekSpec, kekValue)
	for _, n := range []int{1, 5, 8, 15, 16, 20, 24, 32, 33, 64, 200} {
		value := octets(n)
		value[n-1] &= byte(n) << 4 // some end in a zero octet, and that is part of the value
		target := r.imports(hsm.ClassSecretKey, generic(n), value)
		blob, err := r.tok.Wrap(r.ctx(), kek, kwp, target, 8*n)
		r.must(err, "Wrap KWP")
		plain, err := keywrap.UnwrapKWP(kekValue, blob)
		r.must(err, "software unwrap of KWP")
		r.equal(plain, value, "KWP")
		r.unwrapSecret(kek, kwp, blob, value)

		blob, err = r.tok.Wrap(r.ctx(), kek, kw, target, 8*n)
		if n < 16 || n%8 != 0 {
			r.want(err, hsm.ErrInvalidData, "KW of an odd length")
			continue
		}
		r.must(err, "Wrap KW")
		plain, err = keywrap.UnwrapKW(kekValue, blob)
		r.must(err, "software unwrap of KW")
		r.equal(plain, value, "KW")
		r.unwrapSecret(kek, kw, blob, value)
	}
}

// unwrapSecret unwraps a blob to a generic secret, once extractable with its length unknown, once neither.
func (r *rig) unwrapSecret(kek hsm.Ref, how hsm.WrapSpec, blob, value []byte) {
	r.Helper()
	spec := generic(len(value))
	spec.Bits = 0
	ref := r.ref(hsm.ClassSecretKey, spec.ID)
	got, err := r.tok.Unwrap(r.ctx(), kek, how, blob, hsm.ClassSecretKey, spec)
	r.must(err, "Unwrap")
	if got.Bytes != len(value) {
		r.Errorf("Unwrap: %d octets, want %d", got.Bytes, len(value))
	}
	r.equal(r.export(ref, 8*len(value)), value, "unwrapped key")
	r.digest(ref, value)

	spec = generic(len(value))
	spec.Extractable = false
	ref = r.ref(hsm.ClassSecretKey, spec.ID)
	got, err = r.tok.Unwrap(r.ctx(), kek, how, blob, hsm.ClassSecretKey, spec)
	r.must(err, "Unwrap, not extractable")
	if got.Bytes != len(value) {
		r.Errorf("Unwrap, not extractable: %d octets, want %d", got.Bytes, len(value))
	}
	_, err = r.tok.Export(r.ctx(), ref, 8*len(value))
	r.want(err, hsm.ErrNotExtractable, "unwrapped, not extractable")
}

func suiteWrapPrivate(r *rig) {
	kekValue := octets(32)
	kek := r.imports(hsm.ClassSecretKey, aes(256, hsm.UsageWrap|hsm.UsageUnwrap), kekValue)
	specs := []hsm.PairSpec{rsaPair(2048)}
	for _, c := range r.tok.Info().Capabilities.Curves {
		specs = append(specs, ecPair(c))
	}
	for _, spec := range specs {
		private, _, spki := r.generatePair(spec)
		der := r.export(private, 0)
		blob, err := r.tok.Wrap(r.ctx(), kek, kwp, private, 0)
		r.must(err, "Wrap KWP")
		plain, err := keywrap.UnwrapKWP(kekValue, blob)
		r.must(err, "software unwrap of KWP")
		r.equal(plain, der, "PKCS#8 in KWP")
		again := spec.Private
		again.ID = hsm.NewTokenID()
		ref := r.ref(hsm.ClassPrivateKey, again.ID)
		_, err = r.tok.Unwrap(r.ctx(), kek, kwp, blob, hsm.ClassPrivateKey, again)
		r.must(err, "Unwrap")
		r.must(matches(r.export(ref, 0), spki), "unwrapped private key")
		blob, err = r.tok.Wrap(r.ctx(), kek, kw, private, 0)
		if len(der)%8 != 0 {
			r.want(err, hsm.ErrInvalidData, "KW of an odd length")
			continue
		}
		r.must(err, "Wrap KW")
		plain, err = keywrap.UnwrapKW(kekValue, blob)
		r.must(err, "software unwrap of KW")
		r.equal(plain, der, "PKCS#8 in KW")
	}
}

// rsaMechanisms are the RSA mechanisms that the token offers, alone or composed.
func (r *rig) rsaMechanisms() []hsm.WrapSpec {
	caps := r.tok.Info().Capabilities
	var out []hsm.WrapSpec
	for _, h := range slices.Concat(caps.OAEP, caps.OAEPComposed) {
		out = append(out, hsm.WrapSpec{Mechanism: hsm.WrapRSAOAEP, Hash: h})
	}
	if caps.RSAPKCS1v15 {
		out = append(out, hsm.WrapSpec{Mechanism: hsm.WrapRSAPKCS1v15})
	}
	if len(out) == 0 {
		r.Skip("no RSA wrapping")
	}
	return out
}

func suiteWrapRSA(r *rig) {
	mechanisms := r.rsaMechanisms()
	private, public, _ := r.generatePair(rsaPair(2048))
	for _, how := range mechanisms {
		for _, n := range []int{1, 16, 20, 32, 100} {
			value := octets(n)
			target := r.imports(hsm.ClassSecretKey, generic(n), value)
			blob, err := r.tok.Wrap(r.ctx(), public, how, target, 8*n)
			r.must(err, "Wrap")
			if len(blob) != 256 {
				r.Errorf("a blob of %d octets", len(blob))
			}
			r.unwrapSecret(private, how, blob, value)
			blob, err = r.tok.WrapBytes(r.ctx(), public, how, value)
			r.must(err, "WrapBytes")
			back, err := r.tok.UnwrapBytes(r.ctx(), private, how, blob)
			r.must(err, "UnwrapBytes")
			r.equal(back, value, "UnwrapBytes")
			blob[9] ^= 1
			back, err = r.tok.UnwrapBytes(r.ctx(), private, how, blob)
			if how.Mechanism == hsm.WrapRSAPKCS1v15 && err == nil && !bytes.Equal(back, value) {
				continue // some tokens answer with noise, so that nobody learns whether the padding was right
			}
			r.want(err, hsm.ErrInvalidData, "a changed blob")
		}
		_, err := r.tok.WrapBytes(r.ctx(), public, how, octets(250))
		r.want(err, hsm.ErrInvalidData, "more than the modulus takes")
		_, err = r.tok.UnwrapBytes(r.ctx(), private, how, octets(255))
		r.want(err, hsm.ErrInvalidData, "less than a modulus")
	}
}

func suiteWrapBytes(r *rig) {
	kekValue := octets(32)
	kek := r.imports(hsm.ClassSecretKey, aes(256, hsm.UsageWrap|hsm.UsageUnwrap), kekValue)
	for _, n := range []int{1, 8, 9, 15, 16, 17, 24, 40, 41, 1000, 5000} {
		value := octets(n)
		blob, err := r.tok.WrapBytes(r.ctx(), kek, kwp, value)
		r.must(err, "WrapBytes KWP")
		want, err := keywrap.WrapKWP(kekValue, value)
		r.must(err, "software KWP")
		r.equal(blob, want, "KWP")
		back, err := r.tok.UnwrapBytes(r.ctx(), kek, kwp, blob)
		r.must(err, "UnwrapBytes KWP")
		r.equal(back, value, "UnwrapBytes KWP")

		blob, err = r.tok.WrapBytes(r.ctx(), kek, kw, value)
		if n < 16 || n%8 != 0 {
			r.want(err, hsm.ErrInvalidData, "KW of an odd length")
			continue
		}
		r.must(err, "WrapBytes KW")
		want, err = keywrap.WrapKW(kekValue, value)
		r.must(err, "software KW")
		r.equal(blob, want, "KW")
		back, err = r.tok.UnwrapBytes(r.ctx(), kek, kw, blob)
		r.must(err, "UnwrapBytes KW")
		r.equal(back, value, "UnwrapBytes KW")
	}
	_, err := r.tok.WrapBytes(r.ctx(), kek, kwp, nil)
	r.want(err, hsm.ErrInvalidData, "WrapBytes of nothing")
}

func suiteWrapRefusals(r *rig) {
	kek := r.generate(aes(256, hsm.UsageWrap|hsm.UsageUnwrap))
	idle := r.generate(aes(256, hsm.UsageEncrypt))
	secret := r.generate(generic(32))
	private, public, _ := r.generatePair(ecPair(hsm.CurveP256))
	for _, tt := range []struct {
		name     string
		wrapping hsm.Ref
		how      hsm.WrapSpec
		want     *hsm.Error
	}{
		{"usage", idle, kwp, hsm.ErrInvalidKey},
		{"generic secret", secret, kwp, hsm.ErrInvalidKey},
		{"EC private key", private, kwp, hsm.ErrInvalidKey},
		{"EC public key, OAEP", public, hsm.WrapSpec{Mechanism: hsm.WrapRSAOAEP, Hash: hsm.OAEPSHA256}, hsm.ErrInvalidKey},
		{"AES, OAEP", kek, hsm.WrapSpec{Mechanism: hsm.WrapRSAOAEP, Hash: hsm.OAEPSHA256}, hsm.ErrInvalidKey},
		{"mechanism", kek, hsm.WrapSpec{Mechanism: 44}, hsm.ErrUnsupported},
	} {
		_, err := r.tok.Wrap(r.ctx(), tt.wrapping, tt.how, secret, 256)
		r.want(err, tt.want, "Wrap: "+tt.name)
		_, err = r.tok.WrapBytes(r.ctx(), tt.wrapping, tt.how, octets(32))
		r.want(err, tt.want, "WrapBytes: "+tt.name)
	}
	_, err := r.tok.Wrap(r.ctx(), kek, kwp, public, 0)
	r.want(err, hsm.ErrInvalidKey, "Wrap of a public key")
}

// suiteHostileBlobs gives blobs that a hostile client might: each is refused, and the token lives on.
func suiteHostileBlobs(r *rig) {
	kek := r.generate(aes(256, hsm.UsageWrap|hsm.UsageUnwrap))
	private, _, _ := r.generatePair(rsaPair(2048))
	for n := range 60 {
		blob := octets(8 * n)
		for _, how := range []hsm.WrapSpec{kw, kwp} {
			_, err := r.tok.UnwrapBytes(r.ctx(), kek, how, blob)
			r.want(err, hsm.ErrInvalidData, "UnwrapBytes of noise")
			spec := ecPair(hsm.CurveP256).Private
			_, err = r.tok.Unwrap(r.ctx(), kek, how, blob, hsm.ClassPrivateKey, spec)
			r.want(err, hsm.ErrInvalidData, "Unwrap of noise")
		}
	}
	var blobs [][]byte
	for range 5 {
		blobs = append(blobs, octets(256))
	}
	one := make([]byte, 256)
	one[255] = 1
	blobs = append(blobs, make([]byte, 256), one, bytes.Repeat([]byte{0xFF}, 256))
	for _, how := range r.rsaMechanisms() {
		for _, blob := range blobs {
			_, err := r.tok.UnwrapBytes(r.ctx(), private, how, blob)
			if how.Mechanism == hsm.WrapRSAPKCS1v15 && err == nil {
				continue // some tokens answer with noise
			}
			r.want(err, hsm.ErrInvalidData, "UnwrapBytes of RSA noise")
		}
	}
	r.export(kek, 256)
}

func suiteUnwrapRefusals(r *rig) {
	kek := r.generate(aes(256, hsm.UsageWrap|hsm.UsageUnwrap))
	secret := r.generate(generic(32))
	blob, err := r.tok.Wrap(r.ctx(), kek, kwp, secret, 256)
	r.must(err, "Wrap")
	changed := bytes.Clone(blob)
	changed[20] ^= 1
	for _, tt := range []struct {
		name  string
		how   hsm.WrapSpec
		blob  []byte
		class hsm.Class
		spec  hsm.KeySpec
	}{
		{"empty", kwp, nil, hsm.ClassSecretKey, generic(32)},
		{"short", kwp, blob[:8], hsm.ClassSecretKey, generic(32)},
		{"no multiple of 8", kwp, blob[:31], hsm.ClassSecretKey, generic(32)},
		{"truncated", kwp, blob[:32], hsm.ClassSecretKey, generic(32)},
		{"changed", kwp, changed, hsm.ClassSecretKey, generic(32)},
		{"KWP taken for KW", kw, blob, hsm.ClassSecretKey, generic(32)},
		{"wrong length announced", kwp, blob, hsm.ClassSecretKey, generic(31)},
		{"a secret for a private key", kwp, blob, hsm.ClassPrivateKey, ecPair(hsm.CurveP256).Private},
	} {
		ref := r.ref(tt.class, tt.spec.ID)
		_, err := r.tok.Unwrap(r.ctx(), kek, tt.how, tt.blob, tt.class, tt.spec)
		r.want(err, hsm.ErrInvalidData, "Unwrap: "+tt.name)
		r.gone(ref, "Unwrap: "+tt.name)
		if tt.name == "wrong length announced" || tt.class == hsm.ClassPrivateKey {
			continue
		}
		_, err = r.tok.UnwrapBytes(r.ctx(), kek, tt.how, tt.blob)
		r.want(err, hsm.ErrInvalidData, "UnwrapBytes: "+tt.name)
	}
	odd := aes(0, allUsage) // 32 octets make an AES-256 key; 20 would make none
	_, err = r.tok.Unwrap(r.ctx(), kek, kwp, blob, hsm.ClassSecretKey, odd)
	r.must(err, "Unwrap to AES")
	r.ref(hsm.ClassSecretKey, odd.ID)
	blob, err = r.tok.WrapBytes(r.ctx(), kek, kwp, octets(20))
	r.must(err, "WrapBytes")
	odd = aes(0, allUsage)
	_, err = r.tok.Unwrap(r.ctx(), kek, kwp, blob, hsm.ClassSecretKey, odd)
	r.want(err, hsm.ErrInvalidData, "20 octets for AES")
	r.gone(r.ref(hsm.ClassSecretKey, odd.ID), "20 octets for AES")
}
