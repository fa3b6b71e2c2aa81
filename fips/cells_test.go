package fips

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"kmipd/kmip"
)

// The strict policies, cell by cell. The tables below are written down from the documents that the policies cite, in a
// form of their own, and are not made from the rows of tables.go: each value of an enumeration, with each length around an
// edge, for each use, before and after each date, with and without each switch, is allowed exactly when they say so.
//
// A cell is the letters of the uses that are allowed:
//
//	g generate   i import    I import with legacy-import only   w wrap   u unwrap   e encrypt   E encrypt with allow-ecb only
//	d decrypt    s sign      v verify   m mac    n mac-verify   h digest   k derive   a agree    - nothing
//
// "abc|30|de" is abc until the end of 2030 and de from then on.

// columns are the policies of the cells, in their order.
var columns = []struct {
	label, name string
	switches    []Switch
}{
	{"fips140", "fips140", nil},
	{"suiteb128", "suiteb128", nil},
	{"suiteb192", "suiteb192", nil},
	{"cnsa1", "cnsa1", nil},
	{"cnsa2", "cnsa2", nil},
	{"cnsa2 transition", "cnsa2", []Switch{CNSA2Transition}},
}

var letters = map[Use]string{Generate: "g", Import: "i", Wrap: "w", Unwrap: "u", Encrypt: "e", Decrypt: "d", Sign: "s", Verify: "v",
	MAC: "m", MACVerify: "n", Digest: "h", Derive: "k", Agree: "a"}

// instants are the last and first seconds around the dates.
var instants = []time.Time{
	time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC),
	time.Date(2030, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC),
	time.Date(2031, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(2032, 1, 1, 0, 0, 0, 0, time.UTC),
}

// cellHolds reads a cell.
func cellHolds(cell string, use Use, at time.Time, on []Switch) bool {
	if before, rest, dated := strings.Cut(cell, "|"); dated {
		year, after, _ := strings.Cut(rest, "|")
		cell = before
		if fmt.Sprint(at.Year()-2000) > year {
			cell = after
		}
	}
	l := letters[use]
	return strings.Contains(cell, l) ||
		use == Import && strings.Contains(cell, "I") && slices.Contains(on, LegacyImport) ||
		use == Encrypt && strings.Contains(cell, "E") && slices.Contains(on, AllowECB)
}

// lengths around each edge.
var lengths = []int{0, 1, 55, 56, 64, 80, 111, 112, 113, 127, 128, 129, 160, 162, 163, 164, 168, 169, 191, 192, 193, 223, 224, 225, 233,
	255, 256, 257, 320, 383, 384, 385, 448, 456, 457, 511, 512, 513, 520, 521, 522, 571, 1023, 1024, 1536, 2046, 2047, 2048, 2049, 2050,
	3070, 3071, 3072, 3073, 3074, 4096, 7680, 8191, 8192, 8193, 15360, 16384, 16386, 100000}

// The lengths of a line are "from-to", "from+" or a list; "even" leaves the odd ones out.
const algorithmCells = `
AES          128             giwuedmnk        giwuedk   -         -          -          -
AES          192             giwuedmnk        -         -         -          -          -
AES          256             giwuedmnk        giwuedk   giwuedk   giwuedmnk  giwuedmnk  giwuedmnk
3DES         112,128,168,192 Iudn             -         -         -          -          -
RSA          1024-2047       Iv               -         -         -          -          -
RSA          2048-3071even   giwuedsv|30|Iudv -         -         -          -          -
RSA          3072-16384even  giwuedsv         -         -         giwuedsv   -          giwuedsv|31|-
DSA          1024-3072       Iv               -         -         -          -          -
EC           163,192         Iv               -         -         -          -          -
EC           224             gisva|30|Iv      -         -         -          -          -
EC           256             gisva            gisva     -         -          -          -
EC           384             gisva            gisva     gisva     gisva      -          gisva|31|-
EC           521             gisva            -         -         -          -          -
ECDSA        163,192         Iv               -         -         -          -          -
ECDSA        224             gisv|30|Iv       -         -         -          -          -
ECDSA        256             gisv             gisv      -         -          -          -
ECDSA        384             gisv             gisv      gisv      gisv       -          gisv|31|-
ECDSA        521             gisv             -         -         -          -          -
ECDH         224             gia|30|-         -         -         -          -          -
ECDH         256             gia              gia       -         -          -          -
ECDH         384             gia              gia       gia       gia        -          gia|31|-
ECDH         521             gia              -         -         -          -          -
Ed25519      256             gisv             -         -         -          -          -
Ed448        448-456         gisv             -         -         -          -          -
DH           2048-3071       gia|30|-         -         -         -          -          -
DH           3072-8192       gia              -         -         gia        -          gia|31|-
HMAC-SHA1    1-111           In               -         -         -          -          -
HMAC-SHA1    112+            gimnk|30|In      -         -         -          -          -
HMAC-SHA224  1-111           In               -         -         -          -          -
HMAC-SHA224  112+            gimnk|30|In      -         -         -          -          -
HMAC-SHA256  1-111           In               -         -         -          -          -
HMAC-SHA256  112-127         gimnk|30|In      -         -         -          -          -
HMAC-SHA256  128+            gimnk            gimnk     -         -          -          -
HMAC-SHA384  1-111           In               -         -         -          -          -
HMAC-SHA384  112-127         gimnk|30|In      -         -         -          -          -
HMAC-SHA384  128-255         gimnk            -         -         -          -          -
HMAC-SHA384  256+            gimnk            gimnk     gimnk     gimnk      gimnk      gimnk
HMAC-SHA512  1-111           In               -         -         -          -          -
HMAC-SHA512  112-127         gimnk|30|In      -         -         -          -          -
HMAC-SHA512  128-255         gimnk            -         -         -          -          -
HMAC-SHA512  256+            gimnk            -         -         -          gimnk      gimnk
`

const curveCells = `
P-192  Iv                     - - - - -
K-163  Iv                     - - - - -
B-163  Iv                     - - - - -
P-224  giwuedsvmnhka|30|Iv    - - - - -
P-256  giwuedsvmnhka          giwuedsvmnhka - - - -
P-384  giwuedsvmnhka          giwuedsvmnhka giwuedsvmnhka giwuedsvmnhka - giwuedsvmnhka|31|-
P-521  giwuedsvmnhka          - - - - -
`

const hashCells = `
SHA-1        udvmnhk|30|udvn    - - - - -
SHA-224      udsvmnhk|30|udvn   - - - - -
SHA-512/224  udsvmnhk|30|udvn   - - - - -
SHA-3-224    udsvmnhk|30|udvn   - - - - -
SHA-256      wuedsvmnhk  wuedsvmnhk  -           -           -           -
SHA-384      wuedsvmnhk  wuedsvmnhk  wuedsvmnhk  wuedsvmnhk  wuedsvmnhk  wuedsvmnhk
SHA-512      wuedsvmnhk  -           -           -           wuedsvmnhk  wuedsvmnhk
SHA-512/256  wuedsvmnhk  - - - - -
SHA-3-256    wuedsvmnhk  - - - - -
SHA-3-384    wuedsvmnhk  - - - - -
SHA-3-512    wuedsvmnhk  - - - - -
`

// XTS: a pair of AES-256 keys would be allowed everywhere, but has no Cryptographic Length that the policies know.
const modeCells = `
ECB               Ed   -   -   -   -   -
CBC               ed   ed  ed  ed  ed  ed
CTR               ed   ed  ed  ed  ed  ed
CFB               ed   -   -   -   -   -
OFB               ed   -   -   -   -   -
GCM               ed   ed  ed  ed  ed  ed
CCM               ed   ed  ed  ed  ed  ed
XTS               ed   -   -   -   -   -
CMAC              mnk  -   -   mnk mnk mnk
NISTKeyWrap       wu   wu  wu  wu  wu  wu
AESKeyWrapPadding wu   wu  wu  wu  wu  wu
X9.102_TDKW       u    -   -   -   -   -
`

const paddingCells = `
None        edsv  edsv  edsv  edsv  edsv  edsv
PKCS5       ed    ed    ed    ed    ed    ed
OAEP        wued  -     -     wued  -     wued|31|-
PSS         sv    -     -     sv    -     sv|31|-
PKCS1_v1.5  svud  -     -     sv    -     sv|31|-
X9.31       v     -     -     -     -     -
`

const signatureCells = `
SHA-256_with_RSA_Encryption_(PKCS#1_v1.5)  svi         -    -    -    -    -
SHA-384_with_RSA_Encryption_(PKCS#1_v1.5)  svi         -    -    svi  -    svi|31|-
SHA-512_with_RSA_Encryption_(PKCS#1_v1.5)  svi         -    -    -    -    -
RSASSA-PSS_(PKCS#1_v2.1)                   svi         -    -    svi  -    svi|31|-
ECDSA_with_SHA256                          svi         svi  -    -    -    -
ECDSA_with_SHA384                          svi         svi  svi  svi  -    svi|31|-
ECDSA_with_SHA512                          svi         -    -    -    -    -
SHA3-256_with_RSA_Encryption               svi         -    -    -    -    -
SHA3-384_with_RSA_Encryption               svi         -    -    -    -    -
SHA3-512_with_RSA_Encryption               svi         -    -    -    -    -
SHA-224_with_RSA_Encryption_(PKCS#1_v1.5)  svi|30|vI   -    -    -    -    -
ECDSA_with_SHA224                          svi|30|vI   -    -    -    -    -
SHA-1_with_RSA_Encryption_(PKCS#1_v1.5)    vI          -    -    -    -    -
ECDSA_with_SHA-1                           vI          -    -    -    -    -
DSA_with_SHA-1                             vI          -    -    -    -    -
DSA_with_SHA224                            vI          -    -    -    -    -
DSA_with_SHA256                            vI          -    -    -    -    -
`

const derivationCells = `
PBKDF2           k - - - - -
NIST800-108-C    k k k k k k
NIST800-108-F    k k k k k k
NIST800-108-DPI  k k k k k k
`

// In the other policies every format and type that the server knows is allowed.
const formatCells = `
Raw  * i i * * *
ECPrivateKey  * i i * * *
X.509  * i i * * *
Transparent_ECDSA_Private_Key  * i i * * *
Transparent_ECDSA_Public_Key  * i i * * *
Transparent_ECDH_Private_Key  * i i * * *
Transparent_ECDH_Public_Key  * i i * * *
other  * - - * * *
`

const objectCells = `
Certificate    * gi gi * * *
Symmetric_Key  * gi gi * * *
Public_Key     * gi gi * * *
Private_Key    * gi gi * * *
Template       * gi gi * * *
other          * -  -  * * *
`

// cellsOf reads a table of values without lengths. "other" is the line of the values that have none.
func cellsOf(t *testing.T, table string) map[string][]string {
	t.Helper()
	out := map[string][]string{"other": {"-", "-", "-", "-", "-", "-"}}
	for line := range strings.Lines(strings.TrimSpace(table)) {
		f := strings.Fields(line)
		if len(f) != 1+len(columns) {
			t.Fatalf("%q has %d cells", line, len(f)-1)
		}
		out[strings.ReplaceAll(f[0], "_", " ")] = f[1:]
	}
	return out
}

// each calls check for every policy, switch and instant. The policy has the clock at that instant.
func each(t *testing.T, check func(t *testing.T, column int, p *Policy, at time.Time, on []Switch)) {
	for i, c := range columns {
		choices := [][]Switch{nil}
		if c.name == "fips140" {
			choices = append(choices, []Switch{LegacyImport}, []Switch{AllowECB}, []Switch{AllowClientIV, LegacyImport})
		}
		for _, on := range choices {
			for _, at := range instants {
				p, err := New(c.name, Options{Switches: slices.Concat(c.switches, on), Clock: func() time.Time { return at }})
				if err != nil {
					t.Fatal(err)
				}
				t.Run(fmt.Sprintf("%s/%v/%s", c.label, on, at.Format(time.DateOnly)), func(t *testing.T) { check(t, i, p, at, on) })
			}
		}
	}
}

// wantCell compares an answer with a cell. existing tells that the question is about a key that is there.
func wantCell(t *testing.T, what string, err error, want bool, reason kmip.ResultReason, policy, field string) {
	if (err == nil) != want {
		t.Errorf("%s: got %v, want allowed %t", what, err, want)
		return
	}
	if err == nil {
		return
	}
	if got := kmip.ReasonOf(err); got != reason {
		t.Errorf("%s: got reason %s, want %s", what, got, reason)
	}
	if !strings.Contains(err.Error(), "policy "+policy) || !strings.Contains(err.Error(), field) {
		t.Errorf("%s: got %q, want policy %s and %s named", what, err, policy, field)
	}
}

// keyReason: a new key is Invalid Field, one that exists Permission Denied (profiles.md section 5).
func keyReason(u Use) kmip.ResultReason {
	if u == Generate || u == Import {
		return kmip.ResultReasonInvalidField
	}
	return kmip.ResultReasonPermissionDenied
}

// lengthCell is a line of algorithmCells.
type lengthCell struct {
	fits  func(int) bool
	cells []string
}

func algorithmLines(t *testing.T) map[string][]lengthCell {
	t.Helper()
	out := map[string][]lengthCell{}
	for line := range strings.Lines(strings.TrimSpace(algorithmCells)) {
		f := strings.Fields(line)
		if len(f) != 2+len(columns) {
			t.Fatalf("%q has %d cells", line, len(f)-2)
		}
		spec, even := strings.CutSuffix(f[1], "even")
		var list []string
		lo, hi := 0, 1<<30
		switch {
		case strings.HasSuffix(spec, "+"):
			fmt.Sscanf(spec, "%d+", &lo)
		case strings.Contains(spec, "-"):
			fmt.Sscanf(spec, "%d-%d", &lo, &hi)
		default:
			list = strings.Split(spec, ",")
		}
		out[f[0]] = append(out[f[0]], lengthCell{func(n int) bool {
			if list != nil {
				return slices.Contains(list, fmt.Sprint(n))
			}
			return n >= lo && n <= hi && (!even || n%2 == 0)
		}, f[2:]})
	}
	return out
}

func TestAlgorithmCells(t *testing.T) {
	lines := algorithmLines(t)
	each(t, func(t *testing.T, column int, p *Policy, at time.Time, on []Switch) {
		for a := range uint32(64) {
			alg := kmip.CryptographicAlgorithm(a)
			for _, n := range lengths {
				cell := "-"
				for _, l := range lines[alg.String()] {
					if l.fits(n) {
						cell = l.cells[column]
					}
				}
				for use := Generate; use <= lastUse; use++ {
					want := cellHolds(cell, use, at, on)
					wantCell(t, fmt.Sprintf("%s %s %d", use, alg, n), p.Allow(use, alg, n), want, keyReason(use), p.Name(), "Cryptographic")
				}
			}
		}
		wantCell(t, "a vendor's algorithm", p.Allow(Import, 0x80000001, 256), false, kmip.ResultReasonInvalidField, p.Name(), "Cryptographic Algorithm")
	})
}

// enumCells runs one enumeration through its table.
func enumCells[T enum](t *testing.T, field, table string, uses []Use, reason func(Use) kmip.ResultReason, ask func(*Policy, Use, T) error) {
	cells := cellsOf(t, table)
	seen := map[string]bool{"other": true}
	each(t, func(t *testing.T, column int, p *Policy, at time.Time, on []Switch) {
		for v := range T(96) {
			row, ok := cells[v.String()]
			if !ok {
				row = cells["other"]
			}
			seen[v.String()] = true
			for _, use := range uses {
				want := row[column] == "*" || cellHolds(row[column], use, at, on)
				wantCell(t, fmt.Sprintf("%s %s", use, v), ask(p, use, v), want, reason(use), p.Name(), field)
			}
		}
	})
	for name := range cells {
		if !seen[name] {
			t.Errorf("%q is no value of %s", name, field)
		}
	}
}

func allUses() (out []Use) {
	for u := Generate; u <= lastUse; u++ {
		out = append(out, u)
	}
	return out
}

func field(Use) kmip.ResultReason { return kmip.ResultReasonInvalidField }

func TestCurveCells(t *testing.T) {
	enumCells(t, "Recommended Curve", curveCells, allUses(), keyReason, (*Policy).AllowCurve)
}

func TestHashCells(t *testing.T) {
	enumCells(t, "Hashing Algorithm", hashCells, allUses(), field, (*Policy).AllowHash)
}

func TestModeCells(t *testing.T) {
	enumCells(t, "Block Cipher Mode", modeCells, allUses(), field, (*Policy).AllowMode)
}

func TestPaddingCells(t *testing.T) {
	enumCells(t, "Padding Method", paddingCells, allUses(), field, (*Policy).AllowPadding)
}

func TestSignatureCells(t *testing.T) {
	enumCells(t, "Digital Signature Algorithm", signatureCells, []Use{Sign, Verify, Import}, field, (*Policy).AllowSignature)
}

func TestDerivationCells(t *testing.T) {
	enumCells(t, "Derivation Method", derivationCells, []Use{Derive}, field,
		func(p *Policy, _ Use, m kmip.DerivationMethod) error { return p.AllowDerivation(m) })
}

func TestFormatCells(t *testing.T) {
	reason := func(Use) kmip.ResultReason { return kmip.ResultReasonKeyFormatTypeNotSupported }
	enumCells(t, "Key Format Type", formatCells, []Use{Import}, reason,
		func(p *Policy, _ Use, f kmip.KeyFormatType) error { return p.AllowFormat(f) })
}

func TestObjectCells(t *testing.T) {
	enumCells(t, "Object Type", objectCells, []Use{Generate, Import}, field, (*Policy).AllowObject)
}

// Suite B joins P-256 with SHA-256 and P-384 with SHA-384; fips140 joins nothing.
func TestPairCells(t *testing.T) {
	joined := []string{"*", "256 SHA-256,384 SHA-384", "384 SHA-384", "384 SHA-384", "-", "384 SHA-384"}
	each(t, func(t *testing.T, column int, p *Policy, _ time.Time, _ []Switch) {
		for _, bits := range []int{224, 256, 384, 521} {
			for h := range kmip.HashingAlgorithm(20) {
				name := fmt.Sprintf("%d %s", bits, h)
				want := joined[column] == "*" || slices.Contains(strings.Split(joined[column], ","), name)
				wantCell(t, name, p.AllowPair(Sign, bits, h), want, kmip.ResultReasonInvalidField, p.Name(), "Hashing Algorithm")
			}
		}
	})
}
