package hsm_test

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"sync"
	"testing"
	"time"

	p11 "github.com/miekg/pkcs11"

	"kmipd/hsm"
	"kmipd/hsm/hsmtest"
)

func aes256() hsm.KeySpec {
	id := hsm.NewTokenID()
	return hsm.KeySpec{ID: id, Label: id.String(), Type: hsm.KeyAES, Bits: 256, Usage: hsm.UsageWrap | hsm.UsageUnwrap, Extractable: true}
}

func secret(id hsm.TokenID) hsm.Ref { return hsm.Ref{Class: hsm.ClassSecretKey, ID: id} }

// generate makes a key and returns its value.
func generate(t testing.TB, tok hsm.Token) (hsm.Ref, hsm.Material) {
	t.Helper()
	spec := aes256()
	if err := tok.GenerateKey(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	value, err := tok.Export(t.Context(), secret(spec.ID), 256)
	if err != nil {
		t.Fatal(err)
	}
	return secret(spec.ID), value
}

func openWith(t *testing.T, change func(*hsm.Config)) (hsm.Token, hsm.Config) {
	t.Helper()
	cfg := hsmtest.SoftHSMConfig(t)
	if change != nil {
		change(&cfg)
	}
	tok, err := hsm.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tok.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return tok, cfg
}

// A token that comes back with other firmware says so: certificates cover versions.
func TestIdentityAfterHealing(t *testing.T) {
	tok := hsmtest.NewSoftHSM(t)
	want := tok.Info()
	hsm.OtherFirmware(t, tok)
	if tok.Info().Firmware == want.Firmware {
		t.Fatal("the firmware is the same")
	}
	hsm.FinalizeBehind(t, tok)
	if _, err := tok.Random(t.Context(), 8); err != nil {
		t.Fatal(err)
	}
	got := tok.Info()
	if got.Firmware != want.Firmware || got.Identity.FirmwareVersion != want.Identity.FirmwareVersion || got.Label != want.Label ||
		len(got.Identity.Mechanisms) != len(want.Identity.Mechanisms) || got.Capabilities.Transport != want.Capabilities.Transport {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// A token that comes back is probed anew: what it can do now is what Info says and what calls use.
func TestCapabilitiesAfterHealing(t *testing.T) {
	tok := hsmtest.NewSoftHSM(t)
	ref, value := generate(t, tok)
	want := tok.Info().Capabilities
	hsm.OtherCapabilities(t, tok)
	kwp := func() error {
		_, err := tok.WrapBytes(t.Context(), ref, hsm.WrapSpec{Mechanism: hsm.WrapAESKWP}, value)
		return err
	}
	if err := kwp(); !errors.Is(err, hsm.ErrUnsupported) || reflect.DeepEqual(tok.Info().Capabilities, want) {
		t.Fatalf("before: %v", err)
	}
	hsm.FinalizeBehind(t, tok)
	if _, err := tok.Random(t.Context(), 8); err != nil {
		t.Fatal(err)
	}
	if err := kwp(); err != nil {
		t.Errorf("AES-KWP: %v", err)
	}
	if got := tok.Info().Capabilities; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// A call of the probe that fails once, while the token comes back, takes nothing away.
func TestProbeStumbles(t *testing.T) {
	tok := hsmtest.NewSoftHSM(t)
	want := tok.Info().Capabilities
	hsm.FinalizeBehind(t, tok)
	hsm.FailAfter(tok, "C_DigestFinal", 1, p11.CKR_FUNCTION_FAILED)
	if _, err := tok.Random(t.Context(), 8); err != nil {
		t.Fatal(err)
	}
	if got := tok.Info().Capabilities; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestHealing breaks the token in every way that PKCS#11 has names for and wants the next call to succeed.
func TestHealing(t *testing.T) {
	tok := hsmtest.NewSoftHSM(t)
	ref, want := generate(t, tok)
	how := hsm.WrapSpec{Mechanism: hsm.WrapAESKWP}
	calls := map[string]func() error{
		"Export": func() error {
			got, err := tok.Export(t.Context(), ref, 256)
			if err == nil && !bytes.Equal(got, want) {
				t.Error("another value")
			}
			return err
		},
		"GenerateKey": func() error { return tok.GenerateKey(t.Context(), aes256()) },
		"Import":      func() error { return tok.Import(t.Context(), hsm.ClassSecretKey, aes256(), want) },
		"Wrap":        func() error { _, err := tok.Wrap(t.Context(), ref, how, ref, 256); return err },
		"WrapBytes":   func() error { _, err := tok.WrapBytes(t.Context(), ref, how, want); return err },
		"Objects":     func() error { _, err := tok.Objects(t.Context()); return err },
		"Healthy":     func() error { return tok.Healthy(t.Context()) },
		"Random":      func() error { _, err := tok.Random(t.Context(), 32); return err },
	}
	for _, trouble := range []struct {
		name   string
		strike func()
		login  bool
	}{
		{"logout", func() { hsm.LogoutBehind(t, tok) }, true},
		{"close all sessions", func() { hsm.CloseSessionsBehind(t, tok) }, true},
		{"finalize", func() { hsm.FinalizeBehind(t, tok) }, true},
		{"close idle sessions", func() { hsm.CloseIdleBehind(t, tok) }, false},
		{"destroy the transport key", func() { hsm.BreakTransport(t, tok) }, false},
		{"another handle", func() { hsm.ReplaceBehind(t, tok, ref, true) }, false},
	} {
		for name, call := range calls {
			t.Run(trouble.name+"/"+name, func(t *testing.T) {
				before := hsm.Generation(tok)
				trouble.strike()
				if err := call(); err != nil {
					t.Errorf("got %v", err)
				}
				if err := calls["Export"](); err != nil {
					t.Errorf("Export afterwards: %v", err)
				}
				if healed := hsm.Generation(tok) != before; healed != trouble.login {
					t.Errorf("a new login: %v, want %v", healed, trouble.login)
				}
			})
		}
	}
	hsm.ReplaceBehind(t, tok, ref, false)
	if err := calls["Export"](); !errors.Is(err, hsm.ErrNotFound) {
		t.Errorf("an object destroyed behind our back: %v", err)
	}
	if n := hsm.SessionObjects(t, tok); n != 1 {
		t.Errorf("%d session objects are left, want the transport key alone", n)
	}
}

// TestHealingUnderLoad loses the login again and again while calls run: they may fail as unavailable, never wrongly.
func TestHealingUnderLoad(t *testing.T) {
	tok := hsmtest.NewSoftHSM(t)
	ref, want := generate(t, tok)
	ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	var good int
	var mu sync.Mutex
	for range 6 {
		wg.Go(func() {
			for ctx.Err() == nil {
				got, err := tok.Export(t.Context(), ref, 256)
				switch {
				case err == nil && !bytes.Equal(got, want):
					t.Error("another value")
				case err != nil && !errors.Is(err, hsm.ErrUnavailable):
					t.Errorf("got %v", err)
				}
				mu.Lock()
				good++
				mu.Unlock()
			}
		})
	}
	for ctx.Err() == nil {
		hsm.LogoutBehind(t, tok)
		time.Sleep(20 * time.Millisecond)
	}
	wg.Wait()
	if _, err := tok.Export(t.Context(), ref, 256); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	t.Logf("%d calls, %d logins", good, hsm.Generation(tok))
}

// TestWrongPINOnce checks that healing does not try a refused PIN again: real tokens lock it.
func TestWrongPINOnce(t *testing.T) {
	tok := hsmtest.NewSoftHSM(t)
	ref, _ := generate(t, tok)
	hsm.ForgetPIN(tok)
	hsm.LogoutBehind(t, tok)
	before := tok.Counters()["C_Login"]
	for range 5 {
		if _, err := tok.Export(t.Context(), ref, 256); !errors.Is(err, hsm.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
	}
	if n := tok.Counters()["C_Login"].Calls - before.Calls; n != 1 {
		t.Errorf("%d logins with a refused PIN", n)
	}
}

// TestNoTransport loses the login on a token that will not share a transport key for a while.
func TestNoTransport(t *testing.T) {
	tok := hsmtest.NewSoftHSM(t)
	ref, want := generate(t, tok)
	hsm.FailAfter(tok, "C_WrapKey", 0, p11.CKR_FUNCTION_FAILED)
	hsm.LogoutBehind(t, tok)
	for range 2 {
		if _, err := tok.Export(t.Context(), ref, 256); !errors.Is(err, hsm.ErrUnavailable) {
			t.Errorf("without a transport key: %v", err)
		}
	}
	hsm.FailNever(tok)
	if got, err := tok.Export(t.Context(), ref, 256); err != nil || !bytes.Equal(got, want) {
		t.Errorf("afterwards: %v", err)
	}
	if n := hsm.SessionObjects(t, tok); n != 1 {
		t.Errorf("%d session objects are left, want the transport key alone", n)
	}
}

func TestRotation(t *testing.T) {
	tok, _ := openWith(t, func(c *hsm.Config) { c.TransportRotation = time.Millisecond })
	ref, want := generate(t, tok)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 300 {
				if got, err := tok.Export(t.Context(), ref, 256); err != nil || !bytes.Equal(got, want) {
					t.Errorf("Export: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	hsm.RotateNow(tok)
	if got, err := tok.Export(t.Context(), ref, 256); err != nil || !bytes.Equal(got, want) {
		t.Errorf("Export: %v", err)
	}
	if n := tok.Counters()["C_DeriveKey"].Calls; n < 3 {
		t.Errorf("%d transport keys", n)
	}
}

func TestWaits(t *testing.T) {
	tok, _ := openWith(t, func(c *hsm.Config) { c.MaxSessions, c.CallTimeout = 2, 50*time.Millisecond })
	ref, _ := generate(t, tok)
	for name, hold := range map[string]func() func(){
		"session": func() func() { return hsm.HoldSessions(t, tok, 2) },
		"lock":    func() func() { return hsm.HoldMutations(t, tok) },
	} {
		release := hold()
		if _, err := tok.Export(t.Context(), ref, 256); !errors.Is(err, hsm.ErrUnavailable) {
			t.Errorf("no %s: got %v", name, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		if _, err := tok.Export(ctx, ref, 256); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("no %s: got %v", name, err)
		}
		cancel()
		release()
		if _, err := tok.Export(t.Context(), ref, 256); err != nil {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestKeyAttributes verifies what a generated key says of its origin, also where it was made as a copy.
func TestKeyAttributes(t *testing.T) {
	tok := hsmtest.NewSoftHSM(t)
	half := hsm.KeySpec{ID: hsm.NewTokenID(), Label: "private", Type: hsm.KeyRSA, Bits: 2048, Usage: hsm.UsageSign}
	public := half
	public.ID, public.Label, public.Usage = hsm.NewTokenID(), "public", hsm.UsageVerify
	if _, err := tok.GenerateKeyPair(t.Context(), hsm.PairSpec{Private: half, Public: public}); err != nil {
		t.Fatal(err)
	}
	names := []uint{p11.CKA_LOCAL, p11.CKA_ALWAYS_SENSITIVE, p11.CKA_NEVER_EXTRACTABLE, p11.CKA_PRIVATE, p11.CKA_SENSITIVE, p11.CKA_SIGN,
		p11.CKA_EXTRACTABLE, p11.CKA_DECRYPT, p11.CKA_UNWRAP, p11.CKA_DERIVE, p11.CKA_SIGN_RECOVER}
	for i, set := range hsm.ReadFlags(t, tok, hsm.Ref{Class: hsm.ClassPrivateKey, ID: half.ID}, names...) {
		if want := i < 6; set != want {
			t.Errorf("private key: attribute 0x%X is %v", names[i], set)
		}
	}
	names = []uint{p11.CKA_LOCAL, p11.CKA_VERIFY, p11.CKA_PRIVATE, p11.CKA_ENCRYPT, p11.CKA_WRAP, p11.CKA_DERIVE}
	for i, set := range hsm.ReadFlags(t, tok, hsm.Ref{Class: hsm.ClassPublicKey, ID: public.ID}, names...) {
		if want := i < 2; set != want {
			t.Errorf("public key: attribute 0x%X is %v", names[i], set)
		}
	}
}
