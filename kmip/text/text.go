// Package text turns messages in the XML and JSON encodings of KMIP into binary TTLV and back (KMIP Additional Message
// Encodings 1.0 sections 4 and 6). What works on messages knows TTLV alone: a request in text becomes the octets that the
// same request has in TTLV before anything looks at it, and its answer becomes text when it is complete.
//
// Reading is lenient where the encodings leave a choice (names or numbers, hexadecimal or not, any order of JSON members) and
// strict about everything else; writing makes one form. The names come from the tables of package kmip.
//
// Messages hold keys. So the readers are made for octets in place instead of standing on encoding/xml and encoding/json,
// which copy values into strings that cannot be wiped: a value is unescaped where it stands, and its only copy is in the
// caller's slice. Both readers take subsets of their languages: XML has no document type, no entities but the five predefined
// ones, no CDATA and no processing instructions. The tests hold them against the standard library.
package text

import (
	"bytes"
	"fmt"
	"mime"
	"strings"
	"unicode/utf8"

	"kmipd/kmip/ttlv"
)

// Encoding is how a message is written.
type Encoding uint8

// The encodings.
const (
	TTLV Encoding = iota
	XML
	JSON
)

var encodings = [...]struct{ name, contentType string }{
	TTLV: {"TTLV", "application/octet-stream"}, XML: {"XML", "text/xml"}, JSON: {"JSON", "application/json"},
}

// String is the encoding's name.
func (e Encoding) String() string { return encodings[e].name }

// ContentType is the HTTP Content-Type of the encoding (section 2.4).
func (e Encoding) ContentType() string { return encodings[e].contentType }

// ByName finds an encoding by its name in any case.
func ByName(name string) (Encoding, bool) {
	for e, x := range encodings {
		if strings.EqualFold(x.name, name) {
			return Encoding(e), true
		}
	}
	return 0, false
}

// ByContentType finds the encoding of an HTTP Content-Type. A character set other than UTF-8 makes it an unknown one.
func ByContentType(header string) (Encoding, bool) {
	media, params, err := mime.ParseMediaType(header)
	if err != nil {
		return 0, false
	}
	if set, ok := params["charset"]; ok && !strings.EqualFold(set, "utf-8") && !strings.EqualFold(set, "us-ascii") {
		return 0, false
	}
	for e, x := range encodings {
		if x.contentType == media {
			return Encoding(e), true
		}
	}
	return 0, false
}

// Error says where and why a text is no message, or that an item has no text. It holds nothing of the message.
type Error struct {
	Encoding Encoding
	Offset   int // octets from the start of the text; 0 when an item has no text
	Reason   string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: at octet %d: %s", strings.ToLower(e.Encoding.String()), e.Offset, e.Reason)
}

// Decode appends the TTLV encoding of a message to dst, where there is room for DecodedSize octets already if nothing of it
// may be left behind in memory. The message is worked on in place: its octets are of no use afterwards. lim holds for the
// TTLV encoding, which ttlv.Parse accepts. After an *Error what is appended is the part before it, in which structures that
// were not finished have no length.
func (e Encoding) Decode(dst, msg []byte, lim ttlv.Limits) ([]byte, error) {
	if e == TTLV {
		return append(dst, msg...), nil
	}
	d := decoder{enc: e, msg: msg, out: dst, max: len(dst) + lim.MaxSize, lim: lim}
	read := d.json
	if e == XML {
		read = d.xml
	}
	if !utf8.Valid(msg) {
		return dst, d.fail("text is not UTF-8")
	}
	if bytes.HasPrefix(msg, byteOrderMark) {
		d.pos = len(byteOrderMark)
	}
	err := read()
	return d.out, err
}

var byteOrderMark = []byte("\ufeff")

// DecodedSize is the most that Decode appends for a text of n octets.
func (e Encoding) DecodedSize(n int, lim ttlv.Limits) int {
	// The shortest items are <D/> in XML, of which 8 octets become, and longer ones grow less. Those that do not end, at most
	// one of each depth, can be <D>, of which 8 octets become, too.
	return min(2*n+2*lim.MaxDepth, lim.MaxSize)
}

// decoder reads one message.
type decoder struct {
	enc   Encoding
	msg   []byte
	pos   int
	out   []byte
	max   int // octets of out at most
	lim   ttlv.Limits
	items int
	bound []binding // namespace prefixes of the open elements, XML only
}

// scope is what the members of a structure tell about those after them.
type scope struct {
	attribute string // enumeration or mask that Attribute Value holds by the Attribute Name before it
}

func (d *decoder) fail(reason string) error { return &Error{d.enc, d.pos, reason} }

// failAt is fail for what was read before.
func (d *decoder) failAt(pos int, reason string) error { return &Error{d.enc, pos, reason} }

// begin starts a structure.
func (d *decoder) begin(tag ttlv.Tag, depth int) (mark int, err error) {
	if depth >= d.lim.MaxDepth {
		return 0, d.fail("structures are nested too deeply")
	}
	if err := d.room(0); err != nil {
		return 0, err
	}
	d.out, mark = ttlv.Begin(d.out, tag)
	return mark, nil
}

func (d *decoder) end(mark int) { d.out = ttlv.End(d.out, mark) }

// room counts an item with a value of n octets and refuses it where it goes over a limit.
func (d *decoder) room(n int) error {
	if d.items++; d.items > d.lim.MaxItems {
		return d.fail("too many items")
	}
	if len(d.out)+ttlv.HeaderSize+(n+7)&^7 > d.max {
		return d.fail("message is larger than the limit")
	}
	return nil
}

// peek is the next octet, 0 at the end. Neither language has an octet 0.
func (d *decoder) peek() byte {
	if d.pos < len(d.msg) {
		return d.msg[d.pos]
	}
	return 0
}

// take goes over the text if it comes next.
func (d *decoder) take(s string) bool {
	if len(d.msg)-d.pos < len(s) || string(d.msg[d.pos:d.pos+len(s)]) != s {
		return false
	}
	d.pos += len(s)
	return true
}

// blanks goes over white space, which is the same in both languages, and tells whether there was some.
func (d *decoder) blanks() bool {
	start := d.pos
	for d.pos < len(d.msg) {
		switch d.msg[d.pos] {
		case ' ', '\t', '\n', '\r':
			d.pos++
			continue
		}
		break
	}
	return d.pos > start
}
