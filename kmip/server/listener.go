package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"slices"

	"kmipd/kmip"
)

// Gate is what a listener asks about its peers. All fields may be nil.
type Gate struct {
	// VerifyConnection is asked at the end of every handshake, resumed ones too, after the check that TLS itself may hold.
	// An error ends the handshake with an alert. Policies that join suite, group and peer key are made here.
	VerifyConnection func(tls.ConnectionState) error
	// Established is asked once the handshake is over, about what is not known before. An error closes the connection.
	Established func(tls.ConnectionState) error
	// Request is asked at each request: what was good at the handshake may be revoked by now. An error is answered with
	// Authentication Not Successful and ends the connection.
	Request func(*tls.ConnectionState) error
	// ForClient makes tls.Config.GetConfigForClient of the finished configuration, which it must not change; nil for none.
	ForClient func(*tls.Config) func(*tls.ClientHelloInfo) (*tls.Config, error)
}

// Listener is a way into the server besides the first one, with certificates and rules of its own. Limits, jobs and
// counters are those of the server.
type Listener struct {
	Name      string // kmip.Call.Listener of what comes in by it; not ""
	TLS       *tls.Config
	Transport Transport
	Gate
}

// entrance is a listener, ready for connections.
type entrance struct {
	name      string
	tls       *tls.Config
	gate      Gate
	transport Transport
}

// entrances makes the configurations of all listeners. Each has its own: session tickets work only within one, so that no
// session that was made under one policy is resumed under another.
func (c Config) entrances() map[string]*entrance {
	out := map[string]*entrance{"": {"", tlsConfig(c.TLS, c.Gate), c.Gate, c.Transport}}
	for _, l := range c.Listeners {
		out[l.Name] = &entrance{l.Name, tlsConfig(l.TLS, l.Gate), l.Gate, l.Transport}
	}
	return out
}

// profiles are the profiles of the encodings (KMIP Additional Message Encodings 1.0 section 8) in the versions spoken, if a
// listener has HTTPS.
func (c Config) profiles() []kmip.ProfileInformation {
	over := func(l Listener) bool { return l.Transport != TransportTLS }
	if c.Transport == TransportTLS && !slices.ContainsFunc(c.Listeners, over) {
		return nil
	}
	var out []kmip.ProfileInformation
	for _, what := range []string{"HTTPS", "JSON", "XML"} {
		for _, v := range c.Versions {
			if name, ok := kmip.EnumByName("ProfileName", what+" Server KMIP v"+v.String()); ok {
				out = append(out, kmip.ProfileInformation{ProfileName: kmip.ProfileName(name)})
			}
		}
	}
	return out
}

// tlsConfig is the one configuration of all connections of a listener.
func tlsConfig(from *tls.Config, gate Gate) *tls.Config {
	t := from.Clone()
	t.MinVersion = max(t.MinVersion, tls.VersionTLS12)
	t.ClientAuth = tls.RequireAndVerifyClientCert
	t.Renegotiation = tls.RenegotiateNever
	// libkmip, kmippp and cryptctl read an answer's body with a single read: it must be one record (up to 16 KiB).
	t.DynamicRecordSizingDisabled = true
	if inner, hook := t.VerifyConnection, gate.VerifyConnection; hook != nil {
		t.VerifyConnection = func(state tls.ConnectionState) error {
			if inner != nil {
				if err := inner(state); err != nil {
					return err
				}
			}
			return hook(state)
		}
	}
	if gate.ForClient != nil {
		t.GetConfigForClient = gate.ForClient(t)
	}
	return t
}

// checkListeners finds what is wrong with the listeners.
func (c Config) checkListeners() []error {
	var errs []error
	names := map[string]bool{"": true}
	check := func(name string, t *tls.Config) {
		switch {
		case t == nil:
			errs = append(errs, fmt.Errorf("server: listener %q: a TLS configuration is needed", name))
			return
		case len(t.Certificates) == 0 && t.GetCertificate == nil && t.GetConfigForClient == nil:
			errs = append(errs, fmt.Errorf("server: listener %q: the TLS configuration has no certificate", name))
		}
		if t.ClientCAs == nil {
			errs = append(errs, fmt.Errorf("server: listener %q: the TLS configuration has no pool of client certification authorities", name))
		}
	}
	check("", c.TLS)
	for _, l := range c.Listeners {
		if names[l.Name] {
			errs = append(errs, fmt.Errorf("server: there are two listeners %q", l.Name))
		}
		names[l.Name] = true
		check(l.Name, l.TLS)
	}
	return errs
}

// errRevoked is what a client is told whose certificate is no longer good: the reason is for the log.
func errRevoked(cause error) error {
	return kmip.Errorf(kmip.ResultReasonAuthenticationNotSuccessful, "the client certificate is not accepted any more").Because(cause)
}

// policyError is an error that names the rule by which a policy refuses.
type policyError interface {
	error
	Refusal() (policy, rule, source string)
}

// ruleHandshake and ruleCertificate are the rules of refusals by crypto/tls itself.
const (
	ruleHandshake   = "handshake"
	ruleCertificate = "client-certificate"
)

// ruleOf is the rule of a refusal, by which it is counted.
func ruleOf(err error) (policy, rule string) {
	var p policyError
	var cert *tls.CertificateVerificationError
	switch {
	case errors.As(err, &p):
		policy, rule, _ = p.Refusal()
		return policy, rule
	case errors.As(err, &cert):
		return "", ruleCertificate
	}
	return "", ruleHandshake
}

// refused is the one place that logs, counts and records connections that were refused at or after their handshake.
func (c *conn) refused(err error, msg string) {
	policy, rule := ruleOf(err)
	c.srv.counters.refusal(rule)
	c.srv.refusals.note(err, Refusal{Listener: c.entrance.name, Reason: kmip.ResultReasonAuthenticationNotSuccessful})
	ev := c.log.Warn().Err(err).Str("rule", rule).Str("listener", c.entrance.name)
	if policy != "" {
		ev.Str("policy", policy)
	}
	ev.Msg(msg)
	if a := c.srv.cfg.Auditor; a != nil {
		a.AuditConnection(kmip.AuditConnection{Address: c.peer.remote, Listener: c.peer.listener, Err: err})
	}
	if hook := c.srv.cfg.Refused; hook != nil {
		hook(c.entrance.name, rule, err)
	}
}

func (c *counters) refusal(rule string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refusals == nil {
		c.refusals = map[string]uint64{}
	}
	c.refusals[rule]++ // rules are constants: clients cannot fill the map
}

// refused is a snapshot. The caller holds mu.
func (c *counters) refused() map[string]uint64 { return maps.Clone(c.refusals) }
