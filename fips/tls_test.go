package fips

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

func rulesOf(t *testing.T, names ...string) *TLSRules {
	t.Helper()
	var out *TLSRules
	for _, n := range names {
		r, err := TLSByName(n)
		if err != nil {
			t.Fatal(err)
		}
		if out == nil {
			out = r
		} else if out, err = out.And(r); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestTLSNames(t *testing.T) {
	for i, name := range Names() {
		if tlsTables[i].policy != name {
			t.Errorf("row %d is of %s, want %s", i, tlsTables[i].policy, name)
		}
		if r := rulesOf(t, name); r.String() != name || r.Strict() != (name != "default") || r.Revocation() != r.Strict() {
			t.Errorf("%s: got %s, strict %t, revocation %t", name, r, r.Strict(), r.Revocation())
		}
	}
	if _, err := TLSByName("fips"); err == nil || !strings.Contains(err.Error(), "suiteb128") {
		t.Errorf("unknown name: got %v", err)
	}
}

// Which policies go together: the rest is an error at start. And is symmetric, and never laxer than either.
func TestTLSAnd(t *testing.T) {
	apart := map[string]string{
		"suiteb128": "cnsa2", "suiteb192": "cnsa2", "cnsa2": "suiteb128 suiteb192 cnsa1", "cnsa1": "cnsa2",
	}
	for _, a := range Names() {
		for _, b := range Names() {
			r, err := rulesOf(t, a).And(rulesOf(t, b))
			if want := a == b || !slices.Contains(strings.Fields(apart[a]), b); (err == nil) != want {
				t.Errorf("%s and %s: got %v, want common ground %t", a, b, err, want)
			}
			if err != nil {
				if !strings.Contains(err.Error(), a) || !strings.Contains(err.Error(), "another policy") {
					t.Errorf("%s and %s: got %q, want names and remedy", a, b, err)
				}
				continue
			}
			for _, part := range []*TLSRules{rulesOf(t, a), rulesOf(t, b)} {
				for _, s := range r.suites {
					if !allows(part.suites, s) {
						t.Errorf("%s and %s: %s is allowed by one only", a, b, tls.CipherSuiteName(s))
					}
				}
				for _, g := range r.groups {
					if !allows(part.groups, g) {
						t.Errorf("%s and %s: %s is allowed by one only", a, b, g)
					}
				}
			}
			if got := r.Strict(); got != (a != "default" || b != "default") {
				t.Errorf("%s and %s: strict %t", a, b, got)
			}
		}
	}
	r := rulesOf(t, "suiteb128", "suiteb192")
	if !slices.Equal(r.columns, []tlsColumn(nil)) && len(r.columns) != 1 {
		t.Errorf("columns of both Suite B levels: got %v, want the one of P-384", r.columns)
	}
}

// The decisions about version, suite and group, pinned: each combination that crypto/tls can end with.
func TestTLSConnection(t *testing.T) {
	all := []tls.ConnectionState{}
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		for _, v := range s.SupportedVersions {
			for _, g := range []tls.CurveID{0, tls.CurveP256, tls.CurveP384, tls.CurveP521, tls.X25519, tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024} {
				all = append(all, tls.ConnectionState{Version: v, CipherSuite: s.ID, CurveID: g})
			}
		}
	}
	g4 := "CurveP256 CurveP384 CurveP521"
	hybrids := " X25519MLKEM768 SecP256r1MLKEM768 SecP384r1MLKEM1024"
	e128, e256, r128, r256 := "ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE_RSA_WITH_AES_256_GCM_SHA384"
	want := map[string]map[string]string{
		"fips140": {e128: g4 + hybrids, e256: g4 + hybrids, r128: g4 + hybrids, r256: g4 + hybrids,
			"AES_128_GCM_SHA256": g4 + hybrids, "AES_256_GCM_SHA384": g4 + hybrids},
		"suiteb128": {e128: "CurveP256", e256: "CurveP384"},
		"suiteb192": {e256: "CurveP384"},
		"cnsa1":     {e256: "CurveP384", r256: "CurveP384", "AES_256_GCM_SHA384": "CurveP384"},
		"cnsa2":     {"AES_256_GCM_SHA384": "SecP384r1MLKEM1024"},
	}
	for v, ok := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		err := rulesOf(t, "default").tables[0].connection(tls.ConnectionState{Version: v, CipherSuite: gcm128[0], CurveID: tls.X25519})
		if (err == nil) != ok {
			t.Errorf("default: %s: got %v, want allowed %t", tls.VersionName(v), err, ok)
		}
	}
	for policy, suites := range want {
		r := rulesOf(t, policy)
		for _, state := range all {
			err := r.tables[0].connection(state)
			ok := slices.Contains(strings.Fields(suites[strings.TrimPrefix(tls.CipherSuiteName(state.CipherSuite), "TLS_")]), state.CurveID.String())
			if (err == nil) != ok {
				t.Errorf("%s: %s %s %s: got %v, want allowed %t", policy, tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite), state.CurveID, err, ok)
			}
		}
	}
}

// What Apply tells crypto/tls.
func TestTLSApply(t *testing.T) {
	for policy, want := range map[string]struct {
		low, high uint16
		suites    int // of TLS 1.2; -1: the defaults
		tickets   bool
	}{
		"default":   {tls.VersionTLS12, tls.VersionTLS13, -1, true},
		"fips140":   {tls.VersionTLS12, tls.VersionTLS13, 4, false},
		"suiteb128": {tls.VersionTLS12, tls.VersionTLS12, 2, false},
		"suiteb192": {tls.VersionTLS12, tls.VersionTLS12, 1, false},
		"cnsa1":     {tls.VersionTLS12, tls.VersionTLS13, 2, false},
		"cnsa2":     {tls.VersionTLS13, tls.VersionTLS13, 0, false},
	} {
		c := &tls.Config{Certificates: make([]tls.Certificate, 1)}
		r := rulesOf(t, policy)
		r.Apply(c)
		if c.MinVersion != want.low || c.MaxVersion != want.high || c.SessionTicketsDisabled == want.tickets {
			t.Errorf("%s: got versions %x to %x, tickets off %t", policy, c.MinVersion, c.MaxVersion, c.SessionTicketsDisabled)
		}
		if n := len(c.CipherSuites); want.suites < 0 && c.CipherSuites != nil || want.suites >= 0 && n != want.suites {
			t.Errorf("%s: got %d suites of TLS 1.2", policy, n)
		}
		if got := len(c.Certificates[0].SupportedSignatureAlgorithms) > 0; got != (policy != "default") {
			t.Errorf("%s: signatures limited: %t", policy, got)
		}
		if (r.ForClient(c) != nil) != (policy == "suiteb128") {
			t.Errorf("%s: columns are kept apart: %t", policy, r.ForClient(c) != nil)
		}
		if s := r.Summary(); len(s.Versions) == 0 || s.Tickets != want.tickets {
			t.Errorf("%s: summary %+v", policy, s)
		}
	}
	complete := &tls.Config{}
	choose := rulesOf(t, "suiteb128").ForClient(complete)
	for _, c := range []struct {
		suites []uint16
		curves []tls.CurveID
		suite  uint16
	}{
		{[]uint16{gcm256[0], gcm128[0]}, []tls.CurveID{tls.CurveP384, tls.CurveP256}, gcm128[0]},
		{[]uint16{gcm256[0], gcm128[0]}, []tls.CurveID{tls.CurveP384}, gcm256[0]},
		{[]uint16{gcm256[0]}, []tls.CurveID{tls.CurveP256, tls.CurveP384}, gcm256[0]},
		{[]uint16{gcm256[0]}, []tls.CurveID{tls.CurveP256}, gcm128[0]}, // fails for want of a suite
	} {
		got, err := choose(&tls.ClientHelloInfo{CipherSuites: c.suites, SupportedCurves: c.curves})
		if err != nil || !slices.Equal(got.CipherSuites, []uint16{c.suite}) || len(got.CurvePreferences) != 1 {
			t.Errorf("%x %v: got %x with %v, %v", c.suites, c.curves, got.CipherSuites, got.CurvePreferences, err)
		}
	}
}

// In Suite B the server signs a handshake with the hash of its key's curve, whatever the client would rather have.
func TestTLSOwnHash(t *testing.T) {
	for _, c := range []struct {
		policy string
		curve  elliptic.Curve
		want   []tls.SignatureScheme
	}{
		{"suiteb128", elliptic.P256(), []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}},
		{"suiteb128", elliptic.P384(), []tls.SignatureScheme{tls.ECDSAWithP384AndSHA384}},
		{"suiteb192", elliptic.P384(), []tls.SignatureScheme{tls.ECDSAWithP384AndSHA384}},
	} {
		m := issue(t, ecKey(t, c.curve), nil, false, nil)
		for _, cert := range []tls.Certificate{{Leaf: m.cert}, {Certificate: [][]byte{m.cert.Raw}}} {
			config := &tls.Config{Certificates: []tls.Certificate{cert}}
			rulesOf(t, c.policy).Apply(config)
			if got := config.Certificates[0].SupportedSignatureAlgorithms; !slices.Equal(got, c.want) {
				t.Errorf("%s with %s: got %v, want %v", c.policy, c.curve.Params().Name, got, c.want)
			}
		}
	}
}

type made struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// issue makes a certificate; change may spoil the template.
func issue(t testing.TB, key crypto.Signer, by *made, ca bool, change func(*x509.Certificate)) *made {
	t.Helper()
	now := time.Now()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "test"}, NotBefore: now.Add(-time.Hour),
		NotAfter: now.Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	if ca {
		tmpl.IsCA, tmpl.ExtKeyUsage, tmpl.KeyUsage = true, nil, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
		tmpl.Subject.CommonName = "authority"
	}
	if change != nil {
		change(tmpl)
	}
	parent, signer := tmpl, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &made{cert, key}
}

func ecKey(t testing.TB, c elliptic.Curve) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func rsaKey(t *testing.T, bits int) crypto.Signer {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// The decisions about certificates, pinned: each policy against a chain that is good but for one thing.
func TestTLSChains(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p256, p384 := elliptic.P256(), elliptic.P384()
	root256, root384 := issue(t, ecKey(t, p256), nil, true, nil), issue(t, ecKey(t, p384), nil, true, nil)
	rsa3072, rsa2048 := rsaKey(t, 3072), rsaKey(t, 2048)
	alg := func(a x509.SignatureAlgorithm) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.SignatureAlgorithm = a }
	}
	bare := func(c *x509.Certificate) { c.ExtKeyUsage = nil }
	const every = "default fips140 suiteb128 suiteb192 cnsa1 cnsa2"
	const cnsa = " cnsa1 cnsa2"
	for _, c := range []struct {
		name    string
		key     crypto.Signer
		root    *made
		change  func(*x509.Certificate)
		allowed string
		rule    string // of some policy's refusal
	}{
		{"P-384 below P-384", ecKey(t, p384), root384, nil, every, ""},
		{"P-256 below P-256", ecKey(t, p256), root256, nil, "default fips140 suiteb128", RuleKey},
		{"P-256 below P-384", ecKey(t, p256), root384, nil, "default fips140 suiteb128", RuleKey},
		{"P-384 below P-256", ecKey(t, p384), root256, nil, "default fips140", RuleSignature},
		{"P-384 with SHA-256", ecKey(t, p384), root384, alg(x509.ECDSAWithSHA256), "default fips140", RuleSignature},
		{"P-256 with SHA-384", ecKey(t, p256), root256, alg(x509.ECDSAWithSHA384), "default fips140", RuleSignature},
		{"P-521", ecKey(t, elliptic.P521()), root384, nil, "default fips140", RuleKey},
		{"P-224", ecKey(t, elliptic.P224()), root384, nil, "default", RuleKey},
		{"Ed25519", ed, root384, nil, "default", RuleKey},
		{"RSA-2048", rsa2048, root384, nil, "default fips140", RuleKey},
		{"RSA-3072", rsa3072, root384, nil, "default fips140" + cnsa, RuleKey},
		{"no extended key usage", ecKey(t, p384), root384, bare, every, ""},
		{"for servers only", ecKey(t, p384), root384, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, "", RuleExtended},
		{"for any use", ecKey(t, p384), root384, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }, every, ""},
		{"key usage keyAgreement", ecKey(t, p384), root384, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }, "", RuleUsage},
		{"without key usage", ecKey(t, p384), root384, func(c *x509.Certificate) { c.KeyUsage = 0 }, "default", RuleUsage},
		{"key usage not critical", ecKey(t, p384), root384, func(c *x509.Certificate) {
			c.KeyUsage = 0
			c.ExtraExtensions = []pkix.Extension{{Id: oidKeyUsage, Value: []byte{3, 2, 7, 0x80}}}
		}, "default", RuleUsage},
		{"an authority as a client", ecKey(t, p384), root384, func(c *x509.Certificate) { c.IsCA = true }, "default", RuleConstraints},
		{"expired", ecKey(t, p384), root384, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, "", RuleValidity},
		{"not yet valid", ecKey(t, p384), root384, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }, "", RuleValidity},
		{"RSA-2048 root with SHA-256", ecKey(t, p384), issue(t, rsa2048, nil, true, nil), nil, "default fips140", RuleSignature},
		{"RSA-3072 root with SHA-384", rsa3072, issue(t, rsa3072, nil, true, alg(x509.SHA384WithRSA)), alg(x509.SHA384WithRSA), "default fips140" + cnsa, RuleKey},
		{"RSA-3072 root signed with SHA-256", ecKey(t, p384), issue(t, rsa3072, nil, true, alg(x509.SHA256WithRSA)), alg(x509.SHA384WithRSA), "default fips140", RuleSignature},
		{"root without key usage", ecKey(t, p384), issue(t, ecKey(t, p384), nil, true, func(c *x509.Certificate) { c.KeyUsage = 0 }), nil, "default", RuleUsage},
		{"root without cRLSign", ecKey(t, p384), issue(t, ecKey(t, p384), nil, true, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign }), nil, "default fips140" + cnsa, RuleUsage},
		{"usage of an authority", ecKey(t, p384), root384, func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign }, "default", RuleUsage},
		{"constraints of the root not critical", ecKey(t, p384), issue(t, ecKey(t, p384), nil, true, func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: oidConstraints, Value: []byte{0x30, 3, 1, 1, 0xFF}}}
		}), nil, "default", RuleConstraints},
		{"expired root", ecKey(t, p384), issue(t, ecKey(t, p384), nil, true, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), nil, "", RuleValidity},
	} {
		t.Run(c.name, func(t *testing.T) {
			leaf := issue(t, c.key, c.root, false, c.change)
			chain := []*x509.Certificate{leaf.cert, c.root.cert}
			state := tls.ConnectionState{PeerCertificates: chain[:1], VerifiedChains: [][]*x509.Certificate{chain}}
			seen := c.rule == ""
			for _, policy := range Names() {
				err := rulesOf(t, policy).CheckChains(state, time.Now())
				if want := slices.Contains(strings.Fields(c.allowed), policy); (err == nil) != want {
					t.Errorf("%s: got %v, want allowed %t", policy, err, want)
				}
				var refusal *TLSError
				if err != nil && (!errors.As(err, &refusal) || refusal.Policy != policy || refusal.Source == "") {
					t.Errorf("%s: got %#v, want a TLSError with policy and source", policy, err)
				}
				seen = seen || refusal != nil && refusal.Rule == c.rule
			}
			if !seen {
				t.Errorf("no policy refused by %s", c.rule)
			}
		})
	}
}

// Suite B wants key identifiers (RFC 5759 section 3.2). crypto/x509 leaves them out when the issuer has none.
func TestTLSIdentifiers(t *testing.T) {
	root := issue(t, ecKey(t, elliptic.P384()), nil, true, nil)
	bare := &made{&x509.Certificate{}, root.key}
	*bare.cert = *root.cert
	bare.cert.SubjectKeyId = nil
	leaf := issue(t, ecKey(t, elliptic.P384()), bare, false, nil)
	good := issue(t, ecKey(t, elliptic.P384()), root, false, nil)
	for name, c := range map[string]struct {
		chain []*x509.Certificate
		want  bool
	}{
		"authority key identifier": {[]*x509.Certificate{leaf.cert, root.cert}, false},
		"subject key identifier":   {[]*x509.Certificate{good.cert, bare.cert}, false},
		"both":                     {[]*x509.Certificate{good.cert, root.cert}, true},
	} {
		for policy, strict := range map[string]bool{"fips140": false, "cnsa1": false, "suiteb128": true, "suiteb192": true} {
			err := rulesOf(t, policy).CheckChains(tls.ConnectionState{PeerCertificates: c.chain[:1], VerifiedChains: [][]*x509.Certificate{c.chain}}, time.Now())
			if want := c.want || !strict; (err == nil) != want {
				t.Errorf("%s, %s: got %v, want accepted %t", policy, name, err, want)
			}
		}
	}
}

// One good chain is enough, and more checks belong to the chain that they look at.
func TestTLSSeveralChains(t *testing.T) {
	good, bad := issue(t, ecKey(t, elliptic.P384()), nil, true, nil), issue(t, ecKey(t, elliptic.P521()), nil, true, nil)
	leaf := issue(t, ecKey(t, elliptic.P384()), good, false, nil)
	state := tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf.cert},
		VerifiedChains: [][]*x509.Certificate{{leaf.cert, bad.cert}, {leaf.cert, good.cert}}}
	r := rulesOf(t, "suiteb192")
	if err := r.CheckChains(state, time.Now()); err != nil {
		t.Errorf("with a good second chain: %v", err)
	}
	refusal := errors.New("revoked")
	err := r.CheckChains(state, time.Now(), func(chain []*x509.Certificate, _ time.Time) error {
		if chain[1] == good.cert {
			return refusal
		}
		return nil
	})
	if err == nil {
		t.Error("two halves of two chains passed for one")
	}
	if err := r.CheckChains(tls.ConnectionState{PeerCertificates: state.PeerCertificates}, time.Now()); err == nil {
		t.Error("a certificate that nobody vouches for passed")
	}
}

// RSA of 2048 bits ends with 2030.
func TestTLSDates(t *testing.T) {
	tab := tlsTables[1]
	for _, c := range []struct {
		bits int
		at   time.Time
		want bool
	}{{2048, end2030.Add(-time.Second), true}, {2048, end2030, false}, {3072, end2030, true}, {1024, time.Time{}, false}} {
		if got := tab.allowsKey(certKey{x509.RSA, c.bits}, c.at); got != c.want {
			t.Errorf("RSA-%d at %s: got %t", c.bits, c.at, got)
		}
	}
}

// Without keying material to export there is no extended master secret. A client that would renegotiate has none to export.
func TestTLSExtendedMasterSecret(t *testing.T) {
	root := issue(t, ecKey(t, elliptic.P256()), nil, true, nil)
	cert := issue(t, ecKey(t, elliptic.P256()), root, false, func(c *x509.Certificate) { c.DNSNames = []string{"x"} })
	pool := x509.NewCertPool()
	pool.AddCert(root.cert)
	for _, with := range []bool{true, false} {
		a, b := net.Pipe()
		server := tls.Server(a, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert.cert.Raw}, PrivateKey: cert.key}}})
		done := make(chan error, 1)
		go func() { done <- server.Handshake() }()
		config := &tls.Config{RootCAs: pool, ServerName: "x", MaxVersion: tls.VersionTLS12}
		if !with {
			config.Renegotiation = tls.RenegotiateOnceAsClient
		}
		client := tls.Client(b, config)
		if err := errors.Join(client.Handshake(), <-done); err != nil {
			t.Fatal(err)
		}
		for policy, want := range map[string]bool{"default": true, "fips140": with, "suiteb192": with} {
			err := rulesOf(t, policy).Established(client.ConnectionState())
			var refusal *TLSError
			if (err == nil) != want || err != nil && (!errors.As(err, &refusal) || refusal.Rule != RuleEMS) {
				t.Errorf("%s, with EMS %t: got %v", policy, with, err)
			}
		}
	}
}

// What a server's own files are checked for at start: every problem, with the remedy.
func TestTLSOwn(t *testing.T) {
	now := time.Now()
	root := issue(t, ecKey(t, elliptic.P256()), nil, true, nil)
	server := issue(t, ecKey(t, elliptic.P256()), root, false, func(c *x509.Certificate) {
		c.ExtKeyUsage, c.NotAfter = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, now.Add(-time.Minute)
	})
	chain := []*x509.Certificate{server.cert, root.cert}
	if err := rulesOf(t, "default").CheckOwn(chain, now); err != nil {
		t.Errorf("default: %v", err)
	}
	err := rulesOf(t, "suiteb192").CheckOwn(chain[:1], now)
	for _, rule := range []string{RuleValidity, RuleKey, RuleSignature, RuleExtended, "replace the certificate"} {
		if err == nil || !strings.Contains(err.Error(), rule) {
			t.Errorf("got %v, want %s in it", err, rule)
		}
	}
	if err := rulesOf(t, "suiteb192").CheckAuthorities(chain[1:], now); err == nil || !strings.Contains(err.Error(), RuleKey) {
		t.Errorf("authorities of P-256 in suiteb192: got %v", err)
	}
	if err := rulesOf(t, "suiteb128").CheckAuthorities(chain[1:], now); err != nil {
		t.Errorf("authorities of P-256 in suiteb128: got %v", err)
	}
	for hash, want := range map[x509.SignatureAlgorithm]bool{x509.ECDSAWithSHA256: true, x509.ECDSAWithSHA384: false, x509.ECDSAWithSHA1: false} {
		if err := rulesOf(t, "suiteb128").CheckCRL(&x509.RevocationList{SignatureAlgorithm: hash}, root.cert); (err == nil) != want {
			t.Errorf("a list signed with %s: got %v", hash, err)
		}
	}
}

// The server as a client of others' endpoints holds them to its policy.
func TestTLSApplyClient(t *testing.T) {
	root := issue(t, ecKey(t, elliptic.P384()), nil, true, nil)
	dns := func(c *x509.Certificate) { c.DNSNames = []string{"x"} }
	good, weak := issue(t, ecKey(t, elliptic.P384()), root, false, dns), issue(t, ecKey(t, elliptic.P521()), root, false, dns)
	pool := x509.NewCertPool()
	pool.AddCert(root.cert)
	dial := func(policy string, peer *made, change func(*tls.Config)) error {
		a, b := net.Pipe()
		defer b.Close()
		server := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{peer.cert.Raw}, PrivateKey: peer.key}}}
		if change != nil {
			change(server)
		}
		go func() {
			_ = tls.Server(a, server).Handshake() // the client's word counts
			a.Close()
		}()
		client := &tls.Config{RootCAs: pool, ServerName: "x"}
		rulesOf(t, policy).ApplyClient(client)
		return tls.Client(b, client).Handshake()
	}
	tls13 := func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }
	for _, c := range []struct {
		policy string
		peer   *made
		change func(*tls.Config)
		rule   string // "": accepted; "-": crypto/tls refuses
	}{
		{"default", weak, nil, ""}, {"fips140", weak, nil, ""}, {"suiteb192", good, nil, ""}, {"suiteb192", weak, nil, RuleKey},
		{"cnsa1", weak, nil, RuleKey}, {"cnsa1", good, nil, ""}, {"suiteb128", good, nil, ""}, {"suiteb192", good, tls13, "-"},
		{"suiteb192", good, func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP256} }, "-"},
	} {
		err := dial(c.policy, c.peer, c.change)
		var refusal *TLSError
		switch {
		case c.rule == "" && err != nil, c.rule == "-" && err == nil:
			t.Errorf("%s: got %v", c.policy, err)
		case c.rule != "" && c.rule != "-" && (!errors.As(err, &refusal) || refusal.Rule != c.rule):
			t.Errorf("%s: got %v, want a refusal by %s", c.policy, err, c.rule)
		}
	}
}
