package keystore

import (
	"context"

	"kmipd/kmip"
)

// archived tells that the object is in archival storage: out of use until it is recovered (KMIP 1.4 section 4.22). Its
// key stays on the token.
func (o object) archived() bool { return !o.get("Archive Date").IsZero() }

// whileArchived are the operations that an archived object takes part in.
func whileArchived(op kmip.Operation) bool {
	switch op {
	case kmip.OperationRecover, kmip.OperationGetAttributes, kmip.OperationGetAttributeList, kmip.OperationLocate:
		return true
	}
	return false
}

func isArchived() error {
	return kmip.Errorf(kmip.ResultReasonObjectArchived, "the object is archived; recover it first")
}

// Archive puts an object away.
func (s *Store) Archive(ctx context.Context, call *kmip.Call, _ *kmip.ArchiveRequest) (*kmip.ArchiveResponse, error) {
	o, err := txOf(call).change(ctx, call)
	if err != nil {
		return nil, err
	}
	switch {
	case o.archived():
		return nil, isArchived()
	case !o.live():
		return nil, denied("the object is destroyed")
	}
	before := o.Clone()
	o.put("Archive Date", timeValue(call.Now))
	o.changed(call.Now)
	if err := txOf(call).save(ctx, o, before); err != nil {
		return nil, toKMIP(err)
	}
	return &kmip.ArchiveResponse{UniqueIdentifier: o.UID}, nil
}

// Recover brings an archived object back; one that is not archived is there already (KMIP 1.4 section 4.23).
func (s *Store) Recover(ctx context.Context, call *kmip.Call, _ *kmip.RecoverRequest) (*kmip.RecoverResponse, error) {
	o, err := txOf(call).change(ctx, call)
	if err != nil {
		return nil, err
	}
	if !o.live() {
		return nil, denied("the object is destroyed")
	}
	if !o.archived() {
		return &kmip.RecoverResponse{UniqueIdentifier: o.UID}, nil
	}
	before := o.Clone()
	o.remove(o.find("Archive Date", 0))
	o.changed(call.Now)
	if err := txOf(call).save(ctx, o, before); err != nil {
		return nil, toKMIP(err)
	}
	return &kmip.RecoverResponse{UniqueIdentifier: o.UID}, nil
}
