package cmd_test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

var flagLine = regexp.MustCompile(`(?m)^ +--([a-z-]+)`)

// TestSettings holds the table of settings in docs/operators.md against the flags of kmipd serve.
func TestSettings(t *testing.T) {
	help, err := exec.CommandContext(t.Context(), "go", "run", module+"cmd/kmipd", "serve", "--help").CombinedOutput()
	if err != nil {
		t.Fatalf("kmipd serve --help: %v\n%s", err, help)
	}
	doc, err := os.ReadFile("../docs/operators.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, m := range flagLine.FindAllStringSubmatch(string(help), -1) {
		name := strings.ReplaceAll(m[1], "-", "_")
		if m[1] == "config" || m[1] == "dir" {
			continue
		}
		known[name] = true
		row := fmt.Sprintf("| `%s` | `KMIPD_%s` | `--%s` |", name, strings.ToUpper(name), m[1])
		if n := strings.Count(string(doc), row); n != 1 {
			t.Errorf("docs/operators.md has the row %q %d times, want once", row, n)
		}
	}
	if len(known) < 20 {
		t.Fatalf("kmipd serve --help lists %d settings", len(known))
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| `KMIPD_").FindAllStringSubmatch(string(doc), -1) {
		if !known[m[1]] {
			t.Errorf("docs/operators.md has a setting %q, and kmipd has none", m[1])
		}
	}
}
