package keystore

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"kmipd/fips"
	"kmipd/kmip"
)

// signedCert is a certificate for a key, signed by itself or by an authority's key, with the signature algorithm.
func signedCert(t testing.TB, subject crypto.Signer, issuer crypto.Signer, a x509.SignatureAlgorithm) *x509.Certificate {
	t.Helper()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "EE"}, NotBefore: epoch.Add(-time.Hour),
		NotAfter: epoch.AddDate(10, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true, SignatureAlgorithm: a}
	parent, key := tmpl, subject
	if issuer != nil {
		parent = &x509.Certificate{Subject: pkix.Name{CommonName: "CA"}, BasicConstraintsValid: true, IsCA: true, PublicKey: issuer.Public()}
		key = issuer
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, subject.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return parsed(t, der)
}

// Certificates that clients bring: their key, the signature on them, their kind.
func TestStrictCertificates(t *testing.T) {
	p256, p384, p521 := ecOn(elliptic.P256()), ecOn(elliptic.P384()), ecOn(elliptic.P521())
	rsa2048 := rsaOf(2048, 65537)
	sha1 := sha1Certificate(t)
	pgp := &kmip.RegisterRequest{ObjectType: kmip.ObjectTypeCertificate, Certificate: &kmip.Certificate{CertificateType: kmip.CertificateTypePGP, CertificateValue: marker(40)}}
	for _, row := range []struct {
		name  string
		req   *kmip.RegisterRequest
		cells map[string]string // as in TestStrictRegister
	}{
		{"P-256", certificate(signedCert(t, p256, nil, x509.ECDSAWithSHA256).Raw), map[string]string{"fips140": "", "suiteb128": "", "suiteb192": "Cryptographic Length", "cnsa1": "Cryptographic Length", "cnsa2": "Cryptographic Algorithm"}},
		{"P-256 with SHA-384", certificate(signedCert(t, p256, nil, x509.ECDSAWithSHA384).Raw), map[string]string{"fips140": "", "suiteb128": "Hashing Algorithm"}},
		{"P-384", certificate(signedCert(t, p384, nil, x509.ECDSAWithSHA384).Raw), map[string]string{"fips140": "", "suiteb128": "", "suiteb192": "", "cnsa1": "", "cnsa2": "Cryptographic Algorithm"}},
		{"P-384 by an RSA key", certificate(signedCert(t, p384, rsa2048, x509.SHA384WithRSA).Raw), map[string]string{"fips140": "", "suiteb192": "Digital Signature Algorithm", "cnsa1": ""}},
		{"P-384 by a P-256 key", certificate(signedCert(t, p384, p256, x509.ECDSAWithSHA256).Raw), map[string]string{"fips140": "", "suiteb192": "Hashing Algorithm"}},
		{"P-521", certificate(signedCert(t, p521, nil, x509.ECDSAWithSHA512).Raw), map[string]string{"fips140": "", "suiteb128": "Cryptographic Length"}},
		{"RSA 2048", certificate(signedCert(t, rsa2048, nil, x509.SHA256WithRSA).Raw), map[string]string{"fips140": "", "suiteb128": "Cryptographic Algorithm", "cnsa1": "Cryptographic Length"}},
		{"RSA 2048 with PSS", certificate(signedCert(t, rsa2048, nil, x509.SHA256WithRSAPSS).Raw), map[string]string{"fips140": ""}},
		{"RSA with e = 3", certificate(signedCert(t, rsaOf(2048, 3), nil, x509.SHA256WithRSA).Raw), map[string]string{"fips140": "Public Exponent"}},
		{"SHA-1", certificate(sha1), map[string]string{"fips140": "Digital Signature Algorithm", "fips140L": "", "cnsa1": "Cryptographic Length"}},
		{"PGP", pgp, map[string]string{"fips140": "", "suiteb128": "Certificate Type"}},
	} {
		for label, field := range row.cells {
			policy, on := label, []fips.Switch(nil)
			if label == "fips140L" {
				policy, on = "fips140", []fips.Switch{fips.LegacyImport}
			}
			want := cell{policy, 0, field}
			if field != "" {
				want.reason = invalid
			}
			c := strictBench(t, policy, on...).client("alice")
			_, err := c.register(row.req)
			want.check(t, row.name, err)
			want.check(t, "Import of "+row.name, c.imports(&kmip.ImportRequest{UniqueIdentifier: "cert", ObjectType: row.req.ObjectType, Certificate: row.req.Certificate}))
			c.wantClean()
		}
	}
}

// sha1Certificate is one with RSA 2048 and SHA-1, which crypto/x509 makes no more: the signature is of no use, its name is.
func sha1Certificate(t testing.TB) []byte {
	t.Helper()
	der := signedCert(t, rsaOf(2048, 65537), nil, x509.SHA256WithRSA).Raw
	sha256WithRSA, out := []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b}, append([]byte(nil), der...)
	changed := 0
	for i := 0; i+9 <= len(out); i++ {
		if string(out[i:i+9]) == string(sha256WithRSA) {
			out[i+8] = 5
			changed++
		}
	}
	if changed != 2 {
		t.Fatalf("found the algorithm %d times, want 2", changed)
	}
	return out
}

// Authorities: which key they may have, and what they sign with it.
func TestStrictAuthorities(t *testing.T) {
	kinds := []NewAuthority{{Algorithm: "ECDSA", Length: 256}, {Algorithm: "ECDSA", Length: 384}, {Algorithm: "ECDSA", Length: 521}, {Algorithm: "RSA", Length: 2048}, {Algorithm: "RSA", Length: 3072}}
	for policy, allowed := range map[string]string{"default": "+++++", "fips140": "+++++", "suiteb128": "++---", "suiteb192": "-+---", "cnsa1": "-+--+", "cnsa2": "-----"} {
		b := strictBenchOf(t, policy)
		for i, n := range kinds {
			n.Name, n.Subject, n.Days = "ca", caSubject, 100
			n.Name += string(rune('0' + i))
			a, err := b.s.InitAuthority(context.Background(), n)
			if (err == nil) != (allowed[i] == '+') {
				t.Errorf("%s: %s %d: got %v, want it allowed %c", policy, n.Algorithm, n.Length, err, allowed[i])
			}
			if err == nil && policy == "cnsa1" && n.Algorithm == "RSA" && parsed(t, a.Certificates[0]).SignatureAlgorithm != x509.SHA384WithRSA {
				t.Errorf("cnsa1: got %s, want SHA-384", parsed(t, a.Certificates[0]).SignatureAlgorithm)
			}
		}
		b.wantClean()
	}
}

// strictBenchOf is strictBench, also for the default policy.
func strictBenchOf(t testing.TB, policy string) *bench {
	b := newBench(t)
	b.under(policy)
	return b
}

// Certify and Re-certify: the request, the key in it, and the authority's own key.
func TestStrictCertify(t *testing.T) {
	b := newBench(t)
	b.cfg.Release = ReleaseClear
	ca := func(name string, bits int) {
		if _, err := b.s.InitAuthority(context.Background(), NewAuthority{Name: name, Algorithm: "ECDSA", Length: bits, Subject: caSubject, Days: 3650}); err != nil {
			t.Fatal(err)
		}
	}
	ca("p384", 384)
	c := b.client("alice")
	p256, p384, rsa2048 := ecOn(elliptic.P256()), ecOn(elliptic.P384()), rsaOf(2048, 65537)
	stored := func(key crypto.Signer) string {
		req := publicOfKind(t, key.Public(), kmip.CryptographicUsageMaskVerify)
		return c.must(c.register(req))
	}
	stored256, stored384, storedRSA, stored1024 := stored(p256), stored(p384), stored(rsa2048), stored(rsaOf(1024, 65537))
	byAttributes := &kmip.CertifyRequest{TemplateAttribute: with(x509Type(), at("Certificate Subject", structValue(&kmip.CertificateSubject{CertificateSubjectDistinguishedName: "CN=x"})))}
	using := func(a x509.SignatureAlgorithm) func(*x509.CertificateRequest) {
		return func(r *x509.CertificateRequest) { r.SignatureAlgorithm = a }
	}
	for _, row := range []struct {
		name  string
		uid   string
		req   *kmip.CertifyRequest
		cells []cell
	}{
		{"a request of P-256", "", pkcs10(csr(t, p256)), []cell{{"fips140", 0, ""}, {"suiteb128", 0, ""}, {"suiteb192", invalid, "Hashing Algorithm"}, {"cnsa2", invalid, "Hashing Algorithm"}}},
		{"a request of P-256 with SHA-384", "", pkcs10(csr(t, p256, using(x509.ECDSAWithSHA384))), []cell{{"fips140", 0, ""}, {"suiteb128", invalid, "Hashing Algorithm"}, {"suiteb192", invalid, "Hashing Algorithm"}}},
		{"a request of P-384", "", pkcs10(csr(t, p384)), []cell{{"fips140", 0, ""}, {"suiteb128", 0, ""}, {"suiteb192", 0, ""}, {"cnsa1", 0, ""}, {"cnsa2", invalid, "Digital Signature Algorithm"}}},
		{"a request of RSA 2048", "", pkcs10(csr(t, rsa2048)), []cell{{"fips140", 0, ""}, {"suiteb128", invalid, "Digital Signature Algorithm"}, {"cnsa1", invalid, "Hashing Algorithm"}}},
		{"a request of RSA 2048 with SHA-384", "", pkcs10(csr(t, rsa2048, using(x509.SHA384WithRSA))), []cell{{"cnsa1", invalid, "Cryptographic Length"}}},
		{"a request of RSA with e = 3", "", pkcs10(csr(t, rsaOf(2048, 3))), []cell{{"fips140", invalid, "Public Exponent"}}},
		{"a stored P-256 key", stored256, byAttributes, []cell{{"fips140", 0, ""}, {"suiteb128", 0, ""}, {"suiteb192", refused, "Cryptographic Length"}}},
		{"a stored P-384 key", stored384, byAttributes, []cell{{"suiteb192", 0, ""}, {"cnsa1", 0, ""}, {"cnsa2", refused, "Cryptographic Algorithm"}}},
		{"a stored RSA 2048 key", storedRSA, byAttributes, []cell{{"fips140", 0, ""}, {"cnsa1", refused, "Cryptographic Length"}, {"suiteb128", refused, "Cryptographic Algorithm"}}},
		{"a stored RSA 1024 key", stored1024, byAttributes, []cell{{"fips140", refused, "Cryptographic"}}},
	} {
		for _, want := range row.cells {
			b.under(want.policy)
			c := b.client("alice")
			uid, err := c.certify(row.uid, row.req)
			want.check(t, row.name, err)
			if err != nil {
				continue
			}
			if got := c.x509(uid).SignatureAlgorithm; got != x509.ECDSAWithSHA384 {
				t.Errorf("%s: got a certificate with %s", want.policy, got)
			}
			_, err = c.recertify(uid, &kmip.ReCertifyRequest{})
			wantReason(t, want.policy+": Re-certify "+row.name, err, 0)
		}
	}
	// What was certified before: not again.
	b.under("default")
	c = b.client("alice")
	old := c.must(c.certify(storedRSA, byAttributes))
	b.under("suiteb128")
	_, err := b.client("alice").recertify(old, &kmip.ReCertifyRequest{})
	wantRefusal(t, "Re-certify", err, refused, "suiteb128", "Cryptographic Algorithm")
	b.wantClean()
}

// A P-384 key is certified by P-384 (RFC 5759), and an authority whose own key the policy does not allow signs nothing.
func TestStrictIssuers(t *testing.T) {
	b := newBench(t)
	b.root("p256")
	b.under("suiteb128")
	c := b.client("alice")
	_, err := c.certify("", pkcs10(csr(t, ecOn(elliptic.P256()))))
	wantReason(t, "P-256 by P-256", err, 0)
	_, err = c.certify("", pkcs10(csr(t, ecOn(elliptic.P384()))))
	wantRefusal(t, "P-384 by P-256", err, invalid, "suiteb128", "P-384")
	b.under("suiteb192")
	_, err = b.client("alice").certify("", pkcs10(csr(t, ecOn(elliptic.P384()))))
	wantRefusal(t, "an authority on P-256", err, refused, "suiteb192", "Cryptographic Length")
	if _, err := b.s.AuthorityRequest(context.Background(), "p256"); err == nil {
		t.Error("an authority on P-256 asks for a certificate under suiteb192")
	}
	b.wantClean()
}

// The chain of an authority is held to the policy.
func TestStrictChain(t *testing.T) {
	root256 := newOutside(t, "Root")
	key384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root384 := &outside{t: t, key: key384}
	root384.cert = root384.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "Root"}}, key384.Public(), nil)
	for policy, allowed := range map[string]string{"fips140": "++", "suiteb128": "-+", "suiteb192": "-+", "cnsa1": "-+"} {
		for i, root := range []*outside{root256, root384} {
			b := strictBench(t, policy)
			if _, err := b.s.InitAuthority(context.Background(), NewAuthority{Name: "sub", Algorithm: "ECDSA", Length: 384, Subject: "CN=Sub", Subordinate: true}); err != nil {
				t.Fatal(err)
			}
			der, err := b.s.AuthorityRequest(context.Background(), "sub")
			if err != nil {
				t.Fatal(err)
			}
			req, err := x509.ParseCertificateRequest(der)
			if err != nil {
				t.Fatal(err)
			}
			chain := [][]byte{root.sign(&x509.Certificate{Subject: req.Subject, SignatureAlgorithm: x509.ECDSAWithSHA384}, req.PublicKey, root.cert).Raw, root.cert.Raw}
			if err := b.s.ImportAuthority(context.Background(), "sub", chain); (err == nil) != (allowed[i] == '+') {
				t.Errorf("%s: root %d: got %v, want it allowed %c", policy, i, err, allowed[i])
			}
		}
	}
}

// Validate holds keys, signatures and their pairs to the policy: what is outside is Invalid.
func TestStrictValidate(t *testing.T) {
	chain := func(caKey, key crypto.Signer, a x509.SignatureAlgorithm) (ca, leaf *x509.Certificate) {
		tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, NotBefore: epoch.Add(-time.Hour), NotAfter: epoch.AddDate(1, 0, 0),
			KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, caKey.Public(), caKey)
		if err != nil {
			t.Fatal(err)
		}
		ca = parsed(t, der)
		end := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "EE"}, NotBefore: epoch.Add(-time.Hour), NotAfter: epoch.AddDate(1, 0, 0),
			KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true, SignatureAlgorithm: a}
		if der, err = x509.CreateCertificate(rand.Reader, end, ca, key.Public(), caKey); err != nil {
			t.Fatal(err)
		}
		return ca, parsed(t, der)
	}
	p256, p384, rsa2048 := ecOn(elliptic.P256()), ecOn(elliptic.P384()), rsaOf(2048, 65537)
	const valid, bad = kmip.ValidityIndicatorValid, kmip.ValidityIndicatorInvalid
	for _, row := range []struct {
		name      string
		ca, key   crypto.Signer
		signature x509.SignatureAlgorithm
		want      map[string]kmip.ValidityIndicator
	}{
		{"P-384", p384, p384, x509.ECDSAWithSHA384, map[string]kmip.ValidityIndicator{"default": valid, "fips140": valid, "suiteb128": valid, "suiteb192": valid, "cnsa1": valid, "cnsa2": bad}},
		{"P-256", p256, p256, x509.ECDSAWithSHA256, map[string]kmip.ValidityIndicator{"fips140": valid, "suiteb128": valid, "suiteb192": bad, "cnsa1": bad}},
		{"P-256 by P-384 with SHA-256", p384, p256, x509.ECDSAWithSHA256, map[string]kmip.ValidityIndicator{"fips140": valid, "suiteb128": bad}},
		{"P-256 by P-384", p384, p256, x509.ECDSAWithSHA384, map[string]kmip.ValidityIndicator{"suiteb128": valid}},
		{"RSA 2048", rsa2048, rsa2048, x509.SHA256WithRSA, map[string]kmip.ValidityIndicator{"default": valid, "fips140": valid, "suiteb128": bad, "cnsa1": bad}},
		{"RSA with e = 3", rsa2048, rsaOf(2048, 3), x509.SHA256WithRSA, map[string]kmip.ValidityIndicator{"default": valid, "fips140": bad}},
	} {
		ca, leaf := chain(row.ca, row.key, row.signature)
		for policy, want := range row.want {
			b := newBench(t, func(c *Config) { c.Certify.Anchors = []*x509.Certificate{ca} })
			b.under(policy)
			got, err := b.client("alice").validate(inline(leaf, ca))
			if err != nil || got != want {
				t.Errorf("%s: %s: got %s, %v, want %s", policy, row.name, got, err, want)
			}
		}
	}
}

// The revocation list of an authority that the policy does not let sign is not made.
func TestStrictCRL(t *testing.T) {
	for policy, want := range map[string]bool{"fips140": true, "suiteb128": true, "suiteb192": false, "cnsa2": false} {
		b := newBench(t)
		b.root("p256")
		b.under(policy)
		a, err := b.s.namedAuthority(context.Background(), "p256")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.s.signer(context.Background(), b.s.policy, a); (err == nil) != want {
			t.Errorf("%s: got %v, want that it signs %t", policy, err, want)
		}
	}
}
