package server

import (
	"context"

	"kmipd/kmip"
)

func (k *fakeKeys) Certify(ctx context.Context, call *kmip.Call, _ *kmip.CertifyRequest) (*kmip.CertifyResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationCertify); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	id := call.Target + "-certificate"
	k.set(call, id, "Pre-Active")
	return &kmip.CertifyResponse{UniqueIdentifier: id}, nil
}

func (k *fakeKeys) ReCertify(ctx context.Context, call *kmip.Call, _ *kmip.ReCertifyRequest) (*kmip.ReCertifyResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationReCertify); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	id := call.Target + "-next"
	k.set(call, id, "Pre-Active")
	return &kmip.ReCertifyResponse{UniqueIdentifier: id}, nil
}

func (k *fakeKeys) Validate(ctx context.Context, call *kmip.Call, _ *kmip.ValidateRequest) (*kmip.ValidateResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationValidate); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	return &kmip.ValidateResponse{ValidityIndicator: kmip.ValidityIndicatorUnknown}, nil
}
