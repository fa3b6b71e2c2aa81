package hsmtest

import (
	"bytes"
	"context"
	goaes "crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/fips140"
	"slices"

	"kmipd/hsm"
)

// key finds a key and verifies that it has one of the usage flags. check verifies that it can do what is asked.
func (f *Fake) key(ref hsm.Ref, any hsm.Usage, check func(*object) error) (*object, error) {
	switch ref.Class {
	case hsm.ClassSecretKey, hsm.ClassPrivateKey, hsm.ClassPublicKey:
	default:
		return nil, fail(hsm.KindInvalidKey, "not a key")
	}
	o, err := f.get(ref)
	if err != nil {
		return nil, err
	}
	if err := check(o); err != nil {
		return nil, err
	}
	if o.spec.Usage&any == 0 {
		return nil, fail(hsm.KindInvalidKey, "the key may not do this")
	}
	return o, nil
}

// service runs a call of hsm.Crypto. A token's own algorithms are no business of Go's FIPS mode.
func (f *Fake) service(ctx context.Context, method string, run func() error) error {
	return f.call(ctx, method, func(Effect) (err error) {
		fips140.WithoutEnforcement(func() { err = run() })
		return err
	})
}

// Encrypt implements hsm.Crypto.
func (f *Fake) Encrypt(ctx context.Context, key hsm.Ref, bits int, spec hsm.CipherSpec, data []byte) (out []byte, err error) {
	err = f.service(ctx, "Encrypt", func() error {
		out, err = f.cipher(key, bits, spec, data, false)
		return err
	})
	return f.bend("Encrypt", f.mechanism(key, spec.Mode), out), err
}

// Decrypt implements hsm.Crypto.
func (f *Fake) Decrypt(ctx context.Context, key hsm.Ref, bits int, spec hsm.CipherSpec, data []byte) (out hsm.Material, err error) {
	err = f.service(ctx, "Decrypt", func() error {
		out, err = f.cipher(key, bits, spec, data, true)
		return err
	})
	return f.bend("Decrypt", f.mechanism(key, spec.Mode), out), err
}

func (f *Fake) cipher(ref hsm.Ref, bits int, spec hsm.CipherSpec, data []byte, decrypt bool) ([]byte, error) {
	usage := hsm.UsageEncrypt
	if decrypt {
		usage = hsm.UsageDecrypt
	}
	o, err := f.key(ref, usage, func(o *object) error {
		return spec.Check(ref.Class, o.spec.Type, bits, len(data), decrypt)
	})
	if err != nil {
		return nil, err
	}
	if !f.hasMode(o.spec.Type, spec) {
		return nil, fail(hsm.KindUnsupported, "cipher mode")
	}
	block, err := newBlock(o)
	if err != nil {
		return nil, err
	}
	if spec.Mode == hsm.ModeGCM {
		return gcm(block, spec, data, decrypt)
	}
	return blocks(block, spec, data, decrypt)
}

func (f *Fake) hasMode(kind hsm.KeyType, spec hsm.CipherSpec) bool {
	caps := f.capabilities()
	mode := spec.Mode
	if mode == hsm.ModeECBPad {
		mode = hsm.ModeECB
	}
	if kind == hsm.KeyDES3 {
		return slices.Contains(caps.DES3Modes, mode)
	}
	return slices.Contains(caps.AESModes, mode) && (mode != hsm.ModeGCM || len(spec.IV) == 12 || caps.GCMAnyIV)
}

func newBlock(o *object) (cipher.Block, error) {
	if o.spec.Type == hsm.KeyDES3 {
		return des.NewTripleDESCipher(o.value)
	}
	return goaes.NewCipher(o.value)
}

func errDecrypt() error { return fail(hsm.KindInvalidData, "the data does not decrypt") }

func gcm(block cipher.Block, spec hsm.CipherSpec, data []byte, decrypt bool) ([]byte, error) {
	tag := spec.TagBits / 8
	aead, err := cipher.NewGCMWithNonceSize(block, len(spec.IV)) // Go knows short tags with 12 octets of IV only
	if err != nil {
		return nil, err
	}
	if !decrypt {
		out := aead.Seal(nil, spec.IV, data, spec.AAD)
		return out[:len(out)-16+tag], nil
	}
	// A shorter tag is a prefix of the whole one: encrypt what the counter mode decrypts, and compare.
	text := data[:len(data)-tag]
	plain := aead.Seal(nil, spec.IV, text, nil)[:len(text)]
	again := aead.Seal(nil, spec.IV, plain, spec.AAD)
	if !bytes.Equal(again[:len(data)], data) {
		return nil, errDecrypt()
	}
	return plain, nil
}

func blocks(block cipher.Block, spec hsm.CipherSpec, data []byte, decrypt bool) ([]byte, error) {
	size := block.BlockSize()
	padded := spec.Mode == hsm.ModeCBCPad || spec.Mode == hsm.ModeECBPad
	out := bytes.Clone(data)
	if padded && !decrypt {
		n := size - len(data)%size
		out = append(out, bytes.Repeat([]byte{byte(n)}, n)...)
	}
	switch spec.Mode {
	case hsm.ModeCTR:
		cipher.NewCTR(block, spec.IV).XORKeyStream(out, out)
	case hsm.ModeCBC, hsm.ModeCBCPad:
		mode := cipher.NewCBCEncrypter(block, spec.IV)
		if decrypt {
			mode = cipher.NewCBCDecrypter(block, spec.IV)
		}
		mode.CryptBlocks(out, out)
	default:
		for rest := out; len(rest) > 0; rest = rest[size:] {
			if decrypt {
				block.Decrypt(rest, rest)
			} else {
				block.Encrypt(rest, rest)
			}
		}
	}
	if padded && decrypt {
		n := int(out[len(out)-1])
		if n < 1 || n > size || !bytes.Equal(out[len(out)-n:], bytes.Repeat([]byte{byte(n)}, n)) {
			return nil, errDecrypt()
		}
		out = out[:len(out)-n]
	}
	return out, nil
}
