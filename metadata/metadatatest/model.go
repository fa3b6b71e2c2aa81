package metadatatest

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
	"kmipd/metadata"
)

// Model is a store that is plainly right: it looks at every record for every question.
type Model struct {
	Records map[string]*metadata.Record
}

// NewModel is an empty model.
func NewModel() *Model { return &Model{Records: make(map[string]*metadata.Record)} }

// Clone is a deep copy.
func (m *Model) Clone() *Model {
	c := NewModel()
	for uid, r := range m.Records {
		c.Records[uid] = r.Clone()
	}
	return c
}

// Apply makes the change, or returns the errors of which a store must give one.
func (m *Model) Apply(b *metadata.Batch) []error {
	next := m.Clone()
	var refused []error
	expect := func(uid string, want uint64, isPut bool) {
		old := m.Records[uid]
		switch {
		case old == nil && (want != 0 || !isPut), old != nil && want != 0 && old.Revision != want, old != nil && want == 0 && !isPut:
			refused = append(refused, metadata.ErrConflict)
		case old != nil && want == 0:
			refused = append(refused, metadata.ErrExists)
		}
	}
	for _, p := range b.Puts {
		expect(p.Record.UID, p.Expect, true)
		next.Records[p.Record.UID] = p.Record.Clone()
		next.Records[p.Record.UID].Revision = p.Expect + 1
	}
	for _, d := range b.Deletes {
		expect(d.UID, d.Expect, false)
		delete(next.Records, d.UID)
	}
	held := make(map[[2]string]string)
	for uid, r := range next.Records {
		if r.Phase != metadata.PhaseLive {
			continue
		}
		for _, n := range r.Names() {
			k := [2]string{r.Owner, n}
			if other, ok := held[k]; ok && other != uid {
				refused = append(refused, new(metadata.NameTakenError))
			}
			held[k] = uid
		}
	}
	if refused == nil {
		m.Records = next.Records
	}
	return refused
}

// filter is a Locate filter: the attribute has an instance with all the members, or the value, of this one.
type filter struct {
	attr  string
	value ttlv.Item
}

func (f filter) matches(r *metadata.Record) bool {
	if f.attr == "Object Type" {
		return uint32(r.ObjectType) == f.value.Enum()
	}
	return slices.ContainsFunc(r.Attributes, func(a metadata.Attribute) bool {
		if a.Name != f.attr {
			return false
		}
		if f.value.Type != ttlv.Structure {
			return a.Value.Equal(f.value)
		}
		for want := range f.value.Members {
			if !a.Value.Find(want.Tag).Equal(want) {
				return false
			}
		}
		return true
	})
}

// pools of values that collide often, with octets that are awkward in keys.
var (
	owners   = []string{"a", "b", "", "a\x00b", "a\x00"}
	names    = []string{"n", "n\x00", "n\x00\x01", "\x00", "", "ü", "m", "k"}
	phases   = []metadata.Phase{metadata.PhaseLive, metadata.PhaseLive, metadata.PhaseLive, metadata.PhaseDestroying, metadata.PhaseDestroyed}
	optional = []metadata.Attribute{
		{Name: "Object Group", Value: Text("g")},
		{Name: "Object Group", Value: Text("g\x00")},
		{Name: "Cryptographic Algorithm", Value: Enum(3)},
		{Name: "Cryptographic Algorithm", Value: Enum(4)},
		{Name: "Cryptographic Length", Value: Integer(256)},
		{Name: "Link", Value: Link(1, "u1")},
		{Name: "Link", Value: Link(2, "u1")},
		{Name: "Link", Value: Link(2, "u2")},
		{Name: "Application Specific Information", Value: Application("ns", "d")},
		{Name: "Application Specific Information", Value: Application("ns", "")},
		{Name: "Application Specific Information", Value: Application("nsd", "")},
		{Name: "Digest", Value: Digest([]byte("0123456789"))},
		{Name: "x-a", Value: Integer(1)},
		{Name: "x-a", Value: Enum(1)},
		{Name: "x-a", Value: Text(string(make([]byte, 300)))},
		{Name: "y-b", Value: Date(Epoch)},
		{Name: "Cryptographic Usage Mask", Value: Integer(3)},
	}
)

func filters() []filter {
	out := []filter{
		{"Object Type", Enum(1)}, {"Object Type", Enum(2)},
		{"Link", Structure(ttlv.AppendText(nil, kmip.TagLinkedObjectIdentifier, "u1"))},
		{"Application Specific Information", Structure(ttlv.AppendText(nil, kmip.TagApplicationNamespace, "ns"))},
		{"Digest", Structure(ttlv.AppendBytes(nil, kmip.TagDigestValue, []byte("0123456789")))},
	}
	for _, n := range names {
		out = append(out, filter{"Name", Structure(ttlv.AppendText(nil, kmip.TagNameValue, n))})
	}
	for _, a := range optional {
		if a.Name != "Digest" && a.Name != "Cryptographic Usage Mask" { // their terms are wider than the whole value, or none
			out = append(out, filter{a.Name, a.Value})
		}
	}
	return out
}

func pick[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

// RandomRecord is a record with values that collide with those of others.
func RandomRecord(rng *rand.Rand, uid string) *metadata.Record {
	r := &metadata.Record{
		UID: uid, Owner: pick(rng, owners), Phase: pick(rng, phases), ObjectType: kmip.ObjectType(1 + rng.IntN(2)),
		Created: Epoch.Add(time.Duration(rng.IntN(4)) * time.Nanosecond), Frame: []byte{byte(rng.IntN(256))},
	}
	for range rng.IntN(4) {
		r.Attributes = append(r.Attributes, pick(rng, optional))
	}
	for range rng.IntN(3) {
		r.Attributes = append(r.Attributes, metadata.Attribute{Name: "Name", Value: Name(pick(rng, names))})
	}
	if rng.IntN(2) == 0 {
		r.Due = Epoch.Add(time.Duration(rng.IntN(5)) * time.Second)
	}
	return r
}

// RandomBatch changes one to four records of the model. Most batches are acceptable.
func RandomBatch(rng *rand.Rand, m *Model) *metadata.Batch {
	b := new(metadata.Batch)
	used := make(map[string]bool)
	for range 1 + rng.IntN(4) {
		uid := fmt.Sprintf("u%d", rng.IntN(25))
		if rng.IntN(10) == 0 {
			uid += "\x00"
		}
		if used[uid] {
			continue
		}
		used[uid] = true
		var expect uint64
		if old := m.Records[uid]; old != nil {
			expect = old.Revision
		}
		if rng.IntN(20) == 0 {
			expect = uint64(rng.IntN(3))
		}
		if rng.IntN(6) == 0 {
			b.Deletes = append(b.Deletes, metadata.Delete{UID: uid, Expect: expect})
		} else {
			b.Puts = append(b.Puts, metadata.Put{Record: RandomRecord(rng, uid), Expect: expect})
		}
	}
	return b
}

// Agree fails unless the store's error is one of those that the model wants.
func Agree(t testing.TB, err error, want []error) {
	t.Helper()
	if err == nil && want == nil {
		return
	}
	for _, w := range want {
		var taken *metadata.NameTakenError
		if errors.Is(err, w) || errors.As(w, &taken) && errors.As(err, &taken) {
			return
		}
	}
	t.Fatalf("Commit: got %v, want one of %v", err, want)
}

// RandomBatches applies batches to the store and the model and compares what they hold.
func RandomBatches(t testing.TB, s metadata.Store, m *Model, seed uint64, steps int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	for i := range steps {
		b := RandomBatch(rng, m)
		Agree(t, s.Commit(t.Context(), b), m.Apply(b))
		if i%20 == 19 || i == steps-1 {
			Compare(t, s, m, rng)
		}
	}
}

// Compare asks the store all that the model knows, and random queries.
func Compare(t testing.TB, s metadata.Store, m *Model, rng *rand.Rand) {
	t.Helper()
	uids := slices.Sorted(maps.Keys(m.Records))
	var walked []string
	err := s.Records(t.Context(), func(r *metadata.Record) error {
		walked = append(walked, r.UID)
		if want := m.Records[r.UID]; want == nil || !Same(r, want) {
			return fmt.Errorf("record %q: got %+v, want %+v", r.UID, r, want)
		}
		return nil
	})
	if err != nil || !slices.Equal(walked, uids) {
		t.Fatalf("Records: got %q, %v, want %q", walked, err, uids)
	}
	compareNames(t, s, m)
	compareDue(t, s, m)
	fs := filters()
	for range 40 {
		q := metadata.Query{Owner: pick(rng, owners), Destroyed: rng.IntN(4) == 0, Oldest: rng.IntN(2) == 0,
			Offset: rng.IntN(3), Max: rng.IntN(6) - 1, Count: rng.IntN(2) == 0}
		var asked []filter
		for range rng.IntN(4) {
			f := pick(rng, fs)
			term, ok := metadata.QueryTerm(f.attr, f.value)
			if !ok {
				t.Fatalf("no term for %s", f.attr)
			}
			asked = append(asked, f)
			q.Terms = append(q.Terms, term)
		}
		odd := func(r *metadata.Record) bool { return r.Frame[0]%2 == 1 }
		if rng.IntN(3) == 0 {
			q.Match = odd
		}
		got, err := s.Locate(t.Context(), q)
		if want := m.locate(q, asked); err != nil || !slices.Equal(got.UIDs, want.UIDs) || got.Total != want.Total {
			t.Fatalf("Locate(%+v, %v)\n got %+v, %v\nwant %+v", q, asked, got, err, want)
		}
	}
}

func compareNames(t testing.TB, s metadata.Store, m *Model) {
	t.Helper()
	for _, owner := range owners {
		for _, name := range names {
			var want string
			for uid, r := range m.Records {
				if r.Owner == owner && r.Phase == metadata.PhaseLive && slices.Contains(r.Names(), name) {
					want = uid
				}
			}
			got, err := s.ByName(t.Context(), owner, name)
			if got != want || (want == "") != errors.Is(err, metadata.ErrNotFound) {
				t.Fatalf("ByName(%q, %q): got %q, %v, want %q", owner, name, got, err, want)
			}
		}
	}
}

func compareDue(t testing.TB, s metadata.Store, m *Model) {
	t.Helper()
	until := Epoch.Add(2 * time.Second)
	var want []string
	for uid, r := range m.Records {
		if !r.Due.IsZero() && !r.Due.After(until) {
			want = append(want, uid)
		}
	}
	slices.SortFunc(want, func(a, b string) int {
		return cmp.Or(m.Records[a].Due.Compare(m.Records[b].Due), cmp.Compare(a, b))
	})
	if got, err := s.Due(t.Context(), until, -1); err != nil || !slices.Equal(got, want) {
		t.Fatalf("Due: got %q, %v, want %q", got, err, want)
	}
	phases := make(map[metadata.Phase]int)
	for _, r := range m.Records {
		phases[r.Phase]++
	}
	got, err := s.Count(t.Context())
	for _, p := range []metadata.Phase{metadata.PhaseLive, metadata.PhaseDestroying, metadata.PhaseDestroyed} {
		if err != nil || got[p] != phases[p] {
			t.Fatalf("Count: got %v, %v, want %v", got, err, phases)
		}
	}
}

func (m *Model) locate(q metadata.Query, asked []filter) (res metadata.Result) {
	var found []string
	for uid, r := range m.Records {
		if r.Owner != q.Owner || q.Destroyed == (r.Phase == metadata.PhaseLive) || q.Match != nil && !q.Match(r) {
			continue
		}
		if !slices.ContainsFunc(asked, func(f filter) bool { return !f.matches(r) }) {
			found = append(found, uid)
		}
	}
	slices.SortFunc(found, func(a, b string) int {
		return cmp.Or(m.Records[b].Created.Compare(m.Records[a].Created), cmp.Compare(a, b))
	})
	if q.Oldest {
		slices.Reverse(found)
	}
	if q.Count {
		res.Total = len(found)
	}
	found = found[min(q.Offset, len(found)):]
	if q.Max >= 0 {
		found = found[:min(q.Max, len(found))]
	}
	res.UIDs = found
	return res
}
