package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// What is wrong with policy, switches, narrowing, release and groups is told, all of it.
func TestPolicySettings(t *testing.T) {
	for _, c := range []struct {
		name   string
		config config
		want   []string // "" in the list: nothing is wrong
	}{
		{"default", config{Policy: "default"}, nil},
		{"strict", config{Policy: "fips140", PolicySwitches: []string{"allow-ecb"}, Release: "none",
			tables: tables{Group: []groupTable{{Name: "a", Policy: "suiteb192"}, {Name: "b", Release: "none"}}}}, nil},
		{"narrowed", config{Policy: "fips140", PolicyFile: write(t, "p.toml", "hashes = [\"SHA-384\"]\nalgorithms = { AES = [256] }\n")}, nil},
		{"unknown", config{Policy: "fips", Release: "some", tables: tables{Group: []groupTable{{Policy: "x"}, {Name: "a", Policy: "x", Release: "y"}, {Name: "a"}}}},
			[]string{`"fips" is none of default, fips140`, `release: "some" is none of none, wrapped, clear`, "[[group]]: name is missing",
				"[[group]] a: policy:", "[[group]] a: release:", "[[group]] a: there are two"}},
		{"switch", config{Policy: "fips140", PolicySwitches: []string{"allow-all"}}, []string{`the switch "allow-all" is none of`}},
		{"no such value", config{Policy: "fips140", PolicyFile: write(t, "p.toml", "hashes = [\"SHA-0\"]")}, []string{"no KMIP enumeration has the values SHA-0"}},
		{"no such list", config{Policy: "fips140", PolicyFile: write(t, "p.toml", "hash = []")}, []string{`there is no list "hash"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, err := range c.config.checkPolicy() {
				if err != nil {
					got = append(got, err.Error())
				}
			}
			all := strings.Join(got, "\n")
			if len(c.want) == 0 && all != "" {
				t.Errorf("got %s, want no error", all)
			}
			for _, want := range c.want {
				if !strings.Contains(all, want) {
					t.Errorf("got\n%s\nwant %q in it", all, want)
				}
			}
		})
	}
}

// A [[group]] of the file is read, and a name that it does not have is refused.
func TestGroupTables(t *testing.T) {
	got, err := loadTables(write(t, "kmipd.toml", "listen = \"x\"\n[[group]]\nname = \"a\"\nrelease = \"none\"\n"))
	if err != nil || len(got.Group) != 1 || got.Group[0].Name != "a" || got.Group[0].Release != "none" {
		t.Errorf("got %+v, %v", got, err)
	}
	_, err = loadTables(write(t, "kmipd.toml", "[[group]]\nname = \"a\"\npolices = \"none\"\n"))
	if err == nil || !strings.Contains(err.Error(), `[[group]] has no setting "polices"`) {
		t.Errorf("got %v, want the unknown name", err)
	}
}

// In strict policies the PIN is for the server's user alone.
func TestPINFileMode(t *testing.T) {
	file := write(t, "pin", "1234")
	for _, c := range []struct {
		policy string
		mode   os.FileMode
		want   bool
	}{{"default", 0o644, true}, {"fips140", 0o600, true}, {"fips140", 0o400, true}, {"fips140", 0o640, false}, {"fips140", 0o602, false}} {
		if err := os.Chmod(file, c.mode); err != nil {
			t.Fatal(err)
		}
		cfg := config{Policy: c.policy, TokenModule: file, TokenLabel: "x", TokenPINFile: file, TokenLock: "auto"}
		if errs := cfg.checkToken(); (len(errs) == 0) != c.want {
			t.Errorf("policy %s, mode %o: got %v", c.policy, c.mode, errs)
		}
	}
}
