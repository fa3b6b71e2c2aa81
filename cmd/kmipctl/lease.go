package main

import (
	"context"

	"github.com/spf13/pflag"

	"kmipd/kmip"
)

var cmdObtainLease = command{
	name: "obtain-lease", args: "[ID]", short: "ask how long an object may be used",
	about:    "A Lease Time of 0 is one without end.",
	examples: []string{"obtain-lease --name first-key", "obtain-lease 8f14e45f --json"},
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
			return ask(ctx, c, kmip.OperationObtainLease, &kmip.ObtainLeaseRequest{UniqueIdentifier: &id}, func(r *kmip.ObtainLeaseResponse) result {
				return &lease{r.UniqueIdentifier, seconds(r.LeaseTime), dateText(r.LastChangeDate)}
			})
		}
	},
}

// lease is the result of Obtain Lease.
type lease struct {
	UniqueIdentifier string  `json:"unique_identifier"`
	LeaseTime        seconds `json:"lease_time"`
	LastChangeDate   string  `json:"last_change_date"`
}

func (l *lease) rows() []row {
	return []row{text("Unique Identifier", l.UniqueIdentifier), text("Lease Time", l.LeaseTime), text("Last Change Date", l.LastChangeDate)}
}

func (l *lease) ids() []string { return []string{l.UniqueIdentifier} }

var cmdGetUsageAllocation = command{
	name: "get-usage-allocation", args: "[ID]", short: "take a number of uses from the Usage Limits of an object",
	about:    "What is taken is gone from the limits, whether it is used or not. The unit is that of the limits: octets, objects, ...",
	examples: []string{"get-usage-allocation --name first-key --count 1048576"},
	setup: func(f *pflag.FlagSet) action {
		var t target
		var count int64
		t.define(f)
		f.Int64Var(&count, "count", 0, "`number` of units to take (required)")
		return func(ctx context.Context, k *kit, args []string) (result, error) {
			if _, err := t.take(args); err != nil {
				return nil, err
			}
			if count <= 0 {
				return nil, usageError("say with --count how much to take")
			}
			c, id, err := t.connect(ctx, k)
			if err != nil {
				return nil, err
			}
			return ask(ctx, c, kmip.OperationGetUsageAllocation, &kmip.GetUsageAllocationRequest{UniqueIdentifier: &id, UsageLimitsCount: &count},
				func(r *kmip.GetUsageAllocationResponse) result {
					return &identified{UniqueIdentifier: r.UniqueIdentifier}
				})
		}
	},
}
