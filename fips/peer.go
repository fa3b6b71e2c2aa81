package fips

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// TLSError is a connection or certificate that a policy refuses.
type TLSError struct {
	Policy string
	Rule   string // one of the Rule constants
	Source string // of the rule: the standard and its section
	Text   string
}

// The rules that a TLSError names. They are fixed: logs, counters and reports use them.
const (
	RuleVersion     = "tls-version"
	RuleSuite       = "cipher-suite"
	RuleGroup       = "group"
	RuleColumn      = "mixed-columns"
	RuleEMS         = "extended-master-secret"
	RulePeer        = "client-certificate"
	RuleKey         = "certificate-key"
	RuleSignature   = "certificate-signature"
	RuleUsage       = "key-usage"
	RuleExtended    = "extended-key-usage"
	RuleConstraints = "basic-constraints"
	RuleIdentifiers = "key-identifiers"
	RuleValidity    = "validity"
	RuleRevocation  = "revocation"
)

func (e *TLSError) Error() string {
	return fmt.Sprintf("policy %s, rule %s (%s): %s", e.Policy, e.Rule, e.Source, e.Text)
}

// ChainCheck looks at a verified chain, the peer's certificate first and the root last.
type ChainCheck func(chain []*x509.Certificate, now time.Time) error

// VerifyConnection checks what a handshake arrived at: it is a tls.Config.VerifyConnection. Errors are *TLSError.
func (r *TLSRules) VerifyConnection(state tls.ConnectionState) error {
	return r.Check(state, time.Now())
}

// Check is VerifyConnection at a given time, with more checks of the chain: one verified chain must pass all of them.
func (r *TLSRules) Check(state tls.ConnectionState, now time.Time, more ...ChainCheck) error {
	for _, t := range r.tables {
		if err := t.connection(state); err != nil {
			return err
		}
	}
	return r.CheckChains(state, now, more...)
}

// CheckChains is the part of Check about certificates, which can change while a connection lasts.
func (r *TLSRules) CheckChains(state tls.ConnectionState, now time.Time, more ...ChainCheck) error {
	return r.checkChains(state, now, x509.ExtKeyUsageClientAuth, more...)
}

// ApplyClient is Apply for the server as a client of others, with the same checks of what it meets there. A client of TLS 1.2
// does not know the group yet when it checks (crypto/tls sees to it that it is one of those offered), so that it offers one
// column; and one that may not take AES-128 leaves out TLS 1.3, where it could not but offer it, if it can.
func (r *TLSRules) ApplyClient(t *tls.Config) {
	r.Apply(t)
	if len(r.columns) > 0 {
		t.CipherSuites, t.CurvePreferences = []uint16{r.columns[0].suite}, []tls.CurveID{r.columns[0].group}
	}
	if !allows(r.suites, tls.TLS_AES_128_GCM_SHA256) && slices.Contains(r.versions, tls.VersionTLS12) {
		t.MaxVersion = tls.VersionTLS12
	}
	t.VerifyConnection = func(state tls.ConnectionState) error {
		for _, table := range r.tables {
			err := table.offered(state)
			if state.Version != tls.VersionTLS12 {
				err = table.connection(state)
			}
			if err != nil {
				return err
			}
		}
		return r.checkChains(state, time.Now(), x509.ExtKeyUsageServerAuth)
	}
}

func (r *TLSRules) checkChains(state tls.ConnectionState, now time.Time, usage x509.ExtKeyUsage, more ...ChainCheck) error {
	if len(state.PeerCertificates) == 0 || len(state.VerifiedChains) == 0 {
		return r.tables[0].refuse(RulePeer, r.tables[0].certSource, "the peer has no certificate that an authority vouches for")
	}
	var first error
	for _, chain := range state.VerifiedChains {
		err := r.chain(chain, now, usage)
		for i := 0; err == nil && i < len(more); i++ {
			err = more[i](chain, now)
		}
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// Established checks what is known only once the handshake is over: in a strict policy the extended master secret of TLS
// 1.2 (RFC 7627). crypto/tls tells of it by refusing to export keying material without it.
func (r *TLSRules) Established(state tls.ConnectionState) error {
	if state.Version != tls.VersionTLS12 {
		return nil
	}
	for _, t := range r.tables {
		if !t.strict {
			continue
		}
		if _, err := state.ExportKeyingMaterial("EXPERIMENTAL kmipd extended master secret", nil, 16); err != nil {
			return t.refuse(RuleEMS, "RFC 7627; "+t.source, "the client does not use the extended master secret")
		}
	}
	return nil
}

func (t *tlsTable) refuse(rule, source, format string, args ...any) error {
	return &TLSError{Policy: t.policy, Rule: rule, Source: source, Text: fmt.Sprintf(format, args...)}
}

// offered checks version and suite.
func (t *tlsTable) offered(state tls.ConnectionState) error {
	switch {
	case !slices.Contains(t.versions, state.Version):
		return t.refuse(RuleVersion, t.source, "%s is not allowed", tls.VersionName(state.Version))
	case !allows(t.suites, state.CipherSuite):
		return t.refuse(RuleSuite, t.source, "%s is not allowed", tls.CipherSuiteName(state.CipherSuite))
	}
	return nil
}

// connection checks version, suite and group, and that the two go together.
func (t *tlsTable) connection(state tls.ConnectionState) error {
	if err := t.offered(state); err != nil {
		return err
	}
	switch {
	case !allows(t.groups, state.CurveID):
		return t.refuse(RuleGroup, t.source, "key exchange with %s is not allowed", state.CurveID)
	case !allows(t.columns, tlsColumn{state.CipherSuite, state.CurveID}):
		return t.refuse(RuleColumn, t.source, "%s does not go with %s", tls.CipherSuiteName(state.CipherSuite), state.CurveID)
	}
	return nil
}

// chain checks the certificates of a verified chain. The leaf is for usage.
func (r *TLSRules) chain(chain []*x509.Certificate, now time.Time, usage x509.ExtKeyUsage) error {
	for _, t := range r.tables {
		for i := range chain {
			if err := t.certificate(chain, i, now, usage); err != nil {
				return err
			}
		}
	}
	return nil
}

// certificate checks the certificate at i of a chain. Its issuer is the next one, or itself at the end of the chain.
func (t *tlsTable) certificate(chain []*x509.Certificate, i int, now time.Time, usage x509.ExtKeyUsage) error {
	c := chain[i]
	issuer := c
	if i+1 < len(chain) {
		issuer = chain[i+1]
	}
	if err := t.validity(c, now); err != nil {
		return err
	}
	if err := t.key(c, now); err != nil {
		return err
	}
	if i+1 < len(chain) || t.rootToo && bytes.Equal(c.RawIssuer, c.RawSubject) {
		if err := t.signature(c, issuer); err != nil {
			return err
		}
	}
	if i == 0 {
		return t.leaf(c, usage)
	}
	return t.authority(c)
}

func (t *tlsTable) validity(c *x509.Certificate, now time.Time) error {
	switch {
	case now.Before(c.NotBefore):
		return t.refuse(RuleValidity, "RFC 5280 section 4.1.2.5", "%s is not valid before %s", subject(c), c.NotBefore.UTC().Format(time.RFC3339))
	case now.After(c.NotAfter):
		return t.refuse(RuleValidity, "RFC 5280 section 4.1.2.5", "%s expired on %s", subject(c), c.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

// certKey is the kind of a certificate's key and its bits.
type certKey struct {
	algorithm x509.PublicKeyAlgorithm
	bits      int
}

func keyOf(public any) certKey {
	switch k := public.(type) {
	case *rsa.PublicKey:
		return certKey{x509.RSA, k.N.BitLen()}
	case *ecdsa.PublicKey:
		return certKey{x509.ECDSA, k.Curve.Params().BitSize}
	case ed25519.PublicKey:
		return certKey{x509.Ed25519, 256}
	}
	return certKey{}
}

func (k certKey) String() string {
	switch k.algorithm {
	case x509.ECDSA:
		return fmt.Sprintf("ECDSA P-%d", k.bits)
	case x509.RSA:
		return fmt.Sprintf("RSA-%d", k.bits)
	default:
		return k.algorithm.String()
	}
}

func (t *tlsTable) allowsKey(k certKey, now time.Time) bool {
	return slices.ContainsFunc(t.keys, func(r keyRule) bool {
		return r.algorithm == k.algorithm && (r.curves == nil || slices.Contains(r.curves, k.bits)) && k.bits >= r.min &&
			(r.until.IsZero() || now.Before(r.until))
	})
}

func (t *tlsTable) key(c *x509.Certificate, now time.Time) error {
	if k := keyOf(c.PublicKey); !t.allowsKey(k, now) {
		return t.refuse(RuleKey, t.certSource, "%s has a key of %s; allowed: %s", subject(c), k, t.keyList(now))
	}
	return nil
}

// keyList is the allowed keys in words.
func (t *tlsTable) keyList(now time.Time) string {
	var list []string
	for _, r := range t.keys {
		switch {
		case !r.until.IsZero() && !now.Before(r.until):
		case r.algorithm == x509.RSA:
			list = append(list, fmt.Sprintf("RSA of %d bits and more", r.min))
		case r.algorithm == x509.ECDSA:
			for _, bits := range r.curves {
				list = append(list, certKey{r.algorithm, bits}.String())
			}
		default:
			list = append(list, r.algorithm.String())
		}
	}
	return strings.Join(list, ", ")
}

// signature checks how the issuer signed a certificate.
func (t *tlsTable) signature(c, issuer *x509.Certificate) error {
	if !allows(t.signatures, c.SignatureAlgorithm) {
		return t.refuse(RuleSignature, t.certSource, "%s is signed with %s", subject(c), c.SignatureAlgorithm)
	}
	by := keyOf(issuer.PublicKey)
	if !t.issuerHash || by.algorithm != x509.ECDSA {
		return nil
	}
	if !hashFits(c.SignatureAlgorithm, by.bits) {
		return t.refuse(RuleSignature, t.certSource, "%s is signed by a key of %s with %s", subject(c), by, c.SignatureAlgorithm)
	}
	if own := keyOf(c.PublicKey); own.bits > by.bits {
		return t.refuse(RuleSignature, t.certSource, "%s has a key of %s, which a key of %s cannot vouch for", subject(c), own, by)
	}
	return nil
}

// hashFits is the pairing of curves and hashes of Suite B (RFC 5759 section 3.1).
func hashFits(a x509.SignatureAlgorithm, bits int) bool {
	return bits == 256 && a == x509.ECDSAWithSHA256 || bits == 384 && a == x509.ECDSAWithSHA384
}

var (
	oidKeyUsage    = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
)

// critical tells whether a certificate has an extension that is marked critical.
func critical(c *x509.Certificate, oid asn1.ObjectIdentifier) bool {
	for _, e := range c.Extensions {
		if e.Id.Equal(oid) {
			return e.Critical
		}
	}
	return false
}

// leaf checks the certificate of a TLS peer.
func (t *tlsTable) leaf(c *x509.Certificate, usage x509.ExtKeyUsage) error {
	signs := c.KeyUsage&x509.KeyUsageDigitalSignature != 0
	switch {
	case t.strict && !(signs && critical(c, oidKeyUsage)):
		return t.refuse(RuleUsage, t.certSource, "%s lacks a critical key usage with digitalSignature", subject(c))
	case c.KeyUsage != 0 && !signs:
		return t.refuse(RuleUsage, "RFC 5280 section 4.2.1.3", "the key usage of %s lacks digitalSignature", subject(c))
	case len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) > 0 && !slices.Contains(c.ExtKeyUsage, usage) && !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny):
		return t.refuse(RuleExtended, "RFC 5280 section 4.2.1.12", "the extended key usage of %s is for something else", subject(c))
	case t.strict && c.IsCA:
		return t.refuse(RuleConstraints, t.certSource, "%s is that of an authority", subject(c))
	case t.strict && c.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return t.refuse(RuleUsage, t.certSource, "the key usage of %s is that of an authority", subject(c))
	case t.identifiers && len(c.AuthorityKeyId) == 0:
		return t.refuse(RuleIdentifiers, t.certSource, "%s lacks an authority key identifier", subject(c))
	}
	return nil
}

// authority checks the certificate of an authority.
func (t *tlsTable) authority(c *x509.Certificate) error {
	if !t.strict {
		return nil // crypto/x509 has looked at its basic constraints and key usage
	}
	switch {
	case !c.IsCA || !c.BasicConstraintsValid || !critical(c, oidConstraints):
		return t.refuse(RuleConstraints, t.certSource, "%s lacks critical basic constraints of an authority", subject(c))
	case c.KeyUsage&x509.KeyUsageCertSign == 0 || !critical(c, oidKeyUsage):
		return t.refuse(RuleUsage, t.certSource, "%s lacks a critical key usage with keyCertSign", subject(c))
	case t.identifiers && c.KeyUsage&x509.KeyUsageCRLSign == 0:
		return t.refuse(RuleUsage, t.certSource, "the key usage of %s lacks cRLSign", subject(c))
	case t.identifiers && len(c.SubjectKeyId) == 0:
		return t.refuse(RuleIdentifiers, t.certSource, "%s lacks a subject key identifier", subject(c))
	}
	return nil
}

// subject names a certificate in a refusal.
func subject(c *x509.Certificate) string {
	if s := c.Subject.String(); s != "" {
		return fmt.Sprintf("the certificate of %q", s)
	}
	return fmt.Sprintf("the certificate with serial number %x", c.SerialNumber)
}

// CheckOwn checks the server's certificate and those that it sends along, the server's first: every problem with its
// remedy. The default policy leaves dates to the clients.
func (r *TLSRules) CheckOwn(chain []*x509.Certificate, now time.Time) error {
	var errs []error
	for _, t := range r.tables {
		for i := range chain {
			var err error
			switch last := i == len(chain)-1; {
			case !t.strict:
				err = t.key(chain[i], now)
			case last && !bytes.Equal(chain[i].RawIssuer, chain[i].RawSubject):
				err = t.unissued(chain[i], i, now) // its issuer is not sent
			default:
				err = t.certificate(chain, i, now, x509.ExtKeyUsageServerAuth)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%w: replace the certificate by one that the policy allows", err))
			}
		}
	}
	return errors.Join(errs...)
}

// unissued checks a certificate whose issuer is not at hand.
func (t *tlsTable) unissued(c *x509.Certificate, i int, now time.Time) error {
	err := errors.Join(t.validity(c, now), t.key(c, now))
	if !allows(t.signatures, c.SignatureAlgorithm) {
		err = errors.Join(err, t.refuse(RuleSignature, t.certSource, "%s is signed with %s", subject(c), c.SignatureAlgorithm))
	}
	if i == 0 {
		return errors.Join(err, t.leaf(c, x509.ExtKeyUsageServerAuth))
	}
	return errors.Join(err, t.authority(c))
}

// CheckAuthorities checks the certification authorities of clients: one that a strict policy refuses could only vouch for
// clients that are refused.
func (r *TLSRules) CheckAuthorities(pool []*x509.Certificate, now time.Time) error {
	var errs []error
	for _, t := range r.tables {
		if !t.strict {
			continue
		}
		for _, c := range pool {
			err := errors.Join(t.validity(c, now), t.key(c, now), t.authority(c))
			if t.rootToo && bytes.Equal(c.RawIssuer, c.RawSubject) {
				err = errors.Join(err, t.signature(c, c))
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%w: take it out of the file, or replace it", err))
			}
		}
	}
	return errors.Join(errs...)
}

// CheckCRL checks how an authority signed a revocation list.
func (r *TLSRules) CheckCRL(list *x509.RevocationList, issuer *x509.Certificate) error {
	for _, t := range r.tables {
		if !allows(t.signatures, list.SignatureAlgorithm) ||
			t.issuerHash && !hashFits(list.SignatureAlgorithm, keyOf(issuer.PublicKey).bits) {
			return t.refuse(RuleRevocation, t.certSource, "the revocation list of %s is signed with %s", subject(issuer), list.SignatureAlgorithm)
		}
	}
	return nil
}

// Refusal names the policy, the rule and its source, for logs and counters.
func (e *TLSError) Refusal() (policy, rule, source string) { return e.Policy, e.Rule, e.Source }
