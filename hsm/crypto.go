package hsm

import "context"

// CipherMode is a mode of a block cipher.
type CipherMode uint8

// The cipher modes. Data of ECB and CBC without padding must be a multiple of the block.
const (
	ModeECB    CipherMode = iota + 1
	ModeCBC               // no padding
	ModeCBCPad            // PKCS#7 padding (KMIP calls it PKCS5)
	ModeECBPad            // PKCS#7 padding, added and removed by this package
	ModeCTR               // the IV is the whole first counter block
	ModeGCM               // ciphertext || tag
)

// CipherSpec says how to encrypt or decrypt with an AES or 3DES key.
type CipherSpec struct {
	Mode CipherMode
	IV   []byte // block size for CBC and CTR; 12 octets (1 to 128 where the token can) for GCM; none for ECB
	AAD  []byte // GCM
	// TagBits is the tag length of GCM: 96, 104, 112, 120 or 128.
	TagBits int
}

// Hash is a hash function of a signature, MAC or OAEP.
type Hash uint8

// The hash functions.
const (
	SHA1 Hash = iota + 1
	SHA224
	SHA256
	SHA384
	SHA512
)

// RSACipherSpec says how to encrypt or decrypt with an RSA key.
type RSACipherSpec struct {
	OAEP    bool // else RSAES-PKCS1-v1_5
	Hash    Hash // OAEP
	MGFHash Hash // OAEP; 0 means Hash
	Label   []byte
}

// SignScheme is a signature scheme.
type SignScheme uint8

// The signature schemes.
const (
	SignRSAPKCS1v15 SignScheme = iota + 1
	SignRSAPSS
	SignECDSA // signatures are r || s, each as long as the curve's order
)

// SignSpec says how to sign or verify a digest.
type SignSpec struct {
	Scheme  SignScheme
	Hash    Hash // of the digest; 0 with PKCS1v15 signs the octets as they are (no DigestInfo), with ECDSA any digest
	MGFHash Hash // PSS; 0 means Hash
	Salt    int  // PSS: salt length in octets
}

// MACScheme is a message authentication code.
type MACScheme uint8

// The message authentication codes.
const (
	MACHMAC MACScheme = iota + 1 // with Hash
	MACCMAC                      // AES or 3DES key
)

// MACSpec says how to authenticate a message.
type MACSpec struct {
	Scheme MACScheme
	Hash   Hash // HMAC
}

// Composition is something that the token and this package do together, since the token cannot do it alone.
type Composition string

// The compositions of Crypto. Those of Wrap and Unwrap are Capabilities.OAEPComposed and KWPComposed.
const (
	CompositionECBPad Composition = "ecb-pad"  // padding here, ECB on the token
	CompositionOAEP   Composition = "rsa-oaep" // other hashes, mask generation hashes and labels: padding here, raw RSA on the token
	CompositionPSS    Composition = "rsa-pss"  // the same; the public operation is done here
	// CompositionMovedKey: HMAC over keys of other types with a copy made by wrapping and unwrapping on the token.
	CompositionMovedKey Composition = "hmac-moved-key"
	// CompositionFilledKey: HMAC over keys shorter than the token's minimum, filled with zeros here: the plain key passes
	// the server's memory once. Config.RefuseComposed forbids it.
	CompositionFilledKey Composition = "hmac-filled-key"
)

// Crypto is what a token does with its keys for KMIP's cryptographic services. Keys do not leave the token, except where
// a Composition in Info says that the server takes part. Key type, mechanism and parameters are checked before the token
// sees them. bits is the recorded length of a secret key, as in Export. What the token cannot do, alone or composed, is
// ErrUnsupported; data that does not decrypt, ErrInvalidData.
type Crypto interface {
	// Encrypt and Decrypt use an AES or 3DES key.
	Encrypt(ctx context.Context, key Ref, bits int, spec CipherSpec, data []byte) ([]byte, error)
	Decrypt(ctx context.Context, key Ref, bits int, spec CipherSpec, data []byte) (Material, error)
	// RSAEncrypt uses a public key, RSADecrypt a private key.
	RSAEncrypt(ctx context.Context, key Ref, spec RSACipherSpec, data []byte) ([]byte, error)
	RSADecrypt(ctx context.Context, key Ref, spec RSACipherSpec, data []byte) (Material, error)
	// Sign signs a digest (PKCS1v15 with Hash 0: up to modulus-11 octets) with a private key.
	Sign(ctx context.Context, key Ref, spec SignSpec, digest []byte) ([]byte, error)
	// Verify checks a signature with a public key: false without error when it is not valid.
	Verify(ctx context.Context, key Ref, spec SignSpec, digest, signature []byte) (bool, error)
	// MAC uses a secret key of any type: an HMAC over a key that the token does not take for it (AES-typed, shorter
	// than its minimum) is computed with the same key moved, on the token, to a generic secret.
	MAC(ctx context.Context, key Ref, bits int, spec MACSpec, data []byte) ([]byte, error)
	// ECDH is the shared secret (x coordinate) of a private key and a peer's DER SubjectPublicKeyInfo. The receiver
	// wipes it.
	ECDH(ctx context.Context, key Ref, peer []byte) (Material, error)
	// PublicKey is the DER SubjectPublicKeyInfo of a public key object.
	PublicKey(ctx context.Context, key Ref) ([]byte, error)
}
