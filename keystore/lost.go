package keystore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"kmipd/keystore/audit"
	"kmipd/metadata"
)

// maxLost bounds the list of lost changes.
const maxLost = 1000

// lostChanges is what the files of the audit trail tell of and the records do not have: these were restored from a backup. The
// files never run ahead otherwise.
func (s *Store) lostChanges(ctx context.Context) ([]string, error) {
	lost := []string{}
	if s.cfg.Audit.Dir == "" {
		return lost, nil
	}
	files, err := audit.List(s.cfg.Audit.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return lost, nil // there was no trail yet, or it was moved away
	} else if err != nil {
		return lost, err
	}
	head, err := s.meta.AuditHead(ctx)
	if err != nil {
		return lost, err
	}
	more, last := 0, head.Seq
	err = audit.Walk(files, head.Seq, func(entry *metadata.AuditEntry) error {
		var e audit.Event
		if err := json.Unmarshal(entry.Payload, &e); err != nil {
			return fmt.Errorf("record %d of the audit trail: %w", entry.Seq, err)
		}
		last = entry.Seq
		switch text := changeBy(&e); {
		case text == "":
		case len(lost) == maxLost:
			more++
		default:
			lost = append(lost, fmt.Sprintf("record %d, %s", entry.Seq, text))
		}
		return nil
	})
	if more > 0 {
		lost = append(lost, fmt.Sprintf("and %d more", more))
	}
	if last > head.Seq {
		lost = slices.Insert(lost, 0, fmt.Sprintf("the trail ends with record %d, the records with %d", last, head.Seq))
	}
	return lost, err
}

// changeBy tells in words what an event changed, "" when nothing.
func changeBy(e *audit.Event) string {
	var what []string
	for _, o := range e.Objects {
		if o.Effect != "" {
			what = append(what, o.UID+" "+o.Effect)
		}
	}
	if e.Kind == audit.KindAdmin || e.Operation == issueCRL {
		for _, f := range e.Facts {
			what = append(what, f.Name+" "+f.Value)
		}
	}
	switch {
	case e.Outcome != audit.Success || e.Kind == audit.KindUndone || len(what) == 0 && e.Kind != audit.KindAdmin:
		return ""
	case e.Client != "":
		what = slices.Insert(what, 0, "client "+e.Client)
	}
	return fmt.Sprintf("%s: %s (%s): %s", e.Time, e.Operation, e.Kind, strings.Join(what, ", "))
}
