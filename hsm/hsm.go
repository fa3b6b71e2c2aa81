// Package hsm is the one place that knows PKCS#11. It opens a token, keeps a pool of sessions on it, and offers what the
// rest of kmipd needs: generate, import, export, wrap, unwrap, store, enumerate and destroy persistent token objects.
//
// Callers name an object by its Ref (object class and CKA_ID); PKCS#11 object handles never leave this package. Key
// bytes cross the interface only as Material, which prints as "[redacted]" and which the receiver must Wipe.
//
// The interface is message-shaped (values in, values out, one context): a token can be moved to a child process behind
// it without its callers noticing.
package hsm

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
)

// TokenID is the CKA_ID of a token object: 16 random octets, never reused.
type TokenID [16]byte

// NewTokenID draws a random TokenID.
func NewTokenID() TokenID {
	var id TokenID
	rand.Read(id[:]) // crypto/rand.Read never fails: it aborts the process instead.
	return id
}

// String is the identifier in lower-case hexadecimal, as pkcs11-tool prints it.
func (id TokenID) String() string { return hex.EncodeToString(id[:]) }

// Class is the kind of a token object (CKA_CLASS).
type Class uint8

// The object classes that kmipd stores.
const (
	ClassSecretKey   Class = iota + 1 // CKO_SECRET_KEY
	ClassPrivateKey                   // CKO_PRIVATE_KEY
	ClassPublicKey                    // CKO_PUBLIC_KEY
	ClassCertificate                  // CKO_CERTIFICATE
	ClassData                         // CKO_DATA, private
)

// Ref names one persistent token object.
type Ref struct {
	Class Class
	ID    TokenID
}

// KeyType is the CKA_KEY_TYPE of a key object.
type KeyType uint8

// The key types that kmipd asks of a token.
const (
	KeyAES     KeyType = iota + 1 // CKK_AES
	KeyDES3                       // CKK_DES3, always 24 octets with parity
	KeyGeneric                    // CKK_GENERIC_SECRET, any length
	KeyRSA                        // CKK_RSA
	KeyEC                         // CKK_EC on a named curve
)

// Curve is a NIST curve of an EC key.
type Curve uint8

// The curves that kmipd asks of a token.
const (
	CurveP256 Curve = iota + 1
	CurveP384
	CurveP521
)

// Usage is a set of the CKA_* usage flags of a key. A flag that is not set is written as false.
type Usage uint16

// Usage flags.
const (
	UsageEncrypt Usage = 1 << iota
	UsageDecrypt
	UsageSign
	UsageVerify
	UsageWrap
	UsageUnwrap
	UsageDerive
)

// KeySpec says what a key object is to be. Every CKA_ flag is written explicitly, whatever the token's defaults:
// CKA_TOKEN and CKA_PRIVATE are true (public keys: CKA_PRIVATE false), and secret and private keys are CKA_SENSITIVE.
type KeySpec struct {
	ID    TokenID
	Label string // CKA_LABEL: the KMIP Unique Identifier
	Type  KeyType
	Bits  int   // AES 128, 192, 256; DES3 192; generic 8*octets; RSA modulus length. Unused for EC.
	Curve Curve // EC only
	Usage Usage
	// Extractable is CKA_EXTRACTABLE: the key can leave the token wrapped. Unused for public keys.
	Extractable bool
}

// PairSpec says what a generated key pair is to be. The two halves have a CKA_ID each.
type PairSpec struct {
	Private KeySpec
	Public  KeySpec // Type, Bits and Curve must agree with Private
}

// WrapMechanism is a way to wrap a key under a token key.
type WrapMechanism uint8

// The wrapping mechanisms.
const (
	WrapAESKW       WrapMechanism = iota + 1 // RFC 3394, NIST SP 800-38F KW
	WrapAESKWP                               // RFC 5649, NIST SP 800-38F KWP
	WrapRSAOAEP                              // RSAES-OAEP, hash in OAEPHash, MGF1 with the same hash, no label
	WrapRSAPKCS1v15                          // RSAES-PKCS1-v1_5
)

// OAEPHash is the hash of WrapRSAOAEP.
type OAEPHash uint8

// The OAEP hashes.
const (
	OAEPSHA1 OAEPHash = iota + 1
	OAEPSHA256
	OAEPSHA384
	OAEPSHA512
)

// WrapSpec is a mechanism with its parameter.
type WrapSpec struct {
	Mechanism WrapMechanism
	Hash      OAEPHash // WrapRSAOAEP only
}

// Material is key bytes in the server's memory. It prints as "[redacted]" in every format; its holder calls Wipe.
type Material []byte

// Wipe overwrites the bytes with zeros.
func (m Material) Wipe() { clear(m) }

// String hides the bytes.
func (m Material) String() string { return "[redacted]" }

// GoString hides the bytes from %#v.
func (m Material) GoString() string { return "[redacted]" }

// Format hides the bytes from every verb, %x included.
func (m Material) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[redacted]") }

// MarshalText hides the bytes from encoders.
func (m Material) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// ObjectInfo describes one token object in an enumeration. An object without class or CKA_ID (the remains of an
// interrupted creation) has the zero Ref and Broken set.
type ObjectInfo struct {
	Ref    Ref
	Label  string
	Broken bool
}

// Info identifies the token and says what it can do.
type Info struct {
	Manufacturer, Model, Serial, Label, Firmware, Library string
	Identity                                              Identity
	// Capabilities are what the probe at the last login found to work, not what the token claims.
	Capabilities Capabilities
}

// Capabilities is the result of the probe at login (throw-away session objects only).
type Capabilities struct {
	AESKeyBits  []int // sizes that C_GenerateKey makes
	DES3        bool
	GenericBits bool // CKK_GENERIC_SECRET of any length
	RSABits     []int
	Curves      []Curve
	KW, KWP     bool
	OAEP        []OAEPHash // done by the token alone
	// OAEPComposed are done with the token's raw RSA and the padding in Go: the plain key passes the server's memory.
	OAEPComposed []OAEPHash
	RSAPKCS1v15  bool
	// KWPComposed: the token pads values whose length is no multiple of 8 and records the padded length (SoftHSM), so
	// that AES-KWP of such values is composed from the token's AES-ECB: the plain key passes the server's memory.
	KWPComposed bool
	DigestKey   bool   // C_DigestKey on a sensitive key
	Data        bool   // private CKO_DATA objects
	Transport   string // how the transport key was shared: "ecdh-p256", "rsa-oaep-sha256", "create-object"
	MaxSessions int
	// What keys do on the token, for Crypto. AESModes and DES3Modes do not list ModeECBPad, which needs ModeECB only.
	AESModes, DES3Modes []CipherMode
	GCMAnyIV            bool      // IVs of 1 to 128 octets; 12 always
	CMAC                []KeyType // KeyAES, KeyDES3
	HMAC                []Hash
	PKCS1v15Encrypt     bool
	OAEPEncrypt         []Hash // on the token alone: MGF1 with the same hash, no label
	PKCS1v15Sign        bool
	PSS                 []Hash // on the token alone: MGF1 with the same hash
	ECDSA, ECDH         []Curve
	Composed            []Composition
}

// SecretOutcome is what Unwrap learned of a secret key that it put on the token.
type SecretOutcome struct {
	// Bytes is the true length of the unwrapped value in octets (secret keys only).
	Bytes int
}

// Token is one PKCS#11 token. All methods are safe for concurrent use. Every wait is bounded by the context; a call that
// has entered the module is not interrupted. What a method made is persistent on the token when it returns nil. Errors
// are *Error (see error.go), or the context's.
type Token interface {
	// Info answers from memory.
	Info() Info

	// GenerateKey makes a secret key on the token (AES, DES3 or generic).
	GenerateKey(ctx context.Context, spec KeySpec) error
	// GenerateKeyPair makes a key pair on the token and returns its public key as DER SubjectPublicKeyInfo. When it
	// fails neither half remains.
	GenerateKeyPair(ctx context.Context, spec PairSpec) (spki []byte, err error)

	// Import puts a secret key (raw octets) or private key (DER PKCS#8) on the token through the transport key. The
	// caller has validated it. It does not keep value and does not wipe it.
	Import(ctx context.Context, class Class, spec KeySpec, value Material) error
	// ImportPublicKey stores a public key given as DER SubjectPublicKeyInfo.
	ImportPublicKey(ctx context.Context, spec KeySpec, spki []byte) error
	// StoreCertificate stores a DER X.509 certificate as CKO_CERTIFICATE.
	StoreCertificate(ctx context.Context, id TokenID, label string, der []byte) error
	// StoreData stores octets as private CKO_DATA; nil is stored like no octets.
	StoreData(ctx context.Context, id TokenID, label string, value Material) error

	// Export reads an object: secret key (raw, exactly bits/8 octets), private key (DER PKCS#8), both through the
	// transport key; public key (DER SubjectPublicKeyInfo), certificate (DER) and data as stored. bits is the recorded
	// length for secret keys and is ignored for the rest. A key that is not extractable gives ErrNotExtractable.
	Export(ctx context.Context, ref Ref, bits int) (Material, error)
	// Digest is the SHA-256 of a secret key's value, computed on the token when it can, else by Export and hashing.
	Digest(ctx context.Context, ref Ref, bits int) ([]byte, error)
	// Destroy removes an object. A missing object gives ErrNotFound.
	Destroy(ctx context.Context, ref Ref) error

	// Wrap wraps target (a secret or private key; bits as in Export) under the wrapping key, on the token alone where
	// the Capabilities do not say "composed".
	Wrap(ctx context.Context, wrapping Ref, how WrapSpec, target Ref, bits int) ([]byte, error)
	// WrapBytes wraps octets under the wrapping key: they go to the token as a session object through the transport
	// key and leave it wrapped. KMIP needs it for the TTLV encoding option, where more than the key is wrapped.
	WrapBytes(ctx context.Context, wrapping Ref, how WrapSpec, value Material) ([]byte, error)
	// Unwrap unwraps a secret or private key into a persistent object, on the token alone where the Capabilities do not
	// say "composed". Bits 0 in the spec of a secret key means that its length is not known.
	Unwrap(ctx context.Context, unwrapping Ref, how WrapSpec, wrapped []byte, class Class, spec KeySpec) (SecretOutcome, error)
	// UnwrapBytes is the inverse of WrapBytes. The receiver wipes the result.
	UnwrapBytes(ctx context.Context, unwrapping Ref, how WrapSpec, wrapped []byte) (Material, error)

	// What keys do: encrypt, sign and so on.
	Crypto

	// Random reads n octets from the token's random number generator.
	Random(ctx context.Context, n int) ([]byte, error)
	// Objects enumerates all objects of the token: a full scan, for start and fsck only. It also refreshes the handle
	// cache. DestroyBroken removes what an ObjectInfo with Broken set stands for, as far as the token lets it.
	Objects(ctx context.Context) ([]ObjectInfo, error)
	DestroyBroken(ctx context.Context) (removed int, err error)

	// Scratch puts keys on the token that are not persistent, and destroys them when f has returned. f uses them with
	// the other methods, under the Refs that it is given, as if they were persistent. A login that is lost meanwhile
	// takes them along: ErrNotFound.
	Scratch(ctx context.Context, keys []ScratchKey, f func([]Ref) error) error
	// Flags reads what the token says of a secret or private key now.
	Flags(ctx context.Context, ref Ref) (Flags, error)
	// Refusals tries what a token in an approved mode refuses, on session objects alone, and says whether it did.
	Refusals(ctx context.Context) ([]Refusal, error)
	// Logins counts the logins since Open: it is 1 until the token was lost and healed.
	Logins() uint64

	// Healthy makes one cheap call on a pooled session.
	Healthy(ctx context.Context) error
	// Counters returns calls and failures by PKCS#11 function since Open.
	Counters() map[string]Counter
	// Close waits for running calls until ctx ends, then logs out and finalises the module.
	Close(ctx context.Context) error
}

// Counter counts calls of one PKCS#11 function.
type Counter struct{ Calls, Failures uint64 }
