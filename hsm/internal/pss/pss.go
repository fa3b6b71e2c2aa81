// Package pss makes and verifies the encoding of RSASSA-PSS around a raw RSA operation (RFC 8017 section 9.1), for tokens
// whose own PSS ties the hash of MGF1 to that of the message. Moduli have a whole number of octets.
package pss

import (
	"bytes"
	"crypto/rsa"
	"hash"
	"math/big"

	"kmipd/hsm/internal/oaep"
)

const trailer = 0xbc

// Encode is EMSA-PSS-ENCODE of a digest for a modulus of k octets, which has room for the salt.
func Encode(newHash, newMGF func() hash.Hash, digest, salt []byte, k int) []byte {
	em := make([]byte, k)
	size := len(digest)
	db, h := em[:k-size-1], em[k-size-1:k-1]
	copy(h, seed(newHash(), digest, salt))
	db[len(db)-len(salt)-1] = 1
	copy(db[len(db)-len(salt):], salt)
	oaep.MGF1(newMGF(), db, h)
	db[0] &= 0x7f // the encoded message has one bit less than the modulus
	em[k-1] = trailer
	return em
}

// Verify is the public operation and EMSA-PSS-VERIFY with a salt of the given length.
func Verify(newHash, newMGF func() hash.Hash, key *rsa.PublicKey, digest, signature []byte, salt int) bool {
	s := new(big.Int).SetBytes(signature)
	if s.Cmp(key.N) >= 0 || len(signature) != key.Size() {
		return false
	}
	em := s.Exp(s, big.NewInt(int64(key.E)), key.N).FillBytes(make([]byte, key.Size()))
	size := len(digest)
	k := len(em)
	if k < size+salt+2 || em[k-1] != trailer || em[0]&0x80 != 0 {
		return false
	}
	db, h := em[:k-size-1], em[k-size-1:k-1]
	oaep.MGF1(newMGF(), db, h)
	db[0] &= 0x7f
	zeros := len(db) - salt - 1
	for _, b := range db[:zeros] {
		if b != 0 {
			return false
		}
	}
	return db[zeros] == 1 && bytes.Equal(h, seed(newHash(), digest, db[zeros+1:]))
}

// seed is the hash of eight zeros, the digest and the salt.
func seed(h hash.Hash, digest, salt []byte) []byte {
	h.Write(make([]byte, 8)) // hash.Hash.Write never returns an error
	h.Write(digest)
	h.Write(salt)
	return h.Sum(nil)
}
