package server

import (
	"context"
	"sync"
	"time"
)

// deadline is a context that ends at an instant. It sets up a timer and its place among its parent's children only when
// somebody waits for it: most requests end without that, and the two of each request cost as much as decoding it does.
type deadline struct {
	context.Context // the parent
	at              time.Time

	mu     sync.Mutex // guards the fields below
	over   bool       // cancel was called
	real   context.Context
	cancel context.CancelFunc // of real
}

// within is context.WithTimeout for an item or a request.
func within(parent context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	at := time.Now().Add(d)
	if sooner, ok := parent.Deadline(); ok && sooner.Before(at) {
		at = sooner
	}
	c := &deadline{Context: parent, at: at}
	return c, c.end
}

// Deadline implements context.Context.
func (c *deadline) Deadline() (time.Time, bool) { return c.at, true }

// Done implements context.Context.
func (c *deadline) Done() <-chan struct{} { return c.waited().Done() }

// waited is the context that can be waited for.
func (c *deadline) waited() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.real == nil {
		c.real, c.cancel = context.WithDeadline(c.Context, c.at)
		if c.over {
			c.cancel()
		}
	}
	return c.real
}

// made is the context that somebody waits for, or nil.
func (c *deadline) made() (real context.Context, over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.real, c.over
}

// Err implements context.Context.
func (c *deadline) Err() error {
	if err := c.ended(); err != nil {
		return err
	}
	if !time.Now().Before(c.at) {
		return c.waited().Err()
	}
	return nil
}

// ended is Err without a look at the clock. A parent's deadline is not before ours.
func (c *deadline) ended() error {
	real, over := c.made()
	switch {
	case real != nil:
		return real.Err()
	case over:
		return context.Canceled
	}
	if parent, ok := c.Context.(*deadline); ok {
		return parent.ended()
	}
	return c.Context.Err()
}

// Value implements context.Context. Package context finds the timer's context by it, once Done was called, and hangs children
// on that without a goroutine.
func (c *deadline) Value(key any) any {
	if real, _ := c.made(); real != nil {
		return real.Value(key)
	}
	return c.Context.Value(key)
}

func (c *deadline) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.cancel != nil {
		c.cancel()
	}
}
