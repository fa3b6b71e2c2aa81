package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"
)

// delivery is the flags that say where octets go. By default they are printed, unless they are secret.
type delivery struct {
	out         string
	force, show bool
}

// define declares --out and --force; what the octets are stands in what.
func (d *delivery) define(f *pflag.FlagSet, what string) {
	f.StringVar(&d.out, "out", "", "`file` to write "+what+" to, readable by you alone; - for standard output")
	f.BoolVar(&d.force, "force", false, "let --out replace a file")
}

// defineSecret is define for what is printed with --show only.
func (d *delivery) defineSecret(f *pflag.FlagSet, what string) {
	d.define(f, what)
	f.BoolVar(&d.show, "show", false, "print "+what)
}

// problems are the contradictions among the flags.
func (d *delivery) problems() []error {
	var out []error
	if d.show && d.out != "" {
		out = append(out, errors.New("--show and --out exclude each other"))
	}
	if d.force && (d.out == "" || d.out == "-") {
		out = append(out, errors.New("--force needs --out FILE"))
	}
	return out
}

// check finds out before the server is asked for something, which may count as a use of the object, what would stop the
// writing.
func (d *delivery) check(k *kit) error {
	if err := joined("", d.problems()); err != nil {
		return err
	}
	switch d.out {
	case "":
		return nil
	case "-":
		if k.json {
			return usageError("--json and --out - would mix on standard output")
		}
		return nil
	}
	info, err := os.Stat(d.out)
	switch {
	case err == nil && info.IsDir():
		return usageError("--out: %s is a directory", d.out)
	case err == nil && !d.force:
		return exists(d.out)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return usageError("--out: %v", err)
	}
	if info, err := os.Stat(filepath.Dir(d.out)); err != nil || !info.IsDir() {
		return usageError("--out: there is no directory %s", filepath.Dir(d.out))
	}
	return nil
}

func exists(name string) error {
	return usageError("--out: %s exists; --force replaces it", name)
}

// writeFile writes a file with mode 0600, durably.
func writeFile(name string, data []byte, replace bool) error {
	w := &fileWriter{name: name, replace: replace}
	return w.finish(w.write(data))
}

// fileWriter writes a file with mode 0600, durably. Without replace a file that is there stays; with it a reader finds the
// old content or the new, never a part. The file is made with the first octets.
type fileWriter struct {
	name    string
	replace bool
	f       *os.File
}

func (w *fileWriter) write(data []byte) error {
	if w.f == nil {
		var err error
		if w.replace {
			w.f, err = os.CreateTemp(filepath.Dir(w.name), ".kmipctl-*") // has mode 0600
		} else {
			w.f, err = os.OpenFile(w.name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		}
		switch {
		case errors.Is(err, fs.ErrExist):
			return exists(w.name)
		case err != nil:
			return err
		}
	}
	if _, err := w.f.Write(data); err != nil {
		return fmt.Errorf("writing %s: %w", w.name, err)
	}
	return nil
}

// finish makes the file final, or takes it away when err tells that it is not whole.
func (w *fileWriter) finish(err error) error {
	if w.f == nil {
		return err
	}
	if err != nil {
		return errors.Join(err, w.f.Close(), os.Remove(w.f.Name()))
	}
	err = errors.Join(w.f.Sync(), w.f.Close())
	if err == nil && w.replace {
		err = os.Rename(w.f.Name(), w.name)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", w.name, errors.Join(err, os.Remove(w.f.Name())))
	}
	return nil
}
