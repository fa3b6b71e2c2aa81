package rawttlv

import (
	"encoding/hex"
	"math/big"
	"strings"
	"testing"
	"time"
)

// The examples of KMIP 1.4 section 9.1.2.
var examples = []struct {
	name string
	hex  string
	node *Node
}{
	{"integer", "42 00 20 | 02 | 00 00 00 04 | 00 00 00 08 00 00 00 00", Int(0x420020, 8)},
	{"long", "42 00 20 | 03 | 00 00 00 08 | 01 B6 9B 4B A5 74 92 00", &Node{Tag: 0x420020, Type: LongInteger, Value: int64(123456789000000000)}},
	{"big", "42 00 20 | 04 | 00 00 00 10 | 00 00 00 00 03 FD 35 EB 6B C2 DF 46 18 08 00 00", &Node{Tag: 0x420020, Type: BigInteger, Value: bigOf("1234567890000000000000000000")}},
	{"enum", "42 00 20 | 05 | 00 00 00 04 | 00 00 00 FF 00 00 00 00", Enum(0x420020, 255)},
	{"bool", "42 00 20 | 06 | 00 00 00 08 | 00 00 00 00 00 00 00 01", Bool(0x420020, true)},
	{"text", "42 00 20 | 07 | 00 00 00 0B | 48 65 6C 6C 6F 20 57 6F 72 6C 64 00 00 00 00 00", Text(0x420020, "Hello World")},
	{"bytes", "42 00 20 | 08 | 00 00 00 03 | 01 02 03 00 00 00 00 00", Bytes(0x420020, []byte{1, 2, 3})},
	{"date", "42 00 20 | 09 | 00 00 00 08 | 00 00 00 00 47 DA 67 F8", Date(0x420020, time.Date(2008, 3, 14, 11, 56, 40, 0, time.UTC))},
	{"interval", "42 00 20 | 0A | 00 00 00 04 | 00 0D 2F 00 00 00 00 00", &Node{Tag: 0x420020, Type: Interval, Value: uint32(10 * 24 * 3600)}},
	{"structure", "42 00 20 | 01 | 00 00 00 20 | 42 00 04 | 05 | 00 00 00 04 | 00 00 00 FE 00 00 00 00 | 42 00 05 | 02 | 00 00 00 04 | 00 00 00 FF 00 00 00 00",
		Struct(0x420020, Enum(0x420004, 254), Int(0x420005, 255))},
}

func bigOf(s string) *big.Int {
	v, _ := new(big.Int).SetString(s, 10)
	return v
}

func octets(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", "|", "").Replace(s))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSpecificationExamples(t *testing.T) {
	for _, e := range examples {
		t.Run(e.name, func(t *testing.T) {
			want := octets(t, e.hex)
			got, err := Encode(e.node)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != string(want) {
				t.Errorf("Encode: got %x, want %x", got, want)
			}
			back, err := Decode(want)
			if err != nil {
				t.Fatal(err)
			}
			if !Equal(back, e.node) {
				t.Errorf("Decode: got %s, want %s", back.Dump(nil), e.node.Dump(nil))
			}
		})
	}
}

func TestBigIntegerSigns(t *testing.T) {
	for _, s := range []string{"0", "1", "-1", "127", "128", "-128", "-129", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809"} {
		n := &Node{Tag: 0x420020, Type: BigInteger, Value: bigOf(s)}
		b, err := Encode(n)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(b)
		if err != nil || !Equal(n, back) {
			t.Errorf("%s: got %v, %v", s, back, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"empty":            "",
		"short header":     "42 00 20 02 00 00",
		"unknown type":     "42 00 20 0C 00 00 00 04 00 00 00 08 00 00 00 00",
		"short integer":    "42 00 20 02 00 00 00 03 00 00 08 00 00 00 00 00",
		"dirty padding":    "42 00 20 02 00 00 00 04 00 00 00 08 00 00 00 01",
		"no padding":       "42 00 20 02 00 00 00 04 00 00 00 08",
		"trailing octets":  "42 00 20 02 00 00 00 04 00 00 00 08 00 00 00 00 00",
		"boolean 2":        "42 00 20 06 00 00 00 08 00 00 00 00 00 00 00 02",
		"text not UTF-8":   "42 00 20 07 00 00 00 01 FF 00 00 00 00 00 00 00",
		"odd structure":    "42 00 20 01 00 00 00 04 00 00 00 00 00 00 00 00",
		"child too long":   "42 00 20 01 00 00 00 08 42 00 04 08 00 00 00 08",
		"huge length":      "42 00 20 08 FF FF FF FF",
		"huge in a struct": "42 00 20 01 00 00 00 08 42 00 04 08 FF FF FF FF",
	} {
		if n, err := Decode(octets(t, in)); err == nil {
			t.Errorf("%s: decoded to %s", name, n.Dump(nil))
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, e := range examples {
		b, _ := hex.DecodeString(strings.NewReplacer(" ", "", "|", "").Replace(e.hex))
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Encode(n)
		if err != nil {
			t.Fatalf("decoded but does not encode: %v", err)
		}
		if back, err := Decode(again); err != nil || !Equal(n, back) {
			t.Fatalf("not stable: %x -> %x", b, again)
		}
	})
}
