package keystore

import (
	"context"

	"kmipd/kmip"
)

// Check tells whether the object may be used as the request says. When it may not, the response holds the values that
// were refused and no Unique Identifier, next to the error (KMIP 1.4 section 4.10).
func (s *Store) Check(ctx context.Context, call *kmip.Call, req *kmip.CheckRequest) (*kmip.CheckResponse, error) {
	o, err := s.target(ctx, call)
	if err != nil {
		return nil, err
	}
	if o.ObjectType == kmip.ObjectTypeTemplate {
		return nil, illegal("a Template cannot be checked")
	}
	refused := &kmip.CheckResponse{}
	bad := false
	if req.UsageLimitsCount != nil && !o.hasUsage(*req.UsageLimitsCount) {
		refused.UsageLimitsCount, bad = req.UsageLimitsCount, true
	}
	if req.CryptographicUsageMask != nil && o.usage()&*req.CryptographicUsageMask != *req.CryptographicUsageMask {
		refused.CryptographicUsageMask, bad = req.CryptographicUsageMask, true
	}
	if req.LeaseTime != nil && !o.leaseAllows(*req.LeaseTime) {
		refused.LeaseTime, bad = req.LeaseTime, true
	}
	if bad {
		return refused, denied("the object must not be used so")
	}
	if m := req.CryptographicUsageMask; m != nil {
		if err := s.allowUsages(call, o, *m); err != nil {
			return &kmip.CheckResponse{CryptographicUsageMask: m}, err
		}
	}
	if !o.live() {
		return refused, denied("the object is destroyed")
	}
	return &kmip.CheckResponse{UniqueIdentifier: &o.UID}, nil
}

// hasUsage tells whether the Usage Limits leave n units; an object without limits has any number.
func (o object) hasUsage(n int64) bool {
	v := o.get("Usage Limits")
	if v.IsZero() {
		return n >= 0
	}
	var u kmip.UsageLimits
	return u.Decode(v) == nil && u.UsageLimitsCount != nil && n >= 0 && n <= *u.UsageLimitsCount
}

// leaseAllows compares with the Lease Time, the longest lease that is given. 0 wants no limit.
func (o object) leaseAllows(seconds uint32) bool {
	v := o.get("Lease Time")
	if v.IsZero() || v.Interval() == 0 {
		return true
	}
	return seconds != 0 && seconds <= v.Interval()
}
