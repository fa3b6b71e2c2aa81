package main

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"kmipd/kmip"
	"kmipd/kmip/client"
)

// target is the object that a command is about: the first argument, or found by --name.
type target struct {
	name string
	id   string
}

func (t *target) define(f *pflag.FlagSet) {
	f.StringVar(&t.name, "name", "", "instead of ID: the object that has this `Name`; there must be exactly one")
}

// take splits the arguments into the identifier, unless --name stands for it, and extra more.
func (t *target) take(args []string, extra ...string) ([]string, error) {
	want := len(extra)
	if t.name == "" {
		want++
	}
	if len(args) > want {
		if t.name != "" && len(args) == want+1 {
			return nil, usageError("give the Unique Identifier or --name, not both (unexpected argument %q)", args[want])
		}
		return nil, usageError("unexpected argument %q", args[want])
	}
	if t.name == "" {
		if len(args) == 0 {
			return nil, usageError("name the object: its Unique Identifier as argument, or --name NAME")
		}
		if args[0] == "" {
			return nil, usageError("the Unique Identifier is empty")
		}
		t.id, args = args[0], args[1:]
	}
	if len(args) < len(extra) {
		return nil, usageError("%s is missing", extra[len(args)])
	}
	return args, nil
}

// find returns the Unique Identifier, asking the server for it where --name is used.
func (t *target) find(ctx context.Context, c *client.Client) (string, error) {
	if t.name == "" {
		return t.id, nil
	}
	two := int32(2) // enough to tell one from several
	resp, err := client.Do[kmip.LocateRequest, kmip.LocateResponse](ctx, c, kmip.OperationLocate,
		&kmip.LocateRequest{MaximumItems: &two, Attribute: []kmip.Attribute{nameAttribute(t.name)}})
	if err != nil {
		return "", err
	}
	switch len(resp.UniqueIdentifier) {
	case 1:
		return resp.UniqueIdentifier[0], nil
	case 0:
		return "", &client.Error{Operation: kmip.OperationLocate, Status: kmip.ResultStatusOperationFailed,
			Reason: kmip.ResultReasonItemNotFound, Message: fmt.Sprintf("no object has the Name %q", t.name)}
	}
	return "", fmt.Errorf("more than one object has the Name %q: kmipctl locate --name lists them; give the Unique Identifier of one", t.name)
}

// connect connects and finds the object.
func (t *target) connect(ctx context.Context, k *kit) (*client.Client, string, error) {
	c, err := k.client(ctx)
	if err != nil {
		return nil, "", err
	}
	id, err := t.find(ctx, c)
	return c, id, err
}

// none refuses arguments.
func none(args []string) error {
	if len(args) > 0 {
		return usageError("unexpected argument %q", args[0])
	}
	return nil
}

// targets are the objects that a command is about, several of them: arguments, and those found by --name.
type targets struct{ names, given []string }

func (t *targets) define(f *pflag.FlagSet) {
	f.StringArrayVar(&t.names, "name", nil, "instead of an ID: the object that has this `Name`; may be repeated")
}

// take notes the arguments; least is how many objects there must be.
func (t *targets) take(args []string, least int) error {
	for _, a := range args {
		if a == "" {
			return usageError("the Unique Identifier is empty")
		}
	}
	t.given = args
	if len(t.given)+len(t.names) < least {
		return usageError("name the object: its Unique Identifier as argument, or --name NAME")
	}
	return nil
}

// connect connects and finds the objects, the arguments first.
func (t *targets) connect(ctx context.Context, k *kit) (*client.Client, []string, error) {
	c, err := k.client(ctx)
	if err != nil {
		return nil, nil, err
	}
	ids := append([]string(nil), t.given...)
	for _, n := range t.names {
		id, err := (&target{name: n}).find(ctx, c)
		if err != nil {
			return nil, nil, err
		}
		ids = append(ids, id)
	}
	return c, ids, nil
}
