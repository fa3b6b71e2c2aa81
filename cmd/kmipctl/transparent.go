package main

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"math/big"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// transparent is the key as a Key Material structure (KMIP 1.4 section 2.1.7) under the format, whose general name
// --format transparent is made exact. ok is false when the key has no such form.
func (f *keyFile) transparent(format kmip.KeyFormatType) (s structure, ok bool) {
	ec := map[kmip.KeyFormatType]bool{
		kmip.KeyFormatTypeTransparentECPrivateKey: true, kmip.KeyFormatTypeTransparentECDSAPrivateKey: true,
		kmip.KeyFormatTypeTransparentECDHPrivateKey: true, kmip.KeyFormatTypeTransparentECPublicKey: true,
		kmip.KeyFormatTypeTransparentECDSAPublicKey: true, kmip.KeyFormatTypeTransparentECDHPublicKey: true,
	}
	switch k := f.key.(type) {
	case *rsa.PrivateKey:
		return rsaPrivate(k), format == kmip.KeyFormatTypeTransparentRSAPrivateKey && len(k.Primes) == 2
	case *rsa.PublicKey:
		return &kmip.TransparentRSAPublicKey{Modulus: k.N, PublicExponent: big.NewInt(int64(k.E))},
			format == kmip.KeyFormatTypeTransparentRSAPublicKey
	case *ecdsa.PrivateKey:
		d, err := k.Bytes()
		if err != nil || !ec[format] {
			return nil, false
		}
		defer clear(d)
		return &kmip.TransparentECPrivateKey{RecommendedCurve: curveName(k.Curve), D: new(big.Int).SetBytes(d)}, true
	case *ecdsa.PublicKey:
		q, err := k.Bytes()
		return &kmip.TransparentECPublicKey{RecommendedCurve: curveName(k.Curve), QString: q}, err == nil && ec[format]
	}
	return nil, false
}

func rsaPrivate(k *rsa.PrivateKey) structure {
	k.Precompute()
	s := &kmip.TransparentRSAPrivateKey{Modulus: k.N, PrivateExponent: k.D, PublicExponent: big.NewInt(int64(k.E))}
	if len(k.Primes) == 2 {
		s.P, s.Q = k.Primes[0], k.Primes[1]
		s.PrimeExponentP, s.PrimeExponentQ, s.CRTCoefficient = k.Precomputed.Dp, k.Precomputed.Dq, k.Precomputed.Qinv
	}
	return s
}

// exactFormat is the format that --format transparent means for an object.
func (f *keyFile) exactFormat(typ kmip.ObjectType, ver kmip.Version) kmip.KeyFormatType {
	private := typ == kmip.ObjectTypePrivateKey
	switch f.key.(type) {
	case *rsa.PrivateKey, *rsa.PublicKey:
		if private {
			return kmip.KeyFormatTypeTransparentRSAPrivateKey
		}
		return kmip.KeyFormatTypeTransparentRSAPublicKey
	}
	// The formats for any elliptic curve key are new in KMIP 1.3.
	switch old := ver.Before(kmip.V1_3); {
	case private && old:
		return kmip.KeyFormatTypeTransparentECDSAPrivateKey
	case private:
		return kmip.KeyFormatTypeTransparentECPrivateKey
	case old:
		return kmip.KeyFormatTypeTransparentECDSAPublicKey
	}
	return kmip.KeyFormatTypeTransparentECPublicKey
}

func isTransparent(f kmip.KeyFormatType) bool {
	return f >= kmip.KeyFormatTypeTransparentSymmetricKey && f <= kmip.KeyFormatTypeTransparentECPublicKey
}

// savedMaterial reads what get --out wrote of a transparent key: the TTLV encoding of a Key Material structure.
func savedMaterial(data []byte) (ttlv.Item, bool) {
	it, err := ttlv.Parse(data, ttlv.DefaultLimits)
	return it, err == nil && it.Tag == kmip.TagKeyMaterial && it.Type == ttlv.Structure
}
