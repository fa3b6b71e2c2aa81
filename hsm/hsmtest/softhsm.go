package hsmtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"kmipd/hsm"
)

// The PINs of throw-away tokens.
const (
	SoftHSMSOPIN hsm.PIN = "12345678"
	SoftHSMPIN   hsm.PIN = "87654321"
)

// InitSoftHSM makes a SoftHSM2 token in dir, which must exist, and points SOFTHSM2_CONF of this process at it. SoftHSM
// reads that at each C_Initialize, so a process has one configuration at a time: open one token only.
func InitSoftHSM(dir, label string, soPIN, pin hsm.PIN) (module string, err error) {
	module = hsm.FindModule()
	if module == "" {
		return "", fmt.Errorf("hsmtest: SoftHSM2 is not installed")
	}
	tokens := filepath.Join(dir, "tokens")
	if err := os.MkdirAll(tokens, 0o700); err != nil {
		return "", err
	}
	conf := filepath.Join(dir, "softhsm2.conf")
	text := fmt.Sprintf("directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n", tokens)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return "", err
	}
	if err := os.Setenv("SOFTHSM2_CONF", conf); err != nil {
		return "", err
	}
	_, err = hsm.InitToken(module, label, soPIN, pin)
	return module, err
}

// RequireSoftHSM skips the test when SoftHSM2 is not installed, or fails it when KMIPD_REQUIRE_SOFTHSM=1.
func RequireSoftHSM(t testing.TB) {
	t.Helper()
	if hsm.FindModule() != "" {
		return
	}
	if os.Getenv("KMIPD_REQUIRE_SOFTHSM") == "1" {
		t.Fatal("SoftHSM2 is not installed, and KMIPD_REQUIRE_SOFTHSM=1")
	}
	t.Skip("SoftHSM2 is not installed")
}

// SoftHSMConfig makes a fresh token, in memory where the system has /dev/shm, and returns how to open it. The directory
// goes when the test ends.
func SoftHSMConfig(t testing.TB) hsm.Config {
	t.Helper()
	RequireSoftHSM(t)
	dir := t.TempDir()
	if shm, err := os.MkdirTemp("/dev/shm", "kmipd-test-"); err == nil {
		dir = shm
		t.Cleanup(func() {
			if err := os.RemoveAll(shm); err != nil {
				t.Error(err)
			}
		})
	}
	module, err := InitSoftHSM(dir, "kmipd-test", SoftHSMSOPIN, SoftHSMPIN)
	if err != nil {
		t.Fatal(err)
	}
	return hsm.Config{Module: module, TokenLabel: "kmipd-test", PIN: SoftHSMPIN}
}

// NewSoftHSM opens a fresh SoftHSM2 token and closes it when the test ends. Tests of one process share the module, so
// they must not have two of these at a time.
func NewSoftHSM(t testing.TB) hsm.Token {
	t.Helper()
	tok, err := hsm.Open(context.Background(), SoftHSMConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tok.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return tok
}
