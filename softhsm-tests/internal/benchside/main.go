// Command benchside measures the bare token for a benchmark comparison, in a process of its own as the server is:
//
//	benchside raw --dir DIR --seconds S --conns 1,8,64   the token operations, as JSON on standard output
package main

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
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
	conns := flags.String("conns", "1,8,64", "numbers of concurrent callers")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	switch args[0] {
	case "raw":
		var callers []int
		for _, s := range strings.Split(*conns, ",") {
			n, err := strconv.Atoi(s)
			if err != nil {
				return err
			}
			callers = append(callers, n)
		}
		return raw(*dir, time.Duration(*seconds*float64(time.Second)), callers)
	}
	return fmt.Errorf("unknown mode %q", args[0])
}
