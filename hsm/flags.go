package hsm

import (
	"context"

	p11 "github.com/miekg/pkcs11"
)

// Flag is a CKA_ flag as a token reports it.
type Flag uint8

// The values of a Flag.
const (
	FlagUnknown Flag = iota // the token does not tell
	FlagFalse
	FlagTrue
)

// FlagOf is the Flag of a truth.
func FlagOf(v bool) Flag {
	if v {
		return FlagTrue
	}
	return FlagFalse
}

// Flags are the attributes of a key that decide whether it may leave the token, and its history (PKCS#11 3.0 sections 4.7
// to 4.9).
type Flags struct {
	Private          Flag // CKA_PRIVATE
	Sensitive        Flag // CKA_SENSITIVE
	AlwaysSensitive  Flag // CKA_ALWAYS_SENSITIVE
	Extractable      Flag // CKA_EXTRACTABLE
	NeverExtractable Flag // CKA_NEVER_EXTRACTABLE
	Local            Flag // CKA_LOCAL: made on the token
}

// Flags implements Token.
func (d *device) Flags(ctx context.Context, ref Ref) (flags Flags, err error) {
	if ref.Class != ClassSecretKey && ref.Class != ClassPrivateKey {
		return flags, refuse(KindInvalidKey, "not a secret or private key")
	}
	err = d.run(ctx, true, func(w *work) error {
		h, err := w.find(ref)
		if err != nil {
			return err
		}
		flags, err = w.flags(h)
		return err
	})
	return flags, err
}

// NamedFlags implements NamedKeys.
func (d *device) NamedFlags(ctx context.Context, name KeyName) (flags Flags, err error) {
	err = d.run(ctx, true, func(w *work) error {
		_, h, err := w.named(name, ClassPrivateKey)
		if err != nil {
			return err
		}
		flags, err = w.flags(h)
		return err
	})
	return flags, err
}

func (w *work) flags(h handle) (flags Flags, err error) {
	v, err := w.p11.attributes(w.s, h, p11.CKA_PRIVATE, p11.CKA_SENSITIVE, p11.CKA_ALWAYS_SENSITIVE, p11.CKA_EXTRACTABLE,
		p11.CKA_NEVER_EXTRACTABLE, p11.CKA_LOCAL)
	if err != nil {
		return flags, err
	}
	for i, f := range []*Flag{&flags.Private, &flags.Sensitive, &flags.AlwaysSensitive, &flags.Extractable, &flags.NeverExtractable, &flags.Local} {
		if len(v[i]) == 1 {
			*f = FlagOf(v[i][0] != 0)
		}
	}
	return flags, nil
}

// Logins implements Token.
func (d *device) Logins() uint64 { return d.gen.Load() + 1 }
