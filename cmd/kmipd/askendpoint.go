package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"kmipd/keystore"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// field is a field of a client's answer as an administrator sees it: a value, or members.
type field struct {
	Name    string  `json:"name"`
	Value   string  `json:"value,omitempty"`
	Members []field `json:"members,omitempty"`
}

// fieldsOf shows the members of a structure that somebody else made.
func fieldsOf(it ttlv.Item) []field {
	out := []field{}
	for m := range it.Members {
		f := field{Name: kmip.NameOfTag(m.Tag)}
		switch m.Type {
		case ttlv.Structure:
			f.Members = fieldsOf(m)
		case ttlv.Integer:
			f.Value = strconv.Itoa(int(m.Int()))
		case ttlv.LongInteger:
			f.Value = strconv.FormatInt(m.Long(), 10)
		case ttlv.BigInteger:
			f.Value = m.BigInt().String()
		case ttlv.Enumeration:
			f.Value = kmip.EnumName(kmip.TagEnum(m.Tag), m.Enum())
		case ttlv.Boolean:
			f.Value = strconv.FormatBool(m.Bool())
		case ttlv.TextString:
			f.Value = m.Text()
		case ttlv.DateTime:
			f.Value = m.Time().Format(time.RFC3339)
		case ttlv.Interval:
			f.Value = (time.Duration(m.Interval()) * time.Second).String()
		default:
			f.Value = hex.EncodeToString(m.Value)
		}
		out = append(out, f)
	}
	return out
}

// writeFields writes a line for each field. What the client says is quoted where a terminal would take it for more than text.
func writeFields(w io.Writer, fields []field, depth int) {
	for _, f := range fields {
		value := f.Value
		if strings.ContainsFunc(value, func(r rune) bool { return !strconv.IsPrint(r) }) {
			value = strconv.Quote(value)
		}
		fmt.Fprintln(w, strings.TrimRight(strings.Repeat("  ", depth)+f.Name+": "+value, " "))
		writeFields(w, f.Members, depth+1)
	}
}

// ask has the server ask a client's endpoint, and shows the answer.
func (c *clientFlags) ask(ctx context.Context, s streams, sub, name string) error {
	if sub != "query" && len(c.functions) > 0 {
		return fmt.Errorf("--function belongs to client query: %w", errUsage)
	}
	r := clientRequest{Name: name, Functions: c.functions}
	var answer []field
	if err := c.askAdmin(ctx, s, "endpoint/"+sub, r, &answer); err != nil {
		return err
	}
	if c.json {
		return printJSON(s, answer)
	}
	writeFields(s.out, answer, 0)
	return nil
}

// adminAsk runs client query and client discover-versions.
func adminAsk(ctx context.Context, keys *keystore.Store, command string, r *clientRequest) (any, error) {
	var answer ttlv.Item
	var err error
	if command == "endpoint/discover-versions" {
		answer, err = keys.EndpointVersions(ctx, r.Name)
	} else {
		var functions []kmip.QueryFunction
		if functions, err = queryFunctions(r.Functions); err == nil {
			answer, err = keys.QueryEndpoint(ctx, r.Name, functions)
		}
	}
	if err != nil {
		return nil, err
	}
	return fieldsOf(answer), nil
}

// queryFunctions finds Query Functions by their names, with or without the word Query.
func queryFunctions(names []string) (out []kmip.QueryFunction, err error) {
	for _, n := range names {
		v, ok := kmip.EnumByName("QueryFunction", "query "+n)
		if !ok {
			v, ok = kmip.EnumByName("QueryFunction", n)
		}
		if !ok {
			err = errors.Join(err, fmt.Errorf("--function: %q is none of %s", n, strings.Join(kmip.EnumNames("QueryFunction"), ", ")))
		}
		out = append(out, kmip.QueryFunction(v))
	}
	return out, err
}
