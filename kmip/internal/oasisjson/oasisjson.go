// Package oasisjson reads the tag and enumeration tables that were extracted from the OASIS texts, for tests that hold
// the registry and the generated tables against them. It shares nothing with either.
package oasisjson

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Versions are the specification versions compared.
var Versions = []string{"1.0", "1.1", "1.2", "1.3", "1.4", "2.0", "2.1"}

// Entry is a tag or a value of an enumeration, as the tables of all versions together have it.
type Entry struct {
	Idents, Names []string // of 1.x and 2.x where they differ
	Types         map[string]string
	In            map[string]bool // versions
}

// Tables are the tags by value and the enumerations and masks by identifier.
type Tables struct {
	Tags  map[uint32]*Entry
	Enums map[string]map[uint32]*Entry
}

type jsonEntry struct {
	Name, Value, Type, Since, Last string
}

type jsonEnum struct {
	Key    string
	Values map[string]jsonEntry
}

type jsonFile struct {
	Tags         map[string]jsonEntry
	Enums, Masks map[string]jsonEnum
}

// Load reads both files of a directory. A directory that is absent skips the test, and fails it where CI=true.
func Load(t testing.TB, dir string) *Tables {
	t.Helper()
	tab := &Tables{Tags: map[uint32]*Entry{}, Enums: map[string]map[uint32]*Entry{}}
	for name, versions := range map[string][]string{"kmip_1_4.json": Versions[:5], "kmip_2_x.json": Versions[5:]} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) && os.Getenv("CI") != "true" {
			t.Skipf("the OASIS tables are not here: %v", err)
		}
		if err != nil {
			t.Fatal(err)
		}
		var f jsonFile
		if err := json.Unmarshal(text, &f); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(f.Tags) < 250 || len(f.Enums) < 40 {
			t.Fatalf("%s: %d tags and %d enumerations only", name, len(f.Tags), len(f.Enums))
		}
		for ident, e := range f.Tags {
			add(t, tab.Tags, ident, e, versions)
		}
		for _, enums := range []map[string]jsonEnum{f.Enums, f.Masks} {
			for _, e := range enums {
				for ident, v := range e.Values {
					if tab.Enums[e.Key] == nil {
						tab.Enums[e.Key] = map[uint32]*Entry{}
					}
					add(t, tab.Enums[e.Key], ident, v, versions)
				}
			}
		}
	}
	for key, values := range tab.Enums {
		if len(values) == 0 { // an enumeration of a later version
			delete(tab.Enums, key)
		}
	}
	return tab
}

func add(t testing.TB, to map[uint32]*Entry, ident string, e jsonEntry, versions []string) {
	t.Helper()
	if !slices.Contains(Versions, e.Since) {
		return // of a version after 2.1
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(e.Value, "0x"), 16, 32)
	if err != nil {
		t.Fatalf("%s: %v", ident, err)
	}
	have := to[uint32(n)]
	if have == nil {
		have = &Entry{Types: map[string]string{}, In: map[string]bool{}}
		to[uint32(n)] = have
	}
	have.Idents, have.Names = append(have.Idents, ident), append(have.Names, e.Name)
	for _, v := range versions {
		if v >= e.Since && (e.Last == "" || v <= e.Last) {
			have.In[v] = true
			have.Types[v] = e.Type
		}
	}
}
