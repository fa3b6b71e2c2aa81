package server

import (
	"context"
	"time"

	"kmipd/kmip"
)

// Derive Key (KMIP 1.4 section 4.6, errors 11.7). It names its objects itself: the ID Placeholder is not one of them, but
// becomes the derived object. The time is for PBKDF2 on slow tokens.
var opDeriveKey = row[kmip.DeriveKeyRequest, kmip.DeriveKeyResponse]{
	Code: kmip.OperationDeriveKey, Limit: 60 * time.Second, Places: true,
	Check: func(r *kmip.DeriveKeyRequest) error {
		if err := checkObjectType(r.ObjectType); err != nil {
			return err
		}
		return checkTemplates(&r.TemplateAttribute)
	},
	Run: func(ctx context.Context, c *call, r *kmip.DeriveKeyRequest) (*kmip.DeriveKeyResponse, error) {
		resp, err := c.Keys.DeriveKey(ctx, &c.Call, r)
		if err == nil && resp != nil {
			c.place(resp.UniqueIdentifier)
		}
		return resp, err
	},
}
