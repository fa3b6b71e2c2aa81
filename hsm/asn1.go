package hsm

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
)

// curves has the NIST curves with their object identifiers (RFC 5480 section 2.1.1.1).
var curves = map[Curve]struct {
	curve elliptic.Curve
	oid   asn1.ObjectIdentifier
}{
	CurveP256: {elliptic.P256(), asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}},
	CurveP384: {elliptic.P384(), asn1.ObjectIdentifier{1, 3, 132, 0, 34}},
	CurveP521: {elliptic.P521(), asn1.ObjectIdentifier{1, 3, 132, 0, 35}},
}

// curveDER is CKA_EC_PARAMS of a named curve.
func curveDER(c Curve) []byte {
	der, err := asn1.Marshal(curves[c].oid)
	if err != nil {
		return nil // a nil or malformed identifier only; the table has none
	}
	return der
}

func curveOfDER(params []byte) Curve {
	for c := range curves {
		if bytes.Equal(params, curveDER(c)) {
			return c
		}
	}
	return 0
}

// ecPoint is the point in CKA_EC_POINT, which is a DER OCTET STRING (PKCS#11 3.1 section 6.3.3) or, on some tokens, bare.
func ecPoint(value []byte) []byte {
	var point []byte
	if rest, err := asn1.Unmarshal(value, &point); err == nil && len(rest) == 0 {
		return point
	}
	return value
}

func ecSPKI(params, point []byte) ([]byte, error) {
	c, ok := curves[curveOfDER(params)]
	if !ok {
		return nil, refuse(KindUnsupported, "the curve of a public key")
	}
	key, err := ecdsa.ParseUncompressedPublicKey(c.curve, ecPoint(point))
	if err != nil {
		return nil, refuse(KindInternal, "the token's public key is not on its curve")
	}
	return x509.MarshalPKIXPublicKey(key)
}

func rsaKey(modulus, exponent []byte) (*rsa.PublicKey, error) {
	e := new(big.Int).SetBytes(exponent)
	if !e.IsInt64() || e.Int64() < 3 || e.Int64() > 1<<31-1 || len(modulus) < 64 {
		return nil, refuse(KindUnsupported, "the exponent or modulus of a public key")
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: int(e.Int64())}, nil
}

// pkcs8 is PrivateKeyInfo (RFC 5208 section 5).
type pkcs8 struct {
	Version   int
	Algorithm struct {
		OID        asn1.ObjectIdentifier
		Parameters asn1.RawValue `asn1:"optional"`
	}
	PrivateKey []byte
	Attributes asn1.RawValue `asn1:"optional,tag:0"`
	PublicKey  asn1.RawValue `asn1:"optional,tag:1"`
}

var (
	oidRSA = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidEC  = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
)

// checkPKCS8 says whether a DER private key is of the type and size that the spec announces. It does not verify the key.
func checkPKCS8(spec KeySpec, der []byte) error {
	var info pkcs8
	rest, err := asn1.Unmarshal(der, &info)
	defer clear(info.PrivateKey)
	ok := err == nil && len(rest) == 0
	switch {
	case ok && spec.Type == KeyRSA && info.Algorithm.OID.Equal(oidRSA):
		var key struct {
			Version int
			N       *big.Int
			Rest    asn1.RawValue
		}
		// RSAPrivateKey goes on after the modulus; a prefix of it is enough here.
		_, err := asn1.Unmarshal(sequencePrefix(info.PrivateKey), &key)
		ok = err == nil && key.N.BitLen() == spec.Bits
	case ok && spec.Type == KeyEC && info.Algorithm.OID.Equal(oidEC):
		ok = curveOfDER(info.Algorithm.Parameters.FullBytes) == spec.Curve
	default:
		ok = false
	}
	if !ok {
		return refuse(KindInvalidData, "not a PKCS#8 key of the announced type and size")
	}
	return nil
}

// sequencePrefix is a SEQUENCE of the first three members of a SEQUENCE; nil when there are not so many.
func sequencePrefix(der []byte) []byte {
	var seq asn1.RawValue
	if _, err := asn1.Unmarshal(der, &seq); err != nil || seq.Tag != asn1.TagSequence {
		return nil
	}
	members := seq.Bytes
	for range 3 {
		var member asn1.RawValue
		rest, err := asn1.Unmarshal(members, &member)
		if err != nil {
			return nil
		}
		members = rest
	}
	prefix, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: seq.Bytes[:len(seq.Bytes)-len(members)]})
	if err != nil {
		return nil
	}
	return prefix
}

// trimDER cuts the zeros off that a token put behind a DER value to fill it to a multiple of 8.
func trimDER(value []byte) ([]byte, error) {
	var whole asn1.RawValue
	rest, err := asn1.Unmarshal(value, &whole)
	if err != nil || !allZero(rest) || len(rest) > 7 {
		return nil, refuse(KindInternal, "the token's private key is not DER")
	}
	return value[:len(value)-len(rest)], nil
}

func allZero(b []byte) bool {
	var or byte
	for _, x := range b {
		or |= x
	}
	return or == 0
}
