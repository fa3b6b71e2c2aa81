package fips

import (
	"slices"
	"time"

	"kmipd/kmip"
)

// This file is the policies: what each of them allows, until when, and by which text. Whatever has no row is refused.

func after(year int, month time.Month, day int) time.Time {
	return time.Date(year, month, day+1, 0, 0, 0, 0, time.UTC)
}

var (
	end2030 = after(2030, time.December, 31) // 112 bits of strength, SHA-1 (SP 800-131A r2 and r3 draft, FIPS 180)
	end2031 = after(2031, time.December, 31) // CNSA 2.0 is mandatory from then on
)

// texts that the rows cite.
const (
	sp131  = "NIST SP 800-131A r2"
	fips4  = "FIPS 186-5"
	sp38   = "NIST SP 800-38A to F"
	sp107  = "NIST SP 800-107 r1"
	sp108  = "NIST SP 800-108 r1"
	sp132  = "NIST SP 800-132"
	sp56   = "NIST SP 800-56A r3, 56B r2"
	suiteb = "KMIP Suite B Profile; RFC 5759, 6460"
	cnssp  = "CNSSP-15"
	cnsa20 = "CNSA 2.0"
)

// legacyClients is the default policy: everything that real clients and the OASIS cases make, legacy algorithms included.
func legacyClients() *table {
	t := &table{name: defaultName, open: true}
	key := func(a kmip.CryptographicAlgorithm, uses Uses, bits ...int) {
		if bits == nil {
			t.keys = append(t.keys, keyRow{algorithm: a, terms: terms{uses: uses}})
		}
		for _, n := range bits {
			t.keys = append(t.keys, keyRow{algorithm: a, min: n, max: n, terms: terms{uses: uses}})
		}
	}
	key(kmip.CryptographicAlgorithmAES, making|wrapping|ciphering|maccing|of(Derive), 128, 192, 256)
	key(kmip.CryptographicAlgorithmDES3, making|ciphering|maccing|of(Derive), 112, 128, 168, 192)
	key(kmip.CryptographicAlgorithmSKIPJACK, making, 80)
	key(kmip.CryptographicAlgorithmRSA, of(Generate), 1024, 2048, 3072, 4096)
	key(kmip.CryptographicAlgorithmRSA, of(Import)|wrapping|ciphering|signing)
	key(kmip.CryptographicAlgorithmEC, making|signing|of(Agree), 256, 384, 521)
	key(kmip.CryptographicAlgorithmECDSA, making|signing, 256, 384, 521)
	key(kmip.CryptographicAlgorithmECDH, making|of(Agree), 256, 384, 521)
	for _, a := range hmacs {
		key(a, making|maccing|of(Derive))
	}
	// Nobody should make a new signature with SHA-1 (NIST SP 800-131A section 3); the old ones must stay verifiable.
	hash := func(h kmip.HashingAlgorithm, uses Uses) {
		t.hashes = append(t.hashes, row[kmip.HashingAlgorithm]{h, terms{uses: uses}})
	}
	hash(kmip.HashingAlgorithmSHA1, (keyed|of(Digest))&^of(Sign))
	for _, h := range []kmip.HashingAlgorithm{kmip.HashingAlgorithmSHA224, kmip.HashingAlgorithmSHA256, kmip.HashingAlgorithmSHA384, kmip.HashingAlgorithmSHA512} {
		hash(h, keyed|of(Digest))
	}
	for _, h := range digestsOnly {
		hash(h, of(Digest))
	}
	return t
}

var hmacs = []kmip.CryptographicAlgorithm{kmip.CryptographicAlgorithmHMACSHA1, kmip.CryptographicAlgorithmHMACSHA224,
	kmip.CryptographicAlgorithmHMACSHA256, kmip.CryptographicAlgorithmHMACSHA384, kmip.CryptographicAlgorithmHMACSHA512}

// digestsOnly are the hashes that tokens do not offer for keys.
var digestsOnly = []kmip.HashingAlgorithm{kmip.HashingAlgorithmSHA512_224, kmip.HashingAlgorithmSHA512_256, kmip.HashingAlgorithmSHA3_224,
	kmip.HashingAlgorithmSHA3_256, kmip.HashingAlgorithmSHA3_384, kmip.HashingAlgorithmSHA3_512}

// fips140 is what FIPS 140-3 modules do in approved mode.
func fips140() *table {
	ecKeys := func(a kmip.CryptographicAlgorithm, uses Uses) []keyRow {
		var out []keyRow
		var old Uses
		if uses.Has(Verify) {
			old = of(Verify, Import)
		}
		for _, n := range []int{256, 384, 521} {
			out = append(out, keyRow{a, n, n, 0, terms{uses: uses, source: fips4}})
		}
		return append(out,
			keyRow{a, 224, 224, 0, terms{uses: uses, legacy: old, until: end2030, source: sp131}},
			keyRow{a, 163, 163, 0, terms{legacy: old, source: sp131}},
			keyRow{a, 192, 192, 0, terms{legacy: old, source: sp131}})
	}
	hmac := func(a kmip.CryptographicAlgorithm, until time.Time) []keyRow {
		uses, old := making|maccing|of(Derive), of(MACVerify, Import)
		return []keyRow{
			{a, 128, 0, 0, terms{uses: uses, legacy: old, until: until, source: sp107}},
			{a, 112, 127, 0, terms{uses: uses, legacy: old, until: end2030, source: sp131}},
			{a, 1, 111, 0, terms{legacy: old, source: sp131}}}
	}
	t := &table{name: "fips140", keys: slices.Concat([]keyRow{
		{kmip.CryptographicAlgorithmAES, 128, 256, 64, terms{uses: making | wrapping | ciphering | maccing | of(Derive), source: "FIPS 197"}},
		{kmip.CryptographicAlgorithmDES3, 112, 128, 16, terms{legacy: of(Decrypt, Unwrap, MACVerify, Import), source: sp131 + " section 2"}},
		{kmip.CryptographicAlgorithmDES3, 168, 192, 24, terms{legacy: of(Decrypt, Unwrap, MACVerify, Import), source: sp131 + " section 2"}},
		{kmip.CryptographicAlgorithmRSA, 3072, 16384, 2, terms{uses: making | ciphering | wrapping | signing, source: fips4}},
		{kmip.CryptographicAlgorithmRSA, 2048, 3071, 2, terms{uses: making | ciphering | wrapping | signing,
			legacy: of(Decrypt, Unwrap, Verify, Import), until: end2030, source: sp131}},
		{kmip.CryptographicAlgorithmRSA, 1024, 2047, 0, terms{legacy: of(Verify, Import), source: sp131}},
		{kmip.CryptographicAlgorithmDSA, 1024, 3072, 0, terms{legacy: of(Verify, Import), source: fips4}},
		{kmip.CryptographicAlgorithmEd25519, 256, 256, 0, terms{uses: making | signing, source: fips4}},
		{kmip.CryptographicAlgorithmEd448, 448, 456, 0, terms{uses: making | signing, source: fips4}},
		{kmip.CryptographicAlgorithmDH, 3072, 8192, 0, terms{uses: making | of(Agree), source: sp56}},
		{kmip.CryptographicAlgorithmDH, 2048, 3071, 0, terms{uses: making | of(Agree), until: end2030, source: sp56}},
	},
		ecKeys(kmip.CryptographicAlgorithmEC, making|signing|of(Agree)), ecKeys(kmip.CryptographicAlgorithmECDSA, making|signing),
		ecKeys(kmip.CryptographicAlgorithmECDH, making|of(Agree)),
		hmac(kmip.CryptographicAlgorithmHMACSHA1, end2030), hmac(kmip.CryptographicAlgorithmHMACSHA224, end2030),
		hmac(kmip.CryptographicAlgorithmHMACSHA256, time.Time{}), hmac(kmip.CryptographicAlgorithmHMACSHA384, time.Time{}),
		hmac(kmip.CryptographicAlgorithmHMACSHA512, time.Time{}),
	)}
	t.curves = []row[kmip.RecommendedCurve]{
		{kmip.RecommendedCurveP224, terms{uses: everything, legacy: of(Verify, Import), until: end2030, source: sp131}},
		{kmip.RecommendedCurveP256, terms{uses: everything, source: "NIST SP 800-186"}},
		{kmip.RecommendedCurveP384, terms{uses: everything, source: "NIST SP 800-186"}},
		{kmip.RecommendedCurveP521, terms{uses: everything, source: "NIST SP 800-186"}},
		{kmip.RecommendedCurveP192, terms{legacy: of(Verify, Import), source: sp131}},
		{kmip.RecommendedCurveK163, terms{legacy: of(Verify, Import), source: sp131}},
		{kmip.RecommendedCurveB163, terms{legacy: of(Verify, Import), source: sp131}},
	}
	all := keyed | of(Digest)
	t.hashes = []row[kmip.HashingAlgorithm]{
		{kmip.HashingAlgorithmSHA256, terms{uses: all, source: "FIPS 180-4"}},
		{kmip.HashingAlgorithmSHA384, terms{uses: all, source: "FIPS 180-4"}},
		{kmip.HashingAlgorithmSHA512, terms{uses: all, source: "FIPS 180-4"}},
		{kmip.HashingAlgorithmSHA512_256, terms{uses: all, source: "FIPS 180-4"}},
		{kmip.HashingAlgorithmSHA224, terms{uses: all &^ of(Encrypt, Wrap), legacy: processing, until: end2030, source: sp131}},
		{kmip.HashingAlgorithmSHA512_224, terms{uses: all &^ of(Encrypt, Wrap), legacy: processing, until: end2030, source: sp131}},
		{kmip.HashingAlgorithmSHA3_224, terms{uses: all &^ of(Encrypt, Wrap), legacy: processing, until: end2030, source: sp131}},
		{kmip.HashingAlgorithmSHA3_256, terms{uses: all, source: "FIPS 202"}},
		{kmip.HashingAlgorithmSHA3_384, terms{uses: all, source: "FIPS 202"}},
		{kmip.HashingAlgorithmSHA3_512, terms{uses: all, source: "FIPS 202"}},
		{kmip.HashingAlgorithmSHA1, terms{uses: maccing | of(Derive, Digest), legacy: processing, until: end2030, source: sp131 + " sections 3, 9"}},
	}
	t.modes = []row[kmip.BlockCipherMode]{
		{kmip.BlockCipherModeECB, terms{legacy: of(Decrypt), source: "NIST SP 800-131A r3 draft"}},
		{kmip.BlockCipherModeCBC, terms{uses: ciphering, source: sp38}},
		{kmip.BlockCipherModeCTR, terms{uses: ciphering, source: sp38}},
		{kmip.BlockCipherModeCFB, terms{uses: ciphering, source: sp38}},
		{kmip.BlockCipherModeOFB, terms{uses: ciphering, source: sp38}},
		{kmip.BlockCipherModeGCM, terms{uses: ciphering, source: "NIST SP 800-38D; FIPS 140 IG C.H"}},
		{kmip.BlockCipherModeCCM, terms{uses: ciphering, source: "NIST SP 800-38C"}},
		{kmip.BlockCipherModeXTS, terms{uses: ciphering, source: "NIST SP 800-38E; FIPS 140 IG C.I"}},
		{kmip.BlockCipherModeCMAC, terms{uses: maccing | of(Derive), source: "NIST SP 800-38B"}},
		{kmip.BlockCipherModeNISTKeyWrap, terms{uses: wrapping, source: "NIST SP 800-38F"}},
		{kmip.BlockCipherModeAESKeyWrapPadding, terms{uses: wrapping, source: "NIST SP 800-38F"}},
		{kmip.BlockCipherModeX9_102TDKW, terms{legacy: of(Unwrap), source: sp131}},
	}
	t.paddings = []row[kmip.PaddingMethod]{
		{kmip.PaddingMethodNone, terms{uses: ciphering | signing, source: sp38}},
		{kmip.PaddingMethodPKCS5, terms{uses: ciphering, source: "NIST SP 800-38A addendum"}},
		{kmip.PaddingMethodOAEP, terms{uses: ciphering | wrapping, source: sp56}},
		{kmip.PaddingMethodPSS, terms{uses: signing, source: fips4}},
		{kmip.PaddingMethodPKCS1V1_5, terms{uses: signing, legacy: of(Decrypt, Unwrap), source: fips4 + "; " + sp131 + " section 6"}},
		{kmip.PaddingMethodX9_31, terms{legacy: of(Verify), source: fips4}},
	}
	t.signatures = []row[kmip.DigitalSignatureAlgorithm]{
		{kmip.DigitalSignatureAlgorithmSHA256WithRSAEncryptionPKCS1V1_5, terms{uses: signing, source: fips4}},
		{kmip.DigitalSignatureAlgorithmSHA384WithRSAEncryptionPKCS1V1_5, terms{uses: signing, source: fips4}},
		{kmip.DigitalSignatureAlgorithmSHA512WithRSAEncryptionPKCS1V1_5, terms{uses: signing, source: fips4}},
		{kmip.DigitalSignatureAlgorithmRSASSAPSSPKCS1V2_1, terms{uses: signing, source: fips4}},
		{kmip.DigitalSignatureAlgorithmECDSAWithSHA256, terms{uses: signing, source: fips4}},
		{kmip.DigitalSignatureAlgorithmECDSAWithSHA384, terms{uses: signing, source: fips4}},
		{kmip.DigitalSignatureAlgorithmECDSAWithSHA512, terms{uses: signing, source: fips4}},
		{kmip.DigitalSignatureAlgorithmSHA3_256WithRSAEncryption, terms{uses: signing, source: fips4}},
		{kmip.DigitalSignatureAlgorithmSHA3_384WithRSAEncryption, terms{uses: signing, source: fips4}},
		{kmip.DigitalSignatureAlgorithmSHA3_512WithRSAEncryption, terms{uses: signing, source: fips4}},
		{kmip.DigitalSignatureAlgorithmSHA224WithRSAEncryptionPKCS1V1_5, terms{uses: signing, legacy: of(Verify, Import), until: end2030, source: sp131}},
		{kmip.DigitalSignatureAlgorithmECDSAWithSHA224, terms{uses: signing, legacy: of(Verify, Import), until: end2030, source: sp131}},
		{kmip.DigitalSignatureAlgorithmSHA1WithRSAEncryptionPKCS1V1_5, terms{legacy: of(Verify, Import), source: sp131}},
		{kmip.DigitalSignatureAlgorithmECDSAWithSHA1, terms{legacy: of(Verify, Import), source: sp131}},
		{kmip.DigitalSignatureAlgorithmDSAWithSHA1, terms{legacy: of(Verify, Import), source: fips4}},
		{kmip.DigitalSignatureAlgorithmDSAWithSHA224, terms{legacy: of(Verify, Import), source: fips4}},
		{kmip.DigitalSignatureAlgorithmDSAWithSHA256, terms{legacy: of(Verify, Import), source: fips4}},
	}
	t.derivations = []row[kmip.DerivationMethod]{
		{kmip.DerivationMethodPBKDF2, terms{uses: of(Derive), source: sp132}},
		{kmip.DerivationMethodNIST800_108C, terms{uses: of(Derive), source: sp108}},
		{kmip.DerivationMethodNIST800_108F, terms{uses: of(Derive), source: sp108}},
		{kmip.DerivationMethodNIST800_108DPI, terms{uses: of(Derive), source: sp108}},
	}
	t.limits = Limits{Hash: kmip.HashingAlgorithmSHA256, ServerIV: true, GCMUses: 32, SameMGF: true, ShortSalt: true, HMACBits: 112,
		DeriveBits: 112, OutputBits: 112, Salt: 16, Iterations: 10000, Password: 14, NoPlainWrapping: true, Strength: StrengthWarned, Exponents: true}
	return t
}

// column is AES, a curve and a hash of one strength.
type column struct {
	aes, curve int
	named      kmip.RecommendedCurve
	hash       kmip.HashingAlgorithm
	hmac       kmip.CryptographicAlgorithm
	signature  kmip.DigitalSignatureAlgorithm
}

var (
	column1 = column{128, 256, kmip.RecommendedCurveP256, kmip.HashingAlgorithmSHA256, kmip.CryptographicAlgorithmHMACSHA256, kmip.DigitalSignatureAlgorithmECDSAWithSHA256}
	column2 = column{256, 384, kmip.RecommendedCurveP384, kmip.HashingAlgorithmSHA384, kmip.CryptographicAlgorithmHMACSHA384, kmip.DigitalSignatureAlgorithmECDSAWithSHA384}
)

// suiteB is one of the Suite B policies, or what CNSA 1.0 took over from them, made of columns.
func suiteB(name, source string, columns ...column) *table {
	t := &table{name: name, pairs: []pair{}}
	for _, c := range columns {
		key := func(a kmip.CryptographicAlgorithm, min, max int, uses Uses) {
			t.keys = append(t.keys, keyRow{a, min, max, 0, terms{uses: uses, source: source}})
		}
		key(kmip.CryptographicAlgorithmAES, c.aes, c.aes, making|wrapping|ciphering|of(Derive))
		key(kmip.CryptographicAlgorithmEC, c.curve, c.curve, making|signing|of(Agree))
		key(kmip.CryptographicAlgorithmECDSA, c.curve, c.curve, making|signing)
		key(kmip.CryptographicAlgorithmECDH, c.curve, c.curve, making|of(Agree))
		key(c.hmac, c.aes, 0, making|maccing|of(Derive))
		t.curves = append(t.curves, row[kmip.RecommendedCurve]{c.named, terms{uses: everything, source: source}})
		t.hashes = append(t.hashes, row[kmip.HashingAlgorithm]{c.hash, terms{uses: keyed | of(Digest), source: source}})
		t.signatures = append(t.signatures, row[kmip.DigitalSignatureAlgorithm]{c.signature, terms{uses: signing, source: source}})
		t.pairs = append(t.pairs, pair{c.curve, c.hash})
	}
	for _, m := range []kmip.BlockCipherMode{kmip.BlockCipherModeCBC, kmip.BlockCipherModeCTR, kmip.BlockCipherModeGCM, kmip.BlockCipherModeCCM} {
		t.modes = append(t.modes, row[kmip.BlockCipherMode]{m, terms{uses: ciphering, source: source}})
	}
	for _, m := range []kmip.BlockCipherMode{kmip.BlockCipherModeNISTKeyWrap, kmip.BlockCipherModeAESKeyWrapPadding} {
		t.modes = append(t.modes, row[kmip.BlockCipherMode]{m, terms{uses: wrapping, source: source}})
	}
	t.paddings = []row[kmip.PaddingMethod]{
		{kmip.PaddingMethodNone, terms{uses: ciphering | signing, source: source}},
		{kmip.PaddingMethodPKCS5, terms{uses: ciphering, source: source}},
	}
	for _, m := range []kmip.DerivationMethod{kmip.DerivationMethodNIST800_108C, kmip.DerivationMethodNIST800_108F, kmip.DerivationMethodNIST800_108DPI} {
		t.derivations = append(t.derivations, row[kmip.DerivationMethod]{m, terms{uses: of(Derive), source: source}})
	}
	for _, f := range []kmip.KeyFormatType{kmip.KeyFormatTypeRaw, kmip.KeyFormatTypeECPrivateKey, kmip.KeyFormatTypeX509,
		kmip.KeyFormatTypeTransparentECDSAPrivateKey, kmip.KeyFormatTypeTransparentECDSAPublicKey,
		kmip.KeyFormatTypeTransparentECDHPrivateKey, kmip.KeyFormatTypeTransparentECDHPublicKey} {
		t.formats = append(t.formats, row[kmip.KeyFormatType]{f, terms{uses: everything, source: source}})
	}
	for _, o := range []kmip.ObjectType{kmip.ObjectTypeCertificate, kmip.ObjectTypeSymmetricKey, kmip.ObjectTypePublicKey,
		kmip.ObjectTypePrivateKey, kmip.ObjectTypeTemplate} {
		t.objects = append(t.objects, row[kmip.ObjectType]{o, terms{uses: making, source: source}})
	}
	last := columns[len(columns)-1]
	t.limits = Limits{Hash: last.hash, ServerIV: true, GCMUses: 32, SameMGF: true, ShortSalt: true, HMACBits: columns[0].aes,
		DeriveBits: columns[0].aes, OutputBits: columns[0].aes, NoPlainWrapping: true, Strength: StrengthRefused, Columns: len(columns) > 1, Exponents: true, X509Only: true}
	return t
}

// cnsa1 is CNSA 1.0: column 2 of Suite B, and RSA from 3072 bits on.
func cnsa1(name, source string) *table {
	t := suiteB(name, source, column2)
	t.keys = append(t.keys,
		keyRow{kmip.CryptographicAlgorithmRSA, 3072, 16384, 2, terms{uses: making | ciphering | wrapping | signing, source: source}},
		keyRow{kmip.CryptographicAlgorithmDH, 3072, 8192, 0, terms{uses: making | of(Agree), source: source}})
	t.keys[0].uses |= maccing // CMAC
	t.modes = append(t.modes, row[kmip.BlockCipherMode]{kmip.BlockCipherModeCMAC, terms{uses: maccing | of(Derive), source: source}})
	t.paddings = append(t.paddings,
		row[kmip.PaddingMethod]{kmip.PaddingMethodOAEP, terms{uses: ciphering | wrapping, source: source}},
		row[kmip.PaddingMethod]{kmip.PaddingMethodPSS, terms{uses: signing, source: source}},
		row[kmip.PaddingMethod]{kmip.PaddingMethodPKCS1V1_5, terms{uses: signing, source: source}})
	t.signatures = append(t.signatures,
		row[kmip.DigitalSignatureAlgorithm]{kmip.DigitalSignatureAlgorithmSHA384WithRSAEncryptionPKCS1V1_5, terms{uses: signing, source: source}},
		row[kmip.DigitalSignatureAlgorithm]{kmip.DigitalSignatureAlgorithmRSASSAPSSPKCS1V2_1, terms{uses: signing, source: source}})
	t.formats, t.objects, t.limits.X509Only = nil, nil, false // no profile says them
	// An AES-256 key has more strength than any RSA key that clients use: CNSA 1.0 takes RSA 3072 for it all the same.
	t.limits.Strength = StrengthWarned
	return t
}

// cnsa2 is CNSA 2.0 in its end state, as far as KMIP has names for it: no public-key algorithm of today. The switch
// cnsa2-transition adds those of CNSA 1.0 until 2031.
func cnsa2(transition bool) *table {
	t := cnsa1("cnsa2", cnssp)
	for i := range t.keys {
		if t.keys[i].algorithm == kmip.CryptographicAlgorithmAES || t.keys[i].algorithm == column2.hmac {
			t.keys[i].source = cnsa20
			continue
		}
		t.keys[i].until = end2031
	}
	asymmetric := func(m kmip.PaddingMethod) bool { return m != kmip.PaddingMethodNone && m != kmip.PaddingMethodPKCS5 }
	t.curves = endOf(t.curves, transition, nil)
	t.signatures = endOf(t.signatures, transition, nil)
	t.paddings = endOf(t.paddings, transition, asymmetric)
	if !transition {
		t.pairs = []pair{}
		t.keys = slices.DeleteFunc(t.keys, func(r keyRow) bool { return !r.until.IsZero() })
	}
	t.keys = append(t.keys, keyRow{kmip.CryptographicAlgorithmHMACSHA512, 256, 0, 0, terms{uses: making | maccing | of(Derive), source: cnsa20}})
	t.hashes = append(t.hashes, row[kmip.HashingAlgorithm]{kmip.HashingAlgorithmSHA512, terms{uses: keyed | of(Digest), source: cnsa20}})
	return t
}

// endOf ends the rows of the transition with the year 2031, or takes them away where there is none. old tells which rows
// they are; nil for all.
func endOf[T comparable](rows []row[T], transition bool, old func(T) bool) []row[T] {
	out := []row[T]{}
	for _, r := range rows {
		if old == nil || old(r.value) {
			if !transition {
				continue
			}
			r.until = end2031
		}
		out = append(out, r)
	}
	return out
}
