package keystore

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"kmipd/fips"
	"kmipd/kmip"
)

// Modes, paddings and IVs of Encrypt and Decrypt.
func TestStrictCiphers(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	aes, tdes := kmip.CryptographicAlgorithmAES, kmip.CryptographicAlgorithmDES3
	aes256 := c.key(unhex(aes128+aes128), aes, active(both)...)
	aes192 := c.key(marker(24), aes, active(both)...)
	old := c.key(unhex(des3), tdes, active(both)...)
	iv, block := marker(16), marker(16)
	kill := func(n int) []byte { return make([]byte, n) }
	random := func(p *kmip.CryptographicParameters) *kmip.CryptographicParameters { p.RandomIV = ptr(true); return p }
	encryption := []struct {
		name   string
		uid    string
		params *kmip.CryptographicParameters
		iv     []byte
		cells  []cell
	}{
		{"CBC", aes256, blockMode(kmip.BlockCipherModeCBC), nil, []cell{{"fips140", 0, ""}, {"suiteb128", 0, ""}, {"cnsa2", 0, ""}}},
		{"CBC PKCS5", aes256, blockMode(kmip.BlockCipherModeCBC, kmip.PaddingMethodPKCS5), nil, []cell{{"fips140", 0, ""}, {"suiteb192", 0, ""}}},
		{"CBC with padding of zeros", aes256, blockMode(kmip.BlockCipherModeCBC, kmip.PaddingMethodZeros), nil, []cell{{"fips140", invalid, "Padding Method"}, {"cnsa1", invalid, "Padding Method"}}},
		{"CBC with Random IV", aes256, random(blockMode(kmip.BlockCipherModeCBC)), nil, []cell{{"fips140", 0, ""}}},
		{"CBC with the client's IV", aes256, blockMode(kmip.BlockCipherModeCBC), iv, []cell{{"fips140", invalid, "IV/Counter/Nonce"}, {"suiteb128", invalid, "IV/Counter/Nonce"}}},
		{"CTR", aes256, blockMode(kmip.BlockCipherModeCTR), nil, []cell{{"fips140", 0, ""}, {"suiteb128", 0, ""}}},
		{"CTR with the client's counter", aes256, blockMode(kmip.BlockCipherModeCTR), iv, []cell{{"fips140", invalid, "IV/Counter/Nonce"}}},
		{"GCM", aes256, gcmParams(16), nil, []cell{{"fips140", 0, ""}, {"suiteb128", 0, ""}, {"suiteb192", 0, ""}, {"cnsa2", 0, ""}}},
		{"GCM with the client's IV", aes256, gcmParams(16), iv[:12], []cell{{"fips140", invalid, "IV/Counter/Nonce"}, {"cnsa1", invalid, "IV/Counter/Nonce"}}},
		{"ECB", aes256, blockMode(kmip.BlockCipherModeECB), nil, []cell{{"fips140", invalid, "Block Cipher Mode"}, {"suiteb128", invalid, "Block Cipher Mode"}, {"cnsa1", invalid, "Block Cipher Mode"}}},
		{"AES 192", aes192, gcmParams(16), nil, []cell{{"fips140", 0, ""}, {"suiteb128", refused, "Cryptographic Length"}, {"cnsa1", refused, "Cryptographic Length"}}},
		{"3DES", old, blockMode(kmip.BlockCipherModeCBC), nil, []cell{{"fips140", refused, "Cryptographic Algorithm"}, {"suiteb128", refused, "Cryptographic Algorithm"}}},
	}
	for _, row := range encryption {
		for _, want := range row.cells {
			b.under(want.policy)
			c := b.client("alice")
			resp, err := c.encrypt(row.uid, kmip.EncryptRequest{CryptographicParameters: row.params, IVCounterNonce: row.iv, Data: block})
			want.check(t, "Encrypt "+row.name, err)
			if err != nil {
				continue
			}
			again, err := c.encrypt(row.uid, kmip.EncryptRequest{CryptographicParameters: row.params, Data: block})
			c.ok(err)
			if len(resp.IVCounterNonce) < 12 || string(resp.IVCounterNonce) == string(again.IVCounterNonce) {
				t.Errorf("%s: %s: got IVs %x and %x, want random ones", want.policy, row.name, resp.IVCounterNonce, again.IVCounterNonce)
			}
			plain, err := c.decrypt(row.uid, kmip.DecryptRequest{CryptographicParameters: row.params, IVCounterNonce: resp.IVCounterNonce, Data: resp.Data,
				AuthenticatedEncryptionTag: resp.AuthenticatedEncryptionTag})
			if err != nil || string(plain.Data) != string(block) {
				t.Errorf("%s: Decrypt %s: got %v, want the text back", want.policy, row.name, err)
			}
		}
	}
	for _, row := range []struct {
		name   string
		uid    string
		params *kmip.CryptographicParameters
		iv     []byte
		cells  []cell
	}{
		{"ECB", aes256, blockMode(kmip.BlockCipherModeECB), nil, []cell{{"fips140", 0, ""}, {"suiteb128", invalid, "Block Cipher Mode"}}},
		{"CBC", aes256, blockMode(kmip.BlockCipherModeCBC), iv, []cell{{"fips140", 0, ""}, {"suiteb128", 0, ""}}},
		{"3DES", old, blockMode(kmip.BlockCipherModeCBC), iv[:8], []cell{{"fips140", 0, ""}, {"suiteb128", refused, "Cryptographic Algorithm"}, {"cnsa2", refused, "Cryptographic Algorithm"}}},
		{"GCM with an IV of 64 bits", aes256, gcmParams(16), iv[:8], []cell{{"fips140", invalid, "IV/Counter/Nonce"}}},
	} {
		for _, want := range row.cells {
			b.under(want.policy)
			_, err := b.client("alice").decrypt(row.uid, kmip.DecryptRequest{CryptographicParameters: row.params, IVCounterNonce: row.iv, Data: kill(32)})
			want.check(t, "Decrypt "+row.name, err)
		}
	}
	if log := b.log.String(); !strings.Contains(log, "legacy-use") || strings.Count(log, `"message":"legacy-use"`) != 1 ||
		!strings.Contains(log, old) || !strings.Contains(log, `"use":"decrypt"`) {
		t.Errorf("the log should have the one use of an old key:\n%s", log)
	}
	// Switches, each for what it is and no more.
	b.under("fips140", fips.AllowECB)
	_, err := b.client("alice").encrypt(aes256, kmip.EncryptRequest{CryptographicParameters: blockMode(kmip.BlockCipherModeECB), Data: block})
	wantReason(t, "ECB with allow-ecb", err, 0)
	b.under("suiteb128", fips.AllowClientIV)
	_, err = b.client("alice").encrypt(aes256, kmip.EncryptRequest{CryptographicParameters: blockMode(kmip.BlockCipherModeCBC), IVCounterNonce: iv, Data: block})
	wantReason(t, "CBC with client-iv", err, 0)
	_, err = b.client("alice").encrypt(aes256, kmip.EncryptRequest{CryptographicParameters: gcmParams(16), IVCounterNonce: iv[:12], Data: block})
	wantRefusal(t, "GCM with client-iv", err, invalid, "suiteb128", "IV/Counter/Nonce")
}

// RSA encryption: OAEP with SHA-2, and for old messages alone PKCS#1 v1.5 and SHA-1.
func TestStrictRSAEncryption(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	pair := func(bits int, e int64) (priv, pub string) {
		priv = c.must(c.register(privateOfKind(t, rsaOf(bits, e), kmip.CryptographicUsageMaskDecrypt)))
		return priv, c.must(c.register(publicOfKind(t, rsaOf(bits, e).Public(), kmip.CryptographicUsageMaskEncrypt)))
	}
	priv2048, pub2048 := pair(2048, 65537)
	priv3072, pub3072 := pair(3072, 65537)
	_, odd := pair(2048, 3)
	oaep := func(h, mgf kmip.HashingAlgorithm) *kmip.CryptographicParameters {
		return &kmip.CryptographicParameters{PaddingMethod: kmip.PaddingMethodOAEP, HashingAlgorithm: h, MaskGeneratorHashingAlgorithm: mgf}
	}
	v15 := &kmip.CryptographicParameters{PaddingMethod: kmip.PaddingMethodPKCS1V1_5}
	sha1, sha256, sha384 := kmip.HashingAlgorithmSHA1, kmip.HashingAlgorithmSHA256, kmip.HashingAlgorithmSHA384
	for _, row := range []struct {
		name   string
		uid    string
		params *kmip.CryptographicParameters
		cells  []cell
	}{
		{"OAEP", pub2048, oaep(0, 0), []cell{{"fips140", 0, ""}, {"cnsa1", refused, "Cryptographic Length"}, {"suiteb128", refused, "Cryptographic Algorithm"}}},
		{"OAEP SHA-1", pub2048, oaep(sha1, 0), []cell{{"fips140", invalid, "Hashing Algorithm"}}},
		{"OAEP SHA-256", pub3072, oaep(sha256, sha256), []cell{{"fips140", 0, ""}, {"cnsa1", invalid, "Hashing Algorithm"}, {"cnsa2", refused, "Cryptographic Algorithm"}}},
		{"OAEP SHA-384", pub3072, oaep(sha384, 0), []cell{{"fips140", 0, ""}, {"cnsa1", 0, ""}}},
		{"OAEP, nothing said", pub3072, oaep(0, 0), []cell{{"cnsa1", 0, ""}}},
		{"OAEP with another mask", pub3072, oaep(sha384, sha256), []cell{{"fips140", invalid, "Mask Generator Hashing Algorithm"}}},
		{"PKCS#1 v1.5", pub3072, v15, []cell{{"fips140", invalid, "Padding Method"}, {"cnsa1", invalid, "Padding Method"}}},
		{"an exponent of 3", odd, oaep(sha256, 0), []cell{{"fips140", refused, "Public Exponent"}}},
	} {
		for _, want := range row.cells {
			b.under(want.policy)
			_, err := b.client("alice").encrypt(row.uid, kmip.EncryptRequest{CryptographicParameters: row.params, Data: marker(16)})
			want.check(t, "Encrypt "+row.name, err)
		}
	}
	old, err := rsa.EncryptPKCS1v15(rand.Reader, &rsaOf(2048, 65537).PublicKey, marker(16))
	c.ok(err)
	for _, row := range []struct {
		name   string
		uid    string
		params *kmip.CryptographicParameters
		cells  []cell
	}{
		{"PKCS#1 v1.5", priv2048, v15, []cell{{"fips140", 0, ""}, {"cnsa1", refused, "Cryptographic Length"}}},
		{"PKCS#1 v1.5", priv3072, v15, []cell{{"cnsa1", invalid, "Padding Method"}}},
	} {
		for _, want := range row.cells {
			b.under(want.policy)
			_, err := b.client("alice").decrypt(row.uid, kmip.DecryptRequest{CryptographicParameters: row.params, Data: old})
			want.check(t, "Decrypt "+row.name, err)
		}
	}
	// What the server takes where the client says nothing is SHA-256, and SHA-384 in the policies that have no SHA-256.
	for policy, h := range map[string]crypto.Hash{"fips140": crypto.SHA256, "cnsa1": crypto.SHA384} {
		b.under(policy)
		resp, err := b.client("alice").encrypt(pub3072, kmip.EncryptRequest{CryptographicParameters: oaep(0, 0), Data: marker(16)})
		c.ok(err)
		plain, err := rsaOf(3072, 65537).Decrypt(nil, resp.Data, &rsa.OAEPOptions{Hash: h})
		if err != nil || string(plain) != string(marker(16)) {
			t.Errorf("%s: OAEP without a hash does not open with %s: %v", policy, h, err)
		}
	}
}

// Signatures: hashes, padding, salt, mask, and the pairs of Suite B.
func TestStrictSignatures(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	type keys struct{ priv, pub string }
	rsaKeys := func(bits int) keys {
		return keys{c.must(c.register(privateOfKind(t, rsaOf(bits, 65537), kmip.CryptographicUsageMaskSign))),
			c.must(c.register(publicOfKind(t, rsaOf(bits, 65537).Public(), kmip.CryptographicUsageMaskVerify)))}
	}
	ecKeys := func(curve elliptic.Curve) keys {
		return keys{c.must(c.register(privateOfKind(t, ecOn(curve), kmip.CryptographicUsageMaskSign))),
			c.must(c.register(publicOfKind(t, ecOn(curve).Public(), kmip.CryptographicUsageMaskVerify)))}
	}
	r1024, r2048, r3072 := rsaKeys(1024), rsaKeys(2048), rsaKeys(3072)
	p256, p384, p521 := ecKeys(elliptic.P256()), ecKeys(elliptic.P384()), ecKeys(elliptic.P521())
	sha1, sha256h, sha384, sha512 := kmip.HashingAlgorithmSHA1, kmip.HashingAlgorithmSHA256, kmip.HashingAlgorithmSHA384, kmip.HashingAlgorithmSHA512
	pss := func(h, mgf kmip.HashingAlgorithm, salt int32) kmip.CryptographicParameters {
		p := kmip.CryptographicParameters{PaddingMethod: kmip.PaddingMethodPSS, HashingAlgorithm: h, MaskGeneratorHashingAlgorithm: mgf}
		if salt >= 0 {
			p.SaltLength = &salt
		}
		return p
	}
	named := func(a kmip.DigitalSignatureAlgorithm) kmip.CryptographicParameters {
		return kmip.CryptographicParameters{DigitalSignatureAlgorithm: a}
	}
	digest := sha256.Sum256(marker(20))
	for _, row := range []struct {
		name     string
		keys     keys
		params   kmip.CryptographicParameters
		digested []byte
		sign     []cell
		verify   []cell // nil: as sign
	}{
		{"RSA 1024 SHA-256", r1024, hashed(sha256h), nil, []cell{{"fips140", refused, "Cryptographic"}}, []cell{{"fips140", 0, ""}, {"cnsa1", refused, "Cryptographic"}}},
		{"RSA 2048 SHA-256", r2048, hashed(sha256h), nil, []cell{{"fips140", 0, ""}, {"suiteb128", refused, "Cryptographic Algorithm"}, {"cnsa1", refused, "Cryptographic Length"}}, nil},
		{"RSA 2048 SHA-1", r2048, hashed(sha1), nil, []cell{{"fips140", invalid, "Hashing Algorithm"}}, []cell{{"fips140", 0, ""}}},
		{"RSA 2048, no hash", r2048, kmip.CryptographicParameters{}, digest[:], []cell{{"fips140", invalid, "Hashing Algorithm"}}, nil},
		{"RSA 2048, a digest with its hash", r2048, hashed(sha256h), digest[:], []cell{{"fips140", 0, ""}}, nil},
		{"RSA 3072 SHA-384", r3072, hashed(sha384), nil, []cell{{"fips140", 0, ""}, {"cnsa1", 0, ""}, {"cnsa2", refused, "Cryptographic Algorithm"}}, nil},
		{"RSA 3072 SHA-256", r3072, hashed(sha256h), nil, []cell{{"cnsa1", invalid, "Hashing Algorithm"}}, nil},
		{"RSA 3072 with X9.31", r3072, kmip.CryptographicParameters{PaddingMethod: kmip.PaddingMethodX9_31, HashingAlgorithm: sha256h}, nil, []cell{{"default", invalid, ""}}, nil},
		{"PSS SHA-256", r2048, pss(sha256h, 0, -1), nil, []cell{{"fips140", 0, ""}}, nil},
		{"PSS, nothing said", r3072, pss(0, 0, -1), nil, []cell{{"fips140", 0, ""}, {"cnsa1", 0, ""}}, nil},
		{"PSS with a salt of 0", r2048, pss(sha256h, 0, 0), nil, []cell{{"fips140", 0, ""}}, nil},
		{"PSS with the salt of the digest", r2048, pss(sha256h, sha256h, 32), nil, []cell{{"fips140", 0, ""}}, nil},
		{"PSS with a longer salt", r2048, pss(sha256h, 0, 33), nil, []cell{{"fips140", invalid, "Salt Length"}}, nil},
		{"PSS with another mask", r2048, pss(sha256h, sha384, 32), nil, []cell{{"fips140", invalid, "Mask Generator Hashing Algorithm"}}, nil},
		{"P-256 SHA-256", p256, hashed(sha256h), nil, []cell{{"fips140", 0, ""}, {"suiteb128", 0, ""}, {"suiteb192", refused, "Cryptographic Length"}, {"cnsa1", refused, "Cryptographic Length"}}, nil},
		{"P-256 SHA-384", p256, hashed(sha384), nil, []cell{{"fips140", 0, ""}, {"suiteb128", invalid, "Hashing Algorithm"}}, nil},
		{"P-384 SHA-256", p384, hashed(sha256h), nil, []cell{{"suiteb128", invalid, "Hashing Algorithm"}, {"suiteb192", invalid, "Hashing Algorithm"}}, nil},
		{"P-384 SHA-384", p384, hashed(sha384), nil, []cell{{"suiteb128", 0, ""}, {"suiteb192", 0, ""}, {"cnsa1", 0, ""}, {"cnsa2", refused, "Cryptographic Algorithm"}}, nil},
		{"P-521 SHA-512", p521, hashed(sha512), nil, []cell{{"fips140", 0, ""}, {"suiteb128", refused, "Cryptographic Length"}, {"cnsa1", refused, "Cryptographic Length"}}, nil},
		{"P-256 SHA-1", p256, hashed(sha1), nil, []cell{{"fips140", invalid, "Hashing Algorithm"}}, []cell{{"fips140", 0, ""}}},
		{"ECDSA with SHA-1", p256, named(kmip.DigitalSignatureAlgorithmECDSAWithSHA1), nil, []cell{{"fips140", invalid, "Hashing Algorithm"}}, []cell{{"fips140", 0, ""}}},
		{"ECDSA with SHA-384", p384, named(kmip.DigitalSignatureAlgorithmECDSAWithSHA384), nil, []cell{{"suiteb192", 0, ""}}, nil},
		{"SHA-512 with RSA", r3072, named(kmip.DigitalSignatureAlgorithmSHA512WithRSAEncryptionPKCS1V1_5), nil, []cell{{"fips140", 0, ""}, {"cnsa1", invalid, "Hashing Algorithm"}}, nil},
	} {
		for _, want := range row.sign {
			b.under(want.policy)
			c := b.client("alice")
			req := kmip.SignRequest{CryptographicParameters: &row.params, Data: marker(20)}
			if row.digested != nil {
				req.Data, req.DigestedData = nil, row.digested
			}
			resp, err := c.sign(row.keys.priv, req)
			if want.policy == "default" {
				wantReason(t, row.name, err, want.reason)
				continue
			}
			want.check(t, "Sign "+row.name, err)
			if err == nil && !c.verify(row.keys.pub, kmip.SignatureVerifyRequest{CryptographicParameters: &row.params, Data: req.Data, DigestedData: req.DigestedData, SignatureData: resp.SignatureData}) {
				t.Errorf("%s: %s: the signature is not valid", want.policy, row.name)
			}
		}
		if row.verify == nil {
			row.verify = row.sign
		}
		for _, want := range row.verify {
			if want.policy == "default" {
				continue
			}
			b.under(want.policy)
			c := b.client("alice")
			req := &kmip.SignatureVerifyRequest{CryptographicParameters: &row.params, Data: marker(20), SignatureData: marker(64)}
			if row.digested != nil {
				req.Data, req.DigestedData = nil, row.digested
			}
			_, err := do(c, kmip.OperationSignatureVerify, row.keys.pub, c.s.SignatureVerify, req)
			want.check(t, "Signature Verify "+row.name, err)
		}
	}
	// RSA 2048 and P-224 sign until the end of 2030, and are verified from then on.
	b.under("fips140")
	b.advance(time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC).Sub(b.clock()) - time.Second)
	c = b.client("alice")
	p := hashed(sha256h)
	resp, err := c.sign(r2048.priv, kmip.SignRequest{CryptographicParameters: &p, Data: marker(20)})
	wantReason(t, "a second before 2031", err, 0)
	b.advance(time.Second)
	_, err = c.sign(r2048.priv, kmip.SignRequest{CryptographicParameters: &p, Data: marker(20)})
	wantRefusal(t, "Sign in 2031", err, refused, "fips140", "2031-01-01")
	if resp != nil && !c.verify(r2048.pub, kmip.SignatureVerifyRequest{CryptographicParameters: &p, Data: marker(20), SignatureData: resp.SignatureData}) {
		t.Error("a signature of 2030 is not valid in 2031")
	}
	_, err = c.sign(r3072.priv, kmip.SignRequest{CryptographicParameters: &p, Data: marker(20)})
	wantReason(t, "RSA 3072 in 2031", err, 0)
}

// Message authentication codes: hashes, lengths of keys, CMAC.
func TestStrictMACs(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	hm := func(a kmip.CryptographicAlgorithm, octets int) string {
		return c.key(marker(octets), a, active(codes)...)
	}
	hmac256, hmac384, hmac512, hmac1 := hm(kmip.CryptographicAlgorithmHMACSHA256, 32), hm(kmip.CryptographicAlgorithmHMACSHA384, 48),
		hm(kmip.CryptographicAlgorithmHMACSHA512, 64), hm(kmip.CryptographicAlgorithmHMACSHA1, 20)
	short, shorter := hm(kmip.CryptographicAlgorithmHMACSHA256, 14), hm(kmip.CryptographicAlgorithmHMACSHA256, 10)
	aes := c.key(marker(32), kmip.CryptographicAlgorithmAES, active(codes)...)
	tdes := c.key(unhex(des3), kmip.CryptographicAlgorithmDES3, active(codes)...)
	cmac := blockMode(kmip.BlockCipherModeCMAC)
	for _, row := range []struct {
		name   string
		uid    string
		params *kmip.CryptographicParameters
		mac    []cell
		verify []cell
	}{
		{"HMAC-SHA256", hmac256, nil, []cell{{"fips140", 0, ""}, {"suiteb128", 0, ""}, {"suiteb192", invalid, "Hashing Algorithm"}, {"cnsa1", invalid, "Hashing Algorithm"}}, nil},
		{"HMAC-SHA384", hmac384, nil, []cell{{"fips140", 0, ""}, {"suiteb128", 0, ""}, {"suiteb192", 0, ""}, {"cnsa1", 0, ""}, {"cnsa2", 0, ""}}, nil},
		{"HMAC-SHA512", hmac512, nil, []cell{{"fips140", 0, ""}, {"suiteb128", invalid, "Hashing Algorithm"}, {"cnsa1", invalid, "Hashing Algorithm"}, {"cnsa2", 0, ""}}, nil},
		{"HMAC-SHA1", hmac1, nil, []cell{{"fips140", 0, ""}, {"suiteb128", invalid, "Hashing Algorithm"}}, nil},
		{"a key of 112 bits", short, nil, []cell{{"fips140", 0, ""}, {"suiteb128", refused, "Cryptographic Length"}}, nil},
		{"a key of 80 bits", shorter, nil, []cell{{"fips140", refused, "Cryptographic"}}, []cell{{"fips140", 0, ""}, {"suiteb128", refused, "Cryptographic Length"}}},
		{"CMAC", aes, cmac, []cell{{"fips140", 0, ""}, {"suiteb128", invalid, "Block Cipher Mode"}, {"cnsa1", 0, ""}}, nil},
		{"CMAC with 3DES", tdes, cmac, []cell{{"fips140", refused, "Cryptographic Algorithm"}}, []cell{{"fips140", 0, ""}, {"cnsa1", refused, "Cryptographic Algorithm"}}},
		{"HMAC with an AES key", aes, hashParams(kmip.HashingAlgorithmSHA256), []cell{{"fips140", 0, ""}}, nil},
		{"HMAC with a 3DES key", tdes, hashParams(kmip.HashingAlgorithmSHA256), []cell{{"fips140", refused, "Cryptographic Algorithm"}}, []cell{{"fips140", 0, ""}}},
	} {
		if row.verify == nil {
			row.verify = row.mac
		}
		for _, want := range row.mac {
			b.under(want.policy)
			c := b.client("alice")
			_, err := do(c, kmip.OperationMAC, row.uid, c.s.MAC, &kmip.MACRequest{CryptographicParameters: row.params, Data: marker(20)})
			want.check(t, "MAC "+row.name, err)
		}
		for _, want := range row.verify {
			b.under(want.policy)
			c := b.client("alice")
			_, err := do(c, kmip.OperationMACVerify, row.uid, c.s.MACVerify, &kmip.MACVerifyRequest{CryptographicParameters: row.params, Data: marker(20), MACData: marker(32)})
			want.check(t, "MAC Verify "+row.name, err)
		}
	}
	b.under("fips140")
	b.advance(time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC).Sub(b.clock()))
	c = b.client("alice")
	_, err := do(c, kmip.OperationMAC, hmac1, c.s.MAC, &kmip.MACRequest{Data: marker(20)})
	wantRefusal(t, "HMAC-SHA1 in 2031", err, invalid, "fips140", "Hashing Algorithm")
	_, err = do(c, kmip.OperationMACVerify, hmac1, c.s.MACVerify, &kmip.MACVerifyRequest{Data: marker(20), MACData: marker(20)})
	wantReason(t, "an old HMAC-SHA1 in 2031", err, 0)
}

func TestStrictHash(t *testing.T) {
	all := []kmip.HashingAlgorithm{kmip.HashingAlgorithmMD5, kmip.HashingAlgorithmSHA1, kmip.HashingAlgorithmSHA224, kmip.HashingAlgorithmSHA256,
		kmip.HashingAlgorithmSHA384, kmip.HashingAlgorithmSHA512, kmip.HashingAlgorithmSHA512_256, kmip.HashingAlgorithmSHA3_256}
	for policy, allowed := range map[string]string{"default": "-+++++++", "fips140": "-+++++++", "suiteb128": "---++---", "suiteb192": "----+---", "cnsa1": "----+---", "cnsa2": "----++--"} {
		c := strictBench(t, policy).client("alice")
		for i, h := range all {
			_, err := do(c, kmip.OperationHash, "", c.s.Hash, &kmip.HashRequest{CryptographicParameters: hashed(h), Data: marker(20)})
			want := cell{policy, 0, ""}
			if allowed[i] == '-' {
				want = cell{policy, invalid, "Hashing Algorithm"}
			}
			if policy == "default" || h == kmip.HashingAlgorithmMD5 {
				wantReason(t, policy+": "+h.String(), err, want.reason)
				continue
			}
			want.check(t, h.String(), err)
		}
	}
}

// Derive Key: methods, base keys, what comes out, and the numbers of PBKDF2 (NIST SP 800-132).
func TestStrictDerivation(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	aes, aes256 := c.baseKey(kmip.CryptographicAlgorithmAES, marker(16)), c.baseKey(kmip.CryptographicAlgorithmAES, marker(32))
	hmac256, hmac384 := c.baseKey(kmip.CryptographicAlgorithmHMACSHA256, marker(32)), c.baseKey(kmip.CryptographicAlgorithmHMACSHA384, marker(48))
	tdes := c.baseKey(kmip.CryptographicAlgorithmDES3, unhex(des3))
	password, short, other := c.baseSecret(marker(14)), c.baseSecret(marker(13)), c.baseSecret(marker(10))
	m := kmip.DerivationMethodNIST800_108C
	key := func(method kmip.DerivationMethod, bits int32, p kmip.DerivationParameters, base ...string) *kmip.DeriveKeyRequest {
		if p.DerivationData == nil && method != kmip.DerivationMethodPBKDF2 && method != kmip.DerivationMethodHASH {
			p.DerivationData = marker(8)
		}
		return &kmip.DeriveKeyRequest{ObjectType: kmip.ObjectTypeSymmetricKey, UniqueIdentifier: base, DerivationMethod: method, DerivationParameters: p,
			TemplateAttribute: *with(attributesOf(kmip.CryptographicAlgorithmAES, bits, both)...)}
	}
	with256, with384, withCMAC := kmip.DerivationParameters{CryptographicParameters: hashParams(kmip.HashingAlgorithmSHA256)},
		kmip.DerivationParameters{CryptographicParameters: hashParams(kmip.HashingAlgorithmSHA384)},
		kmip.DerivationParameters{CryptographicParameters: blockMode(kmip.BlockCipherModeCMAC)}
	pbkdf := func(salt, count int32, h kmip.HashingAlgorithm) kmip.DerivationParameters {
		p := kmip.DerivationParameters{Salt: marker(int(salt)), IterationCount: &count}
		if h != 0 {
			p.CryptographicParameters = hashParams(h)
		}
		return p
	}
	for _, row := range []struct {
		name  string
		req   *kmip.DeriveKeyRequest
		cells []cell
	}{
		{"108 with HMAC-SHA256", key(m, 128, with256, hmac256), []cell{{"fips140", 0, ""}, {"suiteb128", 0, ""}, {"suiteb192", invalid, "Cryptographic Length"}}},
		{"108 with HMAC-SHA384", key(m, 256, with384, hmac384), []cell{{"fips140", 0, ""}, {"suiteb128", 0, ""}, {"suiteb192", 0, ""}, {"cnsa1", 0, ""}, {"cnsa2", 0, ""}}},
		{"108 with HMAC-SHA256, to AES 256", key(m, 256, with256, hmac256), []cell{{"suiteb192", refused, "Cryptographic Algorithm"}, {"cnsa2", refused, "Cryptographic Algorithm"}}},
		{"108 with an AES key and HMAC", key(m, 128, with256, aes), []cell{{"fips140", 0, ""}, {"suiteb128", 0, ""}}},
		{"108 with CMAC", key(m, 256, withCMAC, aes256), []cell{{"fips140", 0, ""}, {"suiteb192", invalid, "Block Cipher Mode"}, {"cnsa2", 0, ""}}},
		{"108 with a 3DES key", key(m, 128, withCMAC, tdes), []cell{{"fips140", refused, "Cryptographic Algorithm"}}},
		{"108 with 80 bits", key(m, 128, with256, other), []cell{{"fips140", invalid, "bits"}}},
		{"108 in feedback mode", key(kmip.DerivationMethodNIST800_108F, 128, with256, hmac256), []cell{{"fips140", 0, ""}}},
		{"108 with a double pipeline", key(kmip.DerivationMethodNIST800_108DPI, 128, with256, hmac256), []cell{{"fips140", 0, ""}}},
		{"108 with MD5", key(m, 128, kmip.DerivationParameters{CryptographicParameters: hashParams(kmip.HashingAlgorithmMD5)}, aes), []cell{{"default", invalid, ""}}},
		{"HMAC", key(kmip.DerivationMethodHMAC, 128, with256, hmac256), []cell{{"fips140", invalid, "Derivation Method"}, {"suiteb128", invalid, "Derivation Method"}}},
		{"HASH", key(kmip.DerivationMethodHASH, 128, with256, hmac256), []cell{{"fips140", invalid, "Derivation Method"}}},
		{"ENCRYPT", key(kmip.DerivationMethodENCRYPT, 128, kmip.DerivationParameters{CryptographicParameters: blockMode(kmip.BlockCipherModeCBC), InitializationVector: marker(16),
			DerivationData: marker(16)}, aes), []cell{{"fips140", invalid, "Derivation Method"}}},
		{"PBKDF2", key(kmip.DerivationMethodPBKDF2, 128, pbkdf(16, 10000, kmip.HashingAlgorithmSHA256), password),
			[]cell{{"fips140", 0, ""}, {"suiteb128", invalid, "Derivation Method"}}},
		{"PBKDF2 to AES 256", key(kmip.DerivationMethodPBKDF2, 256, pbkdf(16, 10000, kmip.HashingAlgorithmSHA384), password), []cell{{"cnsa1", invalid, "Derivation Method"}}},
		{"PBKDF2 with a salt of 15", key(kmip.DerivationMethodPBKDF2, 128, pbkdf(15, 10000, kmip.HashingAlgorithmSHA256), password), []cell{{"fips140", invalid, "Salt"}}},
		{"PBKDF2 with 9999 rounds", key(kmip.DerivationMethodPBKDF2, 128, pbkdf(16, 9999, kmip.HashingAlgorithmSHA256), password), []cell{{"fips140", invalid, "Iteration Count"}}},
		{"PBKDF2 with 13 octets", key(kmip.DerivationMethodPBKDF2, 128, pbkdf(16, 10000, kmip.HashingAlgorithmSHA256), short), []cell{{"fips140", invalid, "password"}}},
		{"PBKDF2 to AES 192", key(kmip.DerivationMethodPBKDF2, 192, pbkdf(16, 10000, kmip.HashingAlgorithmSHA256), password), []cell{{"fips140", 0, ""}}},
		{"PBKDF2 to a DES key", &kmip.DeriveKeyRequest{ObjectType: kmip.ObjectTypeSymmetricKey, UniqueIdentifier: []string{password}, DerivationMethod: kmip.DerivationMethodPBKDF2,
			DerivationParameters: pbkdf(16, 10000, 0), TemplateAttribute: *with(attributesOf(kmip.CryptographicAlgorithmDES3, 168, both)...)}, []cell{{"fips140", invalid, "Cryptographic"}}},
		{"PBKDF2 to 104 bits of Secret Data", &kmip.DeriveKeyRequest{ObjectType: kmip.ObjectTypeSecretData, UniqueIdentifier: []string{password},
			DerivationMethod: kmip.DerivationMethodPBKDF2, DerivationParameters: pbkdf(16, 10000, 0), TemplateAttribute: secretOf(104)}, []cell{{"fips140", invalid, "Cryptographic Length"}}},
	} {
		for _, want := range row.cells {
			b.under(want.policy)
			_, err := b.client("alice").derive(row.req)
			if want.policy == "default" {
				wantReason(t, row.name, err, want.reason)
				continue
			}
			want.check(t, row.name, err)
		}
	}
	// PBKDF2 without a hash is made with SHA-256 in a strict policy, with SHA-1 as RFC 8018 has it elsewhere.
	for policy, h := range map[string]kmip.HashingAlgorithm{"fips140": kmip.HashingAlgorithmSHA256, "default": kmip.HashingAlgorithmSHA1} {
		c := b.clear(policy)
		open := func(req *kmip.DeriveKeyRequest) string { return string(c.material(c.must(c.derive(req)))) }
		if open(key(kmip.DerivationMethodPBKDF2, 128, pbkdf(16, 10000, 0), password)) != open(key(kmip.DerivationMethodPBKDF2, 128, pbkdf(16, 10000, h), password)) {
			t.Errorf("%s: PBKDF2 without a hash is not made with %s", policy, h)
		}
	}
	// Two keys that agree: their raw secret is no key.
	b.under("default")
	c = b.client("alice")
	private := privateOfKind(t, ecOn(elliptic.P384()), kmip.CryptographicUsageMaskDeriveKey)
	public := publicOfKind(t, ecOn(elliptic.P384()).Public(), kmip.CryptographicUsageMaskDeriveKey)
	private.PrivateKey.KeyBlock.CryptographicAlgorithm, public.PublicKey.KeyBlock.CryptographicAlgorithm = kmip.CryptographicAlgorithmECDH, kmip.CryptographicAlgorithmECDH
	priv, pub := c.must(c.register(private)), c.must(c.register(public))
	for _, policy := range []string{"fips140", "suiteb192", "cnsa1"} {
		b.under(policy)
		_, err := b.client("alice").derive(&kmip.DeriveKeyRequest{ObjectType: kmip.ObjectTypeSymmetricKey, UniqueIdentifier: []string{priv, pub},
			DerivationMethod: kmip.DerivationMethodAsymmetricKey, TemplateAttribute: *with(attributesOf(kmip.CryptographicAlgorithmAES, 256, both)...)})
		wantRefusal(t, "Asymmetric Key", err, invalid, policy, "Derivation Method")
	}
}
