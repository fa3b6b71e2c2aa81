package keystore

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

const caSubject = "CN=KMIP,OU=OASIS,O=TEST,C=US"

// root makes a certification authority.
func (b *bench) root(name string) *x509.Certificate {
	b.t.Helper()
	a, err := b.s.InitAuthority(context.Background(), NewAuthority{Name: name, Algorithm: "ECDSA", Length: 256, Subject: caSubject, Days: 3650})
	if err != nil {
		b.t.Fatalf("making an authority: %v", err)
	}
	return parsed(b.t, a.Certificates[0])
}

func parsed(t testing.TB, der []byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatalf("parsing a certificate: %v", err)
	}
	return c
}

func newECKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// rsaKey2048 is one RSA key for all tests: making them is slow.
var rsaKey2048 = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// csr makes a PKCS#10 request.
func csr(t testing.TB, key crypto.Signer, change ...func(*x509.CertificateRequest)) []byte {
	t.Helper()
	r := &x509.CertificateRequest{Subject: pkix.Name{CommonName: "Client", Organization: []string{"ACME"}}}
	for _, f := range change {
		f(r)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, r, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func pkcs10(der []byte, attrs ...kmip.Attribute) *kmip.CertifyRequest {
	return &kmip.CertifyRequest{CertificateRequestType: kmip.CertificateRequestTypePKCS10, CertificateRequest: der, TemplateAttribute: with(attrs...)}
}

func x509Type() kmip.Attribute { return at("Certificate Type", enumValue(kmip.CertificateTypeX509)) }

func (c client) certify(uid string, req *kmip.CertifyRequest) (string, error) {
	resp, err := do(c, kmip.OperationCertify, uid, c.s.Certify, req)
	if err != nil {
		return "", err
	}
	return resp.UniqueIdentifier, nil
}

func (c client) recertify(uid string, req *kmip.ReCertifyRequest) (string, error) {
	resp, err := do(c, kmip.OperationReCertify, uid, c.s.ReCertify, req)
	if err != nil {
		return "", err
	}
	return resp.UniqueIdentifier, nil
}

// x509 is the certificate of an object.
func (c client) x509(uid string) *x509.Certificate {
	c.t.Helper()
	return parsed(c.t, c.material(uid))
}

func (c client) linksOf(uid string) []kmip.Link {
	c.t.Helper()
	list, err := c.attributes(uid, "Link")
	c.ok(err)
	var out []kmip.Link
	for _, a := range list {
		var l kmip.Link
		c.ok(l.Decode(a.AttributeValue))
		out = append(out, l)
	}
	return out
}

func (c client) wantLink(uid string, t kmip.LinkType, to string) {
	c.t.Helper()
	if l := (kmip.Link{LinkType: t, LinkedObjectIdentifier: to}); !slices.Contains(c.linksOf(uid), l) {
		c.t.Errorf("links of %s: got %v, want %v among them", uid, c.linksOf(uid), l)
	}
}

func TestCertifyPKCS10(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Certify.BaseURL = "http://pki.example.com/" })
	ca := b.root("main")
	c := b.client("alice")
	key := newECKey(t)
	pub := c.must(c.register(publicKey(t, key)))
	req := csr(t, key, func(r *x509.CertificateRequest) {
		r.DNSNames, r.IPAddresses = []string{"host.example.com"}, []net.IP{net.IPv4(192, 0, 2, 1)}
	})
	uid := c.must(c.certify(pub, pkcs10(req, named("cert"), mask(kmip.CryptographicUsageMaskVerify|kmip.CryptographicUsageMaskSign),
		at("Certificate Subject", structValue(&kmip.CertificateSubject{CertificateSubjectDistinguishedName: "CN=Other"})))))
	cert := c.x509(uid)
	if err := cert.CheckSignatureFrom(ca); err != nil {
		t.Error(err)
	}
	if got := cert.Subject.String(); got != "CN=Client,O=ACME" {
		t.Errorf("subject: got %s, want that of the certificate request", got)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	if _, err := cert.Verify(x509.VerifyOptions{DNSName: "host.example.com", Roots: pool, CurrentTime: epoch}); err != nil {
		t.Error(err)
	}
	checkRFC5280(t, cert, ca)
	if !slices.Equal(cert.CRLDistributionPoints, []string{"http://pki.example.com/main.crl"}) || !slices.Equal(cert.IssuingCertificateURL, []string{"http://pki.example.com/main.crt"}) {
		t.Errorf("got %v, %v for the addresses of CRL and issuer", cert.CRLDistributionPoints, cert.IssuingCertificateURL)
	}
	c.wantLink(pub, kmip.LinkTypeCertificateLink, uid)
	c.wantLink(uid, kmip.LinkTypePublicKeyLink, pub)
	if st := c.state(uid); st != kmip.StatePreActive {
		t.Errorf("state: got %s", st)
	}
	for name, want := range map[string]ttlv.Item{
		"Certificate Type": enumValue(kmip.CertificateTypeX509), "Cryptographic Length": intValue(int32(256)),
		"Certificate Length": intValue(int32(len(cert.Raw))), "Cryptographic Usage Mask": intValue(int32(3)),
		"Digital Signature Algorithm": enumValue(kmip.DigitalSignatureAlgorithmECDSAWithSHA256), "y-Certification Authority": textValue("main"),
		"Certificate Issuer": structValue(&kmip.CertificateIssuer{CertificateIssuerDistinguishedName: caSubject}),
	} {
		if got := c.value(uid, name); !got.Equal(want) {
			t.Errorf("%s: got %x, want %x", name, got.Value, want.Value)
		}
	}
	b.wantClean()
	second := c.must(c.certify(pub, pkcs10(req)))
	if c.x509(second).SerialNumber.Cmp(cert.SerialNumber) == 0 {
		t.Error("two certificates have one serial number")
	}
}

// checkRFC5280 checks what RFC 5280 and the default profile want of an end entity's certificate.
func checkRFC5280(t *testing.T, cert, ca *x509.Certificate) {
	t.Helper()
	if n := cert.SerialNumber.BitLen(); n < 120 || n > 159 || cert.SerialNumber.Sign() <= 0 {
		t.Errorf("serial number of %d bits", n)
	}
	if !bytes.Equal(cert.AuthorityKeyId, ca.SubjectKeyId) || len(cert.SubjectKeyId) == 0 {
		t.Error("key identifiers are missing or wrong")
	}
	if !cert.BasicConstraintsValid || cert.IsCA || cert.Version != 3 {
		t.Error("basic constraints or version are wrong")
	}
	if cert.KeyUsage != x509.KeyUsageDigitalSignature || !slices.Equal(cert.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}) {
		t.Errorf("got key usage %b, extended %v", cert.KeyUsage, cert.ExtKeyUsage)
	}
	for _, e := range cert.Extensions {
		if name := e.Id.String(); (name == "2.5.29.19" || name == "2.5.29.15") != e.Critical {
			t.Errorf("extension %s: critical %t", name, e.Critical)
		}
	}
	if !cert.NotBefore.Equal(epoch.Add(-5*time.Minute)) || !cert.NotAfter.Equal(epoch.AddDate(0, 0, 397)) {
		t.Errorf("got validity %s to %s", cert.NotBefore, cert.NotAfter)
	}
}

// The public key need not be stored before.
func TestCertifyNewKey(t *testing.T) {
	b := newBench(t)
	b.root("main")
	c := b.client("alice")
	for _, key := range []crypto.Signer{newECKey(t), rsaKey2048()} {
		uid := c.must(c.certify("", pkcs10(csr(t, key))))
		cert := c.x509(uid)
		if !equalKeys(cert.PublicKey, key.Public()) {
			t.Error("the certificate is for another key")
		}
		pub := c.linksOf(uid)[0].LinkedObjectIdentifier
		c.wantLink(pub, kmip.LinkTypeCertificateLink, uid)
		got, err := c.get(pub, kmip.GetRequest{KeyFormatType: kmip.KeyFormatTypeX509})
		c.ok(err)
		if spki, _ := x509.MarshalPKIXPublicKey(key.Public()); !bytes.Equal(materialOf(t, got), spki) {
			t.Error("the public key is another one")
		}
	}
	b.wantClean()
}

func TestCertifyByAttributes(t *testing.T) {
	b := newBench(t)
	b.root("main")
	c := b.client("alice")
	pub := c.must(c.register(publicKey(t, newECKey(t)), named("key-name")))
	der, err := ParseName("CN=bin,O=ACME")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name    string
		attrs   []kmip.Attribute
		subject string
		dns     []string
	}{
		{"text", []kmip.Attribute{at("Certificate Subject", structValue(&kmip.CertificateSubject{
			CertificateSubjectDistinguishedName: `CN=a\, b+OU=x, O=ACME , C=US`, CertificateSubjectAlternativeName: []string{"DNS:a.example.com", "b.example.com"}}))},
			`OU=x+CN=a\, b,O=ACME,C=US`, []string{"a.example.com", "b.example.com"}},
		{"binary", []kmip.Attribute{at("X.509 Certificate Subject", structValue(&kmip.X509CertificateSubject{SubjectDistinguishedName: der,
			SubjectAlternativeName: [][]byte{append([]byte{0x82, 5}, "c.net"...)}}))}, "CN=bin,O=ACME", []string{"c.net"}},
		{"parts", []kmip.Attribute{at("Certificate Subject CN", textValue("p")), at("Certificate Subject O", textValue("ACME"))}, "CN=p,O=ACME", nil},
		{"name", []kmip.Attribute{named("my-name")}, "CN=my-name", nil},
		{"name of the key", nil, "CN=key-name", nil},
		{"alternative names alone", []kmip.Attribute{at("Certificate Subject", structValue(&kmip.CertificateSubject{
			CertificateSubjectAlternativeName: []string{"only.example.com"}}))}, "", []string{"only.example.com"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c.t = t
			uid := c.must(c.certify(pub, &kmip.CertifyRequest{TemplateAttribute: with(append(tc.attrs, x509Type())...)}))
			cert := c.x509(uid)
			var rdns pkix.RDNSequence
			if err := unmarshalAll(cert.RawSubject, &rdns); err != nil {
				t.Fatal(err)
			}
			if got := rdns.String(); got != tc.subject {
				t.Errorf("subject: got %s, want %s", got, tc.subject)
			}
			if !slices.Equal(cert.DNSNames, tc.dns) {
				t.Errorf("DNS names: got %v, want %v", cert.DNSNames, tc.dns)
			}
		})
	}
}

func TestCertifyErrors(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	key := newECKey(t)
	pub := c.must(c.register(publicKey(t, key)))
	good := csr(t, key)
	_, err := c.certify(pub, pkcs10(good))
	wantReason(t, "without an authority", err, kmip.ResultReasonFeatureNotSupported)
	b.root("main")
	forged := slices.Clone(good)
	forged[len(forged)-1] ^= 1
	taken := c.must(c.create(kmip.ObjectTypeSymmetricKey, append(aesAttributes(128), named("taken"))...))
	gone, compromised, archived := c.must(c.register(publicKey(t, key))), c.must(c.register(publicKey(t, key))), c.must(c.register(publicKey(t, key)))
	c.ok(c.destroy(gone))
	c.ok(c.revoke(compromised, kmip.RevocationReasonCodeKeyCompromise))
	_, err = do(c, kmip.OperationArchive, archived, c.s.Archive, &kmip.ArchiveRequest{})
	c.ok(err)
	wrapping := publicKey(t, key)
	wrapping.TemplateAttribute = *with(mask(kmip.CryptographicUsageMaskWrapKey))
	wraps := c.must(c.register(wrapping))
	request := func(t kmip.CertificateRequestType, der []byte) *kmip.CertifyRequest {
		return &kmip.CertifyRequest{CertificateRequestType: t, CertificateRequest: der}
	}
	bare := func(attrs ...kmip.Attribute) *kmip.CertifyRequest {
		return &kmip.CertifyRequest{TemplateAttribute: with(attrs...)}
	}
	subject := func(text string) kmip.Attribute {
		return at("Certificate Subject", structValue(&kmip.CertificateSubject{CertificateSubjectDistinguishedName: text}))
	}
	for _, tc := range []struct {
		name, target string
		req          *kmip.CertifyRequest
		reason       kmip.ResultReason
	}{
		{"unknown object", "nobody", pkcs10(good), kmip.ResultReasonItemNotFound},
		{"no public key", taken, pkcs10(good), kmip.ResultReasonPermissionDenied},
		{"destroyed", gone, pkcs10(good), kmip.ResultReasonPermissionDenied},
		{"compromised", compromised, pkcs10(good), kmip.ResultReasonPermissionDenied},
		{"archived", archived, pkcs10(good), kmip.ResultReasonObjectArchived},
		{"elliptic key that only wraps", wraps, pkcs10(good), kmip.ResultReasonPermissionDenied},
		{"forged", pub, pkcs10(forged), kmip.ResultReasonInvalidField},
		{"of another key", pub, pkcs10(csr(t, newECKey(t))), kmip.ResultReasonInvalidField},
		{"noise", pub, pkcs10([]byte("noise")), kmip.ResultReasonInvalidField},
		{"empty", pub, pkcs10([]byte{}), kmip.ResultReasonInvalidField},
		{"PKCS#10 said to be CRMF", pub, request(kmip.CertificateRequestTypeCRMF, good), kmip.ResultReasonInvalidField},
		{"PEM", pub, request(kmip.CertificateRequestTypePEM, good), kmip.ResultReasonInvalidField},
		{"PGP", pub, request(kmip.CertificateRequestTypePGP, good), kmip.ResultReasonInvalidField},
		{"no type", pub, request(0, good), kmip.ResultReasonInvalidMessage},
		{"type alone", pub, request(kmip.CertificateRequestTypePKCS10, nil), kmip.ResultReasonInvalidField},
		{"no Certificate Type", pub, bare(subject("CN=x")), kmip.ResultReasonInvalidField},
		{"PGP certificate", pub, bare(subject("CN=x"), at("Certificate Type", enumValue(kmip.CertificateTypePGP))), kmip.ResultReasonInvalidField},
		{"no subject", pub, bare(x509Type()), kmip.ResultReasonInvalidField},
		{"bad subject", pub, bare(x509Type(), subject("nonsense")), kmip.ResultReasonInvalidField},
		{"Name taken", pub, pkcs10(good, named("taken")), kmip.ResultReasonInvalidField},
		{"attribute of keys", pub, pkcs10(good, at("Process Start Date", timeValue(epoch))), kmip.ResultReasonInvalidField},
		{"unknown profile", pub, pkcs10(good, at("x-Certificate Profile", textValue("none"))), kmip.ResultReasonInvalidField},
		{"dates the wrong way round", pub, pkcs10(good, at("Activation Date", timeValue(epoch)), at("Deactivation Date", timeValue(epoch.Add(-time.Hour)))), kmip.ResultReasonInvalidField},
		{"ended", pub, pkcs10(good, at("Deactivation Date", timeValue(epoch.Add(-time.Hour)))), kmip.ResultReasonInvalidField},
		{"no Application Data", pub, pkcs10(good, at("Application Specific Information",
			structValue(&kmip.ApplicationSpecificInformation{ApplicationNamespace: "ns"}))), kmip.ResultReasonApplicationNamespaceNotSupported},
		{"template unknown", pub, &kmip.CertifyRequest{CertificateRequestType: kmip.CertificateRequestTypePKCS10, CertificateRequest: good,
			TemplateAttribute: &kmip.TemplateAttribute{Name: []kmip.Name{{NameValue: "nothing", NameType: 1}}}}, kmip.ResultReasonItemNotFound},
		{"new key, Name taken", "", pkcs10(csr(t, newECKey(t)), named("taken")), kmip.ResultReasonInvalidField},
		{"neither target nor request", "", bare(x509Type()), kmip.ResultReasonItemNotFound},
	} {
		t.Run(tc.name, func(t *testing.T) {
			objects := b.fake.Len()
			_, err := c.certify(tc.target, tc.req)
			wantReason(t, "Certify", err, tc.reason)
			if n := b.fake.Len(); n != objects {
				t.Errorf("%d token objects are left behind", n-objects)
			}
		})
	}
	if _, err = b.client("bob").certify(pub, pkcs10(good)); kmip.ReasonOf(err) != kmip.ResultReasonItemNotFound {
		t.Errorf("another client's key: got %v", err)
	}
	b.wantClean()
}
