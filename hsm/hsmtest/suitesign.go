package hsmtest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"math/big"
	"slices"

	"kmipd/hsm"
	"kmipd/hsm/internal/pss"
)

// verify calls Verify and compares.
func (r *rig) verify(key hsm.Ref, spec hsm.SignSpec, digest, sig []byte, want bool, what string) {
	r.Helper()
	got, err := r.tok.Verify(r.ctx(), key, spec, digest, sig)
	if err != nil || got != want {
		r.Errorf("%s: got %t, %v, want %t", what, got, err, want)
	}
}

// notValid verifies what is no signature of the digest.
func (r *rig) notValid(key hsm.Ref, spec hsm.SignSpec, digest, sig []byte, what string) {
	r.Helper()
	n := len(sig)
	for _, at := range []int{0, n / 2, n - 1} {
		bad := bytes.Clone(sig)
		bad[at] ^= 1
		r.verify(key, spec, digest, bad, false, fmt.Sprintf("%s: octet %d changed", what, at))
	}
	other := bytes.Clone(digest)
	other[0] ^= 0x80
	r.verify(key, spec, other, sig, false, what+": another digest")
	for name, bad := range map[string][]byte{
		"nothing": nil, "one octet": {1}, "short": sig[:n-1], "long": append(bytes.Clone(sig), 0), "long before": append([]byte{0}, sig...),
		"zeros": make([]byte, n), "ones": bytes.Repeat([]byte{255}, n), "random": octets(n), "very long": make([]byte, 100_000),
	} {
		r.verify(key, spec, digest, bad, false, what+": "+name)
	}
}

func suitePKCS1v15(r *rig) {
	if !r.tok.Info().Capabilities.PKCS1v15Sign {
		r.Skip("no PKCS1v15")
	}
	for _, bits := range []int{2048, 3072} {
		k := r.rsaHalves(bits)
		for _, h := range append([]hsm.Hash{0}, allHashes...) {
			what := fmt.Sprintf("RSA-%d, hash %d", bits, h)
			spec := hsm.SignSpec{Scheme: hsm.SignRSAPKCS1v15, Hash: h}
			digest := counted(h.Size())
			if h == 0 {
				digest = counted(77)
			}
			sig, err := r.tok.Sign(r.ctx(), k.private, spec, digest)
			r.must(err, what)
			want, err := rsa.SignPKCS1v15(nil, k.key, goHash(h), digest)
			r.must(err, what+": signature in Go")
			r.equal(sig, want, what)
			r.verify(k.public, spec, digest, sig, true, what)
			r.notValid(k.public, spec, digest, sig, what)
		}
		raw := hsm.SignSpec{Scheme: hsm.SignRSAPKCS1v15}
		for _, n := range []int{1, bits/8 - 11} {
			sig, err := r.tok.Sign(r.ctx(), k.private, raw, counted(n))
			r.must(err, "signature of octets")
			r.must(rsa.VerifyPKCS1v15(&k.key.PublicKey, 0, counted(n), sig), "verification in Go")
		}
		_, err := r.tok.Sign(r.ctx(), k.private, raw, counted(bits/8-10))
		r.want(err, hsm.ErrInvalidData, "too long")
	}
}

// suitePSS signs with every pair of hashes and salts of several lengths.
func suitePSS(r *rig) {
	caps := r.tok.Info().Capabilities
	k := r.rsaHalves(2048)
	for _, h := range allHashes {
		for _, mgf := range append([]hsm.Hash{0}, allHashes...) {
			same := orHash(mgf, h) == h
			if !slices.Contains(caps.Composed, hsm.CompositionPSS) && !(same && slices.Contains(caps.PSS, h)) {
				continue
			}
			for _, salt := range []int{0, 1, h.Size(), 256 - h.Size() - 2} {
				spec := hsm.SignSpec{Scheme: hsm.SignRSAPSS, Hash: h, MGFHash: mgf, Salt: salt}
				what := fmt.Sprintf("PSS, hash %d, MGF %d, salt %d", h, mgf, salt)
				digest := counted(h.Size())
				sig, err := r.tok.Sign(r.ctx(), k.private, spec, digest)
				r.must(err, what)
				if !pss.Verify(goHash(h).New, goHash(orHash(mgf, h)).New, &k.key.PublicKey, digest, sig, salt) {
					r.Errorf("%s: not valid in software", what)
				}
				if same {
					opts := &rsa.PSSOptions{SaltLength: salt}
					if salt == 0 {
						opts.SaltLength = rsa.PSSSaltLengthAuto
					}
					r.must(rsa.VerifyPSS(&k.key.PublicKey, goHash(h), digest, sig, opts), what+": verification in Go")
				}
				r.verify(k.public, spec, digest, sig, true, what)
				if salt == h.Size() {
					r.notValid(k.public, spec, digest, sig, what)
				}
				other := spec
				other.Salt = (salt + 1) % (256 - h.Size() - 1)
				r.verify(k.public, other, digest, sig, false, what+": another salt length")
				theirs, err := signPSS(k.key, spec, digest)
				r.must(err, what+": signature in Go")
				r.verify(k.public, spec, digest, theirs, true, what+": signed in Go")
			}
		}
	}
}

func suiteECDSA(r *rig) {
	spec := hsm.SignSpec{Scheme: hsm.SignECDSA}
	for _, c := range r.tok.Info().Capabilities.ECDSA {
		private, public, spki := r.generatePair(ecPair(c))
		parsed, err := x509.ParsePKIXPublicKey(spki)
		r.must(err, "SPKI")
		key := parsed.(*ecdsa.PublicKey)
		half := c.OrderOctets()
		for _, n := range []int{1, 20, 28, 31, 32, 33, 48, 49, 64, 65, 66, 67, 68, 100, 5000} {
			what := fmt.Sprintf("curve %d, %d octets", c, n)
			digest := bytes.Repeat([]byte{0xA5}, n)
			sig, err := r.tok.Sign(r.ctx(), private, spec, digest)
			r.must(err, what)
			if len(sig) != 2*half || !ecdsa.Verify(key, digest, new(big.Int).SetBytes(sig[:half]), new(big.Int).SetBytes(sig[half:])) {
				r.Errorf("%s: %d octets are not valid in Go", what, len(sig))
			}
			r.verify(public, spec, digest, sig, true, what)
			if n == 32 {
				r.notValid(public, spec, digest, sig, what)
			}
		}
		for _, h := range allHashes {
			hashed := hsm.SignSpec{Scheme: hsm.SignECDSA, Hash: h}
			sig, err := r.tok.Sign(r.ctx(), private, hashed, counted(h.Size()))
			r.must(err, "Sign with hash")
			r.verify(public, hashed, counted(h.Size()), sig, true, "Verify with hash")
			_, err = r.tok.Sign(r.ctx(), private, hashed, counted(h.Size()+1))
			r.want(err, hsm.ErrInvalidData, "a digest that is not of the hash")
		}
		r.foreignECDSA(c, half)
	}
}

// foreignECDSA verifies Go's signatures with an imported key, some with r or s that starts with zeros.
func (r *rig) foreignECDSA(c hsm.Curve, half int) {
	key, err := ecdsa.GenerateKey(curveOf(c), rand.Reader)
	r.must(err, "GenerateKey")
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	r.must(err, "SPKI")
	spec := ecPair(c).Public
	ref := r.ref(hsm.ClassPublicKey, spec.ID)
	r.must(r.tok.ImportPublicKey(r.ctx(), spec, spki), "ImportPublicKey")
	sign := hsm.SignSpec{Scheme: hsm.SignECDSA}
	order := curveOf(c).Params().N
	for i := range rounds(c) {
		digest := octets(32)
		x, y, err := ecdsa.Sign(rand.Reader, key, digest)
		r.must(err, "Sign in Go")
		sig := append(x.FillBytes(make([]byte, half)), y.FillBytes(make([]byte, half))...)
		if i < 20 || sig[0] == 0 || sig[half] == 0 {
			r.verify(ref, sign, digest, sig, true, "signed in Go")
		}
		if i < 5 {
			for _, bad := range [][2]*big.Int{{new(big.Int), y}, {x, new(big.Int)}, {order, y}, {x, order}} {
				sig := append(bad[0].FillBytes(make([]byte, half)), bad[1].FillBytes(make([]byte, half))...)
				r.verify(ref, sign, digest, sig, false, "r or s out of range")
			}
		}
	}
}

func suiteSignRefusals(r *rig) {
	k := r.rsaHalves(2048)
	ecPrivate, ecPublic, _ := r.generatePair(ecPair(hsm.CurveP256))
	secret, _ := r.secretKey(hsm.KeyAES, counted(32))
	ec := hsm.SignSpec{Scheme: hsm.SignECDSA}
	pkcs := hsm.SignSpec{Scheme: hsm.SignRSAPKCS1v15, Hash: hsm.SHA256}
	good := hsm.SignSpec{Scheme: hsm.SignRSAPSS, Hash: hsm.SHA256, Salt: 32}
	with := func(f func(*hsm.SignSpec)) hsm.SignSpec { s := good; f(&s); return s }
	for _, tt := range []struct {
		name         string
		sign, verify hsm.Ref
		spec         hsm.SignSpec
		n            int
		want         *hsm.Error
	}{
		{"halves swapped", ecPublic, ecPrivate, ec, 32, hsm.ErrInvalidKey},
		{"RSA halves swapped", k.public, k.private, pkcs, 32, hsm.ErrInvalidKey},
		{"secret key", secret, secret, pkcs, 32, hsm.ErrInvalidKey},
		{"ECDSA with RSA", k.private, k.public, ec, 32, hsm.ErrInvalidKey},
		{"PKCS1v15 with EC", ecPrivate, ecPublic, pkcs, 32, hsm.ErrInvalidKey},
		{"PSS with EC", ecPrivate, ecPublic, good, 32, hsm.ErrInvalidKey},
		{"no scheme", k.private, k.public, hsm.SignSpec{}, 32, hsm.ErrUnsupported},
		{"unknown scheme", k.private, k.public, hsm.SignSpec{Scheme: 9}, 32, hsm.ErrUnsupported},
		{"unknown hash", k.private, k.public, hsm.SignSpec{Scheme: hsm.SignRSAPKCS1v15, Hash: 9}, 32, hsm.ErrUnsupported},
		{"PKCS1v15 with salt", k.private, k.public, hsm.SignSpec{Scheme: hsm.SignRSAPKCS1v15, Hash: hsm.SHA256, Salt: 1}, 32, hsm.ErrUnsupported},
		{"ECDSA with MGF", ecPrivate, ecPublic, hsm.SignSpec{Scheme: hsm.SignECDSA, MGFHash: hsm.SHA256}, 32, hsm.ErrUnsupported},
		{"PSS without hash", k.private, k.public, hsm.SignSpec{Scheme: hsm.SignRSAPSS}, 32, hsm.ErrUnsupported},
		{"PSS, unknown MGF", k.private, k.public, with(func(s *hsm.SignSpec) { s.MGFHash = 9 }), 32, hsm.ErrUnsupported},
		{"PSS, negative salt", k.private, k.public, with(func(s *hsm.SignSpec) { s.Salt = -1 }), 32, hsm.ErrUnsupported},
		{"PSS, long salt", k.private, k.public, with(func(s *hsm.SignSpec) { s.Salt = 223 }), 32, hsm.ErrUnsupported},
		{"PSS, short digest", k.private, k.public, good, 31, hsm.ErrInvalidData},
		{"PKCS1v15, long digest", k.private, k.public, pkcs, 33, hsm.ErrInvalidData},
		{"PKCS1v15, nothing", k.private, k.public, hsm.SignSpec{Scheme: hsm.SignRSAPKCS1v15}, 0, hsm.ErrInvalidData},
		{"ECDSA, nothing", ecPrivate, ecPublic, ec, 0, hsm.ErrInvalidData},
	} {
		_, err := r.tok.Sign(r.ctx(), tt.sign, tt.spec, counted(tt.n))
		r.want(err, tt.want, tt.name+": Sign")
		ok, err := r.tok.Verify(r.ctx(), tt.verify, tt.spec, counted(tt.n), make([]byte, 256))
		r.want(err, tt.want, tt.name+": Verify")
		if ok {
			r.Errorf("%s: valid", tt.name)
		}
	}
}

// rounds is how often something that happens with 1 in 256 on P-256, and 1 in 2 on P-521, is worth waiting for: software
// is slow on the larger curves.
func rounds(c hsm.Curve) int {
	if c == hsm.CurveP256 {
		return 300
	}
	return 12
}

// suiteECDH agrees with Go's keys, often enough that some secrets start with zeros (on P-521 half of them do).
func suiteECDH(r *rig) {
	for _, c := range r.tok.Info().Capabilities.ECDH {
		half := hsm.KeySpec{Type: hsm.KeyEC, Curve: c, Usage: hsm.UsageDerive}
		private, public, spki := r.generatePair(pair(half, hsm.UsageVerify))
		for i := range rounds(c) {
			ours, err := ecdsa.GenerateKey(curveOf(c), rand.Reader)
			r.must(err, "GenerateKey")
			der, err := x509.MarshalPKCS8PrivateKey(ours)
			r.must(err, "PKCS#8")
			want, err := agree(der, spki)
			r.must(err, "agreement in Go")
			if i >= 5 && want[0] != 0 {
				continue
			}
			peer, err := x509.MarshalPKIXPublicKey(&ours.PublicKey)
			r.must(err, "SPKI")
			got, err := r.tok.ECDH(r.ctx(), private, peer)
			r.must(err, "ECDH")
			r.equal(got, want, fmt.Sprintf("curve %d", c))
		}
		r.refuseECDH(c, private, public)
	}
}

func (r *rig) refuseECDH(c hsm.Curve, private, public hsm.Ref) {
	other, err := ecdsa.GenerateKey(curveOf(hsm.CurveP256+(c-hsm.CurveP256+1)%3), rand.Reader)
	r.must(err, "GenerateKey")
	otherCurve, err := x509.MarshalPKIXPublicKey(&other.PublicKey)
	r.must(err, "SPKI")
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	r.must(err, "GenerateKey")
	smallCurve, err := x509.MarshalPKIXPublicKey(&p224.PublicKey)
	r.must(err, "SPKI")
	_, _, own := r.generatePair(ecPair(c))
	off := bytes.Clone(own)
	off[len(off)-1] ^= 1
	k := r.rsaHalves(2048)
	rsaKey, err := x509.MarshalPKIXPublicKey(&k.key.PublicKey)
	r.must(err, "SPKI")
	for name, peer := range map[string][]byte{
		"nothing": nil, "random": octets(91), "another curve": otherCurve, "P-224": smallCurve, "off the curve": off, "RSA": rsaKey,
		"cut": own[:len(own)-1], "longer": append(bytes.Clone(own), 0), "bare point": own[len(own)-2*c.OrderOctets()-1:],
	} {
		_, err := r.tok.ECDH(r.ctx(), private, peer)
		r.want(err, hsm.ErrInvalidData, name)
	}
	secret, _ := r.secretKey(hsm.KeyGeneric, counted(32))
	for _, ref := range []hsm.Ref{public, k.private, k.public, secret} {
		_, err := r.tok.ECDH(r.ctx(), ref, own)
		r.want(err, hsm.ErrInvalidKey, fmt.Sprintf("class %d", ref.Class))
	}
}

func suitePublicKeys(r *rig) {
	specs := []hsm.PairSpec{rsaPair(2048)}
	for _, c := range r.tok.Info().Capabilities.Curves {
		specs = append(specs, ecPair(c))
	}
	for _, spec := range specs {
		private, public, spki := r.generatePair(spec)
		got, err := r.tok.PublicKey(r.ctx(), public)
		r.must(err, "PublicKey")
		r.equal(got, spki, "PublicKey")
		_, err = r.tok.PublicKey(r.ctx(), private)
		r.want(err, hsm.ErrInvalidKey, "PublicKey of a private key")
	}
}
