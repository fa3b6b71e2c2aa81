package fips

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"kmipd/kmip"
)

// State is what a policy makes of a key.
type State string

// The states.
const (
	Approved   State = "approved"   // it may protect
	Legacy     State = "legacy"     // it may process what is protected, and no more
	Disallowed State = "disallowed" // it rests, frozen, until it is destroyed or the policy changes
)

// StateOf is the state of a key at an instant, and from when on it will be another one (zero: never, as far as is known).
// curve is 0 for keys that have none.
func (p *Policy) StateOf(algorithm kmip.CryptographicAlgorithm, bits int, curve kmip.RecommendedCurve, at time.Time) (State, time.Time) {
	state, until := Approved, time.Time{}
	for _, t := range p.tables {
		s, u := t.stateOf(algorithm, bits, curve, at)
		if s == Disallowed || s == Legacy && state == Approved {
			state, until = s, u
		} else if s == state && !u.IsZero() && (until.IsZero() || u.Before(until)) {
			until = u
		}
	}
	return state, until
}

func (t *table) stateOf(algorithm kmip.CryptographicAlgorithm, bits int, curve kmip.RecommendedCurve, at time.Time) (State, time.Time) {
	if t.keys == nil && !t.rest {
		return Approved, time.Time{}
	}
	var uses, legacy Uses
	var until time.Time
	if t.rest && !slices.ContainsFunc(t.keys, func(r keyRow) bool { return r.algorithm == algorithm }) {
		uses = everything &^ making
	}
	for _, r := range t.keys {
		if r.algorithm == algorithm && r.fits(bits) {
			u, l := r.allows(at)
			uses, legacy = uses|u&^making, legacy|l&^making
			if u != 0 {
				until = r.until
			}
		}
	}
	if curve != 0 && t.curves != nil && !(t.rest && !hasRow(t.curves, curve)) {
		var cu, cl Uses
		for _, r := range t.curves {
			if r.value == curve {
				cu, cl = r.allows(at)
				if cu != 0 && !r.until.IsZero() && (until.IsZero() || r.until.Before(until)) {
					until = r.until
				}
			}
		}
		legacy = (legacy | uses) & (cl | cu) & processing
		uses &= cu
	}
	switch {
	case uses&protecting != 0:
		return Approved, until
	case (uses|legacy)&processing != 0:
		return Legacy, time.Time{}
	case t.open:
		return Approved, time.Time{} // kept for its owner, used by nobody here
	}
	return Disallowed, time.Time{}
}

// LegacyUse tells that a key is used by leave for old keys: such uses are logged.
func (p *Policy) LegacyUse(use Use, algorithm kmip.CryptographicAlgorithm, bits int) bool {
	for _, t := range p.tables {
		for _, r := range t.keys {
			if r.algorithm == algorithm && r.fits(bits) && r.legacy.Has(use) {
				if uses, _ := r.allows(t.now()); !uses.Has(use) {
					return true
				}
			}
		}
	}
	return false
}

// Rule is a row of a policy for reading.
type Rule struct {
	Policy string `json:"policy"`
	Kind   string `json:"kind"` // the KMIP field
	Value  string `json:"value"`
	Min    int    `json:"min_bits,omitempty"`
	Max    int    `json:"max_bits,omitempty"`
	Step   int    `json:"step_bits,omitempty"` // from Min on
	Uses   string `json:"uses,omitempty"`
	Legacy string `json:"legacy_uses,omitempty"`
	Until  string `json:"refused_from,omitempty"`
	Source string `json:"source,omitempty"`
}

// Rules are all rows, in the order of the tables. A kind without any row is not restricted.
func (p *Policy) Rules() []Rule {
	var out []Rule
	for _, t := range p.tables {
		for _, r := range t.keys {
			x := t.rule("Cryptographic Algorithm", r.algorithm, r.terms)
			x.Min, x.Max, x.Step = r.min, r.max, r.step
			out = append(out, x)
		}
		if t.keys != nil && len(t.keys) == 0 {
			out = append(out, Rule{Policy: t.name, Kind: "Cryptographic Algorithm", Value: "none"})
		}
		if t.open {
			out = append(out, t.others("Cryptographic Algorithm", of(Import, Derive)))
		}
		if t.rest && len(t.keys) > 0 {
			out = append(out, t.others("Cryptographic Algorithm", everything))
		}
		out = appendRules(out, t, "Recommended Curve", t.curves)
		out = appendRules(out, t, "Hashing Algorithm", t.hashes)
		out = appendRules(out, t, "Block Cipher Mode", t.modes)
		out = appendRules(out, t, "Padding Method", t.paddings)
		out = appendRules(out, t, "Digital Signature Algorithm", t.signatures)
		out = appendRules(out, t, "Derivation Method", t.derivations)
		out = appendRules(out, t, "Key Format Type", t.formats)
		out = appendRules(out, t, "Object Type", t.objects)
		for _, c := range t.pairs {
			out = append(out, Rule{Policy: t.name, Kind: "ECDSA", Value: fmt.Sprintf("%d bits with %s", c.bits, c.hash)})
		}
		if t.pairs != nil && len(t.pairs) == 0 {
			out = append(out, Rule{Policy: t.name, Kind: "ECDSA", Value: "none"})
		}
	}
	return out
}

func appendRules[T interface {
	comparable
	fmt.Stringer
}](out []Rule, t *table, kind string, rows []row[T]) []Rule {
	for _, r := range rows {
		out = append(out, t.rule(kind, r.value, r.terms))
	}
	if rows != nil && len(rows) == 0 {
		out = append(out, Rule{Policy: t.name, Kind: kind, Value: "none"})
	}
	if t.rest && len(rows) > 0 {
		out = append(out, t.others(kind, everything))
	}
	return out
}

// others is the rule for values without a row of their own.
func (t *table) others(kind string, uses Uses) Rule {
	return Rule{Policy: t.name, Kind: kind, Value: "any other", Uses: uses.String()}
}

func (t *table) rule(kind string, value fmt.Stringer, x terms) Rule {
	r := Rule{Policy: t.name, Kind: kind, Value: value.String(), Uses: x.uses.String(), Legacy: x.legacy.String(), Source: x.source}
	if !x.until.IsZero() {
		r.Until = x.until.Format(time.DateOnly)
	}
	return r
}

// Fingerprint is the SHA-256 of the rules, limits and switches, in hexadecimal: two servers with the same one decide alike.
func (p *Policy) Fingerprint() string {
	b, err := json.Marshal(struct {
		Name     string
		Rules    []Rule
		Limits   Limits
		Switches []Switch
	}{p.name, p.Rules(), p.limits, p.Switches()})
	if err != nil {
		panic(err) // plain data
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
