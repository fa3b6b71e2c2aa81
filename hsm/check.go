package hsm

// What is refused before a token sees it. A token may answer a key of the wrong type or an odd parameter with a crash
// (SoftHSM 2.6.1 does, and no Go process survives that), so nothing reaches it that these checks have not passed. The
// in-memory token of hsmtest uses the same checks and so cannot drift.

// MaxSecretOctets is the longest secret key that is put on a token; longer secrets belong in CKO_DATA.
const MaxSecretOctets = 1 << 16

// Check says whether a key of this kind can be made on a token: ErrUnsupported when it cannot.
func (s KeySpec) Check(class Class) error {
	switch class {
	case ClassSecretKey:
		return s.checkSecret()
	case ClassPrivateKey, ClassPublicKey:
		return s.checkAsymmetric()
	}
	return refuse(KindInvalidKey, "not the class of a key")
}

func (s KeySpec) checkSecret() error {
	switch {
	case s.Type == KeyAES && (s.Bits == 128 || s.Bits == 192 || s.Bits == 256):
		return nil
	case s.Type == KeyDES3 && s.Bits == 192:
		return nil
	case s.Type == KeyGeneric && s.Bits >= 8 && s.Bits%8 == 0 && s.Bits <= 8*MaxSecretOctets:
		return nil
	}
	return refuse(KindUnsupported, "key type or size of a secret key")
}

func (s KeySpec) checkAsymmetric() error {
	switch {
	case s.Type == KeyRSA && s.Bits >= 1024 && s.Bits <= 16384 && s.Bits%64 == 0:
		return nil
	case s.Type == KeyEC && s.Curve >= CurveP256 && s.Curve <= CurveP521:
		return nil
	}
	return refuse(KindUnsupported, "key type or size of an asymmetric key")
}

// Check says whether the two halves agree and can be generated.
func (p PairSpec) Check() error {
	if p.Private.Type != p.Public.Type || p.Private.Bits != p.Public.Bits || p.Private.Curve != p.Public.Curve {
		return refuse(KindInvalidKey, "the halves of a key pair disagree")
	}
	return p.Private.checkAsymmetric()
}

// CheckImport says whether a value of n octets is a key of this kind.
func (s KeySpec) CheckImport(class Class, n int) error {
	if err := s.Check(class); err != nil {
		return err
	}
	if class == ClassSecretKey && n*8 != s.Bits {
		return refuse(KindInvalidData, "the value's length is not the key's")
	}
	if n == 0 {
		return refuse(KindInvalidData, "empty value")
	}
	return nil
}

// CheckUnwrapped says whether n octets that were unwrapped are the key that spec announced. Spec.Bits 0 means that the
// length was not known; AES and DES3 still have only their own lengths.
func (s KeySpec) CheckUnwrapped(n int) error {
	if s.Bits == 0 {
		s.Bits = 8 * n
	}
	if 8*n != s.Bits || s.checkSecret() != nil {
		return refuse(KindInvalidData, "the unwrapped length is not the key's")
	}
	return nil
}

// CheckKey says whether a key of this class and type can wrap (or unwrap) with the mechanism.
func (w WrapSpec) CheckKey(class Class, kind KeyType, unwrap bool) error {
	switch w.Mechanism {
	case WrapAESKW, WrapAESKWP:
		if class != ClassSecretKey || kind != KeyAES {
			return refuse(KindInvalidKey, "AES key wrap needs an AES key")
		}
		if w.Hash != 0 {
			return refuse(KindUnsupported, "AES key wrap has no hash")
		}
	case WrapRSAOAEP, WrapRSAPKCS1v15:
		want := ClassPublicKey
		if unwrap {
			want = ClassPrivateKey
		}
		if class != want || kind != KeyRSA {
			return refuse(KindInvalidKey, "RSA wraps with a public and unwraps with a private RSA key")
		}
		return w.checkHash()
	default:
		return refuse(KindUnsupported, "wrap mechanism")
	}
	return nil
}

func (w WrapSpec) checkHash() error {
	if w.Mechanism == WrapRSAPKCS1v15 && w.Hash != 0 {
		return refuse(KindUnsupported, "RSAES-PKCS1-v1_5 has no hash")
	}
	if w.Mechanism == WrapRSAOAEP && w.Hash.Size() == 0 {
		return refuse(KindUnsupported, "OAEP hash")
	}
	return nil
}

// Size is the length of the hash in octets, 0 when it is unknown.
func (h OAEPHash) Size() int {
	switch h {
	case OAEPSHA1:
		return 20
	case OAEPSHA256:
		return 32
	case OAEPSHA384:
		return 48
	case OAEPSHA512:
		return 64
	}
	return 0
}

// CheckPlain says whether n octets can be wrapped: KW takes 16 or more in multiples of 8 (RFC 3394 section 2.2), KWP
// takes 1 or more, RSA what a modulus of k octets leaves room for (RFC 8017 sections 7.1.1 and 7.2.1).
func (w WrapSpec) CheckPlain(n, k int) error {
	room := 8 * MaxSecretOctets
	switch w.Mechanism {
	case WrapAESKW:
		if n < 16 || n%8 != 0 {
			return refuse(KindInvalidData, "AES-KW takes 16 or more octets in multiples of 8; use AES-KWP")
		}
	case WrapRSAOAEP:
		room = k - 2*w.Hash.Size() - 2
	case WrapRSAPKCS1v15:
		room = k - 11
	}
	if n < 1 || n > room {
		return refuse(KindInvalidData, "the value is empty or too long for the wrapping key")
	}
	return nil
}

// CheckWrapped says whether a blob of n octets can come from the mechanism.
func (w WrapSpec) CheckWrapped(n, k int) error {
	ok := false
	switch w.Mechanism {
	case WrapAESKW:
		ok = n >= 24 && n%8 == 0
	case WrapAESKWP:
		ok = n >= 16 && n%8 == 0
	case WrapRSAOAEP, WrapRSAPKCS1v15:
		ok = n == k
	}
	if !ok || n > 8*MaxSecretOctets {
		return refuse(KindInvalidData, "length of the wrapped value")
	}
	return nil
}

// refuse is an error found before any call.
func refuse(kind Kind, text string) *Error { return &Error{Kind: kind, Call: "check", Text: text} }
