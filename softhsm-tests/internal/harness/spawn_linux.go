package harness

import (
	"os/exec"
	"runtime"
	"syscall"
)

// start asks the kernel to kill the child when the thread that made it dies, so that an aborted test run (a panic, a
// test timeout) leaves no server behind. That thread must therefore live as long as the test: one thread, kept for it.
func start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	done := make(chan error)
	spawner <- func() { done <- cmd.Start() }
	return <-done
}

var spawner = func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
}()
