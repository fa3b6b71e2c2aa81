package main

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"kmipd/fips"
	"kmipd/fips/revocation"
	"kmipd/hsm"
	"kmipd/keystore"
	"kmipd/kmip/server"
)

// This file makes TLS listeners of their settings: files are read and held against the policy at start, and what the policy
// says is joined to what crypto/tls and the server ask at each connection.

// identity is what a listener's files hold, checked.
type identity struct {
	listenerConfig
	rules *fips.TLSRules
	mode  revocation.Mode
	cert  tls.Certificate // without PrivateKey while that is on the token and the token not open
	pool  *x509.CertPool

	authorities []*x509.Certificate // those of pool
	unchecked   bool                // clients' certificates are not held against anything that could revoke them
}

// identities reads the files of all listeners. Every problem is told at once.
func (c *config) identities() ([]*identity, error) {
	var list []*identity
	var errs []error
	for _, l := range c.listeners() {
		id, err := c.identity(l)
		if err != nil {
			errs = append(errs, l.problem(err))
			continue
		}
		list = append(list, id)
	}
	return list, errors.Join(errs...)
}

// identity reads the files of one listener. Settings that are missing have been told by check.
func (c *config) identity(l listenerConfig) (*identity, error) {
	id := &identity{listenerConfig: l}
	var err error
	if id.rules, err = c.rules(l); err != nil {
		return nil, err
	}
	now := time.Now()
	var errs []error
	if id.mode, err = l.revocationMode(id.rules); err != nil {
		errs = append(errs, err)
	}
	if l.Certificate != "" && l.Key != "" {
		chain, err := id.readCertificate()
		if err == nil {
			err = id.rules.CheckOwn(chain, now)
			if err != nil {
				err = fmt.Errorf("tls_certificate: %w", err)
			}
		}
		errs = append(errs, err)
		if id.rules.Strict() && !isTokenKey(l.Key) {
			if err := exposed("tls_key", l.Key); err != nil {
				errs = append(errs, fmt.Errorf("%w, as policy %s wants it", err, id.rules))
			}
		}
		if id.rules.Strict() && !isTokenKey(l.Key) && !c.AllowSoftwareTLSKey {
			errs = append(errs, fmt.Errorf("tls_key: the policy %s wants the key on the token: make one with kmipd tls key and name it as pkcs11:object=LABEL, or set allow_software_tls_key", id.rules))
		}
	}
	if l.ClientCA != "" {
		authorities, err := readCertificates(l.ClientCA)
		if err != nil {
			errs = append(errs, fmt.Errorf("tls_client_ca: %w; name the PEM file of the authorities that sign client certificates", err))
		} else if err := id.rules.CheckAuthorities(authorities, now); err != nil {
			errs = append(errs, fmt.Errorf("tls_client_ca: %w", err))
		}
		id.pool, id.authorities = x509.NewCertPool(), authorities
		for _, a := range authorities {
			id.pool.AddCert(a)
		}
	}
	if id.mode != revocation.Off {
		if _, err := revocation.Open(revocation.Config{Mode: id.mode, Paths: l.CRL}); err != nil {
			errs = append(errs, fmt.Errorf("tls_crl: %w", err))
		}
	}
	return id, errors.Join(errs...)
}

// readCertificate reads the server's certificate, and its key unless that is on the token.
func (id *identity) readCertificate() (chain []*x509.Certificate, err error) {
	if !isTokenKey(id.Key) {
		if id.cert, err = tls.LoadX509KeyPair(id.Certificate, id.Key); err != nil {
			return nil, fmt.Errorf("tls_certificate and tls_key: %w", err)
		}
		return parseAll(id.cert.Certificate)
	}
	if _, err := parseKeyURI(id.Key); err != nil {
		return nil, fmt.Errorf("tls_key: %w", err)
	}
	if chain, err = readCertificates(id.Certificate); err != nil {
		return nil, fmt.Errorf("tls_certificate: %w", err)
	}
	for _, c := range chain {
		id.cert.Certificate = append(id.cert.Certificate, c.Raw)
	}
	id.cert.Leaf = chain[0]
	return chain, nil
}

func parseAll(ders [][]byte) (out []*x509.Certificate, err error) {
	for _, der := range ders {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// readCertificates reads the certificates of a PEM file.
func readCertificates(file string) ([]*x509.Certificate, error) {
	rest, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var ders [][]byte
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == "CERTIFICATE" {
			ders = append(ders, block.Bytes)
		}
	}
	if len(ders) == 0 {
		return nil, errors.New("the file holds no certificate")
	}
	return parseAll(ders)
}

// openKey fetches the key on the token, and refuses one that is not the certificate's. check is asked before and after each
// signature.
func (id *identity) openKey(ctx context.Context, token hsm.Token, check keyCheck) error {
	if !isTokenKey(id.Key) {
		return nil
	}
	name, err := parseKeyURI(id.Key)
	if err != nil {
		return id.problem(fmt.Errorf("tls_key: %w", err))
	}
	if err := name.on(token.Info()); err != nil {
		return id.problem(fmt.Errorf("tls_key: %w", err))
	}
	keys, ok := token.(hsm.NamedKeys)
	if !ok {
		return id.problem(errors.New("tls_key: the token has no keys of its own"))
	}
	signer, err := keys.NamedSigner(ctx, name.KeyName, id.cert.Leaf.PublicKey)
	if err != nil {
		return id.problem(fmt.Errorf("tls_key: %w: make one with kmipd tls key, or name another", err))
	}
	if err := proveKey(signer, id.cert.Leaf); err != nil {
		return id.problem(fmt.Errorf("tls_key: the key on the token does not belong to tls_certificate: %w", err))
	}
	key := &keystore.ServerKey{Name: fmt.Sprintf("the key of the certificate of listener %q", id.Name),
		Read: func(ctx context.Context) (hsm.Flags, error) { return keys.NamedFlags(ctx, name.KeyName) }}
	if key.Flags, err = key.Read(ctx); err != nil {
		return id.problem(fmt.Errorf("tls_key: reading the key's flags: %w", err))
	}
	id.cert.PrivateKey = hsm.GuardedSigner(signer, func(mechs ...hsm.Mechanism) error { return check(key, mechs...) })
	return nil
}

// keyCheck tells whether a key may sign a handshake now.
type keyCheck func(*keystore.ServerKey, ...hsm.Mechanism) error

// checkedBy asks the keystore, once there is one: it comes after the keys.
func checkedBy(keys *atomic.Pointer[keystore.Store]) keyCheck {
	return func(k *keystore.ServerKey, mechs ...hsm.Mechanism) error {
		if s := keys.Load(); s != nil {
			return s.CheckServerKey(k, mechs...)
		}
		return nil
	}
}

// proveKey has the key sign something that the certificate must verify. RSA signs by PSS, as handshakes of TLS 1.3 do, and by
// PKCS #1 v1.5 where the token does not do that.
func proveKey(signer crypto.Signer, cert *x509.Certificate) error {
	message := []byte("kmipd: the key of this certificate")
	h := crypto.SHA256.New()
	h.Write(message)
	digest := h.Sum(nil)
	if cert.PublicKeyAlgorithm != x509.RSA {
		sig, err := signer.Sign(nil, digest, crypto.SHA256)
		if err != nil {
			return err
		}
		return cert.CheckSignature(x509.ECDSAWithSHA256, message, sig)
	}
	sig, err := signer.Sign(nil, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256})
	if err == nil {
		return cert.CheckSignature(x509.SHA256WithRSAPSS, message, sig)
	}
	if !errors.Is(err, hsm.ErrUnsupported) {
		return err
	}
	if sig, err = signer.Sign(nil, digest, crypto.SHA256); err != nil {
		return err
	}
	return cert.CheckSignature(x509.SHA256WithRSA, message, sig)
}

// config is the TLS configuration of the listener.
func (id *identity) config() *tls.Config {
	t := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{id.cert}, ClientCAs: id.pool}
	id.rules.Apply(t)
	return t
}

// ownTimeout bounds the look at the server's own records in a handshake.
const ownTimeout = 5 * time.Second

// noRevocation says of a listener that it does not learn who is revoked.
const noRevocation = "clients' certificates are not checked for revocation: name the lists of tls_client_ca in tls_crl"

// noteUnchecked finds out whether a listener has nothing that could revoke its clients' certificates: neither lists nor an
// authority of this server, whose records are always asked.
func (id *identity) noteUnchecked(keys *keystore.Store) error {
	id.unchecked = false
	if id.mode != revocation.Off {
		return nil
	}
	for _, a := range id.authorities {
		own, _, err := ownRevoked(keys, a, a)
		if err != nil {
			return err
		}
		id.unchecked = id.unchecked || !own
	}
	return nil
}

// ownRevoked asks the records of the server's own authorities.
func ownRevoked(keys *keystore.Store, cert, issuer *x509.Certificate) (known, revoked bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), ownTimeout)
	defer cancel()
	return keys.Revoked(ctx, cert, issuer)
}

// gate joins the policy, the revocation lists and the server's own authorities.
func (id *identity) gate(keys *keystore.Store, log zerolog.Logger) (server.Gate, *revocation.Lists, error) {
	lists, err := revocation.Open(revocation.Config{Mode: id.mode, Paths: id.CRL, Accept: id.rules.CheckCRL,
		Logger: log.With().Str("listener", id.Name).Logger(),
		Own:    func(cert, issuer *x509.Certificate) (bool, bool, error) { return ownRevoked(keys, cert, issuer) }})
	if err != nil {
		return server.Gate{}, nil, id.problem(fmt.Errorf("tls_crl: %w", err))
	}
	check := func(chain []*x509.Certificate, now time.Time) error {
		err := lists.Check(chain, now)
		var refusal *revocation.Error
		if errors.As(err, &refusal) {
			return &fips.TLSError{Policy: id.rules.String(), Rule: fips.RuleRevocation, Source: "RFC 5280 section 6.3", Text: refusal.Text}
		}
		return err
	}
	return server.Gate{
		VerifyConnection: func(state tls.ConnectionState) error { return id.rules.Check(state, time.Now(), check) },
		Established:      id.rules.Established,
		Request:          func(state *tls.ConnectionState) error { return id.rules.CheckChains(*state, time.Now(), check) },
		ForClient:        id.rules.ForClient,
	}, lists, nil
}

// bound is an address that the server listens on, by the name of the listener.
type bound struct {
	name string
	addr net.Addr
}

// entrances are the listeners of a running server.
type entrances struct {
	ids     []*identity
	sockets []net.Listener
	lists   []*revocation.Lists
	stop    context.CancelFunc
	done    sync.WaitGroup
}

// openEntrances makes the server's configuration of all listeners, the first in the fields of cfg itself, and watches their
// revocation lists until close.
func openEntrances(ids []*identity, keys *keystore.Store, log zerolog.Logger, cfg *server.Config) (*entrances, error) {
	e := &entrances{ids: ids}
	for i, id := range ids {
		gate, lists, err := id.gate(keys, log)
		if err != nil {
			return nil, err
		}
		e.lists = append(e.lists, lists)
		if err := id.noteUnchecked(keys); err != nil {
			return nil, err
		}
		if id.unchecked {
			log.Warn().Str("listener", id.Name).Msg(noRevocation)
		}
		if i == 0 {
			cfg.TLS, cfg.Transport, cfg.Gate = id.config(), transports[id.Transport], gate
			continue
		}
		cfg.Listeners = append(cfg.Listeners, server.Listener{Name: id.Name, TLS: id.config(), Transport: transports[id.Transport], Gate: gate})
	}
	ctx, stop := context.WithCancel(context.Background())
	e.stop = stop
	for _, l := range e.lists {
		e.done.Go(func() { l.Watch(ctx) })
	}
	return e, nil
}

// revocation is what the lists of all listeners say of a certificate: since when it is revoked, and whether its state is known
// as well as one listener wants it of its clients.
func (e *entrances) revocation(listener string, cert, issuer *x509.Certificate, now time.Time) (revoked time.Time, known bool) {
	wanted := false
	for i, id := range e.ids {
		since, told := e.lists[i].State(cert, issuer, now)
		if !since.IsZero() && (revoked.IsZero() || since.Before(revoked)) {
			revoked = since
		}
		known = known || told
		wanted = wanted || id.Name == listener && id.mode == revocation.Hard
	}
	return revoked, known || !wanted
}

func (e *entrances) close() {
	e.stop()
	e.done.Wait()
}

// listen opens all sockets, or none.
func (e *entrances) listen(log zerolog.Logger) (addrs []bound, err error) {
	for _, id := range e.ids {
		l, err := net.Listen("tcp", id.Listen)
		if err != nil {
			for _, open := range e.sockets {
				err = errors.Join(err, open.Close())
			}
			return nil, id.problem(fmt.Errorf("listen: %w", err))
		}
		e.sockets = append(e.sockets, l)
		addrs = append(addrs, bound{id.Name, l.Addr()})
		log.Info().Str("listener", id.Name).Stringer("address", l.Addr()).Str("transport", id.Transport).Stringer("policy", id.rules).
			Bool("key_on_token", isTokenKey(id.Key)).Msg("listening")
	}
	return addrs, nil
}

// serve accepts connections on all listeners. Each sends what became of it.
func (e *entrances) serve(ctx context.Context, srv *server.Server) <-chan error {
	served := make(chan error, len(e.sockets))
	for i, l := range e.sockets {
		go func() { served <- e.ids[i].problem(srv.ServeListener(ctx, e.ids[i].Name, l)) }()
	}
	return served
}

// wait collects what became of n listeners.
func wait(served <-chan error, n int) error {
	var err error
	for range n {
		// A listener that had not begun when the server was shut down has nothing to tell.
		if e := <-served; !errors.Is(e, server.ErrClosed) {
			err = errors.Join(err, e)
		}
	}
	return err
}
