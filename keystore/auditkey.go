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

// The key that signs the audit trail is a managed object of a reserved owner, like those of certification authorities: start,
// fsck and backup treat it as they do all objects, and no client sees it. It is ECDSA on P-384, made on the token at the
// first start, and does not leave it.

// auditOwner owns it. A client's name has no zero octet (AddClient).
const auditOwner = "\x00audit"

// auditPair is the key; public is nil when there is none yet.
type auditPair struct {
	private object
	public  *ecdsa.PublicKey
}

// auditKey finds the key, or makes it.
func (s *Store) auditKey(ctx context.Context) (auditPair, error) {
	p, err := s.findAuditKey(ctx)
	if err != nil || p.public != nil {
		return p, err
	}
	if err := s.makeAuditKey(ctx); err != nil {
		return p, fmt.Errorf("making the key that signs the audit trail: %w", err)
	}
	return s.findAuditKey(ctx)
}

// errAuditKey is why a key that has drifted signs nothing.
var errAuditKey = errors.New("the key of the audit trail is not on the token as this server made it, and signs nothing under a strict policy")

// signer signs with the key, as long as the context lives. Where a policy is strict, the token is asked once a minute whether the
// key is as recorded, and one that is not signs nothing (errAuditKey): what it signed could be anybody's.
func (p auditPair) signer(ctx context.Context, s *Store) (*hsm.Signer, error) {
	if s.strictPolicy() != nil {
		switch err := s.undrifted(ctx, p.private); {
		case err != nil && s.drift.has(p.private.UID):
			return nil, errors.Join(errAuditKey, err)
		case err != nil:
			return nil, err // nothing is known of the key
		}
	}
	key, _ := ref(p.private.Handle)
	return hsm.NewSigner(ctx, s.token, key, p.public)
}

func (s *Store) findAuditKey(ctx context.Context) (auditPair, error) {
	found, err := s.meta.Locate(ctx, metadata.Query{Owner: auditOwner, Max: 1, Terms: []metadata.Term{metadata.ObjectTypeTerm(kmip.ObjectTypePrivateKey)}})
	if err != nil || len(found.UIDs) == 0 {
		return auditPair{}, err
	}
	rec, err := s.meta.Get(ctx, found.UIDs[0])
	if err != nil {
		return auditPair{}, err
	}
	p := auditPair{private: object{rec}}
	pub, err := s.meta.Get(ctx, p.private.linked(kmip.LinkTypePublicKeyLink))
	if err != nil {
		return p, err
	}
	r, _ := ref(pub.Handle)
	spki, err := s.token.PublicKey(ctx, r)
	if err != nil {
		return p, err
	}
	parsed, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return p, err
	}
	if public, ok := parsed.(*ecdsa.PublicKey); ok && public.Curve == elliptic.P384() {
		p.public = public
		return p, nil
	}
	return p, errors.New("the key of the audit trail is not one of ECDSA on P-384")
}

// makeAuditKey makes the pair. The policies are about the keys of clients; this one is what all of them want.
func (s *Store) makeAuditKey(ctx context.Context) (err error) {
	now := s.cfg.Clock().UTC()
	t := &tx{s: s, item: doing{by: ofServer("make the audit key")}}
	call := &kmip.Call{Version: kmip.V1_4, Caller: kmip.Caller{Client: auditOwner}, Now: now, Tx: t}
	defer func() { err = errors.Join(err, t.Rollback(ctx, 0)) }()
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
	priv.madeHere()
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
	return t.Commit(ctx)
}

// AuditKey is the public key that verifies the audit trail.
func (s *Store) AuditKey(ctx context.Context) (*ecdsa.PublicKey, error) {
	p, err := s.findAuditKey(ctx)
	if err == nil && p.public == nil {
		err = errors.New("there is no key yet: the server makes it at its first start")
	}
	return p.public, err
}
