package keystore

import (
	"bytes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"kmipd/hsm/hsmtest"
	"kmipd/kmip"
)

// activeNow gives an object a date on which it became Active.
func activeNow() kmip.Attribute { return at("Activation Date", timeValue(epoch.Add(-time.Hour))) }

func (c client) derive(req *kmip.DeriveKeyRequest) (string, error) {
	resp, err := do(c, kmip.OperationDeriveKey, "", c.s.DeriveKey, req)
	if err != nil {
		return "", err
	}
	return resp.UniqueIdentifier, nil
}

// baseKey registers a symmetric key to derive from; baseSecret, secret data.
func (c client) baseKey(alg kmip.CryptographicAlgorithm, value []byte, attrs ...kmip.Attribute) string {
	c.t.Helper()
	req := symmetric(value)
	req.TemplateAttribute = *with(append([]kmip.Attribute{mask(kmip.CryptographicUsageMaskDeriveKey), activeNow()}, attrs...)...)
	req.SymmetricKey.KeyBlock.CryptographicAlgorithm = alg
	return c.must(c.register(req))
}

func (c client) baseSecret(value []byte, attrs ...kmip.Attribute) string {
	c.t.Helper()
	return c.must(c.register(secret(value), append([]kmip.Attribute{mask(kmip.CryptographicUsageMaskDeriveKey), activeNow()}, attrs...)...))
}

func secretOf(bits int32) kmip.TemplateAttribute {
	return *with(at("Cryptographic Length", intValue(bits)))
}

func hashParams(h kmip.HashingAlgorithm) *kmip.CryptographicParameters {
	return &kmip.CryptographicParameters{HashingAlgorithm: h}
}

func counted(p kmip.CryptographicParameters, bits int32) *kmip.CryptographicParameters {
	p.CounterLength = &bits
	return &p
}

// TestDeriveVectors is published answers, through the whole operation.
func TestDeriveVectors(t *testing.T) { deriveVectors(t, newBench(t).client("alice")) }

// onSoftHSM is a client of a Store on a SoftHSM token.
func onSoftHSM(t testing.TB) client {
	t.Helper()
	token := hsmtest.NewSoftHSM(t)
	b := newBench(t)
	b.s.Close()
	b.db = openRecords(t, vfs.NewCrashableMem())
	b.start(b.db, token)
	return b.client("alice")
}

// TestDeriveSoftHSM is the same, an agreement and a split key on a real token.
func TestDeriveSoftHSM(t *testing.T) {
	c := onSoftHSM(t)
	deriveVectors(t, c)
	t.Run("agreement", func(t *testing.T) { deriveAgreement(t, c) })
	for _, m := range splitMethods {
		parts, err := c.split(splitRequest(m, 3, 3, c.aes()))
		c.ok(err)
		c.must(c.join(joinRequest(kmip.ObjectTypeSymmetricKey, parts)))
	}
}

func deriveVectors(t *testing.T, c client) {
	const (
		aes     = kmip.CryptographicAlgorithmAES
		generic = kmip.CryptographicAlgorithmHMACSHA512
		sha1    = kmip.HashingAlgorithmSHA1
		sha256  = kmip.HashingAlgorithmSHA256
	)
	cmac := kmip.CryptographicParameters{BlockCipherMode: kmip.BlockCipherModeCMAC}
	mode := func(m kmip.BlockCipherMode) *kmip.CryptographicParameters {
		return &kmip.CryptographicParameters{BlockCipherMode: m}
	}
	for _, row := range []struct {
		name           string
		alg            kmip.CryptographicAlgorithm // 0: Secret Data
		key            string
		method         kmip.DerivationMethod
		params         *kmip.CryptographicParameters
		iv, data, salt string
		iterations     int32
		want           string
	}{
		// RFC 6070 (HMAC-SHA-1, also the default) and RFC 7914 section 11 (HMAC-SHA-256).
		{"RFC 6070, 1", 0, "70617373776f7264", kmip.DerivationMethodPBKDF2, nil, "", "", "73616c74", 1, "0c60c80f961f0e71f3a9b524af6012062fe037a6"},
		{"RFC 6070, 2", 0, "70617373776f7264", kmip.DerivationMethodPBKDF2, hashParams(sha1), "", "", "73616c74", 2, "ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957"},
		{"RFC 6070, 4096", 0, "70617373776f7264", kmip.DerivationMethodPBKDF2, nil, "", "", "73616c74", 4096, "4b007901b765489abead49d926f721d065a429c1"},
		{"RFC 6070, 25 octets", 0, "70617373776f726450415353574f524470617373776f7264", kmip.DerivationMethodPBKDF2, nil, "", "",
			"73616c7453414c5473616c7453414c5473616c7453414c5473616c7453414c5473616c74", 4096, "3d2eec4fe41c849b80c8d83662c0e44a8b291a964cf2f07038"},
		{"RFC 6070, zeros", 0, "7061737300776f7264", kmip.DerivationMethodPBKDF2, nil, "", "", "7361006c74", 4096, "56fa6aa75548099dcc37d7f03425e0c3"},
		{"RFC 7914", 0, "706173737764", kmip.DerivationMethodPBKDF2, hashParams(sha256), "", "", "73616c74", 1,
			"55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783"},
		// RFC 4231 cases 1 and 2: HMAC, by the algorithm of the key or by parameters.
		{"RFC 4231 case 1", kmip.CryptographicAlgorithmHMACSHA256, "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", kmip.DerivationMethodHMAC, nil, "", "4869205468657265", "", 0,
			"b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
		{"RFC 4231 case 1, ignoring the parameters", kmip.CryptographicAlgorithmHMACSHA256, "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", kmip.DerivationMethodHMAC,
			hashParams(kmip.HashingAlgorithmSHA512), "", "4869205468657265", "", 0, "b0344c61d8db38535ca8afceaf0bf12b"},
		{"RFC 4231 case 2, secret data", 0, "4a656665", kmip.DerivationMethodHMAC, hashParams(sha256), "", "7768617420646f2079612077616e7420666f72206e6f7468696e673f", "", 0,
			"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
		// FIPS 197 appendix B; NIST SP 800-38A sections F.2.1 and F.5.1.
		{"AES-ECB", aes, "2b7e151628aed2a6abf7158809cf4f3c", kmip.DerivationMethodENCRYPT, mode(kmip.BlockCipherModeECB), "", "3243f6a8885a308d313198a2e0370734", "", 0,
			"3925841d02dc09fbdc118597196a0b32"},
		{"AES-CBC", aes, "2b7e151628aed2a6abf7158809cf4f3c", kmip.DerivationMethodENCRYPT, mode(kmip.BlockCipherModeCBC), "000102030405060708090a0b0c0d0e0f",
			"6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51", "", 0, "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2"},
		{"AES-CTR", aes, "2b7e151628aed2a6abf7158809cf4f3c", kmip.DerivationMethodENCRYPT, mode(kmip.BlockCipherModeCTR), "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
			"6bc1bee22e409f96e93d7e117393172a", "", 0, "874d6191b620e3261bef6864990db6ce"},
		// NIST CAVP, SP 800-108: counter before the fixed input, or after the iteration variable.
		{"counter, HMAC-SHA-256", generic, "dd1d91b7d90b2bd3138533ce92b272fbf8a369316aefe242e659cc0ae238afe0", kmip.DerivationMethodNIST800_108C, nil, "",
			"01322b96b30acd197979444e468e1c5c6859bf1b1cf951b7e725303e237e46b864a145fab25e517b08f8683d0315bb2911d80a0e8aba17f3b413faac", "", 0, "10621342bfb0fd40046c0e29f2cfdbf0"},
		{"counter of 8 bits, HMAC-SHA-1", generic, "8723b723aa398f94af2b61c06cd99de01ef6497b", kmip.DerivationMethodNIST800_108C, counted(kmip.CryptographicParameters{HashingAlgorithm: sha1}, 8), "",
			"8aece231d69ab033c9efe824c398da94777b260887c609a34c0206e4abcce0f5709356a7dbb92b8b0d387ccb4945d3b8a5490972205e72531f961b3d", "", 0, "7596a2c6e19c8f5f52e1e7c6380fa5e5"},
		{"counter, CMAC-AES-128", aes, "c10b152e8c97b77e18704e0f0bd38305", kmip.DerivationMethodNIST800_108C, &cmac, "",
			"98cd4cbbbebe15d17dc86e6dbad800a2dcbd64f7c7ad0e78e9cf94ffdba89d03e97eadf6c4f7b806caf52aa38f09d0eb71d71f497bcc6906b48d36c4", "", 0, "26faf61908ad9ee881b8305c221db53f"},
		{"counter, CMAC-AES-128, two blocks", aes, "695f1b1a16c949cea51cdf2554ec9d42", kmip.DerivationMethodNIST800_108C, counted(cmac, 32), "",
			"4fce5942832a390aa1cbe8a0bf9d202cb799e986c9d6b51f45e4d597a6b57f06a4ebfec6467335d116b7f5f9c5b954062f661820f5db2a5bbb3e0625", "", 0,
			"d34b601ec18c34dfa0f9e0b7523e218bdddb9befe8d08b6c0202d75ace0dba89"},
		{"counter of 16 bits, CMAC-AES-192", aes, "d7e8eefc503a39e70d931f16645958ad06fb789f0cbc518b", kmip.DerivationMethodNIST800_108C, counted(cmac, 16), "",
			"b10ea2d67904a8b3b7ce5eef7d9ee49768e8deb3506ee74a2ad8dd8661146fde74137a8f6dfc69a370945d15335e0d6403fa029da19d34140c7e3da0", "", 0, "95278b8883852f6676c587507b0aa162"},
		{"counter, CMAC-AES-256", aes, "d0b1b3b70b2393c48ca05159e7e28cbeadea93f28a7cdae964e5136070c45d5c", kmip.DerivationMethodNIST800_108C, &cmac, "",
			"dd2f151a3f173492a6fbbb602189d51ddf8ef79fc8e96b8fcbe6dabe73a35b48104f9dff2d63d48786d2b3af177091d646a9efae005bdfacb61a1214", "", 0, "8c449fb474d1c1d4d2a33827103b656a"},
		{"feedback, HMAC-SHA-256", 0, "93f698e842eed75394d629d957e2e89c6e741f810b623c8b901e38376d068e7b", kmip.DerivationMethodNIST800_108F, hashParams(sha256),
			"9f575d9059d3e0c0803f08112f8a806de3c3471912cdf42b095388b14b33508e", "53b89c18690e2057a1d167822e636de50be0018532c431f7f5e37f77139220d5e042599ebe266af5767ee18cd2c5c19a1f0f80", "", 0,
			"bd1476f43a4e315747cf5918e0ea5bc0d98769457477c3ab18b742def0e079a933b756365afb5541f253fee43c6fd788a44041038509e9eeb68f7d65ffbb5f95"},
		{"feedback without IV, counter of 16 bits, CMAC-AES-128", aes, "d7f5fa7551645de0b36aecd46565f954", kmip.DerivationMethodNIST800_108F, counted(cmac, 16), "",
			"fb5294ed40a0e4aa70a7be13913070a4c5cfc05f89b9f7dd26a493b8c63889c7c3b0b60dd6d598ffa296a426224c727a501946", "", 0,
			"7164471f559812581a53aaf7fb6d6c53a1293115cda873887efcc7ce6b3a026b2d19f0d38db8590e218a2676df88f53cab3313ed63bd1e4828f3c066ea5eb1fd"},
		{"double pipeline, counter of 8 bits, CMAC-AES-128", aes, "08a5a251b8e4826fbf73292f4cd6c790", kmip.DerivationMethodNIST800_108DPI, counted(cmac, 8), "",
			"aa5acbce73a98d4c4f361d5c22a2cc6f6bdc30027aa31af1ba8b15a5bd5b6a34d133519ad1a82483c2d2a6dd9a97273a780421", "", 0,
			"ff1c72ec38b8968a1ce0942a571a1f522ddd2a1c6ffc2b60c90bb54a5c0e9de40d289686cbff127b408ec64ef615b18c1abc0736ae4c94e33e54d832e686276e"},
		{"double pipeline, CMAC-AES-256", aes, "2451975a33ab0c7535e00abe7b57982335b0471ad857a093c6765e6c58443852", kmip.DerivationMethodNIST800_108DPI, &cmac, "",
			"fb95eb3c47dcad3b783b045b29bcb6f5aefc0389735843b92b4d8fab97d61350b76b2a83442d7c5aa497aa1cf441760281a08b", "", 0,
			"2f157687f782c8b64325826e3c755194c70abffd9d78c4678924b9d73dcced86dcaf7dfa3bf56cf03fa45c7fca05ca1092c41bbd934131e95db2b204241a9d02"},
	} {
		t.Run(row.name, func(t *testing.T) {
			alg, params := row.alg, row.params
			if alg == generic {
				// A key that is for the HMAC of the vector.
				if alg = kmip.CryptographicAlgorithmHMACSHA256; params != nil {
					alg = kmip.CryptographicAlgorithmHMACSHA1
				}
			}
			var base string
			if alg == 0 {
				base = c.baseSecret(octetsIn(t, row.key))
			} else {
				base = c.baseKey(alg, octetsIn(t, row.key))
			}
			req := &kmip.DeriveKeyRequest{ObjectType: kmip.ObjectTypeSecretData, UniqueIdentifier: []string{base}, DerivationMethod: row.method,
				DerivationParameters: kmip.DerivationParameters{CryptographicParameters: params, InitializationVector: octetsIn(t, row.iv)},
				TemplateAttribute:    secretOf(int32(4 * len(row.want)))}
			if row.method == kmip.DerivationMethodPBKDF2 {
				req.DerivationParameters.Salt, req.DerivationParameters.IterationCount = octetsIn(t, row.salt), &row.iterations
			} else {
				req.DerivationParameters.DerivationData = octetsIn(t, row.data)
			}
			got := c.material(c.must(c.derive(req)))
			if want := octetsIn(t, row.want); !bytes.Equal(got, want) {
				t.Errorf("got %x, want %x", got, want)
			}
		})
	}
}

// PBKDF2 and the hash, of several lengths, against Go's.
func TestDeriveAgainstGo(t *testing.T) {
	c := newBench(t).client("alice")
	password := []byte("correct horse battery staple")
	base := c.baseSecret(password)
	for _, n := range []int{1, 19, 20, 21, 64, 65, 200} {
		want, err := pbkdf2.Key(sha512.New, string(password), []byte("pepper"), 17, n)
		if err != nil {
			t.Fatal(err)
		}
		got := c.material(c.must(c.derive(&kmip.DeriveKeyRequest{ObjectType: kmip.ObjectTypeSecretData, UniqueIdentifier: []string{base},
			DerivationMethod: kmip.DerivationMethodPBKDF2, TemplateAttribute: secretOf(int32(8 * n)), DerivationParameters: kmip.DerivationParameters{
				CryptographicParameters: hashParams(kmip.HashingAlgorithmSHA512), Salt: []byte("pepper"), IterationCount: ptr(int32(17))}})))
		if !bytes.Equal(got, want) {
			t.Errorf("PBKDF2, %d octets: got %x, want %x", n, got, want)
		}
	}
	sum256, sum512, sum1 := sha256.Sum256(password), sha512.Sum512(password), sha1.Sum(password)
	for h, want := range map[kmip.HashingAlgorithm][]byte{kmip.HashingAlgorithmSHA256: sum256[:], kmip.HashingAlgorithmSHA512: sum512[:], kmip.HashingAlgorithmSHA1: sum1[:]} {
		got := c.material(c.must(c.derive(&kmip.DeriveKeyRequest{ObjectType: kmip.ObjectTypeSecretData, UniqueIdentifier: []string{base},
			DerivationMethod: kmip.DerivationMethodHASH, TemplateAttribute: secretOf(int32(8 * len(want))),
			DerivationParameters: kmip.DerivationParameters{CryptographicParameters: hashParams(h)}})))
		if !bytes.Equal(got, want) {
			t.Errorf("%s: got %x, want %x", h, got, want)
		}
	}
}

// Derivation Data may be a Secret Data object, named before or after the key; of two of them the first is the key.
func TestDeriveDataObject(t *testing.T) {
	c := newBench(t).client("alice")
	key := bytes.Repeat([]byte{7}, 32)
	sym, sec, data := c.baseKey(kmip.CryptographicAlgorithmAES, key), c.baseSecret(key), c.baseSecret([]byte("the data"))
	m := hmac.New(sha256.New, key)
	m.Write([]byte("the data"))
	want := m.Sum(nil)
	for _, uids := range [][]string{{sym, data}, {data, sym}, {sec, data}} {
		got := c.material(c.must(c.derive(&kmip.DeriveKeyRequest{ObjectType: kmip.ObjectTypeSecretData, UniqueIdentifier: uids,
			DerivationMethod: kmip.DerivationMethodHMAC, TemplateAttribute: secretOf(256),
			DerivationParameters: kmip.DerivationParameters{CryptographicParameters: hashParams(kmip.HashingAlgorithmSHA256)}})))
		if !bytes.Equal(got, want) {
			t.Errorf("%v: got %x, want %x", uids, got, want)
		}
	}
}

// BenchmarkPBKDF2 is a derivation with 10000 iterations on SoftHSM, from a password (which is filled with zeros) and from
// a key that the token takes as it is.
func BenchmarkPBKDF2(b *testing.B) {
	c := onSoftHSM(b)
	for name, base := range map[string]string{"password": c.baseSecret([]byte("password")), "key": c.baseSecret(marker(64))} {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				c.must(c.derive(&kmip.DeriveKeyRequest{ObjectType: kmip.ObjectTypeSecretData, UniqueIdentifier: []string{base},
					DerivationMethod: kmip.DerivationMethodPBKDF2, TemplateAttribute: secretOf(256), DerivationParameters: kmip.DerivationParameters{
						CryptographicParameters: hashParams(kmip.HashingAlgorithmSHA256), Salt: []byte("pepper"), IterationCount: ptr(int32(10000))}}))
			}
		})
	}
}
