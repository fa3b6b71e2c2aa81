package hsmtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"kmipd/hsm"
)

// Suite is what any token must pass. Every subtest asks open for a token and leaves no object of its own behind, so open
// may return the same token each time. Subtests for what the token says it cannot do are skipped.
func Suite(t *testing.T, open func(t *testing.T) hsm.Token) {
	tests := []struct {
		name string
		run  func(*rig)
	}{
		{"Info", suiteInfo},
		{"GenerateKey", suiteGenerateKey},
		{"GenerateKeyRefusals", suiteGenerateKeyRefusals},
		{"GenerateKeyPair", suiteGenerateKeyPair},
		{"ImportSecret", suiteImportSecret},
		{"ImportPrivate", suiteImportPrivate},
		{"ImportRefusals", suiteImportRefusals},
		{"PublicKey", suitePublicKey},
		{"Certificate", suiteCertificate},
		{"Data", suiteData},
		{"NotExtractable", suiteNotExtractable},
		{"RecordedLength", suiteRecordedLength},
		{"HostileBlobs", suiteHostileBlobs},
		{"NotFound", suiteNotFound},
		{"Exists", suiteExists},
		{"WrapSecret", suiteWrapSecret},
		{"WrapPrivate", suiteWrapPrivate},
		{"WrapRSA", suiteWrapRSA},
		{"WrapBytes", suiteWrapBytes},
		{"WrapRefusals", suiteWrapRefusals},
		{"UnwrapRefusals", suiteUnwrapRefusals},
		{"Random", suiteRandom},
		{"Scratch", suiteScratch},
		{"Flags", suiteFlags},
		{"Identity", suiteIdentity},
		{"Objects", suiteObjects},
		{"Context", suiteContext},
		{"Concurrent", suiteConcurrent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &rig{T: t, tok: open(t), made: map[hsm.Ref]bool{}}
			t.Cleanup(r.clean)
			tt.run(r)
		})
	}
}

// rig is one subtest's token with the objects that it must clean up.
type rig struct {
	*testing.T
	tok  hsm.Token
	mu   sync.Mutex
	made map[hsm.Ref]bool
}

func (r *rig) ctx() context.Context { return r.T.Context() }

// ref notes an object for clean-up.
func (r *rig) ref(class hsm.Class, id hsm.TokenID) hsm.Ref {
	r.mu.Lock()
	defer r.mu.Unlock()
	ref := hsm.Ref{Class: class, ID: id}
	r.made[ref] = true
	return ref
}

func (r *rig) clean() {
	for ref := range r.made {
		if err := r.tok.Destroy(context.Background(), ref); err != nil && !errors.Is(err, hsm.ErrNotFound) {
			r.Errorf("clean-up: %v", err)
		}
	}
}

func (r *rig) must(err error, what string) {
	r.Helper()
	if err != nil {
		r.Fatalf("%s: %v", what, err)
	}
}

// want fails the test unless err is of the sentinel's kind.
func (r *rig) want(err error, sentinel *hsm.Error, what string) {
	r.Helper()
	if !errors.Is(err, sentinel) {
		r.Errorf("%s: got %v, want kind %d", what, err, sentinel.Kind)
	}
}

func (r *rig) equal(got, want []byte, what string) {
	r.Helper()
	if !bytes.Equal(got, want) {
		r.Errorf("%s: got %d octets %x, want %d octets %x", what, len(got), got, len(want), want)
	}
}

const allUsage = hsm.UsageEncrypt | hsm.UsageDecrypt | hsm.UsageSign | hsm.UsageVerify | hsm.UsageWrap | hsm.UsageUnwrap

// aes is the spec of an extractable AES key.
func aes(bits int, usage hsm.Usage) hsm.KeySpec {
	id := hsm.NewTokenID()
	return hsm.KeySpec{ID: id, Label: id.String(), Type: hsm.KeyAES, Bits: bits, Usage: usage, Extractable: true}
}

func generic(octets int) hsm.KeySpec {
	id := hsm.NewTokenID()
	return hsm.KeySpec{ID: id, Label: id.String(), Type: hsm.KeyGeneric, Bits: 8 * octets, Usage: hsm.UsageSign | hsm.UsageVerify, Extractable: true}
}

func ecPair(curve hsm.Curve) hsm.PairSpec {
	return pair(hsm.KeySpec{Type: hsm.KeyEC, Curve: curve, Usage: hsm.UsageSign}, hsm.UsageVerify)
}

func rsaPair(bits int) hsm.PairSpec {
	return pair(hsm.KeySpec{Type: hsm.KeyRSA, Bits: bits, Usage: hsm.UsageSign | hsm.UsageDecrypt | hsm.UsageUnwrap}, hsm.UsageVerify|hsm.UsageEncrypt|hsm.UsageWrap)
}

func pair(private hsm.KeySpec, publicUsage hsm.Usage) hsm.PairSpec {
	private.ID, private.Extractable = hsm.NewTokenID(), true
	private.Label = private.ID.String()
	public := private
	public.ID, public.Usage = hsm.NewTokenID(), publicUsage
	public.Label = public.ID.String()
	return hsm.PairSpec{Private: private, Public: public}
}

// generate makes a secret key and notes it.
func (r *rig) generate(spec hsm.KeySpec) hsm.Ref {
	r.Helper()
	ref := r.ref(hsm.ClassSecretKey, spec.ID)
	r.must(r.tok.GenerateKey(r.ctx(), spec), "GenerateKey")
	return ref
}

// generatePair makes a key pair and notes it.
func (r *rig) generatePair(spec hsm.PairSpec) (private, public hsm.Ref, spki []byte) {
	r.Helper()
	private, public = r.ref(hsm.ClassPrivateKey, spec.Private.ID), r.ref(hsm.ClassPublicKey, spec.Public.ID)
	spki, err := r.tok.GenerateKeyPair(r.ctx(), spec)
	r.must(err, "GenerateKeyPair")
	return private, public, spki
}

func (r *rig) export(ref hsm.Ref, bits int) hsm.Material {
	r.Helper()
	value, err := r.tok.Export(r.ctx(), ref, bits)
	r.must(err, "Export")
	return value
}

func (r *rig) imports(class hsm.Class, spec hsm.KeySpec, value []byte) hsm.Ref {
	r.Helper()
	ref := r.ref(class, spec.ID)
	r.must(r.tok.Import(r.ctx(), class, spec, value), "Import")
	return ref
}

// digest verifies Digest against the value.
func (r *rig) digest(ref hsm.Ref, value []byte) {
	r.Helper()
	sum, err := r.tok.Digest(r.ctx(), ref, 8*len(value))
	r.must(err, "Digest")
	want := sha256.Sum256(value)
	r.equal(sum, want[:], "Digest")
}

// gone verifies that an object does not exist.
func (r *rig) gone(ref hsm.Ref, what string) {
	r.Helper()
	_, err := r.tok.Export(r.ctx(), ref, 256)
	r.want(err, hsm.ErrNotFound, what)
}

func suiteInfo(r *rig) {
	info := r.tok.Info()
	if info.Label == "" || info.Serial == "" || info.Manufacturer == "" {
		r.Errorf("the token is not identified: %+v", info)
	}
	caps := info.Capabilities
	if len(caps.AESKeyBits) == 0 || !caps.KWP || caps.Transport == "" || caps.MaxSessions < 1 {
		r.Errorf("the token cannot carry kmipd: %+v", caps)
	}
	r.must(r.tok.Healthy(r.ctx()), "Healthy")
	counted := false
	for name, c := range r.tok.Counters() {
		counted = counted || c.Calls > 0
		if c.Failures > c.Calls {
			r.Errorf("%s: %d failures of %d calls", name, c.Failures, c.Calls)
		}
	}
	if !counted {
		r.Error("no call was counted")
	}
	var one hsm.Material = []byte("secret")
	if s := fmt.Sprintf("%v %x %s %#v", one, one, one, one); strings.Contains(s, "secret") || strings.Contains(s, "73656372") {
		r.Errorf("Material prints itself: %s", s)
	}
}

func suiteRandom(r *rig) {
	for _, n := range []int{0, 1, 32, 5000, 100_000} {
		a, err := r.tok.Random(r.ctx(), n)
		r.must(err, "Random")
		b, err := r.tok.Random(r.ctx(), n)
		r.must(err, "Random")
		if len(a) != n || n >= 32 && bytes.Equal(a, b) {
			r.Errorf("Random(%d): %d octets, equal: %v", n, len(a), bytes.Equal(a, b))
		}
	}
	_, err := r.tok.Random(r.ctx(), -1)
	r.want(err, hsm.ErrInvalidData, "Random(-1)")
}

func suiteObjects(r *rig) {
	secret := aes(256, hsm.UsageEncrypt)
	r.generate(secret)
	p := ecPair(hsm.CurveP256)
	private, public, _ := r.generatePair(p)
	want := map[hsm.Ref]string{
		{Class: hsm.ClassSecretKey, ID: secret.ID}: secret.Label, private: p.Private.Label, public: p.Public.Label,
	}
	if r.tok.Info().Capabilities.Data {
		id := hsm.NewTokenID()
		r.must(r.tok.StoreData(r.ctx(), id, "some data", []byte{1}), "StoreData")
		want[r.ref(hsm.ClassData, id)] = "some data"
	}
	_, err := r.tok.DestroyBroken(r.ctx())
	r.must(err, "DestroyBroken")
	list, err := r.tok.Objects(r.ctx())
	r.must(err, "Objects")
	seen := map[hsm.Ref]int{}
	for _, o := range list {
		seen[o.Ref]++
		if label, ok := want[o.Ref]; ok && label != o.Label {
			r.Errorf("label: got %q, want %q", o.Label, label)
		}
		if o.Broken {
			r.Errorf("a broken object that nothing made: %+v", o)
		}
	}
	for ref := range want {
		if seen[ref] != 1 {
			r.Errorf("object of class %d was seen %d times", ref.Class, seen[ref])
		}
	}
	r.export(private, 0) // the refreshed cache works
}

func suiteContext(r *rig) {
	ctx, cancel := context.WithCancel(r.ctx())
	cancel()
	spec := aes(256, hsm.UsageEncrypt)
	ref := r.ref(hsm.ClassSecretKey, spec.ID)
	if err := r.tok.GenerateKey(ctx, spec); !errors.Is(err, context.Canceled) {
		r.Errorf("GenerateKey under an ended context: %v", err)
	}
	r.gone(ref, "a key of an ended context")
	if _, err := r.tok.Export(ctx, ref, 256); !errors.Is(err, context.Canceled) {
		r.Errorf("Export under an ended context: %v", err)
	}
}

// suiteConcurrent runs creations, uses and destructions at once; none may fail or disturb another.
func suiteConcurrent(r *rig) {
	kek := r.generate(aes(256, hsm.UsageWrap|hsm.UsageUnwrap))
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for range 12 {
				if err := r.cycle(worker, kek); err != nil {
					r.Errorf("worker %d: %v", worker, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// cycle is the life of one key of a worker.
func (r *rig) cycle(worker int, kek hsm.Ref) error {
	if worker%4 == 0 {
		p := ecPair(hsm.CurveP256)
		private, public := r.ref(hsm.ClassPrivateKey, p.Private.ID), r.ref(hsm.ClassPublicKey, p.Public.ID)
		spki, err := r.tok.GenerateKeyPair(r.ctx(), p)
		if err != nil {
			return err
		}
		der, err := r.tok.Export(r.ctx(), private, 0)
		if err != nil {
			return err
		}
		if err := matches(der, spki); err != nil {
			return err
		}
		return errors.Join(r.tok.Destroy(r.ctx(), private), r.tok.Destroy(r.ctx(), public))
	}
	spec := aes(256, hsm.UsageEncrypt)
	ref := r.ref(hsm.ClassSecretKey, spec.ID)
	if err := r.tok.GenerateKey(r.ctx(), spec); err != nil {
		return err
	}
	value, err := r.tok.Export(r.ctx(), ref, 256)
	if err != nil {
		return err
	}
	blob, err := r.tok.Wrap(r.ctx(), kek, hsm.WrapSpec{Mechanism: hsm.WrapAESKWP}, ref, 256)
	if err != nil {
		return err
	}
	back, err := r.tok.UnwrapBytes(r.ctx(), kek, hsm.WrapSpec{Mechanism: hsm.WrapAESKWP}, blob)
	if err != nil {
		return err
	}
	if !bytes.Equal(back, value) {
		return errors.New("the key came back changed")
	}
	return r.tok.Destroy(r.ctx(), ref)
}

// matches says whether a PKCS#8 private key belongs to a SubjectPublicKeyInfo.
func matches(pkcs8, spki []byte) error {
	key, err := x509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		return err
	}
	half, ok := key.(privateKey)
	if !ok {
		return errors.New("not an asymmetric key")
	}
	der, err := x509.MarshalPKIXPublicKey(half.Public())
	if err != nil {
		return err
	}
	if !bytes.Equal(der, spki) {
		return errors.New("the halves do not match")
	}
	return nil
}
