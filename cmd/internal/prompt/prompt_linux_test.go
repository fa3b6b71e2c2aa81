package prompt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/term"
)

// terminal is a pseudo-terminal: what a person holds, and what a program has.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { person.Close() })
	control := func(request uintptr, n *uint32) {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, person.Fd(), request, uintptr(unsafe.Pointer(n))); errno != 0 {
			t.Fatal(errno)
		}
	}
	var unlocked, number uint32
	control(syscall.TIOCSPTLCK, &unlocked)
	control(syscall.TIOCGPTN, &number)
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	// program stays open: a question that has ended may still read from it, and its number must not become another file's.
	return person, program
}

// noticed calls when the question is there to be read: a person does nothing earlier.
type noticed struct{ call func() }

func (n noticed) Write(b []byte) (int, error) {
	if strings.Contains(string(b), "?") {
		n.call()
	}
	return len(b), nil
}

// A question ends with its context, as by the first Ctrl-C, and leaves the terminal as it was.
func TestQuestionEndsWithContext(t *testing.T) {
	_, program := terminal(t)
	before, err := term.GetState(int(program.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	for name, ask := range map[string]func(context.Context, io.Writer) error{
		"line": func(ctx context.Context, out io.Writer) error {
			_, err := Line(ctx, program, out, "Sure? ")
			return err
		},
		"secret": func(ctx context.Context, out io.Writer) error {
			_, err := Secret(ctx, program, out, "PIN? ")
			return err
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- ask(ctx, noticed{func() {
				if name == "line" {
					cancel()
					return
				}
				go func() { // when what is typed is not shown any more
					for now := before; *now == *before && ctx.Err() == nil; time.Sleep(time.Millisecond) {
						if next, err := term.GetState(int(program.Fd())); err == nil {
							now = next
						}
					}
					cancel()
				}()
			}})
		}()
		select {
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: got %v, want canceled", name, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: the question does not end", name)
		}
		if after, err := term.GetState(int(program.Fd())); err != nil || *after != *before {
			t.Errorf("%s: the terminal is not as it was (%v)", name, err)
		}
	}
}

func TestAnswers(t *testing.T) {
	person, program := terminal(t)
	answer := func(line string) noticed {
		return noticed{func() {
			if _, err := person.WriteString(line); err != nil {
				t.Error(err)
			}
		}}
	}
	if got, err := Line(t.Context(), program, answer("yes\n"), "Sure? "); err != nil || got != "yes\n" {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := Secret(t.Context(), program, answer("1234\n"), "PIN? "); err != nil || string(got) != "1234" {
		t.Errorf("got %q, %v", got, err)
	}
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := Secret(t.Context(), file, io.Discard, "PIN? "); err == nil || IsTerminal(file) || IsTerminal(nil) {
		t.Errorf("what is no terminal is asked: %v", err)
	}
}
