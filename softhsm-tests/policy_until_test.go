package softhsmtests

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kmipd/softhsm-tests/internal/harness"
	"kmipd/softhsm-tests/internal/message"
	"kmipd/softhsm-tests/internal/registry"
)

// TestPolicyUntil runs a server under fips140 twice: as it is, and with a switch and with a file that ends some values on a day
// that has passed and others on one to come. What ended is refused where it protects and goes on where it processes.
func TestPolicyUntil(t *testing.T) {
	reg, err := registry.Load(registry.Shared(t), "1.4")
	if err != nil {
		t.Fatal(err)
	}
	dir := harness.Dir(t)
	w := &wire{t: t, reg: reg, uids: map[string]string{}}
	data, iv := w.bytes("Data", 16), w.bytes("IVCounterNonce", 16)
	cipher := func(operation, mode string, more ...*node) message.Item {
		return w.item(operation, append([]*node{w.id("aes"), w.parameters("BlockCipherMode=" + mode), data}, more...)...)
	}
	// want sends a request; refusal "" is for success.
	want := func(name, refusal string, item message.Item) {
		t.Helper()
		_, err := message.Do(w.first, item)
		var f *message.Failure
		switch {
		case err != nil && !errors.As(err, &f):
			t.Fatalf("%s: %v", name, err)
		case refusal == "" && err != nil:
			t.Errorf("%s: got %v, want it allowed", name, err)
		case refusal != "" && (err == nil || f.Reason != reg.MustEnum("ResultReason", "InvalidField") || !strings.Contains(f.Message, refusal) ||
			!strings.Contains(f.Message, "policy ")):
			t.Errorf("%s: got %v, want Invalid Field by a policy with %q", name, err, refusal)
		}
	}

	s := harness.Start(t, dir, "--policy", "fips140")
	w.first = s.Connect(t)
	w.keep("aes", w.create("AES 256 Encrypt Decrypt"))
	want("ECB without the switch", "Block Cipher Mode ECB", cipher("Encrypt", "ECB"))
	want("CBC before its day", "", cipher("Encrypt", "CBC"))
	want("HMAC-SHA512 before its day", "", w.create("HMAC_SHA512 256 MACGenerate"))
	s.Stop()

	past, future := time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly), time.Now().UTC().AddDate(0, 0, 2).Format(time.DateOnly)
	file := filepath.Join(dir, "until.toml")
	text := "[until.modes]\nCBC = \"" + past + "\"\nCTR = \"" + future + "\"\n" +
		"[until.algorithms]\n\"HMAC-SHA512\" = \"" + past + "\"\n\"HMAC-SHA384\" = \"" + future + "\"\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KMIPD_POLICY_FILE", file)
	t.Setenv("KMIPD_POLICY_SWITCHES", "allow-ecb")
	t.Setenv("KMIPD_ALLOW_WEAKER_POLICY", "true") // for the switch
	w.first = harness.Start(t, dir, "--policy", "fips140").Connect(t)
	want("ECB with the switch", "", cipher("Encrypt", "ECB"))
	want("CBC to encrypt after its day", "Block Cipher Mode CBC", cipher("Encrypt", "CBC"))
	want("CBC to decrypt after its day", "", cipher("Decrypt", "CBC", iv))
	want("CTR before its day", "", cipher("Encrypt", "CTR"))
	want("HMAC-SHA512 after its day", "is not allowed since "+past, w.create("HMAC_SHA512 256 MACGenerate"))
	want("HMAC-SHA384 before its day", "", w.create("HMAC_SHA384 256 MACGenerate"))
}
