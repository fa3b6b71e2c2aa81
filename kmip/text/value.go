package text

import (
	"bytes"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// typeIdents are the names of the types, by type. Those of the specification lose blanks and hyphens (section 4.1.4).
var typeIdents = func() (out [ttlv.DateTimeExtended + 1]string) {
	for t := ttlv.Structure; t <= ttlv.DateTimeExtended; t++ {
		out[t] = strings.NewReplacer(" ", "", "-", "").Replace(t.String())
	}
	return out
}()

func typeByIdent(ident []byte) (ttlv.Type, bool) {
	for t := ttlv.Structure; t <= ttlv.DateTimeExtended; t++ {
		if typeIdents[t] == string(ident) {
			return t, true
		}
	}
	return 0, false
}

// tag reads a name or a number; 0 for neither. An element of XML cannot begin with a digit: there x540001 is a number.
func parseTag(text []byte) ttlv.Tag {
	if tag, ok := kmip.TagByIdent(text); ok {
		return tag
	}
	digits, ok := bytes.CutPrefix(text, []byte("0x"))
	if !ok {
		digits, ok = bytes.CutPrefix(text, []byte("x"))
	}
	if !ok || len(digits) != 6 {
		return 0
	}
	n, err := strconv.ParseUint(string(digits), 16, 24)
	if err != nil || n>>16 != 0x42 && n>>16 != 0x54 {
		return 0
	}
	return ttlv.Tag(n)
}

// leaf appends an item that is no structure, of a value in text: the attribute value of XML, a string of JSON, or a number
// of JSON, which look the same once they are unescaped.
func (d *decoder) leaf(tag ttlv.Tag, typ ttlv.Type, text []byte, in *scope) error {
	size, reason := 0, ""
	var n uint64
	switch typ {
	case ttlv.TextString:
		size = len(text)
	case ttlv.ByteString, ttlv.BigInteger:
		text, reason = octets(typ, text)
		size = len(text)
	case ttlv.Integer:
		n, reason = integer(in.enumOf(tag), bytes.TrimSpace(text))
		size = 4
	case ttlv.Enumeration:
		n, reason = enumeration(in.enumOf(tag), bytes.TrimSpace(text))
		size = 4
	case ttlv.Interval:
		n, reason = unsigned(bytes.TrimSpace(text))
		size = 4
	case ttlv.LongInteger, ttlv.DateTimeExtended:
		n, reason = signed(bytes.TrimSpace(text), 64)
		size = 8
	case ttlv.Boolean:
		n, reason = boolean(bytes.TrimSpace(text))
		size = 8
	case ttlv.DateTime:
		n, reason = date(bytes.TrimSpace(text))
		size = 8
	default:
		reason = "a value stands in a Structure"
	}
	if reason != "" {
		return d.fail(reason)
	}
	if err := d.room(size); err != nil {
		return err
	}
	switch {
	case typ == ttlv.TextString || typ == ttlv.ByteString || typ == ttlv.BigInteger:
		d.out = ttlv.AppendItem(d.out, tag, ttlv.Item{Type: typ, Value: text})
	default:
		var b [8]byte
		for i := range size {
			b[i] = byte(n >> (8 * (size - 1 - i)))
		}
		d.out = ttlv.AppendItem(d.out, tag, ttlv.Item{Type: typ, Value: b[:size]})
	}
	if tag == kmip.TagAttributeName && typ == ttlv.TextString {
		in.name(text)
	}
	return nil
}

// name notes the Attribute Name of a structure.
func (s *scope) name(text []byte) {
	s.attribute = ""
	if len(text) > most {
		return
	}
	if tag, ok := kmip.TagByName(string(text)); ok {
		s.attribute = kmip.TagEnum(tag)
	}
}

// enumOf is the enumeration or mask whose values an item has, "" when they have no names.
func (s *scope) enumOf(tag ttlv.Tag) string {
	if tag == kmip.TagAttributeValue {
		return s.attribute
	}
	return kmip.TagEnum(tag)
}

// octets reads hexadecimal in place. A Big Integer may have the prefix of numbers.
func octets(typ ttlv.Type, text []byte) ([]byte, string) {
	text = bytes.TrimSpace(text) // as of all values but texts: xsd:hexBinary collapses white space
	if typ == ttlv.BigInteger {
		text = bytes.TrimPrefix(text, []byte("0x"))
		if len(text) == 0 || len(text)%16 != 0 {
			return nil, "length of the Big Integer is not a multiple of 8 octets"
		}
	}
	n, err := hex.Decode(text, text)
	if err != nil {
		return nil, "value is not hexadecimal"
	}
	return text[:n], ""
}

// hexadecimal reads a number with prefix 0x of at most so many bits. ok tells that the text has the prefix.
func hexadecimal(text []byte, bits int) (n uint64, reason string, ok bool) {
	digits, ok := bytes.CutPrefix(text, []byte("0x"))
	if !ok {
		return 0, "", false
	}
	if len(digits) > bits/4 {
		return 0, "hexadecimal number is too long", true
	}
	n, err := strconv.ParseUint(string(digits), 16, bits)
	if err != nil {
		return 0, "value is not a hexadecimal number", true
	}
	return n, "", true
}

// most bounds a number or name that is copied out of a message; with more digits a number begins with useless zeros.
const most = 64

// longestMask bounds the text of a mask: all names of one have less.
const longestMask = 4096

// signed reads a decimal or hexadecimal number as two's complement.
func signed(text []byte, bits int) (uint64, string) {
	if n, reason, ok := hexadecimal(text, bits); ok {
		return n, reason
	}
	if len(text) > most {
		return 0, "number is too long"
	}
	n, err := strconv.ParseInt(string(text), 10, bits)
	if err != nil {
		return 0, "value is not a number of the type"
	}
	return uint64(n), ""
}

// unsigned reads a decimal or hexadecimal number of 32 bits.
func unsigned(text []byte) (uint64, string) {
	if n, reason, ok := hexadecimal(text, 32); ok {
		return n, reason
	}
	if len(text) > most {
		return 0, "number is too long"
	}
	n, err := strconv.ParseUint(string(text), 10, 32)
	if err != nil {
		return 0, "value is not a number of the type"
	}
	return n, ""
}

// integer reads a number or, for a mask, names and numbers with blanks or bars between them. XML has blanks and JSON bars,
// neither of which can be in a name.
func integer(enum string, text []byte) (uint64, string) {
	if !kmip.IsMask(enum) {
		return signed(text, 32)
	}
	if n, reason := signed(text, 32); reason == "" {
		return n, ""
	}
	if len(text) > longestMask {
		return 0, "mask is too long"
	}
	var mask uint64
	parts := bytes.FieldsFunc(text, func(r rune) bool { return r == '|' || r == ' ' || r == '\t' || r == '\n' || r == '\r' })
	for _, part := range parts {
		n, reason := enumeration(enum, part)
		if reason != "" {
			return 0, "mask has an unknown name"
		}
		mask |= n
	}
	if len(parts) == 0 {
		return 0, "value is not a number of the type"
	}
	return mask, ""
}

func enumeration(enum string, text []byte) (uint64, string) {
	if n, ok := kmip.EnumByIdent(enum, text); ok {
		return uint64(n), ""
	}
	if n, reason := unsigned(text); reason == "" {
		return n, ""
	}
	return 0, "Enumeration has an unknown name"
}

func boolean(text []byte) (uint64, string) {
	switch string(text) {
	case "true", "1":
		return 1, ""
	case "false", "0":
		return 0, ""
	}
	if n, reason, ok := hexadecimal(text, 64); ok && reason == "" && n <= 1 {
		return n, ""
	}
	return 0, "Boolean is neither true nor false"
}

// date reads xsd:dateTime with or without an offset, UTC without; a fraction of a second is dropped.
func date(text []byte) (uint64, string) {
	if n, reason, ok := hexadecimal(text, 64); ok {
		return n, reason
	}
	if len(text) <= 64 {
		for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05"} {
			if t, err := time.Parse(layout, string(text)); err == nil {
				return uint64(t.Unix()), ""
			}
		}
	}
	return 0, "Date-Time is not of the form 2001-01-01T10:00:00+10:00"
}
