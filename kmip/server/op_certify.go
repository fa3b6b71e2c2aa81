package server

import (
	"context"
	"time"

	"kmipd/kmip"
)

// checkRequestType: a Certificate Request needs its type (KMIP 1.4 Tables 184, 188).
func checkRequestType(op string, t kmip.CertificateRequestType, request []byte) error {
	if request != nil && t == 0 {
		return kmip.Errorf(kmip.ResultReasonInvalidMessage, "Certificate Request Type is missing from %s", op)
	}
	return nil
}

// Certify (KMIP 1.4 section 4.7, errors 11.8). The ID Placeholder becomes the certificate. With a Certificate Request the
// public key may be one that is not stored yet: then neither Unique Identifier nor ID Placeholder is needed.
var opCertify = row[kmip.CertifyRequest, kmip.CertifyResponse]{
	Code: kmip.OperationCertify, Limit: 30 * time.Second, Places: true, Async: asyncHeld,
	Target: func(r *kmip.CertifyRequest) *string { return r.UniqueIdentifier },
	Free:   func(r *kmip.CertifyRequest) bool { return r.CertificateRequest != nil },
	Check: func(r *kmip.CertifyRequest) error {
		if err := checkRequestType("Certify", r.CertificateRequestType, r.CertificateRequest); err != nil {
			return err
		}
		return checkTemplates(r.TemplateAttribute)
	},
	Run: func(ctx context.Context, c *call, r *kmip.CertifyRequest) (*kmip.CertifyResponse, error) {
		resp, err := c.Keys.Certify(ctx, &c.Call, r)
		if err == nil && resp != nil {
			c.place(resp.UniqueIdentifier)
		}
		return resp, err
	},
}

// Re-certify (KMIP 1.4 section 4.8, errors 11.9). The ID Placeholder becomes the new certificate.
var opReCertify = row[kmip.ReCertifyRequest, kmip.ReCertifyResponse]{
	Code: kmip.OperationReCertify, Limit: 30 * time.Second, Places: true, Async: asyncHeld,
	Target: func(r *kmip.ReCertifyRequest) *string { return r.UniqueIdentifier },
	Check: func(r *kmip.ReCertifyRequest) error {
		if err := checkRequestType("Re-certify", r.CertificateRequestType, r.CertificateRequest); err != nil {
			return err
		}
		return checkTemplates(r.TemplateAttribute)
	},
	Run: func(ctx context.Context, c *call, r *kmip.ReCertifyRequest) (*kmip.ReCertifyResponse, error) {
		resp, err := c.Keys.ReCertify(ctx, &c.Call, r)
		if err == nil && resp != nil {
			c.place(resp.UniqueIdentifier)
		}
		return resp, err
	},
}

// Validate (KMIP 1.4 section 4.24, errors 11.25). It has a list of certificates and no target: the keystore checks the
// rights on each.
var opValidate = row[kmip.ValidateRequest, kmip.ValidateResponse]{
	Code: kmip.OperationValidate, Limit: 30 * time.Second,
	Check: func(r *kmip.ValidateRequest) error {
		if len(r.Certificate)+len(r.UniqueIdentifier) == 0 {
			return kmip.Errorf(kmip.ResultReasonInvalidMessage, "Validate needs Certificates or Unique Identifiers")
		}
		return nil
	},
	Run: func(ctx context.Context, c *call, r *kmip.ValidateRequest) (*kmip.ValidateResponse, error) {
		return c.Keys.Validate(ctx, &c.Call, r)
	},
}
