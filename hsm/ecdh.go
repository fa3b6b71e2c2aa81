package hsm

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/asn1"
	"slices"

	p11 "github.com/miekg/pkcs11"
)

// ECDH implements Crypto: the token derives an extractable session secret, which is read through the transport key.
func (d *device) ECDH(ctx context.Context, key Ref, peer []byte) (secret Material, err error) {
	err = d.run(ctx, true, func(w *work) error {
		k, err := w.usable(key)
		if err != nil {
			return err
		}
		point, err := CheckECDH(key.Class, k.facts.kind, k.facts.curve, peer)
		if err != nil {
			return err
		}
		if err := k.may(UsageDerive); err != nil {
			return err
		}
		if !slices.Contains(w.info.Capabilities.ECDH, k.facts.curve) {
			return refuse(KindUnsupported, "the token cannot do ECDH on this curve")
		}
		secret, err = w.agreeECDH(k.handle, k.facts.curve, point)
		return err
	})
	return secret, err
}

// CheckECDH says whether a key can agree with a peer's SubjectPublicKeyInfo, and returns the peer's point. A point that is
// not on the curve never reaches a token: it would give the private key away, bit by bit.
func CheckECDH(class Class, kind KeyType, curve Curve, peer []byte) (point []byte, err error) {
	if class != ClassPrivateKey || kind != KeyEC {
		return nil, refuse(KindInvalidKey, "ECDH needs a private EC key")
	}
	bad := refuse(KindInvalidData, "not a public key on the curve of the private key")
	parsed, err := x509.ParsePKIXPublicKey(peer)
	if err != nil {
		return nil, bad
	}
	public, ok := parsed.(*ecdsa.PublicKey)
	if !ok || curve == 0 || public.Curve != curves[curve].curve {
		return nil, bad
	}
	if point, err = public.Bytes(); err != nil {
		return nil, bad
	}
	return point, nil
}

// agreeECDH tries the point bare and as a DER OCTET STRING, like device.derive.
func (w *work) agreeECDH(private handle, curve Curve, point []byte) ([]byte, error) {
	n := curve.OrderOctets() // the fields of these curves are as long as their orders
	t := keyTemplate(ClassSecretKey, KeySpec{Type: KeyGeneric, Extractable: true}, false).number(p11.CKA_VALUE_LEN, uint(n))
	h, err := w.temp(w.p11.ecdh(w.s, private, point, t))
	if err != nil && fateOf(err) < fateStale {
		der, bad := asn1.Marshal(point)
		if bad != nil {
			return nil, err
		}
		h, err = w.temp(w.p11.ecdh(w.s, private, der, t))
	}
	if err != nil {
		return nil, err
	}
	return w.exportSecret(h, n)
}

// PublicKey implements Crypto.
func (d *device) PublicKey(ctx context.Context, key Ref) (spki []byte, err error) {
	if key.Class != ClassPublicKey {
		return nil, refuse(KindInvalidKey, "not a public key")
	}
	err = d.run(ctx, true, func(w *work) error {
		h, err := w.find(key)
		if err != nil {
			return err
		}
		spki, err = w.readSPKI(h)
		return err
	})
	return spki, err
}
