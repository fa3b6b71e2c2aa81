package main

import (
	"context"

	"github.com/spf13/pflag"

	"kmipd/kmip"
)

var cmdCreate = command{
	name: "create", short: "make a symmetric key or secret data on the server",
	about: `Without --usage a key is for encrypting and decrypting, an HMAC key for making and verifying MACs. With --template the
usage, algorithm and length that are not named are left to the template.`,
	examples: []string{
		"create --algorithm AES --length 256 --name first-key",
		"create --algorithm AES --length 256 --usage wrap,unwrap --name kek --activation-date now --sensitive",
		"create --algorithm HMAC-SHA256 --length 256 --group tokens --attribute x-Owner=alice",
		"create --type secret-data --length 256 --name seed",
		"create --template disk-keys --name disk-7",
	},
	setup: func(f *pflag.FlagSet) action {
		c := &create{}
		c.define(f)
		return c.run
	},
}

type create struct {
	newObject
	later
	typ, algorithm string
	length         int32
}

func (c *create) define(f *pflag.FlagSet) {
	c.defineKey(f)
	c.newObject.define(f)
	c.later.define(f)
}

// defineKey declares what kind of key is wanted.
func (c *create) defineKey(f *pflag.FlagSet) {
	f.StringVar(&c.typ, "type", "symmetric-key", "symmetric-key or secret-data")
	f.StringVar(&c.algorithm, "algorithm", "", "Cryptographic Algorithm: `AES`, 3DES, HMAC-SHA256, ... (default AES for a symmetric key)")
	f.Int32Var(&c.length, "length", 0, "Cryptographic Length in `bits` (default 256 for AES)")
}

func (c *create) run(ctx context.Context, k *kit, args []string) (result, error) {
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
	return askLater(ctx, conn, c.later, kmip.OperationCreate, req, viewCreate)
}

func viewCreate(r *kmip.CreateResponse) result {
	return &identified{r.UniqueIdentifier, r.ObjectType.String(), implicit(r.TemplateAttribute)}
}

func (c *create) request() (*kmip.CreateRequest, error) {
	typ, err := parseObjectType(c.typ)
	if err != nil {
		return nil, err
	}
	alg, err := parseAlgorithm(c.algorithm)
	if err != nil {
		return nil, usageError("%v", err)
	}
	list, err := c.list()
	if err != nil {
		return nil, err
	}
	// A template decides what the flags leave open, so nothing is assumed beside one.
	assume := len(c.templates) == 0
	key := typ == kmip.ObjectTypeSymmetricKey
	if alg == 0 && key && assume && !has(list, "Cryptographic Algorithm") {
		alg = kmip.CryptographicAlgorithmAES
	}
	if c.length == 0 && alg == kmip.CryptographicAlgorithmAES && assume && !has(list, "Cryptographic Length") {
		c.length = 256
	}
	var head []kmip.Attribute
	if alg != 0 {
		head = append(head, enumAttribute("Cryptographic Algorithm", alg))
	}
	if c.length != 0 {
		head = append(head, intAttribute("Cryptographic Length", c.length))
	}
	if key && assume && !has(list, "Cryptographic Usage Mask") {
		head = append(head, intAttribute("Cryptographic Usage Mask", secretUsage(alg)))
	}
	return &kmip.CreateRequest{ObjectType: typ, TemplateAttribute: kmip.TemplateAttribute{
		Name: templateNames(c.templates), Attribute: append(append(head, list...), c.release()...)}}, nil
}

func parseObjectType(s string) (kmip.ObjectType, error) {
	v, err := parseEnum("ObjectType", s)
	if err != nil {
		return 0, usageError("--type: %v", err)
	}
	return kmip.ObjectType(v), nil
}
