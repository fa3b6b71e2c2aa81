package hsm_test

import (
	"os"
	"testing"

	"kmipd/hsm"
	"kmipd/hsm/hsmtest"
)

func TestSoftHSMCrypto(t *testing.T) {
	tok := hsmtest.NewSoftHSM(t)
	hsmtest.CryptoSuite(t, func(*testing.T) hsm.Token { return tok })
	left, err := tok.Objects(t.Context())
	if err != nil || len(left) != 0 {
		t.Errorf("the suite left %d objects behind, %v", len(left), err)
	}
	if n := hsm.SessionObjects(t, tok); n != 1 {
		t.Errorf("%d session objects are left, want the transport key", n)
	}
}

// TestNSSCrypto runs the suite on NSS, where every use of a token key goes through its database: it takes a minute.
func TestNSSCrypto(t *testing.T) {
	if os.Getenv("KMIPD_NSS_CRYPTO") != "1" {
		t.Skip("KMIPD_NSS_CRYPTO=1 runs it")
	}
	tok := hsm.OpenNSS(t)
	hsmtest.CryptoSuite(t, func(*testing.T) hsm.Token { return tok })
}
