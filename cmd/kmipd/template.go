package main

import (
	"context"
	"fmt"

	"kmipd/kmip"
)

const templateHelp = `kmipd template list [--client NAME]
kmipd template show TEMPLATE [--client NAME]
kmipd template delete TEMPLATE [--client NAME] [--yes]

TEMPLATE is a Unique Identifier or a Name. Give --dir or --config to find the server; it may run or not.
`

// runTemplate lists and deletes the templates that clients registered.
func runTemplate(ctx context.Context, s streams, args []string) error {
	f := flags(s, "template")
	c := &objectFlags{}
	f.Usage = func() { fmt.Fprint(s.out, templateHelp); fmt.Fprint(s.out, f.FlagUsages()) }
	c.defineObject(f)
	f.BoolVarP(&c.yes, "yes", "y", false, "delete without asking")
	if err := parse(f, args, 2); err != nil {
		return err
	}
	return c.listing(ctx, s, f, kmip.ObjectTypeTemplate)
}
