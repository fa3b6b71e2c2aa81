package server

import (
	"context"
	"time"

	"kmipd/kmip"
)

const attributeLimit = 15 * time.Second

// Get Attributes (KMIP 1.4 section 4.12): "the same Attribute Name SHALL NOT be present more than once" (errors 11.13).
var opGetAttributes = row[kmip.GetAttributesRequest, kmip.GetAttributesResponse]{
	Code: kmip.OperationGetAttributes, Limit: attributeLimit,
	Target: func(r *kmip.GetAttributesRequest) *string { return r.UniqueIdentifier },
	Check: func(r *kmip.GetAttributesRequest) error {
		seen := make(map[string]struct{}, len(r.AttributeName))
		for _, name := range r.AttributeName {
			if _, ok := seen[name]; ok {
				return kmip.Errorf(kmip.ResultReasonInvalidMessage, "Attribute Name %s stands more than once", clipName(name))
			}
			seen[name] = struct{}{}
		}
		return nil
	},
	Run: func(ctx context.Context, c *call, r *kmip.GetAttributesRequest) (*kmip.GetAttributesResponse, error) {
		return c.Keys.GetAttributes(ctx, &c.Call, r)
	},
}

// Get Attribute List (KMIP 1.4 section 4.13).
var opGetAttributeList = row[kmip.GetAttributeListRequest, kmip.GetAttributeListResponse]{
	Code: kmip.OperationGetAttributeList, Limit: attributeLimit,
	Target: func(r *kmip.GetAttributeListRequest) *string { return r.UniqueIdentifier },
	Run: func(ctx context.Context, c *call, r *kmip.GetAttributeListRequest) (*kmip.GetAttributeListResponse, error) {
		return c.Keys.GetAttributeList(ctx, &c.Call, r)
	},
}

// Add Attribute (KMIP 1.4 section 4.14): "The Attribute Index SHALL NOT be specified in the request" (errors 11.15).
var opAddAttribute = row[kmip.AddAttributeRequest, kmip.AddAttributeResponse]{
	Code: kmip.OperationAddAttribute, Limit: attributeLimit,
	Target: func(r *kmip.AddAttributeRequest) *string { return r.UniqueIdentifier },
	Check: func(r *kmip.AddAttributeRequest) error {
		if r.Attribute.AttributeIndex != nil {
			return kmip.Errorf(kmip.ResultReasonInvalidField, "Add Attribute takes no Attribute Index")
		}
		return checkAttribute(&r.Attribute)
	},
	Run: func(ctx context.Context, c *call, r *kmip.AddAttributeRequest) (*kmip.AddAttributeResponse, error) {
		return c.Keys.AddAttribute(ctx, &c.Call, r)
	},
}

// Modify Attribute (KMIP 1.4 section 4.15).
var opModifyAttribute = row[kmip.ModifyAttributeRequest, kmip.ModifyAttributeResponse]{
	Code: kmip.OperationModifyAttribute, Limit: attributeLimit,
	Target: func(r *kmip.ModifyAttributeRequest) *string { return r.UniqueIdentifier },
	Check:  func(r *kmip.ModifyAttributeRequest) error { return checkAttribute(&r.Attribute) },
	Run: func(ctx context.Context, c *call, r *kmip.ModifyAttributeRequest) (*kmip.ModifyAttributeResponse, error) {
		return c.Keys.ModifyAttribute(ctx, &c.Call, r)
	},
}

// Delete Attribute (KMIP 1.4 section 4.16).
var opDeleteAttribute = row[kmip.DeleteAttributeRequest, kmip.DeleteAttributeResponse]{
	Code: kmip.OperationDeleteAttribute, Limit: attributeLimit,
	Target: func(r *kmip.DeleteAttributeRequest) *string { return r.UniqueIdentifier },
	Check: func(r *kmip.DeleteAttributeRequest) error {
		if r.AttributeName == "" {
			return kmip.Errorf(kmip.ResultReasonInvalidField, "Attribute Name is empty")
		}
		return checkIndex(r.AttributeIndex)
	},
	Run: func(ctx context.Context, c *call, r *kmip.DeleteAttributeRequest) (*kmip.DeleteAttributeResponse, error) {
		return c.Keys.DeleteAttribute(ctx, &c.Call, r)
	},
}
