package rawttlv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"time"
	"unicode/utf8"
)

// Encode writes the tree as octets. It refuses a value whose Go type does not fit the item type.
func Encode(n *Node) ([]byte, error) {
	return appendNode(nil, n)
}

// MustEncode is Encode for trees that the test itself wrote.
func MustEncode(n *Node) []byte {
	b, err := Encode(n)
	if err != nil {
		panic(err)
	}
	return b
}

func appendNode(b []byte, n *Node) ([]byte, error) {
	b = append(b, byte(n.Tag>>16), byte(n.Tag>>8), byte(n.Tag), byte(n.Type))
	lengthAt := len(b)
	b = append(b, 0, 0, 0, 0)
	start := len(b)
	var err error
	if n.Type == Structure {
		for _, c := range n.Children {
			if b, err = appendNode(b, c); err != nil {
				return nil, err
			}
		}
	} else if b, err = appendValue(b, n); err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint32(b[lengthAt:], uint32(len(b)-start))
	for (len(b)-start)%8 != 0 {
		b = append(b, 0)
	}
	return b, nil
}

func appendValue(b []byte, n *Node) ([]byte, error) {
	switch v := n.Value.(type) {
	case int32:
		if n.Type == Integer {
			return binary.BigEndian.AppendUint32(b, uint32(v)), nil
		}
	case int64:
		if n.Type == LongInteger {
			return binary.BigEndian.AppendUint64(b, uint64(v)), nil
		}
	case *big.Int:
		if n.Type == BigInteger {
			return append(b, bigOctets(v)...), nil
		}
	case uint32:
		if n.Type == Enumeration || n.Type == Interval {
			return binary.BigEndian.AppendUint32(b, v), nil
		}
	case bool:
		if n.Type == Boolean {
			var u uint64
			if v {
				u = 1
			}
			return binary.BigEndian.AppendUint64(b, u), nil
		}
	case string:
		if n.Type == TextString {
			return append(b, v...), nil
		}
	case []byte:
		if n.Type == ByteString {
			return append(b, v...), nil
		}
	case time.Time:
		if n.Type == DateTime {
			return binary.BigEndian.AppendUint64(b, uint64(v.Unix())), nil
		}
	}
	return nil, fmt.Errorf("rawttlv: tag 0x%06X: %s cannot hold %T", n.Tag, n.Type, n.Value)
}

// bigOctets is two's complement, sign-extended on the left to a multiple of eight octets.
func bigOctets(v *big.Int) []byte {
	size := (v.BitLen()/8/8 + 1) * 8 // BitLen/8+1 octets hold the number and its sign bit
	if v.Sign() >= 0 {
		return v.FillBytes(make([]byte, size))
	}
	wrapped := new(big.Int).Add(v, new(big.Int).Lsh(big.NewInt(1), uint(size)*8))
	return wrapped.FillBytes(make([]byte, size))
}

// fixed is the length that a type must have; -1 is any, -8 any multiple of eight.
var fixed = map[Type]int{
	Structure: -8, Integer: 4, LongInteger: 8, BigInteger: -8, Enumeration: 4, Boolean: 8, TextString: -1,
	ByteString: -1, DateTime: 8, Interval: 4,
}

// ErrFormat is the class of every decoding failure.
var ErrFormat = errors.New("rawttlv: bad encoding")

// Decode reads exactly one item. It is strict: lengths must fit the type, padding must be zero, nothing may follow.
func Decode(b []byte) (*Node, error) {
	n, rest, err := decodeItem(b, 0)
	if err != nil {
		return nil, err
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("%w: %d octets after the message", ErrFormat, len(rest))
	}
	return n, nil
}

const maxDepth = 64

func decodeItem(b []byte, depth int) (*Node, []byte, error) {
	if depth > maxDepth {
		return nil, nil, fmt.Errorf("%w: too deep", ErrFormat)
	}
	if len(b) < 8 {
		return nil, nil, fmt.Errorf("%w: %d octets left, a header has 8", ErrFormat, len(b))
	}
	n := &Node{Tag: uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]), Type: Type(b[3])}
	length := int(binary.BigEndian.Uint32(b[4:8]))
	b = b[8:]
	want, known := fixed[n.Type]
	if !known {
		return nil, nil, fmt.Errorf("%w: tag 0x%06X has unknown type 0x%02X", ErrFormat, n.Tag, byte(n.Type))
	}
	if want > 0 && length != want || want == -8 && length%8 != 0 {
		return nil, nil, fmt.Errorf("%w: tag 0x%06X: %s of %d octets", ErrFormat, n.Tag, n.Type, length)
	}
	padded := (length + 7) &^ 7
	if padded > len(b) {
		return nil, nil, fmt.Errorf("%w: tag 0x%06X wants %d octets, %d are left", ErrFormat, n.Tag, padded, len(b))
	}
	if len(bytes.Trim(b[length:padded], "\x00")) != 0 {
		return nil, nil, fmt.Errorf("%w: tag 0x%06X: padding is not zero", ErrFormat, n.Tag)
	}
	value, rest := b[:length], b[padded:]
	if n.Type == Structure {
		for len(value) > 0 {
			c, after, err := decodeItem(value, depth+1)
			if err != nil {
				return nil, nil, err
			}
			n.Children, value = append(n.Children, c), after
		}
		return n, rest, nil
	}
	return n, rest, n.decodeValue(value)
}

func (n *Node) decodeValue(v []byte) error {
	switch n.Type {
	case Integer:
		n.Value = int32(binary.BigEndian.Uint32(v))
	case LongInteger:
		n.Value = int64(binary.BigEndian.Uint64(v))
	case BigInteger:
		i := new(big.Int).SetBytes(v)
		if len(v) > 0 && v[0]&0x80 != 0 {
			i.Sub(i, new(big.Int).Lsh(big.NewInt(1), uint(len(v))*8))
		}
		n.Value = i
	case Enumeration, Interval:
		n.Value = binary.BigEndian.Uint32(v)
	case Boolean:
		u := binary.BigEndian.Uint64(v)
		if u > 1 {
			return fmt.Errorf("%w: tag 0x%06X: Boolean %d", ErrFormat, n.Tag, u)
		}
		n.Value = u == 1
	case TextString:
		if !utf8.Valid(v) {
			return fmt.Errorf("%w: tag 0x%06X: text is not UTF-8", ErrFormat, n.Tag)
		}
		n.Value = string(v)
	case ByteString:
		n.Value = append([]byte{}, v...) // a copy, and never nil
	case DateTime:
		n.Value = time.Unix(int64(binary.BigEndian.Uint64(v)), 0).UTC()
	}
	return nil
}

// Equal says whether two trees are the same item for item.
func Equal(a, b *Node) bool {
	if a.Tag != b.Tag || a.Type != b.Type || len(a.Children) != len(b.Children) || !SameValue(a.Value, b.Value) {
		return false
	}
	for i := range a.Children {
		if !Equal(a.Children[i], b.Children[i]) {
			return false
		}
	}
	return true
}

// SameValue compares two values of Node.Value.
func SameValue(a, b any) bool {
	switch x := a.(type) {
	case []byte:
		y, ok := b.([]byte)
		return ok && bytes.Equal(x, y)
	case *big.Int:
		y, ok := b.(*big.Int)
		return ok && x.Cmp(y) == 0
	case time.Time:
		y, ok := b.(time.Time)
		return ok && x.Equal(y)
	}
	return a == b
}
