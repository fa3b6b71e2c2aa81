package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"kmipd/metadata"
)

// File is what a Writer needs of an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Stat() (fs.FileInfo, error)
	Close() error
}

// OpenFunc opens a file as os.OpenFile does.
type OpenFunc func(name string, flag int, perm fs.FileMode) (File, error)

func openOS(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err // not a File that holds a nil *os.File
	}
	return f, nil
}

// Writer writes the files of a trail. One goroutine owns it. What it writes goes to a fixed place behind the last record that
// is on disk: a write that fails half way, on a full disk, leaves nothing that the next one does not replace.
type Writer struct {
	dir  string
	open OpenFunc
	f    File // nil when the next record begins a file
	size int64
	last metadata.AuditHead
	buf  []byte

	// Damaged names the file whose end was not understood at the start, and which was put aside; "" for none.
	Damaged string
}

// OpenWriter goes on with the trail in a directory, which it makes when it is not there. A line that a crash cut off is
// removed: its record is still in the record store. open may be nil.
func OpenWriter(dir string, open OpenFunc) (*Writer, error) {
	if open == nil {
		open = openOS
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	if err := errors.Join(syncDir(dir), syncDir(filepath.Dir(dir))); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	w := &Writer{dir: dir, open: open}
	files, err := List(dir)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	for _, name := range slices.Backward(files) {
		if err := w.resume(name); err != nil {
			return nil, fmt.Errorf("audit: %w", err)
		}
		if w.last.Seq != 0 || w.Damaged != "" {
			break
		}
	}
	return w, nil
}

// resume opens a file and finds its last record. An empty file is removed: it was made just before a crash.
func (w *Writer) resume(name string) error {
	f, err := w.open(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	size, last, err := endOf(f)
	switch {
	case errors.Is(err, errLine):
		w.Damaged = name
		return errors.Join(f.Close(), os.Rename(name, name+".damaged"), syncDir(w.dir))
	case err != nil:
		return errors.Join(err, f.Close())
	case size == 0:
		return errors.Join(f.Close(), os.Remove(name))
	}
	w.f, w.size, w.last = f, size, last
	return nil
}

// endOf finds the last whole record of a file, and cuts off what follows it.
func endOf(f File) (int64, metadata.AuditHead, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, metadata.AuditHead{}, err
	}
	size := info.Size()
	from := max(0, size-2*maxLine)
	tail := make([]byte, size-from)
	if _, err := f.ReadAt(tail, from); err != nil && !errors.Is(err, io.EOF) {
		return 0, metadata.AuditHead{}, err
	}
	end := bytes.LastIndexByte(tail, '\n') + 1
	if end == 0 {
		if from > 0 {
			return 0, metadata.AuditHead{}, errLine
		}
		return 0, metadata.AuditHead{}, f.Truncate(0)
	}
	line := tail[bytes.LastIndexByte(tail[:end-1], '\n')+1 : end-1]
	e, err := ParseLine(line)
	if err == nil && !Intact(&e) {
		err = errLine
	}
	if err != nil {
		return 0, metadata.AuditHead{}, err
	}
	if end < len(tail) {
		if err := errors.Join(f.Truncate(from+int64(end)), f.Sync()); err != nil {
			return 0, metadata.AuditHead{}, err
		}
	}
	return from + int64(end), metadata.AuditHead{Seq: e.Seq, Hash: e.Hash}, nil
}

// Last is the last record that is in the files and on disk.
func (w *Writer) Last() metadata.AuditHead { return w.last }

// Size is that of the present file in octets.
func (w *Writer) Size() int64 { return w.size }

// Append writes records that follow on Last. All of them are on disk when it returns nil, else none counts.
func (w *Writer) Append(entries []metadata.AuditEntry) error {
	if len(entries) == 0 {
		return nil
	}
	if w.f == nil {
		name := filepath.Join(w.dir, fileName(entries[0].Seq))
		f, err := w.open(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return fmt.Errorf("audit: %w", err)
		}
		if err := syncDir(w.dir); err != nil {
			return fmt.Errorf("audit: %w", errors.Join(err, f.Close()))
		}
		w.f, w.size = f, 0
	}
	w.buf = w.buf[:0]
	for i := range entries {
		w.buf = AppendLine(w.buf, &entries[i])
	}
	if _, err := w.f.WriteAt(w.buf, w.size); err != nil {
		return fmt.Errorf("audit: writing: %w", errors.Join(err, w.f.Truncate(w.size)))
	}
	if err := w.f.Sync(); err != nil {
		return fmt.Errorf("audit: writing: %w", err)
	}
	w.size += int64(len(w.buf))
	end := entries[len(entries)-1]
	w.last = metadata.AuditHead{Seq: end.Seq, Hash: end.Hash}
	return nil
}

// Rotate ends the present file: the next record begins another.
func (w *Writer) Rotate() error {
	if w.f == nil {
		return nil
	}
	f := w.f
	w.f, w.size = nil, 0
	return f.Close()
}

// Close ends the writing.
func (w *Writer) Close() error { return w.Rotate() }

// Surplus lists the oldest files when there are more than keep, and the last record in them. 0 keeps all.
func Surplus(dir string, keep int) (files []string, through uint64, err error) {
	all, err := List(dir)
	if err != nil || keep <= 0 || len(all) <= keep {
		return nil, 0, err
	}
	first, _ := firstOf(all[len(all)-keep])
	return all[:len(all)-keep], first - 1, nil
}

// Replace writes a small file so that it is there whole, the old one or the new one, whatever happens.
func Replace(dir, name string, content []byte) error {
	path := filepath.Join(dir, name)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
