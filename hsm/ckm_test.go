package hsm

import (
	"slices"
	"testing"
)

func TestMechanismName(t *testing.T) {
	for code, want := range map[uint]string{0x1087: "CKM_AES_GCM", 0x1: "CKM_RSA_PKCS", 0x1041: "CKM_ECDSA", 0x80000001: "0x80000001", 0xfffe: "0x0000fffe"} {
		if got := MechanismName(code); got != want {
			t.Errorf("%#x: got %s, want %s", code, got, want)
		}
	}
}

// What is blocked is not offered, and the rest is named once.
func TestOffers(t *testing.T) {
	c := Capabilities{AESModes: []CipherMode{ModeECB, ModeECBPad, ModeGCM}, HMAC: []Hash{SHA256}, OAEP: []OAEPHash{OAEPSHA1}, OAEPEncrypt: []Hash{SHA1}, ECDSA: []Curve{CurveP256}, KW: true}
	want := []Mechanism{"AES-ECB", "AES-GCM", "AES-KW", "ECDSA", "HMAC-SHA-256", "RSA-OAEP-SHA-1"}
	if got := c.Mechanisms(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	got := c.without(func(m Mechanism) bool { return m == "AES-GCM" || m == MechanismECDSA }).Mechanisms()
	if slices.Contains(got, "AES-GCM") || slices.Contains(got, MechanismECDSA) || len(got) != 4 {
		t.Errorf("got %v", got)
	}
}
