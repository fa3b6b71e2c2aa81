package server

import (
	"context"
	"time"

	"kmipd/kmip"
)

// Check (KMIP 1.4 section 4.10). A refusal empties the ID Placeholder and returns, with the failure, the values that
// were refused; never the Unique Identifier.
var opCheck = row[kmip.CheckRequest, kmip.CheckResponse]{
	Code: kmip.OperationCheck, Limit: 10 * time.Second,
	Target: func(r *kmip.CheckRequest) *string { return r.UniqueIdentifier },
	Run: func(ctx context.Context, c *call, r *kmip.CheckRequest) (*kmip.CheckResponse, error) {
		resp, err := c.Keys.Check(ctx, &c.Call, r)
		if err != nil {
			c.place("")
			if resp != nil {
				resp.UniqueIdentifier = nil
			}
		}
		return resp, err
	},
}

// Get (KMIP 1.4 section 4.11, errors 11.12).
var opGet = row[kmip.GetRequest, kmip.GetResponse]{
	Code: kmip.OperationGet, Limit: 15 * time.Second,
	Target: func(r *kmip.GetRequest) *string { return r.UniqueIdentifier },
	Run: func(ctx context.Context, c *call, r *kmip.GetRequest) (*kmip.GetResponse, error) {
		return c.Keys.Get(ctx, &c.Call, r)
	},
}
