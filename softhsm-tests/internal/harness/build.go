// Package harness builds kmipd, runs it against a SoftHSM2 token of its own, and talks to it. Every test that needs a
// live server uses it.
//
// Environment:
//
//	KMIPD_BINARY           use this kmipd and build none
//	KMIPD_TEST_DIR         where token and data directories are made (default: the system's temporary directory)
//	KMIPD_REQUIRE_SOFTHSM  1: a missing SoftHSM2 is a failure and not a skip; CI=true does the same
package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"kmipd/softhsm-tests/internal/registry"
)

var build struct {
	once sync.Once
	dir  string // what Cleanup removes
	path string
	err  error
}

// Binary is the path of kmipd, built once per test run. Without a SoftHSM2 module the test is skipped, or fails where
// the environment demands one.
func Binary(t testing.TB) string {
	t.Helper()
	requireSoftHSM(t)
	if p := os.Getenv("KMIPD_BINARY"); p != "" {
		return p
	}
	build.once.Do(func() { build.path, build.err = buildKmipd() })
	if build.err != nil {
		t.Fatal(build.err)
	}
	return build.path
}

func buildKmipd() (string, error) {
	root, err := registry.ModuleRoot()
	if err != nil {
		return "", err
	}
	if build.dir, err = os.MkdirTemp("", "kmipd-build-"); err != nil {
		return "", err
	}
	path := filepath.Join(build.dir, "kmipd")
	cmd := exec.Command("go", "build", "-o", path, "./cmd/kmipd")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/kmipd: %w\n%s", err, out)
	}
	return path, nil
}

// Cleanup kills what still runs and removes what Binary made. TestMain calls it last.
func Cleanup() {
	killAll()
	if build.dir != "" {
		os.RemoveAll(build.dir)
	}
}

// modules are the usual places of the SoftHSM2 library.
var modules = []string{
	"/usr/lib/softhsm/libsofthsm2.so",
	"/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
	"/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
	"/usr/lib64/pkcs11/libsofthsm2.so",
	"/usr/local/lib/softhsm/libsofthsm2.so",
	"/opt/homebrew/lib/softhsm/libsofthsm2.so",
}

// Module is the path of the SoftHSM2 library, or "" when there is none.
func Module() string {
	for _, p := range append([]string{os.Getenv("SOFTHSM2_MODULE")}, modules...) {
		if p == "" {
			continue
		}
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	return ""
}

func requireSoftHSM(t testing.TB) {
	t.Helper()
	if Module() != "" {
		return
	}
	if os.Getenv("CI") == "true" || os.Getenv("KMIPD_REQUIRE_SOFTHSM") == "1" {
		t.Fatal("SoftHSM2 is required here and not installed (set SOFTHSM2_MODULE if it lies elsewhere)")
	}
	t.Skip("SoftHSM2 is not installed: skipped")
}

// Dir makes an empty directory for a token and data, which goes away with the test.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(os.Getenv("KMIPD_TEST_DIR"), "kmipd-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
