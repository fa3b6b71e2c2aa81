package server

import (
	"context"
	"time"

	"kmipd/kmip"
)

// Create (KMIP 1.4 section 4.1, errors 11.2).
var opCreate = row[kmip.CreateRequest, kmip.CreateResponse]{
	Code: kmip.OperationCreate, Limit: 30 * time.Second, Places: true, Async: asyncHeld,
	Check: func(r *kmip.CreateRequest) error {
		if err := checkObjectType(r.ObjectType); err != nil {
			return err
		}
		return checkTemplates(&r.TemplateAttribute)
	},
	Run: func(ctx context.Context, c *call, r *kmip.CreateRequest) (*kmip.CreateResponse, error) {
		resp, err := c.Keys.Create(ctx, &c.Call, r)
		if err == nil && resp != nil {
			c.place(resp.UniqueIdentifier)
		}
		return resp, err
	},
}

// Create Key Pair (KMIP 1.4 section 4.2, errors 11.3). The ID Placeholder becomes the private key.
var opCreateKeyPair = row[kmip.CreateKeyPairRequest, kmip.CreateKeyPairResponse]{
	Code: kmip.OperationCreateKeyPair, Limit: 90 * time.Second, Places: true, Async: asyncRun,
	Check: func(r *kmip.CreateKeyPairRequest) error {
		return checkTemplates(r.CommonTemplateAttribute, r.PrivateKeyTemplateAttribute, r.PublicKeyTemplateAttribute)
	},
	Run: func(ctx context.Context, c *call, r *kmip.CreateKeyPairRequest) (*kmip.CreateKeyPairResponse, error) {
		resp, err := c.Keys.CreateKeyPair(ctx, &c.Call, r)
		if err == nil && resp != nil {
			c.place(resp.PrivateKeyUniqueIdentifier)
		}
		return resp, err
	},
}

// knownUpTo tells whether the version or an older one has the value: deprecated ones (Template since 1.3) are still
// understood.
func knownUpTo(v interface{ KnownIn(kmip.Version) bool }, ver kmip.Version) bool {
	for _, have := range kmip.Supported {
		if !ver.Before(have) && v.KnownIn(have) {
			return true
		}
	}
	return false
}

func checkObjectType(t kmip.ObjectType) error {
	if !knownUpTo(t, kmip.V1_4) {
		return kmip.Errorf(kmip.ResultReasonInvalidField, "Object Type has an unknown value")
	}
	return nil
}

func checkTemplates(list ...*kmip.TemplateAttribute) error {
	for _, t := range list {
		if t == nil {
			continue
		}
		if err := checkAttributes(t.Attribute); err != nil {
			return err
		}
	}
	return nil
}

// checkAttributes: only Notify sends an Attribute without value (KMIP 1.4 section 2.1.1).
func checkAttributes(list []kmip.Attribute) error {
	for i := range list {
		if err := checkAttribute(&list[i]); err != nil {
			return err
		}
	}
	return nil
}

func checkAttribute(a *kmip.Attribute) error {
	switch {
	case a.AttributeName == "":
		return kmip.Errorf(kmip.ResultReasonInvalidField, "Attribute Name is empty")
	case a.AttributeValue.IsZero():
		return kmip.Errorf(kmip.ResultReasonInvalidMessage, "Attribute Value is missing from attribute %s", clipName(a.AttributeName))
	}
	return checkIndex(a.AttributeIndex)
}

func checkIndex(index *int32) error {
	if index != nil && *index < 0 {
		return kmip.Errorf(kmip.ResultReasonInvalidField, "Attribute Index is negative")
	}
	return nil
}

func clipName(s string) string {
	if len(s) > 64 {
		return "(long name)"
	}
	return s
}
