package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"kmipd/kmip"
	"kmipd/kmip/client"
)

var cmdPoll = command{
	name: "poll", args: "VALUE", short: "ask for the outcome of an operation that was called with --async",
	about: `VALUE is the Asynchronous Correlation Value that the command printed. When the operation is done, poll prints what the
command would have printed; when it failed, its error. While it is not done the exit status is 1.`,
	examples: []string{
		"poll 0f1e2d3c4b5a69788796a5b4c3d2e1f0",
		"poll 0f1e2d3c4b5a69788796a5b4c3d2e1f0 --wait 10m --json",
	},
	setup: func(f *pflag.FlagSet) action {
		var wait time.Duration
		f.DurationVar(&wait, "wait", 0, "how long to wait until it is done (default: not at all)")
		return func(ctx context.Context, k *kit, args []string) (result, error) {
			id, err := correlation(args)
			if err != nil {
				return nil, err
			}
			if wait < 0 {
				return nil, usageError("--wait must not be negative")
			}
			c, err := k.client(ctx)
			if err != nil {
				return nil, err
			}
			return poll(ctx, c, id, wait)
		}
	},
}

// correlation reads the one argument of poll and cancel.
func correlation(args []string) ([]byte, error) {
	switch {
	case len(args) == 0:
		return nil, usageError("the Asynchronous Correlation Value is missing")
	case len(args) > 1:
		return nil, usageError("unexpected argument %q", args[1])
	}
	id, err := parseHex(args[0])
	if err != nil || len(id) == 0 {
		return nil, usageError("%q is not an Asynchronous Correlation Value: it is hexadecimal", args[0])
	}
	return id, nil
}

// The pauses between two polls grow: most operations are done soon, those that wait for a person are not.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
)

func poll(ctx context.Context, c *client.Client, id []byte, wait time.Duration) (result, error) {
	end := time.Now().Add(wait)
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		r, err := exchange(ctx, c, client.Item{Operation: kmip.OperationPoll, Payload: &kmip.PollRequest{AsynchronousCorrelationValue: id}}, false)
		if err != nil {
			return nil, err
		}
		if r.Status != kmip.ResultStatusOperationPending {
			return outcomeOf(&r.Result)
		}
		left := time.Until(end)
		if left <= 0 {
			p := r.pending()
			p.waited = true
			return p, nil
		}
		select {
		case <-time.After(min(pause, left)):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// outcomeOf is the answer that the operation itself would have given.
func outcomeOf(r *client.Result) (result, error) {
	if err := r.Err(); err != nil {
		return nil, err
	}
	view := outcomes[r.Operation]
	if view == nil {
		return nil, fmt.Errorf("%s is done; kmipctl cannot show its answer", r.Operation)
	}
	return view(r)
}

// outcomes are the operations that can be asynchronous.
var outcomes = map[kmip.Operation]func(*client.Result) (result, error){
	kmip.OperationCreate:        viewer(viewCreate),
	kmip.OperationCreateKeyPair: viewer(viewCreateKeyPair),
	kmip.OperationReKey:         viewer(viewReKey),
	kmip.OperationReKeyKeyPair:  viewer(viewReKeyKeyPair),
	kmip.OperationLocate:        viewer(viewLocate),
	kmip.OperationCertify:       viewer(viewCertify),
	kmip.OperationReCertify:     viewer(viewReCertify),
	kmip.OperationActivate:      viewer(viewActivate),
	kmip.OperationRevoke:        viewer(viewRevoke),
	kmip.OperationDestroy:       viewer(viewDestroy),
	kmip.OperationArchive:       viewer(viewArchive),
	kmip.OperationRecover:       viewer(viewRecover),
}

var cmdCancel = command{
	name: "cancel", args: "VALUE", short: "call off an operation that was called with --async",
	about: `VALUE is the Asynchronous Correlation Value that the command printed. The exit status is 0 when the operation is canceled,
and 1 when it was too late or there is no such operation.`,
	examples: []string{"cancel 0f1e2d3c4b5a69788796a5b4c3d2e1f0"},
	setup: func(*pflag.FlagSet) action {
		return func(ctx context.Context, k *kit, args []string) (result, error) {
			id, err := correlation(args)
			if err != nil {
				return nil, err
			}
			c, err := k.client(ctx)
			if err != nil {
				return nil, err
			}
			return ask(ctx, c, kmip.OperationCancel, &kmip.CancelRequest{AsynchronousCorrelationValue: id}, func(r *kmip.CancelResponse) result {
				return &cancellation{append(octets(nil), r.AsynchronousCorrelationValue...),
					enumName("CancellationResult", uint32(r.CancellationResult)), r.CancellationResult == kmip.CancellationResultCanceled}
			})
		}
	},
}

// cancellation is the result of Cancel.
type cancellation struct {
	Correlation octets `json:"asynchronous_correlation_value"`
	Result      string `json:"cancellation_result"`
	canceled    bool
}

func (c *cancellation) rows() []row    { return []row{text("Cancellation Result", c.Result)} }
func (c *cancellation) ids() []string  { return nil }
func (c *cancellation) negative() bool { return !c.canceled }
