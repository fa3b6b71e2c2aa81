package keystore

import (
	"context"

	"kmipd/kmip"
)

// maxRandom bounds what one RNG Retrieve takes from the token.
const maxRandom = 1 << 20

// RNGRetrieve returns random octets of the token (KMIP 1.4 section 4.35).
func (s *Store) RNGRetrieve(ctx context.Context, _ *kmip.Call, req *kmip.RNGRetrieveRequest) (*kmip.RNGRetrieveResponse, error) {
	if req.DataLength < 1 || req.DataLength > maxRandom {
		return nil, badField("Data Length must be from 1 to %d", maxRandom)
	}
	data, err := s.token.Random(ctx, int(req.DataLength))
	if err != nil {
		return nil, cryptoError(err)
	}
	return &kmip.RNGRetrieveResponse{Data: data}, nil
}

// RNGSeed uses nothing of the seed and says so: "The server MAY elect to ignore the information provided by the client
// and MAY indicate this by returning zero" (KMIP 1.4 section 4.36; CS-RNG-O-3). The generator is the token's, all clients
// share it, and none of them should have a hand in it.
func (s *Store) RNGSeed(context.Context, *kmip.Call, *kmip.RNGSeedRequest) (*kmip.RNGSeedResponse, error) {
	return &kmip.RNGSeedResponse{DataLength: 0}, nil
}
