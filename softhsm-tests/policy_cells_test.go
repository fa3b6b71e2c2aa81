package softhsmtests

import (
	"strings"
	"testing"

	"kmipd/softhsm-tests/internal/message"
)

// TestPolicyCells sends every algorithm, length, mode, padding, hash and curve that KMIP 1.4 has and the server can be asked
// for to a listener of each strict policy. A line has a letter for fips140, suiteb128, suiteb192, cnsa1 and cnsa2, in this
// order: see wire.try. The lines are written from the tables of the policies' own documents, not from the server's.
func TestPolicyCells(t *testing.T) {
	w := newWire(t)
	t.Run("make", func(t *testing.T) { w.t = t; w.makeKeys(); w.cellsOfNewKeys(); w.cellsOfRegister() })
	t.Run("cipher", func(t *testing.T) { w.t = t; w.cellsOfCiphers() })
	t.Run("sign", func(t *testing.T) { w.t = t; w.cellsOfSignatures() })
	t.Run("mac and hash", func(t *testing.T) { w.t = t; w.cellsOfMACs(); w.cellsOfHashes() })
	t.Run("derive", func(t *testing.T) { w.t = t; w.cellsOfDerivation() })
	t.Run("leave", func(t *testing.T) { w.t = t; w.cellsOfWrapping(); w.cellsOfFormats() })
	t.Run("attributes", func(t *testing.T) { w.t = t; w.cellsOfParameters() })
}

// makeKeys makes what the later lines use, under the default policy.
func (w *wire) makeKeys() {
	const all = " Encrypt Decrypt WrapKey UnwrapKey MACGenerate MACVerify DeriveKey"
	for _, bits := range []string{"128", "192", "256"} {
		w.keep("aes"+bits, w.create("AES "+bits+all))
	}
	w.keep("des3", w.create("DES3 168 Encrypt Decrypt MACGenerate MACVerify DeriveKey"))
	for name, text := range map[string]string{"hmac1": "HMAC_SHA1 160", "hmac224": "HMAC_SHA224 224", "hmac256": "HMAC_SHA256 256", "hmac384": "HMAC_SHA384 384",
		"hmac512": "HMAC_SHA512 512", "short": "HMAC_SHA256 112", "shorter": "HMAC_SHA256 80"} {
		w.keep(name, w.create(text+" MACGenerate MACVerify DeriveKey"))
	}
	for _, bits := range []string{"1024", "2048", "3072"} {
		w.keep("rsa"+bits, w.pair("RSA "+bits, "Sign Decrypt UnwrapKey", "Verify Encrypt WrapKey"))
	}
	for _, text := range []string{"EC 256 P_256", "EC 384 P_384", "EC 521 P_521"} {
		w.keep("ec"+text[3:6], w.pair(text, "Sign", "Verify"))
	}
	for name, octets := range map[string]int{"password": 14, "short password": 13} {
		w.keep(name, w.item("Register", w.enum("ObjectType", "SecretData"), w.structure("TemplateAttribute", w.key("AES 8 DeriveKey")[2:]...),
			w.structure("SecretData", w.enum("SecretDataType", "Password"), w.structure("KeyBlock", w.enum("KeyFormatType", "Opaque"),
				w.structure("KeyValue", w.bytes("KeyMaterial", octets))))))
	}
}

func (w *wire) cellsOfNewKeys() {
	for text, cells := range map[string]string{
		"AES 128": "++FFF", "AES 192": "+FFFF", "AES 256": "+++++", "DES 56": "FFFFF", "DES3 112": "FFFFF", "DES3 168": "FFFFF",
		"HMAC_SHA1 104": "FFFFF", "HMAC_SHA1 112": "+FFFF", "HMAC_SHA1 160": "+FFFF", "HMAC_SHA224 224": "+FFFF",
		"HMAC_SHA256 104": "FFFFF", "HMAC_SHA256 112": "+FFFF", "HMAC_SHA256 128": "++FFF", "HMAC_SHA256 256": "++FFF",
		"HMAC_SHA384 128": "+FFFF", "HMAC_SHA384 256": "+++++", "HMAC_SHA384 384": "+++++",
		"HMAC_SHA512 128": "+FFFF", "HMAC_SHA512 256": "+FFF+", "HMAC_SHA512 512": "+FFF+",
	} {
		w.try("Create "+text, cells, "Cryptographic", w.create(text+" Encrypt"))
	}
	// The algorithms that no policy knows, of which KMIP 1.4 names 24, and those of key pairs.
	for _, name := range w.names("CryptographicAlgorithm") {
		switch {
		case name == "AES", name == "DES3", strings.HasPrefix(name, "HMAC_SHA") && !strings.HasPrefix(name, "HMAC_SHA3_"):
			continue
		}
		field := "Cryptographic Algorithm"
		switch name {
		case "RSA", "DSA", "ECDSA", "DH", "ECDH", "ECMQV", "EC":
			continue // below
		}
		w.try("Create "+name, "FFFFF", field, w.create(name+" 128 Encrypt"))
	}
	for text, cells := range map[string]string{
		"RSA 1024": "FFFFF", "RSA 2048": "+FFFF", "RSA 3072": "+FF+F",
		"EC 256 P_256": "++FFF", "EC 384 P_384": "++++F", "EC 521 P_521": "+FFFF",
		"ECDSA 256 P_256": "++FFF", "ECDSA 384 P_384": "++++F", "ECDSA 521 P_521": "+FFFF",
		"ECDH 256 P_256": "++FFF", "ECDH 384 P_384": "++++F", "ECDH 521 P_521": "+FFFF",
	} {
		use := "Sign"
		if strings.HasPrefix(text, "ECDH") {
			use = "KeyAgreement"
		}
		w.try("Create Key Pair "+text, cells, "Cryptographic", w.pair(text, use, strings.Replace(use, "Sign", "Verify", 1)))
	}
}

// cellsOfRegister brings public keys on every curve, in a format that all policies know, and keys in every other format.
func (w *wire) cellsOfRegister() {
	bits := func(curve string) int {
		switch {
		case strings.HasSuffix(curve, "_192"), strings.Contains(curve, "192"):
			return 192
		case strings.HasSuffix(curve, "_163"):
			return 163
		case strings.HasSuffix(curve, "_224"), strings.Contains(curve, "224"):
			return 224
		case strings.HasSuffix(curve, "_384"), strings.Contains(curve, "384"):
			return 384
		case strings.HasSuffix(curve, "_521"):
			return 521
		}
		return 256
	}
	known := map[string]int{"SECP160K1": 160, "SECP160R1": 160, "BRAINPOOLP160R1": 160, "BRAINPOOLP320R1": 320, "BRAINPOOLP512R1": 512, "BRAINPOOLP512T1": 512,
		"K_233": 233, "B_233": 233, "K_283": 283, "B_283": 283, "K_409": 409, "B_409": 409, "K_571": 571, "B_571": 571}
	mask := w.key("AES 8 Verify")[2:]
	for _, curve := range w.names("RecommendedCurve") {
		n := bits(curve)
		if k, ok := known[curve]; ok {
			n = k
		}
		field, cells := "", "FFFFF"
		switch curve {
		case "P_256", "P_384", "P_521":
			continue // with real points: cellsOfNewKeys
		case "P_224":
			cells = "+FFFF"
		}
		w.try("Register on "+curve, cells, field, w.item("Register", w.enum("ObjectType", "PublicKey"), w.structure("TemplateAttribute", mask...),
			w.structure("PublicKey", w.block("TransparentECDSAPublicKey", "ECDSA", n,
				w.structure("KeyMaterial", w.enum("RecommendedCurve", curve), w.bytes("QString", 65))))))
	}
	for text, cells := range map[string]string{"AES 128": "++FFF", "AES 192": "+FFFF", "AES 256": "+++++", "DES3 192": "FFFFF", "DES 64": "FFFFF", "RC4 128": "FFFFF",
		"HMAC_SHA256 80": "FFFFF", "HMAC_SHA256 256": "++FFF", "HMAC_SHA512 512": "+FFF+", "HMAC_MD5 128": "FFFFF", "Blowfish 128": "FFFFF", "ChaCha20 256": "FFFFF"} {
		attrs := w.key(text + " Encrypt")
		f := strings.Fields(text)
		n := map[string]int{"64": 64, "80": 80, "128": 128, "192": 192, "256": 256, "512": 512}[f[1]]
		w.try("Register "+text, cells, "Cryptographic", w.item("Register", w.enum("ObjectType", "SymmetricKey"), w.structure("TemplateAttribute", attrs...),
			w.structure("SymmetricKey", w.block("Raw", f[0], n, w.bytes("KeyMaterial", n/8)))))
	}
	w.every("KeyFormatType", map[string]string{"Raw": "+++++", "Opaque": "oKKoo", "TransparentSymmetricKey": "oKKoo", "PKCS_1": "oKKoo", "PKCS_8": "oKKoo", "X_509": "ooooo",
		"ECPrivateKey": "ooooo", "TransparentECDSAPrivateKey": "ooooo", "TransparentECDSAPublicKey": "ooooo", "TransparentECDHPrivateKey": "ooooo", "TransparentECDHPublicKey": "ooooo"},
		"oKKoo", "Key Format Type", func(format string) message.Item {
			return w.item("Register", w.enum("ObjectType", "SymmetricKey"), w.structure("TemplateAttribute", w.key("AES 256 Encrypt")...),
				w.structure("SymmetricKey", w.block(format, "AES", 256, w.bytes("KeyMaterial", 32))))
		})
	w.try("Register Secret Data", "+FF++", "Object Type", w.item("Register", w.enum("ObjectType", "SecretData"), w.structure("TemplateAttribute", w.key("AES 8 DeriveKey")[2:]...),
		w.structure("SecretData", w.enum("SecretDataType", "Password"), w.structure("KeyBlock", w.enum("KeyFormatType", "Raw"), w.structure("KeyValue", w.bytes("KeyMaterial", 16))))))
	w.try("Register an Opaque Object", "+FF++", "Object Type", w.item("Register", w.enum("ObjectType", "OpaqueObject"), w.structure("TemplateAttribute"),
		w.structure("OpaqueObject", w.enum("OpaqueDataType", "0x80000001"), w.bytes("OpaqueDataValue", 16))))
}

// cellsOfCiphers encrypts and decrypts with each mode, padding and hash.
func (w *wire) cellsOfCiphers() {
	data := w.bytes("Data", 32)
	with := func(operation, key, params string, more ...*node) message.Item {
		return w.item(operation, append([]*node{w.id(key), w.parameters(params)}, more...)...)
	}
	w.every("BlockCipherMode", map[string]string{"CBC": "+++++", "CTR": "+++++", "GCM": "+++++", "CFB": "oFFFF", "OFB": "oFFFF", "CCM": "ooooo", "XTS": "oFFFF"}, "FFFFF", "Block Cipher Mode",
		func(mode string) message.Item { return with("Encrypt", "aes256", "BlockCipherMode="+mode, data) })
	iv := w.bytes("IVCounterNonce", 16)
	w.every("BlockCipherMode", map[string]string{"CBC": "+++++", "CTR": "+++++", "ECB": "oFFFF", "GCM": "ooooo", "CFB": "oFFFF", "OFB": "oFFFF", "CCM": "ooooo", "XTS": "oFFFF"}, "FFFFF", "Block Cipher Mode",
		func(mode string) message.Item { return with("Decrypt", "aes256", "BlockCipherMode="+mode, data, iv) })
	w.every("PaddingMethod", map[string]string{"None": "+++++", "PKCS5": "+++++", "OAEP": "oFFoF"}, "FFFFF", "Padding Method",
		func(padding string) message.Item {
			return with("Encrypt", "aes256", "BlockCipherMode=CBC PaddingMethod="+padding, data)
		})
	for _, mode := range []string{"CBC", "CTR", "GCM"} {
		w.try("Encrypt with the client's IV, "+mode, "FFFFF", "IV/Counter/Nonce", with("Encrypt", "aes256", "BlockCipherMode="+mode, data, w.bytes("IVCounterNonce", 12)))
	}
	w.try("GCM with an IV of 64 bits", "FFFFF", "IV/Counter/Nonce", with("Decrypt", "aes256", "BlockCipherMode=GCM", data, w.bytes("IVCounterNonce", 8)))
	for key, cells := range map[string]string{"aes128": "++PPP", "aes192": "+PPPP", "aes256": "+++++", "des3": "PPPPP"} {
		w.try("Encrypt with "+key, cells, "Cryptographic", with("Encrypt", key, "BlockCipherMode=CBC", data))
	}
	for key, cells := range map[string]string{"aes128": "++PPP", "aes192": "+PPPP", "aes256": "+++++"} {
		w.try("Decrypt with "+key, cells, "Cryptographic", with("Decrypt", key, "BlockCipherMode=CBC", data, iv))
	}
	w.try("Decrypt with 3DES", "+PPPP", "Cryptographic Algorithm", with("Decrypt", "des3", "BlockCipherMode=CBC", data, w.bytes("IVCounterNonce", 8)))

	short := w.bytes("Data", 16)
	w.every("HashingAlgorithm", map[string]string{"SHA_256": "+PPFP", "SHA_384": "+PP+P", "SHA_512": "+PPFP", "SHA_512_256": "oPPFP",
		"SHA_3_256": "oPPFP", "SHA_3_384": "oPPFP", "SHA_3_512": "oPPFP", "SHA_512_224": "FPPFP", "SHA_3_224": "FPPFP"}, "FPPFP", "",
		func(hash string) message.Item {
			return with("Encrypt", "rsa3072.pub", "PaddingMethod=OAEP HashingAlgorithm="+hash, short)
		})
	for params, cells := range map[string]string{"PaddingMethod=OAEP": "+PP+P", "PaddingMethod=PKCS1V1_5": "FPPFP", "PaddingMethod=None": "oPPoP",
		"PaddingMethod=OAEP HashingAlgorithm=SHA_384 MaskGeneratorHashingAlgorithm=SHA_384": "+PP+P",
		"PaddingMethod=OAEP HashingAlgorithm=SHA_384 MaskGeneratorHashingAlgorithm=SHA_1":   "FPPFP"} {
		w.try("Encrypt with RSA, "+params, cells, "", with("Encrypt", "rsa3072.pub", params, short))
	}
	w.try("Decrypt with RSA, PKCS#1 v1.5", "oPPFP", "", with("Decrypt", "rsa3072", "PaddingMethod=PKCS1V1_5", w.bytes("Data", 384)))
	w.try("Encrypt with RSA 2048", "+PPPP", "Cryptographic", with("Encrypt", "rsa2048.pub", "PaddingMethod=OAEP", short))
	w.try("Encrypt with RSA 1024", "PPPPP", "Cryptographic", with("Encrypt", "rsa1024.pub", "PaddingMethod=OAEP", short))
}

func (w *wire) cellsOfSignatures() {
	data := w.bytes("Data", 32)
	sign := func(key, params string) message.Item { return w.item("Sign", w.id(key), w.parameters(params), data) }
	verify := func(key, params string, octets int) message.Item {
		return w.item("SignatureVerify", w.id(key+".pub"), w.parameters(params), data, w.bytes("SignatureData", octets))
	}
	// The keys, each with the hash that goes with it.
	for key, c := range map[string][3]string{"rsa1024": {"SHA_256", "PPPPP", "+PPPP"}, "rsa2048": {"SHA_256", "+PPPP", "+PPPP"}, "rsa3072": {"SHA_384", "+PP+P", "+PP+P"},
		"ec256": {"SHA_256", "++PPP", "++PPP"}, "ec384": {"SHA_384", "++++P", "++++P"}, "ec521": {"SHA_512", "+PPPP", "+PPPP"}} {
		w.try("Sign with "+key, c[1], "Cryptographic", sign(key, "HashingAlgorithm="+c[0]))
		w.try("Signature Verify with "+key, c[2], "Cryptographic", verify(key, "HashingAlgorithm="+c[0], 64))
	}
	// Hashes with RSA 3072, P-256 and P-384.
	w.every("HashingAlgorithm", map[string]string{"SHA_224": "+PPFP", "SHA_256": "+PPFP", "SHA_384": "+PP+P", "SHA_512": "+PPFP", "SHA_512_224": "oPPFP", "SHA_512_256": "oPPFP",
		"SHA_3_224": "oPPFP", "SHA_3_256": "oPPFP", "SHA_3_384": "oPPFP", "SHA_3_512": "oPPFP"}, "FPPFP", "",
		func(hash string) message.Item { return sign("rsa3072", "PaddingMethod=PSS HashingAlgorithm="+hash) })
	for hash, c := range map[string][2]string{"SHA_1": {"FFPPP", "FFFFP"}, "SHA_224": {"+FPPP", "+FFFP"}, "SHA_256": {"++PPP", "+FFFP"}, "SHA_384": {"+FPPP", "++++P"}, "SHA_512": {"+FPPP", "+FFFP"}} {
		w.try("Sign with P-256, "+hash, c[0], "", sign("ec256", "HashingAlgorithm="+hash))
		w.try("Sign with P-384, "+hash, c[1], "", sign("ec384", "HashingAlgorithm="+hash))
	}
	w.try("Signature Verify with SHA-1", "+PPFP", "", verify("rsa3072", "HashingAlgorithm=SHA_1", 384))
	// Paddings, salts and masks.
	w.every("PaddingMethod", map[string]string{"PKCS1V1_5": "+PP+P", "PSS": "+PP+P", "None": "oPPoP"}, "oPPoP", "",
		func(padding string) message.Item {
			return sign("rsa3072", "PaddingMethod="+padding+" HashingAlgorithm=SHA_384")
		})
	for params, cells := range map[string]string{"": "+PP+P", "HashingAlgorithm=SHA_384 SaltLength=0": "+PP+P", "HashingAlgorithm=SHA_384 SaltLength=48": "+PP+P",
		"HashingAlgorithm=SHA_384 SaltLength=49": "FPPFP", "HashingAlgorithm=SHA_384 MaskGeneratorHashingAlgorithm=SHA_256": "FPPFP"} {
		w.try("PSS "+params, cells, "", sign("rsa3072", "PaddingMethod=PSS "+params))
	}
	w.try("Sign with RSA and no hash", "FPPFP", "", w.item("Sign", w.id("rsa3072"), w.parameters(""), w.bytes("DigestedData", 48)))
	w.every("DigitalSignatureAlgorithm", map[string]string{"SHA_224WithRSAEncryptionPKCS_1V1_5": "+PPFP", "SHA_256WithRSAEncryptionPKCS_1V1_5": "+PPFP",
		"SHA_384WithRSAEncryptionPKCS_1V1_5": "+PP+P", "SHA_512WithRSAEncryptionPKCS_1V1_5": "+PPFP", "SHA_1WithRSAEncryptionPKCS_1V1_5": "FPPFP",
		"RSASSA_PSSPKCS_1V2_1": "+PP+P"}, "oPPoP", "",
		func(a string) message.Item { return sign("rsa3072", "DigitalSignatureAlgorithm="+a) })
	for a, cells := range map[string]string{"ECDSAWithSHA_1": "FFFFP", "ECDSAWithSHA256": "+FFFP", "ECDSAWithSHA384": "++++P", "ECDSAWithSHA512": "+FFFP"} {
		w.try("Sign with P-384, "+a, cells, "", sign("ec384", "DigitalSignatureAlgorithm="+a))
	}
}

func (w *wire) cellsOfMACs() {
	data := w.bytes("Data", 32)
	for key, c := range map[string][2]string{"hmac1": {"oFFFF", ""}, "hmac224": {"oFFFF", ""}, "hmac256": {"++FFF", ""}, "hmac384": {"+++++", ""}, "hmac512": {"+FFF+", ""},
		"short": {"oPFFF", "oPFFF"}, "shorter": {"PPFFF", "oPFFF"}} {
		if c[1] == "" {
			c[1] = c[0]
		}
		w.try("MAC with "+key, c[0], "", w.item("MAC", w.id(key), data))
		w.try("MAC Verify with "+key, c[1], "", w.item("MACVerify", w.id(key), data, w.bytes("MACData", 32)))
	}
	cmac := w.parameters("BlockCipherMode=CMAC")
	w.try("CMAC", "oFFoo", "Block Cipher Mode", w.item("MAC", w.id("aes256"), cmac, data))
	w.try("CMAC with 3DES", "PFFPP", "", w.item("MAC", w.id("des3"), cmac, data))
	w.try("MAC Verify, CMAC with 3DES", "oFFPP", "", w.item("MACVerify", w.id("des3"), cmac, data, w.bytes("MACData", 8)))
}

func (w *wire) cellsOfHashes() {
	w.every("HashingAlgorithm", map[string]string{"SHA_1": "+FFFF", "SHA_224": "+FFFF", "SHA_256": "++FFF", "SHA_384": "+++++", "SHA_512": "+FFF+", "SHA_512_224": "+FFFF",
		"SHA_512_256": "+FFFF", "SHA_3_224": "+FFFF", "SHA_3_256": "+FFFF", "SHA_3_384": "+FFFF", "SHA_3_512": "+FFFF"}, "FFFFF", "Hashing Algorithm",
		func(hash string) message.Item {
			return w.item("Hash", w.parameters("HashingAlgorithm="+hash), w.bytes("Data", 32))
		})
}

func (w *wire) cellsOfDerivation() {
	derive := func(method, base, to string, params ...*node) message.Item {
		return w.item("DeriveKey", w.enum("ObjectType", "SymmetricKey"), w.id(base), w.enum("DerivationMethod", method),
			w.structure("DerivationParameters", params...), w.structure("TemplateAttribute", w.key(to+" Encrypt")...))
	}
	data := w.bytes("DerivationData", 16)
	params := w.parameters
	w.every("DerivationMethod", map[string]string{"NIST800_108_C": "+FF++", "NIST800_108_F": "+FF++", "NIST800_108_DPI": "+FF++"}, "FFFFF", "",
		func(method string) message.Item {
			if method == "PBKDF2" {
				return derive(method, "password", "AES 256", params("HashingAlgorithm=SHA_384"), w.bytes("Salt", 15), w.int("IterationCount", 10000))
			}
			if strings.HasPrefix(method, "NIST") {
				return derive(method, "aes256", "AES 256", params("BlockCipherMode=CMAC"), data)
			}
			return derive(method, "hmac384", "AES 256", params("HashingAlgorithm=SHA_384"), data)
		})
	for _, c := range []struct{ name, cells, field, base, to, params string }{
		{"with HMAC-SHA384", "+++++", "", "hmac384", "AES 256", "HashingAlgorithm=SHA_384"},
		{"with HMAC-SHA512", "+PPP+", "Cryptographic", "hmac512", "AES 256", "HashingAlgorithm=SHA_512"},
		{"with HMAC-SHA256", "++PPP", "Cryptographic", "hmac256", "AES 256", "HashingAlgorithm=SHA_256"},
		{"with HMAC-SHA1", "oPPPP", "Cryptographic", "hmac1", "AES 256", "HashingAlgorithm=SHA_1"},
		{"with a 3DES key", "PPPPP", "Cryptographic", "des3", "AES 256", "BlockCipherMode=CMAC"},
		{"to AES 128", "++FFF", "Cryptographic", "hmac384", "AES 128", "HashingAlgorithm=SHA_384"},
		{"to AES 192", "+FFFF", "Cryptographic", "hmac384", "AES 192", "HashingAlgorithm=SHA_384"},
		{"to a 3DES key", "FFFFF", "Cryptographic", "hmac384", "DES3 168", "HashingAlgorithm=SHA_384"},
		{"with 80 bits", "PPPPP", "Cryptographic", "shorter", "AES 256", "HashingAlgorithm=SHA_256"},
	} {
		w.try("Derive Key "+c.name, c.cells, c.field, derive("NIST800_108_C", c.base, c.to, params(c.params), data))
	}
	for _, c := range []struct {
		name, cells, field, base string
		salt, count              int
	}{
		{"PBKDF2", "oFFFF", "", "password", 16, 10000},
		{"PBKDF2 with a salt of 15", "FFFFF", "", "password", 15, 10000},
		{"PBKDF2 with 9999 rounds", "FFFFF", "", "password", 16, 9999},
		{"PBKDF2 with 13 octets", "FFFFF", "", "short password", 16, 10000},
	} {
		w.try(c.name, c.cells, c.field, derive("PBKDF2", c.base, "AES 256", params("HashingAlgorithm=SHA_384"), w.bytes("Salt", c.salt), w.int("IterationCount", c.count)))
	}
}

// cellsOfWrapping gets keys wrapped.
func (w *wire) cellsOfWrapping() {
	get := func(key, kek, params, encoding string) message.Item {
		spec := w.structure("KeyWrappingSpecification", w.enum("WrappingMethod", "Encrypt"),
			w.structure("EncryptionKeyInformation", w.id(kek), w.parameters(params)))
		if encoding != "" {
			spec.Children = append(spec.Children, w.enum("EncodingOption", encoding))
		}
		return w.item("Get", w.id(key), spec)
	}
	w.every("BlockCipherMode", map[string]string{"NISTKeyWrap": "+++++", "AESKeyWrapPadding": "+++++"}, "FFFFF", "Block Cipher Mode",
		func(mode string) message.Item { return get("aes256", "aes256", "BlockCipherMode="+mode, "NoEncoding") })
	for _, c := range []struct{ name, cells, key, kek, params, encoding string }{
		{"TTLV Encoding", "EEEEE", "aes256", "aes256", "BlockCipherMode=NISTKeyWrap", "TTLVEncoding"},
		{"the default encoding", "EEEEE", "aes256", "aes256", "BlockCipherMode=NISTKeyWrap", ""},
		{"AES 128 under AES 128", "++PPP", "aes128", "aes128", "BlockCipherMode=NISTKeyWrap", "NoEncoding"},
		{"AES 256 under AES 128", "+PPPP", "aes256", "aes128", "BlockCipherMode=NISTKeyWrap", "NoEncoding"},
		{"AES 128 under AES 256", "+P+++", "aes128", "aes256", "BlockCipherMode=NISTKeyWrap", "NoEncoding"},
		{"AES 128 under AES 192", "+PPPP", "aes128", "aes192", "BlockCipherMode=NISTKeyWrap", "NoEncoding"},
		{"OAEP SHA-1", "FPPFP", "aes128", "rsa3072.pub", "PaddingMethod=OAEP HashingAlgorithm=SHA_1", "NoEncoding"},
		{"OAEP SHA-256", "oPPFP", "aes128", "rsa3072.pub", "PaddingMethod=OAEP HashingAlgorithm=SHA_256", "NoEncoding"},
		{"OAEP SHA-384", "oPPoP", "aes128", "rsa3072.pub", "PaddingMethod=OAEP HashingAlgorithm=SHA_384", "NoEncoding"},
		{"OAEP, nothing said", "oPPoP", "aes128", "rsa3072.pub", "PaddingMethod=OAEP", "NoEncoding"},
		{"PKCS#1 v1.5", "FPPFP", "aes128", "rsa3072.pub", "PaddingMethod=PKCS1V1_5", "NoEncoding"},
		{"RSA 1024", "PPPPP", "aes128", "rsa1024.pub", "PaddingMethod=OAEP HashingAlgorithm=SHA_256", "NoEncoding"},
	} {
		w.try("Get by "+c.name, c.cells, "", get(c.key, c.kek, c.params, c.encoding))
	}
}

// cellsOfFormats gets a public key in each format: private keys leave wrapped alone.
func (w *wire) cellsOfFormats() {
	w.every("KeyFormatType", map[string]string{"X_509": "+++++", "TransparentECDSAPublicKey": "+++++", "TransparentECDHPublicKey": "ooooo", "TransparentECPublicKey": "+KK++", "Raw": "ooooo",
		"ECPrivateKey": "ooooo", "TransparentECDSAPrivateKey": "ooooo", "TransparentECDHPrivateKey": "ooooo"}, "oKKoo", "Key Format Type",
		func(format string) message.Item {
			return w.item("Get", w.id("ec384.pub"), w.enum("KeyFormatType", format))
		})
}

// cellsOfParameters sets Cryptographic Parameters with each value.
func (w *wire) cellsOfParameters() {
	make := func(field string) func(string) message.Item {
		return func(value string) message.Item {
			text := w.key("AES 256 Encrypt")
			return w.item("Create", w.enum("ObjectType", "SymmetricKey"),
				w.structure("TemplateAttribute", append(text, w.attribute("Cryptographic Parameters", w.parameters(field+"="+value)))...))
		}
	}
	w.every("BlockCipherMode", map[string]string{"CBC": "+++++", "CTR": "+++++", "GCM": "+++++", "CCM": "+++++", "NISTKeyWrap": "+++++", "AESKeyWrapPadding": "+++++",
		"ECB": "+FFFF", "CFB": "+FFFF", "OFB": "+FFFF", "XTS": "+FFFF", "CMAC": "+FF++", "X9_102TDKW": "+FFFF"}, "FFFFF", "Block Cipher Mode", make("BlockCipherMode"))
	w.every("PaddingMethod", map[string]string{"None": "+++++", "PKCS5": "+++++", "OAEP": "+FF+F", "PSS": "+FF+F", "PKCS1V1_5": "+FF+F", "X9_31": "+FFFF"}, "FFFFF", "Padding Method", make("PaddingMethod"))
	w.every("HashingAlgorithm", map[string]string{"SHA_256": "++FFF", "SHA_384": "+++++", "SHA_512": "+FFF+", "SHA_1": "+FFFF", "SHA_224": "+FFFF", "SHA_512_224": "+FFFF",
		"SHA_512_256": "+FFFF", "SHA_3_224": "+FFFF", "SHA_3_256": "+FFFF", "SHA_3_384": "+FFFF", "SHA_3_512": "+FFFF"}, "FFFFF", "Hashing Algorithm", make("HashingAlgorithm"))
	w.every("DigitalSignatureAlgorithm", map[string]string{"MD2WithRSAEncryptionPKCS_1V1_5": "FFFFF", "MD5WithRSAEncryptionPKCS_1V1_5": "FFFFF", "ECDSAWithSHA256": "++FFF", "ECDSAWithSHA384": "++++F",
		"SHA_384WithRSAEncryptionPKCS_1V1_5": "+FF+F", "RSASSA_PSSPKCS_1V2_1": "+FF+F"}, "+FFFF", "Digital Signature Algorithm", make("DigitalSignatureAlgorithm"))
}
