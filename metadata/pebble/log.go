package pebble

import (
	"context"
	"fmt"

	pdb "github.com/cockroachdb/pebble/v2"
)

// pebbleLog is pebble's logger.
type pebbleLog struct{ s *Store }

func (l pebbleLog) Infof(format string, args ...any) {
	l.s.log.Debug().Msgf("pebble: "+format, args...)
}

func (l pebbleLog) Errorf(format string, args ...any) {
	l.s.log.Error().Msgf("pebble: "+format, args...)
}

// Fatalf stops the store and, as pebble expects, does not return. A library does not end the process either: the goroutine
// is held.
func (l pebbleLog) Fatalf(format string, args ...any) {
	l.s.fail(fmt.Errorf(format, args...))
	select {}
}

func (pebbleLog) Eventf(context.Context, string, ...any) {}

func (pebbleLog) IsTracingEnabled(context.Context) bool { return false }

// events are those that an operator should know of. The others stay silent.
func (s *Store) events() *pdb.EventListener {
	l := pdb.EventListener{
		BackgroundError: func(err error) { s.log.Error().Err(err).Msg("metadata store: background work failed") },
		// Reads of the damaged block fail and say so; the rest of the store is still good.
		DataCorruption: func(i pdb.DataCorruptionInfo) {
			s.log.Error().Str("file", i.Path).Err(i.Details).Msg("metadata store: damaged file")
		},
		DiskSlow:        func(i pdb.DiskSlowInfo) { s.log.Warn().Dur("elapsed", i.Duration).Msg("metadata store: disk is slow") },
		WriteStallBegin: func(i pdb.WriteStallBeginInfo) { s.log.Warn().Str("why", i.Reason).Msg("metadata store: writes stall") },
		WriteStallEnd:   func() { s.log.Warn().Msg("metadata store: writes go on") },
	}
	l.EnsureDefaults(nil)
	return &l
}
