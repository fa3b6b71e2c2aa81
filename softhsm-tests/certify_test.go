package softhsmtests

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"kmipd/softhsm-tests/internal/harness"
	"kmipd/softhsm-tests/internal/message"
	"kmipd/softhsm-tests/internal/rawttlv"
)

// The numbers that this test needs beside those of package message (KMIP 1.4 section 9.1.3).
const (
	opCertify, opValidate                     = 0x06, 0x17
	tagCertificate, tagCertificateValue       = 0x420013, 0x42001E
	tagCertificateRequest, tagCertRequestType = 0x420018, 0x420019
	tagUniqueID, tagValidityIndicator         = 0x420094, 0x42009B
	requestPKCS10, validityInvalid            = 2, 2
)

// TestCertify has the authority of kmipd dev certify a key, revokes the certificate, kills the server at once, and finds
// the certificate on the revocation list that the next server publishes. openssl has the last word.
func TestCertify(t *testing.T) {
	const published = "http://pki.example.test"
	t.Setenv("KMIPD_CRL_LISTEN", "127.0.0.1:0")
	t.Setenv("KMIPD_CRL_URL", published)
	dir := harness.Dir(t)
	s := harness.Start(t, dir)
	c := s.Connect(t)
	do := func(item message.Item) message.Result {
		t.Helper()
		r, err := message.Do(c, item)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	certify := func() (string, *x509.Certificate) {
		t.Helper()
		uid := do(message.Item{Operation: opCertify, Payload: []*message.Node{
			rawttlv.Enum(tagCertRequestType, requestPKCS10), rawttlv.Bytes(tagCertificateRequest, request(t))}}).Identifier()
		der := do(message.Get(uid)).Payload.Find(tagCertificate, tagCertificateValue).Bytes()
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return uid, cert
	}
	_, good := certify()
	uid, bad := certify()
	if !slices.Equal(bad.CRLDistributionPoints, []string{published + "/dev.crl"}) || len(bad.IssuingCertificateURL) != 1 {
		t.Fatalf("the certificate names %v and %v", bad.CRLDistributionPoints, bad.IssuingCertificateURL)
	}
	root, err := x509.ParseCertificate(fetch(t, s, strings.TrimPrefix(bad.IssuingCertificateURL[0], published)))
	if err != nil {
		t.Fatal(err)
	}
	do(message.Revoke(uid, true))
	s.Kill()
	s = harness.Start(t, dir)
	c = s.Connect(t)
	var list *x509.RevocationList
	for deadline := time.Now().Add(harness.Timeout); ; time.Sleep(50 * time.Millisecond) {
		if list, err = x509.ParseRevocationList(fetch(t, s, strings.TrimPrefix(bad.CRLDistributionPoints[0], published))); err != nil {
			t.Fatal(err)
		}
		if len(list.RevokedCertificateEntries) == 1 || time.Now().After(deadline) {
			break
		}
	}
	if err := list.CheckSignatureFrom(root); err != nil || len(list.RevokedCertificateEntries) != 1 || list.RevokedCertificateEntries[0].SerialNumber.Cmp(bad.SerialNumber) != 0 {
		t.Fatalf("the list has %d entries, %v", len(list.RevokedCertificateEntries), err)
	}
	if v := do(message.Item{Operation: opValidate, Payload: []*message.Node{rawttlv.Text(tagUniqueID, uid)}}).Payload.Child(tagValidityIndicator).Enum(); v != validityInvalid {
		t.Errorf("Validity Indicator of the revoked certificate: %d", v)
	}
	openssl(t, root, list, good, "")
	openssl(t, root, list, bad, "revoked")
	s.Stop()
	if out, code := harness.Run(t, "fsck", "--dir", dir); code != 0 {
		t.Errorf("fsck: status %d\n%s", code, out)
	}
}

// request is a PKCS#10 request of a new key.
func request(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "host"}, DNSNames: []string{"host.example.com"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// crlAddress is where the server says that it serves lists.
var crlAddress = regexp.MustCompile(`serving certificate revocation lists.* address=(\S+)`)

// fetch gets a path of the server's listener for lists.
func fetch(t *testing.T, s *harness.Server, path string) []byte {
	t.Helper()
	var url string
	s.WaitFor(t, 0, "where it serves lists", func(output string) bool {
		m := crlAddress.FindStringSubmatch(output)
		if m != nil {
			url = "http://" + m[1] + path
		}
		return m != nil
	})
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
	return b
}

// openssl verifies a certificate strictly, with the revocation list; problem is what it must say, "" for nothing.
func openssl(t *testing.T, root *x509.Certificate, list *x509.RevocationList, cert *x509.Certificate, problem string) {
	t.Helper()
	binary, err := exec.LookPath("openssl")
	if err != nil {
		t.Log("openssl is not installed")
		return
	}
	dir := t.TempDir()
	files := map[string][]byte{
		"root": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}), "crl": pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: list.Raw}),
		"cert": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}),
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(binary, "verify", "-x509_strict", "-crl_check", "-CAfile", "root", "-CRLfile", "crl", "cert")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if (err == nil) != (problem == "") || !strings.Contains(string(bytes.ToLower(out)), problem) {
		t.Errorf("openssl: %v, want %q\n%s", err, problem, out)
	}
}
