package server

import (
	"context"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// Export (KMIP 1.4 section 4.40, errors 11.41).
var opExport = row[kmip.ExportRequest, kmip.ExportResponse]{
	Code: kmip.OperationExport, Limit: 15 * time.Second, Places: true,
	Target: func(r *kmip.ExportRequest) *string { return r.UniqueIdentifier },
	Run: func(ctx context.Context, c *call, r *kmip.ExportRequest) (*kmip.ExportResponse, error) {
		resp, err := c.Keys.Export(ctx, &c.Call, r)
		if err == nil && resp != nil {
			c.place(resp.UniqueIdentifier)
		}
		return resp, err
	},
}

// Import (KMIP 1.4 section 4.41, errors 11.42). It has no target: there need not be an object with the identifier, and
// whether the caller may replace one is for the keystore to say.
var opImport = row[kmip.ImportRequest, kmip.ImportResponse]{
	Code: kmip.OperationImport, Limit: 30 * time.Second, Places: true,
	Check: func(r *kmip.ImportRequest) error {
		if err := checkObjectType(r.ObjectType); err != nil {
			return err
		}
		if t := r.ReplaceExisting.Type; !r.ReplaceExisting.IsZero() && t != ttlv.Boolean {
			return kmip.Errorf(kmip.ResultReasonInvalidMessage, "Replace Existing in Import Request must not be of type %s", t)
		}
		if err := checkRegistered(&kmip.RegisterRequest{ObjectType: r.ObjectType, Certificate: r.Certificate, SymmetricKey: r.SymmetricKey,
			PrivateKey: r.PrivateKey, PublicKey: r.PublicKey, SplitKey: r.SplitKey, Template: r.Template, SecretData: r.SecretData,
			OpaqueObject: r.OpaqueObject, PGPKey: r.PGPKey}); err != nil {
			return err
		}
		return checkAttributes(r.Attribute)
	},
	Run: func(ctx context.Context, c *call, r *kmip.ImportRequest) (*kmip.ImportResponse, error) {
		resp, err := c.Keys.Import(ctx, &c.Call, r)
		if err == nil && resp != nil {
			c.place(resp.UniqueIdentifier)
		}
		return resp, err
	},
}

// exported is the object in Export's response, for what is done to the one in Get's.
func exported(r *kmip.ExportResponse) *kmip.GetResponse {
	if r == nil {
		return nil
	}
	return &kmip.GetResponse{Certificate: r.Certificate, SymmetricKey: r.SymmetricKey, PrivateKey: r.PrivateKey, PublicKey: r.PublicKey,
		SplitKey: r.SplitKey, SecretData: r.SecretData, OpaqueObject: r.OpaqueObject, PGPKey: r.PGPKey}
}
