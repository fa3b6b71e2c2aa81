package keystore

import (
	"crypto/x509/pkix"
	"fmt"
	"math/rand/v2"
	"testing"

	"kmipd/kmip"
)

// Any parameters with any object and any data come to a result or to one of the reasons of KMIP 1.4 section 11, and leave
// no stream behind. The draw is the same each time.
func TestServiceAbuse(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	everything := kmip.CryptographicUsageMask(0x7FFFF)
	uids := []string{
		c.key(unhex(aes128), kmip.CryptographicAlgorithmAES, active(everything)...),
		c.key(unhex(des3), kmip.CryptographicAlgorithmDES3, active(everything)...),
		c.key(marker(24), kmip.CryptographicAlgorithmDES3, active(everything)...), // wrong parity
		c.key(marker(8), kmip.CryptographicAlgorithmAES, active(everything)...),   // no length of AES
		c.key(marker(20), kmip.CryptographicAlgorithmHMACSHA1, active(everything)...),
		c.key(marker(32), kmip.CryptographicAlgorithmChaCha20, active(everything)...),
		c.must(c.register(secret(marker(20)), active(everything)...)),
		c.must(c.register(secret(nil), active(everything)...)),
		c.must(c.register(opaque(marker(20)))),
		c.must(c.in(kmip.V1_2).register(template(named("t")))),
		c.must(c.register(certificate(makeCert(t, pkix.Name{CommonName: "x"}, nil).Raw), at("Activation Date", timeValue(epoch)))),
	}
	priv, pub := c.rsaPair(everything, everything)
	ecPriv, ecPub := c.ecPair()
	uids = append(uids, priv, pub, ecPriv, ecPub)
	r := rand.New(rand.NewPCG(1, 2))
	for range 4000 {
		uid := uids[r.IntN(len(uids))]
		p := someParameters(r)
		data := make([]byte, []int{0, 1, 15, 16, 32, 64, 245, 256}[r.IntN(8)])
		var init *bool
		if r.IntN(4) == 0 {
			init = ptr(true)
		}
		name := fmt.Sprintf("%s with %+v, %d octets", uid, *p, len(data))
		var iv, digest []byte
		if r.IntN(2) == 0 {
			iv = make([]byte, []int{0, 8, 12, 16, 129}[r.IntN(5)])
		}
		if r.IntN(3) == 0 {
			digest = data
		}
		e, err := c.encrypt(uid, kmip.EncryptRequest{CryptographicParameters: p, Data: data, IVCounterNonce: iv, InitIndicator: init})
		tame(t, "Encrypt "+name, err)
		if err == nil && init == nil {
			iv := append(iv, e.IVCounterNonce...)
			_, err = c.decrypt(uid, kmip.DecryptRequest{CryptographicParameters: p, Data: e.Data, IVCounterNonce: iv, AuthenticatedEncryptionTag: e.AuthenticatedEncryptionTag})
			tame(t, "Decrypt "+name, err)
		}
		_, err = c.decrypt(uid, kmip.DecryptRequest{CryptographicParameters: p, Data: data, IVCounterNonce: iv, AuthenticatedEncryptionTag: digest, InitIndicator: init})
		tame(t, "Decrypt of anything "+name, err)
		_, err = c.sign(uid, kmip.SignRequest{CryptographicParameters: p, Data: data, DigestedData: digest, InitIndicator: init})
		tame(t, "Sign "+name, err)
		_, err = do(c, kmip.OperationSignatureVerify, uid, c.s.SignatureVerify, &kmip.SignatureVerifyRequest{CryptographicParameters: p, Data: data, DigestedData: digest, SignatureData: data, InitIndicator: init})
		tame(t, "Signature Verify "+name, err)
		_, err = do(c, kmip.OperationMAC, uid, c.s.MAC, &kmip.MACRequest{CryptographicParameters: p, Data: data, InitIndicator: init})
		tame(t, "MAC "+name, err)
		_, err = do(c, kmip.OperationMACVerify, uid, c.s.MACVerify, &kmip.MACVerifyRequest{CryptographicParameters: p, Data: data, MACData: data, InitIndicator: init})
		tame(t, "MAC Verify "+name, err)
		b.advance(streamLife) // streams that began are over
	}
	b.s.streams.sweep()
	if n := len(b.s.streams.waiting) + len(b.s.streams.quotas) + b.s.streams.octets; n != 0 {
		t.Errorf("the registry is not empty: %+v", b.s.streams)
	}
}

// tame fails for reasons that no combination of parameters can have. General Failure is that of a Tag Length.
func tame(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	switch kmip.ReasonOf(err) {
	case kmip.ResultReasonInvalidField, kmip.ResultReasonInvalidMessage, kmip.ResultReasonPermissionDenied, kmip.ResultReasonCryptographicFailure:
		return
	}
	if err.Error() != "General Failure: Tag Length must be from 12 to 16 octets" {
		t.Errorf("%s: got %v", what, err)
	}
}

// someParameters draws Cryptographic Parameters, values that no version has among them.
func someParameters(r *rand.Rand) *kmip.CryptographicParameters {
	p := &kmip.CryptographicParameters{}
	often := func(n int) bool { return r.IntN(n) == 0 }
	if often(2) {
		p.BlockCipherMode = kmip.BlockCipherMode(r.IntN(20))
	}
	if often(2) {
		p.PaddingMethod = kmip.PaddingMethod(r.IntN(12))
	}
	if often(2) {
		p.HashingAlgorithm = kmip.HashingAlgorithm(r.IntN(20))
	}
	if often(5) {
		p.DigitalSignatureAlgorithm = kmip.DigitalSignatureAlgorithm(r.IntN(22))
	}
	if often(4) {
		p.CryptographicAlgorithm = kmip.CryptographicAlgorithm(r.IntN(40))
	}
	if often(3) {
		p.RandomIV = ptr(true)
	}
	for _, field := range []**int32{&p.IVLength, &p.TagLength, &p.SaltLength, &p.TrailerField, &p.InitialCounterValue, &p.CounterLength} {
		if often(6) {
			*field = ptr([]int32{-1 << 31, -1, 0, 1, 12, 16, 20, 96, 222, 1<<31 - 1}[r.IntN(10)])
		}
	}
	if often(8) {
		p.MaskGenerator = kmip.MaskGenerator(r.IntN(3))
	}
	if often(5) {
		p.MaskGeneratorHashingAlgorithm = kmip.HashingAlgorithm(r.IntN(20))
	}
	if often(8) {
		p.PSource = []byte("label")
	}
	return p
}
