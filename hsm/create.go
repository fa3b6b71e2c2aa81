package hsm

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"

	p11 "github.com/miekg/pkcs11"
)

// GenerateKey implements Token.
func (d *device) GenerateKey(ctx context.Context, spec KeySpec) error {
	if err := spec.Check(ClassSecretKey); err != nil {
		return err
	}
	ref := Ref{ClassSecretKey, spec.ID}
	return d.create(ctx, spec, ref, func(w *work) (handle, error) {
		t := keyTemplate(ClassSecretKey, spec, true)
		h, err := w.p11.generateKey(w.s, secretGenerator(spec, t), t)
		if err != nil {
			return 0, err
		}
		if err := w.verifyLength(h, spec); err != nil {
			w.discardObject(h)
			return 0, err
		}
		return h, nil
	})
}

// secretGenerator is the mechanism that makes a secret key; it adds the length to the template where that has to be.
func secretGenerator(spec KeySpec, t *template) mechanism {
	switch spec.Type {
	case KeyDES3:
		return mechanism{code: p11.CKM_DES3_KEY_GEN}
	case KeyAES:
		t.number(p11.CKA_VALUE_LEN, uint(spec.Bits/8))
		return mechanism{code: p11.CKM_AES_KEY_GEN}
	}
	t.number(p11.CKA_VALUE_LEN, uint(spec.Bits/8))
	return mechanism{code: p11.CKM_GENERIC_SECRET_KEY_GEN}
}

// create makes one persistent object with the mutation lock held, verifies it, and puts it in the cache. When it fails
// nothing remains.
func (d *device) create(ctx context.Context, spec KeySpec, ref Ref, make func(*work) (handle, error)) error {
	return d.run(ctx, false, func(w *work) error { return w.create(spec, ref, make) })
}

func (w *work) create(spec KeySpec, ref Ref, make func(*work) (handle, error)) error {
	if err := w.lock(true); err != nil {
		return err
	}
	if err := w.vacant(ref); err != nil {
		return err
	}
	h, err := make(w)
	if err != nil {
		w.sweep(err, ref)
		return err
	}
	w.effect = true
	if err := w.verify(h, ref.Class, spec); err != nil {
		w.discardObject(h)
		return err
	}
	w.objects.put(ref, entry{handle: h})
	return nil
}

// verify refuses an object whose token ignored the template: some do so with CKA_SENSITIVE and CKA_EXTRACTABLE.
func (w *work) verify(h handle, class Class, spec KeySpec) error {
	if w.cfg.SkipAttributeCheck || class == ClassCertificate || class == ClassData {
		return nil
	}
	v, err := w.p11.attributes(w.s, h, p11.CKA_KEY_TYPE, p11.CKA_PRIVATE, p11.CKA_SENSITIVE, p11.CKA_EXTRACTABLE)
	if err != nil {
		return err
	}
	ok := isNumber(v[0], keyTypeCodes[spec.Type])
	if class != ClassPublicKey {
		ok = ok && isFlag(v[1], true) && isFlag(v[2], true) && isFlag(v[3], spec.Extractable)
	}
	if !ok {
		return refuse(KindUnsupported, "the token ignored CKA_PRIVATE, CKA_SENSITIVE, CKA_EXTRACTABLE or CKA_KEY_TYPE")
	}
	return nil
}

// verifyLength refuses a secret key that the token made shorter or longer than it was told to.
func (w *work) verifyLength(h handle, spec KeySpec) error {
	if w.cfg.SkipAttributeCheck || spec.Type == KeyDES3 { // a DES3 key has one length and no CKA_VALUE_LEN
		return nil
	}
	v, err := w.p11.attributes(w.s, h, p11.CKA_VALUE_LEN)
	if err != nil {
		return err
	}
	if !isNumber(v[0], uint(spec.Bits/8)) {
		return refuse(KindUnsupported, "the token made a key of another length (CKA_VALUE_LEN)")
	}
	return nil
}

func isFlag(value []byte, want bool) bool { return len(value) == 1 && (value[0] != 0) == want }

func isNumber(value []byte, want uint) bool {
	return len(value) == ulongSize && uint(binary.NativeEndian.Uint64(value)) == want
}

// GenerateKeyPair implements Token.
func (d *device) GenerateKeyPair(ctx context.Context, spec PairSpec) (spki []byte, err error) {
	if err := spec.Check(); err != nil {
		return nil, err
	}
	err = d.run(ctx, false, func(w *work) error {
		spki, err = w.generatePair(spec)
		return err
	})
	if err != nil {
		return nil, err
	}
	return spki, nil
}

func (w *work) generatePair(spec PairSpec) ([]byte, error) {
	private, public := Ref{ClassPrivateKey, spec.Private.ID}, Ref{ClassPublicKey, spec.Public.ID}
	if err := w.vacant(private, public); err != nil {
		return nil, err
	}
	makePair := w.pairOnToken
	if w.traits.pairsByCopy && spec.Private.Type == KeyRSA {
		makePair = w.pairByCopy
	}
	pub, priv, err := makePair(spec)
	if err != nil {
		if w.unlock != nil && w.exclusive {
			w.sweep(err, private, public)
		}
		return nil, err
	}
	w.effect = true
	spki, err := w.verifyPair(spec, pub, priv)
	if err != nil {
		w.discardObject(priv)
		w.discardObject(pub)
		return nil, err
	}
	w.objects.put(private, entry{handle: priv})
	w.objects.put(public, entry{handle: pub})
	return spki, nil
}

func (w *work) verifyPair(spec PairSpec, pub, priv handle) ([]byte, error) {
	if err := w.verify(priv, ClassPrivateKey, spec.Private); err != nil {
		return nil, err
	}
	if err := w.verify(pub, ClassPublicKey, spec.Public); err != nil {
		return nil, err
	}
	spki, err := w.readSPKI(pub)
	if err != nil || w.cfg.SkipAttributeCheck {
		return spki, err
	}
	return spki, w.verifySize(spec, pub, priv, spki)
}

// verifySize refuses a pair of another size or curve than the one asked for: by what the token says of it (CKA_MODULUS_BITS,
// CKA_EC_PARAMS) and by the public key itself.
func (w *work) verifySize(spec PairSpec, pub, priv handle, spki []byte) error {
	key, err := spkiKey(spki)
	if err != nil {
		return err
	}
	bad := refuse(KindUnsupported, "the token made a pair of another size (CKA_MODULUS_BITS, CKA_EC_PARAMS)")
	if spec.Private.Type == KeyRSA {
		v, err := w.p11.attributes(w.s, pub, p11.CKA_MODULUS_BITS)
		if err != nil {
			return err
		}
		k, ok := key.(*rsa.PublicKey)
		if !ok || k.N.BitLen() != spec.Private.Bits || k.E != 65537 || !isNumber(v[0], uint(spec.Private.Bits)) {
			return bad
		}
		return nil
	}
	v, err := w.p11.attributes(w.s, priv, p11.CKA_EC_PARAMS)
	if err != nil {
		return err
	}
	k, ok := key.(*ecdsa.PublicKey)
	if !ok || k.Curve != curves[spec.Private.Curve].curve || curveOfDER(v[0]) != spec.Private.Curve {
		return bad
	}
	return nil
}

func (w *work) pairOnToken(spec PairSpec) (pub, priv handle, err error) {
	if err := w.lock(true); err != nil {
		return 0, 0, err
	}
	return w.makePair(spec, true)
}

func (w *work) makePair(spec PairSpec, persistent bool) (pub, priv handle, err error) {
	private := keyTemplate(ClassPrivateKey, spec.Private, persistent)
	public := keyTemplate(ClassPublicKey, spec.Public, persistent)
	mech := mechanism{code: p11.CKM_EC_KEY_PAIR_GEN}
	if spec.Public.Type == KeyRSA {
		mech.code = p11.CKM_RSA_PKCS_KEY_PAIR_GEN
		public.number(p11.CKA_MODULUS_BITS, uint(spec.Public.Bits)).octets(p11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1})
	} else {
		public.octets(p11.CKA_EC_PARAMS, curveDER(spec.Public.Curve))
	}
	return w.p11.generateKeyPair(w.s, mech, public, private)
}

// pairByCopy makes session objects without the mutation lock and copies them with it. CKA_LOCAL, CKA_ALWAYS_SENSITIVE and
// CKA_NEVER_EXTRACTABLE are copied with the rest.
func (w *work) pairByCopy(spec PairSpec) (pub, priv handle, err error) {
	pub0, priv0, err := w.makePair(spec, false)
	if err != nil {
		return 0, 0, err
	}
	w.temps = append(w.temps, pub0, priv0)
	if err := w.lock(true); err != nil {
		return 0, 0, err
	}
	if priv, err = w.p11.copyObject(w.s, priv0, persistentCopy(spec.Private)); err != nil {
		return 0, 0, err
	}
	w.effect = true
	if pub, err = w.p11.copyObject(w.s, pub0, persistentCopy(spec.Public)); err != nil {
		w.discardObject(priv)
		return 0, 0, err
	}
	return pub, priv, nil
}

func persistentCopy(spec KeySpec) *template {
	return newTemplate(0).flag(p11.CKA_TOKEN, true).octets(p11.CKA_LABEL, []byte(spec.Label)).octets(p11.CKA_ID, spec.ID[:])
}

// Import implements Token.
func (d *device) Import(ctx context.Context, class Class, spec KeySpec, value Material) error {
	if class != ClassSecretKey && class != ClassPrivateKey {
		return refuse(KindInvalidKey, "only secret and private keys are imported")
	}
	if err := spec.CheckImport(class, len(value)); err != nil {
		return err
	}
	if class == ClassPrivateKey {
		if err := checkPKCS8(spec, value); err != nil {
			return err
		}
	}
	return d.run(ctx, false, func(w *work) error { return w.importKey(class, spec, value) })
}

// importKey sends a checked value through the transport key into a persistent object.
func (w *work) importKey(class Class, spec KeySpec, value []byte) error {
	key, blob, err := w.seal(value)
	if err != nil {
		return err
	}
	return w.create(spec, Ref{class, spec.ID}, func(w *work) (handle, error) {
		return w.p11.unwrapKey(w.s, mechanism{code: w.traits.in.code}, key.handle, blob, keyTemplate(class, spec, true))
	})
}

// seal wraps a value under the transport key in software.
func (w *work) seal(value []byte) (*transportKey, []byte, error) {
	key, err := w.useTransport()
	if err != nil {
		return nil, nil, err
	}
	blob, err := w.traits.in.seal(key.value[:], value)
	if err != nil {
		return nil, nil, refuse(KindUnsupported, "the token's transport does not take a value of this length")
	}
	return key, blob, nil
}

// sessionSecret puts octets on the token as an extractable session object until the end of the work.
func (w *work) sessionSecret(value []byte) (handle, error) {
	key, blob, err := w.seal(value)
	if err != nil {
		return 0, err
	}
	t := keyTemplate(ClassSecretKey, KeySpec{Type: KeyGeneric, Extractable: true}, false)
	return w.temp(w.p11.unwrapKey(w.s, mechanism{code: w.traits.in.code}, key.handle, blob, t))
}

// ImportPublicKey implements Token.
func (d *device) ImportPublicKey(ctx context.Context, spec KeySpec, spki []byte) error {
	if err := spec.CheckImport(ClassPublicKey, len(spki)); err != nil {
		return err
	}
	t, err := publicTemplate(spec, spki, true)
	if err != nil {
		return err
	}
	return d.create(ctx, spec, Ref{ClassPublicKey, spec.ID}, func(w *work) (handle, error) { return w.p11.createObject(w.s, t) })
}

func publicTemplate(spec KeySpec, spki []byte, persistent bool) (*template, error) {
	bad := refuse(KindInvalidData, "not a SubjectPublicKeyInfo of the announced type and size")
	key, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil, bad
	}
	switch k := key.(type) {
	case *rsa.PublicKey:
		if spec.Type == KeyRSA && k.N.BitLen() == spec.Bits {
			return rsaTemplate(spec, k, persistent), nil
		}
	case *ecdsa.PublicKey:
		if spec.Type != KeyEC || k.Curve != curves[spec.Curve].curve {
			return nil, bad
		}
		point, err := k.Bytes()
		if err != nil {
			return nil, bad
		}
		// SoftHSM takes a bare point too, and then every verification fails.
		wrapped, err := asn1.Marshal(point)
		if err != nil {
			return nil, bad
		}
		t := keyTemplate(ClassPublicKey, spec, persistent)
		return t.octets(p11.CKA_EC_PARAMS, curveDER(spec.Curve)).octets(p11.CKA_EC_POINT, wrapped), nil
	}
	return nil, bad
}

// StoreCertificate implements Token.
func (d *device) StoreCertificate(ctx context.Context, id TokenID, label string, der []byte) error {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return refuse(KindInvalidData, "not a certificate")
	}
	serial, err := asn1.Marshal(cert.SerialNumber)
	if err != nil {
		return refuse(KindInvalidData, "not a certificate")
	}
	t := newTemplate(len(der)).number(p11.CKA_CLASS, p11.CKO_CERTIFICATE).number(p11.CKA_CERTIFICATE_TYPE, p11.CKC_X_509)
	t.flag(p11.CKA_TOKEN, true).flag(p11.CKA_PRIVATE, false).octets(p11.CKA_LABEL, []byte(label)).octets(p11.CKA_ID, id[:])
	t.octets(p11.CKA_SUBJECT, cert.RawSubject).octets(p11.CKA_ISSUER, cert.RawIssuer).octets(p11.CKA_SERIAL_NUMBER, serial)
	t.octets(p11.CKA_VALUE, der)
	return d.create(ctx, KeySpec{}, Ref{ClassCertificate, id}, func(w *work) (handle, error) { return w.p11.createObject(w.s, t) })
}

// application is CKA_APPLICATION of our data objects.
const application = "kmipd"

// StoreData implements Token.
func (d *device) StoreData(ctx context.Context, id TokenID, label string, value Material) error {
	if len(value) > maxAttribute {
		return refuse(KindUnsupported, "too long for a data object")
	}
	t := dataTemplate(id, label, value, true)
	defer t.wipe()
	return d.create(ctx, KeySpec{}, Ref{ClassData, id}, func(w *work) (handle, error) { return w.p11.createObject(w.s, t) })
}

// dataTemplate is a private data object. SoftHSM gives CKO_DATA no CKA_ID; CKA_OBJECT_ID takes its place, as octets
// (PKCS#11 3.0 section 4.5.2 wants the DER of an object identifier there; tokens do not look).
func dataTemplate(id TokenID, label string, value []byte, persistent bool) *template {
	t := newTemplate(len(value)).number(p11.CKA_CLASS, p11.CKO_DATA).flag(p11.CKA_TOKEN, persistent).flag(p11.CKA_PRIVATE, true)
	t.octets(p11.CKA_APPLICATION, []byte(application)).octets(p11.CKA_LABEL, []byte(label)).octets(p11.CKA_OBJECT_ID, id[:])
	return t.octets(p11.CKA_VALUE, value)
}
