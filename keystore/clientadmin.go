package keystore

import (
	"bytes"
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"kmipd/keystore/audit"
	"kmipd/metadata"
)

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
