package keystore

import (
	"context"
	"crypto/fips140"
	"crypto/sha1" //nolint:gosec // legacy signatures and codes are verified with it, as the policy allows
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"hash"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/kmip"
)

// params are the Cryptographic Parameters to use: those of the request, else the key's with the lowest index (KMIP 1.4
// sections 4.29 to 4.34), else none, of which each service makes what it can. Those of the request need not be among the
// key's; that is asked for wrapping and derivation alone (section 2.1.6).
func (o object) params(given *kmip.CryptographicParameters) (*kmip.CryptographicParameters, error) {
	if given != nil {
		return given, nil
	}
	p := new(kmip.CryptographicParameters)
	lowest := -1
	for i, a := range o.Attributes {
		if a.Name == "Cryptographic Parameters" && (lowest < 0 || a.Index < o.Attributes[lowest].Index) {
			lowest = i
		}
	}
	if lowest < 0 {
		return p, nil
	}
	return p, p.Decode(o.Attributes[lowest].Value)
}

// unsupported refuses a value of a field.
func unsupported(field string, value any, with string) error {
	return badField("%s %v is not supported with %s", field, value, with)
}

// hashes is the table of Hashing Algorithms: how the server computes them, and what they are to the token. There is no
// row for MD2, MD4, MD5 and the like: nothing that they do is safe.
var hashes = map[kmip.HashingAlgorithm]struct {
	new   func() hash.Hash
	token hsm.Hash // 0: for Hash alone
}{
	kmip.HashingAlgorithmSHA1:       {sha1.New, hsm.SHA1},
	kmip.HashingAlgorithmSHA224:     {sha256.New224, hsm.SHA224},
	kmip.HashingAlgorithmSHA256:     {sha256.New, hsm.SHA256},
	kmip.HashingAlgorithmSHA384:     {sha512.New384, hsm.SHA384},
	kmip.HashingAlgorithmSHA512:     {sha512.New, hsm.SHA512},
	kmip.HashingAlgorithmSHA512_224: {sha512.New512_224, 0},
	kmip.HashingAlgorithmSHA512_256: {sha512.New512_256, 0},
	kmip.HashingAlgorithmSHA3_224:   {func() hash.Hash { return sha3.New224() }, 0},
	kmip.HashingAlgorithmSHA3_256:   {func() hash.Hash { return sha3.New256() }, 0},
	kmip.HashingAlgorithmSHA3_384:   {func() hash.Hash { return sha3.New384() }, 0},
	kmip.HashingAlgorithmSHA3_512:   {func() hash.Hash { return sha3.New512() }, 0},
}

// newHash makes a hash. Go refuses SHA-1 in its FIPS-only mode by a panic.
func newHash(h kmip.HashingAlgorithm) (hash.Hash, error) {
	if h == kmip.HashingAlgorithmSHA1 && fips140.Enforced() {
		return nil, badField("Hashing Algorithm %s is not available in FIPS 140 mode", h)
	}
	return hashes[h].new(), nil
}

// tokenHash is the token's name for a hash that it is to use with a key.
func tokenHash(pol *fips.Policy, use fips.Use, h kmip.HashingAlgorithm, field string) (hsm.Hash, error) {
	if pol.Strict() { // its refusal says more than that of the server's own table
		if err := pol.AllowHash(use, h); err != nil {
			return 0, err
		}
	}
	row, ok := hashes[h]
	if !ok || row.token == 0 {
		return 0, unsupported(field, h, "keys")
	}
	return row.token, pol.AllowHash(use, h)
}

// noPadding refuses a Padding Method that a mode has no use for.
func noPadding(p *kmip.CryptographicParameters) error {
	if p.PaddingMethod != 0 && p.PaddingMethod != kmip.PaddingMethodNone {
		return unsupported("Padding Method", p.PaddingMethod, "Block Cipher Mode "+p.BlockCipherMode.String())
	}
	return nil
}

// randomIV draws an IV from the token.
func (s *Store) randomIV(ctx context.Context, octets int) ([]byte, error) {
	iv, err := s.token.Random(ctx, octets)
	return iv, toKMIP(err)
}
