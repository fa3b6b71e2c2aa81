package keystore

import (
	"context"
	"crypto/x509"
	"errors"

	"kmipd/keystore/evidence"
)

// Reports are signed with the key of the audit trail (auditkey.go): one key for an auditor to know. What it signs tells apart
// by its first octets: a report begins with its schema, a checkpoint with its own words.

// evidenceSigner signs with the key. The signer belongs to the context. In the error state there is none.
func (s *Store) evidenceSigner(ctx context.Context) (evidence.Signer, error) {
	if s.token == nil {
		return nil, errors.New("the token is not open")
	}
	if err := s.inOrder(); err != nil {
		return nil, err
	}
	p, err := s.auditKey(ctx)
	if err != nil {
		return nil, err
	}
	return p.signer(ctx, s)
}

// EvidenceKey is the public key that verifies reports, as DER SubjectPublicKeyInfo.
func (s *Store) EvidenceKey(ctx context.Context) ([]byte, error) {
	public, err := s.AuditKey(ctx)
	if err != nil {
		return nil, err
	}
	return x509.MarshalPKIXPublicKey(public)
}
