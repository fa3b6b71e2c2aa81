package metadata_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
	"kmipd/metadata"
	"kmipd/metadata/metadatatest"
)

func TestIndexAndQuery(t *testing.T) {
	long := strings.Repeat("x", 5000)
	s := metadatatest.Structure
	txt := func(tag ttlv.Tag, v string) []byte { return ttlv.AppendText(nil, tag, v) }
	raw := func(tag ttlv.Tag, v string) []byte { return ttlv.AppendBytes(nil, tag, []byte(v)) }
	enum := func(tag ttlv.Tag, v uint32) []byte { return ttlv.AppendEnum(nil, tag, v) }
	name, link := metadatatest.Name("n"), metadatatest.Link(3, "u")
	app := metadatatest.Application("ns", "d")
	alt := s(txt(kmip.TagAlternativeNameValue, "n"), enum(kmip.TagAlternativeNameType, 1))
	digest := metadatatest.Digest([]byte("sum"))
	subject := s(raw(kmip.TagSubjectDistinguishedName, "dn"), raw(kmip.TagSubjectAlternativeName, "san"))
	issuer := s(raw(kmip.TagIssuerDistinguishedName, "dn"))
	ident := s(raw(kmip.TagIssuerDistinguishedName, "dn"), raw(kmip.TagCertificateSerialNumber, "7"))
	for _, c := range []struct {
		what   string
		attr   string
		stored ttlv.Item
		filter ttlv.Item
		terms  int  // of the stored value
		usable bool // the filter has a term
		found  bool // which is among them
	}{
		{"name", "Name", name, name, 1, true, true},
		{"name by value only", "Name", name, s(txt(kmip.TagNameValue, "n")), 1, true, true},
		{"name by type only", "Name", name, s(enum(kmip.TagNameType, 1)), 1, false, false},
		{"another name", "Name", name, metadatatest.Name("N"), 1, true, false},
		{"name of the wrong type", "Name", metadatatest.Text("n"), name, 0, true, false},
		{"enumeration", "Cryptographic Algorithm", metadatatest.Enum(3), metadatatest.Enum(3), 1, true, true},
		{"other enumeration", "Cryptographic Algorithm", metadatatest.Enum(3), metadatatest.Enum(4), 1, true, false},
		{"length", "Cryptographic Length", metadatatest.Integer(256), metadatatest.Integer(256), 1, true, true},
		{"group", "Object Group", metadatatest.Text("g"), metadatatest.Text("g"), 1, true, true},
		{"empty group", "Object Group", metadatatest.Text(""), metadatatest.Text(""), 1, true, true},
		{"long contact", "Contact Information", metadatatest.Text(long), metadatatest.Text(long), 1, true, true},
		{"other long contact", "Contact Information", metadatatest.Text(long), metadatatest.Text(long + "x"), 1, true, false},
		{"certificate type", "Certificate Type", metadatatest.Enum(1), metadatatest.Enum(1), 1, true, true},
		{"policy name", "Operation Policy Name", metadatatest.Text("default"), metadatatest.Text("default"), 1, true, true},
		{"application", "Application Specific Information", app, app, 2, true, true},
		{"namespace", "Application Specific Information", app, s(txt(kmip.TagApplicationNamespace, "ns")), 2, true, true},
		{"application data only", "Application Specific Information", app, s(txt(kmip.TagApplicationData, "d")), 2, false, false},
		{"namespace without data", "Application Specific Information", s(txt(kmip.TagApplicationNamespace, "ns")), app, 1, true, false},
		{"alternative name", "Alternative Name", alt, alt, 1, true, true},
		{"link", "Link", link, link, 2, true, true},
		{"link identifier", "Link", link, s(txt(kmip.TagLinkedObjectIdentifier, "u")), 2, true, true},
		{"link of another type", "Link", link, metadatatest.Link(4, "u"), 2, true, false},
		{"link type only", "Link", link, s(enum(kmip.TagLinkType, 3)), 2, false, false},
		{"digest", "Digest", digest, s(raw(kmip.TagDigestValue, "sum")), 1, true, true},
		{"digest algorithm only", "Digest", digest, s(enum(kmip.TagHashingAlgorithm, 6)), 1, false, false},
		{"subject", "X.509 Certificate Subject", subject, subject, 1, true, true},
		{"subject without alternative name", "X.509 Certificate Subject", subject, s(raw(kmip.TagSubjectDistinguishedName, "dn")), 1, true, true},
		{"alternative name of a subject", "X.509 Certificate Subject", subject, s(raw(kmip.TagSubjectAlternativeName, "san")), 1, false, false},
		{"issuer", "X.509 Certificate Issuer", issuer, issuer, 1, true, true},
		{"certificate identifier", "X.509 Certificate Identifier", ident, ident, 3, true, true},
		{"serial number", "X.509 Certificate Identifier", ident, s(raw(kmip.TagCertificateSerialNumber, "7")), 3, true, true},
		{"issuer of an identifier", "X.509 Certificate Identifier", ident, issuer, 3, true, true},
		{"custom text", "x-a", metadatatest.Text("1"), metadatatest.Text("1"), 1, true, true},
		{"custom octets are not text", "x-a", metadatatest.Text("1"), ttlv.Item{Type: ttlv.ByteString, Value: []byte("1")}, 1, true, false},
		{"custom integer is not an enumeration", "y-a", metadatatest.Integer(1), metadatatest.Enum(1), 1, true, false},
		{"custom date", "y-a", metadatatest.Date(metadatatest.Epoch), metadatatest.Date(metadatatest.Epoch), 1, true, true},
		{"custom structure", "x-a", s(), s(), 0, false, false},
		{"mask", "Cryptographic Usage Mask", metadatatest.Integer(3), metadatatest.Integer(3), 0, false, false},
		{"state", "State", metadatatest.Enum(1), metadatatest.Enum(1), 0, false, false},
		{"date", "Activation Date", metadatatest.Date(metadatatest.Epoch), metadatatest.Date(metadatatest.Epoch), 0, false, false},
		{"unknown", "Nonsense", metadatatest.Text("n"), metadatatest.Text("n"), 0, false, false},
	} {
		terms := metadata.IndexTerms(c.attr, c.stored)
		if len(terms) != c.terms {
			t.Errorf("%s: %d terms, want %d", c.what, len(terms), c.terms)
		}
		for _, term := range terms {
			if len(term.Value) > 64 {
				t.Errorf("%s: a term has %d octets", c.what, len(term.Value))
			}
		}
		q, ok := metadata.QueryTerm(c.attr, c.filter)
		if ok != c.usable {
			t.Errorf("%s: usable %t, want %t", c.what, ok, c.usable)
		}
		found := slices.ContainsFunc(terms, func(x metadata.Term) bool { return x.Attr == q.Attr && string(x.Value) == string(q.Value) })
		if found && ok != c.found || ok && found != c.found {
			t.Errorf("%s: found %t, want %t", c.what, found, c.found)
		}
	}
}

// Values that run together when they are simply joined have terms of their own.
func TestTermsDiffer(t *testing.T) {
	seen := make(map[string]string)
	for _, parts := range [][2]string{{"a", "bc"}, {"ab", "c"}, {"abc", ""}, {"", "abc"}, {"a\x00", "b"}, {"a", "\x00b"},
		{strings.Repeat("a", 100), "b"}, {strings.Repeat("a", 99), "ab"}} {
		term, _ := metadata.QueryTerm("Application Specific Information", metadatatest.Application(parts[0], parts[1]))
		v := fmt.Sprintf("%q", parts)
		if other, ok := seen[string(term.Value)]; ok {
			t.Errorf("%s and %s have the same term", v, other)
		}
		seen[string(term.Value)] = v
	}
}

func TestRecordTerms(t *testing.T) {
	r := metadatatest.Key("o", "u", 1, "n")
	r.ObjectType = kmip.ObjectTypeCertificate // wins over the attribute
	var types []metadata.Term
	for _, term := range metadata.RecordTerms(r) {
		if term.Attr == "Object Type" {
			types = append(types, term)
		}
	}
	want := metadata.ObjectTypeTerm(kmip.ObjectTypeCertificate)
	if len(types) != 1 || string(types[0].Value) != string(want.Value) {
		t.Errorf("Object Type: got %v, want %v", types, want)
	}
	q, _ := metadata.QueryTerm("Name", metadatatest.Name("n"))
	if n := metadata.NameTerm("n"); n.Attr != q.Attr || string(n.Value) != string(q.Value) {
		t.Errorf("NameTerm: got %v, want %v", n, q)
	}
}
