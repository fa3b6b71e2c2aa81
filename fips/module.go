package fips

import (
	gofips "crypto/fips140"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// This file is about Go's Cryptographic Module, which does in this process what no token does: TLS, digests, certificates.

// ModuleCertificate is what is known of one version of the module.
type ModuleCertificate struct {
	Version   string    `json:"version"`     // as crypto/fips140.Version gives it
	Number    string    `json:"certificate"` // CMVP; "" when there is none
	Algorithm string    `json:"algorithms"`  // CAVP
	Standard  string    `json:"standard"`
	Level     int       `json:"level"`
	Status    string    `json:"status"` // active or in process
	Sunset    time.Time `json:"sunset,omitzero"`
}

// moduleCertificates has a row for each version that the Go toolchain can build with. Confirm it against the list of the CMVP
// before a claim: certificates are revoked, too.
var moduleCertificates = []ModuleCertificate{
	{Version: "v1.0.0", Number: "5247", Algorithm: "A6650", Standard: "FIPS 140-3", Level: 1, Status: "active",
		Sunset: time.Date(2031, time.April, 26, 0, 0, 0, 0, time.UTC)},
	{Version: "v1.26.0", Algorithm: "A8028", Standard: "FIPS 140-3", Level: 1, Status: "in process"},
}

// Module is the state of the module in this process.
type Module struct {
	Enabled  bool   `json:"enabled"`
	Enforced bool   `json:"enforced"` // GODEBUG=fips140=only
	Version  string `json:"version"`  // "latest" is that of the toolchain, which nobody has certified
	Build    string `json:"gofips140,omitempty"`
	Default  string `json:"default_godebug,omitempty"` // built in
	GODEBUG  string `json:"godebug,omitempty"`         // of the environment
	Platform string `json:"platform"`                  // a certificate names operating environments: compare it
	// Certificate is nil for a version that has none, not even in process.
	Certificate *ModuleCertificate `json:"certificate,omitempty"`
}

// ModuleState asks the module, the build and the environment.
func ModuleState() Module {
	m := Module{Enabled: gofips.Enabled(), Enforced: gofips.Enforced(), Version: gofips.Version(), GODEBUG: os.Getenv("GODEBUG"),
		Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if b, ok := debug.ReadBuildInfo(); ok {
		for _, s := range b.Settings {
			switch s.Key {
			case "GOFIPS140":
				m.Build = s.Value
			case "DefaultGODEBUG":
				m.Default = s.Value
			}
		}
	}
	for i := range moduleCertificates {
		if moduleCertificates[i].Version == m.Version {
			m.Certificate = &moduleCertificates[i]
		}
	}
	return m
}

// Certified tells whether the version has a certificate that is active at an instant.
func (m Module) Certified(now time.Time) bool {
	c := m.Certificate
	return c != nil && c.Status == "active" && (c.Sunset.IsZero() || now.Before(c.Sunset))
}

// SwitchedOff tells that the environment names the setting of the module, so that nobody but its owner should change it.
func (m Module) SwitchedOff() bool { return !m.Enabled && namesModule(m.GODEBUG) }

func namesModule(godebug string) bool {
	for pair := range strings.SplitSeq(godebug, ",") {
		if strings.HasPrefix(pair, "fips140=") {
			return true
		}
	}
	return false
}

// Check is nil when the module is as a strict policy wants it: on, and of a version with an active certificate, or of any
// version where uncertified allows that. The error has the remedy.
func (m Module) Check(now time.Time, uncertified bool) error {
	switch {
	case m.SwitchedOff():
		return fmt.Errorf("the environment switches Go's FIPS 140-3 module off (GODEBUG=%s): remove fips140 from GODEBUG, or set it to fips140=on", m.GODEBUG)
	case !m.Enabled:
		return fmt.Errorf("Go's FIPS 140-3 module is not on: start with GODEBUG=fips140=on") //nolint:staticcheck // ST1005: Go is a name
	case !uncertified && !m.Certified(now):
		status := "no certificate"
		if m.Certificate != nil {
			status = "a certificate that is " + m.Certificate.Status
			if m.Certificate.Status == "active" {
				status = "a certificate whose sunset has passed"
			}
		}
		return fmt.Errorf("version %s of Go's FIPS 140-3 module has %s: build with GOFIPS140=v1.0.0 (make build does), or set allow_uncertified_module", m.Version, status)
	}
	return nil
}

// CheckModule checks the module of this process for a policy. The default policy takes it as it is.
func CheckModule(p *Policy, now time.Time, uncertified bool) error {
	if !p.Strict() {
		return nil
	}
	return ModuleState().Check(now, uncertified)
}

// ModuleOn is an environment like the given one, with the module on: for a process that starts itself again. Setting it in a
// running process has no effect.
func ModuleOn(environ []string) []string {
	var out []string
	value := "fips140=on"
	for _, kv := range environ {
		if old, ok := strings.CutPrefix(kv, "GODEBUG="); ok {
			if old != "" {
				value = old + "," + value
			}
			continue
		}
		out = append(out, kv)
	}
	return append(out, "GODEBUG="+value)
}
