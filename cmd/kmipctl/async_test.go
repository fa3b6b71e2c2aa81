package main

import (
	"strings"
	"testing"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/client"
	"kmipd/kmip/ttlv"
)

// responseMessage is an answer with these items.
func responseMessage(items ...kmip.ResponseBatchItem) []byte {
	h := kmip.ResponseHeader{ProtocolVersion: kmip.ProtocolVersion{ProtocolVersionMajor: 1, ProtocolVersionMinor: 4}, TimeStamp: time.Unix(0, 0), BatchCount: int32(len(items))}
	b, mark := ttlv.Begin(nil, kmip.TagResponseMessage)
	b = h.Append(b, kmip.TagResponseHeader, kmip.V1_4)
	for i := range items {
		b = items[i].Append(b, kmip.TagBatchItem, kmip.V1_4)
	}
	return ttlv.End(b, mark)
}

func TestParseReply(t *testing.T) {
	payload := ttlv.Make((&kmip.ArchiveResponse{UniqueIdentifier: "id-1"}).Append(nil, kmip.TagResponsePayload, kmip.V1_4))
	done := kmip.ResponseBatchItem{Operation: kmip.OperationArchive, ResponsePayload: payload}
	r, err := parseReply(responseMessage(done))
	if err != nil {
		t.Fatal(err)
	}
	res, err := outcomeOf(&r.Result)
	if err != nil || res.ids()[0] != "id-1" {
		t.Errorf("%v, %v", res, err)
	}
	r, err = parseReply(responseMessage(kmip.ResponseBatchItem{Operation: kmip.OperationArchive,
		ResultStatus: kmip.ResultStatusOperationPending, AsynchronousCorrelationValue: []byte{1, 2}}))
	if err != nil || r.pending().ids()[0] != "0102" || r.pending().negative() {
		t.Errorf("%+v, %v", r, err)
	}
	for name, msg := range map[string][]byte{"none": responseMessage(), "two": responseMessage(done, done), "cut": responseMessage(done)[:30]} {
		if r, err := parseReply(msg); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
	// A server may let more be asynchronous than this program knows.
	if _, err := outcomeOf(&client.Result{Operation: kmip.OperationGet}); err == nil || !strings.Contains(err.Error(), "cannot show") {
		t.Errorf("got %v", err)
	}
}

func TestWithIndicator(t *testing.T) {
	user := kmip.UsernameAndPassword{Username: "ali"}
	h := kmip.RequestHeader{ProtocolVersion: kmip.ProtocolVersion{ProtocolVersionMajor: 1, ProtocolVersionMinor: 2}, BatchCount: 1,
		Authentication: &kmip.Authentication{Credential: []kmip.Credential{{CredentialType: kmip.CredentialTypeUsernameAndPassword,
			CredentialValue: ttlv.Make(user.Append(nil, kmip.TagCredentialValue, kmip.V1_2))}}}}
	b, mark := ttlv.Begin(nil, kmip.TagRequestMessage)
	b = h.Append(b, kmip.TagRequestHeader, kmip.V1_2)
	b, item := ttlv.Begin(b, kmip.TagBatchItem)
	b = ttlv.End(ttlv.End(ttlv.AppendEnum(b, kmip.TagOperation, uint32(kmip.OperationArchive)), item), mark)
	out, err := withIndicator(b, kmip.V1_2)
	if err != nil {
		t.Fatal(err)
	}
	root, err := ttlv.Parse(out, ownLimits)
	if err != nil {
		t.Fatal(err)
	}
	list := members(root)
	var got kmip.RequestHeader
	if err := got.Decode(list[0]); err != nil || got.AsynchronousIndicator == nil || !*got.AsynchronousIndicator || got.Authentication == nil || len(list) != 2 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestOutdated(t *testing.T) {
	salt := int32(20)
	req := &kmip.SignRequest{Data: []byte{}, CryptographicParameters: &kmip.CryptographicParameters{PaddingMethod: kmip.PaddingMethodPSS, SaltLength: &salt}}
	if err := outdated(req, kmip.V1_4); err != nil {
		t.Error(err)
	}
	if err := outdated(req, kmip.V1_3); err == nil || !strings.Contains(err.Error(), "Salt Length cannot be sent in KMIP 1.3") {
		t.Errorf("got %v", err)
	}
}
