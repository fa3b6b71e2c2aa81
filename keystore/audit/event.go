// Package audit is the audit trail outside the record store: what a record says, the files that records are written to, the
// signed checkpoints, the verification of both without server or token, and the formats in which records go elsewhere.
//
// The chain itself is made by the record store (metadata.AuditHash), in the batch of the change that a record is about. A
// line of a file is one record:
//
//	{"seq":7,"prev":"<64 hex digits>","hash":"<64 hex digits>","event":{...}}
//
// hash is over seq, prev and the octets of event as they stand; prev is the hash of the record before. docs/audit.md tells
// auditors what that proves.
package audit

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Version is the version of Event, in its field v.
const Version = 1

// The kinds of events.
const (
	KindOperation  = "operation"  // an item of a request: done, refused or failed
	KindChange     = "change"     // a durable step of a request whose outcome is another record (Usage Limits, the end of a key)
	KindUndone     = "undone"     // a change that was taken back with its request
	KindJob        = "job"        // an asynchronous request: accepted, decided, finished, forgotten
	KindMessage    = "message"    // a request message that could not be read
	KindConnection = "connection" // a TLS handshake that failed, or a certificate that no client has
	KindAdmin      = "admin"      // an administrator's command
	KindServer     = "server"     // what the server does by itself: start, stop, dates that come, repairs, self-tests
	KindCheckpoint = "checkpoint" // a signature over the chain
)

// The outcomes.
const (
	Success = "success"
	Failure = "failure"
	Pending = "pending" // accepted, to be done later
)

// The release classes of an event that gives key material away.
const (
	ReleasePlain   = "plain"
	ReleaseWrapped = "wrapped"
)

// Event is what one record says. No field holds key bytes, secrets, or values of attributes; what clients and the network
// chose is cut to a length and escaped. Empty fields are left out.
type Event struct {
	V         int        `json:"v"`
	Time      string     `json:"time"` // RFC 3339, UTC, microseconds
	Kind      string     `json:"kind"`
	Outcome   string     `json:"outcome,omitempty"`
	Operation string     `json:"operation,omitempty"` // of KMIP, or the command of an administrator, or what the server did
	Client    string     `json:"client,omitempty"`
	User      string     `json:"user,omitempty"`
	Address   string     `json:"address,omitempty"`
	Listener  string     `json:"listener,omitempty"`
	Request   string     `json:"request,omitempty"` // Server Correlation Value: the "corr" of the log
	Protocol  string     `json:"kmip,omitempty"`    // version of the request
	Objects   []Object   `json:"objects,omitempty"`
	More      int        `json:"more_objects,omitempty"` // that are not listed
	Release   string     `json:"release,omitempty"`      // key material left: plain, wrapped
	Policy    string     `json:"policy,omitempty"`       // in force
	Reason    string     `json:"reason,omitempty"`       // KMIP Result Reason
	Message   string     `json:"message,omitempty"`      // the words of a refusal, those that the client got
	Job       string     `json:"job,omitempty"`          // Asynchronous Correlation Value, hexadecimal
	Count     uint64     `json:"count,omitempty"`        // how many events this one stands for
	Facts     []Fact     `json:"facts,omitempty"`
	Signed    *Signature `json:"checkpoint,omitempty"`
}

// Object is an object that an event is about.
type Object struct {
	UID    string `json:"uid"`
	Type   string `json:"type,omitempty"`
	Effect string `json:"effect,omitempty"` // created, changed, destroying, destroyed, removed
}

// Fact is a named value of an event of the server or an administrator.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

const (
	maxText    = 256 // octets of a text
	maxObjects = 32
	maxFacts   = 64
)

// Encode is the event as the payload of a record, at most some 40 KiB. It is written by hand: every request pays for it.
func (e Event) Encode(now time.Time) []byte {
	b := make([]byte, 0, 512)
	b = append(b, `{"v":`...)
	b = strconv.AppendInt(b, Version, 10)
	b = append(b, `,"time":"`...)
	b = now.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	b = append(b, '"')
	for _, f := range [...]struct{ name, value string }{
		{"kind", e.Kind}, {"outcome", e.Outcome}, {"operation", e.Operation}, {"client", e.Client}, {"user", e.User},
		{"address", e.Address}, {"listener", e.Listener}, {"request", e.Request}, {"kmip", e.Protocol},
	} {
		b = appendField(b, f.name, f.value)
	}
	b = appendObjects(b, e.Objects)
	for _, f := range [...]struct{ name, value string }{
		{"release", e.Release}, {"policy", e.Policy}, {"reason", e.Reason}, {"message", e.Message}, {"job", e.Job},
	} {
		b = appendField(b, f.name, f.value)
	}
	if e.Count > 0 {
		b = append(b, `,"count":`...)
		b = strconv.AppendUint(b, e.Count, 10)
	}
	b = appendFacts(b, e.Facts)
	if e.Signed != nil {
		s, err := json.Marshal(e.Signed)
		if err != nil {
			panic(fmt.Sprintf("audit: a signature has only texts, numbers and flags: %v", err))
		}
		b = append(append(b, `,"checkpoint":`...), s...)
	}
	return append(b, '}')
}

func appendObjects(b []byte, objects []Object) []byte {
	if len(objects) == 0 {
		return b
	}
	more := max(0, len(objects)-maxObjects)
	b = append(b, `,"objects":[`...)
	for i, o := range objects[:len(objects)-more] {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"uid":`...)
		b = appendText(b, o.UID)
		b = appendField(b, "type", o.Type)
		b = appendField(b, "effect", o.Effect)
		b = append(b, '}')
	}
	b = append(b, ']')
	if more > 0 {
		b = append(b, `,"more_objects":`...)
		b = strconv.AppendInt(b, int64(more), 10)
	}
	return b
}

func appendFacts(b []byte, facts []Fact) []byte {
	if len(facts) == 0 {
		return b
	}
	b = append(b, `,"facts":[`...)
	for i, f := range facts[:min(len(facts), maxFacts)] {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"name":`...)
		b = appendText(b, f.Name)
		b = append(b, `,"value":`...)
		b = appendText(b, f.Value)
		b = append(b, '}')
	}
	return append(b, ']')
}

// appendField appends a member that is not empty, behind another one.
func appendField(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	return appendText(b, value)
}

// appendText appends a JSON string of a bounded text.
func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	for _, c := range []byte(bounded(s)) {
		if c == '"' || c == '\\' {
			b = append(b, '\\')
		}
		b = append(b, c)
	}
	return append(b, '"')
}

// bounded is a text of reasonable length in valid UTF-8 without control characters. What is no text becomes the replacement
// character, as it does in the rest of the world's logs.
func bounded(s string) string {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "..."
	}
	clean := utf8.ValidString(s)
	for i := 0; clean && i < len(s); i++ {
		clean = s[i] >= ' ' && s[i] != 0x7F
	}
	if clean {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7F && r < 0xA0 {
			return utf8.RuneError
		}
		return r
	}, s)
}
