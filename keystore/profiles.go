package keystore

import (
	"slices"
	"strings"

	"kmipd/fips"
	"kmipd/kmip"
)

// duty is what the profiles of a name need of a policy and a release policy. A profile whose duties a policy forbids is not
// claimed to those for whom the policy holds.
type duty struct {
	prefix string // of the Profile Name
	holds  func(p *fips.Policy, r Release) bool
}

func makes(p *fips.Policy, a kmip.CryptographicAlgorithm, lengths ...int) bool {
	return !slices.ContainsFunc(lengths, func(bits int) bool { return p.Allow(fips.Generate, a, bits) != nil })
}

// enciphers: the OASIS cases encrypt in ECB mode and with IVs of clients.
func enciphers(p *fips.Policy) bool {
	l := p.Limits()
	return p.AllowMode(fips.Encrypt, kmip.BlockCipherModeECB) == nil && !l.ServerIV
}

// duties has a row for each of the profiles (shared design: profiles.md section 4).
var duties = []duty{
	{"Tape Library", func(p *fips.Policy, r Release) bool {
		return makes(p, kmip.CryptographicAlgorithmAES, 256) && r == ReleaseClear
	}},
	{"Symmetric Key Lifecycle", func(p *fips.Policy, _ Release) bool {
		return makes(p, kmip.CryptographicAlgorithmAES, 128, 256) && makes(p, kmip.CryptographicAlgorithmDES3, 168)
	}},
	{"Symmetric Key Foundry", func(p *fips.Policy, r Release) bool {
		return makes(p, kmip.CryptographicAlgorithmAES, 128, 192, 256) && makes(p, kmip.CryptographicAlgorithmDES3, 168) &&
			r == ReleaseClear
	}},
	{"Asymmetric Key Lifecycle", func(p *fips.Policy, _ Release) bool {
		return makes(p, kmip.CryptographicAlgorithmRSA, 2048) && p.AllowFormat(kmip.KeyFormatTypePKCS1) == nil
	}},
	{"Opaque Managed Object", func(p *fips.Policy, _ Release) bool {
		return p.AllowObject(fips.Import, kmip.ObjectTypeOpaqueObject) == nil
	}},
	{"Storage Array", func(p *fips.Policy, r Release) bool {
		return p.AllowObject(fips.Import, kmip.ObjectTypeSecretData) == nil && r == ReleaseClear
	}},
	{"Basic Cryptographic", func(p *fips.Policy, _ Release) bool { return enciphers(p) }},
	{"Advanced Cryptographic", func(p *fips.Policy, _ Release) bool {
		return enciphers(p) && p.Allow(fips.Sign, kmip.CryptographicAlgorithmRSA, 2048) == nil &&
			p.AllowHash(fips.Digest, kmip.HashingAlgorithmSHA256) == nil
	}},
	{"RNG Cryptographic", func(*fips.Policy, Release) bool { return true }},
}

// suiteBProfiles are the names of a Suite B policy's own profiles.
var suiteBProfiles = map[string][]kmip.ProfileName{
	"suiteb128": {kmip.ProfileNameSuiteBMinLOS128ServerKMIPV1_0, kmip.ProfileNameSuiteBMinLOS128ServerKMIPV1_1,
		kmip.ProfileNameSuiteBMinLOS128ServerKMIPV1_2,
		kmip.ProfileNameSuiteBMinLOS128ServerKMIPV1_3, kmip.ProfileNameSuiteBMinLOS128ServerKMIPV1_4},
	"suiteb192": {kmip.ProfileNameSuiteBMinLOS192ServerKMIPV1_0, kmip.ProfileNameSuiteBMinLOS192ServerKMIPV1_1,
		kmip.ProfileNameSuiteBMinLOS192ServerKMIPV1_2,
		kmip.ProfileNameSuiteBMinLOS192ServerKMIPV1_3, kmip.ProfileNameSuiteBMinLOS192ServerKMIPV1_4},
}

// profilesOf are the profiles that the server conforms to for a call: by the policy of server, listener and group, and by what
// self-tests left. The Suite B profiles are about TLS, too, so that the policy of a group alone does not make one.
func (s *Store) profilesOf(call *kmip.Call) []kmip.ProfileInformation {
	if s.inOrder() != nil {
		return nil
	}
	pol, release := s.policyOf(call), s.releaseOf(call)
	blocked := s.guard != nil && len(s.guard.Status().Blocked) > 0
	var out []kmip.ProfileInformation
	for _, p := range profiles {
		name := p.ProfileName.String()
		i := slices.IndexFunc(duties, func(d duty) bool { return strings.HasPrefix(name, d.prefix) })
		if i < 0 || !duties[i].holds(pol, release) || blocked && strings.Contains(name, "Cryptographic") {
			continue
		}
		out = append(out, p)
	}
	door := strings.Split(s.policyOf(&kmip.Call{Listener: call.Listener}).Name(), "+")
	for _, c := range []struct {
		policy    string
		aes, bits int
	}{{"suiteb128", 128, 256}, {"suiteb192", 256, 384}} {
		if slices.Contains(door, c.policy) && makes(pol, kmip.CryptographicAlgorithmAES, c.aes) && makes(pol, kmip.CryptographicAlgorithmECDSA, c.bits) &&
			makes(pol, kmip.CryptographicAlgorithmECDH, c.bits) && !blocked {
			for _, n := range suiteBProfiles[c.policy] {
				out = append(out, kmip.ProfileInformation{ProfileName: n})
			}
		}
	}
	return out
}

// validations are the certificates that count now: of the token and of Go's module, by the facts that reports have. There is
// none for a module that is not validated.
func (s *Store) validations() []kmip.ValidationInformation {
	now := s.cfg.Clock()
	var out []kmip.ValidationInformation
	add := func(number, standard string, level int, kind kmip.ValidationType) {
		major := int32(3) // FIPS 140-3
		if strings.HasSuffix(standard, "140-2") {
			major = 2
		}
		uri := "https://csrc.nist.gov/projects/cryptographic-module-validation-program/certificate/" + number
		out = append(out, kmip.ValidationInformation{ValidationAuthorityType: kmip.ValidationAuthorityTypeNISTCMVP, ValidationAuthorityCountry: ptr("US"),
			ValidationAuthorityURI: ptr("https://csrc.nist.gov/projects/cryptographic-module-validation-program"),
			ValidationVersionMajor: major, ValidationVersionMinor: ptr(int32(0)), ValidationType: kind, ValidationLevel: int32(level),
			ValidationCertificateIdentifier: ptr(number), ValidationCertificateURI: ptr(uri)})
	}
	token := s.tokenMatch()
	if c := token.Certificate; c != nil && c.StatusAt(now) == "active" && len(token.Unvalidated) == 0 {
		kind := kmip.ValidationTypeUnspecified
		if token.Facts.HardwareSlot {
			kind = kmip.ValidationTypeHardware
		}
		add(c.Number, c.Standard, c.Level, kind)
	}
	if m := s.cfg.Evidence.Module; m.Enabled && m.Certified(now) {
		add(m.Certificate.Number, m.Certificate.Standard, m.Certificate.Level, kmip.ValidationTypeSoftware)
	}
	return out
}
