package keystore

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// nameTypes are the attribute types that a distinguished name as text may have (RFC 4514 section 3, RFC 5280 section
// 4.1.2.4 and what is common).
var nameTypes = map[string]string{
	"CN": "2.5.4.3", "SN": "2.5.4.4", "SERIALNUMBER": "2.5.4.5", "C": "2.5.4.6", "L": "2.5.4.7", "ST": "2.5.4.8", "S": "2.5.4.8",
	"STREET": "2.5.4.9", "O": "2.5.4.10", "OU": "2.5.4.11", "T": "2.5.4.12", "TITLE": "2.5.4.12", "POSTALCODE": "2.5.4.17",
	"GIVENNAME": "2.5.4.42", "DNQUALIFIER": "2.5.4.46", "UID": "0.9.2342.19200300.100.1.1", "DC": "0.9.2342.19200300.100.1.25",
	"E": "1.2.840.113549.1.9.1", "EMAIL": "1.2.840.113549.1.9.1", "EMAILADDRESS": "1.2.840.113549.1.9.1",
}

// ia5Types are those whose values are IA5Strings.
var ia5Types = []string{"0.9.2342.19200300.100.1.25", "1.2.840.113549.1.9.1"}

const countryType = "2.5.4.6"

// maxNameParts bounds a distinguished name.
const maxNameParts = 32

var errName = errors.New("not a distinguished name of RFC 4514")

// ParseName turns a distinguished name as text (RFC 4514: last component first) into DER.
func ParseName(text string) ([]byte, error) {
	if len(text) > 4096 || !utf8.ValidString(text) {
		return nil, errName
	}
	var rdns pkix.RDNSequence
	for _, component := range splitName(text, ',', ';') {
		var set pkix.RelativeDistinguishedNameSET
		for _, pair := range splitName(component, '+') {
			a, err := parsePair(pair)
			if err != nil {
				return nil, err
			}
			set = append(set, a)
		}
		rdns = append(rdns, set)
	}
	if len(rdns) > maxNameParts {
		return nil, errName
	}
	slices.Reverse(rdns)
	der, err := asn1.Marshal(rdns)
	if err != nil {
		return nil, err
	}
	// A value in hexadecimal may be DER outside and noise inside, which would make a certificate that nobody can read.
	if err := unmarshalAll(der, new(pkix.RDNSequence)); err != nil {
		return nil, errName
	}
	return der, nil
}

// splitName splits at separators that are not escaped.
func splitName(s string, seps ...byte) []string {
	var out []string
	start := 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
		case slices.Contains(seps, s[i]):
			out = append(out, s[start:i])
			start = i + 1
		}
	}
	return append(out, s[start:])
}

func parsePair(pair string) (pkix.AttributeTypeAndValue, error) {
	name, value, ok := strings.Cut(pair, "=")
	name = strings.TrimSpace(name)
	if !ok || name == "" {
		return pkix.AttributeTypeAndValue{}, errName
	}
	if number, known := nameTypes[strings.ToUpper(name)]; known {
		name = number
	}
	oid, err := parseOID(strings.TrimPrefix(strings.ToLower(name), "oid."))
	if err != nil {
		return pkix.AttributeTypeAndValue{}, fmt.Errorf("%w: %q is no attribute type", errName, name)
	}
	value = strings.TrimLeft(value, " ")
	if strings.HasPrefix(value, "#") {
		der, err := hex.DecodeString(strings.TrimSpace(value[1:]))
		var raw asn1.RawValue
		if rest, perr := asn1.Unmarshal(der, &raw); err != nil || perr != nil || len(rest) > 0 {
			return pkix.AttributeTypeAndValue{}, errName
		}
		return pkix.AttributeTypeAndValue{Type: oid, Value: raw}, nil
	}
	text, err := unescapeName(value)
	if err != nil {
		return pkix.AttributeTypeAndValue{}, err
	}
	return namePair(oid, text)
}

// namePair makes one attribute of a name with the string type that RFC 5280 wants.
func namePair(oid asn1.ObjectIdentifier, text string) (pkix.AttributeTypeAndValue, error) {
	a := pkix.AttributeTypeAndValue{Type: oid, Value: text}
	switch {
	case text == "" || len(text) > 1024 || !utf8.ValidString(text) || strings.ContainsRune(text, 0):
		return a, errName
	case oid.String() == countryType && len(text) != 2:
		return a, fmt.Errorf("%w: a country has two letters", errName)
	case slices.Contains(ia5Types, oid.String()):
		if strings.IndexFunc(text, func(r rune) bool { return r > 127 }) >= 0 {
			return a, errName
		}
		a.Value = asn1.RawValue{Tag: asn1.TagIA5String, Bytes: []byte(text)}
	}
	return a, nil
}

// unescapeName undoes the escapes of RFC 4514 section 2.4, and takes off blanks at the end that are not escaped.
func unescapeName(s string) (string, error) {
	var b []byte
	keep := 0
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b = append(b, s[i])
			if s[i] != ' ' {
				keep = len(b)
			}
			continue
		}
		switch {
		case i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			v, _ := strconv.ParseUint(s[i+1:i+3], 16, 8) // two hexadecimal digits
			b = append(b, byte(v))
			i += 2
		case i+1 < len(s):
			b = append(b, s[i+1])
			i++
		default:
			return "", errName
		}
		keep = len(b)
	}
	return string(b[:keep]), nil
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// parseOID reads an object identifier with dots.
func parseOID(s string) (asn1.ObjectIdentifier, error) {
	parts := strings.Split(s, ".")
	if len(parts) < 3 || len(parts) > 32 {
		return nil, errName
	}
	oid := make(asn1.ObjectIdentifier, len(parts))
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 31)
		if err != nil {
			return nil, errName
		}
		oid[i] = int(n)
	}
	if oid[0] > 2 || oid[0] < 2 && oid[1] > 39 {
		return nil, errName
	}
	return oid, nil
}

// The tags of GeneralName (RFC 5280 section 4.2.1.6) that text can stand for.
const (
	nameEmail = 1
	nameDNS   = 2
	nameURI   = 6
	nameIP    = 7
)

// alternativeName is the GeneralName of an alternative name as text: "DNS:", "IP:", "email:" or "URI:" say what it is,
// without them its look does.
func alternativeName(text string) (asn1.RawValue, error) {
	kind, rest, ok := strings.Cut(text, ":")
	tag := 0
	if ok {
		switch strings.ToUpper(kind) {
		case "DNS":
			tag, text = nameDNS, rest
		case "IP":
			tag, text = nameIP, rest
		case "EMAIL":
			tag, text = nameEmail, rest
		case "URI":
			tag, text = nameURI, rest
		}
	}
	addr, err := netip.ParseAddr(text)
	switch {
	case tag == 0 && err == nil:
		tag = nameIP
	case tag == 0 && strings.Contains(text, "://"):
		tag = nameURI
	case tag == 0 && strings.Contains(text, "@"):
		tag = nameEmail
	case tag == 0:
		tag = nameDNS
	}
	value := []byte(text)
	if tag == nameIP {
		if err != nil || addr.Zone() != "" {
			return asn1.RawValue{}, fmt.Errorf("%q is no IP address", text)
		}
		value = addr.Unmap().AsSlice()
	} else if text == "" || strings.IndexFunc(text, func(r rune) bool { return r <= ' ' || r > 126 }) >= 0 {
		return asn1.RawValue{}, fmt.Errorf("%q is no alternative name", text)
	}
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: value}, nil
}
