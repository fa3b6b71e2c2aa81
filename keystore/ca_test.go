package keystore

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kmipd/hsm/hsmtest"
	"kmipd/kmip"
)

func TestAuthority(t *testing.T) {
	b := newBench(t)
	ctx := context.Background()
	for _, n := range []NewAuthority{
		{Name: "p256", Algorithm: "ECDSA", Length: 256, Subject: "CN=a", Days: 10},
		{Name: "p384", Algorithm: "ECDSA", Length: 384, Subject: "CN=b", Days: 10},
		{Name: "p521", Algorithm: "ECDSA", Length: 521, Subject: "CN=c", Days: 10},
		{Name: "rsa", Algorithm: "RSA", Length: 2048, Subject: "CN=d", Days: 10},
	} {
		a, err := b.s.InitAuthority(ctx, n)
		if err != nil {
			t.Fatalf("%s: %v", n.Name, err)
		}
		c := parsed(t, a.Certificates[0])
		if err := c.CheckSignatureFrom(c); err != nil {
			t.Errorf("%s: %v", n.Name, err)
		}
		if !c.IsCA || c.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign || len(c.SubjectKeyId) != 20 || c.SerialNumber.BitLen() < 120 {
			t.Errorf("%s: the certificate is not an authority's: %+v", n.Name, c.KeyUsage)
		}
	}
	before, err := b.s.Authorities(ctx)
	if err != nil {
		t.Fatal(err)
	}
	b.restart()
	after, err := b.s.Authorities(ctx)
	if err != nil || len(after) != 4 {
		t.Fatalf("after a restart: %d authorities, %v", len(after), err)
	}
	for i := range after {
		if after[i].Name != before[i].Name || !bytes.Equal(after[i].Certificates[0], before[i].Certificates[0]) {
			t.Errorf("authority %d is another one after a restart", i)
		}
	}
	if got := b.client("alice").find(); len(got) != 0 {
		t.Errorf("a client sees %v", got)
	}
	_, err = b.client("alice").get(after[0].Key, kmip.GetRequest{})
	wantReason(t, "Get of an authority's key", err, kmip.ResultReasonItemNotFound)
	b.wantClean()
}

func TestAuthorityErrors(t *testing.T) {
	b := newBench(t)
	b.root("taken")
	good := NewAuthority{Name: "x", Algorithm: "ECDSA", Length: 256, Subject: "CN=x", Days: 1}
	objects := b.fake.Len()
	for name, change := range map[string]func(*NewAuthority){
		"name":         func(n *NewAuthority) { n.Name = "a/b" },
		"no name":      func(n *NewAuthority) { n.Name = "" },
		"taken":        func(n *NewAuthority) { n.Name = "taken" },
		"algorithm":    func(n *NewAuthority) { n.Algorithm = "DSA" },
		"length":       func(n *NewAuthority) { n.Length = 257 },
		"RSA length":   func(n *NewAuthority) { n.Algorithm, n.Length = "RSA", 512 },
		"subject":      func(n *NewAuthority) { n.Subject = "x" },
		"country":      func(n *NewAuthority) { n.Subject = "C=Germany" },
		"no subject":   func(n *NewAuthority) { n.Subject = "" },
		"days":         func(n *NewAuthority) { n.Days = 0 },
		"days without": func(n *NewAuthority) { n.Days = 1 << 20 },
	} {
		n := good
		change(&n)
		if _, err := b.s.InitAuthority(context.Background(), n); err == nil {
			t.Errorf("%s: got success", name)
		}
	}
	if n := b.fake.Len(); n != objects {
		t.Errorf("%d token objects are left behind", n-objects)
	}
	b.wantClean()
}

// outside signs certificates of authorities, as a company's root would.
type outside struct {
	t    *testing.T
	key  crypto.Signer
	cert *x509.Certificate
}

func newOutside(t *testing.T, name string) *outside {
	o := &outside{t: t, key: newECKey(t)}
	o.cert = o.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}}, o.key.Public(), nil)
	return o
}

// sign makes the certificate of an authority, by itself when parent is nil.
func (o *outside) sign(c *x509.Certificate, public crypto.PublicKey, parent *x509.Certificate) *x509.Certificate {
	o.t.Helper()
	c.SerialNumber, c.NotBefore = big.NewInt(time.Now().UnixNano()), epoch.Add(-time.Hour)
	if c.NotAfter.IsZero() {
		c.NotAfter = epoch.AddDate(5, 0, 0)
	}
	if c.KeyUsage == 0 {
		c.KeyUsage, c.IsCA = x509.KeyUsageCertSign|x509.KeyUsageCRLSign, true
	}
	c.BasicConstraintsValid = true
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, public, o.key)
	if err != nil {
		o.t.Fatal(err)
	}
	return parsed(o.t, der)
}

func TestSubordinate(t *testing.T) {
	b := newBench(t)
	ctx := context.Background()
	if _, err := b.s.InitAuthority(ctx, NewAuthority{Name: "sub", Algorithm: "RSA", Length: 2048, Subject: "CN=Sub,O=ACME", Subordinate: true}); err != nil {
		t.Fatal(err)
	}
	c := b.client("alice")
	_, err := c.certify("", pkcs10(csr(t, newECKey(t))))
	wantReason(t, "without a certificate", err, kmip.ResultReasonFeatureNotSupported)
	der, err := b.s.AuthorityRequest(ctx, "sub")
	if err != nil {
		t.Fatal(err)
	}
	req, err := x509.ParseCertificateRequest(der)
	if err != nil || req.CheckSignature() != nil || req.Subject.String() != "CN=Sub,O=ACME" {
		t.Fatalf("the request: %v, %v", req.Subject, err)
	}
	root, stranger := newOutside(t, "Root"), newOutside(t, "Root")
	good := root.sign(&x509.Certificate{Subject: req.Subject}, req.PublicKey, root.cert)
	leaf := &x509.Certificate{Subject: req.Subject, KeyUsage: x509.KeyUsageDigitalSignature}
	for name, chain := range map[string][][]byte{
		"nothing": nil, "noise": {[]byte("x")}, "another key": {root.cert.Raw}, "wrong order": {root.cert.Raw, good.Raw},
		"wrong root": {good.Raw, stranger.cert.Raw}, "no authority": {root.sign(leaf, req.PublicKey, root.cert).Raw},
		"ended": {root.sign(&x509.Certificate{Subject: req.Subject, NotAfter: epoch.Add(-time.Minute)}, req.PublicKey, root.cert).Raw},
	} {
		if err := b.s.ImportAuthority(ctx, "sub", chain); err == nil {
			t.Errorf("%s: got success", name)
		}
	}
	if err := b.s.ImportAuthority(ctx, "nobody", [][]byte{good.Raw}); err == nil {
		t.Error("import for no authority: got success")
	}
	for range 2 { // a second import takes the place of the first
		if err := b.s.ImportAuthority(ctx, "sub", [][]byte{good.Raw, root.cert.Raw}); err != nil {
			t.Fatal(err)
		}
	}
	b.restart()
	uid := c.must(c.certify("", pkcs10(csr(t, newECKey(t)))))
	if err := c.x509(uid).CheckSignatureFrom(good); err != nil {
		t.Error(err)
	}
	list, err := b.s.Authorities(ctx)
	if err != nil || len(list) != 1 || len(list[0].Certificates) != 2 || !bytes.Equal(list[0].Certificates[1], root.cert.Raw) {
		t.Errorf("got %d authorities, %v", len(list), err)
	}
	b.wantClean()
}

// A fault at any step of making an authority leaves nothing.
func TestAuthorityFaults(t *testing.T) {
	for _, call := range []string{"GenerateKeyPair", "Sign", "StoreCertificate", "Random"} {
		b := newBench(t)
		b.fake.Inject(hsmtest.Fault{Method: call, Effect: hsmtest.FailBefore})
		_, err := b.s.InitAuthority(context.Background(), NewAuthority{Name: "x", Algorithm: "ECDSA", Length: 256, Subject: "CN=x", Days: 1})
		if err == nil {
			t.Errorf("%s fails: got success", call)
		}
		if n := b.fake.Len(); n != 0 {
			t.Errorf("%s fails: %d token objects are left behind", call, n)
		}
		b.wantClean()
	}
}

// openssl has the last word on certificates and lists, where it is installed.
func TestOpenSSL(t *testing.T) {
	binary, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	b := newBench(t, func(c *Config) { c.Certify.BaseURL = "http://localhost:1" })
	b.advance(time.Since(epoch).Truncate(time.Second))
	ca := b.root("main")
	c := b.client("alice")
	good := c.must(c.certify("", pkcs10(csr(t, newECKey(t)), at("Activation Date", timeValue(b.clock())))))
	revoked := c.must(c.certify("", pkcs10(csr(t, rsaKey2048()))))
	c.ok(c.revoke(revoked, kmip.RevocationReasonCodeKeyCompromise))
	list := b.waitCRL("main", 1)
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	caFile, crlFile := write("ca.pem", "CERTIFICATE", ca.Raw), write("crl.pem", "X509 CRL", list.Raw)
	verify := func(uid string) (string, error) {
		file := write(uid+".pem", "CERTIFICATE", c.x509(uid).Raw)
		out, err := exec.Command(binary, "verify", "-x509_strict", "-crl_check", "-CAfile", caFile, "-CRLfile", crlFile, file).CombinedOutput()
		return string(out), err
	}
	if out, err := verify(good); err != nil {
		t.Errorf("a good certificate: %v\n%s", err, out)
	}
	if out, err := verify(revoked); err == nil || !strings.Contains(out, "revoked") {
		t.Errorf("a revoked certificate: %v\n%s", err, out)
	}
}
