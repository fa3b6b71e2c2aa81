package hsm

import (
	"context"
	"slices"

	p11 "github.com/miekg/pkcs11"
)

// macOctets is longer than any MAC.
const macOctets = 64

// MAC implements Crypto. A MAC is verified by computing it again: not every token verifies CMAC (tokens.md section 6).
func (d *device) MAC(ctx context.Context, key Ref, bits int, spec MACSpec, data []byte) (mac []byte, err error) {
	err = d.run(ctx, true, func(w *work) error {
		k, err := w.usable(key)
		if err != nil {
			return err
		}
		if err := spec.Check(key.Class, k.facts.kind, bits, len(data)); err != nil {
			return err
		}
		if err := k.may(UsageSign | UsageVerify); err != nil {
			return err
		}
		mac, err = w.mac(k, bits, spec, data)
		return err
	})
	return mac, err
}

func (w *work) mac(key usable, bits int, spec MACSpec, data []byte) ([]byte, error) {
	caps := w.info.Capabilities
	if spec.Scheme == MACCMAC {
		if !slices.Contains(caps.CMAC, key.facts.kind) {
			return nil, refuse(KindUnsupported, "the token cannot do CMAC with this type of key")
		}
		return w.macWith(key, mechanism{code: cmacCodes[key.facts.kind]}, key.facts.kind.blockSize(), data)
	}
	if !slices.Contains(caps.HMAC, spec.Hash) {
		return nil, refuse(KindUnsupported, "the token cannot do HMAC with this hash")
	}
	mech := mechanism{code: hashCodes[spec.Hash].hmac}
	if w.takesHMAC(key.facts.kind, bits/8, spec.Hash) {
		return w.macWith(key, mech, spec.Hash.Size(), data)
	}
	return w.macMoved(key, bits/8, spec.Hash, data)
}

var cmacCodes = map[KeyType]uint{KeyAES: p11.CKM_AES_CMAC, KeyDES3: p11.CKM_DES3_CMAC}

// takesHMAC says whether the token computes an HMAC with a key of that type and length as it is.
func (d *device) takesHMAC(kind KeyType, n int, h Hash) bool {
	return (kind == KeyGeneric || d.traits.hmacAnyType) && (n >= h.Size() || d.traits.hmacAnyLength)
}

// macWith computes a MAC with a token key. One that may verify only is copied to a session object that may sign: the
// MAC of the other side is compared with ours. The copy dies with this call.
func (w *work) macWith(key usable, mech mechanism, size int, data []byte) ([]byte, error) {
	h := key.handle
	if key.facts.usage&UsageSign == 0 {
		var err error
		t := newTemplate(0).flag(p11.CKA_TOKEN, false).flag(p11.CKA_SIGN, true)
		if h, err = w.temp(w.p11.copyObject(w.s, h, t)); err != nil {
			return nil, err
		}
	}
	return w.macCall(h, mech, size, data)
}

func (w *work) macCall(h handle, mech mechanism, size int, data []byte) ([]byte, error) {
	mac, err := w.p11.sign(w.s, mech, h, data, make([]byte, macOctets))
	if err != nil {
		return nil, err
	}
	if len(mac) != size {
		return nil, refuse(KindInternal, "the token's MAC has an unexpected length")
	}
	return mac, nil
}
