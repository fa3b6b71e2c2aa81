package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/text"
	"kmipd/kmip/ttlv"
)

func overHTTPS(c *Config) { c.Transport = TransportHTTPS }

var everyEncoding = []text.Encoding{text.TTLV, text.XML, text.JSON}

// inText is a message in an encoding.
func inText(t testing.TB, e text.Encoding, msg []byte) []byte {
	t.Helper()
	b, err := e.Append(nil, ttlv.Make(msg))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// post is an HTTP request as a KMIP client makes it. The value of Content-Length is padded as in the OASIS cases.
func post(version string, e text.Encoding, body []byte, fields ...string) []byte {
	head := fmt.Sprintf("POST /kmip HTTP/%s\r\nHost: kms\r\nContent-Type: %s\r\nContent-Length: %8d   \r\nCache-Control: no-cache\r\n",
		version, e.ContentType(), len(body))
	for _, f := range fields {
		head += f + "\r\n"
	}
	return append([]byte(head+"\r\n"), body...)
}

// webConn reads answers of one connection.
type webConn struct {
	net.Conn
	r *bufio.Reader
}

func (s *site) dialWeb(t testing.TB, name string, change ...func(*tls.Config)) *webConn {
	t.Helper()
	conn, _ := s.dial(t, name, change...)
	return &webConn{conn, bufio.NewReader(conn)}
}

func (c *webConn) send(t testing.TB, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

func (c *webConn) receive(t testing.TB) (*http.Response, []byte) {
	t.Helper()
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.ContentLength != int64(len(body)) || resp.Header.Get("Cache-Control") != "no-cache" || resp.Header.Get("Date") == "" {
		t.Errorf("fields of the answer: %v", resp.Header)
	}
	return resp, body
}

// answer takes an answer that is a KMIP message in the encoding.
func (c *webConn) answer(t testing.TB, e text.Encoding) reply {
	t.Helper()
	resp, body := c.receive(t)
	return parseWeb(t, e, resp, body)
}

func parseWeb(t testing.TB, e text.Encoding, resp *http.Response, body []byte) reply {
	t.Helper()
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != e.ContentType() {
		t.Fatalf("got %s, %v, %s", resp.Status, resp.Header, body)
	}
	msg, err := e.Decode(nil, body, ttlv.Limits{MaxSize: 64 << 20, MaxDepth: 32, MaxItems: 1 << 20})
	if err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return parseReply(t, msg)
}

// Read takes what answers have left over.
func (c *webConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// Requests in every encoding and both versions of HTTP share connections, and are what they are without HTTP.
func TestHTTPS(t *testing.T) {
	s := newSite(t, overHTTPS)
	for _, tlsVersion := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		c := s.dialWeb(t, "client-1", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tlsVersion, tlsVersion })
		for _, e := range everyEncoding {
			for _, v := range kmip.Supported {
				for _, version := range []string{"1.0", "1.1"} {
					c.send(t, post(version, e, inText(t, e, one(v, kmip.OperationCreate, createAES()).encode()), "Connection: Keep-Alive"))
					resp, body := c.receive(t)
					r := parseWeb(t, e, resp, body)
					r.want(t, 0, 0)
					if got := r.header.ProtocolVersion; got.ProtocolVersionMajor != v.Major || got.ProtocolVersionMinor != v.Minor || resp.Proto != "HTTP/"+version {
						t.Errorf("%s, %s, HTTP/%s: answered in %v, %s", e, v, version, got, resp.Proto)
					}
				}
			}
		}
	}
	if got := s.Counters(); got.Accepted != 2 || got.Items[ItemKey{kmip.OperationCreate, 0}] != 2*3*10 {
		t.Errorf("counters %+v", got)
	}
}

// A client that knows nothing of this package, and that would like HTTP/2.
func TestForeignHTTPClient(t *testing.T) {
	s := newSite(t, overHTTPS)
	c := http.Client{Transport: &http.Transport{TLSClientConfig: s.ca.Client("client-1"), ForceAttemptHTTP2: true}, Timeout: 20 * time.Second}
	defer c.CloseIdleConnections()
	for _, e := range everyEncoding {
		resp, err := c.Post("https://"+s.addr+"/kmip", e.ContentType()+"; charset=utf-8", bytes.NewReader(inText(t, e, one(kmip.V1_2, kmip.OperationCreate, createAES()).encode())))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.Body.Close() != nil {
			t.Fatal(err)
		}
		parseWeb(t, e, resp, body).want(t, 0, 0)
	}
	if got := s.Counters().Accepted; got != 1 {
		t.Errorf("%d connections were made", got)
	}
}

// What is no KMIP request gets a status that says why, and the connection ends; it is in the audit trail.
func TestHTTPRefusals(t *testing.T) {
	a := &fakeAuditor{}
	s := newSite(t, overHTTPS, func(c *Config) { c.Auditor, c.MaxRequestSize = a, minRequestSize })
	body := inText(t, text.JSON, one(kmip.V1_2, kmip.OperationCreate, createAES()).encode())
	good := string(post("1.1", text.JSON, body))
	instead := func(old, text string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in the request", old)
		}
		return strings.Replace(good, old, text, 1)
	}
	length := fmt.Sprintf("Content-Length: %8d   \r\n", len(body))
	cases := []struct {
		name, request string
		status        int
	}{
		{"GET", "GET /kmip HTTP/1.1\r\nHost: kms\r\n\r\n", 405},
		{"HEAD", "HEAD /kmip HTTP/1.0\r\n\r\n", 405},
		{"PUT", instead("POST", "PUT"), 405},
		{"OPTIONS", "OPTIONS /kmip HTTP/1.1\r\nHost: kms\r\nAccess-Control-Request-Method: POST\r\n\r\n", 405},
		{"other target", instead("/kmip", "/"), 404},
		{"target below", instead("/kmip", "/kmip/x"), 404},
		{"asterisk", "OPTIONS * HTTP/1.1\r\nHost: kms\r\n\r\n", 404},
		{"plain text", instead("application/json", "text/plain"), 415},
		{"form", instead("application/json", "application/x-www-form-urlencoded"), 415},
		{"no type", instead("Content-Type: application/json\r\n", ""), 415},
		{"other characters", instead("application/json", "application/json; charset=utf-16"), 415},
		{"no length", instead(length, ""), 411},
		{"chunked", instead(length, "Transfer-Encoding: chunked\r\n"), 411},
		{"chunked and length", instead(length, length+"Transfer-Encoding: chunked\r\n"), 411},
		{"two lengths", instead(length, length+"Content-Length: 1\r\n"), 400},
		{"negative length", instead(length, "Content-Length: -1\r\n"), 400},
		{"hexadecimal length", instead(length, "Content-Length: 0x10\r\n"), 400},
		{"too large", instead(length, "Content-Length: 65537\r\n"), 413},
		{"far too large", instead(length, "Content-Length: 9223372036854775807\r\n"), 413},
		{"no host", instead("Host: kms\r\n", ""), 400},
		{"expectation", instead("Host", "Expect: 200-ok\r\nHost"), 417},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
		{"HTTP/0.9", "POST /kmip\r\n\r\n", 400},
		{"no HTTP", "\x16\x03\x01\x02\x00\x01\r\n\r\n", 400},
		{"field without name", instead("Host: kms", ": kms"), 400},
		{"field with blank", instead("Host: kms", "Host : kms"), 400},
		{"long field", instead("Host", "X: "+strings.Repeat("x", 2*maxHead)+"\r\nHost"), 431},
		{"many fields", instead("Host", strings.Repeat("X: y\r\n", maxHead/6)+"Host"), 431},
		{"chunked in 1.0", strings.Replace(instead(length, length+"transfer-encoding: chunked\r\n"), "HTTP/1.1", "HTTP/1.0", 1), 400},
		{"empty lines", strings.Repeat("\r\n", maxHead) + "POST", 431},
		{"endless line", strings.Repeat("x", 2*maxHead), 431},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			c := s.dialWeb(t, "client-1")
			c.send(t, []byte(tc.request))
			resp, err := http.ReadResponse(c.r, &http.Request{Method: strings.Fields(tc.request)[0]})
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != tc.status || !resp.Close || (resp.Header.Get("Allow") == "POST") != (tc.status == 405) {
				t.Errorf("got %s, %v", resp.Status, resp.Header)
			}
			if tc.name != "HEAD" {
				if b, err := io.ReadAll(resp.Body); err != nil || strings.Count(string(b), "\n") != 1 {
					t.Errorf("body %q, %v", b, err)
				}
			}
			if tc.name != "HEAD" {
				wantEnd(t, c)
			}
		})
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.items) != len(cases) || len(s.keys.objects) != 0 {
		t.Errorf("%d refusals are recorded of %d; %d objects were made", len(a.items), len(cases), len(s.keys.objects))
	}
	for _, it := range a.items {
		if kmip.ReasonOf(it.Err) != kmip.ResultReasonInvalidMessage || it.Call.Caller.Client != "client-1" {
			t.Errorf("record %+v", it)
		}
	}
}

// A body that is no message of its encoding is answered in it, in the version that could be read, and the connection goes on.
func TestTextRefusals(t *testing.T) {
	a := &fakeAuditor{}
	s := newSite(t, overHTTPS, func(c *Config) { c.Auditor, c.MaxRequestSize = a, minRequestSize })
	c := s.dialWeb(t, "client-1")
	good := one(kmip.V1_2, kmip.OperationCreate, createAES()).encode()
	large := &kmip.RegisterRequest{ObjectType: kmip.ObjectTypeOpaqueObject, OpaqueObject: &kmip.OpaqueObject{OpaqueDataType: 0x80000000, OpaqueDataValue: make([]byte, minRequestSize)}}
	for _, e := range everyEncoding[1:] {
		refused := func(body []byte, v kmip.Version, text string) {
			t.Helper()
			c.send(t, post("1.1", e, body))
			r := c.answer(t, e)
			r.wantCount(t, 1)
			r.want(t, 0, kmip.ResultReasonInvalidMessage)
			if got := r.header.ProtocolVersion; got.ProtocolVersionMinor != v.Minor || !strings.Contains(*r.items[0].ResultMessage, text) {
				t.Errorf("%s: answered in %v: %s", e, got, *r.items[0].ResultMessage)
			}
		}
		refused(nil, kmip.V1_0, "octet 0")
		refused([]byte("nonsense"), kmip.V1_0, "not valid "+e.String())
		refused(bytes.ReplaceAll(inText(t, e, good), []byte("AES"), []byte("XES")), kmip.V1_2, "Enumeration has an unknown name")
		refused(append(inText(t, e, good), '!'), kmip.V1_2, "after the end")
		refused(inText(t, e, one(kmip.V1_2, kmip.OperationRegister, large).encode()), kmip.V1_2, "larger than the limit")
		refused(inText(t, e, one(kmip.V2_1, kmip.OperationCreate, createAES()).encode()), kmip.V1_4, "is not supported")
		c.send(t, post("1.1", e, inText(t, e, good)))
		c.answer(t, e).want(t, 0, 0)
	}
	if got := s.Counters(); got.Accepted != 1 || got.Requests != 14 || got.Items[ItemKey{0, kmip.ResultReasonInvalidMessage}] != 12 {
		t.Errorf("counters %+v", got)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.items) != 14 {
		t.Errorf("%d records", len(a.items))
	}
}

// Requests that come octet by octet, together, or with the body after 100 Continue.
func TestHTTPPieces(t *testing.T) {
	s := newSite(t, overHTTPS)
	c := s.dialWeb(t, "client-1")
	msg := func(e text.Encoding, fields ...string) []byte {
		return post("1.1", e, inText(t, e, one(kmip.V1_2, kmip.OperationCreate, createAES()).encode()), fields...)
	}
	for _, b := range append([]byte("\r\n\r\n"), msg(text.JSON)...) {
		c.send(t, []byte{b})
	}
	c.answer(t, text.JSON).want(t, 0, 0)
	var many []byte
	for range 20 {
		for _, e := range everyEncoding {
			many = append(many, msg(e)...)
		}
	}
	c.send(t, many)
	for range 20 {
		for _, e := range everyEncoding {
			c.answer(t, e).want(t, 0, 0)
		}
	}
	whole := msg(text.XML, "Expect: 100-Continue")
	head := bytes.Index(whole, []byte("\r\n\r\n")) + 4
	c.send(t, whole[:head])
	if line, err := c.r.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	if line, err := c.r.ReadString('\n'); err != nil || line != "\r\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	c.send(t, whole[head:])
	c.answer(t, text.XML).want(t, 0, 0)
	// Lines that end with a line feed alone are read, too (RFC 9112 section 2.2).
	c.send(t, append(bytes.ReplaceAll(whole[:head], []byte("\r\n"), []byte("\n")), whole[head:]...))
	c.answer(t, text.XML).want(t, 0, 0)
	// A body larger than the room that is made for it at first.
	large := &kmip.RegisterRequest{ObjectType: kmip.ObjectTypeOpaqueObject, OpaqueObject: &kmip.OpaqueObject{OpaqueDataType: 0x80000000, OpaqueDataValue: bytes.Repeat([]byte{1}, 900<<10)}}
	for _, e := range everyEncoding {
		c.send(t, post("1.1", e, inText(t, e, one(kmip.V1_2, kmip.OperationRegister, large).encode())))
		c.answer(t, e).want(t, 0, 0)
	}
}

// Who says that the connection ends is believed, and HTTP/1.0 says so by silence.
func TestHTTPClose(t *testing.T) {
	s := newSite(t, overHTTPS)
	for _, request := range [][]byte{
		post("1.0", text.TTLV, one(kmip.V1_2, kmip.OperationCreate, createAES()).encode()),
		post("1.1", text.TTLV, one(kmip.V1_2, kmip.OperationCreate, createAES()).encode(), "Connection: close"),
	} {
		c := s.dialWeb(t, "client-1")
		c.send(t, request)
		resp, body := c.receive(t)
		parseWeb(t, text.TTLV, resp, body).want(t, 0, 0)
		if !resp.Close {
			t.Errorf("fields of the answer: %v", resp.Header)
		}
		wantEnd(t, c)
	}
}

func TestSlowHTTPClients(t *testing.T) {
	msg := post("1.1", text.JSON, inText(t, text.JSON, one(kmip.V1_2, kmip.OperationCreate, createAES()).encode()))
	s := newSite(t, overHTTPS, func(c *Config) { c.ReadTimeout = 300 * time.Millisecond })
	head := s.dialWeb(t, "client-1") // stops within the head, after a request that was well
	head.send(t, msg)
	head.answer(t, text.JSON).want(t, 0, 0)
	head.send(t, msg[:20])
	body := s.dialWeb(t, "client-1") // stops within the body
	body.send(t, msg[:len(msg)-20])
	trickle := s.dialWeb(t, "client-1") // sends always something and never all
	go func() {
		for {
			if _, err := trickle.Write([]byte("X")); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	for _, c := range []*webConn{head, body, trickle} {
		wantEnd(t, c)
	}
	s = newSite(t, overHTTPS, func(c *Config) { c.IdleTimeout = 300 * time.Millisecond })
	idle := s.dialWeb(t, "client-1")
	idle.send(t, msg)
	idle.answer(t, text.JSON).want(t, 0, 0)
	wantEnd(t, idle)
}

// A connection that waits holds no buffer.
func TestIdleHTTPHasNoBuffer(t *testing.T) {
	s := newSite(t, overHTTPS, func(c *Config) { c.IdleTimeout = 10 * time.Millisecond })
	near, far := net.Pipe()
	defer func() { _, _ = near.Close(), far.Close() }()
	w := &web{c: newConn(s.Server, s.doors[""], near)}
	var timeout net.Error
	if err := w.wait(); !errors.As(err, &timeout) || !timeout.Timeout() || w.in != nil {
		t.Errorf("got %v, %v", err, w.in)
	}
}

// A listener for both tells them apart. One for HTTPS says so to a client that has none; one without it answers HTTP as any
// other nonsense (TestFrames).
func TestBothTransports(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Transport = TransportBoth })
	msg := one(kmip.V1_2, kmip.OperationCreate, createAES()).encode()
	raw, _ := s.dial(t, "client-1")
	exchange(t, raw, msg).want(t, 0, 0)
	exchange(t, raw, msg).want(t, 0, 0)
	for _, e := range everyEncoding {
		c := s.dialWeb(t, "client-1")
		for range 2 {
			c.send(t, post("1.1", e, inText(t, e, msg)))
			c.answer(t, e).want(t, 0, 0)
		}
	}
	s = newSite(t, overHTTPS)
	raw, _ = s.dial(t, "client-1")
	r := exchange(t, raw, msg)
	r.want(t, 0, kmip.ResultReasonInvalidMessage)
	if !strings.Contains(*r.items[0].ResultMessage, "HTTPS") {
		t.Errorf("text is %q", *r.items[0].ResultMessage)
	}
	wantEnd(t, raw)
}

// Maximum Response Size is that of the answer in TTLV, whatever is sent (sections 4 and 6).
func TestMaximumResponseSizeOfText(t *testing.T) {
	s := newSite(t, overHTTPS)
	c := s.dialWeb(t, "client-1")
	a := one(kmip.V1_4, kmip.OperationQuery, query(1, 2))
	c.send(t, post("1.1", text.TTLV, a.encode()))
	full := c.answer(t, text.TTLV).size
	for _, e := range everyEncoding {
		for _, tc := range []struct {
			limit  int
			reason kmip.ResultReason
		}{{full, 0}, {full - 1, kmip.ResultReasonResponseTooLarge}} {
			a.header.MaximumResponseSize = ptr(int32(tc.limit))
			c.send(t, post("1.1", e, inText(t, e, a.encode())))
			c.answer(t, e).want(t, 0, tc.reason)
		}
	}
}

// An answer that XML cannot hold is a failure in XML, and nothing else.
func TestAnswerWithoutText(t *testing.T) {
	s := newSite(t, overHTTPS)
	s.keys.hook = func(context.Context, kmip.Operation, *kmip.Call) error {
		return kmip.Errorf(kmip.ResultReasonInvalidField, "a\x01b")
	}
	c := s.dialWeb(t, "client-1")
	msg := one(kmip.V1_2, kmip.OperationCreate, createAES()).encode()
	c.send(t, post("1.1", text.XML, inText(t, text.XML, msg)))
	r := c.answer(t, text.XML)
	r.want(t, 0, kmip.ResultReasonGeneralFailure)
	if r.header.ProtocolVersion.ProtocolVersionMinor != 2 {
		t.Errorf("answered in %v", r.header.ProtocolVersion)
	}
	c.send(t, post("1.1", text.JSON, inText(t, text.JSON, msg)))
	c.answer(t, text.JSON).want(t, 0, kmip.ResultReasonInvalidField)
}

// An answer in text takes no more memory than one in TTLV, however much longer it is.
func TestLargeTextAnswers(t *testing.T) {
	s := newSite(t, overHTTPS)
	s.keys.material = bytes.Repeat([]byte("0123456789"), 600<<10)
	plain, err := tls.Dial("tcp", s.addr, s.ca.Client("client-1")) // not one that keeps what it reads
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plain.Close() }()
	if err := plain.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	c := &webConn{plain, bufio.NewReader(plain)}
	c.send(t, post("1.1", text.TTLV, one(kmip.V1_2, kmip.OperationCreate, createAES()).encode()))
	id := payloadOf[kmip.CreateResponse](t, c.answer(t, text.TTLV).items[0]).UniqueIdentifier
	get := one(kmip.V1_2, kmip.OperationGet, &kmip.GetRequest{UniqueIdentifier: &id}).encode()
	var most uint64
	for _, e := range everyEncoding {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c.send(t, post("1.1", e, inText(t, e, get)))
		resp, err := http.ReadResponse(c.r, nil)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		runtime.ReadMemStats(&after)
		if err != nil || n != resp.ContentLength || n < int64(len(s.keys.material)) {
			t.Fatalf("%s: %d octets of %d, %v", e, n, resp.ContentLength, err)
		}
		if e == text.TTLV {
			most = after.TotalAlloc - before.TotalAlloc + 1<<20
		} else if took := after.TotalAlloc - before.TotalAlloc; took > most {
			t.Errorf("%s: %d octets were allocated, want %d at most", e, took, most)
		}
		c.send(t, post("1.1", e, inText(t, e, get)))
		c.answer(t, e).want(t, 0, 0)
	}
}

// The certificate is looked at for each request of a connection, and shutdown lets a request finish and says that it is the last.
func TestHTTPIdentityAndShutdown(t *testing.T) {
	s := newSite(t, overHTTPS)
	msg := post("1.1", text.JSON, inText(t, text.JSON, one(kmip.V1_2, kmip.OperationCreate, createAES()).encode()))
	c := s.dialWeb(t, "client-2")
	c.send(t, msg)
	c.answer(t, text.JSON).want(t, 0, 0)
	s.auth.remove("client-2")
	c.send(t, msg)
	c.answer(t, text.JSON).want(t, 0, kmip.ResultReasonPermissionDenied)

	entered, leave := make(chan struct{}), make(chan struct{})
	s.keys.hook = func(context.Context, kmip.Operation, *kmip.Call) error {
		close(entered)
		<-leave
		return nil
	}
	busy := s.dialWeb(t, "client-1")
	busy.send(t, msg)
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(context.Background()) }()
	wantEnd(t, c)
	close(leave)
	resp, body := busy.receive(t)
	parseWeb(t, text.JSON, resp, body).want(t, 0, 0)
	if !resp.Close {
		t.Error("the client may think that the connection goes on")
	}
	wantEnd(t, busy)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// A gate refuses over HTTPS as it does without, at the handshake and at each request, and refusals are counted by rule.
func TestHTTPGate(t *testing.T) {
	var revoked atomic.Bool
	s := newSite(t, overHTTPS, func(c *Config) {
		c.Gate = Gate{
			VerifyConnection: func(state tls.ConnectionState) error {
				if state.PeerCertificates[0].Subject.CommonName == "client-2" {
					return &refusal{"verify"}
				}
				return nil
			},
			Request: func(*tls.ConnectionState) error {
				if revoked.Load() {
					return &refusal{"request"}
				}
				return nil
			},
		}
	})
	msg := post("1.1", text.XML, inText(t, text.XML, one(kmip.V1_2, kmip.OperationCreate, createAES()).encode()))
	banned, _ := s.dial(t, "client-2")
	if _, err := banned.Write(msg); err == nil {
		wantEnd(t, banned)
	}
	c := s.dialWeb(t, "client-1")
	c.send(t, msg)
	c.answer(t, text.XML).want(t, 0, 0)
	revoked.Store(true)
	c.send(t, msg)
	resp, body := c.receive(t)
	parseWeb(t, text.XML, resp, body).want(t, 0, kmip.ResultReasonAuthenticationNotSuccessful)
	if !resp.Close {
		t.Error("the client may think that the connection goes on")
	}
	wantEnd(t, c)
	until(t, "both refusals are counted", func() bool {
		got := s.Counters().Refusals
		return got["verify"] == 1 && got["request"] == 1
	})
}

// The profiles of the encodings are fulfilled where HTTPS is, on whichever listener, in the versions spoken.
func TestEncodingProfiles(t *testing.T) {
	names := func(cfg ...func(*Config)) (out []string) {
		b := newBench(t, cfg...)
		r := b.send(t, one(kmip.V1_4, kmip.OperationQuery, query(10)))
		for _, p := range payloadOf[kmip.QueryResponse](t, r.items[0]).ProfileInformation {
			if name := p.ProfileName.String(); strings.HasPrefix(name, "HTTPS") || strings.HasPrefix(name, "XML") || strings.HasPrefix(name, "JSON") {
				out = append(out, name)
			}
		}
		return out
	}
	if got := names(); len(got) != 0 {
		t.Errorf("without HTTPS: %q", got)
	}
	for _, cfg := range []func(*Config){overHTTPS, func(c *Config) { c.Transport = TransportBoth },
		func(c *Config) { c.Listeners = []Listener{{Name: "web", TLS: c.TLS, Transport: TransportHTTPS}} }} {
		got := names(cfg)
		if len(got) != 15 || !slices.Contains(got, "HTTPS Server KMIP v1.0") || !slices.Contains(got, "JSON Server KMIP v1.4") || !slices.Contains(got, "XML Server KMIP v1.3") {
			t.Errorf("with HTTPS: %q", got)
		}
	}
	if got := names(overHTTPS, func(c *Config) { c.Versions = []kmip.Version{kmip.V1_4} }); len(got) != 3 {
		t.Errorf("of 1.4 alone: %q", got)
	}
}

// Keys in text are wiped as those in TTLV are: the buffers that they went through are clean when the connection is over.
func TestTextIsWiped(t *testing.T) {
	s := newSite(t, overHTTPS)
	secret := []byte("0123456789abcdef-the-secret-0123456789abcdef")
	marks := [][]byte{secret[:24], fmt.Appendf(nil, "%x", secret[:24])}
	s.keys.material = secret
	reg := registerSecret()
	value := kmip.KeyValue{KeyMaterial: ttlv.Make(ttlv.AppendBytes(nil, kmip.TagKeyMaterial, secret))}
	reg.SecretData.KeyBlock.KeyValue = ttlv.Make(value.Append(nil, kmip.TagKeyValue, kmip.V1_4))
	// The pools have no buffers but those that the test knows, as long as they are not emptied. What is not used is not zero.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	var known [][]byte
	for i, size := range bufferSizes {
		for bufferPools[i].Get() != nil {
			continue
		}
		for range 16 {
			b := bytes.Repeat([]byte{0xEE}, size)
			known = append(known, b)
			bufferPools[i].Put(&buffer{b[:0]})
		}
	}
	id := ""
	ask := func(e text.Encoding, op kmip.Operation, p interface {
		Append([]byte, ttlv.Tag, kmip.Version) []byte
	}) {
		t.Helper()
		c := s.dialWeb(t, "client-1")
		c.send(t, post("1.1", e, inText(t, e, one(kmip.V1_2, op, p).encode())))
		resp, body := c.receive(t)
		if op == kmip.OperationGet && !bytes.Contains(body, marks[1]) {
			t.Fatalf("%s: the key is not in the answer: %s", e, body)
		}
		r := parseWeb(t, e, resp, body)
		r.want(t, 0, 0)
		if op == kmip.OperationCreate {
			id = payloadOf[kmip.CreateResponse](t, r.items[0]).UniqueIdentifier
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		until(t, "the connection ends", func() bool { return s.Counters().Active == 0 })
		for _, b := range known {
			for _, m := range marks {
				if bytes.Contains(b, m) {
					t.Errorf("%s, %s: a buffer of %d octets holds %q", e, op, len(b), m)
				}
			}
		}
	}
	for _, e := range everyEncoding[1:] {
		ask(e, kmip.OperationRegister, reg)
		ask(e, kmip.OperationCreate, createAES())
		ask(e, kmip.OperationGet, &kmip.GetRequest{UniqueIdentifier: &id})
	}
	used := 0
	for _, b := range known {
		if bytes.IndexByte(b, 0) >= 0 {
			used++
		}
	}
	if used == 0 {
		t.Error("none of the buffers was used")
	}
}

// FuzzHead: a head ends where net/http thinks that it ends, and what is accepted is sound.
func FuzzHead(f *testing.F) {
	f.Add(post("1.1", text.XML, []byte("body")))
	f.Add(post("1.0", text.JSON, []byte("{}"), "Connection: keep-alive", "Expect: 100-continue"))
	f.Add([]byte("POST /kmip HTTP/1.1\nHost: a\nContent-Length:2\n\nab"))
	f.Add([]byte("POST https://kms/kmip?x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := headEnd(b, 0)
		for i := 1; i < len(b); i++ { // it is found however the octets come
			if m := headEnd(b[:i], 0); m != 0 && m != n {
				t.Fatalf("ends at %d of %d octets, at %d in all", m, i, n)
			}
			if m := headEnd(b, min(i, len(b))); i <= n && headEnd(b[:i], 0) == 0 && m != n {
				t.Fatalf("ends at %d, after %d octets seen at %d", n, i, m)
			}
		}
		if n == 0 {
			return
		}
		r, err := parseHead(b[:n], minRequestSize)
		if err != nil {
			return
		}
		if r.length < 0 || r.length > textSize*minRequestSize {
			t.Fatalf("length %d", r.length)
		}
		rest := bufio.NewReader(bytes.NewReader(b))
		h, err := http.ReadRequest(rest)
		if err != nil {
			t.Fatalf("accepted, but not as the beginning of more: %v", err)
		}
		body, err := io.ReadAll(h.Body)
		if want := b[n:min(len(b), n+r.length)]; err == nil && !bytes.Equal(body, want) {
			t.Fatalf("body %q, want %q", body, want)
		}
		if h.Header.Get("Content-Length") == strconv.Itoa(r.length) && h.ContentLength != int64(r.length) {
			t.Fatalf("length %d, want %d", h.ContentLength, r.length)
		}
	})
}
