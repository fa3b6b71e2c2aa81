package main

import (
	"context"

	"github.com/spf13/pflag"

	"kmipd/kmip"
	"kmipd/kmip/client"
)

var cmdHash = command{
	name: "hash", short: "hash data on the server",
	about:    "Files and octets: kmipctl help data.",
	examples: []string{"hash --file letter.txt", "hash --hash sha-3-512 --file letter.txt --out letter.sum", "hash --hex --json < letter.hex"},
	setup: func(f *pflag.FlagSet) action {
		h := &hash{}
		h.input.define(f, "the data")
		h.parameters.define(f, "hash")
		f.Lookup("hash").DefValue, h.hash = "sha-256", "sha-256"
		h.delivery.define(f, "the digest")
		return h.run
	},
}

type hash struct {
	input
	parameters
	delivery
}

func (h *hash) run(ctx context.Context, k *kit, args []string) (result, error) {
	if err := none(args); err != nil {
		return nil, err
	}
	params, err := h.get()
	if err != nil {
		return nil, err
	}
	if params == nil {
		return nil, usageError("--hash is empty")
	}
	if err := h.check(k); err != nil {
		return nil, err
	}
	in, err := h.input.open(k, false)
	if err != nil {
		return nil, err
	}
	defer in.close()
	c, err := k.client(ctx)
	if err != nil {
		return nil, err
	}
	to := h.delivery.open(k, false)
	err = in.each(func(p *part) ([]byte, error) {
		// The parameters are required in every part.
		resp, err := client.Do[kmip.HashRequest, kmip.HashResponse](ctx, c, kmip.OperationHash, &kmip.HashRequest{CryptographicParameters: *params,
			Data: p.data, CorrelationValue: p.correlation, InitIndicator: p.init(), FinalIndicator: p.final()})
		if err != nil {
			return nil, err
		}
		return resp.CorrelationValue, to.write(resp.Data)
	})
	return to.finish(&outcome{name: "Data"}, err)
}
