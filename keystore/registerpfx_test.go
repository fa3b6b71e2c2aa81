package keystore

import (
	"bytes"
	"context"
	"crypto/rsa"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"kmipd/hsm"
	"kmipd/kmip"
)

// The containers in testdata/pkcs12 were made with OpenSSL 3.0 under the password "password": an RSA key, its certificate
// (EE), and in named and legacy its issuers (Root before Inter). named has the friendly name "My Key"; unencrypted has
// key and certificate in clear under a MAC; costly asks for three million iterations. two was made with keytool: two EC
// keys under the names first and second.
func container(t testing.TB, name string) []byte {
	t.Helper()
	der, err := os.ReadFile(filepath.Join("testdata", "pkcs12", name+".p12"))
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func linkTo(t kmip.LinkType, uid string) kmip.Attribute {
	return at("Link", structValue(&kmip.Link{LinkType: t, LinkedObjectIdentifier: uid}))
}

// inContainer is a Register request for a private key in a PKCS#12 container.
func inContainer(der []byte, attrs ...kmip.Attribute) *kmip.RegisterRequest {
	return &kmip.RegisterRequest{ObjectType: kmip.ObjectTypePrivateKey,
		TemplateAttribute: *with(append([]kmip.Attribute{mask(kmip.CryptographicUsageMaskSign | kmip.CryptographicUsageMaskDecrypt)}, attrs...)...),
		PrivateKey:        &kmip.PrivateKey{KeyBlock: kmip.KeyBlock{KeyFormatType: kmip.KeyFormatTypePKCS12, KeyValue: structured(der)}}}
}

func (c client) linked(uid string, t kmip.LinkType) string {
	c.t.Helper()
	o := object{c.record(uid)}
	if n := len(o.links(t)); n > 1 {
		c.t.Errorf("%s has %d links of type %s", uid, n, t)
	}
	return o.linked(t)
}

// A container becomes private key, public key and chain, linked as KMIP 1.4 section 4.11 follows the links.
func TestRegisterPKCS12(t *testing.T) {
	for _, row := range []struct {
		name, friendly string
		chain          []string
	}{
		{"named", "My Key", []string{"EE", "Inter", "Root"}},
		{"legacy", "", []string{"EE", "Inter", "Root"}},
		{"unencrypted", "", []string{"EE"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBench(t)
			c := b.client("alice")
			password := c.must(c.register(secret([]byte("password"))))
			uid := c.must(c.register(inContainer(container(t, row.name), linkTo(kmip.LinkTypePKCS12PasswordLink, password),
				named("key"), at("Activation Date", timeValue(epoch)))))
			if b.fake.Len() != 3+len(row.chain) {
				t.Errorf("got %d token objects, want password, key pair and %d certificates", b.fake.Len(), len(row.chain))
			}
			if v := c.value(uid, "PKCS#12 Friendly Name"); row.friendly != "" && v.Text() != row.friendly || row.friendly == "" && !v.IsZero() {
				t.Errorf("friendly name: got %v, want %q", v, row.friendly)
			}
			pub, leaf := c.linked(uid, kmip.LinkTypePublicKeyLink), c.linked(uid, kmip.LinkTypePKCS12CertificateLink)
			if got := (object{c.record(pub)}); got.usage() != kmip.CryptographicUsageMaskVerify|kmip.CryptographicUsageMaskEncrypt || got.ObjectType != kmip.ObjectTypePublicKey || got.state(epoch) != kmip.StateActive {
				t.Errorf("public key: got %s, %s, %s", got.ObjectType, got.usage(), got.state(epoch))
			}
			if c.linked(pub, kmip.LinkTypePrivateKeyLink) != uid || c.linked(pub, kmip.LinkTypeCertificateLink) != leaf || c.linked(leaf, kmip.LinkTypePublicKeyLink) != pub {
				t.Error("key pair and certificate are not linked to each other")
			}
			var subjects []string
			for next := leaf; next != ""; next = c.linked(next, kmip.LinkTypeCertificateLink) {
				subjects = append(subjects, c.value(next, "Certificate Subject CN").Text())
			}
			if !slices.Equal(subjects, row.chain) {
				t.Errorf("chain: got %v, want %v", subjects, row.chain)
			}
			for _, format := range []kmip.KeyFormatType{0, kmip.KeyFormatTypePKCS12} {
				resp, err := c.get(uid, kmip.GetRequest{KeyFormatType: format})
				c.ok(err)
				wantName := row.friendly
				if wantName == "" {
					wantName = "alias"
				}
				if p, err := readPFX(resp.PrivateKey.KeyBlock.KeyValue.Value, "password", ""); err != nil || p.name != wantName {
					t.Errorf("Get as %s: got %+v, %v, want the friendly name %q", format, p, err, wantName)
				}
				key, cert, chain, err := pkcs12.DecodeChain(resp.PrivateKey.KeyBlock.KeyValue.Value, "password")
				c.ok(err)
				if key.(*rsa.PrivateKey).N.BitLen() != 2048 || cert.Subject.CommonName != "EE" || len(chain) != len(row.chain)-1 {
					t.Errorf("Get as %s: got another key or chain", format)
				}
			}
			_, err := c.get(uid, kmip.GetRequest{KeyFormatType: kmip.KeyFormatTypePKCS1})
			wantReason(t, "Get as PKCS#1", err, 0)
			// The container goes to another store with the objects that it links to.
			other := newBench(t)
			d := other.client("dora")
			for _, id := range append([]string{password}, c.find()...) { // the password first: Import needs it
				out, err := c.export(id, kmip.ExportRequest{})
				c.ok(err)
				d.ok(d.imports(replacing(importOf(out))))
			}
			if other.fake.Len() != b.fake.Len() {
				t.Errorf("imported: %d token objects, want %d", other.fake.Len(), b.fake.Len())
			}
			_, err = d.get(uid, kmip.GetRequest{})
			wantReason(t, "Get of the imported key", err, 0)
			other.wantClean()
			b.wantClean()
		})
	}
}

// TestRegisterPKCS12Errors has the PKCS#12 rows of KMIP 1.4 section 11.4, and what containers can be wrong in.
func TestRegisterPKCS12Errors(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	seed := secret([]byte("password"))
	seed.SecretData.SecretDataType = kmip.SecretDataTypeSeed
	password, wrong := c.must(c.register(secret([]byte("password")))), c.must(c.register(secret([]byte("Password"))))
	seedUID, aes := c.must(c.register(seed)), c.aes()
	gone := c.must(c.register(secret([]byte("password"))))
	c.ok(c.destroy(gone))
	bobs := b.client("bob").must(b.client("bob").register(secret([]byte("password"))))
	link := func(uid string) kmip.Attribute { return linkTo(kmip.LinkTypePKCS12PasswordLink, uid) }
	good, p := container(t, "named"), link(password)
	truncated := inContainer(good[:len(good)-1], p)
	noOctets := inContainer(good, p)
	noOctets.PrivateKey.KeyBlock.KeyValue = byteString(nil)
	asSecret := secret(good)
	asSecret.SecretData.KeyBlock.KeyFormatType = kmip.KeyFormatTypePKCS12
	bare := inContainer(good, p)
	bare.PrivateKey.KeyBlock.KeyValue = byteString(good)
	const field, format = kmip.ResultReasonInvalidField, kmip.ResultReasonKeyFormatTypeNotSupported
	for _, row := range []struct {
		name   string
		req    *kmip.RegisterRequest
		reason kmip.ResultReason
	}{
		{"no password", inContainer(good), field},
		{"two passwords", inContainer(good, p, link(wrong)), field},
		{"a password that is not there", inContainer(good, link("none")), field},
		{"another client's password", inContainer(good, link(bobs)), field},
		{"a destroyed password", inContainer(good, link(gone)), field},
		{"a password that is a key", inContainer(good, link(aes)), field},
		{"a password that is a seed", inContainer(good, link(seedUID)), field},
		{"a wrong password", inContainer(good, link(wrong)), field},
		{"truncated", truncated, field},
		{"no container", inContainer([]byte("container"), p), field},
		{"no octets", noOctets, field},
		{"no key", inContainer(container(t, "certs"), p), field},
		{"no certificate", inContainer(container(t, "keyonly"), p), field},
		{"too many iterations", inContainer(container(t, "costly"), p), field},
		{"another friendly name", inContainer(good, p, at("PKCS#12 Friendly Name", textValue("other"))), field},
		{"a name where none can be read", inContainer(container(t, "unencrypted"), p, at("PKCS#12 Friendly Name", textValue("other"))), format},
		{"another algorithm", inContainer(good, p, at("Cryptographic Algorithm", enumValue(kmip.CryptographicAlgorithmEC)), at("Cryptographic Length", intValue(int32(256)))), field},
		{"Secret Data", asSecret, format},
		{"Byte String", bare, 0},
		{"friendly name in another case", inContainer(good, p, at("PKCS#12 Friendly Name", textValue("my key"))), 0},
	} {
		tokens, records := b.fake.Len(), len(c.find())
		_, err := c.register(row.req)
		wantReason(t, row.name, err, row.reason)
		if err != nil && (b.fake.Len() != tokens || len(c.find()) != records) {
			t.Errorf("%s: refused, but something was made", row.name)
		}
	}
	b.wantClean()
}

// A client that keeps the chain by itself gets the key alone.
func TestRegisterPKCS12Alone(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	password := c.must(c.register(secret([]byte("password"))))
	for _, lt := range []kmip.LinkType{kmip.LinkTypePKCS12CertificateLink, kmip.LinkTypePublicKeyLink} {
		before := b.fake.Len()
		c.must(c.register(inContainer(container(t, "named"), linkTo(kmip.LinkTypePKCS12PasswordLink, password), linkTo(lt, "later"))))
		if got := b.fake.Len() - before; got != 1 {
			t.Errorf("%s given: got %d objects, want the key alone", lt, got)
		}
	}
}

// A friendly name chooses among several keys; without one the first is taken.
func TestRegisterPKCS12Choice(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	password := linkTo(kmip.LinkTypePKCS12PasswordLink, c.must(c.register(secret([]byte("password")))))
	for name, want := range map[string]string{"": "first", "first": "first", "SECOND": "second"} {
		req := inContainer(container(t, "two"), password)
		if name != "" {
			req = inContainer(container(t, "two"), password, at("PKCS#12 Friendly Name", textValue(name)))
		}
		uid := c.must(c.register(req))
		if got := c.value(c.linked(uid, kmip.LinkTypePKCS12CertificateLink), "Certificate Subject CN").Text(); got != want {
			t.Errorf("friendly name %q: got the key of %s, want %s", name, got, want)
		}
	}
}

// All objects of a container come in, or none: whatever token object fails, nothing is left; Undo takes all back.
func TestRegisterPKCS12Atomic(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	password := c.must(c.register(secret([]byte("password"))))
	req := inContainer(container(t, "named"), linkTo(kmip.LinkTypePKCS12PasswordLink, password))
	ctx := context.Background()
	tx := b.s.Begin(true)
	_, err := item(ctx, c, tx, kmip.OperationRegister, "", c.s.Register, req)
	c.ok(err)
	c.ok(tx.Rollback(ctx, 0))
	if b.fake.Len() != 1 || len(c.find()) != 1 {
		t.Errorf("after Undo: %d token objects, %d records, want the password alone", b.fake.Len(), len(c.find()))
	}
	b.s.token = failing{b.fake}
	_, err = c.register(req)
	wantReason(t, "a token that takes no certificates", err, kmip.ResultReasonGeneralFailure)
	b.s.token = b.fake
	if b.fake.Len() != 1 || len(c.find()) != 1 {
		t.Errorf("after a failure: %d token objects, %d records, want the password alone", b.fake.Len(), len(c.find()))
	}
	b.wantClean()
}

// failing is a token that is full when a certificate comes.
type failing struct{ hsm.Token }

func (failing) StoreCertificate(context.Context, hsm.TokenID, string, []byte) error {
	return &hsm.Error{Kind: hsm.KindFull}
}

// A named container is one that other programs read; here OpenSSL, where it is installed.
func TestNamedContainer(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("OpenSSL is not installed")
	}
	b := newBench(t)
	c := b.client("alice")
	password := c.must(c.register(secret([]byte("p\u00e4ss"))))
	named := inContainer(container(t, "named"), linkTo(kmip.LinkTypePKCS12PasswordLink, c.must(c.register(secret([]byte("password"))))))
	uid := c.must(c.register(named))
	c.ok(c.modify(uid, linkTo(kmip.LinkTypePKCS12PasswordLink, password)))
	c.ok(c.modify(uid, at("PKCS#12 Friendly Name", textValue("Schl\u00fcssel 1"))))
	resp, err := c.get(uid, kmip.GetRequest{})
	c.ok(err)
	file := filepath.Join(t.TempDir(), "k.p12")
	c.ok(os.WriteFile(file, resp.PrivateKey.KeyBlock.KeyValue.Value, 0o600))
	out, err := exec.Command(openssl, "pkcs12", "-in", file, "-passin", "pass:p\u00e4ss", "-nodes").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "friendlyName: Schl") || strings.Count(string(out), "BEGIN CERTIFICATE") != 3 {
		t.Errorf("OpenSSL: %v\n%s", err, regexp.MustCompile(`(?s)-----BEGIN.*?-----END`).ReplaceAllString(string(out), "..."))
	}
	if _, err := namePFX([]byte("x"), "", ""); err == nil {
		t.Error("a name was given to no container")
	}
}

// What may be read of iteration counts is bounded before anything is computed.
func TestCostly(t *testing.T) {
	for name, want := range map[string]bool{"named": false, "legacy": false, "unencrypted": false, "costly": true} {
		began := time.Now()
		_, err := openPFX(context.Background(), container(t, name), "password", "")
		if got := err != nil && strings.Contains(err.Error(), "iterations"); got != want {
			t.Errorf("%s: got %v, want refusal %t", name, err, want)
		}
		if want && time.Since(began) > time.Second {
			t.Errorf("%s: refused after %s", name, time.Since(began))
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	pfxTurn <- struct{}{}
	_, err := openPFX(ctx, container(t, "named"), "password", "")
	<-pfxTurn
	if err == nil {
		t.Error("a request whose time is over waits for its turn")
	}
}

func FuzzPFX(f *testing.F) {
	for _, name := range []string{"named", "legacy", "unencrypted", "costly", "certs", "keyonly"} {
		f.Add(container(f, name))
	}
	f.Add(bytes.Repeat([]byte{0x30, 0x80}, 40))
	f.Fuzz(func(t *testing.T, der []byte) {
		p, err := openPFX(context.Background(), der, "password", "")
		if err == nil && (p.key == nil || len(p.chain) == 0) {
			t.Error("an opened container without key or certificate")
		}
	})
}
