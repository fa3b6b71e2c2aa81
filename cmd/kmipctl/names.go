package main

import (
	"fmt"
	"strconv"
	"strings"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// attributeNames are the attributes of KMIP 1.0 to 1.4 (KMIP 1.4 section 3), to find them however they are typed.
var attributeNames = []string{
	"Unique Identifier", "Name", "Object Type", "Cryptographic Algorithm", "Cryptographic Length",
	"Cryptographic Parameters", "Cryptographic Domain Parameters", "Certificate Type", "Certificate Length",
	"X.509 Certificate Identifier", "X.509 Certificate Subject", "X.509 Certificate Issuer", "Certificate Identifier",
	"Certificate Subject", "Certificate Issuer", "Digital Signature Algorithm", "Digest", "Operation Policy Name",
	"Cryptographic Usage Mask", "Lease Time", "Usage Limits", "State", "Initial Date", "Activation Date",
	"Process Start Date", "Protect Stop Date", "Deactivation Date", "Destroy Date", "Compromise Occurrence Date",
	"Compromise Date", "Revocation Reason", "Archive Date", "Object Group", "Fresh", "Link",
	"Application Specific Information", "Contact Information", "Last Change Date", "Alternative Name",
	"Key Value Present", "Key Value Location", "Original Creation Date", "Random Number Generator",
	"PKCS#12 Friendly Name", "Description", "Comment", "Sensitive", "Always Sensitive", "Extractable",
	"Never Extractable",
}

// attributeTag is the tag of an attribute's value, 0 for custom and unknown attributes.
func attributeTag(name string) ttlv.Tag {
	tag, _ := kmip.TagByName(name)
	return tag
}

// attributeType is the type of an attribute's value, 0 when it is not fixed. The tag table leaves two to the context.
func attributeType(tag ttlv.Tag) ttlv.Type {
	switch tag {
	case kmip.TagRandomNumberGenerator:
		return ttlv.Structure
	case kmip.TagAlwaysSensitive:
		return ttlv.Boolean
	}
	return kmip.TagType(tag)
}

// attributeName brings a name into the specification's spelling. Custom names are taken as they are.
func attributeName(given string) (string, bool) {
	if isCustom(given) {
		return given, true
	}
	for _, n := range attributeNames {
		if squash(n) == squash(given) {
			return n, true
		}
	}
	return given, false
}

func isCustom(name string) bool {
	return strings.HasPrefix(name, "x-") || strings.HasPrefix(name, "y-")
}

func squash(s string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", "-", "", "_", "", ".", "", "#", "").Replace(s))
}

// fieldTag finds a field of a structure by name or number. Among fields that must be those of an attribute's structure
// the name may be typed in any way; elsewhere only the specification's spelling tells which of all tags is meant.
func fieldTag(given string, among []ttlv.Tag) (ttlv.Tag, bool) {
	for _, t := range among {
		if squash(kmip.NameOfTag(t)) == squash(given) {
			return t, true
		}
	}
	if hex, ok := strings.CutPrefix(strings.ToLower(given), "0x"); ok {
		n, err := strconv.ParseUint(hex, 16, 24)
		return ttlv.Tag(n), err == nil && (n>>16 == 0x42 || n>>16 == 0x54)
	}
	return kmip.TagByName(given)
}

// isMask tells the enumerations whose values are sets of bits.
func isMask(enum string) bool { return strings.HasSuffix(enum, "Mask") }

// usageShort are short names of usage bits.
var usageShort = map[string]string{
	"wrap": "Wrap Key", "unwrap": "Unwrap Key", "derive": "Derive Key", "mac": "MAC Generate",
	"nonrepudiation": "Content Commitment", "agree": "Key Agreement",
}

// parseMask reads names with commas between them, or a number.
func parseMask(enum, text string) (int32, error) {
	if n, err := strconv.ParseInt(text, 0, 32); err == nil {
		return int32(n), nil
	}
	var mask uint32
	for _, part := range strings.Split(text, ",") {
		name := strings.TrimSpace(part)
		if long, ok := usageShort[squash(name)]; ok && enum == "CryptographicUsageMask" {
			name = long
		}
		v, ok := enumByName(enum, name)
		if !ok {
			return 0, fmt.Errorf("%q is none of %s", name, strings.Join(kmip.EnumNames(enum), ", "))
		}
		mask |= v
	}
	return int32(mask), nil
}

// enumByName allows, beyond kmip.EnumByName, the names that people really type.
func enumByName(enum, name string) (uint32, bool) {
	if v, ok := kmip.EnumByName(enum, name); ok {
		return v, true
	}
	for _, n := range kmip.EnumNames(enum) {
		if squash(n) == squash(name) {
			return kmip.EnumByName(enum, n)
		}
	}
	return 0, false
}

// parseEnum reads the name of a value, or its number.
func parseEnum(enum, text string) (uint32, error) {
	if v, ok := enumByName(enum, text); ok {
		return v, nil
	}
	if strings.HasPrefix(text, "0x") || enum == "" {
		if n, err := strconv.ParseUint(text, 0, 32); err == nil {
			return uint32(n), nil
		}
	}
	if enum == "" {
		return 0, fmt.Errorf("%q is not a number such as 0x80000001", text)
	}
	return 0, fmt.Errorf("%q is none of %s", text, sample(kmip.EnumNames(enum)))
}

// sample keeps long lists of names short.
func sample(names []string) string {
	const most = 24
	if len(names) > most {
		return strings.Join(names[:most], ", ") + ", ..."
	}
	return strings.Join(names, ", ")
}

// enumName is the name of a value, "0x..." when it has none.
func enumName(enum string, v uint32) string {
	name := kmip.EnumName(enum, v)
	if name == fmt.Sprintf("%08X", v) {
		return "0x" + name
	}
	return name
}

// maskNames are the names of the bits, in order of the bits.
func maskNames(enum string, v uint32) []string {
	names := []string{}
	for bit := uint32(1); bit != 0; bit <<= 1 {
		if v&bit != 0 {
			names = append(names, enumName(enum, bit))
		}
	}
	return names
}
