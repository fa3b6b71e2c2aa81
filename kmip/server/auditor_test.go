package server

import (
	"context"
	"crypto/tls"
	"errors"
	"sync"
	"testing"
	"time"

	"kmipd/kmip"
)

// fakeAuditor keeps what it is told.
type fakeAuditor struct {
	mu          sync.Mutex
	items       []kmip.AuditItem
	calls       []kmip.Call
	connections []kmip.AuditConnection
	fail        func(*kmip.AuditItem) error
}

func (a *fakeAuditor) AuditItem(_ context.Context, it *kmip.AuditItem) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.items = append(a.items, *it)
	a.calls = append(a.calls, *it.Call)
	if a.fail != nil {
		return a.fail(it)
	}
	return nil
}

func (a *fakeAuditor) AuditConnection(c kmip.AuditConnection) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.connections = append(a.connections, c)
}

// Each item has its record, with who, what, on which object, from where and why not; so has a message that is not read.
func TestEveryItemIsAudited(t *testing.T) {
	a := &fakeAuditor{}
	b := newBench(t, func(c *Config) { c.Auditor = a })
	b.peer.remote = "192.0.2.1:7"
	b.send(t, batchOf(kmip.V1_2, kmip.BatchErrorContinuationOptionContinue, create(), get(""), get("nothing"),
		askItem{op: kmip.OperationCreate, payload: octets{}}, askItem{op: kmip.Operation(0xFF), payload: octets{}}))
	b.as(kmip.Caller{}, kmip.Errorf(kmip.ResultReasonAuthenticationNotSuccessful, "expired"))
	b.send(t, batchOf(kmip.V1_2, 0, get("key-1")))
	b.as(registered, nil)
	b.sendOctets(t, []byte("nonsense"))
	want := []struct {
		op     kmip.Operation
		target string
		reason kmip.ResultReason
		client string
	}{
		{kmip.OperationCreate, "key-1", 0, "client-1"},
		{kmip.OperationGet, "key-1", 0, "client-1"},
		{kmip.OperationGet, "nothing", kmip.ResultReasonItemNotFound, "client-1"},
		{kmip.OperationCreate, "", kmip.ResultReasonInvalidMessage, "client-1"},
		{kmip.Operation(0xFF), "", kmip.ResultReasonOperationNotSupported, "client-1"},
		{kmip.OperationGet, "", kmip.ResultReasonAuthenticationNotSuccessful, ""},
		{0, "", kmip.ResultReasonInvalidMessage, "client-1"},
	}
	if len(a.items) != len(want) {
		t.Fatalf("got %d records, want %d: %+v", len(a.items), len(want), a.items)
	}
	for i, w := range want {
		it, call := a.items[i], a.calls[i]
		reason := kmip.ResultReason(0)
		if it.Err != nil {
			reason = kmip.ReasonOf(it.Err)
		}
		if it.Operation != w.op || it.Target != w.target || reason != w.reason || call.Caller.Client != w.client || call.Address != "192.0.2.1:7" || call.Request == "" {
			t.Errorf("record %d: got %v %q %v of %q at %q, want %+v", i, it.Operation, it.Target, it.Err, call.Caller.Client, call.Address, w)
		}
	}
}

// What cannot be recorded is not given: the key does not leave, and the client is told that the item failed.
func TestUnrecordedIsNotGiven(t *testing.T) {
	a := &fakeAuditor{fail: func(it *kmip.AuditItem) error {
		if it.Operation == kmip.OperationGet && it.Err == nil {
			return kmip.Errorf(kmip.ResultReasonGeneralFailure, "the audit trail cannot be written; try again later").Because(errors.New("full"))
		}
		return nil
	}}
	b := newBench(t, func(c *Config) { c.Auditor = a })
	r := b.send(t, batchOf(kmip.V1_2, kmip.BatchErrorContinuationOptionContinue, create(), get(""), create()))
	r.wantCount(t, 3)
	r.want(t, 0, 0)
	r.want(t, 1, kmip.ResultReasonGeneralFailure)
	r.want(t, 2, 0)
	if !r.items[1].ResponsePayload.IsZero() {
		t.Error("the key left all the same")
	}
	if n := len(a.items); n != 4 || a.items[2].Err == nil {
		t.Errorf("got %d records, want 4, of which the third tells of the failure: %+v", n, a.items)
	}
}

// A batch with Undo whose last item cannot be recorded is taken back, as its answer says.
func TestUnrecordedUndoes(t *testing.T) {
	a := &fakeAuditor{fail: func(it *kmip.AuditItem) error {
		if it.Operation == kmip.OperationGet && it.Err == nil {
			return kmip.Errorf(kmip.ResultReasonGeneralFailure, "the audit trail cannot be written; try again later")
		}
		return nil
	}}
	b := newBench(t, func(c *Config) { c.Auditor = a })
	r := b.send(t, batchOf(kmip.V1_2, kmip.BatchErrorContinuationOptionUndo, create(), get("")))
	r.wantCount(t, 2)
	if s := r.items[0].ResultStatus; s != kmip.ResultStatusOperationUndone {
		t.Errorf("the first item is %s, want undone", s)
	}
	r.want(t, 1, kmip.ResultReasonGeneralFailure)
	if n := len(b.keys.state()); n != 0 {
		t.Errorf("%d objects are there that the client was told were undone", n)
	}
}

// A handshake that fails and a frame that is not read are recorded.
func TestConnectionsAreAudited(t *testing.T) {
	a := &fakeAuditor{}
	s := newSite(t, func(c *Config) { c.Auditor = a })
	if c, err := tls.Dial("tcp", s.addr, &tls.Config{RootCAs: s.ca.Server().ClientCAs, ServerName: "localhost", MinVersion: tls.VersionTLS12}); err == nil {
		_, _ = c.Read(make([]byte, 1)) // the refusal of a missing certificate comes with the first read in TLS 1.3
		c.Close()
	}
	conn, _ := s.dial(t, "client-1")
	exchange(t, conn, []byte("GET /kmip HTTP/1.1\r\n\r\n"))
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		a.mu.Lock()
		connections, items := len(a.connections), len(a.items)
		if connections == 1 && items == 1 {
			if c := a.connections[0]; c.Address == "" || c.Err == nil {
				t.Errorf("the handshake: %+v", c)
			}
			if it := a.items[0]; it.Operation != 0 || it.Err == nil || a.calls[0].Caller.Client != "client-1" {
				t.Errorf("the frame: %+v", it)
			}
			a.mu.Unlock()
			return
		}
		a.mu.Unlock()
		if time.Now().After(deadline) {
			t.Fatalf("%d connections and %d messages are recorded, want one each", connections, items)
		}
	}
}
