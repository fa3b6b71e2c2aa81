// Package pebble is the embedded engine of package metadata: one Pebble database in one directory, used by one process.
//
// Writers of the same record or of the same Name take turns by short reservations in memory, and no lock is held while
// the disk syncs, so commits of different records share their fsyncs. Pebble shows a write to readers before it is
// synced; Get, ByName and Locate therefore wait for the sync of what they found, and nothing that a crash could take back
// leaves this package.
package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	pdb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/rs/zerolog"

	"kmipd/metadata"
)

// formatVersion is the version of the key layout. A store with a higher one is refused. Version 2 has an audit chain: a kmipd
// that does not know it must not change anything without a record.
const formatVersion = 2

// Options are the settings of a Store. The zero value is fit for use.
type Options struct {
	Logger    zerolog.Logger
	CacheSize int64            // octets of the block cache; 0 means 64 MiB
	FS        vfs.FS           // for tests; nil means the real one
	Clock     func() time.Time // for the warnings about slow commits; nil means time.Now
	Reindex   bool             // build the indexes anew even if they are current
	// OnFailure is called once, on a goroutine of its own, when the engine cannot go on (the disk does not sync). All
	// calls give metadata.ErrFailed from then on. The process should end.
	OnFailure func(error)
}

// Store is a metadata.Store. It is safe for concurrent use.
type Store struct {
	db        *pdb.DB
	cache     *pdb.Cache
	lock      *pdb.Lock
	log       zerolog.Logger
	clock     func() time.Time
	onFailure func(error)

	life    lifetime
	failure atomic.Pointer[failure]
	stopped chan struct{} // closed after failure is set
	// applying admits one writer at a time to the memory part of pebble's commit, without the sync, so that a wait for it
	// can end with a context or a failure; in pebble it could not.
	applying chan struct{}
	claims   claims
	records  recordCache
	counts   counters
	pending  pendingList
	chain    chain
}

var _ metadata.Store = (*Store)(nil)

type failure struct{ cause error }

// slowCommit is when a commit is worth a warning.
const slowCommit = time.Second

// Open opens or makes the store in a directory. Errors: metadata.ErrLocked when it is open elsewhere, metadata.ErrFormat
// when a newer kmipd wrote it, metadata.ErrCorrupt when what is there is damaged, and those of the file system.
func Open(dir string, o Options) (*Store, error) {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.CacheSize <= 0 {
		o.CacheSize = 64 << 20
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if err := makeDirectory(dir, o.FS); err != nil {
		return nil, fmt.Errorf("metadata: making the store's directory: %w", err)
	}
	lock, err := lockDirectory(dir, o.FS)
	if err != nil {
		return nil, err
	}
	s := &Store{lock: lock, log: o.Logger, clock: o.Clock,
		onFailure: o.OnFailure, applying: make(chan struct{}, 1), stopped: make(chan struct{})}
	if err := s.open(dir, o); err != nil {
		return nil, errors.Join(err, s.closeAll())
	}
	return s, nil
}

// makeDirectory makes the directory and those above it, and syncs the entries of the new ones: a synced file in a
// directory whose own entry a crash takes away is lost.
func makeDirectory(dir string, fsys vfs.FS) error {
	var missing []string
	for d := dir; ; d = fsys.PathDir(d) {
		_, err := fsys.Stat(d)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if missing = append(missing, d); fsys.PathDir(d) == d {
			break
		}
	}
	if err := fsys.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, d := range missing {
		parent, err := fsys.OpenDir(fsys.PathDir(d))
		if err != nil {
			return err
		}
		if err := errors.Join(parent.Sync(), parent.Close()); err != nil {
			return err
		}
	}
	return nil
}

func lockDirectory(dir string, fsys vfs.FS) (*pdb.Lock, error) {
	lock, err := pdb.LockDirectory(dir, fsys)
	switch {
	case err == nil:
		return lock, nil
	case errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOSPC):
		return nil, fmt.Errorf("metadata: locking the store's directory: %w", err)
	}
	// Pebble has no sentinel for "already locked", and two different texts.
	return nil, fmt.Errorf("%w: %w", metadata.ErrLocked, err)
}

func (s *Store) open(dir string, o Options) error {
	s.cache = pdb.NewCache(o.CacheSize)
	logs := &logFS{FS: o.FS, store: s}
	po := &pdb.Options{
		FS:    logs,
		Cache: s.cache,
		Lock:  s.lock,
		// Pinned, so that upgrading pebble alone never makes a store that the previous kmipd cannot read. This one has
		// checksums over what a crash may cut off in the log and in table footers.
		FormatMajorVersion: pdb.FormatTableFormatV6,
		MemTableSize:       16 << 20,
		LoggerAndTracer:    pebbleLog{s: s},
		EventListener:      s.events(),
	}
	for i := range po.Levels {
		po.Levels[i].FilterPolicy = bloom.FilterPolicy(10) // most point reads of a create ask for what is not there
	}
	if o.FS == vfs.Default {
		po.WithFSDefaults()
	}
	if err := clearHalfMade(dir, o.FS); err != nil {
		return fmt.Errorf("metadata: clearing a store that was never made whole: %w", err)
	}
	if err := s.openEngine(dir, po); err != nil {
		return err
	}
	logs.armed.Store(true)
	if err := s.checkFormat(); err != nil {
		return err
	}
	if err := s.checkIndex(o.Reindex); err != nil {
		return err
	}
	if err := s.loadChain(); err != nil {
		return err
	}
	return s.loadPending()
}

// clearHalfMade removes what a crash within the very first Open can leave: pebble's marker that names a manifest, without
// that manifest. Pebble syncs the two directory entries together, and a disk may keep only the later one. Nothing was
// written to such a store: it has no log and no table, or it is left as it is for pebble to complain of.
func clearHalfMade(dir string, fsys vfs.FS) error {
	names, err := fsys.List(dir)
	if err != nil {
		return err
	}
	var markers []string
	for _, name := range names {
		switch {
		case strings.HasPrefix(name, "marker.manifest."):
			markers = append(markers, name)
		case strings.HasPrefix(name, "MANIFEST-"), strings.HasSuffix(name, ".log"), strings.HasSuffix(name, ".sst"), strings.HasSuffix(name, ".blob"):
			return nil
		}
	}
	for _, name := range markers {
		if err := fsys.Remove(fsys.PathJoin(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// openEngine is pebble's Open, which hangs in our Fatalf when it cannot go on.
func (s *Store) openEngine(dir string, po *pdb.Options) error {
	type result struct {
		db  *pdb.DB
		err error
	}
	done := make(chan result, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- result{err: fmt.Errorf("panic: %v", p)}
			}
		}()
		db, err := pdb.Open(dir, po)
		done <- result{db, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return engineError("opening the store", r.err)
		}
		s.db = r.db
		return nil
	case <-s.stopped:
		return s.failed()
	}
}

// checkFormat compares the format version, or writes it into an empty store.
func (s *Store) checkFormat() error {
	v, err := s.number(formatKey)
	switch {
	case errors.Is(err, metadata.ErrNotFound):
		return s.initialise()
	case err != nil:
		return err
	case v > formatVersion:
		return fmt.Errorf("%w: its format is %d, ours %d", metadata.ErrFormat, v, formatVersion)
	case v < formatVersion:
		b := s.db.NewBatch()
		setNumber(b, formatKey, formatVersion)
		return s.write(context.Background(), b, true, nil)
	}
	return nil
}

func (s *Store) initialise() error {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return engineError("reading", err)
	}
	found := it.First()
	if err := it.Close(); err != nil {
		return engineError("reading", err)
	}
	if found {
		return fmt.Errorf("%w: the store has values but no format version", metadata.ErrCorrupt)
	}
	b := s.db.NewBatch()
	setNumber(b, formatKey, formatVersion)
	setNumber(b, rulesKey, metadata.IndexRules)
	return s.write(context.Background(), b, true, nil)
}

func setNumber(b *pdb.Batch, key []byte, n uint32) {
	_ = b.Set(key, binary.BigEndian.AppendUint32(nil, n), nil) // a Batch in memory does not fail
}

func (s *Store) number(key []byte) (uint32, error) {
	v, err := s.value(s.db, key)
	if err != nil {
		return 0, err
	}
	if len(v) != 4 {
		return 0, fmt.Errorf("%w: %s", metadata.ErrCorrupt, key)
	}
	return binary.BigEndian.Uint32(v), nil
}

// Close ends the store after the calls that are running. Later calls give metadata.ErrClosed.
func (s *Store) Close() error {
	if !s.life.end() {
		return metadata.ErrClosed
	}
	return s.closeAll()
}

func (s *Store) closeAll() error {
	var errs []error
	// A failed engine may still hold locks of its own, and what it has to say adds nothing.
	if s.db != nil && s.failure.Load() == nil {
		if err := s.guard(s.db.Close); err != nil {
			errs = append(errs, engineError("closing the store", err))
		}
	}
	if s.cache != nil && s.failure.Load() == nil {
		s.cache.Unref()
	}
	if err := s.lock.Close(); err != nil {
		errs = append(errs, fmt.Errorf("metadata: unlocking the store's directory: %w", err))
	}
	return errors.Join(errs...)
}

// enter starts a call; leave must be called at its end. After a failure nothing is read either, as memory may hold what
// the disk does not.
func (s *Store) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.failed(); err != nil {
		return err
	}
	if !s.life.enter() {
		return metadata.ErrClosed
	}
	return nil
}

func (s *Store) leave() { s.life.leave() }

func (s *Store) failed() error {
	if f := s.failure.Load(); f != nil {
		return fmt.Errorf("%w: %w", metadata.ErrFailed, f.cause)
	}
	return nil
}

// fail stops the store for good.
func (s *Store) fail(cause error) {
	if !s.failure.CompareAndSwap(nil, &failure{cause}) {
		return
	}
	close(s.stopped)
	s.log.Error().Err(cause).Msg("metadata store has failed and stops")
	if s.onFailure != nil {
		go s.onFailure(cause)
	}
}

// engineError puts our words before pebble's error, and marks damage as ours.
func engineError(doing string, err error) error {
	if errors.Is(err, pdb.ErrCorruption) {
		return fmt.Errorf("%w: %s: %w", metadata.ErrCorrupt, doing, err)
	}
	return fmt.Errorf("metadata: %s: %w", doing, err)
}
