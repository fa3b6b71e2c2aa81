package server

import (
	"testing"

	"kmipd/kmip"
)

// A Certificate Request does without a target; the ID Placeholder is the target all the same when it holds one.
func TestCertifyFields(t *testing.T) {
	der := []byte{0x30, 0}
	pkcs10 := kmip.CertificateRequestTypePKCS10
	noValue := &kmip.TemplateAttribute{Attribute: []kmip.Attribute{{AttributeName: "x-a"}}}
	for _, tc := range []struct {
		name   string
		op     kmip.Operation
		p      payload
		reason kmip.ResultReason
		target string // of the operation, when it is asked for alone
	}{
		{"request alone", kmip.OperationCertify, &kmip.CertifyRequest{CertificateRequestType: pkcs10, CertificateRequest: der}, 0, ""},
		{"nothing", kmip.OperationCertify, &kmip.CertifyRequest{}, kmip.ResultReasonItemNotFound, ""},
		{"empty identifier", kmip.OperationCertify, &kmip.CertifyRequest{UniqueIdentifier: ptr(""), CertificateRequestType: pkcs10, CertificateRequest: der}, kmip.ResultReasonItemNotFound, ""},
		{"unknown identifier", kmip.OperationCertify, &kmip.CertifyRequest{UniqueIdentifier: ptr("x"), CertificateRequestType: pkcs10, CertificateRequest: der}, kmip.ResultReasonItemNotFound, "x"},
		{"no type", kmip.OperationCertify, &kmip.CertifyRequest{CertificateRequest: der}, kmip.ResultReasonInvalidMessage, ""},
		{"attribute without value", kmip.OperationCertify, &kmip.CertifyRequest{CertificateRequestType: pkcs10, CertificateRequest: der, TemplateAttribute: noValue}, kmip.ResultReasonInvalidMessage, ""},
		{"renewal without target", kmip.OperationReCertify, &kmip.ReCertifyRequest{CertificateRequestType: pkcs10, CertificateRequest: der}, kmip.ResultReasonItemNotFound, ""},
		{"renewal without type", kmip.OperationReCertify, &kmip.ReCertifyRequest{CertificateRequest: der}, kmip.ResultReasonInvalidMessage, ""},
		{"no certificates", kmip.OperationValidate, &kmip.ValidateRequest{}, kmip.ResultReasonInvalidMessage, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t)
			b.send(t, one(kmip.V1_2, tc.op, tc.p)).want(t, 0, tc.reason)
			if n := len(b.keys.targets); n > 0 && b.keys.targets[n-1] != tc.target {
				t.Errorf("target %q, want %q", b.keys.targets[n-1], tc.target)
			}
		})
	}
	b := newBench(t)
	request := &kmip.CertifyRequest{CertificateRequestType: pkcs10, CertificateRequest: der}
	b.send(t, batchOf(kmip.V1_2, 0, create(), askItem{op: kmip.OperationCertify, payload: request})).want(t, 1, 0)
	if got := b.keys.targets[1]; got != "key-1" {
		t.Errorf("with an ID Placeholder the target is %q", got)
	}
}
