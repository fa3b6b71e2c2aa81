package keystore

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"strings"

	"software.sslmate.com/src/go-pkcs12"

	"kmipd/kmip"
)

// pfx is what a PKCS#12 container (RFC 7292) holds of interest: one private key, its certificate chain beginning with
// its own certificate, and the friendly name under which they are found.
type pfx struct {
	key   crypto.Signer
	chain []*x509.Certificate
	name  string
}

// maxIterations bounds the work that a container may ask of the server: writers use some thousands, the most careful
// ones less than a million.
const maxIterations = 2_000_000

// pfxTurn lets one container be opened at a time. An iteration count inside encrypted parts shows only when they are
// open, and what the library has begun cannot be stopped: a client that plays with it keeps one core busy, not all.
var pfxTurn = make(chan struct{}, 1)

// openPFX opens a container. name chooses among several keys; "" takes the first.
func openPFX(ctx context.Context, der []byte, password, name string) (*pfx, error) {
	if costly(asn1.RawValue{FullBytes: der, IsCompound: true, Bytes: der}, 0) {
		return nil, badField("the PKCS#12 container asks for too many iterations")
	}
	type opened struct {
		p   *pfx
		err error
	}
	select {
	case pfxTurn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	done := make(chan opened, 1)
	own := bytes.Clone(der) // the request's memory is wiped when the request ends
	go func() {
		defer func() { <-pfxTurn }()
		defer clear(own) // a container may hold its key in clear
		p, err := readPFX(own, password, name)
		done <- opened{p, err}
	}()
	select {
	case o := <-done:
		return o.p, pfxError(o.err)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// pfxError: a container that cannot be opened is a wrong value (KMIP 1.4 section 11.4), one that is written in a way
// that the server does not read is a format that is not supported.
func pfxError(err error) error {
	var already *kmip.Error
	var unread pkcs12.NotImplementedError
	switch {
	case err == nil, errors.As(err, &already):
		return err
	case errors.Is(err, pkcs12.ErrIncorrectPassword), errors.Is(err, pkcs12.ErrDecryption):
		return badField("the PKCS#12 container does not open with the password of the PKCS#12 Password Link")
	case errors.As(err, &unread):
		return kmip.Errorf(kmip.ResultReasonKeyFormatTypeNotSupported, "this kind of PKCS#12 container is not supported").Because(err)
	}
	return kmip.Errorf(kmip.ResultReasonInvalidField, "Key Material is not a PKCS#12 container with a private key and its certificate").Because(err)
}

// readPFX reads a container. Names are read where the library can show them; else the container must hold one key.
func readPFX(der []byte, password, name string) (*pfx, error) {
	blocks, err := pkcs12.ToPEM(der, password) //nolint:staticcheck // DecodeChain shows no names and takes one key only
	if err != nil {
		return readNameless(der, password, name)
	}
	defer func() {
		for _, b := range blocks {
			clear(b.Bytes)
		}
	}()
	key := namedKey(blocks, name)
	if key == nil {
		return nil, badField("the PKCS#12 container has no private key with the PKCS#12 Friendly Name")
	}
	p := &pfx{name: key.Headers["friendlyName"]}
	if p.key, err = signerOf(key.Bytes); err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	for _, b := range blocks {
		if b.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(bytes.Clone(b.Bytes))
		if err != nil {
			return nil, err
		}
		certs = append(certs, c)
	}
	return p, p.order(certs)
}

// namedKey is the private key with the name, which compares without case (RFC 2985 section 5.5.1); the first one when no
// name is asked for, and the only one when it has no name that could contradict.
func namedKey(blocks []*pem.Block, name string) *pem.Block {
	var keys []*pem.Block
	for _, b := range blocks {
		if b.Type != "PRIVATE KEY" {
			continue
		}
		if name == "" || strings.EqualFold(b.Headers["friendlyName"], name) {
			return b
		}
		keys = append(keys, b)
	}
	if len(keys) == 1 && keys[0].Headers["friendlyName"] == "" {
		return keys[0]
	}
	return nil
}

// readNameless reads containers of other makes: unencrypted key bags, bags with attributes that are not standard.
func readNameless(der []byte, password, name string) (*pfx, error) {
	key, leaf, rest, err := pkcs12.DecodeChain(der, password)
	if err != nil {
		return nil, err
	}
	if name != "" {
		return nil, kmip.Errorf(kmip.ResultReasonKeyFormatTypeNotSupported, "the names in this kind of PKCS#12 container cannot be read")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, pkcs12.NotImplementedError("private key of an unknown kind")
	}
	p := &pfx{key: signer}
	return p, p.order(append([]*x509.Certificate{leaf}, rest...))
}

// signerOf parses what ToPEM makes of private keys: PKCS#1 or ECPrivateKey.
func signerOf(der []byte) (crypto.Signer, error) {
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	return x509.ParseECPrivateKey(der)
}

// order finds the chain among the certificates of a container: that of the key, then issuer after issuer. The order in
// the container does not matter, and certificates of other keys are passed over.
func (p *pfx) order(certs []*x509.Certificate) error {
	public, ok := p.key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok {
		return pkcs12.NotImplementedError("private key of an unknown kind")
	}
	for _, c := range certs {
		if public.Equal(c.PublicKey) {
			p.chain = append(p.chain, c)
			break
		}
	}
	if len(p.chain) == 0 {
		return badField("the PKCS#12 container has no certificate for its private key")
	}
	for len(p.chain) < maxChain {
		last := p.chain[len(p.chain)-1]
		next := issuerOf(last, certs)
		if next == nil {
			return nil
		}
		p.chain = append(p.chain, next)
	}
	return badField("the certificate chain in the PKCS#12 container has more than %d certificates", maxChain)
}

// issuerOf is the certificate of the issuer, nil for a certificate that is its own issuer or whose issuer is not there.
func issuerOf(c *x509.Certificate, certs []*x509.Certificate) *x509.Certificate {
	if bytes.Equal(c.RawIssuer, c.RawSubject) {
		return nil
	}
	for _, i := range certs {
		if bytes.Equal(i.RawSubject, c.RawIssuer) && (len(c.AuthorityKeyId) == 0 || len(i.SubjectKeyId) == 0 || bytes.Equal(c.AuthorityKeyId, i.SubjectKeyId)) {
			return i
		}
	}
	return nil
}

// costly tells that an iteration count in the part of a container that can be seen is beyond maxIterations. In all
// structures that have one (RFC 7292 section 4, RFC 8018 appendix A) it is the Integer that follows an Octet String.
func costly(v asn1.RawValue, depth int) bool {
	const maxDepth = 32
	inside := v.Bytes
	salt := false
	for len(inside) > 0 && depth < maxDepth {
		var m asn1.RawValue
		rest, err := asn1.Unmarshal(inside, &m)
		if err != nil {
			return false // not a structure; the library judges
		}
		inside = rest
		if m.Class == asn1.ClassUniversal && m.Tag == asn1.TagInteger && salt {
			var n int64
			if _, err := asn1.Unmarshal(m.FullBytes, &n); err != nil || n > maxIterations {
				return true
			}
		}
		salt = m.Class == asn1.ClassUniversal && m.Tag == asn1.TagOctetString
		if (m.IsCompound || salt) && costly(m, depth+1) {
			return true
		}
	}
	return false
}
