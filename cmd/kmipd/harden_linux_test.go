package main

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// A hardened process leaves no core file and is not dumpable. It is another process, as the settings cannot be taken back.
func TestHarden(t *testing.T) {
	const mark = "KMIPD_TEST_HARDEN"
	if os.Getenv(mark) == "" {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestHarden$", "-test.v")
		cmd.Env = append(os.Environ(), mark+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	if err := harden(); err != nil {
		t.Fatal(err)
	}
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_CORE, &l); err != nil || l.Cur != 0 || l.Max != 0 {
		t.Errorf("core limit: got %+v, %v, want none", l, err)
	}
	if v, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, 3, 0, 0); errno != 0 || v != 0 { // PR_GET_DUMPABLE
		t.Errorf("dumpable: got %d, %v", v, errno)
	}
}
