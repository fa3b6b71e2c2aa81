package harness

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kmipd/softhsm-tests/internal/registry"
)

// BuildTool builds a command of this module into a temporary directory that goes away with the test.
func BuildTool(t testing.TB, pkg string) string {
	t.Helper()
	root, err := registry.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), filepath.Base(pkg))
	cmd := exec.Command("go", "build", "-o", path, pkg)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, out)
	}
	return path
}

// Output runs a command to its end and returns its standard output.
func Output(t testing.TB, path string, args ...string) []byte {
	t.Helper()
	var out, errs strings.Builder
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(fmt.Errorf("%s %s: %w\n%s", path, strings.Join(args, " "), err, errs.String()))
	}
	return []byte(out.String())
}
