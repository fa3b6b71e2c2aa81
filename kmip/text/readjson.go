package text

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"kmipd/kmip/ttlv"
)

// json reads one object, which is the message.
func (d *decoder) json() error {
	d.blanks()
	if err := d.object(1, &scope{}); err != nil {
		return err
	}
	if d.blanks(); d.pos != len(d.msg) {
		return d.fail("text after the end of the message")
	}
	return nil
}

// kind is what a JSON value is.
type kind uint8

const (
	absent kind = iota
	null
	word // true or false
	number
	str
	array
)

// members are those of an object that is one item. A value that is no array waits for type and tag, which may come after it.
type members struct {
	tag     ttlv.Tag
	typ     ttlv.Type // 0 until it is read
	kind    kind
	value   []byte
	hasName bool
	mark    int // of the structure that an array began
}

// object reads an object and everything in it.
func (d *decoder) object(depth int, in *scope) error {
	if !d.take("{") {
		return d.fail("object is missing")
	}
	var m members
	for first := true; ; first = false {
		d.blanks()
		if first && d.take("}") {
			break
		}
		if err := d.member(&m, depth); err != nil {
			return err
		}
		d.blanks()
		if d.take("}") {
			break
		}
		if !d.take(",") {
			return d.fail("comma is missing")
		}
	}
	if m.tag == 0 {
		return d.fail("tag is missing")
	}
	if m.typ == 0 {
		m.typ = ttlv.Structure
	}
	return d.finish(&m, depth, in)
}

// member reads "name": value.
func (d *decoder) member(m *members, depth int) error {
	name, err := d.string()
	if err != nil {
		return err
	}
	d.blanks()
	if !d.take(":") {
		return d.fail("colon is missing")
	}
	d.blanks()
	switch string(name) {
	case "tag":
		v, err := d.string()
		if err != nil {
			return err
		}
		if m.tag != 0 {
			return d.fail("member stands twice")
		}
		if m.tag = parseTag(v); m.tag == 0 {
			return d.fail("tag is unknown")
		}
	case "type":
		v, err := d.string()
		if err != nil {
			return err
		}
		if m.typ != 0 {
			return d.fail("member stands twice")
		}
		var ok bool
		if m.typ, ok = typeByIdent(v); !ok {
			return d.fail("type is unknown")
		}
	case "name":
		if m.hasName {
			return d.fail("member stands twice")
		}
		m.hasName = true
		_, err := d.string()
		return err
	case "value":
		if m.kind != absent {
			return d.fail("member stands twice")
		}
		return d.value(m, depth)
	default:
		return d.fail("member is unknown")
	}
	return nil
}

// value reads a value as far as it can be without the type. An array is the members of a Structure whatever the type says
// later: its items are appended at once, under a tag that is perhaps not known yet.
func (d *decoder) value(m *members, depth int) (err error) {
	switch c := d.peek(); {
	case c == '[':
		m.kind = array
		if m.mark, err = d.begin(0, depth); err != nil {
			return err
		}
		return d.array(depth)
	case c == '"':
		m.kind = str
		m.value, err = d.string()
	case c == '-' || c >= '0' && c <= '9':
		m.kind = number
		m.value, err = d.number()
	case d.take("null"):
		m.kind = null
	case d.take("true"):
		m.kind, m.value = word, []byte("true")
	case d.take("false"):
		m.kind, m.value = word, []byte("false")
	default:
		err = d.fail("value is none that items have")
	}
	return err
}

// array reads the members of a structure.
func (d *decoder) array(depth int) error {
	d.pos++
	var in scope
	for first := true; ; first = false {
		d.blanks()
		if first && d.take("]") {
			return nil
		}
		if err := d.object(depth+1, &in); err != nil {
			return err
		}
		d.blanks()
		if d.take("]") {
			return nil
		}
		if !d.take(",") {
			return d.fail("comma is missing")
		}
	}
}

// finish appends the item of an object that is read to its end.
func (d *decoder) finish(m *members, depth int, in *scope) error {
	if m.typ == ttlv.Structure {
		switch m.kind {
		case array:
			tag := d.out[m.mark-ttlv.HeaderSize:]
			tag[0], tag[1], tag[2] = byte(m.tag>>16), byte(m.tag>>8), byte(m.tag)
			d.end(m.mark)
			return nil
		case null, absent:
			mark, err := d.begin(m.tag, depth)
			if err == nil {
				d.end(mark)
			}
			return err
		default:
			return d.fail("value of a Structure is neither an array nor null")
		}
	}
	if !fits(m.typ, m.kind) {
		return d.fail("value does not fit the type")
	}
	if m.kind == number && m.typ == ttlv.BigInteger {
		return d.big(m)
	}
	return d.leaf(m.tag, m.typ, m.value, in)
}

// fits tells the kinds of values that a type has.
func fits(typ ttlv.Type, k kind) bool {
	switch typ {
	case ttlv.TextString, ttlv.ByteString, ttlv.DateTime:
		return k == str
	case ttlv.Boolean:
		return k == str || k == word
	}
	return k == str || k == number
}

// big appends a Big Integer that is written as a number.
func (d *decoder) big(m *members) error {
	n, reason := signed(m.value, 64)
	if reason != "" {
		return d.fail("Big Integer of more than 64 bits is not hexadecimal")
	}
	if err := d.room(8); err != nil {
		return err
	}
	d.out = ttlv.AppendLong(d.out, m.tag, int64(n))
	d.out[len(d.out)-2*ttlv.HeaderSize+3] = byte(ttlv.BigInteger)
	return nil
}

// number reads a number without fraction and exponent: items have no others.
func (d *decoder) number() ([]byte, error) {
	start := d.pos
	d.take("-")
	digits := d.pos
	for c := d.peek(); c >= '0' && c <= '9'; c = d.peek() {
		d.pos++
	}
	switch c := d.peek(); {
	case d.pos == digits, d.msg[digits] == '0' && d.pos > digits+1, c == '.', c == 'e', c == 'E':
		return nil, d.fail("number is not an integer")
	}
	return d.msg[start:d.pos], nil
}

// string reads a string and unescapes it where it stands.
func (d *decoder) string() ([]byte, error) {
	if !d.take(`"`) {
		return nil, d.fail("string is missing")
	}
	start, w := d.pos, d.pos
	for d.pos < len(d.msg) {
		c := d.msg[d.pos]
		switch {
		case c == '"':
			d.pos++
			return d.msg[start:w:w], nil
		case c < 0x20:
			return nil, d.fail("string has a control character")
		case c == '\\':
			d.pos++
			char, ok := d.escape()
			if !ok {
				return nil, d.fail("escape sequence is wrong")
			}
			w += utf8.EncodeRune(d.msg[w:], char)
			continue
		}
		if w != d.pos {
			d.msg[w] = c
		}
		w++
		d.pos++
	}
	return nil, d.fail("string does not end")
}

// escape reads what follows a backslash. A surrogate without its other half is no character.
func (d *decoder) escape() (rune, bool) {
	c := d.peek()
	if c == 0 {
		return 0, false
	}
	d.pos++
	switch c {
	case '"', '\\', '/':
		return rune(c), true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	case 'u':
		high, ok := d.unit()
		if !ok || !utf16.IsSurrogate(high) {
			return high, ok
		}
		if !d.take(`\u`) {
			return 0, false
		}
		low, ok := d.unit()
		char := utf16.DecodeRune(high, low)
		return char, ok && char != utf8.RuneError
	}
	return 0, false
}

// unit reads four hexadecimal digits.
func (d *decoder) unit() (rune, bool) {
	if len(d.msg)-d.pos < 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(d.msg[d.pos:d.pos+4]), 16, 16)
	d.pos += 4
	return rune(n), err == nil
}
