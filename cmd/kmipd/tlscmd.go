package main

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/keystore"
)

const tlsHelp = `kmipd tls key LABEL [--algorithm ECDSA|RSA] [--curve P-256|P-384|P-521] [--length BITS]
                    makes a key for the server's certificate on the token and prints what tls_key is to be
kmipd tls csr KEY --subject DN [--name HOST...]   prints a certificate request for it (PKCS#10, PEM)
kmipd tls certificate KEY --out FILE [--name HOST...]
                    writes a certificate by the authority that kmipd init made (ca.crt and ca.key in --dir)
kmipd tls crl [--revoke FILE...]   renews the revocation list of that authority, ca.crl; the certificates of the files are added
kmipd tls show      prints what each listener allows

KEY is what kmipd tls key printed, or the label. Give --dir or --config.
`

// tlsFlags are the flags of kmipd tls.
type tlsFlags struct {
	source
	algorithm, curve, subject, out string
	length                         int
	names, revoke                  []string
}

func runTLS(ctx context.Context, s streams, args []string) error {
	f := flags(s, "tls")
	c := &tlsFlags{}
	f.Usage = func() { fmt.Fprint(s.out, tlsHelp) }
	c.define(f)
	f.StringVar(&c.algorithm, "algorithm", "ECDSA", "ECDSA or RSA")
	f.StringVar(&c.curve, "curve", "P-384", "curve of an ECDSA key: P-256, P-384, P-521")
	f.IntVar(&c.length, "length", 3072, "bits of an RSA key: 2048, 3072, 4096")
	f.StringVar(&c.subject, "subject", "", "distinguished name of the server, as RFC 4514 has it: \"CN=kmip.example.com,O=ACME\"")
	f.StringArrayVar(&c.names, "name", nil, "DNS name or IP address of the server; may be given several times")
	f.StringVar(&c.out, "out", "", "file for the certificate")
	f.StringArrayVar(&c.revoke, "revoke", nil, "PEM file of a certificate to revoke")
	if err := parse(f, args, 2); err != nil {
		return err
	}
	if err := c.load(); err != nil {
		return err
	}
	if c.TokenModule == "" {
		c.TokenModule = hsm.FindModule()
	}
	return c.dispatch(ctx, s, f)
}

func (c *tlsFlags) dispatch(ctx context.Context, s streams, f *pflag.FlagSet) error {
	sub, key := f.Arg(0), f.Arg(1)
	wantKey, known := map[string]bool{"key": true, "csr": true, "certificate": true, "crl": false, "show": false}[sub]
	if !known || wantKey != (key != "") {
		f.Usage()
		return fmt.Errorf("tls: wrong command or arguments: %w", errUsage)
	}
	switch sub {
	case "crl":
		return c.renewCRL(s)
	case "show":
		return c.show(s)
	}
	if errs := c.checkToken(); len(errs) > 0 {
		return errors.Join(errs...)
	}
	c.LogLevel = "warn"
	return c.withKeys(ctx, s, func(keys hsm.NamedKeys) error {
		if sub == "key" {
			return c.makeKey(ctx, s, keys, key)
		}
		name, err := keyNamed(key)
		if err != nil {
			return err
		}
		if sub == "csr" {
			return c.request(ctx, s, keys, name)
		}
		return c.certificate(ctx, s, keys, name)
	})
}

// keyNamed is the name of a key: a URI, or the label alone.
func keyNamed(key string) (keyURI, error) {
	if !isTokenKey(key) {
		return keyURI{KeyName: hsm.KeyName{Label: key}}, nil
	}
	return parseKeyURI(key)
}

// withKeys opens the token for f.
func (c *config) withKeys(ctx context.Context, s streams, f func(hsm.NamedKeys) error) (err error) {
	token, err := c.openToken(ctx, s, c.logger(s))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, token.Close(context.WithoutCancel(ctx))) }()
	keys, ok := token.(hsm.NamedKeys)
	if !ok {
		return errors.New("the token has no keys of its own")
	}
	return f(keys)
}

var curveNames = map[string]hsm.Curve{"P-256": hsm.CurveP256, "P-384": hsm.CurveP384, "P-521": hsm.CurveP521}

func (c *tlsFlags) makeKey(ctx context.Context, s streams, keys hsm.NamedKeys, label string) error {
	kind, curve := hsm.KeyEC, curveNames[strings.ToUpper(c.curve)]
	switch strings.ToUpper(c.algorithm) {
	case "RSA":
		kind = hsm.KeyRSA
	case "ECDSA":
		if curve == 0 {
			return fmt.Errorf("--curve: %q is none of P-256, P-384, P-521: %w", c.curve, errUsage)
		}
	default:
		return fmt.Errorf("--algorithm: %q is neither ECDSA nor RSA: %w", c.algorithm, errUsage)
	}
	id, _, err := keys.GenerateNamedPair(ctx, label, kind, c.length, curve)
	if errors.Is(err, hsm.ErrExists) {
		return fmt.Errorf("a key with the label %q is on the token already", label)
	} else if err != nil {
		return err
	}
	fmt.Fprintln(s.out, keyURI{KeyName: hsm.KeyName{Label: label, ID: id}})
	return nil
}

// publicKey is the public half of a named key.
func publicKey(ctx context.Context, keys hsm.NamedKeys, name keyURI) (crypto.PublicKey, error) {
	spki, err := keys.NamedPublicKey(ctx, name.KeyName)
	if errors.Is(err, hsm.ErrNotFound) {
		return nil, fmt.Errorf("the token has no public key %s: make a key with kmipd tls key", name)
	} else if err != nil {
		return nil, err
	}
	return x509.ParsePKIXPublicKey(spki)
}

// request prints a certificate request.
func (c *tlsFlags) request(ctx context.Context, s streams, keys hsm.NamedKeys, name keyURI) error {
	if c.subject == "" {
		return fmt.Errorf("tls csr needs --subject: %w", errUsage)
	}
	subject, err := keystore.ParseName(c.subject)
	if err != nil {
		return fmt.Errorf("--subject: %w", err)
	}
	public, err := publicKey(ctx, keys, name)
	if err != nil {
		return err
	}
	signer, err := keys.NamedSigner(ctx, name.KeyName, public)
	if err != nil {
		return err
	}
	t := &x509.CertificateRequest{RawSubject: subject}
	for _, h := range c.names {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificateRequest(nil, t, signer)
	if err != nil {
		return err
	}
	return pem.Encode(s.out, &pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

// certificate writes a certificate of the authority that kmipd init made.
func (c *tlsFlags) certificate(ctx context.Context, s streams, keys hsm.NamedKeys, name keyURI) error {
	ca, err := c.authority()
	if err != nil {
		return err
	}
	if c.out == "" {
		return fmt.Errorf("tls certificate needs --out: %w", errUsage)
	}
	public, err := publicKey(ctx, keys, name)
	if err != nil {
		return err
	}
	if err := ca.issueFor(public, c.out, append(hostNames(c.Listen), c.names...)); err != nil {
		return err
	}
	fmt.Fprintln(s.out, c.out)
	return nil
}

// authority is the one that kmipd init made.
func (c *tlsFlags) authority() (*authority, error) {
	l := layout{dir: c.dir}
	if c.dir == "" || !exists(l.path("ca.key")) {
		return nil, errors.New("there is no authority of kmipd init: name its directory with --dir, or have your own authority sign what kmipd tls csr prints")
	}
	return loadAuthority(l.path("ca.crt"), l.path("ca.key"))
}

func (c *tlsFlags) renewCRL(s streams) error {
	ca, err := c.authority()
	if err != nil {
		return err
	}
	var more []*x509.Certificate
	for _, file := range c.revoke {
		list, err := readCertificates(file)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		// By its key: all authorities of kmipd init have one name, and a list of the wrong one would revoke nothing.
		if err := list[0].CheckSignatureFrom(ca.cert); err != nil {
			return fmt.Errorf("%s: the certificate is not by this authority", file)
		}
		more = append(more, list[0])
	}
	file := (&layout{dir: c.dir}).path("ca.crl")
	if err := ca.writeCRL(file, more...); err != nil {
		return err
	}
	fmt.Fprintln(s.out, file)
	if !c.reads(file) {
		fmt.Fprintln(s.err, "kmipd: no listener reads this list: name it in tls_crl, or who is on it gets in")
	}
	return nil
}

// reads tells whether a listener of the configuration reads a revocation list.
func (c *config) reads(file string) bool {
	return slices.ContainsFunc(c.listeners(), func(l listenerConfig) bool {
		return l.CRLMode != "off" && slices.ContainsFunc(l.CRL, func(p string) bool {
			return sameFile(p, file) || sameFile(p, filepath.Dir(file))
		})
	})
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// listenerSummary is what kmipd tls show and reports tell of a listener.
type listenerSummary struct {
	Name         string   `json:"name"`
	Listen       string   `json:"listen"`
	Transport    string   `json:"transport"`
	Policy       string   `json:"policy"`
	Certificates []string `json:"certificate_chain_sha256"`
	KeyOnToken   bool     `json:"key_on_token"`
	RevocationBy string   `json:"revocation"`
	fips.TLSSummary
}

// summary is what a listener allows.
func (id *identity) summary() listenerSummary {
	s := listenerSummary{Name: id.Name, Listen: id.Listen, Transport: id.Transport, Policy: id.rules.String(), KeyOnToken: isTokenKey(id.Key), RevocationBy: id.modeName(),
		TLSSummary: id.rules.Summary()}
	for _, der := range id.cert.Certificate {
		sum := sha256.Sum256(der)
		s.Certificates = append(s.Certificates, hex.EncodeToString(sum[:]))
	}
	return s
}

func (c *tlsFlags) show(s streams) error {
	ids, err := c.identities()
	if err != nil {
		return err
	}
	list := []listenerSummary{}
	for _, id := range ids {
		list = append(list, id.summary())
	}
	return printJSON(s, list)
}

// modeName is the revocation mode as it is set.
func (id *identity) modeName() string {
	for name, mode := range crlModes {
		if mode == id.mode {
			return name
		}
	}
	return ""
}
