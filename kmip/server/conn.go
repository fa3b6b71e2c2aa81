package server

import (
	"container/list"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// conn is one client connection. Its goroutine owns everything but shaking and the fields under mu.
type conn struct {
	srv      *Server
	entrance *entrance
	nc       net.Conn
	tls      *tls.Conn
	state    tls.ConnectionState
	log      zerolog.Logger
	peer     peer
	source   source
	shaking  *list.Element // of crowd.shaking while the handshake is not over; Server.mu guards it
	web      *web          // once HTTP is spoken on it

	mu       sync.Mutex
	busy     bool // a request runs: drain lets it finish
	draining bool
}

var (
	errDraining  = errors.New("server is shutting down")
	longAgo      = time.Unix(1, 0)
	lingerTime   = time.Second
	lingerOctets = int64(4 << 20)
)

func newConn(s *Server, door *entrance, nc net.Conn) *conn {
	with := s.cfg.Logger.With().Uint64("conn", s.connIDs.Add(1)).Stringer("remote", nc.RemoteAddr())
	c := &conn{srv: s, entrance: door, nc: nc, tls: tls.Server(nc, door.tls), log: with.Logger(),
		source: sourceOf(nc.RemoteAddr())}
	c.peer = peer{identify: c.identify, log: c.log, listener: door.name, remote: nc.RemoteAddr().String()}
	return c
}

// serve runs the connection to its end.
func (c *conn) serve(ctx context.Context) {
	defer c.close()
	defer func() {
		if p := recover(); p != nil {
			c.srv.counters.panics.Add(1)
			c.log.Error().Interface("panic", p).Bytes("stack", debug.Stack()).Msg("panic in a connection")
		}
	}()
	if err := c.handshake(ctx); err != nil {
		c.srv.counters.handshakes.Add(1)
		c.refused(err, "no connection")
		return
	}
	c.srv.shaken(c)
	for {
		if err := c.exchange(ctx); err != nil {
			c.ended(err)
			return
		}
	}
}

func (c *conn) ended(err error) {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		c.log.Debug().Msg("connection ended")
	default:
		c.log.Info().Err(err).Msg("connection ended")
	}
}

// handshake ends with the first look at the certificate, so that an unknown one is noted even if no request follows.
func (c *conn) handshake(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.srv.cfg.HandshakeTimeout)
	defer cancel()
	if err := c.tls.HandshakeContext(ctx); err != nil {
		return err
	}
	c.state = c.tls.ConnectionState()
	if check := c.entrance.gate.Established; check != nil {
		if err := check(c.state); err != nil {
			return err
		}
	}
	caller, err := c.registered(ctx)
	if err != nil {
		return err
	}
	c.log.Debug().Str("client", caller.Client).Str("listener", c.entrance.name).Str("tls", tls.VersionName(c.state.Version)).
		Str("suite", tls.CipherSuiteName(c.state.CipherSuite)).Bool("resumed", c.state.DidResume).Msg("connection")
	return nil
}

// identify asks who the client is, at each request anew: TLS checks a certificate's dates and the Authenticator its
// registration at the handshake only, and a resumed session skips even the dates of the chain.
func (c *conn) identify(ctx context.Context) (kmip.Caller, error) {
	if check := c.entrance.gate.Request; check != nil {
		if err := check(&c.state); err != nil {
			c.refused(err, "the client's certificate is not accepted any more")
			return kmip.Caller{}, errRevoked(err)
		}
	}
	return c.registered(ctx)
}

// registered is the client to whom the certificate belongs.
func (c *conn) registered(ctx context.Context) (kmip.Caller, error) {
	if len(c.state.PeerCertificates) == 0 {
		return kmip.Caller{}, kmip.Errorf(kmip.ResultReasonAuthenticationNotSuccessful, "no client certificate")
	}
	if err := checkDates(c.state.PeerCertificates[0], c.srv.cfg.Clock()); err != nil {
		return kmip.Caller{}, err
	}
	return c.srv.cfg.Authenticator.Certificate(ctx, &c.state, c.nc.RemoteAddr())
}

func checkDates(cert *x509.Certificate, now time.Time) error {
	switch {
	case now.After(cert.NotAfter):
		return kmip.Errorf(kmip.ResultReasonAuthenticationNotSuccessful, "the client certificate has expired")
	case now.Before(cert.NotBefore):
		return kmip.Errorf(kmip.ResultReasonAuthenticationNotSuccessful, "the client certificate is not yet valid")
	}
	return nil
}

// exchange reads one request and writes its answer: one Write, so that it is one TLS record up to 16 KiB.
func (c *conn) exchange(ctx context.Context) error {
	if c.web != nil {
		return c.web.exchange(ctx)
	}
	req, err := c.read()
	if errors.Is(err, errHTTP) {
		return c.web.exchange(ctx)
	}
	if err != nil {
		return c.refuse(ctx, err)
	}
	defer req.release()
	out := getBuffer(0)
	defer out.release()
	keep := c.srv.handle(ctx, &c.peer, req.b, out)
	if err := c.write(out.b); err != nil {
		return err
	}
	if !keep {
		c.linger()
		return errClosing
	}
	return nil
}

var (
	errClosing = errors.New("closed after an error")
	errHTTP    = errors.New("not a message but an HTTP request")
)

// frameError is a message that is not read because its first 8 octets are wrong already.
type frameError struct {
	reason string
	rest   int64 // octets that may still come
}

func (e *frameError) Error() string { return e.reason }

// refuse answers a message that was not read, in the oldest version since its own is unknown, and ends the connection:
// where the next message begins is unknown too.
func (c *conn) refuse(ctx context.Context, err error) error {
	var frame *frameError
	if !errors.As(err, &frame) {
		return err
	}
	out := getBuffer(0)
	defer out.release()
	c.srv.counters.requests.Add(1)
	refusal := kmip.Errorf(kmip.ResultReasonInvalidMessage, "%s", frame.reason)
	c.srv.auditMessage(ctx, &c.peer, "", refusal)
	c.srv.answerOne(out, c.srv.oldest(), c.srv.cfg.Clock(), "", refusal)
	if werr := c.write(out.b); werr != nil {
		return errors.Join(err, werr)
	}
	c.linger()
	return err
}

// read waits for a message, however long the client is idle, and reads it within ReadTimeout. The length is checked
// before anything is allocated for it.
func (c *conn) read() (*buffer, error) {
	if err := c.idle(c.srv.cfg.IdleTimeout); err != nil {
		return nil, err
	}
	var header [ttlv.HeaderSize]byte
	n, err := io.ReadAtLeast(c.tls, header[:], 1)
	if err != nil {
		return nil, err
	}
	if err := c.idle(c.srv.cfg.ReadTimeout); err != nil {
		return nil, err
	}
	if header[0] == firstMessage && c.entrance.transport == TransportHTTPS {
		return nil, &frameError{"this listener speaks KMIP over HTTPS", 0}
	}
	if c.speaksHTTP(header[:n]) {
		return nil, errHTTP
	}
	if _, err := io.ReadFull(c.tls, header[n:]); err != nil {
		return nil, err
	}
	length, err := checkFrame(header, c.srv.cfg.MaxRequestSize)
	if err != nil {
		return nil, err
	}
	req := getBuffer(ttlv.HeaderSize + length)
	req.b = append(req.b, header[:]...)[:ttlv.HeaderSize+length]
	if _, err := io.ReadFull(c.tls, req.b[ttlv.HeaderSize:]); err != nil {
		req.release()
		return nil, err
	}
	c.begin()
	return req, nil
}

// checkFrame checks tag, type and length of a message and returns the octets that follow.
func checkFrame(header [ttlv.HeaderSize]byte, limit int) (int, error) {
	tag := ttlv.Tag(header[0])<<16 | ttlv.Tag(header[1])<<8 | ttlv.Tag(header[2])
	length := int64(binary.BigEndian.Uint32(header[4:]))
	switch {
	case tag != kmip.TagRequestMessage || ttlv.Type(header[3]) != ttlv.Structure:
		return 0, &frameError{"not a Request Message", 0}
	case length > int64(limit-ttlv.HeaderSize):
		return 0, &frameError{"Request Message is larger than the limit of " + itoa(limit) + " octets", length}
	case length%8 != 0:
		return 0, &frameError{"length of the Request Message is not a multiple of 8", length}
	}
	return int(length), nil
}

// idle marks the connection as not running a request and allows the next read some time.
func (c *conn) idle(d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = false
	if c.draining {
		return errDraining
	}
	return c.tls.SetReadDeadline(time.Now().Add(d))
}

// begin marks the connection as running a request.
func (c *conn) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = true
}

// drain ends the connection when it waits or reads, and after its request when one runs. Any goroutine may call it.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	if !c.busy {
		if err := c.nc.SetReadDeadline(longAgo); err != nil {
			c.log.Debug().Err(err).Msg("unblocking a read")
		}
	}
}

// isDraining tells whether the connection is to end after its request.
func (c *conn) isDraining() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.draining
}

// kill closes the connection under its goroutine. Any goroutine may call it.
func (c *conn) kill() {
	if err := c.nc.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		c.log.Debug().Err(err).Msg("closing a connection")
	}
}

func (c *conn) write(b []byte) error {
	if err := c.tls.SetWriteDeadline(time.Now().Add(c.srv.cfg.WriteTimeout)); err != nil {
		return err
	}
	_, err := c.tls.Write(b)
	return err
}

// linger lets the client read an answer that ends the connection: closing a socket with unread octets would reset it
// and could take the answer along.
func (c *conn) linger() {
	if err := c.tls.CloseWrite(); err != nil {
		return
	}
	if err := c.tls.SetReadDeadline(time.Now().Add(lingerTime)); err != nil {
		return
	}
	if _, err := io.CopyN(io.Discard, c.tls, lingerOctets); err != nil && !errors.Is(err, io.EOF) {
		c.log.Debug().Err(err).Msg("after the last answer")
	}
}

func (c *conn) close() {
	if c.web != nil {
		c.web.release()
	}
	if err := c.tls.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		c.log.Debug().Err(err).Msg("closing a connection")
	}
}
