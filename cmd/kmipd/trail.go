package main

import (
	"crypto/fips140"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"kmipd/keystore"
	"kmipd/keystore/audit"
)

// This file is the settings of the audit trail.

func (c *config) defineAudit(f *pflag.FlagSet) {
	f.StringVar(&c.AuditDir, "audit-dir", "", "directory of the audit trail (default: audit in the data directory)")
	f.Int64Var(&c.AuditRotateSize, "audit-rotate-size", 64<<20, "octets of an audit file after which another one is begun")
	f.IntVar(&c.AuditKeep, "audit-keep", 0, "full audit files that are kept; 0 keeps all")
	f.DurationVar(&c.AuditCheckpoint, "audit-checkpoint", time.Minute, "time between two signatures of the audit trail while there is something new")
	f.Uint64Var(&c.AuditBacklog, "audit-backlog", 100_000, "audit records that may wait for their file before changes are refused")
	f.StringVar(&c.AuditReleases, "audit-releases", "", "when the record of a key that leaves in clear is on disk: durable (before the answer) or queued (within 100 ms; default: durable in strict policies, else queued)")
	f.StringVar(&c.AuditSyslog, "audit-syslog", "", "receiver of audit records: tcp+tls://HOST:PORT, tcp://HOST:PORT, udp://HOST:PORT or unix:///PATH; none when empty")
	f.StringVar(&c.AuditSyslogCA, "audit-syslog-ca", "", "PEM file: authorities of a tcp+tls receiver (default: those of the system)")
	f.StringVar(&c.AuditSyslogFormat, "audit-syslog-format", "syslog", "what the receiver gets: syslog (RFC 5424) or cef")
}

// checkAudit finds what is wrong with the settings of the audit trail.
func (c *config) checkAudit() []error {
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(c.AuditRotateSize >= 64<<10, "audit_rotate_size must be 65536 or more")
	bad(c.AuditKeep >= 0, "audit_keep must not be negative")
	bad(c.AuditCheckpoint >= time.Second && c.AuditCheckpoint <= 24*time.Hour, "audit_checkpoint must be from 1s to 24h")
	bad(c.AuditBacklog >= 1000, "audit_backlog must be 1000 or more")
	bad(slices.Contains([]string{"", string(keystore.ReleasesDurable), string(keystore.ReleasesQueued)}, c.AuditReleases), "audit_releases: %q is neither durable nor queued", c.AuditReleases)
	_, err := c.receiver()
	bad(err == nil, "%w", err)
	return errs
}

// receiver is where audit records are forwarded to; nil for nowhere.
func (c *config) receiver() (*audit.Forwarder, error) {
	if c.AuditSyslog == "" {
		if c.AuditSyslogCA != "" {
			return nil, errors.New("audit_syslog_ca is set without audit_syslog")
		}
		return nil, nil
	}
	r, err := audit.ParseReceiver(c.AuditSyslog)
	if err != nil {
		return nil, fmt.Errorf("audit_syslog: %w", err)
	}
	if c.AuditSyslogFormat != string(audit.Syslog) && c.AuditSyslogFormat != string(audit.CEF) {
		return nil, fmt.Errorf("audit_syslog_format: %q is neither syslog nor cef", c.AuditSyslogFormat)
	}
	f := &audit.Forwarder{Receiver: r, Formatter: audit.Formatter{Format: audit.Format(c.AuditSyslogFormat), Version: version}}
	if c.AuditSyslogCA != "" {
		pem, err := os.ReadFile(c.AuditSyslogCA)
		if err != nil {
			return nil, fmt.Errorf("audit_syslog_ca: %w", err)
		}
		f.TLS = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
		if !f.TLS.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("audit_syslog_ca: the file holds no certificate")
		}
	}
	return f, nil
}

func (c *config) auditDir() string {
	if c.AuditDir != "" {
		return c.AuditDir
	}
	return filepath.Join(c.DataDir, "audit")
}

// auditTrail is the configuration of the keystore's trail.
func (c *config) auditTrail() keystore.AuditConfig {
	return keystore.AuditConfig{Dir: c.auditDir(), RotateSize: c.AuditRotateSize, Keep: c.AuditKeep, Checkpoint: c.AuditCheckpoint,
		Backlog: c.AuditBacklog, Releases: keystore.AuditReleases(c.AuditReleases), Forward: c.forward, Facts: c.facts}
}

// prepareTrail has the server forward its records, and tell in that of its start what is configured.
func (c *source) prepareTrail() (err error) {
	if c.forward, err = c.receiver(); err != nil {
		return err
	}
	c.facts = append(c.facts, audit.Fact{Name: "go fips module", Value: strconv.FormatBool(fips140.Enabled())})
	if v := fips140.Version(); fips140.Enabled() {
		c.facts = append(c.facts, audit.Fact{Name: "go fips module version", Value: v})
	}
	c.flags.VisitAll(func(f *pflag.Flag) {
		if f.Value.String() != f.DefValue && !slices.Contains([]string{"config", "dir"}, f.Name) {
			c.facts = append(c.facts, audit.Fact{Name: "setting " + strings.ReplaceAll(f.Name, "-", "_"), Value: f.Value.String()})
		}
	})
	return nil
}
