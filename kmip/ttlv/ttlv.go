// Package ttlv reads and writes the binary TTLV encoding of KMIP (KMIP 1.4 section 9.1, KMIP 2.1 section 10.1).
//
// Reading is two steps. Parse walks a whole message once and refuses everything malformed: a type that does not exist, a
// length that does not fit its type, padding that is not zero, nesting or item counts over the caps, octets left over.
// What it returns can then be walked without errors. Writing appends to a caller's slice. Parse accepts exactly what
// the writer writes: an accepted message re-encodes to the same octets.
package ttlv

import (
	"encoding/binary"
	"fmt"
	"math/big"
	"time"
	"unicode/utf8"
)

// Tag is a KMIP tag: 3 octets, 42xxxx for standard tags and 54xxxx for extensions.
type Tag uint32

// Type is the TTLV type octet.
type Type uint8

// The TTLV types. DateTimeExtended is new in KMIP 2.0.
const (
	Structure        Type = 1
	Integer          Type = 2
	LongInteger      Type = 3
	BigInteger       Type = 4
	Enumeration      Type = 5
	Boolean          Type = 6
	TextString       Type = 7
	ByteString       Type = 8
	DateTime         Type = 9
	Interval         Type = 10
	DateTimeExtended Type = 11
)

var typeNames = [...]string{"", "Structure", "Integer", "Long Integer", "Big Integer", "Enumeration", "Boolean",
	"Text String", "Byte String", "Date-Time", "Interval", "Date-Time Extended"}

// String is the specification's name of the type.
func (t Type) String() string {
	if t >= Structure && t <= DateTimeExtended {
		return typeNames[t]
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// HeaderSize is the size of tag, type and length of an item, in octets.
const HeaderSize = 8

// Limits bound what Parse accepts.
type Limits struct {
	MaxSize  int // octets of the message
	MaxDepth int // nesting of structures
	MaxItems int // items in the message, structures included
}

// DefaultLimits suit a server that faces the network.
var DefaultLimits = Limits{MaxSize: 1 << 20, MaxDepth: 24, MaxItems: 65536}

// Error says where and why octets are not TTLV. Its text holds no values.
type Error struct {
	Offset int // octets from the start of the message
	Tag    Tag // 0 when the header itself could not be read
	Reason string
}

func (e *Error) Error() string {
	return fmt.Sprintf("ttlv: at octet %d (tag %06X): %s", e.Offset, uint32(e.Tag), e.Reason)
}

// Item is one TTLV item. Value is its value field without padding; for a Structure, its encoded members. It shares the
// memory of the message that it was parsed from. The zero Item is "absent".
type Item struct {
	Tag   Tag
	Type  Type
	Value []byte
}

// IsZero tells an absent item.
func (i Item) IsZero() bool { return i.Type == 0 }

// Parse checks one message and returns its root item. It allocates nothing unless it fails.
func Parse(msg []byte, lim Limits) (Item, error) {
	if len(msg) > lim.MaxSize {
		return Item{}, &Error{Reason: "message is larger than the limit"}
	}
	w := walker{msg: msg, lim: lim}
	end, err := w.item(0, len(msg), 1)
	if err != nil {
		return Item{}, err
	}
	if end != len(msg) {
		return Item{}, &Error{Offset: end, Reason: "octets after the end of the message"}
	}
	it, _ := split(msg)
	return it, nil
}

type walker struct {
	msg   []byte
	lim   Limits
	items int
}

// item checks the item at off, which must end at or before limit, and returns the offset behind its padding.
func (w *walker) item(off, limit, depth int) (int, error) {
	if limit-off < HeaderSize {
		return 0, &Error{Offset: off, Reason: "item header is cut off"}
	}
	h := w.msg[off:]
	tag, typ := Tag(h[0])<<16|Tag(h[1])<<8|Tag(h[2]), Type(h[3])
	length := int64(binary.BigEndian.Uint32(h[4:]))
	fail := func(reason string) (int, error) { return 0, &Error{Offset: off, Tag: tag, Reason: reason} }
	if h[0] != 0x42 && h[0] != 0x54 {
		return fail("tag is neither standard nor extension")
	}
	if w.items++; w.items > w.lim.MaxItems {
		return fail("too many items")
	}
	if reason := checkLength(typ, length); reason != "" {
		return fail(reason)
	}
	padded := (length + 7) &^ 7
	start := off + HeaderSize
	if padded > int64(limit-start) {
		return fail("length goes past the end of its structure")
	}
	end := start + int(length)
	if reason := checkValue(typ, w.msg[start:end]); reason != "" {
		return fail(reason)
	}
	for _, b := range w.msg[end : start+int(padded)] {
		if b != 0 {
			return fail("padding is not zero")
		}
	}
	if typ != Structure {
		return start + int(padded), nil
	}
	if depth >= w.lim.MaxDepth {
		return fail("structures are nested too deeply")
	}
	for pos := start; pos < end; {
		var err error
		if pos, err = w.item(pos, end, depth+1); err != nil {
			return 0, err
		}
	}
	return end, nil
}

// checkLength is the table of KMIP 1.4 section 9.1.1.3: the length that each type allows.
func checkLength(typ Type, n int64) string {
	switch typ {
	case Integer, Enumeration, Interval:
		if n != 4 {
			return "length is not 4"
		}
	case LongInteger, Boolean, DateTime, DateTimeExtended:
		if n != 8 {
			return "length is not 8"
		}
	case BigInteger:
		if n == 0 || n%8 != 0 {
			return "length is not a multiple of 8"
		}
	case Structure:
		if n%8 != 0 {
			return "structure length is not a multiple of 8"
		}
	case TextString, ByteString:
	default:
		return "type does not exist"
	}
	return ""
}

func checkValue(typ Type, v []byte) string {
	switch typ {
	case Boolean:
		if binary.BigEndian.Uint64(v) > 1 {
			return "Boolean is neither 0 nor 1"
		}
	case TextString:
		if !utf8.Valid(v) {
			return "Text String is not UTF-8"
		}
	}
	return ""
}

// split cuts the first item off encoded members. The octets were checked by Parse or come from this package's writer.
func split(b []byte) (Item, []byte) {
	n := int(binary.BigEndian.Uint32(b[4:]))
	it := Item{
		Tag:   Tag(b[0])<<16 | Tag(b[1])<<8 | Tag(b[2]),
		Type:  Type(b[3]),
		Value: b[HeaderSize : HeaderSize+n : HeaderSize+n],
	}
	return it, b[HeaderSize+(n+7)&^7:]
}

// Members iterates over the members of a Structure in order; over nothing for other types.
func (i Item) Members(yield func(Item) bool) {
	if i.Type != Structure {
		return
	}
	for rest := i.Value; len(rest) > 0; {
		var m Item
		m, rest = split(rest)
		if !yield(m) {
			return
		}
	}
}

// Find is the first member with the tag, or the zero Item.
func (i Item) Find(tag Tag) Item {
	for m := range i.Members {
		if m.Tag == tag {
			return m
		}
	}
	return Item{}
}

// The accessors below expect an item of their type, as Parse and a type check have established.

// Int is the value of an Integer.
func (i Item) Int() int32 { return int32(binary.BigEndian.Uint32(i.Value)) }

// Enum is the value of an Enumeration.
func (i Item) Enum() uint32 { return binary.BigEndian.Uint32(i.Value) }

// Interval is the value of an Interval, in seconds.
func (i Item) Interval() uint32 { return binary.BigEndian.Uint32(i.Value) }

// Long is the value of a Long Integer.
func (i Item) Long() int64 { return int64(binary.BigEndian.Uint64(i.Value)) }

// Bool is the value of a Boolean.
func (i Item) Bool() bool { return i.Value[7] == 1 }

// Text is the value of a Text String.
func (i Item) Text() string { return string(i.Value) }

// Time is the value of a Date-Time, UTC, in whole seconds.
func (i Item) Time() time.Time { return time.Unix(i.Long(), 0).UTC() }

// BigInt is the value of a Big Integer (two's complement).
func (i Item) BigInt() *big.Int {
	n := new(big.Int).SetBytes(i.Value)
	if len(i.Value) > 0 && i.Value[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(i.Value))))
	}
	return n
}

// Clone is a copy with memory of its own.
func (i Item) Clone() Item {
	i.Value = append([]byte(nil), i.Value...)
	return i
}

// Equal compares type and value; tags may differ.
func (i Item) Equal(o Item) bool { return i.Type == o.Type && string(i.Value) == string(o.Value) }
