package main

import (
	"runtime"
	"runtime/metrics"
	"testing"
)

// goal is the size of the heap in octets at which the next collection begins.
func goal() uint64 {
	runtime.GC()
	s := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

func TestCollectLater(t *testing.T) {
	t.Cleanup(func() { ballast = nil })
	for _, set := range []string{"GOGC", "GOMEMLIMIT"} {
		t.Run("with "+set, func(t *testing.T) {
			t.Setenv("GOGC", "")
			t.Setenv("GOMEMLIMIT", "")
			t.Setenv(set, "1000000000")
			if collectLater(); ballast != nil {
				t.Errorf("%s of the environment does not decide", set)
			}
		})
	}
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	before := goal()
	collectLater()
	if after := goal(); after < before+spareHeap || after < 2*spareHeap {
		t.Errorf("the next collection is at %d octets, was at %d", after, before)
	}
}
