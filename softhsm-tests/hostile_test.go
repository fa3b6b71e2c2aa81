package softhsmtests

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"kmipd/softhsm-tests/internal/harness"
	"kmipd/softhsm-tests/internal/message"
	"kmipd/softhsm-tests/internal/rawttlv"
)

// patience is how long the server may take to give up on a silent peer; its own deadlines are shorter.
const patience = 90 * time.Second

// readTimeout is the server's own (read_timeout): who waits less has not waited for it.
const readTimeout = 30 * time.Second

// handshakeTimeout is the shortest of the server's deadlines for silent peers.
const handshakeTimeout = 10 * time.Second

// TestHostile sends the server what no honest client sends. After each attack an honest client must still be served.
func TestHostile(t *testing.T) {
	s := harness.Start(t, harness.Dir(t))
	honest := s.Connect(t)
	for _, attack := range []struct {
		name string
		run  func(*testing.T, *harness.Server)
	}{
		{"malformed messages", malformedMessages},
		{"truncated messages", truncatedMessages},
		{"huge declared length", hugeLength},
		{"no client certificate", noClientCertificate},
		{"foreign client certificate", foreignCertificate},
		{"plain text", plainText},
		{"old TLS", oldTLS},
		{"half closed", halfClosed},
		{"idle connections", idleConnections},
		{"slow peers", slowPeers},
	} {
		t.Run(attack.name, func(t *testing.T) {
			attack.run(t, s)
			if _, err := message.Do(honest, message.Query()); err != nil {
				t.Fatalf("afterwards an honest connection is not served: %v", err)
			}
			if _, err := message.Do(s.Connect(t), message.Query()); err != nil {
				t.Fatalf("afterwards a new connection is not served: %v", err)
			}
		})
	}
}

func query(t *testing.T) []byte {
	t.Helper()
	return rawttlv.MustEncode(message.Request(message.Query()))
}

// malformed are messages with a true outer length and something wrong inside. The server can answer each; it must say
// Invalid Message (or close), and nothing may be carried out.
var malformed = []struct {
	name string
	make func(q []byte) []byte
}{
	{"not a request", func(q []byte) []byte { return patch(q, 0, 0x42, 0x00, 0x7B) }},
	{"outer type integer", func(q []byte) []byte { return patch(q, 3, 2) }},
	{"unknown type inside", func(q []byte) []byte { return patch(q, 11, 0x0C) }},
	{"inner length too long", func(q []byte) []byte { return patch(q, 12, 0x7F, 0xFF, 0xFF, 0xF8) }},
	{"inner length beyond the parent", func(q []byte) []byte { return patch(q, 12, 0, 0, 2, 0) }},
	{"inner length not a multiple", func(q []byte) []byte { return patch(q, 15, q[15]+1) }},
	{"empty message", func([]byte) []byte { return frame(nil) }},
	{"random octets", func([]byte) []byte { return frame(bytes.Repeat([]byte{0xA5, 0x3C, 0xFF}, 64)) }},
	{"deep nesting", func([]byte) []byte { return frame(nested(2000)) }},
	{"many empty structures", func([]byte) []byte {
		return frame(bytes.Repeat([]byte{0x42, 0x00, 0x77, 1, 0, 0, 0, 0}, 10000))
	}},
	{"batch count lies", func(q []byte) []byte { return lieAboutCount(q, 7) }},
	{"batch count negative", func(q []byte) []byte { return lieAboutCount(q, 0xFFFFFFFF) }},
	{"header twice", headerTwice},
	{"text not UTF-8", func([]byte) []byte {
		m := message.Request(message.Get("identifier"))
		return bytes.Replace(rawttlv.MustEncode(m), []byte("identifier"), []byte("\xff\xfeentifier"), 1)
	}},
	{"boolean 2", func([]byte) []byte {
		m := message.Request(message.Query())
		m.Children[0].Children = append(m.Children[0].Children[:1:1], append([]*rawttlv.Node{rawttlv.Bool(tagBatchOrder, true)},
			m.Children[0].Children[1:]...)...)
		return bytes.Replace(rawttlv.MustEncode(m), []byte{0x42, 0x00, 0x10, 6, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1},
			[]byte{0x42, 0x00, 0x10, 6, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 2}, 1)
	}},
}

const tagBatchOrder = 0x420010

func malformedMessages(t *testing.T, s *harness.Server) {
	for _, m := range malformed {
		t.Run(m.name, func(t *testing.T) {
			c := s.Connect(t)
			answer, err := c.RoundTrip(m.make(query(t)))
			if closedByPeer(err) {
				return
			}
			if err != nil {
				t.Fatalf("neither an answer nor a closed connection: %v", err)
			}
			tree, err := rawttlv.Decode(answer)
			if err != nil {
				t.Fatalf("the answer is itself malformed: %v", err)
			}
			results, err := message.Results(tree)
			if err != nil {
				t.Fatal(err)
			}
			if got := results[0].Reason; results[0].Err() == nil || got != message.ReasonInvalidMessage {
				t.Errorf("got %v, want Invalid Message:\n%s", results[0].Err(), tree.Dump(nil))
			}
			if _, err := message.Do(c, message.Query()); err != nil && !closedByPeer(err) {
				t.Errorf("the connection is neither usable nor cleanly closed: %v", err)
			}
		})
	}
}

// truncatedMessages ends a connection in the middle of a message, at many places.
func truncatedMessages(t *testing.T, s *harness.Server) {
	q := query(t)
	for n := 1; n < len(q); n += 7 {
		c := s.Connect(t)
		if _, err := c.Write(q[:n]); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
}

// hugeLength declares 2 GiB and more: the server must refuse from the header alone, without waiting for the body.
func hugeLength(t *testing.T, s *harness.Server) {
	for _, length := range []uint32{1 << 30, 1<<31 - 8, 1 << 31, 0xFFFFFFF8, 0xFFFFFFFF} {
		c := s.Connect(t)
		header := patch(query(t)[:8], 4, byte(length>>24), byte(length>>16), byte(length>>8), byte(length))
		began := time.Now()
		answer, err := c.RoundTrip(header)
		if err == nil {
			if tree, err := rawttlv.Decode(answer); err != nil {
				t.Errorf("length %d: malformed answer: %v", length, err)
			} else if r, err := message.Results(tree); err != nil || r[0].Err() == nil {
				t.Errorf("length %d: accepted", length)
			}
		} else if !closedByPeer(err) {
			t.Errorf("length %d: neither an answer nor a closed connection: %v", length, err)
		}
		if waited := time.Since(began); waited > readTimeout {
			t.Errorf("length %d: the server waited %s for a body", length, waited)
		}
	}
}

// refusedTLS dials with the configuration and wants no service: with TLS 1.3 the refusal comes after the handshake.
func refusedTLS(t *testing.T, s *harness.Server, config *tls.Config) {
	t.Helper()
	c, err := harness.Dial(s.Addr, config)
	if err != nil {
		return
	}
	defer c.Close()
	if answer, err := c.RoundTrip(query(t)); err == nil {
		t.Errorf("served: %x", answer)
	} else if timedOut(err) {
		t.Errorf("neither served nor refused: %v", err)
	}
}

func noClientCertificate(t *testing.T, s *harness.Server) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config, err := harness.TLS(s.Dir)
		if err != nil {
			t.Fatal(err)
		}
		config.Certificates, config.MinVersion, config.MaxVersion = nil, version, version
		refusedTLS(t, s, config)
	}
}

func foreignCertificate(t *testing.T, s *harness.Server) {
	config, err := harness.TLS(s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := harness.SelfSigned("somebody else")
	if err != nil {
		t.Fatal(err)
	}
	config.Certificates = nil
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return foreign, nil }
	refusedTLS(t, s, config)
}

func oldTLS(t *testing.T, s *harness.Server) {
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		config, err := harness.TLS(s.Dir)
		if err != nil {
			t.Fatal(err)
		}
		config.MinVersion, config.MaxVersion = version, version
		refusedTLS(t, s, config)
	}
}

func plainText(t *testing.T, s *harness.Server) {
	for _, text := range [][]byte{query(t), []byte("GET / HTTP/1.1\r\nHost: kmip\r\n\r\n"), bytes.Repeat([]byte{0}, 600)} {
		c, err := net.Dial("tcp", s.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write(text); err != nil {
			continue
		}
		c.SetReadDeadline(time.Now().Add(patience))
		got, err := io.ReadAll(c)
		if timedOut(err) {
			t.Errorf("the connection stays open after plain text")
		}
		if bytes.Contains(got, []byte{0x42, 0x00, 0x7B}) {
			t.Errorf("KMIP without TLS was answered: %x", got)
		}
	}
}

// halfClosed sends a request and closes its sending side: the answer must still come.
func halfClosed(t *testing.T, s *harness.Server) {
	c := s.Connect(t)
	if _, err := c.Write(query(t)); err != nil {
		t.Fatal(err)
	}
	if err := c.Conn.(*tls.Conn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(harness.Timeout))
	if _, err := c.ReadMessage(); err != nil {
		t.Errorf("no answer: %v", err)
	}
}

// idleConnections keeps 200 connections open while one works.
func idleConnections(t *testing.T, s *harness.Server) {
	config, err := harness.TLS(s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	errs := make(chan error, 200)
	for range 8 {
		wg.Go(func() {
			for range 25 {
				c, err := harness.Dial(s.Addr, config)
				if err != nil {
					errs <- err
					return
				}
				t.Cleanup(func() { c.Close() })
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Fatalf("an idle connection was refused: %v", err)
	}
	c := s.Connect(t)
	for range 20 {
		if _, err := message.Do(c, message.CreateAES(256)); err != nil {
			t.Fatalf("beside 200 idle connections: %v", err)
		}
	}
}

// slowPeers begin something and fall silent: a TCP connection without TLS, a header without a body, a body octet by
// octet. Another connection works meanwhile; the silent ones must be closed by a deadline.
func slowPeers(t *testing.T, s *harness.Server) {
	q := query(t)
	bare, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer bare.Close()
	half := s.Connect(t)
	half.Write(q[:8])
	drip := s.Connect(t)
	stop := make(chan struct{})
	go func() {
		for _, b := range append(q[:8:8], bytes.Repeat(q[8:9], 4000)...) {
			if _, err := drip.Write([]byte{b}); err != nil {
				return
			}
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	defer close(stop)
	var closing sync.WaitGroup
	for name, c := range map[string]net.Conn{"a bare TCP connection": bare, "a header without a body": half, "a dripping body": drip} {
		closing.Go(func() {
			c.SetReadDeadline(time.Now().Add(patience))
			if _, err := io.ReadAll(c); timedOut(err) {
				t.Errorf("%s is still open after %s", name, patience)
			}
		})
	}
	slowest := time.Duration(0)
	worker := s.Connect(t)
	for range 40 {
		began := time.Now()
		if _, err := message.Do(worker, message.Query()); err != nil {
			t.Fatalf("beside slow peers: %v", err)
		}
		slowest = max(slowest, time.Since(began))
		time.Sleep(20 * time.Millisecond)
	}
	if slowest > handshakeTimeout { // the first of the silent peers is cut off then: this one did not wait for it
		t.Errorf("a Query beside slow peers took %s", slowest)
	}
	closing.Wait()
}

func patch(b []byte, at int, with ...byte) []byte {
	out := bytes.Clone(b)
	copy(out[at:], with)
	return out
}

// frame puts octets into a Request Message.
func frame(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0x42, 0x00, 0x78, 1}, uint32(len(body))), body...)
}

func nested(depth int) []byte {
	b := []byte{}
	for range depth {
		b = append(binary.BigEndian.AppendUint32([]byte{0x42, 0x00, 0x0F, 1}, uint32(len(b))), b...)
	}
	return b
}

func lieAboutCount(q []byte, count uint32) []byte {
	at := bytes.Index(q, []byte{0x42, 0x00, 0x0D, 2, 0, 0, 0, 4})
	return patch(q, at+8, byte(count>>24), byte(count>>16), byte(count>>8), byte(count))
}

func headerTwice(q []byte) []byte {
	n, err := rawttlv.Decode(q)
	if err != nil {
		panic(err)
	}
	n.Children = append([]*rawttlv.Node{n.Children[0]}, n.Children...)
	return rawttlv.MustEncode(n)
}

func closedByPeer(err error) bool {
	if err == nil || timedOut(err) {
		return false
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		strings.Contains(err.Error(), "reset by peer") || strings.Contains(err.Error(), "broken pipe") ||
		strings.Contains(err.Error(), "remote error")
}

func timedOut(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}
