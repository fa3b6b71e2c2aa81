package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"kmipd/cmd/internal/prompt"
	"kmipd/kmip"
	"kmipd/kmip/client"
	encodings "kmipd/kmip/text"
)

// kit is what every command works with: flags that all share, output, and the connection.
type kit struct {
	streams
	flags *pflag.FlagSet

	address, dir, ca, cert, key, serverName string
	versionText, encodingText               string
	username, passwordFile                  string
	timeout                                 time.Duration
	json, quiet                             bool

	version  kmip.Version
	encoding encodings.Encoding
	conn     *client.Client
}

const envPrefix = "KMIPCTL_"

func (k *kit) define(f *pflag.FlagSet) {
	k.flags = f
	f.SortFlags = false
	f.StringVar(&k.address, "address", "127.0.0.1:5696", "`HOST:PORT` of the server, or https://HOST:PORT/PATH for KMIP over HTTPS (path /kmip if left out)")
	f.StringVar(&k.dir, "dir", "", "`directory` with ca.crt, client.crt and client.key, as kmipd dev makes it")
	f.StringVar(&k.ca, "ca", "", "PEM `file`: authorities that sign the server's certificate (default ca.crt in --dir)")
	f.StringVar(&k.cert, "cert", "", "PEM `file`: your certificate (default client.crt in --dir)")
	f.StringVar(&k.key, "key", "", "PEM `file`: the key of your certificate (default client.key in --dir)")
	f.StringVar(&k.serverName, "server-name", "", "`name` in the server's certificate, when it is not the host of --address")
	f.StringVar(&k.versionText, "version", "1.4", "KMIP `version` to speak: 1.0 to 1.4")
	f.StringVar(&k.encodingText, "message-encoding", "ttlv", "`encoding` of messages: ttlv; over HTTPS xml and json, too")
	f.StringVar(&k.username, "username", "", "`name` of the user in the request's credential")
	f.StringVar(&k.passwordFile, "password-file", "", "`file` with the user's password; a prompt without it")
	f.DurationVar(&k.timeout, "timeout", 30*time.Second, "for connecting, and for each request")
	f.BoolVar(&k.json, "json", false, "print JSON: kmipctl help output")
	f.BoolVar(&k.quiet, "quiet", false, "print Unique Identifiers alone")
}

// settle takes from the environment what the flags leave open, and checks what can be checked without files.
func (k *kit) settle() error {
	var problems []error
	k.settleFiles()
	k.flags.VisitAll(func(f *pflag.Flag) {
		name := envName(f.Name)
		v := os.Getenv(name)
		if v == "" || f.Changed || f.Name == "dir" || f.Name == "ca" || f.Name == "cert" || f.Name == "key" {
			return
		}
		if err := f.Value.Set(v); err != nil {
			problems = append(problems, fmt.Errorf("%s: %q is not a value of --%s", name, v, f.Name))
		}
	})
	var err error
	if k.version, err = parseVersion(k.versionText); err != nil {
		problems = append(problems, fmt.Errorf("--version: %w", err))
	}
	var known bool
	if k.encoding, known = encodings.ByName(k.encodingText); !known {
		problems = append(problems, fmt.Errorf("--message-encoding: %q is none of ttlv, xml, json", k.encodingText))
	}
	if k.encoding != encodings.TTLV && !strings.HasPrefix(k.address, "https://") {
		problems = append(problems, fmt.Errorf("--message-encoding %s goes over HTTPS: write --address https://%s", k.encodingText, k.address))
	}
	if k.timeout <= 0 {
		problems = append(problems, errors.New("--timeout must be positive, for example 30s"))
	}
	if k.passwordFile != "" && k.username == "" {
		problems = append(problems, errors.New("--password-file needs --username"))
	}
	if k.json && k.quiet {
		problems = append(problems, errors.New("--json and --quiet exclude each other"))
	}
	return joined("", problems)
}

func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// settleFiles finds the three files. --dir is named on purpose, so it goes before a --ca of the environment.
func (k *kit) settleFiles() {
	dirEnv := os.Getenv(envName("dir"))
	for _, f := range []struct {
		path       *string
		flag, name string
	}{{&k.ca, "ca", "ca.crt"}, {&k.cert, "cert", "client.crt"}, {&k.key, "key", "client.key"}} {
		env := os.Getenv(envName(f.flag))
		switch {
		case *f.path != "":
		case k.dir != "":
			*f.path = filepath.Join(k.dir, f.name)
		case env != "":
			*f.path = env
		case dirEnv != "":
			*f.path = filepath.Join(dirEnv, f.name)
		}
	}
}

// joined makes one usage error of all problems, nil when there are none.
func joined(title string, problems []error) error {
	switch {
	case len(problems) == 0:
		return nil
	case len(problems) == 1:
		return usageError("%s", message(problems[0]))
	case title == "":
		title = "several things are wrong"
	}
	lines := make([]string, len(problems))
	for i, p := range problems {
		lines[i] = "\n  " + message(p)
	}
	return usageError("%s:%s", title, strings.Join(lines, ""))
}

// message is the text of a problem that may be a usage error already.
func message(err error) string { return strings.TrimSuffix(err.Error(), ": "+errUsage.Error()) }

// parseVersion reads a version that this package's payloads can be sent in.
func parseVersion(s string) (kmip.Version, error) {
	for _, v := range kmip.Supported {
		if v.String() == s {
			return v, nil
		}
	}
	return kmip.Version{}, fmt.Errorf("%q is none of 1.0, 1.1, 1.2, 1.3, 1.4", s)
}

// client connects, once.
func (k *kit) client(ctx context.Context) (*client.Client, error) {
	if k.conn != nil {
		return k.conn, nil
	}
	conf, err := k.tls()
	if err != nil {
		return nil, err
	}
	password, err := k.password(ctx)
	if err != nil {
		return nil, err
	}
	k.conn, err = client.Dial(ctx, client.Config{Address: k.address, Encoding: k.encoding, TLS: conf, ServerName: k.serverName,
		Username: k.username, Password: password, Version: k.version, Timeout: k.timeout})
	return k.conn, err
}

func (k *kit) close() {
	if k.conn != nil {
		// The answer is here already: how the connection ends changes nothing.
		_ = k.conn.Close()
	}
}

// tls reads the three files; all that is wrong with them is reported at once.
func (k *kit) tls() (*tls.Config, error) {
	var problems []error
	read := func(flag, path, what string) []byte {
		if path == "" {
			problems = append(problems, fmt.Errorf("--%s is not set: name the PEM file of %s, or with --dir the directory of all three", flag, what))
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			problems = append(problems, fmt.Errorf("--%s: %w: name the PEM file of %s", flag, err, what))
		}
		return b
	}
	ca := read("ca", k.ca, "the authorities that sign the server's certificate")
	cert := read("cert", k.cert, "your certificate")
	key := read("key", k.key, "the key of your certificate")
	defer clear(key)
	pool := x509.NewCertPool()
	if ca != nil && !pool.AppendCertsFromPEM(ca) {
		problems = append(problems, fmt.Errorf("--ca: %s holds no PEM certificate", k.ca))
	}
	conf := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	if cert != nil && key != nil {
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			problems = append(problems, fmt.Errorf("--cert %s and --key %s are no pair of PEM files: %w", k.cert, k.key, err))
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf, joined("the connection is not set up", problems)
}

// password is that of --username: from the file or from the terminal.
func (k *kit) password(ctx context.Context) (string, error) {
	if k.username == "" {
		return "", nil
	}
	if k.passwordFile != "" {
		b, err := os.ReadFile(k.passwordFile)
		if err != nil {
			return "", usageError("--password-file: %v", err)
		}
		defer clear(b)
		return strings.TrimRight(string(b), "\r\n"), nil
	}
	if !prompt.IsTerminal(k.in) {
		return "", usageError("--username needs --password-file, or a terminal to ask for the password")
	}
	b, err := prompt.Secret(ctx, k.in, k.err, fmt.Sprintf("Password of %s (empty for none): ", k.username))
	defer clear(b)
	return string(b), err
}
