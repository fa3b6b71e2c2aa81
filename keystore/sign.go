package keystore

import (
	"context"
	"hash"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/kmip"
)

// Sign signs data, or a digest of it, with a private key (KMIP 1.4 section 4.31). Of data in parts the server keeps the
// state of the hash.
func (s *Store) Sign(ctx context.Context, call *kmip.Call, req *kmip.SignRequest) (*kmip.SignResponse, error) {
	p := partOf(req.Data, req.CorrelationValue, req.InitIndicator, req.FinalIndicator)
	if req.DigestedData != nil {
		p.data = req.DigestedData // for the Usage Limits
	}
	out, correlation, err := s.serve(ctx, call, &signService, p, func(o object) (work, error) {
		return s.signature(call, o, &signService, req.CryptographicParameters, req.DigestedData, p)
	}, nil)
	if err != nil {
		return nil, err
	}
	return &kmip.SignResponse{UniqueIdentifier: call.Target, SignatureData: out.data, CorrelationValue: correlation}, nil
}

// SignatureVerify checks a signature with a public key (KMIP 1.4 section 4.32). One that is not valid is no error.
func (s *Store) SignatureVerify(ctx context.Context, call *kmip.Call, req *kmip.SignatureVerifyRequest) (*kmip.SignatureVerifyResponse, error) {
	p := partOf(req.Data, req.CorrelationValue, req.InitIndicator, req.FinalIndicator)
	if req.DigestedData != nil {
		p.data = req.DigestedData
	}
	out, correlation, err := s.serve(ctx, call, &verifyService, p, func(o object) (work, error) {
		return s.signature(call, o, &verifyService, req.CryptographicParameters, req.DigestedData, p)
	}, func(w work) error {
		// In parts, the signature may come with any of them.
		sw := w.(*signWork)
		if len(req.SignatureData) > 0 {
			sw.signature = append([]byte(nil), req.SignatureData...)
		}
		if len(sw.signature) == 0 && !p.more() {
			return kmip.Errorf(kmip.ResultReasonInvalidMessage, "Signature Data is missing")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	resp := &kmip.SignatureVerifyResponse{UniqueIdentifier: call.Target, CorrelationValue: correlation}
	if correlation == nil {
		resp.ValidityIndicator = validity(out.valid)
	}
	return resp, nil
}

func validity(ok bool) kmip.ValidityIndicator {
	if ok {
		return kmip.ValidityIndicatorValid
	}
	return kmip.ValidityIndicatorInvalid
}

// signature makes the work of Sign and Signature Verify.
func (s *Store) signature(call *kmip.Call, o object, sv *service, given *kmip.CryptographicParameters, digested []byte, p part) (*signWork, error) {
	params, err := o.params(given)
	if err != nil {
		return nil, err
	}
	if err := s.allowKey(call, sv.use, o); err != nil {
		return nil, err
	}
	spec, h, err := scheme(s.policyOf(call), o, sv.use, params)
	if err != nil {
		return nil, err
	}
	w := &signWork{key: s.tokenKey(o), spec: spec, keyBits: o.length(), verifies: sv == &verifyService,
		autoSalt: spec.Scheme == hsm.SignRSAPSS && params.SaltLength == nil}
	switch {
	case digested != nil && p.more():
		return nil, badField("Digested Data cannot come in parts")
	case digested != nil:
		w.digested = true
		if spec.Hash != 0 && len(digested) != spec.Hash.Size() {
			return nil, badField("Digested Data does not have the length of a %s digest", h)
		}
	case h == 0:
		return nil, badField("Hashing Algorithm is needed to sign or verify Data")
	default:
		w.hash, err = newHash(h)
	}
	return w, err
}

// signatureAlgorithms is what each Digital Signature Algorithm comes down to. MD2 and MD5 are unsafe; DSA and SHA-3 are
// nothing that tokens do.
var signatureAlgorithms = map[kmip.DigitalSignatureAlgorithm]struct {
	scheme hsm.SignScheme
	hash   kmip.HashingAlgorithm // 0: Hashing Algorithm says it
}{
	kmip.DigitalSignatureAlgorithmSHA1WithRSAEncryptionPKCS1V1_5:   {hsm.SignRSAPKCS1v15, kmip.HashingAlgorithmSHA1},
	kmip.DigitalSignatureAlgorithmSHA224WithRSAEncryptionPKCS1V1_5: {hsm.SignRSAPKCS1v15, kmip.HashingAlgorithmSHA224},
	kmip.DigitalSignatureAlgorithmSHA256WithRSAEncryptionPKCS1V1_5: {hsm.SignRSAPKCS1v15, kmip.HashingAlgorithmSHA256},
	kmip.DigitalSignatureAlgorithmSHA384WithRSAEncryptionPKCS1V1_5: {hsm.SignRSAPKCS1v15, kmip.HashingAlgorithmSHA384},
	kmip.DigitalSignatureAlgorithmSHA512WithRSAEncryptionPKCS1V1_5: {hsm.SignRSAPKCS1v15, kmip.HashingAlgorithmSHA512},
	kmip.DigitalSignatureAlgorithmRSASSAPSSPKCS1V2_1:               {hsm.SignRSAPSS, 0},
	kmip.DigitalSignatureAlgorithmECDSAWithSHA1:                    {hsm.SignECDSA, kmip.HashingAlgorithmSHA1},
	kmip.DigitalSignatureAlgorithmECDSAWithSHA224:                  {hsm.SignECDSA, kmip.HashingAlgorithmSHA224},
	kmip.DigitalSignatureAlgorithmECDSAWithSHA256:                  {hsm.SignECDSA, kmip.HashingAlgorithmSHA256},
	kmip.DigitalSignatureAlgorithmECDSAWithSHA384:                  {hsm.SignECDSA, kmip.HashingAlgorithmSHA384},
	kmip.DigitalSignatureAlgorithmECDSAWithSHA512:                  {hsm.SignECDSA, kmip.HashingAlgorithmSHA512},
}

// scheme is the table from key and parameters to a signature scheme and hash: the Digital Signature Algorithm, or
// Cryptographic Algorithm, Hashing Algorithm and Padding Method (KMIP 1.4 section 3.6); where both are given they must
// agree. RSA without Padding Method is PKCS#1 v1.5, as TC-RSA-SIGN-DIGESTEDDATA-1 has it. The hash is 0 when nothing says
// it: enough for Digested Data, unless PSS.
func scheme(pol *fips.Policy, o object, use fips.Use, p *kmip.CryptographicParameters) (hsm.SignSpec, kmip.HashingAlgorithm, error) {
	var spec hsm.SignSpec
	h := p.HashingAlgorithm
	scheme, err := keyScheme(o, p)
	if err != nil {
		return spec, 0, err
	}
	if a := p.DigitalSignatureAlgorithm; a != 0 {
		row, ok := signatureAlgorithms[a]
		switch {
		case !ok:
			return spec, 0, unsupported("Digital Signature Algorithm", a, "any key")
		case p.PaddingMethod == 0 && scheme != hsm.SignECDSA && row.scheme != hsm.SignECDSA:
			scheme = row.scheme
		case row.scheme != scheme:
			return spec, 0, unsupported("Digital Signature Algorithm", a, "this key and Padding Method")
		}
		if row.hash != 0 && h != 0 && h != row.hash {
			return spec, 0, badField("Hashing Algorithm contradicts Digital Signature Algorithm")
		}
		if row.hash != 0 {
			h = row.hash
		}
	}
	if scheme == hsm.SignRSAPSS && h == 0 {
		h = pol.Limits().Hash
	}
	spec.Scheme = scheme
	if err := allowScheme(pol, use, o, scheme, h, p); err != nil {
		return spec, 0, err
	}
	if h != 0 {
		if spec.Hash, err = tokenHash(pol, use, h, "Hashing Algorithm"); err != nil {
			return spec, 0, err
		}
	}
	if scheme == hsm.SignRSAPSS {
		err = pss(pol, &spec, use, h, p)
	}
	return spec, h, err
}

// keyScheme is the scheme that key, Cryptographic Algorithm and Padding Method ask for.
func keyScheme(o object, p *kmip.CryptographicParameters) (hsm.SignScheme, error) {
	alg := o.algorithm()
	asked := p.CryptographicAlgorithm
	switch alg {
	case kmip.CryptographicAlgorithmRSA:
		if asked != 0 && asked != alg {
			return 0, unsupported("Cryptographic Algorithm", asked, "an RSA key")
		}
		switch p.PaddingMethod {
		case 0, kmip.PaddingMethodPKCS1V1_5:
			return hsm.SignRSAPKCS1v15, nil
		case kmip.PaddingMethodPSS:
			return hsm.SignRSAPSS, nil
		}
		return 0, unsupported("Padding Method", p.PaddingMethod, "an RSA signature")
	case kmip.CryptographicAlgorithmEC, kmip.CryptographicAlgorithmECDSA:
		if asked != 0 && asked != kmip.CryptographicAlgorithmEC && asked != kmip.CryptographicAlgorithmECDSA {
			return 0, unsupported("Cryptographic Algorithm", asked, "an EC key")
		}
		if p.PaddingMethod != 0 && p.PaddingMethod != kmip.PaddingMethodNone {
			return 0, unsupported("Padding Method", p.PaddingMethod, "an EC key")
		}
		return hsm.SignECDSA, nil
	}
	return 0, unsupported("Cryptographic Algorithm", alg, "signatures")
}

// pss fills in the parameters of PSS. Without Salt Length the salt is as long as the digest (section 3.6 of KMIP 1.4 has
// "the block size", which FIPS 186-5 does not allow); without Mask Generator Hashing Algorithm the mask is made with the
// Hashing Algorithm (section 3.6 has SHA-1, but the signatures in CS-AC-M-2 and TC-STREAM-SIGNVFY-1 are not made so).
func pss(pol *fips.Policy, spec *hsm.SignSpec, use fips.Use, h kmip.HashingAlgorithm, p *kmip.CryptographicParameters) (err error) {
	switch {
	case h == 0:
		return badField("Hashing Algorithm is needed for PSS")
	case p.MaskGenerator != 0 && p.MaskGenerator != kmip.MaskGeneratorMGF1:
		return unsupported("Mask Generator", p.MaskGenerator, "PSS")
	case p.TrailerField != nil && *p.TrailerField != 1:
		return badField("Trailer Field must be 1, the one-octet trailer")
	case p.SaltLength != nil && (*p.SaltLength < 0 || *p.SaltLength > 16384/8):
		return badField("Salt Length is out of range")
	}
	spec.Salt = spec.Hash.Size()
	if p.SaltLength != nil {
		spec.Salt = int(*p.SaltLength)
	}
	if pol.Limits().ShortSalt && spec.Salt > spec.Hash.Size() {
		return pol.Refuse(kmip.ResultReasonInvalidField, "Salt Length must be at most the length of the digest")
	}
	spec.MGFHash, err = mgfHash(pol, use, h, p)
	return err
}

// signWork signs or verifies.
type signWork struct {
	key       tokenKey
	spec      hsm.SignSpec
	keyBits   int
	hash      hash.Hash // nil when the data is a digest
	digested  bool
	verifies  bool
	autoSalt  bool // PSS verification finds the salt length
	signature []byte
}

func (w *signWork) add(_ context.Context, data []byte) ([]byte, error) {
	w.hash.Write(data)
	return nil, nil
}

func (w *signWork) end(ctx context.Context, data []byte) (output, error) {
	digest := data
	if !w.digested {
		w.hash.Write(data)
		digest = w.hash.Sum(nil)
	}
	if w.verifies {
		ok, err := w.verify(ctx, digest)
		return output{valid: ok}, err
	}
	sig, err := w.key.Sign(ctx, w.key.ref, w.spec, digest)
	if err == nil && w.spec.Scheme == hsm.SignECDSA {
		sig, err = derSignature(sig)
	}
	return output{data: sig}, err
}

func (w *signWork) buffered() int { return 0 }

func (w *signWork) wipe() {
	if w.hash != nil {
		w.hash.Reset()
	}
}

// verify asks the token for each form that the signature can have. Something that cannot be a signature of the key is an
// invalid one, not a failure.
func (w *signWork) verify(ctx context.Context, digest []byte) (bool, error) {
	for _, sig := range w.forms() {
		ok, err := w.key.Verify(ctx, w.key.ref, w.spec, digest, sig)
		if ok || err != nil {
			return ok, err
		}
	}
	if !w.autoSalt {
		return false, nil
	}
	spki, err := w.key.PublicKey(ctx, w.key.ref)
	if err != nil {
		return false, err
	}
	salt, ok := saltLength(spki, w.spec, w.signature)
	if !ok || salt == w.spec.Salt {
		return false, nil
	}
	spec := w.spec
	spec.Salt = salt
	return w.key.Verify(ctx, w.key.ref, spec, digest, w.signature)
}

// forms are the signatures that the octets stand for, as the token takes them.
func (w *signWork) forms() [][]byte {
	if w.spec.Scheme == hsm.SignECDSA {
		return ecdsaForms(w.signature, (w.keyBits+7)/8)
	}
	if len(w.signature) != (w.keyBits+7)/8 {
		return nil
	}
	return [][]byte{w.signature}
}
