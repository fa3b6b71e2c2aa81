package keyform

import "kmipd/kmip"

// Keep turns the key into opaque octets, so that what was registered comes back octet for octet: for an encoding that
// cannot be made again from the value (RoundTrips false).
func (k *Key) Keep() {
	k.Form, k.Token, k.Value, k.Shape = FormOpaque, 0, k.Original, 0
	switch k.Format {
	case kmip.KeyFormatTypeRaw, kmip.KeyFormatTypeOpaque, kmip.KeyFormatTypePKCS1, kmip.KeyFormatTypePKCS8,
		kmip.KeyFormatTypeX509, kmip.KeyFormatTypeECPrivateKey:
	default: // the transparent formats are structures
		k.Shape = shapeStructure
	}
	k.RoundTrips = true
}
