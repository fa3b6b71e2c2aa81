package hsm

import (
	"context"
	"errors"
	"time"
)

// Timing is how fast one call of a token is.
type Timing struct {
	Name  string
	Calls int
	Mean  time.Duration
}

const (
	measureCalls = 20
	measureTime  = time.Second // no more calls after that
)

// Measure times the calls that matter, one after another, on throw-away objects: for an operator who wants to know what
// a token is good for, not for benchmarks. What the token cannot do is left out.
func Measure(ctx context.Context, tok Token) (timings []Timing, err error) {
	m := measurement{ctx: ctx, tok: tok}
	defer func() { err = errors.Join(err, m.clean()) }()
	kek := m.secret()
	kek.Usage = UsageWrap | UsageUnwrap
	if err := tok.GenerateKey(ctx, kek); err != nil {
		return nil, err
	}
	ref := Ref{ClassSecretKey, kek.ID}
	how := WrapSpec{Mechanism: WrapAESKWP}
	value := make(Material, 32)
	for _, step := range []struct {
		name string
		call func() error
	}{
		{"random 32", func() error { _, err := tok.Random(ctx, 32); return err }},
		{"generate aes-256", func() error { return tok.GenerateKey(ctx, m.secret()) }},
		{"generate p-256", func() error { return m.pair(KeySpec{Type: KeyEC, Curve: CurveP256}) }},
		{"generate rsa-2048", func() error { return m.pair(KeySpec{Type: KeyRSA, Bits: 2048}) }},
		{"import aes-256", func() error { return tok.Import(ctx, ClassSecretKey, m.secret(), value) }},
		{"export aes-256", func() error { _, err := tok.Export(ctx, ref, 256); return err }},
		{"wrap aes-256", func() error { _, err := tok.Wrap(ctx, ref, how, ref, 256); return err }},
		{"digest aes-256", func() error { _, err := tok.Digest(ctx, ref, 256); return err }},
		{"destroy", m.destroyOne},
	} {
		t, err := m.time(step.name, step.call)
		if err != nil && !errors.Is(err, ErrUnsupported) {
			return timings, err
		}
		if t.Calls > 0 {
			timings = append(timings, t)
		}
	}
	return timings, nil
}

// measurement keeps the objects that it has to remove.
type measurement struct {
	ctx  context.Context
	tok  Token
	made []Ref
}

// secret is the spec of a new throw-away key.
func (m *measurement) secret() KeySpec {
	id := NewTokenID()
	m.made = append(m.made, Ref{ClassSecretKey, id})
	return KeySpec{ID: id, Label: "kmipd measurement", Type: KeyAES, Bits: 256, Extractable: true}
}

func (m *measurement) pair(half KeySpec) error {
	private, public := half, half
	private.ID, public.ID = NewTokenID(), NewTokenID()
	private.Label, public.Label = "kmipd measurement", "kmipd measurement"
	private.Usage, public.Usage = UsageSign, UsageVerify
	m.made = append(m.made, Ref{ClassPrivateKey, private.ID}, Ref{ClassPublicKey, public.ID})
	_, err := m.tok.GenerateKeyPair(m.ctx, PairSpec{private, public})
	return err
}

func (m *measurement) destroyOne() error {
	if len(m.made) == 0 {
		return ErrUnsupported
	}
	ref := m.made[len(m.made)-1]
	m.made = m.made[:len(m.made)-1]
	return m.tok.Destroy(m.ctx, ref)
}

// time makes calls until there are enough, or time is up.
func (m *measurement) time(name string, call func() error) (Timing, error) {
	start := time.Now()
	for n := 1; ; n++ {
		if err := call(); err != nil {
			return Timing{}, err
		}
		if took := time.Since(start); n == measureCalls || took > measureTime {
			return Timing{Name: name, Calls: n, Mean: took / time.Duration(n)}, nil
		}
	}
}

// clean removes the rest. It goes on under a context that has ended.
func (m *measurement) clean() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.ctx), 30*time.Second)
	defer cancel()
	var errs []error
	for _, ref := range m.made {
		if err := m.tok.Destroy(ctx, ref); err != nil && !errors.Is(err, ErrNotFound) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
