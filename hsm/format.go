package hsm

import (
	"bytes"

	"kmipd/hsm/internal/keywrap"
)

// formatKind is what a wrap mechanism really produces. The numbers do not say: 0x210A is RFC 5649 on SoftHSM and PKCS #7
// padding under RFC 3394 on NSS.
type formatKind uint8

const (
	formatKWP   formatKind = iota + 1 // RFC 5649
	formatPKCS7                       // PKCS #7 padding to 8 octets, then RFC 3394
	formatKW                          // RFC 3394
)

// format is a wrap mechanism together with what it was found to produce.
type format struct {
	code uint // CKM_
	kind formatKind
}

// The AES key wrap mechanisms. PKCS#11 3.0 gave KWP a number of its own.
const (
	ckmAESKeyWrap    = 0x2109
	ckmAESKeyWrapPad = 0x210A
	ckmAESKeyWrapKWP = 0x210B
)

// seal wraps in software.
func (f format) seal(key, value []byte) ([]byte, error) {
	switch f.kind {
	case formatKWP:
		return keywrap.WrapKWP(key, value)
	case formatPKCS7:
		n := 8 - len(value)%8
		padded := append(append(make([]byte, 0, len(value)+n), value...), bytes.Repeat([]byte{byte(n)}, n)...)
		defer clear(padded)
		return keywrap.WrapKW(key, padded)
	}
	return keywrap.WrapKW(key, value)
}

// open unwraps in software.
func (f format) open(key, blob []byte) ([]byte, error) {
	if f.kind == formatKWP {
		return keywrap.UnwrapKWP(key, blob)
	}
	value, err := keywrap.UnwrapKW(key, blob)
	if err != nil || f.kind == formatKW {
		return value, err
	}
	n := int(value[len(value)-1])
	if n < 1 || n > 8 || !bytes.Equal(value[len(value)-n:], bytes.Repeat([]byte{byte(n)}, n)) {
		clear(value)
		return nil, keywrap.ErrInvalid
	}
	return value[:len(value)-n], nil
}

// traits are what the probe found out about how the token moves keys.
type traits struct {
	out, in format // for the transport key
	kw, kwp uint   // CKM_ of true RFC 3394 and RFC 5649 wrapping, 0 when there is none
	// pads: values are filled with zeros to a multiple of 8 before they are wrapped, and KWP records the filled length
	// (SoftHSM).
	pads bool
	// pairsByCopy: RSA pairs are made as session objects and copied, since making them takes long and the mutation lock
	// would be held so long otherwise.
	pairsByCopy bool
	// HMAC keys: the token takes AES keys for it, and keys shorter than the digest (NSS; SoftHSM takes neither).
	hmacAnyType, hmacAnyLength bool
}

// findFormats finds the mechanisms that work both ways by what they produce.
func (d *device) findFormats(k *transportKey) error {
	var outs, ins []format
	for _, kind := range []formatKind{formatKWP, formatPKCS7, formatKW} {
		for _, code := range []uint{ckmAESKeyWrapKWP, ckmAESKeyWrapPad, ckmAESKeyWrap} {
			f := format{code, kind}
			h, value, err := d.probeOut(k, f)
			if f := fateOf(err); f == fateDoor || f == fateDevice {
				return err
			}
			if err == nil {
				clear(value)
				if err := d.p11.destroyObject(d.anchor, h); err != nil {
					return err
				}
				outs = append(outs, f)
			}
		}
	}
	if len(outs) == 0 {
		return refuse(KindUnsupported, "no AES key wrap mechanism")
	}
	for _, f := range outs {
		if err := d.probeIn(k, f, outs[0]); err == nil {
			ins = append(ins, f)
		}
	}
	if len(ins) == 0 {
		return refuse(KindUnsupported, "no AES key unwrap mechanism")
	}
	d.traits.out, d.traits.in = outs[0], ins[0]
	for _, f := range ins {
		switch {
		case f.kind == formatKW && d.traits.kw == 0:
			d.traits.kw = f.code
		case f.kind == formatKWP && d.traits.kwp == 0:
			d.traits.kwp = f.code
		}
	}
	return nil
}
