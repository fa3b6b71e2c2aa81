package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares with a file in testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}

// frozen stops the clock of relative dates.
func frozen(t *testing.T) {
	t.Helper()
	old := clock
	clock = func() time.Time { return time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC) }
	t.Cleanup(func() { clock = old })
}

// call runs a command line in this process.
func call(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	in, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	code = run(context.Background(), streams{in, &o, &e}, args)
	return code, o.String(), e.String()
}

// noEnvironment hides the caller's own settings.
func noEnvironment(t *testing.T) {
	t.Helper()
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, envPrefix) {
			t.Setenv(name, "")
		}
	}
}

// show is a payload or an item as indented JSON.
func show(t *testing.T, it ttlv.Item) []byte {
	t.Helper()
	b, err := json.MarshalIndent(decodeStructure(it, tagLabel), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

func payload(p structureWriter) ttlv.Item {
	return ttlv.Make(p.Append(nil, kmip.TagRequestPayload, kmip.V1_4))
}

type structureWriter interface {
	Append([]byte, ttlv.Tag, kmip.Version) []byte
}
