package harness

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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

// Tool runs a command that prints "ready HOST:PORT", and returns the address and a function that ends it.
func Tool(t testing.TB, path string, args ...string) (addr string, stop func()) {
	t.Helper()
	cmd := exec.Command(path, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := start(cmd); err != nil {
		t.Fatal(err)
	}
	stop = func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
	watchdog := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
	defer watchdog.Stop()
	line, err := bufio.NewReader(out).ReadString('\n')
	if addr = address(strings.TrimSpace(line)); err != nil || addr == "" {
		stop()
		t.Fatalf("%s said %q: %v", path, line, err)
	}
	return addr, stop
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
