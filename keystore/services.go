package keystore

import (
	"context"
	"errors"
	"strconv"

	"kmipd/fips"
	"kmipd/hsm"
	"kmipd/kmip"
	"kmipd/metadata"
)

// service is a cryptographic operation on a key: what the key must be and allow.
type service struct {
	op   kmip.Operation
	mask kmip.CryptographicUsageMask
	use  fips.Use
	on   types
	// protects tells that the operation applies protection: in State Active alone, until Protect Stop Date, within the
	// Usage Limits. The others process what is protected (KMIP 1.4 sections 3.21, 3.22).
	protects bool
}

// The services. RSA encrypts and verifies with the public key, decrypts and signs with the private one; a Certificate
// has no key on the token.
var (
	encryptService = service{kmip.OperationEncrypt, kmip.CryptographicUsageMaskEncrypt, fips.Encrypt, tSym | tPub, true}
	decryptService = service{kmip.OperationDecrypt, kmip.CryptographicUsageMaskDecrypt, fips.Decrypt, tSym | tPriv, false}
	signService    = service{kmip.OperationSign, kmip.CryptographicUsageMaskSign, fips.Sign, tPriv, true}
	verifyService  = service{kmip.OperationSignatureVerify, kmip.CryptographicUsageMaskVerify, fips.Verify, tPub, false}
	macService     = service{kmip.OperationMAC, kmip.CryptographicUsageMaskMACGenerate, fips.MAC, tSym | tSecret, true}
	macVerifier    = service{kmip.OperationMACVerify, kmip.CryptographicUsageMaskMACVerify, fips.MACVerify, tSym | tSecret, false}
)

// part is what all requests of the services have: data, and where in a stream it stands (KMIP 1.4 sections 2.1.15 to
// 2.1.17, 4).
type part struct {
	data        []byte
	correlation []byte
	init, final bool
}

func partOf(data, correlation []byte, init, final *bool) part {
	return part{data, correlation, init != nil && *init, final != nil && *final}
}

// more tells that other parts follow.
func (p part) more() bool { return (p.init || p.correlation != nil) && !p.final }

// work is an operation under way. It owns what it buffers and keeps nothing of the data that it is given.
type work interface {
	// add takes a part that is not the last and gives what comes out of it so far.
	add(ctx context.Context, data []byte) ([]byte, error)
	// end takes the last part, or all the data there is, and gives the rest.
	end(ctx context.Context, data []byte) (output, error)
	// buffered is the number of octets that the work holds.
	buffered() int
	wipe()
}

// output is what an operation comes to.
type output struct {
	data  []byte
	tag   []byte // of authenticated encryption
	valid bool   // of verification
}

// serve runs one request of a service: a whole operation, or a part of one. start makes the work from the key; it has
// checked everything that can be checked before the Usage Limits are touched. also, if any, gives the work what a part
// may bring besides data. The Correlation Value that comes back is nil when nothing more is expected. Whatever fails ends
// the stream.
func (s *Store) serve(ctx context.Context, call *kmip.Call, sv *service, p part, start func(o object) (work, error), also func(work) error) (output, []byte, error) {
	st, err := s.open(call, sv.op, p)
	if err != nil {
		return output{}, nil, err
	}
	if err := s.prepare(ctx, call, sv, p, st, start, also); err != nil {
		s.streams.drop(st)
		return output{}, nil, err
	}
	return s.proceed(ctx, st, p)
}

// prepare does all that comes before the token: each part finds the object as it is now, and pays for itself.
func (s *Store) prepare(ctx context.Context, call *kmip.Call, sv *service, p part, st *stream, start func(o object) (work, error), also func(work) error) error {
	o, err := s.usable(ctx, call, sv)
	if err != nil {
		return err
	}
	if st.work == nil {
		w, err := start(o)
		if err != nil {
			return err
		}
		st.work = w
	}
	if also != nil {
		if err := also(st.work); err != nil {
			return err
		}
	}
	if sv.protects {
		return s.spend(ctx, call, o, p)
	}
	return nil
}

// open finds the stream that a part belongs to, or begins one, which has no work yet.
func (s *Store) open(call *kmip.Call, op kmip.Operation, p part) (*stream, error) {
	switch {
	case p.correlation != nil && p.init:
		return nil, badField("Init Indicator begins a stream, Correlation Value goes on with one: both cannot stand together")
	case p.correlation == nil && p.final && !p.init:
		return nil, badField("Final Indicator needs the Correlation Value of a stream")
	case p.correlation != nil:
		st, err := s.streams.take(call, op, p.correlation)
		if err == nil && st.policy != s.policyOf(call) { // the client is in another group since
			s.streams.drop(st)
			return nil, denied("another policy holds for the client since the operation began")
		}
		return st, err
	case p.more() && call.Version.Before(kmip.V1_3):
		// The answer has no field for the Correlation Value.
		return nil, badField("Init Indicator is a field of KMIP 1.3 and later")
	}
	st, err := s.streams.begin(call, op, p.more())
	if err == nil {
		st.policy = s.policyOf(call)
	}
	return st, err
}

// proceed feeds a part to the work.
func (s *Store) proceed(ctx context.Context, st *stream, p part) (output, []byte, error) {
	if !p.more() {
		out, err := st.work.end(ctx, p.data)
		s.streams.drop(st)
		return out, nil, cryptoError(err)
	}
	data, err := st.work.add(ctx, p.data)
	if err != nil {
		s.streams.drop(st)
		return output{}, nil, cryptoError(err)
	}
	correlation, err := s.streams.keep(st)
	if err != nil {
		clear(data)
		return output{}, nil, err
	}
	return output{data: data}, correlation, nil
}

// usable is the call's target when the service may use it now. An object with Usage Limits comes locked and fresh, one
// without them as Authorize read it: the usual object costs neither lock nor second read.
func (s *Store) usable(ctx context.Context, call *kmip.Call, sv *service) (object, error) {
	o, err := s.target(ctx, call)
	if err != nil {
		return o, err
	}
	if err := s.knownDrift(ctx, o); err != nil {
		return o, err
	}
	if sv.protects && !o.get("Usage Limits").IsZero() {
		if o, err = txOf(call).change(ctx, call); err != nil {
			return o, err
		}
		if o.archived() { // since Authorize looked
			return o, isArchived()
		}
	}
	return o, o.serves(call, sv)
}

// serves checks type, State, usage mask, dates and value of an object for a service. Sensitive and Extractable are about
// the key leaving the server and play no part.
func (o object) serves(call *kmip.Call, sv *service) error {
	if sv.on&typeBit(o.ObjectType) == 0 {
		return denied("%s does not work with a %s", sv.op, o.ObjectType)
	}
	check := o.mayProcess
	if sv.protects {
		check = o.mayProtect
	}
	if err := check(call, sv.mask, "the object"); err != nil {
		return err
	}
	r, on := ref(o.Handle)
	switch {
	case !on:
		return kmip.Errorf(kmip.ResultReasonKeyValueNotPresent, "the key's value is not on this server")
	case r.Class == hsm.ClassData:
		// Kept as octets, because its encoding could not be made again from a token key, or no token has such a key.
		return denied("the key is stored as it came and cannot be used")
	}
	return nil
}

// mayProcess checks State, usage mask and dates for processing what is protected. Section 3.22 of KMIP 1.4 leaves
// Deactivated objects to "special permission" and Compromised ones to trusted clients: this server gives both.
func (o object) mayProcess(call *kmip.Call, usage kmip.CryptographicUsageMask, what string) error {
	switch st := o.state(call.Now); st {
	case kmip.StateActive, kmip.StateDeactivated, kmip.StateCompromised:
	default:
		return denied("%s is %s", what, st)
	}
	if activation := o.date("Activation Date"); activation.IsZero() || activation.After(call.Now) {
		return denied("%s was compromised before it was activated", what)
	}
	if o.usage()&usage != usage {
		return denied("the usage mask of %s lacks %s", what, usage)
	}
	if start := o.date("Process Start Date"); start.After(call.Now) {
		return denied("the Process Start Date of %s has not come", what)
	}
	return nil
}

// spend takes from the Usage Limits what a part of a request protects (KMIP 1.4 section 3.21): its octets, or one object
// when the operation begins. The count is on disk when spend returns, before the token does anything, and it is never
// given back: not when the token fails, for the client might have got the result all the same after a fault, and not
// when the batch is undone. Hence it is not in the undo log, and what the log holds of the object is corrected.
func (s *Store) spend(ctx context.Context, call *kmip.Call, o object, p part) error {
	return s.spendOctets(ctx, call, o, int64(len(p.data)), p.correlation == nil)
}

// spendOctets is spend for so many octets; begins tells that an operation begins with them.
func (s *Store) spendOctets(ctx context.Context, call *kmip.Call, o object, amount int64, begins bool) error {
	v := o.get("Usage Limits")
	if v.IsZero() {
		return nil
	}
	var u kmip.UsageLimits
	if err := u.Decode(v); err != nil {
		return err
	}
	if u.UsageLimitsUnit == kmip.UsageLimitsUnitObject {
		if amount = 1; !begins {
			amount = 0
		}
	}
	if !o.hasUsage(amount) {
		return denied("the Usage Limits do not leave that much")
	}
	if amount == 0 {
		return nil
	}
	before := o.Revision
	o.use(amount)
	o.changed(call.Now)
	if err := txOf(call).spend(ctx, o, before, amount); err != nil {
		return toKMIP(err)
	}
	return nil
}

// use lowers the Usage Limits Count.
func (o object) use(amount int64) {
	var u kmip.UsageLimits
	if v := o.get("Usage Limits"); v.IsZero() || u.Decode(v) != nil || u.UsageLimitsCount == nil {
		return
	}
	left := max(0, *u.UsageLimitsCount-amount)
	u.UsageLimitsCount = &left
	o.put("Usage Limits", structValue(&u))
}

// spend writes the record of an object whose Usage Limits were lowered, outside the undo log.
func (t *tx) spend(ctx context.Context, o object, expect uint64, amount int64) error {
	e := t.step()
	e.Facts = append(e.Facts, fact("usage", strconv.FormatInt(amount, 10)))
	err := t.s.commit(ctx, &metadata.Batch{Puts: []metadata.Put{{Record: o.Record, Expect: expect}}}, e)
	if err != nil {
		return err
	}
	for _, c := range t.log {
		if c.uid == o.UID && c.before != nil {
			object{c.before}.use(amount)
		}
	}
	return nil
}

// cryptoError: a failure of the token in the middle of an operation is Cryptographic Failure (KMIP 1.4 sections 11.30 to
// 11.38). Tokens report bad tags and paddings as internal faults, too.
func cryptoError(err error) error {
	if errors.Is(err, hsm.ErrInternal) {
		return kmip.Errorf(kmip.ResultReasonCryptographicFailure, "the token failed in the operation").Because(err)
	}
	return toKMIP(err)
}
