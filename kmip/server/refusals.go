package server

import (
	"errors"
	"sync"
	"time"

	"kmipd/kmip"
)

// maxRefusals bounds the refusals that are kept for reports.
const maxRefusals = 256

// Refusal is a refusal by a policy: of a batch item, or of a connection.
type Refusal struct {
	Time      time.Time
	Client    string // "" before it is known
	Listener  string
	Operation kmip.Operation // 0 for a connection
	Object    string         // Unique Identifier, shortened
	Policy    string
	Rule      string // in words
	Reason    kmip.ResultReason
}

// refusals are the last ones, in a ring.
type refusals struct {
	mu   sync.Mutex // guards the fields below
	list []Refusal
	next int // where the next one goes once the ring is full
}

// note keeps the refusal if the error is one by a policy.
func (r *refusals) note(err error, x Refusal) {
	var by policyError
	if err == nil || !errors.As(err, &by) {
		return
	}
	x.Policy, x.Rule, _ = by.Refusal()
	x.Time, x.Object, x.Rule = time.Now().UTC(), short(x.Object), short(x.Rule)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.list) < maxRefusals {
		r.list = append(r.list, x)
		return
	}
	r.list[r.next] = x
	r.next = (r.next + 1) % maxRefusals
}

// Refusals are the last refusals by policies, oldest first.
func (s *Server) Refusals() []Refusal {
	r := &s.refusals
	r.mu.Lock()
	defer r.mu.Unlock()
	return append(append([]Refusal{}, r.list[r.next:]...), r.list[:r.next]...)
}
