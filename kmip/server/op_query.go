package server

import (
	"context"
	"slices"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// Query and Discover Versions are answered here: they are about the server, not about keys. They are open to every
// holder of a valid certificate ("SHOULD be invocable by unauthenticated clients", KMIP 1.4 section 4.25).

var queryEntry, discoverEntry = of(opQuery), of(opDiscoverVersions)

// Query (KMIP 1.4 section 4.25). A function of a later 1.x version is answered as far as the message's version has
// fields for it, that is with nothing; one that no 1.x version has is Invalid Field.
var opQuery = row[kmip.QueryRequest, kmip.QueryResponse]{
	Code: kmip.OperationQuery, Limit: 10 * time.Second, Public: true,
	Check: func(r *kmip.QueryRequest) error {
		if len(r.QueryFunction) == 0 {
			return kmip.Errorf(kmip.ResultReasonInvalidMessage, "Query Function is missing from Query")
		}
		for _, f := range r.QueryFunction {
			if !f.KnownIn(kmip.V1_4) {
				return kmip.Errorf(kmip.ResultReasonInvalidField, "Query Function has an unknown value")
			}
		}
		return nil
	},
	Run: func(ctx context.Context, c *call, r *kmip.QueryRequest) (*kmip.QueryResponse, error) {
		d, err := c.Keys.Describe(ctx, &c.Call)
		if err != nil {
			return nil, err
		}
		d.Asynchronous = c.srv.cfg.Jobs != nil
		if !d.OnlyQuery && len(c.srv.profiles) > 0 {
			d.Profiles = append(slices.Clone(d.Profiles), c.srv.profiles...)
		}
		resp := &kmip.QueryResponse{}
		asked := map[kmip.QueryFunction]bool{}
		for _, f := range r.QueryFunction {
			asked[f] = true
		}
		for f := range asked {
			describe(resp, &d, f, c.Version)
		}
		// "If both Query Extension List and Query Extension Map are specified in the request, then only the response
		// to Query Extension Map SHALL be returned".
		if asked[kmip.QueryFunctionQueryExtensionList] && !asked[kmip.QueryFunctionQueryExtensionMap] {
			for _, e := range d.Extensions {
				resp.ExtensionInformation = append(resp.ExtensionInformation, kmip.ExtensionInformation{ExtensionName: e.ExtensionName})
			}
		}
		return resp, nil
	},
}

// describe fills in the answer to one function.
func describe(resp *kmip.QueryResponse, d *kmip.ServerDescription, f kmip.QueryFunction, ver kmip.Version) {
	switch f {
	case kmip.QueryFunctionQueryOperations:
		resp.Operation = operationsOf(ver)
		resp.Operation = slices.DeleteFunc(resp.Operation, func(op kmip.Operation) bool {
			always := op == kmip.OperationQuery || op == kmip.OperationDiscoverVersions
			return d.OnlyQuery && !always || slices.Contains(d.Unavailable, op)
		})
		if !d.Certifies {
			resp.Operation = slices.DeleteFunc(resp.Operation, func(op kmip.Operation) bool {
				return op == kmip.OperationCertify || op == kmip.OperationReCertify
			})
		}
	case kmip.QueryFunctionQueryObjects:
		for _, t := range d.ObjectTypes {
			if knownUpTo(t, ver) {
				resp.ObjectType = append(resp.ObjectType, t)
			}
		}
	case kmip.QueryFunctionQueryServerInformation:
		resp.VendorIdentification = &d.Vendor
		resp.ServerInformation = serverInformation(d.ServerInformation)
	case kmip.QueryFunctionQueryApplicationNamespaces:
		resp.ApplicationNamespace = d.Namespaces
	case kmip.QueryFunctionQueryExtensionMap:
		resp.ExtensionInformation = d.Extensions
	case kmip.QueryFunctionQueryRNGs:
		resp.RNGParameters = d.RNGs
		if len(d.RNGs) == 0 && !ver.Before(kmip.V1_3) {
			resp.RNGParameters = []kmip.RNGParameters{{RNGAlgorithm: kmip.RNGAlgorithmUnspecified}}
		}
	case kmip.QueryFunctionQueryValidations:
		resp.ValidationInformation = d.Validations
	case kmip.QueryFunctionQueryProfiles:
		for _, p := range d.Profiles {
			if p.ProfileName.KnownIn(ver) {
				resp.ProfileInformation = append(resp.ProfileInformation, p)
			}
		}
	case kmip.QueryFunctionQueryCapabilities:
		for _, info := range d.Capabilities {
			info.AsynchronousCapability = &d.Asynchronous
			resp.CapabilityInformation = append(resp.CapabilityInformation, info)
		}
	case kmip.QueryFunctionQueryClientRegistrationMethods:
		resp.ClientRegistrationMethod = d.RegistrationMethods
	}
	// Query Attestation Types: none is supported, the answer has none.
}

// serverInformation is the vendor's structure: text fields under extension tags.
func serverInformation(fields []kmip.ServerField) ttlv.Item {
	b, mark := ttlv.Begin(nil, kmip.TagServerInformation)
	for _, f := range fields {
		b = ttlv.AppendText(b, ttlv.Tag(f.Tag), f.Value)
	}
	return ttlv.Make(ttlv.End(b, mark))
}

// Discover Versions (KMIP 1.4 section 4.26): what both sides speak, in the order of the server's preference, newest
// first. Nothing in common is an empty list, not a failure.
var opDiscoverVersions = row[kmip.DiscoverVersionsRequest, kmip.DiscoverVersionsResponse]{
	Code: kmip.OperationDiscoverVersions, Limit: 10 * time.Second, Public: true,
	Run: func(_ context.Context, c *call, r *kmip.DiscoverVersionsRequest) (*kmip.DiscoverVersionsResponse, error) {
		resp := &kmip.DiscoverVersionsResponse{}
		for _, v := range c.srv.cfg.Versions {
			pv := kmip.ProtocolVersion{ProtocolVersionMajor: v.Major, ProtocolVersionMinor: v.Minor}
			if len(r.ProtocolVersion) == 0 || contains(r.ProtocolVersion, pv) {
				resp.ProtocolVersion = append(resp.ProtocolVersion, pv)
			}
		}
		return resp, nil
	},
}

func contains(list []kmip.ProtocolVersion, v kmip.ProtocolVersion) bool {
	for _, have := range list {
		if have == v {
			return true
		}
	}
	return false
}
