package keystore

import (
	"context"
	"slices"
	"time"

	"kmipd/hsm"
	"kmipd/kmip"
	"kmipd/metadata"
)

// replaced is an object that a new one takes the place of.
type replaced struct {
	object
	before *metadata.Record // as it was
}

// ReKey makes a replacement for a symmetric key on the token: the new key gets the Name and the attributes, both get
// links to each other, and the old key keeps its State (KMIP 1.4 section 4.4).
func (s *Store) ReKey(ctx context.Context, call *kmip.Call, req *kmip.ReKeyRequest) (*kmip.ReKeyResponse, error) {
	old, err := txOf(call).change(ctx, call)
	if err != nil {
		return nil, err
	}
	if old.ObjectType != kmip.ObjectTypeSymmetricKey {
		return nil, denied("a %s cannot be re-keyed", old.ObjectType)
	}
	if err := old.replaceable(); err != nil {
		return nil, err
	}
	levels, err := s.levels(ctx, call, req.TemplateAttribute, false)
	if err != nil {
		return nil, err
	}
	o, gone, err := s.replacement(call, old, levels, req.Offset)
	if err != nil {
		return nil, err
	}
	if err := s.generate(ctx, call, kmip.OperationReKey, o, gone); err != nil {
		return nil, err
	}
	return &kmip.ReKeyResponse{UniqueIdentifier: o.UID}, nil
}

// replaceable refuses what cannot be re-keyed: destroyed objects, keys whose value is elsewhere, and keys that have a
// replacement already, as that one has their Name.
func (o object) replaceable() error {
	switch {
	case o.archived():
		return isArchived()
	case !o.live():
		return denied("the object is destroyed")
	case o.Handle.Class == 0:
		return kmip.Errorf(kmip.ResultReasonKeyValueNotPresent, "the key's value is not on this server")
	case o.linked(kmip.LinkTypeReplacementObjectLink) != "":
		return denied("the key has a replacement already")
	}
	return nil
}

// replacement starts the record of a replacement: what the request sets, then what the old object has.
func (s *Store) replacement(call *kmip.Call, old object, levels []level, offset *uint32) (object, replaced, error) {
	o := s.newRecord(call, old.ObjectType)
	if err := checkOffset(levels, offset, old); err != nil {
		return o, replaced{}, err
	}
	gone := replaced{object: old, before: old.Clone()}
	kept := level{shared: true}
	for _, a := range old.Attributes {
		if inherited(a.Name) && !s.laxer(call, old, a) && !(offset != nil && lifeDate(a.Name)) {
			a.Value = a.Value.Clone()
			kept.attrs = append(kept.attrs, a)
		}
	}
	// What the old object has comes first among the instances; what the request adds, behind it.
	if err := o.apply([]level{{shared: true, attrs: multiOnly(kept.attrs)}}); err != nil {
		return o, gone, err
	}
	if err := o.apply(append(levels, kept)); err != nil {
		return o, gone, err
	}
	if offset != nil {
		o.shiftDates(call.Now, old, *offset)
	}
	o.link(kmip.LinkTypeReplacedObjectLink, old.UID)
	old.Attributes = slices.DeleteFunc(old.Attributes, func(a metadata.Attribute) bool { return a.Name == "Name" })
	old.link(kmip.LinkTypeReplacementObjectLink, o.UID)
	old.changed(call.Now)
	return o, gone, nil
}

// multiOnly are the instances of multi-instance attributes.
func multiOnly(in []metadata.Attribute) []metadata.Attribute {
	var out []metadata.Attribute
	for _, a := range in {
		if r := ruleOf(a.Name); r != nil && r.multi {
			out = append(out, a)
		}
	}
	return out
}

// inherited tells the attributes that a replacement takes over (KMIP 1.4 Table 173). The rest is new or not set.
func inherited(name string) bool {
	switch name {
	case "Link", "Digest", "Fresh", "Random Number Generator", "Original Creation Date", "Key Value Location":
		return false
	}
	r := ruleOf(name)
	return r != nil && (r.set != byServer)
}

func lifeDate(name string) bool {
	switch name {
	case "Activation Date", "Process Start Date", "Protect Stop Date", "Deactivation Date":
		return true
	}
	return false
}

// checkOffset: an Offset does not go with dates in the request, nor with dates of the old key that have no Activation
// Date to count from (KMIP 1.4 section 11.5).
func checkOffset(levels []level, offset *uint32, old object) error {
	if offset == nil {
		return nil
	}
	for _, l := range levels {
		for _, a := range l.attrs {
			if lifeDate(a.Name) {
				return kmip.Errorf(kmip.ResultReasonInvalidMessage, "Offset must not be given together with %s", a.Name)
			}
		}
	}
	if !old.date("Activation Date").IsZero() {
		return nil
	}
	for _, name := range []string{"Process Start Date", "Protect Stop Date", "Deactivation Date"} {
		if !old.date(name).IsZero() {
			return illegal("Offset needs an Activation Date of the existing key, which has a %s", name)
		}
	}
	return nil
}

// shiftDates sets the dates of a replacement by KMIP 1.4 Table 172.
func (o object) shiftDates(now time.Time, old object, offset uint32) {
	activation := now.Add(time.Duration(offset) * time.Second)
	o.put("Activation Date", timeValue(activation))
	from := old.date("Activation Date")
	if from.IsZero() {
		return
	}
	shift := activation.Sub(from)
	for _, name := range []string{"Process Start Date", "Protect Stop Date", "Deactivation Date"} {
		if d := old.date(name); !d.IsZero() {
			o.put(name, timeValue(d.Add(shift)))
		}
	}
}

// ReKeyKeyPair makes a replacement for a key pair (KMIP 1.4 section 4.5). The target is the private key.
func (s *Store) ReKeyKeyPair(ctx context.Context, call *kmip.Call, req *kmip.ReKeyKeyPairRequest) (*kmip.ReKeyKeyPairResponse, error) {
	oldPriv, oldPub, err := s.oldPair(ctx, call)
	if err != nil {
		return nil, err
	}
	common, err := s.levels(ctx, call, req.CommonTemplateAttribute, true)
	if err != nil {
		return nil, err
	}
	halves := [2]object{}
	gone := make([]replaced, 2)
	for i, h := range []struct {
		old object
		ta  *kmip.TemplateAttribute
	}{{oldPriv, req.PrivateKeyTemplateAttribute}, {oldPub, req.PublicKeyTemplateAttribute}} {
		own, err := s.levels(ctx, call, h.ta, false)
		if err != nil {
			return nil, err
		}
		if halves[i], gone[i], err = s.replacement(call, h.old, append(own, common...), req.Offset); err != nil {
			return nil, err
		}
		if err := halves[i].checkDates(); err != nil {
			return nil, err
		}
	}
	if err := s.generatePair(ctx, call, kmip.OperationReKeyKeyPair, halves[0], halves[1], gone...); err != nil {
		return nil, err
	}
	return &kmip.ReKeyKeyPairResponse{PrivateKeyUniqueIdentifier: halves[0].UID, PublicKeyUniqueIdentifier: halves[1].UID}, nil
}

// oldPair locks the private key that a request names and the public key that it links to.
func (s *Store) oldPair(ctx context.Context, call *kmip.Call) (priv, pub object, err error) {
	t := txOf(call)
	if priv, err = t.change(ctx, call); err != nil {
		return
	}
	if priv.ObjectType != kmip.ObjectTypePrivateKey {
		return priv, pub, denied("a %s cannot be re-keyed as a key pair", priv.ObjectType)
	}
	if err = priv.replaceable(); err != nil {
		return
	}
	uid := priv.linked(kmip.LinkTypePublicKeyLink)
	if uid == "" {
		return priv, pub, denied("the private key has no link to its public key")
	}
	other := *call
	other.Target = uid
	if pub, err = t.change(ctx, &other); err != nil {
		return
	}
	if pub.ObjectType != kmip.ObjectTypePublicKey || pub.Handle.Class != uint8(hsm.ClassPublicKey) {
		return priv, pub, denied("the private key's link names no public key on this server")
	}
	return priv, pub, pub.replaceable()
}
