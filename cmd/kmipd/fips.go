package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"kmipd/hsm"
	"kmipd/keystore"
)

const fipsHelp = `kmipd fips selftest [--json]    run all self-tests now; status 1 when one fails
kmipd fips status [--json]      what is known of the modules, the last self-test, blocked mechanisms and drifted keys
kmipd fips report [--json FILE] [--html FILE]
                                make a signed evidence report; status 3 when the system is not compliant
kmipd fips verify REPORT... [--key FILE]
                                verify reports, without a server
kmipd fips key                  print the public key that verifies reports
kmipd fips policy [NAME] [--json]
                                print the rules of a policy, or of the configured one
kmipd fips inventory [POLICY] [--json]
                                count keys; what a policy would freeze, and what its dates will hit

Give --dir or --config to find the server. When none runs, the command opens the token itself.
`

// fipsCommands are those that a running server answers.
func adminFIPS(ctx context.Context, keys *keystore.Store, command string) (out any, ok bool, err error) {
	switch command {
	case "fips/selftest":
		out, err = keys.SelfTest(ctx, "demand")
	case "fips/status":
		out = keys.Facts()
	default:
		return nil, false, nil
	}
	return out, true, err
}

func runFIPS(ctx context.Context, s streams, args []string) error {
	if len(args) > 0 && fipsVerbs[args[0]] != nil {
		return fipsVerbs[args[0]](ctx, s, args[1:])
	}
	f := flags(s, "fips")
	c := &source{}
	var asJSON bool
	f.BoolVar(&asJSON, "json", false, "print JSON")
	c.define(f)
	f.Usage = func() { fmt.Fprint(s.out, fipsHelp) }
	if err := parse(f, args, 1); err != nil {
		return err
	}
	verb := f.Arg(0)
	if verb != "selftest" && verb != "status" {
		return fmt.Errorf("kmipd fips selftest, status, report, verify, key, policy or inventory: %w", errUsage)
	}
	if err := c.load(); err != nil {
		return err
	}
	if verb == "status" {
		var facts keystore.Facts
		if err := c.askFIPS(ctx, s, verb, &facts); err != nil {
			return err
		}
		if asJSON {
			return printJSON(s, facts)
		}
		printFacts(s, &facts)
		return nil
	}
	var r hsm.Report
	if err := c.askFIPS(ctx, s, verb, &r); err != nil {
		return err
	}
	if asJSON {
		if err := printJSON(s, r); err != nil {
			return err
		}
	} else {
		printReport(s, &r)
	}
	if !r.Passed() {
		return exitCode(1)
	}
	return nil
}

// askFIPS asks the running server, or opens the token when none runs. The records are not needed.
func (c *source) askFIPS(ctx context.Context, s streams, verb string, out any) (err error) {
	answer, err := c.overSocket(ctx, "fips/"+verb, []byte("{}"))
	if err == nil {
		return json.Unmarshal(answer, out)
	}
	if !errors.Is(err, errNoServer) {
		return err
	}
	if err := secureModule(c.policyNames(), c.AllowUncertifiedModule); err != nil {
		return err
	}
	if c.TokenModule == "" {
		c.TokenModule = hsm.FindModule()
	}
	if errs := c.checkToken(); len(errs) > 0 {
		return errors.Join(errs...)
	}
	c.LogLevel = "error"
	log := c.logger(s)
	token, err := c.openToken(ctx, s, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, token.Close(context.WithoutCancel(ctx))) }()
	if c.found, err = c.evidence(token.Info()); err != nil {
		return err
	}
	keys, err := c.keystore(nil, token, log)
	if err != nil {
		return err
	}
	got, _, err := adminFIPS(ctx, keys, "fips/"+verb)
	if err != nil {
		return err
	}
	b, err := json.Marshal(got)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, out)
}

func printReport(s streams, r *hsm.Report) {
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	for _, x := range r.Results {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", x.Outcome, x.Mechanism, x.Test, x.Took.Round(10*time.Microsecond), x.Detail)
	}
	_ = w.Flush() // to a terminal or a pipe; there is nobody left to tell
	for _, x := range r.Refusals {
		fmt.Fprintf(s.out, "the token itself refuses: %s: %s\n", x.Name, yesNo(x.Enforced))
	}
	fmt.Fprintf(s.out, "%d passed, %d failed, %d unfinished, %d not offered, in %s\n", r.Count(hsm.OutcomePassed), r.Count(hsm.OutcomeFailed),
		r.Count(hsm.OutcomeUnfinished), r.Count(hsm.OutcomeNotOffered), r.Took.Round(time.Millisecond))
	printState(s, r.ErrorState, r.Blocked)
}

func printState(s streams, latch *hsm.Latch, blocked []hsm.Block) {
	if latch != nil {
		fmt.Fprintf(s.out, "ERROR STATE since %s: %s. Restart the server; its self-test must pass.\n", latch.At.Format(time.RFC3339), latch.Text)
	}
	for _, b := range blocked {
		fmt.Fprintf(s.out, "BLOCKED since %s: %s, which failed %q\n", b.At.Format(time.RFC3339), b.Mechanism, b.Test)
	}
}

func yesNo(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}

func printFacts(s streams, f *keystore.Facts) {
	m := f.Module
	state := "off"
	if m.Enabled {
		state = "on"
	}
	fmt.Fprintf(s.out, "policy     %s\nmodule     %s, version %s, GOFIPS140 %q, GODEBUG %q, %s\n", f.Policy, state, m.Version, m.Build, m.GODEBUG, m.Platform)
	if c := m.Certificate; c != nil {
		fmt.Fprintf(s.out, "           %s level %d, certificate %q, %s\n", c.Standard, c.Level, c.Number, c.Status)
	}
	t := f.Token
	fmt.Fprintf(s.out, "token      %s %s, firmware %s, hardware %s, certificate status %s\n", t.Facts.Manufacturer, t.Facts.Model, t.Facts.Firmware, t.Facts.Hardware, t.Status)
	if c := t.Certificate; c != nil {
		fmt.Fprintf(s.out, "           FIPS %s level %d, certificate %s, until %s\n", c.Standard, c.Level, c.Number, c.Sunset.Format(time.DateOnly))
	}
	for _, list := range [][]string{t.Faults, t.Unvalidated, t.Warnings} {
		for _, w := range list {
			fmt.Fprintf(s.out, "           %s\n", w)
		}
	}
	if len(f.Allowed) > 0 {
		fmt.Fprintf(s.out, "exceptions %s\n", strings.Join(f.Allowed, ", "))
	}
	fmt.Fprintf(s.out, "pairs      %d tested, %d failed, %d that could not be tested\n", f.Pairs.Tested, f.Pairs.Failed, f.Pairs.Untested)
	if r := f.Last; r != nil {
		fmt.Fprintf(s.out, "self-test  %s (%s): %d passed, %d failed, %d unfinished, %d not offered\n", r.At.Format(time.RFC3339), r.Reason,
			r.Count(hsm.OutcomePassed), r.Count(hsm.OutcomeFailed), r.Count(hsm.OutcomeUnfinished), r.Count(hsm.OutcomeNotOffered))
	}
	printState(s, f.ErrorState, f.Blocked)
	for _, d := range f.Drifted {
		fmt.Fprintf(s.out, "DRIFTED since %s: %s, %s\n", d.At.Format(time.RFC3339), d.UID, strings.Join(d.Flags, ", "))
	}
}
