package audit

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"kmipd/metadata"
)

// Receiver is where records are forwarded to: a syslog receiver.
type Receiver struct {
	network, address string
	secure           bool
}

// ParseReceiver reads tcp+tls://HOST:PORT, tcp://HOST:PORT, udp://HOST:PORT or unix:///PATH.
func ParseReceiver(s string) (Receiver, error) {
	u, err := url.Parse(s)
	if err != nil {
		return Receiver{}, err
	}
	r := Receiver{network: u.Scheme, address: u.Host}
	switch u.Scheme {
	case "tcp+tls":
		r.network, r.secure = "tcp", true
	case "tcp", "udp":
	case "unix":
		r.address = u.Path
		if u.Host != "" || !filepath.IsAbs(u.Path) {
			return r, fmt.Errorf("%q is not unix:///PATH", s)
		}
		return r, nil
	default:
		return r, fmt.Errorf("%q is none of tcp+tls://HOST:PORT, tcp://HOST:PORT, udp://HOST:PORT, unix:///PATH", s)
	}
	if host, port, err := net.SplitHostPort(u.Host); err != nil || host == "" || port == "" || u.Path != "" {
		return r, fmt.Errorf("%q is not %s://HOST:PORT", s, u.Scheme)
	}
	return r, nil
}

// Forwarder sends the records of a trail to a receiver. Its cursor is a file in the directory of the trail.
type Forwarder struct {
	Dir       string
	Receiver  Receiver
	TLS       *tls.Config // for tcp+tls
	Formatter Formatter   // Syslog or CEF
	Log       zerolog.Logger
	// Wake has a value when there may be new records.
	Wake <-chan struct{}

	sent  atomic.Uint64
	conn  net.Conn
	ended chan struct{} // closed when the receiver has closed the connection; nil for datagrams
	frame bool          // octet counting (RFC 6587 section 3.4.1): a stream has no ends of messages
	buf   []byte
}

// CursorFile has the number of the last record that was forwarded.
const CursorFile = "forwarded"

const (
	forwardBatch   = 256
	forwardTimeout = 30 * time.Second
	retryFirst     = time.Second
	retryLast      = time.Minute
)

// Cursor reads the cursor of a directory; 0 when nothing was forwarded yet.
func Cursor(dir string) uint64 {
	b, err := os.ReadFile(filepath.Join(dir, CursorFile))
	if err != nil {
		return 0
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0 // what was sent is sent again: the receiver knows records by their numbers
	}
	return n
}

// Run forwards until ctx ends. Records go out in order and at least once. A stream does not tell what has arrived: what was
// written counts once the connection has stood for some seconds after it, and is sent again when it breaks before.
func (f *Forwarder) Run(ctx context.Context) {
	sent := Cursor(f.Dir)
	sure, wait := sent, retryFirst
	defer func() {
		if f.hangUp() {
			sure = sent // an orderly end of the connection carries over what is under way
		}
		f.keep(sure)
	}()
	var under []mark
	for ctx.Err() == nil {
		n, err := f.batch(ctx, sent)
		if err == nil && f.broken() {
			err = errors.New("the receiver closed the connection")
		}
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			f.Log.Warn().Err(err).Dur("retry_in", wait).Uint64("after", sure).Msg("audit records cannot be forwarded")
			f.hangUp()
			sent, under = sure, nil
			pause(ctx, wait, nil)
			wait = min(2*wait, retryLast)
			continue
		}
		idle := n == sent
		if !idle {
			sent = n
			f.sent.Store(n)
			under = append(under, mark{time.Now(), sent})
		}
		if k := arrived(under); k > 0 {
			sure, under, wait = under[k-1].seq, under[k:], retryFirst
			f.keep(sure)
		}
		switch {
		case idle && len(under) > 0:
			pause(ctx, settleTime, f.Wake)
		case idle:
			pause(ctx, time.Minute, f.Wake)
		}
	}
}

// Sent is the number of the last record that was written to the receiver.
func (f *Forwarder) Sent() uint64 { return f.sent.Load() }

// mark is what was written until when.
type mark struct {
	at  time.Time
	seq uint64
}

// settleTime is how long a connection must stand after a write for what was written to count as arrived.
const settleTime = 2 * time.Second

func arrived(under []mark) int {
	k := 0
	for k < len(under) && time.Since(under[k].at) > settleTime {
		k++
	}
	return k
}

// pause waits for a time, for ctx, or to be woken.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-wake:
	}
}

// keep writes the cursor.
func (f *Forwarder) keep(seq uint64) {
	if err := Replace(f.Dir, CursorFile, []byte(strconv.FormatUint(seq, 10)+"\n")); err != nil {
		f.Log.Error().Err(err).Msg("keeping the place in the forwarded audit records")
	}
}

// batch sends the next records and returns the number of the last one that was sent.
func (f *Forwarder) batch(ctx context.Context, after uint64) (uint64, error) {
	files, err := List(f.Dir)
	if err != nil {
		return after, err
	}
	f.buf = f.buf[:0]
	n := 0
	err = Walk(files, after, func(e *metadata.AuditEntry) error {
		if err := f.dial(ctx); err != nil {
			return err
		}
		msg, err := f.Formatter.Append(nil, e)
		if err != nil {
			return err
		}
		if f.frame {
			f.buf = fmt.Appendf(f.buf, "%d ", len(msg))
			f.buf = append(f.buf, msg...)
		} else if err := f.write(msg); err != nil {
			return err
		}
		after = e.Seq
		if n++; n == forwardBatch {
			return ErrStop
		}
		return nil
	})
	if err == nil && len(f.buf) > 0 {
		err = f.write(f.buf)
	}
	return after, err
}

func (f *Forwarder) write(b []byte) error {
	if err := f.conn.SetWriteDeadline(time.Now().Add(forwardTimeout)); err != nil {
		return err
	}
	_, err := f.conn.Write(b)
	return err
}

func (f *Forwarder) dial(ctx context.Context) error {
	if f.conn != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, forwardTimeout)
	defer cancel()
	var d net.Dialer
	var err error
	f.frame = f.Receiver.network != "udp"
	switch r := f.Receiver; {
	case r.secure:
		f.conn, err = (&tls.Dialer{NetDialer: &d, Config: f.TLS}).DialContext(ctx, r.network, r.address)
	case r.network == "unix":
		// The system's own socket takes datagrams, others are streams.
		if f.conn, err = d.DialContext(ctx, "unixgram", r.address); err == nil {
			f.frame = false
			return nil
		}
		var stream error
		f.conn, stream = d.DialContext(ctx, "unix", r.address)
		if stream != nil {
			err = errors.Join(err, stream)
		} else {
			err = nil
		}
	default:
		f.conn, err = d.DialContext(ctx, r.network, r.address)
	}
	if err != nil {
		f.conn = nil // not a net.Conn that holds nothing
		return err
	}
	if f.frame {
		f.watch()
	}
	return nil
}

// watch reads from a stream, on which nothing comes: the end of the read is the end of the connection.
func (f *Forwarder) watch() {
	c, ended := f.conn, make(chan struct{})
	f.ended = ended
	go func() { // ends with the connection, which hangUp closes
		defer close(ended)
		_, _ = io.Copy(io.Discard, c)
	}()
}

// broken tells that the receiver has closed the connection.
func (f *Forwarder) broken() bool {
	if f.ended == nil {
		return false
	}
	select {
	case <-f.ended:
		return true
	default:
		return false
	}
}

// hangUp ends the connection. It tells whether that was well until then.
func (f *Forwarder) hangUp() bool {
	if f.conn == nil {
		return true
	}
	well := !f.broken()
	if err := f.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		f.Log.Debug().Err(err).Msg("closing the connection to the audit receiver")
		well = false
	}
	if f.ended != nil {
		<-f.ended
	}
	f.conn, f.ended = nil, nil
	return well
}
