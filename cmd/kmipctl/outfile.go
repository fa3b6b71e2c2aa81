package main

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"kmipd/kmip"
)

// checkOut finds out before the object is asked for whether its file may be written.
func (g *get) checkOut() error {
	if g.out == "" || g.out == "-" {
		return nil
	}
	info, err := os.Stat(g.out)
	switch {
	case err == nil && info.IsDir():
		return usageError("--out: %s is a directory", g.out)
	case err == nil && !g.force:
		return exists(g.out)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return usageError("--out: %v", err)
	}
	if info, err := os.Stat(filepath.Dir(g.out)); err != nil || !info.IsDir() {
		return usageError("--out: there is no directory %s", filepath.Dir(g.out))
	}
	return nil
}

func exists(name string) error {
	return usageError("--out: %s exists; --force replaces it", name)
}

// writeFile writes a file with mode 0600, durably. Without replace a file that is there stays; with it a reader finds the
// old content or the new, never a part.
func writeFile(name string, data []byte, replace bool) error {
	var f *os.File
	var err error
	if replace {
		f, err = os.CreateTemp(filepath.Dir(name), ".kmipctl-*") // has mode 0600
	} else {
		f, err = os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return exists(name)
	case err != nil:
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil && replace {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

// pem is the material as PEM. Only some formats have a label.
func (m *material) pem(view *objectView) ([]byte, error) {
	label := ""
	switch f := view.format; {
	case view.Object.Wrapping != nil:
		return nil, errors.New("a wrapped key has no PEM form: leave --pem out")
	case view.object == kmip.ObjectTypeCertificate && view.Object.CertificateType == kmip.CertificateTypeX509.String():
		label = "CERTIFICATE"
	case view.object == kmip.ObjectTypePrivateKey && f == kmip.KeyFormatTypePKCS8 && encrypted(m.value):
		label = "ENCRYPTED PRIVATE KEY"
	default:
		for _, p := range pemFormats {
			if p.object == view.object && p.format == f && p.label != "ENCRYPTED PRIVATE KEY" {
				label = p.label
			}
		}
	}
	if label == "" || m.value == nil {
		what := view.ObjectType
		if view.Object.KeyFormatType != "" {
			what += " in the format " + view.Object.KeyFormatType
		}
		return nil, fmt.Errorf("a %s has no PEM form: leave --pem out, or ask for another --format", what)
	}
	return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: m.value}), nil
}
