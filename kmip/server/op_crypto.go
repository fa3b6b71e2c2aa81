package server

import (
	"context"
	"time"

	"kmipd/kmip"
)

// cryptoLimit is the time limit of a cryptographic operation. RSA on a busy token is the slowest of them.
const cryptoLimit = 15 * time.Second

// needData: "Data is always required in cryptographic operations except when either Init Indicator or Final Indicator is
// true" (KMIP 1.4 section 4): the first and the last part of a stream can do without, a whole operation cannot.
func needData(op string, data, correlation []byte, init, final *bool) error {
	first, last := init != nil && *init, final != nil && *final
	if data != nil || first && !last || last && correlation != nil {
		return nil
	}
	return kmip.Errorf(kmip.ResultReasonInvalidMessage, "Data is missing from %s", op)
}

// needDataOrDigest is needData for signatures.
func needDataOrDigest(op string, data, digest, correlation []byte, init, final *bool) error {
	if digest == nil {
		return needData(op, data, correlation, init, final)
	}
	if data != nil {
		return kmip.Errorf(kmip.ResultReasonInvalidField, "Data and Digested Data must not stand together in %s", op)
	}
	return nil
}

// Encrypt (KMIP 1.4 section 4.29, errors 11.30).
var opEncrypt = row[kmip.EncryptRequest, kmip.EncryptResponse]{
	Code: kmip.OperationEncrypt, Limit: cryptoLimit,
	Target: func(r *kmip.EncryptRequest) *string { return r.UniqueIdentifier },
	Check: func(r *kmip.EncryptRequest) error {
		return needData("Encrypt", r.Data, r.CorrelationValue, r.InitIndicator, r.FinalIndicator)
	},
	Run: func(ctx context.Context, c *call, r *kmip.EncryptRequest) (*kmip.EncryptResponse, error) {
		return c.Keys.Encrypt(ctx, &c.Call, r)
	},
}

// Decrypt (KMIP 1.4 section 4.30, errors 11.31).
var opDecrypt = row[kmip.DecryptRequest, kmip.DecryptResponse]{
	Code: kmip.OperationDecrypt, Limit: cryptoLimit,
	Target: func(r *kmip.DecryptRequest) *string { return r.UniqueIdentifier },
	Check: func(r *kmip.DecryptRequest) error {
		return needData("Decrypt", r.Data, r.CorrelationValue, r.InitIndicator, r.FinalIndicator)
	},
	Run: func(ctx context.Context, c *call, r *kmip.DecryptRequest) (*kmip.DecryptResponse, error) {
		return c.Keys.Decrypt(ctx, &c.Call, r)
	},
}

// Sign (KMIP 1.4 section 4.31, errors 11.32).
var opSign = row[kmip.SignRequest, kmip.SignResponse]{
	Code: kmip.OperationSign, Limit: cryptoLimit,
	Target: func(r *kmip.SignRequest) *string { return r.UniqueIdentifier },
	Check: func(r *kmip.SignRequest) error {
		return needDataOrDigest("Sign", r.Data, r.DigestedData, r.CorrelationValue, r.InitIndicator, r.FinalIndicator)
	},
	Run: func(ctx context.Context, c *call, r *kmip.SignRequest) (*kmip.SignResponse, error) {
		return c.Keys.Sign(ctx, &c.Call, r)
	},
}

// Signature Verify (KMIP 1.4 section 4.32, errors 11.33). Data is optional there for the sake of signatures that hold it;
// none of this server does.
var opSignatureVerify = row[kmip.SignatureVerifyRequest, kmip.SignatureVerifyResponse]{
	Code: kmip.OperationSignatureVerify, Limit: cryptoLimit,
	Target: func(r *kmip.SignatureVerifyRequest) *string { return r.UniqueIdentifier },
	Check: func(r *kmip.SignatureVerifyRequest) error {
		return needDataOrDigest("Signature Verify", r.Data, r.DigestedData, r.CorrelationValue, r.InitIndicator, r.FinalIndicator)
	},
	Run: func(ctx context.Context, c *call, r *kmip.SignatureVerifyRequest) (*kmip.SignatureVerifyResponse, error) {
		return c.Keys.SignatureVerify(ctx, &c.Call, r)
	},
}

// MAC (KMIP 1.4 section 4.33, errors 11.34).
var opMAC = row[kmip.MACRequest, kmip.MACResponse]{
	Code: kmip.OperationMAC, Limit: cryptoLimit,
	Target: func(r *kmip.MACRequest) *string { return r.UniqueIdentifier },
	Check: func(r *kmip.MACRequest) error {
		return needData("MAC", r.Data, r.CorrelationValue, r.InitIndicator, r.FinalIndicator)
	},
	Run: func(ctx context.Context, c *call, r *kmip.MACRequest) (*kmip.MACResponse, error) {
		return c.Keys.MAC(ctx, &c.Call, r)
	},
}

// MAC Verify (KMIP 1.4 section 4.34, errors 11.35).
var opMACVerify = row[kmip.MACVerifyRequest, kmip.MACVerifyResponse]{
	Code: kmip.OperationMACVerify, Limit: cryptoLimit,
	Target: func(r *kmip.MACVerifyRequest) *string { return r.UniqueIdentifier },
	Check: func(r *kmip.MACVerifyRequest) error {
		return needData("MAC Verify", r.Data, r.CorrelationValue, r.InitIndicator, r.FinalIndicator)
	},
	Run: func(ctx context.Context, c *call, r *kmip.MACVerifyRequest) (*kmip.MACVerifyResponse, error) {
		return c.Keys.MACVerify(ctx, &c.Call, r)
	},
}

// RNG Retrieve (KMIP 1.4 section 4.35, errors 11.36).
var opRNGRetrieve = row[kmip.RNGRetrieveRequest, kmip.RNGRetrieveResponse]{
	Code: kmip.OperationRNGRetrieve, Limit: cryptoLimit,
	Run: func(ctx context.Context, c *call, r *kmip.RNGRetrieveRequest) (*kmip.RNGRetrieveResponse, error) {
		return c.Keys.RNGRetrieve(ctx, &c.Call, r)
	},
}

// RNG Seed (KMIP 1.4 section 4.36, errors 11.37).
var opRNGSeed = row[kmip.RNGSeedRequest, kmip.RNGSeedResponse]{
	Code: kmip.OperationRNGSeed, Limit: cryptoLimit,
	Run: func(ctx context.Context, c *call, r *kmip.RNGSeedRequest) (*kmip.RNGSeedResponse, error) {
		return c.Keys.RNGSeed(ctx, &c.Call, r)
	},
}

// Hash (KMIP 1.4 section 4.37, errors 11.38).
var opHash = row[kmip.HashRequest, kmip.HashResponse]{
	Code: kmip.OperationHash, Limit: cryptoLimit,
	Check: func(r *kmip.HashRequest) error {
		return needData("Hash", r.Data, r.CorrelationValue, r.InitIndicator, r.FinalIndicator)
	},
	Run: func(ctx context.Context, c *call, r *kmip.HashRequest) (*kmip.HashResponse, error) {
		return c.Keys.Hash(ctx, &c.Call, r)
	},
}
