package keyform

import (
	"bytes"
	"encoding/hex"
	"strings"

	"kmipd/kmip"
)

// CertificateFacts are the attributes that a server sets from a certificate (KMIP 1.4 sections 3.4, 3.5, 3.8 to 3.16).
// Its byte slices are its own. Of a PGP certificate only Type and Length are known.
type CertificateFacts struct {
	Type   kmip.CertificateType
	Length int // octets
	// Algorithm, Bits and Curve are those of the subject's key; 0 for a key that KMIP has no name for.
	Algorithm kmip.CryptographicAlgorithm
	Bits      int
	Curve     kmip.RecommendedCurve
	Irregular bool // as in Facts
	// SignatureAlgorithm is 0 for a signature that KMIP has no name for.
	SignatureAlgorithm kmip.DigitalSignatureAlgorithm
	// UsageMask is what the keyUsage extension allows the public key; 0 when the certificate has none.
	UsageMask kmip.CryptographicUsageMask

	// Names are DER; a serial number is a whole DER INTEGER, and an alternative name a whole DER GeneralName. The
	// specification leaves the encoding open; the OASIS cases (TC-CERTATTR-1, TC-ECC-3) show it for the first two.
	X509Identifier kmip.X509CertificateIdentifier
	X509Subject    kmip.X509CertificateSubject
	X509Issuer     kmip.X509CertificateIssuer
	// The attributes of KMIP 1.0, deprecated since 1.1: text.
	Identifier kmip.CertificateIdentifier
	Subject    kmip.CertificateSubject
	Issuer     kmip.CertificateIssuer

	// SPKI is the subject's public key in the encoding that Parse gives a Public Key as its Value, so that the two can
	// be compared; a key that Parse would keep as opaque is as it stands in the certificate.
	SPKI []byte
}

// ParseCertificate reads a certificate. It checks the structure and nothing else: no signature, no dates, no key size, so
// that old and odd certificates can be kept. An X.509 certificate that is none is Invalid Field.
func ParseCertificate(cert *kmip.Certificate) (*CertificateFacts, error) {
	f := &CertificateFacts{Type: cert.CertificateType, Length: len(cert.CertificateValue)}
	if len(cert.CertificateValue) == 0 {
		return nil, invalid("Certificate Value is empty")
	}
	switch cert.CertificateType {
	case kmip.CertificateTypeX509:
	case kmip.CertificateTypePGP:
		return f, nil
	default:
		return nil, invalid("Certificate Type %s does not exist", cert.CertificateType)
	}
	top := reader{rest: bytes.Clone(cert.CertificateValue)}
	seq := top.enter(derSeq)
	tbs := seq.enter(derSeq)
	signature := parseAlgorithmID(seq)
	seq.next(derBits)
	if !top.done() || !seq.done() || !f.readTBS(tbs) {
		return nil, invalid("Certificate Value is not an X.509 certificate")
	}
	f.SignatureAlgorithm = signatureAlgorithms[string(signature.oid)]
	return f, nil
}

// readTBS reads a TBSCertificate (RFC 5280 section 4.1).
func (f *CertificateFacts) readTBS(r *reader) bool {
	if r.peek(derContext0) {
		version := r.enter(derContext0)
		version.small()
		if !version.done() {
			return false
		}
	}
	tag, serial, serialDER := r.any()
	parseAlgorithmID(r)
	issuerTag, _, issuer := r.any()
	validity := r.enter(derSeq)
	validity.any()
	validity.any()
	subjectTag, _, subject := r.any()
	spkiTag, _, spki := r.any()
	if r.failed || !validity.done() || tag != derInt || len(serial) == 0 || issuerTag != derSeq || subjectTag != derSeq ||
		spkiTag != derSeq {
		return false
	}
	issuerText, ok1 := nameText(issuer)
	subjectText, ok2 := nameText(subject)
	if !ok1 || !ok2 || !f.readKey(spki) {
		return false
	}
	number := serialText(serial)
	f.X509Identifier = kmip.X509CertificateIdentifier{IssuerDistinguishedName: issuer, CertificateSerialNumber: serialDER}
	f.X509Issuer.IssuerDistinguishedName = issuer
	f.X509Subject.SubjectDistinguishedName = subject
	if isEmptyName(subject) {
		// KMIP 1.4 section 3.11: the empty string, then with alternative names.
		f.X509Subject.SubjectDistinguishedName = []byte{}
	}
	f.Identifier = kmip.CertificateIdentifier{Issuer: issuerText, SerialNumber: &number}
	f.Issuer.CertificateIssuerDistinguishedName = issuerText
	f.Subject.CertificateSubjectDistinguishedName = subjectText
	return f.readTail(r)
}

func isEmptyName(name []byte) bool { return len(name) == 2 }

// readTail reads the unique identifiers and the extensions.
func (f *CertificateFacts) readTail(r *reader) bool {
	for len(r.rest) > 0 && !r.failed {
		if !r.peek(derContext3) {
			tag, _, _ := r.any()
			// [1] and [2], primitive since they are implicit BIT STRINGs.
			if tag != derPrimitive1 && tag != derPrimitive2 {
				return false
			}
			continue
		}
		outer := r.enter(derContext3)
		list := outer.enter(derSeq)
		for len(list.rest) > 0 && !list.failed {
			if !f.readExtension(list.enter(derSeq)) {
				return false
			}
		}
		if !outer.done() || list.failed {
			return false
		}
	}
	return !r.failed
}

var (
	oidKeyUsage       = []byte{0x55, 0x1d, 0x0f}
	oidSubjectAltName = []byte{0x55, 0x1d, 0x11}
	oidIssuerAltName  = []byte{0x55, 0x1d, 0x12}
)

func (f *CertificateFacts) readExtension(r *reader) bool {
	oid := r.next(derOID)
	if r.peek(derBool) {
		r.next(derBool)
	}
	value := &reader{rest: r.next(derOctets)}
	if !r.done() {
		return false
	}
	switch {
	case bytes.Equal(oid, oidKeyUsage):
		bits := value.next(derBits)
		if !value.done() || len(bits) == 0 || bits[0] > 7 {
			return false
		}
		f.UsageMask = usageMask(bits[1:])
	case bytes.Equal(oid, oidSubjectAltName):
		ders, texts, ok := generalNames(value)
		f.X509Subject.SubjectAlternativeName, f.Subject.CertificateSubjectAlternativeName = ders, texts
		return ok
	case bytes.Equal(oid, oidIssuerAltName):
		ders, texts, ok := generalNames(value)
		f.X509Issuer.IssuerAlternativeName, f.Issuer.CertificateIssuerAlternativeName = ders, texts
		return ok
	}
	return true
}

// usageMask maps keyUsage (RFC 5280 section 4.2.1.3) to what the public half of the key may do.
func usageMask(bits []byte) (mask kmip.CryptographicUsageMask) {
	for i, m := range []kmip.CryptographicUsageMask{
		kmip.CryptographicUsageMaskVerify,            // digitalSignature
		kmip.CryptographicUsageMaskContentCommitment, // nonRepudiation
		kmip.CryptographicUsageMaskWrapKey,           // keyEncipherment
		kmip.CryptographicUsageMaskEncrypt,           // dataEncipherment
		kmip.CryptographicUsageMaskKeyAgreement,      // keyAgreement
		kmip.CryptographicUsageMaskCertificateSign,   // keyCertSign
		kmip.CryptographicUsageMaskCRLSign,           // cRLSign
	} {
		if len(bits) > 0 && bits[0]&(0x80>>i) != 0 {
			mask |= m
		}
	}
	return mask
}

// readKey reads the subject's key. A key that cannot be understood leaves zeros; only a broken structure fails.
func (f *CertificateFacts) readKey(spki []byte) bool {
	if _, _, ok := parseSPKI(spki); !ok {
		return false
	}
	f.SPKI = spki
	in := input{object: kmip.ObjectTypePublicKey, format: kmip.KeyFormatTypeX509, material: octetString(spki)}
	if k, err := in.spkiPublic(); err == nil {
		f.Algorithm, f.Bits, f.Curve, f.Irregular, f.SPKI = k.Algorithm, k.Bits, k.Curve, k.Irregular, k.Value
	}
	return true
}

// serialText is a serial number as the OASIS cases write it in the Certificate Identifier of KMIP 1.0: hexadecimal in
// upper case, whole octets, without the zero octet that only keeps it positive.
func serialText(serial []byte) string {
	if len(serial) > 1 && serial[0] == 0 {
		serial = serial[1:]
	}
	return strings.ToUpper(hex.EncodeToString(serial))
}

// signatureAlgorithms are the object identifiers of the Digital Signature Algorithm enumeration (KMIP 1.4 section
// 9.1.3.2.7).
var signatureAlgorithms = map[string]kmip.DigitalSignatureAlgorithm{
	pkcs1OID(2):     kmip.DigitalSignatureAlgorithmMD2WithRSAEncryptionPKCS1V1_5,
	pkcs1OID(4):     kmip.DigitalSignatureAlgorithmMD5WithRSAEncryptionPKCS1V1_5,
	pkcs1OID(5):     kmip.DigitalSignatureAlgorithmSHA1WithRSAEncryptionPKCS1V1_5,
	pkcs1OID(14):    kmip.DigitalSignatureAlgorithmSHA224WithRSAEncryptionPKCS1V1_5,
	pkcs1OID(11):    kmip.DigitalSignatureAlgorithmSHA256WithRSAEncryptionPKCS1V1_5,
	pkcs1OID(12):    kmip.DigitalSignatureAlgorithmSHA384WithRSAEncryptionPKCS1V1_5,
	pkcs1OID(13):    kmip.DigitalSignatureAlgorithmSHA512WithRSAEncryptionPKCS1V1_5,
	pkcs1OID(10):    kmip.DigitalSignatureAlgorithmRSASSAPSSPKCS1V2_1,
	dsaSHA1OID:      kmip.DigitalSignatureAlgorithmDSAWithSHA1,
	nistSigOID(1):   kmip.DigitalSignatureAlgorithmDSAWithSHA224,
	nistSigOID(2):   kmip.DigitalSignatureAlgorithmDSAWithSHA256,
	ecdsaSHA1OID:    kmip.DigitalSignatureAlgorithmECDSAWithSHA1,
	ecdsaSHA2OID(1): kmip.DigitalSignatureAlgorithmECDSAWithSHA224,
	ecdsaSHA2OID(2): kmip.DigitalSignatureAlgorithmECDSAWithSHA256,
	ecdsaSHA2OID(3): kmip.DigitalSignatureAlgorithmECDSAWithSHA384,
	ecdsaSHA2OID(4): kmip.DigitalSignatureAlgorithmECDSAWithSHA512,
	nistSigOID(14):  kmip.DigitalSignatureAlgorithmSHA3_256WithRSAEncryption,
	nistSigOID(15):  kmip.DigitalSignatureAlgorithmSHA3_384WithRSAEncryption,
	nistSigOID(16):  kmip.DigitalSignatureAlgorithmSHA3_512WithRSAEncryption,
}

const (
	dsaSHA1OID   = "\x2a\x86\x48\xce\x38\x04\x03"
	ecdsaSHA1OID = "\x2a\x86\x48\xce\x3d\x04\x01"
)

// pkcs1OID is 1.2.840.113549.1.1.n, nistSigOID 2.16.840.1.101.3.4.3.n, ecdsaSHA2OID 1.2.840.10045.4.3.n.
func pkcs1OID(n byte) string     { return "\x2a\x86\x48\x86\xf7\x0d\x01\x01" + string(rune(n)) }
func nistSigOID(n byte) string   { return "\x60\x86\x48\x01\x65\x03\x04\x03" + string(rune(n)) }
func ecdsaSHA2OID(n byte) string { return "\x2a\x86\x48\xce\x3d\x04\x03" + string(rune(n)) }
