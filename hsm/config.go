package hsm

import (
	"fmt"
	"time"

	"github.com/rs/zerolog"
)

// PIN is the user PIN of a token. It prints as "[redacted]" in every format.
type PIN string

// String hides the PIN.
func (PIN) String() string { return "[redacted]" }

// GoString hides the PIN from %#v.
func (PIN) GoString() string { return "[redacted]" }

// Format hides the PIN from every verb.
func (PIN) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, "[redacted]") } // Format cannot report errors

// MarshalText hides the PIN from encoders.
func (PIN) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// LockMode says whether changes of token objects run one at a time.
type LockMode uint8

// The modes. With LockAuto the quirk table decides by manufacturer: on for SoftHSM2 and for every token not in it.
const (
	LockAuto LockMode = iota
	LockOn
	LockOff
)

// Config says which token to open and how. The zero value of every field but Module, the token's name and PIN is usable.
type Config struct {
	Module string // path of the PKCS#11 module
	// The token, by label, serial number or both. Slot numbers are not stable and not used.
	TokenLabel, TokenSerial string
	PIN                     PIN

	// MaxSessions bounds the session pool; the anchor and crypto11 take up to three sessions more. 0: four per processor
	// and at least 8, as far as the token has that many.
	MaxSessions  int
	MutationLock LockMode
	// CallTimeout bounds every wait for a session or lock, besides the caller's context. 0: 30 s.
	CallTimeout time.Duration
	// TransportRotation is the life of a transport key. 0: 24 h; negative: until the login ends.
	TransportRotation time.Duration
	// RefusePlainImport forbids sharing the transport key by C_CreateObject with its value, the last resort.
	RefusePlainImport bool
	// RefuseComposed forbids Wrap, Unwrap and MAC to pass a plain key through the server's memory where the token cannot
	// do all of it alone (Capabilities.OAEPComposed and KWPComposed, CompositionFilledKey); they answer ErrUnsupported
	// instead. WrapBytes and UnwrapBytes are not concerned: their plain value is in the server's memory anyway.
	RefuseComposed bool
	// SkipAttributeCheck leaves out reading CKA_SENSITIVE and its like back after each creation (some tokens ignore them).
	SkipAttributeCheck bool

	Logger zerolog.Logger // the zero value is silent
}

func (c Config) withDefaults() (Config, error) {
	if c.Module == "" {
		return c, &OpenError{Problem: ProblemModule, Text: "no module is configured"}
	}
	if c.TokenLabel == "" && c.TokenSerial == "" {
		return c, &OpenError{Problem: ProblemNoSuchToken, Text: "neither a token label nor a serial number is configured"}
	}
	if c.PIN == "" {
		return c, &OpenError{Problem: ProblemPIN, Text: "no PIN is configured"}
	}
	if c.MaxSessions < 0 || c.MaxSessions == 1 {
		return c, &OpenError{Problem: ProblemModule, Text: "the session limit must be 0, or 2 and more"}
	}
	if c.CallTimeout <= 0 {
		c.CallTimeout = 30 * time.Second
	}
	if c.TransportRotation == 0 {
		c.TransportRotation = 24 * time.Hour
	}
	return c, nil
}

// quirk is what this package knows of a make of token beforehand.
type quirk struct {
	manufacturer string // prefix of CK_TOKEN_INFO.manufacturerID
	parallel     bool   // token objects may be changed by several sessions at once
}

// quirks: SoftHSM2 crashes or leaves broken objects when token objects change concurrently, NSS hangs. The hardware
// rows rest on vendors' documents of thread-safe modules and have not been measured; LockOn overrules them.
var quirks = []quirk{
	{"SoftHSM", false},
	{"Mozilla", false},
	{"SafeNet", true},
	{"Thales", true},
	{"nCipher", true},
	{"Utimaco", true},
	{"Marvell", true},
	{"Cavium", true},
}
