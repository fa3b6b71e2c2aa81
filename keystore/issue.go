package keystore

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
	"strings"
	"time"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/keystore/keyform"
	"kmipd/kmip"
)

// issue makes and signs a certificate for what is wished, as far as the profile lets it. mask is what the public key may
// do.
func (s *Store) issue(ctx context.Context, pol *fips.Policy, a *authority, p *CertificateProfile, w *wish, mask kmip.CryptographicUsageMask, now time.Time) ([]byte, error) {
	if err := allowsPublic(pol, strictly(pol, fips.Sign), w.key); err != nil {
		return nil, err
	}
	if pol.Limits().Columns && weakerThan(a.public, w.key) {
		return nil, pol.Refuse(kmip.ResultReasonInvalidField, "a key on P-384 is certified by an authority on P-384")
	}
	t := &x509.Certificate{RawSubject: w.subject, BasicConstraintsValid: true, IsCA: p.CA}
	if p.CA {
		t.MaxPathLen, t.MaxPathLenZero = p.PathLength, p.PathLength == 0
	}
	if w.subject == nil {
		t.RawSubject = []byte{0x30, 0} // an empty Name
	}
	if err := p.putDates(t, a, w, now); err != nil {
		return nil, err
	}
	if err := p.putUsages(t, w, mask); err != nil {
		return nil, err
	}
	if err := p.putNames(t, w); err != nil {
		return nil, err
	}
	if base := strings.TrimSuffix(s.cfg.Certify.BaseURL, "/"); base != "" {
		t.IssuingCertificateURL = []string{base + "/" + a.name + ".crt"}
		if a.crl {
			t.CRLDistributionPoints = []string{base + "/" + a.name + ".crl"}
		}
	}
	var err error
	if t.SubjectKeyId, err = keyIdentifier(w.key); err != nil {
		return nil, denied("the public key cannot be certified")
	}
	if t.SerialNumber, err = s.serialNumber(ctx); err != nil {
		return nil, cryptoError(err)
	}
	signer, err := s.signer(ctx, pol, a)
	if err != nil {
		return nil, err
	}
	t.SignatureAlgorithm = signatureAlgorithm(pol, a.public)
	der, err := x509.CreateCertificate(nil, t, a.cert(), w.key, signer)
	if err != nil {
		return nil, cryptoError(err)
	}
	return der, nil
}

// weakerThan tells an elliptic curve key that is shorter than another one (RFC 5759 section 3: a P-384 subject is signed with
// P-384).
func weakerThan(signer, subject crypto.PublicKey) bool {
	a, ok := signer.(*ecdsa.PublicKey)
	b, ok2 := subject.(*ecdsa.PublicKey)
	return ok && ok2 && a.Curve.Params().BitSize < b.Curve.Params().BitSize
}

// putDates sets the validity: from when it is wished, not earlier than the profile's Backdate before now, to when it is
// wished, not longer than the profile's Days, and never outside the authority's own.
func (p *CertificateProfile) putDates(t *x509.Certificate, a *authority, w *wish, now time.Time) error {
	earliest := now.Add(-p.Backdate)
	t.NotBefore = earliest
	if w.notBefore.After(earliest) {
		t.NotBefore = w.notBefore
	}
	if own := a.cert().NotBefore; own.After(t.NotBefore) {
		t.NotBefore = own
	}
	from := now
	if t.NotBefore.After(now) {
		from = t.NotBefore
	}
	t.NotAfter = from.AddDate(0, 0, p.Days)
	for _, end := range []time.Time{w.notAfter, a.cert().NotAfter} {
		if !end.IsZero() && end.Before(t.NotAfter) {
			t.NotAfter = end
		}
	}
	t.NotBefore, t.NotAfter = t.NotBefore.UTC().Truncate(time.Second), t.NotAfter.UTC().Truncate(time.Second)
	if !t.NotAfter.After(t.NotBefore) || !t.NotAfter.After(now) {
		return badField("the certificate would end before it begins, or has ended: give other dates, or an Offset")
	}
	return nil
}

// putUsages sets key usage and extended key usage. A request can ask for less than the public key and the profile allow.
func (p *CertificateProfile) putUsages(t *x509.Certificate, w *wish, mask kmip.CryptographicUsageMask) error {
	_, isRSA := w.key.(*rsa.PublicKey)
	t.KeyUsage = p.keyUsage(mask, !isRSA)
	if w.usage != 0 {
		t.KeyUsage &= w.usage
	}
	if p.CA {
		t.KeyUsage |= x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	}
	if t.KeyUsage == 0 {
		return denied("the public key's usage mask leaves the certificate no key usage")
	}
	t.UnknownExtKeyUsage = p.usages()
	if len(w.extended) == 0 || len(t.UnknownExtKeyUsage) == 0 {
		return nil
	}
	t.UnknownExtKeyUsage = slices.DeleteFunc(t.UnknownExtKeyUsage, func(oid asn1.ObjectIdentifier) bool {
		return !slices.ContainsFunc(w.extended, oid.Equal)
	})
	if len(t.UnknownExtKeyUsage) == 0 {
		return denied("the certificate profile allows no extended key usage of the request")
	}
	return nil
}

// putNames sets the alternative names, critical when there is no other name (RFC 5280 section 4.2.1.6).
func (p *CertificateProfile) putNames(t *x509.Certificate, w *wish) error {
	if w.names == nil {
		if w.subject == nil {
			return badField("the certificate needs a subject or alternative names")
		}
		return nil
	}
	dns, ips, err := splitNames(w.names)
	if err != nil {
		return because(badField("the alternative names are not well formed"), err)
	}
	if err := p.allowsNames(dns, ips); err != nil {
		return err
	}
	t.ExtraExtensions = []pkix.Extension{{Id: oidAlternativeName, Critical: w.subject == nil, Value: w.names}}
	return nil
}

// place gives a certificate its place on the token and its frame.
func (s *Store) place(o object) hsm.Ref {
	empty := kmip.Certificate{CertificateType: kmip.CertificateTypeX509, CertificateValue: []byte{}}
	o.Frame = (&frame{object: withoutMaterial(&empty, kmip.TagCertificate)}).encode()
	return s.handle(o, hsm.ClassCertificate)
}

// storeCertificate puts a certificate on the token, and its attributes on the object, which has its place.
func (s *Store) storeCertificate(ctx context.Context, call *kmip.Call, o object, der []byte) error {
	facts, err := keyform.ParseCertificate(&kmip.Certificate{CertificateType: kmip.CertificateTypeX509, CertificateValue: der})
	if err != nil {
		return err
	}
	if err := o.certified(facts); err != nil {
		return err
	}
	sum := sha256.Sum256(der)
	o.digest(sum[:], kmip.KeyFormatTypeRaw) // as registerCertificate has it
	s.finish(call, o, false)
	r, _ := ref(o.Handle)
	return s.token.StoreCertificate(ctx, r.ID, o.UID, der)
}
