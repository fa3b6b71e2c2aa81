package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func (r *rig) certificates(t *testing.T) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	csr := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "www"}, DNSNames: []string{"www.example"}}, key))
	r.write(t, "www.csr", block("CERTIFICATE REQUEST", csr))
	r.write(t, "www.der", csr)

	id := r.call(t, "certify", "--request", "www.csr", "--new-name", "www", "--json").id()
	cert := r.certificate(t, id)
	if !key.PublicKey.Equal(cert.PublicKey) || cert.Subject.CommonName != "www" || len(cert.DNSNames) != 1 {
		t.Errorf("%s, %v", cert.Subject, cert.DNSNames)
	}
	r.call(t, "certify", "--request", "www.der").ok().has("Unique Identifier")
	r.call(t, "validate", "--name", "www").ok().has("valid\n")
	r.call(t, "get", id, "--pem", "--out", "www.pem").ok()
	r.call(t, "validate", "--file", "www.pem", "--json").ok().has(`"validity_indicator": "Valid"`)
	if a := r.call(t, "validate", id, "--date", "2099-01-01"); a.status != 1 || a.out != "invalid\n" {
		t.Errorf("status %d, %q", a.status, a.out)
	}
	// A chain that ends at nobody known is neither valid nor invalid.
	self := must(x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: cert.SerialNumber, NotAfter: time.Now().Add(time.Hour)},
		&x509.Certificate{SerialNumber: cert.SerialNumber}, &key.PublicKey, key))
	r.write(t, "self.der", self)
	if a := r.call(t, "validate", "--file", "self.der", "--json"); a.status != 1 || a.json()["validity_indicator"] != "Unknown" {
		t.Errorf("status %d, %s", a.status, a.out)
	}

	renewed := r.call(t, "re-certify", "--name", "www", "--offset", "0", "--json").id()
	if c := r.certificate(t, renewed); !key.PublicKey.Equal(c.PublicKey) || c.Subject.String() != cert.Subject.String() || c.SerialNumber.Cmp(cert.SerialNumber) == 0 {
		t.Errorf("renewed: %s", c.Subject)
	}
	r.call(t, "re-certify", renewed, "--request", "www.der").ok()
	r.call(t, "get-attributes", renewed).ok().has("Replaced Object Link", id, "State")

	m := r.call(t, "create-key-pair", "--algorithm", "EC", "--curve", "P-256", "--private-name", "mine", "--public-name", "mine-pub", "--activation-date", "now", "--json").ok().json()
	public := m["public_key_unique_identifier"].(string)
	id = r.call(t, "certify", public, "--subject", "CN=signer,O=Example", "--subject-name", "signer.example", "--deactivation-date", "+30d", "--json").id()
	if c := r.certificate(t, id); c.Subject.CommonName != "signer" || len(c.DNSNames) != 1 || time.Until(c.NotAfter) > 31*24*time.Hour {
		t.Errorf("%s, %v, %s", c.Subject, c.DNSNames, c.NotAfter)
	}
	r.call(t, "certify", "--name", "mine-pub").ok()
	r.call(t, "certify", "--name", "mine-pub", "--request", "www.csr", "--json").refused("Invalid Field") // of another key
	r.call(t, "revoke", id, "--reason", "key-compromise").ok()
	if a := r.call(t, "validate", id); a.status != 1 || a.out != "invalid\n" {
		t.Errorf("revoked: status %d, %q", a.status, a.out)
	}
	r.call(t, "validate", public, "--json").refused("Invalid Message")
	r.call(t, "certify", "--request", filepath.Join("dev", "ca.crt")).fails(2, "must hold one CERTIFICATE REQUEST")
	if _, err := os.Stat(filepath.Join(r.dir, "www.pem")); err != nil {
		t.Error(err)
	}
}

func (r *rig) certificate(t *testing.T, id string) *x509.Certificate {
	t.Helper()
	b, _ := pem.Decode([]byte(r.call(t, "get", id, "--show", "--pem").ok().out))
	if b == nil {
		t.Fatal("no PEM")
	}
	return must(x509.ParseCertificate(b.Bytes))
}

func (r *rig) asynchronous(t *testing.T) {
	wait := func(a *answer) *answer {
		t.Helper()
		value := a.field("asynchronous_correlation_value")
		return r.call(t, "poll", value, "--wait", "1m", "--json").ok()
	}
	id := r.call(t, "create", "--name", "slow", "--json").id()
	a := r.call(t, "create-key-pair", "--algorithm", "RSA", "--length", "2048", "--async", "--private-name", "slow-pair", "--json")
	if a.ok().json()["result_status"] != "Operation Pending" {
		t.Errorf("got %s", a.out)
	}
	private := wait(a).field("private_key_unique_identifier")
	r.call(t, "get-attributes", private).ok().has("slow-pair")
	if got := wait(r.call(t, "re-key-key-pair", "--name", "slow-pair", "--async", "--json")).field("private_key_unique_identifier"); got == private {
		t.Error("re-keyed to the same key")
	}
	if got := wait(r.call(t, "archive", id, "--async", "--json")).id(); got != id {
		t.Errorf("archived %q", got)
	}
	if got := wait(r.call(t, "recover", id, "--async", "--json")).id(); got != id {
		t.Errorf("recovered %q", got)
	}
	value := strings.TrimSpace(r.call(t, "--quiet", "locate", "--name", "slow", "--async").ok().out)
	r.call(t, "poll", value).ok().has(id)
	// Another one is called off before anybody polls for it.
	value = strings.TrimSpace(r.call(t, "--quiet", "locate", "--name", "slow", "--async").ok().out)
	r.call(t, "cancel", value).ok().has("Cancellation Result  Canceled")
	r.call(t, "poll", value, "--json").refused("Operation Canceled By Requester")
	if a := r.call(t, "cancel", "00112233445566778899aabbccddeeff", "--json"); a.status != 1 || a.json()["cancellation_result"] != "Unavailable" {
		t.Errorf("status %d, %s", a.status, a.out)
	}
	r.call(t, "poll", "00112233445566778899aabbccddeeff", "--json").refused("Item Not Found")
	// What is not done later is done at once, and a wrong request is refused at once.
	r.call(t, "activate", id, "--async").ok().has(id)
	r.call(t, "archive", "no-such-object", "--async", "--json").refused("Item Not Found")
	if got := r.call(t, "re-key", id, "--async", "--json").id(); got == id {
		t.Error("re-keyed to the same key")
	}
}
