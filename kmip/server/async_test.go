package server

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"kmipd/kmip"
)

func newAsyncBench(t testing.TB) (*bench, *fakeJobs) {
	t.Helper()
	var jobs *fakeJobs
	b := newBench(t, func(c *Config) {
		jobs = newFakeJobs(c.Keystore.(*fakeKeys))
		c.Jobs = jobs
	})
	return b, jobs
}

// async sets the Asynchronous Indicator.
func async(a ask) ask {
	a.header.AsynchronousIndicator = ptr(true)
	return a
}

func pair() askItem {
	return askItem{op: kmip.OperationCreateKeyPair, payload: &kmip.CreateKeyPairRequest{}}
}

func pollFor(id []byte) ask {
	return one(kmip.V1_2, kmip.OperationPoll, &kmip.PollRequest{AsynchronousCorrelationValue: id})
}

func (r reply) pending(t testing.TB, i int) []byte {
	t.Helper()
	it := r.items[i]
	if it.ResultStatus != kmip.ResultStatusOperationPending || len(it.AsynchronousCorrelationValue) != jobIDSize || !it.ResponsePayload.IsZero() ||
		it.ResultReason != 0 {
		t.Fatalf("item %d: got %+v, want Operation Pending", i, it)
	}
	return bytes.Clone(it.AsynchronousCorrelationValue)
}

// unordered takes the Batch Order Option from a batch.
func unordered(a ask) ask {
	a.header.BatchOrderOption = nil
	return a
}

// work runs the next job on the test's goroutine.
func (b *bench) work(jobs *fakeJobs) { b.do(context.Background(), <-jobs.ready) }

func TestAsynchronous(t *testing.T) {
	b, jobs := newAsyncBench(t)
	r := b.send(t, async(ask{ver: kmip.V1_2, items: []askItem{pair()}}))
	id := r.pending(t, 0)
	if r.items[0].Operation != kmip.OperationCreateKeyPair || len(b.keys.state()) != 0 {
		t.Errorf("the answer is for %s, there are %d objects", r.items[0].Operation, len(b.keys.state()))
	}
	r = b.send(t, pollFor(id))
	if got := r.pending(t, 0); !bytes.Equal(got, id) || r.items[0].Operation != kmip.OperationPoll {
		t.Errorf("Poll of a pending job: %s, %x", r.items[0].Operation, got)
	}
	b.work(jobs)
	for range 2 { // an answer can be had again
		r = b.send(t, pollFor(id))
		r.want(t, 0, 0)
		if p := payloadOf[kmip.CreateKeyPairResponse](t, r.items[0]); r.items[0].Operation != kmip.OperationCreateKeyPair || p.PrivateKeyUniqueIdentifier != "priv-1" {
			t.Errorf("got %s, %+v", r.items[0].Operation, p)
		}
	}
	if want := []kmip.Operation{kmip.OperationCreateKeyPair, kmip.OperationPoll, kmip.OperationCreateKeyPair, kmip.OperationPoll, kmip.OperationPoll}; !slices.Equal(b.keys.asked, want) {
		t.Errorf("rights were asked for %v, want %v", b.keys.asked, want)
	}
	if !strings.Contains(b.log.String(), `"message":"job"`) {
		t.Error("no log line for the job")
	}
}

// What is cheap, cannot be undone, must be followed by another item, or is too much, is done at once.
func TestAtOnce(t *testing.T) {
	long := pair()
	long.payload = &kmip.CreateKeyPairRequest{CommonTemplateAttribute: ptr(template(textAttr("x-a", strings.Repeat("x", maxJobPayload))))}
	for _, tc := range []struct {
		name    string
		a       ask
		pending []bool
	}{
		{"without indicator", ask{items: []askItem{pair()}}, []bool{false}},
		{"indicator is false", ask{items: []askItem{pair()}, header: kmip.RequestHeader{AsynchronousIndicator: ptr(false)}}, []bool{false}},
		{"cheap", async(ask{items: []askItem{create()}}), []bool{false}},
		{"long request", async(ask{items: []askItem{long}}), []bool{false}},
		{"undo", async(batchOf(kmip.V1_2, kmip.BatchErrorContinuationOptionUndo, pair(), create())), []bool{false, false}},
		{"unordered", async(unordered(batchOf(kmip.V1_2, 0, pair(), create(), pair()))), []bool{true, false, true}},
		{"ordered", async(batchOf(kmip.V1_2, 0, pair(), create(), pair())), []bool{false, false, true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, _ := newAsyncBench(t)
			tc.a.ver = kmip.V1_2
			r := b.send(t, tc.a)
			for i, want := range tc.pending {
				if want {
					r.pending(t, i)
				} else {
					r.want(t, i, 0)
				}
			}
		})
	}
	t.Run("no room", func(t *testing.T) {
		b, jobs := newAsyncBench(t)
		jobs.full = true
		b.send(t, async(ask{ver: kmip.V1_2, items: []askItem{pair()}})).want(t, 0, 0)
	})
	t.Run("no table", func(t *testing.T) {
		b := newBench(t)
		b.send(t, async(ask{ver: kmip.V1_2, items: []askItem{pair()}})).want(t, 0, 0)
		b.send(t, pollFor([]byte{1})).want(t, 0, kmip.ResultReasonItemNotFound)
		r := b.send(t, one(kmip.V1_2, kmip.OperationCancel, &kmip.CancelRequest{AsynchronousCorrelationValue: []byte{1}}))
		if p := payloadOf[kmip.CancelResponse](t, r.items[0]); p.CancellationResult != kmip.CancellationResultUnavailable {
			t.Errorf("Cancel: %s", p.CancellationResult)
		}
	})
}

// A wrong request is refused at once, and nothing is stored of it; so is a pending answer that does not fit.
func TestPostponeRefusals(t *testing.T) {
	b, jobs := newAsyncBench(t)
	b.keys.authorize = func(*kmip.Call, kmip.Operation) error { return kmip.Errorf(kmip.ResultReasonPermissionDenied, "no") }
	b.send(t, async(ask{ver: kmip.V1_2, items: []askItem{pair()}})).want(t, 0, kmip.ResultReasonPermissionDenied)
	b.keys.authorize = nil
	bad := pair()
	bad.payload = &kmip.CreateKeyPairRequest{CommonTemplateAttribute: ptr(template(kmip.Attribute{AttributeName: "x-a"}))}
	b.send(t, async(ask{ver: kmip.V1_2, items: []askItem{bad}})).want(t, 0, kmip.ResultReasonInvalidMessage)
	small := async(ask{ver: kmip.V1_2, items: []askItem{pair()}})
	small.header.MaximumResponseSize = ptr(int32(150))
	b.send(t, small).want(t, 0, kmip.ResultReasonResponseTooLarge)
	jobs.addErr = errors.New("disk full")
	b.send(t, async(ask{ver: kmip.V1_2, items: []askItem{pair()}})).want(t, 0, kmip.ResultReasonGeneralFailure)
	if len(jobs.jobs) != 0 {
		t.Errorf("%d jobs are stored", len(jobs.jobs))
	}
}

// The object of a pending item does not exist yet, so the ID Placeholder is empty; the one that the placeholder named when
// the item was accepted is the one that the job is about.
func TestPendingPlaceholder(t *testing.T) {
	b, jobs := newAsyncBench(t)
	archive := askItem{op: kmip.OperationArchive, payload: &kmip.ArchiveRequest{}}
	r := b.send(t, async(unordered(batchOf(kmip.V1_2, kmip.BatchErrorContinuationOptionContinue, create(), archive, pair(), get("")))))
	r.want(t, 0, 0)
	r.pending(t, 1)
	r.pending(t, 2)
	r.want(t, 3, kmip.ResultReasonItemNotFound)
	b.work(jobs)
	if got := b.keys.state()["key-1"]; got != "Archived" {
		t.Errorf("key-1 is %q", got)
	}
}

func TestHeld(t *testing.T) {
	b, jobs := newAsyncBench(t)
	jobs.holds = []kmip.Operation{kmip.OperationCreate}
	b.send(t, one(kmip.V1_2, kmip.OperationCreate, createAES())).want(t, 0, kmip.ResultReasonPermissionDenied)
	undo := async(batchOf(kmip.V1_2, kmip.BatchErrorContinuationOptionUndo, create(), create()))
	b.send(t, undo).want(t, 0, kmip.ResultReasonPermissionDenied)
	id := b.send(t, async(ask{ver: kmip.V1_2, items: []askItem{create()}})).pending(t, 0)
	if len(jobs.ready) != 0 || len(b.keys.state()) != 0 {
		t.Error("the operation was not held")
	}
	b.do(context.Background(), jobs.jobs[string(id)])
	r := b.send(t, pollFor(id))
	r.want(t, 0, 0)
	if p := payloadOf[kmip.CreateResponse](t, r.items[0]); p.UniqueIdentifier != "key-1" {
		t.Errorf("got %+v", p)
	}
	for _, op := range Approvable() {
		if e := table[op]; e.async != asyncHeld && e.async != asyncRun {
			t.Errorf("%s can be held and is %d", op, e.async)
		}
	}
	if slices.Contains(Approvable(), kmip.OperationRegister) || slices.Contains(Approvable(), kmip.OperationGet) {
		t.Error("an operation with key bytes can be held")
	}
}

func TestLazyLocate(t *testing.T) {
	b, jobs := newAsyncBench(t)
	b.keys.located = []string{"a", "b"}
	locate := async(one(kmip.V1_2, kmip.OperationLocate, &kmip.LocateRequest{}))
	id := b.send(t, locate).pending(t, 0)
	r := b.send(t, pollFor(id))
	r.want(t, 0, 0)
	if p := payloadOf[kmip.LocateResponse](t, r.items[0]); r.items[0].Operation != kmip.OperationLocate || len(p.UniqueIdentifier) != 2 {
		t.Errorf("got %s, %+v", r.items[0].Operation, p)
	}
	id = b.send(t, locate).pending(t, 0)
	r = b.send(t, one(kmip.V1_2, kmip.OperationCancel, &kmip.CancelRequest{AsynchronousCorrelationValue: id}))
	if p := payloadOf[kmip.CancelResponse](t, r.items[0]); p.CancellationResult != kmip.CancellationResultCanceled || !bytes.Equal(p.AsynchronousCorrelationValue, id) {
		t.Errorf("Cancel: %+v", p)
	}
	b.send(t, pollFor(id)).want(t, 0, kmip.ResultReasonOperationCanceledByRequester)
	if len(jobs.jobs) != 2 {
		t.Errorf("%d jobs", len(jobs.jobs))
	}
}

// A job fails as its operation would have failed, under the operation's code, and leaves nothing behind.
func TestJobFailures(t *testing.T) {
	for _, tc := range []struct {
		name   string
		setup  func(*bench)
		reason kmip.ResultReason
	}{
		{"refused", func(b *bench) {
			b.keys.hook = func(context.Context, kmip.Operation, *kmip.Call) error {
				return kmip.Errorf(kmip.ResultReasonCryptographicFailure, "the token failed")
			}
		}, kmip.ResultReasonCryptographicFailure},
		{"rights are gone", func(b *bench) {
			b.keys.authorize = func(_ *kmip.Call, op kmip.Operation) error {
				if op == kmip.OperationCreateKeyPair {
					return kmip.Errorf(kmip.ResultReasonPermissionDenied, "no more")
				}
				return nil
			}
		}, kmip.ResultReasonPermissionDenied},
		{"panic", func(b *bench) {
			b.keys.hook = func(context.Context, kmip.Operation, *kmip.Call) error { panic("a bug") }
		}, kmip.ResultReasonGeneralFailure},
		{"commit", func(b *bench) { b.keys.commitErr = errors.New("token gone") }, kmip.ResultReasonGeneralFailure},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, jobs := newAsyncBench(t)
			id := b.send(t, async(ask{ver: kmip.V1_2, items: []askItem{pair()}})).pending(t, 0)
			tc.setup(b)
			b.work(jobs)
			b.keys.commitErr = nil
			r := b.send(t, pollFor(id))
			r.want(t, 0, tc.reason)
			if r.items[0].Operation != kmip.OperationCreateKeyPair {
				t.Errorf("the answer is for %s", r.items[0].Operation)
			}
			if tc.name != "commit" && len(b.keys.state()) != 0 {
				t.Errorf("objects remain: %v", b.keys.state())
			}
			if strings.Contains(*r.items[0].ResultMessage, "token gone") {
				t.Errorf("the message tells the cause: %q", *r.items[0].ResultMessage)
			}
		})
	}
}

// Jobs of others do not exist, and unregistered clients have none.
func TestForeignJob(t *testing.T) {
	b, jobs := newAsyncBench(t)
	id := b.send(t, async(ask{ver: kmip.V1_2, items: []askItem{pair()}})).pending(t, 0)
	b.as(kmip.Caller{Client: "other"}, nil)
	b.send(t, pollFor(id)).want(t, 0, kmip.ResultReasonItemNotFound)
	r := b.send(t, one(kmip.V1_2, kmip.OperationCancel, &kmip.CancelRequest{AsynchronousCorrelationValue: id}))
	if p := payloadOf[kmip.CancelResponse](t, r.items[0]); p.CancellationResult != kmip.CancellationResultUnavailable {
		t.Errorf("Cancel: %+v", p)
	}
	b.send(t, one(kmip.V1_2, kmip.OperationPoll, octets{})).want(t, 0, kmip.ResultReasonInvalidMessage)
	b.as(kmip.Caller{}, nil)
	b.send(t, pollFor(id)).want(t, 0, kmip.ResultReasonPermissionDenied)
	if len(jobs.ready) != 1 {
		t.Error("the job is not queued any more")
	}
}

// Query tells what the server does.
func TestAsynchronousCapability(t *testing.T) {
	for _, with := range []bool{false, true} {
		b, _ := newAsyncBench(t)
		if !with {
			b = newBench(t)
		}
		r := b.send(t, one(kmip.V1_3, kmip.OperationQuery, &kmip.QueryRequest{QueryFunction: []kmip.QueryFunction{kmip.QueryFunctionQueryCapabilities}}))
		p := payloadOf[kmip.QueryResponse](t, r.items[0])
		if len(p.CapabilityInformation) != 1 || *p.CapabilityInformation[0].AsynchronousCapability != with {
			t.Errorf("with jobs %t: got %+v", with, p.CapabilityInformation)
		}
	}
}
