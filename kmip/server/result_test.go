package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// No reason of any version may reach a client of an older one.
func TestNarrow(t *testing.T) {
	for _, name := range kmip.EnumNames("ResultReason") {
		code, ok := kmip.EnumByName("ResultReason", name)
		if !ok {
			t.Fatal(name)
		}
		r := kmip.ResultReason(code)
		for _, v := range kmip.Supported {
			got := narrow(r, v)
			if !got.KnownIn(v) {
				t.Errorf("%s in %s becomes %s, which it does not have", r, v, got)
			}
			if r.KnownIn(v) && got != r {
				t.Errorf("%s in %s becomes %s", r, v, got)
			}
		}
	}
	for _, tc := range []struct {
		reason kmip.ResultReason
		ver    kmip.Version
		want   kmip.ResultReason
	}{
		{kmip.ResultReasonSensitive, kmip.V1_4, kmip.ResultReasonSensitive},
		{kmip.ResultReasonSensitive, kmip.V1_3, kmip.ResultReasonPermissionDenied},
		{kmip.ResultReasonNotExtractable, kmip.V1_0, kmip.ResultReasonPermissionDenied},
		{kmip.ResultReasonEncodingOptionError, kmip.V1_0, kmip.ResultReasonInvalidField},
		{kmip.ResultReasonEncodingOptionError, kmip.V1_1, kmip.ResultReasonEncodingOptionError},
		{kmip.ResultReasonAttestationRequired, kmip.V1_1, kmip.ResultReasonPermissionDenied},
		{kmip.ResultReasonWrongKeyLifecycleState, kmip.V1_4, kmip.ResultReasonPermissionDenied},
		{kmip.ResultReasonObjectNotFound, kmip.V1_2, kmip.ResultReasonItemNotFound},
		{kmip.ResultReasonPKCS11CodecError, kmip.V1_4, kmip.ResultReasonGeneralFailure},
		{0xBAD, kmip.V1_4, kmip.ResultReasonGeneralFailure},
	} {
		if got := narrow(tc.reason, tc.ver); got != tc.want {
			t.Errorf("%s in %s: got %s, want %s", tc.reason, tc.ver, got, tc.want)
		}
	}
}

// What is not meant for clients stays out of Result Message.
func TestExplain(t *testing.T) {
	secret := errors.New("CKR_DEVICE_ERROR on slot 3, PIN 1234")
	for _, tc := range []struct {
		name   string
		err    error
		reason kmip.ResultReason
		text   string
	}{
		{"kmip", kmip.Errorf(kmip.ResultReasonInvalidField, "Cryptographic Length"), kmip.ResultReasonInvalidField, "Cryptographic Length"},
		{"wrapped", fmt.Errorf("keystore: %w", kmip.Errorf(kmip.ResultReasonItemNotFound, "no such object")), kmip.ResultReasonItemNotFound, "no such object"},
		{"cause", kmip.Errorf(kmip.ResultReasonCryptographicFailure, "token failed").Because(secret), kmip.ResultReasonCryptographicFailure, "token failed"},
		{"plain", secret, kmip.ResultReasonGeneralFailure, "internal failure, see server log corr-1"},
		{"ttlv", &ttlv.Error{Offset: 4, Reason: "length is not 4"}, kmip.ResultReasonInvalidMessage, "message is not valid TTLV: length is not 4"},
		{"deadline", fmt.Errorf("pool: %w", context.DeadlineExceeded), kmip.ResultReasonGeneralFailure, "the operation exceeded its time limit"},
		{"canceled", context.Canceled, kmip.ResultReasonGeneralFailure, "the server is shutting down"},
	} {
		reason, text := explain(tc.err, kmip.V1_4, "corr-1")
		if reason != tc.reason || text != tc.text {
			t.Errorf("%s: got %s %q", tc.name, reason, text)
		}
	}
	_, text := explain(kmip.Errorf(kmip.ResultReasonInvalidField, "%s", strings.Repeat("é", 1000)), kmip.V1_4, "")
	if len(text) > maxMessage || !utf8.ValidString(text) {
		t.Errorf("text of %d octets", len(text))
	}
}

func TestBuffers(t *testing.T) {
	b := getBuffer(10)
	first := b.b[:cap(b.b)]
	b.b = append(b.b, "0123456789"...)
	b.truncate(4)
	if string(first[:10]) != "0123\x00\x00\x00\x00\x00\x00" {
		t.Errorf("truncate leaves %q", first[:10])
	}
	b.grow(8 << 10)
	if string(b.b) != "0123" || cap(b.b) < 8<<10 || string(first[:4]) != "\x00\x00\x00\x00" {
		t.Errorf("grow: %q, old place %q", b.b, first[:4])
	}
	second := b.b[:cap(b.b)]
	b.set(append(b.b, make([]byte, 64<<10)...)) // moves
	if string(b.b[:4]) != "0123" || string(second[:4]) != "\x00\x00\x00\x00" {
		t.Errorf("set: %q, old place %q", b.b[:4], second[:4])
	}
	third := b.b
	b.release()
	if string(third[:4]) != "\x00\x00\x00\x00" {
		t.Errorf("release leaves %q", third[:4])
	}
	if big := getBuffer(1 << 20); cap(big.b) < 1<<20 {
		t.Error("a large buffer is small")
	}
}

// The room that an answer with key bytes asks for is enough: a slice that grows would leave copies behind.
func TestPayloadSizeIsEnough(t *testing.T) {
	kv := func(n int) ttlv.Item {
		v := kmip.KeyValue{KeyMaterial: ttlv.Make(ttlv.AppendBytes(nil, kmip.TagKeyMaterial, make([]byte, n)))}
		return ttlv.Make(v.Append(nil, kmip.TagKeyValue, kmip.V1_4))
	}
	block := func(n int) kmip.KeyBlock {
		return kmip.KeyBlock{KeyFormatType: kmip.KeyFormatTypeRaw, KeyValue: kv(n), CryptographicAlgorithm: kmip.CryptographicAlgorithmAES, CryptographicLength: ptr(int32(256)),
			KeyWrappingData: &kmip.KeyWrappingData{WrappingMethod: kmip.WrappingMethodEncrypt, EncryptionKeyInformation: &kmip.EncryptionKeyInformation{UniqueIdentifier: strings.Repeat("k", 100)},
				MACSignature: make([]byte, 64), IVCounterNonce: make([]byte, 16)}}
	}
	for _, n := range []int{0, 1, 32, 4000, 5000, 100000} {
		for _, r := range []*kmip.GetResponse{
			{SymmetricKey: &kmip.SymmetricKey{KeyBlock: block(n)}}, {PrivateKey: &kmip.PrivateKey{KeyBlock: block(n)}},
			{PublicKey: &kmip.PublicKey{KeyBlock: block(n)}}, {SecretData: &kmip.SecretData{SecretDataType: 1, KeyBlock: block(n)}},
			{SplitKey: &kmip.SplitKey{KeyBlock: block(n)}}, {PGPKey: &kmip.PGPKey{KeyBlock: block(n)}},
			{OpaqueObject: &kmip.OpaqueObject{OpaqueDataValue: make([]byte, n)}}, {Certificate: &kmip.Certificate{CertificateValue: make([]byte, n)}},
		} {
			r.UniqueIdentifier = strings.Repeat("u", 200)
			out := getBuffer(0)
			out.grow(payloadSize(r))
			room := cap(out.b)
			if out.b = r.Append(out.b, kmip.TagResponsePayload, kmip.V1_4); cap(out.b) != room {
				t.Errorf("%d octets of material: payload of %d octets, room of %d", n, len(out.b), room)
			}
			out.release()
		}
	}
}

// The octets of a key are nowhere in the server's buffers once the answer is written.
func TestKeyBytesAreWiped(t *testing.T) {
	b := newBench(t)
	b.keys.material = []byte("0123456789abcdefKEYBYTES")
	b.send(t, one(kmip.V1_2, kmip.OperationCreate, createAES())).want(t, 0, 0)
	out := &buffer{make([]byte, 0, 8<<10)}
	backing := out.b[:cap(out.b)]
	b.handle(context.Background(), b.peer, one(kmip.V1_2, kmip.OperationGet, &kmip.GetRequest{UniqueIdentifier: ptr("key-1")}).encode(), out)
	if !strings.Contains(string(out.b), "KEYBYTES") {
		t.Fatal("no key in the answer")
	}
	out.release()
	if strings.Contains(string(backing), "KEYBYTES") {
		t.Error("the key is still in the buffer")
	}
	// An answer that is refused for its size is wiped as well, before the refusal is written over it.
	a := one(kmip.V1_2, kmip.OperationGet, &kmip.GetRequest{UniqueIdentifier: ptr("key-1")})
	a.header.MaximumResponseSize = ptr(int32(200))
	out = &buffer{backing[:0]}
	b.handle(context.Background(), b.peer, a.encode(), out)
	if strings.Contains(string(backing), "KEYBYTES") {
		t.Error("the key of a refused answer is still in the buffer")
	}
}
