package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"kmipd/hsm"
	"kmipd/keystore"
)

const caHelp = `kmipd ca init NAME --subject DN [--algorithm ECDSA|RSA] [--curve P-256|P-384|P-521] [--length BITS] [--days N]
                    makes a root authority: key pair on the token, certificate signed by itself
kmipd ca init NAME --subject DN --subordinate   makes the key pair and prints a certificate request
kmipd ca csr NAME                               prints the certificate request (again)
kmipd ca import NAME --chain FILE               takes in the signed certificate and its chain (PEM, the authority's first)
kmipd ca list [--json]
kmipd ca chain NAME                             prints the authority's certificate and its chain
kmipd ca crl NAME                               prints its present revocation list
kmipd ca recover NAME --crl FILE                after a restore: revokes what a list that it published earlier revokes

Give --dir or --config to find the server; it may run or not.
`

// caFlags are the flags of kmipd ca.
type caFlags struct {
	source
	subject, algorithm, curve, chain string
	crl                              string
	length, days                     int
	subordinate, json                bool
}

// caRequest is the arguments of every ca command on the administrators' socket.
type caRequest struct {
	keystore.NewAuthority
	Chain [][]byte `json:"chain,omitempty"`
	CRL   []byte   `json:"crl,omitempty"` // DER
}

// caAnswer is DER: a certificate request or a revocation list.
type caAnswer struct {
	DER []byte `json:"der"`
}

func runCA(ctx context.Context, s streams, args []string) error {
	f := flags(s, "ca")
	c := &caFlags{}
	f.Usage = func() { fmt.Fprint(s.out, caHelp) }
	c.define(f)
	f.StringVar(&c.subject, "subject", "", "distinguished name of the authority, as RFC 4514 has it: \"CN=My CA,O=ACME,C=US\"")
	f.StringVar(&c.algorithm, "algorithm", "ECDSA", "ECDSA or RSA")
	f.StringVar(&c.curve, "curve", "P-256", "curve of an ECDSA key: P-256, P-384, P-521")
	f.IntVar(&c.length, "length", 3072, "bits of an RSA key: 2048, 3072, 4096")
	f.IntVar(&c.days, "days", 3650, "validity of a root's certificate in days")
	f.BoolVar(&c.subordinate, "subordinate", false, "another authority signs the certificate")
	f.StringVar(&c.chain, "chain", "", "PEM file with the certificate of the authority and those above it")
	f.StringVar(&c.crl, "crl", "", "file with a revocation list of the authority, PEM or DER")
	f.BoolVar(&c.json, "json", false, "print JSON")
	if err := parse(f, args, 2); err != nil {
		return err
	}
	if err := c.load(); err != nil {
		return err
	}
	return c.dispatch(ctx, s, f)
}

func (c *caFlags) dispatch(ctx context.Context, s streams, f *pflag.FlagSet) error {
	sub, name := f.Arg(0), f.Arg(1)
	wantName, known := map[string]bool{"init": true, "csr": true, "import": true, "list": false, "chain": true, "crl": true, "recover": true}[sub]
	if !known || wantName != (name != "") {
		f.Usage()
		return fmt.Errorf("ca: wrong command or arguments: %w", errUsage)
	}
	r := caRequest{NewAuthority: keystore.NewAuthority{Name: name}}
	switch sub {
	case "init":
		return c.init(ctx, s, r)
	case "csr", "crl":
		return c.printDER(ctx, s, sub, r)
	case "recover":
		return c.recover(ctx, s, r)
	case "import":
		var err error
		if r.Chain, err = readChain(c.chain); err != nil {
			return err
		}
		if err := c.ask(ctx, s, "ca/import", r, nil); err != nil {
			return err
		}
		fmt.Fprintln(s.out, "done")
		return nil
	}
	return c.show(ctx, s, name)
}

func (c *caFlags) init(ctx context.Context, s streams, r caRequest) error {
	if c.subject == "" {
		return fmt.Errorf("ca init needs --subject: %w", errUsage)
	}
	r.Subject, r.Days, r.Subordinate, r.Algorithm, r.Length = c.subject, c.days, c.subordinate, strings.ToUpper(c.algorithm), c.length
	if r.Algorithm == "ECDSA" {
		bits, ok := map[string]int{"P-256": 256, "P-384": 384, "P-521": 521}[strings.ToUpper(c.curve)]
		if !ok {
			return fmt.Errorf("--curve: %q is none of P-256, P-384, P-521: %w", c.curve, errUsage)
		}
		r.Length = bits
	}
	var made keystore.Authority
	if err := c.ask(ctx, s, "ca/init", r, &made); err != nil {
		return err
	}
	if c.subordinate {
		return c.printDER(ctx, s, "csr", r)
	}
	return printChain(s, made.Certificates)
}

// recover takes lost revocations back.
func (c *caFlags) recover(ctx context.Context, s streams, r caRequest) error {
	if c.crl == "" {
		return fmt.Errorf("ca recover needs --crl: %w", errUsage)
	}
	b, err := os.ReadFile(c.crl)
	if err != nil {
		return err
	}
	if block, _ := pem.Decode(b); block != nil {
		b = block.Bytes
	}
	r.CRL = b
	var out keystore.Recovered
	if err := c.ask(ctx, s, "ca/recover", r, &out); err != nil {
		return err
	}
	if c.json {
		return printJSON(s, out)
	}
	fmt.Fprintf(s.out, "list %s has %d certificates, the records had list %s\n%d revocations were unknown to the records and are there again\n",
		out.Number, out.Entries, cmp.Or(out.Present, "none"), out.Lost)
	return nil
}

// printDER prints a certificate request or a revocation list.
func (c *caFlags) printDER(ctx context.Context, s streams, sub string, r caRequest) error {
	var out caAnswer
	if err := c.ask(ctx, s, "ca/"+sub, r, &out); err != nil {
		return err
	}
	if out.DER == nil {
		return fmt.Errorf("authority %s has no revocation list yet", r.Name)
	}
	kind := map[string]string{"csr": "CERTIFICATE REQUEST", "crl": "X509 CRL"}[sub]
	return pem.Encode(s.out, &pem.Block{Type: kind, Bytes: out.DER})
}

func printChain(s streams, chain [][]byte) error {
	for _, der := range chain {
		if err := pem.Encode(s.out, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
			return err
		}
	}
	return nil
}

// readChain reads the certificates of a PEM file.
func readChain(file string) ([][]byte, error) {
	if file == "" {
		return nil, fmt.Errorf("ca import needs --chain: %w", errUsage)
	}
	rest, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var chain [][]byte
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("%s holds a %s beside certificates", file, block.Type)
		}
		chain = append(chain, block.Bytes)
	}
	if len(chain) == 0 {
		return nil, fmt.Errorf("%s holds no PEM certificate", file)
	}
	return chain, nil
}

// show prints the list of authorities, or the chain of one.
func (c *caFlags) show(ctx context.Context, s streams, name string) error {
	var list []keystore.Authority
	if err := c.ask(ctx, s, "ca/list", caRequest{}, &list); err != nil {
		return err
	}
	if name != "" {
		for _, a := range list {
			if a.Name == name && len(a.Certificates) > 0 {
				return printChain(s, a.Certificates)
			}
		}
		return fmt.Errorf("there is no authority %q with a certificate", name)
	}
	if c.json {
		return printJSON(s, list)
	}
	w := tabwriter.NewWriter(s.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "AUTHORITY\tKEY\tSUBJECT\tISSUER\tVALID UNTIL")
	for _, a := range list {
		subject, issuer, until := "", "", "(waits for its certificate)"
		if len(a.Certificates) > 0 {
			cert, err := x509.ParseCertificate(a.Certificates[0])
			if err != nil {
				return err
			}
			subject, issuer, until = cert.Subject.String(), cert.Issuer.String(), cert.NotAfter.Format(time.DateTime)
			if subject == issuer {
				issuer = "(root)"
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", a.Name, a.Kind, subject, issuer, until)
	}
	return w.Flush()
}

// ask runs a command on the running server, or on token and records themselves when no server runs.
func (c *caFlags) ask(ctx context.Context, s streams, command string, in caRequest, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	answer, err := c.overSocket(ctx, command, body)
	if errors.Is(err, errNoServer) {
		answer, err = c.onToken(ctx, s, command, body)
	}
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(answer, out)
}

// onToken runs a command on token and records.
func (c *source) onToken(ctx context.Context, s streams, command string, body []byte) (answer []byte, err error) {
	if c.DataDir == "" {
		return nil, errors.New("data_dir is not set: name the configuration with --config or --dir")
	}
	if c.TokenModule == "" {
		c.TokenModule = hsm.FindModule()
	}
	if err := secureModule(c.policyNames(), c.AllowUncertifiedModule); err != nil {
		return nil, err
	}
	if errs := c.checkToken(); len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	c.LogLevel = "warn"
	log := c.logger(s)
	meta, err := c.openRecords(log, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, meta.Close()) }()
	token, err := c.openToken(ctx, s, log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, token.Close(context.WithoutCancel(ctx))) }()
	keys, err := c.keystore(meta, token, log)
	if err != nil {
		return nil, err
	}
	if err := keys.Start(ctx); err != nil {
		return nil, err
	}
	defer keys.Close()
	out, err := administer(ctx, keys, command, body)
	if err != nil {
		return nil, err
	}
	return json.Marshal(out)
}

// adminCA runs one ca command on the keystore.
func adminCA(ctx context.Context, keys *keystore.Store, command string, body []byte) (any, error) {
	var r caRequest
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf("the request is not understood: %w", err)
	}
	switch command {
	case "init":
		return keys.InitAuthority(ctx, r.NewAuthority)
	case "list":
		return keys.Authorities(ctx)
	case "csr":
		der, err := keys.AuthorityRequest(ctx, r.Name)
		return caAnswer{der}, err
	case "crl":
		der, _, err := keys.CRL(ctx, r.Name)
		return caAnswer{der}, err
	case "import":
		return struct{}{}, keys.ImportAuthority(ctx, r.Name, r.Chain)
	case "recover":
		return keys.RecoverRevocations(ctx, r.Name, r.CRL)
	}
	return nil, fmt.Errorf("there is no command %q", "ca/"+command)
}

// devAuthorityFor is the authority that kmipd dev makes, so that Certify works at once: RSA, as the OASIS cases have it, where
// the policy lets it, and none where the policy has no signature that a certificate can have.
func devAuthorityFor(policy string) *keystore.NewAuthority {
	if policy == "cnsa2" {
		return nil
	}
	a := &keystore.NewAuthority{Name: "dev", Algorithm: "RSA", Length: 2048, Subject: "CN=kmipd dev CA,O=kmipd", Days: 3650}
	if policy != "default" && policy != "fips140" {
		a.Algorithm, a.Length = "ECDSA", curveFor(policy).Params().BitSize
	}
	return a
}

// makeDevAuthority makes it once.
func makeDevAuthority(ctx context.Context, keys *keystore.Store, a keystore.NewAuthority) error {
	list, err := keys.Authorities(ctx)
	if err != nil || len(list) > 0 {
		return err
	}
	if _, err := keys.InitAuthority(ctx, a); err != nil {
		return fmt.Errorf("making the certification authority: %w", err)
	}
	return nil
}
