package keystore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/keystore/keyform"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
	"kmipd/metadata"
)

// CreateSplitKey splits a key, an existing one or a new one, into parts that are objects of their own (KMIP 1.4 section
// 4.38). No token splits keys: the key passes the server's memory, which is wiped, and the coefficients come from the
// token's random number generator. Either all parts come to be, or none.
func (s *Store) CreateSplitKey(ctx context.Context, call *kmip.Call, req *kmip.CreateSplitKeyRequest) (*kmip.CreateSplitKeyResponse, error) {
	if req.ObjectType != kmip.ObjectTypeSplitKey {
		return nil, badField("Create Split Key makes no object of type %s", req.ObjectType)
	}
	h := &sharing{req.SplitKeyMethod, int(req.SplitKeyParts), int(req.SplitKeyThreshold), req.PrimeFieldSize}
	if err := h.check(call.Version, maxParts); err != nil {
		return nil, err
	}
	levels, err := s.levels(ctx, call, &req.TemplateAttribute, false)
	if err != nil {
		return nil, err
	}
	parts, err := s.newParts(call, h.parts, levels)
	if err != nil {
		return nil, err
	}
	var k *undivided
	if req.UniqueIdentifier != nil {
		k, err = s.wholeOf(ctx, call, *req.UniqueIdentifier)
	} else {
		k, err = s.newWhole(ctx, call, parts[0])
	}
	if err != nil {
		return nil, err
	}
	defer k.value.Wipe()
	values, err := h.split(k.value, func(n int) ([]byte, error) { return s.token.Random(ctx, n) })
	if err != nil {
		return nil, creationError(err)
	}
	defer wipeAll(values)
	if err := s.commitParts(ctx, call, h, k, parts, values); err != nil {
		return nil, err
	}
	resp := &kmip.CreateSplitKeyResponse{}
	for _, o := range parts {
		resp.UniqueIdentifier = append(resp.UniqueIdentifier, o.UID)
	}
	return resp, nil
}

// newParts starts the records of the parts, which all get the attributes of the request. They cannot have the same Name.
func (s *Store) newParts(call *kmip.Call, n int, levels []level) ([]object, error) {
	var out []object
	for range n {
		o := s.newRecord(call, kmip.ObjectTypeSplitKey)
		if err := o.apply(levels); err != nil {
			return nil, err
		}
		if n > 1 && !o.get("Name").IsZero() {
			return nil, badField("a Name cannot be given to several parts")
		}
		if err := o.checkDates(); err != nil {
			return nil, err
		}
		if err := s.checkRNG(o); err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

// undivided is a key to be split.
type undivided struct {
	value     hsm.Material
	format    kmip.KeyFormatType
	algorithm kmip.CryptographicAlgorithm
	bits      int
	curve     kmip.RecommendedCurve
	usage     *kmip.CryptographicUsageMask // nil for a new key: the request has it
	sensitive bool
}

// newWhole makes a symmetric key of which only the parts remain, so that it is no token object.
func (s *Store) newWhole(ctx context.Context, call *kmip.Call, part object) (*undivided, error) {
	k := &undivided{format: kmip.KeyFormatTypeRaw, algorithm: part.algorithm(), bits: part.length()}
	switch {
	case k.algorithm == 0:
		return nil, badField("Create Split Key of a new key needs Cryptographic Algorithm")
	case keyform.Asymmetric(k.algorithm):
		return nil, badField("Create Split Key makes no new keys for %s", k.algorithm)
	case k.bits == 0:
		return nil, badField("Create Split Key of a new key needs Cryptographic Length")
	}
	if err := s.policyOf(call).Allow(fips.Generate, k.algorithm, k.bits); err != nil {
		return nil, err
	}
	if k.bits%8 != 0 || k.bits > maxSecretBits {
		return nil, badField("Cryptographic Length must be a multiple of 8, at most %d", maxSecretBits)
	}
	var err error
	if k.value, err = s.token.Random(ctx, secretOctets(k.algorithm, k.bits)); err != nil {
		return nil, creationError(err)
	}
	if k.algorithm == kmip.CryptographicAlgorithmDES3 {
		setParity(k.value)
	}
	return k, nil
}

// wholeOf reads an existing key. Its parts are readable where it is: one that is not Extractable is not split, and of a
// Sensitive one the parts are Sensitive.
func (s *Store) wholeOf(ctx context.Context, call *kmip.Call, uid string) (*undivided, error) {
	o, err := s.byUID(ctx, call, uid, "the key to split")
	if err != nil {
		return nil, err
	}
	if (tSym|tPriv|tSecret)&typeBit(o.ObjectType) == 0 {
		return nil, badField("a %s cannot be split", o.ObjectType)
	}
	value, f, err := s.divisible(ctx, call, o, "the key to split")
	if err != nil {
		return nil, err
	}
	defer value.Wipe()
	k := &undivided{algorithm: o.algorithm(), bits: o.length(), curve: f.facts.Curve, usage: ptr(o.usage()), sensitive: o.flag("Sensitive")}
	kb, err := keyform.Encode(&f.facts, value, keyform.Want{Version: kmip.V1_4})
	if err == nil && kb.KeyValue.Find(kmip.TagKeyMaterial).Type != ttlv.ByteString {
		// A structure cannot be split: its octets can.
		keyform.Wipe(kb)
		plain := kmip.KeyFormatTypeRaw
		if o.ObjectType == kmip.ObjectTypePrivateKey {
			plain = kmip.KeyFormatTypePKCS8
		}
		kb, err = keyform.Encode(&f.facts, value, keyform.Want{Format: plain, Version: kmip.V1_4})
	}
	if err != nil {
		return nil, err
	}
	material := kb.KeyValue.Find(kmip.TagKeyMaterial)
	if material.Type != ttlv.ByteString || len(material.Value) == 0 {
		keyform.Wipe(kb)
		return nil, badField("the Key Format Type of the key cannot be split")
	}
	k.value, k.format = material.Value, kb.KeyFormatType
	return k, nil
}

// divisible reads the value of a key to be split, or of a part to be joined, if the object allows it. It must not have
// been active once and be so no more; before, the OASIS cases TC-SJ-1 to 4 split and join.
func (s *Store) divisible(ctx context.Context, call *kmip.Call, o object, what string) (hsm.Material, *frame, error) {
	if !o.live() {
		return nil, nil, kmip.Errorf(kmip.ResultReasonItemNotFound, "%s is destroyed", what)
	}
	if st := o.state(call.Now); st != kmip.StatePreActive && st != kmip.StateActive {
		return nil, nil, denied("%s is %s", what, st)
	}
	if stop := o.date("Protect Stop Date"); !stop.IsZero() && !stop.After(call.Now) {
		return nil, nil, denied("the Protect Stop Date of %s has passed", what)
	}
	if !extractable(o) {
		return nil, nil, kmip.Errorf(kmip.ResultReasonNotExtractable, "%s is not Extractable", what)
	}
	r, on := ref(o.Handle)
	if !on {
		return nil, nil, kmip.Errorf(kmip.ResultReasonKeyValueNotPresent, "the value of %s is not on this server", what)
	}
	f, err := o.frame()
	if err != nil {
		return nil, nil, err
	}
	if f.sealed {
		return nil, nil, badField("%s is kept as it was wrapped", what)
	}
	if err := s.undrifted(ctx, o); err != nil {
		return nil, nil, err
	}
	value, err := s.token.Export(ctx, r, o.ValueBits)
	if err != nil {
		return nil, nil, creationError(err)
	}
	return value, f, nil
}

// commitParts puts the parts on the token. What the key is goes before what the request says of it (KMIP 1.4 section
// 4.38).
func (s *Store) commitParts(ctx context.Context, call *kmip.Call, h *sharing, k *undivided, parts []object, values []hsm.Material) error {
	set := make([]byte, 16)
	rand.Read(set) // never fails: crypto/rand aborts the process instead
	specs := make([]hsm.KeySpec, len(parts))
	classes := make([]hsm.Class, len(parts))
	for i, o := range parts {
		k.describe(o)
		if k.algorithm != 0 {
			if err := allowed(s.policyOf(call), strictly(s.policyOf(call), fips.Generate), k.algorithm, k.bits, k.curve); err != nil {
				return err
			}
		}
		if err := errors.Join(s.allowObject(call, fips.Generate, o), s.restrain(call, o)); err != nil {
			return err
		}
		f := &frame{set: set, whole: len(k.value), facts: keyform.Facts{Object: o.ObjectType, Form: keyform.FormSecret,
			Token: hsm.KeyGeneric, Format: k.format, Algorithm: k.algorithm, Bits: k.bits, Octets: len(values[i])}}
		if len(values[i]) > hsm.MaxSecretOctets {
			f.facts.Form, f.facts.Token = keyform.FormOpaque, 0
		}
		f.object = withoutMaterial(&kmip.SplitKey{SplitKeyParts: int32(h.parts), KeyPartIdentifier: int32(i + 1),
			SplitKeyThreshold: int32(h.threshold), SplitKeyMethod: h.method, PrimeFieldSize: h.prime,
			KeyBlock: kmip.KeyBlock{KeyFormatType: k.format}}, kmip.TagSplitKey)
		sum := sha256.Sum256(values[i])
		o.digest(sum[:], k.format)
		s.finish(call, o, true)
		specs[i], classes[i] = s.importSpec(o, f)
		specs[i].Usage = 0 // a part is no key: the usage mask is for the one that the parts make
		o.Frame = f.encode()
	}
	return s.commitNew(ctx, call, kmip.OperationCreateSplitKey, parts, nil, func(ctx context.Context) error {
		for i := range parts {
			var err error
			if classes[i] == hsm.ClassData {
				err = s.token.StoreData(ctx, specs[i].ID, specs[i].Label, values[i])
			} else {
				err = s.token.Import(ctx, classes[i], specs[i], values[i])
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// describe gives a part the attributes of the key.
func (k *undivided) describe(part object) {
	if k.algorithm != 0 {
		part.put("Cryptographic Algorithm", enumValue(k.algorithm))
	}
	if k.bits != 0 {
		part.put("Cryptographic Length", intValue(int32(k.bits)))
	}
	if k.usage != nil {
		part.put("Cryptographic Usage Mask", intValue(*k.usage))
	} else if part.get("Cryptographic Usage Mask").IsZero() {
		part.put("Cryptographic Usage Mask", intValue(int32(0)))
	}
	if k.sensitive {
		part.put("Sensitive", boolValue(true))
	}
}

// JoinSplitKey makes an object of parts, like Register of a plain one (KMIP 1.4 section 4.39). The parts remain.
func (s *Store) JoinSplitKey(ctx context.Context, call *kmip.Call, req *kmip.JoinSplitKeyRequest) (*kmip.JoinSplitKeyResponse, error) {
	f := &frame{}
	switch req.ObjectType {
	case kmip.ObjectTypeSymmetricKey, kmip.ObjectTypePrivateKey:
		if req.SecretDataType != 0 {
			return nil, badField("Secret Data Type does not go with a %s", req.ObjectType)
		}
	case kmip.ObjectTypeSecretData:
		t := cmp0(req.SecretDataType, kmip.SecretDataTypePassword)
		if t&0x80000000 == 0 && !t.KnownIn(call.Version) {
			return nil, badField("Secret Data Type is unknown")
		}
		f.object = withoutMaterial(&kmip.SecretData{SecretDataType: t}, kmip.TagSecretData)
	default:
		return nil, badField("Join Split Key makes no object of type %s", req.ObjectType)
	}
	levels, err := s.levels(ctx, call, req.TemplateAttribute, false)
	if err != nil {
		return nil, err
	}
	j, err := s.joining(ctx, call, req.UniqueIdentifier)
	if err != nil {
		return nil, err
	}
	defer j.wipe()
	levels = j.attributes(levels)
	o := s.newRecord(call, req.ObjectType)
	n, err := j.octets(o, levels)
	if err != nil {
		return nil, err
	}
	value, err := j.sharing.join(j.shares, n)
	if err != nil {
		return nil, err
	}
	defer value.Wipe()
	kb, wipe := keyBlockOf(j.format, value)
	defer wipe()
	o = s.newRecord(call, req.ObjectType)
	if err := s.registerKey(ctx, call, o, &intake{op: kmip.OperationJoinSplitKey, levels: levels}, kb, f); err != nil {
		return nil, err
	}
	return &kmip.JoinSplitKeyResponse{UniqueIdentifier: o.UID}, nil
}

func cmp0[T comparable](v, other T) T {
	var zero T
	if v == zero {
		return other
	}
	return v
}

// keyBlockOf is a plain Key Block around a value, in memory that is wiped with the returned function.
func keyBlockOf(format kmip.KeyFormatType, value hsm.Material) (*kmip.KeyBlock, func()) {
	b := ttlv.AppendBytes(make([]byte, 0, len(value)+2*ttlv.HeaderSize), kmip.TagKeyMaterial, value)
	kv := keyform.EncodeKeyValue(ttlv.Make(b), nil, kmip.V1_4)
	return &kmip.KeyBlock{KeyFormatType: format, KeyValue: ttlv.Make(kv)}, func() { clear(b); kv.Wipe() }
}

// joining is the parts of one Join Split Key.
type joining struct {
	sharing   sharing
	shares    []share
	set       []byte // "" for parts that were registered
	whole     int    // octets of the key, 0 when it is not known
	format    kmip.KeyFormatType
	sensitive bool
	first     object
}

func (j *joining) wipe() {
	for _, p := range j.shares {
		clear(p.value)
	}
}

// joining reads the parts and checks that they belong together. Too few are Cryptographic Failure, as TC-SJ-1 to 4 have
// it, and everything else that is wrong with them Invalid Field.
func (s *Store) joining(ctx context.Context, call *kmip.Call, uids []string) (*joining, error) {
	j := &joining{}
	for _, uid := range uids {
		o, err := s.byUID(ctx, call, uid, "a part")
		if err == nil {
			err = s.addPart(ctx, call, j, o)
		}
		if err != nil {
			j.wipe()
			return nil, err
		}
	}
	err := j.sharing.check(call.Version, j.mostParts())
	if err == nil && len(j.shares) < j.sharing.threshold {
		err = kmip.Errorf(kmip.ResultReasonCryptographicFailure, "Join Split Key needs %d parts", j.sharing.threshold)
	}
	if err != nil {
		j.wipe()
		return nil, err
	}
	return j, nil
}

// mostParts is how many parts the field has elements for.
func (j *joining) mostParts() int {
	if j.sharing.method == kmip.SplitKeyMethodPolynomialSharingGF2_8 {
		return 1<<8 - 1
	}
	return 1<<16 - 1
}

func (s *Store) addPart(ctx context.Context, call *kmip.Call, j *joining, o object) error {
	if o.ObjectType != kmip.ObjectTypeSplitKey {
		return badField("Join Split Key does not work with a %s", o.ObjectType)
	}
	if len(j.shares) >= maxParts {
		return badField("Join Split Key takes at most %d parts", maxParts)
	}
	value, f, err := s.divisible(ctx, call, o, "a part")
	if err != nil {
		return err
	}
	var k kmip.SplitKey
	if err := k.Decode(f.object); err != nil {
		value.Wipe()
		return kmip.Errorf(kmip.ResultReasonGeneralFailure, "the stored object is damaged").Because(err)
	}
	h := sharing{k.SplitKeyMethod, int(k.SplitKeyParts), int(k.SplitKeyThreshold), k.PrimeFieldSize}
	if j.shares == nil {
		j.sharing, j.set, j.whole, j.format, j.first = h, f.set, f.whole, f.facts.Format, o
	}
	j.sensitive = j.sensitive || o.flag("Sensitive")
	j.shares = append(j.shares, share{int(k.KeyPartIdentifier), value})
	return j.consistent(h, f)
}

// consistent compares the last part with those before.
func (j *joining) consistent(h sharing, f *frame) error {
	last := j.shares[len(j.shares)-1]
	if h.method != j.sharing.method || h.parts != j.sharing.parts || h.threshold != j.sharing.threshold ||
		(h.prime == nil) != (j.sharing.prime == nil) || h.prime != nil && h.prime.Cmp(j.sharing.prime) != 0 ||
		string(f.set) != string(j.set) || f.facts.Format != j.format || len(last.value) != len(j.shares[0].value) {
		return badField("the objects are not parts of one key")
	}
	if last.id < 1 || last.id > j.mostParts() {
		return badField("a part has a Key Part Identifier that Split Key Method has no room for")
	}
	for _, p := range j.shares[:len(j.shares)-1] {
		if p.id == last.id {
			return badField("the same part stands twice in Join Split Key")
		}
	}
	return nil
}

// attributes are those of the request, then what the parts know of the key. Sensitive parts make a Sensitive key.
func (j *joining) attributes(levels []level) []level {
	if j.sensitive {
		levels = append([]level{{attrs: []metadata.Attribute{{Name: "Sensitive", Value: boolValue(true)}}}}, levels...)
	}
	known := level{shared: true}
	for _, a := range j.first.Attributes {
		switch a.Name {
		case "Cryptographic Algorithm", "Cryptographic Length":
		case "Cryptographic Usage Mask":
			if a.Value.Int() == 0 {
				continue // as it is of registered parts
			}
		default:
			continue
		}
		known.attrs = append(known.attrs, metadata.Attribute{Name: a.Name, Value: a.Value.Clone()})
	}
	return append(levels, known)
}

// octets is the length of the key, for the methods whose parts have another: as recorded, else by Cryptographic Length.
func (j *joining) octets(o object, levels []level) (int, error) {
	h := &j.sharing
	switch {
	case j.whole != 0:
		return j.whole, nil
	case h.method == kmip.SplitKeyMethodXOR || h.method == kmip.SplitKeyMethodPolynomialSharingGF2_8 || o.ObjectType == kmip.ObjectTypePrivateKey:
		return 0, nil
	}
	if err := o.apply(levels); err != nil {
		return 0, err
	}
	if o.length() == 0 && h.method == kmip.SplitKeyMethodPolynomialSharingPrimeField {
		return 0, badField("Join Split Key needs Cryptographic Length to know how long the key is")
	}
	return secretOctets(o.algorithm(), o.length()), nil
}
