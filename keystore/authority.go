package keystore

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
	"sync"
	"time"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/keystore/audit"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
	"kmipd/metadata"
)

// Certification authorities are managed objects of a reserved owner: a key pair whose private half does not leave the
// token, and the certificates of its chain. The Private Key record has the authority's name, the subject of its
// certificate, and a Certificate Link, once it has a certificate; each certificate has a Certificate Link to the one that
// signed it (KMIP 1.4 section 3.35). So start, fsck and backup treat them as they do all objects, and no client sees them.

// caOwner owns them. A client's name has no zero octet (AddClient).
const caOwner = "\x00ca"

// attrSubject holds the DER Name that an authority is to have.
const attrSubject = "y-Subject"

// Authority is a certification authority as administrators see it.
type Authority struct {
	Name    string    `json:"name"`
	Key     string    `json:"key"` // CKA_LABEL of the private key on the token
	Kind    string    `json:"kind"`
	Created time.Time `json:"created"`
	// Certificates is the chain in DER, the authority's own first; empty while its certificate request is out.
	Certificates [][]byte `json:"certificates"`
}

// authority is a loaded one. It is immutable.
type authority struct {
	name    string
	created time.Time
	priv    *metadata.Record
	key     hsm.Ref // of the private half
	public  crypto.PublicKey
	subject []byte              // DER
	chain   []*x509.Certificate // its own first; empty while it has none
	crl     bool                // its certificate lets it sign CRLs
}

// authorities holds the loaded ones. They change through this Store alone.
type authorities struct {
	mu     sync.Mutex
	list   []*authority // oldest first; nil until loaded
	gen    uint64       // counts the changes of what is stored
	crls   map[string]*publishedCRL
	wakeUp chan struct{} // of the goroutine that issues CRLs; nil before Start
}

// caCall is a call of the authorities' own, at the command of an administrator.
func (s *Store) caCall(e audit.Event) *kmip.Call {
	t := &tx{s: s, item: doing{by: e}}
	return &kmip.Call{Version: kmip.V1_4, Caller: kmip.Caller{Client: caOwner}, Now: s.cfg.Clock().UTC(), Tx: t}
}

// cert is the authority's own certificate, nil while it has none.
func (a *authority) cert() *x509.Certificate {
	if len(a.chain) == 0 {
		return nil
	}
	return a.chain[0]
}

// signer signs with the authority's key.
func (s *Store) signer(ctx context.Context, pol *fips.Policy, a *authority) (*hsm.Signer, error) {
	algorithm, bits, hash := signatureOf(pol, a.public)
	if err := pol.Allow(fips.Sign, algorithm, bits); err != nil {
		return nil, err
	}
	if err := allowsSigned(pol, fips.Sign, signatureAlgorithm(pol, a.public)); err != nil {
		return nil, err
	}
	if algorithm == kmip.CryptographicAlgorithmECDSA {
		if err := pol.AllowPair(fips.Sign, bits, hash); err != nil {
			return nil, err
		}
	}
	if a.priv != nil { // else it is being made
		if err := s.knownDrift(ctx, object{a.priv}); err != nil {
			return nil, err
		}
	}
	return hsm.NewSigner(ctx, s.token, a.key, a.public)
}

// signatureOf is what the server signs certificates with by a key of this type, and the key's length.
func signatureOf(pol *fips.Policy, public crypto.PublicKey) (kmip.CryptographicAlgorithm, int, kmip.HashingAlgorithm) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		hash := kmip.HashingAlgorithmSHA256
		if pol.AllowHash(fips.Sign, hash) != nil {
			hash = kmip.HashingAlgorithmSHA384
		}
		return kmip.CryptographicAlgorithmRSA, k.N.BitLen(), hash
	case *ecdsa.PublicKey:
		switch bits := k.Curve.Params().BitSize; bits {
		case 384:
			return kmip.CryptographicAlgorithmECDSA, bits, kmip.HashingAlgorithmSHA384
		case 521:
			return kmip.CryptographicAlgorithmECDSA, bits, kmip.HashingAlgorithmSHA512
		default:
			return kmip.CryptographicAlgorithmECDSA, bits, kmip.HashingAlgorithmSHA256
		}
	}
	return 0, 0, 0
}

// signatureAlgorithm is the same in crypto/x509's terms, for its templates.
func signatureAlgorithm(pol *fips.Policy, public crypto.PublicKey) x509.SignatureAlgorithm {
	algorithm, _, hash := signatureOf(pol, public)
	rsa := algorithm == kmip.CryptographicAlgorithmRSA
	switch {
	case rsa && hash == kmip.HashingAlgorithmSHA384:
		return x509.SHA384WithRSA
	case rsa:
		return x509.SHA256WithRSA
	case hash == kmip.HashingAlgorithmSHA384:
		return x509.ECDSAWithSHA384
	case hash == kmip.HashingAlgorithmSHA512:
		return x509.ECDSAWithSHA512
	}
	return x509.ECDSAWithSHA256
}

// authorities gives all of them, oldest first.
func (s *Store) authorities(ctx context.Context) ([]*authority, error) {
	s.cas.mu.Lock()
	list, gen := s.cas.list, s.cas.gen
	s.cas.mu.Unlock()
	if list != nil {
		return list, nil
	}
	found, err := s.meta.Locate(ctx, metadata.Query{Owner: caOwner, Max: -1, Oldest: true,
		Terms: []metadata.Term{metadata.ObjectTypeTerm(kmip.ObjectTypePrivateKey)}})
	if err != nil {
		return nil, toKMIP(err)
	}
	list = make([]*authority, 0, len(found.UIDs))
	for _, uid := range found.UIDs {
		a, err := s.loadAuthority(ctx, uid)
		if err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	s.cas.mu.Lock()
	defer s.cas.mu.Unlock()
	if s.cas.gen == gen {
		s.cas.list = list // else they changed meanwhile, and the next use loads them
	}
	return list, nil
}

// forgetAuthorities makes the next use load them anew.
func (s *Store) forgetAuthorities() {
	s.cas.mu.Lock()
	defer s.cas.mu.Unlock()
	s.cas.list = nil
	s.cas.gen++
}

func (s *Store) loadAuthority(ctx context.Context, uid string) (*authority, error) {
	rec, err := s.meta.Get(ctx, uid)
	if err != nil {
		return nil, toKMIP(err)
	}
	o := object{rec}
	a := &authority{name: o.get("Name").Find(kmip.TagNameValue).Text(), created: rec.Created, priv: rec, subject: o.get(attrSubject).Value}
	a.key, _ = ref(rec.Handle)
	pub, err := s.meta.Get(ctx, o.linked(kmip.LinkTypePublicKeyLink))
	if err != nil {
		return nil, toKMIP(err)
	}
	r, _ := ref(pub.Handle)
	spki, err := s.token.PublicKey(ctx, r)
	if err != nil {
		return nil, toKMIP(err)
	}
	if a.public, err = x509.ParsePKIXPublicKey(spki); err != nil {
		return nil, err
	}
	if a.chain, err = s.loadChain(ctx, o.linked(kmip.LinkTypeCertificateLink)); err != nil {
		return nil, err
	}
	if c := a.cert(); c != nil {
		a.subject = c.RawSubject
		a.crl = c.KeyUsage&x509.KeyUsageCRLSign != 0 && len(c.SubjectKeyId) > 0
	}
	return a, nil
}

// maxCertificates bounds the certificates of a chain.
const maxCertificates = 16

func (s *Store) loadChain(ctx context.Context, uid string) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for uid != "" && len(chain) < maxCertificates {
		rec, err := s.meta.Get(ctx, uid)
		if err != nil {
			return nil, toKMIP(err)
		}
		r, _ := ref(rec.Handle)
		der, err := s.token.Export(ctx, r, 0)
		if err != nil {
			return nil, toKMIP(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		chain = append(chain, cert)
		uid = object{rec}.linked(kmip.LinkTypeCertificateLink)
	}
	return chain, nil
}

// authority finds one by name; nil when there is none.
func (s *Store) authority(ctx context.Context, name string) (*authority, error) {
	list, err := s.authorities(ctx)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(list, func(a *authority) bool { return a.name == name }); i >= 0 {
		return list[i], nil
	}
	return nil, nil
}

// issuer finds the authority that signs certificates of a profile now: the one that the profile names, or the oldest
// that can.
func (s *Store) issuer(ctx context.Context, p *CertificateProfile, now time.Time) (*authority, error) {
	list, err := s.authorities(ctx)
	if err != nil {
		return nil, err
	}
	for _, a := range list {
		if (p.Authority == "" || p.Authority == a.name) && a.signsAt(now) {
			return a, nil
		}
	}
	return nil, kmip.Errorf(kmip.ResultReasonFeatureNotSupported, "the server has no certification authority that can sign this certificate now")
}

// signsAt tells whether the authority has a certificate that is valid then.
func (a *authority) signsAt(now time.Time) bool {
	c := a.cert()
	return c != nil && !now.Before(c.NotBefore) && now.Before(c.NotAfter)
}

// Authorities lists the certification authorities, oldest first.
func (s *Store) Authorities(ctx context.Context) ([]Authority, error) {
	list, err := s.authorities(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Authority, len(list))
	for i, a := range list {
		out[i] = a.describe()
	}
	return out, nil
}

// describe is what administrators see of the authority.
func (a *authority) describe() Authority {
	out := Authority{Name: a.name, Key: a.priv.UID, Kind: keyKind(a.public), Created: a.created, Certificates: [][]byte{}}
	for _, c := range a.chain {
		out.Certificates = append(out.Certificates, c.Raw)
	}
	return out
}

// keyKind names type and length of a key.
func keyKind(public crypto.PublicKey) string {
	switch k := public.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA-%d", k.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Curve.Params().Name
	}
	return ""
}

// bytesValue is an attribute value of type Byte String.
func bytesValue(b []byte) ttlv.Item {
	return ttlv.Make(ttlv.AppendBytes(nil, kmip.TagAttributeValue, b))
}
