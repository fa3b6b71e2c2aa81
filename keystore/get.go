package keystore

import (
	"context"

	"kmipd/hsm"
	"kmipd/keystore/audit"
	"kmipd/keystore/keyform"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// Get returns an object (KMIP 1.4 section 4.11): as it was registered, in another format, or wrapped.
func (s *Store) Get(ctx context.Context, call *kmip.Call, req *kmip.GetRequest) (*kmip.GetResponse, error) {
	o, err := s.target(ctx, call)
	if err != nil {
		return nil, err
	}
	if !o.live() {
		return nil, kmip.Errorf(kmip.ResultReasonItemNotFound, "the object is destroyed")
	}
	return s.give(ctx, call, o, req)
}

// give gives a live object to the caller, if it may leave so.
func (s *Store) give(ctx context.Context, call *kmip.Call, o object, req *kmip.GetRequest) (*kmip.GetResponse, error) {
	resp := &kmip.GetResponse{ObjectType: o.ObjectType, UniqueIdentifier: o.UID}
	if o.ObjectType == kmip.ObjectTypeTemplate {
		if req.KeyWrappingSpecification != nil {
			return nil, illegal("a Template cannot be wrapped")
		}
		resp.Template = &kmip.Template{}
		for _, a := range o.Attributes {
			if r := ruleOf(a.Name); r != nil && !call.Version.Before(r.since) && !templateOwn(a.Name, call.Version) {
				if v, ok := forVersion(r, a.Value, call.Version); ok {
					resp.Template.Attribute = append(resp.Template.Attribute, instance(a.Name, a.Index, v))
				}
			}
		}
		return resp, nil
	}
	f, err := o.frame()
	if err != nil {
		return nil, err
	}
	if err := s.mayLeave(call, o, req, f); err != nil {
		return nil, err
	}
	if err := s.undrifted(ctx, o); err != nil {
		return nil, err
	}
	switch o.ObjectType {
	case kmip.ObjectTypeCertificate, kmip.ObjectTypeOpaqueObject:
		err = s.getPlainObject(ctx, call, o, f, req, resp)
	default:
		err = s.getKey(ctx, call, o, f, req, resp)
	}
	if err != nil {
		return nil, err
	}
	return resp, s.noteGet(ctx, call, o)
}

// templateOwn: attributes of the Template object itself, which are not part of its content. Before KMIP 1.3 the Name may be.
func templateOwn(name string, ver kmip.Version) bool {
	switch name {
	case "Initial Date", "Last Change Date", "Operation Policy Name", "Original Creation Date":
		return true
	case "Name":
		return !ver.Before(kmip.V1_3)
	}
	return false
}

// mayLeave applies the release class: Extractable false leaves never, Sensitive true leaves wrapped only (KMIP 1.4
// sections 3.48, 3.50, 11.12).
func (s *Store) mayLeave(call *kmip.Call, o object, req *kmip.GetRequest, f *frame) error {
	if v := o.get("Extractable"); !v.IsZero() && !v.Bool() {
		return kmip.Errorf(kmip.ResultReasonNotExtractable, "the object is not Extractable")
	}
	// A PKCS#12 container under a password is not a wrapped key, however the object was registered.
	asRegistered := req.KeyWrapType == kmip.KeyWrapTypeAsRegistered && f.wrapping != nil && !f.asPKCS12(req)
	wrapped := req.KeyWrappingSpecification != nil || asRegistered || f.sealed && req.KeyWrapType != kmip.KeyWrapTypeNotWrapped
	if o.flag("Sensitive") && !wrapped {
		return kmip.Errorf(kmip.ResultReasonSensitive, "the object is Sensitive; it leaves only with a Key Wrapping Specification")
	}
	return s.mayRelease(call, o, wrapped)
}

// asPKCS12 tells whether a Get without a Key Wrapping Specification is answered with a PKCS#12 container.
func (f *frame) asPKCS12(req *kmip.GetRequest) bool {
	return req.KeyFormatType == kmip.KeyFormatTypePKCS12 || req.KeyFormatType == 0 && f.container
}

// getPlainObject returns certificates and opaque objects.
func (s *Store) getPlainObject(ctx context.Context, call *kmip.Call, o object, f *frame, req *kmip.GetRequest, resp *kmip.GetResponse) error {
	if req.KeyWrappingSpecification != nil {
		return illegal("a %s has no Key Block to wrap", o.ObjectType)
	}
	if t := req.KeyFormatType; t != 0 && !(o.ObjectType == kmip.ObjectTypeCertificate && t == kmip.KeyFormatTypeX509) &&
		!(o.ObjectType == kmip.ObjectTypeOpaqueObject && t == kmip.KeyFormatTypeOpaque) {
		return kmip.Errorf(kmip.ResultReasonKeyFormatTypeNotSupported, "Key Format Type %s is not supported for a %s", t, o.ObjectType)
	}
	r, _ := ref(o.Handle)
	value, err := s.token.Export(ctx, r, 0)
	if err != nil {
		return toKMIP(err)
	}
	if value == nil {
		value = []byte{}
	}
	if o.ObjectType == kmip.ObjectTypeCertificate {
		resp.Certificate = new(kmip.Certificate)
		if err := resp.Certificate.Decode(f.object); err != nil {
			return err
		}
		resp.Certificate.CertificateValue = value
		return nil
	}
	resp.OpaqueObject = new(kmip.OpaqueObject)
	if err := resp.OpaqueObject.Decode(f.object); err != nil {
		return err
	}
	resp.OpaqueObject.OpaqueDataValue = value
	txOf(call).releases(audit.ReleasePlain) // what it is nobody knows
	return nil
}

// getKey returns the objects that have a Key Block.
func (s *Store) getKey(ctx context.Context, call *kmip.Call, o object, f *frame, req *kmip.GetRequest, resp *kmip.GetResponse) error {
	kb, err := s.keyBlock(ctx, call, o, f, req)
	if err != nil {
		return err
	}
	s.noteRelease(call, o, kb)
	switch o.ObjectType {
	case kmip.ObjectTypeSymmetricKey:
		resp.SymmetricKey = &kmip.SymmetricKey{KeyBlock: *kb}
	case kmip.ObjectTypePublicKey:
		resp.PublicKey = &kmip.PublicKey{KeyBlock: *kb}
	case kmip.ObjectTypePrivateKey:
		resp.PrivateKey = &kmip.PrivateKey{KeyBlock: *kb}
	case kmip.ObjectTypeSecretData:
		resp.SecretData = new(kmip.SecretData)
		err = resp.SecretData.Decode(f.object)
		resp.SecretData.KeyBlock = *kb
	case kmip.ObjectTypeSplitKey:
		resp.SplitKey = new(kmip.SplitKey)
		err = resp.SplitKey.Decode(f.object)
		resp.SplitKey.KeyBlock = *kb
	case kmip.ObjectTypePGPKey:
		resp.PGPKey = new(kmip.PGPKey)
		err = resp.PGPKey.Decode(f.object)
		resp.PGPKey.KeyBlock = *kb
	}
	if err != nil {
		keyform.Wipe(kb)
	}
	return err
}

// noteRelease tells the log that key material leaves the server, and how.
func (s *Store) noteRelease(call *kmip.Call, o object, kb *kmip.KeyBlock) {
	if o.ObjectType == kmip.ObjectTypePublicKey || kb.KeyValue.IsZero() {
		return
	}
	how := audit.ReleasePlain
	if kb.KeyWrappingData != nil || kb.KeyFormatType == kmip.KeyFormatTypePKCS12 {
		how = audit.ReleaseWrapped
	}
	txOf(call).releases(how)
	s.log.Info().Str("uid", o.UID).Str("client", call.Caller.Client).Str("user", call.Caller.User).Str("release", how).
		Msg("key material released")
}

func (s *Store) keyBlock(ctx context.Context, call *kmip.Call, o object, f *frame, req *kmip.GetRequest) (*kmip.KeyBlock, error) {
	if t := req.KeyWrapType; t&0x80000000 == 0 && t != 0 && !t.KnownIn(kmip.V1_4) {
		return nil, badField("Key Wrap Type is unknown")
	}
	pol := s.policyOf(call)
	format := cmp0(req.KeyFormatType, f.facts.Format)
	if f.asPKCS12(req) && req.KeyWrappingSpecification == nil {
		format = kmip.KeyFormatTypePKCS12
	}
	if err := pol.AllowFormat(format); err != nil {
		return nil, err
	}
	if o.Handle.Class == 0 {
		return referenceBlock(o, f, req)
	}
	if f.sealed {
		return s.sealedBlock(ctx, call, o, f, req)
	}
	if spec := req.KeyWrappingSpecification; spec != nil {
		if err := checkWrapMethod(spec.WrappingMethod, spec.EncryptionKeyInformation, spec.MACSignatureKeyInformation); err != nil {
			return nil, err
		}
		wd := &kmip.KeyWrappingData{WrappingMethod: spec.WrappingMethod, EncryptionKeyInformation: spec.EncryptionKeyInformation,
			EncodingOption: spec.EncodingOption}
		return s.wrappedBlock(ctx, call, o, f, req, wd, spec.AttributeName)
	}
	if f.asPKCS12(req) {
		return s.pkcs12Block(ctx, call, o)
	}
	if req.KeyWrapType == kmip.KeyWrapTypeAsRegistered && f.wrapping != nil {
		return s.wrappedBlock(ctx, call, o, f, req, f.wrapping, nil)
	}
	r, _ := ref(o.Handle)
	value, err := s.token.Export(ctx, r, o.ValueBits)
	if err != nil {
		return nil, toKMIP(err)
	}
	defer value.Wipe()
	return keyform.Encode(&f.facts, value, keyform.Want{Format: req.KeyFormatType, Compression: req.KeyCompressionType, Version: call.Version})
}

// referenceBlock is the Key Block of an object whose value is elsewhere: there is nothing to convert or wrap.
func referenceBlock(o object, f *frame, req *kmip.GetRequest) (*kmip.KeyBlock, error) {
	if req.KeyWrappingSpecification != nil {
		return nil, kmip.Errorf(kmip.ResultReasonKeyValueNotPresent, "the key's value is not on this server")
	}
	if req.KeyFormatType != 0 && req.KeyFormatType != f.facts.Format {
		return nil, kmip.Errorf(kmip.ResultReasonKeyValueNotPresent, "the key's value is not on this server")
	}
	kb := &kmip.KeyBlock{KeyFormatType: f.facts.Format, CryptographicAlgorithm: f.facts.Algorithm}
	if f.facts.Bits != 0 {
		kb.CryptographicLength = ptr(int32(f.facts.Bits))
	}
	return kb, nil
}

// wrappedBlock returns the key wrapped. With No Encoding the token wraps its own key and the server sees only the result;
// TTLV Encoding, and formats that the token does not have, put something around the key first.
func (s *Store) wrappedBlock(ctx context.Context, call *kmip.Call, o object, f *frame, req *kmip.GetRequest, wd *kmip.KeyWrappingData, names []string) (*kmip.KeyBlock, error) {
	noEncoding := wd.EncodingOption == kmip.EncodingOptionNoEncoding
	switch {
	case noEncoding && len(names) > 0:
		return nil, kmip.Errorf(kmip.ResultReasonEncodingOptionError, "Encoding Option No Encoding does not allow Attribute Names")
	case wd.EncodingOption != 0 && !noEncoding && wd.EncodingOption != kmip.EncodingOptionTTLVEncoding:
		return nil, kmip.Errorf(kmip.ResultReasonEncodingOptionError, "Encoding Option is not supported")
	}
	if !noEncoding && s.policyOf(call).Limits().NoPlainWrapping {
		return nil, s.policyOf(call).Refuse(kmip.ResultReasonEncodingOptionError, "Encoding Option must be No Encoding, as the server does not hold the key in clear,")
	}
	w, err := s.wrapping(ctx, call, wd.EncryptionKeyInformation)
	if err != nil {
		return nil, err
	}
	if err := s.allowWrapping(call, w, f.facts.Algorithm, f.facts.Bits); err != nil {
		return nil, err
	}
	if err := s.spendWrap(ctx, call, w, o); err != nil {
		return nil, err
	}
	target, _ := ref(o.Handle)
	kb, blob, err := s.wrapTarget(ctx, call, o, f, req, w, target, noEncoding, names)
	if err != nil {
		return nil, toKMIP(err)
	}
	kb.KeyValue = ttlv.Make(ttlv.AppendBytes(nil, kmip.TagKeyValue, blob))
	if f.structured {
		kb.KeyValue = structured(blob)
	}
	kb.KeyWrappingData = &kmip.KeyWrappingData{WrappingMethod: wd.WrappingMethod, EncryptionKeyInformation: wd.EncryptionKeyInformation,
		EncodingOption: wd.EncodingOption}
	return kb, nil
}

// spendWrap takes what is about to be wrapped from the Usage Limits of the wrapping key, if it has any.
func (s *Store) spendWrap(ctx context.Context, call *kmip.Call, w *wrapKey, target object) error {
	if w.get("Usage Limits").IsZero() {
		return nil
	}
	other := *call
	other.Target = w.UID
	o, err := txOf(call).change(ctx, &other)
	if err != nil {
		return err
	}
	return s.spendOctets(ctx, call, o, int64(target.length()+7)/8, true)
}

// structured is wrapped octets inside a Key Value structure, for a client that registered them so.
func structured(blob []byte) ttlv.Item {
	b, mark := ttlv.Begin(nil, kmip.TagKeyValue)
	return ttlv.Make(ttlv.End(ttlv.AppendBytes(b, kmip.TagKeyMaterial, blob), mark))
}

func (s *Store) wrapTarget(ctx context.Context, call *kmip.Call, o object, f *frame, req *kmip.GetRequest, w *wrapKey, target hsm.Ref, noEncoding bool, names []string) (*kmip.KeyBlock, []byte, error) {
	if noEncoding && s.wrapsItself(o, f, req) {
		blob, err := s.token.Wrap(ctx, w.ref, w.spec, target, o.ValueBits)
		if err != nil {
			return nil, nil, err
		}
		kb := &kmip.KeyBlock{KeyFormatType: req.KeyFormatType, CryptographicAlgorithm: f.facts.Algorithm}
		if kb.KeyFormatType == 0 {
			kb.KeyFormatType = f.facts.Format
		}
		if f.facts.Algorithm != 0 {
			kb.CryptographicLength = ptr(int32(f.facts.Bits))
		}
		return kb, blob, nil
	}
	value, err := s.token.Export(ctx, target, o.ValueBits)
	if err != nil {
		return nil, nil, err
	}
	defer value.Wipe()
	kb, err := keyform.Encode(&f.facts, value, keyform.Want{Format: req.KeyFormatType, Compression: req.KeyCompressionType, Version: call.Version})
	if err != nil {
		return nil, nil, err
	}
	defer keyform.Wipe(kb)
	material := kb.KeyValue.Find(kmip.TagKeyMaterial)
	plain := hsm.Material(material.Value)
	if noEncoding {
		if material.Type != ttlv.ByteString {
			return nil, nil, kmip.Errorf(kmip.ResultReasonEncodingOptionError, "Encoding Option No Encoding needs Key Material that is a Byte String")
		}
	} else {
		plain = keyform.EncodeKeyValue(material, o.named(names, call), call.Version)
		defer plain.Wipe()
	}
	blob, err := s.token.WrapBytes(ctx, w.ref, w.spec, plain)
	return kb, blob, err
}

// wrapsItself tells that the format wanted is the octets that the token wraps: the raw value of a secret, the PKCS#8 of a
// private key.
func (s *Store) wrapsItself(o object, f *frame, req *kmip.GetRequest) bool {
	format := req.KeyFormatType
	if format == 0 {
		format = f.facts.Format
	}
	switch f.facts.Form {
	case keyform.FormSecret:
		return o.Handle.Class == uint8(hsm.ClassSecretKey) && (format == kmip.KeyFormatTypeRaw && f.facts.Format != kmip.KeyFormatTypeOpaque ||
			format == kmip.KeyFormatTypeOpaque && f.facts.Format == kmip.KeyFormatTypeOpaque)
	case keyform.FormPrivate:
		// Only a generated RSA key is sure to have one PKCS#8 encoding on token and server.
		return format == kmip.KeyFormatTypePKCS8 && f.facts.Token == hsm.KeyRSA && f.facts.Shape == 0
	}
	return false
}

// named are the attributes that a client wants wrapped with the key.
func (o object) named(names []string, call *kmip.Call) []kmip.Attribute {
	if len(names) == 0 {
		return nil
	}
	var out []kmip.Attribute
	o.view(call.Version, call.Now, func(name string, index int32, v ttlv.Item) {
		if contains(names, name) {
			out = append(out, instance(name, index, v))
		}
	})
	return out
}

// noteGet takes the freshness from an object that a client has now (KMIP 1.4 section 3.34), and turns its groups on.
func (s *Store) noteGet(ctx context.Context, call *kmip.Call, o object) error {
	for _, a := range o.Attributes {
		if a.Name == "Object Group" {
			s.groups.got(o.Owner, a.Value.Text(), o.Created.UnixNano())
		}
	}
	if !o.flag("Fresh") || owns(call.Caller, o.Record) != nil {
		return nil
	}
	t := txOf(call)
	fresh, err := t.change(ctx, call)
	if err != nil {
		return err
	}
	if !fresh.live() || !fresh.flag("Fresh") {
		return nil
	}
	before := fresh.Clone()
	fresh.put("Fresh", boolValue(false))
	return toKMIP(t.save(ctx, fresh, before))
}
