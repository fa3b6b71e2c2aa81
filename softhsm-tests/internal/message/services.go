package message

import "kmipd/softhsm-tests/internal/rawttlv"

// Numbers of the cryptographic services.
const (
	OpReKey       = 0x04
	OpCertify     = 0x06
	OpEncrypt     = 0x1F
	OpDecrypt     = 0x20
	OpSign        = 0x21
	OpMAC         = 0x23
	OpRNGRetrieve = 0x25

	tagPaddingMethod    = 0x42005F
	tagHashingAlgorithm = 0x420038
	tagIVCounterNonce   = 0x42003D
	tagSubjectName      = 0x4200B4
	tagData             = 0x4200C2
	tagDataLength       = 0x4200C4
	tagTagLength        = 0x4200CE
	tagAuthenticityTag  = 0x4200FF // Authenticated Encryption Tag

	modeCBC             = 1
	modeGCM             = 9
	paddingPKCS5        = 3
	paddingPKCS1        = 8 // PKCS1 v1.5
	hashingSHA256       = 6
	algorithmRSA        = 4
	algorithmHMACSHA256 = 9
	maskMAC             = 0x180 // MAC Generate and MAC Verify
	certificateX509     = 1
)

// EncryptCBC asks for the encryption of data in CBC mode with PKCS5 padding.
func EncryptCBC(uid string, iv, data []byte) Item {
	return Item{OpEncrypt, []*Node{
		id(uid),
		rawttlv.Struct(tagCryptographicParams, rawttlv.Enum(tagBlockCipherMode, modeCBC), rawttlv.Enum(tagPaddingMethod, paddingPKCS5)),
		rawttlv.Bytes(tagData, data),
		rawttlv.Bytes(tagIVCounterNonce, iv),
	}}
}

// EncryptGCM asks for the encryption of data in GCM mode with a tag of 16 octets.
func EncryptGCM(uid string, iv, data []byte) Item {
	return Item{OpEncrypt, []*Node{id(uid), gcmParameters(), rawttlv.Bytes(tagData, data), rawttlv.Bytes(tagIVCounterNonce, iv)}}
}

// DecryptGCM asks for what EncryptGCM got: see Result.Sealed.
func DecryptGCM(uid string, iv, data, tag []byte) Item {
	return Item{OpDecrypt, []*Node{
		id(uid), gcmParameters(), rawttlv.Bytes(tagData, data), rawttlv.Bytes(tagIVCounterNonce, iv),
		rawttlv.Bytes(tagAuthenticityTag, tag),
	}}
}

func gcmParameters() *Node {
	return rawttlv.Struct(tagCryptographicParams, rawttlv.Enum(tagBlockCipherMode, modeGCM), rawttlv.Int(tagTagLength, 16))
}

// Sealed is what Encrypt answers in GCM mode.
func (r Result) Sealed() (data, tag []byte) {
	return r.Payload.Child(tagData).Bytes(), r.Payload.Child(tagAuthenticityTag).Bytes()
}

// SignSHA256 asks for a signature of data.
func SignSHA256(uid string, data []byte) Item {
	return Item{OpSign, []*Node{
		id(uid),
		rawttlv.Struct(tagCryptographicParams, rawttlv.Enum(tagHashingAlgorithm, hashingSHA256)),
		rawttlv.Bytes(tagData, data),
	}}
}

// SignPKCS1 asks for an RSA signature of data, PKCS#1 v1.5 with SHA-256.
func SignPKCS1(uid string, data []byte) Item {
	return Item{OpSign, []*Node{
		id(uid),
		rawttlv.Struct(tagCryptographicParams, rawttlv.Enum(tagPaddingMethod, paddingPKCS1), rawttlv.Enum(tagHashingAlgorithm, hashingSHA256)),
		rawttlv.Bytes(tagData, data),
	}}
}

// CreateRSA asks for an RSA key pair for Sign and Verify.
func CreateRSA(bits int32) Item {
	mask := func(bit int32) *Node { return attribute("Cryptographic Usage Mask", rawttlv.Int(0, bit)) }
	return Item{OpCreateKeyPair, []*Node{
		rawttlv.Struct(tagCommonTemplate,
			attribute("Cryptographic Algorithm", rawttlv.Enum(0, algorithmRSA)), attribute("Cryptographic Length", rawttlv.Int(0, bits))),
		rawttlv.Struct(tagPrivateKeyTemplate, mask(maskSign)),
		rawttlv.Struct(tagPublicKeyTemplate, mask(maskVerify)),
	}}
}

// CreateHMAC asks for a key of 256 bits for HMAC-SHA256.
func CreateHMAC() Item {
	return Item{OpCreate, []*Node{
		rawttlv.Enum(tagObjectType, objectSymmetricKey),
		rawttlv.Struct(tagTemplateAttribute, keyAttributes(algorithmHMACSHA256, 256, maskMAC)...),
	}}
}

// MAC asks for the code of data; the key says which.
func MAC(uid string, data []byte) Item {
	return Item{OpMAC, []*Node{id(uid), rawttlv.Bytes(tagData, data)}}
}

// RNGRetrieve asks for random octets.
func RNGRetrieve(octets int32) Item {
	return Item{OpRNGRetrieve, []*Node{rawttlv.Int(tagDataLength, octets)}}
}

// ReKey asks for a replacement of a symmetric key.
func ReKey(uid string) Item { return Item{OpReKey, []*Node{id(uid)}} }

// Certify asks for a certificate of a stored public key, without certificate request. The subject is a DER Name.
func Certify(uid string, subject []byte) Item {
	return Item{OpCertify, []*Node{id(uid), rawttlv.Struct(tagTemplateAttribute,
		attribute("Certificate Type", rawttlv.Enum(0, certificateX509)),
		attribute("X.509 Certificate Subject", rawttlv.Struct(0, rawttlv.Bytes(tagSubjectName, subject))))}}
}
