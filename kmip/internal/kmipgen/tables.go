package main

import (
	"bytes"
	"fmt"
	"slices"

	"kmipd/kmip/registry"
)

func tags(b *bytes.Buffer, r *registry.Registry) error {
	b.WriteString("import \"kmipd/kmip/ttlv\"\n\n// The tags of KMIP 1.0 to 2.1.\nconst (\n")
	list := slices.Clone(r.Tags)
	slices.SortFunc(list, func(x, y registry.Tag) int { return int(x.Value) - int(y.Value) })
	for _, t := range list {
		fmt.Fprintf(b, "Tag%s ttlv.Tag = 0x%06X // %s\n", goName(t.Ident), t.Value, t.Name)
	}
	b.WriteString(")\n\n// tagTable is sorted by value.\nvar tagTable = [...]tagInfo{\n")
	for _, t := range list {
		typ := "0"
		if t.Type != "Any" {
			typ = "ttlv." + t.Type
		}
		fmt.Fprintf(b, "{Tag%s, %q, %q, %s, %s, %s, %q},\n", goName(t.Ident), t.Name, t.Ident, typ, version(t.First),
			version(t.Last), enumIdent(t))
	}
	b.WriteString("}\n")
	return nil
}

func enumIdent(t registry.Tag) string {
	if t.Enum == "-" {
		return ""
	}
	return goName(t.Enum)
}

func enums(b *bytes.Buffer, r *registry.Registry) error {
	b.WriteString("import \"strconv\"\n\nvar _ = strconv.Itoa\n\n")
	for _, e := range r.Enums {
		name := goName(e.Ident)
		base := "uint32"
		what := "enumeration"
		if e.Mask {
			base, what = "int32", "mask"
		}
		fmt.Fprintf(b, "// %s is the %s %s.\ntype %s %s\n\n// Values of %s.\nconst (\n", name, e.Name, what, name, base, name)
		values := slices.Clone(e.Values)
		slices.SortFunc(values, func(x, y registry.Value) int { return compare(x.Value, y.Value) })
		for _, v := range values {
			fmt.Fprintf(b, "%s%s %s = 0x%08X // %s\n", name, goName(v.Ident), name, v.Value, v.Name)
		}
		fmt.Fprintf(b, ")\n\nvar enum%s = enumTable{%q, %t, []enumValue{\n", name, e.Name, e.Mask)
		for _, v := range values {
			fmt.Fprintf(b, "{0x%08X, %q, %q, %s, %s},\n", v.Value, v.Name, v.Ident, version(v.First), version(v.Last))
		}
		b.WriteString("}, ")
		aliases(b, values)
		fmt.Fprintf(b, "}\n\n// String is the specification's name of the value.\nfunc (v %s) String() string { return enum%s.format(uint32(v)) }\n\n", name, name)
		fmt.Fprintf(b, "// KnownIn tells whether version v of the specification has the value.\nfunc (v %s) KnownIn(ver Version) bool { return enum%s.knownIn(uint32(v), ver) }\n\n", name, name)
	}
	b.WriteString("// enumTables finds the table of an enumeration or mask by its Go name.\nvar enumTables = map[string]*enumTable{\n")
	for _, e := range r.Enums {
		fmt.Fprintf(b, "%q: &enum%s,\n", goName(e.Ident), goName(e.Ident))
	}
	b.WriteString("}\n")
	return nil
}

// aliases writes the further identifiers of an enumeration's values.
func aliases(b *bytes.Buffer, values []registry.Value) {
	if !slices.ContainsFunc(values, func(v registry.Value) bool { return len(v.Also) > 0 }) {
		b.WriteString("nil")
		return
	}
	b.WriteString("[]enumAlias{\n")
	for _, v := range values {
		for _, also := range v.Also {
			fmt.Fprintf(b, "{%q, 0x%08X},\n", also, v.Value)
		}
	}
	b.WriteString("}")
}

func compare(x, y uint32) int {
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

func operations(b *bytes.Buffer, r *registry.Registry) error {
	b.WriteString("// operationTable holds the operations whose payloads the registry describes.\nvar operationTable = [...]operationInfo{\n")
	for _, op := range r.Operations {
		fmt.Fprintf(b, "{Operation%s, %s, %q},\n", goName(op.Ident), version(op.First), op.Section)
	}
	b.WriteString("}\n")
	return nil
}
