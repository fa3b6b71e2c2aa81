package oaep

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"hash"
	"math/big"
	"testing"
)

// raw is what a token's raw RSA gives back.
func raw(key *rsa.PrivateKey, c []byte) []byte {
	m := new(big.Int).Exp(new(big.Int).SetBytes(c), key.D, key.N)
	return m.FillBytes(make([]byte, key.Size()))
}

func TestDecode(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, h := range map[string]func() hash.Hash{"SHA-256": sha256.New, "SHA-384": sha512.New384, "SHA-512": sha512.New} {
		for _, n := range []int{0, 1, 16, 32, 100, key.Size() - 2*h().Size() - 2} {
			want := bytes.Repeat([]byte{1}, n)
			c, err := rsa.EncryptOAEP(h(), rand.Reader, &key.PublicKey, want, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Decode(h, raw(key, c))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, %d octets: got %x, %v", name, n, got, err)
			}
			em := raw(key, c)
			em[0] = 1
			if _, err := Decode(h, em); !errors.Is(err, ErrInvalid) {
				t.Errorf("%s: a first octet of 1: %v", name, err)
			}
			em = raw(key, c)
			em[200] ^= 4
			if _, err := Decode(h, em); !errors.Is(err, ErrInvalid) {
				t.Errorf("%s: a changed octet: %v", name, err)
			}
		}
		other, err := rsa.EncryptOAEP(h(), rand.Reader, &key.PublicKey, []byte("x"), []byte("label"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(h, raw(key, other)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: another label: %v", name, err)
		}
		for n := range 256 {
			if _, err := Decode(h, make([]byte, n)); !errors.Is(err, ErrInvalid) {
				t.Errorf("%s: %d zeros: %v", name, n, err)
			}
		}
	}
}
