package server

import (
	"bytes"
	"context"
	"testing"

	"github.com/rs/zerolog"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

func fuzzSeeds() [][]byte {
	pair := askItem{op: kmip.OperationCreateKeyPair, payload: &kmip.CreateKeyPairRequest{CommonTemplateAttribute: ptr(template(intAttr("Cryptographic Length", 2048)))}}
	seeds := [][]byte{
		one(kmip.V1_0, kmip.OperationCreate, createAES()).encode(),
		one(kmip.V1_2, kmip.OperationRegister, registerSecret()).encode(),
		one(kmip.V1_4, kmip.OperationQuery, query(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)).encode(),
		one(kmip.V1_1, kmip.OperationDiscoverVersions, &kmip.DiscoverVersionsRequest{}).encode(),
		one(kmip.V2_1, kmip.OperationQuery, octets{}).encode(),
		batchOf(kmip.V1_3, kmip.BatchErrorContinuationOptionUndo, create(), get(""), pair, activate("")).encode(),
		batchOf(kmip.V1_4, kmip.BatchErrorContinuationOptionContinue, get("nothing"), create(), askItem{op: 0x55, payload: octets{}}).encode(),
	}
	for op := kmip.Operation(1); op <= 0x3B; op++ {
		seeds = append(seeds, one(kmip.V1_4, op, octets(ttlv.AppendText(nil, kmip.TagUniqueIdentifier, "key-1"))).encode())
	}
	return seeds
}

// FuzzHandle: whatever comes in, one well-formed answer in a version of ours goes out, and nothing panics.
func FuzzHandle(f *testing.F) {
	for _, seed := range fuzzSeeds() {
		f.Add(seed)
	}
	b := newBench(f, func(c *Config) { c.Logger = zerolog.Nop() })
	b.peer.log = zerolog.Nop()
	f.Fuzz(func(t *testing.T, msg []byte) {
		b.keys.mu.Lock()
		b.keys.objects, b.keys.asked, b.keys.targets = map[string]string{"key-1": "Active"}, nil, nil
		b.keys.mu.Unlock()
		out := getBuffer(0)
		defer out.release()
		before := bytes.Clone(msg)
		if keep := b.handle(context.Background(), b.peer, msg, out); !keep {
			t.Error("the connection would be closed")
		}
		if !bytes.Equal(before, msg) {
			t.Error("the request was changed")
		}
		if got := b.Counters().Panics; got != 0 {
			t.Fatalf("%d panics", got)
		}
		r := parseReply(t, bytes.Clone(out.b))
		if len(r.items) == 0 {
			t.Error("no item in the answer")
		}
		v := kmip.Version{Major: r.header.ProtocolVersion.ProtocolVersionMajor, Minor: r.header.ProtocolVersion.ProtocolVersionMinor}
		if !b.speaks(v) {
			t.Errorf("answered in %s", v)
		}
		for _, it := range r.items {
			if it.ResultReason != 0 && !it.ResultReason.KnownIn(v) {
				t.Errorf("%s is not of %s", it.ResultReason, v)
			}
		}
	})
}

// FuzzFrame: the first 8 octets never lead to an allocation over the limit.
func FuzzFrame(f *testing.F) {
	f.Add([]byte{0x42, 0, 0x78, 1, 0, 0, 0, 8})
	f.Add([]byte{0x42, 0, 0x78, 1, 0xFF, 0xFF, 0xFF, 0xF8})
	f.Fuzz(func(t *testing.T, b []byte) {
		var header [ttlv.HeaderSize]byte
		copy(header[:], b)
		if n, err := checkFrame(header, minRequestSize); err == nil && (n < 0 || n > minRequestSize-ttlv.HeaderSize || n%8 != 0) {
			t.Errorf("length %d", n)
		}
	})
}
