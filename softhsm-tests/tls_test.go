package softhsmtests

import (
	"context"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	_ "unsafe" // for linkname

	"kmipd/softhsm-tests/internal/harness"
	"kmipd/softhsm-tests/internal/message"
	"kmipd/softhsm-tests/internal/rawttlv"
)

// defaultCipherSuitesTLS13 is what crypto/tls offers as a client: the one thing about TLS 1.3 that its API leaves out, and
// that a client of CNSA must leave out.
//
//go:linkname defaultCipherSuitesTLS13 crypto/tls.defaultCipherSuitesTLS13
var defaultCipherSuitesTLS13 []uint16

// offer has TLS 1.3 clients offer these suites until the test ends.
func offer(t *testing.T, suites ...uint16) {
	before := defaultCipherSuitesTLS13
	defaultCipherSuitesTLS13 = suites
	t.Cleanup(func() { defaultCipherSuitesTLS13 = before })
}

// tlsSite is a server with a listener for each policy, all with certificates of the same authorities.
type tlsSite struct {
	*harness.Server
	dir            string
	e256, f384     *authority // roots
	sub, revoked   *authority // below f384
	rsa, silent    *authority // silent has no revocation list
	stranger       *authority // in nobody's pool
	roots          *x509.CertPool
	good256, good  *tls.Certificate
	revokedLeaf    *tls.Certificate
	belowRevoked   *tls.Certificate
	unknownToLists *tls.Certificate
}

var strictPolicies = []string{"fips140", "suiteb128", "suiteb192", "cnsa1", "cnsa2"}

// newTLSSite makes authorities and a server with a listener for every policy.
func newTLSSite(t *testing.T) *tlsSite {
	t.Helper()
	return newAuthorities(t).start(t, append([]string{"default"}, strictPolicies...)...)
}

// newAuthorities makes a site without a server.
func newAuthorities(t *testing.T) *tlsSite {
	t.Helper()
	p256, p384 := elliptic.P256(), elliptic.P384()
	s := &tlsSite{e256: newAuthority(t, "E", ecdsaKey(t, p256), nil), f384: newAuthority(t, "F", ecdsaKey(t, p384), nil),
		rsa: newAuthority(t, "R", rsaKey(t, 3072), nil), silent: newAuthority(t, "S", ecdsaKey(t, p384), nil), stranger: newAuthority(t, "X", ecdsaKey(t, p384), nil)}
	s.sub, s.revoked = newAuthority(t, "sub", ecdsaKey(t, p384), s.f384), newAuthority(t, "revoked sub", ecdsaKey(t, p384), s.f384)
	s.good, s.good256 = s.f384.issue("good", ecdsaKey(t, p384)), s.e256.issue("good-256", ecdsaKey(t, p256))
	s.revokedLeaf, s.belowRevoked = s.f384.issue("revoked", ecdsaKey(t, p384)), s.revoked.issue("below-revoked", ecdsaKey(t, p384))
	s.unknownToLists = s.silent.issue("unlisted", ecdsaKey(t, p384))
	s.roots = x509.NewCertPool()
	s.roots.AddCert(s.f384.cert)
	return s
}

// start makes a server with listeners of these policies. A strict one switches Go's FIPS module on, for the whole process: then
// the default policy allows no more than the module does.
func (site tlsSite) start(t *testing.T, policies ...string) *tlsSite {
	t.Helper()
	s := &site
	s.dir = harness.Dir(t)
	if out, code := harness.Run(t, "init", "--dir", s.dir, "--listen", "127.0.0.1:0"); code != 0 {
		t.Fatalf("kmipd init: status %d\n%s", code, out)
	}
	pki := filepath.Join(s.dir, "pki")
	later := time.Now().Add(time.Hour)
	for name, b := range map[string][]byte{
		"e.crl": s.e256.crl(later), "f.crl": s.f384.crl(later, s.revokedLeaf.Leaf, s.revoked.cert), "r.crl": s.rsa.crl(later),
		"sub.crl": s.sub.crl(later), "revoked.crl": s.revoked.crl(later),
	} {
		put(t, b, pki, "crl", name)
	}
	putPair(t, s.f384.issue("server", ecdsaKey(t, elliptic.P384()), func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }),
		filepath.Join(pki, "server.crt"), filepath.Join(pki, "server.key"))
	pools := map[string][]*authority{
		"default": {s.e256, s.f384, s.rsa, s.silent}, "fips140": {s.e256, s.f384, s.rsa, s.silent}, "suiteb128": {s.e256, s.f384, s.silent},
		"suiteb192": {s.f384, s.silent}, "cnsa1": {s.f384, s.rsa, s.silent}, "cnsa2": {s.f384, s.rsa, s.silent},
	}
	addTables(t, s.dir, "allow_software_tls_key = true\n")
	for policy, list := range pools {
		if !slices.Contains(policies, policy) {
			continue
		}
		putRoots(t, filepath.Join(pki, policy+".pem"), list...)
		addTables(t, s.dir, "\n[[listener]]\nname = %q\nlisten = \"127.0.0.1:0\"\npolicy = %q\ntls_certificate = \"pki/server.crt\"\ntls_key = \"pki/server.key\"\ntls_client_ca = \"pki/%s.pem\"\ntls_crl = [\"pki/crl\"]\n",
			policy, policy, policy)
	}
	s.Server = harness.Start(t, s.dir)
	return s
}

// client is a configuration with a certificate.
func (s *tlsSite) client(cert *tls.Certificate, changes ...func(*tls.Config)) *tls.Config {
	c := &tls.Config{RootCAs: s.roots, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
	// GetClientCertificate sends the certificate whatever the server says it takes: that a bad one is refused is the server's doing.
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	for _, f := range changes {
		f(c)
	}
	return c
}

// attempt is a connection as the log tells of it. The kernel may give the port of an earlier one again, also on another
// listener, so the log counts from where it ended before the attempt.
type attempt struct {
	local  string
	before int64 // the end of the log then
}

// ask makes a connection and sends a Query. It returns the attempt, and whether a KMIP answer came.
func (s *tlsSite) ask(t *testing.T, policy string, config *tls.Config) (a attempt, state tls.ConnectionState, err error) {
	t.Helper()
	a.before = s.Mark()
	raw, err := net.DialTimeout("tcp", s.Listeners[policy], harness.Timeout)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(harness.Timeout))
	c := tls.Client(raw, config)
	a.local = raw.LocalAddr().String()
	if err := c.Handshake(); err != nil {
		return a, state, err
	}
	if _, err := c.Write(rawttlv.MustEncode(message.Request(message.Query()))); err != nil {
		return a, state, err
	}
	var header [8]byte
	_, err = io.ReadFull(c, header[:])
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("%s: the connection hangs", policy)
	}
	return a, c.ConnectionState(), err
}

var ruleField = regexp.MustCompile(`rule="?([a-z0-9-]+)`)

// refusal waits for the log line about an attempt, and returns its rule.
func (s *tlsSite) refusal(t *testing.T, a attempt) (rule, line string) {
	t.Helper()
	s.WaitFor(t, a.before, "why "+a.local+" was refused", func(output string) bool {
		for l := range strings.Lines(output) {
			if strings.Contains(l, "remote="+a.local+" ") && strings.Contains(l, "no connection") && strings.HasSuffix(l, "\n") {
				if m := ruleField.FindStringSubmatch(l); m != nil {
					rule, line = m[1], l
					return true
				}
			}
		}
		return false
	})
	return rule, line
}

// TestTLSMatrix has every kind of peer at the listener of every policy: the good ones get an answer, the others none, the log
// says by which rule, and connections that are open go on.
func TestTLSMatrix(t *testing.T) {
	s := newAuthorities(t)
	sites := map[string]*tlsSite{"default": s.start(t, "default")}
	strict := s.start(t, strictPolicies...)
	for _, policy := range strictPolicies {
		sites[policy] = strict
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	offer(t, tls.TLS_AES_256_GCM_SHA384)
	p256, p384, p521 := elliptic.P256(), elliptic.P384(), elliptic.P521()
	k256, k384 := ecdsaKey(t, p256), ecdsaKey(t, p384)
	set := func(f func(*x509.Certificate)) change { return f }
	signed := func(a x509.SignatureAlgorithm) change {
		return func(c *x509.Certificate) { c.SignatureAlgorithm = a }
	}
	extended := func(u ...x509.ExtKeyUsage) change {
		return func(c *x509.Certificate) { c.ExtKeyUsage = u }
	}
	usage := func(u x509.KeyUsage) change { return func(c *x509.Certificate) { c.KeyUsage = u } }
	with := func(version uint16, suite uint16, groups ...tls.CurveID) func(*tls.Config) {
		return func(c *tls.Config) {
			c.MinVersion, c.MaxVersion, c.CurvePreferences = version, version, groups
			if suite != 0 {
				c.CipherSuites = []uint16{suite}
			}
		}
	}
	const all, tls12, tls13 = "default fips140 suiteb128 suiteb192 cnsa1 cnsa2", tls.VersionTLS12, tls.VersionTLS13
	const e128, e256 = tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
	now := time.Now()
	cases := []struct {
		name   string
		cert   *tls.Certificate
		change func(*tls.Config)
		good   string
		rule   string // of every refusal; "" for more than one
	}{
		{"P-384", s.good, nil, all, ""},
		{"P-384 below an intermediate", s.sub.issue("c", k384), nil, all, ""},
		{"no extended key usage", s.f384.issue("c", k384, extended()), nil, all, ""},
		{"P-256", s.good256, nil, "default fips140 suiteb128", "client-certificate"}, // its root is in no other pool
		{"P-256 by a P-384 root", s.f384.issue("c", k256), nil, "default fips140 suiteb128", "certificate-key"},
		{"P-384 by a P-256 root", s.e256.issue("c", k384), nil, "default fips140", ""},
		{"P-384 with SHA-256", s.f384.issue("c", k384, signed(x509.ECDSAWithSHA256)), nil, "default fips140", "certificate-signature"},
		{"P-256 with SHA-512", s.f384.issue("c", k256, signed(x509.ECDSAWithSHA512)), nil, "default fips140", ""},
		{"SHA-1", s.f384.issue("c", k384, signed(x509.ECDSAWithSHA1)), nil, "", "client-certificate"},
		{"P-521", s.f384.issue("c", ecdsaKey(t, p521)), nil, "default fips140", "certificate-key"},
		{"P-224", s.f384.issue("c", ecdsaKey(t, elliptic.P224())), nil, "", ""}, // crypto/tls has no signature for it
		{"Ed25519", s.f384.issue("c", ed), nil, "default", "certificate-key"},
		{"RSA-2048", s.f384.issue("c", rsaKey(t, 2048)), nil, "default fips140", "certificate-key"},
		{"RSA-3072 by an RSA root", s.rsa.issue("c", rsaKey(t, 3072)), nil, "default fips140 cnsa1 cnsa2", "client-certificate"},
		{"RSA-3072 with SHA-256", s.rsa.issue("c", rsaKey(t, 3072), signed(x509.SHA256WithRSA)), nil, "default fips140", ""},
		{"expired", s.f384.issue("c", k384, set(func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) })), nil, "", "client-certificate"},
		{"not yet valid", s.f384.issue("c", k384, set(func(c *x509.Certificate) { c.NotBefore = now.Add(10 * time.Minute) })), nil, "", "client-certificate"},
		{"revoked", s.revokedLeaf, nil, "", "revocation"},
		{"revoked intermediate", s.belowRevoked, nil, "", "revocation"},
		{"no revocation list", s.unknownToLists, nil, "default", "revocation"},
		{"key usage keyAgreement", s.f384.issue("c", k384, usage(x509.KeyUsageKeyAgreement)), nil, "", "key-usage"},
		{"no key usage", s.f384.issue("c", k384, usage(0)), nil, "default", "key-usage"},
		{"for servers", s.f384.issue("c", k384, extended(x509.ExtKeyUsageServerAuth)), nil, "", "client-certificate"},
		{"an authority", s.f384.issue("c", k384, set(func(c *x509.Certificate) { c.IsCA = true })), nil, "default", "basic-constraints"},
		{"another authority", s.stranger.issue("c", k384), nil, "", "client-certificate"},
		{"no certificate", &tls.Certificate{}, nil, "", "handshake"},
		{"TLS 1.2 AES-128 with P-256", s.good, with(tls12, e128, tls.CurveP256), "default fips140 suiteb128", "handshake"},
		{"TLS 1.2 AES-256 with P-384", s.good, with(tls12, e256, tls.CurveP384), "default fips140 suiteb128 suiteb192 cnsa1", "handshake"},
		{"TLS 1.2 AES-128 with P-384", s.good, with(tls12, e128, tls.CurveP384), "default fips140", "handshake"},
		{"TLS 1.2 AES-256 with P-256", s.good, with(tls12, e256, tls.CurveP256), "default fips140", "handshake"},
		{"TLS 1.2 all suites, P-384 first", s.good, with(tls12, 0, tls.CurveP384, tls.CurveP256), "default fips140 suiteb128 suiteb192 cnsa1", "handshake"},
		{"TLS 1.2 ChaCha20", s.good, with(tls12, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.CurveP256), "default", "handshake"},
		{"TLS 1.2 CBC with SHA-1", s.good, with(tls12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.CurveP256), "default", "handshake"},
		{"TLS 1.2 X25519", s.good, with(tls12, e128, tls.X25519), "default", "handshake"},
		{"TLS 1.1", s.good, with(tls.VersionTLS11, 0), "", "handshake"},
		{"TLS 1.3 P-256", s.good, with(tls13, 0, tls.CurveP256), "default fips140", "handshake"},
		{"TLS 1.3 P-384", s.good, with(tls13, 0, tls.CurveP384), "default fips140 cnsa1", "handshake"},
		{"TLS 1.3 P-521", s.good, with(tls13, 0, tls.CurveP521), "default fips140", "handshake"},
		{"TLS 1.3 X25519", s.good, with(tls13, 0, tls.X25519), "default", "handshake"},
		{"TLS 1.3 X25519MLKEM768", s.good, with(tls13, 0, tls.X25519MLKEM768), "default fips140", "handshake"},
		{"TLS 1.3 SecP384r1MLKEM1024", s.good, with(tls13, 0, tls.SecP384r1MLKEM1024), "default fips140 cnsa2", "handshake"},
	}
	for _, policy := range append([]string{"default"}, strictPolicies...) {
		s := sites[policy]
		groups := []tls.CurveID{tls.SecP384r1MLKEM1024, tls.CurveP384, tls.CurveP256}
		standing, err := harness.Dial(s.Listeners[policy], s.client(s.good, func(c *tls.Config) { c.CurvePreferences = groups }))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cases {
			t.Run(policy+"/"+c.name, func(t *testing.T) {
				change := c.change
				if change == nil {
					change = func(c *tls.Config) { c.CurvePreferences = groups }
				}
				asked, _, err := s.ask(t, policy, s.client(c.cert, change))
				want := slices.Contains(strings.Fields(c.good), policy)
				if (err == nil) != want {
					t.Fatalf("got %v, want accepted %t", err, want)
				}
				if want {
					return
				}
				rule, line := s.refusal(t, asked)
				if c.rule != "" && rule != c.rule {
					t.Errorf("refused by %s, want %s: %s", rule, c.rule, line)
				}
				if c.rule == "" && rule == "" {
					t.Errorf("no rule in %q", line)
				}
			})
		}
		if _, err := message.Do(standing, message.Query()); err != nil {
			t.Errorf("%s: the connection that was open does not go on: %v", policy, err)
		}
		standing.Close()
	}
	offer(t, tls.TLS_AES_128_GCM_SHA256, tls.TLS_AES_256_GCM_SHA384) // of which crypto/tls as a server takes the first
	for policy, want := range map[string]bool{"default": true, "fips140": true, "cnsa1": false, "cnsa2": false} {
		s := sites[policy]
		asked, _, err := s.ask(t, policy, s.client(s.good, with(tls13, 0, tls.SecP384r1MLKEM1024, tls.CurveP384)))
		if (err == nil) != want {
			t.Errorf("%s: AES-128 in TLS 1.3: got %v, want accepted %t", policy, err, want)
		}
		if !want {
			if rule, line := s.refusal(t, asked); rule != "cipher-suite" {
				t.Errorf("%s: %s", policy, line)
			}
		}
	}
}

// Sessions: the default policy resumes its own, strict ones none, and none is resumed by another listener.
func TestTLSResumption(t *testing.T) {
	s := newTLSSite(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cache := tls.NewLRUClientSessionCache(8)
		resumed := func(policy string) bool {
			t.Helper()
			config := s.client(s.good, func(c *tls.Config) { c.MinVersion, c.MaxVersion, c.ClientSessionCache = version, version, cache })
			_, state, err := s.ask(t, policy, config)
			if err != nil {
				t.Fatalf("%s: %v", policy, err)
			}
			return state.DidResume
		}
		if resumed("default") || !resumed("default") {
			t.Errorf("%s: the default policy does not resume", tls.VersionName(version))
		}
		for i := range 3 { // the first with a session of the other listener at hand
			if resumed("fips140") {
				t.Errorf("%s, connection %d: the strict policy resumed a session", tls.VersionName(version), i)
			}
		}
	}
}

// A client that is put on the revocation list is refused at its next request, and at the next handshake.
func TestTLSRevokedWhileConnected(t *testing.T) {
	s := newTLSSite(t)
	for _, policy := range []string{"default", "suiteb192"} {
		victim := s.f384.issue("victim", ecdsaKey(t, elliptic.P384()))
		c, err := harness.Dial(s.Listeners[policy], s.client(victim))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		other, err := harness.Dial(s.Listeners[policy], s.client(s.good))
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		if _, err := message.Do(c, message.Query()); err != nil {
			t.Fatal(err)
		}
		put(t, s.f384.crl(time.Now().Add(time.Hour), s.revokedLeaf.Leaf, s.revoked.cert, victim.Leaf), s.dir, "pki", "crl", "f.crl")
		const authenticationNotSuccessful = 3
		ctx, cancel := context.WithTimeout(t.Context(), harness.Timeout)
		defer cancel()
		for {
			if _, err = message.Do(c, message.Query()); err != nil || ctx.Err() != nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		if message.ReasonOf(err) != authenticationNotSuccessful {
			t.Errorf("%s: the next request: got %v", policy, err)
		}
		if _, err := message.Do(c, message.Query()); err == nil || message.ReasonOf(err) != 0 {
			t.Errorf("%s: the connection goes on: %v", policy, err)
		}
		asked, _, err := s.ask(t, policy, s.client(victim))
		if err == nil {
			t.Errorf("%s: the next handshake was accepted", policy)
		} else if rule, line := s.refusal(t, asked); rule != "revocation" {
			t.Errorf("%s: %s", policy, line)
		}
		if _, err := message.Do(other, message.Query()); err != nil {
			t.Errorf("%s: another connection: %v", policy, err)
		}
	}
}

// A strict policy refuses everybody when its list has run out; the default policy then takes what it knows.
func TestTLSExpiredList(t *testing.T) {
	s := newTLSSite(t)
	put(t, s.f384.crl(time.Now().Add(-time.Hour), s.revokedLeaf.Leaf), s.dir, "pki", "crl", "f.crl")
	for end := time.Now().Add(harness.Timeout); ; time.Sleep(50 * time.Millisecond) {
		asked, _, err := s.ask(t, "suiteb192", s.client(s.good))
		if err != nil {
			if rule, line := s.refusal(t, asked); rule != "revocation" || !strings.Contains(line, "expired") {
				t.Errorf("got %s", line)
			}
			break
		}
		if time.Now().After(end) {
			t.Fatal("the expired list is not noticed")
		}
	}
	if _, _, err := s.ask(t, "default", s.client(s.good)); err != nil {
		t.Errorf("default: got %v", err)
	}
	if _, _, err := s.ask(t, "default", s.client(s.revokedLeaf)); err == nil {
		t.Error("default: who is revoked by an expired list was accepted")
	}
}

// Start says everything that is wrong with the TLS settings, and starts nothing.
func TestTLSProblemsAtStart(t *testing.T) {
	s := newTLSSite(t)
	s.Stop()
	addTables(t, s.dir, `
[[listener]]
name = "two"
listen = "127.0.0.1:0"
policy = "suiteb192"
tls_crl_mode = "soft"
[[listener]]
name = "two"
listen = "nowhere"
colour = "red"
[[listener]]
name = "bad"
listen = "127.0.0.1:0"
policy = "cnsa3"
[[listener]]
name = "apart"
listen = "127.0.0.1:0"
policy = "cnsa2"
tls_crl = "pki/nothing"
`)
	out, code := runStderr(t, "serve", "--dir", s.dir, "--policy", "suiteb128", "--allow-software-tls-key=false")
	if code == 0 {
		t.Error("the server ran")
	}
	for _, want := range []string{`no setting "colour"`, `two listeners "two"`, `"nowhere" is not HOST:PORT`, `"cnsa3" is none of`, "no TLS version in common",
		"allows hard only", "wants the key on the token", "rule certificate-key", "take it out of the file"} {
		if !strings.Contains(out, want) {
			t.Errorf("the list lacks %q:\n%s", want, out)
		}
	}
}

func runStderr(t *testing.T, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return harness.Stderr(ctx, t, args...)
}
