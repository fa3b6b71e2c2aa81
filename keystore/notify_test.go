package keystore

import (
	"context"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kmipd/keystore/audit"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
	"kmipd/metadata"
)

// mailbox is an endpoint without a network.
type mailbox struct {
	mu     sync.Mutex
	got    []letter
	down   bool          // cannot be reached
	refuse bool          // answers with a failure
	slow   chan struct{} // an attempt takes until it is closed
	says   ttlv.Item     // the answer
	tries  int
}

// letter is a message as the endpoint got it.
type letter struct {
	op    kmip.Operation
	uid   string
	attrs map[string]ttlv.Item
	root  ttlv.Item // the whole payload
	body  ttlv.Item
	put   kmip.PutFunction
	old   string
}

func (m *mailbox) Carry(ctx context.Context, _ metadata.Endpoint, op kmip.Operation, payload []byte) (ttlv.Item, bool, error) {
	m.mu.Lock()
	m.tries++
	down, slow := m.down, m.slow
	m.mu.Unlock()
	if slow != nil {
		select {
		case <-slow:
		case <-ctx.Done():
			return ttlv.Item{}, false, ctx.Err()
		}
	}
	if down {
		return ttlv.Item{}, false, errors.New("connection refused")
	}
	l := letter{op: op, attrs: map[string]ttlv.Item{}}
	root, err := ttlv.Parse(slices.Clone(payload), ttlv.DefaultLimits)
	if err != nil {
		panic(err)
	}
	l.root = root
	for it := range root.Members {
		switch it.Tag {
		case kmip.TagUniqueIdentifier:
			l.uid = it.Text()
		case kmip.TagPutFunction:
			l.put = kmip.PutFunction(it.Enum())
		case kmip.TagReplacedUniqueIdentifier:
			l.old = it.Text()
		case kmip.TagAttribute:
			var a kmip.Attribute
			if err := a.Decode(it); err != nil {
				panic(err)
			}
			l.attrs[a.AttributeName] = a.AttributeValue
		default:
			l.body = it
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.got = append(m.got, l)
	if m.refuse {
		return m.says, true, errors.New("refused")
	}
	return m.says, true, nil
}

func (m *mailbox) set(change func(*mailbox)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(m)
}

func (m *mailbox) letters() []letter {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.got)
}

// wait gives the letters once there are n, and fails when there are more a moment later.
func (m *mailbox) wait(t *testing.T, n int) []letter {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for len(m.letters()) < n && time.Now().Before(deadline) {
		time.Sleep(2 * time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond)
	got := m.letters()
	if len(got) != n {
		t.Fatalf("%d messages arrived, want %d: %+v", len(got), n, got)
	}
	return got
}

func (l letter) names() []string {
	var out []string
	for n := range l.attrs {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// caPEM is any certificate: the mailbox verifies nothing.
func caPEM(t testing.TB) string {
	t.Helper()
	cert := makeCert(t, pkix.Name{CommonName: "endpoints"}, nil)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}

func newMailBench(t *testing.T, e metadata.Endpoint) (*bench, client, *mailbox) {
	t.Helper()
	m := &mailbox{}
	b := newBench(t, func(c *Config) { c.Courier = m })
	c := b.client("a").known()
	e.Address, e.CA = "localhost:1", caPEM(t)
	c.ok(b.s.SetEndpoint(context.Background(), "a", &e))
	return b, c, m
}

func text(s string) kmip.Attribute { return attr("x-a", textValue(s)) }

func TestNotifyOthers(t *testing.T) {
	b, c, m := newMailBench(t, metadata.Endpoint{})
	key := c.as("alice").aes()
	shared := c.aes(attr("Activation Date", timeValue(epoch.Add(time.Hour))), attr("Deactivation Date", timeValue(epoch.Add(2*time.Hour))))
	foreign := b.client("b").known().aes()
	c.ok(b.client("b").activate(foreign))
	c.ok(c.as("alice").activate(key)) // her own
	m.wait(t, 0)
	c.ok(c.as("bob").activate(c.aes())) // an object of the client, changed by a user of it
	got := m.wait(t, 1)
	if want := []string{"Activation Date", "Last Change Date", "State"}; !slices.Equal(got[0].names(), want) || got[0].op != kmip.OperationNotify {
		t.Errorf("got %s %v, want %v", got[0].op, got[0].names(), want)
	}
	// A date comes.
	b.advance(time.Hour)
	c.ok(b.s.transition(context.Background(), shared))
	got = m.wait(t, 2)
	if l := got[1]; l.uid != shared || kmip.State(l.attrs["State"].Enum()) != kmip.StateActive || !slices.Equal(l.names(), []string{"Last Change Date", "State"}) {
		t.Errorf("got %+v", l)
	}
	// An administrator changes something.
	_, err := b.s.UpdateAttribute(context.Background(), AttributeUpdate{Object: shared, Client: "a", Attribute: "x-a", Value: "v", Add: true})
	c.ok(err)
	if l := m.wait(t, 3)[2]; l.uid != shared || !slices.Equal(l.names(), []string{"Last Change Date", "x-a"}) {
		t.Errorf("got %+v", l)
	}
	// Another one comes, and before anybody writes it down the owner changes something: nobody was told of the first.
	b.advance(time.Hour)
	_, err = do(c, kmip.OperationAddAttribute, shared, c.s.AddAttribute, &kmip.AddAttributeRequest{Attribute: attr("x-b", textValue("1"))})
	c.ok(err)
	m.wait(t, 3)
}

func TestNotifyAll(t *testing.T) {
	b, c, m := newMailBench(t, metadata.Endpoint{Notify: NotifyAll})
	key := c.aes()
	_, err := do(c, kmip.OperationAddAttribute, key, c.s.AddAttribute, &kmip.AddAttributeRequest{Attribute: text("1")})
	c.ok(err)
	_, err = do(c, kmip.OperationDeleteAttribute, key, c.s.DeleteAttribute, &kmip.DeleteAttributeRequest{AttributeName: "x-a"})
	c.ok(err)
	_, err = c.get(key, kmip.GetRequest{}) // takes the freshness, which is no news
	c.ok(err)
	next, err := do(c, kmip.OperationReKey, key, c.s.ReKey, &kmip.ReKeyRequest{})
	c.ok(err)
	c.ok(c.destroy(key))
	got := m.wait(t, 4)
	for i, want := range []string{"Last Change Date x-a", "Last Change Date x-a", "Last Change Date Link", "Destroy Date Last Change Date State"} {
		if names := strings.Join(got[i].names(), " "); names != want || got[i].uid != key {
			t.Errorf("message %d: got %s about %s, want %s", i, names, got[i].uid, want)
		}
	}
	if v := got[0].attrs["x-a"]; v.Type != ttlv.TextString || v.Text() != "1" {
		t.Errorf("the added attribute: %+v", v)
	}
	if v := got[1].attrs["x-a"]; !v.IsZero() {
		t.Errorf("the deleted attribute has the value %+v", v)
	}
	if c.state(next.UniqueIdentifier) == 0 {
		t.Error("no replacement")
	}
	if kmip.State(got[3].attrs["State"].Enum()) != kmip.StateDestroyed {
		t.Error("State is not Destroyed")
	}
	b.wantClean()
}

// What is taken back is not told, and what may still be taken back is not told yet.
func TestNotifyWaits(t *testing.T) {
	b, c, m := newMailBench(t, metadata.Endpoint{Notify: NotifyAll, PutNew: true})
	key := c.aes()
	m.wait(t, 1)
	ctx := context.Background()
	tx := b.s.Begin(true)
	_, err := item(ctx, c, tx, kmip.OperationAddAttribute, key, c.s.AddAttribute, &kmip.AddAttributeRequest{Attribute: text("1")})
	c.ok(err)
	_, err = item(ctx, c, tx, kmip.OperationCreate, "", c.s.Create, &kmip.CreateRequest{ObjectType: kmip.ObjectTypeSymmetricKey, TemplateAttribute: kmip.TemplateAttribute{Attribute: aesAttributes(128)}})
	c.ok(err)
	m.wait(t, 1)
	c.ok(tx.Rollback(ctx, 0))
	m.wait(t, 1)
	if st, err := b.s.Endpoint(ctx, "a"); err != nil || st.Queued != 0 {
		t.Errorf("%d messages wait, %v", st.Queued, err)
	}
	tx = b.s.Begin(true)
	_, err = item(ctx, c, tx, kmip.OperationAddAttribute, key, c.s.AddAttribute, &kmip.AddAttributeRequest{Attribute: text("2")})
	c.ok(err)
	m.wait(t, 1)
	c.ok(tx.Commit(ctx))
	m.wait(t, 2)
	c.ok(tx.Rollback(ctx, 0))
}

func TestPut(t *testing.T) {
	b, c, m := newMailBench(t, metadata.Endpoint{PutNew: true, Notify: NotifyNone})
	key := c.aes(text("v"))
	l := m.wait(t, 1)[0]
	if l.op != kmip.OperationPut || l.uid != key || l.put != kmip.PutFunctionNew || l.body.Tag != kmip.TagSymmetricKey || !l.attrs["Fresh"].Bool() || l.attrs["x-a"].Text() != "v" {
		t.Errorf("got %+v", l)
	}
	if got := l.body.Find(kmip.TagKeyBlock).Find(kmip.TagKeyValue).Find(kmip.TagKeyMaterial).Value; string(got) != string(c.material(key)) {
		t.Errorf("the key is %x, want %x", got, c.material(key))
	}
	eventually(t, "Fresh is taken", func() bool { return !c.value(key, "Fresh").Bool() })
	next, err := do(c, kmip.OperationReKey, key, c.s.ReKey, &kmip.ReKeyRequest{})
	c.ok(err)
	if l := m.wait(t, 2)[1]; l.uid != next.UniqueIdentifier || l.put != kmip.PutFunctionReplace || l.old != key {
		t.Errorf("the replacement: %+v", l)
	}
	// What must not leave in clear does not, and does not stop what comes behind it.
	c.aes(attr("Sensitive", boolValue(true)))
	last := c.aes()
	if l := m.wait(t, 3)[2]; l.uid != last {
		t.Errorf("got %s, want %s", l.uid, last)
	}
	// Pushed by an administrator.
	ctx := context.Background()
	c.ok(b.s.Put(ctx, "a", []string{key, last}))
	if got := m.wait(t, 5); got[3].uid != key || got[4].uid != last {
		t.Errorf("got %s and %s", got[3].uid, got[4].uid)
	}
	// Each that left was recorded before, and that it arrived, after.
	eventually(t, "the audit trail tells of all five", func() bool { return len(b.find(about("Put", audit.Success))) == 5 })
	for _, e := range b.find(about("Put", audit.Pending)) {
		if e.Release != audit.ReleasePlain || e.Client != "a" || len(e.Objects) != 1 {
			t.Errorf("a Put in the audit trail: %+v", e)
		}
	}
	if n := len(b.find(about("Put", audit.Pending))); n < 5 {
		t.Errorf("%d releases are recorded, want 5", n)
	}
	sensitive := c.aes(attr("Extractable", boolValue(false)))
	destroyed := c.aes()
	m.wait(t, 6)
	c.ok(c.destroy(destroyed))
	for name, uids := range map[string][]string{"nothing": nil, "in place": {sensitive}, "destroyed": {destroyed}, "one of two": {key, "unknown"},
		"foreign": {b.client("b").aes()}} {
		if b.s.Put(ctx, "a", uids) == nil {
			t.Errorf("%s was put", name)
		}
	}
	if b.s.Put(ctx, "b", []string{key}) == nil || b.s.Put(ctx, "zz", []string{key}) == nil {
		t.Error("put for a client without endpoint")
	}
	m.wait(t, 6)
	b.wantClean()
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in time", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// Messages survive a crash, in their order, and none of a change that did not happen is there.
func TestMailCrash(t *testing.T) {
	b, c, m := newMailBench(t, metadata.Endpoint{Notify: NotifyAll})
	m.set(func(m *mailbox) { m.down = true })
	key := c.aes()
	for i := range 5 {
		_, err := do(c, kmip.OperationAddAttribute, key, c.s.AddAttribute, &kmip.AddAttributeRequest{Attribute: attr(fmt.Sprint("x-", i), textValue("v"))})
		c.ok(err)
	}
	eventually(t, "an attempt", func() bool { m.mu.Lock(); defer m.mu.Unlock(); return m.tries > 0 })
	var list []string
	c.ok(b.db.Deliveries(context.Background(), func(d *metadata.Delivery) error { list = append(list, string(d.Attributes)); return nil }))
	if secret := string(c.material(key)); len(list) != 5 || strings.Contains(strings.Join(list, ""), secret) {
		t.Errorf("%d messages are stored, or with the key", len(list))
	}
	m.set(func(m *mailbox) { m.down = false })
	b.crash()
	got := m.wait(t, 5)
	for i := range 5 {
		if _, ok := got[i].attrs[fmt.Sprint("x-", i)]; !ok {
			t.Errorf("message %d is about %v", i, got[i].names())
		}
	}
	b.crash()
	m.wait(t, 5)
	// Numbers go on behind those of the last run.
	_, err := do(c, kmip.OperationAddAttribute, key, c.s.AddAttribute, &kmip.AddAttributeRequest{Attribute: attr("x-9", textValue("v"))})
	c.ok(err)
	m.wait(t, 6)
}

// An endpoint that hangs costs requests nothing.
func TestSlowEndpoint(t *testing.T) {
	_, c, m := newMailBench(t, metadata.Endpoint{Notify: NotifyAll, PutNew: true})
	slow := make(chan struct{})
	m.set(func(m *mailbox) { m.slow = slow })
	key := c.aes()
	eventually(t, "an attempt", func() bool { m.mu.Lock(); defer m.mu.Unlock(); return m.tries > 0 })
	began := time.Now()
	for i := range 20 {
		_, err := do(c, kmip.OperationAddAttribute, key, c.s.AddAttribute, &kmip.AddAttributeRequest{Attribute: attr(fmt.Sprint("x-", i), textValue("v"))})
		c.ok(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("20 changes took %s", took)
	}
	close(slow)
	m.wait(t, 21)
}

func TestMailBounds(t *testing.T) {
	b, c, m := newMailBench(t, metadata.Endpoint{Notify: NotifyAll})
	ctx := context.Background()
	m.set(func(m *mailbox) { m.down = true })
	key := c.aes()
	batch := &metadata.Batch{}
	for range maxMail + 3 {
		batch.Enqueue = append(batch.Enqueue, b.s.putOf(&metadata.Record{UID: key, Owner: "a"}, epoch))
	}
	c.ok(b.s.publish(ctx, batch, nil, ofServer("test")))
	queued := func(n int) func() bool {
		return func() bool { st, err := b.s.Endpoint(ctx, "a"); return err == nil && st.Queued == n }
	}
	eventually(t, "the oldest go", queued(maxMail))
	if !strings.Contains(b.log.String(), "the queue is full") {
		t.Error("no log line")
	}
	// From then on the sender rests, and does not come in between what follows.
	eventually(t, "a failed attempt", func() bool {
		st, err := b.s.Endpoint(ctx, "a")
		return err == nil && st.Attempts > 0 && st.Trouble != ""
	})
	// Old messages go when their turn comes.
	b.advance(mailLifetime + time.Hour)
	m.set(func(m *mailbox) { m.down = false })
	c.ok(b.s.SetEndpoint(ctx, "a", nil))
	if _, err := b.s.Endpoint(ctx, "a"); err == nil {
		t.Error("the endpoint is still there")
	}
	left := 0
	c.ok(b.db.Deliveries(ctx, func(*metadata.Delivery) error { left++; return nil }))
	if left != 0 {
		t.Errorf("%d messages are left without an endpoint", left)
	}
	c.ok(b.s.SetEndpoint(ctx, "a", &metadata.Endpoint{Address: "localhost:1", CA: caPEM(t), Notify: NotifyAll}))
	c.ok(b.s.publish(ctx, &metadata.Batch{Enqueue: []*metadata.Delivery{b.s.putOf(&metadata.Record{UID: key, Owner: "a"}, epoch)}}, nil, ofServer("test")))
	eventually(t, "an old message goes", queued(0))
	m.wait(t, 0)
	// A refusal is an answer.
	m.set(func(m *mailbox) { m.refuse = true })
	c.ok(b.s.Put(ctx, "a", []string{key}))
	eventually(t, "a refused message goes", queued(0))
	m.wait(t, 1)
	// A client that is removed takes its queue along.
	m.set(func(m *mailbox) { m.down = true })
	c.ok(b.s.Put(ctx, "a", []string{key}))
	if _, err := b.s.RemoveClient(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	c.ok(b.db.Deliveries(ctx, func(*metadata.Delivery) error { left++; return nil }))
	if left != 0 {
		t.Errorf("%d messages are left without a client", left)
	}
}

func TestEndpointChecks(t *testing.T) {
	b := newBench(t)
	c := b.client("a").known()
	ctx := context.Background()
	good := metadata.Endpoint{Address: "host:1", CA: caPEM(t), Version: kmip.V1_2, Notify: NotifyAll}
	for name, change := range map[string]func(*metadata.Endpoint){
		"address": func(e *metadata.Endpoint) { e.Address = "host" }, "CA": func(e *metadata.Endpoint) { e.CA = "x" },
		"version": func(e *metadata.Endpoint) { e.Version = kmip.V2_1 }, "notify": func(e *metadata.Endpoint) { e.Notify = "some" },
	} {
		e := good
		change(&e)
		if b.s.SetEndpoint(ctx, "a", &e) == nil {
			t.Errorf("an endpoint with a wrong %s was taken", name)
		}
	}
	if b.s.SetEndpoint(ctx, "nobody", &good) == nil {
		t.Error("an endpoint of nobody was taken")
	}
	for _, address := range []string{"https://host:1", "https://[::1]:1/kmip"} {
		e := good
		e.Address = address
		c.ok(b.s.SetEndpoint(ctx, "a", &e))
	}
	for _, address := range []string{"https://host", "https://user@host:1", "http://host:1", "https://host:1/#x", "https://"} {
		e := good
		e.Address = address
		if b.s.SetEndpoint(ctx, "a", &e) == nil {
			t.Errorf("the address %q was taken", address)
		}
	}
	c.ok(b.s.SetEndpoint(ctx, "a", &good))
	// Without a courier the messages wait.
	key := c.aes()
	c.ok(b.s.Put(ctx, "a", []string{key}))
	b.restart()
	if st, err := b.s.Endpoint(ctx, "a"); err != nil || st.Queued != 1 || st.Address != "host:1" {
		t.Errorf("Endpoint: %+v, %v", st, err)
	}
}

// The version of the endpoint decides what it is told, and a message is tried again until it arrives.
func TestRetryAndVersion(t *testing.T) {
	b, c, m := newMailBench(t, metadata.Endpoint{Notify: NotifyAll, Version: kmip.V1_0})
	m.set(func(m *mailbox) { m.down = true })
	key := c.aes()
	c.ok(b.s.Put(context.Background(), "a", []string{key}))
	eventually(t, "two attempts", func() bool { m.mu.Lock(); defer m.mu.Unlock(); return m.tries > 1 })
	m.set(func(m *mailbox) { m.down = false })
	l := m.wait(t, 1)[0]
	if _, ok := l.attrs["Fresh"]; ok || l.op != kmip.OperationPut {
		t.Errorf("KMIP 1.0 is told %v", l.names())
	}
}
