package keystore

import (
	"context"
	"fmt"
	"slices"
	"time"

	"kmipd/keystore/audit"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
	"kmipd/metadata"
)

// What an administrator does to clients' objects: list and delete templates and secret data, and update attributes, as
// the administrator of the key server can who is not a KMIP client. Changes take the locks, rules and commit order of the
// clients' operations. Errors are for the administrator to read.

// ObjectInfo is a managed object as an administrator sees it: never any material.
type ObjectInfo struct {
	UID        string          `json:"unique_identifier"`
	Type       string          `json:"object_type"`
	Client     string          `json:"client"`
	User       string          `json:"user,omitempty"`
	Names      []string        `json:"names"`
	State      string          `json:"state,omitempty"`
	SecretType string          `json:"secret_data_type,omitempty"`
	Bits       int             `json:"cryptographic_length,omitempty"`
	Created    time.Time       `json:"created"`
	Attributes []AttributeInfo `json:"attributes,omitempty"`
	// Dependents are other objects that a link ties to this one.
	Dependents []string `json:"dependents,omitempty"`
}

// AttributeInfo is an attribute instance in words.
type AttributeInfo struct {
	Name  string `json:"name"`
	Index int32  `json:"index"`
	Value string `json:"value"`
}

// Objects lists the live objects of a type, those of one client or of all ("").
func (s *Store) Objects(ctx context.Context, t kmip.ObjectType, client string) ([]ObjectInfo, error) {
	out := []ObjectInfo{}
	now := s.cfg.Clock().UTC()
	err := s.meta.Records(ctx, func(rec *metadata.Record) error {
		if rec.ObjectType == t && rec.Phase == metadata.PhaseLive && (client == "" || rec.Owner == client) {
			out = append(out, object{rec}.info(now))
		}
		return nil
	})
	slices.SortStableFunc(out, func(a, b ObjectInfo) int { return a.Created.Compare(b.Created) })
	return out, err
}

// Object describes the object that an administrator names by Unique Identifier or Name, with attributes and dependents.
// t is the type that it must have, 0 for any.
func (s *Store) Object(ctx context.Context, ref, client string, t kmip.ObjectType) (*ObjectInfo, error) {
	o, err := s.chosen(ctx, ref, client, t)
	if err != nil {
		return nil, err
	}
	now := s.cfg.Clock().UTC()
	info := o.info(now)
	o.view(kmip.V1_4, now, func(name string, index int32, v ttlv.Item) {
		info.Attributes = append(info.Attributes, AttributeInfo{name, index, inWords(ruleOf(name), v)})
	})
	info.Dependents, err = s.dependents(ctx, o)
	return &info, err
}

func (o object) info(now time.Time) ObjectInfo {
	info := ObjectInfo{UID: o.UID, Type: o.ObjectType.String(), Client: o.Owner, User: o.User, Names: append([]string{}, o.Names()...), Created: o.Created}
	if o.ObjectType != kmip.ObjectTypeTemplate {
		info.State, info.Bits = o.state(now).String(), o.length()
	}
	var sd kmip.SecretData
	if f, err := o.frame(); o.ObjectType == kmip.ObjectTypeSecretData && err == nil && sd.Decode(f.object) == nil {
		info.SecretType = sd.SecretDataType.String()
	}
	return info
}

// chosen finds an object by Unique Identifier or, where no object has that, by Name: of one client, or the only one.
func (s *Store) chosen(ctx context.Context, ref, client string, t kmip.ObjectType) (object, error) {
	rec, err := s.meta.Get(ctx, ref)
	if isNotFound(err) || err == nil && client != "" && rec.Owner != client {
		rec, err = s.byAnyName(ctx, ref, client)
	}
	switch {
	case err != nil:
		return object{}, err
	case t != 0 && rec.ObjectType != t:
		return object{}, fmt.Errorf("%q is a %s, not a %s", ref, rec.ObjectType, t)
	case rec.Phase != metadata.PhaseLive:
		return object{}, fmt.Errorf("%q is destroyed", ref)
	}
	return object{rec}, nil
}

func (s *Store) byAnyName(ctx context.Context, name, client string) (*metadata.Record, error) {
	owners := []string{client}
	if client == "" {
		// Objects of removed clients stay, so the records say who owns any.
		owners = nil
		err := s.meta.Records(ctx, func(rec *metadata.Record) error {
			if rec.Phase == metadata.PhaseLive && slices.Contains(rec.Names(), name) {
				owners = append(owners, rec.Owner)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if len(owners) > 1 {
		return nil, fmt.Errorf("objects of several clients have the Name %q: give the Unique Identifier, or --client with one of %q", name, owners)
	}
	for _, owner := range owners {
		uid, err := s.meta.ByName(ctx, owner, name)
		if isNotFound(err) {
			continue
		} else if err != nil {
			return nil, err
		}
		return s.meta.Get(ctx, uid)
	}
	return nil, fmt.Errorf("no object has the Unique Identifier or Name %q", name)
}

// dependents are the live objects of the same client whose links name the object. Objects made from a Template do not
// depend on it: they have copies of its attributes (KMIP 1.4 section 2.2.6).
func (s *Store) dependents(ctx context.Context, o object) ([]string, error) {
	var out []string
	err := s.meta.Records(ctx, func(rec *metadata.Record) error {
		if rec.Owner != o.Owner || rec.Phase != metadata.PhaseLive || rec.UID == o.UID {
			return nil
		}
		for _, a := range rec.Attributes {
			var l kmip.Link
			if a.Name == "Link" && l.Decode(a.Value) == nil && l.LinkedObjectIdentifier == o.UID {
				out = append(out, fmt.Sprintf("%s %s (%s)", rec.ObjectType, rec.UID, l.LinkType))
			}
		}
		return nil
	})
	return out, err
}

// asOwner runs a change to an object of a client in a transaction of its own, with the rights of the object's owner and
// those that only the administrator has.
func (s *Store) asOwner(ctx context.Context, o object, e audit.Event, change func(context.Context, *kmip.Call) error) error {
	e.Client, e.User = o.Owner, o.User
	t := &tx{s: s, administrator: true, item: doing{by: e}}
	call := &kmip.Call{Version: kmip.V1_4, Caller: kmip.Caller{Client: o.Owner, User: o.User}, Now: s.cfg.Clock().UTC(), Target: o.UID, Tx: t}
	ctx, cancel := context.WithTimeout(ctx, finishTimeout)
	defer cancel()
	err := change(ctx, call)
	if err == nil {
		err = t.Commit(ctx)
	}
	if undone := t.Rollback(context.WithoutCancel(ctx), 0); err == nil {
		err = undone
	}
	return err
}

// DeleteObject destroys a Template or Secret Data at the administrator's word, which holds even where clients must not
// destroy. An Active object is revoked first (Cessation of Operation), as the state model asks (KMIP 1.4 section 3.22).
func (s *Store) DeleteObject(ctx context.Context, ref, client string, t kmip.ObjectType) error {
	o, err := s.chosen(ctx, ref, client, t)
	if err != nil {
		return err
	}
	return s.asOwner(ctx, o, ofAdministrator("delete "+t.String()), func(ctx context.Context, call *kmip.Call) error {
		if t != kmip.ObjectTypeTemplate && o.state(call.Now) == kmip.StateActive {
			reason := kmip.RevocationReason{RevocationReasonCode: kmip.RevocationReasonCodeCessationOfOperation}
			if _, err := s.Revoke(ctx, call, &kmip.RevokeRequest{RevocationReason: reason}); err != nil {
				return err
			}
		}
		_, err := s.Destroy(ctx, call, &kmip.DestroyRequest{})
		return err
	})
}

// AttributeUpdate is a change to one attribute of an object. Value is in the words of ParseAttribute.
type AttributeUpdate struct {
	Object    string `json:"object"`           // Unique Identifier or Name
	Client    string `json:"client,omitempty"` // whose object
	Attribute string `json:"attribute"`
	Value     string `json:"value,omitempty"`
	Index     *int32 `json:"index,omitempty"` // the instance; nil for the only one
	// Add adds another instance, and Delete deletes one, instead of setting.
	Add    bool `json:"add,omitempty"`
	Delete bool `json:"delete,omitempty"`
}

// UpdateAttribute applies a change under the rules for clients (KMIP 1.4 sections 3, 4.14 to 4.16). It may set server
// attributes (y-), too; a Process Start or Protect Stop Date before now becomes now, and one that has come stays.
func (s *Store) UpdateAttribute(ctx context.Context, u AttributeUpdate) (*AttributeInfo, error) {
	if !updatable(u.Attribute) {
		return nil, fmt.Errorf("%s is not among the attributes that an administrator updates", shown(u.Attribute))
	}
	o, err := s.chosen(ctx, u.Object, u.Client, 0)
	if err != nil {
		return nil, err
	}
	var out kmip.Attribute
	err = s.asOwner(ctx, o, ofAdministrator("update attribute", fact("attribute", u.Attribute)), func(ctx context.Context, call *kmip.Call) error {
		if u.Delete {
			resp, err := s.DeleteAttribute(ctx, call, &kmip.DeleteAttributeRequest{AttributeName: u.Attribute, AttributeIndex: u.Index})
			if err == nil {
				out = resp.Attribute
			}
			return err
		}
		v, err := ParseAttribute(u.Attribute, u.Value, call.Now)
		if err != nil {
			return err
		}
		out, err = s.setAttribute(ctx, call, o, u, v)
		return err
	})
	if err != nil {
		return nil, err
	}
	info := &AttributeInfo{Name: u.Attribute, Value: inWords(ruleOf(u.Attribute), out.AttributeValue)}
	if out.AttributeIndex != nil {
		info.Index = *out.AttributeIndex
	}
	return info, nil
}

// setAttribute adds the attribute where there is none, and else modifies the instance.
func (s *Store) setAttribute(ctx context.Context, call *kmip.Call, o object, u AttributeUpdate, v ttlv.Item) (kmip.Attribute, error) {
	a := kmip.Attribute{AttributeName: u.Attribute, AttributeIndex: u.Index, AttributeValue: v}
	n := o.count(u.Attribute)
	switch {
	case u.Add || n == 0 && u.Index == nil:
		a.AttributeIndex = nil
		resp, err := s.AddAttribute(ctx, call, &kmip.AddAttributeRequest{Attribute: a})
		if err != nil {
			return a, err
		}
		return resp.Attribute, nil
	case n > 1 && u.Index == nil:
		return a, fmt.Errorf("%s has %d instances: choose one with --index, or add another with --add", shown(u.Attribute), n)
	case u.Index == nil:
		i := slices.IndexFunc(o.Attributes, func(a metadata.Attribute) bool { return a.Name == u.Attribute })
		a.AttributeIndex = &o.Attributes[i].Index
	}
	resp, err := s.ModifyAttribute(ctx, call, &kmip.ModifyAttributeRequest{Attribute: a})
	if err != nil {
		return a, err
	}
	return resp.Attribute, nil
}

// updatable are the attributes that an administrator updates.
func updatable(name string) bool {
	switch name {
	case "Name", "Application Specific Information", "Contact Information", "Cryptographic Parameters", "Link", "Object Group",
		"Process Start Date", "Protect Stop Date", "Usage Limits":
		return true
	}
	return custom(name) && len(name) > len("x-")
}
