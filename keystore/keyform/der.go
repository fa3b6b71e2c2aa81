package keyform

import "math/big"

// A small DER reader and writer. encoding/asn1 would copy every private number into memory that cannot be wiped, and
// crypto/x509 refuses curves, key sizes and certificates that clients register and expect back.

// DER tags in use.
const (
	derBool       = 0x01
	derInt        = 0x02
	derBits       = 0x03
	derOctets     = 0x04
	derNull       = 0x05
	derOID        = 0x06
	derUTF8       = 0x0C
	derNumeric    = 0x12
	derPrintable  = 0x13
	derT61        = 0x14
	derIA5        = 0x16
	derUniversal  = 0x1C
	derBMP        = 0x1E
	derSeq        = 0x30
	derSet        = 0x31
	derPrimitive1 = 0x81 // context-specific: implicit tags of primitive values,
	derPrimitive2 = 0x82
	derContext0   = 0xA0 // and of constructed ones or explicit
	derContext1   = 0xA1
	derContext3   = 0xA3
)

// reader walks the members of a constructed value. After a failure it stays failed; callers ask done or ok at the end.
type reader struct {
	rest   []byte
	failed bool
}

// any reads the next value whatever its tag: its contents, and its whole encoding.
func (r *reader) any() (tag byte, body, full []byte) {
	b := r.rest
	if r.failed || len(b) < 2 || b[0]&0x1f == 0x1f {
		r.failed = true
		return 0, nil, nil
	}
	n, head := int(b[1]), 2
	if n >= 0x80 {
		k := n & 0x7f
		// Four octets of length are more than any message holds. DER wants the shortest form.
		if k == 0 || k > 4 || len(b) < 2+k || b[2] == 0 {
			r.failed = true
			return 0, nil, nil
		}
		n = 0
		for _, c := range b[2 : 2+k] {
			n = n<<8 | int(c)
		}
		head += k
		if n < 0x80 {
			r.failed = true
			return 0, nil, nil
		}
	}
	if n < 0 || n > len(b)-head {
		r.failed = true
		return 0, nil, nil
	}
	r.rest = b[head+n:]
	return b[0], b[head : head+n : head+n], b[: head+n : head+n]
}

// next reads a value that must have the tag.
func (r *reader) next(tag byte) []byte {
	got, body, _ := r.any()
	if got != tag {
		r.failed = true
		return nil
	}
	return body
}

// peek tells whether a value with the tag comes next.
func (r *reader) peek(tag byte) bool { return !r.failed && len(r.rest) > 0 && r.rest[0] == tag }

// enter reads a constructed value and returns a reader of its members.
func (r *reader) enter(tag byte) *reader {
	body := r.next(tag)
	return &reader{rest: body, failed: r.failed}
}

// done tells that everything was read and nothing failed.
func (r *reader) done() bool { return !r.failed && len(r.rest) == 0 }

// uint reads a non-negative INTEGER.
func (r *reader) uint() *big.Int {
	b := r.next(derInt)
	if len(b) == 0 || b[0]&0x80 != 0 || len(b) > 1 && b[0] == 0 && b[1]&0x80 == 0 {
		r.failed = true
	}
	if r.failed {
		return new(big.Int)
	}
	return new(big.Int).SetBytes(b)
}

// small reads an INTEGER from 0 to 127, such as a version.
func (r *reader) small() int {
	b := r.next(derInt)
	if len(b) != 1 || b[0]&0x80 != 0 {
		r.failed = true
		return -1
	}
	return int(b[0])
}

// bits reads a BIT STRING of whole octets.
func (r *reader) bits() []byte {
	b := r.next(derBits)
	if len(b) == 0 || b[0] != 0 {
		r.failed = true
		return nil
	}
	return b[1:]
}

// derAppend appends a value with the given contents.
func derAppend(b []byte, tag byte, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	b = append(b, tag)
	switch {
	case n < 0x80:
		b = append(b, byte(n))
	case n < 0x100:
		b = append(b, 0x81, byte(n))
	case n < 0x10000:
		b = append(b, 0x82, byte(n>>8), byte(n))
	default:
		b = append(b, 0x83, byte(n>>16), byte(n>>8), byte(n))
	}
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// der makes a value. It is one allocation of the right size, so that nothing is left behind by growing.
func der(tag byte, parts ...[]byte) []byte {
	n := 5
	for _, p := range parts {
		n += len(p)
	}
	return derAppend(make([]byte, 0, n), tag, parts...)
}

// derSecret is der for parts that hold key bytes: it wipes them.
func derSecret(tag byte, parts ...[]byte) []byte {
	out := der(tag, parts...)
	for _, p := range parts {
		clear(p)
	}
	return out
}

// derUint makes an INTEGER of a non-negative number.
func derUint(n *big.Int) []byte {
	size := n.BitLen()/8 + 1 // a leading zero octet when the top bit is set, and one octet for zero
	body := n.FillBytes(make([]byte, size))
	return derSecret(derInt, body)
}

// wipe overwrites numbers, also beyond their present length.
func wipe(ns ...*big.Int) {
	for _, n := range ns {
		if n != nil {
			w := n.Bits()
			clear(w[:cap(w)])
			n.SetInt64(0)
		}
	}
}
