// Package keywrap is the AES key wrapping of RFC 3394 (KW) and RFC 5649 (KWP) in software, NIST SP 800-38F. The hsm
// package moves key material to and from the token with it, under a transport key that only the two share.
package keywrap

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"errors"
)

// ErrInvalid is any reason why octets do not wrap or unwrap. It does not say which.
var ErrInvalid = errors.New("keywrap: invalid length or integrity check")

const (
	semiblock = 8
	kwIV      = 0xA6A6A6A6A6A6A6A6 // RFC 3394 section 2.2.3.1
	kwpIV     = 0xA65959A6         // RFC 5649 section 3, followed by the message length indicator
	// maxLength keeps the step counter of the wrap function and the length indicator in 32 bits.
	maxLength = 1 << 28
)

// Block encrypts or decrypts one 16-octet block in place. It lets KWP be computed from a key that stays on a token.
type Block func(block []byte) error

// WrapKW wraps 16 or more octets, a multiple of 8, as RFC 3394.
func WrapKW(key, plain []byte) ([]byte, error) {
	if len(plain) < 2*semiblock || len(plain)%semiblock != 0 || len(plain) > maxLength {
		return nil, ErrInvalid
	}
	enc, err := encrypter(key)
	if err != nil {
		return nil, err
	}
	return wrap(enc, kwIV, plain)
}

// UnwrapKW is the inverse of WrapKW. The receiver wipes the result.
func UnwrapKW(key, wrapped []byte) ([]byte, error) {
	if len(wrapped) < 3*semiblock || len(wrapped)%semiblock != 0 || len(wrapped) > maxLength {
		return nil, ErrInvalid
	}
	dec, err := decrypter(key)
	if err != nil {
		return nil, err
	}
	iv, plain, err := unwrap(dec, wrapped)
	if err != nil {
		return nil, err
	}
	var got, want [semiblock]byte
	binary.BigEndian.PutUint64(got[:], iv)
	binary.BigEndian.PutUint64(want[:], kwIV)
	if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
		clear(plain)
		return nil, ErrInvalid
	}
	return plain, nil
}

// WrapKWP wraps 1 or more octets as RFC 5649.
func WrapKWP(key, plain []byte) ([]byte, error) {
	enc, err := encrypter(key)
	if err != nil {
		return nil, err
	}
	return WrapKWPWith(enc, plain)
}

// WrapKWPWith is WrapKWP with the block encryption given.
func WrapKWPWith(enc Block, plain []byte) ([]byte, error) {
	if len(plain) == 0 || len(plain) > maxLength {
		return nil, ErrInvalid
	}
	padded := make([]byte, (len(plain)+semiblock-1)/semiblock*semiblock)
	defer clear(padded)
	copy(padded, plain)
	iv := uint64(kwpIV)<<32 | uint64(len(plain))
	if len(padded) > semiblock {
		return wrap(enc, iv, padded)
	}
	block := make([]byte, 2*semiblock) // RFC 5649 section 4.1: one block goes through AES once
	binary.BigEndian.PutUint64(block, iv)
	copy(block[semiblock:], padded)
	if err := enc(block); err != nil {
		return nil, err
	}
	return block, nil
}

// UnwrapKWP is the inverse of WrapKWP. The receiver wipes the result.
func UnwrapKWP(key, wrapped []byte) ([]byte, error) {
	if len(wrapped) < 2*semiblock || len(wrapped)%semiblock != 0 || len(wrapped) > maxLength {
		return nil, ErrInvalid
	}
	dec, err := decrypter(key)
	if err != nil {
		return nil, err
	}
	var iv uint64
	var plain []byte
	if len(wrapped) == 2*semiblock {
		block := append([]byte(nil), wrapped...)
		if err := dec(block); err != nil {
			return nil, err
		}
		iv, plain = binary.BigEndian.Uint64(block), block[semiblock:]
	} else if iv, plain, err = unwrap(dec, wrapped); err != nil {
		return nil, err
	}
	n, ok := checkKWP(iv, plain)
	if !ok {
		clear(plain)
		return nil, ErrInvalid
	}
	return plain[:n], nil
}

// checkKWP verifies the alternative initial value and the zero padding without an early exit (RFC 5649 section 3).
func checkKWP(iv uint64, padded []byte) (int, bool) {
	var head, want [4]byte
	binary.BigEndian.PutUint32(head[:], uint32(iv>>32))
	binary.BigEndian.PutUint32(want[:], kwpIV)
	ok := subtle.ConstantTimeCompare(head[:], want[:])
	n := int(uint32(iv))
	if n > len(padded) || n <= len(padded)-semiblock {
		return 0, false
	}
	var tail byte
	for _, b := range padded[n:] {
		tail |= b
	}
	ok &= subtle.ConstantTimeByteEq(tail, 0)
	return n, ok == 1
}

// wrap is the wrapping function W of RFC 3394 section 2.2.1 over two or more semiblocks.
func wrap(enc Block, iv uint64, plain []byte) ([]byte, error) {
	out := make([]byte, semiblock+len(plain))
	copy(out[semiblock:], plain)
	var b [2 * semiblock]byte
	defer clear(b[:])
	binary.BigEndian.PutUint64(b[:], iv)
	n := len(plain) / semiblock
	for t := range 6 * n {
		r := out[semiblock*(1+t%n):][:semiblock]
		copy(b[semiblock:], r)
		if err := enc(b[:]); err != nil {
			clear(out)
			return nil, err
		}
		a := binary.BigEndian.Uint64(b[:]) ^ uint64(t+1)
		copy(r, b[semiblock:])
		binary.BigEndian.PutUint64(b[:], a)
	}
	copy(out, b[:semiblock])
	return out, nil
}

// unwrap is the inverse of wrap; it returns the initial value for its caller to verify.
func unwrap(dec Block, wrapped []byte) (uint64, []byte, error) {
	plain := append([]byte(nil), wrapped[semiblock:]...)
	var b [2 * semiblock]byte
	defer clear(b[:])
	a := binary.BigEndian.Uint64(wrapped)
	n := len(plain) / semiblock
	for t := 6*n - 1; t >= 0; t-- {
		r := plain[semiblock*(t%n):][:semiblock]
		binary.BigEndian.PutUint64(b[:], a^uint64(t+1))
		copy(b[semiblock:], r)
		if err := dec(b[:]); err != nil {
			clear(plain)
			return 0, nil, err
		}
		a = binary.BigEndian.Uint64(b[:])
		copy(r, b[semiblock:])
	}
	return a, plain, nil
}

func encrypter(key []byte) (Block, error) {
	c, err := newCipher(key)
	if err != nil {
		return nil, err
	}
	return func(b []byte) error { c.Encrypt(b, b); return nil }, nil
}

func decrypter(key []byte) (Block, error) {
	c, err := newCipher(key)
	if err != nil {
		return nil, err
	}
	return func(b []byte) error { c.Decrypt(b, b); return nil }, nil
}

func newCipher(key []byte) (cipher.Block, error) {
	c, err := aes.NewCipher(key)
	if err != nil {
		return nil, ErrInvalid
	}
	return c, nil
}
