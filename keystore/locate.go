package keystore

import (
	"context"
	"slices"
	"time"

	"kmipd/fips"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
	"kmipd/metadata"
)

// Locate finds the caller's objects that have all the attributes of the request (KMIP 1.4 section 4.9), newest first.
// The indexes lead; what they do not decide (State, dates, masks, partial structures) is decided on the records.
func (s *Store) Locate(ctx context.Context, call *kmip.Call, req *kmip.LocateRequest) (*kmip.LocateResponse, error) {
	attrs := req.Attribute
	if req.TemplateAttribute != nil {
		// Some clients put the filters where Create has them.
		if len(req.TemplateAttribute.Name) > 0 {
			return nil, badField("Locate takes no templates")
		}
		attrs = append(attrs[:len(attrs):len(attrs)], req.TemplateAttribute.Attribute...)
	}
	f, err := newFilter(attrs, call)
	if pol := s.policyOf(call); pol.Strict() && err == nil {
		f.computeState(pol)
	}
	if err != nil {
		return nil, err
	}
	if req.MaximumItems != nil && *req.MaximumItems < 0 || req.OffsetItems != nil && *req.OffsetItems < 0 {
		return nil, badField("Maximum Items and Offset Items must not be negative")
	}
	f.storage = kmip.StorageStatusMaskOnLineStorage
	if req.StorageStatusMask != nil {
		f.storage = *req.StorageStatusMask
	}
	uids, total, err := s.search(ctx, call, req, f)
	if err != nil {
		return nil, err
	}
	return s.located(uids, total, req), nil
}

// located builds the answer. The total is told to clients that page (Offset Items), or that ask for nothing but it.
func (s *Store) located(uids []string, total int, req *kmip.LocateRequest) *kmip.LocateResponse {
	resp := &kmip.LocateResponse{UniqueIdentifier: uids}
	if counting(req) {
		n := int32(min(total, 1<<31-1))
		resp.LocatedItems = &n
	}
	return resp
}

func counting(req *kmip.LocateRequest) bool {
	return req.OffsetItems != nil || req.MaximumItems != nil && *req.MaximumItems == 0
}

func (s *Store) search(ctx context.Context, call *kmip.Call, req *kmip.LocateRequest, f *filter) ([]string, int, error) {
	if f.uid != "" && req.ObjectGroupMember == 0 {
		return s.searchUID(ctx, call, req, f)
	}
	q := metadata.Query{Owner: call.Caller.Client, Terms: f.terms, Max: -1, Count: counting(req)}
	q.Match = func(rec *metadata.Record) bool {
		o := object{rec}
		return visible(call.Caller, rec) && (f.uid == "" || f.uid == rec.UID) && f.match(o)
	}
	if req.MaximumItems != nil {
		q.Max = int(*req.MaximumItems)
	}
	if req.OffsetItems != nil {
		q.Offset = int(*req.OffsetItems)
	}
	switch req.ObjectGroupMember {
	case 0:
	case kmip.ObjectGroupMemberGroupMemberFresh:
		return s.searchFresh(ctx, call, f, q)
	case kmip.ObjectGroupMemberGroupMemberDefault:
		return s.searchDefault(ctx, call, f, q)
	default:
		return nil, 0, badField("Object Group Member is unknown")
	}
	res, err := s.meta.Locate(ctx, q)
	return res.UIDs, res.Total, toKMIP(err)
}

// visible: Locate passes over what the caller may not see. Certificates and public keys are seen by all users of the
// client (KMIP 1.4 section 3.18.2.2).
func visible(c kmip.Caller, rec *metadata.Record) bool {
	return owns(c, rec) == nil || rec.Owner == c.Client &&
		(rec.ObjectType == kmip.ObjectTypeCertificate || rec.ObjectType == kmip.ObjectTypePublicKey)
}

// searchUID answers a Locate by Unique Identifier: at most one object, and no index is needed.
func (s *Store) searchUID(ctx context.Context, call *kmip.Call, req *kmip.LocateRequest, f *filter) ([]string, int, error) {
	rec, err := s.meta.Get(ctx, f.uid)
	if isNotFound(err) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, toKMIP(err)
	}
	o := object{rec}
	if !visible(call.Caller, rec) || !o.live() || !f.match(o) {
		return nil, 0, nil
	}
	if req.OffsetItems != nil && *req.OffsetItems > 0 || req.MaximumItems != nil && *req.MaximumItems == 0 {
		return nil, 1, nil
	}
	return []string{f.uid}, 1, nil
}

// searchFresh finds members of a group that no Get has returned yet; for the configured group it makes one when none is
// left, unless Create wants the approval of an administrator that this Locate did not have.
func (s *Store) searchFresh(ctx context.Context, call *kmip.Call, f *filter, q metadata.Query) ([]string, int, error) {
	if f.group == "" {
		return nil, 0, badField("Object Group Member needs Object Group")
	}
	match := q.Match
	q.Oldest = true // keys are handed out in the order in which they came
	q.Match = func(rec *metadata.Record) bool { return object{rec}.flag("Fresh") && match(rec) }
	res, err := s.meta.Locate(ctx, q)
	if err != nil || len(res.UIDs) > 0 || res.Total > 0 || q.Max == 0 || s.cfg.FreshGroup == "" || f.group != s.cfg.FreshGroup {
		return res.UIDs, res.Total, toKMIP(err)
	}
	if s.Holds(kmip.OperationCreate) && !s.Holds(kmip.OperationLocate) {
		return nil, 0, nil
	}
	o := s.newRecord(call, kmip.ObjectTypeSymmetricKey)
	o.put("Cryptographic Algorithm", enumValue(kmip.CryptographicAlgorithmAES))
	o.put("Cryptographic Length", intValue(int32(256)))
	o.put("Cryptographic Usage Mask", intValue(kmip.CryptographicUsageMaskEncrypt|kmip.CryptographicUsageMaskDecrypt))
	o.add("Object Group", textValue(f.group))
	if !f.match(o) {
		return nil, 0, nil // the other filters want something that the server would not make
	}
	if err := s.generate(ctx, call, kmip.OperationLocate, o); err != nil {
		return nil, 0, err
	}
	return []string{o.UID}, 1, nil
}

// searchDefault goes round the group: the oldest member made after the one that Get last returned, else the oldest.
func (s *Store) searchDefault(ctx context.Context, call *kmip.Call, f *filter, q metadata.Query) ([]string, int, error) {
	if f.group == "" {
		return nil, 0, badField("Object Group Member needs Object Group")
	}
	if q.Max == 0 {
		res, err := s.meta.Locate(ctx, q)
		return nil, res.Total, toKMIP(err)
	}
	q.Oldest, q.Max, q.Offset, q.Count = true, 1, 0, false
	after := s.groups.after(call.Caller.Client, f.group)
	match := q.Match
	if after != 0 {
		q.Match = func(rec *metadata.Record) bool { return rec.Created.UnixNano() > after && match(rec) }
		res, err := s.meta.Locate(ctx, q)
		if err != nil || len(res.UIDs) > 0 {
			return res.UIDs, len(res.UIDs), toKMIP(err)
		}
		q.Match = match
	}
	res, err := s.meta.Locate(ctx, q)
	return res.UIDs, len(res.UIDs), toKMIP(err)
}

// filter is a Locate request made ready for matching.
type filter struct {
	now    time.Time
	terms  []metadata.Term
	conds  []cond
	uid    string       // wanted Unique Identifier, or ""
	group  string       // wanted Object Group, or ""
	policy *fips.Policy // that computes y-fips-state; nil where it is an attribute as others
	// storage says whether objects on-line, archived ones or both are wanted.
	storage kmip.StorageStatusMask
}

// cond is one attribute of the request, or two instances of a date that make a range.
type cond struct {
	name   string
	rule   *rule
	value  ttlv.Item
	from   int64 // dates: inclusive range
	to     int64
	isDate bool
	both   bool // two instances: a range
}

func newFilter(attrs []kmip.Attribute, call *kmip.Call) (*filter, error) {
	f := &filter{now: call.Now}
	for _, a := range attrs {
		r := ruleOf(a.AttributeName)
		if r == nil {
			return nil, badField("%s is not an attribute", shown(a.AttributeName))
		}
		v := a.AttributeValue
		if v.IsZero() {
			return nil, kmip.Errorf(kmip.ResultReasonInvalidMessage, "Attribute Value of %s is missing", shown(a.AttributeName))
		}
		if err := f.add(r, a.AttributeName, v); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f *filter) add(r *rule, name string, v ttlv.Item) error {
	c := cond{name: name, rule: r, value: v}
	if want := kmip.TagType(r.tag); want != 0 && r != &customRule && r != &serverCustomRule && want != v.Type {
		return badField("%s must be of type %s", r.name, want)
	}
	if v.Type == ttlv.DateTime && !custom(name) {
		return f.addDate(c)
	}
	switch r.tag {
	case kmip.TagUniqueIdentifier:
		if f.uid != "" && f.uid != v.Text() {
			f.uid = "\x00" // two different identifiers: nothing has both
			return nil
		}
		f.uid = v.Text()
		return nil
	case kmip.TagObjectGroup:
		f.group = v.Text()
	}
	if t, ok := metadata.QueryTerm(name, v); ok {
		f.terms = append(f.terms, t)
	}
	f.conds = append(f.conds, c)
	return nil
}

// addDate: one instance is an equality, two are an inclusive range in any order.
func (f *filter) addDate(c cond) error {
	at := c.value.Long()
	for i := range f.conds {
		p := &f.conds[i]
		if p.name != c.name {
			continue
		}
		if p.both {
			return badField("%s must stand at most twice", c.name)
		}
		p.from, p.to, p.both = min(p.from, at), max(p.to, at), true
		return nil
	}
	c.isDate, c.from, c.to = true, at, at
	f.conds = append(f.conds, c)
	return nil
}

// computeState takes conditions on y-fips-state out of the index: it is never stored.
func (f *filter) computeState(pol *fips.Policy) {
	f.policy = pol
	f.terms = slices.DeleteFunc(f.terms, func(t metadata.Term) bool { return t.Attr == attrFIPSState })
}

func (f *filter) match(o object) bool {
	where := kmip.StorageStatusMaskOnLineStorage
	if o.archived() {
		where = kmip.StorageStatusMaskArchivalStorage
	}
	if f.storage&where == 0 {
		return false
	}
	for i := range f.conds {
		c := &f.conds[i]
		if f.policy != nil && c.name == attrFIPSState {
			if o.ObjectType == kmip.ObjectTypeTemplate || c.value.Type != ttlv.TextString || c.value.Text() != string(o.fipsState(f.policy, f.now)) {
				return false
			}
			continue
		}
		if !c.match(o, f.now) {
			return false
		}
	}
	return true
}

func (c *cond) match(o object, now time.Time) bool {
	switch c.rule.tag {
	case kmip.TagState:
		return o.ObjectType != kmip.ObjectTypeTemplate && uint32(o.state(now)) == c.value.Enum()
	case kmip.TagObjectType:
		return uint32(o.ObjectType) == c.value.Enum()
	case kmip.TagCryptographicUsageMask:
		want := kmip.CryptographicUsageMask(c.value.Int())
		return !o.get(c.name).IsZero() && o.usage()&want == want
	case kmip.TagUsageLimits:
		return matchLimits(o.get(c.name), c.value)
	}
	if c.isDate {
		return c.matchDate(o, now)
	}
	for _, a := range o.Attributes {
		if a.Name == c.name && matchValue(a.Value, c.value) {
			return true
		}
	}
	return false
}

// matchDate: the largest value stands for an undefined date (KMIP 1.4 section 4.9).
func (c *cond) matchDate(o object, now time.Time) bool {
	d := o.date(c.name)
	if c.rule.tag == kmip.TagLastChangeDate {
		d = o.lastChange(now)
	}
	if d.IsZero() {
		return c.to == maxDate
	}
	return c.from <= d.Unix() && d.Unix() <= c.to
}

// matchValue compares a value with a wanted one; of a structure, only the fields that are wanted.
func matchValue(have, want ttlv.Item) bool {
	if want.Type != ttlv.Structure || have.Type != ttlv.Structure {
		return have.Equal(want)
	}
	for w := range want.Members {
		found := false
		for h := range have.Members {
			if h.Tag == w.Tag && matchValue(h, w) {
				found = true
				break
			}
		}
		if !found {
			return false
		}
	}
	return true
}

// matchLimits: Total and Count must be at least what is wanted.
func matchLimits(have, want ttlv.Item) bool {
	if have.IsZero() {
		return false
	}
	for w := range want.Members {
		h := have.Find(w.Tag)
		switch {
		case h.IsZero():
			return false
		case w.Type == ttlv.LongInteger && h.Long() < w.Long():
			return false
		case w.Type != ttlv.LongInteger && !h.Equal(w):
			return false
		}
	}
	return true
}
