package softhsmtests

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kmipd/softhsm-tests/internal/harness"
	"kmipd/softhsm-tests/internal/message"
)

// TestDevPolicies has kmipd dev under every policy: its own client is served, with a key on the token and certificates, key
// usages and revocation lists as the policy wants them; started again it finds them all.
func TestDevPolicies(t *testing.T) {
	offer(t, tls.TLS_AES_256_GCM_SHA384)
	for _, policy := range strictPolicies {
		t.Run(policy, func(t *testing.T) {
			dir := harness.Dir(t)
			for range 2 {
				s := harness.Start(t, dir, "--policy", policy)
				c := s.Connect(t)
				if _, err := message.Do(c, message.CreateAES(256)); err != nil {
					t.Errorf("Create: %v", err)
				}
				if _, err := message.Do(c, message.CreateRSA(1024)); err == nil {
					t.Error("RSA of 1024 bits was made")
				}
				s.Stop()
			}
		})
	}
}

// What comes in by a listener is held to the listener's policy, which is stricter than the server's.
func TestListenerPolicy(t *testing.T) {
	s := harness.Start(t, harness.Dir(t), "--listener", "suiteb192=127.0.0.1:0")
	first, strict := s.Connect(t), s.ConnectListener(t, "suiteb192")
	for _, c := range []struct {
		name             string
		item             message.Item
		first, suiteb192 bool
	}{
		{"AES-128", message.CreateAES(128), true, false},
		{"AES-256", message.CreateAES(256), true, true},
		{"P-256", message.CreateP256(), true, false},
		{"RSA-2048", message.CreateRSA(2048), true, false},
	} {
		if _, err := message.Do(first, c.item); (err == nil) != c.first {
			t.Errorf("%s by the first listener: %v", c.name, err)
		}
		if _, err := message.Do(strict, c.item); (err == nil) != c.suiteb192 {
			t.Errorf("%s by the Suite B listener: %v", c.name, err)
		}
	}
	if err := message.Clean(first); err != nil {
		t.Log(err)
	}
}

// What kmipd init makes for a strict policy passes kmipd doctor, with the key of the server on the token.
func TestInitPolicies(t *testing.T) {
	for _, policy := range []string{"fips140", "suiteb192"} {
		dir := harness.Dir(t)
		if _, code := harness.Run(t, "init", "--dir", dir, "--policy", policy, "--listen", "127.0.0.1:0"); code != 0 {
			t.Fatalf("%s: init: status %d", policy, code)
		}
		if _, err := os.Stat(filepath.Join(dir, "server.key")); err == nil {
			t.Errorf("%s: the key of the server is in a file", policy)
		}
		out, code := harness.Run(t, "doctor", "--measure=false", "--dir", dir, "--allow-unvalidated-token", "--allow-uncertified-module")
		if code != 0 || !strings.Contains(string(out), "ok      TLS key pkcs11:object=kmipd-tls") {
			t.Errorf("%s: doctor: status %d\n%s", policy, code, out)
		}
	}
}
