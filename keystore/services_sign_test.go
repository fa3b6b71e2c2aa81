package keystore

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/fips140"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"strings"
	"sync"
	"testing"

	"kmipd/kmip"
)

func (c client) sign(uid string, req kmip.SignRequest) (*kmip.SignResponse, error) {
	return do(c, kmip.OperationSign, uid, c.s.Sign, &req)
}

// verify gives the Validity Indicator; it must work.
func (c client) verify(uid string, req kmip.SignatureVerifyRequest) bool {
	c.t.Helper()
	resp, err := do(c, kmip.OperationSignatureVerify, uid, c.s.SignatureVerify, &req)
	if err != nil {
		c.t.Fatalf("Signature Verify: %v", err)
	}
	if resp.UniqueIdentifier != uid || resp.CorrelationValue != nil {
		c.t.Errorf("got %+v, want the identifier and no Correlation Value", resp)
	}
	return resp.ValidityIndicator == kmip.ValidityIndicatorValid
}

// rsaKey is one RSA key for all tests.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// rsaPair registers both halves of rsaKey.
func (c client) rsaPair(private, public kmip.CryptographicUsageMask) (priv, pub string) {
	c.t.Helper()
	block := func(format kmip.KeyFormatType, der []byte) kmip.KeyBlock {
		return kmip.KeyBlock{KeyFormatType: format, KeyValue: structured(der), CryptographicAlgorithm: kmip.CryptographicAlgorithmRSA,
			CryptographicLength: ptr(int32(2048))}
	}
	priv = c.must(c.register(&kmip.RegisterRequest{ObjectType: kmip.ObjectTypePrivateKey, TemplateAttribute: *with(active(private)...),
		PrivateKey: &kmip.PrivateKey{KeyBlock: block(kmip.KeyFormatTypePKCS1, x509.MarshalPKCS1PrivateKey(rsaKey()))}}))
	pub = c.must(c.register(&kmip.RegisterRequest{ObjectType: kmip.ObjectTypePublicKey, TemplateAttribute: *with(active(public)...),
		PublicKey: &kmip.PublicKey{KeyBlock: block(kmip.KeyFormatTypePKCS1, x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey))}}))
	return priv, pub
}

func (c client) ecPair() (priv, pub string) {
	c.t.Helper()
	private, public := privateKey(c.t, ecKey()), publicKey(c.t, ecKey())
	private.TemplateAttribute, public.TemplateAttribute = *with(active(kmip.CryptographicUsageMaskSign)...), *with(active(kmip.CryptographicUsageMaskVerify)...)
	return c.must(c.register(private)), c.must(c.register(public))
}

func hashed(h kmip.HashingAlgorithm) kmip.CryptographicParameters {
	return kmip.CryptographicParameters{HashingAlgorithm: h}
}

// Signatures of each scheme are right by another implementation, verify with the other half, and do not verify for other
// data.
func TestSignatures(t *testing.T) {
	c := newBench(t).client("alice")
	rsaPriv, rsaPub := c.rsaPair(kmip.CryptographicUsageMaskSign, kmip.CryptographicUsageMaskVerify)
	ecPriv, ecPub := c.ecPair()
	data := []byte("to be signed")
	sum := sha256.Sum256(data)
	sum5 := sha512.Sum512(data)
	pub := &rsaKey().PublicKey
	pss := func(p kmip.CryptographicParameters, salt int32) kmip.CryptographicParameters {
		p.PaddingMethod = kmip.PaddingMethodPSS
		if salt >= 0 {
			p.SaltLength = &salt
		}
		return p
	}
	pkcs1 := func(h crypto.Hash, sum []byte) func([]byte) bool {
		return func(sig []byte) bool { return rsa.VerifyPKCS1v15(pub, h, sum, sig) == nil }
	}
	pssOf := func(h crypto.Hash, sum []byte, salt int) func([]byte) bool {
		return func(sig []byte) bool {
			return rsa.VerifyPSS(pub, h, sum, sig, &rsa.PSSOptions{SaltLength: salt}) == nil
		}
	}
	ec := func(sum []byte) func([]byte) bool {
		return func(sig []byte) bool { return ecdsa.VerifyASN1(&ecKey().PublicKey, sum, sig) }
	}
	dsa := func(a kmip.DigitalSignatureAlgorithm) kmip.CryptographicParameters {
		return kmip.CryptographicParameters{DigitalSignatureAlgorithm: a}
	}
	s256, s512 := kmip.HashingAlgorithmSHA256, kmip.HashingAlgorithmSHA512
	pssAlg := dsa(kmip.DigitalSignatureAlgorithmRSASSAPSSPKCS1V2_1)
	pssAlg.HashingAlgorithm = s256
	full := pss(hashed(s256), 32) // as a Go client sends it
	full.DigitalSignatureAlgorithm, full.CryptographicAlgorithm = kmip.DigitalSignatureAlgorithmRSASSAPSSPKCS1V2_1, kmip.CryptographicAlgorithmRSA
	full.MaskGenerator, full.MaskGeneratorHashingAlgorithm, full.TrailerField = kmip.MaskGeneratorMGF1, s256, ptr(int32(1))
	ecdsaParams := hashed(s256) // as Cascade sends it
	ecdsaParams.CryptographicAlgorithm = kmip.CryptographicAlgorithmECDSA
	for _, v := range []struct {
		name      string
		priv, pub string
		params    kmip.CryptographicParameters
		digest    []byte // instead of the data
		right     func([]byte) bool
	}{
		{"RSA, padding by default", rsaPriv, rsaPub, hashed(s256), nil, pkcs1(crypto.SHA256, sum[:])},
		{"RSA by algorithm", rsaPriv, rsaPub, dsa(kmip.DigitalSignatureAlgorithmSHA512WithRSAEncryptionPKCS1V1_5), nil, pkcs1(crypto.SHA512, sum5[:])},
		{"RSA digest", rsaPriv, rsaPub, hashed(s256), sum[:], pkcs1(crypto.SHA256, sum[:])},
		{"RSA digest without hash", rsaPriv, rsaPub, kmip.CryptographicParameters{CryptographicAlgorithm: kmip.CryptographicAlgorithmRSA}, []byte("any octets"), pkcs1(0, []byte("any octets"))},
		{"PSS", rsaPriv, rsaPub, pss(hashed(s256), -1), nil, pssOf(crypto.SHA256, sum[:], 32)},
		{"PSS by algorithm", rsaPriv, rsaPub, pssAlg, nil, pssOf(crypto.SHA256, sum[:], 32)},
		{"PSS longest salt", rsaPriv, rsaPub, pss(hashed(s256), 222), nil, pssOf(crypto.SHA256, sum[:], 222)},
		{"PSS no salt", rsaPriv, rsaPub, pss(hashed(s512), 0), nil, pssOf(crypto.SHA512, sum5[:], rsa.PSSSaltLengthAuto)},
		{"PSS in full, digest", rsaPriv, rsaPub, full, sum[:], pssOf(crypto.SHA256, sum[:], 32)},
		{"ECDSA", ecPriv, ecPub, ecdsaParams, nil, ec(sum[:])},
		{"ECDSA by algorithm", ecPriv, ecPub, dsa(kmip.DigitalSignatureAlgorithmECDSAWithSHA512), nil, ec(sum5[:])},
		{"ECDSA digest without hash", ecPriv, ecPub, kmip.CryptographicParameters{}, sum[:], ec(sum[:])},
	} {
		t.Run(v.name, func(t *testing.T) {
			c.t = t
			req, check := kmip.SignRequest{CryptographicParameters: &v.params, DigestedData: v.digest}, kmip.SignatureVerifyRequest{CryptographicParameters: &v.params, DigestedData: v.digest}
			if v.digest == nil {
				req.Data, check.Data = data, data
			}
			resp, err := c.sign(v.priv, req)
			if err != nil {
				t.Fatal(err)
			}
			sig := resp.SignatureData
			var right bool
			fips140.WithoutEnforcement(func() { right = v.right(sig) }) // the reference is not what is under test
			if !right {
				t.Errorf("another implementation does not verify %x", sig)
			}
			check.SignatureData = sig
			if !c.verify(v.pub, check) {
				t.Errorf("the server does not verify its own signature")
			}
			if check.Data != nil {
				check.Data = []byte("to be signeD")
				if c.verify(v.pub, check) {
					t.Errorf("verifies other data")
				}
				check.Data = data
			}
			for _, wrong := range [][]byte{sig[1:], append([]byte{0}, sig...), {1}, bytes.Repeat([]byte{0xFF}, len(sig)), append(sig[:len(sig)-1:len(sig)-1], sig[len(sig)-1]^1)} {
				check.SignatureData = wrong
				if c.verify(v.pub, check) {
					t.Errorf("verifies %x", wrong)
				}
			}
		})
	}
}

// A PSS signature verifies whatever its salt, unless the parameters say a length (CS-AC-M-2 has 222 and does not say it).
func TestSaltOfVerification(t *testing.T) {
	c := newBench(t).client("alice")
	_, pub := c.rsaPair(kmip.CryptographicUsageMaskSign, kmip.CryptographicUsageMaskVerify)
	sum := sha256.Sum256([]byte("data"))
	for _, salt := range []int{1, 20, 32, 222} {
		opts := &rsa.PSSOptions{SaltLength: salt}
		var sig []byte
		var err error
		fips140.WithoutEnforcement(func() { sig, err = rsa.SignPSS(rand.Reader, rsaKey(), crypto.SHA256, sum[:], opts) })
		if err != nil {
			t.Fatal(err)
		}
		p := hashed(kmip.HashingAlgorithmSHA256)
		p.PaddingMethod = kmip.PaddingMethodPSS
		if !c.verify(pub, kmip.SignatureVerifyRequest{CryptographicParameters: &p, Data: []byte("data"), SignatureData: sig}) {
			t.Errorf("salt of %d: got invalid, want valid", salt)
		}
		p.SaltLength = ptr(int32(32))
		if got := c.verify(pub, kmip.SignatureVerifyRequest{CryptographicParameters: &p, Data: []byte("data"), SignatureData: sig}); got != (salt == 32) {
			t.Errorf("salt of %d with Salt Length 32: got valid %t", salt, got)
		}
	}
}

// ECDSA signatures verify as DER and as r || s.
func TestECDSAForms(t *testing.T) {
	c := newBench(t).client("alice")
	_, pub := c.ecPair()
	p := hashed(kmip.HashingAlgorithmSHA256)
	sum := sha256.Sum256([]byte("data"))
	r, s, err := ecdsa.Sign(rand.Reader, ecKey(), sum[:])
	if err != nil {
		t.Fatal(err)
	}
	rs := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	der, err := derSignature(rs)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]struct {
		sig  []byte
		want bool
	}{"r || s": {rs, true}, "DER": {der, true}, "DER and more": {append(der[:len(der):len(der)], 0), false}, "s || r": {append(rs[32:64:64], rs[:32]...), false},
		"zeros": {make([]byte, 64), false}, "DER of zeros": {unhex("3006020100020100"), false}} {
		if got := c.verify(pub, kmip.SignatureVerifyRequest{CryptographicParameters: &p, Data: []byte("data"), SignatureData: v.sig}); got != v.want {
			t.Errorf("%s: got valid %t, want %t", name, got, v.want)
		}
	}
	if _, err := derSignature([]byte{1}); err == nil {
		t.Error("one octet became a signature")
	}
}

func TestSignRefusals(t *testing.T) {
	c := newBench(t).client("alice")
	priv, pub := c.rsaPair(kmip.CryptographicUsageMaskSign, kmip.CryptographicUsageMaskVerify)
	ec, ecPub := c.ecPair()
	aes := c.key(unhex(aes128), kmip.CryptographicAlgorithmAES, active(both|codes|kmip.CryptographicUsageMaskSign)...)
	data, digest := []byte("data"), make([]byte, 32)
	field, denied := kmip.ResultReasonInvalidField, kmip.ResultReasonPermissionDenied
	s256 := kmip.HashingAlgorithmSHA256
	type params = kmip.CryptographicParameters
	for _, v := range []struct {
		name, uid string
		p         params
		digest    []byte
		reason    kmip.ResultReason
	}{
		{"no hash", priv, params{}, nil, field},
		{"no hash, EC", ec, params{}, nil, field},
		{"SHA-1", priv, hashed(kmip.HashingAlgorithmSHA1), nil, field},
		{"MD5", priv, hashed(kmip.HashingAlgorithmMD5), nil, field},
		{"SHA-3", priv, hashed(kmip.HashingAlgorithmSHA3_256), nil, field},
		{"MD5 by algorithm", priv, params{DigitalSignatureAlgorithm: kmip.DigitalSignatureAlgorithmMD5WithRSAEncryptionPKCS1V1_5}, nil, field},
		{"DSA", priv, params{DigitalSignatureAlgorithm: kmip.DigitalSignatureAlgorithmDSAWithSHA256}, nil, field},
		{"ECDSA with RSA", priv, params{DigitalSignatureAlgorithm: kmip.DigitalSignatureAlgorithmECDSAWithSHA256}, nil, field},
		{"RSA with EC", ec, params{DigitalSignatureAlgorithm: kmip.DigitalSignatureAlgorithmSHA256WithRSAEncryptionPKCS1V1_5}, nil, field},
		{"algorithm against padding", priv, params{PaddingMethod: kmip.PaddingMethodPSS, DigitalSignatureAlgorithm: kmip.DigitalSignatureAlgorithmSHA256WithRSAEncryptionPKCS1V1_5}, nil, field},
		{"algorithm against hash", priv, params{HashingAlgorithm: kmip.HashingAlgorithmSHA512, DigitalSignatureAlgorithm: kmip.DigitalSignatureAlgorithmSHA256WithRSAEncryptionPKCS1V1_5}, nil, field},
		{"algorithm of the parameters", priv, params{CryptographicAlgorithm: kmip.CryptographicAlgorithmECDSA, HashingAlgorithm: s256}, nil, field},
		{"algorithm of the parameters, EC", ec, params{CryptographicAlgorithm: kmip.CryptographicAlgorithmRSA, HashingAlgorithm: s256}, nil, field},
		{"padding", priv, params{PaddingMethod: kmip.PaddingMethodOAEP, HashingAlgorithm: s256}, nil, field},
		{"padding of EC", ec, params{PaddingMethod: kmip.PaddingMethodPSS, HashingAlgorithm: s256}, nil, field},
		{"PSS without hash", priv, params{PaddingMethod: kmip.PaddingMethodPSS}, digest, field},
		{"PSS, negative salt", priv, params{PaddingMethod: kmip.PaddingMethodPSS, HashingAlgorithm: s256, SaltLength: ptr(int32(-1))}, nil, field},
		{"PSS, salt too long", priv, params{PaddingMethod: kmip.PaddingMethodPSS, HashingAlgorithm: s256, SaltLength: ptr(int32(223))}, nil, field},
		{"PSS, trailer", priv, params{PaddingMethod: kmip.PaddingMethodPSS, HashingAlgorithm: s256, TrailerField: ptr(int32(2))}, nil, field},
		{"PSS, mask generator", priv, params{PaddingMethod: kmip.PaddingMethodPSS, HashingAlgorithm: s256, MaskGenerator: 2}, nil, field},
		{"PSS, mask hash", priv, params{PaddingMethod: kmip.PaddingMethodPSS, HashingAlgorithm: s256, MaskGeneratorHashingAlgorithm: kmip.HashingAlgorithmMD5}, nil, field},
		{"digest of another length", priv, hashed(kmip.HashingAlgorithmSHA512), digest, field},
		{"digest too long for RSA", priv, params{}, make([]byte, 246), kmip.ResultReasonCryptographicFailure},
		{"public key signs", pub, hashed(s256), nil, denied},
		{"symmetric key signs", aes, hashed(s256), nil, denied},
	} {
		req := kmip.SignRequest{CryptographicParameters: &v.p, DigestedData: v.digest}
		if v.digest == nil {
			req.Data = data
		}
		_, err := c.sign(v.uid, req)
		wantReason(t, v.name, err, v.reason)
	}
	_, err := do(c, kmip.OperationSignatureVerify, priv, c.s.SignatureVerify, &kmip.SignatureVerifyRequest{Data: data, SignatureData: digest})
	wantReason(t, "private key verifies", err, denied)
	_, err = do(c, kmip.OperationSignatureVerify, ecPub, c.s.SignatureVerify, &kmip.SignatureVerifyRequest{Data: data, CryptographicParameters: ptr(hashed(s256))})
	wantReason(t, "no signature", err, kmip.ResultReasonInvalidMessage)
	// Old signatures stay verifiable, unless Go does not give SHA-1 away.
	if fips140.Enforced() {
		_, err = do(c, kmip.OperationSignatureVerify, pub, c.s.SignatureVerify, &kmip.SignatureVerifyRequest{Data: data, SignatureData: digest, CryptographicParameters: ptr(hashed(kmip.HashingAlgorithmSHA1))})
		wantReason(t, "SHA-1 in FIPS-only mode", err, field)
		return
	}
	sum := sha1.Sum(data)
	sig, err := rsa.SignPKCS1v15(nil, rsaKey(), crypto.SHA1, sum[:])
	c.ok(err)
	if !c.verify(pub, kmip.SignatureVerifyRequest{Data: data, SignatureData: sig, CryptographicParameters: ptr(hashed(kmip.HashingAlgorithmSHA1))}) {
		t.Error("a signature with SHA-1 does not verify")
	}
}

// RSA encryption agrees with another implementation.
func TestRSAEncryption(t *testing.T) {
	c := newBench(t).client("alice")
	priv, pub := c.rsaPair(kmip.CryptographicUsageMaskDecrypt, kmip.CryptographicUsageMaskEncrypt)
	text := []byte("attack at dawn")
	label := []byte("label")
	oaepParams := func(h, mgf kmip.HashingAlgorithm, label []byte) kmip.CryptographicParameters {
		return kmip.CryptographicParameters{PaddingMethod: kmip.PaddingMethodOAEP, HashingAlgorithm: h, MaskGenerator: kmip.MaskGeneratorMGF1,
			MaskGeneratorHashingAlgorithm: mgf, PSource: label}
	}
	for name, v := range map[string]struct {
		p    kmip.CryptographicParameters
		opts crypto.DecrypterOpts
	}{
		"PKCS1":               {kmip.CryptographicParameters{PaddingMethod: kmip.PaddingMethodPKCS1V1_5}, &rsa.PKCS1v15DecryptOptions{}},
		"OAEP by default":     {kmip.CryptographicParameters{PaddingMethod: kmip.PaddingMethodOAEP}, &rsa.OAEPOptions{Hash: crypto.SHA1}},
		"OAEP SHA-256":        {oaepParams(kmip.HashingAlgorithmSHA256, 0, nil), &rsa.OAEPOptions{Hash: crypto.SHA256}},
		"OAEP mixed, a label": {oaepParams(kmip.HashingAlgorithmSHA384, kmip.HashingAlgorithmSHA256, label), &rsa.OAEPOptions{Hash: crypto.SHA384, MGFHash: crypto.SHA256, Label: label}},
	} {
		got, err := c.encrypt(pub, kmip.EncryptRequest{CryptographicParameters: &v.p, Data: text})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var plain []byte
		fips140.WithoutEnforcement(func() { plain, err = rsaKey().Decrypt(nil, got.Data, v.opts) })
		if err != nil || !bytes.Equal(plain, text) {
			t.Errorf("%s: another implementation decrypts to %q, %v", name, plain, err)
		}
		back, err := c.decrypt(priv, kmip.DecryptRequest{CryptographicParameters: &v.p, Data: got.Data})
		if err != nil || !bytes.Equal(back.Data, text) {
			t.Errorf("%s: got %v, %v back", name, back, err)
		}
	}
}

// Known answers of MACs and hashes.
func TestMACs(t *testing.T) {
	c := newBench(t).client("alice")
	aes := c.key(unhex(aes128), kmip.CryptographicAlgorithmAES, active(both|codes)...)
	cmac := c.key(unhex(nist), kmip.CryptographicAlgorithmAES, active(codes)...)
	own := c.key(unhex("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b"), kmip.CryptographicAlgorithmHMACSHA256, active(codes)...)
	sec := c.must(c.register(secret(unhex("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b")), active(codes)...))
	type params = kmip.CryptographicParameters
	field := kmip.ResultReasonInvalidField
	for _, v := range []struct {
		name, uid string
		p         *params
		data      string
		want      string
		reason    kmip.ResultReason
	}{
		{"HMAC with an AES key", aes, &params{CryptographicAlgorithm: kmip.CryptographicAlgorithmHMACSHA256}, "01020304050607080910111213141516",
			"c911e78196d64c30f631bb079ea37b97a95936d4da764d6a171df030c895ecf9", 0},
		{"HMAC by hash", aes, &params{HashingAlgorithm: kmip.HashingAlgorithmSHA256}, "01020304050607080910111213141516",
			"c911e78196d64c30f631bb079ea37b97a95936d4da764d6a171df030c895ecf9", 0},
		{"RFC 4231 case 1, the key's algorithm", own, nil, "4869205468657265", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7", 0},
		{"Secret Data", sec, &params{CryptographicAlgorithm: kmip.CryptographicAlgorithmHMACSHA512}, "4869205468657265",
			"87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854", 0},
		{"CMAC", cmac, blockMode(kmip.BlockCipherModeCMAC), "6bc1bee22e409f96e93d7e117393172a", "070a16b46b4d4144f79bdd9dd04a287c", 0},
		{"CMAC of nothing", cmac, blockMode(kmip.BlockCipherModeCMAC), "", "bb1d6929e95937287fa37d129b756746", 0},
		{"no algorithm", aes, nil, "00", "", field},
		{"HMAC-MD5", aes, &params{CryptographicAlgorithm: kmip.CryptographicAlgorithmHMACMD5}, "00", "", field},
		{"HMAC with SHA-3", aes, &params{HashingAlgorithm: kmip.HashingAlgorithmSHA3_256}, "00", "", field},
		{"another HMAC than the key's", own, &params{CryptographicAlgorithm: kmip.CryptographicAlgorithmHMACSHA512}, "00", "", field},
		{"hash against algorithm", aes, &params{CryptographicAlgorithm: kmip.CryptographicAlgorithmHMACSHA256, HashingAlgorithm: kmip.HashingAlgorithmSHA1}, "00", "", field},
		{"mode CBC-MAC", aes, blockMode(kmip.BlockCipherModeCBCMAC), "00", "", field},
		{"CMAC with an HMAC key", own, blockMode(kmip.BlockCipherModeCMAC), "00", "", field},
		{"CMAC with another algorithm", aes, &params{BlockCipherMode: kmip.BlockCipherModeCMAC, CryptographicAlgorithm: kmip.CryptographicAlgorithmDES3}, "00", "", field},
	} {
		resp, err := do(c, kmip.OperationMAC, v.uid, c.s.MAC, &kmip.MACRequest{CryptographicParameters: v.p, Data: unhex(v.data)})
		wantReason(t, v.name, err, v.reason)
		if err != nil {
			continue
		}
		if got := hex.EncodeToString(resp.MACData); got != v.want {
			t.Errorf("%s: got %s, want %s", v.name, got, v.want)
		}
		for code, want := range map[string]kmip.ValidityIndicator{v.want: kmip.ValidityIndicatorValid, v.want[2:]: kmip.ValidityIndicatorInvalid,
			"ff" + strings.Repeat("00", len(v.want)/2-1): kmip.ValidityIndicatorInvalid} {
			resp, err := do(c, kmip.OperationMACVerify, v.uid, c.s.MACVerify, &kmip.MACVerifyRequest{CryptographicParameters: v.p, Data: unhex(v.data), MACData: unhex(code)})
			if err != nil || resp.ValidityIndicator != want {
				t.Errorf("%s: verify %s: got %+v, %v, want %s", v.name, code, resp, err, want)
			}
		}
	}
	_, err := do(c, kmip.OperationMACVerify, own, c.s.MACVerify, &kmip.MACVerifyRequest{Data: []byte("x")})
	wantReason(t, "no MAC Data", err, kmip.ResultReasonInvalidMessage)
	only := c.key(unhex(aes128), kmip.CryptographicAlgorithmAES, active(kmip.CryptographicUsageMaskMACVerify, parameters(params{CryptographicAlgorithm: kmip.CryptographicAlgorithmHMACSHA256}))...)
	resp, err := do(c, kmip.OperationMACVerify, only, c.s.MACVerify, &kmip.MACVerifyRequest{Data: []byte("x"), MACData: []byte("y")})
	if err != nil || resp.ValidityIndicator != kmip.ValidityIndicatorInvalid {
		t.Errorf("a key for MAC Verify alone: got %+v, %v", resp, err)
	}
	_, err = do(c, kmip.OperationMAC, only, c.s.MAC, &kmip.MACRequest{Data: []byte("x")})
	wantReason(t, "a key for MAC Verify alone makes one", err, kmip.ResultReasonPermissionDenied)
}

func TestHashAndRandom(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	for alg, want := range map[kmip.HashingAlgorithm]string{
		kmip.HashingAlgorithmSHA1:       "a9993e364706816aba3e25717850c26c9cd0d89d",
		kmip.HashingAlgorithmSHA224:     "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
		kmip.HashingAlgorithmSHA256:     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		kmip.HashingAlgorithmSHA512_256: "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23",
		kmip.HashingAlgorithmSHA3_256:   "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
		kmip.HashingAlgorithmMD5:        "", kmip.HashingAlgorithmTiger: "", 0: "",
	} {
		if alg == kmip.HashingAlgorithmSHA1 && fips140.Enforced() {
			want = ""
		}
		resp, err := do(c, kmip.OperationHash, "", c.s.Hash, &kmip.HashRequest{CryptographicParameters: hashed(alg), Data: []byte("abc")})
		if want == "" {
			wantReason(t, alg.String(), err, kmip.ResultReasonInvalidField)
		} else if err != nil || hex.EncodeToString(resp.Data) != want {
			t.Errorf("%s: got %v, %v, want %s", alg, resp, err, want)
		}
	}
	for n, reason := range map[int32]kmip.ResultReason{1: 0, maxRandom: 0, 0: kmip.ResultReasonInvalidField, -1: kmip.ResultReasonInvalidField, maxRandom + 1: kmip.ResultReasonInvalidField} {
		resp, err := do(c, kmip.OperationRNGRetrieve, "", c.s.RNGRetrieve, &kmip.RNGRetrieveRequest{DataLength: n})
		wantReason(t, "RNG Retrieve", err, reason)
		if err == nil && len(resp.Data) != int(n) {
			t.Errorf("got %d random octets, want %d", len(resp.Data), n)
		}
	}
	seeded, err := do(c, kmip.OperationRNGSeed, "", c.s.RNGSeed, &kmip.RNGSeedRequest{Data: []byte("seed")})
	if err != nil || seeded.DataLength != 0 {
		t.Errorf("RNG Seed: got %+v, %v, want nothing used", seeded, err)
	}
}
