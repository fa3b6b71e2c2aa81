package server

import (
	"context"
	"time"

	"kmipd/kmip"
)

// Register (KMIP 1.4 section 4.3, errors 11.4).
var opRegister = row[kmip.RegisterRequest, kmip.RegisterResponse]{
	Code: kmip.OperationRegister, Limit: 30 * time.Second, Places: true,
	Check: func(r *kmip.RegisterRequest) error {
		if err := checkObjectType(r.ObjectType); err != nil {
			return err
		}
		if err := checkRegistered(r); err != nil {
			return err
		}
		return checkTemplates(&r.TemplateAttribute)
	},
	Run: func(ctx context.Context, c *call, r *kmip.RegisterRequest) (*kmip.RegisterResponse, error) {
		resp, err := c.Keys.Register(ctx, &c.Call, r)
		if err == nil && resp != nil {
			c.place(resp.UniqueIdentifier)
		}
		return resp, err
	},
}

// checkRegistered: exactly the one object that Object Type names is in the request.
func checkRegistered(r *kmip.RegisterRequest) error {
	n, match := 0, false
	for _, o := range []struct {
		typ     kmip.ObjectType
		present bool
	}{
		{kmip.ObjectTypeCertificate, r.Certificate != nil},
		{kmip.ObjectTypeSymmetricKey, r.SymmetricKey != nil},
		{kmip.ObjectTypePrivateKey, r.PrivateKey != nil},
		{kmip.ObjectTypePublicKey, r.PublicKey != nil},
		{kmip.ObjectTypeSplitKey, r.SplitKey != nil},
		{kmip.ObjectTypeTemplate, r.Template != nil},
		{kmip.ObjectTypeSecretData, r.SecretData != nil},
		{kmip.ObjectTypeOpaqueObject, r.OpaqueObject != nil},
		{kmip.ObjectTypePGPKey, r.PGPKey != nil},
	} {
		if o.present {
			n++
			match = match || o.typ == r.ObjectType
		}
	}
	switch {
	case n == 0:
		return kmip.Errorf(kmip.ResultReasonInvalidMessage, "the request lacks the object that it is about")
	case n > 1:
		return kmip.Errorf(kmip.ResultReasonInvalidField, "the request must have one object, not %d", n)
	case !match:
		return kmip.Errorf(kmip.ResultReasonInvalidField, "the object is not of Object Type %s", r.ObjectType)
	}
	if r.Template != nil {
		return checkAttributes(r.Template.Attribute)
	}
	return nil
}
