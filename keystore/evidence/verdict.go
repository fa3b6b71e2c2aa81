package evidence

import (
	"fmt"
	"strings"
)

// Judge draws the conclusion from the facts of a document. Compliant means that, as far as the server can tell, all
// cryptography happens in validated modules in approved mode, by a strict policy, with its self-tests passed. What is not
// known counts against it.
func (d *Document) Judge() {
	var why []string
	not := func(wrong bool, format string, args ...any) {
		if wrong {
			why = append(why, fmt.Sprintf(format, args...))
		}
	}
	not(len(d.Policies) == 0, "the policy is unknown")
	if len(d.Policies) > 0 {
		not(d.Policies[0].Policy == "default", "policy default allows algorithms that are not approved")
	}
	d.judgeModules(not)
	switch t := d.SelfTests; {
	case t == nil:
		not(true, "the self-tests of the token are unknown")
	default:
		not(!t.Passed, "self-tests of the token failed or were not finished")
		not(len(t.Blocked) > 0, "mechanisms are blocked after failed self-tests: %s", strings.Join(t.Blocked, ", "))
		not(t.Drifted == nil, "the flags of the keys on the token have not been compared with the records yet")
		not(len(t.Drifted) > 0, "%d keys have other flags on the token than recorded", len(t.Drifted))
	}
	not(d.Pairwise != nil && d.Pairwise.Failures > 0, "pairwise consistency tests failed")
	not(d.ErrorState != nil, "the server is in the error state")
	not(d.TLS == nil, "the TLS settings are unknown")
	not(!d.Keys.Complete, "the inventory of keys is not complete")
	not(d.Clock.Behind, "the clock is behind the report before")
	d.Verdict = Verdict{Compliant: len(why) == 0, Reasons: append([]string{}, why...)}
}

func (d *Document) judgeModules(not func(bool, string, ...any)) {
	switch m := d.GoModule; {
	case m == nil:
		not(true, "Go's Cryptographic Module is unknown")
	default:
		not(!m.Enabled, "Go's Cryptographic Module is not in approved mode")
		not(m.Certificate == nil, "no validation of Go's Cryptographic Module %s is known", m.Version)
		not(m.Certificate != nil && m.Certificate.Status != StatusActive, "the validation of Go's Cryptographic Module: %s", standing(m.Certificate))
	}
	switch t := d.Token; {
	case t == nil:
		not(true, "the token is unknown")
	default:
		for _, why := range t.Unvalidated {
			not(true, "token not validated: %s", why)
		}
		not(t.Certificate == nil && len(t.Unvalidated) == 0, "token not validated: no certificate is named")
		not(t.Certificate != nil && t.Certificate.Status != StatusActive, "the validation of the token: %s", standing(t.Certificate))
	}
}

// standing is how a certificate stands, in words.
func standing(c *Certificate) string {
	if c == nil {
		return ""
	}
	return strings.TrimSpace(fmt.Sprintf("certificate %s (%s) is %s", c.Number, c.Standard, c.Status))
}
