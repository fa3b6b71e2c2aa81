package keystore

import (
	"context"
	"crypto/x509"
	"slices"
)

// Revoked tells whether a certificate that one of the server's own authorities issued is revoked, from the entry that
// Revoke writes: at once, without waiting for a revocation list. known is false for a certificate of any other issuer. The
// authority is known by its key and name, not by its name alone.
func (s *Store) Revoked(ctx context.Context, cert, issuer *x509.Certificate) (known, revoked bool, err error) {
	list, err := s.authorities(ctx)
	if err != nil {
		return false, false, err
	}
	i := slices.IndexFunc(list, func(a *authority) bool {
		return string(a.subject) == string(issuer.RawSubject) && equalKeys(issuer.PublicKey, a.public)
	})
	if i < 0 {
		return false, false, nil
	}
	rec, err := s.meta.Get(ctx, entryUID(list[i].name, cert.SerialNumber.Bytes()))
	switch {
	case isNotFound(err):
		// Issued by an operation that was taken back, or before the records were restored from a backup: there is nothing
		// against it, and the authority's own list says the same.
		return true, false, nil
	case err != nil:
		return false, false, toKMIP(err)
	}
	o := object{rec}
	return true, o.Owner == caOwner && !o.get(attrRevoked).IsZero(), nil
}
