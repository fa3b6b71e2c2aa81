package fips

import (
	"testing"

	"kmipd/kmip"
)

// The numbers and manners of each policy, pinned.
func TestLimits(t *testing.T) {
	sb := Limits{Hash: kmip.HashingAlgorithmSHA384, ServerIV: true, GCMUses: 32, SameMGF: true, ShortSalt: true, HMACBits: 256,
		DeriveBits: 256, OutputBits: 256, NoPlainWrapping: true, Strength: StrengthRefused, Exponents: true, X509Only: true}
	sb128 := sb
	sb128.HMACBits, sb128.DeriveBits, sb128.OutputBits, sb128.Columns = 128, 128, 128, true
	cnsa := sb
	cnsa.Strength, cnsa.X509Only = StrengthWarned, false
	for name, want := range map[string]Limits{
		"default": {},
		"fips140": {Hash: kmip.HashingAlgorithmSHA256, ServerIV: true, GCMUses: 32, SameMGF: true, ShortSalt: true, HMACBits: 112,
			DeriveBits: 112, OutputBits: 112, Salt: 16, Iterations: 10000, Password: 14, NoPlainWrapping: true, Strength: StrengthWarned, Exponents: true},
		"suiteb128": sb128, "suiteb192": sb, "cnsa1": cnsa, "cnsa2": cnsa,
	} {
		p, err := ByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Limits(); got != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
		if got := p.Strict(); got != (name != "default") {
			t.Errorf("%s: got strict %t", name, got)
		}
		// What the server takes where a client names no hash is allowed itself, for all that it is taken for.
		if h := p.Limits().Hash; h != 0 {
			for _, use := range []Use{Encrypt, Decrypt, Wrap, Unwrap, Sign, Verify, Derive} {
				if err := p.AllowHash(use, h); err != nil {
					t.Errorf("%s: the default hash: %v", name, err)
				}
			}
		}
	}
}

// Each switch belongs to the policies that it changes, and changes what its comment says.
func TestSwitches(t *testing.T) {
	for s, names := range map[Switch][]string{
		AllowECB: {"fips140"}, LegacyImport: {"fips140"}, CNSA2Transition: {"cnsa2"}, AllowOtherObject: {"suiteb128", "suiteb192"},
		AllowClientIV: {"fips140", "suiteb128", "suiteb192", "cnsa1", "cnsa2"},
	} {
		for _, name := range Names() {
			p, err := New(name, Options{Switches: []Switch{s}})
			useful := false
			for _, n := range names {
				useful = useful || n == name
			}
			if (err == nil) != useful {
				t.Errorf("%s with %s: got %v, want it taken %t", name, s, err, useful)
			}
			if err != nil {
				continue
			}
			off, _ := ByName(name)
			if !p.Has(s) || off.Has(s) || p.Fingerprint() == off.Fingerprint() {
				t.Errorf("%s with %s: got Has %t, %t without, and fingerprints %s, %s", name, s, p.Has(s), off.Has(s), p.Fingerprint(), off.Fingerprint())
			}
			if got := p.Limits().ClientIV; got != (s == AllowClientIV) {
				t.Errorf("%s with %s: got ClientIV %t", name, s, got)
			}
		}
	}
	if _, err := New("fips140", Options{Switches: []Switch{"allow-everything"}}); err == nil {
		t.Error("an unknown switch was taken")
	}
	if _, err := New("fips141", Options{}); err == nil {
		t.Error("an unknown policy was taken")
	}
	for _, name := range []string{"suiteb128", "suiteb192"} {
		p, err := New(name, Options{Switches: []Switch{AllowOtherObject}})
		if err != nil {
			t.Fatal(err)
		}
		for o, want := range map[kmip.ObjectType]bool{kmip.ObjectTypeSecretData: true, kmip.ObjectTypeOpaqueObject: true, kmip.ObjectTypeSymmetricKey: true,
			kmip.ObjectTypeSplitKey: false, kmip.ObjectTypePGPKey: false, kmip.ObjectTypeCertificateRequest: false} {
			if err := p.AllowObject(Import, o); (err == nil) != want {
				t.Errorf("%s with other-objects, %s: got %v, want allowed %t", name, o, err, want)
			}
		}
		if err := p.AllowFormat(kmip.KeyFormatTypeOpaque); err != nil {
			t.Error(err)
		}
		if p.AllowFormat(kmip.KeyFormatTypePKCS8) == nil {
			t.Errorf("%s with other-objects takes PKCS#8", name)
		}
	}
}

// Wrapping: strength (NIST SP 800-57 part 1) and columns of Suite B.
func TestAllowWrapping(t *testing.T) {
	const (
		no = iota
		yes
		weak // allowed, and logged
	)
	type key struct {
		a    kmip.CryptographicAlgorithm
		bits int
	}
	aes128, aes256, rsa2048, rsa3072 := key{kmip.CryptographicAlgorithmAES, 128}, key{kmip.CryptographicAlgorithmAES, 256},
		key{kmip.CryptographicAlgorithmRSA, 2048}, key{kmip.CryptographicAlgorithmRSA, 3072}
	p256, p384, p521 := key{kmip.CryptographicAlgorithmEC, 256}, key{kmip.CryptographicAlgorithmEC, 384}, key{kmip.CryptographicAlgorithmEC, 521}
	hmac, ed448, secret := key{kmip.CryptographicAlgorithmHMACSHA384, 384}, key{kmip.CryptographicAlgorithmEd448, 448}, key{}
	for _, c := range []struct {
		wrapper, key key
		want         map[string]int // by policy; the default policy minds nothing
	}{
		{aes256, aes256, map[string]int{"fips140": yes, "suiteb128": yes, "suiteb192": yes, "cnsa1": yes, "cnsa2": yes}},
		{aes256, aes128, map[string]int{"fips140": yes, "suiteb128": no, "suiteb192": yes, "cnsa1": yes, "cnsa2": yes}},
		{aes256, p256, map[string]int{"fips140": yes, "suiteb128": no}},
		{aes256, p384, map[string]int{"fips140": yes, "suiteb128": yes, "suiteb192": yes, "cnsa1": yes}},
		{aes256, p521, map[string]int{"fips140": yes}},
		{aes256, hmac, map[string]int{"fips140": yes, "suiteb128": yes, "suiteb192": yes, "cnsa2": yes}},
		{aes256, secret, map[string]int{"fips140": yes, "suiteb128": yes, "suiteb192": yes}},
		{aes128, aes128, map[string]int{"fips140": yes, "suiteb128": yes}},
		{aes128, p256, map[string]int{"fips140": yes, "suiteb128": yes}},
		{aes128, aes256, map[string]int{"fips140": weak, "suiteb128": no, "suiteb192": no, "cnsa1": weak}},
		{aes128, p384, map[string]int{"fips140": weak, "suiteb128": no}},
		{aes128, ed448, map[string]int{"fips140": weak}},
		{aes128, rsa3072, map[string]int{"fips140": yes}},
		{rsa2048, aes128, map[string]int{"fips140": weak, "cnsa1": weak}},
		{rsa3072, aes128, map[string]int{"fips140": yes, "cnsa1": yes}},
		{rsa3072, aes256, map[string]int{"fips140": weak, "cnsa1": weak, "suiteb192": no}},
	} {
		c.want["default"] = yes
		for name, want := range c.want {
			p, err := ByName(name)
			if err != nil {
				t.Fatal(err)
			}
			weaker, err := p.AllowWrapping(c.wrapper.a, c.wrapper.bits, c.key.a, c.key.bits)
			got := yes
			switch {
			case err != nil:
				got = no
				wantCell(t, name, err, false, kmip.ResultReasonPermissionDenied, name, "wrapping key")
			case weaker:
				got = weak
			}
			if got != want {
				t.Errorf("%s: %v under %v: got %d, want %d", name, c.key, c.wrapper, got, want)
			}
		}
	}
}
