// Package server is the protocol side of kmipd: TLS connections, KMIP messages, batches, the dispatch table, result
// mapping and the audit line of each item. What the requests mean is decided behind the Keystore and Authenticator
// interfaces; this package holds no key rules and keeps no state between messages.
//
// KMIP 1.0 to 1.4 (sections 6, 7 and 11 of the specification) over TLS 1.2 and 1.3 with client certificates, and over HTTPS in
// TTLV, XML and JSON (KMIP Additional Message Encodings 1.0).
package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"kmipd/kmip"
)

// ErrClosed is returned by Serve after Shutdown was called before it.
var ErrClosed = errors.New("server: shut down")

// Server serves KMIP clients. Its methods are safe for concurrent use.
type Server struct {
	cfg      Config
	doors    map[string]*entrance
	profiles []kmip.ProfileInformation // of encodings and HTTPS, which no keystore knows of
	instance string                    // prefix of the Server Correlation Values of this process
	requests atomic.Uint64
	connIDs  atomic.Uint64
	counters counters
	refusals refusals

	base   context.Context // of every request; ends when Shutdown gives up waiting
	cancel context.CancelFunc
	taking context.Context // of the workers that wait for a job; ends when draining begins
	stop   context.CancelFunc
	wg     sync.WaitGroup // one for each connection and worker

	mu        sync.Mutex // guards the fields below
	listeners map[net.Listener]struct{}
	crowd
	draining bool
	working  bool          // the workers are started
	drained  chan struct{} // closed when draining begins
}

// New makes a server. All problems of the configuration are reported at once.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	s := &Server{
		cfg: cfg, doors: cfg.entrances(), instance: hex.EncodeToString(id[:]),
		listeners: map[net.Listener]struct{}{}, drained: make(chan struct{}),
		crowd: crowd{conns: map[*conn]struct{}{}, sources: map[source]int{}},
	}
	s.profiles = cfg.profiles()
	s.base, s.cancel = context.WithCancel(context.Background())
	s.taking, s.stop = context.WithCancel(s.base)
	return s, nil
}

// Serve accepts connections until Shutdown, when it returns nil. When ctx ends, running requests are cancelled and all
// connections closed at once; Shutdown is the polite way. It may run for several listeners at a time.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	return s.ServeListener(ctx, "", ln)
}

// ServeListener is Serve for one of Config.Listeners.
func (s *Server) ServeListener(ctx context.Context, name string, ln net.Listener) error {
	door := s.doors[name]
	if door == nil {
		return errors.Join(fmt.Errorf("server: there is no listener %q", name), ln.Close())
	}
	if !s.add(ln) {
		return errors.Join(ErrClosed, ln.Close())
	}
	defer s.remove(ln)
	defer context.AfterFunc(ctx, s.abort)()
	var delay time.Duration
	for {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			delay = 0
			s.admit(door, nc)
		case s.isDraining():
			return ctx.Err()
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("server: accept: %w", err)
		default:
			// Out of descriptors or the like: it passes, and a busy loop would not help.
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			s.cfg.Logger.Error().Err(err).Dur("retry_in", delay).Msg("accept failed")
			s.pause(delay)
		}
	}
}

func (s *Server) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.drained:
	}
}

func (s *Server) add(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	s.listeners[ln] = struct{}{}
	s.startWorkers()
	return true
}

func (s *Server) remove(ln net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, ln)
}

func (s *Server) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// drain stops accepting, ends idle connections and tells busy ones to end after their request.
func (s *Server) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.draining {
		s.draining = true
		s.stop()
		close(s.drained)
	}
	for ln := range s.listeners {
		if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			s.cfg.Logger.Warn().Err(err).Msg("closing a listener")
		}
	}
	for c := range s.conns {
		c.drain()
	}
}

// abort ends everything now.
func (s *Server) abort() {
	s.drain()
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.kill()
	}
}

// Shutdown stops accepting, ends idle connections and waits for running requests until ctx ends; what then still runs
// is cancelled and its connection closed, and the error of ctx is returned. A call that is already inside the token
// cannot be stopped: after an error it may still run, so the token must be closed by someone who waits for it.
func (s *Server) Shutdown(ctx context.Context) error {
	s.drain()
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		s.cancel()
		return nil
	case <-ctx.Done():
	}
	s.abort()
	grace := time.NewTimer(time.Second) // for requests that heed their context
	defer grace.Stop()
	select {
	case <-done:
	case <-grace.C:
	}
	return fmt.Errorf("server: shutdown: %w", ctx.Err())
}

// correlation makes the Server Correlation Value of the next request: unique over all servers (KMIP 1.4 section 6.19).
func (s *Server) correlation() string {
	var b [40]byte
	out := append(b[:0], s.instance...)
	out = append(out, '-')
	return string(appendBase36(out, s.requests.Add(1)))
}

func appendBase36(b []byte, n uint64) []byte {
	const digits = "0123456789abcdefghijklmnopqrstuvwxyz"
	if n >= 36 {
		b = appendBase36(b, n/36)
	}
	return append(b, digits[n%36])
}

// newest is the newest protocol version that this server speaks.
func (s *Server) newest() kmip.Version { return s.cfg.Versions[0] }

// oldest is the oldest one.
func (s *Server) oldest() kmip.Version { return s.cfg.Versions[len(s.cfg.Versions)-1] }

func (s *Server) speaks(v kmip.Version) bool {
	for _, have := range s.cfg.Versions {
		if have == v {
			return true
		}
	}
	return false
}
