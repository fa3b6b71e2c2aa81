package keystore

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"testing"
	"time"

	"kmipd/kmip"
)

func (c client) validate(req *kmip.ValidateRequest) (kmip.ValidityIndicator, error) {
	resp, err := do(c, kmip.OperationValidate, "", c.s.Validate, req)
	if err != nil {
		return 0, err
	}
	return resp.ValidityIndicator, nil
}

func inline(certs ...*x509.Certificate) *kmip.ValidateRequest {
	req := &kmip.ValidateRequest{}
	for _, c := range certs {
		req.Certificate = append(req.Certificate, kmip.Certificate{CertificateType: kmip.CertificateTypeX509, CertificateValue: c.Raw})
	}
	return req
}

func managed(uids ...string) *kmip.ValidateRequest {
	return &kmip.ValidateRequest{UniqueIdentifier: uids}
}

func TestValidate(t *testing.T) {
	trusted, stranger := newOutside(t, "Trusted"), newOutside(t, "Stranger")
	b := newBench(t, func(c *Config) { c.Certify.Anchors = []*x509.Certificate{trusted.cert} })
	ca := b.root("main")
	c := b.client("alice")
	issued := func(attrs ...kmip.Attribute) string {
		return c.must(c.certify("", pkcs10(csr(t, newECKey(t)), append(attrs, at("Activation Date", timeValue(epoch.Add(-2*time.Minute))))...)))
	}
	good, revoked, superseded, old := issued(), issued(), issued(), issued()
	compromisedInline := c.x509(revoked)
	c.ok(c.revoke(revoked, kmip.RevocationReasonCodeKeyCompromise, epoch.Add(-time.Minute)))
	c.ok(c.revoke(superseded, kmip.RevocationReasonCodeSuperseded))
	c.must(c.recertify(old, &kmip.ReCertifyRequest{}))
	tree := func(o *outside) (leaf, sub *x509.Certificate) {
		key := &outside{t: t, key: newECKey(t)}
		sub = o.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "Sub"}, MaxPathLenZero: true}, key.key.Public(), o.cert)
		leaf = key.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "Leaf"}, KeyUsage: x509.KeyUsageDigitalSignature}, newECKey(t).Public(), sub)
		return leaf, sub
	}
	leaf, sub := tree(trusted)
	strangeLeaf, strangeSub := tree(stranger)
	noCA := trusted.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "NoCA"}, KeyUsage: x509.KeyUsageDigitalSignature}, trusted.key.Public(), trusted.cert)
	underNoCA := trusted.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "Under"}, KeyUsage: x509.KeyUsageDigitalSignature}, newECKey(t).Public(), noCA)
	forged := append([]byte(nil), leaf.Raw...)
	forged[len(forged)-1] ^= 1
	deep := &outside{t: t, key: newECKey(t)}
	tooDeep := trusted.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "Deep"}, MaxPathLenZero: true}, deep.key.Public(), trusted.cert)
	below := deep.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "Below"}}, deep.key.Public(), tooDeep)
	belowLeaf := deep.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "BelowLeaf"}, KeyUsage: x509.KeyUsageDigitalSignature}, newECKey(t).Public(), below)
	valid, invalid, unknown := kmip.ValidityIndicatorValid, kmip.ValidityIndicatorInvalid, kmip.ValidityIndicatorUnknown
	dated := func(req *kmip.ValidateRequest, at time.Time) *kmip.ValidateRequest {
		req.ValidityDate = &at
		return req
	}
	mixed := inline(ca)
	mixed.UniqueIdentifier = []string{good}
	pgp := &kmip.ValidateRequest{Certificate: []kmip.Certificate{{CertificateType: kmip.CertificateTypePGP, CertificateValue: []byte("x")}}}
	for _, tc := range []struct {
		name string
		req  *kmip.ValidateRequest
		want kmip.ValidityIndicator
	}{
		{"managed", managed(good), valid},
		{"managed and its authority", mixed, valid},
		{"the same twice", managed(good, good), valid},
		{"replaced", managed(old), valid},
		{"authority alone", inline(ca), valid},
		{"compromised", managed(revoked), invalid},
		{"compromised, inline", inline(compromisedInline), invalid},
		{"superseded", managed(superseded), invalid},
		{"superseded later", dated(managed(superseded), epoch.Add(-time.Second)), valid},
		{"before its time", dated(managed(good), epoch.Add(-time.Hour)), invalid},
		{"after its time", dated(managed(good), epoch.AddDate(2, 0, 0)), invalid},
		{"anchor configured", inline(leaf, sub), valid},
		{"any order, with the root", inline(trusted.cert, leaf, sub), valid},
		{"link missing", inline(leaf), unknown},
		{"stranger", inline(strangeLeaf, strangeSub, stranger.cert), unknown},
		{"stranger after its time", dated(inline(strangeLeaf, strangeSub), epoch.AddDate(9, 0, 0)), invalid},
		{"two chains", inline(leaf, strangeLeaf), invalid},
		{"signed by no authority", inline(underNoCA, noCA), invalid},
		{"path too long", inline(belowLeaf, below, tooDeep), invalid},
		{"forged", &kmip.ValidateRequest{Certificate: []kmip.Certificate{{CertificateType: kmip.CertificateTypeX509, CertificateValue: forged},
			{CertificateType: kmip.CertificateTypeX509, CertificateValue: sub.Raw}}}, invalid},
		{"PGP", pgp, unknown},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := c.validate(tc.req)
			if err != nil || got != tc.want {
				t.Errorf("got %s, %v; want %s", got, err, tc.want)
			}
		})
	}
}

func TestValidateErrors(t *testing.T) {
	b := newBench(t)
	b.root("main")
	c := b.client("alice")
	fresh := func() string { return c.must(c.certify("", pkcs10(csr(t, newECKey(t))))) }
	good, gone, archived := fresh(), fresh(), fresh()
	c.ok(c.destroy(gone))
	_, err := do(c, kmip.OperationArchive, archived, c.s.Archive, &kmip.ArchiveRequest{})
	c.ok(err)
	many := managed()
	for range maxCertificates + 1 {
		many.UniqueIdentifier = append(many.UniqueIdentifier, good)
	}
	for _, tc := range []struct {
		name   string
		c      client
		req    *kmip.ValidateRequest
		reason kmip.ResultReason
	}{
		{"nothing", c, &kmip.ValidateRequest{}, kmip.ResultReasonInvalidMessage},
		{"too many", c, many, kmip.ResultReasonInvalidMessage},
		{"a key", c, managed(good, c.aes()), kmip.ResultReasonInvalidMessage},
		{"noise", c, &kmip.ValidateRequest{Certificate: []kmip.Certificate{{CertificateType: kmip.CertificateTypeX509, CertificateValue: []byte("x")}}}, kmip.ResultReasonInvalidMessage},
		{"unknown", c, managed("nobody"), kmip.ResultReasonItemNotFound},
		{"another client's", b.client("bob"), managed(good), kmip.ResultReasonItemNotFound},
		{"another user of the client", b.client("alice").as("u"), managed(good), 0},
		{"destroyed", c, managed(gone), kmip.ResultReasonItemNotFound},
		{"archived", c, managed(good, archived), kmip.ResultReasonObjectArchived},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := tc.c.validate(tc.req)
			wantReason(t, "Validate", err, tc.reason)
		})
	}
}

// A chain of this server's subordinate authority ends at that authority.
func TestValidateSubordinate(t *testing.T) {
	b := newBench(t)
	ctx := context.Background()
	if _, err := b.s.InitAuthority(ctx, NewAuthority{Name: "sub", Algorithm: "ECDSA", Length: 384, Subject: "CN=Sub", Subordinate: true}); err != nil {
		t.Fatal(err)
	}
	root := newOutside(t, "Root")
	der, err := b.s.AuthorityRequest(ctx, "sub")
	if err != nil {
		t.Fatal(err)
	}
	req, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	sub := root.sign(&x509.Certificate{Subject: req.Subject}, req.PublicKey, root.cert)
	if err := b.s.ImportAuthority(ctx, "sub", [][]byte{sub.Raw}); err != nil {
		t.Fatal(err)
	}
	c := b.client("alice")
	uid := c.must(c.certify("", pkcs10(csr(t, newECKey(t)))))
	for name, r := range map[string]*kmip.ValidateRequest{"leaf": managed(uid), "with root": inline(c.x509(uid), sub, root.cert)} {
		if got, err := c.validate(r); err != nil || got != kmip.ValidityIndicatorValid {
			t.Errorf("%s: got %s, %v", name, got, err)
		}
	}
}

// What revocation lists say of other authorities' certificates counts: from the revocation on, and where the listener wants to
// know, no list is no answer. Certificates by this server need none.
func TestValidateLists(t *testing.T) {
	trusted := newOutside(t, "Trusted")
	subKey := &outside{t: t, key: newECKey(t)}
	sub := trusted.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "Sub"}}, subKey.key.Public(), trusted.cert)
	leafOf := func(name string) *x509.Certificate {
		return subKey.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature}, newECKey(t).Public(), sub)
	}
	good, bad, unlisted := leafOf("good"), leafOf("bad"), leafOf("unlisted")
	type answer struct {
		revoked time.Time
		known   bool
	}
	answers := map[string]answer{"good": {known: true}, "bad": {revoked: epoch, known: true}, "Sub": {known: true}, "unlisted": {}}
	b := newBench(t, func(c *Config) {
		c.Certify.Anchors = []*x509.Certificate{trusted.cert}
		c.Certify.Revocation = func(listener string, cert, issuer *x509.Certificate) (time.Time, bool) {
			if cert.CheckSignatureFrom(issuer) != nil {
				t.Errorf("asked about %s as by %s", cert.Subject, issuer.Subject)
			}
			a := answers[cert.Subject.CommonName]
			return a.revoked, a.known
		}
	})
	b.root("main")
	c := b.client("alice")
	own := c.must(c.certify("", pkcs10(csr(t, newECKey(t)), at("Activation Date", timeValue(epoch.Add(-2*time.Minute))))))
	b.advance(time.Hour)
	valid, invalid, unknown := kmip.ValidityIndicatorValid, kmip.ValidityIndicatorInvalid, kmip.ValidityIndicatorUnknown
	check := func(name string, req *kmip.ValidateRequest, want kmip.ValidityIndicator) {
		t.Helper()
		if got, err := c.validate(req); err != nil || got != want {
			t.Errorf("%s: got %s, %v; want %s", name, got, err, want)
		}
	}
	before := inline(bad, sub)
	before.ValidityDate = ptr(epoch.Add(-time.Second))
	check("on no list", inline(good, sub), valid)
	check("with its root", inline(good, sub, trusted.cert), valid)
	check("revoked", inline(bad, sub), invalid)
	check("revoked, with its root", inline(trusted.cert, bad, sub), invalid)
	check("before its revocation", before, valid)
	check("no list", inline(unlisted, sub), unknown)
	check("by this server", managed(own), valid)
	answers["Sub"] = answer{revoked: epoch, known: true}
	check("its authority revoked", inline(good, sub), invalid)
}
