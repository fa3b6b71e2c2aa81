package harness

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

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

// Asked runs a command that prints "ready" and then a line for each line that it gets. It ends with the test.
func Asked(t testing.TB, path string, args ...string) (ask func(line string) (string, error)) {
	t.Helper()
	cmd := exec.Command(path, args...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		watchdog := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
		defer watchdog.Stop()
		cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	answer := func() (string, error) {
		if !lines.Scan() {
			return "", fmt.Errorf("%s ended: %w", path, cmp.Or(lines.Err(), io.ErrUnexpectedEOF))
		}
		return lines.Text(), nil
	}
	if line, err := answer(); err != nil || line != "ready" {
		t.Fatalf("%s said %q: %v", path, line, err)
	}
	return func(line string) (string, error) {
		if _, err := fmt.Fprintln(in, line); err != nil {
			return "", err
		}
		return answer()
	}
}
