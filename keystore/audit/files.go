package audit

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"kmipd/metadata"
)

// The names in the directory of a trail. A file is named by the number of its first record.
const (
	filePrefix = "audit-"
	fileSuffix = ".jsonl"
	HeadFile   = "head.json" // the newest checkpoint
	KeyFile    = "key.pem"   // the public key, for convenience: who can edit records can edit it, too
)

func fileName(first uint64) string { return fmt.Sprintf("%s%020d%s", filePrefix, first, fileSuffix) }

// firstOf is the number in a file's name.
func firstOf(name string) (uint64, bool) {
	name, ok := strings.CutPrefix(filepath.Base(name), filePrefix)
	if !ok {
		return 0, false
	}
	name, ok = strings.CutSuffix(name, fileSuffix)
	n, err := strconv.ParseUint(name, 10, 64)
	return n, ok && err == nil
}

// List finds the files of a trail in a directory, in order.
func List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if _, ok := firstOf(e.Name()); ok && e.Type().IsRegular() {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files, nil // ReadDir sorts by name, which is by number
}

// inOrder sorts files by the number in their name, else by that of their first record.
func inOrder(files []string) ([]string, error) {
	type numbered struct {
		name string
		n    uint64
	}
	var list []numbered
	for _, f := range files {
		n, ok := firstOf(f)
		if !ok {
			e, err := firstRecord(f)
			if err != nil {
				return nil, err
			}
			n = e.Seq
		}
		list = append(list, numbered{f, n})
	}
	slices.SortStableFunc(list, func(a, b numbered) int { return cmp.Compare(a.n, b.n) })
	var out []string
	for _, l := range list {
		out = append(out, l.name)
	}
	return out, nil
}

// firstRecord is the first record of a file, the zero entry when there is none that can be read.
func firstRecord(file string) (metadata.AuditEntry, error) {
	f, err := os.Open(file)
	if err != nil {
		return metadata.AuditEntry{}, err
	}
	defer f.Close() // it was read only
	line, err := bufio.NewReaderSize(f, maxLine).ReadSlice('\n')
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
		return metadata.AuditEntry{}, err
	}
	e, perr := ParseLine(trimNewline(line))
	if perr != nil {
		return metadata.AuditEntry{}, nil // the verification tells
	}
	e.Payload = slices.Clone(e.Payload)
	return e, nil
}

func trimNewline(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		return line[:n-1]
	}
	return line
}

// ErrStop ends Walk without an error.
var ErrStop = errors.New("audit: enough")

// Walk calls fn with each whole record of files that are in order, after a number. The entry is valid during the call only.
func Walk(files []string, after uint64, fn func(*metadata.AuditEntry) error) error {
	for i, name := range files {
		if i+1 < len(files) {
			if next, ok := firstOf(files[i+1]); ok && next <= after+1 {
				continue
			}
		}
		err := walkFile(name, after, fn)
		if errors.Is(err, ErrStop) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

func walkFile(name string, after uint64, fn func(*metadata.AuditEntry) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close() // it was read only
	r := bufio.NewReaderSize(f, maxLine)
	for n := 1; ; n++ {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			return nil // a line that is not whole is being written
		} else if err != nil {
			return fmt.Errorf("%s, line %d: %w", name, n, err)
		}
		e, err := ParseLine(line[:len(line)-1])
		if err != nil {
			return fmt.Errorf("%s, line %d: %w", name, n, err)
		}
		if e.Seq <= after {
			continue
		}
		if err := fn(&e); err != nil {
			return err
		}
	}
}
