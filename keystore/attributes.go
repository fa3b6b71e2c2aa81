package keystore

import (
	"context"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
	"kmipd/metadata"
)

// AddAttribute adds an instance (KMIP 1.4 section 4.14).
func (s *Store) AddAttribute(ctx context.Context, call *kmip.Call, req *kmip.AddAttributeRequest) (*kmip.AddAttributeResponse, error) {
	name := req.Attribute.AttributeName
	r, err := s.changeable(call, name)
	if err != nil {
		return nil, err
	}
	o, before, err := s.beginChange(ctx, call)
	if err != nil {
		return nil, err
	}
	if r.types&typeBit(o.ObjectType) == 0 {
		return nil, denied("%s does not apply to a %s", shown(name), o.ObjectType)
	}
	v := req.Attribute.AttributeValue.Clone()
	if err := checkValue(r, name, v); err != nil {
		return nil, err
	}
	if err := s.allowAttribute(call, o, r, v); err != nil {
		return nil, err
	}
	if err := o.addable(r, name, call.Now); err != nil {
		return nil, err
	}
	var index int32
	if r.multi {
		if index, err = o.addNew(r, name, v); err != nil {
			return nil, err
		}
	} else {
		if v, err = o.settle(r, v); err != nil {
			return nil, err
		}
		o.put(name, v)
	}
	o.changed(call.Now)
	if err := txOf(call).save(ctx, o, before); err != nil {
		return nil, nameIllegal(err)
	}
	return &kmip.AddAttributeResponse{UniqueIdentifier: o.UID, Attribute: instance(name, index, v)}, nil
}

// changeable is the rule of an attribute that a client wants to change, if clients may at all.
func (s *Store) changeable(call *kmip.Call, name string) (*rule, error) {
	r := ruleOf(name)
	switch {
	case name == attrFIPSState:
		return nil, badField("%s is computed", attrFIPSState)
	case r == &serverCustomRule && txOf(call).administrator:
		return &customRule, nil // as a client's own, but for who sets them
	case r == nil:
		return nil, badField("%s is not an attribute", shown(name))
	case r == &serverCustomRule:
		return nil, badField("attributes that begin with y- are set by the server")
	case r.set == byServer:
		return nil, denied("%s is read-only", r.name)
	}
	return r, nil
}

// beginChange locks the target for an attribute change and refuses destroyed objects.
func (s *Store) beginChange(ctx context.Context, call *kmip.Call) (object, *metadata.Record, error) {
	o, err := txOf(call).change(ctx, call)
	if err != nil {
		return o, nil, err
	}
	if !o.live() {
		return o, nil, denied("the object is destroyed")
	}
	return o, o.Clone(), nil
}

// addable decides whether Add Attribute may set the attribute now.
func (o object) addable(r *rule, name string, now time.Time) error {
	if r.multi {
		return nil
	}
	if !o.get(name).IsZero() {
		return illegal("%s has a value; use Modify Attribute", shown(name))
	}
	if r.set == atCreation {
		return denied("%s can be set only when the object is made", r.name)
	}
	return o.dateOpen(r, now)
}

// addNew adds an instance of a multi-instance attribute; one with the same value must not be there.
func (o object) addNew(r *rule, name string, v ttlv.Item) (int32, error) {
	n := o.count(name)
	if n >= maxInstances || len(o.Attributes) >= maxAttributes {
		return 0, kmip.Errorf(kmip.ResultReasonIndexOutOfBounds, "%s has too many instances", shown(name))
	}
	if err := namespaceHasData(r, v); err != nil {
		return 0, err
	}
	for i := range o.Attributes {
		if o.Attributes[i].Name != name {
			continue
		}
		if r.tag == kmip.TagName && sameName(o.Attributes[i].Value, v) || o.Attributes[i].Value.Equal(v) {
			return 0, illegal("%s has this value already", shown(name))
		}
		if r == &customRule && o.Attributes[i].Value.Type != v.Type {
			return 0, badField("all instances of %s must have one type", shown(name))
		}
	}
	return o.add(name, v), nil
}

func sameName(a, b ttlv.Item) bool {
	return a.Find(kmip.TagNameValue).Equal(b.Find(kmip.TagNameValue))
}

// ModifyAttribute changes the value of an existing instance (KMIP 1.4 section 4.15).
func (s *Store) ModifyAttribute(ctx context.Context, call *kmip.Call, req *kmip.ModifyAttributeRequest) (*kmip.ModifyAttributeResponse, error) {
	name := req.Attribute.AttributeName
	r, err := s.changeable(call, name)
	if err != nil {
		return nil, err
	}
	o, before, err := s.beginChange(ctx, call)
	if err != nil {
		return nil, err
	}
	v := req.Attribute.AttributeValue.Clone()
	if err := checkValue(r, name, v); err != nil {
		return nil, err
	}
	if err := s.allowAttribute(call, o, r, v); err != nil {
		return nil, err
	}
	var index int32
	if req.Attribute.AttributeIndex != nil {
		index = *req.Attribute.AttributeIndex
	}
	if o.count(name) == 0 {
		return nil, badField("%s has no value; use Add Attribute", shown(name))
	}
	i := o.find(name, index)
	if i < 0 {
		return nil, kmip.Errorf(kmip.ResultReasonItemNotFound, "%s has no instance with this Attribute Index", shown(name))
	}
	if r.modify == byServer {
		return nil, denied("%s cannot be modified", r.name)
	}
	if err := o.modifiable(r, name, i, v, call.Now); err != nil {
		return nil, err
	}
	if v, err = o.settle(r, v); err != nil {
		return nil, err
	}
	o.Attributes[i].Value = v
	o.changed(call.Now)
	if err := txOf(call).save(ctx, o, before); err != nil {
		return nil, nameIllegal(err)
	}
	return &kmip.ModifyAttributeResponse{UniqueIdentifier: o.UID, Attribute: instance(name, index, v)}, nil
}

// modifiable applies the rules on changing the instance at i to v.
func (o object) modifiable(r *rule, name string, i int, v ttlv.Item, now time.Time) error {
	if err := o.dateOpen(r, now); err != nil {
		return err
	}
	switch r.tag {
	case kmip.TagSensitive:
		if o.flag("Sensitive") && !v.Bool() {
			return denied("Sensitive cannot be taken back")
		}
	case kmip.TagExtractable:
		if !extractable(o) && v.Bool() {
			return denied("Extractable cannot be given back")
		}
	case kmip.TagApplicationSpecificInformation:
		if err := namespaceHasData(r, v); err != nil {
			return err
		}
	}
	for j, a := range o.Attributes {
		if j == i || a.Name != name {
			continue
		}
		if r.tag == kmip.TagName && sameName(a.Value, v) {
			return illegal("the object has this Name already")
		}
		if r == &customRule && a.Value.Type != v.Type {
			return badField("all instances of %s must have one type", shown(name))
		}
	}
	return nil
}

// dateOpen: a date may be set and changed until it, or what it belongs to, has come (KMIP 1.4 sections 3.24 to 3.27).
func (o object) dateOpen(r *rule, now time.Time) error {
	if r.modify != untilDate || o.ObjectType == kmip.ObjectTypeTemplate {
		return nil
	}
	st := o.state(now)
	open := true
	switch r.tag {
	case kmip.TagActivationDate:
		open = st == kmip.StatePreActive
	case kmip.TagProcessStartDate, kmip.TagProtectStopDate:
		d := o.date(r.name)
		open = (st == kmip.StatePreActive || st == kmip.StateActive) && (d.IsZero() || d.After(now))
	case kmip.TagDeactivationDate:
		open = st == kmip.StatePreActive || st == kmip.StateActive
	case kmip.TagUsageLimits:
		open = !o.allocated()
	}
	if !open {
		return denied("%s cannot be changed any more", r.name)
	}
	return nil
}

// allocated tells that some of the Usage Limits has been used: they are fixed from then on (KMIP 1.4 section 3.21).
func (o object) allocated() bool {
	v := o.get("Usage Limits")
	var u kmip.UsageLimits
	return !v.IsZero() && u.Decode(v) == nil && u.UsageLimitsCount != nil && *u.UsageLimitsCount != u.UsageLimitsTotal
}

// settle turns the value that a client set into the one that is stored, and applies what follows from it.
func (o object) settle(r *rule, v ttlv.Item) (ttlv.Item, error) {
	switch r.tag {
	case kmip.TagActivationDate, kmip.TagDeactivationDate:
		activation, deactivation := o.date("Activation Date"), o.date("Deactivation Date")
		if r.tag == kmip.TagActivationDate {
			activation = v.Time()
		} else {
			deactivation = v.Time()
		}
		if !activation.IsZero() && !deactivation.IsZero() && deactivation.Before(activation) {
			return v, badField("Deactivation Date must not be before Activation Date")
		}
	case kmip.TagUsageLimits:
		var u kmip.UsageLimits
		if err := u.Decode(v); err != nil {
			return v, invalidField(r.name, err)
		}
		u.UsageLimitsCount = &u.UsageLimitsTotal
		v = structValue(&u)
	case kmip.TagSensitive:
		if !v.Bool() {
			o.put("Always Sensitive", boolValue(false))
		}
	case kmip.TagExtractable:
		if v.Bool() {
			o.put("Never Extractable", boolValue(false))
		}
	}
	return v, nil
}

// DeleteAttribute removes an instance and returns it (KMIP 1.4 section 4.16).
func (s *Store) DeleteAttribute(ctx context.Context, call *kmip.Call, req *kmip.DeleteAttributeRequest) (*kmip.DeleteAttributeResponse, error) {
	name := req.AttributeName
	if ruleOf(name) == nil {
		return nil, kmip.Errorf(kmip.ResultReasonItemNotFound, "%s is not an attribute", shown(name))
	}
	r, err := s.changeable(call, name)
	if err != nil {
		return nil, err
	}
	o, before, err := s.beginChange(ctx, call)
	if err != nil {
		return nil, err
	}
	if !r.delete {
		return nil, denied("%s cannot be deleted", r.name)
	}
	// KMIP 1.0 section 4.15 wants the index where there are several instances; later versions take 0.
	if req.AttributeIndex == nil && call.Version == kmip.V1_0 && o.count(name) > 1 {
		return nil, badField("%s has several instances; Attribute Index is needed", shown(name))
	}
	var index int32
	if req.AttributeIndex != nil {
		index = *req.AttributeIndex
	}
	i := o.find(name, index)
	if i < 0 {
		return nil, kmip.Errorf(kmip.ResultReasonItemNotFound, "%s has no such instance", shown(name))
	}
	if r.tag == kmip.TagUsageLimits && o.allocated() {
		return nil, denied("Usage Limits cannot be deleted after use")
	}
	gone := o.Attributes[i]
	o.remove(i)
	o.changed(call.Now)
	if err := txOf(call).save(ctx, o, before); err != nil {
		return nil, nameIllegal(err)
	}
	return &kmip.DeleteAttributeResponse{UniqueIdentifier: o.UID, Attribute: instance(name, index, gone.Value)}, nil
}
