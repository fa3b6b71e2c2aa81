package fips

import (
	"strings"
	"testing"
	"time"
)

func goodFacts() TokenFacts {
	return TokenFacts{Manufacturer: "Maker", Model: "M1", Hardware: "1.0", Firmware: "7.8", HardwareSlot: true, Initialized: true,
		PINInitialized: true, LoginRequired: true, HasRNG: true}
}

func goodCertificate() TokenCertificate {
	return TokenCertificate{Manufacturer: "Maker", Model: "M1", Firmware: []string{"7.7", "7.8"}, Hardware: []string{"1.0"}, Number: "9999",
		Standard: "140-3", Level: 3, Status: "active", Sunset: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
}

func TestMatchToken(t *testing.T) {
	now := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	strict, err := ByName("fips140")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		cert    func(*TokenCertificate)
		facts   func(*TokenFacts)
		at      time.Time
		status  string
		refused string // by fips140; "" when it is not
		allowed bool   // allow_unvalidated_token is enough
		warning string
	}{
		{"covered", nil, nil, now, "active", "", true, ""},
		{"any hardware", func(c *TokenCertificate) { c.Hardware = nil }, nil, now, "active", "", true, ""},
		{"other firmware", nil, func(f *TokenFacts) { f.Firmware = "7.9" }, now, "none", "covers firmware 7.7, 7.8, and the token has 7.9", true, ""},
		{"other hardware", nil, func(f *TokenFacts) { f.Hardware = "2.0" }, now, "none", "covers hardware 1.0, and the token has 2.0", true, ""},
		{"other model", nil, func(f *TokenFacts) { f.Model = "M2" }, now, "none", "no certificate is known for Maker M2", true, ""},
		{"FIPS 140-2", func(c *TokenCertificate) { c.Standard = "140-2" }, nil, now, "historical", "", true, "historical"},
		{"FIPS 140-2, before", func(c *TokenCertificate) { c.Standard = "140-2" }, nil, historical140.Add(-time.Hour), "active", "", true, ""},
		{"after the sunset", nil, nil, time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), "historical", "", true, "historical"},
		{"revoked", func(c *TokenCertificate) { c.Status = "revoked" }, nil, now, "revoked", "is revoked", true, ""},
		{"software slot", nil, func(f *TokenFacts) { f.HardwareSlot = false }, now, "active", "CKF_HW_SLOT", true, ""},
		{"no random numbers", nil, func(f *TokenFacts) { f.HasRNG = false }, now, "active", "no random number generator", false, ""},
		{"error state", nil, func(f *TokenFacts) { f.TokenErrorState = true }, now, "active", "in its error state", false, ""},
		{"no login", nil, func(f *TokenFacts) { f.LoginRequired = false }, now, "active", "does not want a login", false, ""},
		{"PIN to be changed", nil, func(f *TokenFacts) { f.PINToBeChanged = true }, now, "active", "", true, "to be changed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cert, facts := goodCertificate(), goodFacts()
			if c.cert != nil {
				c.cert(&cert)
			}
			if c.facts != nil {
				c.facts(&facts)
			}
			m := MatchToken([]TokenCertificate{cert}, facts, c.at)
			if m.Status != c.status {
				t.Errorf("status: got %s, want %s", m.Status, c.status)
			}
			err := m.Check(strict, false)
			if c.refused == "" && err != nil || c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)) {
				t.Errorf("fips140: got %v, want %q", err, c.refused)
			}
			if err := m.Check(strict, true); (err == nil) != c.allowed {
				t.Errorf("with allow_unvalidated_token: got %v, want allowed %t", err, c.allowed)
			}
			if err := m.Check(Default(), false); err != nil {
				t.Errorf("the default policy: %v", err)
			}
			if got := strings.Join(m.Warnings, "; "); c.warning == "" && got != "" || !strings.Contains(got, c.warning) {
				t.Errorf("warnings: got %q, want %q", got, c.warning)
			}
		})
	}
}

func TestTokenCertificateCheck(t *testing.T) {
	good := goodCertificate()
	if err := good.Check(); err != nil {
		t.Errorf("a good one: %v", err)
	}
	err := (&TokenCertificate{Standard: "140", Level: 5, Status: "new"}).Check()
	for _, want := range []string{"manufacturer", "firmware", "certificate", "140-2 nor 140-3", "level", "none of active", "sunset"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}
