package keystore

import (
	"context"
	"strings"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// view walks the attribute instances of an object as a client of the version may see them at an instant: stored ones,
// and those that are computed (Unique Identifier, Object Type, State, Last Change Date).
func (o object) view(ver kmip.Version, now time.Time, yield func(name string, index int32, v ttlv.Item)) {
	yield("Unique Identifier", 0, textValue(o.UID))
	yield("Object Type", 0, enumValue(o.ObjectType))
	if r := rulesByName["State"]; r.types&typeBit(o.ObjectType) != 0 {
		yield("State", 0, enumValue(o.state(now)))
	}
	for _, a := range o.Attributes {
		r := ruleOf(a.Name)
		if r == nil || ver.Before(r.since) {
			continue
		}
		v := a.Value
		if a.Name == "Last Change Date" {
			v = timeValue(o.lastChange(now))
		}
		if v, ok := forVersion(r, v, ver); ok {
			yield(a.Name, a.Index, v)
		}
	}
}

// attrFIPSState is a server's own attribute: what the policy makes of the object now. It is computed, never stored, and there
// in strict policies alone.
const attrFIPSState = "y-fips-state"

// view is what the caller may see of an object: its own view, and what the policy adds to it. A value that an administrator
// once gave to an attribute of that name is not shown for it.
func (s *Store) view(call *kmip.Call, o object, yield func(name string, index int32, v ttlv.Item)) {
	pol := s.policyOf(call)
	if !pol.Strict() || o.ObjectType == kmip.ObjectTypeTemplate {
		o.view(call.Version, call.Now, yield)
		return
	}
	o.view(call.Version, call.Now, func(name string, index int32, v ttlv.Item) {
		if name != attrFIPSState {
			yield(name, index, v)
		}
	})
	yield(attrFIPSState, 0, textValue(string(o.fipsState(pol, call.Now))))
}

// GetAttributes returns the named attributes, or all of them; names that the object does not have are left out.
func (s *Store) GetAttributes(ctx context.Context, call *kmip.Call, req *kmip.GetAttributesRequest) (*kmip.GetAttributesResponse, error) {
	o, err := s.target(ctx, call)
	if err != nil {
		return nil, err
	}
	resp := &kmip.GetAttributesResponse{UniqueIdentifier: o.UID}
	s.view(call, o, func(name string, index int32, v ttlv.Item) {
		if len(req.AttributeName) == 0 || contains(req.AttributeName, name) {
			resp.Attribute = append(resp.Attribute, instance(name, index, v))
		}
	})
	return resp, nil
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

// instance is an attribute instance on the wire: index 0 is left out (KMIP 1.4 section 2.1.1).
func instance(name string, index int32, v ttlv.Item) kmip.Attribute {
	a := kmip.Attribute{AttributeName: name, AttributeValue: v}
	if index != 0 {
		a.AttributeIndex = &index
	}
	return a
}

// GetAttributeList returns the names of the attributes that the object has.
func (s *Store) GetAttributeList(ctx context.Context, call *kmip.Call, _ *kmip.GetAttributeListRequest) (*kmip.GetAttributeListResponse, error) {
	o, err := s.target(ctx, call)
	if err != nil {
		return nil, err
	}
	resp := &kmip.GetAttributeListResponse{UniqueIdentifier: o.UID}
	seen := map[string]bool{}
	s.view(call, o, func(name string, _ int32, _ ttlv.Item) {
		if !seen[name] {
			seen[name] = true
			resp.AttributeName = append(resp.AttributeName, name)
		}
	})
	return resp, nil
}

// custom tells a custom attribute by its prefix.
func custom(name string) bool { return strings.HasPrefix(name, "x-") || strings.HasPrefix(name, "y-") }
