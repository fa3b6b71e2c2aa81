package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

// A second kmipd init without the marker of the first, which a crash can lose, must keep the PINs of the token.
func TestInitKeepsPINs(t *testing.T) {
	dir := caDir(t)
	read := func() string {
		t.Helper()
		var all string
		for _, f := range []string{"pin", "so-pin"} {
			b, err := os.ReadFile(filepath.Join(dir, f))
			if err != nil {
				t.Fatal(err)
			}
			all += string(b)
		}
		return all
	}
	before := read()
	marker := filepath.Join(dir, "token-made")
	if err := os.Remove(marker); err != nil {
		t.Fatal(err)
	}
	l := &layout{dir: dir}
	if err := l.softToken(); err != nil {
		t.Fatal(err)
	}
	if read() != before {
		t.Error("the PINs were replaced")
	}
	if !exists(marker) {
		t.Error("the marker is missing")
	}
	// Without the PINs the token is of no use, and nothing may look as if it were.
	for _, f := range []string{marker, filepath.Join(dir, "pin")} {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := l.softToken(); err == nil || exists(marker) {
			t.Errorf("with a lost PIN: got %v", err)
		}
	}
}

// The administrators' socket replaces a dead socket, and nothing else.
func TestAdminSocketPath(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "server.key")
	if err := os.WriteFile(file, []byte("key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenAdmin(file, nil, zerolog.Nop()); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("a file in the way: got %v", err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "key" {
		t.Errorf("the file is now %q, %v", b, err)
	}
	live := filepath.Join(dir, "live")
	l, err := net.Listen("unix", live)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listenAdmin(live, nil, zerolog.Nop()); err == nil || !strings.Contains(err.Error(), "another server") {
		t.Errorf("a server in the way: got %v", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	a, err := listenAdmin(live, nil, zerolog.Nop())
	if err != nil {
		t.Fatalf("a dead socket in the way: got %v", err)
	}
	a.close()
}
