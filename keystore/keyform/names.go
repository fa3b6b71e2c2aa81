package keyform

import (
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

func octetString(b []byte) ttlv.Item {
	return ttlv.Item{Tag: kmip.TagKeyMaterial, Type: ttlv.ByteString, Value: b}
}

// attributeNames are the names of RFC 4514 section 3, and of what else is common in certificates.
var attributeNames = map[string]string{
	"\x55\x04\x03": "CN",
	"\x55\x04\x04": "SN",
	"\x55\x04\x05": "SERIALNUMBER",
	"\x55\x04\x06": "C",
	"\x55\x04\x07": "L",
	"\x55\x04\x08": "ST",
	"\x55\x04\x09": "STREET",
	"\x55\x04\x0a": "O",
	"\x55\x04\x0b": "OU",
	"\x55\x04\x0c": "TITLE",
	"\x55\x04\x11": "POSTALCODE",
	"\x55\x04\x2a": "GIVENNAME",
	"\x55\x04\x2e": "DNQUALIFIER",
	"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01": "UID",
	"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19": "DC",
	"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01":     "EMAILADDRESS",
}

// nameText is a DER Name as text (RFC 4514): last component first, separated by commas without blanks, as the OASIS cases
// have it in the certificate attributes of KMIP 1.0.
func nameText(name []byte) (string, bool) {
	top := reader{rest: name}
	seq := top.enter(derSeq)
	var parts []string
	for len(seq.rest) > 0 && !seq.failed {
		set := seq.enter(derSet)
		var pairs []string
		for len(set.rest) > 0 && !set.failed {
			pair := set.enter(derSeq)
			oid := pair.next(derOID)
			tag, body, full := pair.any()
			if !pair.done() {
				return "", false
			}
			pairs = append(pairs, pairText(oid, tag, body, full))
		}
		if set.failed {
			return "", false
		}
		parts = append([]string{strings.Join(pairs, "+")}, parts...)
	}
	return strings.Join(parts, ","), top.done() && seq.done()
}

// pairText is one attribute of a name. An unknown attribute, or a value that is no text, is in hexadecimal (RFC 4514
// section 2.4).
func pairText(oid []byte, tag byte, body, full []byte) string {
	name, known := attributeNames[string(oid)]
	text, ok := stringText(tag, body)
	if !known {
		return oidText(oid) + "=#" + hex.EncodeToString(full)
	}
	if !ok {
		return name + "=#" + hex.EncodeToString(full)
	}
	return name + "=" + escape(text)
}

// stringText decodes the string types of X.520.
func stringText(tag byte, body []byte) (string, bool) {
	switch tag {
	case derUTF8, derPrintable, derIA5, derNumeric:
		return string(body), utf8.Valid(body)
	case derT61:
		// Latin-1 in practice.
		runes := make([]rune, len(body))
		for i, b := range body {
			runes[i] = rune(b)
		}
		return string(runes), true
	case derBMP:
		if len(body)%2 != 0 {
			return "", false
		}
		units := make([]uint16, len(body)/2)
		for i := range units {
			units[i] = uint16(body[2*i])<<8 | uint16(body[2*i+1])
		}
		return string(utf16.Decode(units)), true
	case derUniversal:
		if len(body)%4 != 0 {
			return "", false
		}
		runes := make([]rune, len(body)/4)
		for i := range runes {
			b := body[4*i:]
			runes[i] = rune(b[0])<<24 | rune(b[1])<<16 | rune(b[2])<<8 | rune(b[3])
		}
		return string(runes), true
	}
	return "", false
}

// escape escapes a value (RFC 4514 section 2.4).
func escape(s string) string {
	if !strings.ContainsAny(s, "\"+,;<>\\\x00") && !strings.HasPrefix(s, " ") && !strings.HasPrefix(s, "#") &&
		!strings.HasSuffix(s, " ") {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == 0:
			b.WriteString(`\00`)
			continue
		case strings.ContainsRune(`"+,;<>\`, r), i == 0 && (r == ' ' || r == '#'), i == len(s)-1 && r == ' ':
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// oidText is an OBJECT IDENTIFIER with dots.
func oidText(oid []byte) string {
	var parts []string
	var n uint64
	for _, b := range oid {
		if n >= 1<<56 {
			return "oid." + hex.EncodeToString(oid)
		}
		n = n<<7 | uint64(b&0x7f)
		if b&0x80 != 0 {
			continue
		}
		if parts == nil {
			first := min(n/40, 2)
			parts = append(parts, strconv.FormatUint(first, 10))
			n -= 40 * first
		}
		parts = append(parts, strconv.FormatUint(n, 10))
		n = 0
	}
	return strings.Join(parts, ".")
}

// generalNames reads GeneralNames (RFC 5280 section 4.2.1.6): each as it stands, and as text.
func generalNames(r *reader) (ders [][]byte, texts []string, ok bool) {
	seq := r.enter(derSeq)
	for len(seq.rest) > 0 && !seq.failed {
		tag, body, full := seq.any()
		if seq.failed || tag < 0x80 {
			return nil, nil, false
		}
		ders = append(ders, full)
		texts = append(texts, generalNameText(tag, body, full))
	}
	return ders, texts, r.done() && seq.done()
}

// generalNameText is an alternative name as text: KMIP 1.4 sections 3.14 and 3.15 name e-mail addresses, IP addresses and
// DNS names. What is no text by nature is in hexadecimal.
func generalNameText(tag byte, body, full []byte) string {
	switch tag {
	case 0x81, 0x82, 0x86: // rfc822Name, dNSName, uniformResourceIdentifier
		if utf8.Valid(body) {
			return string(body)
		}
	case 0xA4: // directoryName
		if text, ok := nameText(body); ok {
			return text
		}
	case 0x87: // iPAddress
		if addr, ok := netip.AddrFromSlice(body); ok {
			return addr.String()
		}
	case 0x88: // registeredID
		return oidText(body)
	}
	return "#" + hex.EncodeToString(full)
}
