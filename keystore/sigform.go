package keystore

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"hash"
	"math/big"

	"kmipd/hsm"
	"kmipd/kmip"
)

// KMIP 1.4 does not say how Signature Data holds an ECDSA signature. This server returns the ECDSA-Sig-Value of X9.62
// (RFC 3279 section 2.2.3) in DER: what X.509, TLS and CMS use, what other KMIP servers return, and the only form that
// NLnet's Cascade reads; clients that take both tell them apart by the length. It verifies DER and the r || s of PKCS#11.

type ecdsaSignature struct{ R, S *big.Int }

// derSignature turns r || s into DER.
func derSignature(rs []byte) ([]byte, error) {
	n := len(rs) / 2
	if n == 0 || len(rs)%2 != 0 {
		return nil, hsm.ErrInternal
	}
	return asn1.Marshal(ecdsaSignature{new(big.Int).SetBytes(rs[:n]), new(big.Int).SetBytes(rs[n:])})
}

// ecdsaForms are the r || s, with n octets each, that a signature can stand for: as DER, as r || s, and in theory both.
func ecdsaForms(sig []byte, n int) [][]byte {
	var forms [][]byte
	var v ecdsaSignature
	rest, err := asn1.Unmarshal(sig, &v)
	if err == nil && len(rest) == 0 && v.R.Sign() > 0 && v.S.Sign() > 0 && v.R.BitLen() <= 8*n && v.S.BitLen() <= 8*n {
		rs := make([]byte, 2*n)
		v.R.FillBytes(rs[:n])
		v.S.FillBytes(rs[n:])
		forms = append(forms, rs)
	}
	if len(sig) == 2*n {
		forms = append(forms, sig)
	}
	return forms
}

// saltLength finds the length of the salt in a PSS signature (RFC 8017 section 9.1.2, steps 4 to 10), which needs nothing
// but the public key. It proves nothing: the token verifies with the length.
func saltLength(spki []byte, spec hsm.SignSpec, signature []byte) (int, bool) {
	key, err := x509.ParsePKIXPublicKey(spki)
	pub, ok := key.(*rsa.PublicKey)
	if err != nil || !ok {
		return 0, false
	}
	s := new(big.Int).SetBytes(signature)
	if s.Cmp(pub.N) >= 0 {
		return 0, false
	}
	mgf := spec.MGFHash
	if mgf == 0 {
		mgf = spec.Hash
	}
	mask, err := newHash(kmipHash[mgf])
	if err != nil {
		return 0, false
	}
	emBits := pub.N.BitLen() - 1
	em := new(big.Int).Exp(s, big.NewInt(int64(pub.E)), pub.N)
	emLen, hLen := (emBits+7)/8, spec.Hash.Size()
	if em.BitLen() > 8*emLen || emLen < hLen+2 {
		return 0, false
	}
	octets := em.FillBytes(make([]byte, emLen))
	db := octets[:emLen-hLen-1]
	unmask(db, octets[emLen-hLen-1:emLen-1], mask)
	db[0] &= 0xFF >> (8*emLen - emBits)
	for i, b := range db {
		if b != 0 {
			return len(db) - i - 1, b == 1 && octets[emLen-1] == 0xBC
		}
	}
	return 0, false
}

// unmask takes MGF1 (RFC 8017 appendix B.2.1) of the seed off.
func unmask(db, seed []byte, sum hash.Hash) {
	for counter := uint32(0); len(db) > 0; counter++ {
		sum.Reset()
		sum.Write(seed)
		sum.Write(binary.BigEndian.AppendUint32(nil, counter))
		mask := sum.Sum(nil)
		n := min(len(mask), len(db))
		for i := range n {
			db[i] ^= mask[i]
		}
		db = db[n:]
	}
}

// kmipHash is the Hashing Algorithm of a token's hash.
var kmipHash = map[hsm.Hash]kmip.HashingAlgorithm{
	hsm.SHA1: kmip.HashingAlgorithmSHA1, hsm.SHA224: kmip.HashingAlgorithmSHA224, hsm.SHA256: kmip.HashingAlgorithmSHA256,
	hsm.SHA384: kmip.HashingAlgorithmSHA384, hsm.SHA512: kmip.HashingAlgorithmSHA512,
}
