package keyform

import (
	"bytes"
	"math/big"

	"kmipd/hsm"
	"kmipd/kmip"
)

var oidEC = []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01} // id-ecPublicKey

// ecKey is an elliptic curve key on a curve that the token takes. d is absent from a public key, and has the length of
// the curve otherwise; point is uncompressed.
type ecKey struct {
	curve *curve
	d     []byte
	point []byte
}

func (k *ecKey) wipe() { clear(k.d) }

// sec1 is an ECPrivateKey (RFC 5915) as it stands.
type sec1 struct {
	d      []byte // shares the input's memory
	params []byte // contents of the parameters' OBJECT IDENTIFIER, if they are one
	// explicit tells parameters that are no OBJECT IDENTIFIER.
	explicit bool
	point    []byte // nil without public key
}

func parseSEC1(b []byte) (s sec1, ok bool) {
	top := reader{rest: b}
	seq := top.enter(derSeq)
	version := seq.small()
	s.d = seq.next(derOctets)
	if seq.peek(derContext0) {
		params := seq.enter(derContext0)
		s.params, s.explicit = parseECParameters(params)
		if params.failed {
			return s, false
		}
	}
	if seq.peek(derContext1) {
		public := seq.enter(derContext1)
		s.point = public.bits()
		if !public.done() {
			return s, false
		}
	}
	return s, top.done() && seq.done() && version == 1 && len(s.d) > 0
}

// parseECParameters reads ECParameters (RFC 5480 section 2.1.1): a named curve, or something older.
func parseECParameters(r *reader) (oid []byte, explicit bool) {
	if r.peek(derOID) {
		oid = r.next(derOID)
	} else {
		r.any()
		explicit = true
	}
	if !r.done() {
		r.failed = true
	}
	return oid, explicit
}

// ecPrivateDER makes a Key of an ECPrivateKey. outer is the curve that a PKCS#8 around it names.
func (in *input) ecPrivateDER(s sec1, outer []byte, explicit bool) (*Key, error) {
	oid := s.params
	if outer != nil {
		if oid != nil && !bytes.Equal(oid, outer) {
			return nil, invalid("Key Material names two curves")
		}
		oid = outer
	}
	c, err := in.findCurve(oid, s.explicit || explicit)
	if err != nil {
		return nil, err
	}
	if c == nil || c.ecdh == nil {
		return in.opaqueEC(c)
	}
	var shape Shape
	if s.point == nil {
		shape |= shapeNoPoint
	}
	if wantParams := in.format == kmip.KeyFormatTypeECPrivateKey; (s.params != nil) != wantParams {
		shape |= shapeFlipParams
	}
	d, ok := padScalar(s.d, c.size())
	if !ok {
		return nil, invalid("Key Material has a private value longer than its curve %s", c.name)
	}
	k := &ecKey{curve: c, d: d}
	defer k.wipe()
	if err := k.derivePoint(); err != nil {
		return nil, err
	}
	if s.point != nil {
		point, form, ok := c.parsePoint(s.point)
		if !ok || !bytes.Equal(point, k.point) {
			return nil, invalid("Key Material has a public key that is not the private key's")
		}
		if form == pointCompressed {
			shape |= shapeCompressed
		}
	}
	return in.ecKey(k, FormPrivate, shape)
}

// opaqueEC is a key on a curve that the token does not take.
func (in *input) opaqueEC(c *curve) (*Key, error) {
	if c == nil {
		return in.opaqueKey(kmip.CryptographicAlgorithmECDSA, 0, 0)
	}
	return in.opaqueKey(kmip.CryptographicAlgorithmECDSA, c.bits, c.name)
}

// findCurve takes the curve from the key, else from the Cryptographic Domain Parameters, else from the length. It is nil
// for a curve that has no name here.
func (in *input) findCurve(oid []byte, explicit bool) (*curve, error) {
	outside := curveByName(in.curve)
	if oid != nil {
		c := curveByOID(oid)
		if in.curve != 0 && (c == nil || c.name != in.curve) {
			return nil, invalid("Recommended Curve is %s, but the Key Material names another curve", in.curve)
		}
		return c, nil
	}
	if explicit {
		return nil, nil
	}
	if in.curve != 0 {
		return outside, nil
	}
	for _, n := range in.declared {
		if c := curveByBits(n); c != nil {
			return c, nil
		}
	}
	return nil, invalid("Recommended Curve is neither in the Key Material nor an attribute")
}

// padScalar is a copy of d with the given length. RFC 5915 wants leading zeros; some writers leave them out, and some
// add one too many.
func padScalar(d []byte, size int) ([]byte, bool) {
	for len(d) > size && d[0] == 0 {
		d = d[1:]
	}
	if len(d) > size {
		return nil, false
	}
	out := make([]byte, size)
	copy(out[size-len(d):], d)
	return out, true
}

// derivePoint computes the public point, which also checks that d is from 1 to the order of the curve less one.
func (k *ecKey) derivePoint() error {
	private, err := k.curve.ecdh.NewPrivateKey(k.d)
	if err != nil {
		return invalid("Key Material is not a private key on curve %s", k.curve.name)
	}
	k.point = private.PublicKey().Bytes()
	return nil
}

func (in *input) ecKey(k *ecKey, form Form, shape Shape) (*Key, error) {
	f := Facts{Form: form, Token: hsm.KeyEC, Algorithm: kmip.CryptographicAlgorithmECDSA, Bits: k.curve.bits,
		Curve: k.curve.name, Shape: shape}
	if in.format == kmip.KeyFormatTypeTransparentECDHPrivateKey || in.format == kmip.KeyFormatTypeTransparentECDHPublicKey {
		f.Algorithm = kmip.CryptographicAlgorithmECDH
	}
	if form == FormPrivate {
		return in.asymmetricKey(f, k.pkcs8)
	}
	return in.asymmetricKey(f, func() hsm.Material { return k.spki(pointUncompressed) })
}

// transparentECPrivate reads the structure that KMIP 1.4 sections 2.1.7.8, 2.1.7.10 and 2.1.7.14 share.
func (in *input) transparentECPrivate() (*Key, error) {
	var t kmip.TransparentECPrivateKey
	if err := t.Decode(in.material); err != nil {
		return nil, err
	}
	defer wipe(t.D)
	c, err := in.transparentCurve(t.RecommendedCurve)
	if err != nil {
		return nil, err
	}
	if t.D.Sign() <= 0 {
		return nil, invalid("D must be positive")
	}
	if c.ecdh == nil {
		return in.opaqueEC(c)
	}
	if t.D.BitLen() > c.bits {
		return nil, invalid("D is longer than its curve %s", c.name)
	}
	k := &ecKey{curve: c, d: t.D.FillBytes(make([]byte, c.size()))}
	defer k.wipe()
	if err := k.derivePoint(); err != nil {
		return nil, err
	}
	return in.ecKey(k, FormPrivate, 0)
}

// transparentECPublic reads the structure that KMIP 1.4 sections 2.1.7.9, 2.1.7.11 and 2.1.7.15 share.
func (in *input) transparentECPublic() (*Key, error) {
	var t kmip.TransparentECPublicKey
	if err := t.Decode(in.material); err != nil {
		return nil, err
	}
	c, err := in.transparentCurve(t.RecommendedCurve)
	if err != nil {
		return nil, err
	}
	if c.ecdh == nil {
		return in.opaqueEC(c)
	}
	return in.ecPublicPoint(c, t.QString)
}

func (in *input) transparentCurve(name kmip.RecommendedCurve) (*curve, error) {
	if in.curve != 0 && in.curve != name {
		return nil, invalid("Recommended Curve is %s in the Key Material and %s as attribute", name, in.curve)
	}
	if c := curveByName(name); c != nil {
		return c, nil
	}
	// A curve whose length is not known here: the client must have told it.
	if !kmip.EnumKnownIn("RecommendedCurve", uint32(name), kmip.V2_1) && name < 0x80000000 {
		return nil, invalid("Recommended Curve %s does not exist", name)
	}
	if len(in.declared) == 0 {
		return nil, invalid("Cryptographic Length is neither in the Key Block nor an attribute, and curve %s does not tell it", name)
	}
	return &curve{name: name, bits: in.declared[0]}, nil
}

// ecPublicPoint makes a Key of a point, whose encoding must be the one that Key Compression Type says, if it is there.
func (in *input) ecPublicPoint(c *curve, encoded []byte) (*Key, error) {
	point, form, ok := c.parsePoint(encoded)
	if !ok {
		return nil, invalid("Key Material is not a point on curve %s", c.name)
	}
	if in.compression != 0 {
		want, err := formOf(in.compression)
		if err != nil {
			return nil, err
		}
		if form != want {
			return nil, invalid("Key Compression Type is %s, but the Key Material is encoded otherwise", in.compression)
		}
	}
	var shape Shape
	if form == pointCompressed {
		shape = shapeCompressed
	}
	return in.ecKey(&ecKey{curve: c, point: point}, FormPublic, shape)
}

// formOf is the point encoding that a Key Compression Type asks for. Char2 is for curves that are not here, and a hybrid
// encoding has no use.
func formOf(t kmip.KeyCompressionType) (pointForm, error) {
	switch t {
	case 0, kmip.KeyCompressionTypeECPublicKeyTypeUncompressed:
		return pointUncompressed, nil
	case kmip.KeyCompressionTypeECPublicKeyTypeX9_62CompressedPrime:
		return pointCompressed, nil
	}
	return 0, kmip.Errorf(kmip.ResultReasonKeyCompressionTypeNotSupported, "Key Compression Type %s is not supported", t)
}

// encodedPoint is the point in a form; the result shares the key's memory.
func (k *ecKey) encodedPoint(form pointForm) []byte {
	if form == pointCompressed {
		return k.curve.compress(k.point)
	}
	return k.point
}

func (k *ecKey) algorithm() []byte { return der(derSeq, der(derOID, oidEC), der(derOID, k.curve.oid)) }

func (k *ecKey) spki(form pointForm) []byte {
	return der(derSeq, k.algorithm(), der(derBits, []byte{0}, k.encodedPoint(form)))
}

// sec1 writes an ECPrivateKey. The caller wipes the result.
func (k *ecKey) sec1(params bool, shape Shape) []byte {
	d := der(derOctets, k.d)
	defer clear(d)
	var p, q []byte
	if params {
		p = der(derContext0, der(derOID, k.curve.oid))
	}
	if shape&shapeNoPoint == 0 {
		form := pointUncompressed
		if shape&shapeCompressed != 0 {
			form = pointCompressed
		}
		q = der(derContext1, der(derBits, []byte{0}, k.encodedPoint(form)))
	}
	return der(derSeq, []byte{derInt, 1, 1}, d, p, q)
}

// pkcs8 is the value for the token: without the parameters inside, which the algorithm names, and with the point.
func (k *ecKey) pkcs8() hsm.Material { return k.shapedPKCS8(0) }

func (k *ecKey) shapedPKCS8(shape Shape) hsm.Material {
	inner := derSecret(derOctets, k.sec1(shape&shapeFlipParams != 0, shape))
	defer clear(inner)
	return der(derSeq, []byte{derInt, 1, 0}, k.algorithm(), inner)
}

func (k *ecKey) appendTransparentPrivate(b []byte) []byte {
	t := kmip.TransparentECPrivateKey{RecommendedCurve: k.curve.name, D: new(big.Int).SetBytes(k.d)}
	defer wipe(t.D)
	return t.Append(b, kmip.TagKeyMaterial, kmip.V1_4)
}

func (k *ecKey) appendTransparentPublic(b []byte, form pointForm) []byte {
	t := kmip.TransparentECPublicKey{RecommendedCurve: k.curve.name, QString: k.encodedPoint(form)}
	return t.Append(b, kmip.TagKeyMaterial, kmip.V1_4)
}
