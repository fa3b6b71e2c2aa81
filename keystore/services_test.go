package keystore

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"kmipd/hsm"
	"kmipd/hsm/hsmtest"
	"kmipd/kmip"
)

func (c client) encrypt(uid string, req kmip.EncryptRequest) (*kmip.EncryptResponse, error) {
	return do(c, kmip.OperationEncrypt, uid, c.s.Encrypt, &req)
}

func (c client) decrypt(uid string, req kmip.DecryptRequest) (*kmip.DecryptResponse, error) {
	return do(c, kmip.OperationDecrypt, uid, c.s.Decrypt, &req)
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	if b == nil {
		return []byte{}
	}
	return b
}

// active are the attributes of a key that is in use.
func active(m kmip.CryptographicUsageMask, more ...kmip.Attribute) []kmip.Attribute {
	return append([]kmip.Attribute{mask(m), at("Activation Date", timeValue(epoch.Add(-time.Hour)))}, more...)
}

const (
	both  = kmip.CryptographicUsageMaskEncrypt | kmip.CryptographicUsageMaskDecrypt
	codes = kmip.CryptographicUsageMaskMACGenerate | kmip.CryptographicUsageMaskMACVerify
)

// key registers a symmetric key.
func (c client) key(value []byte, alg kmip.CryptographicAlgorithm, attrs ...kmip.Attribute) string {
	c.t.Helper()
	req := symmetric(value)
	req.TemplateAttribute = *with(attrs...)
	req.SymmetricKey.KeyBlock.CryptographicAlgorithm = alg
	return c.must(c.register(req))
}

func parameters(p kmip.CryptographicParameters) kmip.Attribute {
	return at("Cryptographic Parameters", structValue(&p))
}

func blockMode(m kmip.BlockCipherMode, padding ...kmip.PaddingMethod) *kmip.CryptographicParameters {
	p := &kmip.CryptographicParameters{BlockCipherMode: m}
	if len(padding) > 0 {
		p.PaddingMethod = padding[0]
	}
	return p
}

func gcmParams(tag int32) *kmip.CryptographicParameters {
	return &kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeGCM, TagLength: &tag}
}

const (
	aes128 = "0123456789abcdef0123456789abcdef"
	nist   = "2b7e151628aed2a6abf7158809cf4f3c" // NIST SP 800-38A
	des3   = "010101010101010101010101010101010101010101010101"
)

// Known answers of each mode, there and back.
func TestCiphers(t *testing.T) {
	aes, tdes := kmip.CryptographicAlgorithmAES, kmip.CryptographicAlgorithmDES3
	gcmText := "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
	aad := "feedfacedeadbeeffeedfacedeadbeefabaddad2"
	for _, v := range []struct {
		name, key                  string
		alg                        kmip.CryptographicAlgorithm
		params                     *kmip.CryptographicParameters
		iv, aad, text, cipher, tag string
	}{
		{"ECB", aes128, aes, blockMode(kmip.BlockCipherModeECB), "", "", "01020304050607080910111213141516", "d9bcce11b0b437b90239552df3a360c9", ""},
		{"ECB none", aes128, aes, blockMode(kmip.BlockCipherModeECB, kmip.PaddingMethodNone), "", "", "01020304050607080910111213141516", "d9bcce11b0b437b90239552df3a360c9", ""},
		{"ECB PKCS5", aes128, aes, blockMode(kmip.BlockCipherModeECB, kmip.PaddingMethodPKCS5), "", "", "01020304050607080910111213141516",
			"d9bcce11b0b437b90239552df3a360c90efb6bfed93b4d1ea2123ba4db075ff6", ""},
		{"CBC", nist, aes, blockMode(kmip.BlockCipherModeCBC), "000102030405060708090a0b0c0d0e0f", "",
			"6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51", "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2", ""},
		{"CBC PKCS5", aes128, aes, blockMode(kmip.BlockCipherModeCBC, kmip.PaddingMethodPKCS5), "01020304050607080910111213141516", "",
			"010203040506070809101112131415160102030405060708091011121314151601",
			"79abc5c23868ad84d388ce61110a62742bda19d694bbcb757dd06617c0d80fb1df2e71864ad9633d7d797e30860df00d", ""},
		{"CTR", nist, aes, blockMode(kmip.BlockCipherModeCTR), "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", "",
			"6bc1bee22e409f96e93d7e117393172aae2d8a571e", "874d6191b620e3261bef6864990db6ce9806f66b79", ""},
		{"CTR of RFC 3686", "ae6852f8121067cc4bf7a5765577f39e", aes, counterFrom(1), "000000300000000000000000", "",
			"53696e676c6520626c6f636b206d7367", "e4095d4fb7a7b3792d6175a3261311b8", ""},
		{"CTR of RFC 3686, two blocks", "7e24067817fae0d743d6ce1f32539163", aes, counterFrom(1), "006cb6dbc0543b59da48d90b", "",
			"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
			"5104a106168a72d9790d41ee8edad388eb2e1efc46da57c8fce630df9141be28", ""},
		{"CTR from a counter of 8 bits", nist, aes, counterFrom(255, 8), "f0f1f2f3f4f5f6f7f8f9fafbfcfdfe", "",
			"6bc1bee22e409f96e93d7e117393172aae2d8a571e", "874d6191b620e3261bef6864990db6ce9806f66b79", ""},
		{"3DES ECB", des3, tdes, blockMode(kmip.BlockCipherModeECB), "", "", "0102030405060708", "cead373db80eabf8", ""},
		{"GCM", "00000000000000000000000000000000", aes, gcmParams(16), "000000000000000000000000", "",
			"00000000000000000000000000000000", "0388dace60b6a392f328c2b971b2fe78", "ab6e47d42cec13bdf53a67b21257bddf"},
		{"GCM short tag", "00000000000000000000000000000000", aes, gcmParams(12), "000000000000000000000000", "",
			"00000000000000000000000000000000", "0388dace60b6a392f328c2b971b2fe78", "ab6e47d42cec13bdf53a67b2"},
		{"GCM nothing", "00000000000000000000000000000000", aes, blockMode(kmip.BlockCipherModeGCM), "000000000000000000000000", "", "", "", "58e2fccefa7e3061367f1d57a4e7455a"},
		{"GCM additional data", "feffe9928665731c6d6a8f9467308308", aes, gcmParams(16), "cafebabefacedbaddecaf888", aad, gcmText,
			"42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
			"5bc94fbc3221a5db94fae95ae7121a47"},
		{"GCM short IV", "feffe9928665731c6d6a8f9467308308", aes, gcmParams(16), "cafebabefacedbad", aad, gcmText,
			"61353b4c2806934a777ff51fa22a4755699b2a714fcdc6f83766e5f97b6c742373806900e49f24b22b097544d4896b424989b5e1ebac0f07c23f4598",
			"3612d2e79e3b0785561be14aaca2fccb"},
	} {
		t.Run(v.name, func(t *testing.T) {
			c := newBench(t).client("alice")
			uid := c.key(unhex(v.key), v.alg, active(both)...)
			enc := kmip.EncryptRequest{CryptographicParameters: v.params, Data: unhex(v.text)}
			dec := kmip.DecryptRequest{CryptographicParameters: v.params, Data: unhex(v.cipher)}
			if v.iv != "" {
				enc.IVCounterNonce, dec.IVCounterNonce = unhex(v.iv), unhex(v.iv)
			}
			if v.aad != "" {
				enc.AuthenticatedEncryptionAdditionalData, dec.AuthenticatedEncryptionAdditionalData = unhex(v.aad), unhex(v.aad)
			}
			if v.tag != "" {
				dec.AuthenticatedEncryptionTag = unhex(v.tag)
			}
			got, err := c.encrypt(uid, enc)
			if err != nil {
				t.Fatal(err)
			}
			if hex.EncodeToString(got.Data) != v.cipher || hex.EncodeToString(got.AuthenticatedEncryptionTag) != v.tag || got.Data == nil {
				t.Errorf("got %x tag %x, want %s tag %s", got.Data, got.AuthenticatedEncryptionTag, v.cipher, v.tag)
			}
			if got.UniqueIdentifier != uid || got.IVCounterNonce != nil || got.CorrelationValue != nil {
				t.Errorf("got %+v, want the identifier, no IV and no Correlation Value", got)
			}
			back, err := c.decrypt(uid, dec)
			if err != nil {
				t.Fatal(err)
			}
			if hex.EncodeToString(back.Data) != v.text || back.Data == nil {
				t.Errorf("got %x back, want %s", back.Data, v.text)
			}
		})
	}
}

// The parameters: the request's, else the key's with the lowest index.
func TestWhichParameters(t *testing.T) {
	c := newBench(t).client("alice")
	block := unhex("01020304050607080910111213141516")
	iv := make([]byte, 16)
	uid := c.key(unhex(aes128), kmip.CryptographicAlgorithmAES,
		active(both, parameters(*blockMode(kmip.BlockCipherModeECB)), parameters(*blockMode(kmip.BlockCipherModeCTR)))...)
	ecb, err := c.encrypt(uid, kmip.EncryptRequest{Data: block})
	c.ok(err)
	if got := hex.EncodeToString(ecb.Data); got != "d9bcce11b0b437b90239552df3a360c9" {
		t.Errorf("without parameters: got %s, want the key's first ones, ECB", got)
	}
	c.ok(c.remove(uid, "Cryptographic Parameters", nil))
	_, err = c.encrypt(uid, kmip.EncryptRequest{Data: block})
	wantReason(t, "without parameters, the second ones left (CTR), no IV", err, kmip.ResultReasonInvalidMessage)
	cbc, err := c.encrypt(uid, kmip.EncryptRequest{Data: block, IVCounterNonce: iv, CryptographicParameters: blockMode(kmip.BlockCipherModeCBC)})
	c.ok(err)
	if !bytes.Equal(cbc.Data, ecb.Data) { // one block with an IV of zeros
		t.Errorf("with parameters that the key does not have: got %x, want %x", cbc.Data, ecb.Data)
	}
}

// counterFrom is CTR mode with an Initial Counter Value, and perhaps a Counter Length.
func counterFrom(value int32, bits ...int32) *kmip.CryptographicParameters {
	p := blockMode(kmip.BlockCipherModeCTR)
	p.InitialCounterValue = &value
	if len(bits) > 0 {
		p.CounterLength = &bits[0]
	}
	return p
}

// A random IV comes from the token and goes back to the client; one that the client gives is used.
func TestRandomIV(t *testing.T) {
	yes := true
	for _, v := range []struct {
		params kmip.CryptographicParameters
		octets int
	}{
		{kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeCBC, PaddingMethod: kmip.PaddingMethodPKCS5, RandomIV: &yes}, 16},
		{kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeCTR, RandomIV: &yes}, 16},
		{kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeCTR, RandomIV: &yes, InitialCounterValue: ptr(int32(1))}, 12},
		{kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeGCM, RandomIV: &yes}, 12},
		{kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeGCM, RandomIV: &yes, IVLength: ptr(int32(96))}, 12},
		{kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeGCM, RandomIV: &yes, IVLength: ptr(int32(12))}, 12},
		{kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeGCM, RandomIV: &yes, IVLength: ptr(int32(128))}, 16},
	} {
		b := newBench(t)
		c := b.client("alice")
		uid := c.key(unhex(aes128), kmip.CryptographicAlgorithmAES, active(both, parameters(v.params))...)
		b.fake.Record()
		got, err := c.encrypt(uid, kmip.EncryptRequest{Data: []byte("attack at dawn")})
		c.ok(err)
		if len(got.IVCounterNonce) != v.octets {
			t.Errorf("%s: got an IV of %d octets, want %d", v.params.BlockCipherMode, len(got.IVCounterNonce), v.octets)
		}
		if calls := b.fake.Recorded(); strings.Join(calls, " ") != "Random Encrypt" {
			t.Errorf("%s: got token calls %v, want Random and Encrypt", v.params.BlockCipherMode, calls)
		}
		req := kmip.DecryptRequest{Data: got.Data, IVCounterNonce: got.IVCounterNonce, AuthenticatedEncryptionTag: got.AuthenticatedEncryptionTag}
		back, err := c.decrypt(uid, req)
		c.ok(err)
		if string(back.Data) != "attack at dawn" {
			t.Errorf("%s: got %q back", v.params.BlockCipherMode, back.Data)
		}
		req.IVCounterNonce = nil
		_, err = c.decrypt(uid, req)
		wantReason(t, "decrypt without IV", err, kmip.ResultReasonInvalidMessage)
		own, err := c.encrypt(uid, kmip.EncryptRequest{Data: []byte("attack at dawn"), IVCounterNonce: got.IVCounterNonce})
		c.ok(err)
		if own.IVCounterNonce != nil || !bytes.Equal(own.Data, got.Data) {
			t.Errorf("%s: got %x with IV %x, want the client's IV used", v.params.BlockCipherMode, own.Data, own.IVCounterNonce)
		}
	}
}

// Before KMIP 1.4 the tag has no field: it is behind the data.
func TestTagBeforeTheField(t *testing.T) {
	c := newBench(t).client("alice").in(kmip.V1_2)
	uid := c.key(make([]byte, 16), kmip.CryptographicAlgorithmAES, active(both)...)
	got, err := c.encrypt(uid, kmip.EncryptRequest{CryptographicParameters: gcmParams(16), Data: make([]byte, 16), IVCounterNonce: make([]byte, 12)})
	c.ok(err)
	if hex.EncodeToString(got.Data) != "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf" {
		t.Errorf("got %x, want ciphertext and tag", got.Data)
	}
	back, err := c.decrypt(uid, kmip.DecryptRequest{CryptographicParameters: gcmParams(16), Data: got.Data, IVCounterNonce: make([]byte, 12)})
	c.ok(err)
	if !bytes.Equal(back.Data, make([]byte, 16)) {
		t.Errorf("got %x back, want zeros", back.Data)
	}
}

// Every refusal of Encrypt and Decrypt that parameters and data bring about.
func TestCipherRefusals(t *testing.T) {
	c := newBench(t).client("alice")
	aes := c.key(unhex(aes128), kmip.CryptographicAlgorithmAES, active(both)...)
	tdes := c.key(unhex(des3), kmip.CryptographicAlgorithmDES3, active(both)...)
	hmac := c.key(make([]byte, 32), kmip.CryptographicAlgorithmHMACSHA256, active(both|codes)...)
	priv, pub := c.rsaPair(both, both)
	field, message, failure := kmip.ResultReasonInvalidField, kmip.ResultReasonInvalidMessage, kmip.ResultReasonCryptographicFailure
	general := kmip.ResultReasonGeneralFailure
	iv, block := make([]byte, 16), make([]byte, 16)
	rsaParams := func(p kmip.PaddingMethod) *kmip.CryptographicParameters {
		return &kmip.CryptographicParameters{PaddingMethod: p}
	}
	for _, v := range []struct {
		name, uid string
		req       kmip.EncryptRequest
		decrypt   bool
		reason    kmip.ResultReason
	}{
		{"no mode", aes, kmip.EncryptRequest{Data: block}, false, field},
		{"mode CFB", aes, kmip.EncryptRequest{CryptographicParameters: blockMode(kmip.BlockCipherModeCFB), Data: block, IVCounterNonce: iv}, false, field},
		{"mode key wrap", aes, kmip.EncryptRequest{CryptographicParameters: blockMode(kmip.BlockCipherModeNISTKeyWrap), Data: block}, false, field},
		{"3DES GCM", tdes, kmip.EncryptRequest{CryptographicParameters: gcmParams(16), Data: block, IVCounterNonce: iv}, false, field},
		{"3DES CTR", tdes, kmip.EncryptRequest{CryptographicParameters: blockMode(kmip.BlockCipherModeCTR), Data: block, IVCounterNonce: iv[:8]}, false, field},
		{"padding", aes, kmip.EncryptRequest{CryptographicParameters: blockMode(kmip.BlockCipherModeCBC, kmip.PaddingMethodISO10126), Data: block, IVCounterNonce: iv}, false, field},
		{"padding of CTR", aes, kmip.EncryptRequest{CryptographicParameters: blockMode(kmip.BlockCipherModeCTR, kmip.PaddingMethodPKCS5), Data: block, IVCounterNonce: iv}, false, field},
		{"padding of GCM", aes, kmip.EncryptRequest{CryptographicParameters: blockMode(kmip.BlockCipherModeGCM, kmip.PaddingMethodPKCS5), Data: block, IVCounterNonce: iv}, false, field},
		{"algorithm", aes, kmip.EncryptRequest{CryptographicParameters: &kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeECB,
			CryptographicAlgorithm: kmip.CryptographicAlgorithmDES3}, Data: block}, false, field},
		{"HMAC key", hmac, kmip.EncryptRequest{CryptographicParameters: blockMode(kmip.BlockCipherModeECB), Data: block}, false, field},
		{"no IV", aes, kmip.EncryptRequest{CryptographicParameters: blockMode(kmip.BlockCipherModeCBC), Data: block}, false, message},
		{"no IV, decrypt", aes, kmip.EncryptRequest{CryptographicParameters: blockMode(kmip.BlockCipherModeCBC), Data: block}, true, message},
		{"no IV, GCM", aes, kmip.EncryptRequest{CryptographicParameters: gcmParams(16), Data: block}, false, message},
		{"short IV", aes, kmip.EncryptRequest{CryptographicParameters: blockMode(kmip.BlockCipherModeCBC), Data: block, IVCounterNonce: iv[:15]}, false, field},
		{"empty IV, GCM", aes, kmip.EncryptRequest{CryptographicParameters: gcmParams(16), Data: block, IVCounterNonce: []byte{}}, false, field},
		{"long IV, GCM", aes, kmip.EncryptRequest{CryptographicParameters: gcmParams(16), Data: block, IVCounterNonce: make([]byte, 129)}, false, field},
		{"odd random IV", aes, kmip.EncryptRequest{CryptographicParameters: &kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeGCM,
			RandomIV: ptr(true), IVLength: ptr(int32(64))}, Data: block}, false, field},
		{"IV Length 12", aes, kmip.EncryptRequest{CryptographicParameters: &kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeGCM,
			TagLength: ptr(int32(16)), IVLength: ptr(int32(12))}, Data: block, IVCounterNonce: iv[:12]}, false, 0},
		{"counter beside a whole block", aes, kmip.EncryptRequest{CryptographicParameters: counterFrom(1), Data: block, IVCounterNonce: iv}, false, field},
		{"counter below 0", aes, kmip.EncryptRequest{CryptographicParameters: counterFrom(-1), Data: block, IVCounterNonce: iv[:12]}, false, field},
		{"counter too large", aes, kmip.EncryptRequest{CryptographicParameters: counterFrom(256, 8), Data: block, IVCounterNonce: iv[:15]}, false, field},
		{"counter of 0 bits", aes, kmip.EncryptRequest{CryptographicParameters: counterFrom(0, 0), Data: block, IVCounterNonce: iv}, false, field},
		{"counter of 12 bits", aes, kmip.EncryptRequest{CryptographicParameters: counterFrom(0, 12), Data: block, IVCounterNonce: iv[:15]}, false, field},
		{"counter of a block", aes, kmip.EncryptRequest{CryptographicParameters: counterFrom(0, 128), Data: block, IVCounterNonce: []byte{}}, false, field},
		{"tag of 1", aes, kmip.EncryptRequest{CryptographicParameters: gcmParams(1), Data: block, IVCounterNonce: iv[:12]}, false, general},
		{"tag of 11", aes, kmip.EncryptRequest{CryptographicParameters: gcmParams(11), Data: block, IVCounterNonce: iv[:12]}, false, general},
		{"tag of 17", aes, kmip.EncryptRequest{CryptographicParameters: gcmParams(17), Data: block, IVCounterNonce: iv[:12]}, false, general},
		{"additional data of CBC", aes, kmip.EncryptRequest{CryptographicParameters: blockMode(kmip.BlockCipherModeCBC), Data: block, IVCounterNonce: iv,
			AuthenticatedEncryptionAdditionalData: block}, false, field},
		{"part of a block", aes, kmip.EncryptRequest{CryptographicParameters: blockMode(kmip.BlockCipherModeECB), Data: block[:15]}, false, failure},
		{"part of a block, decrypt", aes, kmip.EncryptRequest{CryptographicParameters: blockMode(kmip.BlockCipherModeCBC, kmip.PaddingMethodPKCS5),
			Data: block[:15], IVCounterNonce: iv}, true, failure},
		{"nothing with padding, decrypt", aes, kmip.EncryptRequest{CryptographicParameters: blockMode(kmip.BlockCipherModeECB, kmip.PaddingMethodPKCS5), Data: []byte{}}, true, failure},
		{"bad padding", aes, kmip.EncryptRequest{CryptographicParameters: blockMode(kmip.BlockCipherModeECB, kmip.PaddingMethodPKCS5), Data: block}, true, failure},
		{"GCM shorter than the tag", aes, kmip.EncryptRequest{CryptographicParameters: gcmParams(16), Data: block[:10], IVCounterNonce: iv[:12]}, true, failure},
		{"GCM wrong tag", aes, kmip.EncryptRequest{CryptographicParameters: gcmParams(16), Data: make([]byte, 32), IVCounterNonce: iv[:12]}, true, failure},
		{"RSA without padding", pub, kmip.EncryptRequest{Data: block}, false, field},
		{"RSA with PSS", pub, kmip.EncryptRequest{CryptographicParameters: rsaParams(kmip.PaddingMethodPSS), Data: block}, false, field},
		{"RSA with a mode", pub, kmip.EncryptRequest{CryptographicParameters: blockMode(kmip.BlockCipherModeECB, kmip.PaddingMethodPKCS1V1_5), Data: block}, false, field},
		{"RSA with additional data", pub, kmip.EncryptRequest{CryptographicParameters: rsaParams(kmip.PaddingMethodOAEP), Data: block,
			AuthenticatedEncryptionAdditionalData: block}, false, field},
		{"OAEP with MD5", pub, kmip.EncryptRequest{CryptographicParameters: &kmip.CryptographicParameters{PaddingMethod: kmip.PaddingMethodOAEP,
			HashingAlgorithm: kmip.HashingAlgorithmMD5}, Data: block}, false, field},
		{"OAEP with MD5 masks", pub, kmip.EncryptRequest{CryptographicParameters: &kmip.CryptographicParameters{PaddingMethod: kmip.PaddingMethodOAEP,
			MaskGeneratorHashingAlgorithm: kmip.HashingAlgorithmMD5}, Data: block}, false, field},
		{"OAEP with another mask generator", pub, kmip.EncryptRequest{CryptographicParameters: &kmip.CryptographicParameters{PaddingMethod: kmip.PaddingMethodOAEP,
			MaskGenerator: 2}, Data: block}, false, field},
		{"RSA too long", pub, kmip.EncryptRequest{CryptographicParameters: rsaParams(kmip.PaddingMethodOAEP), Data: make([]byte, 215)}, false, failure},
		{"RSA decrypts garbage", priv, kmip.EncryptRequest{CryptographicParameters: rsaParams(kmip.PaddingMethodOAEP), Data: bytes.Repeat([]byte{1}, 256)}, true, failure},
		{"encrypt with a private key", priv, kmip.EncryptRequest{CryptographicParameters: rsaParams(kmip.PaddingMethodOAEP), Data: block}, false, kmip.ResultReasonPermissionDenied},
		{"decrypt with a public key", pub, kmip.EncryptRequest{CryptographicParameters: rsaParams(kmip.PaddingMethodOAEP), Data: make([]byte, 256)}, true, kmip.ResultReasonPermissionDenied},
	} {
		var err error
		if v.decrypt {
			_, err = c.decrypt(v.uid, kmip.DecryptRequest{CryptographicParameters: v.req.CryptographicParameters, Data: v.req.Data, IVCounterNonce: v.req.IVCounterNonce})
		} else {
			_, err = c.encrypt(v.uid, v.req)
		}
		wantReason(t, v.name, err, v.reason)
	}
	_, err := c.decrypt(aes, kmip.DecryptRequest{CryptographicParameters: gcmParams(16), Data: block, IVCounterNonce: iv[:12], AuthenticatedEncryptionTag: block[:12]})
	wantReason(t, "tag of another length than Tag Length", err, field)
	_, err = c.decrypt(aes, kmip.DecryptRequest{CryptographicParameters: blockMode(kmip.BlockCipherModeECB), Data: block, AuthenticatedEncryptionTag: block})
	wantReason(t, "tag of ECB", err, field)
}

// State, usage mask, dates, type and presence of the key: what protects and what processes.
func TestServiceStates(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	denied := kmip.ResultReasonPermissionDenied
	make := func(attrs ...kmip.Attribute) string {
		return c.key(unhex(aes128), kmip.CryptographicAlgorithmAES, attrs...)
	}
	revoked := func(code kmip.RevocationReasonCode, attrs ...kmip.Attribute) string {
		uid := make(attrs...)
		c.ok(c.revoke(uid, code))
		return uid
	}
	dead := make(mask(both))
	c.ok(c.destroy(dead))
	archived := make(active(both)...)
	_, err := do(c, kmip.OperationArchive, archived, c.s.Archive, &kmip.ArchiveRequest{})
	c.ok(err)
	elsewhere := symmetric(nil)
	elsewhere.TemplateAttribute = *with(active(both, at("Key Value Location", structValue(&kmip.KeyValueLocation{
		KeyValueLocationValue: "vault 7", KeyValueLocationType: kmip.KeyValueLocationTypeUninterpretedTextString})))...)
	elsewhere.SymmetricKey.KeyBlock.KeyValue = kmip.KeyBlock{}.KeyValue
	elsewhere.SymmetricKey.KeyBlock.CryptographicLength = ptr(int32(128))
	later, past := at("Process Start Date", timeValue(epoch.Add(time.Hour))), at("Protect Stop Date", timeValue(epoch.Add(-time.Minute)))
	for _, v := range []struct {
		name, uid        string
		encrypt, decrypt kmip.ResultReason
	}{
		{"Active", make(active(both)...), 0, 0},
		{"Pre-Active", make(mask(both)), denied, denied},
		{"Deactivated", revoked(kmip.RevocationReasonCodeSuperseded, active(both)...), denied, 0},
		{"Compromised", revoked(kmip.RevocationReasonCodeKeyCompromise, active(both)...), denied, 0},
		{"Compromised before use", revoked(kmip.RevocationReasonCodeKeyCompromise, mask(both)), denied, denied},
		{"Destroyed", dead, denied, denied},
		{"Archived", archived, kmip.ResultReasonObjectArchived, kmip.ResultReasonObjectArchived},
		{"Encrypt alone", make(active(kmip.CryptographicUsageMaskEncrypt)...), 0, denied},
		{"Decrypt alone", make(active(kmip.CryptographicUsageMaskDecrypt)...), denied, 0},
		{"before Process Start", make(active(both, later)...), denied, denied},
		{"after Protect Stop", make(active(both, past)...), denied, 0},
		{"Sensitive, not Extractable", make(active(both, at("Sensitive", boolValue(true)), at("Extractable", boolValue(false)))...), 0, 0},
		{"value elsewhere", c.must(c.register(elsewhere)), kmip.ResultReasonKeyValueNotPresent, kmip.ResultReasonKeyValueNotPresent},
		{"Secret Data", c.must(c.register(secret(marker(16)), active(both)...)), denied, denied},
		{"unknown", "no-such-object", kmip.ResultReasonItemNotFound, kmip.ResultReasonItemNotFound},
	} {
		_, err := c.encrypt(v.uid, kmip.EncryptRequest{CryptographicParameters: blockMode(kmip.BlockCipherModeECB), Data: marker(16)})
		wantReason(t, "Encrypt, "+v.name, err, v.encrypt)
		_, err = c.decrypt(v.uid, kmip.DecryptRequest{CryptographicParameters: blockMode(kmip.BlockCipherModeECB), Data: marker(16)})
		wantReason(t, "Decrypt, "+v.name, err, v.decrypt)
	}
	_, err = b.client("mallory").encrypt(make(active(both)...), kmip.EncryptRequest{CryptographicParameters: blockMode(kmip.BlockCipherModeECB), Data: marker(16)})
	wantReason(t, "another client's key", err, kmip.ResultReasonItemNotFound)
}

// What the token reports comes out with the reasons of KMIP 1.4 section 11.30, and a context that ends is no hang.
func TestServiceFaults(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	uid := c.key(unhex(aes128), kmip.CryptographicAlgorithmAES, active(both)...)
	req := kmip.EncryptRequest{CryptographicParameters: blockMode(kmip.BlockCipherModeECB), Data: marker(16)}
	for _, v := range []struct {
		kind   hsm.Kind
		reason kmip.ResultReason
	}{
		{hsm.KindInternal, kmip.ResultReasonCryptographicFailure}, {hsm.KindUnavailable, kmip.ResultReasonGeneralFailure},
		{hsm.KindInvalidData, kmip.ResultReasonCryptographicFailure}, {hsm.KindInvalidKey, kmip.ResultReasonPermissionDenied},
		{hsm.KindUnsupported, kmip.ResultReasonInvalidField}, {hsm.KindNotFound, kmip.ResultReasonGeneralFailure},
	} {
		b.fake.Inject(hsmtest.Fault{Method: "Encrypt", Effect: hsmtest.FailBefore, Err: &hsm.Error{Kind: v.kind, Call: "C_Encrypt", Code: 1}})
		_, err := c.encrypt(uid, req)
		wantReason(t, "token error", err, v.reason)
	}
	b.fake.Inject(hsmtest.Fault{Method: "Encrypt", Effect: hsmtest.BlockBefore})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	tx := c.s.Begin(false)
	_, err := item(ctx, c, tx, kmip.OperationEncrypt, uid, c.s.Encrypt, &req)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
	c.ok(tx.Rollback(context.Background(), 0))
}
