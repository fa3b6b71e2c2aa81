package audit

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"kmipd/metadata"
)

// Statement is what a checkpoint says: the chain up to a record, and when to expect the next checkpoint.
type Statement struct {
	Seq  uint64 `json:"seq"`  // of the newest record that the signature covers
	Hash string `json:"hash"` // of that record, hexadecimal
	Time string `json:"time"` // RFC 3339, UTC, seconds
	// Next is when at the latest the next checkpoint comes while the server runs. A trail that ends earlier than it should
	// is seen by that.
	Next string `json:"next"`
	// Closing: the server stopped in order, and nothing follows until it starts again.
	Closing bool `json:"closing"`
}

// Signature is a signed statement: the part "checkpoint" of an event, and the head file.
type Signature struct {
	Statement
	Key       string `json:"key"`       // SHA-256 of the public key (DER SubjectPublicKeyInfo), hexadecimal
	Signature []byte `json:"signature"` // ECDSA P-384 with SHA-384, DER
}

// checkpointTag keeps the signatures apart from all others.
const checkpointTag = "kmipd audit checkpoint 1\n"

// digest is SHA-384 of the tag line and the statement in JSON, in the order of its fields.
func (s Statement) digest() []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("audit: a statement has only texts, numbers and flags: %v", err))
	}
	sum := sha512.Sum384(append([]byte(checkpointTag), b...))
	return sum[:]
}

// Sign makes a checkpoint of the chain up to head. next is the time to the next checkpoint at the latest.
func Sign(signer crypto.Signer, head metadata.AuditHead, now time.Time, next time.Duration, closing bool) (*Signature, error) {
	id, err := KeyID(signer.Public())
	if err != nil {
		return nil, err
	}
	now = now.UTC().Truncate(time.Second)
	s := &Signature{Key: id, Statement: Statement{Seq: head.Seq, Hash: hex.EncodeToString(head.Hash[:]),
		Time: now.Format(time.RFC3339), Next: now.Add(next).Format(time.RFC3339), Closing: closing}}
	s.Signature, err = signer.Sign(nil, s.digest(), crypto.SHA384)
	return s, err
}

// Errors of a checkpoint.
var (
	ErrOtherKey  = errors.New("the checkpoint was signed by another key")
	ErrSignature = errors.New("the signature of the checkpoint is wrong")
)

// Verify checks the signature.
func (s *Signature) Verify(key *ecdsa.PublicKey) error {
	id, err := KeyID(key)
	if err != nil {
		return err
	}
	if s.Key != id {
		return ErrOtherKey
	}
	if !ecdsa.VerifyASN1(key, s.digest(), s.Signature) {
		return ErrSignature
	}
	return nil
}

// Head is the record that the statement is about.
func (s Statement) Head() (metadata.AuditHead, error) {
	h := metadata.AuditHead{Seq: s.Seq}
	if len(s.Hash) != 2*len(h.Hash) {
		return h, errors.New("a checkpoint has no hash")
	}
	_, err := hex.Decode(h.Hash[:], []byte(s.Hash))
	return h, err
}

// KeyID names a public key: the SHA-256 of its DER SubjectPublicKeyInfo, in hexadecimal.
func KeyID(public crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}

// EncodeKey is a public key in PEM.
func EncodeKey(public crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// ParseKey reads what EncodeKey writes.
func ParseKey(b []byte) (*ecdsa.PublicKey, error) {
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, errors.New("there is no PEM public key (kmipd audit key prints it)")
	}
	k, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	if key, ok := k.(*ecdsa.PublicKey); ok {
		return key, nil
	}
	return nil, fmt.Errorf("the key is a %T, not one of ECDSA", k)
}

// ParseSignature reads a head file.
func ParseSignature(b []byte) (*Signature, error) {
	s := new(Signature)
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("the head file is not understood: %w", err)
	}
	return s, nil
}
