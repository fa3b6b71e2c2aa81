package hsm

import (
	"context"
	"slices"

	p11 "github.com/miekg/pkcs11"

	"kmipd/hsm/internal/oaep"
)

// rawRSA is RSA without padding.
var rawRSA = mechanism{code: p11.CKM_RSA_X_509}

// RSAEncrypt implements Crypto.
func (d *device) RSAEncrypt(ctx context.Context, key Ref, spec RSACipherSpec, data []byte) (out []byte, err error) {
	err = d.run(ctx, true, func(w *work) error {
		k, err := w.rsaKey(key, spec, len(data), false)
		if err != nil {
			return err
		}
		mech, plain := spec.mechanism(), data
		if spec.composed(w.info.Capabilities) {
			if plain, err = w.encodeOAEP(k, spec, data); err != nil {
				return err
			}
			defer clear(plain)
			mech = rawRSA
		}
		out, err = w.p11.encrypt(w.s, false, mech, gcm{}, k.handle, plain, make([]byte, k.facts.modulus+64))
		if err == nil && len(out) != k.facts.modulus {
			err = refuse(KindInternal, "the token's result has an unexpected length")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// RSADecrypt implements Crypto. Which check of a padding failed is not told, but a token's PKCS #1 v1.5 takes its own time:
// whoever may decrypt with it can be a padding oracle (RFC 8017 section 7.2).
func (d *device) RSADecrypt(ctx context.Context, key Ref, spec RSACipherSpec, data []byte) (out Material, err error) {
	err = d.run(ctx, true, func(w *work) error {
		k, err := w.rsaKey(key, spec, len(data), true)
		if err != nil {
			return err
		}
		if !spec.composed(w.info.Capabilities) {
			room := make([]byte, k.facts.modulus+64)
			if out, err = w.p11.encrypt(w.s, true, spec.mechanism(), gcm{}, k.handle, data, room); err != nil {
				clear(room) // a token may have written before it failed
			}
			return err
		}
		em, err := w.rawDecrypt(k.handle, k.facts.modulus, data)
		if err != nil {
			return err
		}
		defer clear(em)
		if out, err = spec.scheme().Decode(em); err != nil {
			return refuse(KindInvalidData, "the data does not decrypt")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// rsaKey is a key that has been checked against the encryption scheme.
func (w *work) rsaKey(ref Ref, spec RSACipherSpec, n int, decrypt bool) (usable, error) {
	key, err := w.usable(ref)
	if err != nil {
		return usable{}, err
	}
	if err := spec.Check(ref.Class, key.facts.kind, key.facts.modulus, n, decrypt); err != nil {
		return usable{}, err
	}
	usage := UsageEncrypt
	if decrypt {
		usage = UsageDecrypt
	}
	if err := key.may(usage); err != nil {
		return usable{}, err
	}
	if !w.info.Capabilities.rsa(spec) {
		return usable{}, refuse(KindUnsupported, "the token cannot do this RSA encryption")
	}
	return key, nil
}

func (c Capabilities) rsa(spec RSACipherSpec) bool {
	if !spec.OAEP {
		return c.PKCS1v15Encrypt
	}
	return !spec.composed(c) || slices.Contains(c.Composed, CompositionOAEP) && spec.Hash.usable() && spec.MGFHash.or(spec.Hash).usable()
}

// composed says whether the padding is made here: what the token alone does is one hash for both uses and no label.
func (s RSACipherSpec) composed(c Capabilities) bool {
	alone := s.MGFHash.or(s.Hash) == s.Hash && len(s.Label) == 0 && slices.Contains(c.OAEPEncrypt, s.Hash)
	return s.OAEP && !alone
}

func (s RSACipherSpec) scheme() oaep.Scheme {
	return oaep.Scheme{Hash: s.Hash.new, MGF: s.MGFHash.or(s.Hash).new, Label: s.Label}
}

// mechanism is what the token does alone.
func (s RSACipherSpec) mechanism() mechanism {
	if !s.OAEP {
		return mechanism{code: p11.CKM_RSA_PKCS}
	}
	return oaepMechanism(s.Hash)
}

// encodeOAEP pads with a seed from the token's random number generator.
func (w *work) encodeOAEP(key usable, spec RSACipherSpec, data []byte) ([]byte, error) {
	seed := make([]byte, spec.Hash.Size())
	if err := w.p11.random(w.s, seed); err != nil {
		return nil, err
	}
	em, err := spec.scheme().Encode(data, seed, key.facts.modulus)
	if err != nil {
		return nil, refuse(KindInvalidData, "the length of the data")
	}
	return em, nil
}

// rawDecrypt is RSA without padding on the token, for a modulus of k octets. Its caller wipes the result.
func (w *work) rawDecrypt(private handle, k int, data []byte) ([]byte, error) {
	room := make([]byte, k+64)
	got, err := w.p11.encrypt(w.s, true, rawRSA, gcm{}, private, data, room)
	if err != nil || len(got) > k {
		clear(room)
		if err == nil {
			err = refuse(KindInternal, "the token's result has an unexpected length")
		}
		return nil, err
	}
	em := room[:k]
	if n := len(got); n < k { // some tokens drop leading zeros
		copy(em[k-n:], got)
		clear(em[:k-n])
	}
	return em, nil
}
