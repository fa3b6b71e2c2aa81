package evidence_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"kmipd/fips"
	"kmipd/keystore/evidence"
)

var at = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func newKey(t *testing.T) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return key, der
}

// sample has something in every part.
func sample() *evidence.Document {
	return &evidence.Document{Schema: evidence.Schema, Generated: at, Serial: 7, PreviousSHA256: strings.Repeat("ab", 32),
		Server:   evidence.Server{Version: "1.0", Build: map[string]string{"GOFIPS140": "v1.0.0"}},
		Policies: []evidence.Policy{{For: "server", Policy: "fips140", Rules: fips.Default().Rules()[:3], Switches: []fips.Switch{fips.AllowECB}}},
		GoModule: &evidence.GoModule{Enabled: true, Version: "v1.0.0", Certificate: certificate("active")},
		Token: &evidence.Token{Manufacturer: "Maker", Model: "M", Firmware: "7.8", Certificate: certificate("active"),
			Mechanisms: []evidence.Mechanism{{Name: "CKM_AES_KEY_GEN", MinKey: 16, MaxKey: 32}}, Enforces: []evidence.Enforced{{What: "RSA 1024", Enforced: true}}},
		TLS:       []evidence.TLS{{Address: "0.0.0.0:5696", Policy: "fips140", Versions: []string{"TLS 1.2"}}},
		SelfTests: &evidence.SelfTest{Passed: true, At: at, Drifted: []string{}, Results: []evidence.TestResult{{Mechanism: "AES-GCM", Name: "known answer", Result: "passed"}}},
		Audit:     &evidence.Audit{Sequence: 9, Hash: strings.Repeat("cd", 32)},
		Pairwise:  &evidence.Pairwise{Count: 2},
		Counters:  &evidence.Counters{Since: at, Refused: []evidence.Count{{Operation: "Create", Reason: "Invalid Field", Count: 3}}},
		Refusals:  []evidence.Refusal{{Time: at, Client: "<script>alert(1)</script>", Rule: "DES & co"}},
		Keys:      evidence.Inventory{At: at, Complete: true, Objects: 1, Keys: []evidence.Keys{{Type: "Symmetric Key", Algorithm: "AES", Bits: 256, Count: 1}}},
		Sunset: []evidence.Sunset{{From: "2031-01-01", Rule: "RSA 2048 to 3071", Clients: []string{"\"quoted\" </pre>"}, Total: 1,
			Objects: []evidence.Object{{UID: "u1", Client: "c"}}}},
		Deviations: []evidence.Deviation{{ID: "D-TLS-1", Text: "no RSA key exchange"}}}
}

func certificate(status string) *evidence.Certificate {
	return &evidence.Certificate{Authority: "NIST CMVP", Number: "5247", Standard: "FIPS 140-3", Level: 1, Status: status, Source: "test"}
}

// files are a signed report in both forms.
func files(t *testing.T, key *ecdsa.PrivateKey) map[string][]byte {
	t.Helper()
	env, sum, err := evidence.Seal(sample(), key, "")
	if err != nil {
		t.Fatal(err)
	}
	text, err := env.Encode()
	if err != nil {
		t.Fatal(err)
	}
	page, err := evidence.Page(env, key)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(page, []byte(sum)) {
		t.Error("the page does not name its document")
	}
	return map[string][]byte{"json": text, "html": page}
}

func TestVerify(t *testing.T) {
	key, der := newKey(t)
	_, other := newKey(t)
	for form, file := range files(t, key) {
		t.Run(form, func(t *testing.T) {
			for name, want := range map[string][]byte{"the key": der, "no key": nil} {
				v, err := evidence.Open(file, want)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if v.Document.Serial != 7 || v.Document.Keys.Keys[0].Bits != 256 || v.Page != (form == "html") || !bytes.Equal(v.PublicKey, der) {
					t.Errorf("%s: got %+v", name, v)
				}
			}
			if _, err := evidence.Open(file, other); !errors.Is(err, evidence.ErrOtherKey) {
				t.Errorf("another key: got %v", err)
			}
		})
	}
}

// TestTampering changes, removes and adds single octets all over both forms.
func TestTampering(t *testing.T) {
	key, der := newKey(t)
	for form, file := range files(t, key) {
		t.Run(form, func(t *testing.T) {
			step := max(1, len(file)/1500) // a signature check costs more than the rest
			for i := 0; i < len(file); i += step {
				for _, change := range [][]byte{
					append(append(bytes.Clone(file[:i]), file[i]^1), file[i+1:]...),
					append(append(bytes.Clone(file[:i]), file[i]^0x20), file[i+1:]...),
					append(bytes.Clone(file[:i]), file[i+1:]...),
					append(append(bytes.Clone(file[:i]), ' '), file[i:]...),
				} {
					if bytes.Equal(change, file) {
						continue
					}
					if _, err := evidence.Open(change, der); err == nil {
						t.Fatalf("octet %d of %d was changed near %q, and nobody saw it", i, len(file), file[max(0, i-20):min(len(file), i+20)])
					}
				}
			}
			for _, longer := range [][]byte{append(bytes.Clone(file), '\n'), append(bytes.Clone(file), file...), append([]byte(" "), file...)} {
				if _, err := evidence.Open(longer, der); err == nil {
					t.Error("text was added, and nobody saw it")
				}
			}
		})
	}
}

// A page of one report with the envelope of another is none.
func TestMixedPages(t *testing.T) {
	key, der := newKey(t)
	a := files(t, key)["html"]
	d := sample()
	d.Serial = 8
	env, _, err := evidence.Seal(d, key, "")
	if err != nil {
		t.Fatal(err)
	}
	b, err := evidence.Page(env, key)
	if err != nil {
		t.Fatal(err)
	}
	const mark = "<pre id=\"envelope\">\n"
	mixed := append(bytes.Clone(a[:bytes.Index(a, []byte(mark))]), b[bytes.Index(b, []byte(mark)):]...)
	if _, err := evidence.Open(mixed, der); !errors.Is(err, evidence.ErrTampered) {
		t.Errorf("got %v, want ErrTampered", err)
	}
}

// A page names the document before, too: it must not pass with that one's envelope.
func TestPageOfTheNext(t *testing.T) {
	key, der := newKey(t)
	before, sum, err := evidence.Seal(sample(), key, "")
	if err != nil {
		t.Fatal(err)
	}
	next := sample()
	next.Serial, next.PreviousSHA256 = 8, sum
	env, _, err := evidence.Seal(next, key, "")
	if err != nil {
		t.Fatal(err)
	}
	page, err := evidence.Page(env, key)
	if err != nil {
		t.Fatal(err)
	}
	const mark, tail = "<pre id=\"envelope\">\n", "</pre>"
	i := bytes.Index(page, []byte(mark)) + len(mark)
	j := i + bytes.Index(page[i:], []byte(tail))
	var inner evidence.Envelope
	if err := json.Unmarshal(page[i:j], &inner); err != nil {
		t.Fatal(err)
	}
	before.PageSignature = inner.PageSignature
	swapped, err := before.Encode()
	if err != nil {
		t.Fatal(err)
	}
	mixed := slices.Concat(page[:i], swapped, page[j:])
	if v, err := evidence.Open(mixed, der); !errors.Is(err, evidence.ErrTampered) {
		t.Errorf("got %+v, %v, want ErrTampered", v, err)
	}
}

func TestUnsigned(t *testing.T) {
	env, _, err := evidence.Seal(sample(), nil, "the token is in the error state")
	if err != nil {
		t.Fatal(err)
	}
	text, err := env.Encode()
	if err != nil {
		t.Fatal(err)
	}
	page, err := evidence.Page(env, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range [][]byte{text, page} {
		v, err := evidence.Open(file, nil)
		if !errors.Is(err, evidence.ErrUnsigned) || v == nil || v.Document.Serial != 7 {
			t.Errorf("got %v, %v", v, err)
		}
	}
	// Cutting the signature off a signed report must not look better than that.
	for _, file := range [][]byte{nil, []byte("{}"), []byte("<html></html>")} {
		if _, err := evidence.Open(file, nil); !errors.Is(err, evidence.ErrNotEvidence) {
			t.Errorf("%q: got %v", file, err)
		}
	}
}

func TestPage(t *testing.T) {
	key, _ := newKey(t)
	page := string(files(t, key)["html"])
	for _, bad := range []string{"<script", "http://", "https://", "\"quoted\" </pre>", "ZgotmplZ", "<no value>"} {
		if strings.Contains(page[:strings.Index(page, "<pre id=")], bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	if n, m := strings.Count(page, "<table>"), strings.Count(page, "<caption>"); n != m || n < 10 {
		t.Errorf("%d tables, %d captions", n, m)
	}
	for _, want := range []string{"<html lang=\"en\">", "<h1>", "Verdict: system", "RSA 2048 to 3071", "D-TLS-1", "&lt;script&gt;", "DES &amp; co", "allow-ecb"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*evidence.Document)
		want   string // in the reasons; "" for compliant
	}{
		{"all well", func(*evidence.Document) {}, ""},
		{"default policy", func(d *evidence.Document) { d.Policies[0].Policy = "default" }, "policy default"},
		{"no policy", func(d *evidence.Document) { d.Policies = nil }, "policy is unknown"},
		{"module off", func(d *evidence.Document) { d.GoModule.Enabled = false }, "not in approved mode"},
		{"module unknown", func(d *evidence.Document) { d.GoModule = nil }, "Module is unknown"},
		{"module without certificate", func(d *evidence.Document) { d.GoModule.Certificate = nil }, "no validation of Go's"},
		{"token without certificate", func(d *evidence.Document) { d.Token.Certificate = nil }, "token not validated"},
		{"token differs", func(d *evidence.Document) {
			d.Token.Certificate, d.Token.Unvalidated = nil, []string{"certificate 1 covers firmware 7.7, and the token has 7.8"}
		}, "the token has 7.8"},
		{"software token", func(d *evidence.Document) { d.Token.Unvalidated = []string{"not a hardware slot"} }, "not a hardware slot"},
		{"historical token", func(d *evidence.Document) { d.Token.Certificate = certificate("historical") }, "is historical"},
		{"module in process", func(d *evidence.Document) { d.GoModule.Certificate = certificate("in process") }, "is in process"},
		{"no self-tests", func(d *evidence.Document) { d.SelfTests = nil }, "self-tests of the token are unknown"},
		{"failed self-test", func(d *evidence.Document) { d.SelfTests.Passed = false }, "failed"},
		{"blocked", func(d *evidence.Document) { d.SelfTests.Blocked = []string{"AES-GCM"} }, "AES-GCM"},
		{"flags not compared", func(d *evidence.Document) { d.SelfTests.Drifted = nil }, "have not been compared"},
		{"drift", func(d *evidence.Document) { d.SelfTests.Drifted = []string{"u1"} }, "1 keys have other flags"},
		{"error state", func(d *evidence.Document) { d.ErrorState = &evidence.ErrorState{} }, "error state"},
		{"pair", func(d *evidence.Document) { d.Pairwise.Failures = 1 }, "pairwise"},
		{"no TLS", func(d *evidence.Document) { d.TLS = nil }, "TLS"},
		{"inventory", func(d *evidence.Document) { d.Keys.Complete = false }, "inventory"},
		{"clock", func(d *evidence.Document) { d.Clock.Behind = true }, "clock"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := sample()
			c.change(d)
			d.Judge()
			got := strings.Join(d.Verdict.Reasons, "\n")
			if d.Verdict.Compliant != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("got %v %q, want %q", d.Verdict.Compliant, got, c.want)
			}
		})
	}
}

func TestParseKey(t *testing.T) {
	_, der := newKey(t)
	for name, b := range map[string][]byte{"DER": der, "PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})} {
		if got, err := evidence.ParseKey(b); err != nil || !bytes.Equal(got, der) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := evidence.ParseKey([]byte("no key")); err == nil {
		t.Error("no key was taken for one")
	}
}
