package keystore

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// A strict policy does not start with a clock that was set back; a small correction, and the default policy, do.
func TestClockSetBack(t *testing.T) {
	for _, c := range []struct {
		policy string
		back   time.Duration
		want   bool
	}{{"fips140", time.Minute, true}, {"fips140", time.Hour, false}, {"default", time.Hour, true}} {
		b := newBench(t)
		b.s.Close()
		b.advance(-c.back)
		s := New(b.db, b.fake, policyNamed(t, c.policy), b.cfg, zerolog.Nop())
		err := s.Start(context.Background())
		if (err == nil) != c.want {
			t.Errorf("%s, %s back: got %v", c.policy, c.back, err)
		}
		if err == nil {
			s.Close()
		} else if !strings.Contains(err.Error(), "set the clock") {
			t.Errorf("got %v, want the remedy", err)
		}
	}
}
