package server

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"kmipd/kmip"
)

func TestManyVersionsOnOneConnection(t *testing.T) {
	s := newSite(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		conn, _ := s.dial(t, "client-1", func(c *tls.Config) { c.MinVersion, c.MaxVersion = version, version })
		for _, v := range kmip.Supported {
			exchange(t, conn, one(v, kmip.OperationCreate, createAES()).encode()).want(t, 0, 0)
		}
	}
}

// libkmip and others read the body of an answer with a single read: an answer is one record.
func TestAnswerIsOneRecord(t *testing.T) {
	s := newSite(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, size := range []int{16, 1400, 3000, 12000, 15900} {
			s.keys.material = make([]byte, size)
			conn, count := s.dial(t, "client-1", func(c *tls.Config) { c.MinVersion, c.MaxVersion = version, version })
			exchange(t, conn, one(kmip.V1_0, kmip.OperationCreate, createAES()).encode()).want(t, 0, 0)
			before := count.records()
			r := exchange(t, conn, one(kmip.V1_0, kmip.OperationGet, &kmip.GetRequest{UniqueIdentifier: ptr("key-1")}).encode())
			r.want(t, 0, 0)
			if got := count.records() - before; got != 1 {
				t.Errorf("%s, key of %d octets: the answer of %d octets is %d records", tls.VersionName(version), size, r.size, got)
			}
		}
	}
}

func TestWithoutServerName(t *testing.T) {
	s := newSite(t)
	for _, name := range []string{"127.0.0.1", "unknown.example"} {
		conn, _ := s.dial(t, "client-1", func(c *tls.Config) { c.ServerName, c.InsecureSkipVerify = name, true })
		exchange(t, conn, one(kmip.V1_0, kmip.OperationCreate, createAES()).encode()).want(t, 0, 0)
	}
}

func TestHandshakeRefusals(t *testing.T) {
	refused := make(chan struct{}, 8)
	s := newSite(t, func(c *Config) {
		c.VerifyConnection = func(state tls.ConnectionState) error {
			if state.PeerCertificates[0].Subject.CommonName == "banned" {
				refused <- struct{}{}
				return kmip.Errorf(kmip.ResultReasonPermissionDenied, "policy")
			}
			return nil
		}
	})
	for _, tc := range []struct {
		name   string
		client string
		change func(*tls.Config)
	}{
		{"no certificate", "client-1", func(c *tls.Config) { c.Certificates = nil }},
		{"foreign authority", "client-1", func(c *tls.Config) {
			c.Certificates = newSite(t).ca.Client("client-1").Certificates
		}},
		{"expired certificate", "client-1", func(c *tls.Config) {
			c.Certificates = []tls.Certificate{s.ca.Issue("client-1", time.Now().Add(-time.Minute))}
		}},
		{"TLS 1.1", "client-1", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS11, tls.VersionTLS11 }},
		{"hook", "banned", func(*tls.Config) {}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			conn, _ := s.dial(t, tc.client, tc.change)
			_, err := conn.Write(one(kmip.V1_0, kmip.OperationQuery, query(1)).encode())
			if err == nil { // with TLS 1.3 the client learns of the refusal when it reads
				_, err = readAnswer(conn)
			}
			if err == nil {
				t.Fatal("the connection was accepted")
			}
		})
	}
	if len(refused) != 1 {
		t.Errorf("the hook refused %d times", len(refused))
	}
	until(t, "failed handshakes are counted", func() bool { return s.Counters().Handshakes == 5 })
}

// A registered client that is removed, and a certificate that expires, are out at the next request of an open connection.
func TestIdentityAtEachRequest(t *testing.T) {
	now := struct {
		sync.Mutex
		t time.Time
	}{t: time.Now()}
	s := newSite(t, func(c *Config) {
		c.Clock = func() time.Time { now.Lock(); defer now.Unlock(); return now.t }
	})
	a, _ := s.dial(t, "client-1")
	b, _ := s.dial(t, "client-2")
	msg := one(kmip.V1_2, kmip.OperationCreate, createAES()).encode()
	exchange(t, a, msg).want(t, 0, 0)
	exchange(t, b, msg).want(t, 0, 0)
	s.auth.remove("client-1")
	exchange(t, a, msg).want(t, 0, kmip.ResultReasonPermissionDenied)
	exchange(t, b, msg).want(t, 0, 0)
	now.Lock()
	now.t = now.t.Add(2 * time.Hour)
	now.Unlock()
	exchange(t, b, msg).want(t, 0, kmip.ResultReasonAuthenticationNotSuccessful)
	wantEnd(t, b)
}

func TestResumption(t *testing.T) {
	s := newSite(t)
	msg := one(kmip.V1_2, kmip.OperationCreate, createAES()).encode()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cfg := s.ca.Client("client-1")
		cfg.MinVersion, cfg.MaxVersion, cfg.ClientSessionCache = version, version, tls.NewLRUClientSessionCache(8)
		connect := func() *tls.Conn {
			conn, err := tls.Dial("tcp", s.addr, cfg)
			if err != nil {
				t.Fatal(err)
			}
			return conn
		}
		for i := range 3 {
			conn := connect()
			exchange(t, conn, msg).want(t, 0, 0)
			if resumed := conn.ConnectionState().DidResume; resumed != (i > 0) {
				t.Errorf("%s, connection %d: resumed %t", tls.VersionName(version), i, resumed)
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		}
		s.auth.remove("client-1")
		conn := connect()
		exchange(t, conn, msg).want(t, 0, kmip.ResultReasonPermissionDenied)
		if !conn.ConnectionState().DidResume {
			t.Error("not resumed: the case was not tried")
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		s.auth.mu.Lock()
		s.auth.clients["client-1"] = true
		s.auth.mu.Unlock()
	}
}

func TestFrames(t *testing.T) {
	s := newSite(t, func(c *Config) { c.MaxRequestSize = 64 << 10 })
	frame := func(tag uint32, typ byte, length uint32) []byte {
		b := []byte{byte(tag >> 16), byte(tag >> 8), byte(tag), typ}
		return binary.BigEndian.AppendUint32(b, length)
	}
	for _, tc := range []struct {
		name string
		msg  []byte
		text string
	}{
		{"too large", append(frame(0x420078, 1, 64<<10), make([]byte, 64<<10)...), "65536"},
		{"far too large", frame(0x420078, 1, 0xFFFFFFF8), "65536"},
		{"odd length", append(frame(0x420078, 1, 12), make([]byte, 12)...), "multiple of 8"},
		{"other tag", frame(0x42007B, 1, 8), "not a Request Message"},
		{"other type", frame(0x420078, 8, 8), "not a Request Message"},
		{"HTTP", []byte("GET /kmip HTTP/1.1\r\n\r\n"), "not a Request Message"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			conn, _ := s.dial(t, "client-1")
			r := exchange(t, conn, tc.msg)
			r.wantCount(t, 1)
			r.want(t, 0, kmip.ResultReasonInvalidMessage)
			if v := r.header.ProtocolVersion; v.ProtocolVersionMajor != 1 || v.ProtocolVersionMinor != 0 {
				t.Errorf("answered in %v", v)
			}
			if !strings.Contains(*r.items[0].ResultMessage, tc.text) {
				t.Errorf("text is %q", *r.items[0].ResultMessage)
			}
			wantEnd(t, conn)
		})
	}
	// A body that is no TTLV leaves the frame intact: the connection goes on.
	conn, _ := s.dial(t, "client-1")
	exchange(t, conn, append(frame(0x420078, 1, 16), make([]byte, 16)...)).want(t, 0, kmip.ResultReasonInvalidMessage)
	exchange(t, conn, one(kmip.V1_2, kmip.OperationCreate, createAES()).encode()).want(t, 0, 0)
	// The largest message is accepted.
	large := &kmip.RegisterRequest{ObjectType: kmip.ObjectTypeOpaqueObject, OpaqueObject: &kmip.OpaqueObject{OpaqueDataType: 0x80000000}}
	empty := len(one(kmip.V1_2, kmip.OperationRegister, large).encode())
	large.OpaqueObject.OpaqueDataValue = make([]byte, 64<<10-empty)
	exchange(t, conn, one(kmip.V1_2, kmip.OperationRegister, large).encode()).want(t, 0, 0)
}

// A client may send its message in many pieces, or several messages at once.
func TestPiecesAndPipelines(t *testing.T) {
	s := newSite(t)
	conn, _ := s.dial(t, "client-1")
	msg := one(kmip.V1_2, kmip.OperationCreate, createAES()).encode()
	for _, b := range msg {
		if _, err := conn.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	receive(t, conn).want(t, 0, 0)
	if _, err := conn.Write(append(append([]byte(nil), msg...), msg...)); err != nil {
		t.Fatal(err)
	}
	receive(t, conn).want(t, 0, 0)
	receive(t, conn).want(t, 0, 0)
}

// Who falls silent is cut off, whatever it has begun, and others are served meanwhile. Each server has one short limit: the
// others must hold on a machine that is busy.
func TestSlowClients(t *testing.T) {
	msg := one(kmip.V1_2, kmip.OperationCreate, createAES()).encode()
	for _, tc := range []struct {
		name  string
		limit func(*Config)
		begin func(*testing.T, *site) net.Conn
	}{
		{"never says Client Hello", func(c *Config) { c.HandshakeTimeout = 300 * time.Millisecond }, func(t *testing.T, s *site) net.Conn {
			return s.from(t, "127.0.0.1")
		}},
		{"stops within a message", func(c *Config) { c.ReadTimeout = 100 * time.Millisecond }, func(t *testing.T, s *site) net.Conn {
			conn, _ := s.dial(t, "client-1")
			if _, err := conn.Write(msg[:20]); err != nil {
				t.Fatal(err)
			}
			return conn
		}},
		{"asks nothing", func(c *Config) { c.IdleTimeout = 300 * time.Millisecond }, func(t *testing.T, s *site) net.Conn {
			conn, _ := s.dial(t, "client-1")
			_ = conn.Handshake() // it may be cut off before it is done here
			return conn
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, tc.limit)
			slow := tc.begin(t, s)
			until(t, "another client is served", func() bool { // its own handshake or request may come late, too
				other, _ := s.dial(t, "client-2")
				defer func() { _ = other.Close() }()
				if _, err := other.Write(msg); err != nil {
					return false
				}
				_, err := readAnswer(other)
				return err == nil
			})
			wantEnd(t, slow)
		})
	}
}

// A client that does not read its answer is cut off and its server goroutine ends.
func TestClientThatDoesNotRead(t *testing.T) {
	s := newSite(t, func(c *Config) { c.WriteTimeout = 200 * time.Millisecond })
	s.keys.material = make([]byte, 4<<20)
	conn, _ := s.dial(t, "client-1")
	exchange(t, conn, one(kmip.V1_2, kmip.OperationCreate, createAES()).encode()).want(t, 0, 0)
	msg := one(kmip.V1_2, kmip.OperationGet, &kmip.GetRequest{UniqueIdentifier: ptr("key-1")}).encode()
	for range 8 {
		if _, err := conn.Write(msg); err != nil {
			break
		}
	}
	until(t, "the connection ends", func() bool { return s.Counters().Active == 0 })
}

func TestConnectionLimit(t *testing.T) {
	s := newSite(t, func(c *Config) { c.MaxConnections = 2 })
	msg := one(kmip.V1_2, kmip.OperationCreate, createAES()).encode()
	a, _ := s.dial(t, "client-1")
	b, _ := s.dial(t, "client-1")
	exchange(t, a, msg).want(t, 0, 0)
	exchange(t, b, msg).want(t, 0, 0)
	c, _ := s.dial(t, "client-1")
	if err := c.Handshake(); err == nil {
		t.Error("a third connection was accepted")
	}
	exchange(t, a, msg).want(t, 0, 0)
	if got := s.Counters(); got.Rejected != 1 || got.Accepted != 2 || got.Active != 2 {
		t.Errorf("counters %+v", got)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	until(t, "the place is free again", func() bool { return s.Counters().Active == 1 })
	d, _ := s.dial(t, "client-1")
	exchange(t, d, msg).want(t, 0, 0)
}

func TestShutdownLetsRequestsFinish(t *testing.T) {
	s := newSite(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	s.keys.hook = func(context.Context, kmip.Operation, *kmip.Call) error {
		close(entered)
		<-leave
		return nil
	}
	busy, _ := s.dial(t, "client-1")
	idle, _ := s.dial(t, "client-1")
	if err := idle.Handshake(); err != nil {
		t.Fatal(err)
	}
	until(t, "both are connected", func() bool { return s.Counters().Active == 2 })
	if _, err := busy.Write(one(kmip.V1_2, kmip.OperationCreate, createAES()).encode()); err != nil {
		t.Fatal(err)
	}
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(context.Background()) }()
	wantEnd(t, idle)
	if err := <-s.done; err != nil {
		t.Errorf("Serve returned %v", err)
	}
	if _, err := net.Dial("tcp", s.addr); err == nil {
		t.Error("still accepting")
	}
	select {
	case err := <-stopped:
		t.Fatalf("Shutdown returned %v while a request runs", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(leave)
	receive(t, busy).want(t, 0, 0)
	wantEnd(t, busy)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Error(err)
	} else if err := s.Serve(context.Background(), ln); err == nil {
		t.Error("Serve after Shutdown")
	}
}

func TestShutdownDeadline(t *testing.T) {
	s := newSite(t)
	entered := make(chan struct{})
	s.keys.hook = func(ctx context.Context, _ kmip.Operation, _ *kmip.Call) error {
		close(entered)
		<-ctx.Done() // waits for a session of the token, for example
		return ctx.Err()
	}
	conn, _ := s.dial(t, "client-1")
	if _, err := conn.Write(one(kmip.V1_2, kmip.OperationCreate, createAES()).encode()); err != nil {
		t.Fatal(err)
	}
	<-entered
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := s.Shutdown(ctx); err == nil {
		t.Error("no error although a request was cut off")
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("took %s", took)
	}
	until(t, "the connection ends", func() bool { return s.Counters().Active == 0 })
}

func TestServeEndsWithItsContext(t *testing.T) {
	s := newSite(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	conn, _ := s.dial(t, "client-1")
	exchange(t, conn, one(kmip.V1_2, kmip.OperationCreate, createAES()).encode()).want(t, 0, 0)
	cancel()
	if err := <-done; err == nil {
		t.Error("no error")
	}
	wantEnd(t, conn)
}

// flakyListener fails a few times before it accepts.
type flakyListener struct {
	net.Listener
	fails int
}

func (l *flakyListener) Accept() (net.Conn, error) {
	if l.fails > 0 {
		l.fails--
		return nil, &net.OpError{Op: "accept", Err: &net.DNSError{Err: "too many open files", IsTemporary: true}}
	}
	return l.Listener.Accept()
}

func TestAcceptErrors(t *testing.T) {
	s := newSite(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	go func() { _ = s.Serve(context.Background(), &flakyListener{ln, 3}) }()
	conn, _ := s.dial(t, "client-1")
	exchange(t, conn, one(kmip.V1_2, kmip.OperationCreate, createAES()).encode()).want(t, 0, 0)
	if !strings.Contains(s.log.String(), "accept failed") {
		t.Error("not logged")
	}
}

func TestPanicIsContained(t *testing.T) {
	s := newSite(t)
	s.keys.hook = func(_ context.Context, op kmip.Operation, _ *kmip.Call) error {
		if op == kmip.OperationLocate {
			panic("bug")
		}
		return nil
	}
	other, _ := s.dial(t, "client-2")
	conn, _ := s.dial(t, "client-1")
	exchange(t, conn, one(kmip.V1_2, kmip.OperationLocate, &kmip.LocateRequest{}).encode()).want(t, 0, kmip.ResultReasonGeneralFailure)
	wantEnd(t, conn)
	exchange(t, other, one(kmip.V1_2, kmip.OperationCreate, createAES()).encode()).want(t, 0, 0)
}

func TestConcurrentClients(t *testing.T) {
	s := newSite(t)
	msg := one(kmip.V1_4, kmip.OperationCreate, createAES()).encode()
	var wg sync.WaitGroup
	for i := range 40 { // MongoDB opens a connection a message, 40 at once
		wg.Go(func() {
			conn, _ := s.dial(t, "client-1")
			for range 3 {
				if _, err := conn.Write(msg); err != nil {
					t.Error(err)
					return
				}
				if _, err := readAnswer(conn); err != nil {
					t.Errorf("connection %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := len(s.keys.state()); got != 120 {
		t.Errorf("%d objects", got)
	}
}

func TestConfig(t *testing.T) {
	if _, err := New(Config{MaxConnections: -1, IdleTimeout: -1, Versions: []kmip.Version{kmip.V2_0}}); err == nil {
		t.Error("accepted")
	} else {
		for _, want := range []string{"Keystore", "Authenticator", "TLS", "MaxConnections", "IdleTimeout", "2.0"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q is not reported: %v", want, err)
			}
		}
	}
}
