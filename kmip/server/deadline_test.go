package server

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"
)

// A deadline is what context.WithTimeout is, whether somebody waits for it or looks at Err alone.
func TestDeadline(t *testing.T) {
	type key struct{}
	parent, cancelParent := context.WithCancel(context.WithValue(context.Background(), key{}, "value"))
	defer cancelParent()
	for _, c := range []struct {
		name string
		time time.Duration
		do   func(cancel context.CancelFunc)
		want error
	}{
		{"goes on", time.Hour, func(context.CancelFunc) {}, nil},
		{"is over", -time.Second, func(context.CancelFunc) {}, context.DeadlineExceeded},
		{"is cancelled", time.Hour, func(cancel context.CancelFunc) { cancel() }, context.Canceled},
		{"is over before it is cancelled", -time.Second, func(context.CancelFunc) {}, context.DeadlineExceeded},
		{"loses its parent", time.Hour, func(context.CancelFunc) { cancelParent() }, context.Canceled}, // the last one
	} {
		for _, waited := range []string{"never", "before", "after"} {
			if c.want != nil && parent.Err() != nil && c.name != "loses its parent" {
				t.Fatal("the parent has ended too early")
			}
			ctx, cancel := within(parent, c.time)
			if waited == "before" {
				ctx.Done()
			}
			if ctx.Value(key{}) != "value" {
				t.Errorf("%s: the parent's values are not there", c.name)
			}
			c.do(cancel)
			if waited == "after" {
				ctx.Done()
			}
			if err := ctx.Err(); !errors.Is(err, c.want) {
				t.Errorf("%s, Done called %s: Err is %v, want %v", c.name, waited, err, c.want)
			}
			child, cancelChild := context.WithCancel(ctx)
			select {
			case <-ctx.Done():
				if c.want == nil {
					t.Errorf("%s: Done is closed", c.name)
				}
				if err := child.Err(); !errors.Is(err, c.want) {
					t.Errorf("%s, Done called %s: Err of a child is %v, want %v", c.name, waited, err, c.want)
				}
			default:
				if c.want != nil {
					t.Errorf("%s, Done called %s: Done is not closed", c.name, waited)
				}
			}
			cancelChild()
			cancel()
			if ctx.Err() == nil {
				t.Errorf("%s: no error after cancel", c.name)
			}
		}
	}
}

func TestDeadlineComes(t *testing.T) {
	ctx, cancel := within(t.Context(), time.Millisecond)
	defer cancel()
	inner, cancelInner := within(ctx, time.Hour) // not beyond its parent
	defer cancelInner()
	for _, c := range []context.Context{inner, ctx} {
		<-c.Done()
		if err := c.Err(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Err is %v", err)
		}
	}
	if a, _ := ctx.Deadline(); !a.Before(time.Now()) {
		t.Errorf("the deadline is %v", a)
	}
}

// Children cost no goroutine.
func TestDeadlineChildren(t *testing.T) {
	ctx, cancel := within(t.Context(), time.Hour)
	defer cancel()
	before := runtime.NumGoroutine()
	for range 100 {
		_, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
	}
	if n := runtime.NumGoroutine() - before; n > 10 {
		t.Errorf("100 children run on %d goroutines", n)
	}
}
