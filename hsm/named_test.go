package hsm_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kmipd/hsm"
	"kmipd/hsm/hsmtest"
)

// handshake makes a TLS connection with a server whose key is on the token.
func handshake(cert tls.Certificate, pool *x509.CertPool, version uint16) error {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	served := make(chan error, 1)
	go func() {
		err := tls.Server(a, &tls.Config{Certificates: []tls.Certificate{cert}, SessionTicketsDisabled: true}).HandshakeContext(ctx)
		if err != nil {
			a.Close() // or the client waits
		}
		served <- err
	}()
	client := tls.Client(b, &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: version, MaxVersion: version})
	return errors.Join(client.HandshakeContext(ctx), <-served)
}

func tlsCertificate(t *testing.T, tok hsm.NamedKeys, name hsm.KeyName, spki []byte) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	public, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := tok.NamedSigner(t.Context(), name, public)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, public, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: signer}, pool
}

// TestNamedKeys makes TLS connections with keys on the token, of every kind, over losses of the login.
func TestNamedKeys(t *testing.T) {
	tok := hsmtest.NewSoftHSM(t)
	named := tok.(hsm.NamedKeys)
	before, err := tok.Objects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []struct {
		label string
		kind  hsm.KeyType
		bits  int
		curve hsm.Curve
	}{{"tls-p256", hsm.KeyEC, 0, hsm.CurveP256}, {"tls-p384", hsm.KeyEC, 0, hsm.CurveP384}, {"tls-rsa", hsm.KeyRSA, 3072, 0}} {
		id, spki, err := named.GenerateNamedPair(t.Context(), k.label, k.kind, k.bits, k.curve)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := named.GenerateNamedPair(t.Context(), k.label, k.kind, k.bits, k.curve); !errors.Is(err, hsm.ErrExists) {
			t.Errorf("%s: a second pair of that label: got %v", k.label, err)
		}
		for _, name := range []hsm.KeyName{{Label: k.label}, {ID: id}, {Label: k.label, ID: id}} {
			if got, err := named.NamedPublicKey(t.Context(), name); err != nil || string(got) != string(spki) {
				t.Errorf("public key of %+v: %v", name, err)
			}
			want := hsm.Flags{Private: hsm.FlagTrue, Sensitive: hsm.FlagTrue, AlwaysSensitive: hsm.FlagTrue, Extractable: hsm.FlagFalse, NeverExtractable: hsm.FlagTrue, Local: hsm.FlagTrue}
			if got, err := named.NamedFlags(t.Context(), name); err != nil || got != want {
				t.Errorf("flags of %+v: got %+v, %v", name, got, err)
			}
			cert, pool := tlsCertificate(t, named, name, spki)
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				for trouble, strike := range map[string]func(){
					"nothing": func() {}, "logout": func() { hsm.LogoutBehind(t, tok) }, "close all sessions": func() { hsm.CloseSessionsBehind(t, tok) },
					"finalize": func() { hsm.FinalizeBehind(t, tok) }, "close idle sessions": func() { hsm.CloseIdleBehind(t, tok) },
				} {
					strike()
					if err := handshake(cert, pool, version); err != nil {
						t.Errorf("%s %+v, %s after %s: %v", k.label, name, tls.VersionName(version), trouble, err)
					}
				}
			}
		}
	}
	// They are nobody's objects: fsck and settling do not see them.
	after, err := tok.Objects(t.Context())
	if err != nil || len(after) != len(before) {
		t.Errorf("the enumeration has %d objects, want %d: %v", len(after), len(before), err)
	}
	for _, label := range []string{"tls-p256", "tls-p384", "tls-rsa"} {
		if err := named.DestroyNamedPair(t.Context(), hsm.KeyName{Label: label}); err != nil {
			t.Error(err)
		}
	}
}

func TestNamedKeyRefusals(t *testing.T) {
	tok := hsmtest.NewSoftHSM(t)
	named := tok.(hsm.NamedKeys)
	_, spki, err := named.GenerateNamedPair(t.Context(), "one", hsm.KeyEC, 0, hsm.CurveP256)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		t.Fatal(err)
	}
	object := hsm.KeySpec{ID: hsm.NewTokenID(), Label: "object", Type: hsm.KeyEC, Curve: hsm.CurveP256, Usage: hsm.UsageSign}
	pair := hsm.PairSpec{Private: object, Public: object}
	pair.Public.ID, pair.Public.Usage = hsm.NewTokenID(), hsm.UsageVerify
	if _, err := tok.GenerateKeyPair(t.Context(), pair); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name hsm.KeyName
		want error
	}{
		{hsm.KeyName{Label: "none"}, hsm.ErrNotFound},
		{hsm.KeyName{Label: "one", ID: []byte{1}}, hsm.ErrNotFound},
		{hsm.KeyName{}, hsm.ErrInvalidKey},
		{hsm.KeyName{Label: "object"}, hsm.ErrInvalidKey}, // fsck would take it for an orphan
	} {
		if _, err := named.NamedSigner(t.Context(), c.name, public); !errors.Is(err, c.want) {
			t.Errorf("%+v: got %v, want %v", c.name, err, c.want)
		}
	}
	if _, err := named.NamedSigner(t.Context(), hsm.KeyName{Label: "one"}, nil); !errors.Is(err, hsm.ErrUnsupported) {
		t.Errorf("no public key: got %v", err)
	}
	if _, _, err := named.GenerateNamedPair(t.Context(), "", hsm.KeyEC, 0, hsm.CurveP256); !errors.Is(err, hsm.ErrInvalidKey) {
		t.Errorf("no label: got %v", err)
	}
}

// A mechanism that failed its self-test signs no handshake, and the error state none at all.
func TestGuardedSigner(t *testing.T) {
	tok := hsmtest.NewSoftHSM(t)
	named := tok.(hsm.NamedKeys)
	_, spki, err := named.GenerateNamedPair(t.Context(), "tls", hsm.KeyEC, 0, hsm.CurveP256)
	if err != nil {
		t.Fatal(err)
	}
	cert, pool := tlsCertificate(t, named, hsm.KeyName{Label: "tls"}, spki)
	guard := hsm.NewGuard(tok, hsm.GuardConfig{})
	var asked []hsm.Mechanism
	cert.PrivateKey = hsm.GuardedSigner(cert.PrivateKey.(crypto.Signer), func(m ...hsm.Mechanism) error {
		asked = append(asked, m...)
		return guard.Check(m...)
	})
	if err := handshake(cert, pool, tls.VersionTLS13); err != nil || !slices.Equal(asked, []hsm.Mechanism{hsm.MechanismECDSA, hsm.MechanismECDSA}) {
		t.Errorf("asked about %v, want ECDSA before and after: %v", asked, err)
	}
	guard.Fail(hsm.MechanismRNG, "test")
	if err := handshake(cert, pool, tls.VersionTLS13); err == nil || !strings.Contains(err.Error(), "error state") {
		t.Errorf("in the error state: got %v", err)
	}
}

// However many handshakes are wanted, half of the sessions are left to requests.
func TestNamedKeysLeaveSessions(t *testing.T) {
	tok, _ := openWith(t, func(c *hsm.Config) { c.MaxSessions = 2 })
	named := tok.(hsm.NamedKeys)
	_, spki, err := named.GenerateNamedPair(t.Context(), "tls", hsm.KeyRSA, 4096, 0)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := named.NamedSigner(t.Context(), hsm.KeyName{Label: "tls"}, public)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	sum := sha256.Sum256([]byte("x"))
	stop := make(chan struct{})
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := signer.Sign(nil, sum[:], crypto.SHA256); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	busy := 0
	for i := 0; i < 200 || busy == 0 && !t.Failed(); i++ {
		busy = max(busy, hsm.SessionsInUse(tok))
		time.Sleep(time.Millisecond)
	}
	close(stop)
	wg.Wait()
	if busy != 1 {
		t.Errorf("signatures took %d of 2 sessions at a time, want 1", busy)
	}
}

// Handshakes go on while other calls of the token run.
func TestNamedKeyConcurrent(t *testing.T) {
	tok := hsmtest.NewSoftHSM(t)
	named := tok.(hsm.NamedKeys)
	_, spki, err := named.GenerateNamedPair(t.Context(), "tls", hsm.KeyEC, 0, hsm.CurveP384)
	if err != nil {
		t.Fatal(err)
	}
	cert, pool := tlsCertificate(t, named, hsm.KeyName{Label: "tls"}, spki)
	var wg sync.WaitGroup
	errs := make(chan error, 64)
	for i := range 8 {
		wg.Go(func() {
			for range 4 {
				if i%2 == 0 {
					errs <- handshake(cert, pool, tls.VersionTLS13)
					continue
				}
				_, err := tok.Random(t.Context(), 32)
				errs <- err
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(fmt.Errorf("concurrently: %w", err))
		}
	}
}
