package hsm

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"math/big"
	"slices"
	"sync/atomic"
)

// PairCount counts the pairs that were tested since the start.
type PairCount struct {
	Tested   uint64 `json:"tested"`
	Failed   uint64 `json:"failed"`
	Untested uint64 `json:"untested"` // the private key may do nothing that a test could use
}

type pairCounters struct{ tested, failed, untested atomic.Uint64 }

func (c *pairCounters) count() PairCount {
	return PairCount{c.tested.Load(), c.failed.Load(), c.untested.Load()}
}

// testPair is the pairwise consistency test (FIPS 140-3 IG 10.3.A asks it of a module; here it is the system's, over
// the interface that the key will be used through). A pair that fails is destroyed, both halves, and the error state
// entered. The public operations are computed here, from the public key that is about to be published, so that its usage
// flags do not matter; the private key does what its flags allow.
func (g *Guard) testPair(ctx context.Context, spec PairSpec, spki []byte) error {
	private := Ref{ClassPrivateKey, spec.Private.ID}
	ok, err := g.consistent(ctx, private, spec.Private, spki)
	if ok && err == nil {
		return nil
	}
	undone := g.destroyPair(ctx, spec)
	if unfinished(err) {
		return errors.Join(err, undone) // the token went away: nothing is known of the pair, and it is gone
	}
	g.pairs.failed.Add(1)
	g.Fail("PAIRWISE", "a generated key pair failed its pairwise consistency test")
	return errErrorState()
}

// destroyPair removes both halves of a pair that nobody hears of.
func (g *Guard) destroyPair(ctx context.Context, spec PairSpec) (err error) {
	for _, ref := range []Ref{{ClassPrivateKey, spec.Private.ID}, {ClassPublicKey, spec.Public.ID}} {
		if undone := g.Token.Destroy(context.WithoutCancel(ctx), ref); undone != nil && !errors.Is(undone, ErrNotFound) {
			err = errors.Join(err, undone)
		}
	}
	return err
}

// unfinished tells an error that says nothing about whether the token computes right.
func unfinished(err error) bool {
	return err != nil && (errors.Is(err, ErrUnavailable) || errors.Is(err, ErrNotFound) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded))
}

// consistent tells whether what the private key does fits the public key.
func (g *Guard) consistent(ctx context.Context, private Ref, spec KeySpec, spki []byte) (bool, error) {
	key, err := spkiKey(spki)
	if err != nil {
		return false, err
	}
	g.pairs.tested.Add(1)
	caps := g.Token.Info().Capabilities
	switch public := key.(type) {
	case *rsa.PublicKey:
		switch {
		case spec.Usage&UsageSign != 0 && caps.PKCS1v15Sign:
			return g.signsRSA(ctx, private, public)
		case spec.Usage&UsageDecrypt != 0 && caps.rsa(RSACipherSpec{OAEP: true, Hash: SHA256}):
			return g.decryptsRSA(ctx, private, public)
		case spec.Usage&UsageUnwrap != 0 && (slices.Contains(caps.OAEP, OAEPSHA256) || slices.Contains(caps.OAEPComposed, OAEPSHA256)):
			return g.unwrapsRSA(ctx, private, public)
		}
	case *ecdsa.PublicKey:
		switch {
		case spec.Usage&UsageSign != 0 && slices.Contains(caps.ECDSA, spec.Curve):
			return g.signsEC(ctx, private, public, spec.Curve)
		case spec.Usage&UsageDerive != 0 && slices.Contains(caps.ECDH, spec.Curve):
			return g.agreesEC(ctx, private, public)
		}
	}
	g.pairs.tested.Add(^uint64(0))
	g.pairs.untested.Add(1)
	return true, nil
}

// pairMessage is what the test signs.
func pairMessage() []byte {
	sum := sha256.Sum256([]byte("kmipd pairwise consistency"))
	return sum[:]
}

func (g *Guard) signsRSA(ctx context.Context, private Ref, public *rsa.PublicKey) (bool, error) {
	sig, err := g.Token.Sign(ctx, private, SignSpec{Scheme: SignRSAPKCS1v15, Hash: SHA256}, pairMessage())
	if err != nil {
		return false, err
	}
	// With math/big instead of crypto/rsa, which refuses short moduli in some modes: this is arithmetic on public values.
	m := new(big.Int).Exp(new(big.Int).SetBytes(sig), big.NewInt(int64(public.E)), public.N)
	em := m.FillBytes(make([]byte, public.Size()))
	return bytes.HasPrefix(em, []byte{0, 1, 0xff, 0xff}) && bytes.HasSuffix(em, slices.Concat([]byte{0xff, 0}, digestInfo[SHA256], pairMessage())), nil
}

func (g *Guard) decryptsRSA(ctx context.Context, private Ref, public *rsa.PublicKey) (bool, error) {
	blob, err := rsa.EncryptOAEP(crypto.SHA256.New(), rand.Reader, public, pairMessage(), nil)
	if err != nil {
		return false, refuse(KindUnsupported, "the public key is refused for OAEP")
	}
	got, err := g.Token.RSADecrypt(ctx, private, RSACipherSpec{OAEP: true, Hash: SHA256}, blob)
	return bytes.Equal(got, pairMessage()), notInvalid(err)
}

func (g *Guard) unwrapsRSA(ctx context.Context, private Ref, public *rsa.PublicKey) (bool, error) {
	blob, err := rsa.EncryptOAEP(crypto.SHA256.New(), rand.Reader, public, pairMessage(), nil)
	if err != nil {
		return false, refuse(KindUnsupported, "the public key is refused for OAEP")
	}
	got, err := g.Token.UnwrapBytes(ctx, private, WrapSpec{Mechanism: WrapRSAOAEP, Hash: OAEPSHA256}, blob)
	return bytes.Equal(got, pairMessage()), notInvalid(err)
}

// notInvalid takes data that does not decrypt for a wrong result, which is no error.
func notInvalid(err error) error {
	if errors.Is(err, ErrInvalidData) {
		return nil
	}
	return err
}

func (g *Guard) signsEC(ctx context.Context, private Ref, public *ecdsa.PublicKey, c Curve) (bool, error) {
	sig, err := g.Token.Sign(ctx, private, SignSpec{Scheme: SignECDSA}, pairMessage())
	if err != nil || len(sig) != 2*c.OrderOctets() {
		return false, err
	}
	n := c.OrderOctets()
	return ecdsa.Verify(public, pairMessage(), new(big.Int).SetBytes(sig[:n]), new(big.Int).SetBytes(sig[n:])), nil
}

func (g *Guard) agreesEC(ctx context.Context, private Ref, public *ecdsa.PublicKey) (bool, error) {
	theirs, err := public.ECDH()
	if err != nil {
		return false, refuse(KindInternal, "the token's public key is not on its curve")
	}
	ours, err := theirs.Curve().GenerateKey(rand.Reader)
	if err != nil {
		return false, refuse(KindInternal, "no key for the test")
	}
	return g.agrees(ctx, private, ours, theirs)
}

// agrees compares the token's shared secret with ours.
func (g *Guard) agrees(ctx context.Context, private Ref, ours *ecdh.PrivateKey, theirs *ecdh.PublicKey) (bool, error) {
	want, err := ours.ECDH(theirs)
	if err != nil {
		return false, refuse(KindInternal, "no shared secret")
	}
	defer clear(want)
	peer, err := x509.MarshalPKIXPublicKey(ours.PublicKey())
	if err != nil {
		return false, refuse(KindInternal, "no public key for the test")
	}
	got, err := g.Token.ECDH(ctx, private, peer)
	defer got.Wipe()
	return bytes.Equal(got, want), err
}
