package hsm_test

import (
	"bytes"
	"slices"
	"testing"

	"kmipd/hsm"
)

// TestNSS verifies that the probe goes by behaviour: what SoftHSM calls 0x210A is 0x210B here.
func TestNSS(t *testing.T) {
	tok := hsm.OpenNSS(t)
	caps := tok.Info().Capabilities
	if !caps.KW || !caps.KWP || caps.KWPComposed || !slices.Contains(caps.OAEP, hsm.OAEPSHA256) || len(caps.OAEPComposed) != 0 || caps.Data {
		t.Errorf("probe: %+v", caps)
	}
	for _, way := range []string{"ecdh-p256", "rsa-oaep-sha256", "create-object"} {
		if err := hsm.TryTransport(tok, way); err != nil {
			t.Errorf("%s: %v", way, err)
		}
	}
	kek, value := generate(t, tok)
	for _, n := range []int{1, 16, 20, 32} {
		spec := aes256()
		spec.Type, spec.Bits = hsm.KeyGeneric, 8*n
		if err := tok.Import(t.Context(), hsm.ClassSecretKey, spec, value[:n]); err != nil {
			t.Fatal(err)
		}
		blob, err := tok.Wrap(t.Context(), kek, hsm.WrapSpec{Mechanism: hsm.WrapAESKWP}, secret(spec.ID), 8*n)
		if err != nil {
			t.Fatal(err)
		}
		back, err := tok.UnwrapBytes(t.Context(), kek, hsm.WrapSpec{Mechanism: hsm.WrapAESKWP}, blob)
		if err != nil || !bytes.Equal(back, value[:n]) {
			t.Errorf("%d octets came back as %d, %v", n, len(back), err)
		}
		if err := tok.Destroy(t.Context(), secret(spec.ID)); err != nil {
			t.Error(err)
		}
	}
}
