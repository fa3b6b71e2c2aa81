package harness

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startTimeout covers making a token, a CA and certificates on a busy machine.
const startTimeout = 90 * time.Second

// Server is a running kmipd.
type Server struct {
	Dir  string // token, certificates and data
	Addr string // host:port
	// Listeners are the addresses of further listeners (--listener) by name. Each has a directory of its own for
	// certificates, Dir/name.
	Listeners map[string]string

	t      testing.TB
	cmd    *exec.Cmd
	output *tail
	exited chan struct{} // closed when the process is gone
}

// Start runs `kmipd dev` on the directory with a port of the system's choice and waits until it accepts connections.
// The server is stopped with the test; its output is logged when the test failed.
func Start(t testing.TB, dir string, extra ...string) *Server {
	t.Helper()
	s, err := launch(t, dir, extra)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func launch(t testing.TB, dir string, extra []string) (*Server, error) {
	args := append([]string{"dev", "--dir", dir, "--listen", "127.0.0.1:0"}, extra...)
	s := &Server{Dir: dir, t: t, output: &tail{}, exited: make(chan struct{}), Listeners: map[string]string{}}
	s.cmd = exec.Command(Binary(t), args...)
	s.cmd.Stderr = s.output
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := start(s.cmd); err != nil {
		return nil, err
	}
	remember(s)
	ready := make(chan string, 1)
	go s.read(bufio.NewScanner(stdout), ready)
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			t.Logf("output of kmipd (pid %d), last part:\n%s", s.cmd.Process.Pid, s.output)
		}
	})
	select {
	case line := <-ready:
		if s.Addr = address(line); s.Addr == "" {
			return nil, fmt.Errorf("kmipd said %q, in which there is no host:port", line)
		}
		return s, nil
	case <-s.exited:
		return nil, fmt.Errorf("kmipd dev ended before it was ready: %v\n%s", s.cmd.ProcessState, s.output)
	case <-time.After(startTimeout):
		s.Kill()
		return nil, fmt.Errorf("kmipd dev is not ready after %s\n%s", startTimeout, s.output)
	}
}

// read passes the ready line on, keeps everything, and reaps the process at the end of its output.
func (s *Server) read(lines *bufio.Scanner, ready chan<- string) {
	for lines.Scan() {
		fmt.Fprintln(s.output, lines.Text())
		if name, rest, ok := strings.Cut(strings.TrimPrefix(lines.Text(), "listener "), " "); ok && strings.HasPrefix(lines.Text(), "listener ") {
			s.Listeners[name] = address(rest) // before the ready line, whose receiver reads the map
		}
		if strings.HasPrefix(lines.Text(), "ready") {
			select {
			case ready <- lines.Text():
			default:
			}
		}
	}
	s.cmd.Wait() // the exit state is kept in cmd.ProcessState
	forget(s)
	close(s.exited)
}

var hostPort = regexp.MustCompile(`(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\]):\d{1,5}\b`)

// address finds the first HOST:PORT in the ready line.
func address(line string) string { return hostPort.FindString(strings.TrimPrefix(line, "ready")) }

// Stop asks the server to end (SIGTERM) and waits; one that does not is killed, and the test fails.
func (s *Server) Stop() {
	s.t.Helper()
	if !s.running() {
		return
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
		if !s.cmd.ProcessState.Success() {
			s.t.Errorf("kmipd ended with %s after SIGTERM", s.cmd.ProcessState)
		}
	case <-time.After(Timeout):
		s.Kill()
		s.t.Errorf("kmipd did not end within %s of SIGTERM", Timeout)
	}
}

// Kill ends the server at once (SIGKILL) and waits until it is gone.
func (s *Server) Kill() {
	if s.running() {
		s.cmd.Process.Kill()
		<-s.exited
	}
}

// Output is the last part of what the server printed.
func (s *Server) Output() string { return s.output.String() }

// Mark is the end of what the server has printed so far, for WaitFor.
func (s *Server) Mark() int64 { return s.output.mark() }

// WaitFor waits until ok takes what the server printed after a mark.
func (s *Server) WaitFor(t testing.TB, mark int64, what string, ok func(output string) bool) {
	t.Helper()
	for end := time.Now().Add(Timeout); ; time.Sleep(5 * time.Millisecond) {
		if ok(s.output.since(mark)) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the server did not print %s within %s", what, Timeout)
		}
	}
}

// CPUTime is what the process used so far, user and system; 0 where the system does not tell.
func (s *Server) CPUTime() time.Duration { return cpuTime(s.cmd.Process.Pid) }

func (s *Server) running() bool {
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

// Run runs another kmipd command to its end and returns its standard output and exit code.
func Run(t testing.TB, args ...string) (stdout []byte, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(Binary(t), args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := start(cmd); err != nil {
		t.Fatal(err)
	}
	cmd.Wait() // a non-zero exit is the caller's to judge
	if cmd.ProcessState.ExitCode() != 0 {
		t.Logf("kmipd %s: %s\n%s", strings.Join(args, " "), cmd.ProcessState, errs.String())
	}
	return out.Bytes(), cmd.ProcessState.ExitCode()
}

// running processes, for Cleanup.
var live = struct {
	sync.Mutex
	servers map[*Server]bool
}{servers: map[*Server]bool{}}

func remember(s *Server) {
	live.Lock()
	live.servers[s] = true
	live.Unlock()
}

func forget(s *Server) {
	live.Lock()
	delete(live.servers, s)
	live.Unlock()
}

func killAll() {
	live.Lock()
	defer live.Unlock()
	for s := range live.servers {
		s.cmd.Process.Kill()
	}
}

// tail keeps the last part of what is written to it. Safe for concurrent use.
type tail struct {
	mu    sync.Mutex
	buf   []byte
	total int64 // octets written, kept or not
}

const tailSize = 64 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	t.total += int64(len(p))
	if extra := len(t.buf) - tailSize; extra > tailSize {
		t.buf = append([]byte(nil), t.buf[extra:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf[max(0, len(t.buf)-tailSize):])
}

func (t *tail) mark() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.total
}

// since is what was written after a mark, but for what is not kept any more.
func (t *tail) since(mark int64) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf[max(0, int64(len(t.buf))-(t.total-mark)):])
}

// cpuTime reads /proc/PID/stat, fields 14 and 15, in ticks of 10 ms.
func cpuTime(pid int) time.Duration {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	var user, system int64
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	fmt.Sscan(fields[11], &user)
	fmt.Sscan(fields[12], &system)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// Stderr runs another kmipd command to its end, and returns what it says on standard error and its exit code.
func Stderr(ctx context.Context, t testing.TB, args ...string) (stderr string, code int) {
	t.Helper()
	var errs bytes.Buffer
	cmd := exec.CommandContext(ctx, Binary(t), args...)
	cmd.Stderr = &errs
	if err := start(cmd); err != nil {
		t.Fatal(err)
	}
	cmd.Wait() // a non-zero exit is the caller's to judge
	return errs.String(), cmd.ProcessState.ExitCode()
}
