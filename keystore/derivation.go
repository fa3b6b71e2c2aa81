package keystore

import (
	"context"
	"slices"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/kmip"
)

// derivation is one request to derive.
type derivation struct {
	call   *kmip.Call
	bases  []object
	params *kmip.DerivationParameters
	octets int // wanted
}

// method is a Derivation Method. The flags say which fields of Derivation Parameters it has a use for: one without use is
// refused, lest a client believe that it had an effect.
type method struct {
	iv, pbkdf bool
	run       func(ctx context.Context, s *Store, d *derivation) (hsm.Material, error)
}

// derivations are the Derivation Methods (KMIP 1.4 section 9.1.3.2.21).
var derivations = map[kmip.DerivationMethod]method{
	kmip.DerivationMethodPBKDF2:         {pbkdf: true, run: derivePBKDF2},
	kmip.DerivationMethodHASH:           {run: deriveHash},
	kmip.DerivationMethodHMAC:           {run: deriveHMAC},
	kmip.DerivationMethodENCRYPT:        {iv: true, run: deriveEncrypt},
	kmip.DerivationMethodNIST800_108C:   {run: derive108(counterMode)},
	kmip.DerivationMethodNIST800_108F:   {iv: true, run: derive108(feedbackMode)},
	kmip.DerivationMethodNIST800_108DPI: {run: derive108(doublePipeline)},
	kmip.DerivationMethodAsymmetricKey:  {run: deriveECDH},
}

func (m *method) checkFields(p *kmip.DerivationParameters) error {
	switch {
	case len(p.InitializationVector) > 0 && !m.iv:
		return badField("Initialization Vector does not go with this Derivation Method")
	case !m.pbkdf && (p.Salt != nil || p.IterationCount != nil):
		return badField("Salt and Iteration Count go with Derivation Method PBKDF2 alone")
	case m.pbkdf && len(p.Salt) == 0:
		return badField("Derivation Method PBKDF2 needs Salt")
	case m.pbkdf && (p.IterationCount == nil || *p.IterationCount < 1):
		return badField("Derivation Method PBKDF2 needs Iteration Count of at least 1")
	}
	return nil
}

// cryptographicParameters are those of the request, which must match an instance of the key's if it has any, else the
// key's with the lowest index (KMIP 1.4 section 4.6). Neither having any is for the method to judge.
func (d *derivation) cryptographicParameters(key object) (*kmip.CryptographicParameters, error) {
	given := d.params.CryptographicParameters
	if given == nil {
		return key.params(nil)
	}
	p, err := key.parameters(given)
	if err != nil {
		return nil, kmip.Errorf(kmip.ResultReasonInvalidField, "the key has no such Cryptographic Parameters").Because(err)
	}
	return p, nil
}

// sole is the one object of the methods that derive from one thing, be it called key or data.
func (d *derivation) sole() (object, error) {
	if d.params.DerivationData != nil {
		if d.ambiguous() {
			return object{}, errAmbiguous
		}
		return object{}, badField("the Derivation Method uses either a key or Derivation Data, not both")
	}
	if len(d.bases) != 1 {
		return object{}, badField("the Derivation Method uses one object")
	}
	b := d.bases[0]
	if (tSym|tSecret)&typeBit(b.ObjectType) == 0 {
		return b, badField("the Derivation Method does not work with a %s", b.ObjectType)
	}
	return b, nil
}

// ambiguous tells that a Secret Data object stands beside Derivation Data.
func (d *derivation) ambiguous() bool {
	return slices.ContainsFunc(d.bases, func(b object) bool { return b.ObjectType == kmip.ObjectTypeSecretData })
}

var errAmbiguous = kmip.Errorf(kmip.ResultReasonInvalidMessage, "Derivation Data is given twice: in Derivation Parameters and by a Secret Data object")

// keyAndData are the key and the data of the methods that apply one to the other. Data that is a Secret Data object comes
// into the server's memory for it, as the token takes data from nowhere else; a sole Secret Data object is the key. The
// caller wipes the data.
func (s *Store) keyAndData(ctx context.Context, d *derivation) (key object, data hsm.Material, err error) {
	if given := d.params.DerivationData; given != nil {
		if len(d.bases) > 1 {
			if d.ambiguous() {
				return key, nil, errAmbiguous
			}
			return key, nil, badField("the Derivation Method uses one key")
		}
		if err := d.keyed(d.bases[0]); err != nil {
			return key, nil, err
		}
		return d.bases[0], append(hsm.Material(nil), given...), nil
	}
	if len(d.bases) < 2 {
		return key, nil, badField("Derivation Data is missing")
	}
	key, from := d.bases[0], d.bases[1]
	if from.ObjectType != kmip.ObjectTypeSecretData {
		key, from = from, key
	}
	if from.ObjectType != kmip.ObjectTypeSecretData {
		return key, nil, badField("Derivation Data is missing: neither object is Secret Data")
	}
	if err := d.keyed(key); err != nil {
		return key, nil, err
	}
	data, err = s.octetsOf(ctx, from)
	return key, data, err
}

func (d *derivation) keyed(key object) error {
	if (tSym|tSecret)&typeBit(key.ObjectType) == 0 {
		return badField("the Derivation Method does not work with a %s", key.ObjectType)
	}
	return nil
}

// octetsOf is the value of a Secret Data object that serves as data.
func (s *Store) octetsOf(ctx context.Context, o object) (hsm.Material, error) {
	if !extractable(o) {
		return nil, badField("the Secret Data object is not Extractable and cannot be Derivation Data")
	}
	if err := s.undrifted(ctx, o); err != nil {
		return nil, err
	}
	r, _ := ref(o.Handle)
	return s.token.Export(ctx, r, o.ValueBits)
}

// prf is the pseudorandom function of a key: HMAC or CMAC.
func (s *Store) prf(call *kmip.Call, key object, p *kmip.CryptographicParameters) (prf, *macWork, error) {
	w, err := s.mac(call, key, &macService, p)
	if err != nil {
		return prf{}, nil, err
	}
	size := w.spec.Hash.Size()
	if w.spec.Scheme == hsm.MACCMAC {
		if size = 16; key.algorithm() == kmip.CryptographicAlgorithmDES3 {
			size = 8
		}
	}
	return prf{size: size, mac: func(ctx context.Context, data []byte) ([]byte, error) {
		return w.key.MAC(ctx, w.key.ref, w.key.bits, w.spec, data)
	}}, w, nil
}

// hmacOf is the PRF of a key where KMIP wants HMAC.
func (s *Store) hmacOf(call *kmip.Call, key object, p *kmip.CryptographicParameters) (prf, error) {
	f, w, err := s.prf(call, key, p)
	if err == nil && w.spec.Scheme != hsm.MACHMAC {
		err = badField("the Derivation Method uses HMAC")
	}
	return f, err
}

// derivePBKDF2: the object is the password. The PRF is HMAC-SHA-1 unless the parameters name another (RFC 8018 section
// A.2).
func derivePBKDF2(ctx context.Context, s *Store, d *derivation) (hsm.Material, error) {
	key, err := d.sole()
	if err != nil {
		return nil, err
	}
	p, err := d.cryptographicParameters(key)
	if err != nil {
		return nil, err
	}
	if p.HashingAlgorithm == 0 && p.CryptographicAlgorithm == 0 {
		p = &kmip.CryptographicParameters{HashingAlgorithm: cmp0(s.policyOf(d.call).Limits().Hash, kmip.HashingAlgorithmSHA1)}
		if h, ok := hmacs[key.algorithm()]; ok {
			p.HashingAlgorithm = h
		}
	}
	f, err := s.hmacOf(d.call, key, p)
	if err != nil {
		return nil, err
	}
	return s.selfTested(ctx, kdfPBKDF2, func() (hsm.Material, error) {
		return f.pbkdf2(ctx, d.params.Salt, int(*d.params.IterationCount), d.octets)
	})
}

// selfTested runs what this package composes, and asks the self-tests before and after, as the guard does for what the token
// does alone.
func (s *Store) selfTested(ctx context.Context, m hsm.Mechanism, run func() (hsm.Material, error)) (hsm.Material, error) {
	if err := s.guard.Ready(ctx, m); err != nil {
		return nil, err
	}
	out, err := run()
	if err == nil {
		err = s.guard.Ready(ctx, m)
	}
	if err != nil {
		out.Wipe()
		return nil, err
	}
	return out, nil
}

// deriveHash: the token hashes the value of its own key, which it can do with SHA-256 alone. What is thus derived from a
// key equals the key's Digest attribute, which whoever may read attributes can read: nobody should use the method, but
// TC-DERIVEKEY-1 does. Secret Data is data here, too, and so can be hashed with everything.
func deriveHash(ctx context.Context, s *Store, d *derivation) (hsm.Material, error) {
	b, err := d.sole()
	if err != nil {
		return nil, err
	}
	p, err := d.cryptographicParameters(b)
	if err != nil {
		return nil, err
	}
	h, ok := hashes[p.HashingAlgorithm]
	if !ok {
		return nil, badField("Derivation Method HASH needs a Hashing Algorithm that is supported")
	}
	if err := s.policyOf(d.call).AllowHash(fips.Digest, p.HashingAlgorithm); err != nil {
		return nil, err
	}
	if p.HashingAlgorithm == kmip.HashingAlgorithmSHA256 && s.token.Info().Capabilities.DigestKey {
		r, _ := ref(b.Handle)
		sum, err := s.token.Digest(ctx, r, b.ValueBits)
		if err != nil {
			return nil, err
		}
		return first(sum, d.octets)
	}
	if b.ObjectType != kmip.ObjectTypeSecretData {
		return nil, badField("the token does not hash keys with Hashing Algorithm %s", p.HashingAlgorithm)
	}
	value, err := s.octetsOf(ctx, b)
	if err != nil {
		return nil, err
	}
	defer value.Wipe()
	w := h.new()
	w.Write(value)
	return first(w.Sum(nil), d.octets)
}

// deriveHMAC: a key that was made for an HMAC tells which, and the Cryptographic Parameters are ignored (KMIP 1.4 section
// 4.6). Other keys, like the AES key of TC-DERIVEKEY-2, need them.
func deriveHMAC(ctx context.Context, s *Store, d *derivation) (hsm.Material, error) {
	key, data, err := s.keyAndData(ctx, d)
	if err != nil {
		return nil, err
	}
	defer data.Wipe()
	p := new(kmip.CryptographicParameters)
	if _, own := hmacs[key.algorithm()]; !own {
		if p, err = d.cryptographicParameters(key); err != nil {
			return nil, err
		}
	}
	f, err := s.hmacOf(d.call, key, p)
	if err != nil {
		return nil, err
	}
	out, err := f.mac(ctx, data)
	if err != nil {
		return nil, err
	}
	return first(out, d.octets)
}

// deriveEncrypt: the ciphertext of the data, without what would make it differ every time.
func deriveEncrypt(ctx context.Context, s *Store, d *derivation) (hsm.Material, error) {
	key, data, err := s.keyAndData(ctx, d)
	if err != nil {
		return nil, err
	}
	defer data.Wipe()
	p, err := d.cryptographicParameters(key)
	if err != nil {
		return nil, err
	}
	iv := d.params.InitializationVector
	switch {
	case key.ObjectType != kmip.ObjectTypeSymmetricKey:
		return nil, badField("Derivation Method ENCRYPT needs a Symmetric Key")
	case p.BlockCipherMode == 0:
		return nil, badField("Derivation Method ENCRYPT needs Block Cipher Mode")
	case p.BlockCipherMode == kmip.BlockCipherModeGCM:
		return nil, unsupported("Block Cipher Mode", p.BlockCipherMode, "Derivation Method ENCRYPT")
	case p.RandomIV != nil && *p.RandomIV:
		return nil, badField("Random IV does not go with Derivation Method ENCRYPT")
	case len(iv) == 0 && p.BlockCipherMode != kmip.BlockCipherModeECB:
		return nil, badField("Block Cipher Mode %s needs Initialization Vector", p.BlockCipherMode)
	case len(iv) > 0 && p.BlockCipherMode == kmip.BlockCipherModeECB:
		return nil, badField("Block Cipher Mode ECB has no Initialization Vector")
	}
	w, _, err := s.cipher(ctx, d.call, key, &encryptService, cipherInput{given: p, iv: iv}, part{data: data})
	if err != nil {
		return nil, err
	}
	defer w.wipe()
	out, err := w.end(ctx, data)
	if err != nil {
		return nil, err
	}
	return first(out.data, d.octets)
}

// derive108: the counter has 32 bits unless Counter Length in the Cryptographic Parameters says 8, 16 or 24.
func derive108(mode mode108) func(context.Context, *Store, *derivation) (hsm.Material, error) {
	return func(ctx context.Context, s *Store, d *derivation) (hsm.Material, error) {
		key, data, err := s.keyAndData(ctx, d)
		if err != nil {
			return nil, err
		}
		defer data.Wipe()
		p, err := d.cryptographicParameters(key)
		if err != nil {
			return nil, err
		}
		counter := 4
		if p.CounterLength != nil {
			if counter = int(*p.CounterLength) / 8; *p.CounterLength%8 != 0 || counter < 1 || counter > 4 {
				return nil, badField("Counter Length must be 8, 16, 24 or 32")
			}
		}
		f, _, err := s.prf(d.call, key, p)
		if err != nil {
			return nil, err
		}
		return s.selfTested(ctx, kdf108All, func() (hsm.Material, error) {
			return f.kdf108(ctx, mode, counter, d.params.InitializationVector, data, d.octets)
		})
	}
}

// deriveECDH: the shared secret of a private key and a public key that another party has the private key of: the x
// coordinate, from its first octet on (NIST SP 800-56A section 5.7.1.2). KMIP 1.4 has no field for a key derivation
// function after it; that is a second Derive Key with the secret as base.
func deriveECDH(ctx context.Context, s *Store, d *derivation) (hsm.Material, error) {
	private, public, err := d.pair()
	if err != nil {
		return nil, err
	}
	if p := d.params.CryptographicParameters; p != nil && p.HashingAlgorithm != 0 {
		return nil, unsupported("Hashing Algorithm", p.HashingAlgorithm, "Derivation Method Asymmetric Key")
	}
	if err := s.allowKey(d.call, fips.Agree, private); err != nil {
		return nil, err
	}
	key, _ := ref(private.Handle)
	peer, _ := ref(public.Handle)
	spki, err := s.token.Export(ctx, peer, 0)
	if err != nil {
		return nil, err
	}
	secret, err := s.token.ECDH(ctx, key, spki)
	if err != nil {
		return nil, err
	}
	return first(secret, d.octets)
}

// pair is the private and the public key. Keys for ECDSA do not agree on secrets.
func (d *derivation) pair() (private, public object, err error) {
	if d.params.DerivationData != nil {
		return private, public, badField("Derivation Data does not go with Derivation Method Asymmetric Key")
	}
	if len(d.bases) == 2 {
		if private, public = d.bases[0], d.bases[1]; private.ObjectType != kmip.ObjectTypePrivateKey {
			private, public = public, private
		}
	}
	if len(d.bases) != 2 || private.ObjectType != kmip.ObjectTypePrivateKey || public.ObjectType != kmip.ObjectTypePublicKey {
		return private, public, badField("Derivation Method Asymmetric Key needs a Private Key and a Public Key")
	}
	for _, k := range d.bases {
		if a := k.algorithm(); a != kmip.CryptographicAlgorithmEC && a != kmip.CryptographicAlgorithmECDH {
			return private, public, badField("Derivation Method Asymmetric Key does not work with keys for %s", a)
		}
	}
	return private, public, nil
}
