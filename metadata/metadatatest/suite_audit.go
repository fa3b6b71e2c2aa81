package metadatatest

import (
	"errors"
	"fmt"
	"testing"

	"kmipd/metadata"
)

// CheckChain wants the records that a store still has to be a chain, and returns their payloads.
func CheckChain(t testing.TB, s metadata.Store) []string {
	t.Helper()
	head, err := s.AuditHead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	entries, err := s.AuditEntries(t.Context(), 0, int(head.Seq)+1)
	if err != nil {
		t.Fatal(err)
	}
	var payloads []string
	for i, e := range entries {
		if e.Hash != metadata.AuditHash(e.Seq, e.Prev, e.Payload) {
			t.Errorf("audit record %d: its hash is not its own", e.Seq)
		}
		if i > 0 && (e.Prev != entries[i-1].Hash || e.Seq != entries[i-1].Seq+1) {
			t.Errorf("audit record %d does not follow on %d", e.Seq, entries[i-1].Seq)
		}
		payloads = append(payloads, string(e.Payload))
	}
	if n := len(entries); n > 0 && (entries[n-1].Seq != head.Seq || entries[n-1].Hash != head.Hash) || n == 0 && head.Seq != 0 {
		t.Errorf("the head is record %d, which the chain does not end with", head.Seq)
	}
	return payloads
}

// A record of the chain is there if and only if its change is.
func testAudit(t *testing.T, s metadata.Store) {
	check := func(want ...string) {
		t.Helper()
		if got := CheckChain(t, s); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Errorf("audit records: got %q, want %q", got, want)
		}
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check()
	rec := Key("o", "a", 1)
	payload := func(p ...string) (out [][]byte) {
		for _, s := range p {
			out = append(out, []byte(s))
		}
		return out
	}
	do(s.Commit(t.Context(), &metadata.Batch{Puts: []metadata.Put{{Record: rec}}, Audit: payload("1", "2")}))
	err := s.Commit(t.Context(), &metadata.Batch{Puts: []metadata.Put{{Record: rec}}, Audit: payload("refused")})
	if !errors.Is(err, metadata.ErrExists) {
		t.Errorf("got %v, want ErrExists", err)
	}
	check("1", "2")
	do(s.Commit(t.Context(), &metadata.Batch{Audit: payload("3")}))
	do(s.PutClient(t.Context(), &metadata.Client{Name: "c"}, []byte("4")))
	do(s.DeleteClient(t.Context(), "c", []byte("5")))
	if err := s.DeleteClient(t.Context(), "c", []byte("refused")); !errors.Is(err, metadata.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
	do(s.PutPending(t.Context(), &metadata.PendingCertificate{Fingerprint: "f"}))
	do(s.DeletePending(t.Context(), "f", []byte("6")))
	do(s.SetSetting(t.Context(), "k", nil, true, []byte("7")))
	check("1", "2", "3", "4", "5", "6", "7")

	some, err := s.AuditEntries(t.Context(), 2, 3)
	if err != nil || len(some) != 3 || some[0].Seq != 3 || string(some[2].Payload) != "5" {
		t.Errorf("three records after the second: got %v, %v", some, err)
	}
	do(s.PruneAudit(t.Context(), 4))
	check("5", "6", "7")
	do(s.PruneAudit(t.Context(), 2))
	do(s.PruneAudit(t.Context(), 100))
	check("7")
	do(s.Commit(t.Context(), &metadata.Batch{Audit: payload("8")}))
	check("7", "8")
}
