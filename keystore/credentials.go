package keystore

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"strings"

	"kmipd/keystore/audit"
	"kmipd/kmip"
	"kmipd/metadata"
)

// passwordIterations is the cost of a credential's PBKDF2-HMAC-SHA256 (SP 800-132).
const passwordIterations = 210_000

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
