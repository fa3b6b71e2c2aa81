// Package compare decides whether a server's answer is what an OASIS test case expects.
//
// Everything must match (fields, their order, every value) except what the rules for permitted test case variations
// leave open (KMIP Profiles 2.1 section 4.1, with the same text for earlier versions); rules.go lists those. Where a
// value is left open but the client knows it anyway, because it sent it, it must still match.
package compare

import (
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"time"

	"kmipd/softhsm-tests/internal/oasis"
	"kmipd/softhsm-tests/internal/rawttlv"
	"kmipd/softhsm-tests/internal/registry"
)

// Session is what a sequence of cases has taught the client so far. Not safe for concurrent use.
type Session struct {
	reg  *registry.Registry
	tags tagSet
	now  func() time.Time

	outer map[oasis.Var]any // variables of earlier files of the sequence
	vars  map[oasis.Var]any // variables of this file

	origin   map[string]origin      // by unique identifier
	material map[string][]byte      // key material the server made, by unique identifier and form
	sent     map[string][]*sentDate // by attribute name

	services // what cryptographic operations have shown

	groupGiven bool // a request named an Object Group
	hurry      int  // time goes this many times faster than the case says: offsets from $NOW shrink

	request *rawttlv.Node // the request being answered, variables filled in
}

// origin says who knows the key material of an object.
type origin int

const (
	originUnknown    origin = iota // not made in this sequence
	originServer                   // the server made it
	originRegistered               // the client sent it
)

// sentDate is a date that the client gave for an attribute: as written in the file, and as it went out.
type sentDate struct {
	written any // oasis.Var or time.Time
	value   time.Time
	object  string // its unique identifier; "" while it has none, and for key pairs, which stands for every object
	item    int    // batch item of the request, -1 once that is answered
}

// NewSession starts with nothing known.
func NewSession(reg *registry.Registry) *Session {
	return &Session{
		reg: reg, tags: newTagSet(reg), now: time.Now, hurry: 1,
		outer: map[oasis.Var]any{}, vars: map[oasis.Var]any{},
		origin: map[string]origin{}, material: map[string][]byte{}, sent: map[string][]*sentDate{},
		services: newServices(reg),
	}
}

// NextFile starts another file of the same sequence. The files number their variables from 0 again, so a variable is
// looked up in earlier files only by a request that this file has not given a value.
func (s *Session) NextFile() {
	maps.Copy(s.outer, s.vars)
	s.vars = map[oasis.Var]any{}
	s.services = newServices(s.reg)
}

// Hurry makes the offsets of dates ("$NOW+120") the given number of times shorter, for cases that wait for a date.
func (s *Session) Hurry(factor int) { s.hurry = factor }

// Request fills in the variables of a request and remembers what the client says in it.
func (s *Session) Request(n *rawttlv.Node) (*rawttlv.Node, error) {
	s.replaced = false
	out, err := s.resolve(n)
	if err != nil {
		return nil, err
	}
	s.request = out
	written := n.All(s.tags.batchItem)
	for i, item := range out.All(s.tags.batchItem) {
		object := item.Find(s.tags.requestPayload, s.tags.uniqueID).Text()
		s.noteDates(written[i], item, sentDate{object: object, item: i})
	}
	return out, nil
}

func (s *Session) resolve(n *rawttlv.Node) (*rawttlv.Node, error) {
	c := *n
	if v, ok := n.Value.(oasis.Var); ok {
		value, err := s.valueOf(v)
		if err != nil {
			return nil, err
		}
		c.Value = value
	}
	s.replace(&c)
	c.Children = nil
	for _, k := range n.Children {
		r, err := s.resolve(k)
		if err != nil {
			return nil, err
		}
		c.Children = append(c.Children, r)
	}
	return &c, nil
}

var nowExpression = regexp.MustCompile(`^\$NOW([+-]\d+)?$`)

func (s *Session) valueOf(v oasis.Var) (any, error) {
	if m := nowExpression.FindStringSubmatch(string(v)); m != nil {
		offset := 0
		if m[1] != "" {
			offset, _ = strconv.Atoi(m[1])
		}
		return s.now().UTC().Truncate(time.Second).Add(time.Duration(offset/s.hurry) * time.Second), nil
	}
	if value, ok := s.vars[v]; ok {
		return value, nil
	}
	if value, ok := s.outer[v]; ok {
		return value, nil
	}
	if value, ok := s.result(v); ok {
		return value, nil
	}
	return nil, fmt.Errorf("%s has no value yet", v)
}

// noteDates remembers the dates of attributes, and of request fields that carry an attribute's name.
func (s *Session) noteDates(written, sent *rawttlv.Node, to sentDate) {
	if sent.Tag == s.tags.attribute {
		name := sent.Child(s.tags.attributeName).Text()
		s.groupGiven = s.groupGiven || name == "Object Group"
		if d, ok := valueTime(sent.Child(s.tags.attributeValue)); ok {
			to.written, to.value = written.Child(s.tags.attributeValue).Value, d
			s.sent[name] = append(s.sent[name], &to)
		}
		return
	}
	if d, ok := valueTime(sent); ok {
		name := spaced(s.reg.TagName(sent.Tag))
		to.written, to.value = written.Value, d
		s.sent[name] = append(s.sent[name], &to)
	}
	for i := range sent.Children {
		s.noteDates(written.Children[i], sent.Children[i], to)
	}
}

func valueTime(n *rawttlv.Node) (time.Time, bool) {
	if n == nil {
		return time.Time{}, false
	}
	d, ok := n.Value.(time.Time)
	return d, ok
}

// spaced turns a tag key into an attribute name: "CompromiseOccurrenceDate" -> "Compromise Occurrence Date".
func spaced(key string) string {
	return strings.TrimSpace(regexp.MustCompile(`[A-Z][a-z]+`).ReplaceAllString(key, " $0"))
}

// noteOrigins remembers which identifiers a successful answer gave out, and to which kind of operation.
func (s *Session) noteOrigins(got *rawttlv.Node) {
	items := s.request.All(s.tags.batchItem)
	for i, item := range got.All(s.tags.batchItem) {
		if i >= len(items) {
			return
		}
		var from origin
		switch s.reg.ValueName(s.tags.operation, rawttlv.Enumeration, items[i].Child(s.tags.operation).Enum()) {
		case "Register":
			from = originRegistered
		case "Create", "CreateKeyPair", "ReKey", "ReKeyKeyPair", "Certify", "ReCertify":
			from = originServer
		default:
			continue
		}
		payload := item.Child(s.tags.responsePayload)
		s.nameDates(i, payload.Child(s.tags.uniqueID).Text())
		for _, tag := range []uint32{s.tags.uniqueID, s.tags.privateID, s.tags.publicID} {
			if id := payload.Child(tag).Text(); id != "" {
				s.origin[id] = from
				kind := s.reg.ValueName(s.objectType, rawttlv.Enumeration, items[i].Find(s.tags.requestPayload, s.objectType).Enum())
				s.pair[id] = kind == "PublicKey" || kind == "PrivateKey"
			}
		}
	}
}

// nameDates says which object the dates of a batch item were for, now that it has an identifier.
func (s *Session) nameDates(item int, object string) {
	for _, dates := range s.sent {
		for _, d := range dates {
			if d.item == item && d.object == "" {
				d.object = object
			}
		}
	}
}

// answered marks all dates as belonging to requests of the past.
func (s *Session) answered() {
	for _, dates := range s.sent {
		for _, d := range dates {
			d.item = -1
		}
	}
}

// bind gives a variable its value, or compares with the one it has.
func (s *Session) bind(v oasis.Var, got any) error {
	if old, ok := s.vars[v]; ok {
		if !rawttlv.SameValue(old, got) {
			return fmt.Errorf("got %v, but %s is %v", got, v, old)
		}
		return nil
	}
	if strings.HasPrefix(string(v), "$UNIQUE_IDENTIFIER") {
		if got == "" {
			return fmt.Errorf("got an empty identifier for %s", v)
		}
		for other, value := range s.vars {
			if strings.HasPrefix(string(other), "$UNIQUE_IDENTIFIER") && rawttlv.SameValue(value, got) {
				return fmt.Errorf("got %v for %s, but that is %s", got, v, other)
			}
		}
	}
	s.vars[v] = got
	return nil
}
