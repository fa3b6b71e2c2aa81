package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"kmipd/kmip"
)

var cmdCreateSplitKey = command{
	name: "create-split-key", args: "[ID]", short: "split a key into parts, so many of which make it again",
	about: `ID or --name is the key to split, which remains. Without it the parts are those of a new key, which exists nowhere else; it
is of AES with 256 bits unless the flags say otherwise. The parts have the attributes that the flags give. Prints the
Unique Identifiers of the parts.`,
	examples: []string{
		"create-split-key --name first-key --split-parts 5 --split-threshold 3 --split-method polynomial-sharing-gf-2^8",
		"create-split-key --split-parts 3 --algorithm AES --length 256 --group custodians --json",
	},
	setup: func(f *pflag.FlagSet) action {
		s := &split{}
		s.define(f)
		return s.run
	},
}

type split struct {
	targets
	create
	parts, threshold   int32
	method, primeField string
}

func (s *split) define(f *pflag.FlagSet) {
	f.StringArrayVar(&s.targets.names, "name", nil, "instead of ID: the object that has this `Name`; there must be exactly one")
	f.Int32Var(&s.parts, "split-parts", 0, "`number` of parts to make (required)")
	f.Int32Var(&s.threshold, "split-threshold", 0, "`number` of parts that make the key (default: all)")
	f.StringVar(&s.method, "split-method", "xor", "xor, polynomial-sharing-gf-2^8, polynomial-sharing-gf-2^16 or polynomial-sharing-prime-field")
	f.StringVar(&s.primeField, "prime-field-size", "", "`number`: the prime of --split-method polynomial-sharing-prime-field")
	f.StringVar(&s.algorithm, "algorithm", "", "Cryptographic Algorithm of a new key: `AES`, 3DES, HMAC-SHA256, ... (default AES)")
	f.Int32Var(&s.length, "length", 0, "Cryptographic Length of a new key in `bits` (default 256 for AES)")
	s.typ = "symmetric-key"
	s.defineNew(f)
}

func (s *split) run(ctx context.Context, k *kit, args []string) (result, error) {
	if err := s.take(args, 0); err != nil {
		return nil, err
	}
	if n := len(args) + len(s.targets.names); n > 1 {
		return nil, usageError("only one key can be split at a time")
	}
	req, err := s.request(len(args)+len(s.targets.names) > 0)
	if err != nil {
		return nil, err
	}
	if err := outdated(req, k.version); err != nil {
		return nil, err
	}
	c, ids, err := s.connect(ctx, k)
	if err != nil {
		return nil, err
	}
	if len(ids) > 0 {
		req.UniqueIdentifier = &ids[0]
	}
	return ask(ctx, c, kmip.OperationCreateSplitKey, req, func(r *kmip.CreateSplitKeyResponse) result {
		return &keyParts{append([]string{}, r.UniqueIdentifier...), implicit(r.TemplateAttribute)}
	})
}

// request is the request without Unique Identifier; existing tells that there will be one.
func (s *split) request(existing bool) (*kmip.CreateSplitKeyRequest, error) {
	req := &kmip.CreateSplitKeyRequest{ObjectType: kmip.ObjectTypeSplitKey, SplitKeyParts: s.parts, SplitKeyThreshold: s.threshold}
	var problems []error
	if s.parts <= 0 {
		problems = append(problems, errors.New("say with --split-parts how many parts to make"))
	}
	if s.threshold == 0 {
		req.SplitKeyThreshold = s.parts
	}
	m, err := parseEnum("SplitKeyMethod", s.method)
	if err != nil {
		problems = append(problems, fmt.Errorf("--split-method: %w", err))
	}
	req.SplitKeyMethod = kmip.SplitKeyMethod(m)
	if s.primeField != "" {
		if req.PrimeFieldSize, err = parseBig(s.primeField); err != nil {
			problems = append(problems, fmt.Errorf("--prime-field-size: %w", err))
		}
	}
	switch {
	case !existing:
		made, err := s.create.request()
		if err != nil {
			problems = append(problems, err)
			break
		}
		req.TemplateAttribute = made.TemplateAttribute
	case s.algorithm != "" || s.length != 0:
		problems = append(problems, errors.New("--algorithm and --length are for a new key: an existing one has its own"))
	default:
		ta, err := s.templateAttribute()
		if err != nil {
			problems = append(problems, err)
		}
		if ta != nil {
			req.TemplateAttribute = *ta
		}
	}
	return req, joined("", problems)
}

// keyParts is the result of Create Split Key.
type keyParts struct {
	IDs        []string        `json:"unique_identifiers"`
	Attributes []attributeView `json:"attributes,omitempty"`
}

func (p *keyParts) rows() []row {
	return append([]row{{"Unique Identifiers", printableAll(p.IDs)}}, attributeRows(p.Attributes)...)
}

func (p *keyParts) ids() []string { return p.IDs }

var cmdJoinSplitKey = command{
	name: "join-split-key", args: "[ID ...]", short: "make a key of its parts",
	about: `The parts are named by ID or --name. They remain.`,
	examples: []string{
		"join-split-key 8f14e45f c9f0f895 45c48cce --new-name again",
		"join-split-key 8f14e45f c9f0f895 --type secret-data --secret-type seed --json",
	},
	setup: func(f *pflag.FlagSet) action {
		j := &join{}
		j.define(f)
		return j.run
	},
}

type join struct {
	targets
	newObject
	typ, secretType string
}

func (j *join) define(f *pflag.FlagSet) {
	j.targets.define(f)
	f.StringVar(&j.typ, "type", "symmetric-key", "symmetric-key, private-key or secret-data")
	f.StringVar(&j.secretType, "secret-type", "", "password, seed or a number 0x8..., of --type secret-data")
	j.defineNew(f)
}

func (j *join) run(ctx context.Context, k *kit, args []string) (result, error) {
	if err := j.take(args, 1); err != nil {
		return nil, err
	}
	req, err := j.request()
	if err != nil {
		return nil, err
	}
	c, ids, err := j.connect(ctx, k)
	if err != nil {
		return nil, err
	}
	req.UniqueIdentifier = ids
	return ask(ctx, c, kmip.OperationJoinSplitKey, req, func(r *kmip.JoinSplitKeyResponse) result {
		return &identified{r.UniqueIdentifier, req.ObjectType.String(), implicit(r.TemplateAttribute)}
	})
}

func (j *join) request() (*kmip.JoinSplitKeyRequest, error) {
	var problems []error
	typ, err := parseObjectType(j.typ)
	if err != nil {
		problems = append(problems, err)
	}
	req := &kmip.JoinSplitKeyRequest{ObjectType: typ}
	if j.secretType == "" && typ == kmip.ObjectTypeSecretData {
		j.secretType = "password"
	}
	if j.secretType != "" {
		t, err := parseEnum("SecretDataType", j.secretType)
		if err != nil {
			problems = append(problems, fmt.Errorf("--secret-type: %w", err))
		}
		req.SecretDataType = kmip.SecretDataType(t)
	}
	if req.TemplateAttribute, err = j.templateAttribute(); err != nil {
		problems = append(problems, err)
	}
	return req, joined("", problems)
}
