package audit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"kmipd/metadata"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// trail is a chain under construction.
type trail struct {
	t       *testing.T
	key     *ecdsa.PrivateKey
	dir     string
	w       *Writer
	head    metadata.AuditHead
	pending []metadata.AuditEntry
	now     time.Time
}

func newTrail(t *testing.T) *trail {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tr := &trail{t: t, key: key, dir: t.TempDir(), now: noon}
	if tr.w, err = OpenWriter(tr.dir, nil); err != nil {
		t.Fatal(err)
	}
	return tr
}

func (tr *trail) add(e Event) {
	p := e.Encode(tr.now)
	seq := tr.head.Seq + 1
	entry := metadata.AuditEntry{Seq: seq, Prev: tr.head.Hash, Hash: metadata.AuditHash(seq, tr.head.Hash, p), Payload: p}
	tr.pending = append(tr.pending, entry)
	tr.head = metadata.AuditHead{Seq: seq, Hash: entry.Hash}
}

func (tr *trail) operations(n int) {
	for range n {
		tr.add(Event{Kind: KindOperation, Outcome: Success, Operation: "Get", Client: "c", Objects: []Object{{UID: fmt.Sprint("uid-", tr.head.Seq)}}})
	}
}

func (tr *trail) checkpoint(closing bool) *Signature {
	tr.t.Helper()
	s, err := Sign(tr.key, tr.head, tr.now, 10*time.Minute, closing)
	if err != nil {
		tr.t.Fatal(err)
	}
	tr.add(Event{Kind: KindCheckpoint, Outcome: Success, Signed: s})
	return s
}

func (tr *trail) flush(rotate bool) {
	tr.t.Helper()
	if err := tr.w.Append(tr.pending); err != nil {
		tr.t.Fatal(err)
	}
	tr.pending = nil
	if rotate {
		if err := tr.w.Rotate(); err != nil {
			tr.t.Fatal(err)
		}
	}
}

// three files: records 1 to 6, 7 to 12, 13 to 17 with the closing checkpoint.
func (tr *trail) usual() {
	tr.operations(5)
	tr.checkpoint(false)
	tr.flush(true)
	tr.operations(5)
	tr.checkpoint(false)
	tr.flush(true)
	tr.operations(4)
	tr.checkpoint(true)
	tr.flush(true)
}

func (tr *trail) files() []string {
	tr.t.Helper()
	files, err := List(tr.dir)
	if err != nil {
		tr.t.Fatal(err)
	}
	return files
}

func (tr *trail) verify(set ...func(*Check)) *Report {
	tr.t.Helper()
	c := Check{Files: tr.files(), Key: &tr.key.PublicKey, Now: tr.now.Add(24 * time.Hour)}
	for _, s := range set {
		s(&c)
	}
	r, err := Verify(c)
	if err != nil {
		tr.t.Fatal(err)
	}
	return r
}

func (tr *trail) sound(set ...func(*Check)) {
	tr.t.Helper()
	if r := tr.verify(set...); len(r.Problems) > 0 {
		tr.t.Fatalf("a sound trail has problems: %v", r.Problems)
	}
}

// lines are all lines of the trail, each with its newline.
func lines(t *testing.T, file string) []string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.SplitAfter(strings.TrimSuffix(string(b), "\n"), "\n")
}

func (tr *trail) write(file string, content string) {
	tr.t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		tr.t.Fatal(err)
	}
}

// Every octet of a trail matters.
func TestVerifyFindsEveryEdit(t *testing.T) {
	tr := newTrail(t)
	tr.usual()
	tr.sound()
	for _, f := range tr.files() {
		good, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		seq, at := uint64(1), 0
		if n, ok := firstOf(f); ok {
			seq = n
		}
		for i := range good {
			if i > 0 && good[i-1] == '\n' {
				seq++
			}
			if at++; at%11 != 0 && good[i] != '\n' && i+1 < len(good) { // some octets of each line, and all ends of lines
				continue
			}
			for _, flip := range []byte{0x01, 0x20} {
				bad := append([]byte(nil), good...)
				bad[i] ^= flip
				tr.write(f, string(bad))
				r := tr.verify()
				if len(r.Problems) == 0 {
					t.Fatalf("%s: octet %d of record %d changed from %q to %q, and nothing is found", filepath.Base(f), i, seq, good[i], bad[i])
				}
				if p := r.Problems[0]; p.Seq < seq && p.Seq+1 != seq || p.Seq > seq+1 {
					t.Errorf("octet %d of record %d changed; the first problem is %v", i, seq, p)
				}
			}
		}
		tr.write(f, string(good))
	}
	tr.sound()
}

// What people do to a trail, and what is said about it.
func TestVerifyFindsDamage(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(tr *trail, files []string)
		kind   string
		seq    uint64
	}{
		{"a line removed", func(tr *trail, f []string) {
			l := lines(tr.t, f[1])
			tr.write(f[1], strings.Join(append(l[:2:2], l[3:]...), "")+"\n")
		}, Missing, 9},
		{"the first line removed", func(tr *trail, f []string) {
			tr.write(f[0], strings.Join(lines(tr.t, f[0])[1:], "")+"\n")
		}, Missing, 1},
		{"two lines swapped", func(tr *trail, f []string) {
			l := lines(tr.t, f[1])
			l[1], l[2] = l[2], l[1]
			tr.write(f[1], strings.Join(l, "")+"\n")
		}, Reordered, 8},
		{"a line twice", func(tr *trail, f []string) {
			l := lines(tr.t, f[1])
			tr.write(f[1], strings.Join(append(l[:2:2], l[1:]...), "")+"\n")
		}, Reordered, 8},
		{"the first file removed", func(tr *trail, f []string) { _ = os.Remove(f[0]) }, Missing, 1},
		{"a file in the middle removed", func(tr *trail, f []string) { _ = os.Remove(f[1]) }, Missing, 7},
		{"the last file removed", func(tr *trail, f []string) { _ = os.Remove(f[2]) }, Truncated, 13},
		{"the last line removed", func(tr *trail, f []string) {
			l := lines(tr.t, f[2])
			tr.write(f[2], strings.Join(l[:len(l)-1], ""))
		}, Truncated, 17},
		{"half of the last line removed", func(tr *trail, f []string) {
			b, _ := os.ReadFile(f[2])
			tr.write(f[2], string(b[:len(b)-20]))
		}, Truncated, 17},
		{"cut behind an earlier checkpoint", func(tr *trail, f []string) {
			_ = os.Remove(f[2])
			_ = os.Remove(f[1])
		}, Truncated, 7},
		{"everything removed", func(tr *trail, f []string) {
			for _, name := range f {
				_ = os.Remove(name)
			}
		}, Missing, 1},
		{"an edit with hashes made to fit", func(tr *trail, f []string) { tr.forge(f, 8) }, Edited, 11},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := newTrail(t)
			tr.usual()
			tr.sound()
			c.damage(tr, tr.files())
			r := tr.verify()
			if len(r.Problems) == 0 {
				t.Fatal("nothing is found")
			}
			if p := r.Problems[0]; p.Kind != c.kind || p.Seq != c.seq {
				t.Errorf("got %v, want record %d: %s", r.Problems, c.seq, c.kind)
			}
		})
	}
}

// forge rewrites a record and all hashes behind it, as somebody can who knows everything but the key.
func (tr *trail) forge(files []string, seq uint64) {
	var prev metadata.AuditDigest
	for _, f := range files {
		var out []byte
		for _, l := range lines(tr.t, f) {
			e, err := ParseLine([]byte(strings.TrimSuffix(l, "\n")))
			if err != nil {
				tr.t.Fatal(err)
			}
			if e.Seq == seq {
				e.Payload = []byte(strings.Replace(string(e.Payload), `"Get"`, `"Put"`, 1))
			}
			e.Prev = prev
			e.Hash = metadata.AuditHash(e.Seq, e.Prev, e.Payload)
			prev = e.Hash
			out = AppendLine(out, &e)
		}
		tr.write(f, string(out))
	}
}

func TestVerifySignatures(t *testing.T) {
	tr := newTrail(t)
	tr.usual()
	other, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if r := tr.verify(func(c *Check) { c.Key = &other.PublicKey }); len(r.Problems) == 0 || r.Problems[0].Kind != Signatures {
		t.Errorf("another key: %v", r.Problems)
	}

	// A whole chain of somebody else's making, under his own key with the name of the true one.
	tr = newTrail(t)
	tr.operations(3)
	s := tr.checkpoint(true)
	forged := *s
	forged.Signature, _ = ecdsa.SignASN1(rand.Reader, other, forged.digest())
	tr.pending = tr.pending[:3]
	tr.head = metadata.AuditHead{Seq: 3, Hash: tr.pending[2].Hash}
	tr.add(Event{Kind: KindCheckpoint, Signed: &forged})
	tr.flush(false)
	if r := tr.verify(); len(r.Problems) == 0 || r.Problems[0].Kind != Signatures || r.Problems[0].Seq != 4 {
		t.Errorf("a forged signature: %v", r.Problems)
	}
}

// An old signature that is copied behind a cut does not make an end.
func TestVerifyReplay(t *testing.T) {
	for _, closing := range []bool{true, false} {
		tr := newTrail(t)
		tr.operations(3)
		old := tr.checkpoint(closing)
		tr.operations(3)
		tr.checkpoint(false)
		tr.operations(2)
		tr.add(Event{Kind: KindCheckpoint, Signed: old})
		tr.flush(false)
		if r := tr.verify(); len(r.Problems) == 0 || r.Closed {
			t.Errorf("closing %t: a copied checkpoint passes: %+v", closing, r)
		}
	}
	// Records behind the end that somebody makes up.
	tr := newTrail(t)
	tr.operations(3)
	tr.checkpoint(true)
	tr.operations(1)
	tr.flush(false)
	if r := tr.verify(); len(r.Problems) == 0 || r.Problems[0].Kind != Truncated {
		t.Errorf("records behind the closing checkpoint: %+v", r)
	}
}

// What the end of a trail may look like, and when.
func TestVerifyEnds(t *testing.T) {
	at := func(d time.Duration) func(*Check) { return func(c *Check) { c.Now = noon.Add(d) } }
	live := func(c *Check) { c.Live = true }
	tr := newTrail(t)
	tr.operations(3)
	tr.checkpoint(false)
	tr.operations(2)
	tr.flush(false)
	tr.sound(at(5 * time.Minute))
	if r := tr.verify(at(11 * time.Minute)); len(r.Problems) != 1 || r.Problems[0].Kind != Truncated {
		t.Errorf("after the promised time: %v", r.Problems)
	}
	tr.sound(at(5*time.Minute), live)
	if r := tr.verify(at(11*time.Minute), live); len(r.Problems) != 1 || r.Problems[0].Kind != Truncated {
		t.Errorf("after the promised time, of a server that goes on: %v", r.Problems)
	}
	forged := newTrail(t)
	forged.operations(3)
	forged.flush(false)
	if r := forged.verify(at(0), live); len(r.Problems) == 0 {
		t.Error("a trail that nobody signed passes as that of a server that goes on")
	}

	// Started again after a crash: the trail goes on, and closes.
	tr.now = noon.Add(time.Hour)
	tr.operations(1)
	early := tr.head
	tr.checkpoint(true)
	tr.flush(false)
	tr.sound(at(24 * time.Hour))
	r := tr.verify(func(c *Check) { c.Known = []metadata.AuditHead{early, tr.head} })
	if len(r.Problems) > 0 || !r.Closed || r.Last != 8 || r.Covered != 7 || r.Checkpoints != 2 {
		t.Errorf("got %+v", r)
	}
	if h, err := ParseHead(r.Head); err != nil || h != tr.head {
		t.Errorf("the head of the report: %s, %v", r.Head, err)
	}
}

// Cut back to an earlier stop of the server, a trail looks whole: what was kept elsewhere tells.
func TestVerifyAgainstKeptHeads(t *testing.T) {
	tr := newTrail(t)
	tr.operations(3)
	tr.checkpoint(true)
	tr.flush(true)
	tr.operations(3)
	last := tr.checkpoint(true)
	tr.flush(true)
	head := tr.head
	tr.sound(func(c *Check) { c.Latest = last })
	_ = os.Remove(tr.files()[1])
	tr.sound() // said in docs/audit.md
	for name, set := range map[string]func(*Check){
		"head file": func(c *Check) { c.Latest = last },
		"kept head": func(c *Check) { c.Known = []metadata.AuditHead{head} },
	} {
		if r := tr.verify(set); len(r.Problems) != 1 || r.Problems[0].Kind != Truncated || r.Problems[0].Seq != 5 {
			t.Errorf("%s: %v", name, r.Problems)
		}
	}
	if r := tr.verify(func(c *Check) { c.Known = []metadata.AuditHead{{Seq: 2}} }); len(r.Problems) != 1 || r.Problems[0].Kind != Edited {
		t.Errorf("another hash: %v", r.Problems)
	}
	forged := *last
	forged.Seq = 3
	if r := tr.verify(func(c *Check) { c.Latest = &forged }); len(r.Problems) != 1 || r.Problems[0].Kind != Signatures {
		t.Errorf("a forged head file: %v", r.Problems)
	}
}

// The beginning may be missing when the server says so, and that is signed.
func TestVerifyRemovedFiles(t *testing.T) {
	tr := newTrail(t)
	tr.operations(5)
	tr.checkpoint(false)
	tr.flush(true)
	tr.operations(1)
	tr.add(Event{Kind: KindServer, Outcome: Success, Operation: RemovedOperation, Facts: []Fact{{RemovedFact, "6"}}})
	tr.checkpoint(true)
	tr.flush(true)
	_ = os.Remove(tr.files()[0])
	tr.sound()
	if r := tr.verify(); r.First != 7 || len(r.Notes) == 0 {
		t.Errorf("got %+v", r)
	}

	tr = newTrail(t)
	tr.usual()
	_ = os.Remove(tr.files()[0])
	if r := tr.verify(); len(r.Problems) == 0 || r.Problems[0].Kind != Missing {
		t.Errorf("a beginning that somebody else removed: %v", r.Problems)
	}
	tr.sound(func(c *Check) { c.Partial = true })
}

// A crash within a write leaves a piece of a line, which goes, or an empty file.
func TestWriterResumes(t *testing.T) {
	tr := newTrail(t)
	tr.operations(3)
	tr.flush(false)
	file := tr.files()[0]
	good, _ := os.ReadFile(file)
	tr.write(file, string(good)+`{"seq":4,"prev":"ab`)
	tr.write(filepath.Join(tr.dir, fileName(4)), "")
	w, err := OpenWriter(tr.dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if w.Last() != tr.head || w.Damaged != "" {
		t.Fatalf("the writer goes on after record %d, %q", w.Last().Seq, w.Damaged)
	}
	tr.w = w
	tr.operations(2)
	tr.checkpoint(true)
	tr.flush(false)
	tr.sound()

	bad := []byte(strings.Replace(string(good), "Get", "Put", 3))
	tr.write(file, string(bad))
	if w, err = OpenWriter(tr.dir, nil); err != nil || w.Damaged != file || w.Last().Seq != 0 {
		t.Errorf("a damaged end: %v, %q, record %d", err, w.Damaged, w.Last().Seq)
	}
}

// Texts that clients and the network choose end within their field.
func TestEventIsBounded(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	e := Event{Kind: KindOperation, Client: "a\nb\x00\"}", User: "\xff\xfe", Message: long, Objects: make([]Object, 1000)}
	for i := range e.Objects {
		e.Objects[i].UID = long
	}
	p := e.Encode(noon)
	if len(p) > 40<<10 || strings.ContainsAny(string(p), "\n\x00") || !utf8.Valid(p) {
		t.Errorf("an event of %d octets: %.200q", len(p), p)
	}
	entry := metadata.AuditEntry{Seq: 1, Payload: p, Hash: metadata.AuditHash(1, metadata.AuditDigest{}, p)}
	back, err := ParseLine(trimNewline(AppendLine(nil, &entry)))
	if err != nil || !Intact(&back) || string(back.Payload) != string(p) {
		t.Errorf("the line does not come back: %v", err)
	}
}

// What is written by hand is what a JSON encoder would have written.
func TestEncodeIsJSON(t *testing.T) {
	full := Event{Kind: "k", Outcome: "o", Operation: "op \"x\" \\ <&>", Client: "ä\u2028", User: "u", Address: "a", Listener: "l", Request: "r",
		Protocol: "1.4", Objects: []Object{{"1", "t", "e"}, {UID: "2"}}, Release: "plain", Policy: "p", Reason: "re", Message: "m", Job: "j",
		Count: 7, Facts: []Fact{{"n", "v"}, {"", ""}}, Signed: &Signature{Statement: Statement{Seq: 1, Closing: true}, Key: "k", Signature: []byte{1}}}
	for _, e := range []Event{full, {Kind: "k"}, {}} {
		var back Event
		if err := json.Unmarshal(e.Encode(noon), &back); err != nil {
			t.Fatalf("%v\n%s", err, e.Encode(noon))
		}
		e.V, e.Time = Version, "2026-03-01T12:00:00.000000Z"
		if !reflect.DeepEqual(back, e) {
			t.Errorf("got %+v, want %+v", back, e)
		}
	}
}

// A record before the first one has no signature over it, whatever it says: neither that the server removed files, nor
// anything else.
func TestVerifyRecordZero(t *testing.T) {
	tr := newTrail(t)
	tr.usual()
	_ = os.Remove(tr.files()[0])
	p := Event{Kind: KindServer, Outcome: Success, Operation: RemovedOperation, Facts: []Fact{{RemovedFact, "6"}}}.Encode(noon)
	zero := metadata.AuditEntry{Hash: metadata.AuditHash(0, metadata.AuditDigest{}, p), Payload: p}
	if err := os.WriteFile(filepath.Join(tr.dir, fileName(0)), AppendLine(nil, &zero), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := tr.verify(); len(r.Problems) == 0 || r.Records != 11 {
		t.Errorf("a record 0 that excuses what is missing passes: %+v", r)
	}
}
