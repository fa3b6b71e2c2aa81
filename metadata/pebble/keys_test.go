package pebble

import (
	"bytes"
	"math"
	"testing"
	"time"

	"kmipd/metadata"
)

// Whatever octets the parts hold, no prefix is the start of another one.
func TestPrefixesAreApart(t *testing.T) {
	parts := []string{"", "a", "\x00", "\x00\x01", "\x00\xff", "\x00\x00", "a\x00", "a\x00\x01", "\x01", "\xff", "a\x00\x01b"}
	var all [][]byte
	for _, owner := range parts {
		for _, attr := range parts {
			for _, value := range parts {
				all = append(all, termPrefix(owner, false, metadata.Term{Attr: attr, Value: []byte(value)}))
			}
		}
	}
	n := len(all)
	if all = sorted(all); len(all) != n { // sorted drops equal ones
		t.Errorf("%d prefixes are equal to others", n-len(all))
	}
	for i := 1; i < len(all); i++ {
		if bytes.HasPrefix(all[i], all[i-1]) {
			t.Fatalf("%q is the start of %q", all[i-1], all[i])
		}
	}
}

func TestInstantsOrder(t *testing.T) {
	instants := []time.Time{time.Unix(math.MinInt64>>1, 0), {}, time.Unix(-1, 999999999), time.Unix(0, 0), time.Unix(0, 1),
		time.Date(2026, 1, 1, 0, 0, 0, 5, time.UTC), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), time.Unix(1<<61, 0)}
	for i := 1; i < len(instants); i++ {
		a, b := instants[i-1], instants[i]
		if bytes.Compare(dueKey(a, ""), dueKey(b, "")) >= 0 {
			t.Errorf("due keys of %v and %v are out of order", a, b)
		}
		if order := bytes.Compare(appendOrder(nil, a), appendOrder(nil, b)); order < 0 {
			t.Errorf("orders of %v and %v: newest is not first", a, b)
		}
	}
	if bytes.Equal(appendOrder(nil, instants[3]), appendOrder(nil, instants[4])) {
		t.Error("a nanosecond makes no difference")
	}
}

func TestAfter(t *testing.T) {
	for in, want := range map[string]string{"a": "b", "a\xff": "b", "o/": "o0", "a\x00\x01": "a\x00\x02"} {
		if got := string(after([]byte(in))); got != want {
			t.Errorf("after(%q): got %q, want %q", in, got, want)
		}
	}
	if after([]byte("\xff\xff")) != nil {
		t.Error("there is a key behind all keys that start with FF FF")
	}
}
