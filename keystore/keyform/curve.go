package keyform

import (
	"bytes"
	"crypto/ecdh"
	"crypto/elliptic"

	"kmipd/kmip"
)

// curve is an elliptic curve with a name. Keys on a curve without ecdh are kept as opaque octets.
type curve struct {
	name kmip.RecommendedCurve
	bits int
	oid  []byte // contents of the OBJECT IDENTIFIER
	// ecdh checks points and multiplies; elliptic expands compressed points.
	ecdh     ecdh.Curve
	elliptic elliptic.Curve
}

// size is the length of a field element in octets.
func (c *curve) size() int { return (c.bits + 7) / 8 }

var curves = []curve{
	{kmip.RecommendedCurveP256, 256, ansi(1, 7), ecdh.P256(), elliptic.P256()},
	{kmip.RecommendedCurveP384, 384, certicom(34), ecdh.P384(), elliptic.P384()},
	{kmip.RecommendedCurveP521, 521, certicom(35), ecdh.P521(), elliptic.P521()},
	{kmip.RecommendedCurveP192, 192, ansi(1, 1), nil, nil},
	{kmip.RecommendedCurveP224, 224, certicom(33), nil, nil},
	{kmip.RecommendedCurveK163, 163, certicom(1), nil, nil},
	{kmip.RecommendedCurveB163, 163, certicom(15), nil, nil},
	{kmip.RecommendedCurveK233, 233, certicom(26), nil, nil},
	{kmip.RecommendedCurveB233, 233, certicom(27), nil, nil},
	{kmip.RecommendedCurveK283, 283, certicom(16), nil, nil},
	{kmip.RecommendedCurveB283, 283, certicom(17), nil, nil},
	{kmip.RecommendedCurveK409, 409, certicom(36), nil, nil},
	{kmip.RecommendedCurveB409, 409, certicom(37), nil, nil},
	{kmip.RecommendedCurveK571, 571, certicom(38), nil, nil},
	{kmip.RecommendedCurveB571, 571, certicom(39), nil, nil},
	{kmip.RecommendedCurveSECP160K1, 160, certicom(9), nil, nil},
	{kmip.RecommendedCurveSECP160R1, 160, certicom(8), nil, nil},
	{kmip.RecommendedCurveSECP192K1, 192, certicom(31), nil, nil},
	{kmip.RecommendedCurveSECP224K1, 224, certicom(32), nil, nil},
	{kmip.RecommendedCurveSECP256K1, 256, certicom(10), nil, nil},
	{kmip.RecommendedCurveBRAINPOOLP160R1, 160, brainpool(1), nil, nil},
	{kmip.RecommendedCurveBRAINPOOLP192R1, 192, brainpool(3), nil, nil},
	{kmip.RecommendedCurveBRAINPOOLP224R1, 224, brainpool(5), nil, nil},
	{kmip.RecommendedCurveBRAINPOOLP256R1, 256, brainpool(7), nil, nil},
	{kmip.RecommendedCurveBRAINPOOLP256T1, 256, brainpool(8), nil, nil},
	{kmip.RecommendedCurveBRAINPOOLP320R1, 320, brainpool(9), nil, nil},
	{kmip.RecommendedCurveBRAINPOOLP384R1, 384, brainpool(11), nil, nil},
	{kmip.RecommendedCurveBRAINPOOLP384T1, 384, brainpool(12), nil, nil},
	{kmip.RecommendedCurveBRAINPOOLP512R1, 512, brainpool(13), nil, nil},
	{kmip.RecommendedCurveBRAINPOOLP512T1, 512, brainpool(14), nil, nil},
}

// ansi is 1.2.840.10045.3.a.b, certicom 1.3.132.0.n, brainpool 1.3.36.3.3.2.8.1.1.n.
func ansi(a, b byte) []byte   { return []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, a, b} }
func certicom(n byte) []byte  { return []byte{0x2b, 0x81, 0x04, 0x00, n} }
func brainpool(n byte) []byte { return []byte{0x2b, 0x24, 0x03, 0x03, 0x02, 0x08, 0x01, 0x01, n} }

func curveByOID(oid []byte) *curve {
	for i := range curves {
		if bytes.Equal(curves[i].oid, oid) {
			return &curves[i]
		}
	}
	return nil
}

func curveByName(name kmip.RecommendedCurve) *curve {
	for i := range curves {
		if curves[i].name == name {
			return &curves[i]
		}
	}
	return nil
}

// curveByBits is the NIST prime curve of a length, for keys that do not tell their curve.
func curveByBits(bits int) *curve {
	for i := range curves {
		if curves[i].ecdh != nil && curves[i].bits == bits {
			return &curves[i]
		}
	}
	return nil
}

// The encodings of a point (X9.62, SEC 1 section 2.3.3).
type pointForm uint8

const (
	pointUncompressed pointForm = iota
	pointCompressed
	pointHybrid
)

// parsePoint reads a point in any of its encodings and returns the uncompressed one. It fails for the point at infinity
// and for points that are not on the curve.
func (c *curve) parsePoint(b []byte) (point []byte, form pointForm, ok bool) {
	size := c.size()
	switch {
	case len(b) == 1+2*size && b[0] == 4:
		point = bytes.Clone(b)
	case len(b) == 1+2*size && (b[0] == 6 || b[0] == 7) && b[0]&1 == b[2*size]&1:
		point, form = bytes.Clone(b), pointHybrid
		point[0] = 4
	case len(b) == 1+size && (b[0] == 2 || b[0] == 3):
		x, y := elliptic.UnmarshalCompressed(c.elliptic, b)
		if x == nil {
			return nil, 0, false
		}
		point, form = make([]byte, 1+2*size), pointCompressed
		point[0] = 4
		x.FillBytes(point[1 : 1+size])
		y.FillBytes(point[1+size:])
	default:
		return nil, 0, false
	}
	_, err := c.ecdh.NewPublicKey(point)
	return point, form, err == nil
}

// compress is the compressed encoding of an uncompressed point.
func (c *curve) compress(point []byte) []byte {
	size := c.size()
	return append([]byte{2 | point[2*size]&1}, point[1:1+size]...)
}
