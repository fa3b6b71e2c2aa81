package text

import (
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"time"
	"unicode/utf8"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// Size is the size of the text of an item that ttlv.Parse checked, in octets. XML has no text for some characters: an item
// with such a one is an *Error.
func (e Encoding) Size(it ttlv.Item) (int, error) {
	if e == TTLV {
		return it.Size(), nil
	}
	w := encoder{enc: e, count: true}
	w.item(it, &scope{})
	return w.n, w.err
}

// Append appends the text of an item that ttlv.Parse checked. Errors are those of Size.
func (e Encoding) Append(dst []byte, it ttlv.Item) ([]byte, error) {
	if e == TTLV {
		return ttlv.AppendItem(dst, it.Tag, it), nil
	}
	w := encoder{enc: e, b: dst}
	w.item(it, &scope{})
	return w.b, w.err
}

// Write is Append for a text in XML or JSON that shall not be in memory as a whole: dst is given to out whenever it is full,
// and at the end. It needs room for 256 octets, does not move, and is out's until that returns. Errors are those of out and Size.
func (e Encoding) Write(dst []byte, it ttlv.Item, out func([]byte) error) error {
	w := encoder{enc: e, b: dst, out: out}
	w.item(it, &scope{})
	w.flush()
	return w.err
}

// encoder writes one message, or counts its octets.
type encoder struct {
	enc   Encoding
	b     []byte
	out   func([]byte) error // takes what b holds when it is full; nil for one that grows
	count bool
	n     int
	err   error
}

func (w *encoder) str(s string) {
	if w.count {
		w.n += len(s)
		return
	}
	w.room(len(s))
	w.b = append(w.b, s...)
}

func (w *encoder) bytes(v []byte) {
	if w.count {
		w.n += len(v)
		return
	}
	for len(v) > 0 {
		n := w.room(len(v))
		w.b = append(w.b, v[:n]...)
		v = v[n:]
	}
}

func (w *encoder) hex(v []byte) {
	if w.count {
		w.n += hex.EncodedLen(len(v))
		return
	}
	for len(v) > 0 {
		n := w.room(hex.EncodedLen(len(v))) / 2
		w.b = hex.AppendEncode(w.b, v[:n])
		v = v[n:]
	}
}

// room makes room for n octets and tells how many of them find it: all that a name or a number has.
func (w *encoder) room(n int) int {
	if w.out == nil || n <= cap(w.b)-len(w.b) {
		return n
	}
	w.flush()
	return min(n, cap(w.b))
}

func (w *encoder) flush() {
	if w.err == nil && len(w.b) > 0 {
		w.err = w.out(w.b)
	}
	w.b = w.b[:0]
}

// number writes 0x and all digits of a number of so many octets.
func (w *encoder) number(n uint64, size int) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	w.str("0x")
	w.hex(b[8-size:])
}

func (w *encoder) item(it ttlv.Item, in *scope) {
	ident := kmip.IdentOfTag(it.Tag)
	if w.enc == JSON {
		w.jsonItem(it, ident, in)
	} else {
		w.xmlItem(it, ident, in)
	}
	if it.Tag == kmip.TagAttributeName && it.Type == ttlv.TextString {
		in.name(it.Value)
	}
}

func (w *encoder) xmlItem(it ttlv.Item, ident string, in *scope) {
	w.str("<")
	name := ident
	if ident == "" {
		name = "TTLV"
	}
	w.str(name)
	if ident == "" {
		w.str(` tag="`)
		w.number(uint64(it.Tag), 3)
		w.str(`"`)
	}
	if it.Type != ttlv.Structure {
		w.str(` type="`)
		w.str(typeIdents[it.Type])
		w.str(`" value="`)
		w.value(it, in)
		w.str(`"/>`)
		return
	}
	if len(it.Value) == 0 {
		w.str("/>")
		return
	}
	w.str(">")
	var members scope
	for m := range it.Members {
		w.item(m, &members)
	}
	w.str("</")
	w.str(name)
	w.str(">")
}

func (w *encoder) jsonItem(it ttlv.Item, ident string, in *scope) {
	w.str(`{"tag":"`)
	if ident == "" {
		w.number(uint64(it.Tag), 3)
	} else {
		w.str(ident)
	}
	w.str(`","type":"`)
	w.str(typeIdents[it.Type])
	w.str(`","value":`)
	if it.Type != ttlv.Structure {
		bare := isBare(it, in)
		if !bare {
			w.str(`"`)
		}
		w.value(it, in)
		if !bare {
			w.str(`"`)
		}
		w.str("}")
		return
	}
	w.str("[")
	var members scope
	comma := ""
	for m := range it.Members {
		w.str(comma)
		w.item(m, &members)
		comma = ","
	}
	w.str("]}")
}

// exact is the first number that JSON readers may not hold exactly (section 4.1.6.5).
const exact = 1 << 52

// isBare tells whether a value is a number or a word of JSON.
func isBare(it ttlv.Item, in *scope) bool {
	switch it.Type {
	case ttlv.Boolean, ttlv.Interval:
		return true
	case ttlv.Integer:
		return it.Int() == 0 || !kmip.IsMask(in.enumOf(it.Tag))
	case ttlv.LongInteger, ttlv.DateTimeExtended:
		return it.Long() < exact && it.Long() > -exact
	}
	return false
}

// value writes the value of an item that is no structure, without quotation marks.
func (w *encoder) value(it ttlv.Item, in *scope) {
	switch it.Type {
	case ttlv.Integer:
		w.integer(in.enumOf(it.Tag), it.Int())
	case ttlv.Enumeration:
		if ident := kmip.EnumIdent(in.enumOf(it.Tag), it.Enum()); ident != "" {
			w.str(ident)
			return
		}
		w.number(uint64(it.Enum()), 4)
	case ttlv.LongInteger, ttlv.DateTimeExtended:
		if w.enc == JSON && !isBare(it, in) {
			w.number(uint64(it.Long()), 8)
			return
		}
		w.decimal(it.Long())
	case ttlv.Interval:
		w.decimal(int64(it.Interval()))
	case ttlv.Boolean:
		w.str(strconv.FormatBool(it.Bool()))
	case ttlv.BigInteger:
		if w.enc == JSON {
			w.str("0x")
		}
		w.hex(it.Value)
	case ttlv.ByteString:
		w.hex(it.Value)
	case ttlv.DateTime:
		w.date(it)
	case ttlv.TextString:
		w.text(it.Value)
	}
}

func (w *encoder) decimal(n int64) {
	var b [20]byte
	w.bytes(strconv.AppendInt(b[:0], n, 10))
}

// integer writes a number, or the names of the bits of a mask.
func (w *encoder) integer(enum string, n int32) {
	if n == 0 || !kmip.IsMask(enum) {
		w.decimal(int64(n))
		return
	}
	between, rest := "", uint32(n)
	for bit := uint32(1); bit != 0; bit <<= 1 {
		if ident := kmip.EnumIdent(enum, bit); ident != "" && rest&bit != 0 {
			w.str(between)
			w.str(ident)
			rest &^= bit
			between = "|"
			if w.enc == XML {
				between = " "
			}
		}
	}
	if rest != 0 {
		w.str(between)
		w.number(uint64(rest), 4)
	}
}

// The years that ISO 8601 writes with four digits.
var firstYear, lastYear = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).Unix(), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).Unix()

func (w *encoder) date(it ttlv.Item) {
	if s := it.Long(); s < firstYear || s > lastYear {
		w.number(uint64(s), 8)
		return
	}
	var b [32]byte
	w.bytes(it.Time().AppendFormat(b[:0], "2006-01-02T15:04:05+00:00"))
}

// text writes a Text String with what its language cannot have in a value escaped.
func (w *encoder) text(v []byte) {
	from := 0
	for i := 0; i < len(v); {
		size, escaped := 1, ""
		if w.enc == JSON {
			escaped = jsonEscape(v[i])
		} else {
			char, n := utf8.DecodeRune(v[i:])
			if !isXMLChar(char) {
				w.err = &Error{w.enc, 0, "text has a character that XML does not have"}
				return
			}
			size, escaped = n, xmlEscape(v[i])
		}
		if escaped != "" {
			w.bytes(v[from:i])
			w.str(escaped)
			from = i + size
		}
		i += size
	}
	w.bytes(v[from:])
}

func xmlEscape(c byte) string {
	switch c {
	case '&':
		return "&amp;"
	case '<':
		return "&lt;"
	case '>':
		return "&gt;"
	case '"':
		return "&quot;"
	case '\t':
		return "&#x9;"
	case '\n':
		return "&#xA;"
	case '\r':
		return "&#xD;"
	}
	return ""
}

func jsonEscape(c byte) string {
	switch {
	case c == '"':
		return `\"`
	case c == '\\':
		return `\\`
	case c == '\n':
		return `\n`
	case c == '\r':
		return `\r`
	case c == '\t':
		return `\t`
	case c < 0x20:
		return controls[6*int(c) : 6*int(c)+6]
	}
	return ""
}

// controls are the escapes of the control characters, one after the other.
var controls = func() string {
	var b []byte
	for c := range 0x20 {
		b = append(b, `\u00`...)
		b = hex.AppendEncode(b, []byte{byte(c)})
	}
	return string(b)
}()
