package evidence

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
)

// Algorithm is how reports are signed: ECDSA on P-384 over SHA-384 (FIPS 186-5), the signature in DER.
const Algorithm = "ECDSA-P384-SHA384"

// Envelope is a document with its signature: the file that kmipd fips report --json writes. Document is signed as it stands,
// octet for octet, so that any tool that reads JSON and verifies ECDSA can check it.
type Envelope struct {
	Format    string `json:"format"` // Schema
	Algorithm string `json:"algorithm"`
	KeySHA256 string `json:"key_sha256"` // of PublicKey, in hexadecimal
	PublicKey []byte `json:"public_key"` // DER SubjectPublicKeyInfo
	Signature []byte `json:"signature"`  // over SHA-384 of Document
	// PageSignature is over SHA-384 of a page, up to the envelope in it; only there.
	PageSignature []byte `json:"page_signature,omitempty"`
	// Unsigned is why there is no signature: in the error state the token signs nothing. Such a report proves nothing.
	Unsigned string `json:"unsigned,omitempty"`
	Document string `json:"document"` // JSON
}

// The errors of Open and Verify besides those of JSON. Wrapped, with what differs.
var (
	ErrNotEvidence = errors.New("this is no report of kmipd")
	ErrTampered    = errors.New("the report is not as it was signed")
	ErrUnsigned    = errors.New("the report is not signed")
	ErrOtherKey    = errors.New("the report is signed by another key")
)

// Signer signs with the evidence key: a crypto.Signer on P-384.
type Signer interface {
	crypto.Signer
}

// Seal signs a document and gives the file, and the SHA-256 of the document in hexadecimal for the chain. A nil signer
// leaves it unsigned for the reason given.
func Seal(d *Document, signer Signer, unsigned string) (*Envelope, string, error) {
	b, err := json.Marshal(d)
	if err != nil {
		return nil, "", fmt.Errorf("encoding the report: %w", err)
	}
	sum := sha256.Sum256(b)
	e := &Envelope{Format: Schema, Document: string(b), Unsigned: unsigned}
	if signer == nil {
		return e, hex.EncodeToString(sum[:]), nil
	}
	e.Unsigned = ""
	e.Algorithm = Algorithm
	if e.PublicKey, err = x509.MarshalPKIXPublicKey(signer.Public()); err != nil {
		return nil, "", fmt.Errorf("the key of the report: %w", err)
	}
	e.KeySHA256 = hexSHA256(e.PublicKey)
	e.Signature, err = sign(signer, b)
	return e, hex.EncodeToString(sum[:]), err
}

func sign(signer Signer, b []byte) ([]byte, error) {
	digest := sha512.Sum384(b)
	sig, err := signer.Sign(nil, digest[:], crypto.SHA384)
	if err != nil {
		return nil, fmt.Errorf("signing the report: %w", err)
	}
	return sig, nil
}

func hexSHA256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Encode is the file of an envelope. There is one encoding of each: Open wants it.
func (e *Envelope) Encode() ([]byte, error) {
	b, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding the report: %w", err)
	}
	return append(b, '\n'), nil
}

// Verified is what Open found.
type Verified struct {
	Document  *Document
	SHA256    string // of the document: PreviousSHA256 of the next one
	KeySHA256 string
	PublicKey []byte // DER
	Page      bool   // it was an HTML page, whose text is signed, too
}

// Open reads a report, as JSON or as a page, and verifies its signature. key is the DER public key that must have signed it;
// nil takes the one in the report, which proves only that the report is whole and says who signed it. Every octet of the
// file is covered. Errors: ErrNotEvidence, ErrTampered, ErrUnsigned (with a Verified that holds the document), ErrOtherKey.
func Open(file, key []byte) (*Verified, error) {
	page, inner := split(file)
	e, err := decode(inner)
	if err != nil {
		return nil, err
	}
	if page != nil && !bytes.Equal(assemble(page, inner), file) {
		return nil, fmt.Errorf("%w: there is text after the envelope", ErrTampered)
	}
	d := &Document{}
	if err := strictly([]byte(e.Document), d); err != nil || d.Schema != Schema {
		return nil, fmt.Errorf("%w: the document is not of %s", ErrNotEvidence, Schema)
	}
	v := &Verified{Document: d, SHA256: hexSHA256([]byte(e.Document)), KeySHA256: e.KeySHA256, PublicKey: e.PublicKey, Page: page != nil}
	if len(e.Signature) == 0 {
		return v, fmt.Errorf("%w: %q", ErrUnsigned, e.Unsigned)
	}
	if e.Algorithm != Algorithm || e.Unsigned != "" || hexSHA256(e.PublicKey) != e.KeySHA256 || (page == nil) != (len(e.PageSignature) == 0) {
		return nil, fmt.Errorf("%w: the fields of the envelope do not fit together", ErrTampered)
	}
	if key != nil && !bytes.Equal(key, e.PublicKey) {
		return nil, fmt.Errorf("%w, with the fingerprint %s", ErrOtherKey, e.KeySHA256)
	}
	public, err := parseKey(e.PublicKey)
	if err != nil {
		return nil, err
	}
	if !verify(public, []byte(e.Document), e.Signature) {
		return nil, fmt.Errorf("%w: the signature of the document does not verify", ErrTampered)
	}
	if page != nil && (!verify(public, page, e.PageSignature) || !bytes.Contains(page, documentRow(v.SHA256))) {
		return nil, fmt.Errorf("%w: the signature of the page does not verify", ErrTampered)
	}
	return v, nil
}

// decode reads an envelope in its one encoding.
func decode(b []byte) (*Envelope, error) {
	e := &Envelope{}
	if err := json.Unmarshal(b, e); err != nil || e.Format != Schema {
		return nil, fmt.Errorf("%w: it has no envelope of %s", ErrNotEvidence, Schema)
	}
	again, err := e.Encode()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, b) {
		return nil, fmt.Errorf("%w: the envelope is written otherwise", ErrTampered)
	}
	return e, nil
}

// strictly decodes JSON whose every field is known.
func strictly(b []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	return dec.Decode(into)
}

func parseKey(der []byte) (*ecdsa.PublicKey, error) {
	parsed, err := x509.ParsePKIXPublicKey(der)
	if public, ok := parsed.(*ecdsa.PublicKey); err == nil && ok && public.Curve == elliptic.P384() {
		return public, nil
	}
	return nil, fmt.Errorf("%w: the key is not one of ECDSA on P-384", ErrTampered)
}

func verify(public *ecdsa.PublicKey, b, sig []byte) bool {
	digest := sha512.Sum384(b)
	return ecdsa.VerifyASN1(public, digest[:], sig)
}

// ParseKey reads a public key for Open: PEM (PUBLIC KEY, or a certificate) or DER.
func ParseKey(b []byte) ([]byte, error) {
	if block, _ := pem.Decode(b); block != nil {
		b = block.Bytes
		if block.Type == "CERTIFICATE" {
			cert, err := x509.ParseCertificate(b)
			if err != nil {
				return nil, fmt.Errorf("the certificate cannot be read: %w", err)
			}
			b = cert.RawSubjectPublicKeyInfo
		}
	}
	if _, err := parseKey(b); err != nil {
		return nil, errors.New("the file holds no public key of ECDSA on P-384, in PEM or DER")
	}
	return b, nil
}
