package keystore

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"kmipd/kmip"
	kmipserver "kmipd/kmip/server"
	"kmipd/kmip/ttlv"
	"kmipd/metadata"
)

var _ kmipserver.Jobs = (*Store)(nil)

// known makes the client known, as jobs are done for known clients only.
func (c client) known() client {
	c.t.Helper()
	if err := c.db.PutClient(context.Background(), &metadata.Client{Name: c.caller.Client}); err != nil {
		c.t.Fatal(err)
	}
	return c
}

var nextID atomic.Uint64

// post adds a job as the message layer does.
func (c client) post(op kmip.Operation, target string, lazy bool, req appender) []byte {
	c.t.Helper()
	id := fmt.Appendf(nil, "correlation-%04d", nextID.Add(1))
	job := &kmip.Job{ID: id, Caller: c.caller, Version: c.ver, Operation: op, Target: target, Lazy: lazy,
		Payload: req.Append(nil, kmip.TagRequestPayload, c.ver)}
	c.ok(c.s.AddJob(context.Background(), job))
	return id
}

func (c client) postPair() []byte {
	c.t.Helper()
	return c.post(kmip.OperationCreateKeyPair, "", false, pairRequest())
}

func pairRequest() *kmip.CreateKeyPairRequest {
	return &kmip.CreateKeyPairRequest{CommonTemplateAttribute: &kmip.TemplateAttribute{Attribute: []kmip.Attribute{
		attr("Cryptographic Algorithm", enumValue(uint32(kmip.CryptographicAlgorithmEC))), attr("Cryptographic Length", intValue(int32(256)))}}}
}

func attr(name string, v ttlv.Item) kmip.Attribute {
	return kmip.Attribute{AttributeName: name, AttributeValue: v}
}

// run does a job as a worker does: the operation, Commit, FinishJob. stop ends it before a step, as a crash would.
func (b *bench) run(job *kmip.Job, stop string) error {
	b.t.Helper()
	ctx := context.Background()
	tx := b.s.BeginJob(job)
	call := &kmip.Call{Version: job.Version, Caller: job.Caller, Now: b.clock().UTC(), Target: job.Target, Tx: tx}
	payload, err := ttlv.Parse(job.Payload, ttlv.DefaultLimits)
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := b.operate(ctx, call, job.Operation, payload)
	if err == nil && stop == "commit" {
		return nil
	}
	if err == nil {
		b.storedAnswer(job, resp)
		err = tx.Commit(ctx)
	}
	if undo := tx.Rollback(ctx, 0); undo != nil {
		b.t.Fatal(undo)
	}
	if stop == "finish" {
		return err
	}
	if err != nil {
		failure := kmip.Errorf(kmip.ReasonOf(err), "failed")
		return errors.Join(err, b.s.FinishJob(ctx, job, nil, failure))
	}
	return b.s.FinishJob(ctx, job, resp.Append(nil, kmip.TagResponsePayload, job.Version), nil)
}

// storedAnswer: the answer that a change stores with itself is the one that the operation gives.
func (b *bench) storedAnswer(job *kmip.Job, resp appender) {
	b.t.Helper()
	rec, err := b.db.Job(context.Background(), hex.EncodeToString(job.ID))
	if err != nil {
		b.t.Fatal(err)
	}
	if want := resp.Append(nil, kmip.TagResponsePayload, job.Version); job.Operation != kmip.OperationLocate && !bytes.Equal(rec.Response, want) {
		b.t.Errorf("%s stores the answer %x, gives %x", job.Operation, rec.Response, want)
	}
}

func (b *bench) operate(ctx context.Context, call *kmip.Call, op kmip.Operation, payload ttlv.Item) (appender, error) {
	switch op {
	case kmip.OperationCreate:
		return operation(ctx, call, payload, b.s.Create)
	case kmip.OperationCreateKeyPair:
		return operation(ctx, call, payload, b.s.CreateKeyPair)
	case kmip.OperationReKey:
		return operation(ctx, call, payload, b.s.ReKey)
	case kmip.OperationReKeyKeyPair:
		return operation(ctx, call, payload, b.s.ReKeyKeyPair)
	case kmip.OperationCertify:
		return operation(ctx, call, payload, b.s.Certify)
	case kmip.OperationReCertify:
		return operation(ctx, call, payload, b.s.ReCertify)
	case kmip.OperationActivate:
		return operation(ctx, call, payload, b.s.Activate)
	case kmip.OperationRevoke:
		return operation(ctx, call, payload, b.s.Revoke)
	case kmip.OperationDestroy:
		return operation(ctx, call, payload, b.s.Destroy)
	case kmip.OperationArchive:
		return operation(ctx, call, payload, b.s.Archive)
	case kmip.OperationRecover:
		return operation(ctx, call, payload, b.s.Recover)
	}
	return operation(ctx, call, payload, b.s.Locate)
}

func operation[Q, R any, PQ interface {
	*Q
	Decode(ttlv.Item) error
}, PR interface {
	*R
	appender
}](ctx context.Context, call *kmip.Call, payload ttlv.Item, do func(context.Context, *kmip.Call, *Q) (*R, error)) (appender, error) {
	req := new(Q)
	if err := PQ(req).Decode(payload); err != nil {
		return nil, err
	}
	resp, err := do(ctx, call, req)
	if err != nil {
		return nil, err
	}
	return PR(resp), nil
}

// next takes the next job, which must be there.
func (b *bench) next() *kmip.Job {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	job, err := b.s.NextJob(ctx)
	if err != nil {
		b.t.Fatalf("NextJob: %v", err)
	}
	return job
}

// idle fails when there is a job to do.
func (b *bench) idle() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if job, err := b.s.NextJob(ctx); err == nil {
		b.t.Errorf("there is a job to do: %s", job.Operation)
	}
}

func (c client) poll(id []byte, want kmip.JobState) *kmip.Job {
	c.t.Helper()
	job, err := c.s.PollJob(context.Background(), c.caller, id)
	if err != nil {
		c.t.Fatalf("Poll: %v", err)
	}
	if job.State != want {
		c.t.Errorf("Poll: got state %d, want %d", job.State, want)
	}
	return job
}

func (c client) cancel(id []byte, want kmip.CancellationResult) {
	c.t.Helper()
	if got, err := c.s.CancelJob(context.Background(), c.caller, id); err != nil || got != want {
		c.t.Errorf("Cancel: got %s, %v, want %s", got, err, want)
	}
}

func TestJobLife(t *testing.T) {
	b := newBench(t)
	c := b.client("a").known()
	id := c.postPair()
	c.poll(id, kmip.JobPending)
	job := b.next()
	c.cancel(id, kmip.CancellationResultUnableToCancel)
	c.poll(id, kmip.JobPending)
	c.ok(b.run(job, ""))
	first := c.poll(id, kmip.JobDone).Response
	if again := c.poll(id, kmip.JobDone).Response; string(again) != string(first) || len(first) == 0 {
		t.Errorf("polled again: %x, first %x", again, first)
	}
	c.cancel(id, kmip.CancellationResultCompleted)

	id = c.postPair()
	c.cancel(id, kmip.CancellationResultCanceled)
	c.cancel(id, kmip.CancellationResultCanceled)
	c.poll(id, kmip.JobCanceled)
	b.idle()

	id = c.post(kmip.OperationDestroy, "no-such-object", false, &kmip.DestroyRequest{})
	wantReason(t, "the job", b.run(b.next(), ""), kmip.ResultReasonItemNotFound)
	if f := c.poll(id, kmip.JobFailed).Failure; f == nil || f.Reason != kmip.ResultReasonItemNotFound {
		t.Errorf("got %v", f)
	}
	c.cancel(id, kmip.CancellationResultFailed)

	c.cancel([]byte("unknown"), kmip.CancellationResultUnavailable)
	for _, other := range []client{b.client("b"), c.as("user")} {
		_, err := c.s.PollJob(context.Background(), other.caller, id)
		wantReason(t, "Poll of a foreign job", err, kmip.ResultReasonItemNotFound)
		other.cancel(id, kmip.CancellationResultUnavailable)
	}
	b.wantClean()
}

// The answer that the change stores with itself is the one that the operation gives.
func TestJobAnswers(t *testing.T) {
	b := newBench(t)
	c := b.client("a").known()
	key := c.aes()
	pairReply, err := do(c, kmip.OperationCreateKeyPair, "", c.s.CreateKeyPair, pairRequest())
	c.ok(err)
	for _, tc := range []struct {
		op     kmip.Operation
		target string
		req    appender
	}{
		{kmip.OperationCreate, "", &kmip.CreateRequest{ObjectType: kmip.ObjectTypeSymmetricKey, TemplateAttribute: kmip.TemplateAttribute{Attribute: aesAttributes(128)}}},
		{kmip.OperationCreateKeyPair, "", pairRequest()},
		{kmip.OperationReKeyKeyPair, pairReply.PrivateKeyUniqueIdentifier, &kmip.ReKeyKeyPairRequest{}},
		{kmip.OperationReKey, key, &kmip.ReKeyRequest{}},
		{kmip.OperationActivate, key, &kmip.ActivateRequest{}},
		{kmip.OperationRevoke, key, &kmip.RevokeRequest{RevocationReason: kmip.RevocationReason{RevocationReasonCode: kmip.RevocationReasonCodeSuperseded}}},
		{kmip.OperationArchive, key, &kmip.ArchiveRequest{}},
		{kmip.OperationRecover, key, &kmip.RecoverRequest{}},
		{kmip.OperationDestroy, key, &kmip.DestroyRequest{}},
	} {
		id := c.post(tc.op, tc.target, false, tc.req)
		job := b.next()
		c.ok(b.run(job, "finish"))
		rec, err := b.db.Job(context.Background(), hex.EncodeToString(id))
		c.ok(err)
		if rec.State != metadata.JobDone || len(rec.Payload) != 0 {
			t.Errorf("%s: the change left the job %s, with %d octets of request", tc.op, rec.State, len(rec.Payload))
		}
		early := rec.Response
		b.restart()
		if late := c.poll(id, kmip.JobDone).Response; string(late) != string(early) {
			t.Errorf("%s: got %x, then %x", tc.op, early, late)
		}
		root, err := ttlv.Parse(early, ttlv.DefaultLimits)
		if err != nil || root.Tag != kmip.TagResponsePayload {
			t.Errorf("%s: the stored answer does not parse: %v", tc.op, err)
		}
		b.idle()
	}
	for _, op := range kmipserver.Approvable() {
		if jobAnswer(op, []object{{&metadata.Record{}}, {&metadata.Record{}}}) == nil {
			t.Errorf("%s can wait for approval and has no stored answer: a crash could do it twice", op)
		}
	}
	b.wantClean()
}

// crash ends the process at once and starts another one on what was synced.
func (b *bench) crash() {
	b.t.Helper()
	b.fs = b.fs.CrashClone(vfs.CrashCloneCfg{})
	b.db, b.fake = openRecords(b.t, b.fs), b.fake.Reopen()
	b.start(b.db, b.fake)
}

// A crash leaves a job done, or as if it had not begun, and it is never done twice.
func TestJobCrash(t *testing.T) {
	for _, stop := range []string{"before", "commit", "finish", "done"} {
		t.Run(stop, func(t *testing.T) {
			b := newBench(t)
			c := b.client("a").known()
			id := c.postPair()
			lazy := c.post(kmip.OperationLocate, "", true, &kmip.LocateRequest{})
			job := b.next()
			if stop != "before" {
				c.ok(b.run(job, stop))
			}
			b.crash()
			if stop == "before" {
				c.poll(id, kmip.JobPending)
				c.ok(b.run(b.next(), ""))
			}
			c.poll(id, kmip.JobDone)
			b.idle()
			if got := len(c.find()); got != 2 {
				t.Errorf("there are %d objects, want a key pair", got)
			}
			job = c.poll(lazy, kmip.JobYours)
			c.poll(lazy, kmip.JobPending)
			c.ok(b.run(job, ""))
			c.poll(lazy, kmip.JobDone)
			b.wantClean()
		})
	}
}

func TestApproval(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Approve = []kmip.Operation{kmip.OperationDestroy} })
	c := b.client("a").known()
	key := c.aes()
	destroy := func() []byte { return c.post(kmip.OperationDestroy, key, false, &kmip.DestroyRequest{}) }
	denied, approved, canceled := destroy(), destroy(), destroy()
	if !b.s.Holds(kmip.OperationDestroy) || b.s.Holds(kmip.OperationCreate) {
		t.Error("Holds")
	}
	b.idle()
	b.crash()
	list, err := b.s.Jobs(context.Background())
	if err != nil || len(list) != 3 || !list[0].Waiting || list[0].Target != key || list[0].Operation != "Destroy" {
		t.Fatalf("Jobs: %+v, %v", list, err)
	}
	ctx := context.Background()
	c.cancel(canceled, kmip.CancellationResultCanceled)
	c.ok(b.s.DenyJob(ctx, hex.EncodeToString(denied)))
	b.idle()
	if f := c.poll(denied, kmip.JobFailed).Failure; f.Reason != kmip.ResultReasonPermissionDenied {
		t.Errorf("a denied job: %v", f)
	}
	c.ok(b.s.ApproveJob(ctx, hex.EncodeToString(approved)))
	for name, id := range map[string]string{"decided": hex.EncodeToString(approved), "canceled": hex.EncodeToString(canceled), "unknown": "ff", "empty": "", "all": hex.EncodeToString(approved)[:4]} {
		if b.s.ApproveJob(ctx, id) == nil {
			t.Errorf("the %s job was approved", name)
		}
		if b.s.DenyJob(ctx, id) == nil {
			t.Errorf("the %s job was denied", name)
		}
	}
	b.crash() // the decision is durable
	c.ok(b.run(b.next(), ""))
	c.poll(approved, kmip.JobDone)
	if got := c.state(key); got != kmip.StateDestroyed {
		t.Errorf("the key is %s", got)
	}
	// A client that is gone gets nothing done.
	key = c.aes()
	id := destroy()
	c.ok(b.db.DeleteClient(ctx, "a"))
	c.ok(b.s.ApproveJob(ctx, hex.EncodeToString(id)))
	b.idle()
	if f := c.poll(id, kmip.JobFailed).Failure; f.Reason != kmip.ResultReasonPermissionDenied {
		t.Errorf("the job of a removed client: %v", f)
	}
}

func TestJobsExpire(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Approve = []kmip.Operation{kmip.OperationDestroy}; c.JobLifetime = time.Hour })
	c := b.client("a").known()
	done, queued := c.postPair(), c.postPair()
	waiting := c.post(kmip.OperationDestroy, "x", false, &kmip.DestroyRequest{})
	lazy := c.post(kmip.OperationLocate, "", true, &kmip.LocateRequest{})
	busy := c.post(kmip.OperationLocate, "", true, &kmip.LocateRequest{})
	c.ok(b.run(b.next(), ""))
	job := c.poll(busy, kmip.JobYours)
	b.advance(59 * time.Minute)
	b.s.sweepJobs(context.Background())
	c.poll(done, kmip.JobDone)
	b.advance(2 * time.Minute)
	b.s.sweepJobs(context.Background())
	for _, id := range [][]byte{done, waiting, lazy} {
		_, err := c.s.PollJob(context.Background(), c.caller, id)
		wantReason(t, "Poll of an expired job", err, kmip.ResultReasonItemNotFound)
		c.cancel(id, kmip.CancellationResultUnavailable)
	}
	c.poll(queued, kmip.JobPending)
	c.ok(b.run(job, ""))
	c.ok(b.run(b.next(), ""))
	c.poll(queued, kmip.JobDone)
	list, err := b.s.Jobs(context.Background())
	if err != nil || len(list) != 2 {
		t.Errorf("%d jobs are left, %v", len(list), err)
	}
}

func TestJobBounds(t *testing.T) {
	b := newBench(t)
	c := b.client("a").known()
	var ids [][]byte
	for range maxClientJobs {
		ids = append(ids, c.post(kmip.OperationLocate, "", true, &kmip.LocateRequest{}))
	}
	if b.s.JobRoom(c.caller) || !b.s.JobRoom(kmip.Caller{Client: "b"}) {
		t.Error("JobRoom")
	}
	err := b.s.AddJob(context.Background(), &kmip.Job{ID: []byte("more"), Caller: c.caller, Operation: kmip.OperationLocate, Lazy: true})
	wantReason(t, "one too many", err, kmip.ResultReasonGeneralFailure)
	c.cancel(ids[0], kmip.CancellationResultCanceled)
	if !b.s.JobRoom(c.caller) {
		t.Error("a canceled job takes room")
	}
	// A large answer is given once.
	job := c.poll(ids[1], kmip.JobYours)
	c.ok(b.s.FinishJob(context.Background(), job, make([]byte, maxKeptAnswer+1), nil))
	_, err = c.s.PollJob(context.Background(), c.caller, ids[1])
	wantReason(t, "Poll", err, kmip.ResultReasonItemNotFound)
}

// Workers, pollers, cancelers and administrators at the same time: each job ends once, and what was approved and not
// canceled is done once.
func TestJobRaces(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Approve = []kmip.Operation{kmip.OperationCreate} })
	c := b.client("a").known()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for {
				job, err := b.s.NextJob(ctx)
				if err != nil {
					return
				}
				if err := b.run(job, ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	const n = 40
	create := &kmip.CreateRequest{ObjectType: kmip.ObjectTypeSymmetricKey, TemplateAttribute: kmip.TemplateAttribute{Attribute: aesAttributes(128)}}
	var wg sync.WaitGroup
	var gone, decided atomic.Int64
	for range n {
		id := c.post(kmip.OperationCreate, "", false, create)
		key := hex.EncodeToString(id)
		wg.Go(func() {
			if b.s.ApproveJob(ctx, key) == nil {
				decided.Add(1)
			}
		})
		wg.Go(func() {
			if b.s.DenyJob(ctx, key) == nil {
				decided.Add(1)
				gone.Add(1)
			}
		})
		wg.Go(func() {
			if got, err := b.s.CancelJob(ctx, c.caller, id); err == nil && got == kmip.CancellationResultCanceled {
				gone.Add(1)
			}
		})
		wg.Go(func() {
			for range 100 {
				job, err := b.s.PollJob(ctx, c.caller, id)
				if err != nil {
					t.Error(err)
					return
				}
				if job.State != kmip.JobPending {
					return
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	wg.Wait()
	deadline := time.Now().Add(20 * time.Second)
	for {
		left := 0
		list, err := b.s.Jobs(ctx)
		c.ok(err)
		for _, j := range list {
			if j.State == metadata.JobQueued.String() {
				left++
			}
		}
		if left == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d jobs are not done", left)
		}
		time.Sleep(5 * time.Millisecond)
	}
	stop()
	workers.Wait()
	undecided := 0
	list, err := b.s.Jobs(context.Background())
	c.ok(err)
	for _, j := range list {
		if j.Waiting {
			undecided++ // approval and cancellation met each other and both gave up
		}
	}
	if got, want := len(c.find()), n-int(gone.Load())-undecided; got != want {
		t.Errorf("%d keys, want %d: %d decided, %d canceled or denied, %d undecided", got, want, decided.Load(), gone.Load(), undecided)
	}
	b.wantClean()
}
