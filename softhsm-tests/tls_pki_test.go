package softhsmtests

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority is a certification authority of the TLS tests.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  crypto.Signer
	up   *authority // nil for a root
	next int64      // serial number
}

// change spoils the template of a certificate.
type change func(*x509.Certificate)

func ecdsaKey(t *testing.T, curve elliptic.Curve) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t *testing.T, bits int) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newAuthority makes a root, or an authority below another one.
func newAuthority(t *testing.T, name string, key crypto.Signer, up *authority, changes ...change) *authority {
	t.Helper()
	a := &authority{t: t, key: key, up: up, next: 1000}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	if _, ok := key.(*rsa.PrivateKey); ok {
		template.SignatureAlgorithm = x509.SHA384WithRSA
	}
	parent, signer := template, key
	if up != nil {
		up.next++
		template.SerialNumber, parent, signer = big.NewInt(up.next), up.cert, up.key
	}
	for _, c := range changes {
		c(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

// issue makes the certificate of a client or server, with those of the authorities between it and the root.
func (a *authority) issue(name string, key crypto.Signer, changes ...change) *tls.Certificate {
	a.t.Helper()
	a.next++
	template := &x509.Certificate{SerialNumber: big.NewInt(a.next), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	if _, ok := a.key.(*rsa.PrivateKey); ok {
		template.SignatureAlgorithm = x509.SHA384WithRSA
	}
	for _, c := range changes {
		c(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatalf("%s: %v", name, err)
	}
	out := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	for above := a; above.up != nil; above = above.up {
		out.Certificate = append(out.Certificate, above.cert.Raw)
	}
	if out.Leaf, err = x509.ParseCertificate(der); err != nil {
		a.t.Fatal(err)
	}
	return out
}

// crl is the authority's revocation list in PEM.
func (a *authority) crl(next time.Time, revoked ...*x509.Certificate) []byte {
	a.t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(time.Now().UnixNano()), ThisUpdate: time.Now().Add(-2 * time.Hour), NextUpdate: next}
	if _, ok := a.key.(*rsa.PrivateKey); ok {
		list.SignatureAlgorithm = x509.SHA384WithRSA
	}
	for _, c := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.cert, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

func put(t *testing.T, b []byte, path ...string) {
	t.Helper()
	file := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// putPair writes a certificate with its chain, and its key.
func putPair(t *testing.T, c *tls.Certificate, certFile, keyFile string) {
	t.Helper()
	var chain []byte
	for _, der := range c.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	put(t, chain, certFile)
	put(t, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), keyFile)
}

// putRoots writes certificates of authorities into one file.
func putRoots(t *testing.T, file string, list ...*authority) {
	t.Helper()
	var b []byte
	for _, a := range list {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})...)
	}
	put(t, b, file)
}

// addTables adds text to the configuration of a directory.
func addTables(t *testing.T, dir, format string, args ...any) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "kmipd.toml"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(f, format, args...); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
