package keystore

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"slices"

	"kmipd/hsm"
	"kmipd/keystore/keyform"
	"kmipd/kmip"
)

// DeriveKey makes a symmetric key or secret data from others (KMIP 1.4 section 4.6). The token computes whatever is computed
// with a base key, which does not leave it for this. The derived value is composed in the server's memory, goes to the
// token through the transport key like one that a client registers, and is wiped.
func (s *Store) DeriveKey(ctx context.Context, call *kmip.Call, req *kmip.DeriveKeyRequest) (*kmip.DeriveKeyResponse, error) {
	m, ok := derivations[req.DerivationMethod]
	switch {
	case req.ObjectType != kmip.ObjectTypeSymmetricKey && req.ObjectType != kmip.ObjectTypeSecretData:
		return nil, badField("Derive Key makes no object of type %s", req.ObjectType)
	case !ok || !req.DerivationMethod.KnownIn(call.Version):
		return nil, badField("Derivation Method is not supported")
	}
	o, spec, err := s.derived(ctx, call, req)
	if err != nil {
		return nil, err
	}
	bases, err := s.bases(ctx, call, req.UniqueIdentifier)
	if err != nil {
		return nil, err
	}
	if err := m.checkFields(&req.DerivationParameters); err != nil {
		return nil, err
	}
	if err := s.allowDerivation(call, req, bases, spec.Bits); err != nil {
		return nil, err
	}
	value, err := m.run(ctx, s, &derivation{call: call, bases: bases, params: &req.DerivationParameters, octets: spec.Bits / 8})
	if err != nil {
		return nil, derivationError(err)
	}
	defer value.Wipe()
	if o.algorithm() == kmip.CryptographicAlgorithmDES3 {
		setParity(value)
	}
	if err := s.commitDerived(ctx, call, o, spec, value, bases); err != nil {
		return nil, err
	}
	return &kmip.DeriveKeyResponse{UniqueIdentifier: o.UID}, nil
}

// derived starts the record of the new object and says what it is to be. Cryptographic Length is required, for keys
// Cryptographic Algorithm, too; a key without Cryptographic Usage Mask gets one that allows nothing.
func (s *Store) derived(ctx context.Context, call *kmip.Call, req *kmip.DeriveKeyRequest) (object, hsm.KeySpec, error) {
	o := s.newRecord(call, req.ObjectType)
	levels, err := s.levels(ctx, call, &req.TemplateAttribute, false)
	if err != nil {
		return o, hsm.KeySpec{}, err
	}
	if err := o.apply(levels); err != nil {
		return o, hsm.KeySpec{}, err
	}
	if o.get("Cryptographic Usage Mask").IsZero() {
		o.put("Cryptographic Usage Mask", intValue(int32(0)))
	}
	if err := s.restrain(call, o); err != nil {
		return o, hsm.KeySpec{}, err
	}
	spec, err := s.secretSpec(call, o)
	if err != nil {
		return o, spec, err
	}
	// Now rather than after the work; commitNew asks again.
	return o, spec, errors.Join(o.checkDates(), s.checkRNG(o), s.nameFree(ctx, o, nil))
}

// commitDerived puts the value on the token and links the object with its bases, in one commit.
func (s *Store) commitDerived(ctx context.Context, call *kmip.Call, o object, spec hsm.KeySpec, value hsm.Material, bases []object) error {
	s.finish(call, o, true)
	f := &frame{facts: keyform.Generated(o.ObjectType, o.algorithm(), o.length(), len(value), 0)}
	if o.ObjectType == kmip.ObjectTypeSecretData {
		f.object = withoutMaterial(&kmip.SecretData{SecretDataType: kmip.SecretDataTypeSeed}, kmip.TagSecretData)
	}
	sum := sha256.Sum256(value)
	o.digest(sum[:], f.facts.Format)
	o.Frame, o.ValueBits = f.encode(), spec.Bits
	spec.ID, spec.Label = s.handle(o, hsm.ClassSecretKey).ID, o.UID
	for _, b := range bases {
		o.link(kmip.LinkTypeDerivationBaseObjectLink, b.UID)
	}
	linked, err := s.linkBases(ctx, call, bases, o.UID)
	if err != nil {
		return err
	}
	return s.commitNew(ctx, call, kmip.OperationDeriveKey, []object{o}, linked, func(ctx context.Context) error {
		return s.token.Import(ctx, hsm.ClassSecretKey, spec, value)
	})
}

// maxBases is the most objects that a derivation uses: a key and data, or two keys that agree.
const maxBases = 2

// bases are the objects to derive from, as they are now: no lock is held while the token works, which may take long.
func (s *Store) bases(ctx context.Context, call *kmip.Call, uids []string) ([]object, error) {
	if len(uids) == 0 {
		return nil, badField("Derive Key needs the Unique Identifier of an object to derive from")
	}
	if len(uids) > maxBases {
		return nil, badField("Derive Key uses at most %d objects", maxBases)
	}
	var out []object
	for i, uid := range uids {
		if slices.Contains(uids[:i], uid) {
			return nil, badField("the same Unique Identifier stands twice in Derive Key")
		}
		b, err := s.byUID(ctx, call, uid, "an object to derive from")
		if err != nil {
			return nil, err
		}
		if err := s.knownDrift(ctx, b); err != nil {
			return nil, err
		}
		if err := b.derives(call); err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

// derives checks that an object can be derived from: its type, State, Cryptographic Usage Mask, dates and value. Whatever
// makes it unable to is Invalid Field (KMIP 1.4 section 11.7).
func (o object) derives(call *kmip.Call) error {
	switch {
	case (tSym|tSecret|tPriv|tPub)&typeBit(o.ObjectType) == 0:
		return badField("Derive Key does not work with a %s", o.ObjectType)
	case !o.live():
		return kmip.Errorf(kmip.ResultReasonItemNotFound, "an object to derive from is destroyed")
	}
	var e *kmip.Error
	if err := o.mayProtect(call, kmip.CryptographicUsageMaskDeriveKey, "an object to derive from"); errors.As(err, &e) {
		return badField("%s", e.Message)
	}
	r, on := ref(o.Handle)
	switch {
	case !on:
		return kmip.Errorf(kmip.ResultReasonKeyValueNotPresent, "the value of an object to derive from is not on this server")
	case r.Class == hsm.ClassData:
		return badField("an object to derive from is stored as it came and cannot be used")
	}
	return nil
}

// linkBases locks the bases and links them to the object that was derived. They may have changed while the token worked.
func (s *Store) linkBases(ctx context.Context, call *kmip.Call, bases []object, uid string) ([]replaced, error) {
	// In one order for all requests, so that two of them do not wait for each other.
	bases = slices.SortedFunc(slices.Values(bases), func(a, b object) int { return cmp.Compare(a.UID, b.UID) })
	var out []replaced
	for _, b := range bases {
		at := *call
		at.Target = b.UID
		now, err := txOf(call).change(ctx, &at)
		switch {
		case err != nil:
			return nil, err
		case now.archived():
			return nil, isArchived()
		case now.count("Link") >= maxInstances || len(now.Attributes) >= maxAttributes:
			return nil, kmip.Errorf(kmip.ResultReasonIndexOutOfBounds, "an object to derive from has no room for another Link")
		}
		if err := now.derives(call); err != nil {
			return nil, err
		}
		g := replaced{object: now, before: now.Clone()}
		now.link(kmip.LinkTypeDerivedKeyLink, uid)
		now.changed(call.Now)
		out = append(out, g)
	}
	return out, nil
}

// derivationUsage is what the token must let a base key do, beside deriving: the server composes derivations from HMAC,
// CMAC and encryption.
func derivationUsage(o object) hsm.Usage {
	switch o.ObjectType {
	case kmip.ObjectTypeSymmetricKey:
		if a := o.algorithm(); a == kmip.CryptographicAlgorithmAES || a == kmip.CryptographicAlgorithmDES3 {
			return hsm.UsageSign | hsm.UsageEncrypt
		}
		return hsm.UsageSign
	case kmip.ObjectTypeSecretData:
		return hsm.UsageSign
	}
	return 0
}

// derivationError: what the token finds wrong with the data is Cryptographic Failure, with the key or the parameters
// Invalid Field (KMIP 1.4 section 11.7).
func derivationError(err error) error {
	if errors.Is(err, hsm.ErrInvalidKey) {
		return kmip.Errorf(kmip.ResultReasonInvalidField, "the token does not allow this use of the key").Because(err)
	}
	return cryptoError(err)
}

// setParity gives the octets of a DES key odd parity: tokens refuse one without, or mend it.
func setParity(key []byte) {
	for i, b := range key {
		p := b ^ b>>4
		p ^= p >> 2
		p ^= p >> 1 // bit 0: the parity of all eight bits
		key[i] = b ^ (^p & 1)
	}
}
