package kmip

import (
	"bytes"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"kmipd/kmip/registry"
	"kmipd/kmip/ttlv"
)

type structure interface {
	Decode(ttlv.Item) error
	Append([]byte, ttlv.Tag, Version) []byte
}

// definitions are the registry's structures and payloads by Go name.
func definitions(t testing.TB) map[string]registry.Struct {
	t.Helper()
	r, err := registry.Load()
	if err != nil {
		t.Fatal(err)
	}
	defs := map[string]registry.Struct{}
	add := func(s registry.Struct) { defs[strings.ReplaceAll(s.Ident, "_", "")] = s }
	for _, s := range r.Structs {
		add(s)
	}
	for _, op := range r.Operations {
		add(op.Request)
		add(op.Response)
	}
	return defs
}

const testTag = TagRequestPayload

// filler sets every member of a structure to a value that tells it from the others.
type filler struct {
	defs map[string]registry.Struct
	n    int64
}

func (f *filler) structure(v reflect.Value) {
	def := f.defs[v.Type().Name()]
	for i, m := range def.Members {
		f.value(v.Field(i), ttlv.Tag(m.Tag.Value))
	}
}

func (f *filler) value(v reflect.Value, tag ttlv.Tag) {
	f.n++
	switch x := v.Addr().Interface().(type) {
	case *ttlv.Item:
		*x = ttlv.Make(ttlv.AppendLong(nil, tag, f.n))
		return
	case *time.Time:
		*x = time.Unix(1e9+f.n, 0).UTC()
		return
	case *[]byte:
		*x = []byte(fmt.Sprintf("octets %d", f.n))
		return
	case **big.Int:
		*x = new(big.Int).Lsh(big.NewInt(f.n), 70)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.value(v.Elem(), tag)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		f.value(v.Index(0), tag)
		f.value(v.Index(1), tag)
	case reflect.Struct:
		f.structure(v)
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d", f.n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32, reflect.Int64:
		v.SetInt(f.n)
	case reflect.Uint32:
		v.SetUint(uint64(f.n))
	default:
		panic("no value for " + v.Type().String())
	}
}

func full(defs map[string]registry.Struct, name string) structure {
	s := structures[name]()
	(&filler{defs: defs}).structure(reflect.ValueOf(s).Elem())
	return s
}

func mustParse(t testing.TB, b []byte) ttlv.Item {
	t.Helper()
	it, err := ttlv.Parse(b, ttlv.DefaultLimits)
	if err != nil {
		t.Fatalf("%v\n%x", err, b)
	}
	return it
}

func members(it ttlv.Item) []ttlv.Item { return slices.Collect(it.Members) }

func join(list []ttlv.Item) ttlv.Item {
	b, mark := ttlv.Begin(nil, testTag)
	for _, it := range list {
		b = ttlv.AppendItem(b, it.Tag, it)
	}
	return ttlv.Make(ttlv.End(b, mark))
}

func TestEveryStructureIsTried(t *testing.T) {
	defs := definitions(t)
	for name := range defs {
		if structures[name] == nil {
			t.Errorf("%s is not in the list", name)
		}
	}
	for name, make := range structures {
		if n := reflect.TypeOf(make()).Elem().NumField(); n != len(defs[name].Members) {
			t.Errorf("%s has %d fields, %d members in the registry", name, n, len(defs[name].Members))
		}
	}
}

func TestStructuresRoundTrip(t *testing.T) {
	defs := definitions(t)
	for name, make := range structures {
		want := full(defs, name)
		b := want.Append(nil, testTag, V1_4)
		got := make()
		if err := got.Decode(mustParse(t, b)); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
		if again := got.Append(nil, testTag, V1_4); !bytes.Equal(again, b) {
			t.Errorf("%s re-encodes differently", name)
		}
		// Decode starts from nothing, whatever the structure held before.
		if err := got.Decode(mustParse(t, b)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: decoding twice gives %+v, %v", name, got, err)
		}
	}
}

// What a version does not have is not written for it, what it has is; in the order of the registry.
func TestStructuresByVersion(t *testing.T) {
	for name, def := range definitions(t) {
		s := full(definitions(t), name)
		for _, ver := range Supported {
			var got, want []ttlv.Tag
			for m := range mustParse(t, s.Append(nil, testTag, ver)).Members {
				if len(got) == 0 || got[len(got)-1] != m.Tag {
					got = append(got, m.Tag)
				}
			}
			for _, m := range def.Members {
				if m.First <= ver.String() {
					want = append(want, ttlv.Tag(m.Tag.Value))
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s in %s: got %x, want %x", name, ver, got, want)
			}
		}
	}
}

// Missing, repeated and wrongly typed members are Invalid Message, unknown ones Invalid Field (KMIP 1.4 section 11.1).
func TestStructureErrors(t *testing.T) {
	for name, def := range definitions(t) {
		make := structures[name]
		all := members(mustParse(t, full(definitions(t), name).Append(nil, testTag, V1_4)))
		try := func(what string, list []ttlv.Item, want ResultReason) {
			t.Helper()
			err := make().Decode(join(list))
			switch {
			case want == 0 && err != nil:
				t.Errorf("%s, %s: %v", name, what, err)
			case want != 0 && (err == nil || ReasonOf(err) != want):
				t.Errorf("%s, %s: got %v, want %s", name, what, err, want)
			}
		}
		for _, m := range def.Members {
			tag := ttlv.Tag(m.Tag.Value)
			without := slices.DeleteFunc(slices.Clone(all), func(it ttlv.Item) bool { return it.Tag == tag })
			reason := ResultReason(0)
			if m.Card == '!' {
				reason = ResultReasonInvalidMessage
			}
			try("without "+m.Tag.Name, without, reason)
			var one ttlv.Item
			for _, it := range all {
				if it.Tag == tag {
					one = it
				}
			}
			reason = ResultReasonInvalidMessage
			if m.Card == '*' {
				reason = 0
			}
			try("twice "+m.Tag.Name, append(slices.Clone(all), one), reason)
			if m.As == "Item" {
				continue
			}
			wrong := ttlv.Make(ttlv.AppendInterval(nil, tag, 1))
			if m.Tag.Type == "Interval" {
				wrong = ttlv.Make(ttlv.AppendInt(nil, tag, 1))
			}
			try("wrong type of "+m.Tag.Name, append(without, wrong), ResultReasonInvalidMessage)
		}
		try("unknown tag", append(slices.Clone(all), ttlv.Make(ttlv.AppendInt(nil, TagLogMessage, 1))), ResultReasonInvalidField)
		try("extension tag", append(slices.Clone(all), ttlv.Make(ttlv.AppendInt(nil, 0x540001, 1))), ResultReasonInvalidField)
		slices.Reverse(all) // order is for the writer to keep, and not for the reader to insist on
		try("other order", all, 0)
	}
}

// canonical sorts the members of structures by tag, so that messages in different order compare equal.
func canonical(b []byte, it ttlv.Item) []byte {
	if it.Type != ttlv.Structure {
		return ttlv.AppendItem(b, it.Tag, it)
	}
	list := members(it)
	slices.SortStableFunc(list, func(x, y ttlv.Item) int { return int(x.Tag) - int(y.Tag) })
	b, mark := ttlv.Begin(b, it.Tag)
	for _, m := range list {
		b = canonical(b, m)
	}
	return ttlv.End(b, mark)
}

// lossy tells values that a structure does not keep: an optional Enumeration of 0 stands for its absence, and a Big
// Integer loses sign octets that it does not need.
func lossy(it ttlv.Item) bool {
	switch it.Type {
	case ttlv.Structure:
		return slices.ContainsFunc(members(it), lossy)
	case ttlv.Enumeration:
		return it.Enum() == 0
	case ttlv.BigInteger:
		return len(ttlv.AppendBigInt(nil, it.Tag, it.BigInt())) != it.Size()
	}
	return false
}

// FuzzStructures: nothing panics; what decodes encodes to the same members.
func FuzzStructures(f *testing.F) {
	defs := definitions(f)
	names := slices.Sorted(func(yield func(string) bool) {
		for name := range structures {
			if !yield(name) {
				return
			}
		}
	})
	for i, name := range names {
		f.Add(uint8(i), full(defs, name).Append(nil, testTag, V1_4))
		f.Add(uint8(i), full(defs, name).Append(nil, testTag, V1_0))
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		name := names[int(which)%len(names)]
		it, err := ttlv.Parse(b, ttlv.DefaultLimits)
		if err != nil {
			return
		}
		s := structures[name]()
		if err := s.Decode(it); err != nil {
			if _, ok := err.(*Error); !ok {
				t.Fatalf("%s: error of type %T", name, err)
			}
			return
		}
		again := s.Append(nil, it.Tag, V1_4)
		back := mustParse(t, again)
		if it.Type == ttlv.Structure && !lossy(it) && !bytes.Equal(canonical(nil, it), canonical(nil, back)) {
			t.Fatalf("%s re-encodes differently\n%x\n%x", name, b, again)
		}
		s2 := structures[name]()
		if err := s2.Decode(back); err != nil {
			t.Fatalf("%s does not read what it wrote: %v", name, err)
		}
		if third := s2.Append(nil, it.Tag, V1_4); !bytes.Equal(third, again) {
			t.Fatalf("%s is not stable\n%x\n%x", name, again, third)
		}
	})
}

func BenchmarkDecodeTemplateAttribute(b *testing.B) {
	tmpl := &TemplateAttribute{}
	for _, name := range []string{"Cryptographic Algorithm", "Cryptographic Length", "Cryptographic Usage Mask", "Name"} {
		tmpl.Attribute = append(tmpl.Attribute, Attribute{AttributeName: name, AttributeValue: ttlv.Make(ttlv.AppendInt(nil, TagAttributeValue, 12))})
	}
	it := ttlv.Make(tmpl.Append(nil, TagTemplateAttribute, V1_4))
	b.ReportAllocs()
	for b.Loop() {
		var v TemplateAttribute
		if err := v.Decode(it); err != nil {
			b.Fatal(err)
		}
	}
}
