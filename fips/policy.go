// Package fips decides which algorithms, lengths and formats a server may use. A Policy is data: one table to read. It
// decides and does nothing else; the keystore asks it on every path.
package fips

import (
	"fmt"
	"slices"
	"strings"

	"kmipd/kmip"
)

// Use is what is about to be done with a key of an algorithm.
type Use uint8

// The uses that a policy tells apart.
const (
	Generate  Use = iota + 1 // make a key on the token
	Import                   // take in a key that was made elsewhere
	Wrap                     // wrap another key under it
	Unwrap                   // unwrap a key under it
	Encrypt                  // encrypt data with it
	Decrypt                  // decrypt data with it
	Sign                     // sign with it
	Verify                   // verify a signature with it
	MAC                      // authenticate data with it
	MACVerify                // verify a message authentication code with it
	Digest                   // no key: hash data
)

// row allows an algorithm in given lengths. lengths nil means any length.
type row struct {
	algorithm kmip.CryptographicAlgorithm
	uses      []Use
	lengths   []int
}

// hashRow allows a hash function for uses of keys, and for Digest.
type hashRow struct {
	hash kmip.HashingAlgorithm
	uses []Use
}

// Policy is one named set of rules. It is immutable and safe for concurrent use.
type Policy struct {
	name string
	// open lets every algorithm that has no row be imported: a store for whatever clients bring.
	open   bool
	rows   []row
	hashes []hashRow
}

// Names are the names of the policies, from the least strict on.
func Names() []string {
	return []string{"default", "fips140", "suiteb128", "suiteb192", "cnsa1", "cnsa2"}
}

// ByName is the policy of a name, and an error that lists the names for another.
func ByName(name string) (*Policy, error) {
	if name == "default" {
		return Default(), nil
	}
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("%q is none of %s", name, strings.Join(Names(), ", "))
	}
	p := Default()
	p.name = name
	return p, nil
}

// Strict tells whether it is any policy but the default one.
func (p *Policy) Strict() bool { return p.name != "default" }

// Default is the policy of a server that is not in a strict mode: everything that real clients and the OASIS cases make,
// legacy algorithms included.
func Default() *Policy {
	aes := []Use{Generate, Import, Wrap, Unwrap, Encrypt, Decrypt, MAC, MACVerify}
	des3 := []Use{Generate, Import, Encrypt, Decrypt, MAC, MACVerify}
	signing := []Use{Generate, Import, Sign, Verify}
	keys := []Use{Generate, Import}
	hmac := []Use{Generate, Import, MAC, MACVerify}
	sha2 := []Use{Encrypt, Decrypt, Sign, Verify, MAC, MACVerify, Digest}
	// Nobody should make a new signature with SHA-1 (NIST SP 800-131A section 3); the old ones must stay verifiable.
	sha1 := []Use{Encrypt, Decrypt, Verify, MAC, MACVerify, Digest}
	plain := []Use{Digest}
	return &Policy{name: "default", open: true, rows: []row{
		{kmip.CryptographicAlgorithmAES, aes, []int{128, 192, 256}},
		{kmip.CryptographicAlgorithmDES3, des3, []int{112, 128, 168, 192}},
		{kmip.CryptographicAlgorithmSKIPJACK, keys, []int{80}},
		{kmip.CryptographicAlgorithmRSA, []Use{Generate}, []int{1024, 2048, 3072, 4096}},
		{kmip.CryptographicAlgorithmRSA, []Use{Import, Wrap, Unwrap, Encrypt, Decrypt, Sign, Verify}, nil},
		{kmip.CryptographicAlgorithmEC, signing, []int{256, 384, 521}},
		{kmip.CryptographicAlgorithmECDSA, signing, []int{256, 384, 521}},
		{kmip.CryptographicAlgorithmECDH, keys, []int{256, 384, 521}},
		{kmip.CryptographicAlgorithmHMACSHA1, hmac, nil},
		{kmip.CryptographicAlgorithmHMACSHA224, hmac, nil},
		{kmip.CryptographicAlgorithmHMACSHA256, hmac, nil},
		{kmip.CryptographicAlgorithmHMACSHA384, hmac, nil},
		{kmip.CryptographicAlgorithmHMACSHA512, hmac, nil},
	}, hashes: []hashRow{
		{kmip.HashingAlgorithmSHA1, sha1},
		{kmip.HashingAlgorithmSHA224, sha2},
		{kmip.HashingAlgorithmSHA256, sha2},
		{kmip.HashingAlgorithmSHA384, sha2},
		{kmip.HashingAlgorithmSHA512, sha2},
		{kmip.HashingAlgorithmSHA512_224, plain},
		{kmip.HashingAlgorithmSHA512_256, plain},
		{kmip.HashingAlgorithmSHA3_224, plain},
		{kmip.HashingAlgorithmSHA3_256, plain},
		{kmip.HashingAlgorithmSHA3_384, plain},
		{kmip.HashingAlgorithmSHA3_512, plain},
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

// AllowHash tells whether a hash function may be used so: with a key, or alone (Digest). The refusal is an Invalid Field
// that names the policy and the field.
func (p *Policy) AllowHash(use Use, hash kmip.HashingAlgorithm) error {
	for _, r := range p.hashes {
		if r.hash == hash && slices.Contains(r.uses, use) {
			return nil
		}
	}
	return kmip.Errorf(kmip.ResultReasonInvalidField, "Hashing Algorithm %s is not allowed here by policy %s", hash, p.name)
}
