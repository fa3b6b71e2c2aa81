package server

import (
	"slices"
	"testing"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

func registerSecret() *kmip.RegisterRequest {
	return &kmip.RegisterRequest{ObjectType: kmip.ObjectTypeSecretData, SecretData: &kmip.SecretData{
		SecretDataType: kmip.SecretDataTypePassword, KeyBlock: kmip.KeyBlock{KeyFormatType: kmip.KeyFormatTypeOpaque,
			KeyValue: ttlv.Make((&kmip.KeyValue{KeyMaterial: ttlv.Make(ttlv.AppendBytes(nil, kmip.TagKeyMaterial, []byte("pin")))}).
				Append(nil, kmip.TagKeyValue, kmip.V1_4))}}}
}

// Every operation of the registry is here: with the version that has it, or as not supported.
var operations = map[kmip.Operation]kmip.Version{
	kmip.OperationCreate: kmip.V1_0, kmip.OperationCreateKeyPair: kmip.V1_0, kmip.OperationRegister: kmip.V1_0,
	kmip.OperationLocate: kmip.V1_0, kmip.OperationCheck: kmip.V1_0, kmip.OperationGet: kmip.V1_0,
	kmip.OperationGetAttributes: kmip.V1_0, kmip.OperationGetAttributeList: kmip.V1_0, kmip.OperationAddAttribute: kmip.V1_0,
	kmip.OperationModifyAttribute: kmip.V1_0, kmip.OperationDeleteAttribute: kmip.V1_0, kmip.OperationActivate: kmip.V1_0,
	kmip.OperationRevoke: kmip.V1_0, kmip.OperationDestroy: kmip.V1_0, kmip.OperationQuery: kmip.V1_0,
	kmip.OperationDiscoverVersions: kmip.V1_1, kmip.OperationReKey: kmip.V1_0, kmip.OperationReKeyKeyPair: kmip.V1_1,
	kmip.OperationObtainLease: kmip.V1_0, kmip.OperationGetUsageAllocation: kmip.V1_0, kmip.OperationArchive: kmip.V1_0,
	kmip.OperationRecover: kmip.V1_0, kmip.OperationCancel: kmip.V1_0, kmip.OperationPoll: kmip.V1_0,
	kmip.OperationCertify: kmip.V1_0, kmip.OperationReCertify: kmip.V1_0, kmip.OperationValidate: kmip.V1_0,
	kmip.OperationEncrypt: kmip.V1_2, kmip.OperationDecrypt: kmip.V1_2, kmip.OperationSign: kmip.V1_2,
	kmip.OperationSignatureVerify: kmip.V1_2, kmip.OperationMAC: kmip.V1_2, kmip.OperationMACVerify: kmip.V1_2,
	kmip.OperationRNGRetrieve: kmip.V1_2, kmip.OperationRNGSeed: kmip.V1_2, kmip.OperationHash: kmip.V1_2,
	kmip.OperationDeriveKey: kmip.V1_0, kmip.OperationCreateSplitKey: kmip.V1_2, kmip.OperationJoinSplitKey: kmip.V1_2,
	kmip.OperationImport: kmip.V1_4, kmip.OperationExport: kmip.V1_4,
}

var notSupported = []string{"Notify", "Put",
	"Log", "Login", "Logout", "Delegated Login", "Adjust Attribute", "Set Attribute",
	"Set Endpoint Role", "PKCS#11", "Interop", "Re-Provision", "Set Defaults", "Set Constraints", "Get Constraints",
	"Query Asynchronous Requests", "Process", "Ping"}

func TestEveryOperation(t *testing.T) {
	names := kmip.EnumNames("Operation")
	if len(names) < 59 {
		t.Fatalf("the registry has %d operations", len(names))
	}
	for _, name := range names {
		code, ok := kmip.EnumByName("Operation", name)
		if !ok {
			t.Fatalf("no operation %q", name)
		}
		op := kmip.Operation(code)
		since, row := operations[op]
		if listed := slices.Contains(notSupported, name); row == listed {
			t.Errorf("%s: row %t, listed as not supported %t", name, row, listed)
		}
		for _, ver := range kmip.Supported {
			b := newBench(t)
			r := b.send(t, one(ver, op, octets{}))
			r.wantCount(t, 1)
			supported := row && !ver.Before(since)
			if got := r.items[0].ResultReason != kmip.ResultReasonOperationNotSupported; got != supported {
				t.Errorf("%s in %s: supported %t, want %t", name, ver, got, supported)
			}
			if r.items[0].Operation != op {
				t.Errorf("%s: the answer is for %s", name, r.items[0].Operation)
			}
			if got := slices.Contains(operationsOf(ver), op); got != supported {
				t.Errorf("%s in %s: Query lists it: %t", name, ver, got)
			}
		}
	}
	if len(names) != len(operations)+len(notSupported) {
		t.Errorf("%d operations in the registry, %d here", len(names), len(operations)+len(notSupported))
	}
}

// The rows are pinned: limits and rights change on purpose only.
func TestRows(t *testing.T) {
	for _, e := range append(slices.Clone(rows), queryEntry, discoverEntry) {
		if e.since == (kmip.Version{}) || e.since != operations[e.code] {
			t.Errorf("%s: since %s", e.code, e.since)
		}
		if e.limit < time.Second || e.limit > 2*time.Minute {
			t.Errorf("%s: limit %s", e.code, e.limit)
		}
		if public := e.code == kmip.OperationQuery || e.code == kmip.OperationDiscoverVersions; public != e.public {
			t.Errorf("%s: public %t", e.code, e.public)
		}
		places := slices.Contains([]kmip.Operation{kmip.OperationCreate, kmip.OperationCreateKeyPair, kmip.OperationRegister, kmip.OperationLocate,
			kmip.OperationReKey, kmip.OperationReKeyKeyPair, kmip.OperationRecover,
			kmip.OperationDeriveKey, kmip.OperationCreateSplitKey, kmip.OperationJoinSplitKey, kmip.OperationCertify, kmip.OperationReCertify, kmip.OperationImport, kmip.OperationExport}, e.code)
		if places != e.places {
			t.Errorf("%s: places %t", e.code, e.places)
		}
	}
}

// Rights are asked for once, with the row's operation and the resolved target, before anything is done.
func TestAuthorize(t *testing.T) {
	data := []byte("data")
	targeted := map[kmip.Operation]payload{
		kmip.OperationGet: &kmip.GetRequest{}, kmip.OperationCheck: &kmip.CheckRequest{}, kmip.OperationGetAttributes: &kmip.GetAttributesRequest{},
		kmip.OperationGetAttributeList: &kmip.GetAttributeListRequest{}, kmip.OperationActivate: &kmip.ActivateRequest{},
		kmip.OperationDestroy:         &kmip.DestroyRequest{},
		kmip.OperationRevoke:          &kmip.RevokeRequest{RevocationReason: kmip.RevocationReason{RevocationReasonCode: kmip.RevocationReasonCodeCessationOfOperation}},
		kmip.OperationAddAttribute:    &kmip.AddAttributeRequest{Attribute: textAttr("x-a", "b")},
		kmip.OperationModifyAttribute: &kmip.ModifyAttributeRequest{Attribute: textAttr("x-a", "b")},
		kmip.OperationDeleteAttribute: &kmip.DeleteAttributeRequest{AttributeName: "x-a"},
		kmip.OperationCreate:          createAES(), kmip.OperationRegister: registerSecret(),
		kmip.OperationCreateKeyPair: &kmip.CreateKeyPairRequest{}, kmip.OperationLocate: &kmip.LocateRequest{},
		kmip.OperationReKey: &kmip.ReKeyRequest{}, kmip.OperationReKeyKeyPair: &kmip.ReKeyKeyPairRequest{},
		kmip.OperationObtainLease: &kmip.ObtainLeaseRequest{}, kmip.OperationGetUsageAllocation: &kmip.GetUsageAllocationRequest{},
		kmip.OperationCertify: &kmip.CertifyRequest{}, kmip.OperationReCertify: &kmip.ReCertifyRequest{},
		kmip.OperationValidate: &kmip.ValidateRequest{UniqueIdentifier: []string{"key-1"}},
		kmip.OperationArchive:  &kmip.ArchiveRequest{}, kmip.OperationRecover: &kmip.RecoverRequest{},
		kmip.OperationEncrypt: &kmip.EncryptRequest{Data: data}, kmip.OperationDecrypt: &kmip.DecryptRequest{Data: data},
		kmip.OperationSign: &kmip.SignRequest{Data: data}, kmip.OperationSignatureVerify: &kmip.SignatureVerifyRequest{DigestedData: data},
		kmip.OperationMAC: &kmip.MACRequest{Data: data}, kmip.OperationMACVerify: &kmip.MACVerifyRequest{Data: data, MACData: data},
		kmip.OperationRNGRetrieve: &kmip.RNGRetrieveRequest{DataLength: 4}, kmip.OperationRNGSeed: &kmip.RNGSeedRequest{Data: data},
		kmip.OperationHash:           &kmip.HashRequest{Data: data},
		kmip.OperationDeriveKey:      &kmip.DeriveKeyRequest{ObjectType: kmip.ObjectTypeSymmetricKey, UniqueIdentifier: []string{"key-1"}, DerivationMethod: kmip.DerivationMethodHMAC},
		kmip.OperationCreateSplitKey: &kmip.CreateSplitKeyRequest{ObjectType: kmip.ObjectTypeSplitKey, SplitKeyParts: 2, SplitKeyThreshold: 2, SplitKeyMethod: kmip.SplitKeyMethodXOR},
		kmip.OperationJoinSplitKey:   &kmip.JoinSplitKeyRequest{ObjectType: kmip.ObjectTypeSymmetricKey, UniqueIdentifier: []string{"part-1", "part-2"}},
		kmip.OperationExport:         &kmip.ExportRequest{},
		kmip.OperationImport:         &kmip.ImportRequest{UniqueIdentifier: "new", ObjectType: kmip.ObjectTypeOpaqueObject, OpaqueObject: &kmip.OpaqueObject{OpaqueDataValue: data}},
	}
	if len(targeted) != len(rows) {
		t.Fatalf("%d of %d rows are tried", len(targeted), len(rows))
	}
	for op, p := range targeted {
		b := newBench(t)
		b.keys.authorize = func(call *kmip.Call, asked kmip.Operation) error {
			if asked == op && len(b.keys.asked) > 1 {
				return kmip.Errorf(kmip.ResultReasonPermissionDenied, "not yours")
			}
			return nil
		}
		r := b.send(t, batchOf(kmip.V1_4, 0, create(), askItem{op: op, payload: p}))
		r.want(t, 1, kmip.ResultReasonPermissionDenied)
		if !slices.Equal(b.keys.asked, []kmip.Operation{kmip.OperationCreate, op}) {
			t.Errorf("%s: asked %v", op, b.keys.asked)
		}
		want := "key-1"
		switch op {
		case kmip.OperationCreate, kmip.OperationRegister, kmip.OperationCreateKeyPair, kmip.OperationLocate, kmip.OperationValidate,
			kmip.OperationRNGRetrieve, kmip.OperationRNGSeed, kmip.OperationHash, kmip.OperationImport,
			kmip.OperationDeriveKey, kmip.OperationCreateSplitKey, kmip.OperationJoinSplitKey:
			want = ""
		}
		if b.keys.targets[1] != want {
			t.Errorf("%s: target %q, want %q", op, b.keys.targets[1], want)
		}
		if len(b.keys.state()) != 1 {
			t.Errorf("%s: was run", op)
		}
		b.keys.authorize = nil
		b.send(t, batchOf(kmip.V1_4, 0, create(), askItem{op: op, payload: p})).want(t, 1, 0)
	}
}

func TestFieldRules(t *testing.T) {
	noValue := kmip.Attribute{AttributeName: "x-a"}
	indexed := textAttr("x-a", "b")
	indexed.AttributeIndex = ptr(int32(0))
	negative := textAttr("x-a", "b")
	negative.AttributeIndex = ptr(int32(-1))
	both := registerSecret()
	both.OpaqueObject = &kmip.OpaqueObject{OpaqueDataType: 0x80000000, OpaqueDataValue: []byte("x")}
	mismatch := registerSecret()
	mismatch.ObjectType = kmip.ObjectTypeOpaqueObject
	unknownType := registerSecret()
	unknownType.ObjectType = 0x99
	badReason := &kmip.RevokeRequest{RevocationReason: kmip.RevocationReason{RevocationReasonCode: 0x77}}
	occurrence := func(code kmip.RevocationReasonCode) *kmip.RevokeRequest {
		return &kmip.RevokeRequest{RevocationReason: kmip.RevocationReason{RevocationReasonCode: code}, CompromiseOccurrenceDate: ptr(time.Unix(6, 0))}
	}
	for _, tc := range []struct {
		name   string
		op     kmip.Operation
		p      payload
		reason kmip.ResultReason
	}{
		{"create without payload", kmip.OperationCreate, octets{}, kmip.ResultReasonInvalidMessage},
		{"create without template", kmip.OperationCreate, octets(ttlv.AppendEnum(nil, kmip.TagObjectType, 2)), kmip.ResultReasonInvalidMessage},
		{"create unknown object type", kmip.OperationCreate, &kmip.CreateRequest{ObjectType: 0x42}, kmip.ResultReasonInvalidField},
		{"create attribute without value", kmip.OperationCreate, &kmip.CreateRequest{ObjectType: 2, TemplateAttribute: template(noValue)}, kmip.ResultReasonInvalidMessage},
		{"create unknown field", kmip.OperationCreate, octets(ttlv.AppendText(nil, kmip.TagComment, "x")), kmip.ResultReasonInvalidField},
		{"create extension field", kmip.OperationCreate, octets(ttlv.AppendText(nil, 0x540099, "x")), kmip.ResultReasonInvalidField},
		{"create field of wrong type", kmip.OperationCreate, octets(ttlv.AppendInt(nil, kmip.TagObjectType, 2)), kmip.ResultReasonInvalidMessage},
		{"create repeated field", kmip.OperationCreate, octets(ttlv.AppendEnum(ttlv.AppendEnum(nil, kmip.TagObjectType, 2), kmip.TagObjectType, 2)), kmip.ResultReasonInvalidMessage},
		{"pair attribute without value", kmip.OperationCreateKeyPair, &kmip.CreateKeyPairRequest{CommonTemplateAttribute: ptr(template(noValue))}, kmip.ResultReasonInvalidMessage},
		{"register", kmip.OperationRegister, registerSecret(), 0},
		{"register nothing", kmip.OperationRegister, &kmip.RegisterRequest{ObjectType: kmip.ObjectTypeSecretData}, kmip.ResultReasonInvalidMessage},
		{"register two", kmip.OperationRegister, both, kmip.ResultReasonInvalidField},
		{"register mismatch", kmip.OperationRegister, mismatch, kmip.ResultReasonInvalidField},
		{"register unknown type", kmip.OperationRegister, unknownType, kmip.ResultReasonInvalidField},
		{"register template attribute without value", kmip.OperationRegister, &kmip.RegisterRequest{ObjectType: kmip.ObjectTypeTemplate,
			Template: &kmip.Template{Attribute: []kmip.Attribute{noValue}}}, kmip.ResultReasonInvalidMessage},
		{"locate with index", kmip.OperationLocate, &kmip.LocateRequest{Attribute: []kmip.Attribute{indexed, negative}}, 0},
		{"locate without value", kmip.OperationLocate, &kmip.LocateRequest{Attribute: []kmip.Attribute{noValue}}, kmip.ResultReasonInvalidMessage},
		{"locate template", kmip.OperationLocate, &kmip.LocateRequest{TemplateAttribute: ptr(template(indexed))}, 0},
		{"locate negative maximum", kmip.OperationLocate, &kmip.LocateRequest{MaximumItems: ptr(int32(-1))}, kmip.ResultReasonInvalidField},
		{"locate negative offset", kmip.OperationLocate, &kmip.LocateRequest{OffsetItems: ptr(int32(-1))}, kmip.ResultReasonInvalidField},
		{"locate group member", kmip.OperationLocate, &kmip.LocateRequest{ObjectGroupMember: 0x55}, kmip.ResultReasonInvalidField},
		{"get attributes", kmip.OperationGetAttributes, &kmip.GetAttributesRequest{AttributeName: []string{"State", "Name"}}, 0},
		{"get attributes twice", kmip.OperationGetAttributes, &kmip.GetAttributesRequest{AttributeName: []string{"State", "Name", "State"}}, kmip.ResultReasonInvalidMessage},
		{"add", kmip.OperationAddAttribute, &kmip.AddAttributeRequest{Attribute: textAttr("x-a", "b")}, 0},
		{"add with index", kmip.OperationAddAttribute, &kmip.AddAttributeRequest{Attribute: indexed}, kmip.ResultReasonInvalidField},
		{"add without value", kmip.OperationAddAttribute, &kmip.AddAttributeRequest{Attribute: noValue}, kmip.ResultReasonInvalidMessage},
		{"add without attribute", kmip.OperationAddAttribute, octets{}, kmip.ResultReasonInvalidMessage},
		{"add without name", kmip.OperationAddAttribute, &kmip.AddAttributeRequest{Attribute: textAttr("", "b")}, kmip.ResultReasonInvalidField},
		{"modify", kmip.OperationModifyAttribute, &kmip.ModifyAttributeRequest{Attribute: indexed}, 0},
		{"modify without value", kmip.OperationModifyAttribute, &kmip.ModifyAttributeRequest{Attribute: noValue}, kmip.ResultReasonInvalidMessage},
		{"modify negative index", kmip.OperationModifyAttribute, &kmip.ModifyAttributeRequest{Attribute: negative}, kmip.ResultReasonInvalidField},
		{"delete", kmip.OperationDeleteAttribute, &kmip.DeleteAttributeRequest{AttributeName: "x-a"}, 0},
		{"delete negative index", kmip.OperationDeleteAttribute, &kmip.DeleteAttributeRequest{AttributeName: "x-a", AttributeIndex: ptr(int32(-7))}, kmip.ResultReasonInvalidField},
		{"revoke without reason", kmip.OperationRevoke, octets{}, kmip.ResultReasonInvalidMessage},
		{"revoke unknown reason", kmip.OperationRevoke, badReason, kmip.ResultReasonInvalidField},
		{"revoke compromise", kmip.OperationRevoke, occurrence(kmip.RevocationReasonCodeKeyCompromise), 0},
		{"revoke with a date that does not belong", kmip.OperationRevoke, occurrence(kmip.RevocationReasonCodeSuperseded), kmip.ResultReasonInvalidField},
		{"query nothing", kmip.OperationQuery, &kmip.QueryRequest{}, kmip.ResultReasonInvalidMessage},
		{"query unknown", kmip.OperationQuery, &kmip.QueryRequest{QueryFunction: []kmip.QueryFunction{0x33}}, kmip.ResultReasonInvalidField},
		{"discover wrong field", kmip.OperationDiscoverVersions, octets(ttlv.AppendInt(nil, kmip.TagProtocolVersion, 1)), kmip.ResultReasonInvalidMessage},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t)
			r := b.send(t, batchOf(kmip.V1_2, 0, create(), askItem{op: tc.op, payload: tc.p}))
			r.wantCount(t, 2)
			r.want(t, 1, tc.reason)
		})
	}
}

func TestBrokenItems(t *testing.T) {
	item := func(members ...[]byte) askItem {
		b, m := ttlv.Begin(nil, kmip.TagBatchItem)
		for _, x := range members {
			b = append(b, x...)
		}
		return askItem{raw: ttlv.End(b, m)}
	}
	op := ttlv.AppendEnum(nil, kmip.TagOperation, uint32(kmip.OperationCreate))
	id := ttlv.AppendBytes(nil, kmip.TagUniqueBatchItemID, []byte{9})
	for _, tc := range []struct {
		name   string
		item   askItem
		reason kmip.ResultReason
		op     kmip.Operation
	}{
		{"empty", item(id), kmip.ResultReasonInvalidMessage, 0},
		{"no payload", item(op, id), kmip.ResultReasonInvalidMessage, kmip.OperationCreate},
		{"payload no structure", item(op, id, ttlv.AppendInt(nil, kmip.TagRequestPayload, 1)), kmip.ResultReasonInvalidMessage, kmip.OperationCreate},
		{"operation of wrong type", item(ttlv.AppendInt(nil, kmip.TagOperation, 1), id), kmip.ResultReasonInvalidMessage, 0},
		{"unknown field", item(op, id, ttlv.AppendInt(nil, kmip.TagBatchCount, 1)), kmip.ResultReasonInvalidField, kmip.OperationCreate},
		{"repeated", item(op, op, id), kmip.ResultReasonInvalidMessage, kmip.OperationCreate},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t)
			a := batchOf(kmip.V1_2, kmip.BatchErrorContinuationOptionContinue, create(), tc.item, create())
			r := b.send(t, a)
			r.wantCount(t, 3) // the item fails, not the message
			r.want(t, 1, tc.reason)
			r.want(t, 2, 0)
			if r.items[1].Operation != tc.op || string(r.items[1].UniqueBatchItemID) != "\x09" {
				t.Errorf("answer is for %s, %x", r.items[1].Operation, r.items[1].UniqueBatchItemID)
			}
		})
	}
}
