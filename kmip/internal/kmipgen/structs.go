package main

import (
	"bytes"
	"fmt"

	"kmipd/kmip/registry"
)

// kind is how one member is held, read and written.
type kind struct {
	goType  string
	pointer bool   // an optional member is a pointer
	absent  string // condition for "absent", %s is the member
	wire    string // wire type constant, "" when any
	read    string // expression, %s is the item
	write   string // statement body: b = ..., %s is tag then value
	sub     bool   // a structure with Decode and Append
}

func kindOf(m registry.Member, enums map[string]bool) (kind, error) {
	if m.As == "Item" {
		return kind{goType: "ttlv.Item", absent: "%s.IsZero()", read: "%s", write: "b = ttlv.AppendItem(b, %s, %s)"}, nil
	}
	if m.As != "" {
		return kind{goType: m.As, pointer: true, absent: "%s == nil", wire: "ttlv.Structure", sub: true}, nil
	}
	name := goName(m.Tag.Ident)
	switch m.Tag.Type {
	case "Structure":
		return kind{goType: name, pointer: true, absent: "%s == nil", wire: "ttlv.Structure", sub: true}, nil
	case "Enumeration":
		typ := "uint32"
		if m.Tag.Enum != "-" {
			typ = goName(m.Tag.Enum)
		}
		return kind{goType: typ, absent: "%s == 0", wire: "ttlv.Enumeration", read: typ + "(%s.Enum())",
			write: "b = ttlv.AppendEnum(b, %s, uint32(%s))"}, nil
	case "Integer":
		typ := "int32"
		if enums[m.Tag.Ident] {
			typ = name
		}
		return kind{goType: typ, pointer: true, absent: "%s == nil", wire: "ttlv.Integer", read: typ + "(%s.Int())",
			write: "b = ttlv.AppendInt(b, %s, int32(%s))"}, nil
	case "LongInteger":
		return scalar("int64", "LongInteger", "Long", "AppendLong"), nil
	case "Interval":
		return scalar("uint32", "Interval", "Interval", "AppendInterval"), nil
	case "Boolean":
		return scalar("bool", "Boolean", "Bool", "AppendBool"), nil
	case "TextString":
		return scalar("string", "TextString", "Text", "AppendText"), nil
	case "DateTime":
		return scalar("time.Time", "DateTime", "Time", "AppendTime"), nil
	case "ByteString":
		return kind{goType: "[]byte", absent: "%s == nil", wire: "ttlv.ByteString", read: "%s.Value",
			write: "b = ttlv.AppendBytes(b, %s, %s)"}, nil
	case "BigInteger":
		return kind{goType: "*big.Int", absent: "%s == nil", wire: "ttlv.BigInteger", read: "%s.BigInt()",
			write: "b = ttlv.AppendBigInt(b, %s, %s)"}, nil
	}
	return kind{}, fmt.Errorf("member %s has wire type %s and no Go type", m.Tag.Ident, m.Tag.Type)
}

func scalar(goType, wire, read, write string) kind {
	return kind{goType: goType, pointer: true, absent: "%s == nil", wire: "ttlv." + wire, read: "%s." + read + "()",
		write: "b = ttlv." + write + "(b, %s, %s)"}
}

func structs(b *bytes.Buffer, r *registry.Registry) error {
	masks := map[string]bool{}
	for _, e := range r.Enums {
		if e.Mask {
			masks[e.Ident] = true
		}
	}
	b.WriteString("import (\n\"math/big\"\n\"time\"\n\n\"kmipd/kmip/ttlv\"\n)\n\n")
	names := map[string]string{}
	for _, t := range r.Tags {
		names[t.Ident] = t.Name
	}
	for _, s := range allStructs(r) {
		title := names[s.Ident]
		if title == "" {
			title = spaced(s.Ident)
		}
		if err := one(b, s, title, masks); err != nil {
			return fmt.Errorf("%s: %w", s.Ident, err)
		}
	}
	return nil
}

func allStructs(r *registry.Registry) []registry.Struct {
	all := append([]registry.Struct(nil), r.Structs...)
	for _, op := range r.Operations {
		all = append(all, op.Request, op.Response)
	}
	return all
}

// structList lists the structures for tests that try all of them.
func structList(b *bytes.Buffer, r *registry.Registry) error {
	b.WriteString("// structures makes an empty structure of each kind.\nvar structures = map[string]func() structure{\n")
	for _, s := range allStructs(r) {
		fmt.Fprintf(b, "%q: func() structure { return new(%s) },\n", goName(s.Ident), goName(s.Ident))
	}
	b.WriteString("}\n")
	return nil
}

// spaced puts blanks before the capitals of an identifier that is no tag, for messages.
func spaced(ident string) string {
	var out []rune
	for i, c := range ident {
		if i > 0 && c >= 'A' && c <= 'Z' {
			out = append(out, ' ')
		}
		out = append(out, c)
	}
	return string(out)
}

func one(b *bytes.Buffer, s registry.Struct, title string, masks map[string]bool) error {
	name := goName(s.Ident)
	kinds := make([]kind, len(s.Members))
	for i, m := range s.Members {
		var err error
		if kinds[i], err = kindOf(m, masks); err != nil {
			return err
		}
	}
	fmt.Fprintf(b, "// %s is the %s structure. Byte strings and items that Decode set share the message's memory.\ntype %s struct {\n", name, title, name)
	for i, m := range s.Members {
		typ := kinds[i].goType
		switch {
		case m.Card == '*':
			typ = "[]" + typ
		case m.Card == '?' && kinds[i].pointer:
			typ = "*" + typ
		}
		fmt.Fprintf(b, "%s %s\n", goName(m.Tag.Ident), typ)
	}
	b.WriteString("}\n\n")
	decode(b, s, name, title, kinds)
	encode(b, s, name, kinds)
	return nil
}

func decode(b *bytes.Buffer, s registry.Struct, name, title string, kinds []kind) {
	fmt.Fprintf(b, "// Decode sets v from a structure that ttlv.Parse accepted. Errors are *Error.\nfunc (v *%s) Decode(it ttlv.Item) error {\n*v = %s{}\n", name, name)
	if len(s.Members) > 0 {
		b.WriteString("var seen uint64\n")
	}
	b.WriteString("for m := range it.Members {\nswitch m.Tag {\n")
	for i, m := range s.Members {
		k := kinds[i]
		field := "v." + goName(m.Tag.Ident)
		fmt.Fprintf(b, "case Tag%s:\n", goName(m.Tag.Ident))
		if k.wire != "" {
			fmt.Fprintf(b, "if m.Type != %s { return wrongType(m, %q) }\n", k.wire, title)
		}
		if m.Card != '*' {
			fmt.Fprintf(b, "if seen&(1<<%d) != 0 { return repeated(m.Tag, %q) }\n", i, title)
		}
		fmt.Fprintf(b, "seen |= 1<<%d\n", i)
		switch {
		case k.sub && m.Card == '*':
			fmt.Fprintf(b, "var x %s\nif err := x.Decode(m); err != nil { return err }\n%s = append(%s, x)\n", k.goType, field, field)
		case k.sub && m.Card == '?':
			fmt.Fprintf(b, "%s = new(%s)\nif err := %s.Decode(m); err != nil { return err }\n", field, k.goType, field)
		case k.sub:
			fmt.Fprintf(b, "if err := %s.Decode(m); err != nil { return err }\n", field)
		case m.Card == '*':
			fmt.Fprintf(b, "%s = append(%s, %s)\n", field, field, fmt.Sprintf(k.read, "m"))
		case m.Card == '?' && k.pointer:
			fmt.Fprintf(b, "x := %s\n%s = &x\n", fmt.Sprintf(k.read, "m"), field)
		default:
			fmt.Fprintf(b, "%s = %s\n", field, fmt.Sprintf(k.read, "m"))
		}
	}
	fmt.Fprintf(b, "default:\nreturn unknownField(m.Tag, %q)\n}\n}\n", title)
	for i, m := range s.Members {
		if m.Card == '!' {
			fmt.Fprintf(b, "if seen&(1<<%d) == 0 { return missing(Tag%s, %q) }\n", i, goName(m.Tag.Ident), title)
		}
	}
	b.WriteString("return nil\n}\n\n")
}

func encode(b *bytes.Buffer, s registry.Struct, name string, kinds []kind) {
	fmt.Fprintf(b, "// Append appends the structure under tag, without members that version ver does not have.\nfunc (v *%s) Append(b []byte, tag ttlv.Tag, ver Version) []byte {\nb, mark := ttlv.Begin(b, tag)\n", name)
	for i, m := range s.Members {
		k := kinds[i]
		tag, field := "Tag"+goName(m.Tag.Ident), "v."+goName(m.Tag.Ident)
		var conds []string
		if m.First != "1.0" {
			conds = append(conds, "!ver.Before("+version(m.First)+")")
		}
		if m.Card == '?' {
			conds = append(conds, "!("+fmt.Sprintf(k.absent, field)+")")
		}
		open := ""
		for j, c := range conds {
			if j == 0 {
				open = "if " + c
			} else {
				open += " && " + c
			}
		}
		if open != "" {
			b.WriteString(open + " {\n")
		}
		value := field
		if m.Card == '*' {
			value = field + "[i]"
			fmt.Fprintf(b, "for i := range %s {\n", field)
		} else if m.Card == '?' && k.pointer && !k.sub {
			value = "*" + field
		}
		if k.sub {
			fmt.Fprintf(b, "b = %s.Append(b, %s, ver)\n", value, tag)
		} else {
			fmt.Fprintf(b, k.write+"\n", tag, value)
		}
		if m.Card == '*' {
			b.WriteString("}\n")
		}
		if open != "" {
			b.WriteString("}\n")
		}
	}
	b.WriteString("return ttlv.End(b, mark)\n}\n\n")
}
