package keystore

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"unicode/utf16"
)

// The library writes containers without names, and KMIP 1.4 section 3.45 wants one. The bag of the private key stands in
// a part of the container that is not encrypted as a whole: it gets the attribute, and the container a new MAC. The
// certificate goes with the key by their common localKeyId.

// The structures of RFC 7292 section 4, as far as naming needs them.
type (
	pfxPDU struct {
		Version  int
		AuthSafe pfxContent
		Mac      pfxMac
	}
	pfxContent struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue `asn1:"tag:0,explicit"`
	}
	pfxMac struct {
		Digest struct {
			Algorithm pkix.AlgorithmIdentifier
			Value     []byte
		}
		Salt       []byte
		Iterations int
	}
	pfxBag struct {
		ID         asn1.ObjectIdentifier
		Value      asn1.RawValue  `asn1:"tag:0,explicit"`
		Attributes []pfxAttribute `asn1:"set,optional"`
	}
	pfxAttribute struct {
		ID    asn1.ObjectIdentifier
		Value asn1.RawValue `asn1:"set"`
	}
)

var (
	oidData         = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidShroudedKey  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 2}
	oidFriendlyName = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 20}
	oidSHA256       = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
)

var errPFX = errors.New("the container is not as the library writes it")

// namePFX gives the private key in a container that the library wrote a friendly name.
func namePFX(der []byte, password, name string) ([]byte, error) {
	var p pfxPDU
	var safe []byte
	var parts []pfxContent
	if err := exactly(der, &p); err != nil {
		return nil, err
	}
	if !p.Mac.Digest.Algorithm.Algorithm.Equal(oidSHA256) {
		return nil, errPFX
	}
	if err := errors.Join(exactly(p.AuthSafe.Content.Bytes, &safe), exactly(safe, &parts)); err != nil {
		return nil, err
	}
	named := 0
	for i := range parts {
		if !parts[i].Type.Equal(oidData) {
			continue
		}
		n, err := nameBags(&parts[i], name)
		if err != nil {
			return nil, err
		}
		named += n
	}
	safe, err := asn1.Marshal(parts)
	if err != nil || named != 1 {
		return nil, errors.Join(err, errPFX)
	}
	mac := hmac.New(sha256.New, pfxMacKey(password, p.Mac.Salt, p.Mac.Iterations))
	mac.Write(safe)
	p.Mac.Digest.Value = mac.Sum(nil)
	if p.AuthSafe.Content, err = explicit(safe); err != nil {
		return nil, err
	}
	return asn1.Marshal(p)
}

// nameBags adds the name to the key bags of a part, and tells how many there are.
func nameBags(part *pfxContent, name string) (int, error) {
	var inner []byte
	var bags []pfxBag
	if err := errors.Join(exactly(part.Content.Bytes, &inner), exactly(inner, &bags)); err != nil {
		return 0, err
	}
	text, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagBMPString, Bytes: bmp(name)})
	if err != nil {
		return 0, err
	}
	n := 0
	for i := range bags {
		if bags[i].ID.Equal(oidShroudedKey) {
			n++
			bags[i].Attributes = append(bags[i].Attributes, pfxAttribute{oidFriendlyName,
				asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: text}})
		}
	}
	if inner, err = asn1.Marshal(bags); err != nil {
		return 0, err
	}
	part.Content, err = explicit(inner)
	return n, err
}

// exactly decodes one value and nothing behind it.
func exactly(der []byte, v any) error {
	rest, err := asn1.Unmarshal(der, v)
	if err == nil && len(rest) > 0 {
		return errPFX
	}
	return err
}

// explicit is octets as an Octet String under the explicit tag 0.
func explicit(octets []byte) (asn1.RawValue, error) {
	b, err := asn1.Marshal(octets)
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: b}, err
}

// bmp is text in UCS-2, big-endian; what has no place in it is written as UTF-16.
func bmp(text string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(text)) {
		b = append(b, byte(u>>8), byte(u))
	}
	return b
}

// pfxMacKey derives the key of a container's MAC with SHA-256 (RFC 7292 appendix B.2, ID 3). One block of output is all
// that it needs.
func pfxMacKey(password string, salt []byte, iterations int) []byte {
	const block = 64
	d := make([]byte, block)
	for i := range d {
		d[i] = 3
	}
	secret := append(bmp(password), 0, 0)
	defer clear(secret)
	key := append(append(d, filled(salt, block)...), filled(secret, block)...)
	for range max(iterations, 1) {
		sum := sha256.Sum256(key)
		key = sum[:]
	}
	return key
}

// filled repeats a pattern up to the next multiple of the block.
func filled(pattern []byte, block int) []byte {
	if len(pattern) == 0 {
		return nil
	}
	out := make([]byte, (len(pattern)+block-1)/block*block)
	for i := range out {
		out[i] = pattern[i%len(pattern)]
	}
	return out
}
