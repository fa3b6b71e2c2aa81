package hsm

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/asn1"
	"io"
	"math/big"
)

// Signer is a crypto.Signer for a private key on a token, for the parts of the standard library that sign: certificates,
// revocation lists, certificate requests. crypto11 has signers, too, but finds a key by one CKA_ID for both halves of a
// pair, and the halves of ours have one each.
//
// A Signer belongs to one operation: it holds that operation's context, since crypto.Signer has no argument for one.
type Signer struct {
	ctx    context.Context
	token  Crypto
	key    Ref
	public crypto.PublicKey
}

var _ crypto.Signer = (*Signer)(nil)

// NewSigner makes a Signer of a private key whose public half is an *rsa.PublicKey or an *ecdsa.PublicKey; ErrUnsupported
// for any other. Nothing checks that the halves belong together.
func NewSigner(ctx context.Context, token Crypto, key Ref, public crypto.PublicKey) (*Signer, error) {
	switch public.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey:
		return &Signer{ctx: ctx, token: token, key: key, public: public}, nil
	}
	return nil, refuse(KindUnsupported, "the type of a signer's public key")
}

// Public implements crypto.Signer.
func (s *Signer) Public() crypto.PublicKey { return s.public }

// Sign implements crypto.Signer: PKCS #1 v1.5, PSS (with *rsa.PSSOptions) or ECDSA as DER (RFC 3279 section 2.2.3). The
// randomness is the token's; the reader is not used. A salt length that is left open is that of the hash.
func (s *Signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return signFor(s.public, opts, func(spec SignSpec) ([]byte, error) { return s.token.Sign(s.ctx, s.key, spec, digest) })
}

// specFor is the token's word for what a caller of crypto.Signer wants.
func specFor(public crypto.PublicKey, opts crypto.SignerOpts) (SignSpec, error) {
	hash, ok := hashOf[opts.HashFunc()]
	if !ok {
		return SignSpec{}, refuse(KindUnsupported, "the hash of a signature")
	}
	spec := SignSpec{Scheme: SignRSAPKCS1v15, Hash: hash}
	pss, isPSS := opts.(*rsa.PSSOptions)
	ec := isEC(public)
	switch {
	case ec && isPSS:
		return SignSpec{}, refuse(KindInvalidKey, "PSS needs an RSA key")
	case ec:
		spec.Scheme = SignECDSA
	case isPSS:
		spec.Scheme, spec.Salt = SignRSAPSS, pss.SaltLength
		if spec.Salt <= 0 { // rsa.PSSSaltLengthAuto, rsa.PSSSaltLengthEqualsHash
			spec.Salt = opts.HashFunc().Size()
		}
	}
	return spec, nil
}

// signFor turns a call of crypto.Signer into one of the token's.
func signFor(public crypto.PublicKey, opts crypto.SignerOpts, sign func(SignSpec) ([]byte, error)) ([]byte, error) {
	spec, err := specFor(public, opts)
	if err != nil {
		return nil, err
	}
	sig, err := sign(spec)
	if err != nil || spec.Scheme != SignECDSA {
		return sig, err
	}
	n := len(sig) / 2
	return asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(sig[:n]), new(big.Int).SetBytes(sig[n:])})
}

// GuardedSigner is a signer that asks before and after each signature whether its mechanism may be used, such as Guard.Ready.
func GuardedSigner(signer crypto.Signer, check func(...Mechanism) error) crypto.Signer {
	return &guardedSigner{signer, check}
}

type guardedSigner struct {
	crypto.Signer
	check func(...Mechanism) error
}

// Sign implements crypto.Signer.
func (s *guardedSigner) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	spec, err := specFor(s.Public(), opts)
	if err != nil {
		return nil, err
	}
	if err := s.check(spec.Mechanism()); err != nil {
		return nil, err
	}
	sig, err := s.Signer.Sign(r, digest, opts)
	if err != nil {
		return nil, err
	}
	if err := s.check(spec.Mechanism()); err != nil {
		clear(sig)
		return nil, err
	}
	return sig, nil
}

// hashOf is this package's name of Go's hashes.
var hashOf = map[crypto.Hash]Hash{
	crypto.SHA1: SHA1, crypto.SHA224: SHA224, crypto.SHA256: SHA256, crypto.SHA384: SHA384, crypto.SHA512: SHA512,
}
