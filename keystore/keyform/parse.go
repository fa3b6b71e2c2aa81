package keyform

import (
	"bytes"
	"math/bits"

	"kmipd/hsm"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// input is a Key Block on its way to a Key.
type input struct {
	object   kmip.ObjectType
	format   kmip.KeyFormatType
	material ttlv.Item
	// declared are the Cryptographic Lengths that the client gave, in the Key Block and as attribute.
	declared    []int
	algorithm   kmip.CryptographicAlgorithm
	curve       kmip.RecommendedCurve
	compression kmip.KeyCompressionType
}

// Parse reads an unwrapped Key Block for an object of the type (Symmetric Key, Public Key, Private Key, Secret Data,
// Split Key, PGP Key). given is what the attributes of the request say; the Key Block may leave algorithm and length to
// them or to the key itself (KMIP 1.4 section 2.1.3). What the key says of itself must agree with what was declared;
// where the declared length is another way to say the same (3DES with or without parity bits) the declared one is kept.
func Parse(object kmip.ObjectType, kb *kmip.KeyBlock, given Given) (*Key, error) {
	if kb.KeyWrappingData != nil {
		return nil, invalid("Key Wrapping Data stands in a Key Block that is not wrapped")
	}
	if kb.KeyValue.IsZero() {
		return nil, kmip.Errorf(kmip.ResultReasonInvalidMessage, "Key Value is missing from Key Block")
	}
	if kb.KeyValue.Type != ttlv.Structure {
		return nil, invalid("Key Value is a %s, but without Key Wrapping Data it must be a Structure", kb.KeyValue.Type)
	}
	var kv kmip.KeyValue
	if err := kv.Decode(kb.KeyValue); err != nil {
		return nil, err
	}
	in := input{object: object, format: kb.KeyFormatType, material: kv.KeyMaterial, curve: given.Curve,
		compression: kb.KeyCompressionType}
	if err := in.checkMaterial(); err != nil {
		return nil, err
	}
	if err := in.declare(kb, given); err != nil {
		return nil, err
	}
	k, err := in.key()
	if err != nil {
		return nil, err
	}
	k.Object, k.Format, k.Octets, k.Attributes = object, in.format, len(k.Value), kv.Attribute
	if kb.KeyCompressionType != 0 {
		k.Shape |= shapeDeclared
	}
	if in.material.Type == ttlv.Structure {
		k.Shape |= shapeStructure
	}
	k.RoundTrips = k.roundTrips()
	return k, nil
}

// extension tells a vendor's own Key Format Type, whose Key Material may be of either type.
func extension(f kmip.KeyFormatType) bool { return f >= 0x80000000 }

func transparent(f kmip.KeyFormatType) bool {
	return f >= kmip.KeyFormatTypeTransparentSymmetricKey && f <= kmip.KeyFormatTypeTransparentECPublicKey
}

// checkMaterial holds the type of the Key Material against the Key Format Type (KMIP 1.4 section 2.1.4, Table 8).
func (in *input) checkMaterial() error {
	want := ttlv.ByteString
	switch {
	case extension(in.format):
		if in.material.Type == ttlv.Structure {
			want = ttlv.Structure
		}
	case in.format == kmip.KeyFormatTypePKCS12, in.format == kmip.KeyFormatTypePKCS10:
		return kmip.Errorf(kmip.ResultReasonKeyFormatTypeNotSupported, "Key Format Type %s is not supported", in.format)
	case transparent(in.format):
		want = ttlv.Structure
	case in.format < kmip.KeyFormatTypeRaw || in.format > kmip.KeyFormatTypeECPrivateKey:
		return invalid("Key Format Type %s does not exist", in.format)
	}
	if in.material.Type != want {
		return invalid("Key Material of Key Format Type %s must be a %s, not a %s", in.format, want, in.material.Type)
	}
	return nil
}

// declare gathers what the client said of the key. The Key Block goes before the attributes.
func (in *input) declare(kb *kmip.KeyBlock, given Given) error {
	in.algorithm = kb.CryptographicAlgorithm
	if in.algorithm == 0 {
		in.algorithm = given.Algorithm
	} else if given.Algorithm != 0 && !sameKind(in.algorithm, given.Algorithm) {
		return invalid("Cryptographic Algorithm is %s in the Key Block and %s as attribute", in.algorithm, given.Algorithm)
	}
	if kb.CryptographicLength != nil {
		in.declared = append(in.declared, int(*kb.CryptographicLength))
	}
	if given.Bits != 0 {
		in.declared = append(in.declared, given.Bits)
	}
	for _, n := range in.declared {
		if n <= 0 {
			return invalid("Cryptographic Length must be positive, not %d", n)
		}
	}
	return nil
}

func sameKind(a, b kmip.CryptographicAlgorithm) bool { return a == b || isEC(a) && isEC(b) }

func (in *input) key() (*Key, error) {
	switch in.object {
	case kmip.ObjectTypeSymmetricKey:
		return in.symmetricKey()
	case kmip.ObjectTypeSecretData:
		return in.secretData()
	case kmip.ObjectTypePrivateKey:
		return in.privateKey()
	case kmip.ObjectTypePublicKey:
		return in.publicKey()
	case kmip.ObjectTypeSplitKey:
		return in.splitKey()
	case kmip.ObjectTypePGPKey:
		// An opaque blob (KMIP 1.4 section 2.2.9).
		k := in.opaque()
		k.Algorithm, k.Bits = in.algorithm, in.firstLength(8*len(in.material.Value))
		return k, nil
	}
	return nil, invalid("an object of type %s has no Key Block", in.object)
}

// symmetricKey reads Raw, Transparent Symmetric Key (KMIP 1.4 section 2.1.7.1), and keys whose encoding is unknown.
func (in *input) symmetricKey() (*Key, error) {
	switch {
	case in.algorithm == 0:
		return nil, invalid("Cryptographic Algorithm is neither in the Key Block nor an attribute")
	case Asymmetric(in.algorithm):
		return nil, invalid("Cryptographic Algorithm %s is not one of a Symmetric Key", in.algorithm)
	}
	octets, known, err := in.octets()
	if err != nil {
		return nil, err
	}
	if octets == nil || len(octets) > hsm.MaxSecretOctets {
		return in.opaqueKey(in.algorithm, 8*len(octets), 0)
	}
	if len(octets) == 0 {
		return nil, invalid("Key Material of a Symmetric Key is empty")
	}
	k := in.secret(octets)
	k.Algorithm, k.Bits = in.algorithm, in.firstLength(8*len(octets))
	if !known {
		// Opaque says that the octets may hold more than the key: the length is the client's business.
		return k, nil
	}
	k.Token = symmetricType(in.algorithm, len(octets))
	if k.Token == hsm.KeyDES3 && !oddParity(octets) {
		// A token refuses a DES key with wrong parity (PKCS#11 3.0 section 2.24.2), or mends it, and then the client
		// gets another value back.
		k.Token = hsm.KeyGeneric
	}
	k.Bits, err = in.symmetricLength(octets)
	if err != nil {
		k.Wipe()
		return nil, err
	}
	return k, nil
}

// symmetricType is the token's type of a symmetric key. Keys of other algorithms and odd lengths are generic secrets.
func symmetricType(algorithm kmip.CryptographicAlgorithm, octets int) hsm.KeyType {
	switch algorithm {
	case kmip.CryptographicAlgorithmAES:
		if octets == 16 || octets == 24 || octets == 32 {
			return hsm.KeyAES
		}
	case kmip.CryptographicAlgorithmDES3:
		if octets == 24 {
			return hsm.KeyDES3
		}
	}
	return hsm.KeyGeneric
}

func oddParity(octets []byte) bool {
	for _, b := range octets {
		if bits.OnesCount8(b)%2 == 0 {
			return false
		}
	}
	return true
}

// symmetricLength is the Cryptographic Length of the material.
//
// 3DES and DES: KMIP 1.4 section 2.1.3 lets the parity bits count or not. The OASIS cases have 24 octets of 168 bits and
// 16 of 112; that is also what a length that nobody declared becomes. A key of two parts that is written with the first
// part again as the third may also be called 112 or 128 bits long.
//
// AES: material that no AES key can have is stored as a generic secret, and its true length is reported, whatever was
// declared. Rook registers 128 octets as AES of 256 bits and wants them back. Material of a real AES length with
// another length declared is a client's mistake and refused, as is any mismatch of other algorithms.
func (in *input) symmetricLength(octets []byte) (int, error) {
	n := len(octets)
	switch in.algorithm {
	case kmip.CryptographicAlgorithmDES3, kmip.CryptographicAlgorithmDES:
		if n == 24 && bytes.Equal(octets[:8], octets[16:]) {
			return in.length(7*n, 8*n, 112, 128)
		}
		if n%8 == 0 {
			return in.length(7*n, 8*n)
		}
	case kmip.CryptographicAlgorithmAES:
		if symmetricType(in.algorithm, n) != hsm.KeyAES {
			return 8 * n, nil
		}
	}
	return in.length(8 * n)
}

// length holds the declared lengths against the key's own and returns the one to record: the first declared, or own.
func (in *input) length(own int, others ...int) (int, error) {
next:
	for _, n := range in.declared {
		if n == own {
			continue
		}
		for _, o := range others {
			if n == o {
				continue next
			}
		}
		return 0, invalid("Cryptographic Length is %d, but the Key Material has %d bits", n, own)
	}
	return in.firstLength(own), nil
}

// wholeOctets rounds a length up, as some clients do (P-521 as 528, a modulus whose top bit is not set).
func wholeOctets(bits int) int { return (bits + 7) &^ 7 }

func (in *input) firstLength(otherwise int) int {
	if len(in.declared) > 0 {
		return in.declared[0]
	}
	return otherwise
}

// octets are the bytes of a secret: of a Byte String or of a Transparent Symmetric Key. They are nil for a structure of
// a vendor's own. known tells that they are the key and nothing else. The result shares the message's memory.
func (in *input) octets() (b []byte, known bool, err error) {
	switch {
	case in.format == kmip.KeyFormatTypeTransparentSymmetricKey:
		var t kmip.TransparentSymmetricKey
		if err := t.Decode(in.material); err != nil {
			return nil, false, err
		}
		return t.Key, true, nil
	case in.format == kmip.KeyFormatTypeRaw, in.format == kmip.KeyFormatTypeOpaque, extension(in.format):
		if in.material.Type == ttlv.Structure {
			return nil, false, nil
		}
		return in.material.Value, in.format == kmip.KeyFormatTypeRaw, nil
	}
	return nil, false, in.formatError()
}

func (in *input) formatError() error {
	return invalid("Key Format Type %s is not one of a %s", in.format, in.object)
}

// secretData reads Secret Data, to which algorithm and length do not apply (KMIP 1.4 section 2.1.3, Table 7): if a
// client gives an algorithm it gets it back, and the length is the true one.
func (in *input) secretData() (*Key, error) {
	octets, _, err := in.octets()
	if err != nil {
		return nil, err
	}
	k := in.opaque()
	if len(octets) > 0 && len(octets) <= hsm.MaxSecretOctets {
		k = in.secret(octets)
	}
	k.Algorithm, k.Bits = in.algorithm, 8*len(octets)
	return k, nil
}

// splitKey reads one part of a split key (KMIP 1.4 section 2.2.5): octets that mean nothing by themselves. Algorithm and
// length are those of the key that was split.
func (in *input) splitKey() (*Key, error) {
	k := in.opaque()
	if n := len(in.material.Value); in.material.Type == ttlv.ByteString && n > 0 && n <= hsm.MaxSecretOctets {
		k = in.secret(in.material.Value)
	}
	k.Algorithm, k.Bits = in.algorithm, in.firstLength(8*len(in.material.Value))
	return k, nil
}

// secret is a key of octets, as generic secret.
func (in *input) secret(octets []byte) *Key {
	k := &Key{Facts: Facts{Form: FormSecret, Token: hsm.KeyGeneric}, Original: in.original()}
	if k.Value = k.Original; in.material.Type == ttlv.Structure {
		k.Value = bytes.Clone(octets)
	}
	return k
}

// original is a copy of the registered encoding.
func (in *input) original() hsm.Material {
	if in.material.Type == ttlv.ByteString {
		return append(make([]byte, 0, len(in.material.Value)), in.material.Value...)
	}
	return ttlv.AppendItem(make([]byte, 0, in.material.Size()), kmip.TagKeyMaterial, in.material)
}

// opaque is a key kept as it came.
func (in *input) opaque() *Key {
	o := in.original()
	return &Key{Value: o, Original: o}
}

// opaqueKey is a key kept as it came, with what is known of it (zeros: nothing). What the key does not tell the client
// must have told, because every key has an algorithm and a length.
func (in *input) opaqueKey(algorithm kmip.CryptographicAlgorithm, own int, curve kmip.RecommendedCurve) (*Key, error) {
	if algorithm == 0 {
		algorithm = in.algorithm
	}
	switch {
	case algorithm == 0:
		return nil, invalid("Cryptographic Algorithm is neither in the Key Block nor an attribute, and the key does not tell it")
	case in.algorithm != 0 && !sameKind(algorithm, in.algorithm):
		return nil, invalid("Cryptographic Algorithm is %s, but the Key Material is a key for %s", in.algorithm, algorithm)
	case own == 0 && len(in.declared) == 0:
		return nil, invalid("Cryptographic Length is neither in the Key Block nor an attribute, and the key does not tell it")
	}
	if in.algorithm != 0 {
		algorithm = in.algorithm // the client's word among the elliptic curve algorithms
	}
	length := in.firstLength(own)
	if own != 0 && !namedLength(algorithm, curve) {
		if _, err := in.length(own, wholeOctets(own)); err != nil {
			return nil, err
		}
		length = own
	}
	k := in.opaque()
	k.Algorithm, k.Bits, k.Curve = algorithm, length, curve
	return k, nil
}

// namedLength tells keys whose length nobody measures the same way (255 or 256 bits for the same curve).
func namedLength(a kmip.CryptographicAlgorithm, c kmip.RecommendedCurve) bool {
	return a == kmip.CryptographicAlgorithmEd25519 || a == kmip.CryptographicAlgorithmEd448 ||
		c == kmip.RecommendedCurveCURVE25519 || c == kmip.RecommendedCurveCURVE448
}

// roundTrips encodes the key again in its registered format.
func (k *Key) roundTrips() bool {
	if k.Form == FormOpaque {
		return true
	}
	if k.Form == FormSecret && k.Shape&shapeStructure == 0 && k.Format != kmip.KeyFormatTypeTransparentSymmetricKey {
		return true
	}
	item, err := material(&k.Facts, k.Value, k.Format, k.Shape)
	if err != nil {
		return false
	}
	defer clear(item)
	return bytes.Equal(digestible(item), k.Original)
}
