package server

import (
	"context"
	"time"

	"kmipd/kmip"
)

func (k *fakeKeys) ReKey(ctx context.Context, call *kmip.Call, _ *kmip.ReKeyRequest) (*kmip.ReKeyResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationReKey); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	id := call.Target + "-next"
	k.set(call, id, "Pre-Active")
	return &kmip.ReKeyResponse{UniqueIdentifier: id}, nil
}

func (k *fakeKeys) ReKeyKeyPair(ctx context.Context, call *kmip.Call, _ *kmip.ReKeyKeyPairRequest) (*kmip.ReKeyKeyPairResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationReKeyKeyPair); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	id := call.Target + "-next"
	k.set(call, id, "Pre-Active")
	return &kmip.ReKeyKeyPairResponse{PrivateKeyUniqueIdentifier: id, PublicKeyUniqueIdentifier: id + "-public"}, nil
}

func (k *fakeKeys) ObtainLease(ctx context.Context, call *kmip.Call, _ *kmip.ObtainLeaseRequest) (*kmip.ObtainLeaseResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationObtainLease); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	return &kmip.ObtainLeaseResponse{UniqueIdentifier: call.Target, LeaseTime: 60, LastChangeDate: time.Unix(1, 0)}, nil
}

func (k *fakeKeys) GetUsageAllocation(ctx context.Context, call *kmip.Call, _ *kmip.GetUsageAllocationRequest) (*kmip.GetUsageAllocationResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationGetUsageAllocation); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	return &kmip.GetUsageAllocationResponse{UniqueIdentifier: call.Target}, nil
}

func (k *fakeKeys) Archive(ctx context.Context, call *kmip.Call, _ *kmip.ArchiveRequest) (*kmip.ArchiveResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationArchive); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	k.set(call, call.Target, "Archived")
	return &kmip.ArchiveResponse{UniqueIdentifier: call.Target}, nil
}

func (k *fakeKeys) Recover(ctx context.Context, call *kmip.Call, _ *kmip.RecoverRequest) (*kmip.RecoverResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationRecover); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	k.set(call, call.Target, "Active")
	return &kmip.RecoverResponse{UniqueIdentifier: call.Target}, nil
}

func (k *fakeKeys) Export(ctx context.Context, call *kmip.Call, _ *kmip.ExportRequest) (*kmip.ExportResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationExport); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	return &kmip.ExportResponse{ObjectType: kmip.ObjectTypeOpaqueObject, UniqueIdentifier: call.Target, OpaqueObject: &kmip.OpaqueObject{OpaqueDataValue: []byte{1}}}, nil
}

func (k *fakeKeys) Import(ctx context.Context, call *kmip.Call, r *kmip.ImportRequest) (*kmip.ImportResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationImport); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	k.set(call, r.UniqueIdentifier, "Active")
	return &kmip.ImportResponse{UniqueIdentifier: r.UniqueIdentifier}, nil
}

func (k *fakeKeys) DeriveKey(ctx context.Context, call *kmip.Call, req *kmip.DeriveKeyRequest) (*kmip.DeriveKeyResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationDeriveKey); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	id := req.UniqueIdentifier[0] + "-derived"
	k.set(call, id, "Pre-Active")
	return &kmip.DeriveKeyResponse{UniqueIdentifier: id}, nil
}

func (k *fakeKeys) CreateSplitKey(ctx context.Context, call *kmip.Call, _ *kmip.CreateSplitKeyRequest) (*kmip.CreateSplitKeyResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationCreateSplitKey); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	k.set(call, "part-1", "Pre-Active")
	k.set(call, "part-2", "Pre-Active")
	return &kmip.CreateSplitKeyResponse{UniqueIdentifier: []string{"part-1", "part-2"}}, nil
}

func (k *fakeKeys) JoinSplitKey(ctx context.Context, call *kmip.Call, _ *kmip.JoinSplitKeyRequest) (*kmip.JoinSplitKeyResponse, error) {
	if err := k.enter(ctx, call, kmip.OperationJoinSplitKey); err != nil {
		return nil, err
	}
	defer k.mu.Unlock()
	k.set(call, "joined", "Pre-Active")
	return &kmip.JoinSplitKeyResponse{UniqueIdentifier: "joined"}, nil
}
