package keystore

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"kmipd/kmip"
)

func TestCertificateProfiles(t *testing.T) {
	b := newBench(t, func(c *Config) {
		c.Certify.Profiles = []CertificateProfile{
			{Name: "web", Days: 30, ExtendedKeyUsage: []string{"serverAuth"}, DNSDomains: []string{"example.com"}},
			{Name: "private", Days: 10, Backdate: time.Hour, ExtendedKeyUsage: []string{"clientAuth", "1.2.3.4"}, Clients: []string{"alice"}, SetDates: true},
			{Name: "sub", Days: 100, CA: true, PathLength: 1},
			{Name: "other", Days: 10, Authority: "second"},
			{Name: "long", Days: 36500},
		}
		c.LeaseTime = 0
	})
	ca := b.root("main")
	second := b.root("second")
	alice, bob := b.client("alice"), b.client("bob")
	wanted := func(name string) kmip.Attribute { return at("x-Certificate Profile", textValue(name)) }
	dns := func(names ...string) func(*x509.CertificateRequest) {
		return func(r *x509.CertificateRequest) { r.DNSNames = names }
	}
	usage := func(oid ...int) func(*x509.CertificateRequest) {
		der, err := asn1.Marshal([]asn1.ObjectIdentifier{oid})
		if err != nil {
			t.Fatal(err)
		}
		return func(r *x509.CertificateRequest) {
			r.ExtraExtensions = append(r.ExtraExtensions, extension(oidExtendedKeyUsage, der))
		}
	}
	clientAuth, serverAuth := usage(1, 3, 6, 1, 5, 5, 7, 3, 2), usage(1, 3, 6, 1, 5, 5, 7, 3, 1)
	address := func(r *x509.CertificateRequest) { r.IPAddresses = []net.IP{{192, 0, 2, 1}} }
	denied := kmip.ResultReasonPermissionDenied
	for _, tc := range []struct {
		name    string
		c       client
		profile string
		change  []func(*x509.CertificateRequest)
		reason  kmip.ResultReason
		days    int
		usage   []x509.ExtKeyUsage
	}{
		{"first", bob, "", []func(*x509.CertificateRequest){dns("a.example.com", "Example.com")}, 0, 30, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}},
		{"another domain", bob, "", []func(*x509.CertificateRequest){dns("a.example.com", "badexample.com")}, denied, 0, nil},
		{"an address", bob, "", []func(*x509.CertificateRequest){address}, denied, 0, nil},
		{"usage of the request", bob, "web", []func(*x509.CertificateRequest){serverAuth}, 0, 30, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}},
		{"usage that is not allowed", bob, "web", []func(*x509.CertificateRequest){clientAuth}, denied, 0, nil},
		{"not for this client", bob, "private", nil, denied, 0, nil},
		{"for this client", alice, "private", []func(*x509.CertificateRequest){clientAuth, address}, 0, 10, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}},
		{"of another authority", alice, "other", nil, 0, 10, nil},
		{"longer than the authority", alice, "long", nil, 0, 3650, nil},
		{"of an authority", alice, "sub", nil, 0, 100, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var attrs []kmip.Attribute
			if tc.profile != "" {
				attrs = append(attrs, wanted(tc.profile))
			}
			uid, err := tc.c.certify("", pkcs10(csr(t, newECKey(t), tc.change...), attrs...))
			wantReason(t, "Certify", err, tc.reason)
			if err != nil {
				return
			}
			cert := tc.c.x509(uid)
			if want := epoch.AddDate(0, 0, tc.days); !cert.NotAfter.Equal(want) {
				t.Errorf("ends %s, want %s", cert.NotAfter, want)
			}
			if !slices.Equal(cert.ExtKeyUsage, tc.usage) {
				t.Errorf("extended key usage: got %v, want %v", cert.ExtKeyUsage, tc.usage)
			}
			issuer := ca
			if tc.profile == "other" {
				issuer = second
			}
			if err := cert.CheckSignatureFrom(issuer); err != nil {
				t.Error(err)
			}
			if sub := tc.profile == "sub"; cert.IsCA != sub || sub && (cert.MaxPathLen != 1 || cert.KeyUsage&x509.KeyUsageCertSign == 0) {
				t.Errorf("authority %t, path length %d, key usage %b", cert.IsCA, cert.MaxPathLen, cert.KeyUsage)
			}
			active := tc.c.state(uid) == kmip.StateActive
			if active != (tc.profile == "private") {
				t.Errorf("Active: %t", active)
			}
			again := tc.c.must(tc.c.recertify(uid, &kmip.ReCertifyRequest{}))
			if got := tc.c.value(again, "y-Certificate Profile"); tc.profile != "" && got.Text() != tc.profile {
				t.Errorf("renewed with profile %s", got.Text())
			}
		})
	}
}

func TestCheckProfiles(t *testing.T) {
	good := CertificateProfile{Name: "a", Days: 1, ExtendedKeyUsage: []string{"serverauth", "1.2.840.1"}}
	if err := CheckProfiles([]CertificateProfile{good, DefaultProfile}); err != nil {
		t.Error(err)
	}
	for problem, change := range map[string]func(*CertificateProfile){
		"name": func(p *CertificateProfile) { p.Name = strings.Repeat("x", 65) }, "days": func(p *CertificateProfile) { p.Days = -1 },
		"backdate": func(p *CertificateProfile) { p.Backdate = 25 * time.Hour }, "path_length": func(p *CertificateProfile) { p.PathLength = 1 },
		"extended_key_usage": func(p *CertificateProfile) { p.ExtendedKeyUsage = []string{"3.9.9"} },
	} {
		p := good
		change(&p)
		if err := CheckProfiles([]CertificateProfile{p}); err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%s: got %v", problem, err)
		}
	}
}

func TestParseName(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"CN=a", "CN=a"}, {"CN=a,O=b, C=DE", "CN=a,O=b,C=DE"}, {"cn = a ; o=b", "CN=a,O=b"}, {`CN=a\,b`, `CN=a\,b`}, {`CN=\C3\A4`, "CN=ä"},
		{`CN=\ a\ `, `CN=\ a\ `}, {"2.5.4.3=x", "CN=x"}, {"OID.2.5.4.3=x", "CN=x"}, {"CN=#0c0161", "CN=a"}, {"", ""}, {"CN", ""}, {"CN=", ""}, {"=a", ""},
		{"XX=a", ""}, {"C=DEU", ""}, {`CN=a\`, ""}, {"CN=#zz", ""}, {"CN=#0c02", ""}, {"C=#0100", ""}, {"CN=a,", ""}, {"DC=ä", ""}, {"CN=a\x00", ""}, {"9.9.9=a", ""},
	} {
		der, err := ParseName(tc.text)
		if (err == nil) != (tc.want != "") {
			t.Errorf("%q: got %v", tc.text, err)
			continue
		}
		if err != nil {
			continue
		}
		c := parsedName(t, der)
		if c != tc.want {
			t.Errorf("%q: got %s, want %s", tc.text, c, tc.want)
		}
	}
}

func parsedName(t *testing.T, der []byte) string {
	t.Helper()
	var rdns pkix.RDNSequence
	if err := unmarshalAll(der, &rdns); err != nil {
		t.Fatal(err)
	}
	return rdns.String()
}

func extension(oid asn1.ObjectIdentifier, der []byte) pkix.Extension {
	return pkix.Extension{Id: oid, Value: der}
}

func FuzzParseName(f *testing.F) {
	f.Add(`CN=a\,b+OU=#0c0161,C=DE`)
	f.Add("C=#0100") // a BOOLEAN without octets
	f.Fuzz(func(t *testing.T, text string) {
		der, err := ParseName(text)
		if err == nil {
			parsedName(t, der)
		}
	})
}
