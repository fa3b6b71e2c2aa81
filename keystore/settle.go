package keystore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"kmipd/hsm"
	"kmipd/keystore/audit"
	"kmipd/kmip"
	"kmipd/metadata"
)

// settle finishes what the last stop interrupted. An intent whose record does not exist (or does not have the intent's
// token object) stands for a token object that nobody was told of: it goes. A destroying record stands for a Destroy that
// may have been acknowledged: its token object goes, too.
func (s *Store) settle(ctx context.Context) error {
	intents, err := s.meta.Intents(ctx)
	if err != nil {
		return err
	}
	for _, in := range intents {
		if err := s.settleIntent(ctx, in); err != nil {
			return err
		}
	}
	if len(intents) > 0 {
		// A creation that was cut off inside the token can leave an object without class or CKA_ID, which no intent names.
		n, err := s.token.DestroyBroken(ctx)
		if err != nil {
			return err
		}
		if n > 0 {
			s.log.Warn().Int("objects", n).Msg("removed what interrupted creations left on the token")
		}
	}
	var destroying []string
	err = s.meta.Records(ctx, func(rec *metadata.Record) error {
		if rec.Phase == metadata.PhaseDestroying {
			destroying = append(destroying, rec.UID)
		}
		s.noteCreated(rec.Created.UnixNano())
		return nil
	})
	if errors.Is(err, metadata.ErrCorrupt) {
		// One damaged record must not keep all the others from their clients.
		s.log.Error().Err(err).Msg("damaged records are left alone; kmipd fsck tells which")
	} else if err != nil {
		return err
	}
	for _, uid := range destroying {
		if err := s.finishDestroy(ctx, uid, ofServer("finish an interrupted Destroy")); err != nil {
			return err
		}
		s.log.Info().Str("uid", uid).Msg("finished a Destroy that was interrupted")
	}
	return nil
}

func (s *Store) settleIntent(ctx context.Context, in metadata.Intent) error {
	rec, err := s.meta.Get(ctx, in.UID)
	if err != nil && !isNotFound(err) {
		return err
	}
	if err != nil || rec.Handle.ID != in.ID {
		r := hsm.Ref{Class: hsm.Class(in.Class), ID: hsm.TokenID(in.ID)}
		if err := s.token.Destroy(ctx, r); err != nil && !errors.Is(err, hsm.ErrNotFound) {
			return err
		}
		s.log.Info().Str("uid", in.UID).Str("operation", in.Operation).Msg("took back an operation that was interrupted")
		e := ofServer("take back an interrupted operation")
		e.Objects, e.Facts = []audit.Object{{UID: in.UID}}, []audit.Fact{fact("interrupted", in.Operation), fact("token object", r.ID.String())}
		b := &metadata.Batch{DropIntents: [][16]byte{in.ID}}
		s.dropGCM(b, r)
		return s.commit(ctx, b, e)
	}
	return s.bookkeep(ctx, &metadata.Batch{DropIntents: [][16]byte{in.ID}})
}

// noteCreated keeps creation instants increasing over restarts, should the clock have gone back.
func (s *Store) noteCreated(nanos int64) {
	if nanos > s.lastCreated.Load() {
		s.lastCreated.Store(nanos)
	}
}

// Report is what Fsck found. The lists hold Unique Identifiers or, for token objects, CKA_IDs in hexadecimal.
type Report struct {
	Records    int      `json:"records"`
	Objects    int      `json:"token_objects"`
	Orphans    []string `json:"orphans"`      // token objects that no record has
	Missing    []string `json:"missing"`      // live records whose token object does not exist
	Duplicates []string `json:"duplicates"`   // CKA_IDs that several token objects or records of one class have
	Broken     int      `json:"broken"`       // token objects without class or CKA_ID
	Unsettled  []string `json:"unsettled"`    // intents and destroying records
	Damaged    []string `json:"damaged"`      // what could not be read
	Drifted    []string `json:"drifted"`      // token objects whose label is not their record's Unique Identifier
	Flags      []string `json:"flags"`        // keys whose flags on the token are not their record's, with the flags
	Lost       []string `json:"lost"`         // changes that the audit trail tells of and the records do not have, in words
	Repaired   []string `json:"repaired"`     // what was done about it
	Foreign    int      `json:"not_by_kmipd"` // token objects that do not look like kmipd's: left alone
}

// Clean tells that nothing is wrong.
func (r *Report) Clean() bool {
	return len(r.Orphans)+len(r.Missing)+len(r.Duplicates)+r.Broken+len(r.Unsettled)+len(r.Damaged)+len(r.Drifted)+len(r.Flags)+len(r.Lost) == 0
}

// Fsck compares token and records both ways. With repair it destroys orphans and broken token objects, settles what is
// unsettled, and leaves everything that might lose a key to the operator; it refuses to when the audit trail tells of later
// changes than the records have, or cannot be read. It wants a store that nobody else is using.
func (s *Store) Fsck(ctx context.Context, repair bool) (*Report, error) {
	rep := &Report{Orphans: []string{}, Missing: []string{}, Duplicates: []string{}, Unsettled: []string{},
		Damaged: []string{}, Drifted: []string{}, Flags: []string{}, Repaired: []string{}}
	var err error
	if rep.Lost, err = s.lostChanges(ctx); err != nil {
		if repair {
			return nil, fmt.Errorf("the audit trail could tell of changes that the records do not have, and cannot be read: %w", err)
		}
		rep.Damaged = append(rep.Damaged, err.Error())
	}
	if repair && len(rep.Lost) > 0 {
		return nil, fmt.Errorf("the records are older than the audit trail in %s: a repair would destroy keys that clients were told of. "+
			"Put back records and token of one moment, or move the directory away to do without what is lost", s.cfg.Audit.Dir)
	}
	if repair {
		if err := s.settle(ctx); err != nil {
			return nil, err
		}
	}
	objects, err := s.token.Objects(ctx)
	if err != nil {
		return nil, err
	}
	byRef := map[hsm.Ref]*metadata.Record{}
	err = s.meta.Records(ctx, func(rec *metadata.Record) error {
		rep.Records++
		r, on := ref(rec.Handle)
		if rec.Phase == metadata.PhaseDestroying {
			rep.Unsettled = append(rep.Unsettled, rec.UID)
		}
		if !on || rec.Phase == metadata.PhaseDestroyed {
			return nil
		}
		if byRef[r] != nil {
			rep.Duplicates = append(rep.Duplicates, r.ID.String())
		}
		byRef[r] = rec
		return nil
	})
	if errors.Is(err, metadata.ErrCorrupt) {
		rep.Damaged = append(rep.Damaged, err.Error())
	} else if err != nil {
		return nil, err
	}
	intents, err := s.meta.Intents(ctx)
	if err != nil {
		return nil, err
	}
	for _, in := range intents {
		rep.Unsettled = append(rep.Unsettled, in.UID)
	}
	s.compare(rep, objects, byRef)
	_, err = s.eachKey(ctx, func(o object, f hsm.Flags) {
		if diff := o.compared(f); len(diff) > 0 {
			rep.Flags = append(rep.Flags, o.UID+": "+strings.Join(diff, ", "))
		}
	})
	if err != nil {
		return nil, err
	}
	if repair {
		return rep, s.repair(ctx, rep, objects, byRef)
	}
	return rep, nil
}

func (s *Store) compare(rep *Report, objects []hsm.ObjectInfo, byRef map[hsm.Ref]*metadata.Record) {
	seen := map[hsm.Ref]bool{}
	for _, o := range objects {
		switch {
		case o.Broken:
			rep.Broken++
			continue
		case byRef[o.Ref] == nil && !ours(o.Label):
			rep.Foreign++
			continue
		}
		rep.Objects++
		if seen[o.Ref] {
			rep.Duplicates = append(rep.Duplicates, o.Ref.ID.String())
		}
		seen[o.Ref] = true
		rec := byRef[o.Ref]
		if rec == nil {
			rep.Orphans = append(rep.Orphans, o.Ref.ID.String())
		} else if o.Label != rec.UID {
			rep.Drifted = append(rep.Drifted, rec.UID)
		}
	}
	for r, rec := range byRef {
		if !seen[r] && rec.Phase == metadata.PhaseLive {
			rep.Missing = append(rep.Missing, rec.UID)
		}
	}
}

// ours tells a label that this program gives: the form of a Unique Identifier.
func ours(label string) bool {
	if len(label) != 36 {
		return false
	}
	for i := range len(label) {
		c := label[i]
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (c == '-') || !dash && !('0' <= c && c <= '9' || 'a' <= c && c <= 'f') {
			return false
		}
	}
	return true
}

func (s *Store) repair(ctx context.Context, rep *Report, objects []hsm.ObjectInfo, byRef map[hsm.Ref]*metadata.Record) error {
	for _, o := range objects {
		if o.Broken || byRef[o.Ref] != nil || !ours(o.Label) {
			continue
		}
		if err := s.token.Destroy(ctx, o.Ref); err != nil && !errors.Is(err, hsm.ErrNotFound) {
			return err
		}
		rep.Repaired = append(rep.Repaired, "destroyed orphan "+o.Ref.ID.String())
		e := ofAdministrator("fsck --repair: destroy an orphan", fact("token object", o.Ref.ID.String()))
		e.Objects = []audit.Object{{UID: o.Label, Effect: "removed"}}
		b := &metadata.Batch{}
		s.dropGCM(b, o.Ref)
		if err := s.commit(ctx, b, e); err != nil {
			return err
		}
	}
	rep.Orphans = rep.Orphans[:0]
	if rep.Broken > 0 {
		n, err := s.token.DestroyBroken(ctx)
		if err != nil {
			return err
		}
		if n > 0 {
			rep.Repaired = append(rep.Repaired, "destroyed broken token objects")
			e := ofAdministrator("fsck --repair: destroy broken token objects", fact("objects", strconv.Itoa(n)))
			if err := s.commit(ctx, &metadata.Batch{}, e); err != nil {
				return err
			}
		}
		rep.Broken -= n
	}
	return nil
}

// Inventory counts live objects by type, for doctor.
func (s *Store) Inventory(ctx context.Context) (map[kmip.ObjectType]int, error) {
	n := map[kmip.ObjectType]int{}
	err := s.meta.Records(ctx, func(rec *metadata.Record) error {
		if rec.Phase == metadata.PhaseLive {
			n[rec.ObjectType]++
		}
		return nil
	})
	return n, err
}
