package keystore

import (
	"strings"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// types is a set of object types.
type types uint16

func typeBit(t kmip.ObjectType) types { return 1 << (t - 1) }

// The sets of the "Applies to Object Types" rows of KMIP 1.4 section 3.
const (
	tCert     types = 1 << (kmip.ObjectTypeCertificate - 1)
	tSym      types = 1 << (kmip.ObjectTypeSymmetricKey - 1)
	tPub      types = 1 << (kmip.ObjectTypePublicKey - 1)
	tPriv     types = 1 << (kmip.ObjectTypePrivateKey - 1)
	tSplit    types = 1 << (kmip.ObjectTypeSplitKey - 1)
	tTemplate types = 1 << (kmip.ObjectTypeTemplate - 1)
	tSecret   types = 1 << (kmip.ObjectTypeSecretData - 1)
	tOpaque   types = 1 << (kmip.ObjectTypeOpaqueObject - 1)
	tPGP      types = 1 << (kmip.ObjectTypePGPKey - 1)

	tKeys   = tSym | tPub | tPriv | tSplit | tPGP
	tCrypto = tKeys | tCert | tSecret
	tAll    = tCrypto | tOpaque | tTemplate
)

// who may do a thing to an attribute.
type who uint8

const (
	byServer   who = iota // the server alone
	atCreation            // the client, when the object is made, and never again
	ifAbsent              // the client, at creation or later with Add Attribute while there is no value
	untilDate             // the client, while the date that the attribute holds has not come (KMIP 1.4 sections 3.24 to 3.27)
	freely                // the client, at any time
)

// rule is one row of the attribute rules (KMIP 1.4 section 3).
type rule struct {
	name   string
	tag    ttlv.Tag
	since  kmip.Version
	types  types
	multi  bool
	set    who // byServer, atCreation or ifAbsent and later
	modify who // byServer (never by a client), untilDate, freely
	delete bool
	// ignore lets a client name a server-set attribute at creation without effect: what it says is checked against the
	// object or superseded by it.
	ignore bool
}

// rules is the whole table, in the order in which attributes are returned.
var rules = []rule{
	{name: "Unique Identifier", types: tAll},
	{name: "Name", types: tAll, multi: true, set: freely, modify: freely, delete: true},
	{name: "Object Type", types: tAll},
	{name: "Cryptographic Algorithm", types: tKeys | tCert | tTemplate, set: atCreation},
	{name: "Cryptographic Length", types: tKeys | tCert | tTemplate | tSecret, set: atCreation},
	{name: "Cryptographic Parameters", types: tKeys | tCert | tTemplate | tSecret, multi: true, set: freely, modify: freely, delete: true},
	{name: "Cryptographic Domain Parameters", types: tPub | tPriv | tTemplate, set: atCreation},
	{name: "Certificate Type", types: tCert | tTemplate, ignore: true},
	{name: "Certificate Length", types: tCert, ignore: true},
	{name: "X.509 Certificate Identifier", types: tCert, ignore: true},
	{name: "X.509 Certificate Subject", types: tCert, ignore: true},
	{name: "X.509 Certificate Issuer", types: tCert, ignore: true},
	{name: "Certificate Identifier", types: tCert, ignore: true},
	{name: "Certificate Subject", types: tCert, ignore: true},
	{name: "Certificate Issuer", types: tCert, ignore: true},
	{name: "Digital Signature Algorithm", types: tCert | tPGP, multi: true, ignore: true},
	{name: "Digest", types: tCrypto | tOpaque, multi: true, ignore: true},
	{name: "Operation Policy Name", types: tAll, set: atCreation},
	{name: "Cryptographic Usage Mask", types: tCrypto | tTemplate | tOpaque, set: atCreation},
	{name: "Lease Time", types: tCrypto | tOpaque},
	{name: "Usage Limits", types: tKeys | tTemplate | tSecret, set: freely, modify: untilDate, delete: true},
	{name: "State", types: tCrypto | tOpaque},
	{name: "Initial Date", types: tAll},
	{name: "Activation Date", types: tCrypto | tTemplate | tOpaque, set: ifAbsent, modify: untilDate},
	{name: "Process Start Date", types: tKeys | tTemplate | tSecret, set: ifAbsent, modify: untilDate},
	{name: "Protect Stop Date", types: tKeys | tTemplate | tSecret, set: ifAbsent, modify: untilDate},
	{name: "Deactivation Date", types: tCrypto | tTemplate | tOpaque, set: ifAbsent, modify: untilDate},
	{name: "Destroy Date", types: tCrypto | tOpaque},
	{name: "Compromise Occurrence Date", types: tCrypto | tOpaque},
	{name: "Compromise Date", types: tCrypto | tOpaque},
	{name: "Revocation Reason", types: tCrypto | tOpaque},
	{name: "Archive Date", types: tAll},
	{name: "Object Group", types: tAll, multi: true, set: freely, modify: freely, delete: true},
	{name: "Fresh", types: tCrypto | tOpaque | tTemplate, set: atCreation},
	{name: "Link", types: tCrypto | tOpaque, multi: true, set: freely, modify: freely, delete: true},
	{name: "Application Specific Information", types: tAll, multi: true, set: freely, modify: freely, delete: true},
	{name: "Contact Information", types: tAll, set: freely, modify: freely, delete: true},
	{name: "Last Change Date", types: tAll},
	{name: "Alternative Name", types: tAll, multi: true, set: freely, modify: freely, delete: true},
	{name: "Key Value Present", types: tSym | tPriv | tSplit | tSecret},
	{name: "Key Value Location", types: tSym | tPriv | tSplit | tSecret, multi: true, set: freely, modify: freely, delete: true},
	{name: "Original Creation Date", types: tAll, set: atCreation},
	{name: "Random Number Generator", types: tCrypto, set: atCreation},
	{name: "PKCS#12 Friendly Name", types: tCrypto | tTemplate, set: freely, modify: freely, delete: true},
	{name: "Description", types: tAll, set: freely, modify: freely, delete: true},
	{name: "Comment", types: tAll, set: freely, modify: freely, delete: true},
	{name: "Sensitive", types: tCrypto | tOpaque | tTemplate, set: atCreation, modify: freely},
	{name: "Always Sensitive", types: tCrypto | tOpaque},
	{name: "Extractable", types: tCrypto | tOpaque | tTemplate, set: atCreation, modify: freely},
	{name: "Never Extractable", types: tCrypto | tOpaque},
}

// namePart maps the object identifiers of distinguished names (RFC 4519, RFC 5280) to the last word of the attributes
// that KMIP 1.4 has for them, as in "Certificate Subject CN".
var namePart = map[string]string{
	"2.5.4.3": "CN", "2.5.4.10": "O", "2.5.4.11": "OU", "1.2.840.113549.1.9.1": "Email", "2.5.4.6": "C", "2.5.4.8": "ST",
	"2.5.4.7": "L", "0.9.2342.19200300.100.1.1": "UID", "2.5.4.5": "Serial Number", "2.5.4.12": "Title",
	"0.9.2342.19200300.100.1.25": "DC", "2.5.4.46": "DN Qualifier",
}

// specialTags gives the attributes whose name, structure tag or version the tag table does not tell by itself.
var specialTags = map[string]ttlv.Tag{
	"X.509 Certificate Identifier": kmip.TagX509CertificateIdentifier,
	"X.509 Certificate Subject":    kmip.TagX509CertificateSubject,
	"X.509 Certificate Issuer":     kmip.TagX509CertificateIssuer,
	"PKCS#12 Friendly Name":        kmip.TagPKCS12FriendlyName,
}

// sinceTag holds the first version of attributes that are newer than their tag.
var sinceAttribute = map[string]kmip.Version{"Random Number Generator": kmip.V1_3}

var rulesByName = func() map[string]*rule {
	m := make(map[string]*rule, len(rules))
	for i := range rules {
		r := &rules[i]
		tag, ok := specialTags[r.name]
		if !ok {
			tag, _ = kmip.TagByName(r.name)
		}
		r.tag = tag
		r.since = kmip.V1_0
		for _, v := range []kmip.Version{kmip.V1_4, kmip.V1_3, kmip.V1_2, kmip.V1_1, kmip.V1_0} {
			if kmip.TagKnownIn(tag, v) {
				r.since = v
			}
		}
		if v, ok := sinceAttribute[r.name]; ok {
			r.since = v
		}
		m[r.name] = r
	}
	for _, side := range []string{"Certificate Subject ", "Certificate Issuer "} {
		for _, part := range namePart {
			name := side + part
			tag, _ := kmip.TagByName(name)
			m[name] = &rule{name: name, tag: tag, since: kmip.V1_4, types: tCert, multi: true, ignore: true}
		}
	}
	return m
}()

// customRule is the rule of client-made custom attributes (KMIP 1.4 section 3.39).
var customRule = rule{tag: kmip.TagCustomAttribute, types: tAll, multi: true, set: freely, modify: freely, delete: true}

// serverCustomRule is the rule of server-made ones.
var serverCustomRule = rule{tag: kmip.TagCustomAttribute, types: tAll, multi: true}

// ruleOf finds the rule of an attribute name, nil when no version of KMIP 1.x has it.
func ruleOf(name string) *rule {
	if r := rulesByName[name]; r != nil {
		return r
	}
	switch {
	case isCustom(name):
		return &customRule
	case strings.HasPrefix(name, "y-"):
		return &serverCustomRule
	}
	return nil
}

func isCustom(name string) bool { return strings.HasPrefix(name, "x-") }

// maxInstances bounds the instances of one attribute (Index Out of Bounds beyond), maxNameLength and maxTextLength the
// octets of names and texts: they end up in records and index keys.
const (
	maxInstances  = 256
	maxNameLength = 1024
	maxAttributes = 1024
)
