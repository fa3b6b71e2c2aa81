package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"kmipd/hsm"
	"kmipd/keystore"
	"kmipd/keystore/audit"
)

// While the server runs it holds the record store, so commands that change clients ask it over a Unix socket that only
// the server's user may open. One request is POST /<command> with its arguments as JSON.

// adminServer serves the socket.
type adminServer struct {
	http *http.Server
	done chan struct{}
	path string
}

// maxAdminRequest bounds a request body: a certificate and some names.
const maxAdminRequest = 1 << 20

func listenAdmin(path string, keys *keystore.Store, log zerolog.Logger) (*adminServer, error) {
	// A socket that is left over is dead; one that answers belongs to a server with other records, and a file that is no
	// socket to somebody else.
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSocket == 0 {
		return nil, fmt.Errorf("admin_socket: %s is there and no socket: name another path", path)
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		return nil, errors.Join(fmt.Errorf("admin_socket: another server answers at %s: name another path", path), c.Close())
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("admin_socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("admin_socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("admin_socket: %w", err), l.Close())
	}
	a := &adminServer{done: make(chan struct{}), path: path, http: &http.Server{
		Handler:           adminHandler(keys, log),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute,
	}}
	go func() {
		defer close(a.done)
		if err := a.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error().Err(err).Msg("the administrators' socket failed")
		}
	}()
	return a, nil
}

func (a *adminServer) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if a.http.Shutdown(ctx) != nil {
		_ = a.http.Close() // the socket goes with the process; there is nobody left to tell
	}
	<-a.done
}

func adminHandler(keys *keystore.Store, log zerolog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAdminRequest))
		if err != nil {
			http.Error(w, "the request is too large", http.StatusRequestEntityTooLarge)
			return
		}
		defer clear(body)
		// The server's own deadline is that of most commands.
		if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(patience(r.URL.Path[1:]))); err != nil {
			log.Debug().Err(err).Msg("giving an administrator time")
		}
		out, err := administer(r.Context(), keys, r.URL.Path[1:], body)
		log.Info().Str("command", r.URL.Path[1:]).AnErr("error", err).Msg("administration")
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(out); err != nil {
			log.Debug().Err(err).Msg("answering an administrator")
		}
	})
}

// administer runs a command. What comes of a change is in the audit trail with it; a command that fails is recorded here.
func administer(ctx context.Context, keys *keystore.Store, command string, body []byte) (any, error) {
	out, err := admin(ctx, keys, command, body)
	if err == nil {
		return out, nil
	}
	e := audit.Event{Kind: audit.KindAdmin, Outcome: audit.Failure, Operation: strings.ReplaceAll(command, "/", " "), Message: err.Error()}
	return nil, errors.Join(err, keys.Record(ctx, e))
}

// askAdmin runs a command on the running server, or on the store itself when no server runs.
func (c *source) askAdmin(ctx context.Context, s streams, command string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	defer clear(body)
	answer, err := c.overSocket(ctx, command, body)
	if errors.Is(err, errNoServer) {
		answer, err = c.onStore(ctx, s, command, body)
	}
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(answer, out)
}

var errNoServer = errors.New("no server runs")

func (c *source) overSocket(ctx context.Context, command string, body []byte) ([]byte, error) {
	conn, err := net.DialTimeout("unix", c.socket(), 5*time.Second)
	if err != nil {
		return nil, errNoServer
	}
	client := &http.Client{Timeout: patience(command), Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://admin/"+command, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking the running server: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("asking the running server: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(string(bytes.TrimSpace(b)))
	}
	return b, nil
}

// onStore runs a command on the record store directly. Only what ends a key needs the token.
func (c *source) onStore(ctx context.Context, s streams, command string, body []byte) (answer []byte, err error) {
	if c.DataDir == "" {
		return nil, errors.New("data_dir is not set: name the configuration with --config or --dir")
	}
	if command == "fips/report" {
		// The report says which version of the module runs, and whether it is certified.
		if err := secureModule(c.policyNames(), true); err != nil {
			return nil, err
		}
		c.report = c.reports()
	}
	log := c.logger(s)
	meta, err := c.openRecords(log, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, meta.Close()) }()
	var token hsm.Token
	if tokenCommands[command] {
		if c.TokenModule == "" {
			c.TokenModule = hsm.FindModule()
		}
		if token, err = c.openToken(ctx, s, log); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, token.Close(context.WithoutCancel(ctx))) }()
		if c.found, err = c.evidence(token.Info()); err != nil {
			return nil, err
		}
	}
	keys, err := c.keystore(meta, token, log)
	if err != nil {
		return nil, err
	}
	if command == "fips/report" {
		if err := offline(ctx, keys); err != nil {
			return nil, err
		}
	}
	out, err := administer(ctx, keys, command, body)
	if err != nil {
		return nil, err
	}
	return json.Marshal(out)
}
