package keystore

import (
	"context"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"kmipd/fips"
)

// again closes the store and starts another one with a policy.
func (b *bench) again(policy *fips.Policy, allowWeaker bool) error {
	b.t.Helper()
	b.s.Close()
	b.cfg.AllowWeakerPolicy = allowWeaker
	b.s = New(b.meta, b.token, policy, b.cfg, zerolog.New(b.log))
	err := b.s.Start(context.Background())
	b.t.Cleanup(b.s.Close)
	return err
}

func TestModeIsNotWeakened(t *testing.T) {
	b := newBench(t)
	policy := func(name string, switches ...fips.Switch) *fips.Policy {
		p, err := fips.New(name, fips.Options{Switches: switches, Clock: b.clock})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if err := b.again(policy("fips140"), false); err != nil {
		t.Fatalf("from default to fips140: %v", err)
	}
	for _, p := range []*fips.Policy{fips.Default(), policy("fips140", fips.AllowECB)} {
		err := b.again(p, false)
		if err == nil || !strings.Contains(err.Error(), "allow_weaker_policy") || !strings.Contains(err.Error(), "fips140") {
			t.Fatalf("from fips140 to %s %v: got %v, want a refusal with its remedy", p.Name(), p.Switches(), err)
		}
	}
	if err := b.again(policy("suiteb192"), true); err != nil || strings.Contains(b.log.String(), "policy weakened") {
		t.Fatalf("to suiteb192, which is not weaker: %v\n%s", err, b.log)
	}
	if err := b.again(fips.Default(), true); err != nil {
		t.Fatalf("to default with leave: %v", err)
	}
	if log := b.log.String(); !strings.Contains(log, `"event":"policy weakened"`) || !strings.Contains(log, "policy default after suiteb192") {
		t.Errorf("the log does not tell: %s", log)
	}
	if err := b.again(fips.Default(), false); err != nil {
		t.Errorf("the next start, without leave: %v", err)
	}
	// A mode that is not understood is not taken for a laxer one.
	if err := b.meta.SetSetting(context.Background(), settingMode, []byte(`{"name":"fips140-4","fingerprint":"0"}`), true); err != nil {
		t.Fatal(err)
	}
	if err := b.again(policy("suiteb192"), false); err == nil {
		t.Error("a policy of the future was left without leave")
	}
}
