package server

import (
	"context"
	"time"

	"kmipd/kmip"
)

// Create Split Key (KMIP 1.4 section 4.38, errors 11.39). Without Unique Identifier it makes a new key: the ID Placeholder
// does not stand in for it, but becomes the first part.
var opCreateSplitKey = row[kmip.CreateSplitKeyRequest, kmip.CreateSplitKeyResponse]{
	Code: kmip.OperationCreateSplitKey, Limit: 60 * time.Second, Places: true,
	Check: func(r *kmip.CreateSplitKeyRequest) error {
		if err := checkObjectType(r.ObjectType); err != nil {
			return err
		}
		return checkTemplates(&r.TemplateAttribute)
	},
	Run: func(ctx context.Context, c *call, r *kmip.CreateSplitKeyRequest) (*kmip.CreateSplitKeyResponse, error) {
		resp, err := c.Keys.CreateSplitKey(ctx, &c.Call, r)
		if err == nil && resp != nil && len(resp.UniqueIdentifier) > 0 {
			c.place(resp.UniqueIdentifier[0])
		}
		return resp, err
	},
}

// Join Split Key (KMIP 1.4 section 4.39, errors 11.40). The ID Placeholder becomes the joined object.
var opJoinSplitKey = row[kmip.JoinSplitKeyRequest, kmip.JoinSplitKeyResponse]{
	Code: kmip.OperationJoinSplitKey, Limit: 60 * time.Second, Places: true,
	Check: func(r *kmip.JoinSplitKeyRequest) error {
		if err := checkObjectType(r.ObjectType); err != nil {
			return err
		}
		return checkTemplates(r.TemplateAttribute)
	},
	Run: func(ctx context.Context, c *call, r *kmip.JoinSplitKeyRequest) (*kmip.JoinSplitKeyResponse, error) {
		resp, err := c.Keys.JoinSplitKey(ctx, &c.Call, r)
		if err == nil && resp != nil {
			c.place(resp.UniqueIdentifier)
		}
		return resp, err
	},
}
