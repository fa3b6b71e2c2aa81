// Package fips decides which algorithms, lengths and formats a server may use. A Policy is data: one table to read. It
// decides and does nothing else; the keystore asks it on every path.
package fips

import (
	"slices"

	"kmipd/kmip"
)

// Use is what is about to be done with a key of an algorithm.
type Use uint8

// The uses that a policy tells apart.
const (
	Generate Use = iota + 1 // make a key on the token
	Import                  // take in a key that was made elsewhere
	Wrap                    // wrap another key under it
	Unwrap                  // unwrap a key under it
)

// row allows an algorithm in given lengths. lengths nil means any length.
type row struct {
	algorithm kmip.CryptographicAlgorithm
	uses      []Use
	lengths   []int
}

// Policy is one named set of rules. It is immutable and safe for concurrent use.
type Policy struct {
	name string
	// open lets every algorithm that has no row be imported: a store for whatever clients bring.
	open bool
	rows []row
}

// Default is the policy of a server that is not in a strict mode: everything that real clients and the OASIS cases make,
// legacy algorithms included.
func Default() *Policy {
	all := []Use{Generate, Import, Wrap, Unwrap}
	hmac := []Use{Generate, Import}
	return &Policy{name: "default", open: true, rows: []row{
		{kmip.CryptographicAlgorithmAES, all, []int{128, 192, 256}},
		{kmip.CryptographicAlgorithmDES3, hmac, []int{112, 128, 168, 192}},
		{kmip.CryptographicAlgorithmSKIPJACK, hmac, []int{80}},
		{kmip.CryptographicAlgorithmRSA, []Use{Generate}, []int{1024, 2048, 3072, 4096}},
		{kmip.CryptographicAlgorithmRSA, []Use{Import, Wrap, Unwrap}, nil},
		{kmip.CryptographicAlgorithmEC, hmac, []int{256, 384, 521}},
		{kmip.CryptographicAlgorithmECDSA, hmac, []int{256, 384, 521}},
		{kmip.CryptographicAlgorithmECDH, hmac, []int{256, 384, 521}},
		{kmip.CryptographicAlgorithmHMACSHA1, hmac, nil},
		{kmip.CryptographicAlgorithmHMACSHA224, hmac, nil},
		{kmip.CryptographicAlgorithmHMACSHA256, hmac, nil},
		{kmip.CryptographicAlgorithmHMACSHA384, hmac, nil},
		{kmip.CryptographicAlgorithmHMACSHA512, hmac, nil},
	}}
}

// Name is the policy's name.
func (p *Policy) Name() string { return p.name }

// Allow tells whether a key of the algorithm and length (bits) may be used so. The refusal is an Invalid Field that names
// the policy and the field.
func (p *Policy) Allow(use Use, algorithm kmip.CryptographicAlgorithm, bits int) error {
	known := false
	for _, r := range p.rows {
		if r.algorithm != algorithm || !slices.Contains(r.uses, use) {
			continue
		}
		known = true
		if r.lengths == nil || slices.Contains(r.lengths, bits) {
			return nil
		}
	}
	if p.open && use == Import {
		return nil // odd lengths of known algorithms too: they are stored as generic secrets
	}
	if known {
		return kmip.Errorf(kmip.ResultReasonInvalidField, "Cryptographic Length %d is not allowed for %s by policy %s",
			bits, algorithm, p.name)
	}
	return kmip.Errorf(kmip.ResultReasonInvalidField, "Cryptographic Algorithm %s is not allowed by policy %s", algorithm, p.name)
}
