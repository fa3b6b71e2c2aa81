package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// A value read from the server is one of: string, int64, bool, octets, seconds, []string (a mask), structured, []any (a
// field that may be repeated). All of them print as JSON the way that "kmipctl help output" says.

// octets print in hexadecimal.
type octets []byte

func (o octets) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, o), nil }

// seconds is an Interval: a number in JSON, a duration for people.
type seconds uint32

func (s seconds) String() string {
	if s < 60 {
		return fmt.Sprintf("%d s", uint32(s))
	}
	return fmt.Sprintf("%d s (%s)", uint32(s), time.Duration(s)*time.Second)
}

// structured is a Structure: names and values in the order of the message.
type structured []member

type member struct {
	name  string
	value any
}

// MarshalJSON is an object with its members in order.
func (s structured) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range s {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(m.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// repeatable are the fields that are lists in JSON even when they stand once.
var repeatable = map[ttlv.Tag]bool{
	kmip.TagSubjectAlternativeName: true, kmip.TagIssuerAlternativeName: true,
	kmip.TagCertificateSubjectAlternativeName: true, kmip.TagCertificateIssuerAlternativeName: true,
	kmip.TagValidationProfile: true,
}

// decode reads an item; enum names its values when it is an enumeration or a mask. label names a tag.
func decode(it ttlv.Item, enum string, label func(ttlv.Tag) string) any {
	switch it.Type {
	case ttlv.Integer:
		if isMask(enum) {
			return maskNames(enum, uint32(it.Int()))
		}
		return int64(it.Int())
	case ttlv.LongInteger:
		return it.Long()
	case ttlv.BigInteger:
		return bigText(it.BigInt())
	case ttlv.Enumeration:
		return enumName(enum, it.Enum())
	case ttlv.Boolean:
		return it.Bool()
	case ttlv.TextString:
		return it.Text()
	case ttlv.ByteString:
		return octets(it.Value)
	case ttlv.DateTime:
		return dateText(it.Time())
	case ttlv.Interval:
		return seconds(it.Interval())
	case ttlv.Structure:
		return decodeStructure(it, label)
	}
	return octets(it.Value)
}

func decodeStructure(it ttlv.Item, label func(ttlv.Tag) string) structured {
	out := structured{}
	count := map[ttlv.Tag]int{}
	for m := range it.Members {
		count[m.Tag]++
	}
	at := map[ttlv.Tag]int{}
	for m := range it.Members {
		v := decode(m, enumOf(m.Tag), label)
		if !repeatable[m.Tag] && count[m.Tag] == 1 {
			out = append(out, member{label(m.Tag), v})
			continue
		}
		i, seen := at[m.Tag]
		if !seen {
			i = len(out)
			at[m.Tag] = i
			out = append(out, member{label(m.Tag), []any{}})
		}
		out[i].value = append(out[i].value.([]any), v)
	}
	return out
}

// tagLabel is the name of a standard tag, "0x..." for another.
func tagLabel(t ttlv.Tag) string {
	name := kmip.NameOfTag(t)
	if name == fmt.Sprintf("%06X", uint32(t)) {
		return "0x" + name
	}
	return name
}

// fieldsOf shows any of the package's structures.
func fieldsOf(s structure) structured {
	return decodeStructure(ttlv.Make(s.Append(nil, kmip.TagAttributeValue, kmip.V1_4)), tagLabel)
}

func bigText(n *big.Int) string {
	if n.Sign() < 0 {
		return "-0x" + new(big.Int).Neg(n).Text(16)
	}
	return "0x" + n.Text(16)
}

func dateText(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// attributeView is an attribute as it is printed.
type attributeView struct {
	Name  string `json:"name"`
	Index int32  `json:"index"`
	Type  string `json:"type,omitempty"`
	Value any    `json:"value,omitempty"`
}

func viewAttribute(a *kmip.Attribute) attributeView {
	v := attributeView{Name: a.AttributeName}
	if a.AttributeIndex != nil {
		v.Index = *a.AttributeIndex
	}
	if !a.AttributeValue.IsZero() {
		v.Type = a.AttributeValue.Type.String()
		v.Value = decode(a.AttributeValue, enumOf(attributeTag(a.AttributeName)), tagLabel)
	}
	return v
}

func viewAttributes(list []kmip.Attribute) []attributeView {
	out := make([]attributeView, len(list))
	for i := range list {
		out[i] = viewAttribute(&list[i])
	}
	return out
}

func (v *attributeView) row() row {
	name := v.Name
	if v.Index != 0 {
		name = fmt.Sprintf("%s [%d]", name, v.Index)
	}
	return row{name, lines(v.Value)}
}

// lines is a value for people.
func lines(v any) []string {
	switch v := v.(type) {
	case nil:
		return []string{""}
	case string:
		return []string{printable(v)}
	case octets:
		return []string{hex.EncodeToString(v)}
	case []string:
		if len(v) == 0 {
			return []string{"none"}
		}
		return []string{strings.Join(v, ", ")}
	case []any:
		var out []string
		for _, e := range v {
			out = append(out, lines(e)...)
		}
		return out
	case structured:
		var out []string
		for _, m := range v {
			sub := lines(m.value)
			if len(sub) == 1 {
				out = append(out, m.name+": "+sub[0])
				continue
			}
			out = append(out, m.name+":")
			for _, l := range sub {
				out = append(out, "  "+l)
			}
		}
		if len(out) == 0 {
			return []string{"none"}
		}
		return out
	}
	return []string{fmt.Sprint(v)}
}

// printable quotes text that would disturb a terminal or the layout: names are chosen by others.
func printable(s string) string {
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return strconv.Quote(s)
		}
	}
	return s
}

func printableAll(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = printable(s)
	}
	return out
}
