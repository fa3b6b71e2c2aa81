package main

import (
	"context"
	"fmt"
	"os"

	"kmipd/keystore"
	"kmipd/kmip"
	"kmipd/kmip/notifier"
	"kmipd/kmip/ttlv"
	"kmipd/metadata"
)

// courier joins the keystore's queues to the network.
type courier struct{ notifier.Courier }

// Carry implements keystore.Courier.
func (c courier) Carry(ctx context.Context, e metadata.Endpoint, op kmip.Operation, payload []byte) (ttlv.Item, bool, error) {
	return c.Courier.Carry(ctx, notifier.Endpoint{Address: e.Address, CA: e.CA, ServerName: e.ServerName, Version: e.Version}, op, payload)
}

// endpointFlags are the flags of kmipd client endpoint.
type endpointFlags struct {
	address, serverName, version, notify string
	putNew, remove                       bool
}

// endpoint registers, removes or shows a client's endpoint.
func (c *clientFlags) endpoint(ctx context.Context, s streams, name string) error {
	e := &c.ep
	switch {
	case e.remove && e.address != "":
		return fmt.Errorf("--remove and --address exclude each other: %w", errUsage)
	case !e.remove && e.address == "":
		return c.showEndpoint(ctx, s, name)
	}
	r := clientRequest{Name: name}
	if !e.remove {
		if c.ca == "" {
			return fmt.Errorf("client endpoint needs --ca, the authority of the endpoint's certificate: %w", errUsage)
		}
		pem, err := os.ReadFile(c.ca)
		if err != nil {
			return err
		}
		var ver kmip.Version
		if _, err := fmt.Sscanf(e.version, "%d.%d", &ver.Major, &ver.Minor); err != nil {
			return fmt.Errorf("--kmip-version: %q is not a version: %w", e.version, errUsage)
		}
		r.Endpoint = &metadata.Endpoint{Address: e.address, CA: string(pem), ServerName: e.serverName, Version: ver, Notify: e.notify, PutNew: e.putNew}
	}
	if err := c.askAdmin(ctx, s, "endpoint/set", r, nil); err != nil {
		return err
	}
	fmt.Fprintln(s.out, "done")
	return nil
}

func (c *clientFlags) showEndpoint(ctx context.Context, s streams, name string) error {
	var st keystore.EndpointStatus
	if err := c.askAdmin(ctx, s, "endpoint/show", clientRequest{Name: name}, &st); err != nil {
		return err
	}
	if c.json {
		return printJSON(s, st)
	}
	fmt.Fprintf(s.out, "address %s, KMIP %s, notify %s, put new objects %t\n%d messages wait\n", st.Address, st.Version, st.Notify, st.PutNew, st.Queued)
	if st.Trouble != "" {
		fmt.Fprintf(s.out, "%d attempts have failed, the last: %s\n", st.Attempts, st.Trouble)
	}
	return nil
}

// adminEndpoint runs the commands about endpoints; ok is false for those about something else.
func adminEndpoint(ctx context.Context, keys *keystore.Store, command string, r *clientRequest) (out any, ok bool, err error) {
	switch command {
	case "endpoint/set":
		out, err = struct{}{}, keys.SetEndpoint(ctx, r.Name, r.Endpoint)
	case "endpoint/show":
		out, err = keys.Endpoint(ctx, r.Name)
	case "endpoint/query", "endpoint/discover-versions":
		out, err = adminAsk(ctx, keys, command, r)
	case "put":
		out, err = struct{}{}, keys.Put(ctx, r.Name, r.UIDs)
	default:
		return nil, false, nil
	}
	return out, true, err
}

const putHelp = `kmipd put CLIENT UNIQUE-IDENTIFIER...

Queues objects of a client for its endpoint (kmipd client endpoint), to which the server sends them with Put. An object that must
not leave the server in clear is refused. Give --dir or --config to find the server; it may run or not.
`

func runPut(ctx context.Context, s streams, args []string) error {
	f := flags(s, "put")
	c := &source{}
	f.Usage = func() { fmt.Fprint(s.out, putHelp) }
	c.define(f)
	if err := parse(f, args, 1000); err != nil {
		return err
	}
	if err := c.load(); err != nil {
		return err
	}
	if f.NArg() < 2 {
		f.Usage()
		return fmt.Errorf("put needs a client and Unique Identifiers: %w", errUsage)
	}
	if err := c.askAdmin(ctx, s, "put", clientRequest{Name: f.Arg(0), UIDs: f.Args()[1:]}, nil); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "queued %d objects\n", f.NArg()-1)
	return nil
}
