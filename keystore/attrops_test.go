package keystore

import (
	"context"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// indexes lists the Attribute Indexes and texts of an attribute, e.g. "0:a 2:c".
func (c client) indexes(uid, name string) string {
	c.t.Helper()
	list, err := c.attributes(uid, name)
	c.ok(err)
	var out []string
	for _, a := range list {
		var i int32
		if a.AttributeIndex != nil {
			i = *a.AttributeIndex
		}
		out = append(out, fmt.Sprintf("%d:%s", i, a.AttributeValue.Text()))
	}
	return strings.Join(out, " ")
}

// Indexes begin at 0 and are not renumbered (KMIP 1.4 section 2.1.1).
func TestAttributeIndexes(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	uid := c.aes(at("x-a", textValue("a")), at("x-a", textValue("b")))
	check := func(want string) {
		t.Helper()
		if got := c.indexes(uid, "x-a"); got != want {
			t.Errorf("got instances %q, want %q", got, want)
		}
	}
	c.ok(c.add(uid, at("x-a", textValue("c"))))
	check("0:a 1:b 2:c")
	c.ok(c.remove(uid, "x-a", ptr(int32(1))))
	check("0:a 2:c")
	wantReason(t, "Modify of a deleted instance", c.modify(uid, atIndex("x-a", 1, textValue("z"))), kmip.ResultReasonItemNotFound)
	wantReason(t, "Delete of a deleted instance", c.remove(uid, "x-a", ptr(int32(1))), kmip.ResultReasonItemNotFound)
	c.ok(c.add(uid, at("x-a", textValue("d"))))
	check("0:a 2:c 3:d")
	c.ok(c.modify(uid, atIndex("x-a", 2, textValue("e"))))
	check("0:a 2:e 3:d")
	c.ok(c.modify(uid, at("x-a", textValue("f")))) // without index: 0
	check("0:f 2:e 3:d")

	wantReason(t, "Delete without index in 1.0", c.in(kmip.V1_0).remove(uid, "x-a", nil), kmip.ResultReasonInvalidField)
	c.ok(c.in(kmip.V1_1).remove(uid, "x-a", nil))
	check("2:e 3:d")
	c.ok(c.remove(uid, "x-a", ptr(int32(3))))
	wantReason(t, "Delete of instance 0 that is gone", c.remove(uid, "x-a", nil), kmip.ResultReasonItemNotFound)
	c.ok(c.remove(uid, "x-a", ptr(int32(2))))
	check("")

	resp, err := do(c, kmip.OperationAddAttribute, uid, c.s.AddAttribute, &kmip.AddAttributeRequest{Attribute: at("x-b", textValue("1"))})
	c.ok(err)
	if resp.UniqueIdentifier != uid || resp.Attribute.AttributeIndex != nil || resp.Attribute.AttributeValue.Text() != "1" {
		t.Errorf("Add Attribute: got %+v, want the instance without index", resp)
	}
	gone, err := do(c, kmip.OperationDeleteAttribute, uid, c.s.DeleteAttribute, &kmip.DeleteAttributeRequest{AttributeName: "x-b"})
	c.ok(err)
	if gone.Attribute.AttributeValue.Text() != "1" {
		t.Errorf("Delete Attribute: got %q, want the deleted value", gone.Attribute.AttributeValue.Text())
	}
	wantReason(t, "Add to an object that is not there", c.add("none", at("x-b", textValue("1"))), kmip.ResultReasonItemNotFound)
	wantReason(t, "Add of an unknown attribute", c.add(uid, at("Flavour", textValue("1"))), kmip.ResultReasonInvalidField)
	wantReason(t, "Modify of an unknown attribute", c.modify(uid, at("Flavour", textValue("1"))), kmip.ResultReasonInvalidField)
}

func TestInstanceLimit(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	var attrs []kmip.Attribute
	for i := range maxInstances {
		attrs = append(attrs, at("x-many", intValue(int32(i))))
	}
	uid := c.aes(attrs...)
	wantReason(t, "Add", c.add(uid, at("x-many", intValue(int32(-1)))), kmip.ResultReasonIndexOutOfBounds)
	wantReason(t, "Add of another attribute", c.add(uid, at("x-few", intValue(int32(-1)))), 0)
	_, err := c.create(kmip.ObjectTypeSymmetricKey, append(append(aesAttributes(256), attrs...), at("x-many", intValue(int32(-1))))...)
	wantReason(t, "Create", err, kmip.ResultReasonIndexOutOfBounds)
	_, err = c.register(symmetric(marker(16)), append(attrs, at("x-many", intValue(int32(-1))))...)
	wantReason(t, "Register", err, kmip.ResultReasonIndexOutOfBounds)
	_, _, err = c.createPair(with(append(attributesOf(kmip.CryptographicAlgorithmECDSA, 256, 1), append(attrs, at("x-many", intValue(int32(-1))))...)...), nil, nil)
	wantReason(t, "Create Key Pair", err, kmip.ResultReasonIndexOutOfBounds)
}

// Names are unique among the live objects of one client (DIVERGENCES.md).
func TestNames(t *testing.T) {
	b := newBench(t)
	c, other := b.client("alice"), b.client("bob")
	first := c.aes(named("n"))
	second := c.aes()
	_, err := c.create(kmip.ObjectTypeSymmetricKey, append(aesAttributes(256), named("n"))...)
	wantReason(t, "Create", err, kmip.ResultReasonInvalidField)
	_, err = c.register(opaque(marker(8)), named("n"))
	wantReason(t, "Register", err, kmip.ResultReasonInvalidField)
	_, err = c.register(template(), named("n"))
	wantReason(t, "Register Template", err, kmip.ResultReasonInvalidField)
	_, _, err = c.createPair(with(attributesOf(kmip.CryptographicAlgorithmECDSA, 256, 1)...), with(named("n")), nil)
	wantReason(t, "Create Key Pair", err, kmip.ResultReasonInvalidField)
	_, _, err = c.createPair(with(append(attributesOf(kmip.CryptographicAlgorithmECDSA, 256, 1), named("both"))...), nil, nil)
	wantReason(t, "Create Key Pair with one Name for both", err, kmip.ResultReasonInvalidField)
	wantReason(t, "Add Attribute", c.add(second, named("n")), kmip.ResultReasonIllegalOperation)
	uri := at("Name", structValue(&kmip.Name{NameValue: "n", NameType: kmip.NameTypeURI}))
	wantReason(t, "Add Attribute of another Name Type", c.add(second, uri), kmip.ResultReasonIllegalOperation)
	wantReason(t, "Add Attribute to the holder", c.add(first, uri), kmip.ResultReasonIllegalOperation)
	c.ok(c.add(second, named("m")))
	wantReason(t, "Modify Attribute", c.modify(second, named("n")), kmip.ResultReasonIllegalOperation)
	_, err = c.create(kmip.ObjectTypeSymmetricKey, append(aesAttributes(256), named("twice"), named("twice"))...)
	wantReason(t, "Create with one Name twice", err, 0) // the same instance twice is one
	_, err = c.create(kmip.ObjectTypeSymmetricKey, append(aesAttributes(256), named("t"), at("Name", structValue(&kmip.Name{NameValue: "t", NameType: kmip.NameTypeURI})))...)
	wantReason(t, "Create with one Name Value of two types", err, kmip.ResultReasonInvalidField)

	other.must(other.create(kmip.ObjectTypeSymmetricKey, append(aesAttributes(256), named("n"))...)) // another client's are another's
	if got := c.find(named("n")); !slices.Equal(got, []string{first}) {
		t.Errorf("Locate: got %v, want %v", got, first)
	}
	c.ok(c.modify(first, named("o")))
	c.ok(c.modify(second, named("n"))) // free after the change
	c.ok(c.destroy(second))
	third := c.aes(named("n")) // free after Destroy
	c.ok(c.remove(third, "Name", nil))
	c.aes(named("n")) // free after Delete Attribute
	c.aes(named(strings.Repeat("n", maxNameLength)))
	b.wantClean()
}

// Custom attributes take every type, and flat structures (KMIP 1.4 section 3.39).
func TestCustomAttributes(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	flat, mark := ttlv.Begin(nil, kmip.TagAttributeValue)
	flat = ttlv.End(ttlv.AppendInt(ttlv.AppendText(flat, 0x540001, "in"), 0x540002, 7), mark)
	nested, mark := ttlv.Begin(nil, kmip.TagAttributeValue)
	inner, imark := ttlv.Begin(nil, 0x540001)
	nested = ttlv.End(append(nested, ttlv.End(inner, imark)...), mark)
	values := map[string]ttlv.Item{
		"integer": intValue(int32(-1)), "long": ttlv.Make(ttlv.AppendLong(nil, kmip.TagAttributeValue, 1<<40)),
		"big integer": ttlv.Make(ttlv.AppendBigInt(nil, kmip.TagAttributeValue, big.NewInt(-1<<60))), "enumeration": enumValue(uint32(0x80000001)),
		"boolean": boolValue(false), "text": textValue(strings.Repeat("ü", 200)), "empty text": textValue(""),
		"octets": ttlv.Make(ttlv.AppendBytes(nil, kmip.TagAttributeValue, []byte{0, 1})), "date": timeValue(epoch),
		"interval": intervalValue(9), "structure": ttlv.Make(flat),
	}
	uid := c.aes()
	for name, v := range values {
		attr := "x-" + name
		c.ok(c.add(uid, at(attr, v)))
		if got := c.value(uid, attr); !got.Equal(v) {
			t.Errorf("%s: got %v, want %v", attr, got, v)
		}
		made := c.aes(at(attr, v))
		if got := c.find(at(attr, v)); !slices.Equal(got, []string{made, uid}) {
			t.Errorf("Locate by %s: got %d objects, want both", attr, len(got))
		}
		if v.Type != ttlv.TextString {
			wantReason(t, "second instance of another type, "+attr, c.add(uid, at(attr, textValue("x"))), kmip.ResultReasonInvalidField)
			_, err := c.create(kmip.ObjectTypeSymmetricKey, append(aesAttributes(256), at(attr, v), at(attr, textValue("x")))...)
			wantReason(t, "Create with instances of two types, "+attr, err, kmip.ResultReasonInvalidField)
		}
	}
	wantReason(t, "nested structure", c.add(uid, at("x-nested", ttlv.Make(nested))), kmip.ResultReasonInvalidField)
	wantReason(t, "long name", c.add(uid, at("x-"+strings.Repeat("n", maxNameLength), textValue("v"))), kmip.ResultReasonInvalidField)
	for _, y := range []error{c.add(uid, at("y-a", textValue("v"))), c.modify(uid, at("y-a", textValue("v"))), c.remove(uid, "y-a", nil)} {
		wantReason(t, "y- attribute", y, kmip.ResultReasonInvalidField)
	}
	_, err := c.create(kmip.ObjectTypeSymmetricKey, append(aesAttributes(256), at("y-a", textValue("v")))...)
	wantReason(t, "Create with a y- attribute", err, kmip.ResultReasonInvalidField)
	_, err = c.create(kmip.ObjectTypeSymmetricKey, append(aesAttributes(256), at("Application Specific Information", structValue(&kmip.ApplicationSpecificInformation{ApplicationNamespace: "n"})))...)
	wantReason(t, "namespace without data", err, kmip.ResultReasonApplicationNamespaceNotSupported)
	wantReason(t, "namespace without data", c.add(uid, at("Application Specific Information", structValue(&kmip.ApplicationSpecificInformation{ApplicationNamespace: "n"}))), kmip.ResultReasonApplicationNamespaceNotSupported)
}

// No answer holds an attribute, a member or an enumeration value that is newer than the client's version.
func TestVersions(t *testing.T) {
	b := newBench(t, func(cfg *Config) { cfg.LeaseTime = 60 })
	c := b.client("alice")
	random := true
	sym := c.aes(named("n"), at("Description", textValue("d")), at("Comment", textValue("c")), at("PKCS#12 Friendly Name", textValue("f")),
		at("Alternative Name", structValue(&kmip.AlternativeName{AlternativeNameValue: "a", AlternativeNameType: kmip.AlternativeNameTypeURI})),
		at("Cryptographic Parameters", structValue(&kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeCBC, RandomIV: &random, MaskGenerator: kmip.MaskGeneratorMGF1})),
		at("Cryptographic Parameters", structValue(&kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeAEAD})),
		at("Link", structValue(&kmip.Link{LinkType: kmip.LinkTypePKCS12PasswordLink, LinkedObjectIdentifier: "1"})),
		at("x-a", textValue("v")), at("Object Group", textValue("g")))
	chacha := symmetric(marker(32))
	chacha.SymmetricKey.KeyBlock.CryptographicAlgorithm = kmip.CryptographicAlgorithmChaCha20
	newer := c.must(c.register(chacha))
	priv, pub, err := c.createPair(with(attributesOf(kmip.CryptographicAlgorithmEC, 256, 1)...), nil, nil)
	c.ok(err)
	cert := c.must(c.register(certificate(makeCert(t, pkix.Name{CommonName: "cn", Organization: []string{"o"}, Country: []string{"DE"}}, nil).Raw)))
	opaqueUID := c.must(c.register(opaque(marker(8))))

	first := map[string]kmip.Version{ // attributes that are newer than 1.0
		"Certificate Length": kmip.V1_1, "X.509 Certificate Identifier": kmip.V1_1, "X.509 Certificate Subject": kmip.V1_1,
		"X.509 Certificate Issuer": kmip.V1_1, "Digital Signature Algorithm": kmip.V1_1, "Fresh": kmip.V1_1,
		"Alternative Name": kmip.V1_2, "Key Value Present": kmip.V1_2, "Key Value Location": kmip.V1_2, "Original Creation Date": kmip.V1_2,
		"Random Number Generator": kmip.V1_3, "PKCS#12 Friendly Name": kmip.V1_4, "Description": kmip.V1_4, "Comment": kmip.V1_4,
		"Sensitive": kmip.V1_4, "Always Sensitive": kmip.V1_4, "Extractable": kmip.V1_4, "Never Extractable": kmip.V1_4,
	}
	for _, v := range []kmip.Version{kmip.V1_0, kmip.V1_1, kmip.V1_2, kmip.V1_3, kmip.V1_4} {
		for what, uid := range map[string]string{"symmetric": sym, "newer algorithm": newer, "private": priv, "public": pub, "certificate": cert, "opaque": opaqueUID} {
			list, err := c.in(v).attributes(uid)
			c.ok(err)
			var names []string
			for _, a := range list {
				if !slices.Contains(names, a.AttributeName) {
					names = append(names, a.AttributeName)
				}
				if since := first[a.AttributeName]; v.Before(since) || strings.HasPrefix(a.AttributeName, "Certificate Subject ") && v.Before(kmip.V1_4) {
					t.Errorf("%s %s: got %s, which is newer", v, what, a.AttributeName)
				}
				checkKnown(t, fmt.Sprintf("%s %s: %s", v, what, a.AttributeName), attributeTag(a.AttributeName), a.AttributeValue, v)
			}
			resp, err := do(c.in(v), kmip.OperationGetAttributeList, uid, c.s.GetAttributeList, &kmip.GetAttributeListRequest{})
			c.ok(err)
			if !slices.Equal(resp.AttributeName, names) {
				t.Errorf("%s %s: Get Attribute List got %q, Get Attributes %q", v, what, resp.AttributeName, names)
			}
			if v == kmip.V1_4 && what == "symmetric" {
				for name := range first {
					if r := ruleOf(name); r.types&tSym != 0 && !slices.Contains(names, name) && !strings.HasPrefix(name, "Key Value") {
						t.Errorf("1.4: %s is missing", name)
					}
				}
			}
		}
		d := c.in(v).value(sym, "Digest")
		if got := !d.Find(kmip.TagKeyFormatType).IsZero(); got != !v.Before(kmip.V1_1) {
			t.Errorf("%s: got Key Format Type in Digest %t", v, got)
		}
		if got := c.in(v).value(newer, "Cryptographic Algorithm").IsZero(); got != v.Before(kmip.V1_4) {
			t.Errorf("%s: got algorithm ChaCha20 hidden %t", v, got)
		}
	}
}

func attributeTag(name string) ttlv.Tag {
	if r := ruleOf(name); r != nil {
		return r.tag
	}
	return 0
}

// checkKnown fails for a tag or an enumeration value that the version does not know.
func checkKnown(t *testing.T, what string, tag ttlv.Tag, v ttlv.Item, ver kmip.Version) {
	t.Helper()
	if !kmip.TagKnownIn(tag, ver) && tag != kmip.TagRandomNumberGenerator {
		t.Errorf("%s: tag %s is newer", what, kmip.NameOfTag(tag))
	}
	if v.Type == ttlv.Enumeration {
		if e := kmip.TagEnum(tag); e != "" && v.Enum() < 0x80000000 && !kmip.EnumKnownIn(e, v.Enum(), ver) {
			t.Errorf("%s: value %s of %s is newer", what, kmip.EnumName(e, v.Enum()), e)
		}
	}
	if tag == kmip.TagCustomAttribute {
		return
	}
	for m := range v.Members {
		checkKnown(t, what, m.Tag, m, ver)
	}
}

func TestGetAttributesNames(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	uid := c.aes()
	list, err := c.attributes(uid, "State", "Flavour", "Activation Date", "x-none", "Cryptographic Length")
	c.ok(err)
	if len(list) != 2 || list[0].AttributeName != "State" || list[1].AttributeName != "Cryptographic Length" {
		t.Errorf("got %+v, want State and Cryptographic Length; unknown and absent names are left out", list)
	}
	_, err = c.attributes("none")
	wantReason(t, "Get Attributes", err, kmip.ResultReasonItemNotFound)
	_, err = b.client("bob").attributes(uid)
	wantReason(t, "Get Attributes of another client's object", err, kmip.ResultReasonItemNotFound)
}

// Last Change Date follows every change, and nothing else.
func TestLastChangeDate(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	uid := c.aes()
	for _, step := range []struct {
		name    string
		do      func() error
		changes bool
	}{
		{"Get Attributes", func() error { _, err := c.attributes(uid); return err }, false},
		{"Locate", func() error { c.find(); return nil }, false},
		{"Add", func() error { return c.add(uid, at("x-a", textValue("1"))) }, true},
		{"refused Add", func() error { _ = c.add(uid, at("State", textValue("1"))); return nil }, false},
		{"Modify", func() error { return c.modify(uid, at("x-a", textValue("2"))) }, true},
		{"Delete", func() error { return c.remove(uid, "x-a", nil) }, true},
		{"Activate", func() error { return c.activate(uid) }, true},
		{"Revoke", func() error { return c.revoke(uid, kmip.RevocationReasonCodeSuperseded) }, true},
		{"Destroy", func() error { return c.destroy(uid) }, true},
	} {
		before := c.value(uid, "Last Change Date").Time()
		b.advance(time.Minute)
		c.ok(step.do())
		want := before
		if step.changes {
			want = b.clock()
		}
		if got := c.value(uid, "Last Change Date").Time(); !got.Equal(want) {
			t.Errorf("after %s: got %s, want %s", step.name, got, want)
		}
	}
	if rec, err := b.db.Get(context.Background(), uid); err != nil || !rec.Due.IsZero() {
		t.Errorf("a destroyed record: got Due %v, error %v, want none", rec.Due, err)
	}
}
