// Package registry reads the machine-readable KMIP registry (registry.txt) from which the tables of package kmip are
// generated. It refuses a registry with any doubt in it: duplicates, stray blanks, missing versions, unknown names.
package registry

import (
	_ "embed" // the registry itself
	"fmt"
	"slices"
	"strconv"
	"strings"
)

//go:embed registry.txt
var text string

// Versions are the specification versions that the registry knows, oldest first.
var Versions = []string{"1.0", "1.1", "1.2", "1.3", "1.4", "2.0", "2.1"}

// Tag is one KMIP tag.
type Tag struct {
	Value       uint32
	Type        string // wire type in 1.x
	Later       string // "<version>:<wire type>" where a later version changed it
	First, Last string // Last is "-" while the newest version has it
	Enum        string // identifier of its enumeration, or "-"
	Ident, Name string
}

// Value is one value of an enumeration or mask.
type Value struct {
	Value       uint32
	First, Last string
	Ident, Name string
	Also        []string // further identifiers
}

// Enum is an enumeration or a mask.
type Enum struct {
	Ident, Name string
	Mask        bool
	Values      []Value
}

// Member is a member of a structure.
type Member struct {
	Card  byte // '!', '?' or '*'
	Tag   *Tag
	First string
	As    string // Go type override, or ""
}

// Struct is a structure or one half of an operation's payload.
type Struct struct {
	Ident   string
	Members []Member
}

// Operation is an operation with its payloads.
type Operation struct {
	Ident, First, Section string
	Request, Response     Struct
}

// Registry is the whole.
type Registry struct {
	Tags       []Tag
	Enums      []Enum
	Structs    []Struct
	Operations []Operation
	byIdent    map[string]*Tag
}

// Load parses and checks the embedded registry.
func Load() (*Registry, error) { return Parse(text) }

// Parse parses and checks a registry.
func Parse(src string) (*Registry, error) {
	r := &Registry{byIdent: map[string]*Tag{}}
	p := parser{r: r}
	for i, line := range strings.Split(src, "\n") {
		if err := p.line(line); err != nil {
			return nil, fmt.Errorf("registry line %d: %w", i+1, err)
		}
	}
	return r, r.check()
}

type parser struct {
	r      *Registry
	target *Struct // where members go
}

func (p *parser) line(line string) error {
	if line == "" || strings.HasPrefix(line, "#") {
		return nil
	}
	if strings.TrimRight(line, " \t\r") != line {
		return fmt.Errorf("stray blanks at the end")
	}
	f := strings.Fields(line)
	switch f[0] {
	case "tag":
		return p.tag(f)
	case "enum", "mask":
		if len(f) < 3 {
			return fmt.Errorf("enumeration needs identifier and name")
		}
		p.r.Enums = append(p.r.Enums, Enum{Ident: f[1], Name: strings.Join(f[2:], " "), Mask: f[0] == "mask"})
		return nil
	case "val":
		return p.value(f)
	case "also":
		return p.also(f)
	case "struct":
		p.tagsDone()
		p.r.Structs = append(p.r.Structs, Struct{Ident: f[1]})
		p.target = &p.r.Structs[len(p.r.Structs)-1]
		return nil
	case "op":
		if len(f) != 4 {
			return fmt.Errorf("operation needs identifier, version and section")
		}
		p.r.Operations = append(p.r.Operations, Operation{Ident: f[1], First: f[2], Section: f[3]})
		return nil
	case "request", "response":
		op := &p.r.Operations[len(p.r.Operations)-1]
		if f[0] == "request" {
			op.Request.Ident, p.target = op.Ident+"Request", &op.Request
		} else {
			op.Response.Ident, p.target = op.Ident+"Response", &op.Response
		}
		return nil
	case "!", "?", "*":
		return p.member(f)
	}
	return fmt.Errorf("unknown fact %q", f[0])
}

func (p *parser) tag(f []string) error {
	if len(f) < 8 {
		return fmt.Errorf("tag needs 7 fields")
	}
	v, err := strconv.ParseUint(f[1], 16, 32)
	if err != nil {
		return err
	}
	typ, later, _ := strings.Cut(f[2], ",")
	p.r.Tags = append(p.r.Tags, Tag{Value: uint32(v), Type: typ, Later: later, First: f[3], Last: f[4], Enum: f[5],
		Ident: f[6], Name: strings.Join(f[7:], " ")})
	return nil
}

func (p *parser) value(f []string) error {
	if len(f) < 6 || len(p.r.Enums) == 0 {
		return fmt.Errorf("value needs 5 fields inside an enumeration")
	}
	v, err := strconv.ParseUint(f[1], 16, 32)
	if err != nil {
		return err
	}
	e := &p.r.Enums[len(p.r.Enums)-1]
	e.Values = append(e.Values, Value{Value: uint32(v), First: f[2], Last: f[3], Ident: f[4], Name: strings.Join(f[5:], " ")})
	return nil
}

func (p *parser) also(f []string) error {
	if len(f) != 2 || len(p.r.Enums) == 0 || len(p.r.Enums[len(p.r.Enums)-1].Values) == 0 {
		return fmt.Errorf("another identifier needs a value before it")
	}
	e := &p.r.Enums[len(p.r.Enums)-1]
	v := &e.Values[len(e.Values)-1]
	v.Also = append(v.Also, f[1])
	return nil
}

// tagsDone indexes the tags when the first structure begins: their slice does not grow any more.
func (p *parser) tagsDone() {
	if len(p.r.byIdent) > 0 {
		return
	}
	for i := range p.r.Tags {
		p.r.byIdent[p.r.Tags[i].Ident] = &p.r.Tags[i]
	}
}

func (p *parser) member(f []string) error {
	if p.target == nil || len(f) < 2 {
		return fmt.Errorf("member outside a structure")
	}
	m := Member{Card: f[0][0], Tag: p.r.byIdent[f[1]]}
	if m.Tag == nil {
		return fmt.Errorf("no tag %q", f[1])
	}
	m.First = m.Tag.First
	rest := f[2:]
	if len(rest) > 0 && slices.Contains(Versions, rest[0]) {
		m.First, rest = rest[0], rest[1:]
	}
	if len(rest) == 2 && rest[0] == "as" {
		m.As, rest = rest[1], nil
	}
	if len(rest) != 0 {
		return fmt.Errorf("cannot read %q", strings.Join(rest, " "))
	}
	p.target.Members = append(p.target.Members, m)
	return nil
}

var wireTypes = []string{"Structure", "Integer", "LongInteger", "BigInteger", "Enumeration", "Boolean", "TextString",
	"ByteString", "DateTime", "Interval", "DateTimeExtended", "Any"}

func (r *Registry) check() error {
	values, idents, names := map[uint32]bool{}, map[string]bool{}, map[string]bool{}
	for _, t := range r.Tags {
		if values[t.Value] || idents[t.Ident] || names[t.Name] {
			return fmt.Errorf("registry: tag %06X %s stands twice", t.Value, t.Ident)
		}
		values[t.Value], idents[t.Ident], names[t.Name] = true, true, true
		if !slices.Contains(wireTypes, t.Type) {
			return fmt.Errorf("registry: tag %s has wire type %q", t.Ident, t.Type)
		}
		if t.Ident != Normal(t.Name) {
			return fmt.Errorf("registry: tag %s is named %q, of which %s is the normal form", t.Ident, t.Name, Normal(t.Name))
		}
		if err := checkVersions(t.First, t.Last); err != nil {
			return fmt.Errorf("registry: tag %s: %w", t.Ident, err)
		}
		if t.Enum != "-" && !slices.ContainsFunc(r.Enums, func(e Enum) bool { return e.Ident == t.Enum }) {
			return fmt.Errorf("registry: tag %s names the unknown enumeration %q", t.Ident, t.Enum)
		}
	}
	for _, e := range r.Enums {
		if err := e.check(); err != nil {
			return err
		}
	}
	return nil
}

func (e Enum) check() error {
	values, idents := map[uint32]bool{}, map[string]bool{}
	for _, v := range e.Values {
		if values[v.Value] || idents[v.Ident] {
			return fmt.Errorf("registry: %s %08X %s stands twice", e.Ident, v.Value, v.Ident)
		}
		values[v.Value], idents[v.Ident] = true, true
		if err := checkVersions(v.First, v.Last); err != nil {
			return fmt.Errorf("registry: %s %s: %w", e.Ident, v.Ident, err)
		}
		for _, also := range v.Also {
			if idents[also] {
				return fmt.Errorf("registry: %s %s stands twice", e.Ident, also)
			}
			idents[also] = true
		}
		// The return codes of PKCS#11 are messages' names without their prefix.
		if n := Normal(strings.TrimPrefix(v.Name, "CKR_")); n != v.Ident && !slices.Contains(v.Also, n) {
			return fmt.Errorf("registry: %s %s is named %q, of which %s is the normal form", e.Ident, v.Ident, v.Name, n)
		}
	}
	if len(e.Values) == 0 {
		return fmt.Errorf("registry: %s has no values", e.Ident)
	}
	return nil
}

func checkVersions(first, last string) error {
	if !slices.Contains(Versions, first) {
		return fmt.Errorf("unknown first version %q", first)
	}
	if last != "-" && (!slices.Contains(Versions, last) || last < first) {
		return fmt.Errorf("bad last version %q", last)
	}
	return nil
}
