package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"kmipd/kmip"
	"kmipd/kmip/client"
)

var cmdGet = command{
	name: "get", args: "[ID]", short: "fetch an object",
	about: `Without --out and --show everything but the material is printed. --out writes the octets of the material (of a transparent
key its TTLV encoding) to a new file that only you can read; - is standard output. With --pem keys and certificates are
written as PEM.`,
	examples: []string{
		"get --name first-key",
		"get 8f14e45f --out key.bin",
		"get 8f14e45f --format pkcs8 --pem --out key.pem",
		"get 8f14e45f --show --json",
		"get 8f14e45f --wrap-with KEK --wrap-mode nist-key-wrap --out wrapped.bin",
		"get 8f14e45f --wrap-with KEK --encoding ttlv --wrap-attribute 'Cryptographic Usage Mask' --out wrapped.bin",
	},
	setup: func(f *pflag.FlagSet) action {
		g := &get{}
		g.define(f)
		return g.run
	},
}

type get struct {
	target
	fetch
	pem bool
}

// fetch is the flags of the operations that let an object out: in which form, and where it goes.
type fetch struct {
	wrapping
	delivery
	format, compression, wrapType, wrapWith string
	wrapAttributes                          []string
}

func (g *get) define(f *pflag.FlagSet) {
	g.target.define(f)
	g.fetch.define(f)
	g.defineSecret(f, "the material")
	f.BoolVar(&g.pem, "pem", false, "write or show PEM")
}

func (g *fetch) define(f *pflag.FlagSet) {
	f.StringVar(&g.format, "format", "", "Key Format `Type`: raw, opaque, pkcs1, pkcs8, x509, ecprivatekey, transparent-... (default: the server's)")
	f.StringVar(&g.compression, "compression", "", "Key Compression Type: ec-public-key-type-uncompressed, ec-public-key-type-x9.62-compressed-prime, ...")
	f.StringVar(&g.wrapType, "wrap-type", "", "Key Wrap Type: not-wrapped or as-registered (KMIP 1.4)")
	f.StringVar(&g.wrapWith, "wrap-with", "", "Unique `Identifier` of the key to wrap with")
	g.wrapping.define(f)
	f.StringArrayVar(&g.wrapAttributes, "wrap-attribute", nil, "`name` of an attribute to wrap with the key; may be repeated")
}

func (g *get) run(ctx context.Context, k *kit, args []string) (result, error) {
	if _, err := g.take(args); err != nil {
		return nil, err
	}
	req, err := g.request(k.version)
	if err != nil {
		return nil, err
	}
	if err := g.check(k); err != nil {
		return nil, err
	}
	c, id, err := g.connect(ctx, k)
	if err != nil {
		return nil, err
	}
	req.UniqueIdentifier = &id
	resp, err := client.Do[kmip.GetRequest, kmip.GetResponse](ctx, c, kmip.OperationGet, req)
	if err != nil {
		return nil, err
	}
	view := viewObject(resp)
	if err := g.deliver(k, view); err != nil {
		view.wipe()
		return nil, err
	}
	return view, nil
}

// deliver writes the material, or decides how it is printed.
func (g *get) deliver(k *kit, view *objectView) error {
	m := view.Object.Material
	view.show = g.show
	if !g.pem && g.out == "" {
		return nil
	}
	if m == nil {
		return fmt.Errorf("the %s has no material on the server", view.ObjectType)
	}
	octets := m.octets()
	if g.pem {
		var err error
		if octets, err = m.pem(view); err != nil {
			return err
		}
		m.buffers = append(m.buffers, octets)
	}
	if g.out == "" {
		m.PEM = string(octets)
		return nil
	}
	if g.out == "-" {
		view.File = g.out
		_, err := k.out.Write(octets)
		return err
	}
	if err := writeFile(g.out, octets, g.force); err != nil {
		return err
	}
	view.File, view.Written = g.out, len(octets)
	return nil
}

func (g *get) request(ver kmip.Version) (*kmip.GetRequest, error) {
	req, problems := g.fetch.request(ver)
	if g.pem && g.out == "" && !g.show {
		problems = append(problems, errors.New("--pem needs --out or --show"))
	}
	return req, joined("", append(problems, g.problems()...))
}

// request is the request without target, and all that is wrong with it.
func (g *fetch) request(ver kmip.Version) (*kmip.GetRequest, []error) {
	req := &kmip.GetRequest{}
	var problems []error
	add := func(err error) {
		if err != nil {
			problems = append(problems, err)
		}
	}
	for _, e := range []struct {
		flag, enum, text string
		set              func(uint32)
	}{
		{"format", "KeyFormatType", g.format, func(v uint32) { req.KeyFormatType = kmip.KeyFormatType(v) }},
		{"compression", "KeyCompressionType", g.compression, func(v uint32) { req.KeyCompressionType = kmip.KeyCompressionType(v) }},
		{"wrap-type", "KeyWrapType", g.wrapType, func(v uint32) { req.KeyWrapType = kmip.KeyWrapType(v) }},
	} {
		if e.text == "" {
			continue
		}
		v, err := parseEnum(e.enum, e.text)
		if err != nil {
			add(fmt.Errorf("--%s: %w", e.flag, err))
		}
		e.set(v)
	}
	spec, err := g.specification(ver)
	add(err)
	req.KeyWrappingSpecification = spec
	return req, problems
}

// specification is the Key Wrapping Specification, nil without --wrap-with.
func (g *fetch) specification(ver kmip.Version) (*kmip.KeyWrappingSpecification, error) {
	if g.wrapWith == "" {
		if g.wrapping.named() || len(g.wrapAttributes) > 0 {
			return nil, errors.New("--wrap-mode, --wrap-hash, --encoding and --wrap-attribute need --wrap-with")
		}
		return nil, nil
	}
	info, err := g.wrapping.key(g.wrapWith)
	if err != nil {
		return nil, err
	}
	def := kmip.EncodingOptionNoEncoding
	if len(g.wrapAttributes) > 0 {
		def = kmip.EncodingOptionTTLVEncoding // there is no other place for them
	}
	opt, err := g.wrapping.option(ver, def)
	if err != nil {
		return nil, err
	}
	spec := &kmip.KeyWrappingSpecification{WrappingMethod: kmip.WrappingMethodEncrypt, EncryptionKeyInformation: info, EncodingOption: opt}
	for _, n := range g.wrapAttributes {
		name, _ := attributeName(n)
		spec.AttributeName = append(spec.AttributeName, name)
	}
	return spec, nil
}
