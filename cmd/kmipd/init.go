package main

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"

	"kmipd/fips"
	"kmipd/hsm"
)

// layout is the directory that kmipd init makes.
type layout struct {
	dir, listen          string
	transport            string
	module, label, pin   string // of an existing token; module "" for a SoftHSM2 token under dir
	leaseTime            int
	freshGroup, creds    string
	logFormat, logLevel  string
	serverNames          []string
	certificate, key, ca string // the operator's own, instead of made ones
	policy               string
	extra                []string // policies of further listeners, for which there are certificates, too
}

func (l *layout) path(parts ...string) string {
	return filepath.Join(append([]string{l.dir}, parts...)...)
}

func runInit(ctx context.Context, s streams, args []string) error {
	f := flags(s, "init")
	l := &layout{creds: "verify", logFormat: "json", logLevel: "info"}
	f.StringVar(&l.dir, "dir", "", "directory to make (required)")
	f.StringVar(&l.listen, "listen", "0.0.0.0:5696", "address and port of the KMIP listener")
	f.StringVar(&l.transport, "transport", "tls", "what the listener's connections carry: tls, https or both")
	f.StringVar(&l.module, "token-module", "", "PKCS#11 module of an existing token; without it a SoftHSM2 token is made")
	f.StringVar(&l.label, "token-label", "", "label of the existing token")
	f.StringVar(&l.pin, "token-pin-file", "", "file with the user PIN of the existing token")
	f.StringArrayVar(&l.serverNames, "name", nil, "DNS name or IP address for the server's certificate, besides this host's")
	f.StringVar(&l.certificate, "tls-certificate", "", "the server's certificate, instead of a made one")
	f.StringVar(&l.key, "tls-key", "", "its key; token alone makes a key on the token and a certificate for it (default for strict policies)")
	f.StringVar(&l.policy, "policy", "default", "policy of the server: "+strings.Join(fips.Names(), ", "))
	f.StringVar(&l.ca, "tls-client-ca", "", "the clients' authorities")
	if err := parse(f, args, 0); err != nil {
		return err
	}
	if err := l.checkFlags(); err != nil {
		return err
	}
	if err := secureModule([]string{l.policy}, true); err != nil { // it makes keys; whether the version is certified, serve asks
		return err
	}
	if err := l.make(ctx, s); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "Made %s.\n\n  kmipd doctor --dir %s      checks it\n  kmipd serve --dir %s       runs the server\n  kmipd client add NAME --dir %s --certificate FILE   registers a client\n", l.dir, l.dir, l.dir, l.dir)
	return nil
}

func (l *layout) checkFlags() error {
	var errs []error
	if l.dir == "" {
		errs = append(errs, errors.New("--dir is needed: the directory to make"))
	}
	if l.module != "" && (l.label == "" || l.pin == "") {
		errs = append(errs, errors.New("--token-module needs --token-label and --token-pin-file"))
	}
	if _, ok := transports[l.transport]; !ok {
		errs = append(errs, fmt.Errorf("--transport: %q is none of tls, https, both", l.transport))
	}
	if _, err := fips.ByName(l.policy); err != nil {
		errs = append(errs, fmt.Errorf("--policy: %w", err))
	}
	own := 0
	if l.key == onToken {
		own--
	}
	for _, p := range []string{l.certificate, l.key, l.ca} {
		if p != "" {
			own++
		}
	}
	if own != 0 && own != 3 || l.key == onToken && l.certificate != "" {
		errs = append(errs, errors.New("--tls-certificate, --tls-key and --tls-client-ca go together"))
	}
	if len(errs) > 0 {
		return fmt.Errorf("%w: %w", errors.Join(errs...), errUsage)
	}
	return nil
}

// make makes what is not there yet; everything that is there stays.
func (l *layout) make(ctx context.Context, s streams) error {
	dir, err := filepath.Abs(l.dir)
	if err != nil {
		return err
	}
	l.dir = dir
	for _, d := range []string{l.dir, l.path("data")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	if l.module == "" {
		if err := l.softToken(); err != nil {
			return err
		}
	}
	if l.certificate == "" {
		if l.key == "" && l.strict() {
			l.key = onToken
		}
		if err := l.identities(ctx, s); err != nil {
			return err
		}
	}
	return l.configuration()
}

const softLabel = "kmipd"

// softToken makes a SoftHSM2 token under the directory, unless it is there. The PIN file is written before the token is
// initialised, so that a token never exists without its PIN.
func (l *layout) softToken() error {
	module := hsm.FindModule()
	if module == "" {
		return errors.New("SoftHSM2 was not found: install the package softhsm2, or name your token's module with --token-module")
	}
	tokens := l.path("tokens")
	if err := os.MkdirAll(tokens, 0o700); err != nil {
		return err
	}
	conf := fmt.Sprintf("directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n", tokens)
	if err := writeFile(l.path("softhsm2.conf"), []byte(conf), 0o600); err != nil {
		return err
	}
	if err := os.Setenv("SOFTHSM2_CONF", l.path("softhsm2.conf")); err != nil {
		return err
	}
	if exists(l.path("token-made")) {
		return nil
	}
	pin, hadPIN, err := keptPIN(l.path("pin"))
	if err != nil {
		return err
	}
	so, hadSO, err := keptPIN(l.path("so-pin"))
	if err != nil {
		return err
	}
	// The token is there when it was made and the marker did not get onto the disk: the PIN files are its own.
	_, err = hsm.InitToken(module, softLabel, so, pin)
	if errors.Is(err, hsm.ErrExists) {
		if hadPIN && hadSO {
			err = nil
		}
		// A PIN that was made now is not the token's, and the next start must not take it for that.
		if !hadPIN {
			err = errors.Join(err, os.Remove(l.path("pin")))
		}
		if !hadSO {
			err = errors.Join(err, os.Remove(l.path("so-pin")))
		}
	}
	if err != nil {
		return fmt.Errorf("making the SoftHSM2 token: %w", err)
	}
	return writeFile(l.path("token-made"), nil, 0o600)
}

// keptPIN reads a PIN file, and makes it when it is not there: that of a token that exists must never be replaced.
func keptPIN(path string) (pin hsm.PIN, had bool, err error) {
	b, err := os.ReadFile(path)
	if err == nil {
		defer clear(b)
		return hsm.PIN(strings.TrimSpace(string(b))), true, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", false, err
	}
	made := newPIN()
	return hsm.PIN(made), false, writeFile(path, []byte(made+"\n"), 0o600)
}

func newPIN() string {
	var b [20]byte
	rand.Read(b[:]) // never fails: crypto/rand aborts the process instead
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

// configuration writes kmipd.toml, unless it is there: from then on it is the operator's.
func (l *layout) configuration() error {
	file := l.path("kmipd.toml")
	if exists(file) {
		return nil
	}
	values := []struct {
		key     string
		value   any
		comment string
	}{
		{"listen", l.listen, "address and port of the KMIP listener"},
		{"transport", l.transport, "what its connections carry: tls (KMIP in TLS), https (KMIP in HTTPS), both"},
		{"data_dir", "data", "records: attributes and handles, no key bytes"},
		{"tls_certificate", or(l.certificate, "server.crt"), ""},
		{"tls_key", l.keyValue(), ""},
		{"tls_client_ca", or(l.ca, "ca.crt"), "authorities that sign client certificates"},
		{"policy", l.policyValue(), "which algorithms are allowed"},
		{"tls_crl", l.crlValue(), "their revocation lists; kmipd tls crl renews that of init's authority"},
		{"token_module", or(l.module, hsm.FindModule()), "PKCS#11 module"},
		{"token_label", or(l.label, softLabel), ""},
		{"token_pin_file", or(l.pin, "pin"), "the user PIN, readable by the server alone"},
		{"credentials", l.creds, "unregistered credentials in message headers: verify, ignore, enrol"},
		{"lease_time", l.leaseTime, "Lease Time of new objects in seconds, 0 for none"},
		{"fresh_group", l.freshGroup, "Object Group with fresh keys on demand"},
		{"log_level", l.logLevel, ""},
		{"log_format", l.logFormat, ""},
	}
	var b strings.Builder
	b.WriteString("# kmipd configuration. kmipd serve --help tells all settings. Relative paths start at this file's directory.\n")
	for _, v := range values {
		if v.value == "" || v.value == 0 {
			continue
		}
		var line strings.Builder
		if err := toml.NewEncoder(&line).Encode(map[string]any{v.key: v.value}); err != nil {
			return err
		}
		text := strings.TrimSuffix(line.String(), "\n")
		if v.comment != "" {
			text += " # " + v.comment
		}
		b.WriteString(text + "\n")
	}
	if l.module == "" {
		b.WriteString("softhsm_conf = \"softhsm2.conf\"\n")
	}
	return writeFile(file, []byte(b.String()), 0o600)
}

func or(s, fallback string) string {
	if s != "" {
		if abs, err := filepath.Abs(s); err == nil && exists(abs) {
			return abs
		}
		return s
	}
	return fallback
}
