package keystore

import (
	"crypto/x509/pkix"
	"encoding/asn1"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// binarySubject takes the subject from an X.509 Certificate Subject: a DER Name, and whole DER GeneralNames.
func (w *wish) binarySubject(v ttlv.Item) error {
	var cs kmip.X509CertificateSubject
	if err := cs.Decode(v); err != nil {
		return invalidField("X.509 Certificate Subject", err)
	}
	var rdns pkix.RDNSequence
	if len(cs.SubjectDistinguishedName) > 0 {
		if err := unmarshalAll(cs.SubjectDistinguishedName, &rdns); err != nil {
			return because(badField("Subject Distinguished Name is not a DER Name"), err)
		}
	}
	if len(rdns) > 0 {
		w.subject = append([]byte(nil), cs.SubjectDistinguishedName...)
	}
	var names []asn1.RawValue
	for _, der := range cs.SubjectAlternativeName {
		names = append(names, asn1.RawValue{FullBytes: der})
	}
	return w.putNames(names)
}

// textSubject takes the subject from a Certificate Subject.
func (w *wish) textSubject(v ttlv.Item) error {
	var cs kmip.CertificateSubject
	if err := cs.Decode(v); err != nil {
		return invalidField("Certificate Subject", err)
	}
	if text := cs.CertificateSubjectDistinguishedName; text != "" {
		der, err := ParseName(text)
		if err != nil {
			return because(badField("Certificate Subject Distinguished Name is not a distinguished name"), err)
		}
		w.subject = der
	}
	var names []asn1.RawValue
	for _, text := range cs.CertificateSubjectAlternativeName {
		n, err := alternativeName(text)
		if err != nil {
			return because(badField("Certificate Subject Alternative Name is neither DNS name, IP address, e-mail address nor URI"), err)
		}
		names = append(names, n)
	}
	return w.putNames(names)
}

// putNames sets the alternative names, which must be GeneralNames.
func (w *wish) putNames(names []asn1.RawValue) error {
	if len(names) == 0 {
		return nil
	}
	der, err := asn1.Marshal(names)
	if err == nil {
		_, _, err = splitNames(der)
	}
	if err != nil {
		return because(badField("an alternative name of the subject is not a GeneralName"), err)
	}
	w.names = der
	return nil
}

// subjectParts are the parts of a subject in the order in which a name has them.
var subjectParts = []string{
	"0.9.2342.19200300.100.1.25", "2.5.4.6", "2.5.4.8", "2.5.4.7", "2.5.4.10", "2.5.4.11", "0.9.2342.19200300.100.1.1", "2.5.4.12",
	"2.5.4.5", "2.5.4.46", "1.2.840.113549.1.9.1", "2.5.4.3",
}

// partsSubject puts the subject together from Certificate Subject CN and the like (KMIP 1.4 section 3.14).
func (w *wish) partsSubject(levels []level) error {
	var rdns pkix.RDNSequence
	for _, part := range subjectParts {
		oid, err := parseOID(part)
		if err != nil {
			return err
		}
		name := "Certificate Subject " + namePart[part]
		for _, l := range levels {
			found := false
			for _, a := range l.attrs {
				if a.Name != name {
					continue
				}
				found = true
				if a.Value.Type != ttlv.TextString {
					return badField("%s must be of type Text String", name)
				}
				pair, err := namePair(oid, a.Value.Text())
				if err != nil {
					return because(badField("%s is not fit for a distinguished name", name), err)
				}
				rdns = append(rdns, pkix.RelativeDistinguishedNameSET{pair})
			}
			if found {
				break // the highest level decides
			}
		}
	}
	if len(rdns) == 0 {
		return nil
	}
	if len(rdns) > maxNameParts {
		return badField("the subject has too many parts")
	}
	var err error
	w.subject, err = asn1.Marshal(rdns)
	return err
}
