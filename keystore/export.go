package keystore

import (
	"context"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// Export returns an object with all its attributes (KMIP 1.4 section 4.40). The object leaves by the rules of Get; of a
// destroyed one only the attributes are left.
func (s *Store) Export(ctx context.Context, call *kmip.Call, req *kmip.ExportRequest) (*kmip.ExportResponse, error) {
	o, err := s.target(ctx, call)
	if err != nil {
		return nil, err
	}
	resp := &kmip.ExportResponse{ObjectType: o.ObjectType, UniqueIdentifier: o.UID}
	if o.live() {
		got, err := s.give(ctx, call, o, &kmip.GetRequest{KeyFormatType: req.KeyFormatType, KeyWrapType: req.KeyWrapType,
			KeyCompressionType: req.KeyCompressionType, KeyWrappingSpecification: req.KeyWrappingSpecification})
		if got == nil {
			return nil, err
		}
		resp.Certificate, resp.SymmetricKey, resp.PrivateKey, resp.PublicKey = got.Certificate, got.SymmetricKey, got.PrivateKey, got.PublicKey
		resp.SplitKey, resp.Template, resp.SecretData = got.SplitKey, got.Template, got.SecretData
		resp.OpaqueObject, resp.PGPKey = got.OpaqueObject, got.PGPKey
		if err != nil {
			return resp, err // with what the caller must wipe
		}
		if o.flag("Fresh") {
			o.put("Fresh", boolValue(false)) // as the object is now that it has been given out
		}
	}
	o.view(call.Version, call.Now, func(name string, index int32, v ttlv.Item) {
		resp.Attribute = append(resp.Attribute, instance(name, index, v))
	})
	return resp, nil
}
