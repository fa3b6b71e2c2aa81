package keystore

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"

	"kmipd/hsm"
	"kmipd/hsm/hsmtest"
	"kmipd/kmip"
)

// leaks tells that a text holds the marker, as it is or encoded, at any offset within its groups of octets.
func leaks(text string) bool {
	lower := strings.ToLower(text)
	if strings.Contains(text, "KEYBYTES") || strings.Contains(lower, hex.EncodeToString([]byte("KEYBYTES"))) ||
		strings.Contains(text, strings.Trim(fmt.Sprint([]byte("KEYBYTES")), "[]")) {
		return true
	}
	for shift := range 3 {
		s := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + "KEYBYTESKEYBYTES"))
		if strings.Contains(text, s[4:16]) {
			return true
		}
	}
	return false
}

func TestLeaks(t *testing.T) {
	value := []byte("..KEYBYTESKEYBYTES..")
	for what, text := range map[string]string{"plain": string(value), "hex": fmt.Sprintf("%x", value), "HEX": fmt.Sprintf("%X", value),
		"numbers": fmt.Sprint(value), "base64": base64.StdEncoding.EncodeToString(value)} {
		if !leaks(text) {
			t.Errorf("%s is not found", what)
		}
	}
}

// Errors with their causes and the log hold no key bytes, whatever fails.
func TestNoSecretsInErrorsAndLog(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	kek := c.aes()
	c.ok(c.activate(kek))
	if err := b.addClient("alice"); err != nil {
		t.Fatal(err)
	}
	with := func(req *kmip.RegisterRequest, change func(*kmip.KeyBlock)) *kmip.RegisterRequest {
		change(registeredBlock(req))
		return req
	}
	format := func(f kmip.KeyFormatType) func(*kmip.KeyBlock) {
		return func(kb *kmip.KeyBlock) { kb.KeyFormatType, kb.KeyValue = f, structured(marker(64)) }
	}
	requests := map[string]*kmip.RegisterRequest{
		"plain": symmetric(marker(32)), "secret": secret(marker(21)), "opaque": opaque(marker(50)),
		"wrapped":               wrapped(c, kek, symmetric(marker(32)), marker(32), hsm.WrapAESKW, kmip.EncodingOptionNoEncoding),
		"wrapped TTLV":          wrapped(c, kek, symmetric(marker(32)), keyValue(marker(32)), hsm.WrapAESKW, kmip.EncodingOptionTTLVEncoding),
		"wrapped, but no TTLV":  wrapped(c, kek, symmetric(marker(32)), marker(32), hsm.WrapAESKW, kmip.EncodingOptionTTLVEncoding),
		"wrapped, other length": wrapped(c, kek, symmetric(marker(16)), marker(32), hsm.WrapAESKW, kmip.EncodingOptionNoEncoding),
		"private key in PKCS#8": with(privateKey(t, ecKey()), format(kmip.KeyFormatTypePKCS8)),
		"private key in PKCS#1": with(privateKey(t, ecKey()), format(kmip.KeyFormatTypePKCS1)),
		"EC private key":        with(privateKey(t, ecKey()), format(kmip.KeyFormatTypeECPrivateKey)),
		"format of another":     with(symmetric(marker(32)), format(kmip.KeyFormatTypePKCS1)),
		"structure":             with(symmetric(marker(32)), format(kmip.KeyFormatTypeTransparentSymmetricKey)),
		"octets":                with(symmetric(marker(32)), func(kb *kmip.KeyBlock) { kb.KeyValue = byteString(marker(32)) }),
		"length":                with(symmetric(marker(32)), func(kb *kmip.KeyBlock) { kb.CryptographicLength = ptr(int32(128)) }),
		"certificate":           certificate(marker(64)),
	}
	check := func(what string, err error) {
		t.Helper()
		for ; err != nil; err = unwrap(err) {
			for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
				if leaks(text) {
					t.Errorf("%s: the error has key bytes: %s", what, text)
				}
			}
		}
		if leaks(b.log.String()) {
			t.Fatalf("%s: the log has key bytes", what)
		}
	}
	for name, req := range requests {
		uid, err := c.register(req)
		check(name, err)
		if err == nil {
			_, err = c.get(uid, kmip.GetRequest{KeyFormatType: kmip.KeyFormatTypePKCS1})
			check(name+", Get", err)
		}
		for _, method := range []string{"Import", "StoreData", "Unwrap", "UnwrapBytes", "Digest", "StoreCertificate", "Destroy"} {
			b.fake.Inject(hsmtest.Fault{Method: method, Effect: hsmtest.FailAfter, Times: 2})
		}
		_, err = c.register(req)
		check(name+", token fails", err)
		b.fake.Heal()
		if uid != "" {
			b.fake.Inject(hsmtest.Fault{Method: "Export", Effect: hsmtest.FailAfter})
			_, err = c.get(uid, kmip.GetRequest{})
			check(name+", Export fails", err)
			b.fake.Heal()
		}
	}
	_, err := b.login("alice", password("KEYBYTES", "KEYBYTESKEYBYTES"))
	check("password", err)
	_, err = c.create(kmip.ObjectTypeSymmetricKey, at("x-a", textValue("v")))
	check("Create", err)
}

func unwrap(err error) error {
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return e.Unwrap()
	case interface{ Unwrap() []error }:
		return e.Unwrap()[0]
	}
	return nil
}

// The record store's files hold no key bytes, plain or wrapped: they are on the token alone.
func TestNoSecretsOnDisk(t *testing.T) {
	b := newBench(t)
	c := b.client("alice")
	kek := c.aes()
	c.ok(c.activate(kek))
	wrap := wrapped(c, kek, symmetric(marker(32)), marker(32), hsm.WrapAESKW, kmip.EncodingOptionNoEncoding)
	blob := wrap.SymmetricKey.KeyBlock.KeyValue.Clone().Value
	for _, req := range []*kmip.RegisterRequest{symmetric(marker(32)), secret(marker(21)), opaque(marker(500)), wrap,
		wrapped(c, kek, symmetric(marker(32)), keyValue(marker(32)), hsm.WrapAESKW, kmip.EncodingOptionTTLVEncoding)} {
		uid := c.must(c.register(req))
		_ = c.material(uid)
		_, _ = c.get(uid, wrapRequest(kek, kmip.BlockCipherModeNISTKeyWrap, 0))
	}
	for _, letter := range []byte("pdog") {
		c.must(c.registerType(letter))
	}
	if err := b.addClient("alice"); err != nil {
		t.Fatal(err)
	}
	if err := b.s.AddCredential(context.Background(), "alice", "u", false, marker(8)); err != nil {
		t.Fatal(err)
	}
	files := 0
	for name, content := range allFiles(t, b.fs, "records") {
		files++
		if leaks(string(content)) || bytes.Contains(content, blob) {
			t.Errorf("%s has key bytes", name)
		}
	}
	if files == 0 {
		t.Error("no files were found")
	}
}

func allFiles(t *testing.T, fs vfs.FS, dir string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		name = path.Join(dir, name)
		f, err := fs.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(f)
		if err == nil {
			out[name] = content
		}
		_ = f.Close()
	}
	return out
}

// Material does not print.
func TestMaterialRedaction(t *testing.T) {
	m := hsm.Material(marker(32))
	holder := struct{ Key hsm.Material }{m}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d", "%o", "%b", "%T %v"} {
		for _, v := range []any{m, holder, &holder, []hsm.Material{m}, map[string]hsm.Material{"k": m}} {
			if text := fmt.Sprintf(verb, v); leaks(text) || strings.Contains(text, "75 69 89") {
				t.Errorf("%s of %T: got %s", verb, v, text)
			}
		}
	}
	for _, v := range []any{m, holder, map[string]any{"k": m}} {
		text, err := json.Marshal(v)
		if err != nil || leaks(string(text)) || !bytes.Contains(text, []byte("[redacted]")) {
			t.Errorf("JSON of %T: got %s, %v", v, text, err)
		}
	}
	var log bytes.Buffer
	l := zerolog.New(&log)
	l.Info().Interface("a", m).Interface("b", holder).Stringer("c", m).Msgf("%v", m)
	if leaks(log.String()) {
		t.Errorf("zerolog: got %s", log.String())
	}
	m.Wipe()
	if !bytes.Equal(m, make([]byte, 32)) {
		t.Error("Wipe has left octets")
	}
}
