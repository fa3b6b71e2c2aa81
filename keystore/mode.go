package keystore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"kmipd/fips"
)

// settingMode holds the policies that the store was last run under.
const settingMode = "policy-mode"

// storedMode is what is kept of them. The settings count, not the rules that they had: when a later kmipd writes a policy anew,
// that is no change of the mode.
type storedMode struct {
	fips.Settings           // of the server's policy
	Fingerprint   string    `json:"fingerprint"`
	Since         time.Time `json:"since"`
	// Doors are the listeners and groups; nil in what a kmipd noted that did not note them.
	Doors *storedDoors `json:"doors,omitempty"`
}

// storedDoors are by name.
type storedDoors struct {
	Listeners map[string]storedDoor `json:"listeners"`
	Groups    map[string]storedDoor `json:"groups"`
}

// storedDoor is what holds for a listener or a group.
type storedDoor struct {
	Policy  *fips.Settings `json:"policy,omitempty"` // beside the server's
	Release Release        `json:"release"`
}

// mode is the present one.
func (s *Store) mode(now time.Time) storedMode {
	m := storedMode{Settings: s.policy.Settings(), Fingerprint: s.policy.Fingerprint(), Since: now,
		Doors: &storedDoors{Listeners: map[string]storedDoor{}, Groups: map[string]storedDoor{}}}
	for name, p := range s.listeners() {
		m.Doors.Listeners[name] = s.door(p, "")
	}
	for name, g := range s.cfg.Groups {
		m.Doors.Groups[name] = s.door(g.Policy, g.Release)
	}
	return m
}

// listeners are the policies of all listeners; one without a name where the configuration names none.
func (s *Store) listeners() map[string]*fips.Policy {
	if len(s.cfg.Listeners) == 0 {
		return map[string]*fips.Policy{"": nil}
	}
	return s.cfg.Listeners
}

func (s *Store) door(p *fips.Policy, release Release) storedDoor {
	d := storedDoor{Release: stricter(cmp.Or(s.cfg.Release, DefaultRelease(s.policy.And(p))), release)}
	if p != nil {
		own := p.Settings()
		d.Policy = &own
	}
	return d
}

// restore is what held for a door: the server's policy and its own.
func (d storedDoor) restore(server *fips.Policy) (*fips.Policy, error) {
	if d.Policy == nil {
		return server, nil
	}
	p, err := fips.Restore(*d.Policy)
	if err != nil {
		return nil, err
	}
	return server.And(p), nil
}

// checkMode refuses to start where the policies or releases allow anything that those of the last run did not, unless the
// operator says so, and notes them. A store that was never started, or by a kmipd that did not note it, takes what comes.
func (s *Store) checkMode(ctx context.Context) error {
	now := s.cfg.Clock().UTC()
	next := s.mode(now)
	stored, err := s.meta.Setting(ctx, settingMode)
	if isNotFound(err) {
		return s.setMode(ctx, next, "policy set", "policy "+describeMode(next))
	}
	if err != nil {
		return fmt.Errorf("keystore: reading the mode: %w", err)
	}
	var last storedMode
	if err := json.Unmarshal(stored, &last); err != nil {
		return fmt.Errorf("keystore: reading the mode: %w", err)
	}
	same := next
	same.Since = last.Since
	if b, err := json.Marshal(same); err != nil || bytes.Equal(b, stored) {
		return err
	}
	laxer, err := s.laxerThan(last, next)
	if err != nil { // of a later kmipd, perhaps
		laxer = []string{fmt.Sprintf("nobody knows what: the policy of the last run is not understood (%v)", err)}
	}
	text := fmt.Sprintf("policy %s after %s", describeMode(next), describeMode(last))
	if last.Doors == nil {
		text += ", when listeners and groups were not noted"
	}
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

// maxLaxer is how many examples are told of what is allowed now.
const maxLaxer = 5

// laxerThan tells what is allowed now and was not in the last run, in words. Each listener is held to what it was, and one that is
// new to all that were there: it must not be laxer than every one of them. A group is held to what it was; a new one
// takes nothing away from what holds for all.
func (s *Store) laxerThan(last, next storedMode) ([]string, error) {
	server, err := fips.Restore(last.Settings)
	if err != nil {
		return nil, err
	}
	out := s.policy.Laxer(server, next.Since, maxLaxer)
	if len(out) > 0 || last.Doors == nil {
		return out, nil // what the server allows, its listeners may, too
	}
	listeners := s.listeners()
	for _, name := range slices.Sorted(maps.Keys(listeners)) {
		before := last.Doors.Listeners
		if d, ok := before[name]; ok {
			before = map[string]storedDoor{name: d}
		}
		found, err := s.laxerDoor(before, server, next, next.Doors.Listeners[name], listeners[name])
		if err != nil {
			return nil, err
		}
		for _, text := range found {
			out = append(out, fmt.Sprintf("listener %q: %s", name, text))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.cfg.Groups)) {
		d, ok := last.Doors.Groups[name]
		if !ok {
			continue
		}
		found, err := s.laxerDoor(map[string]storedDoor{name: d}, server, next, next.Doors.Groups[name], s.cfg.Groups[name].Policy)
		if err != nil {
			return nil, err
		}
		for _, text := range found {
			out = append(out, fmt.Sprintf("group %q: %s", name, text))
		}
	}
	return out[:min(len(out), maxLaxer)], nil
}

// laxerDoor compares a door with what was before it; nothing when it is no laxer than one of those.
func (s *Store) laxerDoor(before map[string]storedDoor, server *fips.Policy, next storedMode, now storedDoor, p *fips.Policy) (out []string, err error) {
	for _, name := range slices.Sorted(maps.Keys(before)) {
		old, err := before[name].restore(server)
		if err != nil {
			return nil, err
		}
		found := s.policy.And(p).Laxer(old, next.Since, maxLaxer)
		if was := before[name].Release; now.Release.rank() > was.rank() {
			found = append(found, fmt.Sprintf("release %s after %s", now.Release, was))
		}
		if len(found) == 0 {
			return nil, nil
		}
		if out == nil {
			out = found
		}
	}
	return out, nil
}

// describeMode is a mode in a line.
func describeMode(m storedMode) string {
	out := describeSettings(m.Settings)
	if m.Doors == nil {
		return out
	}
	for _, doors := range []struct {
		kind string
		list map[string]storedDoor
	}{{"listener", m.Doors.Listeners}, {"group", m.Doors.Groups}} {
		for _, name := range slices.Sorted(maps.Keys(doors.list)) {
			d := doors.list[name]
			if name == "" && d.Policy == nil {
				continue
			}
			out += fmt.Sprintf(", %s %q", doors.kind, name)
			if d.Policy != nil {
				out += " with " + describeSettings(*d.Policy)
			}
			out += " (release " + string(d.Release) + ")"
		}
	}
	return out
}

func describeSettings(m fips.Settings) string {
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
