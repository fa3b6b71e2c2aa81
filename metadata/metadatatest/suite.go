package metadatatest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"kmipd/kmip"
	"kmipd/metadata"
)

// Run runs the suite. newStore gives an empty store that it closes itself.
func Run(t *testing.T, newStore func(t *testing.T) metadata.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, metadata.Store)
	}{
		{"records come back as they were put", testRoundTrip},
		{"commit checks revisions", testRevisions},
		{"commit keeps names unique", testNames},
		{"locate pages and orders", testLocatePages},
		{"locate combines terms", testLocateTerms},
		{"due", testDue},
		{"intents", testIntents},
		{"records and counts", testRecords},
		{"jobs", testJobs},
		{"deliveries", testDeliveries},
		{"audit", testAudit},
		{"clients", testClients},
		{"pending certificates are bounded", testPending},
		{"settings", testSettings},
		{"contexts end calls", testContext},
		{"random batches", func(t *testing.T, s metadata.Store) { RandomBatches(t, s, NewModel(), 1, 300) }},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, newStore(t)) })
	}
}

func testRoundTrip(t *testing.T, s metadata.Store) {
	full := Key("owner", "full", 3, "n1", "n2")
	full.User, full.Due = "user", Epoch.Add(time.Hour+3)
	bare := &metadata.Record{UID: "a\x00b\xff", Phase: metadata.PhaseLive}
	Put(t, s, full, bare)
	for _, want := range []*metadata.Record{full, bare} {
		if want.Revision != 1 {
			t.Errorf("Revision after the first commit is %d, want 1", want.Revision)
		}
		for n := range 3 { // a store may answer otherwise what it was asked before
			got, err := s.Get(t.Context(), want.UID)
			if err != nil {
				t.Fatalf("Get(%q): %v", want.UID, err)
			}
			if !Same(got, want) {
				t.Errorf("Get(%q) after %d answers were overwritten\n got %+v\nwant %+v", want.UID, n, got, want)
			}
			for i, a := range got.Attributes { // the memory is ours
				clear(a.Value.Value)
				got.Attributes[i].Name = "overwritten"
			}
			clear(got.Frame)
			got.Owner, got.Phase = "overwritten", metadata.PhaseDestroyed
		}
	}
	if _, err := s.Get(t.Context(), "absent"); !errors.Is(err, metadata.ErrNotFound) {
		t.Errorf("Get of an absent record: got %v, want ErrNotFound", err)
	}
}

// Same compares records; the tags of attribute values do not matter.
func Same(a, b *metadata.Record) bool {
	x, y := a.Clone(), b.Clone()
	for _, r := range []*metadata.Record{x, y} {
		for i := range r.Attributes {
			r.Attributes[i].Value.Tag = kmip.TagAttributeValue
		}
		if len(r.Attributes) == 0 {
			r.Attributes = nil
		}
	}
	return reflect.DeepEqual(x, y)
}

func testRevisions(t *testing.T, s metadata.Store) {
	Put(t, s, Key("o", "one", 1), Key("o", "two", 2))
	put := func(uid string, expect uint64) metadata.Put {
		return metadata.Put{Record: Key("o", uid, 9), Expect: expect}
	}
	for _, c := range []struct {
		name  string
		batch metadata.Batch
		want  error
	}{
		{"exists", metadata.Batch{Puts: []metadata.Put{put("one", 0)}}, metadata.ErrExists},
		{"older revision", metadata.Batch{Puts: []metadata.Put{put("one", 7)}}, metadata.ErrConflict},
		{"gone", metadata.Batch{Puts: []metadata.Put{put("none", 1)}}, metadata.ErrConflict},
		{"delete at another revision", metadata.Batch{Deletes: []metadata.Delete{{UID: "one", Expect: 2}}}, metadata.ErrConflict},
		{"delete what is gone", metadata.Batch{Deletes: []metadata.Delete{{UID: "none", Expect: 1}}}, metadata.ErrConflict},
		{"one good, one bad", metadata.Batch{Puts: []metadata.Put{put("new", 0), put("two", 5)}}, metadata.ErrConflict},
		{"good", metadata.Batch{Puts: []metadata.Put{put("one", 1)}, Deletes: []metadata.Delete{{UID: "two", Expect: 1}}}, nil},
	} {
		if err := s.Commit(t.Context(), &c.batch); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
		if c.want != nil && len(c.batch.Puts) > 0 && c.batch.Puts[0].Record.Revision != 0 {
			t.Errorf("%s: a refused commit set Revision", c.name)
		}
	}
	if r, err := s.Get(t.Context(), "one"); err != nil || r.Revision != 2 {
		t.Errorf("one: got %+v, %v, want revision 2", r, err)
	}
	for _, uid := range []string{"two", "new"} {
		if _, err := s.Get(t.Context(), uid); !errors.Is(err, metadata.ErrNotFound) {
			t.Errorf("%s: got %v, want ErrNotFound", uid, err)
		}
	}
	for name, b := range map[string]metadata.Batch{
		"no record":     {Puts: []metadata.Put{{}}},
		"no identifier": {Puts: []metadata.Put{{Record: &metadata.Record{Phase: metadata.PhaseLive}}}},
		"no phase":      {Puts: []metadata.Put{{Record: &metadata.Record{UID: "u"}}}},
		"no value": {Puts: []metadata.Put{{Record: &metadata.Record{UID: "u", Phase: metadata.PhaseLive,
			Attributes: []metadata.Attribute{{Name: "x-1"}}}}}},
		"twice": {Puts: []metadata.Put{put("t", 0), put("t", 0)}},
	} {
		if err := s.Commit(t.Context(), &b); err == nil {
			t.Errorf("a batch with %s: got no error", name)
		}
	}
	if err := s.Commit(t.Context(), &metadata.Batch{}); err != nil {
		t.Errorf("an empty batch: %v", err)
	}
}

func testNames(t *testing.T, s metadata.Store) {
	a, b := Key("o", "a", 1, "n1", "n2"), Key("o", "b", 2, "n3")
	Put(t, s, a, b, Key("other", "c", 3, "n1"))
	refused := func(what string, holder, name string, puts ...metadata.Put) {
		t.Helper()
		err := s.Commit(t.Context(), &metadata.Batch{Puts: puts})
		var taken *metadata.NameTakenError
		if !errors.As(err, &taken) {
			t.Fatalf("%s: got %v, want a NameTakenError", what, err)
		}
		if taken.UID != holder || taken.Name != name || taken.Owner != "o" {
			t.Errorf("%s: got %+v, want holder %s of %s", what, taken, holder, name)
		}
	}
	holds := func(owner, name, want string) {
		t.Helper()
		got, err := s.ByName(t.Context(), owner, name)
		if want == "" && !errors.Is(err, metadata.ErrNotFound) || want != "" && (err != nil || got != want) {
			t.Errorf("ByName(%s, %s): got %q, %v, want %q", owner, name, got, err, want)
		}
	}
	holds("o", "n2", "a")
	holds("other", "n1", "c")
	refused("new record", "a", "n2", metadata.Put{Record: Key("o", "d", 4, "n2")})
	refused("changed record", "a", "n1", metadata.Put{Record: WithNames(b.Clone(), "n1"), Expect: 1})
	refused("twice in a batch", "d", "n9", metadata.Put{Record: Key("o", "d", 4, "n9")}, metadata.Put{Record: Key("o", "e", 5, "n9")})

	Put(t, s, WithNames(a, "n3", "n2"), WithNames(b, "n1")) // swap
	holds("o", "n3", "a")
	holds("o", "n1", "b")
	Put(t, s, WithNames(a, "n2"), Key("o", "d", 4, "n3")) // hand over to a new record
	holds("o", "n3", "d")

	b.Phase = metadata.PhaseDestroying
	Put(t, s, b)
	holds("o", "n1", "")
	Put(t, s, Key("o", "e", 5, "n1"))
	b.Phase = metadata.PhaseDestroyed
	Put(t, s, b) // still lists n1, which is no longer its own
	holds("o", "n1", "e")
	b.Phase = metadata.PhaseLive
	refused("back to life", "e", "n1", metadata.Put{Record: b, Expect: b.Revision})
	if err := s.Commit(t.Context(), &metadata.Batch{Deletes: []metadata.Delete{{UID: "e", Expect: 1}}}); err != nil {
		t.Fatal(err)
	}
	holds("o", "n1", "")
	Put(t, s, b)
	holds("o", "n1", "b")
}

func testLocatePages(t *testing.T, s metadata.Store) {
	var newest []string
	for i := range 150 {
		uid := fmt.Sprintf("k%03d", i)
		Put(t, s, Key("o", uid, i/2), Key("o2", uid+"x", i)) // two of each instant
		newest = append(newest, uid)
	}
	slices.SortFunc(newest, func(a, b string) int {
		var i, j int
		_, _ = fmt.Sscanf(a, "k%d", &i)
		_, _ = fmt.Sscanf(b, "k%d", &j)
		if i/2 != j/2 {
			return j/2 - i/2
		}
		return i - j
	})
	oldest := slices.Clone(newest)
	slices.Reverse(oldest)
	for _, c := range []struct {
		q    metadata.Query
		want []string
	}{
		{metadata.Query{Max: -1}, newest},
		{metadata.Query{Max: -1, Oldest: true}, oldest},
		{metadata.Query{Max: 10, Offset: 20}, newest[20:30]},
		{metadata.Query{Max: 10, Offset: 145, Oldest: true}, oldest[145:]},
		{metadata.Query{Max: 5, Offset: 500}, nil},
		{metadata.Query{Max: 0}, nil},
	} {
		c.q.Owner = "o"
		for _, count := range []bool{false, true} {
			c.q.Count = count
			got, err := s.Locate(t.Context(), c.q)
			if err != nil || !slices.Equal(got.UIDs, c.want) {
				t.Errorf("%+v: got %v, %v, want %v", c.q, got.UIDs, err, c.want)
			}
			if want := map[bool]int{true: 150}[count]; got.Total != want {
				t.Errorf("%+v: total %d, want %d", c.q, got.Total, want)
			}
		}
	}
}

func testLocateTerms(t *testing.T, s metadata.Store) {
	add := func(r *metadata.Record, as ...metadata.Attribute) *metadata.Record {
		r.Attributes = append(r.Attributes, as...)
		return r
	}
	long := string(slices.Repeat([]byte("long"), 100))
	Put(t, s,
		add(Key("o", "a", 1, "n"), metadata.Attribute{Name: "Link", Value: Link(1, "b")}, metadata.Attribute{Name: "x-t", Value: Text(long)}),
		add(Key("o", "b", 2), metadata.Attribute{Name: "Link", Value: Link(2, "b")}, metadata.Attribute{Name: "x-t", Value: Integer(7)}),
		add(Key("o", "c", 3), metadata.Attribute{Name: "Application Specific Information", Value: Application("ns", "d1")},
			metadata.Attribute{Name: "Application Specific Information", Index: 1, Value: Application("ns", "d2")}))
	gone := Key("o", "d", 4, "n4")
	Put(t, s, gone)
	gone.Phase = metadata.PhaseDestroyed
	Put(t, s, gone)
	term := func(attr string, v metadata.Attribute) metadata.Term {
		tm, ok := metadata.QueryTerm(attr, v.Value)
		if !ok {
			t.Fatalf("no term for %s", attr)
		}
		return tm
	}
	of := func(attr string, v any) metadata.Term {
		switch v := v.(type) {
		case string:
			return term(attr, metadata.Attribute{Value: Text(v)})
		case int:
			return term(attr, metadata.Attribute{Value: Integer(int32(v))})
		case metadata.Attribute:
			return term(attr, v)
		}
		return metadata.Term{}
	}
	never := func(*metadata.Record) bool { return false }
	for _, c := range []struct {
		name string
		q    metadata.Query
		want []string
	}{
		{"type", metadata.Query{Terms: []metadata.Term{metadata.ObjectTypeTerm(kmip.ObjectTypeSymmetricKey)}}, []string{"c", "b", "a"}},
		{"name", metadata.Query{Terms: []metadata.Term{metadata.NameTerm("n")}}, []string{"a"}},
		{"name of a destroyed record", metadata.Query{Terms: []metadata.Term{metadata.NameTerm("n4")}}, nil},
		{"destroyed", metadata.Query{Destroyed: true, Terms: []metadata.Term{metadata.NameTerm("n4")}}, []string{"d"}},
		{"link by identifier", metadata.Query{Terms: []metadata.Term{of("Link", metadata.Attribute{Value: Structure(Link(0, "b").Value[16:])})}}, []string{"b", "a"}},
		{"link by both", metadata.Query{Terms: []metadata.Term{of("Link", metadata.Attribute{Value: Link(1, "b")})}}, []string{"a"}},
		{"long custom text", metadata.Query{Terms: []metadata.Term{of("x-t", long)}}, []string{"a"}},
		{"custom integer", metadata.Query{Terms: []metadata.Term{of("x-t", 7)}}, []string{"b"}},
		{"two instances", metadata.Query{Terms: []metadata.Term{
			of("Application Specific Information", metadata.Attribute{Value: Application("ns", "d1")}),
			of("Application Specific Information", metadata.Attribute{Value: Application("ns", "d2")})}}, []string{"c"}},
		{"nothing in common", metadata.Query{Terms: []metadata.Term{metadata.NameTerm("n"), of("x-t", 7)}}, nil},
		{"same term twice", metadata.Query{Terms: []metadata.Term{metadata.NameTerm("n"), metadata.NameTerm("n")}}, []string{"a"}},
		{"match refuses", metadata.Query{Terms: []metadata.Term{metadata.NameTerm("n")}, Match: never}, nil},
		{"match decides", metadata.Query{Match: func(r *metadata.Record) bool { return r.UID != "b" }}, []string{"c", "a"}},
		{"another owner", metadata.Query{Owner: "p", Terms: []metadata.Term{metadata.NameTerm("n")}}, nil},
	} {
		if c.q.Owner == "" {
			c.q.Owner = "o"
		}
		c.q.Max = -1
		if got, err := s.Locate(t.Context(), c.q); err != nil || !slices.Equal(got.UIDs, c.want) {
			t.Errorf("%s: got %v, %v, want %v", c.name, got.UIDs, err, c.want)
		}
	}
}

func testContext(t *testing.T, s metadata.Store) {
	Put(t, s, Key("o", "a", 1, "n"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	calls := map[string]error{}
	_, calls["Get"] = s.Get(ctx, "a")
	_, calls["ByName"] = s.ByName(ctx, "o", "n")
	_, calls["Locate"] = s.Locate(ctx, metadata.Query{Owner: "o", Max: -1})
	calls["Commit"] = s.Commit(ctx, &metadata.Batch{Puts: []metadata.Put{{Record: Key("o", "b", 1)}}})
	calls["Records"] = s.Records(ctx, func(*metadata.Record) error { return nil })
	for name, err := range calls {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want context.Canceled", name, err)
		}
	}
	if _, err := s.Get(t.Context(), "b"); !errors.Is(err, metadata.ErrNotFound) {
		t.Errorf("a commit that the context ended left a record: %v", err)
	}
}
