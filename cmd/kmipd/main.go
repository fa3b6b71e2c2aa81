//go:debug fips140=off

// Command kmipd is the KMIP server whose keys live on a PKCS#11 token, with its offline commands.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/pflag"
)

// command is one subcommand. run returns an error to print; an exitCode sets the status alone.
type command struct {
	name, args, short string
	run               func(ctx context.Context, io streams, args []string) error
}

type streams struct {
	in       *os.File
	out, err io.Writer
}

// exitCode ends the process with a status and no message.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// errUsage marks mistakes on the command line: status 2.
var errUsage = errors.New("usage")

func commands() []command {
	return []command{
		{"dev", "", "make a SoftHSM2 token, certificates and a client under --dir, and serve", runDev},
		{"init", "", "make a data directory with configuration, certificates and, for SoftHSM2, a token", runInit},
		{"serve", "", "run the server", runServe},
		{"doctor", "", "check configuration, token, certificates and store; measure the token", runDoctor},
		{"client", "add|list|show|remove|certificate|uncertify|credential|require|group|endpoint|query|discover-versions|pending|accept|reject", "manage clients and pending certificates", runClient},
		{"job", "list|approve|deny", "list asynchronous requests; decide on those that wait for an administrator", runJob},
		{"ca", "init|csr|import|list|chain|crl|recover", "make and manage certification authorities on the token", runCA},
		{"tls", "key|csr|certificate|crl|show", "keys on the token and certificates for the server's listeners", runTLS},
		{"template", "list|show|delete", "list, show and delete the templates of clients", runTemplate},
		{"secret", "list|show|delete", "list, show and delete the secret data of clients", runSecret},
		{"attribute", "show|set|delete", "show and update attributes of clients' objects", runAttribute},
		{"put", "CLIENT UNIQUE-IDENTIFIER...", "send objects to a client's endpoint", runPut},
		{"fips", "selftest|status|report|verify|key|policy|inventory", "run the self-tests; write and verify evidence reports; print policies and what they hit", runFIPS},
		{"fsck", "", "compare token and records (server stopped); --repair mends what cannot lose a key", runFsck},
		{"audit", "verify|export|key|head", "verify the audit trail, export it, print the key that verifies it", runAudit},
		{"version", "", "print the version", runVersion},
	}
}

func main() {
	restart = restartProcess
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once, whatever it waits for
	os.Exit(run(ctx, streams{os.Stdin, os.Stdout, os.Stderr}, os.Args[1:]))
}

func run(ctx context.Context, s streams, args []string) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		usage(s.out)
		if len(args) == 0 {
			return 2
		}
		return 0
	}
	for _, c := range commands() {
		if c.name != args[0] {
			continue
		}
		return status(s, c.run(ctx, s, args[1:]))
	}
	fmt.Fprintf(s.err, "kmipd: there is no command %q\n\n", args[0])
	usage(s.err)
	return 2
}

func status(s streams, err error) int {
	var code exitCode
	switch {
	case err == nil, errors.Is(err, pflag.ErrHelp):
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.Is(err, errUsage):
		fmt.Fprintln(s.err, "kmipd:", strings.TrimSuffix(err.Error(), ": usage"))
		return 2
	}
	fmt.Fprintln(s.err, "kmipd:", err)
	return 1
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "kmipd is a KMIP server whose keys live on a PKCS#11 token.\n\nUsage: kmipd COMMAND [flags]\n\nCommands:")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-9s %s\n", c.name, c.short)
		if c.args != "" {
			fmt.Fprintf(w, "            kmipd %s %s\n", c.name, c.args)
		}
	}
	fmt.Fprintln(w, "\nkmipd COMMAND --help lists the flags of a command.")
}

// version is set by the build from the version control tag.
var version = "dev"

func runVersion(_ context.Context, s streams, _ []string) error {
	fmt.Fprintln(s.out, "kmipd", version, goVersion())
	return nil
}

func goVersion() string {
	if b, ok := debug.ReadBuildInfo(); ok {
		return b.GoVersion
	}
	return ""
}

// flags makes the flag set of a command.
func flags(s streams, name string) *pflag.FlagSet {
	f := pflag.NewFlagSet("kmipd "+name, pflag.ContinueOnError)
	f.SetOutput(s.out)
	f.SortFlags = false
	return f
}

// parse parses args and refuses what is left over beyond n arguments.
func parse(f *pflag.FlagSet, args []string, n int) error {
	if err := f.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", err, errUsage)
	}
	if f.NArg() > n {
		return fmt.Errorf("unexpected argument %q: %w", f.Arg(n), errUsage)
	}
	return nil
}
