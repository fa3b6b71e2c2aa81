package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"kmipd/hsm"
	"kmipd/keystore"
	"kmipd/keystore/evidence"
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
	return secureModule(c.policyNames(), c.AllowUncertifiedModule)
}

// serve runs the server until ctx ends or a part of it fails. ready is called once
// connections are accepted, with the addresses of all listeners, the first one first.
func (c *source) serve(ctx context.Context, s streams, ready func([]bound)) (err error) {
	collectLater()
	late := newLateLog(c.logWriter(s))
	defer late.Close()
	log := c.loggerTo(late)
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)

	ids, err := c.identities()
	if err != nil {
		return err
	}
	c.warnExposed(log)
	if c.certify, err = c.certification(); err != nil {
		return err
	}
	var doors atomic.Pointer[entrances] // which come after the keystore, and then tell it what their lists say
	c.certify.Revocation = func(listener string, cert, issuer *x509.Certificate) (time.Time, bool) {
		if e := doors.Load(); e != nil {
			return e.revocation(listener, cert, issuer, time.Now())
		}
		return time.Time{}, false
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
	if err := c.vet(token.Info(), log); err != nil {
		return err
	}
	var guard atomic.Pointer[keystore.Store] // which comes after the keys, and then watches over them
	for _, id := range ids {
		if err := id.openKey(ctx, token, checkedBy(&guard)); err != nil {
			return err
		}
	}
	c.courier = courier{notifier.Courier{Certificates: []tls.Certificate{ids[0].cert}, Secure: ids[0].rules.ApplyClient}}
	if err := c.prepareTrail(); err != nil {
		return err
	}
	live := &running{ids: ids, since: time.Now().UTC()}
	serving := make(chan struct{})
	c.report = c.reports()
	c.report.Ready = serving
	c.report.Complete = func(d *evidence.Document) {
		select {
		case <-serving:
			live.complete(d)
		default: // an administrator was quick
		}
	}
	keys, err := c.keystore(meta, token, log)
	if err != nil {
		return err
	}
	guard.Store(keys)
	if err := c.selfTest(ctx, keys); err != nil {
		return err
	}
	if err := keys.Start(ctx); err != nil {
		return err
	}
	defer keys.Close()
	if c.devCA != nil {
		if err := makeDevAuthority(ctx, keys, *c.devCA); err != nil {
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

	cfg := server.Config{Keystore: keys, Authenticator: keys, Jobs: keys, Auditor: keys, Logger: log,
		MaxConnections: c.MaxConnections, MaxPerAddress: c.MaxPerAddress, MaxHandshakes: c.MaxHandshakes,
		MaxRequestSize: c.MaxRequestSize, MaxBatch: c.MaxBatch, JobWorkers: c.JobWorkers,
		HandshakeTimeout: c.HandshakeTime, ReadTimeout: c.ReadTimeout, WriteTimeout: c.WriteTimeout,
		IdleTimeout: c.IdleTimeout, RequestTimeout: c.RequestTimeout, TimeStampTolerance: c.TimeTolerance}
	entries, err := openEntrances(ids, keys, log, &cfg)
	if err != nil {
		return err
	}
	defer entries.close()
	doors.Store(entries)
	srv, err := server.New(cfg)
	if err != nil {
		return err
	}
	addrs, err := entries.listen(log)
	if err != nil {
		return err
	}
	info := token.Info()
	log.Info().Str("version", version).Stringer("address", addrs[0].addr).Str("token", info.Label).Str("model", info.Model).
		Str("transport", info.Capabilities.Transport).Msg("serving")
	live.srv, live.addrs = srv, addrs
	close(serving)
	served := entries.serve(context.WithoutCancel(ctx), srv)
	if ready != nil {
		ready(addrs)
	}
	left := len(addrs)
	select {
	case err = <-served: // a listener failed: the others end with it
		left--
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.ShutdownTimeout)
	defer cancel()
	err = errors.Join(err, srv.Shutdown(end), wait(served, left))
	if ctx.Err() != nil {
		if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
			err = errors.Join(cause, err)
		}
		log.Info().Msg("stopped")
	}
	return err
}
