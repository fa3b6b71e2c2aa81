package main

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"kmipd/kmip"
)

var cmdCreateKeyPair = command{
	name: "create-key-pair", short: "make an RSA or elliptic curve key pair on the server",
	about: `Without --private-usage and --public-usage the keys are for what the algorithm does: RSA signs, decrypts and unwraps, EC and
ECDSA sign, ECDH agrees on keys.`,
	examples: []string{
		"create-key-pair --algorithm RSA --length 3072 --private-name ca-key --public-name ca-pub",
		"create-key-pair --algorithm EC --curve P-256 --private-usage sign --public-usage verify --activation-date now",
		"create-key-pair --algorithm EC --curve P-384 --extractable=false --attribute 'Object Group=signers'",
	},
	setup: func(f *pflag.FlagSet) action {
		c := &createPair{}
		c.define(f)
		return c.run
	},
}

// half is the flags of one key of a pair.
type half struct {
	names, templates, attributes []string
	usage                        string
}

// halves is the flags of a key pair.
type halves struct {
	newObject
	private, public half
}

type createPair struct {
	halves
	later
	algorithm, curve string
	length           int32
}

func (c *createPair) define(f *pflag.FlagSet) {
	f.StringVar(&c.algorithm, "algorithm", "", "Cryptographic Algorithm: `RSA`, EC, ECDSA or ECDH (required without --template)")
	f.Int32Var(&c.length, "length", 0, "Cryptographic Length in `bits` (default 3072 for RSA)")
	f.StringVar(&c.curve, "curve", "", "Recommended `Curve`: P-256, P-384, P-521")
	c.halves.define(f)
	c.later.define(f)
}

func (c *halves) define(f *pflag.FlagSet) {
	for _, h := range []struct {
		p    *half
		name string
	}{{&c.private, "private"}, {&c.public, "public"}} {
		f.StringArrayVar(&h.p.names, h.name+"-name", nil, "`Name` of the "+h.name+" key; may be repeated")
		f.StringVar(&h.p.usage, h.name+"-usage", "", "`list` of what the "+h.name+" key is for")
		f.StringArrayVar(&h.p.templates, h.name+"-template", nil, "`Name` of a template for the "+h.name+" key; may be repeated")
		f.StringArrayVar(&h.p.attributes, h.name+"-attribute", nil, "attribute of the "+h.name+" key, as `NAME=VALUE`; may be repeated")
	}
	f.StringArrayVar(&c.groups, "group", nil, "`Object Group` of both keys; may be repeated")
	f.StringArrayVar(&c.templates, "template", nil, "`Name` of a template for both keys; may be repeated")
	c.newObject.defineCommon(f)
}

func (c *createPair) run(ctx context.Context, k *kit, args []string) (result, error) {
	if err := none(args); err != nil {
		return nil, err
	}
	req, err := c.request()
	if err != nil {
		return nil, err
	}
	conn, err := k.client(ctx)
	if err != nil {
		return nil, err
	}
	return askLater(ctx, conn, c.later, kmip.OperationCreateKeyPair, req, viewCreateKeyPair)
}

func viewCreateKeyPair(r *kmip.CreateKeyPairResponse) result {
	return &pair{r.PrivateKeyUniqueIdentifier, r.PublicKeyUniqueIdentifier,
		implicit(r.PrivateKeyTemplateAttribute), implicit(r.PublicKeyTemplateAttribute)}
}

func (c *createPair) request() (*kmip.CreateKeyPairRequest, error) {
	alg, err := parseAlgorithm(c.algorithm)
	if err != nil {
		return nil, usageError("%v", err)
	}
	common, err := c.list()
	if err != nil {
		return nil, err
	}
	assume := len(c.templates)+len(c.private.templates)+len(c.public.templates) == 0
	if alg == 0 && assume && !has(common, "Cryptographic Algorithm") {
		return nil, usageError("name the algorithm with --algorithm RSA or EC")
	}
	if c.length == 0 && alg == kmip.CryptographicAlgorithmRSA && assume && !has(common, "Cryptographic Length") {
		c.length = 3072
	}
	var head []kmip.Attribute
	if alg != 0 {
		head = append(head, enumAttribute("Cryptographic Algorithm", alg))
	}
	if c.length != 0 {
		head = append(head, intAttribute("Cryptographic Length", c.length))
	}
	if c.curve != "" {
		v, err := parseEnum("RecommendedCurve", c.curve)
		if err != nil {
			return nil, usageError("--curve: %v", err)
		}
		d := kmip.CryptographicDomainParameters{RecommendedCurve: kmip.RecommendedCurve(v)}
		head = append(head, attribute("Cryptographic Domain Parameters", d.Append(nil, kmip.TagAttributeValue, kmip.V1_4)))
	}
	usage := len(c.templates) == 0 && !has(common, "Cryptographic Usage Mask")
	private, bad := c.private.template("private", alg, usage)
	public, more := c.public.template("public", alg, usage)
	if err := joined("", append(bad, more...)); err != nil {
		return nil, err
	}
	// What may leave the server is a matter of the private key: the public one is public.
	private.Attribute = append(private.Attribute, c.release()...)
	return &kmip.CreateKeyPairRequest{PrivateKeyTemplateAttribute: private, PublicKeyTemplateAttribute: public,
		CommonTemplateAttribute: &kmip.TemplateAttribute{Name: templateNames(c.templates), Attribute: append(head, common...)}}, nil
}

// template is the Template-Attribute of the half; usage tells whether it may assume what the key is for.
func (h *half) template(which string, alg kmip.CryptographicAlgorithm, usage bool) (*kmip.TemplateAttribute, []error) {
	ta := &kmip.TemplateAttribute{Name: templateNames(h.templates)}
	for _, n := range h.names {
		ta.Attribute = append(ta.Attribute, nameAttribute(n))
	}
	list, problems := parseAttributes(which+"-attribute", h.attributes)
	switch {
	case h.usage != "":
		a, err := usageAttribute(h.usage)
		if err != nil {
			problems = append(problems, fmt.Errorf("--%s-usage: %w", which, err))
		}
		ta.Attribute = append(ta.Attribute, a)
	case usage && alg != 0 && len(h.templates) == 0 && !has(list, "Cryptographic Usage Mask"):
		ta.Attribute = append(ta.Attribute, intAttribute("Cryptographic Usage Mask", pairUsage(alg, which == "private")))
	}
	ta.Attribute = append(ta.Attribute, list...)
	return ta, problems
}

// pair is the result of Create Key Pair.
type pair struct {
	Private           string          `json:"private_key_unique_identifier"`
	Public            string          `json:"public_key_unique_identifier"`
	PrivateAttributes []attributeView `json:"private_key_attributes,omitempty"`
	PublicAttributes  []attributeView `json:"public_key_attributes,omitempty"`
}

func (p *pair) rows() []row {
	out := append([]row{text("Private Key Unique Identifier", p.Private)}, attributeRows(p.PrivateAttributes)...)
	out = append(out, text("Public Key Unique Identifier", p.Public))
	return append(out, attributeRows(p.PublicAttributes)...)
}

func (p *pair) ids() []string { return []string{p.Private, p.Public} }
