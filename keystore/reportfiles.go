package keystore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// reportTimeout bounds a report that is made by schedule: it walks all records.
const reportTimeout = 10 * time.Minute

// reportRetry is the time to the next try after a report that failed.
const reportRetry = 15 * time.Minute

// keepReports makes a report at each interval since the last one, over restarts.
func (s *Store) keepReports(ctx context.Context) {
	r := s.cfg.Report
	if r.Ready != nil {
		select {
		case <-ctx.Done():
			return
		case <-r.Ready:
		}
	}
	for {
		wait := r.Interval
		last, err := s.lastReport(ctx)
		if err == nil {
			// A clock that was set back must not end the reports for long.
			wait = min(max(0, last.Generated.Add(r.Interval).Sub(s.cfg.Clock())), r.Interval)
		}
		if !sleep(ctx, wait) {
			return
		}
		within, cancel := context.WithTimeout(ctx, reportTimeout)
		_, err = s.MakeReport(within)
		cancel()
		if err != nil && ctx.Err() == nil {
			s.log.Error().Err(err).Msg("the scheduled evidence report failed")
			if !sleep(ctx, min(reportRetry, r.Interval)) {
				return
			}
		}
	}
}

// sleep waits; false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// fileReport writes both forms into the directory and removes the oldest reports.
func (s *Store) fileReport(rep *EvidenceReport) error {
	dir := s.cfg.Report.Dir
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keystore: the directory of reports: %w", err)
	}
	name := filepath.Join(dir, fmt.Sprintf("report-%010d", rep.Serial))
	for ext, b := range map[string][]byte{".json": rep.JSON, ".html": rep.HTML} {
		if err := writeSynced(name+ext, b); err != nil {
			return fmt.Errorf("keystore: writing a report: %w", err)
		}
	}
	return s.pruneReports()
}

// writeSynced writes a file that is whole or not there.
func writeSynced(path string, b []byte) (err error) {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// pruneReports leaves the newest Keep reports. Only files with names of reports are touched.
func (s *Store) pruneReports() error {
	entries, err := os.ReadDir(s.cfg.Report.Dir)
	if err != nil {
		return fmt.Errorf("keystore: listing the reports: %w", err)
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok && strings.HasPrefix(name, "report-") && e.Type().IsRegular() {
			names = append(names, name)
		}
	}
	slices.Sort(names) // serials have leading zeros
	for i := 0; i < len(names)-s.cfg.Report.Keep; i++ {
		for _, ext := range []string{".json", ".html"} {
			if err := os.Remove(filepath.Join(s.cfg.Report.Dir, names[i]+ext)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("keystore: removing an old report: %w", err)
			}
		}
	}
	return nil
}
