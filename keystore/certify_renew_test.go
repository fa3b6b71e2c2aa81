package keystore

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"slices"
	"testing"
	"time"

	"kmipd/kmip"
)

func TestReCertify(t *testing.T) {
	b := newBench(t)
	ca := b.root("main")
	c := b.client("alice")
	key := newECKey(t)
	pub := c.must(c.register(publicKey(t, key)))
	req := csr(t, key, func(r *x509.CertificateRequest) { r.DNSNames = []string{"h.example.com"} })
	first := c.must(c.certify(pub, pkcs10(req, named("cert"), at("x-note", textValue("kept")))))
	b.advance(24 * time.Hour)
	second := c.must(c.recertify(first, &kmip.ReCertifyRequest{TemplateAttribute: with(named("cert2"))}))
	was, is := c.x509(first), c.x509(second)
	if err := is.CheckSignatureFrom(ca); err != nil {
		t.Error(err)
	}
	switch {
	case is.SerialNumber.Cmp(was.SerialNumber) == 0:
		t.Error("the serial number is the old one")
	case string(is.RawSubject) != string(was.RawSubject) || !slices.Equal(is.DNSNames, was.DNSNames) || !equalKeys(is.PublicKey, was.PublicKey):
		t.Error("subject, names or key are not the old ones")
	case !is.NotAfter.Equal(was.NotAfter.Add(24 * time.Hour)):
		t.Errorf("ends %s, the old one %s", is.NotAfter, was.NotAfter)
	}
	c.wantLink(first, kmip.LinkTypeReplacementObjectLink, second)
	c.wantLink(second, kmip.LinkTypeReplacedObjectLink, first)
	c.wantLink(second, kmip.LinkTypePublicKeyLink, pub)
	if got := c.linksOf(pub); len(got) != 1 || got[0] != (kmip.Link{LinkType: kmip.LinkTypeCertificateLink, LinkedObjectIdentifier: second}) {
		t.Errorf("links of the public key: got %v, want the new certificate alone", got)
	}
	if got := c.find(named("cert")); !slices.Equal(got, []string{second}) {
		t.Errorf("the Name finds %v, want %s", got, second)
	}
	if got := c.record(first).Names(); len(got) != 0 {
		t.Errorf("the old certificate still has the Names %v", got)
	}
	if got := c.record(second).Names(); !slices.Equal(got, []string{"cert", "cert2"}) {
		t.Errorf("the new certificate has the Names %v", got)
	}
	if got := c.value(second, "x-note"); got.IsZero() || got.Text() != "kept" {
		t.Error("a custom attribute did not move")
	}
	_, err := c.recertify(first, &kmip.ReCertifyRequest{})
	wantReason(t, "a second time", err, kmip.ResultReasonPermissionDenied)
	third := c.must(c.recertify(second, &kmip.ReCertifyRequest{CertificateRequestType: kmip.CertificateRequestTypePKCS10,
		CertificateRequest: csr(t, key, func(r *x509.CertificateRequest) { r.Subject = pkix.Name{CommonName: "Moved"} })}))
	if got := c.x509(third).Subject.String(); got != "CN=Moved" {
		t.Errorf("subject: got %s, want that of the certificate request", got)
	}
	b.wantClean()
}

// Dates of a renewed certificate by KMIP 1.4 Table 186.
func TestReCertifyDates(t *testing.T) {
	activation, deactivation := epoch.Add(time.Hour), epoch.Add(48*time.Hour)
	dates := []kmip.Attribute{at("Activation Date", timeValue(activation)), at("Deactivation Date", timeValue(deactivation))}
	offset := uint32(7200)
	for _, tc := range []struct {
		name       string
		old        []kmip.Attribute
		req        kmip.ReCertifyRequest
		reason     kmip.ResultReason
		from, to   time.Time // of the certificate
		activation time.Time // of the object
	}{
		{"copied", dates, kmip.ReCertifyRequest{}, 0, activation, deactivation, activation},
		{"offset", dates, kmip.ReCertifyRequest{Offset: &offset}, 0, epoch.Add(2 * time.Hour), deactivation.Add(time.Hour), epoch.Add(2 * time.Hour)},
		{"offset without dates", nil, kmip.ReCertifyRequest{Offset: &offset}, 0, epoch.Add(2 * time.Hour), epoch.Add(2*time.Hour).AddDate(0, 0, 397), epoch.Add(2 * time.Hour)},
		{"from the request", dates, kmip.ReCertifyRequest{TemplateAttribute: with(at("Deactivation Date", timeValue(epoch.Add(72*time.Hour))))}, 0,
			activation, epoch.Add(72 * time.Hour), activation},
		{"offset and Activation Date", dates, kmip.ReCertifyRequest{Offset: &offset, TemplateAttribute: with(dates[0])}, kmip.ResultReasonInvalidMessage, epoch, epoch, epoch},
		{"offset and Deactivation Date", nil, kmip.ReCertifyRequest{Offset: &offset, TemplateAttribute: with(dates[1])}, kmip.ResultReasonInvalidMessage, epoch, epoch, epoch},
		{"offset without Activation Date", dates[1:], kmip.ReCertifyRequest{Offset: &offset}, kmip.ResultReasonIllegalOperation, epoch, epoch, epoch},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t)
			b.root("main")
			c := b.client("alice")
			first := c.must(c.certify("", pkcs10(csr(t, newECKey(t)), tc.old...)))
			second, err := c.recertify(first, &tc.req)
			wantReason(t, "Re-certify", err, tc.reason)
			if err != nil {
				return
			}
			if got := c.x509(second); !got.NotBefore.Equal(tc.from) || !got.NotAfter.Equal(tc.to) {
				t.Errorf("got validity %s to %s, want %s to %s", got.NotBefore, got.NotAfter, tc.from, tc.to)
			}
			if got := c.value(second, "Activation Date"); got.IsZero() || !got.Time().Equal(tc.activation) {
				t.Errorf("Activation Date: got %v, want %s", got, tc.activation)
			}
			b.wantClean()
		})
	}
}

func TestReCertifyErrors(t *testing.T) {
	b := newBench(t)
	b.root("main")
	c := b.client("alice")
	key := newECKey(t)
	good := csr(t, key)
	fresh := func() string { return c.must(c.certify("", pkcs10(good))) }
	cert, gone, compromised, archived := fresh(), fresh(), fresh(), fresh()
	c.ok(c.destroy(gone))
	c.ok(c.revoke(compromised, kmip.RevocationReasonCodeKeyCompromise))
	_, err := do(c, kmip.OperationArchive, archived, c.s.Archive, &kmip.ArchiveRequest{})
	c.ok(err)
	lost := fresh()
	c.ok(c.revoke(c.linksOf(lost)[0].LinkedObjectIdentifier, kmip.RevocationReasonCodeKeyCompromise))
	pgp := certificate([]byte("a PGP certificate"))
	pgp.Certificate.CertificateType = kmip.CertificateTypePGP
	of := func(t kmip.CertificateRequestType, der []byte) *kmip.ReCertifyRequest {
		return &kmip.ReCertifyRequest{CertificateRequestType: t, CertificateRequest: der}
	}
	forged := slices.Clone(good)
	forged[len(forged)-1] ^= 1
	for _, tc := range []struct {
		name, target string
		req          *kmip.ReCertifyRequest
		reason       kmip.ResultReason
	}{
		{"unknown", "nobody", &kmip.ReCertifyRequest{}, kmip.ResultReasonItemNotFound},
		{"a key", c.aes(), &kmip.ReCertifyRequest{}, kmip.ResultReasonPermissionDenied},
		{"destroyed", gone, &kmip.ReCertifyRequest{}, kmip.ResultReasonPermissionDenied},
		{"compromised", compromised, &kmip.ReCertifyRequest{}, kmip.ResultReasonPermissionDenied},
		{"key compromised", lost, &kmip.ReCertifyRequest{}, kmip.ResultReasonPermissionDenied},
		{"archived", archived, &kmip.ReCertifyRequest{}, kmip.ResultReasonObjectArchived},
		{"PGP", c.must(c.register(pgp)), &kmip.ReCertifyRequest{}, kmip.ResultReasonPermissionDenied},
		{"forged", cert, of(kmip.CertificateRequestTypePKCS10, forged), kmip.ResultReasonInvalidField},
		{"of another key", cert, of(kmip.CertificateRequestTypePKCS10, csr(t, newECKey(t))), kmip.ResultReasonInvalidField},
		{"PEM", cert, of(kmip.CertificateRequestTypePEM, good), kmip.ResultReasonInvalidField},
		{"no type", cert, of(0, good), kmip.ResultReasonInvalidMessage},
		{"PGP wanted", cert, &kmip.ReCertifyRequest{TemplateAttribute: with(at("Certificate Type", enumValue(kmip.CertificateTypePGP)))}, kmip.ResultReasonInvalidField},
		{"no Application Data", cert, &kmip.ReCertifyRequest{TemplateAttribute: with(at("Application Specific Information",
			structValue(&kmip.ApplicationSpecificInformation{ApplicationNamespace: "ns"})))}, kmip.ResultReasonApplicationNamespaceNotSupported},
	} {
		t.Run(tc.name, func(t *testing.T) {
			objects := b.fake.Len()
			_, err := c.recertify(tc.target, tc.req)
			wantReason(t, "Re-certify", err, tc.reason)
			if n := b.fake.Len(); n != objects {
				t.Errorf("%d token objects are left behind", n-objects)
			}
		})
	}
	c.must(c.recertify(cert, &kmip.ReCertifyRequest{}))
	b.wantClean()
}

// A certificate of another authority can be renewed by this server's.
func TestReCertifyForeign(t *testing.T) {
	b := newBench(t)
	ca := b.root("main")
	c := b.client("alice")
	old := makeCert(t, pkix.Name{CommonName: "foreign"}, nil)
	uid := c.must(c.recertify(c.must(c.register(certificate(old.Raw))), &kmip.ReCertifyRequest{}))
	got := c.x509(uid)
	if err := got.CheckSignatureFrom(ca); err != nil {
		t.Error(err)
	}
	if got.Subject.CommonName != "foreign" || got.IsCA {
		t.Errorf("got subject %s, authority %t", got.Subject, got.IsCA)
	}
	if !slices.ContainsFunc(c.linksOf(uid), func(l kmip.Link) bool { return l.LinkType == kmip.LinkTypeReplacedObjectLink }) {
		t.Error("the link to the replaced certificate is missing")
	}
}

// An Undo batch takes everything of a renewal back.
func TestReCertifyUndo(t *testing.T) {
	b := newBench(t)
	b.root("main")
	c := b.client("alice")
	first := c.must(c.certify("", pkcs10(csr(t, newECKey(t)), named("cert"))))
	pub := c.linksOf(first)[0].LinkedObjectIdentifier
	tx := b.s.Begin(true)
	resp, err := item(t.Context(), c, tx, kmip.OperationReCertify, first, b.s.ReCertify, &kmip.ReCertifyRequest{})
	c.ok(err)
	c.ok(tx.Rollback(t.Context(), 0))
	if _, err := c.attributes(resp.UniqueIdentifier); kmip.ReasonOf(err) != kmip.ResultReasonItemNotFound {
		t.Errorf("the new certificate is there: %v", err)
	}
	c.wantLink(pub, kmip.LinkTypeCertificateLink, first)
	if got := c.record(first).Names(); !slices.Equal(got, []string{"cert"}) {
		t.Errorf("the old certificate has the Names %v", got)
	}
	b.wantClean()
}
