package keystore

import (
	"context"
	"crypto/x509/pkix"
	"testing"

	"kmipd/kmip"
)

func TestRequiredCredential(t *testing.T) {
	b := newBench(t)
	ctx := context.Background()
	cert := makeCert(t, pkix.Name{CommonName: "array"}, nil)
	if err := b.addClient("one", print(cert)); err != nil {
		t.Fatal(err)
	}
	if err := b.s.RequireCredential(ctx, "one", true); err == nil {
		t.Error("a credential is required of a client that has none: got success")
	}
	if err := b.s.AddCredential(ctx, "one", "ann", false, []byte("secret")); err != nil {
		t.Fatal(err)
	}
	authorize := func(user string) error {
		b.wantClient("the certificate", "one", cert)
		return b.s.Authorize(ctx, &kmip.Call{Version: kmip.V1_4, Caller: kmip.Caller{Client: "one", User: user}, Tx: b.s.Begin(false)}, kmip.OperationLocate)
	}
	if err := authorize(""); err != nil {
		t.Errorf("before it is required: %v", err)
	}
	if err := b.s.RequireCredential(ctx, "one", true); err != nil {
		t.Fatal(err)
	}
	if got := kmip.ReasonOf(authorize("")); got != kmip.ResultReasonAuthenticationNotSuccessful {
		t.Errorf("certificate alone: got %s", got)
	}
	if err := authorize("ann"); err != nil {
		t.Errorf("with the credential: %v", err)
	}
	if err := b.s.RequireCredential(ctx, "one", false); err != nil {
		t.Fatal(err)
	}
	if err := authorize(""); err != nil {
		t.Errorf("no longer required: %v", err)
	}
}

func TestRemoveCertificate(t *testing.T) {
	b := newBench(t)
	ctx := context.Background()
	old, next := makeCert(t, pkix.Name{CommonName: "old"}, nil), makeCert(t, pkix.Name{CommonName: "next"}, nil)
	if err := b.addClient("one", print(old), print(next)); err != nil {
		t.Fatal(err)
	}
	for what, fp := range map[string]string{"too short": print(old).Fingerprint[:7], "unknown": "0123456789abcdef"} {
		if err := b.s.RemoveCertificate(ctx, "one", fp); err == nil {
			t.Errorf("%s: got success", what)
		}
	}
	if err := b.s.RemoveCertificate(ctx, "one", print(old).Fingerprint[:16]); err != nil {
		t.Fatal(err)
	}
	b.wantClient("the removed certificate", "", old)
	b.wantClient("the other one", "one", next)
}
