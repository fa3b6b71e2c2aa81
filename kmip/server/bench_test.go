package server

import (
	"context"
	"testing"

	"github.com/rs/zerolog"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

func BenchmarkDecodeCreate(b *testing.B) {
	msg := one(kmip.V1_4, kmip.OperationCreate, createAES()).encode()
	s := newBench(b)
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		m, err := s.decode(msg, kmip.V1_4, s.now)
		if err != nil {
			b.Fatal(err)
		}
		var it kmip.RequestBatchItem
		if err := it.Decode(m.items[0]); err != nil {
			b.Fatal(err)
		}
		var req kmip.CreateRequest
		if err := req.Decode(it.RequestPayload); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeGet(b *testing.B) {
	kv := kmip.KeyValue{KeyMaterial: ttlv.Make(ttlv.AppendBytes(nil, kmip.TagKeyMaterial, make([]byte, 32)))}
	resp := &kmip.GetResponse{ObjectType: kmip.ObjectTypeSymmetricKey, UniqueIdentifier: "8a4f2a4e-54f2-4e4a-a6a5-1d2d3c4b5a69",
		SymmetricKey: &kmip.SymmetricKey{KeyBlock: kmip.KeyBlock{KeyFormatType: kmip.KeyFormatTypeRaw,
			KeyValue:               ttlv.Make(kv.Append(nil, kmip.TagKeyValue, kmip.V1_4)),
			CryptographicAlgorithm: kmip.CryptographicAlgorithmAES, CryptographicLength: ptr(int32(256))}}}
	s := newBench(b)
	b.ReportAllocs()
	for b.Loop() {
		out := getBuffer(0)
		beginResponse(out, kmip.V1_4, s.now, "corr")
		at := len(out.b)
		appendSuccess(out, itemID{op: kmip.OperationGet}, kmip.V1_4, resp)
		endResponse(out, at, 1)
		out.release()
	}
}

// BenchmarkHandleCreate is everything of a Create but TLS, token and store.
func BenchmarkHandleCreate(b *testing.B) {
	s := newBench(b, func(c *Config) { c.Logger = zerolog.Nop() })
	s.peer.log = zerolog.Nop()
	msg := one(kmip.V1_4, kmip.OperationCreate, createAES()).encode()
	b.ReportAllocs()
	for b.Loop() {
		out := getBuffer(0)
		s.handle(context.Background(), s.peer, msg, out)
		out.release()
	}
}

// BenchmarkNullOperation is Discover Versions over TLS on loopback: the cost of a request without any work in it.
func BenchmarkNullOperation(b *testing.B) {
	s := newSite(b, func(c *Config) { c.Logger = zerolog.Nop() })
	conn, _ := s.dial(b, "client-1")
	msg := one(kmip.V1_4, kmip.OperationDiscoverVersions, &kmip.DiscoverVersionsRequest{}).encode()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Write(msg); err != nil {
			b.Fatal(err)
		}
		if _, err := readAnswer(conn); err != nil {
			b.Fatal(err)
		}
	}
}
