package oasis

import (
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"kmipd/softhsm-tests/internal/rawttlv"
	"kmipd/softhsm-tests/internal/registry"
)

// Var is a value that the file leaves open, such as "$UNIQUE_IDENTIFIER_0" or "$NOW-3600"; it stands in Node.Value.
type Var string

// Exchange is one request with its expected response.
type Exchange struct {
	Request, Response *rawttlv.Node
}

// Load reads the messages of a case.
func Load(shared string, e Entry, reg *registry.Registry) ([]Exchange, error) {
	f, err := os.Open(filepath.Join(shared, "kmip", "testcases", e.File))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out, err := Parse(f, reg)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.File, err)
	}
	return out, nil
}

// Parse reads the XML of a case. An exchange inside another (TC-DERIVEKEY-4 of 1.0 revokes between the request and the
// response of a Destroy, which could not work otherwise) comes before it. Text between elements (the files have lines such
// as "# TIME 0" there) is ignored.
func Parse(r io.Reader, reg *registry.Registry) ([]Exchange, error) {
	p := parser{reg: reg, dec: xml.NewDecoder(r)}
	var out []Exchange
	var open []*rawttlv.Node
	for {
		tok, err := p.dec.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		start, ok := tok.(xml.StartElement)
		if !ok || start.Name.Local == "KMIP" || start.Name.Local == "KmipTestCase" {
			continue
		}
		n, err := p.element(start, "")
		if err != nil {
			return nil, err
		}
		switch start.Name.Local {
		case "RequestMessage":
			open = append(open, n)
		case "ResponseMessage":
			if len(open) == 0 {
				return nil, fmt.Errorf("a response without a request")
			}
			out = append(out, Exchange{Request: open[len(open)-1], Response: n})
			open = open[:len(open)-1]
		default:
			return nil, fmt.Errorf("unexpected element %s", start.Name.Local)
		}
	}
	if len(out) == 0 || len(open) > 0 {
		return nil, fmt.Errorf("no complete exchange")
	}
	return out, nil
}

type parser struct {
	reg *registry.Registry
	dec *xml.Decoder
}

// element reads one item and everything in it. attribute is the Attribute Name that governs an Attribute Value.
func (p *parser) element(start xml.StartElement, attribute string) (*rawttlv.Node, error) {
	n, key, err := p.head(start)
	if err != nil {
		return nil, err
	}
	if n.Type != rawttlv.Structure {
		if key == "AttributeValue" {
			if k, ok := p.reg.AttributeKey(attribute); ok {
				key = k
			}
		}
		if n.Value, err = p.value(key, n.Type, attr(start, "value")); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		return n, p.dec.Skip()
	}
	inner := ""
	for {
		tok, err := p.dec.Token()
		if err != nil {
			return nil, err
		}
		switch tok := tok.(type) {
		case xml.EndElement:
			return n, nil
		case xml.StartElement:
			c, err := p.element(tok, inner)
			if err != nil {
				return nil, err
			}
			if tok.Name.Local == "AttributeName" {
				inner = c.Text()
			}
			n.Children = append(n.Children, c)
		}
	}
}

func (p *parser) head(start xml.StartElement) (*rawttlv.Node, string, error) {
	key := start.Name.Local
	n := &rawttlv.Node{Type: rawttlv.Structure}
	if t := attr(start, "type"); t != "" {
		var ok bool
		if n.Type, ok = rawttlv.ParseType(t); !ok {
			return nil, "", fmt.Errorf("%s has unknown type %q", key, t)
		}
	}
	if key == "TTLV" { // an extension, named by number
		v, err := strconv.ParseUint(attr(start, "tag"), 0, 24)
		n.Tag = uint32(v)
		return n, key, err
	}
	var ok bool
	if n.Tag, ok = p.reg.Tag(key); !ok {
		return nil, "", fmt.Errorf("unknown tag %s", key)
	}
	return n, key, nil
}

func attr(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// blanks are what remains of line breaks inside values of the older files ("Operation   Policy Name").
var blanks = regexp.MustCompile(`\s{2,}`)

// shortNames are value names that the files write without the words the specification puts in brackets.
var shortNames = map[string]string{
	"SHA_1WithRSAEncryption":   "SHA_1WithRSAEncryptionPKCS_1V1_5",
	"SHA_256WithRSAEncryption": "SHA_256WithRSAEncryptionPKCS_1V1_5",
}

func (p *parser) value(key string, t rawttlv.Type, s string) (any, error) {
	if strings.HasPrefix(s, "$") {
		return Var(s), nil
	}
	switch t {
	case rawttlv.Integer:
		if v, err := strconv.ParseInt(s, 0, 32); err == nil {
			return int32(v), nil
		}
		v, err := p.reg.Mask(key, s)
		return int32(v), err
	case rawttlv.LongInteger:
		return strconv.ParseInt(s, 0, 64)
	case rawttlv.BigInteger:
		return bigInteger(s)
	case rawttlv.Enumeration:
		if full, ok := shortNames[s]; ok {
			s = full
		}
		return p.reg.Enum(key, s)
	case rawttlv.Boolean:
		return strconv.ParseBool(s)
	case rawttlv.TextString:
		return blanks.ReplaceAllString(s, " "), nil
	case rawttlv.ByteString:
		return hex.DecodeString(s)
	case rawttlv.DateTime:
		d, err := time.Parse(time.RFC3339, s)
		return d.UTC(), err
	case rawttlv.Interval:
		v, err := strconv.ParseUint(s, 0, 32)
		return uint32(v), err
	}
	return nil, fmt.Errorf("no values of type %s", t)
}

// bigInteger reads two's complement hexadecimal.
func bigInteger(s string) (*big.Int, error) {
	b, err := hex.DecodeString(s)
	if err != nil {
		return nil, err
	}
	v := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0]&0x80 != 0 {
		v.Sub(v, new(big.Int).Lsh(big.NewInt(1), uint(len(b))*8))
	}
	return v, nil
}
