package keystore

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"

	"kmipd/hsm/hsmtest"
	"kmipd/keystore/audit"
	"kmipd/kmip"
	"kmipd/metadata"
)

// Every batch goes through the joint that gives it its record, and whoever writes past it gives one.
func TestOneWayToTheRecords(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	writers := map[string]int{"Commit": 1, "PutClient": 3, "DeleteClient": 3, "DeletePending": 3, "SetSetting": 5}
	seen := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			fun, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if on, ok := fun.X.(*ast.SelectorExpr); !ok || on.Sel.Name != "meta" || writers[fun.Sel.Name] == 0 {
				return true
			}
			seen++
			switch at := set.Position(call.Pos()); {
			case fun.Sel.Name == "Commit" && (file == "audited.go" || file == "trail.go" || file == "trailkeeper.go"):
			case fun.Sel.Name == "Commit":
				t.Errorf("%s: a batch that does not go through commit or bookkeep", at)
			case file == "clock.go": // the time of the day, once a minute: nobody's decision
			case len(call.Args) < writers[fun.Sel.Name]:
				t.Errorf("%s: %s without an audit record", at, fun.Sel.Name)
			}
			return true
		})
	}
	if seen < 10 {
		t.Errorf("the test sees %d writes: it does not see them all", seen)
	}
}

// audited is a bench with the files of a trail.
func audited(t *testing.T, settings ...func(*Config)) *bench {
	dir := filepath.Join(t.TempDir(), "audit")
	return newBench(t, append([]func(*Config){func(c *Config) { c.Audit.Dir = dir }}, settings...)...)
}

// events are those of all records that are in the files and in the store.
func (b *bench) events() []audit.Event {
	b.t.Helper()
	var out []audit.Event
	add := func(e *metadata.AuditEntry) error {
		var ev audit.Event
		if err := json.Unmarshal(e.Payload, &ev); err != nil {
			return err
		}
		if !audit.Intact(e) {
			return fmt.Errorf("record %d has another hash", e.Seq)
		}
		out = append(out, ev)
		return nil
	}
	last := uint64(0)
	if b.cfg.Audit.Dir != "" {
		files, err := audit.List(b.cfg.Audit.Dir)
		if err != nil {
			b.t.Fatal(err)
		}
		if err := audit.Walk(files, 0, func(e *metadata.AuditEntry) error { last = e.Seq; return add(e) }); err != nil {
			b.t.Fatal(err)
		}
	}
	entries, err := b.db.AuditEntries(context.Background(), last, 1<<30)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := range entries {
		if err := add(&entries[i]); err != nil {
			b.t.Fatal(err)
		}
	}
	return out
}

// verify verifies the files with the public key.
func (b *bench) verify(set ...func(*audit.Check)) *audit.Report {
	b.t.Helper()
	pem, err := os.ReadFile(filepath.Join(b.cfg.Audit.Dir, audit.KeyFile))
	if err != nil {
		b.t.Fatal(err)
	}
	key, err := audit.ParseKey(pem)
	if err != nil {
		b.t.Fatal(err)
	}
	files, err := audit.List(b.cfg.Audit.Dir)
	if err != nil {
		b.t.Fatal(err)
	}
	c := audit.Check{Files: files, Key: key, Now: b.clock().Add(24 * time.Hour)}
	for _, s := range set {
		s(&c)
	}
	r, err := audit.Verify(c)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// audits runs an item as the message layer does, recording included.
func audits[Q, R any](c client, op kmip.Operation, target string, run func(context.Context, *kmip.Call, Q) (R, error), req Q) (R, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	tx := c.s.Begin(false)
	defer func() { _ = tx.Rollback(ctx, 0) }()
	call := c.call(tx, target)
	call.Address, call.Request = "192.0.2.7:5000", "req-1"
	var resp R
	err := c.s.Authorize(ctx, call, op)
	if err == nil {
		resp, err = run(ctx, call, req)
	}
	if err == nil {
		err = tx.Commit(ctx)
	}
	if err != nil {
		err = errors.Join(err, tx.Rollback(ctx, 0))
	}
	if unrecorded := c.s.AuditItem(ctx, &kmip.AuditItem{Call: call, Operation: op, Target: target, Err: err}); unrecorded != nil && err == nil {
		err = unrecorded
	}
	return resp, err
}

func (b *bench) find(match func(audit.Event) bool) []audit.Event {
	b.t.Helper()
	var out []audit.Event
	for _, e := range b.events() {
		if match(e) {
			out = append(out, e)
		}
	}
	return out
}

func about(operation, outcome string) func(audit.Event) bool {
	return func(e audit.Event) bool { return e.Operation == operation && e.Outcome == outcome }
}

// A life of a key, and of what is refused, in the trail; then the stop, and the verification with the public key alone.
func TestTrailTellsWhatHappened(t *testing.T) {
	b := audited(t, func(c *Config) { c.Audit.Releases = ReleasesDurable })
	c := b.client("alice")
	c.ok(b.s.AddClient(context.Background(), &metadata.Client{Name: "alice", Certificates: []metadata.CertificateMatch{{Fingerprint: "aa"}}}))
	made, err := audits(c, kmip.OperationCreate, "", c.s.Create, &kmip.CreateRequest{ObjectType: kmip.ObjectTypeSymmetricKey,
		TemplateAttribute: kmip.TemplateAttribute{Attribute: aesAttributes(256)}})
	c.ok(err)
	uid := made.UniqueIdentifier
	got, err := audits(c, kmip.OperationGet, uid, c.s.Get, &kmip.GetRequest{})
	c.ok(err)
	// A release in clear is on disk when the answer may leave.
	released := b.find(about("Get", audit.Success))
	if len(released) != 1 || released[0].Release != audit.ReleasePlain || released[0].Client != "alice" || released[0].Address != "192.0.2.7:5000" ||
		len(released[0].Objects) == 0 || released[0].Objects[0].UID != uid {
		t.Errorf("the release of a key: %+v", released)
	}
	_, err = audits(b.client("bob"), kmip.OperationGet, uid, c.s.Get, &kmip.GetRequest{})
	wantReason(t, "another client's Get", err, kmip.ResultReasonItemNotFound)
	_, err = audits(c, kmip.OperationGetAttributes, uid, c.s.GetAttributes, &kmip.GetAttributesRequest{})
	c.ok(err)
	_, err = audits(c, kmip.OperationDestroy, uid, c.s.Destroy, &kmip.DestroyRequest{})
	c.ok(err)
	_, err = audits(c, kmip.OperationDestroy, uid, c.s.Destroy, &kmip.DestroyRequest{})
	wantReason(t, "a second Destroy", err, kmip.ResultReasonPermissionDenied)
	b.s.Close()

	for _, want := range []struct {
		name  string
		match func(audit.Event) bool
	}{
		{"start", about("start", audit.Success)},
		{"stop", about("stop", audit.Success)},
		{"the client", about("client add", audit.Success)},
		{"Create", func(e audit.Event) bool {
			return about("Create", audit.Success)(e) && e.Objects[0] == audit.Object{UID: uid, Type: "Symmetric Key", Effect: "created"} && e.Request == "req-1"
		}},
		{"the refusal", func(e audit.Event) bool {
			return about("Get", audit.Failure)(e) && e.Client == "bob" && e.Reason != "" && e.Objects[0].UID == uid
		}},
		{"the read", about("Get Attributes", audit.Success)},
		{"the beginning of Destroy", func(e audit.Event) bool {
			return e.Operation == "Destroy" && e.Kind == audit.KindOperation && e.Outcome == audit.Success && e.Objects[0].Effect == "destroying"
		}},
		{"the end of Destroy", func(e audit.Event) bool {
			return e.Operation == "Destroy" && e.Kind == audit.KindChange && e.Objects[0].Effect == "destroyed"
		}},
		{"the refused Destroy", about("Destroy", audit.Failure)},
	} {
		if n := len(b.find(want.match)); n != 1 {
			t.Errorf("%s is in the trail %d times, want once", want.name, n)
		}
	}
	if r := b.verify(); len(r.Problems) > 0 || !r.Closed || r.Checkpoints == 0 {
		t.Errorf("the trail: %+v", r)
	}
	secret := got.SymmetricKey.KeyBlock.KeyValue.Find(kmip.TagKeyMaterial).Value
	if len(secret) != 32 {
		t.Fatalf("Get gave %d octets", len(secret))
	}
	for _, e := range b.events() {
		text := fmt.Sprintf("%+v", e)
		if strings.Contains(text, string(secret)) || strings.Contains(text, hex.EncodeToString(secret)) {
			t.Errorf("a record with key bytes: %s", text)
		}
	}
	// Started again, the trail goes on.
	b.s = nil
	db := b.db
	c.ok(db.Close())
	b.db, b.fake = openRecords(t, b.fs), b.fake.Reopen()
	b.start(b.db, b.fake)
	b.s.Close()
	if r := b.verify(); len(r.Problems) > 0 || !r.Closed || r.First != 1 {
		t.Errorf("the trail after a second run: %+v", r)
	}
}

// What is taken back has a record of that, too.
func TestTrailTellsOfUndo(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	ctx := context.Background()
	tx := b.s.Begin(true)
	_, err := item(ctx, c, tx, kmip.OperationCreate, "", c.s.Create, &kmip.CreateRequest{ObjectType: kmip.ObjectTypeSymmetricKey,
		TemplateAttribute: kmip.TemplateAttribute{Attribute: aesAttributes(128)}})
	c.ok(err)
	c.ok(tx.Rollback(ctx, 0))
	undone := b.find(func(e audit.Event) bool { return e.Kind == audit.KindUndone })
	if len(undone) != 1 || undone[0].Operation != "Create" || undone[0].Objects[0].Effect != "removed" {
		t.Errorf("got %+v", undone)
	}
}

// A crash at every step of a Create and a Destroy: what is acknowledged has its record, and a record has its change.
func TestTrailOverCrashes(t *testing.T) {
	for _, method := range []string{"GenerateKey", "Digest", "Destroy"} {
		for _, effect := range []hsmtest.Effect{hsmtest.CrashBefore, hsmtest.CrashAfter} {
			b := audited(t)
			c := b.client("alice")
			kept, err := c.create(kmip.ObjectTypeSymmetricKey, aesAttributes(128)...)
			c.ok(err)
			b.fake.Inject(hsmtest.Fault{Method: method, Effect: effect})
			uid, err := c.create(kmip.ObjectTypeSymmetricKey, aesAttributes(128)...)
			created := err == nil
			if created {
				_, err = do(c, kmip.OperationDestroy, uid, c.s.Destroy, &kmip.DestroyRequest{})
			}
			destroyed := err == nil
			b.restart()
			var records, creates, destroys int
			for _, e := range b.events() {
				for _, o := range e.Objects {
					switch {
					case o.Effect == "created" && e.Client == "alice":
						creates++
					case o.Effect == "destroyed":
						destroys++
					}
				}
			}
			err = b.db.Records(context.Background(), func(r *metadata.Record) error {
				if r.Owner == "alice" {
					records++
				}
				return nil
			})
			c.ok(err)
			if creates != records {
				t.Errorf("%s %v: %d records of creations and %d objects", method, effect, creates, records)
			}
			if destroyed && destroys == 0 {
				t.Errorf("%s %v: a Destroy without its record", method, effect)
			}
			if _, err := b.client("alice").get(kept, kmip.GetRequest{}); err != nil {
				t.Error(err)
			}
			b.s.Close()
			if r := b.verify(); len(r.Problems) > 0 {
				t.Errorf("%s %v: %v", method, effect, r.Problems)
			}
		}
	}
}

// fullDisk opens files that take nothing, or half of it, while full is set.
type fullDisk struct{ full atomic.Bool }

type fullFile struct {
	audit.File
	d *fullDisk
}

func (d *fullDisk) open(name string, flag int, perm fs.FileMode) (audit.File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return fullFile{f, d}, nil
}

func (f fullFile) WriteAt(b []byte, at int64) (int, error) {
	if f.d.full.Load() {
		n, _ := f.File.WriteAt(b[:len(b)/2], at)
		return n, syscall.ENOSPC
	}
	return f.File.WriteAt(b, at)
}

// A full disk stops changes, and then everything, but loses no record; with room again all goes on.
func TestFullDiskStopsChanges(t *testing.T) {
	disk := &fullDisk{}
	b := audited(t, func(c *Config) { c.Audit.Backlog, c.Audit.Open, c.Audit.Releases = 20, disk.open, ReleasesDurable })
	c := b.client("alice")
	uid, err := c.create(kmip.ObjectTypeSymmetricKey, aesAttributes(128)...)
	c.ok(err)
	_, err = audits(c, kmip.OperationGet, uid, c.s.Get, &kmip.GetRequest{})
	c.ok(err)                                                 // it is not fresh any more: from now on Get changes nothing
	eventually(t, "the files have all records", func() bool { // else one that is under way makes room later
		head, err := b.db.AuditHead(context.Background())
		c.ok(err)
		return b.s.trail.exported.Load() == head.Seq
	})
	disk.full.Store(true)
	made := 1
	for ; made < 100; made++ {
		if _, err = c.create(kmip.ObjectTypeSymmetricKey, aesAttributes(128)...); err != nil {
			break
		}
	}
	wantReason(t, "Create with a full disk", err, kmip.ResultReasonGeneralFailure)
	var ke *kmip.Error
	if !errors.As(err, &ke) || !strings.Contains(ke.Message, "audit trail") {
		t.Errorf("the refusal says %v", err)
	}
	if made < 15 || made > 30 {
		t.Errorf("%d creations before the refusal, with a backlog of 20", made)
	}
	wantReason(t, "a change", c.add(uid, attr("x-a", textValue("v"))), kmip.ResultReasonGeneralFailure)
	if err := b.s.AddClient(context.Background(), &metadata.Client{Name: "x"}); err == nil {
		t.Error("an administrator changes clients with a full disk")
	}
	_, err = audits(c, kmip.OperationGetAttributes, uid, c.s.GetAttributes, &kmip.GetAttributesRequest{})
	c.ok(err)
	reads := 2
	for ; reads < 200; reads++ {
		if _, err = audits(c, kmip.OperationGet, uid, c.s.Get, &kmip.GetRequest{}); err != nil {
			break
		}
	}
	wantReason(t, "a read when twice the backlog waits", err, kmip.ResultReasonGeneralFailure)

	disk.full.Store(false)
	eventually(t, "changes go on", func() bool {
		_, err := c.create(kmip.ObjectTypeSymmetricKey, aesAttributes(128)...)
		return err == nil
	})
	b.s.Close()
	r := b.verify()
	if len(r.Problems) > 0 || !r.Closed {
		t.Errorf("the trail: %+v", r)
	}
	if n := len(b.find(func(e audit.Event) bool {
		return e.Client == "alice" && len(e.Objects) > 0 && e.Objects[0].Effect == "created"
	})); n != made+1 {
		t.Errorf("%d creations in the trail, %d were acknowledged", n, made+1)
	}
	if n := len(b.find(about("Get", audit.Success))); n != reads-1 {
		t.Errorf("%d successful reads in the trail, %d were given", n, reads-1)
	}
	if n := b.find(about("further events without room", audit.Failure)); len(n) == 0 {
		t.Error("nothing tells of refusals that had no room")
	}
}

// Files rotate with a checkpoint each, and old ones go with a record of it.
func TestTrailRotates(t *testing.T) {
	b := audited(t, func(c *Config) { c.Audit.RotateSize, c.Audit.Keep, c.Audit.Checkpoint = 8<<10, 3, 50*time.Millisecond })
	c := b.client("alice")
	eventually(t, "old files go", func() bool {
		for range 10 {
			_, err := c.create(kmip.ObjectTypeSymmetricKey, aesAttributes(128)...)
			c.ok(err)
		}
		files, err := audit.List(b.cfg.Audit.Dir)
		c.ok(err)
		return len(files) > 0 && !strings.HasSuffix(files[0], "00001.jsonl")
	})
	b.s.Close()
	r := b.verify()
	if len(r.Problems) > 0 || !r.Closed || r.First == 1 || r.Checkpoints < 4 {
		t.Errorf("the trail: %+v", r)
	}
	files, _ := audit.List(b.cfg.Audit.Dir)
	if len(files) > 5 {
		t.Errorf("%d files are kept, want 3 and the present one", len(files))
	}
	if entries, err := b.db.AuditEntries(context.Background(), 0, 1<<20); err != nil || len(entries) > 1 {
		t.Errorf("%d records in the store, %v", len(entries), err)
	}
	_ = os.Remove(files[len(files)/2])
	if r := b.verify(); len(r.Problems) == 0 || r.Problems[0].Kind != audit.Missing {
		t.Errorf("a file in the middle is gone: %v", r.Problems)
	}
}

// Many at once: all successes are in the trail, none twice, in one chain.
func TestTrailAtOnce(t *testing.T) {
	b := audited(t)
	c := b.client("alice")
	uid, err := c.create(kmip.ObjectTypeSymmetricKey, aesAttributes(128)...)
	c.ok(err)
	var all sync.WaitGroup
	const each, writers = 60, 6
	for range writers {
		all.Go(func() {
			for i := range each {
				var err error
				switch i % 3 {
				case 0:
					_, err = audits(c, kmip.OperationGet, uid, c.s.Get, &kmip.GetRequest{})
				case 1:
					_, err = audits(c, kmip.OperationGetAttributes, uid, c.s.GetAttributes, &kmip.GetAttributesRequest{})
				case 2:
					_, err = audits(c, kmip.OperationCreate, "", c.s.Create, &kmip.CreateRequest{ObjectType: kmip.ObjectTypeSymmetricKey,
						TemplateAttribute: kmip.TemplateAttribute{Attribute: aesAttributes(128)}})
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	b.s.Close()
	for op, want := range map[string]int{"Get": writers * each / 3, "Get Attributes": writers * each / 3, "Create": writers*each/3 + 1} {
		if n := len(b.find(about(op, audit.Success))); n != want {
			t.Errorf("%s is in the trail %d times, want %d", op, n, want)
		}
	}
	if r := b.verify(); len(r.Problems) > 0 || !r.Closed {
		t.Errorf("the trail: %v", r.Problems)
	}
}

// Strangers are counted when they are many.
func TestStrangersDoNotFillTheTrail(t *testing.T) {
	b := audited(t)
	for range 1000 {
		b.s.AuditConnection(kmip.AuditConnection{Address: "192.0.2.1:1", Err: errors.New("no certificate")})
		call := &kmip.Call{Address: "192.0.2.1:1"}
		if err := b.s.AuditItem(context.Background(), &kmip.AuditItem{Call: call, Operation: kmip.OperationGet, Err: denied("pending")}); err != nil {
			t.Fatal(err)
		}
		if err := b.s.AuditItem(context.Background(), &kmip.AuditItem{Call: call, Operation: kmip.OperationQuery}); err != nil {
			t.Fatal(err)
		}
	}
	b.s.Close()
	events := b.events()
	if len(events) > 2*limitPerMinute+20 {
		t.Errorf("%d records", len(events))
	}
	var further uint64
	for _, e := range events {
		if strings.HasPrefix(e.Operation, "further") {
			further += e.Count
		}
	}
	if want := uint64(3000 - 2*limitPerMinute); further != want { // what is refused and what is answered count together
		t.Errorf("%d events are counted, want %d", further, want)
	}
}

// A store that is older than its files does not go on with them, nor does one whose files were edited.
func TestTrailOfAnotherStore(t *testing.T) {
	b := audited(t)
	old := b.fs.CrashClone(vfs.CrashCloneCfg{})
	c := b.client("alice")
	_, err := c.create(kmip.ObjectTypeSymmetricKey, aesAttributes(128)...)
	c.ok(err)
	b.s.Close()
	db := openRecords(t, old)
	s := New(db, b.fake, b.policy, b.cfg, zerolog.Nop())
	if err := s.Start(context.Background()); err == nil || !strings.Contains(err.Error(), "older than its audit trail") {
		t.Errorf("an older store: %v", err)
		s.Close()
	}
	// Without its files it begins others, and says so.
	c.ok(os.RemoveAll(b.cfg.Audit.Dir))
	b.s = New(b.db, b.fake, b.policy, b.cfg, zerolog.Nop())
	c.ok(b.s.Start(context.Background()))
	b.s.Close()
}

// Records that are older than their trail, such as a copy that was made while a key was being made, are refused before anything
// is settled by them.
func TestOlderRecordsSettleNothing(t *testing.T) {
	b := audited(t)
	alice := b.client("alice")
	copied := b.fs.CrashClone(vfs.CrashCloneCfg{})
	key := alice.record(alice.aes())
	b.s.Close()
	db := openRecords(t, copied)
	in := metadata.Intent{ID: key.Handle.ID, UID: key.UID, Operation: "Create", Class: key.Handle.Class, At: epoch}
	if err := db.Commit(t.Context(), &metadata.Batch{AddIntents: []metadata.Intent{in}}); err != nil {
		t.Fatal(err)
	}
	objects := b.fake.Len()
	s := New(db, b.fake, b.policy, b.cfg, zerolog.Nop())
	if err := s.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "older than its audit trail") {
		t.Errorf("got %v, want a refusal", err)
		s.Close()
	}
	if got := b.fake.Len(); got != objects {
		t.Errorf("%d token objects are left of %d", got, objects)
	}
	if left, err := db.Intents(t.Context()); err != nil || len(left) != 1 {
		t.Errorf("got the intents %+v, %v, want the one", left, err)
	}
}

// Files that end right before what the store has left must join it: the record that follows them names the one before.
func TestTrailOfAStoreThatWentOn(t *testing.T) {
	b := audited(t)
	other := b.fs.CrashClone(vfs.CrashCloneCfg{})
	b.client("alice").aes()
	b.s.Close()
	end, err := b.db.AuditHead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	db := openRecords(t, other)
	for head := (metadata.AuditHead{}); head.Seq <= end.Seq; {
		if err := db.Commit(t.Context(), &metadata.Batch{Audit: [][]byte{ofServer("elsewhere").Encode(epoch)}}); err != nil {
			t.Fatal(err)
		}
		if head, err = db.AuditHead(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.PruneAudit(t.Context(), end.Seq); err != nil {
		t.Fatal(err)
	}
	if first, err := db.AuditEntries(t.Context(), 0, 1); err != nil || len(first) != 1 || first[0].Seq != end.Seq+1 {
		t.Fatalf("the store begins with %+v, %v, want record %d", first, err, end.Seq+1)
	}
	s := New(db, b.fake, b.policy, b.cfg, zerolog.Nop())
	if err := s.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "belong to another store") {
		t.Errorf("got %v, want a refusal", err)
		s.Close()
	}
}

// refusing is a store that takes no audit records any more, and does not say that it has failed.
type refusing struct {
	metadata.Store
	off atomic.Bool
}

func (r *refusing) Commit(ctx context.Context, b *metadata.Batch) error {
	if r.off.Load() && len(b.Audit) > 0 {
		return errors.New("not now")
	}
	return r.Store.Commit(ctx, b)
}

// hanging is a store that does not answer, and keeps the longest wait for it that began after the trail's end.
type hanging struct {
	metadata.Store
	trail *trail
	off   atomic.Bool
	most  atomic.Int64
	tries atomic.Int64
}

func (h *hanging) Commit(ctx context.Context, b *metadata.Batch) error {
	if !h.off.Load() || len(b.Audit) == 0 {
		return h.Store.Commit(ctx, b)
	}
	end, _ := ctx.Deadline()
	if until := h.trail.until.Load(); until != 0 && time.Now().UnixNano() > until {
		h.most.Store(max(h.most.Load(), int64(time.Until(end))))
		h.tries.Add(1)
	}
	<-ctx.Done()
	return ctx.Err()
}

// A full queue does not multiply what Close waits for a store that does not answer.
func TestCloseOfFullTrailEnds(t *testing.T) {
	b := newBench(t)
	b.s.Close()
	store := &hanging{Store: b.db}
	b.cfg.Audit.Patience = time.Second
	b.s = New(store, b.fake, b.policy, b.cfg, zerolog.New(b.log))
	store.trail = b.s.trail
	if err := b.s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	store.off.Store(true)
	for range queueLength {
		b.s.trail.offer([]byte("{}"))
	}
	b.s.Close()
	if most := time.Duration(store.most.Load()); store.tries.Load() == 0 || most > b.cfg.Audit.Patience/2 {
		t.Errorf("after the trail's end %d groups are tried, for up to %s", store.tries.Load(), most)
	}
}

// Close ends although the store takes the last records neither now nor later.
func TestCloseOfTrailEnds(t *testing.T) {
	b := newBench(t)
	b.s.Close()
	store := &refusing{Store: b.db}
	dir := filepath.Join(t.TempDir(), "audit")
	b.cfg.Audit.Dir, b.cfg.Audit.Patience = dir, 50*time.Millisecond
	b.s = New(store, b.fake, b.policy, b.cfg, zerolog.New(b.log))
	if err := b.s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	store.off.Store(true)
	b.s.event("test", "one that is not written")
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		b.s.Close()
	}()
	select {
	case <-closed:
	case <-time.After(20 * time.Second):
		store.off.Store(false) // lets it end
		<-closed
		t.Fatal("Close hangs")
	}
	if !strings.Contains(b.log.String(), "audit records are lost") {
		t.Errorf("the log does not tell: %s", b.log)
	}
}
