package cmd_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Documents cite tests as evidence: each of them exists.
func TestDocumentsCiteTests(t *testing.T) {
	have := map[string]bool{}
	defined := regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9]+)\(`)
	err := filepath.WalkDir("..", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range defined.FindAllSubmatch(b, -1) {
			have[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	documents, err := filepath.Glob("../docs/*.md")
	if err != nil || len(documents) == 0 {
		t.Fatalf("%d documents, %v", len(documents), err)
	}
	cited := regexp.MustCompile("`(?:[a-z/-]+\\.)?(Test[A-Za-z0-9]+)`")
	for _, file := range append(documents, "../README.md", "../SECURITY.md") {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range cited.FindAllSubmatch(b, -1) {
			if !have[string(m[1])] {
				t.Errorf("%s cites %s, which is no test", file, m[1])
			}
		}
	}
}
