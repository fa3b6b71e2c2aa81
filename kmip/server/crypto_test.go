package server

import (
	"bytes"
	"testing"

	"kmipd/kmip"
)

// Data may be missing from the first and the last part of a stream, and from nothing else (KMIP 1.4 section 4).
func TestNeedData(t *testing.T) {
	data, correlation, yes, no := []byte{}, []byte{1}, ptr(true), ptr(false)
	missing := kmip.ResultReasonInvalidMessage
	for _, tc := range []struct {
		name   string
		req    kmip.EncryptRequest
		reason kmip.ResultReason
	}{
		{"whole", kmip.EncryptRequest{Data: data}, 0},
		{"whole without data", kmip.EncryptRequest{}, missing},
		{"whole, indicators false", kmip.EncryptRequest{InitIndicator: no, FinalIndicator: no}, missing},
		{"first and last at once", kmip.EncryptRequest{InitIndicator: yes, FinalIndicator: yes}, missing},
		{"first", kmip.EncryptRequest{InitIndicator: yes}, 0},
		{"middle", kmip.EncryptRequest{CorrelationValue: correlation, Data: data}, 0},
		{"middle without data", kmip.EncryptRequest{CorrelationValue: correlation}, missing},
		{"last", kmip.EncryptRequest{CorrelationValue: correlation, FinalIndicator: yes}, 0},
		{"last of nothing", kmip.EncryptRequest{FinalIndicator: yes}, missing},
	} {
		b := newBench(t)
		r := b.send(t, batchOf(kmip.V1_4, 0, create(), askItem{op: kmip.OperationEncrypt, payload: &tc.req}))
		t.Run(tc.name, func(t *testing.T) { r.want(t, 1, tc.reason) })
	}
}

func TestDigestOrData(t *testing.T) {
	data := []byte("data")
	for _, tc := range []struct {
		name   string
		op     kmip.Operation
		p      payload
		reason kmip.ResultReason
	}{
		{"sign nothing", kmip.OperationSign, &kmip.SignRequest{}, kmip.ResultReasonInvalidMessage},
		{"sign a digest", kmip.OperationSign, &kmip.SignRequest{DigestedData: data}, 0},
		{"sign both", kmip.OperationSign, &kmip.SignRequest{Data: data, DigestedData: data}, kmip.ResultReasonInvalidField},
		{"verify nothing", kmip.OperationSignatureVerify, &kmip.SignatureVerifyRequest{SignatureData: data}, kmip.ResultReasonInvalidMessage},
		{"verify both", kmip.OperationSignatureVerify, &kmip.SignatureVerifyRequest{Data: data, DigestedData: data}, kmip.ResultReasonInvalidField},
		{"decrypt nothing", kmip.OperationDecrypt, &kmip.DecryptRequest{}, kmip.ResultReasonInvalidMessage},
		{"mac nothing", kmip.OperationMAC, &kmip.MACRequest{}, kmip.ResultReasonInvalidMessage},
		{"mac verify nothing", kmip.OperationMACVerify, &kmip.MACVerifyRequest{MACData: data}, kmip.ResultReasonInvalidMessage},
		{"hash nothing", kmip.OperationHash, &kmip.HashRequest{}, kmip.ResultReasonInvalidMessage},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t)
			b.send(t, batchOf(kmip.V1_4, 0, create(), askItem{op: tc.op, payload: tc.p})).want(t, 1, tc.reason)
		})
	}
}

// Plaintext and random octets are wiped once they are encoded.
func TestWipeServices(t *testing.T) {
	for _, p := range []payload{
		&kmip.DecryptResponse{UniqueIdentifier: "a", Data: []byte("plaintext")}, &kmip.RNGRetrieveResponse{Data: []byte("plaintext")},
	} {
		out := &buffer{make([]byte, 0, 1)}
		appendSuccess(out, itemID{}, kmip.V1_4, p)
		if !bytes.Contains(out.b, []byte("plaintext")) {
			t.Errorf("%T: got %x, want the plaintext in the answer", p, out.b)
		}
		wipePayload(p)
		if again := p.Append(nil, kmip.TagResponsePayload, kmip.V1_4); bytes.Contains(again, []byte("plain")) {
			t.Errorf("%T: the payload still holds the plaintext", p)
		}
	}
	b := newBench(t)
	r := b.send(t, batchOf(kmip.V1_4, 0, create(), askItem{op: kmip.OperationDecrypt, payload: &kmip.DecryptRequest{Data: []byte("x")}}))
	r.want(t, 1, 0)
	if !bytes.Equal(b.keys.material, make([]byte, len(b.keys.material))) {
		t.Errorf("got %q after the answer, want zeros", b.keys.material)
	}
}
