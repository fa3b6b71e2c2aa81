package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// rig is a real server with a SoftHSM2 token, and kmipctl as users have it: a program.
type rig struct {
	dir, kmipctl, address string
	encoding              string // of messages over HTTPS; "" without HTTPS
}

func newRig(t *testing.T) *rig {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and runs the server")
	}
	r := &rig{dir: t.TempDir()}
	r.kmipctl = build(t, r.dir, "kmipctl")
	kmipd := build(t, r.dir, "kmipd")
	var log bytes.Buffer
	cmd := exec.Command(kmipd, "dev", "--dir", filepath.Join(r.dir, "dev"), "--listen", "127.0.0.1:0", "--log-level", "warn")
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan string, 1)
	read := make(chan struct{})
	go func() {
		defer close(read)
		for s := bufio.NewScanner(out); s.Scan(); {
			if a, ok := strings.CutPrefix(s.Text(), "ready "); ok {
				ready <- a
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		<-read
		_ = cmd.Wait() // how it ended is in the log
		if t.Failed() {
			t.Logf("the server's log:\n%s", log.String())
		}
	})
	select {
	case r.address = <-ready:
	case <-read:
		_ = cmd.Wait()
		if strings.Contains(log.String(), "SoftHSM2 was not found") {
			if os.Getenv("CI") == "true" || os.Getenv("KMIPD_REQUIRE_SOFTHSM") == "1" {
				t.Fatal("SoftHSM2 is required here and not installed")
			}
			t.Skip("SoftHSM2 is not installed")
		}
		t.Fatal("kmipd dev ended")
	case <-time.After(time.Minute):
		t.Fatal("kmipd dev does not get ready")
	}
	return r
}

func build(t *testing.T, dir, name string) string {
	t.Helper()
	bin := filepath.Join(dir, name)
	if runtime.GOOS == "windows" {
		bin += ".exe"
	}
	out, err := exec.Command("go", "build", "-o", bin, "kmipd/cmd/"+name).CombinedOutput()
	if err != nil {
		t.Fatalf("building %s: %v\n%s", name, err, out)
	}
	return bin
}

// answer is what one call of kmipctl gave.
type answer struct {
	t        *testing.T
	args     []string
	status   int
	out, err string
}

func (r *rig) call(t *testing.T, args ...string) *answer {
	t.Helper()
	return r.feed(t, nil, args...)
}

// feed is call with a standard input.
func (r *rig) feed(t *testing.T, in []byte, args ...string) *answer {
	t.Helper()
	var out, errOut bytes.Buffer
	shared := []string{"--dir", filepath.Join(r.dir, "dev"), "--address", r.address}
	if r.encoding != "" {
		shared = []string{"--dir", filepath.Join(r.dir, "dev"), "--address", "https://" + r.address, "--message-encoding", r.encoding}
	}
	cmd := exec.Command(r.kmipctl, append(shared, args...)...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = r.dir, bytes.NewReader(in), &out, &errOut
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, envPrefix) {
			cmd.Env = append(cmd.Env, v)
		}
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return &answer{t, args, cmd.ProcessState.ExitCode(), out.String(), errOut.String()}
}

// ok wants success.
func (a *answer) ok() *answer {
	a.t.Helper()
	if a.status != 0 {
		a.t.Fatalf("%q: status %d\n%s%s", a.args, a.status, a.out, a.err)
	}
	return a
}

// has wants texts in the output.
func (a *answer) has(parts ...string) *answer {
	a.t.Helper()
	for _, p := range parts {
		if !strings.Contains(a.out, p) {
			a.t.Errorf("%q: %q is not in\n%s%s", a.args, p, a.out, a.err)
		}
	}
	return a
}

// fails wants an error line with a status.
func (a *answer) fails(status int, text string) {
	a.t.Helper()
	if a.status != status || !strings.Contains(a.err, text) || !strings.HasPrefix(a.err, "kmipctl: ") || a.out != "" {
		a.t.Errorf("%q: status %d, want %d and %q\n%s%s", a.args, a.status, status, text, a.out, a.err)
	}
}

// json reads the output, which must be one document.
func (a *answer) json() map[string]any {
	a.t.Helper()
	var m map[string]any
	d := json.NewDecoder(strings.NewReader(a.out))
	if err := d.Decode(&m); err != nil || d.More() {
		a.t.Fatalf("%q: %v in\n%s%s", a.args, err, a.out, a.err)
	}
	return m
}

// refused wants an error in JSON.
func (a *answer) refused(reason string) {
	a.t.Helper()
	e, _ := a.json()["error"].(map[string]any)
	if a.status != 1 || e["reason"] != reason || a.err != "" {
		a.t.Errorf("%q: status %d, error %v, want %s", a.args, a.status, e, reason)
	}
}

func (a *answer) id() string {
	a.t.Helper()
	s, _ := a.ok().json()["unique_identifier"].(string)
	if s == "" {
		a.t.Fatalf("%q: no identifier in %s", a.args, a.out)
	}
	return s
}

func (r *rig) write(t *testing.T, name string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func (r *rig) read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(r.dir, name))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s has mode %v", name, info.Mode())
	}
	return b
}
