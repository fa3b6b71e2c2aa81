package main

import (
	"context"

	"github.com/spf13/pflag"

	"kmipd/kmip"
	"kmipd/kmip/client"
)

var cmdGetAttributes = command{
	name: "get-attributes", args: "[ID]", short: "show attributes of an object",
	examples: []string{
		"get-attributes --name first-key",
		"get-attributes 8f14e45f --attribute State --attribute 'Cryptographic Length' --json",
	},
	setup: func(f *pflag.FlagSet) action {
		var t target
		var names []string
		t.define(f)
		f.StringArrayVar(&names, "attribute", nil, "`name` of an attribute to show; may be repeated (default all)")
		return func(ctx context.Context, k *kit, args []string) (result, error) {
			if _, err := t.take(args); err != nil {
				return nil, err
			}
			for i := range names {
				names[i], _ = attributeName(names[i])
			}
			c, id, err := t.connect(ctx, k)
			if err != nil {
				return nil, err
			}
			resp, err := client.Do[kmip.GetAttributesRequest, kmip.GetAttributesResponse](ctx, c, kmip.OperationGetAttributes,
				&kmip.GetAttributesRequest{UniqueIdentifier: &id, AttributeName: names})
			if err != nil {
				return nil, err
			}
			return &attributeList{resp.UniqueIdentifier, viewAttributes(resp.Attribute)}, nil
		}
	},
}

// attributeList is the result of Get Attributes.
type attributeList struct {
	UniqueIdentifier string          `json:"unique_identifier"`
	Attributes       []attributeView `json:"attributes"`
}

func (r *attributeList) rows() []row {
	rows := attributeRows(r.Attributes)
	for _, a := range r.Attributes {
		if a.Name == "Unique Identifier" {
			return rows
		}
	}
	return append([]row{text("Unique Identifier", r.UniqueIdentifier)}, rows...)
}

func (r *attributeList) ids() []string { return []string{r.UniqueIdentifier} }

var cmdGetAttributeList = command{
	name: "get-attribute-list", args: "[ID]", short: "list the names of the attributes that an object has",
	examples: []string{"get-attribute-list --name first-key", "get-attribute-list 8f14e45f --json"},
	setup: func(f *pflag.FlagSet) action {
		var t target
		t.define(f)
		return func(ctx context.Context, k *kit, args []string) (result, error) {
			if _, err := t.take(args); err != nil {
				return nil, err
			}
			c, id, err := t.connect(ctx, k)
			if err != nil {
				return nil, err
			}
			resp, err := client.Do[kmip.GetAttributeListRequest, kmip.GetAttributeListResponse](ctx, c, kmip.OperationGetAttributeList,
				&kmip.GetAttributeListRequest{UniqueIdentifier: &id})
			if err != nil {
				return nil, err
			}
			return &nameList{resp.UniqueIdentifier, append([]string{}, resp.AttributeName...)}, nil
		}
	},
}

// nameList is the result of Get Attribute List.
type nameList struct {
	UniqueIdentifier string   `json:"unique_identifier"`
	AttributeNames   []string `json:"attribute_names"`
}

func (r *nameList) rows() []row   { return nil }
func (r *nameList) ids() []string { return []string{r.UniqueIdentifier} }

func (r *nameList) plain() []string { return printableAll(r.AttributeNames) }

// changed is the result of the operations on one attribute.
type changed struct {
	UniqueIdentifier string        `json:"unique_identifier"`
	Attribute        attributeView `json:"attribute"`
}

func (r *changed) rows() []row {
	return []row{text("Unique Identifier", r.UniqueIdentifier), r.Attribute.row()}
}

func (r *changed) ids() []string { return []string{r.UniqueIdentifier} }

var cmdAddAttribute = command{
	name: "add-attribute", args: "[ID] NAME=VALUE", short: "give an object an attribute, or another instance of one",
	examples: []string{
		"add-attribute 8f14e45f 'Object Group=disks'",
		"add-attribute --name first-key 'x-Owner=alice'",
		"add-attribute --name first-key 'Application Specific Information=ssl:www.example'",
	},
	setup: func(f *pflag.FlagSet) action {
		var t target
		t.define(f)
		return func(ctx context.Context, k *kit, args []string) (result, error) {
			a, err := t.assignment(args)
			if err != nil {
				return nil, err
			}
			if a.AttributeIndex != nil {
				return nil, usageError("the server chooses the index of a new instance: leave [%d] out", *a.AttributeIndex)
			}
			c, id, err := t.connect(ctx, k)
			if err != nil {
				return nil, err
			}
			resp, err := client.Do[kmip.AddAttributeRequest, kmip.AddAttributeResponse](ctx, c, kmip.OperationAddAttribute,
				&kmip.AddAttributeRequest{UniqueIdentifier: &id, Attribute: a})
			if err != nil {
				return nil, err
			}
			return &changed{resp.UniqueIdentifier, viewAttribute(&resp.Attribute)}, nil
		}
	},
}

var cmdModifyAttribute = command{
	name: "modify-attribute", args: "[ID] NAME=VALUE", short: "change the value of an attribute",
	about: "NAME[1]=VALUE changes the instance with Attribute Index 1; without an index it is the one with index 0.",
	examples: []string{
		"modify-attribute 8f14e45f 'Object Group[1]=archive'",
		"modify-attribute --name first-key 'Name=second-key'",
		"modify-attribute --name first-key 'Deactivation Date=2030-01-01'",
	},
	setup: func(f *pflag.FlagSet) action {
		var t target
		t.define(f)
		return func(ctx context.Context, k *kit, args []string) (result, error) {
			a, err := t.assignment(args)
			if err != nil {
				return nil, err
			}
			c, id, err := t.connect(ctx, k)
			if err != nil {
				return nil, err
			}
			resp, err := client.Do[kmip.ModifyAttributeRequest, kmip.ModifyAttributeResponse](ctx, c, kmip.OperationModifyAttribute,
				&kmip.ModifyAttributeRequest{UniqueIdentifier: &id, Attribute: a})
			if err != nil {
				return nil, err
			}
			return &changed{resp.UniqueIdentifier, viewAttribute(&resp.Attribute)}, nil
		}
	},
}

// assignment reads the arguments of the two commands above.
func (t *target) assignment(args []string) (kmip.Attribute, error) {
	rest, err := t.take(args, "NAME=VALUE")
	if err != nil {
		return kmip.Attribute{}, err
	}
	a, err := parseAttribute(rest[0])
	if err != nil {
		return a, usageError("%v", err)
	}
	return a, nil
}

var cmdDeleteAttribute = command{
	name: "delete-attribute", args: "[ID] NAME", short: "take an attribute away from an object",
	about: "NAME[1] is the instance with Attribute Index 1; without an index it is the one with index 0.",
	examples: []string{
		"delete-attribute 8f14e45f 'Object Group[1]'",
		"delete-attribute --name first-key x-Owner",
	},
	setup: func(f *pflag.FlagSet) action {
		var t target
		t.define(f)
		return func(ctx context.Context, k *kit, args []string) (result, error) {
			rest, err := t.take(args, "the attribute's NAME")
			if err != nil {
				return nil, err
			}
			a, _, err := parseReference(rest[0])
			if err != nil {
				return nil, usageError("%v", err)
			}
			c, id, err := t.connect(ctx, k)
			if err != nil {
				return nil, err
			}
			resp, err := client.Do[kmip.DeleteAttributeRequest, kmip.DeleteAttributeResponse](ctx, c, kmip.OperationDeleteAttribute,
				&kmip.DeleteAttributeRequest{UniqueIdentifier: &id, AttributeName: a.AttributeName, AttributeIndex: a.AttributeIndex})
			if err != nil {
				return nil, err
			}
			return &changed{resp.UniqueIdentifier, viewAttribute(&resp.Attribute)}, nil
		}
	},
}
