package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// parseAttribute reads NAME=VALUE or NAME[INDEX]=VALUE. Errors name the attribute.
func parseAttribute(s string) (kmip.Attribute, error) { return parseAssignment(s, false) }

// parseFilter reads NAME=VALUE for a comparison: structures may lack fields.
func parseFilter(s string) (kmip.Attribute, error) { return parseAssignment(s, true) }

func parseAssignment(s string, partial bool) (kmip.Attribute, error) {
	given, text, ok := strings.Cut(s, "=")
	if !ok {
		return kmip.Attribute{}, fmt.Errorf("%q is not NAME=VALUE", s)
	}
	a, known, err := parseReference(given)
	if err != nil {
		return a, err
	}
	a.AttributeValue, err = parseValue(a.AttributeName, known, text, partial)
	if err != nil {
		return a, fmt.Errorf("%s: %w", a.AttributeName, err)
	}
	return a, nil
}

var errNoAttribute = errors.New("there is no such attribute; names of custom attributes begin with x-, " +
	"and before the value of any other stands its type (text:, int:, ...)")

// parseReference reads NAME or NAME[INDEX], and tells whether the name is known.
func parseReference(s string) (a kmip.Attribute, known bool, err error) {
	name := strings.TrimSpace(s)
	if head, index, ok := strings.Cut(strings.TrimSuffix(name, "]"), "["); ok && strings.HasSuffix(name, "]") {
		n, err := strconv.ParseInt(index, 10, 32)
		if err != nil || n < 0 {
			return a, false, fmt.Errorf("%q: the index is not a number from 0", s)
		}
		i := int32(n)
		name, a.AttributeIndex = strings.TrimSpace(head), &i
	}
	if name == "" || !utf8.ValidString(name) {
		return a, false, fmt.Errorf("%q is no attribute name", s)
	}
	a.AttributeName, known = attributeName(name)
	return a, known, nil
}

// parseValue reads the value of an attribute: by the attribute's type or, where that is open, by the value's prefix.
func parseValue(name string, known bool, text string, partial bool) (ttlv.Item, error) {
	prefix, rest := typed(text)
	if isCustom(name) {
		return openValue(prefix, rest)
	}
	if !known {
		if prefix == 0 {
			return ttlv.Item{}, errNoAttribute
		}
		return openValue(prefix, rest)
	}
	tag := attributeTag(name)
	typ := attributeType(tag)
	if prefix == typ {
		text = rest
	}
	if typ == ttlv.Structure {
		return structValue(tag, text, partial)
	}
	b, err := appendScalar(nil, kmip.TagAttributeValue, typ, enumOf(tag), text)
	if err != nil {
		return ttlv.Item{}, err
	}
	return ttlv.Make(b), nil
}

// openValue is a value whose type only its prefix tells; text without one.
func openValue(typ ttlv.Type, text string) (ttlv.Item, error) {
	switch typ {
	case 0:
		typ = ttlv.TextString
	case ttlv.Structure:
		return openStruct(text)
	}
	b, err := appendScalar(nil, kmip.TagAttributeValue, typ, "", text)
	if err != nil {
		return ttlv.Item{}, err
	}
	return ttlv.Make(b), nil
}

// The makers of attributes whose value is at hand.

func attribute(name string, b []byte) kmip.Attribute {
	return kmip.Attribute{AttributeName: name, AttributeValue: ttlv.Make(b)}
}

func enumAttribute[T ~uint32](name string, v T) kmip.Attribute {
	return attribute(name, ttlv.AppendEnum(nil, kmip.TagAttributeValue, uint32(v)))
}

func intAttribute[T ~int32](name string, v T) kmip.Attribute {
	return attribute(name, ttlv.AppendInt(nil, kmip.TagAttributeValue, int32(v)))
}

func nameAttribute(value string) kmip.Attribute {
	n := kmip.Name{NameValue: value, NameType: kmip.NameTypeUninterpretedTextString}
	return attribute("Name", n.Append(nil, kmip.TagAttributeValue, kmip.V1_4))
}

func has(list []kmip.Attribute, name string) bool {
	for i := range list {
		if list[i].AttributeName == name {
			return true
		}
	}
	return false
}
