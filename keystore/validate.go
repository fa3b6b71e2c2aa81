package keystore

import (
	"bytes"
	"context"
	"crypto/x509"
	"slices"
	"time"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/kmip"
)

// chainLink is a certificate of a chain that is being validated.
type chainLink struct {
	cert *x509.Certificate
	// revoked is when the managed object was revoked, from which on it does not count; zero for never.
	revoked time.Time
}

// Validate validates a certificate chain (KMIP 1.4 section 4.24). The certificates may come in any order; together they
// must be one chain, which reaches a trust anchor: an authority of this server, or one of
// Config.Certify.Anchors. Invalid is what is wrong for certain: a signature, a date, a revocation, a certificate that signs
// without being an authority's. Unknown is a chain that is right as far as it goes and ends at nobody known, or of which
// Config.Certify.Revocation cannot tell what it must.
func (s *Store) Validate(ctx context.Context, call *kmip.Call, req *kmip.ValidateRequest) (*kmip.ValidateResponse, error) {
	at := call.Now
	if req.ValidityDate != nil {
		at = *req.ValidityDate
	}
	links, known, err := s.chainOf(ctx, call, req)
	if err != nil {
		return nil, err
	}
	resp := &kmip.ValidateResponse{ValidityIndicator: kmip.ValidityIndicatorUnknown}
	if known {
		if resp.ValidityIndicator, err = s.validity(ctx, call, links, at); err != nil {
			return nil, err
		}
	}
	return resp, nil
}

// chainOf reads the certificates of a request; false when one is of a kind that cannot be validated.
func (s *Store) chainOf(ctx context.Context, call *kmip.Call, req *kmip.ValidateRequest) ([]chainLink, bool, error) {
	if n := len(req.Certificate) + len(req.UniqueIdentifier); n == 0 || n > maxCertificates {
		return nil, false, notAList("a chain has 1 to %d certificates", maxCertificates)
	}
	var links []chainLink
	known := true
	for i := range req.Certificate {
		c := &req.Certificate[i]
		if c.CertificateType == kmip.CertificateTypePGP {
			known = false
			continue
		}
		cert, err := x509.ParseCertificate(bytes.Clone(c.CertificateValue))
		if err != nil {
			return nil, false, notAList("a Certificate is not an X.509 certificate")
		}
		links = append(links, chainLink{cert: cert})
	}
	for _, uid := range req.UniqueIdentifier {
		l, err := s.managedLink(ctx, call, uid)
		if err != nil {
			return nil, false, err
		}
		if l.cert == nil {
			known = false
			continue
		}
		links = append(links, l)
	}
	return links, known, nil
}

func notAList(format string, args ...any) error {
	return kmip.Errorf(kmip.ResultReasonInvalidMessage, "the request does not specify a list of certificates: "+format, args...)
}

// managedLink is a certificate that is an object of the caller's client, whoever of its users owns it: certificates can be
// read by all of them (KMIP 1.4 section 3.18.2.2). Its cert is nil when it is of a kind that cannot be validated.
func (s *Store) managedLink(ctx context.Context, call *kmip.Call, uid string) (chainLink, error) {
	rec, err := s.meta.Get(ctx, uid)
	if err != nil || rec.Owner != call.Caller.Client {
		if err != nil && !isNotFound(err) {
			return chainLink{}, toKMIP(err)
		}
		return chainLink{}, notFound()
	}
	o := object{rec}
	switch {
	case o.ObjectType != kmip.ObjectTypeCertificate:
		return chainLink{}, notAList("an object is not a Certificate")
	case o.archived():
		return chainLink{}, isArchived()
	case !o.live():
		return chainLink{}, kmip.Errorf(kmip.ResultReasonItemNotFound, "the object is destroyed")
	}
	r, _ := ref(o.Handle)
	if r.Class != hsm.ClassCertificate {
		return chainLink{}, nil
	}
	der, err := s.token.Export(ctx, r, 0)
	if err != nil {
		return chainLink{}, toKMIP(err)
	}
	l := chainLink{revoked: o.revokedAt()}
	if l.cert, err = x509.ParseCertificate(der); err != nil {
		l.cert = nil
	}
	return l, nil
}

// revokedAt is from when on an object that was revoked does not count: from the compromise, or from the revocation.
func (o object) revokedAt() time.Time {
	switch {
	case o.get("Revocation Reason").IsZero():
		return time.Time{}
	case !o.get("Compromise Date").IsZero():
		return o.date("Compromise Occurrence Date")
	}
	return o.date("Deactivation Date")
}

// validity judges a chain at an instant.
func (s *Store) validity(ctx context.Context, call *kmip.Call, links []chainLink, at time.Time) (kmip.ValidityIndicator, error) {
	pol := s.policyOf(call)
	chain, ok := ordered(links)
	if !ok {
		return kmip.ValidityIndicatorInvalid, nil
	}
	anchors, err := s.anchors(ctx)
	if err != nil {
		return 0, err
	}
	var anchor *x509.Certificate
	trusted := len(chain) // the certificates that the anchor stands for
	for i, l := range chain {
		if anchor = findAnchor(l.cert, anchors); anchor != nil {
			trusted = i + 1
			break
		}
	}
	known := true
	for i, l := range chain {
		fine, err := s.fine(ctx, pol, l, at)
		if err != nil {
			return 0, err
		}
		if !fine || i+1 < len(chain) && (l.cert.CheckSignatureFrom(chain[i+1].cert) != nil ||
			allowsOwn(pol, fips.Verify, l.cert.SignatureAlgorithm, chain[i+1].cert.PublicKey) != nil) {
			return kmip.ValidityIndicatorInvalid, nil
		}
		issuer := anchor // of the last certificate that the anchor stands for
		if i+1 < len(chain) {
			issuer = chain[i+1].cert
		}
		if i >= trusted || issuer == nil || anchor != nil && anchor.Equal(l.cert) {
			continue
		}
		revoked, told, err := s.listed(ctx, call, l.cert, issuer)
		if err != nil {
			return 0, err
		}
		if !revoked.IsZero() && !revoked.After(at) {
			return kmip.ValidityIndicatorInvalid, nil
		}
		known = known && told
	}
	if anchor == nil {
		return kmip.ValidityIndicatorUnknown, nil
	}
	fine, err := s.fine(ctx, pol, chainLink{cert: anchor}, at)
	if err != nil {
		return 0, err
	}
	if !fine || !verifies(chain[:trusted], anchor, at) {
		return kmip.ValidityIndicatorInvalid, nil
	}
	if !known {
		return kmip.ValidityIndicatorUnknown, nil
	}
	return kmip.ValidityIndicatorValid, nil
}

// listed asks the revocation lists of the listeners about a certificate. The records tell of those by this server.
func (s *Store) listed(ctx context.Context, call *kmip.Call, cert, issuer *x509.Certificate) (revoked time.Time, known bool, err error) {
	if s.cfg.Certify.Revocation == nil {
		return time.Time{}, true, nil
	}
	own, _, err := s.Revoked(ctx, cert, issuer)
	if err != nil {
		return time.Time{}, false, err
	}
	revoked, known = s.cfg.Certify.Revocation(call.Listener, cert, issuer)
	return revoked, known || own, nil
}

// fine tells whether a certificate by itself counts at an instant: its dates, its revocation, and what the policy says of
// its key and signature.
func (s *Store) fine(ctx context.Context, pol *fips.Policy, l chainLink, at time.Time) (bool, error) {
	if at.Before(l.cert.NotBefore) || at.After(l.cert.NotAfter) || allowsPublic(pol, strictly(pol, fips.Verify), l.cert.PublicKey) != nil ||
		allowsSigned(pol, fips.Verify, l.cert.SignatureAlgorithm) != nil {
		return false, nil
	}
	revoked, err := s.isRevoked(ctx, l, at)
	return !revoked, err
}

// ordered brings certificates into the order from the end entity up; false when they are not one chain. A certificate that
// is there twice counts once.
func ordered(links []chainLink) ([]chainLink, bool) {
	var left []chainLink
	for _, l := range links {
		i := slices.IndexFunc(left, func(o chainLink) bool { return o.cert.Equal(l.cert) })
		switch {
		case i < 0:
			left = append(left, l)
		case left[i].revoked.IsZero():
			left[i] = l
		}
	}
	issues := func(a, b chainLink) bool { // a, other than b, is named as issuer by b
		return !a.cert.Equal(b.cert) && bytes.Equal(a.cert.RawSubject, b.cert.RawIssuer) &&
			(len(a.cert.SubjectKeyId) == 0 || len(b.cert.AuthorityKeyId) == 0 || bytes.Equal(a.cert.SubjectKeyId, b.cert.AuthorityKeyId))
	}
	start := slices.IndexFunc(left, func(l chainLink) bool {
		return !slices.ContainsFunc(left, func(o chainLink) bool { return issues(l, o) })
	})
	if start < 0 {
		return nil, false
	}
	var chain []chainLink
	for {
		chain = append(chain, left[start])
		left = slices.Delete(left, start, start+1)
		last := chain[len(chain)-1]
		if start = slices.IndexFunc(left, func(l chainLink) bool { return issues(l, last) }); start < 0 {
			return chain, len(left) == 0
		}
	}
}

// anchors are the certificates that Validate trusts.
func (s *Store) anchors(ctx context.Context) ([]*x509.Certificate, error) {
	list, err := s.authorities(ctx)
	if err != nil {
		return nil, err
	}
	out := slices.Clone(s.cfg.Certify.Anchors)
	for _, a := range list {
		out = append(out, a.chain...)
	}
	return out, nil
}

// findAnchor is the anchor that a certificate is, or that signed it; nil when there is none.
func findAnchor(c *x509.Certificate, anchors []*x509.Certificate) *x509.Certificate {
	for _, a := range anchors {
		if a.Equal(c) {
			return a
		}
	}
	for _, a := range anchors {
		if bytes.Equal(a.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(a) == nil {
			return a
		}
	}
	return nil
}

// isRevoked tells whether a certificate was revoked by an instant: as an object of the client, or by the authority of this
// server that issued it.
func (s *Store) isRevoked(ctx context.Context, l chainLink, at time.Time) (bool, error) {
	if !l.revoked.IsZero() && !l.revoked.After(at) {
		return true, nil
	}
	list, err := s.authorities(ctx)
	if err != nil {
		return false, err
	}
	for _, a := range list {
		c := a.cert()
		if c == nil || !bytes.Equal(c.RawSubject, l.cert.RawIssuer) || l.cert.CheckSignatureFrom(c) != nil {
			continue
		}
		rec, err := s.meta.Get(ctx, entryUID(a.name, l.cert.SerialNumber.Bytes()))
		if isNotFound(err) {
			continue
		} else if err != nil {
			return false, toKMIP(err)
		}
		from := object{rec}.date(attrOccurred)
		if from.IsZero() {
			from = object{rec}.date(attrRevoked)
		}
		if !from.IsZero() && !from.After(at) {
			return true, nil
		}
	}
	return false, nil
}

// verifies has crypto/x509 check what remains: path length, name constraints, critical extensions.
func verifies(path []chainLink, anchor *x509.Certificate, at time.Time) bool {
	opts := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	opts.Roots.AddCert(anchor)
	for _, l := range path[1:] {
		opts.Intermediates.AddCert(l.cert)
	}
	_, err := path[0].cert.Verify(opts)
	return err == nil
}
