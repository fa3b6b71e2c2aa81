package hsm

import (
	"crypto"
	"crypto/fips140"
	"hash"

	p11 "github.com/miekg/pkcs11"
)

// hashCodes are the PKCS#11 numbers and Go's name of each hash.
var hashCodes = map[Hash]struct {
	digest, mgf, hmac uint
	soft              crypto.Hash
}{
	SHA1:   {p11.CKM_SHA_1, p11.CKG_MGF1_SHA1, p11.CKM_SHA_1_HMAC, crypto.SHA1},
	SHA224: {p11.CKM_SHA224, p11.CKG_MGF1_SHA224, p11.CKM_SHA224_HMAC, crypto.SHA224},
	SHA256: {p11.CKM_SHA256, p11.CKG_MGF1_SHA256, p11.CKM_SHA256_HMAC, crypto.SHA256},
	SHA384: {p11.CKM_SHA384, p11.CKG_MGF1_SHA384, p11.CKM_SHA384_HMAC, crypto.SHA384},
	SHA512: {p11.CKM_SHA512, p11.CKG_MGF1_SHA512, p11.CKM_SHA512_HMAC, crypto.SHA512},
}

// usable says whether the hash can be computed here, for a composition: Go refuses SHA-1 in FIPS-only mode by a panic,
// and SHA-1 in a composition is not worth an exception from it.
func (h Hash) usable() bool {
	c, ok := hashCodes[h]
	return ok && c.soft.Available() && (h != SHA1 || !fips140.Enforced())
}

// new is the hash in software. SHA-1 is there because crypto/x509, which this package needs, brings it along.
func (h Hash) new() hash.Hash { return hashCodes[h].soft.New() }

// hash is the hash of OAEP as a Hash.
func (h OAEPHash) hash() Hash {
	switch h {
	case OAEPSHA1:
		return SHA1
	case OAEPSHA256:
		return SHA256
	case OAEPSHA384:
		return SHA384
	case OAEPSHA512:
		return SHA512
	}
	return 0
}
