package keystore

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
	"kmipd/metadata"
)

// CertifyConfig is what an operator decides about certificates.
type CertifyConfig struct {
	// Profiles are the kinds of certificates that clients can have; none for DefaultProfile alone. The first is the one
	// for clients that name none.
	Profiles []CertificateProfile
	// BaseURL is where clients of the certificates reach the CRL listener, e.g. "http://pki.example.com:8080"; "" leaves
	// CRL distribution points and authority information access out.
	BaseURL string
	// CRLLife is the time from a CRL to its Next Update; 0 for a week. A CRL is issued anew at half of it.
	CRLLife time.Duration
	// Anchors are trusted by Validate besides this server's own authorities.
	Anchors []*x509.Certificate
	// Revocation says what revocation lists tell Validate of a certificate of another authority, for a request by a listener:
	// since when it is revoked (zero: it is not), and whether its state is known as well as the listener wants it. Nil for no
	// lists.
	Revocation func(listener string, cert, issuer *x509.Certificate) (revoked time.Time, known bool)
}

// CertificateProfile is one kind of certificate that Certify issues: what the authority decides, whatever is asked for.
type CertificateProfile struct {
	Name string `toml:"name"`
	// Authority is the name of the authority that signs; "" for the oldest one that can.
	Authority string `toml:"authority"`
	// Days is the longest validity, Backdate how far before its making a certificate is valid (clocks differ).
	Days     int           `toml:"days"`
	Backdate time.Duration `toml:"backdate"`
	// ExtendedKeyUsage are names (serverAuth, clientAuth, codeSigning, emailProtection, timeStamping, OCSPSigning) or
	// object identifiers. A request that names some gets those of them that are listed here.
	ExtendedKeyUsage []string `toml:"extended_key_usage"`
	// DNSDomains, when there are any, are the domains under which all DNS names must be.
	DNSDomains []string `toml:"dns_domains"`
	// CA makes certificates of subordinate authorities, which may have PathLength others below them.
	CA         bool `toml:"ca"`
	PathLength int  `toml:"path_length"`
	// SetDates gives the object the certificate's validity as Activation and Deactivation Date where the client names
	// none, which makes it Active. Without it a certificate is Pre-Active, as the OASIS cases TC-134 have it.
	SetDates bool `toml:"set_dates"`
	// Clients are the only ones who may use the profile; none for all.
	Clients []string `toml:"clients"`
}

// DefaultProfile is TLS at both ends for 397 days, the most that browsers take.
var DefaultProfile = CertificateProfile{Name: "tls", Days: 397, Backdate: 5 * time.Minute,
	ExtendedKeyUsage: []string{"serverAuth", "clientAuth"}}

// The server-made attributes of a certificate that Certify issued, and the client-made one by which a request picks a
// profile (KMIP 1.4 section 3.39).
const (
	attrAuthority = "y-Certification Authority"
	attrProfile   = "y-Certificate Profile"
	attrWanted    = "x-Certificate Profile"
)

// extendedUsages are the names of extended key usages (RFC 5280 section 4.2.1.12).
var extendedUsages = map[string]asn1.ObjectIdentifier{
	"serverauth": {1, 3, 6, 1, 5, 5, 7, 3, 1}, "clientauth": {1, 3, 6, 1, 5, 5, 7, 3, 2},
	"codesigning": {1, 3, 6, 1, 5, 5, 7, 3, 3}, "emailprotection": {1, 3, 6, 1, 5, 5, 7, 3, 4},
	"timestamping": {1, 3, 6, 1, 5, 5, 7, 3, 8}, "ocspsigning": {1, 3, 6, 1, 5, 5, 7, 3, 9},
}

// usageOID finds an extended key usage by name or number.
func usageOID(name string) (asn1.ObjectIdentifier, error) {
	if oid, ok := extendedUsages[strings.ToLower(name)]; ok {
		return oid, nil
	}
	oid, err := parseOID(name)
	if err != nil {
		return nil, fmt.Errorf("extended_key_usage: %q is neither a name nor an object identifier", name)
	}
	return oid, nil
}

// usages are the profile's extended key usages; Check has seen that they are well formed.
func (p *CertificateProfile) usages() []asn1.ObjectIdentifier {
	var out []asn1.ObjectIdentifier
	for _, name := range p.ExtendedKeyUsage {
		if oid, err := usageOID(name); err == nil {
			out = append(out, oid)
		}
	}
	return out
}

// CheckProfiles tells everything that is wrong with a list of profiles.
func CheckProfiles(list []CertificateProfile) error {
	var errs []error
	seen := map[string]bool{}
	for _, p := range list {
		bad := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("certificate profile %q: "+format, append([]any{p.Name}, args...)...))
		}
		if p.Name == "" || len(p.Name) > 64 {
			bad("the name must have 1 to 64 characters")
		}
		if seen[p.Name] {
			bad("stands twice")
		}
		seen[p.Name] = true
		if p.Days < 1 || p.Days > maxDays {
			bad("days must be from 1 to %d", maxDays)
		}
		if p.Backdate < 0 || p.Backdate > 24*time.Hour {
			bad("backdate must be from 0s to 24h")
		}
		if p.PathLength < 0 || p.PathLength > 0 && !p.CA {
			bad("path_length must be 0 or more, and goes with ca = true")
		}
		for _, name := range p.ExtendedKeyUsage {
			if _, err := usageOID(name); err != nil {
				bad("%v", err)
			}
		}
	}
	return errors.Join(errs...)
}

const maxDays = 100 * 366

// profiles are those of the configuration.
func (s *Store) profiles() []CertificateProfile {
	if len(s.cfg.Certify.Profiles) == 0 {
		return []CertificateProfile{DefaultProfile}
	}
	return s.cfg.Certify.Profiles
}

// profile finds the profile of a request: the one that it names, else that of the certificate that it renews, else the
// first.
func (s *Store) profile(call *kmip.Call, levels []level, inherited string) (*CertificateProfile, error) {
	list := s.profiles()
	i := slices.IndexFunc(list, func(p CertificateProfile) bool { return p.Name == inherited })
	if v := attributeIn(levels, attrWanted); !v.IsZero() {
		if v.Type != ttlv.TextString {
			return nil, badField("%s must be of type Text String", attrWanted)
		}
		if i = slices.IndexFunc(list, func(p CertificateProfile) bool { return p.Name == v.Text() }); i < 0 {
			return nil, badField("there is no certificate profile of this name")
		}
	}
	p := &list[max(0, i)]
	if len(p.Clients) > 0 && !slices.Contains(p.Clients, call.Caller.Client) {
		return nil, denied("the certificate profile is not for this client")
	}
	return p, nil
}

// attributeIn is the first instance of an attribute in the highest level that has it, or the zero Item.
func attributeIn(levels []level, name string) ttlv.Item {
	for _, l := range levels {
		if i := slices.IndexFunc(l.attrs, func(a metadata.Attribute) bool { return a.Name == name }); i >= 0 {
			return l.attrs[i].Value
		}
	}
	return ttlv.Item{}
}

// allowsNames tells whether the profile allows the alternative names.
func (p *CertificateProfile) allowsNames(dns []string, ips []net.IP) error {
	if len(p.DNSDomains) == 0 {
		return nil
	}
	if len(ips) > 0 {
		return denied("the certificate profile allows DNS names alone")
	}
	for _, name := range dns {
		if !slices.ContainsFunc(p.DNSDomains, func(domain string) bool { return underDomain(name, domain) }) {
			return denied("the certificate profile does not allow a DNS name of the request")
		}
	}
	return nil
}

func underDomain(name, domain string) bool {
	name, domain = strings.ToLower(strings.TrimSuffix(name, ".")), strings.ToLower(strings.Trim(domain, "."))
	return name == domain || strings.HasSuffix(name, "."+domain)
}

// keyUsage is the keyUsage extension for what a public key may do (RFC 5280 section 4.2.1.3; RFC 5480 section 3 for
// elliptic curves). Signing certificates and CRLs is for authorities.
func (p *CertificateProfile) keyUsage(mask kmip.CryptographicUsageMask, ec bool) x509.KeyUsage {
	var u x509.KeyUsage
	for _, m := range []struct {
		mask   kmip.CryptographicUsageMask
		usage  x509.KeyUsage
		ec, ca bool
	}{
		{kmip.CryptographicUsageMaskVerify | kmip.CryptographicUsageMaskSign, x509.KeyUsageDigitalSignature, true, false},
		{kmip.CryptographicUsageMaskContentCommitment, x509.KeyUsageContentCommitment, true, false},
		{kmip.CryptographicUsageMaskWrapKey, x509.KeyUsageKeyEncipherment, false, false},
		{kmip.CryptographicUsageMaskEncrypt, x509.KeyUsageDataEncipherment, false, false},
		{kmip.CryptographicUsageMaskKeyAgreement, x509.KeyUsageKeyAgreement, true, false},
		{kmip.CryptographicUsageMaskCertificateSign, x509.KeyUsageCertSign, true, true},
		{kmip.CryptographicUsageMaskCRLSign, x509.KeyUsageCRLSign, true, true},
	} {
		if mask&m.mask != 0 && (m.ec || !ec) && (!m.ca || p.CA) {
			u |= m.usage
		}
	}
	if p.CA {
		u |= x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	}
	return u
}
