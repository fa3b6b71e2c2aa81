package keystore

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"

	"kmipd/kmip"
)

func octetsIn(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// prime521 is a prime with room for secrets of up to 65 octets.
var prime521 = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 521), big.NewInt(1))

// Every choice of as many parts as the threshold gives the secret back; fewer give something else.
func TestSharing(t *testing.T) {
	r := rand.NewChaCha8([32]byte{1})
	random := func(n int) ([]byte, error) {
		b := make([]byte, n)
		_, err := r.Read(b)
		return b, err
	}
	const xor, gf8, gf16, prime = kmip.SplitKeyMethodXOR, kmip.SplitKeyMethodPolynomialSharingGF2_8,
		kmip.SplitKeyMethodPolynomialSharingGF2_16, kmip.SplitKeyMethodPolynomialSharingPrimeField
	for _, row := range []struct {
		method           kmip.SplitKeyMethod
		parts, threshold int
		octets           int
	}{
		{xor, 1, 1, 16}, {xor, 2, 2, 16}, {xor, 6, 6, 33},
		{gf8, 1, 1, 16}, {gf8, 3, 1, 16}, {gf8, 5, 3, 32}, {gf8, 6, 6, 17}, {gf8, 64, 2, 16},
		{gf16, 1, 1, 16}, {gf16, 5, 3, 32}, {gf16, 6, 4, 17}, {gf16, 3, 2, 1},
		{prime, 1, 1, 16}, {prime, 5, 3, 32}, {prime, 6, 4, 65}, {prime, 3, 2, 1},
	} {
		t.Run(fmt.Sprintf("%s %d of %d, %d octets", row.method, row.threshold, row.parts, row.octets), func(t *testing.T) {
			h := &sharing{method: row.method, parts: row.parts, threshold: row.threshold}
			if row.method == prime {
				h.prime = prime521
			}
			if err := h.check(kmip.V1_4, maxParts); err != nil {
				t.Fatal(err)
			}
			secret, _ := random(row.octets)
			secret[0] = 0 // leading zeros are part of a key
			values, err := h.split(secret, random)
			if err != nil {
				t.Fatal(err)
			}
			all := make([]share, row.parts)
			for i, v := range values {
				all[i] = share{i + 1, v}
				if len(v) != h.shareOctets(row.octets) {
					t.Errorf("part %d: got %d octets, want %d", i+1, len(v), h.shareOctets(row.octets))
				}
			}
			for _, chosen := range subsets(all, row.threshold) {
				got, err := h.join(chosen, row.octets)
				if err != nil || !bytes.Equal(got, secret) {
					t.Fatalf("joined: got %x, %v, want %x", []byte(got), err, secret)
				}
			}
			if got, err := h.join(all, row.octets); err != nil || !bytes.Equal(got, secret) {
				t.Errorf("all parts: got %x, %v, want %x", []byte(got), err, secret)
			}
			h.fewer(t, all, secret)
		})
	}
}

// fewer joins too few parts under a lower threshold.
func (h sharing) fewer(t *testing.T, all []share, secret []byte) {
	t.Helper()
	if h.threshold < 2 || len(secret) < 8 {
		return
	}
	h.threshold--
	if got, err := h.join(all[:h.threshold], len(secret)); err == nil && bytes.Equal(got, secret) {
		t.Errorf("%d parts: got the secret", h.threshold)
	}
	h.threshold++
	if h.parts > h.threshold {
		all[h.parts-1].value[0] ^= 1
		if _, err := h.join(all, len(secret)); err == nil {
			t.Errorf("a part too many that is wrong: got success")
		}
	}
}

// subsets are some choices of n parts: windows, and their reverses.
func subsets(all []share, n int) [][]share {
	var out [][]share
	for i := 0; i+n <= len(all); i++ {
		w := all[i : i+n]
		back := make([]share, n)
		for k, s := range w {
			back[n-1-k] = s
		}
		out = append(out, w, back)
	}
	return out
}

// The parts in the OASIS cases TC-SJ-2 and TC-SJ-3 settle the field of Polynomial Sharing GF (2^8), those of TC-SJ-4 XOR.
func TestSharingOASIS(t *testing.T) {
	want := octetsIn(t, "0102030405060708090a0b0c0d0e0f10")
	parts := []share{
		{1, octetsIn(t, "66c46a7754f94de420c7b1a7fff5ec56")}, {2, octetsIn(t, "cf93d1e2a7e593cd5b8d6247f4e5d49c")},
		{3, octetsIn(t, "a855b891f61ad9217240d8ec061e37da")}, {4, octetsIn(t, "803dbad55cdd329fad19d99ae2c5a415")},
	}
	h := &sharing{method: kmip.SplitKeyMethodPolynomialSharingGF2_8, parts: 4, threshold: 2}
	for i := range parts {
		for j := range parts {
			if i == j {
				continue
			}
			if got, err := h.join([]share{parts[i], parts[j]}, 0); err != nil || !bytes.Equal(got, want) {
				t.Errorf("parts %d and %d: got %x, %v, want %x", i+1, j+1, []byte(got), err, want)
			}
		}
	}
	parts = []share{
		{1, octetsIn(t, "d4b92c299199298e30dee13b967e6dda")}, {2, octetsIn(t, "35ea4f615686230c7b11538693674e89")},
		{3, octetsIn(t, "3478ddd2e1f89f2005011d26d9fff37c")}, {4, octetsIn(t, "d429bd9e23e192aa47c4a497d1e8df3f")},
	}
	h = &sharing{method: kmip.SplitKeyMethodXOR, parts: 4, threshold: 4}
	if got, err := h.join(parts, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("XOR: got %x, %v, want %x", []byte(got), err, want)
	}
}

// A polynomial with known coefficients, by hand: in GF(7), f(x) = 3 + 2x + 5x^2 is 3, 6 and 5 at 1, 2 and 3.
func TestSharingPrimeByHand(t *testing.T) {
	h := &sharing{method: kmip.SplitKeyMethodPolynomialSharingPrimeField, parts: 3, threshold: 3, prime: big.NewInt(7)}
	got, err := h.join([]share{{1, []byte{3}}, {2, []byte{6}}, {3, []byte{5}}}, 1)
	if err != nil || got[0] != 3 {
		t.Errorf("got %x, %v, want 3", []byte(got), err)
	}
}

func BenchmarkSplit(b *testing.B) {
	random := func(n int) ([]byte, error) { return make([]byte, n), nil }
	secret := make([]byte, 32)
	for _, m := range []kmip.SplitKeyMethod{kmip.SplitKeyMethodXOR, kmip.SplitKeyMethodPolynomialSharingGF2_8,
		kmip.SplitKeyMethodPolynomialSharingGF2_16, kmip.SplitKeyMethodPolynomialSharingPrimeField} {
		h := &sharing{method: m, parts: 5, threshold: 5}
		if m == kmip.SplitKeyMethodPolynomialSharingPrimeField {
			h.prime = prime521
		}
		b.Run(m.String(), func(b *testing.B) {
			for range b.N {
				if _, err := h.split(secret, random); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
