// Package cmd_test holds the layout of the module: which package may import which. The table is docs/architecture.md in
// a form that fails.
package cmd_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "kmipd/"

// arrow is a row of the table. Paths are those below the module; * stands for one folder, as in path.Match.
type arrow struct {
	pkg    string
	may    string // what its code may import, of ours
	tests  string // what its tests may import besides that
	reason string
}

// arrows has a row for every package. The first that matches counts.
var arrows = []arrow{
	{"kmip/ttlv", "", "",
		"the codec knows octets and no protocol, so that it can be fuzzed and read alone"},
	{"kmip", "kmip/ttlv", "kmip/registry kmip/internal/oasisjson",
		"the nouns of the protocol know no server, token or store"},
	{"kmip/text", "kmip kmip/ttlv", "kmip/registry",
		"other encodings of the same messages: what becomes of them is not their business"},
	{"kmip/registry", "", "kmip/internal/oasisjson",
		"the tables are data; the generated code must not be needed to generate it"},
	{"kmip/internal/kmipgen", "kmip/registry", "",
		"the generator reads the tables and nothing that it writes"},
	{"kmip/internal/oasisjson", "", "",
		"a second reader of the OASIS tables: it shares no code with what it checks"},
	{"kmip/internal/tlstest", "", "",
		"certificates for tests"},
	{"kmip/server", "kmip kmip/ttlv kmip/text", "kmip/internal/tlstest",
		"protocol rules are tested without keys: the server declares the keystore that it needs"},
	{"kmip/client", "kmip kmip/ttlv kmip/text", "kmip/server kmip/internal/tlstest",
		"a client must build without a token library or a store"},
	{"kmip/notifier", "kmip kmip/ttlv kmip/client", "kmip/internal/tlstest",
		"the server as a client of its clients: what to send is decided in keystore, which knows no network"},
	{"fips", "kmip", "",
		"policy decides about algorithms by their KMIP names and does nothing itself"},
	{"fips/revocation", "", "",
		"revocation lists in files: certificates and a clock, no protocol and no store"},
	{"hsm", "hsm/internal/*", "hsm/hsmtest",
		"the token knows PKCS#11 and no KMIP, so that it can move into a process of its own"},
	{"hsm/internal/*", "hsm/internal/*", "",
		"primitives over octets"},
	{"hsm/hsmtest", "hsm hsm/internal/*", "",
		"the fake token and the suite see what every caller of hsm sees"},
	{"metadata", "kmip kmip/ttlv", "metadata/metadatatest",
		"records hold attributes as KMIP writes them, and no rules about them"},
	{"metadata/metadatatest", "metadata kmip kmip/ttlv", "",
		"one suite for every engine"},
	{"metadata/pebble", "metadata", "metadata/metadatatest",
		"an engine stores keys and values and interprets nothing"},
	{"keystore", "hsm metadata fips kmip kmip/ttlv keystore/keyform keystore/evidence keystore/audit", "hsm/hsmtest metadata/pebble kmip/server",
		"the one place where token and records meet; it does not know how requests arrive"},
	{"keystore/evidence", "fips", "",
		"a report is verified without a token, a store or a server"},
	{"keystore/keyform", "hsm kmip kmip/ttlv", "kmip/internal/oasisjson",
		"Key Blocks to the token's key material and back, without a store"},
	{"keystore/audit", "metadata", "",
		"an auditor verifies a trail with the records' hash alone: no token, no store, no rules"},
	{"cmd/internal/prompt", "", "",
		"questions at a terminal, for both programs"},
	{"cmd/kmipd", "cmd/internal/prompt fips fips/revocation hsm keystore kmip kmip/notifier kmip/ttlv kmip/server metadata metadata/pebble keystore/audit keystore/evidence", "hsm/hsmtest kmip/client",
		"wiring: it joins everything, and decides nothing"},
	{"cmd/kmipctl", "cmd/internal/prompt kmip kmip/ttlv kmip/text kmip/client", "kmip/server kmip/internal/tlstest",
		"a client: what it can do, any KMIP client can do"},
	{"softhsm-tests", "softhsm-tests/internal/*", "",
		"the tests speak KMIP through code of their own, so that a wrong codec cannot agree with itself"},
	{"softhsm-tests/internal/benchside", "softhsm-tests/internal/* hsm kmip kmip/ttlv kmip/server", "",
		"the floor of the benchmark is the server's own token and codec without the rest"},
	{"softhsm-tests/internal/encodings", "", "softhsm-tests/internal/* kmip/text kmip/ttlv",
		"the server's XML and JSON are held against the codecs of the tests, message by message"},
	{"softhsm-tests/internal/*", "softhsm-tests/internal/*", "",
		"the same"},
}

// alone has the modules that one folder has to itself. tests are packages whose tests may use them, too.
var alone = []struct {
	module, pkg, tests, reason string
}{
	{"github.com/miekg/pkcs11", "hsm", "", "one process has one owner of the PKCS#11 module"},
	{"github.com/ThalesIgnite/crypto11", "hsm", "", "it initialises and finalises the module that pkcs11 uses, too"},
	{"github.com/ThalesGroup/crypto11", "hsm", "", "the same"},
	{"github.com/cockroachdb/pebble", "metadata/pebble", "keystore", "a second engine must be possible without a change elsewhere (the keystore's crash tests need its file system in memory)"},
	{"github.com/BurntSushi/toml", "cmd/kmipd", "", "configuration ends at the wiring; packages take values"},
	{"github.com/spf13/pflag", "cmd", "", "the same"},
}

// unreachable has dependencies that a package must not have at any distance.
var unreachable = []struct {
	pkg, dep, reason string
}{
	{"cmd/kmipctl", "github.com/miekg/pkcs11", "the client runs on machines without a token"},
	{"cmd/kmipctl", "github.com/cockroachdb/pebble", "and keeps no store"},
	{"kmip/server", "github.com/miekg/pkcs11", "the protocol is tested without a token"},
	{"metadata", "github.com/miekg/pkcs11", "records are tested without a token"},
	{"hsm", "github.com/cockroachdb/pebble", "the token is tested without records"},
}

type listed struct {
	ImportPath                               string
	Imports, TestImports, XTestImports, Deps []string
}

// packages asks the go command, once per test run.
func packages(t *testing.T) []listed {
	t.Helper()
	var errOut bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,TestImports,XTestImports,Deps", module+"...")
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, errOut.String())
	}
	var all []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < len(arrows)/2 {
		t.Fatalf("go list found %d packages", len(all))
	}
	return all
}

func matches(t *testing.T, pattern, name string) bool {
	t.Helper()
	ok, err := path.Match(pattern, name)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// TestArrows holds every import between our packages against the table.
func TestArrows(t *testing.T) {
	used := make([]bool, len(arrows))
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		if name == "cmd" { // this test
			continue
		}
		i := slices.IndexFunc(arrows, func(a arrow) bool { return matches(t, a.pkg, name) })
		if i < 0 {
			t.Errorf("%s has no row: add one with its reason", name)
			continue
		}
		used[i] = true
		row := arrows[i]
		code, tests := strings.Fields(row.may), strings.Fields(row.may+" "+row.tests)
		check := func(kind string, imports, may []string) {
			for _, imp := range imports {
				of, ours := strings.CutPrefix(imp, module)
				if !ours || of == name || slices.ContainsFunc(may, func(m string) bool { return matches(t, m, of) }) {
					continue
				}
				t.Errorf("%s of %s imports %s: %s", kind, name, of, row.reason)
			}
		}
		check("code", p.Imports, code)
		check("a test", append(p.TestImports, p.XTestImports...), tests)
	}
	for i, row := range arrows {
		if !used[i] {
			t.Errorf("the row %q matches no package", row.pkg)
		}
		if row.reason == "" {
			t.Errorf("the row %q has no reason", row.pkg)
		}
	}
}

// below tells whether an import path is a module, a version of it, or a package in it.
func below(imp, module string) bool { return imp == module || strings.HasPrefix(imp, module+"/") }

// TestAlone finds uses of a module outside the one folder that may use it.
func TestAlone(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		for _, a := range alone {
			uses := func(imp string) bool { return below(imp, a.module) }
			code := slices.ContainsFunc(p.Imports, uses)
			tests := slices.ContainsFunc(p.TestImports, uses) || slices.ContainsFunc(p.XTestImports, uses)
			if !below(name, a.pkg) && (code || tests && name != a.tests) {
				t.Errorf("%s imports %s, which only %s may: %s", name, a.module, a.pkg, a.reason)
			}
		}
	}
}

// TestUnreachable looks at dependencies of dependencies.
func TestUnreachable(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		for _, u := range unreachable {
			if name == u.pkg && slices.ContainsFunc(p.Deps, func(d string) bool { return below(d, u.dep) }) {
				t.Errorf("%s depends on %s: %s", name, u.dep, u.reason)
			}
		}
	}
}
