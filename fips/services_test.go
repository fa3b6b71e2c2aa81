package fips

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"kmipd/kmip"
)

var serviceUses = map[string]Use{"encrypt": Encrypt, "decrypt": Decrypt, "sign": Sign, "verify": Verify, "mac": MAC, "mac-verify": MACVerify, "digest": Digest}

// wantUses compares what is allowed with a list of uses.
func wantUses(t *testing.T, allowed string, allow func(Use) error) {
	t.Helper()
	for name, use := range serviceUses {
		err := allow(use)
		if want := slices.Contains(strings.Fields(allowed), name); (err == nil) != want {
			t.Errorf("%s: got %v, want allowed %t", name, err, want)
		}
		if err == nil {
			continue
		}
		if got := kmip.ReasonOf(err); got != kmip.ResultReasonInvalidField {
			t.Errorf("%s: got reason %s, want %s", name, got, kmip.ResultReasonInvalidField)
		}
		if !strings.Contains(err.Error(), "policy default") {
			t.Errorf("%s: got %q, want the policy named", name, err)
		}
	}
}

// What the default policy lets keys do, pinned.
func TestDefaultServices(t *testing.T) {
	p := Default()
	for _, c := range []struct {
		algorithm kmip.CryptographicAlgorithm
		bits      int
		allowed   string
	}{
		{kmip.CryptographicAlgorithmAES, 128, "encrypt decrypt mac mac-verify"},
		{kmip.CryptographicAlgorithmAES, 256, "encrypt decrypt mac mac-verify"},
		{kmip.CryptographicAlgorithmAES, 64, ""},
		{kmip.CryptographicAlgorithmDES3, 168, "encrypt decrypt mac mac-verify"},
		{kmip.CryptographicAlgorithmDES3, 56, ""},
		{kmip.CryptographicAlgorithmSKIPJACK, 80, ""},
		{kmip.CryptographicAlgorithmRSA, 1024, "encrypt decrypt sign verify"},
		{kmip.CryptographicAlgorithmRSA, 4096, "encrypt decrypt sign verify"},
		{kmip.CryptographicAlgorithmEC, 256, "sign verify"},
		{kmip.CryptographicAlgorithmECDSA, 521, "sign verify"},
		{kmip.CryptographicAlgorithmECDSA, 224, ""},
		{kmip.CryptographicAlgorithmECDH, 256, ""},
		{kmip.CryptographicAlgorithmDSA, 2048, ""},
		{kmip.CryptographicAlgorithmHMACSHA1, 160, "mac mac-verify"},
		{kmip.CryptographicAlgorithmHMACSHA512, 8, "mac mac-verify"},
		{kmip.CryptographicAlgorithmHMACMD5, 128, ""},
		{kmip.CryptographicAlgorithmChaCha20, 256, ""},
		{0, 0, ""},
	} {
		t.Run(fmt.Sprintf("%s %d", c.algorithm, c.bits), func(t *testing.T) {
			wantUses(t, c.allowed, func(u Use) error { return p.Allow(u, c.algorithm, c.bits) })
		})
	}
}

func TestDefaultHashes(t *testing.T) {
	p := Default()
	all := "encrypt decrypt sign verify mac mac-verify digest"
	for hash, allowed := range map[kmip.HashingAlgorithm]string{
		kmip.HashingAlgorithmMD5: "", kmip.HashingAlgorithmTiger: "", 0: "",
		kmip.HashingAlgorithmSHA1:   "encrypt decrypt verify mac mac-verify digest",
		kmip.HashingAlgorithmSHA224: all, kmip.HashingAlgorithmSHA256: all, kmip.HashingAlgorithmSHA384: all, kmip.HashingAlgorithmSHA512: all,
		kmip.HashingAlgorithmSHA512_224: "digest", kmip.HashingAlgorithmSHA512_256: "digest", kmip.HashingAlgorithmSHA3_224: "digest",
		kmip.HashingAlgorithmSHA3_256: "digest", kmip.HashingAlgorithmSHA3_384: "digest", kmip.HashingAlgorithmSHA3_512: "digest",
	} {
		t.Run(hash.String(), func(t *testing.T) {
			wantUses(t, allowed, func(u Use) error { return p.AllowHash(u, hash) })
		})
	}
}
