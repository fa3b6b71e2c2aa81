package keystore

import (
	"context"
	"strings"
	"testing"
	"time"

	"kmipd/kmip"
)

func (c client) update(u AttributeUpdate) error {
	_, err := c.s.UpdateAttribute(context.Background(), u)
	return err
}

// An administrator sees the templates and secret data of every client, by Name too, and never a value.
func TestAdminList(t *testing.T) {
	b := newBench(t)
	a, c, ctx := b.client("alice"), b.client("bob"), context.Background()
	tmpl := a.must(a.register(template(aesAttributes(256)...), named("same")))
	c.must(c.register(template(aesAttributes(128)...), named("same")))
	password := a.must(a.register(secret(marker(8)), named("password")))
	a.aes()
	for _, row := range []struct {
		typ    kmip.ObjectType
		client string
		want   int
	}{{kmip.ObjectTypeTemplate, "", 2}, {kmip.ObjectTypeTemplate, "alice", 1}, {kmip.ObjectTypeTemplate, "carol", 0}, {kmip.ObjectTypeSecretData, "", 1}} {
		list, err := b.s.Objects(ctx, row.typ, row.client)
		a.ok(err)
		if len(list) != row.want {
			t.Errorf("%s of %q: got %d, want %d", row.typ, row.client, len(list), row.want)
		}
	}
	key := a.must(a.register(privateKey(t, ecKey()), linkTo(kmip.LinkTypePKCS12PasswordLink, password)))
	info, err := b.s.Object(ctx, "password", "", kmip.ObjectTypeSecretData)
	a.ok(err)
	if info.UID != password || info.Client != "alice" || info.SecretType != "Password" || info.State != "Pre-Active" || len(info.Dependents) != 1 || !strings.Contains(info.Dependents[0], key) {
		t.Errorf("got %+v", info)
	}
	for _, at := range info.Attributes {
		if strings.Contains(at.Value, string(marker(8))) {
			t.Errorf("%s shows the value", at.Name)
		}
	}
	for _, row := range []struct {
		ref, client string
		typ         kmip.ObjectType
		want        string
	}{
		{"same", "", kmip.ObjectTypeTemplate, "several clients"},
		{"same", "alice", kmip.ObjectTypeTemplate, ""},
		{tmpl, "", kmip.ObjectTypeTemplate, ""},
		{tmpl, "bob", kmip.ObjectTypeTemplate, "no object"},
		{tmpl, "", kmip.ObjectTypeSecretData, "not a Secret Data"},
		{"none", "", 0, "no object"},
	} {
		_, err := b.s.Object(ctx, row.ref, row.client, row.typ)
		if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%q of %q: got %v, want %q", row.ref, row.client, err, row.want)
		}
	}
}

// Deleting holds where clients must not destroy, revokes what is Active, and takes nothing but the types it is for.
func TestAdminDelete(t *testing.T) {
	b := newBench(t, func(c *Config) { c.AllowDestroy = false })
	c, ctx := b.client("alice"), context.Background()
	tmpl := c.must(c.register(template(aesAttributes(256)...), named("t")))
	password := c.as("u").must(c.as("u").register(secret(marker(8)), at("Activation Date", timeValue(epoch))))
	key := c.aes()
	if err := b.s.DeleteObject(ctx, key, "", kmip.ObjectTypeSecretData); err == nil {
		t.Error("a key was deleted as Secret Data")
	}
	c.ok(b.s.DeleteObject(ctx, tmpl, "", kmip.ObjectTypeTemplate))
	if _, err := b.db.Get(ctx, tmpl); err == nil {
		t.Error("the template's record stays")
	}
	c.must(c.register(template(aesAttributes(256)...), named("t")))
	c.ok(b.s.DeleteObject(ctx, password, "", kmip.ObjectTypeSecretData))
	o := object{c.record(password)}
	if o.live() || o.get("Revocation Reason").IsZero() || b.fake.Len() != 1 {
		t.Errorf("got phase %d, %d token objects, want the secret revoked and gone", o.Phase, b.fake.Len())
	}
	if err := b.s.DeleteObject(ctx, password, "", kmip.ObjectTypeSecretData); err == nil || !strings.Contains(err.Error(), "destroyed") {
		t.Errorf("deleting it again: got %v", err)
	}
	b.wantClean()
}

// Updates obey the rules of clients, and the administrator's own on y- and dates.
func TestAdminUpdate(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	b.client("bob").aes(named("taken"))
	c.aes(named("mine"))
	key := c.aes(named("key"))
	reached := c.aes(at("Process Start Date", timeValue(epoch.Add(-time.Hour))), at("Activation Date", timeValue(epoch.Add(-time.Hour))))
	future := epoch.Add(24 * time.Hour).Format(time.RFC3339)
	one := int32(1)
	for _, row := range []struct {
		name string
		u    AttributeUpdate
		want string // part of the error; "" for success
	}{
		{"Name", AttributeUpdate{Object: "key", Attribute: "Name", Value: "renamed"}, ""},
		{"former Name", AttributeUpdate{Object: "key", Attribute: "Name", Value: "x"}, "no object"},
		{"Name of another client", AttributeUpdate{Object: key, Attribute: "Name", Value: "taken"}, ""},
		{"Name of the same client", AttributeUpdate{Object: key, Attribute: "Name", Value: "mine"}, "Name"},
		{"another Name", AttributeUpdate{Object: key, Attribute: "Name", Value: "uri:urn:k", Add: true}, ""},
		{"one of two", AttributeUpdate{Object: key, Attribute: "Name", Value: "x"}, "--index"},
		{"the second", AttributeUpdate{Object: key, Attribute: "Name", Value: "second", Index: &one}, ""},
		{"delete the second", AttributeUpdate{Object: key, Attribute: "Name", Delete: true, Index: &one}, ""},
		{"delete it again", AttributeUpdate{Object: key, Attribute: "Name", Delete: true, Index: &one}, "no such instance"},
		{"information", AttributeUpdate{Object: key, Attribute: "Application Specific Information", Value: "ssl=www"}, ""},
		{"information without data", AttributeUpdate{Object: key, Attribute: "Application Specific Information", Value: "ssl"}, "NAMESPACE=DATA"},
		{"contact", AttributeUpdate{Object: key, Attribute: "Contact Information", Value: "ops"}, ""},
		{"parameters", AttributeUpdate{Object: key, Attribute: "Cryptographic Parameters", Value: "Padding Method=PKCS5, Block Cipher Mode=CBC,Random IV=true"}, ""},
		{"parameters, unknown field", AttributeUpdate{Object: key, Attribute: "Cryptographic Parameters", Value: "Flavour=CBC"}, "FIELD=VALUE"},
		{"parameters, unknown value", AttributeUpdate{Object: key, Attribute: "Cryptographic Parameters", Value: "Block Cipher Mode=ROT13"}, "one of"},
		{"parameters, other field", AttributeUpdate{Object: key, Attribute: "Cryptographic Parameters", Value: "Unique Identifier=x"}, "not a field"},
		{"parameters, twice", AttributeUpdate{Object: key, Attribute: "Cryptographic Parameters", Value: "Tag Length=1,Tag Length=2"}, "twice"},
		{"link", AttributeUpdate{Object: key, Attribute: "Link", Value: "Parent Link=" + reached}, ""},
		{"link, unknown type", AttributeUpdate{Object: key, Attribute: "Link", Value: "Cousin=1"}, "TYPE=IDENTIFIER"},
		{"group", AttributeUpdate{Object: key, Attribute: "Object Group", Value: "g"}, ""},
		{"x-", AttributeUpdate{Object: key, Attribute: "x-a", Value: "v"}, ""},
		{"y-", AttributeUpdate{Object: key, Attribute: "y-a", Value: "v"}, ""},
		{"y- changed", AttributeUpdate{Object: key, Attribute: "y-a", Value: "w"}, ""},
		{"y- of no name", AttributeUpdate{Object: key, Attribute: "y-", Value: "w"}, "not among"},
		{"empty value", AttributeUpdate{Object: key, Attribute: "x-b"}, "needs a value"},
		{"State", AttributeUpdate{Object: key, Attribute: "State", Value: "Active"}, "not among"},
		{"start in the past", AttributeUpdate{Object: key, Attribute: "Process Start Date", Value: "2001-01-01"}, ""},
		{"start that has come", AttributeUpdate{Object: key, Attribute: "Process Start Date", Value: future}, "cannot be changed"},
		{"start that came before", AttributeUpdate{Object: reached, Attribute: "Process Start Date", Value: "now"}, "cannot be changed"},
		{"stop in the future", AttributeUpdate{Object: key, Attribute: "Protect Stop Date", Value: future}, ""},
		{"stop now", AttributeUpdate{Object: key, Attribute: "Protect Stop Date", Value: "now"}, ""},
		{"stop that has come", AttributeUpdate{Object: key, Attribute: "Protect Stop Date", Value: future}, "cannot be changed"},
		{"no date", AttributeUpdate{Object: key, Attribute: "Protect Stop Date", Value: "tomorrow"}, "is given as"},
		{"limits", AttributeUpdate{Object: key, Attribute: "Usage Limits", Value: "byte=1000"}, ""},
		{"limits changed", AttributeUpdate{Object: key, Attribute: "Usage Limits", Value: "OBJECT=10"}, ""},
		{"limits, unit", AttributeUpdate{Object: key, Attribute: "Usage Limits", Value: "HOUR=10"}, "BYTE=TOTAL"},
		{"limits, negative", AttributeUpdate{Object: key, Attribute: "Usage Limits", Value: "BYTE=-1"}, "BYTE=TOTAL"},
		{"no object", AttributeUpdate{Object: "none", Attribute: "x-a", Value: "v"}, "no object"},
		{"object of another client", AttributeUpdate{Object: key, Client: "bob", Attribute: "x-a", Value: "v"}, "no object"},
	} {
		err := c.update(row.u)
		if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: got %v, want %q", row.name, err, row.want)
		}
	}
	if got := c.value(key, "Process Start Date").Time(); !got.Equal(epoch) {
		t.Errorf("a Process Start Date in the past became %s, want now", got)
	}
	if got := c.value(key, "y-a").Text(); got != "w" {
		t.Errorf("y-a: got %q", got)
	}
	wantReason(t, "a client's y-", c.add(key, at("y-b", textValue("v"))), kmip.ResultReasonInvalidField)
	var p kmip.CryptographicParameters
	c.ok(p.Decode(c.value(key, "Cryptographic Parameters")))
	if p.BlockCipherMode != kmip.BlockCipherModeCBC || p.PaddingMethod != kmip.PaddingMethodPKCS5 || p.RandomIV == nil || !*p.RandomIV {
		t.Errorf("parameters: got %+v", p)
	}
	// Usage Limits are fixed when some of them has been used, and nothing changes what is destroyed.
	used := c.aes(at("Usage Limits", structValue(&kmip.UsageLimits{UsageLimitsTotal: 10, UsageLimitsUnit: kmip.UsageLimitsUnitByte})), at("Activation Date", timeValue(epoch)))
	_, err := do(c, kmip.OperationGetUsageAllocation, used, c.s.GetUsageAllocation, &kmip.GetUsageAllocationRequest{UsageLimitsCount: ptr(int64(3))})
	c.ok(err)
	if err := c.update(AttributeUpdate{Object: used, Attribute: "Usage Limits", Value: "BYTE=99"}); err == nil {
		t.Error("Usage Limits were changed after use")
	}
	c.ok(c.destroy(key))
	if err := c.update(AttributeUpdate{Object: key, Attribute: "x-a", Value: "z"}); err == nil {
		t.Error("a destroyed object was changed")
	}
}
