// Package rawtext writes and reads messages in the XML and JSON encodings of KMIP as the trees of rawttlv.
//
// It shares no code with kmipd/kmip/text, and stands on encoding/xml and encoding/json instead: the tests use it as a second
// opinion. It writes what the specification lets clients write, in more than one of the ways, and reads only the one form in
// which an answer of kmipd may be.
package rawtext

import (
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"kmipd/softhsm-tests/internal/rawttlv"
	"kmipd/softhsm-tests/internal/registry"
)

// Codec is one of the encodings, "xml" or "json". It is safe for concurrent use.
type Codec struct {
	Encoding string
	Registry *registry.Registry
}

// Encode writes a message.
func (c *Codec) Encode(n *rawttlv.Node) ([]byte, error) {
	if c.Encoding == "xml" {
		return c.encodeXML(n)
	}
	return c.encodeJSON(n)
}

// Decode reads a message.
func (c *Codec) Decode(b []byte) (*rawttlv.Node, error) {
	if c.Encoding == "xml" {
		return c.decodeXML(b)
	}
	return c.decodeJSON(b)
}

// key is the name by which the registry knows the values of an item: that of the attribute for an Attribute Value.
func (c *Codec) key(tag, attribute string) string {
	if tag != "AttributeValue" {
		return tag
	}
	k, _ := c.Registry.AttributeKey(attribute)
	return k
}

// format is the text of a value, but for the Text String.
func (c *Codec) format(n *rawttlv.Node, key string) (string, error) {
	switch v := n.Value.(type) {
	case int32:
		if names := c.Registry.MaskNames(key, uint32(v)); len(names) > 0 {
			return strings.Join(names, c.between()), nil
		}
		return strconv.Itoa(int(v)), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case uint32:
		if n.Type == rawttlv.Interval {
			return strconv.FormatUint(uint64(v), 10), nil
		}
		if name := c.Registry.EnumName(key, v); name != "" {
			return name, nil
		}
		return fmt.Sprintf("0x%08X", v), nil
	case bool:
		return strconv.FormatBool(v), nil
	case []byte:
		return strings.ToUpper(hex.EncodeToString(v)), nil
	case time.Time:
		// The same instant on another clock.
		return v.In(time.FixedZone("", 5*3600+1800)).Format(time.RFC3339), nil
	case *big.Int:
		whole, err := rawttlv.Encode(n)
		if err != nil {
			return "", err
		}
		return hex.EncodeToString(whole[8:]), nil
	}
	return "", fmt.Errorf("rawtext: %T has no text", n.Value)
}

func (c *Codec) between() string {
	if c.Encoding == "xml" {
		return " "
	}
	return "|"
}

// parse reads the text of a value as kmipd writes it.
func (c *Codec) parse(typ rawttlv.Type, key, s string) (any, error) {
	switch typ {
	case rawttlv.Integer:
		if v, err := strconv.ParseInt(s, 10, 32); err == nil {
			return int32(v), nil
		}
		v, err := c.Registry.Mask(key, strings.ReplaceAll(s, c.between(), " "))
		return int32(v), err
	case rawttlv.LongInteger:
		if digits, ok := strings.CutPrefix(s, "0x"); ok && len(digits) == 16 {
			v, err := strconv.ParseUint(digits, 16, 64)
			return int64(v), err
		}
		return strconv.ParseInt(s, 10, 64)
	case rawttlv.BigInteger:
		b, err := hex.DecodeString(s)
		if err != nil || len(b) == 0 || len(b)%8 != 0 {
			return nil, fmt.Errorf("rawtext: Big Integer %q, %w", s, err)
		}
		v := new(big.Int).SetBytes(b)
		if b[0]&0x80 != 0 {
			v.Sub(v, new(big.Int).Lsh(big.NewInt(1), uint(len(b))*8))
		}
		return v, nil
	case rawttlv.Enumeration:
		if digits, ok := strings.CutPrefix(s, "0x"); ok && len(digits) != 8 {
			return nil, fmt.Errorf("rawtext: Enumeration %q", s)
		}
		return c.Registry.Enum(key, s)
	case rawttlv.Boolean:
		if !slices.Contains([]string{"true", "false"}, s) {
			return nil, fmt.Errorf("rawtext: Boolean %q", s)
		}
		return s == "true", nil
	case rawttlv.TextString:
		return s, nil
	case rawttlv.ByteString:
		return hex.DecodeString(s)
	case rawttlv.DateTime:
		d, err := time.Parse(time.RFC3339, s)
		return d.UTC(), err
	case rawttlv.Interval:
		v, err := strconv.ParseUint(s, 10, 32)
		return uint32(v), err
	}
	return nil, fmt.Errorf("rawtext: no values of type %s", typ)
}

// tag reads a name or a number.
func (c *Codec) tag(s string) (uint32, error) {
	if tag, ok := c.Registry.Tag(s); ok {
		return tag, nil
	}
	if digits, ok := strings.CutPrefix(s, "0x"); ok && len(digits) == 6 {
		v, err := strconv.ParseUint(digits, 16, 24)
		return uint32(v), err
	}
	return 0, fmt.Errorf("rawtext: unknown tag %q", s)
}

// typeOf reads the name of a type; none is Structure.
func typeOf(s string) (rawttlv.Type, error) {
	if s == "" {
		return rawttlv.Structure, nil
	}
	t, ok := rawttlv.ParseType(s)
	if !ok {
		return 0, fmt.Errorf("rawtext: unknown type %q", s)
	}
	return t, nil
}
