package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kmipd/fips"
	"kmipd/fips/revocation"
	"kmipd/hsm"
	"kmipd/keystore"
)

// runDoctor checks one thing after the other and goes on after a failure, so that one run tells everything.
func runDoctor(ctx context.Context, s streams, args []string) error {
	f := flags(s, "doctor")
	c := &source{}
	var measure bool
	f.BoolVar(&measure, "measure", true, "measure the speed of the token with throw-away objects")
	c.define(f)
	if err := parse(f, args, 0); err != nil {
		return err
	}
	loadErr := c.load()
	if c.TokenModule == "" {
		c.TokenModule = hsm.FindModule()
	}
	d := &doctor{s: s}
	if c.file == "" && c.TokenLabel == "" && c.TokenSerial == "" {
		d.tokens(c) // nothing is configured yet: the question is what tokens there are
		return d.end()
	}
	d.check("configuration", errors.Join(loadErr, c.check()))
	for _, err := range c.exposedFiles() {
		d.note("%s", err)
	}
	d.certificates(c)
	d.tokens(c)
	d.token(ctx, c, measure)
	d.records(ctx, c)
	return d.end()
}

func (d *doctor) end() error {
	if d.failed {
		return exitCode(1)
	}
	fmt.Fprintln(d.s.out, "\nall is well")
	return nil
}

type doctor struct {
	s      streams
	failed bool
}

// check prints a line for one finding and tells whether it is good.
func (d *doctor) check(what string, err error) bool {
	if err == nil {
		fmt.Fprintf(d.s.out, "ok      %s\n", what)
		return true
	}
	d.failed = true
	fmt.Fprintf(d.s.out, "FAILED  %s: %s\n", what, strings.ReplaceAll(err.Error(), "\n", "\n        "))
	return false
}

func (d *doctor) note(format string, args ...any) {
	fmt.Fprintf(d.s.out, "        "+format+"\n", args...)
}

func (d *doctor) certificates(c *source) {
	if c.TLSCertificate == "" {
		return
	}
	for _, l := range c.listeners() {
		id, err := c.identity(l)
		what := "TLS certificate"
		if l.Name != "" {
			what += " of listener " + l.Name
		}
		if err == nil && id.cert.Leaf != nil && time.Now().After(id.cert.Leaf.NotAfter) {
			err = fmt.Errorf("the certificate expired on %s: issue a new one", id.cert.Leaf.NotAfter.Format(time.DateOnly))
		}
		if d.check(what, err) && id.cert.Leaf != nil {
			cert := id.cert.Leaf
			d.note("%s, for %s, until %s, policy %s", cert.Subject, strings.Join(cert.DNSNames, ", "), cert.NotAfter.Format(time.DateOnly), id.rules)
			if id.mode == revocation.Off {
				d.note("%s; those by authorities of this server are", noRevocation)
			}
		}
	}
}

func (d *doctor) tokens(c *source) {
	if c.TokenModule == "" || c.TokenLabel != "" || c.TokenSerial != "" {
		return
	}
	list, err := hsm.ListTokens(c.TokenModule)
	if d.check("tokens of "+c.TokenModule, err) {
		for _, t := range list {
			d.note("label %q, serial %s, %s %s", t.Label, t.Serial, t.Manufacturer, t.Model)
		}
	}
}

func (d *doctor) token(ctx context.Context, c *source, measure bool) {
	if len(c.checkToken()) > 0 {
		return
	}
	token, err := c.openToken(ctx, d.s, c.logger(d.s))
	if !d.check("token", err) {
		return
	}
	defer func() { d.check("closing the token", token.Close(context.WithoutCancel(ctx))) }()
	info := token.Info()
	cap := info.Capabilities
	d.note("%s %s, firmware %s, label %q, serial %s", info.Manufacturer, info.Model, info.Firmware, info.Label, info.Serial)
	d.note("AES %v, 3DES %t, generic secrets %t, RSA %v, curves %d", cap.AESKeyBits, cap.DES3, cap.GenericBits, cap.RSABits, len(cap.Curves))
	d.note("AES key wrap %t, with padding %t; RSA OAEP hashes %d; transport key by %s", cap.KW, cap.KWP, len(cap.OAEP), cap.Transport)
	d.modules(c, info)
	d.selfTest(ctx, token)
	d.check("AES-256 keys", capability(contains(cap.AESKeyBits, 256)))
	d.check("key wrapping", capability(cap.KW || cap.KWP))
	for _, l := range c.listeners() {
		if id, err := c.identity(l); err == nil && isTokenKey(l.Key) { // problems of the files are told already
			d.check("TLS key "+l.Key, id.openKey(ctx, token, func(*keystore.ServerKey, ...hsm.Mechanism) error { return nil }))
		}
	}
	if !measure {
		return
	}
	times, err := hsm.Measure(ctx, token)
	if d.check("speed", err) {
		for _, t := range times {
			d.note("%-28s %10s a call", t.Name, t.Mean.Round(time.Microsecond))
		}
	}
}

// modules says what is known of both cryptographic modules; what a strict policy would refuse is a failure there.
func (d *doctor) modules(c *source, info hsm.Info) {
	e, err := c.evidence(info)
	if !d.check("token certificates", err) {
		return
	}
	names := c.policyNames()
	for _, name := range names {
		if p, err := fips.ByName(name); err == nil && p.Strict() {
			d.check("token under policy "+name, e.Token.Check(p, c.AllowUnvalidatedToken))
		}
	}
	d.note("certificate status %s", e.Token.Status)
	for _, w := range slices.Concat(e.Token.Faults, e.Token.Warnings) {
		d.note("%s", w)
	}
	d.note("Go's module: version %s, built with GOFIPS140=%s; serve switches it on in strict policies", e.Module.Version, or(e.Module.Build, "off"))
}

// selfTest runs the tests of the token, those of this program left out.
func (d *doctor) selfTest(ctx context.Context, token hsm.Token) {
	r, err := hsm.NewGuard(token, hsm.GuardConfig{}).SelfTest(ctx, "demand")
	if err == nil && !r.Passed() {
		err = fmt.Errorf("%d failed, %d unfinished: kmipd fips selftest lists them", r.Count(hsm.OutcomeFailed), r.Count(hsm.OutcomeUnfinished))
	}
	if d.check("self-tests", err) {
		d.note("%d passed, %d not offered, in %s", r.Count(hsm.OutcomePassed), r.Count(hsm.OutcomeNotOffered), r.Took.Round(time.Millisecond))
	}
}

func capability(ok bool) error {
	if ok {
		return nil
	}
	return errors.New("the token cannot do it")
}

func contains(list []int, n int) bool {
	for _, v := range list {
		if v == n {
			return true
		}
	}
	return false
}

func (d *doctor) records(ctx context.Context, c *source) {
	if c.DataDir == "" {
		return
	}
	meta, err := c.openRecords(c.logger(d.s), nil)
	if !d.check("record store (server stopped)", err) {
		return
	}
	n, err := meta.Count(ctx)
	if d.check("records", err) {
		for phase, count := range n {
			d.note("%d %s", count, []string{"", "live", "destroying", "destroyed"}[phase])
		}
	}
	d.check("closing the record store", meta.Close())
}
