package server

import (
	"container/list"
	"errors"
	"net"
	"net/netip"
	"time"
)

// This file decides which connections are taken. What costs an attacker one packet must not cost others their place: nobody
// gets all connections by one address, nor by handshakes that he does not finish.

// fewest is what one address and the handshakes may have at least, however small MaxConnections is.
const fewest = 16

// sourceBits is how much of an IPv6 address counts: whoever has one address of a network has all of it.
const sourceBits = 64

// source is that by which connections are told apart; the zero value is one that has no such address, and no limit.
type source = netip.Prefix

func sourceOf(addr net.Addr) source {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return source{}
	}
	ip := tcp.AddrPort().Addr().Unmap()
	p, err := ip.WithZone("").Prefix(min(sourceBits, ip.BitLen()))
	if err != nil {
		return source{}
	}
	return p
}

// crowd is the connections that there are. Server.mu guards it.
type crowd struct {
	conns   map[*conn]struct{}
	sources map[source]int // connections of each
	shaking list.List      // of *conn: those whose handshake is not over, the oldest first

	turned uint64    // connections that were turned away since the log told of it
	told   time.Time // when it did
}

// The limits, as the log names them.
var (
	errConnections = errors.New("max_connections")
	errPerAddress  = errors.New("max_connections_per_address")
	errHandshakes  = errors.New("max_handshakes")
)

// room tells whether there is a place for another connection, and else which limit is reached.
func (w *crowd) room(cfg *Config, from source) error {
	switch {
	case len(w.conns) >= cfg.MaxConnections:
		return errConnections
	case from.IsValid() && w.sources[from] >= cfg.MaxPerAddress:
		return errPerAddress
	}
	return nil
}

// enter takes a connection. It returns the one whose handshake has taken longest, where there are too many of them: who
// means to finish his is done sooner than who holds places.
func (w *crowd) enter(cfg *Config, c *conn) (late *conn) {
	w.conns[c] = struct{}{}
	w.sources[c.source]++
	if w.shaking.Len() >= cfg.MaxHandshakes {
		late = w.shaking.Front().Value.(*conn)
		w.shaken(late)
	}
	c.shaking = w.shaking.PushBack(c)
	return late
}

// shaken notes the end of a handshake.
func (w *crowd) shaken(c *conn) {
	if c.shaking != nil {
		w.shaking.Remove(c.shaking)
		c.shaking = nil
	}
}

func (w *crowd) leave(c *conn) {
	w.shaken(c)
	delete(w.conns, c)
	if w.sources[c.source]--; w.sources[c.source] == 0 {
		delete(w.sources, c.source)
	}
}

// turnedPause is how often the log tells of connections that were turned away: they can be as many as packets.
const turnedPause = time.Second

// turn counts a connection that is turned away. When it is time to tell, it returns how many there were.
func (w *crowd) turn(now time.Time) (tell uint64) {
	w.turned++
	if !w.told.IsZero() && now.Sub(w.told) < turnedPause {
		return 0
	}
	tell, w.turned, w.told = w.turned, 0, now
	return tell
}

// admit starts the goroutine of a new connection. Where there are too many, it closes that one, or the one that makes room for
// it. Nobody waits for s.mu while it closes and logs.
func (s *Server) admit(door *entrance, nc net.Conn) {
	c := newConn(s, door, nc)
	away, tell, limit := s.enter(c)
	if away != c {
		go func() {
			defer s.wg.Done()
			defer s.forget(c)
			c.serve(s.base)
		}()
	}
	if away == nil {
		return
	}
	s.counters.rejected.Add(1)
	away.kill()
	if tell > 0 {
		away.log.Warn().Str("limit", limit.Error()).Uint64("connections", tell).Msg("connections were turned away")
	}
}

// enter gives a connection its place, and s.wg one to wait for. It returns which connection has none, if there is one, and by
// which limit.
func (s *Server) enter(c *conn) (away *conn, tell uint64, limit error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return c, 0, ErrClosed
	}
	if err := s.room(&s.cfg, c.source); err != nil {
		return c, s.turn(time.Now()), err
	}
	s.counters.accepted.Add(1)
	s.wg.Add(1)
	if late := s.crowd.enter(&s.cfg, c); late != nil {
		return late, s.turn(time.Now()), errHandshakes
	}
	return nil, 0, nil
}

// shaken notes that the handshake of a connection is over.
func (s *Server) shaken(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.crowd.shaken(c)
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leave(c)
}
