package main

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"kmipd/keystore"
)

const attributeHelp = `kmipd attribute show OBJECT [--client NAME]
kmipd attribute set OBJECT ATTRIBUTE VALUE [--index N | --add] [--client NAME]
kmipd attribute delete OBJECT ATTRIBUTE [--index N] [--client NAME]

OBJECT is a Unique Identifier or a Name. ATTRIBUTE and VALUE are:
  Name                              TEXT, or uri:URI
  "Application Specific Information"  NAMESPACE=DATA
  "Contact Information"             TEXT
  "Cryptographic Parameters"        FIELD=VALUE,...   "Block Cipher Mode=CBC,Padding Method=PKCS5"
  Link                              TYPE=IDENTIFIER   "Public Key Link=..."
  "Object Group"                    TEXT
  "Process Start Date", "Protect Stop Date"   2006-01-02T15:04:05Z, 2006-01-02 or now; a date before now becomes now,
                                    and a date that has come cannot be changed
  "Usage Limits"                    BYTE=TOTAL or OBJECT=TOTAL, until some of it has been used
  x-..., y-...                      TEXT (y- attributes are the server's: clients see them and cannot set them)

Give --dir or --config to find the server; it may run or not.
`

// runAttribute updates attributes of clients' objects.
func runAttribute(ctx context.Context, s streams, args []string) error {
	f := flags(s, "attribute")
	c := &objectFlags{}
	var u keystore.AttributeUpdate
	var index int32
	f.Usage = func() { fmt.Fprint(s.out, attributeHelp); fmt.Fprint(s.out, f.FlagUsages()) }
	c.defineObject(f)
	f.Int32Var(&index, "index", 0, "the instance, where there are several")
	f.BoolVar(&u.Add, "add", false, "add another instance instead of changing one")
	if err := parse(f, args, 4); err != nil {
		return err
	}
	wantArgs := map[string]int{"show": 2, "set": 4, "delete": 3}
	if n, ok := wantArgs[f.Arg(0)]; !ok || f.NArg() != n || u.Add && (f.Changed("index") || f.Arg(0) != "set") {
		f.Usage()
		return fmt.Errorf("attribute: wrong command or arguments: %w", errUsage)
	}
	if err := c.prepare(); err != nil {
		return err
	}
	if f.Arg(0) == "show" {
		return c.show(ctx, s, objectRequest{Object: f.Arg(1), Client: c.client})
	}
	if f.Changed("index") {
		u.Index = &index
	}
	u.Object, u.Client, u.Attribute, u.Value, u.Delete = f.Arg(1), c.client, f.Arg(2), f.Arg(3), f.Arg(0) == "delete"
	return c.update(ctx, s, f, u)
}

func (c *objectFlags) update(ctx context.Context, s streams, f *pflag.FlagSet, u keystore.AttributeUpdate) error {
	var a keystore.AttributeInfo
	if err := c.askAdmin(ctx, s, "attribute/update", u, &a); err != nil {
		return err
	}
	if c.json {
		return printJSON(s, a)
	}
	what := map[bool]string{true: "deleted", false: "set"}[f.Arg(0) == "delete"]
	fmt.Fprintf(s.out, "%s %s [%d] %s\n", what, printable(a.Name), a.Index, printable(a.Value))
	return nil
}
