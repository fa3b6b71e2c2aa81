package keystore

import (
	"bytes"
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"kmipd/keystore/audit"
	"kmipd/kmip"
	"kmipd/metadata"
)

// passwordIterations is the cost of a credential's PBKDF2-HMAC-SHA256 (SP 800-132).
const passwordIterations = 210_000

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

// Credentials checks the credentials of a message header against those registered for the client.
func (s *Store) Credentials(ctx context.Context, caller kmip.Caller, auth *kmip.Authentication) (kmip.Caller, error) {
	if len(auth.Credential) == 0 {
		return caller, kmip.Errorf(kmip.ResultReasonInvalidMessage, "Authentication holds no Credential")
	}
	for i := range auth.Credential {
		user, device, password, err := readCredential(&auth.Credential[i])
		if err != nil {
			return caller, err
		}
		ok, err := s.checkCredential(ctx, caller.Client, user, device, password)
		if err != nil {
			return caller, err
		}
		if ok {
			caller.User = user
		}
	}
	return caller, nil
}

func authFailed() error {
	return kmip.Errorf(kmip.ResultReasonAuthenticationNotSuccessful, "the credential is not valid for this client")
}

// readCredential reads the two credential types that identify somebody (KMIP 1.4 section 2.1.2). A device is named by its
// fields together.
func readCredential(c *kmip.Credential) (user string, device bool, password []byte, err error) {
	switch c.CredentialType {
	case kmip.CredentialTypeUsernameAndPassword:
		var u kmip.UsernameAndPassword
		if err := u.Decode(c.CredentialValue); err != nil {
			return "", false, nil, err
		}
		if u.Password != nil {
			password = []byte(*u.Password)
		}
		if u.Username == "" {
			return "", false, nil, authFailed()
		}
		return u.Username, false, password, nil
	case kmip.CredentialTypeDevice:
		var d kmip.DeviceCredential
		if err := d.Decode(c.CredentialValue); err != nil {
			return "", false, nil, err
		}
		if d.Password != nil {
			password = []byte(*d.Password)
		}
		name := DeviceName(&d)
		if name == "" {
			return "", true, nil, authFailed()
		}
		return name, true, password, nil
	case kmip.CredentialTypeAttestation:
		return "", false, nil, kmip.Errorf(kmip.ResultReasonAuthenticationNotSuccessful, "the server accepts no Attestation credential")
	}
	return "", false, nil, kmip.Errorf(kmip.ResultReasonInvalidField, "Credential Type is unknown")
}

// DeviceName is the canonical form of a device credential: its fields in the order of the standard. "" when it has none.
func DeviceName(d *kmip.DeviceCredential) string {
	var parts []string
	for _, f := range []struct {
		key   string
		value *string
	}{{"serial", d.DeviceSerialNumber}, {"device", d.DeviceIdentifier}, {"network", d.NetworkIdentifier},
		{"machine", d.MachineIdentifier}, {"media", d.MediaIdentifier}} {
		if f.value != nil && *f.value != "" {
			parts = append(parts, f.key+"="+*f.value)
		}
	}
	return strings.Join(parts, ",")
}

// checkCredential tells whether the credential names a user of the client. An unknown one is refused, ignored or
// enrolled, as the configuration says; a known one with a wrong password is always refused.
func (s *Store) checkCredential(ctx context.Context, client, user string, device bool, password []byte) (bool, error) {
	defer clear(password)
	if err := s.loadClients(ctx); err != nil {
		return false, err
	}
	c := &s.clients
	c.mu.RLock()
	cl, gen := c.clients[client], c.have
	key := c.provenKey(client, user, device, password)
	proven := c.proven[key]
	c.mu.RUnlock()
	if proven {
		return true, nil
	}
	if cl == nil {
		return false, authFailed()
	}
	for _, cr := range cl.Credentials {
		if cr.User != user || cr.Device != device {
			continue
		}
		if !matches(cr, password) {
			return false, authFailed()
		}
		c.mu.Lock()
		if c.have == gen && c.gen == gen {
			c.proven[key] = true
		}
		c.mu.Unlock()
		return true, nil
	}
	switch s.cfg.Credentials {
	case CredentialsIgnore:
		return false, nil
	case CredentialsEnrol:
		e := audit.Event{Kind: audit.KindServer, Outcome: audit.Success, Operation: "enrol a credential"}
		return true, s.addCredential(ctx, client, user, device, password, e)
	}
	return false, authFailed()
}

// provenKey lets a credential that was verified once be recognised without the cost of PBKDF2. It is a hash under a
// random key that never leaves the process.
func (c *clientCache) provenKey(client, user string, device bool, password []byte) string {
	h := sha256.New()
	h.Write(c.key[:])
	fmt.Fprintf(h, "%d:%s%d:%s%t%d:", len(client), client, len(user), user, device, len(password))
	h.Write(password)
	return string(h.Sum(nil))
}

func matches(cr metadata.StoredCredential, password []byte) bool {
	if len(cr.Hash) == 0 {
		return len(password) == 0
	}
	sum, err := pbkdf2.Key(sha256.New, string(password), cr.Salt, cr.Iterations, len(cr.Hash))
	return err == nil && subtle.ConstantTimeCompare(sum, cr.Hash) == 1
}

// AddCredential registers a credential for a client, or gives a registered one a new password.
func (s *Store) AddCredential(ctx context.Context, client, user string, device bool, password []byte) error {
	return s.addCredential(ctx, client, user, device, password, ofAdministrator("client credential"))
}

func (s *Store) addCredential(ctx context.Context, client, user string, device bool, password []byte, e audit.Event) error {
	e.User = user
	cr := metadata.StoredCredential{User: user, Device: device}
	if len(password) > 0 {
		cr.Salt, cr.Iterations = make([]byte, 16), passwordIterations
		rand.Read(cr.Salt)
		sum, err := pbkdf2.Key(sha256.New, string(password), cr.Salt, cr.Iterations, 32)
		if err != nil {
			return fmt.Errorf("keystore: hashing a password: %w", err)
		}
		cr.Hash = sum
	}
	return s.changeClient(ctx, client, e, func(cl *metadata.Client) error {
		for i, old := range cl.Credentials {
			if old.User == user && old.Device == device {
				cl.Credentials[i] = cr
				return nil
			}
		}
		cl.Credentials = append(cl.Credentials, cr)
		return nil
	})
}

// RequireCredential says whether each message of a client needs a registered credential next to the certificate.
func (s *Store) RequireCredential(ctx context.Context, client string, require bool) error {
	e := ofAdministrator("client require", fact("credential", strconv.FormatBool(require)))
	return s.changeClient(ctx, client, e, func(cl *metadata.Client) error {
		if require && len(cl.Credentials) == 0 {
			return fmt.Errorf("client %q has no credential: register one first", client)
		}
		cl.RequireCredential = require
		return nil
	})
}

// SetGroup puts a client into a group of the configuration, "" takes it out of one.
func (s *Store) SetGroup(ctx context.Context, client, group string) error {
	if _, ok := s.cfg.Groups[group]; !ok && group != "" {
		return fmt.Errorf("the configuration has no [[group]] with name %q", group)
	}
	e := ofAdministrator("client group", fact("group", group))
	err := s.changeClient(ctx, client, e, func(cl *metadata.Client) error {
		cl.Group = group
		return nil
	})
	if err != nil {
		return err
	}
	return s.loadClients(ctx) // jobs of the client do not come by its certificate
}

// RemoveCertificate takes one certificate from a client, which keeps its others.
func (s *Store) RemoveCertificate(ctx context.Context, client, print string) error {
	print = strings.ToLower(strings.ReplaceAll(print, ":", ""))
	e := ofAdministrator("client uncertify", fact("fingerprint", print))
	return s.changeClient(ctx, client, e, func(cl *metadata.Client) error {
		n := len(cl.Certificates)
		cl.Certificates = slices.DeleteFunc(cl.Certificates, func(m metadata.CertificateMatch) bool {
			return len(print) >= 8 && strings.HasPrefix(m.Fingerprint, print)
		})
		if len(cl.Certificates) != n-1 {
			return fmt.Errorf("the fingerprint names %d certificates of client %q", n-len(cl.Certificates), client)
		}
		return nil
	})
}

// AddClient registers a client. A certificate belongs to one client only.
func (s *Store) AddClient(ctx context.Context, cl *metadata.Client) error {
	if cl.Name == "" || len(cl.Name) > 128 || strings.ContainsAny(cl.Name, "/\x00\n") {
		return fmt.Errorf("client name must have 1 to 128 characters and no slash")
	}
	if err := s.lockClients(ctx); err != nil {
		return err
	}
	defer s.unlockClients()
	list, err := s.meta.Clients(ctx)
	if err != nil {
		return err
	}
	for _, other := range list {
		if other.Name == cl.Name {
			return fmt.Errorf("client %q exists", cl.Name)
		}
		for _, m := range cl.Certificates {
			for _, o := range other.Certificates {
				if m == o {
					return fmt.Errorf("the certificate belongs to client %q", other.Name)
				}
			}
		}
	}
	cl.Created = s.cfg.Clock().UTC()
	e := ofAdministrator("client add", certificateFacts(cl.Certificates)...)
	e.Client = cl.Name
	return s.meta.PutClient(ctx, cl, s.payload(e, nil))
}

// clientsLock is the lock under which clients are changed; no Unique Identifier has this form.
const clientsLock = "\x00clients"

func (s *Store) lockClients(ctx context.Context) error {
	if err := s.trail.ready(ctx); err != nil {
		return err
	}
	return s.locks.acquire(ctx, clientsLock)
}

func (s *Store) unlockClients() {
	s.dropClients()
	s.locks.release(clientsLock)
}

// changeClient changes a client. e is the command of the administrator.
func (s *Store) changeClient(ctx context.Context, name string, e audit.Event, change func(*metadata.Client) error) error {
	if err := s.lockClients(ctx); err != nil {
		return err
	}
	defer s.unlockClients()
	cl, err := s.meta.Client(ctx, name)
	if isNotFound(err) {
		return fmt.Errorf("client %q does not exist", name)
	}
	if err != nil {
		return err
	}
	if err := change(cl); err != nil {
		return err
	}
	e.Client = name
	return s.meta.PutClient(ctx, cl, s.payload(e, nil))
}

// certificateFacts are ways to recognise a client, for the audit trail.
func certificateFacts(list []metadata.CertificateMatch) []audit.Fact {
	var facts []audit.Fact
	for _, m := range list {
		if m.Fingerprint != "" {
			facts = append(facts, fact("fingerprint", m.Fingerprint))
		} else {
			facts = append(facts, fact("subject", m.Subject), fact("authority", m.CAFingerprint))
		}
	}
	return facts
}

// AddCertificate gives a client one more certificate.
func (s *Store) AddCertificate(ctx context.Context, name string, m metadata.CertificateMatch) error {
	e := ofAdministrator("client certificate", certificateFacts([]metadata.CertificateMatch{m})...)
	return s.changeClient(ctx, name, e, func(cl *metadata.Client) error {
		list, err := s.meta.Clients(ctx)
		if err != nil {
			return err
		}
		for _, other := range list {
			for _, o := range other.Certificates {
				if o == m {
					return fmt.Errorf("the certificate belongs to client %q", other.Name)
				}
			}
		}
		cl.Certificates = append(cl.Certificates, m)
		return nil
	})
}

// RemoveClient takes a client's access away. Its objects stay; objects tells how many there are.
func (s *Store) RemoveClient(ctx context.Context, name string) (objects int, err error) {
	if err := s.lockClients(ctx); err != nil {
		return 0, err
	}
	defer s.unlockClients()
	if _, err := s.meta.Client(ctx, name); isNotFound(err) {
		return 0, fmt.Errorf("client %q does not exist", name)
	} else if err != nil {
		return 0, err
	}
	res, err := s.meta.Locate(ctx, metadata.Query{Owner: name, Max: 0, Count: true})
	if err != nil {
		return 0, err
	}
	e := ofAdministrator("client remove")
	e.Client = name
	if err := s.meta.DeleteClient(ctx, name, s.payload(e, nil)); err != nil {
		return 0, err
	}
	return res.Total, s.closeBox(ctx, name)
}

// Clients lists the registered clients.
func (s *Store) Clients(ctx context.Context) ([]*metadata.Client, error) { return s.meta.Clients(ctx) }

// PendingCertificates lists the certificates that wait for an administrator.
func (s *Store) PendingCertificates(ctx context.Context) ([]*metadata.PendingCertificate, error) {
	return s.meta.Pending(ctx)
}

// AcceptPending registers a pending certificate for a client, which is made when it does not exist.
func (s *Store) AcceptPending(ctx context.Context, print, client string) error {
	p, err := s.pending(ctx, print)
	if err != nil {
		return err
	}
	m := metadata.CertificateMatch{Fingerprint: p.Fingerprint}
	_, err = s.meta.Client(ctx, client)
	switch {
	case isNotFound(err):
		err = s.AddClient(ctx, &metadata.Client{Name: client, Certificates: []metadata.CertificateMatch{m}})
	case err == nil:
		err = s.AddCertificate(ctx, client, m)
	}
	if err != nil {
		return err
	}
	e := ofAdministrator("client accept", fact("fingerprint", p.Fingerprint))
	e.Client = client
	return s.dropPending(ctx, p.Fingerprint, e)
}

// RejectPending forgets a pending certificate.
func (s *Store) RejectPending(ctx context.Context, print string) error {
	p, err := s.pending(ctx, print)
	if err != nil {
		return err
	}
	e := ofAdministrator("client reject", fact("fingerprint", p.Fingerprint))
	return s.dropPending(ctx, p.Fingerprint, e)
}

// dropPending takes a certificate from the list. If it comes again unknown, it is noted at once.
func (s *Store) dropPending(ctx context.Context, print string, e audit.Event) error {
	if err := s.meta.DeletePending(ctx, print, s.payload(e, nil)); err != nil {
		return err
	}
	s.clients.mu.Lock()
	defer s.clients.mu.Unlock()
	delete(s.clients.noted, print)
	return nil
}

// pending finds a pending certificate by fingerprint or an unambiguous beginning of it (8 digits or more).
func (s *Store) pending(ctx context.Context, print string) (*metadata.PendingCertificate, error) {
	list, err := s.meta.Pending(ctx)
	if err != nil {
		return nil, err
	}
	print = strings.ToLower(strings.ReplaceAll(print, ":", ""))
	var found *metadata.PendingCertificate
	for _, p := range list {
		if len(print) >= 8 && strings.HasPrefix(p.Fingerprint, print) {
			if found != nil && !bytes.Equal(found.DER, p.DER) {
				return nil, fmt.Errorf("the fingerprint is ambiguous")
			}
			found = p
		}
	}
	if found == nil {
		return nil, fmt.Errorf("no pending certificate has this fingerprint")
	}
	return found, nil
}
