package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"kmipd/fips/revocation"
	"kmipd/keystore"
	"kmipd/keystore/evidence"
	"kmipd/kmip/server"
)

// This file is what an evidence report knows of the program and its listeners.

// reports is what the keystore is told about reports. Its Complete and Ready are of serve alone.
func (c *config) reports() keystore.ReportConfig {
	r := keystore.ReportConfig{Dir: filepath.Join(c.DataDir, "evidence"), Interval: c.FIPSReportInterval, Keep: c.FIPSReportKeep,
		Server: programFacts(), Library: c.TokenModule}
	if r.LibrarySHA256 = hashFile(c.TokenModule); r.LibrarySHA256 == evidence.Unknown {
		r.LibrarySHA256 = ""
	}
	return r
}

// programFacts are those of this program.
func programFacts() evidence.Server {
	f := evidence.Server{Version: version, Revision: evidence.Unknown, BinarySHA256: evidence.Unknown, Go: runtime.Version(), Build: map[string]string{},
		OS: runtime.GOOS, Arch: runtime.GOARCH}
	if path, err := os.Executable(); err == nil {
		f.BinarySHA256 = hashFile(path)
	}
	if b, ok := debug.ReadBuildInfo(); ok {
		for _, s := range b.Settings {
			f.Build[s.Key] = s.Value
		}
		f.Revision = cmp.Or(f.Build["vcs.revision"], evidence.Unknown)
	}
	return f
}

// hashFile is the SHA-256 of a file in hexadecimal, or that it is unknown.
func hashFile(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return evidence.Unknown
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return evidence.Unknown
	}
	return hex.EncodeToString(h.Sum(nil))
}

// running is a server that serves, as reports see it.
type running struct {
	srv   *server.Server
	ids   []*identity
	addrs []bound
	since time.Time
}

// complete adds listeners, counters and refusals to a report.
func (r *running) complete(d *evidence.Document) {
	software := false
	for i, id := range r.ids {
		d.TLS = append(d.TLS, id.facts(r.addrs[i]))
		software = software || id.rules.Strict() && !isTokenKey(id.Key)
	}
	d.Deviate("D-TLS-1", "the cipher suites with RSA key transport and CBC that KMIP profiles make mandatory are not offered: ECDHE with AES-GCM instead")
	if software {
		d.Deviate("software-tls-key", "the key of a TLS listener under a strict policy is in a file, not on the token")
	}
	for _, id := range r.ids {
		if id.unchecked {
			d.Deviate("no-revocation", fmt.Sprintf("listener %q: %s", id.Name, noRevocation))
		}
	}
	n := r.srv.Counters()
	d.Counters = &evidence.Counters{Since: r.since, Approved: []evidence.Count{}, Refused: []evidence.Count{}, Connections: []evidence.Count{}}
	for k, count := range n.Items {
		c := evidence.Count{Operation: "unknown", Count: count}
		if k.Operation != 0 {
			c.Operation = k.Operation.String()
		}
		if k.Reason == 0 {
			d.Counters.Approved = append(d.Counters.Approved, c)
			continue
		}
		c.Reason = k.Reason.String()
		d.Counters.Refused = append(d.Counters.Refused, c)
	}
	for rule, count := range n.Refusals {
		d.Counters.Connections = append(d.Counters.Connections, evidence.Count{Operation: "connect", Reason: rule, Count: count})
	}
	for _, list := range [][]evidence.Count{d.Counters.Approved, d.Counters.Refused, d.Counters.Connections} {
		slices.SortFunc(list, func(a, b evidence.Count) int {
			return cmp.Or(cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Reason, b.Reason))
		})
	}
	for _, x := range r.srv.Refusals() {
		out := evidence.Refusal{Time: x.Time, Client: x.Client, Listener: x.Listener, Operation: "connect", Object: x.Object, Policy: x.Policy,
			Rule: x.Rule, Reason: x.Reason.String()}
		if x.Operation != 0 {
			out.Operation = x.Operation.String()
		}
		d.Refusals = append(d.Refusals, out)
	}
}

// facts are those of a listener. A list of versions, suites or groups that its policy leaves open is that of Go.
func (id *identity) facts(at bound) evidence.TLS {
	s := id.rules.Summary()
	open := func(list []string) []string {
		if len(list) == 0 {
			return []string{"as Go has them by default"}
		}
		return list
	}
	out := evidence.TLS{Listener: id.Name, Address: at.addr.String(), Policy: id.rules.String(), Versions: open(s.Versions),
		Suites: open(s.Suites), Groups: open(s.Groups), Certificates: []string{},
		ClientAuth: "certificate required and verified, with the registered client", Source: "the rules in force"}
	for _, der := range id.cert.Certificate {
		sum := sha256.Sum256(der)
		out.Certificates = append(out.Certificates, hex.EncodeToString(sum[:]))
	}
	out.Revocation = map[revocation.Mode]string{
		revocation.Off:  "revocation lists are not looked at",
		revocation.Soft: "a revoked certificate is refused; a list that is missing or old is not",
		revocation.Hard: "a revoked certificate is refused, and every one without a list that is in force",
	}[id.mode]
	return out
}
