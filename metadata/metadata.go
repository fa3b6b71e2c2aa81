// Package metadata keeps the durable records of managed objects: attributes and handles, never key bytes. The engine
// behind the Store interface is package metadata/pebble.
//
// One ordered key space:
//
//	o/<uid>                              record
//	x/<owner>/<attr>/<value>/<order><uid>  index entries of live records, newest first within a value
//	y/...                                the same of destroyed records
//	n/<owner>/<name>                     the Unique Identifier that holds a Name (unique within an owner)
//	d/<instant>/<uid>                    what becomes due when
//	i/<id>                               intents
//	c/<name>, p/<fingerprint>            clients, pending certificates
//	j/<id>                               asynchronous work: jobs
//	q/<client>/<number>                  messages to clients' endpoints, in the order of sending
//	a/<sequence>                         the audit chain: its end, until it is in files
//	m/<key>                              format version, token identity, settings
package metadata

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// The sentinels of this package. Engine faults come wrapped and match none of them but ErrCorrupt.
var (
	ErrNotFound = errors.New("metadata: not found")
	ErrConflict = errors.New("metadata: record changed meanwhile") // the expected revision is not the stored one
	ErrExists   = errors.New("metadata: record exists")
	ErrCorrupt  = errors.New("metadata: stored value is damaged")
	ErrFormat   = errors.New("metadata: store was written by a newer kmipd")
	ErrLocked   = errors.New("metadata: store is open elsewhere") // in another process, or twice in this one
	ErrClosed   = errors.New("metadata: store is closed")
	// ErrFailed comes from every call after the engine could not sync or write. What it had acknowledged is on disk;
	// the process should end, and start again when the disk is well.
	ErrFailed = errors.New("metadata: store has failed")
)

// NameTakenError says that another object of the owner holds a Name.
type NameTakenError struct{ Owner, Name, UID string }

func (e *NameTakenError) Error() string { return "metadata: name is taken" }

// CorruptError lists the damaged values that a walk met and went past. It is ErrCorrupt.
type CorruptError struct {
	UIDs []string // of records; of other values their key
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%v: %q", ErrCorrupt, e.UIDs)
}

// Unwrap is ErrCorrupt.
func (e *CorruptError) Unwrap() error { return ErrCorrupt }

// Phase is how far a record has come.
type Phase uint8

// The phases. A record in PhaseDestroying is destroyed for its clients; its token object may still exist.
const (
	PhaseLive Phase = iota + 1
	PhaseDestroying
	PhaseDestroyed
)

// Handle finds the token object of a record. The zero Handle means that there is none (templates).
type Handle struct {
	TokenSerial string
	ID          [16]byte // CKA_ID
	Class       uint8    // hsm.Class
	Residency   uint8    // 1: persistent token object; 2: one that the token made itself
}

// Attribute is one attribute instance. Value's tag does not matter.
type Attribute struct {
	Name  string
	Index int32
	Value ttlv.Item
}

// Record is everything kept of one managed object. A *Record from a Store is the caller's own; Value and Frame memory is
// not shared with the store.
type Record struct {
	UID        string
	Owner      string    // client
	User       string    // user within the client, or ""
	Revision   uint64    // counts commits of this record from 1; set by Commit
	Created    time.Time // nanosecond precision: orders Locate's answers
	Phase      Phase
	ObjectType kmip.ObjectType
	Handle     Handle
	// Attributes in the order in which they were set; instances of one name by index.
	Attributes []Attribute
	// Frame is the TTLV encoding of the object as it was registered or made, without key material: e.g. Symmetric Key
	// with its Key Block less the Key Value. It keeps format, algorithm, length and wrapping facts.
	Frame []byte
	// ValueBits is the recorded length in bits of what the token holds (secret keys), else 0.
	ValueBits int
	// Due is when something about the record becomes due; zero for never.
	Due time.Time
}

// Clone is a deep copy.
func (r *Record) Clone() *Record {
	c := *r
	c.Attributes = slices.Clone(r.Attributes)
	size := len(r.Frame)
	for i := range r.Attributes {
		size += len(r.Attributes[i].Value.Value)
	}
	octets := make([]byte, 0, size) // one piece of memory for all
	own := func(b []byte) []byte {
		if len(b) == 0 {
			return nil
		}
		at := len(octets)
		octets = append(octets, b...)
		return octets[at:len(octets):len(octets)]
	}
	for i := range c.Attributes {
		c.Attributes[i].Value.Value = own(r.Attributes[i].Value.Value)
	}
	c.Frame = own(r.Frame)
	return &c
}

// Intent says what is about to be done on the token, so that a crash between the two stores can be settled.
type Intent struct {
	ID        [16]byte // CKA_ID of the token object that is being made
	UID       string
	Operation string
	Class     uint8
	At        time.Time
}

// Put writes a record. Expect is the revision that the stored record must have, 0 when it must not exist.
type Put struct {
	Record *Record
	Expect uint64
}

// Delete removes a record, its index entries and its names.
type Delete struct {
	UID    string
	Expect uint64
}

// Batch is one atomic change. All of it or nothing happens, and all of it is synced to disk when Commit returns nil.
type Batch struct {
	Puts        []Put
	Deletes     []Delete
	AddIntents  []Intent
	DropIntents [][16]byte
	// PutJobs writes jobs whatever was there, DropJobs removes them if they are there: whoever changes a job has it to
	// himself. A job thus becomes final in the same instant as the change that it stands for.
	PutJobs  []*Job
	DropJobs []string
	// DropSettings removes settings if they are there.
	DropSettings []string
	// Enqueue adds messages to the queues of clients, Dequeue removes them if they are there.
	Enqueue []*Delivery
	Dequeue []DeliveryKey
	// Audit are payloads of records that go to the end of the audit chain, in this order, in the same instant as the
	// change.
	Audit [][]byte
}

// Term is one indexed condition of a Query: the attribute has an instance with exactly this value. Values are made by
// IndexTerms, so that writer and reader agree.
type Term struct {
	Attr  string
	Value []byte
}

// Query finds records of one owner.
type Query struct {
	Owner     string
	Destroyed bool // search destroyed records instead of live ones
	Terms     []Term
	// Match decides on each candidate that has all terms; nil takes all. It must not keep the record.
	Match func(*Record) bool
	// Oldest turns the order round: oldest first, and Unique Identifiers descending where the instant is the same.
	Oldest bool
	Offset int
	// Max is how many identifiers to return, negative for all. Count asks for the total number of matches too, which
	// may need a longer scan.
	Max   int
	Count bool
}

// Result is a Query's answer, newest first (unless Oldest), then by Unique Identifier.
type Result struct {
	UIDs  []string
	Total int // only with Count
}

// Store is the durable store. All methods are safe for concurrent use. Reads see a consistent snapshot. Commits of
// concurrent callers share fsyncs. A wait ends with the context.
type Store interface {
	// Get returns a record, ErrNotFound, or ErrCorrupt.
	Get(ctx context.Context, uid string) (*Record, error)
	// ByName finds the live record of an owner that holds a Name; ErrNotFound when none does.
	ByName(ctx context.Context, owner, name string) (string, error)
	// Commit applies a batch and updates Revision of the records put. ErrConflict (also for a record that is gone),
	// ErrExists and *NameTakenError leave the store unchanged, and so does an error of the context. After ErrFailed the
	// batch may or may not be there at the next start.
	Commit(ctx context.Context, b *Batch) error
	// Locate answers a Query from the indexes: the ranges of its terms are intersected, the smallest leading. Without
	// terms it walks the owner's records in order.
	Locate(ctx context.Context, q Query) (Result, error)
	// Due lists Unique Identifiers whose Due is at or before until, earliest first, at most max (negative for all). Get
	// the record before acting on it: its Due may have changed meanwhile.
	Due(ctx context.Context, until time.Time, max int) ([]string, error)
	// Intents lists what is unsettled.
	Intents(ctx context.Context) ([]Intent, error)
	// Records walks all records in Unique Identifier order, from a snapshot (start, fsck); fn may keep the record. It
	// goes past damaged records and names them at the end in a *CorruptError. An error of fn ends the walk.
	Records(ctx context.Context, fn func(*Record) error) error

	// Job returns a job, ErrNotFound, or ErrCorrupt. Jobs walks all of them in the order of their identifiers; fn may keep
	// the job. It goes past damaged ones and names them at the end in a *CorruptError. An error of fn ends the walk.
	Job(ctx context.Context, id string) (*Job, error)
	Jobs(ctx context.Context, fn func(*Job) error) error

	// Delivery returns a queued message, ErrNotFound, or ErrCorrupt. Deliveries walks all of them as Jobs does, those of a
	// client in the order of their numbers.
	Delivery(ctx context.Context, k DeliveryKey) (*Delivery, error)
	Deliveries(ctx context.Context, fn func(*Delivery) error) error

	// AuditHead is the newest record of the audit chain that is on disk.
	AuditHead(ctx context.Context) (AuditHead, error)
	// AuditEntries are the records after a sequence number that are on disk, in order, at most max.
	AuditEntries(ctx context.Context, after uint64, max int) ([]AuditEntry, error)
	// PruneAudit removes records up to a sequence number; the newest one stays in any case.
	PruneAudit(ctx context.Context, through uint64) error

	// Clients and pending certificates. Audit payloads are chained as those of a Batch are.
	Client(ctx context.Context, name string) (*Client, error)
	Clients(ctx context.Context) ([]*Client, error)
	PutClient(ctx context.Context, c *Client, audit ...[]byte) error
	DeleteClient(ctx context.Context, name string, audit ...[]byte) error
	Pending(ctx context.Context) ([]*PendingCertificate, error)
	PutPending(ctx context.Context, p *PendingCertificate) error
	DeletePending(ctx context.Context, fingerprint string, audit ...[]byte) error

	// Setting and SetSetting keep small named values (token identity, group pointers); sync false may lose the latest
	// value in a crash. Setting gives ErrNotFound.
	Setting(ctx context.Context, key string) ([]byte, error)
	SetSetting(ctx context.Context, key string, value []byte, sync bool, audit ...[]byte) error

	// Count is the number of records by phase, for doctor and metrics.
	Count(ctx context.Context) (map[Phase]int, error)
	Close() error
}

// Client is a registered KMIP client.
type Client struct {
	Name         string             `json:"name"`
	Certificates []CertificateMatch `json:"certificates"`
	Credentials  []StoredCredential `json:"credentials,omitempty"`
	Created      time.Time          `json:"created"`
	Disabled     bool               `json:"disabled,omitempty"`
	// RequireCredential: the certificate alone is not enough; each message needs a registered credential, too.
	RequireCredential bool `json:"require_credential,omitempty"`
	// Group names the group of the configuration whose policy holds for the client; "" for none.
	Group    string    `json:"group,omitempty"`
	Endpoint *Endpoint `json:"endpoint,omitempty"` // where it takes Notify and Put, if it does
}

// CertificateMatch is one way to recognise a client's certificate: by fingerprint, or by subject under a CA.
type CertificateMatch struct {
	Fingerprint   string `json:"fingerprint,omitempty"`    // SHA-256 of the DER certificate, lower-case hexadecimal
	Subject       string `json:"subject,omitempty"`        // RFC 2253 distinguished name, whole
	CAFingerprint string `json:"ca_fingerprint,omitempty"` // SHA-256 of the DER issuer certificate
}

// StoredCredential is a KMIP credential of a client; the password only as a salted hash.
type StoredCredential struct {
	User       string `json:"user"` // username, or the device fields in canonical form
	Device     bool   `json:"device,omitempty"`
	Salt       []byte `json:"salt,omitempty"`
	Hash       []byte `json:"hash,omitempty"` // PBKDF2-HMAC-SHA256; empty when the credential has no password
	Iterations int    `json:"iterations,omitempty"`
}

// PendingCertificate is a valid certificate that connected and belongs to no client.
type PendingCertificate struct {
	Fingerprint string    `json:"fingerprint"`
	Subject     string    `json:"subject"`
	Issuer      string    `json:"issuer"`
	Serial      string    `json:"serial"`
	NotAfter    time.Time `json:"not_after"`
	DER         []byte    `json:"der"`
	FirstSeen   time.Time `json:"first_seen"`
	LastSeen    time.Time `json:"last_seen"`
	Address     string    `json:"address"`
	Attempts    int       `json:"attempts"`
}
