package audit

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"kmipd/metadata"
)

// Check says how to verify a trail.
type Check struct {
	Files  []string // in any order
	Key    *ecdsa.PublicKey
	Latest *Signature           // of a head file, or nil
	Known  []metadata.AuditHead // ends of the chain that the auditor kept from earlier
	// Partial accepts a trail whose beginning is not there; Live one whose last line is not whole, because the server goes on
	// writing. The promise of its last checkpoint must not be over even so: else whoever can write the files could put others
	// in their place.
	Partial, Live bool
	Now           time.Time
}

// The kinds of problems.
const (
	Edited     = "edited"
	Missing    = "missing"
	Reordered  = "reordered"
	Truncated  = "truncated"
	Signatures = "signature"
)

// Problem is something that is wrong with a trail.
type Problem struct {
	Seq  uint64 `json:"seq"` // the first record that is concerned
	Kind string `json:"kind"`
	Text string `json:"text"`
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`

	through uint64 // Missing: the last record that is
	found   int    // Missing: of them stand elsewhere
}

// String is the problem in one line.
func (p Problem) String() string {
	at := ""
	if p.File != "" {
		at = fmt.Sprintf(" (%s, line %d)", p.File, p.Line)
	}
	return fmt.Sprintf("record %d: %s: %s%s", p.Seq, p.Kind, p.Text, at)
}

// Report is what Verify found.
type Report struct {
	Records     uint64    `json:"records"`
	First       uint64    `json:"first"`
	Last        uint64    `json:"last"`
	Head        string    `json:"head"` // of the last record, to keep: SEQ:HASH
	Checkpoints int       `json:"checkpoints"`
	Covered     uint64    `json:"covered"` // the last record under a good signature
	Closed      bool      `json:"closed"`  // the trail ends with the stop of the server
	Problems    []Problem `json:"problems"`
	Notes       []string  `json:"notes"`
}

// maxProblems bounds the list: what follows a first problem is often its echo.
const maxProblems = 20

// RemovedOperation is the operation of the event by which the server tells that it removed old files; its fact RemovedFact is
// the last record that was in them.
const (
	RemovedOperation = "remove old audit files"
	RemovedFact      = "through"
)

type verifier struct {
	Check
	Report
	file string
	line int

	last     metadata.AuditHead
	have     bool // last is the record that the next must follow on
	unread   int  // lines since last that could not be read: each may be a record
	base     uint64
	hashes   []metadata.AuditDigest // of the records from base on: those that the next checkpoint may be about
	newest   *Statement             // of the last good checkpoint
	signedAt uint64                 // the record that it is
	removed  uint64                 // what the server removed itself
	removals []removal
	known    map[uint64]metadata.AuditDigest
}

type removal struct{ at, through uint64 }

// Verify reads a trail and reports all that is wrong with it. The error is one of reading the files.
func Verify(c Check) (*Report, error) {
	v := &verifier{Check: c, Report: Report{Problems: []Problem{}, Notes: []string{}}, known: map[uint64]metadata.AuditDigest{}}
	if c.Latest != nil {
		if err := c.Latest.Verify(c.Key); err != nil {
			v.add(Problem{Seq: c.Latest.Seq, Kind: Signatures, Text: "the head file: " + err.Error()})
		} else if h, err := c.Latest.Statement.Head(); err == nil {
			v.Known = append(slices.Clone(v.Known), h)
		}
	}
	files, err := inOrder(c.Files)
	if err != nil {
		return nil, err
	}
	for i, f := range files {
		if err := v.read(f, i == len(files)-1); err != nil {
			return nil, err
		}
	}
	v.finish()
	return &v.Report, nil
}

func (v *verifier) add(p Problem) {
	if p.File == "" && v.line > 0 {
		p.File, p.Line = v.file, v.line
	}
	v.Problems = append(v.Problems, p)
}

func (v *verifier) note(format string, args ...any) {
	v.Notes = append(v.Notes, fmt.Sprintf(format, args...))
}

func (v *verifier) read(file string, end bool) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close() // it was read only
	v.file, v.line = file, 0
	r := bufio.NewReaderSize(f, maxLine)
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		v.line++
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			v.add(Problem{Seq: v.next(), Kind: Edited, Text: "a line of more than a million octets, as kmipd writes none"})
			return nil
		case errors.Is(err, io.EOF):
			if end && v.Live {
				v.note("the last line is being written")
			} else {
				v.add(Problem{Seq: v.next(), Kind: Truncated, Text: "the last line of the file is not whole"})
			}
			return nil
		case err != nil:
			return err
		}
		v.record(line[:len(line)-1])
	}
}

// next is the number of the record that is expected.
func (v *verifier) next() uint64 { return v.last.Seq + 1 + uint64(v.unread) }

func (v *verifier) record(line []byte) {
	e, err := ParseLine(line)
	if err != nil {
		v.add(Problem{Seq: v.next(), Kind: Edited, Text: err.Error()})
		v.unread++
		return
	}
	v.Records++
	if !Intact(&e) {
		v.add(Problem{Seq: e.Seq, Kind: Edited, Text: "its content has not the hash that it had when it was written"})
	}
	if !v.place(&e) {
		return
	}
	if e.Seq != v.base+uint64(len(v.hashes)) { // after lines that could not be read
		v.base, v.hashes = e.Seq, nil
	}
	v.last, v.have, v.unread = metadata.AuditHead{Seq: e.Seq, Hash: e.Hash}, true, 0
	for _, k := range v.Known {
		if k.Seq == e.Seq {
			v.known[k.Seq] = e.Hash
		}
	}
	v.hashes = append(v.hashes, e.Hash)
	v.event(&e)
}

// place holds a record against the one before. It is false for one that stands too late.
func (v *verifier) place(e *metadata.AuditEntry) bool {
	switch {
	case v.First == 0:
		v.First, v.base = e.Seq, e.Seq
	case e.Seq <= v.last.Seq:
		v.late(e)
		return false
	case e.Seq > v.last.Seq+1 && e.Seq != v.next():
		v.add(Problem{Seq: v.next(), Kind: Missing, through: e.Seq - 1})
		v.base, v.hashes = e.Seq, nil
	case e.Seq == v.last.Seq+1 && v.have && e.Prev != v.last.Hash:
		v.add(Problem{Seq: e.Seq, Kind: Edited, Text: "it does not follow on the record before: one of the two is not what was written"})
	}
	return true
}

// late is a record with a number that has been passed: one that was missing above, or one that stands twice.
func (v *verifier) late(e *metadata.AuditEntry) {
	for i := range v.Problems {
		p := &v.Problems[i]
		if (p.Kind == Missing || p.Kind == Reordered) && p.through != 0 && p.Seq <= e.Seq && e.Seq <= p.through {
			p.Kind = Reordered
			p.found++
			return
		}
	}
	v.add(Problem{Seq: e.Seq, Kind: Reordered, Text: fmt.Sprintf("it stands after record %d", v.last.Seq)})
}

var (
	checkpointMark = []byte(`"kind":"` + KindCheckpoint + `"`)
	removedMark    = []byte(`"operation":"` + RemovedOperation + `"`)
)

// event looks into the records that are about the trail itself. Texts of clients cannot look like the marks: the quotation
// marks in them are escaped.
func (v *verifier) event(e *metadata.AuditEntry) {
	if !bytes.Contains(e.Payload, checkpointMark) && !bytes.Contains(e.Payload, removedMark) {
		return
	}
	var ev Event
	if err := json.Unmarshal(e.Payload, &ev); err != nil {
		v.add(Problem{Seq: e.Seq, Kind: Edited, Text: "the event is not understood"})
		return
	}
	switch {
	case ev.Kind == KindCheckpoint:
		v.checkpoint(e.Seq, ev.Signed)
	case ev.Kind == KindServer && ev.Operation == RemovedOperation:
		for _, f := range ev.Facts {
			if n, err := strconv.ParseUint(f.Value, 10, 64); err == nil && f.Name == RemovedFact {
				v.removals = append(v.removals, removal{e.Seq, n})
			}
		}
	}
}

func (v *verifier) checkpoint(seq uint64, s *Signature) {
	if s == nil {
		v.add(Problem{Seq: seq, Kind: Signatures, Text: "a checkpoint without its statement"})
		return
	}
	if err := s.Verify(v.Key); err != nil {
		v.add(Problem{Seq: seq, Kind: Signatures, Text: err.Error()})
		return
	}
	h, err := s.Statement.Head()
	switch {
	case err != nil || s.Seq >= seq:
		v.add(Problem{Seq: seq, Kind: Signatures, Text: "a checkpoint of records that come after it"})
		return
	case v.newest != nil && s.Seq < v.newest.Seq:
		v.add(Problem{Seq: seq, Kind: Signatures, Text: "a checkpoint that is older than the one before: it was copied to here"})
		return
	case s.Seq < v.base: // of a record that is not in these files
		return
	case v.hashes[s.Seq-v.base] != h.Hash:
		v.add(Problem{Seq: s.Seq, Kind: Edited, Text: fmt.Sprintf("the checkpoint in record %d signs another record %d: what is here is not what was written", seq, s.Seq)})
		return
	default:
		v.Covered = max(v.Covered, s.Seq)
		v.hashes = slices.Delete(v.hashes, 0, int(s.Seq-v.base))
		v.base = s.Seq
	}
	v.Checkpoints++
	v.newest, v.signedAt = &s.Statement, seq
}

// finish judges beginning and end.
func (v *verifier) finish() {
	v.line = 0
	v.Last, v.Head = v.last.Seq, Head(v.last)
	for i := range v.Problems {
		v.Problems[i].word()
	}
	switch {
	case v.Records == 0:
		v.add(Problem{Seq: 1, Kind: Missing, Text: "there is no record"})
		return
	case v.First > 1:
		v.beginning()
	}
	v.end()
	for _, k := range v.Known {
		v.compare(k)
	}
	slices.SortStableFunc(v.Problems, func(a, b Problem) int { return cmp.Compare(a.Seq, b.Seq) })
	if n := len(v.Problems); n > maxProblems {
		v.Problems = v.Problems[:maxProblems]
		v.note("%d more problems are not listed", n-maxProblems)
	}
}

// word gives a gap its words.
func (p *Problem) word() {
	if p.through == 0 {
		return
	}
	what := "it is not here"
	if p.through > p.Seq {
		what = fmt.Sprintf("records %d to %d are not here", p.Seq, p.through)
	}
	if p.Kind == Reordered {
		what = "it stands after a later one"
		if missing := int(p.through-p.Seq) + 1 - p.found; missing > 0 {
			what = fmt.Sprintf("of the records up to %d some stand later, and %d are not here", p.through, missing)
		}
	}
	p.Text = what
}

// beginning accepts a trail that begins later when the server says, under a signature, that it removed what came before.
func (v *verifier) beginning() {
	for _, r := range v.removals {
		if r.at <= v.Covered {
			v.removed = max(v.removed, r.through)
		}
	}
	switch {
	case v.removed >= v.First-1:
		v.note("the trail begins with record %d: the server removed what came before, as its configuration says (audit_keep)", v.First)
	case v.Partial:
		v.note("the trail begins with record %d: nothing is known of what came before", v.First)
	default:
		v.add(Problem{Seq: 1, Kind: Missing, Text: fmt.Sprintf("the trail begins with record %d, and does not say that the server removed what came before", v.First)})
	}
}

// end judges the end of the trail by the last checkpoint.
func (v *verifier) end() {
	// A server that goes on keeps its promise: Live excuses neither.
	open := func(format string, args ...any) {
		v.add(Problem{Seq: v.Last + 1, Kind: Truncated, Text: fmt.Sprintf(format, args...)})
	}
	if v.newest == nil {
		open("there is no good checkpoint: nothing shows that the records are what the server wrote")
		return
	}
	if v.newest.Closing && v.signedAt == v.Last && v.newest.Seq == v.Last-1 {
		v.Closed = true
		return
	}
	next, err := time.Parse(time.RFC3339, v.newest.Next)
	late := err != nil || v.Now.After(next)
	if late {
		open("the trail ends with record %d and without the stop of the server, which promised a checkpoint by %s: the end was cut off, or the server was killed and has not been started since", v.Last, v.newest.Next)
	} else {
		v.note("the trail is open: the server is to write a checkpoint by %s", v.newest.Next)
	}
	if n := v.Last - v.newest.Seq; n > 1 {
		v.note("the last %d records are not under a signature yet", n)
	}
}

// compare holds the trail against an end of the chain that is known from elsewhere.
func (v *verifier) compare(k metadata.AuditHead) {
	hash, seen := v.known[k.Seq]
	switch {
	case k.Seq > v.Last:
		v.add(Problem{Seq: v.Last + 1, Kind: Truncated, Text: fmt.Sprintf("the trail ends with record %d, and had a record %d", v.Last, k.Seq)})
	case k.Seq < v.First:
		v.note("record %d, which is known from elsewhere, is not in these files", k.Seq)
	case !seen:
		v.add(Problem{Seq: k.Seq, Kind: Missing, Text: "a record that is known from elsewhere"})
	case hash != k.Hash:
		v.add(Problem{Seq: k.Seq, Kind: Edited, Text: "it has another hash than is known from elsewhere"})
	}
}
