package hsmtest

import (
	"testing"

	"kmipd/hsm"
)

func TestFakeCrypto(t *testing.T) {
	f := NewFake()
	CryptoSuite(t, func(*testing.T) hsm.Token { return f })
	if n := f.Len(); n != 0 {
		t.Errorf("the suite left %d objects behind", n)
	}
}
