package rawtext

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"kmipd/softhsm-tests/internal/rawttlv"
)

// written is an item as it is sent. Members of JSON have no order, and here the value goes first.
type written struct {
	Value any    `json:"value"`
	Tag   string `json:"tag"`
	Type  string `json:"type,omitempty"`
}

func (c *Codec) encodeJSON(n *rawttlv.Node) ([]byte, error) {
	w, err := c.writeJSON(n, "")
	if err != nil {
		return nil, err
	}
	return json.MarshalIndent(w, "", " ")
}

func (c *Codec) writeJSON(n *rawttlv.Node, attribute string) (*written, error) {
	name := c.Registry.TagName(n.Tag)
	w := &written{Tag: name}
	if n.Type == rawttlv.Structure {
		inner := ""
		var members []*written // null when there is none
		for _, child := range n.Children {
			m, err := c.writeJSON(child, inner)
			if err != nil {
				return nil, err
			}
			if m.Tag == "AttributeName" {
				inner = child.Text()
			}
			members = append(members, m)
		}
		w.Value = members
		return w, nil
	}
	w.Type = n.Type.String()
	switch v := n.Value.(type) {
	case string, bool:
		w.Value = v
		return w, nil
	case int64:
		w.Value = fmt.Sprintf("0x%016x", uint64(v))
		return w, nil
	}
	s, err := c.format(n, c.key(name, attribute))
	switch {
	case err != nil:
		return nil, err
	case n.Type == rawttlv.BigInteger:
		s = "0x" + s
	case n.Type == rawttlv.Integer && !strings.ContainsFunc(s, func(r rune) bool { return r != '-' && (r < '0' || r > '9') }), n.Type == rawttlv.Interval:
		w.Value = json.Number(s)
		return w, nil
	}
	w.Value = s
	return w, nil
}

func (c *Codec) decodeJSON(b []byte) (*rawttlv.Node, error) { return c.readJSON(b, "") }

func (c *Codec) readJSON(b []byte, attribute string) (*rawttlv.Node, error) {
	var r struct {
		Tag, Type string
		Value     json.RawMessage
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, fmt.Errorf("rawtext: something comes after %s", r.Tag)
	}
	tag, err := c.tag(r.Tag)
	if err != nil {
		return nil, err
	}
	n := &rawttlv.Node{Tag: tag}
	if n.Type, err = typeOf(r.Type); err != nil {
		return nil, err
	}
	if n.Type == rawttlv.Structure {
		var members []json.RawMessage
		if err := json.Unmarshal(r.Value, &members); err != nil {
			return nil, err
		}
		inner := ""
		for _, m := range members {
			child, err := c.readJSON(m, inner)
			if err != nil {
				return nil, err
			}
			if c.Registry.TagName(child.Tag) == "AttributeName" {
				inner = child.Text()
			}
			n.Children = append(n.Children, child)
		}
		return n, nil
	}
	s, err := scalar(n.Type, r.Value)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.Tag, err)
	}
	if n.Value, err = c.parse(n.Type, c.key(r.Tag, attribute), s); err != nil {
		return nil, fmt.Errorf("%s: %w", r.Tag, err)
	}
	return n, nil
}

// scalar is the text of a value, which must be of the JSON type that its type has.
func scalar(typ rawttlv.Type, raw json.RawMessage) (string, error) {
	var s string
	quoted := json.Unmarshal(raw, &s) == nil
	switch typ {
	case rawttlv.Boolean, rawttlv.Interval:
		if quoted {
			return "", fmt.Errorf("rawtext: %s is %s", typ, raw)
		}
		return string(raw), nil
	case rawttlv.Integer, rawttlv.LongInteger: // a number, or the names of a mask or all digits of a large one
		if !quoted {
			return string(raw), nil
		}
		if s != "" && s[0] >= '1' && s[0] <= '9' {
			return "", fmt.Errorf("rawtext: %s is %s", typ, raw)
		}
		return s, nil
	case rawttlv.BigInteger:
		digits, ok := strings.CutPrefix(s, "0x")
		if !ok {
			return "", fmt.Errorf("rawtext: %s is %s", typ, raw)
		}
		return digits, nil
	}
	if !quoted {
		return "", fmt.Errorf("rawtext: %s is %s", typ, raw)
	}
	return s, nil
}
