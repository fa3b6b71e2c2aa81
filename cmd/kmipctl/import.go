package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/pflag"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

var cmdImport = command{
	name: "import", args: "[ID]", short: "store an object under an identifier and with attributes that you choose",
	about: `Without --type the file is what export --out wrote: identifier and attributes are those of the object, unless ID is another
identifier. With --type the file is what register takes, ID is the identifier, and the flags give the attributes, those that
the server sets otherwise among them. KMIP 1.4.`,
	examples: []string{
		"import --file first-key.kmip",
		"import first-key-2 --file first-key.kmip --replace",
		"import disk-1 --type symmetric-key --algorithm AES --file key.bin --attribute 'Initial Date=2020-01-01'",
	},
	setup: func(f *pflag.FlagSet) action {
		i := &importing{}
		i.define(f)
		return i.run
	},
}

type importing struct {
	register
	id, wrapType string
	replace      bool
}

func (i *importing) define(f *pflag.FlagSet) {
	i.defineObject(f)
	f.Lookup("type").Usage = "kind of the object in a file that export has not written: symmetric-key, private-key, ... as register has them"
	f.StringArrayVar(&i.names, "name", nil, "`Name` of the object; may be repeated")
	f.StringArrayVar(&i.groups, "group", nil, "`Object Group` of the object; may be repeated")
	i.defineUsage(f)
	i.defineCommon(f)
	f.StringVar(&i.wrapType, "wrap-type", "", "what becomes of a wrapped object: not-wrapped (it must be possible to unwrap it) or as-registered (default: the server's)")
	f.BoolVar(&i.replace, "replace", false, "replace an object that has the identifier")
}

func (i *importing) run(ctx context.Context, k *kit, args []string) (result, error) {
	defer i.wipe()
	if len(args) > 0 {
		i.id, args = args[0], args[1:]
	}
	if err := none(args); err != nil {
		return nil, err
	}
	req, err := i.request(k)
	if err != nil {
		return nil, err
	}
	c, err := k.client(ctx)
	if err != nil {
		return nil, err
	}
	return ask(ctx, c, kmip.OperationImport, req, func(r *kmip.ImportResponse) result {
		return &identified{UniqueIdentifier: r.UniqueIdentifier, ObjectType: req.ObjectType.String()}
	})
}

func (i *importing) request(k *kit) (*kmip.ImportRequest, error) {
	read := i.exported
	if i.typ != "" {
		read = i.registered
	}
	wrapType := uint32(0)
	if i.wrapType != "" {
		var err error
		if wrapType, err = parseEnum("KeyWrapType", i.wrapType); err != nil {
			return nil, usageError("--wrap-type: %v", err)
		}
	}
	req, err := read(k)
	if err != nil {
		return nil, err
	}
	req.KeyWrapType = kmip.KeyWrapType(wrapType)
	if i.replace {
		req.ReplaceExisting = ttlv.Make(ttlv.AppendBool(nil, kmip.TagReplaceExisting, true))
	}
	return req, nil
}

// registered makes the object as register does.
func (i *importing) registered(k *kit) (*kmip.ImportRequest, error) {
	if i.id == "" {
		return nil, usageError("the Unique Identifier that the object is to have is missing")
	}
	if err := i.check(); err != nil {
		return nil, err
	}
	r, err := i.register.request(k)
	if err != nil {
		return nil, err
	}
	return &kmip.ImportRequest{UniqueIdentifier: i.id, ObjectType: r.ObjectType, Attribute: r.TemplateAttribute.Attribute,
		Certificate: r.Certificate, SymmetricKey: r.SymmetricKey, PrivateKey: r.PrivateKey, PublicKey: r.PublicKey, SplitKey: r.SplitKey,
		Template: r.Template, SecretData: r.SecretData, OpaqueObject: r.OpaqueObject, PGPKey: r.PGPKey}, nil
}

// exported reads what export wrote. Flags that would describe the object have no use there.
func (i *importing) exported(k *kit) (*kmip.ImportRequest, error) {
	var problems []error
	if i.file == "" {
		problems = append(problems, errors.New("name the file of the object with --file, or - for standard input"))
	}
	i.flags.Visit(func(f *pflag.Flag) {
		if !slices.Contains([]string{"file", "hex", "wrap-type", "replace"}, f.Name) && k.flags.Lookup(f.Name) == nil {
			problems = append(problems, fmt.Errorf("--%s needs --type: in the file of an export the object has its attributes", f.Name))
		}
	})
	if err := joined("", problems); err != nil {
		return nil, err
	}
	data, err := i.read(k)
	if err != nil {
		return nil, err
	}
	root, err := ttlv.Parse(data, ownLimits)
	if err != nil || root.Tag != kmip.TagResponsePayload {
		return nil, usageError("--file: %s is not what export writes; name what it holds with --type", i.file)
	}
	var e kmip.ExportResponse
	if err := e.Decode(root); err != nil {
		return nil, usageError("--file: %s is not what export writes: %v", i.file, err)
	}
	req := &kmip.ImportRequest{UniqueIdentifier: e.UniqueIdentifier, ObjectType: e.ObjectType, Attribute: e.Attribute,
		Certificate: e.Certificate, SymmetricKey: e.SymmetricKey, PrivateKey: e.PrivateKey, PublicKey: e.PublicKey, SplitKey: e.SplitKey,
		Template: e.Template, SecretData: e.SecretData, OpaqueObject: e.OpaqueObject, PGPKey: e.PGPKey}
	if i.id != "" && i.id != req.UniqueIdentifier {
		req.UniqueIdentifier = i.id
		req.Attribute = slices.DeleteFunc(req.Attribute, func(a kmip.Attribute) bool { return a.AttributeName == "Unique Identifier" })
	}
	return req, nil
}
