package keystore

import (
	"context"
	"crypto/hmac"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/kmip"
)

// MAC computes a message authentication code (KMIP 1.4 section 4.33). The token does it in one call, for the state of an
// HMAC is as good as its key: parts are gathered.
func (s *Store) MAC(ctx context.Context, call *kmip.Call, req *kmip.MACRequest) (*kmip.MACResponse, error) {
	p := partOf(req.Data, req.CorrelationValue, req.InitIndicator, req.FinalIndicator)
	out, correlation, err := s.serve(ctx, call, &macService, p, func(o object) (work, error) {
		return s.mac(call, o, &macService, req.CryptographicParameters)
	}, nil)
	if err != nil {
		return nil, err
	}
	return &kmip.MACResponse{UniqueIdentifier: call.Target, MACData: out.data, CorrelationValue: correlation}, nil
}

// MACVerify checks a message authentication code (KMIP 1.4 section 4.34). One that is not valid is no error; a truncated
// one is not valid.
func (s *Store) MACVerify(ctx context.Context, call *kmip.Call, req *kmip.MACVerifyRequest) (*kmip.MACVerifyResponse, error) {
	p := partOf(req.Data, req.CorrelationValue, req.InitIndicator, req.FinalIndicator)
	out, correlation, err := s.serve(ctx, call, &macVerifier, p, func(o object) (work, error) {
		return s.mac(call, o, &macVerifier, req.CryptographicParameters)
	}, func(w work) error {
		// In parts, the code may come with any of them.
		mw := w.(*macWork)
		if len(req.MACData) > 0 {
			mw.expected = append([]byte(nil), req.MACData...)
		}
		if len(mw.expected) == 0 && !p.more() {
			return kmip.Errorf(kmip.ResultReasonInvalidMessage, "MAC Data is missing")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	resp := &kmip.MACVerifyResponse{UniqueIdentifier: call.Target, CorrelationValue: correlation}
	if correlation == nil {
		resp.ValidityIndicator = validity(out.valid)
	}
	return resp, nil
}

// hmacs are the algorithms that name an HMAC and its hash. HMAC-MD5 is not among them.
var hmacs = map[kmip.CryptographicAlgorithm]kmip.HashingAlgorithm{
	kmip.CryptographicAlgorithmHMACSHA1:   kmip.HashingAlgorithmSHA1,
	kmip.CryptographicAlgorithmHMACSHA224: kmip.HashingAlgorithmSHA224,
	kmip.CryptographicAlgorithmHMACSHA256: kmip.HashingAlgorithmSHA256,
	kmip.CryptographicAlgorithmHMACSHA384: kmip.HashingAlgorithmSHA384,
	kmip.CryptographicAlgorithmHMACSHA512: kmip.HashingAlgorithmSHA512,
}

// mac makes the work of MAC and MAC Verify.
func (s *Store) mac(call *kmip.Call, o object, sv *service, given *kmip.CryptographicParameters) (*macWork, error) {
	p, err := o.params(given)
	if err != nil {
		return nil, err
	}
	spec, alg, err := macSpec(s.policyOf(call), o, sv, p)
	if err != nil {
		return nil, err
	}
	bits := o.length()
	if bits == 0 {
		bits = o.ValueBits // Secret Data
	}
	if err := s.allowMAC(call, sv.use, o, alg, bits); err != nil {
		return nil, err
	}
	return &macWork{key: s.tokenKey(o), spec: spec, verifies: sv == &macVerifier}, nil
}

// macSpec is the table of codes, with the algorithm that the policy knows them by. Block Cipher Mode CMAC with an AES or
// 3DES key is CMAC. Otherwise it is HMAC with the hash that Cryptographic Algorithm names, the parameters' (which need
// not be the key's: CS-AC-M-4 has an HMAC with an AES key) or else the key's, or that Hashing Algorithm names. A key that
// was made for one HMAC serves no other.
func macSpec(pol *fips.Policy, o object, sv *service, p *kmip.CryptographicParameters) (hsm.MACSpec, kmip.CryptographicAlgorithm, error) {
	own := o.algorithm()
	if p.BlockCipherMode != 0 {
		cipher := own == kmip.CryptographicAlgorithmAES || own == kmip.CryptographicAlgorithmDES3
		switch {
		case p.BlockCipherMode != kmip.BlockCipherModeCMAC || !cipher:
			return hsm.MACSpec{}, 0, unsupported("Block Cipher Mode", p.BlockCipherMode, "MAC and this key")
		case p.CryptographicAlgorithm != 0 && p.CryptographicAlgorithm != own:
			return hsm.MACSpec{}, 0, unsupported("Cryptographic Algorithm", p.CryptographicAlgorithm, "CMAC and this key")
		}
		return hsm.MACSpec{Scheme: hsm.MACCMAC}, own, pol.AllowMode(sv.use, kmip.BlockCipherModeCMAC)
	}
	alg := p.CryptographicAlgorithm
	if _, fixed := hmacs[own]; fixed && alg != 0 && alg != own {
		return hsm.MACSpec{}, 0, unsupported("Cryptographic Algorithm", alg, "a key of algorithm "+own.String())
	} else if alg == 0 {
		alg = own
	}
	h, ok := hmacs[alg]
	switch {
	case !ok && p.HashingAlgorithm == 0:
		return hsm.MACSpec{}, 0, badField("Cryptographic Algorithm must name a message authentication code")
	case !ok:
		h = p.HashingAlgorithm
	case p.HashingAlgorithm != 0 && p.HashingAlgorithm != h:
		return hsm.MACSpec{}, 0, badField("Hashing Algorithm contradicts Cryptographic Algorithm")
	}
	th, err := tokenHash(pol, sv.use, h, "Hashing Algorithm")
	for a, of := range hmacs {
		if of == h {
			alg = a
		}
	}
	return hsm.MACSpec{Scheme: hsm.MACHMAC, Hash: th}, alg, err
}

// macWork computes a code, or compares it with the expected one.
type macWork struct {
	gathered
	key      tokenKey
	spec     hsm.MACSpec
	verifies bool
	expected []byte
}

func (w *macWork) add(_ context.Context, data []byte) ([]byte, error) {
	w.gather(data)
	return nil, nil
}

func (w *macWork) end(ctx context.Context, data []byte) (output, error) {
	code, err := w.key.MAC(ctx, w.key.ref, w.key.bits, w.spec, w.with(data))
	if err != nil {
		return output{}, err
	}
	if !w.verifies {
		return output{data: code}, nil
	}
	defer clear(code)
	return output{valid: hmac.Equal(code, w.expected)}, nil
}
