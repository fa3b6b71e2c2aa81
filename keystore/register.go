package keystore

import (
	"context"
	"crypto/sha256"
	"errors"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/keystore/keyform"
	"kmipd/kmip"
)

// Register takes in an object that a client made (KMIP 1.4 section 4.3).
func (s *Store) Register(ctx context.Context, call *kmip.Call, req *kmip.RegisterRequest) (*kmip.RegisterResponse, error) {
	levels, err := s.levels(ctx, call, &req.TemplateAttribute, false)
	if err != nil {
		return nil, err
	}
	o := s.newRecord(call, req.ObjectType)
	in := &intake{op: kmip.OperationRegister, levels: levels}
	if err := s.takeIn(ctx, call, o, in, req); err != nil {
		return nil, err
	}
	return &kmip.RegisterResponse{UniqueIdentifier: o.UID}, nil
}

// takeIn takes the object of a request in, as Object Type says. The request's attributes are the intake's.
func (s *Store) takeIn(ctx context.Context, call *kmip.Call, o object, in *intake, req *kmip.RegisterRequest) error {
	switch req.ObjectType {
	case kmip.ObjectTypeTemplate:
		return s.registerTemplate(ctx, call, o, in, req.Template)
	case kmip.ObjectTypeCertificate:
		return s.registerCertificate(ctx, call, o, in, req.Certificate)
	case kmip.ObjectTypeOpaqueObject:
		return s.registerOpaque(ctx, call, o, in, req.OpaqueObject)
	case kmip.ObjectTypeSymmetricKey:
		return s.registerKey(ctx, call, o, in, &req.SymmetricKey.KeyBlock, &frame{})
	case kmip.ObjectTypePublicKey:
		return s.registerKey(ctx, call, o, in, &req.PublicKey.KeyBlock, &frame{})
	case kmip.ObjectTypePrivateKey:
		return s.registerKey(ctx, call, o, in, &req.PrivateKey.KeyBlock, &frame{})
	case kmip.ObjectTypeSecretData:
		kb := req.SecretData.KeyBlock
		empty := kmip.SecretData{SecretDataType: req.SecretData.SecretDataType, KeyBlock: kmip.KeyBlock{KeyFormatType: kb.KeyFormatType}}
		if t := empty.SecretDataType; t&0x80000000 == 0 && !t.KnownIn(kmip.V1_4) {
			return badField("Secret Data Type is unknown")
		}
		return s.registerKey(ctx, call, o, in, &kb, &frame{object: withoutMaterial(&empty, kmip.TagSecretData)})
	case kmip.ObjectTypeSplitKey:
		empty := *req.SplitKey
		empty.KeyBlock = kmip.KeyBlock{KeyFormatType: req.SplitKey.KeyBlock.KeyFormatType}
		if err := checkSplit(req.SplitKey); err != nil {
			return err
		}
		return s.registerKey(ctx, call, o, in, &req.SplitKey.KeyBlock, &frame{object: withoutMaterial(&empty, kmip.TagSplitKey)})
	case kmip.ObjectTypePGPKey:
		empty := kmip.PGPKey{PGPKeyVersion: req.PGPKey.PGPKeyVersion, KeyBlock: kmip.KeyBlock{KeyFormatType: req.PGPKey.KeyBlock.KeyFormatType}}
		return s.registerKey(ctx, call, o, in, &req.PGPKey.KeyBlock, &frame{object: withoutMaterial(&empty, kmip.TagPGPKey)})
	}
	return badField("Object Type is unknown")
}

// checkSplit checks the numbers of a Split Key against each other (KMIP 1.4 section 2.2.5).
func checkSplit(k *kmip.SplitKey) error {
	switch {
	case k.SplitKeyMethod&0x80000000 == 0 && !k.SplitKeyMethod.KnownIn(kmip.V1_4):
		return badField("Split Key Method is unknown")
	case k.SplitKeyParts < 1 || k.SplitKeyThreshold < 1 || k.SplitKeyThreshold > k.SplitKeyParts:
		return badField("Split Key Threshold must be from 1 to Split Key Parts")
	case k.KeyPartIdentifier < 1 || k.KeyPartIdentifier > k.SplitKeyParts:
		return badField("Key Part Identifier must be from 1 to Split Key Parts")
	case k.SplitKeyMethod == kmip.SplitKeyMethodPolynomialSharingPrimeField && k.PrimeFieldSize == nil:
		return badField("Split Key Method Polynomial Sharing Prime Field needs Prime Field Size")
	}
	return nil
}

// registerKey takes in a Key Block: plain, wrapped, or without Key Value (a metadata-only object).
func (s *Store) registerKey(ctx context.Context, call *kmip.Call, o object, in *intake, kb *kmip.KeyBlock, f *frame) error {
	if err := in.set(o); err != nil {
		return err
	}
	if err := s.admit(call, o, kb.KeyFormatType); err != nil {
		return err
	}
	if err := o.needMask(); err != nil {
		return err
	}
	if kb.KeyValue.IsZero() {
		return s.registerReference(ctx, call, o, in, kb, f)
	}
	if kb.KeyWrappingData != nil {
		return s.registerWrapped(ctx, call, o, in, kb, f)
	}
	if kb.KeyFormatType == kmip.KeyFormatTypePKCS12 {
		return s.registerPKCS12(ctx, call, o, in, kb, f)
	}
	return s.registerPlain(ctx, call, o, in, kb, f)
}

// needMask: keys need a Cryptographic Usage Mask; Secret Data and parts of keys get one that allows nothing when the
// client, like most, names none.
func (o object) needMask() error {
	if !o.get("Cryptographic Usage Mask").IsZero() {
		return nil
	}
	switch o.ObjectType {
	case kmip.ObjectTypeSymmetricKey, kmip.ObjectTypePublicKey, kmip.ObjectTypePrivateKey:
		return badField("a %s needs a Cryptographic Usage Mask", o.ObjectType)
	}
	o.put("Cryptographic Usage Mask", intValue(int32(0)))
	return nil
}

// registerPlain imports a plain Key Block through the transport key.
func (s *Store) registerPlain(ctx context.Context, call *kmip.Call, o object, in *intake, kb *kmip.KeyBlock, f *frame) error {
	k, err := keyform.Parse(o.ObjectType, kb, o.given())
	if err != nil {
		return err
	}
	defer k.Wipe()
	work, err := s.plainKey(call, o, in, k, f)
	if err != nil {
		return err
	}
	return s.commitNew(ctx, call, in.op, []object{o}, in.gone, work)
}

// plainKey completes the record of a key that was parsed; the function that it returns puts the key on the token.
func (s *Store) plainKey(call *kmip.Call, o object, in *intake, k *keyform.Key, f *frame) (func(context.Context) error, error) {
	if !k.RoundTrips && k.Form != keyform.FormOpaque {
		// A client gets back the octets that it registered (KMIP 1.4 section 4.11). An encoding that cannot be made
		// again from the key is kept as it is.
		k.Keep()
	}
	f.facts = k.Facts
	if !in.importing() { // Import has all attributes beside the object
		if err := o.apply([]level{{attrs: copied(k.Attributes), shared: true}}); err != nil {
			return nil, err
		}
		// They may say other things than those that the policy has seen.
		if err := errors.Join(s.allowObject(call, fips.Import, o), s.restrain(call, o)); err != nil {
			return nil, err
		}
	}
	if err := s.describeKey(call, o, f); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(k.Original)
	if err := in.digest(o, sum[:], k.Format); err != nil {
		return nil, err
	}
	if err := in.registered(o, true); err != nil {
		return nil, err
	}
	if err := in.finish(s, call, o); err != nil {
		return nil, err
	}
	spec, class := s.importSpec(o, f)
	o.Frame = f.encode()
	return func(ctx context.Context) error {
		switch class {
		case hsm.ClassData:
			return s.token.StoreData(ctx, spec.ID, spec.Label, k.Value)
		case hsm.ClassPublicKey:
			return s.token.ImportPublicKey(ctx, spec, k.Value)
		}
		return s.token.Import(ctx, class, spec, k.Value)
	}, nil
}

// given is what the request's attributes say of the key.
func (o object) given() keyform.Given {
	g := keyform.Given{Algorithm: o.algorithm(), Bits: o.length()}
	var dp kmip.CryptographicDomainParameters
	if v := o.get("Cryptographic Domain Parameters"); !v.IsZero() && dp.Decode(v) == nil {
		g.Curve = dp.RecommendedCurve
	}
	return g
}

// describeKey sets algorithm and length from what the key is, and asks the policy.
func (s *Store) describeKey(call *kmip.Call, o object, f *frame) error {
	if o.ObjectType == kmip.ObjectTypeSecretData {
		o.put("Cryptographic Length", intValue(int32(8*f.facts.Octets)))
		return o.checkDates()
	}
	if err := s.allowImport(call, o, f); err != nil {
		return err
	}
	if f.facts.Algorithm != 0 {
		o.put("Cryptographic Algorithm", enumValue(f.facts.Algorithm))
	}
	if f.facts.Bits != 0 {
		o.put("Cryptographic Length", intValue(int32(f.facts.Bits)))
	}
	return o.checkDates()
}

// registered notes whether the server holds the value of a registered key (KMIP 1.4 section 3.41).
func (o object) registered(present bool) {
	if rulesByName["Key Value Present"].types&typeBit(o.ObjectType) != 0 {
		o.put("Key Value Present", boolValue(present))
	}
}

// importSpec gives the object its place on the token, and says as what it is stored there.
func (s *Store) importSpec(o object, f *frame) (hsm.KeySpec, hsm.Class) {
	spec := hsm.KeySpec{Label: o.UID, Type: f.facts.Token, Bits: f.facts.TokenBits(), Usage: tokenUsage(o), Extractable: extractable(o)}
	class := hsm.ClassData
	switch f.facts.Form {
	case keyform.FormSecret:
		class = hsm.ClassSecretKey
		o.ValueBits = spec.Bits
		if f.facts.Octets == 0 {
			class = hsm.ClassData // no token has an empty key
		}
	case keyform.FormPrivate:
		class = hsm.ClassPrivateKey
	case keyform.FormPublic:
		class = hsm.ClassPublicKey
	}
	for _, c := range curves {
		if c.name == f.facts.Curve {
			spec.Curve = c.curve
		}
	}
	spec.ID = s.handle(o, class).ID
	return spec, class
}

// registerReference takes in a key whose value is elsewhere (KMIP 1.4 section 3.41: Key Value Present false). Such an
// object has no token object.
func (s *Store) registerReference(ctx context.Context, call *kmip.Call, o object, in *intake, kb *kmip.KeyBlock, f *frame) error {
	if o.get("Key Value Location").IsZero() {
		return kmip.Errorf(kmip.ResultReasonInvalidMessage, "Key Value is missing from Key Block, and there is no Key Value Location")
	}
	f.facts = keyform.Facts{Object: o.ObjectType, Form: keyform.FormOpaque, Format: kb.KeyFormatType, Algorithm: kb.CryptographicAlgorithm}
	if kb.CryptographicLength != nil {
		f.facts.Bits = int(*kb.CryptographicLength)
	}
	g := o.given()
	if f.facts.Algorithm == 0 {
		f.facts.Algorithm = g.Algorithm
	}
	if f.facts.Bits == 0 {
		f.facts.Bits = g.Bits
	}
	if o.ObjectType != kmip.ObjectTypeSecretData {
		if err := s.describeKey(call, o, f); err != nil {
			return err
		}
	} else if f.facts.Bits != 0 {
		o.put("Cryptographic Length", intValue(int32(f.facts.Bits)))
	}
	if err := o.checkDates(); err != nil {
		return err
	}
	if err := in.registered(o, false); err != nil {
		return err
	}
	in.keepDigests(o)
	if err := in.finish(s, call, o); err != nil {
		return err
	}
	o.Frame = f.encode()
	return s.commitNew(ctx, call, in.op, []object{o}, in.gone, nil)
}

// registerOpaque stores octets (KMIP 1.4 section 2.2.8).
func (s *Store) registerOpaque(ctx context.Context, call *kmip.Call, o object, in *intake, op *kmip.OpaqueObject) error {
	if err := in.set(o); err != nil {
		return err
	}
	if err := s.allowObject(call, fips.Import, o); err != nil {
		return err
	}
	empty := kmip.OpaqueObject{OpaqueDataType: op.OpaqueDataType, OpaqueDataValue: []byte{}}
	f := &frame{object: withoutMaterial(&empty, kmip.TagOpaqueObject)}
	sum := sha256.Sum256(op.OpaqueDataValue)
	if err := in.digest(o, sum[:], kmip.KeyFormatTypeOpaque); err != nil {
		return err
	}
	if err := in.finish(s, call, o); err != nil {
		return err
	}
	return s.registerData(ctx, call, o, in, f, op.OpaqueDataValue)
}

// registerData stores octets that the token does not type.
func (s *Store) registerData(ctx context.Context, call *kmip.Call, o object, in *intake, f *frame, value []byte) error {
	if err := o.checkDates(); err != nil {
		return err
	}
	return s.commitNew(ctx, call, in.op, []object{o}, in.gone, s.dataWork(o, f, value))
}

// dataWork completes the record of octets; the function that it returns puts them on the token.
func (s *Store) dataWork(o object, f *frame, value []byte) func(context.Context) error {
	o.Frame = f.encode()
	r := s.handle(o, hsm.ClassData)
	return func(ctx context.Context) error { return s.token.StoreData(ctx, r.ID, o.UID, value) }
}

// registerTemplate stores a Template: its own attributes from Template-Attribute, and those that it gives to objects
// (KMIP 1.4 sections 2.2.6, 3.2). Its Name may stand among the latter up to KMIP 1.2, as SASED-M-2 has it; later versions
// refuse that (section 11.4).
func (s *Store) registerTemplate(ctx context.Context, call *kmip.Call, o object, in *intake, t *kmip.Template) error {
	if err := in.set(o); err != nil {
		return err
	}
	content := copied(t.Attribute)
	for _, a := range content {
		if a.Name == "Name" && !call.Version.Before(kmip.V1_3) {
			return badField("a Name must not stand inside the Template")
		}
	}
	if err := o.apply([]level{{attrs: content}}); err != nil {
		return err
	}
	if o.get("Name").IsZero() {
		return badField("a Template needs a Name")
	}
	if err := s.allowObject(call, fips.Import, o); err != nil {
		return err
	}
	if err := in.finish(s, call, o); err != nil {
		return err
	}
	return s.commitNew(ctx, call, in.op, []object{o}, in.gone, nil)
}
