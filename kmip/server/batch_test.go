package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"kmipd/kmip"
)

func TestPlaceholder(t *testing.T) {
	query := askItem{op: kmip.OperationQuery, payload: &kmip.QueryRequest{QueryFunction: []kmip.QueryFunction{1}}}
	locate := askItem{op: kmip.OperationLocate, payload: &kmip.LocateRequest{}}
	pair := askItem{op: kmip.OperationCreateKeyPair, payload: &kmip.CreateKeyPairRequest{}}
	register := askItem{op: kmip.OperationRegister, payload: registerSecret()}
	check := askItem{op: kmip.OperationCheck, payload: &kmip.CheckRequest{CryptographicUsageMask: ptr(kmip.CryptographicUsageMask(4))}}
	checkOK := askItem{op: kmip.OperationCheck, payload: &kmip.CheckRequest{}}
	cont := kmip.BatchErrorContinuationOptionContinue
	for _, tc := range []struct {
		name    string
		located []string
		opt     kmip.BatchErrorContinuationOption
		items   []askItem
		target  string // of the last item; "" when it fails with Item Not Found
	}{
		{"create", nil, 0, []askItem{create(), get("")}, "key-1"},
		{"create after create", nil, 0, []askItem{create(), create(), get("")}, "key-2"},
		{"explicit wins", nil, 0, []askItem{create(), create(), get("key-1")}, "key-1"},
		{"explicit does not set", nil, 0, []askItem{create(), create(), get("key-1"), get("")}, "key-2"},
		{"private half", nil, 0, []askItem{pair, get("")}, "priv-1"},
		{"register", nil, 0, []askItem{register, get("")}, "reg-1"},
		{"between", nil, 0, []askItem{create(), query, activate(""), get("")}, "key-1"},
		{"locate one", []string{"key-1"}, 0, []askItem{create(), create(), locate, get("")}, "key-1"},
		{"locate several", []string{"key-1", "key-2"}, 0, []askItem{create(), create(), locate, get("")}, ""},
		{"locate none", nil, 0, []askItem{create(), locate, get("")}, ""},
		{"check", nil, 0, []askItem{create(), checkOK, get("")}, "key-1"},
		{"failed check", nil, cont, []askItem{create(), check, get("")}, ""},
		{"nothing before", nil, 0, []askItem{get("")}, ""},
		{"failed create", nil, cont, []askItem{create(), {op: kmip.OperationCreate, payload: octets{}}, get("")}, ""},
		{"failed get", nil, cont, []askItem{create(), get("nothing"), get("")}, "key-1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t)
			b.keys.located = tc.located
			r := b.send(t, batchOf(kmip.V1_2, tc.opt, tc.items...))
			r.wantCount(t, len(tc.items))
			last := len(tc.items) - 1
			if tc.target == "" {
				r.want(t, last, kmip.ResultReasonItemNotFound)
				if !strings.Contains(*r.items[last].ResultMessage, "ID Placeholder is empty") {
					t.Errorf("text is %q", *r.items[last].ResultMessage)
				}
				return
			}
			r.want(t, last, 0)
			if got := payloadOf[kmip.GetResponse](t, r.items[last]).UniqueIdentifier; got != tc.target {
				t.Errorf("got %s, want %s", got, tc.target)
			}
		})
	}
	b := newBench(t)
	b.send(t, one(kmip.V1_2, kmip.OperationCreate, createAES())).want(t, 0, 0)
	b.send(t, one(kmip.V1_2, kmip.OperationGet, &kmip.GetRequest{})).want(t, 0, kmip.ResultReasonItemNotFound) // discarded at the end of the batch
	b.send(t, one(kmip.V1_2, kmip.OperationGet, &kmip.GetRequest{UniqueIdentifier: ptr("")})).want(t, 0, kmip.ResultReasonItemNotFound)
	for _, target := range b.keys.targets[1:] {
		t.Errorf("the keystore was asked about target %q", target)
	}
}

func TestContinuation(t *testing.T) {
	fail := get("nothing")
	for _, tc := range []struct {
		name    string
		opt     kmip.BatchErrorContinuationOption
		status  []kmip.ResultStatus
		objects int
	}{
		{"default", 0, []kmip.ResultStatus{kmip.ResultStatusSuccess, kmip.ResultStatusOperationFailed}, 1},
		{"stop", kmip.BatchErrorContinuationOptionStop, []kmip.ResultStatus{kmip.ResultStatusSuccess, kmip.ResultStatusOperationFailed}, 1},
		{"continue", kmip.BatchErrorContinuationOptionContinue, []kmip.ResultStatus{kmip.ResultStatusSuccess, kmip.ResultStatusOperationFailed, kmip.ResultStatusSuccess}, 2},
		{"undo", kmip.BatchErrorContinuationOptionUndo, []kmip.ResultStatus{kmip.ResultStatusOperationUndone, kmip.ResultStatusOperationFailed}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t)
			r := b.send(t, batchOf(kmip.V1_3, tc.opt, create(), fail, create()))
			r.wantCount(t, len(tc.status))
			for i, it := range r.items {
				if it.ResultStatus != tc.status[i] {
					t.Errorf("item %d: %s, want %s", i, it.ResultStatus, tc.status[i])
				}
				if string(it.UniqueBatchItemID) != string([]byte{byte(i + 1)}) {
					t.Errorf("item %d: id %x", i, it.UniqueBatchItemID)
				}
				if it.ResultStatus != kmip.ResultStatusSuccess && !it.ResponsePayload.IsZero() {
					t.Errorf("item %d: payload with %s", i, it.ResultStatus)
				}
			}
			if got := len(b.keys.state()); got != tc.objects {
				t.Errorf("%d objects, want %d", got, tc.objects)
			}
			if b.keys.ended == 0 {
				t.Error("the undo log was not ended")
			}
		})
	}
}

func TestUndoWithoutFailureCommitsOnce(t *testing.T) {
	b := newBench(t)
	b.keys.hook = func(context.Context, kmip.Operation, *kmip.Call) error {
		if b.keys.commits != 0 {
			t.Error("committed before the end of the batch")
		}
		return nil
	}
	r := b.send(t, batchOf(kmip.V1_4, kmip.BatchErrorContinuationOptionUndo, create(), activate(""), create()))
	for i := range 3 {
		r.want(t, i, 0)
	}
	if b.keys.commits != 1 || len(b.keys.state()) != 2 {
		t.Errorf("%d commits, %d objects", b.keys.commits, len(b.keys.state()))
	}
}

func TestCommitFailure(t *testing.T) {
	t.Run("single", func(t *testing.T) {
		b := newBench(t)
		b.keys.commitErr = errors.New("disk full on /var")
		r := b.send(t, batchOf(kmip.V1_2, 0, create(), create()))
		r.wantCount(t, 1)
		r.want(t, 0, kmip.ResultReasonGeneralFailure)
		if text := *r.items[0].ResultMessage; strings.Contains(text, "/var") || !strings.Contains(text, "may still be in effect") {
			t.Errorf("text is %q", text)
		}
		if !strings.Contains(b.log.String(), "/var") || b.keys.ended == 0 {
			t.Error("the cause is not logged, or the undo log not ended")
		}
	})
	t.Run("refusal", func(t *testing.T) { // whatever its words: the client must not take it for "nothing happened"
		b := newBench(t)
		b.keys.commitErr = kmip.Errorf(kmip.ResultReasonPermissionDenied, "no")
		r := b.send(t, one(kmip.V1_2, kmip.OperationCreate, createAES()))
		r.want(t, 0, kmip.ResultReasonGeneralFailure)
	})
	t.Run("undo", func(t *testing.T) {
		b := newBench(t)
		b.keys.commitErr = errors.New("disk full")
		r := b.send(t, batchOf(kmip.V1_2, kmip.BatchErrorContinuationOptionUndo, create(), create()))
		r.wantCount(t, 2)
		r.want(t, 0, kmip.ResultReasonGeneralFailure) // not "Operation Undone": nobody knows
		r.want(t, 1, kmip.ResultReasonGeneralFailure)
	})
	t.Run("undo that fails", func(t *testing.T) {
		b := newBench(t)
		b.keys.rollbackErr = errors.New("token gone")
		r := b.send(t, batchOf(kmip.V1_2, kmip.BatchErrorContinuationOptionUndo, create(), get("nothing")))
		r.wantCount(t, 2)
		r.want(t, 0, kmip.ResultReasonGeneralFailure) // not "Operation Undone": that would be a lie
		r.want(t, 1, kmip.ResultReasonGeneralFailure)
		if !strings.Contains(*r.items[0].ResultMessage, "may still be in effect") {
			t.Errorf("text is %q", *r.items[0].ResultMessage)
		}
	})
}

func TestMaximumResponseSize(t *testing.T) {
	size := func(n int) ask {
		a := one(kmip.V1_2, kmip.OperationCreate, createAES())
		a.header.MaximumResponseSize = ptr(int32(n))
		return a
	}
	b := newBench(t)
	full := b.send(t, size(1<<20)).size
	r := b.send(t, size(full))
	r.want(t, 0, 0)
	objects := len(b.keys.state())
	for n := full - 1; n > 0; n -= 7 {
		r := b.send(t, size(n))
		r.wantCount(t, 1)
		r.want(t, 0, kmip.ResultReasonResponseTooLarge)
		if r.size > n && r.items[0].ResultMessage != nil {
			t.Fatalf("limit %d: the optional Result Message makes the answer %d octets", n, r.size)
		}
		if got := len(b.keys.state()); got != objects {
			t.Fatalf("limit %d: a failed Create left %d objects behind", n, got-objects)
		}
	}
	b.send(t, size(-5)).want(t, 0, kmip.ResultReasonResponseTooLarge)
}

// The answers of all items together must fit; a later one that is too large takes only itself away.
func TestMaximumResponseSizeInABatch(t *testing.T) {
	for _, tc := range []struct {
		name  string
		opt   kmip.BatchErrorContinuationOption
		items []askItem
	}{
		{"stop", kmip.BatchErrorContinuationOptionStop, []askItem{create(), get(""), create()}},
		{"continue", kmip.BatchErrorContinuationOptionContinue, []askItem{create(), get("key-1"), get("key-1"), get("key-1"), get("key-1")}},
		{"undo", kmip.BatchErrorContinuationOptionUndo, []askItem{create(), get(""), create()}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for limit := 270; limit < 1200; limit += 13 {
				b := newBench(t)
				a := batchOf(kmip.V1_4, tc.opt, tc.items...)
				a.header.MaximumResponseSize = ptr(int32(limit))
				r := b.send(t, a)
				if r.size > limit {
					t.Errorf("limit %d: the answer has %d octets and %d items", limit, r.size, len(r.items))
				}
				made := 0
				for i, it := range r.items {
					if it.ResultStatus == kmip.ResultStatusSuccess && it.Operation == kmip.OperationCreate {
						made++
					}
					if it.ResultStatus == kmip.ResultStatusOperationFailed {
						r.want(t, i, r.items[i].ResultReason)
					}
				}
				if got := len(b.keys.state()); got != made {
					t.Errorf("limit %d: %d objects, %d creations were acknowledged", limit, got, made)
				}
			}
		})
	}
}

func TestServerResponseLimit(t *testing.T) {
	b := newBench(t, func(c *Config) { c.MaxResponseSize = 64 << 10 })
	b.keys.material = make([]byte, 40<<10)
	r := b.send(t, batchOf(kmip.V1_2, kmip.BatchErrorContinuationOptionContinue, create(), get("key-1"), get("key-1"), create()))
	r.wantCount(t, 4)
	r.want(t, 1, 0)
	r.want(t, 2, kmip.ResultReasonResponseTooLarge)
	r.want(t, 3, 0)
}

func TestPanicOfAHandler(t *testing.T) {
	b := newBench(t)
	b.keys.hook = func(_ context.Context, op kmip.Operation, _ *kmip.Call) error {
		if op == kmip.OperationGet {
			panic("secret-value")
		}
		return nil
	}
	r := b.send(t, batchOf(kmip.V1_2, 0, create(), get(""), create()))
	r.wantCount(t, 2)
	r.want(t, 0, 0) // it was done and made final: its answer stands
	r.want(t, 1, kmip.ResultReasonGeneralFailure)
	if r.keep {
		t.Error("the connection goes on after a panic")
	}
	if strings.Contains(*r.items[1].ResultMessage, "secret") || !strings.Contains(b.log.String(), "fake_test.go") {
		t.Error("the stack belongs in the log, nothing of it in the answer")
	}
	if b.keys.ended != 2 { // Rollback of the item and of the end
		t.Errorf("undo log ended %d times", b.keys.ended)
	}
	if got := b.Counters().Panics; got != 1 {
		t.Errorf("%d panics counted", got)
	}
	b.peer.identify = func(context.Context) (kmip.Caller, error) { panic("outside of any item") }
	r = b.send(t, one(kmip.V1_2, kmip.OperationCreate, createAES()))
	r.want(t, 0, kmip.ResultReasonGeneralFailure)
	if r.keep {
		t.Error("the connection goes on after a panic")
	}
}

func TestItemDeadline(t *testing.T) {
	b := newBench(t, func(c *Config) { c.RequestTimeout = 20 * time.Millisecond })
	b.keys.hook = func(ctx context.Context, op kmip.Operation, _ *kmip.Call) error {
		d, ok := ctx.Deadline()
		if !ok || time.Until(d) > time.Second {
			t.Error("no deadline in the context")
		}
		<-ctx.Done()
		return fmt.Errorf("waiting for a session: %w", ctx.Err())
	}
	r := b.send(t, one(kmip.V1_2, kmip.OperationCreate, createAES()))
	r.want(t, 0, kmip.ResultReasonGeneralFailure)
	if !strings.Contains(*r.items[0].ResultMessage, "time limit") {
		t.Errorf("text is %q", *r.items[0].ResultMessage)
	}
}

func TestAuditAndCounters(t *testing.T) {
	b := newBench(t)
	a := batchOf(kmip.V1_4, kmip.BatchErrorContinuationOptionContinue, create(), get("missing"), askItem{op: 0x7F, payload: octets{}})
	a.header.ClientCorrelationValue = ptr(strings.Repeat("x", 5000))
	r := b.send(t, a)
	r.wantCount(t, 3)
	log := b.log.String()
	lines := strings.Split(strings.TrimSpace(log), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines for 3 items:\n%s", len(lines), log)
	}
	for i, want := range [][]string{
		{`"level":"info"`, `"operation":"Create"`, `"uid":"key-1"`, `"client":"client-1"`, `"corr":"` + *r.header.ServerCorrelationValue + `"`, `"elapsed"`},
		{`"level":"warn"`, `"operation":"Get"`, `"uid":"missing"`, `"reason":"Item Not Found"`},
		{`"level":"warn"`, `"operation":"0000007F"`, `"reason":"Operation Not Supported"`},
	} {
		for _, w := range want {
			if !strings.Contains(lines[i], w) {
				t.Errorf("line %d lacks %s: %s", i, w, lines[i])
			}
		}
	}
	if len(log) > 3000 {
		t.Error("a client can fill the log with its own words")
	}
	c := b.Counters()
	for key, n := range map[ItemKey]uint64{
		{kmip.OperationCreate, 0}: 1, {kmip.OperationGet, kmip.ResultReasonItemNotFound}: 1,
		{0, kmip.ResultReasonOperationNotSupported}: 1,
	} {
		if c.Items[key] != n {
			t.Errorf("%v counted %d times, want %d", key, c.Items[key], n)
		}
	}
	if c.Requests != 1 {
		t.Errorf("%d requests", c.Requests)
	}
}

func TestCheckReturnsRefusedValues(t *testing.T) {
	b := newBench(t)
	mask := kmip.CryptographicUsageMask(4)
	r := b.send(t, batchOf(kmip.V1_2, 0, create(), askItem{op: kmip.OperationCheck, payload: &kmip.CheckRequest{CryptographicUsageMask: &mask}}))
	r.want(t, 1, kmip.ResultReasonPermissionDenied)
	p := payloadOf[kmip.CheckResponse](t, r.items[1])
	if p.UniqueIdentifier != nil || p.CryptographicUsageMask == nil || *p.CryptographicUsageMask != mask {
		t.Errorf("payload %+v", p)
	}
}
