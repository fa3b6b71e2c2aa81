package server

import (
	"context"
	"time"

	"kmipd/kmip"
)

// Locate (KMIP 1.4 section 4.9). Attribute Index values are ignored, so they are not checked either. The ID Placeholder
// is set by exactly one identifier in the answer and emptied otherwise.
var opLocate = row[kmip.LocateRequest, kmip.LocateResponse]{
	Code: kmip.OperationLocate, Limit: 30 * time.Second, Places: true, Async: asyncPoll,
	Check: func(r *kmip.LocateRequest) error {
		if r.MaximumItems != nil && *r.MaximumItems < 0 {
			return kmip.Errorf(kmip.ResultReasonInvalidField, "Maximum Items is negative")
		}
		if r.OffsetItems != nil && *r.OffsetItems < 0 {
			return kmip.Errorf(kmip.ResultReasonInvalidField, "Offset Items is negative")
		}
		if r.ObjectGroupMember != 0 && !r.ObjectGroupMember.KnownIn(kmip.V1_4) {
			return kmip.Errorf(kmip.ResultReasonInvalidField, "Object Group Member has an unknown value")
		}
		lists := [][]kmip.Attribute{r.Attribute}
		if r.TemplateAttribute != nil {
			lists = append(lists, r.TemplateAttribute.Attribute)
		}
		for _, list := range lists {
			for i := range list {
				if list[i].AttributeValue.IsZero() {
					return checkAttribute(&list[i])
				}
			}
		}
		return nil
	},
	Run: func(ctx context.Context, c *call, r *kmip.LocateRequest) (*kmip.LocateResponse, error) {
		resp, err := c.Keys.Locate(ctx, &c.Call, r)
		if err != nil || resp == nil {
			return resp, err
		}
		// Located Items came with 1.3, as Offset Items did: in an older message only a client that pages knows it.
		if c.Version.Before(kmip.V1_3) && r.OffsetItems == nil {
			resp.LocatedItems = nil
		}
		c.place("")
		if len(resp.UniqueIdentifier) == 1 {
			c.place(resp.UniqueIdentifier[0])
		}
		return resp, nil
	},
}
