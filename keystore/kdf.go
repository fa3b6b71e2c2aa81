package keystore

import (
	"context"
	"crypto/subtle"
	"encoding/binary"

	"kmipd/hsm"
	"kmipd/kmip"
)

// The key derivation functions, composed of calls of a pseudorandom function (PRF) that the token computes: no base key
// leaves it. What the PRF gives out, and so the derived key, passes the server's memory, which is wiped.

// prf is a pseudorandom function under a key. Whoever gets the output wipes it.
type prf struct {
	size int // of the output in octets
	mac  func(ctx context.Context, data []byte) ([]byte, error)
}

// maxPRFCalls bounds the work of one derivation. SoftHSM does 27 000 HMACs in a second with a persistent key, 80 000 with
// one that is moved to a session object (BenchmarkPBKDF2); a token behind a network does a few hundred: there the request's
// time is over first.
const maxPRFCalls = 1 << 20

// blocks is the number of PRF outputs that n octets take.
func (f prf) blocks(n int) int { return (n + f.size - 1) / f.size }

// pbkdf2 is PBKDF2 (RFC 8018 section 5.2). The PRF's key is the password.
func (f prf) pbkdf2(ctx context.Context, salt []byte, iterations, n int) (hsm.Material, error) {
	if l := f.blocks(n); iterations > maxPRFCalls/l {
		return nil, badField("Iteration Count must be at most %d for this length", maxPRFCalls/l)
	}
	out := f.output(n)
	input := make([]byte, len(salt)+4)
	copy(input, salt)
	for i := range f.blocks(n) {
		binary.BigEndian.PutUint32(input[len(salt):], uint32(i+1))
		sum := out[i*f.size:][:f.size]
		u := input
		for range iterations {
			next, err := f.mac(ctx, u)
			if &u[0] != &input[0] {
				clear(u)
			}
			if err != nil {
				clear(out)
				return nil, err
			}
			subtle.XORBytes(sum, sum, next)
			u = next
		}
		clear(u)
	}
	return cut(out, n), nil
}

// mode108 is a mode of NIST SP 800-108.
type mode108 uint8

const (
	counterMode    mode108 = iota // section 4.1: K(i) = PRF([i] || fixed)
	feedbackMode                  // section 4.2: K(i) = PRF(K(i-1) || [i] || fixed), K(0) = IV
	doublePipeline                // section 4.3: A(i) = PRF(A(i-1)), A(0) = fixed; K(i) = PRF(A(i) || [i] || fixed)
)

// kdf108 is a KDF of NIST SP 800-108. KMIP says that Derivation Data is Label || 0x00 || Context (1.4 section 4.6); it is
// the whole of the fixed input here, so that nothing is appended (clients that want [L] put it there), and the counter
// stands before it, as in the "before fixed" and "after iteration" tests of NIST's validation program.
func (f prf) kdf108(ctx context.Context, mode mode108, counterOctets int, iv, fixed []byte, n int) (hsm.Material, error) {
	if uint64(f.blocks(n)) >= 1<<(8*counterOctets) {
		return nil, kmip.Errorf(kmip.ResultReasonCryptographicFailure, "Cryptographic Length exceeds what a counter of %d bits can give", 8*counterOctets)
	}
	out := f.output(n)
	fail := func(err error) (hsm.Material, error) {
		clear(out)
		return nil, err
	}
	var before []byte // K(i-1) or A(i)
	switch mode {
	case counterMode:
	case feedbackMode:
		before = iv
	case doublePipeline:
		before = fixed
	}
	input := make([]byte, 0, max(f.size, len(iv))+counterOctets+len(fixed))
	defer func() { clear(input[:cap(input)]) }()
	var a []byte
	defer func() { clear(a) }()
	for i := range f.blocks(n) {
		if mode == doublePipeline {
			next, err := f.mac(ctx, before)
			clear(a)
			if err != nil {
				return fail(err)
			}
			a, before = next, next
		}
		var counter [8]byte
		binary.BigEndian.PutUint64(counter[:], uint64(i+1))
		input = append(append(append(input[:0], before...), counter[8-counterOctets:]...), fixed...)
		k, err := f.mac(ctx, input)
		if err != nil {
			return fail(err)
		}
		copy(out[i*f.size:], k)
		clear(k)
		if mode == feedbackMode {
			before = out[i*f.size:][:f.size]
		}
	}
	return cut(out, n), nil
}

// output is room for n octets in whole blocks.
func (f prf) output(n int) []byte { return make([]byte, f.blocks(n)*f.size) }

// cut is the first n octets; the rest is wiped.
func cut(out []byte, n int) hsm.Material {
	clear(out[n:])
	return out[:n:n]
}

// first is the first n octets of what a method gives, or Cryptographic Failure when it gives less (KMIP 1.4 section 11.7).
func first(out []byte, n int) (hsm.Material, error) {
	if n > len(out) {
		clear(out)
		return nil, kmip.Errorf(kmip.ResultReasonCryptographicFailure, "Cryptographic Length exceeds the output of the Derivation Method: %d bits", 8*len(out))
	}
	return cut(out, n), nil
}
