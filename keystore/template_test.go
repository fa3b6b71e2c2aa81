package keystore

import (
	"slices"
	"testing"

	"kmipd/kmip"
)

func fromTemplates(attrs []kmip.Attribute, names ...string) *kmip.TemplateAttribute {
	ta := with(attrs...)
	for _, n := range names {
		ta.Name = append(ta.Name, kmip.Name{NameValue: n, NameType: kmip.NameTypeUninterpretedTextString})
	}
	return ta
}

// An explicit attribute goes before a template's, a later template before an earlier one; several instances add up.
func TestTemplatePrecedence(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	c.must(c.register(template(append(aesAttributes(128), at("Contact Information", textValue("first")), at("Comment", textValue("first")), at("Object Group", textValue("one")))...), named("first")))
	second := c.must(c.register(template(at("Contact Information", textValue("second")), at("Object Group", textValue("two")), at("Object Group", textValue("one"))), named("second")))
	create := func(ta *kmip.TemplateAttribute) (string, error) {
		resp, err := do(c, kmip.OperationCreate, "", c.s.Create, &kmip.CreateRequest{ObjectType: kmip.ObjectTypeSymmetricKey, TemplateAttribute: *ta})
		if err != nil {
			return "", err
		}
		return resp.UniqueIdentifier, nil
	}
	groups := func(uid string) []string {
		list, err := c.attributes(uid, "Object Group")
		c.ok(err)
		var out []string
		for _, a := range list {
			out = append(out, a.AttributeValue.Text())
		}
		slices.Sort(out)
		return out
	}
	for _, row := range []struct {
		name             string
		ta               *kmip.TemplateAttribute
		contact, comment string
		bits             int32
		groups           []string
	}{
		{"one", fromTemplates(nil, "first"), "first", "first", 128, []string{"one"}},
		{"two", fromTemplates(nil, "first", "second"), "second", "first", 128, []string{"one", "two"}},
		{"two, the other way", fromTemplates(nil, "second", "first"), "first", "first", 128, []string{"one", "two"}},
		{"explicit", fromTemplates([]kmip.Attribute{at("Contact Information", textValue("mine")), at("Cryptographic Length", intValue(int32(256))), at("Object Group", textValue("three"))}, "first", "second"),
			"mine", "first", 256, []string{"one", "three", "two"}},
	} {
		uid := c.must(create(row.ta))
		if got := c.value(uid, "Contact Information").Text(); got != row.contact {
			t.Errorf("%s: got Contact Information %q, want %q", row.name, got, row.contact)
		}
		if got := c.value(uid, "Comment").Text(); got != row.comment {
			t.Errorf("%s: got Comment %q, want %q", row.name, got, row.comment)
		}
		if got := c.value(uid, "Cryptographic Length").Int(); got != row.bits {
			t.Errorf("%s: got Cryptographic Length %d, want %d", row.name, got, row.bits)
		}
		if got := groups(uid); !slices.Equal(got, row.groups) {
			t.Errorf("%s: got Object Groups %q, want %q", row.name, got, row.groups)
		}
		if !c.value(uid, "Name").IsZero() {
			t.Errorf("%s: the object has the template's Name", row.name)
		}
	}
	uid := c.must(create(fromTemplates(nil, "first", "second")))
	c.ok(c.modify(second, at("Contact Information", textValue("changed"))))
	if got := c.value(uid, "Contact Information").Text(); got != "second" {
		t.Errorf("after a change of the template: got %q, want the copy", got)
	}
	const missing = kmip.ResultReasonItemNotFound
	_, err := create(fromTemplates(aesAttributes(256), "none"))
	wantReason(t, "a template that is not there", err, missing)
	c.aes(named("a key"))
	_, err = create(fromTemplates(aesAttributes(256), "a key"))
	wantReason(t, "a template that is a key", err, missing)
	c.ok(c.destroy(second))
	_, err = create(fromTemplates(aesAttributes(256), "second"))
	wantReason(t, "a template that was destroyed", err, missing)
	c = b.client("bob")
	_, err = create(fromTemplates(aesAttributes(256), "first"))
	wantReason(t, "another client's template", err, missing)
}

// Pairs: explicit private or public, its templates, explicit common, common templates.
func TestPairPrecedence(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	comment := func(s string) kmip.Attribute { return at("Comment", textValue(s)) }
	ec := attributesOf(kmip.CryptographicAlgorithmECDSA, 256, 0)[:2]
	c.must(c.register(template(comment("private template"), at("Description", textValue("private template"))), named("p")))
	c.must(c.register(template(append(ec, comment("common template"), at("Description", textValue("common template")), at("PKCS#12 Friendly Name", textValue("common template")), mask(kmip.CryptographicUsageMaskSign))...), named("c")))
	priv, pub, err := c.createPair(fromTemplates([]kmip.Attribute{comment("common"), at("Description", textValue("common"))}, "c"),
		fromTemplates([]kmip.Attribute{comment("private")}, "p"), fromTemplates([]kmip.Attribute{mask(kmip.CryptographicUsageMaskVerify)}))
	c.ok(err)
	for _, row := range []struct{ uid, name, want string }{
		{priv, "Comment", "private"}, {priv, "Description", "private template"}, {priv, "PKCS#12 Friendly Name", "common template"},
		{pub, "Comment", "common"}, {pub, "Description", "common"}, {pub, "PKCS#12 Friendly Name", "common template"},
	} {
		if got := c.value(row.uid, row.name).Text(); got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
	for uid, want := range map[string]kmip.CryptographicUsageMask{priv: kmip.CryptographicUsageMaskSign, pub: kmip.CryptographicUsageMaskVerify} {
		if got := kmip.CryptographicUsageMask(c.value(uid, "Cryptographic Usage Mask").Int()); got != want {
			t.Errorf("got Cryptographic Usage Mask %s, want %s", got, want)
		}
	}
	if got := (object{c.record(pub)}).linked(kmip.LinkTypePrivateKeyLink); got != priv {
		t.Errorf("the public key links to %q, want %q", got, priv)
	}
	if got := (object{c.record(priv)}).linked(kmip.LinkTypePublicKeyLink); got != pub {
		t.Errorf("the private key links to %q, want %q", got, pub)
	}
}

// TestCheck is KMIP 1.4 section 4.10: a refusal returns what was refused, and no identifier.
func TestCheck(t *testing.T) {
	b := newBench(t, func(cfg *Config) { cfg.LeaseTime = 600 })
	c := b.client("alice")
	limited := c.aes(at("Usage Limits", limits(100)))
	free := c.aes()
	enc, sign := kmip.CryptographicUsageMaskEncrypt, kmip.CryptographicUsageMaskSign
	const denied = kmip.ResultReasonPermissionDenied
	for _, row := range []struct {
		name   string
		uid    string
		req    kmip.CheckRequest
		reason kmip.ResultReason
	}{
		{"nothing", free, kmip.CheckRequest{}, 0},
		{"mask", free, kmip.CheckRequest{CryptographicUsageMask: &enc}, 0},
		{"mask that is not there", free, kmip.CheckRequest{CryptographicUsageMask: &sign}, denied},
		{"limits of a key without", free, kmip.CheckRequest{UsageLimitsCount: ptr(int64(1000))}, 0},
		{"limits", limited, kmip.CheckRequest{UsageLimitsCount: ptr(int64(100))}, 0},
		{"limits, more", limited, kmip.CheckRequest{UsageLimitsCount: ptr(int64(101))}, denied},
		{"limits, negative", limited, kmip.CheckRequest{UsageLimitsCount: ptr(int64(-1))}, denied},
		{"lease", free, kmip.CheckRequest{LeaseTime: ptr(uint32(600))}, 0},
		{"lease, longer", free, kmip.CheckRequest{LeaseTime: ptr(uint32(601))}, denied},
		{"lease, without end", free, kmip.CheckRequest{LeaseTime: ptr(uint32(0))}, denied},
		{"not there", "none", kmip.CheckRequest{}, kmip.ResultReasonItemNotFound},
		{"template", c.must(c.register(template(), named("t"))), kmip.CheckRequest{}, kmip.ResultReasonIllegalOperation},
	} {
		resp, err := do(c, kmip.OperationCheck, row.uid, c.s.Check, &row.req)
		wantReason(t, row.name, err, row.reason)
		switch {
		case err == nil && (resp.UniqueIdentifier == nil || *resp.UniqueIdentifier != row.uid):
			t.Errorf("%s: got %+v, want the identifier", row.name, resp)
		case row.reason == denied && (resp == nil || resp.UniqueIdentifier != nil ||
			(resp.CryptographicUsageMask != nil) != (row.req.CryptographicUsageMask != nil) ||
			(resp.UsageLimitsCount != nil) != (row.req.UsageLimitsCount != nil) || (resp.LeaseTime != nil) != (row.req.LeaseTime != nil)):
			t.Errorf("%s: got %+v, want the values that were refused and no identifier", row.name, resp)
		}
	}
	resp, err := do(c, kmip.OperationCheck, limited, c.s.Check, &kmip.CheckRequest{CryptographicUsageMask: &enc, UsageLimitsCount: ptr(int64(101))})
	wantReason(t, "one of two", err, denied)
	if resp.CryptographicUsageMask != nil || resp.UsageLimitsCount == nil {
		t.Errorf("one of two: got %+v, want the count alone", resp)
	}
}
