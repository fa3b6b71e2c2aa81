package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"kmipd/cmd/internal/prompt"
	"kmipd/keystore"
	"kmipd/metadata"
)

// clientRequest is the arguments of every client command.
type clientRequest struct {
	Name         string                      `json:"name,omitempty"`
	Certificates []metadata.CertificateMatch `json:"certificates,omitempty"`
	User         string                      `json:"user,omitempty"`
	Device       bool                        `json:"device,omitempty"`
	Password     string                      `json:"password,omitempty"`
	Fingerprint  string                      `json:"fingerprint,omitempty"`
	Require      bool                        `json:"require,omitempty"`
	Group        string                      `json:"group,omitempty"`
	ID           string                      `json:"id,omitempty"` // of a job
	Endpoint     *metadata.Endpoint          `json:"endpoint,omitempty"`
	UIDs         []string                    `json:"unique_identifiers,omitempty"`
	Functions    []string                    `json:"functions,omitempty"` // of Query
}

// removed tells what became of a removed client's objects.
type removed struct {
	Objects int `json:"objects_kept"`
}

// admin runs one command of an administrator on the keystore.
func admin(ctx context.Context, keys *keystore.Store, command string, body []byte) (any, error) {
	if sub, ok := strings.CutPrefix(command, "audit/"); ok {
		return adminAudit(ctx, keys, sub)
	}
	if sub, ok := strings.CutPrefix(command, "ca/"); ok {
		return adminCA(ctx, keys, sub, body)
	}
	if run := objectCommands[command]; run != nil {
		return run(ctx, keys, body)
	}
	if run := reportCommands[command]; run != nil {
		return run(ctx, keys, body)
	}
	var r clientRequest
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf("the request is not understood: %w", err)
	}
	if out, ok, err := adminJob(ctx, keys, command, r.ID); ok {
		return out, err
	}
	if out, ok, err := adminFIPS(ctx, keys, command); ok {
		return out, err
	}
	if out, ok, err := adminEndpoint(ctx, keys, command, &r); ok {
		return out, err
	}
	done := struct{}{}
	switch command {
	case "client/add":
		return done, keys.AddClient(ctx, &metadata.Client{Name: r.Name, Certificates: r.Certificates})
	case "client/list":
		return keys.Clients(ctx)
	case "client/remove":
		n, err := keys.RemoveClient(ctx, r.Name)
		return removed{n}, err
	case "client/certificate":
		for _, m := range r.Certificates {
			if err := keys.AddCertificate(ctx, r.Name, m); err != nil {
				return nil, err
			}
		}
		return done, nil
	case "client/uncertify":
		return done, keys.RemoveCertificate(ctx, r.Name, r.Fingerprint)
	case "client/require":
		return done, keys.RequireCredential(ctx, r.Name, r.Require)
	case "client/group":
		return done, keys.SetGroup(ctx, r.Name, r.Group)
	case "client/credential":
		return done, keys.AddCredential(ctx, r.Name, r.User, r.Device, []byte(r.Password))
	case "client/pending":
		return keys.PendingCertificates(ctx)
	case "client/accept":
		return done, keys.AcceptPending(ctx, r.Fingerprint, r.Name)
	case "client/reject":
		return done, keys.RejectPending(ctx, r.Fingerprint)
	}
	return nil, fmt.Errorf("there is no command %q", command)
}

const clientHelp = `kmipd client add NAME [--certificate FILE]... [--subject DN --ca FILE]
kmipd client list | show NAME | remove NAME
kmipd client certificate NAME (--certificate FILE | --subject DN --ca FILE)
kmipd client uncertify NAME FINGERPRINT
kmipd client require NAME yes|no      (a credential in each message, next to the certificate)
kmipd client group NAME GROUP         (a [[group]] of the configuration; - for none)
kmipd client credential NAME --username USER [--password-file FILE]   (asks without a file)
kmipd client credential NAME --device FIELD=VALUE[,...] [--password-file FILE]
                             fields: serial, device, network, machine, media
kmipd client endpoint NAME [--address HOST:PORT --ca FILE [--server-name NAME] [--kmip-version 1.4]
                             [--notify others|all|none] [--put-new] | --remove]   (shows it without flags)
kmipd client query NAME [--function LIST]   (asks the client's endpoint what it can do)
kmipd client discover-versions NAME         (asks it which versions it speaks)
kmipd client pending | accept FINGERPRINT NAME | reject FINGERPRINT

Give --dir or --config to find the server; it may run or not.
`

// clientFlags are the flags of kmipd client.
type clientFlags struct {
	source
	certs                                []string
	subject, ca, user, device, passwords string
	json                                 bool
	ep                                   endpointFlags
	functions                            []string
}

func runClient(ctx context.Context, s streams, args []string) error {
	f := flags(s, "client")
	c := &clientFlags{}
	f.Usage = func() { fmt.Fprint(s.out, clientHelp) }
	c.define(f)
	f.StringArrayVar(&c.certs, "certificate", nil, "PEM file of a client certificate")
	f.StringVar(&c.subject, "subject", "", "whole subject of the client's certificates, as RFC 2253 has it")
	f.StringVar(&c.ca, "ca", "", "PEM file of the authority under which --subject holds, or of the endpoint's certificate")
	f.StringVar(&c.ep.address, "address", "", "endpoint: address and port to which the server sends Notify and Put, or https://HOST:PORT/PATH")
	f.StringVar(&c.ep.serverName, "server-name", "", "endpoint: name in its certificate, when that is not the host")
	f.StringVar(&c.ep.version, "kmip-version", "1.4", "endpoint: protocol version of the messages")
	f.StringVar(&c.ep.notify, "notify", keystore.NotifyOthers, "endpoint: changes to tell: others (not by the owner's requests), all, none")
	f.BoolVar(&c.ep.putNew, "put-new", false, "endpoint: put every new object of the client")
	f.BoolVar(&c.ep.remove, "remove", false, "endpoint: remove it and what waits for it")
	f.StringVar(&c.user, "username", "", "KMIP username")
	f.StringVar(&c.device, "device", "", "KMIP device credential")
	f.StringVar(&c.passwords, "password-file", "", "file with the credential's password")
	f.StringSliceVar(&c.functions, "function", nil, "query: list of what to ask, such as operations,profiles (default all that the endpoint's version has)")
	f.BoolVar(&c.json, "json", false, "print JSON")
	if err := parse(f, args, 3); err != nil {
		return err
	}
	if err := c.load(); err != nil {
		return err
	}
	sub, rest := f.Arg(0), []string(nil)
	if f.NArg() > 0 {
		rest = f.Args()[1:]
	}
	return c.dispatch(ctx, s, f, sub, rest)
}

func (c *clientFlags) dispatch(ctx context.Context, s streams, f *pflag.FlagSet, sub string, rest []string) error {
	wantArgs := map[string]int{"add": 1, "list": 0, "show": 1, "remove": 1, "certificate": 1, "uncertify": 2, "require": 2, "group": 2, "credential": 1, "endpoint": 1, "query": 1, "discover-versions": 1, "pending": 0, "accept": 2, "reject": 1}
	n, ok := wantArgs[sub]
	if !ok || len(rest) != n {
		f.Usage()
		return fmt.Errorf("client: wrong command or arguments: %w", errUsage)
	}
	var r clientRequest
	switch sub {
	case "add", "certificate":
		r.Name = rest[0]
		var err error
		if r.Certificates, err = c.matches(); err != nil {
			return err
		}
		if sub == "certificate" && len(r.Certificates) == 0 {
			return fmt.Errorf("client certificate needs --certificate, or --subject and --ca: %w", errUsage)
		}
	case "credential":
		if err := c.credential(ctx, s, &r); err != nil {
			return err
		}
		r.Name = rest[0]
	case "remove":
		r.Name = rest[0]
		var out removed
		if err := c.askAdmin(ctx, s, "client/remove", r, &out); err != nil {
			return err
		}
		fmt.Fprintf(s.out, "removed client %s; its %d objects stay\n", r.Name, out.Objects)
		return nil
	case "accept":
		r.Fingerprint, r.Name = rest[0], rest[1]
	case "uncertify":
		r.Name, r.Fingerprint = rest[0], rest[1]
	case "require":
		if rest[1] != "yes" && rest[1] != "no" {
			return fmt.Errorf("client require NAME yes|no: %w", errUsage)
		}
		r.Name, r.Require = rest[0], rest[1] == "yes"
	case "group":
		if r.Name, r.Group = rest[0], rest[1]; r.Group == "-" {
			r.Group = ""
		}
	case "reject":
		r.Fingerprint = rest[0]
	case "endpoint":
		return c.endpoint(ctx, s, rest[0])
	case "query", "discover-versions":
		return c.ask(ctx, s, sub, rest[0])
	case "pending":
		return c.pending(ctx, s)
	case "list", "show":
		return c.list(ctx, s, rest)
	}
	if err := c.askAdmin(ctx, s, "client/"+sub, r, nil); err != nil {
		return err
	}
	fmt.Fprintln(s.out, "done")
	return nil
}

// matches are the ways to recognise the client that the flags name.
func (c *clientFlags) matches() ([]metadata.CertificateMatch, error) {
	var out []metadata.CertificateMatch
	for _, file := range c.certs {
		cert, err := readCertificate(file)
		if err != nil {
			return nil, err
		}
		out = append(out, metadata.CertificateMatch{Fingerprint: printOf(cert)})
	}
	if (c.subject == "") != (c.ca == "") {
		return nil, fmt.Errorf("--subject and --ca go together: %w", errUsage)
	}
	if c.subject != "" {
		ca, err := readCertificate(c.ca)
		if err != nil {
			return nil, err
		}
		out = append(out, metadata.CertificateMatch{Subject: c.subject, CAFingerprint: printOf(ca)})
	}
	return out, nil
}

func printOf(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

func readCertificate(file string) (*x509.Certificate, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("%s holds no PEM certificate", file)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return cert, nil
}

func (c *clientFlags) credential(ctx context.Context, s streams, r *clientRequest) error {
	if (c.user == "") == (c.device == "") {
		return fmt.Errorf("client credential needs either --username or --device: %w", errUsage)
	}
	r.User = c.user
	if c.device != "" {
		name, err := deviceName(c.device)
		if err != nil {
			return err
		}
		r.User, r.Device = name, true
	}
	if c.passwords != "" {
		b, err := os.ReadFile(c.passwords)
		if err != nil {
			return fmt.Errorf("password-file: %w", err)
		}
		r.Password = strings.TrimRight(string(b), "\r\n")
		return nil
	}
	if !prompt.IsTerminal(s.in) {
		return errors.New("give the password with --password-file, or run this on a terminal")
	}
	b, err := prompt.Secret(ctx, s.in, s.err, "Password (empty for none): ")
	r.Password = string(b)
	return err
}

// deviceName brings the fields of a device credential into the order in which the keystore names it.
func deviceName(list string) (string, error) {
	fields := map[string]string{}
	for _, part := range strings.Split(list, ",") {
		k, v, ok := strings.Cut(part, "=")
		if !ok || v == "" {
			return "", fmt.Errorf("--device: %q is not FIELD=VALUE: %w", part, errUsage)
		}
		fields[k] = v
	}
	var parts []string
	for _, k := range []string{"serial", "device", "network", "machine", "media"} {
		if v, ok := fields[k]; ok {
			parts = append(parts, k+"="+v)
			delete(fields, k)
		}
	}
	for k := range fields {
		return "", fmt.Errorf("--device: there is no field %q: %w", k, errUsage)
	}
	return strings.Join(parts, ","), nil
}

func (c *clientFlags) list(ctx context.Context, s streams, names []string) error {
	var all, out []*metadata.Client
	if err := c.askAdmin(ctx, s, "client/list", clientRequest{}, &all); err != nil {
		return err
	}
	for _, cl := range all {
		if len(names) == 0 || cl.Name == names[0] {
			for i := range cl.Credentials {
				cl.Credentials[i].Hash, cl.Credentials[i].Salt = nil, nil
			}
			out = append(out, cl)
		}
	}
	if len(names) > 0 && len(out) == 0 {
		return fmt.Errorf("client %q does not exist", names[0])
	}
	if c.json {
		return printJSON(s, out)
	}
	w := tabwriter.NewWriter(s.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "CLIENT\tCREATED\tGROUP\tRECOGNISED BY\tCREDENTIALS")
	for _, cl := range out {
		var by, creds []string
		for _, m := range cl.Certificates {
			if m.Fingerprint != "" {
				by = append(by, "certificate "+m.Fingerprint)
			} else {
				by = append(by, fmt.Sprintf("subject %q under CA %s", m.Subject, m.CAFingerprint))
			}
		}
		for _, cr := range cl.Credentials {
			creds = append(creds, cr.User)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", cl.Name, cl.Created.Format(time.DateTime), cmp.Or(cl.Group, "-"), strings.Join(by, "; "), strings.Join(creds, "; "))
	}
	return w.Flush()
}

func (c *clientFlags) pending(ctx context.Context, s streams) error {
	var list []*metadata.PendingCertificate
	if err := c.askAdmin(ctx, s, "client/pending", clientRequest{}, &list); err != nil {
		return err
	}
	if c.json {
		return printJSON(s, list)
	}
	w := tabwriter.NewWriter(s.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "FINGERPRINT\tSUBJECT\tADDRESS\tFIRST SEEN\tLAST SEEN\tTRIES")
	for _, p := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\n", p.Fingerprint, p.Subject, p.Address,
			p.FirstSeen.Format(time.DateTime), p.LastSeen.Format(time.DateTime), p.Attempts)
	}
	return w.Flush()
}

func printJSON(s streams, v any) error {
	e := json.NewEncoder(s.out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
