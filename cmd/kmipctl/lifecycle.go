package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"kmipd/kmip"
	"kmipd/kmip/client"
)

var cmdActivate = command{
	name: "activate", args: "[ID]", short: "make a pre-active object active",
	examples: []string{"activate 8f14e45f", "activate --name first-key"},
	setup: func(f *pflag.FlagSet) action {
		var t target
		t.define(f)
		return func(ctx context.Context, k *kit, args []string) (result, error) {
			if _, err := t.take(args); err != nil {
				return nil, err
			}
			c, id, err := t.connect(ctx, k)
			if err != nil {
				return nil, err
			}
			resp, err := client.Do[kmip.ActivateRequest, kmip.ActivateResponse](ctx, c, kmip.OperationActivate,
				&kmip.ActivateRequest{UniqueIdentifier: &id})
			if err != nil {
				return nil, err
			}
			return &identified{UniqueIdentifier: resp.UniqueIdentifier}, nil
		}
	},
}

var cmdDestroy = command{
	name: "destroy", args: "[ID]", short: "destroy the key material of an object, for good",
	about:    "An active object must be revoked first.",
	examples: []string{"destroy 8f14e45f", "destroy --name first-key"},
	setup: func(f *pflag.FlagSet) action {
		var t target
		t.define(f)
		return func(ctx context.Context, k *kit, args []string) (result, error) {
			if _, err := t.take(args); err != nil {
				return nil, err
			}
			c, id, err := t.connect(ctx, k)
			if err != nil {
				return nil, err
			}
			resp, err := client.Do[kmip.DestroyRequest, kmip.DestroyResponse](ctx, c, kmip.OperationDestroy,
				&kmip.DestroyRequest{UniqueIdentifier: &id})
			if err != nil {
				return nil, err
			}
			return &identified{UniqueIdentifier: resp.UniqueIdentifier}, nil
		}
	},
}

var cmdRevoke = command{
	name: "revoke", args: "[ID]", short: "deactivate an object, or mark it as compromised",
	about: "The reasons key-compromise and ca-compromise make the object compromised, the others deactivate it.",
	examples: []string{
		"revoke 8f14e45f --reason superseded",
		"revoke --name first-key --reason key-compromise --compromise-date 2026-01-31 --message 'laptop lost'",
	},
	setup: func(f *pflag.FlagSet) action {
		r := &revoke{}
		r.define(f)
		f.StringVar(&r.reason, "reason", "unspecified", "unspecified, key-compromise, ca-compromise, affiliation-changed, superseded, cessation-of-operation or privilege-withdrawn")
		f.StringVar(&r.message, "message", "", "`text` that is kept with the reason")
		f.StringVar(&r.compromised, "compromise-date", "", "`date` of the compromise, when it is known to be earlier")
		return r.run
	},
}

type revoke struct {
	target
	reason, message, compromised string
}

func (r *revoke) run(ctx context.Context, k *kit, args []string) (result, error) {
	if _, err := r.take(args); err != nil {
		return nil, err
	}
	var problems []error
	code, err := parseEnum("RevocationReasonCode", r.reason)
	if err != nil {
		problems = append(problems, fmt.Errorf("--reason: %w", err))
	}
	req := &kmip.RevokeRequest{RevocationReason: kmip.RevocationReason{RevocationReasonCode: kmip.RevocationReasonCode(code)}}
	if r.message != "" {
		req.RevocationReason.RevocationMessage = &r.message
	}
	if r.compromised != "" {
		var t time.Time
		if t, err = parseDate(r.compromised); err != nil {
			problems = append(problems, fmt.Errorf("--compromise-date: %w", err))
		}
		req.CompromiseOccurrenceDate = &t
	}
	if err := joined("", problems); err != nil {
		return nil, err
	}
	c, id, err := r.connect(ctx, k)
	if err != nil {
		return nil, err
	}
	req.UniqueIdentifier = &id
	resp, err := client.Do[kmip.RevokeRequest, kmip.RevokeResponse](ctx, c, kmip.OperationRevoke, req)
	if err != nil {
		return nil, err
	}
	return &identified{UniqueIdentifier: resp.UniqueIdentifier}, nil
}

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
