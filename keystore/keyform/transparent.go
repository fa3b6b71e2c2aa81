package keyform

import (
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// keptTransparent keeps a transparent DSA or DH key (KMIP 1.4 sections 2.1.7.2, 2.1.7.3, 2.1.7.6, 2.1.7.7) as it came,
// once its required numbers are there. P tells the length.
func (in *input) keptTransparent(algorithm kmip.CryptographicAlgorithm, required ...ttlv.Tag) (*Key, error) {
	bits := 0
	for m := range in.material.Members {
		switch m.Tag {
		case kmip.TagP, kmip.TagQ, kmip.TagG, kmip.TagJ, kmip.TagX, kmip.TagY:
		default:
			return nil, invalid("%s is not a field of %s", kmip.NameOfTag(m.Tag), in.format)
		}
		if m.Type != ttlv.BigInteger || m.Value[0]&0x80 != 0 {
			return nil, invalid("%s of %s must be a positive Big Integer", kmip.NameOfTag(m.Tag), in.format)
		}
		if m.Tag == kmip.TagP {
			bits = m.BigInt().BitLen()
		}
	}
	if err := in.require(required); err != nil {
		return nil, err
	}
	return in.opaqueKey(algorithm, bits, 0)
}

// keptMQV keeps a transparent ECMQV key (KMIP 1.4 sections 2.1.7.12, 2.1.7.13), which no token mechanism uses.
func (in *input) keptMQV(part ttlv.Tag) (*Key, error) {
	for m := range in.material.Members {
		want := ttlv.Enumeration
		switch {
		case m.Tag == kmip.TagRecommendedCurve:
		case m.Tag == part && part == kmip.TagD:
			want = ttlv.BigInteger
		case m.Tag == part:
			want = ttlv.ByteString
		default:
			return nil, invalid("%s is not a field of %s", kmip.NameOfTag(m.Tag), in.format)
		}
		if m.Type != want {
			return nil, invalid("%s of %s must be a %s", kmip.NameOfTag(m.Tag), in.format, want)
		}
	}
	if err := in.require([]ttlv.Tag{kmip.TagRecommendedCurve, part}); err != nil {
		return nil, err
	}
	c, err := in.transparentCurve(kmip.RecommendedCurve(in.material.Find(kmip.TagRecommendedCurve).Enum()))
	if err != nil {
		return nil, err
	}
	return in.opaqueKey(kmip.CryptographicAlgorithmECMQV, c.bits, c.name)
}

func (in *input) require(tags []ttlv.Tag) error {
	for _, tag := range tags {
		if in.material.Find(tag).IsZero() {
			return invalid("%s is missing from %s", kmip.NameOfTag(tag), in.format)
		}
	}
	return nil
}
