package server

import (
	"context"
	"time"

	"kmipd/kmip"
)

// Re-key (KMIP 1.4 section 4.4, errors 11.5). The ID Placeholder becomes the replacement.
var opReKey = row[kmip.ReKeyRequest, kmip.ReKeyResponse]{
	Code: kmip.OperationReKey, Limit: 30 * time.Second, Places: true, Async: asyncHeld,
	Target: func(r *kmip.ReKeyRequest) *string { return r.UniqueIdentifier },
	Check:  func(r *kmip.ReKeyRequest) error { return checkTemplates(r.TemplateAttribute) },
	Run: func(ctx context.Context, c *call, r *kmip.ReKeyRequest) (*kmip.ReKeyResponse, error) {
		resp, err := c.Keys.ReKey(ctx, &c.Call, r)
		if err == nil && resp != nil {
			c.place(resp.UniqueIdentifier)
		}
		return resp, err
	},
}

// Re-key Key Pair (KMIP 1.4 section 4.5, errors 11.6). The ID Placeholder becomes the replacement private key.
var opReKeyKeyPair = row[kmip.ReKeyKeyPairRequest, kmip.ReKeyKeyPairResponse]{
	Code: kmip.OperationReKeyKeyPair, Limit: 90 * time.Second, Places: true, Async: asyncRun,
	Target: func(r *kmip.ReKeyKeyPairRequest) *string { return r.PrivateKeyUniqueIdentifier },
	Check: func(r *kmip.ReKeyKeyPairRequest) error {
		return checkTemplates(r.CommonTemplateAttribute, r.PrivateKeyTemplateAttribute, r.PublicKeyTemplateAttribute)
	},
	Run: func(ctx context.Context, c *call, r *kmip.ReKeyKeyPairRequest) (*kmip.ReKeyKeyPairResponse, error) {
		resp, err := c.Keys.ReKeyKeyPair(ctx, &c.Call, r)
		if err == nil && resp != nil {
			c.place(resp.PrivateKeyUniqueIdentifier)
		}
		return resp, err
	},
}
