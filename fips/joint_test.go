package fips

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"kmipd/kmip"
)

// questions are the answers of a policy to everything that can be asked of it, by the question.
func questions(p *Policy) map[string]bool {
	out := map[string]bool{}
	for _, u := range allUses() {
		for a := range kmip.CryptographicAlgorithm(60) {
			for _, n := range []int{1, 112, 128, 163, 192, 224, 256, 384, 521, 1024, 2048, 3072, 4096} {
				out[fmt.Sprint(u, "algorithm", a, n)] = p.Allow(u, a, n) == nil
			}
		}
		for v := range uint32(75) {
			out[fmt.Sprint(u, "curve", v)] = p.AllowCurve(u, kmip.RecommendedCurve(v)) == nil
			out[fmt.Sprint(u, "hash", v)] = p.AllowHash(u, kmip.HashingAlgorithm(v)) == nil
			out[fmt.Sprint(u, "mode", v)] = p.AllowMode(u, kmip.BlockCipherMode(v)) == nil
			out[fmt.Sprint(u, "padding", v)] = p.AllowPadding(u, kmip.PaddingMethod(v)) == nil
			out[fmt.Sprint(u, "signature", v)] = p.AllowSignature(u, kmip.DigitalSignatureAlgorithm(v)) == nil
			out[fmt.Sprint(u, "object", v)] = p.AllowObject(u, kmip.ObjectType(v)) == nil
			out[fmt.Sprint("derivation", v)] = p.AllowDerivation(kmip.DerivationMethod(v)) == nil
			out[fmt.Sprint("format", v)] = p.AllowFormat(kmip.KeyFormatType(v)) == nil
			for _, bits := range []int{224, 256, 384, 521} {
				out[fmt.Sprint("pair", bits, v)] = p.AllowPair(u, bits, kmip.HashingAlgorithm(v)) == nil
			}
		}
	}
	return out
}

// A listener or group is stricter than its server and never laxer: the joint policy allows exactly what both allow.
func TestAndAllowsWhatBothAllow(t *testing.T) {
	all := []*Policy{narrowed(t)}
	for _, name := range Names() {
		p, err := ByName(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	for _, s := range []struct {
		name   string
		choice Switch
	}{{"fips140", LegacyImport}, {"fips140", AllowECB}, {"cnsa2", CNSA2Transition}, {"suiteb128", AllowOtherObject}} {
		p, err := New(s.name, Options{Switches: []Switch{s.choice}})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	answers := make([]map[string]bool, len(all))
	for i, p := range all {
		answers[i] = questions(p)
	}
	for i, p := range all {
		for j, q := range all {
			both := p.And(q)
			name := both.Name()
			if both.Strict() != (p.Strict() || q.Strict()) {
				t.Errorf("%s: got strict %t", name, both.Strict())
			}
			// Strict rules for old keys and material reach further than the default policy's: it has nothing to add to them.
			defaultToo := (p.Name() == "default") != (q.Name() == "default")
			wrong := 0
			for what, got := range questions(both) {
				want := answers[i][what] && answers[j][what]
				if defaultToo {
					want = answers[i][what] && p.Strict() || answers[j][what] && q.Strict()
				}
				if got != want {
					if wrong++; wrong < 5 {
						t.Errorf("%s: %s: got allowed %t, want %t", name, what, got, want)
					}
				}
			}
		}
	}
}

func narrowed(t *testing.T) *Policy {
	t.Helper()
	p, err := ByName("fips140")
	if err != nil {
		t.Fatal(err)
	}
	p, err = p.Narrow(Narrowing{Algorithms: map[string][]int{"AES": {256}, "EC": nil, "RSA": {1024, 3072}}, Hashes: &[]string{"SHA-384", "MD5"},
		Modes: &[]string{}, Formats: &[]string{"Raw"}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Numbers of a joint policy are the stricter ones, in either order.
func TestAndLimits(t *testing.T) {
	list := map[string]*Policy{}
	for _, name := range Names() {
		list[name], _ = ByName(name)
	}
	iv, _ := New("fips140", Options{Switches: []Switch{AllowClientIV}})
	for a, p := range list {
		for b, q := range list {
			if got, want := p.And(q).Limits(), q.And(p).Limits(); got != want {
				t.Errorf("%s and %s: got %+v one way and %+v the other", a, b, got, want)
			}
		}
		if got, want := p.And(iv).Limits().ClientIV, !p.Strict(); got != want {
			t.Errorf("%s and fips140 with client-iv: got ClientIV %t, want %t", a, got, want)
		}
	}
	l := list["fips140"].And(list["suiteb128"]).Limits()
	want := Limits{Hash: kmip.HashingAlgorithmSHA384, ServerIV: true, GCMUses: 32, SameMGF: true, ShortSalt: true, HMACBits: 128, DeriveBits: 128,
		OutputBits: 128, Salt: 16, Iterations: 10000, Password: 14, NoPlainWrapping: true, Strength: StrengthRefused, Exponents: true, X509Only: true, Columns: true}
	if l != want {
		t.Errorf("got %+v, want %+v", l, want)
	}
	if p := list["fips140"]; p.And(nil) != p || p.And(p) != p {
		t.Error("joined with nothing or with itself, a policy is not itself")
	}
	if got := list["fips140"].And(list["suiteb192"]).Name(); got != "fips140+suiteb192" {
		t.Errorf("got name %q", got)
	}
	if got := list["default"].And(list["suiteb192"]).Name(); got != "suiteb192" {
		t.Errorf("got name %q", got)
	}
}

// An operator can take away and never add.
func TestNarrow(t *testing.T) {
	p, n := questions(narrowed(t)), map[string]bool(nil)
	base, _ := ByName("fips140")
	n = questions(base)
	for what, got := range p {
		if got && !n[what] {
			t.Errorf("%s was added", what)
		}
	}
	q := narrowed(t)
	for _, c := range []struct {
		what string
		err  error
		want bool
	}{
		{"AES 256", q.Allow(Generate, kmip.CryptographicAlgorithmAES, 256), true},
		{"AES 128", q.Allow(Generate, kmip.CryptographicAlgorithmAES, 128), false},
		{"EC 521", q.Allow(Sign, kmip.CryptographicAlgorithmEC, 521), true},
		{"RSA 1024", q.Allow(Generate, kmip.CryptographicAlgorithmRSA, 1024), false},
		{"RSA 1024, to verify", q.Allow(Verify, kmip.CryptographicAlgorithmRSA, 1024), true},
		{"RSA 2048", q.Allow(Sign, kmip.CryptographicAlgorithmRSA, 2048), false},
		{"HMAC-SHA256", q.Allow(MAC, kmip.CryptographicAlgorithmHMACSHA256, 256), false},
		{"SHA-384", q.AllowHash(Sign, kmip.HashingAlgorithmSHA384), true},
		{"SHA-256", q.AllowHash(Sign, kmip.HashingAlgorithmSHA256), false},
		{"MD5", q.AllowHash(Digest, kmip.HashingAlgorithmMD5), false},
		{"GCM of none", q.AllowMode(Encrypt, kmip.BlockCipherModeGCM), false},
		{"Raw", q.AllowFormat(kmip.KeyFormatTypeRaw), true},
		{"PKCS#8", q.AllowFormat(kmip.KeyFormatTypePKCS8), false},
		{"P-256, of which nothing is said", q.AllowCurve(Sign, kmip.RecommendedCurveP256), true},
		{"OAEP, of which nothing is said", q.AllowPadding(Encrypt, kmip.PaddingMethodOAEP), true},
	} {
		if (c.err == nil) != c.want {
			t.Errorf("%s: got %v, want allowed %t", c.what, c.err, c.want)
		}
	}
	if q.Name() != "fips140" {
		t.Errorf("got name %q, want fips140", q.Name())
	}
	bad := Narrowing{Algorithms: map[string][]int{"AES-256": nil}, Curves: &[]string{"P-256", "P256"}, Hashes: &[]string{"00000047"}, Modes: &[]string{""},
		Paddings: &[]string{"PSS"}, Signatures: &[]string{"x"}, Derivations: &[]string{"y"}, Formats: &[]string{"z"}, Objects: &[]string{"Key"}}
	_, err := base.Narrow(bad)
	if err == nil {
		t.Fatal("names that KMIP does not have were taken")
	}
	for _, name := range []string{"AES-256", "P256", "00000047", "x", "y", "z", "Key"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("got %q, want %s named", err, name)
		}
	}
}

// What a policy makes of keys, and until when.
func TestStateOf(t *testing.T) {
	end := func(year int) time.Time { return time.Date(year+1, 1, 1, 0, 0, 0, 0, time.UTC) }
	now := instants[0]
	for _, c := range []struct {
		policy string
		a      kmip.CryptographicAlgorithm
		bits   int
		curve  kmip.RecommendedCurve
		at     time.Time
		state  State
		until  time.Time
	}{
		{"default", kmip.CryptographicAlgorithmDES, 56, 0, now, Approved, time.Time{}},
		{"default", kmip.CryptographicAlgorithmAES, 128, 0, now, Approved, time.Time{}},
		{"fips140", kmip.CryptographicAlgorithmAES, 128, 0, now, Approved, time.Time{}},
		{"fips140", kmip.CryptographicAlgorithmAES, 64, 0, now, Disallowed, time.Time{}},
		{"fips140", kmip.CryptographicAlgorithmDES, 56, 0, now, Disallowed, time.Time{}},
		{"fips140", kmip.CryptographicAlgorithmDES3, 168, 0, now, Legacy, time.Time{}},
		{"fips140", kmip.CryptographicAlgorithmRSA, 1024, 0, now, Legacy, time.Time{}},
		{"fips140", kmip.CryptographicAlgorithmRSA, 2048, 0, now, Approved, end(2030)},
		{"fips140", kmip.CryptographicAlgorithmRSA, 2048, 0, end(2030), Legacy, time.Time{}},
		{"fips140", kmip.CryptographicAlgorithmRSA, 3072, 0, end(2030), Approved, time.Time{}},
		{"fips140", kmip.CryptographicAlgorithmEC, 256, kmip.RecommendedCurveP256, now, Approved, time.Time{}},
		{"fips140", kmip.CryptographicAlgorithmEC, 256, kmip.RecommendedCurveSECP256K1, now, Disallowed, time.Time{}},
		{"fips140", kmip.CryptographicAlgorithmEC, 224, kmip.RecommendedCurveP224, now, Approved, end(2030)},
		{"fips140", kmip.CryptographicAlgorithmEC, 224, kmip.RecommendedCurveP224, end(2030), Legacy, time.Time{}},
		{"fips140", kmip.CryptographicAlgorithmECDSA, 192, kmip.RecommendedCurveP192, now, Legacy, time.Time{}},
		{"fips140", kmip.CryptographicAlgorithmDH, 2048, 0, now, Approved, end(2030)},
		{"fips140", kmip.CryptographicAlgorithmDH, 2048, 0, end(2030), Disallowed, time.Time{}},
		{"fips140", kmip.CryptographicAlgorithmHMACSHA1, 160, 0, now, Approved, end(2030)},
		{"fips140", kmip.CryptographicAlgorithmHMACSHA1, 160, 0, end(2030), Legacy, time.Time{}},
		{"suiteb128", kmip.CryptographicAlgorithmAES, 128, 0, now, Approved, time.Time{}},
		{"suiteb192", kmip.CryptographicAlgorithmAES, 128, 0, now, Disallowed, time.Time{}},
		{"suiteb192", kmip.CryptographicAlgorithmEC, 384, kmip.RecommendedCurveP384, now, Approved, time.Time{}},
		{"suiteb192", kmip.CryptographicAlgorithmRSA, 4096, 0, now, Disallowed, time.Time{}},
		{"cnsa1", kmip.CryptographicAlgorithmRSA, 3072, 0, now, Approved, time.Time{}},
		{"cnsa2", kmip.CryptographicAlgorithmRSA, 3072, 0, now, Disallowed, time.Time{}},
		{"cnsa2", kmip.CryptographicAlgorithmAES, 256, 0, now, Approved, time.Time{}},
	} {
		p, err := ByName(c.policy)
		if err != nil {
			t.Fatal(err)
		}
		if state, until := p.StateOf(c.a, c.bits, c.curve, c.at); state != c.state || !until.Equal(c.until) {
			t.Errorf("%s: %s %d %s at %s: got %s until %v, want %s until %v", c.policy, c.a, c.bits, c.curve, c.at.Format(time.DateOnly), state, until, c.state, c.until)
		}
	}
	f, _ := ByName("fips140")
	s, _ := ByName("suiteb192")
	x, _ := New("cnsa2", Options{Switches: []Switch{CNSA2Transition}})
	if state, _ := f.And(s).StateOf(kmip.CryptographicAlgorithmDES3, 168, 0, now); state != Disallowed {
		t.Errorf("3DES by both: got %s, want disallowed", state)
	}
	if state, until := f.And(x).StateOf(kmip.CryptographicAlgorithmRSA, 3072, 0, now); state != Approved || !until.Equal(end(2031)) {
		t.Errorf("RSA 3072 by fips140 and the transition: got %s until %v", state, until)
	}
}

// Uses by leave for old keys are told apart from those by right.
func TestLegacyUse(t *testing.T) {
	at := instants[0]
	p, err := New("fips140", Options{Clock: func() time.Time { return at }})
	if err != nil {
		t.Fatal(err)
	}
	want := func(use Use, a kmip.CryptographicAlgorithm, bits int, want bool) {
		t.Helper()
		if got := p.LegacyUse(use, a, bits); got != want {
			t.Errorf("%s %s %d at %s: got %t, want %t", use, a, bits, at.Format(time.DateOnly), got, want)
		}
	}
	want(Decrypt, kmip.CryptographicAlgorithmDES3, 168, true)
	want(Verify, kmip.CryptographicAlgorithmRSA, 1024, true)
	want(Verify, kmip.CryptographicAlgorithmRSA, 2048, false)
	want(Decrypt, kmip.CryptographicAlgorithmAES, 128, false)
	want(MACVerify, kmip.CryptographicAlgorithmHMACSHA256, 80, true)
	want(MACVerify, kmip.CryptographicAlgorithmHMACSHA256, 256, false)
	at = instants[2]
	want(Verify, kmip.CryptographicAlgorithmRSA, 2048, true)
	want(Verify, kmip.CryptographicAlgorithmRSA, 3072, false)
	if Default().LegacyUse(Decrypt, kmip.CryptographicAlgorithmDES3, 168) {
		t.Error("the default policy knows no legacy uses")
	}
}

// The rules as an auditor reads them: all of them, dated and with their sources.
func TestRules(t *testing.T) {
	for _, name := range Names() {
		p, err := ByName(name)
		if err != nil {
			t.Fatal(err)
		}
		rows := 0
		for _, tb := range p.tables {
			rows += len(tb.keys) + len(tb.curves) + len(tb.hashes) + len(tb.modes) + len(tb.paddings) + len(tb.signatures) + len(tb.derivations) +
				len(tb.formats) + len(tb.objects) + len(tb.pairs)
		}
		none := 0
		for _, r := range p.Rules() {
			switch {
			case r.Value == "none", r.Value == "any other":
				none++
			case r.Policy != name || r.Kind == "" || r.Value == "":
				t.Errorf("%s: got %+v", name, r)
			case name != "default" && r.Source == "" && r.Kind != "ECDSA":
				t.Errorf("%s: %+v has no source", name, r)
			}
		}
		if got := len(p.Rules()) - none; got != rows {
			t.Errorf("%s: got %d rules, want %d", name, got, rows)
		}
	}
	p, _ := ByName("fips140")
	want := Rule{Policy: "fips140", Kind: "Cryptographic Algorithm", Value: "RSA", Min: 2048, Max: 3071, Step: 2, Source: sp131, Until: "2031-01-01",
		Uses: "generate import wrap unwrap encrypt decrypt sign verify", Legacy: "import unwrap decrypt verify"}
	if !slices.Contains(p.Rules(), want) {
		t.Errorf("the rule on RSA 2048 is not %+v", want)
	}
	x, _ := ByName("cnsa2")
	if !slices.Contains(x.Rules(), Rule{Policy: "cnsa2", Kind: "Digital Signature Algorithm", Value: "none"}) {
		t.Error("cnsa2 does not say that no signature is left")
	}
}

// The fingerprint is the same for the same policy and another one after any change.
func TestFingerprint(t *testing.T) {
	seen := map[string]string{}
	note := func(what string, p *Policy) {
		t.Helper()
		if other, ok := seen[p.Fingerprint()]; ok {
			t.Errorf("%s has the fingerprint of %s", what, other)
		}
		seen[p.Fingerprint()] = what
	}
	for _, name := range Names() {
		p, _ := ByName(name)
		again, _ := New(name, Options{Clock: func() time.Time { return instants[4] }})
		if p.Fingerprint() != again.Fingerprint() || len(p.Fingerprint()) != 64 {
			t.Errorf("%s: got fingerprints %s and %s", name, p.Fingerprint(), again.Fingerprint())
		}
		note(name, p)
	}
	note("fips140, narrowed", narrowed(t))
	f, _ := ByName("fips140")
	s, _ := ByName("suiteb128")
	note("both", f.And(s))
	// Each list, each term and each limit counts.
	for i, change := range []func(*table){
		func(t *table) { t.keys = t.keys[1:] },
		func(t *table) { t.keys[0].min++ },
		func(t *table) { t.keys[0].max++ },
		func(t *table) { t.keys[0].step = 1 },
		func(t *table) { t.keys[0].uses &^= of(Sign, Encrypt) },
		func(t *table) { t.keys[0].legacy |= of(Verify) },
		func(t *table) { t.keys[0].until = end2031 },
		func(t *table) { t.curves = t.curves[1:] },
		func(t *table) { t.hashes = t.hashes[1:] },
		func(t *table) { t.modes = nil },
		func(t *table) { t.modes = []row[kmip.BlockCipherMode]{} },
		func(t *table) { t.paddings[0].value = kmip.PaddingMethodZeros },
		func(t *table) { t.signatures = t.signatures[1:] },
		func(t *table) { t.derivations = t.derivations[1:] },
		func(t *table) { t.formats = []row[kmip.KeyFormatType]{} },
		func(t *table) { t.objects = []row[kmip.ObjectType]{} },
		func(t *table) { t.pairs = []pair{{256, kmip.HashingAlgorithmSHA256}} },
		func(t *table) { t.pairs = []pair{} },
		func(t *table) { t.open = true },
	} {
		tb := fips140()
		change(tb)
		note(fmt.Sprintf("change %d", i), policyOf("fips140", tb))
	}
	limits := reflect.TypeFor[Limits]()
	for i := range limits.NumField() {
		tb := fips140()
		switch v := reflect.ValueOf(&tb.limits).Elem().Field(i); v.Kind() {
		case reflect.Bool:
			v.SetBool(!v.Bool())
		case reflect.Int:
			v.SetInt(v.Int() + 1)
		default:
			v.SetUint(v.Uint() + 1)
		}
		note("limit "+limits.Field(i).Name, policyOf("fips140", tb))
	}
}
