package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func settled(t *testing.T, args ...string) (*kit, error) {
	t.Helper()
	k := &kit{}
	f := pflag.NewFlagSet("x", pflag.ContinueOnError)
	k.define(f)
	if err := f.Parse(args); err != nil {
		t.Fatal(err)
	}
	return k, k.settle()
}

func TestSettle(t *testing.T) {
	for _, tc := range []struct {
		name string
		env  map[string]string
		args []string
		want string
	}{
		{"defaults", nil, nil, "127.0.0.1:5696|||"},
		{"dir", nil, []string{"--dir", "d"}, "127.0.0.1:5696|d/ca.crt|d/client.crt|d/client.key"},
		{"file before dir", nil, []string{"--dir", "d", "--key", "k"}, "127.0.0.1:5696|d/ca.crt|d/client.crt|k"},
		{"environment", map[string]string{"ADDRESS": "a:1", "CA": "x", "DIR": "e"}, nil, "a:1|x|e/client.crt|e/client.key"},
		{"flag before environment", map[string]string{"ADDRESS": "a:1"}, []string{"--address", "b:2"}, "b:2|||"},
		{"named dir before environment", map[string]string{"CA": "x", "KEY": "y"}, []string{"--dir", "d"}, "127.0.0.1:5696|d/ca.crt|d/client.crt|d/client.key"},
		{"HTTPS", map[string]string{"ADDRESS": "https://a:1", "MESSAGE_ENCODING": "JSON"}, nil, "https://a:1|||"},
		{"text without HTTPS", nil, []string{"--message-encoding", "xml"}, "error: --message-encoding xml, https://127.0.0.1:5696"},
		{"unknown encoding", nil, []string{"--message-encoding", "yaml"}, "error: \"yaml\" is none of"},
		{"bad environment", map[string]string{"TIMEOUT": "soon", "VERSION": "9"}, nil, "error: KMIPCTL_TIMEOUT, --version"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			noEnvironment(t)
			for k, v := range tc.env {
				t.Setenv(envPrefix+k, v)
			}
			k, err := settled(t, tc.args...)
			if rest, ok := strings.CutPrefix(tc.want, "error: "); ok {
				for _, part := range strings.Split(rest, ", ") {
					if err == nil || !strings.Contains(err.Error(), part) {
						t.Errorf("got %v, want %q in it", err, part)
					}
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join([]string{k.address, k.ca, k.cert, k.key}, "|"); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

// All that is wrong with the files is reported at once, each with its remedy.
func TestFilesTogether(t *testing.T) {
	noEnvironment(t)
	dir := t.TempDir()
	for _, name := range []string{"client.crt", "client.key"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("no PEM"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	code, out, errOut := call(t, "--dir", dir, "--ca", filepath.Join(dir, "none"), "query")
	if code != 2 || out != "" {
		t.Errorf("status %d, %q", code, out)
	}
	for _, want := range []string{"--ca: open", "none: no such file", "name the PEM file of the authorities", "are no pair of PEM files"} {
		if !strings.Contains(errOut, want) {
			t.Errorf("%q is not in %q", want, errOut)
		}
	}
	code, out, errOut = call(t, "--dir", dir, "query", "--json")
	if code != 2 || errOut != "" || !strings.Contains(out, `"reason": "Usage"`) {
		t.Errorf("status %d, %q, %q", code, out, errOut)
	}
}

func TestPassword(t *testing.T) {
	noEnvironment(t)
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("open sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := settled(t, "--username", "ali", "--password-file", file)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := k.password(t.Context()); err != nil || got != "open sesame" {
		t.Errorf("got %q, %v", got, err)
	}
	k.passwordFile = file + "x"
	if _, err := k.password(t.Context()); err == nil {
		t.Error("a missing password file is no password")
	}
	k.passwordFile = ""
	if _, err := k.password(t.Context()); err == nil || !strings.Contains(err.Error(), "--password-file") {
		t.Errorf("without a terminal: %v", err)
	}
}
