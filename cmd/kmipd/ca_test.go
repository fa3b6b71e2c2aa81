package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/hsm/hsmtest"
	"kmipd/keystore"
	"kmipd/metadata/pebble"
)

// kmipd runs a command and gives status, standard output and standard error.
func kmipd(t *testing.T, args ...string) (int, string, string) {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(context.Background(), streams{os.Stdin, &out, &errs}, args)
	return code, out.String(), errs.String()
}

// ok runs a command that must work.
func ok(t *testing.T, args ...string) string {
	t.Helper()
	code, out, errs := kmipd(t, args...)
	if code != 0 {
		t.Fatalf("kmipd %s: status %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// caDir makes a directory with a SoftHSM2 token.
func caDir(t *testing.T) string {
	t.Helper()
	if hsm.FindModule() == "" {
		if os.Getenv("KMIPD_REQUIRE_SOFTHSM") != "" {
			t.Fatal("SoftHSM2 is not installed")
		}
		t.Skip("SoftHSM2 is not installed")
	}
	dir := filepath.Join(t.TempDir(), "d")
	t.Setenv("SOFTHSM2_CONF", "") // init sets it; this puts it back
	ok(t, "init", "--dir", dir)
	return dir
}

func pemOf(t *testing.T, text, kind string) []byte {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != kind {
		t.Fatalf("got %q, want a PEM %s", text, kind)
	}
	return block.Bytes
}

// Every ca command works while no server runs; what was made is there for the next.
func TestCACommands(t *testing.T) {
	dir := caDir(t)
	root := pemOf(t, ok(t, "ca", "init", "main", "--dir", dir, "--subject", "CN=Main,O=ACME", "--curve", "P-384", "--days", "100"), "CERTIFICATE")
	cert, err := x509.ParseCertificate(root)
	if err != nil || cert.Subject.String() != "CN=Main,O=ACME" || cert.SignatureAlgorithm != x509.ECDSAWithSHA384 {
		t.Errorf("the root: %v, %v", cert, err)
	}
	request := pemOf(t, ok(t, "ca", "init", "sub", "--dir", dir, "--subject", "CN=Sub", "--subordinate", "--algorithm", "rsa", "--length", "2048"), "CERTIFICATE REQUEST")
	again := pemOf(t, ok(t, "ca", "csr", "sub", "--dir", dir), "CERTIFICATE REQUEST")
	if !bytes.Equal(request, again) {
		t.Error("the certificate request is another one the second time")
	}
	req, err := x509.ParseCertificateRequest(request)
	if err != nil || req.CheckSignature() != nil {
		t.Fatalf("the certificate request: %v", err)
	}
	chain := filepath.Join(t.TempDir(), "chain.pem")
	if err := os.WriteFile(chain, signed(t, req), 0o600); err != nil {
		t.Fatal(err)
	}
	ok(t, "ca", "import", "sub", "--dir", dir, "--chain", chain)
	if got := ok(t, "ca", "chain", "sub", "--dir", dir); strings.Count(got, "BEGIN CERTIFICATE") != 2 {
		t.Errorf("the chain: got %s", got)
	}
	var list []keystore.Authority
	if err := json.Unmarshal([]byte(ok(t, "ca", "list", "--dir", dir, "--json")), &list); err != nil || len(list) != 2 || !bytes.Equal(list[0].Certificates[0], root) {
		t.Errorf("the list: %d authorities, %v", len(list), err)
	}
	if got := ok(t, "ca", "list", "--dir", dir); !strings.Contains(got, "CN=Sub") || !strings.Contains(got, "(root)") {
		t.Errorf("the list: got %s", got)
	}
	crl := filepath.Join(t.TempDir(), "main.crl")
	for end := time.Now().Add(time.Minute); ; { // the first list is made in the background
		code, out, errs := kmipd(t, "ca", "crl", "main", "--dir", dir)
		if code == 0 {
			if err := os.WriteFile(crl, []byte(out), 0o600); err != nil {
				t.Fatal(err)
			}
			break
		}
		if time.Now().After(end) {
			t.Fatalf("no list: %s", errs)
		}
	}
	if got := ok(t, "ca", "recover", "main", "--crl", crl, "--dir", dir); !strings.Contains(got, "0 revocations were unknown") {
		t.Errorf("recover: got %s", got)
	}
	if got := ok(t, "fsck", "--dir", dir); !strings.Contains(got, "all is well") {
		t.Errorf("fsck: got %s", got)
	}
	for _, tc := range []struct {
		name string
		args []string
		code int
	}{
		{"twice", []string{"ca", "init", "main", "--subject", "CN=x"}, 1},
		{"no subject", []string{"ca", "init", "x"}, 2},
		{"bad subject", []string{"ca", "init", "x", "--subject", "x"}, 1},
		{"bad curve", []string{"ca", "init", "x", "--subject", "CN=x", "--curve", "P-1"}, 2},
		{"no name", []string{"ca", "csr"}, 2},
		{"unknown", []string{"ca", "csr", "nobody"}, 1},
		{"no chain", []string{"ca", "import", "sub"}, 2},
		{"chain of another key", []string{"ca", "import", "main", "--chain", chain}, 1},
		{"recover without a list", []string{"ca", "recover", "main"}, 2},
		{"recover from no list", []string{"ca", "recover", "main", "--crl", chain}, 1},
		{"unknown command", []string{"ca", "dance"}, 2},
		{"list with a name", []string{"ca", "list", "x"}, 2},
	} {
		if code, out, errs := kmipd(t, append(tc.args, "--dir", dir)...); code != tc.code || errs == "" {
			t.Errorf("%s: status %d, want %d\n%s%s", tc.name, code, tc.code, out, errs)
		}
	}
}

// signed is the chain that an outside root makes of a request.
func signed(t *testing.T, req *x509.CertificateRequest) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	make := func(subject pkix.Name, public any, parent *x509.Certificate) *x509.Certificate {
		c := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: subject, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
		if parent == nil {
			parent = c
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, public, key)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	root := make(pkix.Name{CommonName: "Root"}, key.Public(), nil)
	sub := make(req.Subject, req.PublicKey, root)
	var out []byte
	for _, c := range []*x509.Certificate{sub, root} {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

// fakeStore is a keystore on a fake token.
func fakeStore(t *testing.T) *keystore.Store {
	t.Helper()
	meta, err := pebble.Open(t.TempDir(), pebble.Options{Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = meta.Close() })
	keys := keystore.New(meta, hsmtest.NewFake(), fips.Default(), keystore.Config{}, zerolog.Nop())
	if err := keys.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keys.Close)
	return keys
}

// The CRL listener serves list and certificate of an authority, and nothing else.
func TestCRLListener(t *testing.T) {
	keys := fakeStore(t)
	a, err := keys.InitAuthority(t.Context(), keystore.NewAuthority{Name: "main", Algorithm: "ECDSA", Length: 256, Subject: "CN=x", Days: 1})
	if err != nil {
		t.Fatal(err)
	}
	if off, err := listenCRL("", keys, zerolog.Nop()); off != nil || err != nil {
		t.Errorf("without an address: %v, %v", off, err)
	}
	s, err := listenCRL("127.0.0.1:0", keys, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	get := func(method, path string) (int, string, []byte) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.addr.String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, resp.Header.Get("Content-Type"), b
	}
	var code int
	var kind string
	var body []byte
	for end := time.Now().Add(time.Minute); time.Now().Before(end); { // the first list is made in the background
		if code, kind, body = get("GET", "/main.crl"); code == http.StatusOK {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	root, err := x509.ParseCertificate(a.Certificates[0])
	if err != nil {
		t.Fatal(err)
	}
	list, err := x509.ParseRevocationList(body)
	if err != nil || code != http.StatusOK || kind != "application/pkix-crl" || list.CheckSignatureFrom(root) != nil {
		t.Errorf("the list: status %d, type %s, %v", code, kind, err)
	}
	if code, kind, body = get("GET", "/main.crt"); code != http.StatusOK || kind != "application/pkix-cert" || !bytes.Equal(body, root.Raw) {
		t.Errorf("the certificate: status %d, type %s", code, kind)
	}
	if code, _, body = get("HEAD", "/main.crl"); code != http.StatusOK || len(body) != 0 {
		t.Errorf("HEAD: status %d, %d octets", code, len(body))
	}
	for path, want := range map[string]int{"/": 404, "/other.crl": 404, "/main": 404, "/../main.crl": 404, "/main.key": 404, "/a/main.crl": 404} {
		if code, _, _ := get("GET", path); code != want {
			t.Errorf("%s: status %d, want %d", path, code, want)
		}
	}
	if code, _, _ := get("POST", "/main.crl"); code != http.StatusMethodNotAllowed {
		t.Errorf("POST: status %d", code)
	}
}

// The listener takes no more connections at a time than it should, and goes on when one ends.
func TestLimit(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := limit(inner, 1)
	for range 2 {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	accepted := make(chan net.Conn, 2)
	go func() {
		defer close(accepted)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	first := <-accepted
	select {
	case <-accepted:
		t.Error("a second connection was taken")
	case <-time.After(50 * time.Millisecond):
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	second := <-accepted
	if err := l.Close(); err != nil { // while Accept waits for a free place
		t.Error(err)
	}
	if _, open := <-accepted; open {
		t.Error("a connection was taken after the end")
	}
	_ = second.Close()
}

func TestProfileFile(t *testing.T) {
	for _, tc := range []struct{ name, text, problem string }{
		{"good", "[[certificate_profile]]\nname = \"web\"\nextended_key_usage = [\"serverAuth\", \"1.3.6.1.5.5.7.3.17\"]\ndns_domains = [\"example.com\"]\nbackdate = \"1m\"\n", ""},
		{"unknown setting", "[[certificate_profile]]\nname = \"web\"\ncolour = 1\n", "no setting"},
		{"no profile", "", "has no"},
		{"no name", "[[certificate_profile]]\ndays = 1\n", "name"},
		{"twice", "[[certificate_profile]]\nname = \"a\"\n[[certificate_profile]]\nname = \"a\"\n", "twice"},
		{"days", "[[certificate_profile]]\nname = \"a\"\ndays = 0\n", "days"},
		{"usage", "[[certificate_profile]]\nname = \"a\"\nextended_key_usage = [\"x\"]\n", "extended_key_usage"},
		{"path", "[[certificate_profile]]\nname = \"a\"\npath_length = 1\n", "path_length"},
		{"no TOML", "x", "expected"},
	} {
		file := filepath.Join(t.TempDir(), "profiles.toml")
		if err := os.WriteFile(file, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		list, err := readProfiles(file)
		switch {
		case tc.problem == "" && (err != nil || list[0].Days != 397 || list[0].Backdate != time.Minute):
			t.Errorf("%s: got %+v, %v", tc.name, list, err)
		case tc.problem != "" && (err == nil || !strings.Contains(err.Error(), tc.problem)):
			t.Errorf("%s: got %v, want %q in it", tc.name, err, tc.problem)
		}
	}
}
