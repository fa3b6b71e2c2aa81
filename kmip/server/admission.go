package server

import (
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
	shaking int            // connections whose handshake is not over

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
	case w.shaking >= cfg.MaxHandshakes:
		return errHandshakes
	}
	return nil
}

func (w *crowd) enter(c *conn) {
	w.conns[c] = struct{}{}
	w.sources[c.source]++
	w.shaking++
	c.shaking = true
}

// shaken notes the end of a handshake.
func (w *crowd) shaken(c *conn) {
	if c.shaking {
		c.shaking = false
		w.shaking--
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

// admit starts the goroutine of a new connection, or closes it when there are too many. Nobody waits for s.mu while it
// closes and logs.
func (s *Server) admit(door *entrance, nc net.Conn) {
	c := newConn(s, door, nc)
	tell, limit := s.enter(c)
	if limit == nil {
		go func() {
			defer s.wg.Done()
			defer s.forget(c)
			c.serve(s.base)
		}()
		return
	}
	s.counters.rejected.Add(1)
	if err := nc.Close(); err != nil {
		c.log.Debug().Err(err).Msg("closing a rejected connection")
	}
	if tell > 0 {
		c.log.Warn().Str("limit", limit.Error()).Uint64("connections", tell).Msg("connections were turned away")
	}
}

// enter gives a connection its place, and s.wg one to wait for, or says why there is none.
func (s *Server) enter(c *conn) (tell uint64, limit error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return 0, ErrClosed
	}
	if err := s.room(&s.cfg, c.source); err != nil {
		return s.turn(time.Now()), err
	}
	s.crowd.enter(c)
	s.counters.accepted.Add(1)
	s.wg.Add(1)
	return 0, nil
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
