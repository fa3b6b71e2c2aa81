package hsmtest

import (
	"bytes"
	goaes "crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	"kmipd/hsm"
)

// CryptoSuite is what the cryptographic operations of any token must pass: known answers, agreement with Go's
// packages in both directions, refusals, and any key with any mechanism. It asks open like Suite.
func CryptoSuite(t *testing.T, open func(t *testing.T) hsm.Token) {
	if fips140.Enforced() {
		t.Skip("the software to compare with is refused in FIPS mode")
	}
	tests := []struct {
		name string
		run  func(*rig)
	}{
		{"CipherVectors", suiteCipherVectors},
		{"CipherSoftware", suiteCipherSoftware},
		{"CipherPadding", suiteCipherPadding},
		{"CipherLengths", suiteCipherLengths},
		{"GCM", suiteGCM},
		{"CipherRefusals", suiteCipherRefusals},
		{"MACVectors", suiteMACVectors},
		{"HMACSoftware", suiteHMACSoftware},
		{"HMACMoved", suiteHMACMoved},
		{"MACRefusals", suiteMACRefusals},
		{"RSAEncryption", suiteRSAEncryption},
		{"RSARefusals", suiteRSARefusals},
		{"PKCS1v15", suitePKCS1v15},
		{"PSS", suitePSS},
		{"ECDSA", suiteECDSA},
		{"SignRefusals", suiteSignRefusals},
		{"ECDH", suiteECDH},
		{"PublicKeys", suitePublicKeys},
		{"UsageFlags", suiteUsageFlags},
		{"CryptoNotFound", suiteCryptoNotFound},
		{"CryptoConcurrent", suiteCryptoConcurrent},
		{"Abuse", suiteAbuse},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &rig{T: t, tok: open(t), made: map[hsm.Ref]bool{}}
			t.Cleanup(r.clean)
			tt.run(r)
		})
	}
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err) // a vector in this file
	}
	return b
}

// The plaintext and the keys of NIST SP 800-38A appendix F, and the key of SP 800-67 appendix B.
const (
	nistPlain = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
	nist128   = "2b7e151628aed2a6abf7158809cf4f3c"
	nist192   = "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b"
	nist256   = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"
	nistDES   = "0123456789abcdef23456789abcdef01456789abcdef0123"
	nistIV    = "000102030405060708090a0b0c0d0e0f"
	nistCTR   = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"
)

// secretKey imports an AES, DES3 or generic key for all uses.
func (r *rig) secretKey(kind hsm.KeyType, value []byte) (hsm.Ref, int) {
	r.Helper()
	spec := aes(8*len(value), allUsage)
	spec.Type = kind
	return r.imports(hsm.ClassSecretKey, spec, value), spec.Bits
}

// crypt encrypts and decrypts, and compares both ways.
func (r *rig) crypt(key hsm.Ref, bits int, spec hsm.CipherSpec, plain, want []byte, what string) {
	r.Helper()
	got, err := r.tok.Encrypt(r.ctx(), key, bits, spec, plain)
	r.must(err, what+": Encrypt")
	if len(want) < 100 {
		r.equal(got, want, what)
	} else if !bytes.Equal(got, want) {
		r.Errorf("%s: other ciphertext", what)
	}
	back, err := r.tok.Decrypt(r.ctx(), key, bits, spec, want)
	r.must(err, what+": Decrypt")
	if !bytes.Equal(back, plain) {
		r.Errorf("%s: other plaintext of %d octets, want %d", what, len(back), len(plain))
	}
}

func (r *rig) hasMode(kind hsm.KeyType, mode hsm.CipherMode) bool {
	caps := r.tok.Info().Capabilities
	if kind == hsm.KeyDES3 {
		return slices.Contains(caps.DES3Modes, mode)
	}
	return slices.Contains(caps.AESModes, mode)
}

func suiteCipherVectors(r *rig) {
	gcmKey, gcmAAD := "feffe9928665731c6d6a8f9467308308", unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
	gcmPlain := "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
	tests := []struct {
		name             string
		kind             hsm.KeyType
		key              string
		spec             hsm.CipherSpec
		plain, encrypted string
	}{
		{"SP 800-38A F.1.1", hsm.KeyAES, nist128, hsm.CipherSpec{Mode: hsm.ModeECB}, nistPlain,
			"3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf43b1cd7f598ece23881b00e3ed0306887b0c785e27e8ad3f8223207104725dd4"},
		{"SP 800-38A F.1.5", hsm.KeyAES, nist256, hsm.CipherSpec{Mode: hsm.ModeECB}, nistPlain,
			"f3eed1bdb5d2a03c064b5a7e3db181f8591ccb10d410ed26dc5ba74a31362870b6ed21b99ca6f4f9f153e7b1beafed1d23304b7a39f9f3ff067d8d8f9e24ecc7"},
		{"SP 800-38A F.2.1", hsm.KeyAES, nist128, hsm.CipherSpec{Mode: hsm.ModeCBC, IV: unhex(nistIV)}, nistPlain,
			"7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b273bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7"},
		{"SP 800-38A F.2.3", hsm.KeyAES, nist192, hsm.CipherSpec{Mode: hsm.ModeCBC, IV: unhex(nistIV)}, nistPlain,
			"4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a571b242012fb7ae07fa9baac3df102e008b0e27988598881d920a9e64f5615cd"},
		{"SP 800-38A F.5.1", hsm.KeyAES, nist128, hsm.CipherSpec{Mode: hsm.ModeCTR, IV: unhex(nistCTR)}, nistPlain,
			"874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee"},
		{"SP 800-38A F.5.5", hsm.KeyAES, nist256, hsm.CipherSpec{Mode: hsm.ModeCTR, IV: unhex(nistCTR)}, nistPlain,
			"601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c52b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"},
		{"SP 800-67 B", hsm.KeyDES3, nistDES, hsm.CipherSpec{Mode: hsm.ModeECB},
			"5468652071756663" + "6b2062726f776e20" + "666f78206a756d70", "a826fd8ce53b855f" + "cce21c8112256fe6" + "68d5c05dd9b6b900"},
		{"GCM 1", hsm.KeyAES, "00000000000000000000000000000000", hsm.CipherSpec{Mode: hsm.ModeGCM, IV: make([]byte, 12), TagBits: 128},
			"", "58e2fccefa7e3061367f1d57a4e7455a"},
		{"GCM 2", hsm.KeyAES, "00000000000000000000000000000000", hsm.CipherSpec{Mode: hsm.ModeGCM, IV: make([]byte, 12), TagBits: 128},
			"00000000000000000000000000000000", "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf"},
		{"GCM 4", hsm.KeyAES, gcmKey, hsm.CipherSpec{Mode: hsm.ModeGCM, IV: unhex("cafebabefacedbaddecaf888"), AAD: gcmAAD, TagBits: 128}, gcmPlain,
			"42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e0915bc94fbc3221a5db94fae95ae7121a47"},
		{"GCM 4, 96-bit tag", hsm.KeyAES, gcmKey, hsm.CipherSpec{Mode: hsm.ModeGCM, IV: unhex("cafebabefacedbaddecaf888"), AAD: gcmAAD, TagBits: 96}, gcmPlain,
			"42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e0915bc94fbc3221a5db94fae95a"},
		{"GCM 5", hsm.KeyAES, gcmKey, hsm.CipherSpec{Mode: hsm.ModeGCM, IV: unhex("cafebabefacedbad"), AAD: gcmAAD, TagBits: 128}, gcmPlain,
			"61353b4c2806934a777ff51fa22a4755699b2a714fcdc6f83766e5f97b6c742373806900e49f24b22b097544d4896b424989b5e1ebac0f07c23f45983612d2e79e3b0785561be14aaca2fccb"},
	}
	for _, tt := range tests {
		r.Run(tt.name, func(t *testing.T) {
			sub := &rig{T: t, tok: r.tok, made: map[hsm.Ref]bool{}}
			t.Cleanup(sub.clean)
			if !sub.hasMode(tt.kind, tt.spec.Mode) || len(tt.spec.IV) == 8 && !sub.tok.Info().Capabilities.GCMAnyIV {
				t.Skip("the token cannot do it")
			}
			key, bits := sub.secretKey(tt.kind, unhex(tt.key))
			sub.crypt(key, bits, tt.spec, unhex(tt.plain), unhex(tt.encrypted), tt.name)
		})
	}
}

// suiteCipherSoftware compares all modes with Go's packages, long data and counters that overflow included.
func suiteCipherSoftware(r *rig) {
	for _, bits := range []int{128, 192, 256} {
		value := counted(bits / 8)
		key, _ := r.secretKey(hsm.KeyAES, value)
		block, err := goaes.NewCipher(value)
		r.must(err, "AES")
		for _, n := range []int{1, 15, 16, 17, 1000, 1 << 20} {
			plain := counted(n)
			for _, end := range []string{"00000000fffffffe", "fffffffffffffffe", "0000000000000000"} {
				spec := hsm.CipherSpec{Mode: hsm.ModeCTR, IV: append(counted(8), unhex(end)...)}
				want := make([]byte, n)
				cipher.NewCTR(block, spec.IV).XORKeyStream(want, plain)
				if r.hasMode(hsm.KeyAES, hsm.ModeCTR) {
					r.crypt(key, bits, spec, plain, want, fmt.Sprintf("CTR of %d octets from %s", n, end))
				}
			}
			spec := hsm.CipherSpec{Mode: hsm.ModeCBC, IV: counted(16)}
			whole := plain[:n/16*16]
			if len(whole) == 0 {
				continue
			}
			want := make([]byte, len(whole))
			cipher.NewCBCEncrypter(block, spec.IV).CryptBlocks(want, whole)
			r.crypt(key, bits, spec, whole, want, "CBC")
		}
		for _, end := range []byte{255, 254, 253, 252} {
			wrap := hsm.CipherSpec{Mode: hsm.ModeCTR, IV: append(bytes.Repeat([]byte{255}, 15), end)}
			for _, n := range []int{15, 16, 17, 32, 33, 48, 49, 100} {
				want := make([]byte, n)
				cipher.NewCTR(block, wrap.IV).XORKeyStream(want, counted(n))
				r.crypt(key, bits, wrap, counted(n), want, fmt.Sprintf("CTR of %d octets to its end", n))
			}
		}
	}
}

func suiteCipherPadding(r *rig) {
	for _, kind := range []hsm.KeyType{hsm.KeyAES, hsm.KeyDES3} {
		value, size := unhex(nist256), 16
		if kind == hsm.KeyDES3 {
			value, size = unhex(nistDES), 8
		}
		key, bits := r.secretKey(kind, value)
		block, err := newBlock(&object{spec: hsm.KeySpec{Type: kind}, value: value})
		r.must(err, "cipher")
		for _, spec := range []hsm.CipherSpec{{Mode: hsm.ModeCBCPad, IV: counted(size)}, {Mode: hsm.ModeECBPad}} {
			if mode := spec.Mode; mode == hsm.ModeCBCPad && !r.hasMode(kind, mode) {
				continue
			}
			for _, n := range []int{0, 1, 7, 8, 15, 16, 17, 100} {
				plain := counted(n)
				want, err := blocks(block, spec, plain, false)
				r.must(err, "software")
				r.crypt(key, bits, spec, plain, want, fmt.Sprintf("mode %d, %d octets", spec.Mode, n))
			}
			r.badPadding(key, bits, spec, block, size)
		}
	}
}

// badPadding decrypts every wrong padding that two last octets can make, and some more.
func (r *rig) badPadding(key hsm.Ref, bits int, spec hsm.CipherSpec, block cipher.Block, size int) {
	raw := hsm.CipherSpec{Mode: hsm.ModeECB}
	if spec.Mode == hsm.ModeCBCPad {
		raw = hsm.CipherSpec{Mode: hsm.ModeCBC, IV: spec.IV}
	}
	for _, tail := range [][]byte{{0}, {byte(size + 1)}, {255}, {1, 2}, {2, 3, 3}, {0, 0}, append([]byte{9}, bytes.Repeat([]byte{byte(size)}, size-1)...)} {
		plain := append(bytes.Repeat([]byte{0xAA}, 2*size-len(tail)), tail...)
		data, err := blocks(block, raw, plain, false)
		r.must(err, "software")
		_, err = r.tok.Decrypt(r.ctx(), key, bits, spec, data)
		r.want(err, hsm.ErrInvalidData, fmt.Sprintf("mode %d, padding %x", spec.Mode, tail))
	}
}

func suiteCipherLengths(r *rig) {
	key, bits := r.secretKey(hsm.KeyAES, counted(32))
	des, desBits := r.secretKey(hsm.KeyDES3, unhex(nistDES))
	iv := counted(16)
	tests := []struct {
		name string
		key  hsm.Ref
		bits int
		spec hsm.CipherSpec
		n    int
		both bool // decryption is refused, too
	}{
		{"ECB, nothing", key, bits, hsm.CipherSpec{Mode: hsm.ModeECB}, 0, true},
		{"ECB, odd", key, bits, hsm.CipherSpec{Mode: hsm.ModeECB}, 17, true},
		{"CBC, nothing", key, bits, hsm.CipherSpec{Mode: hsm.ModeCBC, IV: iv}, 0, true},
		{"CBC, odd", key, bits, hsm.CipherSpec{Mode: hsm.ModeCBC, IV: iv}, 8, true},
		{"CTR, nothing", key, bits, hsm.CipherSpec{Mode: hsm.ModeCTR, IV: iv}, 0, true},
		{"3DES, odd", des, desBits, hsm.CipherSpec{Mode: hsm.ModeCBC, IV: iv[:8]}, 15, true},
		{"too long", key, bits, hsm.CipherSpec{Mode: hsm.ModeECB}, hsm.MaxCryptoOctets + 16, true},
		{"too long, padded", key, bits, hsm.CipherSpec{Mode: hsm.ModeECBPad}, hsm.MaxCryptoOctets + 16, true},
		{"too long, GCM", key, bits, hsm.CipherSpec{Mode: hsm.ModeGCM, IV: iv[:12], TagBits: 128}, hsm.MaxCryptoOctets + 17, true},
		{"wrong recorded length", key, bits + 1, hsm.CipherSpec{Mode: hsm.ModeECB}, 16, true},
		{"no recorded length", key, 0, hsm.CipherSpec{Mode: hsm.ModeECB}, 16, true},
	}
	for _, tt := range tests {
		data := make([]byte, tt.n)
		_, err := r.tok.Encrypt(r.ctx(), tt.key, tt.bits, tt.spec, data)
		r.want(err, hsm.ErrInvalidData, tt.name+": Encrypt")
		_, err = r.tok.Decrypt(r.ctx(), tt.key, tt.bits, tt.spec, data)
		r.want(err, hsm.ErrInvalidData, tt.name+": Decrypt")
	}
	for _, spec := range []hsm.CipherSpec{{Mode: hsm.ModeCBCPad, IV: iv}, {Mode: hsm.ModeECBPad}} {
		for _, n := range []int{0, 1, 15, 17} {
			_, err := r.tok.Decrypt(r.ctx(), key, bits, spec, make([]byte, n))
			r.want(err, hsm.ErrInvalidData, fmt.Sprintf("mode %d: Decrypt of %d octets", spec.Mode, n))
		}
	}
}

func suiteGCM(r *rig) {
	if !r.hasMode(hsm.KeyAES, hsm.ModeGCM) {
		r.Skip("no GCM")
	}
	value := counted(32)
	key, bits := r.secretKey(hsm.KeyAES, value)
	block, err := goaes.NewCipher(value)
	r.must(err, "AES")
	for _, n := range []int{0, 1, 16, 100, 70_000} {
		for _, ivLen := range []int{12, 1, 16, 60, 128} {
			for _, tag := range []int{96, 104, 112, 120, 128} {
				if ivLen != 12 && !r.tok.Info().Capabilities.GCMAnyIV {
					continue
				}
				spec := hsm.CipherSpec{Mode: hsm.ModeGCM, IV: counted(ivLen), AAD: counted(n % 37), TagBits: tag}
				plain := counted(n)
				want, err := gcm(block, spec, plain, false)
				r.must(err, "software")
				r.crypt(key, bits, spec, plain, want, fmt.Sprintf("GCM, %d octets, IV %d, tag %d", n, ivLen, tag))
			}
		}
	}
	r.tamperGCM(key, bits)
}

func (r *rig) tamperGCM(key hsm.Ref, bits int) {
	spec := hsm.CipherSpec{Mode: hsm.ModeGCM, IV: counted(12), AAD: counted(20), TagBits: 128}
	data, err := r.tok.Encrypt(r.ctx(), key, bits, spec, counted(40))
	r.must(err, "Encrypt")
	for _, at := range []int{0, 20, 39, 40, 55} {
		bad := bytes.Clone(data)
		bad[at] ^= 1
		out, err := r.tok.Decrypt(r.ctx(), key, bits, spec, bad)
		r.want(err, hsm.ErrInvalidData, fmt.Sprintf("octet %d changed", at))
		if len(out) != 0 {
			r.Errorf("octet %d changed: %d octets came out", at, len(out))
		}
	}
	for _, n := range []int{0, 1, 15, 16, 55} {
		_, err := r.tok.Decrypt(r.ctx(), key, bits, spec, data[:n])
		r.want(err, hsm.ErrInvalidData, fmt.Sprintf("%d octets of it", n))
	}
	other := spec
	other.AAD = counted(19)
	_, err = r.tok.Decrypt(r.ctx(), key, bits, other, data)
	r.want(err, hsm.ErrInvalidData, "other additional data")
	other = spec
	other.IV = append(counted(11), 99)
	_, err = r.tok.Decrypt(r.ctx(), key, bits, other, data)
	r.want(err, hsm.ErrInvalidData, "another IV")
	back, err := r.tok.Decrypt(r.ctx(), key, bits, spec, data)
	r.must(err, "Decrypt after failures")
	r.equal(back, counted(40), "Decrypt after failures")
}

func suiteCipherRefusals(r *rig) {
	key, bits := r.secretKey(hsm.KeyAES, counted(32))
	des, desBits := r.secretKey(hsm.KeyDES3, unhex(nistDES))
	secret, secretBits := r.secretKey(hsm.KeyGeneric, counted(32))
	private, public, _ := r.generatePair(rsaPair(2048))
	iv, ecb := counted(16), hsm.CipherSpec{Mode: hsm.ModeECB}
	tests := []struct {
		name string
		key  hsm.Ref
		bits int
		spec hsm.CipherSpec
		want *hsm.Error
	}{
		{"generic secret", secret, secretBits, ecb, hsm.ErrInvalidKey},
		{"private key", private, 2048, ecb, hsm.ErrInvalidKey},
		{"public key", public, 2048, ecb, hsm.ErrInvalidKey},
		{"no mode", key, bits, hsm.CipherSpec{}, hsm.ErrUnsupported},
		{"unknown mode", key, bits, hsm.CipherSpec{Mode: 99}, hsm.ErrUnsupported},
		{"3DES CTR", des, desBits, hsm.CipherSpec{Mode: hsm.ModeCTR, IV: iv[:8]}, hsm.ErrUnsupported},
		{"3DES GCM", des, desBits, hsm.CipherSpec{Mode: hsm.ModeGCM, IV: iv[:12], TagBits: 128}, hsm.ErrUnsupported},
		{"3DES CBC, long IV", des, desBits, hsm.CipherSpec{Mode: hsm.ModeCBC, IV: iv}, hsm.ErrInvalidData},
		{"ECB with IV", key, bits, hsm.CipherSpec{Mode: hsm.ModeECB, IV: iv}, hsm.ErrInvalidData},
		{"CBC without IV", key, bits, hsm.CipherSpec{Mode: hsm.ModeCBC}, hsm.ErrInvalidData},
		{"CBC, short IV", key, bits, hsm.CipherSpec{Mode: hsm.ModeCBC, IV: iv[:15]}, hsm.ErrInvalidData},
		{"CBC_PAD, long IV", key, bits, hsm.CipherSpec{Mode: hsm.ModeCBCPad, IV: counted(17)}, hsm.ErrInvalidData},
		{"CTR, short IV", key, bits, hsm.CipherSpec{Mode: hsm.ModeCTR, IV: iv[:12]}, hsm.ErrInvalidData},
		{"CTR with additional data", key, bits, hsm.CipherSpec{Mode: hsm.ModeCTR, IV: iv, AAD: iv}, hsm.ErrUnsupported},
		{"CBC with tag", key, bits, hsm.CipherSpec{Mode: hsm.ModeCBC, IV: iv, TagBits: 128}, hsm.ErrUnsupported},
		{"GCM without IV", key, bits, hsm.CipherSpec{Mode: hsm.ModeGCM, TagBits: 128}, hsm.ErrInvalidData},
		{"GCM, IV of 129", key, bits, hsm.CipherSpec{Mode: hsm.ModeGCM, IV: counted(129), TagBits: 128}, hsm.ErrInvalidData},
	}
	for _, tag := range []int{-8, 0, 8, 64, 88, 97, 100, 136, 1 << 30} {
		tests = append(tests, tests[len(tests)-1])
		last := &tests[len(tests)-1]
		last.name, last.spec.IV, last.spec.TagBits, last.want = fmt.Sprintf("GCM, tag of %d bits", tag), iv[:12], tag, hsm.ErrUnsupported
	}
	for _, tt := range tests {
		data := make([]byte, 48)
		_, err := r.tok.Encrypt(r.ctx(), tt.key, tt.bits, tt.spec, data)
		r.want(err, tt.want, tt.name+": Encrypt")
		_, err = r.tok.Decrypt(r.ctx(), tt.key, tt.bits, tt.spec, data)
		r.want(err, tt.want, tt.name+": Decrypt")
	}
}

// counted is the octets 0, 1, 2 and so on.
func counted(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}
