package keyform

import (
	"math/big"

	"kmipd/hsm"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

var (
	bigOne = big.NewInt(1)
	bigTwo = big.NewInt(2)
	bigF4  = big.NewInt(65537)

	oidRSA = []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01} // rsaEncryption
)

// rsaKey is an RSA private key with two primes; or, with n and e only, a public key.
type rsaKey struct {
	n, e, d, p, q, dp, dq, qinv *big.Int
}

func (k *rsaKey) wipe() { wipe(k.d, k.p, k.q, k.dp, k.dq, k.qinv) }

// parsePKCS1Private reads an RSAPrivateKey (RFC 8017 appendix A.1.2). multi tells a key of more than two primes, which
// tokens do not take.
func parsePKCS1Private(b []byte) (k *rsaKey, multi, ok bool) {
	top := reader{rest: b}
	seq := top.enter(derSeq)
	version := seq.small()
	k = &rsaKey{n: seq.uint(), e: seq.uint(), d: seq.uint(), p: seq.uint(), q: seq.uint(), dp: seq.uint(), dq: seq.uint(),
		qinv: seq.uint()}
	if version == 1 {
		seq.enter(derSeq)
	}
	if !top.done() || !seq.done() || version < 0 || version > 1 {
		k.wipe()
		return nil, false, false
	}
	return k, version == 1, true
}

// pkcs1Private writes an RSAPrivateKey. The caller wipes the result.
func (k *rsaKey) pkcs1Private() []byte {
	return derSecret(derSeq, []byte{derInt, 1, 0}, derUint(k.n), derUint(k.e), derUint(k.d), derUint(k.p), derUint(k.q),
		derUint(k.dp), derUint(k.dq), derUint(k.qinv))
}

// parsePKCS1Public reads an RSAPublicKey (RFC 8017 appendix A.1.1).
func parsePKCS1Public(b []byte) (*rsaKey, bool) {
	top := reader{rest: b}
	seq := top.enter(derSeq)
	k := &rsaKey{n: seq.uint(), e: seq.uint()}
	return k, top.done() && seq.done()
}

func (k *rsaKey) pkcs1Public() []byte { return der(derSeq, derUint(k.n), derUint(k.e)) }

func (k *rsaKey) spki() []byte {
	bits := der(derBits, []byte{0}, k.pkcs1Public())
	return der(derSeq, der(derSeq, der(derOID, oidRSA), []byte{derNull, 0}), bits)
}

func (k *rsaKey) pkcs8() hsm.Material {
	algorithm := der(derSeq, der(derOID, oidRSA), []byte{derNull, 0})
	return derSecret(derSeq, []byte{derInt, 1, 0}, algorithm, derSecret(derOctets, k.pkcs1Private()))
}

// publicValid is what every RSA public key fulfils: odd numbers, and an exponent within the modulus.
func (k *rsaKey) publicValid() bool {
	return k.n.Bit(0) == 1 && k.n.BitLen() >= 16 && k.e.Bit(0) == 1 && k.e.Cmp(bigTwo) > 0 && k.e.Cmp(k.n) < 0
}

// irregular tells a public exponent that FIPS 186-5 section A.1.1 does not allow, or that is not known.
func (k *rsaKey) irregular() bool {
	return k.e == nil || k.e.Bit(0) == 0 || k.e.Cmp(bigF4) < 0 || k.e.BitLen() > 256
}

// commonExponents are tried when a private key comes without its public exponent.
var commonExponents = []int64{65537, 3, 17, 257, 5, 7}

type rsaState uint8

const (
	rsaWrong     rsaState = iota // no RSA key, or numbers that contradict each other
	rsaComplete                  // every number is there and fits
	rsaUnknown                   // valid as far as can be told, but not to be completed
	rsaTooLittle                 // neither exponent nor primes
)

// complete fills in what is missing, which the transparent structure allows (KMIP 1.4 section 2.1.7.4), and then checks
// all numbers against each other.
func (k *rsaKey) complete() rsaState {
	if k.n == nil || k.n.Bit(0) == 0 {
		return rsaWrong
	}
	for _, n := range []*big.Int{k.e, k.d, k.p, k.q, k.dp, k.dq, k.qinv} {
		if n != nil && (n.Sign() <= 0 || n.Cmp(k.n) >= 0) {
			return rsaWrong
		}
	}
	if k.p == nil || k.q == nil {
		if k.d == nil && (k.dp == nil || k.dq == nil) {
			return rsaTooLittle
		}
		if !k.findPrimes() {
			return rsaUnknown
		}
	}
	p1, q1 := new(big.Int).Sub(k.p, bigOne), new(big.Int).Sub(k.q, bigOne)
	lambda, t := new(big.Int), new(big.Int)
	defer func() { wipe(p1, q1, lambda, t) }()
	if p1.Sign() <= 0 || q1.Sign() <= 0 || k.p.Cmp(k.q) == 0 || t.Mul(k.p, k.q).Cmp(k.n) != 0 {
		return rsaWrong
	}
	lambda.GCD(nil, nil, p1, q1)
	lambda.Div(t.Mul(p1, q1), lambda)
	if state := k.findExponents(p1, lambda); state != rsaComplete {
		return state
	}
	// d inverts e modulo both primes less one: with that, and the primes being prime, every message survives the two.
	for _, m := range []*big.Int{p1, q1} {
		if t.Mod(t.Mul(k.d, k.e), m).Cmp(bigOne) != 0 {
			return rsaWrong
		}
	}
	if !same(&k.dp, t.Mod(k.d, p1)) || !same(&k.dq, t.Mod(k.d, q1)) {
		return rsaWrong
	}
	if t.ModInverse(k.q, k.p) == nil || !same(&k.qinv, t) {
		return rsaWrong
	}
	if !k.publicValid() || !k.p.ProbablyPrime(0) || !k.q.ProbablyPrime(0) {
		return rsaWrong
	}
	return rsaComplete
}

// findExponents computes exponents that were left out, given the primes.
func (k *rsaKey) findExponents(p1, lambda *big.Int) rsaState {
	switch {
	case k.e != nil:
	case k.d != nil:
		k.e = new(big.Int).ModInverse(k.d, lambda)
	case k.dp != nil:
		k.e = new(big.Int).ModInverse(k.dp, p1) // right for an exponent below P, and checked with dQ later
	default:
		return rsaUnknown // P and Q alone make no key that could be written in another format
	}
	if k.e != nil && k.d == nil {
		k.d = new(big.Int).ModInverse(k.e, lambda)
	}
	if k.e == nil || k.d == nil {
		return rsaWrong
	}
	return rsaComplete
}

// same sets an absent number, or compares one that is there.
func same(n **big.Int, want *big.Int) bool {
	if *n == nil {
		*n = new(big.Int).Set(want)
		return true
	}
	return (*n).Cmp(want) == 0
}

// findPrimes factors the modulus with what the private exponents tell.
func (k *rsaKey) findPrimes() bool {
	if k.p != nil || k.q != nil {
		known := k.p
		if known == nil {
			known = k.q
		}
		other := new(big.Int).Div(k.n, known)
		if k.p == nil {
			k.p = other
		} else {
			k.q = other
		}
		return true
	}
	if k.n.BitLen() > maxFactorBits {
		return false
	}
	exponents := []*big.Int{k.e}
	if k.e == nil {
		exponents = exponents[:0]
		for _, e := range commonExponents {
			exponents = append(exponents, big.NewInt(e))
		}
	}
	for _, e := range exponents {
		p := k.factor(e)
		if p == nil {
			continue
		}
		q := new(big.Int).Div(k.n, p)
		// Whoever leaves the primes out leaves their order out: the larger is P, as key generators have it.
		if k.d != nil && p.Cmp(q) < 0 {
			p, q = q, p
		}
		k.p, k.q, k.e = p, q, e
		return true
	}
	return false
}

// factor finds a prime factor of the modulus given the public exponent, nil when the exponents do not belong together.
// With the Private Exponent: d*e-1 is a multiple of the order of every number, so that a root of unity other than 1 and
// -1 turns up among the powers of every second number (NIST SP 800-56B appendix C). With Prime Exponent P: its product
// with e is 1 modulo p-1, so that g^(dP*e) - g is a multiple of p and hardly ever of q. A number that does not behave so
// proves that the exponents are wrong, which keeps the work small.
func (k *rsaKey) factor(e *big.Int) *big.Int {
	exp, y, g, prev := new(big.Int), new(big.Int), new(big.Int), new(big.Int)
	defer func() { wipe(exp, y, prev) }()
	if k.d == nil {
		exp.Mul(k.dp, e)
		g.SetInt64(2)
		return k.divisor(y.Sub(y.Exp(g, exp, k.n), g))
	}
	exp.Sub(exp.Mul(k.d, e), bigOne)
	if exp.Sign() <= 0 {
		return nil
	}
	twos := exp.TrailingZeroBits()
	exp.Rsh(exp, twos)
	for base := int64(2); base < 64; base++ {
		y.Exp(g.SetInt64(base), exp, k.n)
		for range twos {
			if y.Cmp(bigOne) == 0 {
				break
			}
			prev.Set(y)
			y.Mod(y.Mul(y, y), k.n)
			if y.Cmp(bigOne) == 0 {
				if p := k.divisor(prev.Sub(prev, bigOne)); p != nil {
					return p
				}
			}
		}
		if y.Cmp(bigOne) != 0 {
			return nil
		}
	}
	return nil
}

// divisor is the greatest common divisor of x and the modulus, if it is neither 1 nor the modulus.
func (k *rsaKey) divisor(x *big.Int) *big.Int {
	x.Mod(x, k.n)
	p := new(big.Int).GCD(nil, nil, x, k.n)
	if p.Cmp(bigOne) <= 0 || p.Cmp(k.n) == 0 {
		return nil
	}
	return p
}

// Bounds of the arithmetic that a hostile Key Block can cause. Larger keys, and larger keys that come without their
// primes, are kept as opaque octets.
const (
	maxRSABits    = 8192
	maxFactorBits = 4096
)

// forToken tells an RSA key that hsm takes to the token. crypto/rsa and most tokens refuse moduli under 1024 bits, and
// exponents of more than 31 bits. Other keys are kept as opaque octets.
func (k *rsaKey) forToken() bool {
	n := k.n.BitLen()
	return n >= 1024 && n <= maxRSABits && n%64 == 0 && k.e.BitLen() <= 31
}

// rsaPrivate makes a Key of RSA numbers and wipes them.
func (in *input) rsaPrivate(k *rsaKey, shape Shape) (*Key, error) {
	defer k.wipe()
	key, err := in.rsaPrivateKey(k, shape)
	if err == nil {
		key.Irregular = k.irregular()
	}
	return key, err
}

func (in *input) rsaPrivateKey(k *rsaKey, shape Shape) (*Key, error) {
	if k.n != nil && k.n.BitLen() > maxRSABits {
		return in.opaqueKey(kmip.CryptographicAlgorithmRSA, k.n.BitLen(), 0)
	}
	switch k.complete() {
	case rsaWrong:
		return nil, invalid("Key Material is not a consistent RSA private key")
	case rsaTooLittle:
		return nil, invalid("Key Material needs Private Exponent, or P and Q, or Prime Exponent P and Prime Exponent Q")
	case rsaUnknown:
		return in.opaqueKey(kmip.CryptographicAlgorithmRSA, k.n.BitLen(), 0)
	}
	if !k.forToken() {
		return in.opaqueKey(kmip.CryptographicAlgorithmRSA, k.n.BitLen(), 0)
	}
	return in.asymmetricKey(Facts{Form: FormPrivate, Token: hsm.KeyRSA, Algorithm: kmip.CryptographicAlgorithmRSA,
		Bits: k.n.BitLen(), Shape: shape}, k.pkcs8)
}

func (in *input) rsaPublic(k *rsaKey) (*Key, error) {
	key, err := in.rsaPublicKey(k)
	if err == nil {
		key.Irregular = k.irregular()
	}
	return key, err
}

func (in *input) rsaPublicKey(k *rsaKey) (*Key, error) {
	if !k.publicValid() {
		return nil, invalid("Key Material is not an RSA public key")
	}
	if !k.forToken() {
		return in.opaqueKey(kmip.CryptographicAlgorithmRSA, k.n.BitLen(), 0)
	}
	return in.asymmetricKey(Facts{Form: FormPublic, Token: hsm.KeyRSA, Algorithm: kmip.CryptographicAlgorithmRSA,
		Bits: k.n.BitLen()}, func() hsm.Material { return k.spki() })
}

// asymmetricKey holds the facts of a key against the declarations, then writes its value.
func (in *input) asymmetricKey(f Facts, value func() hsm.Material) (*Key, error) {
	if in.algorithm != 0 {
		if !sameKind(in.algorithm, f.Algorithm) {
			return nil, invalid("Cryptographic Algorithm is %s, but the Key Material is a key for %s", in.algorithm, f.Algorithm)
		}
		f.Algorithm = in.algorithm
	}
	if _, err := in.length(f.Bits, wholeOctets(f.Bits)); err != nil {
		return nil, err
	}
	return &Key{Facts: f, Value: value(), Original: in.original()}, nil
}

// transparentRSAPrivate reads KMIP 1.4 section 2.1.7.4.
func (in *input) transparentRSAPrivate() (*Key, error) {
	var t kmip.TransparentRSAPrivateKey
	if err := t.Decode(in.material); err != nil {
		return nil, err
	}
	k := &rsaKey{n: t.Modulus, e: t.PublicExponent, d: t.PrivateExponent, p: t.P, q: t.Q, dp: t.PrimeExponentP,
		dq: t.PrimeExponentQ, qinv: t.CRTCoefficient}
	var shape Shape
	for i, n := range []*big.Int{k.d, k.e, k.p, k.q, k.dp, k.dq, k.qinv} {
		if n == nil {
			shape |= shapeNoD << i
		} else if n.Sign() < 0 {
			k.wipe()
			return nil, invalid("Key Material has a negative number")
		}
	}
	if k.n == nil || k.n.Sign() <= 0 {
		k.wipe()
		return nil, invalid("Modulus must be positive")
	}
	return in.rsaPrivate(k, shape)
}

// transparentRSAPublic reads KMIP 1.4 section 2.1.7.5.
func (in *input) transparentRSAPublic() (*Key, error) {
	var t kmip.TransparentRSAPublicKey
	if err := t.Decode(in.material); err != nil {
		return nil, err
	}
	if t.Modulus.Sign() <= 0 || t.PublicExponent.Sign() <= 0 {
		return nil, invalid("Modulus and Public Exponent must be positive")
	}
	return in.rsaPublic(&rsaKey{n: t.Modulus, e: t.PublicExponent})
}

// appendTransparentPrivate appends the Key Material structure.
func (k *rsaKey) appendTransparentPrivate(b []byte, shape Shape) []byte {
	t := kmip.TransparentRSAPrivateKey{Modulus: k.n, PrivateExponent: k.d, PublicExponent: k.e, P: k.p, Q: k.q,
		PrimeExponentP: k.dp, PrimeExponentQ: k.dq, CRTCoefficient: k.qinv}
	for i, n := range []**big.Int{&t.PrivateExponent, &t.PublicExponent, &t.P, &t.Q, &t.PrimeExponentP, &t.PrimeExponentQ,
		&t.CRTCoefficient} {
		if shape&(shapeNoD<<i) != 0 {
			*n = nil
		}
	}
	return t.Append(b, kmip.TagKeyMaterial, kmip.V1_4)
}

func (k *rsaKey) appendTransparentPublic(b []byte) []byte {
	t := kmip.TransparentRSAPublicKey{Modulus: k.n, PublicExponent: k.e}
	return t.Append(b, kmip.TagKeyMaterial, kmip.V1_4)
}

func appendOctets(b []byte, octets []byte) []byte {
	return ttlv.AppendBytes(b, kmip.TagKeyMaterial, octets)
}
