package keystore

import (
	"crypto/x509/pkix"
	"fmt"
	"strings"
	"testing"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// kind is how the rules treat an attribute (profiles.md section 7.1).
type kind int

const (
	server   kind = iota // set by the server alone
	ignored              // set by the server from the object; a client may name it at creation without effect
	creation             // a client sets it at creation and never again
	oneWay               // like creation, but it can be modified in the strict direction
	date                 // a client sets it at creation or later, and changes it until it has come
	single               // a client does what it likes with one value
	multi                // a client does what it likes with several values
)

// The object types by letter: symmetric, public, private, split, template, secret, certificate, opaque, PGP.
const allTypes = "surptdcog"

// attributeTable is profiles.md section 7.1, with the object types that kmipd takes each attribute for.
var attributeTable = []struct {
	name  string
	kind  kind
	types string
	value ttlv.Item
	other ttlv.Item // another value, for Modify and for a second instance
}{
	{"Unique Identifier", server, allTypes, textValue("u"), ttlv.Item{}},
	{"Name", multi, allTypes, named("sample").AttributeValue, named("other").AttributeValue},
	{"Object Type", server, allTypes, enumValue(kmip.ObjectTypeSymmetricKey), ttlv.Item{}},
	{"Cryptographic Algorithm", creation, "surptcg", enumValue(kmip.CryptographicAlgorithmEC), enumValue(kmip.CryptographicAlgorithmRSA)},
	{"Cryptographic Length", creation, "surptdcg", intValue(int32(256)), intValue(int32(128))},
	{"Cryptographic Parameters", multi, "surptdcg", structValue(&kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeCBC}), structValue(&kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeGCM})},
	{"Cryptographic Domain Parameters", creation, "urt", structValue(&kmip.CryptographicDomainParameters{RecommendedCurve: kmip.RecommendedCurveP256}), structValue(&kmip.CryptographicDomainParameters{RecommendedCurve: kmip.RecommendedCurveP384})},
	{"Certificate Type", ignored, "ct", enumValue(kmip.CertificateTypeX509), enumValue(kmip.CertificateTypePGP)},
	{"Certificate Length", ignored, "c", intValue(int32(1)), intValue(int32(2))},
	{"X.509 Certificate Identifier", ignored, "c", structValue(&kmip.X509CertificateIdentifier{IssuerDistinguishedName: []byte{1}, CertificateSerialNumber: []byte{1}}), ttlv.Item{}},
	{"X.509 Certificate Subject", ignored, "c", structValue(&kmip.X509CertificateSubject{SubjectDistinguishedName: []byte{1}}), ttlv.Item{}},
	{"X.509 Certificate Issuer", ignored, "c", structValue(&kmip.X509CertificateIssuer{IssuerDistinguishedName: []byte{1}}), ttlv.Item{}},
	{"Certificate Identifier", ignored, "c", structValue(&kmip.CertificateIdentifier{Issuer: "i"}), ttlv.Item{}},
	{"Certificate Subject", ignored, "c", structValue(&kmip.CertificateSubject{CertificateSubjectDistinguishedName: "s"}), ttlv.Item{}},
	{"Certificate Issuer", ignored, "c", structValue(&kmip.CertificateIssuer{CertificateIssuerDistinguishedName: "i"}), ttlv.Item{}},
	{"Certificate Subject CN", ignored, "c", textValue("cn"), ttlv.Item{}},
	{"Digital Signature Algorithm", ignored, "cg", enumValue(kmip.DigitalSignatureAlgorithmSHA256WithRSAEncryptionPKCS1V1_5), ttlv.Item{}},
	{"Digest", ignored, "surpdcog", structValue(&kmip.Digest{HashingAlgorithm: kmip.HashingAlgorithmSHA256, DigestValue: []byte{1}}), ttlv.Item{}},
	{"Operation Policy Name", creation, allTypes, textValue("default"), textValue("other")},
	{"Cryptographic Usage Mask", creation, allTypes, intValue(int32(4)), intValue(int32(8))},
	{"Lease Time", server, "surpdcog", intervalValue(5), ttlv.Item{}},
	{"Usage Limits", single, "surptdg", limits(10), limits(20)},
	{"State", server, "surpdcog", enumValue(kmip.StateActive), ttlv.Item{}},
	{"Initial Date", server, allTypes, timeValue(epoch), ttlv.Item{}},
	{"Activation Date", date, "surptdcog", timeValue(epoch.Add(time.Hour)), timeValue(epoch.Add(2 * time.Hour))},
	{"Process Start Date", date, "surptdg", timeValue(epoch.Add(time.Hour)), timeValue(epoch.Add(2 * time.Hour))},
	{"Protect Stop Date", date, "surptdg", timeValue(epoch.Add(time.Hour)), timeValue(epoch.Add(2 * time.Hour))},
	{"Deactivation Date", date, "surptdcog", timeValue(epoch.Add(time.Hour)), timeValue(epoch.Add(2 * time.Hour))},
	{"Destroy Date", server, "surpdcog", timeValue(epoch), ttlv.Item{}},
	{"Compromise Occurrence Date", server, "surpdcog", timeValue(epoch), ttlv.Item{}},
	{"Compromise Date", server, "surpdcog", timeValue(epoch), ttlv.Item{}},
	{"Revocation Reason", server, "surpdcog", structValue(&kmip.RevocationReason{RevocationReasonCode: kmip.RevocationReasonCodeSuperseded}), ttlv.Item{}},
	{"Archive Date", server, allTypes, timeValue(epoch), ttlv.Item{}},
	{"Object Group", multi, allTypes, textValue("group"), textValue("group 2")},
	{"Fresh", creation, allTypes, boolValue(true), boolValue(false)},
	{"Link", multi, "surpdcog", structValue(&kmip.Link{LinkType: kmip.LinkTypeParentLink, LinkedObjectIdentifier: "1"}), structValue(&kmip.Link{LinkType: kmip.LinkTypeChildLink, LinkedObjectIdentifier: "1"})},
	{"Application Specific Information", multi, allTypes, appData("ns", "1"), appData("ns", "2")},
	{"Contact Information", single, allTypes, textValue("me"), textValue("you")},
	{"Last Change Date", server, allTypes, timeValue(epoch), ttlv.Item{}},
	{"Alternative Name", multi, allTypes, structValue(&kmip.AlternativeName{AlternativeNameValue: "a", AlternativeNameType: kmip.AlternativeNameTypeURI}), structValue(&kmip.AlternativeName{AlternativeNameValue: "b", AlternativeNameType: kmip.AlternativeNameTypeURI})},
	{"Key Value Present", server, "srpd", boolValue(true), ttlv.Item{}},
	{"Key Value Location", multi, "srpd", structValue(&kmip.KeyValueLocation{KeyValueLocationValue: "there", KeyValueLocationType: kmip.KeyValueLocationTypeURI}), structValue(&kmip.KeyValueLocation{KeyValueLocationValue: "elsewhere", KeyValueLocationType: kmip.KeyValueLocationTypeURI})},
	{"Original Creation Date", creation, allTypes, timeValue(epoch.Add(-time.Hour)), timeValue(epoch)},
	{"Random Number Generator", creation, "surpdcg", structValue(&kmip.RNGParameters{RNGAlgorithm: kmip.RNGAlgorithmDRBG}), structValue(&kmip.RNGParameters{RNGAlgorithm: kmip.RNGAlgorithmNRBG})},
	{"PKCS#12 Friendly Name", single, "surptdcg", textValue("friend"), textValue("foe")},
	{"Description", single, allTypes, textValue("d"), textValue("e")},
	{"Comment", single, allTypes, textValue("c"), textValue("d")},
	{"Sensitive", oneWay, allTypes, boolValue(true), boolValue(true)},
	{"Always Sensitive", server, "surpdcog", boolValue(true), ttlv.Item{}},
	{"Extractable", oneWay, allTypes, boolValue(false), boolValue(false)},
	{"Never Extractable", server, "surpdcog", boolValue(true), ttlv.Item{}},
	{"x-custom", multi, allTypes, textValue("v"), textValue("w")},
}

func limits(total int64) ttlv.Item {
	return structValue(&kmip.UsageLimits{UsageLimitsTotal: total, UsageLimitsUnit: kmip.UsageLimitsUnitObject})
}

func appData(namespace, data string) ttlv.Item {
	return structValue(&kmip.ApplicationSpecificInformation{ApplicationNamespace: namespace, ApplicationData: &data})
}

// registerType registers a bare object of the type with the letter.
func (c client) registerType(letter byte, attrs ...kmip.Attribute) (string, error) {
	c.t.Helper()
	req := symmetric(marker(32))
	switch letter {
	case 'u':
		req = publicKey(c.t, ecKey())
	case 'r':
		req = privateKey(c.t, ecKey())
	case 'p':
		req = &kmip.RegisterRequest{ObjectType: kmip.ObjectTypeSplitKey, SplitKey: &kmip.SplitKey{SplitKeyParts: 3, KeyPartIdentifier: 1, SplitKeyThreshold: 2,
			SplitKeyMethod: kmip.SplitKeyMethodXOR, KeyBlock: kmip.KeyBlock{KeyFormatType: kmip.KeyFormatTypeRaw, KeyValue: structured(marker(32))}}}
	case 't':
		req = template()
		if !hasName(attrs) {
			attrs = append(attrs[:len(attrs):len(attrs)], named("template "+newUID()))
		}
	case 'd':
		req = secret(marker(32))
	case 'c':
		req = certificate(makeCert(c.t, pkix.Name{CommonName: "subject"}, nil).Raw)
	case 'o':
		req = opaque(marker(32))
	case 'g':
		req = &kmip.RegisterRequest{ObjectType: kmip.ObjectTypePGPKey, PGPKey: &kmip.PGPKey{PGPKeyVersion: 4,
			KeyBlock: kmip.KeyBlock{KeyFormatType: kmip.KeyFormatTypeRaw, KeyValue: structured(marker(32))}}}
	}
	for _, a := range attrs {
		if a.AttributeName == "Cryptographic Usage Mask" {
			req.TemplateAttribute.Attribute = nil // the bare object's own mask
		}
	}
	return c.register(req, attrs...)
}

func hasName(attrs []kmip.Attribute) bool {
	for _, a := range attrs {
		if a.AttributeName == "Name" {
			return true
		}
	}
	return false
}

// TestAttributeTable sets, adds, modifies and deletes every attribute on an object of every type.
func TestAttributeTable(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	listed := map[string]bool{}
	for _, row := range attributeTable {
		listed[row.name] = true
		t.Run(row.name, func(t *testing.T) {
			for _, letter := range []byte(allTypes) {
				t.Run(string(letter), func(t *testing.T) {
					b.t = t
					applies := strings.IndexByte(row.types, letter) >= 0
					value := row.value
					if row.name == "Cryptographic Algorithm" && strings.IndexByte("sp", letter) >= 0 {
						value = enumValue(kmip.CryptographicAlgorithmAES)
					}
					checkCreation(c, row.name, row.kind, applies, letter, value)
					checkOperations(c, row.name, row.kind, applies, letter, value, row.other)
				})
			}
		})
	}
	b.t = t
	for name := range rulesByName {
		if !listed[name] && !strings.HasPrefix(name, "Certificate Subject ") && !strings.HasPrefix(name, "Certificate Issuer ") {
			t.Errorf("the rules have %s, the table of this test has not", name)
		}
	}
	b.wantClean()
}

func checkCreation(c client, name string, k kind, applies bool, letter byte, value ttlv.Item) {
	var want kmip.ResultReason
	switch {
	case k == ignored:
	case k == server, !applies:
		want = kmip.ResultReasonInvalidField
	}
	uid, err := c.registerType(letter, at(name, value))
	wantReason(c.t, "at creation", err, want)
	if err != nil {
		return
	}
	list, err := c.attributes(uid, name)
	wantReason(c.t, "Get Attributes", err, 0)
	if k == ignored {
		for _, a := range list {
			if a.AttributeValue.Equal(value) && name != "Certificate Type" {
				c.t.Errorf("at creation: the client's value was taken, want the server's")
			}
		}
	} else if name == "Usage Limits" && letter != 't' {
		if len(list) != 1 || list[0].AttributeValue.Find(kmip.TagUsageLimitsCount).IsZero() {
			c.t.Errorf("Usage Limits: got %d instances, want one with a Count", len(list))
		}
	} else if len(list) != 1 || !list[0].AttributeValue.Equal(value) {
		c.t.Errorf("at creation: got %d instances, want the one that was given", len(list))
	}
	if name == "Name" {
		// It must be free for the next object.
		wantReason(c.t, "Destroy", c.destroy(uid), 0)
	}
}

func checkOperations(c client, name string, k kind, applies bool, letter byte, value, other ttlv.Item) {
	uid, err := c.registerType(letter)
	wantReason(c.t, "bare object", err, 0)
	list, err := c.attributes(uid, name)
	wantReason(c.t, "Get Attributes", err, 0)
	if name == "Name" {
		defer func() { wantReason(c.t, "Destroy", c.destroy(uid), 0) }() // the Name must be free for the next object
		if letter == 't' {
			return // a Template always has one
		}
	}
	reasons := expected(k, applies, len(list) > 0)

	wantReason(c.t, "Modify before Add", c.modify(uid, at(name, value)), reasons.modifyFirst)
	wantReason(c.t, "Add", c.add(uid, at(name, value)), reasons.add)
	wantReason(c.t, "Add the same again", c.add(uid, at(name, value)), reasons.again)
	if !other.IsZero() {
		wantReason(c.t, "Modify", c.modify(uid, at(name, other)), reasons.modify)
		wantReason(c.t, "Modify an instance that is not there", c.modify(uid, atIndex(name, 77, other)), reasons.modifyIndex)
	}
	wantReason(c.t, "Delete", c.remove(uid, name, nil), reasons.remove)
	wantReason(c.t, "Delete again", c.remove(uid, name, nil), reasons.removeAgain)
}

// expect holds the Result Reasons of the attribute operations, 0 for success (profiles.md section 7.2).
type expect struct{ modifyFirst, add, again, modify, modifyIndex, remove, removeAgain kmip.ResultReason }

func expected(k kind, applies, present bool) expect {
	const (
		denied  = kmip.ResultReasonPermissionDenied
		illegal = kmip.ResultReasonIllegalOperation
		field   = kmip.ResultReasonInvalidField
		missing = kmip.ResultReasonItemNotFound
	)
	readOnly := expect{denied, denied, denied, denied, denied, denied, denied}
	switch {
	case k == server, k == ignored:
		return readOnly
	case !applies && (k == single || k == multi):
		return expect{field, denied, denied, field, field, missing, missing}
	case !applies:
		return expect{field, denied, denied, field, field, denied, denied}
	}
	switch k {
	case creation, oneWay:
		e := expect{field, denied, denied, field, field, denied, denied} // absent, and it stays so
		if present {
			e = expect{denied, illegal, illegal, denied, missing, denied, denied}
			if k == oneWay {
				e.modifyFirst, e.modify = 0, 0
			}
		}
		return e
	case date:
		return expect{field, 0, illegal, 0, missing, denied, denied}
	}
	return expect{field, 0, illegal, 0, missing, 0, missing}
}

// Every value of a wrong type is an Invalid Field, on every path.
func TestAttributeTypes(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	wrong := []ttlv.Item{intervalValue(1), textValue("text"), structValue(&kmip.Name{NameValue: "n", NameType: kmip.NameTypeURI}), ttlv.Make(ttlv.AppendLong(nil, kmip.TagAttributeValue, 1))}
	for _, row := range attributeTable {
		if row.kind == server || row.kind == ignored || row.name == "x-custom" {
			continue
		}
		for i, v := range wrong {
			if v.Type == row.value.Type && v.Type != ttlv.Structure || row.name == "Name" && v.Type == ttlv.Structure {
				continue
			}
			what := fmt.Sprintf("%s as %s (%d)", row.name, v.Type, i)
			attrs := []kmip.Attribute{at(row.name, v)}
			if row.name != "Cryptographic Usage Mask" {
				attrs = append(attrs, mask(4))
			}
			_, err := c.create(kmip.ObjectTypeSymmetricKey, attrs...)
			wantReason(t, "Create with "+what, err, kmip.ResultReasonInvalidField)
			if row.kind == single || row.kind == multi || row.kind == date {
				uid := c.must(c.registerType('t'))
				if strings.IndexByte(row.types, 't') < 0 {
					uid = c.aes()
				}
				wantReason(t, "Add of "+what, c.add(uid, at(row.name, v)), kmip.ResultReasonInvalidField)
			}
		}
	}
}
