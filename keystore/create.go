package keystore

import (
	"context"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/keystore/keyform"
	"kmipd/kmip"
)

// Create makes a symmetric key or, since KMIP 1.4's test cases, secret data on the token.
func (s *Store) Create(ctx context.Context, call *kmip.Call, req *kmip.CreateRequest) (*kmip.CreateResponse, error) {
	switch req.ObjectType {
	case kmip.ObjectTypeSymmetricKey, kmip.ObjectTypeSecretData:
	default:
		return nil, badField("Create makes no object of type %s", req.ObjectType)
	}
	levels, err := s.levels(ctx, call, &req.TemplateAttribute, false)
	if err != nil {
		return nil, err
	}
	o := s.newRecord(call, req.ObjectType)
	if err := o.apply(levels); err != nil {
		return nil, err
	}
	if err := s.generate(ctx, call, kmip.OperationCreate, o); err != nil {
		return nil, err
	}
	return &kmip.CreateResponse{ObjectType: req.ObjectType, UniqueIdentifier: o.UID}, nil
}

// generate makes the material of a new symmetric key or secret data and commits the object, together with those that it
// replaces.
func (s *Store) generate(ctx context.Context, call *kmip.Call, op kmip.Operation, o object, gone ...replaced) error {
	if err := s.restrain(call, o); err != nil {
		return err
	}
	spec, err := s.secretSpec(call, o)
	if err != nil {
		return err
	}
	if err := o.checkDates(); err != nil {
		return err
	}
	if err := s.checkRNG(o); err != nil {
		return err
	}
	s.finish(call, o, true)
	r := s.handle(o, hsm.ClassSecretKey)
	o.madeHere()
	spec.ID, spec.Label = r.ID, o.UID
	o.ValueBits = spec.Bits
	f := generatedSecret(o, spec.Bits/8)
	o.Frame = f.encode()
	return s.commitNew(ctx, call, op, []object{o}, gone, func(ctx context.Context) error {
		if err := s.token.GenerateKey(ctx, spec); err != nil {
			return err
		}
		sum, err := s.token.Digest(ctx, r, spec.Bits)
		if err != nil {
			return err
		}
		o.digest(sum, f.facts.Format)
		return nil
	})
}

// secretSpec says what to generate for the object's algorithm and length.
func (s *Store) secretSpec(call *kmip.Call, o object) (hsm.KeySpec, error) {
	bits := o.length()
	spec := hsm.KeySpec{Type: hsm.KeyGeneric, Bits: bits, Usage: tokenUsage(o), Extractable: extractable(o)}
	if err := s.allowObject(call, fips.Generate, o); err != nil {
		return spec, err
	}
	if o.ObjectType == kmip.ObjectTypeSecretData {
		if bits == 0 {
			return spec, badField("Cryptographic Length is missing")
		}
		if bits%8 != 0 || bits > maxSecretBits {
			return spec, badField("Cryptographic Length of Secret Data must be a multiple of 8, at most %d", maxSecretBits)
		}
		return spec, nil
	}
	alg := o.algorithm()
	switch {
	case alg == 0:
		return spec, badField("Cryptographic Algorithm is missing")
	case keyform.Asymmetric(alg):
		return spec, badField("Cryptographic Algorithm %s is not for a Symmetric Key", alg)
	}
	if o.get("Cryptographic Usage Mask").IsZero() {
		return spec, badField("Cryptographic Usage Mask is missing")
	}
	if bits == 0 {
		return spec, badField("Cryptographic Length is missing")
	}
	if err := s.policyOf(call).Allow(fips.Generate, alg, bits); err != nil {
		return spec, err
	}
	if bits%8 != 0 || bits > maxSecretBits {
		return spec, badField("Cryptographic Length must be a multiple of 8, at most %d", maxSecretBits)
	}
	switch {
	case alg == kmip.CryptographicAlgorithmAES:
		spec.Type = hsm.KeyAES
	case alg == kmip.CryptographicAlgorithmDES3 && (bits == 168 || bits == 192):
		// 168 bits of key are 192 bits with parity (FIPS 46-3).
		spec.Type, spec.Bits = hsm.KeyDES3, 192
	case alg == kmip.CryptographicAlgorithmDES3:
		spec.Bits = 128
	}
	return spec, nil
}

const maxSecretBits = 1 << 15

// tokenUsage is the CKA_ usage flags for a usage mask. The mask is enforced on every request by the keystore; the flags
// are the token's second lock, except where an operation of another direction is part of serving the first: a KEK that
// wraps must be able to unwrap what was registered wrapped under it, a key that encrypts computes KWP (hsm).
func tokenUsage(o object) hsm.Usage {
	var u hsm.Usage
	m := o.usage()
	has := func(bits kmip.CryptographicUsageMask) bool { return m&bits != 0 }
	if has(kmip.CryptographicUsageMaskEncrypt) {
		u |= hsm.UsageEncrypt
	}
	if has(kmip.CryptographicUsageMaskDecrypt) {
		u |= hsm.UsageDecrypt
	}
	if has(kmip.CryptographicUsageMaskSign | kmip.CryptographicUsageMaskMACGenerate | kmip.CryptographicUsageMaskCertificateSign | kmip.CryptographicUsageMaskCRLSign) {
		u |= hsm.UsageSign
	}
	if has(kmip.CryptographicUsageMaskVerify | kmip.CryptographicUsageMaskMACVerify) {
		u |= hsm.UsageVerify
	}
	if has(kmip.CryptographicUsageMaskWrapKey | kmip.CryptographicUsageMaskUnwrapKey) {
		switch o.ObjectType {
		case kmip.ObjectTypePublicKey:
			u |= hsm.UsageWrap
		case kmip.ObjectTypePrivateKey:
			u |= hsm.UsageUnwrap
		default:
			u |= hsm.UsageWrap | hsm.UsageUnwrap
		}
	}
	if has(kmip.CryptographicUsageMaskDeriveKey | kmip.CryptographicUsageMaskKeyAgreement) {
		u |= hsm.UsageDerive
	}
	if has(kmip.CryptographicUsageMaskDeriveKey) {
		u |= derivationUsage(o)
	}
	return u
}

// extractable: the release class "in place" is a key that the token itself does not let go.
func extractable(o object) bool {
	v := o.get("Extractable")
	return v.IsZero() || v.Bool()
}

// checkRNG: a Random Number Generator asked for at creation must be the one that the token has, or the request fails
// (KMIP 1.4 section 3.44). A token does not tell which it is; the operator may.
func (s *Store) checkRNG(o object) error {
	v := o.get("Random Number Generator")
	if v.IsZero() {
		return nil
	}
	var p kmip.RNGParameters
	if err := p.Decode(v); err != nil {
		return err
	}
	own := s.rng()
	if p.RNGAlgorithm != kmip.RNGAlgorithmUnspecified && !structValue(&own).Equal(v) {
		return badField("the Random Number Generator that the request asks for is not the token's")
	}
	return nil
}

// generatedSecret is the frame of a secret that the token generated. Secret Data is Opaque and a Password, as the OASIS
// case TC-CREATE-SD-1 has it.
func generatedSecret(o object, octets int) *frame {
	f := &frame{facts: keyform.Generated(o.ObjectType, o.algorithm(), o.length(), octets, 0)}
	if o.ObjectType == kmip.ObjectTypeSecretData {
		f.facts.Format = kmip.KeyFormatTypeOpaque
		f.object = withoutMaterial(&kmip.SecretData{SecretDataType: kmip.SecretDataTypePassword}, kmip.TagSecretData)
	}
	return f
}
