package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"kmipd/fips"
	"kmipd/keystore"
)

// groupTable is a [[group]] of the configuration: what holds for its clients beyond what holds for all. Clients are put
// into a group by kmipd client group.
type groupTable struct {
	Name    string `toml:"name"`
	Policy  string `toml:"policy"`
	Release string `toml:"release"`
}

// policy is the server's policy, with its switches and what the operator's file leaves of it.
func (c *config) policy() (*fips.Policy, error) {
	var switches []fips.Switch
	for _, s := range c.PolicySwitches {
		switches = append(switches, fips.Switch(s))
	}
	p, err := fips.New(c.Policy, fips.Options{Switches: switches})
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	if c.PolicyFile == "" {
		return p, nil
	}
	var n fips.Narrowing
	meta, err := toml.DecodeFile(c.PolicyFile, &n)
	if err != nil {
		return nil, fmt.Errorf("policy_file: %w", err)
	}
	if u := meta.Undecoded(); len(u) > 0 {
		return nil, fmt.Errorf("policy_file: there is no list %q", u[0])
	}
	if p, err = p.Narrow(n); err != nil {
		return nil, fmt.Errorf("policy_file: %w", err)
	}
	return p, nil
}

// groups are the groups of the configuration.
func (c *config) groups() (map[string]keystore.Group, error) {
	out := map[string]keystore.Group{}
	var errs []error
	for _, t := range c.tables.Group {
		var g keystore.Group
		_, twice := out[t.Name]
		switch {
		case t.Name == "":
			errs = append(errs, errors.New("[[group]]: name is missing"))
			continue
		case twice:
			errs = append(errs, fmt.Errorf("[[group]] %s: there are two of this name", t.Name))
			continue
		}
		if t.Policy != "" {
			var err error
			if g.Policy, err = fips.ByName(t.Policy); err != nil {
				errs = append(errs, fmt.Errorf("[[group]] %s: policy: %w", t.Name, err))
			}
		}
		g.Release = keystore.Release(t.Release)
		if err := checkRelease(t.Release); err != nil {
			errs = append(errs, fmt.Errorf("[[group]] %s: %w", t.Name, err))
		}
		out[t.Name] = g
	}
	return out, errors.Join(errs...)
}

// checkRelease wants one of the release policies, or nothing.
func checkRelease(r string) error {
	if r == "" || slices.Contains(keystore.Releases(), keystore.Release(r)) {
		return nil
	}
	var names []string
	for _, x := range keystore.Releases() {
		names = append(names, string(x))
	}
	return fmt.Errorf("release: %q is none of %s", r, strings.Join(names, ", "))
}

// checkPolicy finds what is wrong with policy, release and groups.
func (c *config) checkPolicy() []error {
	_, err := c.policy()
	_, groups := c.groups()
	return []error{err, groups, checkRelease(c.Release)}
}
