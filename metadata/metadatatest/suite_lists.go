package metadatatest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"kmipd/metadata"
)

func testDue(t *testing.T, s metadata.Store) {
	at := func(uid string, due time.Time) *metadata.Record {
		r := Key("o", uid, 1)
		r.Due = due
		return r
	}
	later := at("c", Epoch.Add(2*time.Second))
	Put(t, s, at("a", Epoch.Add(1)), at("b", Epoch), later, at("never", time.Time{}), at("old", time.Unix(-5e9, 0)),
		at("far", time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)), at("farther", time.Unix(1<<60, 0)))
	for _, c := range []struct {
		until time.Time
		max   int
		want  []string
	}{
		{Epoch.Add(-1), 10, []string{"old"}},
		{Epoch, 10, []string{"old", "b"}},
		{Epoch.Add(time.Hour), -1, []string{"old", "b", "a", "c"}},
		{Epoch.Add(time.Hour), 2, []string{"old", "b"}},
		{Epoch.Add(time.Hour), 0, nil},
		{time.Unix(1<<60, 0), 10, []string{"old", "b", "a", "c", "far", "farther"}},
	} {
		if got, err := s.Due(t.Context(), c.until, c.max); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("Due(%v, %d): got %v, %v, want %v", c.until, c.max, got, err, c.want)
		}
	}
	later.Due = time.Time{}
	Put(t, s, later)
	if got, err := s.Due(t.Context(), Epoch.Add(time.Hour), 10); err != nil || !slices.Equal(got, []string{"old", "b", "a"}) {
		t.Errorf("after c is no longer due: got %v, %v", got, err)
	}
}

func testIntents(t *testing.T, s metadata.Store) {
	a := metadata.Intent{ID: [16]byte{1}, UID: "a", Operation: "Create", Class: 4, At: Epoch}
	b := metadata.Intent{ID: [16]byte{2}, UID: "b", Operation: "Destroy", At: Epoch.Add(1)}
	check := func(want ...metadata.Intent) {
		t.Helper()
		if got, err := s.Intents(t.Context()); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("Intents: got %+v, %v, want %+v", got, err, want)
		}
	}
	commit := func(batch metadata.Batch) error { return s.Commit(t.Context(), &batch) }
	check()
	if err := commit(metadata.Batch{AddIntents: []metadata.Intent{b, a}}); err != nil {
		t.Fatal(err)
	}
	check(a, b)
	drop := metadata.Batch{Puts: []metadata.Put{{Record: Key("o", "a", 1), Expect: 4}}, DropIntents: [][16]byte{a.ID}}
	if err := commit(drop); !errors.Is(err, metadata.ErrConflict) {
		t.Errorf("got %v, want ErrConflict", err)
	}
	check(a, b)
	drop.Puts[0].Expect = 0
	if err := commit(drop); err != nil {
		t.Fatal(err)
	}
	check(b)
}

func testRecords(t *testing.T, s metadata.Store) {
	count := func(want map[metadata.Phase]int) {
		t.Helper()
		got, err := s.Count(t.Context())
		for _, p := range []metadata.Phase{metadata.PhaseLive, metadata.PhaseDestroying, metadata.PhaseDestroyed} {
			if err != nil || got[p] != want[p] {
				t.Errorf("Count of phase %d: got %d, %v, want %d", p, got[p], err, want[p])
			}
		}
	}
	b := Key("o", "b", 2)
	Put(t, s, Key("o", "c", 1), b, Key("p", "a", 3))
	count(map[metadata.Phase]int{metadata.PhaseLive: 3})
	b.Phase = metadata.PhaseDestroying
	Put(t, s, b, Key("o", "d", 4))
	count(map[metadata.Phase]int{metadata.PhaseLive: 3, metadata.PhaseDestroying: 1})
	var seen []string
	stop := errors.New("stop")
	err := s.Records(t.Context(), func(r *metadata.Record) error {
		if seen = append(seen, r.UID); len(seen) == 3 {
			return stop
		}
		if r.UID == "a" { // a walk is of one moment, and a call may be made inside
			return s.Commit(t.Context(), &metadata.Batch{Deletes: []metadata.Delete{{UID: "c", Expect: 1}}})
		}
		return nil
	})
	if !errors.Is(err, stop) || !slices.Equal(seen, []string{"a", "b", "c"}) {
		t.Errorf("Records: got %v, %v", seen, err)
	}
	count(map[metadata.Phase]int{metadata.PhaseLive: 2, metadata.PhaseDestroying: 1})
}

func testClients(t *testing.T, s metadata.Store) {
	a := &metadata.Client{Name: "array", Created: Epoch, Certificates: []metadata.CertificateMatch{{Fingerprint: "ab"}},
		Credentials: []metadata.StoredCredential{{User: "u", Salt: []byte{1}, Hash: []byte{2}, Iterations: 3}}}
	b := &metadata.Client{Name: "backup", Created: Epoch, Disabled: true}
	for _, c := range []*metadata.Client{b, a} {
		if err := s.PutClient(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.Client(t.Context(), "array"); err != nil || !reflect.DeepEqual(got, a) {
		t.Errorf("Client: got %+v, %v", got, err)
	}
	if got, err := s.Clients(t.Context()); err != nil || !reflect.DeepEqual(got, []*metadata.Client{a, b}) {
		t.Errorf("Clients: got %+v, %v", got, err)
	}
	if err := s.DeleteClient(t.Context(), "array"); err != nil {
		t.Error(err)
	}
	for i, err := range []error{s.DeleteClient(t.Context(), "array"), func() error { _, err := s.Client(t.Context(), "array"); return err }()} {
		if !errors.Is(err, metadata.ErrNotFound) {
			t.Errorf("%d: got %v, want ErrNotFound", i, err)
		}
	}
	if err := s.PutClient(t.Context(), &metadata.Client{}); err == nil {
		t.Error("a client without a name: got no error")
	}
}

func testPending(t *testing.T, s metadata.Store) {
	const bound = 1000
	p := func(i, seen int) *metadata.PendingCertificate {
		return &metadata.PendingCertificate{Fingerprint: fmt.Sprintf("%04d", i), DER: []byte{1}, LastSeen: Epoch.Add(time.Duration(seen) * time.Second)}
	}
	put := func(i, seen int) {
		if err := s.PutPending(t.Context(), p(i, seen)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range bound {
		put(i, i)
	}
	put(0, bound)     // seen again: 1 is now the one seen longest ago
	put(bound, bound) // takes its place
	list, err := s.Pending(t.Context())
	if err != nil || len(list) != bound {
		t.Fatalf("Pending: %d certificates, %v, want %d", len(list), err, bound)
	}
	if list[0].Fingerprint != "0000" || list[1].Fingerprint != "0002" || list[bound-1].Fingerprint != "1000" {
		t.Errorf("got %s, %s ... %s", list[0].Fingerprint, list[1].Fingerprint, list[bound-1].Fingerprint)
	}
	if err := s.DeletePending(t.Context(), "0002"); err != nil {
		t.Error(err)
	}
	if err := s.DeletePending(t.Context(), "0002"); !errors.Is(err, metadata.ErrNotFound) {
		t.Errorf("deleting twice: got %v, want ErrNotFound", err)
	}
	put(7000, 7000) // there is room for one
	if list, err = s.Pending(t.Context()); err != nil || len(list) != bound || list[1].Fingerprint != "0003" {
		t.Errorf("after a deletion: %d certificates, %v", len(list), err)
	}
}

func testSettings(t *testing.T, s metadata.Store) {
	if _, err := s.Setting(t.Context(), "k"); !errors.Is(err, metadata.ErrNotFound) {
		t.Errorf("absent: got %v, want ErrNotFound", err)
	}
	for _, sync := range []bool{true, false} {
		want := fmt.Sprint("v", sync)
		if err := s.SetSetting(t.Context(), "k", []byte(want), sync); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Setting(t.Context(), "k"); err != nil || string(got) != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	stale := []metadata.Put{{Record: Key("o", "k", 1), Expect: 7}}
	if err := s.Commit(t.Context(), &metadata.Batch{Puts: stale, DropSettings: []string{"k"}}); !errors.Is(err, metadata.ErrConflict) {
		t.Fatalf("a batch that is refused: %v", err)
	}
	if _, err := s.Setting(t.Context(), "k"); err != nil {
		t.Errorf("after a batch that is refused: %v", err)
	}
	if err := s.Commit(t.Context(), &metadata.Batch{DropSettings: []string{"k", "absent"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Setting(t.Context(), "k"); !errors.Is(err, metadata.ErrNotFound) {
		t.Errorf("dropped: got %v, want ErrNotFound", err)
	}
}
