package hsm_test

import (
	"context"
	"crypto/rand"
	"testing"

	"kmipd/hsm"
	"kmipd/hsm/hsmtest"
)

func TestMeasure(t *testing.T) {
	tok := hsmtest.NewSoftHSM(t)
	timings, err := hsm.Measure(t.Context(), tok)
	if err != nil || len(timings) < 8 {
		t.Errorf("%d timings, %v", len(timings), err)
	}
	for _, x := range timings {
		t.Logf("%-20s %v", x.Name, x.Mean)
	}
	if left, err := tok.Objects(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("%d objects are left, %v", len(left), err)
	}
}

func BenchmarkToken(b *testing.B) {
	tok := hsmtest.NewSoftHSM(b)
	ctx := context.Background()
	kek := aes256()
	if err := tok.GenerateKey(ctx, kek); err != nil {
		b.Fatal(err)
	}
	ref := secret(kek.ID)
	half := hsm.KeySpec{ID: hsm.NewTokenID(), Type: hsm.KeyEC, Curve: hsm.CurveP256, Extractable: true}
	private := hsm.Ref{Class: hsm.ClassPrivateKey, ID: half.ID}
	if _, err := tok.GenerateKeyPair(ctx, hsm.PairSpec{Private: half, Public: half}); err != nil {
		b.Fatal(err)
	}
	value := make(hsm.Material, 32)
	rand.Read(value) // never fails
	how := hsm.WrapSpec{Mechanism: hsm.WrapAESKWP}
	destroy := func(err error, refs ...hsm.Ref) error {
		for _, ref := range refs {
			if err == nil {
				err = tok.Destroy(ctx, ref)
			}
		}
		return err
	}
	for _, bench := range []struct {
		name string
		call func() error
	}{
		{"GenerateAES+Destroy", func() error {
			spec := aes256()
			return destroy(tok.GenerateKey(ctx, spec), secret(spec.ID))
		}},
		{"GenerateP256+Destroy", func() error {
			half := hsm.KeySpec{ID: hsm.NewTokenID(), Type: hsm.KeyEC, Curve: hsm.CurveP256, Usage: hsm.UsageSign}
			public := half
			public.Usage = hsm.UsageVerify
			_, err := tok.GenerateKeyPair(ctx, hsm.PairSpec{Private: half, Public: public})
			return destroy(err, hsm.Ref{Class: hsm.ClassPrivateKey, ID: half.ID}, hsm.Ref{Class: hsm.ClassPublicKey, ID: half.ID})
		}},
		{"ImportAES+Destroy", func() error {
			spec := aes256()
			return destroy(tok.Import(ctx, hsm.ClassSecretKey, spec, value), secret(spec.ID))
		}},
		{"ExportAES", func() error { _, err := tok.Export(ctx, ref, 256); return err }},
		{"WrapAES", func() error { _, err := tok.Wrap(ctx, ref, how, ref, 256); return err }},
		{"WrapBytesComposed", func() error { _, err := tok.WrapBytes(ctx, ref, how, value[:21]); return err }},
		{"WrapP256Composed", func() error { _, err := tok.Wrap(ctx, ref, how, private, 0); return err }},
		{"WrapBytes", func() error { _, err := tok.WrapBytes(ctx, ref, how, value); return err }},
		{"Digest", func() error { _, err := tok.Digest(ctx, ref, 256); return err }},
		{"Random32", func() error { _, err := tok.Random(ctx, 32); return err }},
		{"Healthy", func() error { return tok.Healthy(ctx) }},
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
