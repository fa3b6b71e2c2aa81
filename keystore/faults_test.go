package keystore

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"kmipd/hsm"
	"kmipd/hsm/hsmtest"
	"kmipd/kmip"
	"kmipd/metadata"
)

// mode is what happens at the step that a fault strikes.
type mode int

const (
	noFault     mode = iota
	failBefore       // an error, and nothing happened
	failAfter        // an error, although it happened (token only: a Commit does not do that and go on)
	tokenGone        // an error, nothing happened, and the token does not answer until the restart
	storeLost        // the record store fails for good; the batch is not on disk
	storeKept        // the record store fails for good; the batch is on disk all the same
	crashBefore      // the process dies before the step
	crashAfter       // the process dies after the step
)

var modeNames = map[mode]string{failBefore: "error before", failAfter: "error after", tokenGone: "token gone",
	storeLost: "store failed, lost", storeKept: "store failed, kept", crashBefore: "crash before", crashAfter: "crash after"}

// fatal tells the modes after which the process ends.
func (m mode) fatal() bool { return m >= storeLost }

// plan counts the steps (record commits, token calls) of an operation and makes one of them fail.
type plan struct {
	fs   *vfs.MemFS
	fake *hsmtest.Fake

	mu      sync.Mutex
	armed   bool
	steps   []string // seen while armed
	at      int
	mode    mode
	struck  string     // the step that failed
	dead    bool       // the process has crashed
	failed  bool       // the record store has failed
	gone    bool       // the token does not answer
	after   *vfs.MemFS // the disk, as the crash left it
	percent int        // share of unsynced data that a crash leaves
}

func (p *plan) clone() *vfs.MemFS {
	return p.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: p.percent, RNG: rand.New(rand.NewPCG(1, 2))})
}

func (p *plan) crash() {
	p.dead, p.after = true, p.clone()
	p.fake.Reopen() // cuts the old one off
}

func (p *plan) do(step string, commit bool, run func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.dead, commit && p.failed:
		return metadata.ErrFailed
	case !commit && p.gone:
		return &hsm.Error{Kind: hsm.KindUnavailable, Call: step, Text: "gone"}
	case !p.armed:
		return run()
	}
	p.steps = append(p.steps, step)
	if p.mode == noFault || p.struck != "" || len(p.steps)-1 != p.at {
		return run()
	}
	p.struck = step
	injected := error(&hsm.Error{Kind: hsm.KindInternal, Call: step, Code: 5})
	if commit {
		injected = context.DeadlineExceeded // the one error after which a record store goes on
	}
	switch p.mode {
	case failAfter, storeKept, crashAfter:
		if err := run(); err != nil {
			return err
		}
	}
	switch p.mode {
	case tokenGone:
		p.gone = true
		return &hsm.Error{Kind: hsm.KindUnavailable, Call: step, Text: "gone"}
	case storeLost, storeKept:
		p.failed = true
		return metadata.ErrFailed
	case crashBefore, crashAfter:
		p.crash()
		return metadata.ErrFailed
	}
	return injected
}

// planRecords is the record store under a plan.
type planRecords struct {
	metadata.Store
	p *plan
}

func (r planRecords) Commit(ctx context.Context, b *metadata.Batch) error {
	return r.p.do("commit "+batchName(b), true, func() error { return r.Store.Commit(ctx, b) })
}

func (r planRecords) read() error {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	if r.p.dead || r.p.failed {
		return metadata.ErrFailed
	}
	return nil
}

func (r planRecords) Get(ctx context.Context, uid string) (*metadata.Record, error) {
	if err := r.read(); err != nil {
		return nil, err
	}
	return r.Store.Get(ctx, uid)
}

func (r planRecords) ByName(ctx context.Context, owner, name string) (string, error) {
	if err := r.read(); err != nil {
		return "", err
	}
	return r.Store.ByName(ctx, owner, name)
}

func batchName(b *metadata.Batch) string {
	switch {
	case len(b.AddIntents) > 0 && len(b.Deletes) > 0:
		return "undo"
	case len(b.AddIntents) > 0:
		return "intent"
	case len(b.Puts) > 0 && b.Puts[0].Record.Phase == metadata.PhaseDestroying:
		return "destroying"
	case len(b.Puts) > 0 && b.Puts[0].Record.Phase == metadata.PhaseDestroyed:
		return "destroyed"
	case len(b.Puts) > 0:
		return "record"
	case len(b.Deletes) > 0:
		return "delete"
	}
	return "drop intent"
}

// planToken is the token under a plan.
type planToken struct {
	*hsmtest.Fake
	p *plan
}

func (f planToken) GenerateKey(ctx context.Context, spec hsm.KeySpec) error {
	return f.p.do("GenerateKey", false, func() error { return f.Fake.GenerateKey(ctx, spec) })
}

func (f planToken) GenerateKeyPair(ctx context.Context, spec hsm.PairSpec) (spki []byte, err error) {
	err = f.p.do("GenerateKeyPair", false, func() error {
		spki, err = f.Fake.GenerateKeyPair(ctx, spec)
		return err
	})
	return spki, err
}

func (f planToken) Import(ctx context.Context, class hsm.Class, spec hsm.KeySpec, value hsm.Material) error {
	return f.p.do("Import", false, func() error { return f.Fake.Import(ctx, class, spec, value) })
}

func (f planToken) ImportPublicKey(ctx context.Context, spec hsm.KeySpec, spki []byte) error {
	return f.p.do("ImportPublicKey", false, func() error { return f.Fake.ImportPublicKey(ctx, spec, spki) })
}

func (f planToken) StoreCertificate(ctx context.Context, id hsm.TokenID, label string, der []byte) error {
	return f.p.do("StoreCertificate", false, func() error { return f.Fake.StoreCertificate(ctx, id, label, der) })
}

func (f planToken) StoreData(ctx context.Context, id hsm.TokenID, label string, value hsm.Material) error {
	return f.p.do("StoreData", false, func() error { return f.Fake.StoreData(ctx, id, label, value) })
}

func (f planToken) Export(ctx context.Context, ref hsm.Ref, bits int) (out hsm.Material, err error) {
	err = f.p.do("Export", false, func() error {
		out, err = f.Fake.Export(ctx, ref, bits)
		return err
	})
	return out, err
}

func (f planToken) Digest(ctx context.Context, ref hsm.Ref, bits int) (sum []byte, err error) {
	err = f.p.do("Digest", false, func() error {
		sum, err = f.Fake.Digest(ctx, ref, bits)
		return err
	})
	return sum, err
}

func (f planToken) Destroy(ctx context.Context, ref hsm.Ref) error {
	return f.p.do("Destroy", false, func() error { return f.Fake.Destroy(ctx, ref) })
}

func (f planToken) Unwrap(ctx context.Context, unwrapping hsm.Ref, how hsm.WrapSpec, wrapped []byte, class hsm.Class, spec hsm.KeySpec) (out hsm.SecretOutcome, err error) {
	err = f.p.do("Unwrap", false, func() error {
		out, err = f.Fake.Unwrap(ctx, unwrapping, how, wrapped, class, spec)
		return err
	})
	return out, err
}

func (f planToken) UnwrapBytes(ctx context.Context, unwrapping hsm.Ref, how hsm.WrapSpec, wrapped []byte) (out hsm.Material, err error) {
	err = f.p.do("UnwrapBytes", false, func() error {
		out, err = f.Fake.UnwrapBytes(ctx, unwrapping, how, wrapped)
		return err
	})
	return out, err
}

// scene is one operation of the failure matrix. request runs it in a transaction and leaves Commit and Rollback to the
// matrix. done tells whether its effect is there, whole, and fails the test when half of it is.
type scene struct {
	name    string
	setup   func(c client) string // identifier of the object that the request is about
	request func(ctx context.Context, c client, tx kmip.Tx, uid string) error
	done    func(c client, uid string) bool
	// makes tells that the operation makes objects: a fault of the token is then a Cryptographic Failure.
	makes bool
}

// outcome is what a request with a fault in it led to.
type outcome struct {
	reply error
	steps []string
	plan  *plan
}

// play runs the scene's request with a fault, rolled back or committed, as the message layer does.
func (sc scene) play(b *bench, p *plan, uid string, rollback bool) outcome {
	ctx := context.Background()
	c := b.client("alice")
	tx := b.s.Begin(false)
	p.mu.Lock()
	p.armed = !rollback
	p.mu.Unlock()
	err := sc.request(ctx, c, tx, uid)
	if rollback {
		if err != nil {
			b.t.Fatalf("the request before the rollback: %v", err)
		}
		p.mu.Lock()
		p.armed = true
		p.mu.Unlock()
		err = tx.Rollback(ctx, 0)
	} else if err == nil {
		err = tx.Commit(ctx)
	}
	if err != nil {
		err = errors.Join(err, tx.Rollback(ctx, 0))
	}
	_ = tx.Rollback(ctx, 0)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = false
	return outcome{reply: err, steps: p.steps, plan: p}
}
