package server

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"kmipd/kmip"
)

// refusal is a policyError.
type refusal struct{ rule string }

func (r *refusal) Error() string                     { return "refused by " + r.rule }
func (r *refusal) Refusal() (policy, rule, _ string) { return "strict", r.rule, "text" }

// addListener makes another listener of a running site and returns its address.
func (s *site) addListener(t *testing.T, name string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { s.done <- s.ServeListener(context.Background(), name, ln) }()
	return ln.Addr().String()
}

// What comes in by a listener carries its name, jobs included, and everything else is shared.
func TestListenerNames(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	jobs := make(chan *fakeJobs, 1)
	s := newSite(t, func(c *Config) {
		keys := c.Keystore.(*fakeKeys)
		keys.hook = func(_ context.Context, _ kmip.Operation, call *kmip.Call) error {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, call.Listener)
			return nil
		}
		j := newFakeJobs(keys)
		jobs <- j
		c.Jobs = j
		c.Listeners = []Listener{{Name: "strict", TLS: c.TLS}}
	})
	main, strict := s.addr, s.addListener(t, "strict")
	table := <-jobs
	want := []string{}
	for _, way := range []struct{ name, addr string }{{"", main}, {"strict", strict}} {
		s.addr = way.addr
		conn, _ := s.dial(t, "client-1")
		exchange(t, conn, one(kmip.V1_2, kmip.OperationCreate, createAES()).encode()).want(t, 0, 0)
		exchange(t, conn, async(ask{ver: kmip.V1_2, items: []askItem{pair()}}).encode()).pending(t, 0)
		<-table.ends
		want = append(want, way.name, way.name)
	}
	mu.Lock()
	defer mu.Unlock()
	if strings.Join(seen, ",") != strings.Join(want, ",") {
		t.Errorf("listeners of the calls: got %q, want %q", seen, want)
	}
	if got := s.Counters().Accepted; got != 2 {
		t.Errorf("got %d connections counted over both listeners, want 2", got)
	}
	gone := &kmip.Job{ID: []byte("job"), Listener: "gone", Operation: kmip.OperationCreateKeyPair}
	if _, err := s.perform(t.Context(), gone); kmip.ReasonOf(err) != kmip.ResultReasonPermissionDenied {
		t.Errorf("a job of a listener that is gone: got %v", err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.ServeListener(t.Context(), "other", ln); err == nil {
		t.Error("a listener that is not configured serves")
	}
}

// A session of one listener is not resumed on another, even with the same certificate and configuration.
func TestNoResumptionAcrossListeners(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Listeners = []Listener{{Name: "other", TLS: c.TLS}} })
	main, other := s.addr, s.addListener(t, "other")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cfg := s.ca.Client("client-1")
		cfg.MinVersion, cfg.MaxVersion, cfg.ClientSessionCache = version, version, tls.NewLRUClientSessionCache(8)
		resumed := func(addr string) bool {
			conn, err := tls.Dial("tcp", addr, cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			exchange(t, conn, one(kmip.V1_2, kmip.OperationCreate, createAES()).encode()).want(t, 0, 0)
			return conn.ConnectionState().DidResume
		}
		if resumed(main) || !resumed(main) {
			t.Errorf("%s: the first listener does not resume its own", tls.VersionName(version))
		}
		if resumed(other) {
			t.Errorf("%s: a session was resumed by another listener", tls.VersionName(version))
		}
	}
}

// A gate refuses at each of its places; refusals are logged and counted with their rule, and others are not disturbed.
func TestGate(t *testing.T) {
	var established, request atomic.Bool
	type told struct{ listener, rule string }
	hook := make(chan told, 8)
	s := newSite(t, func(c *Config) {
		c.Refused = func(listener, rule string, err error) { hook <- told{listener, rule} }
		c.Listeners = []Listener{{Name: "strict", TLS: c.TLS, Gate: Gate{
			VerifyConnection: func(state tls.ConnectionState) error {
				if state.PeerCertificates[0].Subject.CommonName == "client-2" {
					return &refusal{"verify"}
				}
				return nil
			},
			Established: func(tls.ConnectionState) error {
				if established.Load() {
					return &refusal{"established"}
				}
				return nil
			},
			Request: func(*tls.ConnectionState) error {
				if request.Load() {
					return &refusal{"request"}
				}
				return nil
			},
		}}}
	})
	msg := one(kmip.V1_2, kmip.OperationCreate, createAES()).encode()
	other, _ := s.dial(t, "client-2")
	s.addr = s.addListener(t, "strict")
	exchange(t, other, msg).want(t, 0, 0)
	open, _ := s.dial(t, "client-1")
	exchange(t, open, msg).want(t, 0, 0)
	refused := func(name, rule string) {
		t.Helper()
		conn, _ := s.dial(t, name)
		_, err := conn.Write(msg)
		if err == nil {
			_, err = readAnswer(conn)
		}
		if err == nil {
			t.Errorf("%s: the request was answered", rule)
		}
		if got := <-hook; got != (told{"strict", rule}) {
			t.Errorf("got %+v, want a refusal by %s", got, rule)
		}
	}
	refused("client-2", "verify")
	established.Store(true)
	refused("client-1", "established")
	established.Store(false)
	request.Store(true)
	exchange(t, open, msg).want(t, 0, kmip.ResultReasonAuthenticationNotSuccessful)
	wantEnd(t, open)
	if got := <-hook; got.rule != "request" {
		t.Errorf("got %+v, want a refusal at a request", got)
	}
	exchange(t, other, msg).want(t, 0, 0)
	if c := s.Counters(); c.Refusals["verify"] != 1 || c.Refusals["established"] != 1 || c.Refusals["request"] != 1 {
		t.Errorf("counted %v", c.Refusals)
	}
	for _, want := range []string{`"rule":"verify"`, `"policy":"strict"`, `"listener":"strict"`} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("the log lacks %s", want)
		}
	}
}

func TestListenerProblems(t *testing.T) {
	s := newSite(t)
	good := s.ca.Server()
	_, err := New(Config{TLS: good, Keystore: s.keys, Authenticator: s.auth,
		Listeners: []Listener{{Name: "a", TLS: good}, {Name: "a", TLS: good}, {Name: "", TLS: good}, {Name: "b"}, {Name: "c", TLS: &tls.Config{}}}})
	for _, want := range []string{`two listeners "a"`, `two listeners ""`, `"b": a TLS configuration`, `"c": the TLS configuration has no certificate`, `"c": the TLS configuration has no pool`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, rule := ruleOf(errors.New("tls: no")); rule != ruleHandshake {
		t.Errorf("got rule %q", rule)
	}
}
