package keystore

import (
	"context"

	"kmipd/kmip"
	"kmipd/metadata"
)

// Activate makes a Pre-Active object Active now (KMIP 1.4 section 4.19).
func (s *Store) Activate(ctx context.Context, call *kmip.Call, _ *kmip.ActivateRequest) (*kmip.ActivateResponse, error) {
	o, err := txOf(call).change(ctx, call)
	if err != nil {
		return nil, err
	}
	if o.ObjectType == kmip.ObjectTypeTemplate {
		return nil, illegal("a Template has no State")
	}
	if st := o.state(call.Now); st != kmip.StatePreActive {
		return nil, denied("Activate needs State Pre-Active, the object is %s", st)
	}
	before := o.Clone()
	o.put("Activation Date", timeValue(call.Now))
	if d := o.date("Deactivation Date"); !d.IsZero() && d.Before(call.Now) {
		return nil, denied("the Deactivation Date has passed")
	}
	o.changed(call.Now)
	if err := txOf(call).save(ctx, o, before); err != nil {
		return nil, toKMIP(err)
	}
	return &kmip.ActivateResponse{UniqueIdentifier: o.UID}, nil
}

// Revoke deactivates an object or marks it compromised (KMIP 1.4 section 4.20).
func (s *Store) Revoke(ctx context.Context, call *kmip.Call, req *kmip.RevokeRequest) (*kmip.RevokeResponse, error) {
	code := req.RevocationReason.RevocationReasonCode
	if code&0x80000000 == 0 && !code.KnownIn(kmip.V1_4) {
		return nil, badField("Revocation Reason Code is unknown")
	}
	compromise := code == kmip.RevocationReasonCodeKeyCompromise || code == kmip.RevocationReasonCodeCACompromise
	if req.CompromiseOccurrenceDate != nil && !compromise {
		return nil, badField("Compromise Occurrence Date needs a Revocation Reason Code of compromise")
	}
	if compromise && req.CompromiseOccurrenceDate != nil && req.CompromiseOccurrenceDate.After(call.Now) {
		return nil, badField("Compromise Occurrence Date must not be in the future")
	}
	o, err := txOf(call).change(ctx, call)
	if err != nil {
		return nil, err
	}
	if o.ObjectType == kmip.ObjectTypeTemplate {
		return nil, illegal("a Template cannot be revoked")
	}
	before := o.Clone()
	if compromise {
		o.compromise(req, call)
	} else {
		if st := o.state(call.Now); st != kmip.StateActive {
			return nil, denied("Revoke with this reason needs State Active, the object is %s", st)
		}
		o.put("Deactivation Date", timeValue(call.Now))
		o.put("Revocation Reason", structValue(&req.RevocationReason))
	}
	o.changed(call.Now)
	if err := txOf(call).saveRevoked(ctx, o, before); err != nil {
		return nil, toKMIP(err)
	}
	return &kmip.RevokeResponse{UniqueIdentifier: o.UID}, nil
}

// compromise marks the object; one that is compromised already keeps its dates.
func (o object) compromise(req *kmip.RevokeRequest, call *kmip.Call) {
	if !o.get("Compromise Date").IsZero() {
		return
	}
	occurred := o.date("Initial Date")
	if req.CompromiseOccurrenceDate != nil {
		occurred = *req.CompromiseOccurrenceDate
	}
	o.put("Compromise Occurrence Date", timeValue(occurred))
	o.put("Compromise Date", timeValue(call.Now))
	o.put("Revocation Reason", structValue(&req.RevocationReason))
}

// Destroy ends an object: at once for every client, on the token when the transaction commits (KMIP 1.4 section 4.21).
func (s *Store) Destroy(ctx context.Context, call *kmip.Call, _ *kmip.DestroyRequest) (*kmip.DestroyResponse, error) {
	t := txOf(call)
	o, err := t.change(ctx, call)
	if err != nil {
		return nil, err
	}
	if o.Phase == metadata.PhaseDestroying && !t.destroys(o.UID) {
		// The token failed when an earlier Destroy came to it: this one finishes the job.
		t.log = append(t.log, change{uid: o.UID, destroy: true, redo: true})
		return &kmip.DestroyResponse{UniqueIdentifier: o.UID}, nil
	}
	if !o.live() {
		return nil, denied("the object is destroyed already")
	}
	if o.ObjectType == kmip.ObjectTypeTemplate {
		return s.destroyTemplate(ctx, t, o)
	}
	if o.state(call.Now) == kmip.StateActive {
		return nil, denied("an Active object cannot be destroyed; revoke it first")
	}
	before := o.Clone()
	o.Phase = metadata.PhaseDestroying
	o.put("Destroy Date", timeValue(call.Now))
	o.changed(call.Now)
	if err := t.save(ctx, o, before); err != nil {
		return nil, toKMIP(err)
	}
	t.log[len(t.log)-1].destroy = true
	return &kmip.DestroyResponse{UniqueIdentifier: o.UID}, nil
}

// destroyTemplate marks a Template destroyed: a Template is nothing but its attributes, so it goes as a whole
// (KMIP 1.4 section 4.21); the record goes when the transaction commits.
func (s *Store) destroyTemplate(ctx context.Context, t *tx, o object) (*kmip.DestroyResponse, error) {
	before := o.Clone()
	o.Phase = metadata.PhaseDestroying
	if err := t.save(ctx, o, before); err != nil {
		return nil, toKMIP(err)
	}
	t.log[len(t.log)-1].destroy = true
	return &kmip.DestroyResponse{UniqueIdentifier: o.UID}, nil
}
