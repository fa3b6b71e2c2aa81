package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"

	"github.com/spf13/pflag"

	"kmipd/kmip"
	"kmipd/kmip/client"
	"kmipd/kmip/ttlv"
)

// later is the flag of the operations that a server may go on with after its answer (KMIP 1.4 section 6.7).
type later struct{ async bool }

func (l *later) define(f *pflag.FlagSet) {
	f.BoolVar(&l.async, "async", false, "let the server answer before it has done it; kmipctl poll asks for the outcome")
}

// reply is the answer to one item, which may be that the operation is pending.
type reply struct {
	client.Result
	correlation []byte // Asynchronous Correlation Value
}

// exchange sends one item and reads the answer as it is. The client package asks for nothing asynchronous, and takes no
// answer under another operation's code, as Poll has it.
func exchange(ctx context.Context, c *client.Client, it client.Item, async bool) (*reply, error) {
	msg := c.Encode(client.Options{}, it)
	if async {
		plain := msg
		var err error
		msg, err = withIndicator(plain, c.Version())
		clear(plain) // it may hold a password
		if err != nil {
			return nil, err
		}
	}
	answer, err := c.Roundtrip(ctx, msg)
	clear(msg)
	if err != nil {
		return nil, err
	}
	r, err := parseReply(answer)
	switch {
	case err != nil:
		return nil, err
	case r.Operation == 0 && r.Err() != nil: // the message as a whole was refused
		return nil, r.Err()
	case r.Operation != it.Operation && it.Operation != kmip.OperationPoll:
		return nil, fmt.Errorf("the answer is for %s", r.Operation)
	case r.Status == kmip.ResultStatusOperationPending && len(r.correlation) == 0:
		return nil, errors.New("the operation is pending, and the answer has no Asynchronous Correlation Value")
	}
	return r, nil
}

// withIndicator sets the Asynchronous Indicator in the header of a request message.
func withIndicator(msg []byte, ver kmip.Version) ([]byte, error) {
	root, err := ttlv.Parse(msg, ownLimits)
	if err != nil {
		return nil, err
	}
	b, mark := ttlv.Begin(make([]byte, 0, len(msg)+2*ttlv.HeaderSize), kmip.TagRequestMessage)
	for m := range root.Members {
		if m.Tag != kmip.TagRequestHeader {
			b = ttlv.AppendItem(b, m.Tag, m)
			continue
		}
		var h kmip.RequestHeader
		if err := h.Decode(m); err != nil {
			return nil, err
		}
		yes := true
		h.AsynchronousIndicator = &yes
		b = h.Append(b, kmip.TagRequestHeader, ver)
	}
	return ttlv.End(b, mark), nil
}

// ownLimits are for what was read within the limits of the client package, or made here.
var ownLimits = ttlv.Limits{MaxSize: math.MaxInt32, MaxDepth: ttlv.DefaultLimits.MaxDepth, MaxItems: 1 << 20}

// parseReply reads an answer to one item.
func parseReply(answer []byte) (*reply, error) {
	root, err := ttlv.Parse(answer, ownLimits)
	if err != nil {
		return nil, err
	}
	list := members(root)
	if len(list) != 2 || list[0].Tag != kmip.TagResponseHeader || list[1].Tag != kmip.TagBatchItem {
		return nil, errors.New("one item was asked, and the answer has not one")
	}
	var it kmip.ResponseBatchItem
	if err := it.Decode(list[1]); err != nil {
		return nil, fmt.Errorf("item of the answer: %w", err)
	}
	r := &reply{client.Result{Operation: it.Operation, Status: it.ResultStatus, Reason: it.ResultReason, Payload: it.ResponsePayload},
		it.AsynchronousCorrelationValue}
	if it.ResultMessage != nil {
		r.Message = *it.ResultMessage
	}
	return r, nil
}

// pending is the result of an operation that goes on.
type pending struct {
	Correlation octets `json:"asynchronous_correlation_value"`
	Status      string `json:"result_status"`
	waited      bool   // somebody polled for the outcome, and there is none
}

func (r *reply) pending() *pending {
	return &pending{Correlation: append(octets(nil), r.correlation...), Status: r.Status.String()}
}

func (p *pending) rows() []row {
	return []row{text("Result Status", p.Status), text("Asynchronous Correlation Value", p.Correlation)}
}

// ids is what scripts need: the value to poll with.
func (p *pending) ids() []string { return []string{hex.EncodeToString(p.Correlation)} }

func (p *pending) negative() bool { return p.waited }
