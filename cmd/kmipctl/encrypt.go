package main

import (
	"context"
	"errors"

	"github.com/spf13/pflag"

	"kmipd/kmip"
	"kmipd/kmip/client"
)

var cmdEncrypt = command{
	name: "encrypt", args: "[ID]", short: "encrypt data with a key on the server",
	about: `Prints the ciphertext, the IV where the server chose it, and the tag of gcm. With --out - the latter two go to standard
error. Before KMIP 1.4 the tag stands behind the ciphertext. Files and octets: kmipctl help data.`,
	examples: []string{
		"encrypt --name first-key --mode gcm --random-iv --file letter.txt --out letter.enc --json",
		"encrypt 8f14e45f --mode cbc --padding pkcs5 --iv 000102030405060708090a0b0c0d0e0f --file letter.txt --out letter.enc",
		"encrypt 8f14e45f --mode gcm --iv 00112233445566778899aabb --aad text:header --file letter.txt",
		"encrypt --name rsa-pub --padding oaep --hash sha-256 --file secret.bin --out secret.enc",
	},
	setup: func(f *pflag.FlagSet) action {
		e := &encrypt{}
		e.define(f)
		return e.run
	},
}

type encrypt struct {
	target
	input
	parameters
	delivery
	iv, aad string
}

func (e *encrypt) define(f *pflag.FlagSet) {
	e.target.define(f)
	e.input.define(f, "the data to encrypt")
	e.parameters.define(f, "mode", "padding", "hash", "mgf-hash", "label", "random-iv", "iv-length", "tag-length",
		"initial-counter", "counter-length")
	f.StringVar(&e.iv, "iv", "", "IV, counter block or nonce in `hexadecimal`")
	f.StringVar(&e.aad, "aad", "", "Additional Data of gcm, as `octets`: hexadecimal, or text:...")
	e.delivery.define(f, "the ciphertext")
}

func (e *encrypt) request(ver kmip.Version) (*kmip.EncryptRequest, error) {
	req := &kmip.EncryptRequest{}
	var problems []error
	var err error
	if req.CryptographicParameters, err = e.get(); err != nil {
		problems = append(problems, err)
	}
	problems = append(problems, parseOctetFlags(octetFlag{"iv", e.iv, &req.IVCounterNonce},
		octetFlag{"aad", e.aad, &req.AuthenticatedEncryptionAdditionalData})...)
	if e.iv != "" && e.randomIV {
		problems = append(problems, errors.New("--iv and --random-iv exclude each other"))
	}
	if err := joined("", problems); err != nil {
		return nil, err
	}
	return req, outdated(req, ver)
}

func (e *encrypt) run(ctx context.Context, k *kit, args []string) (result, error) {
	if _, err := e.take(args); err != nil {
		return nil, err
	}
	start, err := e.request(k.version)
	if err != nil {
		return nil, err
	}
	if err := e.check(k); err != nil {
		return nil, err
	}
	in, err := e.input.open(k, false)
	if err != nil {
		return nil, err
	}
	defer in.close()
	c, id, err := e.connect(ctx, k)
	if err != nil {
		return nil, err
	}
	out := &outcome{id: id, name: "Data"}
	to := e.delivery.open(k, false)
	err = in.each(func(p *part) ([]byte, error) {
		req := kmip.EncryptRequest{}
		if p.first {
			req = *start
		}
		req.UniqueIdentifier, req.Data, req.CorrelationValue = &id, p.data, p.correlation
		req.InitIndicator, req.FinalIndicator = p.init(), p.final()
		resp, err := client.Do[kmip.EncryptRequest, kmip.EncryptResponse](ctx, c, kmip.OperationEncrypt, &req)
		if err != nil {
			return nil, err
		}
		if resp.IVCounterNonce != nil {
			out.also = append(out.also, member{"IV/Counter/Nonce", octets(resp.IVCounterNonce)})
		}
		if resp.AuthenticatedEncryptionTag != nil {
			out.also = append(out.also, member{"Authenticated Encryption Tag", octets(resp.AuthenticatedEncryptionTag)})
		}
		return resp.CorrelationValue, to.write(resp.Data)
	})
	return to.finish(out, err)
}

var cmdDecrypt = command{
	name: "decrypt", args: "[ID]", short: "decrypt data with a key on the server",
	about: `The plaintext is written with --out and printed with --show; without both its length is printed. Of gcm nothing is given out
before the tag is verified; with other modes a large file is written as it is decrypted, and taken away when that fails.
Before KMIP 1.4 the tag of gcm stands behind the ciphertext. Files and octets: kmipctl help data.`,
	examples: []string{
		"decrypt --name first-key --mode gcm --iv 00112233445566778899aabb --tag 0123456789abcdef0123456789abcdef --file letter.enc --out letter.txt",
		"decrypt 8f14e45f --mode cbc --padding pkcs5 --iv 000102030405060708090a0b0c0d0e0f --file letter.enc --out - | less",
		"decrypt --name rsa --padding oaep --hash sha-256 --file secret.enc --show",
	},
	setup: func(f *pflag.FlagSet) action {
		d := &decrypt{}
		d.define(f)
		return d.run
	},
}

type decrypt struct {
	target
	input
	parameters
	delivery
	iv, aad, tag string
}

func (d *decrypt) define(f *pflag.FlagSet) {
	d.target.define(f)
	d.input.define(f, "the ciphertext")
	d.parameters.define(f, "mode", "padding", "hash", "mgf-hash", "label", "tag-length", "initial-counter",
		"counter-length")
	f.StringVar(&d.iv, "iv", "", "IV, counter block or nonce in `hexadecimal`")
	f.StringVar(&d.aad, "aad", "", "Additional Data of gcm, as `octets`: hexadecimal, or text:...")
	f.StringVar(&d.tag, "tag", "", "tag of gcm in `hexadecimal`")
	d.defineSecret(f, "the plaintext")
}

func (d *decrypt) request(ver kmip.Version) (*kmip.DecryptRequest, error) {
	req := &kmip.DecryptRequest{}
	var problems []error
	var err error
	if req.CryptographicParameters, err = d.get(); err != nil {
		problems = append(problems, err)
	}
	problems = append(problems, parseOctetFlags(octetFlag{"iv", d.iv, &req.IVCounterNonce}, octetFlag{"tag", d.tag, &req.AuthenticatedEncryptionTag},
		octetFlag{"aad", d.aad, &req.AuthenticatedEncryptionAdditionalData})...)
	if err := joined("", problems); err != nil {
		return nil, err
	}
	return req, outdated(req, ver)
}

func (d *decrypt) run(ctx context.Context, k *kit, args []string) (result, error) {
	if _, err := d.take(args); err != nil {
		return nil, err
	}
	start, err := d.request(k.version)
	if err != nil {
		return nil, err
	}
	if err := d.check(k); err != nil {
		return nil, err
	}
	in, err := d.input.open(k, false)
	if err != nil {
		return nil, err
	}
	defer in.close()
	c, id, err := d.connect(ctx, k)
	if err != nil {
		return nil, err
	}
	to := d.delivery.open(k, true)
	err = in.each(func(p *part) ([]byte, error) {
		req := kmip.DecryptRequest{}
		if p.first {
			req = *start
		}
		req.UniqueIdentifier, req.Data, req.CorrelationValue = &id, p.data, p.correlation
		req.InitIndicator, req.FinalIndicator = p.init(), p.final()
		resp, err := client.Do[kmip.DecryptRequest, kmip.DecryptResponse](ctx, c, kmip.OperationDecrypt, &req)
		if err != nil {
			return nil, err
		}
		return resp.CorrelationValue, to.write(resp.Data)
	})
	return to.finish(&outcome{id: id, name: "Data"}, err)
}
