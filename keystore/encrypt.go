package keystore

import (
	"context"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/kmip"
)

// Encrypt encrypts data, or a part of it, with a symmetric key or an RSA public key (KMIP 1.4 section 4.29).
func (s *Store) Encrypt(ctx context.Context, call *kmip.Call, req *kmip.EncryptRequest) (*kmip.EncryptResponse, error) {
	p := partOf(req.Data, req.CorrelationValue, req.InitIndicator, req.FinalIndicator)
	resp := &kmip.EncryptResponse{UniqueIdentifier: call.Target}
	in := cipherInput{given: req.CryptographicParameters, iv: req.IVCounterNonce, aad: req.AuthenticatedEncryptionAdditionalData}
	out, correlation, err := s.serve(ctx, call, &encryptService, p, func(o object) (w work, err error) {
		w, resp.IVCounterNonce, err = s.cipher(ctx, call, o, &encryptService, in, p)
		return w, err
	}, nil)
	if err != nil {
		return nil, err
	}
	resp.Data, resp.CorrelationValue, resp.AuthenticatedEncryptionTag = whole(out.data, p), correlation, out.tag
	if call.Version.Before(kmip.V1_4) {
		// The field for the tag is new in 1.4. Clients of 1.2 and 1.3 get it where AEAD libraries put it: behind the data.
		resp.Data = append(resp.Data, out.tag...)
	}
	return resp, nil
}

// Decrypt decrypts data, or a part of it, with a symmetric key or an RSA private key (KMIP 1.4 section 4.30). The message
// layer wipes what it returns.
func (s *Store) Decrypt(ctx context.Context, call *kmip.Call, req *kmip.DecryptRequest) (*kmip.DecryptResponse, error) {
	p := partOf(req.Data, req.CorrelationValue, req.InitIndicator, req.FinalIndicator)
	in := cipherInput{given: req.CryptographicParameters, iv: req.IVCounterNonce, aad: req.AuthenticatedEncryptionAdditionalData,
		tag: req.AuthenticatedEncryptionTag}
	out, correlation, err := s.serve(ctx, call, &decryptService, p, func(o object) (work, error) {
		w, _, err := s.cipher(ctx, call, o, &decryptService, in, p)
		return w, err
	}, nil)
	if err != nil {
		return nil, err
	}
	return &kmip.DecryptResponse{UniqueIdentifier: call.Target, Data: whole(out.data, p), CorrelationValue: correlation}, nil
}

// whole: Data is required in the answer to a whole operation, even if it is empty; a part may have none.
func whole(data []byte, p part) []byte {
	if len(data) == 0 && (p.more() || p.correlation != nil) {
		return nil
	}
	if data == nil {
		return []byte{}
	}
	return data
}

// cipherInput is what Encrypt and Decrypt requests say besides the data.
type cipherInput struct {
	given        *kmip.CryptographicParameters
	iv, aad, tag []byte
}

// cipher makes the work of Encrypt or Decrypt. It returns the IV when the server chose it.
func (s *Store) cipher(ctx context.Context, call *kmip.Call, o object, sv *service, in cipherInput, p part) (work, []byte, error) {
	params, err := o.params(in.given)
	if err != nil {
		return nil, nil, err
	}
	alg := o.algorithm()
	if a := params.CryptographicAlgorithm; a != 0 && a != alg {
		return nil, nil, unsupported("Cryptographic Algorithm", a, "a key of algorithm "+alg.String())
	}
	if err := s.allowKey(call, sv.use, o); err != nil {
		return nil, nil, err
	}
	pol, key := s.policyOf(call), s.tokenKey(o)
	if err := allowCipher(pol, sv.use, params); err != nil {
		return nil, nil, err
	}
	switch alg {
	case kmip.CryptographicAlgorithmRSA:
		w, err := s.rsaCipher(pol, key, sv, params, in)
		return w, nil, err
	case kmip.CryptographicAlgorithmAES:
		return s.blockCipher(ctx, pol, key, 16, sv, params, in, p)
	case kmip.CryptographicAlgorithmDES3:
		return s.blockCipher(ctx, pol, key, 8, sv, params, in, p)
	}
	return nil, nil, unsupported("Cryptographic Algorithm", alg, sv.op.String())
}

// tokenKey is a key on the token.
type tokenKey struct {
	hsm.Crypto
	ref  hsm.Ref
	bits int
}

func (s *Store) tokenKey(o object) tokenKey {
	r, _ := ref(o.Handle)
	return tokenKey{s.token, r, o.ValueBits}
}

// rsaCipher is the table of RSA encryption: OAEP or PKCS#1 v1.5. The Padding Method must be given: there is no default
// that is safe and that old clients mean. The mask generator's hash defaults to the Hashing Algorithm, not to SHA-1 as
// section 3.6 has it: libraries do so, and OASIS cases for PSS depend on it.
func (s *Store) rsaCipher(pol *fips.Policy, key tokenKey, sv *service, p *kmip.CryptographicParameters, in cipherInput) (work, error) {
	if p.BlockCipherMode != 0 {
		return nil, unsupported("Block Cipher Mode", p.BlockCipherMode, "an RSA key")
	}
	if err := in.unauthenticated("RSA"); err != nil {
		return nil, err
	}
	var spec hsm.RSACipherSpec
	switch p.PaddingMethod {
	case kmip.PaddingMethodPKCS1V1_5:
	case kmip.PaddingMethodOAEP:
		var err error
		if spec, err = s.oaepSpec(pol, sv, p); err != nil {
			return nil, err
		}
	case 0:
		return nil, badField("Padding Method is needed to use an RSA key")
	default:
		return nil, unsupported("Padding Method", p.PaddingMethod, "an RSA key")
	}
	return &rsaWork{key: key, spec: spec, decrypt: sv == &decryptService}, nil
}

// oaepSpec: the hash defaults to SHA-1, as in PKCS#1 (RFC 8017 section 7.1), or to what a strict policy says.
func (s *Store) oaepSpec(pol *fips.Policy, sv *service, p *kmip.CryptographicParameters) (hsm.RSACipherSpec, error) {
	spec := hsm.RSACipherSpec{OAEP: true, Label: append([]byte(nil), p.PSource...)}
	if p.MaskGenerator != 0 && p.MaskGenerator != kmip.MaskGeneratorMGF1 {
		return spec, unsupported("Mask Generator", p.MaskGenerator, "OAEP")
	}
	h := p.HashingAlgorithm
	if h == 0 {
		h = cmp0(pol.Limits().Hash, kmip.HashingAlgorithmSHA1)
	}
	var err error
	if spec.Hash, err = tokenHash(pol, sv.use, h, "Hashing Algorithm"); err != nil {
		return spec, err
	}
	spec.MGFHash, err = mgfHash(pol, sv.use, h, p)
	return spec, err
}

// unauthenticated refuses fields of authenticated encryption: a client that sends them must not believe that they had
// an effect.
func (in cipherInput) unauthenticated(mode string) error {
	switch {
	case len(in.aad) > 0:
		return badField("Authenticated Encryption Additional Data does not go with %s", mode)
	case len(in.tag) > 0:
		return badField("Authenticated Encryption Tag does not go with %s", mode)
	}
	return nil
}

// rsaWork is one RSA operation; parts are gathered, up to the little that RSA takes.
type rsaWork struct {
	gathered
	key     tokenKey
	spec    hsm.RSACipherSpec
	decrypt bool
}

func (w *rsaWork) add(_ context.Context, data []byte) ([]byte, error) {
	if len(w.held)+len(data) > 16384/8 {
		return nil, kmip.Errorf(kmip.ResultReasonCryptographicFailure, "the data is longer than any RSA modulus")
	}
	w.gather(data)
	return nil, nil
}

func (w *rsaWork) end(ctx context.Context, data []byte) (output, error) {
	data = w.with(data)
	if w.decrypt {
		plain, err := w.key.RSADecrypt(ctx, w.key.ref, w.spec, data)
		return output{data: plain}, err
	}
	out, err := w.key.RSAEncrypt(ctx, w.key.ref, w.spec, data)
	return output{data: out}, err
}

// gathered is the data of a work that the token does in one call at the end.
type gathered struct{ held []byte }

func (g *gathered) gather(data []byte) {
	if cap(g.held)-len(g.held) < len(data) {
		next := make([]byte, len(g.held), 2*(len(g.held)+len(data)))
		copy(next, g.held)
		clear(g.held)
		g.held = next
	}
	g.held = append(g.held, data...)
}

// with is all the data, the last part included. It belongs to the work, or to the caller when nothing was gathered.
func (g *gathered) with(data []byte) []byte {
	if len(g.held) == 0 {
		return data
	}
	g.gather(data)
	return g.held
}

func (g *gathered) buffered() int { return len(g.held) }

func (g *gathered) wipe() {
	clear(g.held)
	g.held = nil
}
