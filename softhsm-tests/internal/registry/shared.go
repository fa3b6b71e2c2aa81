package registry

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Shared is the directory with the OASIS texts, tables and cases, which lies beside the clone. Where it is missing the
// test is skipped on a workstation and fails in CI, so that nobody mistakes a bare clone for a passed run.
func Shared(t testing.TB) string {
	t.Helper()
	root, err := ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "..", "shared")
	if _, err := os.Stat(filepath.Join(dir, "kmip", "registry")); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("CI needs the KMIP texts beside the clone: %v", err)
		}
		t.Skipf("no KMIP texts beside the clone (%s): skipped", dir)
	}
	return dir
}

// ModuleRoot walks up from the working directory to the directory of go.mod.
func ModuleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("no go.mod above the working directory")
		}
		dir = up
	}
}
