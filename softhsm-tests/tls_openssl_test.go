package softhsmtests

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"kmipd/softhsm-tests/internal/harness"
	"kmipd/softhsm-tests/internal/message"
	"kmipd/softhsm-tests/internal/rawttlv"
)

// sClient connects with openssl s_client, sends a Query and waits for an answer or the end.
func sClient(t *testing.T, config string, args ...string) (answered bool, output string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "openssl", append([]string{"s_client", "-quiet", "-verify_return_error"}, args...)...)
	cmd.Env = append(os.Environ(), "OPENSSL_CONF="+config)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Write(rawttlv.MustEncode(message.Request(message.Query())))
	var head [3]byte
	_, err = io.ReadFull(out, head[:])
	if ctx.Err() != nil {
		t.Errorf("openssl %s: neither answer nor end", strings.Join(args, " "))
	}
	answered = err == nil && head == [3]byte{0x42, 0x00, 0x7B}
	cmd.Process.Kill()
	io.Copy(io.Discard, out)
	cmd.Wait() // killed, or ended with the refusal
	return answered, errs.String()
}

// TestTLSOpenSSL has another implementation of TLS at the listeners: what it sees of a refusal, and what Go's client cannot
// do, a handshake without the extended master secret and a choice among the suites of TLS 1.3.
func TestTLSOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("CI") == "true" || os.Getenv("KMIPD_REQUIRE_SOFTHSM") == "1" {
			t.Fatal("openssl is required here")
		}
		t.Skip("openssl is not installed")
	}
	s := newAuthorities(t)
	strict, plainServer := s.start(t, strictPolicies...), s.start(t, "default")
	dir := t.TempDir()
	putRoots(t, filepath.Join(dir, "f.pem"), s.f384)
	putPair(t, s.good, filepath.Join(dir, "good.crt"), filepath.Join(dir, "good.key"))
	putPair(t, s.f384.issue("weak", ecdsaKey(t, elliptic.P521())), filepath.Join(dir, "weak.crt"), filepath.Join(dir, "weak.key"))
	const plain = "openssl_conf = c\n[c]\n"
	put(t, []byte(plain), dir, "plain.cnf")
	put(t, []byte(plain+"ssl_conf = s\n[s]\nsystem_default = d\n[d]\nOptions = -ExtendedMasterSecret\n"), dir, "noems.cnf")
	// OpenSSL 3 says "alert handshake failure" and "sslv3 alert handshake failure", by version.
	for _, c := range []struct {
		name, policy, cert, config string
		args                       []string
		alert                      string // a pattern; "" for an answer
		rule                       string // in the log
	}{
		{"good", "suiteb192", "good", "plain", []string{"-tls1_2"}, "", ""},
		{"good without choice", "suiteb128", "good", "plain", nil, "", ""},
		{"good, P-384 first", "suiteb128", "good", "plain", []string{"-groups", "P-384:P-256"}, "", ""},
		{"AES-256 of TLS 1.3", "cnsa1", "good", "plain", []string{"-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384", "-groups", "P-384"}, "", ""},
		{"AES-128 of TLS 1.3", "cnsa1", "good", "plain", []string{"-tls1_3", "-groups", "P-384"}, "bad certificate", "cipher-suite"},
		{"ChaCha20 of TLS 1.3", "fips140", "good", "plain", []string{"-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"}, "bad certificate|handshake failure", ""},
		{"TLS 1.3", "suiteb128", "good", "plain", []string{"-tls1_3"}, "protocol version", "handshake"},
		{"TLS 1.2", "cnsa2", "good", "plain", []string{"-tls1_2"}, "protocol version", "handshake"},
		{"another suite", "suiteb192", "good", "plain", []string{"-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"}, "handshake failure", "handshake"},
		{"another group", "suiteb192", "good", "plain", []string{"-tls1_2", "-groups", "P-256"}, "handshake failure", "handshake"},
		{"another curve", "suiteb192", "weak", "plain", []string{"-tls1_2"}, "bad certificate", "certificate-key"},
		{"with EMS", "fips140", "good", "plain", []string{"-tls1_2"}, "", ""},
		{"without EMS", "fips140", "good", "noems", []string{"-tls1_2"}, "handshake failure", "handshake"},
		{"without EMS", "suiteb128", "good", "noems", []string{"-tls1_2"}, "handshake failure", "handshake"},
		{"without EMS", "default", "good", "noems", []string{"-tls1_2"}, "", ""},
	} {
		t.Run(c.policy+"/"+c.name, func(t *testing.T) {
			s := strict
			if c.policy == "default" {
				s = plainServer
			}
			args := append([]string{"-connect", s.Listeners[c.policy], "-CAfile", filepath.Join(dir, "f.pem"),
				"-cert", filepath.Join(dir, c.cert+".crt"), "-key", filepath.Join(dir, c.cert+".key")}, c.args...)
			before := s.Mark()
			answered, output := sClient(t, filepath.Join(dir, c.config+".cnf"), args...)
			if answered != (c.alert == "") {
				t.Fatalf("answered %t, openssl says:\n%s", answered, output)
			}
			if !regexp.MustCompile(c.alert).MatchString(output) {
				t.Errorf("openssl lacks %q:\n%s", c.alert, output)
			}
			if c.rule == "" {
				return
			}
			s.WaitFor(t, before, "a refusal by "+c.rule, func(output string) bool { return strings.Contains(output, "rule="+c.rule) })
		})
	}
}

// A certificate that the server's own authority issued, and that Revoke revokes, is refused at the next request of its
// connection and at the next handshake, after a restart, too.
func TestTLSOwnAuthority(t *testing.T) {
	dir := harness.Dir(t)
	s := harness.Start(t, dir)
	chain, code := harness.Run(t, "ca", "chain", "dev", "--dir", dir)
	if code != 0 {
		t.Fatal("kmipd ca chain failed")
	}
	s.Stop()
	put(t, chain, dir, "own.pem")
	addTables(t, dir, "\n[[listener]]\nname = \"own\"\nlisten = \"127.0.0.1:0\"\ntls_client_ca = \"own.pem\"\n")
	s = harness.Start(t, dir)
	owner := s.Connect(t)
	do := func(item message.Item) message.Result {
		t.Helper()
		r, err := message.Do(owner, item)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	key := ecdsaKey(t, elliptic.P256())
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "array-7"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	uid := do(message.Item{Operation: opCertify, Payload: []*message.Node{
		rawttlv.Enum(tagCertRequestType, requestPKCS10), rawttlv.Bytes(tagCertificateRequest, csr)}}).Identifier()
	der := do(message.Get(uid)).Payload.Find(tagCertificate, tagCertificateValue).Bytes()
	put(t, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), dir, "array.crt")
	if out, code := harness.Run(t, "client", "add", "array", "--certificate", filepath.Join(dir, "array.crt"), "--dir", dir); code != 0 {
		t.Fatalf("kmipd client add: %s", out)
	}
	config, err := harness.TLS(dir)
	if err != nil {
		t.Fatal(err)
	}
	config.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	array, err := harness.Dial(s.Listeners["own"], config)
	if err != nil {
		t.Fatal(err)
	}
	defer array.Close()
	if _, err := message.Do(array, message.CreateAES(256)); err != nil {
		t.Fatal(err)
	}
	do(message.Revoke(uid, true))
	if _, err := message.Do(array, message.CreateAES(256)); message.ReasonOf(err) != 3 { // Authentication Not Successful
		t.Errorf("the next request: got %v", err)
	}
	refused := func(when string) {
		t.Helper()
		before := s.Mark()
		c, err := harness.Dial(s.Listeners["own"], config)
		if err == nil { // with TLS 1.3 the client learns of it when it reads
			defer c.Close()
			_, err = message.Do(c, message.Query())
		}
		if err == nil || message.ReasonOf(err) != 0 {
			t.Errorf("%s: got %v, want no connection", when, err)
		}
		s.WaitFor(t, before, "the rule ("+when+")", func(output string) bool { return strings.Contains(output, "rule=revocation") })
	}
	refused("the next handshake")
	s.Stop()
	s = harness.Start(t, dir)
	refused("after a restart")
}
