package compare

import "kmipd/softhsm-tests/internal/rawttlv"

// The certificates that a server makes have its own authority's name, a random serial number, and a length that depends on
// both (4.1.1, first list: values that the server assigns). Subject, key and signature algorithm are as in the case.

// certificateFields are the fields of such a certificate and of its attributes that are the server's.
var certificateFields = []string{
	"CertificateValue", "Issuer", "SerialNumber", "CertificateIssuerDistinguishedName", "IssuerDistinguishedName", "CertificateSerialNumber",
}

// serverCertificate says whether the value is one that the server chose when it made a certificate.
func (c *comparison) serverCertificate(want *rawttlv.Node) bool {
	if c.origin[c.object] != originServer {
		return false
	}
	if want.Tag == c.tags.attributeValue {
		return c.attribute == "Certificate Length"
	}
	for _, name := range certificateFields {
		if want.Tag == c.reg.MustTag(name) {
			return true
		}
	}
	return false
}
