package hsm

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
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
	way := g.Info().Capabilities.pairTest(spec) // a blocked mechanism says nothing about the pair
	if way == nil {
		g.pairs.untested.Add(1)
		return true, nil
	}
	g.pairs.tested.Add(1)
	return way(ctx, g, private, key)
}

// pairTest has a private key do something and looks at it with the public key, an *rsa.PublicKey or *ecdsa.PublicKey.
type pairTest func(ctx context.Context, g *Guard, private Ref, public any) (bool, error)

// TestsPair tells whether some operation can test a pair with this private key: one that the token has and its usage allows.
func (c Capabilities) TestsPair(private KeySpec) bool { return c.pairTest(private) != nil }

// pairHashes are those of PSS and OAEP in the order in which a test takes them. With SHA-384 and SHA-512 the paddings do not
// fit into every modulus.
var pairHashes = []struct {
	hash Hash
	oaep OAEPHash
	bits int // of the modulus, at least
}{{SHA256, OAEPSHA256, 1024}, {SHA384, OAEPSHA384, 2048}, {SHA512, OAEPSHA512, 2048}}

// pairTest is the test of a pair, nil when there is none.
func (c Capabilities) pairTest(private KeySpec) pairTest {
	may := func(u Usage) bool { return private.Usage&u != 0 }
	if private.Type == KeyEC {
		switch {
		case may(UsageSign) && slices.Contains(c.ECDSA, private.Curve):
			return signsEC(private.Curve)
		case may(UsageDerive) && slices.Contains(c.ECDH, private.Curve):
			return agreesEC
		}
		return nil
	}
	if may(UsageSign) && c.PKCS1v15Sign {
		return signsRSA
	}
	for _, h := range pairHashes {
		switch {
		case private.Bits < h.bits || !h.hash.usable():
		case may(UsageSign) && c.signs(SignSpec{Scheme: SignRSAPSS, Hash: h.hash}, 0):
			return signsPSS(h.hash)
		case may(UsageDecrypt) && c.rsa(RSACipherSpec{OAEP: true, Hash: h.hash}):
			return decryptsOAEP(h.hash)
		case may(UsageUnwrap) && (slices.Contains(c.OAEP, h.oaep) || slices.Contains(c.OAEPComposed, h.oaep)):
			return unwrapsOAEP(h.hash, h.oaep)
		}
	}
	switch {
	case may(UsageDecrypt) && c.PKCS1v15Encrypt:
		return decryptsRSA
	case may(UsageUnwrap) && c.RSAPKCS1v15:
		return unwrapsRSA
	}
	return nil
}

// pairMessage is what the test signs and encrypts.
var pairMessage = []byte("kmipd pairwise consistency test!")

// pairDigest is its hash.
func pairDigest(h Hash) []byte {
	d := h.new()
	d.Write(pairMessage)
	return d.Sum(nil)
}

func signsRSA(ctx context.Context, g *Guard, private Ref, public any) (bool, error) {
	sig, err := g.Token.Sign(ctx, private, SignSpec{Scheme: SignRSAPKCS1v15, Hash: SHA256}, pairDigest(SHA256))
	if err != nil {
		return false, err
	}
	em := openedRSA(public, sig)
	return bytes.HasPrefix(em, []byte{0, 1, 0xff, 0xff}) && bytes.HasSuffix(em, slices.Concat([]byte{0xff, 0}, digestInfo[SHA256], pairDigest(SHA256))), nil
}

// openedRSA is the padded message of a signature, as long as the modulus. With math/big instead of crypto/rsa, which refuses short
// moduli in some modes: this is arithmetic on public values.
func openedRSA(public any, sig []byte) []byte {
	key, ok := public.(*rsa.PublicKey)
	if !ok {
		return nil
	}
	m := new(big.Int).Exp(new(big.Int).SetBytes(sig), big.NewInt(int64(key.E)), key.N)
	return m.FillBytes(make([]byte, key.Size()))
}

func signsPSS(h Hash) pairTest {
	return func(ctx context.Context, g *Guard, private Ref, public any) (bool, error) {
		sig, err := g.Token.Sign(ctx, private, SignSpec{Scheme: SignRSAPSS, Hash: h, Salt: h.Size()}, pairDigest(h))
		key, ok := public.(*rsa.PublicKey)
		if err != nil || !ok {
			return false, err
		}
		soft := hashCodes[h].soft
		return rsa.VerifyPSS(key, soft, pairDigest(h), sig, &rsa.PSSOptions{SaltLength: h.Size(), Hash: soft}) == nil, nil
	}
}

func decryptsOAEP(h Hash) pairTest {
	return func(ctx context.Context, g *Guard, private Ref, public any) (bool, error) {
		blob, err := forPair(public, h)
		if err != nil {
			return false, err
		}
		got, err := g.Token.RSADecrypt(ctx, private, RSACipherSpec{OAEP: true, Hash: h}, blob)
		return bytes.Equal(got, pairMessage), notInvalid(err)
	}
}

func unwrapsOAEP(h Hash, oaep OAEPHash) pairTest {
	return func(ctx context.Context, g *Guard, private Ref, public any) (bool, error) {
		blob, err := forPair(public, h)
		if err != nil {
			return false, err
		}
		got, err := g.Token.UnwrapBytes(ctx, private, WrapSpec{Mechanism: WrapRSAOAEP, Hash: oaep}, blob)
		return bytes.Equal(got, pairMessage), notInvalid(err)
	}
}

func decryptsRSA(ctx context.Context, g *Guard, private Ref, public any) (bool, error) {
	blob, err := forPair(public, 0)
	if err != nil {
		return false, err
	}
	got, err := g.Token.RSADecrypt(ctx, private, RSACipherSpec{}, blob)
	return bytes.Equal(got, pairMessage), notInvalid(err)
}

func unwrapsRSA(ctx context.Context, g *Guard, private Ref, public any) (bool, error) {
	blob, err := forPair(public, 0)
	if err != nil {
		return false, err
	}
	got, err := g.Token.UnwrapBytes(ctx, private, WrapSpec{Mechanism: WrapRSAPKCS1v15}, blob)
	return bytes.Equal(got, pairMessage), notInvalid(err)
}

// forPair is the message under the public key, by OAEP or, without a hash, by PKCS #1 v1.5.
func forPair(public any, h Hash) (blob []byte, err error) {
	key, ok := public.(*rsa.PublicKey)
	switch {
	case !ok:
		return nil, refuse(KindInternal, "the public key is of another type than its pair")
	case h == 0:
		blob, err = rsa.EncryptPKCS1v15(rand.Reader, key, pairMessage) //nolint:staticcheck // SA1019: what a token tests that has nothing else; the message is no secret
	default:
		blob, err = rsa.EncryptOAEP(h.new(), rand.Reader, key, pairMessage, nil)
	}
	if err != nil {
		return nil, refuse(KindUnsupported, "the public key is refused for encryption")
	}
	return blob, nil
}

// notInvalid takes data that does not decrypt for a wrong result, which is no error.
func notInvalid(err error) error {
	if errors.Is(err, ErrInvalidData) {
		return nil
	}
	return err
}

func signsEC(c Curve) pairTest {
	return func(ctx context.Context, g *Guard, private Ref, public any) (bool, error) {
		sig, err := g.Token.Sign(ctx, private, SignSpec{Scheme: SignECDSA}, pairDigest(SHA256))
		key, ok := public.(*ecdsa.PublicKey)
		n := c.OrderOctets()
		if err != nil || !ok || len(sig) != 2*n {
			return false, err
		}
		return ecdsa.Verify(key, pairDigest(SHA256), new(big.Int).SetBytes(sig[:n]), new(big.Int).SetBytes(sig[n:])), nil
	}
}

func agreesEC(ctx context.Context, g *Guard, private Ref, public any) (bool, error) {
	key, ok := public.(*ecdsa.PublicKey)
	if !ok {
		return false, nil
	}
	theirs, err := key.ECDH()
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
