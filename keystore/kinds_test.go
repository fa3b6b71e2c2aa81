package keystore

import (
	"bytes"
	"testing"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

const armored = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQENBFHA/dQBCAC\n-----END PGP PUBLIC KEY BLOCK-----\n"

func pgp(format kmip.KeyFormatType, material ttlv.Item) *kmip.RegisterRequest {
	return &kmip.RegisterRequest{ObjectType: kmip.ObjectTypePGPKey, PGPKey: &kmip.PGPKey{PGPKeyVersion: 4, KeyBlock: kmip.KeyBlock{
		KeyFormatType: format, KeyValue: material, CryptographicAlgorithm: kmip.CryptographicAlgorithmRSA, CryptographicLength: ptr(int32(2048))}}}
}

// A PGP Key is an opaque blob (KMIP 1.4 section 2.2.9): it comes back as it went in, plain or wrapped, has the attributes
// and the life of a key, and does nothing.
func TestPGPKey(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	kek := c.aes()
	c.ok(c.activate(kek))
	for _, format := range []kmip.KeyFormatType{kmip.KeyFormatTypeRaw, kmip.KeyFormatTypeOpaque, 0x80000001} {
		uid := c.must(c.register(pgp(format, structured([]byte(armored))), named("pgp "+format.String())))
		resp, err := c.get(uid, kmip.GetRequest{})
		c.ok(err)
		if kb := resp.PGPKey.KeyBlock; resp.PGPKey.PGPKeyVersion != 4 || kb.KeyFormatType != format || string(materialOf(t, resp)) != armored ||
			kb.CryptographicAlgorithm != kmip.CryptographicAlgorithmRSA || *kb.CryptographicLength != 2048 {
			t.Errorf("%s: got %+v", format, resp.PGPKey)
		}
		_, err = c.get(uid, kmip.GetRequest{KeyFormatType: kmip.KeyFormatTypePKCS1})
		wantReason(t, format.String()+" as PKCS#1", err, kmip.ResultReasonKeyFormatTypeNotSupported)
		_, err = c.get(uid, kmip.GetRequest{KeyFormatType: kmip.KeyFormatTypePKCS12})
		wantReason(t, format.String()+" as PKCS#12", err, kmip.ResultReasonKeyFormatTypeNotSupported)
		wrapped, err := c.get(uid, wrapRequest(kek, kmip.BlockCipherModeAESKeyWrapPadding, kmip.EncodingOptionTTLVEncoding))
		c.ok(err)
		back := &kmip.RegisterRequest{ObjectType: kmip.ObjectTypePGPKey, PGPKey: &kmip.PGPKey{PGPKeyVersion: 3, KeyBlock: wrapped.PGPKey.KeyBlock}}
		again := c.must(c.register(back))
		if got := c.material(again); string(got) != armored {
			t.Errorf("%s: wrapped and registered again: got %q", format, got)
		}
		if resp, err := c.get(again, kmip.GetRequest{}); err != nil || resp.PGPKey.PGPKeyVersion != 3 {
			t.Errorf("%s: PGP Key Version: got %+v, %v, want that of the request", format, resp, err)
		}
		c.ok(c.activate(uid))
		_, err = c.encrypt(uid, kmip.EncryptRequest{Data: []byte("x")})
		wantReason(t, "Encrypt", err, kmip.ResultReasonPermissionDenied)
		wantReason(t, "wrap with it", c.wrapWith(uid), kmip.ResultReasonIllegalOperation)
		wantReason(t, "Destroy while Active", c.destroy(uid), kmip.ResultReasonPermissionDenied)
		c.ok(c.revoke(uid, kmip.RevocationReasonCodeKeyCompromise))
		c.ok(c.destroy(uid))
		if st := c.state(uid); st != kmip.StateDestroyedCompromised {
			t.Errorf("%s: got %s after Destroy", format, st)
		}
	}
	for _, row := range []struct {
		name   string
		req    *kmip.RegisterRequest
		attrs  []kmip.Attribute
		reason kmip.ResultReason
	}{
		{"no value", pgp(kmip.KeyFormatTypeRaw, ttlv.Item{}), nil, kmip.ResultReasonInvalidMessage},
		{"no value, but a place", pgp(kmip.KeyFormatTypeRaw, ttlv.Item{}), []kmip.Attribute{place()}, kmip.ResultReasonInvalidField},
		{"octets without structure", pgp(kmip.KeyFormatTypeRaw, byteString([]byte(armored))), nil, kmip.ResultReasonInvalidField},
		{"PKCS#12", pgp(kmip.KeyFormatTypePKCS12, structured([]byte(armored))), nil, kmip.ResultReasonKeyFormatTypeNotSupported},
		{"another algorithm", pgp(kmip.KeyFormatTypeRaw, structured([]byte(armored))), []kmip.Attribute{at("Cryptographic Algorithm", enumValue(kmip.CryptographicAlgorithmAES))}, kmip.ResultReasonInvalidField},
		{"large", pgp(kmip.KeyFormatTypeRaw, structured(bytes.Repeat([]byte{'A'}, 64<<10))), nil, 0},
	} {
		_, err := c.register(row.req, row.attrs...)
		wantReason(t, row.name, err, row.reason)
	}
	b.wantClean()
}

func place() kmip.Attribute {
	return at("Key Value Location", structValue(&kmip.KeyValueLocation{KeyValueLocationValue: "vault:7", KeyValueLocationType: kmip.KeyValueLocationTypeUninterpretedTextString}))
}

// reference is a Register request for an object of the letter's type whose value is elsewhere.
func (c client) reference(letter byte) *kmip.RegisterRequest {
	var req *kmip.RegisterRequest
	switch letter {
	case 's':
		req = symmetric(marker(16))
		req.SymmetricKey.KeyBlock.KeyValue = ttlv.Item{}
	case 'r':
		req = privateKey(c.t, ecKey())
		req.PrivateKey.KeyBlock.KeyValue = ttlv.Item{}
	case 'u':
		req = publicKey(c.t, ecKey())
		req.PublicKey.KeyBlock.KeyValue = ttlv.Item{}
	case 'd':
		req = secret(nil)
		req.SecretData.KeyBlock.KeyValue = ttlv.Item{}
	case 'p':
		req = &kmip.RegisterRequest{ObjectType: kmip.ObjectTypeSplitKey, SplitKey: &kmip.SplitKey{SplitKeyParts: 3, KeyPartIdentifier: 1, SplitKeyThreshold: 2,
			SplitKeyMethod: kmip.SplitKeyMethodXOR, KeyBlock: kmip.KeyBlock{KeyFormatType: kmip.KeyFormatTypeRaw}}}
	}
	return req
}

// A metadata-only object (KMIP 1.4 sections 3.41, 3.42) has no token object, lives like any other, and everything that
// needs the value says that it is not there.
func TestMetadataOnly(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	for _, letter := range []byte("srdp") {
		name := string(letter)
		_, err := c.register(c.reference(letter))
		wantReason(t, name+" without a place", err, kmip.ResultReasonInvalidMessage)
		_, err = c.register(c.reference(letter), place(), at("Key Value Present", boolValue(false)))
		wantReason(t, name+" with Key Value Present", err, kmip.ResultReasonInvalidField)
		uid := c.must(c.register(c.reference(letter), place(), at("Activation Date", timeValue(epoch))))
		if b.fake.Len() != 0 {
			t.Fatalf("%s: the token has an object", name)
		}
		if !c.value(uid, "Digest").IsZero() {
			t.Errorf("%s has a Digest of nothing", name)
		}
		wantReason(t, name+": modify Key Value Present", c.modify(uid, at("Key Value Present", boolValue(true))), kmip.ResultReasonPermissionDenied)
		wantReason(t, name+": delete Key Value Present", c.remove(uid, "Key Value Present", nil), kmip.ResultReasonPermissionDenied)
		c.ok(c.modify(uid, at("Key Value Location", structValue(&kmip.KeyValueLocation{KeyValueLocationValue: "https://there", KeyValueLocationType: kmip.KeyValueLocationTypeURI}))))
		c.ok(c.add(uid, place()))
		if got := c.find(at("Key Value Present", boolValue(false))); len(got) != 1 || got[0] != uid {
			t.Errorf("%s: Locate by Key Value Present: got %v", name, got)
		}
		if st := c.state(uid); st != kmip.StateActive {
			t.Errorf("%s: got %s, want Active", name, st)
		}
		out, err := c.export(uid, kmip.ExportRequest{})
		c.ok(err)
		c.ok(c.imports(replacing(importOf(out))))
		contrary := replacing(importOf(out))
		contrary.Attribute = append([]kmip.Attribute{}, contrary.Attribute...)
		for i, a := range contrary.Attribute {
			if a.AttributeName == "Key Value Present" {
				contrary.Attribute[i].AttributeValue = boolValue(true)
			}
		}
		wantReason(t, name+": Import that says the value is there", c.imports(contrary), kmip.ResultReasonInvalidField)
		c.ok(c.revoke(uid, kmip.RevocationReasonCodeSuperseded))
		c.ok(c.destroy(uid))
		_, err = c.get(uid, kmip.GetRequest{})
		wantReason(t, name+": Get after Destroy", err, kmip.ResultReasonItemNotFound)
	}
	for _, attrs := range [][]kmip.Attribute{nil, {place()}} {
		_, err := c.register(c.reference('u'), attrs...)
		if kmip.ReasonOf(err) != map[bool]kmip.ResultReason{true: kmip.ResultReasonInvalidMessage, false: kmip.ResultReasonInvalidField}[attrs == nil] {
			t.Errorf("public key: got %v; Key Value Location does not apply to it", err)
		}
	}
	b.wantClean()
	b.restart()
	b.wantClean()
}

// What needs the value of a metadata-only object is refused with Key Value Not Present.
func TestMetadataOnlyUse(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	kek := c.aes()
	c.ok(c.activate(kek))
	every := mask(kmip.CryptographicUsageMaskEncrypt | kmip.CryptographicUsageMaskDecrypt | kmip.CryptographicUsageMaskSign | kmip.CryptographicUsageMaskMACGenerate | kmip.CryptographicUsageMaskMACVerify)
	active := at("Activation Date", timeValue(epoch.Add(-time.Hour)))
	of := func(letter byte) string {
		req := c.reference(letter)
		req.TemplateAttribute.Attribute = nil
		return c.must(c.register(req, every, place(), active))
	}
	key, private, password := of('s'), of('r'), of('d')
	hmac := c.reference('s')
	hmac.TemplateAttribute.Attribute, hmac.SymmetricKey.KeyBlock.CryptographicAlgorithm = nil, kmip.CryptographicAlgorithmHMACSHA256
	mac := c.must(c.register(hmac, every, place(), active))
	const absent = kmip.ResultReasonKeyValueNotPresent
	gcm := &kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeCBC, PaddingMethod: kmip.PaddingMethodPKCS5}
	_, err := c.encrypt(key, kmip.EncryptRequest{CryptographicParameters: gcm, Data: []byte("x"), IVCounterNonce: marker(16)})
	wantReason(t, "Encrypt", err, absent)
	_, err = c.decrypt(key, kmip.DecryptRequest{CryptographicParameters: gcm, Data: marker(16), IVCounterNonce: marker(16)})
	wantReason(t, "Decrypt", err, absent)
	_, err = do(c, kmip.OperationSign, private, c.s.Sign, &kmip.SignRequest{Data: []byte("x")})
	wantReason(t, "Sign", err, absent)
	_, err = do(c, kmip.OperationMAC, mac, c.s.MAC, &kmip.MACRequest{Data: []byte("x")})
	wantReason(t, "MAC", err, absent)
	_, err = do(c, kmip.OperationReKey, key, c.s.ReKey, &kmip.ReKeyRequest{})
	wantReason(t, "Re-key", err, absent)
	_, err = c.get(key, wrapRequest(kek, kmip.BlockCipherModeNISTKeyWrap, kmip.EncodingOptionNoEncoding))
	wantReason(t, "Get wrapped", err, absent)
	_, err = c.get(private, kmip.GetRequest{KeyFormatType: kmip.KeyFormatTypePKCS12})
	wantReason(t, "Get as PKCS#12", err, absent)
	_, err = c.register(inContainer(container(t, "named"), linkTo(kmip.LinkTypePKCS12PasswordLink, password)))
	wantReason(t, "Register of PKCS#12 with a password that is elsewhere", err, absent)
}
