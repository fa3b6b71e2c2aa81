package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"kmipd/kmip"
)

var cmdDeriveKey = command{
	name: "derive-key", args: "[ID ...]", short: "make a key from others",
	about: `The objects to derive from are named by ID or --name: a key, and for some methods a second object, Secret Data that is the
derivation data or the other party's public key. What the methods need:

  pbkdf2                        --salt, --iterations; --hash (SHA-1 without)
  hash                          --hash
  hmac                          derivation data; --hash or --prf for a key that is of no HMAC
  encrypt                       derivation data; --mode, --padding, --iv
  nist800-108-c, -f, -dpi       derivation data; --hash, --prf or --mode cmac; --counter-length; --iv for -f
  asymmetric-key                a private and a public key (KMIP 1.4)

Derivation data is in a file: kmipctl help data. Without --usage the new key is for what create makes keys for.`,
	examples: []string{
		"derive-key --name password --method pbkdf2 --hash sha-256 --salt text:pepper --iterations 100000 --length 256 --new-name disk-1",
		"derive-key 8f14e45f --method hmac --hash sha-256 --file context.bin --algorithm AES --length 128",
		"derive-key --name mine --name theirs --method asymmetric-key --type secret-data --length 256",
	},
	setup: func(f *pflag.FlagSet) action {
		d := &derive{}
		d.define(f)
		return d.run
	},
}

type derive struct {
	targets
	create
	parameters
	input
	method, salt, iv string
	iterations       int32
}

func (d *derive) define(f *pflag.FlagSet) {
	d.targets.define(f)
	f.StringVar(&d.method, "method", "", "Derivation `Method`: pbkdf2, hash, hmac, encrypt, nist800-108-c, nist800-108-f, nist800-108-dpi or asymmetric-key (required)")
	d.input.define(f, "the derivation data")
	f.Lookup("file").DefValue, d.file = "", "" // not all methods have any
	f.StringVar(&d.salt, "salt", "", "salt of pbkdf2, as `octets`: hexadecimal, or text:...")
	f.Int32Var(&d.iterations, "iterations", 0, "Iteration `Count` of pbkdf2")
	f.StringVar(&d.iv, "iv", "", "Initialization Vector in `hexadecimal`")
	d.parameters.define(f, "hash", "prf", "mode", "padding", "counter-length")
	d.defineKey(f)
	d.defineNew(f)
}

func (d *derive) run(ctx context.Context, k *kit, args []string) (result, error) {
	if err := d.take(args, 1); err != nil {
		return nil, err
	}
	req, err := d.request(k.version)
	if err != nil {
		return nil, err
	}
	if d.file != "" {
		in, err := d.input.open(k, true)
		if err != nil {
			return nil, err
		}
		defer in.close()
		req.DerivationParameters.DerivationData = in.whole
	}
	c, ids, err := d.connect(ctx, k)
	if err != nil {
		return nil, err
	}
	req.UniqueIdentifier = ids
	return ask(ctx, c, kmip.OperationDeriveKey, req, func(r *kmip.DeriveKeyResponse) result {
		return &identified{r.UniqueIdentifier, req.ObjectType.String(), implicit(r.TemplateAttribute)}
	})
}

func (d *derive) request(ver kmip.Version) (*kmip.DeriveKeyRequest, error) {
	made, err := d.create.request()
	if err != nil {
		return nil, err
	}
	req := &kmip.DeriveKeyRequest{ObjectType: made.ObjectType, TemplateAttribute: made.TemplateAttribute}
	p := &req.DerivationParameters
	var problems []error
	if d.method == "" {
		problems = append(problems, errors.New("name the way to derive with --method, for example pbkdf2 or hmac"))
	} else {
		m, err := parseEnum("DerivationMethod", d.method)
		if err != nil {
			problems = append(problems, fmt.Errorf("--method: %w", err))
		}
		req.DerivationMethod = kmip.DerivationMethod(m)
	}
	if p.CryptographicParameters, err = d.get(); err != nil {
		problems = append(problems, err)
	}
	problems = append(problems, parseOctetFlags(octetFlag{"salt", d.salt, &p.Salt}, octetFlag{"iv", d.iv, &p.InitializationVector})...)
	if d.create.flags.Changed("iterations") {
		p.IterationCount = &d.iterations
	}
	if d.hex && d.file == "" {
		problems = append(problems, errors.New("--hex needs --file"))
	}
	if err := joined("", problems); err != nil {
		return nil, err
	}
	return req, outdated(req, ver)
}
