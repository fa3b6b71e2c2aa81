package hsmtest

import (
	"errors"

	"kmipd/hsm"
)

// suiteScratch: keys for the time of a call work like others, are no persistent objects, and are gone afterwards.
func suiteScratch(r *rig) {
	before, err := r.tok.Objects(r.ctx())
	r.must(err, "Objects")
	spec := hsm.KeySpec{Type: hsm.KeyAES, Bits: 128, Usage: hsm.UsageEncrypt | hsm.UsageDecrypt, Extractable: true}
	value := hsm.Material("0123456789abcdef")
	how := hsm.CipherSpec{Mode: hsm.ModeECB}
	var used hsm.Ref
	err = r.tok.Scratch(r.ctx(), []hsm.ScratchKey{{Class: hsm.ClassSecretKey, Spec: spec, Value: value}}, func(refs []hsm.Ref) error {
		used = refs[0]
		out, err := r.tok.Encrypt(r.ctx(), used, 128, how, make([]byte, 16))
		r.must(err, "Encrypt")
		back, err := r.tok.Decrypt(r.ctx(), used, 128, how, out)
		r.must(err, "Decrypt")
		r.equal(back, make([]byte, 16), "round trip")
		got, err := r.tok.Export(r.ctx(), used, 128)
		r.must(err, "Export")
		r.equal(got, value, "the exported key")
		now, err := r.tok.Objects(r.ctx())
		r.must(err, "Objects")
		if len(now) != len(before) {
			r.Errorf("a scratch key is a persistent object: %d objects, want %d", len(now), len(before))
		}
		return errors.New("from inside")
	})
	if err == nil || err.Error() != "from inside" {
		r.Errorf("the error of the function: got %v", err)
	}
	_, err = r.tok.Encrypt(r.ctx(), used, 128, how, make([]byte, 16))
	r.want(err, hsm.ErrNotFound, "Encrypt with a scratch key that is gone")
	spec.Bits = 256
	err = r.tok.Scratch(r.ctx(), []hsm.ScratchKey{{Class: hsm.ClassSecretKey, Spec: spec, Value: value}}, func([]hsm.Ref) error {
		r.Error("a key of the wrong length was taken")
		return nil
	})
	r.want(err, hsm.ErrInvalidData, "a scratch key of the wrong length")
}

// suiteFlags: generated keys are local and always sensitive, imported ones are neither.
func suiteFlags(r *rig) {
	for _, extractable := range []bool{true, false} {
		made, brought := aes(256, hsm.UsageEncrypt), aes(128, hsm.UsageEncrypt)
		made.Extractable, brought.Extractable = extractable, extractable
		r.must(r.tok.GenerateKey(r.ctx(), made), "GenerateKey")
		r.must(r.tok.Import(r.ctx(), hsm.ClassSecretKey, brought, make(hsm.Material, 16)), "Import")
		got, err := r.tok.Flags(r.ctx(), r.ref(hsm.ClassSecretKey, made.ID))
		r.must(err, "Flags")
		want := hsm.Flags{Private: hsm.FlagTrue, Sensitive: hsm.FlagTrue, AlwaysSensitive: hsm.FlagTrue, Local: hsm.FlagTrue,
			Extractable: hsm.FlagOf(extractable), NeverExtractable: hsm.FlagOf(!extractable)}
		if got != want {
			r.Errorf("a generated key, extractable %t: got %+v, want %+v", extractable, got, want)
		}
		got, err = r.tok.Flags(r.ctx(), r.ref(hsm.ClassSecretKey, brought.ID))
		r.must(err, "Flags")
		want.AlwaysSensitive, want.NeverExtractable, want.Local = hsm.FlagFalse, hsm.FlagFalse, hsm.FlagFalse
		if got != want {
			r.Errorf("an imported key, extractable %t: got %+v, want %+v", extractable, got, want)
		}
	}
	for _, half := range []hsm.KeySpec{{Type: hsm.KeyEC, Curve: hsm.CurveP256}, {Type: hsm.KeyRSA, Bits: 2048}} {
		private, public := half, half
		private.ID, public.ID, private.Usage, public.Usage = hsm.NewTokenID(), hsm.NewTokenID(), hsm.UsageSign, hsm.UsageVerify
		private.Label, public.Label = "pair", "pair"
		_, err := r.tok.GenerateKeyPair(r.ctx(), hsm.PairSpec{Private: private, Public: public})
		r.must(err, "GenerateKeyPair")
		r.ref(hsm.ClassPublicKey, public.ID)
		got, err := r.tok.Flags(r.ctx(), r.ref(hsm.ClassPrivateKey, private.ID))
		r.must(err, "Flags")
		want := hsm.Flags{Private: hsm.FlagTrue, Sensitive: hsm.FlagTrue, AlwaysSensitive: hsm.FlagTrue, Local: hsm.FlagTrue,
			Extractable: hsm.FlagFalse, NeverExtractable: hsm.FlagTrue}
		if got != want {
			r.Errorf("a generated private key of type %d: got %+v, want %+v", half.Type, got, want)
		}
		_, err = r.tok.Flags(r.ctx(), hsm.Ref{Class: hsm.ClassPublicKey, ID: public.ID})
		r.want(err, hsm.ErrInvalidKey, "Flags of a public key")
	}
	_, err := r.tok.Flags(r.ctx(), hsm.Ref{Class: hsm.ClassSecretKey, ID: hsm.NewTokenID()})
	r.want(err, hsm.ErrNotFound, "Flags of a key that is not there")
}

// suiteIdentity: a token says what it is, and what it refuses by itself; there was one login.
func suiteIdentity(r *rig) {
	id := r.tok.Info().Identity
	if id.Cryptoki == "" || id.FirmwareVersion == "" || id.TokenFlags&hsm.TokenInitialized == 0 {
		r.Errorf("identity: %+v", id)
	}
	list, err := r.tok.Refusals(r.ctx())
	r.must(err, "Refusals")
	if len(list) == 0 {
		r.Error("nothing is known of what the token refuses")
	}
	if n := r.tok.Logins(); n != 1 {
		r.Errorf("%d logins, want 1", n)
	}
}
