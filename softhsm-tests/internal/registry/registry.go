// Package registry gives the tests the names and numbers of KMIP tags, enumerations and masks.
//
// It reads the tables under shared/kmip/registry at run time and not the server's generated constants, so that a wrong
// constant in the server shows up as a failing test.
package registry

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"kmipd/softhsm-tests/internal/rawttlv"
)

// Registry is read-only after Load and safe for concurrent use.
type Registry struct {
	byKey  map[string]tag    // "KeyFormatType"
	byTag  map[uint32]string // 0x420042 -> "KeyFormatType"
	byName map[string]string // "Key Format Type" -> "KeyFormatType": attribute names are tag names with blanks
	values map[string]list   // enumerations and masks by their specification name
}

type tag struct {
	Name  string
	Value string
	Type  string
	Enum  string
	Mask  string
	code  uint32
}

type list struct {
	byKey   map[string]uint32
	byValue map[uint32]string
}

// Load reads the table for a protocol version ("1.0" to "1.4", or "2.x") from shared/kmip/registry.
func Load(shared, version string) (*Registry, error) {
	name := "kmip_1_4.json"
	if strings.HasPrefix(version, "2") {
		name = "kmip_2_x.json"
	}
	raw, err := os.ReadFile(filepath.Join(shared, "kmip", "registry", name))
	if err != nil {
		return nil, err
	}
	type table struct {
		Values map[string]struct{ Value string }
	}
	var file struct {
		Tags         map[string]tag
		Enums, Masks map[string]table
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	r := &Registry{byKey: file.Tags, byTag: map[uint32]string{}, byName: map[string]string{}, values: map[string]list{}}
	for key, t := range r.byKey {
		if t.code, err = number(t.Value); err != nil {
			return nil, fmt.Errorf("%s: tag %s: %w", name, key, err)
		}
		r.byKey[key], r.byTag[t.code], r.byName[t.Name] = t, key, key
	}
	for _, tables := range []map[string]table{file.Enums, file.Masks} {
		for enum, t := range tables {
			l := list{map[string]uint32{}, map[uint32]string{}}
			for key, v := range t.Values {
				n, err := number(v.Value)
				if err != nil {
					return nil, fmt.Errorf("%s: %s/%s: %w", name, enum, key, err)
				}
				l.byKey[key], l.byValue[n] = n, key
			}
			r.values[enum] = l
		}
	}
	if len(r.byKey) < 100 || len(r.values) < 20 {
		return nil, fmt.Errorf("%s: only %d tags and %d lists: not a KMIP registry", name, len(r.byKey), len(r.values))
	}
	return r, nil
}

func number(s string) (uint32, error) {
	v, err := strconv.ParseUint(s, 0, 32)
	return uint32(v), err
}

// Tag is the number of a tag by its XML name.
func (r *Registry) Tag(key string) (uint32, bool) {
	t, ok := r.byKey[key]
	return t.code, ok
}

// MustTag is Tag for names that the test itself wrote.
func (r *Registry) MustTag(key string) uint32 {
	t, ok := r.Tag(key)
	if !ok {
		panic("registry: no tag " + key)
	}
	return t
}

// AttributeKey turns the name of a KMIP 1.x attribute into the tag key that holds its value ("Object Type" ->
// "ObjectType"). Custom attributes have none.
func (r *Registry) AttributeKey(name string) (string, bool) {
	k, ok := r.byName[name]
	return k, ok
}

// Enum is the number of an enumeration value of the given tag.
func (r *Registry) Enum(tagKey, value string) (uint32, error) {
	return r.lookup(r.byKey[tagKey].Enum, value, tagKey)
}

// MustEnum is Enum for names that the test itself wrote.
func (r *Registry) MustEnum(tagKey, value string) uint32 {
	v, err := r.Enum(tagKey, value)
	if err != nil {
		panic(err)
	}
	return v
}

// Mask is the number for a mask written as names between blanks, in any order.
func (r *Registry) Mask(tagKey, names string) (uint32, error) {
	var sum uint32
	for _, name := range strings.Fields(names) {
		v, err := r.lookup(r.byKey[tagKey].Mask, name, tagKey)
		if err != nil {
			return 0, err
		}
		sum |= v
	}
	return sum, nil
}

// EnumName is the name of a value of the enumeration that a tag key has, or "".
func (r *Registry) EnumName(tagKey string, v uint32) string {
	return r.values[r.byKey[tagKey].Enum].byValue[v]
}

// MaskNames are the names of the bits of a mask, none when the tag key has no mask, or when a bit has no name.
func (r *Registry) MaskNames(tagKey string, v uint32) []string {
	var names []string
	for bit, name := range r.values[r.byKey[tagKey].Mask].byValue {
		if v&bit != 0 {
			names = append(names, name)
			v &^= bit
		}
	}
	if v != 0 {
		return nil
	}
	sort.Strings(names)
	return names
}

func (r *Registry) lookup(enum, value, tagKey string) (uint32, error) {
	if v, ok := r.values[enum].byKey[value]; ok {
		return v, nil
	}
	if strings.HasPrefix(value, "0x") {
		return number(value)
	}
	return 0, fmt.Errorf("registry: %s has no value %q", tagKey, value)
}

// TagName implements rawttlv.Namer.
func (r *Registry) TagName(tag uint32) string {
	if k, ok := r.byTag[tag]; ok {
		return k
	}
	return fmt.Sprintf("0x%06X", tag)
}

// ValueName implements rawttlv.Namer: the words for an enumeration or a mask, or "" for every other value.
func (r *Registry) ValueName(tag uint32, t rawttlv.Type, value any) string {
	return r.valueName(r.byTag[tag], t, value)
}

// AttributeValueName is ValueName for the Attribute Value of the named attribute.
func (r *Registry) AttributeValueName(attribute string, t rawttlv.Type, value any) string {
	return r.valueName(r.byName[attribute], t, value)
}

func (r *Registry) valueName(key string, t rawttlv.Type, value any) string {
	info := r.byKey[key]
	switch v := value.(type) {
	case uint32:
		if name, ok := r.values[info.Enum].byValue[v]; ok && t == rawttlv.Enumeration {
			return name
		}
	case int32:
		if info.Mask != "" {
			return r.maskNames(info.Mask, uint32(v))
		}
	}
	return ""
}

func (r *Registry) maskNames(mask string, v uint32) string {
	var names []string
	for bit, name := range r.values[mask].byValue {
		if v&bit != 0 {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return fmt.Sprintf("0x%X (%s)", v, strings.Join(names, " "))
}
