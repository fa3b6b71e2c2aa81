package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/text"
	"kmipd/kmip/ttlv"
)

// KMIP over HTTPS (KMIP Additional Message Encodings 1.0 section 2): messages are bodies of POST requests and of their
// answers, in the encoding that Content-Type names. A connection is the same as one without HTTP, with the same limits, times,
// checks and records: only how a message is cut out of it differs, and that an encoding in text becomes TTLV first.

// Transport is what the connections of a listener carry inside TLS.
type Transport uint8

// The transports.
const (
	TransportTLS   Transport = iota // messages in TTLV, one after the other
	TransportHTTPS                  // HTTP requests
	TransportBoth                   // either, told by the first octet of a connection: no method of HTTP that is served begins as a message does
)

// HTTPTarget is the path that requests are for (section 2.3).
const HTTPTarget = "/kmip"

const (
	maxHead      = 16 << 10  // octets of request line and fields
	firstBody    = 256 << 10 // room for a body before more of it has come
	textSize     = 4         // how much longer than in TTLV a message in text may be
	headReserve  = 512       // room for what stands before the body of an answer
	piece        = 256 << 10 // octets of an answer in text that are in memory at most
	firstMessage = byte(kmip.TagRequestMessage >> 16)
)

// web is the HTTP side of a connection. It is made with the first octets that are no message.
type web struct {
	c     *conn
	in    *buffer // what is read and not used yet; nil when there is nothing
	begun bool    // a request has begun, and its time with it
}

// speaksHTTP tells, by what the listener carries and by its first octets, whether a message is an HTTP request. It prepares
// for it.
func (c *conn) speaksHTTP(first []byte) bool {
	transport := c.entrance.transport
	if transport == TransportTLS || transport == TransportBoth && first[0] == firstMessage {
		return false
	}
	c.web = &web{c: c, in: getBuffer(2 * maxHead), begun: true}
	c.web.in.b = append(c.web.in.b, first...)
	return true
}

// httpError is a request that gets no KMIP answer. The connection ends with it: where the next request begins may be unknown.
type httpError struct {
	status int
	text   string
}

func (e *httpError) Error() string { return fmt.Sprintf("HTTP %d: %s", e.status, e.text) }

func badRequest(status int, text string) error { return &httpError{status, text} }

// request is an HTTP request whose head is understood.
type request struct {
	encoding  text.Encoding
	version   string // HTTP/1.0 or HTTP/1.1
	length    int    // octets of the body
	keep      bool   // the client wants to go on
	continues bool   // it waits for 100 Continue
}

// exchange reads one request and writes its answer.
func (w *web) exchange(ctx context.Context) error {
	defer w.rest()
	r, body, err := w.read()
	if err != nil {
		return w.refuse(ctx, r, err)
	}
	defer body.release()
	answer := getBuffer(0)
	defer answer.release()
	keep := w.c.srv.handleText(ctx, &w.c.peer, r.encoding, body, answer)
	keep = keep && r.keep && !w.c.isDraining()
	if err := w.answer(r, answer, keep); err != nil {
		return err
	}
	if !keep {
		w.c.linger()
		if !r.keep {
			return io.EOF
		}
		return errClosing
	}
	return nil
}

// rest gives the memory of an idle connection back.
func (w *web) rest() {
	if w.in != nil && len(w.in.b) == 0 {
		w.release()
	}
}

func (w *web) release() {
	if w.in != nil {
		w.in.release()
		w.in = nil
	}
}

// read waits for a request, however long the client is idle, and reads it within ReadTimeout.
func (w *web) read() (r *request, body *buffer, err error) {
	if !w.begun {
		if err := w.wait(); err != nil {
			return nil, nil, err
		}
	}
	w.begun = false
	head, err := w.head()
	if err != nil {
		return nil, nil, err
	}
	r, err = parseHead(head, w.c.srv.cfg.MaxRequestSize)
	w.use(len(head))
	if err != nil {
		return r, nil, err
	}
	if r.continues && len(w.in.b) == 0 && r.length > 0 {
		if err := w.c.write([]byte("HTTP/1.1 100 Continue\r\n\r\n")); err != nil {
			return r, nil, err
		}
	}
	body, err = w.body(r.length)
	if err == nil {
		w.c.begin()
	}
	return r, body, err
}

// wait waits for the first octet of a request, unless it has come along with the one before.
func (w *web) wait() error {
	if err := w.c.idle(w.c.srv.cfg.IdleTimeout); err != nil {
		return err
	}
	if w.in == nil {
		var first [1]byte // no buffer while there is nothing to put into it
		if _, err := io.ReadFull(w.c.tls, first[:]); err != nil {
			return err
		}
		w.in = getBuffer(2 * maxHead)
		w.in.b = append(w.in.b, first[0])
	}
	return w.c.idle(w.c.srv.cfg.ReadTimeout)
}

// fill reads what is there, one octet at least.
func (w *web) fill() error {
	b := w.in.b
	n, err := w.c.tls.Read(b[len(b):cap(b)])
	w.in.b = b[:len(b)+n]
	if n > 0 {
		return nil
	}
	return err
}

// use takes octets that are done with out of the buffer, and wipes where they stood.
func (w *web) use(n int) {
	left := copy(w.in.b, w.in.b[n:])
	w.in.truncate(left)
}

// head reads to the empty line that ends request line and fields. It shares the memory of the buffer.
func (w *web) head() ([]byte, error) {
	for seen, empty := 0, 0; ; {
		// A robust server goes over an empty line before the request (RFC 9112 section 2.2).
		if n := len(w.in.b) - len(bytes.TrimLeft(w.in.b, "\r\n")); n > 0 {
			w.use(n)
			empty += n
		}
		n := headEnd(w.in.b, seen)
		if n > 0 && n <= maxHead {
			return w.in.b[:n], nil
		}
		if seen = len(w.in.b); n > 0 || empty+seen > maxHead {
			return nil, badRequest(http.StatusRequestHeaderFieldsTooLarge, "request line and fields are too long")
		}
		if err := w.fill(); err != nil {
			return nil, err
		}
	}
}

// headEnd is the length of a head with its empty line, 0 when that has not come. What was seen before is not looked at again.
func headEnd(b []byte, seen int) int {
	for i := max(seen-2, 0); i < len(b); i++ {
		if b[i] != '\n' {
			continue
		}
		rest := bytes.TrimPrefix(b[i+1:], []byte("\r"))
		if len(rest) > 0 && rest[0] == '\n' {
			return len(b) - len(rest) + 1
		}
	}
	return 0
}

// parseHead understands a head. Where it is refused, what is known of it is returned, too, for the answer.
func parseHead(head []byte, limit int) (*request, error) {
	h, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
	if err != nil {
		return nil, badRequest(http.StatusBadRequest, "request line or fields are not HTTP/1.1")
	}
	r := &request{version: "HTTP/1.1", keep: !h.Close}
	switch {
	case h.ProtoMajor != 1:
		return r, badRequest(http.StatusHTTPVersionNotSupported, "HTTP/1.0 and HTTP/1.1 are spoken")
	case h.ProtoMinor == 0:
		r.version = "HTTP/1.0"
		// net/http does not look at the field in this version, and a proxy may: whose body it is must be beyond doubt
		// (RFC 9112 section 6.1).
		if bytes.Contains(bytes.ToLower(head), []byte("\ntransfer-encoding:")) {
			return r, badRequest(http.StatusBadRequest, "HTTP/1.0 has no Transfer-Encoding")
		}
	case h.Host == "":
		return r, badRequest(http.StatusBadRequest, "field Host is missing")
	}
	if h.URL.Path != HTTPTarget {
		return r, badRequest(http.StatusNotFound, "requests are for "+HTTPTarget)
	}
	if h.Method != http.MethodPost {
		return r, badRequest(http.StatusMethodNotAllowed, "method is not POST")
	}
	// None of the types is one that a browser sends for a page of another site without asking first.
	var ok bool
	if r.encoding, ok = text.ByContentType(h.Header.Get("Content-Type")); !ok {
		return r, badRequest(http.StatusUnsupportedMediaType, "Content-Type is none of application/octet-stream, text/xml, application/json")
	}
	if expect := h.Header.Get("Expect"); expect != "" && r.version == "HTTP/1.1" {
		if r.continues = strings.EqualFold(expect, "100-continue"); !r.continues {
			return r, badRequest(http.StatusExpectationFailed, "only 100-continue is expected")
		}
	}
	if h.Header.Get("Content-Length") == "" || len(h.TransferEncoding) > 0 {
		return r, badRequest(http.StatusLengthRequired, "Content-Length is missing")
	}
	if r.encoding != text.TTLV {
		limit *= textSize
	}
	if h.ContentLength > int64(limit) {
		return r, badRequest(http.StatusRequestEntityTooLarge, "body is larger than the limit of "+itoa(limit)+" octets")
	}
	r.length = int(h.ContentLength)
	return r, nil
}

// body reads a body. Room is made for what has come, not for what is announced.
func (w *web) body(length int) (*buffer, error) {
	body := getBuffer(min(length, firstBody))
	n := min(length, len(w.in.b))
	body.b = append(body.b, w.in.b[:n]...)
	w.use(n)
	for len(body.b) < length {
		if len(body.b) == cap(body.b) {
			body.grow(min(length-len(body.b), len(body.b)))
		}
		at := len(body.b)
		n, err := w.c.tls.Read(body.b[at:min(cap(body.b), length)])
		body.b = body.b[:at+n]
		if n == 0 && err != nil {
			body.release()
			return nil, err
		}
	}
	return body, nil
}

// handleText is handle for a message in any encoding, which it uses up. The answer is TTLV.
func (s *Server) handleText(ctx context.Context, p *peer, e text.Encoding, msg, out *buffer) (keep bool) {
	if e == text.TTLV {
		return s.handle(ctx, p, msg.b, out)
	}
	lim := s.limits()
	req := getBuffer(e.DecodedSize(len(msg.b), lim))
	defer req.release()
	var err error
	if req.b, err = e.Decode(req.b, msg.b, lim); err != nil {
		s.refuseText(ctx, p, req.b, err, out)
		return true
	}
	return s.handle(ctx, p, req.b, out)
}

// refuseText answers a message of which a part could be read, in its version if that was in it.
func (s *Server) refuseText(ctx context.Context, p *peer, part []byte, err error, out *buffer) {
	s.counters.requests.Add(1)
	corr, version := s.correlation(), s.answerVersion(salvageVersion(part))
	p.log.Warn().Str("corr", corr).Err(err).Msg("message refused")
	s.auditMessage(ctx, p, corr, err)
	s.answerOne(out, version, s.cfg.Clock().UTC(), corr, err)
}

// errNoText is for an answer that its encoding cannot hold.
var errNoText = kmip.Errorf(kmip.ResultReasonGeneralFailure, "the answer has a character that XML cannot hold: ask in JSON or TTLV")

// answer writes an answer: one Write, as for messages without HTTP, unless its text is much longer.
func (w *web) answer(r *request, msg *buffer, keep bool) error {
	size, err := r.encoding.Size(ttlv.Make(msg.b))
	if err != nil {
		w.c.log.Warn().Err(err).Msg("answer has no text")
		version := w.c.srv.answerVersion(salvageVersion(msg.b))
		msg.truncate(0)
		w.c.srv.answerOne(msg, version, w.c.srv.cfg.Clock().UTC(), "", errNoText)
		if size, err = r.encoding.Size(ttlv.Make(msg.b)); err != nil {
			return err
		}
	}
	if r.encoding != text.TTLV && headReserve+size > piece {
		return w.answerInPieces(r, msg, size, keep)
	}
	out := getBuffer(headReserve + size)
	defer out.release()
	out.b = appendHead(out.b, r.version, http.StatusOK, r.encoding.ContentType(), size, keep)
	b, err := r.encoding.Append(out.b, ttlv.Make(msg.b))
	out.set(b)
	if err != nil {
		return err
	}
	return w.c.write(out.b)
}

// answerInPieces writes an answer whose text can be several times as long as its TTLV, within the time of one answer.
func (w *web) answerInPieces(r *request, msg *buffer, size int, keep bool) error {
	out := getBuffer(piece)
	head := appendHead(out.b, r.version, http.StatusOK, r.encoding.ContentType(), size, keep)
	out.b = out.b[:piece] // to be wiped as a whole
	defer out.release()
	if err := w.c.tls.SetWriteDeadline(time.Now().Add(w.c.srv.cfg.WriteTimeout)); err != nil {
		return err
	}
	return r.encoding.Write(head, ttlv.Make(msg.b), func(b []byte) error {
		_, err := w.c.tls.Write(b)
		return err
	})
}

// refuse answers a request that is no KMIP message, and returns why the connection ends.
func (w *web) refuse(ctx context.Context, r *request, err error) error {
	var refused *httpError
	if !errors.As(err, &refused) {
		return err
	}
	w.c.srv.auditMessage(ctx, &w.c.peer, "", kmip.Errorf(kmip.ResultReasonInvalidMessage, "%s", refused.text).Because(err))
	version := "HTTP/1.1"
	if r != nil {
		version = r.version
	}
	body := refused.text + "\n"
	out := appendHead(nil, version, refused.status, "text/plain; charset=utf-8", len(body), false)
	if werr := w.c.write(append(out, body...)); werr != nil {
		return errors.Join(err, werr)
	}
	w.c.linger()
	return err
}

// appendHead writes status line and fields of an answer (section 2.5).
func appendHead(b []byte, version string, status int, contentType string, length int, keep bool) []byte {
	b = append(b, version...)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(status)...)
	b = append(b, "\r\nDate: "...)
	b = time.Now().UTC().AppendFormat(b, http.TimeFormat)
	b = append(b, "\r\nContent-Type: "...)
	b = append(b, contentType...)
	b = append(b, "\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(length), 10)
	b = append(b, "\r\nCache-Control: no-cache\r\n"...)
	if status == http.StatusMethodNotAllowed {
		b = append(b, "Allow: POST\r\n"...)
	}
	switch {
	case !keep:
		b = append(b, "Connection: close\r\n"...)
	case version == "HTTP/1.0":
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	return append(b, "\r\n"...)
}
