package keystore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kmipd/fips"
	"kmipd/keystore/evidence"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
	"kmipd/metadata"
)

// maxListed bounds the objects that a report lists one by one; all are counted.
const maxListed = 1000

// serverOwner stands for the reserved owners in reports.
const serverOwner = "kmipd"

// Census counts all objects that are not destroyed, by what they are and what their owner's policy makes of them, and finds
// what dated rules will hit. policy takes the place of the server's, to see what a change would do; nil asks as it is. It walks
// all records: never on the way of a request. When ctx ends first, or records are damaged, the inventory is what was counted
// so far, not Complete, and the error says why.
func (s *Store) Census(ctx context.Context, policy *fips.Policy) (evidence.Inventory, []evidence.Sunset, error) {
	now := s.cfg.Clock().UTC()
	if err := s.loadClients(ctx); err != nil {
		return evidence.Inventory{At: now}, nil, err
	}
	c := &census{s: s, now: now, policy: policy, rows: map[evidence.Keys]*censusRow{}, sunsets: map[datedRule]*sunset{},
		policies: map[string][]*fips.Policy{}, dated: map[*fips.Policy][]datedRule{}}
	c.out = evidence.Inventory{At: now, Frozen: []evidence.Object{}, Damaged: []string{}}
	if policy != nil {
		c.out.Policy = policy.Name()
	}
	err := s.meta.Records(ctx, func(rec *metadata.Record) error {
		if rec.Phase == metadata.PhaseLive && rec.ObjectType != kmip.ObjectTypeTemplate {
			c.count(object{rec})
		}
		return ctx.Err()
	})
	var damaged *metadata.CorruptError
	if errors.As(err, &damaged) {
		c.out.Damaged = damaged.UIDs
	}
	c.out.Complete = err == nil
	return c.keys(), c.hits(), err
}

// census is an inventory in the making.
type census struct {
	s        *Store
	now      time.Time
	policy   *fips.Policy
	out      evidence.Inventory
	rows     map[evidence.Keys]*censusRow // by what is alike; the counting fields are zero
	sunsets  map[datedRule]*sunset
	policies map[string][]*fips.Policy // by group: for the server's own listener, then for the others
	dated    map[*fips.Policy][]datedRule
}

type censusRow struct {
	count  int
	oldest time.Time
	owners map[string]bool
}

// datedRule is a rule that ends. It is comparable.
type datedRule struct {
	fips.Rule
	from time.Time
}

type sunset struct {
	objects []evidence.Object
	total   int
	clients map[string]bool
}

// of are the policies under which the objects of an owner are used: the server's with the group's, and with each listener's.
func (c *census) of(owner string) []*fips.Policy {
	group := c.s.clients.group(owner)
	if list := c.policies[group]; list != nil {
		return list
	}
	var list []*fips.Policy
	if c.policy != nil {
		list = []*fips.Policy{c.policy.And(c.s.cfg.Groups[group].Policy)}
	} else {
		call := &kmip.Call{Caller: kmip.Caller{Client: owner}}
		list = []*fips.Policy{c.s.policyOf(call)}
		for call.Listener = range c.s.cfg.Listeners {
			list = append(list, c.s.policyOf(call))
		}
	}
	c.policies[group] = list
	for _, p := range list {
		for _, r := range p.Rules() {
			if from, err := time.Parse(time.DateOnly, r.Until); err == nil && from.After(c.now) && r.Uses != "" {
				c.dated[p] = append(c.dated[p], datedRule{r, from})
			}
		}
	}
	return list
}

func (c *census) count(o object) {
	policies := c.of(o.Owner)
	owner := o.Owner
	if strings.HasPrefix(owner, "\x00") {
		owner = serverOwner
	}
	state := o.fipsState(policies[0], c.now)
	a, bits := o.algorithm(), o.length()
	k := evidence.Keys{Type: o.ObjectType.String(), Bits: bits, State: o.state(c.now).String(), FIPS: string(state),
		Release: string(c.s.releaseClass(o)), Age: age(c.now.Sub(o.Created))}
	if a != 0 {
		k.Algorithm = a.String()
	}
	if curve := o.curve(); curve != 0 {
		k.Curve = curve.String()
	}
	row := c.rows[k]
	if row == nil {
		row = &censusRow{oldest: o.Created, owners: map[string]bool{}}
		c.rows[k] = row
	}
	row.count++
	row.owners[owner] = true
	if o.Created.Before(row.oldest) {
		row.oldest = o.Created
	}
	c.out.Objects++
	it := evidence.Object{UID: o.UID, Client: owner}
	if state == fips.Disallowed {
		c.out.FrozenTotal++
		if len(c.out.Frozen) < maxListed {
			c.out.Frozen = append(c.out.Frozen, it)
		}
	}
	seen := map[datedRule]bool{}
	for _, p := range policies {
		for _, r := range c.dated[p] {
			if !seen[r] && o.hitBy(p, r, c.now) {
				seen[r] = true
				c.hit(r, it)
			}
		}
	}
}

func (c *census) hit(r datedRule, it evidence.Object) {
	s := c.sunsets[r]
	if s == nil {
		s = &sunset{objects: []evidence.Object{}, clients: map[string]bool{}}
		c.sunsets[r] = s
	}
	s.total++
	s.clients[it.Client] = true
	if len(s.objects) < maxListed {
		s.objects = append(s.objects, it)
	}
}

// age is an age in words: exact ones would make a row of each key.
func age(d time.Duration) string {
	const year = 365 * 24 * time.Hour
	switch {
	case d <= year:
		return "up to 1 year"
	case d <= 2*year:
		return "1 to 2 years"
	case d <= 5*year:
		return "2 to 5 years"
	}
	return "more than 5 years"
}

// keys are the rows, in the order of what they are.
func (c *census) keys() evidence.Inventory {
	c.out.Keys = []evidence.Keys{}
	for k, r := range c.rows {
		k.Count, k.Oldest, k.Owners = r.count, r.oldest, len(r.owners)
		c.out.Keys = append(c.out.Keys, k)
	}
	slices.SortFunc(c.out.Keys, func(a, b evidence.Keys) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Algorithm, b.Algorithm), cmp.Compare(a.Bits, b.Bits),
			cmp.Compare(a.Curve, b.Curve), cmp.Compare(a.State, b.State), cmp.Compare(a.FIPS, b.FIPS), cmp.Compare(a.Release, b.Release),
			a.Oldest.Compare(b.Oldest))
	})
	return c.out
}

// hits are the sunsets, the next one first.
func (c *census) hits() []evidence.Sunset {
	out := []evidence.Sunset{}
	for r, s := range c.sunsets {
		x := evidence.Sunset{From: r.Until, Policy: r.Policy, Rule: r.words(), Source: r.Source, Remains: r.Legacy, Objects: s.objects, Total: s.total}
		for name := range s.clients {
			x.Clients = append(x.Clients, name)
		}
		slices.Sort(x.Clients)
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b evidence.Sunset) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Rule, b.Rule))
	})
	return out
}

func (r datedRule) words() string {
	out := r.Kind + " " + r.Value
	switch {
	case r.Max != 0:
		out += fmt.Sprintf(" of %d to %d bits", r.Min, r.Max)
	case r.Min != 0:
		out += fmt.Sprintf(" of %d bits and more", r.Min)
	}
	return out
}

// curve is the curve of an elliptic curve key, as it was found in the key; 0 for the rest.
func (o object) curve() kmip.RecommendedCurve {
	if facts, err := o.facts(); err == nil {
		return facts.Curve
	}
	return 0
}

// fipsState is what a policy makes of an object at an instant.
func (o object) fipsState(p *fips.Policy, at time.Time) fips.State {
	if p.AllowObject(fips.Import, o.ObjectType) != nil {
		return fips.Disallowed
	}
	a := o.algorithm()
	if a == 0 {
		return fips.Approved // octets: there is no cryptography to speak of
	}
	facts, err := o.facts()
	if err != nil || facts.Irregular && p.Limits().Exponents || p.Strict() && ec(a) && facts.Curve == 0 && o.ObjectType != kmip.ObjectTypeCertificate {
		return fips.Disallowed // as allowKey has it
	}
	state, _ := p.StateOf(a, o.length(), facts.Curve, at)
	if sig := o.signature(); sig != 0 && p.Strict() {
		switch {
		case p.AllowSignature(fips.Verify, sig) != nil:
			return fips.Disallowed
		case p.AllowSignature(fips.Sign, sig) != nil && state == fips.Approved:
			return fips.Legacy
		}
	}
	return state
}

// signature is the Digital Signature Algorithm of a certificate; 0 for the rest.
func (o object) signature() kmip.DigitalSignatureAlgorithm {
	if v := o.get("Digital Signature Algorithm"); o.ObjectType == kmip.ObjectTypeCertificate && v.Type == ttlv.Enumeration {
		return kmip.DigitalSignatureAlgorithm(v.Enum())
	}
	return 0
}

// hitBy tells whether a dated rule will take something from an object that it has today.
func (o object) hitBy(p *fips.Policy, r datedRule, now time.Time) bool {
	switch r.Kind {
	case "Cryptographic Algorithm", "Recommended Curve":
		a, bits := o.algorithm(), o.length()
		covers := a != 0 && a.String() == r.Value && bits >= r.Min && (r.Max == 0 || bits <= r.Max)
		if r.Kind == "Recommended Curve" {
			covers = o.curve() != 0 && o.curve().String() == r.Value
		}
		if !covers {
			return false
		}
		then, _ := p.StateOf(a, bits, o.curve(), r.from)
		return o.fipsState(p, now) == fips.Approved && then != fips.Approved
	case "Digital Signature Algorithm":
		return o.signature() != 0 && o.signature().String() == r.Value
	case "Hashing Algorithm":
		return o.names(r.Value)
	}
	return false
}

// names tells whether the object's Cryptographic Parameters name a hash.
func (o object) names(hash string) bool {
	for _, a := range o.Attributes {
		var p kmip.CryptographicParameters
		if a.Name != "Cryptographic Parameters" || p.Decode(a.Value) != nil {
			continue
		}
		if p.HashingAlgorithm != 0 && p.HashingAlgorithm.String() == hash ||
			p.MaskGeneratorHashingAlgorithm != 0 && p.MaskGeneratorHashingAlgorithm.String() == hash {
			return true
		}
	}
	return false
}

// releaseClass is how far the material of an object may leave: by its attributes, and no further than the release policy of
// the server and its owner's group lets it.
func (s *Store) releaseClass(o object) Release {
	if !o.bears() {
		return "" // public
	}
	class := ReleaseClear
	if v := o.get("Extractable"); !v.IsZero() && !v.Bool() {
		class = ReleaseNone
	} else if o.flag("Sensitive") {
		class = ReleaseWrapped
	}
	if r := s.releaseOf(&kmip.Call{Caller: kmip.Caller{Client: o.Owner}}); r.rank() < class.rank() {
		class = r
	}
	return class
}
