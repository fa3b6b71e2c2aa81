package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"kmipd/kmip/internal/tlstest"
	"kmipd/kmip/ttlv"
)

// site is a server on a loopback listener with a certification authority.
type site struct {
	*Server
	ca   *tlstest.CA
	keys *fakeKeys
	auth *fakeAuth
	addr string
	log  *syncBuffer
	done chan error // what Serve returned
}

// syncBuffer takes the log of many goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newSite(t testing.TB, change ...func(*Config)) *site {
	t.Helper()
	s := &site{ca: tlstest.New(t), keys: newFakeKeys(), log: &syncBuffer{}, done: make(chan error, 1),
		auth: &fakeAuth{clients: map[string]bool{"client-1": true, "client-2": true}}}
	cfg := Config{TLS: s.ca.Server(), Keystore: s.keys, Authenticator: s.auth, Logger: zerolog.New(s.log)}
	for _, c := range change {
		c(&cfg)
	}
	var err error
	if s.Server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	go func() { s.done <- s.Serve(context.Background(), ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil && !t.Failed() {
			t.Errorf("shutdown: %v", err)
		}
	})
	return s
}

// countingConn counts the TLS records of application data that arrive: their content type is 23 in every version.
type countingConn struct {
	net.Conn
	mu      sync.Mutex
	pending []byte
	sizes   []int
}

func (c *countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending = append(c.pending, p[:n]...)
	for len(c.pending) >= 5 {
		size := int(binary.BigEndian.Uint16(c.pending[3:]))
		if len(c.pending) < 5+size {
			break
		}
		if c.pending[0] == 23 {
			c.sizes = append(c.sizes, size)
		}
		c.pending = c.pending[5+size:]
	}
	return n, err
}

func (c *countingConn) records() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sizes)
}

// dial makes a TLS connection as the named client.
func (s *site) dial(t testing.TB, name string, change ...func(*tls.Config)) (*tls.Conn, *countingConn) {
	t.Helper()
	cfg := s.ca.Client(name)
	for _, c := range change {
		c(cfg)
	}
	raw, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	counting := &countingConn{Conn: raw}
	conn := tls.Client(counting, cfg)
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return conn, counting
}

func exchange(t testing.TB, conn net.Conn, msg []byte) reply {
	t.Helper()
	if _, err := conn.Write(msg); err != nil {
		t.Fatal(err)
	}
	return receive(t, conn)
}

func receive(t testing.TB, conn net.Conn) reply {
	t.Helper()
	msg, err := readAnswer(conn)
	if err != nil {
		t.Fatal(err)
	}
	return parseReply(t, msg)
}

func readAnswer(conn net.Conn) ([]byte, error) {
	header := make([]byte, ttlv.HeaderSize)
	if _, err := io.ReadFull(conn, header); err != nil {
		return nil, err
	}
	msg := append(header, make([]byte, binary.BigEndian.Uint32(header[4:]))...)
	_, err := io.ReadFull(conn, msg[ttlv.HeaderSize:])
	return msg, err
}

// wantEnd waits for the server to close the connection.
func wantEnd(t testing.TB, conn net.Conn) {
	t.Helper()
	b := make([]byte, 1)
	n, err := conn.Read(b)
	if err == nil {
		t.Fatalf("got %d octets where the connection should end", n)
	}
	var ne net.Error
	if ok := asTimeout(err, &ne); ok {
		t.Fatal("the connection does not end")
	}
}

func asTimeout(err error, ne *net.Error) bool {
	e, ok := err.(net.Error)
	if ok {
		*ne = e
	}
	return ok && e.Timeout()
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never happened: %s", what)
}
