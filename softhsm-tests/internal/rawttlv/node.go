// Package rawttlv reads and writes binary KMIP messages as plain trees, without knowing what any tag means.
//
// It shares no code with kmipd/kmip/ttlv on purpose: the tests use it as a second opinion, so a mistake in the server's
// codec cannot hide behind the same mistake in the test. Not safe for concurrent changes of one tree.
package rawttlv

import (
	"fmt"
	"math/big"
	"strings"
	"time"
)

// Type is the item type octet (KMIP 1.4 section 9.1.1.2).
type Type byte

// The item types.
const (
	Structure   Type = 1
	Integer     Type = 2
	LongInteger Type = 3
	BigInteger  Type = 4
	Enumeration Type = 5
	Boolean     Type = 6
	TextString  Type = 7
	ByteString  Type = 8
	DateTime    Type = 9
	Interval    Type = 10
)

var typeNames = map[Type]string{
	Structure: "Structure", Integer: "Integer", LongInteger: "LongInteger", BigInteger: "BigInteger",
	Enumeration: "Enumeration", Boolean: "Boolean", TextString: "TextString", ByteString: "ByteString",
	DateTime: "DateTime", Interval: "Interval",
}

// String is the name that the KMIP XML encoding uses.
func (t Type) String() string {
	if s, ok := typeNames[t]; ok {
		return s
	}
	return fmt.Sprintf("Type(0x%02X)", byte(t))
}

// ParseType is the inverse of Type.String.
func ParseType(name string) (Type, bool) {
	for t, s := range typeNames {
		if s == name {
			return t, true
		}
	}
	return 0, false
}

// Node is one item. Value holds int32 (Integer), int64 (Long Integer), *big.Int (Big Integer), uint32 (Enumeration and
// Interval), bool, string, []byte or time.Time in UTC; a Structure has Children instead.
//
// A caller may put a value of another type there (the OASIS cases keep variables such as $NOW in it) as long as it
// resolves it before Encode.
type Node struct {
	Tag      uint32
	Type     Type
	Value    any
	Children []*Node
}

// Struct makes a Structure.
func Struct(tag uint32, children ...*Node) *Node {
	return &Node{Tag: tag, Type: Structure, Children: children}
}

// Int makes an Integer.
func Int(tag uint32, v int32) *Node { return &Node{Tag: tag, Type: Integer, Value: v} }

// Enum makes an Enumeration.
func Enum(tag, v uint32) *Node { return &Node{Tag: tag, Type: Enumeration, Value: v} }

// Text makes a Text String.
func Text(tag uint32, v string) *Node { return &Node{Tag: tag, Type: TextString, Value: v} }

// Bytes makes a Byte String.
func Bytes(tag uint32, v []byte) *Node { return &Node{Tag: tag, Type: ByteString, Value: v} }

// Bool makes a Boolean.
func Bool(tag uint32, v bool) *Node { return &Node{Tag: tag, Type: Boolean, Value: v} }

// Date makes a Date-Time of whole seconds.
func Date(tag uint32, v time.Time) *Node {
	return &Node{Tag: tag, Type: DateTime, Value: v.UTC().Truncate(time.Second)}
}

// Child returns the first child with the tag, or nil; it may be called on nil.
func (n *Node) Child(tag uint32) *Node {
	if n == nil {
		return nil
	}
	for _, c := range n.Children {
		if c.Tag == tag {
			return c
		}
	}
	return nil
}

// Find walks down the tags, or returns nil.
func (n *Node) Find(tags ...uint32) *Node {
	for _, t := range tags {
		n = n.Child(t)
	}
	return n
}

// All returns every child with the tag.
func (n *Node) All(tag uint32) []*Node {
	var out []*Node
	if n != nil {
		for _, c := range n.Children {
			if c.Tag == tag {
				out = append(out, c)
			}
		}
	}
	return out
}

// Text returns the text of a Text String, or "" for nil and for every other type.
func (n *Node) Text() string {
	if n == nil {
		return ""
	}
	s, _ := n.Value.(string)
	return s
}

// Bytes returns the octets of a Byte String, or nil.
func (n *Node) Bytes() []byte {
	if n == nil {
		return nil
	}
	b, _ := n.Value.([]byte)
	return b
}

// Enum returns the value of an Enumeration, or 0.
func (n *Node) Enum() uint32 {
	if n == nil {
		return 0
	}
	v, _ := n.Value.(uint32)
	return v
}

// Walk calls f for the node and everything below it, parents first.
func (n *Node) Walk(f func(*Node)) {
	f(n)
	for _, c := range n.Children {
		c.Walk(f)
	}
}

// Namer turns tags and values into words; a nil one prints numbers. The registry package has one.
type Namer interface {
	TagName(tag uint32) string
	ValueName(tag uint32, t Type, value any) string
}

// Dump is the tree as indented text, one item a line.
func (n *Node) Dump(names Namer) string {
	var b strings.Builder
	n.dump(&b, names, 0)
	return b.String()
}

func (n *Node) dump(b *strings.Builder, names Namer, depth int) {
	fmt.Fprintf(b, "%s%s", strings.Repeat("  ", depth), tagName(names, n.Tag))
	if n.Type == Structure {
		b.WriteByte('\n')
		for _, c := range n.Children {
			c.dump(b, names, depth+1)
		}
		return
	}
	fmt.Fprintf(b, " (%s) = %s\n", n.Type, n.Show(names))
}

// Show is the value alone as short text.
func (n *Node) Show(names Namer) string {
	if names != nil {
		if s := names.ValueName(n.Tag, n.Type, n.Value); s != "" {
			return s
		}
	}
	switch v := n.Value.(type) {
	case []byte:
		if len(v) > 48 {
			return fmt.Sprintf("%x... (%d octets)", v[:48], len(v))
		}
		return fmt.Sprintf("%x", v)
	case string:
		return fmt.Sprintf("%q", v)
	case time.Time:
		return v.Format(time.RFC3339)
	case *big.Int:
		return v.Text(16)
	case uint32:
		if n.Type == Enumeration {
			return fmt.Sprintf("0x%08X", v)
		}
	case nil:
		return fmt.Sprintf("{%d fields}", len(n.Children))
	}
	return fmt.Sprint(n.Value)
}

func tagName(names Namer, tag uint32) string {
	if names != nil {
		return names.TagName(tag)
	}
	return fmt.Sprintf("0x%06X", tag)
}
