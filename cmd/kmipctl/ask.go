package main

import (
	"context"

	"kmipd/kmip"
	"kmipd/kmip/client"
	"kmipd/kmip/ttlv"
)

type request[T any] interface {
	*T
	client.Payload
}

type response[T any] interface {
	*T
	Decode(ttlv.Item) error
}

// ask sends a request of one item and makes a result of the answer.
func ask[Req, Resp any, PReq request[Req], PResp response[Resp]](ctx context.Context, c *client.Client, op kmip.Operation,
	req *Req, view func(*Resp) result) (result, error) {
	resp, err := client.Do[Req, Resp, PReq, PResp](ctx, c, op, req)
	if err != nil {
		return nil, err
	}
	return view(resp), nil
}

// askLater is ask for an operation that has --async: the answer may be that the operation is pending.
func askLater[Req, Resp any, PReq request[Req], PResp response[Resp]](ctx context.Context, c *client.Client, l later,
	op kmip.Operation, req *Req, view func(*Resp) result) (result, error) {
	if !l.async {
		return ask[Req, Resp, PReq, PResp](ctx, c, op, req, view)
	}
	r, err := exchange(ctx, c, client.Item{Operation: op, Payload: PReq(req)}, true)
	if err != nil {
		return nil, err
	}
	if r.Status == kmip.ResultStatusOperationPending {
		return r.pending(), nil
	}
	return viewer[Resp, PResp](view)(&r.Result)
}

// viewer makes a result of an answer that was decoded as far as its payload.
func viewer[Resp any, PResp response[Resp]](view func(*Resp) result) func(*client.Result) (result, error) {
	return func(r *client.Result) (result, error) {
		resp, err := client.Decode[Resp, PResp](r)
		if err != nil {
			return nil, err
		}
		return view(resp), nil
	}
}

// outdated names the first field of a payload that the version does not have: it would be left out of the message, and
// the server would do something else than what was asked for.
func outdated(p client.Payload, ver kmip.Version) error {
	whole := ttlv.Make(p.Append(nil, kmip.TagRequestPayload, kmip.V1_4))
	sent := ttlv.Make(p.Append(nil, kmip.TagRequestPayload, ver))
	if tag, ok := missing(whole, sent); ok {
		return usageError("%s cannot be sent in KMIP %s: use a newer --version", kmip.NameOfTag(tag), ver)
	}
	return nil
}

// missing is the first member of whole, at any depth, that part lacks. Both have their members in the same order.
func missing(whole, part ttlv.Item) (ttlv.Tag, bool) {
	have := members(part)
	for _, m := range members(whole) {
		if len(have) == 0 || have[0].Tag != m.Tag {
			return m.Tag, true
		}
		if m.Type == ttlv.Structure {
			if tag, ok := missing(m, have[0]); ok {
				return tag, true
			}
		}
		have = have[1:]
	}
	return 0, false
}

func members(it ttlv.Item) []ttlv.Item {
	var out []ttlv.Item
	for m := range it.Members {
		out = append(out, m)
	}
	return out
}
