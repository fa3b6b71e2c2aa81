package keystore

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"time"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/keystore/keyform"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// Certify makes a certificate for a public key (KMIP 1.4 section 4.7): by a certificate request, or by the attributes of
// the request. A call without target has a certificate request, whose key it registers, too: "this request supports the
// certification of a new public key", and the certificate needs a Public Key to link to.
func (s *Store) Certify(ctx context.Context, call *kmip.Call, req *kmip.CertifyRequest) (*kmip.CertifyResponse, error) {
	w, err := certificateRequest(s.policyOf(call), req.CertificateRequestType, req.CertificateRequest)
	if err != nil {
		return nil, err
	}
	levels, err := s.levels(ctx, call, req.TemplateAttribute, false)
	if err != nil {
		return nil, err
	}
	o := s.newRecord(call, kmip.ObjectTypeCertificate)
	if err := o.apply(levels); err != nil {
		return nil, err
	}
	n := issuing{op: kmip.OperationCertify, cert: o, levels: levels, wish: w}
	if call.Target == "" {
		err = s.certifyNew(call, &n)
	} else {
		err = s.certifyStored(ctx, call, &n)
	}
	if err != nil {
		return nil, err
	}
	if err := s.certify(ctx, call, &n); err != nil {
		return nil, err
	}
	return &kmip.CertifyResponse{UniqueIdentifier: o.UID}, nil
}

// issuing is a certificate on its way.
type issuing struct {
	op      kmip.Operation
	cert    object
	levels  []level
	wish    *wish
	mask    kmip.CryptographicUsageMask // what the public key may do
	profile string                      // of the certificate that this one renews
	gone    []replaced
	// also are objects that are made with it, and makeKey puts them on the token; nil for none.
	also    []object
	makeKey func(context.Context) error
}

// certifyStored links the certificate and the Public Key that the call is about.
func (s *Store) certifyStored(ctx context.Context, call *kmip.Call, n *issuing) error {
	pub, err := txOf(call).change(ctx, call)
	if err != nil {
		return err
	}
	key, err := s.certifiable(ctx, call, pub)
	if err != nil {
		return err
	}
	if n.wish == nil {
		if n.wish, err = wishOf(n.levels, key, n.cert, pub); err != nil {
			return err
		}
	} else if !equalKeys(n.wish.key, key) {
		return notSigned("its public key is another one", nil)
	}
	g := replaced{object: pub, before: pub.Clone()}
	n.cert.link(kmip.LinkTypePublicKeyLink, pub.UID)
	pub.link(kmip.LinkTypeCertificateLink, n.cert.UID)
	pub.changed(call.Now)
	n.mask, n.gone = pub.usage(), []replaced{g}
	return nil
}

// certify issues the certificate of a new object and commits it with the objects that change with it.
func (s *Store) certify(ctx context.Context, call *kmip.Call, n *issuing) error {
	p, err := s.profile(call, n.levels, n.profile)
	if err != nil {
		return err
	}
	a, err := s.issuer(ctx, p, call.Now)
	if err != nil {
		return err
	}
	o, w := n.cert, n.wish
	if err := s.allowObject(call, fips.Generate, o); err != nil {
		return err
	}
	if err := o.checkDates(); err != nil {
		return err
	}
	// The dates of the object are those of the certificate, unless the certificate request has its own.
	if w.notBefore.IsZero() {
		w.notBefore = o.date("Activation Date")
	}
	if w.notAfter.IsZero() {
		w.notAfter = o.date("Deactivation Date")
	}
	der, err := s.issue(ctx, s.policyOf(call), a, p, w, n.mask, call.Now)
	if err != nil {
		return err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	o.put(attrAuthority, textValue(a.name))
	o.put(attrProfile, textValue(p.Name))
	if p.SetDates {
		o.setDates(cert)
	}
	s.place(o)
	objs := append([]object{o}, n.also...)
	return s.commitNew(ctx, call, n.op, append(objs, s.newEntry(a, cert, o)), n.gone, func(ctx context.Context) error {
		if n.makeKey != nil {
			if err := n.makeKey(ctx); err != nil {
				return err
			}
		}
		return s.storeCertificate(ctx, call, o, der)
	})
}

// setDates gives the object the dates of its certificate where it has none.
func (o object) setDates(c *x509.Certificate) {
	for _, d := range []struct {
		name string
		at   time.Time
	}{{"Activation Date", c.NotBefore}, {"Deactivation Date", c.NotAfter}} {
		if o.get(d.name).IsZero() {
			o.put(d.name, timeValue(d.at))
		}
	}
}

// certifiable is the public key of an object that can be certified (KMIP 1.4 section 11.8: else Permission Denied).
func (s *Store) certifiable(ctx context.Context, call *kmip.Call, pub object) (crypto.PublicKey, error) {
	switch {
	case pub.archived():
		return nil, isArchived()
	case pub.ObjectType != kmip.ObjectTypePublicKey:
		return nil, denied("a %s cannot be certified", pub.ObjectType)
	}
	switch st := pub.state(call.Now); st {
	case kmip.StatePreActive, kmip.StateActive:
	default:
		return nil, denied("the public key is %s", st)
	}
	r, _ := ref(pub.Handle)
	if r.Class != hsm.ClassPublicKey {
		return nil, denied("the public key's value is not on the token")
	}
	spki, err := s.token.PublicKey(ctx, r)
	if err != nil {
		return nil, cryptoError(err)
	}
	key, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil, denied("a public key of this kind cannot be certified")
	}
	return key, nil
}

// certifyNew makes a Public Key object of the key of a certificate request, in the same commit as the certificate.
func (s *Store) certifyNew(call *kmip.Call, n *issuing) error {
	w := n.wish
	if w == nil {
		return kmip.Errorf(kmip.ResultReasonItemNotFound, "neither a Unique Identifier nor a Certificate Request is given")
	}
	spki, err := x509.MarshalPKIXPublicKey(w.key)
	if err != nil {
		return because(denied("a public key of this kind cannot be certified"), err)
	}
	n.mask = kmip.CryptographicUsageMaskVerify | maskOf(w.usage)
	pub := s.newRecord(call, kmip.ObjectTypePublicKey)
	pub.put("Cryptographic Usage Mask", intValue(n.mask))
	material := ttlv.Make(ttlv.AppendBytes(nil, kmip.TagKeyMaterial, spki))
	k, err := keyform.Parse(kmip.ObjectTypePublicKey, &kmip.KeyBlock{KeyFormatType: kmip.KeyFormatTypeX509,
		KeyValue: ttlv.Make((&kmip.KeyValue{KeyMaterial: material}).Append(nil, kmip.TagKeyValue, kmip.V1_4))}, keyform.Given{})
	if err != nil {
		return err
	}
	if n.makeKey, err = s.plainKey(call, pub, &intake{op: n.op}, k, &frame{}); err != nil {
		return err
	}
	n.cert.link(kmip.LinkTypePublicKeyLink, pub.UID)
	pub.link(kmip.LinkTypeCertificateLink, n.cert.UID)
	n.also = []object{pub}
	return nil
}

// maskOf is what a keyUsage allows a public key besides verifying.
func maskOf(u x509.KeyUsage) (mask kmip.CryptographicUsageMask) {
	for usage, m := range map[x509.KeyUsage]kmip.CryptographicUsageMask{
		x509.KeyUsageContentCommitment: kmip.CryptographicUsageMaskContentCommitment,
		x509.KeyUsageKeyEncipherment:   kmip.CryptographicUsageMaskWrapKey,
		x509.KeyUsageDataEncipherment:  kmip.CryptographicUsageMaskEncrypt,
		x509.KeyUsageKeyAgreement:      kmip.CryptographicUsageMaskKeyAgreement,
	} {
		if u&usage != 0 {
			mask |= m
		}
	}
	return mask
}

// wishOf is what the attributes of a request without certificate request ask for. It must then say that an X.509
// certificate is wanted.
func wishOf(levels []level, key crypto.PublicKey, o, pub object) (*wish, error) {
	v := attributeIn(levels, "Certificate Type")
	switch {
	case v.IsZero():
		return nil, badField("Certify needs a Certificate Request or a Certificate Type")
	case v.Type != ttlv.Enumeration || kmip.CertificateType(v.Enum()) != kmip.CertificateTypeX509:
		return nil, badField("Certify makes certificates of Certificate Type X.509")
	}
	w := &wish{key: key}
	if err := w.subjectOf(levels); err != nil {
		return nil, err
	}
	if w.subject == nil && w.names == nil {
		return w, w.named(o, pub)
	}
	return w, nil
}

// ReCertify makes a new certificate for the key pair of a certificate, which it takes the place of (KMIP 1.4 section 4.8).
func (s *Store) ReCertify(ctx context.Context, call *kmip.Call, req *kmip.ReCertifyRequest) (*kmip.ReCertifyResponse, error) {
	w, err := certificateRequest(s.policyOf(call), req.CertificateRequestType, req.CertificateRequest)
	if err != nil {
		return nil, err
	}
	levels, err := s.levels(ctx, call, req.TemplateAttribute, false)
	if err != nil {
		return nil, err
	}
	old, err := txOf(call).change(ctx, call)
	if err != nil {
		return nil, err
	}
	cert, err := s.renewable(ctx, call, old)
	if err != nil {
		return nil, err
	}
	if w == nil {
		w, err = renewal(levels, cert)
	} else if !equalKeys(w.key, cert.PublicKey) {
		err = notSigned("its public key is not that of the certificate", nil)
	}
	if err != nil {
		return nil, err
	}
	pub, mask, err := s.keyOf(ctx, call, old, cert)
	if err != nil {
		return nil, err
	}
	o, gone, err := s.replacement(call, old, levels, req.Offset)
	if err != nil {
		return nil, err
	}
	n := issuing{op: kmip.OperationReCertify, cert: o, levels: levels, wish: w, mask: mask, gone: []replaced{gone}}
	if pub.Record != nil {
		g := replaced{object: pub, before: pub.Clone()}
		o.link(kmip.LinkTypePublicKeyLink, pub.UID)
		pub.relink(kmip.LinkTypeCertificateLink, old.UID, o.UID)
		pub.changed(call.Now)
		n.gone = append(n.gone, g)
	}
	if v := old.get(attrProfile); v.Type == ttlv.TextString {
		n.profile = v.Text()
	}
	if err := s.certify(ctx, call, &n); err != nil {
		return nil, err
	}
	return &kmip.ReCertifyResponse{UniqueIdentifier: o.UID}, nil
}

// renewable is the certificate of an object that Re-certify can renew (KMIP 1.4 section 11.9: else Permission Denied). One
// whose key is compromised must not get another.
func (s *Store) renewable(ctx context.Context, call *kmip.Call, old object) (*x509.Certificate, error) {
	if old.ObjectType != kmip.ObjectTypeCertificate {
		return nil, denied("a %s cannot be re-certified", old.ObjectType)
	}
	if err := old.replaceable(); err != nil {
		return nil, err
	}
	if st := old.state(call.Now); st == kmip.StateCompromised {
		return nil, denied("the certificate is %s", st)
	}
	r, _ := ref(old.Handle)
	if r.Class != hsm.ClassCertificate {
		return nil, denied("a certificate of this kind cannot be re-certified")
	}
	der, err := s.token.Export(ctx, r, 0)
	if err != nil {
		return nil, cryptoError(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, because(denied("a certificate of this kind cannot be re-certified"), err)
	}
	return cert, nil
}

// renewal is what a certificate asks for when it is renewed without certificate request: the same again, but for a subject
// that the request's attributes name.
func renewal(levels []level, cert *x509.Certificate) (*wish, error) {
	if v := attributeIn(levels, "Certificate Type"); !v.IsZero() && (v.Type != ttlv.Enumeration || kmip.CertificateType(v.Enum()) != kmip.CertificateTypeX509) {
		return nil, badField("Re-certify makes certificates of Certificate Type X.509")
	}
	w := &wish{key: cert.PublicKey}
	var kept []pkix.Extension
	for _, e := range cert.Extensions {
		if !e.Id.Equal(oidKeyUsage) { // follows from the usage mask
			kept = append(kept, e)
		}
	}
	if err := w.take(kept); err != nil {
		return nil, err
	}
	if !bytes.Equal(cert.RawSubject, []byte{0x30, 0}) {
		w.subject = cert.RawSubject
	}
	return w, w.subjectOf(levels)
}

// keyOf locks the Public Key that a certificate is linked to and tells what it may do; without such an object, what the
// certificate says that it may do.
func (s *Store) keyOf(ctx context.Context, call *kmip.Call, old object, cert *x509.Certificate) (object, kmip.CryptographicUsageMask, error) {
	none := object{}
	if uid := old.linked(kmip.LinkTypePublicKeyLink); uid != "" {
		other := *call
		other.Target = uid
		pub, err := txOf(call).change(ctx, &other)
		if err != nil && kmip.ReasonOf(err) != kmip.ResultReasonItemNotFound {
			return none, 0, err
		}
		if err == nil && pub.live() && pub.ObjectType == kmip.ObjectTypePublicKey {
			if !pub.get("Compromise Date").IsZero() {
				return none, 0, denied("the public key is compromised")
			}
			return pub, pub.usage(), nil
		}
	}
	return none, kmip.CryptographicUsageMaskVerify | maskOf(cert.KeyUsage), nil
}
