package hsm

import "slices"

// Mechanisms lists what the capabilities let keys do, without key generation.
func (c Capabilities) Mechanisms() []Mechanism {
	var out []Mechanism
	add := func(is bool, m Mechanism) {
		if is && !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	for _, m := range c.AESModes {
		add(true, CipherMechanism(KeyAES, m))
	}
	for _, m := range c.DES3Modes {
		add(true, CipherMechanism(KeyDES3, m))
	}
	add(slices.Contains(c.CMAC, KeyAES), MechanismAESCMAC)
	add(slices.Contains(c.CMAC, KeyDES3), MechanismDES3CMAC)
	for _, h := range c.HMAC {
		add(true, HMACMechanism(h))
	}
	add(c.KW, MechanismKW)
	add(c.KWP, MechanismKWP)
	for _, h := range c.OAEPEncrypt {
		add(true, OAEPMechanism(h))
	}
	for _, h := range append(slices.Clone(c.OAEP), c.OAEPComposed...) {
		add(true, OAEPMechanism(h.hash()))
	}
	add(c.PKCS1v15Encrypt || c.RSAPKCS1v15, MechanismPKCS1Crypt)
	add(c.PKCS1v15Sign, MechanismPKCS1Sign)
	for _, h := range c.PSS {
		add(true, PSSMechanism(h))
	}
	add(len(c.ECDSA) > 0, MechanismECDSA)
	add(len(c.ECDH) > 0, MechanismECDH)
	add(c.DigestKey, MechanismKeyDigest)
	slices.Sort(out)
	return out
}
