package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// objectView is the result of Get.
type objectView struct {
	UniqueIdentifier string          `json:"unique_identifier"`
	ObjectType       string          `json:"object_type"`
	Object           objectDetails   `json:"object"`
	Attributes       []attributeView `json:"attributes,omitempty"` // of Export
	File             string          `json:"file,omitempty"`
	Written          int             `json:"written,omitempty"`

	object kmip.ObjectType
	format kmip.KeyFormatType
	show   bool
}

// objectDetails are the fields of the object, those that its type has.
type objectDetails struct {
	CertificateType   string `json:"certificate_type,omitempty"`
	SecretDataType    string `json:"secret_data_type,omitempty"`
	OpaqueDataType    string `json:"opaque_data_type,omitempty"`
	PGPKeyVersion     *int32 `json:"pgp_key_version,omitempty"`
	SplitKeyParts     *int32 `json:"split_key_parts,omitempty"`
	KeyPartIdentifier *int32 `json:"key_part_identifier,omitempty"`
	SplitKeyThreshold *int32 `json:"split_key_threshold,omitempty"`
	SplitKeyMethod    string `json:"split_key_method,omitempty"`
	PrimeFieldSize    string `json:"prime_field_size,omitempty"`

	KeyFormatType          string          `json:"key_format_type,omitempty"`
	KeyCompressionType     string          `json:"key_compression_type,omitempty"`
	CryptographicAlgorithm string          `json:"cryptographic_algorithm,omitempty"`
	CryptographicLength    *int32          `json:"cryptographic_length,omitempty"`
	Wrapping               structured      `json:"key_wrapping_data,omitempty"`
	Attributes             []attributeView `json:"attributes,omitempty"`
	Material               *material       `json:"material,omitempty"`
}

// material is the secret part. Its octets stay in the memory of the answer, which wipe overwrites.
type material struct {
	Octets int        `json:"octets"`
	Hex    octets     `json:"hex,omitempty"`
	Fields structured `json:"fields,omitempty"`
	PEM    string     `json:"pem,omitempty"`

	value   []byte    // nil for a structure
	item    ttlv.Item // the structure
	buffers [][]byte  // copies to be wiped, too
}

// octets is what is written to a file.
func (m *material) octets() []byte {
	if m.value != nil {
		return m.value
	}
	b := ttlv.AppendItem(make([]byte, 0, m.item.Size()), kmip.TagKeyMaterial, m.item)
	m.buffers = append(m.buffers, b)
	return b
}

func viewObject(r *kmip.GetResponse) *objectView {
	v := &objectView{UniqueIdentifier: r.UniqueIdentifier, ObjectType: r.ObjectType.String(), object: r.ObjectType}
	d := &v.Object
	switch {
	case r.Certificate != nil:
		d.CertificateType = r.Certificate.CertificateType.String()
		d.Material = newMaterial(r.Certificate.CertificateValue)
	case r.OpaqueObject != nil:
		d.OpaqueDataType = enumName("", r.OpaqueObject.OpaqueDataType)
		d.Material = newMaterial(r.OpaqueObject.OpaqueDataValue)
	case r.SecretData != nil:
		d.SecretDataType = enumName("SecretDataType", uint32(r.SecretData.SecretDataType))
		v.keyBlock(&r.SecretData.KeyBlock)
	case r.SymmetricKey != nil:
		v.keyBlock(&r.SymmetricKey.KeyBlock)
	case r.PrivateKey != nil:
		v.keyBlock(&r.PrivateKey.KeyBlock)
	case r.PublicKey != nil:
		v.keyBlock(&r.PublicKey.KeyBlock)
	case r.PGPKey != nil:
		d.PGPKeyVersion = &r.PGPKey.PGPKeyVersion
		v.keyBlock(&r.PGPKey.KeyBlock)
	case r.SplitKey != nil:
		s := r.SplitKey
		d.SplitKeyParts, d.KeyPartIdentifier, d.SplitKeyThreshold = &s.SplitKeyParts, &s.KeyPartIdentifier, &s.SplitKeyThreshold
		d.SplitKeyMethod = enumName("SplitKeyMethod", uint32(s.SplitKeyMethod))
		if s.PrimeFieldSize != nil {
			d.PrimeFieldSize = bigText(s.PrimeFieldSize)
		}
		v.keyBlock(&s.KeyBlock)
	case r.Template != nil:
		d.Attributes = viewAttributes(r.Template.Attribute)
	}
	return v
}

func newMaterial(b []byte) *material {
	if b == nil {
		b = []byte{}
	}
	return &material{Octets: len(b), value: b}
}

func (v *objectView) keyBlock(kb *kmip.KeyBlock) {
	d := &v.Object
	v.format = kb.KeyFormatType
	d.KeyFormatType = enumName("KeyFormatType", uint32(kb.KeyFormatType))
	if kb.KeyCompressionType != 0 {
		d.KeyCompressionType = enumName("KeyCompressionType", uint32(kb.KeyCompressionType))
	}
	if kb.CryptographicAlgorithm != 0 {
		d.CryptographicAlgorithm = enumName("CryptographicAlgorithm", uint32(kb.CryptographicAlgorithm))
	}
	d.CryptographicLength = kb.CryptographicLength
	if kb.KeyWrappingData != nil {
		d.Wrapping = fieldsOf(kb.KeyWrappingData)
	}
	switch kb.KeyValue.Type {
	case ttlv.ByteString: // wrapped
		d.Material = newMaterial(kb.KeyValue.Value)
	case ttlv.Structure:
		v.keyValue(kb.KeyValue)
	}
}

func (v *objectView) keyValue(it ttlv.Item) {
	for m := range it.Members {
		switch {
		case m.Tag == kmip.TagKeyMaterial && m.Type == ttlv.Structure:
			v.Object.Material = &material{Octets: m.Size(), item: m}
		case m.Tag == kmip.TagKeyMaterial:
			v.Object.Material = newMaterial(m.Value)
		case m.Tag == kmip.TagAttribute:
			var a kmip.Attribute
			if a.Decode(m) == nil {
				v.Object.Attributes = append(v.Object.Attributes, viewAttribute(&a))
			}
		}
	}
}

// shown is the material with what else is held back.
func (m *material) shown() *material {
	out := *m
	switch {
	case m.PEM != "":
	case m.value != nil:
		out.Hex = m.value
	default:
		out.Fields = decodeStructure(m.item, tagLabel)
	}
	return &out
}

// MarshalJSON holds the material back unless it is to be shown.
func (v *objectView) MarshalJSON() ([]byte, error) {
	type plainView objectView
	out := plainView(*v)
	if v.show && out.Object.Material != nil {
		out.Object.Material = out.Object.Material.shown()
	}
	return json.Marshal(out)
}

func (v *objectView) ids() []string { return []string{v.UniqueIdentifier} }

// plain: PEM that is shown can be pasted.
func (v *objectView) plain() []string {
	if m := v.Object.Material; v.show && m != nil && m.PEM != "" {
		return strings.Split(strings.TrimSuffix(m.PEM, "\n"), "\n")
	}
	return nil
}

// silent: with --out - standard output has carried the material.
func (v *objectView) silent() bool { return v.File == "-" }

func (v *objectView) rows() []row {
	d := &v.Object
	out := []row{text("Unique Identifier", v.UniqueIdentifier), text("Object Type", v.ObjectType)}
	for _, f := range []struct{ label, value string }{
		{"Certificate Type", d.CertificateType}, {"Secret Data Type", d.SecretDataType}, {"Opaque Data Type", d.OpaqueDataType},
		{"PGP Key Version", number(d.PGPKeyVersion)}, {"Split Key Parts", number(d.SplitKeyParts)},
		{"Key Part Identifier", number(d.KeyPartIdentifier)}, {"Split Key Threshold", number(d.SplitKeyThreshold)},
		{"Split Key Method", d.SplitKeyMethod}, {"Prime Field Size", d.PrimeFieldSize},
		{"Key Format Type", d.KeyFormatType}, {"Key Compression Type", d.KeyCompressionType},
		{"Cryptographic Algorithm", d.CryptographicAlgorithm}, {"Cryptographic Length", number(d.CryptographicLength)},
	} {
		if f.value != "" {
			out = append(out, text(f.label, f.value))
		}
	}
	if d.Wrapping != nil {
		out = append(out, text("Key Wrapping Data", d.Wrapping))
	}
	out = append(out, attributeRows(d.Attributes)...)
	out = append(out, v.attributeRows()...)
	switch {
	case d.Material != nil:
		out = append(out, row{"Material", v.materialLines()})
	case v.File != "": // of an export without object
		out = append(out, row{"Material", octetLines(nil, v.Written, v.File, false)})
	}
	return out
}

// attributeRows are the attributes of an export. The type of the object stands at the top already.
func (v *objectView) attributeRows() []row {
	var out []row
	for _, a := range v.Attributes {
		if a.Name != "Object Type" && a.Name != "Unique Identifier" {
			out = append(out, a.row())
		}
	}
	return out
}

func (v *objectView) materialLines() []string {
	m := v.Object.Material
	if v.show && m.value == nil {
		return lines(m.shown().Fields)
	}
	size := m.Octets
	if v.File != "" {
		size = v.Written
	}
	return octetLines(m.value, size, v.File, v.show)
}

func number(n *int32) string {
	if n == nil {
		return ""
	}
	return fmt.Sprint(*n)
}

// wipe overwrites the material in the answer and its copies.
func (v *objectView) wipe() {
	m := v.Object.Material
	if m == nil {
		return
	}
	clear(m.value)
	clear(m.item.Value)
	for _, b := range m.buffers {
		clear(b)
	}
}
