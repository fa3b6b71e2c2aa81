package message

import "kmipd/softhsm-tests/internal/rawttlv"

// Numbers of the cryptographic services.
const (
	OpEncrypt = 0x1F
	OpSign    = 0x21

	tagPaddingMethod    = 0x42005F
	tagHashingAlgorithm = 0x420038
	tagIVCounterNonce   = 0x42003D
	tagData             = 0x4200C2

	modeCBC       = 1
	paddingPKCS5  = 3
	hashingSHA256 = 6
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

// SignSHA256 asks for a signature of data.
func SignSHA256(uid string, data []byte) Item {
	return Item{OpSign, []*Node{
		id(uid),
		rawttlv.Struct(tagCryptographicParams, rawttlv.Enum(tagHashingAlgorithm, hashingSHA256)),
		rawttlv.Bytes(tagData, data),
	}}
}
