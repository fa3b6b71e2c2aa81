package client

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// Payload is a request payload, for example *kmip.CreateRequest.
type Payload interface {
	Append(b []byte, tag ttlv.Tag, ver kmip.Version) []byte
}

// Item is one item of a batch.
type Item struct {
	Operation kmip.Operation
	Payload   Payload
}

// Options are the header fields of a batch.
type Options struct {
	Continuation kmip.BatchErrorContinuationOption // none when 0: the server assumes Stop
	Order        bool                              // Batch Order Option; the ID Placeholder needs it
}

// Error is a failed item.
type Error struct {
	Operation kmip.Operation // 0 when the server answered the message as a whole
	Status    kmip.ResultStatus
	Reason    kmip.ResultReason
	Message   string
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%s: %s", e.Status, e.Reason)
	if e.Operation != 0 {
		s = fmt.Sprintf("%s: %s", e.Operation, s)
	}
	if e.Message != "" {
		s += ": " + e.Message
	}
	return s
}

// Result is the answer to one item. Payload shares the memory of the answer.
type Result struct {
	Operation kmip.Operation
	Status    kmip.ResultStatus
	Reason    kmip.ResultReason
	Message   string
	Payload   ttlv.Item // zero when there is none
}

// Err is nil for a success, an *Error otherwise.
func (r *Result) Err() error {
	if r.Status == kmip.ResultStatusSuccess {
		return nil
	}
	return &Error{r.Operation, r.Status, r.Reason, r.Message}
}

type request[T any] interface {
	*T
	Payload
}

type response[T any] interface {
	*T
	Decode(ttlv.Item) error
}

// Do sends a request of one item and returns its response payload. A refusal is an *Error.
func Do[Req, Resp any, PReq request[Req], PResp response[Resp]](ctx context.Context, c *Client, op kmip.Operation, req *Req) (*Resp, error) {
	results, err := c.Batch(ctx, Options{}, Item{op, PReq(req)})
	if err != nil {
		return nil, err
	}
	return Decode[Resp, PResp](&results[0])
}

// Decode is the response payload of a result, or its error.
func Decode[Resp any, PResp response[Resp]](r *Result) (*Resp, error) {
	if err := r.Err(); err != nil {
		return nil, err
	}
	resp := new(Resp)
	if r.Payload.Type != ttlv.Structure {
		return nil, fmt.Errorf("client: the answer to %s has no payload", r.Operation)
	}
	if err := PResp(resp).Decode(r.Payload); err != nil {
		return nil, fmt.Errorf("client: the answer to %s: %w", r.Operation, err)
	}
	return resp, nil
}

// Batch sends items in one message and returns the results in the order of the items. With Stop and Undo there are
// fewer results than items after a failure. An answer to the message as a whole is returned as an *Error.
func (c *Client) Batch(ctx context.Context, opt Options, items ...Item) ([]Result, error) {
	if len(items) == 0 {
		return nil, errors.New("client: a message needs an item")
	}
	request := c.Encode(opt, items...)
	answer, err := c.Roundtrip(ctx, request)
	clear(request) // it may hold a key or a password
	if err != nil {
		return nil, err
	}
	return parseAnswer(answer, items, c.cfg.MaxMessage)
}

// Encode is the request message that Batch sends.
func (c *Client) Encode(opt Options, items ...Item) []byte {
	ver := c.cfg.Version
	h := kmip.RequestHeader{
		ProtocolVersion:              kmip.ProtocolVersion{ProtocolVersionMajor: ver.Major, ProtocolVersionMinor: ver.Minor},
		BatchErrorContinuationOption: opt.Continuation,
		BatchCount:                   int32(len(items)),
		Authentication:               c.cfg.authentication(ver),
	}
	if opt.Order {
		h.BatchOrderOption = &opt.Order
	}
	if c.cfg.MaximumResponseSize != 0 {
		h.MaximumResponseSize = &c.cfg.MaximumResponseSize
	}
	b, message := ttlv.Begin(nil, kmip.TagRequestMessage)
	b = h.Append(b, kmip.TagRequestHeader, ver)
	for i, it := range items {
		var mark int
		b, mark = ttlv.Begin(b, kmip.TagBatchItem)
		b = ttlv.AppendEnum(b, kmip.TagOperation, uint32(it.Operation))
		if len(items) > 1 {
			b = ttlv.AppendBytes(b, kmip.TagUniqueBatchItemID, batchID(i))
		}
		b = it.Payload.Append(b, kmip.TagRequestPayload, ver)
		b = ttlv.End(b, mark)
	}
	return ttlv.End(b, message)
}

func (c Config) authentication(ver kmip.Version) *kmip.Authentication {
	if c.Username == "" {
		return nil
	}
	user := kmip.UsernameAndPassword{Username: c.Username}
	if c.Password != "" {
		user.Password = &c.Password
	}
	return &kmip.Authentication{Credential: []kmip.Credential{{
		CredentialType:  kmip.CredentialTypeUsernameAndPassword,
		CredentialValue: ttlv.Make(user.Append(nil, kmip.TagCredentialValue, ver)),
	}}}
}

func batchID(i int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(i+1)) }

// parseAnswer matches the answer's items to the request's.
func parseAnswer(msg []byte, items []Item, limit int) ([]Result, error) {
	root, err := ttlv.Parse(msg, ttlv.Limits{MaxSize: limit, MaxDepth: ttlv.DefaultLimits.MaxDepth, MaxItems: maxItems})
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	var header kmip.ResponseHeader
	var results []Result
	first := true
	for m := range root.Members {
		if first {
			if first = false; m.Tag != kmip.TagResponseHeader || m.Type != ttlv.Structure {
				return nil, errors.New("client: the answer has no header")
			}
			if err := header.Decode(m); err != nil {
				return nil, fmt.Errorf("client: header of the answer: %w", err)
			}
			continue
		}
		r, err := parseResult(m, len(results), items)
		if err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	switch {
	case len(results) == 0 || int(header.BatchCount) != len(results) || len(results) > len(items):
		return nil, fmt.Errorf("client: %d items were asked, %d announced, %d answered", len(items), header.BatchCount, len(results))
	case results[0].Operation == 0:
		return nil, results[0].Err()
	}
	return results, nil
}

func parseResult(m ttlv.Item, i int, items []Item) (Result, error) {
	var it kmip.ResponseBatchItem
	if m.Tag != kmip.TagBatchItem || m.Type != ttlv.Structure {
		return Result{}, errors.New("client: the answer holds something else than Batch Items")
	}
	if err := it.Decode(m); err != nil {
		return Result{}, fmt.Errorf("client: item of the answer: %w", err)
	}
	r := Result{Operation: it.Operation, Status: it.ResultStatus, Reason: it.ResultReason, Payload: it.ResponsePayload}
	if it.ResultMessage != nil {
		r.Message = *it.ResultMessage
	}
	if it.Operation == 0 && it.ResultStatus != kmip.ResultStatusSuccess && i == 0 {
		return r, nil // the message as a whole was refused
	}
	if i >= len(items) || it.Operation != items[i].Operation {
		return r, fmt.Errorf("client: the answer's item %d is for %s", i+1, it.Operation)
	}
	if len(items) > 1 && string(it.UniqueBatchItemID) != string(batchID(i)) {
		return r, fmt.Errorf("client: the answer's item %d has a foreign Unique Batch Item ID", i+1)
	}
	return r, nil
}
