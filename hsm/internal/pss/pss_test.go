package pss

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"math/big"
	"testing"
)

func sign(key *rsa.PrivateKey, em []byte) []byte {
	m := new(big.Int).SetBytes(em)
	return m.Exp(m, key.D, key.N).FillBytes(make([]byte, key.Size()))
}

// TestAgainstGo verifies each side's signatures with the other where Go can: one hash for both uses.
func TestAgainstGo(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		digest := bytes.Repeat([]byte{9}, h.Size())
		for _, n := range []int{1, 20, h.Size(), 256 - h.Size() - 2} {
			salt := bytes.Repeat([]byte{5}, n)
			sig := sign(key, Encode(h.New, h.New, digest, salt, 256))
			if err := rsa.VerifyPSS(&key.PublicKey, h, digest, sig, &rsa.PSSOptions{SaltLength: n}); err != nil {
				t.Errorf("%v, salt of %d: Go says %v", h, n, err)
			}
			sig, err := rsa.SignPSS(rand.Reader, key, h, digest, &rsa.PSSOptions{SaltLength: n})
			if err != nil {
				t.Fatal(err)
			}
			if !Verify(h.New, h.New, &key.PublicKey, digest, sig, n) {
				t.Errorf("%v, salt of %d: Go's signature is not valid", h, n)
			}
			for _, other := range []int{0, n - 1, n + 1, 256} {
				if other != n && Verify(h.New, h.New, &key.PublicKey, digest, sig, other) {
					t.Errorf("%v, salt of %d: valid with %d", h, n, other)
				}
			}
		}
	}
}

// TestRefuses changes each octet of an encoded message, and uses other hashes.
func TestRefuses(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	digest := bytes.Repeat([]byte{9}, 32)
	em := Encode(sha256.New, sha512.New384, digest, digest[:20], 128)
	good := sign(key, em)
	verify := func(h, mgf func() hash.Hash, sig []byte) bool { return Verify(h, mgf, &key.PublicKey, digest, sig, 20) }
	if !verify(sha256.New, sha512.New384, good) {
		t.Error("not valid")
	}
	if verify(sha256.New, sha256.New, good) || verify(sha512.New512_256, sha512.New384, good) {
		t.Error("valid with another hash")
	}
	for i := range em {
		bad := bytes.Clone(em)
		bad[i] ^= 0x41
		if i == 0 {
			bad[0] = em[0] ^ 0x01
		}
		if verify(sha256.New, sha512.New384, sign(key, bad)) {
			t.Errorf("octet %d changed: valid", i)
		}
	}
	for name, sig := range map[string][]byte{
		"nothing": nil, "short": good[1:], "long": append([]byte{0}, good...), "modulus": key.N.Bytes(), "zeros": make([]byte, 128),
	} {
		if verify(sha256.New, sha512.New384, sig) {
			t.Errorf("%s: valid", name)
		}
	}
}
