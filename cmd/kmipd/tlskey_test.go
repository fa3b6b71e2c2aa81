package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/hsm/hsmtest"
	"kmipd/keystore"
)

// namedFake is a token that has one named key, with flags that a test sets.
type namedFake struct {
	*hsmtest.Fake
	hsm.NamedKeys
	key   crypto.Signer
	flags hsm.Flags
}

func (f *namedFake) NamedSigner(context.Context, hsm.KeyName, crypto.PublicKey) (crypto.Signer, error) {
	return f.key, nil
}

func (f *namedFake) NamedFlags(context.Context, hsm.KeyName) (hsm.Flags, error) { return f.flags, nil }

// The key of a listener's certificate whose flags are not as they were at the start is told of, and signs nothing where a policy
// is strict, until they are again.
func TestDriftedServerKey(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	strict, err := fips.ByName("fips140")
	if err != nil {
		t.Fatal(err)
	}
	for name, policy := range map[string]*fips.Policy{"default": nil, "fips140": strict} {
		good := hsm.Flags{Private: hsm.FlagTrue, Sensitive: hsm.FlagTrue, Extractable: hsm.FlagFalse, NeverExtractable: hsm.FlagTrue, Local: hsm.FlagTrue}
		tok := &namedFake{Fake: hsmtest.NewFake(), key: key, flags: good}
		id := &identity{listenerConfig: listenerConfig{Name: "x", Key: "pkcs11:object=tls"},
			cert: tls.Certificate{Leaf: &x509.Certificate{PublicKeyAlgorithm: x509.ECDSA, PublicKey: key.Public()}}}
		var guard atomic.Pointer[keystore.Store]
		if err := id.openKey(t.Context(), tok, checkedBy(&guard)); err != nil {
			t.Fatal(err)
		}
		s := keystore.New(nil, tok, fips.Default(), keystore.Config{Listeners: map[string]*fips.Policy{"x": policy}}, zerolog.Nop())
		guard.Store(s)
		sign := func() error {
			digest := sha256.Sum256(nil)
			_, err := id.cert.PrivateKey.(crypto.Signer).Sign(rand.Reader, digest[:], crypto.SHA256)
			return err
		}
		tok.flags.Extractable = hsm.FlagTrue
		if err := sign(); (err != nil) != (policy != nil) {
			t.Errorf("%s: drifted: got %v", name, err)
		}
		if d := s.Health().Drifted; len(d) != 1 || !strings.Contains(d[0].UID, `listener "x"`) || len(d[0].Flags) != 1 || d[0].Flags[0] != "CKA_EXTRACTABLE is true" {
			t.Errorf("%s: drifted: %+v", name, d)
		}
		tok.flags = good
		if err := sign(); err != nil || len(s.Health().Drifted) != 0 {
			t.Errorf("%s: as at the start again: %v, %+v", name, err, s.Health().Drifted)
		}
	}
}
