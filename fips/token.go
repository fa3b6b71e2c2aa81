package fips

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// This file is about the token's certificate. A token does not know its own; the operator supplies it, and this code says
// whether the token at hand is one that it covers.

// TokenCertificate is a validation certificate of a token and what it covers. Numbers and versions are those of the
// certificate; hardware and firmware versions are compared with what the token reports.
type TokenCertificate struct {
	Manufacturer string    `json:"manufacturer" toml:"manufacturer"` // as CK_TOKEN_INFO has it
	Model        string    `json:"model" toml:"model"`               // as CK_TOKEN_INFO has it
	Firmware     []string  `json:"firmware" toml:"firmware"`         // versions such as "7.8"
	Hardware     []string  `json:"hardware" toml:"hardware"`         // versions; none for any
	Number       string    `json:"certificate" toml:"certificate"`   // CMVP
	Standard     string    `json:"standard" toml:"standard"`         // 140-2 or 140-3
	Level        int       `json:"level" toml:"level"`
	Status       string    `json:"status" toml:"status"` // active, historical or revoked, as the CMVP lists it
	Sunset       time.Time `json:"sunset" toml:"sunset"`
}

// Check finds what is wrong with the data.
func (c *TokenCertificate) Check() error {
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(c.Manufacturer != "" && c.Model != "", "manufacturer and model are needed, as kmipd doctor shows them")
	bad(len(c.Firmware) > 0, "firmware is needed: the versions that the certificate covers")
	bad(c.Number != "", "certificate is needed: the number in the CMVP's list")
	bad(c.Standard == "140-2" || c.Standard == "140-3", "standard: %q is neither 140-2 nor 140-3", c.Standard)
	bad(c.Level >= 1 && c.Level <= 4, "level must be from 1 to 4")
	bad(slices.Contains([]string{"active", "historical", "revoked"}, c.Status), "status: %q is none of active, historical, revoked", c.Status)
	bad(!c.Sunset.IsZero(), "sunset is needed, a date such as 2030-09-21")
	return errors.Join(errs...)
}

// historical140 is when the CMVP moved the last FIPS 140-2 certificates to its list of historical ones.
var historical140 = time.Date(2026, time.September, 22, 0, 0, 0, 0, time.UTC)

// StatusAt is the status at an instant: what has passed its sunset, and all of FIPS 140-2, is historical. Such a module may
// be used on in systems that have it; new ones must not choose it.
func (c *TokenCertificate) StatusAt(now time.Time) string {
	if c.Status == "active" && (!now.Before(c.Sunset) || c.Standard == "140-2" && !now.Before(historical140)) {
		return "historical"
	}
	return c.Status
}

// TokenFacts are what a live token says of itself.
type TokenFacts struct {
	Manufacturer string `json:"manufacturer"`
	Model        string `json:"model"`
	Hardware     string `json:"hardware_version"`
	Firmware     string `json:"firmware_version"`

	HardwareSlot    bool `json:"hardware_slot"` // CKF_HW_SLOT
	Initialized     bool `json:"initialized"`
	PINInitialized  bool `json:"user_pin_initialized"`
	LoginRequired   bool `json:"login_required"`
	HasRNG          bool `json:"rng"`
	WriteProtected  bool `json:"write_protected"`
	PINLocked       bool `json:"user_pin_locked"`
	PINFinalTry     bool `json:"user_pin_final_try"`
	PINToBeChanged  bool `json:"user_pin_to_be_changed"`
	SOPINLocked     bool `json:"so_pin_locked"`
	TokenErrorState bool `json:"error_state"` // CKF_ERROR_STATE
}

// TokenMatch is what the checks of a token came to.
type TokenMatch struct {
	Facts       TokenFacts        `json:"facts"`
	Certificate *TokenCertificate `json:"certificate,omitempty"` // that covers the token
	Status      string            `json:"status"`                // of the certificate now; none when there is none
	// Faults are reasons not to use the token in a strict policy, Unvalidated are those that allow_unvalidated_token sets
	// aside, Warnings are neither.
	Faults      []string `json:"faults,omitempty"`
	Unvalidated []string `json:"unvalidated,omitempty"`
	Warnings    []string `json:"warnings,omitempty"`
}

// MatchToken checks a live token and looks for a certificate that covers it.
func MatchToken(list []TokenCertificate, f TokenFacts, now time.Time) TokenMatch {
	m := TokenMatch{Facts: f, Status: "none"}
	m.flags()
	var near []string
	for i := range list {
		c := &list[i]
		if c.Manufacturer != f.Manufacturer || c.Model != f.Model {
			continue
		}
		if !slices.Contains(c.Firmware, f.Firmware) {
			near = append(near, fmt.Sprintf("certificate %s covers firmware %s, and the token has %s", c.Number, strings.Join(c.Firmware, ", "), f.Firmware))
			continue
		}
		if len(c.Hardware) > 0 && !slices.Contains(c.Hardware, f.Hardware) {
			near = append(near, fmt.Sprintf("certificate %s covers hardware %s, and the token has %s", c.Number, strings.Join(c.Hardware, ", "), f.Hardware))
			continue
		}
		if m.Certificate == nil || m.Status != "active" && c.StatusAt(now) == "active" {
			m.Certificate, m.Status = c, c.StatusAt(now)
		}
	}
	switch {
	case m.Certificate == nil && len(near) > 0:
		m.Unvalidated = append(m.Unvalidated, near...)
	case m.Certificate == nil:
		m.Unvalidated = append(m.Unvalidated, fmt.Sprintf("no certificate is known for %s %s", f.Manufacturer, f.Model))
	case m.Status == "revoked":
		m.Unvalidated = append(m.Unvalidated, "certificate "+m.Certificate.Number+" is revoked")
	case m.Status == "historical":
		m.Warnings = append(m.Warnings, fmt.Sprintf("certificate %s (FIPS %s) is historical: for systems that exist, and no new ones", m.Certificate.Number, m.Certificate.Standard))
	}
	return m
}

// flags looks at what is wrong with a token of any make.
func (m *TokenMatch) flags() {
	f := m.Facts
	add := func(list *[]string, bad bool, text string) {
		if bad {
			*list = append(*list, text)
		}
	}
	add(&m.Faults, !f.Initialized, "the token is not initialised")
	add(&m.Faults, !f.PINInitialized, "the token has no user PIN")
	add(&m.Faults, !f.LoginRequired, "the token does not want a login")
	add(&m.Faults, !f.HasRNG, "the token has no random number generator")
	add(&m.Faults, f.WriteProtected, "the token is write-protected")
	add(&m.Faults, f.PINLocked, "the user PIN is locked")
	add(&m.Faults, f.TokenErrorState, "the token is in its error state")
	add(&m.Unvalidated, !f.HardwareSlot, "the slot is not a hardware slot (CKF_HW_SLOT)")
	add(&m.Warnings, f.PINFinalTry, "the next wrong user PIN locks the token")
	add(&m.Warnings, f.PINToBeChanged, "the user PIN is to be changed")
	add(&m.Warnings, f.SOPINLocked, "the security officer's PIN is locked")
}

// Validated tells that a certificate covers the token and is active.
func (m *TokenMatch) Validated() bool { return m.Certificate != nil && m.Status == "active" }

// Check is nil when a policy may use the token. unvalidated sets aside that no certificate covers it, for development.
func (m *TokenMatch) Check(p *Policy, unvalidated bool) error {
	if !p.Strict() {
		return nil
	}
	list := slices.Clone(m.Faults)
	if !unvalidated {
		list = append(list, m.Unvalidated...)
	}
	if len(list) == 0 {
		return nil
	}
	remedy := ""
	if !unvalidated && len(m.Unvalidated) > 0 {
		remedy = ": name its certificate in token_certificates, or set allow_unvalidated_token for development"
	}
	return fmt.Errorf("policy %s does not use this token: %s%s", p.Name(), strings.Join(list, "; "), remedy)
}

// Evidence is what was found about the two modules at start, for reports.
type Evidence struct {
	Module Module     `json:"go_module"`
	Token  TokenMatch `json:"token"`
	// Allowed are the exceptions that the operator took: allow_unvalidated_token, allow_uncertified_module.
	Allowed []string `json:"allowed"`
}
