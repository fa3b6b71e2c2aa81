package hsm

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"

	p11 "github.com/miekg/pkcs11"
)

// Export implements Token.
func (d *device) Export(ctx context.Context, ref Ref, bits int) (value Material, err error) {
	if ref.Class == ClassSecretKey && (bits < 8 || bits%8 != 0 || bits > 8*MaxSecretOctets) {
		bits = 0 // an object that is not there is still the better answer
	}
	err = d.run(ctx, true, func(w *work) error {
		h, err := w.find(ref)
		if err != nil {
			return err
		}
		value, err = w.read(ref, h, bits)
		return err
	})
	if err != nil {
		return nil, err
	}
	return value, nil
}

func (w *work) read(ref Ref, h handle, bits int) ([]byte, error) {
	switch ref.Class {
	case ClassPublicKey:
		return w.readSPKI(h)
	case ClassCertificate, ClassData:
		return w.p11.attribute(w.s, h, p11.CKA_VALUE)
	}
	if err := w.extractable(ref, h); err != nil {
		return nil, err
	}
	if ref.Class == ClassPrivateKey {
		return w.exportPrivate(h)
	}
	if bits == 0 {
		return nil, refuse(KindInvalidData, "the recorded length of a secret key")
	}
	return w.exportSecret(h, bits/8)
}

// extractable asks the record of the key, since some tokens (NSS) wrap keys that are not extractable.
func (w *work) extractable(ref Ref, h handle) error {
	facts, err := w.facts(ref, h)
	if err != nil {
		return err
	}
	if !facts.extractable {
		return &Error{Kind: KindNotExtractable, Call: "check", Text: "the key is not extractable"}
	}
	return nil
}

// facts reads what decides about a key's use, once.
func (w *work) facts(ref Ref, h handle) (keyFacts, error) {
	e, ok := w.objects.get(ref)
	if ok && e.handle == h && e.facts != nil {
		return *e.facts, nil
	}
	flags := usageFlags[ref.Class]
	kinds := []uint{p11.CKA_KEY_TYPE, p11.CKA_EXTRACTABLE, p11.CKA_EC_PARAMS}
	for _, f := range flags {
		kinds = append(kinds, f.kind)
	}
	v, err := w.p11.attributes(w.s, h, kinds...)
	if hasCode(err, p11.CKR_ATTRIBUTE_VALUE_INVALID) {
		// No value was given that could be invalid. SoftHSM answers so when it finds an object in no shape to be read, because
		// another one is changing: as with a handle that it loses for an instant, the next look helps.
		err = &Error{Kind: KindUnavailable, Call: "C_GetAttributeValue", Code: p11.CKR_OBJECT_HANDLE_INVALID}
	}
	if err != nil {
		return keyFacts{}, err
	}
	facts := keyFacts{extractable: isFlag(v[1], true), curve: curveOfDER(v[2])}
	for i, f := range flags {
		if isFlag(v[3+i], true) {
			facts.usage |= f.usage
		}
	}
	facts.wrap, facts.unwrap = facts.usage&UsageWrap != 0, facts.usage&UsageUnwrap != 0
	for kind, code := range keyTypeCodes {
		if isNumber(v[0], code) {
			facts.kind = kind
		}
	}
	if facts.kind == KeyRSA {
		n, err := w.p11.attribute(w.s, h, p11.CKA_MODULUS)
		if err != nil {
			return keyFacts{}, err
		}
		facts.modulus = len(n)
	}
	w.objects.put(ref, entry{handle: h, facts: &facts})
	return facts, nil
}

// exportRaw takes a key out through the transport key, with whatever the token appends.
func (w *work) exportRaw(h handle, room int) ([]byte, error) {
	key, err := w.useTransport()
	if err != nil {
		return nil, err
	}
	blob, err := w.p11.wrapKey(w.s, mechanism{code: w.traits.out.code}, key.handle, h, room+64)
	if err != nil {
		return nil, err
	}
	value, err := w.traits.out.open(key.value[:], blob)
	if err != nil {
		return nil, refuse(KindInternal, "the token's wrapped key does not unwrap")
	}
	return value, nil
}

// exportSecret takes a secret key of n octets out. SoftHSM fills it with zeros to a multiple of 8.
func (w *work) exportSecret(h handle, n int) ([]byte, error) {
	value, err := w.exportRaw(h, n)
	if err != nil {
		return nil, err
	}
	if n > len(value) || n+8 <= len(value) || !allZero(value[n:]) {
		clear(value)
		return nil, refuse(KindInternal, "the recorded length is not the token's")
	}
	return value[:n:n], nil
}

// exportPrivate takes a private key out as PKCS#8.
func (w *work) exportPrivate(h handle) ([]byte, error) {
	value, err := w.exportRaw(h, 0)
	if err != nil {
		return nil, err
	}
	der, err := trimDER(value)
	if err != nil {
		clear(value)
	}
	return der, err
}

// readSPKI is a public key object as SubjectPublicKeyInfo.
func (w *work) readSPKI(h handle) ([]byte, error) {
	v, err := w.p11.attributes(w.s, h, p11.CKA_KEY_TYPE, p11.CKA_EC_PARAMS, p11.CKA_EC_POINT)
	if err != nil {
		return nil, err
	}
	if len(v[0]) != ulongSize {
		return nil, refuse(KindInternal, "a public key without type")
	}
	switch uint(binary.NativeEndian.Uint64(v[0])) {
	case p11.CKK_EC:
		return ecSPKI(v[1], v[2])
	case p11.CKK_RSA:
		key, err := w.readRSA(h)
		if err != nil {
			return nil, err
		}
		return x509.MarshalPKIXPublicKey(key)
	}
	return nil, refuse(KindUnsupported, "the type of a public key")
}

func (w *work) readRSA(h handle) (*rsa.PublicKey, error) {
	n, err := w.p11.attribute(w.s, h, p11.CKA_MODULUS)
	if err != nil {
		return nil, err
	}
	e, err := w.p11.attribute(w.s, h, p11.CKA_PUBLIC_EXPONENT)
	if err != nil {
		return nil, err
	}
	return rsaKey(n, e)
}

// Digest implements Token.
func (d *device) Digest(ctx context.Context, ref Ref, bits int) (sum []byte, err error) {
	if ref.Class != ClassSecretKey {
		return nil, refuse(KindInvalidKey, "only secret keys are digested")
	}
	err = d.run(ctx, true, func(w *work) error {
		h, err := w.find(ref)
		if err != nil {
			return err
		}
		if w.info.Capabilities.DigestKey {
			sum, err = w.p11.digestKey(w.s, h)
			return err
		}
		value, err := w.read(ref, h, bits)
		if err != nil {
			return err
		}
		defer clear(value)
		h256 := sha256.Sum256(value)
		sum = h256[:]
		return nil
	})
	return sum, err
}
