package hsm_test

import (
	"bytes"
	"testing"

	"kmipd/hsm"
	"kmipd/hsm/hsmtest"
)

func BenchmarkCrypto(b *testing.B) {
	tok := hsmtest.NewSoftHSM(b)
	k := newKeyring(b, tok)
	kib := bytes.Repeat([]byte{1}, 1024)
	ctx := b.Context()
	ecSig, err := tok.Sign(ctx, k.ecPrivate, ecSpec, digest)
	if err != nil {
		b.Fatal(err)
	}
	generic := aes256()
	generic.Type, generic.Usage = hsm.KeyGeneric, hsm.UsageSign
	if err := tok.GenerateKey(ctx, generic); err != nil {
		b.Fatal(err)
	}
	pkcs := hsm.SignSpec{Scheme: hsm.SignRSAPKCS1v15, Hash: hsm.SHA256}
	pss := hsm.SignSpec{Scheme: hsm.SignRSAPSS, Hash: hsm.SHA256, Salt: 32}
	for _, bench := range []struct {
		name string
		call func() error
	}{
		{"EncryptGCM1KiB", func() error { _, err := tok.Encrypt(ctx, k.aes, 256, gcmSpec, kib); return err }},
		{"SignP256", func() error { _, err := tok.Sign(ctx, k.ecPrivate, ecSpec, digest); return err }},
		{"VerifyP256", func() error { _, err := tok.Verify(ctx, k.ecPublic, ecSpec, digest, ecSig); return err }},
		{"SignRSA2048", func() error { _, err := tok.Sign(ctx, k.rsaPrivate, pkcs, digest); return err }},
		{"SignRSA2048PSS", func() error { _, err := tok.Sign(ctx, k.rsaPrivate, pss, digest); return err }},
		{"SignRSA2048PSSComposed", func() error { _, err := tok.Sign(ctx, k.rsaPrivate, pssSpec, digest); return err }},
		{"HMACSHA256", func() error { _, err := tok.MAC(ctx, secret(generic.ID), 256, hmacSpec, kib); return err }},
		{"HMACSHA256Moved", func() error { _, err := tok.MAC(ctx, k.aes, 256, hmacSpec, kib); return err }},
		{"ECDHP256", func() error { _, err := tok.ECDH(ctx, k.derive, k.peer); return err }},
	} {
		b.Run(bench.name+"/sequential", func(b *testing.B) {
			for b.Loop() {
				if err := bench.call(); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(bench.name+"/parallel", func(b *testing.B) {
			b.SetParallelism(4)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := bench.call(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
