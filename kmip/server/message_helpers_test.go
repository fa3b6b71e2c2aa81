package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// bench is a server without a network, for tests of the message layer.
type bench struct {
	*Server
	keys *fakeKeys
	log  *bytes.Buffer
	peer *peer
	now  time.Time
}

var registered = kmip.Caller{Client: "client-1"}

func newBench(t testing.TB, change ...func(*Config)) *bench {
	t.Helper()
	b := &bench{keys: newFakeKeys(), log: &bytes.Buffer{}, now: time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)}
	cfg := Config{
		TLS:      &tls.Config{Certificates: make([]tls.Certificate, 1), ClientCAs: x509.NewCertPool()},
		Keystore: b.keys, Authenticator: &fakeAuth{}, Logger: zerolog.New(b.log),
		Clock: func() time.Time { return b.now },
	}
	for _, c := range change {
		c(&cfg)
	}
	var err error
	if b.Server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	b.peer = &peer{log: cfg.Logger, identify: func(context.Context) (kmip.Caller, error) { return registered, nil }}
	return b
}

func (b *bench) as(caller kmip.Caller, err error) {
	b.peer.identify = func(context.Context) (kmip.Caller, error) { return caller, err }
}

// ask is a request message in the making. Everything is written whatever the version allows.
type ask struct {
	ver    kmip.Version
	header kmip.RequestHeader
	count  *int32 // overrides Batch Count
	items  []askItem
}

type askItem struct {
	op      kmip.Operation
	id      []byte
	payload interface {
		Append([]byte, ttlv.Tag, kmip.Version) []byte
	}
	raw []byte // instead of payload, a whole encoded item
	ext []kmip.MessageExtension
}

// octets is a payload given as its encoded members.
type octets []byte

func (o octets) Append(b []byte, tag ttlv.Tag, _ kmip.Version) []byte {
	b, mark := ttlv.Begin(b, tag)
	return ttlv.End(append(b, o...), mark)
}

func (a ask) encode() []byte {
	h := a.header
	h.ProtocolVersion = kmip.ProtocolVersion{ProtocolVersionMajor: a.ver.Major, ProtocolVersionMinor: a.ver.Minor}
	h.BatchCount = int32(len(a.items))
	if a.count != nil {
		h.BatchCount = *a.count
	}
	b, m := ttlv.Begin(nil, kmip.TagRequestMessage)
	b = h.Append(b, kmip.TagRequestHeader, kmip.V1_4)
	for _, it := range a.items {
		if it.raw != nil {
			b = append(b, it.raw...)
			continue
		}
		var mark int
		b, mark = ttlv.Begin(b, kmip.TagBatchItem)
		b = ttlv.AppendEnum(b, kmip.TagOperation, uint32(it.op))
		if it.id != nil {
			b = ttlv.AppendBytes(b, kmip.TagUniqueBatchItemID, it.id)
		}
		b = it.payload.Append(b, kmip.TagRequestPayload, kmip.V1_4)
		for i := range it.ext {
			b = it.ext[i].Append(b, kmip.TagMessageExtension, kmip.V1_4)
		}
		b = ttlv.End(b, mark)
	}
	return ttlv.End(b, m)
}

// one is a message of one item.
func one(ver kmip.Version, op kmip.Operation, p interface {
	Append([]byte, ttlv.Tag, kmip.Version) []byte
}) ask {
	return ask{ver: ver, items: []askItem{{op: op, payload: p}}}
}

// batchOf is a message of items with identifiers 1, 2, ...
func batchOf(ver kmip.Version, opt kmip.BatchErrorContinuationOption, items ...askItem) ask {
	for i := range items {
		items[i].id = []byte{byte(i + 1)}
	}
	return ask{ver: ver, header: kmip.RequestHeader{BatchErrorContinuationOption: opt, BatchOrderOption: ptr(true)}, items: items}
}

type reply struct {
	size   int
	header kmip.ResponseHeader
	items  []kmip.ResponseBatchItem
	keep   bool
}

func (b *bench) send(t testing.TB, a ask) reply {
	t.Helper()
	return b.sendOctets(t, a.encode())
}

func (b *bench) sendOctets(t testing.TB, msg []byte) reply {
	t.Helper()
	out := getBuffer(0)
	defer out.release()
	keep := b.handle(context.Background(), b.peer, msg, out)
	r := parseReply(t, bytes.Clone(out.b))
	r.keep = keep
	return r
}

// parseReply checks a response message strictly: every octet must be as the writer of structures writes it.
func parseReply(t testing.TB, msg []byte) reply {
	t.Helper()
	r := reply{size: len(msg)}
	root, err := ttlv.Parse(msg, ttlv.Limits{MaxSize: 64 << 20, MaxDepth: 32, MaxItems: 1 << 20})
	if err != nil {
		t.Fatalf("answer is not TTLV: %v\n%x", err, msg)
	}
	if root.Tag != kmip.TagResponseMessage {
		t.Fatalf("answer is a %s", kmip.NameOfTag(root.Tag))
	}
	first := true
	for m := range root.Members {
		if first {
			first = false
			if err := r.header.Decode(m); err != nil {
				t.Fatalf("header: %v", err)
			}
			continue
		}
		var it kmip.ResponseBatchItem
		if err := it.Decode(m); err != nil {
			t.Fatalf("item: %v", err)
		}
		r.items = append(r.items, it)
	}
	if int(r.header.BatchCount) != len(r.items) {
		t.Fatalf("Batch Count %d, %d items", r.header.BatchCount, len(r.items))
	}
	return r
}

// want checks the outcome of item i: reason 0 is success.
func (r reply) want(t testing.TB, i int, reason kmip.ResultReason) {
	t.Helper()
	if i >= len(r.items) {
		t.Fatalf("item %d: the answer has %d items", i, len(r.items))
	}
	it := r.items[i]
	text := ""
	if it.ResultMessage != nil {
		text = *it.ResultMessage
	}
	if it.ResultReason != reason {
		t.Fatalf("item %d: got %s (%q), want %s", i, it.ResultReason, text, reason)
	}
	status := kmip.ResultStatusOperationFailed
	if reason == 0 {
		status = kmip.ResultStatusSuccess
		if it.ResponsePayload.IsZero() {
			t.Fatalf("item %d: success without payload", i)
		}
	}
	if it.ResultStatus != status {
		t.Fatalf("item %d: got status %s, want %s", i, it.ResultStatus, status)
	}
}

func (r reply) wantCount(t testing.TB, n int) {
	t.Helper()
	if len(r.items) != n {
		t.Fatalf("got %d items, want %d", len(r.items), n)
	}
}

func template(attrs ...kmip.Attribute) kmip.TemplateAttribute {
	return kmip.TemplateAttribute{Attribute: attrs}
}

func enumAttr(name string, v uint32) kmip.Attribute {
	return kmip.Attribute{AttributeName: name, AttributeValue: ttlv.Make(ttlv.AppendEnum(nil, kmip.TagAttributeValue, v))}
}

func intAttr(name string, v int32) kmip.Attribute {
	return kmip.Attribute{AttributeName: name, AttributeValue: ttlv.Make(ttlv.AppendInt(nil, kmip.TagAttributeValue, v))}
}

func textAttr(name, v string) kmip.Attribute {
	return kmip.Attribute{AttributeName: name, AttributeValue: ttlv.Make(ttlv.AppendText(nil, kmip.TagAttributeValue, v))}
}

func createAES() *kmip.CreateRequest {
	return &kmip.CreateRequest{ObjectType: kmip.ObjectTypeSymmetricKey, TemplateAttribute: template(
		enumAttr("Cryptographic Algorithm", uint32(kmip.CryptographicAlgorithmAES)),
		intAttr("Cryptographic Length", 256), intAttr("Cryptographic Usage Mask", 12), textAttr("x-ID", "test"))}
}

func create() askItem { return askItem{op: kmip.OperationCreate, payload: createAES()} }

func get(id string) askItem {
	r := &kmip.GetRequest{}
	if id != "" {
		r.UniqueIdentifier = &id
	}
	return askItem{op: kmip.OperationGet, payload: r}
}

func activate(id string) askItem {
	r := &kmip.ActivateRequest{}
	if id != "" {
		r.UniqueIdentifier = &id
	}
	return askItem{op: kmip.OperationActivate, payload: r}
}

func payloadOf[T any, P decoder[T]](t testing.TB, it kmip.ResponseBatchItem) *T {
	t.Helper()
	v := new(T)
	if err := P(v).Decode(it.ResponsePayload); err != nil {
		t.Fatal(err)
	}
	return v
}
