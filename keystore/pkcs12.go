package keystore

import (
	"context"
	"crypto/x509"

	"software.sslmate.com/src/go-pkcs12"

	"kmipd/hsm"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// maxChain bounds the certificates of a chain.
const maxChain = 16

// pkcs12Block is a private key with its certificate chain as PKCS#12, under the password of the Secret Data that the
// key's PKCS#12 Password Link names (KMIP 1.4 sections 3.35, 4.11).
func (s *Store) pkcs12Block(ctx context.Context, call *kmip.Call, o object) (*kmip.KeyBlock, error) {
	if o.ObjectType != kmip.ObjectTypePrivateKey || o.Handle.Class != uint8(hsm.ClassPrivateKey) {
		return nil, kmip.Errorf(kmip.ResultReasonKeyFormatTypeNotSupported, "Key Format Type PKCS#12 is for private keys")
	}
	password, err := s.pkcs12Password(ctx, call, o)
	if err != nil {
		return nil, err
	}
	defer password.Wipe()
	chain, err := s.chain(ctx, call, o)
	if err != nil {
		return nil, err
	}
	r, _ := ref(o.Handle)
	der, err := s.token.Export(ctx, r, 0)
	if err != nil {
		return nil, toKMIP(err)
	}
	defer der.Wipe()
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, kmip.Errorf(kmip.ResultReasonKeyFormatTypeNotSupported, "the key cannot be put into PKCS#12").Because(err)
	}
	pfx, err := pkcs12.Modern.Encode(key, chain[0], chain[1:], string(password))
	if err != nil {
		return nil, kmip.Errorf(kmip.ResultReasonKeyFormatTypeNotSupported, "the key cannot be put into PKCS#12").Because(err)
	}
	name := "alias" // what KMIP 1.4 section 3.45 has for keys without a name
	if v := o.get("PKCS#12 Friendly Name"); !v.IsZero() {
		name = v.Text()
	}
	if pfx, err = namePFX(pfx, string(password), name); err != nil {
		return nil, kmip.Errorf(kmip.ResultReasonGeneralFailure, "the PKCS#12 container could not be made").Because(err)
	}
	return &kmip.KeyBlock{KeyFormatType: kmip.KeyFormatTypePKCS12,
		KeyValue: ttlv.Make(ttlv.AppendBytes(nil, kmip.TagKeyValue, pfx))}, nil
}

// pkcs12Password reads the password: exactly one link must name a Secret Data of type Password.
func (s *Store) pkcs12Password(ctx context.Context, call *kmip.Call, o object) (hsm.Material, error) {
	uids := o.links(kmip.LinkTypePKCS12PasswordLink)
	if len(uids) != 1 {
		return nil, badField("PKCS#12 needs exactly one PKCS#12 Password Link")
	}
	secret, err := s.byUID(ctx, call, uids[0], "the PKCS#12 password")
	if err != nil {
		return nil, err
	}
	if secret.ObjectType != kmip.ObjectTypeSecretData || !secret.live() {
		return nil, badField("the PKCS#12 Password Link does not name Secret Data")
	}
	f, err := secret.frame()
	if err != nil {
		return nil, err
	}
	var sd kmip.SecretData
	if err := sd.Decode(f.object); err != nil || sd.SecretDataType != kmip.SecretDataTypePassword {
		return nil, badField("the PKCS#12 Password Link does not name a Password")
	}
	r, on := ref(secret.Handle)
	if !on {
		return nil, kmip.Errorf(kmip.ResultReasonKeyValueNotPresent, "the PKCS#12 password is not on this server")
	}
	if err := s.undrifted(ctx, secret); err != nil {
		return nil, err
	}
	value, err := s.token.Export(ctx, r, secret.ValueBits)
	return value, toKMIP(err)
}

// chain follows the links from the key to its certificate and on to its issuers.
func (s *Store) chain(ctx context.Context, call *kmip.Call, o object) ([]*x509.Certificate, error) {
	next := o.linked(kmip.LinkTypePKCS12CertificateLink)
	if next == "" {
		if uid := o.linked(kmip.LinkTypePublicKeyLink); uid != "" {
			pub, err := s.byUID(ctx, call, uid, "the public key")
			if err != nil {
				return nil, err
			}
			next = pub.linked(kmip.LinkTypeCertificateLink)
		}
	}
	var out []*x509.Certificate
	seen := map[string]bool{}
	for next != "" && !seen[next] && len(out) < maxChain {
		seen[next] = true
		c, err := s.byUID(ctx, call, next, "a certificate of the chain")
		if err != nil {
			return nil, err
		}
		r, on := ref(c.Handle)
		if c.ObjectType != kmip.ObjectTypeCertificate || !on || !c.live() {
			return nil, badField("a link of the certificate chain names no certificate")
		}
		der, err := s.token.Export(ctx, r, 0)
		if err != nil {
			return nil, toKMIP(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, kmip.Errorf(kmip.ResultReasonKeyFormatTypeNotSupported, "a certificate of the chain cannot be put into PKCS#12").Because(err)
		}
		out = append(out, cert)
		if next = c.linked(kmip.LinkTypePKCS12CertificateLink); next == "" {
			next = c.linked(kmip.LinkTypeCertificateLink)
		}
	}
	if len(out) == 0 {
		return nil, badField("PKCS#12 needs a link to the key's certificate")
	}
	return out, nil
}
