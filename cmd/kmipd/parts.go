package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"kmipd/cmd/internal/prompt"
	"kmipd/hsm"
	"kmipd/keystore"
	"kmipd/metadata"
	"kmipd/metadata/pebble"
)

// This file opens the parts that commands are made of: log, PIN, token, records.

// logger makes the log of a command on standard error.
func (c *config) logger(s streams) zerolog.Logger { return c.loggerTo(c.logWriter(s)) }

func (c *config) loggerTo(w io.Writer) zerolog.Logger {
	level, err := zerolog.ParseLevel(c.LogLevel)
	if err != nil {
		level = zerolog.InfoLevel
	}
	return zerolog.New(w).Level(level).With().Timestamp().Logger()
}

// logWriter is standard error, with a layout for people if that is wanted.
func (c *config) logWriter(s streams) io.Writer {
	if c.LogFormat == "text" {
		return zerolog.ConsoleWriter{Out: s.err, TimeFormat: time.RFC3339, NoColor: true}
	}
	return s.err
}

// pin reads the PIN from its file or asks for it. The file's last newline does not belong to it.
func (c *config) pin(ctx context.Context, s streams) (hsm.PIN, error) {
	if c.TokenPINFile == "-" {
		b, err := prompt.Secret(ctx, s.in, s.err, "Token PIN: ")
		if err != nil {
			return "", fmt.Errorf("asking for the token PIN: %w", err)
		}
		return hsm.PIN(b), nil
	}
	b, err := os.ReadFile(c.TokenPINFile)
	if err != nil {
		return "", fmt.Errorf("token_pin_file: %w", err)
	}
	defer clear(b)
	pin := hsm.PIN(strings.TrimRight(string(b), "\r\n"))
	if pin == "" {
		return "", errors.New("token_pin_file: the file is empty")
	}
	return pin, nil
}

// openToken opens the token. SoftHSM2 reads its configuration from the environment when it is loaded.
func (c *config) openToken(ctx context.Context, s streams, log zerolog.Logger) (hsm.Token, error) {
	pin, err := c.pin(ctx, s)
	if err != nil {
		return nil, err
	}
	if c.SoftHSMConf != "" {
		if err := os.Setenv("SOFTHSM2_CONF", c.SoftHSMConf); err != nil {
			return nil, err
		}
	}
	locks := map[string]hsm.LockMode{"auto": hsm.LockAuto, "on": hsm.LockOn, "off": hsm.LockOff}
	return hsm.Open(ctx, hsm.Config{Module: c.TokenModule, TokenLabel: c.TokenLabel, TokenSerial: c.TokenSerial, PIN: pin,
		MaxSessions: c.TokenSessions, MutationLock: locks[c.TokenLock], RefuseComposed: c.RefuseComposed, Logger: log})
}

func (c *config) openRecords(log zerolog.Logger, onFailure func(error)) (*pebble.Store, error) {
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	return pebble.Open(filepath.Join(c.DataDir, "records"), pebble.Options{Logger: log, OnFailure: onFailure})
}

func (c *config) keystore(meta *pebble.Store, token hsm.Token, log zerolog.Logger) (*keystore.Store, error) {
	approve, aerr := approvals(c.Approve)
	policy, perr := c.policy()
	groups, gerr := c.groups()
	report, rerr := c.report, error(nil)
	if report.RNG, rerr = keystore.ParseRNG(c.TokenRNG); rerr != nil {
		rerr = fmt.Errorf("token_rng: %w", rerr)
	}
	if err := errors.Join(aerr, perr, gerr, rerr, checkRelease(c.Release)); err != nil {
		return nil, err
	}
	var records metadata.Store // nil, and no typed nil, for commands without records
	if meta != nil {
		records = meta
	}
	return keystore.New(records, token, policy, keystore.Config{
		LeaseTime: c.LeaseTime, FreshGroup: c.FreshGroup, AllowDestroy: c.AllowDestroy,
		Credentials: keystore.CredentialMode(c.Credentials), Version: version, Build: goVersion(), Certify: c.certify,
		Approve: approve, JobLifetime: c.JobLifetime, Courier: c.courier, Listeners: c.policies(),
		SelfTestInterval: c.SelfTestInterval, TestPairs: c.testPairs(), Evidence: c.found,
		Report: report, AllowWeakerPolicy: c.AllowWeakerPolicy,
		Groups: groups, Release: keystore.Release(c.Release), Audit: c.auditTrail(),
	}, log), nil
}
