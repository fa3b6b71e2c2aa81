package keystore

import (
	"context"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
	"kmipd/metadata"
)

// answer adds the answer of the transaction's job to the batch that commits its change, of which objs are the objects in
// the order in which the answer names them.
func (t *tx) answer(b *metadata.Batch, objs ...object) {
	if t.job == nil {
		return
	}
	resp := jobAnswer(t.job.Operation, objs)
	if resp == nil {
		return
	}
	rec := *t.job
	rec.State, rec.Payload = metadata.JobDone, nil
	rec.Response = resp.Append(nil, kmip.TagResponsePayload, rec.Version)
	b.PutJobs = append(b.PutJobs, &rec)
	t.answered = true
}

// unanswer takes the answer back, ahead of the change. A crash between the two leaves a job that failed and an object that
// nobody was told of, which is what a failure that could not be taken back leaves.
func (t *tx) unanswer(ctx context.Context) error {
	if !t.answered {
		return nil
	}
	rec := *t.job
	rec.State, rec.Payload = metadata.JobFailed, nil
	rec.Reason, rec.Message = kmip.ResultReasonGeneralFailure, "the operation was interrupted while it was taken back"
	if err := t.s.commit(ctx, &metadata.Batch{PutJobs: []*metadata.Job{&rec}}, t.undone()); err != nil {
		return err
	}
	t.answered = false
	return nil
}

// appender is a response payload.
type appender interface {
	Append(b []byte, tag ttlv.Tag, ver kmip.Version) []byte
}

// jobAnswer is the response of an operation that changes objects and answers with nothing but their identifiers.
func jobAnswer(op kmip.Operation, objs []object) appender {
	uid := objs[0].UID
	switch op {
	case kmip.OperationCreate:
		return &kmip.CreateResponse{ObjectType: objs[0].ObjectType, UniqueIdentifier: uid}
	case kmip.OperationCreateKeyPair:
		return &kmip.CreateKeyPairResponse{PrivateKeyUniqueIdentifier: uid, PublicKeyUniqueIdentifier: objs[1].UID}
	case kmip.OperationReKey:
		return &kmip.ReKeyResponse{UniqueIdentifier: uid}
	case kmip.OperationReKeyKeyPair:
		return &kmip.ReKeyKeyPairResponse{PrivateKeyUniqueIdentifier: uid, PublicKeyUniqueIdentifier: objs[1].UID}
	case kmip.OperationCertify:
		return &kmip.CertifyResponse{UniqueIdentifier: uid}
	case kmip.OperationReCertify:
		return &kmip.ReCertifyResponse{UniqueIdentifier: uid}
	case kmip.OperationActivate:
		return &kmip.ActivateResponse{UniqueIdentifier: uid}
	case kmip.OperationRevoke:
		return &kmip.RevokeResponse{UniqueIdentifier: uid}
	case kmip.OperationDestroy:
		return &kmip.DestroyResponse{UniqueIdentifier: uid}
	case kmip.OperationArchive:
		return &kmip.ArchiveResponse{UniqueIdentifier: uid}
	case kmip.OperationRecover:
		return &kmip.RecoverResponse{UniqueIdentifier: uid}
	}
	return nil // Locate, which answers with what it finds
}
