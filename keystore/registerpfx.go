package keystore

import (
	"context"
	"crypto/x509"

	"kmipd/keystore/keyform"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
	"kmipd/metadata"
)

// registerPKCS12 takes in a private key in a PKCS#12 container, which the password of the PKCS#12 Password Link opens
// (KMIP 1.4 sections 3.45, 4.3, 11.4). The token holds the key, not the container: Get makes a new one.
//
// The certificate chain comes along as objects of its own, and the public key that 4.11 wants between key and chain,
// with the links of section 3.35; all or nothing. A client that links the key to a public key or certificate itself keeps
// the chain by itself, and so does one that imports objects with their links.
func (s *Store) registerPKCS12(ctx context.Context, call *kmip.Call, o object, in *intake, kb *kmip.KeyBlock, f *frame) error {
	if o.ObjectType != kmip.ObjectTypePrivateKey {
		return kmip.Errorf(kmip.ResultReasonKeyFormatTypeNotSupported, "Key Format Type PKCS#12 is for private keys")
	}
	p, err := s.openContainer(ctx, call, o, kb)
	if err != nil {
		return toKMIP(err)
	}
	if p.name != "" && o.get("PKCS#12 Friendly Name").IsZero() {
		o.put("PKCS#12 Friendly Name", textValue(p.name))
	}
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		return kmip.Errorf(kmip.ResultReasonKeyFormatTypeNotSupported, "the private key in the PKCS#12 container is not supported").Because(err)
	}
	inner := kmip.KeyBlock{KeyFormatType: kmip.KeyFormatTypePKCS8, KeyValue: structured(der),
		CryptographicAlgorithm: kb.CryptographicAlgorithm, CryptographicLength: kb.CryptographicLength}
	clear(der)
	defer keyform.Wipe(&inner)
	k, err := keyform.Parse(o.ObjectType, &inner, o.given())
	if err != nil {
		return err
	}
	defer k.Wipe()
	f.container = true
	work, err := s.plainKey(call, o, in, k, f)
	if err != nil {
		return err
	}
	objs, all := []object{o}, []func(context.Context) error{work}
	if !in.importing() && o.linked(kmip.LinkTypePublicKeyLink) == "" && o.linked(kmip.LinkTypePKCS12CertificateLink) == "" {
		along, works, err := s.chainAlong(call, o, p)
		if err != nil {
			return err
		}
		objs, all = append(objs, along...), append(all, works...)
	}
	return s.commitNew(ctx, call, in.op, objs, in.gone, func(ctx context.Context) error {
		for _, work := range all {
			if err := work(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// openContainer opens the Key Material of a request.
func (s *Store) openContainer(ctx context.Context, call *kmip.Call, o object, kb *kmip.KeyBlock) (*pfx, error) {
	v := kb.KeyValue
	if v.Type == ttlv.Structure {
		v = v.Find(kmip.TagKeyMaterial)
	}
	if v.Type != ttlv.ByteString || len(v.Value) == 0 {
		return nil, badField("Key Material of Key Format Type PKCS#12 must be a Byte String that is not empty")
	}
	if pol := s.policyOf(call); pol.Strict() && weakPFX(v.Value) {
		return nil, pol.Refuse(kmip.ResultReasonInvalidField, "a PKCS#12 container must be encrypted with AES, as PBES2 of PKCS#5 has it")
	}
	password, err := s.pkcs12Password(ctx, call, o)
	if kmip.ReasonOf(err) == kmip.ResultReasonItemNotFound {
		return nil, badField("the PKCS#12 Password Link does not name Secret Data")
	} else if err != nil {
		return nil, err
	}
	defer password.Wipe()
	name := ""
	if v := o.get("PKCS#12 Friendly Name"); !v.IsZero() {
		name = v.Text()
	}
	return openPFX(ctx, v.Value, string(password), name)
}

// chainAlong makes the objects that come with a key out of a container: public key and certificates, linked to each other
// and to the key. They share the key's dates and have no Name.
func (s *Store) chainAlong(call *kmip.Call, o object, p *pfx) ([]object, []func(context.Context) error, error) {
	dates := level{shared: true}
	for _, a := range o.Attributes {
		if a.Name == "Activation Date" || a.Name == "Deactivation Date" {
			dates.attrs = append(dates.attrs, metadata.Attribute{Name: a.Name, Value: a.Value.Clone()})
		}
	}
	pub, work, err := s.publicAlong(call, o, p, dates)
	if err != nil {
		return nil, nil, err
	}
	objs, works := []object{pub}, []func(context.Context) error{work}
	for _, cert := range p.chain {
		c := s.newRecord(call, kmip.ObjectTypeCertificate)
		in := &intake{op: kmip.OperationRegister, levels: []level{dates}}
		work, err := s.certificateWork(call, c, in, &kmip.Certificate{CertificateType: kmip.CertificateTypeX509, CertificateValue: cert.Raw})
		if err != nil {
			return nil, nil, err
		}
		if last := objs[len(objs)-1]; last.ObjectType == kmip.ObjectTypeCertificate {
			last.link(kmip.LinkTypeCertificateLink, c.UID)
		}
		objs, works = append(objs, c), append(works, work)
	}
	leaf := objs[1]
	o.link(kmip.LinkTypePublicKeyLink, pub.UID)
	o.link(kmip.LinkTypePKCS12CertificateLink, leaf.UID)
	pub.link(kmip.LinkTypePrivateKeyLink, o.UID)
	pub.link(kmip.LinkTypeCertificateLink, leaf.UID)
	leaf.link(kmip.LinkTypePublicKeyLink, pub.UID)
	return objs, works, nil
}

func (s *Store) publicAlong(call *kmip.Call, o object, p *pfx, dates level) (object, func(context.Context) error, error) {
	pub := s.newRecord(call, kmip.ObjectTypePublicKey)
	der, err := x509.MarshalPKIXPublicKey(p.key.Public())
	if err != nil {
		return pub, nil, kmip.Errorf(kmip.ResultReasonKeyFormatTypeNotSupported, "the public key in the PKCS#12 container is not supported").Because(err)
	}
	mask := level{attrs: []metadata.Attribute{{Name: "Cryptographic Usage Mask", Value: intValue(counterpart(o.usage()))}}}
	in := &intake{op: kmip.OperationRegister, levels: []level{mask, dates}}
	if err := in.set(pub); err != nil {
		return pub, nil, err
	}
	kb := kmip.KeyBlock{KeyFormatType: kmip.KeyFormatTypeX509, KeyValue: structured(der), CryptographicAlgorithm: o.algorithm()}
	k, err := keyform.Parse(pub.ObjectType, &kb, pub.given())
	if err != nil {
		return pub, nil, err
	}
	work, err := s.plainKey(call, pub, in, k, &frame{})
	return pub, work, err
}

// counterpart is the usage of a public key whose private key has the given one.
func counterpart(private kmip.CryptographicUsageMask) kmip.CryptographicUsageMask {
	var public kmip.CryptographicUsageMask
	for _, m := range []struct{ private, public kmip.CryptographicUsageMask }{
		{kmip.CryptographicUsageMaskSign, kmip.CryptographicUsageMaskVerify},
		{kmip.CryptographicUsageMaskDecrypt, kmip.CryptographicUsageMaskEncrypt},
		{kmip.CryptographicUsageMaskUnwrapKey, kmip.CryptographicUsageMaskWrapKey},
		{kmip.CryptographicUsageMaskKeyAgreement, kmip.CryptographicUsageMaskKeyAgreement},
	} {
		if private&m.private != 0 {
			public |= m.public
		}
	}
	return public
}
