package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"strings"

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
	f.StringVar(&l.logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&l.logFormat, "log-format", "text", "json or text; text costs time under load")
	if err := parse(f, args, 0); err != nil {
		return err
	}
	if err := l.make(); err != nil {
		return err
	}
	ca, err := makeAuthority(l.dir)
	if err != nil {
		return err
	}
	if err := ca.issue(l.path("client.crt"), l.path("client.key"), devClient, x509.ExtKeyUsageClientAuth, nil); err != nil {
		return fmt.Errorf("making the client's certificate: %w", err)
	}
	c := &source{}
	sf := flags(s, "dev")
	c.define(sf)
	if err := sf.Parse([]string{"--dir", l.dir, "--listen", l.listen, "--log-level", l.logLevel, "--log-format", l.logFormat}); err != nil {
		return err
	}
	if err := c.load(); err != nil {
		return err
	}
	if c.TokenModule == "" {
		c.TokenModule = hsm.FindModule()
	}
	if err := c.check(); err != nil {
		return fmt.Errorf("the configuration has problems:\n  %s", strings.ReplaceAll(err.Error(), "\n", "\n  "))
	}
	if err := c.registerDev(ctx, s, l.path("client.crt")); err != nil {
		return err
	}
	c.devCA = true
	return c.serve(ctx, s, func(a net.Addr) { l.announce(s, a) })
}

// registerDev registers the client once.
func (c *source) registerDev(ctx context.Context, s streams, certFile string) error {
	cert, err := readCertificate(certFile)
	if err != nil {
		return err
	}
	var all []*metadata.Client
	if err := c.askAdmin(ctx, s, "client/list", clientRequest{}, &all); err != nil {
		return err
	}
	for _, cl := range all {
		if cl.Name == devClient {
			return nil
		}
	}
	return c.askAdmin(ctx, s, "client/add", clientRequest{Name: devClient,
		Certificates: []metadata.CertificateMatch{{Fingerprint: printOf(cert)}}}, nil)
}

// announce prints the line that scripts wait for, and settings to paste.
func (l *layout) announce(s streams, a net.Addr) {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		host, port = a.String(), ""
	}
	fmt.Fprintf(s.out, "ready %s\n", a)
	fmt.Fprintf(s.out, `
A KMIP client needs:
  address      %s port %s
  CA           %s
  certificate  %s
  key          %s

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
`, host, port, l.path("ca.crt"), l.path("client.crt"), l.path("client.key"), l.dir, a, host, port,
		l.path("client.crt"), l.path("client.key"), l.path("ca.crt"))
}
