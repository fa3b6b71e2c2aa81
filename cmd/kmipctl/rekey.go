package main

import (
	"context"

	"github.com/spf13/pflag"

	"kmipd/kmip"
)

// renewal is what the replacement of an object has: a target, an offset, and attributes.
type renewal struct {
	target
	later
	offset string
}

func (r *renewal) define(f *pflag.FlagSet) {
	r.target.define(f)
	f.StringVar(&r.offset, "offset", "", "when the replacement becomes active: seconds or a `duration` from its making on; its other dates are moved alike")
}

// interval is --offset; nil without it.
func (r *renewal) interval() (*uint32, error) {
	if r.offset == "" {
		return nil, nil
	}
	n, err := parseInterval(r.offset)
	if err != nil {
		return nil, usageError("--offset: %v", err)
	}
	return &n, nil
}

var cmdReKey = command{
	name: "re-key", args: "[ID]", short: "make a replacement for a symmetric key",
	about: `The new key takes the Name and the attributes of the old one, and the two have links to each other. The flags change what
the new key has. --offset and dates exclude each other.`,
	examples: []string{
		"re-key --name first-key",
		"re-key 8f14e45f --offset 0",
		"re-key 8f14e45f --activation-date now --attribute 'x-Reason=yearly' --json",
	},
	setup: func(f *pflag.FlagSet) action {
		r := &reKey{}
		r.define(f)
		return r.run
	},
}

type reKey struct {
	renewal
	newObject
}

func (r *reKey) define(f *pflag.FlagSet) {
	r.renewal.define(f)
	r.defineNew(f)
	r.later.define(f)
}

func (r *reKey) run(ctx context.Context, k *kit, args []string) (result, error) {
	if _, err := r.take(args); err != nil {
		return nil, err
	}
	req, err := r.request()
	if err != nil {
		return nil, err
	}
	c, id, err := r.connect(ctx, k)
	if err != nil {
		return nil, err
	}
	req.UniqueIdentifier = &id
	return askLater(ctx, c, r.later, kmip.OperationReKey, req, viewReKey)
}

func (r *reKey) request() (*kmip.ReKeyRequest, error) {
	offset, err := r.interval()
	if err != nil {
		return nil, err
	}
	ta, err := r.templateAttribute()
	return &kmip.ReKeyRequest{Offset: offset, TemplateAttribute: ta}, err
}

func viewReKey(r *kmip.ReKeyResponse) result {
	return &identified{UniqueIdentifier: r.UniqueIdentifier, Attributes: implicit(r.TemplateAttribute)}
}

var cmdReKeyKeyPair = command{
	name: "re-key-key-pair", args: "[ID]", short: "make a replacement for a key pair",
	about: `ID is the private key. The new keys take the Names and the attributes of the old ones, and have links to them. The flags
change what the new keys have. --offset and dates exclude each other.`,
	examples: []string{
		"re-key-key-pair --name ca-key",
		"re-key-key-pair 8f14e45f --offset 24h --private-attribute 'x-Reason=yearly' --async",
	},
	setup: func(f *pflag.FlagSet) action {
		r := &reKeyPair{}
		r.define(f)
		return r.run
	},
}

type reKeyPair struct {
	renewal
	halves
}

func (r *reKeyPair) define(f *pflag.FlagSet) {
	r.renewal.define(f)
	r.halves.define(f)
	r.later.define(f)
}

func (r *reKeyPair) run(ctx context.Context, k *kit, args []string) (result, error) {
	if _, err := r.take(args); err != nil {
		return nil, err
	}
	req, err := r.request()
	if err != nil {
		return nil, err
	}
	c, id, err := r.connect(ctx, k)
	if err != nil {
		return nil, err
	}
	req.PrivateKeyUniqueIdentifier = &id
	return askLater(ctx, c, r.later, kmip.OperationReKeyKeyPair, req, viewReKeyKeyPair)
}

func (r *reKeyPair) request() (*kmip.ReKeyKeyPairRequest, error) {
	offset, err := r.interval()
	if err != nil {
		return nil, err
	}
	req := &kmip.ReKeyKeyPairRequest{Offset: offset}
	list, err := r.list()
	if err != nil {
		return nil, err
	}
	private, bad := r.private.template("private", 0, false)
	public, more := r.public.template("public", 0, false)
	if err := joined("", append(bad, more...)); err != nil {
		return nil, err
	}
	private.Attribute = append(private.Attribute, r.release()...)
	for _, p := range []struct {
		to   **kmip.TemplateAttribute
		from *kmip.TemplateAttribute
	}{
		{&req.CommonTemplateAttribute, &kmip.TemplateAttribute{Name: templateNames(r.templates), Attribute: list}},
		{&req.PrivateKeyTemplateAttribute, private}, {&req.PublicKeyTemplateAttribute, public},
	} {
		if len(p.from.Name)+len(p.from.Attribute) > 0 {
			*p.to = p.from
		}
	}
	return req, nil
}

func viewReKeyKeyPair(r *kmip.ReKeyKeyPairResponse) result {
	return &pair{r.PrivateKeyUniqueIdentifier, r.PublicKeyUniqueIdentifier,
		implicit(r.PrivateKeyTemplateAttribute), implicit(r.PublicKeyTemplateAttribute)}
}
