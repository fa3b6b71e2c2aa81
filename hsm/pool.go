package hsm

import (
	"context"
	"sync"

	p11 "github.com/miekg/pkcs11"
)

// session is a PKCS#11 session, lent to one goroutine at a time.
type session = p11.SessionHandle

// pool lends sessions. It opens them when they are first needed and never more than its limit.
type pool struct {
	p11   *module
	slots chan struct{} // one entry per lent session

	mu   sync.Mutex
	slot uint      // guarded by mu
	idle []session // guarded by mu
}

func newPool(m *module, slot uint, limit int) *pool {
	return &pool{p11: m, slot: slot, slots: make(chan struct{}, limit)}
}

// borrow waits for a session until ctx ends.
func (p *pool) borrow(ctx context.Context) (session, error) {
	select {
	case p.slots <- struct{}{}:
		return p.take()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// tryBorrow does not wait: ok is false when no session is free.
func (p *pool) tryBorrow() (s session, ok bool, err error) {
	select {
	case p.slots <- struct{}{}:
		s, err = p.take()
		return s, true, err
	default:
		return 0, false, nil
	}
}

// take uses the slot that its caller has just got.
func (p *pool) take() (session, error) {
	p.mu.Lock()
	slot := p.slot
	if n := len(p.idle); n > 0 {
		s := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return s, nil
	}
	p.mu.Unlock()
	s, err := p.p11.openSession(slot)
	if err != nil {
		<-p.slots
	}
	return s, err
}

// giveBack takes a session back for others, or closes it when it is not fit for them: an operation that was abandoned
// after its Init call would fail the next borrower, and miekg/pkcs11 has no way to cancel one.
func (p *pool) giveBack(s session, fit bool) error {
	defer func() { <-p.slots }()
	if fit {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.idle = append(p.idle, s)
		return nil
	}
	return p.p11.closeSession(s)
}

// flush closes all idle sessions and opens later ones on slot. No session may be lent.
func (p *pool) flush(slot uint) (first error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.idle {
		if err := p.p11.closeSession(s); err != nil && first == nil {
			first = err
		}
	}
	p.idle, p.slot = nil, slot
	return first
}
