package hsm

import (
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// The known answers of the self-tests, each with where it is published. They are written in hexadecimal.

// cipherVector is one encryption. TagBits is that of GCM.
type cipherVector struct {
	kind            KeyType
	mode            CipherMode
	source          string
	key, iv, aad    string
	plain, encipher string
	tagBits         int
}

const (
	plain38A = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51" // NIST SP 800-38A appendix F
	key38A   = "2b7e151628aed2a6abf7158809cf4f3c"
	key38A2  = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"
	iv38A    = "000102030405060708090a0b0c0d0e0f"
	ctr38A   = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"
	// McGrew and Viega, The Galois/Counter Mode of Operation, which NIST SP 800-38D refers to, appendix B.
	keyGCM   = "feffe9928665731c6d6a8f9467308308"
	plainGCM = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
	aadGCM   = "feedfacedeadbeeffeedfacedeadbeefabaddad2"
	keyDES3  = "0123456789abcdef23456789abcdef01456789abcdef0123" // NIST SP 800-67 appendix B
)

var cipherVectors = []cipherVector{
	{KeyAES, ModeECB, "SP 800-38A F.1.1", key38A, "", "", plain38A, "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf", 0},
	{KeyAES, ModeECB, "SP 800-38A F.1.5", key38A2, "", "", plain38A, "f3eed1bdb5d2a03c064b5a7e3db181f8591ccb10d410ed26dc5ba74a31362870", 0},
	{KeyAES, ModeCBC, "SP 800-38A F.2.1", key38A, iv38A, "", plain38A, "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2", 0},
	{KeyAES, ModeCBC, "SP 800-38A F.2.5", key38A2, iv38A, "", plain38A, "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d", 0},
	// The second block is F.2.1's first, under the padding of RFC 5652.
	{KeyAES, ModeCBCPad, "Go, checked with OpenSSL", "000102030405060708090a0b0c0d0e0f", iv38A, "", "000102030405060708090a0b0c0d0e0f10111213",
		"c6a13b37878f5b826f4f8162a1c8d879cb35046a8d97f0d5bc48b110e91d415e", 0},
	{KeyAES, ModeCTR, "SP 800-38A F.5.1", key38A, ctr38A, "", plain38A, "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff", 0},
	{KeyAES, ModeCTR, "SP 800-38A F.5.5", key38A2, ctr38A, "", plain38A, "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5", 0},
	{KeyAES, ModeGCM, "GCM test case 4", keyGCM, "cafebabefacedbaddecaf888", aadGCM, plainGCM,
		"42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091" +
			"5bc94fbc3221a5db94fae95ae7121a47", 128},
	{KeyAES, ModeGCM, "GCM test case 16", keyGCM + keyGCM, "cafebabefacedbaddecaf888", aadGCM, plainGCM,
		"522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662" +
			"76fc6ece0f4e1768cddf8853bb2d551b", 128},
	{KeyDES3, ModeECB, "SP 800-67 appendix B", keyDES3, "", "", "5468652071756663" + "6b2062726f776e20" + "666f78206a756d70",
		"a826fd8ce53b855fcce21c8112256fe668d5c05dd9b6b900", 0},
	{KeyDES3, ModeCBC, "SP 800-67 key, SP 800-38A F.2 data", keyDES3, "f69f2445df4f9b17", "", "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c",
		"2079c3d53aa763e193b79e2569ab5262516570481f25b50f", 0},
	{KeyDES3, ModeCBCPad, "Go, checked with OpenSSL", keyDES3, "0001020304050607", "", "000102030405060708090a0b",
		"4eba739c998bcb60a7aac962a4100b0d", 0},
}

// messageHMAC under 131 (SHA-1: 80) octets aa is test case 6 of RFC 4231 (RFC 2202).
const messageHMAC = "Test Using Larger Than Block-Size Key - Hash Key First"

var hmacVectors = map[Hash]struct {
	octets int
	mac    string
}{
	SHA1:   {80, "aa4ae5e15272d00e95705637ce8a3b55ed402112"},
	SHA224: {131, "95e9a0db962095adaebe9b2d6f0dbce2d499f112f2d2b7273fa6870e"},
	SHA256: {131, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
	SHA384: {131, "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe8296248df163f44952"},
	SHA512: {131, "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598"},
}

var cmacVectors = []struct {
	kind           KeyType
	source         string
	key, data, mac string
}{
	{KeyAES, "RFC 4493 example 2", key38A, plain38A[:32], "070a16b46b4d4144f79bdd9dd04a287c"},
	{KeyAES, "RFC 4493 example 3", key38A, plain38A + "30c81c46a35ce411", "dfa66747de9ae63030ca32611497c827"},
	{KeyDES3, "Go, checked with OpenSSL", keyDES3, "000102030405060708090a0b0c0d0e0f10111213", "4db69ff28a00fc11"},
}

var wrapVectors = []struct {
	how                 WrapMechanism
	source              string
	kek, plain, wrapped string
}{
	{WrapAESKW, "RFC 3394 section 4.1", "000102030405060708090a0b0c0d0e0f", "00112233445566778899aabbccddeeff",
		"1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5"},
	{WrapAESKW, "RFC 3394 section 4.6", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
		"00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f",
		"28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21"},
	{WrapAESKWP, "RFC 5649 section 6, 20 octets", "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8", "c37b7e6492584340bed12207808941155068f738",
		"138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a"},
	{WrapAESKWP, "RFC 5649 section 6, 7 octets", "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8", "466f7250617369",
		"afbeb0f07dfbf5419200f2ccb50bb24f"},
}

// curveVectors: the signatures are of NIST's SigVer for FIPS 186-4, the first of each group that is valid; the key
// agreements are those of RFC 5903 sections 8.1 to 8.3.
var curveVectors = []struct {
	curve                     Curve
	name                      string
	public, digest, signature string // 04 || x || y, of the message, r || s
	ours, theirs, secret      string
}{
	{CurveP256, "P-256",
		"04e424dc61d4bb3cb7ef4344a7f8957a0c5134e16f7a67c074f82e6e12f49abf3c970eed7aa2bc48651545949de1dddaf0127e5965ac85d1243d6f60e7dfaee927",
		"d1b8ef21eb4182ee270638061063a3f3c16c114e33937f69fb232cc833965a94",
		"bf96b99aa49c705c910be33142017c642ff540c76349b9dab72f981fd9347f4f17c55095819089c2e03b9cd415abdf12444e323075d98f31920b9e0f57ec871c",
		"c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433",
		"c6ef9c5d78ae012a011164acb397ce2088685d8f06bf9be0b283ab46476bee53",
		"d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de"},
	{CurveP384, "P-384",
		"04cb908b1fd516a57b8ee1e14383579b33cb154fece20c5035e2b3765195d1951d75bd78fb23e00fef37d7d064fd9af144" +
			"cd99c46b5857401ddcff2cf7cf822121faf1cbad9a011bed8c551f6f59b2c360f79bfbe32adbcaa09583bdfdf7c374bb",
		"965b83f5d34f7443eb88e78fcc23479156c9cb0080dd68334dac0ad33ba8c774100e440063db28b40b51ac37705d4d70",
		"33f64fb65cd6a8918523f23aea0bbcf56bba1daca7aff817c8791dc92428d605ac629de2e847d43cee55ba9e4a0e83ba" +
			"4428bb478a43ac73ecd6de51ddf7c28ff3c2441625a081714337dd44fea8011bae71959a10947b6ea33f77e128d3c6ae",
		"099f3c7034d4a2c699884d73a375a67f7624ef7c6b3c0f160647b67414dce655e35b538041e649ee3faef896783ab194",
		"41cb0779b4bdb85d47846725fbec3c9430fab46cc8dc5060855cc9bda0aa2942e0308312916b8ed2960e4bd55a7448fc",
		"11187331c279962d93d604243fd592cb9d0a926f422e47187521287e7156c5c4d603135569b9e9d09cf5d4a270f59746"},
	{CurveP521, "P-521",
		"040153eb2be05438e5c1effb41b413efc2843b927cbf19f0bc9cc14b693eee26394a0d8880dc946a06656bcd09871544a5f15c7a1fa68e00cdc728c7cfb9c448034867" +
			"0143ae8eecbce8fcf6b16e6159b2970a9ceb32c17c1d878c09317311b7519ed5ece3374e7929f338ddd0ec0522d81f2fa4fa47033ef0c0872dc049bb89233eef9bc1",
		"97ff5a81fc88f7ddd3bc58154ffd2695912fe50ce7c63b62bd798fb673c6aa49f54bc7301fb7bddc6edc51b7e0d0b4dec9f80851fff02a33671ad9a406bbabe5",
		"00dd633947446d0d51a96a0173c01125858abb2bece670af922a92dedcec067136c1fa92e5fa73d7116ac9c1a42b9cb642e4ac19310b049e48c53011ffc6e7461c36" +
			"00efbdc6a414bb8d663bb5cdb7c586bccfe7589049076f98cee82cdb5d203fddb2e0ffb77954959dfa5ed0de850e42a86f5a63c5a6592e9b9b8bd1b40557b9cd0cc0",
		"0037ade9319a89f4dabdb3ef411aaccca5123c61acab57b5393dce47608172a095aa85a30fe1c2952c6771d937ba9777f5957b2639bab072462f68c27a57382d4a52",
		"0145ba99a847af43793fdd0e872e7cdfa16be30fdc780f97bccc3f078380201e9c677d600b343757a3bdbf2a3163e4c2f869cca7458aa4a4effc311f5cb151685eb9",
		"01144c7d79ae6956bc8edb8e7c787c4521cb086fa64407f97894e5e6b2d79b04d1427e73ca4baa240a34786859810c06b3c715a3a8cc3151f2bee417996d19f3ddea"},
}

//go:embed vectors/rsa2048.txt
var rsa2048 string

//go:embed vectors/rsa3072.txt
var rsa3072 string

// rsaVector is one file of vectors by the names in it.
func rsaVector(file string) map[string][]byte {
	out, name, text := map[string][]byte{}, "", map[string]string{}
	for line := range strings.Lines(file) {
		switch {
		case strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "":
		case strings.HasPrefix(line, "\t"):
			text[name] += strings.TrimSpace(line)
		default:
			name = strings.TrimSpace(line)
		}
	}
	for k, v := range text {
		b, err := base64.StdEncoding.DecodeString(v)
		if err != nil {
			panic("hsm: a self-test vector is not base64: " + k)
		}
		out[k] = b
	}
	return out
}

// octets are those of a vector. A vector that is not hexadecimal is a mistake in this file.
func octets(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic("hsm: a self-test vector is not hexadecimal: " + s)
	}
	return b
}
