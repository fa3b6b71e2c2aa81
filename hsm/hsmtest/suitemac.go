package hsmtest

import (
	"bytes"
	"crypto/hmac"
	"fmt"
	"slices"
	"strings"

	"kmipd/hsm"
)

var allHashes = []hsm.Hash{hsm.SHA1, hsm.SHA224, hsm.SHA256, hsm.SHA384, hsm.SHA512}

// mac computes a MAC and compares it.
func (r *rig) mac(key hsm.Ref, bits int, spec hsm.MACSpec, data, want []byte, what string) {
	r.Helper()
	got, err := r.tok.MAC(r.ctx(), key, bits, spec, data)
	if err != nil {
		r.Errorf("%s: %v", what, err)
		return
	}
	r.equal(got, want, what)
}

// suiteMACVectors has RFC 4231 (HMAC), its SHA-1 from RFC 2202, RFC 4493 and NIST SP 800-38B (CMAC).
func suiteMACVectors(r *rig) {
	caps := r.tok.Info().Capabilities
	repeat := func(b byte, n int) string { return string(bytes.Repeat([]byte{b}, n)) }
	for _, v := range []struct {
		key, data string
		want      map[hsm.Hash]string
	}{
		{repeat(0x0b, 20), "Hi There", map[hsm.Hash]string{
			hsm.SHA1:   "b617318655057264e28bc0b6fb378c8ef146be00",
			hsm.SHA224: "896fb1128abbdf196832107cd49df33f47b4b1169912ba4f53684b22",
			hsm.SHA256: "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
			hsm.SHA384: "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6",
			hsm.SHA512: "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
		}},
		{"Jefe", "what do ya want for nothing?", map[hsm.Hash]string{
			hsm.SHA1:   "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
			hsm.SHA224: "a30e01098bc6dbbf45690f3a7e9e6d0f8bbea2a39e6148008fd05e44",
			hsm.SHA256: "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
			hsm.SHA384: "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
			hsm.SHA512: "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
		}},
		{repeat(0xaa, 131), "Test Using Larger Than Block-Size Key - Hash Key First", map[hsm.Hash]string{
			hsm.SHA256: "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
			hsm.SHA512: "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
		}},
	} {
		key, bits := r.secretKey(hsm.KeyGeneric, []byte(v.key))
		for h, want := range v.want {
			if slices.Contains(caps.HMAC, h) {
				r.mac(key, bits, hsm.MACSpec{Scheme: hsm.MACHMAC, Hash: h}, []byte(v.data), unhex(want), fmt.Sprintf("HMAC %d of %q", h, v.data))
			}
		}
	}
	for _, v := range []struct {
		kind hsm.KeyType
		key  string
		want map[int]string // by octets of nistPlain
	}{
		{hsm.KeyAES, nist128, map[int]string{0: "bb1d6929e95937287fa37d129b756746", 16: "070a16b46b4d4144f79bdd9dd04a287c",
			40: "dfa66747de9ae63030ca32611497c827", 64: "51f0bebf7e3b9d92fc49741779363cfe"}},
		{hsm.KeyAES, nist256, map[int]string{0: "028962f61b7bf89efc6b551f4667d983", 16: "28a7023f452e8f82bd4bf28d8c37c35c",
			40: "aaf3d8f1de5640c232f5b169b9c911e6", 64: "e1992190549f6ed5696a2c056c315410"}},
		{hsm.KeyDES3, "8aa83bf8cbda10620bc1bf19fbb6cd58bc313d4a371ca8b5", map[int]string{0: "b7a688e122ffaf95", 8: "8e8f293136283797",
			20: "743ddbe0ce2dc2ed", 32: "33e6b1092400eae5"}},
	} {
		if !slices.Contains(caps.CMAC, v.kind) {
			continue
		}
		key, bits := r.secretKey(v.kind, unhex(v.key))
		for n, want := range v.want {
			r.mac(key, bits, hsm.MACSpec{Scheme: hsm.MACCMAC}, unhex(nistPlain)[:n], unhex(want), fmt.Sprintf("CMAC of %d octets", n))
		}
	}
}

// suiteHMACSoftware compares HMAC with keys of all types and lengths with Go's, short ones and ones that end in zeros included.
func suiteHMACSoftware(r *rig) {
	caps := r.tok.Info().Capabilities
	keys := []struct {
		kind  hsm.KeyType
		value []byte
	}{
		{hsm.KeyAES, counted(16)}, {hsm.KeyAES, counted(24)}, {hsm.KeyAES, counted(32)}, {hsm.KeyDES3, unhex(nistDES)},
		{hsm.KeyGeneric, append(counted(17), 0, 0, 0)}, {hsm.KeyGeneric, make([]byte, 1)},
	}
	for _, n := range []int{1, 4, 8, 13, 16, 19, 20, 21, 25, 28, 31, 32, 33, 47, 48, 49, 60, 63, 64, 65, 71, 100, 127, 128, 129, 200} {
		keys = append(keys, struct {
			kind  hsm.KeyType
			value []byte
		}{hsm.KeyGeneric, counted(n)})
	}
	for _, k := range keys {
		key, bits := r.secretKey(k.kind, k.value)
		for _, h := range allHashes {
			if !slices.Contains(caps.HMAC, h) {
				continue
			}
			for _, n := range []int{0, 1, 100, 5000} {
				m := hmac.New(goHash(h).New, k.value)
				m.Write(counted(n))
				r.mac(key, bits, hsm.MACSpec{Scheme: hsm.MACHMAC, Hash: h}, counted(n), m.Sum(nil), fmt.Sprintf("type %d, %d octets, hash %d", k.kind, len(k.value), h))
			}
		}
	}
}

// suiteHMACMoved verifies that a key that was moved is gone with its original, and that one not extractable is not moved.
func suiteHMACMoved(r *rig) {
	spec := hsm.MACSpec{Scheme: hsm.MACHMAC, Hash: hsm.SHA256}
	if !slices.Contains(r.tok.Info().Capabilities.HMAC, spec.Hash) {
		r.Skip("no HMAC")
	}
	for _, kind := range []hsm.KeyType{hsm.KeyAES, hsm.KeyGeneric} {
		key, bits := r.secretKey(kind, counted(16))
		first, err := r.tok.MAC(r.ctx(), key, bits, spec, []byte("x"))
		r.must(err, "MAC")
		r.must(r.tok.Destroy(r.ctx(), key), "Destroy")
		_, err = r.tok.MAC(r.ctx(), key, bits, spec, []byte("x"))
		r.want(err, hsm.ErrNotFound, "MAC with a destroyed key")
		other := aes(128, allUsage)
		other.ID, other.Type = key.ID, kind
		r.imports(hsm.ClassSecretKey, other, bytes.Repeat([]byte{7}, 16))
		second, err := r.tok.MAC(r.ctx(), key, bits, spec, []byte("x"))
		r.must(err, "MAC")
		if bytes.Equal(first, second) {
			r.Error("a destroyed key's MAC came back with another key of its name")
		}
	}
	fixed := aes(256, allUsage)
	fixed.Extractable = false
	key := r.generate(fixed)
	if _, err := r.tok.MAC(r.ctx(), key, 256, spec, []byte("x")); err != nil {
		r.want(err, hsm.ErrUnsupported, "MAC with an AES key that is not extractable")
	}
}

func suiteMACRefusals(r *rig) {
	key, bits := r.secretKey(hsm.KeyAES, counted(32))
	secret, secretBits := r.secretKey(hsm.KeyGeneric, counted(64))
	private, public, _ := r.generatePair(ecPair(hsm.CurveP256))
	hmac256 := hsm.MACSpec{Scheme: hsm.MACHMAC, Hash: hsm.SHA256}
	for _, tt := range []struct {
		name string
		key  hsm.Ref
		bits int
		spec hsm.MACSpec
		n    int
		want *hsm.Error
	}{
		{"private key", private, 256, hmac256, 1, hsm.ErrInvalidKey},
		{"public key", public, 256, hmac256, 1, hsm.ErrInvalidKey},
		{"CMAC with a generic secret", secret, secretBits, hsm.MACSpec{Scheme: hsm.MACCMAC}, 1, hsm.ErrInvalidKey},
		{"CMAC with a hash", key, bits, hsm.MACSpec{Scheme: hsm.MACCMAC, Hash: hsm.SHA256}, 1, hsm.ErrUnsupported},
		{"HMAC without hash", secret, secretBits, hsm.MACSpec{Scheme: hsm.MACHMAC}, 1, hsm.ErrUnsupported},
		{"unknown hash", secret, secretBits, hsm.MACSpec{Scheme: hsm.MACHMAC, Hash: 77}, 1, hsm.ErrUnsupported},
		{"no scheme", secret, secretBits, hsm.MACSpec{Hash: hsm.SHA256}, 1, hsm.ErrUnsupported},
		{"unknown scheme", secret, secretBits, hsm.MACSpec{Scheme: 9}, 1, hsm.ErrUnsupported},
		{"no recorded length", secret, 0, hmac256, 1, hsm.ErrInvalidData},
		{"odd recorded length", key, 255, hmac256, 1, hsm.ErrInvalidData},
		{"too long", secret, secretBits, hmac256, hsm.MaxCryptoOctets + 1, hsm.ErrInvalidData},
	} {
		_, err := r.tok.MAC(r.ctx(), tt.key, tt.bits, tt.spec, make([]byte, tt.n))
		r.want(err, tt.want, tt.name)
	}
}

// suiteUsageFlags tries every operation with a key that has all usage flags but the one it needs.
func suiteUsageFlags(r *rig) {
	ctx := r.ctx()
	value := counted(32)
	secret := func(usage hsm.Usage) hsm.Ref {
		return r.imports(hsm.ClassSecretKey, aes(256, usage), value)
	}
	ecb, data := hsm.CipherSpec{Mode: hsm.ModeECB}, make([]byte, 16)
	_, err := r.tok.Encrypt(ctx, secret(allUsage&^hsm.UsageEncrypt), 256, ecb, data)
	r.want(err, hsm.ErrInvalidKey, "Encrypt")
	_, err = r.tok.Decrypt(ctx, secret(allUsage&^hsm.UsageDecrypt), 256, ecb, data)
	r.want(err, hsm.ErrInvalidKey, "Decrypt")
	cmac := hsm.MACSpec{Scheme: hsm.MACCMAC}
	_, err = r.tok.MAC(ctx, secret(allUsage&^hsm.UsageSign&^hsm.UsageVerify), 256, cmac, data)
	r.want(err, hsm.ErrInvalidKey, "MAC")
	for _, spec := range []hsm.MACSpec{cmac, {Scheme: hsm.MACHMAC, Hash: hsm.SHA256}} {
		signs, err := r.tok.MAC(ctx, secret(hsm.UsageSign), 256, spec, data)
		r.must(err, "MAC with a key that signs")
		verifies, err := r.tok.MAC(ctx, secret(hsm.UsageVerify), 256, spec, data)
		r.must(err, "MAC with a key that verifies")
		r.equal(verifies, signs, "MAC with a key that verifies")
	}
	for _, half := range []hsm.KeySpec{{Type: hsm.KeyEC, Curve: hsm.CurveP256}, {Type: hsm.KeyRSA, Bits: 2048}} {
		other := hsm.UsageWrap
		half.Usage = hsm.UsageUnwrap
		if half.Type == hsm.KeyEC {
			half.Usage, other = hsm.UsageDerive, 0
		}
		private, public, spki := r.generatePair(pair(half, other))
		sign := hsm.SignSpec{Scheme: hsm.SignECDSA}
		if half.Type == hsm.KeyRSA {
			sign.Scheme = hsm.SignRSAPKCS1v15
		}
		_, err = r.tok.Sign(ctx, private, sign, data)
		r.want(err, hsm.ErrInvalidKey, "Sign")
		_, err = r.tok.Verify(ctx, public, sign, data, make([]byte, 256))
		r.want(err, hsm.ErrInvalidKey, "Verify")
		if half.Type == hsm.KeyRSA {
			_, err = r.tok.RSAEncrypt(ctx, public, hsm.RSACipherSpec{}, data)
			r.want(err, hsm.ErrInvalidKey, "RSAEncrypt")
			private, _, _ = r.generatePair(pair(hsm.KeySpec{Type: hsm.KeyRSA, Bits: 2048, Usage: hsm.UsageSign}, hsm.UsageVerify))
			_, err = r.tok.RSADecrypt(ctx, private, hsm.RSACipherSpec{}, make([]byte, 256))
			r.want(err, hsm.ErrInvalidKey, "RSADecrypt")
			continue
		}
		private, _, _ = r.generatePair(ecPair(hsm.CurveP256))
		_, err = r.tok.ECDH(ctx, private, spki)
		r.want(err, hsm.ErrInvalidKey, "ECDH")
	}
}

// suiteCryptoNotFound asks for objects that do not exist, and for those of other classes.
func suiteCryptoNotFound(r *rig) {
	ctx := r.ctx()
	id := hsm.NewTokenID()
	secret, private, public := hsm.Ref{Class: hsm.ClassSecretKey, ID: id}, hsm.Ref{Class: hsm.ClassPrivateKey, ID: id}, hsm.Ref{Class: hsm.ClassPublicKey, ID: id}
	_, _, spki := r.generatePair(ecPair(hsm.CurveP256))
	calls := func(secret, private, public hsm.Ref) map[string]error {
		out := map[string]error{}
		_, out["Encrypt"] = r.tok.Encrypt(ctx, secret, 256, hsm.CipherSpec{Mode: hsm.ModeECB}, make([]byte, 16))
		_, out["Decrypt"] = r.tok.Decrypt(ctx, secret, 256, hsm.CipherSpec{Mode: hsm.ModeECB}, make([]byte, 16))
		_, out["MAC"] = r.tok.MAC(ctx, secret, 256, hsm.MACSpec{Scheme: hsm.MACCMAC}, make([]byte, 16))
		_, out["RSAEncrypt"] = r.tok.RSAEncrypt(ctx, public, hsm.RSACipherSpec{}, make([]byte, 16))
		_, out["RSADecrypt"] = r.tok.RSADecrypt(ctx, private, hsm.RSACipherSpec{}, make([]byte, 256))
		_, out["Sign"] = r.tok.Sign(ctx, private, hsm.SignSpec{Scheme: hsm.SignECDSA}, make([]byte, 32))
		_, out["Verify"] = r.tok.Verify(ctx, public, hsm.SignSpec{Scheme: hsm.SignECDSA}, make([]byte, 32), make([]byte, 64))
		_, out["ECDH"] = r.tok.ECDH(ctx, private, spki)
		_, out["PublicKey"] = r.tok.PublicKey(ctx, public)
		return out
	}
	for name, err := range calls(secret, private, public) {
		r.want(err, hsm.ErrNotFound, name)
	}
	data := hsm.Ref{Class: hsm.ClassData, ID: id}
	if r.tok.Info().Capabilities.Data {
		r.must(r.tok.StoreData(ctx, r.ref(hsm.ClassData, id).ID, "data", counted(32)), "StoreData")
	}
	for _, ref := range []hsm.Ref{data, {Class: hsm.ClassCertificate, ID: id}, {ID: id}, {Class: 99, ID: id}} {
		for name, err := range calls(ref, ref, ref) {
			r.want(err, hsm.ErrInvalidKey, fmt.Sprintf("%s with class %d", name, ref.Class))
		}
	}
	for name, err := range calls(secret, private, public) {
		if err == nil || strings.Contains(err.Error(), id.String()) {
			r.Errorf("%s: %v", name, err)
		}
	}
}
