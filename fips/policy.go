// Package fips decides which algorithms, lengths, parameters and formats a server may use. A Policy is data: one table to
// read (tables.go). It decides and does nothing else; the keystore asks it on every path.
package fips

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"kmipd/kmip"
)

// Policy is a named set of rules, or several that all must allow. It is immutable and safe for concurrent use.
type Policy struct {
	name   string
	tables []*table
	limits Limits
	left   []Narrowing // what operators left of it
}

// Switch is a named exception from a policy or a named option of it. Every switch that is on stands in the evidence.
type Switch string

// The switches.
const (
	AllowECB         Switch = "allow-ecb"        // fips140: encrypt in ECB mode (SP 800-38A allows it)
	AllowClientIV    Switch = "client-iv"        // take IVs for CBC and CTR from clients, who answer for their randomness
	LegacyImport     Switch = "legacy-import"    // fips140: register keys that only process what exists already
	CNSA2Transition  Switch = "cnsa2-transition" // cnsa2: the algorithms of CNSA 1.0 until the end of 2031
	AllowOtherObject Switch = "other-objects"    // suiteb*: also keep Secret Data and Opaque Objects, outside of the profile
)

// Switches are all of them.
func Switches() []Switch {
	return []Switch{AllowECB, AllowClientIV, LegacyImport, CNSA2Transition, AllowOtherObject}
}

// of are the names of the policies that a switch is for.
func (s Switch) of() []string {
	switch s {
	case AllowECB, LegacyImport:
		return []string{"fips140"}
	case AllowClientIV:
		return Names()[1:]
	case CNSA2Transition:
		return []string{"cnsa2"}
	case AllowOtherObject:
		return []string{"suiteb128", "suiteb192"}
	}
	return nil
}

// Options are what an operator decides about a policy.
type Options struct {
	Switches []Switch
	// Clock tells when a dated rule begins; nil for time.Now.
	Clock func() time.Time
}

// Names are the names of the policies, from the least strict on.
func Names() []string {
	return []string{defaultName, "fips140", "suiteb128", "suiteb192", "cnsa1", "cnsa2"}
}

// Default is the policy of a server that is not in a strict mode.
func Default() *Policy { return policyOf(defaultName, legacyClients()) }

const defaultName = "default"

// ByName is the policy of a name without options, and an error that lists the names for another.
func ByName(name string) (*Policy, error) { return New(name, Options{}) }

// New is the policy of a name. Errors: an unknown name or switch, and a switch that the policy has no use for.
func New(name string, o Options) (*Policy, error) {
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("%q is none of %s", name, strings.Join(Names(), ", "))
	}
	on := func(s Switch) bool { return slices.Contains(o.Switches, s) }
	for _, s := range o.Switches {
		if !slices.Contains(Switches(), s) {
			return nil, fmt.Errorf("the switch %q is none of %s", s, strings.Join(text(Switches()), ", "))
		}
		if !slices.Contains(s.of(), name) {
			return nil, fmt.Errorf("the switch %q is of no use to the policy %s, only to %s", s, name, strings.Join(s.of(), ", "))
		}
	}
	var t *table
	switch name {
	case defaultName:
		t = legacyClients()
	case "fips140":
		t = fips140()
	case "suiteb128":
		t = suiteB(name, suiteb, column1, column2)
	case "suiteb192":
		t = suiteB(name, suiteb, column2)
	case "cnsa1":
		t = cnsa1(name, cnssp)
	case "cnsa2":
		t = cnsa2(on(CNSA2Transition))
	}
	t.clock = o.Clock
	if name == defaultName {
		return policyOf(name, t), nil
	}
	t.switches = o.Switches
	t.limits.ClientIV = on(AllowClientIV)
	if on(AllowECB) && name == "fips140" {
		for i, r := range t.modes {
			if r.value == kmip.BlockCipherModeECB {
				t.modes[i].uses = ciphering
			}
		}
	}
	if on(AllowOtherObject) && t.objects != nil {
		for _, k := range []kmip.ObjectType{kmip.ObjectTypeSecretData, kmip.ObjectTypeOpaqueObject} {
			t.objects = append(t.objects, row[kmip.ObjectType]{k, terms{uses: making, source: "operator"}})
		}
		t.formats = append(t.formats, row[kmip.KeyFormatType]{kmip.KeyFormatTypeOpaque, terms{uses: everything, source: "operator"}})
	}
	return policyOf(name, t), nil
}

// Nothing is the policy that refuses everything: for a listener or group that the configuration has lost.
func Nothing(name string) *Policy {
	return policyOf(name, &table{name: name, keys: []keyRow{}, curves: []row[kmip.RecommendedCurve]{}, hashes: []row[kmip.HashingAlgorithm]{},
		modes: []row[kmip.BlockCipherMode]{}, paddings: []row[kmip.PaddingMethod]{}, signatures: []row[kmip.DigitalSignatureAlgorithm]{},
		derivations: []row[kmip.DerivationMethod]{}, formats: []row[kmip.KeyFormatType]{}, objects: []row[kmip.ObjectType]{}, pairs: []pair{}})
}

func text(list []Switch) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return out
}

func policyOf(name string, tables ...*table) *Policy {
	p := &Policy{name: name, tables: tables}
	for i, t := range tables {
		if i == 0 {
			p.limits = t.limits
			continue
		}
		p.limits = p.limits.and(t.limits)
	}
	return p
}

// And is the policy that allows what both allow: a listener or group is never laxer than its server. nil stands for a
// policy that has nothing to say.
func (p *Policy) And(q *Policy) *Policy {
	if q == nil || p == q {
		return p
	}
	var names []string
	var tables []*table
	strict := p.Strict() || q.Strict()
	for _, t := range slices.Concat(p.tables, q.tables) {
		same := func(o *table) bool {
			return o.name == t.name && slices.Equal(o.switches, t.switches) && t.name != narrowName
		}
		if strict && t.name == defaultName || slices.ContainsFunc(tables, same) {
			continue
		}
		tables = append(tables, t)
		if t.name != narrowName && !slices.Contains(names, t.name) {
			names = append(names, t.name)
		}
	}
	return policyOf(strings.Join(names, "+"), tables...)
}

// Name is the policy's name; of a joint one, all names.
func (p *Policy) Name() string { return p.name }

// Strict tells whether it is any policy but the default one.
func (p *Policy) Strict() bool {
	return slices.ContainsFunc(p.tables, func(t *table) bool { return t.name != defaultName && t.name != narrowName })
}

// Limits are its numbers and manners.
func (p *Policy) Limits() Limits { return p.limits }

// Has tells whether a switch is on in every strict part.
func (p *Policy) Has(s Switch) bool {
	return !slices.ContainsFunc(p.tables, func(t *table) bool { return t.name != narrowName && !slices.Contains(t.switches, s) })
}

// Switches are those that are on in some part.
func (p *Policy) Switches() []Switch {
	var out []Switch
	for _, t := range p.tables {
		for _, s := range t.switches {
			if !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return out
}

func (l Limits) and(m Limits) Limits {
	l.Hash = max(l.Hash, m.Hash) // SHA-256, 384 and 512 stand in this order: the joint policy allows the longer one, if any
	l.ClientIV = (l.ClientIV || !l.ServerIV) && (m.ClientIV || !m.ServerIV)
	l.ServerIV = l.ServerIV || m.ServerIV
	l.GCMUses = min(orMany(l.GCMUses), orMany(m.GCMUses)) % many
	l.SameMGF = l.SameMGF || m.SameMGF
	l.ShortSalt = l.ShortSalt || m.ShortSalt
	l.HMACBits = max(l.HMACBits, m.HMACBits)
	l.DeriveBits = max(l.DeriveBits, m.DeriveBits)
	l.OutputBits = max(l.OutputBits, m.OutputBits)
	l.Salt = max(l.Salt, m.Salt)
	l.Iterations = max(l.Iterations, m.Iterations)
	l.Password = max(l.Password, m.Password)
	l.NoPlainWrapping = l.NoPlainWrapping || m.NoPlainWrapping
	l.Strength = max(l.Strength, m.Strength)
	l.Columns = l.Columns || m.Columns
	l.Exponents = l.Exponents || m.Exponents
	l.X509Only = l.X509Only || m.X509Only
	return l
}

const many = 64

func orMany(n int) int {
	if n == 0 {
		return many
	}
	return n
}

func (t *table) now() time.Time {
	if t.clock == nil {
		return time.Now()
	}
	return t.clock()
}

// allowed tells whether terms hold for a use now.
func (t *table) allowed(x terms, use Use) bool {
	uses, legacy := x.allows(t.now())
	return uses.Has(use) || legacy.Has(use) && (use != Import || slices.Contains(t.switches, LegacyImport))
}

// refusal is the error for a value that a policy does not allow. Keys that exist are Permission Denied in strict policies, a
// parameter or a new key is Invalid Field (profiles.md section 5).
func (t *table) refusal(use Use, ofKey bool, format string, args ...any) error {
	reason := kmip.ResultReasonInvalidField
	if ofKey && t.name != defaultName && !making.Has(use) {
		reason = kmip.ResultReasonPermissionDenied
	}
	return refused(t.name, reason, format, args...)
}

// Refuse is a refusal by a rule that the caller applied: the message is the rule with the policy's name behind it.
func (p *Policy) Refuse(reason kmip.ResultReason, format string, args ...any) error {
	return refused(p.name, reason, format, args...)
}

func refused(policy string, reason kmip.ResultReason, format string, args ...any) error {
	rule := fmt.Sprintf(format, args...)
	return kmip.Errorf(reason, "%s by policy %s", rule, policy).Because(&Refused{policy, rule})
}

// Refused is the cause of a refusal by a policy, for logs and reports.
type Refused struct{ policy, rule string }

func (e *Refused) Error() string { return "policy " + e.policy }

// Refusal names the policy and the rule in words. The source stands in the rows of the policy.
func (e *Refused) Refusal() (policy, rule, source string) { return e.policy, e.rule, "" }

// Allow tells whether a key of the algorithm and length (bits) may be used so. The refusal names the policy and the field:
// Invalid Field for a new key, Permission Denied for the use of one that exists (Invalid Field in the default policy).
func (p *Policy) Allow(use Use, algorithm kmip.CryptographicAlgorithm, bits int) error {
	for _, t := range p.tables {
		if err := t.allow(use, algorithm, bits); err != nil {
			return err
		}
	}
	return nil
}

func (t *table) allow(use Use, algorithm kmip.CryptographicAlgorithm, bits int) error {
	if t.keys == nil {
		return nil
	}
	known, old, none := false, false, true
	for _, r := range t.keys {
		if r.algorithm != algorithm {
			continue
		}
		none = false
		switch {
		case !(r.uses | r.legacy).Has(use):
		case !r.fits(bits):
			known = true
		case t.allowed(r.terms, use):
			return nil
		case r.uses.Has(use):
			return t.refusal(use, true, "Cryptographic Algorithm %s with Cryptographic Length %d is not allowed since %s", algorithm, bits, r.until.Format(time.DateOnly))
		default:
			old = true // an old key, without leave to take those in
		}
	}
	if t.rest && none {
		return nil
	}
	if t.open && (use == Import || use == Derive) {
		return nil // odd lengths of known algorithms too: they are stored as generic secrets
	}
	if old {
		return t.refusal(use, true, "Cryptographic Algorithm %s with Cryptographic Length %d is not allowed without the switch %s", algorithm, bits, LegacyImport)
	}
	if known {
		return t.refusal(use, true, "Cryptographic Length %d is not allowed for %s", bits, algorithm)
	}
	return t.refusal(use, true, "Cryptographic Algorithm %s is not allowed", algorithm)
}

func (r keyRow) fits(bits int) bool {
	return bits >= r.min && (r.max == 0 || bits <= r.max) && (r.step == 0 || (bits-r.min)%r.step == 0)
}

// AllowHash tells whether a hash function may be used so: with a key, or alone (Digest). The refusal is an Invalid Field
// that names the policy and the field.
func (p *Policy) AllowHash(use Use, hash kmip.HashingAlgorithm) error {
	for _, t := range p.tables {
		if !holds(t, t.hashes, use, hash) {
			return t.refusal(use, false, "Hashing Algorithm %s is not allowed here", hash)
		}
	}
	return nil
}

// AllowPair tells whether signatures of an elliptic curve key of so many bits may have this hash. Suite B joins P-256
// with SHA-256 and P-384 with SHA-384.
func (p *Policy) AllowPair(use Use, bits int, hash kmip.HashingAlgorithm) error {
	for _, t := range p.tables {
		if t.pairs != nil && !slices.Contains(t.pairs, pair{bits, hash}) {
			return t.refusal(use, false, "Hashing Algorithm %s with a key of %d bits is not allowed", hash, bits)
		}
	}
	return nil
}

// AllowCurve tells whether a key on a curve may be used so.
func (p *Policy) AllowCurve(use Use, curve kmip.RecommendedCurve) error {
	for _, t := range p.tables {
		if !holds(t, t.curves, use, curve) {
			if curve == 0 {
				return t.refusal(use, true, "a Recommended Curve that has no name or is not told is not allowed")
			}
			return t.refusal(use, true, "Recommended Curve %s is not allowed", curve)
		}
	}
	return nil
}

// AllowMode tells whether a Block Cipher Mode may be used so.
func (p *Policy) AllowMode(use Use, mode kmip.BlockCipherMode) error {
	for _, t := range p.tables {
		if !holds(t, t.modes, use, mode) {
			return t.refusal(use, false, "Block Cipher Mode %s is not allowed to %s", mode, use)
		}
	}
	return nil
}

// AllowPadding tells whether a Padding Method may be used so.
func (p *Policy) AllowPadding(use Use, padding kmip.PaddingMethod) error {
	for _, t := range p.tables {
		if !holds(t, t.paddings, use, padding) {
			return t.refusal(use, false, "Padding Method %s is not allowed to %s", padding, use)
		}
	}
	return nil
}

// AllowSignature tells whether a certificate, a request for one or a revocation list may have a signature of this
// algorithm: Sign to make it, Verify to rely on it, Import to keep it.
func (p *Policy) AllowSignature(use Use, a kmip.DigitalSignatureAlgorithm) error {
	for _, t := range p.tables {
		ask := use
		if use == Import {
			if holds(t, t.signatures, Verify, a) && !t.onlyLegacy(t.signatures, a) {
				continue
			}
		}
		if !holds(t, t.signatures, ask, a) {
			return t.refusal(use, false, "Digital Signature Algorithm %s is not allowed", a)
		}
	}
	return nil
}

func (t *table) onlyLegacy(rows []row[kmip.DigitalSignatureAlgorithm], a kmip.DigitalSignatureAlgorithm) bool {
	for _, r := range rows {
		if r.value == a {
			uses, _ := r.allows(t.now())
			return uses == 0
		}
	}
	return false
}

// AllowDerivation tells whether keys may be derived so.
func (p *Policy) AllowDerivation(m kmip.DerivationMethod) error {
	for _, t := range p.tables {
		if !holds(t, t.derivations, Derive, m) {
			return t.refusal(Derive, false, "Derivation Method %s is not allowed", m)
		}
	}
	return nil
}

// AllowFormat tells whether a key may come or go in a Key Format Type. The refusal is Key Format Type Not Supported.
func (p *Policy) AllowFormat(f kmip.KeyFormatType) error {
	for _, t := range p.tables {
		if !holds(t, t.formats, Import, f) {
			return refused(t.name, kmip.ResultReasonKeyFormatTypeNotSupported, "Key Format Type %s is not allowed", f)
		}
	}
	return nil
}

// AllowObject tells whether objects of a type may be made or taken in.
func (p *Policy) AllowObject(use Use, o kmip.ObjectType) error {
	for _, t := range p.tables {
		if !holds(t, t.objects, use, o) {
			return t.refusal(use, false, "Object Type %s is not allowed", o)
		}
	}
	return nil
}

func holds[T comparable](t *table, rows []row[T], use Use, v T) bool {
	return rows == nil || slices.ContainsFunc(rows, func(r row[T]) bool { return r.value == v && t.allowed(r.terms, use) }) ||
		t.rest && !hasRow(rows, v)
}

func hasRow[T comparable](rows []row[T], v T) bool {
	return slices.ContainsFunc(rows, func(r row[T]) bool { return r.value == v })
}

// AllowWrapping tells whether a key may be wrapped under another: by strength and column. weaker tells that the wrapping
// is the weaker one of the two where the policy does not mind, for the log.
func (p *Policy) AllowWrapping(wrapper kmip.CryptographicAlgorithm, wrapperBits int, key kmip.CryptographicAlgorithm, keyBits int) (weaker bool, err error) {
	have, want := SecurityStrength(wrapper, wrapperBits), SecurityStrength(key, keyBits)
	weaker = want > have
	switch {
	case weaker && p.limits.Strength == StrengthRefused:
		return true, p.Refuse(kmip.ResultReasonPermissionDenied,
			"a wrapping key of %d bits of strength for a key of %d bits is not allowed", have, want)
	case p.limits.Columns && want != 0 && (have >= 192) != (want >= 192):
		return weaker, p.Refuse(kmip.ResultReasonPermissionDenied, "a wrapping key and a key of different Suite B columns are not allowed")
	}
	return weaker && p.limits.Strength != StrengthAny, nil
}

// SecurityStrength is the strength of a key in bits (NIST SP 800-57 part 1 r5 section 5.6.1); 0 where there is none to
// speak of.
func SecurityStrength(a kmip.CryptographicAlgorithm, bits int) int {
	switch a {
	case kmip.CryptographicAlgorithmAES:
		return bits
	case kmip.CryptographicAlgorithmDES3:
		if bits >= 168 {
			return 112
		}
		return 80
	case kmip.CryptographicAlgorithmRSA, kmip.CryptographicAlgorithmDSA, kmip.CryptographicAlgorithmDH:
		for _, s := range []struct{ bits, strength int }{{15360, 256}, {7680, 192}, {3072, 128}, {2048, 112}, {1024, 80}} {
			if bits >= s.bits {
				return s.strength
			}
		}
	case kmip.CryptographicAlgorithmEC, kmip.CryptographicAlgorithmECDSA, kmip.CryptographicAlgorithmECDH:
		return min(bits/2, 256)
	case kmip.CryptographicAlgorithmEd25519:
		return 128
	case kmip.CryptographicAlgorithmEd448:
		return 224
	case kmip.CryptographicAlgorithmHMACSHA1, kmip.CryptographicAlgorithmHMACSHA224, kmip.CryptographicAlgorithmHMACSHA256,
		kmip.CryptographicAlgorithmHMACSHA384, kmip.CryptographicAlgorithmHMACSHA512:
		return min(bits, 256)
	}
	return 0
}
