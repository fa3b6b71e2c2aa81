package hsm

import (
	"context"
	"errors"
)

// The calls of a Guard that touch keys: each asks before and after whether it may.

// guarded runs one call of the inner token.
func guarded[T any](ctx context.Context, g *Guard, mechs []Mechanism, call func() (T, error)) (T, error) {
	var none T
	if err := g.Ready(ctx, mechs...); err != nil {
		return none, err
	}
	out, err := call()
	if err = g.seen(err); err == nil {
		err = g.Ready(ctx, mechs...)
	}
	if err != nil {
		wipe(out)
		return none, err
	}
	return out, nil
}

// wipe overwrites what a call gave, where it is octets.
func wipe(out any) {
	switch out := out.(type) {
	case []byte:
		clear(out)
	case Material:
		out.Wipe()
	}
}

// guardedErr is guarded for calls without a result.
func guardedErr(ctx context.Context, g *Guard, mechs []Mechanism, call func() error) error {
	_, err := guarded(ctx, g, mechs, func() (struct{}, error) { return struct{}{}, call() })
	return err
}

// GenerateKey implements Token.
func (g *Guard) GenerateKey(ctx context.Context, spec KeySpec) error {
	return guardedErr(ctx, g, []Mechanism{MechanismRNG}, func() error { return g.Token.GenerateKey(ctx, spec) })
}

// GenerateKeyPair implements Token. With GuardConfig.Pairs the pair is tested before anybody hears of it.
func (g *Guard) GenerateKeyPair(ctx context.Context, spec PairSpec) ([]byte, error) {
	made := false
	spki, err := guarded(ctx, g, []Mechanism{MechanismRNG}, func() ([]byte, error) {
		spki, err := g.Token.GenerateKeyPair(ctx, spec)
		if err == nil && g.cfg.Pairs {
			err = g.testPair(ctx, spec, spki)
		}
		made = err == nil
		return spki, err
	})
	if err != nil && made {
		err = errors.Join(err, g.destroyPair(ctx, spec))
	}
	return spki, err
}

// Import implements Token.
func (g *Guard) Import(ctx context.Context, class Class, spec KeySpec, value Material) error {
	return guardedErr(ctx, g, nil, func() error { return g.Token.Import(ctx, class, spec, value) })
}

// ImportPublicKey implements Token.
func (g *Guard) ImportPublicKey(ctx context.Context, spec KeySpec, spki []byte) error {
	return guardedErr(ctx, g, nil, func() error { return g.Token.ImportPublicKey(ctx, spec, spki) })
}

// StoreCertificate implements Token.
func (g *Guard) StoreCertificate(ctx context.Context, id TokenID, label string, der []byte) error {
	return guardedErr(ctx, g, nil, func() error { return g.Token.StoreCertificate(ctx, id, label, der) })
}

// StoreData implements Token.
func (g *Guard) StoreData(ctx context.Context, id TokenID, label string, value Material) error {
	return guardedErr(ctx, g, nil, func() error { return g.Token.StoreData(ctx, id, label, value) })
}

// Export implements Token.
func (g *Guard) Export(ctx context.Context, ref Ref, bits int) (Material, error) {
	return guarded(ctx, g, nil, func() (Material, error) { return g.Token.Export(ctx, ref, bits) })
}

// Digest implements Token.
func (g *Guard) Digest(ctx context.Context, ref Ref, bits int) ([]byte, error) {
	return guarded(ctx, g, []Mechanism{MechanismKeyDigest}, func() ([]byte, error) { return g.Token.Digest(ctx, ref, bits) })
}

// Wrap implements Token.
func (g *Guard) Wrap(ctx context.Context, wrapping Ref, how WrapSpec, target Ref, bits int) ([]byte, error) {
	return guarded(ctx, g, []Mechanism{how.Name()}, func() ([]byte, error) { return g.Token.Wrap(ctx, wrapping, how, target, bits) })
}

// WrapBytes implements Token.
func (g *Guard) WrapBytes(ctx context.Context, wrapping Ref, how WrapSpec, value Material) ([]byte, error) {
	return guarded(ctx, g, []Mechanism{how.Name()}, func() ([]byte, error) { return g.Token.WrapBytes(ctx, wrapping, how, value) })
}

// Unwrap implements Token.
func (g *Guard) Unwrap(ctx context.Context, unwrapping Ref, how WrapSpec, wrapped []byte, class Class, spec KeySpec) (SecretOutcome, error) {
	return guarded(ctx, g, []Mechanism{how.Name()}, func() (SecretOutcome, error) {
		return g.Token.Unwrap(ctx, unwrapping, how, wrapped, class, spec)
	})
}

// UnwrapBytes implements Token.
func (g *Guard) UnwrapBytes(ctx context.Context, unwrapping Ref, how WrapSpec, wrapped []byte) (Material, error) {
	return guarded(ctx, g, []Mechanism{how.Name()}, func() (Material, error) { return g.Token.UnwrapBytes(ctx, unwrapping, how, wrapped) })
}

// Encrypt implements Crypto.
func (g *Guard) Encrypt(ctx context.Context, key Ref, bits int, spec CipherSpec, data []byte) ([]byte, error) {
	return guarded(ctx, g, spec.mechanisms(bits), func() ([]byte, error) { return g.Token.Encrypt(ctx, key, bits, spec, data) })
}

// Decrypt implements Crypto.
func (g *Guard) Decrypt(ctx context.Context, key Ref, bits int, spec CipherSpec, data []byte) (Material, error) {
	return guarded(ctx, g, spec.mechanisms(bits), func() (Material, error) { return g.Token.Decrypt(ctx, key, bits, spec, data) })
}

// RSAEncrypt implements Crypto.
func (g *Guard) RSAEncrypt(ctx context.Context, key Ref, spec RSACipherSpec, data []byte) ([]byte, error) {
	return guarded(ctx, g, []Mechanism{spec.Mechanism()}, func() ([]byte, error) { return g.Token.RSAEncrypt(ctx, key, spec, data) })
}

// RSADecrypt implements Crypto.
func (g *Guard) RSADecrypt(ctx context.Context, key Ref, spec RSACipherSpec, data []byte) (Material, error) {
	return guarded(ctx, g, []Mechanism{spec.Mechanism()}, func() (Material, error) { return g.Token.RSADecrypt(ctx, key, spec, data) })
}

// Sign implements Crypto.
func (g *Guard) Sign(ctx context.Context, key Ref, spec SignSpec, digest []byte) ([]byte, error) {
	return guarded(ctx, g, []Mechanism{spec.Mechanism()}, func() ([]byte, error) { return g.Token.Sign(ctx, key, spec, digest) })
}

// Verify implements Crypto.
func (g *Guard) Verify(ctx context.Context, key Ref, spec SignSpec, digest, signature []byte) (bool, error) {
	return guarded(ctx, g, []Mechanism{spec.Mechanism()}, func() (bool, error) { return g.Token.Verify(ctx, key, spec, digest, signature) })
}

// MAC implements Crypto.
func (g *Guard) MAC(ctx context.Context, key Ref, bits int, spec MACSpec, data []byte) ([]byte, error) {
	return guarded(ctx, g, spec.mechanisms(bits), func() ([]byte, error) { return g.Token.MAC(ctx, key, bits, spec, data) })
}

// ECDH implements Crypto.
func (g *Guard) ECDH(ctx context.Context, key Ref, peer []byte) (Material, error) {
	return guarded(ctx, g, []Mechanism{MechanismECDH}, func() (Material, error) { return g.Token.ECDH(ctx, key, peer) })
}

// PublicKey implements Crypto.
func (g *Guard) PublicKey(ctx context.Context, key Ref) ([]byte, error) {
	return guarded(ctx, g, nil, func() ([]byte, error) { return g.Token.PublicKey(ctx, key) })
}

// Scratch implements Token.
func (g *Guard) Scratch(ctx context.Context, keys []ScratchKey, f func([]Ref) error) error {
	return guardedErr(ctx, g, nil, func() error { return g.Token.Scratch(ctx, keys, f) })
}
