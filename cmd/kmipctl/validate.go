package main

import (
	"bytes"
	"context"
	"encoding/pem"

	"github.com/spf13/pflag"

	"kmipd/kmip"
)

var cmdValidate = command{
	name: "validate", args: "[ID ...]", short: "have the server validate a certificate chain",
	about: `The certificates, named by ID, --name and --file together, must be one chain, in any order. Prints valid, invalid or unknown
(the server trusts nobody in the chain); the exit status of the latter two is 1.`,
	examples: []string{
		"validate --name www",
		"validate 8f14e45f --file intermediates.pem --date 2026-12-31",
		"validate --file chain.pem --json",
	},
	setup: func(f *pflag.FlagSet) action {
		v := &validate{}
		v.define(f)
		return v.run
	},
}

type validate struct {
	targets
	files []string
	date  string
}

func (v *validate) define(f *pflag.FlagSet) {
	v.targets.define(f)
	f.StringArrayVar(&v.files, "file", nil, "`file` with certificates, PEM or DER; may be repeated; - for standard input")
	f.StringVar(&v.date, "date", "", "`date` at which the chain is to be valid (default: now)")
}

func (v *validate) run(ctx context.Context, k *kit, args []string) (result, error) {
	least := 1
	if len(v.files) > 0 {
		least = 0
	}
	if err := v.take(args, least); err != nil {
		return nil, err
	}
	req, err := v.request(k)
	if err != nil {
		return nil, err
	}
	c, ids, err := v.connect(ctx, k)
	if err != nil {
		return nil, err
	}
	req.UniqueIdentifier = ids
	return ask(ctx, c, kmip.OperationValidate, req, func(r *kmip.ValidateResponse) result {
		return &verdict{Validity: enumName("ValidityIndicator", uint32(r.ValidityIndicator))}
	})
}

func (v *validate) request(k *kit) (*kmip.ValidateRequest, error) {
	req := &kmip.ValidateRequest{}
	if v.date != "" {
		t, err := parseDate(v.date)
		if err != nil {
			return nil, usageError("--date: %v", err)
		}
		req.ValidityDate = &t
	}
	for _, name := range v.files {
		data, err := k.readFile("file", name)
		if err != nil {
			return nil, err
		}
		list := certificates(data)
		if len(list) == 0 {
			return nil, usageError("--file: %s holds no certificate", name)
		}
		req.Certificate = append(req.Certificate, list...)
	}
	return req, nil
}

// certificates are those of a PEM file, or the one of a DER file.
func certificates(data []byte) []kmip.Certificate {
	var out []kmip.Certificate
	if !bytes.Contains(data, []byte("-----BEGIN ")) {
		if len(data) > 0 {
			out = append(out, kmip.Certificate{CertificateType: kmip.CertificateTypeX509, CertificateValue: data})
		}
		return out
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			out = append(out, kmip.Certificate{CertificateType: kmip.CertificateTypeX509, CertificateValue: block.Bytes})
		}
	}
	return out
}
