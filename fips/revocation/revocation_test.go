package revocation

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// ca is an authority of the tests.
type ca struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCA(t *testing.T, name string, by *ca) *ca {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	parent, signer := tmpl, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &ca{cert, key}
}

func (c *ca) list(t *testing.T, change func(*x509.RevocationList), serials ...int64) []byte {
	t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour)}
	for _, s := range serials {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(s), RevocationTime: time.Now()})
	}
	if change != nil {
		change(l)
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, c.cert, c.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func asPEM(lists ...[]byte) (out []byte) {
	for _, der := range lists {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})...)
	}
	return out
}

// cert stands for a certificate of an authority: its issuer and its serial number.
func (c *ca) leaf(serial int64) *x509.Certificate {
	return &x509.Certificate{SerialNumber: big.NewInt(serial), RawIssuer: c.cert.RawSubject}
}

// TestCheck has every kind of list, in both modes.
func TestCheck(t *testing.T) {
	root := newCA(t, "root", nil)
	sub := newCA(t, "sub", root)
	twin := newCA(t, "sub", nil) // the same name, another key
	good, subSerial := sub.list(t, nil, 7), sub.cert.SerialNumber.Int64()
	past := func(l *x509.RevocationList) {
		l.ThisUpdate, l.NextUpdate = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	}
	chain := func(serial int64) []*x509.Certificate {
		return []*x509.Certificate{sub.leaf(serial), sub.cert, root.cert}
	}
	rootGood := root.list(t, nil)
	for _, c := range []struct {
		name   string
		lists  []byte
		serial int64
		soft   string // "" accepted; else a word of the refusal
		hard   string
	}{
		{"on no list", asPEM(good, rootGood), 8, "", ""},
		{"revoked", asPEM(good, rootGood), 7, "revoked", "revoked"},
		{"revoked intermediate", asPEM(good, root.list(t, nil, subSerial)), 8, "revoked", "revoked"},
		{"no list of the issuer", rootGood, 8, "", "no revocation list"},
		{"no list of the root", good, 8, "", "no revocation list"},
		{"expired list", asPEM(sub.list(t, past), rootGood), 8, "", "expired"},
		{"revoked by an expired list", asPEM(sub.list(t, past, 7), rootGood), 7, "revoked", "revoked"},
		{"expired list beside a fresh one", asPEM(sub.list(t, past), good, rootGood), 8, "", ""},
		{"list of the future", asPEM(sub.list(t, func(l *x509.RevocationList) { l.ThisUpdate = time.Now().Add(time.Minute) }), rootGood), 8, "", "to come"},
		{"signed by another key of that name", asPEM(twin.list(t, nil, 8), rootGood), 8, "", "does not count"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "lists")
			write(t, path, c.lists)
			for mode, want := range map[Mode]string{Off: "", Soft: c.soft, Hard: c.hard} {
				l, err := Open(Config{Mode: mode, Paths: []string{path}})
				if err != nil {
					t.Fatal(err)
				}
				err = l.Check(chain(c.serial), time.Now())
				var refusal *Error
				if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || !errors.As(err, &refusal) || refusal.Revoked != (want == "revoked")) {
					t.Errorf("mode %d: got %v, want %q", mode, err, want)
				}
			}
		})
	}
}

// What is not understood is an error at start, with what to do.
func TestRefusedFiles(t *testing.T) {
	c := newCA(t, "ca", nil)
	ext := func(e pkix.Extension) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) { l.ExtraExtensions = append(l.ExtraExtensions, e) }
	}
	for name, f := range map[string]struct {
		content []byte
		want    string
	}{
		"delta":        {c.list(t, ext(pkix.Extension{Id: oidDelta, Critical: true, Value: []byte{2, 1, 1}})), "delta"},
		"indirect":     {c.list(t, ext(pkix.Extension{Id: oidDistribution, Critical: true, Value: []byte{0x30, 3, 0x84, 1, 0xFF}})), "indirect"},
		"critical":     {c.list(t, ext(pkix.Extension{Id: []int{1, 2, 3}, Critical: true, Value: []byte{5, 0}})), "critical extension"},
		"certificate":  {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw}), "CERTIFICATE"},
		"text":         {[]byte("hello"), "not a revocation list"},
		"empty":        {nil, "not a revocation list"},
		"torn PEM":     {append(asPEM(c.list(t, nil)), asPEM(c.list(t, nil, 5))[:60]...), "not all"},
		"PEM in parts": {[]byte("-----BEGIN X509 CRL-----\nAAAA\n"), "no revocation list"},
	} {
		path := filepath.Join(t.TempDir(), "list")
		write(t, path, f.content)
		if _, err := Open(Config{Mode: Hard, Paths: []string{path}}); err == nil || !strings.Contains(err.Error(), f.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want %q and the path", name, err, f.want)
		}
	}
	if _, err := Open(Config{Mode: Soft, Paths: []string{"/nonexistent/list"}}); err == nil {
		t.Error("a missing file passed")
	}
}

// Watch takes over new lists, keeps the old one while a file is damaged, and drops what is removed from a directory.
func TestWatch(t *testing.T) {
	c := newCA(t, "ca", nil)
	dir := t.TempDir()
	path := filepath.Join(dir, "ca.crl")
	write(t, path, c.list(t, nil))
	write(t, filepath.Join(dir, ".hidden"), []byte("no list"))
	var log bytes.Buffer
	l, err := Open(Config{Mode: Hard, Paths: []string{dir}, Interval: 5 * time.Millisecond, Logger: zerolog.New(zerolog.SyncWriter(&log))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); l.Watch(ctx) }()
	defer func() { stop(); <-done }()
	until := func(what string, f func(error) bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
			err := l.Check([]*x509.Certificate{c.leaf(5), c.cert}, time.Now())
			if f(err) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s: still %v", what, err)
			}
		}
	}
	revoked := func(err error) bool { var e *Error; return errors.As(err, &e) && e.Revoked }
	until("good", func(err error) bool { return err == nil })
	write(t, path, c.list(t, nil, 5))
	until("revoked", revoked)
	write(t, path, []byte("damaged"))
	time.Sleep(30 * time.Millisecond)
	until("damaged file", revoked)
	write(t, path, asPEM(c.list(t, nil)))
	until("good again", func(err error) bool { return err == nil })
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	until("removed", func(err error) bool { return err != nil && !revoked(err) })
}

// A list that ends soon is told of, once an hour; one that has a newer one beside it is not.
func TestEndingList(t *testing.T) {
	c := newCA(t, "ca", nil)
	path := filepath.Join(t.TempDir(), "list")
	old := c.list(t, func(l *x509.RevocationList) {
		l.ThisUpdate, l.NextUpdate = time.Now().Add(-9*time.Hour), time.Now().Add(30*time.Minute)
	})
	for want, lists := range map[int][]byte{1: asPEM(old), 0: asPEM(old, c.list(t, nil))} {
		write(t, path, lists)
		var log bytes.Buffer
		l, err := Open(Config{Mode: Hard, Paths: []string{path}, Logger: zerolog.New(&log)})
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		l.warnEnding(now)
		l.warnEnding(now.Add(time.Minute))
		if got := strings.Count(log.String(), "renew a revocation list"); got != want {
			t.Errorf("got %d warnings, want %d: %s", got, want, log.String())
		}
	}
}

// The server's own authorities answer without lists, in every mode.
func TestOwn(t *testing.T) {
	c := newCA(t, "ca", nil)
	for _, mode := range []Mode{Off, Soft, Hard} {
		l, err := Open(Config{Mode: mode, Own: func(cert, issuer *x509.Certificate) (bool, bool, error) {
			switch cert.SerialNumber.Int64() {
			case 1:
				return true, false, nil
			case 2:
				return true, true, nil
			case 3:
				return false, false, errors.New("the store is closed")
			}
			return false, false, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		for serial, want := range map[int64]bool{1: true, 2: false, 3: false, 4: mode != Hard} {
			if err := l.Check([]*x509.Certificate{c.leaf(serial), c.cert}, time.Now()); (err == nil) != want {
				t.Errorf("mode %d, certificate %d: got %v", mode, serial, err)
			}
		}
	}
}

func TestAccept(t *testing.T) {
	c := newCA(t, "ca", nil)
	path := filepath.Join(t.TempDir(), "list")
	write(t, path, c.list(t, nil))
	l, err := Open(Config{Mode: Hard, Paths: []string{path}, Accept: func(*x509.RevocationList, *x509.Certificate) error { return errors.New("weak") }})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Check([]*x509.Certificate{c.leaf(1), c.cert}, time.Now()); err == nil || !strings.Contains(err.Error(), "weak") {
		t.Errorf("got %v", err)
	}
}

// withUsage is another certificate of the authority's key and name.
func (c *ca) withUsage(t *testing.T, usage x509.KeyUsage) *x509.Certificate {
	t.Helper()
	tmpl := *c.cert
	tmpl.KeyUsage = usage
	der, err := x509.CreateCertificate(rand.Reader, &tmpl, &tmpl, &c.key.PublicKey, c.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// Whom the issuer's key revokes is revoked, whatever certificate of that key the chain has and however the list is signed: else
// a client could choose the chain in which the list does not count and the lack of one is only a warning.
func TestRevokedInAnyChain(t *testing.T) {
	c := newCA(t, "ca", nil)
	other := c.withUsage(t, x509.KeyUsageCertSign)
	path := filepath.Join(t.TempDir(), "list")
	write(t, path, c.list(t, nil, 5))
	weak := func(*x509.RevocationList, *x509.Certificate) error { return errors.New("weak") }
	for name, x := range map[string]struct {
		issuer *x509.Certificate
		accept func(*x509.RevocationList, *x509.Certificate) error
	}{"no cRLSign": {other, nil}, "weak signature": {c.cert, weak}} {
		l, err := Open(Config{Mode: Soft, Paths: []string{path}, Accept: x.accept})
		if err != nil {
			t.Fatal(err)
		}
		var refusal *Error
		if err := l.Check([]*x509.Certificate{c.leaf(5), x.issuer}, time.Now()); !errors.As(err, &refusal) || !refusal.Revoked {
			t.Errorf("%s: got %v, want a revoked certificate", name, err)
		}
		if err := l.Check([]*x509.Certificate{c.leaf(6), x.issuer}, time.Now()); err != nil {
			t.Errorf("%s: a good certificate: %v", name, err)
		}
	}
}

// A list that revokes a certificate of one of the server's own authorities counts beside the server's records.
func TestOwnOnList(t *testing.T) {
	c := newCA(t, "ca", nil)
	path := filepath.Join(t.TempDir(), "list")
	write(t, path, c.list(t, nil, 5))
	l, err := Open(Config{Mode: Hard, Paths: []string{path}, Own: func(_, _ *x509.Certificate) (bool, bool, error) { return true, false, nil }})
	if err != nil {
		t.Fatal(err)
	}
	var refusal *Error
	if err := l.Check([]*x509.Certificate{c.leaf(5), c.cert}, time.Now()); !errors.As(err, &refusal) || !refusal.Revoked {
		t.Errorf("got %v, want a revoked certificate", err)
	}
	if err := l.Check([]*x509.Certificate{c.leaf(6), c.cert}, time.Now()); err != nil {
		t.Errorf("a good certificate: %v", err)
	}
}

// What has not changed is not taken over again, with a file that cannot be read or is named twice, too.
func TestReloadOnlyChanges(t *testing.T) {
	c := newCA(t, "ca", nil)
	dir := t.TempDir()
	path := filepath.Join(dir, "ca.crl")
	write(t, path, c.list(t, nil))
	var log bytes.Buffer
	l, err := Open(Config{Mode: Hard, Paths: []string{dir, path}, Logger: zerolog.New(&log)})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Reload(); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "bad"), []byte("hello"))
	for range 2 {
		if err := l.Reload(); err == nil {
			t.Fatal("a damaged file passed")
		}
	}
	if got := strings.Count(log.String(), "read revocation lists"); got != 1 {
		t.Errorf("the lists were taken over %d times, want once: %s", got, log.String())
	}
}

// An older list does not take the place of a newer one, but that of another key of the same name does.
func TestOlderList(t *testing.T) {
	c := newCA(t, "ca", nil)
	path := filepath.Join(t.TempDir(), "ca.crl")
	numbered := func(c *ca, n int64, serials ...int64) {
		write(t, path, c.list(t, func(l *x509.RevocationList) { l.Number = big.NewInt(n) }, serials...))
	}
	numbered(c, 9, 5)
	l, err := Open(Config{Mode: Hard, Paths: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	check := func() error { return l.Check([]*x509.Certificate{c.leaf(5), c.cert}, time.Now()) }
	numbered(c, 8)
	for range 2 {
		if err := l.Reload(); err == nil || !strings.Contains(err.Error(), "number 8, and 9") {
			t.Errorf("an older list: %v", err)
		}
	}
	var refusal *Error
	if err := check(); !errors.As(err, &refusal) || !refusal.Revoked {
		t.Errorf("after an older list: %v", err)
	}
	numbered(c, 10)
	if err := errors.Join(l.Reload(), check()); err != nil {
		t.Errorf("after a newer list: %v", err)
	}
	numbered(newCA(t, "ca", nil), 1)
	if err := l.Reload(); err != nil {
		t.Errorf("the list of another key: %v", err)
	}
}

// openEnded makes a list one without Next Update, which crypto/x509 does not write.
func (c *ca) openEnded(t *testing.T, der []byte) []byte {
	t.Helper()
	var list struct {
		TBS struct {
			Version    int
			Algorithm  pkix.AlgorithmIdentifier
			Issuer     asn1.RawValue
			ThisUpdate time.Time
			NextUpdate time.Time     `asn1:"optional"`
			Revoked    asn1.RawValue `asn1:"optional"`
			Extensions asn1.RawValue `asn1:"optional"`
		}
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &list); err != nil {
		t.Fatal(err)
	}
	list.TBS.NextUpdate = time.Time{}
	tbs, err := asn1.Marshal(list.TBS)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(tbs)
	sig, err := ecdsa.SignASN1(rand.Reader, c.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	list.Signature = asn1.BitString{Bytes: sig, BitLength: 8 * len(sig)}
	out, err := asn1.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A list without Next Update revokes, but vouches for nobody, and nothing is said of its end.
func TestOpenEndedList(t *testing.T) {
	c := newCA(t, "ca", nil)
	path := filepath.Join(t.TempDir(), "list")
	write(t, path, asPEM(c.openEnded(t, c.list(t, nil, 5))))
	for _, mode := range []Mode{Soft, Hard} {
		var log bytes.Buffer
		l, err := Open(Config{Mode: mode, Paths: []string{path}, Logger: zerolog.New(&log)})
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		var refusal *Error
		if err := l.Check([]*x509.Certificate{c.leaf(4), c.cert}, now); (err == nil) != (mode == Soft) || err != nil && (!errors.As(err, &refusal) || refusal.Revoked) {
			t.Errorf("mode %d, not on the list: got %v", mode, err)
		}
		if err := l.Check([]*x509.Certificate{c.leaf(5), c.cert}, now); !errors.As(err, &refusal) || !refusal.Revoked {
			t.Errorf("mode %d, on the list: got %v", mode, err)
		}
		l.warnEnding(now)
		if got := log.String(); !strings.Contains(got, "renew a revocation list") || !strings.Contains(got, "has no Next Update") || strings.Contains(got, "ends on") {
			t.Errorf("mode %d, the log: %s", mode, got)
		}
	}
}

// State is what the lists say, whatever the mode does with it.
func TestState(t *testing.T) {
	c, other := newCA(t, "ca", nil), newCA(t, "other", nil)
	past := time.Now().Add(-48 * time.Hour).UTC().Truncate(time.Second)
	since, err := asn1.MarshalWithParams(past, "generalized")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "list")
	write(t, path, asPEM(c.list(t, func(l *x509.RevocationList) {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(6), RevocationTime: time.Now(),
			ExtraExtensions: []pkix.Extension{{Id: oidInvalidity, Value: since}}})
	}, 5)))
	l, err := Open(Config{Mode: Soft, Paths: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, tc := range []struct {
		name    string
		by      *ca
		serial  int64
		at      time.Time
		revoked bool
		known   bool
	}{
		{"good", c, 4, now, false, true}, {"revoked", c, 5, now, true, true}, {"known to others before", c, 6, now, true, true},
		{"of an expired list", c, 4, now.Add(2 * time.Hour), false, false}, {"revoked by an expired list", c, 5, now.Add(2 * time.Hour), true, true},
		{"of nobody's list", other, 4, now, false, false},
	} {
		revoked, known := l.State(tc.by.leaf(tc.serial), tc.by.cert, tc.at)
		if revoked.IsZero() == tc.revoked || known != tc.known || tc.serial == 6 && !revoked.Equal(past) {
			t.Errorf("%s: got %s, %t", tc.name, revoked, known)
		}
	}
}
