package keyform

import (
	"bytes"

	"kmipd/kmip"
)

// Object identifiers of keys that are kept as opaque octets, and of RSA keys under other names.
var (
	oidPSS     = []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a} // id-RSASSA-PSS
	oidDSA     = []byte{0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01}
	oidDH      = []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x03, 0x01} // dhKeyAgreement
	oidX942    = []byte{0x2a, 0x86, 0x48, 0xce, 0x3e, 0x02, 0x01}             // dhpublicnumber
	oidX25519  = []byte{0x2b, 0x65, 0x6e}
	oidX448    = []byte{0x2b, 0x65, 0x6f}
	oidEd25519 = []byte{0x2b, 0x65, 0x70}
	oidEd448   = []byte{0x2b, 0x65, 0x71}
)

// algorithmID is an AlgorithmIdentifier.
type algorithmID struct {
	oid    []byte
	params []byte // the whole encoding of the parameters; nil when absent
}

func parseAlgorithmID(r *reader) (a algorithmID) {
	seq := r.enter(derSeq)
	a.oid = seq.next(derOID)
	if len(seq.rest) > 0 {
		_, _, a.params = seq.any()
	}
	if !seq.done() {
		r.failed = true
	}
	return a
}

// curve reads the parameters of id-ecPublicKey.
func (a algorithmID) curve() (oid []byte, explicit, ok bool) {
	r := reader{rest: a.params}
	oid, explicit = parseECParameters(&r)
	return oid, explicit, !r.failed
}

// facts tells algorithm, length and curve of a key that is kept as opaque octets; zeros for what it does not know.
func (a algorithmID) facts(key []byte) (kmip.CryptographicAlgorithm, int, kmip.RecommendedCurve) {
	is := func(oid []byte) bool { return bytes.Equal(a.oid, oid) }
	switch {
	case is(oidPSS):
		if k, ok := parsePKCS1Public(key); ok {
			return kmip.CryptographicAlgorithmRSA, k.n.BitLen(), 0
		}
		if k, _, ok := parsePKCS1Private(key); ok {
			defer k.wipe()
			return kmip.CryptographicAlgorithmRSA, k.n.BitLen(), 0
		}
		return kmip.CryptographicAlgorithmRSA, 0, 0
	case is(oidDSA):
		return kmip.CryptographicAlgorithmDSA, a.primeBits(), 0
	case is(oidDH), is(oidX942):
		return kmip.CryptographicAlgorithmDH, a.primeBits(), 0
	case is(oidX25519):
		return kmip.CryptographicAlgorithmECDH, 256, kmip.RecommendedCurveCURVE25519
	case is(oidX448):
		return kmip.CryptographicAlgorithmECDH, 448, kmip.RecommendedCurveCURVE448
	case is(oidEd25519):
		return kmip.CryptographicAlgorithmEd25519, 256, 0
	case is(oidEd448):
		return kmip.CryptographicAlgorithmEd448, 456, 0
	}
	return 0, 0, 0
}

// primeBits is the length of the first number of DSA or DH parameters, the prime.
func (a algorithmID) primeBits() int {
	r := reader{rest: a.params}
	seq := r.enter(derSeq)
	p := seq.uint()
	if seq.failed {
		return 0
	}
	return p.BitLen()
}

// pkcs8 is a PrivateKeyInfo (RFC 5208) or OneAsymmetricKey (RFC 5958) as it stands; it shares the input's memory.
type pkcs8 struct {
	algorithm algorithmID
	key       []byte
}

func parsePKCS8(b []byte) (p pkcs8, ok bool) {
	top := reader{rest: b}
	seq := top.enter(derSeq)
	version := seq.small()
	p.algorithm = parseAlgorithmID(seq)
	p.key = seq.next(derOctets)
	for len(seq.rest) > 0 && !seq.failed {
		// Attributes and, since version 1, the public key.
		if tag, _, _ := seq.any(); tag != derContext0 && tag != derContext1 && tag != derPrimitive1 {
			return p, false
		}
	}
	return p, top.done() && seq.done() && (version == 0 || version == 1)
}

// encryptedPKCS8 tells an EncryptedPrivateKeyInfo.
func encryptedPKCS8(b []byte) bool {
	top := reader{rest: b}
	seq := top.enter(derSeq)
	parseAlgorithmID(seq)
	seq.next(derOctets)
	return top.done() && seq.done()
}

// foreignPrivate is a private key in another encoding than its Key Format Type says. The OASIS cases have an encrypted
// PKCS#8 under ECPrivateKey (TC-ECC-3 of KMIP 1.0) and expect it back: what is recognisably a private key is kept as it
// came.
func (in *input) foreignPrivate() (*Key, error) {
	b := in.material.Value
	if encryptedPKCS8(b) {
		return in.opaqueKey(0, 0, 0)
	}
	if p, ok := parsePKCS8(b); ok {
		return in.opaqueKey(p.algorithm.facts(p.key))
	}
	if k, _, ok := parsePKCS1Private(b); ok {
		defer k.wipe()
		return in.opaqueKey(kmip.CryptographicAlgorithmRSA, k.n.BitLen(), 0)
	}
	if s, ok := parseSEC1(b); ok {
		return in.opaqueEC(curveByOID(s.params))
	}
	return nil, invalid("Key Material is not the %s encoding of a private key", in.format)
}

// privateKey reads the formats of Private Keys.
func (in *input) privateKey() (*Key, error) {
	b := in.material.Value
	switch in.format {
	case kmip.KeyFormatTypePKCS1:
		if k, multi, ok := parsePKCS1Private(b); ok && multi {
			defer k.wipe()
			return in.opaqueKey(kmip.CryptographicAlgorithmRSA, k.n.BitLen(), 0)
		} else if ok {
			return in.rsaPrivate(k, 0)
		}
		return in.foreignPrivate()
	case kmip.KeyFormatTypePKCS8:
		return in.pkcs8Private()
	case kmip.KeyFormatTypeECPrivateKey:
		if s, ok := parseSEC1(b); ok {
			return in.ecPrivateDER(s, nil, false)
		}
		return in.foreignPrivate()
	case kmip.KeyFormatTypeTransparentRSAPrivateKey:
		return in.transparentRSAPrivate()
	case kmip.KeyFormatTypeTransparentECPrivateKey, kmip.KeyFormatTypeTransparentECDSAPrivateKey,
		kmip.KeyFormatTypeTransparentECDHPrivateKey:
		return in.transparentECPrivate()
	}
	return in.keptPrivate()
}

func (in *input) pkcs8Private() (*Key, error) {
	p, ok := parsePKCS8(in.material.Value)
	if !ok {
		return in.foreignPrivate()
	}
	switch {
	case bytes.Equal(p.algorithm.oid, oidRSA):
		k, multi, ok := parsePKCS1Private(p.key)
		if !ok {
			return nil, invalid("Key Material is not a PKCS#8 encoding of an RSA private key")
		}
		if multi {
			defer k.wipe()
			return in.opaqueKey(kmip.CryptographicAlgorithmRSA, k.n.BitLen(), 0)
		}
		return in.rsaPrivate(k, 0)
	case bytes.Equal(p.algorithm.oid, oidEC):
		oid, explicit, ok := p.algorithm.curve()
		s, ok2 := parseSEC1(p.key)
		if !ok || !ok2 {
			return nil, invalid("Key Material is not a PKCS#8 encoding of an elliptic curve private key")
		}
		return in.ecPrivateDER(s, oid, explicit)
	}
	return in.opaqueKey(p.algorithm.facts(p.key))
}

// publicKey reads the formats of Public Keys.
func (in *input) publicKey() (*Key, error) {
	switch in.format {
	case kmip.KeyFormatTypePKCS1:
		k, ok := parsePKCS1Public(in.material.Value)
		if !ok {
			return nil, invalid("Key Material is not a PKCS#1 encoding of a public key")
		}
		return in.rsaPublic(k)
	case kmip.KeyFormatTypeX509:
		return in.spkiPublic()
	case kmip.KeyFormatTypeTransparentRSAPublicKey:
		return in.transparentRSAPublic()
	case kmip.KeyFormatTypeTransparentECPublicKey, kmip.KeyFormatTypeTransparentECDSAPublicKey,
		kmip.KeyFormatTypeTransparentECDHPublicKey:
		return in.transparentECPublic()
	}
	return in.keptPublic()
}

// parseSPKI reads a SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7).
func parseSPKI(b []byte) (a algorithmID, key []byte, ok bool) {
	top := reader{rest: b}
	seq := top.enter(derSeq)
	a = parseAlgorithmID(seq)
	key = seq.bits()
	return a, key, top.done() && seq.done()
}

func (in *input) spkiPublic() (*Key, error) {
	a, key, ok := parseSPKI(in.material.Value)
	if !ok {
		return nil, invalid("Key Material is not an X.509 SubjectPublicKeyInfo")
	}
	switch {
	case bytes.Equal(a.oid, oidRSA):
		k, ok := parsePKCS1Public(key)
		if !ok {
			return nil, invalid("Key Material is not an X.509 encoding of an RSA public key")
		}
		return in.rsaPublic(k)
	case bytes.Equal(a.oid, oidEC):
		oid, explicit, ok := a.curve()
		if !ok {
			return nil, invalid("Key Material is not an X.509 encoding of an elliptic curve public key")
		}
		c, err := in.findCurve(oid, explicit)
		if err != nil {
			return nil, err
		}
		if c == nil || c.ecdh == nil {
			return in.opaqueEC(c)
		}
		return in.ecPublicPoint(c, key)
	}
	return in.opaqueKey(a.facts(key))
}

// keptPrivate keeps private keys of the formats that no token key is made of.
func (in *input) keptPrivate() (*Key, error) {
	switch in.format {
	case kmip.KeyFormatTypeTransparentDSAPrivateKey:
		return in.keptTransparent(kmip.CryptographicAlgorithmDSA, kmip.TagP, kmip.TagQ, kmip.TagG, kmip.TagX)
	case kmip.KeyFormatTypeTransparentDHPrivateKey:
		return in.keptTransparent(kmip.CryptographicAlgorithmDH, kmip.TagP, kmip.TagG, kmip.TagX)
	case kmip.KeyFormatTypeTransparentECMQVPrivateKey:
		return in.keptMQV(kmip.TagD)
	}
	return in.keptUnknown()
}

// keptPublic keeps public keys of the formats that no token key is made of.
func (in *input) keptPublic() (*Key, error) {
	switch in.format {
	case kmip.KeyFormatTypeTransparentDSAPublicKey:
		return in.keptTransparent(kmip.CryptographicAlgorithmDSA, kmip.TagP, kmip.TagQ, kmip.TagG, kmip.TagY)
	case kmip.KeyFormatTypeTransparentDHPublicKey:
		return in.keptTransparent(kmip.CryptographicAlgorithmDH, kmip.TagP, kmip.TagG, kmip.TagY)
	case kmip.KeyFormatTypeTransparentECMQVPublicKey:
		return in.keptMQV(kmip.TagQString)
	}
	return in.keptUnknown()
}

// keptUnknown keeps keys whose encoding only the client knows.
func (in *input) keptUnknown() (*Key, error) {
	switch {
	case in.format == kmip.KeyFormatTypeRaw, in.format == kmip.KeyFormatTypeOpaque, extension(in.format):
		if in.material.Type == 0 || len(in.material.Value) == 0 {
			return nil, invalid("Key Material of a %s is empty", in.object)
		}
		return in.opaqueKey(0, 0, 0)
	}
	return nil, in.formatError()
}

// Asymmetric tells the algorithms that a Symmetric Key cannot have.
func Asymmetric(a kmip.CryptographicAlgorithm) bool {
	switch a {
	case kmip.CryptographicAlgorithmRSA, kmip.CryptographicAlgorithmDSA, kmip.CryptographicAlgorithmDH,
		kmip.CryptographicAlgorithmEd25519, kmip.CryptographicAlgorithmEd448:
		return true
	}
	return isEC(a)
}
