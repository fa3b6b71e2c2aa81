package main

import (
	"bytes"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

// Files with secrets that others can read are a mistake in strict policies and a warning in the default one.
func TestExposedFiles(t *testing.T) {
	dir := t.TempDir()
	pin, key, crt, caKey := filepath.Join(dir, "pin"), filepath.Join(dir, "server.key"), filepath.Join(dir, "server.crt"), filepath.Join(dir, "ca.key")
	ca, err := makeAuthority(dir, elliptic.P256())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(ca.issue(crt, key, "kmipd", x509.ExtKeyUsageServerAuth, nil), os.WriteFile(pin, []byte("1234"), 0o600)); err != nil {
		t.Fatal(err)
	}
	problems := func(policy string) (refused, warned string) {
		c := &config{Policy: policy, AllowSoftwareTLSKey: true, TokenPINFile: pin, TLSKey: key, TLSCertificate: crt}
		var log bytes.Buffer
		c.warnExposed(zerolog.New(&log))
		_, err := c.identities()
		return errors.Join(append(c.checkToken(), err)...).Error(), log.String()
	}
	chmod := func(path string, mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []struct{ setting, path string }{{"token_pin_file", pin}, {"tls_key", key}} {
		for mode, open := range map[os.FileMode]bool{0o600: false, 0o400: false, 0o640: true, 0o602: true, 0o604: true} {
			chmod(f.path, mode)
			want := f.setting + ": others can read or write"
			refused, warned := problems("fips140")
			if strings.Contains(refused, want) != open || strings.Contains(warned, want) != open {
				t.Errorf("%s of mode %o: start says %s; the log %s", f.setting, mode, refused, warned)
			}
			if refused, _ := problems("default"); strings.Contains(refused, want) {
				t.Errorf("%s of mode %o under the default policy: %s", f.setting, mode, refused)
			}
		}
		chmod(f.path, 0o600)
	}
	chmod(pin, 0o440) // as systemd shows it
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if err := exposed("token_pin_file", pin); err != nil {
		t.Errorf("a credential of systemd: %v", err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", filepath.Dir(dir))
	if err := exposed("token_pin_file", pin); err == nil {
		t.Error("a file that is no credential passes for one")
	}
	if _, err := loadAuthority(filepath.Join(dir, "ca.crt"), caKey); err != nil {
		t.Errorf("the authority as it was made: %v", err)
	}
	chmod(caKey, 0o644)
	if _, err := loadAuthority(filepath.Join(dir, "ca.crt"), caKey); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("an authority's key that others can read: %v", err)
	}
}

// An empty variable leaves a setting of the file as it is.
func TestEmptyVariables(t *testing.T) {
	for _, name := range []string{"KMIPD_POLICY", "KMIPD_MAX_BATCH", "KMIPD_TLS_CRL"} {
		t.Setenv(name, "")
	}
	c, err := loadConfig(t, t.TempDir(), "policy = \"fips140\"\nmax_batch = 7\ntls_crl = [\"/x\"]\n")
	if err != nil || c.Policy != "fips140" || c.MaxBatch != 7 || len(c.TLSCRL) != 1 {
		t.Errorf("got %q, %d, %q, %v", c.Policy, c.MaxBatch, c.TLSCRL, err)
	}
	t.Setenv("KMIPD_POLICY", "cnsa1")
	if c, err := loadConfig(t, t.TempDir(), `policy = "fips140"`); err != nil || c.Policy != "cnsa1" {
		t.Errorf("got %q, %v", c.Policy, err)
	}
}
