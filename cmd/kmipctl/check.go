package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"kmipd/kmip"
	"kmipd/kmip/client"
)

var cmdCheck = command{
	name: "check", args: "[ID]", short: "ask whether an object may be used in a way",
	about: "A refusal is an error that names what was refused.",
	examples: []string{
		"check 8f14e45f --usage encrypt",
		"check --name first-key --usage encrypt,decrypt --limit 4096 --lease 1h",
	},
	setup: func(f *pflag.FlagSet) action {
		c := &check{}
		c.define(f)
		return c.run
	},
}

type check struct {
	target
	flags        *pflag.FlagSet
	usage, lease string
	limit        int64
}

func (c *check) define(f *pflag.FlagSet) {
	c.flags = f
	c.target.define(f)
	f.StringVar(&c.usage, "usage", "", "`list` of uses that the key must be for: encrypt,decrypt,...")
	f.Int64Var(&c.limit, "limit", 0, "`number` of units that the Usage Limits must leave")
	f.StringVar(&c.lease, "lease", "", "Lease Time wanted: seconds or a `duration`; 0 wants one without end")
}

func (c *check) run(ctx context.Context, k *kit, args []string) (result, error) {
	if _, err := c.take(args); err != nil {
		return nil, err
	}
	req, err := c.request()
	if err != nil {
		return nil, err
	}
	conn, id, err := c.connect(ctx, k)
	if err != nil {
		return nil, err
	}
	req.UniqueIdentifier = &id
	results, err := conn.Batch(ctx, client.Options{}, client.Item{Operation: kmip.OperationCheck, Payload: req})
	if err != nil {
		return nil, err
	}
	resp, err := client.Decode[kmip.CheckResponse](&results[0])
	if err != nil {
		return nil, refusal(&results[0], err)
	}
	return (&checked{}).from(id, resp), nil
}

func (c *check) request() (*kmip.CheckRequest, error) {
	req := &kmip.CheckRequest{}
	var problems []error
	if c.usage != "" {
		n, err := parseMask("CryptographicUsageMask", c.usage)
		if err != nil {
			problems = append(problems, fmt.Errorf("--usage: %w", err))
		}
		mask := kmip.CryptographicUsageMask(n)
		req.CryptographicUsageMask = &mask
	}
	if c.flags.Changed("limit") {
		req.UsageLimitsCount = &c.limit
	}
	if c.lease != "" {
		n, err := parseInterval(c.lease)
		if err != nil {
			problems = append(problems, fmt.Errorf("--lease: %w", err))
		}
		req.LeaseTime = &n
	}
	return req, joined("", problems)
}

// refusal adds what was refused to the error: the server returns those fields with it (KMIP 1.4 section 4.10).
func refusal(r *client.Result, err error) error {
	var e *client.Error
	if !errors.As(err, &e) || r.Payload.IsZero() {
		return err
	}
	var fields []string
	for m := range r.Payload.Members {
		if m.Tag != kmip.TagUniqueIdentifier {
			fields = append(fields, kmip.NameOfTag(m.Tag))
		}
	}
	if len(fields) > 0 {
		told := *e
		told.Message = strings.TrimSpace(fmt.Sprintf("%s (%s)", e.Message, strings.Join(fields, ", ")))
		return &told
	}
	return err
}

// checked is the result of Check. A server may answer with what it would allow instead of refusing.
type checked struct {
	UniqueIdentifier string   `json:"unique_identifier"`
	UsageLimitsCount *int64   `json:"usage_limits_count,omitempty"`
	UsageMask        []string `json:"cryptographic_usage_mask,omitempty"`
	LeaseTime        *uint32  `json:"lease_time,omitempty"`
}

func (c *checked) from(id string, r *kmip.CheckResponse) *checked {
	c.UniqueIdentifier, c.UsageLimitsCount, c.LeaseTime = id, r.UsageLimitsCount, r.LeaseTime
	if r.UniqueIdentifier != nil {
		c.UniqueIdentifier = *r.UniqueIdentifier
	}
	if r.CryptographicUsageMask != nil {
		c.UsageMask = maskNames("CryptographicUsageMask", uint32(*r.CryptographicUsageMask))
	}
	return c
}

func (c *checked) rows() []row {
	out := []row{text("Unique Identifier", c.UniqueIdentifier)}
	if c.UsageLimitsCount != nil {
		out = append(out, text("Usage Limits Count", *c.UsageLimitsCount))
	}
	if c.UsageMask != nil {
		out = append(out, text("Cryptographic Usage Mask", c.UsageMask))
	}
	if c.LeaseTime != nil {
		out = append(out, text("Lease Time", seconds(*c.LeaseTime)))
	}
	return out
}

func (c *checked) ids() []string { return []string{c.UniqueIdentifier} }
