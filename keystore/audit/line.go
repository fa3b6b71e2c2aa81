package audit

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"kmipd/metadata"
)

// AppendLine appends the line of a record, with its newline.
func AppendLine(b []byte, e *metadata.AuditEntry) []byte {
	b = append(b, `{"seq":`...)
	b = strconv.AppendUint(b, e.Seq, 10)
	b = append(b, `,"prev":"`...)
	b = hex.AppendEncode(b, e.Prev[:])
	b = append(b, `","hash":"`...)
	b = hex.AppendEncode(b, e.Hash[:])
	b = append(b, `","event":`...)
	b = append(b, e.Payload...)
	return append(b, "}\n"...)
}

// maxLine bounds a line that is read.
const maxLine = 1 << 20

var errLine = errors.New("the line is not as kmipd writes it")

// ParseLine reads a line without its newline. There is one way to write a record: a line that would be written in another
// way is refused, whatever a JSON parser makes of it. Payload shares the line's memory. The hash is not checked.
func ParseLine(line []byte) (metadata.AuditEntry, error) {
	var e metadata.AuditEntry
	rest, ok := bytes.CutPrefix(line, []byte(`{"seq":`))
	n := bytes.IndexByte(rest, ',')
	if !ok || n < 1 {
		return e, errLine
	}
	var err error
	if e.Seq, err = strconv.ParseUint(string(rest[:n]), 10, 64); err != nil || e.Seq == 0 {
		return e, errLine // the first record is number 1: one before it would stand outside the chain
	}
	rest = rest[n:]
	for _, f := range []struct {
		before string
		to     *metadata.AuditDigest
	}{{`,"prev":"`, &e.Prev}, {`","hash":"`, &e.Hash}} {
		rest, ok = bytes.CutPrefix(rest, []byte(f.before))
		if !ok || len(rest) < 2*len(f.to) {
			return e, errLine
		}
		if _, err := hex.Decode(f.to[:], rest[:2*len(f.to)]); err != nil {
			return e, errLine
		}
		rest = rest[2*len(f.to):]
	}
	rest, ok = bytes.CutPrefix(rest, []byte(`","event":`))
	if !ok || len(rest) < 1 {
		return e, errLine
	}
	e.Payload = rest[:len(rest)-1]
	again := AppendLine(make([]byte, 0, len(line)+1), &e)
	if !bytes.Equal(again[:len(again)-1], line) {
		return e, errLine
	}
	return e, nil
}

// Intact tells that the hash of a record is that of its content.
func Intact(e *metadata.AuditEntry) bool {
	return e.Hash == metadata.AuditHash(e.Seq, e.Prev, e.Payload)
}

// Head is the text by which an auditor keeps the end of a chain: SEQ:HASH.
func Head(h metadata.AuditHead) string { return fmt.Sprintf("%d:%x", h.Seq, h.Hash) }

// ParseHead reads what Head writes.
func ParseHead(s string) (metadata.AuditHead, error) {
	var h metadata.AuditHead
	seq, sum, ok := bytes.Cut([]byte(s), []byte(":"))
	n, err := strconv.ParseUint(string(seq), 10, 64)
	if !ok || err != nil || len(sum) != 2*len(h.Hash) {
		return h, fmt.Errorf("%q is not NUMBER:HASH with 64 hexadecimal digits", s)
	}
	h.Seq = n
	if _, err := hex.Decode(h.Hash[:], sum); err != nil {
		return h, fmt.Errorf("%q is not NUMBER:HASH with 64 hexadecimal digits", s)
	}
	return h, nil
}
