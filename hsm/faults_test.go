package hsm_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"sync"
	"testing"
	"time"

	p11 "github.com/miekg/pkcs11"

	"kmipd/hsm"
	"kmipd/hsm/hsmtest"
)

// TestNothingRemains lets one PKCS#11 call of each creation fail after it has had its effect, and wants no object left.
func TestNothingRemains(t *testing.T) {
	tok := hsmtest.NewSoftHSM(t)
	kek, value := generate(t, tok)
	how := hsm.WrapSpec{Mechanism: hsm.WrapAESKWP}
	blob, err := tok.Wrap(t.Context(), kek, how, kek, 256)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(ec.Public())
	if err != nil {
		t.Fatal(err)
	}
	pairOf := func(half hsm.KeySpec) error {
		private, public := half, half
		private.ID, public.ID = hsm.NewTokenID(), hsm.NewTokenID()
		private.Usage, public.Usage = hsm.UsageSign, hsm.UsageVerify
		_, err := tok.GenerateKeyPair(t.Context(), hsm.PairSpec{Private: private, Public: public})
		return err
	}
	creations := map[string]func() error{
		"GenerateKey": func() error { return tok.GenerateKey(t.Context(), aes256()) },
		"EC pair":     func() error { return pairOf(hsm.KeySpec{Type: hsm.KeyEC, Curve: hsm.CurveP256}) },
		"RSA pair":    func() error { return pairOf(hsm.KeySpec{Type: hsm.KeyRSA, Bits: 1024}) },
		"Import":      func() error { return tok.Import(t.Context(), hsm.ClassSecretKey, aes256(), value) },
		"ImportPublicKey": func() error {
			spec := hsm.KeySpec{ID: hsm.NewTokenID(), Type: hsm.KeyEC, Curve: hsm.CurveP256}
			return tok.ImportPublicKey(t.Context(), spec, spki)
		},
		"StoreData": func() error { return tok.StoreData(t.Context(), hsm.NewTokenID(), "data", value) },
		"Unwrap": func() error {
			_, err := tok.Unwrap(t.Context(), kek, how, blob, hsm.ClassSecretKey, aes256())
			return err
		},
	}
	for _, fault := range []struct {
		creation, call string
		n              int
	}{
		{"GenerateKey", "C_GenerateKey", 1}, {"GenerateKey", "C_GetAttributeValue", 1},
		{"EC pair", "C_GenerateKeyPair", 1}, {"EC pair", "C_GetAttributeValue", 1}, {"EC pair", "C_GetAttributeValue", 3},
		{"RSA pair", "C_GenerateKeyPair", 1}, {"RSA pair", "C_CopyObject", 1}, {"RSA pair", "C_CopyObject", 2},
		{"RSA pair", "C_GetAttributeValue", 1}, {"RSA pair", "C_GetAttributeValue", 4},
		{"Import", "C_UnwrapKey", 1}, {"Import", "C_GetAttributeValue", 1},
		{"ImportPublicKey", "C_CreateObject", 1}, {"StoreData", "C_CreateObject", 1},
		{"Unwrap", "C_UnwrapKey", 1}, {"Unwrap", "C_UnwrapKey", 2}, {"Unwrap", "C_WrapKey", 1}, {"Unwrap", "C_GetAttributeValue", 1},
	} {
		for _, code := range []uint{p11.CKR_GENERAL_ERROR, p11.CKR_DEVICE_ERROR, p11.CKR_DEVICE_MEMORY, p11.CKR_OPERATION_ACTIVE} {
			hsm.FailAfter(tok, fault.call, fault.n, code)
			err := creations[fault.creation]()
			hsm.FailNever(tok)
			var e *hsm.Error
			if !errors.As(err, &e) || e.Kind == 0 {
				t.Errorf("%s, %s %d, code 0x%X: got %v", fault.creation, fault.call, fault.n, code, err)
			}
			list, err := tok.Objects(t.Context())
			if err != nil || len(list) != 1 {
				t.Errorf("%s, %s %d, code 0x%X: %d objects, want the wrapping key alone; %v", fault.creation, fault.call, fault.n, code, len(list), err)
			}
		}
	}
	for name, creation := range creations {
		if err := creation(); err != nil {
			t.Errorf("%s afterwards: %v", name, err)
		}
	}
	if n := hsm.SessionObjects(t, tok); n != 1 {
		t.Errorf("%d session objects are left, want the transport key alone", n)
	}
}

// TestReadsAreRepeated: a device error in the middle of a read is healed and the read done again; a mutation is not.
func TestReadsAreRepeated(t *testing.T) {
	tok := hsmtest.NewSoftHSM(t)
	ref, _ := generate(t, tok)
	hsm.FailAfter(tok, "C_WrapKey", 1, p11.CKR_DEVICE_ERROR)
	if _, err := tok.Export(t.Context(), ref, 256); err != nil {
		t.Errorf("Export: %v", err)
	}
	spec := aes256()
	if err := tok.GenerateKey(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	hsm.FailAfter(tok, "C_GetAttributeValue", 1, p11.CKR_ATTRIBUTE_VALUE_INVALID) // SoftHSM, of an object in no shape to be read
	if _, err := tok.Export(t.Context(), secret(spec.ID), 256); err != nil {
		t.Errorf("Export of what could not be read at first: %v", err)
	}
	hsm.FailAfter(tok, "C_DestroyObject", 1, p11.CKR_DEVICE_ERROR)
	if err := tok.Destroy(t.Context(), ref); !errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("Destroy: %v", err)
	}
	if err := tok.Destroy(t.Context(), ref); !errors.Is(err, hsm.ErrNotFound) {
		t.Errorf("Destroy of what is gone: %v", err)
	}
	hsm.FailNever(tok)
}

func TestTransportLadder(t *testing.T) {
	tok := hsmtest.NewSoftHSM(t)
	for way, works := range map[string]bool{"ecdh-p256": true, "rsa-oaep-sha256": false, "create-object": true} { // SoftHSM's OAEP is SHA-1 only
		if err := hsm.TryTransport(tok, way); (err == nil) != works {
			t.Errorf("%s: %v", way, err)
		}
	}
	if n := hsm.SessionObjects(t, tok); n != 1 {
		t.Errorf("%d session objects are left, want the transport key alone", n)
	}
}

// TestStress mixes scans with changes: without the mutation lock SoftHSM 2.6 fails at random here, leaves broken objects
// and can crash.
func TestStress(t *testing.T) {
	tok := hsmtest.NewSoftHSM(t)
	kek, value := generate(t, tok)
	how := hsm.WrapSpec{Mechanism: hsm.WrapAESKWP}
	before := tok.Counters() // the probe at Open has its failures
	end := time.Now().Add(1500 * time.Millisecond)
	life := func() error {
		spec := aes256()
		if err := tok.GenerateKey(t.Context(), spec); err != nil {
			return err
		}
		blob, err := tok.Wrap(t.Context(), kek, how, secret(spec.ID), 256)
		if err != nil {
			return err
		}
		copied := aes256()
		if _, err := tok.Unwrap(t.Context(), kek, how, blob, hsm.ClassSecretKey, copied); err != nil {
			return err
		}
		return errors.Join(tok.Destroy(t.Context(), secret(spec.ID)), tok.Destroy(t.Context(), secret(copied.ID)))
	}
	jobs := []func() error{
		life, life, life,
		func() error { _, err := tok.Objects(t.Context()); return err },
		func() error { _, err := tok.DestroyBroken(t.Context()); return err },
		func() error { _, err := tok.Export(t.Context(), kek, 256); return err },
		func() error { _, err := tok.WrapBytes(t.Context(), kek, how, value[:19]); return err },
		func() error { hsm.RotateNow(tok); return nil },
	}
	var wg sync.WaitGroup
	for i, job := range jobs {
		wg.Go(func() {
			for time.Now().Before(end) {
				if err := job(); err != nil {
					t.Errorf("job %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	list, err := tok.Objects(t.Context())
	if err != nil || len(list) != 1 || list[0].Broken {
		t.Errorf("%d objects are left: %+v, %v", len(list), list, err)
	}
	for name, c := range tok.Counters() {
		// Scans meet session objects of others that go meanwhile. And on a busy machine SoftHSM takes, once in some thousand
		// calls, the handle of a key for none while another key goes: it is looked up again, and the caller learns nothing.
		few := uint64(0)
		switch name {
		case "C_CopyObject", "C_WrapKey", "C_UnwrapKey":
			few = max(2, c.Calls/50)
		}
		if n := c.Failures - before[name].Failures; n > few && name != "C_GetAttributeValue" {
			t.Errorf("%s: %d of %d calls failed", name, n, c.Calls)
		}
	}
}
