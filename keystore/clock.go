package keystore

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"
)

// settingClock is the latest time that the server has seen, in Unix seconds.
const settingClock = "clock"

// clockSlack is how far the clock may have been set back: servers of time correct it by less.
const clockSlack = 5 * time.Minute

// checkClock refuses, where any policy is strict, a clock behind the time at which the server last ran: rules that begin on a date
// would not hold, nor would the dates of keys and of the audit trail.
func (s *Store) checkClock(ctx context.Context) error {
	last, err := s.lastClock(ctx)
	if err != nil {
		return err
	}
	if now, strict := s.cfg.Clock().UTC(), s.strictPolicy(); strict != nil && now.Before(last.Add(-clockSlack)) {
		return fmt.Errorf("keystore: the clock says %s, but the server last ran at %s: set the clock, as rules of policy %s begin on dates",
			now.Format(time.RFC3339), last.Format(time.RFC3339), strict.Name())
	}
	return s.noteClock(ctx)
}

// lastClock is the latest time that was noted; zero for none.
func (s *Store) lastClock(ctx context.Context) (time.Time, error) {
	b, err := s.meta.Setting(ctx, settingClock)
	if err != nil && !isNotFound(err) {
		return time.Time{}, fmt.Errorf("keystore: reading when the server last ran: %w", err)
	}
	if len(b) != 8 {
		return time.Time{}, nil
	}
	return time.Unix(int64(binary.BigEndian.Uint64(b)), 0).UTC(), nil
}

// noteClock keeps the time for the next start, if it is later than what was kept. It is not synced and has no audit record: a
// lost minute does no harm.
func (s *Store) noteClock(ctx context.Context) error {
	last, err := s.lastClock(ctx)
	if now := s.cfg.Clock(); err != nil || now.Before(last) {
		return err
	}
	return s.meta.SetSetting(ctx, settingClock, binary.BigEndian.AppendUint64(nil, uint64(s.cfg.Clock().Unix())), false)
}
