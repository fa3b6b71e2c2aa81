package hsm

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"io"
	"time"

	p11 "github.com/miekg/pkcs11"
)

// KeyName names a key pair on the token that is no object of kmipd's clients: by CKA_LABEL, by CKA_ID, or by both. It is how
// operators name the key of the server's certificate (RFC 7512: object and id).
type KeyName struct {
	Label string
	ID    []byte
}

// NamedKeys is what a token does with keys that operators name. Open returns a token that has it; it stands apart from
// Token because nothing but the server's own certificate needs it. Its methods are safe for concurrent use.
type NamedKeys interface {
	// NamedSigner is a crypto.Signer for the private key of that name, whose public half is given. It lives as long as the
	// token is open, over losses of the login, too. Each signature waits 10 s at most, and all of them take at most half of
	// the sessions. Errors: ErrNotFound, ErrExists when several keys have the name, ErrInvalidKey when the key may not
	// sign, ErrUnsupported for other types than RSA and EC.
	NamedSigner(ctx context.Context, name KeyName, public crypto.PublicKey) (crypto.Signer, error)
	// NamedFlags reads what the token says of the private key of that name now.
	NamedFlags(ctx context.Context, name KeyName) (Flags, error)
	// NamedPublicKey is the public half of that name as DER SubjectPublicKeyInfo.
	NamedPublicKey(ctx context.Context, name KeyName) ([]byte, error)
	// GenerateNamedPair makes a key pair for signatures that cannot leave the token, and returns its CKA_ID and public half
	// (DER SubjectPublicKeyInfo). ErrExists when a private key has the label.
	GenerateNamedPair(ctx context.Context, label string, kind KeyType, bits int, curve Curve) (id, spki []byte, err error)
	// DestroyNamedPair removes both halves of that name.
	DestroyNamedPair(ctx context.Context, name KeyName) error
}

var _ NamedKeys = (*device)(nil)

// template finds one half.
func (n KeyName) template(class Class) *template {
	t := newTemplate(0).number(p11.CKA_CLASS, classCodes[class]).flag(p11.CKA_TOKEN, true)
	if n.Label != "" {
		t.octets(p11.CKA_LABEL, []byte(n.Label))
	}
	if len(n.ID) > 0 {
		t.octets(p11.CKA_ID, n.ID)
	}
	return t
}

// ref is the name's place in the cache of handles. It cannot be that of an object, whose identifiers are random.
func (n KeyName) ref(class Class) Ref {
	h := sha256.New()
	h.Write([]byte("kmipd named key\x00" + n.Label + "\x00"))
	h.Write(n.ID)
	return Ref{class, TokenID(h.Sum(nil))}
}

// named is the handle of one half.
func (w *work) named(n KeyName, class Class) (Ref, handle, error) {
	ref := n.ref(class)
	if err := w.lock(w.unlock != nil && w.exclusive); err != nil {
		return ref, 0, err
	}
	w.refs = append(w.refs, ref)
	if e, ok := w.objects.get(ref); ok {
		return ref, e.handle, nil
	}
	if n.Label == "" && len(n.ID) == 0 {
		return ref, 0, refuse(KindInvalidKey, "a key without a name")
	}
	found, err := w.p11.find(w.s, n.template(class))
	switch {
	case err != nil:
		return ref, 0, err
	case len(found) > 1:
		return ref, 0, &Error{Kind: KindExists, Call: "find", Text: "several keys have this name: give label and CKA_ID"}
	case len(found) == 0:
		// Without a login private objects are invisible, not gone.
		if err := w.p11.loggedIn(w.s); err != nil {
			return ref, 0, err
		}
		return ref, 0, errNotFound()
	}
	w.objects.put(ref, entry{handle: found[0]})
	return ref, found[0], nil
}

// namedSigner is a Signer that is not bound to one operation.
type namedSigner struct {
	d      *device
	name   KeyName
	public crypto.PublicKey
}

// namedTimeout bounds a signature: a TLS handshake has no context to give.
const namedTimeout = 10 * time.Second

// NamedSigner implements NamedKeys.
func (d *device) NamedSigner(ctx context.Context, name KeyName, public crypto.PublicKey) (crypto.Signer, error) {
	if _, err := NewSigner(ctx, d, Ref{}, public); err != nil {
		return nil, err
	}
	err := d.run(ctx, true, func(w *work) error {
		ref, h, err := w.named(name, ClassPrivateKey)
		if err != nil {
			return err
		}
		id, err := w.p11.attribute(w.s, h, p11.CKA_ID)
		if err != nil {
			return err
		}
		if len(id) == len(TokenID{}) {
			return refuse(KindInvalidKey, "the key's CKA_ID has 16 octets as those of kmipd's objects, and fsck would take it for one: give it another")
		}
		facts, err := w.facts(ref, h)
		if err != nil {
			return err
		}
		return usable{ref, h, facts}.may(UsageSign)
	})
	if err != nil {
		return nil, err
	}
	return &namedSigner{d, name, public}, nil
}

// Public implements crypto.Signer.
func (s *namedSigner) Public() crypto.PublicKey { return s.public }

// Sign implements crypto.Signer, as Signer does.
func (s *namedSigner) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), namedTimeout)
	defer cancel()
	// Whoever reaches the port can ask for a handshake, and each is a signature: they get half of the sessions, so that the
	// requests of clients have the other half.
	select {
	case s.d.named <- struct{}{}:
		defer func() { <-s.d.named }()
	case <-ctx.Done():
		return nil, &Error{Kind: KindUnavailable, Call: "wait", Text: "no signature of a handshake was free in time"}
	}
	return signFor(s.public, opts, func(spec SignSpec) (sig []byte, err error) {
		err = s.d.run(ctx, true, func(w *work) error {
			ref, h, err := w.named(s.name, ClassPrivateKey)
			if err != nil {
				return err
			}
			facts, err := w.facts(ref, h)
			if err != nil {
				return err
			}
			sig, err = w.sign(usable{ref, h, facts}, spec, digest)
			return err
		})
		return sig, err
	})
}

// NamedPublicKey implements NamedKeys.
func (d *device) NamedPublicKey(ctx context.Context, name KeyName) (spki []byte, err error) {
	err = d.run(ctx, true, func(w *work) error {
		_, h, err := w.named(name, ClassPublicKey)
		if err != nil {
			return err
		}
		spki, err = w.readSPKI(h)
		return err
	})
	return spki, err
}

// GenerateNamedPair implements NamedKeys. Both halves have one CKA_ID, as other programs expect, of 8 octets: what has 16 is
// an object of kmipd.
func (d *device) GenerateNamedPair(ctx context.Context, label string, kind KeyType, bits int, curve Curve) (id, spki []byte, err error) {
	id = make([]byte, 8)
	rand.Read(id) // never fails: crypto/rand aborts the process instead
	private := KeySpec{ID: NewTokenID(), Label: label, Type: kind, Bits: bits, Curve: curve, Usage: UsageSign}
	public := KeySpec{ID: NewTokenID(), Label: label, Type: kind, Bits: bits, Curve: curve, Usage: UsageVerify}
	if err := (PairSpec{private, public}).Check(); err != nil {
		return nil, nil, err
	}
	if label == "" {
		return nil, nil, refuse(KindInvalidKey, "a key without a name")
	}
	err = d.run(ctx, false, func(w *work) error {
		if err := w.lock(true); err != nil {
			return err
		}
		old, err := w.p11.find(w.s, KeyName{Label: label}.template(ClassPrivateKey))
		if err != nil {
			return err
		}
		if len(old) > 0 {
			return &Error{Kind: KindExists, Call: "check", Text: "a key has this label"}
		}
		pub, priv, err := w.namedPair(private, public, id)
		if err != nil {
			return err
		}
		w.effect = true
		if spki, err = w.verifyPair(PairSpec{private, public}, pub, priv); err != nil {
			w.discardObject(priv)
			w.discardObject(pub)
		}
		return err
	})
	return id, spki, err
}

func (w *work) namedPair(private, public KeySpec, id []byte) (pub, priv handle, err error) {
	mech := mechanism{code: p11.CKM_EC_KEY_PAIR_GEN}
	tpub := bareTemplate(ClassPublicKey, public, true).octets(p11.CKA_LABEL, []byte(public.Label)).octets(p11.CKA_ID, id)
	tpriv := bareTemplate(ClassPrivateKey, private, true).octets(p11.CKA_LABEL, []byte(private.Label)).octets(p11.CKA_ID, id)
	if public.Type == KeyRSA {
		mech.code = p11.CKM_RSA_PKCS_KEY_PAIR_GEN
		tpub.number(p11.CKA_MODULUS_BITS, uint(public.Bits)).octets(p11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1})
	} else {
		tpub.octets(p11.CKA_EC_PARAMS, curveDER(public.Curve))
	}
	return w.p11.generateKeyPair(w.s, mech, tpub, tpriv)
}

// DestroyNamedPair implements NamedKeys.
func (d *device) DestroyNamedPair(ctx context.Context, name KeyName) error {
	return d.run(ctx, false, func(w *work) error {
		if err := w.lock(true); err != nil {
			return err
		}
		for _, class := range []Class{ClassPrivateKey, ClassPublicKey} {
			ref, h, err := w.named(name, class)
			if err != nil {
				return err
			}
			if err := w.p11.destroyObject(w.s, h); err != nil {
				return err
			}
			w.effect = true
			w.objects.drop(ref)
		}
		return nil
	})
}

// isEC tells ECDSA keys from RSA keys.
func isEC(public crypto.PublicKey) bool {
	_, ok := public.(*ecdsa.PublicKey)
	return ok
}
