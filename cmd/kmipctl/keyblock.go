package main

import (
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// keyBlock makes the Key Block of a registered key, and completes the attributes with what the key tells.
func (r *register) keyBlock(data []byte, ver kmip.Version) (*kmip.KeyBlock, error) {
	if r.wrappingKey != "" {
		return r.wrappedBlock(data, ver)
	}
	asymmetric := r.object == kmip.ObjectTypePrivateKey || r.object == kmip.ObjectTypePublicKey
	switch {
	case data == nil:
		// The value is elsewhere (KMIP 1.4 section 3.41).
		r.defaultFormat()
		return r.block(ttlv.Item{}), r.needAlgorithm()
	case asymmetric:
		return r.asymmetricBlock(data, ver)
	}
	return r.secretBlock(data)
}

// block is a Key Block with what the flags say.
func (r *register) block(value ttlv.Item) *kmip.KeyBlock {
	kb := &kmip.KeyBlock{KeyFormatType: r.keyFormat, KeyValue: value, CryptographicAlgorithm: r.alg}
	if r.length != 0 {
		kb.CryptographicLength = &r.length
	}
	if !has(r.list, "Cryptographic Usage Mask") && len(r.templates) == 0 {
		if mask := r.defaultUsage(); mask != 0 {
			r.list = append(r.list, intAttribute("Cryptographic Usage Mask", mask))
		}
	}
	return kb
}

func (r *register) defaultUsage() kmip.CryptographicUsageMask {
	switch r.object {
	case kmip.ObjectTypeSymmetricKey:
		return secretUsage(r.alg)
	case kmip.ObjectTypePrivateKey, kmip.ObjectTypePublicKey:
		return pairUsage(r.alg, r.object == kmip.ObjectTypePrivateKey)
	}
	return 0
}

func (r *register) defaultFormat() {
	if r.keyFormat != 0 {
		return
	}
	r.keyFormat = kmip.KeyFormatTypeRaw
	switch r.object {
	case kmip.ObjectTypePrivateKey:
		r.keyFormat = kmip.KeyFormatTypePKCS8
	case kmip.ObjectTypePublicKey:
		r.keyFormat = kmip.KeyFormatTypeX509
	case kmip.ObjectTypeSecretData, kmip.ObjectTypePGPKey:
		r.keyFormat = kmip.KeyFormatTypeOpaque
	}
}

// needAlgorithm: nothing in the octets of a symmetric key tells its algorithm.
func (r *register) needAlgorithm() error {
	if r.object == kmip.ObjectTypeSymmetricKey && r.alg == 0 && len(r.templates) == 0 && !has(r.list, "Cryptographic Algorithm") {
		return usageError("name the algorithm of the key with --algorithm, for example AES")
	}
	return nil
}

// secretBlock is for symmetric keys and everything else that is octets without a structure.
func (r *register) secretBlock(data []byte) (*kmip.KeyBlock, error) {
	if err := r.needAlgorithm(); err != nil {
		return nil, err
	}
	if saved, ok := savedMaterial(data); ok && isTransparent(r.keyFormat) {
		return r.block(r.keyValue(saved)), nil
	}
	if r.length == 0 && r.object == kmip.ObjectTypeSymmetricKey && r.alg != kmip.CryptographicAlgorithmDES3 {
		// Of 3DES the parity bits may count or not; the server knows how it counts.
		r.length = int32(8 * len(data))
	}
	if r.anyTransparent {
		r.keyFormat = kmip.KeyFormatTypeTransparentSymmetricKey
	}
	r.defaultFormat()
	room := make([]byte, 0, len(data)+4*ttlv.HeaderSize)
	if r.keyFormat != kmip.KeyFormatTypeTransparentSymmetricKey {
		if isTransparent(r.keyFormat) {
			return nil, usageError("--format: a %s has no format %s", r.object, r.keyFormat)
		}
		return r.block(r.keyValue(ttlv.Make(r.keep(ttlv.AppendBytes(room, kmip.TagKeyMaterial, data))))), nil
	}
	s := kmip.TransparentSymmetricKey{Key: data}
	return r.block(r.keyValue(ttlv.Make(r.keep(s.Append(room, kmip.TagKeyMaterial, kmip.V1_4))))), nil
}

// asymmetricBlock is for private and public keys.
func (r *register) asymmetricBlock(data []byte, ver kmip.Version) (*kmip.KeyBlock, error) {
	if saved, ok := savedMaterial(data); ok && isTransparent(r.keyFormat) {
		return r.block(r.keyValue(saved)), nil
	}
	f, err := parseKeyFile(r.object, data)
	if err != nil {
		return nil, err
	}
	r.keep(f.der)
	alg, bits := f.describe()
	if r.alg == 0 {
		r.alg = alg
	}
	if r.length == 0 {
		r.length = bits
	}
	switch {
	case r.anyTransparent:
		r.keyFormat = f.exactFormat(r.object, ver)
	case r.keyFormat == 0:
		r.keyFormat = f.format
	}
	if r.keyFormat == 0 {
		return nil, usageError("--file: the format of the key is not known; name it with --format")
	}
	if isTransparent(r.keyFormat) {
		s, ok := f.transparent(r.keyFormat)
		if !ok {
			return nil, usageError("--format: the key of the file has no format %s", r.keyFormat)
		}
		return r.block(r.keyValue(ttlv.Make(r.keep(s.Append(make([]byte, 0, 8<<10), kmip.TagKeyMaterial, kmip.V1_4))))), nil
	}
	der := f.marshal(r.keyFormat)
	if der == nil && f.format == 0 {
		der = f.der // a key that the standard library does not know: what it is --format says
	}
	if der == nil {
		return nil, usageError("--format: the key of the file has no format %s", r.keyFormat)
	}
	r.keep(der)
	room := make([]byte, 0, len(der)+2*ttlv.HeaderSize)
	return r.block(r.keyValue(ttlv.Make(r.keep(ttlv.AppendBytes(room, kmip.TagKeyMaterial, der))))), nil
}

// wrappedBlock is for what another key has wrapped: the Key Value is a Byte String (KMIP 1.4 section 2.1.5).
func (r *register) wrappedBlock(data []byte, ver kmip.Version) (*kmip.KeyBlock, error) {
	if r.anyTransparent {
		return nil, usageError("--format: name the transparent format of a wrapped key in full")
	}
	if len(data) == 0 {
		return nil, usageError("--file: a wrapped key is not empty")
	}
	if err := r.needAlgorithm(); err != nil {
		return nil, err
	}
	info, err := r.wrapping.key(r.wrappingKey)
	if err != nil {
		return nil, usageError("%v", err)
	}
	opt, err := r.wrapping.option(ver, kmip.EncodingOptionNoEncoding)
	if err != nil {
		return nil, usageError("%v", err)
	}
	r.defaultFormat()
	kb := r.block(ttlv.Make(ttlv.AppendBytes(nil, kmip.TagKeyValue, data)))
	kb.KeyWrappingData = &kmip.KeyWrappingData{WrappingMethod: kmip.WrappingMethodEncrypt, EncryptionKeyInformation: info, EncodingOption: opt}
	return kb, nil
}
