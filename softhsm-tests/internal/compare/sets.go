package compare

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"kmipd/softhsm-tests/internal/oasis"
	"kmipd/softhsm-tests/internal/rawttlv"
)

// set compares the fields with the tag as sets: each expected one must be there, in any order.
func (c *comparison) set(path string, want, got *rawttlv.Node, tag uint32) *Diff {
	if tag == c.tags.rngParameters { // the value is the server's, only its presence is tested
		if got.Child(tag) == nil {
			return &Diff{join(path, c.reg.TagName(tag)), "missing"}
		}
		return nil
	}
	left := got.All(tag)
	for _, w := range want.All(tag) {
		if c.digest(w) {
			continue // all Digests at once, below
		}
		i, d := c.match(path, want, w, left)
		if d != nil && (c.serverGroup(w) || c.serverSends(w)) {
			continue
		}
		if d != nil {
			return d
		}
		left = append(left[:i:i], left[i+1:]...)
	}
	return c.digests(path, want, got)
}

// serverGroup says whether the field is about an Object Group that no request named: the case shows that of another
// server (4.1.1, second list, item 1).
func (c *comparison) serverGroup(w *rawttlv.Node) bool {
	name := w.Text()
	if w.Tag == c.tags.attribute {
		name = w.Child(c.tags.attributeName).Text()
	}
	return name == "Object Group" && !c.groupGiven
}

// serverSends says whether a Query answer lists an operation that the server sends and no client asks for. The cases that
// show it leave the list open ("The specific list of operations and object types returned in the response MAY vary").
func (c *comparison) serverSends(w *rawttlv.Node) bool {
	if c.operation != "Query" || w.Tag != c.tags.operation {
		return false
	}
	name := c.reg.ValueName(w.Tag, rawttlv.Enumeration, w.Enum())
	return name == "Notify" || name == "Put"
}

// match finds the member that equals w and returns its position.
func (c *comparison) match(path string, parent, w *rawttlv.Node, left []*rawttlv.Node) (int, *Diff) {
	step := join(path, c.step(parent, w))
	var nearest *Diff
	for i, g := range left {
		if w.Tag == c.tags.attribute && g.Child(c.tags.attributeName).Text() != w.Child(c.tags.attributeName).Text() {
			continue
		}
		d := c.attempt(step, indexed(c, w, g), g)
		if d == nil {
			return i, nil
		}
		nearest = d
	}
	if nearest == nil || w.Type != rawttlv.Structure {
		nearest = &Diff{step, fmt.Sprintf("missing (want %s)", c.show(w))}
	}
	return 0, nearest
}

// indexed returns w with the Attribute Index that makes it comparable with g: index 0 may be written or left out, and
// which Link has which index is the server's choice.
func indexed(c *comparison, w, g *rawttlv.Node) *rawttlv.Node {
	if w.Tag != c.tags.attribute {
		return w
	}
	wi, gi := w.Child(c.tags.attributeIndex), g.Child(c.tags.attributeIndex)
	index := func(n *rawttlv.Node) any {
		if n == nil {
			return int32(0)
		}
		return n.Value
	}
	if w.Child(c.tags.attributeName).Text() != "Link" && index(wi) != index(gi) {
		return w
	}
	out := *w
	out.Children = nil
	for _, k := range w.Children {
		if k.Tag == c.tags.attributeIndex {
			continue
		}
		if k.Tag == c.tags.attributeValue && gi != nil {
			out.Children = append(out.Children, gi)
		}
		out.Children = append(out.Children, k)
	}
	return &out
}

// extras looks at the members of sets that the case does not show: attributes nobody asked for, and repeated names.
func (c *comparison) extras(path string, want, got *rawttlv.Node, sets map[uint32]bool) *Diff {
	seen := map[string]bool{}
	for _, g := range got.Children {
		if !sets[g.Tag] {
			continue
		}
		switch {
		case g.Tag == c.tags.attribute:
			name := g.Child(c.tags.attributeName).Text()
			if c.asked != nil && !c.asked[name] {
				return &Diff{join(path, c.step(got, g)), "got an attribute that the request did not name"}
			}
		case g.Type != rawttlv.Structure:
			key := fmt.Sprintf("%x %v", g.Tag, g.Value)
			if seen[key] {
				return &Diff{join(path, c.reg.TagName(g.Tag)), fmt.Sprintf("got %s twice", c.show(g))}
			}
			seen[key] = true
		}
	}
	if d := c.versionOrder(path, got, sets); d != nil {
		return d
	}
	return c.fieldOrder(path, want, got)
}

// versionOrder wants the newest version first (KMIP 1.4 section 4.26: in decreasing order of preference).
func (c *comparison) versionOrder(path string, got *rawttlv.Node, sets map[uint32]bool) *Diff {
	if !sets[c.tags.protocolVersion] {
		return nil
	}
	last := int64(1) << 62
	for _, v := range got.All(c.tags.protocolVersion) {
		number := int64(0)
		for _, part := range v.Children {
			n, _ := part.Value.(int32)
			number = number<<32 | int64(n)
		}
		if number >= last {
			return &Diff{join(path, c.step(got, v)), "the versions are not in decreasing order"}
		}
		last = number
	}
	return nil
}

// fieldOrder wants the kinds of fields in the order of the case, each kind in one run.
func (c *comparison) fieldOrder(path string, want, got *rawttlv.Node) *Diff {
	position := map[uint32]int{}
	for i, w := range want.Children {
		if _, ok := position[w.Tag]; !ok {
			position[w.Tag] = i
		}
	}
	last := -1
	for _, g := range got.Children {
		p, ok := position[g.Tag]
		if !ok {
			continue
		}
		if p < last {
			return &Diff{join(path, c.step(got, g)), "comes after a field that it must precede"}
		}
		last = p
	}
	return nil
}

func (c *comparison) digest(n *rawttlv.Node) bool {
	return n.Tag == c.tags.attribute && n.Child(c.tags.attributeName).Text() == "Digest"
}

// digests wants, where the case shows a Digest, one with SHA-256 (4.1.1 item 13). Its value is checked when the client
// knows the key material, because it then can be computed.
func (c *comparison) digests(path string, want, got *rawttlv.Node) *Diff {
	var wanted, found *rawttlv.Node
	for _, w := range want.Children {
		if c.digest(w) {
			wanted = w
		}
	}
	if wanted == nil {
		return nil
	}
	step := join(path, "Attribute(Digest)")
	sha256 := c.reg.MustEnum("HashingAlgorithm", "SHA_256")
	for _, g := range got.Children {
		if c.digest(g) && g.Find(c.tags.attributeValue, c.tags.hashingAlgorithm).Enum() == sha256 {
			found = g.Child(c.tags.attributeValue)
		}
	}
	if found == nil {
		return &Diff{step, "missing: no Digest with SHA-256"}
	}
	w := wanted.Child(c.tags.attributeValue)
	if wf, gf := w.Child(c.tags.keyFormat), found.Child(c.tags.keyFormat); wf != nil && (gf == nil || wf.Enum() != gf.Enum()) {
		got := "nothing"
		if gf != nil {
			got = c.show(gf)
		}
		return &Diff{join(step, "KeyFormatType"), fmt.Sprintf("got %s, want %s", got, c.show(wf))}
	}
	return c.digestValue(join(step, "DigestValue"), w, found)
}

func (c *comparison) digestValue(path string, want, got *rawttlv.Node) *Diff {
	value := got.Child(c.tags.digestValue)
	if len(value.Bytes()) != sha256.Size {
		return &Diff{path, fmt.Sprintf("got %d octets, want %d", len(value.Bytes()), sha256.Size)}
	}
	sameHash := want.Child(c.tags.hashingAlgorithm).Enum() == got.Child(c.tags.hashingAlgorithm).Enum()
	w := want.Child(c.tags.digestValue)
	if c.origin[c.object] == originRegistered && sameHash && w != nil && !isVar(w) && !rawttlv.SameValue(w.Value, value.Value) {
		return &Diff{path, fmt.Sprintf("got %s, want %s", c.show(value), c.show(w))}
	}
	return nil
}

// isMaterial says whether the node holds key bytes (and not the structure around them).
func isMaterial(n *rawttlv.Node) bool { return n.Type == rawttlv.ByteString }

// knownMaterial says whether the client knows what the key bytes must be: it registered the object and, where the
// answer is wrapped, the wrapping key.
func (c *comparison) knownMaterial() bool {
	if c.origin[c.object] != originRegistered {
		return false
	}
	wrapping := c.block.Child(c.tags.keyWrappingData)
	if wrapping == nil {
		return true
	}
	return c.origin[wrapping.Find(c.tags.encryptionKey, c.tags.uniqueID).Text()] == originRegistered
}

// serverMaterial accepts key bytes that the server made, if their size is right and they never change.
func (c *comparison) serverMaterial(path string, want, got *rawttlv.Node) *Diff {
	b := got.Bytes()
	if len(b) == 0 {
		return &Diff{path, "got no octets"}
	}
	raw := c.block.Child(c.tags.keyFormat).Enum() == c.reg.MustEnum("KeyFormatType", "Raw")
	if w, ok := want.Value.([]byte); ok && raw && len(w) != len(b) {
		return &Diff{path, fmt.Sprintf("got %d octets, want %d", len(b), len(w))}
	}
	if v, ok := want.Value.(oasis.Var); ok {
		if err := c.bind(v, b); err != nil {
			return &Diff{path, err.Error()}
		}
	}
	wrapper := c.block.Find(c.tags.keyWrappingData, c.tags.encryptionKey, c.tags.uniqueID).Text()
	form := fmt.Sprintf("%s/%d/%s", c.object, c.block.Child(c.tags.keyFormat).Enum(), wrapper)
	if old, ok := c.material[form]; ok && string(old) != string(b) {
		return &Diff{path, "the key bytes are not those of an earlier answer"}
	}
	c.material[form] = b
	return nil
}

// sameShape accepts any numbers in a transparent key that the server made, in the fields of the case.
func (c *comparison) sameShape(path string, want, got *rawttlv.Node) *Diff {
	shape := func(n *rawttlv.Node) string {
		var out []string
		for _, k := range n.Children {
			out = append(out, fmt.Sprintf("%s(%s)", c.reg.TagName(k.Tag), k.Type))
		}
		return strings.Join(out, " ")
	}
	if g, w := shape(got), shape(want); g != w {
		return &Diff{path, fmt.Sprintf("got fields %s, want %s", g, w)}
	}
	return nil
}
