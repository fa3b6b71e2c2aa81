// Package oaep removes the padding of RSAES-OAEP from what raw RSA on a token gave (RFC 8017 section 7.1.2, step 3), for
// tokens whose own OAEP knows SHA-1 only.
package oaep

import (
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"hash"
)

// ErrInvalid is any reason for refusal; which one must not be told (RFC 8017 section 7.1.2, note).
var ErrInvalid = errors.New("oaep: decryption error")

// Decode removes the padding with an empty label and MGF1 over the same hash. em has the length of the modulus and is
// overwritten. The result is a new slice. How long Decode takes does not depend on whether em is valid, up to the copy.
func Decode(newHash func() hash.Hash, em []byte) ([]byte, error) {
	h := newHash()
	size := h.Size()
	if len(em) < 2*size+2 {
		return nil, ErrInvalid
	}
	labelHash := h.Sum(nil)
	seed, db := em[1:1+size], em[1+size:]
	mask(newHash(), seed, db)
	mask(newHash(), db, seed)

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

// mask applies MGF1 of seed to out (RFC 8017 appendix B.2.1).
func mask(h hash.Hash, out, seed []byte) {
	var sum []byte
	for counter, done := uint32(0), 0; done < len(out); counter++ {
		h.Reset()
		h.Write(seed) // hash.Hash.Write never returns an error
		h.Write(binary.BigEndian.AppendUint32(nil, counter))
		sum = h.Sum(sum[:0])
		done += subtle.XORBytes(out[done:], out[done:], sum)
	}
}
