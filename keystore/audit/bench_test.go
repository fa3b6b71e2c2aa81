package audit

import (
	"testing"

	"kmipd/metadata"
)

// The cost of a record in the request that it is about (Encode), and in the file (AppendLine).
func BenchmarkRecord(b *testing.B) {
	e := Event{Kind: KindOperation, Outcome: Success, Operation: "Get Attributes", Client: "backup", Address: "192.0.2.7:56120",
		Request: "69d954b54adb6987-2", Protocol: "1.4", Policy: "default", Objects: []Object{{UID: "0bc4fccf-4490-47c1-963e-68fdb1a9fbad"}}}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e.Encode(noon)
		}
	})
	p := e.Encode(noon)
	b.Run("chain and line", func(b *testing.B) {
		b.ReportAllocs()
		var line []byte
		for b.Loop() {
			entry := metadata.AuditEntry{Seq: 1, Payload: p, Hash: metadata.AuditHash(1, metadata.AuditDigest{}, p)}
			line = AppendLine(line[:0], &entry)
		}
	})
}
