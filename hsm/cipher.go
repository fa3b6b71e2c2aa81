package hsm

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/binary"
	"slices"

	p11 "github.com/miekg/pkcs11"
)

// cipherCodes are the mechanisms of the modes. ModeECBPad is ECB with the padding of this package: there is no such
// mechanism in PKCS#11.
var cipherCodes = map[KeyType]map[CipherMode]uint{
	KeyAES: {
		ModeECB: p11.CKM_AES_ECB, ModeECBPad: p11.CKM_AES_ECB, ModeCBC: p11.CKM_AES_CBC, ModeCBCPad: p11.CKM_AES_CBC_PAD,
		ModeCTR: p11.CKM_AES_CTR, ModeGCM: p11.CKM_AES_GCM,
	},
	KeyDES3: {ModeECB: p11.CKM_DES3_ECB, ModeECBPad: p11.CKM_DES3_ECB, ModeCBC: p11.CKM_DES3_CBC, ModeCBCPad: p11.CKM_DES3_CBC_PAD},
}

// usable is a key that was found, with what decides about its use.
type usable struct {
	ref    Ref
	handle handle
	facts  keyFacts
}

// usable finds a key for a cryptographic operation. What it may do is for its caller to check, before the token sees it.
func (w *work) usable(ref Ref) (usable, error) {
	switch ref.Class {
	case ClassSecretKey, ClassPrivateKey, ClassPublicKey:
	default:
		return usable{}, refuse(KindInvalidKey, "not a key")
	}
	h, err := w.find(ref)
	if err != nil {
		return usable{}, err
	}
	facts, err := w.facts(ref, h)
	return usable{ref, h, facts}, err
}

// may refuses a key that has none of the usage flags.
func (k usable) may(any Usage) error {
	if k.facts.usage&any == 0 {
		return refuse(KindInvalidKey, "the key's usage flags do not allow this")
	}
	return nil
}

// Encrypt implements Crypto.
func (d *device) Encrypt(ctx context.Context, key Ref, bits int, spec CipherSpec, data []byte) (out []byte, err error) {
	err = d.run(ctx, true, func(w *work) error {
		out, err = w.cipher(key, bits, spec, data, false)
		return err
	})
	return out, err
}

// Decrypt implements Crypto.
func (d *device) Decrypt(ctx context.Context, key Ref, bits int, spec CipherSpec, data []byte) (out Material, err error) {
	err = d.run(ctx, true, func(w *work) error {
		out, err = w.cipher(key, bits, spec, data, true)
		return err
	})
	return out, err
}

func (w *work) cipher(ref Ref, bits int, spec CipherSpec, data []byte, decrypt bool) ([]byte, error) {
	key, err := w.usable(ref)
	if err != nil {
		return nil, err
	}
	if err := spec.Check(ref.Class, key.facts.kind, bits, len(data), decrypt); err != nil {
		return nil, err
	}
	usage := UsageEncrypt
	if decrypt {
		usage = UsageDecrypt
	}
	if err := key.may(usage); err != nil {
		return nil, err
	}
	if !w.info.Capabilities.cipher(key.facts.kind, spec) {
		return nil, refuse(KindUnsupported, "the token cannot do this cipher mode")
	}
	return w.block(key, spec, data, decrypt)
}

// cipher says whether the probe found the mode to work. ECB with our padding needs ECB only.
func (c Capabilities) cipher(kind KeyType, spec CipherSpec) bool {
	mode := spec.Mode
	if mode == ModeECBPad {
		mode = ModeECB
	}
	if mode == ModeGCM && len(spec.IV) != 12 && !c.GCMAnyIV {
		return false
	}
	if kind == KeyDES3 {
		return slices.Contains(c.DES3Modes, mode)
	}
	return slices.Contains(c.AESModes, mode)
}

// block runs a checked mode.
func (w *work) block(key usable, spec CipherSpec, data []byte, decrypt bool) ([]byte, error) {
	size := key.facts.kind.blockSize()
	if spec.Mode == ModeECBPad && !decrypt {
		padded := pad(size, data)
		defer clear(padded)
		data = padded
	}
	room := make([]byte, len(data)+64)
	out, err := w.modes(key, spec, data, room, decrypt)
	if err != nil {
		clear(room) // a token may have written before it failed
		return nil, err
	}
	if err := spec.checkResult(size, len(data), len(out), decrypt); err != nil {
		clear(room)
		return nil, err
	}
	if spec.Mode == ModeECBPad && decrypt {
		if out, err = unpad(size, out); err != nil {
			clear(room)
			return nil, err
		}
	}
	clear(room[len(out):])
	return out, nil
}

// modes calls the token: once, but for a counter that passes its end. SoftHSM refuses that, while NIST SP 800-38A
// appendix B.1 has it go on from zero.
func (w *work) modes(key usable, spec CipherSpec, data, room []byte, decrypt bool) ([]byte, error) {
	mech, g := spec.mechanism(key.facts.kind)
	n := spec.beforeZero(len(data))
	out, err := w.p11.encrypt(w.s, decrypt, mech, g, key.handle, data[:n], room)
	if err != nil || n == len(data) {
		return out, err
	}
	spec.IV = make([]byte, len(spec.IV))
	mech, g = spec.mechanism(key.facts.kind)
	rest, err := w.p11.encrypt(w.s, decrypt, mech, g, key.handle, data[n:], room[len(out):])
	return room[:len(out)+len(rest)], err
}

// beforeZero is how many of n octets the counter of CTR covers before it starts from zero again.
func (s CipherSpec) beforeZero(n int) int {
	if s.Mode != ModeCTR || !bytes.Equal(s.IV[:12], bytes.Repeat([]byte{255}, 12)) {
		return n
	}
	return int(min(int64(n), 16*(1<<32-int64(binary.BigEndian.Uint32(s.IV[12:])))))
}

// checkResult refuses a length that the mode cannot have: a token that counts differently has done something else.
func (s CipherSpec) checkResult(block, in, out int, decrypt bool) error {
	want := in
	switch {
	case s.Mode == ModeGCM && decrypt:
		want = in - s.TagBits/8
	case s.Mode == ModeGCM:
		want = in + s.TagBits/8
	case s.Mode == ModeCBCPad && decrypt:
		if out < in && out >= in-block {
			return nil
		}
		return refuse(KindInvalidData, "the data does not decrypt")
	case s.Mode == ModeCBCPad:
		want = in - in%block + block
	}
	if out != want {
		return refuse(KindInternal, "the token's result has an unexpected length")
	}
	return nil
}

// mechanism is the PKCS#11 mechanism of the mode with its parameter.
func (s CipherSpec) mechanism(kind KeyType) (mechanism, gcm) {
	m := mechanism{code: cipherCodes[kind][s.Mode], param: s.IV}
	switch s.Mode {
	case ModeCTR:
		// CK_AES_CTR_PARAMS. All of the block counts: SoftHSM refuses data that runs past a counter of fewer bits.
		m.param = append(binary.NativeEndian.AppendUint64(nil, 128), s.IV...)
	case ModeGCM:
		return m, gcm{aad: s.AAD, tagBits: s.TagBits}
	default: // the IV is the parameter
	}
	return m, gcm{}
}

// pad is data with PKCS #7 padding (RFC 5652 section 6.3) in new memory, which its caller wipes.
func pad(block int, data []byte) []byte {
	n := block - len(data)%block
	padded := make([]byte, len(data)+n)
	for i := copy(padded, data); i < len(padded); i++ {
		padded[i] = byte(n)
	}
	return padded
}

// unpad is the inverse of pad, in place. How long it takes does not depend on what is wrong.
func unpad(block int, data []byte) ([]byte, error) {
	last := data[len(data)-block:]
	n := int(last[block-1])
	ok := subtle.ConstantTimeLessOrEq(1, n) & subtle.ConstantTimeLessOrEq(n, block)
	for i, b := range last {
		inside := subtle.ConstantTimeLessOrEq(block-i, n)
		same := subtle.ConstantTimeByteEq(b, byte(n))
		ok &= subtle.ConstantTimeSelect(inside, same, 1)
	}
	if ok != 1 {
		return nil, refuse(KindInvalidData, "the data does not decrypt")
	}
	return data[: len(data)-n : len(data)-n], nil
}
