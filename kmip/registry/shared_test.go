package registry

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"kmipd/kmip/internal/oasisjson"
)

const shared = "../../../shared/kmip/registry"

// fact is one line of registry.txt, read without the parser that the generator uses.
type fact struct {
	first, last, ident, name string
	types                    []string
}

func (f fact) in(v string) bool { return v >= f.first && (f.last == "-" || v <= f.last) }

func read(t *testing.T) (tags map[uint32]fact, enums map[string]map[uint32]fact) {
	t.Helper()
	text, err := os.ReadFile("registry.txt")
	if err != nil {
		t.Fatal(err)
	}
	tags, enums = map[uint32]fact{}, map[string]map[uint32]fact{}
	var enum map[uint32]fact
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		switch {
		case len(f) == 0:
		case f[0] == "tag":
			tags[hex(t, f[1])] = fact{first: f[3], last: f[4], ident: f[6], name: strings.Join(f[7:], " "), types: strings.Split(f[2], ",")}
		case f[0] == "enum" || f[0] == "mask":
			enum = map[uint32]fact{}
			enums[f[1]] = enum
		case f[0] == "val":
			enum[hex(t, f[1])] = fact{first: f[2], last: f[3], ident: f[4], name: strings.Join(f[5:], " ")}
		}
	}
	return tags, enums
}

func hex(t *testing.T, s string) uint32 {
	t.Helper()
	n, err := strconv.ParseUint(s, 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}

func TestTagsAgainstTheSpecification(t *testing.T) {
	want := oasisjson.Load(t, shared).Tags
	have, _ := read(t)
	for v, w := range want {
		h, ok := have[v]
		if !ok {
			t.Errorf("tag %06X %s is missing", v, w.Names[0])
			continue
		}
		compare(t, "tag", v, h, w)
		for _, ver := range oasisjson.Versions {
			if got, want := typeIn(h.types, ver), w.Types[ver]; w.In[ver] && got != want {
				t.Errorf("tag %06X %s: type %s in %s, want %s", v, h.name, got, ver, want)
			}
		}
	}
	for v, h := range have {
		if want[v] == nil {
			t.Errorf("tag %06X %s is not in the specification", v, h.name)
		}
	}
}

// typeIn is the wire type in a version; "" for one that the context decides, as the tables of the specification have it.
func typeIn(types []string, ver string) string {
	typ := types[0]
	for _, later := range types[1:] {
		if from, other, _ := strings.Cut(later, ":"); ver >= from {
			typ = other
		}
	}
	if typ == "Any" {
		return ""
	}
	return typ
}

func TestEnumerationsAgainstTheSpecification(t *testing.T) {
	want := oasisjson.Load(t, shared).Enums
	_, have := read(t)
	for key, values := range want {
		for v, w := range values {
			h, ok := have[key][v]
			if !ok {
				t.Errorf("%s has no value %08X %s", key, v, w.Names[0])
				continue
			}
			compare(t, key, v, h, w)
		}
	}
	for key, values := range have {
		for v, h := range values {
			if want[key][v] == nil {
				t.Errorf("%s %08X %s is not in the specification", key, v, h.name)
			}
		}
	}
}

func compare(t *testing.T, what string, v uint32, h fact, w *oasisjson.Entry) {
	t.Helper()
	if !slices.Contains(w.Names, h.name) {
		t.Errorf("%s %08X: name %q, want one of %q", what, v, h.name, w.Names)
	}
	if !slices.Contains(w.Idents, h.ident) {
		t.Errorf("%s %08X: identifier %q, want one of %q", what, v, h.ident, w.Idents)
	}
	// The tables of 1.2 to 1.4 print the certificate type PGP as deprecated, which the extract takes for dropped; 2.0
	// has it again. The registry has no gaps.
	if what == "CertificateType" && h.name == "PGP" {
		return
	}
	for _, ver := range oasisjson.Versions {
		if h.in(ver) != w.In[ver] {
			t.Errorf("%s %08X %s: in %s: %t, want %t", what, v, h.name, ver, h.in(ver), w.In[ver])
		}
	}
}

func TestParseRefusesDoubt(t *testing.T) {
	const tag = "tag 420001 DateTime 1.0 - - ActivationDate Activation Date\n"
	for _, tc := range []struct{ name, text, want string }{
		{"blank at the end", strings.TrimSuffix(tag, "\n") + " \n", "blanks"},
		{"tag twice", tag + tag, "stands twice"},
		{"same name", tag + "tag 420002 DateTime 1.0 - - Other Activation Date\n", "stands twice"},
		{"unknown type", "tag 420001 Date 1.0 - - A A\n", "wire type"},
		{"unknown version", "tag 420001 DateTime 1.9 - - A A\n", "first version"},
		{"last before first", "tag 420001 DateTime 1.4 1.0 - A A\n", "last version"},
		{"unknown enumeration", "tag 420001 Enumeration 1.0 - Nothing A A\n", "unknown enumeration"},
		{"short tag", "tag 420001 DateTime 1.0\n", "7 fields"},
		{"bad number", "tag 42000G DateTime 1.0 - - A A\n", "invalid syntax"},
		{"value outside", "val 1 1.0 - A A\n", "inside an enumeration"},
		{"value twice", "enum E E\n  val 1 1.0 - A A\n  val 1 1.0 - B B\n", "stands twice"},
		{"empty enumeration", "enum E E\n", "no values"},
		{"another identifier of nothing", "enum E E\n    also A\n", "needs a value"},
		{"another identifier twice", "enum E E\n  val 1 1.0 - A A\n    also A\n", "stands twice"},
		{"tag in other words", "tag 420001 DateTime 1.0 - - ActivationDay Activation Date\n", "normal form"},
		{"value in other words", "enum E E\n  val 1 1.0 - DES 3DES\n", "normal form"},
		{"unknown fact", "tags 1\n", "unknown fact"},
		{"unknown member", tag + "struct S\n  ! Nothing\n", "no tag"},
		{"member outside", "  ! A\n", "outside"},
		{"member with rest", tag + "struct S\n  ! ActivationDate xyz\n", "cannot read"},
		{"short operation", "op Create 1.0\n", "operation needs"},
	} {
		if _, err := Parse(tc.text); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
		}
	}
	r, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Tags) < 370 || len(r.Enums) < 60 || len(r.Structs) < 50 || len(r.Operations) < 16 {
		t.Errorf("%d tags, %d enumerations, %d structures, %d operations", len(r.Tags), len(r.Enums), len(r.Structs), len(r.Operations))
	}
}

// The examples are those of KMIP Additional Message Encodings 1.0 and of the OASIS cases.
func TestNormal(t *testing.T) {
	for name, want := range map[string]string{
		"Activation Date": "ActivationDate", "IV/Counter/Nonce": "IVCounterNonce", "Private Key Template-Attribute": "PrivateKeyTemplateAttribute",
		"3DES": "DES3", "SHA-256": "SHA_256", "SHA-512/224": "SHA_512_224", "X9.24 NKH": "X9_24NKH", "PKCS#1 v1.5": "PKCS_1V1_5",
		"X.509 Certificate Subject": "X_509CertificateSubject", "Re-key Key Pair": "ReKeyKeyPair", "Pre-Active": "PreActive",
		"On-line storage": "OnLineStorage", "Polynomial Sharing GF (2^8)": "PolynomialSharingGF2_8", "Date-Time": "DateTime",
	} {
		if got := Normal(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}
