package keystore

import (
	"bytes"
	"crypto"
	"crypto/x509"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/keystore/keyform"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// The questions that operations ask a policy: which field of a request goes to which table of package fips.

// strictly is the use to ask a strict policy about. The default policy takes keys and certificates for whatever clients
// bring, and so is asked as at their import.
func strictly(pol *fips.Policy, use fips.Use) fips.Use {
	if pol.Strict() {
		return use
	}
	return fips.Import
}

// admit asks whether an object of this type may come in, and in this format, and restrains what it may do.
func (s *Store) admit(call *kmip.Call, o object, format kmip.KeyFormatType) error {
	if err := s.allowObject(call, fips.Import, o); err != nil {
		return err
	}
	if err := s.policyOf(call).AllowFormat(format); err != nil {
		return err
	}
	return s.restrain(call, o)
}

// processing are the uses of a key that only processes what exists already.
const processing = kmip.CryptographicUsageMaskDecrypt | kmip.CryptographicUsageMaskUnwrapKey | kmip.CryptographicUsageMaskVerify |
	kmip.CryptographicUsageMaskMACVerify

// allowImport asks about a key that comes in, and about the key that it was wrapped under. One that is taken in by leave
// for old keys must be made for processing alone.
func (s *Store) allowImport(call *kmip.Call, o object, f *frame) error {
	pol, a, bits := s.policyOf(call), f.facts.Algorithm, f.facts.Bits
	if a == 0 {
		if pol.Strict() && (tSym|tPub|tPriv)&typeBit(o.ObjectType) != 0 {
			return pol.Refuse(kmip.ResultReasonInvalidField, "Cryptographic Algorithm is needed")
		}
		return nil
	}
	if err := allowed(pol, fips.Import, a, bits, cmp0(f.facts.Curve, o.given().Curve)); err != nil {
		return err
	}
	if f.facts.Irregular && pol.Limits().Exponents {
		return refuseExponent(pol, kmip.ResultReasonInvalidField)
	}
	if err := legacyMask(pol, a, bits, o.usage()); err != nil {
		return err
	}
	if f.under != nil {
		return s.allowWrapping(call, f.under, a, bits)
	}
	return nil
}

// legacyMask refuses a usage mask that has a key protect which the policy lets process only.
func legacyMask(pol *fips.Policy, a kmip.CryptographicAlgorithm, bits int, mask kmip.CryptographicUsageMask) error {
	if pol.LegacyUse(fips.Import, a, bits) && mask&^processing != 0 {
		return pol.Refuse(kmip.ResultReasonInvalidField, "Cryptographic Usage Mask must be Decrypt, Unwrap Key, Verify or MAC Verify for %s with %d bits", a, bits)
	}
	return nil
}

// allowCertificate asks about a certificate that comes in: its kind, its key and the signature on it. A strict policy keeps
// no X.509 certificate whose key or signature has no name. The hash of a PSS signature stands beside its name; of a
// certificate that Go does not read, it cannot be told.
func (s *Store) allowCertificate(call *kmip.Call, o object, facts *keyform.CertificateFacts, value []byte) error {
	pol := s.policyOf(call)
	if err := s.allowObject(call, fips.Import, o); err != nil || !pol.Strict() {
		return err
	}
	if facts.Type != kmip.CertificateTypeX509 {
		if pol.Limits().X509Only {
			return pol.Refuse(kmip.ResultReasonInvalidField, "Certificate Type must be X.509")
		}
		return nil
	}
	if err := allowed(pol, fips.Import, facts.Algorithm, facts.Bits, facts.Curve); err != nil {
		return err
	}
	if facts.Irregular && pol.Limits().Exponents {
		return refuseExponent(pol, kmip.ResultReasonInvalidField)
	}
	cert, err := x509.ParseCertificate(value)
	if err != nil {
		return pol.AllowSignature(fips.Import, facts.SignatureAlgorithm)
	}
	if _, ok := signatureHashes[cert.SignatureAlgorithm]; !ok {
		return pol.AllowSignature(fips.Import, facts.SignatureAlgorithm)
	}
	if bytes.Equal(cert.RawIssuer, cert.RawSubject) {
		return allowsOwn(pol, fips.Import, cert.SignatureAlgorithm, cert.PublicKey)
	}
	return allowsSigned(pol, fips.Import, cert.SignatureAlgorithm)
}

// allowsRequest asks about the signature of a certificate request by its own key: as of a new one in strict policies.
func allowsRequest(pol *fips.Policy, a x509.SignatureAlgorithm, key crypto.PublicKey) error {
	if _, ok := signatureHashes[a]; !ok {
		return notSigned("its signature algorithm is not supported", nil)
	}
	if pol.Strict() {
		return allowsOwn(pol, fips.Sign, a, key)
	}
	return allowsOwn(pol, fips.Verify, a, key)
}

// allowCipher asks about the mode and padding of Encrypt and Decrypt.
func allowCipher(pol *fips.Policy, use fips.Use, p *kmip.CryptographicParameters) error {
	if p.BlockCipherMode != 0 {
		if err := pol.AllowMode(use, p.BlockCipherMode); err != nil {
			return err
		}
	}
	if p.PaddingMethod != 0 {
		return pol.AllowPadding(use, p.PaddingMethod)
	}
	return nil
}

// mgfHash is the hash of the mask of OAEP and PSS; 0 for the one of the message.
func mgfHash(pol *fips.Policy, use fips.Use, h kmip.HashingAlgorithm, p *kmip.CryptographicParameters) (hsm.Hash, error) {
	g := p.MaskGeneratorHashingAlgorithm
	if g == 0 {
		return 0, nil
	}
	if pol.Limits().SameMGF && g != h {
		return 0, pol.Refuse(kmip.ResultReasonInvalidField, "Mask Generator Hashing Algorithm must be Hashing Algorithm")
	}
	return tokenHash(pol, use, g, "Mask Generator Hashing Algorithm")
}

// allowScheme asks about a signature: padding, hash with the key, and a hash at all, for a digest of an unknown kind could
// be any.
func allowScheme(pol *fips.Policy, use fips.Use, o object, scheme hsm.SignScheme, h kmip.HashingAlgorithm, p *kmip.CryptographicParameters) error {
	if !pol.Strict() {
		return nil
	}
	if h == 0 {
		return pol.Refuse(kmip.ResultReasonInvalidField, "Hashing Algorithm is needed")
	}
	switch scheme {
	case hsm.SignRSAPKCS1v15:
		return pol.AllowPadding(use, kmip.PaddingMethodPKCS1V1_5)
	case hsm.SignRSAPSS:
		return pol.AllowPadding(use, kmip.PaddingMethodPSS)
	}
	if err := pol.AllowHash(use, h); err != nil {
		return err
	}
	return pol.AllowPair(use, o.length(), h)
}

// allowMAC asks about a code: the key as what it is, if it says so, and as what it is used for.
func (s *Store) allowMAC(call *kmip.Call, use fips.Use, o object, as kmip.CryptographicAlgorithm, bits int) error {
	pol := s.policyOf(call)
	if own := o.algorithm(); own != 0 && own != as && pol.Strict() {
		if err := s.allowKey(call, processOr(use, fips.Derive), o); err != nil {
			return err
		}
	}
	if err := pol.Allow(use, as, bits); err != nil {
		return err
	}
	if pol.LegacyUse(use, as, bits) {
		s.log.Warn().Str("uid", o.UID).Str("client", call.Caller.Client).Stringer("use", use).Str("policy", pol.Name()).Msg("legacy-use")
	}
	return nil
}

// processOr is the use itself where it processes, else the other one: an AES key that is the key of an HMAC neither
// encrypts nor is a MAC key of its own.
func processOr(use, other fips.Use) fips.Use {
	if use == fips.MACVerify {
		return fips.Decrypt
	}
	return other
}

// usages are the uses that a Cryptographic Usage Mask speaks of.
var usages = map[kmip.CryptographicUsageMask]fips.Use{
	kmip.CryptographicUsageMaskEncrypt: fips.Encrypt, kmip.CryptographicUsageMaskDecrypt: fips.Decrypt,
	kmip.CryptographicUsageMaskWrapKey: fips.Wrap, kmip.CryptographicUsageMaskUnwrapKey: fips.Unwrap,
	kmip.CryptographicUsageMaskSign: fips.Sign, kmip.CryptographicUsageMaskVerify: fips.Verify,
	kmip.CryptographicUsageMaskMACGenerate: fips.MAC, kmip.CryptographicUsageMaskMACVerify: fips.MACVerify,
	kmip.CryptographicUsageMaskDeriveKey: fips.Derive, kmip.CryptographicUsageMaskKeyAgreement: fips.Agree,
}

// allowUsages asks a strict policy about all that a mask speaks of, without anything being done.
func (s *Store) allowUsages(call *kmip.Call, o object, mask kmip.CryptographicUsageMask) error {
	pol := s.policyOf(call)
	if !pol.Strict() || o.algorithm() == 0 {
		return nil
	}
	facts, err := o.facts()
	if err != nil {
		return err
	}
	for bit, use := range usages {
		if mask&bit == 0 {
			continue
		}
		err := allowed(pol, use, o.algorithm(), o.length(), facts.Curve)
		if err != nil && bit == kmip.CryptographicUsageMaskMACGenerate { // of an HMAC, with a key that is for something else
			err = allowed(pol, fips.Derive, o.algorithm(), o.length(), facts.Curve)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// allowMechanism asks about the way in which a key wraps or unwraps; without mode or padding there is none.
func allowMechanism(pol *fips.Policy, use fips.Use, o object, p *kmip.CryptographicParameters) error {
	symmetric := o.ObjectType == kmip.ObjectTypeSymmetricKey
	switch {
	case symmetric && p.BlockCipherMode == 0, !symmetric && p.PaddingMethod == 0:
		return nil
	case symmetric:
		return pol.AllowMode(use, p.BlockCipherMode)
	}
	if err := pol.AllowPadding(use, p.PaddingMethod); err != nil || p.PaddingMethod != kmip.PaddingMethodOAEP {
		return err
	}
	return pol.AllowHash(use, cmp0(p.HashingAlgorithm, kmip.HashingAlgorithmSHA1))
}

// allowWrapping asks about a key under a wrapping key: strength and Suite B column.
func (s *Store) allowWrapping(call *kmip.Call, w *wrapKey, a kmip.CryptographicAlgorithm, bits int) error {
	pol := s.policyOf(call)
	weaker, err := pol.AllowWrapping(w.algorithm(), w.length(), a, bits)
	if weaker && err == nil {
		s.log.Warn().Str("uid", w.UID).Str("client", call.Caller.Client).Str("policy", pol.Name()).Stringer("algorithm", a).Int("bits", bits).
			Msg("the wrapping key is weaker than the key")
	}
	return err
}

// allowDerivation asks about a derivation before any work: the method, the base key, and the numbers of PBKDF2
// (NIST SP 800-132). A password is measured by its octets.
func (s *Store) allowDerivation(call *kmip.Call, req *kmip.DeriveKeyRequest, bases []object, bits int) error {
	pol := s.policyOf(call)
	if err := pol.AllowDerivation(req.DerivationMethod); err != nil {
		return err
	}
	l, p := pol.Limits(), &req.DerivationParameters
	if bits < l.OutputBits {
		return pol.Refuse(kmip.ResultReasonInvalidField, "Cryptographic Length of a derived key must be at least %d", l.OutputBits)
	}
	pbkdf := req.DerivationMethod == kmip.DerivationMethodPBKDF2
	if pbkdf {
		switch {
		case len(p.Salt) < l.Salt:
			return pol.Refuse(kmip.ResultReasonInvalidField, "Salt must have at least %d octets", l.Salt)
		case p.IterationCount != nil && int(*p.IterationCount) < l.Iterations:
			return pol.Refuse(kmip.ResultReasonInvalidField, "Iteration Count must be at least %d", l.Iterations)
		}
	}
	for i, b := range bases {
		switch {
		case b.algorithm() != 0 && b.ObjectType != kmip.ObjectTypePublicKey && b.ObjectType != kmip.ObjectTypePrivateKey:
			if err := s.allowKey(call, fips.Derive, b); err != nil {
				return err
			}
		case pbkdf && b.ValueBits < 8*l.Password:
			return pol.Refuse(kmip.ResultReasonInvalidField, "the password must have at least %d octets", l.Password)
		case !pbkdf && i == 0 && len(bases) == 1 && b.ObjectType == kmip.ObjectTypeSecretData && b.ValueBits < l.DeriveBits:
			return pol.Refuse(kmip.ResultReasonInvalidField, "the object to derive from must have at least %d bits", l.DeriveBits)
		}
	}
	return nil
}

// allowParameters asks about an instance of Cryptographic Parameters that is set on an object: whatever no use of the
// policy allows is refused when it is set rather than when it is used.
func allowParameters(pol *fips.Policy, v ttlv.Item) error {
	p := new(kmip.CryptographicParameters)
	if err := p.Decode(v); err != nil {
		return err
	}
	some := func(ask func(fips.Use) error) error {
		var first error
		for _, use := range []fips.Use{fips.Encrypt, fips.Decrypt, fips.Wrap, fips.Unwrap, fips.Sign, fips.Verify, fips.MAC, fips.MACVerify, fips.Derive, fips.Digest} {
			err := ask(use)
			if err == nil {
				return nil
			}
			if first == nil {
				first = err
			}
		}
		return first
	}
	var errs []error
	if v := p.BlockCipherMode; v != 0 {
		errs = append(errs, some(func(u fips.Use) error { return pol.AllowMode(u, v) }))
	}
	if v := p.PaddingMethod; v != 0 {
		errs = append(errs, some(func(u fips.Use) error { return pol.AllowPadding(u, v) }))
	}
	for _, v := range []kmip.HashingAlgorithm{p.HashingAlgorithm, p.MaskGeneratorHashingAlgorithm} {
		if v != 0 {
			errs = append(errs, some(func(u fips.Use) error { return pol.AllowHash(u, v) }))
		}
	}
	if v := p.DigitalSignatureAlgorithm; v != 0 {
		errs = append(errs, some(func(u fips.Use) error { return pol.AllowSignature(u, v) }))
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
