package server

import (
	"context"
	"time"

	"kmipd/kmip"
	"kmipd/kmip/ttlv"
)

// Poll and Cancel stand apart from the rows because Poll runs rows, and because its answer is that of another operation.

var pollEntry = &entry{code: kmip.OperationPoll, since: kmip.V1_0, limit: 100 * time.Second, handle: poll}

// poll is Poll (KMIP 1.4 section 4.28, errors 11.29). The answer to a finished job is that which the operation would have
// given at once, under the operation's own code; until then it is Operation Pending, without payload.
func poll(ctx context.Context, c *call, item ttlv.Item) (payload, error) {
	var req kmip.PollRequest
	if err := req.Decode(item); err != nil {
		return nil, err
	}
	if err := c.Keys.Authorize(ctx, &c.Call, kmip.OperationPoll); err != nil {
		return nil, err
	}
	if c.srv.cfg.Jobs == nil {
		return nil, kmip.Errorf(kmip.ResultReasonItemNotFound, "no operation has this Asynchronous Correlation Value")
	}
	job, err := c.srv.cfg.Jobs.PollJob(ctx, c.Caller, req.AsynchronousCorrelationValue)
	if err != nil {
		return nil, err
	}
	response, failure := job.Response, job.Failure
	switch job.State {
	case kmip.JobPending:
		c.pending = job.ID
		return nil, nil
	case kmip.JobCanceled:
		failure = kmip.Errorf(kmip.ResultReasonOperationCanceledByRequester, "the operation was canceled")
	case kmip.JobYours:
		response, failure = c.srv.do(ctx, job)
	case kmip.JobDone, kmip.JobFailed: // the answer is in the job
	}
	c.answers = job.Operation
	c.Target = job.Target
	if failure != nil {
		return nil, failure
	}
	return stored(response), nil
}

// stored is a Response Payload in its encoding.
type stored []byte

// Append implements payload. The version of the job's request stands: that was asked for in it.
func (s stored) Append(b []byte, tag ttlv.Tag, _ kmip.Version) []byte {
	return ttlv.AppendItem(b, tag, ttlv.Make(s))
}

// Cancel (KMIP 1.4 section 4.27). Whatever becomes of it, the answer is a success: the Cancellation Result tells.
var opCancel = row[kmip.CancelRequest, kmip.CancelResponse]{
	Code: kmip.OperationCancel, Limit: 30 * time.Second,
	Run: func(ctx context.Context, c *call, r *kmip.CancelRequest) (*kmip.CancelResponse, error) {
		resp := &kmip.CancelResponse{AsynchronousCorrelationValue: r.AsynchronousCorrelationValue,
			CancellationResult: kmip.CancellationResultUnavailable}
		if c.srv.cfg.Jobs == nil {
			return resp, nil
		}
		var err error
		resp.CancellationResult, err = c.srv.cfg.Jobs.CancelJob(ctx, c.Caller, r.AsynchronousCorrelationValue)
		return resp, err
	},
}

var cancelEntry = of(opCancel)
