package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"kmipd/hsm"
)

// raw makes a SoftHSM2 token in the directory and measures what it can do without a server around it, as it is asked.
func raw(dir string, length time.Duration, in io.Reader, out io.Writer) error {
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
	calls := map[string]func(context.Context) error{
		"create": r.create, "pair": r.pair, "get": r.get, "wrapped": r.wrapped, "register": r.register, "encrypt": r.encrypt,
		"gcm": r.gcm, "decrypt": r.decrypt, "sign": r.sign, "rsa": r.rsa, "mac": r.mac, "random": r.random, "certify": r.certify,
	}
	fmt.Fprintln(out, "ready")
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var op string
		var callers int
		if _, err := fmt.Sscan(lines.Text(), &op, &callers); err != nil {
			return fmt.Errorf("%q: %w", lines.Text(), err)
		}
		var rate float64
		switch call := calls[op]; {
		case op == "destroy":
			rate, err = r.destroys(ctx, callers)
		case call == nil:
			err = errors.New("no such operation")
		default:
			rate, err = r.measure(ctx, callers, call)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		fmt.Fprintln(out, rate)
	}
	return nil
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
	rsas   []hsm.Ref
	macs   []hsm.Ref
	cert   []byte
	sealed [][]byte // ciphertext || tag, of the key with the same index
	next   atomic.Uint64
}

// As many objects as the clients of the server take in turn.
const (
	keys    = 64
	rsaKeys = 8 // they take a while to make
)

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
		sealed, err := r.token.Encrypt(ctx, ref, 256, gcm, make([]byte, 1024))
		if err != nil {
			return err
		}
		r.sealed = append(r.sealed, sealed)
		if ref, err = r.madePair(ctx, hsm.KeySpec{Type: hsm.KeyEC, Curve: hsm.CurveP256}); err != nil {
			return err
		}
		r.signs = append(r.signs, ref)
		m := spec(hsm.UsageSign | hsm.UsageVerify)
		m.Type = hsm.KeyGeneric
		if err := r.token.GenerateKey(ctx, m); err != nil {
			return err
		}
		r.macs = append(r.macs, hsm.Ref{Class: hsm.ClassSecretKey, ID: m.ID})
	}
	for range rsaKeys {
		ref, err := r.madePair(ctx, hsm.KeySpec{Type: hsm.KeyRSA, Bits: 2048})
		if err != nil {
			return err
		}
		r.rsas = append(r.rsas, ref)
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}}
	r.cert, err = x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return err
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
	_, err := r.madePair(ctx, hsm.KeySpec{Type: hsm.KeyEC, Curve: hsm.CurveP256})
	return err
}

// madePair makes a key pair of the kind and returns its private half.
func (r *rawBench) madePair(ctx context.Context, kind hsm.KeySpec) (hsm.Ref, error) {
	half := func(usage hsm.Usage) hsm.KeySpec {
		k := kind
		k.ID, k.Label, k.Usage, k.Extractable = hsm.NewTokenID(), "bench", usage, true
		return k
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

// gcm is how the Encrypt and Decrypt requests of the server have it.
var gcm = hsm.CipherSpec{Mode: hsm.ModeGCM, IV: make([]byte, 12), TagBits: 128}

func (r *rawBench) gcm(ctx context.Context) error {
	_, err := r.token.Encrypt(ctx, r.key(), 256, gcm, make([]byte, 1024))
	return err
}

func (r *rawBench) decrypt(ctx context.Context) error {
	i := r.next.Add(1) % keys
	m, err := r.token.Decrypt(ctx, r.keys[i], 256, gcm, r.sealed[i])
	m.Wipe()
	return err
}

func (r *rawBench) sign(ctx context.Context) error {
	_, err := r.token.Sign(ctx, r.signs[r.next.Add(1)%keys], hsm.SignSpec{Scheme: hsm.SignECDSA, Hash: hsm.SHA256}, make([]byte, 32))
	return err
}

func (r *rawBench) rsa(ctx context.Context) error {
	how := hsm.SignSpec{Scheme: hsm.SignRSAPKCS1v15, Hash: hsm.SHA256}
	_, err := r.token.Sign(ctx, r.rsas[r.next.Add(1)%rsaKeys], how, make([]byte, 32))
	return err
}

// certify is the signature of a certificate and its store: the server leaves both to the token.
func (r *rawBench) certify(ctx context.Context) error {
	if err := r.rsa(ctx); err != nil {
		return err
	}
	return r.token.StoreCertificate(ctx, hsm.NewTokenID(), "bench", r.cert)
}

func (r *rawBench) mac(ctx context.Context) error {
	how := hsm.MACSpec{Scheme: hsm.MACHMAC, Hash: hsm.SHA256}
	_, err := r.token.MAC(ctx, r.macs[r.next.Add(1)%keys], 256, how, make([]byte, 1024))
	return err
}

func (r *rawBench) random(ctx context.Context) error {
	_, err := r.token.Random(ctx, 32)
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
