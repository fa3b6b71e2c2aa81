package keystore

import (
	"context"
	"crypto/sha256"
	"errors"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/keystore/keyform"
	"kmipd/kmip"
)

// CreateKeyPair makes a key pair on the token (KMIP 1.4 section 4.2).
func (s *Store) CreateKeyPair(ctx context.Context, call *kmip.Call, req *kmip.CreateKeyPairRequest) (*kmip.CreateKeyPairResponse, error) {
	common, err := s.levels(ctx, call, req.CommonTemplateAttribute, true)
	if err != nil {
		return nil, err
	}
	priv, err := s.half(ctx, call, kmip.ObjectTypePrivateKey, req.PrivateKeyTemplateAttribute, common)
	if err != nil {
		return nil, err
	}
	pub, err := s.half(ctx, call, kmip.ObjectTypePublicKey, req.PublicKeyTemplateAttribute, common)
	if err != nil {
		return nil, err
	}
	if err := s.generatePair(ctx, call, kmip.OperationCreateKeyPair, priv, pub); err != nil {
		return nil, err
	}
	return &kmip.CreateKeyPairResponse{PrivateKeyUniqueIdentifier: priv.UID, PublicKeyUniqueIdentifier: pub.UID}, nil
}

// generatePair makes a key pair on the token and commits both halves, together with those that they replace.
func (s *Store) generatePair(ctx context.Context, call *kmip.Call, op kmip.Operation, priv, pub object, gone ...replaced) error {
	for _, o := range []object{priv, pub} {
		if err := errors.Join(s.restrain(call, o), s.allowObject(call, fips.Generate, o)); err != nil {
			return err
		}
	}
	spec, curve, err := s.pairSpec(s.policyOf(call), priv, pub)
	if err != nil {
		return err
	}
	if pol := s.policyOf(call); pol.Strict() && !s.token.Info().Capabilities.TestsPair(spec.Private) {
		// The test of a pair has no exception (FIPS 140-3 IG 10.3.A).
		return pol.Refuse(kmip.ResultReasonInvalidField, "Cryptographic Usage Mask of the private key must allow an operation by which the token can test the pair")
	}
	priv.link(kmip.LinkTypePublicKeyLink, pub.UID)
	pub.link(kmip.LinkTypePrivateKeyLink, priv.UID)
	s.finish(call, priv, true)
	s.finish(call, pub, true)
	privFrame := &frame{facts: keyform.Generated(priv.ObjectType, priv.algorithm(), priv.length(), 0, curve)}
	pubFrame := &frame{facts: keyform.Generated(pub.ObjectType, pub.algorithm(), pub.length(), 0, curve)}
	priv.Frame, pub.Frame = privFrame.encode(), pubFrame.encode()
	privRef := s.handle(priv, hsm.ClassPrivateKey)
	pubRef := s.handle(pub, hsm.ClassPublicKey)
	priv.madeHere()
	spec.Private.ID, spec.Private.Label = privRef.ID, priv.UID
	spec.Public.ID, spec.Public.Label = pubRef.ID, pub.UID
	return s.commitNew(ctx, call, op, []object{priv, pub}, gone, func(ctx context.Context) error {
		spki, err := s.token.GenerateKeyPair(ctx, spec)
		if err != nil {
			return err
		}
		if err := pub.digestOf(pubFrame, spki); err != nil {
			return err
		}
		return s.digestPrivate(ctx, call, priv, privFrame, privRef)
	})
}

// half starts one half of a pair: its own attributes go before the common ones.
func (s *Store) half(ctx context.Context, call *kmip.Call, t kmip.ObjectType, ta *kmip.TemplateAttribute, common []level) (object, error) {
	own, err := s.levels(ctx, call, ta, false)
	if err != nil {
		return object{}, err
	}
	o := s.newRecord(call, t)
	if err := o.apply(append(own, common...)); err != nil {
		return o, err
	}
	if o.algorithm() == 0 {
		return o, kmip.Errorf(kmip.ResultReasonInvalidMessage, "Create Key Pair needs Cryptographic Algorithm")
	}
	if o.get("Cryptographic Usage Mask").IsZero() {
		o.put("Cryptographic Usage Mask", intValue(defaultMask(t, o.algorithm())))
	}
	if err := o.checkDates(); err != nil {
		return o, err
	}
	return o, s.checkRNG(o)
}

// defaultMask is for clients that name no usage: what the algorithm is for.
func defaultMask(t kmip.ObjectType, alg kmip.CryptographicAlgorithm) kmip.CryptographicUsageMask {
	priv := t == kmip.ObjectTypePrivateKey
	switch {
	case alg == kmip.CryptographicAlgorithmECDH:
		return kmip.CryptographicUsageMaskKeyAgreement
	case alg == kmip.CryptographicAlgorithmRSA && priv:
		return kmip.CryptographicUsageMaskSign | kmip.CryptographicUsageMaskDecrypt | kmip.CryptographicUsageMaskUnwrapKey
	case alg == kmip.CryptographicAlgorithmRSA:
		return kmip.CryptographicUsageMaskVerify | kmip.CryptographicUsageMaskEncrypt | kmip.CryptographicUsageMaskWrapKey
	case priv:
		return kmip.CryptographicUsageMaskSign
	}
	return kmip.CryptographicUsageMaskVerify
}

// curve is an elliptic curve that a token generates keys on, with its Cryptographic Length.
type curve struct {
	name  kmip.RecommendedCurve
	curve hsm.Curve
	bits  int
}

var curves = []curve{
	{kmip.RecommendedCurveP256, hsm.CurveP256, 256},
	{kmip.RecommendedCurveP384, hsm.CurveP384, 384},
	{kmip.RecommendedCurveP521, hsm.CurveP521, 521},
}

// pairSpec says what to generate, and settles Cryptographic Length and curve of both halves, which must agree.
func (s *Store) pairSpec(pol *fips.Policy, priv, pub object) (hsm.PairSpec, kmip.RecommendedCurve, error) {
	var spec hsm.PairSpec
	for _, name := range []string{"Cryptographic Algorithm", "Cryptographic Length", "Cryptographic Domain Parameters"} {
		a, b := priv.get(name), pub.get(name)
		switch {
		case a.IsZero() && !b.IsZero():
			priv.put(name, b.Clone())
		case b.IsZero() && !a.IsZero():
			pub.put(name, a.Clone())
		case !a.Equal(b):
			return spec, 0, badField("%s must be the same for both keys of a pair", name)
		}
	}
	alg, bits := priv.algorithm(), priv.length()
	spec.Private = hsm.KeySpec{Usage: tokenUsage(priv), Extractable: extractable(priv)}
	spec.Public = hsm.KeySpec{Usage: tokenUsage(pub)}
	var named kmip.RecommendedCurve
	switch alg {
	case kmip.CryptographicAlgorithmRSA:
		if bits == 0 {
			return spec, 0, badField("Create Key Pair needs Cryptographic Length for RSA")
		}
		spec.Private.Type, spec.Private.Bits = hsm.KeyRSA, bits
	case kmip.CryptographicAlgorithmEC, kmip.CryptographicAlgorithmECDSA, kmip.CryptographicAlgorithmECDH:
		name, c, err := curveFor(priv, bits)
		if err != nil {
			return spec, 0, err
		}
		named, spec.Private.Type, spec.Private.Curve = name, hsm.KeyEC, c.curve
		bits = c.bits
		for _, o := range []object{priv, pub} {
			o.put("Cryptographic Length", intValue(int32(bits)))
			o.put("Cryptographic Domain Parameters", structValue(&kmip.CryptographicDomainParameters{RecommendedCurve: named}))
		}
	default:
		return spec, 0, badField("Create Key Pair makes no keys for %s", alg)
	}
	if err := allowed(pol, fips.Generate, alg, bits, named); err != nil {
		return spec, 0, err
	}
	spec.Public.Type, spec.Public.Bits, spec.Public.Curve = spec.Private.Type, spec.Private.Bits, spec.Private.Curve
	return spec, named, nil
}

// curveFor finds the curve by Cryptographic Domain Parameters, or by length.
func curveFor(o object, bits int) (kmip.RecommendedCurve, *curve, error) {
	var dp kmip.CryptographicDomainParameters
	if v := o.get("Cryptographic Domain Parameters"); !v.IsZero() {
		if err := dp.Decode(v); err != nil {
			return 0, nil, err
		}
	}
	if dp.RecommendedCurve == 0 && bits == 0 {
		return 0, nil, badField("Create Key Pair needs Cryptographic Domain Parameters or Cryptographic Length")
	}
	for i := range curves {
		c := &curves[i]
		if dp.RecommendedCurve == c.name || dp.RecommendedCurve == 0 && bits == c.bits {
			if bits != 0 && bits != c.bits {
				return 0, nil, badField("Cryptographic Length %d does not fit the Recommended Curve", bits)
			}
			return c.name, c, nil
		}
	}
	if dp.RecommendedCurve != 0 {
		return 0, nil, badField("Recommended Curve %s is not supported", dp.RecommendedCurve)
	}
	return 0, nil, badField("no supported curve has Cryptographic Length %d", bits)
}

// digestOf sets the Digest over a value in the frame's format.
func (o object) digestOf(f *frame, value hsm.Material) error {
	m, err := keyform.MaterialForDigest(&f.facts, value, f.facts.Format)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(m)
	m.Wipe()
	o.digest(sum[:], f.facts.Format)
	return nil
}

// digestPrivate sets the Digest of a generated private key. It is over an encoding that the token cannot hash, so the
// key is read for it, hashed and wiped; a key that does not leave the token in clear has no Digest.
func (s *Store) digestPrivate(ctx context.Context, call *kmip.Call, o object, f *frame, r hsm.Ref) error {
	if !extractable(o) || s.releaseOf(call) != ReleaseClear {
		return nil
	}
	value, err := s.token.Export(ctx, r, 0)
	if err != nil {
		return err
	}
	defer value.Wipe()
	return o.digestOf(f, value)
}
