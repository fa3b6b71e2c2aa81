package keystore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kmipd/hsm/hsmtest"
	"kmipd/kmip"
)

// feed encrypts in parts and returns what each answer holds, and the tag.
func (c client) feed(uid string, first kmip.EncryptRequest, parts ...string) (out []string, tag string) {
	c.t.Helper()
	req := first
	for i, part := range parts {
		req.Data = unhex(part)
		if part == "" {
			req.Data = nil
		}
		last := i == len(parts)-1
		req.InitIndicator, req.FinalIndicator = ptr(i == 0), ptr(last)
		resp, err := c.encrypt(uid, req)
		if err != nil {
			c.t.Fatalf("part %d: %v", i, err)
		}
		if (resp.CorrelationValue == nil) != last {
			c.t.Errorf("part %d: got Correlation Value %x", i, resp.CorrelationValue)
		}
		out = append(out, hex.EncodeToString(resp.Data))
		req = kmip.EncryptRequest{CorrelationValue: resp.CorrelationValue}
		tag = hex.EncodeToString(resp.AuthenticatedEncryptionTag)
	}
	return out, tag
}

func (c client) feedBack(uid string, first kmip.DecryptRequest, parts ...string) (out []string) {
	c.t.Helper()
	req := first
	for i, part := range parts {
		req.Data = unhex(part)
		req.InitIndicator, req.FinalIndicator = ptr(i == 0), ptr(i == len(parts)-1)
		resp, err := c.decrypt(uid, req)
		if err != nil {
			c.t.Fatalf("part %d: %v", i, err)
		}
		out = append(out, hex.EncodeToString(resp.Data))
		req = kmip.DecryptRequest{CorrelationValue: resp.CorrelationValue}
	}
	return out
}

// What comes out of each part, as the OASIS cases TC-STREAM-ENC, TC-STREAM-ENCDEC and CS-BC-M-GCM-3 have it.
func TestCipherParts(t *testing.T) {
	c := newBench(t).client("alice")
	uid := c.key(unhex(aes128), kmip.CryptographicAlgorithmAES, active(both)...)
	plain := c.key(unhex(nist), kmip.CryptographicAlgorithmAES, active(both)...)
	for _, v := range []struct {
		name       string
		uid        string
		params     *kmip.CryptographicParameters
		iv         string
		parts, out []string
	}{
		{"ECB, halves", uid, blockMode(kmip.BlockCipherModeECB), "", []string{"0102030405060708", "0910111213141516", ""}, []string{"", "d9bcce11b0b437b90239552df3a360c9", ""}},
		{"ECB, nothing first", uid, blockMode(kmip.BlockCipherModeECB), "", []string{"", "010203040506070809101112", "13141516"}, []string{"", "", "d9bcce11b0b437b90239552df3a360c9"}},
		{"ECB PKCS5, nothing last", uid, blockMode(kmip.BlockCipherModeECB, kmip.PaddingMethodPKCS5), "", []string{"01020304050607080910111213141516", ""},
			[]string{"d9bcce11b0b437b90239552df3a360c9", "0efb6bfed93b4d1ea2123ba4db075ff6"}},
		{"CBC PKCS5", uid, blockMode(kmip.BlockCipherModeCBC, kmip.PaddingMethodPKCS5), "01020304050607080910111213141516",
			[]string{"0102030405060708", "0910111213141516", "0102030405060708091011121314151601"},
			[]string{"", "79abc5c23868ad84d388ce61110a6274", "2bda19d694bbcb757dd06617c0d80fb1df2e71864ad9633d7d797e30860df00d"}},
		{"CTR over a carry", plain, blockMode(kmip.BlockCipherModeCTR), "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
			[]string{"6bc1bee22e409f96e93d7e117393172aae", "2d8a571e03ac9c9eb76fac45af8e51", "30c81c46"},
			[]string{"874d6191b620e3261bef6864990db6ce", "9806f66b7970fdff8617187bb9fffdff", "5ae4df3e"}},
	} {
		first := kmip.EncryptRequest{CryptographicParameters: v.params}
		if v.iv != "" {
			first.IVCounterNonce = unhex(v.iv)
		}
		if got, _ := c.feed(v.uid, first, v.parts...); !slices.Equal(got, v.out) {
			t.Errorf("%s: got %q, want %q", v.name, got, v.out)
		}
	}
	back := c.feedBack(uid, kmip.DecryptRequest{CryptographicParameters: blockMode(kmip.BlockCipherModeCBC, kmip.PaddingMethodPKCS5), IVCounterNonce: unhex("01020304050607080910111213141516")},
		"79abc5c23868ad84d388ce61110a6274", "2bda19d694bbcb757dd06617c0d80fb1", "df2e71864ad9633d7d797e30860df00d")
	if want := []string{"", "01020304050607080910111213141516", "0102030405060708091011121314151601"}; !slices.Equal(back, want) {
		t.Errorf("CBC back: got %q, want %q", back, want)
	}
}

// GCM in parts comes to the same as in one, whatever the parts and the IV, and gives blocks out as they come; backwards
// nothing before the tag is verified.
func TestGCMParts(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	uid := c.key(unhex("feffe9928665731c6d6a8f9467308308"), kmip.CryptographicAlgorithmAES, active(both)...)
	mute := c.key(unhex("feffe9928665731c6d6a8f9467308308"), kmip.CryptographicAlgorithmAES, active(kmip.CryptographicUsageMaskEncrypt)...)
	text := "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
	aad := unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
	for _, iv := range []string{"cafebabefacedbaddecaf888", "cafebabefacedbad", strings.Repeat("93", 60)} {
		first := kmip.EncryptRequest{CryptographicParameters: gcmParams(16), IVCounterNonce: unhex(iv), AuthenticatedEncryptionAdditionalData: aad}
		whole := first
		whole.Data = unhex(text)
		want, err := c.encrypt(uid, whole)
		c.ok(err)
		for _, cut := range []int{0, 1, 16, 20, 32, 59, 60} {
			out, tag := c.feed(uid, first, text[:2*cut], text[2*cut:])
			if early := len(out[0]) / 2; early != cut/16*16 {
				t.Errorf("IV %s, cut at %d: got %d octets with the first part", iv, cut, early)
			}
			if strings.Join(out, "") != hex.EncodeToString(want.Data) || tag != hex.EncodeToString(want.AuthenticatedEncryptionTag) {
				t.Errorf("IV %s, cut at %d: got %q tag %s, want %x tag %x", iv, cut, out, tag, want.Data, want.AuthenticatedEncryptionTag)
			}
			out, tag = c.feed(mute, first, text[:2*cut], text[2*cut:])
			if strings.Join(out, "") != hex.EncodeToString(want.Data) || tag != hex.EncodeToString(want.AuthenticatedEncryptionTag) {
				t.Errorf("IV %s, cut at %d, a key for Encrypt alone: got %q tag %s", iv, cut, out, tag)
			}
			back := c.feedBack(uid, kmip.DecryptRequest{CryptographicParameters: gcmParams(16), IVCounterNonce: unhex(iv),
				AuthenticatedEncryptionAdditionalData: aad, AuthenticatedEncryptionTag: want.AuthenticatedEncryptionTag},
				hex.EncodeToString(want.Data[:cut]), hex.EncodeToString(want.Data[cut:]))
			if !slices.Equal(back, []string{"", text}) {
				t.Errorf("IV %s, cut at %d: got %q back", iv, cut, back)
			}
		}
	}
	begun, err := c.decrypt(uid, kmip.DecryptRequest{CryptographicParameters: gcmParams(16), IVCounterNonce: make([]byte, 12), Data: make([]byte, 64), InitIndicator: ptr(true)})
	c.ok(err)
	_, err = c.decrypt(uid, kmip.DecryptRequest{CorrelationValue: begun.CorrelationValue, FinalIndicator: ptr(true)})
	wantReason(t, "GCM in parts, wrong tag", err, kmip.ResultReasonCryptographicFailure)
}

// The counter of GCM wraps within 32 bits, in the middle of a part.
func TestGCMCounterWraps(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	uid := c.key(unhex(nist), kmip.CryptographicAlgorithmAES, active(both)...)
	o := object{c.record(uid)}
	w := &gcmWork{key: b.s.tokenKey(o), counter: unhex("000102030405060708090a0bfffffffe")}
	got, err := w.ahead(context.Background(), make([]byte, 64))
	c.ok(err)
	for i, block := range []string{"fffffffe", "ffffffff", "00000000", "00000001"} {
		want, err := c.encrypt(uid, kmip.EncryptRequest{CryptographicParameters: blockMode(kmip.BlockCipherModeECB), Data: unhex("000102030405060708090a0b" + block)})
		c.ok(err)
		if !bytes.Equal(got[16*i:16*i+16], want.Data) {
			t.Errorf("block %d: got %x, want the encryption of counter %s", i, got[16*i:16*i+16], block)
		}
	}
}

// Hashes, codes and signatures in parts.
func TestOtherParts(t *testing.T) {
	c := newBench(t).client("alice")
	rsaPriv, rsaPub := c.rsaPair(kmip.CryptographicUsageMaskSign, kmip.CryptographicUsageMaskVerify)
	aes := c.key(unhex(aes128), kmip.CryptographicAlgorithmAES, active(codes, parameters(kmip.CryptographicParameters{CryptographicAlgorithm: kmip.CryptographicAlgorithmHMACSHA256}))...)
	p := hashed(kmip.HashingAlgorithmSHA256)
	yes := ptr(true)

	h1, err := do(c, kmip.OperationHash, "", c.s.Hash, &kmip.HashRequest{CryptographicParameters: p, Data: []byte("a"), InitIndicator: yes})
	c.ok(err)
	_, err = do(c, kmip.OperationHash, "", c.s.Hash, &kmip.HashRequest{CryptographicParameters: p, Data: []byte("b"), CorrelationValue: h1.CorrelationValue})
	c.ok(err)
	h3, err := do(c, kmip.OperationHash, "", c.s.Hash, &kmip.HashRequest{CryptographicParameters: p, Data: []byte("c"), CorrelationValue: h1.CorrelationValue, FinalIndicator: yes})
	c.ok(err)
	if want := sha256.Sum256([]byte("abc")); h1.Data != nil || !bytes.Equal(h3.Data, want[:]) || h3.CorrelationValue != nil {
		t.Errorf("Hash: got %+v, then %+v", h1, h3)
	}

	m1, err := do(c, kmip.OperationMAC, aes, c.s.MAC, &kmip.MACRequest{Data: unhex("0102"), InitIndicator: yes})
	c.ok(err)
	m2, err := do(c, kmip.OperationMAC, aes, c.s.MAC, &kmip.MACRequest{Data: unhex("0304050607080910111213141516"), CorrelationValue: m1.CorrelationValue, FinalIndicator: yes})
	c.ok(err)
	if m1.MACData != nil || hex.EncodeToString(m2.MACData) != "c911e78196d64c30f631bb079ea37b97a95936d4da764d6a171df030c895ecf9" {
		t.Errorf("MAC: got %+v, then %x", m1, m2.MACData)
	}

	s1, err := c.sign(rsaPriv, kmip.SignRequest{CryptographicParameters: &p, Data: []byte("to be "), InitIndicator: yes})
	c.ok(err)
	s2, err := c.sign(rsaPriv, kmip.SignRequest{Data: []byte("signed"), CorrelationValue: s1.CorrelationValue, FinalIndicator: yes})
	c.ok(err)
	if s1.SignatureData != nil || !c.verify(rsaPub, kmip.SignatureVerifyRequest{CryptographicParameters: &p, Data: []byte("to be signed"), SignatureData: s2.SignatureData}) {
		t.Errorf("Sign: got %+v, then %x", s1, s2.SignatureData)
	}

	// What is compared may come with the first part or with the last, and must come.
	for _, v := range []struct {
		first, last bool
		reason      kmip.ResultReason
	}{{true, false, 0}, {false, true, 0}, {false, false, kmip.ResultReasonInvalidMessage}} {
		pick := func(b []byte, yes bool) []byte {
			if yes {
				return b
			}
			return nil
		}
		v1, err := do(c, kmip.OperationSignatureVerify, rsaPub, c.s.SignatureVerify, &kmip.SignatureVerifyRequest{CryptographicParameters: &p, Data: []byte("to be "),
			SignatureData: pick(s2.SignatureData, v.first), InitIndicator: yes})
		c.ok(err)
		v2, err := do(c, kmip.OperationSignatureVerify, rsaPub, c.s.SignatureVerify, &kmip.SignatureVerifyRequest{Data: []byte("signed"),
			SignatureData: pick(s2.SignatureData, v.last), CorrelationValue: v1.CorrelationValue, FinalIndicator: yes})
		wantReason(t, "Signature Verify in parts", err, v.reason)
		if v1.ValidityIndicator != 0 || err == nil && v2.ValidityIndicator != kmip.ValidityIndicatorValid {
			t.Errorf("Signature Verify: got %+v, then %+v", v1, v2)
		}
		c1, err := do(c, kmip.OperationMACVerify, aes, c.s.MACVerify, &kmip.MACVerifyRequest{Data: unhex("0102"), MACData: pick(m2.MACData, v.first), InitIndicator: yes})
		c.ok(err)
		c2, err := do(c, kmip.OperationMACVerify, aes, c.s.MACVerify, &kmip.MACVerifyRequest{Data: unhex("0304050607080910111213141516"),
			MACData: pick(m2.MACData, v.last), CorrelationValue: c1.CorrelationValue, FinalIndicator: yes})
		wantReason(t, "MAC Verify in parts", err, v.reason)
		if c1.ValidityIndicator != 0 || err == nil && c2.ValidityIndicator != kmip.ValidityIndicatorValid {
			t.Errorf("MAC Verify: got %+v, then %+v", c1, c2)
		}
	}

	priv, pub := c.rsaPair(kmip.CryptographicUsageMaskDecrypt, kmip.CryptographicUsageMaskEncrypt)
	out, _ := c.feed(pub, kmip.EncryptRequest{CryptographicParameters: &kmip.CryptographicParameters{PaddingMethod: kmip.PaddingMethodOAEP}}, "0102", "0304")
	back, err := c.decrypt(priv, kmip.DecryptRequest{CryptographicParameters: &kmip.CryptographicParameters{PaddingMethod: kmip.PaddingMethodOAEP}, Data: unhex(out[1])})
	if err != nil || !bytes.Equal(back.Data, unhex("01020304")) {
		t.Errorf("OAEP in parts: got %v, %v back", back, err)
	}
	_, err = c.sign(rsaPriv, kmip.SignRequest{CryptographicParameters: &p, DigestedData: make([]byte, 32), InitIndicator: yes})
	wantReason(t, "Digested Data in parts", err, kmip.ResultReasonInvalidField)
}

// A stream exists for the client, user, object and operation that began it, while it is used and until it fails.
func TestStreamOwnership(t *testing.T) {
	b := newBench(t)
	c := b.client("alice").as("anna")
	missing := kmip.ResultReasonItemNotFound
	uid := c.key(unhex(aes128), kmip.CryptographicAlgorithmAES, active(both)...)
	other := c.key(unhex(aes128), kmip.CryptographicAlgorithmAES, active(both)...)
	ecb := blockMode(kmip.BlockCipherModeECB)
	begin := func() []byte {
		resp, err := c.encrypt(uid, kmip.EncryptRequest{CryptographicParameters: ecb, InitIndicator: ptr(true)})
		c.ok(err)
		return resp.CorrelationValue
	}
	id := begin()
	if len(id) != 16 || bytes.Equal(id, begin()) {
		t.Errorf("got Correlation Value %x, want 16 octets that differ each time", id)
	}
	part := kmip.EncryptRequest{CorrelationValue: slices.Clone(id), Data: marker(16)}
	_, err := c.encrypt(other, part)
	wantReason(t, "another object", err, missing)
	_, err = c.decrypt(uid, kmip.DecryptRequest{CorrelationValue: id, Data: marker(16)})
	wantReason(t, "another operation", err, missing)
	call := b.client("bob").call(b.s.Begin(false), uid)
	_, err = b.s.streams.take(call, kmip.OperationEncrypt, id)
	wantReason(t, "another client", err, missing)
	call.Caller = kmip.Caller{Client: "alice", User: "arthur"}
	_, err = b.s.streams.take(call, kmip.OperationEncrypt, id)
	wantReason(t, "another user", err, missing)
	for _, unknown := range [][]byte{{}, {1}, make([]byte, 16), append(slices.Clone(id), 0)} {
		_, err = c.encrypt(uid, kmip.EncryptRequest{CorrelationValue: unknown, Data: marker(16)})
		wantReason(t, fmt.Sprintf("unknown %x", unknown), err, missing)
	}
	_, err = c.encrypt(uid, part)
	wantReason(t, "its own", err, 0)
	part.FinalIndicator = ptr(true)
	_, err = c.encrypt(uid, part)
	wantReason(t, "the last part", err, 0)
	_, err = c.encrypt(uid, part)
	wantReason(t, "after the last part", err, missing)

	field := kmip.ResultReasonInvalidField
	_, err = c.encrypt(uid, kmip.EncryptRequest{CorrelationValue: begin(), InitIndicator: ptr(true), Data: marker(16)})
	wantReason(t, "Init Indicator with a Correlation Value", err, field)
	_, err = c.encrypt(uid, kmip.EncryptRequest{CryptographicParameters: ecb, FinalIndicator: ptr(true), Data: marker(16)})
	wantReason(t, "Final Indicator without a Correlation Value", err, field)
	_, err = c.in(kmip.V1_2).encrypt(uid, kmip.EncryptRequest{CryptographicParameters: ecb, InitIndicator: ptr(true)})
	wantReason(t, "Init Indicator in 1.2", err, field)
	one, err := c.encrypt(uid, kmip.EncryptRequest{CryptographicParameters: ecb, InitIndicator: ptr(true), FinalIndicator: ptr(true), Data: unhex("01020304050607080910111213141516")})
	if err != nil || one.CorrelationValue != nil || hex.EncodeToString(one.Data) != "d9bcce11b0b437b90239552df3a360c9" {
		t.Errorf("both indicators: got %+v, %v, want a whole operation", one, err)
	}
}

// What fails ends its stream, and a stream does not outlive the permission to use its key.
func TestStreamEnds(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	missing := kmip.ResultReasonItemNotFound
	ecb := blockMode(kmip.BlockCipherModeECB)
	uid := c.key(unhex(aes128), kmip.CryptographicAlgorithmAES, active(both)...)
	begin := func() kmip.EncryptRequest {
		resp, err := c.encrypt(uid, kmip.EncryptRequest{CryptographicParameters: ecb, InitIndicator: ptr(true), Data: marker(15)})
		c.ok(err)
		return kmip.EncryptRequest{CorrelationValue: resp.CorrelationValue, Data: marker(16)}
	}
	part := begin()
	b.fake.Inject(hsmtest.Fault{Method: "Encrypt", Effect: hsmtest.FailBefore})
	_, err := c.encrypt(uid, part)
	wantReason(t, "the token fails", err, kmip.ResultReasonCryptographicFailure)
	_, err = c.encrypt(uid, part)
	wantReason(t, "after the failure", err, missing)

	part = begin()
	part.FinalIndicator = ptr(true)
	_, err = c.encrypt(uid, part)
	wantReason(t, "half a block at the end", err, kmip.ResultReasonCryptographicFailure)

	old := begin()
	b.advance(streamLife - time.Second)
	_, err = c.encrypt(uid, old)
	wantReason(t, "in time", err, 0)
	b.advance(streamLife)
	_, err = c.encrypt(uid, old)
	wantReason(t, "too late", err, missing)

	part = begin()
	c.ok(c.revoke(uid, kmip.RevocationReasonCodeSuperseded))
	_, err = c.encrypt(uid, part)
	wantReason(t, "revoked in between", err, kmip.ResultReasonPermissionDenied)
	_, err = c.encrypt(uid, part)
	wantReason(t, "the stream is gone", err, missing)
	if n := len(b.s.streams.waiting) + len(b.s.streams.quotas) + b.s.streams.octets; n != 0 {
		t.Errorf("the registry is not empty: %+v", b.s.streams)
	}
}

// Limits: streams of a client, octets that are held; and nothing stays in memory after the end.
func TestStreamLimits(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	uid := c.key(unhex(aes128), kmip.CryptographicAlgorithmAES, active(both|codes)...)
	mac := kmip.MACRequest{CryptographicParameters: &kmip.CryptographicParameters{CryptographicAlgorithm: kmip.CryptographicAlgorithmHMACSHA256}, InitIndicator: ptr(true)}
	begin := func() ([]byte, error) {
		resp, err := do(c, kmip.OperationMAC, uid, c.s.MAC, &mac)
		if err != nil {
			return nil, err
		}
		return resp.CorrelationValue, nil
	}
	var ids [][]byte
	for range maxStreams {
		id, err := begin()
		c.ok(err)
		ids = append(ids, id)
	}
	_, err := begin()
	wantReason(t, "one stream too many", err, kmip.ResultReasonGeneralFailure)
	bob := b.client("bob")
	_, err = do(bob, kmip.OperationHash, "", b.s.Hash, &kmip.HashRequest{CryptographicParameters: hashed(kmip.HashingAlgorithmSHA256), InitIndicator: ptr(true)})
	wantReason(t, "another client's stream", err, 0)
	_, err = do(c, kmip.OperationMAC, uid, c.s.MAC, &kmip.MACRequest{CryptographicParameters: mac.CryptographicParameters, Data: []byte("x")})
	wantReason(t, "a whole operation", err, 0)

	big := make([]byte, maxStreamOctets/2)
	feed := func(id []byte, n int) error {
		_, err := do(c, kmip.OperationMAC, uid, c.s.MAC, &kmip.MACRequest{CorrelationValue: id, Data: big[:n]})
		return err
	}
	wantReason(t, "half the limit", feed(ids[0], len(big)), 0)
	wantReason(t, "the limit", feed(ids[0], len(big)), 0)
	wantReason(t, "over the limit", feed(ids[0], 1), kmip.ResultReasonGeneralFailure)
	wantReason(t, "ended by it", feed(ids[0], 1), kmip.ResultReasonItemNotFound)
	for i := range maxClientOctets / len(big) {
		wantReason(t, "up to the client's limit", feed(ids[1+i], len(big)), 0)
	}
	wantReason(t, "over the client's limit", feed(ids[60], 1), kmip.ResultReasonGeneralFailure)

	held := b.s.streams.waiting[[16]byte(ids[1])].work.(*macWork).held
	copy(held, "plaintext")
	b.advance(streamLife)
	b.s.streams.sweep()
	if bytes.Contains(held, []byte("plain")) {
		t.Error("a stream that ran out of time was not wiped")
	}
	if b.s.streams.octets != 0 || len(b.s.streams.quotas) != 0 {
		t.Errorf("got %d octets of %d clients, want none", b.s.streams.octets, len(b.s.streams.quotas))
	}
	id, err := begin()
	c.ok(err)
	c.ok(feed(id, 9))
	held = b.s.streams.waiting[[16]byte(id)].work.(*macWork).held
	copy(held, "plaintext")
	b.s.Close()
	if bytes.Contains(held, []byte("plain")) {
		t.Error("a stream was not wiped at the end of the server")
	}
	_, err = begin()
	wantReason(t, "after the end", err, kmip.ResultReasonGeneralFailure)
}

// Parts of many streams at once, some of one stream: each part is worked on once or its stream is not there.
func TestStreamsAtOnce(t *testing.T) {
	b := newBench(t)
	var all sync.WaitGroup
	for i := range 4 {
		c := b.client(fmt.Sprintf("client %d", i%2))
		all.Add(1)
		go func() {
			defer all.Done()
			p := hashed(kmip.HashingAlgorithmSHA256)
			for range 50 {
				first, err := do(c, kmip.OperationHash, "", c.s.Hash, &kmip.HashRequest{CryptographicParameters: p, InitIndicator: ptr(true)})
				if err != nil {
					t.Error(err)
					return
				}
				var parts sync.WaitGroup
				for range 3 {
					parts.Add(1)
					go func() {
						defer parts.Done()
						_, err := do(c, kmip.OperationHash, "", c.s.Hash, &kmip.HashRequest{CryptographicParameters: p, Data: []byte("x"), CorrelationValue: first.CorrelationValue})
						if err != nil && kmip.ReasonOf(err) != kmip.ResultReasonItemNotFound {
							t.Error(err)
						}
					}()
				}
				parts.Wait()
				if _, err := do(c, kmip.OperationHash, "", c.s.Hash, &kmip.HashRequest{CryptographicParameters: p, CorrelationValue: first.CorrelationValue, FinalIndicator: ptr(true)}); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	all.Wait()
	if n := len(b.s.streams.waiting) + len(b.s.streams.quotas); n != 0 {
		t.Errorf("the registry is not empty: %+v", b.s.streams)
	}
}
