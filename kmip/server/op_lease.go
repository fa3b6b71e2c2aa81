package server

import (
	"context"
	"time"

	"kmipd/kmip"
)

// Obtain Lease (KMIP 1.4 section 4.17).
var opObtainLease = row[kmip.ObtainLeaseRequest, kmip.ObtainLeaseResponse]{
	Code: kmip.OperationObtainLease, Limit: 15 * time.Second,
	Target: func(r *kmip.ObtainLeaseRequest) *string { return r.UniqueIdentifier },
	Run: func(ctx context.Context, c *call, r *kmip.ObtainLeaseRequest) (*kmip.ObtainLeaseResponse, error) {
		return c.Keys.ObtainLease(ctx, &c.Call, r)
	},
}

// Get Usage Allocation (KMIP 1.4 section 4.18, errors 11.19).
var opGetUsageAllocation = row[kmip.GetUsageAllocationRequest, kmip.GetUsageAllocationResponse]{
	Code: kmip.OperationGetUsageAllocation, Limit: 15 * time.Second,
	Target: func(r *kmip.GetUsageAllocationRequest) *string { return r.UniqueIdentifier },
	Run: func(ctx context.Context, c *call, r *kmip.GetUsageAllocationRequest) (*kmip.GetUsageAllocationResponse, error) {
		return c.Keys.GetUsageAllocation(ctx, &c.Call, r)
	},
}

// Archive (KMIP 1.4 section 4.22).
var opArchive = row[kmip.ArchiveRequest, kmip.ArchiveResponse]{
	Code: kmip.OperationArchive, Limit: 15 * time.Second, Async: asyncRun,
	Target: func(r *kmip.ArchiveRequest) *string { return r.UniqueIdentifier },
	Run: func(ctx context.Context, c *call, r *kmip.ArchiveRequest) (*kmip.ArchiveResponse, error) {
		return c.Keys.Archive(ctx, &c.Call, r)
	},
}

// Recover (KMIP 1.4 section 4.23). The ID Placeholder becomes the recovered object.
var opRecover = row[kmip.RecoverRequest, kmip.RecoverResponse]{
	Code: kmip.OperationRecover, Limit: 15 * time.Second, Places: true, Async: asyncRun,
	Target: func(r *kmip.RecoverRequest) *string { return r.UniqueIdentifier },
	Run: func(ctx context.Context, c *call, r *kmip.RecoverRequest) (*kmip.RecoverResponse, error) {
		resp, err := c.Keys.Recover(ctx, &c.Call, r)
		if err == nil && resp != nil {
			c.place(resp.UniqueIdentifier)
		}
		return resp, err
	},
}
