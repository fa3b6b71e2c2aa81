package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// outcome is the result of the operations that give octets: where they are not secret they are printed, and where they are
// it takes --show, or --out as for all.
type outcome struct {
	id     string
	name   string // of the octets
	secret bool
	octets []byte // nil when they are in a file
	size   int
	also   []member // other octets of the answer

	show bool
	file string
}

// key is the JSON name of a field.
func key(name string) string {
	return strings.ToLower(strings.NewReplacer(" ", "_", "/", "_").Replace(name))
}

func (o *outcome) hidden() bool { return o.file != "" || o.secret && !o.show }

// MarshalJSON has the fields in the order of the table.
func (o *outcome) MarshalJSON() ([]byte, error) {
	out := structured{}
	if o.id != "" {
		out = append(out, member{"unique_identifier", o.id})
	}
	if o.secret {
		out = append(out, member{"octets", o.size})
	}
	if !o.hidden() {
		out = append(out, member{key(o.name), octets(o.octets)})
	}
	for _, m := range o.also {
		out = append(out, member{key(m.name), m.value})
	}
	if o.file != "" {
		out = append(out, member{"file", o.file}, member{"written", o.size})
	}
	return json.Marshal(out)
}

func (o *outcome) rows() []row {
	var out []row
	if o.id != "" {
		out = append(out, text("Unique Identifier", o.id))
	}
	return append(append(out, row{o.name, octetLines(o.octets, o.size, o.file, !o.hidden())}), o.others()...)
}

func (o *outcome) others() []row {
	var out []row
	for _, m := range o.also {
		out = append(out, text(m.name, m.value))
	}
	return out
}

// octetLines shows octets, or tells where they are.
func octetLines(value []byte, size int, file string, show bool) []string {
	switch {
	case file != "":
		return []string{fmt.Sprintf("%d octets written to %s", size, file)}
	case !show:
		return []string{fmt.Sprintf("%d octets, not shown: --out FILE writes them, --show prints them", size)}
	}
	return lines(octets(value))
}

func (o *outcome) ids() []string {
	if o.id == "" {
		return nil
	}
	return []string{o.id}
}

// silent: with --out - standard output has carried the octets.
func (o *outcome) silent() bool { return o.file == "-" }

func (o *outcome) wipe() {
	if o.secret {
		clear(o.octets)
	}
}

// sink takes octets that come in parts: to a file, to standard output, or to be printed.
type sink struct {
	k      *kit
	to     *delivery
	secret bool
	file   *fileWriter
	kept   [][]byte
	size   int
}

func (d *delivery) open(k *kit, secret bool) *sink {
	s := &sink{k: k, to: d, secret: secret}
	if d.out != "" && d.out != "-" {
		s.file = &fileWriter{name: d.out, replace: d.force}
	}
	return s
}

// write takes octets over: it wipes secret ones when they are where they belong.
func (s *sink) write(b []byte) error {
	s.size += len(b)
	if s.secret && s.to.out != "" {
		defer clear(b)
	}
	switch {
	case s.file != nil:
		return s.file.write(b)
	case s.to.out == "-":
		_, err := s.k.out.Write(b)
		return err
	case s.secret && !s.to.show: // there is nothing to be done with them but to count
		clear(b)
		return nil
	case s.size > maxFile:
		clear(b)
		return fmt.Errorf("the result has more than %d octets: write it to a file with --out", maxFile)
	}
	s.kept = append(s.kept, b)
	return nil
}

// finish ends the output after err, and completes the result. A file that is not whole is taken away.
func (s *sink) finish(o *outcome, err error) (result, error) {
	if s.file != nil {
		err = s.file.finish(err)
	}
	o.octets = bytes.Join(s.kept, nil)
	if s.secret && len(s.kept) > 0 {
		for _, b := range s.kept {
			clear(b)
		}
	}
	o.secret, o.show, o.file, o.size = s.secret, s.to.show, s.to.out, s.size
	if err != nil {
		clear(o.octets)
		return nil, err
	}
	if rest := o.others(); o.silent() && len(rest) > 0 {
		// Without the IV the ciphertext is lost.
		return o, printRows(s.k.err, rest)
	}
	return o, nil
}

// verdict is the result of the operations that verify something.
type verdict struct {
	UniqueIdentifier string `json:"unique_identifier,omitempty"`
	Validity         string `json:"validity_indicator"`
}

func (v *verdict) rows() []row     { return nil }
func (v *verdict) plain() []string { return []string{strings.ToLower(printable(v.Validity))} }
func (v *verdict) negative() bool  { return v.Validity != "Valid" }

func (v *verdict) ids() []string {
	if v.UniqueIdentifier == "" {
		return nil
	}
	return []string{v.UniqueIdentifier}
}
