package server

import (
	"slices"
	"testing"

	"kmipd/kmip"
)

func query(functions ...kmip.QueryFunction) *kmip.QueryRequest {
	return &kmip.QueryRequest{QueryFunction: functions}
}

func TestQuery(t *testing.T) {
	b := newBench(t)
	all := query(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
	for _, tc := range []struct {
		ver                     kmip.Version
		rngs, profiles, capable int
		objects                 int
	}{
		{kmip.V1_0, 0, 0, 0, 7}, {kmip.V1_1, 0, 0, 0, 7}, {kmip.V1_2, 0, 0, 0, 8}, {kmip.V1_3, 1, 0, 1, 8}, {kmip.V1_4, 1, 1, 1, 8},
	} {
		r := b.send(t, one(tc.ver, kmip.OperationQuery, all))
		r.want(t, 0, 0)
		q := payloadOf[kmip.QueryResponse](t, r.items[0])
		if len(q.Operation) != len(operationsOf(tc.ver)) || len(q.ObjectType) != tc.objects || q.VendorIdentification == nil ||
			q.ServerInformation.IsZero() || len(q.ApplicationNamespace) != 1 || len(q.AttestationType) != 0 ||
			len(q.RNGParameters) != tc.rngs || len(q.ProfileInformation) != tc.profiles || len(q.CapabilityInformation) != tc.capable {
			t.Errorf("%s: %+v", tc.ver, q)
		}
		if extensions := len(q.ExtensionInformation); extensions != btoi(tc.ver != kmip.V1_0) {
			t.Errorf("%s: %d extensions", tc.ver, extensions)
		} else if extensions == 1 && q.ExtensionInformation[0].ExtensionTag == nil {
			t.Error("the Extension Map must win over the Extension List")
		}
		if first := q.ServerInformation.Find(0x540001); string(first.Value) != "kmipd" {
			t.Errorf("%s: Server Information %+v", tc.ver, q.ServerInformation)
		}
	}
	b.keys.describe.Certifies = false
	r := b.send(t, one(kmip.V1_4, kmip.OperationQuery, all))
	r.want(t, 0, 0)
	if ops := payloadOf[kmip.QueryResponse](t, r.items[0]).Operation; len(ops) != len(operationsOf(kmip.V1_4))-2 ||
		slices.Contains(ops, kmip.OperationCertify) || slices.Contains(ops, kmip.OperationReCertify) {
		t.Errorf("without an authority the operations are %v", ops)
	}
	r = b.send(t, one(kmip.V1_1, kmip.OperationQuery, query(kmip.QueryFunctionQueryExtensionList)))
	if e := payloadOf[kmip.QueryResponse](t, r.items[0]).ExtensionInformation; len(e) != 1 || e[0].ExtensionTag != nil || e[0].ExtensionName != "Product" {
		t.Errorf("Extension List %+v", e)
	}
	r = b.send(t, one(kmip.V1_4, kmip.OperationQuery, query(kmip.QueryFunctionQueryAttestationTypes)))
	r.want(t, 0, 0)
	if n := len(r.items[0].ResponsePayload.Value); n != 0 {
		t.Errorf("payload of %d octets where there is nothing to say", n)
	}
}

// MSGENC-*-M-1: with 256 octets the answer is too large, with 2048 it fits.
func TestQueryIsSmall(t *testing.T) {
	b := newBench(t)
	for _, ver := range kmip.Supported {
		a := one(ver, kmip.OperationQuery, query(kmip.QueryFunctionQueryOperations, kmip.QueryFunctionQueryObjects))
		a.header.MaximumResponseSize = ptr(int32(256))
		r := b.send(t, a)
		r.want(t, 0, kmip.ResultReasonResponseTooLarge)
		if r.size > 256 {
			t.Errorf("%s: the refusal itself has %d octets", ver, r.size)
		}
		a.header.MaximumResponseSize = ptr(int32(2048))
		b.send(t, a).want(t, 0, 0)
	}
}

func TestDiscoverVersions(t *testing.T) {
	pv := func(list ...kmip.Version) *kmip.DiscoverVersionsRequest {
		r := &kmip.DiscoverVersionsRequest{}
		for _, v := range list {
			r.ProtocolVersion = append(r.ProtocolVersion, kmip.ProtocolVersion{ProtocolVersionMajor: v.Major, ProtocolVersionMinor: v.Minor})
		}
		return r
	}
	b := newBench(t)
	for _, tc := range []struct {
		name string
		req  *kmip.DiscoverVersionsRequest
		want []kmip.Version
	}{
		{"all", pv(), kmip.Supported},
		{"one", pv(kmip.V1_4), []kmip.Version{kmip.V1_4}},
		{"newest first whatever the client prefers", pv(kmip.V1_0, kmip.V1_2, kmip.V1_4, kmip.V2_1), []kmip.Version{kmip.V1_4, kmip.V1_2, kmip.V1_0}},
		{"none in common", pv(kmip.V2_0, kmip.V2_1, kmip.Version{Major: 3}), nil},
		{"named twice", pv(kmip.V1_1, kmip.V1_1), []kmip.Version{kmip.V1_1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := b.send(t, one(kmip.V1_1, kmip.OperationDiscoverVersions, tc.req))
			r.want(t, 0, 0)
			got := payloadOf[kmip.DiscoverVersionsResponse](t, r.items[0]).ProtocolVersion
			if len(got) != len(tc.want) {
				t.Fatalf("got %v, want %v", got, tc.want)
			}
			for i, v := range tc.want {
				if got[i].ProtocolVersionMajor != v.Major || got[i].ProtocolVersionMinor != v.Minor {
					t.Errorf("got %v, want %v", got, tc.want)
				}
			}
		})
	}
}

func TestLocatedItemsInOldMessages(t *testing.T) {
	for _, tc := range []struct {
		ver   kmip.Version
		pages bool
		want  bool
	}{
		{kmip.V1_4, false, true}, {kmip.V1_3, false, true}, {kmip.V1_2, false, false}, {kmip.V1_0, false, false}, {kmip.V1_0, true, true},
	} {
		b := newBench(t)
		b.keys.located = []string{"a", "b"}
		req := &kmip.LocateRequest{}
		if tc.pages {
			req.OffsetItems = ptr(int32(0))
		}
		r := b.send(t, one(tc.ver, kmip.OperationLocate, req))
		r.want(t, 0, 0)
		if got := payloadOf[kmip.LocateResponse](t, r.items[0]).LocatedItems != nil; got != tc.want {
			t.Errorf("%s, pages %t: Located Items %t", tc.ver, tc.pages, got)
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
