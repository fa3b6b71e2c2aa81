package keystore

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// ParseAttribute reads an attribute value in an administrator's words:
//
//	Name                              TEXT, or uri:URI
//	Application Specific Information  NAMESPACE=DATA
//	Contact Information, Object Group, x-..., y-...  TEXT
//	Cryptographic Parameters          FIELD=VALUE,... with the names of KMIP: Block Cipher Mode=CBC,Padding Method=PKCS5
//	Link                              TYPE=IDENTIFIER: Public Key Link=...
//	Process Start Date, Protect Stop Date  RFC 3339, a day (2006-01-02), or now; before now it is now
//	Usage Limits                      BYTE=TOTAL or OBJECT=TOTAL
func ParseAttribute(name, text string, now time.Time) (ttlv.Item, error) {
	left, right, cut := strings.Cut(text, "=")
	switch name {
	case "Name":
		if uri, ok := strings.CutPrefix(text, "uri:"); ok {
			return structValue(&kmip.Name{NameValue: uri, NameType: kmip.NameTypeURI}), nil
		}
		return structValue(&kmip.Name{NameValue: text, NameType: kmip.NameTypeUninterpretedTextString}), nil
	case "Application Specific Information":
		if !cut || left == "" {
			return ttlv.Item{}, fmt.Errorf("%s is given as NAMESPACE=DATA", name)
		}
		return structValue(&kmip.ApplicationSpecificInformation{ApplicationNamespace: left, ApplicationData: &right}), nil
	case "Cryptographic Parameters":
		return parseParameters(text)
	case "Link":
		lt, ok := kmip.EnumByName("LinkType", left)
		if !ok || right == "" {
			return ttlv.Item{}, fmt.Errorf("%s is given as TYPE=IDENTIFIER with one of the types %q", name, kmip.EnumNames("LinkType"))
		}
		return structValue(&kmip.Link{LinkType: kmip.LinkType(lt), LinkedObjectIdentifier: right}), nil
	case "Process Start Date", "Protect Stop Date":
		return parseDate(name, text, now)
	case "Usage Limits":
		unit, ok := map[string]kmip.UsageLimitsUnit{"BYTE": kmip.UsageLimitsUnitByte, "OBJECT": kmip.UsageLimitsUnitObject}[strings.ToUpper(left)]
		total, err := strconv.ParseInt(right, 10, 64)
		if !ok || err != nil || total < 0 {
			return ttlv.Item{}, fmt.Errorf("%s is given as BYTE=TOTAL or OBJECT=TOTAL", name)
		}
		return structValue(&kmip.UsageLimits{UsageLimitsTotal: total, UsageLimitsUnit: unit}), nil
	}
	if text == "" {
		return ttlv.Item{}, fmt.Errorf("%s needs a value", name)
	}
	return textValue(text), nil
}

func parseDate(name, text string, now time.Time) (ttlv.Item, error) {
	at := now
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		d, err := time.Parse(layout, text)
		if err != nil {
			continue
		}
		if d.After(now) {
			at = d
		}
		text = "now"
	}
	if text != "now" {
		return ttlv.Item{}, fmt.Errorf("%s is given as 2006-01-02T15:04:05Z, as 2006-01-02, or as now", name)
	}
	return timeValue(at), nil
}

// parseParameters reads FIELD=VALUE,... into the structure. The fields are those of the tag table, so that the names are
// KMIP's.
func parseParameters(text string) (ttlv.Item, error) {
	given := map[ttlv.Tag][]byte{}
	for part := range strings.SplitSeq(text, ",") {
		field, value, ok := strings.Cut(part, "=")
		tag, known := kmip.TagByName(strings.TrimSpace(field))
		if !ok || !known {
			return ttlv.Item{}, fmt.Errorf("parameter %q is not FIELD=VALUE with a field of KMIP, such as Block Cipher Mode", part)
		}
		b, err := parseField(tag, strings.TrimSpace(value))
		if err != nil {
			return ttlv.Item{}, err
		}
		if given[tag] != nil {
			return ttlv.Item{}, fmt.Errorf("parameter %s stands twice", kmip.NameOfTag(tag))
		}
		given[tag] = b
	}
	// The order of the fields is the structure's; decoding one by one and encoding gives it.
	b, mark := ttlv.Begin(nil, kmip.TagAttributeValue)
	for _, f := range given {
		b = append(b, f...)
	}
	var p kmip.CryptographicParameters
	if err := p.Decode(ttlv.Make(ttlv.End(b, mark))); err != nil {
		return ttlv.Item{}, err
	}
	return structValue(&p), nil
}

func parseField(tag ttlv.Tag, value string) ([]byte, error) {
	name := kmip.NameOfTag(tag)
	switch kmip.TagType(tag) {
	case ttlv.Enumeration:
		v, ok := kmip.EnumByName(kmip.TagEnum(tag), value)
		if !ok {
			return nil, fmt.Errorf("%s is one of %q", name, kmip.EnumNames(kmip.TagEnum(tag)))
		}
		return ttlv.AppendEnum(nil, tag, v), nil
	case ttlv.Integer:
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%s is a number", name)
		}
		return ttlv.AppendInt(nil, tag, int32(n)), nil
	case ttlv.Boolean:
		v, err := strconv.ParseBool(value)
		if err != nil {
			return nil, fmt.Errorf("%s is true or false", name)
		}
		return ttlv.AppendBool(nil, tag, v), nil
	case ttlv.ByteString:
		v, err := hex.DecodeString(value)
		if err != nil {
			return nil, fmt.Errorf("%s is given in hexadecimal", name)
		}
		return ttlv.AppendBytes(nil, tag, v), nil
	}
	return nil, fmt.Errorf("%s is not a field of Cryptographic Parameters", name)
}

// inWords is an attribute value for people.
func inWords(r *rule, v ttlv.Item) string {
	switch v.Type {
	case ttlv.Structure:
		var parts []string
		for m := range v.Members {
			parts = append(parts, kmip.NameOfTag(m.Tag)+"="+itemInWords(m.Tag, m))
		}
		return strings.Join(parts, ",")
	case ttlv.Integer:
		if r != nil && r.tag == kmip.TagCryptographicUsageMask {
			return kmip.CryptographicUsageMask(v.Int()).String()
		}
	}
	tag := v.Tag
	if r != nil {
		tag = r.tag
	}
	return itemInWords(tag, v)
}

func itemInWords(tag ttlv.Tag, v ttlv.Item) string {
	switch v.Type {
	case ttlv.TextString:
		return v.Text()
	case ttlv.Integer:
		return strconv.Itoa(int(v.Int()))
	case ttlv.LongInteger:
		return strconv.FormatInt(v.Long(), 10)
	case ttlv.Enumeration:
		return kmip.EnumName(kmip.TagEnum(tag), v.Enum())
	case ttlv.Boolean:
		return strconv.FormatBool(v.Bool())
	case ttlv.DateTime:
		return v.Time().UTC().Format(time.RFC3339)
	case ttlv.Interval:
		return strconv.FormatUint(uint64(v.Interval()), 10) + "s"
	}
	return hex.EncodeToString(v.Value)
}
