package rawtext

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"

	"kmipd/softhsm-tests/internal/rawttlv"
)

func (c *Codec) encodeXML(n *rawttlv.Node) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(xml.Header)
	e := xml.NewEncoder(&b)
	e.Indent("", "  ")
	if err := c.writeXML(e, n, ""); err != nil {
		return nil, err
	}
	if err := e.Close(); err != nil { // it holds back what it wrote
		return nil, err
	}
	return b.Bytes(), nil
}

func (c *Codec) writeXML(e *xml.Encoder, n *rawttlv.Node, attribute string) error {
	name := c.Registry.TagName(n.Tag)
	start := xml.StartElement{Name: xml.Name{Local: name}}
	attr := func(name, value string) {
		start.Attr = append(start.Attr, xml.Attr{Name: xml.Name{Local: name}, Value: value})
	}
	if _, ok := c.Registry.Tag(name); !ok {
		start.Name.Local = "TTLV"
		attr("tag", name)
		attr("name", "SomeExtension")
	}
	if n.Type != rawttlv.Structure {
		value, ok := n.Value.(string)
		if !ok {
			var err error
			if value, err = c.format(n, c.key(name, attribute)); err != nil {
				return err
			}
		}
		attr("type", n.Type.String())
		attr("value", value)
	}
	if err := e.EncodeToken(start); err != nil {
		return err
	}
	inner := ""
	for _, child := range n.Children {
		if err := c.writeXML(e, child, inner); err != nil {
			return err
		}
		if c.Registry.TagName(child.Tag) == "AttributeName" {
			inner = child.Text()
		}
	}
	return e.EncodeToken(start.End())
}

func (c *Codec) decodeXML(b []byte) (*rawttlv.Node, error) {
	d := xml.NewDecoder(bytes.NewReader(b))
	tok, err := d.Token()
	start, ok := tok.(xml.StartElement)
	if err != nil || !ok {
		return nil, fmt.Errorf("rawtext: the document begins with %T, %w", tok, err)
	}
	n, err := c.readXML(d, start, "")
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("rawtext: something comes after the message")
	}
	return n, nil
}

func (c *Codec) readXML(d *xml.Decoder, start xml.StartElement, attribute string) (*rawttlv.Node, error) {
	attr := map[string]string{}
	for _, a := range start.Attr {
		attr[a.Name.Local] = a.Value
	}
	name := start.Name.Local
	if name == "TTLV" {
		name = attr["tag"]
	}
	tag, err := c.tag(name)
	if err != nil {
		return nil, err
	}
	n := &rawttlv.Node{Tag: tag}
	if n.Type, err = typeOf(attr["type"]); err != nil {
		return nil, err
	}
	if n.Type != rawttlv.Structure {
		if n.Value, err = c.parse(n.Type, c.key(name, attribute), attr["value"]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	inner := ""
	for {
		tok, err := d.Token()
		if err != nil {
			return nil, err
		}
		switch tok := tok.(type) {
		case xml.EndElement:
			return n, nil
		case xml.StartElement:
			child, err := c.readXML(d, tok, inner)
			if err != nil {
				return nil, err
			}
			if tok.Name.Local == "AttributeName" {
				inner = child.Text()
			}
			n.Children = append(n.Children, child)
		default:
			return nil, fmt.Errorf("rawtext: %T in %s", tok, name)
		}
	}
}
