package registry

import (
	"testing"

	"kmipd/softhsm-tests/internal/rawttlv"
)

func TestKnownValues(t *testing.T) {
	shared := Shared(t)
	for _, version := range []string{"1.4", "2.1"} {
		r, err := Load(shared, version)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.MustTag("UniqueIdentifier"); got != 0x420094 {
			t.Errorf("%s: UniqueIdentifier: got 0x%06X, want 0x420094", version, got)
		}
		if got := r.MustEnum("Operation", "Locate"); got != 8 {
			t.Errorf("%s: Locate: got %d, want 8", version, got)
		}
		if got, err := r.Mask("CryptographicUsageMask", "Decrypt   Encrypt"); err != nil || got != 12 {
			t.Errorf("%s: mask: got %d, %v, want 12", version, got, err)
		}
		if got, err := r.Enum("ObjectType", "0x00000007"); err != nil || got != 7 {
			t.Errorf("%s: hexadecimal value: got %d, %v", version, got, err)
		}
		if _, err := r.Enum("ObjectType", "Teapot"); err == nil {
			t.Errorf("%s: an unknown name was accepted", version)
		}
	}
}

func TestNames(t *testing.T) {
	r, err := Load(Shared(t), "1.4")
	if err != nil {
		t.Fatal(err)
	}
	if got := r.TagName(0x420057); got != "ObjectType" {
		t.Errorf("got %q, want ObjectType", got)
	}
	if got := r.AttributeValueName("State", rawttlv.Enumeration, uint32(2)); got != "Active" {
		t.Errorf("got %q, want Active", got)
	}
	if got := r.ValueName(r.MustTag("CryptographicUsageMask"), rawttlv.Integer, int32(12)); got != "0xC (Decrypt Encrypt)" {
		t.Errorf("got %q", got)
	}
}
