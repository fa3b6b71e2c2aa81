package hsmtest

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
	"testing"

	"kmipd/hsm"
)

// rsaHalves are an RSA pair on the token with Go's view of both halves.
type rsaHalves struct {
	private, public hsm.Ref
	key             *rsa.PrivateKey
}

func (r *rig) rsaHalves(bits int) rsaHalves {
	r.Helper()
	private, public, _ := r.generatePair(rsaPair(bits))
	parsed, err := x509.ParsePKCS8PrivateKey(r.export(private, 0))
	r.must(err, "PKCS#8")
	return rsaHalves{private, public, parsed.(*rsa.PrivateKey)}
}

// oaepSpecs are OAEP with every pair of hashes, with and without label.
func oaepSpecs() (specs []hsm.RSACipherSpec) {
	for _, h := range allHashes {
		for _, mgf := range append([]hsm.Hash{0}, allHashes...) {
			for _, label := range [][]byte{nil, []byte("a label")} {
				specs = append(specs, hsm.RSACipherSpec{OAEP: true, Hash: h, MGFHash: mgf, Label: label})
			}
		}
	}
	return specs
}

// rsaDone says whether the token offers this encryption.
func (r *rig) rsaDone(spec hsm.RSACipherSpec) bool {
	caps := r.tok.Info().Capabilities
	if !spec.OAEP {
		return caps.PKCS1v15Encrypt
	}
	return slices.Contains(caps.Composed, hsm.CompositionOAEP) ||
		slices.Contains(caps.OAEPEncrypt, spec.Hash) && orHash(spec.MGFHash, spec.Hash) == spec.Hash && len(spec.Label) == 0
}

func suiteRSAEncryption(r *rig) {
	for _, bits := range []int{2048, 3072} {
		k := r.rsaHalves(bits)
		for i, spec := range append(oaepSpecs(), hsm.RSACipherSpec{}) {
			if bits > 2048 && i%7 != 0 {
				continue // some of them: software is slow
			}
			what := fmt.Sprintf("RSA-%d, OAEP %t, hash %d, MGF %d, label %q", bits, spec.OAEP, spec.Hash, spec.MGFHash, spec.Label)
			room := bits/8 - 11
			if spec.OAEP {
				room = bits/8 - 2*spec.Hash.Size() - 2
			}
			if !r.rsaDone(spec) {
				continue
			}
			for _, n := range []int{1, room} {
				k.encryption(r, spec, counted(n), what)
			}
			_, err := r.tok.RSAEncrypt(r.ctx(), k.public, spec, counted(room+1))
			r.want(err, hsm.ErrInvalidData, what+": too long")
			_, err = r.tok.RSAEncrypt(r.ctx(), k.public, spec, nil)
			r.want(err, hsm.ErrInvalidData, what+": nothing")
			if spec.MGFHash == 0 || spec.MGFHash == hsm.SHA1 {
				k.tamper(r, spec, what)
			}
		}
	}
}

// encryption goes from the token to Go and back.
func (k rsaHalves) encryption(r *rig, spec hsm.RSACipherSpec, plain []byte, what string) {
	r.Helper()
	data, err := r.tok.RSAEncrypt(r.ctx(), k.public, spec, plain)
	r.must(err, what+": RSAEncrypt")
	var got []byte
	if spec.OAEP {
		got, err = k.key.Decrypt(nil, bytes.Clone(data), oaepOptions(spec))
	} else {
		got, err = rsa.DecryptPKCS1v15(nil, k.key, data) //nolint:staticcheck // SA1019: what is tested
	}
	r.must(err, what+": decryption in Go")
	r.equal(got, plain, what+": to Go")
	if spec.OAEP {
		data, err = rsa.EncryptOAEPWithOptions(rand.Reader, &k.key.PublicKey, plain, oaepOptions(spec))
	} else {
		data, err = rsa.EncryptPKCS1v15(rand.Reader, &k.key.PublicKey, plain) //nolint:staticcheck // SA1019: what is tested
	}
	r.must(err, what+": encryption in Go")
	back, err := r.tok.RSADecrypt(r.ctx(), k.private, spec, data)
	r.must(err, what+": RSADecrypt")
	r.equal(back, plain, what+": from Go")
}

// tamper decrypts what is no ciphertext. PKCS #1 v1.5 has so little redundancy that anything may decrypt to something, and
// some tokens answer so on purpose (implicit rejection): what must not come out is the plaintext.
func (k rsaHalves) tamper(r *rig, spec hsm.RSACipherSpec, what string) {
	data, err := r.tok.RSAEncrypt(r.ctx(), k.public, spec, counted(20))
	r.must(err, what+": RSAEncrypt")
	bad := bytes.Clone(data)
	bad[len(bad)-1] ^= 1
	high := bytes.Repeat([]byte{255}, len(data)) // above the modulus
	for name, x := range map[string][]byte{"changed": bad, "zeros": make([]byte, len(data)), "high": high, "random": octets(len(data))} {
		out, err := r.tok.RSADecrypt(r.ctx(), k.private, spec, x)
		if err == nil && !spec.OAEP && !bytes.Equal(out, counted(20)) {
			continue
		}
		r.want(err, hsm.ErrInvalidData, what+": "+name)
	}
	for _, n := range []int{0, 1, len(data) - 1, len(data) + 1} {
		_, err := r.tok.RSADecrypt(r.ctx(), k.private, spec, make([]byte, n))
		r.want(err, hsm.ErrInvalidData, fmt.Sprintf("%s: %d octets", what, n))
	}
	if spec.OAEP {
		other := spec
		other.Label = []byte("another")
		if r.rsaDone(other) {
			_, err := r.tok.RSADecrypt(r.ctx(), k.private, other, data)
			r.want(err, hsm.ErrInvalidData, what+": another label")
		}
	}
}

func suiteRSARefusals(r *rig) {
	k := r.rsaHalves(2048)
	ecPrivate, ecPublic, _ := r.generatePair(ecPair(hsm.CurveP256))
	secret, _ := r.secretKey(hsm.KeyAES, counted(32))
	oaep := hsm.RSACipherSpec{OAEP: true, Hash: hsm.SHA256}
	for _, tt := range []struct {
		name             string
		encrypt, decrypt hsm.Ref
		spec             hsm.RSACipherSpec
		want             *hsm.Error
	}{
		{"halves swapped", k.private, k.public, oaep, hsm.ErrInvalidKey},
		{"EC", ecPublic, ecPrivate, oaep, hsm.ErrInvalidKey},
		{"EC, PKCS1v15", ecPublic, ecPrivate, hsm.RSACipherSpec{}, hsm.ErrInvalidKey},
		{"AES", secret, secret, hsm.RSACipherSpec{}, hsm.ErrInvalidKey},
		{"OAEP without hash", k.public, k.private, hsm.RSACipherSpec{OAEP: true}, hsm.ErrUnsupported},
		{"OAEP, unknown hash", k.public, k.private, hsm.RSACipherSpec{OAEP: true, Hash: 9}, hsm.ErrUnsupported},
		{"OAEP, unknown MGF hash", k.public, k.private, hsm.RSACipherSpec{OAEP: true, Hash: hsm.SHA256, MGFHash: 9}, hsm.ErrUnsupported},
		{"PKCS1v15 with hash", k.public, k.private, hsm.RSACipherSpec{Hash: hsm.SHA256}, hsm.ErrUnsupported},
		{"PKCS1v15 with label", k.public, k.private, hsm.RSACipherSpec{Label: []byte("x")}, hsm.ErrUnsupported},
	} {
		_, err := r.tok.RSAEncrypt(r.ctx(), tt.encrypt, tt.spec, counted(20))
		r.want(err, tt.want, tt.name+": RSAEncrypt")
		_, err = r.tok.RSADecrypt(r.ctx(), tt.decrypt, tt.spec, counted(256))
		r.want(err, tt.want, tt.name+": RSADecrypt")
	}
	if slices.Contains(r.tok.Info().Capabilities.RSABits, 1024) {
		r.Run("no room", func(t *testing.T) {
			small := r.rsaHalves(1024)
			for _, spec := range []hsm.RSACipherSpec{{OAEP: true, Hash: hsm.SHA512}, {OAEP: true, Hash: hsm.SHA512, Label: []byte("x")}} {
				_, err := r.tok.RSAEncrypt(r.ctx(), small.public, spec, []byte{1})
				r.want(err, hsm.ErrInvalidData, "SHA-512 in 1024 bits: RSAEncrypt")
				_, err = r.tok.RSADecrypt(r.ctx(), small.private, spec, make([]byte, 128))
				r.want(err, hsm.ErrInvalidData, "SHA-512 in 1024 bits: RSADecrypt")
			}
		})
	}
}
