package fips

import (
	"strings"
	"testing"
	"time"

	"kmipd/kmip"
)

// What an operator ends is refused from its day on where it protects, and nothing else is touched.
func TestUntil(t *testing.T) {
	day := time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC)
	n := Narrowing{Until: Sunsets{
		Algorithms: map[string]string{"3DES": "2027-03-01"}, Hashes: map[string]string{"SHA-224": "2027-03-01"},
		Curves: map[string]string{"P-256": "2027-03-01"}, Modes: map[string]string{"ECB": "2027-03-01"},
		Paddings:   map[string]string{"PKCS1 v1.5": "2027-03-01"},
		Signatures: map[string]string{"SHA-1 with RSA Encryption (PKCS#1 v1.5)": "2027-03-01"}, Derivations: map[string]string{"HASH": "2027-03-01"},
	}}
	p, err := Default().Narrow(n)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		allow func(*Policy) error
		after bool
	}{
		{"3DES to encrypt", func(p *Policy) error { return p.Allow(Encrypt, kmip.CryptographicAlgorithmDES3, 168) }, false},
		{"3DES to decrypt", func(p *Policy) error { return p.Allow(Decrypt, kmip.CryptographicAlgorithmDES3, 168) }, true},
		{"new 3DES", func(p *Policy) error { return p.Allow(Generate, kmip.CryptographicAlgorithmDES3, 168) }, false},
		{"AES", func(p *Policy) error { return p.Allow(Encrypt, kmip.CryptographicAlgorithmAES, 128) }, true},
		{"SHA-224 to sign", func(p *Policy) error { return p.AllowHash(Sign, kmip.HashingAlgorithmSHA224) }, false},
		{"SHA-224 to verify", func(p *Policy) error { return p.AllowHash(Verify, kmip.HashingAlgorithmSHA224) }, true},
		{"SHA-256", func(p *Policy) error { return p.AllowHash(Sign, kmip.HashingAlgorithmSHA256) }, true},
		{"P-256 to sign", func(p *Policy) error { return p.AllowCurve(Sign, kmip.RecommendedCurveP256) }, false},
		{"a curve without a name", func(p *Policy) error { return p.AllowCurve(Sign, 0) }, true},
		{"ECB to encrypt", func(p *Policy) error { return p.AllowMode(Encrypt, kmip.BlockCipherModeECB) }, false},
		{"CBC", func(p *Policy) error { return p.AllowMode(Encrypt, kmip.BlockCipherModeCBC) }, true},
		{"PKCS #1 padding", func(p *Policy) error { return p.AllowPadding(Wrap, kmip.PaddingMethodPKCS1V1_5) }, false},
		{"a signature", func(p *Policy) error {
			return p.AllowSignature(Sign, kmip.DigitalSignatureAlgorithmSHA1WithRSAEncryptionPKCS1V1_5)
		}, false},
		{"derivation by hash", func(p *Policy) error { return p.AllowDerivation(kmip.DerivationMethodHASH) }, false},
		{"derivation by PBKDF2", func(p *Policy) error { return p.AllowDerivation(kmip.DerivationMethodPBKDF2) }, true},
	} {
		if err := c.allow(p.at(day.Add(-time.Second))); err != nil {
			t.Errorf("%s, a second before: %v", c.name, err)
		}
		if err := c.allow(p.at(day)); (err == nil) != c.after {
			t.Errorf("%s, on the day: %v, want allowed %t", c.name, err, c.after)
		}
	}
	before := day.AddDate(0, -1, 0)
	if state, until := p.StateOf(kmip.CryptographicAlgorithmDES3, 168, 0, before); state != Approved || !until.Equal(day) {
		t.Errorf("3DES before: %s until %s", state, until)
	}
	if state, _ := p.StateOf(kmip.CryptographicAlgorithmDES3, 168, 0, day); state != Legacy {
		t.Errorf("3DES after: %s, want legacy", state)
	}
	if state, until := p.StateOf(kmip.CryptographicAlgorithmEC, 256, kmip.RecommendedCurveP256, before); state != Approved || !until.Equal(day) {
		t.Errorf("P-256 before: %s until %s", state, until)
	}
	if state, until := p.StateOf(kmip.CryptographicAlgorithmAES, 256, 0, day); state != Approved || !until.IsZero() {
		t.Errorf("AES: %s until %s", state, until)
	}
	others := 0
	for _, r := range p.Rules() { // without them the report would tell of a stricter policy than there is
		if r.Policy == narrowName && r.Value == "any other" && r.Uses == everything.String() && r.Until == "" {
			others++
		}
	}
	if others != 7 {
		t.Errorf("the rules tell %d times that other values are left alone, want once for each of 7 kinds", others)
	}
	again, err := Restore(p.Settings())
	if err != nil || again.Fingerprint() != p.Fingerprint() {
		t.Errorf("from its settings: %v, or another policy", err)
	}
	if laxer := Default().Laxer(p, before, 9); len(laxer) == 0 {
		t.Error("the policy without the days is not laxer")
	}
	_, err = Default().Narrow(Narrowing{Until: Sunsets{Algorithms: map[string]string{"DES9": "2027-03-01", "AES": "soon"}}})
	if err == nil || !strings.Contains(err.Error(), "DES9") || !strings.Contains(err.Error(), `AES = "soon"`) {
		t.Errorf("got %v, want both mistakes", err)
	}
}
