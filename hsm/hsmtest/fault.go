package hsmtest

import (
	"context"
	"slices"
	"time"

	"kmipd/hsm"
)

// Effect is what a Fault does to the call that it strikes.
type Effect uint8

// The effects.
const (
	FailBefore  Effect = iota + 1 // Err, and nothing happened
	FailAfter                     // Err, although it happened
	BlockBefore                   // waits until the context ends; nothing happened
	BlockAfter                    // it happened, then waits until the context ends
	// HalfPair leaves the public half of a key pair behind, and Err: the module died between the two. Other methods:
	// like FailBefore.
	HalfPair
	// Zombie leaves an object without class and CKA_ID behind, and Err, as SoftHSM 2.6 does when it is killed.
	Zombie
	// LoseSessions is a token that went away: this call and the next Times-1 calls of any method fail with
	// ErrUnavailable and do nothing.
	LoseSessions
	// CrashBefore and CrashAfter end the token for good; only Reopen gets at its objects again.
	CrashBefore
	CrashAfter
)

// Fault makes one call fail.
type Fault struct {
	Method string // e.g. "GenerateKey"; empty: any
	Call   int    // strikes the n-th matching call from now on; 0 means 1
	Times  int    // how many matching calls in a row; 0 means 1
	Effect Effect
	Err    error // default: an *hsm.Error of KindInternal (C_GenerateKey style CKR_GENERAL_ERROR)

	seen int
}

// Inject adds faults. They stay until they have struck or Heal is called.
func (f *Fake) Inject(faults ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, x := range faults {
		x.Call, x.Times = max(x.Call, 1), max(x.Times, 1)
		if x.Err == nil {
			x.Err = &hsm.Error{Kind: hsm.KindInternal, Call: x.Method, Code: 5} // CKR_GENERAL_ERROR
		}
		if x.Effect == LoseSessions {
			x.Err = &hsm.Error{Kind: hsm.KindUnavailable, Call: x.Method, Code: 0xB3} // CKR_SESSION_HANDLE_INVALID
		}
		f.faults = append(f.faults, &x)
	}
}

// Heal removes all faults that have not struck yet and says how many they were.
func (f *Fake) Heal() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.faults)
	f.faults = nil
	return n
}

// strike counts a call of the method against every fault, returns the first one that strikes, and forgets used-up ones.
func (f *Fake) strike(method string) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	var hit *Fault
	for _, x := range f.faults {
		away := x.Effect == LoseSessions && x.seen >= x.Call // a lost token is lost for every method
		if x.Method == "" || x.Method == method || away {
			x.seen++
		} else {
			continue
		}
		if hit == nil && x.seen >= x.Call {
			hit = x
		}
	}
	f.faults = slices.DeleteFunc(f.faults, func(x *Fault) bool { return x.seen >= x.Call+x.Times-1 })
	return hit
}

// call runs one method under the faults and the latency. Each method counts as one call.
func (f *Fake) call(ctx context.Context, method string, run func(Effect) error) (err error) {
	defer func() { f.count(method, err) }()
	if f.closed.Load() {
		return unavailable()
	}
	f.calls.RLock()
	defer f.calls.RUnlock()
	if err := f.enter(ctx); err != nil {
		return err
	}
	x := f.strike(method)
	if x == nil {
		return run(0)
	}
	return f.suffer(ctx, x, run)
}

func (f *Fake) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if f.closed.Load() {
		return unavailable()
	}
	if f.opts.Latency == 0 {
		return nil
	}
	timer := time.NewTimer(f.opts.Latency)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// suffer runs a call that a fault strikes.
func (f *Fake) suffer(ctx context.Context, x *Fault, run func(Effect) error) error {
	switch x.Effect {
	case FailAfter, BlockAfter, CrashAfter:
		if err := run(0); err != nil {
			return err
		}
	case HalfPair:
		if err := run(HalfPair); err != nil {
			return err
		}
	case Zombie:
		if err := f.change(func(v *vault) error { v.zombies++; return nil }); err != nil {
			return err
		}
	}
	switch x.Effect {
	case BlockBefore, BlockAfter:
		<-ctx.Done()
		return ctx.Err()
	case CrashBefore, CrashAfter:
		f.die()
	}
	return x.Err
}

func (f *Fake) count(method string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.counters[method]
	c.Calls++
	if err != nil {
		c.Failures++
	}
	f.counters[method] = c
	if f.logging {
		f.log = append(f.log, method)
	}
}

// Record starts (or restarts) the record of called methods that Recorded returns.
func (f *Fake) Record() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log, f.logging = nil, true
}

// Recorded are the methods called since Record, in the order in which they returned.
func (f *Fake) Recorded() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.log)
}
