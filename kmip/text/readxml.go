package text

import (
	"bytes"
	"strconv"
	"unicode/utf8"

	"kmipd/kmip/ttlv"
)

// namespace is that of KMIP, for elements that have one (section 6.1.6).
const namespace = "urn:oasis:tc:kmip:xmlns"

// binding is a namespace prefix, "" for the default one.
type binding struct {
	prefix []byte
	kmip   bool
}

const maxBindings = 64

// xml reads a document whose root element is the message.
func (d *decoder) xml() error {
	if err := d.characters(); err != nil {
		return err
	}
	if err := d.declaration(); err != nil {
		return err
	}
	if err := d.misc(); err != nil {
		return err
	}
	if err := d.element(1, &scope{}); err != nil {
		return err
	}
	if err := d.misc(); err != nil {
		return err
	}
	if d.pos != len(d.msg) {
		return d.fail("text after the end of the message")
	}
	return nil
}

// characters refuses what may stand nowhere in XML, once for the whole text.
func (d *decoder) characters() error {
	for i, c := range d.msg {
		if c < 0x20 && c != '\t' && c != '\n' && c != '\r' || c == 0xEF && (bytes.HasPrefix(d.msg[i:], []byte("\uFFFE")) || bytes.HasPrefix(d.msg[i:], []byte("\uFFFF"))) {
			return d.failAt(i, "character is not allowed in XML")
		}
	}
	return nil
}

// declaration reads <?xml ...?>, if it is there.
func (d *decoder) declaration() error {
	if !d.take("<?xml") {
		return nil
	}
	for {
		blank := d.blanks()
		if d.take("?>") {
			return nil
		}
		if !blank {
			return d.fail("XML declaration is not well-formed")
		}
		name, value, err := d.attribute()
		if err != nil {
			return err
		}
		switch string(name) {
		case "version":
			if !bytes.HasPrefix(value, []byte("1.")) {
				return d.fail("version of XML is not 1.x")
			}
		case "encoding":
			if !bytes.EqualFold(value, []byte("utf-8")) && !bytes.EqualFold(value, []byte("us-ascii")) {
				return d.fail("encoding is not UTF-8")
			}
		case "standalone":
		default:
			return d.fail("XML declaration is not well-formed")
		}
	}
}

// misc goes over white space and comments.
func (d *decoder) misc() error {
	for {
		d.blanks()
		if !d.take("<!--") {
			return nil
		}
		n := bytes.Index(d.msg[d.pos:], []byte("--"))
		if n < 0 {
			return d.fail("comment does not end")
		}
		d.pos += n
		if !d.take("-->") {
			return d.fail("comment has two hyphens")
		}
	}
}

// startTag is the start of an element.
type startTag struct {
	name                     []byte // with its prefix
	tag                      ttlv.Tag
	typ                      ttlv.Type
	value                    []byte // nil when there is none
	number                   []byte // the attribute tag
	empty                    bool   // <name/>
	hasName, hasType, hasTag bool
}

// element reads an element and everything in it.
func (d *decoder) element(depth int, in *scope) error {
	outer := len(d.bound)
	defer func() { d.bound = d.bound[:outer] }()
	start, err := d.start()
	if err != nil {
		return err
	}
	if start.typ != ttlv.Structure {
		if start.value == nil {
			return d.fail("value is missing")
		}
		if err := d.leaf(start.tag, start.typ, start.value, in); err != nil {
			return err
		}
		if start.empty {
			return nil
		}
		if err := d.misc(); err != nil {
			return err
		}
		return d.close(start.name)
	}
	if start.value != nil {
		return d.fail("a value stands in a Structure")
	}
	mark, err := d.begin(start.tag, depth)
	if err != nil {
		return err
	}
	var members scope
	for !start.empty {
		if err := d.misc(); err != nil {
			return err
		}
		if len(d.msg)-d.pos > 1 && d.msg[d.pos] == '<' && d.msg[d.pos+1] == '/' {
			if err := d.close(start.name); err != nil {
				return err
			}
			break
		}
		if err := d.element(depth+1, &members); err != nil {
			return err
		}
	}
	d.end(mark)
	return nil
}

// close reads the end tag of an element.
func (d *decoder) close(name []byte) error {
	if !d.take("</") || !bytes.Equal(d.name(), name) {
		return d.fail("end tag is missing")
	}
	d.blanks()
	if !d.take(">") {
		return d.fail("end tag is not well-formed")
	}
	return nil
}

// start reads a start tag.
func (d *decoder) start() (s startTag, err error) {
	if d.peek() != '<' {
		return s, d.fail("element is missing")
	}
	d.pos++
	if c := d.peek(); c == '!' || c == '?' {
		return s, d.fail("document types, CDATA and processing instructions are not accepted")
	}
	if s.name = d.name(); len(s.name) == 0 {
		return s, d.fail("name of an element is missing")
	}
	s.typ = ttlv.Structure
	for {
		blank := d.blanks()
		if s.empty = d.take("/>"); s.empty || d.take(">") {
			break
		}
		if !blank {
			return s, d.fail("start tag is not well-formed")
		}
		name, value, err := d.attribute()
		if err != nil {
			return s, err
		}
		if err := d.use(&s, name, value); err != nil {
			return s, err
		}
	}
	prefix, local, prefixed, ok := split(s.name)
	if !ok || !d.inKMIP(prefix, prefixed) {
		return s, d.fail("element is of another namespace")
	}
	if string(local) == "TTLV" {
		local = s.number
	} else if s.hasTag {
		return s, d.fail("only the element TTLV has a tag")
	}
	if s.tag = parseTag(local); s.tag == 0 {
		return s, d.fail("tag is unknown")
	}
	return s, nil
}

// use takes an attribute of a start tag. Attributes of other namespaces say nothing about KMIP.
func (d *decoder) use(s *startTag, name, value []byte) error {
	prefix, local, prefixed, ok := split(name)
	switch {
	case !ok:
		return d.fail("attribute is not well-formed")
	case string(name) == "xmlns":
		return d.bind(nil, string(value) == namespace || len(value) == 0)
	case string(prefix) == "xmlns":
		return d.bind(local, string(value) == namespace)
	case prefixed:
	case string(name) == "type" && !s.hasType:
		s.hasType = true
		var ok bool
		if s.typ, ok = typeByIdent(value); !ok {
			return d.fail("type is unknown")
		}
	case string(name) == "value" && s.value == nil:
		s.value = value
	case string(name) == "tag" && !s.hasTag:
		s.hasTag, s.number = true, value
	case string(name) == "name" && !s.hasName:
		s.hasName = true
	default:
		return d.fail("attribute is unknown or stands twice")
	}
	return nil
}

// split divides a name at its colon, of which it has one at most and with something on both sides.
func split(name []byte) (prefix, local []byte, prefixed, ok bool) {
	if prefix, local, prefixed = bytes.Cut(name, []byte(":")); !prefixed {
		return nil, name, false, true
	}
	return prefix, local, true, len(prefix) > 0 && len(local) > 0 && bytes.IndexByte(local, ':') < 0
}

// bind notes a namespace for the element and what is in it.
func (d *decoder) bind(prefix []byte, kmip bool) error {
	if len(d.bound) == maxBindings {
		return d.fail("too many namespaces")
	}
	d.bound = append(d.bound, binding{prefix, kmip})
	return nil
}

// inKMIP tells whether an element with the prefix is one of KMIP: in its namespace, or in none.
func (d *decoder) inKMIP(prefix []byte, prefixed bool) bool {
	for i := len(d.bound) - 1; i >= 0; i-- {
		if bytes.Equal(d.bound[i].prefix, prefix) {
			return d.bound[i].kmip
		}
	}
	return !prefixed
}

// name reads a name; empty when there is none. Those of KMIP are of ASCII.
func (d *decoder) name() []byte {
	start := d.pos
	for ; d.pos < len(d.msg); d.pos++ {
		c := d.msg[d.pos]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_':
		case ('0' <= c && c <= '9' || c == '-' || c == '.' || c == ':') && d.pos > start:
		default:
			return d.msg[start:d.pos]
		}
	}
	return d.msg[start:d.pos]
}

// attribute reads name="value", and unescapes the value where it stands.
func (d *decoder) attribute() (name, value []byte, err error) {
	if name = d.name(); len(name) == 0 {
		return nil, nil, d.fail("attribute is not well-formed")
	}
	d.blanks()
	if !d.take("=") {
		return nil, nil, d.fail("attribute has no value")
	}
	d.blanks()
	quote := d.peek()
	if quote != '"' && quote != '\'' {
		return nil, nil, d.fail("attribute has no quotation marks")
	}
	d.pos++
	n := bytes.IndexByte(d.msg[d.pos:], quote)
	if n < 0 {
		return nil, nil, d.fail("attribute does not end")
	}
	value, err = d.unescapeXML(d.msg[d.pos : d.pos+n : d.pos+n])
	d.pos += n + 1
	return name, value, err
}

// predefined are the entities that XML itself has.
var predefined = []struct {
	name string
	char byte
}{{"amp;", '&'}, {"lt;", '<'}, {"gt;", '>'}, {"quot;", '"'}, {"apos;", '\''}}

// unescapeXML replaces references, and line breaks and tabs by blanks as XML 1.0 section 3.3.3 has it. What it writes is
// never longer than what it read.
func (d *decoder) unescapeXML(v []byte) ([]byte, error) {
	if bytes.IndexByte(v, '<') >= 0 {
		return nil, d.fail("attribute has a <")
	}
	if !bytes.ContainsAny(v, "&\t\n\r") {
		return v, nil
	}
	w := 0
	for r := 0; r < len(v); r++ {
		c := v[r]
		switch c {
		case '\r':
			if r+1 < len(v) && v[r+1] == '\n' {
				r++
			}
			c = ' '
		case '\t', '\n':
			c = ' '
		case '&':
			char, size := reference(v[r+1:])
			if size == 0 {
				return nil, d.fail("reference is not one of XML itself")
			}
			r += size
			w += utf8.EncodeRune(v[w:], char)
			continue
		}
		v[w] = c
		w++
	}
	return v[:w], nil
}

// reference reads what follows an ampersand. It returns 0 octets for what is no reference.
func reference(v []byte) (char rune, size int) {
	for _, p := range predefined {
		if bytes.HasPrefix(v, []byte(p.name)) {
			return rune(p.char), len(p.name)
		}
	}
	end := bytes.IndexByte(v[:min(len(v), 12)], ';')
	if end < 2 || v[0] != '#' {
		return 0, 0
	}
	base, digits := 10, v[1:end]
	if digits[0] == 'x' {
		base, digits = 16, digits[1:]
	}
	n, err := strconv.ParseUint(string(digits), base, 21)
	if err != nil || !isXMLChar(rune(n)) {
		return 0, 0
	}
	return rune(n), end + 1
}

// isXMLChar is the production Char of XML 1.0.
func isXMLChar(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= 0x10FFFF
}
