package pebble

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// logFS stands between pebble and the file system and watches what its log depends on. When the log cannot be written or
// synced, pebble panics while it holds locks of its own, some of which end the process at once. So such an error never
// reaches pebble: the store is stopped, its callers get their error, and the goroutine inside pebble is held for good.
// Errors of other files go to pebble, which copes with them or calls Fatalf.
type logFS struct {
	vfs.FS
	store *Store
	armed atomic.Bool // off while the store is being opened: errors are then an answer to give
}

// Unwrap implements vfs.FS.
func (f *logFS) Unwrap() vfs.FS { return f.FS }

// check stops the store on an error, and then does not return.
func (f *logFS) check(doing string, err error) error {
	if err == nil || !f.armed.Load() {
		return err
	}
	f.store.fail(fmt.Errorf("%s: %w", doing, err))
	select {}
}

func isLog(name string) bool { return strings.HasSuffix(name, ".log") }

func (f *logFS) watch(name string, file vfs.File, doing string, err error) (vfs.File, error) {
	if isLog(name) {
		err = f.check(doing, err)
	}
	if err != nil {
		return nil, err
	}
	if !isLog(name) {
		return file, nil
	}
	return &logFile{File: file, fs: f}, nil
}

// Create implements vfs.FS.
func (f *logFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, category)
	return f.watch(name, file, "making a log", err)
}

// ReuseForWrite implements vfs.FS.
func (f *logFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.ReuseForWrite(oldname, newname, category)
	return f.watch(newname, file, "using a log again", err)
}

// OpenDir implements vfs.FS. A new log is not durable before its directory is synced.
func (f *logFS) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &logFile{File: file, fs: f}, nil
}

// logFile is a log, or the directory.
type logFile struct {
	vfs.File
	fs *logFS
}

func (f *logFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	return n, f.fs.check("writing the log", err)
}

func (f *logFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(p, off)
	return n, f.fs.check("writing the log", err)
}

func (f *logFile) Sync() error { return f.fs.check("syncing the log", f.File.Sync()) }

func (f *logFile) SyncData() error { return f.fs.check("syncing the log", f.File.SyncData()) }

func (f *logFile) SyncTo(length int64) (bool, error) {
	full, err := f.File.SyncTo(length)
	return full, f.fs.check("syncing the log", err)
}

func (f *logFile) Close() error { return f.fs.check("closing the log", f.File.Close()) }
