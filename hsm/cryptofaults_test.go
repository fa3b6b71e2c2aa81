package hsm_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/fips140"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	p11 "github.com/miekg/pkcs11"

	"kmipd/hsm"
	"kmipd/hsm/hsmtest"
)

// keyring is one key of each kind on a token, for all uses.
type keyring struct {
	tok                         hsm.Token
	aes, short                  hsm.Ref
	value                       []byte // of both secret keys
	ecPrivate, ecPublic, derive hsm.Ref
	rsaPrivate, rsaPublic       hsm.Ref
	peer                        []byte
}

var (
	gcmSpec  = hsm.CipherSpec{Mode: hsm.ModeGCM, IV: []byte("twelve octet"), TagBits: 128}
	hmacSpec = hsm.MACSpec{Scheme: hsm.MACHMAC, Hash: hsm.SHA256}
	ecSpec   = hsm.SignSpec{Scheme: hsm.SignECDSA}
	pssSpec  = hsm.SignSpec{Scheme: hsm.SignRSAPSS, Hash: hsm.SHA256, MGFHash: hsm.SHA384, Salt: 32} // composed
	oaepSpec = hsm.RSACipherSpec{OAEP: true, Hash: hsm.SHA256}
	digest   = bytes.Repeat([]byte{3}, 32)
)

func newKeyring(t testing.TB, tok hsm.Token) *keyring {
	t.Helper()
	k := &keyring{tok: tok, value: bytes.Repeat([]byte{7}, 32)}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	importKey := func(kind hsm.KeyType, value []byte) hsm.Ref {
		spec := aes256()
		spec.Type, spec.Bits = kind, 8*len(value)
		spec.Usage = hsm.UsageEncrypt | hsm.UsageDecrypt | hsm.UsageSign | hsm.UsageVerify
		must(tok.Import(t.Context(), hsm.ClassSecretKey, spec, value))
		return secret(spec.ID)
	}
	k.aes, k.short = importKey(hsm.KeyAES, k.value), importKey(hsm.KeyGeneric, k.value[:9])
	makePair := func(half hsm.KeySpec, public hsm.Usage) (hsm.Ref, hsm.Ref) {
		other := half
		half.ID, other.ID, other.Usage = hsm.NewTokenID(), hsm.NewTokenID(), public
		_, err := tok.GenerateKeyPair(t.Context(), hsm.PairSpec{Private: half, Public: other})
		must(err)
		return hsm.Ref{Class: hsm.ClassPrivateKey, ID: half.ID}, hsm.Ref{Class: hsm.ClassPublicKey, ID: other.ID}
	}
	k.ecPrivate, k.ecPublic = makePair(hsm.KeySpec{Type: hsm.KeyEC, Curve: hsm.CurveP256, Usage: hsm.UsageSign}, hsm.UsageVerify)
	k.derive, _ = makePair(hsm.KeySpec{Type: hsm.KeyEC, Curve: hsm.CurveP256, Usage: hsm.UsageDerive}, 0)
	k.rsaPrivate, k.rsaPublic = makePair(hsm.KeySpec{Type: hsm.KeyRSA, Bits: 2048, Usage: hsm.UsageSign | hsm.UsageDecrypt}, hsm.UsageVerify|hsm.UsageEncrypt)
	ours, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	k.peer, err = x509.MarshalPKIXPublicKey(&ours.PublicKey)
	must(err)
	return k
}

// calls are operations that verify themselves.
func (k *keyring) calls(t testing.TB) map[string]func() error {
	ctx, tok := t.Context(), k.tok
	wrong := errors.New("a wrong result")
	check := func(ok bool, err error) error {
		if err == nil && !ok {
			return wrong
		}
		return err
	}
	hmacOf := func(key hsm.Ref, value []byte) func() error {
		var want []byte
		fips140.WithoutEnforcement(func() { // Go refuses short keys
			m := hmac.New(sha256.New, value)
			m.Write(digest)
			want = m.Sum(nil)
		})
		return func() error {
			got, err := tok.MAC(ctx, key, 8*len(value), hmacSpec, digest)
			return check(bytes.Equal(got, want), err)
		}
	}
	signed := func(private, public hsm.Ref, spec hsm.SignSpec) func() error {
		return func() error {
			sig, err := tok.Sign(ctx, private, spec, digest)
			if err != nil {
				return err
			}
			return check(tok.Verify(ctx, public, spec, digest, sig))
		}
	}
	return map[string]func() error{
		"GCM": func() error {
			data, err := tok.Encrypt(ctx, k.aes, 256, gcmSpec, digest)
			if err != nil {
				return err
			}
			back, err := tok.Decrypt(ctx, k.aes, 256, gcmSpec, data)
			return check(bytes.Equal(back, digest), err)
		},
		"CMAC": func() error {
			mac, err := tok.MAC(ctx, k.aes, 256, hsm.MACSpec{Scheme: hsm.MACCMAC}, digest)
			return check(len(mac) == 16, err)
		},
		"HMAC, moved":  hmacOf(k.aes, k.value),
		"HMAC, filled": hmacOf(k.short, k.value[:9]),
		"ECDSA":        signed(k.ecPrivate, k.ecPublic, ecSpec),
		"PSS":          signed(k.rsaPrivate, k.rsaPublic, pssSpec),
		"OAEP": func() error {
			data, err := tok.RSAEncrypt(ctx, k.rsaPublic, oaepSpec, digest)
			if err != nil {
				return err
			}
			back, err := tok.RSADecrypt(ctx, k.rsaPrivate, oaepSpec, data)
			return check(bytes.Equal(back, digest), err)
		},
		"ECDH": func() error {
			z, err := tok.ECDH(ctx, k.derive, k.peer)
			return check(len(z) == 32, err)
		},
		"PublicKey": func() error {
			spki, err := tok.PublicKey(ctx, k.ecPublic)
			return check(len(spki) == 91, err)
		},
	}
}

// TestCryptoHealing breaks the token in every way and wants the next operation to succeed.
func TestCryptoHealing(t *testing.T) {
	tok := hsmtest.NewSoftHSM(t)
	k := newKeyring(t, tok)
	calls := k.calls(t)
	for _, trouble := range []struct {
		name   string
		strike func()
	}{
		{"nothing", func() {}},
		{"logout", func() { hsm.LogoutBehind(t, tok) }},
		{"close all sessions", func() { hsm.CloseSessionsBehind(t, tok) }},
		{"finalize", func() { hsm.FinalizeBehind(t, tok) }},
		{"close idle sessions", func() { hsm.CloseIdleBehind(t, tok) }},
		{"destroy the transport key", func() { hsm.BreakTransport(t, tok) }},
		{"destroy the moved keys", func() { hsm.BreakMoved(t, tok) }},
		{"other handles", func() {
			for _, ref := range []hsm.Ref{k.aes, k.short, k.ecPrivate, k.ecPublic, k.derive, k.rsaPrivate, k.rsaPublic} {
				hsm.ReplaceBehind(t, tok, ref, true)
			}
		}},
	} {
		for _, name := range slices.Sorted(maps.Keys(calls)) {
			if err := calls["HMAC, moved"](); err != nil {
				t.Fatal(err)
			}
			trouble.strike()
			if err := calls[name](); err != nil {
				t.Errorf("%s/%s: %v", trouble.name, name, err)
			}
			if err := calls["ECDH"](); err != nil { // needs the transport key
				t.Errorf("%s/%s: ECDH afterwards: %v", trouble.name, name, err)
			}
		}
	}
	if n, kept := hsm.SessionObjects(t, tok), hsm.MovedKeys(tok); n != 1+kept || kept > 2 {
		t.Errorf("%d session objects, %d moved keys, want the transport key and those", n, kept)
	}
}

// TestCryptoFaults wants the error that a CKR_ code stands for, and the operation to work afterwards.
func TestCryptoFaults(t *testing.T) {
	tok := hsmtest.NewSoftHSM(t)
	calls := newKeyring(t, tok).calls(t)
	for _, tt := range []struct {
		call, function string
		code           uint
		want           error // nil: the call is repeated and succeeds
	}{
		{"GCM", "C_EncryptInit", p11.CKR_KEY_SIZE_RANGE, hsm.ErrUnsupported},
		{"GCM", "C_Encrypt", p11.CKR_GENERAL_ERROR, hsm.ErrInternal},
		{"GCM", "C_Encrypt", p11.CKR_DEVICE_ERROR, nil},
		{"GCM", "C_EncryptInit", p11.CKR_KEY_HANDLE_INVALID, nil},
		{"GCM", "C_DecryptInit", p11.CKR_KEY_FUNCTION_NOT_PERMITTED, hsm.ErrInvalidKey},
		{"GCM", "C_Decrypt", p11.CKR_GENERAL_ERROR, hsm.ErrInvalidData},
		{"GCM", "C_Decrypt", p11.CKR_ENCRYPTED_DATA_INVALID, hsm.ErrInvalidData},
		{"GCM", "C_Decrypt", p11.CKR_SESSION_CLOSED, nil},
		{"ECDSA", "C_SignInit", p11.CKR_MECHANISM_INVALID, hsm.ErrUnsupported},
		{"ECDSA", "C_Sign", p11.CKR_FUNCTION_FAILED, hsm.ErrInternal},
		{"ECDSA", "C_VerifyInit", p11.CKR_KEY_TYPE_INCONSISTENT, hsm.ErrInvalidKey},
		{"ECDSA", "C_Verify", p11.CKR_USER_NOT_LOGGED_IN, nil},
		{"PSS", "C_GenerateRandom", p11.CKR_RANDOM_NO_RNG, hsm.ErrUnsupported},
		{"OAEP", "C_GenerateRandom", p11.CKR_RANDOM_NO_RNG, hsm.ErrUnsupported},
		{"OAEP", "C_Decrypt", p11.CKR_FUNCTION_FAILED, hsm.ErrInvalidData},
		{"ECDH", "C_DeriveKey", p11.CKR_GENERAL_ERROR, nil}, // the other form of the point is tried
		{"ECDH", "C_WrapKey", p11.CKR_KEY_UNEXTRACTABLE, hsm.ErrNotExtractable},
		{"HMAC, moved", "C_UnwrapKey", p11.CKR_TEMPLATE_INCONSISTENT, hsm.ErrUnsupported},
		{"HMAC, filled", "C_WrapKey", p11.CKR_KEY_NOT_WRAPPABLE, hsm.ErrUnsupported},
		{"HMAC, moved", "C_Sign", p11.CKR_KEY_HANDLE_INVALID, nil},
	} {
		name := fmt.Sprintf("%s, %s: 0x%X", tt.call, tt.function, tt.code)
		hsm.FailAfter(tok, tt.function, 1, tt.code)
		if err := calls[tt.call](); tt.want == nil && err != nil || !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", name, err, tt.want)
		}
		hsm.FailNever(tok)
		if err := calls[tt.call](); err != nil {
			t.Errorf("%s: afterwards %v", name, err)
		}
	}
}

// TestVerifyGeneralError: a token that answers a signature with a general error, but is there, has found it not valid.
func TestVerifyGeneralError(t *testing.T) {
	tok := hsmtest.NewSoftHSM(t)
	k := newKeyring(t, tok)
	sig, err := tok.Sign(t.Context(), k.ecPrivate, ecSpec, digest)
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range []uint{p11.CKR_GENERAL_ERROR, p11.CKR_FUNCTION_FAILED, p11.CKR_DATA_INVALID, p11.CKR_SIGNATURE_INVALID} {
		hsm.FailAfter(tok, "C_Verify", 1, code)
		ok, err := tok.Verify(t.Context(), k.ecPublic, ecSpec, digest, sig)
		hsm.FailNever(tok)
		if ok || err != nil && code != p11.CKR_SIGNATURE_INVALID {
			t.Errorf("0x%X: got %v, %v", code, ok, err)
		}
	}
	if ok, err := tok.Verify(t.Context(), k.ecPublic, ecSpec, digest, sig); !ok || err != nil {
		t.Errorf("afterwards: %v, %v", ok, err)
	}
}

// TestMovedKeysAreBounded uses more keys than are kept as copies, from several goroutines.
func TestMovedKeysAreBounded(t *testing.T) {
	tok := hsmtest.NewSoftHSM(t)
	const keys, limit = 280, 256
	refs := make([]hsm.Ref, keys)
	for i := range refs {
		spec := aes256()
		spec.Usage = hsm.UsageSign
		refs[i] = secret(spec.ID)
		if err := tok.GenerateKey(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, ref := range refs {
				if _, err := tok.MAC(t.Context(), ref, 256, hmacSpec, digest); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n, kept := hsm.SessionObjects(t, tok), hsm.MovedKeys(tok); kept != limit || n != 1+kept {
		t.Errorf("%d moved keys, %d session objects, want %d and one more", kept, n, limit)
	}
	for _, ref := range refs[keys-5:] {
		if err := tok.Destroy(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
	if kept := hsm.MovedKeys(tok); kept != limit-5 {
		t.Errorf("%d moved keys after 5 of the keys were destroyed, want %d", kept, limit-5)
	}
}

// TestRefuseComposedHMAC: no plain key passes the server's memory; moving one on the token is allowed.
func TestRefuseComposedHMAC(t *testing.T) {
	tok, _ := openWith(t, func(c *hsm.Config) { c.RefuseComposed = true })
	k := newKeyring(t, tok)
	calls := k.calls(t)
	if err := calls["HMAC, moved"](); err != nil {
		t.Errorf("moved: %v", err)
	}
	if err := calls["HMAC, filled"](); !errors.Is(err, hsm.ErrUnsupported) {
		t.Errorf("filled: %v", err)
	}
	caps := tok.Info().Capabilities
	if slices.Contains(caps.Composed, hsm.CompositionFilledKey) || !slices.Contains(caps.Composed, hsm.CompositionMovedKey) {
		t.Errorf("compositions: %v", caps.Composed)
	}
}

func TestCryptoContext(t *testing.T) {
	tok := hsmtest.NewSoftHSM(t)
	k := newKeyring(t, tok)
	release := hsm.HoldMutations(t, tok)
	defer release()
	errs := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, err := tok.Encrypt(ctx, k.aes, 256, gcmSpec, digest)
		errs <- err
	}()
	cancel()
	if err := <-errs; !errors.Is(err, ctx.Err()) {
		t.Errorf("got %v", err)
	}
}

// TestFIPSCompositions: what needs SHA-1 here is refused where Go refuses SHA-1; what the token does alone is not.
func TestFIPSCompositions(t *testing.T) {
	if !fips140.Enforced() {
		t.Skip("needs GODEBUG=fips140=only")
	}
	tok := hsmtest.NewSoftHSM(t)
	k := newKeyring(t, tok)
	for _, tt := range []struct {
		spec hsm.RSACipherSpec
		want error
	}{
		{hsm.RSACipherSpec{OAEP: true, Hash: hsm.SHA1}, nil},
		{hsm.RSACipherSpec{OAEP: true, Hash: hsm.SHA1, Label: digest}, hsm.ErrUnsupported},
		{hsm.RSACipherSpec{OAEP: true, Hash: hsm.SHA256, MGFHash: hsm.SHA1}, hsm.ErrUnsupported},
		{hsm.RSACipherSpec{OAEP: true, Hash: hsm.SHA256, Label: digest}, nil},
	} {
		data, err := tok.RSAEncrypt(t.Context(), k.rsaPublic, tt.spec, digest)
		if tt.want == nil && err == nil {
			_, err = tok.RSADecrypt(t.Context(), k.rsaPrivate, tt.spec, data)
		}
		if tt.want == nil && err != nil || !errors.Is(err, tt.want) {
			t.Errorf("%+v: got %v, want %v", tt.spec, err, tt.want)
		}
	}
	mixed := hsm.SignSpec{Scheme: hsm.SignRSAPSS, Hash: hsm.SHA256, MGFHash: hsm.SHA1, Salt: 20}
	if _, err := tok.Sign(t.Context(), k.rsaPrivate, mixed, digest); !errors.Is(err, hsm.ErrUnsupported) {
		t.Errorf("PSS with SHA-1 for MGF1: %v", err)
	}
}
