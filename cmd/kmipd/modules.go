package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/rs/zerolog"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/keystore"
)

// This file checks the two cryptographic modules before anything is served: Go's, which is this process, and the token.

// restart replaces this process by itself with another environment, and returns only when it fails. main sets it; in tests
// it is nil, since they are processes of somebody else.
var restart func(environ []string) error

// restartProcess is restart outside of tests.
func restartProcess(environ []string) error {
	path, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(path, os.Args, environ) //nolint:gosec // G204: this program, with the arguments that it was started with
}

// secureModule wants Go's cryptographic module on when any of the policies is strict. The module can be switched on at the
// start of a process only, so that a process in which nobody has said anything about it starts itself again; one that was
// told to leave it off is refused.
func secureModule(policies []string, uncertified bool) error {
	strict := slices.IndexFunc(policies, func(name string) bool {
		p, err := fips.ByName(name)
		return err == nil && p.Strict()
	})
	if strict < 0 {
		return nil
	}
	m := fips.ModuleState()
	if !m.Enabled && !m.SwitchedOff() && restart != nil {
		if err := restart(fips.ModuleOn(os.Environ())); err != nil {
			return fmt.Errorf("policy %s: starting again with Go's FIPS 140-3 module on: %w", policies[strict], err)
		}
	}
	if err := m.Check(time.Now(), uncertified); err != nil {
		return fmt.Errorf("policy %s: %w", policies[strict], err)
	}
	return nil
}

// policyNames are those of the server, its listeners and groups.
func (c *config) policyNames() []string {
	names := []string{c.Policy}
	for _, l := range c.tables.Listener {
		names = append(names, l.Policy)
	}
	for _, g := range c.tables.Group {
		names = append(names, g.Policy)
	}
	return slices.DeleteFunc(names, func(n string) bool { return n == "" })
}

// strict tells whether any of them is strict.
func (c *config) strict() bool {
	return slices.ContainsFunc(c.policyNames(), func(n string) bool { p, err := fips.ByName(n); return err == nil && p.Strict() })
}

// checkSelfTests finds what is wrong with the settings about self-tests and certificates.
func (c *config) checkSelfTests() []error {
	var errs []error
	if !slices.Contains([]string{"start", "off"}, c.SelfTest) {
		errs = append(errs, fmt.Errorf("self_test: %q is neither start nor off", c.SelfTest))
	}
	if c.SelfTest == "off" && c.strict() {
		errs = append(errs, errors.New("self_test: a strict policy needs it: set it to start"))
	}
	if c.SelfTestInterval < 0 || c.SelfTestInterval > 0 && c.SelfTestInterval < time.Minute {
		errs = append(errs, errors.New("self_test_interval must be 0 (no self-tests on schedule), or 1m and more"))
	}
	if c.SelfTestInterval == 0 && c.strict() {
		errs = append(errs, errors.New("self_test_interval: a strict policy needs self-tests on schedule: set it, for example to 24h"))
	}
	if !slices.Contains([]string{"auto", "on", "off"}, c.SelfTestPairs) {
		errs = append(errs, fmt.Errorf("self_test_pairs: %q is none of auto, on, off", c.SelfTestPairs))
	}
	if c.SelfTestPairs == "off" && c.strict() {
		errs = append(errs, errors.New("self_test_pairs: a strict policy needs them: set it to auto"))
	}
	if _, err := c.tokenCertificates(); err != nil {
		errs = append(errs, err)
	}
	return errs
}

// testPairs tells whether generated pairs are tested for consistency.
func (c *config) testPairs() bool {
	return c.SelfTestPairs == "on" || c.SelfTestPairs == "auto" && c.strict()
}

// tokenCertificates reads the operator's list.
func (c *config) tokenCertificates() ([]fips.TokenCertificate, error) {
	if c.TokenCertificates == "" {
		return nil, nil
	}
	var file struct {
		Token []fips.TokenCertificate `toml:"token"`
	}
	meta, err := toml.DecodeFile(c.TokenCertificates, &file)
	if err != nil {
		return nil, fmt.Errorf("token_certificates: %w", err)
	}
	var errs []error
	for _, k := range meta.Undecoded() {
		errs = append(errs, fmt.Errorf("token_certificates: there is no field %q", k))
	}
	for i := range file.Token {
		if err := file.Token[i].Check(); err != nil {
			errs = append(errs, fmt.Errorf("token_certificates, token %d: %w", i+1, err))
		}
	}
	return file.Token, errors.Join(errs...)
}

// factsOf is what a token says of itself, as the checks take it.
func factsOf(info hsm.Info) fips.TokenFacts {
	id := info.Identity
	has := func(flag uint) bool { return id.TokenFlags&flag != 0 }
	return fips.TokenFacts{
		Manufacturer: info.Manufacturer, Model: info.Model, Hardware: id.HardwareVersion, Firmware: id.FirmwareVersion,
		HardwareSlot: id.SlotFlags&hsm.SlotHardware != 0, Initialized: has(hsm.TokenInitialized), PINInitialized: has(hsm.TokenPINInitialized),
		LoginRequired: has(hsm.TokenLoginRequired), HasRNG: has(hsm.TokenRNG), WriteProtected: has(hsm.TokenWriteProtected),
		PINLocked: has(hsm.TokenPINLocked), PINFinalTry: has(hsm.TokenPINFinalTry), PINToBeChanged: has(hsm.TokenPINToBeChanged),
		SOPINLocked: has(hsm.TokenSOPINLocked), TokenErrorState: has(hsm.TokenErrorState),
	}
}

// evidence collects what is known of both modules.
func (c *config) evidence(info hsm.Info) (fips.Evidence, error) {
	list, err := c.tokenCertificates()
	if err != nil {
		return fips.Evidence{}, err
	}
	e := fips.Evidence{Module: fips.ModuleState(), Token: fips.MatchToken(list, factsOf(info), time.Now()), Allowed: []string{}}
	if c.AllowUnvalidatedToken {
		e.Allowed = append(e.Allowed, "allow_unvalidated_token")
	}
	if c.AllowUncertifiedModule {
		e.Allowed = append(e.Allowed, "allow_uncertified_module")
	}
	return e, nil
}

// vet refuses a token that a strict policy does not use, and logs what is known of both modules.
func (c *config) vet(info hsm.Info, log zerolog.Logger) error {
	e, err := c.evidence(info)
	if err != nil {
		return err
	}
	c.found = e
	for _, name := range c.policyNames() {
		p, err := fips.ByName(name)
		if err != nil {
			return err
		}
		if err := e.Token.Check(p, c.AllowUnvalidatedToken); err != nil {
			return err
		}
	}
	for _, w := range append(slices.Clone(e.Token.Warnings), e.Token.Faults...) {
		log.Warn().Str("token", info.Label).Msg(w)
	}
	if c.strict() || c.TokenCertificates != "" {
		for _, w := range e.Token.Unvalidated {
			log.Warn().Str("token", info.Label).Msg("token not validated: " + w)
		}
	}
	m := log.Info().Bool("enabled", e.Module.Enabled).Str("version", e.Module.Version).Str("gofips140", e.Module.Build).Str("godebug", e.Module.GODEBUG)
	if e.Module.Certificate != nil {
		m = m.Str("certificate", e.Module.Certificate.Number).Str("status", e.Module.Certificate.Status)
	}
	m.Msg("Go's cryptographic module")
	if c.strict() && len(e.Allowed) > 0 {
		log.Warn().Strs("allowed", e.Allowed).Msg("exceptions for development: this system is not compliant")
	}
	return nil
}

// selfTest runs the self-tests before anything is served. A mechanism that fails is blocked; the error state ends the start.
func (c *config) selfTest(ctx context.Context, keys *keystore.Store) error {
	if c.SelfTest == "off" {
		return nil
	}
	r, err := keys.SelfTest(ctx, "start")
	if err != nil {
		return err
	}
	if r.ErrorState != nil {
		return fmt.Errorf("the self-test at start failed, and the server does not start: %s", r.ErrorState.Text)
	}
	if n := r.Count(hsm.OutcomeUnfinished); n > 0 && c.strict() {
		return fmt.Errorf("%d self-tests at start did not finish, and policy %s needs them: the token does not answer", n, c.Policy)
	}
	return nil
}
