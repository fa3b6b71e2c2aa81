// Package prompt asks people at terminals. A read from a terminal does not end with a signal that the process handles; a
// question does.
package prompt

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// IsTerminal tells whether there is somebody to ask.
func IsTerminal(in *os.File) bool { return in != nil && term.IsTerminal(int(in.Fd())) }

// Line asks and reads a line, with its end.
func Line(ctx context.Context, in *os.File, out io.Writer, question string) (string, error) {
	b, err := ask(ctx, in, out, question, func() ([]byte, error) { return bufio.NewReader(in).ReadBytes('\n') })
	return string(b), err
}

// Secret asks and reads a line that is not shown, without its end. The caller clears it. An error when in is no terminal.
func Secret(ctx context.Context, in *os.File, out io.Writer, question string) ([]byte, error) {
	fd := int(in.Fd())
	b, err := ask(ctx, in, out, question, func() ([]byte, error) { return term.ReadPassword(fd) })
	fmt.Fprintln(out)
	return b, err
}

// ask ends with ctx: the terminal is then as it was before, and whoever still reads from it has lost the answer.
func ask(ctx context.Context, in *os.File, out io.Writer, question string, read func() ([]byte, error)) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	before, err := term.GetState(int(in.Fd()))
	if err != nil {
		return nil, err
	}
	fmt.Fprint(out, question)
	type answer struct {
		line []byte
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		line, err := read()
		got <- answer{line, err}
	}()
	select {
	case a := <-got:
		return a.line, a.err
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), term.Restore(int(in.Fd()), before))
	}
}
