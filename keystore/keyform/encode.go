package keyform

import (
	"bytes"

	"kmipd/hsm"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// Want is how a client wants a key. The zero value is the registered (or default) format.
type Want struct {
	Format      kmip.KeyFormatType
	Compression kmip.KeyCompressionType
	// Version is that of the request: a format or algorithm that the client did not name itself is one that its
	// version has. The zero Version is KMIP 1.0.
	Version kmip.Version
}

// Encode makes the Key Block of a stored key: value is what Parse made, or what the token gives back for it. The Key
// Value holds the Key Material and no attributes. Its memory is its own; the caller calls Wipe when it has been written.
//
// KMIP 1.4 section 4.11 wants the registered format; beyond it every format of the same kind of key can be had. Opaque
// values come back only as they were registered. What cannot be had is Key Format Type Not Supported or Key Compression
// Type Not Supported.
func Encode(f *Facts, value hsm.Material, want Want) (*kmip.KeyBlock, error) {
	format := want.Format
	if format == 0 {
		format = formatFor(f, want.Version)
	}
	shape, err := f.shapeFor(format, want.Compression)
	if err != nil {
		return nil, err
	}
	item, err := material(f, value, format, shape)
	if err != nil {
		return nil, err
	}
	kb := &kmip.KeyBlock{
		KeyFormatType: format,
		KeyValue:      ttlv.Item{Tag: kmip.TagKeyValue, Type: ttlv.Structure, Value: item},
	}
	if f.Form == FormPublic && f.Token == hsm.KeyEC && (want.Compression != 0 || shape&shapeDeclared != 0) {
		kb.KeyCompressionType = kmip.KeyCompressionTypeECPublicKeyTypeUncompressed
		if shape&shapeCompressed != 0 {
			kb.KeyCompressionType = kmip.KeyCompressionTypeECPublicKeyTypeX9_62CompressedPrime
		}
	}
	if f.Algorithm != 0 {
		// Algorithm and length go together (KMIP 1.4 section 2.1.3, Table 7).
		kb.CryptographicAlgorithm = algorithmFor(f.Algorithm, want.Version)
		length := int32(f.Bits)
		kb.CryptographicLength = &length
	}
	return kb, nil
}

// MaterialForDigest is the octets that a Digest attribute of a stored key is computed over when its Key Format Type is
// format: those of the Byte String, or the TTLV encoding of the structure (KMIP 1.4 section 3.17). For a registered key
// they are Key.Original and the registered format; for a generated one use Facts.Format. The caller wipes the result.
func MaterialForDigest(f *Facts, value hsm.Material, format kmip.KeyFormatType) (hsm.Material, error) {
	shape, err := f.shapeFor(format, 0)
	if err != nil {
		return nil, err
	}
	item, err := material(f, value, format, shape)
	if err != nil {
		return nil, err
	}
	return digestible(item), nil
}

// digestible is the part of an encoded Key Material that a digest covers; it shares the memory of item.
func digestible(item hsm.Material) hsm.Material {
	if it := ttlv.Make(item); it.Type == ttlv.ByteString {
		return it.Value
	}
	return item
}

// formatFor is the registered format, or its equal that the version has: Transparent EC Keys are new in KMIP 1.3, and
// the Transparent ECDSA and ECDH Keys before it have the same fields.
func formatFor(f *Facts, ver kmip.Version) kmip.KeyFormatType {
	if ver.Before(kmip.V1_0) {
		ver = kmip.V1_0
	}
	if f.Format.KnownIn(ver) || f.Form == FormOpaque {
		return f.Format
	}
	ecdh := f.Algorithm == kmip.CryptographicAlgorithmECDH
	switch f.Format {
	case kmip.KeyFormatTypeTransparentECPrivateKey:
		if ecdh {
			return kmip.KeyFormatTypeTransparentECDHPrivateKey
		}
		return kmip.KeyFormatTypeTransparentECDSAPrivateKey
	case kmip.KeyFormatTypeTransparentECPublicKey:
		if ecdh {
			return kmip.KeyFormatTypeTransparentECDHPublicKey
		}
		return kmip.KeyFormatTypeTransparentECDSAPublicKey
	}
	return f.Format
}

// algorithmFor is the algorithm, or its equal that the version has: EC is new in KMIP 1.2.
func algorithmFor(a kmip.CryptographicAlgorithm, ver kmip.Version) kmip.CryptographicAlgorithm {
	if a == kmip.CryptographicAlgorithmEC && !a.KnownIn(ver) {
		return kmip.CryptographicAlgorithmECDSA
	}
	return a
}

// shapeFor is how to write the format: the registered way if it is the registered format, else with every field. A
// compression that the client asks for goes before both.
func (f *Facts) shapeFor(format kmip.KeyFormatType, compression kmip.KeyCompressionType) (Shape, error) {
	var shape Shape
	if format == f.Format || f.Form == FormOpaque {
		shape = f.Shape
	}
	if compression == 0 {
		return shape, nil
	}
	form, err := formOf(compression)
	if err != nil {
		return 0, err
	}
	if f.Form == FormPublic && f.Token == hsm.KeyEC {
		shape &^= shapeCompressed
		if form == pointCompressed {
			shape |= shapeCompressed
		}
	} else if form != pointUncompressed {
		return 0, kmip.Errorf(kmip.ResultReasonKeyCompressionTypeNotSupported,
			"Key Compression Type %s is for elliptic curve public keys", compression)
	}
	return shape, nil
}

func notSupported(f *Facts, format kmip.KeyFormatType) error {
	return kmip.Errorf(kmip.ResultReasonKeyFormatTypeNotSupported,
		"Key Format Type %s is not supported for this %s, which was registered as %s", format, f.Object, f.Format)
}

// damaged is a value that is not what its facts say: the token gave back something else, or the record is wrong.
func damaged(f *Facts) error {
	return kmip.Errorf(kmip.ResultReasonGeneralFailure, "the stored %s cannot be read", f.Object)
}

// material is the encoded Key Material item.
func material(f *Facts, value hsm.Material, format kmip.KeyFormatType, shape Shape) (hsm.Material, error) {
	switch f.Form {
	case FormSecret:
		return secretMaterial(f, value, format)
	case FormPrivate:
		return privateMaterial(f, value, format, shape)
	case FormPublic:
		return publicMaterial(f, value, format, shape)
	}
	if format != f.Format {
		return nil, notSupported(f, format)
	}
	if shape&shapeStructure == 0 {
		return appendOctets(buffer(len(value), 0), value), nil
	}
	if it, err := ttlv.Parse(value, ttlv.DefaultLimits); err != nil || it.Tag != kmip.TagKeyMaterial {
		return nil, damaged(f)
	}
	return bytes.Clone(value), nil
}

// buffer has room for n octets of material and extra for what surrounds them, so that no append grows it and leaves a
// copy of the key behind.
func buffer(n, extra int) []byte { return make([]byte, 0, 2*ttlv.HeaderSize+n+extra+8) }

// secretMaterial writes the octets. Raw and Transparent Symmetric Key say the same; Opaque says less, which is why a key
// that came as Opaque is not called Raw later, except for Secret Data, where both are just octets.
func secretMaterial(f *Facts, value hsm.Material, format kmip.KeyFormatType) (hsm.Material, error) {
	known := func(t kmip.KeyFormatType) bool {
		return t == kmip.KeyFormatTypeRaw || t == kmip.KeyFormatTypeTransparentSymmetricKey ||
			f.Object == kmip.ObjectTypeSecretData && t == kmip.KeyFormatTypeOpaque
	}
	if format != f.Format && !(known(format) && known(f.Format) && f.Object != kmip.ObjectTypeSplitKey) {
		return nil, notSupported(f, format)
	}
	b := buffer(len(value), ttlv.HeaderSize)
	if format == kmip.KeyFormatTypeTransparentSymmetricKey {
		t := kmip.TransparentSymmetricKey{Key: value}
		return t.Append(b, kmip.TagKeyMaterial, kmip.V1_4), nil
	}
	return appendOctets(b, value), nil
}

// transparentSlack is more than the headers and paddings of the eight numbers of a Transparent RSA Private Key.
const transparentSlack = 512

func privateMaterial(f *Facts, value hsm.Material, format kmip.KeyFormatType, shape Shape) (hsm.Material, error) {
	p, ok := parsePKCS8(value)
	if !ok {
		return nil, damaged(f)
	}
	b := buffer(len(value), transparentSlack)
	secret := func(der []byte) (hsm.Material, error) {
		defer clear(der)
		return appendOctets(b, der), nil
	}
	switch f.Token {
	case hsm.KeyRSA:
		k, multi, ok := parsePKCS1Private(p.key)
		if !ok || multi {
			return nil, damaged(f)
		}
		defer k.wipe()
		switch format {
		case kmip.KeyFormatTypePKCS1:
			return secret(k.pkcs1Private())
		case kmip.KeyFormatTypePKCS8:
			return secret(k.pkcs8())
		case kmip.KeyFormatTypeTransparentRSAPrivateKey:
			return k.appendTransparentPrivate(b, shape), nil
		}
	case hsm.KeyEC:
		k, err := readEC(f, p)
		if err != nil {
			return nil, err
		}
		defer k.wipe()
		switch format {
		case kmip.KeyFormatTypeECPrivateKey:
			return secret(k.sec1(shape&shapeFlipParams == 0, shape))
		case kmip.KeyFormatTypePKCS8:
			return secret(k.shapedPKCS8(shape))
		case kmip.KeyFormatTypeTransparentECPrivateKey, kmip.KeyFormatTypeTransparentECDSAPrivateKey,
			kmip.KeyFormatTypeTransparentECDHPrivateKey:
			return k.appendTransparentPrivate(b), nil
		}
	}
	return nil, notSupported(f, format)
}

// readEC reads an elliptic curve private key from the token. Tokens leave out what they like of the ECPrivateKey, so the
// point is computed, and the curve is the recorded one if the token does not repeat it.
func readEC(f *Facts, p pkcs8) (*ecKey, error) {
	c := curveByName(f.Curve)
	s, ok := parseSEC1(p.key)
	if oid, _, named := p.algorithm.curve(); named && oid != nil && c != nil {
		ok = ok && bytes.Equal(oid, c.oid)
	}
	if !ok || c == nil || c.ecdh == nil {
		return nil, damaged(f)
	}
	d, ok := padScalar(s.d, c.size())
	if !ok {
		return nil, damaged(f)
	}
	k := &ecKey{curve: c, d: d}
	if err := k.derivePoint(); err != nil {
		k.wipe()
		return nil, damaged(f)
	}
	return k, nil
}

func publicMaterial(f *Facts, value hsm.Material, format kmip.KeyFormatType, shape Shape) (hsm.Material, error) {
	_, key, ok := parseSPKI(value)
	if !ok {
		return nil, damaged(f)
	}
	b := buffer(len(value), transparentSlack)
	switch f.Token {
	case hsm.KeyRSA:
		k, ok := parsePKCS1Public(key)
		if !ok {
			return nil, damaged(f)
		}
		switch format {
		case kmip.KeyFormatTypePKCS1:
			return appendOctets(b, k.pkcs1Public()), nil
		case kmip.KeyFormatTypeX509:
			return appendOctets(b, k.spki()), nil
		case kmip.KeyFormatTypeTransparentRSAPublicKey:
			return k.appendTransparentPublic(b), nil
		}
	case hsm.KeyEC:
		c := curveByName(f.Curve)
		if c == nil || c.ecdh == nil {
			return nil, damaged(f)
		}
		point, _, ok := c.parsePoint(key)
		if !ok {
			return nil, damaged(f)
		}
		k, form := &ecKey{curve: c, point: point}, pointUncompressed
		if shape&shapeCompressed != 0 {
			form = pointCompressed
		}
		switch format {
		case kmip.KeyFormatTypeX509:
			return appendOctets(b, k.spki(form)), nil
		case kmip.KeyFormatTypeTransparentECPublicKey, kmip.KeyFormatTypeTransparentECDSAPublicKey,
			kmip.KeyFormatTypeTransparentECDHPublicKey:
			return k.appendTransparentPublic(b, form), nil
		}
	}
	return nil, notSupported(f, format)
}
