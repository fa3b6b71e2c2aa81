package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// The certificates that kmipd init makes: a CA of its own, a server certificate and, for kmipd dev, a client certificate.
// They are ECDSA P-256 with SHA-256, which every TLS 1.2 client of the last decade takes, and P-384 with SHA-384 for policies
// that want it.

const certificateLife = 5 * 365 * 24 * time.Hour

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// curveFor is the curve of the certificates that every policy of the list allows.
func curveFor(policies ...string) elliptic.Curve {
	for _, p := range policies {
		if p == "suiteb192" || p == "cnsa1" || p == "cnsa2" {
			return elliptic.P384()
		}
	}
	return elliptic.P256()
}

func serial() (*big.Int, error) { return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) }

// makeAuthority makes the CA under dir, or loads the one that is there. Its certificates are on its own curve.
func makeAuthority(dir string, curve elliptic.Curve) (*authority, error) {
	certFile, keyFile := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
	if exists(certFile) && exists(keyFile) {
		return loadAuthority(certFile, keyFile)
	}
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		return nil, err
	}
	n, err := serial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{SerialNumber: n, Subject: pkix.Name{CommonName: "kmipd CA", Organization: []string{"kmipd"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(2 * certificateLife),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{cert, key}, writePair(certFile, keyFile, der, key)
}

func loadAuthority(certFile, keyFile string) (*authority, error) {
	cert, err := readCertificate(certFile)
	if err != nil {
		return nil, err
	}
	if err := exposed("the authority's key", keyFile); err != nil {
		return nil, err // it was made for its owner alone
	}
	b, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM key", keyFile)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", keyFile, err)
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s is not an ECDSA key", keyFile)
	}
	return &authority{cert, ec}, nil
}

// issue makes a certificate and its key, unless both files exist. names are DNS names or IP addresses.
func (a *authority) issue(certFile, keyFile, name string, usage x509.ExtKeyUsage, names []string) error {
	if exists(certFile) && exists(keyFile) {
		return nil
	}
	key, err := ecdsa.GenerateKey(a.key.Curve, rand.Reader)
	if err != nil {
		return err
	}
	der, err := a.certificate(&key.PublicKey, name, usage, names)
	if err != nil {
		return err
	}
	return writePair(certFile, keyFile, der, key)
}

// issueFor makes the server's certificate for a key on the token.
func (a *authority) issueFor(public crypto.PublicKey, certFile string, names []string) error {
	der, err := a.certificate(public, "kmipd", x509.ExtKeyUsageServerAuth, names)
	if err != nil {
		return err
	}
	return writeFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}

// certificate signs a certificate for a key that is made already.
func (a *authority) certificate(public crypto.PublicKey, name string, usage x509.ExtKeyUsage, names []string) ([]byte, error) {
	n, err := serial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{SerialNumber: n, Subject: pkix.Name{CommonName: name, Organization: []string{"kmipd"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(certificateLife),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage}}
	if usage == x509.ExtKeyUsageServerAuth {
		// The server is the TLS client of the endpoints to which it sends Notify and Put.
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	for _, h := range names {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	return x509.CreateCertificate(rand.Reader, t, a.cert, public, a.key)
}

// crlLife is how long a revocation list of the CA holds. It is short enough for a clock that is off, and long enough for a
// server on somebody's desk: who has more than that asks a real authority.
const crlLife = 365 * 24 * time.Hour

// writeCRL writes the CA's revocation list: who was on it stays on it, and the certificates of more are added. Without more,
// a list that holds for another month stays as it is.
func (a *authority) writeCRL(file string, more ...*x509.Certificate) error {
	now := time.Now()
	list := &x509.RevocationList{Number: big.NewInt(now.UnixNano()), ThisUpdate: now.Add(-time.Minute), NextUpdate: now.Add(crlLife)}
	b, err := os.ReadFile(file)
	switch {
	case err == nil:
		block, _ := pem.Decode(b)
		if block == nil {
			return fmt.Errorf("%s holds no revocation list in PEM", file)
		}
		old, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if len(more) == 0 && old.NextUpdate.After(now.Add(30*24*time.Hour)) && old.CheckSignatureFrom(a.cert) == nil {
			return nil
		}
		list.RevokedCertificateEntries = old.RevokedCertificateEntries
		if old.Number != nil && old.Number.Cmp(list.Number) >= 0 { // the clock was set back: servers take no list for an older one
			list.Number.Add(old.Number, big.NewInt(1))
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	for _, c := range more {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: now})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.cert, a.key)
	if err != nil {
		return err
	}
	return writeFile(file, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), 0o644)
}

// writePair writes the key first: a certificate file says that both are there.
func writePair(certFile, keyFile string, der []byte, key *ecdsa.PrivateKey) error {
	b, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	defer clear(b)
	if err := writeFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b}), 0o600); err != nil {
		return err
	}
	return writeFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}

// writeFile replaces a file at once: a crash leaves the old one or the new one, and when it returns the new one is on disk. The
// file beside it is always a new one, with mode: what somebody else left there, a link or a file that others can read, would
// get the secret.
func writeFile(path string, b []byte, mode os.FileMode) error {
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// hostNames are the names under which clients may reach a server on this machine.
func hostNames(listen string) []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	if host, _, err := net.SplitHostPort(listen); err == nil && host != "" && host != "0.0.0.0" && host != "::" {
		names = append(names, host)
	}
	if h, err := os.Hostname(); err == nil && h != "" {
		names = append(names, h)
	}
	return names
}
