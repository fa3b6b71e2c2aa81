package text

import (
	"testing"

	"kmipd/kmip/ttlv"
)

func BenchmarkDecode(b *testing.B) {
	item := ttlv.AppendText(nil, 0x42000A, "Cryptographic Algorithm")
	item = ttlv.AppendEnum(item, 0x42000B, 3)
	item = ttlv.AppendBytes(item, 0x420043, make([]byte, 64))
	msg, mark := ttlv.Begin(nil, 0x420078)
	for range 100 {
		var inner int
		msg, inner = ttlv.Begin(msg, 0x420008)
		msg = ttlv.End(append(msg, item...), inner)
	}
	it := ttlv.Make(ttlv.End(msg, mark))
	for _, e := range []Encoding{XML, JSON} {
		text, err := e.Append(nil, it)
		if err != nil {
			b.Fatal(err)
		}
		b.Run("read "+e.String(), func(b *testing.B) {
			scratch, dst := make([]byte, len(text)), make([]byte, 0, 2*len(text))
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				copy(scratch, text)
				if _, err := e.Decode(dst, scratch, ttlv.DefaultLimits); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("write "+e.String(), func(b *testing.B) {
			dst := make([]byte, 0, len(text))
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.Append(dst, it); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
