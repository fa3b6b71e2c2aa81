package main

import (
	"context"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/hsm/hsmtest"
	"kmipd/keystore"
	"kmipd/kmip"
	"kmipd/kmip/client"
	"kmipd/kmip/server"
	"kmipd/kmip/ttlv"
	"kmipd/metadata"
	"kmipd/metadata/pebble"
)

// faulty is a whole server over a token that can lie, with a client of it.
type faulty struct {
	t     *testing.T
	fake  *hsmtest.Fake
	keys  *keystore.Store
	kmip  *client.Client
	admin http.Handler
}

func newFaulty(t *testing.T) *faulty {
	t.Helper()
	dir := t.TempDir()
	ca, err := makeAuthority(dir, elliptic.P256())
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	for name, usage := range map[string]x509.ExtKeyUsage{"server": x509.ExtKeyUsageServerAuth, "client": x509.ExtKeyUsageClientAuth} {
		if err := ca.issue(file(name+".crt"), file(name+".key"), name, usage, []string{"127.0.0.1"}); err != nil {
			t.Fatal(err)
		}
	}
	meta, err := pebble.Open(file("records"), pebble.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = meta.Close() })
	f := &faulty{t: t, fake: hsmtest.NewFake()}
	f.keys = keystore.New(meta, f.fake, fips.Default(), keystore.Config{AllowDestroy: true, TestPairs: true}, zerolog.Nop())
	if err := f.keys.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.keys.Close)
	f.admin = adminHandler(f.keys, zerolog.Nop())
	cert, err := readCertificate(file("client.crt"))
	if err != nil {
		t.Fatal(err)
	}
	match := metadata.CertificateMatch{Fingerprint: printOf(cert)}
	if err := f.keys.AddClient(t.Context(), &metadata.Client{Name: "c", Certificates: []metadata.CertificateMatch{match}}); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(file("server.crt"), file("server.key"))
	if err != nil {
		t.Fatal(err)
	}
	authority, err := readCertificate(file("ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(authority)
	srv, err := server.New(server.Config{TLS: &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, ClientCAs: pool},
		Keystore: f.keys, Authenticator: f.keys, Jobs: f.keys})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(context.WithoutCancel(t.Context()), l) }()
	t.Cleanup(func() { _ = srv.Shutdown(context.Background()); <-served })
	f.kmip, err = client.Dial(t.Context(), client.Config{Address: l.Addr().String(), CertFile: file("client.crt"), KeyFile: file("client.key"), CAFile: file("ca.crt")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.kmip.Close() })
	return f
}

func attribute(name string, v []byte) kmip.Attribute {
	return kmip.Attribute{AttributeName: name, AttributeValue: ttlv.Make(v)}
}

// template is of a key with a usage mask.
func (f *faulty) template(a kmip.CryptographicAlgorithm, bits int32, mask kmip.CryptographicUsageMask) kmip.TemplateAttribute {
	return kmip.TemplateAttribute{Attribute: []kmip.Attribute{
		attribute("Cryptographic Algorithm", ttlv.AppendEnum(nil, kmip.TagAttributeValue, uint32(a))),
		attribute("Cryptographic Length", ttlv.AppendInt(nil, kmip.TagAttributeValue, bits)),
		attribute("Cryptographic Usage Mask", ttlv.AppendInt(nil, kmip.TagAttributeValue, int32(mask))),
	}}
}

func (f *faulty) operations() []kmip.Operation {
	f.t.Helper()
	r, err := client.Do[kmip.QueryRequest, kmip.QueryResponse](f.t.Context(), f.kmip, kmip.OperationQuery,
		&kmip.QueryRequest{QueryFunction: []kmip.QueryFunction{kmip.QueryFunctionQueryOperations, kmip.QueryFunctionQueryProfiles}})
	if err != nil {
		f.t.Fatalf("Query: %v", err)
	}
	return r.Operation
}

func (f *faulty) refused(what string, err error, reason kmip.ResultReason, words string) {
	f.t.Helper()
	if err == nil || !strings.Contains(err.Error(), reason.String()) || !strings.Contains(err.Error(), words) {
		f.t.Errorf("%s: got %v, want %s with %q", what, err, reason, words)
	}
}

// administration asks what the admin socket answers.
func (f *faulty) administration(command string) string {
	f.t.Helper()
	w := httptest.NewRecorder()
	f.admin.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/"+command, strings.NewReader("{}")))
	if w.Code != http.StatusOK {
		f.t.Errorf("%s: status %d, %s", command, w.Code, w.Body)
	}
	return w.Body.String()
}

// What a client over TLS and an administrator see when the token computes wrong.
func TestServerOverFaultyToken(t *testing.T) {
	f := newFaulty(t)
	symmetric := f.template(kmip.CryptographicAlgorithmAES, 256, kmip.CryptographicUsageMaskEncrypt|kmip.CryptographicUsageMaskDecrypt)
	made, err := client.Do[kmip.CreateRequest, kmip.CreateResponse](t.Context(), f.kmip, kmip.OperationCreate,
		&kmip.CreateRequest{ObjectType: kmip.ObjectTypeSymmetricKey, TemplateAttribute: symmetric})
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	key := made.UniqueIdentifier
	if _, err := client.Do[kmip.ActivateRequest, kmip.ActivateResponse](t.Context(), f.kmip, kmip.OperationActivate, &kmip.ActivateRequest{UniqueIdentifier: &key}); err != nil {
		t.Fatalf("Activate: %v", err)
	}
	encrypt := func(mode kmip.BlockCipherMode, iv []byte) error {
		_, err := client.Do[kmip.EncryptRequest, kmip.EncryptResponse](t.Context(), f.kmip, kmip.OperationEncrypt, &kmip.EncryptRequest{UniqueIdentifier: &key,
			CryptographicParameters: &kmip.CryptographicParameters{BlockCipherMode: mode}, Data: make([]byte, 16), IVCounterNonce: iv})
		return err
	}
	if err := encrypt(kmip.BlockCipherModeCBC, make([]byte, 16)); err != nil {
		t.Fatalf("Encrypt: %v", err)
	}
	all := len(f.operations())

	// A wrong ciphertext blocks its mechanism.
	f.fake.Tell(hsmtest.Lie{Method: "Encrypt", Mechanism: "AES-CBC"})
	if out := f.administration("fips/selftest"); !strings.Contains(out, `"failed"`) {
		t.Errorf("the self-test of a lying token: %s", out)
	}
	f.refused("Encrypt with the blocked mechanism", encrypt(kmip.BlockCipherModeCBC, make([]byte, 16)), kmip.ResultReasonCryptographicFailure, "blocked")
	if err := encrypt(kmip.BlockCipherModeECB, nil); err != nil {
		t.Errorf("Encrypt with another mechanism: %v", err)
	}
	// No MAC is left: Query has no MAC.
	f.fake.Tell(hsmtest.Lie{Method: "MAC"})
	f.administration("fips/selftest")
	if ops := f.operations(); slices.Contains(ops, kmip.OperationMAC) || !slices.Contains(ops, kmip.OperationSign) {
		t.Errorf("Query with no MAC left: %v", ops)
	}
	f.fake.Truth()
	f.administration("fips/selftest")
	if err := encrypt(kmip.BlockCipherModeCBC, make([]byte, 16)); err != nil || len(f.operations()) != all {
		t.Errorf("after a passed self-test: Encrypt %v, %d operations of %d", err, len(f.operations()), all)
	}

	// A pair that does not fit ends in the error state: Query and the administrators' socket answer, nothing else does.
	f.fake.Tell(hsmtest.Lie{Method: "Sign", Mechanism: "RSA-PKCS1-SIGN"})
	common := f.template(kmip.CryptographicAlgorithmRSA, 2048, kmip.CryptographicUsageMaskSign|kmip.CryptographicUsageMaskVerify)
	_, err = client.Do[kmip.CreateKeyPairRequest, kmip.CreateKeyPairResponse](t.Context(), f.kmip, kmip.OperationCreateKeyPair, &kmip.CreateKeyPairRequest{CommonTemplateAttribute: &common})
	f.refused("Create Key Pair", err, kmip.ResultReasonGeneralFailure, "error state")
	f.fake.Truth()
	_, err = client.Do[kmip.GetRequest, kmip.GetResponse](t.Context(), f.kmip, kmip.OperationGet, &kmip.GetRequest{UniqueIdentifier: &key})
	f.refused("Get", err, kmip.ResultReasonGeneralFailure, "restart")
	_, err = client.Do[kmip.LocateRequest, kmip.LocateResponse](t.Context(), f.kmip, kmip.OperationLocate, &kmip.LocateRequest{})
	f.refused("Locate", err, kmip.ResultReasonGeneralFailure, "error state")
	if ops := f.operations(); !slices.Equal(ops, []kmip.Operation{kmip.OperationQuery, kmip.OperationDiscoverVersions}) {
		t.Errorf("Query in the error state: %v", ops)
	}
	if _, err := client.Do[kmip.DiscoverVersionsRequest, kmip.DiscoverVersionsResponse](t.Context(), f.kmip, kmip.OperationDiscoverVersions, &kmip.DiscoverVersionsRequest{}); err != nil {
		t.Errorf("Discover Versions: %v", err)
	}
	if out := f.administration("fips/status"); !strings.Contains(out, "error_state") || !strings.Contains(out, "PAIRWISE") {
		t.Errorf("fips status in the error state: %s", out)
	}
	if n := f.fake.Len(); n != 1 {
		t.Errorf("%d objects on the token, want the key alone", n)
	}
}

// A self-test that ends in the error state ends the start.
func TestStartOverFaultyToken(t *testing.T) {
	meta, err := pebble.Open(t.TempDir(), pebble.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = meta.Close() })
	for name, lie := range map[string]hsmtest.Lie{
		"constant": {Method: "Random", Bend: hsmtest.Constant}, "short": {Method: "Random", Bend: hsmtest.Short},
	} {
		fake := hsmtest.NewFake()
		fake.Tell(lie)
		c := &config{SelfTest: "start"}
		err := c.selfTest(t.Context(), keystore.New(meta, fake, fips.Default(), keystore.Config{}, zerolog.Nop()))
		if err == nil || !strings.Contains(err.Error(), "does not start") {
			t.Errorf("%s random numbers: got %v", name, err)
		}
		c.SelfTest = "off"
		if err := c.selfTest(t.Context(), keystore.New(meta, fake, fips.Default(), keystore.Config{}, zerolog.Nop())); err != nil {
			t.Errorf("without a self-test: %v", err)
		}
	}
	// A mechanism that fails does not: what is left is served.
	fake := hsmtest.NewFake()
	fake.Tell(hsmtest.Lie{Method: "Sign", Mechanism: "ECDSA"})
	if err := (&config{SelfTest: "start"}).selfTest(t.Context(), keystore.New(meta, fake, fips.Default(), keystore.Config{}, zerolog.Nop())); err != nil {
		t.Errorf("a blocked mechanism: %v", err)
	}
}

// A command that opens the token alone has no records to tell of a failure.
func TestSelfTestWithoutRecords(t *testing.T) {
	fake := hsmtest.NewFake()
	fake.Tell(hsmtest.Lie{Method: "Sign", Mechanism: "ECDSA"})
	c := &config{Policy: "default", SelfTestPairs: "auto"}
	keys, err := c.keystore(nil, fake, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	out, _, err := adminFIPS(t.Context(), keys, "fips/selftest")
	if r, ok := out.(*hsm.Report); err != nil || !ok || r.Passed() || len(r.Blocked) != 1 {
		t.Errorf("got %+v, %v, want ECDSA blocked", out, err)
	}
}
