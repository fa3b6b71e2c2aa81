package main

import (
	"context"

	"github.com/spf13/pflag"

	"kmipd/kmip"
	"kmipd/kmip/client"
)

var cmdRNGRetrieve = command{
	name: "rng-retrieve", short: "fetch random octets from the server",
	about:    "They are written with --out and printed with --show; without both nothing is fetched that anybody could use.",
	examples: []string{"rng-retrieve --length 32 --out seed.bin", "rng-retrieve --length 16 --show --json"},
	setup: func(f *pflag.FlagSet) action {
		var d delivery
		var length int32
		f.Int32Var(&length, "length", 0, "`number` of octets (required)")
		d.defineSecret(f, "the octets")
		return func(ctx context.Context, k *kit, args []string) (result, error) {
			if err := none(args); err != nil {
				return nil, err
			}
			if length <= 0 {
				return nil, usageError("say with --length how many octets are wanted")
			}
			if err := d.check(k); err != nil {
				return nil, err
			}
			c, err := k.client(ctx)
			if err != nil {
				return nil, err
			}
			resp, err := client.Do[kmip.RNGRetrieveRequest, kmip.RNGRetrieveResponse](ctx, c, kmip.OperationRNGRetrieve,
				&kmip.RNGRetrieveRequest{DataLength: length})
			if err != nil {
				return nil, err
			}
			to := d.open(k, true)
			return to.finish(&outcome{name: "Data"}, to.write(resp.Data))
		}
	},
}

var cmdRNGSeed = command{
	name: "rng-seed", short: "offer a seed to the server's random number generator",
	about:    "Prints how many octets of it the server used, which may be none. Files and octets: kmipctl help data.",
	examples: []string{"rng-seed --file seed.bin", "rng-seed --json < seed.bin"},
	setup: func(f *pflag.FlagSet) action {
		var in input
		in.define(f, "the seed")
		return func(ctx context.Context, k *kit, args []string) (result, error) {
			if err := none(args); err != nil {
				return nil, err
			}
			p, err := in.open(k, true)
			if err != nil {
				return nil, err
			}
			defer p.close()
			c, err := k.client(ctx)
			if err != nil {
				return nil, err
			}
			return ask(ctx, c, kmip.OperationRNGSeed, &kmip.RNGSeedRequest{Data: p.whole}, func(r *kmip.RNGSeedResponse) result {
				return &seeded{r.DataLength}
			})
		}
	},
}

// seeded is the result of RNG Seed.
type seeded struct {
	DataLength int32 `json:"data_length"`
}

func (s *seeded) rows() []row   { return []row{text("Data Length", s.DataLength)} }
func (s *seeded) ids() []string { return nil }
