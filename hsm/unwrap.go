package hsm

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"

	p11 "github.com/miekg/pkcs11"

	"kmipd/hsm/internal/oaep"
)

// Unwrap implements Token.
//
// A first unwrapping goes to a session object: a blob that does not unwrap, or not to the key announced, never becomes a
// token object. The true length of an AES key follows without its value. That of a generic secret or a DES3 key in KWP
// or RSA does not on tokens that fill values with zeros when they wrap: the session object is then exported through the
// transport key and wiped, which is the only time its plain value is in the server's memory. OAEP with a hash that the
// token does not know is composed: see Wrap.
func (d *device) Unwrap(ctx context.Context, unwrapping Ref, how WrapSpec, wrapped []byte, class Class, spec KeySpec) (out SecretOutcome, err error) {
	if err := checkTarget(class, spec); err != nil {
		return out, err
	}
	err = d.run(ctx, false, func(w *work) error {
		key, err := w.unwrapper(unwrapping, how, wrapped)
		if err != nil {
			return err
		}
		if w.composed(how) {
			out, err = w.unwrapComposed(key, wrapped, class, spec)
		} else {
			out, err = w.unwrapOnToken(key, wrapped, class, spec)
		}
		return err
	})
	return out, err
}

// checkTarget refuses what can never be the result. A secret's length may be unknown.
func checkTarget(class Class, spec KeySpec) error {
	if class != ClassSecretKey && class != ClassPrivateKey {
		return refuse(KindInvalidKey, "only secret and private keys are unwrapped")
	}
	if class == ClassSecretKey && spec.Bits == 0 {
		switch spec.Type {
		case KeyAES, KeyGeneric, KeyDES3:
			return nil
		}
	}
	return spec.Check(class)
}

func (w *work) unwrapper(ref Ref, how WrapSpec, wrapped []byte) (wrapper, error) {
	key, err := w.wrapper(ref, how, true)
	if err != nil {
		return wrapper{}, err
	}
	return key, how.CheckWrapped(len(wrapped), key.facts.modulus)
}

func (w *work) unwrapOnToken(key wrapper, wrapped []byte, class Class, spec KeySpec) (out SecretOutcome, err error) {
	mech := w.mechanism(key.how)
	if class == ClassSecretKey {
		out.Bytes, err = w.tryType(key, wrapped, spec)
	} else {
		err = w.tryPrivate(key, wrapped, spec)
	}
	if err != nil {
		return out, err
	}
	return out, w.create(spec, Ref{class, spec.ID}, func(w *work) (handle, error) {
		return w.p11.unwrapKey(w.s, mech, key.handle, wrapped, keyTemplate(class, spec, true))
	})
}

// tryType unwraps a secret to a session object and returns its length if it is the key announced.
func (w *work) tryType(key wrapper, wrapped []byte, spec KeySpec) (n int, err error) {
	trial := KeySpec{Type: spec.Type, Extractable: true, Usage: UsageEncrypt}
	h, err := w.temp(w.p11.unwrapKey(w.s, w.mechanism(key.how), key.handle, wrapped, keyTemplate(ClassSecretKey, trial, false)))
	if hasCode(err, p11.CKR_KEY_SIZE_RANGE) {
		return 0, refuse(KindInvalidData, "the unwrapped value has no length of a key of that type")
	}
	if err != nil {
		return 0, err
	}
	switch {
	case key.how.Mechanism == WrapAESKW:
		n = len(wrapped) - 8
	case spec.Type == KeyAES:
		n, err = w.aesLength(h)
	default:
		n, err = w.length(h)
	}
	if err != nil {
		return 0, err
	}
	return n, spec.CheckUnwrapped(n)
}

// aesLength is the length of an AES session key, without its value: a key that encrypts has 16, 24 or 32 octets, and the
// length of its wrapping tells which. SoftHSM unwraps any number of octets to an AES key and fails when it is used.
func (w *work) aesLength(h handle) (int, error) {
	var block, out [16]byte
	if _, err := w.p11.crypt(w.s, false, p11.CKM_AES_ECB, h, block[:], out[:]); err != nil {
		if f := fateOf(err); f == fateDoor || f == fateDevice {
			return 0, err
		}
		w.discard = true
		return 0, refuse(KindInvalidData, "the unwrapped value is no AES key")
	}
	key, err := w.useTransport()
	if err != nil {
		return 0, err
	}
	blob, err := w.p11.wrapKey(w.s, mechanism{code: w.traits.out.code}, key.handle, h, 0)
	if err != nil {
		return 0, err
	}
	if w.traits.out.kind == formatPKCS7 {
		return len(blob) - 16, nil
	}
	return len(blob) - 8, nil
}

// length is the length of any session secret.
func (w *work) length(h handle) (int, error) {
	value, err := w.exact(h)
	clear(value)
	return len(value), err
}

// exact is the value of a session secret of unknown length. Where the token fills values with zeros, the last up to
// seven zeros are its own or not: the digest of the key, computed on the token, decides.
func (w *work) exact(h handle) ([]byte, error) {
	value, err := w.exportRaw(h, 0)
	if err != nil || !w.traits.pads || len(value) == 0 || value[len(value)-1] != 0 {
		return value, err
	}
	if w.info.Capabilities.DigestKey {
		sum, err := w.p11.digestKey(w.s, h)
		if err != nil {
			clear(value)
			return nil, err
		}
		for n := len(value); n >= max(1, len(value)-7) && allZero(value[n:]); n-- {
			if got := sha256.Sum256(value[:n]); subtle.ConstantTimeCompare(got[:], sum) == 1 {
				return value[:n:n], nil
			}
		}
	}
	clear(value)
	return nil, refuse(KindUnsupported, "the token does not tell the length of the unwrapped value")
}

// tryPrivate unwraps a private key to a session object and verifies its type and size.
func (w *work) tryPrivate(key wrapper, wrapped []byte, spec KeySpec) error {
	trial := KeySpec{Type: spec.Type}
	h, err := w.temp(w.p11.unwrapKey(w.s, w.mechanism(key.how), key.handle, wrapped, keyTemplate(ClassPrivateKey, trial, false)))
	if err != nil {
		return err
	}
	ok := false
	if spec.Type == KeyRSA {
		n, err := w.p11.attribute(w.s, h, p11.CKA_MODULUS)
		if err != nil {
			return err
		}
		ok = len(n) == spec.Bits/8 && n[0]&0x80 != 0
	} else {
		v, err := w.p11.attributes(w.s, h, p11.CKA_EC_PARAMS)
		if err != nil {
			return err
		}
		ok = curveOfDER(v[0]) == spec.Curve
	}
	if !ok {
		return refuse(KindInvalidData, "the unwrapped private key is of another type or size")
	}
	return nil
}

func (w *work) unwrapComposed(key wrapper, wrapped []byte, class Class, spec KeySpec) (out SecretOutcome, err error) {
	if w.cfg.RefuseComposed {
		return out, errComposed()
	}
	value, err := w.openOAEP(key, wrapped)
	if err != nil {
		return out, err
	}
	defer clear(value)
	if class == ClassSecretKey {
		out.Bytes = len(value)
		err = spec.CheckUnwrapped(len(value))
	} else {
		err = checkPKCS8(spec, value)
	}
	if err != nil {
		return out, err
	}
	return out, w.importKey(class, spec, value)
}

// openOAEP decrypts with raw RSA on the token and removes the padding here. The key's usage is to unwrap, so that raw RSA
// needs a session copy of it that may decrypt; the copy dies with this call.
func (w *work) openOAEP(key wrapper, wrapped []byte) ([]byte, error) {
	h, err := w.temp(w.p11.copyObject(w.s, key.handle, newTemplate(0).flag(p11.CKA_TOKEN, false).flag(p11.CKA_DECRYPT, true)))
	if err != nil {
		return nil, err
	}
	em, err := w.rawDecrypt(h, key.facts.modulus, wrapped)
	if err != nil {
		return nil, err
	}
	defer clear(em)
	value, err := oaep.Decode(newHash(key.how.Hash), em)
	if err != nil || len(value) == 0 {
		return nil, refuse(KindInvalidData, "the value does not unwrap")
	}
	return value, nil
}

// UnwrapBytes implements Token.
func (d *device) UnwrapBytes(ctx context.Context, unwrapping Ref, how WrapSpec, wrapped []byte) (value Material, err error) {
	err = d.run(ctx, true, func(w *work) error {
		key, err := w.unwrapper(unwrapping, how, wrapped)
		if err != nil {
			return err
		}
		if w.composed(how) {
			value, err = w.openOAEP(key, wrapped)
			return err
		}
		t := keyTemplate(ClassSecretKey, KeySpec{Type: KeyGeneric, Extractable: true}, false)
		h, err := w.temp(w.p11.unwrapKey(w.s, w.mechanism(how), key.handle, wrapped, t))
		if err != nil {
			return err
		}
		if how.Mechanism == WrapAESKW {
			value, err = w.exportSecret(h, len(wrapped)-8)
		} else {
			value, err = w.exact(h)
		}
		return err
	})
	return value, err
}
