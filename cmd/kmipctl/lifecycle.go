package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"kmipd/kmip"
)

// simple is the action of an operation that has an object and no parameters.
func simple[Req, Resp any, PReq request[Req], PResp response[Resp]](f *pflag.FlagSet, op kmip.Operation,
	make func(id *string) *Req, view func(*Resp) result) action {
	var t target
	var l later
	t.define(f)
	l.define(f)
	return func(ctx context.Context, k *kit, args []string) (result, error) {
		if _, err := t.take(args); err != nil {
			return nil, err
		}
		c, id, err := t.connect(ctx, k)
		if err != nil {
			return nil, err
		}
		return askLater[Req, Resp, PReq, PResp](ctx, c, l, op, make(&id), view)
	}
}

var cmdActivate = command{
	name: "activate", args: "[ID]", short: "make a pre-active object active",
	examples: []string{"activate 8f14e45f", "activate --name first-key"},
	setup: func(f *pflag.FlagSet) action {
		return simple(f, kmip.OperationActivate, func(id *string) *kmip.ActivateRequest { return &kmip.ActivateRequest{UniqueIdentifier: id} }, viewActivate)
	},
}

func viewActivate(r *kmip.ActivateResponse) result {
	return &identified{UniqueIdentifier: r.UniqueIdentifier}
}

var cmdDestroy = command{
	name: "destroy", args: "[ID]", short: "destroy the key material of an object, for good",
	about:    "An active object must be revoked first.",
	examples: []string{"destroy 8f14e45f", "destroy --name first-key"},
	setup: func(f *pflag.FlagSet) action {
		return simple(f, kmip.OperationDestroy, func(id *string) *kmip.DestroyRequest { return &kmip.DestroyRequest{UniqueIdentifier: id} }, viewDestroy)
	},
}

func viewDestroy(r *kmip.DestroyResponse) result {
	return &identified{UniqueIdentifier: r.UniqueIdentifier}
}

var cmdArchive = command{
	name: "archive", args: "[ID]", short: "put an object away, out of use until it is recovered",
	about:    "The attributes of an archived object can be read, and locate --storage archival-storage finds it.",
	examples: []string{"archive 8f14e45f", "archive --name first-key --async"},
	setup: func(f *pflag.FlagSet) action {
		return simple(f, kmip.OperationArchive, func(id *string) *kmip.ArchiveRequest { return &kmip.ArchiveRequest{UniqueIdentifier: id} }, viewArchive)
	},
}

func viewArchive(r *kmip.ArchiveResponse) result {
	return &identified{UniqueIdentifier: r.UniqueIdentifier}
}

var cmdRecover = command{
	name: "recover", args: "[ID]", short: "bring an archived object back",
	examples: []string{"recover 8f14e45f", "recover --name first-key"},
	setup: func(f *pflag.FlagSet) action {
		return simple(f, kmip.OperationRecover, func(id *string) *kmip.RecoverRequest { return &kmip.RecoverRequest{UniqueIdentifier: id} }, viewRecover)
	},
}

func viewRecover(r *kmip.RecoverResponse) result {
	return &identified{UniqueIdentifier: r.UniqueIdentifier}
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
		r.target.define(f)
		f.StringVar(&r.reason, "reason", "unspecified", "unspecified, key-compromise, ca-compromise, affiliation-changed, superseded, cessation-of-operation or privilege-withdrawn")
		f.StringVar(&r.message, "message", "", "`text` that is kept with the reason")
		f.StringVar(&r.compromised, "compromise-date", "", "`date` of the compromise, when it is known to be earlier")
		r.later.define(f)
		return r.run
	},
}

type revoke struct {
	target
	later
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
	return askLater(ctx, c, r.later, kmip.OperationRevoke, req, viewRevoke)
}

func viewRevoke(r *kmip.RevokeResponse) result {
	return &identified{UniqueIdentifier: r.UniqueIdentifier}
}
