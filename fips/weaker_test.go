package fips

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestLaxer pins which change of policy lets more happen.
func TestLaxer(t *testing.T) {
	now := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	with := func(name string, switches ...Switch) *Policy {
		p, err := New(name, Options{Switches: switches})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	narrow := func(p *Policy, n Narrowing) *Policy {
		p, err := p.Narrow(n)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	sha384 := []string{"SHA-384"}
	for _, c := range []struct {
		name     string
		old, new *Policy
		want     string // in the list; "" for nothing
	}{
		{"the same", Default(), Default(), ""},
		{"the same strict one", with("fips140"), with("fips140"), ""},
		{"a switch more", with("fips140"), with("fips140", AllowECB), "ECB to encrypt"},
		{"a switch less", with("fips140", AllowECB), with("fips140"), ""},
		{"client IVs", with("fips140"), with("fips140", AllowClientIV), "IV"},
		{"legacy import", with("fips140"), with("fips140", LegacyImport), "to import"},
		{"from default", Default(), with("suiteb192"), ""},
		{"from a narrowed default", narrow(Default(), Narrowing{Hashes: &sha384}), with("fips140"), "SHA-256"},
		{"back to default", with("fips140"), Default(), "to "},
		{"suiteb192 to suiteb128", with("suiteb192"), with("suiteb128"), "AES with 128 bits"},
		{"suiteb128 to suiteb192", with("suiteb128"), with("suiteb192"), ""},
		{"cnsa1 to suiteb192", with("cnsa1"), with("suiteb192"), ""},
		{"suiteb192 to cnsa1", with("suiteb192"), with("cnsa1"), "RSA"},
		{"cnsa2 to its transition", with("cnsa2"), with("cnsa2", CNSA2Transition), "to "},
		{"narrowed", with("fips140"), narrow(with("fips140"), Narrowing{Hashes: &sha384}), ""},
		{"not narrowed any more", narrow(with("fips140"), Narrowing{Hashes: &sha384}), with("fips140"), "SHA-256"},
		{"other objects", with("suiteb128"), with("suiteb128", AllowOtherObject), "Secret Data"},
		{"the transition to what it allows now for ever", with("cnsa2", CNSA2Transition), with("cnsa1"), "from 2032-01-01 on"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := strings.Join(c.new.Laxer(c.old, now, 1000), "; ")
			if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("got %.300q, want %q", got, c.want)
			}
		})
	}
	if got := Default().Laxer(with("fips140"), now, 3); len(got) != 3 {
		t.Errorf("got %d, want 3", len(got))
	}
}

// TestRestore wants the same policy back from its settings as text.
func TestRestore(t *testing.T) {
	hashes, none := []string{"SHA-384"}, []string{}
	p, err := New("fips140", Options{Switches: []Switch{LegacyImport}})
	if err != nil {
		t.Fatal(err)
	}
	p, err = p.Narrow(Narrowing{Algorithms: map[string][]int{"AES": {256}, "RSA": nil}, Hashes: &hashes, Derivations: &none})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(p.Settings())
	if err != nil {
		t.Fatal(err)
	}
	var s Settings
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	q, err := Restore(s)
	if err != nil {
		t.Fatal(err)
	}
	if q.Fingerprint() != p.Fingerprint() || !reflect.DeepEqual(q.Settings(), p.Settings()) {
		t.Errorf("got %s, want %s", q.Fingerprint(), p.Fingerprint())
	}
	if _, err := Restore(Settings{Name: "fips999"}); err == nil {
		t.Error("an unknown policy was restored")
	}
}
