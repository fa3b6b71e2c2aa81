package server

import (
	"context"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// call is one batch item on its way through a handler: what the keystore sees of it, the keystore, and what the handler
// tells the batch.
type call struct {
	kmip.Call
	kmip.Outcome
	Keys Keystore

	srv         *Server
	placeholder string // of the batch, before this item

	takesPending bool           // the item may be answered with Operation Pending
	replay       bool           // the item is a job that is being done
	pending      []byte         // Asynchronous Correlation Value of the answer Operation Pending
	job          *kmip.Job      // to be added with that answer
	answers      kmip.Operation // of the answer, where it is not the request's (Poll)
}

// place sets the ID Placeholder when the item succeeds (KMIP 1.4 section 4).
func (c *call) place(id string) { c.Placeholder, c.SetPlaceholder = id, true }

// row describes an operation. Rights, version, target and time limit are applied from it, so a handler can neither
// forget them nor ask for those of another operation.
type row[Req, Resp any] struct {
	Code   kmip.Operation
	Limit  time.Duration // for the item; the limit of the whole request may end it earlier
	Public bool          // open to callers whose certificate is not registered, and not subject to Authorize
	Places bool          // sets the ID Placeholder: a failed one empties it, lest the next item hit a former object
	Async  asyncMode     // whether the request may become a job
	// Target is the explicit Unique Identifier of the request; a nil result stands for the ID Placeholder. A nil
	// function is an operation without target.
	Target func(*Req) *string
	// Free tells that this request can do without a target: with none given and an empty ID Placeholder the Target stays
	// empty. It may be nil.
	Free func(*Req) bool
	// Check holds the fields against the KMIP text, before target and rights are looked at. It may be nil.
	Check func(*Req) error
	// Run does the work. A response beside an error is returned with the failure (Check does that).
	Run func(ctx context.Context, c *call, r *Req) (*Resp, error)
}

type decoder[T any] interface {
	*T
	Decode(ttlv.Item) error
}

type encoder[T any] interface {
	*T
	payload
}

// entry is a row without its types.
type entry struct {
	code   kmip.Operation
	since  kmip.Version
	limit  time.Duration
	public bool
	places bool
	async  asyncMode
	handle func(ctx context.Context, c *call, request ttlv.Item) (payload, error)
}

// of makes the entry of a row.
func of[Req, Resp any, PReq decoder[Req], PResp encoder[Resp]](r row[Req, Resp]) *entry {
	since, _ := kmip.OperationSince(r.Code)
	e := &entry{code: r.Code, since: since, limit: r.Limit, public: r.Public, places: r.Places, async: r.Async}
	e.handle = func(ctx context.Context, c *call, item ttlv.Item) (payload, error) {
		req := new(Req)
		if err := PReq(req).Decode(item); err != nil {
			return nil, err
		}
		if r.Check != nil {
			if err := r.Check(req); err != nil {
				return nil, err
			}
		}
		if r.Target != nil && !r.free(c, req) {
			if err := c.resolve(r.Target(req)); err != nil {
				return nil, err
			}
		}
		if !r.Public {
			if err := c.Keys.Authorize(ctx, &c.Call, r.Code); err != nil {
				return nil, err
			}
		}
		if later, err := c.postpone(e, item); later || err != nil {
			return nil, err
		}
		resp, err := r.Run(ctx, c, req)
		switch {
		case resp != nil:
			return PResp(resp), err
		case err == nil:
			return nil, kmip.Errorf(kmip.ResultReasonGeneralFailure, "internal failure").Because(errNoResponse)
		}
		return nil, err
	}
	return e
}

// free tells that a request goes on without a target.
func (r *row[Req, Resp]) free(c *call, req *Req) bool {
	return r.Free != nil && r.Target(req) == nil && c.placeholder == "" && r.Free(req)
}

// resolve finds the object that an item is about (KMIP 1.4 section 4, ID Placeholder).
func (c *call) resolve(explicit *string) error {
	switch {
	case explicit == nil && c.placeholder == "":
		return kmip.Errorf(kmip.ResultReasonItemNotFound, "no Unique Identifier is given and the ID Placeholder is empty")
	case explicit == nil:
		c.Target = c.placeholder
	case *explicit == "":
		// An empty Target means "no target" to the keystore and must not come from a client.
		return kmip.Errorf(kmip.ResultReasonItemNotFound, "Unique Identifier is empty")
	default:
		c.Target = *explicit
	}
	return nil
}

// rows are the operations of this server, in the order in which Query lists them.
var rows = []*entry{
	of(opCreate), of(opCreateKeyPair), of(opRegister), of(opReKey), of(opReKeyKeyPair), of(opLocate), of(opCheck), of(opGet), of(opGetAttributes),
	of(opGetAttributeList), of(opAddAttribute), of(opModifyAttribute), of(opDeleteAttribute), of(opObtainLease),
	of(opGetUsageAllocation), of(opCertify), of(opReCertify), of(opValidate), of(opActivate), of(opRevoke), of(opDestroy), of(opArchive), of(opRecover),
	of(opEncrypt), of(opDecrypt), of(opSign), of(opSignatureVerify), of(opMAC), of(opMACVerify), of(opRNGRetrieve), of(opRNGSeed), of(opHash),
	of(opDeriveKey), of(opCreateSplitKey), of(opJoinSplitKey),
	of(opImport), of(opExport),
}

// table finds rows by operation. Query and Discover Versions stand apart because Query lists the rows, Poll and Cancel
// with it because Poll runs them.
var table = func() map[kmip.Operation]*entry {
	t := make(map[kmip.Operation]*entry, len(rows)+2)
	for _, e := range rows {
		t[e.code] = e
	}
	return t
}()

func lookup(op kmip.Operation) *entry {
	switch op {
	case kmip.OperationQuery:
		return queryEntry
	case kmip.OperationDiscoverVersions:
		return discoverEntry
	case kmip.OperationPoll:
		return pollEntry
	case kmip.OperationCancel:
		return cancelEntry
	}
	return table[op]
}

// operationsOf lists what a client of the version can ask for.
func operationsOf(ver kmip.Version) []kmip.Operation {
	var ops []kmip.Operation
	for _, e := range rows {
		if !ver.Before(e.since) {
			ops = append(ops, e.code)
		}
	}
	ops = append(ops, kmip.OperationQuery, kmip.OperationCancel, kmip.OperationPoll)
	if !ver.Before(kmip.V1_1) {
		ops = append(ops, kmip.OperationDiscoverVersions)
	}
	return ops
}

// dispatch finds the row of an item and runs it.
func (b *batch) dispatch(ctx context.Context, c *call, it *kmip.RequestBatchItem) (payload, error) {
	e := lookup(it.Operation)
	switch {
	case e == nil || c.Version.Before(e.since):
		return nil, kmip.Errorf(kmip.ResultReasonOperationNotSupported, "%s is not supported in KMIP %s", it.Operation, c.Version)
	case it.RequestPayload.Type != ttlv.Structure:
		return nil, kmip.Errorf(kmip.ResultReasonInvalidMessage, "Request Payload is not a Structure")
	case !e.public && c.Caller.Client == "":
		return nil, kmip.Errorf(kmip.ResultReasonPermissionDenied, "the client certificate is pending: an administrator has not yet accepted it")
	}
	if e.limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = within(ctx, e.limit)
		defer cancel()
	}
	if !e.public {
		c.Tx = b.begin()
	}
	return e.handle(ctx, c, it.RequestPayload)
}
