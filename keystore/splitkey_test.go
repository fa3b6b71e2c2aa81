package keystore

import (
	"bytes"
	"context"
	"crypto/x509"
	"math/big"
	"slices"
	"testing"
	"time"

	"kmipd/kmip"
)

func (c client) split(req *kmip.CreateSplitKeyRequest) ([]string, error) {
	resp, err := do(c, kmip.OperationCreateSplitKey, "", c.s.CreateSplitKey, req)
	if err != nil {
		return nil, err
	}
	return resp.UniqueIdentifier, nil
}

func (c client) join(req *kmip.JoinSplitKeyRequest) (string, error) {
	resp, err := do(c, kmip.OperationJoinSplitKey, "", c.s.JoinSplitKey, req)
	if err != nil {
		return "", err
	}
	return resp.UniqueIdentifier, nil
}

// splitRequest splits a key into parts; prime fields are GF(2^521 - 1).
func splitRequest(method kmip.SplitKeyMethod, parts, threshold int32, uid string, attrs ...kmip.Attribute) *kmip.CreateSplitKeyRequest {
	req := &kmip.CreateSplitKeyRequest{ObjectType: kmip.ObjectTypeSplitKey, SplitKeyParts: parts, SplitKeyThreshold: threshold, SplitKeyMethod: method,
		TemplateAttribute: *with(attrs...)}
	if uid != "" {
		req.UniqueIdentifier = &uid
	}
	if method == kmip.SplitKeyMethodPolynomialSharingPrimeField {
		req.PrimeFieldSize = prime521
	}
	return req
}

func joinRequest(t kmip.ObjectType, uids []string, attrs ...kmip.Attribute) *kmip.JoinSplitKeyRequest {
	return &kmip.JoinSplitKeyRequest{ObjectType: t, UniqueIdentifier: uids, TemplateAttribute: with(attrs...)}
}

var splitMethods = []kmip.SplitKeyMethod{kmip.SplitKeyMethodXOR, kmip.SplitKeyMethodPolynomialSharingGF2_8,
	kmip.SplitKeyMethodPolynomialSharingGF2_16, kmip.SplitKeyMethodPolynomialSharingPrimeField}

// Keys and secrets of every kind come back out of their parts, which are objects of their own.
func TestSplitAndJoin(t *testing.T) {
	der, err := x509.MarshalPKCS8PrivateKey(ecKey())
	if err != nil {
		t.Fatal(err)
	}
	const sym, sec, priv = kmip.ObjectTypeSymmetricKey, kmip.ObjectTypeSecretData, kmip.ObjectTypePrivateKey
	odd := append([]byte{0, 0}, marker(15)...) // zeros at the front, and no whole number of 16 bits
	for _, row := range []struct {
		name string
		typ  kmip.ObjectType
		make func(c client) *kmip.RegisterRequest
		want []byte
	}{
		{"AES", sym, func(client) *kmip.RegisterRequest { return symmetric(marker(32)) }, marker(32)},
		{"password", sec, func(client) *kmip.RegisterRequest { return secret(odd) }, odd},
		{"private key", priv, func(c client) *kmip.RegisterRequest { return privateKey(c.t, ecKey()) }, der},
	} {
		for _, m := range splitMethods {
			if row.typ == priv && m == kmip.SplitKeyMethodPolynomialSharingPrimeField {
				continue // longer than the prime
			}
			t.Run(row.name+", "+m.String(), func(t *testing.T) {
				b := newBench(t)
				c := b.client("alice")
				uid := c.must(c.register(row.make(c)))
				threshold := int32(3)
				if m == kmip.SplitKeyMethodXOR {
					threshold = 4
				}
				parts, err := c.split(splitRequest(m, 4, threshold, uid, at("x-holder", textValue("safe"))))
				c.ok(err)
				if len(parts) != 4 {
					t.Fatalf("got %d parts, want 4", len(parts))
				}
				c.wantParts(parts, uid, m, threshold)
				slices.Reverse(parts)
				again := c.must(c.join(joinRequest(row.typ, parts[:threshold])))
				if got := c.material(again); !bytes.Equal(got, row.want) {
					t.Errorf("joined: got %x, want %x", got, row.want)
				}
				for _, name := range []string{"Cryptographic Algorithm", "Cryptographic Length"} {
					if got, want := c.value(again, name), c.value(uid, name); !got.Equal(want) {
						t.Errorf("%s of the joined object: got %v, want %v", name, got, want)
					}
				}
				_, err = c.join(joinRequest(row.typ, parts[:threshold-1]))
				wantReason(t, "too few", err, kmip.ResultReasonCryptographicFailure)
				b.wantClean()
				b.restart()
				if got := c.material(c.must(c.join(joinRequest(row.typ, parts[:threshold])))); !bytes.Equal(got, row.want) {
					t.Errorf("joined after a restart: got %x, want %x", got, row.want)
				}
			})
		}
	}
}

// wantParts checks what Get gives for the parts.
func (c client) wantParts(parts []string, source string, m kmip.SplitKeyMethod, threshold int32) {
	c.t.Helper()
	for i, uid := range parts {
		resp, err := c.get(uid, kmip.GetRequest{})
		c.ok(err)
		k := resp.SplitKey
		if k == nil || k.SplitKeyParts != 4 || k.KeyPartIdentifier != int32(i+1) || k.SplitKeyThreshold != threshold || k.SplitKeyMethod != m {
			c.t.Errorf("part %d: got %+v", i+1, k)
		}
		if got := c.value(uid, "x-holder").Text(); got != "safe" {
			c.t.Errorf("part %d: the attribute of the request is %q", i+1, got)
		}
		if got, want := c.value(uid, "Cryptographic Usage Mask"), c.value(source, "Cryptographic Usage Mask"); !got.Equal(want) {
			c.t.Errorf("part %d: Cryptographic Usage Mask is %v, want %v", i+1, got, want)
		}
	}
}

// Without Unique Identifier a new key is made, of which there are only the parts.
func TestSplitNewKey(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	before := b.fake.Len()
	parts, err := c.split(splitRequest(kmip.SplitKeyMethodPolynomialSharingGF2_8, 3, 2, "", aesAttributes(256)...))
	c.ok(err)
	if got := b.fake.Len() - before; got != 3 {
		t.Errorf("the token has %d new objects, want 3", got)
	}
	one := c.material(c.must(c.join(joinRequest(kmip.ObjectTypeSymmetricKey, parts[:2]))))
	two := c.material(c.must(c.join(joinRequest(kmip.ObjectTypeSymmetricKey, parts[1:]))))
	if len(one) != 32 || !bytes.Equal(one, two) {
		t.Errorf("joined: %x and %x, want the same 32 octets", one, two)
	}
	b.wantClean()
}

// What must not leave does not leave in parts either.
func TestSplitSensitive(t *testing.T) {
	c := newBench(t).client("alice")
	parts, err := c.split(splitRequest(kmip.SplitKeyMethodXOR, 2, 2, c.aes(at("Sensitive", boolValue(true)))))
	c.ok(err)
	_, err = c.get(parts[0], kmip.GetRequest{})
	wantReason(t, "Get of a part", err, kmip.ResultReasonSensitive)
	again := c.must(c.join(joinRequest(kmip.ObjectTypeSymmetricKey, parts, at("Sensitive", boolValue(false)))))
	_, err = c.get(again, kmip.GetRequest{})
	wantReason(t, "Get of the joined key", err, kmip.ResultReasonSensitive)
	_, err = c.split(splitRequest(kmip.SplitKeyMethodXOR, 2, 2, c.aes(at("Extractable", boolValue(false)))))
	wantReason(t, "split of a key that is not Extractable", err, kmip.ResultReasonNotExtractable)
}

// TestSplitErrors is the table of KMIP 1.4 section 11.39.
func TestSplitErrors(t *testing.T) {
	const field, missing, denied = kmip.ResultReasonInvalidField, kmip.ResultReasonItemNotFound, kmip.ResultReasonPermissionDenied
	const xor, gf8, prime = kmip.SplitKeyMethodXOR, kmip.SplitKeyMethodPolynomialSharingGF2_8, kmip.SplitKeyMethodPolynomialSharingPrimeField
	b := newBench(t)
	c := b.client("alice")
	key := c.aes()
	revoked := c.aes(activeNow())
	c.ok(c.revoke(revoked, kmip.RevocationReasonCodeCessationOfOperation))
	gone := c.aes()
	c.ok(c.destroy(gone))
	archived := c.aes()
	_, err := do(c, kmip.OperationArchive, archived, c.s.Archive, &kmip.ArchiveRequest{})
	c.ok(err)
	used := c.aes(activeNow(), at("Protect Stop Date", timeValue(epoch.Add(-time.Minute))))
	with := func(f func(*kmip.CreateSplitKeyRequest)) *kmip.CreateSplitKeyRequest {
		r := splitRequest(gf8, 3, 2, key)
		f(r)
		return r
	}
	over := func(p *big.Int) *kmip.CreateSplitKeyRequest {
		return with(func(r *kmip.CreateSplitKeyRequest) { r.SplitKeyMethod, r.PrimeFieldSize = prime, p })
	}
	for _, row := range []struct {
		name   string
		req    *kmip.CreateSplitKeyRequest
		reason kmip.ResultReason
	}{
		{"works", splitRequest(gf8, 3, 2, key), 0},
		{"object type", with(func(r *kmip.CreateSplitKeyRequest) { r.ObjectType = kmip.ObjectTypeSymmetricKey }), field},
		{"template that does not exist", with(func(r *kmip.CreateSplitKeyRequest) {
			r.TemplateAttribute.Name = []kmip.Name{{NameValue: "none", NameType: 1}}
		}), missing},
		{"attribute of the server", splitRequest(gf8, 3, 2, key, at("Initial Date", timeValue(epoch))), field},
		{"Name for several", splitRequest(gf8, 3, 2, key, named("n")), field},
		{"method", splitRequest(9, 3, 2, key), field},
		{"no parts", splitRequest(gf8, 0, 0, key), field},
		{"too many parts", splitRequest(gf8, maxParts+1, 2, key), field},
		{"threshold above parts", splitRequest(gf8, 3, 4, key), field},
		{"threshold zero", splitRequest(gf8, 3, 0, key), field},
		{"XOR with threshold", splitRequest(xor, 3, 2, key), field},
		{"prime for another method", with(func(r *kmip.CreateSplitKeyRequest) { r.PrimeFieldSize = prime521 }), field},
		{"no prime", over(nil), field},
		{"prime too small", over(big.NewInt(65537)), field},
		{"prime smaller than the parts", over(big.NewInt(2)), field},
		{"negative prime", over(big.NewInt(-7)), field},
		{"no prime at all", over(new(big.Int).Add(prime521, big.NewInt(2))), field},
		{"prime too long", over(new(big.Int).Lsh(big.NewInt(1), maxPrimeBits)), field},
		{"key that does not exist", splitRequest(gf8, 3, 2, "none"), missing},
		{"key of another client", splitRequest(gf8, 3, 2, b.client("bob").aes()), missing},
		{"key destroyed", splitRequest(gf8, 3, 2, gone), missing},
		{"key archived", splitRequest(gf8, 3, 2, archived), kmip.ResultReasonObjectArchived},
		{"key Deactivated", splitRequest(gf8, 3, 2, revoked), denied},
		{"key after Protect Stop", splitRequest(gf8, 3, 2, used), denied},
		{"opaque object", splitRequest(gf8, 3, 2, c.must(c.register(opaque([]byte("x"))))), field},
		{"public key", splitRequest(gf8, 3, 2, c.must(c.register(publicKey(t, ecKey())))), field},
		{"new key without algorithm", splitRequest(gf8, 3, 2, "", at("Cryptographic Length", intValue(int32(128)))), field},
		{"new key without length", splitRequest(gf8, 3, 2, "", at("Cryptographic Algorithm", enumValue(kmip.CryptographicAlgorithmAES))), field},
		{"new key of a length that there is not", splitRequest(gf8, 3, 2, "", aesAttributes(136)...), field},
		{"new RSA key", splitRequest(gf8, 3, 2, "", attributesOf(kmip.CryptographicAlgorithmRSA, 2048, 0)...), field},
		{"one part with a Name", splitRequest(gf8, 1, 1, key, named("single")), 0},
		{"one part with a Name that is taken", splitRequest(gf8, 1, 1, key, named("single")), field},
	} {
		before := b.fake.Len()
		_, err := c.split(row.req)
		wantReason(t, row.name, err, row.reason)
		if err != nil && b.fake.Len() != before {
			t.Errorf("%s: refused, but the token has other objects", row.name)
		}
	}
	b.wantClean()
}

// foreignPart is a Register request for a part that was made elsewhere.
func foreignPart(method kmip.SplitKeyMethod, parts, id, threshold int32, value []byte) *kmip.RegisterRequest {
	k := &kmip.SplitKey{SplitKeyParts: parts, KeyPartIdentifier: id, SplitKeyThreshold: threshold, SplitKeyMethod: method,
		KeyBlock: kmip.KeyBlock{KeyFormatType: kmip.KeyFormatTypeRaw, KeyValue: structured(value)}}
	if method == kmip.SplitKeyMethodPolynomialSharingPrimeField {
		k.PrimeFieldSize = prime521
	}
	return &kmip.RegisterRequest{ObjectType: kmip.ObjectTypeSplitKey, SplitKey: k}
}

// TestJoinErrors is the table of KMIP 1.4 section 11.40.
func TestJoinErrors(t *testing.T) {
	const field, missing, denied, crypto = kmip.ResultReasonInvalidField, kmip.ResultReasonItemNotFound, kmip.ResultReasonPermissionDenied, kmip.ResultReasonCryptographicFailure
	const sym, gf8, gf16 = kmip.ObjectTypeSymmetricKey, kmip.SplitKeyMethodPolynomialSharingGF2_8, kmip.SplitKeyMethodPolynomialSharingGF2_16
	b := newBench(t)
	c := b.client("alice")
	key := c.aes()
	split := func(attrs ...kmip.Attribute) []string {
		parts, err := c.split(splitRequest(gf8, 3, 2, key, attrs...))
		c.ok(err)
		return parts
	}
	good, other, old, archived := split(), split(), split(activeNow()), split()
	c.ok(c.revoke(old[0], kmip.RevocationReasonCodeCessationOfOperation))
	gone := split()
	c.ok(c.destroy(gone[0]))
	_, err := do(c, kmip.OperationArchive, archived[0], c.s.Archive, &kmip.ArchiveRequest{})
	c.ok(err)
	sealed := split(at("Extractable", boolValue(false)))
	registered := func(method kmip.SplitKeyMethod, parts, id, threshold int32, value []byte) string {
		return c.must(c.register(foreignPart(method, parts, id, threshold, value)))
	}
	first := registered(gf8, 3, 1, 2, marker(16))
	aes := aesAttributes(128)
	uids := func(list ...string) []string { return list }
	for _, row := range []struct {
		name   string
		req    *kmip.JoinSplitKeyRequest
		reason kmip.ResultReason
	}{
		{"works", joinRequest(sym, good[:2]), 0},
		{"all parts", joinRequest(sym, good), 0},
		{"object type", joinRequest(kmip.ObjectTypeTemplate, good), field},
		{"type of secret data of a key", &kmip.JoinSplitKeyRequest{ObjectType: sym, UniqueIdentifier: good, SecretDataType: kmip.SecretDataTypeSeed}, field},
		{"secret data of an unknown type", &kmip.JoinSplitKeyRequest{ObjectType: kmip.ObjectTypeSecretData, UniqueIdentifier: good, SecretDataType: 99}, field},
		{"template that does not exist", &kmip.JoinSplitKeyRequest{ObjectType: sym, UniqueIdentifier: good,
			TemplateAttribute: &kmip.TemplateAttribute{Name: []kmip.Name{{NameValue: "none", NameType: 1}}}}, missing},
		{"attribute of the server", joinRequest(sym, good, at("Initial Date", timeValue(epoch))), field},
		{"length that the key has not", joinRequest(sym, good, aesAttributes(128)...), field},
		{"too few", joinRequest(sym, good[:1]), crypto},
		{"part that does not exist", joinRequest(sym, uids(good[0], "none")), missing},
		{"part of another client", joinRequest(sym, uids(good[0], b.client("bob").aes())), missing},
		{"part destroyed", joinRequest(sym, gone), missing},
		{"part archived", joinRequest(sym, archived), kmip.ResultReasonObjectArchived},
		{"part Deactivated", joinRequest(sym, old), denied},
		{"part that is not Extractable", joinRequest(sym, sealed), kmip.ResultReasonNotExtractable},
		{"no part", joinRequest(sym, uids(key, good[0])), field},
		{"the same twice", joinRequest(sym, uids(good[0], good[0])), field},
		{"parts of two splits", joinRequest(sym, uids(good[0], other[1])), field},
		{"part made here and elsewhere", joinRequest(sym, uids(good[1], first), aes...), field},
		{"elsewhere", joinRequest(sym, uids(first, registered(gf8, 3, 2, 2, marker(16))), aes...), 0},
		{"elsewhere, no mask", joinRequest(sym, uids(first, registered(gf8, 3, 2, 2, marker(16))), aes[:2]...), field},
		{"another threshold", joinRequest(sym, uids(first, registered(gf8, 3, 2, 3, marker(16))), aes...), field},
		{"another number of parts", joinRequest(sym, uids(first, registered(gf8, 4, 2, 2, marker(16))), aes...), field},
		{"another method", joinRequest(sym, uids(first, registered(gf16, 3, 2, 2, marker(16))), aes...), field},
		{"another length", joinRequest(sym, uids(first, registered(gf8, 3, 2, 2, marker(24))), aes...), field},
		{"the same identifier", joinRequest(sym, uids(first, registered(gf8, 3, 1, 2, marker(16))), aes...), field},
		{"three that do not fit", joinRequest(sym, uids(first, registered(gf8, 3, 2, 2, marker(16)), registered(gf8, 3, 3, 2, make([]byte, 16))), aes...), crypto},
		{"vendor's method", joinRequest(sym, uids(registered(0x80000001, 2, 1, 1, marker(16))), aes...), field},
		{"half an element", joinRequest(sym, uids(registered(gf16, 1, 1, 1, marker(15))), aes...), field},
		{"identifier beyond the field", joinRequest(sym, uids(registered(gf8, 300, 256, 1, marker(16))), aes...), field},
		{"part not less than the prime", joinRequest(sym, uids(registered(kmip.SplitKeyMethodPolynomialSharingPrimeField, 1, 1, 1, prime521.Bytes())), aes...), field},
		{"Name taken", joinRequest(sym, good, named("taken")), 0},
		{"Name taken again", joinRequest(sym, good, named("taken")), field},
	} {
		before := b.fake.Len()
		_, err := c.join(row.req)
		wantReason(t, row.name, err, row.reason)
		if err != nil && b.fake.Len() != before {
			t.Errorf("%s: refused, but the token has another object", row.name)
		}
	}
	b.wantClean()
}

// Parts from elsewhere do not say how long the key is where they are longer: Cryptographic Length does.
func TestJoinForeign(t *testing.T) {
	c := newBench(t).client("alice")
	want := append([]byte{0}, marker(15)...)
	integer := new(big.Int).SetBytes(want).FillBytes(make([]byte, 66))
	one := c.must(c.register(foreignPart(kmip.SplitKeyMethodPolynomialSharingPrimeField, 3, 2, 1, integer)))
	if got := c.material(c.must(c.join(joinRequest(kmip.ObjectTypeSymmetricKey, []string{one}, aesAttributes(128)...)))); !bytes.Equal(got, want) {
		t.Errorf("prime field: got %x, want %x", got, want)
	}
	_, err := c.join(joinRequest(kmip.ObjectTypeSecretData, []string{one}, at("Cryptographic Length", intValue(int32(64)))))
	wantReason(t, "a length that is too short", err, kmip.ResultReasonCryptographicFailure)
	if got := c.material(c.must(c.join(joinRequest(kmip.ObjectTypeSecretData, []string{one}, at("Cryptographic Length", intValue(int32(128))))))); !bytes.Equal(got, want) {
		t.Errorf("secret data: got %x, want %x", got, want)
	}
}

// derivationScenes are the scenes of the failure matrix for Derive Key and Create Split Key.
func derivationScenes() []scene {
	return []scene{
		{name: "Derive Key", makes: true, setup: func(c client) string { return c.baseSecret(marker(32)) },
			request: func(ctx context.Context, c client, tx kmip.Tx, uid string) error {
				req := hmacRequest(uid)
				req.TemplateAttribute.Attribute = append(req.TemplateAttribute.Attribute, named("new"))
				_, err := item(ctx, c, tx, kmip.OperationDeriveKey, "", c.s.DeriveKey, req)
				return err
			},
			done: func(c client, uid string) bool {
				made := doneByName(c, uid)
				if linked := len(object{c.record(uid)}.links(kmip.LinkTypeDerivedKeyLink)) > 0; linked != made {
					c.t.Errorf("the base is linked: %t, the derived key is there: %t", linked, made)
				}
				return made
			}},
		{name: "Re-key", makes: true, setup: func(c client) string { return c.aes(named("new")) },
			request: func(ctx context.Context, c client, tx kmip.Tx, uid string) error {
				_, err := item(ctx, c, tx, kmip.OperationReKey, uid, c.s.ReKey, &kmip.ReKeyRequest{})
				return err
			},
			done: func(c client, uid string) bool {
				named := c.find(named("new"))
				if len(named) != 1 {
					c.t.Errorf("the Name is that of %v", named)
					return false
				}
				return named[0] != uid
			}},
		{name: "Create Split Key", makes: true, setup: func(c client) string { return c.must(c.register(symmetric(marker(32)))) },
			request: func(ctx context.Context, c client, tx kmip.Tx, uid string) error {
				_, err := item(ctx, c, tx, kmip.OperationCreateSplitKey, "", c.s.CreateSplitKey,
					splitRequest(kmip.SplitKeyMethodPolynomialSharingGF2_8, 3, 2, uid))
				return err
			},
			done: func(c client, _ string) bool {
				parts := c.find(at("Object Type", enumValue(kmip.ObjectTypeSplitKey)))
				if len(parts) != 0 && len(parts) != 3 {
					c.t.Errorf("%d of 3 parts are there", len(parts))
				}
				if len(parts) < 2 {
					return false
				}
				if got := c.material(c.must(c.join(joinRequest(kmip.ObjectTypeSymmetricKey, parts[:2])))); !bytes.Equal(got, marker(32)) {
					c.t.Errorf("joined: got %q, want %q", got, marker(32))
				}
				return true
			}},
	}
}
