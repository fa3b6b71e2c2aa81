package keyform

import (
	"crypto/x509"
	"testing"

	"kmipd/hsm"
	"kmipd/kmip"
)

func BenchmarkParseAES(b *testing.B) {
	kb := block(raw, byteString(make([]byte, 32)), aes, 256)
	b.ReportAllocs()
	for b.Loop() {
		k, err := Parse(symmetric, kb, Given{})
		if err != nil {
			b.Fatal(err)
		}
		k.Wipe()
	}
}

func BenchmarkEncodeAES(b *testing.B) {
	f := Generated(symmetric, aes, 256, 32, 0)
	value := make(hsm.Material, 32)
	b.ReportAllocs()
	for b.Loop() {
		kb, err := Encode(&f, value, Want{Version: kmip.V1_4})
		if err != nil {
			b.Fatal(err)
		}
		Wipe(kb)
	}
}

func BenchmarkParseRSA(b *testing.B) {
	kb := block(pkcs1, byteString(x509.MarshalPKCS1PrivateKey(testRSA())), none, 0)
	for b.Loop() {
		if _, err := Parse(private, kb, Given{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeEC(b *testing.B) {
	for _, c := range testCurves {
		k := testEC(b, c)
		f := Generated(private, ecdsaA, c.bits, 0, c.name)
		value := hsm.Material(must[[]byte](b)(x509.MarshalPKCS8PrivateKey(k)))
		b.Run(c.name.String(), func(b *testing.B) {
			for b.Loop() {
				if _, err := Encode(&f, value, Want{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
