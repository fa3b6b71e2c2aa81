package hsm_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"testing"
	"time"

	"kmipd/hsm"
	"kmipd/hsm/hsmtest"
)

func TestSigner(t *testing.T) {
	t.Run("fake", func(t *testing.T) { suiteSigner(t, hsmtest.NewFake()) })
	t.Run("SoftHSM", func(t *testing.T) { suiteSigner(t, hsmtest.NewSoftHSM(t)) })
}

func suiteSigner(t *testing.T, tok hsm.Token) {
	for _, tc := range []struct {
		name  string
		spec  hsm.KeySpec
		algos []x509.SignatureAlgorithm
	}{
		{"RSA", hsm.KeySpec{Type: hsm.KeyRSA, Bits: 2048}, []x509.SignatureAlgorithm{x509.SHA256WithRSA, x509.SHA512WithRSA, x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS}},
		{"P-256", hsm.KeySpec{Type: hsm.KeyEC, Curve: hsm.CurveP256}, []x509.SignatureAlgorithm{x509.ECDSAWithSHA256, x509.ECDSAWithSHA512}},
		{"P-521", hsm.KeySpec{Type: hsm.KeyEC, Curve: hsm.CurveP521}, []x509.SignatureAlgorithm{x509.ECDSAWithSHA512, x509.ECDSAWithSHA256}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pair := hsm.PairSpec{Private: tc.spec, Public: tc.spec}
			pair.Private.ID, pair.Private.Usage = hsm.NewTokenID(), hsm.UsageSign
			pair.Public.ID, pair.Public.Usage = hsm.NewTokenID(), hsm.UsageVerify
			spki, err := tok.GenerateKeyPair(t.Context(), pair)
			if err != nil {
				t.Fatal(err)
			}
			public, err := x509.ParsePKIXPublicKey(spki)
			if err != nil {
				t.Fatal(err)
			}
			signer, err := hsm.NewSigner(t.Context(), tok, hsm.Ref{Class: hsm.ClassPrivateKey, ID: pair.Private.ID}, public)
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range tc.algos {
				tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotAfter: time.Now(), SignatureAlgorithm: a, IsCA: true, BasicConstraintsValid: true}
				der, err := x509.CreateCertificate(nil, tmpl, tmpl, public, signer) // verifies what was signed
				if err != nil || len(der) == 0 {
					t.Errorf("%s: %v", a, err)
				}
			}
			sum := sha256.Sum256([]byte("x"))
			if _, err := signer.Sign(nil, sum[:], crypto.SHA3_256); !errors.Is(err, hsm.ErrUnsupported) {
				t.Errorf("SHA-3: got %v", err)
			}
			if _, err := signer.Sign(nil, sum[:5], crypto.SHA256); err == nil {
				t.Error("a digest of another length: got success")
			}
			if _, err := signer.Sign(nil, sum[:], &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: 20}); (err == nil) != (tc.spec.Type == hsm.KeyRSA) {
				t.Errorf("PSS: got %v", err)
			}
			for _, r := range []hsm.Ref{{Class: hsm.ClassPrivateKey, ID: pair.Private.ID}, {Class: hsm.ClassPublicKey, ID: pair.Public.ID}} {
				if err := tok.Destroy(t.Context(), r); err != nil {
					t.Error(err)
				}
			}
		})
	}
	if _, err := hsm.NewSigner(t.Context(), tok, hsm.Ref{}, ed25519.PublicKey{}); !errors.Is(err, hsm.ErrUnsupported) {
		t.Errorf("Ed25519: got %v", err)
	}
}
