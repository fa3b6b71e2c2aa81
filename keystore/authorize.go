package keystore

import (
	"context"

	"kmipd/kmip"
	"kmipd/metadata"
)

// Authorize decides whether the caller may ask for the operation on the target. It is the one place where rights are
// checked: another client's object does not exist; within a client, an object that a user made belongs to that user.
func (s *Store) Authorize(ctx context.Context, call *kmip.Call, op kmip.Operation) error {
	if t, ok := call.Tx.(*tx); ok {
		t.begins(call, op)
	}
	if call.Caller.Client == "" {
		return denied("the client's certificate is not registered")
	}
	if err := s.inOrder(); err != nil {
		return err
	}
	if call.Caller.User == "" && s.clients.needsCredential(call.Caller.Client) {
		return kmip.Errorf(kmip.ResultReasonAuthenticationNotSuccessful, "this client must send a credential")
	}
	if op == kmip.OperationDestroy && !s.cfg.AllowDestroy {
		return denied("clients must not destroy objects on this server")
	}
	if call.Target == "" {
		return nil
	}
	rec, err := s.meta.Get(ctx, call.Target)
	if err != nil {
		return toKMIP(err)
	}
	txOf(call).peek = rec
	if err := owns(call.Caller, rec); err != nil {
		if publicOperation(op, rec.ObjectType) && rec.Owner == call.Caller.Client {
			return nil
		}
		return err
	}
	if (object{rec}).archived() && !whileArchived(op) {
		return isArchived()
	}
	return nil
}

// publicOperation is the part of the Default Operation Policy (KMIP 1.4 section 3.18.2.2) that lets all users of a
// client see certificates and public keys.
func publicOperation(op kmip.Operation, t kmip.ObjectType) bool {
	if t != kmip.ObjectTypeCertificate && t != kmip.ObjectTypePublicKey {
		return false
	}
	switch op {
	case kmip.OperationCheck, kmip.OperationGet, kmip.OperationGetAttributes, kmip.OperationGetAttributeList:
		return true
	}
	return false
}

// owns is nil for the owner. For another client the object does not exist.
func owns(c kmip.Caller, rec *metadata.Record) error {
	if rec.Owner != c.Client {
		return notFound()
	}
	if rec.User != "" && rec.User != c.User {
		return denied("the object belongs to another user")
	}
	return nil
}

// target is the record of the call's target for reading.
func (s *Store) target(ctx context.Context, call *kmip.Call) (object, error) {
	t := txOf(call)
	if rec := t.peek; rec != nil && rec.UID == call.Target {
		t.peek = nil
		return object{rec}, nil
	}
	rec, err := s.meta.Get(ctx, call.Target)
	if err != nil {
		return object{}, toKMIP(err)
	}
	if err := owns(call.Caller, rec); err != nil {
		return object{}, err
	}
	return object{rec}, nil
}

// byUID is a record that a field of a request names (wrapping key, linked object), under the caller's rights.
func (s *Store) byUID(ctx context.Context, call *kmip.Call, uid, what string) (object, error) {
	rec, err := s.meta.Get(ctx, uid)
	if isNotFound(err) || err == nil && rec.Owner != call.Caller.Client {
		return object{}, kmip.Errorf(kmip.ResultReasonItemNotFound, "%s does not exist", what)
	}
	if err != nil {
		return object{}, toKMIP(err)
	}
	if err := owns(call.Caller, rec); err != nil {
		return object{}, err
	}
	if (object{rec}).archived() {
		return object{}, isArchived()
	}
	return object{rec}, nil
}
