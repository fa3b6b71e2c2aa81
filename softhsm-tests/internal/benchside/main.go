// Command benchside measures the bare token for a benchmark comparison, in a process of its own as the server is:
//
//	benchside raw --dir DIR --seconds S
//
// It makes a token in DIR, writes "ready", and then for each line "OPERATION CALLERS" of standard input the operations per second,
// so that what is compared can be measured at the same time on a machine that does other work.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "benchside:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("usage: benchside raw [flags]")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	dir := flags.String("dir", "", "empty directory for a token")
	seconds := flags.Float64("seconds", 2, "length of one measurement")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	switch args[0] {
	case "raw":
		return raw(*dir, time.Duration(*seconds*float64(time.Second)), os.Stdin, os.Stdout)
	}
	return fmt.Errorf("unknown mode %q", args[0])
}
