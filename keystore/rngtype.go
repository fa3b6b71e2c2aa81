package keystore

import (
	"fmt"
	"slices"
	"strings"

	"kmipd/kmip"
)

// rngTypes are the generators of NIST SP 800-90A that an operator can name for a token, which does not tell by itself.
var rngTypes = func() map[string]*kmip.RNGParameters {
	out := map[string]*kmip.RNGParameters{}
	for _, bits := range []int32{128, 192, 256} {
		out[fmt.Sprintf("ctr-aes-%d", bits)] = &kmip.RNGParameters{RNGAlgorithm: kmip.RNGAlgorithmDRBG, DRBGAlgorithm: kmip.DRBGAlgorithmCTR,
			CryptographicAlgorithm: kmip.CryptographicAlgorithmAES, CryptographicLength: ptr(bits)}
	}
	for name, h := range map[string]kmip.HashingAlgorithm{"sha-256": kmip.HashingAlgorithmSHA256, "sha-384": kmip.HashingAlgorithmSHA384, "sha-512": kmip.HashingAlgorithmSHA512} {
		out["hash-"+name] = &kmip.RNGParameters{RNGAlgorithm: kmip.RNGAlgorithmDRBG, DRBGAlgorithm: kmip.DRBGAlgorithmHash, HashingAlgorithm: h}
		out["hmac-"+name] = &kmip.RNGParameters{RNGAlgorithm: kmip.RNGAlgorithmDRBG, DRBGAlgorithm: kmip.DRBGAlgorithmHMAC, HashingAlgorithm: h}
	}
	return out
}()

// RNGTypes are the names that ParseRNG knows.
func RNGTypes() []string { return sortedKeys(rngTypes) }

// ParseRNG gives the parameters of a generator that an operator names for the token, as the vendor's security policy has it;
// nil for "".
func ParseRNG(name string) (*kmip.RNGParameters, error) {
	if name == "" {
		return nil, nil
	}
	if p := rngTypes[name]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("%q is none of %s", name, strings.Join(RNGTypes(), ", "))
}

// rng is the token's generator in KMIP's terms.
func (s *Store) rng() kmip.RNGParameters {
	if p := s.cfg.Report.RNG; p != nil {
		return *p
	}
	return kmip.RNGParameters{RNGAlgorithm: kmip.RNGAlgorithmUnspecified}
}

// describeRNG is a generator in words.
func describeRNG(p *kmip.RNGParameters) string {
	parts := []string{p.RNGAlgorithm.String()}
	if p.DRBGAlgorithm != 0 {
		parts = append(parts, p.DRBGAlgorithm.String())
	}
	if p.CryptographicAlgorithm != 0 {
		parts = append(parts, p.CryptographicAlgorithm.String())
	}
	if p.CryptographicLength != nil {
		parts = append(parts, fmt.Sprint(*p.CryptographicLength))
	}
	if p.HashingAlgorithm != 0 {
		parts = append(parts, p.HashingAlgorithm.String())
	}
	return strings.Join(slices.Compact(parts), " ")
}
