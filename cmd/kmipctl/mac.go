package main

import (
	"context"

	"github.com/spf13/pflag"

	"kmipd/kmip"
	"kmipd/kmip/client"
)

// maccing is the flags that mac and mac-verify share.
type maccing struct {
	target
	input
	parameters
}

func (m *maccing) define(f *pflag.FlagSet) {
	m.target.define(f)
	m.input.define(f, "the data")
	m.parameters.define(f, "algorithm", "hash", "mode")
}

var cmdMAC = command{
	name: "mac", args: "[ID]", short: "make a message authentication code with a key on the server",
	about: `An HMAC key needs no flags; other keys need --algorithm or, for CMAC, --mode cmac. Files and octets: kmipctl help data.`,
	examples: []string{
		"mac --name token-key --file letter.txt",
		"mac 8f14e45f --algorithm hmac-sha256 --file letter.txt --out letter.mac",
		"mac 8f14e45f --mode cmac --hex --file letter.hex --json",
	},
	setup: func(f *pflag.FlagSet) action {
		m := &mac{}
		m.maccing.define(f)
		m.delivery.define(f, "the code")
		return m.run
	},
}

type mac struct {
	maccing
	delivery
}

func (m *mac) run(ctx context.Context, k *kit, args []string) (result, error) {
	if _, err := m.take(args); err != nil {
		return nil, err
	}
	params, err := m.get()
	if err != nil {
		return nil, err
	}
	if err := m.check(k); err != nil {
		return nil, err
	}
	in, err := m.input.open(k, false)
	if err != nil {
		return nil, err
	}
	defer in.close()
	c, id, err := m.connect(ctx, k)
	if err != nil {
		return nil, err
	}
	to := m.delivery.open(k, false)
	err = in.each(func(p *part) ([]byte, error) {
		req := kmip.MACRequest{UniqueIdentifier: &id, Data: p.data, CorrelationValue: p.correlation,
			InitIndicator: p.init(), FinalIndicator: p.final()}
		if p.first {
			req.CryptographicParameters = params
		}
		resp, err := client.Do[kmip.MACRequest, kmip.MACResponse](ctx, c, kmip.OperationMAC, &req)
		if err != nil {
			return nil, err
		}
		return resp.CorrelationValue, to.write(resp.MACData)
	})
	return to.finish(&outcome{id: id, name: "MAC Data"}, err)
}

var cmdMACVerify = command{
	name: "mac-verify", args: "[ID]", short: "verify a message authentication code with a key on the server",
	about: "Prints valid or invalid; the exit status of invalid is 1. Files and octets: kmipctl help data.",
	examples: []string{
		"mac-verify --name token-key --file letter.txt --mac-file letter.mac",
		"mac-verify 8f14e45f --mode cmac --file letter.txt --mac 070a16b46b4d4144f79bdd9dd04a287c",
	},
	setup: func(f *pflag.FlagSet) action {
		v := &macVerify{}
		v.maccing.define(f)
		v.proof.define(f, "mac", "the code")
		return v.run
	},
}

type macVerify struct {
	maccing
	proof proof
}

func (v *macVerify) run(ctx context.Context, k *kit, args []string) (result, error) {
	if _, err := v.take(args); err != nil {
		return nil, err
	}
	params, err := v.get()
	if err != nil {
		return nil, err
	}
	code, err := v.proof.read(k, &v.input)
	if err != nil {
		return nil, err
	}
	in, err := v.input.open(k, false)
	if err != nil {
		return nil, err
	}
	defer in.close()
	c, id, err := v.connect(ctx, k)
	if err != nil {
		return nil, err
	}
	out := &verdict{UniqueIdentifier: id}
	err = in.each(func(p *part) ([]byte, error) {
		req := kmip.MACVerifyRequest{UniqueIdentifier: &id, Data: p.data, CorrelationValue: p.correlation,
			InitIndicator: p.init(), FinalIndicator: p.final()}
		if p.first {
			req.CryptographicParameters = params
		}
		if p.last {
			req.MACData = code
		}
		resp, err := client.Do[kmip.MACVerifyRequest, kmip.MACVerifyResponse](ctx, c, kmip.OperationMACVerify, &req)
		if err != nil {
			return nil, err
		}
		out.Validity = enumName("ValidityIndicator", uint32(resp.ValidityIndicator))
		return resp.CorrelationValue, nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
