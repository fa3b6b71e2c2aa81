package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// tables are the parts of the configuration file of which there can be several: [[group]] and [[listener]]. They have no flags.
type tables struct {
	Group    []groupTable     `toml:"group"`
	Listener []listenerConfig `toml:"listener"`
}

// isTable tells the names of tables from those of settings.
func isTable(name string) bool { return name == "group" || name == "listener" }

// loadTables reads them. Every name that no table has is reported.
func loadTables(file string) (tables, error) {
	var t tables
	meta, err := toml.DecodeFile(file, &t)
	if err != nil {
		return t, fmt.Errorf("reading the configuration: %w", err)
	}
	var errs []error
	for _, key := range meta.Undecoded() {
		if isTable(key[0]) && len(key) == 2 {
			errs = append(errs, fmt.Errorf("%s: [[%s]] has no setting %q", file, key[0], strings.Join(key[1:], ".")))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return t, errors.Join(errs...)
}
