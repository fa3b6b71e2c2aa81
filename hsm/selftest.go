package hsm

import (
	"bytes"
	"context"
	"errors"
	"time"
)

// Outcome is what a test came to.
type Outcome string

// The outcomes.
const (
	OutcomePassed     Outcome = "passed"
	OutcomeFailed     Outcome = "failed"
	OutcomeNotOffered Outcome = "not offered" // the token does not do it, so nothing uses it
	OutcomeUnfinished Outcome = "unfinished"  // the token went away, or time was over: nothing is known
)

// Result is one test.
type Result struct {
	Mechanism Mechanism     `json:"mechanism"`
	Test      string        `json:"test"`
	Outcome   Outcome       `json:"outcome"`
	At        time.Time     `json:"at"`
	Took      time.Duration `json:"took_ns"`
	Detail    string        `json:"detail,omitempty"` // of a failure, for the operator: fixed words and CKR_ codes
}

// Report is one run of all tests.
type Report struct {
	Reason  string        `json:"reason"` // start, schedule, login or demand
	At      time.Time     `json:"at"`
	Took    time.Duration `json:"took_ns"`
	Results []Result      `json:"results"`
	// Refusals say what the token enforces by itself. They are no failures.
	Refusals   []Refusal `json:"token_enforces"`
	ErrorState *Latch    `json:"error_state,omitempty"` // after the run
	Blocked    []Block   `json:"blocked"`               // after the run
}

// Count is the number of results with an outcome.
func (r *Report) Count(o Outcome) (n int) {
	for i := range r.Results {
		if r.Results[i].Outcome == o {
			n++
		}
	}
	return n
}

// Passed tells that every test of what the token offers passed, and that nothing before it ended in the error state.
func (r *Report) Passed() bool {
	return r.ErrorState == nil && r.Count(OutcomeFailed)+r.Count(OutcomeUnfinished) == 0
}

// Test is one test of a mechanism. Run answers nil when the token computes as told, ErrUnsupported when it does not do it.
type Test struct {
	Mechanism Mechanism
	Name      string
	// Latches tells that a failure is no matter of one mechanism: it ends in the error state.
	Latches bool
	Run     func(ctx context.Context, token Token) error
}

// errWrong is an answer that is not the known one.
var errWrong = &Error{Kind: KindInternal, Call: "self-test", Text: "wrong answer"}

// equal compares an answer with the known one.
func equal(got, want []byte, err error) error {
	if err == nil && !bytes.Equal(got, want) {
		err = errWrong
	}
	return err
}

// SelfTest runs the tests of every mechanism that this package uses and the token offers, and those of the caller, one
// after another, on the inner token: a mechanism that is blocked is tested again. Then it blocks what failed, unblocks what
// passed, and enters the error state where that is asked for. One run at a time: another one waits. The error is the
// context's; what had failed by then is blocked all the same.
func (g *Guard) SelfTest(ctx context.Context, reason string, more ...Test) (*Report, error) {
	select {
	case g.testing <- struct{}{}:
	case <-ctx.Done():
		g.wake() // they asked for this run
		return nil, ctx.Err()
	}
	defer func() {
		<-g.testing
		g.wake()
	}()
	login := g.Token.Logins()
	r := &Report{Reason: reason, At: g.cfg.Clock().UTC(), Refusals: []Refusal{}}
	began := time.Now()
	caps := g.Token.Info().Capabilities
	for _, t := range append(g.tests(caps), more...) {
		if err := ctx.Err(); err != nil {
			g.judge(r.Results, false) // what failed has failed, whoever asked
			return nil, err
		}
		r.Results = append(r.Results, g.runTest(ctx, t))
	}
	refusals, err := g.Token.Refusals(ctx)
	if err != nil {
		r.Results = append(r.Results, Result{Mechanism: "REFUSALS", Test: "what the token enforces", Outcome: OutcomeUnfinished, At: g.cfg.Clock().UTC(), Detail: err.Error()})
	} else {
		r.Refusals = refusals
	}
	r.Took = time.Since(began)
	g.judge(r.Results, true)
	if r.Count(OutcomeUnfinished) == 0 {
		g.tested.Store(login)
		select { // what calls asked for meanwhile is done; the next call asks again for a login since
		case <-g.relogin:
		default:
		}
	}
	st := g.Status()
	r.ErrorState, r.Blocked = st.ErrorState, st.Blocked
	g.last.Store(r)
	return r, nil
}

// wake has the calls that wait for a self-test look whether it was run, and ask again if it was not.
func (g *Guard) wake() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.ran)
	g.ran = make(chan struct{})
}

func (g *Guard) runTest(ctx context.Context, t Test) Result {
	r := Result{Mechanism: t.Mechanism, Test: t.Name, At: g.cfg.Clock().UTC(), Outcome: OutcomePassed}
	began := time.Now()
	err := t.Run(ctx, g.Token)
	r.Took = time.Since(began)
	switch {
	case err == nil:
	case errors.Is(err, errNotOffered):
		r.Outcome = OutcomeNotOffered
	case unfinished(err):
		r.Outcome, r.Detail = OutcomeUnfinished, err.Error()
	default:
		r.Outcome, r.Detail = OutcomeFailed, err.Error()
		if t.Latches {
			g.Fail(t.Mechanism, "the self-test \""+t.Name+"\" failed: "+err.Error())
		}
	}
	return r
}

// errNotOffered is what the token does not do.
var errNotOffered = errors.New("hsm: not offered")

// NotOffered is what the Run of a Test answers about something that the token does not do.
func NotOffered() error { return errNotOffered }

// tests are the tests of this package for a token that can do so much. What it cannot do is listed, too.
func (g *Guard) tests(caps Capabilities) []Test {
	list := []Test{{MechanismRNG, "length, repetition, health of 4 KiB", true, g.testRNG}}
	list = append(list, softwareTests()...)
	for _, part := range [][]Test{cipherTests(caps), macTests(caps), wrapTests(caps), rsaTests(caps), curveTests(caps)} {
		list = append(list, part...)
	}
	return list
}

// offered runs a test only where the token does it.
func offered(yes bool, run func(ctx context.Context, token Token) error) func(context.Context, Token) error {
	if yes {
		return run
	}
	return func(context.Context, Token) error { return errNotOffered }
}

// testRNG draws a sample twice.
func (g *Guard) testRNG(ctx context.Context, _ Token) error {
	for range 2 {
		sample, err := g.draw(ctx, healthSample)
		if err != nil {
			return err
		}
		if err := checkSample(sample); err != nil {
			return err
		}
	}
	return nil
}

// withKey runs f with one scratch key.
func withKey(ctx context.Context, token Token, class Class, spec KeySpec, value Material, f func(Ref) error) error {
	return token.Scratch(ctx, []ScratchKey{{class, spec, value}}, func(refs []Ref) error { return f(refs[0]) })
}

// refused takes an altered input for refused when the call failed because of it, or gave something else than before.
func refused(got, plain []byte, err error) error {
	if unfinished(err) {
		return err
	}
	if err == nil && bytes.Equal(got, plain) {
		return &Error{Kind: KindInternal, Call: "self-test", Text: "altered data was accepted"}
	}
	return nil
}

// altered is a copy with one bit of the last octet changed.
func altered(b []byte) []byte {
	out := bytes.Clone(b)
	out[len(out)-1] ^= 1
	return out
}
