package main

import (
	"context"

	"github.com/spf13/pflag"

	"kmipd/kmip"
	"kmipd/kmip/client"
	"kmipd/kmip/ttlv"
)

var cmdExport = command{
	name: "export", args: "[ID]", short: "fetch an object together with all its attributes",
	about: `--out writes object and attributes to a new file that only you can read, in the TTLV encoding of the answer: import takes it
in again, here or on another server. To have the octets of the object alone use get. KMIP 1.4.`,
	examples: []string{
		"export --name first-key",
		"export 8f14e45f --out first-key.kmip",
		"export 8f14e45f --wrap-with KEK --wrap-mode nist-key-wrap --out first-key.kmip",
		"export 8f14e45f --show --json",
	},
	setup: func(f *pflag.FlagSet) action {
		e := &export{}
		e.target.define(f)
		e.fetch.define(f)
		e.delivery.define(f, "object and attributes")
		f.BoolVar(&e.show, "show", false, "print the material")
		return e.run
	},
}

type export struct {
	target
	fetch
}

func (e *export) run(ctx context.Context, k *kit, args []string) (result, error) {
	if _, err := e.take(args); err != nil {
		return nil, err
	}
	get, problems := e.request(k.version)
	if err := joined("", problems); err != nil {
		return nil, err
	}
	if err := e.check(k); err != nil {
		return nil, err
	}
	c, id, err := e.connect(ctx, k)
	if err != nil {
		return nil, err
	}
	results, err := c.Batch(ctx, client.Options{}, client.Item{Operation: kmip.OperationExport, Payload: &kmip.ExportRequest{UniqueIdentifier: &id,
		KeyFormatType: get.KeyFormatType, KeyWrapType: get.KeyWrapType, KeyCompressionType: get.KeyCompressionType,
		KeyWrappingSpecification: get.KeyWrappingSpecification}})
	if err != nil {
		return nil, err
	}
	resp, err := client.Decode[kmip.ExportResponse](&results[0])
	if err != nil {
		return nil, err
	}
	view := viewObject(object(resp))
	view.Attributes, view.show = viewAttributes(resp.Attribute), e.show
	if err := e.deliver(k, view, results[0].Payload); err != nil {
		view.wipe()
		return nil, err
	}
	return view, nil
}

// deliver writes the answer as it came: nothing of it is lost, whatever this program knows of it.
func (e *export) deliver(k *kit, view *objectView, answer ttlv.Item) error {
	if e.out == "" {
		return nil
	}
	whole := ttlv.AppendItem(make([]byte, 0, answer.Size()), kmip.TagResponsePayload, answer)
	defer clear(whole)
	view.File, view.Written = e.out, len(whole)
	if e.out == "-" {
		_, err := k.out.Write(whole)
		return err
	}
	return writeFile(e.out, whole, e.force)
}

// object is the object in Export's answer.
func object(r *kmip.ExportResponse) *kmip.GetResponse {
	return &kmip.GetResponse{ObjectType: r.ObjectType, UniqueIdentifier: r.UniqueIdentifier, Certificate: r.Certificate,
		SymmetricKey: r.SymmetricKey, PrivateKey: r.PrivateKey, PublicKey: r.PublicKey, SplitKey: r.SplitKey, Template: r.Template,
		SecretData: r.SecretData, OpaqueObject: r.OpaqueObject, PGPKey: r.PGPKey}
}
