package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"kmipd/keystore"
	"kmipd/keystore/audit"
	"kmipd/metadata"
)

const auditHelp = `kmipd audit verify --key KEY.pem (--dir DIR | FILE...) [--head FILE] [--expect NUMBER:HASH]... [--at TIME]
                   [--live] [--partial] [--json]
                    verifies files with the public key alone: 0 when all is well, 1 when not
kmipd audit export (--dir DIR | FILE...) [--format jsonl|syslog|cef] [--from N] [--to N] [--since TIME|DURATION]
                   [--operation NAME] [--client NAME]
kmipd audit key     prints the public key (needs the server or its token)
kmipd audit head    has the running server sign its trail, and prints NUMBER:HASH of what was signed

DIR is a directory of audit files, or one made by kmipd init or kmipd dev. key and head find the server by --dir or
--config. docs/audit.md tells what a verification proves, and what to keep for the next one.
`

// auditFlags are the flags of kmipd audit.
type auditFlags struct {
	source
	key, head, format, since, at, operation, client string
	expect                                          []string
	from, to                                        uint64
	live, partial, json                             bool
}

func runAudit(ctx context.Context, s streams, args []string) error {
	f := flags(s, "audit")
	c := &auditFlags{}
	f.Usage = func() { fmt.Fprint(s.out, auditHelp) }
	c.define(f)
	f.StringVar(&c.key, "key", "", "PEM file with the public key, as kmipd audit key prints it")
	f.StringVar(&c.head, "head", "", "head file (default: head.json beside the files of --dir)")
	f.StringArrayVar(&c.expect, "expect", nil, "NUMBER:HASH of a record that is known from earlier")
	f.StringVar(&c.at, "at", "", "when the files were copied, RFC 3339 (default: now)")
	f.BoolVar(&c.live, "live", false, "the last line may be half written: the server goes on writing")
	f.BoolVar(&c.partial, "partial", false, "the beginning may be missing")
	f.BoolVar(&c.json, "json", false, "print JSON")
	f.StringVar(&c.format, "format", "jsonl", "jsonl, syslog or cef")
	f.Uint64Var(&c.from, "from", 1, "the first record")
	f.Uint64Var(&c.to, "to", 0, "the last record; 0 for all")
	f.StringVar(&c.since, "since", "", "records after a time (RFC 3339), or of the last duration (24h)")
	f.StringVar(&c.operation, "operation", "", "records of an operation or command alone")
	f.StringVar(&c.client, "client", "", "records about a client alone")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", err, errUsage)
	}
	rest := f.Args()
	if len(rest) == 0 {
		f.Usage()
		return fmt.Errorf("audit needs a command: %w", errUsage)
	}
	switch sub, files := rest[0], rest[1:]; {
	case sub == "verify":
		return c.verify(s, files)
	case sub == "export":
		return c.export(s, files)
	case (sub == "key" || sub == "head") && len(files) == 0:
		if err := c.load(); err != nil {
			return err
		}
		return c.fromServer(ctx, s, sub)
	}
	f.Usage()
	return fmt.Errorf("audit: wrong command or arguments: %w", errUsage)
}

// trail finds the files that are meant, and the directory that they are in ("" for files that were named).
func (c *auditFlags) trail(files []string) ([]string, string, error) {
	if (len(files) == 0) == (c.dir == "") {
		return nil, "", fmt.Errorf("name the directory of the audit files with --dir, or files: %w", errUsage)
	}
	if len(files) > 0 {
		return files, "", nil
	}
	for _, dir := range []string{c.dir, filepath.Join(c.dir, "audit"), filepath.Join(c.dir, "data", "audit")} {
		found, err := audit.List(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, "", err
		}
		if len(found) > 0 {
			return found, dir, nil
		}
	}
	return nil, "", fmt.Errorf("there are no audit files in %s", c.dir)
}

// verify needs no configuration, token or server.
func (c *auditFlags) verify(s streams, files []string) error {
	if c.key == "" {
		return fmt.Errorf("--key is missing: the public key that kmipd audit key printed, kept where nobody who can change the trail can change it: %w", errUsage)
	}
	pem, err := os.ReadFile(c.key)
	if err != nil {
		return err
	}
	check := audit.Check{Live: c.live, Partial: c.partial, Now: time.Now()}
	if check.Key, err = audit.ParseKey(pem); err != nil {
		return fmt.Errorf("%s: %w", c.key, err)
	}
	if c.at != "" {
		if check.Now, err = time.Parse(time.RFC3339, c.at); err != nil {
			return fmt.Errorf("--at: %w: %w", err, errUsage)
		}
	}
	for _, text := range c.expect {
		h, err := audit.ParseHead(text)
		if err != nil {
			return fmt.Errorf("--expect: %w: %w", err, errUsage)
		}
		check.Known = append(check.Known, h)
	}
	if _, dir, err := c.trail(files); err == nil && c.head == "" && dir != "" {
		if head := filepath.Join(dir, audit.HeadFile); exists(head) {
			c.head = head
		}
	}
	if c.head != "" { // before the files: a server that goes on writes it after them
		b, err := os.ReadFile(c.head)
		if err != nil {
			return err
		}
		if check.Latest, err = audit.ParseSignature(b); err != nil {
			return fmt.Errorf("%s: %w", c.head, err)
		}
	}
	if check.Files, _, err = c.trail(files); err != nil {
		return err
	}
	r, err := audit.Verify(check)
	if err != nil {
		return err
	}
	if err := c.report(s, r); err != nil {
		return err
	}
	if len(r.Problems) > 0 {
		return exitCode(1)
	}
	return nil
}

func (c *auditFlags) report(s streams, r *audit.Report) error {
	if c.json {
		return printJSON(s, r)
	}
	for _, p := range r.Problems {
		fmt.Fprintln(s.out, p)
	}
	fmt.Fprintf(s.out, "%d records, %d to %d; %d checkpoints with good signatures, up to record %d\n", r.Records, r.First, r.Last, r.Checkpoints, r.Covered)
	for _, n := range r.Notes {
		fmt.Fprintln(s.out, "note:", n)
	}
	if len(r.Problems) > 0 {
		fmt.Fprintln(s.out, "the trail is NOT whole")
		return nil
	}
	end := "the trail is whole"
	if r.Closed {
		end += ", and closed by the stop of the server"
	}
	fmt.Fprintf(s.out, "%s\nkeep for the next verification: --expect %s\n", end, r.Head)
	return nil
}

// export prints records.
func (c *auditFlags) export(s streams, files []string) error {
	files, _, err := c.trail(files)
	if err != nil {
		return err
	}
	f := audit.Formatter{Version: version}
	if f.Format, err = audit.ParseFormat(c.format); err != nil {
		return fmt.Errorf("--format: %w: %w", err, errUsage)
	}
	wanted, err := c.filter()
	if err != nil {
		return err
	}
	out := bufio.NewWriter(s.out)
	err = audit.Walk(files, max(c.from, 1)-1, func(e *metadata.AuditEntry) error {
		if c.to > 0 && e.Seq > c.to {
			return audit.ErrStop
		}
		if ok, err := wanted(e); err != nil || !ok {
			return err
		}
		b, err := f.Append(nil, e)
		if err != nil {
			return err
		}
		_, err = out.Write(append(b, '\n'))
		return err
	})
	return errors.Join(err, out.Flush())
}

// filter decides about records by what they say.
func (c *auditFlags) filter() (func(*metadata.AuditEntry) (bool, error), error) {
	var since time.Time
	if c.since != "" {
		if d, err := time.ParseDuration(c.since); err == nil {
			since = time.Now().Add(-d)
		} else if since, err = time.Parse(time.RFC3339, c.since); err != nil {
			return nil, fmt.Errorf("--since: %q is neither a time, as 2026-01-31T12:00:00Z, nor a duration, as 24h: %w", c.since, errUsage)
		}
	}
	return func(e *metadata.AuditEntry) (bool, error) {
		if since.IsZero() && c.operation == "" && c.client == "" {
			return true, nil
		}
		var ev audit.Event
		if err := json.Unmarshal(e.Payload, &ev); err != nil {
			return false, fmt.Errorf("record %d: %w", e.Seq, err)
		}
		at, err := time.Parse(time.RFC3339, ev.Time)
		if err != nil {
			return false, fmt.Errorf("record %d: %w", e.Seq, err)
		}
		return !at.Before(since) && (c.operation == "" || strings.EqualFold(ev.Operation, c.operation)) && (c.client == "" || ev.Client == c.client), nil
	}, nil
}

// auditAnswer is what the server says of its trail.
type auditAnswer struct {
	Key  string           `json:"key,omitempty"` // PEM
	Head *audit.Signature `json:"head,omitempty"`
}

// adminAudit runs the commands about the trail on the keystore.
func adminAudit(ctx context.Context, keys *keystore.Store, command string) (any, error) {
	switch command {
	case "key":
		public, err := keys.AuditKey(ctx)
		if err != nil {
			return nil, err
		}
		pem, err := audit.EncodeKey(public)
		return auditAnswer{Key: string(pem)}, err
	case "head":
		sig, err := keys.Checkpoint(ctx)
		return auditAnswer{Head: sig}, err
	}
	return nil, fmt.Errorf("there is no command %q", "audit/"+command)
}

// fromServer asks the server, or token and records when it does not run.
func (c *auditFlags) fromServer(ctx context.Context, s streams, sub string) error {
	answer, err := c.overSocket(ctx, "audit/"+sub, []byte("{}"))
	if errors.Is(err, errNoServer) {
		answer, err = c.onToken(ctx, s, "audit/"+sub, []byte("{}"))
	}
	if err != nil {
		return err
	}
	var a auditAnswer
	if err := json.Unmarshal(answer, &a); err != nil {
		return err
	}
	if sub == "key" {
		fmt.Fprint(s.out, a.Key)
		return nil
	}
	if c.json {
		return printJSON(s, a.Head)
	}
	h, err := a.Head.Statement.Head()
	if err != nil {
		return err
	}
	fmt.Fprintln(s.out, audit.Head(h))
	return nil
}
