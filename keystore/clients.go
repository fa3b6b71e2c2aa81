package keystore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"net"
	"sync"
	"time"

	"kmipd/keystore/audit"
	"kmipd/kmip"
	"kmipd/metadata"
)

// pendingInterval bounds how often one unknown certificate is noted.
const pendingInterval = 10 * time.Second

// clientCache holds the registered clients in memory: they are asked for on every request.
type clientCache struct {
	mu      sync.RWMutex
	clients map[string]*metadata.Client // nil until loaded; values are never changed
	byPrint map[string]string           // certificate fingerprint -> client
	noted   map[string]time.Time        // unknown fingerprints and when they were last noted
	proven  map[string]bool             // credentials that have been verified, by keyed hash (see provenKey)
	key     [32]byte
	gen     uint64 // counts changes of the stored clients
	have    uint64 // gen that the maps are of
}

// Certificate identifies the client of a connection by its certificate. A certificate that no client has is noted as
// pending and gives the zero Caller.
func (s *Store) Certificate(ctx context.Context, state *tls.ConnectionState, remote net.Addr) (kmip.Caller, error) {
	if len(state.PeerCertificates) == 0 {
		return kmip.Caller{}, nil
	}
	cert := state.PeerCertificates[0]
	now := s.cfg.Clock()
	if now.After(cert.NotAfter) || now.Before(cert.NotBefore) {
		return kmip.Caller{}, kmip.Errorf(kmip.ResultReasonAuthenticationNotSuccessful, "the client's certificate is not valid now")
	}
	if err := s.loadClients(ctx); err != nil {
		return kmip.Caller{}, err
	}
	if name := s.clients.find(cert, state.VerifiedChains); name != "" {
		return kmip.Caller{Client: name}, nil
	}
	return kmip.Caller{}, s.notePending(ctx, cert, remote, now)
}

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// find maps a certificate to a client: by fingerprint, else by whole subject under a registered CA. Never by common name
// alone.
func (c *clientCache) find(cert *x509.Certificate, chains [][]*x509.Certificate) string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if name := c.byPrint[fingerprint(cert.Raw)]; name != "" {
		if cl := c.clients[name]; cl != nil && !cl.Disabled {
			return name
		}
		return ""
	}
	subject := cert.Subject.String()
	for _, cl := range c.clients {
		for _, m := range cl.Certificates {
			if m.Subject != "" && m.Subject == subject && !cl.Disabled && underCA(chains, m.CAFingerprint) {
				return cl.Name
			}
		}
	}
	return ""
}

// group is the group of a client, "" for none.
func (c *clientCache) group(name string) string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if cl := c.clients[name]; cl != nil {
		return cl.Group
	}
	return ""
}

// needsCredential tells that the client's certificate alone is not enough.
func (c *clientCache) needsCredential(name string) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	cl := c.clients[name]
	return cl != nil && cl.RequireCredential
}

func underCA(chains [][]*x509.Certificate, ca string) bool {
	for _, chain := range chains {
		for _, c := range chain[1:] {
			if fingerprint(c.Raw) == ca {
				return true
			}
		}
	}
	return false
}

// loadClients reads the clients once; changes go through this Store and drop the cache.
func (s *Store) loadClients(ctx context.Context) error {
	c := &s.clients
	c.mu.RLock()
	gen, loaded := c.gen, c.clients != nil && c.have == c.gen
	c.mu.RUnlock()
	if loaded {
		return nil
	}
	list, err := s.meta.Clients(ctx)
	if err != nil {
		return toKMIP(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.clients != nil && gen < c.have {
		return nil // somebody else has read a later state
	}
	c.have = gen // when they have changed meanwhile, the next call reads again
	c.clients, c.byPrint = map[string]*metadata.Client{}, map[string]string{}
	if c.noted == nil {
		c.noted = map[string]time.Time{}
		rand.Read(c.key[:])
	}
	c.proven = map[string]bool{}
	for _, cl := range list {
		c.clients[cl.Name] = cl
		for _, m := range cl.Certificates {
			if m.Fingerprint != "" {
				c.byPrint[m.Fingerprint] = cl.Name
			}
		}
	}
	return nil
}

func (s *Store) dropClients() {
	s.clients.mu.Lock()
	s.clients.gen++ // the maps stay until they are read anew: a client must not be unknown meanwhile
	s.clients.mu.Unlock()
}

// notePending keeps an unknown certificate for the administrator, at most once in an interval for each.
func (s *Store) notePending(ctx context.Context, cert *x509.Certificate, remote net.Addr, now time.Time) error {
	print := fingerprint(cert.Raw)
	c := &s.clients
	c.mu.Lock()
	if now.Sub(c.noted[print]) < pendingInterval {
		c.mu.Unlock()
		return nil
	}
	if len(c.noted) > 10_000 {
		clear(c.noted)
	}
	c.noted[print] = now
	c.mu.Unlock()

	list, err := s.meta.Pending(ctx)
	if err != nil {
		return toKMIP(err)
	}
	p := &metadata.PendingCertificate{Fingerprint: print, Subject: cert.Subject.String(), Issuer: cert.Issuer.String(),
		Serial: cert.SerialNumber.Text(16), NotAfter: cert.NotAfter, DER: cert.Raw, FirstSeen: now}
	for _, old := range list {
		if old.Fingerprint == print {
			p = old
		}
	}
	p.LastSeen, p.Attempts = now, p.Attempts+1
	if host, _, err := net.SplitHostPort(remote.String()); err == nil {
		p.Address = host
	}
	s.log.Warn().Str("fingerprint", print).Str("subject", p.Subject).Str("address", p.Address).Msg("certificate is not registered; noted as pending")
	e := audit.Event{Kind: audit.KindConnection, Outcome: audit.Failure, Operation: "unknown certificate", Address: remote.String(),
		Facts: []audit.Fact{fact("fingerprint", print), fact("subject", p.Subject)}}
	s.offer(limitCertificates, e)
	return toKMIP(s.meta.PutPending(ctx, p))
}
