package keystore

import (
	"testing"

	"kmipd/fips"
	"kmipd/kmip"
	"kmipd/metadata"
)

func policyNamed(t *testing.T, name string) *fips.Policy {
	t.Helper()
	p, err := fips.ByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The policy of a call is what server, listener and group all allow; a listener that the configuration has lost allows
// nothing.
func TestPolicyOfCall(t *testing.T) {
	suiteb, cnsa := policyNamed(t, "suiteb192"), policyNamed(t, "cnsa1")
	b := newBench(t, func(c *Config) {
		c.Listeners = map[string]*fips.Policy{"suiteb": suiteb}
		c.Groups = map[string]Group{"vaults": {Policy: cnsa}}
	})
	for _, name := range []string{"free", "vault"} {
		if err := b.s.AddClient(t.Context(), &metadata.Client{Name: name, Certificates: []metadata.CertificateMatch{{Fingerprint: fingerprint([]byte(name))}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.s.SetGroup(t.Context(), "vault", "vaults"); err != nil {
		t.Fatal(err)
	}
	if err := b.s.SetGroup(t.Context(), "vault", "lost"); err == nil {
		t.Error("SetGroup took a group that the configuration does not have")
	}
	for _, c := range []struct{ client, listener, want string }{
		{"free", "", "default"}, {"free", "suiteb", "suiteb192"}, {"vault", "", "cnsa1"}, {"vault", "suiteb", "suiteb192+cnsa1"},
	} {
		call := &kmip.Call{Caller: kmip.Caller{Client: c.client}, Listener: c.listener}
		if got := b.s.policyOf(call).Name(); got != c.want {
			t.Errorf("%s by %q: got policy %s, want %s", c.client, c.listener, got, c.want)
		}
	}
	lost := &kmip.Call{Caller: kmip.Caller{Client: "free"}, Listener: "gone"}
	if err := b.s.policyOf(lost).Allow(fips.Encrypt, kmip.CryptographicAlgorithmAES, 256); err == nil {
		t.Error("a listener that is gone allows AES-256")
	}
}

// A client in a group that the configuration has lost stops the start.
func TestLostGroup(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Groups = map[string]Group{"vaults": {}} })
	if err := b.s.AddClient(t.Context(), &metadata.Client{Name: "a", Certificates: []metadata.CertificateMatch{{Fingerprint: fingerprint([]byte("a"))}}}); err != nil {
		t.Fatal(err)
	}
	if err := b.s.SetGroup(t.Context(), "a", "vaults"); err != nil {
		t.Fatal(err)
	}
	b.s.cfg.Groups = nil
	if err := b.s.checkGroups(t.Context()); err == nil {
		t.Error("a start without the group of a client went well")
	}
}

// The record of a release waits for the disk in strict policies, or as the operator says.
func TestReleasesWait(t *testing.T) {
	strict := policyNamed(t, "fips140")
	b := newBench(t, func(c *Config) { c.Listeners = map[string]*fips.Policy{"strict": strict} })
	for _, c := range []struct {
		setting  AuditReleases
		listener string
		want     bool
	}{{"", "", false}, {"", "strict", true}, {ReleasesDurable, "", true}, {ReleasesQueued, "strict", false}} {
		b.s.cfg.Audit.Releases = c.setting
		if got := b.s.waitsForRelease(&kmip.Call{Listener: c.listener}); got != c.want {
			t.Errorf("setting %q, listener %q: got %t", c.setting, c.listener, got)
		}
	}
}
