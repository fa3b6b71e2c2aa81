package server

import (
	"context"
	"time"

	"kmipd/kmip"
)

// Activate (KMIP 1.4 section 4.19).
var opActivate = row[kmip.ActivateRequest, kmip.ActivateResponse]{
	Code: kmip.OperationActivate, Limit: 15 * time.Second, Async: asyncHeld,
	Target: func(r *kmip.ActivateRequest) *string { return r.UniqueIdentifier },
	Run: func(ctx context.Context, c *call, r *kmip.ActivateRequest) (*kmip.ActivateResponse, error) {
		return c.Keys.Activate(ctx, &c.Call, r)
	},
}

// Revoke (KMIP 1.4 section 4.20, errors 11.21): Compromise Occurrence Date goes with the compromise reasons only.
var opRevoke = row[kmip.RevokeRequest, kmip.RevokeResponse]{
	Code: kmip.OperationRevoke, Limit: 15 * time.Second, Async: asyncHeld,
	Target: func(r *kmip.RevokeRequest) *string { return r.UniqueIdentifier },
	Check: func(r *kmip.RevokeRequest) error {
		code := r.RevocationReason.RevocationReasonCode
		if !code.KnownIn(kmip.V1_4) {
			return kmip.Errorf(kmip.ResultReasonInvalidField, "Revocation Reason Code has an unknown value")
		}
		compromise := code == kmip.RevocationReasonCodeKeyCompromise || code == kmip.RevocationReasonCodeCACompromise
		if r.CompromiseOccurrenceDate != nil && !compromise {
			return kmip.Errorf(kmip.ResultReasonInvalidField, "Compromise Occurrence Date goes with a compromise only")
		}
		return nil
	},
	Run: func(ctx context.Context, c *call, r *kmip.RevokeRequest) (*kmip.RevokeResponse, error) {
		return c.Keys.Revoke(ctx, &c.Call, r)
	},
}

// Destroy (KMIP 1.4 section 4.21).
var opDestroy = row[kmip.DestroyRequest, kmip.DestroyResponse]{
	Code: kmip.OperationDestroy, Limit: 30 * time.Second, Async: asyncHeld,
	Target: func(r *kmip.DestroyRequest) *string { return r.UniqueIdentifier },
	Run: func(ctx context.Context, c *call, r *kmip.DestroyRequest) (*kmip.DestroyResponse, error) {
		return c.Keys.Destroy(ctx, &c.Call, r)
	},
}
