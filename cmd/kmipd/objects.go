package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"kmipd/cmd/internal/prompt"
	"kmipd/keystore"
	"kmipd/kmip"
)

// This file is what the commands on clients' objects share: kmipd template, secret and attribute.

// objectRequest names objects in a request to the administrators' socket.
type objectRequest struct {
	Object string          `json:"object,omitempty"` // Unique Identifier or Name
	Client string          `json:"client,omitempty"`
	Type   kmip.ObjectType `json:"type,omitempty"`
}

// objectCommands run on the keystore, in the server or offline.
var objectCommands = map[string]func(context.Context, *keystore.Store, []byte) (any, error){
	"object/list": func(ctx context.Context, keys *keystore.Store, body []byte) (any, error) {
		var r objectRequest
		if err := understand(body, &r); err != nil {
			return nil, err
		}
		return keys.Objects(ctx, r.Type, r.Client)
	},
	"object/show": func(ctx context.Context, keys *keystore.Store, body []byte) (any, error) {
		var r objectRequest
		if err := understand(body, &r); err != nil {
			return nil, err
		}
		return keys.Object(ctx, r.Object, r.Client, r.Type)
	},
	"template/delete": deleter(kmip.ObjectTypeTemplate),
	"secret/delete":   deleter(kmip.ObjectTypeSecretData),
	"attribute/update": func(ctx context.Context, keys *keystore.Store, body []byte) (any, error) {
		var u keystore.AttributeUpdate
		if err := understand(body, &u); err != nil {
			return nil, err
		}
		return keys.UpdateAttribute(ctx, u)
	},
}

// tokenCommands need the token when no server runs.
var tokenCommands = map[string]bool{"secret/delete": true, "fips/report": true, "fips/key": true}

// deleter deletes objects of a type: an administrator deletes templates and secret data, and no keys.
func deleter(t kmip.ObjectType) func(context.Context, *keystore.Store, []byte) (any, error) {
	return func(ctx context.Context, keys *keystore.Store, body []byte) (any, error) {
		var r objectRequest
		if err := understand(body, &r); err != nil {
			return nil, err
		}
		return struct{}{}, keys.DeleteObject(ctx, r.Object, r.Client, t)
	}
}

func understand(body []byte, r any) error {
	if err := json.Unmarshal(body, r); err != nil {
		return fmt.Errorf("the request is not understood: %w", err)
	}
	return nil
}

// objectFlags are the flags of the commands on objects.
type objectFlags struct {
	source
	client    string
	yes, json bool
}

func (c *objectFlags) defineObject(f *pflag.FlagSet) {
	c.define(f)
	f.StringVar(&c.client, "client", "", "the client whose objects are meant (default all)")
	f.BoolVar(&c.json, "json", false, "print JSON")
}

// prepare loads the configuration that says where the server is.
func (c *objectFlags) prepare() error {
	if err := c.load(); err != nil {
		return err
	}
	c.LogLevel = "warn" // offline, the log goes to the terminal
	return nil
}

// listing is kmipd template and kmipd secret: the same commands on two types of objects.
func (c *objectFlags) listing(ctx context.Context, s streams, f *pflag.FlagSet, t kmip.ObjectType) error {
	wantArgs := map[string]int{"list": 1, "show": 2, "delete": 2}
	if n, ok := wantArgs[f.Arg(0)]; !ok || f.NArg() != n {
		f.Usage()
		return fmt.Errorf("wrong command or arguments: %w", errUsage)
	}
	if err := c.prepare(); err != nil {
		return err
	}
	r := objectRequest{Object: f.Arg(1), Client: c.client, Type: t}
	switch f.Arg(0) {
	case "list":
		return c.list(ctx, s, r)
	case "show":
		return c.show(ctx, s, r)
	}
	return c.delete(ctx, s, r)
}

func (c *objectFlags) list(ctx context.Context, s streams, r objectRequest) error {
	var list []keystore.ObjectInfo
	if err := c.askAdmin(ctx, s, "object/list", r, &list); err != nil {
		return err
	}
	if c.json {
		return printJSON(s, list)
	}
	w := tabwriter.NewWriter(s.out, 0, 4, 2, ' ', 0)
	if r.Type == kmip.ObjectTypeSecretData {
		fmt.Fprintln(w, "UNIQUE IDENTIFIER\tCLIENT\tNAMES\tTYPE\tBITS\tSTATE\tCREATED")
	} else {
		fmt.Fprintln(w, "UNIQUE IDENTIFIER\tCLIENT\tNAMES\tCREATED")
	}
	for _, o := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t", o.UID, printable(o.Client), printable(strings.Join(o.Names, "; ")))
		if r.Type == kmip.ObjectTypeSecretData {
			fmt.Fprintf(w, "%s\t%d\t%s\t", o.SecretType, o.Bits, o.State)
		}
		fmt.Fprintln(w, o.Created.Format(time.DateTime))
	}
	return w.Flush()
}

// printable keeps what clients wrote from moving the terminal's cursor.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7F && r < 0xA0 {
			return '?'
		}
		return r
	}, text)
}

func (c *objectFlags) show(ctx context.Context, s streams, r objectRequest) error {
	var o keystore.ObjectInfo
	if err := c.askAdmin(ctx, s, "object/show", r, &o); err != nil {
		return err
	}
	if c.json {
		return printJSON(s, o)
	}
	w := tabwriter.NewWriter(s.out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "Client\t%s\n", printable(o.Client))
	for _, a := range o.Attributes {
		name := printable(a.Name)
		if a.Index != 0 {
			name = fmt.Sprintf("%s [%d]", name, a.Index)
		}
		fmt.Fprintf(w, "%s\t%s\n", name, printable(a.Value))
	}
	for _, d := range o.Dependents {
		fmt.Fprintf(w, "Used by\t%s\n", printable(d))
	}
	return w.Flush()
}

// delete deletes an object after it has said what depends on it and asked.
func (c *objectFlags) delete(ctx context.Context, s streams, r objectRequest) error {
	var o keystore.ObjectInfo
	if err := c.askAdmin(ctx, s, "object/show", r, &o); err != nil {
		return err
	}
	if !c.yes {
		fmt.Fprintf(s.err, "%s %s of client %s", o.Type, o.UID, printable(o.Client))
		if len(o.Names) > 0 {
			fmt.Fprintf(s.err, ", Name %s", printable(strings.Join(o.Names, "; ")))
		}
		fmt.Fprintln(s.err)
		for _, d := range o.Dependents {
			fmt.Fprintln(s.err, "  used by", printable(d))
		}
		switch {
		case r.Type == kmip.ObjectTypeTemplate:
			fmt.Fprintln(s.err, "Objects that were made with it keep their attributes; requests that name it will fail.")
		case o.State == kmip.StateActive.String():
			fmt.Fprintln(s.err, "It is Active: it is revoked first. Its value cannot be had back.")
		default:
			fmt.Fprintln(s.err, "Its value cannot be had back.")
		}
		if err := confirm(ctx, s); err != nil {
			return err
		}
	}
	// What was shown is what goes, whatever has the Name by now.
	r.Object, r.Client = o.UID, o.Client
	command := map[kmip.ObjectType]string{kmip.ObjectTypeTemplate: "template/delete", kmip.ObjectTypeSecretData: "secret/delete"}[r.Type]
	if err := c.askAdmin(ctx, s, command, r, nil); err != nil {
		return err
	}
	if c.json {
		return printJSON(s, map[string]any{"deleted": o.UID, "dependents": append([]string{}, o.Dependents...)})
	}
	fmt.Fprintf(s.out, "deleted %s %s\n", o.Type, o.UID)
	return nil
}

// confirm asks before something is lost. Without a terminal there is nobody to ask.
func confirm(ctx context.Context, s streams) error {
	if !prompt.IsTerminal(s.in) {
		return errors.New("nothing was deleted: give --yes, or run this on a terminal")
	}
	line, err := prompt.Line(ctx, s.in, s.err, "Delete it? [y/N] ")
	if answer := strings.ToLower(strings.TrimSpace(line)); err == nil && (answer == "y" || answer == "yes") {
		return nil
	}
	return errors.New("nothing was deleted")
}
