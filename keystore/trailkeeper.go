package keystore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"kmipd/keystore/audit"
	"kmipd/metadata"
)

// keeper writes the files of the trail: it copies the records that are on disk in the record store, signs checkpoints, begins
// new files, and removes old ones. One goroutine owns it.
type keeper struct {
	*trail
	w    *audit.Writer
	pair auditPair
	tell chan struct{} // wakes the forwarder

	signed   uint64 // the record that is the last checkpoint
	signedAt time.Time
	pruned   uint64
	closing  bool      // the trail ends: no other file begins
	trouble  time.Time // when it was last logged
	due      time.Time // of the next summary
}

const (
	exportPause = 200 * time.Millisecond // between two writes to the file
	exportBatch = 1024
	// heartbeat is how many intervals of checkpoints there are to the next one at the latest, even when nothing happens.
	heartbeat  = 10
	signTime   = 30 * time.Second
	pruneEvery = 4096
)

// open opens the files, and holds them against the records.
func (t *trail) open(ctx context.Context) (*keeper, error) {
	k := &keeper{trail: t, tell: make(chan struct{}, 1), due: time.Now().Add(time.Minute)}
	var err error
	if k.w, err = audit.OpenWriter(t.cfg.Dir, t.cfg.Open); err != nil {
		return nil, err
	}
	if err := k.join(ctx); err != nil {
		return nil, errors.Join(err, k.w.Close())
	}
	return k, nil
}

// prepare finds or makes the key. The rest of the server does not run yet.
func (k *keeper) prepare(ctx context.Context) (err error) {
	if k.pair, err = k.s.auditKey(ctx); err != nil {
		return err
	}
	pem, err := audit.EncodeKey(k.pair.public)
	if err == nil {
		err = audit.Replace(k.cfg.Dir, audit.KeyFile, pem)
	}
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
}

// join holds the files against the chain. Files that end where the store has another record, or none yet, belong to another
// store: to go on would write two records of one number.
func (k *keeper) join(ctx context.Context) error {
	head, err := k.s.meta.AuditHead(ctx)
	if err != nil {
		return err
	}
	last := k.w.Last()
	if last.Seq > head.Seq {
		return fmt.Errorf("audit: the files in %s end with record %d, but the record store only with %d: it is older than its audit trail, "+
			"perhaps restored from a backup. kmipd fsck lists what it has lost. Move the directory away to begin a trail that says so, and keep it", k.cfg.Dir, last.Seq, head.Seq)
	}
	e := ofServer("audit files do not join")
	e.Outcome = audit.Failure
	if k.w.Damaged != "" {
		e.Facts = append(e.Facts, fact("damaged file", filepath.Base(k.w.Damaged)))
	}
	from := last.Seq
	if from > 0 {
		from-- // the last one is in the store, too, unless it was pruned
	}
	entries, err := k.s.meta.AuditEntries(ctx, from, 1)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		switch first := entries[0]; {
		case first.Seq == last.Seq && first.Hash != last.Hash, first.Seq == last.Seq+1 && first.Prev != last.Hash:
			return fmt.Errorf("audit: record %d in %s is not that of the record store: the files were edited, or belong to another store. "+
				"Move the directory away to begin a trail that says so, and keep it", last.Seq, k.cfg.Dir)
		case first.Seq > last.Seq+1:
			e.Facts = append(e.Facts, fact("files end with record", strconv.FormatUint(last.Seq, 10)),
				fact("first record in the store", strconv.FormatUint(first.Seq, 10)))
		}
	}
	k.exported.Store(last.Seq)
	k.keeping.Store(true)
	if len(e.Facts) == 0 {
		return nil
	}
	k.s.log.Error().Interface("facts", e.Facts).Msg("the audit files are not whole")
	return k.s.meta.Commit(ctx, &metadata.Batch{Audit: [][]byte{k.s.payload(e, nil)}})
}

// run keeps the trail until it ends.
func (k *keeper) run(ctx context.Context) {
	tick := time.NewTicker(min(k.cfg.Checkpoint, time.Second))
	defer tick.Stop()
	for {
		select {
		case <-k.ending:
			return
		case <-tick.C:
		case <-k.news:
		case done := <-k.asked:
			within, cancel := context.WithTimeout(ctx, k.cfg.Patience)
			done <- k.checkpoint(within, false)
			cancel()
		}
		if now := time.Now(); now.After(k.due) {
			k.due = now.Add(time.Minute)
			within, cancel := context.WithTimeout(ctx, k.cfg.Patience)
			k.summary(within)
			cancel()
		}
		k.turn(ctx)
		select {
		case <-k.ending:
			return
		case <-time.After(exportPause):
		}
	}
}

// turn writes what is new. No wait of it outlasts the trail by more than patience.
func (k *keeper) turn(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, k.cfg.Patience)
	defer cancel()
	k.log(k.export(ctx))
	if k.mustSign(ctx) {
		k.log(k.checkpoint(ctx, false))
	}
}

// log logs trouble, now and then.
func (k *keeper) log(err error) {
	if err == nil || time.Since(k.trouble) < 10*time.Second {
		return
	}
	k.trouble = time.Now()
	k.s.log.Error().Err(err).Msg("the audit trail is not written: changes are refused if this goes on")
}

// export writes what is new to the file. What is in a file is taken from the record store.
func (k *keeper) export(ctx context.Context) error {
	for {
		entries, err := k.s.meta.AuditEntries(ctx, k.w.Last().Seq, exportBatch)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			return nil
		}
		if err := k.w.Append(entries); err != nil {
			return err
		}
		last := k.w.Last().Seq
		k.exported.Store(last)
		select {
		case k.tell <- struct{}{}:
		default:
		}
		if last-k.pruned >= pruneEvery {
			if err := k.s.meta.PruneAudit(ctx, last); err != nil {
				return err
			}
			k.pruned = last
		}
		if k.w.Size() >= k.cfg.RotateSize && !k.closing {
			if err := k.rotate(ctx); err != nil {
				return err
			}
		}
	}
}

// rotate ends a file with a checkpoint and removes old ones.
func (k *keeper) rotate(ctx context.Context) error {
	sig, err := k.sign(ctx, false)
	if err != nil {
		return err
	}
	entries, err := k.s.meta.AuditEntries(ctx, k.w.Last().Seq, exportBatch)
	if err != nil {
		return err
	}
	if err := k.w.Append(entries); err != nil {
		return err
	}
	k.exported.Store(k.w.Last().Seq)
	if err := k.show(sig); err != nil {
		return err
	}
	if err := k.w.Rotate(); err != nil {
		return err
	}
	return k.removeOld(ctx)
}

// removeOld removes files beyond those to keep: the record of it is in the chain first. What was not forwarded yet stays.
func (k *keeper) removeOld(ctx context.Context) error {
	files, through, err := audit.Surplus(k.cfg.Dir, k.cfg.Keep)
	if err != nil || len(files) == 0 || k.cfg.Forward != nil && audit.Cursor(k.cfg.Dir) < through {
		return err
	}
	e := ofServer(audit.RemovedOperation)
	e.Facts = []audit.Fact{fact(audit.RemovedFact, strconv.FormatUint(through, 10)), fact("files", strconv.Itoa(len(files)))}
	if err := k.s.meta.Commit(ctx, &metadata.Batch{Audit: [][]byte{k.s.payload(e, nil)}}); err != nil {
		return err
	}
	if _, err := k.sign(ctx, false); err != nil {
		return err
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			return err
		}
	}
	return nil
}

// mustSign: there is something new and the interval is over, or the promise of the last checkpoint is nearly due.
func (k *keeper) mustSign(ctx context.Context) bool {
	head, err := k.s.meta.AuditHead(ctx)
	if err != nil {
		return false
	}
	age := time.Since(k.signedAt)
	return head.Seq != k.signed && age >= k.cfg.Checkpoint || age >= (heartbeat-2)*k.cfg.Checkpoint
}

// checkpoint signs the chain and writes the signature to the files.
func (k *keeper) checkpoint(ctx context.Context, closing bool) error {
	sig, err := k.sign(ctx, closing)
	if err != nil {
		return err
	}
	if err := k.export(ctx); err != nil {
		return err
	}
	return k.show(sig)
}

// show writes the head file. What it tells of is in the files already: who reads it before them finds it there.
func (k *keeper) show(sig *audit.Signature) error {
	if k.w.Last().Seq < sig.Seq {
		return nil // the next one comes
	}
	b, err := json.Marshal(sig)
	if err != nil {
		return err
	}
	if err := audit.Replace(k.cfg.Dir, audit.HeadFile, append(b, '\n')); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
}

// sign puts a checkpoint of the chain into the chain.
func (k *keeper) sign(ctx context.Context, closing bool) (*audit.Signature, error) {
	ctx, cancel := context.WithTimeout(ctx, signTime)
	defer cancel()
	for range 4 {
		head, err := k.s.meta.AuditHead(ctx)
		if err != nil {
			return nil, err
		}
		signer, err := k.pair.signer(ctx, k.s)
		if err != nil {
			return nil, fmt.Errorf("audit: %w", err)
		}
		sig, err := audit.Sign(signer, head, k.s.cfg.Clock(), heartbeat*k.cfg.Checkpoint, closing)
		if err != nil {
			return nil, fmt.Errorf("audit: signing a checkpoint: %w", err)
		}
		e := audit.Event{Kind: audit.KindCheckpoint, Outcome: audit.Success, Signed: sig}
		if err := k.s.meta.Commit(ctx, &metadata.Batch{Audit: [][]byte{k.s.payload(e, nil)}}); err != nil {
			return nil, err
		}
		after, err := k.s.meta.AuditHead(ctx)
		if err != nil {
			return nil, err
		}
		k.signed, k.signedAt = head.Seq+1, time.Now() // a record between is news for the next one
		if !closing || after.Seq == head.Seq+1 {
			return sig, nil
		}
		// Something came between: a checkpoint that closes the trail covers all before it.
	}
	return nil, errors.New("audit: the trail could not be closed: records went on coming")
}

// startKeeper opens the files, settles, records the start, and starts the goroutines. It settles nothing in records that are
// older than the files: what these tell of would be destroyed.
func (t *trail) startKeeper(ctx context.Context, settle func(context.Context) error) (err error) {
	var k *keeper
	if t.cfg.Dir != "" {
		if k, err = t.open(ctx); err != nil {
			return fmt.Errorf("keystore: %w", err)
		}
		defer func() {
			if err != nil {
				err = errors.Join(err, k.w.Close())
			}
		}()
	}
	if err := settle(ctx); err != nil {
		return fmt.Errorf("keystore: settling after the last stop: %w", err)
	}
	if k != nil {
		if err := k.prepare(ctx); err != nil {
			return fmt.Errorf("keystore: %w", err)
		}
	}
	if err := t.began(ctx); err != nil {
		return err
	}
	t.start()
	if k == nil {
		close(t.kept)
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	forwarded := k.forward(ctx)
	go func() {
		defer close(t.kept)
		k.run(ctx)
		<-t.flushed
		k.close(ctx)
		forwarded()
	}()
	return nil
}

// forward starts the forwarder; the function ends it.
func (k *keeper) forward(ctx context.Context) (stop func()) {
	f := k.cfg.Forward
	if f == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	f.Dir, f.Log, f.Wake = k.cfg.Dir, k.s.log, k.tell
	go func() {
		defer close(done)
		f.Run(ctx)
	}()
	return func() {
		// It has some time for the last records.
		for end := time.Now().Add(2 * time.Second); time.Now().Before(end) && f.Sent() < k.w.Last().Seq; {
			time.Sleep(20 * time.Millisecond)
		}
		cancel()
		<-done
	}
}

// close ends the trail: the record of the stop, the closing checkpoint, the file.
func (k *keeper) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, k.cfg.Patience)
	defer cancel()
	k.closing = true
	k.summary(ctx)
	err := k.s.meta.Commit(ctx, &metadata.Batch{Audit: [][]byte{k.s.payload(ofServer("stop"), nil)}})
	if err == nil {
		err = errors.Join(k.export(ctx), k.checkpoint(ctx, true))
	}
	if err == nil {
		err = k.s.meta.PruneAudit(ctx, k.w.Last().Seq)
	}
	if err = errors.Join(err, k.w.Rotate()); err != nil {
		k.s.log.Error().Err(err).Msg("closing the audit trail")
	}
}

// end ends the goroutines, after everything that makes records. Records that the store does not take within patience are lost.
func (t *trail) end() {
	if !t.queue.serve(false) {
		return
	}
	t.until.Store(time.Now().Add(t.cfg.Patience).UnixNano())
	close(t.ending)
	<-t.flushed
	<-t.kept
}

// Checkpoint signs the audit trail now and returns the signature.
func (s *Store) Checkpoint(ctx context.Context) (*audit.Signature, error) {
	t := s.trail
	done := make(chan error, 1)
	select {
	case t.asked <- done:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(finishTimeout):
		return nil, errors.New("the audit trail is not being written")
	}
	select {
	case err := <-done:
		if err != nil {
			return nil, err
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	b, err := os.ReadFile(filepath.Join(t.cfg.Dir, audit.HeadFile))
	if err != nil {
		return nil, err
	}
	return audit.ParseSignature(b)
}
