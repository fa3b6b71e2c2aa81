package main

import (
	"context"

	"github.com/spf13/pflag"

	"kmipd/kmip"
	"kmipd/kmip/client"
)

// signing is the flags that sign and signature-verify share.
type signing struct {
	target
	input
	parameters
	digested bool
}

func (s *signing) define(f *pflag.FlagSet) {
	s.target.define(f)
	s.input.define(f, "the data, or with --digested its digest")
	f.BoolVar(&s.digested, "digested", false, "the file is the digest of the data")
	s.parameters.define(f, "padding", "hash", "signature-algorithm", "salt-length", "mgf-hash")
}

// fill puts a part of the input where the request has it.
func (s *signing) fill(p *part, data, digest *[]byte) {
	if s.digested {
		*digest = p.data
	} else {
		*data = p.data
	}
}

var cmdSign = command{
	name: "sign", args: "[ID]", short: "sign data with a private key on the server",
	about: `The server hashes the data, or takes its digest with --digested. Signatures of elliptic curve keys are DER. Files and octets:
kmipctl help data.`,
	examples: []string{
		"sign --name signer --hash sha-256 --file letter.txt --out letter.sig",
		"sign 8f14e45f --padding pss --hash sha-256 --salt-length 32 --file letter.txt",
		"sign --name signer --hash sha-256 --digested --hex --file letter.sha256",
	},
	setup: func(f *pflag.FlagSet) action {
		s := &sign{}
		s.signing.define(f)
		s.delivery.define(f, "the signature")
		return s.run
	},
}

type sign struct {
	signing
	delivery
}

func (s *signing) signRequest(ver kmip.Version) (*kmip.SignRequest, error) {
	params, err := s.get()
	if err != nil {
		return nil, err
	}
	req := &kmip.SignRequest{CryptographicParameters: params}
	s.fill(&part{data: []byte{}}, &req.Data, &req.DigestedData)
	return req, outdated(req, ver)
}

func (s *sign) run(ctx context.Context, k *kit, args []string) (result, error) {
	if _, err := s.take(args); err != nil {
		return nil, err
	}
	start, err := s.signRequest(k.version)
	if err != nil {
		return nil, err
	}
	if err := s.check(k); err != nil {
		return nil, err
	}
	in, err := s.input.open(k, s.digested)
	if err != nil {
		return nil, err
	}
	defer in.close()
	c, id, err := s.connect(ctx, k)
	if err != nil {
		return nil, err
	}
	to := s.delivery.open(k, false)
	err = in.each(func(p *part) ([]byte, error) {
		req := kmip.SignRequest{}
		if p.first {
			req = *start
		}
		s.fill(p, &req.Data, &req.DigestedData)
		req.UniqueIdentifier, req.CorrelationValue, req.InitIndicator, req.FinalIndicator = &id, p.correlation, p.init(), p.final()
		resp, err := client.Do[kmip.SignRequest, kmip.SignResponse](ctx, c, kmip.OperationSign, &req)
		if err != nil {
			return nil, err
		}
		return resp.CorrelationValue, to.write(resp.SignatureData)
	})
	return to.finish(&outcome{id: id, name: "Signature Data"}, err)
}

var cmdSignatureVerify = command{
	name: "signature-verify", args: "[ID]", short: "verify a signature with a public key on the server",
	about: "Prints valid or invalid; the exit status of invalid is 1. Files and octets: kmipctl help data.",
	examples: []string{
		"signature-verify --name signer-pub --hash sha-256 --file letter.txt --signature-file letter.sig",
		"signature-verify 8f14e45f --padding pss --hash sha-256 --file letter.txt --signature-file letter.sig --json",
	},
	setup: func(f *pflag.FlagSet) action {
		v := &signatureVerify{}
		v.signing.define(f)
		v.proof.define(f, "signature", "the signature")
		return v.run
	},
}

type signatureVerify struct {
	signing
	proof proof
}

func (v *signatureVerify) run(ctx context.Context, k *kit, args []string) (result, error) {
	if _, err := v.take(args); err != nil {
		return nil, err
	}
	start, err := v.signRequest(k.version)
	if err != nil {
		return nil, err
	}
	signature, err := v.proof.read(k, &v.input)
	if err != nil {
		return nil, err
	}
	in, err := v.input.open(k, v.digested)
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
		req := kmip.SignatureVerifyRequest{}
		if p.first {
			req.CryptographicParameters = start.CryptographicParameters
		}
		if p.last {
			req.SignatureData = signature
		}
		v.fill(p, &req.Data, &req.DigestedData)
		req.UniqueIdentifier, req.CorrelationValue, req.InitIndicator, req.FinalIndicator = &id, p.correlation, p.init(), p.final()
		resp, err := client.Do[kmip.SignatureVerifyRequest, kmip.SignatureVerifyResponse](ctx, c, kmip.OperationSignatureVerify, &req)
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
