package keystore

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"time"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/keystore/keyform"
	"kmipd/kmip"
)

// NewAuthority says what a certification authority is to be.
type NewAuthority struct {
	Name      string `json:"name"`
	Algorithm string `json:"algorithm"` // ECDSA or RSA
	Length    int    `json:"length"`    // of the key in bits: 256, 384, 521; 2048, 3072, 4096
	Subject   string `json:"subject"`   // RFC 4514
	Days      int    `json:"days"`      // validity of a root's certificate
	// Subordinate makes the key alone: the certificate comes from another authority (AuthorityRequest, ImportAuthority).
	Subordinate bool `json:"subordinate,omitempty"`
}

// authorityName is fit for the path of a URL.
var authorityName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// InitAuthority makes a certification authority: its key pair on the token, and a root's certificate. Both are there, or
// nothing is.
func (s *Store) InitAuthority(ctx context.Context, n NewAuthority) (*Authority, error) {
	if !authorityName.MatchString(n.Name) {
		return nil, errors.New("the name of an authority has 1 to 64 letters, digits, points, hyphens and underscores")
	}
	subject, err := ParseName(n.Subject)
	if err != nil {
		return nil, fmt.Errorf("the subject: %w", err)
	}
	if !n.Subordinate && (n.Days < 1 || n.Days > maxDays) {
		return nil, fmt.Errorf("days must be from 1 to %d", maxDays)
	}
	if err := s.locks.acquire(ctx, caOwner); err != nil {
		return nil, err
	}
	defer s.locks.release(caOwner)
	if a, err := s.authority(ctx, n.Name); err != nil || a != nil {
		return nil, errors.Join(err, fmt.Errorf("there is an authority %q already", n.Name))
	}
	if err := s.makeAuthority(ctx, n, subject); err != nil {
		return nil, err
	}
	s.forgetAuthorities()
	s.wakeCRLs()
	a, err := s.authority(ctx, n.Name)
	if err != nil {
		return nil, err
	}
	out := a.describe()
	return &out, nil
}

// makeAuthority makes key pair and certificate in one commit of both stores.
func (s *Store) makeAuthority(ctx context.Context, n NewAuthority, subject []byte) (err error) {
	call := s.caCall(ofAdministrator("ca init", fact("authority", n.Name), fact("subject", n.Subject)))
	defer func() { err = errors.Join(err, call.Tx.Rollback(ctx, 0)) }()
	algorithm, ok := map[string]kmip.CryptographicAlgorithm{"ECDSA": kmip.CryptographicAlgorithmECDSA, "RSA": kmip.CryptographicAlgorithmRSA}[n.Algorithm]
	if !ok {
		return fmt.Errorf("algorithm %q is neither ECDSA nor RSA", n.Algorithm)
	}
	priv, pub := s.newRecord(call, kmip.ObjectTypePrivateKey), s.newRecord(call, kmip.ObjectTypePublicKey)
	signing := kmip.CryptographicUsageMaskCertificateSign | kmip.CryptographicUsageMaskCRLSign
	for _, o := range []object{priv, pub} {
		o.put("Cryptographic Algorithm", enumValue(algorithm))
		o.put("Cryptographic Length", intValue(int32(n.Length)))
		o.put("Activation Date", timeValue(call.Now))
	}
	priv.put("Cryptographic Usage Mask", intValue(signing))
	pub.put("Cryptographic Usage Mask", intValue(kmip.CryptographicUsageMaskVerify))
	priv.put("Name", structValue(&kmip.Name{NameValue: n.Name, NameType: kmip.NameTypeUninterpretedTextString}))
	priv.put("Sensitive", boolValue(true))
	priv.put("Extractable", boolValue(false))
	priv.put(attrSubject, bytesValue(subject))
	spec, curve, err := s.pairSpec(s.policy, priv, pub)
	if err != nil {
		return err
	}
	spec.Public.Usage |= hsm.UsageVerify
	priv.link(kmip.LinkTypePublicKeyLink, pub.UID)
	pub.link(kmip.LinkTypePrivateKeyLink, priv.UID)
	objs := []object{priv, pub}
	var cert object
	if !n.Subordinate {
		cert = s.newRecord(call, kmip.ObjectTypeCertificate)
		priv.link(kmip.LinkTypeCertificateLink, cert.UID)
		pub.link(kmip.LinkTypeCertificateLink, cert.UID)
		cert.link(kmip.LinkTypePublicKeyLink, pub.UID)
		s.place(cert)
		objs = append(objs, cert)
	}
	s.finish(call, priv, true)
	s.finish(call, pub, true)
	pubFrame := &frame{facts: keyform.Generated(pub.ObjectType, algorithm, pub.length(), 0, curve)}
	priv.Frame = (&frame{facts: keyform.Generated(priv.ObjectType, algorithm, priv.length(), 0, curve)}).encode()
	pub.Frame = pubFrame.encode()
	key := s.handle(priv, hsm.ClassPrivateKey)
	priv.madeHere()
	spec.Private.ID, spec.Private.Label = key.ID, priv.UID
	spec.Public.ID, spec.Public.Label = s.handle(pub, hsm.ClassPublicKey).ID, pub.UID
	err = s.commitNew(ctx, call, kmip.OperationCreateKeyPair, objs, nil, func(ctx context.Context) error {
		spki, err := s.token.GenerateKeyPair(ctx, spec)
		if err != nil {
			return err
		}
		if err := pub.digestOf(pubFrame, spki); err != nil || n.Subordinate {
			return err
		}
		public, err := x509.ParsePKIXPublicKey(spki)
		if err != nil {
			return err
		}
		a := &authority{name: n.Name, key: key, public: public, subject: subject}
		der, err := s.selfSigned(ctx, a, call.Now, n.Days)
		if err != nil {
			return err
		}
		return s.storeCertificate(ctx, call, cert, der)
	})
	if err != nil {
		return err
	}
	return call.Tx.Commit(ctx)
}

// selfSigned is the certificate of a root.
func (s *Store) selfSigned(ctx context.Context, a *authority, now time.Time, days int) ([]byte, error) {
	signer, err := s.signer(ctx, s.policy, a)
	if err != nil {
		return nil, err
	}
	serial, err := s.serialNumber(ctx)
	if err != nil {
		return nil, err
	}
	id, err := keyIdentifier(a.public)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{SerialNumber: serial, RawSubject: a.subject, NotBefore: now.Add(-DefaultProfile.Backdate), NotAfter: now.AddDate(0, 0, days),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: id}
	t.SignatureAlgorithm = signatureAlgorithm(s.policy, a.public)
	return x509.CreateCertificate(nil, t, t, a.public, signer)
}

// serialNumber is random: 126 bits from the token, always 16 octets long (RFC 5280 section 4.1.2.2 wants it positive and at
// most 20 octets; CA/Browser Forum BR section 7.1 wants 64 bits from a random number generator).
func (s *Store) serialNumber(ctx context.Context) (*big.Int, error) {
	b, err := s.token.Random(ctx, 16)
	if err != nil {
		return nil, err
	}
	b[0] = b[0]&0x3F | 0x40
	return new(big.Int).SetBytes(b), nil
}

// keyIdentifier is the first 160 bits of the SHA-256 of a public key (RFC 7093 section 2, method 1).
func keyIdentifier(public crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	var spki struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	if err := unmarshalAll(der, &spki); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(spki.Key.Bytes)
	return sum[:20], nil
}

// AuthorityRequest is a PKCS#10 request for the authority's certificate, in DER.
func (s *Store) AuthorityRequest(ctx context.Context, name string) ([]byte, error) {
	a, err := s.namedAuthority(ctx, name)
	if err != nil {
		return nil, err
	}
	signer, err := s.signer(ctx, s.policy, a)
	if err != nil {
		return nil, err
	}
	// What the certificate must say, for the authority that signs it.
	return x509.CreateCertificateRequest(nil, &x509.CertificateRequest{RawSubject: a.subject, SignatureAlgorithm: signatureAlgorithm(s.policy, a.public), ExtraExtensions: []pkix.Extension{
		{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 3, 1, 1, 0xFF}}, // basicConstraints: cA
		{Id: oidKeyUsage, Critical: true, Value: []byte{3, 2, 1, 6}},                                  // keyCertSign, cRLSign
	}}, signer)
}

func (s *Store) namedAuthority(ctx context.Context, name string) (*authority, error) {
	a, err := s.authority(ctx, name)
	if err == nil && a == nil {
		err = fmt.Errorf("there is no authority %q", name)
	}
	return a, err
}

// ImportAuthority takes in the certificate of an authority's key, and its chain: each certificate is signed by the next.
// A later import takes the place of an earlier one.
func (s *Store) ImportAuthority(ctx context.Context, name string, chain [][]byte) error {
	if err := s.locks.acquire(ctx, caOwner); err != nil {
		return err
	}
	defer s.locks.release(caOwner)
	a, err := s.namedAuthority(ctx, name)
	if err != nil {
		return err
	}
	if err := s.checkChain(a, chain); err != nil {
		return err
	}
	if err := s.storeChain(ctx, a, chain); err != nil {
		return err
	}
	s.forgetAuthorities()
	s.wakeCRLs()
	return nil
}

// checkChain refuses a chain with which the authority could not issue certificates that anybody accepts.
func (s *Store) checkChain(a *authority, chain [][]byte) error {
	if len(chain) == 0 || len(chain) > maxCertificates {
		return fmt.Errorf("a chain has 1 to %d certificates", maxCertificates)
	}
	var above *x509.Certificate
	for i := len(chain) - 1; i >= 0; i-- {
		c, err := x509.ParseCertificate(chain[i])
		if err != nil {
			return fmt.Errorf("certificate %d of the chain: %w", i+1, err)
		}
		if !c.IsCA || !c.BasicConstraintsValid || c.KeyUsage&x509.KeyUsageCertSign == 0 {
			return fmt.Errorf("certificate %d of the chain is not that of an authority (basic constraints, key usage)", i+1)
		}
		signer := c.PublicKey // of a root, or of an authority above that is not told
		if above != nil {
			signer = above.PublicKey
			if !bytes.Equal(c.RawIssuer, above.RawSubject) {
				return fmt.Errorf("certificate %d of the chain was not issued by the next one", i+1)
			}
			if err := c.CheckSignatureFrom(above); err != nil {
				return fmt.Errorf("certificate %d of the chain was not signed by the next one: %w", i+1, err)
			}
		}
		if err := s.allowsAuthority(c, signer, above != nil || bytes.Equal(c.RawIssuer, c.RawSubject)); err != nil {
			return fmt.Errorf("certificate %d of the chain: %w", i+1, err)
		}
		above = c
	}
	own := above
	now := s.cfg.Clock()
	switch {
	case !equalKeys(own.PublicKey, a.public):
		return errors.New("the first certificate of the chain is not for the authority's key")
	case len(own.SubjectKeyId) == 0 || len(own.RawSubject) <= 2:
		return errors.New("the authority's certificate lacks a subject or a subject key identifier")
	case now.Before(own.NotBefore) || now.After(own.NotAfter):
		return errors.New("the authority's certificate is not valid now")
	}
	return nil
}

// allowsAuthority asks the policy about a certificate of an authority: its key, and the signature on it by a key that is
// known or not.
func (s *Store) allowsAuthority(c *x509.Certificate, signer crypto.PublicKey, known bool) error {
	if !s.policy.Strict() {
		return nil
	}
	if err := allowsPublic(s.policy, fips.Verify, c.PublicKey); err != nil {
		return err
	}
	if !known {
		return allowsSigned(s.policy, fips.Verify, c.SignatureAlgorithm)
	}
	return allowsOwn(s.policy, fips.Verify, c.SignatureAlgorithm, signer)
}

// equalKeys compares two public keys.
func equalKeys(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// storeChain stores the chain and points the authority's keys to it, in one commit.
func (s *Store) storeChain(ctx context.Context, a *authority, chain [][]byte) (err error) {
	call := s.caCall(ofAdministrator("ca import", fact("authority", a.name)))
	defer func() { err = errors.Join(err, call.Tx.Rollback(ctx, 0)) }()
	objs := make([]object, len(chain))
	for i := len(chain) - 1; i >= 0; i-- {
		objs[i] = s.newRecord(call, kmip.ObjectTypeCertificate)
		if i+1 < len(chain) {
			objs[i].link(kmip.LinkTypeCertificateLink, objs[i+1].UID)
		}
		s.place(objs[i])
	}
	var gone []replaced
	for _, uid := range []string{a.priv.UID, object{a.priv}.linked(kmip.LinkTypePublicKeyLink)} {
		rec, err := s.meta.Get(ctx, uid)
		if err != nil {
			return err
		}
		g := replaced{object: object{rec}, before: rec.Clone()}
		g.relink(kmip.LinkTypeCertificateLink, "", objs[0].UID)
		g.changed(call.Now)
		gone = append(gone, g)
	}
	objs[0].link(kmip.LinkTypePublicKeyLink, gone[1].UID)
	err = s.commitNew(ctx, call, kmip.OperationRegister, objs, gone, func(ctx context.Context) error {
		for i, o := range objs {
			if err := s.storeCertificate(ctx, call, o, chain[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return call.Tx.Commit(ctx)
}

// relink points the Link of a type that names old ("" for the first of the type) to another object; without such a Link it
// adds one.
func (o object) relink(t kmip.LinkType, old, uid string) {
	for i := range o.Attributes {
		var l kmip.Link
		if o.Attributes[i].Name == "Link" && l.Decode(o.Attributes[i].Value) == nil && l.LinkType == t &&
			(old == "" || l.LinkedObjectIdentifier == old) {
			o.Attributes[i].Value = structValue(&kmip.Link{LinkType: t, LinkedObjectIdentifier: uid})
			return
		}
	}
	o.link(t, uid)
}
