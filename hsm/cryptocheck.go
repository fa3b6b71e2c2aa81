package hsm

// The static table of key type x mechanism x parameters for the cryptographic operations (tokens.md section 9, rule 14):
// SoftHSM 2.6.1 crashes on some pairs, takes an IV of no octets and a tag of no bits, and no token is asked before this
// has agreed. The in-memory token of hsmtest uses the same checks.

// MaxCryptoOctets bounds the data of one operation: tokens buffer all of it, GCM twice.
const MaxCryptoOctets = 16 << 20

// Size is the length of the hash in octets, 0 when it is unknown.
func (h Hash) Size() int {
	switch h {
	case SHA1:
		return 20
	case SHA224:
		return 28
	case SHA256:
		return 32
	case SHA384:
		return 48
	case SHA512:
		return 64
	}
	return 0
}

// or is the hash, or another one where it is not given.
func (h Hash) or(other Hash) Hash {
	if h == 0 {
		return other
	}
	return h
}

// blockSize is the block of the cipher of a key type, 0 when it is none.
func (k KeyType) blockSize() int {
	switch k {
	case KeyAES:
		return 16
	case KeyDES3:
		return 8
	}
	return 0
}

// Check says whether a secret key of this type and recorded length can encrypt (or decrypt) n octets so.
func (s CipherSpec) Check(class Class, kind KeyType, bits, n int, decrypt bool) error {
	block := kind.blockSize()
	if class != ClassSecretKey || block == 0 {
		return refuse(KindInvalidKey, "ciphers need an AES or 3DES key")
	}
	if err := checkBits(kind, bits); err != nil {
		return err
	}
	if kind == KeyDES3 && (s.Mode == ModeCTR || s.Mode == ModeGCM) {
		return refuse(KindUnsupported, "CTR and GCM need an AES key")
	}
	if s.Mode < ModeECB || s.Mode > ModeGCM {
		return refuse(KindUnsupported, "cipher mode")
	}
	if err := s.checkParameters(block); err != nil {
		return err
	}
	return s.checkLength(block, n, decrypt)
}

func checkBits(kind KeyType, bits int) error {
	if (KeySpec{Type: kind, Bits: bits}).checkSecret() != nil {
		return refuse(KindInvalidData, "the recorded length of a secret key")
	}
	return nil
}

func (s CipherSpec) checkParameters(block int) error {
	if s.Mode == ModeGCM {
		if len(s.IV) < 1 || len(s.IV) > 128 {
			return refuse(KindInvalidData, "the IV of GCM has 1 to 128 octets")
		}
		if s.TagBits < 96 || s.TagBits > 128 || s.TagBits%8 != 0 {
			return refuse(KindUnsupported, "the tag of GCM has 96, 104, 112, 120 or 128 bits") // NIST SP 800-38D section 5.2.1.2
		}
		if len(s.AAD) > MaxCryptoOctets {
			return refuse(KindInvalidData, "too much additional data")
		}
		return nil
	}
	want := block
	if s.Mode == ModeECB || s.Mode == ModeECBPad {
		want = 0
	}
	if len(s.IV) != want {
		return refuse(KindInvalidData, "the length of the IV")
	}
	if len(s.AAD) != 0 || s.TagBits != 0 {
		return refuse(KindUnsupported, "additional data and a tag belong to GCM")
	}
	return nil
}

func (s CipherSpec) checkLength(block, n int, decrypt bool) error {
	ok := n <= MaxCryptoOctets
	switch s.Mode {
	case ModeECB, ModeCBC:
		ok = ok && n > 0 && n%block == 0
	case ModeCBCPad, ModeECBPad:
		ok = ok && (!decrypt || n > 0 && n%block == 0)
	case ModeCTR:
		ok = ok && n > 0
	case ModeGCM:
		if decrypt {
			ok = n >= s.TagBits/8 && n <= MaxCryptoOctets+s.TagBits/8
		}
	}
	if !ok {
		return refuse(KindInvalidData, "the length of the data")
	}
	return nil
}

// Check says whether a key of this class and type, with a modulus of k octets, can encrypt (or decrypt) n octets so.
func (s RSACipherSpec) Check(class Class, kind KeyType, k, n int, decrypt bool) error {
	want := ClassPublicKey
	if decrypt {
		want = ClassPrivateKey
	}
	if class != want || kind != KeyRSA {
		return refuse(KindInvalidKey, "RSA encrypts with a public and decrypts with a private RSA key")
	}
	room := k - 11 // RFC 8017 section 7.2.1
	if s.OAEP {
		if s.Hash.Size() == 0 || s.MGFHash.or(s.Hash).Size() == 0 {
			return refuse(KindUnsupported, "OAEP hash")
		}
		if len(s.Label) > MaxCryptoOctets {
			return refuse(KindInvalidData, "too long a label")
		}
		room = k - 2*s.Hash.Size() - 2 // RFC 8017 section 7.1.1
	} else if s.Hash != 0 || s.MGFHash != 0 || len(s.Label) != 0 {
		return refuse(KindUnsupported, "RSAES-PKCS1-v1_5 has no hash and no label")
	}
	if decrypt && n != k || !decrypt && (n < 1 || n > room) || room < 1 {
		return refuse(KindInvalidData, "the length of the data")
	}
	return nil
}

// Check says whether a key of this type can sign a digest of n octets so. k is the octets of an RSA modulus.
func (s SignSpec) Check(kind KeyType, k, n int) error {
	want := KeyRSA
	if s.Scheme == SignECDSA {
		want = KeyEC
	}
	if s.Scheme < SignRSAPKCS1v15 || s.Scheme > SignECDSA {
		return refuse(KindUnsupported, "signature scheme")
	}
	if kind != want {
		return refuse(KindInvalidKey, "the key is of another type than the signature scheme")
	}
	if err := s.checkHash(k); err != nil {
		return err
	}
	room := MaxCryptoOctets
	if s.Scheme == SignRSAPKCS1v15 {
		room = k - 11 // RFC 8017 section 9.2, without or with DigestInfo
		if s.Hash != 0 {
			room -= len(digestInfo[s.Hash])
		}
	}
	if n < 1 || n > room || s.Hash != 0 && n != s.Hash.Size() {
		return refuse(KindInvalidData, "the length of the digest")
	}
	return nil
}

func (s SignSpec) checkHash(k int) error {
	if s.Hash != 0 && s.Hash.Size() == 0 {
		return refuse(KindUnsupported, "hash")
	}
	if s.Scheme != SignRSAPSS {
		if s.MGFHash != 0 || s.Salt != 0 {
			return refuse(KindUnsupported, "a salt and a mask generation function belong to PSS")
		}
		return nil
	}
	if s.Hash == 0 || s.MGFHash.or(s.Hash).Size() == 0 {
		return refuse(KindUnsupported, "PSS needs a hash")
	}
	if s.Salt < 0 || s.Salt > k-s.Hash.Size()-2 { // RFC 8017 section 9.1.1, moduli of whole octets
		return refuse(KindUnsupported, "the length of the salt")
	}
	return nil
}

// Check says whether a key of this class, type and recorded length can authenticate n octets so.
func (s MACSpec) Check(class Class, kind KeyType, bits, n int) error {
	if class != ClassSecretKey || kind < KeyAES || kind > KeyGeneric {
		return refuse(KindInvalidKey, "a MAC needs a secret key")
	}
	if err := checkBits(kind, bits); err != nil {
		return err
	}
	switch s.Scheme {
	case MACHMAC:
		if s.Hash.Size() == 0 {
			return refuse(KindUnsupported, "HMAC hash")
		}
	case MACCMAC:
		if kind.blockSize() == 0 {
			return refuse(KindInvalidKey, "CMAC needs an AES or 3DES key")
		}
		if s.Hash != 0 {
			return refuse(KindUnsupported, "CMAC has no hash")
		}
	default:
		return refuse(KindUnsupported, "MAC")
	}
	if n > MaxCryptoOctets {
		return refuse(KindInvalidData, "the length of the data")
	}
	return nil
}

// OrderOctets is the length of the order of the curve in octets, which is that of r, of s, and of a shared secret.
func (c Curve) OrderOctets() int {
	switch c {
	case CurveP256:
		return 32
	case CurveP384:
		return 48
	case CurveP521:
		return 66
	}
	return 0
}

// digestInfo is what stands before a digest in the DER of DigestInfo (RFC 8017 section 9.2, note 1).
var digestInfo = map[Hash][]byte{
	SHA1:   {0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14},
	SHA224: {0x30, 0x2d, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x04, 0x05, 0x00, 0x04, 0x1c},
	SHA256: {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20},
	SHA384: {0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00, 0x04, 0x30},
	SHA512: {0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03, 0x05, 0x00, 0x04, 0x40},
}
