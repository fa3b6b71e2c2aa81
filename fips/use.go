package fips

import "strings"

// Use is what is about to be done with a key, or with an algorithm of its own.
type Use uint8

// The uses that a policy tells apart. The first two make keys, Derive and Agree make them from others, and of the rest
// those that apply protection come before those that process what is protected.
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
	Derive                   // derive another key from it
	Agree                    // agree on a secret with another party
	lastUse   = Agree
)

var useNames = [...]string{Generate: "generate", Import: "import", Wrap: "wrap", Unwrap: "unwrap", Encrypt: "encrypt", Decrypt: "decrypt",
	Sign: "sign", Verify: "verify", MAC: "mac", MACVerify: "mac-verify", Digest: "digest", Derive: "derive", Agree: "agree"}

// String is the name of the use in reports.
func (u Use) String() string { return useNames[u] }

// Uses is a set of uses.
type Uses uint16

// of makes a set.
func of(list ...Use) Uses {
	var s Uses
	for _, u := range list {
		s |= 1 << u
	}
	return s
}

// Has tells whether the set holds a use.
func (s Uses) Has(u Use) bool { return s&(1<<u) != 0 }

// String lists the names of the uses, with blanks between them.
func (s Uses) String() string {
	var names []string
	for u := Generate; u <= lastUse; u++ {
		if s.Has(u) {
			names = append(names, u.String())
		}
	}
	return strings.Join(names, " ")
}

// The sets of which the tables are made.
var (
	making     = of(Generate, Import)
	ciphering  = of(Encrypt, Decrypt)
	wrapping   = of(Wrap, Unwrap)
	signing    = of(Sign, Verify)
	maccing    = of(MAC, MACVerify)
	processing = of(Decrypt, Unwrap, Verify, MACVerify)
	protecting = of(Encrypt, Wrap, Sign, MAC, Derive, Agree)
	keyed      = ciphering | wrapping | signing | maccing | of(Derive)
	everything = making | keyed | of(Digest, Agree)
)
