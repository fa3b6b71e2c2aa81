package fips

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestModuleCheck(t *testing.T) {
	now := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	certified, pending := &moduleCertificates[0], &moduleCertificates[1]
	for _, c := range []struct {
		name        string
		m           Module
		at          time.Time
		uncertified bool
		want        string // of the error; "" for none
	}{
		{"certified and on", Module{Enabled: true, Version: "v1.0.0", Certificate: certified}, now, false, ""},
		{"only", Module{Enabled: true, Enforced: true, Version: "v1.0.0", Certificate: certified}, now, false, ""},
		{"off by the environment", Module{Version: "v1.0.0", GODEBUG: "fips140=off", Certificate: certified}, now, false, "remove fips140 from GODEBUG"},
		{"off among others", Module{Version: "v1.0.0", GODEBUG: "x509sha256skid=0,fips140=off", Certificate: certified}, now, true, "switches"},
		{"off by build", Module{Version: "v1.0.0", GODEBUG: "http2debug=1", Certificate: certified}, now, false, "GODEBUG=fips140=on"},
		{"toolchain's own", Module{Enabled: true, Version: "latest"}, now, false, "GOFIPS140=v1.0.0"},
		{"toolchain's own, allowed", Module{Enabled: true, Version: "latest"}, now, true, ""},
		{"in process", Module{Enabled: true, Version: "v1.26.0", Certificate: pending}, now, false, "in process"},
		{"in process, allowed", Module{Enabled: true, Version: "v1.26.0", Certificate: pending}, now, true, ""},
		{"after the sunset", Module{Enabled: true, Version: "v1.0.0", Certificate: certified}, certified.Sunset, false, "sunset has passed"},
		{"off, though any version is allowed", Module{Version: "latest"}, now, true, "is not on"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.m.Check(c.at, c.uncertified)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// The default policy takes the module as it is.
func TestCheckModuleDefault(t *testing.T) {
	if err := CheckModule(Default(), time.Now(), false); err != nil {
		t.Error(err)
	}
	m := ModuleState()
	if m.Version == "" || m.Platform == "" {
		t.Errorf("state: %+v", m)
	}
	strict, err := ByName("fips140")
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckModule(strict, time.Now(), false); (err == nil) != (m.Enabled && m.Certified(time.Now())) {
		t.Errorf("fips140 with %+v: got %v", m, err)
	}
}

func TestModuleOn(t *testing.T) {
	got := ModuleOn([]string{"A=1", "GODEBUG=http2debug=1", "B=2"})
	if want := []string{"A=1", "B=2", "GODEBUG=http2debug=1,fips140=on"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := ModuleOn(nil); !slices.Equal(got, []string{"GODEBUG=fips140=on"}) {
		t.Errorf("empty environment: got %q", got)
	}
}
