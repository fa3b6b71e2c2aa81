package keystore

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/keystore/audit"
	"kmipd/kmip"
)

// The mechanisms that this package composes and its self-tests test. A blocked one is refused like a blocked mechanism of
// the token.
const (
	kdfPBKDF2 hsm.Mechanism = "KDF-PBKDF2"
	kdf108All hsm.Mechanism = "KDF-SP800-108"
)

// SelfTest runs all self-tests on the token (see hsm.Guard), and has the flags of all keys compared again. reason is start,
// schedule, login or demand. A report that has not Passed is no error.
func (s *Store) SelfTest(ctx context.Context, reason string) (*hsm.Report, error) {
	r, err := s.guard.SelfTest(ctx, reason, kdfTests()...)
	if err != nil {
		return nil, fmt.Errorf("keystore: self-test: %w", err)
	}
	e := s.log.Info()
	if !r.Passed() {
		e = s.log.Error()
	}
	e.Str("reason", reason).Int("passed", r.Count(hsm.OutcomePassed)).Int("failed", r.Count(hsm.OutcomeFailed)).
		Int("unfinished", r.Count(hsm.OutcomeUnfinished)).Int("not_offered", r.Count(hsm.OutcomeNotOffered)).Dur("took", r.Took).Msg("self-test")
	for _, x := range r.Results {
		if x.Outcome == hsm.OutcomeFailed || x.Outcome == hsm.OutcomeUnfinished {
			s.event("self-test "+string(x.Outcome), fmt.Sprintf("%s, %s: %s", x.Mechanism, x.Test, x.Detail))
		}
	}
	for _, x := range r.Refusals {
		if !x.Enforced {
			s.log.Debug().Str("what", x.Name).Msg("the token does not refuse this; the server's policy may")
		}
	}
	s.drift.forget()
	select {
	case s.drift.again <- struct{}{}:
	default:
	}
	return r, nil
}

// event tells what an auditor must learn: the one place that self-tests, blocks, the error state and drift report to.
func (s *Store) event(kind, text string) {
	s.log.Error().Str("event", kind).Msg(text)
	e := ofServer(kind)
	e.Outcome, e.Message = audit.Failure, text
	s.trail.note(s.payload(e, nil))
}

func (s *Store) guardEvent(e hsm.Event) {
	if e.Kind == hsm.EventUnblocked {
		s.log.Warn().Str("event", string(e.Kind)).Msg(e.Text)
		unblocked := ofServer(string(e.Kind))
		unblocked.Message = e.Text
		s.trail.note(s.payload(unblocked, nil))
		return
	}
	s.event(string(e.Kind), e.Text)
}

// keepTested runs the self-tests on schedule (interval 0: none) and after each login, for which the calls of clients wait.
func (s *Store) keepTested(ctx context.Context, interval time.Duration) {
	var tick <-chan time.Time
	if interval > 0 {
		t := time.NewTicker(interval)
		defer t.Stop()
		tick = t.C
	}
	test := func(reason string) (finished bool) {
		within, cancel := context.WithTimeout(ctx, selfTestTimeout)
		defer cancel()
		r, err := s.SelfTest(within, reason)
		if err != nil && ctx.Err() == nil {
			s.event("self-test unfinished", err.Error())
		}
		return err == nil && r.Count(hsm.OutcomeUnfinished) == 0
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-tick:
			test("schedule")
		case <-s.guard.Relogin():
			if test("login") {
				continue
			}
			// A token that is still coming back is asked again, but not at once.
			select {
			case <-ctx.Done():
			case <-time.After(reloginPause):
			}
		}
	}
}

// keepCompared compares the flags of all keys after each self-test.
func (s *Store) keepCompared(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.drift.again:
			s.compareAll(ctx)
		}
	}
}

const (
	selfTestTimeout = 5 * time.Minute // a token behind a slow network takes seconds
	reloginPause    = 5 * time.Second
)

// Health is what the self-tests and the comparison of flags know, for reports.
type Health struct {
	hsm.Status
	Drifted []Drift `json:"drifted"`
}

// Health may be called at any time.
func (s *Store) Health() Health { return Health{s.guard.Status(), s.drift.list()} }

// inOrder refuses everything in the error state. Query and Discover Versions do not ask.
func (s *Store) inOrder() error {
	return toKMIP(s.guard.Check())
}

// kdfTests are known answers of the compositions, over HMAC-SHA-256 on the token. The answers were computed with OpenSSL
// (KBKDF, PBKDF2), that of the double pipeline mode with Python's hmac: CAVP publishes them with other places of the
// counter.
func kdfTests() []hsm.Test {
	var (
		key   = bytes.Repeat([]byte{0xaa}, 64)
		fixed = []byte("label\x00context")
	)
	derive108 := func(mode mode108, iv []byte) func(context.Context, prf) (hsm.Material, error) {
		return func(ctx context.Context, f prf) (hsm.Material, error) { return f.kdf108(ctx, mode, 4, iv, fixed, 40) }
	}
	var list []hsm.Test
	for _, t := range []struct {
		mechanism  hsm.Mechanism
		name, want string
		run        func(context.Context, prf) (hsm.Material, error)
	}{
		{kdf108All, "counter mode", "8873b7da6ceb8c6b78590a445bb3382323e81c8d7a0954b21212be97fe4832bd0cf8131e11603a0d", derive108(counterMode, nil)},
		{kdf108All, "feedback mode", "9046763c9f81b55b5d1e8d1b717cdcde5fbd3e0e5bd76c0a85bb388d33f8c5a8bee7efb8e947095a",
			derive108(feedbackMode, bytes.Repeat([]byte{0x0b}, 32))},
		{kdf108All, "double pipeline mode", "29b6a901556fb3fd93569202e34eb104afcd240d6812c43538caf21b5205d781a128bb6bd46ac8ff", derive108(doublePipeline, nil)},
		{kdfPBKDF2, "HMAC-SHA-256, 3 iterations", "9cd1753a426bf3c27c31569596d49f38b98aae41a4e0098787f66af980f07bb6fa3975d4009edcb2",
			func(ctx context.Context, f prf) (hsm.Material, error) {
				return f.pbkdf2(ctx, bytes.Repeat([]byte{0x53}, 16), 3, 40)
			}},
	} {
		list = append(list, hsm.Test{Mechanism: t.mechanism, Name: t.name, Run: func(ctx context.Context, token hsm.Token) error {
			if !hasHMAC256(token) {
				return hsm.NotOffered()
			}
			spec := hsm.KeySpec{Type: hsm.KeyGeneric, Bits: 8 * len(key), Usage: hsm.UsageSign | hsm.UsageVerify}
			return token.Scratch(ctx, []hsm.ScratchKey{{Class: hsm.ClassSecretKey, Spec: spec, Value: key}}, func(refs []hsm.Ref) error {
				got, err := t.run(ctx, prf{size: 32, mac: func(ctx context.Context, data []byte) ([]byte, error) {
					return token.MAC(ctx, refs[0], spec.Bits, hsm.MACSpec{Scheme: hsm.MACHMAC, Hash: hsm.SHA256}, data)
				}})
				defer got.Wipe()
				if err == nil && hex.EncodeToString(got) != t.want {
					err = kmip.Errorf(kmip.ResultReasonCryptographicFailure, "wrong answer")
				}
				return err
			})
		}})
	}
	return list
}

func hasHMAC256(token hsm.Token) bool {
	caps := token.Info().Capabilities
	for _, h := range caps.HMAC {
		if h == hsm.SHA256 {
			return caps.Transport != ""
		}
	}
	return false
}

// unavailable is what Query leaves out: operations for which no mechanism is left.
func (s *Store) unavailable() []kmip.Operation {
	caps := s.token.Info().Capabilities
	var out []kmip.Operation
	if len(caps.AESModes)+len(caps.DES3Modes)+len(caps.OAEPEncrypt) == 0 && !caps.PKCS1v15Encrypt {
		out = append(out, kmip.OperationEncrypt, kmip.OperationDecrypt)
	}
	if len(caps.PSS)+len(caps.ECDSA) == 0 && !caps.PKCS1v15Sign {
		out = append(out, kmip.OperationSign, kmip.OperationSignatureVerify)
	}
	if len(caps.HMAC)+len(caps.CMAC) == 0 {
		out = append(out, kmip.OperationMAC, kmip.OperationMACVerify)
	}
	if s.guard.Check(kdfPBKDF2) != nil && s.guard.Check(kdf108All) != nil && len(caps.HMAC) == 0 {
		out = append(out, kmip.OperationDeriveKey)
	}
	return out
}

// Facts are what an auditor asks of the running system: policy, both cryptographic modules, self-tests and drift. Reports
// and Query Validations read them.
type Facts struct {
	Policy string `json:"policy"`
	fips.Evidence
	Identity hsm.Identity `json:"token_identity"`
	Health
}

// Facts may be called at any time.
func (s *Store) Facts() Facts {
	e := s.cfg.Evidence
	e.Token = s.tokenMatch()
	return Facts{s.policy.Name(), e, s.token.Info().Identity, s.Health()}
}

// tokenMatch is what the check of the token at the start came to. It is void for a token that came back as another one, such as
// with other firmware: what covers that, the next start finds.
func (s *Store) tokenMatch() fips.TokenMatch {
	m := s.cfg.Evidence.Token
	f := m.Facts
	if s.token == nil || f.Model == "" {
		return m
	}
	info := s.token.Info()
	now := f
	now.Manufacturer, now.Model, now.Hardware, now.Firmware = info.Manufacturer, info.Model, info.Identity.HardwareVersion, info.Identity.FirmwareVersion
	if now == f {
		return m
	}
	m.Facts, m.Certificate, m.Status = now, nil, "none"
	m.Unvalidated = append(slices.Clone(m.Unvalidated), fmt.Sprintf(
		"the token is %s %s with firmware %s and hardware %s since it came back, and was checked as %s %s with %s and %s: restart the server",
		now.Manufacturer, now.Model, now.Firmware, now.Hardware, f.Manufacturer, f.Model, f.Firmware, f.Hardware))
	return m
}
