package keystore

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"kmipd/kmip"
	"kmipd/metadata"
)

// Records that are restored from a backup do not know who was revoked since. What was published by then does: a list is
// signed by the authority, so that it can be believed wherever it comes from.

// Recovered is what RecoverRevocations found.
type Recovered struct {
	Number  string `json:"number"`  // of the list
	Present string `json:"present"` // of the list that the records had; "" for none
	Entries int    `json:"entries"` // on the list
	Lost    int    `json:"lost"`    // of them were unknown to the records, and are revoked again
}

// recoverBatch is how many entries are written at a time.
const recoverBatch = 256

// RecoverRevocations takes the revocations of a list that the authority published earlier, in DER, back into the records. The
// certificates are refused from then on, and on the authority's lists again. The certificates' objects stay as they are.
func (s *Store) RecoverRevocations(ctx context.Context, name string, der []byte) (*Recovered, error) {
	if err := s.locks.acquire(ctx, caOwner); err != nil {
		return nil, err
	}
	defer s.locks.release(caOwner)
	a, err := s.namedAuthority(ctx, name)
	if err != nil {
		return nil, err
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, fmt.Errorf("not a revocation list: %w", err)
	}
	c := a.cert()
	if c == nil || !bytes.Equal(list.RawIssuer, c.RawSubject) || list.CheckSignatureFrom(c) != nil {
		return nil, fmt.Errorf("the list is not by authority %q", name)
	}
	if list.Number == nil {
		return nil, errors.New("the list has no number") // this server's have one
	}
	out := &Recovered{Number: list.Number.String(), Entries: len(list.RevokedCertificateEntries)}
	present, err := s.presentCRL(ctx, name)
	if err != nil {
		return nil, err
	}
	if present != nil {
		out.Present = present.Number
	}
	var lost []metadata.Put
	for i := range list.RevokedCertificateEntries {
		put, err := s.lostRevocation(ctx, a, &list.RevokedCertificateEntries[i])
		if err != nil {
			return nil, err
		}
		if put != nil {
			lost = append(lost, *put)
		}
	}
	for first := 0; first < len(lost); first += recoverBatch {
		b := &metadata.Batch{Puts: lost[first:min(first+recoverBatch, len(lost))]}
		e := ofAdministrator("ca recover", fact("authority", name), fact("number", out.Number), fact("revoked", strconv.Itoa(len(b.Puts))))
		if err := s.commit(ctx, b, e); err != nil {
			return nil, toKMIP(err)
		}
		out.Lost += len(b.Puts)
	}
	if present == nil || list.Number.Cmp(present.list.Number) > 0 {
		if err := s.adoptCRL(ctx, name, list); err != nil {
			return nil, err
		}
	}
	s.wakeCRLs()
	return out, nil
}

// lostRevocation is the write that revokes what is on a list, nil when the records know of it. A certificate that was issued
// after the backup gets an entry that belongs to no object.
func (s *Store) lostRevocation(ctx context.Context, a *authority, r *x509.RevocationListEntry) (*metadata.Put, error) {
	serial := r.SerialNumber.Bytes()
	var expect uint64
	rec, err := s.meta.Get(ctx, entryUID(a.name, serial))
	switch {
	case isNotFound(err):
		rec = &metadata.Record{UID: entryUID(a.name, serial), Owner: caOwner, Created: s.created(), Phase: metadata.PhaseLive,
			ObjectType: kmip.ObjectTypeOpaqueObject}
		object{rec}.put(attrSerial, bytesValue(serial))
		object{rec}.put(attrExpires, timeValue(a.cert().NotAfter)) // the certificate's own end is not told, and not later
	case err != nil:
		return nil, toKMIP(err)
	case !object{rec}.get(attrRevoked).IsZero():
		return nil, nil
	default:
		expect = rec.Revision
		rec = rec.Clone()
	}
	e := object{rec}
	e.put(attrRevoked, timeValue(r.RevocationTime))
	e.put(attrRevokedBy, textValue(a.name))
	e.put(attrReason, intValue(int32(reasonOf(r.ReasonCode))))
	for _, x := range r.Extensions {
		var since time.Time
		if x.Id.Equal(oidInvalidityDate) {
			if _, err := asn1.UnmarshalWithParams(x.Value, &since, "generalized"); err == nil {
				e.put(attrOccurred, timeValue(since))
			}
		}
	}
	return &metadata.Put{Record: rec, Expect: expect}, nil
}

// reasonOf is the Revocation Reason Code of a reason of RFC 5280.
func reasonOf(code int) kmip.RevocationReasonCode {
	for kmipCode, crlCode := range crlReasons {
		if crlCode == code {
			return kmipCode
		}
	}
	return kmip.RevocationReasonCodeUnspecified
}

// adoptCRL makes a list of before the present one, so that the numbers of the next ones go on from it.
func (s *Store) adoptCRL(ctx context.Context, name string, list *x509.RevocationList) error {
	p := &publishedCRL{DER: list.Raw, Number: list.Number.String(), list: list}
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	e := ofAdministrator("ca recover", fact("authority", name), fact("number", p.Number))
	if err := s.meta.SetSetting(ctx, crlSetting(name), b, true, s.payload(e, nil)); err != nil {
		return toKMIP(err)
	}
	s.cas.mu.Lock()
	defer s.cas.mu.Unlock()
	s.showCRL(name, p)
	return nil
}
