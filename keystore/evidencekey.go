package keystore

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"fmt"

	"kmipd/hsm"
	"kmipd/keystore/keyform"
	"kmipd/kmip"
	"kmipd/metadata"
)

// The key that signs evidence, reports and audit trail alike, is a managed object of a reserved owner, like those of
// certification authorities: start, fsck and backup treat it as they do all objects, and no client sees it. It is ECDSA on
// P-384, made on the token at its first use, and does not leave it.

// evidenceOwner owns it. A client's name has no zero octet (AddClient).
const evidenceOwner = "\x00audit"

// evidenceKey finds the key, or makes it.
func (s *Store) evidenceKey(ctx context.Context) (hsm.Ref, *ecdsa.PublicKey, error) {
	key, public, err := s.findEvidenceKey(ctx)
	if err != nil || public != nil {
		return key, public, err
	}
	if err := s.makeEvidenceKey(ctx); err != nil {
		return key, nil, fmt.Errorf("making the key that signs evidence: %w", err)
	}
	return s.findEvidenceKey(ctx)
}

func (s *Store) findEvidenceKey(ctx context.Context) (hsm.Ref, *ecdsa.PublicKey, error) {
	found, err := s.meta.Locate(ctx, metadata.Query{Owner: evidenceOwner, Max: 1, Terms: []metadata.Term{metadata.ObjectTypeTerm(kmip.ObjectTypePrivateKey)}})
	if err != nil || len(found.UIDs) == 0 {
		return hsm.Ref{}, nil, err
	}
	rec, err := s.meta.Get(ctx, found.UIDs[0])
	if err != nil {
		return hsm.Ref{}, nil, err
	}
	key, _ := ref(rec.Handle)
	pub, err := s.meta.Get(ctx, object{rec}.linked(kmip.LinkTypePublicKeyLink))
	if err != nil {
		return key, nil, err
	}
	r, _ := ref(pub.Handle)
	spki, err := s.token.PublicKey(ctx, r)
	if err != nil {
		return key, nil, err
	}
	parsed, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return key, nil, err
	}
	if public, ok := parsed.(*ecdsa.PublicKey); ok && public.Curve == elliptic.P384() {
		return key, public, nil
	}
	return key, nil, errors.New("the key of the evidence is not one of ECDSA on P-384")
}

// makeEvidenceKey makes the pair. The policies are about the keys of clients; this one is what all of them want.
func (s *Store) makeEvidenceKey(ctx context.Context) (err error) {
	now := s.cfg.Clock().UTC()
	call := &kmip.Call{Version: kmip.V1_4, Caller: kmip.Caller{Client: evidenceOwner}, Now: now, Tx: s.Begin(false)}
	defer func() { err = errors.Join(err, call.Tx.Rollback(ctx, 0)) }()
	priv, pub := s.newRecord(call, kmip.ObjectTypePrivateKey), s.newRecord(call, kmip.ObjectTypePublicKey)
	const bits = 384
	for _, o := range []object{priv, pub} {
		o.put("Cryptographic Algorithm", enumValue(kmip.CryptographicAlgorithmECDSA))
		o.put("Cryptographic Length", intValue(int32(bits)))
		o.put("Activation Date", timeValue(now))
	}
	priv.put("Cryptographic Usage Mask", intValue(kmip.CryptographicUsageMaskSign))
	pub.put("Cryptographic Usage Mask", intValue(kmip.CryptographicUsageMaskVerify))
	priv.put("Sensitive", boolValue(true))
	priv.put("Extractable", boolValue(false))
	priv.link(kmip.LinkTypePublicKeyLink, pub.UID)
	pub.link(kmip.LinkTypePrivateKeyLink, priv.UID)
	s.finish(call, priv, true)
	s.finish(call, pub, true)
	curve := kmip.RecommendedCurveP384
	pubFrame := &frame{facts: keyform.Generated(pub.ObjectType, kmip.CryptographicAlgorithmECDSA, bits, 0, curve)}
	priv.Frame = (&frame{facts: keyform.Generated(priv.ObjectType, kmip.CryptographicAlgorithmECDSA, bits, 0, curve)}).encode()
	pub.Frame = pubFrame.encode()
	spec := hsm.PairSpec{
		Private: hsm.KeySpec{ID: s.handle(priv, hsm.ClassPrivateKey).ID, Label: priv.UID, Type: hsm.KeyEC, Curve: hsm.CurveP384, Usage: hsm.UsageSign},
		Public:  hsm.KeySpec{ID: s.handle(pub, hsm.ClassPublicKey).ID, Label: pub.UID, Type: hsm.KeyEC, Curve: hsm.CurveP384, Usage: hsm.UsageVerify},
	}
	err = s.commitNew(ctx, call, kmip.OperationCreateKeyPair, []object{priv, pub}, nil, func(ctx context.Context) error {
		spki, err := s.token.GenerateKeyPair(ctx, spec)
		if err != nil {
			return err
		}
		return pub.digestOf(pubFrame, spki)
	})
	if err != nil {
		return err
	}
	return call.Tx.Commit(ctx)
}

// evidenceSigner signs with the key. The signer belongs to the context.
func (s *Store) evidenceSigner(ctx context.Context) (*hsm.Signer, error) {
	if s.token == nil {
		return nil, errors.New("the token is not open")
	}
	if err := s.inOrder(); err != nil {
		return nil, err
	}
	key, public, err := s.evidenceKey(ctx)
	if err != nil {
		return nil, err
	}
	return hsm.NewSigner(ctx, s.token, key, public)
}

// EvidenceKey is the public key that verifies evidence, as DER SubjectPublicKeyInfo.
func (s *Store) EvidenceKey(ctx context.Context) ([]byte, error) {
	_, public, err := s.findEvidenceKey(ctx)
	if err != nil {
		return nil, err
	}
	if public == nil {
		return nil, errors.New("there is no key yet: the server makes it with its first report")
	}
	return x509.MarshalPKIXPublicKey(public)
}
