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
	exported := filepath.Join(filepath.Dir(file), "exported")
	answer := kmip.ExportResponse{ObjectType: kmip.ObjectTypeOpaqueObject, UniqueIdentifier: "id-1", Attribute: parsed(t, "Unique Identifier=id-1", "x-a=1"),
		OpaqueObject: &kmip.OpaqueObject{OpaqueDataType: 0x80000001, OpaqueDataValue: []byte{1}}}
	if err := os.WriteFile(exported, answer.Append(nil, kmip.TagResponsePayload, kmip.V1_4), 0o600); err != nil {
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
		{"re-key-default", reKeyRequest, nil},
		{"re-key-full", reKeyRequest, []string{"--offset", "1h", "--new-name", "n", "--template", "t", "--usage", "encrypt", "--sensitive"}},
		{"re-key-key-pair", reKeyPairRequest, []string{"--offset", "0", "--private-name", "p", "--public-attribute", "x-a=1", "--group", "g"}},
		{"re-key-key-pair-default", reKeyPairRequest, nil},
		{"derive-key-pbkdf2", deriveRequest, []string{"--method", "pbkdf2", "--salt", "text:salt", "--iterations", "4096", "--hash", "sha-256", "--type", "secret-data", "--length", "160"}},
		{"derive-key-108", deriveRequest, []string{"--method", "nist800-108-f", "--prf", "hmac-sha256", "--counter-length", "8", "--iv", "0001", "--new-name", "n", "--algorithm", "HMAC-SHA256", "--length", "256"}},
		{"create-split-key-new", splitRequest(false), []string{"--split-parts", "3", "--new-name", "n"}},
		{"create-split-key-existing", splitRequest(true), []string{"--split-parts", "3", "--split-threshold", "2", "--split-method", "polynomial-sharing-prime-field", "--prime-field-size", "257", "--group", "g"}},
		{"join-split-key", joinRequest, []string{"--new-name", "n"}},
		{"join-split-key-secret", joinRequest, []string{"--type", "secret-data"}},
		{"certify", certifyRequest, []string{"--subject", "CN=a,O=b", "--subject-name", "www.example", "--subject-name", "10.0.0.1", "--new-name", "n", "--deactivation-date", "+90d"}},
		{"certify-request", certifyRequest, []string{"--request", file}},
		{"re-certify", reCertifyRequest, []string{"--request", file, "--request-type", "crmf", "--offset", "0"}},
		{"validate", validateRequest, []string{"--file", file, "--date", "now"}},
		{"encrypt-ctr", encryptRequest, []string{"--mode", "ctr", "--initial-counter", "0", "--counter-length", "32", "--iv", "000102030405060708090a0b"}},
		{"encrypt-gcm", encryptRequest, []string{"--mode", "gcm", "--random-iv", "--iv-length", "96", "--tag-length", "12", "--aad", "text:header"}},
		{"encrypt-oaep", encryptRequest, []string{"--padding", "oaep", "--hash", "sha-256", "--mgf-hash", "sha-1", "--label", "00ff"}},
		{"encrypt-own", encryptRequest, nil},
		{"decrypt-gcm", decryptRequest, []string{"--mode", "gcm", "--iv", "00 01", "--tag", "ff", "--aad", "bytes:02"}},
		{"sign-pss", signRequest, []string{"--padding", "pss", "--hash", "sha-384", "--salt-length", "0"}},
		{"sign-digest", signRequest, []string{"--signature-algorithm", "ecdsa-with-sha256", "--digested"}},
		{"import-register", importRequest("id-1"), []string{"--type", "symmetric-key", "--algorithm", "AES", "--file", file, "--replace", "--wrap-type", "as-registered"}},
		{"import-export", importRequest(""), []string{"--file", exported}},
		{"import-export-other", importRequest("id-2"), []string{"--file", exported}},
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

func reKeyRequest(f *pflag.FlagSet) func() (structureWriter, error) {
	r := &reKey{}
	r.define(f)
	return func() (structureWriter, error) { return r.request() }
}

func reKeyPairRequest(f *pflag.FlagSet) func() (structureWriter, error) {
	r := &reKeyPair{}
	r.define(f)
	return func() (structureWriter, error) { return r.request() }
}

func deriveRequest(f *pflag.FlagSet) func() (structureWriter, error) {
	d := &derive{}
	d.define(f)
	return func() (structureWriter, error) { return d.request(kmip.V1_4) }
}

func splitRequest(existing bool) func(*pflag.FlagSet) func() (structureWriter, error) {
	return func(f *pflag.FlagSet) func() (structureWriter, error) {
		s := &split{}
		s.define(f)
		return func() (structureWriter, error) { return s.request(existing) }
	}
}

func joinRequest(f *pflag.FlagSet) func() (structureWriter, error) {
	j := &join{}
	j.define(f)
	return func() (structureWriter, error) { return j.request() }
}

func certifyRequest(f *pflag.FlagSet) func() (structureWriter, error) {
	c := &certify{}
	c.define(f)
	return func() (structureWriter, error) { return c.message(&kit{}) }
}

func reCertifyRequest(f *pflag.FlagSet) func() (structureWriter, error) {
	c := &reCertify{}
	c.define(f)
	return func() (structureWriter, error) { return c.message(&kit{}) }
}

func validateRequest(f *pflag.FlagSet) func() (structureWriter, error) {
	v := &validate{}
	v.define(f)
	return func() (structureWriter, error) { return v.request(&kit{}) }
}

func encryptRequest(f *pflag.FlagSet) func() (structureWriter, error) {
	e := &encrypt{}
	e.define(f)
	return func() (structureWriter, error) { return e.request(kmip.V1_4) }
}

func decryptRequest(f *pflag.FlagSet) func() (structureWriter, error) {
	d := &decrypt{}
	d.define(f)
	return func() (structureWriter, error) { return d.request(kmip.V1_4) }
}

func signRequest(f *pflag.FlagSet) func() (structureWriter, error) {
	s := &sign{}
	s.signing.define(f)
	return func() (structureWriter, error) { return s.signRequest(kmip.V1_4) }
}

func importRequest(id string) func(*pflag.FlagSet) func() (structureWriter, error) {
	return func(f *pflag.FlagSet) func() (structureWriter, error) {
		i := &importing{id: id}
		i.define(f)
		shared := pflag.NewFlagSet("shared", pflag.ContinueOnError)
		k := &kit{version: kmip.V1_4}
		k.define(shared)
		return func() (structureWriter, error) { return i.request(k) }
	}
}
