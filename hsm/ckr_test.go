package hsm_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"kmipd/hsm"
)

// TestVerdicts walks every CKR_ constant of miekg/pkcs11 as its source has them, and wants a verdict for each.
func TestVerdicts(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/miekg/pkcs11").Output()
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "zconst.go"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^\s*(CKR_\w+)\s*=\s*(0x[0-9A-Fa-f]+)`).FindAllStringSubmatch(string(source), -1)
	if len(found) < 90 {
		t.Fatalf("only %d constants found", len(found))
	}
	for _, f := range found {
		code, err := strconv.ParseUint(f[2], 0, 64)
		if err != nil {
			t.Fatal(err)
		}
		kind, ok := hsm.Judge(uint(code))
		if !ok || (kind == 0) != (code == 0) {
			t.Errorf("%s (%s): kind %d, in the table: %v", f[1], f[2], kind, ok)
		}
	}
	if hsm.NumberOfVerdicts() != len(found) {
		t.Errorf("%d verdicts for %d constants", hsm.NumberOfVerdicts(), len(found))
	}
}

func TestErrorText(t *testing.T) {
	err := error(&hsm.Error{Kind: hsm.KindInternal, Call: "C_WrapKey", Code: 5})
	if got := err.Error(); got != "hsm: C_WrapKey: CKR 0x00000005" {
		t.Errorf("got %q", got)
	}
	if !errors.Is(err, hsm.ErrInternal) || errors.Is(err, hsm.ErrNotFound) {
		t.Error("errors.Is does not compare kinds")
	}
}
