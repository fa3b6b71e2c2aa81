package softhsmtests

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"kmipd/softhsm-tests/internal/harness"
)

// python has the KMIP client of the distribution (package python3-pykmip).
const python = "/usr/bin/python3"

// TestPyKMIP runs the Python client through everything it can do, in every version it speaks. The script prints a line
// for each step and stops at the first wrong result. Another script has Python's own library alone, and speaks XML and JSON.
func TestPyKMIP(t *testing.T) {
	if out, err := exec.Command(python, "-W", "ignore", "-c", "import kmip.pie.client").CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("CI needs the Python KMIP client: %v\n%s", err, out)
		}
		t.Skipf("no Python KMIP client: %v", err)
	}
	s := harness.Start(t, harness.Dir(t))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for _, script := range []string{"pykmip_flow.py", "https_flow.py"} {
		cmd := exec.CommandContext(ctx, python, "-W", "ignore", "-B", "testdata/"+script, s.Dir, s.Addr)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s ended with %v:\n%s", script, err, out)
		}
		t.Logf("%s", out)
	}
}
