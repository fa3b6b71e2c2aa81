package keystore

import (
	"context"
	"errors"
	"slices"
	"time"

	"kmipd/hsm"
	"kmipd/keystore/audit"
	"kmipd/keystore/keyform"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
	"kmipd/metadata"
)

// maxIdentifier bounds the octets of a Unique Identifier that a client chooses: it becomes CKA_LABEL and part of keys.
const maxIdentifier = 128

// maxIndex bounds an Attribute Index that a client chooses, so that there is always a next one.
const maxIndex = 1 << 24

// Import takes in an object under the Unique Identifier and with the attributes that the request gives: the rules on who
// sets what do not hold (KMIP 1.4 section 4.41). Those on values do, and so does the policy.
func (s *Store) Import(ctx context.Context, call *kmip.Call, req *kmip.ImportRequest) (*kmip.ImportResponse, error) {
	if !identifier(req.UniqueIdentifier) {
		return nil, unusableIdentifier()
	}
	if t := req.KeyWrapType; t&0x80000000 == 0 && t != 0 && !t.KnownIn(kmip.V1_4) {
		return nil, badField("Key Wrap Type is unknown")
	}
	in := &intake{op: kmip.OperationImport, supplied: req.Attribute, asProvided: req.KeyWrapType != kmip.KeyWrapTypeNotWrapped}
	// The lock makes one of two Imports under one identifier the first.
	if err := txOf(call).lock(ctx, req.UniqueIdentifier); err != nil {
		return nil, err
	}
	old, err := s.existing(ctx, call, req)
	if err != nil {
		return nil, err
	}
	o := s.newRecord(call, req.ObjectType)
	o.UID, o.Attributes = req.UniqueIdentifier, nil
	if old != nil {
		in.gone = []replaced{{object: object{old}, before: old.Clone()}}
	}
	err = s.takeIn(ctx, call, o, in, &kmip.RegisterRequest{ObjectType: req.ObjectType, Certificate: req.Certificate, SymmetricKey: req.SymmetricKey,
		PrivateKey: req.PrivateKey, PublicKey: req.PublicKey, SplitKey: req.SplitKey, Template: req.Template, SecretData: req.SecretData,
		OpaqueObject: req.OpaqueObject, PGPKey: req.PGPKey})
	if err != nil {
		return nil, err
	}
	return &kmip.ImportResponse{UniqueIdentifier: o.UID}, nil
}

// identifier tells whether a client may choose the identifier: printable ASCII, without spaces.
func identifier(uid string) bool {
	if uid == "" || len(uid) > maxIdentifier {
		return false
	}
	return !slices.ContainsFunc([]byte(uid), func(c byte) bool { return c <= ' ' || c > '~' })
}

// unusableIdentifier is the answer to identifiers that are out of limits and to those of other clients' objects, which do
// not exist for the caller: Object Already Exists would tell that they do.
func unusableIdentifier() error {
	return badField("the Unique Identifier cannot be used: choose one of 1 to %d printable ASCII characters, or another one", maxIdentifier)
}

// existing is the object that has the identifier already, if the request replaces it; nil when there is none.
func (s *Store) existing(ctx context.Context, call *kmip.Call, req *kmip.ImportRequest) (*metadata.Record, error) {
	rec, err := s.meta.Get(ctx, req.UniqueIdentifier)
	switch {
	case isNotFound(err):
		return nil, nil
	case err != nil:
		return nil, toKMIP(err)
	case rec.Owner != call.Caller.Client:
		return nil, unusableIdentifier()
	case req.ReplaceExisting.Type != ttlv.Boolean || !req.ReplaceExisting.Bool():
		return nil, kmip.Errorf(kmip.ResultReasonObjectAlreadyExists, "an object has this Unique Identifier; Replace Existing would replace it")
	}
	if err := owns(call.Caller, rec); err != nil {
		return nil, err
	}
	switch {
	case rec.Phase == metadata.PhaseDestroying:
		return nil, denied("the existing object is being destroyed")
	case rec.Phase == metadata.PhaseLive && !s.cfg.AllowDestroy:
		// The former key is gone afterwards, which is what the switch forbids.
		return nil, denied("clients must not destroy objects on this server, nor replace them")
	}
	return rec, nil
}

// restore puts the supplied attributes on the object. What the server computes from object and dates is held against it
// later (complete, digest) or, for certificates, read from the object.
func (in *intake) restore(o object) error {
	for _, a := range in.supplied {
		name, v := a.AttributeName, a.AttributeValue.Clone()
		r := ruleOf(name)
		switch {
		case r == nil:
			return badField("%s is not an attribute", shown(name))
		case r.types&typeBit(o.ObjectType) == 0:
			return badField("%s does not apply to a %s", shown(name), o.ObjectType)
		}
		// A Template is an Object Type that KMIP 1.4 lists no more, and takes all the same.
		if err := checkValue(r, name, v); err != nil && (name != "Object Type" || v.Type != ttlv.Enumeration) {
			return err
		}
		derived, err := in.derived(o, r, v)
		if err != nil {
			return err
		}
		if derived {
			continue
		}
		var index int32
		if a.AttributeIndex != nil {
			index = *a.AttributeIndex
		}
		if err := o.restoreInstance(r, name, index, v); err != nil {
			return err
		}
	}
	return nil
}

// derived notes the supplied values that are not stored because they follow from something else.
func (in *intake) derived(o object, r *rule, v ttlv.Item) (bool, error) {
	switch r.name {
	case "Unique Identifier":
		if v.Text() != o.UID {
			return false, badField("the attribute Unique Identifier is not that of the request")
		}
	case "Object Type":
		if kmip.ObjectType(v.Enum()) != o.ObjectType {
			return false, badField("the attribute Object Type is not that of the request")
		}
	case "State":
		if in.state != 0 {
			return false, badField("State must not stand more than once")
		}
		in.state = kmip.State(v.Enum())
	case "Destroy Date":
		return false, badField("a destroyed object cannot be imported")
	case "Key Value Present":
		in.present = v
	case "Digest":
		var d kmip.Digest
		if err := d.Decode(v); err != nil {
			return false, invalidField(r.name, err)
		}
		if len(in.digests) >= maxInstances {
			return false, kmip.Errorf(kmip.ResultReasonIndexOutOfBounds, "Digest has too many instances")
		}
		d.DigestValue = slices.Clone(d.DigestValue)
		in.digests = append(in.digests, d)
	default:
		return r.ignore && o.ObjectType == kmip.ObjectTypeCertificate, nil
	}
	return true, nil
}

// restoreInstance sets an attribute instance under the index that it had.
func (o object) restoreInstance(r *rule, name string, index int32, v ttlv.Item) error {
	switch {
	case index < 0 || index > maxIndex:
		return kmip.Errorf(kmip.ResultReasonIndexOutOfBounds, "Attribute Index of %s is too large", shown(name))
	case !r.multi:
		if index != 0 {
			return badField("%s has one instance only", shown(name))
		}
		if o.find(name, 0) >= 0 {
			return badField("%s must not stand more than once", shown(name))
		}
		o.put(name, v)
		return nil
	}
	had := o.count(name)
	if err := o.addInstance(r, name, v); err != nil || o.count(name) == had {
		return err
	}
	// addInstance took the next free index. The one that was supplied goes before it, if it is free and in order.
	last := len(o.Attributes) - 1
	for last > 0 && o.Attributes[last].Name != name {
		last--
	}
	if index > o.Attributes[last].Index {
		o.Attributes[last].Index = index
	}
	return nil
}

// complete gives an imported object what every object must have, and refuses attributes that contradict each other.
func (in *intake) complete(call *kmip.Call, o object) error {
	for _, name := range []string{"Initial Date", "Last Change Date"} {
		if o.get(name).IsZero() {
			o.put(name, timeValue(call.Now))
		}
	}
	if o.ObjectType == kmip.ObjectTypeTemplate {
		return nil
	}
	for _, b := range []struct {
		name, history string
		value         bool
	}{{"Sensitive", "Always Sensitive", false}, {"Extractable", "Never Extractable", true}} {
		if o.get(b.name).IsZero() {
			o.put(b.name, boolValue(b.value))
		}
		held := o.flag(b.name) != b.value
		if o.get(b.history).IsZero() {
			o.put(b.history, boolValue(held))
		}
		if o.flag(b.history) && !held {
			return badField("%s contradicts %s", b.history, b.name)
		}
	}
	if err := o.restoreLimits(); err != nil {
		return err
	}
	if err := o.checkDates(); err != nil {
		return err
	}
	return in.checkState(o, call.Now)
}

// restoreLimits keeps the Usage Limits Count, which other operations set to the Total.
func (o object) restoreLimits() error {
	v := o.get("Usage Limits")
	if v.IsZero() {
		return nil
	}
	var u kmip.UsageLimits
	if err := u.Decode(v); err != nil {
		return invalidField("Usage Limits", err)
	}
	if u.UsageLimitsCount == nil {
		u.UsageLimitsCount = &u.UsageLimitsTotal
	}
	if *u.UsageLimitsCount > u.UsageLimitsTotal {
		return badField("Usage Limits Count must not be larger than the Total")
	}
	o.put("Usage Limits", structValue(&u))
	return nil
}

// checkState holds the supplied State against the one that the dates give (KMIP 1.4 section 3.22). Dates may have come
// since the object was exported; nothing else makes a difference.
func (in *intake) checkState(o object, now time.Time) error {
	is := o.state(now)
	later := is == kmip.StateActive && in.state == kmip.StatePreActive ||
		is == kmip.StateDeactivated && (in.state == kmip.StatePreActive || in.state == kmip.StateActive)
	if in.state == 0 || in.state == is || later {
		return nil
	}
	return badField("State %s contradicts the dates, by which the object is %s", in.state, is)
}

// importSealed stores a wrapped object as it is provided when the server has not the key that opens it, or not now
// (KMIP 1.4 section 4.41, Key Wrap Type). Such an object can be got as it is, and used when it is opened elsewhere.
func (s *Store) importSealed(ctx context.Context, call *kmip.Call, o object, in *intake, kb *kmip.KeyBlock, f *frame, blob []byte) error {
	if m := kb.KeyWrappingData.WrappingMethod; m&0x80000000 == 0 && !m.KnownIn(kmip.V1_4) {
		return badField("Wrapping Method is unknown")
	}
	alg, bits, err := o.declared(kb)
	if err != nil {
		return err
	}
	f.sealed = true
	f.facts = keyform.Facts{Object: o.ObjectType, Form: keyform.FormOpaque, Format: kb.KeyFormatType, Algorithm: alg, Bits: bits, Octets: len(blob)}
	if o.ObjectType != kmip.ObjectTypeSecretData {
		if err := s.describeKey(call, o, f); err != nil {
			return err
		}
	}
	if err := in.registered(o, true); err != nil {
		return err
	}
	in.keepDigests(o)
	if err := in.finish(s, call, o); err != nil {
		return err
	}
	return s.registerData(ctx, call, o, in, f, blob)
}

// sealedBlock is the Key Block of an object that is stored wrapped: as it was provided or, if the server has the
// wrapping key by now, opened.
func (s *Store) sealedBlock(ctx context.Context, call *kmip.Call, o object, f *frame, req *kmip.GetRequest) (*kmip.KeyBlock, error) {
	if req.KeyWrappingSpecification != nil {
		return nil, illegal("the object is stored wrapped and cannot be wrapped again")
	}
	if t := req.KeyFormatType; t != 0 && t != f.facts.Format || req.KeyCompressionType != 0 {
		return nil, kmip.Errorf(kmip.ResultReasonKeyFormatTypeNotSupported, "the object is stored wrapped and cannot be converted")
	}
	kb := &kmip.KeyBlock{KeyFormatType: f.facts.Format, CryptographicAlgorithm: f.facts.Algorithm, KeyWrappingData: f.wrapping}
	if f.facts.Bits != 0 {
		kb.CryptographicLength = ptr(int32(f.facts.Bits))
	}
	var w *wrapKey
	if req.KeyWrapType == kmip.KeyWrapTypeNotWrapped {
		var err error
		if w, err = s.unwrappingFor(ctx, call, f.wrapping); err != nil {
			return nil, err
		}
	}
	r, _ := ref(o.Handle)
	blob, err := s.token.Export(ctx, r, 0)
	if err != nil {
		return nil, toKMIP(err)
	}
	if w != nil {
		defer blob.Wipe()
		return s.opened(ctx, kb, w, blob)
	}
	kb.KeyValue = ttlv.Make(ttlv.AppendBytes(nil, kmip.TagKeyValue, blob))
	if f.structured {
		kb.KeyValue = structured(blob)
	}
	return kb, nil
}

// former is the token object of an object that was replaced under its own identifier, with the intent that ends it
// should the process end first.
func (s *Store) former(rec *metadata.Record) []metadata.Intent {
	r, on := ref(rec.Handle)
	if !on || rec.Phase != metadata.PhaseLive {
		return nil
	}
	return []metadata.Intent{{ID: r.ID, UID: rec.UID, Operation: "Replace", Class: rec.Handle.Class, At: s.cfg.Clock()}}
}

// finishReplace ends the token object of an object that was replaced under its own identifier.
func (s *Store) finishReplace(ctx context.Context, before *metadata.Record) error {
	for _, in := range s.former(before) {
		r := hsm.Ref{Class: hsm.Class(in.Class), ID: in.ID}
		if err := s.token.Destroy(ctx, r); err != nil && !errors.Is(err, hsm.ErrNotFound) {
			return err
		}
		b := &metadata.Batch{DropIntents: [][16]byte{in.ID}}
		s.dropGCM(b, r)
		if err := s.bookkeep(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// putBack takes a replacement under one identifier back: the former record in one batch with the intent that ends the
// new token object.
func (s *Store) putBack(ctx context.Context, current, before *metadata.Record, e audit.Event) error {
	b := &metadata.Batch{Puts: []metadata.Put{{Record: before, Expect: current.Revision}}}
	for _, in := range s.former(before) {
		b.DropIntents = append(b.DropIntents, in.ID)
	}
	b.AddIntents = s.former(current)
	if err := s.commit(ctx, b, e); err != nil {
		return err
	}
	return s.finishReplace(ctx, current)
}
