package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"kmipd/keystore"
)

// The CRL listener serves, in plain HTTP as RFC 5280 section 4.2.1.13 expects, /NAME.crl and /NAME.crt: the revocation list
// and the certificate of each authority. Both are signed, public, and small.

// crlServer is the listener; nil when there is none.
type crlServer struct {
	http *http.Server
	addr net.Addr
	done chan struct{}
}

// maxCRLConnections keeps strangers from using up the file descriptors that KMIP clients need.
const maxCRLConnections = 256

// listenCRL starts the listener; "" has none.
func listenCRL(address string, keys *keystore.Store, log zerolog.Logger) (*crlServer, error) {
	if address == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("crl_listen: %w", err)
	}
	c := &crlServer{addr: l.Addr(), done: make(chan struct{}), http: &http.Server{
		Handler: crlHandler(keys, log), MaxHeaderBytes: 8 << 10,
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 10 * time.Second,
	}}
	go func() {
		defer close(c.done)
		if err := c.http.Serve(limit(l, maxCRLConnections)); !errors.Is(err, http.ErrServerClosed) {
			log.Error().Err(err).Msg("the CRL listener failed")
		}
	}()
	log.Info().Stringer("address", l.Addr()).Msg("serving certificate revocation lists")
	return c, nil
}

func (c *crlServer) close() {
	if c == nil {
		return
	}
	_ = c.http.Close() // whoever is being served asks again
	<-c.done
}

func crlHandler(keys *keystore.Store, log zerolog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
			return
		}
		der, kind, err := crlFile(r.Context(), keys, strings.TrimPrefix(r.URL.Path, "/"))
		switch {
		case err != nil:
			log.Error().Err(err).Str("path", r.URL.Path).Msg("serving a certificate revocation list")
			http.Error(w, "try again", http.StatusServiceUnavailable)
			return
		case der == nil:
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Cache-Control", "max-age=300")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(der))
	})
}

// crlFile is the content of a file and its type (RFC 2585 section 4); nil when there is none.
func crlFile(ctx context.Context, keys *keystore.Store, file string) ([]byte, string, error) {
	name := strings.TrimSuffix(file, path.Ext(file))
	switch path.Ext(file) {
	case ".crl":
		der, _, err := keys.CRL(ctx, name)
		return der, "application/pkix-crl", err
	case ".crt":
		der, err := keys.AuthorityCertificate(ctx, name)
		return der, "application/pkix-cert", err
	}
	return nil, "", nil
}

// limit bounds the connections of a listener that are open at a time: the others wait in the system's queue.
func limit(l net.Listener, n int) net.Listener {
	return &limited{Listener: l, slots: make(chan struct{}, n), closed: make(chan struct{})}
}

type limited struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &slot{Conn: c, free: func() { <-l.slots }}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type slot struct {
	net.Conn
	once sync.Once
	free func()
}

func (s *slot) Close() error {
	err := s.Conn.Close()
	s.once.Do(s.free)
	return err
}
