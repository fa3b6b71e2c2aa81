package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// field is a text in the JSON of an answer.
func (a *answer) field(name string) string {
	a.t.Helper()
	s, _ := a.ok().json()[name].(string)
	if s == "" {
		a.t.Fatalf("%q: no %s in %s", a.args, name, a.out)
	}
	return s
}

func (a *answer) list(name string) []string {
	a.t.Helper()
	list, _ := a.ok().json()[name].([]any)
	var out []string
	for _, v := range list {
		s, _ := v.(string)
		out = append(out, s)
	}
	return out
}

func (r *rig) leases(t *testing.T) {
	id := r.call(t, "create", "--activation-date", "now", "--name", "leased", "--attribute", "Usage Limits=Usage Limits Total=100;Usage Limits Unit=Byte", "--json").id()
	r.call(t, "obtain-lease", "--name", "leased").ok().has("Lease Time", "Last Change Date", id)
	if n := r.call(t, "obtain-lease", id, "--json").ok().json()["lease_time"]; n != 3600.0 {
		t.Errorf("lease_time %v", n)
	}
	if got := r.call(t, "get-usage-allocation", id, "--count", "60", "--json").id(); got != id {
		t.Errorf("got %q", got)
	}
	r.call(t, "get-attributes", id, "--attribute", "Usage Limits").ok().has("Usage Limits Count: 40")
	r.call(t, "get-usage-allocation", "--name", "leased", "--count", "60", "--json").refused("Permission Denied")

	r.call(t, "archive", "--name", "leased").ok().has(id)
	r.call(t, "get", id, "--json").refused("Object Archived")
	if list := r.call(t, "locate", "--name", "leased", "--storage", "archival-storage", "--json").list("unique_identifiers"); len(list) != 1 || list[0] != id {
		t.Errorf("archived: %v", list)
	}
	if got := r.call(t, "recover", id, "--json").id(); got != id {
		t.Errorf("got %q", got)
	}
	r.call(t, "get", id).ok()
}

func (r *rig) reKey(t *testing.T) {
	old := r.call(t, "create", "--name", "aging", "--group", "g", "--activation-date", "now", "--json").id()
	id := r.call(t, "re-key", "--name", "aging", "--offset", "1h", "--attribute", "x-Reason=yearly", "--json").id()
	r.call(t, "get-attributes", id).ok().has("aging", "Pre-Active", "yearly", "Replaced Object Link", old)
	r.call(t, "get-attributes", old).ok().has("Replacement Object Link", id)
	r.call(t, "re-key", old, "--json").refused("Permission Denied")
	r.call(t, "re-key", id, "--offset", "0", "--activation-date", "now", "--json").refused("Invalid Message")
	third := r.call(t, "re-key", id, "--new-name", "also", "--activation-date", "now").ok().has("Unique Identifier")
	r.call(t, "get-attributes", "--name", "also", "--attribute", "State").ok().has("Active")
	r.call(t, "get", "--name", "aging").ok().has(strings.Fields(third.out)[2])

	m := r.call(t, "create-key-pair", "--algorithm", "EC", "--curve", "P-256", "--private-name", "pair", "--public-name", "pair-pub", "--json").ok().json()
	next := r.call(t, "re-key-key-pair", "--name", "pair", "--private-attribute", "x-Half=private", "--activation-date", "now", "--json")
	private, public := next.field("private_key_unique_identifier"), next.field("public_key_unique_identifier")
	r.call(t, "get-attributes", private).ok().has("pair", "private", "Active", m["private_key_unique_identifier"].(string))
	r.call(t, "get-attributes", public).ok().has("pair-pub", "Active", m["public_key_unique_identifier"].(string))
	r.call(t, "re-key-key-pair", public).fails(1, "kmipctl: Permission Denied: ")
}

func (r *rig) derive(t *testing.T) {
	r.write(t, "passphrase", []byte("password"))
	base := r.call(t, "register", "--type", "secret-data", "--file", "passphrase", "--usage", "derive", "--name", "passphrase", "--activation-date", "now", "--json").id()
	id := r.call(t, "derive-key", "--name", "passphrase", "--method", "pbkdf2", "--hash", "sha-1", "--salt", "text:salt", "--iterations", "2",
		"--type", "secret-data", "--length", "160", "--new-name", "derived", "--json").id()
	// RFC 6070, test 2.
	r.call(t, "get", id, "--show").ok().has("ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957")
	r.call(t, "get-attributes", "--name", "derived").ok().has("Derivation Base Object Link", base)

	key := r.call(t, "create", "--usage", "derive", "--activation-date", "now", "--json").id()
	r.write(t, "context", []byte("context"))
	var first string
	for i, method := range []string{"hmac --hash sha-256", "nist800-108-c --prf hmac-sha256", "nist800-108-f --mode cmac --iv 00112233445566778899aabbccddeeff",
		"nist800-108-dpi --hash sha-512 --counter-length 8", "encrypt --mode cbc --padding pkcs5 --iv 00112233445566778899aabbccddeeff"} {
		args := append([]string{"derive-key", key, "--file", "context", "--length", "128", "--json", "--method"}, strings.Fields(method)...)
		m := r.call(t, args...).ok().json()
		if m["object_type"] != "Symmetric Key" {
			t.Errorf("%s: %v", method, m)
		}
		got := r.call(t, "get", m["unique_identifier"].(string), "--show", "--json").ok().out
		if i == 0 {
			first = got
		} else if got == first {
			t.Errorf("%s: the same key", method)
		}
	}
	r.feed(t, []byte("63 6f 6e 74 65 78 74"), "derive-key", key, "--hex", "--file", "-", "--length", "128", "--method", "hmac", "--hash", "sha-256").ok().has("Symmetric Key")
	r.call(t, "derive-key", key, "--method", "hash", "--hash", "sha-256", "--length", "256").ok()

	var pairs []string
	for range 2 {
		m := r.call(t, "create-key-pair", "--algorithm", "ECDH", "--curve", "P-256", "--private-usage", "derive", "--public-usage", "derive", "--activation-date", "now", "--json").ok().json()
		pairs = append(pairs, m["private_key_unique_identifier"].(string), m["public_key_unique_identifier"].(string))
	}
	var shared []string
	for _, p := range [][2]int{{0, 3}, {2, 1}} {
		id := r.call(t, "derive-key", pairs[p[0]], pairs[p[1]], "--method", "asymmetric-key", "--type", "secret-data", "--length", "256", "--json").id()
		shared = append(shared, r.call(t, "get", id, "--out", "-").ok().out)
	}
	if shared[0] != shared[1] || len(shared[0]) != 32 {
		t.Error("the parties do not agree")
	}
	r.call(t, "derive-key", key, "--method", "pbkdf2", "--json").refused("Invalid Field")
}

func (r *rig) split(t *testing.T) {
	key := r.call(t, "create", "--name", "whole", "--json").id()
	want := r.call(t, "get", key, "--out", "-").ok().out
	for _, method := range []string{"xor", "polynomial-sharing-gf-2^8", "polynomial-sharing-gf-2^16", "polynomial-sharing-prime-field"} {
		args := []string{"create-split-key", "--name", "whole", "--split-parts", "3", "--split-method", method, "--group", "custodians", "--json"}
		need := 3
		if method != "xor" {
			args, need = append(args, "--split-threshold", "2"), 2
		}
		if method == "polynomial-sharing-prime-field" {
			// 2^521 - 1
			args = append(args, "--prime-field-size", "0x1ff"+strings.Repeat("f", 128))
		}
		parts := r.call(t, args...).list("unique_identifiers")
		if len(parts) != 3 {
			t.Fatalf("%s: %v", method, parts)
		}
		r.call(t, "get", parts[0]).ok().has("Split Key Parts", "Key Part Identifier")
		id := r.call(t, append([]string{"join-split-key", "--json"}, parts[3-need:]...)...).id()
		if got := r.call(t, "get", id, "--out", "-").ok().out; got != want {
			t.Errorf("%s: another key came back", method)
		}
		r.call(t, "join-split-key", parts[0], "--json").refused("Cryptographic Failure")
	}
	parts := r.call(t, "--quiet", "create-split-key", "--split-parts", "2", "--algorithm", "AES", "--length", "128").ok()
	ids := strings.Fields(parts.out)
	r.call(t, "join-split-key", ids[0], ids[1], "--new-name", "joined").ok().has("Symmetric Key")
	r.call(t, "join-split-key", ids[0], ids[1], "--type", "secret-data", "--secret-type", "seed", "--json").id()
	r.call(t, "get-attributes", "--name", "joined").ok().has("Cryptographic Length      128")
	r.call(t, "create-split-key", "--split-parts", "2").ok().has("Unique Identifiers  ")
}

func (r *rig) exports(t *testing.T) {
	id := r.call(t, "create", "--name", "moving", "--group", "boxes", "--attribute", "x-Owner=alice", "--activation-date", "now", "--json").id()
	want := r.call(t, "get", id, "--out", "-").ok().out
	shown := r.call(t, "export", id).ok().has("Object Group", "boxes", "x-Owner", "not shown: --out FILE")
	if strings.Contains(shown.out, "<nil>") {
		t.Error(shown.out)
	}
	m := r.call(t, "export", "--name", "moving", "--json").ok().json()
	if list, _ := m["attributes"].([]any); len(list) < 10 || strings.Contains(shown.out, `"hex"`) {
		t.Errorf("got %v", m)
	}
	r.call(t, "export", id, "--show", "--json").ok().has(`"hex"`)
	r.call(t, "export", "--name", "moving", "--out", "moving.kmip").ok().has("octets written to moving.kmip")
	saved := r.read(t, "moving.kmip")
	if got := r.call(t, "export", id, "--out", "-").ok().out; !bytes.Contains([]byte(got), []byte(want)) || len(got) != len(saved) {
		t.Errorf("%d octets on standard output, %d in the file", len(got), len(saved))
	}
	r.call(t, "export", id, "--out", "moving.kmip").fails(2, "--force replaces it")

	r.call(t, "import", "--file", "moving.kmip", "--json").refused("Object Already Exists")
	if got := r.call(t, "import", "--file", "moving.kmip", "--replace", "--json").id(); got != id {
		t.Errorf("got %q", got)
	}
	r.call(t, "get-attributes", id).ok().has("moving", "boxes", "alice", "Active")
	r.call(t, "modify-attribute", id, "Name=moved").ok()
	r.feed(t, saved, "import", "second-home", "--file", "-").ok().has("second-home")
	if got := r.call(t, "get", "--name", "moving", "--out", "-").ok().out; got != want {
		t.Error("another key came back")
	}
	r.write(t, "own", []byte("0123456789abcdef"))
	r.call(t, "import", "own-1", "--type", "symmetric-key", "--algorithm", "AES", "--file", "own", "--name", "own",
		"--attribute", "Initial Date=2020-01-01", "--json").id()
	r.call(t, "get-attributes", "own-1").ok().has("Initial Date              2020-01-01T00:00:00Z", "own")
	r.call(t, "import", "--file", "own").fails(2, "is not what export writes")
	kek := r.call(t, "create", "--usage", "wrap,unwrap", "--activation-date", "now", "--json").id()
	r.call(t, "export", "second-home", "--wrap-with", kek, "--wrap-mode", "nist-key-wrap", "--out", "wrapped.kmip").ok().has("Wrapping Method")
	r.call(t, "import", "third-home", "--file", "wrapped.kmip", "--wrap-type", "not-wrapped").fails(1, "kmipctl: Invalid Field") // the Name is taken
	r.call(t, "modify-attribute", "second-home", "Name=moved-again").ok()
	r.call(t, "import", "third-home", "--file", "wrapped.kmip", "--wrap-type", "not-wrapped", "--json").id()
	if got := r.call(t, "get", "third-home", "--out", "-").ok().out; got != want {
		t.Error("another key came back")
	}

	// Every kind of object that was registered above goes out and in again.
	for _, name := range []string{"r-raw", "r-transparent", "r-secret", "r-opaque", "r-pgp", "r-split", "r-certificate", "disks", "rsa"} {
		file := name + ".kmip"
		// The order of the attributes is the server's.
		lines := func() []string {
			return slices.Sorted(strings.Lines(r.call(t, "export", "--name", name, "--show").ok().out))
		}
		before := lines()
		r.call(t, "export", "--name", name, "--out", file).ok()
		r.call(t, "import", "--file", file, "--replace").ok()
		if after := lines(); !slices.Equal(after, before) {
			t.Errorf("%s: exported\n%s\nimported\n%s", name, before, after)
		}
	}
}
