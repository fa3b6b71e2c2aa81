package ttlv

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"
)

type vector struct {
	line   int
	ok     bool
	octets []byte
	text   string
}

func vectors(t testing.TB) []vector {
	t.Helper()
	text, err := os.ReadFile("testdata/vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	var list []vector
	for i, line := range strings.Split(string(text), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		left, want, _ := strings.Cut(line, "|")
		class, digits, _ := strings.Cut(strings.TrimSpace(left), " ")
		octets, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
		if err != nil || class != "ok" && class != "bad" {
			t.Fatalf("line %d: class %q, %v", i+1, class, err)
		}
		list = append(list, vector{i + 1, class == "ok", octets, strings.TrimSpace(want)})
	}
	if len(list) < 60 {
		t.Fatalf("%d vectors only", len(list))
	}
	return list
}

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		it, err := Parse(v.octets, DefaultLimits)
		if !v.ok {
			var e *Error
			if !errors.As(err, &e) || !strings.Contains(e.Reason, v.text) {
				t.Errorf("line %d: got %v, want %q", v.line, err, v.text)
			}
			continue
		}
		if err != nil {
			t.Errorf("line %d: %v", v.line, err)
			continue
		}
		if got := strings.TrimSpace(describe(it)); got != v.text {
			t.Errorf("line %d: got %q, want %q", v.line, got, v.text)
		}
		if again := encode(nil, it); !bytes.Equal(again, v.octets) {
			t.Errorf("line %d: encodes to %x", v.line, again)
		}
		if it.Size() != len(v.octets) || !Make(v.octets).Equal(it) || Make(v.octets).Tag != it.Tag {
			t.Errorf("line %d: Size %d, Make %+v", v.line, it.Size(), Make(v.octets))
		}
	}
}

// describe is type and value in words.
func describe(it Item) string {
	switch it.Type {
	case Structure:
		var members []string
		for m := range it.Members {
			members = append(members, fmt.Sprintf("%06X %s", uint32(m.Tag), describe(m)))
		}
		return it.Type.String() + " " + strings.Join(members, ", ")
	case Integer:
		return fmt.Sprint(it.Type, " ", it.Int())
	case LongInteger, DateTimeExtended:
		return fmt.Sprint(it.Type, " ", it.Long())
	case BigInteger:
		return fmt.Sprint(it.Type, " ", it.BigInt())
	case Enumeration:
		return fmt.Sprint(it.Type, " ", it.Enum())
	case Boolean:
		return fmt.Sprint(it.Type, " ", it.Bool())
	case TextString:
		return it.Type.String() + " " + it.Text()
	case ByteString:
		return fmt.Sprintf("%s %x", it.Type, it.Value)
	case DateTime:
		return it.Type.String() + " " + it.Time().Format(time.RFC3339)
	case Interval:
		return fmt.Sprint(it.Type, " ", it.Interval())
	}
	return it.Type.String()
}

// encode writes an item through the typed writers.
func encode(b []byte, it Item) []byte {
	switch it.Type {
	case Structure:
		b, mark := Begin(b, it.Tag)
		for m := range it.Members {
			b = encode(b, m)
		}
		return End(b, mark)
	case Integer:
		return AppendInt(b, it.Tag, it.Int())
	case LongInteger:
		return AppendLong(b, it.Tag, it.Long())
	case BigInteger:
		return appendShortest(b, it)
	case Enumeration:
		return AppendEnum(b, it.Tag, it.Enum())
	case Boolean:
		return AppendBool(b, it.Tag, it.Bool())
	case TextString:
		return AppendText(b, it.Tag, it.Text())
	case ByteString:
		return AppendBytes(b, it.Tag, it.Value)
	case DateTime:
		return AppendTime(b, it.Tag, it.Time())
	case Interval:
		return AppendInterval(b, it.Tag, it.Interval())
	}
	return AppendItem(b, it.Tag, it)
}

// appendShortest: a Big Integer may come with more sign octets than needed; those are kept by AppendItem only.
func appendShortest(b []byte, it Item) []byte {
	short := AppendBigInt(nil, it.Tag, it.BigInt())
	if len(short) == it.Size() {
		return append(b, short...)
	}
	return AppendItem(b, it.Tag, it)
}

func TestBigIntegers(t *testing.T) {
	one := big.NewInt(1)
	for bits := range uint(200) {
		for delta := int64(-2); delta <= 2; delta++ {
			n := new(big.Int).Lsh(one, bits)
			n.Add(n, big.NewInt(delta))
			for _, v := range []*big.Int{n, new(big.Int).Neg(n)} {
				b := AppendBigInt(nil, 0x420020, v)
				it, err := Parse(b, DefaultLimits)
				if err != nil {
					t.Fatalf("%s: %v", v, err)
				}
				if it.BigInt().Cmp(v) != 0 {
					t.Fatalf("%s comes back as %s", v, it.BigInt())
				}
				if len(it.Value) > 8 { // the first 8 octets must not be sign alone
					head := it.Value[:9]
					if bytes.Equal(head[:8], make([]byte, 8)) && head[8]&0x80 == 0 || bytes.Equal(head[:8], bytes.Repeat([]byte{0xFF}, 8)) && head[8]&0x80 != 0 {
						t.Fatalf("%s is written with %d octets", v, len(it.Value))
					}
				}
			}
		}
	}
}

func TestLimits(t *testing.T) {
	nested := func(depth int) []byte {
		var b []byte
		for range depth {
			inner := b
			var mark int
			b, mark = Begin(nil, 0x420020)
			b = End(append(b, inner...), mark)
		}
		return b
	}
	many := func(n int) []byte {
		b, mark := Begin(nil, 0x420020)
		for range n - 1 {
			b = AppendBytes(b, 0x420020, nil)
		}
		return End(b, mark)
	}
	lim := Limits{MaxSize: 4096, MaxDepth: 5, MaxItems: 10}
	for _, tc := range []struct {
		name string
		msg  []byte
		want string
	}{
		{"depth", nested(4), ""}, {"too deep", nested(5), "nested too deeply"}, {"much too deep", nested(500), "nested too deeply"},
		{"items", many(10), ""}, {"too many items", many(11), "too many items"},
		{"size", AppendBytes(nil, 0x420020, make([]byte, 4088)), ""},
		{"too large", AppendBytes(nil, 0x420020, make([]byte, 4089)), "larger than the limit"},
	} {
		_, err := Parse(tc.msg, lim)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
		}
	}
}

func TestErrorsSayWhere(t *testing.T) {
	b, mark := Begin(nil, 0x420078)
	b = AppendText(b, 0x420094, "secret")
	b = append(b, 0x42, 0x00, 0x0A, 0x02, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0)
	_, err := Parse(End(b, mark), DefaultLimits)
	var e *Error
	if !errors.As(err, &e) || e.Offset != 24 || e.Tag != 0x42000A {
		t.Fatalf("got %v", err)
	}
	if strings.Contains(err.Error(), "secret") {
		t.Error("the text holds values")
	}
}

func TestItems(t *testing.T) {
	b, mark := Begin(nil, 0x420020)
	b = AppendInt(b, 0x420001, 1)
	b = AppendInt(b, 0x420002, 2)
	b = AppendInt(b, 0x420001, 3)
	it, err := Parse(End(b, mark), DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	if it.Find(0x420001).Int() != 1 || it.Find(0x420002).Int() != 2 || !it.Find(0x420003).IsZero() {
		t.Error("Find")
	}
	if !it.Find(0x420001).Find(0x420001).IsZero() {
		t.Error("an Integer has members")
	}
	clone := it.Clone()
	clone.Value[0] = 0
	if it.Value[0] != 0x42 {
		t.Error("Clone shares memory")
	}
	if got := AppendItem(nil, 0x420099, it.Find(0x420002)); Make(got).Tag != 0x420099 || Make(got).Int() != 2 {
		t.Error("AppendItem")
	}
	first := it.Find(0x420001)
	_ = append(first.Value, 0xFF) // must not reach the neighbour
	if it.Value[12] != 0 {
		t.Error("an append to a value writes into the message")
	}
	if Type(3).String() != "Long Integer" || Type(99).String() != "type 99" {
		t.Error("Type names")
	}
}

// FuzzParse: nothing panics, limits hold, and what is accepted re-encodes to the same octets.
func FuzzParse(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.octets)
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		it, err := Parse(msg, Limits{MaxSize: 1 << 16, MaxDepth: 8, MaxItems: 256})
		if err != nil {
			if _, ok := err.(*Error); !ok {
				t.Fatalf("error of type %T", err)
			}
			return
		}
		if got := encode(nil, it); !bytes.Equal(got, msg) {
			t.Fatalf("re-encodes differently\n%x\n%x", msg, got)
		}
		if got := AppendItem(nil, it.Tag, it); !bytes.Equal(got, msg) {
			t.Fatalf("AppendItem differs\n%x\n%x", msg, got)
		}
		describe(it)
	})
}

func BenchmarkParse(b *testing.B) {
	msg, mark := Begin(nil, 0x420078)
	for range 20 {
		var inner int
		msg, inner = Begin(msg, 0x420008)
		msg = AppendText(msg, 0x42000A, "Cryptographic Algorithm")
		msg = AppendEnum(msg, 0x42000B, 3)
		msg = End(msg, inner)
	}
	msg = End(msg, mark)
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(msg, DefaultLimits); err != nil {
			b.Fatal(err)
		}
	}
}
