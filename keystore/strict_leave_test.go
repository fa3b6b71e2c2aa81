package keystore

import (
	"crypto/elliptic"
	"strings"
	"testing"

	"kmipd/fips"
	"kmipd/keystore/keyform"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
	"kmipd/metadata"
)

func oaepWrap(kek string, h kmip.HashingAlgorithm, padding kmip.PaddingMethod) kmip.GetRequest {
	req := wrapRequest(kek, 0, kmip.EncodingOptionNoEncoding)
	req.KeyWrappingSpecification.EncryptionKeyInformation.CryptographicParameters = &kmip.CryptographicParameters{PaddingMethod: padding, HashingAlgorithm: h}
	return req
}

// Keys leave wrapped: by mechanisms, encodings, strengths and columns that the policy allows, with Get and Export.
func TestStrictWrap(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	kek := func(bits int32) string {
		uid := c.must(c.create(kmip.ObjectTypeSymmetricKey, aesAttributes(bits)...))
		c.ok(c.activate(uid))
		return uid
	}
	kek128, kek192, kek256 := kek(128), kek(192), kek(256)
	aes128, aes256, p384 := c.must(c.register(symmetric(marker(16)))), c.must(c.register(symmetric(marker(32)))),
		c.must(c.register(sec1(t, ecOn(elliptic.P384()), kmip.CryptographicUsageMaskSign)))
	transport := func(bits int) string {
		return c.must(c.register(publicOfKind(t, rsaOf(bits, 65537).Public(), kmip.CryptographicUsageMaskWrapKey)))
	}
	rsa1024, rsa2048, rsa3072 := transport(1024), transport(2048), transport(3072)
	kw, kwp, none := kmip.BlockCipherModeNISTKeyWrap, kmip.BlockCipherModeAESKeyWrapPadding, kmip.EncodingOptionNoEncoding
	oaep, v15 := kmip.PaddingMethodOAEP, kmip.PaddingMethodPKCS1V1_5
	weak := "the wrapping key is weaker than the key"
	for _, row := range []struct {
		name  string
		uid   string
		req   kmip.GetRequest
		cells []cell
	}{
		{"KW", aes256, wrapRequest(kek256, kw, none), []cell{{"fips140", 0, ""}, {"suiteb128", 0, ""}, {"suiteb192", 0, ""}, {"cnsa1", 0, ""}, {"cnsa2", 0, ""}}},
		{"KWP", aes256, wrapRequest(kek256, kwp, none), []cell{{"fips140", 0, ""}, {"suiteb192", 0, ""}}},
		{"KWP of P-384", p384, wrapRequest(kek256, kwp, none), []cell{{"fips140", 0, ""}, {"suiteb128", 0, ""}, {"suiteb192", 0, ""}}},
		{"TTLV Encoding", aes256, wrapRequest(kek256, kw, kmip.EncodingOptionTTLVEncoding), []cell{{"fips140", coding, "Encoding Option"}, {"suiteb192", coding, "Encoding Option"}}},
		{"the default encoding", aes256, wrapRequest(kek256, kw, 0), []cell{{"fips140", coding, "Encoding Option"}, {"cnsa2", coding, "Encoding Option"}}},
		{"AES 192", aes128, wrapRequest(kek192, kw, none), []cell{{"fips140", 0, ""}, {"suiteb128", refused, "Cryptographic Length"}, {"cnsa1", refused, "Cryptographic Length"}}},
		{"Column 1 under Column 2", aes128, wrapRequest(kek256, kw, none), []cell{{"fips140", 0, ""}, {"suiteb128", refused, "columns"}}},
		{"a stronger key", aes256, wrapRequest(kek128, kw, none), []cell{{"fips140", 0, weak}, {"suiteb128", refused, "wrapping key"}, {"cnsa1", refused, "Cryptographic Length"}}},
		{"P-384 under AES 128", p384, wrapRequest(kek128, kwp, none), []cell{{"fips140", 0, weak}, {"suiteb128", refused, "wrapping key"}}},
		{"OAEP", aes128, oaepWrap(rsa2048, kmip.HashingAlgorithmSHA256, oaep), []cell{{"fips140", 0, weak}, {"suiteb128", refused, "Cryptographic Algorithm"}, {"cnsa1", refused, "Cryptographic Length"}}},
		{"OAEP, nothing said", aes256, oaepWrap(rsa3072, 0, oaep), []cell{{"fips140", 0, weak}, {"cnsa1", 0, weak}, {"cnsa2", refused, "Cryptographic Algorithm"}}},
		{"OAEP SHA-1", aes128, oaepWrap(rsa2048, kmip.HashingAlgorithmSHA1, oaep), []cell{{"fips140", invalid, "Hashing Algorithm"}}},
		{"OAEP SHA-256", aes256, oaepWrap(rsa3072, kmip.HashingAlgorithmSHA256, oaep), []cell{{"cnsa1", invalid, "Hashing Algorithm"}}},
		{"RSA 1024", aes128, oaepWrap(rsa1024, kmip.HashingAlgorithmSHA256, oaep), []cell{{"fips140", refused, "Cryptographic"}}},
		{"PKCS#1 v1.5", aes128, oaepWrap(rsa2048, 0, v15), []cell{{"fips140", invalid, "Padding Method"}}},
	} {
		for _, want := range row.cells {
			b.under(want.policy)
			c := b.client("alice")
			warned := strings.Count(b.log.String(), weak)
			_, err := c.get(row.uid, row.req)
			want.check(t, "Get by "+row.name, err)
			_, err = c.export(row.uid, kmip.ExportRequest{KeyWrappingSpecification: row.req.KeyWrappingSpecification})
			want.check(t, "Export by "+row.name, err)
			if got := strings.Count(b.log.String(), weak) - warned; want.reason == 0 && (got == 2) != (want.field == weak) {
				t.Errorf("%s: %s: got %d warnings of a weak wrapping, want them %t", want.policy, row.name, got, want.field == weak)
			}
		}
	}
}

// Formats at Get, also those of keys that were registered before.
func TestStrictFormats(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	aes := c.must(c.register(symmetric(marker(32))))
	priv := c.must(c.register(privateOfKind(t, ecOn(elliptic.P384()), kmip.CryptographicUsageMaskSign)))
	pub := c.must(c.register(publicOfKind(t, ecOn(elliptic.P384()).Public(), kmip.CryptographicUsageMaskVerify)))
	password := c.must(c.register(secret([]byte("password"))))
	contained := c.must(c.register(inContainer(container(t, "named"), linkTo(kmip.LinkTypePKCS12PasswordLink, password))))
	for _, row := range []struct {
		name   string
		uid    string
		format kmip.KeyFormatType
		cells  []cell
	}{
		{"Raw", aes, kmip.KeyFormatTypeRaw, []cell{{"suiteb192", 0, ""}}},
		{"Transparent Symmetric Key", aes, kmip.KeyFormatTypeTransparentSymmetricKey, []cell{{"fips140", 0, ""}, {"suiteb192", formats, "Key Format Type"}}},
		{"as registered", priv, 0, []cell{{"fips140", 0, ""}, {"suiteb192", formats, "Key Format Type"}}},
		{"ECPrivateKey", priv, kmip.KeyFormatTypeECPrivateKey, []cell{{"fips140", 0, ""}, {"suiteb192", 0, ""}}},
		{"PKCS#8", priv, kmip.KeyFormatTypePKCS8, []cell{{"cnsa1", 0, ""}, {"suiteb128", formats, "Key Format Type"}}},
		{"X.509", pub, kmip.KeyFormatTypeX509, []cell{{"suiteb128", 0, ""}}},
		{"Transparent EC Public Key", pub, kmip.KeyFormatTypeTransparentECPublicKey, []cell{{"suiteb128", formats, "Key Format Type"}}},
		{"Transparent ECDSA Public Key", pub, kmip.KeyFormatTypeTransparentECDSAPublicKey, []cell{{"suiteb128", 0, ""}}},
		{"PKCS#12", contained, 0, []cell{{"fips140", 0, ""}, {"suiteb128", formats, "PKCS#12"}}},
	} {
		for _, want := range row.cells {
			_, err := b.clear(want.policy).get(row.uid, kmip.GetRequest{KeyFormatType: row.format})
			want.check(t, row.name, err)
		}
	}
	// What the operator left of the formats holds for containers, too.
	p, err := policyNamed(t, "fips140").Narrow(fips.Narrowing{Formats: &[]string{"PKCS#8"}})
	c.ok(err)
	b.s.Close()
	b.policy = p
	b.start(b.db, b.fake)
	_, err = b.client("alice").get(contained, kmip.GetRequest{})
	wantReason(t, "a container, of which the operator left the key alone", err, formats)
	_, err = b.client("alice").get(contained, kmip.GetRequest{KeyFormatType: kmip.KeyFormatTypePKCS8})
	wantReason(t, "its key", err, 0)
}

// Containers with ciphers of old are not opened.
func TestStrictContainers(t *testing.T) {
	for name, field := range map[string]string{"named": "", "legacy": "PKCS#12"} {
		want := cell{"fips140", 0, field}
		if field != "" {
			want.reason = invalid
		}
		c := strictBench(t, "fips140").client("alice")
		password := c.must(c.register(secret([]byte("password")), at("Extractable", boolValue(true))))
		_, err := c.register(inContainer(container(t, name), linkTo(kmip.LinkTypePKCS12PasswordLink, password)))
		want.check(t, name, err)
		c.wantClean()
	}
	c := strictBench(t, "suiteb128", fips.AllowOtherObject).client("alice")
	password := c.must(c.register(secret([]byte("password"))))
	_, err := c.register(inContainer(container(t, "named"), linkTo(kmip.LinkTypePKCS12PasswordLink, password)))
	wantRefusal(t, "a container in Suite B", err, formats, "suiteb128", "PKCS#12")
	for _, n := range []string{"named", "two", "unencrypted"} {
		if weakPFX(container(t, n)) {
			t.Errorf("%s counts as weak", n)
		}
	}
}

// The release policy of server and group, whatever the attributes of old objects say.
func TestStrictRelease(t *testing.T) {
	const notExtractable, sensitive = kmip.ResultReasonNotExtractable, kmip.ResultReasonSensitive
	for _, row := range []struct {
		policy        string
		server, group Release
		clear, wrap   kmip.ResultReason // of an old key that may leave by its attributes
		loose, locked kmip.ResultReason // a new key that is to be not Sensitive; one that is to be Extractable
	}{
		{"default", "", "", 0, 0, 0, 0},
		{"default", ReleaseWrapped, "", sensitive, 0, invalid, 0},
		{"default", ReleaseNone, "", notExtractable, notExtractable, invalid, invalid},
		{"default", "", ReleaseWrapped, sensitive, 0, invalid, 0},
		{"default", "", ReleaseNone, notExtractable, notExtractable, invalid, invalid},
		{"default", ReleaseNone, ReleaseClear, notExtractable, notExtractable, invalid, invalid},
		{"fips140", "", "", sensitive, 0, invalid, 0},
		{"fips140", "", ReleaseClear, sensitive, 0, invalid, 0},
		{"fips140", ReleaseClear, "", 0, 0, 0, 0},
		{"fips140", ReleaseClear, ReleaseWrapped, sensitive, 0, invalid, 0},
		{"suiteb192", "", "", sensitive, 0, invalid, 0},
	} {
		name := row.policy + "/" + string(row.server) + "/" + string(row.group)
		b := newBench(t)
		old := b.client("alice")
		kek, key, open := old.aes(), old.must(old.register(symmetric(marker(32)))), old.must(old.register(publicOfKind(t, ecOn(elliptic.P384()).Public(), kmip.CryptographicUsageMaskVerify)))
		old.ok(old.activate(kek))
		b.cfg.Release = row.server
		if row.group != "" {
			b.cfg.Groups = map[string]Group{"g": {Release: row.group}}
		}
		b.under(row.policy)
		if row.group != "" {
			if err := b.s.AddClient(t.Context(), &metadata.Client{Name: "alice", Group: "g", Certificates: []metadata.CertificateMatch{{Fingerprint: fingerprint([]byte("a"))}}}); err != nil {
				t.Fatal(err)
			}
			old.ok(b.s.SetGroup(t.Context(), "alice", "g"))
		}
		c := b.client("alice")
		_, err := c.get(key, kmip.GetRequest{})
		wantReason(t, name+": Get", err, row.clear)
		_, err = c.export(key, kmip.ExportRequest{})
		wantReason(t, name+": Export", err, row.clear)
		_, err = c.get(key, wrapRequest(kek, kmip.BlockCipherModeNISTKeyWrap, kmip.EncodingOptionNoEncoding))
		wantReason(t, name+": Get with wrapping", err, row.wrap)
		_, err = c.get(open, kmip.GetRequest{})
		wantReason(t, name+": Get of a public key", err, 0)
		_, err = c.create(kmip.ObjectTypeSymmetricKey, append(aesAttributes(256), at("Sensitive", boolValue(false)))...)
		wantReason(t, name+": Create, not Sensitive", err, row.loose)
		_, err = c.create(kmip.ObjectTypeSymmetricKey, append(aesAttributes(256), at("Extractable", boolValue(true)))...)
		wantReason(t, name+": Create, Extractable", err, row.locked)
		_, err = c.register(symmetric(marker(32)), at("Sensitive", boolValue(false)))
		wantReason(t, name+": Register, not Sensitive", err, row.loose)
		uid := c.must(c.create(kmip.ObjectTypeSymmetricKey, aesAttributes(256)...))
		if got, want := c.value(uid, "Sensitive").Bool(), row.clear != 0; got != want {
			t.Errorf("%s: got Sensitive %t, want %t", name, got, want)
		}
		if got, want := c.value(uid, "Extractable").Bool(), row.wrap == 0; got != want {
			t.Errorf("%s: got Extractable %t, want %t", name, got, want)
		}
		c.wantClean()
	}
}

// viaListener is a client whose calls come in by a listener.
type viaListener struct {
	client
	listener string
}

func (v viaListener) create(attrs ...kmip.Attribute) error {
	tx := v.s.Begin(false)
	ctx := v.t.Context()
	defer func() { _ = tx.Rollback(ctx, 0) }()
	call := v.call(tx, "")
	call.Listener = v.listener
	_, err := v.s.Create(ctx, call, &kmip.CreateRequest{ObjectType: kmip.ObjectTypeSymmetricKey, TemplateAttribute: kmip.TemplateAttribute{Attribute: attrs}})
	return err
}

func (v viaListener) encrypt(uid string, req *kmip.EncryptRequest) (*kmip.EncryptResponse, error) {
	tx := v.s.Begin(false)
	ctx := v.t.Context()
	defer func() { _ = tx.Rollback(ctx, 0) }()
	call := v.call(tx, uid)
	call.Listener = v.listener
	return v.s.Encrypt(ctx, call, req)
}

// What was begun by one listener is not carried on by another, whose policy was not asked.
func TestStrictStreams(t *testing.T) {
	b := newBench(t)
	b.cfg.Listeners = map[string]*fips.Policy{"strict": policyNamed(t, "fips140")}
	b.under("default")
	c := b.client("alice")
	uid := c.key(marker(32), kmip.CryptographicAlgorithmAES, active(both)...)
	free, strict := viaListener{c, ""}, viaListener{c, "strict"}
	begun, err := free.encrypt(uid, &kmip.EncryptRequest{CryptographicParameters: blockMode(kmip.BlockCipherModeECB), Data: marker(16), InitIndicator: ptr(true)})
	c.ok(err)
	_, err = strict.encrypt(uid, &kmip.EncryptRequest{Data: marker(16), CorrelationValue: begun.CorrelationValue, FinalIndicator: ptr(true)})
	wantReason(t, "carried on by the strict listener", err, kmip.ResultReasonItemNotFound)
	_, err = free.encrypt(uid, &kmip.EncryptRequest{Data: marker(16), CorrelationValue: begun.CorrelationValue, FinalIndicator: ptr(true)})
	wantReason(t, "carried on by the same listener", err, 0)
}

// What was begun under one policy is not carried on after the client has come into a group with a stricter one.
func TestStrictStreamsOfGroups(t *testing.T) {
	b := newBench(t, func(cfg *Config) { cfg.Groups = map[string]Group{"vaults": {Policy: policyNamed(t, "fips140")}} })
	c := b.client("alice")
	c.ok(b.s.AddClient(t.Context(), &metadata.Client{Name: "alice", Certificates: []metadata.CertificateMatch{{Fingerprint: fingerprint([]byte("a"))}}}))
	uid := c.key(marker(32), kmip.CryptographicAlgorithmAES, active(both)...)
	begun, err := c.encrypt(uid, kmip.EncryptRequest{CryptographicParameters: blockMode(kmip.BlockCipherModeECB), Data: marker(16), InitIndicator: ptr(true)})
	c.ok(err)
	c.ok(b.s.SetGroup(t.Context(), "alice", "vaults"))
	last := kmip.EncryptRequest{Data: marker(16), CorrelationValue: begun.CorrelationValue, FinalIndicator: ptr(true)}
	_, err = c.encrypt(uid, last)
	wantReason(t, "carried on in the stricter group", err, refused)
	_, err = c.encrypt(uid, last)
	wantReason(t, "once more", err, kmip.ResultReasonItemNotFound)
}

// Attributes that come inside the Key Value are held to the policy like those beside it.
func TestStrictAttributesInKeyValue(t *testing.T) {
	with := func(a kmip.Attribute) *kmip.RegisterRequest {
		req := symmetric(marker(32))
		plain := req.SymmetricKey.KeyBlock.KeyValue.Find(kmip.TagKeyMaterial)
		kv, err := ttlv.Parse(keyform.EncodeKeyValue(plain, []kmip.Attribute{a}, kmip.V1_4), ttlv.DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		req.SymmetricKey.KeyBlock.KeyValue = kv
		return req
	}
	b := newBench(t)
	b.cfg.Release = ReleaseNone
	b.under("fips140")
	c := b.client("alice")
	for _, a := range []kmip.Attribute{at("Sensitive", boolValue(false)), at("Extractable", boolValue(true)),
		at("Cryptographic Parameters", structValue(&kmip.CryptographicParameters{HashingAlgorithm: kmip.HashingAlgorithmMD5}))} {
		_, err := c.register(with(a))
		if err == nil {
			t.Errorf("%s is taken out of the Key Value", a.AttributeName)
		}
	}
	c.must(c.register(with(at("Extractable", boolValue(false)))))
	c.wantClean()
}

// Listeners and groups are stricter than the server and never laxer.
func TestStrictListenersAndGroups(t *testing.T) {
	suiteb128, suiteb192 := policyNamed(t, "suiteb128"), policyNamed(t, "suiteb192")
	b := newBench(t)
	b.cfg.Listeners = map[string]*fips.Policy{"plain": fips.Default(), "suiteb": suiteb192}
	b.cfg.Groups = map[string]Group{"low": {Policy: suiteb128}, "free": {Policy: fips.Default()}}
	b.under("fips140")
	for name, group := range map[string]string{"none": "", "low": "low", "free": "free"} {
		if err := b.s.AddClient(t.Context(), &metadata.Client{Name: name, Certificates: []metadata.CertificateMatch{{Fingerprint: fingerprint([]byte(name))}}}); err != nil {
			t.Fatal(err)
		}
		if err := b.s.SetGroup(t.Context(), name, group); err != nil {
			t.Fatal(err)
		}
	}
	aes := kmip.CryptographicAlgorithmAES
	for _, row := range []struct {
		client, listener string
		bits             map[int32]string // the policy that refuses; "" for none
	}{
		{"none", "", map[int32]string{128: "", 192: "", 256: ""}},
		{"none", "plain", map[int32]string{128: "", 192: "", 256: ""}},
		{"none", "suiteb", map[int32]string{128: "suiteb192", 192: "suiteb192", 256: ""}},
		{"low", "", map[int32]string{128: "", 192: "suiteb128", 256: ""}},
		{"low", "suiteb", map[int32]string{128: "suiteb192", 192: "suiteb192", 256: ""}},
		{"free", "", map[int32]string{128: "", 192: "", 256: ""}},
	} {
		v := viaListener{b.client(row.client), row.listener}
		for bits, policy := range row.bits {
			want := kmip.ResultReason(0)
			if policy != "" {
				want = invalid
			}
			wantRefusal(t, row.client+" by "+row.listener, v.create(attributesOf(aes, bits, both)...), want, policy, "Cryptographic Length")
		}
		wantRefusal(t, row.client+" by "+row.listener+": 3DES", v.create(attributesOf(kmip.CryptographicAlgorithmDES3, 168, both)...), invalid, "fips140", "Cryptographic Algorithm")
	}
}

// Paths that make or give out keys besides the obvious ones.
func TestStrictOtherPaths(t *testing.T) {
	// Parts of a key: what is split must be allowed, and what parts make.
	b := newBench(t)
	c := b.client("alice")
	tdes := c.must(c.register(ofAlgorithm(unhex(des3), kmip.CryptographicAlgorithmDES3, 192, both)))
	parts, err := c.split(splitRequest(kmip.SplitKeyMethodXOR, 2, 2, tdes))
	c.ok(err)
	b.under("fips140")
	c = b.client("alice")
	_, err = c.split(splitRequest(kmip.SplitKeyMethodXOR, 2, 2, tdes))
	wantRefusal(t, "Create Split Key of an old key", err, invalid, "fips140", "Cryptographic Algorithm")
	_, err = c.split(splitRequest(kmip.SplitKeyMethodXOR, 2, 2, "", attributesOf(kmip.CryptographicAlgorithmDES3, 168, both)...))
	wantRefusal(t, "Create Split Key of a new key", err, invalid, "fips140", "Cryptographic Algorithm")
	_, err = c.join(joinRequest(kmip.ObjectTypeSymmetricKey, parts))
	wantRefusal(t, "Join Split Key", err, invalid, "fips140", "Cryptographic Algorithm")
	good, err := c.split(splitRequest(kmip.SplitKeyMethodXOR, 2, 2, c.aes()))
	wantReason(t, "Create Split Key of AES", err, 0)
	_, err = c.join(joinRequest(kmip.ObjectTypeSymmetricKey, good))
	wantReason(t, "Join Split Key of AES", err, 0)
	b.under("suiteb128")
	c = b.client("alice")
	_, err = c.split(splitRequest(kmip.SplitKeyMethodXOR, 2, 2, c.aes()))
	wantRefusal(t, "Create Split Key", err, invalid, "suiteb128", "Object Type")
	c.wantClean()

	// The keys that Locate makes for a group.
	b = newBench(t, func(cfg *Config) { cfg.FreshGroup = "pool" })
	b.under("suiteb128")
	c = b.client("alice")
	fresh := kmip.LocateRequest{ObjectGroupMember: kmip.ObjectGroupMemberGroupMemberFresh, Attribute: []kmip.Attribute{at("Object Group", textValue("pool"))}}
	resp, err := c.locate(fresh)
	if err != nil || len(resp.UniqueIdentifier) != 1 || !c.value(resp.UniqueIdentifier[0], "Sensitive").Bool() {
		t.Errorf("Locate of a fresh key: got %+v, %v, want one that is Sensitive", resp, err)
	}
	p, err := policyNamed(t, "suiteb128").Narrow(fips.Narrowing{Algorithms: map[string][]int{"AES": {128}}})
	c.ok(err)
	b.s.Close()
	b.policy = p
	b.start(b.db, b.fake)
	c = b.client("bob")
	_, err = c.locate(fresh)
	wantReason(t, "Locate of a fresh key that the policy does not let be made", err, invalid)

	// Attributes of old keys: a usage mask does not grow to protection; nor Put and Notify give what Get does not.
	b = newBench(t)
	c = b.client("alice")
	old := c.must(c.register(ofAlgorithm(unhex(des3), kmip.CryptographicAlgorithmDES3, 192, kmip.CryptographicUsageMaskDecrypt)))
	open := c.must(c.register(symmetric(marker(32))))
	b.under("fips140")
	c = b.client("alice")
	for m, want := range map[kmip.CryptographicUsageMask]kmip.ResultReason{kmip.CryptographicUsageMaskDecrypt: 0, kmip.CryptographicUsageMaskDecrypt | kmip.CryptographicUsageMaskUnwrapKey: 0,
		both: refused, kmip.CryptographicUsageMaskEncrypt: refused} {
		b.under("default")
		every := c.must(b.client("alice").register(ofAlgorithm(unhex(des3), kmip.CryptographicAlgorithmDES3, 192, both|kmip.CryptographicUsageMaskUnwrapKey)))
		b.under("fips140")
		c := b.client("alice")
		resp, err := do(c, kmip.OperationCheck, every, c.s.Check, &kmip.CheckRequest{CryptographicUsageMask: &m})
		wantRefusal(t, "Check "+m.String(), err, want, "fips140", "Cryptographic Algorithm")
		if err != nil && (resp == nil || resp.CryptographicUsageMask == nil || resp.UniqueIdentifier != nil) {
			t.Errorf("Check %s: got %+v, want the mask that was refused", m, resp)
		}
	}
	c = b.client("alice")
	wantRefusal(t, "a usage mask that grows", c.modify(old, mask(both)), invalid, "fips140", "Cryptographic Usage Mask")
	err = b.s.mayLeave(&kmip.Call{Caller: kmip.Caller{Client: "alice"}}, object{c.record(open)}, &kmip.GetRequest{}, &frame{})
	wantReason(t, "Put of a key that is not Sensitive", err, kmip.ResultReasonSensitive)
}
