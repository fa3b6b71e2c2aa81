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

// Listeners, groups and releases are held to what they were, too.
func TestDoorsAreNotWeakened(t *testing.T) {
	policy := func(name string, switches ...fips.Switch) *fips.Policy {
		p, err := fips.New(name, fips.Options{Switches: switches})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	type listeners = map[string]*fips.Policy
	type groups = map[string]Group
	strict := policy("fips140")
	narrow, err := strict.Narrow(fips.Narrowing{Hashes: &[]string{"SHA-256"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		was, is Config
		want    string // in the refusal; "" for none
	}{
		{"a listener becomes default", Config{Listeners: listeners{"a": nil, "b": strict}}, Config{Listeners: listeners{"a": nil, "b": nil}}, `listener "b"`},
		{"a listener becomes strict", Config{Listeners: listeners{"a": nil, "b": nil}}, Config{Listeners: listeners{"a": nil, "b": strict}}, ""},
		{"a switch of a listener", Config{Listeners: listeners{"b": strict}}, Config{Listeners: listeners{"b": policy("fips140", fips.AllowECB)}}, "ECB"},
		{"a narrowing of a listener is gone", Config{Listeners: listeners{"b": narrow}}, Config{Listeners: listeners{"b": strict}}, "SHA-384"},
		{"a new listener is as one that was", Config{Listeners: listeners{"a": nil, "b": strict}}, Config{Listeners: listeners{"b": strict, "c": nil}}, ""},
		{"a new listener is laxer than all", Config{Listeners: listeners{"b": strict}}, Config{Listeners: listeners{"b": strict, "c": nil}}, `listener "c"`},
		{"a listener is gone", Config{Listeners: listeners{"a": nil, "b": strict}}, Config{Listeners: listeners{"b": strict}}, ""},
		{"a group becomes default", Config{Groups: groups{"g": {Policy: strict}}}, Config{Groups: groups{"g": {}}}, `group "g"`},
		{"a new group", Config{}, Config{Groups: groups{"g": {}}}, ""},
		{"a group releases more", Config{Groups: groups{"g": {Release: ReleaseNone}}}, Config{Groups: groups{"g": {Release: ReleaseWrapped}}}, "release wrapped after none"},
		{"a group releases less", Config{Groups: groups{"g": {}}}, Config{Groups: groups{"g": {Release: ReleaseWrapped}}}, ""},
		{"the server releases more", Config{Release: ReleaseWrapped}, Config{}, "release clear after wrapped"},
		{"the server releases less", Config{}, Config{Release: ReleaseNone}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			run := func(with Config, leave bool) error {
				b.cfg.Listeners, b.cfg.Groups, b.cfg.Release = with.Listeners, with.Groups, with.Release
				return b.again(fips.Default(), leave)
			}
			if err := run(c.was, true); err != nil {
				t.Fatal(err)
			}
			err := run(c.is, false)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("got %v, want a start", err)
			case c.want == "":
			case err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "allow_weaker_policy"):
				t.Errorf("got %v, want a refusal with %q and its remedy", err, c.want)
			}
			if err := run(c.is, true); err != nil {
				t.Errorf("with leave: %v", err)
			}
			told := strings.Count(b.log.String(), `"event":"policy`)
			if err := run(c.is, false); err != nil || strings.Count(b.log.String(), `"event":"policy`) != told {
				t.Errorf("the start after that: %v, or it tells of a change", err)
			}
		})
	}
	// What a kmipd noted that did not know of listeners is taken.
	b := newBench(t)
	if err := b.meta.SetSetting(context.Background(), settingMode, []byte(`{"name":"default","fingerprint":"0"}`), true); err != nil {
		t.Fatal(err)
	}
	if err := b.again(fips.Default(), false); err != nil {
		t.Errorf("after an older kmipd: %v", err)
	}
	if log := b.log.String(); !strings.Contains(log, "policy default after default, when listeners and groups were not noted") {
		t.Errorf("the log does not tell why the policy is another: %s", log)
	}
}
