package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

type structure interface {
	Decode(ttlv.Item) error
	Append([]byte, ttlv.Tag, kmip.Version) []byte
}

// shape is a structured attribute: its Go structure and its fields.
type shape struct {
	make   func() structure
	fields []ttlv.Tag
}

// shapeOf is the shape of the structured attributes of KMIP 1.4 section 3.
func shapeOf(tag ttlv.Tag) shape {
	switch tag {
	case kmip.TagName:
		return shape{func() structure { return new(kmip.Name) }, []ttlv.Tag{kmip.TagNameValue, kmip.TagNameType}}
	case kmip.TagCryptographicParameters:
		return shape{func() structure { return new(kmip.CryptographicParameters) }, []ttlv.Tag{kmip.TagBlockCipherMode,
			kmip.TagPaddingMethod, kmip.TagHashingAlgorithm, kmip.TagKeyRoleType, kmip.TagDigitalSignatureAlgorithm,
			kmip.TagCryptographicAlgorithm, kmip.TagRandomIV, kmip.TagIVLength, kmip.TagTagLength, kmip.TagFixedFieldLength,
			kmip.TagInvocationFieldLength, kmip.TagCounterLength, kmip.TagInitialCounterValue, kmip.TagSaltLength,
			kmip.TagMaskGenerator, kmip.TagMaskGeneratorHashingAlgorithm, kmip.TagPSource, kmip.TagTrailerField}}
	case kmip.TagCryptographicDomainParameters:
		return shape{func() structure { return new(kmip.CryptographicDomainParameters) },
			[]ttlv.Tag{kmip.TagQlength, kmip.TagRecommendedCurve}}
	case kmip.TagX509CertificateIdentifier:
		return shape{func() structure { return new(kmip.X509CertificateIdentifier) },
			[]ttlv.Tag{kmip.TagIssuerDistinguishedName, kmip.TagCertificateSerialNumber}}
	case kmip.TagX509CertificateSubject:
		return shape{func() structure { return new(kmip.X509CertificateSubject) },
			[]ttlv.Tag{kmip.TagSubjectDistinguishedName, kmip.TagSubjectAlternativeName}}
	case kmip.TagX509CertificateIssuer:
		return shape{func() structure { return new(kmip.X509CertificateIssuer) },
			[]ttlv.Tag{kmip.TagIssuerDistinguishedName, kmip.TagIssuerAlternativeName}}
	case kmip.TagCertificateIdentifier:
		return shape{func() structure { return new(kmip.CertificateIdentifier) }, []ttlv.Tag{kmip.TagIssuer, kmip.TagSerialNumber}}
	case kmip.TagCertificateSubject:
		return shape{func() structure { return new(kmip.CertificateSubject) },
			[]ttlv.Tag{kmip.TagCertificateSubjectDistinguishedName, kmip.TagCertificateSubjectAlternativeName}}
	case kmip.TagCertificateIssuer:
		return shape{func() structure { return new(kmip.CertificateIssuer) },
			[]ttlv.Tag{kmip.TagCertificateIssuerDistinguishedName, kmip.TagCertificateIssuerAlternativeName}}
	case kmip.TagDigest:
		return shape{func() structure { return new(kmip.Digest) },
			[]ttlv.Tag{kmip.TagHashingAlgorithm, kmip.TagDigestValue, kmip.TagKeyFormatType}}
	case kmip.TagUsageLimits:
		return shape{func() structure { return new(kmip.UsageLimits) },
			[]ttlv.Tag{kmip.TagUsageLimitsTotal, kmip.TagUsageLimitsCount, kmip.TagUsageLimitsUnit}}
	case kmip.TagRevocationReason:
		return shape{func() structure { return new(kmip.RevocationReason) },
			[]ttlv.Tag{kmip.TagRevocationReasonCode, kmip.TagRevocationMessage}}
	case kmip.TagLink:
		return shape{func() structure { return new(kmip.Link) }, []ttlv.Tag{kmip.TagLinkType, kmip.TagLinkedObjectIdentifier}}
	case kmip.TagApplicationSpecificInformation:
		return shape{func() structure { return new(kmip.ApplicationSpecificInformation) },
			[]ttlv.Tag{kmip.TagApplicationNamespace, kmip.TagApplicationData}}
	case kmip.TagAlternativeName:
		return shape{func() structure { return new(kmip.AlternativeName) },
			[]ttlv.Tag{kmip.TagAlternativeNameValue, kmip.TagAlternativeNameType}}
	case kmip.TagKeyValueLocation:
		return shape{func() structure { return new(kmip.KeyValueLocation) },
			[]ttlv.Tag{kmip.TagKeyValueLocationValue, kmip.TagKeyValueLocationType}}
	case kmip.TagRandomNumberGenerator:
		return shape{func() structure { return new(kmip.RNGParameters) }, []ttlv.Tag{kmip.TagRNGAlgorithm,
			kmip.TagCryptographicAlgorithm, kmip.TagCryptographicLength, kmip.TagHashingAlgorithm, kmip.TagDRBGAlgorithm,
			kmip.TagRecommendedCurve, kmip.TagFIPS186Variation, kmip.TagPredictionResistance}}
	}
	return shape{}
}

// field is one Field=Value of a structure.
type field struct {
	name, text string
}

// splitFields cuts Field=Value;Field=Value. A backslash takes away the meaning of the character after it.
func splitFields(s string) ([]field, error) {
	var parts []string
	var cur strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			cur.WriteByte(s[i])
		case s[i] == ';':
			parts = append(parts, cur.String())
			cur.Reset()
		default:
			cur.WriteByte(s[i])
		}
	}
	parts = append(parts, cur.String())
	var out []field
	for _, p := range parts {
		name, text, ok := strings.Cut(p, "=")
		if !ok {
			if strings.TrimSpace(p) == "" && len(parts) > 1 {
				continue // a semicolon at the end
			}
			return nil, fmt.Errorf("%q is not Field=Value", p)
		}
		out = append(out, field{strings.TrimSpace(name), text})
	}
	return out, nil
}

// structValue reads the structure of an attribute of the specification, with its fields in the order that the
// specification gives them. A partial one, to be compared with, may lack fields that are required.
func structValue(tag ttlv.Tag, text string, partial bool) (ttlv.Item, error) {
	sh := shapeOf(tag)
	if sh.make == nil {
		return ttlv.Item{}, errors.New("the fields of this structure are not known")
	}
	if !utf8.ValidString(text) {
		return ttlv.Item{}, errors.New("the text is not UTF-8")
	}
	if b := shorthand(tag, sh, text); b != nil {
		return ttlv.Make(b), nil
	}
	fields, err := splitFields(text)
	if err != nil {
		return ttlv.Item{}, fmt.Errorf("%w; the fields are %s", err, fieldNames(sh.fields))
	}
	for _, f := range fields {
		if t, ok := fieldTag(f.name, sh.fields); !ok || !slices.Contains(sh.fields, t) {
			return ttlv.Item{}, fmt.Errorf("there is no field %q; the fields are %s", f.name, fieldNames(sh.fields))
		}
	}
	b, mark := ttlv.Begin(nil, kmip.TagAttributeValue)
	for _, t := range sh.fields {
		for _, f := range fields {
			if ft, _ := fieldTag(f.name, sh.fields); ft != t {
				continue
			}
			if b, err = appendScalar(b, t, kmip.TagType(t), enumOf(t), f.text); err != nil {
				return ttlv.Item{}, fmt.Errorf("%s: %w", kmip.NameOfTag(t), err)
			}
		}
	}
	if (tag == kmip.TagName || tag == kmip.TagAlternativeName) && len(fields) == 1 && !partial {
		b = ttlv.AppendEnum(b, sh.fields[1], uint32(kmip.NameTypeUninterpretedTextString))
	}
	it := ttlv.Make(ttlv.End(b, mark))
	if partial {
		return it, nil
	}
	s := sh.make()
	if err := s.Decode(it); err != nil {
		var e *kmip.Error
		if errors.As(err, &e) {
			return ttlv.Item{}, errors.New(e.Message)
		}
		return ttlv.Item{}, err
	}
	return ttlv.Make(s.Append(nil, kmip.TagAttributeValue, kmip.V1_4)), nil
}

func fieldNames(tags []ttlv.Tag) string {
	names := make([]string, len(tags))
	for i, t := range tags {
		names[i] = kmip.NameOfTag(t)
	}
	return strings.Join(names, ", ")
}

// shorthand is the short form of the structures that are typed most; nil when text is not one.
func shorthand(tag ttlv.Tag, sh shape, text string) []byte {
	first, _, _ := strings.Cut(text, "=")
	for _, t := range sh.fields {
		if squash(kmip.NameOfTag(t)) == squash(first) {
			return nil
		}
	}
	switch tag {
	case kmip.TagName:
		n := kmip.Name{NameValue: text, NameType: kmip.NameTypeUninterpretedTextString}
		return n.Append(nil, kmip.TagAttributeValue, kmip.V1_4)
	case kmip.TagAlternativeName:
		n := kmip.AlternativeName{AlternativeNameValue: text, AlternativeNameType: kmip.AlternativeNameTypeUninterpretedTextString}
		return n.Append(nil, kmip.TagAttributeValue, kmip.V1_4)
	case kmip.TagApplicationSpecificInformation:
		if ns, data, ok := strings.Cut(text, ":"); ok {
			a := kmip.ApplicationSpecificInformation{ApplicationNamespace: ns, ApplicationData: &data}
			return a.Append(nil, kmip.TagAttributeValue, kmip.V1_4)
		}
	}
	return nil
}

// openStruct is the structure of a custom attribute: fields of any tags, typed by the tag or by the value's prefix.
func openStruct(text string) (ttlv.Item, error) {
	fields, err := splitFields(text)
	if err != nil {
		return ttlv.Item{}, err
	}
	b, mark := ttlv.Begin(nil, kmip.TagAttributeValue)
	for _, f := range fields {
		t, ok := fieldTag(f.name, nil)
		if !ok {
			return ttlv.Item{}, fmt.Errorf("there is no tag %q; write its name as the specification does, or its number (0x54....)", f.name)
		}
		typ, rest := typed(f.text)
		if typ == 0 {
			typ = attributeType(t)
		}
		if typ == 0 {
			typ = ttlv.TextString
		}
		if b, err = appendScalar(b, t, typ, enumOf(t), rest); err != nil {
			return ttlv.Item{}, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return ttlv.Make(ttlv.End(b, mark)), nil
}
