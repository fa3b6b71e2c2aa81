package keystore

import (
	"encoding/binary"
	"testing"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/kmip"
)

// The encryptions with a key are counted across restarts, and end at the allowance.
func TestGCMCount(t *testing.T) {
	b := newBench(t)
	pol, err := fips.ByName("fips140")
	if err != nil {
		t.Fatal(err)
	}
	id := hsm.NewTokenID()
	saved := func() uint64 {
		t.Helper()
		v, err := b.s.meta.Setting(t.Context(), "gcm/"+id.String())
		if err != nil {
			t.Fatal(err)
		}
		return binary.BigEndian.Uint64(v)
	}
	for range 3 {
		if err := b.s.countGCM(t.Context(), pol, id); err != nil {
			t.Fatal(err)
		}
	}
	if got := saved(); got != gcmStep {
		t.Errorf("reserved %d, want one step", got)
	}
	b.restart()
	if err := b.s.countGCM(t.Context(), pol, id); err != nil {
		t.Fatal(err)
	}
	if got := saved(); got != 2*gcmStep {
		t.Errorf("after a restart: reserved %d, want two steps", got)
	}
	full := binary.BigEndian.AppendUint64(nil, 1<<32)
	if err := b.s.meta.SetSetting(t.Context(), "gcm/"+id.String(), full, false); err != nil {
		t.Fatal(err)
	}
	b.restart()
	if err := b.s.countGCM(t.Context(), pol, id); kmip.ReasonOf(err) != kmip.ResultReasonPermissionDenied {
		t.Errorf("behind the allowance: got %v, want Permission Denied", err)
	}
	if err := b.s.countGCM(t.Context(), fips.Default(), id); err != nil {
		t.Errorf("default policy: %v", err)
	}
}
