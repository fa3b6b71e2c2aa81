package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"kmipd/hsm"
)

// rates are operations per second by operation and number of callers.
type rates map[string]map[int]float64

// raw makes a SoftHSM2 token in the directory and measures what it can do without a server around it.
func raw(dir string, length time.Duration, callers []int) error {
	token, err := freshToken(dir)
	if err != nil {
		return err
	}
	ctx := context.Background()
	defer token.Close(ctx)
	r := rawBench{token: token, length: length}
	if err := r.prepare(ctx); err != nil {
		return err
	}
	out := rates{}
	for _, op := range []struct {
		name string
		call func(context.Context) error
	}{
		{"create", r.create}, {"pair", r.pair}, {"get", r.get}, {"wrapped", r.wrapped}, {"register", r.register},
		{"encrypt", r.encrypt}, {"sign", r.sign},
	} {
		out[op.name] = map[int]float64{}
		for _, n := range callers {
			if out[op.name][n], err = r.measure(ctx, n, op.call); err != nil {
				return fmt.Errorf("%s: %w", op.name, err)
			}
		}
	}
	out["destroy"] = map[int]float64{}
	for _, n := range callers {
		if out["destroy"][n], err = r.destroys(ctx, n); err != nil {
			return fmt.Errorf("destroy: %w", err)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

// freshToken writes a SoftHSM2 configuration, which the module reads once per process, and makes a token.
func freshToken(dir string) (hsm.Token, error) {
	tokens := filepath.Join(dir, "tokens")
	if err := os.MkdirAll(tokens, 0o700); err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "softhsm2.conf")
	text := "directories.tokendir = " + tokens + "\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	if err := os.Setenv("SOFTHSM2_CONF", conf); err != nil {
		return nil, err
	}
	module := hsm.FindModule()
	if module == "" {
		return nil, errors.New("no SoftHSM2")
	}
	if _, err := hsm.InitToken(module, "bench", "0123456789", "9876543210"); err != nil {
		return nil, err
	}
	return hsm.Open(context.Background(), hsm.Config{
		Module: module, TokenLabel: "bench", PIN: "9876543210",
		CallTimeout: 5 * time.Minute, // 64 callers of a slow operation on a slow disk must all get their turn
	})
}

type rawBench struct {
	token  hsm.Token
	length time.Duration
	kek    hsm.Ref
	keys   []hsm.Ref
	signs  []hsm.Ref
	next   atomic.Uint64
}

const keys = 64 // objects that Get and Wrap take in turn, as the clients of the server do

func spec(usage hsm.Usage) hsm.KeySpec {
	return hsm.KeySpec{ID: hsm.NewTokenID(), Label: "bench", Type: hsm.KeyAES, Bits: 256, Usage: usage, Extractable: true}
}

func (r *rawBench) prepare(ctx context.Context) error {
	k := spec(hsm.UsageWrap | hsm.UsageUnwrap)
	k.Extractable = false
	if err := r.token.GenerateKey(ctx, k); err != nil {
		return err
	}
	r.kek = hsm.Ref{Class: hsm.ClassSecretKey, ID: k.ID}
	for range keys {
		ref, err := r.made(ctx)
		if err != nil {
			return err
		}
		r.keys = append(r.keys, ref)
		if ref, err = r.madePair(ctx); err != nil {
			return err
		}
		r.signs = append(r.signs, ref)
	}
	return nil
}

func (r *rawBench) made(ctx context.Context) (hsm.Ref, error) {
	s := spec(hsm.UsageEncrypt | hsm.UsageDecrypt)
	return hsm.Ref{Class: hsm.ClassSecretKey, ID: s.ID}, r.token.GenerateKey(ctx, s)
}

func (r *rawBench) key() hsm.Ref { return r.keys[r.next.Add(1)%keys] }

func (r *rawBench) create(ctx context.Context) error {
	_, err := r.made(ctx)
	return err
}

func (r *rawBench) pair(ctx context.Context) error {
	_, err := r.madePair(ctx)
	return err
}

// madePair makes a key pair and returns its private half.
func (r *rawBench) madePair(ctx context.Context) (hsm.Ref, error) {
	half := func(usage hsm.Usage) hsm.KeySpec {
		return hsm.KeySpec{ID: hsm.NewTokenID(), Label: "bench", Type: hsm.KeyEC, Curve: hsm.CurveP256, Usage: usage, Extractable: true}
	}
	public := half(hsm.UsageVerify)
	public.Extractable = false
	private := half(hsm.UsageSign)
	_, err := r.token.GenerateKeyPair(ctx, hsm.PairSpec{Private: private, Public: public})
	return hsm.Ref{Class: hsm.ClassPrivateKey, ID: private.ID}, err
}

func (r *rawBench) get(ctx context.Context) error {
	m, err := r.token.Export(ctx, r.key(), 256)
	m.Wipe()
	return err
}

func (r *rawBench) wrapped(ctx context.Context) error {
	_, err := r.token.Wrap(ctx, r.kek, hsm.WrapSpec{Mechanism: hsm.WrapAESKW}, r.key(), 256)
	return err
}

func (r *rawBench) encrypt(ctx context.Context) error {
	_, err := r.token.Encrypt(ctx, r.key(), 256, hsm.CipherSpec{Mode: hsm.ModeCBCPad, IV: make([]byte, 16)}, make([]byte, 1024))
	return err
}

func (r *rawBench) sign(ctx context.Context) error {
	_, err := r.token.Sign(ctx, r.signs[r.next.Add(1)%keys], hsm.SignSpec{Scheme: hsm.SignECDSA, Hash: hsm.SHA256}, make([]byte, 32))
	return err
}

func (r *rawBench) register(ctx context.Context) error {
	s := spec(hsm.UsageEncrypt | hsm.UsageDecrypt)
	return r.token.Import(ctx, hsm.ClassSecretKey, s, hsm.Material(append(s.ID[:], s.ID[:]...)))
}

// measure is calls per second by n callers.
func (r *rawBench) measure(ctx context.Context, n int, call func(context.Context) error) (float64, error) {
	var done atomic.Int64
	began := time.Now()
	err := together(n, func() error {
		for time.Since(began) < r.length {
			if err := call(ctx); err != nil {
				return err
			}
			done.Add(1)
		}
		return nil
	})
	return float64(done.Load()) / time.Since(began).Seconds(), err
}

// destroys measures the removal of keys made beforehand, as many as can be made in twice the time.
func (r *rawBench) destroys(ctx context.Context, n int) (float64, error) {
	var refs []hsm.Ref
	for began := time.Now(); time.Since(began) < 2*r.length; {
		ref, err := r.made(ctx)
		if err != nil {
			return 0, err
		}
		refs = append(refs, ref)
	}
	var next atomic.Int64
	began := time.Now()
	err := together(n, func() error {
		for time.Since(began) < r.length {
			i := int(next.Add(1)) - 1
			if i >= len(refs) {
				return nil
			}
			if err := r.token.Destroy(ctx, refs[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return float64(min(int(next.Load()), len(refs))) / time.Since(began).Seconds(), err
}

func together(n int, f func() error) error {
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() { errs[i] = f() })
	}
	wg.Wait()
	return errors.Join(errs...)
}
