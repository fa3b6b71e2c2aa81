package keystore

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"slices"
	"testing"
	"time"

	"kmipd/hsm/hsmtest"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// waitCRL waits until the CRL of an authority has n entries.
func (b *bench) waitCRL(name string, n int) *x509.RevocationList {
	b.t.Helper()
	var list *x509.RevocationList
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		der, _, err := b.s.CRL(context.Background(), name)
		if err != nil {
			b.t.Fatal(err)
		}
		if der != nil {
			if list, err = x509.ParseRevocationList(der); err != nil {
				b.t.Fatal(err)
			}
			if len(list.RevokedCertificateEntries) == n {
				return list
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.t.Fatalf("no CRL of %s with %d entries came; the last: %+v\n%s", name, n, list, b.log)
	return nil
}

func entryOf(list *x509.RevocationList, serial *big.Int) *x509.RevocationListEntry {
	for i := range list.RevokedCertificateEntries {
		if e := &list.RevokedCertificateEntries[i]; e.SerialNumber.Cmp(serial) == 0 {
			return e
		}
	}
	return nil
}

func TestCRL(t *testing.T) {
	b := newBench(t)
	ca := b.root("main")
	c := b.client("alice")
	empty := b.waitCRL("main", 0)
	if err := empty.CheckSignatureFrom(ca); err != nil {
		t.Error(err)
	}
	if !empty.NextUpdate.Equal(empty.ThisUpdate.Add(7 * 24 * time.Hour)) {
		t.Errorf("Next Update: got %s after %s", empty.NextUpdate, empty.ThisUpdate)
	}
	last := empty.Number
	reasons := []struct {
		code kmip.RevocationReasonCode
		want int
	}{
		{kmip.RevocationReasonCodeUnspecified, 0}, {kmip.RevocationReasonCodeKeyCompromise, 1}, {kmip.RevocationReasonCodeCACompromise, 2},
		{kmip.RevocationReasonCodeAffiliationChanged, 3}, {kmip.RevocationReasonCodeSuperseded, 4},
		{kmip.RevocationReasonCodeCessationOfOperation, 5}, {kmip.RevocationReasonCodePrivilegeWithdrawn, 9}, {0x80000001, 0},
	}
	var first string
	for i, tc := range reasons {
		uid := c.must(c.certify("", pkcs10(csr(t, newECKey(t)), at("Activation Date", timeValue(epoch)))))
		serial := c.x509(uid).SerialNumber
		if i == 0 {
			first = uid
		}
		b.advance(time.Second)
		if tc.want == 1 {
			c.ok(c.revoke(uid, tc.code, epoch.Add(-48*time.Hour)))
		} else {
			c.ok(c.revoke(uid, tc.code))
		}
		list := b.waitCRL("main", i+1)
		if err := list.CheckSignatureFrom(ca); err != nil {
			t.Error(err)
		}
		if list.Number.Cmp(last) <= 0 {
			t.Errorf("number %s after %s", list.Number, last)
		}
		last = list.Number
		e := entryOf(list, serial)
		if e == nil || e.ReasonCode != tc.want || !e.RevocationTime.Equal(b.clock()) {
			t.Fatalf("%s: got entry %+v, want reason %d at %s", tc.code, e, tc.want, b.clock())
		}
		if dated := slices.ContainsFunc(e.Extensions, func(x pkix.Extension) bool { return x.Id.Equal(oidInvalidityDate) }); dated != (tc.want == 1 || tc.want == 2) {
			t.Errorf("%s: invalidity date: %t", tc.code, dated)
		}
	}
	// Another revocation of a certificate changes its reason and keeps its date.
	serial := c.x509(first).SerialNumber
	date := entryOf(b.waitCRL("main", len(reasons)), serial).RevocationTime
	b.advance(time.Second)
	c.ok(c.revoke(first, kmip.RevocationReasonCodeKeyCompromise))
	c.ok(c.destroy(first))
	if err := b.s.issueCRLs(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if e := entryOf(b.waitCRL("main", len(reasons)), serial); e.ReasonCode != 1 || !e.RevocationTime.Equal(date) {
		t.Errorf("revoked twice: got %+v", e)
	}
	b.wantClean()
}

// The number goes on after a restart, and an unchanged list is issued again when half its time is over.
func TestCRLTime(t *testing.T) {
	b := newBench(t)
	b.root("main")
	first := b.waitCRL("main", 0)
	b.restart()
	if err := b.s.issueCRLs(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if got := b.waitCRL("main", 0); got.Number.Cmp(first.Number) != 0 {
		t.Errorf("number %s after a restart, was %s", got.Number, first.Number)
	}
	for _, step := range []time.Duration{3 * 24 * time.Hour, 13 * time.Hour} {
		b.advance(step)
		if err := b.s.issueCRLs(t.Context(), true); err != nil {
			t.Fatal(err)
		}
	}
	second := b.waitCRL("main", 0)
	if second.Number.Cmp(first.Number) <= 0 || !second.ThisUpdate.Equal(b.clock()) {
		t.Errorf("number %s of %s, was %s", second.Number, second.ThisUpdate, first.Number)
	}
	// The clock goes back: the number does not.
	b.advance(-30 * 24 * time.Hour)
	c := b.client("alice")
	b.advance(30 * 24 * time.Hour)
	uid := c.must(c.certify("", pkcs10(csr(t, newECKey(t)), at("Deactivation Date", timeValue(b.clock().Add(24*time.Hour))))))
	b.advance(-time.Hour)
	c.ok(c.revoke(uid, kmip.RevocationReasonCodeKeyCompromise))
	third := b.waitCRL("main", 1)
	if third.Number.Cmp(second.Number) <= 0 {
		t.Errorf("number %s after %s", third.Number, second.Number)
	}
	// A certificate that has ended leaves the list, after one that was made behind its end.
	for i, want := range []int{1, 0} {
		b.advance(5 * 24 * time.Hour)
		if err := b.s.issueCRLs(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		list := b.waitCRL("main", want)
		if !list.ThisUpdate.Equal(b.clock()) {
			t.Errorf("list %d is of %s", i, list.ThisUpdate)
		}
	}
}

// What an Undo takes back is on no later list; a certificate that no authority of the server issued is on none.
func TestCRLUndo(t *testing.T) {
	b := newBench(t)
	b.root("main")
	c := b.client("alice")
	uid := c.must(c.certify("", pkcs10(csr(t, newECKey(t)), at("Activation Date", timeValue(epoch)))))
	revoke := &kmip.RevokeRequest{RevocationReason: kmip.RevocationReason{RevocationReasonCode: kmip.RevocationReasonCodeSuperseded}}
	tx := b.s.Begin(true)
	_, err := item(t.Context(), c, tx, kmip.OperationRevoke, uid, b.s.Revoke, revoke)
	c.ok(err)
	b.waitCRL("main", 1)
	c.ok(tx.Rollback(t.Context(), 0))
	if err := b.s.issueCRLs(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	b.waitCRL("main", 0)
	if st := c.state(uid); st != kmip.StateActive {
		t.Errorf("state: got %s", st)
	}
	c.ok(c.revoke(c.must(c.register(certificate(makeCert(t, b.root("other").Subject, nil).Raw))), kmip.RevocationReasonCodeKeyCompromise))
	if err := b.s.issueCRLs(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	b.waitCRL("main", 0)
	b.waitCRL("other", 0)
	if der, _, err := b.s.CRL(t.Context(), "nobody/.."); der != nil || err != nil {
		t.Errorf("the CRL of nobody: %x, %v", der, err)
	}
	b.wantClean()
}

// A revocation is durable when Revoke returns, whatever becomes of the list: here the server dies before it makes one.
func TestCRLAfterCrash(t *testing.T) {
	b := newBench(t)
	b.root("main")
	b.waitCRL("main", 0)
	c := b.client("alice")
	uid := c.must(c.certify("", pkcs10(csr(t, newECKey(t)))))
	b.fake.Inject(hsmtest.Fault{Method: "Sign", Times: 1000, Effect: hsmtest.FailBefore})
	c.ok(c.revoke(uid, kmip.RevocationReasonCodeKeyCompromise))
	b.restart()
	b.waitCRL("main", 1)
}

// Certify, Re-certify and Revoke as jobs: the answer that a change stores with itself is that of the certificate, also when
// the key of the certificate request is registered first.
func TestCertificateJobs(t *testing.T) {
	b := newBench(t)
	b.root("main")
	c := b.client("alice").known()
	done := func(op kmip.Operation, target string, req appender) string {
		t.Helper()
		id := c.post(op, target, false, req)
		c.ok(b.run(b.next(), "finish"))
		b.restart()
		var resp kmip.CertifyResponse // Re-certify and Revoke answer with the same field
		root, err := ttlv.Parse(c.poll(id, kmip.JobDone).Response, ttlv.DefaultLimits)
		c.ok(err)
		c.ok(resp.Decode(root))
		b.idle()
		return resp.UniqueIdentifier
	}
	first := done(kmip.OperationCertify, "", pkcs10(csr(t, newECKey(t))))
	second := done(kmip.OperationReCertify, first, &kmip.ReCertifyRequest{})
	c.wantLink(second, kmip.LinkTypeReplacedObjectLink, first)
	revoked := done(kmip.OperationRevoke, second, &kmip.RevokeRequest{RevocationReason: kmip.RevocationReason{RevocationReasonCode: kmip.RevocationReasonCodeKeyCompromise}})
	if e := entryOf(b.waitCRL("main", 1), c.x509(revoked).SerialNumber); e == nil || revoked != second {
		t.Errorf("revoked %s, want %s; entry %v", revoked, second, e)
	}
	b.wantClean()
}

// A client cannot revoke the certificate of another one by importing a copy of it as if an authority had issued it so.
func TestRevokeCopy(t *testing.T) {
	b := newBench(t)
	b.root("main")
	alice, mallory := b.client("alice"), b.client("mallory")
	cert := alice.x509(alice.must(alice.certify("", pkcs10(csr(t, newECKey(t))))))
	_, err := do(mallory, kmip.OperationImport, "", mallory.s.Import, &kmip.ImportRequest{UniqueIdentifier: "copy", ObjectType: kmip.ObjectTypeCertificate,
		Attribute:   []kmip.Attribute{at("y-Certification Authority", textValue("main"))},
		Certificate: &kmip.Certificate{CertificateType: kmip.CertificateTypeX509, CertificateValue: cert.Raw}})
	mallory.ok(err)
	mallory.ok(mallory.revoke("copy", kmip.RevocationReasonCodeKeyCompromise))
	if err := b.s.issueCRLs(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	b.waitCRL("main", 0)
	if got, err := alice.validate(inline(cert)); err != nil || got != kmip.ValidityIndicatorValid {
		t.Errorf("got %s, %v", got, err)
	}
}
