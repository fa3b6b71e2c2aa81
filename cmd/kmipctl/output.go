package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"kmipd/kmip"
	"kmipd/kmip/client"
)

// result is what a command has to print. Marshalled it is the JSON document.
type result interface {
	rows() []row   // for people
	ids() []string // for --quiet
}

// row is a label and the lines beside it.
type row struct {
	label string
	lines []string
}

func text(label string, v any) row { return row{label, lines(v)} }

// plain is a result that is printed as it is, without table: one line an item. nil asks for the table after all.
type plain interface{ plain() []string }

// silent is a result that has nothing to print outside of JSON, for example because standard output carried the object.
type silent interface{ silent() bool }

// negative is a result that is a plain no, for which scripts have the exit status 1.
type negative interface{ negative() bool }

// wiper is a result that holds key material, to be overwritten when it has been printed.
type wiper interface{ wipe() }

func (k *kit) print(res result) error {
	if s, ok := res.(silent); ok && s.silent() {
		return nil
	}
	switch {
	case k.json:
		return printJSON(k.out, res)
	case k.quiet:
		return printLines(k.out, printableAll(res.ids()))
	}
	if p, ok := res.(plain); ok {
		if list := p.plain(); list != nil {
			return printLines(k.out, list)
		}
	}
	return printRows(k.out, res.rows())
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func printLines(w io.Writer, list []string) error {
	for _, l := range list {
		if _, err := fmt.Fprintln(w, l); err != nil {
			return err
		}
	}
	return nil
}

// printRows aligns the values. A row without lines is a heading.
func printRows(w io.Writer, rows []row) error {
	width := 0
	for _, r := range rows {
		if len(r.lines) > 0 {
			width = max(width, utf8.RuneCountInString(printable(r.label)))
		}
	}
	for _, r := range rows {
		label := printable(r.label)
		if len(r.lines) == 0 {
			if _, err := fmt.Fprintln(w, label); err != nil {
				return err
			}
		}
		for i, l := range r.lines {
			if i > 0 {
				label = ""
			}
			pad := strings.Repeat(" ", width-utf8.RuneCountInString(label))
			if _, err := fmt.Fprintln(w, strings.TrimRight(label+pad+"  "+l, " ")); err != nil {
				return err
			}
		}
	}
	return nil
}

// The reasons of failures that no server gave.
const (
	reasonClient = "Client Error"
	reasonUsage  = "Usage"
)

type failure struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// fail prints an error and returns the exit status. args is the whole command line.
func (k *kit) fail(args []string, err error) int {
	f, code := failure{reasonClient, err.Error()}, 1
	var answer *client.Error
	switch {
	case errors.Is(err, errUsage):
		f, code = failure{reasonUsage, strings.TrimSuffix(err.Error(), ": "+errUsage.Error())}, 2
	case errors.As(err, &answer):
		f = failure{answer.Reason.String(), answer.Message}
		if answer.Reason == 0 {
			f.Reason = answer.Status.String()
		} else if name := fmt.Sprintf("%08X", uint32(answer.Reason)); name == f.Reason {
			f.Reason = "0x" + name
		}
	}
	if k.jsonAsked(args) {
		if printJSON(k.out, map[string]failure{"error": f}) == nil {
			return code
		}
	}
	if answer == nil {
		fmt.Fprintln(k.err, "kmipctl:", strings.TrimPrefix(f.Message, "client: "))
		return code
	}
	// One line, whatever the server writes.
	msg := f.Reason
	if f.Message != "" {
		msg += ": " + printable(f.Message)
	}
	fmt.Fprintln(k.err, "kmipctl:", msg)
	return code
}

// identified is the result of the operations that answer with a Unique Identifier.
type identified struct {
	UniqueIdentifier string `json:"unique_identifier"`
	ObjectType       string `json:"object_type,omitempty"`
	// Attributes are those that the server chose by itself and tells of.
	Attributes []attributeView `json:"attributes,omitempty"`
}

func (r *identified) rows() []row {
	var out []row
	if r.ObjectType != "" {
		out = append(out, text("Object Type", r.ObjectType))
	}
	out = append(out, text("Unique Identifier", r.UniqueIdentifier))
	return append(out, attributeRows(r.Attributes)...)
}

func (r *identified) ids() []string { return []string{r.UniqueIdentifier} }

func attributeRows(list []attributeView) []row {
	out := make([]row, len(list))
	for i := range list {
		out[i] = list[i].row()
	}
	return out
}

func implicit(ta *kmip.TemplateAttribute) []attributeView {
	if ta == nil || len(ta.Attribute) == 0 {
		return nil
	}
	return viewAttributes(ta.Attribute)
}
