package keystore

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"kmipd/fips"
)

// A strict policy does not start with a clock that was set back; a small correction, and the default policy, do.
func TestClockSetBack(t *testing.T) {
	for _, c := range []struct {
		policy, listener, group string
		back                    time.Duration
		want                    bool
	}{
		{"fips140", "", "", time.Minute, true}, {"fips140", "", "", time.Hour, false}, {"default", "", "", time.Hour, true},
		{"default", "fips140", "", time.Hour, false}, {"default", "", "suiteb192", time.Hour, false}, {"default", "default", "default", time.Hour, true},
	} {
		b := newBench(t)
		b.s.Close()
		b.advance(-c.back)
		cfg := b.cfg
		cfg.Listeners, cfg.Groups = map[string]*fips.Policy{"a": nil}, map[string]Group{"g": {}}
		if c.listener != "" {
			cfg.Listeners["b"] = policyNamed(t, c.listener)
		}
		if c.group != "" {
			cfg.Groups["h"] = Group{Policy: policyNamed(t, c.group)}
		}
		s := New(b.db, b.fake, policyNamed(t, c.policy), cfg, zerolog.Nop())
		err := s.Start(context.Background())
		if (err == nil) != c.want {
			t.Errorf("%+v: got %v", c, err)
		}
		if err == nil {
			s.Close()
		} else if !strings.Contains(err.Error(), "set the clock") {
			t.Errorf("got %v, want the remedy", err)
		}
	}
}
