// Package revocation keeps certificate revocation lists (RFC 5280 section 5) that operators put into files, and tells
// whether the certificates of a TLS peer's chain are on them. It reads the files again when they change. It fetches
// nothing over the network.
package revocation

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// Mode says what becomes of a certificate of which no valid list speaks.
type Mode uint8

// The modes. A certificate that a list has as revoked is refused in Soft and Hard, even by a list that has expired.
const (
	Off  Mode = iota // nothing is checked
	Soft             // accepted, with a warning in the log
	Hard             // refused
)

// Error says why a certificate is refused.
type Error struct {
	Revoked bool // on a list; else its state cannot be told
	Text    string
}

func (e *Error) Error() string { return e.Text }

// Config says which lists there are.
type Config struct {
	Mode  Mode
	Paths []string // files, PEM (one list or several) or DER, and directories of such files
	// Accept may refuse a list for how it is signed. The signature itself has been verified.
	Accept func(list *x509.RevocationList, issuer *x509.Certificate) error
	// Own answers for certificates of this server's own authorities, which need no list here (one that revokes them counts
	// nevertheless); known is false for others.
	Own    func(cert, issuer *x509.Certificate) (known, revoked bool, err error)
	Logger zerolog.Logger
	// Interval is how often the files are looked at for changes; 0 for 2 s.
	Interval time.Duration
}

// Lists is the lists of a listener. It is safe for concurrent use.
type Lists struct {
	cfg Config

	mu       sync.RWMutex // guards the fields below
	files    map[string]*file
	byIssuer map[string][]*list // by the raw Name of the issuer
	warned   map[string]time.Time
}

// file is a file as it was read last.
type file struct {
	size  int64
	when  time.Time
	lists []*list
}

// list is one parsed list.
type list struct {
	*x509.RevocationList
	path    string
	revoked map[string]*x509.RevocationListEntry // by serial number

	mu       sync.Mutex
	verified map[string]verdict // by the issuer's certificate in DER
}

// verdict is what a list is worth to an issuer.
type verdict struct {
	made  bool  // the issuer's key made it: whom it revokes is revoked
	wrong error // why it does not vouch for those who are not on it
}

// Open reads the lists. Every problem is told at once.
func Open(cfg Config) (*Lists, error) {
	if cfg.Interval == 0 {
		cfg.Interval = 2 * time.Second
	}
	l := &Lists{cfg: cfg, files: map[string]*file{}, byIssuer: map[string][]*list{}, warned: map[string]time.Time{}}
	if cfg.Mode == Off {
		return l, nil
	}
	return l, l.Reload()
}

// Watch reads the files again when they change, until ctx ends.
func (l *Lists) Watch(ctx context.Context) {
	if l.cfg.Mode == Off || len(l.cfg.Paths) == 0 {
		return
	}
	tick := time.NewTicker(l.cfg.Interval)
	defer tick.Stop()
	told := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		text := ""
		if err := l.Reload(); err != nil {
			text = err.Error()
		}
		if text != told && text != "" {
			l.cfg.Logger.Error().Str("problem", text).Msg("revocation lists: what was read before stays in use")
		}
		told = text
		l.warnEnding(time.Now())
	}
}

// Reload reads the files that have changed. What cannot be read, or is older than before, stays as it was; what is gone from
// a directory is gone.
func (l *Lists) Reload() error {
	names, errs := l.names()
	l.mu.RLock()
	old := l.files
	l.mu.RUnlock()
	files := make(map[string]*file, len(names))
	for _, name := range names {
		before := old[name]
		now, err := read(name, before)
		if err == nil {
			err = now.follows(name, before)
		}
		if err != nil {
			errs = append(errs, err)
			now = before
		}
		if now != nil {
			files[name] = now
		}
	}
	if len(errs) > 0 { // a directory that cannot be read must not empty the lists
		for name, f := range old {
			if files[name] == nil {
				files[name] = f
			}
		}
	}
	if !maps.Equal(files, old) {
		l.show(files)
	}
	return errors.Join(errs...)
}

// show makes the lists of the files the present ones.
func (l *Lists) show(files map[string]*file) {
	byIssuer := map[string][]*list{}
	n := 0
	for _, f := range files {
		for _, c := range f.lists {
			byIssuer[string(c.RawIssuer)] = append(byIssuer[string(c.RawIssuer)], c)
			n++
		}
	}
	l.mu.Lock()
	l.files, l.byIssuer = files, byIssuer
	l.mu.Unlock()
	l.cfg.Logger.Info().Int("files", len(files)).Int("lists", n).Msg("read revocation lists")
}

// names are the files to read.
func (l *Lists) names() (names []string, errs []error) {
	for _, p := range l.cfg.Paths {
		info, err := os.Stat(p)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !info.IsDir() {
			names = append(names, p)
			continue
		}
		entries, err := os.ReadDir(p)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, e := range entries {
			path := filepath.Join(p, e.Name())
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && !strings.HasPrefix(e.Name(), ".") {
				names = append(names, path)
			} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return names, errs
}

// maxFile bounds a file of lists.
const maxFile = 256 << 20

// read reads a file unless it is as it was before.
func read(name string, before *file) (*file, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if before != nil && before.size == info.Size() && before.when.Equal(info.ModTime()) {
		return before, nil
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s is larger than %d octets", name, maxFile)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	f := &file{size: info.Size(), when: info.ModTime()}
	blocks := [][]byte{b}
	if bytes.Contains(b, []byte(pemBegin)) {
		if blocks, err = pemLists(b); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, der := range blocks {
		c, err := parse(der)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		c.path = name
		f.lists = append(f.lists, c)
	}
	return f, nil
}

// follows refuses a file in place of one that had a later list of the same key (RFC 5280 section 5.2.3): who can put an old
// list, still in force, where a job fetches them would take revocations back.
func (f *file) follows(name string, before *file) error {
	if before == nil || f == before {
		return nil
	}
	for _, c := range f.lists {
		last := before.latest(c)
		if now := f.latest(c); last != nil && now != nil && now.Cmp(last) < 0 {
			return fmt.Errorf("%s: the revocation list of %q has number %s, and %s was read before: put a newer one there, or start the server anew",
				name, c.Issuer, now, last)
		}
	}
	return nil
}

// latest is the highest number of the file's lists of the same key as c; nil when there is none.
func (f *file) latest(c *list) (number *big.Int) {
	for _, l := range f.lists {
		if l.Number != nil && bytes.Equal(l.RawIssuer, c.RawIssuer) && bytes.Equal(l.AuthorityKeyId, c.AuthorityKeyId) &&
			(number == nil || l.Number.Cmp(number) > 0) {
			number = l.Number
		}
	}
	return number
}

const pemBegin = "-----BEGIN"

func pemLists(b []byte) (out [][]byte, err error) {
	begun := bytes.Count(b, []byte(pemBegin))
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type != "X509 CRL" {
			return nil, fmt.Errorf("it holds a %s: name a file of revocation lists", block.Type)
		}
		out = append(out, block.Bytes)
	}
	switch {
	case len(out) == 0:
		return nil, errors.New("it holds no revocation list")
	case len(out) != begun: // package pem passes over what it cannot read, and with the list its revocations would be gone
		return nil, errors.New("not all of its revocation lists are whole")
	}
	return out, nil
}

// Extensions of lists (RFC 5280 section 5.2).
var (
	oidNumber       = asn1.ObjectIdentifier{2, 5, 29, 20}
	oidDelta        = asn1.ObjectIdentifier{2, 5, 29, 27}
	oidDistribution = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidAuthorityKey = asn1.ObjectIdentifier{2, 5, 29, 35}
	oidIssuer       = asn1.ObjectIdentifier{2, 5, 29, 29} // of an entry: indirect lists
	oidInvalidity   = asn1.ObjectIdentifier{2, 5, 29, 24} // of an entry: since when the key is thought to be known to others
)

// parse reads a list and refuses those that do not speak of all certificates of their issuer.
func parse(der []byte) (*list, error) {
	c, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, fmt.Errorf("not a revocation list of version 2: %w", err)
	}
	for _, e := range c.Extensions {
		switch {
		case e.Id.Equal(oidDelta):
			return nil, errors.New("a delta revocation list is not understood: give the full one")
		case e.Id.Equal(oidDistribution):
			return nil, errors.New("a revocation list for a part of the certificates (indirect, or with an Issuing Distribution Point) is not understood: give the full one")
		case e.Critical && !e.Id.Equal(oidNumber) && !e.Id.Equal(oidAuthorityKey):
			return nil, fmt.Errorf("the critical extension %s of the revocation list is not understood", e.Id)
		}
	}
	out := &list{RevocationList: c, revoked: make(map[string]*x509.RevocationListEntry, len(c.RevokedCertificateEntries)), verified: map[string]verdict{}}
	for i := range c.RevokedCertificateEntries {
		e := &c.RevokedCertificateEntries[i]
		for _, x := range e.Extensions {
			if x.Id.Equal(oidIssuer) {
				return nil, errors.New("an indirect revocation list is not understood: give that of each authority")
			}
		}
		out.revoked[serialKey(e.SerialNumber)] = e
	}
	return out, nil
}

func serialKey(n *big.Int) string { return string(n.Bytes()) }

// worth is what the list is worth to an issuer, checked once for each certificate of it. Revocations need the issuer's key
// alone: with a certificate of that key that may not sign lists, such as a cross-signed one in another chain, or with a
// signature that the policy does not take, a revoked client must not get in where the lack of a list is only a warning.
func (c *list) worth(issuer *x509.Certificate, accept func(*x509.RevocationList, *x509.Certificate) error) verdict {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, known := c.verified[string(issuer.Raw)]
	if !known {
		v.made = issuer.CheckSignature(c.SignatureAlgorithm, c.RawTBSRevocationList, c.Signature) == nil
		if v.wrong = c.CheckSignatureFrom(issuer); v.wrong == nil && accept != nil {
			v.wrong = accept(c.RevocationList, issuer)
		}
		if len(c.verified) > 64 { // chains differ by what clients send
			clear(c.verified)
		}
		c.verified[string(issuer.Raw)] = v
	}
	return v
}

// Check looks at each certificate of a verified chain but the root, which vouches for itself. Errors are *Error, or what
// Config.Own returned.
func (l *Lists) Check(chain []*x509.Certificate, now time.Time) error {
	for i := range len(chain) - 1 {
		if err := l.certificate(chain[i], chain[i+1], now); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lists) certificate(cert, issuer *x509.Certificate, now time.Time) error {
	own := false
	if l.cfg.Own != nil {
		var revoked bool
		var err error
		if own, revoked, err = l.cfg.Own(cert, issuer); err != nil {
			return err
		} else if revoked {
			return &Error{true, fmt.Sprintf("the certificate with serial number %x of this server's authority %q is revoked", cert.SerialNumber, issuer.Subject)}
		}
	}
	if l.cfg.Mode == Off {
		return nil
	}
	e, problem := l.look(cert, issuer, now)
	switch {
	case e != nil:
		return &Error{true, fmt.Sprintf("the certificate with serial number %x of %q was revoked on %s (reason %d)", cert.SerialNumber, issuer.Subject,
			e.RevocationTime.UTC().Format(time.RFC3339), e.ReasonCode)}
	case own || problem == "":
		return nil
	case l.cfg.Mode == Hard:
		return &Error{false, problem}
	}
	l.warn(problem, now)
	return nil
}

// State tells what the lists say of a certificate: since when it is not to be trusted (zero: it is on none), and whether that is
// known, by its entry or by a list that is in force now.
func (l *Lists) State(cert, issuer *x509.Certificate, now time.Time) (revoked time.Time, known bool) {
	e, problem := l.look(cert, issuer, now)
	if e == nil {
		return time.Time{}, problem == ""
	}
	for _, x := range e.Extensions {
		var since time.Time
		if x.Id.Equal(oidInvalidity) {
			if _, err := asn1.UnmarshalWithParams(x.Value, &since, "generalized"); err == nil {
				return since, true
			}
		}
	}
	return e.RevocationTime, true
}

// look finds the entry by which a certificate is revoked, or else why no list vouches for it; "" when one does.
func (l *Lists) look(cert, issuer *x509.Certificate, now time.Time) (revoked *x509.RevocationListEntry, problem string) {
	l.mu.RLock()
	lists := l.byIssuer[string(cert.RawIssuer)]
	l.mu.RUnlock()
	fresh, problem := false, fmt.Sprintf("there is no revocation list of %q", issuer.Subject)
	for _, c := range lists {
		v := c.worth(issuer, l.cfg.Accept)
		if e := c.revoked[serialKey(cert.SerialNumber)]; e != nil && v.made {
			return e, ""
		}
		switch {
		case v.wrong != nil:
			problem = fmt.Sprintf("the revocation list of %q in %s does not count: %v", issuer.Subject, filepath.Base(c.path), v.wrong)
		case c.NextUpdate.IsZero():
			problem = fmt.Sprintf("the revocation list of %q has no Next Update", issuer.Subject)
		case now.After(c.NextUpdate):
			problem = fmt.Sprintf("the revocation list of %q expired on %s", issuer.Subject, c.NextUpdate.UTC().Format(time.RFC3339))
		case now.Before(c.ThisUpdate):
			problem = fmt.Sprintf("the revocation list of %q is of %s, which is to come", issuer.Subject, c.ThisUpdate.UTC().Format(time.RFC3339))
		default:
			fresh = true
		}
	}
	if fresh {
		return nil, ""
	}
	return nil, problem
}

// endingPause is how often a list that ends soon is a warning.
const endingPause = time.Hour

// warnEnding warns of issuers whose newest list has less than a quarter of its life left, or does not say when it ends
// (RFC 5280 section 5.1.2.5 wants it to): such a list revokes, but vouches for nobody.
func (l *Lists) warnEnding(now time.Time) {
	l.mu.RLock()
	var ending []string
	for _, lists := range l.byIssuer {
		newest := slices.MaxFunc(lists, func(a, b *list) int { return a.NextUpdate.Compare(b.NextUpdate) })
		if end := newest.NextUpdate; end.IsZero() {
			ending = append(ending, fmt.Sprintf("the revocation list of %q in %s has no Next Update", newest.Issuer, newest.path))
		} else if now.After(end.Add(-end.Sub(newest.ThisUpdate) / 4)) {
			ending = append(ending, fmt.Sprintf("the revocation list of %q in %s ends on %s", newest.Issuer, newest.path, end.UTC().Format(time.RFC3339)))
		}
	}
	l.mu.RUnlock()
	for _, text := range ending {
		if l.told(text, now, endingPause) {
			l.cfg.Logger.Warn().Str("problem", text).Msg("renew a revocation list")
		}
	}
}

// warnPause bounds how often one problem is logged: it is the same for every client of an authority.
const warnPause = time.Minute

func (l *Lists) warn(problem string, now time.Time) {
	if l.told(problem, now, warnPause) {
		l.cfg.Logger.Warn().Str("problem", problem).Msg("a client's certificate is accepted without revocation check")
	}
}

// told tells whether it is time to log a problem, and notes that it is logged.
func (l *Lists) told(problem string, now time.Time, pause time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.warned[problem]) < pause {
		return false
	}
	if len(l.warned) > 256 {
		clear(l.warned)
	}
	l.warned[problem] = now
	return true
}
