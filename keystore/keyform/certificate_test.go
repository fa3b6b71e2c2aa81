package keyform

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"kmipd/kmip"
)

func testCertificate(t testing.TB, change func(*x509.Certificate)) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	k := testEC(t, testCurves[1])
	template := &x509.Certificate{SerialNumber: big.NewInt(0x80ff), Subject: pkix.Name{CommonName: "a"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1, 0)}
	change(template)
	return must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)), k
}

func parseX509(t testing.TB, b []byte) *CertificateFacts {
	t.Helper()
	return must[*CertificateFacts](t)(ParseCertificate(&kmip.Certificate{CertificateType: kmip.CertificateTypeX509, CertificateValue: b}))
}

func TestCertificateNames(t *testing.T) {
	u := must[*url.URL](t)(url.Parse("https://example.org/x"))
	b, key := testCertificate(t, func(c *x509.Certificate) {
		c.Subject = pkix.Name{Country: []string{"DE"}, Organization: []string{"A, B + \"C\""}, CommonName: " #x ",
			ExtraNames: []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{1, 2, 3, 4}, Value: "v"}}}
		c.DNSNames, c.EmailAddresses, c.URIs = []string{"example.org"}, []string{"a@example.org"}, []*url.URL{u}
		c.IPAddresses = []net.IP{net.IPv4(10, 0, 0, 1), net.ParseIP("fe80::1")}
	})
	f := parseX509(t, b)
	want := `1.2.3.4=#130176,CN=\ #x\ ,O=A\, B \+ \"C\",C=DE`
	if got := f.Subject.CertificateSubjectDistinguishedName; got != want {
		t.Errorf("subject is %s, want %s", got, want)
	}
	if got := *f.Identifier.SerialNumber; got != "80FF" || !bytes.Equal(f.X509Identifier.CertificateSerialNumber, []byte{2, 3, 0, 0x80, 0xff}) {
		t.Errorf("serial is %s, %x", got, f.X509Identifier.CertificateSerialNumber)
	}
	c := must[*x509.Certificate](t)(x509.ParseCertificate(b))
	if !bytes.Equal(f.X509Subject.SubjectDistinguishedName, c.RawSubject) || !bytes.Equal(f.X509Issuer.IssuerDistinguishedName, c.RawIssuer) {
		t.Error("names are not those of crypto/x509")
	}
	if !bytes.Equal(f.SPKI, must[[]byte](t)(x509.MarshalPKIXPublicKey(&key.PublicKey))) {
		t.Error("SPKI is not the key's")
	}
	texts := strings.Join(f.Subject.CertificateSubjectAlternativeName, " ")
	if texts != "example.org a@example.org 10.0.0.1 fe80::1 https://example.org/x" {
		t.Errorf("alternative names are %s", texts)
	}
	if got := f.X509Subject.SubjectAlternativeName; len(got) != 5 || !bytes.Equal(got[0], append([]byte{0x82, 11}, "example.org"...)) {
		t.Errorf("alternative names are %x", got)
	}
}

// TestCertificateWithoutSubject: KMIP 1.4 section 3.11 wants the empty string then.
func TestCertificateWithoutSubject(t *testing.T) {
	b, _ := testCertificate(t, func(c *x509.Certificate) { c.Subject, c.DNSNames = pkix.Name{}, []string{"a.example"} })
	f := parseX509(t, b)
	if n := f.X509Subject.SubjectDistinguishedName; n == nil || len(n) != 0 {
		t.Errorf("subject is %x", n)
	}
	if f.Subject.CertificateSubjectDistinguishedName != "" || len(f.X509Subject.SubjectAlternativeName) != 1 {
		t.Errorf("got %+v", f.Subject)
	}
}

func TestKeyUsage(t *testing.T) {
	for usage, want := range map[x509.KeyUsage]kmip.CryptographicUsageMask{
		0:                              0,
		x509.KeyUsageDigitalSignature:  kmip.CryptographicUsageMaskVerify,
		x509.KeyUsageContentCommitment: kmip.CryptographicUsageMaskContentCommitment,
		x509.KeyUsageKeyEncipherment:   kmip.CryptographicUsageMaskWrapKey,
		x509.KeyUsageDataEncipherment:  kmip.CryptographicUsageMaskEncrypt,
		x509.KeyUsageKeyAgreement:      kmip.CryptographicUsageMaskKeyAgreement,
		x509.KeyUsageCertSign:          kmip.CryptographicUsageMaskCertificateSign,
		x509.KeyUsageCRLSign:           kmip.CryptographicUsageMaskCRLSign,
		x509.KeyUsageDecipherOnly | x509.KeyUsageKeyAgreement: kmip.CryptographicUsageMaskKeyAgreement,
	} {
		b, _ := testCertificate(t, func(c *x509.Certificate) { c.KeyUsage = usage })
		if got := parseX509(t, b).UsageMask; got != want {
			t.Errorf("keyUsage %b: got %s, want %s", usage, got, want)
		}
	}
}

// TestOldCertificates: odd signatures and keys, which crypto/x509 refuses, are kept.
func TestOldCertificates(t *testing.T) {
	b := unhex(t, vecCertRSA)
	// sha1WithRSAEncryption, in both places, becomes MD5 and then nothing that KMIP names.
	sha1 := []byte(pkcs1OID(5))
	for n, want := range map[byte]kmip.DigitalSignatureAlgorithm{2: 1, 4: 2, 99: 0} {
		old := bytes.ReplaceAll(b, sha1, []byte(pkcs1OID(n)))
		if f := parseX509(t, old); f.SignatureAlgorithm != want || f.Algorithm != rsaA {
			t.Errorf("signature %d: got %s", n, f.SignatureAlgorithm)
		}
	}
	// A key of an unknown algorithm leaves algorithm and length open.
	odd := bytes.Replace(b, oidRSA, []byte(pkcs1OID(99)), 1)
	if f := parseX509(t, odd); f.Algorithm != 0 || f.Bits != 0 || len(f.SPKI) == 0 {
		t.Errorf("got %s of %d bits", f.Algorithm, f.Bits)
	}
}

func TestOtherCertificates(t *testing.T) {
	good := unhex(t, vecCertRSA)
	f, err := ParseCertificate(&kmip.Certificate{CertificateType: kmip.CertificateTypePGP, CertificateValue: []byte("-----BEGIN PGP")})
	if err != nil || f.Length != 14 || f.Type != kmip.CertificateTypePGP || f.Algorithm != 0 {
		t.Errorf("PGP: %+v, %v", f, err)
	}
	for name, c := range map[string]kmip.Certificate{
		"empty":     {CertificateType: kmip.CertificateTypeX509},
		"empty PGP": {CertificateType: kmip.CertificateTypePGP},
		"no type":   {CertificateValue: good},
		"PEM":       {CertificateType: kmip.CertificateTypeX509, CertificateValue: []byte("-----BEGIN CERTIFICATE-----")},
		"cut off":   {CertificateType: kmip.CertificateTypeX509, CertificateValue: good[:len(good)-1]},
		"longer":    {CertificateType: kmip.CertificateTypeX509, CertificateValue: append(bytes.Clone(good), 0)},
		"a key":     {CertificateType: kmip.CertificateTypeX509, CertificateValue: unhex(t, vecP256X509)},
	} {
		if _, err := ParseCertificate(&c); err == nil || kmip.ReasonOf(err) != kmip.ResultReasonInvalidField {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestNameText(t *testing.T) {
	name := func(tag byte, value string) []byte {
		return der(derSeq, der(derSet, der(derSeq, der(derOID, []byte{0x55, 4, 3}), der(tag, []byte(value)))))
	}
	two := der(derSeq, der(derOID, []byte{0x55, 4, 3}), der(derUTF8, []byte("a")))
	for want, b := range map[string][]byte{
		"":                   {0x30, 0},
		"CN=a":               name(derUTF8, "a"),
		"CN=é":               name(derT61, "\xe9"),
		"CN=ä":               name(derBMP, "\x00\xe4"),
		"CN=ö":               name(derUniversal, "\x00\x00\x00\xf6"),
		"CN=#0402ffff":       name(derOctets, "\xff\xff"),
		"CN=#0c01ff":         name(derUTF8, "\xff"),
		"CN=a+CN=a":          der(derSeq, der(derSet, two, two)),
		`CN=\#a\00b\\\<\>\;`: name(derUTF8, "#a\x00b\\<>;"),
	} {
		if got, ok := nameText(b); !ok || got != want {
			t.Errorf("got %q, %v; want %q", got, ok, want)
		}
	}
	for _, b := range [][]byte{nil, {0x30}, {0x31, 0}, {0x30, 1, 0}, {0x30, 2, 0x31, 1}, der(derSeq, der(derSet, der(derSeq))), {0x30, 0, 0}} {
		if got, ok := nameText(b); ok {
			t.Errorf("%x passes as %q", b, got)
		}
	}
	if got := oidText([]byte{0x88, 0x37, 0x03}); got != "2.999.3" {
		t.Errorf("got %s", got)
	}
}

func TestDER(t *testing.T) {
	for _, n := range []int{0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x10000} {
		b := der(derOctets, make([]byte, n))
		r := reader{rest: b}
		if got := r.next(derOctets); !r.done() || len(got) != n || cap(b) > n+5 {
			t.Errorf("%d octets: got %d", n, len(got))
		}
	}
	for _, b := range [][]byte{{}, {4}, {4, 1}, {4, 0x80}, {4, 0x81, 0x7f}, {4, 0x82, 0, 0x80}, {4, 0x85, 1, 0, 0, 0, 0}, {0x1f, 1, 0}, {5, 0}, {4, 0xff},
		{4, 0x84, 0xff, 0xff, 0xff, 0xff}} {
		r := reader{rest: b}
		if r.next(derOctets); r.done() {
			t.Errorf("%x passes", b)
		}
	}
	for _, b := range [][]byte{{2, 0}, {2, 1, 0x80}, {2, 2, 0, 1}, {3, 1, 1}} {
		r := reader{rest: b}
		if r.uint(); r.done() {
			t.Errorf("%x passes as a number", b)
		}
	}
	for _, n := range []int64{0, 1, 127, 128, 255, 256, 65537} {
		r := reader{rest: derUint(big.NewInt(n))}
		if got := r.uint(); !r.done() || got.Int64() != n {
			t.Errorf("%d: got %s", n, got)
		}
	}
}

// FuzzCertificate: no panic, and texts are UTF-8 of the certificate.
func FuzzCertificate(f *testing.F) {
	for _, v := range []string{vecCertRSA, vecCertAttr, vecCertP256, vecCertK1, vecCertCA, vecCertEmail} {
		f.Add(unhex(f, v))
	}
	b, _ := testCertificate(f, func(c *x509.Certificate) { c.DNSNames, c.KeyUsage = []string{"x"}, x509.KeyUsageCertSign })
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		facts, err := ParseCertificate(&kmip.Certificate{CertificateType: kmip.CertificateTypeX509, CertificateValue: b})
		if err != nil {
			if kmip.ReasonOf(err) != kmip.ResultReasonInvalidField {
				t.Fatal(err)
			}
			return
		}
		if facts.Length != len(b) || len(facts.SPKI) == 0 || facts.Identifier.SerialNumber == nil {
			t.Fatalf("got %+v", facts)
		}
		for _, s := range append([]string{facts.Identifier.Issuer, facts.Subject.CertificateSubjectDistinguishedName},
			facts.Subject.CertificateSubjectAlternativeName...) {
			if !strings.Contains(strings.ToValidUTF8(s, "�"), s) {
				t.Fatalf("%q is not UTF-8", s)
			}
		}
	})
}
