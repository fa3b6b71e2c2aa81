package keystore

import (
	"context"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
	"kmipd/metadata"
)

// level is one rank of precedence among the attributes of a request: explicit ones, or those of its templates.
type level struct {
	attrs []metadata.Attribute // indexes disregarded
	// shared tells that the attributes are meant for more than one object (templates, Common Template-Attribute): one
	// that does not apply to the object type is passed over instead of refused.
	shared bool
}

// levels splits a Template-Attribute into its explicit attributes and those of the templates that it names, the last
// template first, as it takes precedence (KMIP 1.4 sections 2.1.8, 4.2). Values are copies.
func (s *Store) levels(ctx context.Context, call *kmip.Call, ta *kmip.TemplateAttribute, common bool) ([]level, error) {
	if ta == nil {
		return nil, nil
	}
	out := []level{{attrs: copied(ta.Attribute), shared: common}}
	for i := len(ta.Name) - 1; i >= 0; i-- {
		attrs, err := s.template(ctx, call, ta.Name[i].NameValue)
		if err != nil {
			return nil, err
		}
		out = append(out, level{attrs: attrs, shared: true})
	}
	return out, nil
}

func copied(in []kmip.Attribute) []metadata.Attribute {
	out := make([]metadata.Attribute, len(in))
	for i, a := range in {
		out[i] = metadata.Attribute{Name: a.AttributeName, Value: a.AttributeValue.Clone()}
	}
	return out
}

// template finds a Template by Name and returns the attributes that it gives to objects.
func (s *Store) template(ctx context.Context, call *kmip.Call, name string) ([]metadata.Attribute, error) {
	missing := kmip.Errorf(kmip.ResultReasonItemNotFound, "no template has the Name that the request gives")
	uid, err := s.meta.ByName(ctx, call.Caller.Client, name)
	if isNotFound(err) {
		return nil, missing
	} else if err != nil {
		return nil, toKMIP(err)
	}
	o, err := s.byUID(ctx, call, uid, "the template")
	if err != nil {
		return nil, err
	}
	if o.ObjectType != kmip.ObjectTypeTemplate {
		return nil, missing
	}
	return o.templateContent(), nil
}

// templateContent is what a Template gives to the objects made with it: everything but what makes the Template itself.
func (o object) templateContent() []metadata.Attribute {
	var out []metadata.Attribute
	for _, a := range o.Attributes {
		switch a.Name {
		case "Name", "Initial Date", "Last Change Date", "Operation Policy Name", "Original Creation Date":
			continue
		}
		out = append(out, a)
	}
	return out
}

// apply puts the attributes of a request on a new object: the first level that has a single-instance attribute wins, of
// multi-instance ones the union is taken.
func (o object) apply(levels []level) error {
	decided := map[string]bool{}
	for _, l := range levels {
		inLevel := map[string]bool{}
		for _, a := range l.attrs {
			r, err := settable(a.Name, o.ObjectType, l.shared)
			if err != nil {
				return err
			}
			if r == nil {
				continue
			}
			if err := checkValue(r, a.Name, a.Value); err != nil {
				return err
			}
			if !r.multi {
				if inLevel[a.Name] {
					return badField("%s must not stand more than once", shown(a.Name))
				}
				inLevel[a.Name] = true
				if !decided[a.Name] {
					o.put(a.Name, a.Value)
				}
				continue
			}
			if err := o.addInstance(r, a.Name, a.Value); err != nil {
				return err
			}
		}
		for name := range inLevel {
			decided[name] = true
		}
	}
	return nil
}

// settable is the rule of an attribute that a request sets on a new object; nil when it is to be passed over.
func settable(name string, t kmip.ObjectType, shared bool) (*rule, error) {
	r := ruleOf(name)
	switch {
	case r == nil:
		return nil, badField("%s is not an attribute", shown(name))
	case r == &serverCustomRule:
		return nil, badField("attributes that begin with y- are set by the server")
	case r.ignore:
		return nil, nil
	case r.set == byServer && shared:
		return nil, nil
	case r.set == byServer:
		return nil, badField("%s is set by the server", r.name)
	case r.types&typeBit(t) == 0 && shared:
		return nil, nil
	case r.types&typeBit(t) == 0:
		return nil, badField("%s does not apply to a %s", r.name, t)
	}
	return r, nil
}

// addInstance adds an instance of a multi-instance attribute unless the object has the same already.
func (o object) addInstance(r *rule, name string, v ttlv.Item) error {
	for i := range o.Attributes {
		if o.Attributes[i].Name != name {
			continue
		}
		if o.Attributes[i].Value.Equal(v) {
			return nil
		}
		if (r == &customRule) && o.Attributes[i].Value.Type != v.Type {
			return badField("all instances of %s must have one type", shown(name))
		}
	}
	if o.count(name) >= maxInstances || len(o.Attributes) >= maxAttributes {
		return kmip.Errorf(kmip.ResultReasonIndexOutOfBounds, "%s has too many instances", shown(name))
	}
	if err := namespaceHasData(r, v); err != nil {
		return err
	}
	o.add(name, v)
	return nil
}

// namespaceHasData: this server generates Application Data for no namespace (KMIP 1.4 section 3.36).
func namespaceHasData(r *rule, v ttlv.Item) error {
	if r.tag == kmip.TagApplicationSpecificInformation && v.Find(kmip.TagApplicationData).IsZero() {
		return kmip.Errorf(kmip.ResultReasonApplicationNamespaceNotSupported, "the server generates no Application Data for this namespace")
	}
	return nil
}
