package keystore

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"kmipd/fips"
)

// settingMode holds the policy that the store was last run under.
const settingMode = "policy-mode"

// storedMode is what is kept of it. The settings count, not the rules that they had: when a later kmipd writes a policy anew, that
// is no change of the mode.
type storedMode struct {
	fips.Settings
	Fingerprint string    `json:"fingerprint"`
	Since       time.Time `json:"since"`
}

// checkMode refuses to start under a policy that allows anything that the last one did not, unless the operator says so, and
// notes the policy. A store that was never started, or by a kmipd that did not note it, takes what comes.
func (s *Store) checkMode(ctx context.Context) error {
	now := s.cfg.Clock().UTC()
	next := storedMode{Settings: s.policy.Settings(), Fingerprint: s.policy.Fingerprint(), Since: now}
	stored, err := s.meta.Setting(ctx, settingMode)
	if isNotFound(err) {
		return s.setMode(ctx, next, "policy set", "policy "+next.Name)
	}
	if err != nil {
		return fmt.Errorf("keystore: reading the mode: %w", err)
	}
	var last storedMode
	if err := json.Unmarshal(stored, &last); err != nil {
		return fmt.Errorf("keystore: reading the mode: %w", err)
	}
	if last.Fingerprint == next.Fingerprint {
		return nil
	}
	old, err := fips.Restore(last.Settings)
	var laxer []string
	if err != nil { // of a later kmipd, perhaps
		laxer = []string{fmt.Sprintf("nobody knows what: the policy of the last run is not understood (%v)", err)}
	} else {
		laxer = s.policy.Laxer(old, now, 5)
	}
	text := fmt.Sprintf("policy %s after %s", describeMode(next), describeMode(last))
	switch {
	case len(laxer) == 0:
		return s.setMode(ctx, next, "policy changed", text)
	case !s.cfg.AllowWeakerPolicy:
		return fmt.Errorf("keystore: the data directory was last run under policy %s, and policy %s allows what that did not (%s): "+
			"set the policy back, or allow_weaker_policy for one start",
			describeMode(last), describeMode(next), strings.Join(laxer, "; "))
	}
	return s.setMode(ctx, next, "policy weakened", text+"; it allows now: "+strings.Join(laxer, "; "))
}

// describeMode is a policy in a line.
func describeMode(m storedMode) string {
	out := m.Name
	for _, s := range m.Switches {
		out += " with " + string(s)
	}
	if len(m.Left) > 0 {
		out += " (narrowed)"
	}
	return out
}

func (s *Store) setMode(ctx context.Context, m storedMode, kind, text string) error {
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("keystore: encoding the mode: %w", err)
	}
	e := ofServer(kind)
	e.Message, e.Facts = text, append(e.Facts, fact("fingerprint", m.Fingerprint))
	if err := s.meta.SetSetting(ctx, settingMode, b, true, s.payload(e, nil)); err != nil {
		return fmt.Errorf("keystore: noting the mode: %w", err)
	}
	s.log.Warn().Str("event", kind).Str("fingerprint", m.Fingerprint).Msg(text)
	return nil
}
