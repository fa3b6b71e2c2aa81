package main

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/pflag"

	"kmipd/fips"
	"kmipd/fips/revocation"
	"kmipd/hsm"
	"kmipd/keystore"
	"kmipd/keystore/evidence"
	"kmipd/kmip/server"
)

// loadConfig reads a configuration file with this text, in dir.
func loadConfig(t *testing.T, dir, text string) (*source, error) {
	t.Helper()
	file := filepath.Join(dir, "kmipd.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &source{}
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	c.define(f)
	if err := f.Parse([]string{"--config", file}); err != nil {
		t.Fatal(err)
	}
	return c, c.load()
}

// A [[listener]] has what it says, and what it leaves out as the first one has it. Paths start at the file.
func TestListenerTables(t *testing.T) {
	dir := t.TempDir()
	c, err := loadConfig(t, dir, `
transport = "both"
tls_certificate = "server.crt"
tls_key = "server.key"
tls_client_ca = "ca.crt"
tls_crl = ["ca.crl", "/etc/crls"]
[[listener]]
name = "a"
listen = "127.0.0.1:1"
policy = "suiteb128"
tls_certificate = "a.crt"
tls_key = "pkcs11:object=a"
[[listener]]
name = "b"
listen = "127.0.0.1:2"
tls_client_ca = "b.pem"
tls_crl = "b.crl"
tls_crl_mode = "hard"
transport = "tls"
[[listener]]
name = "c"
listen = "127.0.0.1:3"
tls_client_ca = "c.pem"
`)
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	crls := []string{in("ca.crl"), "/etc/crls"}
	want := []listenerConfig{
		{"", c.Listen, "both", "", in("server.crt"), in("server.key"), in("ca.crt"), crls, ""},
		{"a", "127.0.0.1:1", "both", "suiteb128", in("a.crt"), "pkcs11:object=a", in("ca.crt"), crls, ""},
		{"b", "127.0.0.1:2", "tls", "", in("server.crt"), in("server.key"), in("b.pem"), []string{in("b.crl")}, "hard"},
		{"c", "127.0.0.1:3", "both", "", in("server.crt"), in("server.key"), in("c.pem"), nil, ""}, // other authorities, other lists
	}
	for i, l := range c.listeners() {
		same := l.Name == want[i].Name && l.Listen == want[i].Listen && l.Policy == want[i].Policy && l.Certificate == want[i].Certificate &&
			l.Key == want[i].Key && l.ClientCA == want[i].ClientCA && slices.Equal(l.CRL, want[i].CRL) && l.CRLMode == want[i].CRLMode &&
			l.Transport == want[i].Transport
		if !same {
			t.Errorf("listener %d: got %+v, want %+v", i, l, want[i])
		}
	}
	policies := c.policies()
	if p, ok := policies["b"]; !ok || p != nil || policies["a"].Name() != "suiteb128" || len(policies) != 3 {
		t.Errorf("policies: got %v", policies)
	}
	for _, text := range []string{"[[listener]]\nname = \"x\"\nport = 3\n", "[listener]\nname = \"x\"\n", "[[listener]]\nname = 3\n"} {
		if _, err := loadConfig(t, dir, text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

// Which mode of revocation follows of policy and settings; strict policies leave no choice.
func TestRevocationMode(t *testing.T) {
	lists := textList{"x"}
	for _, c := range []struct {
		policy, mode string
		crl          textList
		want         revocation.Mode
		problem      string
	}{
		{"default", "", nil, revocation.Off, ""},
		{"default", "", lists, revocation.Soft, ""},
		{"default", "hard", nil, revocation.Hard, ""},
		{"default", "off", lists, revocation.Off, ""},
		{"default", "soft", nil, 0, "names no list"},
		{"default", "often", lists, 0, "none of off, soft, hard"},
		{"fips140", "", nil, revocation.Hard, ""},
		{"fips140", "hard", lists, revocation.Hard, ""},
		{"suiteb128", "soft", lists, 0, "allows hard only"},
		{"cnsa1", "off", nil, 0, "allows hard only"},
	} {
		cfg := &config{Policy: c.policy}
		l := listenerConfig{CRL: c.crl, CRLMode: c.mode}
		rules, err := cfg.rules(l)
		if err != nil {
			t.Fatal(err)
		}
		got, err := l.revocationMode(rules)
		if got != c.want || (err == nil) != (c.problem == "") || err != nil && !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%s, %q, %v: got %d, %v", c.policy, c.mode, c.crl, got, err)
		}
	}
	// A listener is never laxer than its server.
	strict := &config{Policy: "suiteb192"}
	rules, err := strict.rules(listenerConfig{Policy: "default"})
	if err != nil || !rules.Strict() || rules.String() != "suiteb192" {
		t.Errorf("default below suiteb192: got %v, %v", rules, err)
	}
	if _, err := strict.rules(listenerConfig{Policy: "cnsa2"}); err == nil {
		t.Error("cnsa2 below suiteb192: no problem")
	}
}

// The commands around a key on the token, and the server's own check that key and certificate belong together.
func TestTLSCommands(t *testing.T) {
	dir := caDir(t)
	uri := strings.TrimSpace(ok(t, "tls", "key", "web", "--dir", dir))
	if u, err := parseKeyURI(uri); err != nil || u.Label != "web" || len(u.ID) != 8 {
		t.Fatalf("got %q, %v", uri, err)
	}
	if code, _, errs := kmipd(t, "tls", "key", "web", "--dir", dir); code == 0 || !strings.Contains(errs, "already") {
		t.Errorf("the same label again: status %d, %s", code, errs)
	}
	block, _ := pem.Decode([]byte(ok(t, "tls", "csr", uri, "--dir", dir, "--subject", "CN=kmip.example.com,O=ACME", "--name", "kmip.example.com", "--name", "192.0.2.1")))
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || csr.CheckSignature() != nil || csr.Subject.CommonName != "kmip.example.com" || len(csr.DNSNames) != 1 || len(csr.IPAddresses) != 1 ||
		csr.SignatureAlgorithm != x509.ECDSAWithSHA384 {
		t.Errorf("the request: %+v, %v", csr, err)
	}
	rsa := strings.TrimSpace(ok(t, "tls", "key", "rsa", "--algorithm", "RSA", "--length", "2048", "--dir", dir))
	block, _ = pem.Decode([]byte(ok(t, "tls", "csr", rsa, "--dir", dir, "--subject", "CN=rsa")))
	if csr, err := x509.ParseCertificateRequest(block.Bytes); err != nil || csr.CheckSignature() != nil {
		t.Errorf("the RSA request: %v", err)
	}
	for name, args := range map[string][]string{
		"no such key": {"tls", "csr", "nobody", "--subject", "CN=x", "--dir", dir}, "no subject": {"tls", "csr", "web", "--dir", dir},
		"no file": {"tls", "certificate", "web", "--dir", dir}, "curve": {"tls", "key", "x", "--curve", "P-224", "--dir", dir},
		"algorithm": {"tls", "key", "x", "--algorithm", "DSA", "--dir", dir}, "no command": {"tls"}, "no label": {"tls", "key"},
	} {
		if code, out, errs := kmipd(t, args...); code == 0 {
			t.Errorf("%s: %s%s", name, out, errs)
		}
	}
	file := filepath.Join(dir, "web.crt")
	ok(t, "tls", "certificate", "web", "--out", file, "--name", "kmip.example.com", "--dir", dir)
	ok(t, "doctor", "--measure=false", "--tls-certificate", file, "--tls-key", uri, "--dir", dir)
	if out := ok(t, "doctor", "--measure=false", "--tls-crl-mode", "off", "--dir", dir); !strings.Contains(out, noRevocation) {
		t.Errorf("doctor says nothing of revocation:\n%s", out)
	}
	if code, out, _ := kmipd(t, "doctor", "--measure=false", "--tls-certificate", file, "--tls-key", rsa, "--dir", dir); code == 0 || !strings.Contains(out, "does not belong") {
		t.Errorf("the key of another certificate: status %d\n%s", code, out)
	}

	if code, _, errs := kmipd(t, "tls", "crl", "--tls-crl-mode", "off", "--dir", dir); code != 0 || !strings.Contains(errs, "no listener reads") {
		t.Errorf("a list that nobody reads: status %d, %s", code, errs)
	}
	code, out, errs := kmipd(t, "tls", "crl", "--revoke", file, "--dir", dir)
	if code != 0 || errs != "" {
		t.Errorf("a list that the listener reads: status %d, %s", code, errs)
	}
	crl := strings.TrimSpace(out)
	ok(t, "tls", "crl", "--dir", dir) // keeps who is on it
	b, err := os.ReadFile(crl)
	if err != nil {
		t.Fatal(err)
	}
	block, _ = pem.Decode(b)
	list, err := x509.ParseRevocationList(block.Bytes)
	if err != nil || len(list.RevokedCertificateEntries) != 1 {
		t.Errorf("the list: %v, %v", list, err)
	}
	var shown []listenerSummary
	if err := json.Unmarshal([]byte(ok(t, "tls", "show", "--dir", dir)), &shown); err != nil || len(shown) != 1 || shown[0].RevocationBy != "soft" || len(shown[0].Certificates) != 1 || len(shown[0].Sources) != 1 {
		t.Errorf("show: %+v, %v", shown, err)
	}
}

func TestInitRefusesBoth(t *testing.T) {
	if code, _, errs := kmipd(t, "init", "--dir", t.TempDir(), "--tls-key", "token", "--tls-certificate", "x"); code != 2 {
		t.Errorf("a key to be made beside a certificate: status %d, %s", code, errs)
	}
}

// A server that is shut down before all of its listeners have begun has stopped well.
func TestWaitForListeners(t *testing.T) {
	served := make(chan error, 3)
	served <- fmt.Errorf("listener a: %w", server.ErrClosed)
	served <- nil
	served <- errors.New("listener b: failed")
	if err := wait(served, 2); err != nil {
		t.Errorf("got %v, want no error", err)
	}
	if err := wait(served, 1); err == nil {
		t.Error("the failure of a listener is lost")
	}
}

// Only the authority's own certificates go on its list: those of another kmipd init have the same issuer name.
func TestRevokeOfAnotherAuthority(t *testing.T) {
	mine, other := t.TempDir(), t.TempDir()
	for _, dir := range []string{mine, other} {
		ca, err := makeAuthority(dir, elliptic.P256())
		if err != nil {
			t.Fatal(err)
		}
		if err := ca.issue(filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key"), "client", x509.ExtKeyUsageClientAuth, nil); err != nil {
			t.Fatal(err)
		}
	}
	c := &tlsFlags{source: source{dir: mine}, revoke: []string{filepath.Join(other, "client.crt")}}
	if err := c.renewCRL(streams{out: io.Discard, err: io.Discard}); err == nil || exists(filepath.Join(mine, "ca.crl")) {
		t.Errorf("the certificate of another authority: got %v", err)
	}
	c.revoke = []string{filepath.Join(mine, "client.crt")}
	if err := c.renewCRL(streams{out: io.Discard, err: io.Discard}); err != nil {
		t.Error(err)
	}
}

// The number of a revocation list never falls, whatever the clock says.
func TestCRLNumber(t *testing.T) {
	dir := t.TempDir()
	ca, err := makeAuthority(dir, elliptic.P256())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "ca.crl")
	ahead := &x509.RevocationList{Number: big.NewInt(math.MaxInt64), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}
	der, err := x509.CreateRevocationList(rand.Reader, ahead, ca.cert, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeFile(file, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := ca.writeCRL(file); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	list, err := x509.ParseRevocationList(block.Bytes)
	if err != nil || list.Number.Cmp(ahead.Number) <= 0 {
		t.Errorf("got number %v after %v, %v", list.Number, ahead.Number, err)
	}
}

// A secret goes into a file that is new, not into what lies where it is written: a link, or a file that others can read.
func TestWriteFileIsNew(t *testing.T) {
	dir := t.TempDir()
	elsewhere, key := filepath.Join(dir, "elsewhere"), filepath.Join(dir, "key")
	for name, plant := range map[string]func() error{
		"link": func() error { return os.Symlink(elsewhere, key+".new") },
		"readable": func() error {
			return errors.Join(os.WriteFile(key+".new", nil, 0o600), os.Chmod(key+".new", 0o666))
		},
	} {
		if err := plant(); err != nil {
			t.Fatal(err)
		}
		if err := writeFile(key, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Lstat(key); err != nil || info.Mode() != 0o600 || exists(elsewhere) {
			t.Errorf("%s: got %v, %v; written elsewhere: %t", name, info, err, exists(elsewhere))
		}
	}
	if err := writeFile(dir, []byte("secret"), 0o600); err == nil || exists(dir+".new") {
		t.Errorf("in place of a directory: got %v, and what was written is left: %t", err, exists(dir+".new"))
	}
}

// What a listener speaks is checked at start, with everything else; without a word it is KMIP in TLS alone.
func TestTransports(t *testing.T) {
	c, err := loadConfig(t, t.TempDir(), "transport = \"http\"\n[[listener]]\nname = \"a\"\nlisten = \":1\"\ntransport = \"HTTPS\"\n[[listener]]\nname = \"b\"\nlisten = \":2\"\n")
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(c.checkListeners()...)
	if err == nil || err.Error() != "transport: \"http\" is none of tls, https, both\nlistener a: transport: \"HTTPS\" is none of tls, https, both" {
		t.Errorf("got %v", err)
	}
	if c, err = loadConfig(t, t.TempDir(), ""); err != nil || transports[c.Transport] != server.TransportTLS {
		t.Errorf("the default is %q, %v", c.Transport, err)
	}
	for _, args := range [][]string{{"dev", "--transport", "http"}, {"init", "--transport", "http"}} {
		if code, _, errs := kmipd(t, append(args, "--dir", t.TempDir())...); code != 2 || !strings.Contains(errs, "none of tls, https, both") {
			t.Errorf("%v: status %d, %s", args, code, errs)
		}
	}
}

// kmipd dev without --policy keeps to the policy that is written, and one that is given counts.
func TestDevKeepsPolicy(t *testing.T) {
	dir := t.TempDir()
	l := &layout{dir: dir}
	if err := l.readPolicy(streams{out: io.Discard, err: io.Discard}); err != nil || l.policy != "default" {
		t.Errorf("without a file: got %q, %v", l.policy, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "kmipd.toml"), []byte(`policy = "suiteb192"`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.readPolicy(streams{out: io.Discard, err: io.Discard}); err != nil || l.policy != "suiteb192" {
		t.Errorf("with a file: got %q, %v", l.policy, err)
	}
	t.Setenv("KMIPD_POLICY", "cnsa1")
	if err := l.readPolicy(streams{out: io.Discard, err: io.Discard}); err != nil || l.policy != "cnsa1" {
		t.Errorf("with the environment: got %q, %v", l.policy, err)
	}
	t.Setenv("KMIPD_POLICY", "nonsense")
	if code, _, errs := kmipd(t, "dev", "--dir", dir, "--listen", "nowhere"); code == 0 || !strings.Contains(errs, "nonsense") {
		t.Errorf("kmipd dev: status %d, %s", code, errs)
	}
}

// A name that no setting has is a mistake in the environment as it is in the file.
func TestUnknownVariables(t *testing.T) {
	for name, bad := range map[string]bool{"KMIPD_POLCY": true, "KMIPD_CONFIG": true, "KMIPD_LISTENER": true,
		"KMIPD_POLICY": false, "KMIPD_REQUIRE_SOFTHSM": false, "KMIPD_PORT_5696_TCP": false, "KMIPD_CRL_SERVICE_HOST": false, "KMIPDX": false} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "fips140")
			if _, err := loadConfig(t, t.TempDir(), ""); (err != nil) != bad || bad && !strings.Contains(err.Error(), name) {
				t.Errorf("got %v", err)
			}
		})
	}
	for _, name := range []string{"config", "dir"} {
		if _, err := loadConfig(t, t.TempDir(), name+` = "x"`); err == nil {
			t.Errorf("%s in the file passed", name)
		}
	}
}

// A listener that nobody tells who is revoked says so in the log and in reports; one with lists, or with clients by the
// server's own authorities alone, does not.
func TestNoRevocationIsTold(t *testing.T) {
	keys := fakeStore(t)
	a, err := keys.InitAuthority(t.Context(), keystore.NewAuthority{Name: "main", Algorithm: "ECDSA", Length: 256, Subject: "CN=x", Days: 1})
	if err != nil {
		t.Fatal(err)
	}
	own, err := x509.ParseCertificate(a.Certificates[0])
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	foreign, err := makeAuthority(dir, elliptic.P256())
	if err != nil {
		t.Fatal(err)
	}
	crl, crt, key := filepath.Join(dir, "ca.crl"), filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key")
	if err := errors.Join(foreign.writeCRL(crl), foreign.issue(crt, key, "kmipd", x509.ExtKeyUsageServerAuth, nil)); err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(crt, key)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := fips.TLSByName("default")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name        string
		mode        revocation.Mode
		authorities []*x509.Certificate
		want        bool
	}{
		{"foreign", revocation.Off, []*x509.Certificate{foreign.cert}, true},
		{"both", revocation.Off, []*x509.Certificate{own, foreign.cert}, true},
		{"own", revocation.Off, []*x509.Certificate{own}, false},
		{"with a list", revocation.Soft, []*x509.Certificate{foreign.cert}, false},
	} {
		id := &identity{listenerConfig: listenerConfig{Name: "x", CRL: textList{crl}}, rules: rules, mode: c.mode, cert: cert, pool: x509.NewCertPool(), authorities: c.authorities}
		first := *id
		first.Name, first.mode = "", revocation.Soft
		var log bytes.Buffer
		cfg := server.Config{Keystore: keys, Authenticator: keys}
		doors, err := openEntrances([]*identity{&first, id}, keys, zerolog.New(&log), &cfg)
		if err != nil {
			t.Fatal(err)
		}
		doors.close()
		srv, err := server.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		report := &evidence.Document{}
		(&running{srv: srv, ids: doors.ids, addrs: []bound{{"", &net.TCPAddr{}}, {"x", &net.TCPAddr{}}}}).complete(report)
		logged := strings.Contains(log.String(), noRevocation) && strings.Contains(log.String(), `"listener":"x"`)
		reported := slices.ContainsFunc(report.Deviations, func(d evidence.Deviation) bool {
			return d.ID == "no-revocation" && strings.HasPrefix(d.Text, `listener "x"`)
		})
		if logged != c.want || reported != c.want {
			t.Errorf("%s: logged %t, reported %t, want %t", c.name, logged, reported, c.want)
		}
	}
}

// Validate is told what the lists of all listeners say, and is in need of one as far as the listener of the request is.
func TestRevocationForValidate(t *testing.T) {
	dir := t.TempDir()
	ca, err := makeAuthority(dir, elliptic.P256())
	if err != nil {
		t.Fatal(err)
	}
	issue := func(name string) *x509.Certificate {
		t.Helper()
		der, err := ca.certificate(ca.cert.PublicKey, name, x509.ExtKeyUsageClientAuth, nil)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	good, bad := issue("good"), issue("bad")
	file := filepath.Join(dir, "ca.crl")
	if err := ca.writeCRL(file, bad); err != nil {
		t.Fatal(err)
	}
	lists, err := revocation.Open(revocation.Config{Mode: revocation.Soft, Paths: []string{file}})
	none, err2 := revocation.Open(revocation.Config{Mode: revocation.Hard})
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	soft, hard := &identity{mode: revocation.Soft}, &identity{listenerConfig: listenerConfig{Name: "hard"}, mode: revocation.Hard}
	with := &entrances{ids: []*identity{soft, hard}, lists: []*revocation.Lists{lists, none}}
	without := &entrances{ids: []*identity{soft, hard}, lists: []*revocation.Lists{none, none}}
	for _, tc := range []struct {
		name           string
		e              *entrances
		listener       string
		cert           *x509.Certificate
		revoked, known bool
	}{
		{"by the list of another listener", with, "hard", bad, true, true}, {"good by it", with, "hard", good, false, true},
		{"no list, and none is needed", without, "", good, false, true}, {"no list where one is needed", without, "hard", good, false, false},
	} {
		revoked, known := tc.e.revocation(tc.listener, tc.cert, ca.cert, time.Now())
		if revoked.IsZero() == tc.revoked || known != tc.known {
			t.Errorf("%s: got %s, %t", tc.name, revoked, known)
		}
	}
}

// only is an RSA key that signs in one way, as tokens do that lack the other.
type only struct {
	*rsa.PrivateKey
	pss bool
}

func (o only) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if _, pss := opts.(*rsa.PSSOptions); pss != o.pss {
		return nil, fmt.Errorf("token: %w", hsm.ErrUnsupported)
	}
	return o.PrivateKey.Sign(rand.Reader, digest, opts)
}

// The key of the server's certificate is proved by whatever signature the token has, and another key is found.
func TestProveKey(t *testing.T) {
	mine, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{PublicKeyAlgorithm: x509.RSA, PublicKey: mine.Public()}
	for _, pss := range []bool{true, false} {
		if err := proveKey(only{mine, pss}, cert); err != nil {
			t.Errorf("PSS alone %t: %v", pss, err)
		}
		if err := proveKey(only{other, pss}, cert); err == nil {
			t.Errorf("PSS alone %t: another key is taken", pss)
		}
	}
}
