// Package keyform stands between a KMIP Key Block and what the token stores. Parse turns the Key Block of a Register
// request into the value that the token takes (secret keys: raw octets; private keys: DER PKCS#8; public keys: DER
// SubjectPublicKeyInfo) and into facts fit for a record; Encode turns a value read back from the token into a Key Block
// in any format that KMIP 1.4 section 2.1.3 defines for that kind of key. ParseCertificate reads the attributes of a
// certificate.
//
// The package is pure: no token, no store, no clock. It knows nothing about policy: an RSA key of 1024 bits is as good
// as one of 4096 here. What it cannot turn into a token key (an encrypted PKCS#8, a DSA key, a curve that kmipd does not
// keep on tokens) it keeps as opaque octets, to be returned as they came.
//
// Errors are *kmip.Error. They name fields, formats and lengths, never values.
package keyform

import (
	"kmipd/hsm"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// Form is the kind of the value that a key is stored as.
type Form uint8

// The forms.
const (
	// FormOpaque is octets that the token does not understand: the Key Material as it was registered.
	FormOpaque  Form = iota
	FormSecret       // raw octets
	FormPrivate      // DER PKCS#8 PrivateKeyInfo
	FormPublic       // DER SubjectPublicKeyInfo
)

// Shape holds what a format leaves to the writer and what Encode needs to write the registered encoding again: which
// optional fields are there, how a point is written. It is a small number without key bytes, kept in the record.
type Shape uint16

// The bits of a Shape. The low octet depends on the registered format.
const (
	// Transparent RSA Private Key: optional fields that are absent.
	shapeNoD Shape = 1 << iota
	shapeNoE
	shapeNoP
	shapeNoQ
	shapeNoDP
	shapeNoDQ
	shapeNoQInv
	_

	shapeStructure  // the Key Material is a Structure
	shapeCompressed // the public point is compressed
	shapeDeclared   // the Key Block had a Key Compression Type
	shapeNoPoint    // ECPrivateKey (also inside PKCS#8) without public key
	shapeFlipParams // ECPrivateKey without, or inside PKCS#8 with, parameters
)

// Facts are what must be known of a stored key, beside its value, to encode it. They hold no key bytes.
type Facts struct {
	Object    kmip.ObjectType
	Form      Form
	Algorithm kmip.CryptographicAlgorithm // 0 only where KMIP asks for none (Secret Data, Split Key, PGP Key)
	Bits      int                         // Cryptographic Length
	Curve     kmip.RecommendedCurve       // elliptic curve keys on a curve that has a name; else 0
	// Irregular tells an RSA key whose public exponent is not known to be odd, at least 65537 and less than 2^256
	// (FIPS 186-5 section A.1.1).
	Irregular bool
	// Token is the CKA_KEY_TYPE to store the key under; 0 exactly when Form is FormOpaque.
	Token hsm.KeyType
	// Octets is the length of the value. For secret keys it is what hsm wants for its Bits, times 8: a 3DES key has
	// Cryptographic Length 168 and 24 octets.
	Octets int
	// Format is the Key Format Type of registration, or the default format of a generated key.
	Format kmip.KeyFormatType
	Shape  Shape
}

// TokenBits is the length of the key in the token's view: 8 times Octets for secret keys, else the Cryptographic Length.
func (f *Facts) TokenBits() int {
	if f.Form == FormSecret {
		return 8 * f.Octets
	}
	return f.Bits
}

// Key is a parsed Key Block. Its byte slices are its own.
type Key struct {
	Facts
	// Value is what the token stores. It is the same slice as Original where the two are the same octets.
	Value hsm.Material
	// Original is the registered encoding of the Key Material: the octets of the Byte String, or the TTLV encoding of
	// the structure with its header. The Digest attribute is computed over it (KMIP 1.4 section 3.17).
	Original hsm.Material
	// RoundTrips tells that Encode(Facts, Value) in the registered format gives Original again, octet for octet. It is
	// true of nearly everything. When it is false Encode gives an equivalent encoding; a caller that wants to return
	// what was registered calls Keep, or keeps Original beside the token key.
	RoundTrips bool
	// Attributes are those inside the Key Value. Their values share the memory of the request message.
	Attributes []kmip.Attribute
}

// Keep makes the key one that is stored as opaque octets, in the encoding that it was registered in.
func (k *Key) Keep() {
	if k.Form != FormOpaque {
		if k.Form != FormSecret || k.Shape&shapeStructure != 0 { // else they are the same octets
			k.Value.Wipe()
		}
		k.Form, k.Token, k.Value, k.Octets, k.RoundTrips = FormOpaque, 0, k.Original, len(k.Original), true
	}
}

// Wipe overwrites the key bytes.
func (k *Key) Wipe() {
	if k != nil {
		k.Value.Wipe()
		k.Original.Wipe()
	}
}

// Wipe overwrites the Key Value of a Key Block that Encode returned, when its message has been encoded.
func Wipe(kb *kmip.KeyBlock) {
	if kb != nil {
		clear(kb.KeyValue.Value)
	}
}

// Given is what is known of a key from outside its Key Block: the attributes of the request. Zero fields are unknown.
type Given struct {
	Algorithm kmip.CryptographicAlgorithm
	Bits      int
	Curve     kmip.RecommendedCurve // Cryptographic Domain Parameters
}

// Generated is the facts of a key that the token generated, with the default format. bits is the Cryptographic Length;
// octets (secret keys only) the length of the value.
func Generated(object kmip.ObjectType, algorithm kmip.CryptographicAlgorithm, bits, octets int, curve kmip.RecommendedCurve) Facts {
	f := Facts{Object: object, Algorithm: algorithm, Bits: bits, Curve: curve, Octets: octets,
		Format: DefaultFormat(object, algorithm)}
	switch object {
	case kmip.ObjectTypePrivateKey:
		f.Form, f.Token = FormPrivate, asymmetricType(algorithm)
	case kmip.ObjectTypePublicKey:
		f.Form, f.Token = FormPublic, asymmetricType(algorithm)
	default:
		f.Form, f.Token = FormSecret, hsm.KeyGeneric
		if object == kmip.ObjectTypeSymmetricKey {
			f.Token = symmetricType(algorithm, octets)
		}
	}
	return f
}

func asymmetricType(algorithm kmip.CryptographicAlgorithm) hsm.KeyType {
	if isEC(algorithm) {
		return hsm.KeyEC
	}
	return hsm.KeyRSA
}

// DefaultFormat is the Key Format Type that a key is returned in when neither its registration nor the request names
// one. KMIP 1.x leaves it to the server; the OASIS cases want Raw and PKCS#1, and for elliptic curves ECPrivateKey and
// X.509 are known to every version.
func DefaultFormat(object kmip.ObjectType, algorithm kmip.CryptographicAlgorithm) kmip.KeyFormatType {
	switch object {
	case kmip.ObjectTypePrivateKey:
		if isEC(algorithm) {
			return kmip.KeyFormatTypeECPrivateKey
		}
		if algorithm == kmip.CryptographicAlgorithmRSA {
			return kmip.KeyFormatTypePKCS1
		}
		return kmip.KeyFormatTypePKCS8
	case kmip.ObjectTypePublicKey:
		if algorithm == kmip.CryptographicAlgorithmRSA {
			return kmip.KeyFormatTypePKCS1
		}
		return kmip.KeyFormatTypeX509
	case kmip.ObjectTypeCertificate:
		return kmip.KeyFormatTypeX509
	case kmip.ObjectTypeOpaqueObject:
		return kmip.KeyFormatTypeOpaque
	}
	return kmip.KeyFormatTypeRaw
}

// isEC tells the algorithms that share elliptic curve keys. Which of them a key has is a matter of its use, not of its
// encoding.
func isEC(a kmip.CryptographicAlgorithm) bool {
	switch a {
	case kmip.CryptographicAlgorithmEC, kmip.CryptographicAlgorithmECDSA, kmip.CryptographicAlgorithmECDH,
		kmip.CryptographicAlgorithmECMQV:
		return true
	}
	return false
}

func invalid(format string, args ...any) error {
	return kmip.Errorf(kmip.ResultReasonInvalidField, format, args...)
}

// EncodeKeyValue is the TTLV encoding of a Key Value structure: what is wrapped under the Encoding Option "TTLV
// Encoding" (KMIP 1.4 section 2.1.5). material is an item of any tag. The caller wipes the result.
func EncodeKeyValue(material ttlv.Item, attrs []kmip.Attribute, ver kmip.Version) hsm.Material {
	kv := kmip.KeyValue{KeyMaterial: material, Attribute: attrs}
	size := 2*ttlv.HeaderSize + material.Size()
	for i := range attrs {
		// Name, index and value with four headers and paddings; growing would leave a copy of the key behind.
		size += 96 + len(attrs[i].AttributeName) + attrs[i].AttributeValue.Size()
	}
	return kv.Append(make([]byte, 0, size), kmip.TagKeyValue, ver)
}

// DecodeKeyValue reads the TTLV encoding of a Key Value structure, as it comes out of unwrapping. The result shares the
// memory of b.
func DecodeKeyValue(b []byte) (*kmip.KeyValue, error) {
	it, err := ttlv.Parse(b, ttlv.DefaultLimits)
	if err != nil {
		return nil, kmip.Errorf(kmip.ResultReasonInvalidField, "the unwrapped Key Value is not TTLV").Because(err)
	}
	if it.Tag != kmip.TagKeyValue || it.Type != ttlv.Structure {
		return nil, invalid("the unwrapped octets are not a Key Value structure")
	}
	kv := new(kmip.KeyValue)
	if err := kv.Decode(it); err != nil {
		return nil, err
	}
	return kv, nil
}
