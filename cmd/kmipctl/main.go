// Command kmipctl is a KMIP client for the command line: one KMIP operation per command, for people and, with --json,
// for scripts. It takes no decisions about keys; what it does not send the server fills in.
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

type streams struct {
	in       *os.File
	out, err io.Writer
}

// command is one subcommand.
type command struct {
	name, args, short string
	about             string   // what the short line leaves out
	examples          []string // without the leading "kmipctl"
	// setup declares the flags and returns what to do with them. It is also called to print help.
	setup func(f *pflag.FlagSet) action
}

// action runs a command. It checks flags and arguments before it asks the kit for a connection.
type action func(ctx context.Context, k *kit, args []string) (result, error)

// errUsage marks mistakes on the command line: status 2.
var errUsage = errors.New("usage")

func usageError(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), errUsage)
}

func commands() []command {
	return []command{
		cmdDiscoverVersions, cmdQuery,
		cmdCreate, cmdCreateKeyPair, cmdRegister, cmdGet,
		cmdGetAttributes, cmdGetAttributeList, cmdAddAttribute, cmdModifyAttribute, cmdDeleteAttribute,
		cmdLocate, cmdCheck, cmdObtainLease, cmdGetUsageAllocation,
		cmdActivate, cmdRevoke, cmdDestroy, cmdArchive, cmdRecover,
		cmdReKey, cmdReKeyKeyPair, cmdDeriveKey, cmdCreateSplitKey, cmdJoinSplitKey, cmdExport, cmdImport,
		cmdCertify, cmdReCertify, cmdValidate,
		cmdEncrypt, cmdDecrypt, cmdSign, cmdSignatureVerify, cmdMAC, cmdMACVerify, cmdHash, cmdRNGRetrieve, cmdRNGSeed,
		cmdPoll, cmdCancel,
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, streams{os.Stdin, os.Stdout, os.Stderr}, os.Args[1:])
	stop()
	os.Exit(code)
}

// run returns the exit status: 0 done, 1 the server or the network refused or the answer is no, 2 a mistake in the call.
func run(ctx context.Context, s streams, args []string) int {
	k := &kit{streams: s}
	shared := pflag.NewFlagSet("kmipctl", pflag.ContinueOnError)
	shared.SetOutput(io.Discard)
	shared.SetInterspersed(false) // the command's own flags are not known yet
	shared.Usage = func() {}
	k.define(shared)
	switch err := shared.Parse(args); {
	case errors.Is(err, pflag.ErrHelp):
		usage(s.out)
		return 0
	case err != nil:
		return k.fail(args, usageError("%v", err))
	}
	if shared.NArg() == 0 {
		usage(s.err)
		return 2
	}
	name, rest := shared.Arg(0), shared.Args()[1:]
	switch name {
	case "help":
		return help(k, shared, rest)
	case "version":
		fmt.Fprintln(s.out, "kmipctl", version, goVersion())
		return 0
	}
	if c := find(name); c != nil {
		return k.command(ctx, args, c, shared, rest)
	}
	return k.fail(args, usageError("there is no command %q; kmipctl help lists them", name))
}

// command reads the flags of a command, those of all commands among them. all is the whole command line.
func (k *kit) command(ctx context.Context, all []string, c *command, shared *pflag.FlagSet, args []string) int {
	f := pflag.NewFlagSet("kmipctl "+c.name, pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.SortFlags = false
	f.Usage = func() {}
	act := c.setup(f)
	own := f.FlagUsagesWrapped(helpWidth)
	f.AddFlagSet(shared)
	switch err := f.Parse(args); {
	case errors.Is(err, pflag.ErrHelp):
		c.help(k.out, own)
		return 0
	case err != nil:
		return k.fail(all, usageError("%s: %v", c.name, err))
	}
	return k.run(ctx, all, c, act, f.Args())
}

// run does the command and prints its result.
func (k *kit) run(ctx context.Context, all []string, c *command, act action, args []string) int {
	if err := k.settle(); err != nil {
		return k.fail(all, err)
	}
	res, err := act(ctx, k, args)
	if w, ok := res.(wiper); ok {
		defer w.wipe()
	}
	if err == nil && res != nil {
		err = k.print(res)
	}
	k.close()
	if n, ok := res.(negative); err == nil && ok && n.negative() {
		return 1
	}
	if err != nil {
		if errors.Is(err, errUsage) {
			err = fmt.Errorf("%s: %w", c.name, err)
		}
		return k.fail(all, err)
	}
	return 0
}

func find(name string) *command {
	for _, c := range commands() {
		if c.name == name {
			return &c
		}
	}
	return nil
}

// version is set by the build from the version control tag.
var version = "dev"

func goVersion() string {
	if b, ok := debug.ReadBuildInfo(); ok {
		return b.GoVersion
	}
	return ""
}

// jsonAsked tells whether an error is to be printed as JSON. It looks at the arguments themselves, because the error may
// be that they could not be parsed.
func (k *kit) jsonAsked(args []string) bool {
	if k.json {
		return true
	}
	for _, a := range args {
		switch {
		case a == "--":
			return false
		case a == "--json", strings.HasPrefix(a, "--json=") && a != "--json=false":
			return true
		}
	}
	return false
}
