package hsm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Guard is a Token that uses nothing of another Token that failed a self-test.
//
// A mechanism that failed is blocked (ErrBlocked), and gone from the Capabilities, until a later self-test passes it. A
// random number generator that fails, a generated pair whose halves do not fit, and a failure of what the server computes
// itself end in the error state, which lasts as long as the process: every call that touches keys or randomness answers
// ErrErrorState. What is left works: Info, Objects, Destroy, DestroyBroken, Healthy, Flags, Counters, Close, and SelfTest,
// which then reports and heals nothing. Each call is asked about before and after: what a call that was under way brings
// then is wiped and does not come out. A key that it made is on the token all the same, for its caller to destroy.
//
// After another login nothing is used before a self-test was run, once somebody has asked for Relogin: calls wait for it, at
// most as long as their context and untestedWait let them (ErrUnavailable).
type Guard struct {
	Token // the inner token
	cfg   GuardConfig

	state   atomic.Pointer[guardState] // replaced under mu, never changed
	mu      sync.Mutex                 // of changes of state
	testing chan struct{}              // holds one value while a self-test runs
	last    atomic.Pointer[Report]
	ran     chan struct{} // closed at the end of the running self-test or the next one, or when that is not run; guarded by mu
	tested  atomic.Uint64 // the login that the last self-test ran under
	relogin chan struct{} // holds one value when another login was seen
	watched atomic.Bool   // somebody runs self-tests when relogin asks for them
	rng     health
	pairs   pairCounters
}

// GuardConfig says what a Guard does besides blocking.
type GuardConfig struct {
	// Pairs tests each pair that is generated for consistency before its caller hears of it.
	Pairs bool
	// OnEvent is told of each block, its end, and the error state, on the goroutine that found it; nil for nobody.
	OnEvent func(Event)
	// Clock gives the time; nil for time.Now.
	Clock func() time.Time
}

// Event is something about self-tests that an operator must hear of.
type Event struct {
	Kind      EventKind
	Mechanism Mechanism // "" where it is not about one
	Text      string    // for the log: no secrets
}

// EventKind is a kind of Event.
type EventKind string

// The kinds.
const (
	EventBlocked    EventKind = "mechanism blocked"
	EventUnblocked  EventKind = "mechanism unblocked"
	EventErrorState EventKind = "error state"
)

// guardState is immutable.
type guardState struct {
	latched *Latch
	blocked map[Mechanism]Block
}

// Latch is why the error state was entered.
type Latch struct {
	Mechanism Mechanism `json:"mechanism"`
	Text      string    `json:"text"`
	At        time.Time `json:"at"`
}

// Block is a mechanism that is not used.
type Block struct {
	Mechanism Mechanism `json:"mechanism"`
	Test      string    `json:"test"` // that failed
	At        time.Time `json:"at"`
}

// Status is what a Guard knows.
type Status struct {
	ErrorState *Latch    `json:"error_state,omitempty"`
	Blocked    []Block   `json:"blocked"`
	Pairs      PairCount `json:"pairwise"`
	Last       *Report   `json:"last_self_test,omitempty"`
}

// NewGuard guards a token. Nothing is tested or blocked yet.
func NewGuard(inner Token, cfg GuardConfig) *Guard {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.OnEvent == nil {
		cfg.OnEvent = func(Event) {}
	}
	g := &Guard{Token: inner, cfg: cfg, testing: make(chan struct{}, 1), ran: make(chan struct{}), relogin: make(chan struct{}, 1)}
	g.state.Store(&guardState{})
	g.tested.Store(inner.Logins())
	return g
}

// Status is the state of things for reports. It may be called at any time.
func (g *Guard) Status() Status {
	st := g.state.Load()
	out := Status{ErrorState: st.latched, Blocked: []Block{}, Pairs: g.pairs.count(), Last: g.last.Load()}
	for _, b := range st.blocked {
		out.Blocked = append(out.Blocked, b)
	}
	slices.SortFunc(out.Blocked, func(a, b Block) int { return compare(a.Mechanism, b.Mechanism) })
	return out
}

func compare(a, b Mechanism) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Check is nil when all the mechanisms may be used now, else ErrErrorState or ErrBlocked.
func (g *Guard) Check(mechs ...Mechanism) error {
	st := g.state.Load()
	if st.latched != nil {
		return errErrorState()
	}
	for _, m := range mechs {
		if _, ok := st.blocked[m]; ok {
			return &Error{Kind: KindBlocked, Call: "guard", Text: string(m) + " failed its self-test"}
		}
	}
	return nil
}

func errErrorState() error {
	return &Error{Kind: KindErrorState, Call: "guard", Text: "a self-test failed: error state"}
}

// untestedWait bounds the wait for the self-test after another login.
const untestedWait = 30 * time.Second

// Relogin receives a value after the token was lost and logged in to again. Whoever asks for it runs a self-test then: the
// calls that touch keys wait for its end.
func (g *Guard) Relogin() <-chan struct{} {
	g.watched.Store(true)
	return g.relogin
}

// Ready is Check after the self-test that another login asks for, if there is one to wait for. Its error can be
// ErrUnavailable and the context's, too.
func (g *Guard) Ready(ctx context.Context, mechs ...Mechanism) error {
	if g.relogged() && g.watched.Load() {
		if err := g.retested(ctx); err != nil {
			return err
		}
	}
	return g.Check(mechs...)
}

// relogged tells that the token has another login than the one that was tested, and asks for a self-test.
func (g *Guard) relogged() bool {
	if g.Token.Logins() == g.tested.Load() {
		return false
	}
	select {
	case g.relogin <- struct{}{}:
	default:
	}
	return true
}

// retested waits for the self-test. One that does not finish is asked for again.
func (g *Guard) retested(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, untestedWait)
	defer cancel()
	for {
		g.mu.Lock()
		ran := g.ran
		g.mu.Unlock()
		if !g.relogged() || g.state.Load().latched != nil {
			return nil
		}
		select {
		case <-ran:
		case <-within.Done():
			if err := ctx.Err(); err != nil {
				return err
			}
			return &Error{Kind: KindUnavailable, Call: "guard", Text: "the token came back and has not passed its self-test yet"}
		}
	}
}

// Fail enters the error state. The first reason stays.
func (g *Guard) Fail(m Mechanism, text string) {
	g.mu.Lock()
	old := g.state.Load()
	if old.latched != nil {
		g.mu.Unlock()
		return
	}
	g.state.Store(&guardState{latched: &Latch{m, text, g.cfg.Clock().UTC()}, blocked: old.blocked})
	g.mu.Unlock()
	g.cfg.OnEvent(Event{EventErrorState, m, text})
}

// judge blocks what failed, and unblocks what passed all its tests. A run that was cut short (whole is false) unblocks nothing:
// the test that failed before may be among those that were not run.
func (g *Guard) judge(results []Result, whole bool) {
	failed, passed, open := map[Mechanism]string{}, map[Mechanism]bool{}, map[Mechanism]bool{}
	for _, r := range results {
		switch r.Outcome {
		case OutcomeFailed:
			if failed[r.Mechanism] == "" {
				failed[r.Mechanism] = r.Test
			}
		case OutcomePassed:
			passed[r.Mechanism] = true
		case OutcomeUnfinished:
			open[r.Mechanism] = true
		case OutcomeNotOffered:
		}
	}
	var events []Event
	g.mu.Lock()
	old := g.state.Load()
	blocked := maps.Clone(old.blocked)
	if blocked == nil {
		blocked = map[Mechanism]Block{}
	}
	for m, test := range failed {
		if _, ok := blocked[m]; !ok {
			blocked[m] = Block{m, test, g.cfg.Clock().UTC()}
			events = append(events, Event{EventBlocked, m, fmt.Sprintf("%s failed the test %q and is blocked", m, test)})
		}
	}
	for m := range passed {
		if _, ok := blocked[m]; ok && whole && failed[m] == "" && !open[m] {
			delete(blocked, m)
			events = append(events, Event{EventUnblocked, m, fmt.Sprintf("%s passed its self-test and is used again", m)})
		}
	}
	g.state.Store(&guardState{latched: old.latched, blocked: blocked})
	g.mu.Unlock()
	slices.SortFunc(events, func(a, b Event) int { return compare(a.Mechanism, b.Mechanism) })
	for _, e := range events {
		g.cfg.OnEvent(e)
	}
}

// seen looks at what a call of the inner token came to: a generator that failed its continuous test ends in the error
// state, and another login asks for a self-test.
func (g *Guard) seen(err error) error {
	g.relogged()
	if errors.Is(err, ErrEntropy) {
		var e *Error
		errors.As(err, &e)
		g.Fail(MechanismRNG, e.Text)
		return errErrorState()
	}
	return err
}

// Info implements Token: without the capabilities that are blocked.
func (g *Guard) Info() Info {
	info := g.Token.Info()
	st := g.state.Load()
	if len(st.blocked) > 0 {
		info.Capabilities = info.Capabilities.without(func(m Mechanism) bool { _, ok := st.blocked[m]; return ok })
	}
	return info
}

// Random implements Token. It draws whole blocks, so that every use of the generator is under the continuous test.
func (g *Guard) Random(ctx context.Context, n int) ([]byte, error) {
	return guarded(ctx, g, []Mechanism{MechanismRNG}, func() ([]byte, error) { return g.draw(ctx, n) })
}

func (g *Guard) draw(ctx context.Context, n int) ([]byte, error) {
	if n < 0 {
		return nil, refuse(KindInvalidData, "a negative length")
	}
	whole := (n + healthBlock - 1) / healthBlock * healthBlock
	out, err := g.Token.Random(ctx, whole)
	if err != nil {
		return nil, err
	}
	if len(out) != whole {
		clear(out)
		return nil, refuse(KindEntropy, "the random number generator gave too little")
	}
	if err := g.rng.check(out); err != nil {
		clear(out)
		return nil, err
	}
	clear(out[n:])
	return out[:n:n], nil
}
