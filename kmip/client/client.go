// Package client is a small KMIP 1.x client: one TLS connection, with or without HTTP, one request at a time, one item or a
// batch. It knows the protocol and nothing of any server.
package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// ErrBroken is returned for a connection on which an earlier exchange failed half-way: request and answer could not be
// matched any more. Dial again.
var ErrBroken = errors.New("client: connection is broken by an earlier failure")

// Client is one connection to a KMIP server. Its methods may be called concurrently; exchanges take turns.
type Client struct {
	cfg  Config
	conn *tls.Conn

	turn    chan struct{}    // holds one value while no exchange runs
	broken  error            // guarded by turn
	reader  *bufio.Reader    // of HTTP answers, guarded by turn
	limited io.LimitedReader // below reader: what may come of one answer
	last    error            // why there is no exchange after this one; guarded by turn
	once    sync.Once
}

// Dial connects and completes the TLS handshake within the time of ctx, Config.Timeout at most.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	conn := tls.Client(raw, cfg.TLS)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("client: TLS handshake: %w", err), raw.Close())
	}
	c := &Client{cfg: cfg, conn: conn, turn: make(chan struct{}, 1)}
	c.turn <- struct{}{}
	return c, nil
}

// Close ends the connection; a running exchange fails. It may be called more than once.
func (c *Client) Close() error {
	var err error
	c.once.Do(func() { err = c.conn.Close() })
	return err
}

// Version is the protocol version that requests are sent in.
func (c *Client) Version() kmip.Version { return c.cfg.Version }

// Roundtrip sends one request message, in TTLV, and returns the response message in TTLV. Without HTTP it looks at neither, so
// that tests and tools can send what they like; with it the request must be what ttlv.Parse accepts. The exchange ends with ctx,
// and after Config.Timeout at most.
func (c *Client) Roundtrip(ctx context.Context, msg []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	select {
	case <-c.turn:
		defer func() { c.turn <- struct{}{} }()
	case <-ctx.Done():
		return nil, fmt.Errorf("client: %w", ctx.Err())
	}
	if c.broken != nil {
		return nil, fmt.Errorf("%w: %w", ErrBroken, c.broken)
	}
	resp, err := c.exchange(ctx, msg)
	c.broken = c.last
	if err != nil {
		c.broken = err
		if cause := context.Cause(ctx); cause != nil {
			err = errors.Join(cause, err)
		}
		return nil, fmt.Errorf("client: %w", err)
	}
	return resp, nil
}

var longAgo = time.Unix(1, 0)

func (c *Client) exchange(ctx context.Context, msg []byte) (resp []byte, err error) {
	if err := c.conn.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() {
		// The only error is that the connection is closed, which unblocks as well.
		_ = c.conn.NetConn().SetDeadline(longAgo)
	})
	defer func() {
		if !stop() && err == nil {
			resp, err = nil, ctx.Err() // the deadline is past already: the connection is of no use any more
		}
	}()
	if c.cfg.target != "" {
		return c.post(msg)
	}
	if _, err := c.conn.Write(msg); err != nil {
		return nil, err
	}
	return readMessage(c.conn, c.cfg.MaxMessage)
}

// readMessage reads one response message; its length is checked before anything is allocated for it.
func readMessage(r io.Reader, limit int) ([]byte, error) {
	var header [ttlv.HeaderSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, err
	}
	tag := ttlv.Tag(header[0])<<16 | ttlv.Tag(header[1])<<8 | ttlv.Tag(header[2])
	if tag != kmip.TagResponseMessage || ttlv.Type(header[3]) != ttlv.Structure {
		return nil, errors.New("the server does not answer with a Response Message")
	}
	length := int64(binary.BigEndian.Uint32(header[4:]))
	if length > int64(limit-ttlv.HeaderSize) {
		return nil, fmt.Errorf("the Response Message of %d octets is larger than the limit of %d", length, limit)
	}
	msg := make([]byte, ttlv.HeaderSize+int(length))
	copy(msg, header[:])
	_, err := io.ReadFull(r, msg[ttlv.HeaderSize:])
	return msg, err
}
