package metadata

import (
	"crypto/sha256"
	"encoding/binary"
)

// AuditEntry is one record of the audit chain. The engine numbers and chains records; what a payload says is decided
// elsewhere.
type AuditEntry struct {
	Seq     uint64 // from 1, without gaps
	Prev    AuditDigest
	Hash    AuditDigest // AuditHash of the rest
	Payload []byte
}

// AuditDigest is a link of the chain.
type AuditDigest [sha256.Size]byte

// AuditHead is the newest record of the chain; the zero value is that of an empty one.
type AuditHead struct {
	Seq  uint64
	Hash AuditDigest
}

// auditTag keeps the hashes of the chain apart from all others.
const auditTag = "kmipd audit record 1\x00"

// AuditHash is SHA-256 of "kmipd audit record 1", a zero octet, the sequence number (8 octets, big-endian), the hash of the
// record before (32 octets, zeros for the first) and the payload.
func AuditHash(seq uint64, prev AuditDigest, payload []byte) AuditDigest {
	b := make([]byte, 0, len(auditTag)+8+len(prev)+len(payload))
	b = append(b, auditTag...)
	b = binary.BigEndian.AppendUint64(b, seq)
	b = append(b, prev[:]...)
	return sha256.Sum256(append(b, payload...))
}
