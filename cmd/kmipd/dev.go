package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"strings"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/metadata"
)

// devClient is the client that kmipd dev registers.
const devClient = "dev"

// runDev makes everything that a KMIP client needs on one machine, and serves. Started again it finds it all.
func runDev(ctx context.Context, s streams, args []string) error {
	f := flags(s, "dev")
	l := &layout{leaseTime: 3600, freshGroup: "default", creds: "enrol", logFormat: "text", logLevel: "info"}
	f.StringVar(&l.dir, "dir", ".dev", "directory of token, records and certificates")
	f.StringVar(&l.listen, "listen", "127.0.0.1:5696", "address and port of the KMIP listener; port 0 takes a free one")
	f.StringVar(&l.transport, "transport", "both", "what connections carry, if not that of DIR/kmipd.toml: tls, https or both")
	f.StringVar(&l.logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&l.logFormat, "log-format", "text", "json or text; text costs time under load")
	f.StringVar(&l.policy, "policy", "default", "policy of the server, if not that of DIR/kmipd.toml: "+strings.Join(fips.Names(), ", "))
	var more []string
	f.StringArrayVar(&more, "listener", nil, "another listener as POLICY=HOST:PORT, with certificates of its own in DIR/POLICY")
	if err := parse(f, args, 0); err != nil {
		return err
	}
	if _, ok := transports[l.transport]; !ok {
		return fmt.Errorf("--transport: %q is none of tls, https, both: %w", l.transport, errUsage)
	}
	if !f.Changed("policy") {
		if err := l.readPolicy(s); err != nil {
			return err
		}
	}
	addresses, err := l.parseListeners(more)
	if err != nil {
		return err
	}
	// A SoftHSM2 token is validated by nobody, and so is what go build makes: in development both are allowed and told.
	if err := secureModule(append([]string{l.policy}, l.extra...), true); err != nil {
		return err
	}
	// The keys of strict listeners are on the token, and then those of all are.
	if l.strict() || len(l.extra) > 0 {
		l.key = onToken
	}
	if err := l.make(ctx, s); err != nil {
		return err
	}
	for _, at := range l.sites() {
		ca, err := makeAuthority(at.dir, at.curve)
		if err != nil {
			return err
		}
		if err := ca.issue(at.file("client.crt"), at.file("client.key"), devClient, x509.ExtKeyUsageClientAuth, nil); err != nil {
			return fmt.Errorf("making the client's certificate: %w", err)
		}
	}
	c := &source{}
	sf := flags(s, "dev")
	c.define(sf)
	settings := []string{"--dir", l.dir, "--policy", l.policy, "--listen", l.listen, "--log-level", l.logLevel, "--log-format", l.logFormat}
	if f.Changed("transport") {
		settings = append(settings, "--transport", l.transport)
	}
	if err := sf.Parse(settings); err != nil {
		return err
	}
	if err := c.load(); err != nil {
		return err
	}
	if c.MaxPerAddress == 0 {
		c.MaxPerAddress = c.MaxConnections // in development all clients have one address
	}
	for _, x := range l.devListeners(addresses) {
		c.addListener(x)
	}
	if err := secureModule(c.policyNames(), true); err != nil { // the file may have strict listeners, too
		return err
	}
	if c.TokenModule == "" {
		c.TokenModule = hsm.FindModule()
	}
	c.AllowUnvalidatedToken, c.AllowUncertifiedModule = true, true
	if err := c.check(); err != nil {
		return fmt.Errorf("the configuration has problems:\n  %s", strings.ReplaceAll(err.Error(), "\n", "\n  "))
	}
	for _, at := range l.sites() {
		if err := c.registerDev(ctx, s, at.file("client.crt")); err != nil {
			return err
		}
	}
	c.devCA = devAuthorityFor(l.policy)
	return c.serve(ctx, s, func(addrs []bound) { l.announce(s, addrs, c.Transport) })
}

// readPolicy takes the policy of the environment or of the file that is there: the flag's default must not weaken it.
func (l *layout) readPolicy(s streams) error {
	c := &source{}
	c.define(flags(s, "dev"))
	if exists(l.path("kmipd.toml")) {
		c.dir = l.dir
	}
	err := c.load()
	l.policy = c.Policy
	return err
}

// parseListeners reads the values of --listener: the address of each policy.
func (l *layout) parseListeners(list []string) (map[string]string, error) {
	addresses := map[string]string{}
	for _, text := range list {
		policy, address, ok := strings.Cut(text, "=")
		if !ok || addresses[policy] != "" {
			return nil, fmt.Errorf("--listener: %q is not POLICY=HOST:PORT, each policy once: %w", text, errUsage)
		}
		addresses[policy] = address
		l.extra = append(l.extra, policy)
	}
	if err := checkPolicies(append(l.extra, l.policy)...); err != nil {
		return nil, fmt.Errorf("%w: %w", err, errUsage)
	}
	return addresses, nil
}

// registerDev registers the client's certificate once.
func (c *source) registerDev(ctx context.Context, s streams, certFile string) error {
	cert, err := readCertificate(certFile)
	if err != nil {
		return err
	}
	var all []*metadata.Client
	if err := c.askAdmin(ctx, s, "client/list", clientRequest{}, &all); err != nil {
		return err
	}
	match, command := metadata.CertificateMatch{Fingerprint: printOf(cert)}, "client/add"
	for _, cl := range all {
		if cl.Name != devClient {
			continue
		}
		if slices.Contains(cl.Certificates, match) {
			return nil
		}
		command = "client/certificate"
	}
	return c.askAdmin(ctx, s, command, clientRequest{Name: devClient, Certificates: []metadata.CertificateMatch{match}}, nil)
}

// announce prints the line that scripts wait for, and settings to paste.
func (l *layout) announce(s streams, addrs []bound, transport string) {
	for _, b := range addrs[1:] {
		at := &layout{dir: l.path(b.name)}
		fmt.Fprintf(s.out, "listener %s %s: CA %s, certificate %s, key %s\n", b.name, b.addr, at.path("ca.crt"), at.path("client.crt"), at.path("client.key"))
	}
	a := addrs[0].addr
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		host, port = a.String(), ""
	}
	address, web := a.String(), ""
	if transport != "tls" {
		web = "\n  over HTTPS   https://" + address + "/kmip, messages in TTLV, XML or JSON"
	}
	if transport == "https" {
		address = "https://" + address
	}
	fmt.Fprintf(s.out, "ready %s\n", a)
	fmt.Fprintf(s.out, `
A KMIP client needs:
  address      %s port %s
  CA           %s
  certificate  %s
  key          %s%s

Try it:
  kmipctl --dir %s --address %s create --algorithm AES --length 256 --name first-key

PyKMIP (pykmip.conf):
  [client]
  host=%s
  port=%s
  certfile=%s
  keyfile=%s
  ca_certs=%s
  cert_reqs=CERT_REQUIRED
  ssl_version=PROTOCOL_TLSv1_2
  do_handshake_on_connect=True
  suppress_ragged_eofs=True
`, host, port, l.path("ca.crt"), l.path("client.crt"), l.path("client.key"), web, l.dir, address, host, port,
		l.path("client.crt"), l.path("client.key"), l.path("ca.crt"))
}
