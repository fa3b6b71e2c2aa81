package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"kmipd/hsm"
	"kmipd/kmip/notifier"
	"kmipd/kmip/server"
)

func runServe(ctx context.Context, s streams, args []string) error {
	f := flags(s, "serve")
	c := &source{}
	c.define(f)
	if err := parse(f, args, 0); err != nil {
		return err
	}
	if err := c.prepare(); err != nil {
		return err
	}
	if err := harden(); err != nil {
		return err
	}
	return c.serve(ctx, s, nil)
}

// prepare loads and checks the configuration; every problem is told at once.
func (c *source) prepare() error {
	err := c.load()
	if c.TokenModule == "" {
		c.TokenModule = hsm.FindModule()
	}
	if err = errors.Join(err, c.check()); err != nil {
		return fmt.Errorf("the configuration has problems:\n  %s", strings.ReplaceAll(err.Error(), "\n", "\n  "))
	}
	return nil
}

// serve runs the server until ctx ends or a part of it fails. ready is called with the listener's address once
// connections are accepted.
func (c *source) serve(ctx context.Context, s streams, ready func(net.Addr)) (err error) {
	late := newLateLog(c.logWriter(s))
	defer late.Close()
	log := c.loggerTo(late)
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)

	tlsConfig, err := c.tlsConfig()
	if err != nil {
		return err
	}
	if c.certify, err = c.certification(); err != nil {
		return err
	}
	meta, err := c.openRecords(log, func(err error) { fail(fmt.Errorf("the record store failed: %w", err)) })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, meta.Close()) }()
	token, err := c.openToken(ctx, s, log)
	if err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.ShutdownTimeout)
		defer cancel()
		err = errors.Join(err, token.Close(end))
	}()
	c.courier = courier{notifier.Courier{Certificates: tlsConfig.Certificates}}
	keys, err := c.keystore(meta, token, log)
	if err != nil {
		return err
	}
	if err := keys.Start(ctx); err != nil {
		return err
	}
	defer keys.Close()
	if c.devCA {
		if err := makeDevAuthority(ctx, keys); err != nil {
			return err
		}
	}

	admin, err := listenAdmin(c.socket(), keys, log)
	if err != nil {
		return err
	}
	defer admin.close()
	crls, err := listenCRL(c.CRLListen, keys, log)
	if err != nil {
		return err
	}
	defer crls.close()

	srv, err := server.New(server.Config{TLS: tlsConfig, Keystore: keys, Authenticator: keys, Jobs: keys, Logger: log,
		MaxConnections: c.MaxConnections, MaxRequestSize: c.MaxRequestSize, MaxBatch: c.MaxBatch, JobWorkers: c.JobWorkers,
		HandshakeTimeout: c.HandshakeTime, ReadTimeout: c.ReadTimeout, WriteTimeout: c.WriteTimeout,
		IdleTimeout: c.IdleTimeout, RequestTimeout: c.RequestTimeout, TimeStampTolerance: c.TimeTolerance})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	info := token.Info()
	log.Info().Str("version", version).Stringer("address", l.Addr()).Str("token", info.Label).Str("model", info.Model).
		Str("transport", info.Capabilities.Transport).Msg("serving")
	served := make(chan error, 1)
	go func() { served <- srv.Serve(context.WithoutCancel(ctx), l) }()
	if ready != nil {
		ready(l.Addr())
	}
	select {
	case err = <-served:
	case <-ctx.Done():
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.ShutdownTimeout)
		defer cancel()
		err = errors.Join(srv.Shutdown(end), <-served)
		if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
			err = errors.Join(cause, err)
		}
		log.Info().Msg("stopped")
	}
	return err
}
