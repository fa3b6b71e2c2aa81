package keystore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"strings"
	"testing"
	"time"

	"kmipd/hsm/hsmtest"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
	"kmipd/metadata"
)

var remote = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 40000}

// who asks the Store who a certificate is.
func (b *bench) who(cert *x509.Certificate, chain ...*x509.Certificate) (string, error) {
	state := &tls.ConnectionState{PeerCertificates: append([]*x509.Certificate{cert}, chain...),
		VerifiedChains: [][]*x509.Certificate{append([]*x509.Certificate{cert}, chain...)}}
	caller, err := b.s.Certificate(context.Background(), state, remote)
	return caller.Client, err
}

func (b *bench) wantClient(what, want string, cert *x509.Certificate, chain ...*x509.Certificate) {
	b.t.Helper()
	got, err := b.who(cert, chain...)
	if err != nil || got != want {
		b.t.Errorf("%s: got client %q and error %v, want %q", what, got, err, want)
	}
}

func (b *bench) addClient(name string, certs ...metadata.CertificateMatch) error {
	return b.s.AddClient(context.Background(), &metadata.Client{Name: name, Certificates: certs})
}

func print(cert *x509.Certificate) metadata.CertificateMatch {
	return metadata.CertificateMatch{Fingerprint: fingerprint(cert.Raw)}
}

func TestClientCertificates(t *testing.T) {
	b := newBench(t)
	ctx := context.Background()
	ca, otherCA := makeCert(t, pkix.Name{CommonName: "ca"}, nil), makeCert(t, pkix.Name{CommonName: "ca"}, nil)
	subject := pkix.Name{CommonName: "array", Organization: []string{"storage"}}
	array, renewed := makeCert(t, subject, ca), makeCert(t, subject, ca)
	sameName := makeCert(t, pkix.Name{CommonName: "array"}, ca)
	foreign := makeCert(t, subject, otherCA)
	self := makeCert(t, subject, nil)

	for _, err := range []error{b.addClient("one", print(array)),
		b.addClient("two", metadata.CertificateMatch{Subject: subject.String(), CAFingerprint: fingerprint(ca.Raw)})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	b.wantClient("fingerprint goes first", "one", array, ca)
	b.wantClient("whole subject under the CA", "two", renewed, ca)
	b.wantClient("common name alone", "", sameName, ca)
	b.wantClient("subject under another CA of the same name", "", foreign, otherCA)
	b.wantClient("subject, signed by itself", "", self)
	if caller, err := b.s.Certificate(ctx, &tls.ConnectionState{}, remote); err != nil || caller != (kmip.Caller{}) {
		t.Errorf("no certificate: got %+v, %v, want nobody", caller, err)
	}

	for what, err := range map[string]error{
		"a name that is taken":            b.addClient("one"),
		"a certificate that is taken":     b.addClient("three", print(array)),
		"no name":                         b.addClient(""),
		"a name with a slash":             b.addClient("a/b"),
		"a name too long":                 b.addClient(strings.Repeat("n", 129)),
		"a taken certificate, added":      b.s.AddCertificate(ctx, "two", print(array)),
		"a certificate for nobody":        b.s.AddCertificate(ctx, "none", print(sameName)),
		"a credential for nobody":         b.s.AddCredential(ctx, "none", "u", false, []byte("p")),
		"the removal of nobody":           func() error { _, err := b.s.RemoveClient(ctx, "none"); return err }(),
		"a pending certificate of nobody": b.s.AcceptPending(ctx, strings.Repeat("0", 64), "one"),
	} {
		if err == nil {
			t.Errorf("%s: got success, want an error", what)
		}
	}

	if err := b.s.AddCertificate(ctx, "one", print(sameName)); err != nil {
		t.Fatal(err)
	}
	b.wantClient("a second certificate", "one", sameName, ca)
	b.restart()
	b.wantClient("after a restart", "one", array, ca)

	b.client("one").aes()
	if n, err := b.s.RemoveClient(ctx, "one"); err != nil || n != 1 {
		t.Errorf("RemoveClient: got %d objects, %v, want 1", n, err)
	}
	b.wantClient("a removed client with a subject that another has", "two", array, ca)
	b.wantClient("a removed client", "", sameName, ca)

	b.advance(2000 * time.Hour)
	_, err := b.who(renewed, ca)
	wantReason(t, "a certificate that has ended", err, kmip.ResultReasonAuthenticationNotSuccessful)
	b.advance(-3000 * time.Hour)
	_, err = b.who(renewed, ca)
	wantReason(t, "a certificate that has not begun", err, kmip.ResultReasonAuthenticationNotSuccessful)
}

func TestPendingCertificates(t *testing.T) {
	b := newBench(t)
	ctx := context.Background()
	one, two := makeCert(t, pkix.Name{CommonName: "one"}, nil), makeCert(t, pkix.Name{CommonName: "two"}, nil)
	list := func(want int) []*metadata.PendingCertificate {
		t.Helper()
		l, err := b.s.PendingCertificates(ctx)
		if err != nil || len(l) != want {
			t.Fatalf("got %d pending certificates, %v, want %d", len(l), err, want)
		}
		return l
	}
	b.wantClient("unknown", "", one)
	p := list(1)[0]
	if p.Fingerprint != fingerprint(one.Raw) || p.Subject != "CN=one" || p.Address != "192.0.2.7" || p.Attempts != 1 || !p.FirstSeen.Equal(epoch) {
		t.Errorf("got %+v", p)
	}
	b.wantClient("again at once", "", one)
	if got := list(1)[0].Attempts; got != 1 {
		t.Errorf("again at once: got %d attempts, want 1: writing is limited", got)
	}
	b.advance(pendingInterval)
	b.wantClient("again later", "", one)
	if p := list(1)[0]; p.Attempts != 2 || !p.FirstSeen.Equal(epoch) || !p.LastSeen.Equal(b.clock()) {
		t.Errorf("again later: got %+v", p)
	}
	b.wantClient("another", "", two)
	list(2)
	if err := b.s.AcceptPending(ctx, p.Fingerprint[:7], "c"); err == nil {
		t.Error("seven digits of a fingerprint: got success, want an error")
	}
	upper := strings.ToUpper(p.Fingerprint[:8])
	if err := b.s.AcceptPending(ctx, upper[:2]+":"+upper[2:], "c"); err != nil {
		t.Errorf("AcceptPending: %v", err)
	}
	list(1)
	b.wantClient("accepted", "c", one)
	if err := b.s.RejectPending(ctx, fingerprint(two.Raw)); err != nil {
		t.Errorf("RejectPending: %v", err)
	}
	list(0)
	b.wantClient("rejected", "", two)
	list(1)
	if err := b.s.AcceptPending(ctx, fingerprint(two.Raw), "c"); err != nil {
		t.Errorf("AcceptPending for a client that exists: %v", err)
	}
	b.wantClient("accepted as the second", "c", two)
	list(0)
}

// login sends credentials and returns the user.
func (b *bench) login(client string, creds ...kmip.Credential) (string, error) {
	caller, err := b.s.Credentials(context.Background(), kmip.Caller{Client: client}, &kmip.Authentication{Credential: creds})
	return caller.User, err
}

func password(user, secret string) kmip.Credential {
	u := kmip.UsernameAndPassword{Username: user}
	if secret != "" {
		u.Password = &secret
	}
	return kmip.Credential{CredentialType: kmip.CredentialTypeUsernameAndPassword, CredentialValue: ttlv.Make(u.Append(nil, kmip.TagCredentialValue, kmip.V1_4))}
}

func device(serial, machine, secret string) kmip.Credential {
	d := kmip.DeviceCredential{}
	for p, s := range map[**string]string{&d.DeviceSerialNumber: serial, &d.MachineIdentifier: machine, &d.Password: secret} {
		if s != "" {
			*p = &s
		}
	}
	return kmip.Credential{CredentialType: kmip.CredentialTypeDevice, CredentialValue: ttlv.Make(d.Append(nil, kmip.TagCredentialValue, kmip.V1_4))}
}

func TestCredentials(t *testing.T) {
	const refused = kmip.ResultReasonAuthenticationNotSuccessful
	attestation := kmip.Credential{CredentialType: kmip.CredentialTypeAttestation, CredentialValue: password("a", "").CredentialValue}
	unknown := kmip.Credential{CredentialType: 99, CredentialValue: password("a", "").CredentialValue}
	for _, mode := range []CredentialMode{CredentialsVerify, CredentialsIgnore, CredentialsEnrol} {
		t.Run(string(mode), func(t *testing.T) {
			b := newBench(t, func(cfg *Config) { cfg.Credentials = mode })
			ctx := context.Background()
			for _, name := range []string{"c", "other"} {
				if err := b.addClient(name); err != nil {
					t.Fatal(err)
				}
			}
			for _, err := range []error{b.s.AddCredential(ctx, "c", "ann", false, []byte("secret")), b.s.AddCredential(ctx, "c", "bare", false, nil),
				b.s.AddCredential(ctx, "c", "serial=1,machine=2", true, []byte("secret"))} {
				if err != nil {
					t.Fatal(err)
				}
			}
			strange := map[CredentialMode]kmip.ResultReason{CredentialsVerify: refused}[mode]
			user := map[CredentialMode]string{CredentialsEnrol: "new"}[mode]
			for _, row := range []struct {
				name   string
				client string
				cred   kmip.Credential
				user   string
				reason kmip.ResultReason
			}{
				{"right", "c", password("ann", "secret"), "ann", 0},
				{"right again, from the cache", "c", password("ann", "secret"), "ann", 0},
				{"wrong password", "c", password("ann", "Secret"), "", refused},
				{"no password", "c", password("ann", ""), "", refused},
				{"no password needed", "c", password("bare", ""), "bare", 0},
				{"a password where none is", "c", password("bare", "x"), "", refused},
				{"device", "c", device("1", "2", "secret"), "serial=1,machine=2", 0},
				{"device, wrong password", "c", device("1", "2", "x"), "", refused},
				{"device without fields", "c", device("", "", "secret"), "", refused},
				{"no user", "c", password("", "secret"), "", refused},
				{"attestation", "c", attestation, "", refused},
				{"unknown type", "c", unknown, "", kmip.ResultReasonInvalidField},
				{"client that is not there", "none", password("ann", "secret"), "", refused},
				{"unknown user", "c", password("new", "secret"), user, strange},
				{"another client's user", "other", password("ann", "other"), map[CredentialMode]string{CredentialsEnrol: "ann"}[mode], strange},
			} {
				got, err := b.login(row.client, row.cred)
				wantReason(t, row.name, err, row.reason)
				if err == nil && got != row.user {
					t.Errorf("%s: got user %q, want %q", row.name, got, row.user)
				}
			}
			_, err := b.login("c")
			wantReason(t, "no credential", err, kmip.ResultReasonInvalidMessage)
			_, err = b.login("c", password("ann", "secret"), password("ann", "wrong"))
			wantReason(t, "two, of which one is wrong", err, refused)

			// A new password ends the old one, the cached proof of it included.
			if err := b.s.AddCredential(ctx, "c", "ann", false, []byte("changed")); err != nil {
				t.Fatal(err)
			}
			_, err = b.login("c", password("ann", "secret"))
			wantReason(t, "the old password", err, refused)
			_, err = b.login("c", password("ann", "changed"))
			wantReason(t, "the new password", err, 0)
			if mode == CredentialsEnrol {
				_, err = b.login("c", password("new", "another"))
				wantReason(t, "an enrolled user with another password", err, refused)
			}
			if _, err := b.s.RemoveClient(ctx, "c"); err != nil {
				t.Fatal(err)
			}
			_, err = b.login("c", password("ann", "changed"))
			wantReason(t, "a removed client", err, refused)
		})
	}
}

// Passwords are kept as salted hashes and nothing else.
func TestStoredPasswords(t *testing.T) {
	b := newBench(t)
	ctx := context.Background()
	if err := b.addClient("c"); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"a", "b"} {
		if err := b.s.AddCredential(ctx, "c", user, false, []byte("KEYBYTES")); err != nil {
			t.Fatal(err)
		}
	}
	list, err := b.s.Clients(ctx)
	if err != nil {
		t.Fatal(err)
	}
	one, two := list[0].Credentials[0], list[0].Credentials[1]
	if string(one.Hash) == string(two.Hash) || len(one.Hash) != 32 || len(one.Salt) < 16 || one.Iterations < 100_000 {
		t.Errorf("got hashes of %d octets, salts of %d, %d iterations, want them salted and slow", len(one.Hash), len(one.Salt), one.Iterations)
	}
	if strings.Contains(b.log.String(), "KEYBYTES") {
		t.Error("the log has a password")
	}
}

// Query tells an unregistered client nothing about the token.
func TestDescribe(t *testing.T) {
	b := newBench(t)
	for client, want := range map[string]bool{"": false, "c": true} {
		d, err := b.s.Describe(context.Background(), &kmip.Call{Version: kmip.V1_4, Caller: kmip.Caller{Client: client}})
		if err != nil {
			t.Fatal(err)
		}
		got := false
		for _, f := range d.ServerInformation {
			got = got || f.Tag == tagTokenModel || f.Tag == tagTokenFirm || f.Tag == tagTokenMaker || f.Tag == tagPolicy
		}
		if got != want {
			t.Errorf("client %q: got token and policy %t, want %t", client, got, want)
		}
	}
	certifies := func(want bool, when string) {
		t.Helper()
		d, err := b.s.Describe(context.Background(), &kmip.Call{Version: kmip.V1_4, Caller: kmip.Caller{}})
		if err != nil {
			t.Fatal(err)
		}
		if d.Certifies != want {
			t.Errorf("%s: certifies %t", when, d.Certifies)
		}
	}
	certifies(false, "without an authority")
	b.root("root")
	certifies(true, "with one")
	b.fake.Inject(hsmtest.Fault{Method: "PublicKey", Times: 1000, Effect: hsmtest.FailBefore}) // for who issues lists, too
	b.s.forgetAuthorities()
	certifies(false, "while the token fails")
	b.fake.Heal()
	certifies(true, "after that")
	b.now = b.now.AddDate(20, 0, 0)
	certifies(false, "when it has expired")
}
