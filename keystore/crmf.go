package keystore

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"time"

	"kmipd/fips"
)

// Certificate Request Message Format (RFC 4211), as far as a request for one certificate with a proof of possession by
// signature needs it. Everything else, such as a proof by the word of a registration authority, is no "signed certificate
// request" (KMIP 1.4 section 11.8).

var errCRMF = errors.New("not a CertReqMessages of RFC 4211")

// readCRMF reads a CertReqMessages, or a single CertReqMsg.
func readCRMF(pol *fips.Policy, der []byte) (*wish, error) {
	request, proof, err := certReqMsg(append([]byte(nil), der...))
	if err != nil {
		return nil, notSigned("it is not CRMF", err)
	}
	members, err := membersOf(request.Bytes)
	if err != nil || len(members) < 2 || !isUniversal(members[0], asn1.TagInteger) || !isUniversal(members[1], asn1.TagSequence) {
		return nil, notSigned("it is not CRMF", errCRMF)
	}
	w := &wish{}
	spki, err := w.certTemplate(members[1].Bytes)
	if err != nil {
		return nil, notSigned("its template is not well formed", err)
	}
	if spki == nil || w.subject == nil && w.names == nil {
		// Only then does the signature cover what it proves (RFC 4211 section 4.1, clause 3).
		return nil, notSigned("its template lacks subject or public key", nil)
	}
	algorithm, signature, err := signatureProof(proof)
	if err != nil {
		return nil, notSigned("it has no proof of possession by signature", err)
	}
	signed, err := signedWith(spki, algorithm)
	if err != nil {
		return nil, notSigned("key or signature algorithm is not supported", err)
	}
	if err := allowsRequest(pol, signed.SignatureAlgorithm, signed.PublicKey); err != nil {
		return nil, err
	}
	check := x509.Certificate{PublicKey: signed.PublicKey}
	if err := check.CheckSignature(signed.SignatureAlgorithm, request.FullBytes, signature); err != nil {
		return nil, notSigned("its signature is not valid", err)
	}
	w.key = signed.PublicKey
	return w, nil
}

// membersOf are the values that follow each other in b.
func membersOf(b []byte) ([]asn1.RawValue, error) {
	var out []asn1.RawValue
	for len(b) > 0 {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(b, &v)
		if err != nil {
			return nil, err
		}
		if len(out) == 64 {
			return nil, errCRMF
		}
		out, b = append(out, v), rest
	}
	return out, nil
}

func isUniversal(v asn1.RawValue, tag int) bool {
	return v.Class == asn1.ClassUniversal && v.Tag == tag
}

func isContext(v asn1.RawValue, tag int) bool {
	return v.Class == asn1.ClassContextSpecific && v.Tag == tag
}

// certReqMsg finds CertRequest and ProofOfPossession.
func certReqMsg(der []byte) (request, proof asn1.RawValue, err error) {
	var top asn1.RawValue
	if err := unmarshalAll(der, &top); err != nil || !isUniversal(top, asn1.TagSequence) {
		return request, proof, errCRMF
	}
	msg, err := membersOf(top.Bytes)
	if err != nil || len(msg) == 0 {
		return request, proof, errCRMF
	}
	first, err := membersOf(msg[0].Bytes)
	if err != nil || len(first) == 0 {
		return request, proof, errCRMF
	}
	if !isUniversal(first[0], asn1.TagInteger) { // a CertReqMessages: its one member
		if len(msg) != 1 {
			return request, proof, errors.New("only a single certificate can be requested at a time")
		}
		msg = first
	}
	if len(msg) < 2 || !isUniversal(msg[0], asn1.TagSequence) {
		return request, proof, errCRMF
	}
	return msg[0], msg[1], nil
}

// The fields of CertTemplate (RFC 4211 section 5). The others are not the requester's to choose.
const (
	templateValidity   = 4
	templateSubject    = 5
	templateKey        = 6
	templateExtensions = 9
)

// certTemplate reads the fields of a CertTemplate and returns the SubjectPublicKeyInfo.
func (w *wish) certTemplate(b []byte) (spki []byte, err error) {
	fields, err := membersOf(b)
	if err != nil {
		return nil, err
	}
	for _, f := range fields {
		if f.Class != asn1.ClassContextSpecific {
			return nil, errCRMF
		}
		switch f.Tag {
		case templateValidity:
			err = w.optionalValidity(f.Bytes)
		case templateSubject: // explicit, as Name is a CHOICE
			var rdns pkix.RDNSequence
			if err = unmarshalAll(f.Bytes, &rdns); err == nil && len(rdns) > 0 {
				w.subject = f.Bytes
			}
		case templateKey:
			spki, err = sequence(f.Bytes)
		case templateExtensions:
			var der []byte
			var list []pkix.Extension
			if der, err = sequence(f.Bytes); err == nil {
				if err = unmarshalAll(der, &list); err == nil {
					err = w.take(list)
				}
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return spki, nil
}

// sequence gives an implicitly tagged SEQUENCE its own tag back.
func sequence(contents []byte) ([]byte, error) {
	return asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: contents})
}

func (w *wish) optionalValidity(b []byte) error {
	dates, err := membersOf(b)
	if err != nil {
		return err
	}
	for _, d := range dates {
		var at time.Time
		if err := unmarshalAll(d.Bytes, &at); err != nil {
			return err
		}
		switch {
		case isContext(d, 0):
			w.notBefore = at.UTC()
		case isContext(d, 1):
			w.notAfter = at.UTC()
		default:
			return errCRMF
		}
	}
	return nil
}

// signatureProof reads a POPOSigningKey (RFC 4211 section 4.1) without POPOSigningKeyInput, which must not be there when
// the template has subject and key.
func signatureProof(proof asn1.RawValue) (algorithm asn1.RawValue, signature []byte, err error) {
	if !isContext(proof, 1) {
		return algorithm, nil, errCRMF
	}
	members, err := membersOf(proof.Bytes)
	if err != nil || len(members) != 2 || !isUniversal(members[0], asn1.TagSequence) {
		return algorithm, nil, errCRMF
	}
	var bits asn1.BitString
	if err := unmarshalAll(members[1].FullBytes, &bits); err != nil || bits.BitLength%8 != 0 {
		return algorithm, nil, errCRMF
	}
	return members[0], bits.Bytes, nil
}

// signedWith lets crypto/x509 read a public key and an AlgorithmIdentifier, by way of a PKCS #10 request around them:
// it exports no function that does.
func signedWith(spki []byte, algorithm asn1.RawValue) (*x509.CertificateRequest, error) {
	empty := asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true}
	attributes := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true}
	der, err := asn1.Marshal(struct {
		Info struct {
			Version    int
			Subject    asn1.RawValue
			Key        asn1.RawValue
			Attributes asn1.RawValue
		}
		Algorithm asn1.RawValue
		Signature asn1.BitString
	}{
		Info: struct {
			Version    int
			Subject    asn1.RawValue
			Key        asn1.RawValue
			Attributes asn1.RawValue
		}{0, empty, asn1.RawValue{FullBytes: spki}, attributes},
		Algorithm: algorithm,
		Signature: asn1.BitString{Bytes: []byte{0}, BitLength: 8},
	})
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificateRequest(der)
}
