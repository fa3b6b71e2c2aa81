package main

import (
	"context"
	"fmt"

	"kmipd/kmip"
)

const dataHelp = `kmipd secret list [--client NAME]
kmipd secret show SECRET [--client NAME]
kmipd secret delete SECRET [--client NAME] [--yes]

SECRET is the Unique Identifier or a Name of Secret Data. Its value is never shown. An Active one is revoked before it is
deleted. Give --dir or --config to find the server; it may run or not.
`

// runSecret lists and deletes the secret data (passwords, seeds) that clients sent.
func runSecret(ctx context.Context, s streams, args []string) error {
	f := flags(s, "secret")
	c := &objectFlags{}
	f.Usage = func() { fmt.Fprint(s.out, dataHelp); fmt.Fprint(s.out, f.FlagUsages()) }
	c.defineObject(f)
	f.BoolVarP(&c.yes, "yes", "y", false, "delete without asking")
	if err := parse(f, args, 2); err != nil {
		return err
	}
	return c.listing(ctx, s, f, kmip.ObjectTypeSecretData)
}
