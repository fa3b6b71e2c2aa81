package hsm

import "fmt"

// Kind classes what went wrong on a token, so that callers decide without knowing CKR_ codes.
type Kind uint8

// The kinds of token errors.
const (
	KindInternal       Kind = iota + 1 // the token or this package is at fault
	KindUnavailable                    // device, session or login trouble that healing did not cure in time
	KindNotFound                       // no such object
	KindExists                         // the CKA_ID is taken
	KindNotExtractable                 // the key must not leave the token
	KindUnsupported                    // mechanism, key type, size or parameter that the token cannot do
	KindInvalidData                    // data that does not decrypt, unwrap or parse; wrong length
	KindInvalidKey                     // a key of the wrong type or usage for the call
	KindFull                           // out of token memory
	KindBlocked                        // the mechanism failed its self-test and is not used until it passes one
	KindEntropy                        // the random number generator repeated itself or gave too little
	KindErrorState                     // the error state after a failed self-test: no keys and no cryptography until a restart
)

// Error is a failure of a token call. Its text names the call and the CKR_ code and nothing that came from a client.
type Error struct {
	Kind Kind
	Call string // PKCS#11 function, e.g. "C_WrapKey"
	Code uint   // CKR_ value, 0 when the failure was found before the call
	Text string // fixed words when Code is 0
}

// The sentinels: errors.Is(err, hsm.ErrNotFound) asks for the kind.
var (
	ErrInternal       = &Error{Kind: KindInternal}
	ErrUnavailable    = &Error{Kind: KindUnavailable}
	ErrNotFound       = &Error{Kind: KindNotFound}
	ErrExists         = &Error{Kind: KindExists}
	ErrNotExtractable = &Error{Kind: KindNotExtractable}
	ErrUnsupported    = &Error{Kind: KindUnsupported}
	ErrInvalidData    = &Error{Kind: KindInvalidData}
	ErrInvalidKey     = &Error{Kind: KindInvalidKey}
	ErrFull           = &Error{Kind: KindFull}
	ErrBlocked        = &Error{Kind: KindBlocked}
	ErrEntropy        = &Error{Kind: KindEntropy}
	ErrErrorState     = &Error{Kind: KindErrorState}
)

// Error says which call failed and with which CKR_ value.
func (e *Error) Error() string {
	if e.Code != 0 {
		return fmt.Sprintf("hsm: %s: CKR 0x%08X", e.Call, e.Code)
	}
	return "hsm: " + e.Call + ": " + e.Text
}

// Is makes errors.Is compare the kind alone when the target is one of the sentinels.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Call == "" && t.Kind == e.Kind
}
