package fips

import (
	"fmt"
	"slices"
	"time"

	"kmipd/kmip"
)

// Settings are what a policy was made of by an operator: a later program makes the policy of that name as it knows it then.
type Settings struct {
	Name     string      `json:"name"`
	Switches []Switch    `json:"switches,omitempty"`
	Left     []Narrowing `json:"left,omitempty"`
}

// Settings of a policy that New and Narrow made. A joint policy has none of its own.
func (p *Policy) Settings() Settings {
	return Settings{Name: p.name, Switches: p.Switches(), Left: slices.Clone(p.left)}
}

// Restore makes the policy of Settings. Errors are those of New and Narrow.
func Restore(s Settings) (*Policy, error) {
	p, err := New(s.Name, Options{Switches: s.Switches})
	for i := 0; err == nil && i < len(s.Left); i++ {
		p, err = p.Narrow(s.Left[i])
	}
	return p, err
}

// Laxer lists what p allows and old does not, in words, at most max of them; nothing when p is as strict as old or stricter. It
// asks both about every value that KMIP has a name for, now and after each of their dates. A strict policy is not laxer than
// the default one, though it has lengths that the default one lacks: And takes it so, too.
func (p *Policy) Laxer(old *Policy, now time.Time, max int) []string {
	var out []string
	if p.Strict() && !old.Strict() {
		old = policyOf(old.name, slices.DeleteFunc(slices.Clone(old.tables), func(t *table) bool { return t.name == defaultName })...)
	}
	days := []time.Time{now}
	for _, q := range []*Policy{p, old} {
		for _, r := range q.Rules() {
			if day, err := time.Parse(time.DateOnly, r.Until); err == nil && day.After(now) && !slices.ContainsFunc(days, day.Equal) {
				days = append(days, day)
			}
		}
	}
	for _, day := range days {
		c := comparison{p: p.at(day), old: old.at(day), max: max, day: day}
		if day.Equal(now) {
			c.day = time.Time{}
		}
		c.all()
		for _, text := range c.found {
			if len(out) < max && !slices.Contains(out, text) {
				out = append(out, text)
			}
		}
		if len(out) > 0 {
			break // what comes later is not needed to refuse
		}
	}
	before, after := old.limits, p.limits
	if p.Allow(Wrap, kmip.CryptographicAlgorithmAES, 128) != nil {
		before.Columns, after.Columns = false, false // there is only one column
	}
	if p.AllowDerivation(kmip.DerivationMethodPBKDF2) != nil {
		before.Salt, before.Iterations, before.Password = after.Salt, after.Iterations, after.Password
	}
	if after.and(after) != before.and(after) && len(out) < max {
		out = append(out, "lower limits, such as lengths, iterations or who makes an IV")
	}
	return out
}

// at is the policy by a clock that stands.
func (p *Policy) at(day time.Time) *Policy {
	out := *p
	out.tables = make([]*table, len(p.tables))
	for i, t := range p.tables {
		c := *t
		c.clock = func() time.Time { return day }
		out.tables[i] = &c
	}
	return &out
}

// comparison collects what p allows and old does not.
type comparison struct {
	p, old *Policy
	day    time.Time // zero: now
	max    int
	found  []string
}

func (c *comparison) ask(allow func(*Policy) error, format string, args ...any) {
	if len(c.found) >= c.max || allow(c.p) != nil || allow(c.old) == nil {
		return
	}
	text := fmt.Sprintf(format, args...)
	if !c.day.IsZero() {
		text += " from " + c.day.Format(time.DateOnly) + " on"
	}
	c.found = append(c.found, text)
}

// lengths are those at which the rows of the two policies begin, end and change.
func (c *comparison) lengths(a kmip.CryptographicAlgorithm) []int {
	out := []int{0, 64, 128, 256, 1 << 15}
	for _, t := range slices.Concat(c.p.tables, c.old.tables) {
		for _, r := range t.keys {
			if r.algorithm != a {
				continue
			}
			for _, n := range []int{r.min - 1, r.min, r.min + 1, r.min + r.step, r.max - 1, r.max, r.max + 1} {
				if n > 0 && !slices.Contains(out, n) {
					out = append(out, n)
				}
			}
		}
	}
	return out
}

// values are the values of an enumeration that have a name.
func values[T enum]() []T {
	var out []T
	for i := T(1); i < 256; i++ {
		if i.String() != fmt.Sprintf("%08X", uint32(i)) {
			out = append(out, i)
		}
	}
	return out
}

func (c *comparison) all() {
	for use := Generate; use <= lastUse; use++ {
		for _, a := range values[kmip.CryptographicAlgorithm]() {
			for _, bits := range c.lengths(a) {
				c.ask(func(p *Policy) error { return p.Allow(use, a, bits) }, "%s with %d bits to %s", a, bits, use)
			}
		}
		compareValues(c, use, (*Policy).AllowCurve)
		compareValues(c, use, (*Policy).AllowHash)
		compareValues(c, use, (*Policy).AllowMode)
		compareValues(c, use, (*Policy).AllowPadding)
		compareValues(c, use, (*Policy).AllowSignature)
		compareValues(c, use, (*Policy).AllowObject)
	}
	for _, m := range values[kmip.DerivationMethod]() {
		c.ask(func(p *Policy) error { return p.AllowDerivation(m) }, "Derivation Method %s", m)
	}
	for _, f := range values[kmip.KeyFormatType]() {
		c.ask(func(p *Policy) error { return p.AllowFormat(f) }, "Key Format Type %s", f)
	}
	for _, h := range values[kmip.HashingAlgorithm]() {
		for _, bits := range []int{224, 256, 384, 521} {
			c.ask(func(p *Policy) error { return p.AllowPair(Sign, bits, h) }, "%s with elliptic curve keys of %d bits", h, bits)
		}
	}
}

func compareValues[T enum](c *comparison, use Use, allow func(*Policy, Use, T) error) {
	for _, v := range values[T]() {
		c.ask(func(p *Policy) error { return allow(p, use, v) }, "%s to %s", v, use)
	}
}
