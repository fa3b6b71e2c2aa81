package keystore

// The fields of polynomial secret sharing (KMIP 1.4 section 2.2.5). Elements are secret: the arithmetic has neither tables
// nor branches that depend on them, so that caches and time tell nothing. Exponents and Key Part Identifiers are public.

// The moduli of GF(2^8), without x^8.
const (
	// polyAES is that of FIPS 197, x^8+x^4+x^3+x+1, over which KMIP builds GF(2^16).
	polyAES = 0x1B
	// polySharing is that of the method Polynomial Sharing GF (2^8), x^8+x^4+x^3+x^2+1. The specification is silent; the
	// parts in the OASIS cases TC-SJ-2 and TC-SJ-3 are of this field.
	polySharing = 0x1D
)

// mul8 multiplies in GF(2^8).
func mul8(a, b, poly byte) byte {
	var r byte
	for range 8 {
		r ^= a & -(b & 1)
		a = a<<1 ^ poly&-(a>>7)
		b >>= 1
	}
	return r
}

// inv8 is the inverse in GF(2^8): the 254th power. That of 0 is 0.
func inv8(a, poly byte) byte {
	r := byte(1)
	for range 7 {
		a = mul8(a, a, poly)
		r = mul8(r, a, poly) // a^2, a^6, a^14 ... a^254
	}
	return r
}

// mul16 multiplies in GF(2^16) = GF(2^8)[y]/(y^2+y+m), m = 0x3A. The element uy+v has u in the high octet.
func mul16(a, b uint16) uint16 {
	const m = 0x3A
	r, s, u, v := byte(a>>8), byte(a), byte(b>>8), byte(b)
	sv := mul8(s, v, polyAES)
	ru := mul8(r, u, polyAES)
	high := mul8(r^s, u^v, polyAES) ^ sv
	return uint16(high)<<8 | uint16(sv^mul8(ru, m, polyAES))
}

// inv16 is the inverse in GF(2^16). That of 0 is 0.
func inv16(a uint16) uint16 {
	const m = 0x3A
	u, v := byte(a>>8), byte(a)
	d := inv8(mul8(u^v, v, polyAES)^mul8(m, mul8(u, u, polyAES), polyAES), polyAES)
	return uint16(mul8(u, d, polyAES))<<8 | uint16(mul8(u^v, d, polyAES))
}

// field is GF(2^8) or GF(2^16), by the octets that an element takes. Addition is XOR.
type field struct{ octets int }

func (f field) mul(a, b uint16) uint16 {
	if f.octets == 1 {
		return uint16(mul8(byte(a), byte(b), polySharing))
	}
	return mul16(a, b)
}

func (f field) inv(a uint16) uint16 {
	if f.octets == 1 {
		return uint16(inv8(byte(a), polySharing))
	}
	return inv16(a)
}

// at is element i of octets; put sets it.
func (f field) at(b []byte, i int) uint16 {
	if f.octets == 1 {
		return uint16(b[i])
	}
	return uint16(b[2*i])<<8 | uint16(b[2*i+1])
}

func (f field) put(b []byte, i int, v uint16) {
	if f.octets == 1 {
		b[i] = byte(v)
		return
	}
	b[2*i], b[2*i+1] = byte(v>>8), byte(v)
}

// evaluate is the value at x of the polynomials whose coefficients are given, lowest first, one polynomial for each
// element of the octets.
func (f field) evaluate(coefficients [][]byte, x uint16) []byte {
	out := make([]byte, len(coefficients[0]))
	for i := range len(out) / f.octets {
		var y uint16
		for k := len(coefficients) - 1; k >= 0; k-- {
			y = f.mul(y, x) ^ f.at(coefficients[k], i)
		}
		f.put(out, i, y)
	}
	return out
}

// interpolate is the value at 0 of the polynomials through the points (x, values).
func (f field) interpolate(x []uint16, values [][]byte) []byte {
	out := make([]byte, len(values[0]))
	for j := range x {
		weight := uint16(1)
		for m := range x {
			if m != j {
				weight = f.mul(weight, f.mul(x[m], f.inv(x[j]^x[m])))
			}
		}
		for i := range len(out) / f.octets {
			f.put(out, i, f.at(out, i)^f.mul(weight, f.at(values[j], i)))
		}
	}
	return out
}
