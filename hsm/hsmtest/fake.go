// Package hsmtest has what tests of token users need: an in-memory token that can be made to fail (NewFake), a throw-away
// SoftHSM2 token (NewSoftHSM), and the suite that any token must pass (Suite).
package hsmtest

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"kmipd/hsm"
)

// Options shape a fake token. The zero value is a token that can do everything, at once.
type Options struct {
	Latency time.Duration // of every call
	// Capabilities replace the default ones when they are not nil. They are what Info answers and what calls refuse.
	Capabilities *hsm.Capabilities
	// FreshRSA makes a new RSA key for every pair. By default a few keys per size are reused, since making them is slow.
	FreshRSA bool
	Serial   string // default "fake0001"
}

// Fake is an in-memory token. Its objects outlive it: Reopen gives a token on the same objects, as a new process would
// see them. It is safe for concurrent use.
type Fake struct {
	opts  Options
	vault *vault

	closed atomic.Bool  // refuses new calls
	dead   atomic.Bool  // running calls make no change either
	calls  sync.RWMutex // calls share it; Close waits for them by taking it alone

	mu       sync.Mutex // guards what follows
	faults   []*Fault
	counters map[string]hsm.Counter
	log      []string
	logging  bool
	lies     []Lie
	scratch  map[hsm.Ref]*object
	logins   uint64
}

var _ hsm.Token = (*Fake)(nil)

// vault is the persistent part of a fake token.
type vault struct {
	mu      sync.RWMutex
	objects map[hsm.Ref]*object
	zombies int
}

// object is one token object; it is immutable.
type object struct {
	label string
	spec  hsm.KeySpec
	local bool   // generated here
	value []byte // raw secret, PKCS#8, SubjectPublicKeyInfo, certificate or data
}

// NewFake makes an empty fake token.
func NewFake(opts ...Options) *Fake {
	var o Options
	if len(opts) > 0 {
		o = opts[0]
	}
	if o.Serial == "" {
		o.Serial = "fake0001"
	}
	return newFake(o, &vault{objects: map[hsm.Ref]*object{}})
}

func newFake(o Options, v *vault) *Fake {
	return &Fake{opts: o, vault: v, counters: map[string]hsm.Counter{}, scratch: map[hsm.Ref]*object{}, logins: 1}
}

// Reopen gives a token on the same objects. The old one answers ErrUnavailable from now on, as a dead process would not
// answer at all; a call of it that is still running makes no change any more.
func (f *Fake) Reopen() *Fake {
	f.vault.mu.Lock()
	defer f.vault.mu.Unlock()
	f.die()
	return newFake(f.opts, f.vault)
}

func (f *Fake) die() {
	f.closed.Store(true)
	f.dead.Store(true)
}

// Len is the number of objects, zombies included.
func (f *Fake) Len() int {
	f.vault.mu.RLock()
	defer f.vault.mu.RUnlock()
	return len(f.vault.objects) + f.vault.zombies
}

// Has says whether an object exists. It is no call: faults do not touch it.
func (f *Fake) Has(ref hsm.Ref) bool {
	f.vault.mu.RLock()
	defer f.vault.mu.RUnlock()
	return f.vault.objects[ref] != nil
}

// Remove takes an object away behind the token user's back, as an administrator with pkcs11-tool would.
func (f *Fake) Remove(ref hsm.Ref) {
	f.vault.mu.Lock()
	defer f.vault.mu.Unlock()
	delete(f.vault.objects, ref)
}

// Info implements hsm.Token.
func (f *Fake) Info() hsm.Info {
	return hsm.Info{
		Manufacturer: "kmipd", Model: "fake", Serial: f.opts.Serial, Label: "fake", Firmware: "1.0", Library: "hsmtest",
		Identity: hsm.Identity{Cryptoki: "3.0", LibraryManufacturer: "kmipd", HardwareVersion: "1.0", FirmwareVersion: "1.0",
			TokenFlags: hsm.TokenRNG | hsm.TokenLoginRequired | hsm.TokenPINInitialized | hsm.TokenInitialized},
		Capabilities: f.capabilities(),
	}
}

func (f *Fake) capabilities() hsm.Capabilities {
	if f.opts.Capabilities != nil {
		return *f.opts.Capabilities
	}
	modes := []hsm.CipherMode{hsm.ModeECB, hsm.ModeCBC, hsm.ModeCBCPad}
	hashes := []hsm.Hash{hsm.SHA1, hsm.SHA224, hsm.SHA256, hsm.SHA384, hsm.SHA512}
	curves := []hsm.Curve{hsm.CurveP256, hsm.CurveP384, hsm.CurveP521}
	return hsm.Capabilities{
		AESKeyBits: []int{128, 192, 256}, DES3: true, GenericBits: true, RSABits: []int{1024, 2048, 3072, 4096},
		Curves: curves, KW: true, KWP: true,
		OAEP:        []hsm.OAEPHash{hsm.OAEPSHA1, hsm.OAEPSHA256, hsm.OAEPSHA384, hsm.OAEPSHA512},
		RSAPKCS1v15: true, DigestKey: true, Data: true, Transport: "create-object", MaxSessions: 64,
		AESModes: append(modes[:3:3], hsm.ModeCTR, hsm.ModeGCM), DES3Modes: modes, GCMAnyIV: true, CMAC: []hsm.KeyType{hsm.KeyAES, hsm.KeyDES3},
		HMAC: hashes, PKCS1v15Encrypt: true, OAEPEncrypt: hashes, PKCS1v15Sign: true, PSS: hashes, ECDSA: curves, ECDH: curves,
		Composed: []hsm.Composition{hsm.CompositionECBPad, hsm.CompositionOAEP, hsm.CompositionPSS},
	}
}

// Random implements hsm.Token.
func (f *Fake) Random(ctx context.Context, n int) (out []byte, err error) {
	err = f.call(ctx, "Random", func(Effect) error {
		out, err = randomOctets(n)
		return err
	})
	return f.bend("Random", hsm.MechanismRNG, out), err
}

// Objects implements hsm.Token.
func (f *Fake) Objects(ctx context.Context) (out []hsm.ObjectInfo, err error) {
	err = f.call(ctx, "Objects", func(Effect) error {
		f.vault.mu.RLock()
		defer f.vault.mu.RUnlock()
		out = make([]hsm.ObjectInfo, 0, len(f.vault.objects)+f.vault.zombies)
		for ref, o := range f.vault.objects {
			out = append(out, hsm.ObjectInfo{Ref: ref, Label: o.label})
		}
		for range f.vault.zombies {
			out = append(out, hsm.ObjectInfo{Broken: true})
		}
		return nil
	})
	return out, err
}

// DestroyBroken implements hsm.Token.
func (f *Fake) DestroyBroken(ctx context.Context) (removed int, err error) {
	err = f.call(ctx, "DestroyBroken", func(Effect) error {
		return f.change(func(v *vault) error {
			removed, v.zombies = v.zombies, 0
			return nil
		})
	})
	return removed, err
}

// Healthy implements hsm.Token.
func (f *Fake) Healthy(ctx context.Context) error {
	return f.call(ctx, "Healthy", func(Effect) error { return nil })
}

// Counters implements hsm.Token; it counts by method.
func (f *Fake) Counters() map[string]hsm.Counter {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make(map[string]hsm.Counter, len(f.counters))
	for k, v := range f.counters {
		out[k] = v
	}
	return out
}

// Close implements hsm.Token: running calls end as they would have.
func (f *Fake) Close(ctx context.Context) error {
	f.closed.Store(true)
	done := make(chan struct{})
	go func() {
		f.calls.Lock()
		defer f.calls.Unlock()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// change runs one mutation of the persistent part, unless the token has crashed or been reopened meanwhile.
func (f *Fake) change(mutate func(*vault) error) error {
	f.vault.mu.Lock()
	defer f.vault.mu.Unlock()
	if f.dead.Load() {
		return unavailable()
	}
	return mutate(f.vault)
}

// put stores new objects together.
func (f *Fake) put(objects map[hsm.Ref]*object) error {
	return f.change(func(v *vault) error {
		for ref := range objects {
			if v.objects[ref] != nil {
				return fail(hsm.KindExists, "the CKA_ID is taken")
			}
		}
		for ref, o := range objects {
			v.objects[ref] = o
		}
		return nil
	})
}

func (f *Fake) get(ref hsm.Ref) (*object, error) {
	f.vault.mu.RLock()
	o := f.vault.objects[ref]
	f.vault.mu.RUnlock()
	if o != nil {
		return o, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if o := f.scratch[ref]; o != nil {
		return o, nil
	}
	return nil, fail(hsm.KindNotFound, "no such object")
}

func fail(kind hsm.Kind, text string) error { return &hsm.Error{Kind: kind, Call: "fake", Text: text} }

func unavailable() error { return fail(hsm.KindUnavailable, "the token is closed or down") }
