package compare

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"kmipd/softhsm-tests/internal/oasis"
	"kmipd/softhsm-tests/internal/rawttlv"
)

// Diff is the first difference between an answer and what was expected.
type Diff struct {
	Path string // such as "BatchItem[1]/ResponsePayload/Attribute(State)"
	Text string // "got X, want Y"
}

// Error makes a Diff an error.
func (d *Diff) Error() string { return d.Path + ": " + d.Text }

// Response compares the answer to the last Request with the expected one, gives values to variables on the way, and
// returns the first difference or nil. A variable keeps its value when the comparison fails later on.
func (s *Session) Response(want, got *rawttlv.Node) *Diff {
	s.noteOrigins(got)
	s.answered()
	c := comparison{Session: s}
	if want.Tag != got.Tag {
		return &Diff{"", fmt.Sprintf("got a %s", s.reg.TagName(got.Tag))}
	}
	d := c.children("", want, got)
	if d != nil && !strings.HasPrefix(d.Path, "BatchItem") { // such as a batch cut short: say what the server said
		for _, item := range got.All(c.tags.batchItem) {
			c.explain(d, item)
		}
	}
	return d
}

// Pushed compares a request that the server sent by itself with the expected one, as Response does with an answer.
func (s *Session) Pushed(want, got *rawttlv.Node) *Diff {
	s.request = want
	c := comparison{Session: s}
	return c.children("", want, got)
}

// Answer is the answer to such a request, with its variables filled in.
func (s *Session) Answer(n *rawttlv.Node) (*rawttlv.Node, error) { return s.resolve(n) }

// comparison carries where in the message we are.
type comparison struct {
	*Session
	operation string          // of the batch item
	asked     map[string]bool // the attribute names of a Get Attributes request, nil for all
	// versionsAsked says that a Discover Versions request lists versions, so that the answer is exactly determined.
	versionsAsked bool
	attribute     string        // the name that governs an Attribute Value
	object        string        // Unique Identifier of the payload
	answerIV      bool          // the payload has an IV/Counter/Nonce
	block         *rawttlv.Node // the got Key Block
}

func join(path, step string) string {
	if path == "" {
		return step
	}
	return path + "/" + step
}

// step names a child; an attribute by its name, a repeated field by its position.
func (c *comparison) step(parent, n *rawttlv.Node) string {
	name := c.reg.TagName(n.Tag)
	if n.Tag == c.tags.attribute {
		return name + "(" + n.Child(c.tags.attributeName).Text() + ")"
	}
	if same := parent.All(n.Tag); len(same) > 1 {
		for i := range same {
			if same[i] == n {
				return fmt.Sprintf("%s[%d]", name, i)
			}
		}
	}
	return name
}

func (c *comparison) show(n *rawttlv.Node) string {
	if v, ok := n.Value.(oasis.Var); ok {
		return string(v)
	}
	if n.Tag == c.tags.attributeValue {
		if s := c.reg.AttributeValueName(c.attribute, n.Type, n.Value); s != "" {
			return s
		}
	}
	return n.Show(c.reg)
}

func (c *comparison) node(path string, want, got *rawttlv.Node) *Diff {
	if got.Type != want.Type {
		return &Diff{path, fmt.Sprintf("got type %s, want %s", got.Type, want.Type)}
	}
	if c.anyContent(want.Tag) {
		return nil
	}
	inner := *c
	switch want.Tag {
	case c.tags.attribute:
		inner.attribute = want.Child(c.tags.attributeName).Text()
	case c.tags.keyBlock:
		inner.block = got
	case c.tags.keyValue, c.tags.keyMaterial:
		if !c.knownMaterial() && isMaterial(want) {
			return inner.serverMaterial(path, want, got)
		}
		if !c.knownMaterial() && want.Tag == c.tags.keyMaterial {
			return inner.sameShape(path, want, got)
		}
	}
	if want.Tag == c.tags.attributeValue && freeAttributes[c.attribute] {
		return nil
	}
	if want.Type == rawttlv.Structure {
		return inner.children(path, want, got)
	}
	return inner.value(path, want, got)
}

// children compares the fields of two structures.
func (c *comparison) children(path string, want, got *rawttlv.Node) *Diff {
	inner := *c
	sets := map[uint32]bool(nil)
	switch want.Tag {
	case c.tags.batchItem:
		inner.enterItem(path, want)
	case c.tags.responsePayload, c.tags.requestPayload:
		inner.object = got.Child(c.tags.uniqueID).Text()
		inner.answerIV = want.Child(c.iv) != nil
		sets = c.unordered()
	}
	if d := inner.fields(path, want, got, sets); d != nil {
		return d
	}
	for _, tag := range tagsOf(want, sets) {
		if d := inner.set(path, want, got, tag); d != nil {
			return d
		}
	}
	return inner.extras(path, want, got, sets)
}

// fields compares what is not in a set, in order.
func (c *comparison) fields(path string, want, got *rawttlv.Node, sets map[uint32]bool) *Diff {
	w, g := without(want.Children, sets), without(got.Children, sets)
	items := 0 // position among batch items, for the path of a message with one or many
	for len(w) > 0 || len(g) > 0 {
		switch {
		case len(w) > 0 && len(g) > 0 && w[0].Tag == g[0].Tag:
			step := c.step(want, w[0])
			if w[0].Tag == c.tags.batchItem {
				step = fmt.Sprintf("BatchItem[%d]", items)
				items++
			}
			if d := c.node(join(path, step), w[0], g[0]); d != nil {
				return c.explain(d, got)
			}
			w, g = w[1:], g[1:]
		case len(g) > 0 && c.mayBeExtra(g[0].Tag):
			g = g[1:]
		case len(w) > 0 && c.mayBeMissing(w[0].Tag):
			w = w[1:]
		case len(w) > 0:
			found := "the end"
			if len(g) > 0 {
				found = c.step(got, g[0]) + " = " + c.show(g[0])
			}
			return c.explain(&Diff{join(path, c.step(want, w[0])), fmt.Sprintf("missing (want %s, found %s)", c.show(w[0]), found)}, got)
		default:
			return c.explain(&Diff{join(path, c.step(got, g[0])), fmt.Sprintf("got %s, want no such field", c.show(g[0]))}, got)
		}
	}
	return nil
}

// explain adds reason and message of a failed batch item to a difference in it: they usually say what went wrong.
func (c *comparison) explain(d *Diff, item *rawttlv.Node) *Diff {
	if reason := item.Child(c.tags.resultReason); item.Tag == c.tags.batchItem && reason != nil {
		d.Text += fmt.Sprintf(" [server says %s: %s]", c.show(reason), item.Child(c.tags.resultMessage).Text())
	}
	return d
}

// value compares two values of the same type.
func (c *comparison) value(path string, want, got *rawttlv.Node) *Diff {
	differs := &Diff{path, fmt.Sprintf("got %s, want %s", c.show(got), c.show(want))}
	switch {
	case want.Tag == c.tags.timeStamp:
		return c.timeStamp(path, got)
	case want.Type == rawttlv.DateTime:
		if !c.date(want, got) {
			return differs
		}
	case isVar(want):
		c.newStream(want)
		if err := c.bind(want.Value.(oasis.Var), got.Value); err != nil {
			return &Diff{path, err.Error()}
		}
	case !rawttlv.SameValue(want.Value, got.Value) && !c.serverResult(want, got) && !c.serverCertificate(want):
		return differs
	}
	c.note(got)
	return nil
}

// timeStamp wants the server's clock to be near ours.
func (c *comparison) timeStamp(path string, got *rawttlv.Node) *Diff {
	d, _ := valueTime(got)
	if off := c.now().Sub(d); off > 10*time.Minute || off < -10*time.Minute {
		return &Diff{path, fmt.Sprintf("got %s, which is %s from now", d, off)}
	}
	return nil
}

// date says whether the date is acceptable: what the client gave comes back unchanged; the rest of the attributes with
// server dates may hold any date.
func (c *comparison) date(want, got *rawttlv.Node) bool {
	name := c.attribute
	if want.Tag != c.tags.attributeValue {
		name = spaced(c.reg.TagName(want.Tag))
	}
	given := false
	for _, d := range c.sent[name] {
		if !rawttlv.SameValue(d.written, want.Value) || d.object != "" && d.object != c.object {
			continue
		}
		given = true
		if rawttlv.SameValue(d.value, got.Value) {
			return true
		}
	}
	if given || !serverDates[name] {
		return !given && rawttlv.SameValue(want.Value, got.Value)
	}
	return true
}

func isVar(n *rawttlv.Node) bool {
	_, ok := n.Value.(oasis.Var)
	return ok
}

func without(nodes []*rawttlv.Node, sets map[uint32]bool) []*rawttlv.Node {
	var out []*rawttlv.Node
	for _, n := range nodes {
		if !sets[n.Tag] {
			out = append(out, n)
		}
	}
	return out
}

func tagsOf(n *rawttlv.Node, sets map[uint32]bool) []uint32 {
	var out []uint32
	seen := map[uint32]bool{}
	for _, c := range n.Children {
		if sets[c.Tag] && !seen[c.Tag] {
			seen[c.Tag] = true
			out = append(out, c.Tag)
		}
	}
	return out
}

// attempt compares without keeping variables that a failed comparison bound.
func (c *comparison) attempt(path string, want, got *rawttlv.Node) *Diff {
	saved := maps.Clone(c.vars)
	d := c.node(path, want, got)
	if d != nil {
		c.vars = saved
	}
	return d
}

// enterItem notes what the batch item's request asked for.
func (c *comparison) enterItem(path string, want *rawttlv.Node) {
	c.operation = c.reg.ValueName(c.tags.operation, rawttlv.Enumeration, want.Child(c.tags.operation).Enum())
	c.asked = nil
	var position int
	if _, err := fmt.Sscanf(path, "BatchItem[%d]", &position); err != nil {
		return
	}
	items := c.request.All(c.tags.batchItem)
	if position >= len(items) {
		return
	}
	payload := items[position].Child(c.tags.requestPayload)
	c.versionsAsked = payload.Child(c.tags.protocolVersion) != nil
	if c.operation != "GetAttributes" {
		return
	}
	for _, n := range payload.All(c.tags.attributeName) {
		if c.asked == nil {
			c.asked = map[string]bool{}
		}
		c.asked[n.Text()] = true
	}
}
