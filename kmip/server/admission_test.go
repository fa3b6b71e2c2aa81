package server

import (
	"net"
	"strings"
	"testing"
	"time"

	"kmipd/kmip"
)

// from dials from a given loopback address.
func (s *site) from(t *testing.T, ip string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	conn, err := d.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// One address gets its part of the connections; others find place, and so does it when one of its own ends.
func TestAddressLimit(t *testing.T) {
	s := newSite(t, func(c *Config) { c.MaxPerAddress = 2 })
	msg := one(kmip.V1_2, kmip.OperationCreate, createAES()).encode()
	a, _ := s.dial(t, "client-1")
	exchange(t, a, msg).want(t, 0, 0)
	b, _ := s.dial(t, "client-2")
	exchange(t, b, msg).want(t, 0, 0)
	wantEnd(t, s.from(t, "127.0.0.1"))
	s.from(t, "127.0.0.2")
	until(t, "another address gets in", func() bool { return s.Counters().Active == 3 })
	if got := s.Counters(); got.Rejected != 1 || got.Accepted != 3 {
		t.Errorf("counters %+v", got)
	}
	until(t, "the log names the limit", func() bool { return strings.Contains(s.log.String(), `"limit":"max_connections_per_address"`) })
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	until(t, "the place is free again", func() bool { return s.Counters().Active == 2 })
	c, _ := s.dial(t, "client-1")
	exchange(t, c, msg).want(t, 0, 0)
}

// Who does not finish handshakes takes places from nobody who has.
func TestHandshakeLimit(t *testing.T) {
	s := newSite(t, func(c *Config) { c.MaxHandshakes = 2 })
	msg := one(kmip.V1_2, kmip.OperationCreate, createAES()).encode()
	for range 3 {
		conn, _ := s.dial(t, "client-1")
		exchange(t, conn, msg).want(t, 0, 0) // finished ones do not count
	}
	silent := s.from(t, "127.0.0.1")
	s.from(t, "127.0.0.1")
	until(t, "two do not finish", func() bool { return s.Counters().Active == 5 })
	conn, _ := s.dial(t, "client-1") // takes the place of the oldest
	exchange(t, conn, msg).want(t, 0, 0)
	wantEnd(t, silent)
	until(t, "the log names the limit", func() bool { return strings.Contains(s.log.String(), `"limit":"max_handshakes"`) })
	until(t, "the oldest has gone, the second silent one has not", func() bool { return s.Counters().Active == 5 })
	if got := s.Counters(); got.Rejected != 1 {
		t.Errorf("counters %+v", got)
	}
}

// When all have gone, nothing of them is left to count.
func TestCrowdForgets(t *testing.T) {
	s := newSite(t)
	conn, _ := s.dial(t, "client-1")
	exchange(t, conn, one(kmip.V1_2, kmip.OperationCreate, createAES()).encode()).want(t, 0, 0)
	silent := s.from(t, "127.0.0.2")
	until(t, "both are there", func() bool { return s.Counters().Active == 2 })
	_, _ = conn.Close(), silent.Close()
	until(t, "both have gone", func() bool { return s.Counters().Active == 0 })
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sources) != 0 || s.shaking.Len() != 0 {
		t.Errorf("left over: %v, %d handshakes", s.sources, s.shaking.Len())
	}
}

func TestSourceOf(t *testing.T) {
	for _, tc := range []struct{ addr, want string }{
		{"192.0.2.7:1", "192.0.2.7/32"},
		{"[::ffff:192.0.2.7]:1", "192.0.2.7/32"},
		{"[2001:db8:1:2:3:4:5:6]:1", "2001:db8:1:2::/64"},
		{"[fe80::1%lo]:1", "fe80::/64"},
	} {
		addr, err := net.ResolveTCPAddr("tcp", tc.addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := sourceOf(addr).String(); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.addr, got, tc.want)
		}
	}
	if got := sourceOf(&net.UnixAddr{Name: "x", Net: "unix"}); got.IsValid() {
		t.Errorf("a Unix socket has the source %s", got)
	}
}

// A flood of connections is not a flood of log lines, and none of it is lost in them.
func TestTurnedAwayIsToldOnce(t *testing.T) {
	var w crowd
	now := time.Now()
	if got := w.turn(now); got != 1 {
		t.Errorf("the first one: got %d", got)
	}
	for range 5 {
		if got := w.turn(now.Add(turnedPause / 2)); got != 0 {
			t.Errorf("within the pause: got %d", got)
		}
	}
	if got := w.turn(now.Add(turnedPause)); got != 6 {
		t.Errorf("after the pause: got %d, want 6", got)
	}
}

func TestLimitDefaults(t *testing.T) {
	for _, tc := range []struct{ connections, address, handshakes int }{{0, 256, 512}, {100, 25, 50}, {2, 16, 16}} {
		s := newSite(t, func(c *Config) { c.MaxConnections = tc.connections })
		if s.cfg.MaxPerAddress != tc.address || s.cfg.MaxHandshakes != tc.handshakes {
			t.Errorf("of %d connections: got %d and %d, want %d and %d", tc.connections, s.cfg.MaxPerAddress, s.cfg.MaxHandshakes, tc.address, tc.handshakes)
		}
	}
}
