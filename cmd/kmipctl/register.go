package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"kmipd/kmip"
	"kmipd/kmip/client"
	"kmipd/kmip/ttlv"
)

var cmdRegister = command{
	name: "register", short: "store a key, certificate, secret or other object that you have",
	about: `The object is in a file, as octets. Of keys and certificates PEM files are recognised; a key is brought into the Key Format
Type that --format names when it is in another one. --format is one of raw, opaque, pkcs1, pkcs8, x509, ecprivatekey,
transparent, or the full name of a transparent format. Without it keys keep the format of the file.
With --wrapping-key the file holds the wrapped octets. A template has no file: it is made of the attributes.`,
	examples: []string{
		"register --type symmetric-key --algorithm AES --file key.bin --name disk-1",
		"register --type private-key --file key.pem --format pkcs8 --usage sign --name signer",
		"register --type certificate --file cert.pem --name www",
		"register --type secret-data --secret-type password --file - --name db < password",
		"register --type symmetric-key --algorithm AES --length 256 --file wrapped.bin --wrapping-key ID --wrap-mode nist-key-wrap",
		"register --type split-key --split-parts 3 --split-part 1 --split-threshold 2 --split-method xor --algorithm AES --file part1",
		"register --type template --name disk-keys --attribute 'Cryptographic Algorithm=AES' --attribute 'Cryptographic Length=256' --usage encrypt,decrypt",
	},
	setup: func(f *pflag.FlagSet) action {
		r := &register{}
		r.define(f)
		return r.run
	},
}

type register struct {
	newObject
	wrapping

	// The flags.
	typ, file, format, algorithm, wrappingKey string
	certificateType, secretType, opaqueType   string
	splitMethod, primeField                   string
	length, pgpVersion                        int32
	hex                                       bool
	split                                     kmip.SplitKey

	// What check reads from them; keyBlock completes it with what the file tells.
	object         kmip.ObjectType
	alg            kmip.CryptographicAlgorithm
	keyFormat      kmip.KeyFormatType
	anyTransparent bool // --format transparent
	list           []kmip.Attribute

	secrets [][]byte // copies of the material, to be wiped
}

func (r *register) define(f *pflag.FlagSet) {
	r.defineObject(f)
	r.newObject.define(f)
}

// defineObject declares what the object is and where it comes from.
func (r *register) defineObject(f *pflag.FlagSet) {
	f.StringVar(&r.typ, "type", "", "symmetric-key, private-key, public-key, certificate, secret-data, opaque-object, split-key, pgp-key or template (required)")
	f.StringVar(&r.file, "file", "", "`file` with the object; - for standard input")
	f.BoolVar(&r.hex, "hex", false, "the file is text in hexadecimal")
	f.StringVar(&r.format, "format", "", "Key Format `Type`")
	f.StringVar(&r.algorithm, "algorithm", "", "Cryptographic `Algorithm`; keys in PEM and DER tell theirs")
	f.Int32Var(&r.length, "length", 0, "Cryptographic Length in `bits` (default: that of the file)")
	f.StringVar(&r.wrappingKey, "wrapping-key", "", "Unique `Identifier` of the key that the file is wrapped with")
	r.wrapping.define(f)
	f.StringVar(&r.certificateType, "certificate-type", "x.509", "x.509 or pgp")
	f.StringVar(&r.secretType, "secret-type", "password", "password, seed or a number 0x8...")
	f.StringVar(&r.opaqueType, "opaque-type", "0x80000000", "Opaque Data Type, a `number` 0x8...")
	f.Int32Var(&r.pgpVersion, "pgp-version", 4, "PGP Key Version")
	f.Int32Var(&r.split.SplitKeyParts, "split-parts", 0, "`number` of parts of the split key")
	f.Int32Var(&r.split.KeyPartIdentifier, "split-part", 0, "`number` of this part, from 1")
	f.Int32Var(&r.split.SplitKeyThreshold, "split-threshold", 0, "`number` of parts that make the key")
	f.StringVar(&r.splitMethod, "split-method", "xor", "xor, polynomial-sharing-gf-2^8, polynomial-sharing-gf-2^16 or polynomial-sharing-prime-field")
	f.StringVar(&r.primeField, "prime-field-size", "", "`number`: the prime of --split-method polynomial-sharing-prime-field")
}

func (r *register) run(ctx context.Context, k *kit, args []string) (result, error) {
	defer r.wipe()
	if err := none(args); err != nil {
		return nil, err
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	req, err := r.request(k)
	if err != nil {
		return nil, err
	}
	c, err := k.client(ctx)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do[kmip.RegisterRequest, kmip.RegisterResponse](ctx, c, kmip.OperationRegister, req)
	if err != nil {
		return nil, err
	}
	return &identified{resp.UniqueIdentifier, r.object.String(), implicit(resp.TemplateAttribute)}, nil
}

// keep notes octets to be wiped.
func (r *register) keep(b []byte) []byte {
	r.secrets = append(r.secrets, b)
	return b
}

func (r *register) wipe() {
	for _, b := range r.secrets {
		clear(b)
	}
}

// check reads the flags that need no file.
func (r *register) check() error {
	var problems []error
	add := func(err error) {
		if err != nil {
			problems = append(problems, err)
		}
	}
	if r.typ == "" {
		add(errors.New("name the kind of object with --type: symmetric-key, private-key, public-key, certificate, secret-data, opaque-object, split-key, pgp-key or template"))
	} else {
		v, err := parseEnum("ObjectType", r.typ)
		if err != nil {
			err = fmt.Errorf("--type: %w", err)
		}
		add(err)
		r.object = kmip.ObjectType(v)
	}
	var err error
	r.alg, err = parseAlgorithm(r.algorithm)
	add(err)
	if r.format != "" {
		r.anyTransparent = squash(r.format) == "transparent"
		v, err := parseEnum("KeyFormatType", r.format)
		if err != nil && !r.anyTransparent {
			add(fmt.Errorf("--format: %w", err))
		}
		r.keyFormat = kmip.KeyFormatType(v)
	}
	if r.wrappingKey == "" && r.wrapping.named() {
		add(errors.New("--wrap-mode, --wrap-hash and --encoding need --wrapping-key"))
	}
	attrs, err := r.newObject.list()
	add(err)
	r.list = append(attrs, r.release()...)
	if r.typ == "" || r.object == 0 {
		return joined("", problems)
	}
	isTemplate := r.object == kmip.ObjectTypeTemplate
	switch {
	case isTemplate && r.file != "":
		add(errors.New("a template has no --file"))
	case !isTemplate && r.file == "" && !has(r.list, "Key Value Location"):
		add(errors.New("name the file of the object with --file, or - for standard input"))
	}
	return joined("", problems)
}

// request reads the file and makes the object.
func (r *register) request(k *kit) (*kmip.RegisterRequest, error) {
	req := &kmip.RegisterRequest{ObjectType: r.object, TemplateAttribute: kmip.TemplateAttribute{Name: templateNames(r.templates)}}
	if r.object == kmip.ObjectTypeTemplate {
		return req, r.template(req)
	}
	var data []byte
	if r.file != "" {
		var err error
		if data, err = r.read(k); err != nil {
			return nil, err
		}
	}
	if err := r.fill(req, data, k.version); err != nil {
		return nil, err
	}
	req.TemplateAttribute.Attribute = r.list
	return req, nil
}

// read reads the file.
func (r *register) read(k *kit) ([]byte, error) {
	data, err := k.readFile("file", r.file)
	if err != nil {
		return nil, err
	}
	r.keep(data)
	if r.hex {
		if data, err = parseHex(string(data)); err != nil {
			return nil, usageError("--hex: %v", err)
		}
		r.keep(data)
	}
	return data, nil
}

// template splits the attributes: the Name is the template's own, the others are what it gives (KMIP 1.4 section 2.2.6).
func (r *register) template(req *kmip.RegisterRequest) error {
	req.Template = &kmip.Template{}
	if r.alg != 0 {
		req.Template.Attribute = append(req.Template.Attribute, enumAttribute("Cryptographic Algorithm", r.alg))
	}
	if r.length != 0 {
		req.Template.Attribute = append(req.Template.Attribute, intAttribute("Cryptographic Length", r.length))
	}
	for _, a := range r.list {
		if a.AttributeName == "Name" {
			req.TemplateAttribute.Attribute = append(req.TemplateAttribute.Attribute, a)
		} else {
			req.Template.Attribute = append(req.Template.Attribute, a)
		}
	}
	if len(req.TemplateAttribute.Attribute) == 0 {
		return usageError("a template needs a --name")
	}
	return nil
}

// fill puts the object into the request.
func (r *register) fill(req *kmip.RegisterRequest, data []byte, ver kmip.Version) error {
	switch r.object {
	case kmip.ObjectTypeCertificate:
		t, err := parseEnum("CertificateType", r.certificateType)
		if err != nil {
			return usageError("--certificate-type: %v", err)
		}
		f, err := parseKeyFile(r.object, data)
		if err != nil {
			return err
		}
		req.Certificate = &kmip.Certificate{CertificateType: kmip.CertificateType(t), CertificateValue: f.der}
		return nil
	case kmip.ObjectTypeOpaqueObject:
		t, err := parseEnum("", r.opaqueType)
		if err != nil {
			return usageError("--opaque-type: %v", err)
		}
		req.OpaqueObject = &kmip.OpaqueObject{OpaqueDataType: t, OpaqueDataValue: data}
		return nil
	}
	kb, err := r.keyBlock(data, ver)
	if err != nil {
		return err
	}
	switch r.object {
	case kmip.ObjectTypeSymmetricKey:
		req.SymmetricKey = &kmip.SymmetricKey{KeyBlock: *kb}
	case kmip.ObjectTypePrivateKey:
		req.PrivateKey = &kmip.PrivateKey{KeyBlock: *kb}
	case kmip.ObjectTypePublicKey:
		req.PublicKey = &kmip.PublicKey{KeyBlock: *kb}
	case kmip.ObjectTypePGPKey:
		req.PGPKey = &kmip.PGPKey{PGPKeyVersion: r.pgpVersion, KeyBlock: *kb}
	case kmip.ObjectTypeSecretData:
		t, err := parseEnum("SecretDataType", r.secretType)
		if err != nil {
			return usageError("--secret-type: %v", err)
		}
		req.SecretData = &kmip.SecretData{SecretDataType: kmip.SecretDataType(t), KeyBlock: *kb}
	case kmip.ObjectTypeSplitKey:
		return r.splitKey(req, kb)
	default:
		return usageError("--type: %s cannot be registered with KMIP 1.x", r.object)
	}
	return nil
}

func (r *register) splitKey(req *kmip.RegisterRequest, kb *kmip.KeyBlock) error {
	var problems []error
	if r.split.SplitKeyParts == 0 || r.split.KeyPartIdentifier == 0 || r.split.SplitKeyThreshold == 0 {
		problems = append(problems, errors.New("a split key needs --split-parts, --split-part and --split-threshold"))
	}
	m, err := parseEnum("SplitKeyMethod", r.splitMethod)
	if err != nil {
		problems = append(problems, fmt.Errorf("--split-method: %w", err))
	}
	s := r.split
	s.SplitKeyMethod, s.KeyBlock = kmip.SplitKeyMethod(m), *kb
	if r.primeField != "" {
		if s.PrimeFieldSize, err = parseBig(r.primeField); err != nil {
			problems = append(problems, fmt.Errorf("--prime-field-size: %w", err))
		}
	}
	req.SplitKey = &s
	return joined("", problems)
}

// keyValue wraps Key Material in a Key Value structure, in a buffer of its own that is wiped.
func (r *register) keyValue(material ttlv.Item) ttlv.Item {
	b, mark := ttlv.Begin(make([]byte, 0, material.Size()+ttlv.HeaderSize), kmip.TagKeyValue)
	return ttlv.Make(r.keep(ttlv.End(ttlv.AppendItem(b, kmip.TagKeyMaterial, material), mark)))
}
