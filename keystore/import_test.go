package keystore

import (
	"bytes"
	"context"
	"crypto/x509/pkix"
	"slices"
	"strings"
	"testing"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

func (c client) export(uid string, req kmip.ExportRequest) (*kmip.ExportResponse, error) {
	return do(c, kmip.OperationExport, uid, c.s.Export, &req)
}

func (c client) imports(req *kmip.ImportRequest) error {
	_, err := do(c, kmip.OperationImport, "", c.s.Import, req)
	return err
}

// importOf is the Import request that brings an exported object back, in memory of its own.
func importOf(r *kmip.ExportResponse) *kmip.ImportRequest {
	return &kmip.ImportRequest{UniqueIdentifier: r.UniqueIdentifier, ObjectType: r.ObjectType, Attribute: slices.Clone(r.Attribute),
		Certificate: r.Certificate, SymmetricKey: r.SymmetricKey, PrivateKey: r.PrivateKey, PublicKey: r.PublicKey, SplitKey: r.SplitKey,
		Template: r.Template, SecretData: r.SecretData, OpaqueObject: r.OpaqueObject, PGPKey: r.PGPKey}
}

// importAES is an Import request for an AES-128 key.
func importAES(uid string, attrs ...kmip.Attribute) *kmip.ImportRequest {
	return &kmip.ImportRequest{UniqueIdentifier: uid, ObjectType: kmip.ObjectTypeSymmetricKey, SymmetricKey: symmetric(marker(16)).SymmetricKey,
		Attribute: append([]kmip.Attribute{mask(kmip.CryptographicUsageMaskEncrypt)}, attrs...)}
}

func replacing(req *kmip.ImportRequest) *kmip.ImportRequest {
	req.ReplaceExisting = boolValue(true)
	return req
}

// every is an object of each type, with what tells it apart.
func (c client) every() map[string]string {
	c.t.Helper()
	out := map[string]string{"created": c.aes(named("created"), at("x-a", textValue("1")), at("x-a", textValue("2")))}
	priv, pub, err := c.createPair(with(attributesOf(kmip.CryptographicAlgorithmEC, 256, 3)...), nil, nil)
	c.ok(err)
	out["private"], out["public"] = priv, pub
	for _, k := range "spogd" {
		out[string(k)] = c.must(c.registerType(byte(k)))
	}
	out["certificate"] = c.must(c.register(certificate(makeCert(c.t, pkix.Name{CommonName: "c"}, nil).Raw)))
	out["template"] = c.must(c.register(template(append(aesAttributes(256), at("Description", textValue("d")))...), named("t")))
	reference := symmetric(marker(16))
	reference.SymmetricKey.KeyBlock.KeyValue = ttlv.Item{}
	out["reference"] = c.must(c.register(reference, at("Key Value Location", structValue(&kmip.KeyValueLocation{KeyValueLocationValue: "there", KeyValueLocationType: kmip.KeyValueLocationTypeURI}))))
	return out
}

func describe(attrs []kmip.Attribute) []string {
	var out []string
	for _, a := range attrs {
		index := int32(0)
		if a.AttributeIndex != nil {
			index = *a.AttributeIndex
		}
		out = append(out, strings.Join([]string{a.AttributeName, string(rune('0' + index)), string(a.AttributeValue.Value)}, "|"))
	}
	slices.Sort(out)
	return out
}

// What Export gives comes back by Import in another store with the same attributes and material, of every type.
func TestExportImport(t *testing.T) {
	from, to := newBench(t), newBench(t)
	c := from.client("alice")
	to.advance(48 * time.Hour)
	d := to.client("carol")
	for name, uid := range c.every() {
		t.Run(name, func(t *testing.T) {
			out, err := c.export(uid, kmip.ExportRequest{})
			wantReason(t, "Export", err, 0)
			if err != nil {
				return
			}
			all, err := c.attributes(uid)
			c.ok(err)
			if got, want := describe(out.Attribute), describe(all); !slices.Equal(got, want) {
				t.Errorf("Export: got attributes\n%q\nwant those of Get Attributes\n%q", got, want)
			}
			if err := d.imports(importOf(out)); err != nil {
				t.Fatalf("Import: %v", err)
			}
			back, err := d.attributes(uid)
			d.ok(err)
			if got, want := describe(back), describe(all); !slices.Equal(got, want) {
				t.Errorf("Import: got attributes\n%q\nwant\n%q", got, want)
			}
			again, err := d.export(uid, kmip.ExportRequest{})
			d.ok(err)
			if got, want := again.Append(nil, kmip.TagResponsePayload, kmip.V1_4), out.Append(nil, kmip.TagResponsePayload, kmip.V1_4); !bytes.Equal(got, want) {
				if len(got) != len(want) { // the order of attributes may differ
					t.Errorf("a second Export: got\n%x\nwant\n%x", got, want)
				}
			}
		})
	}
	from.wantClean()
	to.wantClean()
	to.restart()
	to.wantClean()
}

// Export releases by the rules of Get.
func TestExportRules(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	kek, key := c.aes(), c.aes()
	c.ok(c.activate(kek))
	wrap := wrapRequest(kek, kmip.BlockCipherModeNISTKeyWrap, kmip.EncodingOptionNoEncoding)
	in := func(name string, value bool) string { return c.aes(at(name, boolValue(value))) }
	gone := c.aes()
	c.ok(c.destroy(gone))
	archived := c.aes()
	_, err := do(c, kmip.OperationArchive, archived, c.s.Archive, &kmip.ArchiveRequest{})
	c.ok(err)
	for _, row := range []struct {
		name, uid string
		who       client
		req       kmip.ExportRequest
		reason    kmip.ResultReason
	}{
		{"plain", key, c, kmip.ExportRequest{}, 0},
		{"wrapped", key, c, kmip.ExportRequest{KeyWrappingSpecification: wrap.KeyWrappingSpecification}, 0},
		{"sensitive", in("Sensitive", true), c, kmip.ExportRequest{}, kmip.ResultReasonSensitive},
		{"sensitive, wrapped", in("Sensitive", true), c, kmip.ExportRequest{KeyWrappingSpecification: wrap.KeyWrappingSpecification}, 0},
		{"not extractable", in("Extractable", false), c, kmip.ExportRequest{KeyWrappingSpecification: wrap.KeyWrappingSpecification}, kmip.ResultReasonNotExtractable},
		{"format", key, c, kmip.ExportRequest{KeyFormatType: kmip.KeyFormatTypePKCS8}, kmip.ResultReasonKeyFormatTypeNotSupported},
		{"wrap type", key, c, kmip.ExportRequest{KeyWrapType: 9}, kmip.ResultReasonInvalidField},
		{"not there", "none", c, kmip.ExportRequest{}, kmip.ResultReasonItemNotFound},
		{"another client's", key, b.client("bob"), kmip.ExportRequest{}, kmip.ResultReasonItemNotFound},
		{"archived", archived, c, kmip.ExportRequest{}, kmip.ResultReasonObjectArchived},
	} {
		_, err := row.who.export(row.uid, row.req)
		wantReason(t, row.name, err, row.reason)
	}
	out, err := c.export(gone, kmip.ExportRequest{})
	c.ok(err)
	if out.SymmetricKey != nil || len(out.Attribute) == 0 || c.value(gone, "Destroy Date").IsZero() {
		t.Errorf("destroyed: got %+v, want attributes alone", out)
	}
	wantReason(t, "importing what is destroyed", c.imports(replacing(importOf(&kmip.ExportResponse{ObjectType: out.ObjectType,
		UniqueIdentifier: "x", Attribute: out.Attribute, SymmetricKey: symmetric(marker(32)).SymmetricKey}))), kmip.ResultReasonInvalidField)
	if c.value(key, "Fresh").Bool() {
		t.Error("an exported object is still Fresh")
	}
	// A certificate is open to the users of one client by Get, not by Export.
	cert := c.as("u").must(c.as("u").register(certificate(makeCert(t, pkix.Name{CommonName: "c"}, nil).Raw)))
	_, err = c.as("v").export(cert, kmip.ExportRequest{})
	wantReason(t, "another user's certificate", err, kmip.ResultReasonPermissionDenied)
}

// TestImportErrors is KMIP 1.4 section 11.42, and the limits of this server.
func TestImportErrors(t *testing.T) {
	b := newBench(t)
	c, bob := b.client("alice"), b.client("bob")
	c.ok(c.imports(importAES("taken", named("taken"))))
	c.ok(c.as("u").imports(importAES("of-user")))
	bob.ok(bob.imports(importAES("of-bob", named("free"))))
	digest := func(b byte) kmip.Attribute {
		return at("Digest", structValue(&kmip.Digest{HashingAlgorithm: kmip.HashingAlgorithmSHA256, DigestValue: bytes.Repeat([]byte{b}, 32), KeyFormatType: kmip.KeyFormatTypeRaw}))
	}
	date := func(name string, d time.Duration) kmip.Attribute { return at(name, timeValue(epoch.Add(d))) }
	state := func(s kmip.State) kmip.Attribute { return at("State", enumValue(s)) }
	limits := func(total, count int64) kmip.Attribute {
		return at("Usage Limits", structValue(&kmip.UsageLimits{UsageLimitsTotal: total, UsageLimitsCount: &count, UsageLimitsUnit: kmip.UsageLimitsUnitByte}))
	}
	many := make([]kmip.Attribute, 0, maxInstances+1)
	for i := range maxInstances + 1 {
		many = append(many, at("x-many", intValue(int32(i))))
	}
	unknown := importAES("a")
	unknown.ObjectType = 99
	noMask := importAES("a")
	noMask.Attribute = nil
	wrapType := importAES("a")
	wrapType.KeyWrapType = 9
	const field, index = kmip.ResultReasonInvalidField, kmip.ResultReasonIndexOutOfBounds
	for _, row := range []struct {
		name   string
		who    client
		req    *kmip.ImportRequest
		reason kmip.ResultReason
	}{
		{"exists", c, importAES("taken"), kmip.ResultReasonObjectAlreadyExists},
		{"exists, another user's", c, importAES("of-user"), kmip.ResultReasonObjectAlreadyExists},
		{"replace another user's", c, replacing(importAES("of-user")), kmip.ResultReasonPermissionDenied},
		{"another client's", c, importAES("of-bob"), field},
		{"replace another client's", c, replacing(importAES("of-bob")), field},
		{"empty identifier", c, importAES(""), field},
		{"long identifier", c, importAES(strings.Repeat("a", maxIdentifier+1)), field},
		{"longest identifier", c, importAES(strings.Repeat("a", maxIdentifier)), 0},
		{"identifier with a space", c, importAES("a b"), field},
		{"identifier with NUL", c, importAES("\x00clients"), field},
		{"identifier that is not ASCII", c, importAES("schlüssel"), field},
		{"type", c, unknown, field},
		{"no mask", c, noMask, field},
		{"Key Wrap Type", c, wrapType, field},
		{"Name", c, importAES("a", named("taken")), field},
		{"Name of another client", c, importAES("name", named("free")), 0},
		{"the same Name twice", c, importAES("a", named("n"), atIndex("Name", 1, structValue(&kmip.Name{NameValue: "n", NameType: kmip.NameTypeURI}))), field},
		{"unknown attribute", c, importAES("a", at("Flavour", textValue("x"))), field},
		{"attribute of another type", c, importAES("a", at("Certificate Type", enumValue(kmip.CertificateTypeX509))), field},
		{"value of a wrong type", c, importAES("a", at("Lease Time", textValue("x"))), field},
		{"single instance twice", c, importAES("a", at("Comment", textValue("x")), at("Comment", textValue("y"))), field},
		{"single instance with an index", c, importAES("a", atIndex("Comment", 1, textValue("x"))), field},
		{"too many instances", c, importAES("a", many...), index},
		{"index", c, importAES("a", atIndex("x-a", maxIndex+1, textValue("x"))), index},
		{"namespace", c, importAES("a", at("Application Specific Information", structValue(&kmip.ApplicationSpecificInformation{ApplicationNamespace: "ssl"}))), kmip.ResultReasonApplicationNamespaceNotSupported},
		{"another Unique Identifier", c, importAES("a", at("Unique Identifier", textValue("b"))), field},
		{"another Object Type", c, importAES("a", at("Object Type", enumValue(kmip.ObjectTypeSecretData))), field},
		{"another algorithm", c, importAES("a", at("Cryptographic Algorithm", enumValue(kmip.CryptographicAlgorithmDES3))), field},
		{"another length", c, importAES("a", at("Cryptographic Length", intValue(int32(256)))), field},
		{"another Digest", c, importAES("a", digest(1)), field},
		{"limits", c, importAES("limits", limits(10, 4)), 0},
		{"limits, Count beyond Total", c, importAES("a", limits(4, 10)), field},
		{"Always Sensitive without Sensitive", c, importAES("a", at("Always Sensitive", boolValue(true))), field},
		{"Never Extractable with Extractable", c, importAES("a", at("Never Extractable", boolValue(true))), field},
		{"Key Value Present", c, importAES("a", at("Key Value Present", boolValue(false))), field},
		{"Destroy Date", c, importAES("a", date("Destroy Date", 0)), field},
		{"order of dates", c, importAES("a", date("Activation Date", 0), date("Deactivation Date", -time.Hour)), field},
		{"Active without a date", c, importAES("a", state(kmip.StateActive)), field},
		{"Active before its date", c, importAES("a", state(kmip.StateActive), date("Activation Date", time.Hour)), field},
		{"Pre-Active, and the date has come", c, importAES("s1", state(kmip.StatePreActive), date("Activation Date", -time.Hour)), 0},
		{"Active, and deactivated meanwhile", c, importAES("s2", state(kmip.StateActive), date("Activation Date", -2*time.Hour), date("Deactivation Date", -time.Hour)), 0},
		{"Deactivated without a date", c, importAES("a", state(kmip.StateDeactivated), date("Activation Date", -time.Hour)), field},
		{"Compromised without a date", c, importAES("a", state(kmip.StateCompromised)), field},
		{"Compromised", c, importAES("s3", state(kmip.StateCompromised), date("Compromise Date", -time.Hour)), 0},
		{"Destroyed", c, importAES("a", state(kmip.StateDestroyed)), field},
		{"State twice", c, importAES("a", state(kmip.StatePreActive), state(kmip.StatePreActive)), field},
		{"y-", c, importAES("y", at("y-a", textValue("set by a server"))), 0},
	} {
		before := b.fake.Len()
		err := row.who.imports(row.req)
		wantReason(t, row.name, err, row.reason)
		if err != nil && b.fake.Len() != before {
			t.Errorf("%s: refused, but the token has another object", row.name)
		}
	}
	// Nothing tells another client's identifier from one that cannot be used.
	if got, want := c.imports(importAES("of-bob")).Error(), c.imports(importAES("")).Error(); got != want {
		t.Errorf("another client's: got %q, want %q", got, want)
	}
	b.wantClean()
}

// The attributes are those supplied, server-set ones among them.
func TestImportAttributes(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	old := epoch.Add(-1000 * time.Hour)
	count := int64(3)
	c.ok(c.imports(importAES("k", at("Initial Date", timeValue(old)), at("Last Change Date", timeValue(old.Add(time.Hour))),
		at("Activation Date", timeValue(old)), at("Lease Time", intervalValue(77)), atIndex("x-a", 2, textValue("two")), atIndex("x-a", 5, textValue("five")),
		at("y-a", textValue("y")), at("Archive Date", timeValue(old)), at("Operation Policy Name", textValue("default")),
		at("Usage Limits", structValue(&kmip.UsageLimits{UsageLimitsTotal: 9, UsageLimitsCount: &count, UsageLimitsUnit: kmip.UsageLimitsUnitByte})))))
	for name, want := range map[string]ttlv.Item{"Initial Date": timeValue(old), "Last Change Date": timeValue(old.Add(time.Hour)),
		"Lease Time": intervalValue(77), "y-a": textValue("y"), "State": enumValue(kmip.StateActive)} {
		if got := c.value("k", name); !got.Equal(want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	var u kmip.UsageLimits
	c.ok(u.Decode(c.value("k", "Usage Limits")))
	if *u.UsageLimitsCount != 3 || u.UsageLimitsTotal != 9 {
		t.Errorf("Usage Limits: got %d of %d, want 3 of 9", *u.UsageLimitsCount, u.UsageLimitsTotal)
	}
	list, err := c.attributes("k", "x-a")
	c.ok(err)
	if len(list) != 2 || *list[0].AttributeIndex != 2 || *list[1].AttributeIndex != 5 {
		t.Errorf("indexes: got %v, want 2 and 5", describe(list))
	}
	_, err = c.get("k", kmip.GetRequest{})
	wantReason(t, "Get of what was archived", err, kmip.ResultReasonObjectArchived)
	labels, err := b.fake.Objects(context.Background())
	c.ok(err)
	if len(labels) != 1 || labels[0].Label != "k" {
		t.Errorf("token: got %v, want one object with the label k", labels)
	}
}

// Replace Existing puts the new object in the place of the old one; Undo brings the old one back, a restart in between too.
func TestImportReplace(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	ctx := context.Background()
	first := c.aes(named("n"))
	c.ok(c.activate(first))
	was := c.material(first)
	replacement := func() *kmip.ImportRequest { return replacing(importAES(first, named("n"))) }
	run := func(undo bool, end func(kmip.Tx)) {
		tx := b.s.Begin(undo)
		defer func() { _ = tx.Rollback(ctx, 0) }()
		_, err := item(ctx, c, tx, kmip.OperationImport, "", c.s.Import, replacement())
		c.ok(err)
		end(tx)
	}
	run(true, func(tx kmip.Tx) { c.ok(tx.Rollback(ctx, 0)) })
	if got := c.material(first); !bytes.Equal(got, was) || c.state(first) != kmip.StateActive || b.fake.Len() != 1 {
		t.Errorf("after Undo: got another object, or %d on the token", b.fake.Len())
	}
	// Import, Destroy, Import again and Undo of it all.
	run(true, func(tx kmip.Tx) {
		_, err := item(ctx, c, tx, kmip.OperationImport, "", c.s.Import, replacement())
		c.ok(err)
		_, err = item(ctx, c, tx, kmip.OperationDestroy, first, c.s.Destroy, &kmip.DestroyRequest{})
		c.ok(err)
		_, err = item(ctx, c, tx, kmip.OperationImport, "", c.s.Import, replacement())
		wantReason(t, "Import over what is being destroyed", err, kmip.ResultReasonPermissionDenied)
		c.ok(tx.Rollback(ctx, 0))
	})
	if got := c.material(first); !bytes.Equal(got, was) || b.fake.Len() != 1 {
		t.Errorf("after a longer Undo: got another object, or %d on the token", b.fake.Len())
	}
	b.wantClean()
	run(false, func(tx kmip.Tx) { c.ok(tx.Commit(ctx)) })
	if got := c.material(first); !bytes.Equal(got, marker(16)) || c.state(first) != kmip.StatePreActive || b.fake.Len() != 1 {
		t.Errorf("after replacing: got %q, %s, %d on the token", got, c.state(first), b.fake.Len())
	}
	if got := c.find(named("n")); !slices.Equal(got, []string{first}) {
		t.Errorf("Locate by Name: got %v", got)
	}
	b.wantClean()
	// The process ends between the record and the end of the old token object.
	run(true, func(kmip.Tx) {
		if b.fake.Len() != 2 {
			t.Errorf("before the commit: %d token objects, want the old one too", b.fake.Len())
		}
		b.restart()
	})
	if b.fake.Len() != 1 {
		t.Errorf("after a restart: %d token objects, want 1", b.fake.Len())
	}
	b.wantClean()
	c.ok(c.destroy(first))
	wantReason(t, "over a destroyed object", c.imports(importAES(first)), kmip.ResultReasonObjectAlreadyExists)
	c.ok(c.imports(replacement()))
	c.material(first)
	b.wantClean()
}

// A server that lets clients destroy nothing does not let them replace either.
func TestImportReplaceForbidden(t *testing.T) {
	b := newBench(t, func(c *Config) { c.AllowDestroy = false })
	c := b.client("alice")
	c.ok(c.imports(importAES("k")))
	wantReason(t, "Replace Existing", c.imports(replacing(importAES("k"))), kmip.ResultReasonPermissionDenied)
	b.wantClean()
}

// A wrapped object is opened when the server has the key. Without it, Not Wrapped fails; otherwise it is kept as it is.
func TestImportWrapped(t *testing.T) {
	from, to := newBench(t), newBench(t)
	c, d := from.client("alice"), to.client("alice")
	kek, key := c.aes(), c.aes(at("Sensitive", boolValue(true)))
	c.ok(c.activate(kek))
	secretKey := c.aes()
	value := c.material(secretKey)
	for _, encoding := range []kmip.EncodingOption{kmip.EncodingOptionNoEncoding, kmip.EncodingOptionTTLVEncoding} {
		name := strings.ReplaceAll(encoding.String(), " ", "-")
		spec := wrapRequest(kek, kmip.BlockCipherModeNISTKeyWrap, encoding).KeyWrappingSpecification
		out, err := c.export(secretKey, kmip.ExportRequest{KeyWrappingSpecification: spec})
		c.ok(err)
		blob := out.SymmetricKey.KeyBlock.KeyValue.Value
		req := importOf(out)
		req.UniqueIdentifier = "sealed-" + name
		req.Attribute = slices.DeleteFunc(req.Attribute, func(a kmip.Attribute) bool { return a.AttributeName == "Unique Identifier" })
		req.KeyWrapType = kmip.KeyWrapTypeNotWrapped
		wantReason(t, name+", Not Wrapped without the key", d.imports(req), kmip.ResultReasonItemNotFound)
		req.KeyWrapType = kmip.KeyWrapTypeAsRegistered
		d.ok(d.imports(req))
		got, err := d.get(req.UniqueIdentifier, kmip.GetRequest{})
		d.ok(err)
		if kb := blockOf(got); !bytes.Equal(kb.KeyValue.Value, blob) || kb.KeyWrappingData == nil {
			t.Errorf("%s: Get gives other octets than were imported", name)
		}
		for what, row := range map[string]struct {
			req    kmip.GetRequest
			reason kmip.ResultReason
		}{
			"opened":       {kmip.GetRequest{KeyWrapType: kmip.KeyWrapTypeNotWrapped}, kmip.ResultReasonItemNotFound},
			"wrapped":      {kmip.GetRequest{KeyWrappingSpecification: spec}, kmip.ResultReasonIllegalOperation},
			"other format": {kmip.GetRequest{KeyFormatType: kmip.KeyFormatTypeTransparentSymmetricKey}, kmip.ResultReasonKeyFormatTypeNotSupported},
		} {
			_, err := d.get(req.UniqueIdentifier, row.req)
			wantReason(t, name+", Get "+what, err, row.reason)
		}
		d.ok(d.activate(req.UniqueIdentifier))
		wantReason(t, name+", use", d.wrapWith(req.UniqueIdentifier), kmip.ResultReasonPermissionDenied)
	}
	// The wrapping key arrives.
	out, err := c.export(kek, kmip.ExportRequest{})
	c.ok(err)
	d.ok(d.imports(importOf(out)))
	for _, encoding := range []kmip.EncodingOption{kmip.EncodingOptionNoEncoding, kmip.EncodingOptionTTLVEncoding} {
		got, err := d.get("sealed-"+strings.ReplaceAll(encoding.String(), " ", "-"), kmip.GetRequest{KeyWrapType: kmip.KeyWrapTypeNotWrapped})
		d.ok(err)
		if !bytes.Equal(materialOf(t, got), value) {
			t.Errorf("%s: the opened key is another", encoding)
		}
	}
	out, err = c.export(key, kmip.ExportRequest{KeyWrappingSpecification: wrapRequest(kek, kmip.BlockCipherModeNISTKeyWrap, kmip.EncodingOptionNoEncoding).KeyWrappingSpecification})
	c.ok(err)
	for _, wt := range []kmip.KeyWrapType{0, kmip.KeyWrapTypeAsRegistered, kmip.KeyWrapTypeNotWrapped} {
		req := replacing(importOf(out))
		req.KeyWrapType = wt
		d.ok(d.imports(req))
		_, err := d.get(key, kmip.GetRequest{})
		wantReason(t, "Get of a Sensitive key", err, kmip.ResultReasonSensitive)
		d.ok(d.activate(key))
		d.ok(d.wrapWith(key))
	}
	damaged := importOf(out)
	kb := &kmip.SymmetricKey{KeyBlock: out.SymmetricKey.KeyBlock}
	kb.KeyBlock.KeyValue = byteString(append([]byte{1}, kb.KeyBlock.KeyValue.Value[1:]...))
	damaged.SymmetricKey = kb
	wantReason(t, "damaged octets", d.imports(replacing(damaged)), kmip.ResultReasonCryptographicFailure)
	to.restart()
	to.wantClean()
}

// A Sensitive object that is stored wrapped leaves wrapped, and no other way.
func TestSealedSensitive(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	req := importAES("k", at("Sensitive", boolValue(true)))
	key := *req.SymmetricKey
	key.KeyBlock.KeyValue = byteString(marker(24))
	key.KeyBlock.KeyWrappingData = &kmip.KeyWrappingData{WrappingMethod: kmip.WrappingMethodEncryptThenMACSign, MACSignature: []byte{1},
		EncryptionKeyInformation: &kmip.EncryptionKeyInformation{UniqueIdentifier: "elsewhere"}, EncodingOption: kmip.EncodingOptionNoEncoding}
	req.SymmetricKey = &key
	c.ok(c.imports(req))
	resp, err := c.get("k", kmip.GetRequest{})
	c.ok(err)
	if wd := resp.SymmetricKey.KeyBlock.KeyWrappingData; wd == nil || wd.WrappingMethod != kmip.WrappingMethodEncryptThenMACSign || !bytes.Equal(wd.MACSignature, []byte{1}) {
		t.Errorf("Key Wrapping Data: got %+v, want what was imported", wd)
	}
	_, err = c.get("k", kmip.GetRequest{KeyWrapType: kmip.KeyWrapTypeNotWrapped})
	wantReason(t, "Not Wrapped", err, kmip.ResultReasonSensitive)
	key.KeyBlock.KeyWrappingData.WrappingMethod = 77
	wantReason(t, "unknown method", c.imports(replacing(req)), kmip.ResultReasonInvalidField)
	b.wantClean()
}
