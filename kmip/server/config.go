package server

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"kmipd/kmip"
)

// Config is what a server needs. Zero limits and times stand for the defaults named at each field.
type Config struct {
	// TLS holds the server's certificate and the pool of client certification authorities. The server works on a copy,
	// in which it sets what KMIP and its clients need: at least TLS 1.2, verified client certificates, records that are
	// not cut small.
	TLS       *tls.Config
	Transport Transport // what connections carry inside TLS
	Gate
	Listeners []Listener // further ones; Serve serves the first, ServeListener these
	// Refused, when set, is told of every connection that is refused at its handshake or after it: the listener's name,
	// the rule, and the error with all that is known. It must not block.
	Refused func(listener, rule string, err error)

	Keystore      Keystore
	Authenticator Authenticator
	Jobs          Jobs    // asynchronous work; nil does everything at once
	Auditor       Auditor // the audit trail; nil for none
	Logger        zerolog.Logger
	Clock         func() time.Time // the time that KMIP sees; time.Now

	Versions []kmip.Version // spoken protocol versions; all of kmip.Supported

	MaxConnections  int // further ones are closed at once; 1024
	MaxPerAddress   int // connections of one IPv4 address or IPv6 /64; a quarter of MaxConnections, but at least 16
	MaxHandshakes   int // handshakes in progress, of which a further one ends the oldest; half of MaxConnections, but at least 16
	MaxRequestSize  int // octets of one request message; 1 MiB
	MaxResponseSize int // octets of one response message, whatever the client allows; 16 MiB
	MaxBatch        int // items of one request message; 256
	JobWorkers      int // jobs that are done at a time; 2

	HandshakeTimeout time.Duration // 10 s
	ReadTimeout      time.Duration // from the first octet of a message to its last; 30 s
	WriteTimeout     time.Duration // of one answer; 30 s
	IdleTimeout      time.Duration // between two messages; 15 min
	RequestTimeout   time.Duration // for the whole of one request message; 2 min

	TimeStampTolerance time.Duration // how far a request's Time Stamp may be off (KMIP 1.4 section 6.5); 0 is any
}

// minRequestSize is the smallest sensible limit: a Register of an Opaque Object of 10 kB must pass (OMOS-O-1).
const minRequestSize = 16 << 10

func (c Config) complete() (Config, error) {
	var errs []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("server: "+format, args...))
		}
	}
	need(c.Keystore != nil, "a Keystore is needed")
	need(c.Authenticator != nil, "an Authenticator is needed")
	errs = append(errs, c.checkListeners()...)
	if c.Clock == nil {
		c.Clock = time.Now
	}
	c.Versions = slices.Clone(c.Versions)
	if len(c.Versions) == 0 {
		c.Versions = slices.Clone(kmip.Supported)
	}
	slices.SortFunc(c.Versions, func(a, b kmip.Version) int {
		return cmp.Or(cmp.Compare(b.Major, a.Major), cmp.Compare(b.Minor, a.Minor))
	})
	c.Versions = slices.Compact(c.Versions)
	for _, v := range c.Versions {
		need(slices.Contains(kmip.Supported, v), "protocol version %s is not implemented", v)
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = 1024
	}
	for _, f := range []struct {
		name string
		n    *int
		def  int
		low  int
	}{
		{"MaxConnections", &c.MaxConnections, 0, 1},
		{"MaxPerAddress", &c.MaxPerAddress, max(c.MaxConnections/4, fewest), 1},
		{"MaxHandshakes", &c.MaxHandshakes, max(c.MaxConnections/2, fewest), 1},
		{"MaxRequestSize", &c.MaxRequestSize, 1 << 20, minRequestSize},
		{"MaxResponseSize", &c.MaxResponseSize, 16 << 20, minRequestSize},
		{"MaxBatch", &c.MaxBatch, 256, 1},
		{"JobWorkers", &c.JobWorkers, 2, 1},
	} {
		if *f.n == 0 {
			*f.n = f.def
		}
		need(*f.n >= f.low, "%s must be at least %d", f.name, f.low)
	}
	for _, f := range []struct {
		name string
		d    *time.Duration
		def  time.Duration
	}{
		{"HandshakeTimeout", &c.HandshakeTimeout, 10 * time.Second},
		{"ReadTimeout", &c.ReadTimeout, 30 * time.Second},
		{"WriteTimeout", &c.WriteTimeout, 30 * time.Second},
		{"IdleTimeout", &c.IdleTimeout, 15 * time.Minute},
		{"RequestTimeout", &c.RequestTimeout, 2 * time.Minute},
	} {
		if *f.d == 0 {
			*f.d = f.def
		}
		need(*f.d > 0, "%s must not be negative", f.name)
	}
	need(c.TimeStampTolerance >= 0, "TimeStampTolerance must not be negative")
	return c, errors.Join(errs...)
}
