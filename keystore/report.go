package keystore

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/keystore/evidence"
	"kmipd/kmip"
)

// ReportConfig is about evidence reports.
type ReportConfig struct {
	// Dir is where all reports go, so that the chain of them is whole there, and the newest Keep of them stay; "" for nowhere.
	// One is made every Interval; 0: on demand alone.
	Dir      string
	Interval time.Duration
	Keep     int
	// Ready is closed when the server serves: reports by schedule begin then. nil: at once.
	Ready <-chan struct{}
	// Server is the program; Library the path of the PKCS#11 module and LibrarySHA256 its hash, "" if unknown.
	Server                 evidence.Server
	Library, LibrarySHA256 string
	// RNG is the token's generator as the operator describes it; nil: unspecified.
	RNG *kmip.RNGParameters
	// Complete adds what this package cannot know: TLS, counters, refusals, deviations of the wiring; nil where no server
	// runs. It is called on the goroutine that reports.
	Complete func(*evidence.Document)
}

// EvidenceReport is a signed report in both forms.
type EvidenceReport struct {
	JSON    []byte           `json:"json"`
	HTML    []byte           `json:"html"`
	Serial  uint64           `json:"serial"`
	Verdict evidence.Verdict `json:"verdict"`
	// Unsigned is why it has no signature; "" for a signed one.
	Unsigned string `json:"unsigned,omitempty"`
}

// settingReport holds the end of the chain of reports.
const settingReport = "evidence-report"

// reportEnd is the last report.
type reportEnd struct {
	Serial    uint64    `json:"serial"`
	SHA256    string    `json:"sha256"` // of the document
	Generated time.Time `json:"generated"`
}

// MakeReport collects the facts, signs them and chains the report to the one before. It walks all records: never on the way of a
// request. One report is made at a time. In the error state, in which the token signs nothing, and when the key is not as recorded,
// the report is not signed, says so, and is chained all the same. Without a token there is none.
func (s *Store) MakeReport(ctx context.Context) (*EvidenceReport, error) {
	select {
	case s.reports <- struct{}{}:
		defer func() { <-s.reports }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	last, err := s.lastReport(ctx)
	if err != nil {
		return nil, err
	}
	var signer evidence.Signer
	unsigned := ""
	if s.token != nil && s.inOrder() != nil {
		unsigned = "the server is in the error state, in which the token signs nothing"
	} else {
		signer, err = s.evidenceSigner(ctx)
		switch {
		case errors.Is(err, errAuditKey):
			signer, unsigned = nil, errAuditKey.Error()
		case err != nil:
			return nil, fmt.Errorf("keystore: the key that signs reports: %w", err)
		}
	}
	d := s.document(ctx, last) // after the key was made: it is among the keys
	env, sum, err := evidence.Seal(d, signer, unsigned)
	if err != nil {
		return nil, fmt.Errorf("keystore: %w", err)
	}
	out := &EvidenceReport{Serial: d.Serial, Verdict: d.Verdict, Unsigned: unsigned}
	if out.JSON, err = env.Encode(); err == nil {
		out.HTML, err = evidence.Page(env, signer)
	}
	if err != nil {
		return nil, fmt.Errorf("keystore: %w", err)
	}
	// In the directory before it is in the chain: where the disk is full there is no gap, and after a crash between the two the
	// next report takes the number and the file.
	if err := s.fileReport(out); err != nil {
		return nil, err
	}
	end, err := json.Marshal(reportEnd{d.Serial, sum, d.Generated})
	if err == nil {
		e := ofServer("evidence report")
		e.Facts = append(e.Facts, fact("serial", strconv.FormatUint(d.Serial, 10)), fact("sha256", sum), fact("compliant", strconv.FormatBool(d.Verdict.Compliant)))
		err = s.meta.SetSetting(ctx, settingReport, end, true, s.payload(e, nil))
	}
	if err != nil {
		return nil, fmt.Errorf("keystore: chaining the report: %w", err)
	}
	s.log.Info().Uint64("serial", d.Serial).Str("sha256", sum).Bool("compliant", d.Verdict.Compliant).Bool("signed", signer != nil).Msg("evidence report")
	return out, nil
}

// lastReport is the end of the chain; zero before the first report.
func (s *Store) lastReport(ctx context.Context) (reportEnd, error) {
	var last reportEnd
	stored, err := s.meta.Setting(ctx, settingReport)
	if isNotFound(err) {
		return last, nil
	}
	if err == nil {
		err = json.Unmarshal(stored, &last)
	}
	if err != nil {
		return last, fmt.Errorf("keystore: reading the chain of reports: %w", err)
	}
	return last, nil
}

// reportRest is what a report keeps of its time for what comes after the inventory.
const reportRest = time.Minute

// censusTime ends so long before ctx that a report whose inventory takes too long is still made, with what was counted.
func censusTime(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, end.Add(-min(reportRest, time.Until(end)/2)))
}

// document collects the facts.
func (s *Store) document(ctx context.Context, last reportEnd) *evidence.Document {
	now := s.cfg.Clock().UTC()
	d := &evidence.Document{Schema: evidence.Schema, Generated: now, Serial: last.Serial + 1, PreviousSHA256: last.SHA256,
		Server: s.cfg.Report.Server, Policies: s.reportPolicies(), Refusals: []evidence.Refusal{}, Deviations: []evidence.Deviation{},
		Unknown: []evidence.Missing{}, Clock: evidence.Clock{Source: "the system clock, UTC", Time: now}}
	if last.Serial > 0 {
		d.Clock.Previous, d.Clock.Behind = &last.Generated, now.Before(last.Generated)
	}
	s.reportModules(d, now)
	s.reportTests(d)
	within, cancel := censusTime(ctx)
	defer cancel()
	var err error
	if d.Keys, d.Sunset, err = s.Census(within, nil); err != nil {
		d.Miss("keys", fmt.Sprintf("the inventory was cut short after %d objects: %v", d.Keys.Objects, err))
	}
	if head, err := s.meta.AuditHead(ctx); err != nil {
		d.Miss("audit", "the audit trail cannot be read: "+err.Error())
	} else {
		d.Audit = &evidence.Audit{Sequence: head.Seq, Hash: hex.EncodeToString(head.Hash[:])}
	}
	s.deviations(d)
	if s.cfg.Report.Complete != nil {
		s.cfg.Report.Complete(d)
	}
	if d.TLS == nil {
		d.Miss("tls", "no server runs")
	}
	if d.Counters == nil {
		d.Miss("counters", "no server runs")
	} else {
		d.Counters.Legacy, d.Counters.Approved = s.legacy.split(d.Counters.Approved)
	}
	d.Judge()
	return d
}

// reportPolicies are the policies in force: the server's, and what each listener and group makes of it.
func (s *Store) reportPolicies() []evidence.Policy {
	row := func(what, name string, p *fips.Policy, r Release) evidence.Policy {
		return evidence.Policy{For: what, Name: name, Policy: p.Name(), Fingerprint: p.Fingerprint(), Release: string(r), Rules: p.Rules(),
			Limits: p.Limits(), Switches: append([]fips.Switch{}, p.Switches()...)}
	}
	release := func(p *fips.Policy) Release {
		if s.cfg.Release != "" {
			return s.cfg.Release
		}
		return DefaultRelease(p)
	}
	out := []evidence.Policy{row("server", "", s.policy, release(s.policy))}
	for _, name := range sortedKeys(s.cfg.Listeners) {
		p := s.policy.And(s.cfg.Listeners[name])
		out = append(out, row("listener", name, p, release(p)))
	}
	for _, name := range sortedKeys(s.cfg.Groups) {
		g := s.cfg.Groups[name]
		p := s.policy.And(g.Policy)
		r := release(p)
		if g.Release != "" && g.Release.rank() < r.rank() {
			r = g.Release
		}
		out = append(out, row("group", name, p, r))
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// moduleCertificate is the validation of Go's module; nil when its version has none.
func moduleCertificate(m fips.Module, now time.Time) *evidence.Certificate {
	c := m.Certificate
	if c == nil {
		return nil
	}
	out := &evidence.Certificate{Authority: "NIST CMVP", Number: c.Number, Standard: c.Standard, Level: c.Level, Algorithm: c.Algorithm,
		Status: c.Status, Sunset: day(c.Sunset), Source: "kmipd's list"}
	if out.Status == evidence.StatusActive && !m.Certified(now) {
		out.Status = "historical" // its sunset has passed
	}
	return out
}

// tokenCertificate is the validation that covers the token; nil when none does.
func tokenCertificate(m fips.TokenMatch, now time.Time) *evidence.Certificate {
	c := m.Certificate
	if c == nil {
		return nil
	}
	return &evidence.Certificate{Authority: "NIST CMVP", Number: c.Number, Standard: "FIPS " + c.Standard, Level: c.Level,
		Status: c.StatusAt(now), Sunset: day(c.Sunset), Source: "the operator"}
}

func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.DateOnly)
}

// reportModules fills in both cryptographic modules.
func (s *Store) reportModules(d *evidence.Document, now time.Time) {
	m := s.cfg.Evidence.Module
	if m.Version == "" {
		d.Miss("go_module", "it was not looked at")
	} else {
		d.GoModule = &evidence.GoModule{Enabled: m.Enabled, Enforced: m.Enforced, Version: m.Version, Built: m.Build, Default: m.Default,
			GODEBUG: m.GODEBUG, Platform: m.Platform, Certificate: moduleCertificate(m, now)}
	}
	if s.token == nil {
		d.Miss("token", "it is not open")
		return
	}
	info := s.token.Info()
	id, match := info.Identity, s.tokenMatch()
	t := &evidence.Token{Library: s.cfg.Report.Library,
		LibrarySHA256: orUnknown(d, "token.library_sha256", s.cfg.Report.LibrarySHA256, "the file of the module cannot be read"),
		LibraryInfo:   info.Library, Manufacturer: info.Manufacturer, Model: info.Model, Firmware: info.Firmware, Hardware: id.HardwareVersion,
		Serial: info.Serial, Label: info.Label, SlotFlags: id.SlotFlags, TokenFlags: id.TokenFlags, Uses: offered(info.Capabilities),
		Certificate: tokenCertificate(match, now), Unvalidated: append([]string{}, match.Unvalidated...),
		Warnings: append(append([]string{}, match.Faults...), match.Warnings...), Enforces: []evidence.Enforced{}}
	for _, c := range id.Mechanisms {
		t.Mechanisms = append(t.Mechanisms, evidence.Mechanism{Name: hsm.MechanismName(c.Code), MinKey: c.MinKey, MaxKey: c.MaxKey, Flags: c.Flags})
	}
	d.Token = t
	d.RNG = evidence.RNG{Source: "the token", DRBG: evidence.Unknown, Health: evidence.Unknown}
	if rng := s.cfg.Report.RNG; rng != nil {
		d.RNG.DRBG = describeRNG(rng) + ", as configured"
	} else {
		d.Miss("rng.drbg", "token_rng is not set, and a token does not tell")
	}
}

func orUnknown(d *evidence.Document, what, value, why string) string {
	if value == "" {
		d.Miss(what, why)
		return evidence.Unknown
	}
	return value
}

// offered is what the server uses of the token, in words.
func offered(c hsm.Capabilities) []string {
	out := []string{}
	for _, m := range c.Mechanisms() {
		out = append(out, string(m))
	}
	return out
}

// reportTests fills in the self-tests.
func (s *Store) reportTests(d *evidence.Document) {
	if s.guard == nil {
		d.Miss("self_tests", "the token is not open")
		return
	}
	h := s.Health()
	d.Pairwise = &evidence.Pairwise{Count: h.Pairs.Tested, Failures: h.Pairs.Failed}
	if h.ErrorState != nil {
		d.ErrorState = &evidence.ErrorState{Text: h.ErrorState.Text, Since: h.ErrorState.At}
	}
	r := h.Last
	if r == nil {
		d.Miss("self_tests", "none were run since the start")
		d.Miss("rng.health", "no self-tests were run since the start")
		return
	}
	t := &evidence.SelfTest{Reason: r.Reason, At: r.At, TookMS: r.Took.Milliseconds(), Passed: r.Passed(), Results: []evidence.TestResult{},
		Blocked: []string{}}
	for _, x := range r.Results {
		t.Results = append(t.Results, evidence.TestResult{Mechanism: string(x.Mechanism), Name: x.Test, Result: string(x.Outcome),
			At: x.At, TookUS: x.Took.Microseconds()})
		if x.Mechanism == hsm.MechanismRNG {
			d.RNG.Health = string(x.Outcome) + " at the last self-test; repeated blocks are looked for at each use"
		}
	}
	for _, b := range h.Blocked {
		t.Blocked = append(t.Blocked, string(b.Mechanism))
	}
	if s.drift.compared() || len(h.Drifted) > 0 {
		t.Drifted = []string{}
	} else {
		d.Miss("self_tests.drifted", "the flags of all keys have not been compared since the start")
	}
	for _, x := range h.Drifted {
		t.Drifted = append(t.Drifted, x.UID)
	}
	for _, x := range r.Refusals {
		d.Token.Enforces = append(d.Token.Enforces, evidence.Enforced{What: x.Name, Enforced: x.Enforced})
	}
	d.SelfTests = t
}

// deviations are those that this package knows of.
func (s *Store) deviations(d *evidence.Document) {
	for _, p := range d.Policies {
		where := strings.TrimSpace(p.For + " " + p.Name)
		for _, sw := range p.Switches {
			d.Deviate("switch "+string(sw), "it is on for the "+where)
		}
		if p.Release == string(ReleaseClear) && p.Policy != "default" {
			d.Deviate("plaintext-get", "keys may leave in clear over TLS for the "+where+" (release clear)")
		}
	}
	if s.policy.Strict() {
		d.Deviate("D-3DES", "3DES is not made and does not protect, which the KMIP symmetric key profiles ask for (NIST SP 800-131A r2)")
	}
	for _, a := range s.cfg.Evidence.Allowed {
		d.Deviate(a, "the exception is set")
	}
	if s.cfg.AllowWeakerPolicy {
		d.Deviate("allow_weaker_policy", "the setting is on: a start under a weaker policy is not refused")
	}
	if s.cfg.Credentials == CredentialsEnrol {
		d.Deviate("credentials-enrol", "unknown credentials of clients are registered at their first use")
	}
	if s.policy.Allow(fips.Sign, kmip.CryptographicAlgorithmECDSA, 384) != nil {
		d.Deviate("D-EVIDENCE-ECDSA", "this report is signed with ECDSA on P-384, which policy "+s.policy.Name()+
			" does not give to clients; KMIP 1.4 and PKCS#11 tokens have no ML-DSA yet")
	}
	if s.token != nil {
		composed(d, s.token.Info().Capabilities)
	}
}

// composed names what the server does together with the token.
func composed(d *evidence.Document, c hsm.Capabilities) {
	say := func(is bool, text string) {
		if is {
			d.Deviate("composed", text)
		}
	}
	has := func(x hsm.Composition) bool { return slices.Contains(c.Composed, x) }
	say(has(hsm.CompositionECBPad), "ECB with padding: the server pads, the token encrypts")
	say(has(hsm.CompositionOAEP) || len(c.OAEPComposed) > 0,
		"RSA OAEP: the server pads, the token does RSA alone; a key that is wrapped so passes the server's memory")
	say(has(hsm.CompositionPSS), "RSA PSS: the server pads and verifies, the token does RSA alone")
	say(has(hsm.CompositionMovedKey), "HMAC with a key of another type: the server has the token wrap it and unwrap it as an HMAC key")
	say(has(hsm.CompositionFilledKey), "HMAC with a short key: its value is filled with zeros, and passes the server's memory, on its way to the token")
	say(c.KWPComposed, "AES key wrap with padding of odd lengths: the server does it over the token's AES; the key passes its memory")
}
