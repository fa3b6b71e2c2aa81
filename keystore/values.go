package keystore

import (
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// checkValue checks type and structure of an attribute value against the rule's tag.
func checkValue(r *rule, name string, v ttlv.Item) error {
	if v.IsZero() {
		return kmip.Errorf(kmip.ResultReasonInvalidMessage, "Attribute Value of %s is missing", shown(name))
	}
	if r == &customRule || r == &serverCustomRule {
		return checkCustom(name, v)
	}
	want := kmip.TagType(r.tag)
	if r.tag == kmip.TagRandomNumberGenerator {
		want = ttlv.Structure
	}
	if r.name == "Always Sensitive" {
		want = ttlv.Boolean
	}
	if v.Type != want {
		return kmip.Errorf(kmip.ResultReasonInvalidField, "%s must be of type %s", r.name, want)
	}
	if v.Type == ttlv.Structure {
		if d := structureOf(r.tag); d != nil {
			if err := d.Decode(v); err != nil {
				return invalidField(r.name, err)
			}
			for m := range v.Members {
				if m.Type == ttlv.Enumeration && !knownEnum(m.Tag, m.Enum()) {
					return kmip.Errorf(kmip.ResultReasonInvalidField, "%s of %s has an unknown value", kmip.NameOfTag(m.Tag), r.name)
				}
			}
		}
	}
	if v.Type == ttlv.Enumeration {
		if !knownEnum(r.tag, v.Enum()) {
			return kmip.Errorf(kmip.ResultReasonInvalidField, "%s has an unknown value", r.name)
		}
	}
	return checkContents(r, v)
}

// knownEnum tells whether any version of KMIP 1.x has the value of an enumeration, or it is an extension. Values that a
// later version dropped are understood in every version.
func knownEnum(tag ttlv.Tag, v uint32) bool {
	e := kmip.TagEnum(tag)
	if e == "" || v&0x80000000 != 0 {
		return true
	}
	for _, ver := range kmip.Supported {
		if kmip.EnumKnownIn(e, v, ver) {
			return true
		}
	}
	return false
}

// checkContents holds the rules on values that types do not express.
func checkContents(r *rule, v ttlv.Item) error {
	switch r.tag {
	case kmip.TagName:
		var n kmip.Name
		if err := n.Decode(v); err != nil {
			return err
		}
		if n.NameValue == "" || len(n.NameValue) > maxNameLength {
			return kmip.Errorf(kmip.ResultReasonInvalidField, "Name Value must have 1 to %d octets", maxNameLength)
		}
	case kmip.TagCryptographicLength:
		if n := v.Int(); n <= 0 || n > 1<<24 {
			return kmip.Errorf(kmip.ResultReasonInvalidField, "Cryptographic Length must be from 1 to %d bits", 1<<24)
		}
	case kmip.TagUsageLimits:
		var u kmip.UsageLimits
		if err := u.Decode(v); err != nil {
			return err
		}
		if u.UsageLimitsTotal < 0 || u.UsageLimitsCount != nil && *u.UsageLimitsCount < 0 {
			return kmip.Errorf(kmip.ResultReasonInvalidField, "Usage Limits must not be negative")
		}
	}
	return nil
}

// checkCustom allows every type; a structure must be flat (KMIP 1.4 section 3.39).
func checkCustom(name string, v ttlv.Item) error {
	if len(name) > maxNameLength {
		return kmip.Errorf(kmip.ResultReasonInvalidField, "Attribute Name must have at most %d octets", maxNameLength)
	}
	for m := range v.Members {
		if m.Type == ttlv.Structure {
			return kmip.Errorf(kmip.ResultReasonInvalidField, "a custom attribute's structure must not hold structures")
		}
	}
	return nil
}

// invalidField turns a decoding error of an attribute's structure into Invalid Field: the message is well formed, the
// attribute is not.
func invalidField(name string, err error) error {
	if err == nil {
		return nil
	}
	return kmip.Errorf(kmip.ResultReasonInvalidField, "%s is not well formed", name).Because(err)
}

// shown keeps an attribute name that a client sent short in a message.
func shown(name string) string {
	if len(name) > 64 {
		return name[:64] + "..."
	}
	return name
}

type structure interface {
	Decode(ttlv.Item) error
	Append([]byte, ttlv.Tag, kmip.Version) []byte
}

// structureOf makes an empty structure for the structured attributes.
func structureOf(tag ttlv.Tag) structure {
	switch tag {
	case kmip.TagName:
		return new(kmip.Name)
	case kmip.TagCryptographicParameters:
		return new(kmip.CryptographicParameters)
	case kmip.TagCryptographicDomainParameters:
		return new(kmip.CryptographicDomainParameters)
	case kmip.TagX509CertificateIdentifier:
		return new(kmip.X509CertificateIdentifier)
	case kmip.TagX509CertificateSubject:
		return new(kmip.X509CertificateSubject)
	case kmip.TagX509CertificateIssuer:
		return new(kmip.X509CertificateIssuer)
	case kmip.TagCertificateIdentifier:
		return new(kmip.CertificateIdentifier)
	case kmip.TagCertificateSubject:
		return new(kmip.CertificateSubject)
	case kmip.TagCertificateIssuer:
		return new(kmip.CertificateIssuer)
	case kmip.TagDigest:
		return new(kmip.Digest)
	case kmip.TagUsageLimits:
		return new(kmip.UsageLimits)
	case kmip.TagRevocationReason:
		return new(kmip.RevocationReason)
	case kmip.TagLink:
		return new(kmip.Link)
	case kmip.TagApplicationSpecificInformation:
		return new(kmip.ApplicationSpecificInformation)
	case kmip.TagAlternativeName:
		return new(kmip.AlternativeName)
	case kmip.TagKeyValueLocation:
		return new(kmip.KeyValueLocation)
	case kmip.TagRandomNumberGenerator:
		return new(kmip.RNGParameters)
	}
	return nil
}

// forVersion is the value as a client of the version may see it: without members that are newer, or absent when an
// enumeration value in it is newer.
func forVersion(r *rule, v ttlv.Item, ver kmip.Version) (ttlv.Item, bool) {
	if !ver.Before(kmip.V1_4) {
		return v, true
	}
	switch v.Type {
	case ttlv.Enumeration:
		return v, enumVisible(r.tag, v, ver)
	case ttlv.Structure:
		d := structureOf(r.tag)
		if d == nil {
			return v, true
		}
		if d.Decode(v) != nil {
			return v, false
		}
		v = ttlv.Make(d.Append(nil, r.tag, ver))
		for m := range v.Members {
			if m.Type == ttlv.Enumeration && !enumVisible(m.Tag, m, ver) {
				return v, false
			}
		}
	}
	return v, true
}

func enumVisible(tag ttlv.Tag, v ttlv.Item, ver kmip.Version) bool {
	e := kmip.TagEnum(tag)
	return e == "" || v.Enum()&0x80000000 != 0 || kmip.EnumKnownIn(e, v.Enum(), ver)
}

// The makers of attribute values. Their tag does not matter.

func enumValue[T ~uint32](v T) ttlv.Item {
	return ttlv.Make(ttlv.AppendEnum(nil, kmip.TagAttributeValue, uint32(v)))
}

func intValue[T ~int32](v T) ttlv.Item {
	return ttlv.Make(ttlv.AppendInt(nil, kmip.TagAttributeValue, int32(v)))
}

func textValue(s string) ttlv.Item {
	return ttlv.Make(ttlv.AppendText(nil, kmip.TagAttributeValue, s))
}

func boolValue(b bool) ttlv.Item {
	return ttlv.Make(ttlv.AppendBool(nil, kmip.TagAttributeValue, b))
}

func timeValue(t time.Time) ttlv.Item {
	return ttlv.Make(ttlv.AppendTime(nil, kmip.TagAttributeValue, t))
}

func intervalValue(seconds uint32) ttlv.Item {
	return ttlv.Make(ttlv.AppendInterval(nil, kmip.TagAttributeValue, seconds))
}

func structValue(s structure) ttlv.Item {
	return ttlv.Make(s.Append(nil, kmip.TagAttributeValue, kmip.V1_4))
}
