// Package oaep makes the padding of RSAES-OAEP for raw RSA on a token, and removes it from what raw RSA gave (RFC 8017
// sections 7.1.1 and 7.1.2), for tokens whose own OAEP knows SHA-1 only.
package oaep

import (
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"hash"
)

// ErrInvalid is any reason for refusal; which one must not be told (RFC 8017 section 7.1.2, note).
var ErrInvalid = errors.New("oaep: decryption error")

// Scheme is OAEP with its parameters.
type Scheme struct {
	Hash  func() hash.Hash
	MGF   func() hash.Hash // of MGF1; nil means Hash
	Label []byte
}

func (s Scheme) mgf() hash.Hash {
	if s.MGF != nil {
		return s.MGF()
	}
	return s.Hash()
}

func (s Scheme) labelHash() []byte {
	h := s.Hash()
	h.Write(s.Label) // hash.Hash.Write never returns an error
	return h.Sum(nil)
}

// Encode is the encoded message for a modulus of k octets with the seed given, which is as long as the hash.
func (s Scheme) Encode(message, seed []byte, k int) ([]byte, error) {
	labelHash := s.labelHash()
	size := len(labelHash)
	if len(seed) != size || len(message) > k-2*size-2 {
		return nil, ErrInvalid
	}
	em := make([]byte, k)
	masked, db := em[1:1+size], em[1+size:]
	copy(masked, seed)
	copy(db, labelHash)
	db[len(db)-len(message)-1] = 1
	copy(db[len(db)-len(message):], message)
	MGF1(s.mgf(), db, masked)
	MGF1(s.mgf(), masked, db)
	return em, nil
}

// Decode removes the padding with an empty label and MGF1 over the same hash: see Scheme.Decode.
func Decode(newHash func() hash.Hash, em []byte) ([]byte, error) {
	return Scheme{Hash: newHash}.Decode(em)
}

// Decode removes the padding. em has the length of the modulus and is overwritten. The result is a new slice. How long
// Decode takes does not depend on whether em is valid, up to the copy.
func (s Scheme) Decode(em []byte) ([]byte, error) {
	labelHash := s.labelHash()
	size := len(labelHash)
	if len(em) < 2*size+2 {
		return nil, ErrInvalid
	}
	seed, db := em[1:1+size], em[1+size:]
	MGF1(s.mgf(), seed, db)
	MGF1(s.mgf(), db, seed)

	ok := subtle.ConstantTimeByteEq(em[0], 0) & subtle.ConstantTimeCompare(db[:size], labelHash)
	rest := db[size:]
	looking, index := 1, 0
	for i, b := range rest {
		one, zero := subtle.ConstantTimeByteEq(b, 1), subtle.ConstantTimeByteEq(b, 0)
		index = subtle.ConstantTimeSelect(looking&one, i, index)
		looking = subtle.ConstantTimeSelect(one, 0, looking)
		ok = subtle.ConstantTimeSelect(looking&^zero&1, 0, ok)
	}
	if ok&^looking&1 != 1 {
		return nil, ErrInvalid
	}
	return append([]byte{}, rest[index+1:]...), nil
}

// MGF1 masks out with MGF1 of seed (RFC 8017 appendix B.2.1).
func MGF1(h hash.Hash, out, seed []byte) {
	var sum []byte
	for counter, done := uint32(0), 0; done < len(out); counter++ {
		h.Reset()
		h.Write(seed) // hash.Hash.Write never returns an error
		h.Write(binary.BigEndian.AppendUint32(nil, counter))
		sum = h.Sum(sum[:0])
		done += subtle.XORBytes(out[done:], out[done:], sum)
	}
}
