package hsm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"slices"
)

// The tests of what secret keys do.

func cipherTests(caps Capabilities) (list []Test) {
	for _, v := range cipherVectors {
		modes := caps.AESModes
		if v.kind == KeyDES3 {
			modes = caps.DES3Modes
		}
		has := caps.Transport != "" && slices.Contains(modes, v.mode)
		list = append(list, Test{Mechanism: CipherMechanism(v.kind, v.mode), Name: v.source, Run: offered(has, v.test)})
	}
	return list
}

// test encrypts and decrypts the vector, and goes round with other data.
func (v cipherVector) test(ctx context.Context, token Token) error {
	key, plain, want := octets(v.key), octets(v.plain), octets(v.encipher)
	spec := KeySpec{Type: v.kind, Bits: 8 * len(key), Usage: UsageEncrypt | UsageDecrypt}
	how := CipherSpec{Mode: v.mode, TagBits: v.tagBits}
	if v.iv != "" {
		how.IV = octets(v.iv)
	}
	if v.aad != "" {
		how.AAD = octets(v.aad)
	}
	return withKey(ctx, token, ClassSecretKey, spec, key, func(ref Ref) error {
		got, err := token.Encrypt(ctx, ref, spec.Bits, how, plain)
		if err := equal(got, want, err); err != nil {
			return err
		}
		back, err := token.Decrypt(ctx, ref, spec.Bits, how, want)
		if err := equal(back, plain, err); err != nil {
			return err
		}
		bad, err := token.Decrypt(ctx, ref, spec.Bits, how, altered(want))
		if err := refused(bad, plain, err); err != nil {
			return err
		}
		if v.mode == ModeGCM && err == nil {
			return &Error{Kind: KindInternal, Call: "self-test", Text: "a wrong tag was accepted"}
		}
		other := bytes.Repeat([]byte{0x5a, 0xc3}, 32)
		if got, err = token.Encrypt(ctx, ref, spec.Bits, how, other); err != nil {
			return err
		}
		back, err = token.Decrypt(ctx, ref, spec.Bits, how, got)
		return equal(back, other, err)
	})
}

func macTests(caps Capabilities) (list []Test) {
	for h := SHA1; h <= SHA512; h++ {
		v := hmacVectors[h]
		has := caps.Transport != "" && slices.Contains(caps.HMAC, h)
		list = append(list, Test{Mechanism: HMACMechanism(h), Name: "RFC 4231, RFC 2202 test case 6", Run: offered(has, func(ctx context.Context, token Token) error {
			spec := KeySpec{Type: KeyGeneric, Bits: 8 * v.octets, Usage: UsageSign | UsageVerify}
			return withKey(ctx, token, ClassSecretKey, spec, bytes.Repeat([]byte{0xaa}, v.octets), func(ref Ref) error {
				mac, err := token.MAC(ctx, ref, spec.Bits, MACSpec{Scheme: MACHMAC, Hash: h}, []byte(messageHMAC))
				return equal(mac, octets(v.mac), err)
			})
		})})
	}
	for _, v := range cmacVectors {
		name := MechanismAESCMAC
		if v.kind == KeyDES3 {
			name = MechanismDES3CMAC
		}
		has := caps.Transport != "" && slices.Contains(caps.CMAC, v.kind)
		list = append(list, Test{Mechanism: name, Name: v.source, Run: offered(has, func(ctx context.Context, token Token) error {
			key := octets(v.key)
			spec := KeySpec{Type: v.kind, Bits: 8 * len(key), Usage: UsageSign | UsageVerify}
			return withKey(ctx, token, ClassSecretKey, spec, key, func(ref Ref) error {
				mac, err := token.MAC(ctx, ref, spec.Bits, MACSpec{Scheme: MACCMAC}, octets(v.data))
				return equal(mac, octets(v.mac), err)
			})
		})})
	}
	return append(list, Test{Mechanism: MechanismKeyDigest, Name: "SHA-256 of a key", Run: offered(caps.Transport != "", testKeyDigest)})
}

func testKeyDigest(ctx context.Context, token Token) error {
	key := octets(key38A2)
	want := sha256.Sum256(key)
	spec := KeySpec{Type: KeyAES, Bits: 256, Usage: UsageEncrypt, Extractable: true}
	return withKey(ctx, token, ClassSecretKey, spec, key, func(ref Ref) error {
		sum, err := token.Digest(ctx, ref, 256)
		return equal(sum, want[:], err)
	})
}

func wrapTests(caps Capabilities) (list []Test) {
	for _, v := range wrapVectors {
		how := WrapSpec{Mechanism: v.how}
		has := caps.Transport != "" && (v.how == WrapAESKW && caps.KW || v.how == WrapAESKWP && caps.KWP)
		list = append(list, Test{Mechanism: how.Name(), Name: v.source, Run: offered(has, func(ctx context.Context, token Token) error {
			kek := octets(v.kek)
			spec := KeySpec{Type: KeyAES, Bits: 8 * len(kek), Usage: UsageWrap | UsageUnwrap}
			return withKey(ctx, token, ClassSecretKey, spec, kek, func(ref Ref) error {
				return testWrap(ctx, token, ref, ref, how, octets(v.plain), octets(v.wrapped), true)
			})
		})})
	}
	return list
}

// testWrap unwraps a known blob, wraps its plain value to the same (known) or at least to something that unwraps, and wants
// an altered blob refused.
func testWrap(ctx context.Context, token Token, wrapping, unwrapping Ref, how WrapSpec, plain, wrapped []byte, known bool) error {
	got, err := token.UnwrapBytes(ctx, unwrapping, how, wrapped)
	switch {
	case errors.Is(err, ErrUnsupported) && len(plain)%8 != 0:
		// A token that records a filled length cannot tell the length of 7 octets; such blobs are refused, not misread.
	default:
		if err := equal(got, plain, err); err != nil {
			return err
		}
	}
	blob, err := token.WrapBytes(ctx, wrapping, how, plain)
	if err != nil {
		return err
	}
	if known {
		if err := equal(blob, wrapped, nil); err != nil {
			return err
		}
	} else {
		got, err = token.UnwrapBytes(ctx, unwrapping, how, blob)
		if err := equal(got, plain, err); err != nil {
			return err
		}
	}
	bad, err := token.UnwrapBytes(ctx, unwrapping, how, altered(wrapped))
	defer bad.Wipe()
	// RSAES-PKCS1-v1_5 may give other data instead of an error, so that there is no padding oracle.
	if err == nil && how.Mechanism != WrapRSAPKCS1v15 {
		return &Error{Kind: KindInternal, Call: "self-test", Text: "an altered blob was accepted"}
	}
	return refused(bad, plain, err)
}
