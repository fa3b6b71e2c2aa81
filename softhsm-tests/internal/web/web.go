// Package web carries messages over HTTPS, as the OASIS cases for it do: HTTP/1.0, POST to /kmip, a Content-Length with blanks
// around it. It shares no code with the server or its client.
package web

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"time"

	"kmipd/softhsm-tests/internal/harness"
	"kmipd/softhsm-tests/internal/rawtext"
	"kmipd/softhsm-tests/internal/rawttlv"
	"kmipd/softhsm-tests/internal/registry"
)

// Encodings are the encodings of messages over HTTPS.
var Encodings = []string{"ttlv", "xml", "json"}

var contentTypes = map[string]string{"ttlv": "application/octet-stream", "xml": "text/xml", "json": "application/json"}

// Conn is a connection that carries one request at a time. Not safe for concurrent use.
type Conn struct {
	conn     *harness.Conn
	reader   *bufio.Reader
	encoding string
	codec    rawtext.Codec
}

// New makes HTTPS of a connection.
func New(c *harness.Conn, encoding string, reg *registry.Registry) *Conn {
	return &Conn{c, bufio.NewReader(c), encoding, rawtext.Codec{Encoding: encoding, Registry: reg}}
}

// Exchange sends a tree and returns the answer as a tree.
func (c *Conn) Exchange(request *rawttlv.Node) (*rawttlv.Node, error) {
	if c.encoding == "ttlv" {
		b, err := rawttlv.Encode(request)
		if err != nil {
			return nil, err
		}
		if b, err = c.Post(b); err != nil {
			return nil, err
		}
		return rawttlv.Decode(b)
	}
	b, err := c.codec.Encode(request)
	if err != nil {
		return nil, err
	}
	if b, err = c.Post(b); err != nil {
		return nil, err
	}
	n, err := c.codec.Decode(b)
	if err != nil {
		return nil, fmt.Errorf("%w in %s", err, b)
	}
	return n, nil
}

// Post sends a body and returns that of the answer.
func (c *Conn) Post(body []byte) ([]byte, error) {
	if err := c.conn.SetDeadline(time.Now().Add(harness.Timeout)); err != nil {
		return nil, err
	}
	head := fmt.Sprintf("POST /kmip HTTP/1.0\r\nConnection: Keep-Alive\r\nContent-Type: %s\r\nContent-Length: %8d \r\nCache-Control: no-cache\r\n\r\n",
		contentTypes[c.encoding], len(body))
	if _, err := c.conn.Write(append([]byte(head), body...)); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != contentTypes[c.encoding] ||
		resp.Header.Get("Cache-Control") != "no-cache" || resp.ContentLength != int64(len(answer)) {
		return nil, fmt.Errorf("HTTP answer %s with %v and %d octets", resp.Status, resp.Header, len(answer))
	}
	return answer, nil
}
