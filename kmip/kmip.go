// Package kmip holds the nouns of the protocol: tags, enumerations, structures, payloads and errors of KMIP 1.0 to 2.1
// (structures and payloads: 1.0 to 1.4). The z*.go files are generated from the registry by "make generate".
package kmip

//go:generate go run kmipd/kmip/internal/kmipgen .

import (
	"fmt"
	"sort"
	"strings"
	"sync"

	"kmipd/kmip/ttlv"
)

type tagInfo struct {
	tag         ttlv.Tag
	name, ident string
	typ         ttlv.Type // 0 when the context decides
	first, last Version
	enum        string // Go name of its enumeration
}

func lookupTag(tag ttlv.Tag) *tagInfo {
	i := sort.Search(len(tagTable), func(i int) bool { return tagTable[i].tag >= tag })
	if i < len(tagTable) && tagTable[i].tag == tag {
		return &tagTable[i]
	}
	return nil
}

// NameOfTag is the specification's name of a tag, or its number in hexadecimal.
func NameOfTag(tag ttlv.Tag) string {
	if t := lookupTag(tag); t != nil {
		return t.name
	}
	return fmt.Sprintf("%06X", uint32(tag))
}

// TagByName finds a tag by the specification's name, e.g. "Cryptographic Length".
func TagByName(name string) (ttlv.Tag, bool) {
	tag, ok := tagsByName[name]
	return tag, ok
}

var tagsByName = func() map[string]ttlv.Tag {
	m := make(map[string]ttlv.Tag, len(tagTable))
	for _, t := range tagTable {
		m[t.name] = t.tag
	}
	return m
}()

// TagType is the wire type that the specification (1.x) gives a tag, 0 when the context decides.
func TagType(tag ttlv.Tag) ttlv.Type {
	if t := lookupTag(tag); t != nil {
		return t.typ
	}
	return 0
}

// TagKnownIn tells whether version ver of the specification has the tag.
func TagKnownIn(tag ttlv.Tag, ver Version) bool {
	t := lookupTag(tag)
	return t != nil && within(t.first, t.last, ver)
}

// TagEnum is the Go name of the enumeration or mask whose values a tag holds, or "".
func TagEnum(tag ttlv.Tag) string {
	if t := lookupTag(tag); t != nil {
		if t.enum != "" {
			return t.enum
		}
		if _, ok := enumTables[strings.ReplaceAll(t.ident, "_", "")]; ok && t.typ == ttlv.Integer {
			return strings.ReplaceAll(t.ident, "_", "")
		}
	}
	return ""
}

func within(first, last, ver Version) bool {
	return !ver.Before(first) && (last == Version{} || !last.Before(ver))
}

type enumValue struct {
	value       uint32
	name, ident string
	first, last Version
}

// enumAlias is a further identifier of a value.
type enumAlias struct {
	ident string
	value uint32
}

type enumTable struct {
	name    string
	mask    bool
	values  []enumValue // sorted by value
	aliases []enumAlias
}

func (t *enumTable) find(v uint32) *enumValue {
	i := sort.Search(len(t.values), func(i int) bool { return t.values[i].value >= v })
	if i < len(t.values) && t.values[i].value == v {
		return &t.values[i]
	}
	return nil
}

func (t *enumTable) format(v uint32) string {
	if !t.mask {
		if e := t.find(v); e != nil {
			return e.name
		}
		return fmt.Sprintf("%08X", v)
	}
	var parts []string
	for _, e := range t.values {
		if v&e.value == e.value {
			parts = append(parts, e.name)
			v &^= e.value
		}
	}
	if v != 0 {
		parts = append(parts, fmt.Sprintf("%08X", v))
	}
	return strings.Join(parts, ", ")
}

// knownIn tells whether the version has the value; for a mask, all of its bits.
func (t *enumTable) knownIn(v uint32, ver Version) bool {
	if !t.mask {
		e := t.find(v)
		return e != nil && within(e.first, e.last, ver)
	}
	for _, e := range t.values {
		if within(e.first, e.last, ver) {
			v &^= e.value
		}
	}
	return v == 0
}

// EnumName is the name of a value of an enumeration or mask given by its Go name.
func EnumName(enum string, v uint32) string {
	if t := enumTables[enum]; t != nil {
		return t.format(v)
	}
	return fmt.Sprintf("%08X", v)
}

// EnumByName finds a value of an enumeration by the specification's name or by identifier, blanks, hyphens, underscores
// and case disregarded ("AES", "Pre-Active", "preactive").
func EnumByName(enum, name string) (uint32, bool) {
	t := enumTables[enum]
	if t == nil {
		return 0, false
	}
	want := squash(name)
	for _, e := range t.values {
		if squash(e.name) == want || squash(e.ident) == want {
			return e.value, true
		}
	}
	return 0, false
}

// EnumNames lists the names of an enumeration, by value.
func EnumNames(enum string) []string {
	t := enumTables[enum]
	if t == nil {
		return nil
	}
	names := make([]string, len(t.values))
	for i, e := range t.values {
		names[i] = e.name
	}
	return names
}

// EnumKnownIn tells whether a version has a value of an enumeration or mask given by its Go name.
func EnumKnownIn(enum string, v uint32, ver Version) bool {
	t := enumTables[enum]
	return t != nil && t.knownIn(v, ver)
}

// IdentOfTag is the name of a tag in XML and JSON messages, e.g. "IVCounterNonce"; "" for a tag of no version.
func IdentOfTag(tag ttlv.Tag) string {
	if t := lookupTag(tag); t != nil {
		return t.ident
	}
	return ""
}

// TagByIdent finds a tag by its name in XML and JSON messages. It does not keep ident.
func TagByIdent(ident []byte) (ttlv.Tag, bool) {
	tag, ok := tagsByIdent()[string(ident)]
	return tag, ok
}

// tagsByIdent is made when it is first needed: a process that speaks binary KMIP only has no use for it.
var tagsByIdent = sync.OnceValue(func() map[string]ttlv.Tag {
	m := make(map[string]ttlv.Tag, len(tagTable))
	for _, t := range tagTable {
		m[t.ident] = t.tag
	}
	return m
})

// IsMask tells whether the Go name is that of a mask, whose values are sets of bits.
func IsMask(enum string) bool {
	t := enumTables[enum]
	return t != nil && t.mask
}

// EnumIdent is the name in XML and JSON messages of a value of an enumeration, or of one bit of a mask, given by its Go name;
// "" for a value of no version.
func EnumIdent(enum string, v uint32) string {
	if t := enumTables[enum]; t != nil {
		if e := t.find(v); e != nil {
			return e.ident
		}
	}
	return ""
}

// EnumByIdent finds a value of an enumeration or mask, given by its Go name, by its name in XML and JSON messages. Where
// versions of the specification differ in a name, each is found. It does not keep ident.
func EnumByIdent(enum string, ident []byte) (uint32, bool) {
	t := enumTables[enum]
	if t == nil {
		return 0, false
	}
	for i := range t.values {
		if t.values[i].ident == string(ident) {
			return t.values[i].value, true
		}
	}
	for _, a := range t.aliases {
		if a.ident == string(ident) {
			return a.value, true
		}
	}
	return 0, false
}

func squash(s string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", "-", "", "_", "", ".", "", "/", "", "(", "", ")", "").Replace(s))
}

type operationInfo struct {
	op      Operation
	first   Version
	section string
}

// OperationSince is the version that introduced an operation whose payloads this package has.
func OperationSince(op Operation) (Version, bool) {
	for _, o := range operationTable {
		if o.op == op {
			return o.first, true
		}
	}
	return Version{}, false
}
