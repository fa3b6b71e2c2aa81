package keystore

import (
	"encoding/asn1"
	"slices"
)

// weakCiphers are what PKCS#12 containers were once encrypted or authenticated with: the algorithms of RFC 7292 appendix C
// (3DES, RC2 and RC4), of PBES1 (DES, RC2), the ciphers themselves inside PBES2, and MD5.
var weakCiphers = []asn1.ObjectIdentifier{
	{1, 2, 840, 113549, 1, 12, 1}, // pkcs-12PbeIds
	{1, 2, 840, 113549, 1, 5, 1}, {1, 2, 840, 113549, 1, 5, 3}, {1, 2, 840, 113549, 1, 5, 4}, {1, 2, 840, 113549, 1, 5, 6},
	{1, 2, 840, 113549, 1, 5, 10}, {1, 2, 840, 113549, 1, 5, 11}, // PBES1
	{1, 2, 840, 113549, 3}, // RC2, RC4, 3DES, RC5
	{1, 3, 14, 3, 2, 7},    // DES
	{1, 2, 840, 113549, 2, 5},
}

// weakPFX tells that a PKCS#12 container names one of weakCiphers where it can be seen without its password. What strict
// policies ask: the key in it has been where anybody could break it open.
func weakPFX(der []byte) bool { return namesWeak(der, 0) }

func namesWeak(der []byte, depth int) bool {
	const maxDepth = 32
	for len(der) > 0 && depth < maxDepth {
		var m asn1.RawValue
		rest, err := asn1.Unmarshal(der, &m)
		if err != nil {
			return false // octets that are no structure
		}
		der = rest
		var oid asn1.ObjectIdentifier
		if _, err := asn1.Unmarshal(m.FullBytes, &oid); err == nil && slices.ContainsFunc(weakCiphers, func(w asn1.ObjectIdentifier) bool {
			return len(oid) >= len(w) && slices.Equal(oid[:len(w)], w)
		}) {
			return true
		}
		inside := m.IsCompound || m.Class == asn1.ClassUniversal && m.Tag == asn1.TagOctetString
		if inside && namesWeak(m.Bytes, depth+1) {
			return true
		}
	}
	return false
}
