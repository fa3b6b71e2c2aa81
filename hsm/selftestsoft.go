package hsm

import (
	"context"
	"crypto"
	"crypto/fips140"
	_ "crypto/sha3" // crypto.Hash.New finds it
	"crypto/x509"
	"math/big"

	"crypto/rsa"

	"kmipd/hsm/internal/keywrap"
	"kmipd/hsm/internal/oaep"
	"kmipd/hsm/internal/pss"
)

// The tests of what this process computes itself. Go's Cryptographic Module has its own: these see that the code around it
// gives the known answers. A failure is the process's, and ends in the error state.

// digestVectors are of "abc" (FIPS 180-4 and FIPS 202 examples).
var digestVectors = map[crypto.Hash]string{
	crypto.SHA1:       "a9993e364706816aba3e25717850c26c9cd0d89d",
	crypto.SHA224:     "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
	crypto.SHA256:     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
	crypto.SHA384:     "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
	crypto.SHA512:     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
	crypto.SHA512_224: "4634270f707b6a54daae7530460842e20e37ed265ceee9a43e8924aa",
	crypto.SHA512_256: "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23",
	crypto.SHA3_224:   "e642824c3f8cf24ad09234ee7d3c766fc9a3a5168d0c94ad73b46fdf",
	crypto.SHA3_256:   "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
	crypto.SHA3_384:   "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b298d88cea927ac7f539f1edf228376d25",
	crypto.SHA3_512:   "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0",
}

func softwareTests() []Test {
	soft := func(name string, run func() error) Test {
		return Test{MechanismSoftware, name, true, func(context.Context, Token) error { return run() }}
	}
	return []Test{
		soft("digests of abc", testDigests),
		soft("AES-KW and AES-KWP", testKeywrap),
		soft("RSA paddings", testPaddings),
	}
}

func testDigests() error {
	for h, want := range digestVectors {
		if h == crypto.SHA1 && fips140.Enforced() || !h.Available() {
			continue // Go computes no SHA-1 in that mode, so nothing uses it
		}
		sum := h.New()
		sum.Write([]byte("abc")) // never fails
		if err := equal(sum.Sum(nil), octets(want), nil); err != nil {
			return err
		}
	}
	return nil
}

func testKeywrap() error {
	for _, v := range wrapVectors {
		wrap, unwrap := keywrap.WrapKW, keywrap.UnwrapKW
		if v.how == WrapAESKWP {
			wrap, unwrap = keywrap.WrapKWP, keywrap.UnwrapKWP
		}
		got, err := wrap(octets(v.kek), octets(v.plain))
		if err := equal(got, octets(v.wrapped), err); err != nil {
			return err
		}
		got, err = unwrap(octets(v.kek), octets(v.wrapped))
		if err := equal(got, octets(v.plain), err); err != nil {
			return err
		}
		if _, err := unwrap(octets(v.kek), altered(octets(v.wrapped))); err == nil {
			return errWrong
		}
	}
	return nil
}

// testPaddings removes OAEP from what raw RSA leaves of a vector, and verifies PSS.
func testPaddings() error {
	known := rsaVector(rsa2048)
	defer clear(known["private-key"])
	parsed, err := x509.ParsePKCS8PrivateKey(known["private-key"])
	if err != nil {
		return err
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return errWrong
	}
	c := new(big.Int).SetBytes(known["oaep-sha256"])
	em := c.Exp(c, key.D, key.N).FillBytes(make([]byte, key.Size()))
	got, err := oaep.Scheme{Hash: SHA256.new, MGF: SHA256.new}.Decode(em)
	if err := equal(got, rsaPlain, err); err != nil {
		return err
	}
	abc := octets(digestVectors[crypto.SHA256])
	if !pss.Verify(SHA256.new, SHA256.new, &key.PublicKey, abc, known["pss-sha256-salt32"], 32) ||
		pss.Verify(SHA256.new, SHA256.new, &key.PublicKey, altered(abc), known["pss-sha256-salt32"], 32) {
		return errWrong
	}
	return nil
}
