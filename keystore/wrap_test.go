package keystore

import (
	"bytes"
	"context"
	"testing"

	"kmipd/hsm"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// unwrapped opens what Get wrapped, with the token's own means.
func (c client) unwrapped(kek string, how hsm.WrapMechanism, resp *kmip.GetResponse) []byte {
	c.t.Helper()
	kb := blockOf(resp)
	blob := kb.KeyValue
	if blob.Type == ttlv.Structure {
		blob = blob.Find(kmip.TagKeyMaterial)
	}
	r, _ := ref(c.record(kek).Handle)
	plain, err := c.fake.UnwrapBytes(context.Background(), r, hsm.WrapSpec{Mechanism: how}, blob.Value)
	if err != nil {
		c.t.Fatalf("unwrapping: %v", err)
	}
	return plain
}

// The wrapped key is the key: with both mechanisms and both encodings.
func TestGetWrapped(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	kek := c.aes()
	c.ok(c.activate(kek))
	key := c.must(c.register(symmetric(marker(32)), at("x-a", textValue("v")), at("x-a", textValue("w"))))
	text := c.must(c.register(secret(marker(21))))
	priv := c.must(c.register(privateKey(t, ecKey())))
	pkcs8 := c.material(priv)
	kw, kwp := kmip.BlockCipherModeNISTKeyWrap, kmip.BlockCipherModeAESKeyWrapPadding
	mechanism := map[kmip.BlockCipherMode]hsm.WrapMechanism{kw: hsm.WrapAESKW, kwp: hsm.WrapAESKWP}
	for _, row := range []struct {
		name     string
		uid      string
		mode     kmip.BlockCipherMode
		encoding kmip.EncodingOption
		names    []string
		plain    []byte
	}{
		{"AES, KW", key, kw, kmip.EncodingOptionNoEncoding, nil, marker(32)},
		{"AES, KWP", key, kwp, kmip.EncodingOptionNoEncoding, nil, marker(32)},
		{"AES, KW, TTLV", key, kw, kmip.EncodingOptionTTLVEncoding, nil, keyValue(marker(32))},
		{"AES, KW, default", key, kw, 0, nil, keyValue(marker(32))},
		{"secret, KWP", text, kwp, kmip.EncodingOptionNoEncoding, nil, marker(21)},
		{"secret, KWP, TTLV", text, kwp, kmip.EncodingOptionTTLVEncoding, nil, keyValue(marker(21))},
		{"private key, KWP", priv, kwp, kmip.EncodingOptionNoEncoding, nil, pkcs8},
	} {
		t.Run(row.name, func(t *testing.T) {
			resp, err := c.get(row.uid, wrapRequest(kek, row.mode, row.encoding, row.names...))
			wantReason(t, "Get", err, 0)
			if err != nil {
				return
			}
			if got := c.unwrapped(kek, mechanism[row.mode], resp); !bytes.Equal(got, row.plain) {
				t.Errorf("got %q, want %q", got, row.plain)
			}
			wd := blockOf(resp).KeyWrappingData
			if wd == nil || wd.WrappingMethod != kmip.WrappingMethodEncrypt || wd.EncryptionKeyInformation.UniqueIdentifier != kek || wd.EncodingOption != row.encoding {
				t.Errorf("got Key Wrapping Data %+v", wd)
			}
		})
	}
	resp, err := c.get(key, wrapRequest(kek, kw, kmip.EncodingOptionTTLVEncoding, "x-a", "State", "x-none"))
	c.ok(err)
	item, err := ttlv.Parse(c.unwrapped(kek, hsm.WrapAESKW, resp), ttlv.DefaultLimits)
	c.ok(err)
	var kv kmip.KeyValue
	c.ok(kv.Decode(item))
	if len(kv.Attribute) != 3 {
		t.Errorf("got %d attributes wrapped with the key, want State and two of x-a", len(kv.Attribute))
	}
}

// TestWrappingErrors is KMIP 1.4 section 11.12, and the checks on keys that wrap.
func TestWrappingErrors(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	target := c.must(c.register(symmetric(marker(32))))
	odd := c.must(c.register(secret(marker(21))))
	kek := c.aes()
	c.ok(c.activate(kek))
	active := func(uid string, err error) string {
		uid = c.must(uid, err)
		c.ok(c.activate(uid))
		return uid
	}
	aesWith := func(m kmip.CryptographicUsageMask, attrs ...kmip.Attribute) string {
		return active(c.create(kmip.ObjectTypeSymmetricKey, append(attributesOf(kmip.CryptographicAlgorithmAES, 256, m), attrs...)...))
	}
	cbc := at("Cryptographic Parameters", structValue(&kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeCBC}))
	nist := at("Cryptographic Parameters", structValue(&kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeNISTKeyWrap}))
	kw, none := kmip.BlockCipherModeNISTKeyWrap, kmip.EncodingOptionNoEncoding
	change := func(req kmip.GetRequest, f func(*kmip.KeyWrappingSpecification)) kmip.GetRequest {
		f(req.KeyWrappingSpecification)
		return req
	}
	bobs := b.client("bob").aes()
	des := active(c.create(kmip.ObjectTypeSymmetricKey, attributesOf(kmip.CryptographicAlgorithmDES3, 168, kmip.CryptographicUsageMaskWrapKey)...))
	const (
		missing = kmip.ResultReasonItemNotFound
		denied  = kmip.ResultReasonPermissionDenied
		illegal = kmip.ResultReasonIllegalOperation
		field   = kmip.ResultReasonInvalidField
		feature = kmip.ResultReasonFeatureNotSupported
		option  = kmip.ResultReasonEncodingOptionError
		crypto  = kmip.ResultReasonCryptographicFailure
	)
	for _, row := range []struct {
		name   string
		uid    string
		req    kmip.GetRequest
		reason kmip.ResultReason
	}{
		{"fine", target, wrapRequest(kek, kw, none), 0},
		{"no such wrapping key", target, wrapRequest("none", kw, none), missing},
		{"another client's wrapping key", target, wrapRequest(bobs, kw, none), missing},
		{"not a key", target, wrapRequest(c.must(c.register(opaque(marker(8)))), kw, none), illegal},
		{"secret data", target, wrapRequest(odd, kw, none), illegal},
		{"not active", target, wrapRequest(c.aes(), kw, none), denied},
		{"no Wrap Key in the mask", target, wrapRequest(aesWith(kmip.CryptographicUsageMaskEncrypt|kmip.CryptographicUsageMaskUnwrapKey), kw, none), denied},
		{"3DES", target, wrapRequest(des, kw, none), field},
		{"CBC", target, wrapRequest(kek, kmip.BlockCipherModeCBC, none), feature},
		{"parameters that the key does not have", target, wrapRequest(aesWith(kmip.CryptographicUsageMaskWrapKey, cbc), kw, none), missing},
		{"parameters that the key has", target, wrapRequest(aesWith(kmip.CryptographicUsageMaskWrapKey, cbc, nist), kw, none), 0},
		{"parameters from the key", target, change(wrapRequest(aesWith(kmip.CryptographicUsageMaskWrapKey, nist, cbc), kw, none),
			func(s *kmip.KeyWrappingSpecification) { s.EncryptionKeyInformation.CryptographicParameters = nil }), 0},
		{"first parameters of the key", target, change(wrapRequest(aesWith(kmip.CryptographicUsageMaskWrapKey, cbc, nist), kw, none),
			func(s *kmip.KeyWrappingSpecification) { s.EncryptionKeyInformation.CryptographicParameters = nil }), feature},
		{"no parameters anywhere", target, change(wrapRequest(kek, kw, none),
			func(s *kmip.KeyWrappingSpecification) { s.EncryptionKeyInformation.CryptographicParameters = nil }), missing},
		{"attributes with No Encoding", target, wrapRequest(kek, kw, none, "State"), option},
		{"unknown encoding", target, wrapRequest(kek, kw, 9), option},
		{"No Encoding of a structure", target, func() kmip.GetRequest {
			r := wrapRequest(kek, kw, none)
			r.KeyFormatType = kmip.KeyFormatTypeTransparentSymmetricKey
			return r
		}(), option},
		{"unknown format", target, func() kmip.GetRequest {
			r := wrapRequest(kek, kw, none)
			r.KeyFormatType = kmip.KeyFormatTypePKCS1
			return r
		}(), kmip.ResultReasonKeyFormatTypeNotSupported},
		{"MAC", target, change(wrapRequest(kek, kw, none), func(s *kmip.KeyWrappingSpecification) { s.WrappingMethod = kmip.WrappingMethodMACSign }), feature},
		{"MAC key besides", target, change(wrapRequest(kek, kw, none), func(s *kmip.KeyWrappingSpecification) {
			s.MACSignatureKeyInformation = &kmip.MACSignatureKeyInformation{UniqueIdentifier: kek}
		}), feature},
		{"unknown method", target, change(wrapRequest(kek, kw, none), func(s *kmip.KeyWrappingSpecification) { s.WrappingMethod = 99 }), field},
		{"no key information", target, change(wrapRequest(kek, kw, none), func(s *kmip.KeyWrappingSpecification) { s.EncryptionKeyInformation = nil }), field},
		{"KW of an odd length", odd, wrapRequest(kek, kw, none), crypto},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := c.get(row.uid, row.req)
			wantReason(t, "Get", err, row.reason)
		})
	}
}

// What a client registers wrapped comes back in clear, and wrapped again as it was registered.
func TestRegisterWrapped(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	kek := c.aes()
	c.ok(c.activate(kek))
	for _, row := range []struct {
		name     string
		req      *kmip.RegisterRequest
		plain    []byte // what was wrapped
		how      hsm.WrapMechanism
		encoding kmip.EncodingOption
		want     []byte
	}{
		{"KW", symmetric(marker(32)), marker(32), hsm.WrapAESKW, kmip.EncodingOptionNoEncoding, marker(32)},
		{"KWP", symmetric(marker(16)), marker(16), hsm.WrapAESKWP, kmip.EncodingOptionNoEncoding, marker(16)},
		{"KW, TTLV", symmetric(marker(32)), keyValue(marker(32)), hsm.WrapAESKW, kmip.EncodingOptionTTLVEncoding, marker(32)},
		{"secret, KWP, TTLV", secret(marker(21)), keyValue(marker(21)), hsm.WrapAESKWP, kmip.EncodingOptionTTLVEncoding, marker(21)},
	} {
		t.Run(row.name, func(t *testing.T) {
			uid, err := c.register(wrapped(c, kek, row.req, row.plain, row.how, row.encoding))
			wantReason(t, "Register", err, 0)
			if err != nil {
				return
			}
			if got := c.material(uid); !bytes.Equal(got, row.want) {
				t.Errorf("Get: got %q, want %q", got, row.want)
			}
			resp, err := c.get(uid, kmip.GetRequest{KeyWrapType: kmip.KeyWrapTypeAsRegistered})
			wantReason(t, "Get as registered", err, 0)
			if got := c.unwrapped(kek, row.how, resp); !bytes.Equal(got, row.plain) {
				t.Errorf("Get as registered: got %q, want %q", got, row.plain)
			}
			resp, err = c.get(uid, kmip.GetRequest{KeyWrapType: kmip.KeyWrapTypeNotWrapped})
			wantReason(t, "Get not wrapped", err, 0)
			if blockOf(resp).KeyWrappingData != nil {
				t.Error("Get not wrapped: got Key Wrapping Data")
			}
		})
	}
	structure := wrapped(c, kek, symmetric(marker(32)), marker(32), hsm.WrapAESKW, kmip.EncodingOptionNoEncoding)
	structure.SymmetricKey.KeyBlock.KeyValue = structured(structure.SymmetricKey.KeyBlock.KeyValue.Value)
	resp, err := c.get(c.must(c.register(structure)), kmip.GetRequest{KeyWrapType: kmip.KeyWrapTypeAsRegistered})
	c.ok(err)
	if blockOf(resp).KeyValue.Type != ttlv.Structure {
		t.Error("registered as a structure, got back as a Byte String")
	}
	b.wantClean()
}

func TestRegisterWrappedErrors(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	kek := c.aes()
	c.ok(c.activate(kek))
	idle := c.aes()
	signer := c.must(c.create(kmip.ObjectTypeSymmetricKey, attributesOf(kmip.CryptographicAlgorithmAES, 256, kmip.CryptographicUsageMaskEncrypt)...))
	c.ok(c.activate(signer))
	wrapOnly := c.must(c.create(kmip.ObjectTypeSymmetricKey, attributesOf(kmip.CryptographicAlgorithmAES, 256, kmip.CryptographicUsageMaskWrapKey)...))
	c.ok(c.activate(wrapOnly))
	with := func(key string, change func(*kmip.KeyBlock)) *kmip.RegisterRequest {
		req := wrapped(c, kek, symmetric(marker(32)), marker(32), hsm.WrapAESKW, kmip.EncodingOptionNoEncoding)
		kb := &req.SymmetricKey.KeyBlock
		kb.KeyWrappingData.EncryptionKeyInformation.UniqueIdentifier = key
		if change != nil {
			change(kb)
		}
		return req
	}
	const (
		missing = kmip.ResultReasonItemNotFound
		denied  = kmip.ResultReasonPermissionDenied
		field   = kmip.ResultReasonInvalidField
		crypto  = kmip.ResultReasonCryptographicFailure
	)
	before := b.fake.Len()
	for _, row := range []struct {
		name   string
		req    *kmip.RegisterRequest
		reason kmip.ResultReason
	}{
		{"no such key", with("none", nil), missing},
		{"not a key", with(c.must(c.register(opaque(marker(8)))), nil), kmip.ResultReasonIllegalOperation},
		{"not active", with(idle, nil), denied},
		{"mask", with(signer, nil), denied},
		{"another key", with(wrapOnly, nil), crypto},
		{"empty", with(kek, func(kb *kmip.KeyBlock) { kb.KeyValue = byteString(nil) }), field},
		{"cut short", with(kek, func(kb *kmip.KeyBlock) { kb.KeyValue = byteString(kb.KeyValue.Value[:24]) }), crypto},
		{"changed", with(kek, func(kb *kmip.KeyBlock) { kb.KeyValue = byteString(append(kb.KeyValue.Value[:39:39], 0)) }), crypto},
		{"length does not fit", with(kek, func(kb *kmip.KeyBlock) { kb.CryptographicLength = ptr(int32(128)) }), crypto},
		{"no length", with(kek, func(kb *kmip.KeyBlock) { kb.CryptographicLength = nil }), field},
		{"no algorithm", with(kek, func(kb *kmip.KeyBlock) { kb.CryptographicAlgorithm = 0 }), field},
		{"TTLV that is none", with(kek, func(kb *kmip.KeyBlock) { kb.KeyWrappingData.EncodingOption = kmip.EncodingOptionTTLVEncoding }), field},
		{"MAC", with(kek, func(kb *kmip.KeyBlock) { kb.KeyWrappingData.WrappingMethod = kmip.WrappingMethodMACSign }), kmip.ResultReasonFeatureNotSupported},
		{"no key information", with(kek, func(kb *kmip.KeyBlock) { kb.KeyWrappingData.EncryptionKeyInformation = nil }), field},
		{"no parameters", with(kek, func(kb *kmip.KeyBlock) { kb.KeyWrappingData.EncryptionKeyInformation.CryptographicParameters = nil }), missing},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := c.register(row.req)
			wantReason(t, "Register", err, row.reason)
		})
	}
	if got := b.fake.Len(); got != before+1 { // the opaque object above
		t.Errorf("got %d token objects after refusals, want %d", got, before+1)
	}
	b.wantClean()
}

// Keys wrap and unwrap with RSA, too: what a public key wraps, its private half unwraps.
func TestRSAWrapping(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	m := at("Cryptographic Usage Mask", intValue(kmip.CryptographicUsageMaskWrapKey|kmip.CryptographicUsageMaskUnwrapKey))
	priv, pub, err := c.createPair(with(at("Cryptographic Algorithm", enumValue(kmip.CryptographicAlgorithmRSA)), at("Cryptographic Length", intValue(int32(1024))), m), nil, nil)
	c.ok(err)
	c.ok(c.activate(priv))
	c.ok(c.activate(pub))
	key := c.must(c.register(symmetric(marker(16))))
	pkcs1 := kmip.CryptographicParameters{PaddingMethod: kmip.PaddingMethodPKCS1V1_5}
	oaep := kmip.CryptographicParameters{PaddingMethod: kmip.PaddingMethodOAEP, HashingAlgorithm: kmip.HashingAlgorithmSHA256}
	for _, row := range []struct {
		name   string
		p      kmip.CryptographicParameters
		reason kmip.ResultReason
	}{
		{"PKCS#1 v1.5", pkcs1, 0},
		{"OAEP SHA-256", oaep, 0},
		{"OAEP, default hash", kmip.CryptographicParameters{PaddingMethod: kmip.PaddingMethodOAEP}, 0},
		{"OAEP, other mask hash", kmip.CryptographicParameters{PaddingMethod: kmip.PaddingMethodOAEP, HashingAlgorithm: kmip.HashingAlgorithmSHA256, MaskGeneratorHashingAlgorithm: kmip.HashingAlgorithmSHA1}, kmip.ResultReasonInvalidField},
		{"OAEP MD5", kmip.CryptographicParameters{PaddingMethod: kmip.PaddingMethodOAEP, HashingAlgorithm: kmip.HashingAlgorithmMD5}, kmip.ResultReasonInvalidField},
		{"OAEP with label", kmip.CryptographicParameters{PaddingMethod: kmip.PaddingMethodOAEP, PSource: []byte{1}}, kmip.ResultReasonInvalidField},
		{"no padding", kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeNISTKeyWrap}, kmip.ResultReasonFeatureNotSupported},
	} {
		for _, name := range []string{pub, priv} { // the private key's public half wraps
			req := wrapRequest(name, 0, kmip.EncodingOptionNoEncoding)
			req.KeyWrappingSpecification.EncryptionKeyInformation.CryptographicParameters = &row.p
			resp, err := c.get(key, req)
			wantReason(t, row.name+", Get", err, row.reason)
			if err != nil {
				continue
			}
			again := symmetric(marker(16))
			again.SymmetricKey.KeyBlock = *blockOf(resp)
			uid, err := c.register(again)
			wantReason(t, row.name+", Register", err, 0)
			if err == nil && !bytes.Equal(c.material(uid), marker(16)) {
				t.Errorf("%s: the key does not come back", row.name)
			}
		}
	}
	b.wantClean()
}
