package compare

import (
	"bytes"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"kmipd/softhsm-tests/internal/oasis"
	"kmipd/softhsm-tests/internal/rawttlv"
	"kmipd/softhsm-tests/internal/registry"
)

var noon = time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)

func load(t *testing.T) (string, *registry.Registry, oasis.Selection) {
	t.Helper()
	shared := registry.Shared(t)
	reg, err := registry.Load(shared, "1.4")
	if err != nil {
		t.Fatal(err)
	}
	all, err := oasis.Manifest(shared)
	if err != nil {
		t.Fatal(err)
	}
	return shared, reg, oasis.Select(all, oasis.Versions, oasis.Operations)
}

// model answers each request with the response of the case itself, variables filled in.
type model struct {
	vars map[oasis.Var]any
	tags tagSet
}

func (m *model) answer(n *rawttlv.Node) *rawttlv.Node {
	c := *n
	c.Children = nil
	if v, ok := n.Value.(oasis.Var); ok {
		c.Value = m.valueOf(v)
	}
	if n.Tag == m.tags.timeStamp {
		c.Value = noon
	}
	for _, k := range n.Children {
		c.Children = append(c.Children, m.answer(k))
	}
	return &c
}

func (m *model) valueOf(v oasis.Var) any {
	if strings.HasPrefix(string(v), "$NOW") {
		offset, _ := time.ParseDuration(strings.TrimPrefix(string(v), "$NOW") + "s")
		return noon.Add(offset)
	}
	if _, ok := m.vars[v]; !ok {
		if strings.HasPrefix(string(v), "$KEY") {
			m.vars[v] = []byte("some octets")
		} else {
			m.vars[v] = fmt.Sprintf("id-%d-%s", len(m.vars), v[1:])
		}
	}
	return m.vars[v]
}

// replay plays a group against the model; change may spoil the answers.
func replay(shared string, reg *registry.Registry, g oasis.Group, change func(step int, got *rawttlv.Node)) (int, *Diff, error) {
	s := NewSession(reg)
	s.now = func() time.Time { return noon }
	step := 0
	for _, e := range g {
		exchanges, err := oasis.Load(shared, e, reg)
		if err != nil {
			return step, nil, err
		}
		s.NextFile()
		m := model{map[oasis.Var]any{}, s.tags}
		for _, x := range exchanges {
			if _, err := s.Request(x.Request); err != nil {
				return step, nil, err
			}
			got := m.answer(x.Response)
			change(step, got)
			if d := s.Response(x.Response, got); d != nil {
				return step, d, nil
			}
			step++
		}
	}
	return step, nil, nil
}

// TestExpectedAnswersPass plays every case against its own responses.
func TestExpectedAnswersPass(t *testing.T) {
	shared, reg, s := load(t)
	sha1 := map[string]bool{}
	for _, g := range s.Groups {
		if g[0].Name == "TC-SJ-4-14" {
			continue // contradicts itself: the answer for part 4 has the identifier of part 1
		}
		if _, d, err := replay(shared, reg, g, func(int, *rawttlv.Node) {}); d != nil || err != nil {
			if d != nil && strings.HasSuffix(d.Path, "Attribute(Digest)") {
				sha1[g[0].Name] = true
				continue
			}
			t.Errorf("%s: %v %v", g[0].Name, d, err)
		}
	}
	t.Logf("%d cases show no SHA-256 digest", len(sha1))
}

// TestEveryChangeIsSeen changes one value at a time in the answers of a few cases: each change must be a difference,
// except for the values that the rules leave open.
func TestEveryChangeIsSeen(t *testing.T) {
	shared, reg, s := load(t)
	open := map[string]bool{"TimeStamp": true, "ResultMessage": true, "KeyMaterial": true, "KeyValue": true}
	changes := 0
	for _, g := range s.Groups {
		switch g[0].Name {
		case "SKLC-M-3-14", "SKFF-M-9-10", "TC_131_10_Register_an_Asymmetric_Key_Pair_in_PKCS1_Format", "TL-M-1-14":
		default:
			continue
		}
		steps, d, err := replay(shared, reg, g, func(int, *rawttlv.Node) {})
		if d != nil || err != nil {
			t.Fatalf("%s: %v, %v", g[0].Name, d, err)
		}
		for at := range steps {
			for leaf := 0; ; leaf++ {
				var changed *rawttlv.Node
				_, d, err := replay(shared, reg, g, func(step int, got *rawttlv.Node) {
					if step == at {
						changed = spoil(got, leaf)
					}
				})
				if changed == nil {
					break
				}
				changes++
				name := reg.TagName(changed.Tag)
				if d == nil && err == nil && !open[name] && !identifier(name) && changed.Type != rawttlv.DateTime &&
					!strings.HasPrefix(name, "Digest") && !queried(name) {
					t.Errorf("%s: step %d: changed %s and nobody noticed", g[0].Name, at, name)
				}
			}
		}
	}
	if changes < 200 {
		t.Errorf("only %d changes tried", changes)
	}
}

// An identifier that is changed where it appears for the first and last time cannot be noticed.
func identifier(name string) bool { return strings.HasSuffix(name, "UniqueIdentifier") }

// queried are values of Query answers that are the vendor's.
func queried(name string) bool { return name == "VendorIdentification" || name == "ServerInformation" }

// spoil changes the leaf with the number and returns it, or nil after the last one.
func spoil(n *rawttlv.Node, leaf int) *rawttlv.Node {
	var hit *rawttlv.Node
	inGenerator := map[*rawttlv.Node]bool{} // values of a Random Number Generator attribute, which may differ
	n.Walk(func(k *rawttlv.Node) {
		if len(k.Children) == 2 && k.Children[0].Value == "Random Number Generator" {
			k.Children[1].Walk(func(v *rawttlv.Node) { inGenerator[v] = true })
		}
	})
	n.Walk(func(k *rawttlv.Node) {
		if k.Type == rawttlv.Structure || inGenerator[k] {
			return
		}
		if leaf == 0 {
			hit = k
		}
		leaf--
	})
	if hit == nil {
		return nil
	}
	switch v := hit.Value.(type) {
	case int32:
		hit.Value = v + 1
	case int64:
		hit.Value = v + 1
	case uint32:
		hit.Value = v + 1
	case bool:
		hit.Value = !v
	case string:
		hit.Value = v + "x"
	case []byte:
		hit.Value = append(bytes.Clone(v), 1)
	case time.Time:
		hit.Value = v.Add(time.Hour)
	case *big.Int:
		hit.Value = new(big.Int).Add(v, big.NewInt(1))
	}
	return hit
}

// TestDifferences checks structure: missing, extra, repeated and disordered fields.
func TestDifferences(t *testing.T) {
	_, reg, _ := load(t)
	const request = `<RequestMessage><BatchItem><Operation type="Enumeration" value="%s"/><RequestPayload>
		<UniqueIdentifier type="TextString" value="u"/>%s</RequestPayload></BatchItem></RequestMessage>`
	const response = `<ResponseMessage><BatchItem><Operation type="Enumeration" value="%s"/>
		<ResultStatus type="Enumeration" value="Success"/><ResponsePayload>%s</ResponsePayload></BatchItem></ResponseMessage>`
	id := `<UniqueIdentifier type="TextString" value="u"/>`
	attr := func(name, value string) string {
		return `<Attribute><AttributeName type="TextString" value="` + name + `"/><AttributeValue type="TextString" value="` + value + `"/></Attribute>`
	}
	ask := `<AttributeName type="TextString" value="x-a"/><AttributeName type="TextString" value="x-b"/>`
	list := func(names ...string) string {
		out := id
		for _, n := range names {
			out += `<AttributeName type="TextString" value="` + n + `"/>`
		}
		return out
	}
	for _, c := range []struct{ name, op, ask, want, got, diff string }{
		{"same", "GetAttributes", ask, id + attr("x-a", "1"), id + attr("x-a", "1"), ""},
		{"any order", "GetAttributes", ask, id + attr("x-a", "1") + attr("x-b", "2"), id + attr("x-b", "2") + attr("x-a", "1"), ""},
		{"not asked for", "GetAttributes", ask, id + attr("x-a", "1"), id + attr("x-a", "1") + attr("x-c", "1"), "Attribute(x-c): got an attribute"},
		{"extra when all are asked", "GetAttributes", "", id + attr("x-a", "1"), id + attr("x-a", "1") + attr("x-c", "1"), ""},
		{"missing", "GetAttributes", ask, id + attr("x-a", "1"), id, "BatchItem[0]/ResponsePayload/Attribute(x-a): missing"},
		{"wrong value", "GetAttributes", ask, id + attr("x-a", "1"), id + attr("x-a", "2"), `Attribute(x-a)/AttributeValue: got "2", want "1"`},
		{"identifier after attributes", "GetAttributes", ask, id + attr("x-a", "1"), attr("x-a", "1") + id, "comes after"},
		{"list superset", "GetAttributeList", "", list("x-a"), list("x-b", "x-a"), ""},
		{"list lacks one", "GetAttributeList", "", list("x-a", "x-b"), list("x-b"), "missing"},
		{"list lacks the group of another server", "GetAttributeList", "", list("x-a", "Object Group"), list("x-a"), ""},
		{"list twice", "GetAttributeList", "", list("x-a"), list("x-a", "x-a"), "twice"},
		{"extra field", "Activate", "", id, id + attr("x-a", "1"), "want no such field"},
		{"located items", "Locate", "", id, `<LocatedItems type="Integer" value="1"/>` + id, ""},
		{"other order in Locate", "Locate", "", id + `<UniqueIdentifier type="TextString" value="v"/>`, `<UniqueIdentifier type="TextString" value="v"/>` + id, "UniqueIdentifier[0]"},
		{"wrong type", "Activate", "", id, `<UniqueIdentifier type="ByteString" value="00"/>`, "got type ByteString"},
	} {
		t.Run(c.name, func(t *testing.T) {
			doc := fmt.Sprintf("<KMIP>"+request+response+request+response+"</KMIP>", c.op, c.ask, c.op, c.want, c.op, c.ask, c.op, c.got)
			x, err := oasis.Parse(strings.NewReader(doc), reg)
			if err != nil {
				t.Fatal(err)
			}
			s := NewSession(reg)
			if _, err := s.Request(x[0].Request); err != nil {
				t.Fatal(err)
			}
			d := s.Response(x[0].Response, x[1].Response)
			switch {
			case c.diff == "" && d != nil:
				t.Errorf("got difference %v", d)
			case c.diff != "" && (d == nil || !strings.Contains(d.Error(), c.diff)):
				t.Errorf("got %v, want a difference with %q", d, c.diff)
			}
		})
	}
}
