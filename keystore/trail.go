package keystore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kmipd/keystore/audit"
	"kmipd/kmip"
	"kmipd/metadata"
)

// AuditConfig is about the audit trail.
type AuditConfig struct {
	Dir        string        // of its files; "" leaves the records in the record store
	RotateSize int64         // octets after which another file is begun; 0 for 64 MiB
	Keep       int           // files that are kept; 0 for all
	Checkpoint time.Duration // between two signatures while there is something new; 0 for a minute
	Backlog    uint64        // records that may wait for their file before changes are refused; 0 for 100,000
	Patience   time.Duration // of one wait for the record store; 0 for finishTimeout
	// Releases says whether an answer with key material in clear waits until its record is on disk; "" for: in strict
	// policies.
	Releases AuditReleases
	// Forward sends the records to a receiver; nil for nobody.
	Forward *audit.Forwarder
	// Facts are told in the record of the start.
	Facts []audit.Fact
	// Open opens the files; nil for os.OpenFile. For tests.
	Open audit.OpenFunc
}

// AuditReleases is when the record of a release in clear is durable.
type AuditReleases string

// The ways. Waiting costs a Get an fsync, which it shares with those that come at the same time.
const (
	ReleasesDurable AuditReleases = "durable" // before the answer leaves
	ReleasesQueued  AuditReleases = "queued"  // as every record of a read, within about 100 ms
)

func (c *AuditConfig) complete() {
	if c.RotateSize == 0 {
		c.RotateSize = 64 << 20
	}
	if c.Checkpoint == 0 {
		c.Checkpoint = time.Minute
	}
	if c.Backlog == 0 {
		c.Backlog = 100_000
	}
	if c.Patience == 0 {
		c.Patience = finishTimeout
	}
}

// trail takes the records that come with no change to the chain, in groups, and has a keeper (trailkeeper.go) that writes
// the files.
type trail struct {
	s   *Store
	cfg AuditConfig

	queue    *recordQueue
	limits   strangers
	lost     atomic.Uint64 // records of refusals for which the queue had no room in time
	exported atomic.Uint64 // the last record that is in a file
	keeping  atomic.Bool   // there is a keeper, and exported is right
	news     chan struct{} // holds a value when there may be new records for the keeper
	asked    chan chan error
	until    atomic.Int64 // when the end of the trail gives up, in Unix nanoseconds; 0 while it goes on

	ending  chan struct{} // closed when they are to end
	flushed chan struct{} // closed when the queue's goroutine has ended
	kept    chan struct{} // closed when the keeper has ended
}

const (
	queueLength = 4096
	groupTime   = 100 * time.Millisecond // how long a record that nobody waits for may be in memory alone
	groupSize   = 1024
)

func newTrail(s *Store, cfg AuditConfig) *trail {
	cfg.complete()
	return &trail{s: s, cfg: cfg, queue: newRecordQueue(), news: make(chan struct{}, 1), asked: make(chan chan error),
		limits: strangers{counts: map[string]uint64{}}}
}

// wake tells the keeper that there are new records.
func (t *trail) wake() {
	signal(t.news)
}

var errTrail = errors.New("the audit trail is not written: its files cannot take more records")

// unwritable is the refusal while the trail cannot be written.
func unwritable(cause error) error {
	return kmip.Errorf(kmip.ResultReasonGeneralFailure, "the audit trail cannot be written; try again later").Because(cause)
}

// ready refuses changes while too many records wait for their file, as on a full disk.
func (t *trail) ready(ctx context.Context) error { return t.room(ctx, t.cfg.Backlog) }

func (t *trail) room(ctx context.Context, most uint64) error {
	if !t.keeping.Load() {
		return nil
	}
	head, err := t.s.meta.AuditHead(ctx)
	if err != nil {
		return toKMIP(err)
	}
	if exported := t.exported.Load(); head.Seq > exported && head.Seq-exported > most {
		return unwritable(errTrail)
	}
	return nil
}

// put takes a record. With wait it returns when the record is on disk, else when it has a place in the queue. Records of what
// changes nothing have twice the room of changes.
func (t *trail) put(ctx context.Context, payload []byte, wait bool) error {
	if err := t.room(ctx, 2*t.cfg.Backlog); err != nil {
		t.lost.Add(1)
		return err
	}
	if wait {
		// Without a detour: the record store shares its syncs among those who wait for one.
		if err := t.s.meta.Commit(ctx, &metadata.Batch{Audit: [][]byte{payload}}); err != nil {
			t.lost.Add(1)
			return unwritable(err)
		}
		t.wake()
		return nil
	}
	if queued, err := t.queue.put(ctx, payload); err != nil {
		t.lost.Add(1)
		return unwritable(err)
	} else if !queued {
		return toKMIP(t.s.meta.Commit(ctx, &metadata.Batch{Audit: [][]byte{payload}}))
	}
	return nil
}

// offer takes a record if there is room now.
func (t *trail) offer(payload []byte) {
	if _, took := t.queue.try(payload); !took {
		t.lost.Add(1)
	}
}

// note takes a record of the server's own: into the queue, or while nobody works on that, into the store.
func (t *trail) note(payload []byte) {
	if t.s.meta == nil {
		return // a command or a self-test without records: the log has it
	}
	if open, took := t.queue.try(payload); open {
		if !took {
			t.lost.Add(1)
		}
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), finishTimeout)
	defer cancel()
	if err := t.s.meta.Commit(ctx, &metadata.Batch{Audit: [][]byte{payload}}); err != nil {
		t.s.log.Error().Err(err).Msg("recording an event of the server")
	}
}

// start starts the goroutines.
func (t *trail) start() {
	t.ending, t.flushed, t.kept = make(chan struct{}), make(chan struct{}), make(chan struct{})
	t.queue.serve(true)
	go func() {
		defer close(t.flushed)
		t.flush()
	}()
}

// flush writes the queue to the chain until the trail ends. A group is written when its first record has waited for groupTime,
// or when it is large.
func (t *trail) flush() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-t.queue.first:
			timer.Reset(groupTime)
			select {
			case <-timer.C:
			case <-t.queue.full:
			case <-t.ending:
			}
		case <-t.ending: // nobody puts anything into the queue any more
			t.writeAll(t.queue.take())
			return
		}
		t.writeAll(t.queue.take())
	}
}

func (t *trail) writeAll(records [][]byte) {
	for group := range slices.Chunk(records, groupSize) {
		t.write(group)
	}
}

// write commits a group. Only the end of the store ends the attempts, or that of the trail and of its patience.
func (t *trail) write(group [][]byte) {
	for {
		ctx, cancel := context.WithDeadline(context.Background(), t.giveUp())
		err := t.s.meta.Commit(ctx, &metadata.Batch{Audit: group})
		cancel()
		if err == nil {
			t.wake()
			return
		}
		until := t.until.Load()
		late := until != 0 && time.Now().UnixNano() > until
		if late || errors.Is(err, metadata.ErrFailed) || errors.Is(err, metadata.ErrClosed) {
			t.lost.Add(uint64(len(group)))
			t.s.log.Error().Err(err).Int("records", len(group)).Msg("audit records are lost with the record store")
			return
		}
		t.s.log.Error().Err(err).Int("records", len(group)).Msg("audit records are not written yet")
		time.Sleep(groupTime)
	}
}

// giveUp is when an attempt to write a group ends: after patience, and once the trail has ended not long after that is over, for
// many groups may wait.
func (t *trail) giveUp() time.Time {
	now := time.Now()
	at := now.Add(t.cfg.Patience)
	until := t.until.Load()
	if until == 0 {
		return at
	}
	last := time.Unix(0, max(until, now.Add(t.cfg.Patience/20).UnixNano()))
	if last.Before(at) {
		return last
	}
	return at
}

// The kinds of events that strangers can cause, and how many of each are recorded one by one in a minute.
const (
	limitConnections  = "connections"
	limitCertificates = "unknown certificates"
	limitPerMinute    = 60
)

// strangers counts what strangers cause, lest they fill the disk.
type strangers struct {
	mu     sync.Mutex
	counts map[string]uint64 // by kind, in this minute
}

func (l *strangers) allow(kind string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[kind]++
	return l.counts[kind] <= limitPerMinute
}

// turn begins another minute and returns what was not recorded one by one.
func (l *strangers) turn() map[string]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	over := map[string]uint64{}
	for kind, n := range l.counts {
		if n > limitPerMinute {
			over[kind] = n - limitPerMinute
		}
	}
	clear(l.counts)
	return over
}

// summary records what was only counted.
func (t *trail) summary(ctx context.Context) {
	counts := t.limits.turn()
	if n := t.lost.Swap(0); n > 0 {
		counts["events without room"] = n
	}
	b := &metadata.Batch{}
	for kind, n := range counts {
		e := audit.Event{Kind: audit.KindConnection, Outcome: audit.Failure, Operation: "further " + kind, Count: n}
		b.Audit = append(b.Audit, t.s.payload(e, nil))
	}
	if len(b.Audit) == 0 {
		return
	}
	if err := t.s.meta.Commit(ctx, b); err != nil {
		t.s.log.Error().Err(err).Msg("recording how many events were only counted")
	}
}

// began tells of the start in the trail.
func (t *trail) began(ctx context.Context) error {
	info, cfg := t.s.token.Info(), &t.s.cfg
	e := ofServer("start")
	e.Facts = append(e.Facts, fact("version", cfg.Version), fact("build", cfg.Build), fact("token", info.Label), fact("token serial", info.Serial),
		fact("token model", info.Manufacturer+" "+info.Model), fact("token firmware", info.Firmware), fact("library", info.Library))
	e.Facts = append(e.Facts, t.cfg.Facts...)
	if err := t.s.meta.Commit(ctx, &metadata.Batch{Audit: [][]byte{t.s.payload(e, nil)}}); err != nil {
		return fmt.Errorf("keystore: recording the start: %w", err)
	}
	return nil
}
