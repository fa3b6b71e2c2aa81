package hsm

import (
	"bytes"
	"context"
	"encoding/hex"

	p11 "github.com/miekg/pkcs11"
)

// Refusal is something that a token in an approved mode refuses. A token that does it all the same is not at fault: the
// server's policy refuses it, too, and this says whether the token is a second lock.
type Refusal struct {
	Name     string `json:"name"`
	Enforced bool   `json:"token_enforces"`
}

// Refusals implements Token. What the probe found the token unable to do counts as refused.
func (d *device) Refusals(ctx context.Context) (list []Refusal, err error) {
	err = d.run(ctx, true, func(w *work) error {
		list = nil
		for _, t := range []struct {
			name string
			does func(*work) (bool, error)
		}{
			{"RSA 1024 key generation", (*work).makesShortRSA},
			{"3DES encryption", (*work).encryptsDES3},
			{"reading a sensitive key in plain", (*work).readsSensitive},
			{"wrapping a key that is not extractable", (*work).wrapsFixed},
		} {
			did, err := t.does(w)
			if f := fateOf(err); f == fateDoor || f == fateDevice {
				return err
			}
			list = append(list, Refusal{t.name, !did})
		}
		return nil
	})
	return list, err
}

func (w *work) makesShortRSA() (bool, error) {
	half := KeySpec{Type: KeyRSA, Bits: 1024}
	pub, priv, err := w.makePair(PairSpec{half, half}, false)
	if err != nil {
		return false, err
	}
	w.temps = append(w.temps, pub, priv)
	return true, nil
}

func (w *work) encryptsDES3() (bool, error) {
	value, err := hex.DecodeString(probeDES3)
	if err != nil || !w.info.Capabilities.DES3 || w.info.Capabilities.Transport == "" {
		return false, err
	}
	key, err := w.knownKey(KeyDES3, UsageEncrypt, value)
	if err != nil {
		return false, err
	}
	_, err = w.block(key, CipherSpec{Mode: ModeCBC, IV: counted(8)}, counted(8), false)
	return err == nil, err
}

// sensitive is a session key that must not leave the token in plain.
func (w *work) sensitive(extractable bool) (handle, error) {
	t := keyTemplate(ClassSecretKey, KeySpec{Type: KeyAES, Bits: 256, Usage: UsageEncrypt, Extractable: extractable}, false)
	return w.temp(w.p11.generateKey(w.s, secretGenerator(KeySpec{Type: KeyAES, Bits: 256}, t), t))
}

func (w *work) readsSensitive() (bool, error) {
	h, err := w.sensitive(true)
	if err != nil {
		return false, err
	}
	v, err := w.p11.attributes(w.s, h, p11.CKA_VALUE)
	if err != nil {
		return false, err
	}
	defer clear(v[0])
	return len(v[0]) == 32 && !bytes.Equal(v[0], make([]byte, 32)), nil
}

func (w *work) wrapsFixed() (bool, error) {
	h, err := w.sensitive(false)
	if err != nil {
		return false, err
	}
	key, err := w.useTransport()
	if err != nil {
		return false, err
	}
	blob, err := w.p11.wrapKey(w.s, mechanism{code: w.traits.out.code}, key.handle, h, 0)
	return err == nil && len(blob) > 0, err
}
