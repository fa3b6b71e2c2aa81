package keystore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kmipd/hsm"
	"kmipd/keystore/audit"
	"kmipd/kmip"
	"kmipd/kmip/ttlv"
	"kmipd/metadata"
)

// send is the sender of one endpoint.
func (s *Store) send(ctx context.Context, b *box) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	resting := false // after a failed attempt: new messages are no reason to try sooner
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.wake:
			if s.trim(ctx, b); resting {
				continue
			}
		case <-timer.C:
			resting = false
		}
		wait, err := s.drain(ctx, b)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			s.log.Warn().Err(err).Str("client", b.client).Dur("retry_in", wait).Msg("a message could not be sent to the client's endpoint")
			resting = true
			timer.Reset(wait)
		}
	}
}

// trim drops the oldest messages of a queue that is too long.
func (s *Store) trim(ctx context.Context, b *box) {
	_, _, over, _ := s.post.head(b)
	for _, seq := range over {
		s.drop(ctx, b, seq, errors.New("the queue is full"))
	}
}

// drain sends messages until there are no more, or one cannot be sent.
func (s *Store) drain(ctx context.Context, b *box) (time.Duration, error) {
	for ctx.Err() == nil {
		s.trim(ctx, b)
		seq, e, _, ok := s.post.head(b)
		if !ok {
			return 0, nil
		}
		err := s.sendOne(ctx, b, e, seq)
		if wait := s.post.outcome(b, err); err != nil {
			return wait, err
		}
	}
	return 0, ctx.Err()
}

// sendOne sends a message and takes it from the queue. An error means that it is to be sent again.
func (s *Store) sendOne(ctx context.Context, b *box, e metadata.Endpoint, seq uint64) error {
	ctx, cancel := context.WithTimeout(ctx, carryTime)
	defer cancel()
	d, err := s.meta.Delivery(ctx, metadata.DeliveryKey{Client: b.client, Seq: seq})
	switch {
	case isNotFound(err):
		s.post.remove(metadata.DeliveryKey{Client: b.client, Seq: seq})
		return nil
	case errors.Is(err, metadata.ErrCorrupt):
		s.drop(ctx, b, seq, err)
		return nil
	case err != nil:
		return err
	case s.cfg.Clock().Sub(d.At) > mailLifetime:
		s.drop(ctx, b, seq, errors.New("it is too old"))
		return nil
	}
	payload, wipe, err := s.message(ctx, d, e.Version)
	defer wipe()
	if err != nil {
		// The token or the store: it passes. What does not must not hold up the messages behind it for ever.
		if kmip.ReasonOf(err) == kmip.ResultReasonGeneralFailure && (errors.Is(err, hsm.ErrUnavailable) || s.post.failures(b) < maxFailures) {
			return err
		}
		s.drop(ctx, b, seq, err)
		return nil
	}
	_, answered, err := s.cfg.Courier.Carry(ctx, e, d.Operation, payload)
	if !answered {
		return err
	}
	if d.Operation == kmip.OperationPut {
		e := ofPut(d, audit.Success)
		if err != nil {
			e = failure(e, err)
		}
		s.trail.note(s.payload(e, nil))
	}
	if err != nil {
		s.log.Warn().Err(err).Str("client", b.client).Stringer("operation", d.Operation).Str("uid", d.UID).Msg("the client's endpoint refused a message")
	} else {
		s.log.Info().Str("client", b.client).Stringer("operation", d.Operation).Str("uid", d.UID).Msg("sent a message to the client's endpoint")
		if d.Operation == kmip.OperationPut {
			s.served(ctx, d)
		}
	}
	return s.unqueue(ctx, b, seq)
}

// unqueue takes a message from the queue.
func (s *Store) unqueue(ctx context.Context, b *box, seq uint64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout) // what has been sent is not sent again
	defer cancel()
	k := metadata.DeliveryKey{Client: b.client, Seq: seq}
	if err := s.bookkeep(ctx, &metadata.Batch{Dequeue: []metadata.DeliveryKey{k}}); err != nil {
		return err
	}
	s.post.remove(k)
	return nil
}

func (s *Store) drop(ctx context.Context, b *box, seq uint64, why error) {
	s.log.Warn().Err(why).Str("client", b.client).Uint64("message", seq).Msg("a message to the client's endpoint was dropped")
	if err := s.unqueue(ctx, b, seq); err != nil && ctx.Err() == nil {
		s.log.Error().Err(err).Str("client", b.client).Msg("dropping a message")
	}
}

// message is the payload of a message in a version. wipe must be called in any case, when the payload is of no more use.
func (s *Store) message(ctx context.Context, d *metadata.Delivery, ver kmip.Version) (payload []byte, wipe func(), err error) {
	if d.Operation == kmip.OperationPut {
		return s.putMessage(ctx, d, ver)
	}
	b, mark := ttlv.Begin(nil, kmip.TagRequestPayload)
	b = ttlv.AppendText(b, kmip.TagUniqueIdentifier, d.UID)
	for rest := d.Attributes; len(rest) > 0; {
		it := ttlv.Make(rest)
		rest = rest[it.Size():]
		var a kmip.Attribute
		if err := a.Decode(it); err != nil {
			return nil, func() {}, badField("a stored message is damaged")
		}
		r := ruleOf(a.AttributeName)
		if r == nil || ver.Before(r.since) {
			continue
		}
		if !a.AttributeValue.IsZero() {
			v, ok := forVersion(r, a.AttributeValue, ver)
			if !ok {
				continue
			}
			a.AttributeValue = v
		}
		b = a.Append(b, kmip.TagAttribute, ver)
	}
	return ttlv.End(b, mark), func() {}, nil
}

// putMessage is the payload of a Put (KMIP 1.4 section 5.2): the object as Get gives it to its owner, under the same rules of
// release, with all its attributes. A replacement says which object it replaces.
func (s *Store) putMessage(ctx context.Context, d *metadata.Delivery, ver kmip.Version) (payload []byte, wipe func(), err error) {
	wipe = func() {}
	rec, err := s.meta.Get(ctx, d.UID)
	if err != nil {
		return nil, wipe, toKMIP(err)
	}
	o := object{rec}
	switch {
	case rec.Owner != d.Client:
		return nil, wipe, notFound()
	case !o.live():
		return nil, wipe, denied("the object is destroyed")
	case o.archived():
		return nil, wipe, isArchived()
	}
	now := s.cfg.Clock().UTC()
	var attrs []byte
	o.view(ver, now, func(name string, index int32, v ttlv.Item) {
		a := instance(name, index, v)
		attrs = a.Append(attrs, kmip.TagAttribute, ver)
	})
	old := o.linked(kmip.LinkTypeReplacedObjectLink)
	o.put("Fresh", boolValue(false)) // in this copy alone: the object has been served when it has arrived
	call := &kmip.Call{Version: ver, Caller: kmip.Caller{Client: rec.Owner, User: rec.User}, Now: now, Target: rec.UID, Tx: s.Begin(false)}
	defer func() { err = errors.Join(err, call.Tx.Rollback(ctx, 0)) }()
	resp, err := s.give(ctx, call, o, &kmip.GetRequest{})
	if err != nil {
		return nil, wipe, err
	}
	tag, body, secret := pushed(resp)
	// What leaves is recorded before it leaves; what came of it, after (sendOne).
	e := ofPut(d, audit.Pending)
	e.Release = txOf(call).item.by.Release
	if err := s.Record(ctx, e); err != nil {
		clear(secret)
		return nil, wipe, err
	}
	// Sized so that no copy of the key stays behind in a smaller buffer.
	b := make([]byte, 0, 4096+len(attrs)+len(secret))
	b, mark := ttlv.Begin(b, kmip.TagRequestPayload)
	b = ttlv.AppendText(b, kmip.TagUniqueIdentifier, o.UID)
	if old == "" {
		b = ttlv.AppendEnum(b, kmip.TagPutFunction, uint32(kmip.PutFunctionNew))
	} else {
		b = ttlv.AppendEnum(b, kmip.TagPutFunction, uint32(kmip.PutFunctionReplace))
		b = ttlv.AppendText(b, kmip.TagReplacedUniqueIdentifier, old)
	}
	b = body.Append(b, tag, ver)
	clear(secret)
	b = append(b, attrs...)
	b = ttlv.End(b, mark)
	return b, func() { clear(b) }, nil
}

// pushed is the object in a response, with its tag and the octets to wipe.
func pushed(r *kmip.GetResponse) (tag ttlv.Tag, body appender, secret []byte) {
	key := func(kb *kmip.KeyBlock) []byte { return kb.KeyValue.Value }
	switch {
	case r.SymmetricKey != nil:
		return kmip.TagSymmetricKey, r.SymmetricKey, key(&r.SymmetricKey.KeyBlock)
	case r.PrivateKey != nil:
		return kmip.TagPrivateKey, r.PrivateKey, key(&r.PrivateKey.KeyBlock)
	case r.PublicKey != nil:
		return kmip.TagPublicKey, r.PublicKey, key(&r.PublicKey.KeyBlock)
	case r.SecretData != nil:
		return kmip.TagSecretData, r.SecretData, key(&r.SecretData.KeyBlock)
	case r.SplitKey != nil:
		return kmip.TagSplitKey, r.SplitKey, key(&r.SplitKey.KeyBlock)
	case r.PGPKey != nil:
		return kmip.TagPGPKey, r.PGPKey, key(&r.PGPKey.KeyBlock)
	case r.Certificate != nil:
		return kmip.TagCertificate, r.Certificate, nil
	case r.OpaqueObject != nil:
		return kmip.TagOpaqueObject, r.OpaqueObject, r.OpaqueObject.OpaqueDataValue
	}
	return kmip.TagTemplate, r.Template, nil
}

// ofPut is the event of sending an object to its client's endpoint.
func ofPut(d *metadata.Delivery, outcome string) audit.Event {
	e := ofServer(kmip.OperationPut.String())
	e.Outcome, e.Client, e.Objects = outcome, d.Client, []audit.Object{{UID: d.UID}}
	return e
}

// served takes the freshness from an object that its client has got (KMIP 1.4 section 3.34).
func (s *Store) served(ctx context.Context, d *metadata.Delivery) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	rec, err := s.meta.Get(ctx, d.UID)
	if err == nil && rec.Owner == d.Client {
		call := &kmip.Call{Version: kmip.V1_4, Caller: kmip.Caller{Client: rec.Owner, User: rec.User}, Now: s.cfg.Clock().UTC(), Target: rec.UID, Tx: s.Begin(false)}
		if err = s.noteGet(ctx, call, object{rec}); err == nil {
			err = call.Tx.Commit(ctx)
		}
		err = errors.Join(err, call.Tx.Rollback(ctx, 0))
	}
	if err != nil && !isNotFound(err) {
		s.log.Error().Err(fmt.Errorf("noting that an object was served: %w", err)).Str("uid", d.UID).Msg("Put")
	}
}
