package keystore

import (
	"bytes"
	"crypto/subtle"
	"math/big"

	"kmipd/hsm"
	"kmipd/kmip"
)

// sharing splits octets into parts and joins them again (KMIP 1.4 section 2.2.5). Polynomial sharing is Shamir's: part i is
// the value at i of a random polynomial whose value at 0 is the secret, so that fewer parts than the threshold tell
// nothing of it.
type sharing struct {
	method           kmip.SplitKeyMethod
	parts, threshold int
	prime            *big.Int // Polynomial Sharing Prime Field
}

// share is one part: its Key Part Identifier and its octets.
type share struct {
	id    int
	value []byte
}

const (
	// maxParts bounds the token objects of one request.
	maxParts = 64
	// maxPrimeBits bounds the prime, which is tested on every request: a longer one keeps the server busy for seconds.
	// There is room for symmetric keys and passwords, but not for RSA private keys; those go with the other methods.
	maxPrimeBits = 4104
)

// check holds the numbers against each other. most is the most parts that there may be.
func (h *sharing) check(ver kmip.Version, most int) error {
	switch {
	case !h.method.KnownIn(ver):
		return badField("Split Key Method is not supported")
	case h.parts < 1 || h.parts > most:
		return badField("Split Key Parts must be from 1 to %d", most)
	case h.threshold < 1 || h.threshold > h.parts:
		return badField("Split Key Threshold must be from 1 to Split Key Parts")
	case h.method == kmip.SplitKeyMethodXOR && h.threshold != h.parts:
		return badField("Split Key Threshold must be Split Key Parts with Split Key Method XOR")
	}
	if h.method != kmip.SplitKeyMethodPolynomialSharingPrimeField {
		if h.prime != nil {
			return badField("Prime Field Size goes with Split Key Method Polynomial Sharing Prime Field alone")
		}
		return nil
	}
	return h.checkPrime()
}

func (h *sharing) checkPrime() error {
	switch {
	case h.prime == nil:
		return badField("Split Key Method Polynomial Sharing Prime Field needs Prime Field Size")
	case h.prime.Sign() <= 0 || h.prime.BitLen() > maxPrimeBits:
		return badField("Prime Field Size must have at most %d bits", maxPrimeBits)
	case h.prime.Cmp(big.NewInt(int64(h.parts))) <= 0:
		return badField("Prime Field Size must be greater than Split Key Parts")
	case !h.prime.ProbablyPrime(20):
		return badField("Prime Field Size is not a prime")
	}
	return nil
}

// field is that of the method, for those of characteristic 2.
func (h *sharing) field() field {
	if h.method == kmip.SplitKeyMethodPolynomialSharingGF2_16 {
		return field{2}
	}
	return field{1}
}

// split makes the parts, in the order of their identifiers. random gives octets that nobody can guess.
func (h *sharing) split(secret []byte, random func(int) ([]byte, error)) ([]hsm.Material, error) {
	switch h.method {
	case kmip.SplitKeyMethodXOR:
		return h.splitXOR(secret, random)
	case kmip.SplitKeyMethodPolynomialSharingPrimeField:
		return h.splitPrime(secret, random)
	case kmip.SplitKeyMethodPolynomialSharingGF2_8, kmip.SplitKeyMethodPolynomialSharingGF2_16:
	}
	f := h.field()
	// A secret that is no whole number of elements is filled with a zero at its end.
	n := (len(secret) + f.octets - 1) / f.octets * f.octets
	first := make([]byte, n)
	copy(first, secret)
	coefficients := [][]byte{first}
	defer func() { wipeAll(coefficients) }()
	for range h.threshold - 1 {
		c, err := random(n)
		if err != nil {
			return nil, err
		}
		coefficients = append(coefficients, c)
	}
	out := make([]hsm.Material, h.parts)
	for i := range out {
		out[i] = f.evaluate(coefficients, uint16(i+1))
	}
	return out, nil
}

// splitXOR: all parts but the last are random.
func (h *sharing) splitXOR(secret []byte, random func(int) ([]byte, error)) ([]hsm.Material, error) {
	last := bytes.Clone(secret)
	out := make([]hsm.Material, 0, h.parts)
	for range h.parts - 1 {
		r, err := random(len(secret))
		if err != nil {
			clear(last)
			wipeAll(out)
			return nil, err
		}
		subtle.XORBytes(last, last, r)
		out = append(out, r)
	}
	return append(out, last), nil
}

// splitPrime shares the secret as one integer in the prime field. math/big does not run in constant time: how long it
// takes depends on the values. A client sees that, if at all, in the answer to its own request.
func (h *sharing) splitPrime(secret []byte, random func(int) ([]byte, error)) ([]hsm.Material, error) {
	if h.prime.BitLen() <= 8*len(secret) {
		return nil, badField("Prime Field Size must be greater than 2^%d, so that it has room for the key", 8*len(secret))
	}
	coefficients := []*big.Int{new(big.Int).SetBytes(secret)}
	defer func() { wipeInts(coefficients...) }()
	for range h.threshold - 1 {
		// 128 bits more than the prime has: what is left of it is even enough.
		r, err := random((h.prime.BitLen()+7)/8 + 16)
		if err != nil {
			return nil, err
		}
		c := new(big.Int).SetBytes(r)
		clear(r)
		coefficients = append(coefficients, c.Mod(c, h.prime))
	}
	out := make([]hsm.Material, h.parts)
	for i := range out {
		y, x := new(big.Int), big.NewInt(int64(i+1))
		for k := len(coefficients) - 1; k >= 0; k-- {
			y.Mod(y.Add(y.Mul(y, x), coefficients[k]), h.prime)
		}
		out[i] = y.FillBytes(make([]byte, h.shareOctets(len(secret))))
		wipeInts(y)
	}
	return out, nil
}

// shareOctets is the length of the parts of a secret of n octets.
func (h *sharing) shareOctets(n int) int {
	switch h.method {
	case kmip.SplitKeyMethodPolynomialSharingPrimeField:
		return (h.prime.BitLen() + 7) / 8
	case kmip.SplitKeyMethodPolynomialSharingGF2_16:
		return (n + 1) / 2 * 2
	case kmip.SplitKeyMethodXOR, kmip.SplitKeyMethodPolynomialSharingGF2_8:
	}
	return n
}

// join makes the secret of at least as many parts as the threshold wants; the caller has checked that they belong
// together. Parts beyond the threshold must agree with the others. n is the length of the secret in octets, 0 when it is
// that of the parts.
func (h *sharing) join(parts []share, n int) (hsm.Material, error) {
	secret, err := h.joined(parts[:h.threshold])
	if err != nil {
		return nil, err
	}
	if len(parts) > h.threshold {
		again, err := h.joined(parts)
		if err != nil {
			secret.Wipe()
			return nil, err
		}
		same := subtle.ConstantTimeCompare(secret, again)
		again.Wipe()
		if same == 0 {
			secret.Wipe()
			return nil, errNotParts
		}
	}
	return h.fit(secret, n)
}

var errNotParts = kmip.Errorf(kmip.ResultReasonCryptographicFailure, "the objects are not parts of one key")

// fit gives the secret its length: what sharing added must be zeros.
func (h *sharing) fit(secret hsm.Material, n int) (hsm.Material, error) {
	if n == 0 || n == len(secret) {
		return secret, nil
	}
	defer secret.Wipe()
	if n > len(secret) {
		return nil, badField("Cryptographic Length is more than the parts have")
	}
	kept, rest := secret[:n], secret[n:]
	if h.method == kmip.SplitKeyMethodPolynomialSharingPrimeField { // an integer: zeros stand at the beginning
		kept, rest = secret[len(secret)-n:], secret[:len(secret)-n]
	}
	if subtle.ConstantTimeCompare(rest, make([]byte, len(rest))) == 0 {
		return nil, errNotParts
	}
	return bytes.Clone(kept), nil
}

func (h *sharing) joined(parts []share) (hsm.Material, error) {
	switch h.method {
	case kmip.SplitKeyMethodXOR:
		out := bytes.Clone(parts[0].value)
		for _, p := range parts[1:] {
			subtle.XORBytes(out, out, p.value)
		}
		return out, nil
	case kmip.SplitKeyMethodPolynomialSharingPrimeField:
		return h.joinedPrime(parts)
	case kmip.SplitKeyMethodPolynomialSharingGF2_8, kmip.SplitKeyMethodPolynomialSharingGF2_16:
	}
	f := h.field()
	if len(parts[0].value)%f.octets != 0 {
		return nil, badField("the parts are no whole number of field elements")
	}
	x := make([]uint16, len(parts))
	values := make([][]byte, len(parts))
	for i, p := range parts {
		x[i], values[i] = uint16(p.id), p.value
	}
	return f.interpolate(x, values), nil
}

// joinedPrime interpolates at 0: the secret is the sum of y(j) times the product of x(m)/(x(m)-x(j)).
func (h *sharing) joinedPrime(parts []share) (hsm.Material, error) {
	sum, y := new(big.Int), new(big.Int)
	defer func() { wipeInts(sum, y) }()
	for j, p := range parts {
		if y.SetBytes(p.value); y.Cmp(h.prime) >= 0 {
			return nil, badField("a part is not less than Prime Field Size")
		}
		above, below := big.NewInt(1), big.NewInt(1)
		for m, q := range parts {
			if m != j {
				above.Mod(above.Mul(above, big.NewInt(int64(q.id))), h.prime)
				below.Mod(below.Mul(below, big.NewInt(int64(q.id-p.id))), h.prime)
			}
		}
		if below.ModInverse(below, h.prime) == nil {
			return nil, badField("Prime Field Size does not fit the Key Part Identifiers")
		}
		y.Mod(y.Mul(y, above), h.prime)
		sum.Mod(sum.Add(sum, y.Mul(y, below)), h.prime)
	}
	return sum.FillBytes(make([]byte, h.shareOctets(0))), nil
}

// wipeInts overwrites integers. What arithmetic left in memory that they have outgrown is beyond reach.
func wipeInts(list ...*big.Int) {
	for _, v := range list {
		b := v.Bits()
		clear(b[:cap(b)])
	}
}

func wipeAll[T ~[]byte](list []T) {
	for _, b := range list {
		clear(b)
	}
}
