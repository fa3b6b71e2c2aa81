package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/hsm/hsmtest"
	"kmipd/keystore"
)

// built is a real binary with a directory that kmipd init made for policy fips140.
type built struct {
	t        *testing.T
	bin, dir string
}

// buildFor builds kmipd with a version of Go's module, "" for the toolchain's own.
func buildFor(t *testing.T, version string) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "kmipd")
	cmd := exec.Command("go", "build", "-o", bin, "kmipd/cmd/kmipd")
	cmd.Env = append(os.Environ(), "GOFIPS140="+version, "GODEBUG=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build with GOFIPS140=%s: %v\n%s", version, err, out)
	}
	return bin
}

// command is a run of the binary with GODEBUG as given; "" leaves it out.
func (b *built) command(godebug string, args ...string) *exec.Cmd {
	cmd := exec.Command(b.bin, args...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "GODEBUG=") || strings.HasPrefix(kv, "SOFTHSM2_CONF=")
	})
	if godebug != "" {
		cmd.Env = append(cmd.Env, "GODEBUG="+godebug)
	}
	return cmd
}

// run runs a command to its end.
func (b *built) run(godebug string, args ...string) (status int, out, errOut string) {
	b.t.Helper()
	cmd := b.command(godebug, args...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	kill := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	err := cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), o.String(), e.String()
	} else if err != nil {
		b.t.Fatal(err)
	}
	return 0, o.String(), e.String()
}

// serve runs the server until it serves, and stops it at the end of the test.
func (b *built) serve(godebug string, args ...string) {
	b.t.Helper()
	cmd := b.command(godebug, append([]string{"serve", "--dir", b.dir}, args...)...)
	pipe, err := cmd.StderrPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(pipe); s.Scan(); {
			lines <- s.Text()
		}
	}()
	b.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		for range lines {
		}
		_ = cmd.Wait()
	})
	var seen []string
	for end := time.After(time.Minute); ; {
		select {
		case l, ok := <-lines:
			if seen = append(seen, l); !ok {
				b.t.Fatalf("the server ended:\n%s", strings.Join(seen, "\n"))
			}
			if strings.Contains(l, `"serving"`) {
				go func() {
					for range lines {
					}
				}()
				return
			}
		case <-end:
			b.t.Fatalf("the server does not serve in a minute:\n%s", strings.Join(seen, "\n"))
		}
	}
}

func newBuilt(t *testing.T, version string) *built {
	t.Helper()
	hsmtest.RequireSoftHSM(t)
	b := &built{t: t, bin: buildFor(t, version), dir: filepath.Join(t.TempDir(), "k")}
	if status, _, errOut := b.run("", "init", "--dir", b.dir, "--policy", "fips140", "--listen", "127.0.0.1:0"); status != 0 {
		t.Fatalf("init: %s", errOut)
	}
	return b
}

// What the release is: the certified module, on by itself in a strict policy, and refused when the environment says off.
func TestCertifiedBinary(t *testing.T) {
	b := newBuilt(t, "v1.0.0")
	for _, args := range [][]string{
		{"serve", "--dir", b.dir, "--allow-unvalidated-token"},
		{"init", "--dir", filepath.Join(t.TempDir(), "other"), "--policy", "fips140"},
		{"dev", "--dir", filepath.Join(t.TempDir(), "dev"), "--policy", "suiteb192", "--listen", "127.0.0.1:0"},
		{"fips", "selftest", "--dir", b.dir},
	} {
		status, _, errOut := b.run("fips140=off", args...)
		if status != 1 || !strings.Contains(errOut, "remove fips140 from GODEBUG") {
			t.Errorf("%s with the module switched off: status %d, %s", args[0], status, errOut)
		}
	}
	// Past the module's check comes the token's.
	for _, godebug := range []string{"", "fips140=on", "http2debug=0"} {
		status, _, errOut := b.run(godebug, "serve", "--dir", b.dir)
		if status != 1 || !strings.Contains(errOut, "allow_unvalidated_token") {
			t.Errorf("serve on SoftHSM2 with GODEBUG=%q: status %d, %s", godebug, status, errOut)
		}
	}
	// Without a server the command opens the token itself.
	if status, out, errOut := b.run("", "fips", "selftest", "--dir", b.dir); status != 0 || !strings.Contains(out, " 0 failed") {
		t.Errorf("fips selftest: status %d, %s%s", status, out, errOut)
	}
	b.serve("", "--allow-unvalidated-token")
	status, out, errOut := b.run("", "fips", "selftest", "--dir", b.dir, "--json")
	var r hsm.Report
	if err := json.Unmarshal([]byte(out), &r); status != 0 || err != nil || !r.Passed() || r.Reason != "demand" || r.Count(hsm.OutcomePassed) < 50 {
		t.Errorf("fips selftest of the server: status %d, %v, %+v, %s", status, err, r, errOut)
	}
	status, out, _ = b.run("", "fips", "status", "--dir", b.dir, "--json")
	var f keystore.Facts
	if err := json.Unmarshal([]byte(out), &f); status != 0 || err != nil {
		t.Fatalf("fips status: status %d, %v", status, err)
	}
	if m := f.Module; !m.Enabled || m.Version != "v1.0.0" || m.Certificate == nil || m.Certificate.Number != "5247" {
		t.Errorf("module: %+v", m)
	}
	if f.Policy != "fips140" || f.Token.Status != "none" || !slices.Equal(f.Allowed, []string{"allow_unvalidated_token"}) || f.Last == nil || len(f.Identity.Mechanisms) == 0 {
		t.Errorf("facts: %s", out)
	}
}

// What go build makes is on in a strict policy, too, but nobody has certified it.
func TestUncertifiedBinary(t *testing.T) {
	b := newBuilt(t, "off")
	status, _, errOut := b.run("", "serve", "--dir", b.dir, "--allow-unvalidated-token")
	if status != 1 || !strings.Contains(errOut, "GOFIPS140=v1.0.0") || !strings.Contains(errOut, "allow_uncertified_module") {
		t.Errorf("serve: status %d, %s", status, errOut)
	}
	b.serve("", "--allow-unvalidated-token", "--allow-uncertified-module")
	_, out, _ := b.run("", "fips", "status", "--dir", b.dir)
	if !strings.Contains(out, "module     on, version latest") || !strings.Contains(out, "allow_uncertified_module") {
		t.Errorf("fips status: %s", out)
	}
}

// A command of the default policy takes the module as it is.
func TestSecureModuleDefault(t *testing.T) {
	if err := secureModule([]string{"default"}, false); err != nil {
		t.Error(err)
	}
	called := false
	restart = func(environ []string) error {
		called = slices.ContainsFunc(environ, func(kv string) bool { return strings.HasPrefix(kv, "GODEBUG=") && strings.HasSuffix(kv, "fips140=on") })
		return errors.New("not here")
	}
	defer func() { restart = nil }()
	if fips.ModuleState().Enabled || fips.ModuleState().SwitchedOff() {
		t.Skip("the module is on, or the environment speaks of it")
	}
	if err := secureModule([]string{"default", "cnsa1"}, true); err == nil || !called || !strings.Contains(err.Error(), "not here") {
		t.Errorf("a strict policy beside the default one: got %v, restarted %t", err, called)
	}
}

// A self-test by hand has as long as one by schedule: 5 minutes, and the one that it waits for.
func TestPatience(t *testing.T) {
	if got := patience("fips/selftest"); got < 10*time.Minute {
		t.Errorf("fips selftest waits %s", got)
	}
	if got := patience("fips/status"); got > time.Minute {
		t.Errorf("fips status waits %s", got)
	}
}

func TestSelfTestSettings(t *testing.T) {
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "tokens.toml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := "[[token]]\nmanufacturer = \"Maker\"\nmodel = \"M1\"\nfirmware = [\"7.8\"]\ncertificate = \"9999\"\nstandard = \"140-3\"\nlevel = 3\nstatus = \"active\"\nsunset = 2030-01-01\n"
	for _, c := range []struct {
		name string
		c    config
		want []string
	}{
		{"defaults", config{Policy: "default", SelfTest: "start", SelfTestInterval: 24 * time.Hour, SelfTestPairs: "auto"}, nil},
		{"all off", config{Policy: "default", SelfTest: "off", SelfTestPairs: "off"}, nil},
		{"off in a strict policy", config{Policy: "fips140", SelfTest: "off", SelfTestPairs: "off"}, []string{"self_test: a strict", "self_test_interval: a strict", "self_test_pairs: a strict"}},
		{"off with a strict group", config{Policy: "default", SelfTest: "off", SelfTestPairs: "auto", SelfTestInterval: time.Hour,
			tables: tables{Group: []groupTable{{Name: "g", Policy: "cnsa1"}}}}, []string{"self_test: a strict"}},
		{"nonsense", config{Policy: "default", SelfTest: "x", SelfTestPairs: "y", SelfTestInterval: time.Second}, []string{"self_test: \"x\"", "self_test_pairs: \"y\"", "1m and more"}},
		{"good list", config{Policy: "default", SelfTest: "start", SelfTestPairs: "on", TokenCertificates: file(good)}, nil},
		{"no file", config{Policy: "default", SelfTest: "start", SelfTestPairs: "on", TokenCertificates: "/nowhere"}, []string{"token_certificates"}},
		{"unknown field", config{Policy: "default", SelfTest: "start", SelfTestPairs: "on", TokenCertificates: file(good + "colour = 1\n")}, []string{"colour"}},
		{"bad list", config{Policy: "default", SelfTest: "start", SelfTestPairs: "on", TokenCertificates: file("[[token]]\nmodel = \"M\"\n")}, []string{"token 1", "firmware"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := errors.Join(c.c.checkSelfTests()...)
			if c.want == nil && got != nil {
				t.Errorf("got %v", got)
			}
			for _, w := range c.want {
				if got == nil || !strings.Contains(got.Error(), w) {
					t.Errorf("got %v, want %q in it", got, w)
				}
			}
		})
	}
	list, err := (&config{TokenCertificates: file(good)}).tokenCertificates()
	if err != nil || len(list) != 1 || list[0].Sunset.Year() != 2030 {
		t.Errorf("the list: %+v, %v", list, err)
	}
}
