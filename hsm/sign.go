package hsm

import (
	"context"
	"encoding/binary"
	"slices"

	p11 "github.com/miekg/pkcs11"

	"kmipd/hsm/internal/pss"
)

// Sign implements Crypto.
func (d *device) Sign(ctx context.Context, key Ref, spec SignSpec, digest []byte) (sig []byte, err error) {
	err = d.run(ctx, true, func(w *work) error {
		k, err := w.signer(key, ClassPrivateKey, UsageSign, spec, len(digest))
		if err != nil {
			return err
		}
		sig, err = w.sign(k, spec, digest)
		return err
	})
	return sig, err
}

// sign signs with a key that may.
func (w *work) sign(k usable, spec SignSpec, digest []byte) ([]byte, error) {
	if err := spec.Check(k.facts.kind, k.facts.modulus, len(digest)); err != nil {
		return nil, err
	}
	if !w.info.Capabilities.signs(spec, k.facts.curve) {
		return nil, refuse(KindUnsupported, "the token cannot do this signature scheme")
	}
	if spec.composed(w.info.Capabilities) {
		return w.signComposed(k, spec, digest)
	}
	mech, data := spec.mechanism(k.facts.curve, digest)
	return w.signature(k, mech, data)
}

// signer is a key that has been checked against the scheme.
func (w *work) signer(ref Ref, class Class, usage Usage, spec SignSpec, digest int) (usable, error) {
	if ref.Class != class {
		return usable{}, refuse(KindInvalidKey, "a private key signs and a public key verifies")
	}
	key, err := w.usable(ref)
	if err != nil {
		return usable{}, err
	}
	if err := spec.Check(key.facts.kind, key.facts.modulus, digest); err != nil {
		return usable{}, err
	}
	return key, key.may(usage)
}

func (c Capabilities) signs(spec SignSpec, curve Curve) bool {
	switch spec.Scheme {
	case SignRSAPKCS1v15:
		return c.PKCS1v15Sign
	case SignECDSA:
		return slices.Contains(c.ECDSA, curve)
	default: // PSS
	}
	return !spec.composed(c) || slices.Contains(c.Composed, CompositionPSS) && spec.Hash.usable() && spec.MGFHash.or(spec.Hash).usable()
}

// composed says whether the padding is made here: tokens (SoftHSM) know PSS with the same hash for MGF1 only.
func (s SignSpec) composed(c Capabilities) bool {
	return s.Scheme == SignRSAPSS && (s.MGFHash.or(s.Hash) != s.Hash || !slices.Contains(c.PSS, s.Hash))
}

// mechanism is the PKCS#11 mechanism for a scheme that the token does alone, and what it signs. The combined mechanisms
// (CKM_SHA256_RSA_PKCS and so on) are not on every token, and take the message instead of the digest.
func (s SignSpec) mechanism(curve Curve, digest []byte) (mechanism, []byte) {
	switch s.Scheme {
	case SignECDSA:
		// FIPS 186-5 section 6.4.1: the leftmost bits of the digest as many as the order has. Whole octets are cut here;
		// the last 7 bits of 66 octets on P-521 are the token's to drop.
		return mechanism{code: p11.CKM_ECDSA}, digest[:min(len(digest), curve.OrderOctets())]
	case SignRSAPSS:
		var param []byte // CK_RSA_PKCS_PSS_PARAMS
		for _, n := range []uint{hashCodes[s.Hash].digest, hashCodes[s.MGFHash.or(s.Hash)].mgf, uint(s.Salt)} {
			param = binary.NativeEndian.AppendUint64(param, uint64(n))
		}
		return mechanism{code: p11.CKM_RSA_PKCS_PSS, param: param}, digest
	default: // PKCS #1 v1.5
	}
	return mechanism{code: p11.CKM_RSA_PKCS}, slices.Concat(digestInfo[s.Hash], digest)
}

// signatureOctets is the length of a signature of the key.
func (k usable) signatureOctets() int {
	if k.facts.kind == KeyEC {
		return 2 * k.facts.curve.OrderOctets()
	}
	return k.facts.modulus
}

// signature is one C_Sign.
func (w *work) signature(key usable, mech mechanism, data []byte) ([]byte, error) {
	want := key.signatureOctets()
	sig, err := w.p11.sign(w.s, mech, key.handle, data, make([]byte, want+64))
	if err != nil {
		return nil, err
	}
	if len(sig) != want {
		return nil, refuse(KindInternal, "the token's signature has an unexpected length")
	}
	return sig, nil
}

// signComposed is PSS with the encoding made here (RFC 8017 section 9.1.1), the salt drawn by the token, and raw RSA.
func (w *work) signComposed(key usable, spec SignSpec, digest []byte) ([]byte, error) {
	salt := make([]byte, spec.Salt)
	if len(salt) > 0 {
		if err := w.p11.random(w.s, salt); err != nil {
			return nil, err
		}
	}
	em := pss.Encode(spec.Hash.new, spec.MGFHash.or(spec.Hash).new, digest, salt, key.facts.modulus)
	return w.signature(key, rawRSA, em)
}

// Verify implements Crypto.
func (d *device) Verify(ctx context.Context, key Ref, spec SignSpec, digest, signature []byte) (valid bool, err error) {
	err = d.run(ctx, true, func(w *work) error {
		k, err := w.signer(key, ClassPublicKey, UsageVerify, spec, len(digest))
		if err != nil {
			return err
		}
		if !w.info.Capabilities.signs(spec, k.facts.curve) {
			return refuse(KindUnsupported, "the token cannot do this signature scheme")
		}
		if len(signature) != k.signatureOctets() {
			return nil
		}
		if spec.composed(w.info.Capabilities) {
			valid, err = w.verifyComposed(k, spec, digest, signature)
			return err
		}
		mech, data := spec.mechanism(k.facts.curve, digest)
		valid, err = w.valid(k, mech, data, signature)
		return err
	})
	return valid && err == nil, err
}

// valid is one C_Verify. A general error of a token that is still there is its word for a signature that it cannot make
// sense of (tokens.md section 9, rule 20).
func (w *work) valid(key usable, mech mechanism, data, sig []byte) (bool, error) {
	ok, err := w.p11.verify(w.s, mech, key.handle, data, sig)
	if hasCode(err, p11.CKR_GENERAL_ERROR) || hasCode(err, p11.CKR_FUNCTION_FAILED) || hasCode(err, p11.CKR_DATA_INVALID) {
		if w.p11.loggedIn(w.s) == nil {
			w.note(err, "a signature was not valid")
			return false, nil
		}
	}
	return ok, err
}

// verifyComposed does the public operation here: nothing about it is secret.
func (w *work) verifyComposed(key usable, spec SignSpec, digest, sig []byte) (bool, error) {
	public, err := w.readRSA(key.handle)
	if err != nil {
		return false, err
	}
	return pss.Verify(spec.Hash.new, spec.MGFHash.or(spec.Hash).new, public, digest, sig, spec.Salt), nil
}
