package keystore

import (
	"context"
	"hash"

	"kmipd/fips"
	"kmipd/kmip"
)

// Hash hashes data (KMIP 1.4 section 4.37). No key is involved, and the server does it.
func (s *Store) Hash(ctx context.Context, call *kmip.Call, req *kmip.HashRequest) (*kmip.HashResponse, error) {
	p := partOf(req.Data, req.CorrelationValue, req.InitIndicator, req.FinalIndicator)
	st, err := s.open(call, kmip.OperationHash, p)
	if err != nil {
		return nil, err
	}
	if st.work == nil {
		w, err := hashing(s.policyOf(call), &req.CryptographicParameters)
		if err != nil {
			s.streams.drop(st)
			return nil, err
		}
		st.work = w
	}
	out, correlation, err := s.proceed(ctx, st, p)
	if err != nil {
		return nil, err
	}
	return &kmip.HashResponse{Data: out.data, CorrelationValue: correlation}, nil
}

func hashing(pol *fips.Policy, p *kmip.CryptographicParameters) (work, error) {
	if p.HashingAlgorithm == 0 {
		return nil, badField("Hashing Algorithm is missing")
	}
	if err := pol.AllowHash(fips.Digest, p.HashingAlgorithm); err != nil {
		return nil, err
	}
	if _, ok := hashes[p.HashingAlgorithm]; !ok { // what a policy allows, and the server does not have
		return nil, unsupported("Hashing Algorithm", p.HashingAlgorithm, "Hash")
	}
	h, err := newHash(p.HashingAlgorithm)
	return hashWork{h}, err
}

// hashWork is a hash on its way.
type hashWork struct{ hash hash.Hash }

func (w hashWork) add(_ context.Context, data []byte) ([]byte, error) {
	w.hash.Write(data)
	return nil, nil
}

func (w hashWork) end(_ context.Context, data []byte) (output, error) {
	w.hash.Write(data)
	return output{data: w.hash.Sum(nil)}, nil
}

func (w hashWork) buffered() int { return 0 }
func (w hashWork) wipe()         { w.hash.Reset() }
