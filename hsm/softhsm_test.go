package hsm_test

import (
	"testing"

	"kmipd/hsm"
	"kmipd/hsm/hsmtest"
)

func TestSoftHSM(t *testing.T) {
	tok := hsmtest.NewSoftHSM(t)
	t.Logf("%+v", tok.Info())
	hsmtest.Suite(t, func(*testing.T) hsm.Token { return tok })
	left, err := tok.Objects(t.Context())
	if err != nil || len(left) != 0 {
		t.Errorf("the suite left %d objects behind, %v", len(left), err)
	}
}
