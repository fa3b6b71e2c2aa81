package keystore

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/hsm/hsmtest"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
	"kmipd/metadata"
	"kmipd/metadata/pebble"
)

// epoch is when every bench begins. It has no fraction of a second: KMIP dates have none.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// bench is a Store on a fake token and on records in a file system in memory that can crash.
type bench struct {
	t      testing.TB
	fs     *vfs.MemFS
	db     metadata.Store // pebble
	fake   *hsmtest.Fake
	meta   metadata.Store // what the Store sees: db, or a wrapper of it
	token  hsm.Token      // what the Store sees: fake, or a wrapper of it
	s      *Store
	cfg    Config
	log    *lockedBuffer
	policy *fips.Policy

	mu  sync.Mutex
	now time.Time
}

// lockedBuffer collects the log of a Store.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func openRecords(t testing.TB, fs vfs.FS) metadata.Store {
	t.Helper()
	db, err := pebble.Open("records", pebble.Options{FS: fs, CacheSize: 1 << 20})
	if err != nil {
		t.Fatalf("opening the records: %v", err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func newBench(t testing.TB, settings ...func(*Config)) *bench {
	t.Helper()
	b := &bench{t: t, fs: vfs.NewCrashableMem(), fake: hsmtest.NewFake(), now: epoch, log: &lockedBuffer{}, policy: fips.Default()}
	b.cfg = Config{AllowDestroy: true, LeaseTime: 3600, Clock: b.clock, SettleInterval: time.Hour,
		AllowWeakerPolicy: true} // tests go from any policy to any other
	for _, set := range settings {
		set(&b.cfg)
	}
	b.db = openRecords(t, b.fs)
	b.start(b.db, b.fake)
	return b
}

// start makes the Store on what is given, and settles.
func (b *bench) start(meta metadata.Store, token hsm.Token) {
	b.t.Helper()
	b.meta, b.token = meta, token
	b.s = New(meta, token, b.policy, b.cfg, zerolog.New(b.log))
	if err := b.s.Start(context.Background()); err != nil {
		b.t.Fatalf("Start: %v", err)
	}
	b.t.Cleanup(b.s.Close)
}

// restart ends the process cleanly and starts another one.
func (b *bench) restart() {
	b.t.Helper()
	b.s.Close()
	if err := b.db.Close(); err != nil {
		b.t.Fatalf("closing the records: %v", err)
	}
	b.db, b.fake = openRecords(b.t, b.fs), b.fake.Reopen()
	b.start(b.db, b.fake)
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bench) advance(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

// client is who asks, in which version.
type client struct {
	*bench
	caller kmip.Caller
	ver    kmip.Version
}

func (b *bench) client(name string) client { return client{b, kmip.Caller{Client: name}, kmip.V1_4} }

func (c client) as(user string) client { c.caller.User = user; return c }

func (c client) in(v kmip.Version) client { c.ver = v; return c }

func (c client) call(tx kmip.Tx, target string) *kmip.Call {
	return &kmip.Call{Version: c.ver, Caller: c.caller, Now: c.clock().UTC(), Target: target, Tx: tx}
}

// item runs one batch item of a transaction that goes on: Authorize, then the operation.
func item[Q, R any](ctx context.Context, c client, tx kmip.Tx, op kmip.Operation, target string, run func(context.Context, *kmip.Call, Q) (R, error), req Q) (R, error) {
	call := c.call(tx, target)
	if err := c.s.Authorize(ctx, call, op); err != nil {
		var none R
		return none, err
	}
	return run(ctx, call, req)
}

// do runs a request of one item the way the message layer does: Commit after success, Rollback after failure, and
// Rollback(0) at the end.
func do[Q, R any](c client, op kmip.Operation, target string, run func(context.Context, *kmip.Call, Q) (R, error), req Q) (R, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	tx := c.s.Begin(false)
	defer func() { _ = tx.Rollback(ctx, 0) }()
	resp, err := item(ctx, c, tx, op, target, run, req)
	if err == nil {
		err = tx.Commit(ctx)
	}
	if err != nil {
		return resp, errors.Join(err, tx.Rollback(ctx, 0))
	}
	return resp, nil
}

func (c client) create(t kmip.ObjectType, attrs ...kmip.Attribute) (string, error) {
	resp, err := do(c, kmip.OperationCreate, "", c.s.Create, &kmip.CreateRequest{ObjectType: t, TemplateAttribute: kmip.TemplateAttribute{Attribute: attrs}})
	if err != nil {
		return "", err
	}
	return resp.UniqueIdentifier, nil
}

func (c client) createPair(common, private, public *kmip.TemplateAttribute) (priv, pub string, err error) {
	resp, err := do(c, kmip.OperationCreateKeyPair, "", c.s.CreateKeyPair, &kmip.CreateKeyPairRequest{
		CommonTemplateAttribute: common, PrivateKeyTemplateAttribute: private, PublicKeyTemplateAttribute: public})
	if err != nil {
		return "", "", err
	}
	return resp.PrivateKeyUniqueIdentifier, resp.PublicKeyUniqueIdentifier, nil
}

func (c client) register(req *kmip.RegisterRequest, attrs ...kmip.Attribute) (string, error) {
	r := *req
	r.TemplateAttribute.Attribute = append(r.TemplateAttribute.Attribute[:len(r.TemplateAttribute.Attribute):len(r.TemplateAttribute.Attribute)], attrs...)
	resp, err := do(c, kmip.OperationRegister, "", c.s.Register, &r)
	if err != nil {
		return "", err
	}
	return resp.UniqueIdentifier, nil
}

func (c client) get(uid string, req kmip.GetRequest) (*kmip.GetResponse, error) {
	return do(c, kmip.OperationGet, uid, c.s.Get, &req)
}

func (c client) add(uid string, a kmip.Attribute) error {
	_, err := do(c, kmip.OperationAddAttribute, uid, c.s.AddAttribute, &kmip.AddAttributeRequest{Attribute: a})
	return err
}

func (c client) modify(uid string, a kmip.Attribute) error {
	_, err := do(c, kmip.OperationModifyAttribute, uid, c.s.ModifyAttribute, &kmip.ModifyAttributeRequest{Attribute: a})
	return err
}

func (c client) remove(uid, name string, index *int32) error {
	_, err := do(c, kmip.OperationDeleteAttribute, uid, c.s.DeleteAttribute, &kmip.DeleteAttributeRequest{AttributeName: name, AttributeIndex: index})
	return err
}

func (c client) activate(uid string) error {
	_, err := do(c, kmip.OperationActivate, uid, c.s.Activate, &kmip.ActivateRequest{})
	return err
}

func (c client) revoke(uid string, code kmip.RevocationReasonCode, occurred ...time.Time) error {
	req := &kmip.RevokeRequest{RevocationReason: kmip.RevocationReason{RevocationReasonCode: code}}
	if len(occurred) > 0 {
		req.CompromiseOccurrenceDate = &occurred[0]
	}
	_, err := do(c, kmip.OperationRevoke, uid, c.s.Revoke, req)
	return err
}

func (c client) destroy(uid string) error {
	_, err := do(c, kmip.OperationDestroy, uid, c.s.Destroy, &kmip.DestroyRequest{})
	return err
}

func (c client) locate(req kmip.LocateRequest) (*kmip.LocateResponse, error) {
	return do(c, kmip.OperationLocate, "", c.s.Locate, &req)
}

// find is Locate by attributes alone; it must work.
func (c client) find(attrs ...kmip.Attribute) []string {
	c.t.Helper()
	resp, err := c.locate(kmip.LocateRequest{Attribute: attrs})
	if err != nil {
		c.t.Fatalf("Locate: %v", err)
	}
	return resp.UniqueIdentifier
}

func (c client) attributes(uid string, names ...string) ([]kmip.Attribute, error) {
	resp, err := do(c, kmip.OperationGetAttributes, uid, c.s.GetAttributes, &kmip.GetAttributesRequest{AttributeName: names})
	if err != nil {
		return nil, err
	}
	return resp.Attribute, nil
}

// value is the only instance of an attribute, or the zero Item.
func (c client) value(uid, name string) ttlv.Item {
	c.t.Helper()
	list, err := c.attributes(uid, name)
	if err != nil {
		c.t.Fatalf("Get Attributes %s: %v", name, err)
	}
	switch len(list) {
	case 0:
		return ttlv.Item{}
	case 1:
		return list[0].AttributeValue
	}
	c.t.Fatalf("%s has %d instances, want at most one", name, len(list))
	return ttlv.Item{}
}

func (c client) state(uid string) kmip.State {
	c.t.Helper()
	v := c.value(uid, "State")
	if v.IsZero() {
		return 0
	}
	return kmip.State(v.Enum())
}

// must gives the identifier of an object whose making must have worked.
func (c client) must(uid string, err error) string {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("got error %v, want success", err)
	}
	return uid
}

func (c client) ok(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("got error %v, want success", err)
	}
}

// aes makes an AES-256 key for encryption and wrapping.
func (c client) aes(attrs ...kmip.Attribute) string {
	c.t.Helper()
	return c.must(c.create(kmip.ObjectTypeSymmetricKey, append(aesAttributes(256), attrs...)...))
}

// material is the Key Material of an object that Get must give in clear.
func (c client) material(uid string) []byte {
	c.t.Helper()
	resp, err := c.get(uid, kmip.GetRequest{})
	if err != nil {
		c.t.Fatalf("Get: %v", err)
	}
	return materialOf(c.t, resp)
}

func materialOf(t testing.TB, resp *kmip.GetResponse) []byte {
	t.Helper()
	kb := blockOf(resp)
	switch {
	case resp.Certificate != nil:
		return resp.Certificate.CertificateValue
	case resp.OpaqueObject != nil:
		return resp.OpaqueObject.OpaqueDataValue
	case kb == nil:
		t.Fatalf("the response holds no object")
	case kb.KeyValue.Type == ttlv.Structure:
		return kb.KeyValue.Find(kmip.TagKeyMaterial).Value
	}
	return kb.KeyValue.Value
}

func blockOf(resp *kmip.GetResponse) *kmip.KeyBlock {
	switch {
	case resp.SymmetricKey != nil:
		return &resp.SymmetricKey.KeyBlock
	case resp.PrivateKey != nil:
		return &resp.PrivateKey.KeyBlock
	case resp.PublicKey != nil:
		return &resp.PublicKey.KeyBlock
	case resp.SecretData != nil:
		return &resp.SecretData.KeyBlock
	case resp.SplitKey != nil:
		return &resp.SplitKey.KeyBlock
	case resp.PGPKey != nil:
		return &resp.PGPKey.KeyBlock
	}
	return nil
}

// wantReason compares the Result Reason of an error; 0 stands for success.
func wantReason(t testing.TB, what string, err error, want kmip.ResultReason) {
	t.Helper()
	switch {
	case err == nil && want != 0:
		t.Errorf("%s: got success, want %s", what, want)
	case err != nil && want == 0:
		t.Errorf("%s: got %v, want success", what, err)
	case err != nil && kmip.ReasonOf(err) != want:
		t.Errorf("%s: got %v, want %s", what, err, want)
	}
}

// wantClean fails unless token and records agree.
func (b *bench) wantClean() {
	b.t.Helper()
	rep, err := b.s.Fsck(context.Background(), false)
	if err != nil {
		b.t.Fatalf("Fsck: %v", err)
	}
	if !rep.Clean() {
		b.t.Errorf("Fsck: got %+v, want nothing wrong", *rep)
	}
}

// record is the stored record of an object.
func (c client) record(uid string) *metadata.Record {
	c.t.Helper()
	rec, err := c.db.Get(context.Background(), uid)
	if err != nil {
		c.t.Fatalf("the record of %s: %v", uid, err)
	}
	return rec
}
