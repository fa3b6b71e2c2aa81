package keystore

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"math/bits"
	"slices"
	"testing"
	"time"

	"kmipd/kmip"
)

// hmacRequest derives an AES-128 key with HMAC-SHA-256.
func hmacRequest(base ...string) *kmip.DeriveKeyRequest {
	return &kmip.DeriveKeyRequest{ObjectType: kmip.ObjectTypeSymmetricKey, UniqueIdentifier: base, DerivationMethod: kmip.DerivationMethodHMAC,
		DerivationParameters: kmip.DerivationParameters{CryptographicParameters: hashParams(kmip.HashingAlgorithmSHA256), DerivationData: []byte("data")},
		TemplateAttribute:    *with(attributesOf(kmip.CryptographicAlgorithmAES, 128, kmip.CryptographicUsageMaskEncrypt)...)}
}

// TestDeriveErrors is the table of KMIP 1.4 section 11.7.
func TestDeriveErrors(t *testing.T) {
	const (
		field, message, crypto = kmip.ResultReasonInvalidField, kmip.ResultReasonInvalidMessage, kmip.ResultReasonCryptographicFailure
		missing                = kmip.ResultReasonItemNotFound
		sha256                 = kmip.HashingAlgorithmSHA256
	)
	b := newBench(t)
	c := b.client("alice")
	value := bytes.Repeat([]byte{9}, 32)
	base := c.baseKey(kmip.CryptographicAlgorithmAES, value)
	second := c.baseKey(kmip.CryptographicAlgorithmAES, value)
	text := c.baseSecret([]byte("text"))
	sealed := c.baseSecret([]byte("sealed"), at("Extractable", boolValue(false)))
	signing := c.baseKey(kmip.CryptographicAlgorithmHMACSHA256, value)
	pinned := c.baseKey(kmip.CryptographicAlgorithmAES, value, at("Cryptographic Parameters", structValue(hashParams(sha256))))
	preActive := c.must(c.register(secret(value), mask(kmip.CryptographicUsageMaskDeriveKey)))
	maskless := c.must(c.register(secret(value), activeNow()))
	late := c.baseKey(kmip.CryptographicAlgorithmAES, value, at("Protect Stop Date", timeValue(epoch.Add(-time.Minute))))
	early := c.baseKey(kmip.CryptographicAlgorithmAES, value, at("Process Start Date", timeValue(epoch.Add(time.Minute))))
	revoked := c.baseSecret(value)
	c.ok(c.revoke(revoked, kmip.RevocationReasonCodeCessationOfOperation))
	destroyed := c.baseSecret(value)
	c.ok(c.revoke(destroyed, kmip.RevocationReasonCodeKeyCompromise))
	c.ok(c.destroy(destroyed))
	archived := c.baseSecret(value)
	_, err := do(c, kmip.OperationArchive, archived, c.s.Archive, &kmip.ArchiveRequest{})
	c.ok(err)
	blob := c.must(c.register(opaque([]byte("x")), mask(kmip.CryptographicUsageMaskDeriveKey), activeNow()))
	elsewhere := secret(nil)
	elsewhere.SecretData.KeyBlock.KeyValue = elsewhere.SecretData.KeyBlock.KeyValue.Find(0)
	away := c.must(c.register(elsewhere, mask(kmip.CryptographicUsageMaskDeriveKey), activeNow(),
		at("Key Value Location", structValue(&kmip.KeyValueLocation{KeyValueLocationValue: "safe", KeyValueLocationType: kmip.KeyValueLocationTypeUninterpretedTextString}))))
	foreign := b.client("bob").baseSecret(value)
	c.aes(named("taken"))

	set := func(f func(*kmip.DeriveKeyRequest), uids ...string) *kmip.DeriveKeyRequest {
		r := hmacRequest(uids...)
		f(r)
		return r
	}
	method := func(m kmip.DerivationMethod, f func(*kmip.DerivationParameters)) *kmip.DeriveKeyRequest {
		return set(func(r *kmip.DeriveKeyRequest) {
			r.DerivationMethod = m
			f(&r.DerivationParameters)
		}, base)
	}
	attrs := func(list ...kmip.Attribute) *kmip.DeriveKeyRequest {
		return set(func(r *kmip.DeriveKeyRequest) { r.TemplateAttribute = *with(list...) }, base)
	}
	nothing := func(*kmip.DerivationParameters) {}
	cbc := func(p *kmip.DerivationParameters) {
		p.CryptographicParameters = &kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeCBC}
	}
	for _, row := range []struct {
		name   string
		req    *kmip.DeriveKeyRequest
		reason kmip.ResultReason
	}{
		{"works", hmacRequest(base), 0},
		{"object type", set(func(r *kmip.DeriveKeyRequest) { r.ObjectType = kmip.ObjectTypePrivateKey }, base), field},
		{"base that does not exist", hmacRequest("none"), missing},
		{"base of another client", hmacRequest(foreign), missing},
		{"base destroyed", hmacRequest(destroyed), missing},
		{"base archived", hmacRequest(archived), kmip.ResultReasonObjectArchived},
		{"base of a wrong type", hmacRequest(blob), field},
		{"base whose value is elsewhere", hmacRequest(away), kmip.ResultReasonKeyValueNotPresent},
		{"base without Derive Key", hmacRequest(maskless), field},
		{"base Pre-Active", hmacRequest(preActive), field},
		{"base Deactivated", hmacRequest(revoked), field},
		{"base after Protect Stop", hmacRequest(late), field},
		{"base before Process Start", hmacRequest(early), field},
		{"base twice", hmacRequest(base, base), field},
		{"two keys and data", hmacRequest(base, second), field},
		{"too many bases", hmacRequest(base, second, text), field},
		{"data twice", hmacRequest(base, text), message},
		{"data twice, HASH", set(func(r *kmip.DeriveKeyRequest) { r.DerivationMethod = kmip.DerivationMethodHASH }, text), message},
		{"key and data, HASH", method(kmip.DerivationMethodHASH, nothing), field},
		{"no data", set(func(r *kmip.DeriveKeyRequest) { r.DerivationParameters.DerivationData = nil }, base), field},
		{"no data but another key", set(func(r *kmip.DeriveKeyRequest) { r.DerivationParameters.DerivationData = nil }, base, second), field},
		{"data that is not Extractable", set(func(r *kmip.DeriveKeyRequest) { r.DerivationParameters.DerivationData = nil }, base, sealed), field},
		{"method unknown", method(99, nothing), field},
		{"method of a later version", method(kmip.DerivationMethodHKDF, nothing), field},
		{"template that does not exist", set(func(r *kmip.DeriveKeyRequest) {
			r.TemplateAttribute.Name = []kmip.Name{{NameValue: "none", NameType: 1}}
		}, base), missing},
		{"no length", attrs(at("Cryptographic Algorithm", enumValue(kmip.CryptographicAlgorithmAES))), field},
		{"no algorithm", attrs(at("Cryptographic Length", intValue(int32(128)))), field},
		{"no mask", attrs(attributesOf(kmip.CryptographicAlgorithmAES, 128, 0)[:2]...), 0},
		{"length that the algorithm has not", attrs(attributesOf(kmip.CryptographicAlgorithmAES, 136, 0)...), field},
		{"asymmetric algorithm", attrs(attributesOf(kmip.CryptographicAlgorithmRSA, 2048, 0)...), field},
		{"attribute of the server", attrs(append(attributesOf(kmip.CryptographicAlgorithmAES, 128, 0), at("Initial Date", timeValue(epoch)))...), field},
		{"Name taken", attrs(append(attributesOf(kmip.CryptographicAlgorithmAES, 128, 0), named("taken"))...), field},
		{"namespace", attrs(append(attributesOf(kmip.CryptographicAlgorithmAES, 128, 0), at("Application Specific Information",
			structValue(&kmip.ApplicationSpecificInformation{ApplicationNamespace: "ssl"})))...), kmip.ResultReasonApplicationNamespaceNotSupported},
		{"more than the method gives", set(func(r *kmip.DeriveKeyRequest) {
			r.ObjectType, r.TemplateAttribute = kmip.ObjectTypeSecretData, secretOf(264)
		}, base), crypto},
		{"more than the counter gives", set(func(r *kmip.DeriveKeyRequest) {
			r.DerivationMethod, r.ObjectType, r.TemplateAttribute = kmip.DerivationMethodNIST800_108C, kmip.ObjectTypeSecretData, secretOf(8*256*20)
			r.DerivationParameters.CryptographicParameters = counted(*hashParams(kmip.HashingAlgorithmSHA1), 8)
		}, base), field}, // longer than secrets may be: see below
		{"counter length", method(kmip.DerivationMethodNIST800_108C, func(p *kmip.DerivationParameters) { p.CryptographicParameters = counted(*hashParams(sha256), 12) }), field},
		{"no parameters", method(kmip.DerivationMethodHMAC, func(p *kmip.DerivationParameters) { p.CryptographicParameters = nil }), field},
		{"no parameters, PRF of the key", set(func(r *kmip.DeriveKeyRequest) { r.DerivationParameters.CryptographicParameters = nil }, signing), 0},
		{"no parameters, instance of the key", set(func(r *kmip.DeriveKeyRequest) { r.DerivationParameters.CryptographicParameters = nil }, pinned), 0},
		{"parameters that the key has not", set(func(r *kmip.DeriveKeyRequest) {
			r.DerivationParameters.CryptographicParameters = hashParams(kmip.HashingAlgorithmSHA512)
		}, pinned), field},
		{"CMAC for HMAC", method(kmip.DerivationMethodHMAC, func(p *kmip.DerivationParameters) {
			p.CryptographicParameters = &kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeCMAC}
		}), field},
		{"hash unknown", method(kmip.DerivationMethodHASH, func(p *kmip.DerivationParameters) {
			p.DerivationData, p.CryptographicParameters = nil, hashParams(kmip.HashingAlgorithmMD5)
		}), field},
		{"hash that the token has not for keys", method(kmip.DerivationMethodHASH, func(p *kmip.DerivationParameters) {
			p.DerivationData, p.CryptographicParameters = nil, hashParams(kmip.HashingAlgorithmSHA384)
		}), field},
		{"IV without use", method(kmip.DerivationMethodHMAC, func(p *kmip.DerivationParameters) { p.InitializationVector = value }), field},
		{"salt without use", method(kmip.DerivationMethodHMAC, func(p *kmip.DerivationParameters) { p.Salt = value }), field},
		{"PBKDF2 without salt", method(kmip.DerivationMethodPBKDF2, func(p *kmip.DerivationParameters) { p.DerivationData, p.IterationCount = nil, ptr(int32(1)) }), field},
		{"PBKDF2 without count", method(kmip.DerivationMethodPBKDF2, func(p *kmip.DerivationParameters) { p.DerivationData, p.Salt = nil, value }), field},
		{"PBKDF2, no iteration", method(kmip.DerivationMethodPBKDF2, func(p *kmip.DerivationParameters) {
			p.DerivationData, p.Salt, p.IterationCount = nil, value, ptr(int32(0))
		}), field},
		{"PBKDF2, too many", method(kmip.DerivationMethodPBKDF2, func(p *kmip.DerivationParameters) {
			p.DerivationData, p.Salt, p.IterationCount = nil, value, ptr(int32(maxPRFCalls+1))
		}), field},
		{"ENCRYPT without mode", method(kmip.DerivationMethodENCRYPT, nothing), field},
		{"ENCRYPT without IV", method(kmip.DerivationMethodENCRYPT, func(p *kmip.DerivationParameters) { cbc(p); p.DerivationData = value }), field},
		{"ENCRYPT, IV of a wrong length", method(kmip.DerivationMethodENCRYPT, func(p *kmip.DerivationParameters) {
			cbc(p)
			p.InitializationVector, p.DerivationData = value[:8], value
		}), field},
		{"ENCRYPT, no whole block", method(kmip.DerivationMethodENCRYPT, func(p *kmip.DerivationParameters) { cbc(p); p.InitializationVector = value[:16] }), crypto},
		{"ENCRYPT with secret data", set(func(r *kmip.DeriveKeyRequest) {
			r.DerivationMethod = kmip.DerivationMethodENCRYPT
			cbc(&r.DerivationParameters)
		}, text), field},
		{"agreement with symmetric keys", set(func(r *kmip.DeriveKeyRequest) {
			r.DerivationMethod, r.DerivationParameters = kmip.DerivationMethodAsymmetricKey, kmip.DerivationParameters{}
		}, base, second), field},
	} {
		before := b.fake.Len()
		_, err := c.derive(row.req)
		wantReason(t, row.name, err, row.reason)
		if err != nil && b.fake.Len() != before {
			t.Errorf("%s: refused, but the token has another object", row.name)
		}
	}
	old := hmacRequest(base)
	old.DerivationMethod = kmip.DerivationMethodAsymmetricKey
	_, err = c.in(kmip.V1_2).derive(old)
	wantReason(t, "Asymmetric Key before 1.4", err, field)
	f := prf{size: 20}
	_, err = f.kdf108(context.Background(), counterMode, 1, nil, nil, 256*20)
	wantReason(t, "more than the counter gives", err, crypto)
	b.wantClean()
}

// The derived object and its bases know each other, the value is what the attributes say, and Undo leaves no trace.
func TestDeriveLinks(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	key, data := c.baseKey(kmip.CryptographicAlgorithmAES, marker(32)), c.baseSecret([]byte("the data"))
	req := hmacRequest(data, key)
	req.DerivationParameters.DerivationData = nil
	req.TemplateAttribute.Attribute = append(req.TemplateAttribute.Attribute, named("child"), activeNow())
	uid := c.must(c.derive(req))
	o := object{c.record(uid)}
	if got := o.links(kmip.LinkTypeDerivationBaseObjectLink); !slices.Equal(got, []string{data, key}) {
		t.Errorf("Derivation Base Object Links: got %v, want %v", got, []string{data, key})
	}
	for _, base := range []string{key, data} {
		if got := (object{c.record(base)}).links(kmip.LinkTypeDerivedKeyLink); !slices.Equal(got, []string{uid}) {
			t.Errorf("Derived Key Links of %s: got %v, want %v", base, got, []string{uid})
		}
	}
	m := hmac.New(sha256.New, marker(32))
	m.Write([]byte("the data"))
	if got, want := c.material(uid), m.Sum(nil)[:16]; !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	if got := c.state(uid); got != kmip.StateActive {
		t.Errorf("State: got %s, want Active", got)
	}
	var d kmip.Digest
	c.ok(d.Decode(o.get("Digest")))
	if sum := sha256.Sum256(m.Sum(nil)[:16]); !bytes.Equal(d.DigestValue, sum[:]) {
		t.Errorf("Digest: got %x, want %x", d.DigestValue, sum)
	}

	ctx := context.Background()
	tx := c.s.Begin(true)
	again := hmacRequest(key)
	resp, err := item(ctx, c, tx, kmip.OperationDeriveKey, "", c.s.DeriveKey, again)
	c.ok(err)
	c.ok(tx.Rollback(ctx, 0))
	if _, err := c.get(resp.UniqueIdentifier, kmip.GetRequest{}); kmip.ReasonOf(err) != kmip.ResultReasonItemNotFound {
		t.Errorf("undone: got %v, want Item Not Found", err)
	}
	if got := (object{c.record(key)}).links(kmip.LinkTypeDerivedKeyLink); !slices.Equal(got, []string{uid}) {
		t.Errorf("undone: Derived Key Links are %v, want %v", got, []string{uid})
	}
	b.wantClean()
	b.restart()
	b.wantClean()
}

// A base key has no room for Links without end.
func TestDeriveManyLinks(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	base := c.baseSecret(marker(32))
	for range maxInstances {
		c.must(c.derive(hmacRequest(base)))
	}
	before := b.fake.Len()
	_, err := c.derive(hmacRequest(base))
	wantReason(t, "one Link too many", err, kmip.ResultReasonIndexOutOfBounds)
	if b.fake.Len() != before {
		t.Error("refused, but the token has another object")
	}
	b.wantClean()
}

// Keys for 3DES get odd parity, as tokens want it.
func TestDeriveParity(t *testing.T) {
	c := newBench(t).client("alice")
	base := c.baseSecret(marker(32))
	for _, n := range []int32{112, 168, 192} {
		req := hmacRequest(base)
		req.TemplateAttribute = *with(attributesOf(kmip.CryptographicAlgorithmDES3, n, kmip.CryptographicUsageMaskDecrypt)...)
		got := c.material(c.must(c.derive(req)))
		if want := secretOctets(kmip.CryptographicAlgorithmDES3, int(n)); len(got) != want {
			t.Errorf("%d bits: got %d octets, want %d", n, len(got), want)
		}
		for i, x := range got {
			if bits.OnesCount8(x)%2 == 0 {
				t.Errorf("%d bits: octet %d has even parity", n, i)
			}
		}
	}
}

// The request's time ends a long derivation.
func TestDeriveDeadline(t *testing.T) {
	c := newBench(t).client("alice")
	base := c.baseSecret([]byte("password"))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	req := hmacRequest(base)
	req.DerivationMethod = kmip.DerivationMethodPBKDF2
	req.DerivationParameters = kmip.DerivationParameters{Salt: []byte("salt"), IterationCount: ptr(int32(maxPRFCalls))}
	tx := c.s.Begin(false)
	defer func() { _ = tx.Rollback(context.Background(), 0) }()
	begun := time.Now()
	_, err := item(ctx, c, tx, kmip.OperationDeriveKey, "", c.s.DeriveKey, req)
	wantReason(t, "out of time", err, kmip.ResultReasonGeneralFailure)
	if d := time.Since(begun); d > 2*time.Second {
		t.Errorf("took %s", d)
	}
}

// TestDeriveAgreement is ECDH: the first P-256 vector of NIST's validation program, and what the method refuses.
func TestDeriveAgreement(t *testing.T) { deriveAgreement(t, newBench(t).client("alice")) }

func deriveAgreement(t *testing.T, c client) {
	ours := privateOf(t, "7d7dc5f71eb29ddaf80d6214632eeae03d9058af1fb6d22ed80badb62bc1a534")
	point := octetsIn(t, "04700c48f77f56584c5cc632ca65640db91b6bacce3a4df6b42ce7cc838833d287"+
		"db71e509e3fd9b060ddb20ba5c51dcc5948d46fbf640dfe0441782cab85fa4ac")
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	c.ok(err)
	theirs := &ecdsa.PrivateKey{PublicKey: *public}
	usable := []kmip.Attribute{mask(kmip.CryptographicUsageMaskDeriveKey), activeNow()}
	half, other := privateKey(t, ours), publicKey(t, theirs)
	half.TemplateAttribute, other.TemplateAttribute = *with(usable...), *with(usable...)
	priv, pub := c.must(c.register(half)), c.must(c.register(other))
	request := func(n int32, uids ...string) *kmip.DeriveKeyRequest {
		return &kmip.DeriveKeyRequest{ObjectType: kmip.ObjectTypeSecretData, UniqueIdentifier: uids,
			DerivationMethod: kmip.DerivationMethodAsymmetricKey, TemplateAttribute: secretOf(n)}
	}
	want := octetsIn(t, "46fc62106420ff012e54a434fbdd2d25ccc5852060561e68040dd7778997bd7b")
	for _, uids := range [][]string{{priv, pub}, {pub, priv}} {
		if got := c.material(c.must(c.derive(request(256, uids...)))); !bytes.Equal(got, want) {
			t.Errorf("got %x, want %x", got, want)
		}
	}
	if got := c.material(c.must(c.derive(request(128, priv, pub)))); !bytes.Equal(got, want[:16]) {
		t.Errorf("128 bits: got %x, want %x", got, want[:16])
	}
	signing := publicKey(t, theirs)
	signing.TemplateAttribute = *with(usable...)
	signing.PublicKey.KeyBlock.CryptographicAlgorithm = kmip.CryptographicAlgorithmECDSA
	large, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	c.ok(err)
	other = publicKey(t, large)
	other.TemplateAttribute, other.PublicKey.KeyBlock.CryptographicLength = *with(usable...), ptr(int32(384))
	inline := request(128, priv, pub)
	inline.DerivationParameters.DerivationData = []byte("x")
	hash := request(128, priv, pub)
	hash.DerivationParameters.CryptographicParameters = hashParams(kmip.HashingAlgorithmSHA256)
	for _, row := range []struct {
		name   string
		req    *kmip.DeriveKeyRequest
		reason kmip.ResultReason
	}{
		{"longer than the secret", request(264, priv, pub), kmip.ResultReasonCryptographicFailure},
		{"one key", request(128, priv), kmip.ResultReasonInvalidField},
		{"private key alone, HMAC", hmacRequest(priv), kmip.ResultReasonInvalidField},
		{"key for ECDSA", request(128, priv, c.must(c.register(signing))), kmip.ResultReasonInvalidField},
		{"another curve", request(128, priv, c.must(c.register(other))), kmip.ResultReasonCryptographicFailure},
		{"data", inline, kmip.ResultReasonInvalidField},
		{"hash", hash, kmip.ResultReasonInvalidField},
	} {
		_, err := c.derive(row.req)
		wantReason(t, row.name, err, row.reason)
	}
	c.wantClean()
}

// privateOf is a P-256 key by its scalar.
func privateOf(t *testing.T, scalar string) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), octetsIn(t, scalar))
	if err != nil {
		t.Fatal(err)
	}
	return k
}
