// Package oasis reads the official OASIS test cases: which there are, which are in scope, and the request and response
// messages of each as trees.
package oasis

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Entry is one line of MANIFEST.tsv.
type Entry struct {
	Name       string // "SKFF-M-9-10": the file's name without its suffix
	File       string // path under testcases
	Version    string
	Suite      string
	Operations []string
	Notes      string
}

// Manifest reads shared/kmip/testcases/MANIFEST.tsv.
func Manifest(shared string) ([]Entry, error) {
	path := filepath.Join(shared, "kmip", "testcases", "MANIFEST.tsv")
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out []Entry
	for i, line := range strings.Split(strings.TrimRight(string(raw), "\n"), "\n") {
		f := strings.Split(line, "\t")
		if i == 0 {
			continue
		}
		if len(f) < 6 {
			return nil, fmt.Errorf("%s:%d: %d columns", path, i+1, len(f))
		}
		e := Entry{
			Name: strings.TrimSuffix(filepath.Base(f[0]), ".xml"), File: f[0], Version: f[1], Suite: suite(f[2]),
			Operations: strings.Fields(f[3]),
		}
		if len(f) > 6 {
			e.Notes = strings.TrimSpace(f[6])
		}
		out = append(out, e)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s lists no cases", path)
	}
	return out, nil
}

// suite shortens the suite names of the general test cases, which carry the title of each case.
func suite(name string) string {
	if strings.HasPrefix(name, "KMIP Test Cases") {
		return "KMIP Test Cases"
	}
	return name
}

// Sequence is the name that ties cases which must run in order with shared state, or "".
func (e Entry) Sequence() string {
	if name, ok := strings.CutPrefix(e.Notes, "sequence "); ok {
		return name
	}
	return ""
}

// Waits says that time passes between the exchanges of the case, as the time stamps of its responses show.
func (e Entry) Waits() bool { return e.Notes == "waits" }

// ServerToClient says that the server sends requests in the case, which the client answers.
func (e Entry) ServerToClient() bool { return e.Notes == "server-to-client" }

// Encoding is the encoding in which the case is played over HTTPS: "" for one that does not say.
func (e Entry) Encoding() string {
	for prefix, encoding := range map[string]string{"MSGENC-HTTPS-": "ttlv", "MSGENC-XML-": "xml", "MSGENC-JSON-": "json"} {
		if strings.HasPrefix(e.Name, prefix) {
			return encoding
		}
	}
	return ""
}

// Policy is the policy of the listener that the case is played on: "" for the first one.
func (e Entry) Policy() string {
	switch {
	case strings.HasPrefix(e.Name, "SUITEB_128-"):
		return "suiteb128"
	case strings.HasPrefix(e.Name, "SUITEB_192-"):
		return "suiteb192"
	}
	return ""
}

// Group is a run of cases on one connection with shared variables: a sequence, or a single case.
type Group []Entry

// Selection is what a run plays and what it leaves out, with the reason.
type Selection struct {
	Groups   []Group
	Excluded []Exclusion
}

// Exclusion is a case that is in none of the groups.
type Exclusion struct {
	Entry
	Reason string
}

// Select keeps the cases of the versions that use only the given operations. Cases which need more operations are not
// mentioned; those left out since a case before them in their sequence is are listed as excluded.
func Select(all []Entry, versions, operations []string) Selection {
	var s Selection
	byName := map[string]int{} // sequence name -> index in s.Groups
	broken := map[string]string{}
	for _, e := range all {
		if !slices.Contains(versions, e.Version) {
			continue
		}
		seq := e.Sequence()
		if missing := firstMissing(e.Operations, operations); missing != "" {
			if seq != "" && broken[seq] == "" {
				broken[seq] = fmt.Sprintf("its sequence %s starts with %s, which needs %s", seq, e.Name, missing)
			}
			continue
		}
		switch {
		case seq != "" && broken[seq] != "":
			s.Excluded = append(s.Excluded, Exclusion{e, broken[seq]})
		case seq != "":
			i, ok := byName[seq]
			if !ok {
				i = len(s.Groups)
				byName[seq] = i
				s.Groups = append(s.Groups, nil)
			}
			s.Groups[i] = append(s.Groups[i], e)
		default:
			s.Groups = append(s.Groups, Group{e})
		}
	}
	return s
}

func firstMissing(want, have []string) string {
	for _, w := range want {
		if !slices.Contains(have, w) {
			return w
		}
	}
	return ""
}
