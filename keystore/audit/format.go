package audit

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"kmipd/metadata"
)

// Format is how a record goes elsewhere.
type Format string

// The formats.
const (
	JSONLines Format = "jsonl"  // the line of the file
	Syslog    Format = "syslog" // RFC 5424, with the main fields as structured data and the line as message
	CEF       Format = "cef"    // ArcSight Common Event Format, version 0
)

// Formats lists them.
func Formats() []Format { return []Format{JSONLines, Syslog, CEF} }

// Formatter writes records in one format. It is not safe for concurrent use.
type Formatter struct {
	Format  Format
	Version string // of the server, for CEF
	Host    string // for syslog; "" for the name of this machine
}

// Append appends a record, without a newline.
func (f *Formatter) Append(b []byte, e *metadata.AuditEntry) ([]byte, error) {
	if f.Format == JSONLines || f.Format == "" {
		return trimNewline(AppendLine(b, e)), nil
	}
	var ev Event
	if err := json.Unmarshal(e.Payload, &ev); err != nil {
		return b, fmt.Errorf("record %d: %w", e.Seq, err)
	}
	if f.Format == CEF {
		return f.cef(b, e, &ev), nil
	}
	return f.syslog(b, e, &ev), nil
}

// facility is "log audit" (RFC 5424 section 6.2.1).
const facility = 13

// enterprise makes the name of our structured data: kmipd has no number of its own, so it is that of documentation (RFC
// 5612).
const enterprise = "kmipd@32473"

func (f *Formatter) syslog(b []byte, e *metadata.AuditEntry, ev *Event) []byte {
	severity := 6 // informational
	if ev.Outcome == Failure {
		severity = 4 // warning
	}
	host := f.Host
	if host == "" {
		host = hostName()
	}
	b = fmt.Appendf(b, "<%d>1 %s %s kmipd - %s [%s", facility*8+severity, ev.Time, host, ev.Kind, enterprise)
	param := func(name, value string) {
		if value == "" {
			return
		}
		b = append(b, ' ')
		b = append(b, name...)
		b = append(b, `="`...)
		b = append(b, sdEscapes.Replace(value)...)
		b = append(b, '"')
	}
	param("seq", strconv.FormatUint(e.Seq, 10))
	param("outcome", ev.Outcome)
	param("operation", ev.Operation)
	param("client", ev.Client)
	param("user", ev.User)
	param("address", ev.Address)
	param("uid", ev.uids())
	param("release", ev.Release)
	param("reason", ev.Reason)
	param("policy", ev.Policy)
	b = append(b, "] "...)
	return trimNewline(AppendLine(b, e))
}

// sdEscapes are those of RFC 5424 section 6.3.3.
var sdEscapes = strings.NewReplacer(`"`, `\"`, `\`, `\\`, `]`, `\]`)

// hostName is a HOSTNAME of RFC 5424.
func hostName() string {
	h, err := os.Hostname()
	if err != nil || h == "" || len(h) > 255 || strings.ContainsFunc(h, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "-"
	}
	return h
}

func (e *Event) uids() string {
	var ids []string
	for _, o := range e.Objects {
		ids = append(ids, o.UID)
	}
	return strings.Join(ids, ",")
}

var (
	cefHeader = strings.NewReplacer(`\`, `\\`, `|`, `\|`, "\n", " ", "\r", " ")
	cefValue  = strings.NewReplacer(`\`, `\\`, `=`, `\=`, "\n", `\n`, "\r", `\r`)
)

func (f *Formatter) cef(b []byte, e *metadata.AuditEntry, ev *Event) []byte {
	severity := 3
	switch {
	case ev.Release == ReleasePlain:
		severity = 5
	case ev.Outcome == Failure:
		severity = 6
	}
	name := ev.Operation
	if name == "" {
		name = ev.Kind
	}
	b = fmt.Appendf(b, "CEF:0|kmipd|kmipd|%s|%s|%s|%d|", cefHeader.Replace(f.Version), ev.Kind, cefHeader.Replace(name), severity)
	first := true
	field := func(key, value string) {
		if value == "" {
			return
		}
		if !first {
			b = append(b, ' ')
		}
		first = false
		b = append(append(b, key...), '=')
		b = append(b, cefValue.Replace(value)...)
	}
	custom := func(n int, label, value string) {
		if value != "" {
			key := "cs" + strconv.Itoa(n)
			field(key+"Label", label)
			field(key, value)
		}
	}
	if t, err := time.Parse(time.RFC3339, ev.Time); err == nil {
		field("rt", strconv.FormatInt(t.UnixMilli(), 10))
	}
	field("externalId", strconv.FormatUint(e.Seq, 10))
	field("act", ev.Operation)
	field("outcome", ev.Outcome)
	field("reason", ev.Reason)
	field("msg", ev.Message)
	field("suser", ev.Client)
	if host, port, err := net.SplitHostPort(ev.Address); err == nil {
		field("src", host)
		field("spt", port)
	}
	if ev.Count > 0 {
		field("cnt", strconv.FormatUint(ev.Count, 10))
	}
	custom(1, "object", ev.uids())
	custom(2, "hash", hex.EncodeToString(e.Hash[:]))
	custom(3, "policy", ev.Policy)
	custom(4, "release", ev.Release)
	custom(5, "user", ev.User)
	custom(6, "request", ev.Request)
	return b
}

// ParseFormat knows the names of the formats.
func ParseFormat(s string) (Format, error) {
	if f := Format(s); slices.Contains(Formats(), f) {
		return f, nil
	}
	return "", fmt.Errorf("%q is none of jsonl, syslog, cef", s)
}
