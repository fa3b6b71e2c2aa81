package client

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"kmipd/kmip/text"
	"kmipd/kmip/ttlv"
)

// KMIP over HTTPS (KMIP Additional Message Encodings 1.0 section 2.4). Everything above an exchange works on TTLV.

// textSize is how much longer than in TTLV an answer in text may be.
const textSize = 8

// maxHead is what status line and fields of an answer may have, about.
const maxHead = 64 << 10

// maxItems bounds the items of an answer.
const maxItems = 1 << 20

// ErrHTTP is the class of answers that hold no KMIP message.
var ErrHTTP = errors.New("the server does not answer with a KMIP message")

// split takes an https:// address apart. Others have no path.
func (c *Config) split() error {
	if !strings.HasPrefix(c.Address, "https://") {
		if strings.Contains(c.Address, "://") {
			return fmt.Errorf("client: %q is neither HOST:PORT nor https://HOST:PORT/PATH", c.Address)
		}
		if c.Encoding != text.TTLV {
			return fmt.Errorf("client: messages in %s need an address that begins with https://", c.Encoding)
		}
		return nil
	}
	u, err := url.Parse(c.Address)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("client: %q is not of the form https://HOST:PORT/PATH", c.Address)
	}
	c.Address, c.target = u.Host, u.RequestURI()
	if u.Path == "" {
		c.target = "/kmip"
	}
	return nil
}

// post sends a message in a request and reads its answer.
func (c *Client) post(msg []byte) ([]byte, error) {
	e := c.cfg.Encoding
	it, err := ttlv.Parse(msg, ttlv.Limits{MaxSize: len(msg), MaxDepth: ttlv.DefaultLimits.MaxDepth, MaxItems: maxItems})
	if err != nil {
		return nil, err
	}
	size, err := e.Size(it)
	if err != nil {
		return nil, err
	}
	head := "POST " + c.cfg.target + " HTTP/1.1\r\nHost: " + c.cfg.Address + "\r\nContent-Type: " + e.ContentType() +
		"\r\nContent-Length: " + strconv.Itoa(size) + "\r\nCache-Control: no-cache\r\n\r\n"
	out, err := e.Append(append(make([]byte, 0, len(head)+size), head...), it)
	defer clear(out) // it may hold a key or a password
	if err != nil {
		return nil, err
	}
	if _, err := c.conn.Write(out); err != nil {
		return nil, err
	}
	if c.reader == nil {
		c.limited.R = c.conn
		c.reader = bufio.NewReader(&c.limited)
	}
	c.limited.N = int64(c.limit()) + maxHead
	resp, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return nil, err
	}
	return c.answer(resp)
}

// limit is the most that an answer's body may have.
func (c *Client) limit() int {
	if c.cfg.Encoding == text.TTLV {
		return c.cfg.MaxMessage
	}
	return textSize * c.cfg.MaxMessage
}

// body reads the body of an answer, of which a part comes with an error.
func (c *Client) body(resp *http.Response) ([]byte, error) {
	switch n := resp.ContentLength; {
	case n > int64(c.limit()):
		return nil, fmt.Errorf("the answer of %d octets is larger than the limit of %d", n, c.limit())
	case n < 0:
		return io.ReadAll(resp.Body)
	}
	b := make([]byte, resp.ContentLength)
	_, err := io.ReadFull(resp.Body, b)
	return b, err
}

// answer takes the message out of an answer.
func (c *Client) answer(resp *http.Response) ([]byte, error) {
	e := c.cfg.Encoding
	body, err := c.body(resp)
	defer clear(body)
	switch got, ok := text.ByContentType(resp.Header.Get("Content-Type")); {
	case err != nil:
		return nil, err
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%w: HTTP status %d: %s", ErrHTTP, resp.StatusCode, firstLine(body))
	case !ok || got != e:
		return nil, fmt.Errorf("%w of type %s", ErrHTTP, e.ContentType())
	}
	lim := ttlv.Limits{MaxSize: c.cfg.MaxMessage, MaxDepth: ttlv.DefaultLimits.MaxDepth, MaxItems: maxItems}
	msg, err := e.Decode(make([]byte, 0, e.DecodedSize(len(body), lim)), body, lim)
	if err != nil {
		clear(msg)
		return nil, err
	}
	if resp.Close {
		c.last = errors.New("the server ended the connection after its answer")
	}
	return msg, nil
}

// firstLine is what a server says beside a status, as far as it can be printed.
func firstLine(body []byte) string {
	line, _, _ := bytes.Cut(body[:min(len(body), 200)], []byte("\n"))
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, string(line))
}
