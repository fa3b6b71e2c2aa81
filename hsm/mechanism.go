package hsm

import "slices"

// Mechanism names what a self-test tests and what is blocked when it fails. It is as wide as the PKCS#11 mechanism: ECDSA
// is one on all curves, RSA one on all lengths.
type Mechanism string

// The mechanisms without parameter. The others are made by the Mechanism methods.
const (
	MechanismECDSA      Mechanism = "ECDSA"
	MechanismECDH       Mechanism = "ECDH"
	MechanismPKCS1Sign  Mechanism = "RSA-PKCS1-SIGN"
	MechanismPKCS1Crypt Mechanism = "RSA-PKCS1-ENCRYPT"
	MechanismKW         Mechanism = "AES-KW"
	MechanismKWP        Mechanism = "AES-KWP"
	MechanismAESCMAC    Mechanism = "AES-CMAC"
	MechanismDES3CMAC   Mechanism = "3DES-CMAC"
	MechanismKeyDigest  Mechanism = "KEY-DIGEST" // C_DigestKey with SHA-256
	MechanismRNG        Mechanism = "RNG"
	MechanismSoftware   Mechanism = "SOFTWARE" // what the server computes itself
)

var hashNames = map[Hash]string{SHA1: "SHA-1", SHA224: "SHA-224", SHA256: "SHA-256", SHA384: "SHA-384", SHA512: "SHA-512"}

// String is the name of the hash, such as SHA-256.
func (h Hash) String() string { return hashNames[h] }

// HMACMechanism is HMAC with a hash.
func HMACMechanism(h Hash) Mechanism { return Mechanism("HMAC-" + hashNames[h]) }

// PSSMechanism is RSASSA-PSS over a hash.
func PSSMechanism(h Hash) Mechanism { return Mechanism("RSA-PSS-" + hashNames[h]) }

// OAEPMechanism is RSAES-OAEP with a hash.
func OAEPMechanism(h Hash) Mechanism { return Mechanism("RSA-OAEP-" + hashNames[h]) }

var modeNames = map[CipherMode]string{ModeECB: "ECB", ModeECBPad: "ECB", ModeCBC: "CBC", ModeCBCPad: "CBC-PAD", ModeCTR: "CTR", ModeGCM: "GCM"}

// CipherMechanism is a mode of the block cipher of a key type. ModeECBPad is ECB: the padding is made here.
func CipherMechanism(kind KeyType, mode CipherMode) Mechanism {
	if kind == KeyDES3 {
		return Mechanism("3DES-" + modeNames[mode])
	}
	return Mechanism("AES-" + modeNames[mode])
}

// mechanisms are those that a key of so many bits can use so: two where its length does not tell its type.
func (s CipherSpec) mechanisms(bits int) []Mechanism {
	aes, des := CipherMechanism(KeyAES, s.Mode), CipherMechanism(KeyDES3, s.Mode)
	switch {
	case s.Mode == ModeCTR || s.Mode == ModeGCM || bits != 192 || len(s.IV) == 16:
		return []Mechanism{aes}
	case len(s.IV) == 8:
		return []Mechanism{des}
	}
	return []Mechanism{aes, des}
}

func (s MACSpec) mechanisms(bits int) []Mechanism {
	switch {
	case s.Scheme == MACHMAC:
		return []Mechanism{HMACMechanism(s.Hash)}
	case bits == 192:
		return []Mechanism{MechanismAESCMAC, MechanismDES3CMAC}
	}
	return []Mechanism{MechanismAESCMAC}
}

// Mechanism is what signs and verifies so.
func (s SignSpec) Mechanism() Mechanism {
	switch s.Scheme {
	case SignECDSA:
		return MechanismECDSA
	case SignRSAPSS:
		return PSSMechanism(s.Hash)
	default: // PKCS #1 v1.5
	}
	return MechanismPKCS1Sign
}

// Mechanism is what encrypts and decrypts so.
func (s RSACipherSpec) Mechanism() Mechanism {
	if s.OAEP {
		return OAEPMechanism(s.Hash)
	}
	return MechanismPKCS1Crypt
}

// Name is what wraps and unwraps so.
func (w WrapSpec) Name() Mechanism {
	switch w.Mechanism {
	case WrapAESKW:
		return MechanismKW
	case WrapAESKWP:
		return MechanismKWP
	case WrapRSAOAEP:
		return OAEPMechanism(w.Hash.hash())
	case WrapRSAPKCS1v15:
	}
	return MechanismPKCS1Crypt
}

// without are the capabilities that are left when mechanisms are blocked.
func (c Capabilities) without(blocked func(Mechanism) bool) Capabilities {
	c.AESModes = keep(c.AESModes, func(m CipherMode) bool { return !blocked(CipherMechanism(KeyAES, m)) })
	c.DES3Modes = keep(c.DES3Modes, func(m CipherMode) bool { return !blocked(CipherMechanism(KeyDES3, m)) })
	c.CMAC = keep(c.CMAC, func(k KeyType) bool {
		return k == KeyAES && !blocked(MechanismAESCMAC) || k == KeyDES3 && !blocked(MechanismDES3CMAC)
	})
	c.HMAC = keep(c.HMAC, func(h Hash) bool { return !blocked(HMACMechanism(h)) })
	c.PSS = keep(c.PSS, func(h Hash) bool { return !blocked(PSSMechanism(h)) })
	c.OAEPEncrypt = keep(c.OAEPEncrypt, func(h Hash) bool { return !blocked(OAEPMechanism(h)) })
	oaep := func(h OAEPHash) bool { return !blocked(OAEPMechanism(h.hash())) }
	c.OAEP, c.OAEPComposed = keep(c.OAEP, oaep), keep(c.OAEPComposed, oaep)
	if blocked(MechanismECDSA) {
		c.ECDSA = nil
	}
	if blocked(MechanismECDH) {
		c.ECDH = nil
	}
	c.KW = c.KW && !blocked(MechanismKW)
	c.KWP = c.KWP && !blocked(MechanismKWP)
	c.PKCS1v15Sign = c.PKCS1v15Sign && !blocked(MechanismPKCS1Sign)
	c.PKCS1v15Encrypt = c.PKCS1v15Encrypt && !blocked(MechanismPKCS1Crypt)
	c.RSAPKCS1v15 = c.RSAPKCS1v15 && !blocked(MechanismPKCS1Crypt)
	return c
}

func keep[T any](list []T, f func(T) bool) []T {
	return slices.DeleteFunc(slices.Clone(list), func(v T) bool { return !f(v) })
}
