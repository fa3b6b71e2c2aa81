package hsm

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"slices"

	p11 "github.com/miekg/pkcs11"

	"kmipd/hsm/internal/keywrap"
)

// wrapper is a wrapping or unwrapping key that has been checked against its mechanism.
type wrapper struct {
	ref    Ref
	handle handle
	how    WrapSpec
	facts  keyFacts
}

// wrapper finds the key and refuses it when its type, its usage or the token does not go with the mechanism. Nothing
// reaches the token unchecked: it crashes on some combinations.
func (w *work) wrapper(ref Ref, how WrapSpec, unwrap bool) (wrapper, error) {
	h, err := w.find(ref)
	if err != nil {
		return wrapper{}, err
	}
	facts, err := w.facts(ref, h)
	if err != nil {
		return wrapper{}, err
	}
	if err := how.CheckKey(ref.Class, facts.kind, unwrap); err != nil {
		return wrapper{}, err
	}
	if unwrap && !facts.unwrap || !unwrap && !facts.wrap {
		return wrapper{}, refuse(KindInvalidKey, "the key's usage flags do not allow this")
	}
	if !w.supports(how) {
		return wrapper{}, refuse(KindUnsupported, "the token cannot do this wrap mechanism")
	}
	return wrapper{ref, h, how, facts}, nil
}

func (d *device) supports(how WrapSpec) bool {
	caps := d.info.Capabilities
	switch how.Mechanism {
	case WrapAESKW:
		return d.traits.kw != 0
	case WrapAESKWP:
		return d.traits.kwp != 0
	case WrapRSAPKCS1v15:
		return caps.RSAPKCS1v15
	}
	return slices.Contains(caps.OAEP, how.Hash) || slices.Contains(caps.OAEPComposed, how.Hash)
}

// composed says whether the mechanism is done with the padding in Go.
func (d *device) composed(how WrapSpec) bool {
	return how.Mechanism == WrapRSAOAEP && !slices.Contains(d.info.Capabilities.OAEP, how.Hash)
}

// mechanism is the PKCS#11 mechanism of a wrap that the token does alone.
func (d *device) mechanism(how WrapSpec) mechanism {
	switch how.Mechanism {
	case WrapAESKW:
		return mechanism{code: d.traits.kw}
	case WrapAESKWP:
		return mechanism{code: d.traits.kwp}
	case WrapRSAPKCS1v15:
		return mechanism{code: p11.CKM_RSA_PKCS}
	}
	return oaepMechanism(how.Hash.hash())
}

// Wrap implements Token.
//
// Three cases are composed, unless Config.RefuseComposed forbids it, and then the plain key passes the server's memory:
// OAEP with a hash that the token does not know; and on tokens that fill values to a multiple of 8 (SoftHSM, which then
// records the filled length in KWP) AES-KWP of secrets of other lengths and of private keys, and the length check of
// AES-KW of private keys. A recipient would otherwise get a longer HMAC key than the one wrapped.
func (d *device) Wrap(ctx context.Context, wrapping Ref, how WrapSpec, target Ref, bits int) (blob []byte, err error) {
	if target.Class != ClassSecretKey && target.Class != ClassPrivateKey {
		return nil, refuse(KindInvalidKey, "only secret and private keys are wrapped")
	}
	err = d.run(ctx, true, func(w *work) error {
		key, err := w.wrapper(wrapping, how, false)
		if err != nil {
			return err
		}
		h, err := w.find(target)
		if err != nil {
			return err
		}
		if err := w.extractable(target, h); err != nil {
			return err
		}
		if target.Class == ClassPrivateKey {
			blob, err = w.wrapPrivate(key, h)
		} else {
			blob, err = w.wrapSecret(key, h, bits)
		}
		return err
	})
	return blob, err
}

func (w *work) wrapSecret(key wrapper, h handle, bits int) ([]byte, error) {
	n := bits / 8
	if bits < 8 || bits%8 != 0 {
		return nil, refuse(KindInvalidData, "the recorded length of a secret key")
	}
	if err := key.how.CheckPlain(n, key.facts.modulus); err != nil {
		return nil, err
	}
	odd := key.how.Mechanism == WrapAESKWP && w.traits.pads && n%8 != 0
	if !odd && !w.composed(key.how) {
		return w.wrapOnToken(key, h, n)
	}
	if w.cfg.RefuseComposed {
		return nil, errComposed()
	}
	value, err := w.exportSecret(h, n)
	if err != nil {
		return nil, err
	}
	defer clear(value)
	return w.wrapHere(key, value)
}

func errComposed() error {
	return refuse(KindUnsupported, "the token cannot do this alone, and composing it is forbidden by configuration")
}

func (w *work) wrapPrivate(key wrapper, h handle) ([]byte, error) {
	if key.ref.Class != ClassSecretKey {
		return nil, refuse(KindInvalidData, "a private key is too long for RSA")
	}
	if !w.traits.pads {
		return w.p11.wrapKey(w.s, w.mechanism(key.how), key.handle, h, 0)
	}
	if w.cfg.RefuseComposed {
		return nil, errComposed() // not even the length is known without the key
	}
	der, err := w.exportPrivate(h)
	if err != nil {
		return nil, err
	}
	defer clear(der)
	if err := key.how.CheckPlain(len(der), 0); err != nil {
		return nil, err
	}
	if len(der)%8 == 0 {
		return w.wrapOnToken(key, h, len(der))
	}
	return w.wrapHere(key, der)
}

// wrapOnToken has the token wrap a value of n octets and verifies the length of the result.
func (w *work) wrapOnToken(key wrapper, h handle, n int) ([]byte, error) {
	blob, err := w.p11.wrapKey(w.s, w.mechanism(key.how), key.handle, h, n+64)
	if err != nil {
		return nil, err
	}
	want := key.facts.modulus
	if key.ref.Class == ClassSecretKey {
		want = (n+7)/8*8 + 8
	}
	if len(blob) != want {
		return nil, refuse(KindInternal, "the token's wrapped value has an unexpected length")
	}
	return blob, nil
}

// wrapHere wraps a value that is in memory: OAEP under the public key, or KWP with the token's AES for its blocks.
func (w *work) wrapHere(key wrapper, value []byte) ([]byte, error) {
	if key.how.Mechanism == WrapAESKWP {
		encrypt, err := w.blocks(key)
		if err != nil {
			return nil, err
		}
		return keywrap.WrapKWPWith(encrypt, value)
	}
	public, err := w.readRSA(key.handle)
	if err != nil {
		return nil, err
	}
	blob, err := rsa.EncryptOAEP(newHash(key.how.Hash)(), rand.Reader, public, value, nil)
	if err != nil {
		return nil, refuse(KindUnsupported, "the public key is refused for OAEP")
	}
	return blob, nil
}

// blocks encrypts single blocks with a session copy of the wrapping key that may also encrypt. The key's value stays on
// the token, and the copy dies with this call.
func (w *work) blocks(key wrapper) (keywrap.Block, error) {
	t := newTemplate(0).flag(p11.CKA_TOKEN, false).flag(p11.CKA_ENCRYPT, true)
	h, err := w.temp(w.p11.copyObject(w.s, key.handle, t))
	if err != nil {
		return nil, err
	}
	var out [16]byte
	return func(block []byte) error {
		n, err := w.p11.crypt(w.s, false, p11.CKM_AES_ECB, h, block, out[:])
		if err != nil {
			return err
		}
		if n != len(out) {
			return refuse(KindInternal, "the length of an AES block")
		}
		copy(block, out[:])
		return nil
	}, nil
}

func newHash(h OAEPHash) func() hash.Hash {
	switch h {
	case OAEPSHA384:
		return sha512.New384
	case OAEPSHA512:
		return sha512.New
	}
	return sha256.New // OAEP with SHA-1 is never composed
}

// WrapBytes implements Token.
func (d *device) WrapBytes(ctx context.Context, wrapping Ref, how WrapSpec, value Material) (blob []byte, err error) {
	err = d.run(ctx, true, func(w *work) error {
		key, err := w.wrapper(wrapping, how, false)
		if err != nil {
			return err
		}
		if err := how.CheckPlain(len(value), key.facts.modulus); err != nil {
			return err
		}
		odd := how.Mechanism == WrapAESKWP && w.traits.pads && len(value)%8 != 0
		if odd || w.composed(how) {
			blob, err = w.wrapHere(key, value)
			return err
		}
		h, err := w.sessionSecret(value)
		if err != nil {
			return err
		}
		blob, err = w.wrapOnToken(key, h, len(value))
		return err
	})
	return blob, err
}
