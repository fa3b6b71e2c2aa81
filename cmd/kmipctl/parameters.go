package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"kmipd/kmip"
)

// parameters is the flags of the Cryptographic Parameters. Each command declares those that it has a use for.
type parameters struct {
	flags *pflag.FlagSet

	mode, padding, hash, algorithm, signature, mgfHash, label      string
	prf                                                            string // algorithm where --algorithm is that of a new key
	randomIV                                                       bool
	ivLength, tagLength, saltLength, counterLength, initialCounter int32
}

// define declares the flags that are named. Without any of them the key's own Cryptographic Parameters are used.
func (p *parameters) define(f *pflag.FlagSet, names ...string) {
	p.flags = f
	for _, n := range names {
		switch n {
		case "mode":
			f.StringVar(&p.mode, n, "", "Block Cipher `Mode`: ecb, cbc, ctr, gcm, cmac, ... as far as the operation has a use for them")
		case "padding":
			f.StringVar(&p.padding, n, "", "Padding `Method`: none, pkcs5, oaep, pkcs1-v1.5, pss, ...")
		case "hash":
			f.StringVar(&p.hash, n, "", "Hashing `Algorithm`: sha-1, sha-256, sha-384, sha-512, sha-3-256, ...")
		case "algorithm":
			f.StringVar(&p.algorithm, n, "", "Cryptographic `Algorithm` of the operation, when the key has another: hmac-sha256, ...")
		case "prf":
			f.StringVar(&p.prf, n, "", "Cryptographic `Algorithm` that the method uses, when the key has another: hmac-sha256, ...")
		case "signature-algorithm":
			f.StringVar(&p.signature, n, "", "Digital Signature `Algorithm`, instead of --padding and --hash: ecdsa-with-sha256, ...")
		case "mgf-hash":
			f.StringVar(&p.mgfHash, n, "", "Mask Generator Hashing `Algorithm` of oaep and pss (default: the server's)")
		case "label":
			f.StringVar(&p.label, n, "", "P Source of oaep, as `octets`: hexadecimal, or text:...")
		case "random-iv":
			f.BoolVar(&p.randomIV, n, false, "have the server choose the IV, and print it")
		case "iv-length":
			f.Int32Var(&p.ivLength, n, 0, "IV Length of --random-iv in `bits`")
		case "tag-length":
			f.Int32Var(&p.tagLength, n, 0, "Tag Length of gcm in `octets` (default: the server's, 16)")
		case "salt-length":
			f.Int32Var(&p.saltLength, n, 0, "Salt Length of pss in `octets` (default: the server's, that of the hash)")
		case "initial-counter":
			f.Int32Var(&p.initialCounter, n, 0, "Initial Counter `Value` of ctr; the IV is then what stands before the counter (RFC 3686: 1)")
		case "counter-length":
			f.Int32Var(&p.counterLength, n, 0, "Counter Length in `bits`")
		}
	}
}

// get is the Cryptographic Parameters, nil when no flag names any.
func (p *parameters) get() (*kmip.CryptographicParameters, error) {
	out := &kmip.CryptographicParameters{}
	var problems []error
	used := false
	for _, e := range []struct {
		flag, enum, text string
		set              func(uint32)
	}{
		{"mode", "BlockCipherMode", p.mode, func(v uint32) { out.BlockCipherMode = kmip.BlockCipherMode(v) }},
		{"padding", "PaddingMethod", p.padding, func(v uint32) { out.PaddingMethod = kmip.PaddingMethod(v) }},
		{"hash", "HashingAlgorithm", p.hash, func(v uint32) { out.HashingAlgorithm = kmip.HashingAlgorithm(v) }},
		{"algorithm", "CryptographicAlgorithm", p.algorithm, func(v uint32) { out.CryptographicAlgorithm = kmip.CryptographicAlgorithm(v) }},
		{"prf", "CryptographicAlgorithm", p.prf, func(v uint32) { out.CryptographicAlgorithm = kmip.CryptographicAlgorithm(v) }},
		{"signature-algorithm", "DigitalSignatureAlgorithm", p.signature, func(v uint32) { out.DigitalSignatureAlgorithm = kmip.DigitalSignatureAlgorithm(v) }},
		{"mgf-hash", "HashingAlgorithm", p.mgfHash, func(v uint32) { out.MaskGeneratorHashingAlgorithm = kmip.HashingAlgorithm(v) }},
	} {
		if e.text == "" {
			continue
		}
		v, err := parseEnum(e.enum, e.text)
		if err != nil {
			problems = append(problems, fmt.Errorf("--%s: %w", e.flag, err))
		}
		used = true
		e.set(v)
	}
	for _, n := range []struct {
		flag string
		from *int32
		to   **int32
	}{{"iv-length", &p.ivLength, &out.IVLength}, {"tag-length", &p.tagLength, &out.TagLength},
		{"salt-length", &p.saltLength, &out.SaltLength}, {"counter-length", &p.counterLength, &out.CounterLength},
		{"initial-counter", &p.initialCounter, &out.InitialCounterValue}} {
		if p.flags.Changed(n.flag) {
			*n.to, used = n.from, true
		}
	}
	if p.randomIV {
		out.RandomIV, used = &p.randomIV, true
	}
	if p.mgfHash != "" {
		out.MaskGenerator = kmip.MaskGeneratorMGF1
	}
	if p.label != "" {
		var err error
		if out.PSource, err = parseOctets(p.label); err != nil {
			problems = append(problems, fmt.Errorf("--label: %w", err))
		}
		used = true
	}
	if p.ivLength != 0 && !p.randomIV {
		problems = append(problems, errors.New("--iv-length needs --random-iv"))
	}
	if !used {
		out = nil
	}
	return out, joined("", problems)
}

// parseOctets reads octets that are no secret: hexadecimal, or text with text: before it.
func parseOctets(s string) ([]byte, error) {
	if t, ok := strings.CutPrefix(s, "text:"); ok {
		return []byte(t), nil
	}
	return parseHex(strings.TrimPrefix(s, "bytes:"))
}

// octetFlag is a flag whose value is octets.
type octetFlag struct {
	flag, text string
	to         *[]byte
}

// parseOctetFlags reads those that are used.
func parseOctetFlags(list ...octetFlag) (problems []error) {
	for _, o := range list {
		if o.text == "" {
			continue
		}
		var err error
		if *o.to, err = parseOctets(o.text); err != nil {
			problems = append(problems, fmt.Errorf("--%s: %w", o.flag, err))
		}
	}
	return problems
}
