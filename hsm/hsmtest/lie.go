package hsmtest

import (
	"bytes"
	"context"

	"kmipd/hsm"
)

// Lie makes a token compute wrong: the calls of a method succeed, and what they give is bent. It lasts until Truth.
type Lie struct {
	Method    string        // such as "Encrypt"; "Wrap" for WrapBytes, too
	Mechanism hsm.Mechanism // "" for any
	// Bend changes a result; nil turns one bit. Verify is turned around whatever it says.
	Bend func([]byte) []byte
	// Flags changes what Flags answers.
	Flags func(hsm.Flags) hsm.Flags
	// Refuses are the names of Refusals that the token enforces.
	Refuses []string
}

// Tell makes the token lie.
func (f *Fake) Tell(lies ...Lie) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lies = append(f.lies, lies...)
}

// Truth ends all lies.
func (f *Fake) Truth() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lies = nil
}

func (f *Fake) lie(method string, m hsm.Mechanism) (Lie, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.lies {
		if l.Method == method && (l.Mechanism == "" || l.Mechanism == m) {
			return l, true
		}
	}
	return Lie{}, false
}

func (f *Fake) liesAbout(method string, m hsm.Mechanism) bool {
	_, yes := f.lie(method, m)
	return yes
}

// bend is a result as the token tells it.
func (f *Fake) bend(method string, m hsm.Mechanism, out []byte) []byte {
	l, yes := f.lie(method, m)
	if !yes || len(out) == 0 {
		return out
	}
	if l.Bend != nil {
		return l.Bend(out)
	}
	out = bytes.Clone(out)
	out[len(out)/2] ^= 0x10
	return out
}

// mechanism is the mode of the cipher of a key.
func (f *Fake) mechanism(ref hsm.Ref, mode hsm.CipherMode) hsm.Mechanism {
	o, err := f.get(ref)
	if err != nil {
		return ""
	}
	return hsm.CipherMechanism(o.spec.Type, mode)
}

// Constant is a generator that gives the same octets again and again.
func Constant(out []byte) []byte { return bytes.Repeat([]byte{0x42}, len(out)) }

// Short is a generator that gives half of what it was asked for.
func Short(out []byte) []byte { return out[:len(out)/2] }

// Scratch implements hsm.Token.
func (f *Fake) Scratch(ctx context.Context, keys []hsm.ScratchKey, use func([]hsm.Ref) error) error {
	var refs []hsm.Ref
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, r := range refs {
			delete(f.scratch, r)
		}
	}()
	err := f.call(ctx, "Scratch", func(Effect) error {
		for _, k := range keys {
			if err := checkImport(k.Class, k.Spec, k.Value); err != nil {
				return err
			}
			ref := hsm.Ref{Class: k.Class, ID: hsm.NewTokenID()}
			f.mu.Lock()
			f.scratch[ref] = &object{spec: k.Spec, value: bytes.Clone(k.Value)}
			f.mu.Unlock()
			refs = append(refs, ref)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return use(refs)
}

// Flags implements hsm.Token.
func (f *Fake) Flags(ctx context.Context, ref hsm.Ref) (flags hsm.Flags, err error) {
	err = f.call(ctx, "Flags", func(Effect) error {
		if ref.Class != hsm.ClassSecretKey && ref.Class != hsm.ClassPrivateKey {
			return fail(hsm.KindInvalidKey, "not a secret or private key")
		}
		o, err := f.get(ref)
		if err != nil {
			return err
		}
		flags = hsm.Flags{
			Private: hsm.FlagTrue, Sensitive: hsm.FlagTrue, AlwaysSensitive: hsm.FlagOf(o.local), Local: hsm.FlagOf(o.local),
			Extractable: hsm.FlagOf(o.spec.Extractable), NeverExtractable: hsm.FlagOf(o.local && !o.spec.Extractable),
		}
		return nil
	})
	if l, yes := f.lie("Flags", ""); yes && l.Flags != nil {
		flags = l.Flags(flags)
	}
	return flags, err
}

// Refusals implements hsm.Token. The fake enforces what a Lie says, and nothing else.
func (f *Fake) Refusals(ctx context.Context) (list []hsm.Refusal, err error) {
	err = f.call(ctx, "Refusals", func(Effect) error {
		l, _ := f.lie("Refusals", "")
		for _, name := range []string{"RSA 1024 key generation", "3DES encryption"} {
			r := hsm.Refusal{Name: name}
			for _, enforced := range l.Refuses {
				r.Enforced = r.Enforced || enforced == name
			}
			list = append(list, r)
		}
		return nil
	})
	return list, err
}

// Logins implements hsm.Token.
func (f *Fake) Logins() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.logins
}

// Relogin is a token that was lost and found again.
func (f *Fake) Relogin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.logins++
}
