package fips

import (
	"time"

	"kmipd/kmip"
)

// keyRow allows keys of an algorithm, from Min to Max bits (Max 0: and any longer ones; Step 0: every length).
type keyRow struct {
	algorithm      kmip.CryptographicAlgorithm
	min, max, step int
	terms
}

// row allows one value of an enumeration.
type row[T comparable] struct {
	value T
	terms
}

// terms are for what a row allows, and for how long.
type terms struct {
	uses Uses
	// legacy are uses for what exists already: they process and never protect, and are logged. Import among them needs the
	// switch legacy-import.
	legacy Uses
	until  time.Time // the instant from which it is refused; zero for none
	source string    // the text that says so
}

// allows gives the uses that hold at an instant.
func (t terms) allows(now time.Time) (uses, legacy Uses) {
	if !t.until.IsZero() && !now.Before(t.until) {
		return 0, t.legacy
	}
	return t.uses, t.legacy
}

// pair joins the length of an elliptic curve key with the hash of its signatures.
type pair struct {
	bits int
	hash kmip.HashingAlgorithm
}

// table is one policy as data. A nil list allows whatever the server can do; an empty one, nothing.
type table struct {
	name string
	// open lets every algorithm that has no row be imported: a store for whatever clients bring.
	open bool
	// rest leaves what has no row to the other tables.
	rest        bool
	keys        []keyRow
	curves      []row[kmip.RecommendedCurve]
	hashes      []row[kmip.HashingAlgorithm]
	modes       []row[kmip.BlockCipherMode]
	paddings    []row[kmip.PaddingMethod]
	signatures  []row[kmip.DigitalSignatureAlgorithm] // of certificates, requests for them and revocation lists
	derivations []row[kmip.DerivationMethod]
	formats     []row[kmip.KeyFormatType]
	objects     []row[kmip.ObjectType]
	pairs       []pair // nil: any hash with any curve
	limits      Limits
	switches    []Switch // that are on
	clock       func() time.Time
}

// Limits are the numbers and manners of a policy. The zero value asks for nothing.
type Limits struct {
	// Hash is what the server takes where the client names no hash for OAEP, PSS or PBKDF2; 0 for KMIP's own defaults.
	Hash kmip.HashingAlgorithm `json:"default_hash,omitempty"`
	// ServerIV: an IV or counter for encryption comes from the token; one from the client is refused. With GCM always,
	// with other modes unless the switch client-iv is on.
	ServerIV   bool `json:"server_iv,omitempty"`
	ClientIV   bool `json:"client_iv,omitempty"`
	GCMUses    int  `json:"gcm_uses_log2,omitempty"` // encryptions with one key, as a power of two
	SameMGF    bool `json:"mgf_same_hash,omitempty"` // the mask of OAEP and PSS is made with the same hash
	ShortSalt  bool `json:"pss_salt_at_most_hash,omitempty"`
	HMACBits   int  `json:"min_hmac_bits,omitempty"`
	DeriveBits int  `json:"min_derivation_key_bits,omitempty"`
	OutputBits int  `json:"min_derived_bits,omitempty"`
	Salt       int  `json:"min_pbkdf2_salt_octets,omitempty"`
	Iterations int  `json:"min_pbkdf2_iterations,omitempty"`
	Password   int  `json:"min_pbkdf2_password_octets,omitempty"`
	// NoPlainWrapping: a key is wrapped by the token alone; what the server would have to hold in memory for it (TTLV
	// Encoding) is refused.
	NoPlainWrapping bool     `json:"no_ttlv_encoding,omitempty"`
	Strength        Strength `json:"wrapping_strength,omitempty"`
	// Exponents: a public exponent of RSA is odd, at least 65537 and less than 2^256 (FIPS 186-5 section A.1.1).
	Exponents bool `json:"fips186_exponents,omitempty"`
	// X509Only: no other Certificate Type is kept.
	X509Only bool `json:"x509_only,omitempty"`
	// Columns: a key is wrapped by one of the same column of Suite B (128 or 256 bits of AES).
	Columns bool `json:"suite_b_columns,omitempty"`
}

// Strength says what becomes of a wrapping that is weaker than the key in it (NIST SP 800-57 part 1 section 5.6.2).
type Strength uint8

// The reactions.
const (
	StrengthAny Strength = iota
	StrengthWarned
	StrengthRefused
)
