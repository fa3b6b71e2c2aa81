package main

import (
	"bytes"
	"io"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

const (
	// logDelay is how late a line of the log may be: to write, and for people to lay out, a line for each request at
	// once would cost as much as reading a record.
	logDelay = 100 * time.Millisecond
	// logWaiting is how many octets may wait before a request writes them itself.
	logWaiting = 1 << 20
)

// lateLog gathers lines and writes them together; warnings and errors wake the writer. Close ends its goroutine.
type lateLog struct {
	out  io.Writer // written to under writing
	wake chan struct{}
	stop chan struct{}
	done chan struct{}

	writing sync.Mutex // held while writing, so that lines keep their order
	mu      sync.Mutex // guards waiting
	waiting []byte
}

func newLateLog(out io.Writer) *lateLog {
	l := &lateLog{out: out, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		tick := time.NewTicker(logDelay)
		defer tick.Stop()
		for {
			select {
			case <-l.stop:
				return
			case <-l.wake:
			case <-tick.C:
			}
			l.flush()
		}
	}()
	return l
}

// flush writes what waits. A failure is not told: the log is where it would be.
func (l *lateLog) flush() {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	lines := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	if _, text := l.out.(zerolog.ConsoleWriter); !text {
		_, _ = l.out.Write(lines)
		return
	}
	for line := range bytes.Lines(lines) {
		_, _ = l.out.Write(line)
	}
}

// Write implements io.Writer: one call is one line.
func (l *lateLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	l.waiting = append(l.waiting, p...)
	full := len(l.waiting) > logWaiting
	l.mu.Unlock()
	if full {
		l.flush()
	}
	return len(p), nil
}

// WriteLevel implements zerolog.LevelWriter.
func (l *lateLog) WriteLevel(level zerolog.Level, p []byte) (int, error) {
	n, err := l.Write(p)
	if level >= zerolog.WarnLevel {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
	return n, err
}

// Close writes what is left and ends the goroutine.
func (l *lateLog) Close() {
	close(l.stop)
	<-l.done
	l.flush()
}
