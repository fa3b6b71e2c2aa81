package main

import (
	"context"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"kmipd/fips"
	"kmipd/hsm"
)

// This file makes the certificates of kmipd init and kmipd dev: an authority with its revocation list and a server's
// certificate for the first listener, and the same in a directory of its own for each further one.

// onToken is the value of init's --tls-key for a key that is made on the token.
const onToken = "token"

// tlsLabel is the label of the key that init makes on the token. Those of further listeners have their name behind it.
const tlsLabel = "kmipd-tls"

func (l *layout) strict() bool { return l.policy != "" && l.policy != "default" }

// policyValue, keyValue and crlValue are settings of the configuration file; "" leaves them out.
func (l *layout) policyValue() string {
	if l.strict() {
		return l.policy
	}
	return ""
}

func (l *layout) keyValue() string {
	if l.key == onToken {
		return keyURI{KeyName: hsm.KeyName{Label: tlsLabel}}.String()
	}
	if isTokenKey(l.key) {
		return l.key
	}
	return or(l.key, "server.key")
}

func (l *layout) crlValue() string {
	if l.certificate == "" {
		return "ca.crl"
	}
	return ""
}

// site is one listener's files and the label of its key.
type site struct {
	dir, label string
	curve      elliptic.Curve
}

// sites are the first listener and those of the extra policies.
func (l *layout) sites() []site {
	list := []site{{l.dir, tlsLabel, curveFor(l.policy)}}
	for _, p := range l.extra {
		list = append(list, site{l.path(p), tlsLabel + "-" + p, curveFor(l.policy, p)})
	}
	return list
}

func (s site) file(name string) string { return (&layout{dir: s.dir}).path(name) }

// identities makes what is not there yet of all listeners. The token is opened once, and only when a key is missing.
func (l *layout) identities(ctx context.Context, s streams) error {
	for _, at := range l.sites() {
		if err := os.MkdirAll(at.dir, 0o700); err != nil {
			return err
		}
		ca, err := makeAuthority(at.dir, at.curve)
		if err != nil {
			return fmt.Errorf("making the certification authority: %w", err)
		}
		if err := ca.writeCRL(at.file("ca.crl")); err != nil {
			return fmt.Errorf("making the revocation list: %w", err)
		}
		names := append(hostNames(l.listen), l.serverNames...)
		switch {
		case l.key != onToken:
			err = ca.issue(at.file("server.crt"), at.file("server.key"), "kmipd", x509.ExtKeyUsageServerAuth, names)
		case !exists(at.file("server.crt")):
			err = l.withKeys(ctx, s, func(keys hsm.NamedKeys) error { return ca.issueOnToken(ctx, keys, at, names) })
		}
		if err != nil {
			return fmt.Errorf("making the server's certificate: %w", err)
		}
	}
	return nil
}

// issueOnToken makes the key, or takes the one that a start left which did not get further, and its certificate.
func (a *authority) issueOnToken(ctx context.Context, keys hsm.NamedKeys, at site, names []string) error {
	curve := hsm.CurveP256
	if a.key.Curve == elliptic.P384() {
		curve = hsm.CurveP384
	}
	if _, _, err := keys.GenerateNamedPair(ctx, at.label, hsm.KeyEC, 0, curve); err != nil && !errors.Is(err, hsm.ErrExists) {
		return err
	}
	public, err := publicKey(ctx, keys, keyURI{KeyName: hsm.KeyName{Label: at.label}})
	if err != nil {
		return err
	}
	return a.issueFor(public, at.file("server.crt"), names)
}

// withKeys opens the token of the directory.
func (l *layout) withKeys(ctx context.Context, s streams, f func(hsm.NamedKeys) error) error {
	c := &config{TokenModule: or(l.module, hsm.FindModule()), TokenLabel: or(l.label, softLabel), TokenPINFile: or(l.pin, l.path("pin")),
		TokenLock: "auto", LogLevel: "warn", LogFormat: "json"}
	if l.module == "" {
		c.SoftHSMConf = l.path("softhsm2.conf")
	}
	return c.withKeys(ctx, s, f)
}

// devListeners are the listeners of kmipd dev --listener, with the files that identities made.
func (l *layout) devListeners(addresses map[string]string) []listenerConfig {
	var list []listenerConfig
	for i, at := range l.sites()[1:] {
		policy := l.extra[i]
		c := listenerConfig{Name: policy, Listen: addresses[policy], Policy: policy, Certificate: at.file("server.crt"), Key: at.file("server.key"),
			ClientCA: at.file("ca.crt"), CRL: []string{at.file("ca.crl")}}
		if l.key == onToken {
			c.Key = keyURI{KeyName: hsm.KeyName{Label: at.label}}.String()
		}
		list = append(list, c)
	}
	return list
}

// checkPolicies refuses names that are none.
func checkPolicies(names ...string) error {
	for _, n := range names {
		if _, err := fips.ByName(n); err != nil {
			return err
		}
	}
	return nil
}
