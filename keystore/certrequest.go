package keystore

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"net"
	"time"

	"kmipd/fips"
	"kmipd/kmip"
)

// wish is what a certificate is asked to say of its subject. Its slices are its own.
type wish struct {
	subject  []byte // DER Name; nil when it is not told
	names    []byte // DER GeneralNames; nil for none
	key      crypto.PublicKey
	usage    x509.KeyUsage // 0 when the request has no keyUsage
	extended []asn1.ObjectIdentifier
	// notBefore and notAfter are zero when they are not told.
	notBefore, notAfter time.Time
}

// notSigned is the one refusal of certificate requests (KMIP 1.4 sections 11.8, 11.9).
func notSigned(why string, cause error) error {
	return because(badField("Certificate Request is no signed certificate request of its Certificate Request Type: %s", why), cause)
}

// because gives a refusal a cause, for the log.
func because(refusal, cause error) error {
	var e *kmip.Error
	if errors.As(refusal, &e) {
		return e.Because(cause)
	}
	return refusal
}

// certificateRequest reads a certificate request and proves that the requester has the private key; nil without one.
func certificateRequest(pol *fips.Policy, t kmip.CertificateRequestType, der []byte) (*wish, error) {
	if der == nil {
		if t != 0 {
			return nil, badField("Certificate Request Type needs a Certificate Request")
		}
		return nil, nil
	}
	switch t {
	case kmip.CertificateRequestTypePKCS10:
		return readPKCS10(pol, der)
	case kmip.CertificateRequestTypeCRMF:
		return readCRMF(pol, der)
	case 0:
		return nil, kmip.Errorf(kmip.ResultReasonInvalidMessage, "Certificate Request Type is missing beside Certificate Request")
	}
	return nil, badField("Certificate Request Type %s is not supported", t)
}

// readPKCS10 reads a request of RFC 2986.
func readPKCS10(pol *fips.Policy, der []byte) (*wish, error) {
	csr, err := x509.ParseCertificateRequest(append([]byte(nil), der...))
	if err != nil {
		return nil, notSigned("it is not PKCS#10", err)
	}
	if err := allowsRequest(pol, csr.SignatureAlgorithm, csr.PublicKey); err != nil {
		return nil, err
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, notSigned("its signature is not valid", err)
	}
	w := &wish{key: csr.PublicKey}
	if len(csr.Subject.ToRDNSequence()) > 0 {
		w.subject = csr.RawSubject
	}
	return w, w.take(csr.Extensions)
}

var (
	oidKeyUsage         = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidAlternativeName  = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidExtendedKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidInvalidityDate   = asn1.ObjectIdentifier{2, 5, 29, 24}
)

// take reads the extensions that a request asks for. Others than these are the authority's to decide and are left out.
func (w *wish) take(list []pkix.Extension) error {
	for _, e := range list {
		var err error
		switch {
		case e.Id.Equal(oidAlternativeName):
			w.names = e.Value
			_, _, err = splitNames(e.Value)
		case e.Id.Equal(oidKeyUsage):
			var bits asn1.BitString
			err = unmarshalAll(e.Value, &bits)
			w.usage = usageOf(bits)
		case e.Id.Equal(oidExtendedKeyUsage):
			err = unmarshalAll(e.Value, &w.extended)
		}
		if err != nil {
			return notSigned("an extension is not well formed", err)
		}
	}
	return nil
}

// usageOf turns the bits of a keyUsage extension into Go's.
func usageOf(bits asn1.BitString) x509.KeyUsage {
	var u x509.KeyUsage
	for i := range 9 {
		if bits.At(i) != 0 {
			u |= 1 << i
		}
	}
	return u
}

// unmarshalAll reads DER that must end with the value.
func unmarshalAll(der []byte, v any) error {
	rest, err := asn1.Unmarshal(der, v)
	if err == nil && len(rest) > 0 {
		err = asn1.SyntaxError{Msg: "trailing data"}
	}
	return err
}

// splitNames finds the DNS names and IP addresses in GeneralNames, as far as a profile has rules on them.
func splitNames(der []byte) (dns []string, ips []net.IP, err error) {
	var list []asn1.RawValue
	if err := unmarshalAll(der, &list); err != nil {
		return nil, nil, err
	}
	for _, n := range list {
		switch {
		case n.Class != asn1.ClassContextSpecific:
			return nil, nil, asn1.StructuralError{Msg: "not a GeneralName"}
		case n.Tag == nameDNS:
			dns = append(dns, string(n.Bytes))
		case n.Tag == nameIP:
			ips = append(ips, n.Bytes)
		}
	}
	if len(list) == 0 {
		err = asn1.StructuralError{Msg: "no names"}
	}
	return dns, ips, err
}

// signatureHashes are the hashes of the signatures that requests and certificates have.
var signatureHashes = map[x509.SignatureAlgorithm]kmip.HashingAlgorithm{
	x509.SHA1WithRSA: kmip.HashingAlgorithmSHA1, x509.ECDSAWithSHA1: kmip.HashingAlgorithmSHA1,
	x509.SHA256WithRSA: kmip.HashingAlgorithmSHA256, x509.ECDSAWithSHA256: kmip.HashingAlgorithmSHA256, x509.SHA256WithRSAPSS: kmip.HashingAlgorithmSHA256,
	x509.SHA384WithRSA: kmip.HashingAlgorithmSHA384, x509.ECDSAWithSHA384: kmip.HashingAlgorithmSHA384, x509.SHA384WithRSAPSS: kmip.HashingAlgorithmSHA384,
	x509.SHA512WithRSA: kmip.HashingAlgorithmSHA512, x509.ECDSAWithSHA512: kmip.HashingAlgorithmSHA512, x509.SHA512WithRSAPSS: kmip.HashingAlgorithmSHA512,
	x509.PureEd25519: kmip.HashingAlgorithmSHA512,
}

// subjectOf finds the subject that the attributes of a request name, when it has no certificate request: X.509
// Certificate Subject, Certificate Subject (as text), or the parts that KMIP 1.4 has. The attributes themselves are read
// from the certificate afterwards (sections 3.11, 3.14).
func (w *wish) subjectOf(levels []level) error {
	if v := attributeIn(levels, "X.509 Certificate Subject"); !v.IsZero() {
		return w.binarySubject(v)
	}
	if v := attributeIn(levels, "Certificate Subject"); !v.IsZero() {
		return w.textSubject(v)
	}
	return w.partsSubject(levels)
}

// named is the subject of a certificate whose request names none: its first Name, or else its key's.
func (w *wish) named(o, pub object) error {
	for _, from := range []object{o, pub} {
		if from.Record == nil {
			continue
		}
		if v := from.get("Name").Find(kmip.TagNameValue); !v.IsZero() && len(v.Text()) <= 64 {
			a, err := namePair(asn1.ObjectIdentifier{2, 5, 4, 3}, v.Text())
			if err != nil {
				return badField("the Name cannot be a common name; name the Certificate Subject")
			}
			w.subject, err = asn1.Marshal(pkix.RDNSequence{{a}})
			return err
		}
	}
	return badField("the certificate needs a subject: a Certificate Request, a Certificate Subject or a Name of at most 64 octets")
}
