package keystore

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"

	"kmipd/hsm"
	"kmipd/keystore/keyform"
	"kmipd/kmip"
)

// registerCertificate takes in a certificate and reads its attributes from it (KMIP 1.4 sections 2.2.1, 3.8 to 3.16).
func (s *Store) registerCertificate(ctx context.Context, call *kmip.Call, o object, in *intake, cert *kmip.Certificate) error {
	work, err := s.certificateWork(call, o, in, cert)
	if err != nil {
		return err
	}
	return s.commitNew(ctx, call, in.op, []object{o}, in.gone, work)
}

// certificateWork completes the record of a certificate; the function that it returns puts it on the token.
func (s *Store) certificateWork(call *kmip.Call, o object, in *intake, cert *kmip.Certificate) (func(context.Context) error, error) {
	if err := in.set(o); err != nil {
		return nil, err
	}
	facts, err := keyform.ParseCertificate(cert)
	if err != nil {
		return nil, err
	}
	if err := s.allowCertificate(call, o, facts, cert.CertificateValue); err != nil {
		return nil, err
	}
	if err := o.certified(facts); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(cert.CertificateValue)
	if err := in.digest(o, sum[:], kmip.KeyFormatTypeRaw); err != nil { // a certificate has no Key Format Type; TC-CERTATTR-1 says Raw
		return nil, err
	}
	if err := in.finish(s, call, o); err != nil {
		return nil, err
	}
	if err := o.checkDates(); err != nil {
		return nil, err
	}
	empty := kmip.Certificate{CertificateType: facts.Type, CertificateValue: []byte{}}
	f := &frame{object: withoutMaterial(&empty, kmip.TagCertificate)}
	if _, err := x509.ParseCertificate(cert.CertificateValue); err != nil {
		// Tokens want a certificate that they can take apart; an odd one is kept as octets. So is a PGP certificate.
		return s.dataWork(o, f, cert.CertificateValue), nil
	}
	o.Frame = f.encode()
	r := s.handle(o, hsm.ClassCertificate)
	return func(ctx context.Context) error {
		return s.token.StoreCertificate(ctx, r.ID, o.UID, cert.CertificateValue)
	}, nil
}

// certified sets the attributes that a certificate has of itself. What the request says of algorithm and length must
// agree.
func (o object) certified(f *keyform.CertificateFacts) error {
	if a := o.algorithm(); a != 0 && f.Algorithm != 0 && a != f.Algorithm && !(ec(a) && ec(f.Algorithm)) {
		return badField("Cryptographic Algorithm is not that of the certificate's key")
	}
	if n := o.length(); n != 0 && f.Bits != 0 && n != f.Bits {
		return badField("Cryptographic Length is not that of the certificate's key")
	}
	o.put("Certificate Type", enumValue(f.Type))
	o.put("Certificate Length", intValue(int32(f.Length)))
	if f.Algorithm != 0 && o.algorithm() == 0 {
		o.put("Cryptographic Algorithm", enumValue(f.Algorithm))
	}
	if f.Bits != 0 {
		o.put("Cryptographic Length", intValue(int32(f.Bits)))
	}
	if f.SignatureAlgorithm != 0 {
		o.put("Digital Signature Algorithm", enumValue(f.SignatureAlgorithm))
	}
	if o.get("Cryptographic Usage Mask").IsZero() {
		o.put("Cryptographic Usage Mask", intValue(f.UsageMask))
	}
	if f.Type != kmip.CertificateTypeX509 {
		return nil
	}
	o.put("X.509 Certificate Identifier", structValue(&f.X509Identifier))
	o.put("X.509 Certificate Subject", structValue(&f.X509Subject))
	o.put("X.509 Certificate Issuer", structValue(&f.X509Issuer))
	o.put("Certificate Identifier", structValue(&f.Identifier))
	o.put("Certificate Subject", structValue(&f.Subject))
	o.put("Certificate Issuer", structValue(&f.Issuer))
	o.nameParts("Certificate Subject ", f.X509Subject.SubjectDistinguishedName)
	o.nameParts("Certificate Issuer ", f.X509Issuer.IssuerDistinguishedName)
	return nil
}

// nameParts sets the attributes that KMIP 1.4 has for the parts of a distinguished name, given as DER.
func (o object) nameParts(prefix string, der []byte) {
	var rdns pkix.RDNSequence
	if _, err := asn1.Unmarshal(der, &rdns); err != nil {
		return // the name was parsed once by keyform; what Go cannot read has no parts to show
	}
	for _, rdn := range rdns {
		for _, part := range rdn {
			value, ok := part.Value.(string)
			if suffix := namePart[part.Type.String()]; ok && suffix != "" {
				o.add(prefix+suffix, textValue(value))
			}
		}
	}
}

func ec(a kmip.CryptographicAlgorithm) bool {
	switch a {
	case kmip.CryptographicAlgorithmEC, kmip.CryptographicAlgorithmECDSA, kmip.CryptographicAlgorithmECDH:
		return true
	}
	return false
}
