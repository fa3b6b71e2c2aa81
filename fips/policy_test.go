package fips

import (
	"fmt"
	"strings"
	"testing"

	"kmipd/kmip"
)

// The decisions of the default policy, pinned.
func TestDefaultPolicy(t *testing.T) {
	p := Default()
	if got := p.Name(); got != "default" {
		t.Errorf("Name: got %q, want default", got)
	}
	uses := []struct {
		use  Use
		name string
	}{{Generate, "generate"}, {Import, "import"}, {Wrap, "wrap"}, {Unwrap, "unwrap"}}
	for _, c := range []struct {
		algorithm kmip.CryptographicAlgorithm
		bits      int
		allowed   string // uses
	}{
		{kmip.CryptographicAlgorithmAES, 128, "generate import wrap unwrap"},
		{kmip.CryptographicAlgorithmAES, 192, "generate import wrap unwrap"},
		{kmip.CryptographicAlgorithmAES, 256, "generate import wrap unwrap"},
		{kmip.CryptographicAlgorithmAES, 0, "import"},
		{kmip.CryptographicAlgorithmAES, 64, "import"},
		{kmip.CryptographicAlgorithmAES, 512, "import"},
		{kmip.CryptographicAlgorithmDES3, 112, "generate import"},
		{kmip.CryptographicAlgorithmDES3, 128, "generate import"},
		{kmip.CryptographicAlgorithmDES3, 168, "generate import"},
		{kmip.CryptographicAlgorithmDES3, 192, "generate import"},
		{kmip.CryptographicAlgorithmDES3, 56, "import"},
		{kmip.CryptographicAlgorithmDES, 56, "import"},
		{kmip.CryptographicAlgorithmSKIPJACK, 80, "generate import"},
		{kmip.CryptographicAlgorithmSKIPJACK, 128, "import"},
		{kmip.CryptographicAlgorithmRSA, 512, "import wrap unwrap"},
		{kmip.CryptographicAlgorithmRSA, 1024, "generate import wrap unwrap"},
		{kmip.CryptographicAlgorithmRSA, 2048, "generate import wrap unwrap"},
		{kmip.CryptographicAlgorithmRSA, 3072, "generate import wrap unwrap"},
		{kmip.CryptographicAlgorithmRSA, 4096, "generate import wrap unwrap"},
		{kmip.CryptographicAlgorithmRSA, 8192, "import wrap unwrap"},
		{kmip.CryptographicAlgorithmEC, 256, "generate import"},
		{kmip.CryptographicAlgorithmEC, 384, "generate import"},
		{kmip.CryptographicAlgorithmEC, 521, "generate import"},
		{kmip.CryptographicAlgorithmEC, 224, "import"},
		{kmip.CryptographicAlgorithmECDSA, 256, "generate import"},
		{kmip.CryptographicAlgorithmECDH, 521, "generate import"},
		{kmip.CryptographicAlgorithmECMQV, 256, "import"},
		{kmip.CryptographicAlgorithmDSA, 2048, "import"},
		{kmip.CryptographicAlgorithmDH, 2048, "import"},
		{kmip.CryptographicAlgorithmHMACSHA1, 160, "generate import"},
		{kmip.CryptographicAlgorithmHMACSHA224, 224, "generate import"},
		{kmip.CryptographicAlgorithmHMACSHA256, 256, "generate import"},
		{kmip.CryptographicAlgorithmHMACSHA384, 384, "generate import"},
		{kmip.CryptographicAlgorithmHMACSHA512, 4096, "generate import"},
		{kmip.CryptographicAlgorithmHMACMD5, 128, "import"},
		{kmip.CryptographicAlgorithmChaCha20, 256, "import"},
		{kmip.CryptographicAlgorithm(0x80000001), 256, "import"},
		{0, 256, "import"},
	} {
		t.Run(fmt.Sprintf("%s %d", c.algorithm, c.bits), func(t *testing.T) {
			for _, u := range uses {
				err := p.Allow(u.use, c.algorithm, c.bits)
				want := false
				for _, name := range strings.Fields(c.allowed) {
					want = want || name == u.name
				}
				if got := err == nil; got != want {
					t.Errorf("%s: got allowed %t, want %t", u.name, got, want)
				}
				if err == nil {
					continue
				}
				if got := kmip.ReasonOf(err); got != kmip.ResultReasonInvalidField {
					t.Errorf("%s: got reason %s, want %s", u.name, got, kmip.ResultReasonInvalidField)
				}
				if !strings.Contains(err.Error(), "policy default") {
					t.Errorf("%s: got %q, want the policy named", u.name, err)
				}
			}
		})
	}
}
