package keystore

import (
	"context"

	"kmipd/kmip"
)

// ObtainLease tells how long the object may be used before it must be asked for again (KMIP 1.4 section 4.17). A lease
// is for an object in use: Active ones only. 0 seconds is no limit.
func (s *Store) ObtainLease(ctx context.Context, call *kmip.Call, _ *kmip.ObtainLeaseRequest) (*kmip.ObtainLeaseResponse, error) {
	o, err := s.target(ctx, call)
	if err != nil {
		return nil, err
	}
	if o.ObjectType == kmip.ObjectTypeTemplate {
		return nil, denied("a Template has no lease")
	}
	if st := o.state(call.Now); st != kmip.StateActive {
		return nil, denied("no lease is given for an object that is %s", st)
	}
	resp := &kmip.ObtainLeaseResponse{UniqueIdentifier: o.UID, LastChangeDate: o.lastChange(call.Now)}
	if v := o.get("Lease Time"); !v.IsZero() {
		resp.LeaseTime = v.Interval()
	}
	return resp, nil
}

// GetUsageAllocation takes an amount from the Usage Limits for the client to use (KMIP 1.4 section 4.18). The amount is
// gone when the answer is sent, whether it is used or not.
func (s *Store) GetUsageAllocation(ctx context.Context, call *kmip.Call, req *kmip.GetUsageAllocationRequest) (*kmip.GetUsageAllocationResponse, error) {
	if req.UsageLimitsCount == nil {
		return nil, kmip.Errorf(kmip.ResultReasonInvalidMessage, "Get Usage Allocation needs Usage Limits Count")
	}
	if *req.UsageLimitsCount <= 0 {
		return nil, badField("Usage Limits Count must be positive")
	}
	o, err := txOf(call).change(ctx, call)
	if err != nil {
		return nil, err
	}
	v := o.get("Usage Limits")
	if v.IsZero() {
		return nil, illegal("the object has no Usage Limits")
	}
	if err := o.mayProtect(call, 0, "the object"); err != nil {
		return nil, err
	}
	if !o.hasUsage(*req.UsageLimitsCount) {
		return nil, denied("the Usage Limits do not leave that much")
	}
	before := o.Clone()
	var u kmip.UsageLimits
	if err := u.Decode(v); err != nil {
		return nil, err
	}
	left := *u.UsageLimitsCount - *req.UsageLimitsCount
	u.UsageLimitsCount = &left
	o.put("Usage Limits", structValue(&u))
	o.changed(call.Now)
	if err := txOf(call).save(ctx, o, before); err != nil {
		return nil, toKMIP(err)
	}
	return &kmip.GetUsageAllocationResponse{UniqueIdentifier: o.UID}, nil
}
