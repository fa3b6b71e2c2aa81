package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"kmipd/keystore"
	"kmipd/kmip"
	"kmipd/kmip/server"
)

// approvals finds the operations that the setting approve names, however they are written: destroy, create-key-pair,
// "Create Key Pair".
func approvals(names []string) ([]kmip.Operation, error) {
	plain := func(s string) string {
		return strings.NewReplacer(" ", "", "-", "", "_", "").Replace(strings.ToLower(s))
	}
	var ops []kmip.Operation
	for _, name := range names {
		i := slices.IndexFunc(server.Approvable(), func(op kmip.Operation) bool { return plain(op.String()) == plain(name) })
		if i < 0 {
			var may []string
			for _, op := range server.Approvable() {
				may = append(may, strings.ReplaceAll(strings.ToLower(op.String()), " ", "-"))
			}
			return nil, fmt.Errorf("%q is none of %s", name, strings.Join(may, ", "))
		}
		ops = append(ops, server.Approvable()[i])
	}
	return ops, nil
}

// adminJob runs the commands about jobs; ok is false for those about something else.
func adminJob(ctx context.Context, keys *keystore.Store, command, id string) (out any, ok bool, err error) {
	switch command {
	case "job/list":
		out, err = keys.Jobs(ctx)
	case "job/approve":
		out, err = struct{}{}, keys.ApproveJob(ctx, id)
	case "job/deny":
		out, err = struct{}{}, keys.DenyJob(ctx, id)
	default:
		return nil, false, nil
	}
	return out, true, err
}

const jobHelp = `kmipd job list [--waiting] [--json]
kmipd job approve ID | deny ID      (ID may be cut short)

Give --dir or --config to find the server; it may run or not.
`

func runJob(ctx context.Context, s streams, args []string) error {
	f := flags(s, "job")
	c := &source{}
	var waiting, asJSON bool
	f.Usage = func() { fmt.Fprint(s.out, jobHelp) }
	c.define(f)
	f.BoolVar(&waiting, "waiting", false, "only requests that wait for a decision")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	if err := parse(f, args, 2); err != nil {
		return err
	}
	if err := c.load(); err != nil {
		return err
	}
	switch sub := f.Arg(0); {
	case sub == "list" && f.NArg() == 1:
		return c.listJobs(ctx, s, waiting, asJSON)
	case (sub == "approve" || sub == "deny") && f.NArg() == 2:
		if err := c.askAdmin(ctx, s, "job/"+sub, clientRequest{ID: f.Arg(1)}, nil); err != nil {
			return err
		}
		fmt.Fprintln(s.out, "done")
		return nil
	}
	f.Usage()
	return fmt.Errorf("job: wrong command or arguments: %w", errUsage)
}

func (c *source) listJobs(ctx context.Context, s streams, waiting, asJSON bool) error {
	var list []keystore.JobInfo
	if err := c.askAdmin(ctx, s, "job/list", clientRequest{}, &list); err != nil {
		return err
	}
	if waiting {
		list = slices.DeleteFunc(list, func(j keystore.JobInfo) bool { return !j.Waiting })
	}
	if asJSON {
		return printJSON(s, list)
	}
	w := tabwriter.NewWriter(s.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "JOB\tCLIENT\tOPERATION\tUNIQUE IDENTIFIER\tSTATE\tACCEPTED\tEXPIRES")
	for _, j := range list {
		who := j.Client
		if j.User != "" {
			who += " (" + j.User + ")"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", j.ID, who, j.Operation, j.Target, j.State,
			j.Accepted.Format(time.DateTime), j.Expires.Format(time.DateTime))
	}
	return w.Flush()
}
