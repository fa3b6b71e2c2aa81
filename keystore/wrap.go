package keystore

import (
	"context"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/keystore/keyform"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// wrapKey is a key that wraps or unwraps, with the mechanism that the Cryptographic Parameters come down to.
type wrapKey struct {
	object
	ref  hsm.Ref
	spec hsm.WrapSpec
}

// wrapping finds the key that a Key Wrapping Specification names, and checks that it may wrap now.
func (s *Store) wrapping(ctx context.Context, call *kmip.Call, info *kmip.EncryptionKeyInformation) (*wrapKey, error) {
	o, err := s.byUID(ctx, call, info.UniqueIdentifier, "the wrapping key")
	if err != nil {
		return nil, err
	}
	if o.ObjectType == kmip.ObjectTypePrivateKey {
		// What was unwrapped with a private key is wrapped again with its public half.
		if uid := o.linked(kmip.LinkTypePublicKeyLink); uid != "" {
			if o, err = s.byUID(ctx, call, uid, "the wrapping key"); err != nil {
				return nil, err
			}
		}
	}
	if o.ObjectType != kmip.ObjectTypeSymmetricKey && o.ObjectType != kmip.ObjectTypePublicKey {
		return nil, illegal("the wrapping key is not a key that wraps")
	}
	if err := o.mayProtect(call, kmip.CryptographicUsageMaskWrapKey, "the wrapping key"); err != nil {
		return nil, err
	}
	if err := s.allowKey(call, fips.Wrap, o); err != nil {
		return nil, err
	}
	return s.wrapKey(ctx, call, fips.Wrap, o, info.CryptographicParameters)
}

// unwrapping finds the key that registered Key Wrapping Data names. A key with the usage Wrap Key alone unwraps here, too:
// the OASIS cases register what such a key wrapped.
func (s *Store) unwrapping(ctx context.Context, call *kmip.Call, info *kmip.EncryptionKeyInformation) (*wrapKey, error) {
	o, err := s.byUID(ctx, call, info.UniqueIdentifier, "the unwrapping key")
	if err != nil {
		return nil, err
	}
	if o.ObjectType == kmip.ObjectTypePublicKey {
		if uid := o.linked(kmip.LinkTypePrivateKeyLink); uid != "" {
			if o, err = s.byUID(ctx, call, uid, "the unwrapping key"); err != nil {
				return nil, err
			}
		}
	}
	if o.ObjectType != kmip.ObjectTypeSymmetricKey && o.ObjectType != kmip.ObjectTypePrivateKey {
		return nil, illegal("the unwrapping key is not a key that unwraps")
	}
	if st := o.state(call.Now); st != kmip.StateActive {
		return nil, denied("the unwrapping key is %s", st)
	}
	if o.usage()&(kmip.CryptographicUsageMaskWrapKey|kmip.CryptographicUsageMaskUnwrapKey) == 0 {
		return nil, denied("the usage mask of the unwrapping key lacks Unwrap Key")
	}
	if start := o.date("Process Start Date"); start.After(call.Now) {
		return nil, denied("the Process Start Date of the unwrapping key has not come")
	}
	if err := s.allowKey(call, fips.Unwrap, o); err != nil {
		return nil, err
	}
	return s.wrapKey(ctx, call, fips.Unwrap, o, info.CryptographicParameters)
}

// mayProtect checks state, usage mask and dates for applying protection with a key (KMIP 1.4 section 3.22).
func (o object) mayProtect(call *kmip.Call, usage kmip.CryptographicUsageMask, what string) error {
	if st := o.state(call.Now); st != kmip.StateActive {
		return denied("%s is %s", what, st)
	}
	if o.usage()&usage != usage {
		return denied("the usage mask of %s lacks %s", what, usage)
	}
	if start := o.date("Process Start Date"); start.After(call.Now) {
		return denied("the Process Start Date of %s has not come", what)
	}
	if stop := o.date("Protect Stop Date"); !stop.IsZero() && !stop.After(call.Now) {
		return denied("the Protect Stop Date of %s has passed", what)
	}
	return nil
}

// wrapKey chooses the mechanism. Parameters of the request must match an instance of the key's Cryptographic Parameters,
// if it has any; without parameters the instance with the lowest index is taken (KMIP 1.4 section 2.1.6).
func (s *Store) wrapKey(ctx context.Context, call *kmip.Call, use fips.Use, o object, given *kmip.CryptographicParameters) (*wrapKey, error) {
	r, on := ref(o.Handle)
	if !on {
		return nil, denied("the value of the wrapping key is not on this server")
	}
	if err := s.knownDrift(ctx, o); err != nil {
		return nil, err
	}
	p, err := o.parameters(given)
	if err != nil {
		return nil, err
	}
	pol := s.policyOf(call)
	if p.PaddingMethod == kmip.PaddingMethodOAEP && p.HashingAlgorithm == 0 && pol.Limits().Hash != 0 {
		with := *p
		with.HashingAlgorithm = pol.Limits().Hash
		p = &with
	}
	w := &wrapKey{object: o, ref: r}
	if err := allowMechanism(pol, use, o, p); err != nil {
		return nil, err
	}
	w.spec, err = mechanism(o, p)
	return w, err
}

// parameters are the Cryptographic Parameters to use with a key.
func (o object) parameters(given *kmip.CryptographicParameters) (*kmip.CryptographicParameters, error) {
	any := false
	var wanted ttlv.Item
	if given != nil {
		wanted = structValue(given)
	}
	for _, a := range o.Attributes {
		if a.Name != "Cryptographic Parameters" {
			continue
		}
		any = true
		if given == nil || matchValue(a.Value, wanted) {
			p := new(kmip.CryptographicParameters)
			return p, p.Decode(a.Value)
		}
	}
	switch {
	case any:
		return nil, kmip.Errorf(kmip.ResultReasonItemNotFound, "the key has no such Cryptographic Parameters")
	case given == nil:
		return nil, kmip.Errorf(kmip.ResultReasonItemNotFound, "neither the request nor the key has Cryptographic Parameters")
	}
	// Many clients never set the attribute and name the parameters in each request.
	return given, nil
}

// mechanism is the table from Cryptographic Parameters to wrapping mechanisms.
func mechanism(o object, p *kmip.CryptographicParameters) (hsm.WrapSpec, error) {
	unsupported := kmip.Errorf(kmip.ResultReasonFeatureNotSupported, "keys are wrapped with NIST Key Wrap, AES Key Wrap Padding, RSA OAEP or PKCS#1 v1.5 only")
	if o.ObjectType == kmip.ObjectTypeSymmetricKey {
		if o.algorithm() != kmip.CryptographicAlgorithmAES {
			return hsm.WrapSpec{}, unsupported
		}
		switch p.BlockCipherMode {
		case kmip.BlockCipherModeNISTKeyWrap:
			return hsm.WrapSpec{Mechanism: hsm.WrapAESKW}, nil
		case kmip.BlockCipherModeAESKeyWrapPadding:
			return hsm.WrapSpec{Mechanism: hsm.WrapAESKWP}, nil
		}
		return hsm.WrapSpec{}, unsupported
	}
	if o.algorithm() != kmip.CryptographicAlgorithmRSA {
		return hsm.WrapSpec{}, unsupported
	}
	switch p.PaddingMethod {
	case kmip.PaddingMethodPKCS1V1_5:
		return hsm.WrapSpec{Mechanism: hsm.WrapRSAPKCS1v15}, nil
	case kmip.PaddingMethodOAEP:
		return oaep(p)
	}
	return hsm.WrapSpec{}, unsupported
}

// oaep: the hash defaults to SHA-1, as in PKCS#1; the mask generator must be MGF1 with the same hash, without label.
func oaep(p *kmip.CryptographicParameters) (hsm.WrapSpec, error) {
	hashes := map[kmip.HashingAlgorithm]hsm.OAEPHash{
		0: hsm.OAEPSHA1, kmip.HashingAlgorithmSHA1: hsm.OAEPSHA1, kmip.HashingAlgorithmSHA256: hsm.OAEPSHA256,
		kmip.HashingAlgorithmSHA384: hsm.OAEPSHA384, kmip.HashingAlgorithmSHA512: hsm.OAEPSHA512,
	}
	h, ok := hashes[p.HashingAlgorithm]
	if !ok {
		return hsm.WrapSpec{}, badField("OAEP is not supported with this Hashing Algorithm")
	}
	if g := p.MaskGeneratorHashingAlgorithm; g != 0 && hashes[g] != h {
		return hsm.WrapSpec{}, badField("OAEP is supported with one hash for label and mask only")
	}
	if len(p.PSource) > 0 {
		return hsm.WrapSpec{}, badField("OAEP is supported without P Source only")
	}
	return hsm.WrapSpec{Mechanism: hsm.WrapRSAOAEP, Hash: h}, nil
}

// checkWrapMethod: this server wraps by encryption alone.
func checkWrapMethod(method kmip.WrappingMethod, enc *kmip.EncryptionKeyInformation, mac *kmip.MACSignatureKeyInformation) error {
	switch {
	case method&0x80000000 == 0 && !method.KnownIn(kmip.V1_4):
		return badField("Wrapping Method is unknown")
	case method != kmip.WrappingMethodEncrypt || mac != nil:
		return kmip.Errorf(kmip.ResultReasonFeatureNotSupported, "Wrapping Method Encrypt is the only one supported")
	case enc == nil:
		return badField("Wrapping Method Encrypt needs Encryption Key Information")
	}
	return nil
}

// registerWrapped takes in a wrapped Key Block. Where the token can, it unwraps the key by itself; an encoding around the
// key (TTLV Encoding, PKCS#1) must be opened by the server, in memory, before the key is imported.
func (s *Store) registerWrapped(ctx context.Context, call *kmip.Call, o object, in *intake, kb *kmip.KeyBlock, f *frame) error {
	wd := kb.KeyWrappingData
	blob, structured, err := wrappedOctets(kb)
	if err != nil {
		return err
	}
	f.wrapping, f.structured = wd, structured
	if s.policyOf(call).Limits().NoPlainWrapping && wd.EncodingOption != kmip.EncodingOptionNoEncoding {
		return s.policyOf(call).Refuse(kmip.ResultReasonEncodingOptionError, "Encoding Option must be No Encoding, as the server does not hold the key in clear,")
	}
	w, err := s.unwrappingFor(ctx, call, wd)
	if err != nil && in.asProvided && kmip.ReasonOf(err) != kmip.ResultReasonGeneralFailure {
		return s.importSealed(ctx, call, o, in, kb, f, blob)
	}
	if err != nil {
		return err
	}
	f.under = w
	if wd.EncodingOption == kmip.EncodingOptionNoEncoding && onToken(o, kb) {
		return s.registerUnwrapped(ctx, call, o, in, kb, f, w, blob)
	}
	open, err := s.opened(ctx, kb, w, blob)
	if err != nil {
		return err
	}
	defer keyform.Wipe(open)
	if open.KeyFormatType == kmip.KeyFormatTypePKCS12 {
		return s.registerPKCS12(ctx, call, o, in, open, f)
	}
	return s.registerPlain(ctx, call, o, in, open, f)
}

// unwrappingFor is the key that opens what was wrapped so.
func (s *Store) unwrappingFor(ctx context.Context, call *kmip.Call, wd *kmip.KeyWrappingData) (*wrapKey, error) {
	if err := checkWrapMethod(wd.WrappingMethod, wd.EncryptionKeyInformation, wd.MACSignatureKeyInformation); err != nil {
		return nil, err
	}
	return s.unwrapping(ctx, call, wd.EncryptionKeyInformation)
}

// opened is a wrapped Key Block in clear; keyform.Wipe wipes it.
func (s *Store) opened(ctx context.Context, kb *kmip.KeyBlock, w *wrapKey, blob []byte) (*kmip.KeyBlock, error) {
	plain, err := s.token.UnwrapBytes(ctx, w.ref, w.spec, blob)
	if err != nil {
		return nil, toKMIP(err)
	}
	open := *kb
	open.KeyWrappingData = nil
	if kb.KeyWrappingData.EncodingOption == kmip.EncodingOptionNoEncoding {
		defer plain.Wipe()
		b, mark := ttlv.Begin(make([]byte, 0, len(plain)+32), kmip.TagKeyValue)
		open.KeyValue = ttlv.Make(ttlv.End(ttlv.AppendBytes(b, kmip.TagKeyMaterial, plain), mark))
		return &open, nil
	}
	if _, err := keyform.DecodeKeyValue(plain); err != nil {
		plain.Wipe()
		return nil, err
	}
	open.KeyValue = ttlv.Make(plain)
	return &open, nil
}

// wrappedOctets are the wrapped octets: the Key Value as a Byte String or, as some OASIS cases have it, the Key Material
// of a Key Value structure.
func wrappedOctets(kb *kmip.KeyBlock) (blob []byte, structured bool, err error) {
	v := kb.KeyValue
	if v.Type == ttlv.Structure {
		v, structured = v.Find(kmip.TagKeyMaterial), true
	}
	if v.Type != ttlv.ByteString || len(v.Value) == 0 {
		return nil, false, badField("a wrapped Key Value must be a Byte String that is not empty")
	}
	return v.Value, structured, nil
}

// onToken tells that the token can unwrap straight into a key: the octets are the key and nothing around it.
func onToken(o object, kb *kmip.KeyBlock) bool {
	return o.ObjectType == kmip.ObjectTypeSymmetricKey && kb.KeyFormatType == kmip.KeyFormatTypeRaw ||
		o.ObjectType == kmip.ObjectTypeSecretData && (kb.KeyFormatType == kmip.KeyFormatTypeRaw || kb.KeyFormatType == kmip.KeyFormatTypeOpaque)
}

// registerUnwrapped lets the token unwrap a secret. The server learns its length and digest, not the key.
func (s *Store) registerUnwrapped(ctx context.Context, call *kmip.Call, o object, in *intake, kb *kmip.KeyBlock, f *frame, w *wrapKey, blob []byte) error {
	alg, bits, err := o.declared(kb)
	if err != nil {
		return err
	}
	f.facts = keyform.Generated(o.ObjectType, alg, bits, secretOctets(alg, bits), 0)
	f.facts.Format = kb.KeyFormatType
	if o.ObjectType == kmip.ObjectTypeSecretData {
		f.facts.Bits = 0
	} else if err := s.allowImport(call, o, f); err != nil { // and again when the token tells the length
		return err
	}
	if err := in.registered(o, true); err != nil {
		return err
	}
	if err := in.finish(s, call, o); err != nil {
		return err
	}
	if f.facts.Octets == 0 {
		f.facts.Octets = 1 // Secret Data of a length that nobody declared: the unwrapping tells it
	}
	spec, class := s.importSpec(o, f)
	if bits == 0 {
		spec.Bits = 0
	}
	return s.commitNew(ctx, call, in.op, []object{o}, in.gone, func(ctx context.Context) error {
		got, err := s.token.Unwrap(ctx, w.ref, w.spec, blob, class, spec)
		if err != nil {
			return err
		}
		if o.ObjectType == kmip.ObjectTypeSymmetricKey && got.Bytes != f.facts.Octets {
			return badField("the unwrapped key has %d octets, not what Cryptographic Length %d says", got.Bytes, bits)
		}
		f.facts.Octets, o.ValueBits = got.Bytes, 8*got.Bytes
		if err := s.describeKey(call, o, f); err != nil {
			return err
		}
		sum, err := s.token.Digest(ctx, hsm.Ref{Class: class, ID: spec.ID}, o.ValueBits)
		if err != nil {
			return err
		}
		o.Frame = f.encode()
		return in.digest(o, sum, f.facts.Format)
	})
}

// declared is the algorithm and length that Key Block and attributes give to a wrapped key.
func (o object) declared(kb *kmip.KeyBlock) (kmip.CryptographicAlgorithm, int, error) {
	g := o.given()
	if kb.CryptographicAlgorithm != 0 {
		g.Algorithm = kb.CryptographicAlgorithm
	}
	if kb.CryptographicLength != nil {
		g.Bits = int(*kb.CryptographicLength)
	}
	if o.ObjectType == kmip.ObjectTypeSymmetricKey && (g.Algorithm == 0 || g.Bits <= 0) {
		return 0, 0, badField("a wrapped Symmetric Key needs Cryptographic Algorithm and Cryptographic Length")
	}
	return g.Algorithm, g.Bits, nil
}

// secretOctets is the length of a secret of a Cryptographic Length: 3DES keys carry parity bits.
func secretOctets(alg kmip.CryptographicAlgorithm, bits int) int {
	if alg == kmip.CryptographicAlgorithmDES3 {
		switch bits {
		case 112:
			return 16
		case 168:
			return 24
		}
	}
	return (bits + 7) / 8
}
