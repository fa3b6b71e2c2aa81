package oaep

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"math/big"
	"testing"
)

// TestSchemes goes both ways between this package and Go with different hashes and a label.
func TestSchemes(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []crypto.Hash{crypto.SHA224, crypto.SHA256, crypto.SHA512} {
		for _, mgf := range []crypto.Hash{crypto.SHA256, crypto.SHA384} {
			for _, label := range [][]byte{nil, []byte("label")} {
				s := Scheme{Hash: h.New, MGF: mgf.New, Label: label}
				opts := &rsa.OAEPOptions{Hash: h, MGFHash: mgf, Label: label}
				for _, n := range []int{0, 1, 50, 256 - 2*h.Size() - 2} {
					want := bytes.Repeat([]byte{1}, n)
					em, err := s.Encode(want, bytes.Repeat([]byte{8}, h.Size()), 256)
					if err != nil {
						t.Fatal(err)
					}
					m := new(big.Int).SetBytes(em)
					data := m.Exp(m, big.NewInt(int64(key.E)), key.N).FillBytes(make([]byte, 256))
					got, err := key.Decrypt(nil, data, opts)
					if err != nil || !bytes.Equal(got, want) {
						t.Errorf("%v, %v, %q, %d octets: Go got %x, %v", h, mgf, label, n, got, err)
					}
					if data, err = rsa.EncryptOAEPWithOptions(rand.Reader, &key.PublicKey, want, opts); err != nil {
						t.Fatal(err)
					}
					if got, err = s.Decode(raw(key, data)); err != nil || !bytes.Equal(got, want) {
						t.Errorf("%v, %v, %q, %d octets: got %x, %v", h, mgf, label, n, got, err)
					}
				}
			}
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	s := Scheme{Hash: sha256.New, MGF: sha512.New}
	for _, tt := range []struct{ message, seed, k int }{{191, 32, 256}, {1, 31, 256}, {1, 33, 256}, {0, 32, 65}, {1, 32, 66}} {
		if _, err := s.Encode(make([]byte, tt.message), make([]byte, tt.seed), tt.k); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
	if _, err := s.Encode(nil, make([]byte, 32), 66); err != nil {
		t.Errorf("nothing in the least room: %v", err)
	}
}
