package hsmtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"kmipd/hsm"
)

func TestFake(t *testing.T) {
	f := NewFake()
	Suite(t, func(*testing.T) hsm.Token { return f })
	if n := f.Len(); n != 0 {
		t.Errorf("the suite left %d objects behind", n)
	}
}

func secretSpec() hsm.KeySpec { return aes(256, hsm.UsageEncrypt) }

func TestFaults(t *testing.T) {
	own := &hsm.Error{Kind: hsm.KindFull, Call: "C_GenerateKey", Code: 0x31}
	tests := []struct {
		name  string
		fault Fault
		want  error
		left  int // objects after one GenerateKey
	}{
		{"before", Fault{Method: "GenerateKey", Effect: FailBefore, Err: own}, hsm.ErrFull, 0},
		{"after", Fault{Method: "GenerateKey", Effect: FailAfter, Err: own}, hsm.ErrFull, 1},
		{"any method", Fault{Effect: FailBefore}, hsm.ErrInternal, 0},
		{"other method", Fault{Method: "Export", Effect: FailBefore}, nil, 1},
		{"second call", Fault{Method: "GenerateKey", Call: 2, Effect: FailBefore}, nil, 1},
		{"block before", Fault{Method: "GenerateKey", Effect: BlockBefore}, context.DeadlineExceeded, 0},
		{"block after", Fault{Method: "GenerateKey", Effect: BlockAfter}, context.DeadlineExceeded, 1},
		{"zombie", Fault{Method: "GenerateKey", Effect: Zombie}, hsm.ErrInternal, 1},
		{"lost", Fault{Method: "GenerateKey", Effect: LoseSessions}, hsm.ErrUnavailable, 0},
		{"crash before", Fault{Method: "GenerateKey", Effect: CrashBefore}, hsm.ErrInternal, 0},
		{"crash after", Fault{Method: "GenerateKey", Effect: CrashAfter}, hsm.ErrInternal, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := NewFake()
			f.Inject(tt.fault)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			if err := f.GenerateKey(ctx, secretSpec()); !errors.Is(err, tt.want) && (err != nil || tt.want != nil) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if n := f.Reopen().Len(); n != tt.left {
				t.Errorf("%d objects left, want %d", n, tt.left)
			}
		})
	}
}

func TestHalfPair(t *testing.T) {
	f := NewFake()
	f.Inject(Fault{Method: "GenerateKeyPair", Effect: HalfPair})
	spec := ecPair(hsm.CurveP256)
	if _, err := f.GenerateKeyPair(t.Context(), spec); !errors.Is(err, hsm.ErrInternal) {
		t.Errorf("got %v", err)
	}
	if !f.Has(hsm.Ref{Class: hsm.ClassPublicKey, ID: spec.Public.ID}) || f.Has(hsm.Ref{Class: hsm.ClassPrivateKey, ID: spec.Private.ID}) {
		t.Error("not exactly the public half is left")
	}
}

func TestReopen(t *testing.T) {
	old := NewFake()
	if err := old.GenerateKey(t.Context(), secretSpec()); err != nil {
		t.Fatal(err)
	}
	fresh := old.Reopen()
	if err := old.GenerateKey(t.Context(), secretSpec()); !errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("the old token: %v", err)
	}
	if fresh.Len() != 1 {
		t.Errorf("%d objects", fresh.Len())
	}
	fresh.Inject(Fault{Effect: LoseSessions, Times: 3})
	for i := range 4 {
		if err := fresh.Healthy(t.Context()); errors.Is(err, hsm.ErrUnavailable) != (i < 3) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	fresh.Inject(Fault{Effect: Zombie, Method: "Healthy"})
	if err := fresh.Healthy(t.Context()); err == nil {
		t.Error("no error")
	}
	if n, err := fresh.DestroyBroken(t.Context()); n != 1 || err != nil {
		t.Errorf("DestroyBroken: %d, %v", n, err)
	}
	if err := fresh.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestClose(t *testing.T) {
	f := NewFake(Options{Latency: 50 * time.Millisecond})
	done := make(chan error)
	go func() { done <- f.GenerateKey(context.Background(), secretSpec()) }()
	time.Sleep(10 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := f.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close over a running call: %v", err)
	}
	if err := f.Healthy(t.Context()); !errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("a call after Close: %v", err)
	}
	if err := f.Close(t.Context()); err != nil {
		t.Errorf("a second Close: %v", err)
	}
	if err := <-done; err != nil || f.Len() != 1 {
		t.Errorf("the running call: %v, %d objects", err, f.Len())
	}
}

func BenchmarkFake(b *testing.B) {
	f := NewFake()
	for b.Loop() {
		if err := f.GenerateKey(b.Context(), secretSpec()); err != nil {
			b.Fatal(err)
		}
	}
	if n := f.Len(); n == 0 {
		b.Error("nothing was made")
	}
}
