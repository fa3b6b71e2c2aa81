package keystore

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"sync"

	"kmipd/fips"
	"kmipd/keystore/keyform"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// Group is what holds for the clients of a group beyond what holds for all.
type Group struct {
	// Policy must allow what the server's allows, too; nil adds nothing.
	Policy *fips.Policy
	// Release is how far material may leave; "" for what the server says.
	Release Release
}

// policies joins the server's policy with those of listeners and groups. Joint ones are made once.
type policies struct {
	mu    sync.Mutex
	joint map[policyKey]*fips.Policy
}

type policyKey struct{ listener, group string }

// policyOf is the policy for a call: what the server, the listener that it came in by and the client's group all allow.
func (s *Store) policyOf(call *kmip.Call) *fips.Policy {
	k := policyKey{call.Listener, s.clients.group(call.Caller.Client)}
	if k == (policyKey{}) {
		return s.policy
	}
	s.policies.mu.Lock()
	defer s.policies.mu.Unlock()
	if p := s.policies.joint[k]; p != nil {
		return p
	}
	p := s.policy
	if listener, ok := s.cfg.Listeners[k.listener]; ok {
		p = p.And(listener)
	} else if k.listener != "" {
		p = p.And(fips.Nothing("of no listener")) // a job of a listener that is gone
	}
	if group, ok := s.cfg.Groups[k.group]; ok {
		p = p.And(group.Policy)
	} else if k.group != "" {
		p = p.And(fips.Nothing("of no group"))
	}
	s.policies.joint[k] = p
	return p
}

// strictPolicy is a strict policy that holds anywhere: for the server, a listener or a group; nil when there is none. What all of
// them share is held to it.
func (s *Store) strictPolicy() *fips.Policy {
	if s.policy.Strict() {
		return s.policy
	}
	for _, p := range s.cfg.Listeners {
		if p != nil && p.Strict() {
			return p
		}
	}
	for _, g := range s.cfg.Groups {
		if g.Policy != nil && g.Policy.Strict() {
			return g.Policy
		}
	}
	return nil
}

// allowKey asks the policy about the use of an object's key: algorithm, length, curve and exponent, as they were found in
// the key itself and not as attributes say.
func (s *Store) allowKey(call *kmip.Call, use fips.Use, o object) error {
	pol := s.policyOf(call)
	facts, err := o.facts()
	if err != nil {
		return err
	}
	if err := allowed(pol, use, o.algorithm(), o.length(), facts.Curve); err != nil {
		return err
	}
	if facts.Irregular && pol.Limits().Exponents {
		return refuseExponent(pol, kmip.ResultReasonPermissionDenied)
	}
	if pol.LegacyUse(use, o.algorithm(), o.length()) {
		s.legacy.note(use)
		s.log.Warn().Str("uid", o.UID).Str("client", call.Caller.Client).Stringer("use", use).Str("policy", pol.Name()).Msg("legacy-use")
	}
	return nil
}

// facts are what the key itself tells; for keys on elliptic curves and RSA keys alone, as others have no more than algorithm
// and length.
func (o object) facts() (keyform.Facts, error) {
	if a := o.algorithm(); !ec(a) && a != kmip.CryptographicAlgorithmRSA {
		return keyform.Facts{}, nil
	}
	f, err := o.frame()
	if err != nil {
		return keyform.Facts{}, err
	}
	return f.facts, nil
}

// refuseExponent is the refusal of an RSA key for its public exponent (FIPS 186-5 section A.1.1).
func refuseExponent(pol *fips.Policy, reason kmip.ResultReason) error {
	return pol.Refuse(reason, "the Public Exponent of an RSA key must be odd, at least 65537 and less than 2^256")
}

// allowed asks a policy about algorithm, length and, for keys that have one, curve. A curve without a name is none that a
// strict policy allows.
func allowed(pol *fips.Policy, use fips.Use, a kmip.CryptographicAlgorithm, bits int, curve kmip.RecommendedCurve) error {
	if err := pol.Allow(use, a, bits); err != nil {
		return err
	}
	if ec(a) {
		return pol.AllowCurve(use, curve)
	}
	return nil
}

// allowObject asks the policy whether an object of this type may be made (Generate) or taken in (Import), with the
// Cryptographic Parameters that the client gives it.
func (s *Store) allowObject(call *kmip.Call, use fips.Use, o object) error {
	pol := s.policyOf(call)
	if err := pol.AllowObject(use, o.ObjectType); err != nil || !pol.Strict() {
		return err
	}
	for _, a := range o.Attributes {
		if a.Name == "Cryptographic Parameters" {
			if err := allowParameters(pol, a.Value); err != nil {
				return err
			}
		}
	}
	return nil
}

// allowAttribute asks the policy about an attribute that a client sets on an object that exists.
func (s *Store) allowAttribute(call *kmip.Call, o object, r *rule, v ttlv.Item) error {
	pol := s.policyOf(call)
	if !pol.Strict() {
		return nil
	}
	switch r.tag {
	case kmip.TagCryptographicParameters:
		return allowParameters(pol, v)
	case kmip.TagCryptographicUsageMask:
		a, bits := o.algorithm(), o.length()
		facts, err := o.facts()
		if err != nil {
			return err
		}
		state, _ := pol.StateOf(a, bits, facts.Curve, call.Now)
		if mask := kmip.CryptographicUsageMask(v.Int()); a != 0 && state != fips.Approved && mask&^processing&^o.usage() != 0 {
			return pol.Refuse(kmip.ResultReasonInvalidField, "Cryptographic Usage Mask must not let a %s key protect", state)
		}
	}
	return nil
}

// allowsPublic asks a policy about a public key of a certificate or of a request for one: Sign for a new certificate,
// Verify for one that exists.
func allowsPublic(pol *fips.Policy, use fips.Use, public crypto.PublicKey) error {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if pol.Limits().Exponents && (k.E < 65537 || k.E%2 == 0) {
			return refuseExponent(pol, kmip.ResultReasonInvalidField)
		}
		return pol.Allow(use, kmip.CryptographicAlgorithmRSA, k.N.BitLen())
	case *ecdsa.PublicKey:
		bits := k.Curve.Params().BitSize
		return allowed(pol, use, kmip.CryptographicAlgorithmEC, bits, curveOfBits(bits))
	case ed25519.PublicKey:
		return pol.Allow(use, kmip.CryptographicAlgorithmEd25519, 256)
	}
	return denied("a public key of this algorithm cannot be certified")
}

// curveOfBits: crypto/x509 knows one curve of each length.
func curveOfBits(bits int) kmip.RecommendedCurve {
	switch bits {
	case 224:
		return kmip.RecommendedCurveP224
	case 256:
		return kmip.RecommendedCurveP256
	case 384:
		return kmip.RecommendedCurveP384
	case 521:
		return kmip.RecommendedCurveP521
	}
	return 0
}

// x509Signatures are the KMIP names of the signatures that crypto/x509 knows.
var x509Signatures = map[x509.SignatureAlgorithm]kmip.DigitalSignatureAlgorithm{
	x509.SHA1WithRSA:      kmip.DigitalSignatureAlgorithmSHA1WithRSAEncryptionPKCS1V1_5,
	x509.SHA256WithRSA:    kmip.DigitalSignatureAlgorithmSHA256WithRSAEncryptionPKCS1V1_5,
	x509.SHA384WithRSA:    kmip.DigitalSignatureAlgorithmSHA384WithRSAEncryptionPKCS1V1_5,
	x509.SHA512WithRSA:    kmip.DigitalSignatureAlgorithmSHA512WithRSAEncryptionPKCS1V1_5,
	x509.SHA256WithRSAPSS: kmip.DigitalSignatureAlgorithmRSASSAPSSPKCS1V2_1,
	x509.SHA384WithRSAPSS: kmip.DigitalSignatureAlgorithmRSASSAPSSPKCS1V2_1,
	x509.SHA512WithRSAPSS: kmip.DigitalSignatureAlgorithmRSASSAPSSPKCS1V2_1,
	x509.ECDSAWithSHA1:    kmip.DigitalSignatureAlgorithmECDSAWithSHA1,
	x509.ECDSAWithSHA256:  kmip.DigitalSignatureAlgorithmECDSAWithSHA256,
	x509.ECDSAWithSHA384:  kmip.DigitalSignatureAlgorithmECDSAWithSHA384,
	x509.ECDSAWithSHA512:  kmip.DigitalSignatureAlgorithmECDSAWithSHA512,
}

// allowsSigned asks a policy about the signature on a certificate, a request for one or a revocation list. Ed25519 has no
// KMIP name: its key decides.
func allowsSigned(pol *fips.Policy, use fips.Use, a x509.SignatureAlgorithm) error {
	h, ok := signatureHashes[a]
	if !ok {
		return badField("the signature algorithm is not supported")
	}
	relied := use
	if use == fips.Import {
		relied = fips.Verify // hashes are not kept
	}
	if err := pol.AllowHash(relied, h); err != nil {
		return err
	}
	if a == x509.PureEd25519 {
		return pol.Allow(use, kmip.CryptographicAlgorithmEd25519, 256)
	}
	return pol.AllowSignature(use, x509Signatures[a])
}

// allowsOwn asks a policy about a signature and the key that made it: hash and curve of ECDSA belong together.
func allowsOwn(pol *fips.Policy, use fips.Use, a x509.SignatureAlgorithm, signer crypto.PublicKey) error {
	if err := allowsSigned(pol, use, a); err != nil {
		return err
	}
	if k, ok := signer.(*ecdsa.PublicKey); ok {
		return pol.AllowPair(use, k.Curve.Params().BitSize, signatureHashes[a])
	}
	return nil
}
