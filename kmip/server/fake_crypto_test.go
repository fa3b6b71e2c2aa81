package server

import (
	"context"

	"kmipd/kmip"
)

// The services of the fake: what comes out is recognisable, nothing more.

func (k *fakeKeys) Encrypt(ctx context.Context, call *kmip.Call, req *kmip.EncryptRequest) (*kmip.EncryptResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationEncrypt); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	return &kmip.EncryptResponse{UniqueIdentifier: call.Target, Data: append([]byte("e:"), req.Data...)}, nil
}

func (k *fakeKeys) Decrypt(ctx context.Context, call *kmip.Call, _ *kmip.DecryptRequest) (*kmip.DecryptResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationDecrypt); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	return &kmip.DecryptResponse{UniqueIdentifier: call.Target, Data: k.material}, nil
}

func (k *fakeKeys) Sign(ctx context.Context, call *kmip.Call, _ *kmip.SignRequest) (*kmip.SignResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationSign); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	return &kmip.SignResponse{UniqueIdentifier: call.Target, SignatureData: []byte("signature")}, nil
}

func (k *fakeKeys) SignatureVerify(ctx context.Context, call *kmip.Call, _ *kmip.SignatureVerifyRequest) (*kmip.SignatureVerifyResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationSignatureVerify); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	return &kmip.SignatureVerifyResponse{UniqueIdentifier: call.Target, ValidityIndicator: kmip.ValidityIndicatorInvalid}, nil
}

func (k *fakeKeys) MAC(ctx context.Context, call *kmip.Call, _ *kmip.MACRequest) (*kmip.MACResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationMAC); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	return &kmip.MACResponse{UniqueIdentifier: call.Target, MACData: []byte("code")}, nil
}

func (k *fakeKeys) MACVerify(ctx context.Context, call *kmip.Call, _ *kmip.MACVerifyRequest) (*kmip.MACVerifyResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationMACVerify); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	return &kmip.MACVerifyResponse{UniqueIdentifier: call.Target, ValidityIndicator: kmip.ValidityIndicatorValid}, nil
}

func (k *fakeKeys) RNGRetrieve(ctx context.Context, call *kmip.Call, req *kmip.RNGRetrieveRequest) (*kmip.RNGRetrieveResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationRNGRetrieve); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	return &kmip.RNGRetrieveResponse{Data: make([]byte, req.DataLength)}, nil
}

func (k *fakeKeys) RNGSeed(ctx context.Context, call *kmip.Call, _ *kmip.RNGSeedRequest) (*kmip.RNGSeedResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationRNGSeed); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	return &kmip.RNGSeedResponse{}, nil
}

func (k *fakeKeys) Hash(ctx context.Context, call *kmip.Call, _ *kmip.HashRequest) (*kmip.HashResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationHash); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	return &kmip.HashResponse{Data: []byte("digest")}, nil
}
