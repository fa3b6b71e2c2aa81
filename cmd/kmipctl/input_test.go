package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kmipd/kmip"
)

// parts reads an input to its end.
func parts(t *testing.T, k *kit, in *input, whole bool) (sizes []int, all []byte, marks string) {
	t.Helper()
	p, err := in.open(k, whole)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	err = p.each(func(at *part) ([]byte, error) {
		if at.data == nil {
			t.Error("nil data would be left out of the request")
		}
		if (at.correlation == nil) != at.first {
			t.Error("the first part alone has no Correlation Value")
		}
		sizes = append(sizes, len(at.data))
		all = append(all, at.data...)
		switch {
		case at.init() != nil && at.final() != nil:
			t.Error("a part is both the first and the last")
		case at.init() != nil:
			marks += "i"
		case at.final() != nil:
			marks += "f"
		default:
			marks += "-"
		}
		return []byte("stream"), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sizes, all, marks
}

func TestPieces(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "data")
	for _, tc := range []struct {
		size  int
		marks string
	}{{0, "-"}, {1, "-"}, {pieceSize - 1, "-"}, {pieceSize, "-"}, {pieceSize + 1, "if"}, {2 * pieceSize, "if"}, {3*pieceSize + 5, "i--f"}} {
		data := bytes.Repeat([]byte("0123456789abcdef~"), tc.size/17+1)[:tc.size]
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		k := &kit{version: kmip.V1_4}
		if sizes, all, marks := parts(t, k, &input{file: file}, false); marks != tc.marks || !bytes.Equal(all, data) {
			t.Errorf("%d octets: parts %v, %q, want %q", tc.size, sizes, marks, tc.marks)
		}
		// Standard input, and what cannot come in parts.
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		k.in = f
		if _, all, marks := parts(t, k, &input{file: "-"}, false); marks != tc.marks || !bytes.Equal(all, data) {
			t.Errorf("%d octets on standard input: %q", tc.size, marks)
		}
		_ = f.Close()
		if _, all, marks := parts(t, k, &input{file: file}, true); marks != "-" || !bytes.Equal(all, data) {
			t.Errorf("%d octets at once: %q", tc.size, marks)
		}
		k.version = kmip.V1_2
		if _, all, marks := parts(t, k, &input{file: file}, false); marks != "-" || !bytes.Equal(all, data) {
			t.Errorf("%d octets in KMIP 1.2: %q", tc.size, marks)
		}
	}
}

func TestPiecesHex(t *testing.T) {
	file := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(file, []byte(strings.Repeat("00:ff\n", pieceSize/2+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	k := &kit{version: kmip.V1_4}
	sizes, all, _ := parts(t, k, &input{file: file, hex: true}, false)
	if len(sizes) != 2 || sizes[1] != 2 || all[1] != 0xff {
		t.Errorf("parts %v", sizes)
	}
	if err := os.WriteFile(file, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (&input{file: file, hex: true}).open(k, false); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}

type brokenReader struct{ after int }

func (b *brokenReader) Read(p []byte) (int, error) {
	if b.after -= len(p); b.after < 0 {
		return 0, errors.New("the disk is gone")
	}
	return len(p), nil
}

func TestPiecesFail(t *testing.T) {
	open := func(r io.Reader) *pieces {
		return &pieces{name: "data", r: r, now: make([]byte, pieceSize), next: make([]byte, pieceSize)}
	}
	for _, after := range []int{0, pieceSize, 3 * pieceSize} {
		err := open(&brokenReader{after}).each(func(*part) ([]byte, error) { return []byte{1}, nil })
		if err == nil || !strings.Contains(err.Error(), "reading data: the disk is gone") {
			t.Errorf("after %d octets: %v", after, err)
		}
	}
	big := bytes.NewReader(make([]byte, 2*pieceSize))
	if err := open(big).each(func(*part) ([]byte, error) { return nil, nil }); err == nil || !strings.Contains(err.Error(), "no Correlation Value") {
		t.Errorf("got %v", err)
	}
	p := open(strings.NewReader("plain"))
	data, _, err := p.read()
	if err != nil {
		t.Fatal(err)
	}
	p.close()
	if !bytes.Equal(data, make([]byte, 5)) {
		t.Errorf("%q is left in memory", data)
	}
}

func TestSink(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "out")
	var stdout, stderr bytes.Buffer
	k := &kit{streams: streams{out: &stdout, err: &stderr}}
	write := func(d delivery, secret bool, err error, list ...string) (*outcome, [][]byte, error) {
		s := d.open(k, secret)
		var buffers [][]byte
		for _, l := range list {
			b := []byte(l)
			buffers = append(buffers, b)
			if werr := s.write(b); werr != nil {
				t.Fatal(werr)
			}
		}
		res, err := s.finish(&outcome{id: "id", name: "Data", also: []member{{"IV", octets{1}}}}, err)
		o, _ := res.(*outcome)
		return o, buffers, err
	}
	o, buffers, err := write(delivery{out: name}, true, nil, "one ", "two")
	if got, _ := os.ReadFile(name); err != nil || string(got) != "one two" || o.size != 7 || len(o.octets) > 0 {
		t.Errorf("%q, %+v, %v", got, o, err)
	}
	for _, b := range buffers {
		if !bytes.Equal(b, make([]byte, len(b))) {
			t.Errorf("%q is left in memory", b)
		}
	}
	if o, buffers, _ = write(delivery{}, true, nil, "secret"); len(o.octets) != 0 || o.size != 6 || buffers[0][0] != 0 {
		t.Errorf("kept: %+v", o)
	}
	if o, _, _ = write(delivery{show: true}, true, nil, "a", "b"); string(o.octets) != "ab" {
		t.Errorf("got %+v", o)
	}
	if o.wipe(); !bytes.Equal(o.octets, make([]byte, 2)) {
		t.Error("the plaintext is left in memory")
	}
	if _, _, err = write(delivery{out: name, force: true}, false, errors.New("halfway"), "three"); err == nil {
		t.Error("no error")
	}
	if got, _ := os.ReadFile(name); string(got) != "one two" {
		t.Errorf("a failure replaced the file: %q", got)
	}
	if _, _, err = write(delivery{out: filepath.Join(dir, "new")}, false, errors.New("halfway"), "three"); err == nil {
		t.Error("no error")
	}
	if list, _ := os.ReadDir(dir); len(list) != 1 {
		t.Errorf("left behind: %v", list)
	}
	if o, _, err = write(delivery{out: "-"}, false, nil, "to all"); err != nil || stdout.String() != "to all" || stderr.String() != "IV  01\n" || !o.silent() {
		t.Errorf("%q, %q, %v", stdout.String(), stderr.String(), err)
	}
	s := (&delivery{}).open(k, false)
	if err := s.write(make([]byte, maxFile+1)); err == nil {
		t.Error("16 MiB are printed")
	}
	if err := (&delivery{out: name}).open(k, false).write([]byte("x")); err == nil || !errors.Is(err, errUsage) {
		t.Errorf("a file was replaced: %v", err)
	}
}
