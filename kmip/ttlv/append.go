package ttlv

import (
	"encoding/binary"
	"math/big"
	"time"
)

var zeros [8]byte

func appendHeader(b []byte, tag Tag, typ Type, n int) []byte {
	b = append(b, byte(tag>>16), byte(tag>>8), byte(tag), byte(typ))
	return binary.BigEndian.AppendUint32(b, uint32(n))
}

func append32(b []byte, tag Tag, typ Type, v uint32) []byte {
	b = appendHeader(b, tag, typ, 4)
	b = binary.BigEndian.AppendUint32(b, v)
	return append(b, 0, 0, 0, 0)
}

func append64(b []byte, tag Tag, typ Type, v uint64) []byte {
	b = appendHeader(b, tag, typ, 8)
	return binary.BigEndian.AppendUint64(b, v)
}

// AppendInt appends an Integer.
func AppendInt(b []byte, tag Tag, v int32) []byte { return append32(b, tag, Integer, uint32(v)) }

// AppendEnum appends an Enumeration.
func AppendEnum(b []byte, tag Tag, v uint32) []byte { return append32(b, tag, Enumeration, v) }

// AppendInterval appends an Interval of v seconds.
func AppendInterval(b []byte, tag Tag, v uint32) []byte { return append32(b, tag, Interval, v) }

// AppendLong appends a Long Integer.
func AppendLong(b []byte, tag Tag, v int64) []byte { return append64(b, tag, LongInteger, uint64(v)) }

// AppendBool appends a Boolean.
func AppendBool(b []byte, tag Tag, v bool) []byte {
	var n uint64
	if v {
		n = 1
	}
	return append64(b, tag, Boolean, n)
}

// AppendTime appends a Date-Time: whole seconds, the fraction is dropped.
func AppendTime(b []byte, tag Tag, t time.Time) []byte {
	return append64(b, tag, DateTime, uint64(t.Unix()))
}

// AppendText appends a Text String.
func AppendText(b []byte, tag Tag, s string) []byte {
	b = appendHeader(b, tag, TextString, len(s))
	b = append(b, s...)
	return append(b, zeros[:(8-len(s)%8)%8]...)
}

// AppendBytes appends a Byte String.
func AppendBytes(b []byte, tag Tag, v []byte) []byte {
	return appendPadded(b, tag, ByteString, v)
}

func appendPadded(b []byte, tag Tag, typ Type, v []byte) []byte {
	b = appendHeader(b, tag, typ, len(v))
	b = append(b, v...)
	return append(b, zeros[:(8-len(v)%8)%8]...)
}

// AppendBigInt appends a Big Integer in the shortest two's complement that is a multiple of 8 octets.
func AppendBigInt(b []byte, tag Tag, n *big.Int) []byte {
	bits := n.BitLen()
	if n.Sign() < 0 {
		bits = new(big.Int).Not(n).BitLen() // of -n-1: -2^63 fits 8 octets, 2^63 does not
	}
	size := (bits/8 + 8) &^ 7 // one bit more, for the sign, rounded up to 8 octets
	if n.Sign() < 0 {
		n = new(big.Int).Add(n, new(big.Int).Lsh(big.NewInt(1), uint(8*size)))
	}
	b = appendHeader(b, tag, BigInteger, size)
	start := len(b)
	b = append(b, make([]byte, size)...)
	n.FillBytes(b[start:])
	return b
}

// Begin starts a Structure; End closes the one that began at mark.
func Begin(b []byte, tag Tag) (out []byte, mark int) {
	b = appendHeader(b, tag, Structure, 0)
	return b, len(b)
}

// End writes the length of the Structure that Begin started.
func End(b []byte, mark int) []byte {
	binary.BigEndian.PutUint32(b[mark-4:], uint32(len(b)-mark))
	return b
}

// AppendItem appends an item under a tag of the caller's choice.
func AppendItem(b []byte, tag Tag, it Item) []byte { return appendPadded(b, tag, it.Type, it.Value) }

// Size is the encoded size of the item, header and padding included.
func (i Item) Size() int { return HeaderSize + (len(i.Value)+7)&^7 }

// Make builds an Item from an encoding made by one of the Append functions.
func Make(encoded []byte) Item {
	it, _ := split(encoded)
	return it
}
