package message

import (
	"kmipd/softhsm-tests/internal/rawttlv"
)

// Node is one item of a message.
type Node = rawttlv.Node

// Item is a batch item of a request.
type Item struct {
	Operation uint32
	Payload   []*Node
}

// Request is a KMIP 1.4 request with the items, in order; several get a Unique Batch Item ID each, as KMIP demands.
func Request(items ...Item) *Node {
	header := rawttlv.Struct(tagRequestHeader, rawttlv.Struct(tagProtocolVersion,
		rawttlv.Int(tagVersionMajor, 1), rawttlv.Int(tagVersionMinor, 4)))
	header.Children = append(header.Children, rawttlv.Int(tagBatchCount, int32(len(items))))
	out := rawttlv.Struct(tagRequestMessage, header)
	for i, it := range items {
		item := rawttlv.Struct(tagBatchItem, rawttlv.Enum(tagOperation, it.Operation))
		if len(items) > 1 {
			item.Children = append(item.Children, rawttlv.Bytes(tagUniqueBatchItemID, []byte{byte(i + 1)}))
		}
		item.Children = append(item.Children, rawttlv.Struct(tagRequestPayload, it.Payload...))
		out.Children = append(out.Children, item)
	}
	return out
}

func id(uid string) *Node { return rawttlv.Text(tagUniqueIdentifier, uid) }

// attribute makes an Attribute from a value node of any tag.
func attribute(name string, value *Node) *Node {
	v := *value
	v.Tag = tagAttributeValue
	return rawttlv.Struct(tagAttribute, rawttlv.Text(tagAttributeName, name), &v)
}

// NameAttribute is the attribute Name as Uninterpreted Text String.
func NameAttribute(name string) *Node {
	return attribute("Name", rawttlv.Struct(0, rawttlv.Text(tagNameValue, name), rawttlv.Enum(tagNameType, nameUninterpreted)))
}

// TextAttribute is an attribute with a Text String value.
func TextAttribute(name, value string) *Node { return attribute(name, rawttlv.Text(0, value)) }

func keyAttributes(algorithm uint32, bits, mask int32) []*Node {
	return []*Node{
		attribute("Cryptographic Algorithm", rawttlv.Enum(0, algorithm)),
		attribute("Cryptographic Length", rawttlv.Int(0, bits)),
		attribute("Cryptographic Usage Mask", rawttlv.Int(0, mask)),
	}
}

// CreateAES asks for an AES key for Encrypt and Decrypt.
func CreateAES(bits int32, attributes ...*Node) Item {
	return createAES(bits, maskEncryptDecrypt, attributes)
}

// CreateKEK asks for an AES-256 key for Wrap and Unwrap.
func CreateKEK(attributes ...*Node) Item { return createAES(256, maskWrapUnwrap, attributes) }

func createAES(bits, mask int32, attributes []*Node) Item {
	return Item{OpCreate, []*Node{
		rawttlv.Enum(tagObjectType, objectSymmetricKey),
		rawttlv.Struct(tagTemplateAttribute, append(keyAttributes(algorithmAES, bits, mask), attributes...)...),
	}}
}

// CreateP256 asks for a key pair on P-256 for Sign and Verify; the attributes go to the private key.
func CreateP256(attributes ...*Node) Item {
	common := []*Node{
		attribute("Cryptographic Algorithm", rawttlv.Enum(0, algorithmEC)),
		attribute("Cryptographic Length", rawttlv.Int(0, 256)),
		attribute("Cryptographic Domain Parameters", rawttlv.Struct(0, rawttlv.Enum(tagRecommendedCurve, curveP256))),
	}
	mask := func(bit int32) *Node { return attribute("Cryptographic Usage Mask", rawttlv.Int(0, bit)) }
	return Item{OpCreateKeyPair, []*Node{
		rawttlv.Struct(tagCommonTemplate, common...),
		rawttlv.Struct(tagPrivateKeyTemplate, append([]*Node{mask(maskSign)}, attributes...)...),
		rawttlv.Struct(tagPublicKeyTemplate, mask(maskVerify)),
	}}
}

// RegisterAES registers an AES key for Encrypt and Decrypt.
func RegisterAES(material []byte, attributes ...*Node) Item {
	bits := int32(len(material) * 8)
	block := rawttlv.Struct(tagKeyBlock,
		rawttlv.Enum(tagKeyFormatType, formatRaw),
		rawttlv.Struct(tagKeyValue, rawttlv.Bytes(tagKeyMaterial, material)),
		rawttlv.Enum(tagCryptographicAlgorithm, algorithmAES), rawttlv.Int(tagCryptographicLength, bits))
	return Item{OpRegister, []*Node{
		rawttlv.Enum(tagObjectType, objectSymmetricKey),
		rawttlv.Struct(tagTemplateAttribute, append(keyAttributes(algorithmAES, bits, maskEncryptDecrypt), attributes...)...),
		rawttlv.Struct(tagSymmetricKey, block),
	}}
}

// Get asks for an object in the clear.
func Get(uid string) Item { return Item{OpGet, []*Node{id(uid)}} }

// GetWrapped asks for an object under AES Key Wrap (RFC 3394) with the key encryption key.
func GetWrapped(uid, kek string) Item {
	return Item{OpGet, []*Node{id(uid), rawttlv.Struct(tagKeyWrappingSpec,
		rawttlv.Enum(tagWrappingMethod, wrapEncrypt),
		rawttlv.Struct(tagEncryptionKeyInfo, id(kek),
			rawttlv.Struct(tagCryptographicParams, rawttlv.Enum(tagBlockCipherMode, modeNISTKeyWrap))),
		rawttlv.Enum(tagEncodingOption, encodingNone))}}
}

// GetAttributes asks for the named attributes, or for all.
func GetAttributes(uid string, names ...string) Item {
	payload := []*Node{id(uid)}
	for _, n := range names {
		payload = append(payload, rawttlv.Text(tagAttributeName, n))
	}
	return Item{OpGetAttributes, payload}
}

// AddAttribute adds a text attribute.
func AddAttribute(uid, name, value string) Item {
	return Item{OpAddAttribute, []*Node{id(uid), TextAttribute(name, value)}}
}

// ModifyAttribute changes the first value of a text attribute.
func ModifyAttribute(uid, name, value string) Item {
	return Item{OpModifyAttribute, []*Node{id(uid), TextAttribute(name, value)}}
}

// LocateName asks for the objects with the name.
func LocateName(name string) Item { return Item{OpLocate, []*Node{NameAttribute(name)}} }

// LocateAll asks for up to limit objects of any kind.
func LocateAll(limit int32) Item { return Item{OpLocate, []*Node{rawttlv.Int(tagMaximumItems, limit)}} }

// Activate makes an object Active.
func Activate(uid string) Item { return Item{OpActivate, []*Node{id(uid)}} }

// Revoke deactivates an object, or marks it compromised.
func Revoke(uid string, compromised bool) Item {
	code := uint32(revocationCeased)
	if compromised {
		code = revocationKeyComp
	}
	return Item{OpRevoke, []*Node{id(uid), rawttlv.Struct(tagRevocationReason, rawttlv.Enum(tagRevocationReasonCode, code))}}
}

// Destroy destroys an object.
func Destroy(uid string) Item { return Item{OpDestroy, []*Node{id(uid)}} }

// Query asks for the operations.
func Query() Item { return Item{OpQuery, []*Node{rawttlv.Enum(tagQueryFunction, queryOperations)}} }

// DiscoverVersions asks for the versions that the server speaks.
func DiscoverVersions() Item { return Item{OpDiscoverVersions, nil} }
