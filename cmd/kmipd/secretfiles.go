package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/rs/zerolog"
)

// exposed is an error when others than its owner can read or write a file that holds a secret, and nil when nobody can or
// there is no such file, which is told elsewhere.
func exposed(setting, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return nil
	}
	others := os.FileMode(0o077)
	// systemd lets the service's user read its credentials by an access control list: the bits of the group are its mask then,
	// and no group has them. Nobody else gets into the directory.
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" && filepath.Dir(path) == filepath.Clean(dir) {
		others = 0o007
	}
	if mode := info.Mode().Perm(); mode&others != 0 {
		return fmt.Errorf("%s: others can read or write %s (mode %o): chmod 600", setting, path, mode)
	}
	return nil
}

// exposedFiles are the files with secrets that others can read, where the policy leaves that to the operator: strict ones
// refuse them.
func (c *config) exposedFiles() []error {
	var found []error
	seen := map[string]bool{"": true, "-": true}
	look := func(setting, path string) {
		if seen[path] {
			return
		}
		seen[path] = true
		if err := exposed(setting, path); err != nil {
			found = append(found, err)
		}
	}
	look("token_pin_file", c.TokenPINFile)
	for _, l := range c.listeners() {
		if !isTokenKey(l.Key) {
			look("tls_key", l.Key)
		}
	}
	return found
}

func (c *config) warnExposed(log zerolog.Logger) {
	for _, err := range c.exposedFiles() {
		log.Warn().Str("problem", err.Error()).Msg("a secret is not kept from others")
	}
}
