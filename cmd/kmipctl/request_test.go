package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/pflag"

	"kmipd/kmip"
)

// TestRequests pins what command lines become on the wire, defaults included.
func TestRequests(t *testing.T) {
	frozen(t)
	file := filepath.Join(t.TempDir(), "octets")
	if err := os.WriteFile(file, []byte("0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		make func(f *pflag.FlagSet) func() (structureWriter, error)
		args []string
	}{
		{"create-default", createRequest, nil},
		{"create-hmac", createRequest, []string{"--algorithm", "hmac-sha256", "--length", "256", "--sensitive", "--extractable=false"}},
		{"create-template", createRequest, []string{"--template", "disks", "--name", "a", "--name", "b", "--group", "g"}},
		{"create-secret", createRequest, []string{"--type", "secret-data", "--length", "128"}},
		{"create-full", createRequest, []string{"--algorithm", "3DES", "--length", "168", "--usage", "none", "--activation-date", "now",
			"--process-start-date", "+1d", "--protect-stop-date", "+2d", "--deactivation-date", "2027-01-01", "--description", "d", "--comment", "c",
			"--contact", "p", "--attribute", "x-n=int:1"}},
		{"create-key-pair-rsa", pairRequest, []string{"--algorithm", "RSA", "--private-name", "a", "--public-name", "b", "--activation-date", "now", "--sensitive"}},
		{"create-key-pair-ec", pairRequest, []string{"--algorithm", "EC", "--curve", "P-256", "--private-usage", "sign", "--public-attribute", "x-p=1",
			"--private-template", "t", "--group", "g"}},
		{"create-key-pair-ecdh", pairRequest, []string{"--algorithm", "ECDH", "--length", "384"}},
		{"register-aes", registerRequest, []string{"--type", "symmetric-key", "--algorithm", "AES", "--file", file}},
		{"register-transparent", registerRequest, []string{"--type", "symmetric-key", "--algorithm", "AES", "--file", file, "--format", "transparent"}},
		{"register-3des", registerRequest, []string{"--type", "symmetric-key", "--algorithm", "3des", "--file", file}},
		{"register-secret", registerRequest, []string{"--type", "secret-data", "--secret-type", "seed", "--format", "raw", "--file", file}},
		{"register-opaque", registerRequest, []string{"--type", "opaque-object", "--opaque-type", "0x80000005", "--file", file}},
		{"register-pgp", registerRequest, []string{"--type", "pgp-key", "--pgp-version", "3", "--file", file}},
		{"register-split", registerRequest, []string{"--type", "split-key", "--split-parts", "3", "--split-part", "2", "--split-threshold", "2",
			"--split-method", "polynomial-sharing-prime-field", "--prime-field-size", "257", "--file", file}},
		{"register-wrapped", registerRequest, []string{"--type", "symmetric-key", "--algorithm", "AES", "--length", "64", "--file", file,
			"--wrapping-key", "kek", "--wrap-mode", "oaep", "--wrap-hash", "sha-256", "--encoding", "ttlv"}},
		{"register-reference", registerRequest, []string{"--type", "symmetric-key", "--algorithm", "AES", "--length", "256",
			"--attribute", "Key Value Location=Key Value Location Value=https://x;Key Value Location Type=URI"}},
		{"register-template", registerRequest, []string{"--type", "template", "--name", "t", "--algorithm", "AES", "--length", "256", "--usage", "encrypt"}},
		{"get-wrapped", getRequest, []string{"--format", "raw", "--wrap-with", "kek", "--wrap-mode", "aes-key-wrap-padding", "--wrap-attribute", "name"}},
		{"get-format", getRequest, []string{"--format", "x509", "--compression", "ec-public-key-type-x9.62-compressed-prime", "--wrap-type", "not-wrapped"}},
		{"locate-all", locateRequest, nil},
		{"locate-full", locateRequest, []string{"--name", "n", "--type", "symmetric-key", "--group", "g", "--group-member", "fresh", "--algorithm", "AES",
			"--length", "256", "--state", "active", "--usage", "wrap", "--attribute", "Link=Link Type=Public Key Link", "--date", "Initial Date=..now",
			"--max", "0", "--offset", "5", "--storage", "on-line-storage,archival-storage"}},
		{"check", checkRequest, []string{"--usage", "encrypt", "--limit", "0", "--lease", "1h"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := pflag.NewFlagSet(tc.name, pflag.ContinueOnError)
			req := tc.make(f)
			if err := f.Parse(tc.args); err != nil {
				t.Fatal(err)
			}
			p, err := req()
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "request-"+tc.name+".json", show(t, payload(p)))
		})
	}
}

func createRequest(f *pflag.FlagSet) func() (structureWriter, error) {
	c := &create{}
	c.define(f)
	return func() (structureWriter, error) { return c.request() }
}

func pairRequest(f *pflag.FlagSet) func() (structureWriter, error) {
	c := &createPair{}
	c.define(f)
	return func() (structureWriter, error) { return c.request() }
}

func registerRequest(f *pflag.FlagSet) func() (structureWriter, error) {
	r := &register{}
	r.define(f)
	return func() (structureWriter, error) {
		if err := r.check(); err != nil {
			return nil, err
		}
		return r.request(&kit{version: kmip.V1_4})
	}
}

func getRequest(f *pflag.FlagSet) func() (structureWriter, error) {
	g := &get{}
	g.define(f)
	return func() (structureWriter, error) { return g.request(kmip.V1_4) }
}

func locateRequest(f *pflag.FlagSet) func() (structureWriter, error) {
	l := &locate{}
	l.define(f)
	return func() (structureWriter, error) { return l.request() }
}

func checkRequest(f *pflag.FlagSet) func() (structureWriter, error) {
	c := &check{}
	c.define(f)
	return func() (structureWriter, error) { return c.request() }
}
