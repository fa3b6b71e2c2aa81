package softhsmtests

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"kmipd/softhsm-tests/internal/harness"
	"kmipd/softhsm-tests/internal/oasis"
)

// TestConformanceFIPS140 plays the OASIS cases against a server with the policy fips140, first of all those of the Symmetric
// Key Foundry for FIPS 140. A case fails exactly when it uses what the policy refuses: deviations names the rule, and
// one that is missing from the list, or too many in it, fails the test. Release is clear, since the cases get keys in clear.
// They are played over HTTPS, half of them in XML and half in JSON, while TestConformance plays them without.
func TestConformanceFIPS140(t *testing.T) {
	t.Setenv("KMIPD_RELEASE", "clear")
	r := newRunner(t)
	r.known = maps.Clone(known)
	if *encoding == "" {
		r.encodings = []string{"xml", "json"}
	}
	r.says = map[string]string{}
	for _, d := range deviations {
		for _, name := range d.names {
			r.known[name], r.says[name] = d.rule, d.says
		}
	}
	s := harness.Start(t, harness.Dir(t), "--policy", "fips140")
	for _, g := range r.selection.Groups {
		if g[0].Policy() != "" || *oneCase != "" && !slices.ContainsFunc(g, func(e oasis.Entry) bool { return e.Name == *oneCase }) {
			continue
		}
		r.group(t, s, g)
	}
	if *oneCase != "" {
		return
	}
	for _, d := range deviations {
		for _, name := range d.names {
			if !slices.ContainsFunc(r.selection.Groups, func(g oasis.Group) bool {
				return slices.ContainsFunc(g, func(e oasis.Entry) bool { return e.Name == name })
			}) {
				t.Errorf("%s, which breaks a rule (%s), is in no run", name, d.rule)
			}
		}
	}
	fmt.Print(r.table())
}

// deviation is a rule of the policy, words of the answer to a case that breaks it, and those cases.
type deviation struct {
	rule, says string
	names      []string
}

// deviations lists the OASIS cases that a server with the policy fips140 does not pass, by the rule that they break.
var deviations = []deviation{
	{"3DES generation is disallowed (SP 800-131A r2 section 2; fips.md 2.1)", "3DES", []string{
		"SKFF-M-4-10", "SKFF-M-8-10", "SKFF-M-12-10", "SKFF-O-4-10", "SKFF-O-5-10", "SKFF-O-6-10",
		"TC_313_10_Create_Locate_Get_Destroy", "SKFF-M-4-11", "SKFF-M-8-11", "SKFF-M-12-11", "SKFF-O-4-11", "SKFF-O-5-11",
		"SKFF-O-6-11", "TC_313_11_Create_Locate_Get_Destroy", "SKFF-M-4-14", "SKFF-M-8-14", "SKFF-M-12-14", "TC-STREAM-ENC-2-14",
	}},
	{"SKIPJACK is disallowed (SP 800-131A r2; fips.md 2.1)", "SKIPJACK", []string{
		"SKFF-O-1-10", "SKFF-O-2-10", "SKFF-O-3-10", "SKFF-O-1-11", "SKFF-O-2-11", "SKFF-O-3-11",
	}},
	{"HASH, HMAC and ENCRYPT are no approved derivations (fips.md 2.4)", "Derivation Method", []string{
		"TC-DERIVEKEY-1-10", "TC-DERIVEKEY-2-10", "TC-DERIVEKEY-1-11", "TC-DERIVEKEY-2-11", "TC-DERIVEKEY-1-14",
		"TC-DERIVEKEY-2-14",
	}},
	{"PBKDF2 wants 128 bits of salt and 10000 iterations (SP 800-132; fips.md 2.4)", "Salt must", []string{
		"TC-DERIVEKEY-3-10", "TC-DERIVEKEY-4-10", "TC-DERIVEKEY-5-10", "TC-DERIVEKEY-3-11", "TC-DERIVEKEY-4-11",
		"TC-DERIVEKEY-5-11", "TC-DERIVEKEY-3-14", "TC-DERIVEKEY-4-14", "TC-DERIVEKEY-5-14",
	}},
	{"RSA of 1024 bits is for verification of old signatures, with legacy-import (fips.md 2.3)", "1024", []string{
		"TC_81_10_Create_a_Key_Pair", "TC_82_10_Register_Both_Halves_of_a_Key_Pair", "TC_81_11_Create_a_Key_Pair",
		"TC_82_11_Register_Both_Halves_of_a_Key_Pair", "TC-CERTATTR-1-14", "TC-PKCS12-1-14",
	}},
	{"no certificate with SHA-1 without legacy-import (fips.md 2.4)", "SHA-1", []string{
		"TC_132_10_Register_an_Asymmetric_Key_Pair_and_a_Corresponding_X509_Certificate",
		"TC_134_10_Register_Key_Pair_Certify_and_Re_certify_Public_Key",
		"TC_132_11_Register_an_Asymmetric_Key_Pair_and_a_Corresponding_X509_Certificate",
		"TC_134_11_Register_Key_Pair_Certify_and_Re_certify_Public_Key", "TC-CREG-1-14"}},
	{"no encrypted PKCS#8, whose curve nobody tells (fips.md 2.3)", "has no name", []string{
		"TC_ECC_2_10_Register_an_ECC_Key_Pair_in_PKCS8_Format", "TC_ECC_2_11_Register_an_ECC_Key_Pair_in_PKCS8_Format",
	}},
	{"secp256k1 is no approved curve (fips.md 2.4)", "SECP256K1", []string{
		"TC-ECC-1-14", "TC-ECC-3-14",
	}},
	{"keys are wrapped by the token alone: No Encoding (fips.md 3.3)", "Encoding Option", []string{
		"AX-M-2-14",
	}},
	{"the salt of PSS is at most as long as the digest (FIPS 186-5; fips.md 2.3)", "Salt Length", []string{
		"CS-AC-M-1-14",
	}},
	{"the mask of OAEP has the hash of the label (fips.md 2.3)", "Mask Generator", []string{
		"CS-AC-M-OAEP-7-14", "CS-AC-M-OAEP-9-14",
	}},
	{"ECB encrypts only with allow-ecb (fips.md 2.2)", "ECB", []string{
		"CS-BC-M-1-14", "CS-BC-M-3-14", "CS-BC-M-4-14", "CS-BC-M-6-14", "CS-BC-M-7-14", "CS-BC-M-8-14", "CS-BC-M-9-14",
		"TC-STREAM-ENC-1-14",
	}},
	{"IVs for encryption come from the server (SP 800-38D; fips.md 2.2)", "IV/Counter/Nonce", []string{
		"CS-BC-M-10-14", "CS-BC-M-11-14", "CS-BC-M-12-14", "CS-BC-M-GCM-1-14", "CS-BC-M-GCM-2-14", "CS-BC-M-GCM-3-14",
		"TC-STREAM-ENCDEC-1-14",
	}},
	{"a digest is signed with the hash that it is of (fips.md 2.4)", "Hashing Algorithm", []string{
		"TC-RSA-SIGN-DIGESTEDDATA-1-14",
	}},
	{"the same in a batch, whose further items have nothing to work with (fips.md 2.4)", "UniqueIdentifier: missing", []string{"TC-CREG-2-14", "TC-CREG-3-14"}},
}
