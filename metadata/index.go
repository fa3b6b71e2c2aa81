package metadata

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// IndexRules numbers the rules of this file. An engine that finds another number in its store builds its indexes anew, so
// change it whenever the terms of any value change.
const IndexRules = 1

// fields is one way to index a structure: by the values of these members together. A value that lacks one of them has no
// term of this way.
type fields []ttlv.Tag

// structureTerms says how structured attributes are indexed, the most selective way first. A Locate filter matches on the
// fields it has, so a term may only be built from fields, never from the whole structure: a filter with the subject's
// distinguished name alone must find certificates that have alternative names too.
var structureTerms = map[string][]fields{
	"Name": {{kmip.TagNameValue}},
	"Application Specific Information": {
		{kmip.TagApplicationNamespace, kmip.TagApplicationData},
		{kmip.TagApplicationNamespace},
	},
	"Alternative Name": {{kmip.TagAlternativeNameValue}},
	"Link": {
		{kmip.TagLinkType, kmip.TagLinkedObjectIdentifier},
		{kmip.TagLinkedObjectIdentifier},
	},
	"Digest": {{kmip.TagDigestValue}},
	"X.509 Certificate Identifier": {
		{kmip.TagIssuerDistinguishedName, kmip.TagCertificateSerialNumber},
		{kmip.TagCertificateSerialNumber},
		{kmip.TagIssuerDistinguishedName},
	},
	"X.509 Certificate Subject": {{kmip.TagSubjectDistinguishedName}},
	"X.509 Certificate Issuer":  {{kmip.TagIssuerDistinguishedName}},
	"Certificate Identifier": {
		{kmip.TagIssuer, kmip.TagSerialNumber},
		{kmip.TagSerialNumber},
		{kmip.TagIssuer},
	},
	"Certificate Subject": {{kmip.TagCertificateSubjectDistinguishedName}},
	"Certificate Issuer":  {{kmip.TagCertificateIssuerDistinguishedName}},
}

// wholeTerms are the attributes that are indexed by their one value.
var wholeTerms = map[string]bool{
	objectTypeName:            true,
	"Cryptographic Algorithm": true,
	"Cryptographic Length":    true,
	"Certificate Type":        true,
	"Object Group":            true,
	"Contact Information":     true,
	"Operation Policy Name":   true,
}

const (
	objectTypeName = "Object Type"
	nameName       = "Name"
)

func custom(attr string) bool { return strings.HasPrefix(attr, "x-") || strings.HasPrefix(attr, "y-") }

// IndexTerms are the terms that an attribute instance puts into the index; none for attributes that are not indexed
// (masks, dates, State: they are evaluated) and for values that lack the indexed fields.
func IndexTerms(attr string, value ttlv.Item) []Term {
	return appendTerms(nil, attr, value)
}

func appendTerms(out []Term, attr string, value ttlv.Item) []Term {
	if wholeTerms[attr] || custom(attr) {
		if value.Type == ttlv.Structure || value.IsZero() {
			return out
		}
		return append(out, Term{attr, termOf(0, value)})
	}
	for way, f := range structureTerms[attr] {
		if t, ok := structureTerm(attr, way, f, value); ok {
			out = append(out, t)
		}
	}
	return out
}

// QueryTerm is the most selective term that every object matching the Locate filter has; false when no term can be used
// and the filter has to be evaluated on each record. A term may be wider than the filter, so evaluate the filter as
// well. A custom attribute of type Date-Time has an exact term: do not ask for one end of a range.
func QueryTerm(attr string, value ttlv.Item) (Term, bool) {
	if wholeTerms[attr] || custom(attr) {
		if value.Type == ttlv.Structure || value.IsZero() {
			return Term{}, false
		}
		return Term{attr, termOf(0, value)}, true
	}
	for way, f := range structureTerms[attr] {
		if t, ok := structureTerm(attr, way, f, value); ok {
			return t, true
		}
	}
	return Term{}, false
}

// NameTerm is the term of a Name by its Name Value.
func NameTerm(name string) Term {
	return Term{nameName, termOf(0, ttlv.Item{Type: ttlv.TextString, Value: []byte(name)})}
}

// ObjectTypeTerm is the term of an Object Type.
func ObjectTypeTerm(t kmip.ObjectType) Term {
	var v [4]byte
	binary.BigEndian.PutUint32(v[:], uint32(t))
	return Term{objectTypeName, termOf(0, ttlv.Item{Type: ttlv.Enumeration, Value: v[:]})}
}

// RecordTerms are the terms of a record, in no order; a term may stand twice. Object Type comes from the record itself.
func RecordTerms(r *Record) []Term {
	out := make([]Term, 0, len(r.Attributes)+1)
	out = append(out, ObjectTypeTerm(r.ObjectType))
	for i := range r.Attributes {
		if a := &r.Attributes[i]; a.Name != objectTypeName {
			out = appendTerms(out, a.Name, a.Value)
		}
	}
	return out
}

// Names are the values of the record's Name attributes.
func (r *Record) Names() []string {
	var out []string
	for i := range r.Attributes {
		if a := &r.Attributes[i]; a.Name == nameName {
			if v := a.Value.Find(kmip.TagNameValue); v.Type == ttlv.TextString {
				out = append(out, v.Text())
			}
		}
	}
	return out
}

// maxLiteral is how long a term may be before its hash stands in for it: index keys stay short whatever clients send.
const maxLiteral = 64

const hashed = 0xFF // first octet of a hashed term; others start with the way they were made

// structureTerm is false when the value lacks one of the fields.
func structureTerm(attr string, way int, f fields, value ttlv.Item) (Term, bool) {
	if value.Type != ttlv.Structure {
		return Term{}, false
	}
	var found [2]ttlv.Item // no way has more fields
	for i, tag := range f {
		if found[i] = value.Find(tag); found[i].IsZero() {
			return Term{}, false
		}
	}
	return Term{attr, termOf(byte(way), found[:len(f)]...)}, true
}

// termOf joins values, each with type and length so that no two lists of values look alike.
func termOf(way byte, values ...ttlv.Item) []byte {
	n := 1
	for _, v := range values {
		n += 5 + len(v.Value)
	}
	b := append(make([]byte, 0, n), way)
	for _, v := range values {
		b = append(b, byte(v.Type))
		b = binary.BigEndian.AppendUint32(b, uint32(len(v.Value)))
		b = append(b, v.Value...)
	}
	if len(b) <= maxLiteral {
		return b
	}
	sum := sha256.Sum256(b)
	return append(append(b[:0], hashed), sum[:]...)
}

// intern gives the common attribute names without allocating.
func intern(b []byte) string {
	if s, ok := commonNames[string(b)]; ok {
		return s
	}
	return string(b)
}

var commonNames = func() map[string]string {
	m := make(map[string]string)
	for _, s := range []string{
		"Unique Identifier", nameName, objectTypeName, "Cryptographic Algorithm", "Cryptographic Length",
		"Cryptographic Parameters", "Cryptographic Domain Parameters", "Certificate Type", "Certificate Length",
		"X.509 Certificate Identifier", "X.509 Certificate Subject", "X.509 Certificate Issuer", "Certificate Identifier",
		"Certificate Subject", "Certificate Issuer", "Digital Signature Algorithm", "Digest", "Operation Policy Name",
		"Cryptographic Usage Mask", "Lease Time", "Usage Limits", "State", "Initial Date", "Activation Date",
		"Process Start Date", "Protect Stop Date", "Deactivation Date", "Destroy Date", "Compromise Occurrence Date",
		"Compromise Date", "Revocation Reason", "Archive Date", "Object Group", "Fresh", "Link",
		"Application Specific Information", "Contact Information", "Last Change Date", "Alternative Name",
		"Key Value Present", "Key Value Location", "Original Creation Date", "Random Number Generator",
		"PKCS#12 Friendly Name", "Description", "Comment", "Sensitive", "Always Sensitive", "Extractable",
		"Never Extractable", "Short Unique Identifier", "Key Format Type", "Protection Storage Mask",
	} {
		m[s] = s
	}
	return m
}()
