package keystore

import (
	"math/rand/v2"
	"testing"
)

// The two fields have the structure of a field: every element but 0 has an inverse, multiplication is commutative,
// associative and distributive. GF(2^8) is tried whole.
func TestFieldOf256(t *testing.T) {
	for _, poly := range []byte{polyAES, polySharing} {
		for a := range 256 {
			if a != 0 && mul8(byte(a), inv8(byte(a), poly), poly) != 1 {
				t.Fatalf("polynomial %#x: %#x times its inverse is not 1", poly, a)
			}
			for b := range 256 {
				ab := mul8(byte(a), byte(b), poly)
				if ab != mul8(byte(b), byte(a), poly) {
					t.Fatalf("polynomial %#x: %#x and %#x do not commute", poly, a, b)
				}
				for _, c := range []byte{1, 2, 0x53, 0xFF} {
					if mul8(ab, c, poly) != mul8(byte(a), mul8(byte(b), c, poly), poly) {
						t.Fatalf("polynomial %#x: (%#x %#x) %#x is not associative", poly, a, b, c)
					}
					if mul8(byte(a), byte(b)^c, poly) != ab^mul8(byte(a), c, poly) {
						t.Fatalf("polynomial %#x: %#x (%#x+%#x) is not distributive", poly, a, b, c)
					}
				}
			}
		}
		if inv8(0, poly) != 0 {
			t.Errorf("polynomial %#x: the inverse of 0 is %#x, want 0", poly, inv8(0, poly))
		}
	}
	// FIPS 197 sections 4.2 and 4.2.1.
	for _, row := range []struct{ a, b, want byte }{{0x57, 0x83, 0xC1}, {0x57, 0x13, 0xFE}, {0x57, 0x10, 0x07}} {
		if got := mul8(row.a, row.b, polyAES); got != row.want {
			t.Errorf("%#x times %#x: got %#x, want %#x", row.a, row.b, got, row.want)
		}
	}
}

func TestFieldOf65536(t *testing.T) {
	for a := range 1 << 16 {
		if got := mul16(uint16(a), inv16(uint16(a))); a != 0 && got != 1 {
			t.Fatalf("%#x times its inverse: got %#x, want 1", a, got)
		}
	}
	r := rand.New(rand.NewPCG(7, 8))
	for range 100000 {
		a, b, c := uint16(r.Uint32()), uint16(r.Uint32()), uint16(r.Uint32())
		if mul16(a, b) != mul16(b, a) || mul16(mul16(a, b), c) != mul16(a, mul16(b, c)) || mul16(a, b^c) != mul16(a, b)^mul16(a, c) {
			t.Fatalf("%#x, %#x, %#x: the laws of a field do not hold", a, b, c)
		}
		if a < 256 || b < 256 {
			continue
		}
		// The subfield is GF(2^8) of FIPS 197, and y*y = y + m (KMIP 1.4 section 2.2.5).
		if got, want := mul16(a&0xFF, b&0xFF), uint16(mul8(byte(a), byte(b), polyAES)); got != want {
			t.Fatalf("in the subfield: got %#x, want %#x", got, want)
		}
	}
	if got := mul16(0x100, 0x100); got != 0x13A {
		t.Errorf("y squared: got %#x, want %#x", got, 0x13A)
	}
}
