package main

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"kmipd/fips"
	"kmipd/fips/revocation"
	"kmipd/kmip/server"
)

// listenerConfig is one listener: the first one of the settings, or a [[listener]] table of the file. What a table leaves out
// is as for the first listener, but for name and listen, which it must have.
type listenerConfig struct {
	Name        string   `toml:"name"`
	Listen      string   `toml:"listen"`
	Transport   string   `toml:"transport"`
	Policy      string   `toml:"policy"`
	Certificate string   `toml:"tls_certificate"`
	Key         string   `toml:"tls_key"`
	ClientCA    string   `toml:"tls_client_ca"`
	CRL         textList `toml:"tls_crl"`
	CRLMode     string   `toml:"tls_crl_mode"`
}

// textList is a list of texts, or one text.
type textList []string

// UnmarshalTOML implements toml.Unmarshaler.
func (l *textList) UnmarshalTOML(v any) error {
	*l = strings.Split(setting(v), ",")
	return nil
}

// paths are the settings of a listener that name files.
func (l *listenerConfig) paths() []*string {
	paths := []*string{&l.Certificate, &l.ClientCA}
	if !isTokenKey(l.Key) {
		paths = append(paths, &l.Key)
	}
	for i := range l.CRL {
		paths = append(paths, &l.CRL[i])
	}
	return paths
}

// first is the listener of the settings themselves.
func (c *config) first() listenerConfig {
	return listenerConfig{Listen: c.Listen, Transport: c.Transport, Certificate: c.TLSCertificate, Key: c.TLSKey, ClientCA: c.TLSClientCA, CRL: c.TLSCRL, CRLMode: c.TLSCRLMode}
}

// listeners are all of them, the first one first, with what each leaves out filled in.
func (c *config) listeners() []listenerConfig {
	first := c.first()
	list := []listenerConfig{first}
	for _, l := range c.tables.Listener {
		if l.Certificate == "" && l.Key == "" {
			l.Certificate, l.Key = first.Certificate, first.Key
		}
		if l.ClientCA == "" {
			l.ClientCA = first.ClientCA
			if l.CRL == nil {
				l.CRL = first.CRL
			}
		}
		if l.CRLMode == "" {
			l.CRLMode = first.CRLMode
		}
		if l.Transport == "" {
			l.Transport = first.Transport
		}
		list = append(list, l)
	}
	return list
}

// listenerName is what names of listeners look like: they stand in logs and stored requests.
var listenerName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,31}$`)

// transports are the values of the setting.
var transports = map[string]server.Transport{"tls": server.TransportTLS, "https": server.TransportHTTPS, "both": server.TransportBoth}

// checkListeners finds what is wrong with names, addresses and transports.
func (c *config) checkListeners() []error {
	var errs []error
	names := map[string]bool{}
	for i, l := range append([]listenerConfig{c.first()}, c.tables.Listener...) {
		// A table that leaves it out has that of the first listener, which is checked there.
		if _, ok := transports[l.Transport]; !ok && (i == 0 || l.Transport != "") {
			errs = append(errs, l.problem(fmt.Errorf("transport: %q is none of tls, https, both", l.Transport)))
		}
	}
	for i, l := range c.tables.Listener {
		if !listenerName.MatchString(l.Name) {
			errs = append(errs, fmt.Errorf("[[listener]] table %d: name %q is not 1 to 32 of a-z, 0-9, '.', '_', '-', beginning with a letter or digit", i+1, l.Name))
		} else if names[l.Name] {
			errs = append(errs, fmt.Errorf("there are two listeners %q: give each its own name", l.Name))
		}
		names[l.Name] = true
		if _, _, err := net.SplitHostPort(l.Listen); err != nil {
			errs = append(errs, l.problem(fmt.Errorf("listen: %q is not HOST:PORT", l.Listen)))
		}
		if (l.Certificate == "") != (l.Key == "") {
			errs = append(errs, l.problem(errors.New("tls_certificate and tls_key go together")))
		}
	}
	return errs
}

// problem says which listener a problem is of.
func (l *listenerConfig) problem(err error) error {
	if err == nil || l.Name == "" {
		return err
	}
	return fmt.Errorf("listener %s: %w", l.Name, err)
}

// rules are those of the server's policy and the listener's together: a listener is never laxer than its server.
func (c *config) rules(l listenerConfig) (*fips.TLSRules, error) {
	server, err := fips.TLSByName(c.Policy)
	if err != nil || l.Policy == "" {
		return server, err // a wrong name of the server's policy is told once, by check
	}
	own, err := fips.TLSByName(l.Policy)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	return server.And(own)
}

// policies are the policies of the listeners besides the server's, by the listeners' names. Every listener is in it: one that
// names no policy adds nothing (nil), while jobs of one that is gone are refused.
func (c *config) policies() map[string]*fips.Policy {
	out := map[string]*fips.Policy{}
	for _, l := range c.tables.Listener {
		out[l.Name] = nil
		if p, err := fips.ByName(l.Policy); err == nil {
			out[l.Name] = p
		}
	}
	return out
}

var crlModes = map[string]revocation.Mode{"off": revocation.Off, "soft": revocation.Soft, "hard": revocation.Hard}

// revocationMode is how a listener checks for revocation. A strict policy leaves no choice.
func (l *listenerConfig) revocationMode(rules *fips.TLSRules) (revocation.Mode, error) {
	mode, known := crlModes[l.CRLMode]
	switch {
	case l.CRLMode != "" && !known:
		return 0, fmt.Errorf("tls_crl_mode: %q is none of off, soft, hard", l.CRLMode)
	case rules.Revocation() && known && mode != revocation.Hard:
		return 0, fmt.Errorf("tls_crl_mode: the policy %s allows hard only: leave the setting out", rules)
	case rules.Revocation():
		return revocation.Hard, nil
	case known && mode != revocation.Off && len(l.CRL) == 0 && mode == revocation.Soft:
		return 0, errors.New("tls_crl_mode is soft and tls_crl names no list: name the files with the revocation lists of tls_client_ca")
	case known:
		return mode, nil
	case len(l.CRL) > 0:
		return revocation.Soft, nil
	}
	return revocation.Off, nil
}

// makeRelative makes a path of the file relative to the file's directory.
func makeRelative(base string, paths ...*string) {
	for _, p := range paths {
		if *p != "" && *p != "-" && !filepath.IsAbs(*p) {
			*p = filepath.Join(base, *p)
		}
	}
}

// addListener adds a listener that is not in the file.
func (c *config) addListener(l listenerConfig) {
	c.tables.Listener = append(slices.Clone(c.tables.Listener), l)
}
