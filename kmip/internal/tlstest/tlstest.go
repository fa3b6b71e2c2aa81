// Package tlstest makes certification authorities and certificates for tests of TLS connections.
package tlstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// CA is a certification authority with a P-256 key.
type CA struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// New makes an authority.
func New(t testing.TB) *CA {
	t.Helper()
	ca := &CA{t: t}
	tmpl := &x509.Certificate{SerialNumber: serial(t), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	ca.cert, ca.key = ca.sign(tmpl, tmpl, nil)
	return ca
}

func serial(t testing.TB) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 64))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (ca *CA) sign(tmpl, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	ca.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		ca.t.Fatal(err)
	}
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		ca.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		ca.t.Fatal(err)
	}
	return cert, key
}

// Issue makes a certificate for localhost as server and for name as client, valid until notAfter.
func (ca *CA) Issue(name string, notAfter time.Time) tls.Certificate {
	ca.t.Helper()
	cert, key := ca.sign(&x509.Certificate{
		SerialNumber: serial(ca.t), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: notAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, ca.cert, ca.key)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

// Pool holds the authority.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// Server is a configuration for a server with a certificate for localhost.
func (ca *CA) Server() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{ca.Issue("localhost", time.Now().Add(time.Hour))}, ClientCAs: ca.Pool()}
}

// Client is a configuration for a client of that name.
func (ca *CA) Client(name string) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{ca.Issue(name, time.Now().Add(time.Hour))}, RootCAs: ca.Pool(), ServerName: "localhost"}
}

// Files writes a client certificate of that name, its key and the authority's certificate as PEM files.
func (ca *CA) Files(name string) (certFile, keyFile, caFile string) {
	ca.t.Helper()
	cert := ca.Issue(name, time.Now().Add(time.Hour))
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		ca.t.Fatal(err)
	}
	dir := ca.t.TempDir()
	write := func(file, typ string, der []byte) string {
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}), 0o600); err != nil {
			ca.t.Fatal(err)
		}
		return path
	}
	return write("client.pem", "CERTIFICATE", cert.Certificate[0]), write("client.key", "PRIVATE KEY", key), write("ca.pem", "CERTIFICATE", ca.cert.Raw)
}
