package keystore

import (
	"context"
	"crypto/x509"
	"testing"

	"kmipd/hsm/hsmtest"
	"kmipd/kmip"
)

// A certificate of the server's own authority is known to be revoked from the moment when Revoke returns, even if no
// revocation list can be made, and after a restart. Foreign ones are somebody else's matter.
func TestRevoked(t *testing.T) {
	b := newBench(t)
	ca := b.root("main")
	c := b.client("alice")
	uid := c.must(c.certify("", pkcs10(csr(t, newECKey(t)))))
	other := c.x509(c.must(c.certify("", pkcs10(csr(t, newECKey(t))))))
	cert := c.x509(uid)
	want := func(what string, cert, issuer *x509.Certificate, wantKnown, wantRevoked bool) {
		t.Helper()
		known, revoked, err := b.s.Revoked(t.Context(), cert, issuer)
		if err != nil || known != wantKnown || revoked != wantRevoked {
			t.Errorf("%s: got known %t, revoked %t, %v", what, known, revoked, err)
		}
	}
	want("issued", cert, ca, true, false)
	b.fake.Inject(hsmtest.Fault{Method: "Sign", Times: 1000, Effect: hsmtest.FailBefore})
	c.ok(c.revoke(uid, kmip.RevocationReasonCodeKeyCompromise))
	want("revoked", cert, ca, true, true)
	want("the other one", other, ca, true, false)
	b.restart()
	want("revoked, after a restart", cert, ca, true, true)
	stranger := newBench(t)
	want("of a stranger with the same name", cert, stranger.root("main"), false, false)
	b.wantClean()
}

// A job keeps the listener that its request came in by, over a restart.
func TestJobListener(t *testing.T) {
	b := newBench(t)
	c := b.client("alice").known()
	job := &kmip.Job{ID: []byte("by a listener"), Caller: c.caller, Listener: "suiteb", Version: c.ver, Operation: kmip.OperationCreateKeyPair,
		Payload: pairRequest().Append(nil, kmip.TagRequestPayload, c.ver)}
	c.ok(b.s.AddJob(context.Background(), job))
	b.restart()
	if got := b.next(); got.Listener != "suiteb" {
		t.Errorf("got listener %q", got.Listener)
	}
}
