package main

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"kmipd/fips"
	"kmipd/keystore"
	"kmipd/keystore/evidence"
)

// This file is the commands about evidence: kmipd fips report, verify, key, policy and inventory.

// notCompliant is the status of kmipd fips report for a system that is not compliant.
const notCompliant exitCode = 3

// fipsVerbs are the commands that have flags of their own.
var fipsVerbs = map[string]func(context.Context, streams, []string) error{
	"report": runFIPSReport, "verify": runFIPSVerify, "key": runFIPSKey, "policy": runFIPSPolicy, "inventory": runFIPSInventory,
}

// census is the answer to fips/inventory.
type census struct {
	Keys   evidence.Inventory `json:"keys"`
	Sunset []evidence.Sunset  `json:"sunset"`
	Error  string             `json:"error,omitempty"` // why it is not complete
}

// reportCommands run on the keystore, in the server or offline.
var reportCommands = map[string]func(context.Context, *keystore.Store, []byte) (any, error){
	"fips/report": func(ctx context.Context, keys *keystore.Store, _ []byte) (any, error) { return keys.MakeReport(ctx) },
	"fips/key":    func(ctx context.Context, keys *keystore.Store, _ []byte) (any, error) { return keys.EvidenceKey(ctx) },
	"fips/inventory": func(ctx context.Context, keys *keystore.Store, body []byte) (any, error) {
		var r struct {
			Policy string `json:"policy"`
		}
		if err := understand(body, &r); err != nil {
			return nil, err
		}
		var p *fips.Policy
		if r.Policy != "" {
			var err error
			if p, err = fips.ByName(r.Policy); err != nil {
				return nil, fmt.Errorf("policy: %w", err)
			}
		}
		var out census
		var err error
		if out.Keys, out.Sunset, err = keys.Census(ctx, p); err != nil {
			out.Error = err.Error()
		}
		return out, nil
	},
}

// slowCommands walk all records, or wait for the token again and again. The rest answers within a minute.
var slowCommands = map[string]bool{"fips/report": true, "fips/inventory": true, "fips/selftest": true}

// patience is how long a command on the administrators' socket may take.
func patience(command string) time.Duration {
	if slowCommands[command] {
		return 15 * time.Minute
	}
	return time.Minute
}

func runFIPSReport(ctx context.Context, s streams, args []string) error {
	f := flags(s, "fips report")
	c := &source{}
	var jsonFile, htmlFile string
	f.StringVar(&jsonFile, "json", "", "file for the report as JSON; - or nothing at all for standard output")
	f.StringVar(&htmlFile, "html", "", "file for the report as a page; - for standard output")
	c.define(f)
	if err := parse(f, args, 0); err != nil {
		return err
	}
	if err := c.load(); err != nil {
		return err
	}
	c.LogLevel = "error" // offline, the log goes to the terminal
	var r keystore.EvidenceReport
	if err := c.askAdmin(ctx, s, "fips/report", struct{}{}, &r); err != nil {
		return err
	}
	if jsonFile == "" && htmlFile == "" {
		jsonFile = "-"
	}
	for _, o := range []struct {
		name string
		b    []byte
	}{{jsonFile, r.JSON}, {htmlFile, r.HTML}} {
		switch o.name {
		case "":
		case "-":
			if _, err := s.out.Write(o.b); err != nil {
				return err
			}
		default:
			if err := os.WriteFile(o.name, o.b, 0o600); err != nil {
				return err
			}
		}
	}
	if r.Unsigned != "" {
		fmt.Fprintln(s.err, "kmipd: the report is not signed:", r.Unsigned)
	}
	if !r.Verdict.Compliant {
		fmt.Fprintf(s.err, "kmipd: report %d: system not compliant:\n  %s\n", r.Serial, strings.Join(r.Verdict.Reasons, "\n  "))
		return notCompliant
	}
	fmt.Fprintf(s.err, "kmipd: report %d: system compliant\n", r.Serial)
	return nil
}

// runFIPSVerify needs no server, token or configuration.
func runFIPSVerify(_ context.Context, s streams, args []string) error {
	f := flags(s, "fips verify")
	var keyFile string
	f.StringVar(&keyFile, "key", "", "file with the public key that must have signed, PEM or DER (kmipd fips key writes it)")
	f.Usage = func() {
		fmt.Fprintln(s.out, "kmipd fips verify REPORT... [--key FILE] verifies reports, JSON or HTML. Of several, in their order,\n"+
			"it also wants that each is chained to the one before.")
		f.PrintDefaults()
	}
	if err := parse(f, args, len(args)); err != nil {
		return err
	}
	if f.NArg() == 0 {
		return fmt.Errorf("kmipd fips verify needs a report: %w", errUsage)
	}
	var key []byte
	if keyFile != "" {
		b, err := os.ReadFile(keyFile)
		if err == nil {
			key, err = evidence.ParseKey(b)
		}
		if err != nil {
			return fmt.Errorf("--key: %w", err)
		}
	}
	var last *evidence.Verified
	for _, name := range f.Args() {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		v, err := evidence.Open(b, key)
		if err == nil && last != nil && (v.Document.PreviousSHA256 != last.SHA256 || v.Document.Serial != last.Document.Serial+1) {
			err = fmt.Errorf("report %d does not follow report %d: one is missing between them, or was replaced", v.Document.Serial, last.Document.Serial)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		last = v
		d := v.Document
		verdict := "compliant"
		if !d.Verdict.Compliant {
			verdict = "not compliant"
		}
		fmt.Fprintf(s.out, "%s: whole; report %d of %s, system %s\n", name, d.Serial, d.Generated.Format(time.RFC3339), verdict)
		if key != nil {
			fmt.Fprintf(s.out, "  signed by the key of %s\n", keyFile)
		} else {
			fmt.Fprintf(s.out, "  signed by the key with the fingerprint %s; whose key that is, --key tells\n", v.KeySHA256)
		}
		for _, r := range d.Verdict.Reasons {
			fmt.Fprintln(s.out, "  -", printable(r))
		}
	}
	return nil
}

// runFIPSKey prints the public key, for those who verify.
func runFIPSKey(ctx context.Context, s streams, args []string) error {
	f := flags(s, "fips key")
	c := &source{}
	c.define(f)
	if err := parse(f, args, 0); err != nil {
		return err
	}
	if err := c.load(); err != nil {
		return err
	}
	c.LogLevel = "error"
	var der []byte
	if err := c.askAdmin(ctx, s, "fips/key", struct{}{}, &der); err != nil {
		return err
	}
	return pem.Encode(s.out, &pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// runFIPSPolicy prints the rules of a policy by name, or of the configured one.
func runFIPSPolicy(_ context.Context, s streams, args []string) error {
	f := flags(s, "fips policy")
	c := &source{}
	var asJSON bool
	f.BoolVar(&asJSON, "json", false, "print JSON")
	c.define(f)
	if err := parse(f, args, 1); err != nil {
		return err
	}
	p, err := fips.ByName(f.Arg(0))
	if f.NArg() == 0 {
		if err := c.load(); err != nil {
			return err
		}
		p, err = c.policy()
	}
	if err != nil {
		return err
	}
	row := evidence.Policy{For: "server", Policy: p.Name(), Fingerprint: p.Fingerprint(), Rules: p.Rules(), Limits: p.Limits(),
		Switches: append([]fips.Switch{}, p.Switches()...)}
	if asJSON {
		return printJSON(s, row)
	}
	limits, err := json.Marshal(row.Limits)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "policy %s, fingerprint %s\nlimits %s\nswitches %v\nWhat has no row is refused.\n\n",
		row.Policy, row.Fingerprint, limits, row.Switches)
	w := tabwriter.NewWriter(s.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "FIELD\tVALUE\tBITS\tUSES\tLEGACY USES\tREFUSED FROM\tSOURCE")
	for _, r := range row.Rules {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Kind, r.Value, lengths(r), r.Uses, r.Legacy, r.Until, r.Source)
	}
	return w.Flush()
}

// lengths of a rule, in words.
func lengths(r fips.Rule) string {
	switch {
	case r.Min == 0 && r.Max == 0:
		return ""
	case r.Max == 0:
		return fmt.Sprintf("%d-", r.Min)
	case r.Min == r.Max:
		return fmt.Sprint(r.Min)
	}
	return fmt.Sprintf("%d-%d", r.Min, r.Max)
}

// runFIPSInventory counts the keys, and tells what a policy would freeze and what its dates will hit.
func runFIPSInventory(ctx context.Context, s streams, args []string) error {
	f := flags(s, "fips inventory")
	c := &source{}
	var asJSON bool
	f.BoolVar(&asJSON, "json", false, "print JSON")
	c.define(f)
	if err := parse(f, args, 1); err != nil {
		return err
	}
	if err := c.load(); err != nil {
		return err
	}
	c.LogLevel = "error"
	var out census
	if err := c.askAdmin(ctx, s, "fips/inventory", map[string]string{"policy": f.Arg(0)}, &out); err != nil {
		return err
	}
	if asJSON {
		if err := printJSON(s, out); err != nil {
			return err
		}
	} else if err := out.print(s); err != nil {
		return err
	}
	if out.Error != "" {
		return errors.New("the inventory is not complete: " + out.Error)
	}
	return nil
}

func (c *census) print(s streams) error {
	by := "the policy of each owner"
	if c.Keys.Policy != "" {
		by = "policy " + c.Keys.Policy
	}
	fmt.Fprintf(s.out, "%d objects, by %s\n\n", c.Keys.Objects, by)
	w := tabwriter.NewWriter(s.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "OBJECT TYPE\tALGORITHM\tBITS\tCURVE\tSTATE\tBY POLICY\tRELEASE\tAGE\tCOUNT\tOWNERS")
	for _, k := range c.Keys.Keys {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%d\t%d\n", k.Type, k.Algorithm, k.Bits, k.Curve, k.State, k.FIPS, k.Release,
			k.Age, k.Count, k.Owners)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	listed := func(objects []evidence.Object, total int) {
		for _, o := range objects {
			fmt.Fprintf(s.out, "  %s  %s\n", o.UID, printable(o.Client))
		}
		if more := total - len(objects); more > 0 {
			fmt.Fprintf(s.out, "  and %d more\n", more)
		}
	}
	fmt.Fprintf(s.out, "\nfrozen by the policy: %d objects\n", c.Keys.FrozenTotal)
	listed(c.Keys.Frozen, c.Keys.FrozenTotal)
	for _, x := range c.Sunset {
		fmt.Fprintf(s.out, "\nrefused from %s: %s (%s, %s): %d objects of %s\n", x.From, x.Rule, x.Policy, x.Source, x.Total,
			printable(strings.Join(x.Clients, ", ")))
		listed(x.Objects, x.Total)
	}
	if len(c.Keys.Damaged) > 0 {
		fmt.Fprintf(s.out, "\nrecords that cannot be read:\n  %s\n", strings.Join(c.Keys.Damaged, "\n  "))
	}
	return nil
}

// offline runs the self-tests for a report that no server makes.
func offline(ctx context.Context, keys *keystore.Store) error {
	within, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	_, err := keys.SelfTest(within, "demand")
	return err
}
