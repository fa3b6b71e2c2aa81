package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestEndToEnd(t *testing.T) {
	r := newRig(t)
	for i, part := range []struct {
		name string
		run  func(*rig, *testing.T)
	}{
		{"server", (*rig).server}, {"life of a key", (*rig).life}, {"attributes", (*rig).attributes}, {"locate", (*rig).locate},
		{"key pairs", (*rig).pairs}, {"register and get", (*rig).registerAll}, {"private keys", (*rig).privateKeys},
		{"wrapping", (*rig).wrap}, {"templates", (*rig).templates}, {"credentials", (*rig).credentials}, {"failures", (*rig).failures},
		{"leases and archive", (*rig).leases}, {"re-key", (*rig).reKey}, {"derive", (*rig).derive}, {"split", (*rig).split},
		{"export and import", (*rig).exports}, {"encrypt", (*rig).encrypt}, {"large files", (*rig).large}, {"RSA encryption", (*rig).rsaEncrypt},
		{"sign", (*rig).sign}, {"mac", (*rig).mac}, {"hash and random", (*rig).hashes}, {"certificates", (*rig).certificates},
		{"asynchronous", (*rig).asynchronous}, {"encodings", (*rig).encodings},
	} {
		// The parts go by in all the ways that lead to the server; what they say is the same in each.
		r.encoding = []string{"", "xml", "json", "ttlv", ""}[i%5]
		t.Run(part.name, func(t *testing.T) { part.run(r, t) })
	}
}

// encodings does the same in each encoding.
func (r *rig) encodings(t *testing.T) {
	secret := r.write(t, "secret", []byte("<\"&'>\x00ü\xff"))
	csr, _ := filepath.Abs(filepath.Join(r.dir, "www.csr"))
	for _, r.encoding = range []string{"ttlv", "xml", "json"} {
		name := "Schlüssel <" + r.encoding + "> & \"€\"\n\t\\"
		id := r.call(t, "create", "--algorithm", "AES", "--length", "256", "--usage", "encrypt,decrypt", "--name", name, "--activation-date", "now", "--json").id()
		if got := strings.TrimSpace(r.call(t, "--quiet", "locate", "--name", name).ok().out); got != id {
			t.Errorf("%s: located %q, want %q", r.encoding, got, id)
		}
		key := r.call(t, "get", id, "--show", "--json").ok()
		attributes := r.call(t, "get-attributes", id, "--json").ok()
		kept := r.call(t, "register", "--type", "secret-data", "--file", secret, "--name", name+" 2", "--json").id()
		out := "out-" + r.encoding
		r.call(t, "get", kept, "--out", out).ok()
		if got := r.read(t, out); !bytes.Equal(got, r.read(t, secret)) {
			t.Errorf("%s: registered %q", r.encoding, got)
		}
		cert := r.call(t, "certify", "--request", csr, "--json").id()
		r.call(t, "validate", cert).ok().has("valid\n")
		r.call(t, "destroy", id, "--json").refused("Permission Denied")
		from := r.encoding
		r.encoding = "" // what was made in an encoding is the same without it
		if a := r.call(t, "get", id, "--show", "--json").ok(); a.out != key.out {
			t.Errorf("%s: the key is\n%s\nand without HTTPS\n%s", from, key.out, a.out)
		}
		if a := r.call(t, "get-attributes", id, "--json").ok(); a.out != attributes.out {
			t.Errorf("%s: the attributes are\n%s\nand without HTTPS\n%s", from, attributes.out, a.out)
		}
	}
	r.encoding = "json"
	r.call(t, "query", "--function", "profiles").ok().has("HTTPS Server KMIP v1.4", "JSON Server KMIP v1.4", "XML Server KMIP v1.4")
	r.call(t, "query", "--address", "https://"+r.address+"/other").fails(1, "404")
}

func (r *rig) server(t *testing.T) {
	r.call(t, "discover-versions").ok().has("1.4\n", "1.0\n")
	got := r.call(t, "discover-versions", "1.2", "2.1", "--json").ok().json()["protocol_versions"]
	if list, _ := got.([]any); len(list) != 1 || list[0] != "1.2" {
		t.Errorf("got %v", got)
	}
	r.call(t, "query").ok().has("Vendor Identification  kmipd", "Create Key Pair", "Product: kmipd", "Batch Undo Capability: true")
	m := r.call(t, "query", "--function", "operations,query-objects", "--json").ok().json()
	if ops, _ := m["operations"].([]any); !slices.Contains(ops, any("Locate")) || m["profiles"] != nil {
		t.Errorf("got %v", m)
	}
	for _, v := range []string{"1.0", "1.1", "1.2", "1.3"} {
		r.call(t, "query", "--version", v).ok().has("Create")
	}
	r.call(t, "version").ok().has("kmipctl")
}

func (r *rig) life(t *testing.T) {
	r.call(t, "create", "--name", "first-key").ok().has("Object Type        Symmetric Key", "Unique Identifier  ")
	id := r.call(t, "create", "--algorithm", "AES", "--length", "128", "--usage", "encrypt", "--name", "second-key", "--json").id()
	if got := strings.TrimSpace(r.call(t, "locate", "--name", "second-key").ok().out); got != id {
		t.Errorf("located %q, want %q", got, id)
	}
	r.call(t, "check", id, "--usage", "encrypt").ok().has(id)
	r.call(t, "check", "--name", "second-key", "--usage", "sign", "--lease", "10h").fails(1, "(Cryptographic Usage Mask, Lease Time)")
	r.call(t, "check", id, "--usage", "sign", "--json").refused("Permission Denied")
	r.call(t, "activate", "--name", "second-key").ok().has(id)
	r.call(t, "activate", id, "--json").refused("Permission Denied")
	r.call(t, "get-attributes", id, "--attribute", "state").ok().has("State              Active")
	r.call(t, "destroy", id).fails(1, "Permission Denied: ")
	r.call(t, "revoke", id, "--reason", "key-compromise", "--message", "lost", "--compromise-date", "2020-01-01", "--json").id()
	r.call(t, "get-attributes", id).ok().has("State                       Compromised", "Revocation Reason Code: Key Compromise",
		"Revocation Message: lost", "Compromise Occurrence Date  2020-01-01T00:00:00Z")
	r.call(t, "destroy", id, "--json").id()
	r.call(t, "get", id).fails(1, "kmipctl: ")
	first := strings.TrimSpace(r.call(t, "--quiet", "locate", "--name", "first-key").ok().out)
	r.call(t, "activate", first, "--json").id()
	r.call(t, "revoke", first).ok().has(first)
	r.call(t, "destroy", "--name", "first-key").ok().has(first)
	r.call(t, "create", "--type", "secret-data", "--length", "256").ok().has("Secret Data")
}

func (r *rig) attributes(t *testing.T) {
	id := r.call(t, "create", "--attribute", "x-Owner=alice", "--group", "g1", "--activation-date", "+24h", "--json").id()
	r.call(t, "get-attribute-list", id).ok().has("Cryptographic Length\n", "x-Owner\n")
	if list, _ := r.call(t, "get-attribute-list", id, "--json").ok().json()["attribute_names"].([]any); !slices.Contains(list, any("State")) {
		t.Errorf("got %v", list)
	}
	r.call(t, "add-attribute", id, "Object Group=g2").ok().has("Object Group [1]   g2")
	a := r.call(t, "add-attribute", id, "x-Pair=struct:Name Value=bob;0x540001=int:7", "--json").ok().json()["attribute"].(map[string]any)
	if v, _ := a["value"].(map[string]any); a["type"] != "Structure" || v["Name Value"] != "bob" || v["0x540001"] != 7.0 {
		t.Errorf("got %v", a)
	}
	r.call(t, "modify-attribute", id, "Object Group[1]=g3").ok().has("g3")
	r.call(t, "modify-attribute", id, "activation-date=2040-01-01", "--json").ok().has(`"value": "2040-01-01T00:00:00Z"`)
	r.call(t, "delete-attribute", id, "Object Group[0]").ok().has(id)
	r.call(t, "delete-attribute", id, "x-Owner", "--json").ok().has("x-Owner")
	r.call(t, "get-attributes", id, "--attribute", "Object Group", "--attribute", "x-Owner", "--json").ok().has(`"g3"`)
	r.call(t, "modify-attribute", id, "State=active").fails(1, "kmipctl: ")
	r.call(t, "delete-attribute", id, "Cryptographic Length", "--json").has(`"error"`)
	r.call(t, "add-attribute", id, "Nonsense=1").fails(2, "there is no such attribute")
}

func (r *rig) locate(t *testing.T) {
	for range 3 {
		r.call(t, "create", "--algorithm", "AES", "--length", "192", "--group", "many", "--usage", "wrap").ok()
	}
	count := func(args ...string) int {
		t.Helper()
		list, _ := r.call(t, append([]string{"locate", "--json"}, args...)...).ok().json()["unique_identifiers"].([]any)
		return len(list)
	}
	for _, tc := range []struct {
		args string
		want int
	}{
		{"--group many", 3}, {"--length 192 --algorithm aes --type symmetric-key --state pre-active --usage wrap", 3},
		{"--group many --max 2", 2}, {"--group many --offset 2", 1}, {"--group many --date Initial_Date=-1d..", 3},
		{"--group many --date Initial_Date=..-1d", 0}, {"--group many --attribute Fresh=true", 3}, {"--group none", 0},
		{"--group many --group-member default", 1}, {"--group many --storage on-line-storage", 3},
	} {
		if got := count(strings.Fields(tc.args)...); got != tc.want {
			t.Errorf("locate %s: %d objects, want %d", tc.args, got, tc.want)
		}
	}
	if n := r.call(t, "locate", "--group", "many", "--max", "0", "--json").ok().json()["located_items"]; n != 3.0 {
		t.Errorf("located_items %v", n)
	}
	if a := r.call(t, "locate", "--group", "many", "--max", "0").ok(); a.out != "" || a.err != "objects that match: 3\n" {
		t.Errorf("%q, %q", a.out, a.err)
	}
	r.call(t, "locate", "--group", "many", "--details").ok().has("UNIQUE IDENTIFIER", "Symmetric Key  AES        192     Pre-Active")
	r.call(t, "locate", "--group", "many", "--details", "--json").ok().has(`"objects": [`, `"Pre-Active"`)
	r.call(t, "get", "--name", "nobody", "--json").refused("Item Not Found")
	r.call(t, "get", "--name", "nobody").fails(1, `kmipctl: Item Not Found: `)
}

func (r *rig) pairs(t *testing.T) {
	a := r.call(t, "create-key-pair", "--algorithm", "RSA", "--length", "2048", "--private-name", "rsa", "--public-name", "rsa-pub", "--activation-date", "now")
	a.ok().has("Private Key Unique Identifier  ", "Public Key Unique Identifier   ")
	m := r.call(t, "create-key-pair", "--algorithm", "EC", "--curve", "P-256", "--extractable=false", "--json").ok().json()
	priv, _ := m["private_key_unique_identifier"].(string)
	pub, _ := m["public_key_unique_identifier"].(string)
	r.call(t, "get", priv, "--json").refused("Not Extractable")
	shown := r.call(t, "get", pub, "--format", "x509", "--show", "--pem").ok().has("-----BEGIN PUBLIC KEY-----").out
	block, _ := pem.Decode([]byte(shown))
	if _, err := x509.ParsePKIXPublicKey(block.Bytes); err != nil {
		t.Error(err)
	}
	r.call(t, "get", "--name", "rsa", "--format", "pkcs8", "--pem", "--out", "rsa.pem").ok().has("Private Key", "octets written to rsa.pem")
	r.call(t, "get", "--name", "rsa", "--format", "pkcs8", "--pem", "--out", "rsa.pem").fails(2, "--force replaces it")
	r.call(t, "get", "--name", "rsa", "--format", "pkcs1", "--pem", "--out", "rsa.pem", "--force", "--json").ok().has(`"file": "rsa.pem"`)
	block, _ = pem.Decode(r.read(t, "rsa.pem"))
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err != nil || key.N.BitLen() != 2048 {
		t.Errorf("%v", err)
	}
	r.call(t, "create-key-pair", "--algorithm", "EC", "--json").refused("Invalid Field")
}

// registerAll registers every type of octets and gets the same back.
func (r *rig) registerAll(t *testing.T) {
	octets := make([]byte, 32)
	_, _ = rand.Read(octets) // never fails
	r.write(t, "octets", octets)
	cert, _ := pem.Decode(must(os.ReadFile(filepath.Join(r.dir, "dev", "ca.crt"))))
	for _, tc := range []struct {
		name, args string
		want       []byte
		shows      string
	}{
		{"raw", "--type symmetric-key --algorithm AES --file octets", octets, "Raw"},
		{"transparent", "--type symmetric-key --algorithm AES --file octets --format transparent", nil, "Transparent Symmetric Key"},
		{"secret", "--type secret-data --secret-type seed --file octets", octets, "Seed"},
		{"opaque", "--type opaque-object --opaque-type 0x80000007 --file octets", octets, "0x80000007"},
		{"pgp", "--type pgp-key --file octets", octets, "PGP Key Version"},
		{"split", "--type split-key --split-parts 3 --split-part 1 --split-threshold 2 --algorithm AES --file octets", octets, "XOR"},
		{"certificate", "--type certificate --file dev/ca.crt", cert.Bytes, "X.509"},
	} {
		id := r.call(t, append(append([]string{"register", "--json"}, strings.Fields(tc.args)...), "--name", "r-"+tc.name)...).id()
		r.call(t, "get", id).ok().has(tc.shows, "not shown: --out FILE")
		if a := r.call(t, "get", id, "--json").ok(); strings.Contains(a.out, `"hex"`) || strings.Contains(a.out, hex.EncodeToString(octets)) {
			t.Errorf("%s: material without --show: %s", tc.name, a.out)
		}
		if tc.want == nil {
			// What was written can be registered again.
			r.call(t, "get", id, "--out", "saved").ok()
			again := r.call(t, "register", "--type", "symmetric-key", "--algorithm", "AES", "--format", "transparent-symmetric-key", "--file", "saved", "--json").id()
			if got := r.call(t, "get", again, "--format", "raw", "--out", "-").ok().out; got != string(octets) {
				t.Errorf("%s: got %x", tc.name, got)
			}
			continue
		}
		r.call(t, "get", id, "--show", "--json").ok().has(hex.EncodeToString(tc.want))
		r.call(t, "get", id, "--show").ok().has(hex.EncodeToString(tc.want))
		r.call(t, "get", "--name", "r-"+tc.name, "--out", tc.name+".out").ok()
		if got := r.read(t, tc.name+".out"); !bytes.Equal(got, tc.want) {
			t.Errorf("%s: got %x, want %x", tc.name, got, tc.want)
		}
	}
	r.feed(t, []byte("00 11 22 33 44 55 66 77 88 99 aa bb cc dd ee ff\n"), "register", "--type", "symmetric-key", "--algorithm", "AES",
		"--hex", "--file", "-", "--name", "piped").ok().has("Symmetric Key")
	r.call(t, "get", "--name", "piped", "--show").ok().has("00112233445566778899aabbccddeeff")
	r.call(t, "get", "--name", "piped", "--pem", "--show").fails(1, "has no PEM form")
	r.call(t, "get", "--name", "r-certificate", "--pem", "--show").ok().has("-----BEGIN CERTIFICATE-----")
	r.call(t, "register", "--type", "symmetric-key", "--algorithm", "AES", "--length", "128", "--file", "octets", "--json").refused("Invalid Field")
}

func (r *rig) privateKeys(t *testing.T) {
	rk := must(rsa.GenerateKey(rand.Reader, 2048))
	ek := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	r.write(t, "r.pem", block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(rk))))
	r.write(t, "e.pem", block("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(ek))))
	r.write(t, "p.pem", block("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(&ek.PublicKey))))
	for _, tc := range []struct{ typ, file, format, shows string }{
		{"private-key", "r.pem", "", "PKCS#8"}, {"private-key", "r.pem", "pkcs1", "PKCS#1"}, {"private-key", "r.pem", "transparent", "Transparent RSA Private Key"},
		{"private-key", "e.pem", "", "ECPrivateKey"}, {"private-key", "e.pem", "pkcs8", "PKCS#8"}, {"private-key", "e.pem", "transparent", "Transparent EC Private Key"},
		{"public-key", "p.pem", "", "X.509"}, {"public-key", "p.pem", "transparent", "Transparent EC Public Key"},
	} {
		id := r.call(t, "register", "--type", tc.typ, "--file", tc.file, "--format", tc.format, "--json").id()
		r.call(t, "get", id).ok().has("Key Format Type          "+tc.shows+"\n", "Cryptographic Length")
		// Whatever it was registered as, it is the same key.
		want, format := must(x509.MarshalPKCS8PrivateKey(any(rk))), "pkcs8"
		switch tc.file {
		case "e.pem":
			want = must(x509.MarshalPKCS8PrivateKey(ek))
		case "p.pem":
			want, format = must(x509.MarshalPKIXPublicKey(&ek.PublicKey)), "x509"
		}
		if got := r.call(t, "get", id, "--format", format, "--out", "-").ok().out; got != string(want) {
			t.Errorf("%+v: got %x, want %x", tc, got, want)
		}
		if strings.Contains(tc.format, "transparent") {
			r.call(t, "get", id, "--show", "--json").ok().has(`"fields": {`)
			r.call(t, "get", id, "--show", "--pem").fails(1, "has no PEM form")
		}
	}
	for _, v := range []string{"1.0", "1.2"} {
		id := r.call(t, "register", "--type", "private-key", "--file", "e.pem", "--format", "transparent", "--version", v, "--json").id()
		r.call(t, "get", id).ok().has("Transparent ECDSA Private Key")
	}
}

func (r *rig) wrap(t *testing.T) {
	kek := r.call(t, "create", "--usage", "wrap,unwrap", "--name", "kek", "--activation-date", "now", "--json").id()
	m := r.call(t, "create-key-pair", "--algorithm", "RSA", "--length", "2048", "--activation-date", "now", "--json").ok().json()
	pub, _ := m["public_key_unique_identifier"].(string)
	id := r.call(t, "create", "--sensitive", "--json").id()
	r.call(t, "get", id).fails(1, "kmipctl: Sensitive: ")
	digest := r.call(t, "get-attributes", id, "--attribute", "Digest").ok().out
	_, digest, _ = strings.Cut(digest, "Digest Value:")
	for _, tc := range []struct{ key, flags string }{
		{kek, "--wrap-mode nist-key-wrap"}, {kek, "--wrap-mode aes-key-wrap-padding --encoding no"},
		{kek, "--wrap-mode nist-key-wrap --encoding ttlv"}, {pub, "--wrap-mode oaep"},
	} {
		flags := strings.Fields(tc.flags)
		r.call(t, append([]string{"get", id, "--wrap-with", tc.key, "--out", "wrapped", "--force"}, flags...)...).ok().has("Wrapping Method: Encrypt", tc.key)
		again := r.call(t, append([]string{"register", "--type", "symmetric-key", "--algorithm", "AES", "--length", "256", "--file", "wrapped",
			"--wrapping-key", tc.key, "--json"}, flags...)...).id()
		if got := r.call(t, "get-attributes", again, "--attribute", "Digest").ok(); !strings.Contains(got.out, digest) {
			t.Errorf("%s: the key came back as another one:\n%s", tc.flags, got.out)
		}
	}
	r.call(t, "get", id, "--wrap-with", kek, "--wrap-mode", "nist-key-wrap", "--wrap-attribute", "Object Type", "--show").ok().has("TTLV Encoding")
	r.call(t, "get", id, "--wrap-with", kek, "--show", "--json").refused("Item Not Found") // no mode, and the key has none
	r.call(t, "get", id, "--wrap-with", kek, "--wrap-mode", "nist-key-wrap", "--pem", "--show").fails(1, "a wrapped key has no PEM form")
	r.call(t, "register", "--type", "symmetric-key", "--algorithm", "AES", "--length", "256", "--file", "octets",
		"--wrapping-key", kek, "--wrap-mode", "nist-key-wrap").fails(1, "kmipctl: ")
}

func (r *rig) templates(t *testing.T) {
	r.call(t, "register", "--type", "template", "--name", "disks", "--algorithm", "AES", "--length", "192", "--usage", "encrypt,decrypt",
		"--attribute", "x-Kind=disk").ok().has("Template")
	r.call(t, "get", "--name", "disks").ok().has("Cryptographic Length      192", "x-Kind")
	id := r.call(t, "create", "--template", "disks", "--name", "disk-1", "--json").id()
	r.call(t, "get-attributes", id).ok().has("Cryptographic Length      192", "disk\n")
	r.call(t, "create", "--template", "none", "--json").refused("Item Not Found")
}

func (r *rig) credentials(t *testing.T) {
	r.write(t, "password", []byte("sesame\n"))
	r.write(t, "wrong", []byte("thistle\n"))
	id := r.call(t, "create", "--username", "ali", "--password-file", "password", "--json").id()
	r.call(t, "get", id, "--username", "ali", "--password-file", "password").ok()
	r.call(t, "get", id, "--username", "ali", "--password-file", "wrong", "--json").refused("Authentication Not Successful")
	r.call(t, "get", id, "--username", "ali").fails(2, "--password-file")
}

func (r *rig) failures(t *testing.T) {
	r.call(t, "get", "no-such-object").fails(1, "kmipctl: Item Not Found: ")
	r.call(t, "--json", "get", "no-such-object").refused("Item Not Found")
	r.call(t, "query", "--address", "127.0.0.1:1").fails(1, "connection refused")
	r.call(t, "query", "--address", "127.0.0.1:1", "--json").refused("Client Error")
	r.call(t, "query", "--server-name", "other.example").fails(1, "TLS handshake")
	r.call(t, "query", "--ca", "none.pem").fails(2, "--ca: open none.pem")
	r.call(t, "query", "--ca", filepath.Join("dev", "ca.key")).fails(2, "holds no PEM certificate")
	r.call(t, "discover-versions", "--version", "1.0").fails(1, "Operation Not Supported")
	r.call(t, "create", "--algorithm", "AES", "--length", "100").fails(1, "kmipctl: ")
	if a := r.call(t); a.status != 2 || !strings.Contains(a.err, "Usage: kmipctl") {
		t.Errorf("status %d, %q", a.status, a.err)
	}
}
