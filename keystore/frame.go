package keystore

import (
	"kmipd/hsm"
	"kmipd/keystore/keyform"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// frame is what a record keeps of an object beside attributes and material: how its Key Block looked and what the token
// holds. It has no key bytes.
type frame struct {
	facts keyform.Facts
	// object is the Managed Object structure less its material; Secret Data Type, Split Key fields and the like.
	object ttlv.Item
	// wrapping is how the object came when it was registered wrapped, structured whether its Key Value was a structure.
	under      *wrapKey // what a wrapped Key Block was unwrapped with; not kept
	wrapping   *kmip.KeyWrappingData
	structured bool
	// set and whole are of a part that this server made of a key: what its sister parts share, and the octets of the key.
	set   []byte
	whole int
	// sealed tells that the token holds the wrapped octets and not the key: an Import whose wrapping key is not here.
	sealed bool
	// container tells that the key came in a PKCS#12 container, which is then what Get gives unless asked otherwise.
	container bool
}

// The members of a stored frame, all in one structure under the first tag.
const (
	tagFrame      ttlv.Tag = 0x540200
	tagFrameForm  ttlv.Tag = 0x540201
	tagFrameToken ttlv.Tag = 0x540202
	tagFrameShape ttlv.Tag = 0x540203
	tagFrameSize  ttlv.Tag = 0x540204
	tagFrameBits  ttlv.Tag = 0x540205
	tagFrameWhole ttlv.Tag = 0x540206
	tagFrameSet   ttlv.Tag = 0x540207
	tagFrameKey   ttlv.Tag = 0x540208
	tagFrameSeal  ttlv.Tag = 0x540209 // 540207 and 540208 are of split keys
	tagFramePFX   ttlv.Tag = 0x54020A
	tagFrameOdd   ttlv.Tag = 0x54020B
)

func (f *frame) encode() []byte {
	b, mark := ttlv.Begin(nil, tagFrame)
	b = ttlv.AppendInt(b, tagFrameForm, int32(f.facts.Form))
	b = ttlv.AppendInt(b, tagFrameToken, int32(f.facts.Token))
	b = ttlv.AppendInt(b, tagFrameShape, int32(f.facts.Shape))
	b = ttlv.AppendInt(b, tagFrameSize, int32(f.facts.Octets))
	b = ttlv.AppendInt(b, tagFrameBits, int32(f.facts.Bits))
	b = ttlv.AppendEnum(b, kmip.TagObjectType, uint32(f.facts.Object))
	b = ttlv.AppendEnum(b, kmip.TagCryptographicAlgorithm, uint32(f.facts.Algorithm))
	b = ttlv.AppendEnum(b, kmip.TagRecommendedCurve, uint32(f.facts.Curve))
	b = ttlv.AppendEnum(b, kmip.TagKeyFormatType, uint32(f.facts.Format))
	b = ttlv.AppendBool(b, tagFrameWhole, f.structured)
	if f.sealed {
		b = ttlv.AppendBool(b, tagFrameSeal, true)
	}
	if f.facts.Irregular {
		b = ttlv.AppendBool(b, tagFrameOdd, true)
	}
	if f.container {
		b = ttlv.AppendBool(b, tagFramePFX, true)
	}
	if f.wrapping != nil {
		b = f.wrapping.Append(b, kmip.TagKeyWrappingData, kmip.V1_4)
	}
	if f.set != nil {
		b = ttlv.AppendBytes(b, tagFrameSet, f.set)
		b = ttlv.AppendInt(b, tagFrameKey, int32(f.whole))
	}
	if !f.object.IsZero() {
		b = ttlv.AppendItem(b, f.object.Tag, f.object)
	}
	return ttlv.End(b, mark)
}

// frame reads a record's frame.
func (o object) frame() (*frame, error) {
	damaged := func(err error) error {
		return kmip.Errorf(kmip.ResultReasonGeneralFailure, "the stored object is damaged").Because(err)
	}
	root, err := ttlv.Parse(o.Frame, ttlv.Limits{MaxSize: 1 << 24, MaxDepth: 32, MaxItems: 1 << 20})
	if err != nil {
		return nil, damaged(err)
	}
	f := &frame{}
	for m := range root.Members {
		switch m.Tag {
		case tagFrameForm:
			f.facts.Form = keyform.Form(m.Int())
		case tagFrameToken:
			f.facts.Token = hsm.KeyType(m.Int())
		case tagFrameShape:
			f.facts.Shape = keyform.Shape(m.Int())
		case tagFrameSize:
			f.facts.Octets = int(m.Int())
		case tagFrameBits:
			f.facts.Bits = int(m.Int())
		case kmip.TagObjectType:
			f.facts.Object = kmip.ObjectType(m.Enum())
		case kmip.TagCryptographicAlgorithm:
			f.facts.Algorithm = kmip.CryptographicAlgorithm(m.Enum())
		case kmip.TagRecommendedCurve:
			f.facts.Curve = kmip.RecommendedCurve(m.Enum())
		case kmip.TagKeyFormatType:
			f.facts.Format = kmip.KeyFormatType(m.Enum())
		case tagFrameWhole:
			f.structured = m.Bool()
		case tagFrameSet:
			f.set = m.Value
		case tagFrameKey:
			f.whole = int(m.Int())
		case tagFrameSeal:
			f.sealed = m.Bool()
		case tagFrameOdd:
			f.facts.Irregular = m.Bool()
		case tagFramePFX:
			f.container = m.Bool()
		case kmip.TagKeyWrappingData:
			f.wrapping = new(kmip.KeyWrappingData)
			if err := f.wrapping.Decode(m); err != nil {
				return nil, damaged(err)
			}
		default:
			f.object = m
		}
	}
	return f, nil
}

// withoutMaterial is a Managed Object structure with an empty material, for the frame.
func withoutMaterial(obj structure, tag ttlv.Tag) ttlv.Item {
	return ttlv.Make(obj.Append(nil, tag, kmip.V1_4))
}
