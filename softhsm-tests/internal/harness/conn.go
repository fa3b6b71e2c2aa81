package harness

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"kmipd/softhsm-tests/internal/rawttlv"
)

// maxAnswer is more than any answer in these tests.
const maxAnswer = 16 << 20

// TLS is a client configuration with the certificates that `kmipd dev` wrote into the directory.
func TLS(dir string) (*tls.Config, error) {
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s/ca.crt holds no certificate", dir)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key"))
	if err != nil {
		return nil, err
	}
	return &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// Conn is a connection that carries one request at a time. Not safe for concurrent use.
type Conn struct {
	net.Conn
	buf []byte // answers; grows to the largest
}

// Timeout bounds one exchange, and other waits that a busy machine must not fail.
const Timeout = 60 * time.Second

// Dial connects and completes the TLS handshake.
func Dial(addr string, config *tls.Config) (*Conn, error) {
	d := &tls.Dialer{NetDialer: &net.Dialer{Timeout: Timeout}, Config: config}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &Conn{Conn: c}, nil
}

// Connect is Dial with the directory's certificates. The connection is closed with the test.
func (s *Server) Connect(t testing.TB) *Conn {
	t.Helper()
	config, err := TLS(s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Dial(s.Addr, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// ConnectListener is Connect to another listener, with the certificates in its directory.
func (s *Server) ConnectListener(t testing.TB, name string) *Conn {
	t.Helper()
	config, err := TLS(filepath.Join(s.Dir, name))
	if err != nil {
		t.Fatal(err)
	}
	c, err := Dial(s.Listeners[name], config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// RoundTrip sends a message and returns the answer, which is valid until the next call.
func (c *Conn) RoundTrip(request []byte) ([]byte, error) {
	if err := c.SetDeadline(time.Now().Add(Timeout)); err != nil {
		return nil, err
	}
	if _, err := c.Write(request); err != nil {
		return nil, err
	}
	return c.ReadMessage()
}

// ReadMessage reads one message, under the deadline that is set.
func (c *Conn) ReadMessage() ([]byte, error) {
	if cap(c.buf) < 8 {
		c.buf = make([]byte, 4096)
	}
	c.buf = c.buf[:cap(c.buf)]
	if _, err := io.ReadFull(c, c.buf[:8]); err != nil {
		return nil, err
	}
	size := 8 + int(binary.BigEndian.Uint32(c.buf[4:8]))
	if size > maxAnswer {
		return nil, fmt.Errorf("answer of %d octets", size)
	}
	if size > len(c.buf) {
		c.buf = append(make([]byte, 0, size), c.buf[:8]...)[:size]
	}
	_, err := io.ReadFull(c, c.buf[8:size])
	return c.buf[:size], err
}

// Exchange sends a tree and returns the answer as a tree.
func (c *Conn) Exchange(request *rawttlv.Node) (*rawttlv.Node, error) {
	b, err := rawttlv.Encode(request)
	if err != nil {
		return nil, err
	}
	answer, err := c.RoundTrip(b)
	if err != nil {
		return nil, err
	}
	return rawttlv.Decode(answer)
}
