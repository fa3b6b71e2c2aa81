package softhsmtests

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"kmipd/softhsm-tests/internal/harness"
	"kmipd/softhsm-tests/internal/rawttlv"
)

// endpoint is where a client takes what the server sends by itself: Notify and Put.
type endpoint struct {
	conns chan *harness.Conn
	// manage runs a kmipd client command for the endpoint's client. It may be called by any goroutine.
	manage func(command string, args ...string) ([]byte, error)
}

// newEndpoint listens, and registers the endpoint with the server for the client of kmipd dev. It is removed with the test.
func newEndpoint(t *testing.T, s *harness.Server, version string) *endpoint {
	t.Helper()
	pair, err := harness.Listener()
	if err != nil {
		t.Fatal(err)
	}
	config, err := harness.TLS(s.Dir)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{*pair}, MinVersion: tls.VersionTLS12,
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: config.RootCAs})
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "endpoint.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[1]}), 0o600); err != nil {
		t.Fatal(err)
	}
	e := &endpoint{conns: make(chan *harness.Conn, 100)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			e.conns <- &harness.Conn{Conn: c}
		}
	}()
	binary := harness.Binary(t)
	e.manage = func(command string, args ...string) ([]byte, error) {
		out, err := exec.Command(binary, append([]string{"client", command, "dev", "--dir", s.Dir}, args...)...).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("kmipd client %s %v: %w: %s", command, args, err, out)
		}
		return out, err
	}
	manage := func(args ...string) {
		if _, err := e.manage("endpoint", args...); err != nil {
			t.Error(err)
		}
	}
	manage("--address", l.Addr().String(), "--ca", ca, "--kmip-version", version, "--notify", "all", "--put-new")
	t.Cleanup(func() {
		manage("--remove")
		l.Close()
	})
	return e
}

// next is the next message of the server, and a function to answer it.
func (e *endpoint) next() (*rawttlv.Node, func(*rawttlv.Node) error, error) {
	select {
	case c := <-e.conns:
		if err := c.SetDeadline(time.Now().Add(harness.Timeout)); err != nil {
			return nil, nil, err
		}
		msg, err := c.ReadMessage()
		if err != nil {
			return nil, nil, errors.Join(err, c.Close())
		}
		n, err := rawttlv.Decode(msg)
		return n, func(answer *rawttlv.Node) error {
			defer c.Close()
			b, err := rawttlv.Encode(answer)
			if err == nil {
				_, err = c.Write(b)
			}
			return err
		}, err
	case <-time.After(harness.Timeout):
		return nil, nil, errors.New("the server sends nothing")
	}
}

// The server shows its own certificate to endpoints, which must allow that.
func TestServerCertificateForEndpoints(t *testing.T) {
	dir := harness.Dir(t)
	harness.Start(t, dir)
	raw, err := os.ReadFile(filepath.Join(dir, "server.crt"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(raw)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if len(cert.ExtKeyUsage) != 2 {
		t.Errorf("the certificate's extended key usage is %v", cert.ExtKeyUsage)
	}
}
