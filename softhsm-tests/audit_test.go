package softhsmtests

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kmipd/softhsm-tests/internal/harness"
	"kmipd/softhsm-tests/internal/message"
)

// auditRecord is a line of an audit file, read by what docs/audit.md says and not by the server's own code.
type auditRecord struct {
	Seq   uint64          `json:"seq"`
	Prev  string          `json:"prev"`
	Hash  string          `json:"hash"`
	Event json.RawMessage `json:"event"`

	what auditEvent
}

type auditEvent struct {
	Kind, Outcome, Operation, Client, Release, Reason string
	Objects                                           []struct{ UID, Effect string }
	Checkpoint                                        *struct {
		Seq       uint64
		Hash      string
		Time      string
		Next      string
		Closing   bool
		Signature []byte
	}
}

func auditDir(dir string) string { return filepath.Join(dir, "data", "audit") }

func auditFiles(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(auditDir(dir), "audit-*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("audit files in %s: %v, %v", dir, files, err)
	}
	return files
}

// readTrail reads all records and checks chain and signatures with nothing but the standard library.
func readTrail(t *testing.T, dir string) []auditRecord {
	t.Helper()
	key := auditKey(t, filepath.Join(auditDir(dir), "key.pem"))
	var records []auditRecord
	hashes := map[uint64]string{0: strings.Repeat("0", 64)}
	for _, f := range auditFiles(t, dir) {
		content, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range bytes.Split(bytes.TrimSuffix(content, []byte("\n")), []byte("\n")) {
			var r auditRecord
			if err := json.Unmarshal(line, &r); err != nil {
				t.Fatalf("%s: %v\n%s", f, err, line)
			}
			if err := json.Unmarshal(r.Event, &r.what); err != nil {
				t.Fatalf("%s: %v\n%s", f, err, line)
			}
			prev, _ := hex.DecodeString(r.Prev)
			sum := sha256.New()
			sum.Write([]byte("kmipd audit record 1\x00"))
			sum.Write(binary.BigEndian.AppendUint64(nil, r.Seq))
			sum.Write(prev)
			sum.Write(r.Event)
			if got := hex.EncodeToString(sum.Sum(nil)); got != r.Hash || r.Prev != hashes[r.Seq-1] {
				t.Fatalf("record %d does not chain: hash %s, should be %s; prev %s, should be %s", r.Seq, r.Hash, got, r.Prev, hashes[r.Seq-1])
			}
			hashes[r.Seq] = r.Hash
			if c := r.what.Checkpoint; c != nil {
				statement := fmt.Sprintf(`{"seq":%d,"hash":%q,"time":%q,"next":%q,"closing":%t}`, c.Seq, c.Hash, c.Time, c.Next, c.Closing)
				digest := sha512.Sum384([]byte("kmipd audit checkpoint 1\n" + statement))
				if c.Hash != hashes[c.Seq] || !ecdsa.VerifyASN1(key, digest[:], c.Signature) {
					t.Errorf("the checkpoint in record %d is not good", r.Seq)
				}
			}
			records = append(records, r)
		}
	}
	return records
}

func auditKey(t *testing.T, file string) *ecdsa.PublicKey {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(content)
	if block == nil {
		t.Fatalf("%s is no PEM file", file)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(*ecdsa.PublicKey)
}

// verifyTrail runs kmipd audit verify and returns its report and exit code.
func verifyTrail(t *testing.T, dir, key string, extra ...string) (string, int) {
	t.Helper()
	out, code := harness.Run(t, append([]string{"audit", "verify", "--dir", dir, "--key", key}, extra...)...)
	return string(out), code
}

func count(records []auditRecord, match func(auditEvent) bool) int {
	n := 0
	for _, r := range records {
		if match(r.what) {
			n++
		}
	}
	return n
}

// A server's day over TLS: operations, refusals, a stranger, an administrator, the stop. All of it is in the trail, which
// verifies with the public key alone, and every damage to its files is found.
func TestAuditTrail(t *testing.T) {
	dir := harness.Dir(t)
	s := harness.Start(t, dir)
	key := filepath.Join(t.TempDir(), "key.pem")
	out, code := harness.Run(t, "audit", "key", "--dir", dir)
	if code != 0 {
		t.Fatalf("kmipd audit key: exit code %d", code)
	}
	if err := os.WriteFile(key, out, 0o600); err != nil {
		t.Fatal(err)
	}
	c := s.Connect(t)
	made, err := message.Do(c, message.CreateAES(256))
	if err != nil {
		t.Fatal(err)
	}
	uid := made.Identifier()
	for _, it := range []message.Item{message.Get(uid), message.GetAttributes(uid, "State"), message.Activate(uid), message.Revoke(uid, true)} {
		if _, err := message.Do(c, it); err != nil {
			t.Fatal(err)
		}
	}
	for _, it := range []message.Item{message.Get("not-there"), message.Activate(uid)} {
		if _, err := message.Do(c, it); err == nil {
			t.Error("a request that should be refused is not")
		}
	}
	if _, err := message.Do(c, message.Destroy(uid)); err != nil {
		t.Fatal(err)
	}
	head, code := harness.Run(t, "audit", "head", "--dir", dir)
	if code != 0 {
		t.Fatalf("kmipd audit head: exit code %d", code)
	}
	if out, code := verifyTrail(t, dir, key, "--live"); code != 0 {
		t.Errorf("while the server runs: exit code %d\n%s", code, out)
	}
	if _, code := harness.Run(t, "client", "add", "other", "--dir", dir); code != 0 {
		t.Errorf("kmipd client add: exit code %d", code)
	}
	if _, code := harness.Run(t, "client", "remove", "nobody", "--dir", dir); code == 0 {
		t.Error("a client that does not exist was removed")
	}
	s.Stop()

	records := readTrail(t, dir)
	for _, want := range []struct {
		name  string
		n     int
		match func(auditEvent) bool
	}{
		{"Create", 1, func(e auditEvent) bool {
			return e.Operation == "Create" && e.Outcome == "success" && e.Objects[0].Effect == "created"
		}},
		{"Get in clear", 1, func(e auditEvent) bool {
			return e.Operation == "Get" && e.Release == "plain" && e.Objects[0].UID == uid
		}},
		{"Get refused", 1, func(e auditEvent) bool {
			return e.Operation == "Get" && e.Outcome == "failure" && e.Reason == "Item Not Found"
		}},
		{"Activate refused", 1, func(e auditEvent) bool { return e.Operation == "Activate" && e.Outcome == "failure" }},
		{"Revoke", 1, func(e auditEvent) bool { return e.Operation == "Revoke" && e.Outcome == "success" }},
		{"the end of the key", 1, func(e auditEvent) bool {
			return e.Operation == "Destroy" && len(e.Objects) == 1 && e.Objects[0].Effect == "destroyed"
		}},
		{"client add", 1, func(e auditEvent) bool { return e.Operation == "client add" && e.Client == "other" }},
		{"client remove refused", 1, func(e auditEvent) bool { return e.Operation == "client remove" && e.Outcome == "failure" }},
		{"stop", 1, func(e auditEvent) bool { return e.Operation == "stop" }},
		{"closing checkpoint", 1, func(e auditEvent) bool { return e.Checkpoint != nil && e.Checkpoint.Closing }},
	} {
		if n := count(records, want.match); n != want.n {
			t.Errorf("%s: %d records, want %d", want.name, n, want.n)
		}
	}
	if out, code := verifyTrail(t, dir, key, "--expect", strings.TrimSpace(string(head))); code != 0 || !strings.Contains(out, "closed by the stop") {
		t.Errorf("after the stop: exit code %d\n%s", code, out)
	}
	if out, code := harness.Run(t, "audit", "export", "--dir", dir, "--format", "cef", "--operation", "create"); code != 0 || bytes.Count(out, []byte("CEF:0|kmipd|")) != 1 {
		t.Errorf("export: exit code %d\n%s", code, out)
	}
	damageTrail(t, dir, key)
}

// damageTrail edits, truncates and reorders the files, one after the other, and wants each to be found.
func damageTrail(t *testing.T, dir, key string) {
	t.Helper()
	files := auditFiles(t, dir)
	last := files[len(files)-1]
	good, err := os.ReadFile(last)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(strings.TrimSuffix(string(good), "\n"), "\n")
	lines[len(lines)-1] += "\n"
	n := len(lines)
	for _, d := range []struct {
		name, kind, content string
	}{
		{"an edited operation", "edited", strings.Replace(string(good), `"operation":"Revoke"`, `"operation":"Revise"`, 1)},
		{"an edited client", "edited", strings.Replace(string(good), `"client":"dev"`, `"client":"ved"`, 1)},
		{"a removed record", "missing", strings.Join(append(append([]string{}, lines[:n-5]...), lines[n-4:]...), "")},
		{"two records swapped", "reordered", strings.Join(append(append([]string{}, lines[:n-5]...), lines[n-4], lines[n-5], strings.Join(lines[n-3:], "")), "")},
		{"the tail cut off", "truncated", strings.Join(lines[:n-3], "")},
		{"half a line cut off", "truncated", string(good[:len(good)-30])},
	} {
		if d.content == string(good) {
			t.Fatalf("%s: nothing is damaged", d.name)
		}
		if err := os.WriteFile(last, []byte(d.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, code := verifyTrail(t, dir, key); code != 1 || !strings.Contains(out, ": "+d.kind+": ") {
			t.Errorf("%s: exit code %d\n%s", d.name, code, out)
		}
	}
	if err := os.WriteFile(last, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := verifyTrail(t, dir, key); code != 0 {
		t.Errorf("the trail as it was: exit code %d\n%s", code, out)
	}
}

// auditedObjects wants each object that was acknowledged to have a record of its creation, and each that was destroyed one of
// its end.
func auditedObjects(t *testing.T, dir string, workers []*crashWorker) {
	t.Helper()
	made, ended := map[string]bool{}, map[string]bool{}
	for _, r := range readTrail(t, dir) {
		for _, o := range r.what.Objects {
			switch o.Effect {
			case "created":
				made[o.UID] = true
			case "destroyed":
				ended[o.UID] = true
			}
		}
	}
	for _, w := range workers {
		for _, o := range append(w.ended[:len(w.ended):len(w.ended)], w.objects...) {
			if !made[o.uid] {
				t.Errorf("%s (%s) was acknowledged and is not in the audit trail", o.uid, o.name)
			}
			if o.state == message.StateDestroyed && !ended[o.uid] {
				t.Errorf("%s (%s): its destruction is not in the audit trail", o.uid, o.name)
			}
		}
	}
}
