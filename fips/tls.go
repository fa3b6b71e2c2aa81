package fips

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// This file is what each policy allows in TLS, as data, and how a listener is set up by it. peer.go has the checks of
// what a handshake ended with.

// keyRule allows a kind of key in certificates.
type keyRule struct {
	algorithm x509.PublicKeyAlgorithm
	curves    []int     // bits of ECDSA curves: 256, 384, 521
	min       int       // bits of an RSA modulus
	until     time.Time // when it ends; zero: never
}

// tlsColumn ties a cipher suite to a group: what is in different columns does not mix.
type tlsColumn struct {
	suite uint16
	group tls.CurveID
}

// tlsTable is what one policy says. A nil list allows all that crypto/tls does.
type tlsTable struct {
	policy     string
	source     string // of suites and groups
	certSource string // of certificates
	versions   []uint16
	suites     []uint16
	groups     []tls.CurveID
	columns    []tlsColumn
	keys       []keyRule
	signatures []x509.SignatureAlgorithm // of certificates and revocation lists

	strict      bool // usages must be stated and critical, no session tickets, extended master secret
	issuerHash  bool // ECDSA with the hash of the issuer's curve, and no P-384 key below a smaller one (RFC 5759 section 3.1)
	rootToo     bool // the signature of a root over itself counts
	revocation  bool // a missing or expired revocation list refuses the peer
	identifiers bool // subject and authority key identifiers, cRLSign (RFC 5759 section 3.2)
}

var (
	gcm128 = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	gcm256 = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384}
	sha2   = []x509.SignatureAlgorithm{x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA, x509.SHA256WithRSAPSS,
		x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512}
	sha384   = []x509.SignatureAlgorithm{x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384}
	cnsaKeys = []keyRule{{algorithm: x509.ECDSA, curves: []int{384}}, {algorithm: x509.RSA, min: 3072}}
)

// tlsTables has a row for each policy.
var tlsTables = []*tlsTable{
	{policy: "default", source: "crypto/tls", certSource: "crypto/x509, RSA of 2048 bits and more",
		versions: []uint16{tls.VersionTLS12, tls.VersionTLS13},
		keys: []keyRule{{algorithm: x509.RSA, min: 2048}, {algorithm: x509.ECDSA, curves: []int{224, 256, 384, 521}},
			{algorithm: x509.Ed25519}}},
	{policy: "fips140", source: "SP 800-52 Rev. 2 section 3.3", certSource: "SP 800-52 Rev. 2 section 3.2", strict: true, revocation: true,
		versions: []uint16{tls.VersionTLS12, tls.VersionTLS13},
		suites:   slices.Concat(gcm256, gcm128, []uint16{tls.TLS_AES_256_GCM_SHA384, tls.TLS_AES_128_GCM_SHA256}),
		groups: []tls.CurveID{tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024,
			tls.CurveP256, tls.CurveP384, tls.CurveP521},
		keys: []keyRule{{algorithm: x509.RSA, min: 2048, until: end2030}, {algorithm: x509.RSA, min: 3072},
			{algorithm: x509.ECDSA, curves: []int{256, 384, 521}}},
		signatures: sha2},
	{policy: "suiteb128", source: "KMIP Suite B Profile 1.0 section 2.1, RFC 6460 section 3.1", certSource: "RFC 5759 sections 3 and 4",
		strict: true, revocation: true, issuerHash: true, rootToo: true, identifiers: true,
		versions: []uint16{tls.VersionTLS12},
		suites:   []uint16{gcm128[0], gcm256[0]},
		groups:   []tls.CurveID{tls.CurveP256, tls.CurveP384},
		columns:  []tlsColumn{{gcm128[0], tls.CurveP256}, {gcm256[0], tls.CurveP384}},
		keys:     []keyRule{{algorithm: x509.ECDSA, curves: []int{256, 384}}},

		signatures: []x509.SignatureAlgorithm{x509.ECDSAWithSHA256, x509.ECDSAWithSHA384}},
	{policy: "suiteb192", source: "KMIP Suite B Profile 1.0 section 4.1, RFC 6460 section 3.2", certSource: "RFC 5759 sections 3 and 4",
		strict: true, revocation: true, issuerHash: true, rootToo: true, identifiers: true,
		versions:   []uint16{tls.VersionTLS12},
		suites:     gcm256[:1],
		groups:     []tls.CurveID{tls.CurveP384},
		keys:       []keyRule{{algorithm: x509.ECDSA, curves: []int{384}}},
		signatures: []x509.SignatureAlgorithm{x509.ECDSAWithSHA384}},
	{policy: "cnsa1", source: "RFC 9151 sections 4 to 6", certSource: "RFC 8603 sections 3 to 5", strict: true, revocation: true, rootToo: true,
		versions:   []uint16{tls.VersionTLS12, tls.VersionTLS13},
		suites:     slices.Concat(gcm256, []uint16{tls.TLS_AES_256_GCM_SHA384}),
		groups:     []tls.CurveID{tls.CurveP384},
		keys:       cnsaKeys,
		signatures: sha384},
	{policy: "cnsa2", source: "CNSA 2.0 (CNSSP-15), TLS 1.3 with SecP384r1MLKEM1024", certSource: "CNSA 2.0, RFC 8603 in the meantime",
		strict: true, revocation: true, rootToo: true,
		versions:   []uint16{tls.VersionTLS13},
		suites:     []uint16{tls.TLS_AES_256_GCM_SHA384},
		groups:     []tls.CurveID{tls.SecP384r1MLKEM1024},
		keys:       cnsaKeys,
		signatures: sha384},
}

// TLSRules is what one or several policies together allow on a TLS listener. It is immutable and safe for concurrent use.
type TLSRules struct {
	tables   []*tlsTable // each must agree
	versions []uint16
	suites   []uint16 // of all versions; nil: any
	groups   []tls.CurveID
	columns  []tlsColumn // nil: any suite with any group
}

// TLSByName is the rules of a policy, and an error that lists the names for another.
func TLSByName(name string) (*TLSRules, error) {
	for _, t := range tlsTables {
		if t.policy == name {
			return &TLSRules{tables: []*tlsTable{t}, versions: t.versions, suites: t.suites, groups: t.groups, columns: t.columns}, nil
		}
	}
	return nil, fmt.Errorf("%q is none of %s", name, strings.Join(Names(), ", "))
}

// And is what both allow: never more than either. An error says what they have nothing in common of.
func (r *TLSRules) And(other *TLSRules) (*TLSRules, error) {
	out := &TLSRules{tables: slices.Clone(r.tables), versions: both(r.versions, other.versions), suites: both(r.suites, other.suites),
		groups: both(r.groups, other.groups), columns: both(r.columns, other.columns)}
	for _, t := range other.tables {
		if !slices.Contains(out.tables, t) {
			out.tables = append(out.tables, t)
		}
	}
	if out.columns != nil {
		out.columns = slices.DeleteFunc(slices.Clone(out.columns), func(c tlsColumn) bool {
			return !allows(out.suites, c.suite) || !allows(out.groups, c.group)
		})
	}
	var errs []error
	none := func(empty bool, what string) {
		if empty {
			errs = append(errs, fmt.Errorf("the policies %s have no %s in common: give the listener another policy", out, what))
		}
	}
	none(len(out.versions) == 0, "TLS version")
	none(len(errs) == 0 && !out.haveSuites(), "cipher suite")
	none(out.groups != nil && len(out.groups) == 0, "group of the key exchange")
	none(len(errs) == 0 && out.columns != nil && len(out.columns) == 0, "cipher suite with a group")
	none(!out.haveKeys(), "kind of key in certificates")
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return out, nil
}

// both is the members of two lists, of which nil has every member.
func both[T comparable](a, b []T) []T {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	out := []T{}
	for _, v := range a {
		if slices.Contains(b, v) {
			out = append(out, v)
		}
	}
	return out
}

func allows[T comparable](list []T, v T) bool { return list == nil || slices.Contains(list, v) }

// versionOf is the one TLS version of a suite.
func versionOf(suite uint16) uint16 {
	if suite>>8 == 0x13 {
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}

// haveSuites tells whether each version has a suite.
func (r *TLSRules) haveSuites() bool {
	for _, v := range r.versions {
		if r.suites != nil && !slices.ContainsFunc(r.suites, func(s uint16) bool { return versionOf(s) == v }) {
			return false
		}
	}
	return true
}

// haveKeys tells whether some key passes all tables.
func (r *TLSRules) haveKeys() bool {
	for _, k := range []certKey{{x509.ECDSA, 256}, {x509.ECDSA, 384}, {x509.ECDSA, 521}, {x509.RSA, 4096}, {x509.Ed25519, 256}} {
		if !slices.ContainsFunc(r.tables, func(t *tlsTable) bool { return !t.allowsKey(k, time.Time{}) }) {
			return true
		}
	}
	return false
}

// String is the names of the policies.
func (r *TLSRules) String() string {
	var names []string
	for _, t := range r.tables {
		if t.policy != "default" || len(r.tables) == 1 {
			names = append(names, t.policy)
		}
	}
	return strings.Join(names, "+")
}

// Strict tells whether any policy but the default one is among them.
func (r *TLSRules) Strict() bool {
	return slices.ContainsFunc(r.tables, func(t *tlsTable) bool { return t.strict })
}

// Revocation tells whether a peer is refused when no valid revocation list speaks of its certificate.
func (r *TLSRules) Revocation() bool {
	return slices.ContainsFunc(r.tables, func(t *tlsTable) bool { return t.revocation })
}

// Apply sets what crypto/tls can be told: versions, suites of TLS 1.2, groups, the signatures of the server's own
// certificates in the handshake, and in a strict policy no session tickets. The suites of TLS 1.3 cannot be told; Check
// refuses what is not allowed.
func (r *TLSRules) Apply(t *tls.Config) {
	t.MinVersion, t.MaxVersion = slices.Min(r.versions), slices.Max(r.versions)
	if r.suites != nil {
		t.CipherSuites = slices.DeleteFunc(slices.Clone(r.suites), func(s uint16) bool { return versionOf(s) != tls.VersionTLS12 })
	}
	if r.groups != nil {
		t.CurvePreferences = slices.Clone(r.groups)
	}
	t.Renegotiation = tls.RenegotiateNever
	if !r.Strict() {
		return
	}
	t.SessionTicketsDisabled = true
	t.Certificates = slices.Clone(t.Certificates)
	for i := range t.Certificates {
		t.Certificates[i].SupportedSignatureAlgorithms = r.schemes(ownKey(t.Certificates[i]))
	}
}

// ownKey is the kind of key of a certificate; zero when there is none.
func ownKey(c tls.Certificate) certKey {
	leaf := c.Leaf
	if leaf == nil && len(c.Certificate) > 0 {
		leaf, _ = x509.ParseCertificate(c.Certificate[0]) // crypto/tls tells of one that is none
	}
	if leaf == nil {
		return certKey{}
	}
	return keyOf(leaf.PublicKey)
}

// schemes are the signatures of the server in a handshake: those of the same hashes as in certificates. TLS 1.2 does not tie
// them to curves and takes the first one of the client's that is here, so that Suite B leaves the one of the key's curve.
func (r *TLSRules) schemes(own certKey) []tls.SignatureScheme {
	var out []tls.SignatureScheme
	for _, s := range []struct {
		scheme tls.SignatureScheme
		as     []x509.SignatureAlgorithm
	}{
		{tls.ECDSAWithP384AndSHA384, []x509.SignatureAlgorithm{x509.ECDSAWithSHA384}},
		{tls.ECDSAWithP256AndSHA256, []x509.SignatureAlgorithm{x509.ECDSAWithSHA256}},
		{tls.ECDSAWithP521AndSHA512, []x509.SignatureAlgorithm{x509.ECDSAWithSHA512}},
		{tls.PSSWithSHA384, []x509.SignatureAlgorithm{x509.SHA384WithRSAPSS}},
		{tls.PSSWithSHA256, []x509.SignatureAlgorithm{x509.SHA256WithRSAPSS}},
		{tls.PSSWithSHA512, []x509.SignatureAlgorithm{x509.SHA512WithRSAPSS}},
		{tls.PKCS1WithSHA384, []x509.SignatureAlgorithm{x509.SHA384WithRSA}},
		{tls.PKCS1WithSHA256, []x509.SignatureAlgorithm{x509.SHA256WithRSA}},
		{tls.PKCS1WithSHA512, []x509.SignatureAlgorithm{x509.SHA512WithRSA}},
	} {
		if !slices.ContainsFunc(r.tables, func(t *tlsTable) bool {
			return !allows(t.signatures, s.as[0]) || t.issuerHash && own.bits != 0 && !hashFits(s.as[0], own.bits)
		}) {
			out = append(out, s.scheme)
		}
	}
	return out
}

// ForClient is a tls.Config.GetConfigForClient that keeps a client to one column, since crypto/tls chooses suite and
// group each by itself and would mix them. complete is the finished configuration. It is nil where nothing can mix.
func (r *TLSRules) ForClient(complete *tls.Config) func(*tls.ClientHelloInfo) (*tls.Config, error) {
	if len(r.columns) == 0 {
		return nil
	}
	byColumn := make([]*tls.Config, len(r.columns))
	for i, c := range r.columns {
		t := complete.Clone()
		t.GetConfigForClient = nil
		t.CipherSuites, t.CurvePreferences = []uint16{c.suite}, []tls.CurveID{c.group}
		byColumn[i] = t
	}
	return func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		for i, c := range r.columns {
			if slices.Contains(hello.CipherSuites, c.suite) && slices.Contains(hello.SupportedCurves, c.group) {
				return byColumn[i], nil
			}
		}
		return byColumn[0], nil // with which the handshake fails as it should
	}
}

// TLSSummary is the rules in words, for reports.
type TLSSummary struct {
	Policies   []string `json:"policies"`
	Versions   []string `json:"versions"`
	Suites     []string `json:"suites,omitempty"` // none: the defaults of crypto/tls
	Groups     []string `json:"groups,omitempty"`
	Tickets    bool     `json:"session_tickets"`
	Revocation bool     `json:"revocation_required"`
	Sources    []string `json:"sources"` // the texts that the rules rest on
}

// Summary is the rules in words.
func (r *TLSRules) Summary() TLSSummary {
	out := TLSSummary{Tickets: !r.Strict(), Revocation: r.Revocation()}
	for _, t := range r.tables {
		out.Policies = append(out.Policies, t.policy)
		out.Sources = append(out.Sources, t.source+"; "+t.certSource)
	}
	for _, v := range r.versions {
		out.Versions = append(out.Versions, tls.VersionName(v))
	}
	for _, s := range r.suites {
		out.Suites = append(out.Suites, tls.CipherSuiteName(s))
	}
	for _, g := range r.groups {
		out.Groups = append(out.Groups, g.String())
	}
	return out
}
